"""Endpoints that cannot be reached, accept and say nothing, or close at once: nobody waits for one while
another is well, suspicion outlives the connection, and who is well again gets its whole share."""

from __future__ import annotations

import itertools

import pytest
from places import Place
from world import LIMITS, table

from protokit import native

OK, TIMEOUT, UNAVAILABLE = 0, 4, 6
SECOND = 1000
PROBE = LIMITS["probe_ms"]


KINDS = ["wide", "narrow", "ordered", "pingpong", "polite", "named"]
BALANCES = ["round-robin", "least-request"]


# Endpoints that cannot be reached.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("balance", [*BALANCES, "random", "peak-ewma"])
def test_an_address_that_drops_connections_makes_nobody_wait_while_another_is_well(toys, kind, balance):
    world = Place(toys[kind], endpoints=2, balance=balance)
    world.dropping = {0}
    done = world.calls(1000, every=20)
    assert {status for status, _ in done} == {OK}
    waited = [ms for _, ms in done if ms]
    assert len(waited) <= 1  # for a moment, who was the first to ask for it
    assert sum(waited) < 10
    assert 5 < len([at for at, _ in world.tried if at == 0]) < 15  # one at a time, one second each


def test_one_that_is_slow_to_open_is_used_once_it_is_open(wide):
    world = Place(wide, endpoints=2)
    world.dropping = {1}
    world.calls(10, every=5)
    assert world.share() == {0: 10}
    (slow,) = [one for one in world.opening if one in world.upstreams]
    world.dropping.clear()
    world.serve()
    assert slow in world.upstreams
    world.calls(100)
    assert world.share(10) == {0: 50, 1: 50}
    assert world.told == []


def test_requests_that_wait_for_a_slow_connection_move_to_an_open_one(wide):
    world = Place(wide, endpoints=2)
    world.dropping = {0, 1}
    for _ in range(3):
        world.ask()
        world.pass_time(1, 1)
    assert world.asked == []
    world.dropping = {0} if world.tried[0][0] == 0 else {1}  # who was tried first goes on dropping
    world.ask()
    world.pass_time(20, 1)
    assert len(world.asked) == 4
    assert {at for at, _ in world.asked}.isdisjoint(world.dropping)
    assert sorted(frame[2] for frame in world.take(wide, world.one)) == [1, 2, 3, 4]


def test_a_client_that_leaves_while_its_request_waits_does_not_hold_up_the_others(wide):
    world = Place(wide, endpoints=2)
    world.dropping = {0, 1}
    leaving = world.client()
    world.ask(leaving)
    world.ask()
    world.batch(("error", leaving))
    world.dropping = {world.tried[0][0]}
    world.ask()
    world.pass_time(20, 1)
    assert sorted(frame[2] for frame in world.take(wide, world.one)) == [2, 3]


@pytest.mark.parametrize("how", ["dropping", "refusing"])
def test_backing_off_grows_is_remembered_and_is_over_when_a_connection_opens(wide, how):
    world = Place(wide, endpoints=2)
    getattr(world, how).add(0)
    world.calls(1000, every=20)
    own = 1000 if how == "dropping" else 0
    gaps = [gap - own for gap in world.gaps(world.tried, 0)]
    assert all(later >= gap - 30 for gap, later in itertools.pairwise(gaps))  # calls are 20 ms apart
    assert gaps[0] < 150
    assert gaps[-1] >= 1900
    assert max(gaps) < 2200
    assert world.told == [(0, native.ILL_TIMED_OUT if how == "dropping" else native.ILL_REFUSED)]
    getattr(world, how).clear()
    before = len(world.asked)
    world.calls(400, every=20)
    share = world.share(before)
    assert share[0] >= 140
    assert world.told[1:] == [(0, native.WELL)]


def test_an_endpoint_with_open_connections_goes_on_with_them_when_no_more_can_be_opened(toys):
    toy = toys["pingpong"]
    world = Place(toy, endpoints=1, max_connections=4)
    assert world.call() == (OK, 0)
    world.refusing = {0}
    other = world.client()
    world.silent = {0}
    world.ask(other)  # keeps the one connection busy
    world.ask()
    world.silent.clear()
    assert world.tried[1:]
    (busy,) = world.upstreams
    world.feed(busy, toy.frame(toy.RESPONSE, 0, b"late"))
    world.take(toy, world.one)
    assert world.call() == (OK, 0)


def test_where_none_can_be_reached_it_is_said_and_they_are_tried_all_the_same(wide):
    world = Place(wide, endpoints=2)
    world.refusing = {0, 1}
    done = world.calls(100, every=50)
    assert {status for status, _ in done} == {UNAVAILABLE}
    assert max(ms for _, ms in done) == 0
    assert len(world.tried) >= 6
    world.refusing.clear()
    world.pass_time(2100)
    assert world.call() == (OK, 0)


