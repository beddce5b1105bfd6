"""The one door to the compiled engine: nobody else touches cffi.

``Table`` is a routing table, ``Worker`` is a core on a thread of its own, ``Core`` is the same
core without sockets or clock. Batches of records cross as bytes and are read with
``struct.iter_unpack``: reading C structs field by field through cffi is slower than plain Python.
"""

from __future__ import annotations

import functools
import socket
import struct
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from protokit._native import ffi, lib
from protokit.errors import (
    DeclarationError,
    LocalProtocolError,
    PluginError,
    ProtokitError,
    RemoteProtocolError,
)
from protokit.model import Headers, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NONE = 0xFFFFFFFF
Id = int | bytes  # of a request: a number, or where ids are byte strings those

OP_CONNECT, OP_CLOSE, OP_PAUSE, OP_RESUME, OP_FILTER, OP_RETIRED, OP_ENDPOINT, OP_FINISH, OP_CANCEL = range(
    1, 10
)
WELL, ILL_REFUSED, ILL_TIMED_OUT, ILL_GREETING, ILL_SILENT, ILL_CLOSING = range(6)
EVENT_DRAINED, EVENT_BRIDGE, EVENT_UNBRIDGE, EVENT_PREPARED = range(100, 104)
CONNECTED, CONNECT_FAILED, CONNECT_EXHAUSTED = range(3)
DECIDE_CONTINUE, DECIDE_CLUSTER, DECIDE_REPLY = range(3)
KIND_REQUEST, KIND_ONEWAY, KIND_RESPONSE, KIND_HEARTBEAT, KIND_HEARTBEAT_ACK, KIND_DRAIN = range(1, 7)
KIND_IGNORE, KIND_GREETING = 8, 9
RESULTS = {
    -1: "these bytes are not this protocol",
    -2: "malformed",
    -3: "larger than allowed",
    -4: "a variant that cannot be read",
    -5: "no room",
}

_OP = struct.Struct("<IIQQQQQ")
INSTRUCTIONS: tuple[str, ...] = tuple(ffi.string(lib.pk_instruction_names()).decode().split())
STAT_NAMES: tuple[str, ...] = tuple(ffi.string(lib.pk_stat_names()).decode().split())
ENDPOINT_STAT_NAMES = ("requests", "errors", "timeouts", "active", "connections", "connect_failures")


class Op(NamedTuple):
    """One thing the core wants done, or an event of a worker (``core.h``, PK_OP_*)."""

    op: int
    arg: int
    handle: int
    data: int
    size: int
    codec: int
    token: int


class Message(NamedTuple):
    """What framing says of the first message in some bytes. ``result``: 0 whole, 1 more bytes needed."""

    result: int
    kind: int
    status: int
    size: int
    need: int
    timeout_ms: int
    context: int
    upstream_key: int
    error_at: int
    id: Id


class Address(int):
    """Of a codec that was made here: it is there as long as this is, and as long as connections speak it.

    Attributes:
        holder: frees the codec with the last address of it.
    """

    holder: Any


def _address(holder: Any) -> Address:
    address = Address(ffi.cast("uintptr_t", holder))
    address.holder = holder
    return address


def _holder(address: int) -> Any:  # a cffi pointer has no type of its own
    return ffi.gc(ffi.cast("pk_codec *", address), lib.pk_codec_release)


_declared: weakref.WeakValueDictionary[bytes, Any] = weakref.WeakValueDictionary()


def declared(image: bytes) -> Address:
    """Load a compiled declaration; one that is there already is the same codec.

    Returns:
        The address of its codec.

    Raises:
        DeclarationError: the program is not well formed.
    """
    holder = _declared.get(image)
    if holder is None:
        error = ffi.new("const char **")
        address = lib.pk_codec_declared(image, len(image), error)
        if address == 0:
            raise DeclarationError(f"the compiled format was refused: {ffi.string(error[0]).decode()}")
        holder = _declared[image] = _holder(address)
    return _address(holder)


