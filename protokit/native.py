"""The one door to the compiled engine: nobody else touches cffi.

``Table`` compiles a routing table, ``Worker`` is a core on a thread of its own, ``Core`` is the same
core without sockets or clock. Batches of records cross as bytes and are read with
``struct.iter_unpack``: reading C structs field by field through cffi is slower than plain Python.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from protokit._native import ffi, lib
from protokit.errors import PluginError, ProtokitError, RemoteProtocolError
from protokit.model import Headers, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NONE = 0xFFFFFFFF

OP_CONNECT, OP_CLOSE, OP_PAUSE, OP_RESUME, OP_FILTER, OP_RETIRED, OP_ENDPOINT = range(1, 8)
EVENT_DRAINED = 100
DECIDE_CONTINUE, DECIDE_CLUSTER, DECIDE_REPLY = range(3)
KIND_REQUEST, KIND_ONEWAY, KIND_RESPONSE, KIND_HEARTBEAT, KIND_HEARTBEAT_ACK, KIND_DRAIN = range(1, 7)
FEATURE_RETRY, FEATURE_FILTER, FEATURE_TIMEOUT = 2, 4, 8
RETRY_ON = {"connect-failure": 1, "reset": 2, "overloaded": 4, "timeout": 8}
BALANCE = {"round-robin": 0, "least-request": 1}
RESULTS = {
    -1: "these bytes are not this protocol",
    -2: "malformed",
    -3: "larger than allowed",
    -4: "a variant that cannot be read",
    -5: "no room",
}

_OP = struct.Struct("<IIQQQQQ")
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
    id: int


def check_codec(address: int, name: str) -> None:
    """Raise PluginError unless the engine can use the ``pk_codec`` at ``address``."""
    problem = lib.pk_codec_check(address)
    if problem != ffi.NULL:
        raise PluginError(f"the codec of protocol {name!r} cannot be used: {ffi.string(problem).decode()}")


def frame(codec: int, data: bytes, limit: int = 8 << 20) -> Message:
    """Frame the first message of ``data`` with the codec at that address."""
    info = lib.pk_codec_frame(codec, data, len(data), limit)
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
        info.id,
    )


def request(codec: int, data: bytes, max_headers: int = 1024) -> Request:
    """Read a whole request frame into a Request.

    Raises:
        RemoteProtocolError: its destination or headers cannot be read.
    """
    pinned = ffi.from_buffer(data)
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
        protocol=ffi.string(lib.pk_codec_name(codec)).decode(),
    )


def _text(slice_: Any) -> str:  # a cffi struct has no type of its own
    if slice_.data == ffi.NULL:
        return ""
    data = bytes(ffi.buffer(slice_.data, slice_.size))
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


class Table:
    """A compiled, immutable routing table, shared by all workers; free it when all have retired it."""

    def __init__(self, pointer: Any) -> None:
        self.pointer = pointer

    def free(self) -> None:
        """Give its memory back. No core may use it any more."""
        if self.pointer is not None:
            lib.pk_table_free(self.pointer)
            self.pointer = None


class TableBuilder:
    """Builds a Table; see ``table.h`` for the order of calls. Every call returns an index.

    Args:
        limits: fields of ``pk_limits``.
        seed: of the hash tables.
    """

    def __init__(self, limits: Mapping[str, int], seed: int) -> None:
        self._limits = ffi.new("pk_limits *", dict(limits))
        self._builder = ffi.gc(lib.pk_builder_new(seed, self._limits), lib.pk_builder_free)

    def _index(self, index: int) -> int:
        if index == NONE:
            raise ProtokitError("the routing table could not be built (out of memory, or an index is wrong)")
        return index

    def cluster(self, name: str, balance: str, max_connections: int, connect_ms: int) -> int:
        """Add a cluster; ``endpoint`` adds to the last one."""
        return self._index(
            lib.pk_builder_cluster(
                self._builder, name.encode(), BALANCE[balance], max_connections, connect_ms
            )
        )

    def endpoint(self, uid: int, host: str, port: int, weight: int) -> int:
        """Add an endpoint to the last cluster; ``uid`` is its identity in every table."""
        address = pack_address(host, port)
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return self._index(
            lib.pk_builder_endpoint(self._builder, uid, weight, name.encode(), address, len(address))
        )

    def plan(
        self,
        name: str,
        *,
        timeout_ms: int = 0,
        attempts: int = 0,
        retry_on: int = 0,
        idempotent: bool = False,
        filter_chain: int | None = None,
    ) -> int:
        """Add a plan; ``split`` adds clusters to the last one."""
        features = FEATURE_TIMEOUT if timeout_ms else 0
        features |= FEATURE_RETRY if attempts > 1 else 0
        features |= FEATURE_FILTER if filter_chain is not None else 0
        return self._index(
            lib.pk_builder_plan(
                self._builder,
                name.encode(),
                features,
                timeout_ms,
                attempts,
                retry_on,
                idempotent,
                filter_chain or 0,
            )
        )

    def split(self, cluster: int, weight: int) -> None:
        """Add a cluster to the last plan."""
        self._index(lib.pk_builder_split(self._builder, cluster, weight))

    def routes(self, name: str) -> int:
        """Add a route table; ``rule`` adds to the last one."""
        return self._index(lib.pk_builder_routes(self._builder, name.encode()))

    def rule(self, service: str, method: str, version: str, group: str, plan: int) -> None:
        """Add a rule (patterns ``x``, ``x*``, ``*``) to the last route table."""
        self._index(
            lib.pk_builder_rule(
                self._builder, service.encode(), method.encode(), version.encode(), group.encode(), plan
            )
        )

    def listener(
        self,
        identity: int,
        name: str,
        *,
        routes: int | None,
        plan: int | None,
        pinned: bool,
        codecs: list[int],
    ) -> None:
        """Add a listener with the addresses of its codecs."""
        self._index(
            lib.pk_builder_listener(
                self._builder,
                identity,
                name.encode(),
                NONE if routes is None else routes,
                NONE if plan is None else plan,
                pinned,
            )
        )
        for codec in codecs:
            self._index(lib.pk_builder_codec(self._builder, codec))

    def finish(self) -> Table:
        """The compiled table."""
        pointer = lib.pk_builder_finish(self._builder)
        if pointer == ffi.NULL:
            raise ProtokitError("the routing table could not be built: out of memory, or over 4 GiB")
        return Table(pointer)


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

    def _send(self, result: int) -> None:
        if result != 0:
            raise ProtokitError("a worker's command ring is full")

    def listen(self, listener: int, fd: int) -> None:
        """Accept connections for a listener from a listening socket, which becomes the worker's."""
        self._send(lib.pk_worker_listen(self._worker, listener, fd))

    def unlisten(self, listener: int) -> None:
        """Accept no more; connections go on."""
        self._send(lib.pk_worker_unlisten(self._worker, listener))

    def apply(self, table: Table, token: int) -> None:
        """Route new requests by ``table``; OP_RETIRED with its token says when it is used no more."""
        self._send(lib.pk_worker_apply(self._worker, table.pointer, token))

    def decide(self, handle: int, verdict: int, cluster: int = 0, status: int = 0, text: bytes = b"") -> bool:
        """Let a request that waited for a filter go on; False when the ring is full: try again."""
        return bool(
            lib.pk_worker_decide(self._worker, handle, verdict, cluster, status, text, len(text)) == 0
        )

    def drain(self) -> None:
        """Tell clients in their protocol to go elsewhere."""
        self._send(lib.pk_worker_drain(self._worker))

    def shutdown(self) -> None:
        """Answer what is in flight UNAVAILABLE, and close every connection once written."""
        self._send(lib.pk_worker_shutdown(self._worker))

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

    def accept(self, listener: int) -> int:
        """A client's handle, 0 when it is refused."""
        return int(lib.pk_core_accept(self._core, listener))

    def connected(self, handle: int, *, failed: bool = False) -> None:
        """An upstream connection opened, or did not."""
        lib.pk_core_connected(self._core, handle, failed)

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
    "Core",
    "Message",
    "Op",
    "Table",
    "TableBuilder",
    "Worker",
    "check_codec",
    "frame",
    "held_bytes",
    "pack_address",
    "request",
    "unpack_address",
]