def test_where_the_only_one_drops_connections_requests_wait_for_the_try_that_is_under_way(wide):
    world = Place(wide, endpoints=1)
    world.dropping = {0}
    done = world.calls(30, every=100)
    assert {status for status, _ in done} == {UNAVAILABLE}
    assert max(ms for _, ms in done) <= 1001
    world.dropping.clear()
    world.pass_time(2100)
    assert world.call() == (OK, 0)


@pytest.mark.parametrize("how", ["dropping", "refusing"])
def test_pinned_clients_do_not_wait_for_an_address_known_to_be_ill(wide, how):
    world = Place(wide, endpoints=2, pinned=True)
    world.batch(("error", world.one))  # it has a connection already
    getattr(world, how).add(0)
    waits = []
    for _ in range(40):
        world.one = world.client()
        waits.append(world.call())
        world.batch(("error", world.one))
        world.pass_time(200)
    assert {status for status, _ in waits} == {OK}
    assert len([ms for _, ms in waits if ms > 0]) <= 1
    getattr(world, how).clear()
    world.pass_time(2100)
    before = len(world.asked)
    for _ in range(40):
        world.one = world.client()
        world.call()
        world.batch(("error", world.one))
        world.pass_time(10)
    assert world.share(before)[0] >= 18
    assert world.stat("upstream_connections_active") == 0


def test_raw_clients_do_not_wait_for_an_address_known_to_be_ill(wide):
    world = Place(wide, fallback=2)
    world.dropping = {50}
    waited = []
    for _ in range(40):
        client, since = world.client(), world.ms
        world.feed(client, b"\x01hello")
        world.serve()
        up = []
        while not up:
            up = [one for one in world.upstreams if world.got[one] == b"\x01hello"]
            world.pass_time(1, 1)
        waited.append(world.ms - since)
        world.batch(("error", client))
        world.pass_time(200)
    assert len([ms for ms in waited if ms > 1]) <= 1
    assert world.stat("upstream_connections_active") <= 1  # a try that is under way


# Endpoints that accept and answer nothing.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("beats", [False, True])
def test_suspicion_outlives_the_connection(toys, kind, balance, beats):
    world = Place(toys[kind], endpoints=2, balance=balance, beats=beats, plan={"timeout_ms": 1000})
    world.calls(4)
    world.pass_time(LIMITS["heartbeat_ms"] + 100)
    world.calls(4)
    world.silent = {0}
    world.calls(60, every=100)
    assert [one for one in world.told if one[1]] == [(0, native.ILL_SILENT)]
    before = len(world.asked)
    done = world.calls(600, every=100)
    failed = [status for status, _ in done if status != OK]
    assert len(failed) <= (0 if beats else 6)
    assert world.share(before).get(0, 0) == len(failed)
    assert world.told == [(0, native.ILL_SILENT)]
    world.silent.clear()
    world.calls(400, every=100)
    assert world.told == [(0, native.ILL_SILENT), (0, native.WELL)]
    before = len(world.asked)
    world.calls(100)
    assert world.share(before) == {0: 50, 1: 50}


def test_one_that_never_said_a_word_is_suspected_before_its_first_calls_run_out_of_time(wide):
    world = Place(wide, endpoints=2, limits={"request_ms": 60_000})
    world.silent = {0}
    for _ in range(100):
        world.ask()
        world.pass_time(200)
    assert (0, native.ILL_SILENT) in world.told
    assert max(ms for at, ms in world.asked if at == 0) - world.asked[0][1] <= 2 * PROBE + 400
    assert not [one for one in world.closed if one in world.upstreams]


def test_one_is_suspected_only_when_it_has_been_silent_for_long(wide):
    world = Place(wide, endpoints=2, plan={"timeout_ms": 1000})
    world.calls(2)
    world.silent = {0}
    began = world.ms
    while world.ms < began + 2 * PROBE - SECOND:
        world.call()
        world.pass_time(100)
    assert world.told == []
    assert world.lost
    world.calls(20, every=100)
    assert world.told == [(0, native.ILL_SILENT)]


def test_a_long_call_that_runs_out_of_time_says_nothing_of_a_server_that_answered_others_meanwhile(wide):
    world = Place(wide, endpoints=2, limits={"request_ms": 60_000})
    world.calls(2)
    world.silent = {0, 1}
    world.ask()
    world.ask()
    world.silent.clear()
    world.calls(62, every=1000)
    assert len(world.lost) == 2
    assert world.told == []


def test_who_was_heard_begins_anew_when_it_fails_again(wide):
    world = Place(wide, endpoints=1)
    world.refusing = {0}
    world.calls(200, every=50)
    assert max(world.gaps(world.tried, 0)) > 1500
    world.refusing.clear()
    world.pass_time(2100)
    assert world.call() == (OK, 0)
    world.refusing = {0}
    before = len(world.tried)
    world.batch(*[("error", up) for up in list(world.upstreams)])
    world.calls(20, every=10)
    assert world.gaps(world.tried[before:], 0)[0] <= 60