def envelope_codec(
    name: str,
    *,
    mode: int,
    id_bytes: int,
    reserved_ids: Sequence[int],
    heartbeats: bool,
    drains: bool,
    optional_drain: bool,
) -> Address:
    """The address of a codec that stands for one in Python (``envelope.h``)."""
    features = int(heartbeats) | int(drains) << 1 | int(optional_drain) << 2
    address = lib.pk_envelope_new(
        name.encode(), mode, id_bytes, list(reserved_ids), len(reserved_ids), features
    )
    if address == 0:
        raise ProtokitError("out of memory")
    return _address(_holder(address))


def holders(codec: int) -> int:
    """How many hold a codec that was made here: its addresses as one, each connection that speaks it."""
    return int(lib.pk_codec_held(codec))


def codecs() -> int:
    """How many codecs there are that were made here."""
    return int(lib.pk_codecs_loaded())


def step_address(name: str) -> int:
    """The address of a step that comes with the core."""
    return int(lib.pk_core_step(name.encode()))


def run_step(address: int, section: bytes, arguments: Sequence[bytes], count: int) -> list[bytes | None]:
    """What a step finds, as the engine would have it.

    Raises:
        RemoteProtocolError: it says that the section is malformed, or a variant it cannot read.
    """
    pinned = ffi.from_buffer(section)
    kept = [ffi.from_buffer(argument) for argument in arguments]
    given = ffi.new("pk_slice[]", [(one, len(one)) for one in kept])
    out = ffi.new("pk_slice[]", count)
    result = lib.pk_step_run(address, pinned, len(section), given, len(arguments), out, count)
    if result != 0:
        raise RemoteProtocolError(f"a step: {RESULTS.get(result, result)}")
    return [None if one.data == ffi.NULL else bytes(ffi.buffer(one.data, one.size)) for one in out]


_REPLY_ROOM = 70_000


def heartbeat(codec: int, request_id: Id, key: int = 0) -> bytes:
    """The codec's heartbeat; empty when it has none. ``key``: of the upstream connection."""
    number = 0 if id_max(codec) else request_id
    beat = _built(lambda out: lib.pk_codec_heartbeat(codec, number, key, out, _REPLY_ROOM))
    return _named(codec, beat, request_id)


def heartbeat_ack(codec: int, data: bytes) -> bytes:
    """The answer to a heartbeat; empty when there is none."""
    ack = _built(lambda out: lib.pk_codec_ack(codec, data, len(data), out, _REPLY_ROOM))
    return _named(codec, ack, frame(codec, data, len(data)).id) if id_max(codec) else ack


def drain(codec: int, context: int = 0) -> bytes:
    """The signal to go elsewhere; empty when the protocol has none."""
    return _built(lambda out: lib.pk_codec_drain(codec, context, out, _REPLY_ROOM))


def error(codec: int, status: int, request_id: Id, context: int, text: bytes) -> bytes:
    """The error reply of a status, to a request of that id and context (``Message.context``)."""
    number = 0 if id_max(codec) else request_id
    reply = _built(
        lambda out: lib.pk_codec_error(codec, status, number, context, text, len(text), out, _REPLY_ROOM)
    )
    return _named(codec, reply, request_id)


def _built(build: Callable[[Any], int]) -> bytes:
    out = ffi.new("uint8_t[]", _REPLY_ROOM)
    size = build(out)
    if size < 0:
        raise LocalProtocolError(f"the codec cannot build this: {RESULTS.get(size, size)}")
    return bytes(ffi.buffer(out, size))


def _named(codec: int, reply: bytes, request_id: Id) -> bytes:
    """A reply with its id, where ids are byte strings; others were built with it."""
    return patch_id(codec, reply, request_id) if reply and id_max(codec) else reply


def id_max(codec: int) -> int:
    """Bytes of the longest id, where ids are byte strings; else 0."""
    return int(lib.pk_codec_id_max(codec))


