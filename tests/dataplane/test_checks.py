"""Active health checks: what the worst server does to them, whom they call ill, and that they cost nobody
anything: no place of a request, no storm, no answer of somebody else's."""

from __future__ import annotations

import pytest
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from places import Place
from world import LIMITS, Check, World, table

from protokit import native
from protokit.testing.tables import TableBuilder

OK, APP_ERROR, INTERNAL = 0, 1, 8
PASSED, REFUSED, LATE, GREETING, SILENT, CLOSED, FORMAT, STATUS, OVER = range(9)
AT_ONCE = 64
HEARTBEAT, CONNECT = Check("heartbeat"), Check("connect")


class Checked(Place):
    """Servers whose ways with a check are told apart: ``silent``, ``closing`` and ``babbling`` are those of
    ``hear``; ``status``: what they answer to calls."""

    def __init__(self, toy, *, check=HEARTBEAT, beats=True, **of_table) -> None:
        self.babbling: set[int] = set()
        self.status: dict[int, int] = {}
        self.check = check
        self.more = {"endpoints": 2, "check": check, **of_table}
        super().__init__(toy, beats=beats, **self.more)

    def reload(self, **changed) -> None:
        self.more |= changed
        self.apply(table([self.toy.address], **self.more))

    def hear(self, handle, kind, wire_id, body) -> None:
        toy = self.toy
        if handle not in self.upstreams:
            return
        at = self.at(handle)
        if at in self.babbling:
            self.feed(handle, b"no frame of any protocol")
        elif at in self.closing and kind in {toy.HEARTBEAT, toy.REQUEST}:
            self.batch(("eof", handle))
        elif at in self.status and kind == toy.REQUEST:
            self.feed(handle, toy.frame(toy.RESPONSE, wire_id, body, self.status[at]))
        else:
            super().hear(handle, kind, wire_id, body)

    def watch(self, ms: int, at: int | None = None) -> list[int]:
        """Calls for so long; who got them."""
        before = len(self.asked)
        self.calls(ms // 50, every=50)
        return [one for one, _ in self.asked[before:]]


ILL = ["silent", "closing", "babbling", "refusing", "dropping"]


def of_this(world: Place, at: int) -> list[int]:
    return [handle for handle in world.upstreams if world.at(handle) == at]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("silent", SILENT),
        ("closing", CLOSED),
        ("babbling", FORMAT),
        ("refusing", REFUSED),
        ("dropping", LATE),
    ],
)
@pytest.mark.parametrize("kind", ["wide", "narrow", "ordered", "pingpong", "named"])
def test_one_that_is_ill_gets_nothing_before_anybody_asked_it(toys, kind, how, why):
    world = Checked(toys[kind], endpoints=3)
    getattr(world, how).add(1)
    world.pass_time(6000)
    assert world.checked == [(1, why, 0)]
    assert world.asked == []
    assert set(world.watch(2000)) == {0, 2}
    # And again when it passes, not before it did twice.
    getattr(world, how).clear()
    passed = world.stat("checks") - world.stat("checks_failed")
    world.pass_time(3000)
    assert world.checked == [(1, why, 0), (1, PASSED, 0)]
    assert world.stat("checks") - world.stat("checks_failed") - passed > 2
    assert set(world.watch(2000)) == {0, 1, 2}


@pytest.mark.parametrize("how", ["refusing", "dropping"])
def test_connecting_is_enough_where_that_is_asked(wide, how):
    world = Checked(wide, check=CONNECT)
    getattr(world, how).add(0)
    world.silent = {1}
    world.pass_time(6000)
    assert world.checked == [(0, REFUSED if how == "refusing" else LATE, 0)]
    assert world.upstreams == {}  # none is kept
    getattr(world, how).clear()
    world.pass_time(3000)
    assert world.checked[1:] == [(0, PASSED, 0)]


@pytest.mark.parametrize(("unhealthy", "healthy"), [(1, 1), (1, 3), (4, 1), (3, 2)])
def test_so_many_in_a_row_and_not_one_less(wide, unhealthy, healthy):
    world = Checked(wide, check=Check("heartbeat", unhealthy=unhealthy, healthy=healthy), endpoints=1)
    for count, of, verdict in ((unhealthy, {0}, SILENT), (healthy, set(), PASSED)):
        world.silent = of
        before, told = world.stat("checks"), len(world.checked)
        while world.stat("checks") < before + count:
            assert len(world.checked) == told
            world.pass_time(10)
        assert world.checked[told:] == [(0, verdict, 0)]


