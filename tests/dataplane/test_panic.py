"""Where too few of a cluster's endpoints are usable those that were judged are used, too; whoever cannot be
reached is not."""

from __future__ import annotations

import pytest
from places import HALF, Judged
from world import table

from protokit import native
from protokit.config.scalars import Duration, Share
from protokit.config.schema import Outlier

OK = 0


@pytest.fixture
def toy(toys):
    return toys["wide"]


@pytest.mark.parametrize("balance", ["round-robin", "least-request", "random", "peak-ewma"])
@pytest.mark.parametrize(
    ("failing", "panic", "used"),
    [
        (2, HALF, {2, 3}),
        (3, HALF, {0, 1, 2, 3}),
        (3, 250_000, {3}),
        (3, 250_001, {0, 1, 2, 3}),
        (3, 0, {3}),
        (4, HALF, {0, 1, 2, 3}),
        (4, 0, {0, 1, 2, 3}),
    ],
)
def test_below_the_share_all_are_used(toy, balance, failing, panic, used):
    world = Judged(toy, panic=panic, balance=balance)
    world.failing = set(range(failing))
    world.pass_time(6000)
    assert len(world.checked) == failing
    assert world.who() == used
    panics = failing * 1_000_000 > (1_000_000 - panic) * 4
    assert [on for on, _, _ in world.panics] == [1] * panics
    world.failing.clear()
    world.pass_time(4000)
    assert [on for on, _, _ in world.panics] == [1, 0] * panics
    assert world.who() == {0, 1, 2, 3}


def test_who_cannot_be_reached_is_not_used(toy):
    world = Judged(toy)
    world.refusing = {0}
    world.failing = {1, 2}
    world.pass_time(6000)
    assert world.panics[-1][0] == 1
    assert {status for status, _ in world.calls(40)} == {OK}
    assert world.who() == {1, 2, 3}


def test_who_is_left_out_for_errors_is_used_too(toy):
    rule = Outlier(3, None, Duration(3_600_000), Share.parse("50%"))
    world = Judged(toy, outlier=rule, plan={"timeout_ms": 1000})
    world.bad = {0, 1}
    world.calls(40)
    assert sorted(uid for uid, said in world.endpoints if said == native.ILL_EJECTED) == [0, 1]
    assert world.panics == []
    assert world.who() == {2, 3}
    world.failing = {2}
    world.pass_time(6000)
    assert world.panics == [(1, 1, 4)]
    assert world.who() == {0, 1, 2, 3}


def test_a_reload_goes_on_with_it_and_says_nothing(toy):
    world = Judged(toy)
    world.failing = {0, 1, 2}
    world.pass_time(6000)
    assert world.panics == [(1, 1, 4)]
    world.apply(table([toy.address], **world.more))
    assert world.who() == {0, 1, 2, 3}
    assert world.panics == [(1, 1, 4)]
    world.apply(table([toy.address], **(world.more | {"panic": 0})))
    assert world.panics[1:] == [(0, 1, 4)]
    assert world.who() == {3}


def test_those_of_no_weight_are_no_part_of_the_share(toy):
    world = Judged(toy, weights=[1, 1, 0, 0])
    world.failing = {0}
    world.pass_time(6000)
    assert world.panics == []
    assert world.who() == {1}