def write_id(codec: int, number: int) -> bytes:
    """The id that the engine writes for a number, where ids are byte strings."""
    out = ffi.new("uint8_t[64]")
    return bytes(ffi.buffer(out, lib.pk_codec_write_id(codec, number % 2**64, out)))


def read_id(codec: int, request_id: bytes) -> int | None:
    """The number whose id that is; None where the engine would not write it so."""
    number = ffi.new("uint64_t *")
    return int(number[0]) if lib.pk_codec_read_id(codec, request_id, len(request_id), number) else None


def show_id(request_id: Id) -> str:
    """An id for people: digits, printable text, or ``0x`` and hex."""
    if isinstance(request_id, int):
        return str(request_id)
    if all(0x20 <= byte < 0x7F for byte in request_id) and not request_id.startswith(b"0x"):
        return request_id.decode()
    return "0x" + request_id.hex()


def patch_id(codec: int, data: bytes, request_id: Id) -> bytes:
    """The frame with another id, and lengths and checksums made right.

    Args:
        codec: its address.
        data: one frame.
        request_id: a number; where ids are byte strings it stands for the id that the engine writes.

    Raises:
        RemoteProtocolError: ``data`` is no whole frame.
        LocalProtocolError: the frame cannot have that id.
    """
    if most := id_max(codec):
        wanted = write_id(codec, request_id) if isinstance(request_id, int) else request_id
        room = len(data) + most + 16
        out = ffi.new("uint8_t[]", room)
        size = lib.pk_codec_splice(codec, data, len(data), wanted, len(wanted), out, room)
        if size in {-4, -5}:
            raise LocalProtocolError(f"the frame cannot have the id {show_id(wanted)!r}")
        if size < 0:
            raise RemoteProtocolError("this is no whole frame")
        return bytes(ffi.buffer(out, size))
    changed = bytearray(data)
    if lib.pk_codec_patch(codec, ffi.from_buffer(changed), len(changed), request_id) != 0:
        raise RemoteProtocolError("this is no whole frame")
    return bytes(changed)


def probe(codec: int, data: bytes, size: int | None = None) -> int:
    """Whether a connection may begin so: 0 yes, 1 more bytes are needed, -1 no. ``size``: see ``frame``."""
    return int(lib.pk_codec_probe(codec, data, len(data) if size is None else size))


def check_codec(address: int, name: str) -> None:
    """Raise PluginError unless the engine can use the ``pk_codec`` at ``address``."""
    problem = lib.pk_codec_check(address)
    if problem != ffi.NULL:
        raise PluginError(f"the codec of protocol {name!r} cannot be used: {ffi.string(problem).decode()}")


def frame(codec: int, data: bytes, limit: int = 8 << 20, size: int | None = None) -> Message:
    """Frame the first message of ``data`` with the codec at that address.

    Args:
        codec: its address.
        data: what came.
        limit: the largest frame allowed, bytes.
        size: how many bytes of ``data`` the codec is given; None for all. What lies behind them is not its.
    """
    info = lib.pk_codec_frame(codec, data, len(data) if size is None else size, limit)
    request_id: Id = info.id
    if info.id_at != NONE:
        request_id = bytes(data[info.id_at : info.id_at + info.id_size])
    elif lib.pk_codec_id_max(codec):
        request_id = b""
    return Message(
        info.result,
        info.kind,
        info.status,
        info.size,
        info.need,
        info.timeout_ms,
        info.context,
        info.upstream_key,
        info.error_at,
        request_id,
    )