def test_one_in_between_begins_the_row_anew(wide):
    world = Checked(wide, endpoints=1)
    for _ in range(5):
        for of, count in (({0}, 2), (set(), 1)):
            world.silent = of
            before = world.stat("checks")
            while world.stat("checks") < before + count:
                world.pass_time(10)
    assert world.stat("checks_failed") == 10
    assert world.checked == []


def test_a_connection_is_kept_while_checks_pass(wide):
    world = Checked(wide)
    world.pass_time(20_000)
    assert len(world.tried) == 2
    assert 30 < len(world.beaten) < 50
    world.batch(*[("eof", up) for up in list(world.upstreams)])  # a server may close what is idle
    world.pass_time(5000)
    assert len(world.tried) == 4
    assert world.stat("checks_failed") == 0


# Who is not ill.


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong"])
def test_one_that_answers_calls_and_knows_no_heartbeats_is_not_ill(toys, kind):
    world = Checked(toys[kind], beats=False, endpoints=2)
    for _ in range(100):
        world.call()
        world.pass_time(100)
    assert world.beaten
    assert world.checked == []
    world.pass_time(20_000)  # and nobody asks it anything for long
    assert world.checked == []


def test_one_that_is_busy_and_answers_no_heartbeat_meanwhile_is_not_ill(wide):
    """It used to answer them, and does again: what it says to others shows that it lives."""
    world = Checked(wide, endpoints=1)
    world.call()
    world.pass_time(3000)
    world.beats = False
    for _ in range(100):
        world.call()
        world.pass_time(100)
    assert world.stat("checks_failed") == 0
    assert world.checked == []
    # That it says nothing to anybody is another matter.
    world.pass_time(6000)
    assert world.checked == [(0, SILENT, 0)]


def test_what_a_client_brings_about_is_nothing_against_it(wide):
    world = Checked(wide, endpoints=2)
    world.status = {0: INTERNAL, 1: INTERNAL}
    world.calls(200, every=30)
    assert world.checked == []


def test_no_descriptor_here_says_nothing_of_a_server(wide):
    world = World(table([wide.address], endpoints=2, check=CONNECT), connect="exhausted")
    world.wait(20_000)
    assert world.stat("connect_errors") > 20
    assert (world.stat("checks_failed"), world.checked) == (0, [])


def test_where_all_fail_they_are_asked_all_the_same(wide):
    world = Checked(wide, check=Check("heartbeat", timeout=200), endpoints=2, beats=False)
    world.pass_time(6000)
    assert sorted(uid for uid, _, _ in world.checked) == [0, 1]
    assert {status for status, _ in world.calls(40)} == {OK}


def test_what_it_says_unasked_is_no_answer(wide):
    """Nor does it count twice what it says twice."""
    world = Checked(wide, endpoints=1)
    world.pass_time(3000)
    (up,) = of_this(world, 0)
    checks = world.stat("checks")
    for _ in range(5):
        world.feed(up, wide.frame(wide.HEARTBEAT_ACK, 9))
    assert world.stat("checks") == checks


# What checks cost.


def test_a_thousand_dead_endpoints_are_no_storm(wide):
    """Their addresses drop what comes: each try takes all of its time."""
    many = table([wide.address], endpoints=1000, check=Check("connect", every=1000, timeout=1000))
    world = World(many, connect="wait", seed=3)
    under_way, a_batch, before, tries = 0, 0, set(), {}
    for _ in range(40_000):
        world.wait(1)
        new = set(world.upstreams) - before
        before = set(world.upstreams)
        for handle in new:
            port = world.upstreams[handle][1]
            tries[port] = tries.get(port, 0) + 1
        under_way, a_batch = max(under_way, len(before)), max(a_batch, len(new))
    assert under_way == AT_ONCE
    assert a_batch <= AT_ONCE
    assert min(tries.values()) >= 2  # each has its turn
    assert max(tries.values()) - min(tries.values()) <= 1
    assert world.stat("checks_failed") > 2000


def test_those_that_begin_together_do_not_stay_together(wide):
    many = table([wide.address], endpoints=500, check=Check("connect", every=1000, timeout=500))
    world = World(many)
    a_batch, before = [], 0
    for _ in range(20_000):
        world.wait(1)
        a_batch.append(world.stat("checks") - before)
        before = world.stat("checks")
    assert 500 * 19 <= before <= 500 * 21
    assert max(a_batch) < 12
    assert world.checked == []


