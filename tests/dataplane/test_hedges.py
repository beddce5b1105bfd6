"""A second attempt beside the first: when, where, how many, and what the loser leaves; in virtual time."""

from __future__ import annotations

import math

import pytest
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from world import MS, World, table

from protokit.config.scalars import Duration, Share
from protokit.config.schema import Outlier

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED = range(6)
SAFE = {"idempotent": True}


class Course:
    """A client, and what its servers were asked, in order."""

    def __init__(self, toy, *, plan, **more) -> None:
        self.toy = toy
        self.world = World(table([toy.address], plan=SAFE | plan, **{"endpoints": 3, **more}))
        self.client = self.world.client()
        self.number = 0

    def look(self):
        """(port, upstream, id) of all that was asked since."""
        found = []
        for up, (_, port) in list(self.world.upstreams.items()):
            for kind, _, number, _ in self.world.take(self.toy, up):
                if kind == self.toy.REQUEST:
                    found.append((port, up, number))
        return found

    def ask(self):
        self.number += 1
        self.world.feed(self.client, self.toy.request(self.number, b"svc m x"))
        return self.look()

    def answer(self, asked, status=OK, text=b"there"):
        _, up, number = asked
        self.world.feed(up, self.toy.frame(self.toy.RESPONSE, number, text, status))

    def call(self, took: int):
        """One that is answered after so many ms; what was asked besides."""
        (asked,) = self.ask()
        self.world.wait(took)
        more = self.look()
        self.answer(asked)
        for one in more:
            self.answer(one)
        self.world.take(self.toy, self.client)
        return more

    def stats(self):
        return tuple(self.world.stat(name) for name in ("hedges", "hedges_won", "hedges_over_budget"))


def test_the_loser_is_discarded_and_its_place_comes_back(wide):
    course = Course(
        wide, plan={"hedge_ms": 50}, endpoints=2, max_connections=1, limits={"upstream_in_flight": 1}
    )
    for _ in range(20):  # there is one place at each endpoint
        (first,) = course.ask()
        course.world.wait(60)
        (second,) = course.look()
        assert first[0] != second[0]
        course.answer(second, text=b"second")
        course.answer(first, text=b"late")
        assert [one[3] for one in course.world.take(wide, course.client)] == [b"second"]
    assert course.stats() == (20, 20, 0)
    assert course.world.stat("requests_active") == 0


def test_who_wins_is_counted(wide):
    course = Course(wide, plan={"hedge_ms": 50})
    for winner in (0, 1, 0):
        both = course.ask()
        course.world.wait(60)
        both += course.look()
        course.answer(both[winner])
        course.answer(both[1 - winner])
    assert course.stats() == (3, 1, 0)


@pytest.mark.parametrize("plan", [{"idempotent": False}, {"hedge_ms": 0}])
def test_only_where_the_rule_says_that_twice_does_no_harm(wide, plan):
    course = Course(wide, plan={"hedge_ms": 50} | plan)
    course.ask()
    course.world.wait(1000)
    assert course.look() == []
    assert course.stats() == (0, 0, 0)


def test_not_one_way_nor_on_connections_of_a_clients_own(wide):
    course = Course(wide, plan={"hedge_ms": 50})
    course.world.feed(course.client, wide.frame(wide.ONEWAY, 1, b"svc m x"))
    course.world.wait(1000)
    assert course.stats() == (0, 0, 0)
    course = Course(wide, plan={"hedge_ms": 50}, pinned=True)
    course.ask()
    course.world.wait(1000)
    assert (course.look(), course.stats()) == ([], (0, 0, 0))


def test_never_at_the_same_endpoint(wide):
    for seed in range(20):
        course = Course(wide, plan={"hedge_ms": 10}, endpoints=2, balance="random", first_uid=seed)
        for _ in range(5):
            (first,) = course.ask()
            course.world.wait(20)
            (second,) = course.look()
            assert first[0] != second[0]
            course.answer(first)


def test_never_where_one_alone_is_usable(wide):
    """No second attempt, and nothing of what may be spent is: only the first nine are too few for a tenth."""
    alone = Course(wide, plan={"hedge_ms": 10, "hedge_most": "10%"}, endpoints=1)
    weights = Course(wide, plan={"hedge_ms": 10, "hedge_most": "10%"}, endpoints=2, weights=[1, 0])
    for course in (alone, weights):
        for _ in range(30):
            (first,) = course.ask()
            course.world.wait(20)
            assert course.look() == []
            course.answer(first)
        assert course.stats() == (0, 0, 9)
        assert [one[1] for one in course.world.take(wide, course.client)] == [OK] * 30