def request(codec: int, data: bytes, max_headers: int = 1024) -> Request:
    """Read a whole request frame into a Request.

    Raises:
        RemoteProtocolError: its destination or headers cannot be read.
    """
    pinned = data if isinstance(data, ffi.CData) else ffi.from_buffer(data)
    info = lib.pk_codec_destination(codec, pinned, len(data))
    if info.result not in {0, -4}:
        raise RemoteProtocolError(f"destination: {RESULTS.get(info.result, info.result)}")
    headers = Headers()
    if info.result == 0:
        array = ffi.new("pk_header_info[]", max_headers)
        count = lib.pk_codec_headers(codec, pinned, len(data), array, max_headers)
        if count < 0:
            raise RemoteProtocolError(f"headers: {RESULTS.get(count, count)}")
        for header in array[0:count]:
            if not header.raw:
                headers[_text(header.key)] = _text(header.value)
    return Request(
        _text(info.service),
        _text(info.method),
        version=_text(info.version),
        group=_text(info.group),
        headers=headers,
        frame=data,
        timeout_ms=info.timeout_ms,
        oneway=frame(codec, data, len(data)).kind == KIND_ONEWAY,
        protocol=name(codec),
    )


def name(codec: int) -> str:
    """What the codec calls itself."""
    return str(ffi.string(lib.pk_codec_name(codec)).decode())


def mode(codec: int) -> int:
    """How requests share a connection: 0 multiplexed, 1 in order, 2 one at a time."""
    return int(lib.pk_codec_mode(codec))


def id_bytes(codec: int) -> int:
    """How wide its ids are; 0 without."""
    return int(lib.pk_codec_id_bytes(codec))


def rewrites_ids(codec: int) -> bool:
    """Whether ids can be changed in its frames; True where there are none."""
    return bool(lib.pk_codec_rewrites(codec))


def pinned(codec: int) -> bool:
    """Whether each client needs an upstream connection of its own: it says so, or has ids that must stay."""
    return bool(lib.pk_codec_pinned(codec))


def optional_drain(codec: int) -> bool:
    """Whether its signal to go elsewhere is sent only where the listener says so (``goaway``)."""
    return bool(lib.pk_codec_optional_drain(codec))


def greeting(codec: int) -> tuple[str, ...]:
    """Who says each step of what is said before requests: ``client`` or ``server``."""
    server = lib.pk_codec_greeting_server(codec)
    steps = range(lib.pk_codec_greeting_steps(codec))
    return tuple("server" if server >> step & 1 else "client" for step in steps)


def greeting_step(codec: int, step: int, context: int = 0) -> bytes:
    """A step of the greeting; ``context``: of the last frame received (``Message.context``)."""
    return _built(lambda out: lib.pk_codec_greeting(codec, step, context, out, _REPLY_ROOM))


EDIT_HEADER, EDIT_SERVICE, EDIT_METHOD, EDIT_VERSION, EDIT_GROUP = range(5)


def edit(codec: int, data: bytes, edits: Sequence[tuple[int, str, str | None]]) -> bytes:
    """A request frame with changes; what they do not name stays byte for byte.

    Args:
        codec: its address.
        data: the frame.
        edits: (EDIT_*, header key or "", new value or None to take a header out).

    Raises:
        LocalProtocolError: the protocol, or this frame, cannot be changed so.
    """
    array = ffi.new("pk_edit[]", len(edits))
    kept = []
    for to, (what, key, value) in zip(array, edits, strict=True):
        to.what = what
        for slice_, text in ((to.key, key), (to.value, value)):
            if text is not None:
                raw = text.encode("utf-8", "surrogatepass")
                kept.append(ffi.new("uint8_t[]", raw or b"\0"))
                slice_.data, slice_.size = kept[-1], len(raw)
    room = len(data) + 256 + sum(8 + 4 * len(key) + 8 * len(value or "") for _, key, value in edits) * 2
    out = ffi.new("uint8_t[]", room)
    size = lib.pk_codec_edit(codec, data, len(data), array, len(edits), out, room)
    if size < 0:
        raise LocalProtocolError(
            f"this {name(codec)} request cannot be changed so: {RESULTS.get(size, size)}"
        )
    return bytes(ffi.buffer(out, size))


