"""Endpoints that answer, but badly, are left out: which, for how long, how many, and which never."""

from __future__ import annotations

import pytest
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from world import LIMITS as WORLD_LIMITS
from world import World, table

from protokit import native
from protokit.config.scalars import Duration, Share, Times
from protokit.config.schema import Outlier
from protokit.testing.tables import TableBuilder

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE, DENIED, INTERNAL = range(9)
LIMITS = {"request_ms": 1000, "in_flight": 10_000, "in_flight_per_connection": 10_000, "probe_ms": 60_000}


def outlier(errors=3, rate="", eject=1000, most="50%", slower="") -> Outlier:
    than = Times.parse(slower) if slower else None
    return Outlier(errors, Share.parse(rate) if rate else None, Duration(eject), Share.parse(most), than)


class Servers:
    """Endpoints that answer each call at once: ``says`` maps their numbers to a status, or None: nothing."""

    def __init__(self, toy, endpoints=4, says=None, rule=None, **more) -> None:
        self.toy = toy
        self.says = dict(says or {})
        self.more = {"endpoints": endpoints, "limits": LIMITS, "outlier": rule or outlier(), **more}
        self.world = World(table([toy.address], **self.more))
        self.client = self.world.client()
        self.number = 0

    def ask(self, count=1) -> list[int]:
        """So many calls, one after the other; who got each."""
        got = []
        for _ in range(count):
            self.number += 1
            self.world.feed(self.client, self.toy.request(self.number))
            got += self.hear()
        return got

    def ask_of(self, uid: int) -> None:
        """Ask until this one is asked."""
        assert any(uid in self.ask() for _ in range(20))

    def hear(self) -> list[int]:
        got = []
        for up, (_, port) in list(self.world.upstreams.items()):
            for kind, _, number, _ in self.world.take(self.toy, up):
                if kind != self.toy.REQUEST:
                    continue
                got.append(port - 9000)
                status = self.says.get(port - 9000, OK)
                if status is not None:
                    self.world.feed(up, self.toy.frame(self.toy.RESPONSE, number, b"x", status))
        return got

    def told(self, state) -> list[int]:
        return [uid for uid, said in self.world.endpoints if said == state]

    def ejected(self) -> list[int]:
        return self.told(native.ILL_EJECTED)


@pytest.fixture
def toy(toys):
    return toys["wide"]


@pytest.mark.parametrize("status", [TIMEOUT, OVERLOADED, UNAVAILABLE, INTERNAL])
def test_errors_one_after_the_other_and_not_one_less(toy, status):
    servers = Servers(toy, says={2: status})
    while servers.world.core.endpoint_stats(2)["errors"] < 2:
        servers.ask()
    assert servers.ejected() == []
    servers.ask(4)
    assert servers.ejected() == [2]
    assert servers.world.stat("ejections") == 1
    assert 2 not in servers.ask(40)


@pytest.mark.parametrize("status", [OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, DENIED])
def test_what_a_caller_brings_about_counts_against_nobody(toy, status):
    servers = Servers(toy, says=dict.fromkeys(range(4), status), rule=outlier(rate="1%"))
    servers.ask(200)
    assert servers.ejected() == []


def test_an_answer_in_between_begins_the_row_anew(toy):
    servers = Servers(toy, endpoints=2)
    for n in range(60):
        servers.says[0] = OK if n % 3 == 2 else INTERNAL
        servers.ask_of(0)
    assert servers.ejected() == []


def test_a_connection_that_is_lost_counts(toy):
    servers = Servers(toy, endpoints=2, rule=outlier(errors=1))
    servers.ask_of(0)  # it answers: what becomes of it is no matter of its health
    servers.says[0] = None
    servers.ask_of(0)
    for up, (_, port) in list(servers.world.upstreams.items()):
        if port == 9000:
            servers.world.batch(("error", up))
    assert servers.ejected() == [0]


def test_a_time_that_ran_out_counts_and_one_that_the_client_left_does_not(toy):
    servers = Servers(toy, says={1: None})
    for _ in range(3):
        servers.ask_of(1)
        servers.world.wait(1100)
    assert servers.ejected() == [1]
    servers = Servers(toy, says={1: None})
    for _ in range(10):
        servers.ask_of(1)
        servers.world.batch(("error", servers.client))
        servers.client = servers.world.client()
    servers.world.wait(2000)
    assert servers.ejected() == []


def test_it_is_back_when_its_time_is_over_and_out_for_longer_each_time(toy):
    servers = Servers(toy, says={2: INTERNAL}, rule=outlier(eject=1000))
    for times in (1, 2, 3):
        servers.ask(40)
        assert servers.ejected() == [2] * times
        servers.world.wait(1000 * times - 50)
        assert 2 not in servers.ask(40)
        servers.world.wait(100)
        assert 2 in servers.ask(8)
        assert servers.told(native.WELL) == [2] * times
    # Well for long enough, and it begins with the first time again.
    servers.says[2] = OK
    servers.ask(40)
    servers.world.wait(10_000)
    servers.says[2] = INTERNAL
    servers.ask(40)
    servers.world.wait(1050)
    assert 2 in servers.ask(8)