def test_trials_are_one_at_a_time_and_further_and_further_apart(wide):
    world = Place(wide, endpoints=2, plan={"timeout_ms": 1000})
    world.calls(2)
    world.silent = {0}
    for _ in range(3000):  # many at a time
        for _ in range(3):
            world.ask()
        world.pass_time(50)
    suspected = world.asked[0][1] + 2 * PROBE + 2000
    trials = [ms for at, ms in world.asked if at == 0 and ms > suspected]
    gaps = [b - a for a, b in itertools.pairwise(trials)]
    assert len(trials) <= 8
    assert min(gaps) > 1000
    assert gaps == sorted(gaps)
    assert gaps[-1] > 15_000


@pytest.mark.parametrize("how", ["the server closes", "the client leaves"])
def test_a_trial_that_ends_early_is_the_only_one_for_as_long(wide, how):
    world = Place(wide, endpoints=2, plan={"timeout_ms": 1000})
    world.calls(2)
    world.silent = {0}
    while not world.told:
        world.ask()
        world.pass_time(100)
    world.pass_time(3100)
    assert world.told == [(0, native.ILL_SILENT)]
    if how == "the server closes":
        world.silent, world.closing = set(), {0}
    before = len(world.asked)
    for _ in range(10):
        client = world.client()
        world.ask(client)
        world.ask(client)
        if how == "the client leaves":
            world.batch(("error", client))
    assert world.share(before) == {0: 1, 1: 19}


@pytest.mark.parametrize("known", [False, True])
def test_calls_that_wait_at_a_suspect_for_an_hour_do_not_hold_back_its_trials(wide, known):
    hour = {"request_ms": 3600 * SECOND}
    world = Place(wide, endpoints=2, limits=hour)
    world.calls(2 * known)
    world.silent = {0}
    for _ in range(2 * known):
        world.ask()
    if known:  # its calls have to run out of time: those of others do
        world.apply(table([wide.address], endpoints=2, limits=hour, plan={"timeout_ms": 1000}))
    while not world.told:
        world.ask()
        world.pass_time(200)
    assert world.told == [(0, native.ILL_SILENT)]
    world.silent.clear()
    world.calls(600, every=100)
    assert world.told == [(0, native.ILL_SILENT), (0, native.WELL)]


def test_who_is_heard_at_a_trial_is_put_off_anew_when_it_fails_again(wide):
    world = Place(wide, endpoints=2, plan={"timeout_ms": 1000})
    world.calls(2)
    world.silent = {0}
    world.calls(300, every=100)
    world.silent.clear()
    while world.told[-1] != (0, native.WELL):
        world.call()
        world.pass_time(100)
    assert world.told == [(0, native.ILL_SILENT), (0, native.WELL)]
    world.refusing = {0}
    before = len(world.tried)
    world.batch(*[("error", up) for up in list(world.upstreams) if world.at(up) == 0])
    world.calls(20, every=10)
    assert world.gaps(world.tried[before:], 0)[0] <= 60


def test_oneway_requests_are_no_trial(wide):
    world = Place(wide, endpoints=2, plan={"timeout_ms": 1000})
    world.calls(2)
    world.silent = {0}
    world.calls(40, every=100)
    assert world.told == [(0, native.ILL_SILENT)]
    before = len(world.asked)
    for _ in range(100):
        world.ask(oneway=True)
        world.pass_time(100)
    assert world.share(before) == {1: 100}


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong"])
def test_where_all_are_silent_they_are_asked_all_the_same(toys, kind):
    world = Place(toys[kind], endpoints=2, plan={"timeout_ms": 1000})
    world.silent = {0, 1}
    done = world.calls(60, every=100)
    assert {status for status, _ in done} == {TIMEOUT}
    assert {ms for _, ms in done} <= {1000, 1001, 1002}
    assert set(world.share(40)) == {0, 1}
    world.silent.clear()
    assert world.call() == (OK, 0)


def test_a_server_that_closes_instead_of_answering_is_suspected_at_once(wide):
    world = Place(wide, endpoints=2)
    world.calls(4)
    world.closing = {0}
    done = world.calls(600, every=100)
    failed = [status for status, _ in done if status != OK]
    assert 1 <= len(failed) <= 12
    assert (0, native.ILL_CLOSING) in world.told
    world.closing.clear()
    world.calls(400, every=100)
    before = len(world.asked)
    world.calls(100)
    assert world.share(before) == {0: 50, 1: 50}
    assert world.told[-1] == (0, native.WELL)