def _text(slice_: Any) -> str:  # a cffi struct has no type of its own
    return "" if slice_.data == ffi.NULL else text(bytes(ffi.buffer(slice_.data, slice_.size)))


def text(data: bytes) -> str:
    """Bytes of a frame as text: UTF-8, or Hessian's way with surrogates; what is neither is replaced."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    try:  # Hessian writes a surrogate pair as two characters of three bytes
        return (
            data.decode("utf-8", "surrogatepass")
            .encode("utf-16", "surrogatepass")
            .decode("utf-16", "replace")
        )
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def pack_address(host: str, port: int) -> bytes:
    """A sockaddr_in or sockaddr_in6.

    Raises:
        ProtokitError: ``host`` is not a numeric address.
    """
    try:
        if ":" in host:
            return (
                struct.pack("=HHI", socket.AF_INET6, socket.htons(port), 0)
                + socket.inet_pton(socket.AF_INET6, host)
                + bytes(4)
            )
        return (
            struct.pack("=HH", socket.AF_INET, socket.htons(port))
            + socket.inet_pton(socket.AF_INET, host)
            + bytes(8)
        )
    except OSError as error:
        raise ProtokitError(f"{host!r} is not an IP address") from error


def unpack_address(data: bytes) -> tuple[str, int]:
    """The opposite of ``pack_address``."""
    family, port = struct.unpack_from("=HH", data)
    if family == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.ntohs(port)
    return socket.inet_ntop(socket.AF_INET, data[4:8]), socket.ntohs(port)


class Guarded:
    """Room for bytes that end where memory does: what reads past them is ended by SIGSEGV. For fuzzers.

    Args:
        room: the most bytes that are put there.
    """

    def __init__(self, room: int) -> None:
        import ctypes  # noqa: PLC0415  # for tests and fuzzers
        import mmap  # noqa: PLC0415  # as above

        self._room = -(-room // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(-1, self._room + mmap.PAGESIZE)
        self._start = ffi.cast("uint8_t *", ffi.from_buffer(self._memory))
        address = int(ffi.cast("uintptr_t", self._start)) + self._room
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
            raise ProtokitError(f"mprotect failed: errno {ctypes.get_errno()}")

    def put(self, data: bytes) -> Any:
        """The bytes, as functions of this module take them, until the next ``put``."""
        if len(data) > self._room:
            raise ProtokitError(f"{len(data)} bytes are more than the {self._room} there is room for")
        start = self._start + self._room - len(data)
        ffi.memmove(start, data, len(data))
        return ffi.cast(f"uint8_t(*)[{len(data)}]", start)[0]


class Member(NamedTuple):
    """One member of a C struct; ``type``: ``integer``, ``bytes`` or the name of a struct."""

    name: str
    at: int
    size: int
    type: str


def members(type_: str) -> tuple[int, tuple[Member, ...]]:
    """The size of a C struct, and its members."""
    struct_ = ffi.typeof(type_)
    kinds = {"primitive": "integer", "array": "bytes"}
    found = (
        Member(
            name,
            field.offset,
            ffi.sizeof(field.type),
            kinds.get(field.type.kind, field.type.cname.removeprefix("struct ")),
        )
        for name, field in struct_.fields
    )
    return int(ffi.sizeof(struct_)), tuple(found)


@functools.cache
def constants(prefix: str) -> dict[str, int]:
    """The engine's constants of that prefix, by names as the configuration has them: ``least-request``."""
    names = {name: int(getattr(lib, name)) for name in dir(lib) if name.startswith(prefix)}
    return {
        name.removeprefix(prefix).lower().replace("_", "-"): names[name]
        for name in sorted(names, key=names.__getitem__)
    }


class Field(NamedTuple):
    """What a field of a table's record may be (``table.h``, PK_FIELD_*); ``array``: what it counts."""

    name: str
    at: int
    rule: str
    low: int
    high: int
    array: str

    @property
    def made(self) -> bool:
        """Whether the engine fills it."""
        return self.rule == "made"


