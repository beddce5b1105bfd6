"""Ten times what a server can do: how long what is let through waits, and what others see of it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque

import pytest
from world import LIMITS, MS, World

from protokit import native
from protokit.config.schema import Adaptive, Breaker
from protokit.testing.tables import TableBuilder

OK, OVERLOADED = 0, 5
PLACES, EACH = 4, 40  # calls at a time, ms a call: a hundred a second
CAPACITY = 1000 / EACH * PLACES
SECONDS, WARM = 4, 2
ROOMY = LIMITS | {
    "in_flight": 5000,
    "in_flight_per_connection": 500,
    "upstream_in_flight": 1000,
    "request_ms": 100_000,
}


class Limit:
    """pk_limit: nine tenths of what the server can do, so that what a burst left behind goes away."""

    interval, burst, dry_run, by, text = int(1e9 / (0.9 * CAPACITY)), 4, 0, (), "90/s"


# What an operator sets, and how long a call may take so: those in front of it, by how many are done at once.
RULES = {
    "breaker": ({"breaker": Breaker(requests=6)}, 2 * EACH),
    "found": ({"breaker": Breaker(requests=1024, adaptive=Adaptive(least=2))}, 3 * EACH),
    "limit": ({"limit": Limit}, 2 * EACH),
}


def governed(codecs, *, breaker=None, limit=None):
    """Two listeners: what is asked by the first goes to a cluster with such a rule, or to one without."""
    builder = TableBuilder(ROOMY, seed=42)
    builder.cluster("c", "round-robin", 16, 1000, breaker=breaker)
    builder.endpoint(0, "127.0.0.1", 9000, 1)
    builder.cluster("quiet", "round-robin", 16, 1000)
    builder.endpoint(1, "127.0.0.1", 9001, 1)
    more = {} if limit is None else {"limit": limit, "state": native.RuleState(0, 1)}
    crowded = builder.plan("crowded", **more)
    builder.split(0, 1)
    quiet = builder.plan("quiet")
    builder.split(1, 1)
    builder.routes("r")
    builder.rule("svc", "*", "*", "*", crowded)
    builder.rule("quiet", "*", "*", "*", quiet)
    builder.listener(0, "in", routes=0, plan=None, pinned=False, codecs=codecs)
    builder.listener(1, "other", routes=None, plan=quiet, pinned=False, codecs=codecs)
    return builder.finish()


class Site:
    """Servers that do ``PLACES`` calls at a time, in order, and clients that ask when they want to."""

    def __init__(self, toy, rule, seed=1):
        self.toy, self.random = toy, random.Random(seed)
        self.world = World(governed([toy.address], **rule))
        self.crowd = [self.world.client() for _ in range(20)]
        self.quiet = [self.world.client(listener) for listener in (0, 1)]
        self.began = self.world.now
        self.events: list[tuple[int, int, object]] = []
        self.order = itertools.count()
        self.free = {9000: PLACES, 9001: PLACES}
        self.waiting = {9000: deque(), 9001: deque()}
        self.took: list[float] = []  # ms, of those that were let through
        self.refused = 0
        self.seen: list[tuple[int, int, int]] = []  # of the quiet ones: whose, its status, when

    def at(self, time, what):
        heapq.heappush(self.events, (time, next(self.order), what))

    def arrivals(self, rate, what):
        """At times that nobody agrees on, as of many callers; so many a second."""
        time = self.began
        while (time := time + int(self.random.expovariate(rate) * 1e9)) < self.began + SECONDS * 1000 * MS:
            self.at(time, what)

    def ask(self, clients, service):
        number = next(self.order)
        self.world.feed(clients[number % len(clients)], self.toy.request(number & 0xFFFF, service + b" m x"))
        asked = self.hear()
        self.refused += not asked and clients is self.crowd
        self.listen()

    def hear(self):
        """Whether a server was asked anything; what it does not do at once waits there."""
        heard = False
        for up, (_, port) in list(self.world.upstreams.items()):
            for kind, _, at, _ in self.world.take(self.toy, up):
                heard |= kind == self.toy.REQUEST
                self.waiting[port].append((up, at, self.world.now))
            self.work(port)
        return heard

    def work(self, port):
        while self.free[port] and self.waiting[port]:
            self.free[port] -= 1
            one = self.waiting[port].popleft()
            self.at(self.world.now + EACH * MS, lambda one=one: self.done(port, *one))

    def done(self, port, up, at, came):
        self.world.feed(up, self.toy.frame(self.toy.RESPONSE, at, b"x", OK))
        self.free[port] += 1
        if port == 9000 and self.world.now >= self.began + WARM * 1000 * MS:
            self.took.append((self.world.now - came) / MS)
        self.work(port)
        self.listen()

    def listen(self):
        for client in self.crowd:
            statuses = {one[1] for one in self.world.take(self.toy, client)}
            assert statuses <= {OK, OVERLOADED}
        for n, client in enumerate(self.quiet):
            self.seen += [(n, one[1], self.world.now) for one in self.world.take(self.toy, client)]

    def run(self, load):
        """So many times what the server can do, and a few calls a second by who has nothing to do with it."""
        for client, service in zip(self.quiet, (b"quiet", b"svc"), strict=True):
            self.arrivals(20, lambda client=client, service=service: self.ask([client], service))
        self.arrivals(load * CAPACITY, lambda: self.ask(self.crowd, b"svc"))
        while self.events:
            time, _, what = heapq.heappop(self.events)
            self.world.now = max(self.world.now, time)
            what()
        self.took.sort()
        return self

    def p99(self):
        return self.took[len(self.took) * 99 // 100]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["wide", "ordered"])
def test_what_is_let_through_waits_as_the_rule_says_whatever_is_offered(toys, kind, rule):
    """And that is no more than twice what it waits while there is room; others see nothing of it at all."""
    more, most = RULES[rule]
    steady, crowded = (Site(toys[kind], more).run(load) for load in (0.7, 10))
    assert crowded.took[-1] <= most
    assert crowded.p99() <= 2 * steady.p99()
    assert crowded.refused > 8 * len(crowded.took)
    assert len(crowded.took) > 0.8 * CAPACITY * (SECONDS - WARM)  # the server is not left idle
    assert crowded.seen == steady.seen
    assert {status for _, status, _ in crowded.seen} == {OK}
    assert {n for n, _, _ in crowded.seen} == {0, 1}


def test_without_a_rule_it_waits_ever_longer(wide):
    """So it is the rule that bounds it."""
    crowded = Site(wide, {}).run(10)
    assert crowded.refused == 0
    assert crowded.took[-1] > 100 * EACH
