"""Replies that would not be taken for what they are: of another kind, or under another id."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import DeclarationError, ProtokitError
from protokit.model import Status
from protokit.wire.counted import flat
from protokit.wire.expressions import fields_of
from protokit.wire.given import values_of
from protokit.wire.ids import number_of
from protokit.wire.nodes import expression_of, walk
from protokit.wire.readings import views_of
from protokit.wire.replies import Kept, can_set, said, set_default
from protokit.wire.requested import CUT, VARINT, WHOLE, FromRequest
from protokit.wire.views import computed, sections_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from protokit.wire.expressions import FieldPath
    from protokit.wire.format import WireFormat
    from protokit.wire.ids import Named
    from protokit.wire.requested import Part, Parts


# What it is, of which kind, its values, and what builds it.
Reply = tuple[str, str, "Mapping[str, Any]", "Callable[[], bytes]"]
_HOLDS = {
    "response": "response=",
    "heartbeat": "heartbeat=",
    "heartbeat_ack": "heartbeat= and response=",
    "drain": "drain=",
}


def check_kinds_of_replies(wire: WireFormat, address: int) -> None:
    """Errors are responses, heartbeats are heartbeats, their answers and drains what they are.

    Where what is repeated of a request decides it, that is not known here.

    Args:
        wire: the format.
        address: of its codec.

    Raises:
        DeclarationError: one is read as something else; says what to write.
    """
    _check_greetings(wire, address)
    read = _read_for_kinds(wire)
    for what, kind, values, build in _replies(wire, address):
        if any(path in read for path in _repeating(values, ())):
            continue
        try:
            found = native.KINDS[native.frame(address, build()).kind].replace("ack", "heartbeat_ack")
        except (ProtokitError, EOFError):
            continue  # what it repeats is missing
        if found != kind:
            raise DeclarationError(
                f"{what} is read as a {found}, not as a {kind}: give values for which {_HOLDS[kind]} holds, "
                "or change that"
            )


def _check_greetings(wire: WireFormat, address: int) -> None:
    """Each step says a greeting, in so far as nothing that the peer said decides it."""
    for one in wire.conversation.sayings:
        for variant in wire.variants:
            values = dict(values_of(one.what, one.values, variant))
            for name, value in variant.items():
                set_default(values, tuple(name.split(".")), value)
            if any(True for _ in _repeating(values, ())):
                continue
            for path in () if wire.meaning.named else wire.meaning.id:
                if can_set(values, path):
                    set_default(values, path, 0)
            try:
                frame = native.sent_by(one.who, wire.build(values, one.who))
                found = native.KINDS[native.frame(address, frame).kind]
            except (ProtokitError, EOFError):
                continue
            if found != "greeting":
                raise DeclarationError(
                    f"{one.what} is read as a {found}, not as a greeting: give values for which when= holds, "
                    "or change that"
                )


def _replies(wire: WireFormat, address: int) -> Iterator[Reply]:
    """All that the codec says by itself, but for greetings."""
    make = wire.replies
    for number, variant in enumerate(wire.variants):
        beat = partial(native.heartbeat, address, 0, number)
        for status in Status:
            if status > Status.APP_ERROR and make.error is not None:
                values = values_of("replies.error", make.error, status, variant)
                build = partial(native.error, address, status, 0, number, b"")
                yield f"the error reply of {status.name}", "response", values, build
        if make.heartbeat is not None:
            yield (
                "replies.heartbeat",
                "heartbeat",
                values_of("replies.heartbeat", make.heartbeat, variant),
                beat,
            )
        if make.heartbeat is not None and make.ack is not None:
            values = values_of("replies.ack", make.ack, variant)
            yield "replies.ack", "heartbeat_ack", values, partial(_acked, address, beat)
        if make.drain is not None:
            values = values_of("replies.drain", make.drain, variant)
            yield "replies.drain", "drain", values, partial(native.drain, address, number)


def _acked(address: int, beat: Callable[[], bytes]) -> bytes:
    return native.heartbeat_ack(address, native.sent_by("client", beat()))


def _read_for_kinds(wire: WireFormat) -> set[FieldPath]:
    m = wire.meaning
    tests = [m.response, m.oneway, m.heartbeat, m.drain, m.greeting, *map(expression_of, walk(wire.nodes))]
    return {path for one in tests for path in (*fields_of(one), *sections_of(views_of(one)))}


def _repeating(values: Mapping[str, Any], at: FieldPath) -> Iterator[FieldPath]:
    """The fields of a reply that repeat something of its request."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _repeating(value, (*at, name))
        elif any(isinstance(one, FromRequest | Kept) for one in flat(value)):
            yield (*at, name)


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
