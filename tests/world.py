"""A world around the sans-IO core: clients, upstreams and time, all under the test's hand."""

from __future__ import annotations

from typing import NamedTuple

from protokit import native
from protokit.config.networks import number
from protokit.dataplane.limits import Prefer
from protokit.native.core import Core
from protokit.testing.tables import TableBuilder

MS = 1_000_000
LIMITS = {
    "buffer": 4 << 20,
    "frame": 1 << 16,
    "connections": 64,
    "in_flight": 256,
    "in_flight_per_connection": 32,
    "filters": 256,
    "client_pause": 4096,
    "client_close": 1 << 20,
    "upstream_buffer": 1 << 15,
    "upstream_in_flight": 32,
    "retry_buffer": 4096,
    "request_ms": 3000,
    "idle_ms": 600_000,
    "frame_ms": 2000,
    "filter_ms": 60_000,
    "detect_ms": 500,
    "heartbeat_ms": 10_000,
    "probe_ms": 5000,
    "drain_ms": 1500,
}


class Check(NamedTuple):
    """pk_check."""

    by: str
    every: int = 1000
    timeout: int = 500
    unhealthy: int = 3
    healthy: int = 2
    codec: int = 0
    frame: bytes = b""


def _prefer(builder, cluster, ports, weights, near, more):
    """The two parts of the first cluster, behind all others."""
    for part in ("prefer", "not") if near is not None else ():
        builder.cluster(*cluster, **more, subset=part)
        for i, (uid, port) in enumerate(ports.items()):
            weight = (weights or [1] * len(ports))[i]
            if weight and (i in near) == (part == "prefer"):
                builder.endpoint(uid, "127.0.0.1", port, weight)


def table(  # noqa: PLR0912  # each of these is one thing more that a table may have
    codecs,
    *,
    endpoints=1,
    clusters=1,
    limits=None,
    rules=None,
    plan=None,
    balance="round-robin",
    hash_by=(),
    weights=None,
    pinned=False,
    direct=False,
    max_connections=4,
    first_uid=0,
    connect_ms=1000,
    fallback=0,
    filtered=None,
    seen=None,
    changed=None,
    changes=False,
    told=None,
    open_for=0,
    ports=None,
    listener="in",
    goaway=False,
    outlier=None,
    breaker=None,
    check=None,
    panic=0,
    slow_start=None,
    near=None,
    healthy=700_000,
):
    """A table of one listener (0), one cluster, and by default one rule that matches anything.

    ``clusters``: so many in all; further ones are c1 (uid 41, port 9041), c2 ... A rule is (service, method)
    or, to one of these, (service, method, number). ``fallback``: endpoints of one more cluster, for clients
    of no known protocol (uid 50, port 9050 ...); -1: these go to the first cluster, too.
    ``filtered``: services whose requests wait for filters, each with a chain of its own (0, 1 ...).
    ``seen``: the same of services whose answers wait for filters. ``changed``: of those whose answers are
    given a header. ``changes``: in all plans the header ``token`` of a request is written into it once more,
    and into its answer. ``told``: of those whose ends filters are told. ``open_for``: PK_OPEN_* of both.
    ``near``: numbers of endpoints of the first cluster, preferred while ``healthy`` of them are usable.
    ``ports``: of the endpoints, by uid, where they are not 9000 and so on. ``listener``: its name, or None.
    """
    ports = {first_uid + i: 9000 + first_uid + i for i in range(endpoints)} if ports is None else ports
    builder = TableBuilder({**LIMITS, **(limits or {})}, seed=42)
    if check is not None:
        check = check._replace(codec=builder.checking(codecs[0]))
    builder.cluster(
        "c",
        balance,
        max_connections,
        connect_ms,
        hash_by,
        outlier=outlier,
        breaker=breaker,
        check=check,
        panic=panic,
        slow_start=slow_start,
        prefer=None if near is None else Prefer(parts := clusters + bool(fallback), parts + 1, healthy),
    )
    for i, (uid, port) in enumerate(ports.items()):
        builder.endpoint(uid, "127.0.0.1", port, (weights or [1] * len(ports))[i])
    for i in range(1, clusters):
        builder.cluster(f"c{i}", balance, max_connections, connect_ms)
        builder.endpoint(40 + i, "127.0.0.1", 9040 + i, 1)
    for i in range(fallback):
        if i == 0:
            builder.cluster("raw", "round-robin", max_connections, connect_ms)
        builder.endpoint(50 + i, "127.0.0.1", 9050 + i, 1)
    more = {"outlier": outlier, "breaker": breaker, "slow_start": slow_start}
    _prefer(builder, ("c", balance, max_connections, connect_ms, hash_by), ports, weights, near, more)
    chains = []
    both = dict.fromkeys([*(filtered or []), *(seen or []), *(changed or []), *(told or [])])
    for chain, service in enumerate(both):
        asked, answered, ended = (chain if service in (one or []) else None for one in (filtered, seen, told))
        number = builder.plan(
            f"filtered {service}",
            filter_chain=asked,
            answer_chain=answered,
            end_chain=ended,
            open_for=open_for,
            **(plan or {}),
        )
        chains.append((service, number))
        builder.split(0, 1)
        if service in (changed or []):
            builder.change("header", "set", "zone", "a", answer=True)
    plans = []
    for i in range(clusters):
        plans.append(builder.plan("plan", **(plan or {})))
        if changes:
            for answer in (False, True):
                builder.change("header", "set", "of", of=builder.origin("header", "token"), answer=answer)
        if not (plan or {}).get("reply"):
            builder.split(i, 1)
    routes = None
    if not direct:
        routes = builder.routes("r")
        for service, chain in chains:
            builder.rule(service, "*", "*", "*", chain)
        for service, method, *cluster in rules or [("*", "*")]:
            builder.rule(service, method, "*", "*", plans[cluster[0] if cluster else 0])
    if listener is not None:
        builder.listener(
            0,
            listener,
            routes=routes,
            plan=plans[0],
            pinned=pinned,
            codecs=codecs,
            fallback=0 if fallback < 0 else clusters if fallback else None,
            goaway=goaway,
        )
    return builder.finish()


