"""WireFormat: a wire format declared once, used three ways.

The construct declaration is the specification that people read, the reference codec in Python (``parse``,
``build``, ``edit``), and what is compiled to the program that the engine runs (``address``).
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import construct

from protokit import native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError, word
from protokit.wire import views
from protokit.wire.answered import check_kinds_of_replies, check_repeated_ids
from protokit.wire.answers import noted
from protokit.wire.arguments import argued, argument, bodies, change, decoded
from protokit.wire.building import complete, count, counting
from protokit.wire.changes import InPythonError, changes_of
from protokit.wire.checksums import in_order, seal, verify
from protokit.wire.codec import Codec, DeclaredCodec
from protokit.wire.compiler import compile_image, is_sided, open_sections
from protokit.wire.counters import told_sections
from protokit.wire.edited import edited
from protokit.wire.evaluation import evaluated
from protokit.wire.explain import Piece, explain
from protokit.wire.expressions import Field, show
from protokit.wire.given import expect, flag, one_or_several, seen, several, values_of
from protokit.wire.greeting import Conversation, Greeting
from protokit.wire.ids import PAIR, ByteId, check_computed, given_as, ids_of, of_answers
from protokit.wire.laid import check_laid, looked_into
from protokit.wire.laid import complete as fill_in
from protokit.wire.layout import read, rebuilt
from protokit.wire.message import Message, describe, holds, kind_of
from protokit.wire.nodes import Delimited, Integer, Rest, Section, Varint, walk
from protokit.wire.parameters import (
    check_constants,
    check_ids,
    check_maps,
    expression,
    readable_sections,
    reserved_of,
    variants_of,
    view,
)
from protokit.wire.program import Emit, Image, Meaning
from protokit.wire.rendering import Rendering
from protokit.wire.replies import TEXT_MAX, Replies, can_set, field_path, kept_node
from protokit.wire.requested import FromPeer, Parts
from protokit.wire.rest import check_rest
from protokit.wire.sections import set_at
from protokit.wire.sides import SIDE
from protokit.wire.structures.headers import as_map
from protokit.wire.unbuilt import unbuilt
from protokit.wire.views import Chosen, Decimal, leaves
from protokit.wire.vocabulary import ENDED, varint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from protokit.wire.changes import Changes
    from protokit.wire.expressions import FieldPath
    from protokit.wire.told import Digits

MODES = {"multiplexed": 0, "ordered": 1, "pingpong": 2, "pinned": 0}
KINDS = native.KINDS


@word
class WireFormat:
    """A declared wire format.

    Args:
        declaration: a ``construct.Struct`` of the frame.
        replies: what the proxy says by itself.
        id: the field with the request's id (``this.id``), or several where branches have their own; None
            where there are none. An integer, or a section of at most 64 bytes (``byte_id``).
        answer_id: the field, or several, with the id of the request that an answer answers, where requests
            have theirs in another one: an integer, or ``byte_id`` of a view where ``id`` is one, too.
        response, oneway, heartbeat, drain: expressions that say what a frame is; a heartbeat's answer is a
            heartbeat that is a response.
        last, more: expressions: a request or an answer is its sender's last on the connection; more
            answers to the same request follow.
        status: ``table(this.status, {0: Status.OK}, Status.INTERNAL)``, of a response.
        app_error: a condition, or several, by which an OK response holds the service's own error.
        timeout: the caller's budget, ms: an expression.
        service, method, version, group: views.
        headers: ``pairs``, ``lines`` or a map in a structure; of requests, and of answers that have it in the
            same field.
        answer_headers: those of answers, where they stand elsewhere.
        arguments: those of calls: an array of ``msgpack`` or ``json``, or a list of views; or what reads and
            writes them for filters alone (``Arguments``).
        readable: ``(this.body, this.codec == 0)``, or several: a section, and the condition under which views
            look into it. Where it does not hold (compressed, encrypted), they find nothing there.
        checksum: ``crc32(...)`` or another (``checksums.py``), or several.
        variants: sets of field values, such as ``{"proto": 2, "ver1": 1}``; a frame is of the first that
            fits. A reply is built for each, and answers a request of the same.
        separate: requests of different variants never share an upstream connection.
        keep: fields of a request, 3 bytes in all, that an error reply repeats (``Kept``).
        reserved_ids: never issued upstream.
        greeting: what peers say before requests.
        mode: ``multiplexed``, ``ordered``, ``pingpong``, or ``pinned``: each client has an upstream
            connection of its own, where ids stay as they are; without an id answers come in the requests'
            order. In ``ordered`` and ``pingpong`` an id only comes back as it was.

    Raises:
        DeclarationError: something in it cannot be compiled; it names the field and what to use instead.
    """

    tier = "declared"

    def __init__(
        self,
        declaration: Any,
        *,
        replies: Replies,
        id: Any = None,  # noqa: A002  # the field's standard name
        answer_id: Any = None,
        response: Any = 0,
        oneway: Any = 0,
        heartbeat: Any = 0,
        drain: Any = 0,
        last: Any = 0,
        more: Any = 0,
        status: views.Table | None = None,
        app_error: Any = (),
        timeout: Any = 0,
        service: Any = None,
        method: Any = None,
        version: Any = None,
        group: Any = None,
        headers: Any = None,
        answer_headers: Any = None,
        arguments: Any = None,
        readable: Any = None,
        checksum: Any = (),
        variants: Sequence[Mapping[str, int]] = ({},),
        separate: bool = False,
        keep: Sequence[Any] = (),
        reserved_ids: Sequence[int] = (),
        greeting: Greeting | None = None,
        mode: str = "multiplexed",
    ) -> None:
        self.declaration = declaration
        self.nodes = read(declaration)
        check_laid(self.nodes)
        check_rest(self.nodes, mode)
        self._reference = evaluated(declaration)
        self.replies = replies
        expect("replies", replies, Replies, "write Replies(error=lambda status, variant: {...})")
        self.variants = variants_of(variants)
        self.reserved_ids = reserved_of(reserved_ids)
        self.mode = mode
        self.name = "declared"
        if not isinstance(mode, str) or mode not in MODES:
            raise DeclarationError(f"mode: {seen(mode)} is none of {', '.join(MODES)}")
        bytes_id, ids = given_as(id)
        has_id = bool(ids) or bytes_id.view is not None
        if not has_id and mode == "multiplexed":
            raise DeclarationError(
                "mode='multiplexed' needs an id: write id=this.NAME, or mode='ordered' or 'pingpong' where "
                "answers come in the requests' order"
            )
        self._mode = MODES["ordered" if mode == "pinned" and not has_id else mode]
        if not 1 <= len(self.variants) <= 255:
            raise DeclarationError(
                f"variants: {len(self.variants)} were given; there are 1 to 255, and ({{}},) is the one of "
                "most formats"
            )
        self.greeting = greeting
        self.conversation = Conversation(greeting, mode)
        paths = tuple(field_path(one, "id") for one in ids)
        answer_paths = tuple(field_path(one, "answer_id") for one in of_answers(answer_id))
        by_bytes = ids_of(self.nodes, paths, bytes_id, answer_id, rewritten=mode == "multiplexed")
        if by_bytes is None and isinstance(id, ByteId):
            raise DeclarationError(
                f"byte_id: {show(paths[0])} is no section; write id=this.NAME of an integer"
            )
        if answer_paths and (by_bytes is not None or not paths):
            raise DeclarationError(f"answer_id: {PAIR}")
        check_ids(self.nodes, paths, answer_paths, self.reserved_ids, self.variants)
        if by_bytes is not None and self.reserved_ids:
            raise DeclarationError(
                "reserved_ids: the engine's own ids, where they are byte strings, need none"
            )
        headers = as_map(headers, "headers")
        answer_headers = as_map(answer_headers, "answer_headers")
        check_maps(status, headers=headers, answer_headers=answer_headers)
        self.meaning = Meaning(
            id=paths,
            answer_id=answer_paths,
            named=by_bytes,
            response=expression(response, "response"),
            oneway=expression(oneway, "oneway"),
            heartbeat=expression(heartbeat, "heartbeat"),
            drain=expression(drain, "drain"),
            last=expression(last, "last"),
            more=expression(more, "more"),
            greeting=0 if greeting is None else expression(greeting.when, "greeting.when"),
            greeting_refused=0 if greeting is None else expression(greeting.refused, "greeting.refused"),
            forms=self.conversation.expressions(),
            status=None if status is None else (expression(status.value, "status"), status),
            app_error=tuple(expression(one, "app_error") for one in one_or_several(app_error)),
            timeout=expression(timeout, "timeout"),
            service=view(service, "service"),
            method=view(method, "method"),
            version=view(version, "version"),
            group=view(group, "group"),
            headers=headers,
            answer_headers=headers if answer_headers is None else answer_headers,
            arguments=() if bodies(arguments) else argued(arguments),
            bodies=bodies(arguments),
            checksums=in_order(self.nodes, one_or_several(checksum)),
            variants=tuple(
                {tuple(name.split(".")): value for name, value in one.items()} for one in self.variants
            ),
            keep=tuple(field_path(one, "keep") for one in several("keep", keep, "write keep=[this.NAME]")),
            separate=flag("separate", separate),
            readable=readable_sections(self.nodes, [] if readable is None else readable),
        )
        for path in self.meaning.keep:
            kept_node(self.nodes, path, "keep")
        self.meaning = noted(self.nodes, self.meaning, mode)
        # Whatever cannot be compiled is said now: first the format, then its replies.
        bare = Image(self.name, self._mode, replies=[{} for _ in self.variants], shapes=False)
        compile_image(self.nodes, self.meaning, bare)
        check_constants(self.meaning)
        self._computed = [*rebuilt(self.declaration)]  # when a frame is built
        self.parts = Parts(self.nodes, replies.answers(self.variants))
        self.meaning.parts = self.parts.all
        said = (
            values_of(one.what, one.values, variant)
            for one in self.conversation.sayings
            for variant in self.variants
        )
        self.heard = Parts(self.nodes, said, FromPeer)
        self.meaning.heard = self.heard.all
        self.image(self.name)
        self._check_computed()

    @cached_property
    def changes(self) -> Changes | None:
        """What of its frames the engine can change."""
        return changes_of(self.nodes, self.meaning, self._computed)

    @cached_property
    def numbers(self) -> frozenset[FieldPath]:
        """The integers that changes may write."""
        values = [
            one.value for one in leaves(self.meaning.destination()) if isinstance(one, Decimal | Chosen)
        ]
        return frozenset(value.path for value in values if isinstance(value, Field))

    def _check_computed(self) -> None:
        computed = [(path, one) for path, one in self._computed if one is not None]
        named = self.meaning.named
        if named is not None and self.mode == "multiplexed":
            for one in (named, named.of(answers=True)):
                check_computed(one, self.meaning.id, computed)
        check_repeated_ids(self)

    @cached_property
    def looked_into(self) -> list[FieldPath]:
        """Sections that its layout reads texts in."""
        return looked_into(self.nodes)

    @cached_property
    def told(self) -> dict[FieldPath, Digits]:
        """The sections that numbers in texts count, with those that are written again where they stand."""
        return told_sections(self.nodes)

    @cached_property
    def _counting(self) -> list[Any]:
        return counting(self.declaration)

    @cached_property
    def sided(self) -> bool:
        """Whether a frame means, or is laid out, something else by which side sent it."""
        about = Image(self.name, MODES[self.mode], replies=[{} for _ in self.variants], shapes=False)
        return is_sided(self.nodes, self.meaning, about)

    @cached_property
    def ends(self) -> bool:
        """Whether its sender's end may tell where a frame ends."""
        return any(isinstance(node, Rest) for node in walk(self.nodes))

    @cached_property
    def open_sections(self) -> tuple[FieldPath, ...]:
        """Those at the end that nothing looks into: with ``mode: pinned`` large ones go on as they come."""
        about = Image(self.name, self._mode, replies=[{} for _ in self.variants], shapes=False)
        return open_sections(self.nodes, self.meaning, about)

    def front(self, frame: bytes) -> int:
        """How many bytes of a whole frame tell all about it; its size where it takes all of it."""
        size = 0
        for piece in reversed(self.explain(frame)):
            size = max(size, piece.offset + piece.size)
            if piece.size:
                told = piece.path in self.open_sections and piece.node is not Rest
                return piece.offset if told else size
        return size

    @property
    def tells_answers(self) -> bool:
        """Whether something says which frames are answers, or no frame has one."""
        return self.meaning.response != 0 or self.meaning.oneway == 1

    # The native program.

    def image(self, name: str, *, shapes: bool = True) -> bytes:
        """The compiled program.

        Args:
            name: of the protocol.
            shapes: with the short cut for whole and right frames, which says what the program says.
        """
        pieces = self._pieces
        longest = max(
            sum(len(one.data) + one.width + 10 + self.parts.room(one) for one in reply)
            for variant in pieces
            for reply in [*variant.values(), []]
        )
        about = Image(
            name=name,
            mode=self._mode,
            reserved=self.reserved_ids,
            text_encoding=self.replies.encoding,
            replies=pieces,
            reply_max=longest + TEXT_MAX,
            conversation=self.conversation,
            pinned=self.mode == "pinned",
            optional_drain=self.replies.optional_drain,
            shapes=shapes,
            editing=self._editing(name),
        )
        return compile_image(self.nodes, self.meaning, about)

    def _editing(self, name: str) -> bytes:
        """The program that the engine runs to change frames: it knows more of them, and is slower."""
        if self.changes is None:
            return b""
        meaning = replace(self.meaning, parts=(), heard=(), arguments=(), bodies=None)
        about = Image(name, self._mode, self.reserved_ids, replies=[{} for _ in self.variants], shapes=False)
        for changes in (self.changes, replace(self.changes, said=())):
            with contextlib.suppress(DeclarationError, InPythonError):  # it would have to know too much
                return compile_image(self.nodes, meaning, about, changes)
        return b""

    @cached_property
    def _pieces(self) -> list[dict[int, list[Emit]]]:
        """The replies of each variant."""
        return [self._variant_replies(variant) for variant in self.variants]

    @property
    def text_rooms(self) -> list[dict[int, int]]:
        """Of each variant: the most bytes that an error's text may take, by the replies that hold one."""
        return [
            {which: one.base for which, reply in variant.items() for one in reply if one.what == "EMIT_TEXT"}
            for variant in self._pieces
        ]

    def check_replies(self) -> None:
        """What it says by itself is read as what it is, in so far as no request decides that.

        Raises:
            DeclarationError: names the reply, and what it is read as.
        """
        check_kinds_of_replies(self, self.address)

    @cached_property
    def address(self) -> native.Address:
        """Of the codec (``pk_codec``) that runs the program; loaded when it is first asked for."""
        return native.declared(self.image(self.name))

    @property
    def reads_headers(self) -> bool:
        """Whether its requests have headers."""
        return self.meaning.headers is not None

    # The reference.

    @property
    def ask(self) -> Codec:
        """What is asked of it from Python, beside its declaration."""
        return DeclaredCodec(self)

    def parse(self, data: bytes, side: str | None = None, *, ended: bool = False) -> tuple[Any, int]:
        """The fields of the frame in front, by construct, and its size.

        Args:
            data: it, and what follows.
            side: who sent it, ``client`` or ``server``; None where that is not known, or ``data`` says it
                (``native.sent_by``).
            ended: its sender sends no more; where ``data`` does not say it.

        Raises:
            EOFError: the frame is not whole.
            RemoteProtocolError: it is malformed.
        """
        side = side or native.side_of(data)
        stream = io.BytesIO(data)
        try:
            given = {SIDE: native.SIDES.index(side), ENDED: ended or native.has_ended(data)}
            container = self._reference.parse_stream(stream, **given)
        except construct.StreamError as error:
            if "negative" in str(error):
                raise RemoteProtocolError(f"a length is negative: {error}", stream.tell()) from error
            raise EOFError(str(error)) from error
        except (construct.ConstructError, ValueError) as error:
            raise RemoteProtocolError(str(error), stream.tell()) from error
        size = stream.tell()
        if side is not None:
            container[SIDE] = native.SIDES.index(side)
        if any(views.value_at(container, one.path) is not None for one in self.meaning.checksums):  # few have
            self._verify(data[:size], side)
        request_id = self.id_of(container)
        if isinstance(request_id, bytes) and self.meaning.named and len(request_id) > self.meaning.named.most:
            raise RemoteProtocolError(
                f"the id has {len(request_id)} bytes, {self.meaning.named.most} are allowed at most"
            )
        return container, size

    def message(self, data: bytes, side: str | None = None) -> Message:
        """The frame in front with its meaning; ``side``: see ``parse``.

        Raises:
            EOFError: the frame is not whole.
            RemoteProtocolError: it is malformed.
        """
        return self.describe(*self.parse(data, side))

    def describe(self, container: Any, size: int) -> Message:
        """What parsed fields mean.

        Raises:
            RemoteProtocolError: a request's service, method or headers are malformed.
        """
        with self.only_readable(container):
            return describe(self.meaning, container, size, self.id_of(container))

    @contextlib.contextmanager
    def only_readable(self, container: Any) -> Iterator[dict[Any, Any]]:
        """Meanwhile sections that cannot be read are not there; gives what they hold."""
        hidden = {
            path: found
            for path, test in self.meaning.readable.items()
            if not holds(test, container) and (found := views.value_at(container, path)) is not None
        }
        for path in hidden:
            set_at(container, path, None)
        try:
            yield hidden
        finally:
            for path, found in hidden.items():
                set_at(container, path, found)

    def kind(self, container: Any) -> str:
        """What a frame is; see ``Message``."""
        return kind_of(self.meaning, container)

    def id_of(self, container: Any) -> native.Id | None:
        """The id; of several that a frame has, the last one. None where it has none."""
        found: native.Id | None = None
        m, answers = self.meaning, self.is_answer(container)
        if m.named is not None and (view := m.named.of(answers=answers).view) is not None:
            try:
                return view.get(container)
            except RemoteProtocolError:
                return None
        for node in self._ids[answers]:
            value = views.value_at(container, node.path)
            if value is not None and isinstance(node, Varint):
                found = varint(value)
            elif value is not None:
                found = int(value) % (1 << 8 * node.width) if isinstance(node, Integer) else bytes(value)
        return found

    def is_answer(self, container: Any) -> bool:
        """Whether it has its id where answers have theirs, if that is another place."""
        m = self.meaning
        chosen = bool(m.answer_id) or (m.named is not None and m.named.answers is not None)
        return chosen and self.kind(container) in {"response", "ack"}

    @cached_property
    def _ids(self) -> dict[bool, list[Integer | Section | Delimited | Varint]]:
        """The fields that are the id, in the frame's order: of requests, and of answers."""
        kinds = Integer | Section | Delimited | Varint
        fields = [one for one in walk(self.nodes) if isinstance(one, kinds)]
        return {
            answers: [one for one in fields if one.path in self.meaning.ids(answers=answers)]
            for answers in (False, True)
        }

    def argument(self, data: bytes, index: int, keys: Sequence[str] = ()) -> native.Argument:
        """An argument of a whole request's call, or what is inside of it, as ``native.argument`` says it.

        Raises:
            IndexError: the call has no such argument.
            LocalProtocolError: the format declares none.
            RemoteProtocolError: it cannot be read.
        """
        container, _ = self.parse(data, native.side_of(data) or "client")
        if self.kind(container) not in {"request", "oneway"}:
            raise IndexError(f"this is no call, and has no argument {index}")
        with self.only_readable(container):
            return argument(self.meaning.arguments, container, index, keys)

    def arguments(self, data: bytes) -> list[Any]:
        """All arguments of a whole request's call as Python values.

        Raises:
            LocalProtocolError: the format declares none.
            RemoteProtocolError: they cannot be read.
        """
        if self.meaning.bodies is not None:
            return self.meaning.bodies.read(data)
        container, _ = self.parse(data, native.side_of(data) or "client")
        with self.only_readable(container):
            return decoded(self.meaning.arguments, container)

    def with_arguments(self, data: bytes, values: list[Any]) -> bytes:
        """The request with other arguments, as many as it has.

        Raises:
            LocalProtocolError: the format cannot say it.
        """
        if self.meaning.bodies is not None:
            return self.meaning.bodies.write(data, values)
        container, size = self.parse(data, native.side_of(data) or "client", ended=True)
        with self.only_readable(container):
            change(self.meaning.arguments, container, values)
        return self.build(container) + data[size:]

    def explain(self, data: bytes, side: str | None = None) -> list[Piece]:
        """Every field of the frame in front with its offset, size and value; ``side``: see ``parse``.

        Raises:
            EOFError: the frame is not whole.
            RemoteProtocolError: it is malformed; says at which offset what was expected.
        """
        side = side or native.side_of(data)
        pieces = explain(self.nodes, data, native.SIDES.index(side), ended=native.has_ended(data))
        self._verify(data[: pieces[-1].offset + pieces[-1].size] if pieces else b"", side)
        return pieces

    def build(self, values: Mapping[str, Any], side: str | None = None) -> bytes:
        """A frame from plain field values; lengths declared with Rebuild and checksums are computed.

        Args:
            values: of its fields, or what was parsed.
            side: who sends it; what was parsed knows.

        Raises:
            LocalProtocolError: a field is missing or does not fit.
        """
        side = side or native.SIDES[values.get(SIDE) or 0]
        frame = self._seal(self._unsealed(values, side), side)
        pieces = self._explained(frame, side) if self.ends else ()
        return native.sent_by(side, frame, ended=any(piece.node is Rest for piece in pieces))

    def _unsealed(self, values: Mapping[str, Any], side: str | None = None) -> bytes:
        number = native.SIDES.index(side) or int(values.get(SIDE) or 0)
        full = {**values, SIDE: number}
        try:
            full = complete(self.declaration, full, number)
            count(self._counting, full)
            if self.looked_into:
                fill_in(self.nodes, self.looked_into, full)
            for checksum in self.meaning.checksums:  # filled in when the frame is sealed
                if can_set(full, checksum.path) and views.value_at(full, checksum.path) is None:
                    set_at(full, checksum.path, b"0" * checksum.digits or 0)
            return bytes(self._reference.build(full, **{SIDE: number}))
        except (
            construct.ConstructError,
            RemoteProtocolError,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            why = unbuilt(error, self.declaration, full)
            raise LocalProtocolError(f"the frame cannot be built: {why}") from error

    def edit(
        self, data: bytes, edits: Sequence[tuple[int, str, str | None]], side: str | None = None
    ) -> bytes:
        """A request, or an answer with other headers; see ``native.edit``. It is a client's if nobody says.

        Raises:
            LocalProtocolError: the format cannot say it.
        """
        return edited(self, data, edits, side or native.side_of(data) or "client")

    def _explained(self, frame: bytes, side: str | None) -> list[Piece]:
        """Of a whole frame."""
        return explain(self.nodes, frame, native.SIDES.index(side), ended=True)

    def _verify(self, frame: bytes, side: str | None) -> None:
        if self.meaning.checksums:
            verify(self.meaning.checksums, self._explained(frame, side), frame)

    def _seal(self, frame: bytes, side: str | None) -> bytes:
        checksums = self.meaning.checksums
        return seal(checksums, self._explained(frame, side), frame) if checksums else frame

    def _variant_replies(self, variant: dict[str, int]) -> dict[int, list[Emit]]:
        replies, steps = (
            Rendering(self.nodes, self.meaning, self.replies, self.conversation, parts, self._unsealed)
            for parts in (self.parts, self.heard)
        )
        return {**replies.of(variant), **steps.greeting(variant)}

    def __repr__(self) -> str:
        return f"WireFormat({self.name!r})"