@pytest.mark.parametrize("kind", ["wide", "pingpong"])
@pytest.mark.parametrize("how", ["silent", "dropping", ""])
def test_checks_take_no_place_of_requests(toys, kind, how):
    toy = toys[kind]
    world = Checked(toy, endpoints=1, max_connections=1, check=Check("heartbeat", every=50, timeout=3000))
    world.call()
    shared = of_this(world, 0)
    if how:
        getattr(world, how).add(0)
    world.pass_time(1000)
    assert world.core.endpoint_stats(0)["connections"] == 1
    assert world.core.endpoint_stats(0)["active"] == 0
    getattr(world, how, set()).clear()
    assert world.call() == (OK, 0)
    assert [one for one in shared if one in world.upstreams]
    assert world.core.endpoint_stats(0)["requests"] == 2


def test_nobody_is_answered_by_a_check_and_no_check_by_a_call(wide):
    world = Checked(wide, endpoints=1, check=Check("call", frame=wide.request(1, b"svc m check")))
    for _ in range(50):
        assert world.call() == (OK, 0)
        world.pass_time(97)
    assert world.stat("answers_unmatched") == 0
    assert world.stat("responses") == 50
    assert world.stat("requests") == 50
    assert world.checked == []


# Calls.


@pytest.mark.parametrize("kind", ["wide", "narrow", "ordered", "pingpong", "named"])
@pytest.mark.parametrize("status", [OK, APP_ERROR, INTERNAL])
def test_a_call_is_answered(toys, kind, status):
    toy = toys[kind]
    world = Checked(toy, endpoints=2, check=Check("call", frame=toy.request(7, b"svc m 0")))
    world.status = {0: status}
    world.pass_time(8000)
    asked = [at for at, _ in world.asked]
    assert asked.count(1) > 5
    assert world.checked == ([] if status <= APP_ERROR else [(0, STATUS, status)])
    assert len(world.tried) == 2  # an answer is one, also an error
    assert world.stat("requests") == 0


def test_who_says_nothing_to_a_call_fails_though_it_answers_heartbeats(wide):
    world = Checked(wide, endpoints=2, check=Check("call", frame=wide.request(7, b"svc m 0")))
    world.silent = {1}
    world.pass_time(6000)
    assert world.checked == [(1, SILENT, 0)]


def test_an_answer_in_parts_is_an_answer_and_the_rest_of_it_is_nobodys(wide):
    """A stream without end: each check has a connection of its own."""
    world = Checked(wide, endpoints=1, check=Check("call", frame=wide.request(7, b"svc m 0")))
    world.status = {0: wide.MORE}
    world.pass_time(8000)
    assert world.stat("checks") > 5
    assert world.stat("checks_failed") == 0
    assert len(world.tried) == world.stat("checks")


@pytest.mark.parametrize("kind", ["ordered", "pingpong", "multiplexed", "ordered-ids", "pingpong-names"])
@pytest.mark.parametrize("status", [OK, INTERNAL])
def test_an_answer_is_read_with_what_it_answers(lines, kind, status):
    """Where it ends goes by the call's context, its status by what was kept of it."""
    number = {"ordered": b"", "pingpong": b"", "pingpong-names": b"ab "}.get(kind, b"7 ")
    frame = b"Q9.=" + number + b"svc m keep%d\n" % status
    answer = b"R0.=7 ?x\n" if kind == "multiplexed" else b"R0.#" + number + b"05?x\n"
    world = World(table([lines.address[kind]], endpoints=1, check=Check("call", frame=frame)))
    for _ in range(60):
        world.wait(100)
        for up in list(world.upstreams):
            if world.got[up]:
                assert world.got[up] == frame
                world.got[up].clear()
                world.feed(up, answer)
    assert world.stat("checks") > 4
    assert world.stat("checks_failed") == (0 if status == OK else world.stat("checks"))
    assert world.checked == ([] if status == OK else [(0, STATUS, INTERNAL)])


@pytest.mark.parametrize("kind", ["ordered-ids", "pingpong-names"])
def test_an_answer_to_something_else_is_none(lines, kind):
    frame = b"Q1.=7 svc m x\n"
    world = World(table([lines.address[kind]], endpoints=1, check=Check("call", frame=frame)))
    for _ in range(60):
        world.wait(100)
        for up in list(world.upstreams):
            if world.got[up]:
                world.got[up].clear()
                world.feed(up, b"R0.=8 ok\n")
    assert world.checked == [(0, FORMAT, 0)]


