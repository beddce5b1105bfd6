"""When a request is tried again, where, how late, and how often: on the core with a virtual clock."""

from __future__ import annotations

import collections
import dataclasses

import pytest
from fewer import many
from hypothesis import example, given, settings
from hypothesis import strategies as st
from world import LIMITS, MS, World, table

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE, DENIED, INTERNAL = range(9)
NAMES = {
    "no-service": NO_SERVICE,
    "bad-request": BAD_REQUEST,
    "timeout": TIMEOUT,
    "overloaded": OVERLOADED,
    "unavailable": UNAVAILABLE,
    "denied": DENIED,
    "internal": INTERNAL,
}
RETRIED = ["no-service", "timeout", "overloaded", "unavailable", "internal"]
SHARED = ["wide", "narrow", "ordered", "pingpong", "named"]
SAFE = {"attempts": 3, "retry_on": ("reset", "timeout"), "idempotent": True}


class Course:
    """A client, and what its servers were asked, in order."""

    def __init__(self, toy, plan, **more) -> None:
        self.toy = toy
        self.world = World(table([toy.address], plan=plan, **{"endpoints": 2, **more}))
        self.client = self.world.client()
        self.asked = []  # (port, upstream, id, body)

    def look(self):
        """All that was asked so far."""
        for up, (_, port) in list(self.world.upstreams.items()):
            for kind, _, number, body in self.world.take(self.toy, up):
                if kind == self.toy.REQUEST:
                    self.asked.append((port, up, number, body))
        return self.asked

    def ask(self, number=5, body=b"svc m x", client=None):
        self.world.feed(self.client if client is None else client, self.toy.request(number, body))
        return self.look()

    def wait(self, ms):
        for passed in range(0, ms, 10):
            self.world.wait(min(10, ms - passed))
            self.look()
        return self.asked

    def answer(self, asked, text=b"there", status=OK):
        _, up, number, _ = asked
        self.world.feed(up, self.toy.frame(self.toy.RESPONSE, number, text, status))
        return self.look()

    def heard(self):
        return [(frame[1], frame[3]) for frame in self.world.take(self.toy, self.client)]

    def is_over(self):
        """Nothing is left of any request."""
        assert self.world.stat("requests_active") == 0
        for number in range(8):
            assert self.world.core.endpoint_stats(number)["active"] == 0


# Which answers.


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("said", RETRIED)
def test_a_status_that_is_named_is_tried_elsewhere(toys, kind, said):
    course = Course(toys[kind], {"attempts": 2, "retry_on": (said,), "idempotent": True})
    [first] = course.ask()
    course.answer(first, b"no", NAMES[said])
    assert course.heard() == []
    [_, second] = course.look()
    assert second[0] != first[0]
    course.answer(second)
    assert course.heard() == [(OK, b"there")]
    assert course.world.stat("retries") == 1
    course.is_over()


@pytest.mark.parametrize("said", ["app-error", *NAMES])
@pytest.mark.parametrize("on", RETRIED)
def test_no_other_is(wide, said, on):
    """An application's error is an answer, whatever is named."""
    if said == on:
        return
    course = Course(wide, {"attempts": 2, "retry_on": (on,), "idempotent": True})
    [first] = course.ask()
    course.answer(first, b"no", NAMES.get(said, APP_ERROR))
    assert course.heard() == [(NAMES.get(said, APP_ERROR), b"no")]
    assert len(course.look()) == 1
    assert course.world.stat("retries") == 0


@pytest.mark.parametrize("said", RETRIED)
def test_an_answer_is_not_tried_again_where_asking_twice_may_do_harm(wide, said):
    course = Course(wide, {"attempts": 3, "retry_on": tuple(RETRIED)})
    [first] = course.ask()
    course.answer(first, b"no", NAMES[said])
    assert course.heard() == [(NAMES[said], b"no")]
    assert len(course.look()) == 1