@pytest.mark.parametrize(
    ("endpoints", "most", "out"), [(4, "50%", 2), (4, "49%", 1), (2, "50%", 1), (1, "50%", 0), (3, "100%", 3)]
)
def test_so_many_at_most(toy, endpoints, most, out):
    servers = Servers(toy, endpoints, says=dict.fromkeys(range(endpoints), INTERNAL), rule=outlier(most=most))
    servers.ask(400)
    assert len(servers.ejected()) == len({*servers.ejected()}) == out
    # Whoever is left out when all are is asked all the same.
    assert len(servers.ask(8)) == 8


def test_those_of_no_weight_are_no_part_of_the_share(toy):
    says = dict.fromkeys(range(4), INTERNAL)
    servers = Servers(toy, 4, says=says, rule=outlier(most="50%"), weights=[1, 1, 0, 0])
    servers.ask(200)
    assert len(servers.ejected()) == 1


def test_the_share_of_errors(toy):
    servers = Servers(toy, endpoints=2, rule=outlier(errors=0, rate="50%"))
    asked = 0
    while asked < 19:  # of fewer than 20 requests no share is told
        servers.says[0] = OK if asked % 2 else INTERNAL
        asked += len([one for one in servers.ask() if one == 0])
    assert servers.ejected() == []
    servers.says[0] = INTERNAL
    servers.ask(4)
    assert servers.ejected() == [0]
    # A smaller one.
    servers = Servers(toy, endpoints=2, rule=outlier(errors=0, rate="60%"))
    for n in range(400):
        servers.says[0] = OK if n % 4 > 1 else INTERNAL
        servers.ask(2)
    assert servers.ejected() == []


def test_without_a_rule_nobody_is_left_out(toy):
    servers = Servers(toy, says=dict.fromkeys(range(4), INTERNAL))
    servers.world.apply(table([toy.address], **(servers.more | {"outlier": None})))
    servers.ask(200)
    assert servers.ejected() == []


def test_a_reload_lets_nobody_back_and_a_new_endpoint_inherits_nothing(toy):
    servers = Servers(toy, says={2: INTERNAL})
    servers.ask(40)
    assert servers.ejected() == [2]
    servers.world.apply(table([toy.address], **servers.more))
    assert 2 not in servers.ask(40)
    # Another server under the same number.
    servers.world.apply(table([toy.address], **(servers.more | {"endpoints": 2})))
    servers.ask(4)
    servers.says = {}
    servers.world.apply(table([toy.address], **servers.more))
    assert 2 in servers.ask(8)


def test_one_way_requests_count_for_nothing(toy):
    servers = Servers(toy, endpoints=2, says={0: None, 1: None})
    for number in range(100):
        servers.world.feed(servers.client, toy.request(number, oneway=True))
    servers.world.wait(5000)
    assert servers.ejected() == []


def test_so_many_of_the_whole_cluster_whatever_the_subsets(toy):
    """A subset of two of four: both are out, half of the cluster; of the subset alone it would be one."""
    rule = outlier(errors=1, most="50%")
    builder = TableBuilder({**WORLD_LIMITS, **LIMITS}, seed=42)
    for subset, uids in (("", range(4)), ("v=1", range(2)), ("v=2", range(2, 4))):
        builder.cluster("c", "round-robin", 4, 1000, outlier=rule, subset=subset)
        for uid in uids:
            builder.endpoint(uid, "127.0.0.1", 9000 + uid, 1)
    routes = builder.routes("r")
    for number, service in enumerate(["one", "two"], 1):
        plan = builder.plan(service)
        builder.split(number, 1)
        builder.rule(service, "*", "*", "*", plan)
    builder.listener(0, "in", routes=routes, plan=0, pinned=False, codecs=[toy.address])
    servers = Servers(toy, says=dict.fromkeys(range(4), INTERNAL), rule=rule)
    servers.world = World(builder.finish())
    servers.client = servers.world.client()
    for number in range(40):
        servers.world.feed(servers.client, toy.request(number, b"one m x"))
        servers.hear()
    assert sorted(servers.ejected()) == [0, 1]
    for number in range(40, 80):
        servers.world.feed(servers.client, toy.request(number, b"two m x"))
        servers.hear()
    assert sorted(servers.ejected()) == [0, 1]