class Kind(NamedTuple):
    """One of a table's arrays: where its pk_array stands in pk_table, what its records are."""

    name: str
    type: str
    at: int
    size: int
    fields: tuple[Field, ...]


def table_kinds() -> tuple[Kind, ...]:
    """The arrays of a table's image, in their order."""
    rules = {number: name for name, number in constants("PK_FIELD_").items()}
    kinds = [lib.pk_table_array_at(i) for i in range(lib.pk_table_arrays())]
    names = [ffi.string(kind.name).decode() for kind in kinds] + ["codecs"]
    return tuple(
        Kind(
            name,
            ffi.string(kind.type).decode(),
            kind.at,
            kind.size,
            tuple(
                Field(
                    ffi.string(one.name).decode(), one.at, rules[one.rule], one.low, one.high, names[one.of]
                )
                for one in (kind.fields[i] for i in range(kind.field_count))
            ),
        )
        for name, kind in zip(names, kinds, strict=False)
    )


class Table:
    """A compiled, immutable routing table, shared by all workers; free it when all have retired it."""

    def __init__(self, pointer: Any, codecs: Sequence[int] = ()) -> None:
        self.pointer = pointer
        self._codecs = codecs  # they are there as long as it is

    @classmethod
    def load(cls, image: bytes, codecs: Sequence[int]) -> Table:
        """Check an image (``protokit.table`` packs it), and make a table of it.

        Args:
            image: pk_table with its arrays behind it.
            codecs: addresses, by the numbers in the image.

        Raises:
            ProtokitError: it is no table, and why.
        """
        why = ffi.new("char[200]")
        pointer = lib.pk_table_load(image, len(image), list(codecs), len(codecs), why, len(why))
        if pointer == ffi.NULL:
            raise ProtokitError(f"the routing table was refused: {ffi.string(why).decode()}")
        return cls(pointer, codecs)

    def free(self) -> None:
        """Give its memory back. No core may use it any more."""
        if self.pointer is not None:
            lib.pk_table_free(self.pointer)
            self.pointer = None
            self._codecs = ()


def _records(buffer: Any, count: int) -> Iterator[Op]:
    size = count * _OP.size
    return map(Op._make, _OP.iter_unpack(bytes(ffi.buffer(buffer, size))))


def _stats(words: Any) -> dict[str, int]:
    return dict(zip(STAT_NAMES, ffi.unpack(words, len(STAT_NAMES)), strict=True))


def _endpoint_stats(words: Any) -> dict[str, int]:
    if words == ffi.NULL:
        return dict.fromkeys(ENDPOINT_STAT_NAMES, 0)
    return dict(zip(ENDPOINT_STAT_NAMES, ffi.unpack(words, len(ENDPOINT_STAT_NAMES)), strict=True))


