"""What the proxy says by itself, as plain field values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import construct

from protokit.errors import DeclarationError, word
from protokit.model import Status
from protokit.wire import views
from protokit.wire.compiler import ENCODINGS
from protokit.wire.counted import Counted, Size, flat
from protokit.wire.expressions import FieldPath, path_of, show
from protokit.wire.given import expect, flag, seen, values_of
from protokit.wire.nodes import Bits, Integer, Node, walk
from protokit.wire.requested import FromRequest, Parts
from protokit.wire.sections import integer_of, set_at
from protokit.wire.vocabulary import UVar

TEXT_MAX = 6 * 512
Nodes = tuple[Node, ...]


@word
@dataclass(frozen=True)
class ErrorText:
    """In a reply's values: a section that holds the error's text.

    It is cut, at a character, to the bytes for which all that counts it has room.
    Where a delimiter ends the section, a space (or ``_``) stands for its bytes in the text.

    Attributes:
        before, after: fixed bytes around the text.
        count: an integer such as ``Int16ub``, or a varint (``UVar(2)``), written between ``before`` and the
            text, that counts it.
        units: the count is of UTF-16 units, not of bytes.
    """

    before: bytes = b""
    after: bytes = b""
    count: Any = None
    units: bool = False

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            expect(f"ErrorText: {name}=", getattr(self, name), bytes, f"it is bytes: {name}=b'\\r\\n'")
        if self.count is not None and not isinstance(self.count, UVar):
            integer_of(self.count, "ErrorText: count")
        flag("ErrorText: units=", self.units)

    def counted(self, size: int) -> bytes:
        """What stands in front of a text of that size.

        Raises:
            construct.IntegerError: it has no room for the number.
        """
        return b"" if self.count is None else bytes(self.count.build(size))


Segment = bytes | ErrorText | FromRequest | Size


@dataclass(frozen=True)
class Kept:
    """In a reply's values: the same as in the request's field of that name (named in ``keep`` too)."""

    field: Any


@word
@dataclass(frozen=True)
class Replies:
    """What the proxy says by itself, as plain field values; the id is filled in where it is not given.

    Attributes:
        error: values of the error reply: (status, variant) to a mapping; None where the protocol has none:
            the client's connection is closed instead.
        heartbeat, ack, drain: variant to a mapping; None where the protocol has none.
        optional_drain: clients that do not know ``drain`` close the connection: it is sent only where the
            listener has ``goaway: true``.
        encoding: of the texts: ``utf-8``, ``hessian`` (each UTF-16 unit alone) or ``json`` (escaped).
    """

    error: Callable[[Status, Mapping[str, int]], Mapping[str, Any]] | None
    heartbeat: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    ack: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    drain: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    optional_drain: bool = False
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name in ("error", "heartbeat", "ack", "drain"):
            make = getattr(self, name)
            if make is not None and (isinstance(make, construct.expr.Path) or not callable(make)):
                takes = "status, variant" if name == "error" else "variant"
                raise DeclarationError(
                    f"replies.{name}: {seen(make)} was given; write lambda {takes}: {{...}}, or None where "
                    "the protocol has none"
                )
        flag("replies.optional_drain", self.optional_drain)
        if not isinstance(self.encoding, str) or self.encoding not in ENCODINGS:
            raise DeclarationError(
                f"replies.encoding: {seen(self.encoding)} is none of {', '.join(ENCODINGS)}"
            )

    def answers(self, variants: Sequence[Mapping[str, int]]) -> Iterator[Mapping[str, Any]]:
        """The values of all that are said to who asked: they may repeat parts of a request."""
        for variant in variants:
            for what, make in (("replies.ack", self.ack), ("replies.drain", self.drain)):
                if make is not None:
                    yield values_of(what, make, variant)
            for status in Status:
                if status > Status.APP_ERROR and self.error is not None:
                    yield values_of("replies.error", self.error, status, variant)


@word
def kept(field: Any) -> Kept:
    """In a reply's values: what the request's field holds: ``kept(this.codec)``."""
    return Kept(field)


def kept_node(nodes: Nodes, path: FieldPath, what: str) -> Integer:
    """The whole integer that is kept, or is given what was kept."""
    for node in walk(nodes):
        if isinstance(node, Bits) and path in {one for one, _, _ in node.fields}:
            raise DeclarationError(
                f"{what}: {show(path)} is a bit field, and only whole integers are kept; write "
                f"FromRequest(this.{show(path)}) into a whole integer, and where it stands declare its "
                f"BitStruct as one integer of {8 * node.width} bits, and read them with & and >>"
            )
        if isinstance(node, Integer) and node.path == path:
            return node
    raise DeclarationError(
        f"{what}: {show(path)} is no integer of the format, and only whole integers are kept; a reply "
        "repeats all else with FromRequest(this.NAME)"
    )


def field_path(value: Any, what: str) -> FieldPath:
    """Of ``this.NAME``, which stands for ``what``."""
    if not isinstance(value, construct.expr.Path):
        raise DeclarationError(f"{what}: {seen(value)} is no field; write this.NAME")
    return path_of(value, (), (what,))


def set_default(values: dict[str, Any], path: FieldPath, value: Any) -> None:
    """Put it there, where nothing stands yet."""
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values.setdefault(path[-1], value)


def can_set(values: dict[str, Any], path: FieldPath) -> bool:
    """Whether all containers on the way are there: another branch's id is left alone."""
    for name in path[:-1]:
        inner = values.get(name)
        if not isinstance(inner, dict):
            return False
        values = inner
    return True


