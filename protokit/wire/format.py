"""WireFormat: a wire format declared once, used three ways.

The construct declaration is the specification that people read, the reference codec in Python (``parse``,
``build``, ``edit``), and what is compiled to the program that the engine runs (``address``).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import construct

from protokit import native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.model import Headers, Status
from protokit.wire import views
from protokit.wire.codec import Codec, DeclaredCodec
from protokit.wire.compiler import FIRST_GREETING, GREETING_STEPS, Emit, Image, Meaning, compile_image
from protokit.wire.evaluation import evaluated
from protokit.wire.explain import Piece, calculate, explain
from protokit.wire.ids import ByteId, named
from protokit.wire.layout import Bits, FieldPath, Integer, Varint, path_of, read, resolve, show, walk

MODES = {"multiplexed": 0, "ordered": 1, "pingpong": 2, "pinned": 0}
KINDS = ("", "request", "oneway", "response", "heartbeat", "ack", "drain", "undrain", "ignore", "greeting")
_TEXT_MAX = 6 * 512


@dataclass(frozen=True)
class ErrorText:
    """In a reply's values: a section that holds the error's text.

    Where a delimiter ends the section, a space (or ``_``) stands for its bytes in the text.

    Attributes:
        before, after: fixed bytes around the text.
        count: an integer such as ``Int16ub``, written between ``before`` and the text, that counts it.
        units: the count is of UTF-16 units, not of bytes.
    """

    before: bytes = b""
    after: bytes = b""
    count: Any = None
    units: bool = False


@dataclass(frozen=True)
class Kept:
    """In a reply's values: the same as in the request's field of that name (named in ``keep`` too)."""

    field: Any


@dataclass(frozen=True)
class Replies:
    """What the proxy says by itself, as plain field values; the id is filled in where it is not given.

    Attributes:
        error: values of the error reply: (status, variant) to a mapping.
        heartbeat, ack, drain: variant to a mapping; None where the protocol has none.
        optional_drain: clients that do not know ``drain`` close the connection: it is sent only where the
            listener has ``goaway: true``.
        encoding: of the texts: ``utf-8``, ``hessian`` (each UTF-16 unit alone) or ``json`` (escaped).
    """

    error: Callable[[Status, Mapping[str, int]], Mapping[str, Any]]
    heartbeat: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    ack: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    drain: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    optional_drain: bool = False
    encoding: str = "utf-8"


Values = Callable[[Mapping[str, int]], Mapping[str, Any]]


@dataclass(frozen=True)
class Greeting:
    """What peers say to each other before requests: log in, or agree on something.

    The proxy is the server towards clients, and takes whatever they say; it is the client towards servers,
    and says the same to each.

    Attributes:
        when: an expression: these frames are greetings.
        steps: what is said, in order, 1 to 4 frames: (``"client"`` or ``"server"``, variant to plain field
            values).
        refused: an expression: a greeting that says no.
    """

    when: Any
    steps: Sequence[tuple[str, Values]]
    refused: Any = 0


@dataclass
class Message:
    """One frame, read by the reference codec.

    Attributes:
        kind: ``request``, ``oneway``, ``response``, ``heartbeat``, ``ack``, ``drain`` or
            ``greeting``.
        size: bytes of the whole frame.
        id: unsigned, or bytes where ids are byte strings.
        fields: the parsed container.
    """

    kind: str
    size: int
    id: native.Id
    status: Status
    timeout_ms: int
    service: str
    method: str
    version: str
    group: str
    headers: Headers
    fields: Any


class WireFormat:
    """A declared wire format.

    Args:
        declaration: a ``construct.Struct`` of the frame.
        replies: what the proxy says by itself.
        id: the field with the request's id (``this.id``), or several where branches have their own; None
            where there are none. An integer, or a section of at most 64 bytes (``byte_id``).
        response, oneway, heartbeat, drain: expressions that say what a frame is; a heartbeat's answer is a
            heartbeat that is a response.
        status: ``table(this.status, {0: Status.OK}, Status.INTERNAL)``, of a response.
        app_error: a condition, or several, by which an OK response holds the service's own error.
        timeout: the caller's budget, ms: an expression, or ``number(view)``.
        service, method, version, group: views.
        headers: ``pairs`` or ``lines``.
        checksum: ``crc32(...)``, or several.
        variants: sets of field values, such as ``{"proto": 2, "ver1": 1}``; a frame is of the first that
            fits. A reply is built for each, and answers a request of the same.
        separate: requests of different variants never share an upstream connection.
        keep: fields of a request, 3 bytes in all, that an error reply repeats (``Kept``).
        reserved_ids: never issued upstream.
        greeting: what peers say before requests.
        mode: ``multiplexed``, ``ordered``, ``pingpong``, or ``pinned``: with ids that must stay as they are,
            so that each client has an upstream connection of its own.

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
        response: Any = 0,
        oneway: Any = 0,
        heartbeat: Any = 0,
        drain: Any = 0,
        status: views.Table | None = None,
        app_error: Any = (),
        timeout: Any = 0,
        service: Any = None,
        method: Any = None,
        version: Any = None,
        group: Any = None,
        headers: views.Pairs | None = None,
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
        self._reference = evaluated(declaration)
        self.replies = replies
        self.variants = tuple(dict(variant) for variant in variants)
        self.reserved_ids = tuple(reserved_ids)
        self.mode = mode
        self.name = "declared"
        if mode not in MODES:
            raise DeclarationError(f"mode: {mode!r} is none of {', '.join(MODES)}")
        bytes_id = id if isinstance(id, ByteId) else ByteId((), None, "decimal")
        ids = () if id is None else id if isinstance(id, tuple | list) else (id,)
        ids = bytes_id.fields or ids
        if bool(ids) != (mode in {"multiplexed", "pinned"}):
            raise DeclarationError("an id goes with the modes 'multiplexed' and 'pinned', and only with them")
        if not 1 <= len(self.variants) <= 255 or len(self.reserved_ids) > 4:
            raise DeclarationError("a format has 1 to 255 variants, and at most 4 reserved ids")
        self.greeting = greeting
        if greeting is not None:
            self._check_greeting(greeting)
        paths = tuple(_path(one, "id") for one in ids)
        by_bytes = named(self.nodes, paths, bytes_id.most, bytes_id.form)
        if by_bytes is None and isinstance(id, ByteId):
            raise DeclarationError(
                f"byte_id: {show(paths[0])} is no section; write id=this.NAME of an integer"
            )
        if by_bytes is not None and self.reserved_ids:
            raise DeclarationError(
                "reserved_ids: the engine's own ids, where they are byte strings, need none"
            )
        self.meaning = Meaning(
            id=paths,
            named=by_bytes,
            response=_expression(response, "response"),
            oneway=_expression(oneway, "oneway"),
            heartbeat=_expression(heartbeat, "heartbeat"),
            drain=_expression(drain, "drain"),
            greeting=0 if greeting is None else _expression(greeting.when, "greeting.when"),
            greeting_refused=0 if greeting is None else _expression(greeting.refused, "greeting.refused"),
            status=None if status is None else (_expression(status.value, "status"), status),
            app_error=tuple(
                one if isinstance(one, views.Same) else _expression(one, "app_error")
                for one in (app_error if isinstance(app_error, tuple | list) else (app_error,))
            ),
            timeout=timeout if isinstance(timeout, views.Number) else _expression(timeout, "timeout"),
            service=_view(service),
            method=_view(method),
            version=_view(version),
            group=_view(group),
            headers=headers,
            checksums=tuple(checksum) if isinstance(checksum, tuple | list) else (checksum,),
            variants=tuple(
                {tuple(name.split(".")): value for name, value in one.items()} for one in self.variants
            ),
            keep=tuple(_path(one, "keep") for one in keep),
            separate=separate,
        )
        for path in self.meaning.keep:
            self._kept_node(path, "keep")
        # Whatever cannot be compiled is said now: first the format, then its replies.
        compile_image(
            self.nodes, self.meaning, Image(self.name, MODES[mode], replies=[{} for _ in self.variants])
        )
        self.image(self.name)

    @staticmethod
    def _check_greeting(greeting: Greeting) -> None:
        who = [step[0] for step in greeting.steps]
        if not 1 <= len(who) <= GREETING_STEPS or not set(who) <= {"client", "server"}:
            raise DeclarationError(
                f"greeting: {who} was given; 1 to {GREETING_STEPS} steps of 'client' or 'server' are expected"
            )

    # The native program.

    def image(self, name: str, *, shapes: bool = True) -> bytes:
        """The compiled program.

        Args:
            name: of the protocol.
            shapes: with the short cut for whole and right frames, which says what the program says.
        """
        pieces = [self._variant_replies(variant) for variant in self.variants]
        longest = max(
            sum(len(one.data) + one.width + 5 for one in reply)
            for variant in pieces
            for reply in variant.values()
        )
        about = Image(
            name=name,
            mode=MODES[self.mode],
            reserved=self.reserved_ids,
            text_encoding=self.replies.encoding,
            replies=pieces,
            reply_max=longest + _TEXT_MAX,
            greeting=() if self.greeting is None else tuple(who for who, _ in self.greeting.steps),
            pinned=self.mode == "pinned",
            optional_drain=self.replies.optional_drain,
            shapes=shapes,
        )
        return compile_image(self.nodes, self.meaning, about)

    @cached_property
    def address(self) -> native.Address:
        """Of the codec (``pk_codec``) that runs the program; loaded when it is first asked for."""
        return native.declared(self.image(self.name))

    # The reference.

    @property
    def ask(self) -> Codec:
        """What is asked of it from Python, beside its declaration."""
        return DeclaredCodec(self)

    def parse(self, data: bytes) -> tuple[Any, int]:
        """The fields of the frame in front, by construct, and its size.

        Raises:
            EOFError: the frame is not whole.
            RemoteProtocolError: it is malformed.
        """
        stream = io.BytesIO(data)
        try:
            container = self._reference.parse_stream(stream)
        except construct.StreamError as error:
            if "negative" in str(error):
                raise RemoteProtocolError(f"a length is negative: {error}", stream.tell()) from error
            raise EOFError(str(error)) from error
        except (construct.ConstructError, ValueError) as error:
            raise RemoteProtocolError(str(error), stream.tell()) from error
        size = stream.tell()
        self._verify(data[:size])
        request_id = self._id(container)
        if isinstance(request_id, bytes) and self.meaning.named and len(request_id) > self.meaning.named.most:
            raise RemoteProtocolError(
                f"the id has {len(request_id)} bytes, {self.meaning.named.most} are allowed at most"
            )
        return container, size

    def message(self, data: bytes) -> Message:
        """The frame in front with its meaning.

        Raises:
            EOFError: the frame is not whole.
            RemoteProtocolError: it is malformed.
        """
        return self.describe(*self.parse(data))

    def describe(self, container: Any, size: int) -> Message:
        """What parsed fields mean.

        Raises:
            RemoteProtocolError: a request's service, method or headers are malformed.
        """
        m = self.meaning

        def holds(expression: Any) -> bool:
            return bool(calculate(expression, container))

        kind = (
            "greeting"
            if holds(m.greeting)
            else "drain"
            if holds(m.drain)
            else ("ack" if holds(m.response) else "heartbeat")
            if holds(m.heartbeat)
            else "response"
            if holds(m.response)
            else "oneway"
            if holds(m.oneway)
            else "request"
        )
        status = Status.OK
        if kind == "response":
            status = self._status(container)
        elif kind == "greeting" and holds(m.greeting_refused):
            status = Status.UNAVAILABLE
        request = kind in {"request", "oneway"}
        timeout = 0
        if request:
            budget = (
                m.timeout.get(container)
                if isinstance(m.timeout, views.Number)
                else calculate(m.timeout, container)
            )
            timeout = min(max(budget, 0), 2**32 - 1)
        for one in views.leaves(m.destination()) if request else ():
            if isinstance(one, views.Item):
                one.pairs.items(container)  # one that is malformed is an error, whoever needs it
        texts = {
            name: _text(view.get(container)) if request and view is not None else ""
            for name, view in (
                ("service", m.service),
                ("method", m.method),
                ("version", m.version),
                ("group", m.group),
            )
        }
        headers = Headers()
        if request and m.headers is not None:
            for key, value in m.headers.items(container):
                if key is not None and value is not None:
                    headers[_text(key)] = _text(value)
        return Message(
            kind, size, self._id(container), status, timeout, **texts, headers=headers, fields=container
        )

    def _id(self, container: Any) -> native.Id:
        for path in self.meaning.id:
            value = views.value_at(container, path)
            if value is not None and self.meaning.named is not None:
                return bytes(value)
            if value is not None:
                node = next(n for n in self._integers() if n.path == path)
                return int(value) % (1 << 8 * node.width)
        return 0 if self.meaning.named is None else b""

    def _integers(self) -> list[Integer]:
        return [node for node in walk(self.nodes) if isinstance(node, Integer)]

    def _status(self, container: Any) -> Status:
        m = self.meaning
        status = Status.OK
        if m.status is not None:
            expression, table = m.status
            status = Status(table.entries.get(calculate(expression, container), table.default))
        for one in m.app_error if status is Status.OK else ():
            try:
                if one.holds(container) if isinstance(one, views.Same) else calculate(one, container):
                    return Status.APP_ERROR
            except RemoteProtocolError:  # a malformed map: the answer goes on as it is
                continue
        return status

    def explain(self, data: bytes) -> list[Piece]:
        """Every field of the frame in front with its offset, size and value.

        Raises:
            EOFError: the frame is not whole.
            RemoteProtocolError: it is malformed; says at which offset what was expected.
        """
        pieces = explain(self.nodes, data)
        self._verify(data[: pieces[-1].offset + pieces[-1].size] if pieces else b"")
        return pieces

    def build(self, values: Mapping[str, Any]) -> bytes:
        """A frame from plain field values; lengths declared with Rebuild and checksums are computed.

        Raises:
            LocalProtocolError: a field is missing or does not fit.
        """
        return self._seal(self._unsealed(values))

    def _unsealed(self, values: Mapping[str, Any]) -> bytes:
        try:
            complete = _complete(self.declaration, dict(values))
            for checksum in self.meaning.checksums:  # filled in when the frame is sealed
                if _can_set(complete, checksum.path) and views.value_at(complete, checksum.path) is None:
                    views.set_at(complete, checksum.path, 0)
            return bytes(self._reference.build(complete))
        except (construct.ConstructError, KeyError, TypeError, ValueError) as error:
            raise LocalProtocolError(f"the frame cannot be built: {error}") from error

    def edit(self, data: bytes, edits: Sequence[tuple[int, str, str | None]]) -> bytes:
        """A request with changes; see ``native.edit``.

        Raises:
            LocalProtocolError: the format cannot say it.
        """
        container, size = self.parse(data)
        m = self.meaning
        fields = {
            native.EDIT_SERVICE: ("service", m.service),
            native.EDIT_METHOD: ("method", m.method),
            native.EDIT_VERSION: ("version", m.version),
            native.EDIT_GROUP: ("group", m.group),
        }
        for what, key, value in edits:
            raw = None if value is None else value.encode("utf-8", "surrogatepass")
            if what == native.EDIT_HEADER:
                if m.headers is None:
                    raise LocalProtocolError("this protocol declares no headers")
                m.headers.set(container, key.encode("utf-8", "surrogatepass"), raw)
                continue
            name, view = fields[what]
            if view is None:
                raise LocalProtocolError(f"this protocol declares no {name}")
            view.replace(container, raw)
        return self.build(container) + data[size:]

    # Checksums.

    def _sums(self, pieces: list[Piece]) -> list[tuple[int, int, bool, list[tuple[int, int]]]]:
        """(offset, value, little endian, sections) of each checksum that this frame has."""
        by_path = {piece.path: piece for piece in pieces}
        found = []
        for checksum in self.meaning.checksums:
            piece = by_path.get(checksum.path)
            if piece is None:
                continue
            over = [(0, piece.offset)]
            if checksum.over is not None:
                over = [
                    (by_path[path].offset, by_path[path].content) for path in checksum.over if path in by_path
                ]
            found.append((piece.offset, int(piece.value), piece.little, over))
        return found

    def _verify(self, frame: bytes) -> None:
        if not self.meaning.checksums:
            return
        for offset, value, _, over in self._sums(explain(self.nodes, frame)):
            right = _crc(frame, over)
            if value != right:
                raise RemoteProtocolError(f"the checksum is {value:08x}, {right:08x} was expected", offset)

    def _seal(self, frame: bytes) -> bytes:
        if not self.meaning.checksums:
            return frame
        sealed = bytearray(frame)
        for offset, _, little, over in self._sums(explain(self.nodes, frame)):
            sealed[offset : offset + 4] = _crc(bytes(sealed), over).to_bytes(4, "little" if little else "big")
        return bytes(sealed)

    # Replies.

    def _variant_replies(self, variant: dict[str, int]) -> dict[int, list[Emit]]:
        r = self.replies
        found = {}
        for which, make in enumerate((r.heartbeat, r.ack, r.drain)):
            if make is not None:
                found[which] = self._reply({**make(variant)}, variant, f"replies[{which}]")
        for status in Status:
            if status > Status.APP_ERROR:
                values = {**r.error(status, variant)}
                found[3 + status] = self._reply(values, variant, f"the error reply of {status.name}")
        for step, (_, say) in enumerate(self.greeting.steps if self.greeting else ()):
            what = f"greeting.steps[{step}]"
            found[FIRST_GREETING + step] = self._reply({**say(variant)}, variant, what)
        return found

    def _reply(self, values: dict[str, Any], variant: dict[str, int], what: str) -> list[Emit]:
        """A reply cut into what is fixed and what is filled in.

        Built with texts of two lengths: what is a byte more in the second counts the text.
        """
        for name, value in variant.items():
            _set_default(values, tuple(name.split(".")), value)
        kept: dict[FieldPath, FieldPath] = {}
        texts: dict[FieldPath, ErrorText] = {}
        plain = _placeholders(values, (), kept, texts)
        ids = {path for path in self.meaning.id if views.value_at(plain, path) is None}
        if len(texts) > 1:
            raise DeclarationError(f"{what}: one section holds the error's text, not {len(texts)}")
        frames = [self._rendered(_fill(plain, texts, size), 0, what) for size in (0, 1)]
        self._check_counters(_fill(plain, texts, 0), ids, what)
        short, long = frames
        if [piece.path for piece in short] != [piece.path for piece in long]:
            raise DeclarationError(f"{what}: the frame's parts depend on the length of its text")
        if missing := {*kept, *texts} - {piece.path for piece in short}:
            raise DeclarationError(f"{what}: {show(min(missing))} is no field of that frame")
        pieces: list[Emit] = []
        for a, b in zip(short, long, strict=True):
            self._emit(pieces, a, b, ids, kept, texts, what)
        return pieces

    def _rendered(self, values: dict[str, Any], request_id: int, what: str) -> list[Piece]:
        """A reply's pieces, with the engine's id for a number where none is given."""
        ids = self.meaning.named
        for path in self.meaning.id:
            if _can_set(values, path):
                _set_default(values, path, request_id if ids is None else ids.write(request_id))
        try:
            return explain(self.nodes, self._unsealed(values))
        except (LocalProtocolError, RemoteProtocolError, EOFError) as error:
            raise DeclarationError(f"{what} cannot be built: {error}") from error

    def _check_counters(self, values: dict[str, Any], ids: set[FieldPath], what: str) -> None:
        """An id that is longer changes what the engine knows to count it, and nothing else."""
        named = self.meaning.named
        if named is None or not named.counters:
            return
        counters = {node.path for node in named.counters}
        longest = self._rendered(_fill(values, {}, 0), -1, f"{what} with an id of another length")
        shortest = self._rendered(values, 0, what)
        for a, b in zip(shortest, longest, strict=True):
            if a.raw != b.raw and a.path not in ids | counters:
                raise DeclarationError(
                    f"{what}: {show(a.path)} depends on the length of the id, but no length is computed from "
                    "it, so the engine cannot know; let a section's length be computed from it"
                )
            if a.path in counters and a.raw == b.raw and len(named.write(-1)) > len(named.write(0)):
                raise DeclarationError(f"{what}: {show(a.path)} counts the id, and has to be a Rebuild(...)")

    def _emit(
        self,
        pieces: list[Emit],
        a: Piece,
        b: Piece,
        ids: set[FieldPath],
        kept: dict[FieldPath, FieldPath],
        texts: dict[FieldPath, ErrorText],
        what: str,
    ) -> None:
        little = int(a.little)
        if a.path in texts:
            text = texts[a.path]
            _literal(pieces, text.before)
            if text.count is not None:
                _holds_text(text.count.sizeof(), what, a.path)
                flags = int(getattr(text.count, "fmtstr", ">")[0] == "<") | 2 * int(text.units)
                pieces.append(Emit("EMIT_COUNT", width=text.count.sizeof(), flags=flags))
            delimiter = a.raw[a.content :]
            pieces.append(Emit("EMIT_TEXT", delimiter))
            _literal(pieces, text.after)
            _literal(pieces, delimiter)
        elif a.path in ids and self.meaning.named is None:
            pieces.append(Emit("EMIT_ID", width=a.size, flags=little))
        elif a.path in kept:
            source = kept[a.path]
            if source not in self.meaning.keep:
                raise DeclarationError(f"{what}: {show(source)} is not named in keep")
            before = self.meaning.keep[: self.meaning.keep.index(source)]
            shift = 8 + 8 * sum(self._kept_node(path, "keep").width for path in before)
            width = self._kept_node(source, "keep").width
            if self._kept_node(a.path, what).width != width:
                raise DeclarationError(
                    f"{what}: {show(a.path)} takes {a.size} bytes, {show(source)} that is kept for it {width}"
                )
            pieces.append(Emit("EMIT_KEPT", width=width, flags=shift | 32 * little))
        elif a.raw == b.raw:
            _literal(pieces, a.raw)
        elif isinstance(a.value, int) and b.value == a.value + 1 and a.node in {Integer, Varint}:
            name = "EMIT_UVAR" if a.node is Varint else "EMIT_SIZE"
            if a.node is Integer:
                _holds_text(a.size, what, a.path)
            pieces.append(Emit(name, width=0 if a.node is Varint else a.size, flags=little, base=a.value))
        else:
            raise DeclarationError(
                f"{what}: {show(a.path)} depends on the text in a way that cannot be compiled"
            )

    def _kept_node(self, path: FieldPath, what: str) -> Integer:
        """The whole integer that is kept, or is given what was kept."""
        for node in walk(self.nodes):
            if isinstance(node, Bits) and path in {one for one, _, _ in node.fields}:
                raise DeclarationError(
                    f"{what}: {show(path)} is a bit field, and only whole integers are kept; declare its "
                    f"BitStruct as one integer of {8 * node.width} bits, and read them with & and >>"
                )
            if isinstance(node, Integer) and node.path == path:
                return node
        raise DeclarationError(
            f"{what}: {show(path)} is no integer of the format, and only whole integers are kept"
        )

    def __repr__(self) -> str:
        return f"WireFormat({self.name!r})"


