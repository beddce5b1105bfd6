"""Which endpoint a request goes to: what balancers promise, by fixed random numbers and the test's clock."""

from __future__ import annotations

import heapq
import itertools

import pytest
from world import World, answer, table

MOST = {
    "upstream_in_flight": 4096,
    "in_flight": 100_000,
    "in_flight_per_connection": 100_000,
    "request_ms": 2000,
}
BALANCES = ["round-robin", "least-request", "random", "peak-ewma"]
OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE, DENIED, INTERNAL = range(9)


class Servers:
    """Endpoints that answer after their time, ms, with their status; ``took``: what calls of each took."""

    def __init__(self, toy, delays, *, status=None, seed=7, **more) -> None:
        self.toy = toy
        self.delays = list(delays)
        self.status = dict(status or {})
        self.more = {"endpoints": len(self.delays), "limits": MOST, **more}
        self.world = World(self.table(), seed=seed)
        self.client = self.world.client()
        self.due: list = []
        self.order = itertools.count()
        self.took: list[list[int]] = [[] for _ in self.delays]

    def table(self, **more):
        return table([self.toy.address], **{**self.more, **more})

    def ask(self, count=1, body=b"svc m x") -> None:
        """Requests, each in a batch of its own."""
        for _ in range(count):
            self.world.feed(self.client, self.toy.request(next(self.order), body))
            self.hear()

    def hear(self) -> None:
        for up, (_, port) in list(self.world.upstreams.items()):
            for frame in self.world.take(self.toy, up):
                if frame[0] != self.toy.REQUEST:
                    continue
                uid = port - 9000
                if self.delays[uid] is not None:
                    at = self.world.now // 1_000_000 + self.delays[uid]
                    heapq.heappush(self.due, (at, next(self.order), up, frame[2], uid))
        self.answer()

    def answer(self) -> None:
        now = self.world.now // 1_000_000
        while self.due and self.due[0][0] <= now:
            _, _, up, number, uid = heapq.heappop(self.due)
            self.took[uid].append(self.delays[uid])
            if up in self.world.upstreams:
                status = self.status.get(uid, OK)
                self.world.feed(up, self.toy.frame(self.toy.RESPONSE, number, b"ok", status))

    def run(self, ms, a_ms=1) -> None:
        """Let so much time pass, with so many requests each ms."""
        for _ in range(ms):
            self.ask(a_ms)
            self.world.wait(1)
            self.answer()

    def rest(self, ms) -> None:
        """So much time without requests, once what is under way is answered."""
        while self.due:
            self.world.wait(1)
            self.answer()
        self.world.wait(ms)

    def counts(self):
        return [self.world.core.endpoint_stats(uid)["requests"] for uid in range(len(self.delays))]


def chi_square(counts, weights):
    total, sum_ = sum(counts), sum(weights)
    return sum(
        (count - total * weight / sum_) ** 2 / (total * weight / sum_)
        for count, weight in zip(counts, weights, strict=True)
        if weight
    )


# The sum of squares is above these once in a million draws; the draws are fixed.
LIMIT = {1: 23.9, 2: 27.6, 3: 30.7, 9: 46.9}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("weights", [[1], [1, 1], [3, 1], [5, 0, 1], [1, 2, 3, 4], [7] * 10])
def test_random_goes_by_weight(wide, weights, seed):
    servers = Servers(wide, [0] * len(weights), weights=weights, balance="random", seed=seed)
    servers.ask(3000)
    counts = servers.counts()
    freedom = sum(weight > 0 for weight in weights) - 1
    assert sum(counts) == 3000
    assert [count for count, weight in zip(counts, weights, strict=True) if weight == 0] == [
        0
    ] * weights.count(0)
    assert freedom == 0 or chi_square(counts, weights) < LIMIT[freedom]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_does_not_remember(wide, seed):
    """Pairs of turns, too, are as often as chance has them: no endpoint follows another more often."""
    servers = Servers(wide, [0] * 2, balance="random", seed=seed)
    pairs = dict.fromkeys(itertools.product((0, 1), repeat=2), 0)
    turns = []
    for _ in range(2001):
        before = servers.counts()
        servers.ask()
        turns.append([after - one for after, one in zip(servers.counts(), before, strict=True)].index(1))
    for pair in itertools.pairwise(turns):
        pairs[pair] += 1
    assert chi_square(list(pairs.values()), [1] * 4) < LIMIT[3]


@pytest.mark.parametrize("balance", BALANCES)
def test_what_cannot_be_reached_gets_nothing_and_others_all(wide, balance):
    servers = Servers(wide, [0] * 3, balance=balance)
    servers.world.connect = "wait"
    servers.ask()
    (handle,) = servers.world.opening
    ill = servers.world.upstreams[handle][1] - 9000
    servers.world.connect = "ok"
    servers.world.opened(handle, failed=True)
    before = servers.counts()
    servers.ask(300)
    got = [after - one for after, one in zip(servers.counts(), before, strict=True)]
    assert got[ill] == 0
    assert sum(got) == 300
    assert min(got[:ill] + got[ill + 1 :]) > 50
    assert len(servers.took[ill]) == 0