class Worker:
    """A core on a thread of its own, driven by epoll. Use it from one thread only.

    Args:
        seed: of its random choices.
    """

    _BATCH = 256

    def __init__(self, seed: int) -> None:
        pointer = lib.pk_worker_start(seed)
        if pointer == ffi.NULL:
            raise ProtokitError(
                "a worker thread could not be started (threads or descriptors are at their limit)"
            )
        self._worker = pointer
        self._buffer = ffi.new("pk_op[]", self._BATCH)

    @property
    def event_fd(self) -> int:
        """Readable when events wait."""
        return int(lib.pk_worker_event_fd(self._worker))

    def events(self) -> list[Op]:
        """Take the events that wait."""
        taken: list[Op] = []
        while True:
            count = lib.pk_worker_take_events(self._worker, self._buffer, self._BATCH)
            taken.extend(_records(self._buffer, count))
            if count < self._BATCH:
                return taken

    def _send(self, command: Callable[..., int], *arguments: object) -> None:
        """Give a command; where many wait already, wait for the worker to take some."""
        for _ in range(5000):
            if command(self._worker, *arguments) == 0:
                return
            time.sleep(0.001)
        raise ProtokitError("a worker takes no commands any more")

    def listen(self, listener: int, fd: int) -> None:
        """Accept connections for a listener from a listening socket, which becomes the worker's."""
        self._send(lib.pk_worker_listen, listener, fd)

    def unlisten(self, listener: int) -> None:
        """Accept who waits in the queue, then nobody; connections go on."""
        self._send(lib.pk_worker_unlisten, listener)

    def prepare(self, table: Table, token: int) -> None:
        """Get ready for ``table``; EVENT_PREPARED with its token says whether that went well (arg 1)."""
        self._send(lib.pk_worker_prepare, table.pointer, token)

    def commit(self) -> None:
        """Route new requests by the table prepared; OP_RETIRED with its token tells its end."""
        self._send(lib.pk_worker_commit)

    def abort(self) -> None:
        """Forget the table prepared, if there is one: OP_RETIRED."""
        self._send(lib.pk_worker_abort)

    def decide(self, handle: int, verdict: int, cluster: int = 0, status: int = 0, text: bytes = b"") -> bool:
        """Let a request that waited for a filter go on; False when the ring is full: try again."""
        return bool(
            lib.pk_worker_decide(self._worker, handle, verdict, cluster, status, text, len(text)) == 0
        )

    def drain(self) -> None:
        """Tell clients in their protocol to go elsewhere."""
        self._send(lib.pk_worker_drain)

    def shutdown(self) -> None:
        """Answer what is in flight UNAVAILABLE, and close every connection once written."""
        self._send(lib.pk_worker_shutdown)

    def stop(self) -> None:
        """End the thread and free everything. The worker cannot be used afterwards."""
        if self._worker is not None:
            lib.pk_worker_stop(self._worker)
            self._worker = None

    def stats(self) -> dict[str, int]:
        """Its counters."""
        return _stats(lib.pk_worker_stats_words(self._worker))

    def endpoint_stats(self, uid: int) -> dict[str, int]:
        """Counters of one endpoint."""
        return _endpoint_stats(lib.pk_worker_endpoint_words(self._worker, uid))


def held_bytes(op: Op) -> bytes:
    """The frame of an OP_FILTER event, copied."""
    return bytes(ffi.buffer(ffi.cast("const char *", op.data), op.size))


