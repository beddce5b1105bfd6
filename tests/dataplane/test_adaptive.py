"""A limit of requests that is found by how long they take: a plain model, and what the worst can do to it."""

from __future__ import annotations

import heapq
import itertools
import math

import pytest
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from world import MS, World, table

from protokit import native
from protokit.config.schema import Adaptive, Breaker
from protokit.testing.tables import cluster_number

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED = range(6)
C = cluster_number("c")
PARTS = [1024 * 2 ** (-n / 8) for n in range(9)]
ROOMY = {
    "in_flight": 5000,
    "in_flight_per_connection": 5000,
    "upstream_in_flight": 4000,
    "request_ms": 100_000,
}


def log(ns: int) -> int:
    """256ths of an octave, a straight line in each."""
    ns = max(ns, 256)
    octave = ns.bit_length() - 1
    return octave * 256 + (ns * 256 // 2**octave - 256)


class Model:
    """What gradient.h says, by lists and sorting."""

    def __init__(self, least, most):
        self.least, self.most, self.limit, self.too_high = least, most, least, False
        self.due, self.decided, self.usual = 0, -(10**9), None
        self.window, self.methods = [], {}

    def calm(self, used):
        return used < self.limit // 2 or self.limit <= self.least

    def call(self, method, took, late, used, now):
        one, tick = log(took), now >> 25
        known, at = self.methods.get(method, (None, tick))
        if late and (known is None or one <= known):
            return
        if known is None:
            known = one
        elif one < known:
            known -= math.ceil((known - one) / 16)
        elif self.calm(used) and not late:
            known = min(one, known + tick - at)
        self.methods[method] = known, tick
        self.window.append((min(max(one - known, 0) // 32, 127), took, late, used))
        if len(self.window) >= 20 and now >= self.due:
            if now >= self.decided + 100 * MS:
                self.decide()
                self.decided = now
            mean = sum(one[1] for one in self.window) // len(self.window)
            self.due = now + min(max(2 * mean, 100 * MS), 1000 * MS)
            self.window = []

    def decide(self):
        count, used = len(self.window), max(one[3] for one in self.window)
        quartile = sorted(one[0] for one in self.window)[count // 4]
        if 4 * sum(one[2] for one in self.window) < count:
            this = quartile * 256 + 1
            if self.usual is None:
                self.usual = this
            elif this < self.usual:
                self.usual = (self.usual + this) // 2
            elif self.calm(used):
                self.usual += (this - self.usual) // 8
        over = min(max(quartile - ((self.usual or 0) + 127) // 256 - 5, 0), 8)
        self.too_high = self.too_high or over > 0
        limit = self.limit * round(PARTS[over]) // 1024
        if 2 * used >= self.limit and over < 8:
            limit += math.isqrt(self.limit) if self.too_high else self.limit
        self.limit = min(max(limit, self.least), self.most)


class Site:
    """Clients, a server of which the test says how long it takes, and the model beside it."""

    def __init__(self, toy, least=8, most=512, *, clients=40, shared=None, **more):
        self.toy, self.least, self.most = toy, least, most
        self.more = {"max_connections": 16, "rules": [("svc", "hung"), ("svc", "*")], "limits": ROOMY, **more}
        self.world = World(self.table(), shared=shared)
        self.clients = [self.world.client() for _ in range(clients)]
        self.model = Model(least, most)
        self.due, self.number, self.turn = [], 0, 0
        self.refused = self.done = 0

    def table(self, **more):
        breaker = Breaker(requests=self.most, adaptive=Adaptive(least=self.least))
        return table([self.toy.address], **{"breaker": breaker, **self.more, **more})

    @property
    def limit(self):
        return max(self.world.shared.limit(C), self.least)

    @property
    def used(self):
        return self.world.shared.under_way(C)["requests"]

    def ask(self, method="m"):
        """(the connection, its id there), or None: it was refused."""
        self.number += 1
        self.turn = (self.turn + 1) % len(self.clients)
        client = self.clients[self.turn]
        self.world.feed(client, self.toy.request(self.number, b"svc %s x" % method.encode()))
        for up in list(self.world.upstreams):
            for _, _, at, _ in self.world.take(self.toy, up):
                return up, at, self.world.now, method
        self.refused += 1
        return None

    def answer(self, asked, status=OK):
        up, at, began, method = asked
        used = self.used
        self.world.feed(up, self.toy.frame(self.toy.RESPONSE, at, b"x", status))
        if status in (OK, APP_ERROR):
            self.model.call(method, self.world.now - began, False, used, self.world.now)
        self.done += 1

    def run(self, ms, every, took, *, method="m", most=10**9):
        """For so long a call each so many us, which takes what ``took`` says by how many there are."""
        end = self.world.now + ms * MS
        while self.world.now < end:
            asked = self.ask(method) if self.used < most else None
            if asked is not None:
                heapq.heappush(self.due, (self.world.now + int(took(self.used) * MS), self.number, asked))
            upto = self.world.now + every * 1000
            while self.due and self.due[0][0] <= upto:
                at, _, asked = heapq.heappop(self.due)
                self.world.now = max(self.world.now, at)
                self.answer(asked)
            self.world.now = upto

    def finish(self):
        """All that is under way is answered."""
        while self.due:
            at, _, asked = heapq.heappop(self.due)
            self.world.now = max(self.world.now, at)
            self.answer(asked)
        assert self.used == 0


def queue(places, each):
    """How long a call takes at a server that does so many at a time: those in front of it wait."""
    return lambda used: each * max(1, used / places)


@settings(max_examples=many(30), deadline=None)
@given(
    phases=st.lists(
        st.tuples(
            st.sampled_from([1000, 2000, 5000]),
            st.sampled_from([2, 5, 20]),
            st.sampled_from([4, 30, 1000]),
            st.sampled_from(["m", "n"]),
        ),
        min_size=2,
        max_size=4,
    ),
    least=st.sampled_from([1, 8]),
)
def test_the_limit_is_the_models(wide, phases, least):
    site = Site(wide, least=least, most=200)
    for every, each, places, method in phases:
        for _ in range(6):
            site.run(60, every, queue(places, each), method=method)
            assert site.limit == site.model.limit
    assert site.done > 20  # a window at least


def test_it_goes_up_twofold_where_there_is_room(wide):
    site = Site(wide)
    limits = []
    for _ in range(12):
        site.run(110, 250, lambda used: 50)
        limits.append(site.limit)
    assert limits == sorted(limits)
    assert limits[-1] > 128
    assert site.model.limit == site.limit


def test_once_it_was_too_high_it_goes_up_by_its_root(wide):
    site = Site(wide, least=4, most=300)
    site.run(2000, 1000, queue(5, 20))
    limits = [site.limit]
    for _ in range(30):
        site.run(50, 1000, lambda used: 20)
        limits.append(site.limit)
    assert limits[-1] > limits[0]
    assert all(after <= before + math.isqrt(before) for before, after in itertools.pairwise(limits)), limits


def test_it_stays_where_it_is_not_used(wide):
    site = Site(wide)
    site.run(2000, 5000, lambda used: 5)
    assert site.limit == site.least
    assert site.refused == 0


@pytest.mark.parametrize("places", [4, 8])
def test_ten_times_what_a_server_can_do(wide, places):
    """It settles near what the server does at a time, so that what is let through hardly waits."""
    site = Site(wide, least=2, most=200)
    every = 40_000 // places // 10  # us
    site.run(2500, every, queue(places, 40))
    seen = []
    for _ in range(5):
        site.run(100, every, queue(places, 40))
        seen.append(site.limit)
    assert all(places / 2 <= one <= 3 * places for one in seen), seen
    assert site.refused > site.done


def test_a_server_that_becomes_slower_is_asked_for_less_and_for_more_again(wide):
    site = Site(wide, most=300)
    site.run(1000, 1000, queue(60, 20))
    before = site.limit
    assert before > 20
    site.run(1600, 1000, queue(3, 20))
    low = site.limit
    assert low < before / 2
    site.run(2500, 1000, queue(60, 20))
    assert site.limit > 2 * low


def test_a_server_that_is_slower_for_good_is_learned(wide):
    """As after a new version of it: what takes long without a queue is what it takes."""
    site = Site(wide, most=300)
    site.run(1000, 1000, lambda used: 20)
    site.run(1500, 1500, lambda used: 80)
    low = site.limit
    site.run(4000, 1500, lambda used: 80)
    assert site.limit > 50 > low


def test_a_method_that_hangs_takes_nothing_from_the_others(wide):
    """A fifth of all calls never come back any more."""
    site = Site(wide, most=300, limits=ROOMY | {"request_ms": 300})
    site.run(300, 1000, lambda used: 10, method="hung")
    site.run(1000, 500, lambda used: 10)
    before, hung = site.limit, 0
    for _ in range(250):
        hung += site.ask("hung") is not None
        site.run(4, 1000, lambda used: 10)
        site.world.wait(0)
    assert hung > 200
    assert site.limit >= before


def test_a_hung_server_is_asked_for_the_least(wide):
    site = Site(wide, most=300, limits=ROOMY | {"request_ms": 500})
    site.run(1500, 500, lambda used: 10)
    assert site.limit > 32
    for _ in range(20):
        for _ in range(site.limit):
            site.ask()
        site.world.wait(600)
    assert site.limit == site.least
    for _ in range(80):  # that they take so long is not what is usual
        for _ in range(site.limit):
            site.ask()
        site.world.wait(600)
    assert site.limit == site.least
    assert site.used == 0


def test_clients_in_a_hurry_say_nothing(wide):
    """Who waits for less than a call takes learns nothing, and teaches nothing."""
    site = Site(wide, most=300, clients=2)
    site.run(1500, 500, lambda used: 10)
    site.finish()
    before = site.limit
    for _ in range(50):
        client = site.world.client()
        for n in range(8):
            site.world.feed(client, wide.request(n, b"svc m x"))
        site.world.now += 3 * MS
        site.world.batch(("error", client))
    assert (site.limit, site.used) == (before, 0)
    site.run(600, 500, lambda used: 10)
    assert site.limit >= before


def test_errors_say_nothing(wide):
    """A server that refuses at once has not become quicker."""
    site = Site(wide, most=300)
    site.run(1500, 500, lambda used: 10)
    before = site.limit
    for _ in range(400):
        site.answer(site.ask(), status=OVERLOADED)
        site.world.now += 1 * MS
    assert site.limit == before
    site.run(600, 500, lambda used: 10)
    assert site.limit >= before


def test_it_holds_over_a_reload_and_goes_with_its_cluster(wide):
    site = Site(wide)
    site.run(1000, 250, lambda used: 30)
    before = site.limit
    assert before > 2 * site.least
    site.world.apply(site.table())
    assert site.limit == before
    site.run(300, 250, lambda used: 30)
    assert site.limit == site.model.limit >= before
    site.world.shared.forget([C])
    assert site.limit == site.least


def test_a_new_most_holds_at_once(wide):
    site = Site(wide)
    site.run(1000, 250, lambda used: 30)
    assert site.limit > 20
    site.finish()
    site.most = 20
    site.world.apply(site.table())
    got = [site.ask() for _ in range(40)]
    assert site.used <= 20
    assert sum(one is not None for one in got) <= 20
    heard = [
        text for client in site.clients for _, status, _, text in site.world.take(wide, client)
        if status == OVERLOADED
    ]  # fmt: skip
    assert any(
        text.endswith(b"20, found by how long its requests take (adaptive, up to 20)") for text in heard
    )


def test_all_workers_go_by_one(wide):
    """It is in total, and one of them decides at a time."""
    shared = native.Shared()
    both = [Site(wide, shared=shared) for _ in range(2)]
    limits = []
    for _ in range(270):
        for site in both:
            site.run(3, 500, lambda used: 30)
        limits.append(both[0].limit)
    assert both[0].limit == both[1].limit >= 64
    # In less than a tenth of a second there is one step.
    assert all(after <= 2 * before for before, after in zip(limits, limits[25:], strict=False)), limits


def test_streams_are_measured_by_their_first_part(wide):
    site, limits = Site(wide), []
    for _ in range(3):
        streams = [site.ask() for _ in range(7)]
        site.world.now += 10 * MS
        for up, at, _, _ in streams:
            site.world.feed(up, wide.frame(wide.RESPONSE, at, b"a", wide.MORE))
        limits.append(site.limit)
        site.world.now += 500 * MS
        for up, at, _, _ in streams:
            site.world.feed(up, wide.frame(wide.RESPONSE, at, b"b"))
        limits.append(site.limit)
    assert limits == [8, 8, 8, 8, 16, 16]  # each counts once: twenty are a window
    assert site.used == 0


def test_without_it_nothing_is_found(wide):
    world = World(table([wide.address], breaker=Breaker(requests=8), limits=ROOMY))
    client = world.client()
    for n in range(100):
        world.feed(client, wide.request(n, b"svc m x"))
        for up in list(world.upstreams):
            for _, _, at, _ in world.take(wide, up):
                world.now += 10 * MS
                world.feed(up, wide.frame(wide.RESPONSE, at, b"x"))
    assert world.shared.limit(C) == 0
