"""Endpoints that are new, or well again, come to their weight bit by bit, as a plain model says."""

from __future__ import annotations

import pytest
from places import Place
from world import MS, table

from protokit.config.scalars import Duration, Share
from protokit.config.schema import SlowStart

OK = 0
TIME = 10_000
RULE = SlowStart(Duration(TIME), Share(100_000))
STEP = 20  # ms between two calls


@pytest.fixture
def toy(toys):
    return toys["wide"]


def weight(whole, since, now, least=0.1):
    """What an endpoint counts that began so long ago."""
    return whole * (1 if since is None or now - since >= TIME else least + (1 - least) * (now - since) / TIME)


class Growing(Place):
    """A world whose last endpoint is not there at first."""

    def __init__(self, toy, weights, balance, **more) -> None:
        self.weights = weights
        self.more = {"balance": balance, "slow_start": RULE, **more}
        super().__init__(toy, **self.of(len(weights) - 1))

    def of(self, count):
        return self.more | {"ports": {at: 9000 + at for at in range(count)}, "weights": self.weights[:count]}

    def grow(self) -> None:
        self.apply(table([self.toy.address], **self.of(len(self.weights))))
        self.since = self.ms

    def run(self, ms) -> tuple[list[int], list[float]]:
        """Calls each of so many ms: how many each got, and how many the model says."""
        before = len(self.asked)
        expected = [0.0] * len(self.weights)
        for _ in range(ms // STEP):
            all_ = [weight(one, None, self.ms) for one in self.weights]
            all_[-1] = weight(self.weights[-1], self.since, self.ms)
            expected = [sum_ + one / sum(all_) for sum_, one in zip(expected, all_, strict=True)]
            self.ask()
            self.now += STEP * MS
        found = [0] * len(self.weights)
        for at, _ in self.asked[before:]:
            found[at] += 1
        return found, expected


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1, 1], [3, 1, 2], [1, 5]])
@pytest.mark.parametrize(("balance", "off"), [("round-robin", 3), ("least-request", 3), ("random", 30)])
def test_a_new_one_comes_to_its_weight(toy, balance, off, weights):
    world = Growing(toy, weights, balance)
    world.calls(20)
    world.grow()
    for _ in range(4):
        found, expected = world.run(TIME // 4)
        assert all(abs(a - b) <= off for a, b in zip(found, expected, strict=True)), (found, expected)
    found, expected = world.run(TIME)
    assert all(abs(a - b) <= off for a, b in zip(found, expected, strict=True)), (found, expected)
    assert sum(found) == TIME // STEP


@pytest.mark.parametrize("balance", ["round-robin", "least-request", "random"])
@pytest.mark.parametrize("how", ["cannot be reached", "is silent", "had no weight"])
def test_one_that_is_well_again_begins_anew(toy, balance, how):
    world = Growing(toy, [1, 1], balance, plan={"timeout_ms": 500})
    world.grow()
    world.run(2 * TIME)
    if how == "had no weight":
        world.apply(table([toy.address], **(world.of(2) | {"weights": [1, 0]})))
        world.calls(10)
        world.grow()
    else:
        ill = world.refusing if how == "cannot be reached" else world.silent
        ill.add(1)
        world.batch(*[("error", up) for up in list(world.upstreams) if world.at(up) == 1])
        world.calls(150, every=100)
        assert world.told
        ill.clear()
        told = len(world.told)
        while len(world.told) == told:
            world.call()
            world.pass_time(10)
        world.since = world.ms
    found, expected = world.run(TIME // 4)
    assert abs(found[1] - expected[1]) <= 15
    assert found[1] < 40  # of 125
    found, _ = world.run(2 * TIME)
    assert found[1] > 300  # of 1000


@pytest.mark.parametrize("balance", ["round-robin", "least-request", "random", "peak-ewma"])
def test_where_all_are_new_nobody_waits(toy, balance):
    world = Growing(toy, [1, 3], balance)  # a proxy that starts
    world.apply(table([toy.address], **world.of(2)))
    world.since = world.ms
    assert {status for status, _ in world.calls(40)} == {OK}
    world = Place(toy, endpoints=4, balance=balance, slow_start=RULE)
    before = len(world.asked)
    world.calls(400, every=1)
    assert all(count > 60 for count in world.share(before).values())
    world.refusing = {0, 1, 2, 3}  # all begin anew
    world.batch(*[("error", up) for up in list(world.upstreams)])
    world.calls(30, every=100)
    world.refusing = set()
    world.calls(30, every=100)
    before = len(world.asked)
    assert {status for status, _ in world.calls(400, every=1)} == {OK}
    assert all(count > 40 for count in world.share(before).values())


def test_what_is_not_known_to_be_slow_is_not_filled_either(toy):
    """peak-ewma goes by what it measures: whose answers nobody has seen looks best, and gets little."""
    world = Growing(toy, [1, 1, 1, 1], "peak-ewma")
    world.calls(20)
    world.grow()
    found, expected = world.run(TIME // 4)
    assert found[3] <= 2 * expected[3]
    found, _ = world.run(2 * TIME)
    assert found[3] > 0


@pytest.mark.parametrize("balance", ["least-request", "peak-ewma"])
def test_an_idle_one_is_not_filled_because_it_is_idle(toy, balance):
    """Under load whoever has nothing to do looks best."""
    world = Growing(toy, [1, 1, 1], balance, limits={"request_ms": 60_000, "in_flight_per_connection": 4096})
    world.silent = {0, 1}
    for _ in range(20):
        world.ask()
    world.grow()
    before = len(world.asked)
    for _ in range(100):
        world.ask()
    assert world.share(before)[2] <= 20


def test_a_reload_without_it_gives_all_at_once_and_one_with_it_goes_on(toy):
    world = Growing(toy, [1, 1], "round-robin")
    world.calls(20)
    world.grow()
    world.run(TIME // 4)
    world.more["slow_start"] = None
    since = world.since
    world.grow()
    found, _ = world.run(1000)
    assert abs(found[0] - found[1]) <= 1
    world.more["slow_start"] = RULE
    world.grow()
    world.since = since
    found, expected = world.run(TIME // 4)
    assert abs(found[1] - expected[1]) <= 3