class Core:
    """The engine without sockets and clock (``core.h``): for tests, fuzzers and benchmarks."""

    def __init__(self, seed: int = 1) -> None:
        self._core = ffi.gc(lib.pk_core_new(seed), lib.pk_core_free)
        self._ops = ffi.new("pk_op[]", 64)
        self._handles = ffi.new("pk_handle[]", 64)

    def begin(self, now_ns: int) -> None:
        """Start a batch at that time."""
        lib.pk_core_begin(self._core, now_ns)

    def end(self) -> None:
        """End the batch: timers, and connections that are gone."""
        lib.pk_core_end(self._core)

    def next(self) -> int | None:
        """When the next batch must begin at the latest, ns; None: whenever."""
        due = int(lib.pk_core_next(self._core))
        return None if due == 2**64 - 1 else due

    def apply(self, table: Table, token: int) -> None:
        """Route new requests by that table."""
        if lib.pk_core_apply(self._core, table.pointer, token) != 0:
            raise ProtokitError("out of memory")

    def prepare(self, table: Table, token: int) -> bool:
        """Get ready for a table that ``commit`` uses and ``abort`` forgets; False without memory."""
        return bool(lib.pk_core_prepare(self._core, table.pointer, token) == 0)

    def commit(self) -> None:
        """Route new requests by the table that was prepared."""
        lib.pk_core_commit(self._core)

    def abort(self) -> None:
        """Forget the table that was prepared."""
        lib.pk_core_abort(self._core)

    def accept(self, listener: int) -> int:
        """A client's handle, 0 when it is refused."""
        return int(lib.pk_core_accept(self._core, listener))

    def connected(self, handle: int, *, failed: int = CONNECTED) -> None:
        """An upstream connection opened, or did not: CONNECT_FAILED, CONNECT_EXHAUSTED."""
        lib.pk_core_connected(self._core, handle, failed, 0)

    def feed(self, handle: int, data: bytes, *, in_place: bool = False) -> bool:
        """Bytes came. ``in_place`` goes through ``pk_core_buffer`` as the epoll driver does.

        Returns:
            False when the core does not want to read now.
        """
        if not in_place:
            lib.pk_core_feed(self._core, handle, data, len(data))
            return True
        size = ffi.new("size_t *")
        at = 0
        while at < len(data):
            to = lib.pk_core_buffer(self._core, handle, size)
            if to == ffi.NULL:
                return False
            part = data[at : at + size[0]]
            ffi.memmove(to, part, len(part))
            lib.pk_core_feed(self._core, handle, to, len(part))
            at += len(part)
        return True

    def eof(self, handle: int) -> None:
        """The peer sends no more."""
        lib.pk_core_eof(self._core, handle)

    def error(self, handle: int) -> None:
        """The socket is broken."""
        lib.pk_core_error(self._core, handle)

    def ops(self) -> list[Op]:
        """Take what the core wants done."""
        taken: list[Op] = []
        while count := lib.pk_core_take_ops(self._core, self._ops, 64):
            taken.extend(_records(self._ops, count))
        return taken

    def dirty(self) -> list[int]:
        """Take the handles of connections with bytes to write."""
        taken: list[int] = []
        while count := lib.pk_core_take_dirty(self._core, self._handles, 64):
            taken.extend(self._handles[0:count])
        return taken

    def out(self, handle: int, size: int = 1 << 20) -> bytes:
        """Up to ``size`` bytes that wait to be written; ``sent`` takes them off."""
        buffer = ffi.new("uint8_t[]", size)
        return bytes(ffi.buffer(buffer, lib.pk_core_read_out(self._core, handle, buffer, size)))

    def sent(self, handle: int, size: int) -> None:
        """That many bytes were written."""
        lib.pk_core_sent(self._core, handle, size)

    def decide(self, handle: int, verdict: int, cluster: int = 0, status: int = 0, text: bytes = b"") -> bool:
        """The verdict on a request that waited; False when it is gone."""
        return bool(lib.pk_core_decide(self._core, handle, verdict, cluster, status, text, len(text)) == 0)

    def drain(self) -> None:
        """Tell clients in their protocol to go elsewhere."""
        lib.pk_core_drain(self._core)

    def shutdown(self) -> None:
        """Answer what is in flight, close everything."""
        lib.pk_core_shutdown(self._core)

    def stats(self) -> dict[str, int]:
        """Its counters."""
        return _stats(lib.pk_core_stats_words(self._core))

    def endpoint_stats(self, uid: int) -> dict[str, int]:
        """Counters of one endpoint."""
        return _endpoint_stats(lib.pk_core_endpoint_words(self._core, uid))


__all__ = [
    "INSTRUCTIONS",
    "Address",
    "Core",
    "Field",
    "Guarded",
    "Id",
    "Kind",
    "Member",
    "Message",
    "Op",
    "Table",
    "Worker",
    "check_codec",
    "codecs",
    "constants",
    "declared",
    "drain",
    "edit",
    "envelope_codec",
    "error",
    "frame",
    "greeting",
    "greeting_step",
    "heartbeat",
    "heartbeat_ack",
    "held_bytes",
    "holders",
    "id_bytes",
    "id_max",
    "members",
    "mode",
    "name",
    "optional_drain",
    "pack_address",
    "patch_id",
    "pinned",
    "probe",
    "read_id",
    "request",
    "run_step",
    "show_id",
    "step_address",
    "table_kinds",
    "text",
    "unpack_address",
    "write_id",
]