@pytest.mark.parametrize("kind", SHARED)
def test_the_last_answer_is_the_callers(toys, kind):
    """Whatever it says: an error of a server's own is never replaced by the proxy's."""
    course = Course(toys[kind], {"attempts": 3, "retry_on": ("overloaded",), "idempotent": True}, endpoints=3)
    course.ask()
    for number in range(3):
        course.answer(course.asked[number], b"busy %d" % number, OVERLOADED)
    assert course.heard() == [(OVERLOADED, b"busy 2")]
    assert len({port for port, *_ in course.asked}) == 3
    course.is_over()


def test_one_client_has_to_itself_is_never_tried_again(toys):
    toy = toys["own"]
    course = Course(toy, {"attempts": 3, "retry_on": 127, "idempotent": True, "per_try_ms": 50}, pinned=True)
    [first] = course.ask()
    course.wait(200)
    assert len(course.look()) == 1
    course.answer(first, b"busy", OVERLOADED)
    assert course.heard() == [(OVERLOADED, b"busy")]
    assert course.world.stat("retries") == 0
    assert course.world.stat("buffer_bytes") == 0


# A time for each try.


@pytest.mark.parametrize("kind", SHARED)
def test_a_try_that_takes_too_long_is_followed_by_another_elsewhere(toys, kind):
    course = Course(toys[kind], {**SAFE, "per_try_ms": 100})
    [first] = course.ask()
    course.wait(95)
    assert len(course.look()) == 1
    [_, second] = course.wait(10)
    assert second[0] != first[0]
    course.answer(first, b"too late")
    assert course.heard() == []
    course.answer(second)
    assert course.heard() == [(OK, b"there")]
    assert (
        course.world.core.endpoint_stats(0)["timeouts"] + course.world.core.endpoint_stats(1)["timeouts"] == 1
    )
    course.is_over()
    course.ask(6, b"svc m y")  # what came too late is not its answer, either
    course.answer(course.look()[-1], b"another")
    assert course.heard() == [(OK, b"another")]


@pytest.mark.parametrize("kind", SHARED)
def test_the_last_try_has_what_time_is_left(toys, kind):
    course = Course(toys[kind], {**SAFE, "per_try_ms": 100, "timeout_ms": 1000}, endpoints=3)
    course.ask()
    course.wait(500)
    assert len(course.look()) == 3
    assert course.heard() == []
    course.answer(course.look()[-1], b"slow")
    assert course.heard() == [(OK, b"slow")]


def test_all_tries_together_have_the_requests_time(wide):
    course = Course(wide, {**SAFE, "attempts": 10, "per_try_ms": 100, "timeout_ms": 350}, endpoints=3)
    course.ask()
    course.wait(345)
    assert course.heard() == []
    course.wait(10)
    assert [status for status, _ in course.heard()] == [TIMEOUT]
    assert len(course.look()) == 4
    for one in course.look():
        course.answer(one, b"late")
    assert course.heard() == []
    course.is_over()


@pytest.mark.parametrize("plan", [{"retry_on": ("reset",)}, {"idempotent": False}, {"attempts": 1}])
def test_a_try_is_given_up_only_where_another_may_follow(wide, plan):
    course = Course(wide, {**SAFE, "per_try_ms": 100, **plan})
    [first] = course.ask()
    course.wait(500)
    course.answer(first, b"slow")
    assert course.heard() == [(OK, b"slow")]
    assert len(course.look()) == 1


def test_a_connection_that_does_not_open_takes_one_tries_time_and_no_policy_is_needed_to_go_on(wide):
    """Nothing was written."""
    world = World(
        table([wide.address], endpoints=2, plan={"attempts": 2, "per_try_ms": 100}, max_connections=1),
        connect="wait",
    )
    client = world.client()
    world.feed(client, wide.request(5, b"svc m x"))
    [first] = world.opening
    world.wait(105)
    [_, second] = world.opening
    assert world.upstreams[first] != world.upstreams[second]
    world.opened(second)
    [(_, _, number, _)] = world.take(wide, second)
    world.feed(second, wide.frame(wide.RESPONSE, number, b"there"))
    assert [frame[3] for frame in world.take(wide, client)] == [b"there"]
    world.opened(first)
    assert world.take(wide, first) == []