@pytest.mark.parametrize("balance", ["peak-ewma", "least-request"])
def test_a_slow_endpoint_gets_little(wide, balance):
    """One of four takes 200 ms where the others take 2: a request each ms, for three seconds."""
    servers = Servers(wide, [200, 2, 2, 2], balance=balance)
    servers.run(3000)
    slow, *others = servers.counts()
    # By what is under way it has its turn whenever it is idle; by its time it has one until that fades.
    assert 1 <= slow <= {"least-request": 60, "peak-ewma": 5}[balance]
    assert sum(others) == 3000 - slow
    assert max(others) < 1.2 * min(others)


def test_peak_ewma_uses_endpoints_that_are_alike_alike(wide):
    servers = Servers(wide, [5] * 10, balance="peak-ewma")
    servers.run(1000, 3)
    assert chi_square(servers.counts(), [1] * 10) < LIMIT[9]


def test_peak_ewma_goes_by_weight(wide):
    servers = Servers(wide, [5, 5, 5], weights=[4, 2, 0], balance="peak-ewma")
    servers.run(1000, 6)
    four, two, none = servers.counts()
    assert none == 0
    assert 1.7 < four / two < 2.3


def test_peak_ewma_comes_back_to_who_was_slow(wide):
    """A pause of half a second is a peak, and it fades: half as much each 8.6 s, asked or not."""
    servers = Servers(wide, [500, 2], balance="peak-ewma")
    servers.run(600)
    slow = servers.counts()[0]
    assert slow <= 3
    servers.delays[0] = 2
    servers.run(4000)
    assert servers.counts()[0] == slow
    servers.rest(90_000)  # 500 ms have become 0.4
    before = servers.counts()
    servers.run(1000, 4)
    back = [after - one for after, one in zip(servers.counts(), before, strict=True)]
    assert 0.8 < back[0] / back[1] < 1.25


def test_peak_ewma_notices_at_once(wide):
    """One long call is enough, however much waits at the other."""
    servers = Servers(wide, [2, 2], balance="peak-ewma")
    servers.run(200, 10)
    servers.delays[0] = 300
    before = servers.counts()[0]
    servers.run(310, 10)  # what it takes is known only when the first comes back
    told = servers.counts()[0]
    assert told - before > 5
    servers.run(300, 10)
    assert servers.counts()[0] == told


@pytest.mark.parametrize("status", [NO_SERVICE, OVERLOADED, UNAVAILABLE, INTERNAL])
def test_who_fails_at_once_is_not_the_fastest(wide, status):
    """Who answers errors within no time, beside two that work for 5 ms, has a call now and then."""
    servers = Servers(wide, [0, 5, 5], balance="peak-ewma", status={0: status})
    servers.run(5000)
    failing, *others = servers.counts()
    assert failing <= 15
    assert max(others) < 1.2 * min(others)
    servers.status.clear()
    servers.delays[0] = 5
    servers.rest(60_000)
    before = servers.counts()
    servers.run(2000)
    assert servers.counts()[0] - before[0] > 400  # and it is not remembered for ever


def test_who_fails_now_and_then_stays(wide):
    """One answer in fifty is an error, of all endpoints alike: shares stay what they are."""
    servers = Servers(wide, [4] * 4, balance="peak-ewma")
    for turn in range(60):
        servers.status = dict.fromkeys(range(4), OVERLOADED if turn % 6 == 5 else OK)
        servers.run(9 if turn % 6 == 5 else 50, 2)
    counts = servers.counts()
    assert max(counts) < 1.5 * min(counts)


def test_a_clients_short_budget_makes_nobody_slow(wide):
    """Who waits for 1 ms hears nothing of one that takes 5; to others that one is no slower for it."""
    servers = Servers(wide, [5, 0], balance="peak-ewma", limits={**MOST, "request_ms": 1})
    servers.delays[1] = 5
    servers.run(300, 4)
    servers.delays[1] = 0
    servers.run(300, 4)
    assert servers.world.stat("errors_timeout") > 20
    servers.world.apply(servers.table(limits=MOST))
    servers.delays = [5, 5]
    before = servers.counts()
    servers.run(1000)
    back = [after - one for after, one in zip(servers.counts(), before, strict=True)]
    assert 0.8 < back[0] / back[1] < 1.25


def test_what_is_known_of_latency_outlives_reloads(wide):
    servers = Servers(wide, [300, 2, 2], balance="peak-ewma")
    servers.run(600)
    slow = servers.counts()[0]
    for _ in range(50):
        servers.world.apply(servers.table())
        servers.run(10, 2)
    assert servers.counts()[0] == slow
    # It goes with the endpoint, not with its place.
    servers.world.apply(servers.table(ports={2: 9002, 1: 9001, 0: 9000}))
    servers.run(500, 2)
    assert servers.counts()[0] == slow


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong", "named"])
def test_peak_ewma_in_every_kind_of_protocol(toys, kind):
    servers = Servers(toys[kind], [50, 2], balance="peak-ewma", max_connections=64)
    servers.run(400)
    slow, fast = servers.counts()
    assert slow < fast / 10