_PLAIN = (int, bytes, bytearray, str, list, tuple, type(None))
_PIECES = (bytes, ErrorText, FromRequest, Size)


def placeholders(
    values: Mapping[str, Any],
    at: FieldPath,
    kept_fields: dict[FieldPath, FieldPath],
    texts: dict[FieldPath, list[Segment]],
) -> dict[str, Any]:
    """The values with 0 for what is kept and lists of pieces for texts; both are put into their maps."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        path = (*at, name)
        if isinstance(value, Mapping):
            plain[name] = placeholders(value, path, kept_fields, texts)
        elif isinstance(value, Kept):
            kept_fields[path] = field_path(value.field, "kept")
            plain[name] = 0
        elif _is_text(value if isinstance(value, list) else [value]):
            texts[path] = plain[name] = [
                expect(show(path), one, _PIECES, "its pieces are bytes, ErrorText, FromRequest and Counted")
                for one in flat(value)
            ]
        else:
            instead = "it takes plain values; of its request a reply repeats FromRequest(this.NAME)"
            plain[name] = expect(show(path), value, _PLAIN, instead)
    return plain


def _is_text(value: Any) -> bool:
    """A section in pieces: ``[b'{"id":', FromRequest(this.id), b"}"]``."""
    return isinstance(value, list) and any(
        isinstance(one, ErrorText | FromRequest | Counted | Size) for one in value
    )


def filled(plain: Mapping[str, Any], text: Callable[[list[Segment]], Any]) -> dict[str, Any]:
    """The values with what is made of their texts."""
    return {
        name: filled(value, text) if isinstance(value, dict) else text(value) if _is_text(value) else value
        for name, value in plain.items()
    }


def said(plain: Mapping[str, Any], parts: Parts, request: Any, text: bytes) -> dict[str, Any]:
    """A reply's values as the reference has them.

    Args:
        plain: what ``Replies`` has.
        parts: of the format.
        request: parsed; None: what is kept of it is 0.
        text: the error's, ASCII, the same in all encodings.
    """

    def made(segments: list[Segment]) -> Any:
        found: Any = b""
        for one in segments:
            if isinstance(one, ErrorText):
                found += one.before + one.counted(len(text)) + text + one.after
            elif isinstance(one, FromRequest):
                value = parts.of(one).of(request)
                found = value if isinstance(value, int) else found + value
            elif isinstance(one, Size):
                found += one.built(len(made([*one.pieces])))
            else:
                found += one
        return found

    kept: dict[FieldPath, FieldPath] = {}
    values = filled(placeholders(parts.placed(plain), (), kept, {}), made)
    for path, source in kept.items() if request is not None else ():
        set_at(values, path, views.value_at(request, source))
    return values