def test_in_order_a_try_that_is_given_up_leaves_those_behind_it_their_answers(toys):
    """They came later, on the same connection; what comes for the one in front is nobody's."""
    toy = toys["ordered"]
    course = Course(toy, {**SAFE, "per_try_ms": 100}, endpoints=1, max_connections=1)
    world, other = course.world, course.world.client()
    [first] = course.ask(1, b"svc m first")
    course.wait(50)
    [_, second] = course.ask(2, b"svc m second", client=other)
    [_, _, again] = course.wait(55)
    assert again[3] == b"svc m first"
    assert {one[1] for one in course.asked} == {world.only_upstream()}
    course.answer(first, b"too late")
    course.answer(second, b"for the second")
    course.answer(again, b"for the first")
    assert course.heard() == [(OK, b"for the first")]
    assert [frame[3] for frame in world.take(toy, other)] == [b"for the second"]
    course.is_over()


# Later tries.


def test_a_request_waits_before_it_is_tried_again_and_holds_up_nobody(wide):
    plan = {**SAFE, "attempts": 2, "retry_on": ("overloaded",), "backoff": (400, 400)}
    waits = set()
    for seed in range(20):
        course = Course(wide, plan)
        course.world = World(table([wide.address], endpoints=2, plan=plan), seed=seed + 1)
        course.client = course.world.client()
        [first] = course.ask()
        course.answer(first, b"busy", OVERLOADED)
        began = course.world.now
        course.ask(6, b"svc m y")
        course.answer(course.look()[-1], b"meanwhile")
        assert course.heard() == [(OK, b"meanwhile")]
        while not (again := [one for one in course.look()[1:] if one[3] == b"svc m x"]):
            course.wait(1)
            assert course.world.now - began <= 402 * MS
        waits.add((course.world.now - began) // MS)
        course.answer(again[0])
        assert course.heard() == [(OK, b"there")]
        course.is_over()
    assert len(waits) > 10
    assert min(waits) < 150  # any part of it
    assert max(waits) > 250


def test_each_wait_may_be_twice_as_long_up_to_the_most(wide):
    longest = collections.Counter()
    for seed in range(40):
        plan = {**SAFE, "attempts": 4, "retry_on": ("overloaded",), "backoff": (20, 60), "timeout_ms": 3000}
        course = Course(wide, plan, endpoints=5)
        course.world = World(table([wide.address], endpoints=5, plan=plan), seed=seed + 1)
        course.client = course.world.client()
        course.ask()
        for number in range(3):
            course.answer(course.look()[number], b"busy", OVERLOADED)
            began = course.world.now
            while len(course.look()) == number + 1:
                course.wait(1)
                assert course.world.now - began <= 100 * MS
            longest[number] = max(longest[number], (course.world.now - began) // MS)
    for number, most in enumerate([20, 40, 60]):
        assert most // 2 < longest[number] <= most + 2


@pytest.mark.parametrize("kind", SHARED)
def test_nobody_waits_beyond_his_time(toys, kind):
    """The answer that there is goes to its caller at once where no other could come in time."""
    plan = {**SAFE, "retry_on": ("overloaded",), "backoff": (100_000, 100_000), "timeout_ms": 2}
    course = Course(toys[kind], plan)
    [first] = course.ask()
    course.answer(first, b"busy", OVERLOADED)
    assert course.heard() == [(OVERLOADED, b"busy")]
    course.is_over()


@pytest.mark.parametrize("kind", SHARED)
def test_who_leaves_while_his_request_waits_leaves_nothing(toys, kind):
    course = Course(toys[kind], {**SAFE, "retry_on": ("overloaded",), "backoff": (1000, 1000)})
    [first] = course.ask()
    course.answer(first, b"busy", OVERLOADED)
    course.world.batch(("error", course.client))
    course.is_over()
    assert course.world.stat("buffer_bytes") == 0
    course.wait(2000)
    assert len(course.look()) == 1


def test_a_shutdown_and_a_reload_find_who_waits(wide):
    plan = {**SAFE, "retry_on": ("overloaded",), "backoff": (1000, 1000)}
    course = Course(wide, plan)
    [first] = course.ask()
    course.answer(first, b"busy", OVERLOADED)
    course.world.apply(table([wide.address], endpoints=2))
    course.wait(1005)
    [_, second] = course.look()  # by the rule that it came by
    course.answer(second)
    assert course.heard() == [(OK, b"there")]
    course = Course(wide, plan)
    [first] = course.ask()
    course.answer(first, b"busy", OVERLOADED)
    course.world.batch(("shutdown",))
    assert [status for status, _ in course.heard()] == [UNAVAILABLE]
    course.is_over()


# The budget.

OUTAGE = {"attempts": 4, "retry_on": ("overloaded",), "idempotent": True}


def outage(course, requests, *, every_ms, first=0):
    """So many requests, all of which fail; how many tries there were."""
    before = len(course.asked)
    done = before
    for number in range(first, first + requests):
        course.ask(number)
        while done < len(course.look()):
            course.answer(course.look()[done], b"busy", OVERLOADED)
            done += 1
        course.world.wait(every_ms)
    assert [status for status, _ in course.heard()] == [OVERLOADED] * requests
    return len(course.asked) - before


@pytest.mark.parametrize(("share", "percent"), [("0%", 0), ("20%", 20), ("100%", 100), ("0.5%", 0.5)])
def test_an_outage_makes_no_more_than_its_share_of_load(wide, share, percent):
    """100 requests a second for 20 s."""
    course = Course(wide, {**OUTAGE, "budget": share})
    tries = outage(course, 2000, every_ms=10)
    most = max(2000 * percent / 100, 3 * 21)
    assert 2000 + most * 0.9 <= tries <= 2000 + most + 3 * 2
    assert course.world.stat("retries") == tries - 2000
    assert course.world.stat("retries_over_budget") > 0
    course.is_over()


def test_a_little_traffic_may_be_tried_again(wide):
    """Three a second in any case: one request a second, tried thrice more."""
    course = Course(wide, {**OUTAGE, "budget": "0%"})
    assert outage(course, 12, every_ms=1000) == 48


def test_what_no_server_had_to_do_with_takes_nothing_of_the_budget(wide):
    world = World(table([wide.address], endpoints=2, plan={**OUTAGE, "budget": "0%"}), connect="fail")
    client = world.client()
    for number in range(50):
        world.feed(client, wide.request(number))
    assert [frame[1] for frame in world.take(wide, client)] == [UNAVAILABLE] * 50
    assert world.stat("retries_over_budget") == 0


def test_who_is_not_tried_again_for_want_of_a_budget_is_told_by_which_rule(wide):
    course = Course(wide, {**SAFE, "budget": "0%"})
    for number in range(4):
        course.ask(number)
        for _ in range(3):
            for up in list(course.world.upstreams):
                course.world.batch(("error", up))
    said = course.heard()
    assert said[0][0] == UNAVAILABLE
    assert b"is not tried again" not in said[0][1]  # it had its tries
    assert said[-1][1].endswith(
        b"after the request was sent; it is not tried again: the retries of rule 'plan' are at their share of"
        b" its requests"
    )


def test_the_budget_outlives_a_reload_with_its_cluster(wide):
    course = Course(wide, {**OUTAGE, "budget": "0%"})
    assert outage(course, 1, every_ms=0) == 4
    course.world.apply(table([wide.address], endpoints=2, plan={**OUTAGE, "budget": "0%"}))
    assert outage(course, 1, every_ms=0, first=1) == 1
    course.wait(1000)
    assert outage(course, 1, every_ms=0, first=2) == 4


def test_what_was_asked_long_ago_is_no_leave_to_try_again(wide):
    """A thousand answers a minute ago, and then an outage: a second's three tries, and no more."""
    course = Course(wide, {**OUTAGE, "budget": "50%"})
    for number in range(1000):
        course.answer(course.ask(number)[-1])
    assert len(course.heard()) == 1000
    course.wait(60_000)
    assert outage(course, 1, every_ms=0, first=2000) == 4
    assert outage(course, 5, every_ms=0, first=2001) == 5


def test_each_cluster_has_its_own(wide):
    rules = [("one", "*", 0), ("two", "*", 1)]
    course = Course(wide, {**OUTAGE, "budget": "0%"}, clusters=2, rules=rules)
    course.ask(1, b"one m x")
    while len(course.heard()) == 0:
        course.answer(course.look()[-1], b"busy", OVERLOADED)
    assert len(course.asked) == 4
    course.ask(2, b"two m x")
    while len(course.heard()) == 0:
        course.answer(course.look()[-1], b"busy", OVERLOADED)
    assert len(course.asked) == 8


# Its neighbours.


@pytest.mark.parametrize("how", ["refuses", "hangs", "dies"])
def test_a_server_that_fails_under_retries_costs_others_nothing(wide, how):
    """Its rule tries again as hard as it can; others' calls are answered at once."""
    plan = {
        **OUTAGE,
        "attempts": 10,
        "retry_on": 127,
        "per_try_ms": 20,
        "backoff": (5, 40),
        "timeout_ms": 400,
    }
    rules = [("bad", "*", 0), ("good", "*", 1)]
    course = Course(wide, plan, clusters=2, rules=rules, limits={"in_flight_per_connection": 200})
    world, other = course.world, course.world.client()
    done = 0
    for number in range(1, 201):
        course.ask(number, b"bad m " + bytes(200))
        course.ask(number, b"good m x", client=other)
        while done < len(course.look()):
            one = course.asked[done]
            done += 1
            if one[3] == b"good m x":
                course.answer(one)
            elif how == "refuses":
                course.answer(one, b"busy", OVERLOADED)
            elif how == "dies" and one[1] in world.upstreams:
                world.batch(("error", one[1]))
        assert [(frame[1], frame[2]) for frame in world.take(wide, other)] == [(OK, number)]
        world.wait(5)
        assert world.stat("requests_active") <= 200
        assert world.stat("buffer_bytes") <= LIMITS["buffer"] // 4
    world.wait(1000)
    assert world.stat("requests_active") == 0
    assert len(course.heard()) == 200
    tries = sum(one[3] != b"good m x" for one in course.look())
    assert tries <= 2 * 200 + 3 * 3  # a budget of 100 %
    assert world.core.endpoint_stats(41)["errors"] == world.core.endpoint_stats(41)["timeouts"] == 0


# Against a model.

PER_TRY = 30


@dataclasses.dataclass
class Modelled:
    """What one request comes to, said slowly: its tries, and what its caller hears."""

    attempts: int
    on: frozenset
    idempotent: bool
    per_try: int
    timeout: int

    def run(self, outcomes):
        """``outcomes`` of tries, each (what, ms after which); the tries made, and what is heard, when."""
        now = tries = 0
        for what, after in outcomes:
            tries += 1
            more = self.idempotent and tries < self.attempts
            cut = bool(self.per_try) and "timeout" in self.on and more
            until = min(
                now + self.per_try if cut and now + self.per_try < self.timeout else 10**9, self.timeout
            )
            if now + after >= until or what == "silent":
                now = until
                if until == self.timeout:
                    return tries, ("timeout", now)
                continue
            now += after
            if what in self.on and more and now < self.timeout:
                continue
            return tries, (what, now)
        raise AssertionError("more tries than outcomes")


KINDS = ["ok", "app-error", "overloaded", "unavailable", "denied", "reset", "silent", "timeout"]
ON = ["reset", "overloaded", "unavailable", "timeout"]
SAYS = {"ok": OK, "app-error": APP_ERROR, **NAMES}
PLANS = st.builds(
    Modelled,
    st.integers(1, 4),
    st.frozensets(st.sampled_from(ON)),
    st.booleans(),
    st.sampled_from([0, PER_TRY]),
    st.sampled_from([50, 100, 400]),
)
OUTCOMES = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from([0, 7, 22, 37, 61])), min_size=4, max_size=4
)