# Reloads.


def test_a_reload_keeps_what_is_known_and_goes_on(wide):
    world = Checked(wide)
    world.silent = {1}
    world.pass_time(6000)
    assert world.checked == [(1, SILENT, 0)]
    before = set(world.upstreams)
    world.reload()
    assert before <= set(world.upstreams)
    world.pass_time(2000)
    assert set(world.watch(2000)) == {0}
    world.silent.clear()
    world.pass_time(4000)
    assert world.checked[1:] == [(1, PASSED, 0)]


def test_without_its_rule_whoever_fails_is_back(wide):
    world = Checked(wide)
    world.silent = {1}
    world.pass_time(6000)
    world.reload(check=None)
    assert world.checked == [(1, SILENT, 0), (1, OVER, 0)]
    assert world.upstreams == {}
    checks = world.stat("checks")
    world.silent.clear()
    assert set(world.watch(5000)) == {0, 1}
    assert world.stat("checks") == checks


def test_another_server_under_the_same_number_inherits_nothing(wide):
    world = Checked(wide)
    world.silent = {1}
    world.pass_time(6000)
    world.reload(endpoints=1)
    assert of_this(world, 1) == []
    world.silent.clear()
    world.reload(endpoints=2)
    assert world.checked == [(1, SILENT, 0), (1, OVER, 0)]
    assert 1 in world.watch(400)


def test_another_question_is_asked_at_once_on_another_connection(wide):
    world = Checked(wide)
    world.pass_time(3000)
    before = set(world.upstreams)
    world.reload(check=Check("call", frame=wide.request(7, b"svc m 0")))
    assert not before & set(world.upstreams)
    world.pass_time(3000)
    assert {at for at, _ in world.asked} == {0, 1}
    assert world.stat("checks_failed") == 0


def test_one_of_no_weight_is_not_checked(wide):
    world = Checked(wide, weights=[1, 0])
    world.pass_time(5000)
    assert {at for at, _ in world.tried} == {0}


def test_after_the_end_nobody_is_checked(wide):
    world = Checked(wide)
    world.pass_time(3000)
    world.core.begin(world.now)
    world.core.shutdown()
    world._settle()
    assert world.upstreams == {}
    tried = len(world.tried)
    world.wait(10_000)
    assert len(world.tried) == tried


# Several workers.


