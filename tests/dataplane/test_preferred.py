"""Endpoints that are preferred, such as those of a zone: all requests while enough are usable, or a share."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from keyed import KINDS, USER, Keyed
from places import Judged, Place
from world import table

from protokit import native
from protokit.config.scalars import Duration, Share
from protokit.config.schema import Outlier

OK, INTERNAL = 0, 8
NEAR, FAR = {0, 1, 2, 3}, {4, 5, 6, 7}


@pytest.fixture
def toy(toys):
    return toys["wide"]


def stays(near, far, healthy=Fraction(7, 10)):
    """Which part of the requests goes to the near ones, where such parts of both are usable; None: to any."""
    here, there = (min(Fraction(1), part / healthy) for part in (near, far))
    there = min(there, 1 - here)
    return here / (here + there) if here + there else None


def near_of(world, calls):
    before = len(world.asked)
    for _ in range(calls):
        world.ask()
    found = [at for at, _ in world.asked[before:]]
    assert len(found) == calls
    return found


def fits(count, calls, part):
    """Within five standard deviations; exactly, where there is nothing to draw."""
    return abs(count - calls * part) <= 5 * math.sqrt(calls * part * (1 - part))


@pytest.mark.parametrize("balance", ["round-robin", "least-request"])
def test_shares_are_those_of_the_model(toy, balance):
    world = Judged(toy, endpoints=8, panic=0, balance=balance, near=NEAR)
    for near, far in itertools.product(range(5), repeat=2):
        world.failing = {*range(near), *range(4, 4 + far)}
        world.pass_time(6000)
        found = near_of(world, 200)
        part = stays(Fraction(4 - near, 4), Fraction(4 - far, 4))
        count = sum(at in NEAR for at in found)
        if part is None:
            assert {*found} == NEAR | FAR
            continue
        assert fits(count, 200, part), (near, far, count)
        usable = (NEAR | FAR) - world.failing
        assert {*found} <= usable
        assert {*found} >= (usable & NEAR if part == 1 else usable & FAR if part == 0 else usable)
        told = world.preferred[-1] if world.preferred else 1_000_000
        assert abs(told - part * 1_000_000) <= 1


def test_shares_go_by_weight(toy):
    world = Judged(toy, endpoints=4, panic=0, near={0, 1}, weights=[3, 1, 1, 0], healthy=1_000_000)
    assert {*near_of(world, 40)} == {0, 1}
    world.failing = {0}
    world.pass_time(6000)
    found = near_of(world, 400)
    assert {*found} == {1, 2}
    assert fits(found.count(1), 400, 1 / 4)


def test_who_panics_prefers_nobody(toy):
    world = Judged(toy, endpoints=8, near=NEAR)
    world.failing = {0, 1, 2, 4, 5, 6}
    world.pass_time(6000)
    assert [on for on, _, _ in world.panics] == [1]
    assert world.preferred[-1] == native.NONE
    assert {*near_of(world, 100)} == NEAR | FAR
    world.failing.clear()
    world.pass_time(6000)
    assert world.preferred[-1] == 1_000_000
    assert {*near_of(world, 100)} == NEAR


@pytest.mark.parametrize(
    ("how", "balance"),
    [
        *itertools.product(
            ["refusing", "silent", "dropping"], ["round-robin", "random", "least-request", "peak-ewma"]
        ),
        ("refusing", "maglev"),  # whose one key asks one of them only
    ],
)
def test_who_was_given_up_is_found_to_be_well_by_those_that_go_elsewhere(toy, balance, how):
    hashed = {"hash_by": [("service", "")]} if balance == "maglev" else {}
    world = Place(toy, endpoints=4, near={0, 1}, balance=balance, plan={"timeout_ms": 1000}, **hashed)
    setattr(world, how, {0, 1})
    world.calls(400, every=100)
    before = len(world.asked)
    done = world.calls(100, every=100)
    assert sum(status != OK for status, _ in done) <= 3  # trials
    assert world.preferred[-1] == 0
    assert {at for at, _ in world.asked[before:]} & {2, 3}
    setattr(world, how, set())
    world.calls(1000, every=100)
    assert world.preferred[-1] == 1_000_000
    before = len(world.asked)
    world.calls(40)
    assert {at for at, _ in world.asked[before:]} <= {0, 1}


@pytest.mark.parametrize("how", ["refusing", "silent", "dropping"])
def test_who_is_needed_beside_them_is_found_to_be_well_too(toy, how):
    """While too few of the preferred are usable: the others, all of them given up, are found to be well."""
    world = Place(toy, endpoints=4, near={0, 1}, plan={"timeout_ms": 1000})
    setattr(world, how, {0, 2, 3})
    world.calls(400, every=100)
    assert world.preferred[-1] == 1_000_000
    setattr(world, how, {0})
    before = len(world.asked)
    world.calls(1000, every=100)
    assert {at for at, _ in world.asked[before:]} & {2, 3}
    assert abs(world.preferred[-1] - 714286) <= 1


def test_who_was_left_out_comes_back_although_all_go_elsewhere(toy):
    rule = Outlier(3, None, Duration(1000), Share.parse("100%"))
    world = Judged(toy, endpoints=4, panic=0, near={0, 1}, outlier=rule, check=None)
    world.bad = {0, 1}
    world.calls(40, every=1)
    assert world.preferred[-1] == 0
    world.bad.clear()
    world.calls(200)
    assert world.preferred[-1] == 1_000_000
    assert {*near_of(world, 40)} == {0, 1}


def test_a_reload_goes_on_and_says_nothing(toy):
    world = Judged(toy, endpoints=8, panic=0, near=NEAR)
    world.failing = {0, 1}
    world.pass_time(6000)
    told = [*world.preferred]
    assert abs(told[-1] - 714286) <= 1
    world.apply(table([toy.address], **world.more))
    near = sum(at in NEAR for at in near_of(world, 400))
    assert fits(near, 400, 5 / 7)
    assert world.preferred == told
    world.apply(table([toy.address], **(world.more | {"near": None})))
    assert world.preferred[len(told) :] == [1_000_000]
    assert {*near_of(world, 100)} == {2, 3, 4, 5, 6, 7}


def test_what_does_not_fit_goes_to_the_others(toy):
    """Nobody is refused as long as others have places; a server that takes nothing fills only its own."""
    limits = {"upstream_in_flight": 8, "request_ms": 60_000}
    world = Place(toy, endpoints=2, near={0}, limits=limits, max_connections=1)
    world.silent = {0}
    for _ in range(12):
        client = world.client()
        world.ask(client)
    assert world.share()[0] <= 8
    assert world.share()[0] + world.share()[1] == 12


def test_another_try_goes_beyond_them_once_each_of_them_failed(toy):
    """And no sooner: a third try, where there are two of them."""
    for attempts, status in ((2, INTERNAL), (3, OK)):
        plan = {"attempts": attempts, "retry_on": ("internal",), "idempotent": True}
        world = Judged(toy, panic=0, near={0, 1}, check=None, plan=plan)
        world.bad = {0, 1}
        for _ in range(12):
            before = len(world.asked)
            assert world.call()[0] == status
            tries = [at for at, _ in world.asked[before:]]
            assert {*tries[:2]} == {0, 1}
            assert len(tries) == attempts
            assert {*tries[2:]} <= {2, 3}
            world.pass_time(1000, 1000)  # for its budget
        world.bad = {0}  # who has another there stays
        before = len(world.asked)
        world.calls(12, every=1000)
        assert {at for at, _ in world.asked[before:]} == {0, 1}


def test_another_try_goes_beyond_them_where_the_others_of_them_cannot_be_reached(toy):
    plan = {"attempts": 2, "retry_on": ("internal",), "idempotent": True}
    world = Judged(toy, panic=0, near={0, 1}, check=None, plan=plan)
    world.refusing = {1}
    world.calls(20, every=10)
    world.bad = {0}
    for _ in range(12):
        before = len(world.asked)
        assert world.call()[0] == OK
        last = [at for at, _ in world.asked[before:]][-1]
        assert last in {2, 3}
        world.pass_time(1000, 1000)


@pytest.mark.parametrize("balance", KINDS)
def test_keys_stay_or_leave_each_for_as_long_as_the_share_says(balance):
    """With less that is usable near more of them leave, none comes back, and each has one endpoint."""
    world = Keyed(balance, USER, endpoints=8, near=NEAR)
    keys = [b"%d" % n for n in range(140)]
    ill, out, before = set(), {}, set()
    world.world.connect = lambda port: "fail" if port - 9000 in ill else "ok"
    for gone in range(5):
        for _ in range(3):  # what cannot be reached is found to be so
            for key in keys:
                world.asked(user=key)
        now = {key: world.ask(user=key) for key in keys}
        assert all({key: world.ask(user=key) for key in keys} == now for _ in range(2))
        left = {key for key in keys if now[key] in FAR}
        assert fits(len(keys) - len(left), len(keys), stays(Fraction(4 - len(ill), 4), 1))
        assert before <= left
        assert all(now[key] == out[key] for key in before)  # who has left is where he was
        out |= {key: now[key] for key in left}
        before = left
        ill.add(gone)
        for handle, (_, port) in list(world.world.upstreams.items()):
            if port - 9000 in ill:
                world.world.batch(("error", handle))