def everything(attempts=3, per_try=PER_TRY):
    return Modelled(attempts, frozenset(ON), True, per_try, 400)


@settings(max_examples=many(150), deadline=None)
@given(PLANS, OUTCOMES, st.sets(st.integers(0, 3)))
@example(everything(), [("silent", 0)] * 4, set())
@example(everything(), [("overloaded", 7), ("silent", 0), ("ok", 61), ("ok", 0)], {0, 1, 2})
@example(everything(), [("reset", 7), ("reset", 7), ("reset", 7), ("ok", 0)], {1})
@example(everything(per_try=0), [("ok", 61)] * 4, {0})
@example(everything(4), [("ok", 61), ("unavailable", 22), ("timeout", 7), ("app-error", 7)], set())
@example(Modelled(4, frozenset(ON), True, PER_TRY, 50), [("silent", 0)] * 4, {0})
@example(Modelled(4, frozenset(ON), False, PER_TRY, 400), [("overloaded", 7)] * 4, {0})
@example(Modelled(4, frozenset(), True, PER_TRY, 400), [("reset", 7)] * 4, set())
def test_tries_are_those_of_a_model(wide, plan, outcomes, reloads):
    """``reloads``: while these tries are under way another table comes, whose rule tries nothing again."""
    course = Course(
        wide,
        {
            "attempts": plan.attempts,
            "retry_on": tuple(plan.on),
            "idempotent": plan.idempotent,
            "per_try_ms": plan.per_try,
            "timeout_ms": plan.timeout,
        },
        endpoints=5,
    )
    world = course.world
    tries, (what, at) = plan.run(outcomes)
    began, due, heard = world.now, [], []
    course.ask()
    seen = 0
    while not heard:
        while seen < len(course.look()):
            kind, after = outcomes[seen]
            if kind != "silent":
                due.append((world.now + after * MS, kind, course.asked[seen]))
            if seen in reloads:
                world.apply(table([wide.address], endpoints=5))
            seen += 1
        for one in sorted(due, key=lambda one: one[0]):
            if one[0] <= world.now:
                due.remove(one)
                _, kind, asked = one
                if kind == "reset":
                    world.batch(("error", asked[1]))
                else:
                    course.answer(asked, kind.encode(), SAYS[kind])
        heard = course.heard()
        if not heard and seen == len(course.look()) and not any(one[0] <= world.now for one in due):
            world.wait(1)
        assert world.now <= began + 500 * MS
    [(status, text)] = heard
    assert len(course.look()) == tries
    assert status == (UNAVAILABLE if what == "reset" else SAYS[what])
    assert text == what.encode() or text.startswith(b"protokit: ")
    assert at <= (world.now - began) // MS <= at + 1 + tries  # of a tick for each
    if what not in {"reset", "timeout"}:
        assert text == what.encode()
    world.wait(1000)
    assert course.heard() == []  # nor does anybody hear of the others
    course.is_over()


@pytest.mark.parametrize("size", [50, 5000])
def test_what_is_too_large_to_be_kept_is_kept_while_an_attempt_waits_to_send_it(wide, size):
    plan = {"hedge_ms": 20, "idempotent": True}
    world = World(
        table([wide.address], endpoints=2, plan=plan, max_connections=1, limits={"retry_buffer": 1000})
    )
    world.connect = "wait"
    client = world.client()
    world.feed(client, wide.request(5, b"svc m " + bytes(size)))
    world.wait(30)
    first, second = world.opening
    world.opened(second)
    world.opened(first)
    assert [len(world.take(wide, up)) for up in (first, second)] == [1, 1]
    assert client not in world.closed