class Model:
    """Slow and plain: one endpoint's errors, by the time."""

    def __init__(self, rule: Outlier) -> None:
        self.rule = rule
        self.row, self.seen, self.window, self.until, self.times = 0, [], 0, None, 0

    def answered(self, ms: int, *, failed: bool) -> bool:
        """Whether it is left out now."""
        if ms >= self.window:
            self.window, self.seen = ms + 10_000, []
        self.seen.append(failed)
        self.row = self.row + 1 if failed else 0
        in_row = self.rule.errors > 0 and self.row >= self.rule.errors
        share = (
            self.rule.rate
            and len(self.seen) >= 20
            and sum(self.seen) * 1_000_000 >= self.rule.rate * len(self.seen)
        )
        if not failed or not (in_row or share):
            return False
        if self.until is not None:
            self.times = max(0, self.times - (ms - self.until) // self.rule.eject)
        self.times = min(30, self.times + 1)
        self.until = ms + self.rule.eject * self.times
        self.row, self.seen, self.window = 0, [], 0
        return True


@settings(max_examples=many(60), deadline=None)
@given(
    rule=st.builds(
        outlier,
        errors=st.integers(0, 4),
        rate=st.sampled_from(["", "10%", "40%"]),
        eject=st.sampled_from([100, 2000]),
        most=st.just("100%"),
    ),
    steps=st.lists(
        st.tuples(st.booleans(), st.sampled_from([1, 1, 1, 50, 700, 9000])), min_size=20, max_size=120
    ),
    reloads=st.sets(st.integers(0, 119), max_size=20),
)
def test_as_a_model_says(toys, rule, steps, reloads):
    """With reloads in front of some calls, also while it is left out."""
    toy = toys["wide"]
    servers = Servers(toy, endpoints=2, rule=rule)
    model, left_out = Model(rule), 0
    for number, (failed, wait) in enumerate(steps):
        now = servers.world.now // 1_000_000
        if number in reloads:
            servers.world.apply(table([toy.address], **servers.more))
        if model.until is not None and now < model.until:
            servers.world.wait(model.until - now + 1)
        servers.says[0] = INTERNAL if failed else OK
        servers.ask_of(0)
        left_out += model.answered(servers.world.now // 1_000_000, failed=failed)
        assert len(servers.ejected()) == left_out
        servers.world.wait(wait)


def test_who_can_be_reached_again_may_be_left_out_still(toy):
    servers = Servers(toy, endpoints=1, says={0: INTERNAL}, rule=outlier(errors=1, eject=5000, most="100%"))
    world = servers.world
    servers.ask()
    world.connect = "fail"
    world.batch(("error", next(iter(world.upstreams))))
    servers.ask()  # where no other can be
    world.connect = "ok"
    world.wait(1000)
    servers.says = {}
    servers.ask()
    assert world.endpoints == [(0, native.ILL_EJECTED), (0, native.ILL_REFUSED), (0, native.WELL)]
    assert world.left_out_ms == [5000, 5000, 4000]
    world.wait(4000)
    servers.ask()
    assert (world.endpoints[-1], world.left_out_ms[-1]) == ((0, native.WELL), 0)


def test_who_answers_again_may_be_left_out_still(toy):
    limits = LIMITS | {"probe_ms": 100}
    rule = outlier(errors=1, eject=50_000, most="100%")
    servers = Servers(toy, endpoints=1, says={0: INTERNAL}, rule=rule, limits=limits)
    world = servers.world
    servers.ask()
    servers.says = {0: None}
    for _ in range(3):
        servers.ask()
        world.wait(1100)
    assert world.endpoints == [(0, native.ILL_EJECTED), (0, native.ILL_SILENT)]
    servers.says = {}
    for _ in range(10):
        world.wait(1000)
        servers.ask()
    assert world.endpoints[2:] == [(0, native.WELL)]
    assert 0 < world.left_out_ms[2] < 50_000


def test_without_its_rule_whoever_is_left_out_is_back(toy):
    servers = Servers(toy, says={2: INTERNAL}, rule=outlier(eject=3_600_000))
    servers.ask(40)
    assert servers.ejected() == [2]
    servers.world.apply(table([toy.address], **(servers.more | {"outlier": None})))
    assert servers.told(native.WELL) == [2]
    servers.ask_of(2)


def two_rules(codec, rule: Outlier) -> native.Table:
    """``slow`` has 50 ms, all else 3 s."""
    builder = TableBuilder(WORLD_LIMITS, seed=42)
    builder.cluster("c", "round-robin", 4, 1000, outlier=rule)
    for uid in range(2):
        builder.endpoint(uid, "127.0.0.1", 9000 + uid, 1)
    plans = []
    for ms in (50, 3000):
        plans.append(builder.plan("plan", timeout_ms=ms))
        builder.split(0, 1)
    builder.routes("r")
    builder.rule("slow", "*", "*", "*", plans[0])
    builder.rule("*", "*", "*", "*", plans[1])
    builder.listener(0, "in", routes=0, plan=None, pinned=False, codecs=[codec])
    return builder.finish()


@pytest.mark.parametrize("kind", ["ordered", "pingpong"])
def test_what_waits_behind_a_call_that_ran_out_of_time_is_no_error_of_its_server(toys, kind):
    """The connection is closed by this side: whose a late answer is could not be told."""
    toy = toys[kind]
    world = World(two_rules(toy.address, outlier(errors=5)))
    clients = [world.client() for _ in range(7)]
    asked = [("feed", clients[0], toy.request(0, b"slow m x"))]
    world.batch(*asked, *[("feed", client, toy.request(0)) for client in clients[1:]])
    world.wait(60)
    assert [uid for uid, said in world.endpoints if said == native.ILL_EJECTED] == []
    told = [frame for client in clients[1:] for frame in world.take(toy, client)]
    if kind == "ordered":
        assert b"a call in front of this one took too long" in told[0][3]


def test_a_server_that_answers_no_more_is_no_bad_one(lines):
    address = lines.address["ordered"]
    world = World(table([address], endpoints=2, outlier=outlier(errors=5), limits=LIMITS))
    clients = [world.client() for _ in range(8)]
    world.batch(*[("feed", client, b"Q1.=svc m x\n") for client in clients])
    world.feed(world.only_upstream(), b"R0L=ok\n")
    assert [uid for uid, said in world.endpoints if said == native.ILL_EJECTED] == []


class Timed(Servers):
    """``takes``: ms that each endpoint takes for an answer."""

    def __init__(self, toy, takes: dict[int, int], **more) -> None:
        self.takes = takes
        rule = more.pop("rule", outlier(errors=0, slower="3x", eject=100_000))
        super().__init__(toy, endpoints=len(takes), rule=rule, **more)

    def hear(self) -> list[int]:
        got = []
        for up, (_, port) in list(self.world.upstreams.items()):
            for kind, _, number, _ in self.world.take(self.toy, up):
                if kind == self.toy.REQUEST:
                    got.append(port - 9000)
                    self.world.wait(self.takes[port - 9000])
                    status = self.says.get(port - 9000, OK)
                    self.world.feed(up, self.toy.frame(self.toy.RESPONSE, number, b"x", status))
        return got


def test_one_that_is_much_slower_than_the_others_is_left_out(toy):
    servers = Timed(toy, {0: 10, 1: 12, 2: 9, 3: 40})
    servers.ask(4 * 19)
    assert servers.ejected() == []  # of fewer than 20 answers nothing is told
    servers.ask(40)
    assert servers.ejected() == [3]
    assert servers.world.stat("ejections") == 1


@pytest.mark.parametrize(
    "takes",
    [
        {0: 10, 1: 12, 2: 9, 3: 25},  # not three times as slow
        {0: 10, 1: 40, 2: 40, 3: 40},  # one that is faster than all others says nothing of these
        {0: 10, 1: 40},  # nor does one other
        {0: 0, 1: 0, 2: 0, 3: 1},  # a millisecond more is nothing
    ],
)
def test_who_is_not_too_slow(toy, takes):
    servers = Timed(toy, takes)
    servers.ask(400)
    assert servers.ejected() == []


def test_some_calls_that_take_long_are_no_slow_server(toy):
    servers = Timed(toy, {0: 10, 1: 10, 2: 10})
    for n in range(600):
        servers.takes[0] = 900 if n % 5 == 0 else 10
        servers.ask()
    assert servers.ejected() == []


@pytest.mark.parametrize("before", [300, 0])
def test_whoever_became_slow_is_found_out_and_begins_anew(toy, before):
    """Also one that was slow from the start, of which much is to be forgotten."""
    servers = Timed(toy, {0: 10, 1: 10, 2: 10}, rule=outlier(errors=0, slower="3x", eject=1000))
    servers.ask(before)
    servers.takes[1] = 100
    asked = 0
    while not servers.ejected():
        servers.ask()
        asked += 1
        assert asked < 300
    servers.takes[1] = 10
    servers.world.wait(1100)
    servers.ask(300)
    assert servers.ejected() == [1]


def test_errors_that_come_at_once_make_nobody_slow(toy):
    """Their times are those of no work: of an endpoint that only fails nobody is measured by."""
    servers = Timed(toy, {0: 1, 1: 1, 2: 40, 3: 40})
    servers.says = {0: INTERNAL, 1: NO_SERVICE}
    servers.ask(400)
    assert servers.ejected() == []


def test_no_more_slow_ones_than_may_be_out(toy):
    takes = dict.fromkeys(range(8), 10) | {0: 100, 1: 100, 2: 100}
    servers = Timed(toy, takes, rule=outlier(errors=0, slower="3x", eject=100_000, most="25%"))
    servers.ask(1000)
    assert len(servers.ejected()) == 2
    assert {*servers.ejected()} <= {0, 1, 2}