def test_an_endpoint_that_is_ill_is_not_tried_for_it(wide):
    course = Course(wide, plan={"hedge_ms": 300}, endpoints=2)
    course.world.connect = "fail"
    course.ask()  # finds out about both
    course.world.take(wide, course.client)
    course.world.connect = "ok"
    course.world.wait(5000)
    first = course.ask()
    course.world.take(wide, course.client)
    ports = {port for _, port in course.world.upstreams.values()}
    assert first
    course.world.connect = "fail"
    course.world.wait(400)
    assert all(one[0] in ports for one in course.look())


def test_one_that_finds_nobody_leaves_the_time_of_its_try(wide):
    plan = {"hedge_ms": 50, "attempts": 2, "retry_on": ("timeout",), "per_try_ms": 200}
    course = Course(wide, plan=plan, endpoints=1)
    course.ask()
    course.world.wait(100)
    assert (course.look(), course.stats()) == ([], (0, 0, 0))
    course.world.wait(110)
    assert len(course.look()) == 1  # the second try
    assert course.world.stat("retries") == 1


def test_it_is_none_of_the_tries_one_after_the_other(wide):
    plan = {"hedge_ms": 50, "attempts": 2, "retry_on": ("reset",)}
    course = Course(wide, plan=plan)
    both = course.ask()
    course.world.wait(60)
    both += course.look()
    for _, up, _ in both:
        course.world.batch(("error", up))
    (third,) = course.look()
    course.answer(third)
    assert [one[1] for one in course.world.take(wide, course.client)] == [OK]
    assert course.stats() == (1, 0, 0)
    course.world.wait(1000)
    assert course.look() == []


@pytest.mark.parametrize(("share", "most"), [("10%", 10), ("50%", 50), ("0%", 0)])
def test_a_share_of_the_clusters_requests_gets_one(wide, share, most):
    course = Course(wide, plan={"hedge_ms": 5, "hedge_most": share})
    got = 0
    for _ in range(100):
        (first,) = course.ask()
        course.world.wait(10)
        more = course.look()
        got += len(more)
        course.answer(first)
    assert (got, course.stats()) == (most, (most, 0, 100 - most))


def test_an_outage_makes_no_more_load_than_its_share(wide):
    """All servers hang: nine of ten calls are asked for once."""
    course = Course(
        wide, plan={"hedge_ms": 5, "hedge_most": "10%", "timeout_ms": 1000}, limits={"in_flight": 200}
    )
    asked = 0
    for _ in range(10):
        for _ in range(20):
            asked += len(course.ask())
        course.world.wait(1100)
        asked += len(course.look())
    assert asked == 220
    assert {one[1] for one in course.world.take(wide, course.client)} == {TIMEOUT}
    assert course.world.stat("requests_active") == course.world.stat("buffer_bytes") == 0


def test_a_percentile_is_learnt_first(wide):
    course = Course(wide, plan={"hedge_share": 950_000})
    for took in (*[20] * 30, 100, *[20] * 69):
        assert course.call(took) == []
    # 20 ms and a step of the histogram.
    assert course.call(19) == []
    assert len(course.call(26)) == 1
    assert course.stats() == (1, 0, 0)


def test_what_was_learnt_survives_a_reload_and_is_forgotten_in_time(wide):
    course = Course(wide, plan={"hedge_share": 950_000})
    for _ in range(100):
        course.call(20)
    course.world.apply(table([wide.address], plan=SAFE | {"hedge_share": 950_000}, endpoints=3))
    assert len(course.call(26)) == 1
    course.world.wait(60_000)
    assert course.call(100) == []


def test_who_was_slow_stays_slow_though_another_answered(wide):
    """What is learnt of calls that another answered at once does not sink below what they had waited."""
    course = Course(wide, plan={"hedge_share": 900_000})
    for _ in range(100):
        course.call(20)
    waited = []
    for _ in range(100):
        (first,) = course.ask()
        began = course.world.now
        while not (more := course.look()):
            course.world.wait(1)
        waited.append(course.world.now - began)
        course.answer(more[0])
        course.answer(first)
        course.world.take(wide, course.client)
    assert waited == sorted(waited)
    assert waited[-1] > waited[0]
    assert course.stats() == (100, 100, 0)