class Fleet:
    """Cores that share what they find, each with its own connections to the same servers."""

    def __init__(self, toy, count: int, **more) -> None:
        self.verdicts = native.Verdicts()
        self.each = []
        for place in range(count):
            world = Checked.__new__(Checked)
            world.joined = (self.verdicts, place, count)
            world.__init__(toy, **more)
            self.each.append(world)

    def pass_time(self, ms: int) -> None:
        for _ in range(ms // 10):
            for world in self.each:
                world.pass_time(10)

    def sum(self, name: str) -> int:
        return sum(world.stat(name) for world in self.each)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_rate_does_not_depend_on_workers_or_clients(wide, count):
    fleet = Fleet(wide, count, endpoints=6)
    for world in fleet.each:
        for _ in range(10):
            world.client()
    fleet.pass_time(20_000)
    assert 6 * 17 <= fleet.sum("checks") <= 6 * 23
    assert len([one for world in fleet.each for one in world.tried]) == 6  # each is checked by one


@pytest.mark.parametrize("by", [HEARTBEAT, CONNECT])
def test_what_one_worker_finds_holds_for_all(wide, by):
    fleet = Fleet(wide, 3, endpoints=6, check=by)
    checking = fleet.each[1]
    checking.refusing = {4}  # the others could reach it
    fleet.pass_time(6000)
    assert [world.checked for world in fleet.each] == [[], [(4, REFUSED, 0)], []]
    for world in fleet.each:
        assert set(world.watch(600)) == {0, 1, 2, 3, 5}
    checking.refusing.clear()
    fleet.pass_time(4000)
    for world in fleet.each:
        assert 4 in world.watch(600)
    # One that comes when it is known already hears of it, too.
    checking.refusing, checking.silent = {4}, {4}
    fleet.pass_time(6000)
    other = fleet.each[0]
    other.reload(endpoints=2)
    other.reload(endpoints=6)
    assert 4 not in other.watch(600)
    # And who is taken away there, and comes again, begins anew everywhere.
    checking.refusing.clear()
    checking.silent.clear()
    for world in fleet.each:
        world.reload(endpoints=2)
    for world in fleet.each:
        world.reload(endpoints=6)
    for world in fleet.each:
        assert 4 in world.watch(600)


def test_without_its_rule_it_is_back_for_all_workers(wide):
    fleet = Fleet(wide, 3, endpoints=6)
    fleet.each[1].refusing = {4}
    fleet.pass_time(6000)
    assert 4 not in fleet.each[0].watch(600)
    fleet.each[1].refusing.clear()
    for world in fleet.each:
        world.reload(check=None)
    for world in fleet.each:
        assert 4 in world.watch(600)


def test_what_it_says_to_another_worker_shows_that_it_lives(wide):
    fleet = Fleet(wide, 2, endpoints=1, beats=False)
    checking, asking = fleet.each
    for _ in range(100):
        asking.call()
        fleet.pass_time(100)
    assert checking.beaten
    assert asking.beaten == []
    assert checking.checked == asking.checked == []


# By a model.


class Model:
    """Slow and plain: what checks of one endpoint come to."""

    def __init__(self, unhealthy: int, healthy: int) -> None:
        self.need = {False: unhealthy, True: healthy}
        self.failing, self.row = False, []

    def came_to(self, *, passed: bool) -> bool | None:
        """The new verdict, where there is one: whether it passes."""
        self.row.append(passed)
        last = self.row[-self.need[passed] :]
        if passed != self.failing or len(last) < self.need[passed] or any(one != passed for one in last):
            return None
        self.failing, self.row = not passed, []
        return passed


@settings(max_examples=many(60))
@given(
    unhealthy=st.integers(1, 4),
    healthy=st.integers(1, 4),
    by=st.sampled_from(["heartbeat", "connect", "call"]),
    steps=st.lists(st.sampled_from(["", *ILL, "reload"]), min_size=10, max_size=60),
)
def test_as_a_model_says(toys, unhealthy, healthy, by, steps):
    toy = toys["wide"]
    check = Check(by, unhealthy=unhealthy, healthy=healthy, frame=toy.request(7, b"svc m 0"))
    world, model = Checked(toy, endpoints=1, check=check), Model(unhealthy, healthy)
    expected = []
    for how in steps:
        if how == "reload":
            world.reload()
            continue
        for one in ILL:
            getattr(world, one).clear()
        if how:
            getattr(world, how).add(0)
        if how in {"refusing", "dropping"}:  # no connection of before is used
            world.batch(*[("error", up) for up in list(world.upstreams)])
        before, failed = world.stat("checks"), world.stat("checks_failed")
        while world.stat("checks") == before:
            world.pass_time(10)
        ill = how in {"refusing", "dropping"} if by == "connect" else bool(how)
        assert world.stat("checks_failed") - failed == ill
        verdict = model.came_to(passed=not ill)
        expected += [] if verdict is None else [verdict]
        assert [why == PASSED for _, why, _ in world.checked] == expected


# Known before: what an endpoint is told to be.


def test_who_is_heard_and_cannot_be_reached_is_not_called_silent(wide):
    world = Place(wide, endpoints=1, pinned=True, plan={"timeout_ms": 1000})
    world.silent = {0}
    while not world.told:
        world.call()
    assert world.told == [(0, native.ILL_SILENT)]
    (up,) = world.upstreams
    world.refusing = {0}
    world.ask(world.client())
    world.pass_time(100)
    assert world.told == [(0, native.ILL_SILENT)]
    world.feed(up, wide.frame(wide.HEARTBEAT, 1))
    assert world.told[1:] == [(0, native.ILL_REFUSED)]


def test_the_image_of_a_check_that_asks_nothing_is_refused():
    for by, more, says in (
        ("heartbeat", {"codec": 3}, "has nothing to ask"),
        ("call", {}, "has nothing to ask"),
        ("connect", {"every": 0}, "has no time"),
        ("connect", {"timeout": 0}, "has no time"),
    ):
        builder = TableBuilder(LIMITS, seed=1)
        builder.cluster("c", "round-robin", 4, 1000, check=Check(by, **more))
        builder.endpoint(0, "127.0.0.1", 9000, 1)
        with pytest.raises(Exception, match=rf"clusters\[0\].check {says}"):
            builder.finish()
