"""Replies under ids that the engine only reads: they repeat the request's, or the format is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, ProtokitError
from protokit.model import Status
from protokit.wire.given import values_of
from protokit.wire.ids import number_of
from protokit.wire.replies import said, set_default
from protokit.wire.requested import CUT, VARINT, WHOLE
from protokit.wire.views import computed, sections_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protokit.wire.format import WireFormat
    from protokit.wire.ids import Named
    from protokit.wire.requested import FromRequest, Part, Parts


def check_repeated_ids(wire: WireFormat) -> None:
    """Each error, and each answer to a heartbeat that has an id, has that of what it answers.

    Raises:
        DeclarationError: one has another; says what to write.
    """
    if wire.meaning.named is None or not wire.meaning.named.passes:
        return
    for what, values, always in _answers(wire):
        marks = [*_marks(wire.meaning.named)]
        if not always and all(_id_of(wire, values, None, mark[0]) is None for mark in marks):
            continue
        if not any(_follows(wire, values, mark) for mark in marks):
            raise DeclarationError(
                f"{what}: its id has to be that of the request, all of it, and the engine cannot write it: "
                "put FromRequest(ID) in the id's place, where id=ID and ID = byte_id(...)"
            )


def _answers(wire: WireFormat) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """(what it is, its values, whether it always has an id)."""
    replies = wire.replies
    for variant in wire.variants:
        if replies.ack is not None:
            yield "replies.ack", _in(variant, values_of("replies.ack", replies.ack, variant)), False
        for status in Status:
            if status > Status.APP_ERROR and replies.error is not None:
                what = f"the error reply of {status.name}"
                yield what, _in(variant, values_of("replies.error", replies.error, status, variant)), True


def _in(variant: Mapping[str, int], values: Mapping[str, Any]) -> dict[str, Any]:
    """Of that variant; what the declaration gave stays as it is."""
    made = _copied(values)
    for name, value in variant.items():
        set_default(made, tuple(name.split(".")), value)
    return made


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(one) if isinstance(one, Mapping) else one for name, one in values.items()}


def _marks(ids: Named) -> Iterator[tuple[bytes, bytes]]:
    """Two ids, one of the longest, that a frame can have, whatever ends or encloses them."""
    if ids.form in {"varint", "quoted", "msgpack"}:
        yield ids.longest, ids.write(1)
        return
    for byte in (b"1", b"x", b"~", b"\x7f"):
        yield byte * ids.most, byte * (ids.most if ids.fixed else 1)


def _follows(wire: WireFormat, values: dict[str, Any], mark: tuple[bytes, bytes]) -> bool:
    """Whether one of the parts that it repeats is its id."""
    places = {*wire.meaning.id, *sections_of(wire.meaning.views_of_id())}
    numbers = [
        number
        for number, part in enumerate(wire.parts.all)
        if {*sections_of([part.view])} <= places and not computed([part.view])
    ]
    return any([_id_of(wire, values, number, one) for one in mark] == [*mark] for number in numbers)


def _id_of(wire: WireFormat, values: dict[str, Any], number: int | None, mark: bytes) -> Any:
    """The id of the reply where that part (None: each) is ``mark``, and all others are empty.

    None where it has none; False where there is no such reply.
    """
    parts: Any = _Marked(wire.parts, number, mark)
    try:
        container, _ = wire.parse(wire.build(said(values, parts, None, b""), "server"))
    except (ProtokitError, EOFError):
        return False
    return wire.id_of(container)


class _Marked:
    """The parts of a format, one of which is known."""

    def __init__(self, parts: Parts, number: int | None, mark: bytes) -> None:
        self.parts = parts
        self.chosen = number
        self.mark = mark

    def placed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """As of all parts."""
        return self.parts.placed(values)

    def of(self, one: FromRequest) -> _MarkedPart:
        """What is repeated there."""
        known = self.chosen in {None, self.parts.number(one)}
        return _MarkedPart(self.parts.of(one), self.mark if known else None)


class _MarkedPart:
    def __init__(self, part: Part, mark: bytes | None) -> None:
        self.part = part
        self.mark = mark

    def of(self, request: Any) -> Any:  # noqa: ARG002  # there is none
        """What is kept of it."""
        integer = self.part.is_integer and self.part.form != VARINT
        if self.mark is None or integer or self.part.place is not None:
            return self.part.empty
        if self.part.form == VARINT:
            return number_of(self.mark)
        if self.part.form == WHOLE and len(self.mark) > self.part.most:
            return b""
        return self.mark[: self.part.most] if self.part.form == CUT else self.mark