def test_one_method_that_hangs_does_not_make_its_server_suspect(wide):
    world = Place(wide, endpoints=2, plan={"timeout_ms": 1000})
    hung = []
    for n in range(400):
        if n % 4 < 2:
            world.call()
        else:  # both servers take it and go on with others
            world.silent = {0, 1}
            world.ask()
            hung.append(n)
            world.silent.clear()
        world.pass_time(100)
    assert world.told == []


def test_a_dead_connection_of_an_endpoint_that_answers_on_another_is_closed_and_that_is_all(wide):
    world = Place(wide, endpoints=1, beats=True, limits={"upstream_in_flight": 1, "request_ms": 60_000})
    world.call()
    world.pass_time(LIMITS["heartbeat_ms"] + 100)
    (dead,) = world.upstreams
    answers = world.hear
    world.hear = lambda handle, *frame: None if handle == dead else answers(handle, *frame)
    world.ask()
    other = world.client()
    for n in range(200):
        world.feed(other, wide.request(n))
        world.serve()
        world.pass_time(100)
    assert dead in world.closed
    assert world.told == []


# Busy, not dead.


@pytest.mark.parametrize("kind", ["wide", "narrow", "ordered", "pingpong"])
def test_a_server_busy_with_one_long_call_is_not_cut_while_the_call_has_time(toys, kind):
    toy = toys[kind]
    world = Place(toy, endpoints=1, limits={"request_ms": 30_000})
    assert world.call() == (OK, 0)
    world.silent = {0}
    world.ask()
    (up,) = world.upstreams
    world.pass_time(29_000, 100)
    assert up not in world.closed
    world.silent.clear()
    at = [number for number in range(1, 10) if toy.id_bytes][:9] or [0]
    world.batch(*[("feed", up, toy.frame(toy.RESPONSE, number, b"long")) for number in at])
    assert [frame[1] for frame in world.take(toy, world.one) if frame[0] == toy.RESPONSE] == [OK]
    assert world.told == []


def test_others_calls_that_run_out_of_time_behind_a_long_one_do_not_cut_it(wide):
    world = Place(wide, endpoints=2, limits={"request_ms": 60_000})
    world.calls(2)
    world.silent = {0}
    world.ask()
    world.ask()
    long_calls = [up for up in world.upstreams if world.at(up) == 0]
    world.apply(table([wide.address], endpoints=2, plan={"timeout_ms": 500}, limits={"request_ms": 60_000}))
    world.calls(300, every=50)
    assert not set(long_calls) & set(world.closed)
    assert world.told == [(0, native.ILL_SILENT)]  # no more go there, but what is there stays
    world.silent.clear()
    world.feed(long_calls[0], b"".join(wide.frame(wide.RESPONSE, n, b"long") for n in range(1, 100)))
    assert OK in [frame[1] for frame in world.take(wide, world.one)]
    assert world.told[-1] == (0, native.WELL)


def test_one_that_answers_heartbeats_and_stops_is_dead(wide):
    world = Place(wide, endpoints=2, beats=True, limits={"request_ms": 60_000})
    world.calls(2)
    world.pass_time(LIMITS["heartbeat_ms"] + 100)
    assert {at for at, _ in world.beaten} == {0, 1}
    world.silent = {0}
    world.ask()
    world.ask()
    world.pass_time(2 * PROBE + 100)
    statuses = sorted(frame[1] for frame in world.take(wide, world.one))
    assert statuses == [OK, UNAVAILABLE]
    assert world.told == [(0, native.ILL_SILENT)]
    assert world.stat("upstream_silent") == 1


def test_one_that_comes_back_without_heartbeats_is_found_by_its_answers(wide):
    world = Place(wide, endpoints=2, beats=True, plan={"timeout_ms": 1000})
    world.calls(2)
    world.pass_time(LIMITS["heartbeat_ms"] + 100)
    world.calls(2)
    world.silent = {0}
    world.calls(100, every=100)
    assert world.told == [(0, native.ILL_SILENT)]
    world.silent.clear()
    world.beats = False
    world.calls(2000, every=200)
    assert world.told == [(0, native.ILL_SILENT), (0, native.WELL)]


@pytest.mark.parametrize("busy", [False, True])
def test_a_pinned_connection_is_not_cut_because_its_server_knows_no_heartbeats(wide, busy):
    world = Place(wide, endpoints=1, pinned=True, limits={"request_ms": 60_000})
    assert world.call() == (OK, 0)
    if busy:
        world.silent = {0}
        world.ask()
    world.pass_time(55_000, 100)
    assert world.closed == {}
    assert 3 <= len(world.beaten) <= 8


def test_idle_connections_of_a_server_without_heartbeats_say_nothing_of_it(wide):
    world = Place(wide, endpoints=2)
    for _ in range(10):
        assert world.call() == (OK, 0)
        world.pass_time(20_000, 1000)
    assert world.told == []
    assert world.share() == {0: 5, 1: 5}