def kept(field: Any) -> Kept:
    """In a reply's values: what the request's field holds: ``kept(this.codec)``."""
    return Kept(field)


def _holds_text(width: int, what: str, path: FieldPath) -> None:
    if width < 2:
        raise DeclarationError(
            f"{what}: {show(path)} has 1 byte to count a text of up to {_TEXT_MAX} bytes; a fixed text fits"
        )


def _literal(pieces: list[Emit], data: bytes) -> None:
    if not data:
        return
    if pieces and pieces[-1].what == "EMIT":
        pieces[-1].data += data
    else:
        pieces.append(Emit("EMIT", data))


def _path(value: Any, what: str) -> FieldPath:
    if not isinstance(value, construct.expr.Path):
        raise DeclarationError(f"{what}: {value!r} is no field; write this.NAME")
    return path_of(value, (), (what,))


def _expression(value: Any, what: str) -> Any:
    return resolve(value, (), (what,))


def _view(value: Any) -> views.View | None:
    return None if value is None else views.as_view(value)


def _text(data: bytes | None) -> str:
    return native.text(data or b"")


def _crc(data: bytes, over: list[tuple[int, int]]) -> int:
    crc = 0
    for start, size in over:
        crc = zlib.crc32(data[start : start + size], crc)
    return crc


