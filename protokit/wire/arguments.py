"""Arguments of calls: by a view each, or the items of an array in a structure (``arguments=``)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from construct import this

from protokit import native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import views
from protokit.wire.given import seen
from protokit.wire.readings import Number
from protokit.wire.structures import Inside, packed
from protokit.wire.structures.family import Input
from protokit.wire.structures.jsons import Json
from protokit.wire.structures.messagepack import MessagePack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.native import Argument
    from protokit.wire.codec import Arguments
    from protokit.wire.expressions import FieldPath
    from protokit.wire.structures.family import Entry, Family, Key

TEXT, INTEGER, MSGPACK, JSON = range(4)  # PK_ARGUMENT_*
_MOST = 64  # views of arguments
_PATH = 500  # PK_ARGUMENT_PATH
_INTEGERS = range(-(2**63), 2**63)
_DIGITS = 63  # of a number of JSON that is read
_WRITTEN = re.compile(r"-?[1-9][0-9]{0,18}|0")
_ARRAY = {"msgpack": MSGPACK, "json": JSON}


@dataclass(frozen=True, eq=False)
class Argued:
    """An argument; or all of them, the items of what ``view`` finds.

    Attributes:
        guard: the section that it is found in: where that is not there, nothing can be said of the argument.
    """

    view: views.View
    form: int
    guard: views.View | None

    @property
    def path(self) -> bytes:
        """Where the array stands."""
        return packed(self.view.path) if isinstance(self.view, Inside) and self.form >= MSGPACK else b""


def bodies(given: Any) -> Arguments | None:
    """The ``arguments`` of a format that its plugin reads in Python, for filters: the engine has none."""
    kind = type(given)  # a path of construct has any attribute
    return given if callable(getattr(kind, "read", None)) and callable(getattr(kind, "write", None)) else None


def argued(given: Any) -> tuple[Argued, ...]:
    """The ``arguments`` of a format.

    Raises:
        DeclarationError: they are neither an array in a structure nor views; says what to write.
    """
    if given is None:
        return ()
    if isinstance(given, Inside) and given.structure.family.name in _ARRAY:
        one = Argued(given, _ARRAY[given.structure.family.name], given.structure.section)
        if len(one.path) > _PATH:
            raise DeclarationError(f"arguments: the keys of {given!r} take over {_PATH} bytes")
        return (one,)
    if not isinstance(given, tuple | list) or not 0 < len(given) <= _MOST:
        raise DeclarationError(
            f"arguments: {seen(given)} was given: write an array of msgpack(...) or json(...), or a list of "
            f"1 to {_MOST} views, one for each argument: (this.first, number(protobuf(this.body)[2])); "
            "or, for filters alone, an object with read(frame) and write(frame, values)"
        )
    guards: dict[FieldPath, views.View] = {}
    found = []
    for one in given:
        view = one.view if isinstance(one, Number) else views.as_view(one, "arguments")
        guard = None
        if len(sections := views.sections_of([view])) == 1:
            guard = guards.setdefault(
                sections[0], views.Text(reduce(getattr, sections[0], this), "arguments")
            )
        found.append(Argued(view, INTEGER if isinstance(one, Number) else TEXT, guard))
    return tuple(found)


def roots(arguments: tuple[Argued, ...]) -> list[views.View]:
    """All views that are read for them."""
    guards = (one.guard for one in arguments if one.guard is not None)
    return [*(one.view for one in arguments if one.form < MSGPACK), *guards]


def argument(arguments: tuple[Argued, ...], container: Any, index: int, keys: Sequence[str] = ()) -> Argument:
    """What an argument is, or what is inside of it, in a parsed frame; see ``native.argument``."""
    if not arguments:
        raise LocalProtocolError("this protocol declares no arguments")
    everything = arguments[0].form >= MSGPACK
    if keys and not everything:
        raise LocalProtocolError("each argument of this protocol is a view: nothing is inside of it")
    if not everything and index >= len(arguments):
        raise IndexError(f"the call has no argument {index}")
    for leaf in views.leaves(roots(arguments)):
        if isinstance(leaf, views.Item):
            leaf.pairs.items(container)  # one that is malformed is an error, whoever needs it
    for each in roots(arguments):
        each.get(container)
    one = arguments[0 if everything else index]
    if one.guard is not None and one.guard.get(container) is None:
        raise RemoteProtocolError(f"argument {index} cannot be read in this frame")
    if everything:
        return _item(one, container, index, keys)
    found = one.view.get(container)
    if found is None:
        return None
    if one.form == TEXT:
        return native.text(found)
    digits = found[1:] if found[:1] == b"-" else found
    if not digits.isdigit() or (value := _integer(found)) not in _INTEGERS:
        raise RemoteProtocolError(f"argument {index} is no integer: {found[:40]!r}")
    return value


def _integer(text: bytes) -> int:
    digits = text.lstrip(b"-").lstrip(b"0")
    return 2**64 if len(digits) > 20 else int(text)  # whatever it is, it is too large


def _item(one: Argued, container: Any, index: int, keys: Sequence[str]) -> Argument:
    assert isinstance(one.view, Inside)  # noqa: S101  # for type checkers
    family, raw = one.view.structure.family, one.view.structure.section.get(container)
    if not raw:
        raise IndexError(f"the call has no argument {index}")
    chain = family.chain(raw, [*one.view.path, index], is_varint=False)
    if not chain:
        raise IndexError(f"the call has no argument {index}")
    entry = chain[-1]
    for key in keys:
        every = [one for one in map(partial(_under, family, entry), _both(key)) if one is not None]
        if not every:
            raise IndexError(f"the call has no argument {index}.{'.'.join(keys)}")
        if len(every) > 1:
            raise RemoteProtocolError(f"argument {index}: {key!r} is a text and a number in the same map")
        entry = every[0]
    if isinstance(family, Json):
        return _json(family, entry)
    assert isinstance(family, MessagePack)  # noqa: S101  # as above
    return _msgpack(family, entry)


def _both(key: str) -> list[Key]:
    """A key as a text, and as the number that it reads as."""
    return [key, int(key)] if _WRITTEN.fullmatch(key) and int(key) in _INTEGERS else [key]


def _under(family: Family, entry: Entry, key: Key) -> Entry | None:
    inside = family.entries(entry.raw, entry.type)
    return None if inside is None else family.chosen(inside, key)


def _msgpack(family: MessagePack, entry: Entry) -> Argument:
    tag = entry.raw[0]
    kind, value, _ = family._open(Input(entry.raw))  # noqa: SLF001  # the family's own
    if tag in {0xCA, 0xCB}:  # floats
        return float(struct.unpack(">f" if tag == 0xCA else ">d", entry.raw[1:])[0])
    if kind == "nil":
        return None
    if kind == "boolean":
        return bool(value)
    if kind == "integer" and value in _INTEGERS:
        return int(value)
    binary = 0xC4 <= tag <= 0xC6
    return native.text(value) if kind == "text" and not binary else entry.raw


def _json(family: Json, entry: Entry) -> Argument:
    raw = entry.raw
    if entry.type == '"':
        return native.text(family.text(entry) or b"")
    if entry.type in "ntf":
        return {"n": None, "t": True, "f": False}[entry.type]
    if entry.type in "{[" or len(raw) > _DIGITS:
        return raw
    if set(raw) & set(b".eE"):
        return float(raw)
    return int(raw) if int(raw) in _INTEGERS else raw


# All of them, as Python values.


def decoded(arguments: tuple[Argued, ...], container: Any) -> list[Any]:
    """The arguments of a parsed call: JSON as ``json`` reads it, nested MessagePack as its bytes."""
    if not arguments:
        raise LocalProtocolError("this protocol declares no arguments")
    if arguments[0].form < MSGPACK:
        return [argument(arguments, container, index) for index in range(len(arguments))]
    family, _, _, entries = _array(arguments, container)
    return [_decoded(family, one) for one in entries]


def change(arguments: tuple[Argued, ...], container: Any, values: Sequence[Any]) -> None:
    """Put others into a parsed call; what is not another stays as it is written.

    Raises:
        LocalProtocolError: they cannot be written; says which and why.
    """
    before = decoded(arguments, container)
    if len(values) != len(before):
        raise LocalProtocolError(f"the call has {len(before)} arguments, and {len(values)} were given")
    others = [i for i, (was, now) in enumerate(zip(before, values, strict=True)) if repr(was) != repr(now)]
    if arguments[0].form < MSGPACK:
        for i in others:
            arguments[i].view.replace(container, _said(arguments[i], i, values[i]))
    elif others:
        _, at, raw, entries = _array(arguments, container)
        for i in reversed(others):
            start = at + entries[i].at
            raw = raw[:start] + _encoded(arguments[0], i, values[i]) + raw[start + len(entries[i].raw) :]
        assert isinstance(arguments[0].view, Inside)  # noqa: S101  # for type checkers
        arguments[0].view.structure.section.replace(container, raw)
    for i, now in enumerate(decoded(arguments, container)):
        if repr(now) != repr(values[i]):
            raise LocalProtocolError(f"argument {i} would be read as {now!r:.60}, not as {values[i]!r:.60}")


def _array(arguments: tuple[Argued, ...], container: Any) -> tuple[Family, int, bytes, list[Entry]]:
    """Where the array begins in its section, that section, and what is in it; without one nothing is."""
    one = arguments[0]
    assert isinstance(one.view, Inside)  # noqa: S101  # as above
    family, raw = one.view.structure.family, one.view.structure.section.get(container)
    if one.guard is not None and one.guard.get(container) is None:
        raise RemoteProtocolError("the arguments cannot be read in this frame")
    chain = family.chain(raw, one.view.path, is_varint=False) if raw else []
    if not raw or not chain or chain[-1].type not in {"array", "["}:
        return family, 0, raw or b"", []
    inside = family.entries(chain[-1].raw, chain[-1].type)
    return family, sum(entry.at for entry in chain), raw, inside or []


def _decoded(family: Family, entry: Entry) -> Any:
    if isinstance(family, MessagePack):
        return _msgpack(family, entry)
    import json  # noqa: PLC0415  # only filters ask

    try:
        return json.loads(entry.raw)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"an argument is no JSON that Python reads: {error}") from None


def _said(one: Argued, index: int, value: Any) -> bytes | None:
    """A view's text."""
    if value is None:
        return None
    if one.form == INTEGER and type(value) is int and value in _INTEGERS:
        return str(value).encode()
    if one.form == TEXT and isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    expected = "a whole number of 64 bits" if one.form == INTEGER else "a text"
    raise LocalProtocolError(f"argument {index} is {expected} or None, and {value!r:.60} is neither")


def _encoded(one: Argued, index: int, value: Any) -> bytes:
    if one.form == JSON:
        import json  # noqa: PLC0415  # as above

        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise LocalProtocolError(f"argument {index}: JSON has no {value!r:.60}: {error}") from None
    if value is None or isinstance(value, bool):
        return b"\xc0" if value is None else b"\xc3" if value else b"\xc2"
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return struct.pack(">Bq", 0xD3, value) if value < 2**63 else struct.pack(">BQ", 0xCF, value)
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return struct.pack(">BI", 0xDB, len(text)) + text
    raise LocalProtocolError(
        f"argument {index}: of MessagePack null, booleans, numbers and texts are written, not {value!r:.60}"
    )
