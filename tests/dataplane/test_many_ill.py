"""Of a hundred endpoints nearly all are ill: who is well is found, and has his share, and who comes back."""

from __future__ import annotations

import pytest
from keyed import KINDS, USER, Keyed
from places import OK, Judged, Place

BALANCES = ["round-robin", "least-request", "random", "peak-ewma", *KINDS]
EVERY = range(100)


@pytest.fixture
def toy(toys):
    return toys["wide"]


def hashed(balance):
    """Requests have no such key: they go anywhere."""
    return {"hash_by": USER} if balance in KINDS else {}


def refusing(toy, well, balance="round-robin", *, endpoints=100, how="refusing", **more):
    """A place whose endpoints but these cannot be reached, which every one of them has shown."""
    world = Place(toy, endpoints=endpoints, balance=balance, **hashed(balance), **more)
    setattr(world, how, {*range(endpoints)} - {*well})
    for _ in range(200):
        if len({at for at, _ in world.tried}) == endpoints:
            break
        world.calls(20, every=0)
        world.pass_time(2000, 2000)
    else:
        raise AssertionError("some have never been tried")
    return world


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("well", [0, 99])
def test_the_one_that_is_well_has_all(toy, balance, well):
    world = refusing(toy, {well}, balance)
    before = len(world.asked)
    assert [status for status, _ in world.calls(100, every=0)] == [OK] * 100
    assert {at for at, _ in world.asked[before:]} == {well}


@pytest.mark.parametrize("balance", BALANCES)
def test_who_does_not_pass_its_checks_has_nothing(toy, balance):
    world = Judged(toy, endpoints=100, panic=0, balance=balance, **hashed(balance))
    world.failing = {*EVERY} - {57}
    world.pass_time(6000, 500)
    before = len(world.asked)
    assert [status for status, _ in world.calls(60, every=0)] == [OK] * 60
    assert {at for at, _ in world.asked[before:]} == {57}


@pytest.mark.parametrize("balance", ["round-robin", "least-request", "peak-ewma"])
def test_the_few_that_are_well_have_their_shares(toy, balance):
    """Beside each other, or not: who comes behind many that are ill has no more for it."""
    weights = [1] * 97 + [2, 1, 1]
    world = refusing(toy, {3, 97, 98, 99}, balance, weights=weights)
    before = len(world.asked)
    world.calls(500, every=0)
    share = world.share(before)
    assert sum(share.values()) == 500
    assert all(abs(share[at] - 100 * weights[at]) <= 40 for at in (3, 97, 98, 99)), share


def test_by_chance_the_few_have_something_each(toy):
    world = refusing(toy, {3, 98, 99}, "random")
    before = len(world.asked)
    world.calls(300, every=0)
    share = world.share(before)
    assert all(share[at] > 50 for at in (3, 98, 99)), share


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("again", [{2}, {58}, {*range(54, 62)}], ids=["one", "its neighbour", "some"])
def test_who_can_be_reached_again_is_found_by_requests_now_and_then(toy, balance, again):
    """The one that is due for longest first: none is forgotten behind others."""
    world = refusing(toy, {57}, balance)
    world.refusing -= again
    tried = len(world.tried)
    for _ in range(450):
        assert world.call()[0] == OK
        world.pass_time(2100, 2100)
    assert {at for at, _ in world.tried[tried:]} >= again - {57}
    if len(again) == 1:  # with each that is well again others have less turns
        assert {at for at, _ in world.tried[tried:]} >= {*EVERY} - {57}
    before = len(world.asked)
    world.calls(100, every=0)
    assert {at for at, _ in world.asked[before:]} == again | {57}


def test_each_request_tries_one_however_many_it_would_have_to_pass_over(toy):
    world = refusing(toy, {57}, endpoints=600)
    for _ in range(40):
        tried = len(world.tried)
        assert world.call()[0] == OK
        assert len(world.tried) == tried + 1
        world.pass_time(2100, 2100)


def test_one_that_is_tried_for_a_second_holds_up_no_other(toy):
    world = refusing(toy, {57}, how="dropping")
    tried = len(world.tried)
    assert {status for status, _ in world.calls(20, every=10)} == {OK}
    assert len({at for at, _ in world.tried[tried:]}) == 20


def test_who_is_found_behind_many_has_no_more_for_it(toy):
    """Of so many that a request does not look at all of them in their order."""
    world = refusing(toy, {3, 598, 599}, endpoints=600)
    before = len(world.asked)
    world.calls(300, every=0)
    share = world.share(before)
    assert all(70 <= share[at] <= 135 for at in (3, 598, 599)), share


@pytest.mark.parametrize(("endpoints", "well"), [(100, {9, 10, 60, 61, 99}), (600, {3, 598, 599})])
@pytest.mark.parametrize("balance", KINDS)
def test_keys_of_the_ill_have_one_endpoint_each_among_the_well(balance, endpoints, well):
    """However many are passed over on the way to it."""
    world = Keyed(balance, USER, endpoints=endpoints)
    world.world.connect = lambda port: "ok" if port - 9000 in well else "fail"
    keys = [b"%d" % n for n in range(30)]
    for key in keys * 60:  # of the first some meet more that are ill than they have tries
        world.asked(user=key)
    first = {key: world.ask(user=key) for key in keys}
    assert {*first.values()} == well
    for _ in range(5):
        assert {key: world.ask(user=key) for key in keys} == first
    other = Keyed(balance, USER, endpoints=endpoints)  # another worker finds the same
    other.world.connect = world.world.connect
    for key in keys * 60:
        other.asked(user=key)
    assert {key: other.ask(user=key) for key in keys} == first
