"""What a declaration lets the kit check: the engine's program against the reference, field by field."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any

import construct
from hypothesis import strategies as st

from protokit import native
from protokit.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protokit.model import Status
from protokit.testing.asked import ARGUMENTS, PATHS
from protokit.testing.changing import check_changes
from protokit.testing.kit import LIMIT, REQUESTS, Checks
from protokit.testing.strategies import field_values, frames
from protokit.testing.voices import DeclaredVoice
from protokit.wire import WireFormat, views
from protokit.wire.compiler import FIRST_ERROR
from protokit.wire.explain import calculate
from protokit.wire.expressions import written
from protokit.wire.nodes import Branch, Choice, Integer, Node, Peeked, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from protokit.wire import Message

CHANGED = 8  # frames of each kind, at least
JUNK = [None, "x", "\ud800", b"", b"\0" * 3, -1, 2**70, 1.5, [], [None], {}, {"x": 1}, object()]


class DeclaredChecks(Checks):
    """The checks of a declared format."""

    @property
    def wire(self) -> WireFormat:
        assert isinstance(self.protocol.wire, WireFormat)
        return self.protocol.wire

    @property
    def voice(self) -> DeclaredVoice:
        return DeclaredVoice(self.protocol, self.renumber)

    def readers(self) -> dict[str, Callable[[bytes], Message]]:
        return {"reference": self.wire.message}

    def reading(self) -> list[Callable[[bytes], Any]]:
        return [self.wire.message, self.wire.explain]

    def has(self, capability: str) -> bool:
        m = self.wire.meaning
        replies = self.wire.replies
        if capability == "drain-sent":
            return replies.drain is not None
        if capability == "errors":
            return replies.error is not None
        if capability == "error-texts":
            return any(which >= FIRST_ERROR for one in self.wire.text_rooms for which in one)
        return {"oneway": m.oneway, "heartbeat": m.heartbeat, "drain": m.drain}[capability] != 0

    def text_room(self, asked: native.Message) -> int:
        """Less where the text's count, or what bounds its section, has no room for more."""
        return self.wire.text_rooms[asked.context & 0xFF].get(FIRST_ERROR + Status.INTERNAL, 0)

    def may_lack_id(self) -> bool:
        """What is no field may not be there."""
        return bool(self.wire.meaning.views_of_id())

    def has_no_id(self, frame: bytes) -> bool:
        """Its field is in no branch of this frame."""
        container, _ = self.wire.parse(frame)
        ids = self.wire.meaning.ids(answers=self.wire.is_answer(container))
        return all(views.value_at(container, path) is None for path in ids)

    def shows(self, name: str, vectors: list[str]) -> bool:
        """A declaration shows what it has: frames of every kind come from it."""
        return bool(vectors) or self.voice.hear(self.example(name)).kind == name

    def corpus(self) -> st.SearchStrategy[bytes]:
        """Golden frames, and frames from the declaration."""
        return super().corpus() | frames(self.wire, self.samples())

    @contextlib.contextmanager
    def only_native(self) -> Iterator[None]:
        def asked(*_: Any, **__: Any) -> None:
            raise AssertionError("the reference codec was asked, where the engine's program should answer")

        before = dict(self.wire.__dict__)
        self.wire.__dict__.update(dict.fromkeys(("parse", "message", "describe", "explain", "build"), asked))
        try:
            yield
        finally:
            self.wire.__dict__.clear()
            self.wire.__dict__.update(before)

    # The declaration's own words.

    def test_what_it_has_can_be_said(self) -> None:
        """What a declaration understands it can answer, and what it says it understands."""
        replies, ids = self.wire.replies, {*self.wire.meaning.id, *self.wire.meaning.answer_id}
        said = {"heartbeat": replies.heartbeat, "drain": replies.drain}
        for name, make in said.items():
            assert make is None or self.has(name), (
                f"replies.{name} is given, but no frame is declared to be one"
            )
        width = {one.width for one in walk(self.wire.nodes) if isinstance(one, Integer) and one.path in ids}
        if self.wire.meaning.named is None:
            assert width == {self.id_bytes()} or not (width or self.id_bytes()), "ids have another width"
        assert not self.has("heartbeat") or replies.ack, (
            "heartbeats are declared; replies.ack has to answer them"
        )

    def test_golden_vectors_are_built_again_from_plain_values(self) -> None:
        for one in self.vectors:
            container, size = self.wire.parse(one.data)
            assert size == len(one.data), one.name
            again = self.wire.build(plain(container, self.wire), native.side_of(one.data))
            assert again == one.data, one.name

    def test_plain_values_make_the_round_trip(self) -> None:
        """Values to bytes and back: the same values, without offsets and raw bytes, make the same bytes."""
        peeked = [one.path for one in walk(self.wire.nodes) if isinstance(one, Peeked)]

        def property_(values: dict[str, Any]) -> None:
            try:
                frame = self.wire.build(values)
                container, size = self.wire.parse(frame)
            except (ProtocolError, EOFError):
                return  # they do not fit together
            assert size == len(frame), f"{size} of {len(frame)} bytes were consumed"
            if any(views.value_at(container, path) != views.value_at(values, path) for path in peeked):
                return  # what comes next is not what they say
            again = plain(container, self.wire)
            side = native.side_of(frame)
            assert self.wire.build(again, side) == frame
            assert plain(self.wire.parse(self.wire.build(again, side))[0], self.wire) == again
            assert _within(again, values), f"{values} came back as {again}"

        self.every(property_, (one.values for one in self.cases.ways))
        self.check(property_, field_values(self.wire, self.samples()))

    def test_values_of_the_wrong_kind_are_refused(self) -> None:
        for sample in self.cases.short:
            values = plain(self.wire.parse(sample)[0])
            for container, name in _leaves(values):
                right = container[name]
                for junk in JUNK:
                    container[name] = junk
                    with contextlib.suppress(LocalProtocolError):
                        self.wire.build(values, native.side_of(sample))
                container[name] = right

    def test_every_byte_of_a_frame_belongs_to_one_field(self) -> None:
        def property_(frame: bytes) -> None:
            at = 0
            for piece in self.wire.explain(frame):
                if piece.size:
                    assert piece.offset == at, piece
                    at += piece.size
            assert at == self.frame(frame).size

        self.every(property_, self.cases.whole)
        self.check(property_, self.corpus())

    # The program.

    def test_every_branch_is_taken_both_ways(self) -> None:
        """By frames on which program and reference agree."""
        taken: set[tuple[int, int]] = set()
        wanted = _all_branches(self.wire.nodes)

        def property_(data: bytes) -> None:
            try:
                container, size = self.wire.parse(data)
            except (EOFError, RemoteProtocolError):
                return
            message = self.frame(data, LIMIT)
            assert (message.result, message.size) == (0, size), f"{message}, the reference says {size} bytes"
            _branches(self.wire.nodes, container, taken)

        for one in self.whole("request"):  # what the proxy says goes some way, too
            for status in Status:
                if status > Status.APP_ERROR:
                    property_(self.voice.error(status, one.data, "why"))
        self.every(property_, self.cases.whole)
        if wanted.keys() - taken:  # a way through that only luck may find
            self.check(property_, self.corpus())
        missing = [text for key, text in wanted.items() if key not in taken]
        assert not missing, f"no frame was found {'; nor '.join(missing)}"

    def agree(
        self,
        name: str,
        reader: Callable[[bytes], Message],
        data: bytes,
        message: native.Message,
        request: Any,
    ) -> None:
        """As of any codec, and on each argument."""
        super().agree(name, reader, data, message, request)
        if not self.wire.meaning.arguments or message.result != 0:
            return
        asked = [(index, ()) for index in (*range(ARGUMENTS), 2**32 - 1)]
        for index, keys in (*asked, *(PATHS if self.codec.ask.reads_inside else ())):
            asks = (self.codec.ask.argument, self.wire.argument)
            got, wanted = (_argued(ask, data[: message.size], index, keys) for ask in asks)
            name = ".".join((str(index), *keys))
            assert got == wanted, f"argument {name} is {got}, the reference says {wanted}"

    def refused(self, data: bytes, message: native.Message, request: Any, why: str) -> None:
        """As of any codec; but what the reference parses is framed, even where its texts cannot be read."""
        with contextlib.suppress(EOFError, RemoteProtocolError):
            _, size = self.wire.parse(data)
            assert (message.result, message.size) == (0, size), f"{message}, the reference says {size} bytes"
        super().refused(data, message, request, why)

    @cached_property
    def plain_program(self) -> native.Address:
        """The codec without its short cut for whole and right frames."""
        return native.declared(self.wire.image(self.protocol.name, shapes=False))

    def test_the_short_cut_and_the_program_agree(self) -> None:
        def property_(data: bytes) -> None:
            quick = self.frame(data, LIMIT)
            assert native.frame(self.plain_program, data, LIMIT) == quick
            if quick.result == 0 and quick.kind in REQUESTS:
                frame = data[: quick.size]
                assert _request(self.plain_program, frame) == _request(self.codec.address, frame)

        cases = self.cases
        self.every(property_, [*cases.whole, *cases.cut, *cases.wrong, *cases.joined])
        self.check(property_, self.corpus())

    def test_the_native_codec_runs(self) -> None:
        """The compiled program answers, and nobody else: one that was given another service says that."""
        assert native.name(self.codec.address) == self.protocol.name
        with self.only_native():
            for sample in self.samples():
                message = self.frame(sample)
                assert message.result == 0
                self.readable(sample, message)
        other = copy.copy(self.wire)
        other.meaning = dataclasses.replace(self.wire.meaning, service=views.Constant("protokit-sentinel"))
        marked = native.declared(other.image("marked"))
        for one in self.whole("request"):
            request = native.request(marked, one.data)
            assert (request.service, request.protocol) == ("protokit-sentinel", "marked"), one.name
            assert native.frame(marked, one.data) == self.frame(one.data), f"{one.name}: not this program"

    def test_the_engines_own_ids_are_told_from_all_others(self) -> None:
        """Where ids are byte strings: a number is written as is declared, and read in no other way.

        But of MessagePack in each width that it fits into, since clients' libraries differ in that.
        """
        named, address = self.wire.meaning.named, self.codec.address
        if named is None or named.passes:
            return
        has_widths = named.form == "msgpack"

        def property_(number: int, other: bytes) -> None:
            number %= 1 << 8 * self.id_bytes()
            written = native.write_id(address, number)
            assert written == named.write(number)
            assert named.allows(written)
            assert native.read_id(address, written) == number
            wide = [one for one in (_in_widths(number) if has_widths else []) if len(one) <= named.most]
            assert [native.read_id(address, one) for one in wide] == [number] * len(wide)
            for strange in (other, b"0" + written, written + b"0", written[1:], written.upper() + b" "):
                read = native.read_id(address, strange)
                assert (
                    read is None
                    or native.write_id(address, read) == strange
                    or (has_widths and strange in _in_widths(read))
                )

        others = [b"", *(bytes([byte]) for byte in range(256)), b"0" * named.most, b"-" * named.most]
        numbers = [*range(301), *(1 << bit for bit in range(64)), 2**64 - 1]
        self.every(property_, numbers, others[:1])
        self.every(property_, numbers[:2], others)
        self.check(property_, st.integers(0, 300) | st.integers(0, 2**64 - 1), st.binary(max_size=named.most))

    # Changes.

    def test_the_engine_changes_frames_as_the_declaration_does(self) -> None:
        """What it cannot change is left to Python; what both can is the same, byte for byte."""
        frames: dict[str, list[bytes]] = {"request": [], "oneway": [], "response": []}
        for frame in sorted({*(one.data for one in self.vectors), *self.cases.whole}, key=len):
            with contextlib.suppress(EOFError, RemoteProtocolError):
                frames.get(self.wire.kind(self.wire.parse(frame)[0]), []).append(frame)
        for some in frames.values():  # short ones and long ones
            for frame in some[:: max(1, len(some) // CHANGED)]:
                check_changes(self.wire, frame)

    # Replies.

    def test_the_engine_says_what_the_declaration_says(self) -> None:
        """Heartbeats, their answers, drain signals, errors of every status and variant, byte for byte."""
        text = "protokit: no route for it"
        for one in self.whole("request"):
            asked = self.frame(one.data)
            key = asked.upstream_key
            for number in (0, 1, (1 << 8 * self.id_bytes()) - 1):
                said = self.codec.ask.heartbeat(number, key)
                like = one.data if self.wire.meaning.separate else self.first_variant(one.data)
                assert said == self.voice.heartbeat(number, like), f"heartbeat {number} like {one.name}"
                if said and self.wire.replies.ack is not None:
                    assert self.codec.ask.heartbeat_ack(said) == self.voice.ack(said), one.name
            kept = self.codec.ask.keep(one.data)
            assert self.codec.ask.drain(asked.context, kept) == self.voice.drain(one.data), one.name
            for status in Status:
                if status > Status.APP_ERROR:
                    reply = self.codec.ask.error(status, asked.id, asked.context, text.encode(), kept)
                    assert reply == self.voice.error(status, one.data, text), f"{status.name} to {one.name}"
                    if not reply:
                        continue
                    expected = self.wire.message(reply).status
                    assert self.frame(reply).status == expected, f"{status.name} to {one.name}"

    def first_variant(self, like: bytes) -> bytes:
        """A golden request of the first variant, in whose form heartbeats of a shared connection are."""
        requests = [one.data for one in self.whole("request")]
        return next((one for one in requests if self.voice.variant(one) == 0), like)


def _argued(ask: Callable[..., Any], frame: bytes, index: int, keys: tuple[str, ...]) -> Any:
    """What is said of an argument: a value with its type, or the kind of error."""
    try:
        value = ask(frame, index, keys)
    except (IndexError, ProtocolError) as error:
        return type(error).__name__
    return type(value).__name__, repr(value)


def plain(container: Any, wire: WireFormat | None = None) -> Any:
    """A parsed container as plain values: without offsets, raw bytes and what construct adds.

    Args:
        container: what ``WireFormat.parse`` gave.
        wire: also leaves out what this format computes by itself: lengths, constants, checksums.
    """
    computed = set() if wire is None else {one.path for one in wire.meaning.checksums}
    return _plain(container, None if wire is None else wire.declaration, computed, ())


def _plain(value: Any, declaration: Any, computed: set[tuple[str, ...]], at: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        fields = dict(_fields(declaration))
        return {
            name: _plain(inner, fields.get(name), computed, (*at, name))
            for name, inner in value.items()
            if not name.startswith("_")
            and inner is not None
            and (*at, name) not in computed
            and not _computed(fields.get(name))
        }
    if isinstance(value, list):
        return [_plain(inner, None, computed, at) for inner in value]
    return value


def _computed(declaration: Any) -> bool:
    """Whether what stands there is no value that one gives, wherever it is there."""
    if isinstance(declaration, construct.IfThenElse):
        return all(
            one is construct.Pass or _computed(one)
            for one in (declaration.thensubcon, declaration.elsesubcon)
        )
    return isinstance(declaration, construct.Rebuild | construct.Const)


def _fields(declaration: Any) -> Iterator[tuple[str, Any]]:
    """The named fields of a Struct, or of all branches that may stand in its place."""
    if isinstance(declaration, construct.IfThenElse):
        for branch in (declaration.thensubcon, declaration.elsesubcon):
            yield from _fields(branch)
    elif isinstance(declaration, construct.Switch):
        for case in (*declaration.cases.values(), declaration.default):
            yield from _fields(case)
    else:
        yield from ((one.name, one.subcon) for one in getattr(declaration, "subcons", ()) if one.name)


def _within(found: Any, given: Any) -> bool:
    """Whether every value that came back is the one that was given."""
    if isinstance(found, dict):
        return all(name not in given or _within(inner, given[name]) for name, inner in found.items())
    return bool(found == given)


def _leaves(values: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        yield values, name


def _request(codec: int, frame: bytes) -> Any:
    try:
        one = native.request(codec, frame)
    except RemoteProtocolError as error:
        return str(error)
    return (one.service, one.method, one.version, one.group, one.timeout_ms, dict(one.headers))


def _all_branches(nodes: tuple[Node, ...]) -> dict[tuple[int, int], str]:
    """All ways through, each with the words for a frame that goes it."""
    found: dict[tuple[int, int], str] = {}
    for node in nodes:
        if isinstance(node, Branch):
            found |= {(id(node), 0): f"for which {written(node.test)} does not hold"}
            found |= {(id(node), 1): f"for which {written(node.test)} holds"}
            found |= _all_branches(node.then) | _all_branches(node.otherwise)
        elif isinstance(node, Choice):
            for value, case in node.cases:
                found |= {(id(node), value): f"with {value} for {written(node.key)}"} | _all_branches(case)
            found |= _all_branches(node.default or ())
    return found


def _branches(nodes: tuple[Node, ...], container: Any, taken: set[tuple[int, int]]) -> None:
    for node in nodes:
        if isinstance(node, Branch):
            holds = int(calculate(node.test, container) != 0)
            taken.add((id(node), holds))
            _branches(node.then if holds else node.otherwise, container, taken)
        elif isinstance(node, Choice):
            key = calculate(node.key, container)
            taken.add((id(node), key))
            _branches(dict(node.cases).get(key, node.default or ()), container, taken)


def _in_widths(number: int) -> list[bytes]:
    """A number as MessagePack can say it: unsigned and signed, of 8 to 64 bits (its specification, "int")."""
    unsigned = [
        bytes([0xCC + place]) + number.to_bytes(1 << place, "big")
        for place in range(4)
        if number >> (8 << place) == 0
    ]
    signed = [
        bytes([0xD0 + place]) + number.to_bytes(1 << place, "big")
        for place in range(4)
        if number >> ((8 << place) - 1) == 0
    ]
    return unsigned + signed
