"""The one door to the compiled engine: nobody else touches cffi.

``Table`` is a routing table, ``Worker`` is a core on a thread of its own, ``core.Core`` the same
core without sockets or clock. What records look like is in ``layout.py``, what they tell of requests
in ``events.py``, what codecs say of themselves in ``codecs.py``, of frames in ``frames.py``, to others
in ``replies.py``. Batches of records cross as
bytes and are read with ``struct.iter_unpack``: reading C structs field by field through cffi is slower
than plain Python.
"""

from __future__ import annotations

import functools
import importlib
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from protokit._native import ffi, lib
from protokit.errors import ProtokitError
from protokit.native.codecs import (
    CHANGES,
    Address,
    check_codec,
    codecs,
    declared,
    edits,
    envelope_codec,
    greeting,
    greeting_options,
    has_budget,
    holders,
    id_bytes,
    id_max,
    measure_address,
    mode,
    name,
    optional_drain,
    pinned,
    reads_arguments,
    reads_inside,
    relays_greetings,
    rewrites_ids,
    server_first,
    state_size,
    step_address,
)
from protokit.native.frames import (
    EDIT_GROUP,
    EDIT_HEADER,
    EDIT_METHOD,
    EDIT_SERVICE,
    EDIT_VERSION,
    INSTRUCTIONS,
    KIND_DRAIN,
    KIND_GREETING,
    KIND_HEARTBEAT,
    KIND_HEARTBEAT_ACK,
    KIND_IGNORE,
    KIND_ONEWAY,
    KIND_PIECE,
    KIND_REQUEST,
    KIND_RESPONSE,
    KINDS,
    NONE,
    RESULTS,
    SAYS_HALF,
    SAYS_LAST,
    SAYS_MORE,
    SIDES,
    Argument,
    Framing,
    Id,
    Message,
    SentBy,
    argument,
    budget,
    edit,
    frame,
    has_ended,
    header,
    headers,
    probe,
    raw_headers,
    request,
    run_measure,
    run_step,
    sent_by,
    side_of,
    text,
)
from protokit.native.layout import (
    Field,
    Kind,
    Member,
    constants,
    members,
    table_kinds,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from protokit.native.events import (
        Answered,
        Asked,
        Ended,
        Malformed,
        held_bytes,
        held_cluster,
    )
    from protokit.native.guarded import Guarded
    from protokit.native.replies import (
        drain,
        error,
        greeting_heard,
        greeting_step,
        heartbeat,
        heartbeat_ack,
        keep,
        patch_id,
        read_id,
        show_id,
        write_id,
    )

OP_CONNECT, OP_CLOSE, OP_PAUSE, OP_RESUME, OP_FILTER, OP_RETIRED, OP_ENDPOINT, OP_FINISH, OP_CANCEL = range(
    1, 10
)
OP_ANSWER, OP_MALFORMED, OP_MALFORMED_ANSWER, OP_PANIC, OP_PREFER = 10, 11, 12, 13, 14
WELL, ILL_REFUSED, ILL_TIMED_OUT, ILL_GREETING, ILL_SILENT, ILL_CLOSING, ILL_EJECTED, ILL_FAILING = range(8)
EVENT_DRAINED, EVENT_BRIDGE, EVENT_UNBRIDGE, EVENT_PREPARED = range(100, 104)
CONNECTED, CONNECT_FAILED, CONNECT_EXHAUSTED = range(3)
DECIDE_CONTINUE, DECIDE_CLUSTER, DECIDE_REPLY, DECIDE_NOT_ASKED = range(4)
DECIDE_ANSWER, DECIDE_ANSWER_REPLY, DECIDE_ANSWER_NOT_ASKED = range(4, 7)

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

    def packed(self) -> bytes:
        """As it stands in the ring."""
        return _OP.pack(*self)


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


class RuleState:
    """What a rule's limit holds and how often the rule decided, of all workers; in use as long as it is kept.

    Args:
        keys: so many buckets, or 0: one for all requests.
        seed: of the hashes of keys.
        asked: so many keys that a limiter is asked about, or 0: none is.

    Attributes:
        limiter: that is asked, behind its factory, for who made it.
    """

    def __init__(self, keys: int, seed: int, asked: int = 0) -> None:
        pointer = lib.pk_rule_state_new(keys, seed)
        if pointer == ffi.NULL:
            raise ProtokitError("a rule's limit has no memory for its buckets")
        self._pointer = ffi.gc(pointer, lib.pk_rule_state_free)
        if asked and lib.pk_rule_state_ask(pointer, asked) != 0:
            raise ProtokitError("a rule's limit has no memory for what it is told of its keys")
        self.limiter: Any = None
        self.address = int(ffi.cast("uintptr_t", pointer))

    def say(self, key: int, requests: int | None, now: int, until: int) -> None:
        """So many requests of a key, or any number, are allowed; times in ns of the monotonic clock."""
        left = 2**62 if requests is None else requests
        lib.pk_rule_state_say(self._pointer, key, left, now, until)

    def took(self, keys: int) -> None:
        """So many keys that were to be asked about are taken."""
        lib.pk_rule_state_took(self._pointer, keys)

    def counts(self) -> dict[str, int]:
        """How often it decided what: ``limit``, ``would-limit`` and so on."""
        return {
            name: int(lib.pk_rule_state_count(self._pointer, number))
            for name, number in constants("PK_DECIDED_").items()
            if name != "count"
        }


class Shared:
    """What all workers of a process share of clusters and endpoints, by their numbers: what is under way."""

    def __init__(self) -> None:
        pointer = lib.pk_shared_new()
        if pointer == ffi.NULL:
            raise ProtokitError("memory is short")
        self.pointer = ffi.gc(pointer, lib.pk_shared_release)

    def under_way(self, cluster: int) -> dict[str, int]:
        """How much of a cluster: ``connections``, ``waiting``, ``requests``, ``retries``."""
        return {
            name: int(lib.pk_shared_under_way(self.pointer, cluster, number))
            for name, number in breakers().items()
            if not name.startswith("endpoint-")
        }

    def endpoint(self, number: int) -> dict[str, int]:
        """How much of an endpoint: ``connections``; ``requests`` where its breaker counts them."""
        return {
            name.removeprefix("endpoint-"): int(lib.pk_shared_endpoint(self.pointer, number, breaker))
            for name, breaker in breakers().items()
            if name.startswith("endpoint-")
        }

    def refused(self, cluster: int) -> dict[str, int]:
        """How often each of a cluster's breakers refused something."""
        return {
            name: int(lib.pk_shared_refused(self.pointer, cluster, number))
            for name, number in breakers().items()
        }

    def limit(self, cluster: int) -> int:
        """How many requests of a cluster may be under way, where that is found; 0: it is not found yet."""
        return int(lib.pk_shared_limit(self.pointer, cluster))

    def forget(self, clusters: Iterable[int]) -> None:
        """No table has these: their numbers may be others'."""
        for one in clusters:
            lib.pk_shared_forget(self.pointer, one)


def breakers() -> dict[str, int]:
    """Numbers of breakers by their names."""
    return {name: number for name, number in constants("PK_BREAKER_").items() if name != "count"}


class Verdicts:
    """What the workers of a process tell each other of endpoints; there as long as one of them runs."""

    def __init__(self) -> None:
        pointer = lib.pk_verdicts_new()
        if pointer == ffi.NULL:
            raise ProtokitError("memory is short")
        self.pointer = ffi.gc(pointer, lib.pk_verdicts_free)


class Table:
    """A compiled, immutable routing table, shared by all workers; free it when all have retired it."""

    def __init__(self, pointer: Any, codecs: Sequence[int] = (), states: Sequence[RuleState] = ()) -> None:
        self.pointer = pointer
        self._codecs = codecs  # they are there as long as it is
        self._states = states  # and so are these

    @classmethod
    def load(cls, image: bytes, codecs: Sequence[int], states: Sequence[RuleState] = ()) -> Table:
        """Check an image (``protokit.table`` packs it), and make a table of it.

        Args:
            image: pk_table with its arrays behind it.
            codecs: addresses, by the numbers in the image.
            states: of rules, by the numbers in the image.

        Raises:
            ProtokitError: it is no table, and why.
        """
        why = ffi.new("char[200]")
        pointer = lib.pk_table_load(image, len(image), list(codecs), len(codecs), why, len(why))
        if pointer == ffi.NULL:
            raise ProtokitError(f"the routing table was refused: {ffi.string(why).decode()}")
        lib.pk_table_share(pointer, [state.address for state in states], len(states))
        return cls(pointer, codecs, states)

    def endpoint_of(self, cluster: int, key: bytes) -> int | None:
        """Which of a cluster's endpoints a key leads to while all are well; None: it goes by no key."""
        found = lib.pk_table_endpoint_of(self.pointer, cluster, key, len(key))
        return None if found == NONE else int(found)

    def free(self) -> None:
        """Give its memory back. No core may use it any more."""
        if self.pointer is not None:
            lib.pk_table_free(self.pointer)
            self.pointer = None
            self._codecs = self._states = ()


def records(buffer: Any, count: int) -> Iterator[Op]:
    """That many pk_op of a buffer."""
    size = count * _OP.size
    return map(Op._make, _OP.iter_unpack(bytes(ffi.buffer(buffer, size))))


def counters(words: Any) -> dict[str, int]:
    """pk_stats, by names."""
    return dict(zip(STAT_NAMES, ffi.unpack(words, len(STAT_NAMES)), strict=True))


def endpoint_counters(words: Any) -> dict[str, int]:
    """pk_endpoint_stats, by names; zeros where there are none."""
    if words == ffi.NULL:
        return dict.fromkeys(ENDPOINT_STAT_NAMES, 0)
    return dict(zip(ENDPOINT_STAT_NAMES, ffi.unpack(words, len(ENDPOINT_STAT_NAMES)), strict=True))


def times(words: Any) -> list[int]:
    """pk_times: the nanoseconds of all calls, and how many took 2**i ns and more, up to twice that, by i."""
    return [0] * 65 if words == ffi.NULL else ffi.unpack(words, 65)


class Worker:
    """A core on a thread of its own, driven by epoll. Use it from one thread only.

    Args:
        seed: of its random choices.
        shared: with the other workers; None: with nobody.
        verdicts: of all workers; None: it is the only one.
        place: which of them it is.
        places: how many there are.
    """

    _BATCH = 256

    def __init__(
        self,
        seed: int,
        shared: Shared | None = None,
        verdicts: Verdicts | None = None,
        place: int = 0,
        places: int = 1,
    ) -> None:
        own = ffi.NULL if shared is None else shared.pointer
        of_all = ffi.NULL if verdicts is None else verdicts.pointer
        pointer = lib.pk_worker_start(seed, own, of_all, place, places)
        if pointer == ffi.NULL:
            raise ProtokitError(
                "a worker thread could not be started (threads or descriptors are at their limit)"
            )
        self._worker = pointer
        self._verdicts = verdicts
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
            taken.extend(records(self._buffer, count))
            if count < self._BATCH:
                return taken

    def ends(self) -> list[Ended]:
        """Take what became of requests whose ends filters are told."""
        from protokit.native import events  # noqa: PLC0415  # no start tells of requests

        if self._worker is None:
            return []
        return events.ends(functools.partial(lib.pk_worker_take_ends, self._worker))

    def asks(self) -> list[Asked]:
        """Take the keys of limits that limiters are asked about."""
        from protokit.native import events  # noqa: PLC0415  # no start tells of requests

        if self._worker is None:
            return []
        return events.asks(functools.partial(lib.pk_worker_take_asks, self._worker))

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
        return counters(lib.pk_worker_stats_words(self._worker))

    def endpoint_stats(self, uid: int) -> dict[str, int]:
        """Counters of one endpoint."""
        return endpoint_counters(lib.pk_worker_endpoint_words(self._worker, uid))

    def times(self, uid: int) -> list[int]:
        """How long calls of a cluster took."""
        return times(lib.pk_worker_times_words(self._worker, uid))


def __getattr__(name: str) -> object:
    """What no start needs is imported on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'protokit.native' has no attribute {name!r}")
    events = {"Answered", "Asked", "Ended", "Malformed", "held_bytes", "held_cluster"}
    where = "guarded" if name == "Guarded" else "events" if name in events else "replies"
    value = getattr(importlib.import_module(f"protokit.native.{where}"), name)
    globals()[name] = value
    return value


__all__ = [
    "CHANGES",
    "CONNECTED",
    "CONNECT_EXHAUSTED",
    "CONNECT_FAILED",
    "DECIDE_ANSWER",
    "DECIDE_ANSWER_NOT_ASKED",
    "DECIDE_ANSWER_REPLY",
    "DECIDE_CLUSTER",
    "DECIDE_CONTINUE",
    "DECIDE_NOT_ASKED",
    "DECIDE_REPLY",
    "EDIT_GROUP",
    "EDIT_HEADER",
    "EDIT_METHOD",
    "EDIT_SERVICE",
    "EDIT_VERSION",
    "ENDPOINT_STAT_NAMES",
    "EVENT_BRIDGE",
    "EVENT_DRAINED",
    "EVENT_PREPARED",
    "EVENT_UNBRIDGE",
    "ILL_CLOSING",
    "ILL_EJECTED",
    "ILL_FAILING",
    "ILL_GREETING",
    "ILL_REFUSED",
    "ILL_SILENT",
    "ILL_TIMED_OUT",
    "INSTRUCTIONS",
    "KINDS",
    "KIND_DRAIN",
    "KIND_GREETING",
    "KIND_HEARTBEAT",
    "KIND_HEARTBEAT_ACK",
    "KIND_IGNORE",
    "KIND_ONEWAY",
    "KIND_PIECE",
    "KIND_REQUEST",
    "KIND_RESPONSE",
    "NONE",
    "OP_ANSWER",
    "OP_CANCEL",
    "OP_CLOSE",
    "OP_CONNECT",
    "OP_ENDPOINT",
    "OP_FILTER",
    "OP_FINISH",
    "OP_MALFORMED",
    "OP_MALFORMED_ANSWER",
    "OP_PANIC",
    "OP_PAUSE",
    "OP_PREFER",
    "OP_RESUME",
    "OP_RETIRED",
    "RESULTS",
    "SAYS_HALF",
    "SAYS_LAST",
    "SAYS_MORE",
    "SIDES",
    "STAT_NAMES",
    "WELL",
    "Address",
    "Answered",
    "Argument",
    "Asked",
    "Ended",
    "Field",
    "Framing",
    "Guarded",
    "Id",
    "Kind",
    "Malformed",
    "Member",
    "Message",
    "Op",
    "RuleState",
    "SentBy",
    "Shared",
    "Table",
    "Verdicts",
    "Worker",
    "argument",
    "breakers",
    "budget",
    "check_codec",
    "codecs",
    "constants",
    "declared",
    "drain",
    "edit",
    "edits",
    "envelope_codec",
    "error",
    "frame",
    "greeting",
    "greeting_heard",
    "greeting_options",
    "greeting_step",
    "has_budget",
    "has_ended",
    "header",
    "headers",
    "heartbeat",
    "heartbeat_ack",
    "held_bytes",
    "held_cluster",
    "holders",
    "id_bytes",
    "id_max",
    "keep",
    "measure_address",
    "members",
    "mode",
    "name",
    "optional_drain",
    "pack_address",
    "patch_id",
    "pinned",
    "probe",
    "raw_headers",
    "read_id",
    "reads_arguments",
    "reads_inside",
    "relays_greetings",
    "request",
    "rewrites_ids",
    "run_measure",
    "run_step",
    "sent_by",
    "server_first",
    "show_id",
    "side_of",
    "state_size",
    "step_address",
    "table_kinds",
    "text",
    "unpack_address",
    "write_id",
]
