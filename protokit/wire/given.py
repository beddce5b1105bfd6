"""What an author gave to a word of the language: whether the word takes it, and how messages say it."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from protokit.errors import DeclarationError, close_match

_ADDRESS = re.compile(r" at 0x[0-9a-f]+|<class ")
_KEY = re.compile(r"\['(\w+)'\]")  # construct's this['name']
_SHOWN = 200  # characters of a value in a message


def seen(value: Any) -> str:
    """A value as it is written; of what prints as an address, what kind of thing it is."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if inspect.isroutine(value):
        return "a function"
    shown = _KEY.sub(r".\1", repr(value)) if "this[" in repr(value) else repr(value)
    if not isinstance(value, str | bytes) and (shown.startswith("<") or _ADDRESS.search(shown)):
        kind = type(value).__name__
        return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def _refused(what: str, value: Any, instead: str) -> DeclarationError:
    return DeclarationError(f"{what}{'' if what.endswith('=') else ': '}{seen(value)} was given; {instead}")


def expect(what: str, value: Any, kinds: Any, instead: str) -> Any:
    """The value, which is of one of those types.

    Args:
        what: the word, or the word and its argument: ``split: parts=``.
        value: what was given.
        kinds: for ``isinstance``.
        instead: what to write.

    Raises:
        DeclarationError: it is not.
    """
    if not isinstance(value, kinds):
        raise _refused(what, value, instead)
    return value


def within(what: str, value: Any, least: int, most: int, instead: str) -> int:
    """The value, an integer of a range."""
    if not isinstance(value, int) or not least <= value <= most:
        raise _refused(what, value, instead)
    return value


def text_of(what: str, value: Any, instead: str) -> str:
    """The value, a text of a character at least."""
    if not isinstance(value, str) or not value:
        raise _refused(what, value, instead)
    return value


def flag(what: str, value: Any) -> bool:
    """The value, True or False."""
    return bool(within(what, value, 0, 1, "it is True or False"))


def several(what: str, value: Any, instead: str) -> tuple[Any, ...]:
    """The values, one by one. What is no collection is not gone through: ``this.x`` has no end."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise _refused(what, value, instead)
    return tuple(value)


def one_or_several(value: Any) -> tuple[Any, ...]:
    """What may be given alone, too."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def values_of(what: str, make: Callable[..., Any], *arguments: Any) -> Mapping[str, Any]:
    """The values of a reply that an author's function makes.

    Raises:
        DeclarationError: it fails, or gives something else.
    """
    try:
        values = make(*arguments)
    except Exception as error:
        raise DeclarationError(
            f"{what}: its function, which is called with {', '.join(map(seen, arguments))}, raises "
            f"{type(error).__name__}: {error}"
        ) from error
    found: Mapping[str, Any] = expect(
        what, values, Mapping, "its function gives values by the names of fields: {'kind': 2, 'body': b''}"
    )
    return found


def check_names(values: Mapping[str, Any], fields: Mapping[str, Any], what: str) -> None:
    """Refuse values of fields that are not there: what nobody writes would be missed by a client only.

    Args:
        values: of a reply's fields.
        fields: the names of the format's, each with those inside of it.
        what: the reply, for messages.

    Raises:
        DeclarationError: names the field that was probably meant.
    """
    for name, value in values.items():
        if name not in fields:
            close = close_match(str(name), fields)
            known = ", ".join(fields) or "none"
            hint = f"did you mean {close!r}? There are {known}" if close else f"there are {known}"
            raise DeclarationError(f"{what}: {seen(name)} is no field of the format; {hint}")
        if isinstance(value, Mapping) and fields[name]:
            check_names(value, fields[name], f"{what}, in {name}")
