"""The engine without sockets and clock (``core.h``): for tests, fuzzers, benchmarks. A proxy has workers."""

from __future__ import annotations

import functools

from protokit._native import ffi, lib
from protokit.errors import ProtokitError
from protokit.native import (
    CONNECTED,
    Op,
    Shared,
    Table,
    Verdicts,
    counters,
    endpoint_counters,
    events,
    records,
    times,
)


class Core:
    """It is driven by whoever makes it: bytes and times in, bytes and operations out."""

    def __init__(self, seed: int = 1, shared: Shared | None = None) -> None:
        self._core = ffi.gc(lib.pk_core_new(seed), lib.pk_core_free)
        if shared is not None:
            lib.pk_core_share(self._core, shared.pointer)
        self._ops = ffi.new("pk_op[]", 64)
        self._handles = ffi.new("pk_handle[]", 64)

    def join(self, verdicts: Verdicts, place: int, places: int) -> None:
        """It is one of several, which share those; before it has a table."""
        self._verdicts = verdicts
        lib.pk_core_join(self._core, verdicts.pointer, place, places)

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

    def accept(self, listener: int, source: bytes = b"") -> int:
        """A client's handle, 0 when it is refused. ``source``: its address, 16 bytes."""
        if source:
            return int(lib.pk_core_accept_from(self._core, listener, source))
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
            taken.extend(records(self._ops, count))
        return taken

    def ends(self) -> list[events.Ended]:
        """Take what became of requests whose ends filters are told."""
        return events.ends(functools.partial(lib.pk_core_take_ends, self._core))

    def asks(self) -> list[events.Asked]:
        """Take the keys of limits that limiters are asked about."""
        return events.asks(functools.partial(lib.pk_core_take_asks, self._core))

    def dirty(self) -> list[int]:
        """Take the handles of connections with bytes to write."""
        taken: list[int] = []
        while count := lib.pk_core_take_dirty(self._core, self._handles, 64):
            taken.extend(self._handles[0:count])
        return taken

    def out(self, handle: int, size: int = 1 << 20) -> bytes:
        """Up to ``size`` bytes that wait to be written; ``sent`` takes them off."""
        for room in (min(size, 1 << 12), size):  # a megabyte is hardly ever there, and zeroed each time
            buffer = ffi.new("uint8_t[]", room)
            found = lib.pk_core_read_out(self._core, handle, buffer, room)
            if found < room:
                break
        return bytes(ffi.buffer(buffer, found))

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
        return counters(lib.pk_core_stats_words(self._core))

    def endpoint_stats(self, uid: int) -> dict[str, int]:
        """Counters of one endpoint."""
        return endpoint_counters(lib.pk_core_endpoint_words(self._core, uid))

    def times(self, uid: int) -> list[int]:
        """How long calls of a cluster took."""
        return times(lib.pk_core_times_words(self._core, uid))