def test_oneway_requests_say_nothing_of_an_endpoint(wide):
    """They are over when they are written: who gets many of them is not fast for it."""
    servers = Servers(wide, [50, 2], balance="peak-ewma")
    servers.run(200)
    slow = servers.counts()[0]
    for number in range(400):
        servers.world.feed(servers.client, wide.frame(wide.ONEWAY, number, b"svc m x"))
    told = servers.counts()
    servers.run(200)
    assert told[0] + told[1] >= 600
    assert servers.counts()[0] - told[0] <= 3
    assert slow <= 6


def test_a_cluster_of_another_balancer_measures_nothing_and_begins_anew(wide):
    servers = Servers(wide, [300, 2], balance="peak-ewma")
    servers.run(400)
    servers.world.apply(servers.table(balance="round-robin"))
    before = servers.counts()
    servers.run(100)
    assert [after - one for after, one in zip(servers.counts(), before, strict=True)] == [50, 50]


@pytest.mark.parametrize("status", [NO_SERVICE, BAD_REQUEST, DENIED])
def test_who_asks_for_what_there_is_not_makes_nobody_slow(toys, status):
    """One client asks ten times wrongly for each good call of the other."""
    toy = toys["wide"]
    world = World(table([toy.address], endpoints=2, balance="peak-ewma", limits=MOST))
    good, bad = world.client(), world.client()
    number = itertools.count(1)

    def ask(client, status) -> list[int]:
        world.feed(client, toy.request(next(number)))
        asked = []
        for up, (_, port) in list(world.upstreams.items()):
            for kind, _, request, _ in world.take(toy, up):
                if kind == toy.REQUEST:
                    asked.append(port - 9000)
                    if status == OK:
                        world.wait(100 if port == 9001 else 1)
                    world.feed(up, toy.frame(toy.RESPONSE, request, b"x", status))
        return asked

    for _ in range(20):
        ask(good, OK)
    shares = [0, 0]
    for _ in range(100):
        for uid in ask(good, OK):
            shares[uid] += 1
        for _ in range(10):
            ask(bad, status)
    assert shares[1] <= 5


def test_one_batch_fills_one_connection_and_batches_take_turns(wide):
    world = World(table([wide.address], endpoints=3))
    client = world.client()
    for first in (0, 3, 6):
        world.feed(client, b"".join(wide.request(first + n) for n in range(3)))
    assert [len(world.take(wide, up)) for up in world.upstreams] == [3, 3, 3]


def test_weights_are_kept_exactly_over_a_round(wide):
    world = World(table([wide.address], endpoints=3, weights=[5, 2, 0]))
    client = world.client()
    for n in range(70):
        world.feed(client, wide.request(n))
        for up in list(world.upstreams):
            for frame in world.take(wide, up):
                answer(world, wide, up, frame)
    assert [world.core.endpoint_stats(uid)["requests"] for uid in range(3)] == [50, 20, 0]


def test_least_request_goes_where_less_is_under_way(wide):
    world = World(
        table([wide.address], endpoints=2, balance="least-request", limits={"upstream_in_flight": 500})
    )
    client = world.client()
    world.feed(client, wide.request(0))
    busy = world.only_upstream()
    for n in range(1, 20):  # the first stays unanswered: the other one gets the work
        world.feed(client, wide.request(n))
        for up in list(world.upstreams):
            if up != busy:
                for frame in world.take(wide, up):
                    answer(world, wide, up, frame)
    assert len(world.take(wide, busy)) <= 2


@pytest.mark.parametrize(
    ("weights", "share"),
    [([1, 1], [150, 150]), ([2, 1], [200, 100]), ([100, 99], [151, 149]), ([9, 1], [270, 30])],
)
def test_least_request_uses_idle_endpoints_by_weight(wide, weights, share):
    world = World(table([wide.address], endpoints=2, balance="least-request", weights=weights))
    client = world.client()
    for n in range(300):
        world.feed(client, wide.request(n))
        for up in list(world.upstreams):
            for frame in world.take(wide, up):
                answer(world, wide, up, frame)
    assert [world.core.endpoint_stats(uid)["requests"] for uid in range(2)] == share


def test_least_request_keeps_what_is_under_way_by_weight(wide):
    limits = {"upstream_in_flight": 500, "in_flight": 500, "in_flight_per_connection": 500}
    world = World(
        table([wide.address], endpoints=3, balance="least-request", weights=[4, 2, 0], limits=limits)
    )
    client = world.client()
    for n in range(300):  # none is answered
        world.feed(client, wide.request(n))
    assert [world.core.endpoint_stats(uid)["active"] for uid in range(3)] == [200, 100, 0]