def _set_default(values: dict[str, Any], path: FieldPath, value: Any) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values.setdefault(path[-1], value)


def _can_set(values: dict[str, Any], path: FieldPath) -> bool:
    """Whether all containers on the way are there: another branch's id is left alone."""
    for name in path[:-1]:
        inner = values.get(name)
        if not isinstance(inner, dict):
            return False
        values = inner
    return True


def _placeholders(
    values: Mapping[str, Any],
    at: FieldPath,
    kept_fields: dict[FieldPath, FieldPath],
    texts: dict[FieldPath, ErrorText],
) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in values.items():
        path = (*at, name)
        if isinstance(value, Mapping):
            plain[name] = _placeholders(value, path, kept_fields, texts)
        elif isinstance(value, Kept):
            kept_fields[path] = _path(value.field, "kept")
            plain[name] = 0
        elif isinstance(value, ErrorText):
            texts[path] = value
            plain[name] = value
        else:
            plain[name] = value
    return plain


def _fill(plain: Mapping[str, Any], texts: dict[FieldPath, ErrorText], size: int) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, ErrorText):
            count = b"" if value.count is None else value.count.build(size)
            filled[name] = value.before + count + b"x" * size + value.after
        elif isinstance(value, dict):
            filled[name] = _fill(value, texts, size)
        else:
            filled[name] = value
    return filled


def _complete(declaration: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Fields that may be absent or are computed are None where no value is given."""
    if not isinstance(declaration, construct.Struct):
        return values
    for field in declaration.subcons:
        name = field.name
        if name is None:
            continue
        inner = field.subcon if isinstance(field, construct.Renamed) else field
        if name not in values:
            if isinstance(
                inner, construct.IfThenElse | construct.Rebuild | construct.Const | construct.Default
            ):
                values[name] = None
            continue
        if isinstance(values[name], dict):
            if isinstance(inner, construct.Struct):
                values[name] = _complete(inner, dict(values[name]))
            elif isinstance(inner, construct.Switch):
                key = calculate(resolve(inner.keyfunc, (), (name,)), values)
                values[name] = _complete(inner.cases.get(key, inner.default), dict(values[name]))
            elif isinstance(inner, construct.IfThenElse):
                values[name] = _complete(inner.thensubcon, dict(values[name]))
    return values