def test_errors_and_one_that_never_came_teach_nothing(wide):
    course = Course(wide, plan={"hedge_share": 900_000, "timeout_ms": 200})
    for _ in range(150):
        (asked,) = course.ask()
        course.answer(asked, OVERLOADED)
        course.world.take(wide, course.client)
    assert course.call(100) == []


def test_a_loser_that_hangs_costs_its_endpoint_nothing_but_what_it_took(wide):
    """What it was asked is no error of it, and counts as under way no longer."""
    outlier = Outlier(1, None, Duration(1000), Share.parse("100%"))
    course = Course(wide, plan={"hedge_ms": 50}, endpoints=2, outlier=outlier)
    for _ in range(10):
        course.ask()
        course.world.wait(60)
        (second,) = course.look()
        course.answer(second)
    assert course.world.stat("ejections") == 0
    assert [course.world.core.endpoint_stats(uid)["active"] for uid in (0, 1)] == [0, 0]
    assert [course.world.core.endpoint_stats(uid)["errors"] for uid in (0, 1)] == [0, 0]


def test_a_second_attempt_whose_connection_goes_leaves_the_first(wide):
    course = Course(wide, plan={"hedge_ms": 50}, endpoints=2)
    (first,) = course.ask()
    course.world.connect = "wait"
    course.world.wait(60)
    (opening,) = course.world.opening
    course.world.opened(opening, failed=True)
    course.answer(first)
    assert [one[1] for one in course.world.take(wide, course.client)] == [OK]
    assert course.stats()[:2] == (1, 0)
    assert course.world.stat("requests_active") == 0


@pytest.mark.parametrize("took", [1, 3, 7, 10, 33, 100, 250])
@pytest.mark.parametrize("halves", [(100, 0), (60, 60)])
def test_a_percentile_of_times_that_are_known(wide, took, halves):
    """It is no lower, and what came in the thirty seconds before counts, too."""
    course = Course(wide, plan={"hedge_share": 900_000, "hedge_most": "0%", "timeout_ms": 60_000})
    for count in halves:
        for _ in range(count):
            (asked,) = course.ask()
            course.world.wait(took)
            course.answer(asked)
        if halves[1]:
            course.world.wait(30_000 - course.world.now // MS % 30_000)
    if halves[1]:  # of the two halves before only the last one is left
        assert course.stats() == (0, 0, 0)
        for _ in range(40):
            (asked,) = course.ask()
            course.world.wait(took)
            course.answer(asked)
    course.ask()
    began = course.world.now
    while course.stats() == (0, 0, 0) and course.world.now < began + 1000 * MS:
        course.world.wait(1)
    assert took <= (course.world.now - began) / MS <= took * 9 / 8 + 3


@settings(max_examples=many(60), deadline=None)
@given(
    times=st.lists(st.integers(1, 300), min_size=100, max_size=100),
    share=st.sampled_from([500, 900, 950, 990]),
)
def test_a_percentile_against_the_sorted_times(wide, times, share):
    """The histogram says it no lower, and no more than an eighth and a tick higher."""
    course = Course(wide, plan={"hedge_share": share * 1000, "hedge_most": "0%", "timeout_ms": 60_000})
    for took in times:
        (asked,) = course.ask()
        course.world.wait(took)
        course.answer(asked)
    assert course.stats() == (0, 0, 0)
    exact = sorted(times)[math.ceil(len(times) * share / 1000) - 1]
    course.ask()
    began = course.world.now
    while course.stats() == (0, 0, 0) and course.world.now < began + 1000 * MS:
        course.world.wait(1)
    assert exact <= (course.world.now - began) / MS <= exact * 9 / 8 + 3


def test_a_first_attempt_that_moves_is_not_taken_for_the_second_that_failed(wide):
    """It may get the place that the second had."""
    course = Course(wide, plan={"hedge_ms": 50})
    world = course.world
    world.connect = "wait"
    assert course.ask() == []
    world.wait(60)
    assert course.stats() == (1, 0, 0)
    _, *others = [*world.opening]
    refused = 0
    for up in others:
        world.opened(up)
        for asked in course.look():
            course.answer(asked, OVERLOADED)
            refused += 1
    assert refused == 1
    world.wait(2000)
    (last,) = course.look()
    course.answer(last)
    assert [one[3] for one in world.take(wide, course.client)] == [b"there"]
    assert course.stats() == (1, 0, 0)
