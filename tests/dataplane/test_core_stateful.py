"""Random clients, upstreams and time around the core: no answer to the wrong client, every request ends
exactly once, memory stays within the budget, and everything comes back in the end."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from world import LIMITS, MS, Check, World, table

from protokit import native
from protokit.config.scalars import Duration, Retries, Share
from protokit.config.schema import Adaptive, Breaker, EndpointBreaker, Outlier
from protokit.dataplane.compile import Identities
from protokit.dataplane.limits import Mirror
from protokit.testing.tables import cluster_number

SMALL = {
    "buffer": 400_000,
    "frame": 3000,
    "connections": 6,
    "in_flight": 40,
    "in_flight_per_connection": 12,
    "filters": 4,
    "filter_ms": 1500,
    "client_pause": 2000,
    "client_close": 12_000,
    "upstream_buffer": 3000,
    "upstream_in_flight": 8,
    "retry_buffer": 200,
    "request_ms": 2000,
    "probe_ms": 700,
    "heartbeat_ms": 3000,
    "drain_ms": 1000,
}
PLANS = [
    {},
    {"attempts": 3, "retry_on": 15},
    {"attempts": 3, "retry_on": 15, "idempotent": True},
    {"timeout_ms": 500},
    {"filter_chain": 0},
    {"attempts": 2, "retry_on": 15, "idempotent": True, "per_try_ms": 300, "backoff": (20, 100)},
    {"idempotent": True, "hedge_ms": 100},
    {"idempotent": True, "hedge_ms": 100, "attempts": 2, "retry_on": 15, "answer_chain": 0, "open_for": 3},
    {"mirror": Mirror(2, 10**6, 100)},
    {"mirror": Mirror(2, 10**6, 100), "idempotent": True, "hedge_ms": 100, "filter_chain": 0},
    {"answer_chain": 0, "end_chain": 0},
    {"delay_ms": 300, "filter_chain": 0, "answer_chain": 0},
]
SHADOW = 9042
BREAKERS = [
    None,
    None,
    Breaker(requests=6, waiting=3, retries=Retries.parse("1")),
    Breaker(requests=12, adaptive=Adaptive(least=2), endpoint=EndpointBreaker(requests=4)),
    Breaker(connections=3),
]
OUTLIERS = [None, Outlier(3, None, Duration(500), Share.parse("50%"))]


class Client:
    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.pending: bytearray = bytearray()  # bytes written and not yet delivered
        self.ended_writing = False
        self.reset = False
        self.one_id = False  # all its requests have the same
        self.asked: dict[int, bytes] = {}  # id -> token, of requests that wait for their end
        self.order: list[tuple[int, bytes]] = []  # the same, as they were asked
        self.written = self.delivered = 0  # bytes, of all that it ever wrote
        self.ends: dict[bytes, int] = {}  # token -> where that request ends in what it writes
        self.frames: list[int] = []  # where what it wrote in one go ends
        self.half = (0, 0)  # the frame of which a part was delivered, and since when, ns
        self.unheard = False  # what it wrote from here on may be dropped
        self.parts: dict[bytes, int] = {}  # token -> parts that it has of the answer
        self.called: list[tuple[int, bytes]] = []  # (id, token) of servers' requests that it may answer
        self.never_reads = False  # from here on, for good

    def write(self, data: bytes) -> None:
        self.pending += data
        self.written += len(data)
        self.frames.append(self.written)

    def deliver(self, size: int, now: int) -> bytes:
        """The next bytes on their way."""
        data = bytes(self.pending[:size])
        del self.pending[:size]
        number, since = self.half
        if number and now - since >= LIMITS["frame_ms"] * MS:
            self.unheard = True  # it took too long over a frame
        if not self.unheard:
            self.delivered += size
            cut = 0 if self.delivered in self.frames else 1 + sum(end < self.delivered for end in self.frames)
            if cut != number:
                self.half = (cut, now)
        return data

    def owed(self) -> list[bytes]:
        """Requests that were delivered whole while it was heard, and have had no answer."""
        return [token for _, token in self.order if self.ends[token] <= self.delivered]


class Machine(RuleBasedStateMachine):
    kind = "wide"
    pinned = False
    toys: dict = {}

    def __init__(self) -> None:
        super().__init__()
        self.toy = self.toys[self.kind]
        self.number = 0
        self.identities = Identities()
        self.ports: dict[int, dict[int, int]] = {}  # uid -> port of each table in use, by token
        first = self.new_table({}, [9000, 9001])
        self.world = World(first, polite=False)
        self.world.connect = "wait"
        self.clients: list[Client] = []
        self.asked_up: dict[int, list[tuple[int, int, bytes]]] = {}
        self.old: list[tuple[int, int]] = []  # (upstream, id) of requests answered or given up
        self.ended = 0
        self.greeted: set[int] = set()
        self.beats: list[tuple[int, int]] = []  # (upstream, id) of heartbeats to answer
        self.calls: dict[tuple[int, bytes], int] = {}  # (upstream, token) of its requests -> their id
        self.parts: dict[
            tuple[int, int, bytes], int
        ] = {}  # (upstream, id, token) -> parts said of that answer
        self.rest: dict[int, bytes] = {}  # of an answer that a server has sent a part of
        self.garbage = 0  # so often servers said what is no frame
        self.dead: set[int] = set()  # endpoints whose connections never open, and that answer nothing

    def new_table(
        self,
        plan: dict,
        ports: list[int],
        balance: str = "round-robin",
        listener: str | None = "in",
        check: Check | None = None,
        breaker: Breaker | None = None,
        outlier: Outlier | None = None,
    ) -> native.Table:
        numbers = {self.identities.number(port): port for port in ports}
        self.ports[len(self.ports) + 1] = numbers
        return table(
            [self.toy.address],
            ports=numbers,
            listener=listener,
            limits=SMALL,
            plan=plan,
            balance=balance,
            max_connections=2,
            check=check,
            breaker=breaker,
            outlier=outlier,
            pinned=self.pinned,
            clusters=3,
            changes=self.changes(),
            rules=[("svc", "*"), ("two", "*", 1)],
        )

    def changes(self) -> bool:
        """Whether each request, and each answer, is given a header on its way."""
        return self.kind.startswith("edited")

    # What clients do.

    @rule()
    def connect(self) -> None:
        handle = self.world.client()
        if handle:
            self.clients.append(Client(handle))
            self.clients[-1].one_id = len(self.clients) % 2 == 1
            self.clients[-1].write(self.toy.greet("client", leave=len(self.clients) % 3 == 0))

    def live(self, reading: bool = True) -> list[Client]:
        return [c for c in self.clients if c.handle not in self.world.closed and not c.reset]

    @rule(data=st.data())
    def ask(self, data) -> None:
        candidates = [c for c in self.live() if not c.ended_writing]
        if not candidates:
            return
        self.asks(data, data.draw(st.sampled_from(candidates)), data.draw(st.integers(1, 5)))

    def asks(self, data, client: Client, count: int) -> None:
        for _ in range(count):
            self.number += 1
            token = b"%d" % self.number
            service = data.draw(st.sampled_from([b"svc"] * 4 + [b"two"] * 2 + [b"other", b"bad"]))
            filling = b"x" * data.draw(st.sampled_from([0, 0, 10, 300, 1500]))
            body = b" ".join([service, b"m", token, filling]) if service != b"bad" else b"bad" + token
            oneway = data.draw(st.integers(0, 9)) == 0
            widest = 2 ** (8 * self.toy.id_bytes) - 1 if self.toy.id_bytes else 0
            few, all_ids = st.integers(0, min(3, widest)), st.integers(0, widest)
            wire_id = 0 if client.one_id else data.draw(st.one_of(few, all_ids))
            if wire_id in client.asked and self.toy.id_bytes:
                continue
            client.write(self.toy.request(wire_id, body, oneway=oneway))
            if not oneway:
                client.ends[token] = client.written
                if self.toy.id_bytes:
                    client.asked[wire_id] = token
                client.order.append((wire_id, token))

    @rule(data=st.data())
    def deliver(self, data) -> None:
        steps = []
        for client in self.live():
            if client.pending and client.handle not in self.world.paused:
                size = data.draw(st.integers(1, len(client.pending)))
                client.unheard |= client.handle in self.world.finished
                steps.append(("feed", client.handle, client.deliver(size, self.world.now)))
        self.world.batch(*steps)

    @rule(data=st.data(), most=st.sampled_from([0, 1, 9]))
    def go_on(self, data, most) -> None:
        """The usual course: somebody asks, all that is on its way arrives, upstreams open and answer some."""
        if not self.live():
            self.connect()
        self.ask(data)
        self.world.batch(
            *[
                ("feed", client.handle, client.deliver(len(client.pending), self.world.now))
                for client in self.live()
                if client.pending and client.handle not in self.world.paused | self.world.finished
            ]
        )
        while opening := [one for one in self.world.opening if one in self.world.upstreams]:
            self.world.opened(opening[0])
        self.greet(0)
        self.answer(data, most)

    @rule(data=st.data())
    def go_on_slowly(self, data) -> None:
        """The answers come after the callers were told that there are none, and have asked again."""
        self.go_on(data, 0)
        self.wait_for_the_living(SMALL["request_ms"] + 100)
        self.go_on(data, 9)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def stop_reading(self, data) -> None:
        self.world.stuck.add(data.draw(st.sampled_from(self.clients)).handle)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def stop_reading_for_good(self, data) -> None:
        """Whoever does so mostly asks a lot before."""
        client = data.draw(st.sampled_from(self.clients))
        client.never_reads = True
        self.world.stuck.add(client.handle)
        if client in self.live() and not client.ended_writing:
            self.asks(data, client, 12)
            self.go_on(data, 0)
            self.answers(data, 9, [2000])

    @rule(most=st.integers(1, 5000))
    def read_on(self, most) -> None:
        never = {client.handle for client in self.clients if client.never_reads}
        for handle in self.world.stuck - never:
            self.world.read(handle, most)
        self.world.stuck &= never
        self.world.batch()

    @rule(data=st.data())
    def half_close(self, data) -> None:
        candidates = [c for c in self.live() if not c.pending and not c.ended_writing]
        if candidates:
            client = data.draw(st.sampled_from(candidates))
            client.ended_writing = True
            self.world.batch(("eof", client.handle))

    @rule(data=st.data(), size=st.sampled_from([1, 40, 5000]))
    def talk_nonsense(self, data, size) -> None:
        candidates = [c for c in self.live() if not c.ended_writing]
        if candidates:
            client = data.draw(st.sampled_from(candidates))
            client.write(b"nonsense" * size)
            client.ended_writing = True

    @rule(data=st.data())
    def hang_up_when_told(self, data) -> None:
        candidates = [c for c in self.live() if c.handle in self.world.finished]
        if candidates:
            client = data.draw(st.sampled_from(candidates))
            client.pending.clear()
            self.world.batch(("eof", client.handle))

    @rule(data=st.data())
    def reset(self, data) -> None:
        if self.live():
            client = data.draw(st.sampled_from(self.live()))
            client.reset = True
            self.world.batch(("error", client.handle))

    # What upstreams do.

    @rule(data=st.data(), failed=st.sampled_from([False, False, False, True]))
    def opened(self, data, failed) -> None:
        self.world.opening = [one for one in self.world.opening if one in self.world.upstreams]
        opening = [one for one in self.world.opening if self.endpoint_of(one) not in self.dead]
        if opening:
            self.world.opened(data.draw(st.sampled_from(opening)), failed=failed)

    def endpoint_of(self, upstream: int) -> int:
        return self.world.upstreams[upstream][1] - 9000

    @rule(uid=st.integers(0, 5))
    def dies_or_comes_back(self, uid) -> None:
        self.dead ^= {uid}

    @precondition(lambda self: native.greeting(self.toy.address))
    @rule(refuse=st.sampled_from([0, 0, 0, 0, 6]))
    def greet(self, refuse) -> None:
        new = [
            one for one in self.world.upstreams if one not in self.world.opening and one not in self.greeted
        ]
        self.greeted.update(new)
        said = [self.toy.greet("server", status=refuse, leave=one % 2 == 0) for one in new]
        self.world.batch(*[("feed", one, data) for one, data in zip(new, said, strict=True)])

    def say(self, handle: int, data: bytes) -> tuple[str, int, bytes]:
        """A server's next bytes, behind what is left of an answer."""
        return "feed", handle, self.rest.pop(handle, b"") + data

    @precondition(lambda self: self.rest)
    @rule(data=st.data(), most=st.integers(1, 10_000))
    def go_on_with_an_answer(self, data, most) -> None:
        handle = data.draw(st.sampled_from(sorted(self.rest)))
        rest = self.rest.pop(handle)
        if handle in self.world.upstreams:
            self.rest[handle] = rest[most:]
            self.world.feed(handle, rest[:most])

    def see_upstreams(self) -> None:
        for handle in self.world.upstreams:
            for kind, _, wire_id, body in self.world.take(self.toy, handle):
                if kind == self.toy.GREETING:
                    continue
                assert handle in self.greeted or not native.greeting(self.toy.address), "said too early"
                if kind == self.toy.HEARTBEAT:
                    self.beats.append((handle, wire_id))
                if kind == self.toy.RESPONSE:
                    if not body.startswith(b"protokit"):
                        assert self.calls.get((handle, body)) == wire_id, "an answer to another server"
                    continue
                if kind in {self.toy.REQUEST, self.toy.ONEWAY}:
                    port = self.world.upstreams[handle][1]
                    of = b"two " if port == 9041 else b"svc "
                    assert body.startswith(of) or port == SHADOW, "a request in the wrong cluster"
                    words = body.split(b" ")
                    assert words[4:] == words[2:3] * self.changes(), "a request is changed once, by itself"
                if kind == self.toy.REQUEST:
                    asked = [one[1] for one in self.asked_up.get(handle, [])]
                    own = self.pinned or self.kind == "own" or not self.toy.id_bytes
                    assert own or self.toy.id_bytes > 2 or wire_id not in asked, "its late answer may come"
                    self.asked_up.setdefault(handle, []).append((kind, wire_id, body))
                    assert wire_id != 7 or self.pinned or self.kind == "own" or not self.toy.id_bytes, (
                        "a reserved id was issued"
                    )

    @rule(data=st.data(), most=st.just(3))
    def answer(self, data, most) -> None:
        self.answers(data, most, [0, 0, 500, 2000, 4000, 30_000])

    def answers(self, data, most: int, sizes: list[int]) -> None:
        self.see_upstreams()
        steps = []
        for handle in list(self.world.upstreams):
            waiting = self.asked_up.get(handle, [])
            if self.endpoint_of(handle) in self.dead:
                continue
            for _ in range(data.draw(st.integers(0, min(most, len(waiting))))):
                at = data.draw(st.integers(0, len(waiting) - 1)) if self.toy.id_bytes else 0
                _, wire_id, body = waiting[at]
                token = body.split(b" ")[2]
                more = data.draw(st.sampled_from([0, 0, 0, self.toy.MORE]))
                if not more:
                    del waiting[at]
                number = self.parts.get((handle, wire_id, token), 0)
                self.parts[handle, wire_id, token] = number + 1
                kind = self.toy.PIECE if number and data.draw(st.booleans()) else self.toy.RESPONSE
                status = data.draw(st.sampled_from([0, 0, 0, 1, 5]))
                filling = b"y" * data.draw(st.sampled_from(sizes))
                frame = self.toy.frame(kind, wire_id, b"%s %d " % (token, number) + filling, status | more)
                steps.append(self.say(handle, frame))
                if len(frame) > SMALL["frame"] and data.draw(st.booleans()):  # it goes on later, if ever
                    said = steps.pop()[2]
                    here = len(said) - data.draw(st.integers(0, len(frame) - 20))
                    self.rest[handle] = said[here:]
                    steps.append(("feed", handle, said[:here]))
                if not more:
                    self.old.append((handle, wire_id))
        self.world.batch(*steps)

    @precondition(lambda self: self.toy.id_bytes == 8 and self.old)
    @rule(data=st.data())
    def repeat_or_forge(self, data) -> None:
        handle, wire_id = data.draw(st.sampled_from(self.old))
        outstanding = {one[1] for one in self.asked_up.get(handle, [])}
        wire_id += data.draw(st.sampled_from([0, 0, 4096, 2**32]))
        self.see_upstreams()
        outstanding |= {one[1] for one in self.asked_up.get(handle, [])}
        if handle in self.world.upstreams and wire_id not in outstanding:
            more = data.draw(st.sampled_from([0, self.toy.MORE]))
            forged = self.toy.frame(self.toy.RESPONSE, wire_id % 2**64, b"forged", more)
            self.world.batch(self.say(handle, forged))

    @rule(
        data=st.data(),
        how=st.sampled_from(["eof", "error", "garbage", "drain", "undrain", "heartbeat", "stuck"]),
    )
    def upstream_misbehaves(self, data, how) -> None:
        if not self.world.upstreams:
            return
        handle = data.draw(st.sampled_from(sorted(self.world.upstreams)))
        if handle in self.world.opening:
            return
        if how not in {"stuck", "eof", "error"}:
            self.greeted.add(handle)  # whatever it says next comes too late for a greeting
        if how == "stuck":
            self.world.stuck.add(handle)
        elif how in {"eof", "error"}:
            self.world.batch((how, handle))
        else:
            toy = self.toy
            frames = {"drain": toy.DRAIN, "undrain": toy.UNDRAIN, "heartbeat": toy.HEARTBEAT}
            self.garbage += how == "garbage"
            self.world.batch(self.say(handle, toy.frame(frames[how]) if how in frames else b"garbage"))

    @precondition(lambda self: self.pinned and self.toy.id_bytes)
    @rule(data=st.data(), wire_id=st.integers(0, 2))
    def call_back(self, data, wire_id) -> None:
        self.see_upstreams()
        open_ones = sorted(set(self.world.upstreams) - set(self.world.opening))
        if native.greeting(self.toy.address):
            open_ones = [one for one in open_ones if one in self.greeted]
        if open_ones:
            handle = data.draw(st.sampled_from(open_ones))
            self.number += 1
            token = b"call %d" % self.number
            self.calls[handle, token] = wire_id
            self.world.batch(self.say(handle, self.toy.request(wire_id, token)))

    @precondition(lambda self: self.pinned)
    @rule(data=st.data())
    def answer_back(self, data) -> None:
        for client in self.live():
            if client.called and not client.ended_writing:
                wire_id, token = client.called.pop(data.draw(st.integers(0, len(client.called) - 1)))
                client.write(self.toy.frame(self.toy.RESPONSE, wire_id, token))

    # What the proxy's owner does.

    @rule(ms=st.sampled_from([1, 50, 400, 800, 2500]))
    def wait(self, ms) -> None:
        self.world.wait(ms)

    @rule(ms=st.sampled_from([600, 2100]))
    def wait_for_the_living(self, ms) -> None:
        """Upstreams that are slow to answer, but not dead."""
        for _ in range(0, ms, 300):
            self.world.wait(300)
            self.see_upstreams()
            self.world.batch(
                *[
                    self.say(handle, self.toy.frame(self.toy.HEARTBEAT_ACK, wire_id))
                    for handle, wire_id in self.beats
                    if handle in self.world.upstreams
                ]
            )
            self.beats.clear()

    @rule(
        plan=st.sampled_from(PLANS),
        ports=st.lists(st.integers(9000, 9005), min_size=1, max_size=3, unique=True),
        balance=st.sampled_from(["round-robin", "least-request", "random", "peak-ewma"]),
        listener=st.sampled_from(["in", "in", "in", "renamed", None]),
        check=st.sampled_from(
            [None, Check("heartbeat", every=400, timeout=200), Check("connect", every=300)]
        ),
        breaker=st.sampled_from(BREAKERS),
        outlier=st.sampled_from(OUTLIERS),
    )
    def reload(self, plan, ports, balance, listener, check, breaker, outlier) -> None:
        known = self.give_numbers_back()
        new = self.new_table(plan, ports, balance, listener, check, breaker, outlier)
        for uid, port in self.ports[len(self.ports)].items():
            if (uid, port) not in known:  # a number that was given back, or never given out
                stats = self.world.core.endpoint_stats(uid)
                assert not any(stats.values()), "a new endpoint has a past"
        self.world.apply(new)
        self.connects_lead_where_tables_say()

    def give_numbers_back(self) -> set[tuple[int, int]]:
        live = [ports for token, ports in self.ports.items() if token not in self.world.retired]
        self.identities.keep(port for ports in live for port in ports.values())
        return {one for ports in live for one in ports.items()}

    @invariant()
    def connects_lead_where_tables_say(self) -> None:
        """Who is in no table in use gets no new connection, and loses those that nobody waits on."""
        known = {port for _, port in self.give_numbers_back()}
        for handle, (_, port) in self.world.upstreams.items():
            # A busy client keeps its server, and what has been said to a server is written first.
            kept = self.pinned or native.pinned(self.toy.address) or self.world.core.out(handle, 1)
            assert port in known or port > 9040 or kept, f"{handle} leads to an endpoint that is gone"

    @precondition(lambda self: self.world.filters)
    @rule(data=st.data(), verdict=st.sampled_from([0, 0, 1, 2, 3]))
    def decide(self, data, verdict) -> None:
        self.decides(data.draw(st.integers(0, len(self.world.filters) - 1)), verdict)

    def decides(self, at: int, verdict: int) -> None:
        """0: it goes on; 1: to another cluster; 2: it is denied; 3: nobody could be asked."""
        op = self.world.filters.pop(at)
        if op.op == native.OP_ANSWER:
            verdict = (
                native.DECIDE_ANSWER,
                native.DECIDE_ANSWER,
                native.DECIDE_ANSWER_REPLY,
                native.DECIDE_ANSWER_NOT_ASKED,
            )[verdict]
        self.world.batch(("decide", op.handle, verdict, 0, 7, b"denied"))

    # What must hold.

    def see_clients(self) -> None:
        for client in self.clients:
            for kind, status, wire_id, body in self.world.take(self.toy, client.handle):
                if kind in {self.toy.GREETING, self.toy.DRAIN, self.toy.HEARTBEAT_ACK, self.toy.HEARTBEAT}:
                    continue
                if kind == self.toy.REQUEST:
                    assert self.pinned, "a server calls a client of all"
                    client.called.append((wire_id, body))
                    continue
                assert kind in {self.toy.RESPONSE, self.toy.PIECE}
                if self.toy.id_bytes:
                    assert wire_id in client.asked, "an answer nobody waits for"
                    token = client.asked[wire_id]
                else:
                    assert client.order, "an answer nobody waits for"
                    _, token = client.order[0]
                assert len(body) <= SMALL["frame"], "an answer over the limit"
                follows = status & self.toy.MORE
                if status & ~self.toy.MORE in {0, 1, 5} and not body.startswith((b"protokit", b"denied")):
                    its, number, _, *behind = body.split(b" ")
                    assert behind == [its] * self.changes(), "an answer is changed once, by its own request"
                    assert its == token, "an answer to another request"
                    assert int(number) == client.parts.get(token, 0), "a part is lost, or came twice"
                    client.parts[token] = int(number) + 1
                if not follows:
                    client.order.remove((wire_id, token))
                    client.asked.pop(wire_id, None)
                    self.ended += 1

    @invariant()
    def no_answer_goes_wrong(self) -> None:
        self.see_clients()

    @invariant()
    def memory_is_within_the_budget(self) -> None:
        assert self.world.stat("buffer_bytes") <= SMALL["buffer"] * 5 // 4

    @invariant()
    def who_does_not_read_is_kept_no_more_than_its_limit(self) -> None:
        for client in self.live():
            waits = len(self.world.core.out(client.handle, 1 << 20))
            assert waits <= SMALL["client_close"], "a client that does not read"

    @invariant()
    def only_garbage_is_garbage(self) -> None:
        """Where an answer over the limit ends is known, however it comes."""
        if not native.greeting(self.toy.address):
            assert self.world.stat("protocol_errors_upstream") <= self.garbage

    def teardown(self) -> None:
        world = self.world
        self.read_on(1 << 30)
        for _ in range(200):
            if not world.filters:
                break
            self.decides(-1, 0)
        for _ in range(40 + self.number):  # where requests wait for each other each may need its time
            for client in self.live():
                if client.pending:
                    client.unheard |= client.handle in world.finished
                    world.feed(client.handle, client.deliver(len(client.pending), world.now))
            while world.filters:
                self.decides(-1, 2)
            world.opening.clear()
            world.wait(SMALL["request_ms"])
            for client in [one for one in self.live() if not one.never_reads]:
                world.read(client.handle)  # what it left when it read on a little
            self.see_clients()
            if (
                world.stat("requests_active") == 0 and world.core.next() != world.now
            ):  # and none waits to be framed
                break
        assert world.stat("requests_active") == 0, "a request never ended"
        while world.filters:  # those whose requests ended last
            self.decides(-1, 0)
        assert world.stat("filters_waiting") == world.stat("filters_bytes") == 0
        for client in self.clients:
            if not client.reset and not client.never_reads and not world.closed.get(client.handle):
                assert not client.owed(), f"requests without an end: {client.owed()}"
        self.all_is_given_back()

    def all_is_given_back(self) -> None:
        world = self.world
        world.batch(("shutdown",))
        world.wait(LIMITS["frame_ms"] + 1000)
        stats = world.core.stats()
        assert stats["connections_active"] == 0
        assert stats["upstream_connections_active"] == 0
        assert stats["buffer_bytes"] == 0, "a buffer was lost"
        assert stats["tables_live"] == 1
        assert stats["mirrors_active"] == 0
        world.outcomes()
        for uid in (*range(8), 40, 41, 42):
            assert world.core.endpoint_stats(uid)["active"] == 0
            assert world.core.endpoint_stats(uid)["connections"] == 0
        for cluster in ("c", "c1", "c2"):
            taken = world.shared.under_way(cluster_number(cluster))
            assert not any(taken.values()), "a breaker's place was never given back"


# How clients' ids are, and whether each client has a connection for itself: a world takes half a second.
WORLDS = [
    ("wide", False),
    ("narrow", False),
    ("pingpong", False),
    ("ordered", True),
    ("polite", False),
    ("named", False),
    ("edited", False),
]
MORE_WORLDS = [
    ("brief", False),
    ("ordered", False),
    ("wide", True),
    ("narrow", True),
    ("pingpong", True),
    ("own", False),
    ("polite", True),
    ("hosting", False),
    ("modest", False),
    ("choosy", False),
    ("choosy", True),
    ("long", False),
    ("named", True),
    ("edited", True),
    ("edited in order", False),
    ("edited alone", False),
    ("edited alone", True),
]


@pytest.mark.parametrize(
    ("kind", "pinned"), [*WORLDS, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE_WORLDS)]
)
def test_random_worlds(toys, kind, pinned, request) -> None:
    machine = type("Machine", (Machine,), {"kind": kind, "pinned": pinned, "toys": toys})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=request.config.getoption("--examples"),
            stateful_step_count=60,
            deadline=None,
            phases=[
                phase for phase in Phase if phase != Phase.shrink or request.config.getoption("--shrink")
            ],
            suppress_health_check=list(HealthCheck),
        ),
    )