class World:
    """Carries out what the core asks for, and keeps what each side got.

    Clients are polite unless told otherwise: who hears that no more comes closes, too.
    """

    def __init__(
        self, first: native.Table, *, connect="ok", polite=True, seed=7, shared=None, join=None
    ) -> None:
        self.shared = shared or native.Shared()
        self.core = Core(seed, self.shared)
        if join is not None:
            self.core.join(*join)
        self.now = 1_000 * MS
        self.polite = polite
        self.connect = connect  # new upstream connections: ok, fail, exhausted (here), wait; or by port
        self.clients: list[int] = []
        self.upstreams: dict[int, tuple[str, int]] = {}  # open or being opened, by handle
        self.opening: list[int] = []
        self.got: dict[int, bytearray] = {}  # bytes that each peer received
        self.stuck: set[int] = set()  # peers that do not read
        self.closed: dict[int, int] = {}  # handle -> 1 when with a reset
        self.paused: set[int] = set()
        self.finished: set[int] = set()  # peers that were told that no more comes
        self.filters: list[native.Op] = []
        self.cancelled: list[int] = []  # requests that ended before their filter
        self.blamed: list[bool] = []  # of each, whether it was by the filter's fault
        self.retired: list[int] = []
        self.endpoints: list[tuple[int, int]] = []  # (uid, whether it can be reached), as the core said
        self.left_out_ms: list[int] = []  # of the same: for how long from then on it is left out
        self.panics: list[tuple[int, int, int]] = []  # on or off, usable endpoints, of how many
        self.preferred: list[int] = []  # parts of a million that go to those that are preferred
        self.checked: list[tuple[int, int, int]] = []  # (uid, PK_CHECK_*, errno or status) of new verdicts
        self.malformed: list[native.Op] = []
        self.tables: dict[int, native.Table] = {}
        self.apply(first)

    def apply(self, one: native.Table) -> None:
        token = len(self.tables) + 1
        self.tables[token] = one
        self.core.begin(self.now)
        self.core.apply(one, token)
        self._settle()

    def batch(self, *steps) -> None:
        """One batch: each step is (method of the core, arguments...)."""
        self.core.begin(self.now)
        for name, *arguments in steps:
            getattr(self.core, name)(*arguments)
        self._settle()

    def _settle(self) -> None:
        self.core.end()
        while True:
            ops = self.core.ops()
            for op in ops:
                self._carry_out(op)
            moved = [self.read(handle) for handle in self.core.dirty() if handle not in self.stuck]
            if not ops and not moved:
                break
        due = self.core.next()
        if due is not None and due <= self.now:
            self.core.begin(self.now)
            self._settle()

    def _carry_out(self, op: native.Op) -> None:
        if op.op == native.OP_CONNECT:
            raw = bytes(native.ffi.buffer(native.ffi.cast("char *", op.data), op.size))
            self.upstreams[op.handle] = native.unpack_address(raw)
            self.got[op.handle] = bytearray()
            how = self.connect(self.upstreams[op.handle][1]) if callable(self.connect) else self.connect
            if how == "wait":
                self.opening.append(op.handle)
            else:
                failed = {"fail": native.CONNECT_FAILED, "exhausted": native.CONNECT_EXHAUSTED}
                self.core.connected(op.handle, failed=failed.get(how, native.CONNECTED))
        elif op.op == native.OP_CLOSE:
            assert op.handle not in self.closed, "closed twice"
            self.closed[op.handle] = op.arg
            self.upstreams.pop(op.handle, None)
            self.paused.discard(op.handle)
        elif op.op == native.OP_FINISH:
            assert op.handle not in self.finished, "finished twice"
            self.finished.add(op.handle)
            if self.polite and op.handle in self.clients:
                self.core.eof(op.handle)
        elif op.op == native.OP_PAUSE:
            self.paused.add(op.handle)
        elif op.op == native.OP_RESUME:
            self.paused.discard(op.handle)
        elif op.op == native.OP_CANCEL:
            self.cancelled.append(op.handle)
            self.blamed.append(bool(op.size))
        elif op.op == native.OP_RETIRED:
            self.retired.append(op.token)
            self.tables[op.token].free()
        elif op.op in {native.OP_ENDPOINT, native.OP_PANIC, native.OP_PREFER}:
            self._hear_of(op)
        else:
            waits = op.op in (native.OP_FILTER, native.OP_ANSWER)
            (self.filters if waits else self.malformed).append(op)

    def _hear_of(self, op: native.Op) -> None:
        if op.op == native.OP_PANIC:
            self.panics.append((op.size, op.data, op.codec))
        elif op.op == native.OP_PREFER:
            self.preferred.append(op.data)
        elif op.size == native.ILL_FAILING:
            self.checked.append((op.arg, op.data, op.codec))
        else:
            self.endpoints.append((op.arg, op.size))
            self.left_out_ms.append(op.token)

    def read(self, handle: int, most: int = 1 << 30) -> int:
        """Let a peer read what waits for it, up to ``most`` bytes."""
        total = 0
        while most > 0 and (data := self.core.out(handle, min(most, 1 << 16))):
            self.got[handle] += data
            self.core.sent(handle, len(data))
            most -= len(data)
            total += len(data)
        return total

    def client(self, listener: int = 0, source: str = "") -> int:
        self.core.begin(self.now)
        handle = self.core.accept(listener, number(source).to_bytes(16, "big") if source else b"")
        if handle:
            self.clients.append(handle)
            self.got[handle] = bytearray()
        self._settle()
        return handle

    def feed(self, handle: int, data: bytes) -> None:
        self.batch(("feed", handle, data))

    def opened(self, handle: int, *, failed: bool = False) -> None:
        self.opening.remove(handle)
        self.core.begin(self.now)
        self.core.connected(handle, failed=failed)
        self._settle()

    def wait(self, ms: int) -> None:
        """Let time pass, with a batch whenever the core asks for one."""
        end = self.now + ms * MS
        for _ in range(100_000):
            due = self.core.next()
            self.now = end if due is None or due >= end else max(due, self.now)
            self.core.begin(self.now)
            self._settle()
            if self.now >= end:
                return
        raise AssertionError("the core asks for batches without end")

    def take(self, toy, handle: int):
        """The whole frames that a peer got since the last time."""
        frames, rest = toy.split(bytes(self.got[handle]))
        self.got[handle] = bytearray(rest)
        return frames

    def only_upstream(self) -> int:
        (handle,) = self.upstreams
        return handle

    def stat(self, name: str) -> int:
        return self.core.stats()[name]

    def outcomes(self) -> dict[str, int]:
        """What became of requests: each is counted once.

        Raises:
            AssertionError: one is counted twice, or not at all.
        """
        stats = self.core.stats()
        names = [
            "responses",
            "oneway",
            "requests_client_gone",
            *(name for name in stats if name.startswith("errors_")),
        ]
        found = {name: stats[name] for name in names if stats[name]}
        over = stats["requests"] - stats["requests_active"]
        assert sum(found.values()) == over, f"{over} are over: {found}"
        return found


def answer(world, toy, upstream, frame, body=b"ok", status=0):
    """A server answers a request that it got."""
    world.feed(upstream, toy.frame(toy.RESPONSE, frame[2], body, status))
