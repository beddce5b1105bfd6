"""A world of servers, each of them well or ill in its own way."""

from __future__ import annotations

import itertools

from world import MS, Check, World, table

from protokit import native

OK, INTERNAL = 0, 8
HALF = 500_000
SECOND = 1000


class Place(World):
    """A world that knows its endpoints by number, answers for those that are well, and times its clients.

    ``dropping``: their connections are neither opened nor refused; ``refusing``; ``silent``: they accept and
    say nothing; ``closing``: they accept, and close when asked.
    """

    def __init__(self, toy, *, beats: bool = False, **of_table) -> None:
        self.toy = toy
        self.beats = beats  # whether servers answer heartbeats
        self.dropping: set[int] = set()
        self.refusing: set[int] = set()
        self.silent: set[int] = set()
        self.closing: set[int] = set()
        self.asked: list[tuple[int, int]] = []  # (endpoint, ms) of each request that reached one
        self.lost: set[int] = set()  # the numbers of calls that one got that does not answer
        self.tried: list[tuple[int, int]] = []  # (endpoint, ms) of each connection
        self.failed: list[int] = []  # whose connections were refused, or not opened in time
        self.beaten: list[tuple[int, int]] = []  # (endpoint, ms) of each heartbeat
        self.told: list[tuple[int, int]] = []  # (endpoint, state) as the core says it
        self.number = 0
        of_table.setdefault("connect_ms", 1000)
        super().__init__(table([toy.address], **of_table), connect="wait", join=getattr(self, "joined", None))
        self.one = self.client()

    def client(self, listener: int = 0) -> int:
        handle = super().client(listener)
        if native.greeting(self.toy.address):
            self.feed(handle, self.toy.greet("client"))
        return handle

    def at(self, handle: int) -> int:
        return self.upstreams[handle][1] - 9000

    @property
    def ms(self) -> int:
        return self.now // MS

    def _carry_out(self, op) -> None:
        if op.op == native.OP_ENDPOINT:
            self.told.append((op.arg, op.size))
        if op.op == native.OP_CLOSE and op.handle in self.opening and op.handle in self.upstreams:
            self.failed.append(self.at(op.handle))
        super()._carry_out(op)
        if op.op == native.OP_CONNECT:
            self.tried.append((self.at(op.handle), self.ms))

    def serve(self) -> None:
        """Servers do what they do, until nothing happens any more."""
        busy = True
        while busy:
            busy = False
            for handle in [one for one in self.opening if one in self.upstreams]:
                if self.at(handle) in self.dropping:
                    continue
                busy = True
                if self.at(handle) in self.refusing:
                    self.failed.append(self.at(handle))
                    self.opened(handle, failed=True)
                    continue
                self.opened(handle)
                if native.greeting(self.toy.address) and handle in self.upstreams:
                    self.feed(handle, self.toy.greet("server"))
            for handle in list(self.upstreams):
                for kind, _, wire_id, body in self.take(self.toy, handle):
                    busy = True
                    self.hear(handle, kind, wire_id, body)

    def hear(self, handle: int, kind: int, wire_id: int, body: bytes) -> None:
        if handle not in self.upstreams:
            return
        at, toy = self.at(handle), self.toy
        if kind in {toy.REQUEST, toy.ONEWAY}:
            self.asked.append((at, self.ms))
            if at in self.silent | self.closing:
                self.lost.add(int(body.split()[2]))
        if kind == toy.HEARTBEAT:
            self.beaten.append((at, self.ms))
        if at in self.closing and kind == toy.REQUEST:
            self.batch(("eof", handle))
        elif at in self.silent | self.closing:
            pass
        elif kind == toy.REQUEST:
            self.feed(handle, toy.frame(toy.RESPONSE, wire_id, body))
        elif kind == toy.HEARTBEAT and self.beats:
            self.feed(handle, toy.frame(toy.HEARTBEAT_ACK, wire_id))

    def pass_time(self, ms: int, step: int = 10) -> None:
        end = self.ms + ms
        while self.ms < end:
            self.wait(min(step, end - self.ms))
            self.serve()

    def ask(self, client: int | None = None, *, oneway: bool = False) -> int:
        self.number += 1
        number = self.number % 200 if self.toy.id_bytes == 1 else self.number
        self.feed(client or self.one, self.toy.request(number, b"svc m %d" % self.number, oneway=oneway))
        self.serve()
        return self.number

    def call(self, most: int = 40 * SECOND) -> tuple[int, int]:
        """A call: its status, and how many ms it took."""
        since = self.ms
        self.ask()
        while True:
            for kind, status, _, _ in self.take(self.toy, self.one):
                if kind == self.toy.RESPONSE:
                    return status, self.ms - since
            assert self.ms - since < most, "it never ended"
            self.pass_time(1, 1)

    def calls(self, count: int, every: int = 10) -> list[tuple[int, int]]:
        done = []
        for _ in range(count):
            done.append(self.call())
            self.pass_time(every)
        return done

    def share(self, since: int = 0) -> dict[int, int]:
        """How many requests reached each endpoint since the first ``since``."""
        found: dict[int, int] = {}
        for at, _ in self.asked[since:]:
            found[at] = found.get(at, 0) + 1
        return found

    def gaps(self, what: list[tuple[int, int]], at: int) -> list[int]:
        times = [ms for one, ms in what if one == at]
        return [b - a for a, b in itertools.pairwise(times)]


class Judged(Place):
    """``failing``: their checks fail, and they answer calls all the same; ``bad``: the other way round."""

    def __init__(self, toy, *, endpoints=4, panic=HALF, **more) -> None:
        self.failing: set[int] = set()
        self.bad: set[int] = set()
        check = Check("call", frame=toy.request(7, b"svc m 0"))
        self.more = {"endpoints": endpoints, "panic": panic, "check": check, **more}
        super().__init__(toy, **self.more)

    def hear(self, handle, kind, wire_id, body) -> None:
        toy = self.toy
        checks = body == b"svc m 0"
        if handle in self.upstreams and kind == toy.REQUEST and (checks or self.at(handle) in self.bad):
            wrong = self.at(handle) in (self.failing if checks else self.bad)
            if not checks:
                self.asked.append((self.at(handle), self.ms))
            self.feed(handle, toy.frame(toy.RESPONSE, wire_id, body, INTERNAL if wrong else OK))
        else:
            super().hear(handle, kind, wire_id, body)

    def who(self, calls=40) -> set[int]:
        before = len(self.asked)
        self.calls(calls)
        return {at for at, _ in self.asked[before:]}
