"""What is tried again without a policy, and what a rule's `idempotent` allows."""

from __future__ import annotations

import itertools

import pytest
from places import Place
from world import World, answer, table

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)
RETRY = {"attempts": 3, "retry_on": 15}


@pytest.fixture
def world(wide):
    return World(table([wide.address]))


def test_what_was_not_written_is_tried_again_elsewhere(wide):
    world = World(table([wide.address], endpoints=2), connect="wait")
    client = world.client()
    world.feed(client, wide.request(1))
    world.opened(world.opening[0], failed=True)
    world.opened(world.opening[0])
    assert [frame[3] for frame in world.take(wide, world.only_upstream())] == [b"svc m x"]
    assert world.take(wide, client) == []
    assert world.stat("retries") == 1


def test_after_a_byte_was_sent_it_is_not_tried_again_unless_idempotent(wide):
    for idempotent in (False, True):
        world = World(table([wide.address], endpoints=2, plan={**RETRY, "idempotent": idempotent}))
        client = world.client()
        world.feed(client, wide.request(1))
        up = world.only_upstream()
        world.batch(("error", up))
        if idempotent:
            assert world.take(wide, client) == []
            again = world.only_upstream()
            (frame,) = world.take(wide, again)
            answer(world, wide, again, frame)
        statuses = [frame[1] for frame in world.take(wide, client)]
        assert statuses == ([OK] if idempotent else [UNAVAILABLE])


def test_a_request_whose_bytes_were_still_queued_is_tried_again_without_idempotent(wide):
    world = World(table([wide.address], endpoints=2, plan=RETRY))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    world.stuck.add(up)
    world.feed(client, wide.request(2))  # round robin: the other endpoint
    world.feed(client, wide.request(3))  # this one again, and its bytes stay here
    world.take(wide, client)
    world.batch(("error", up))
    assert [(frame[1], frame[2]) for frame in world.take(wide, client)] == [(UNAVAILABLE, 1)]
    assert world.stat("retries") == 1


def test_oneway_is_never_tried_again(wide):
    world = World(table([wide.address], endpoints=2, plan={**RETRY, "idempotent": True}), connect="wait")
    client = world.client()
    world.feed(client, wide.request(1, oneway=True))
    world.opened(world.opening[0], failed=True)
    assert world.stat("retries") == 0
    assert world.stat("requests_active") == 0


def test_an_overloaded_answer_is_tried_elsewhere_when_idempotent(wide):
    world = World(table([wide.address], endpoints=2, plan={**RETRY, "idempotent": True}))
    client = world.client()
    world.feed(client, wide.request(1))
    first = world.only_upstream()
    answer(world, wide, first, world.take(wide, first)[0], b"busy", OVERLOADED)
    (second,) = [up for up in world.upstreams if up != first]
    answer(world, wide, second, world.take(wide, second)[0])
    assert [frame[1] for frame in world.take(wide, client)] == [OK]


def test_a_request_too_large_to_keep_goes_on_without_a_retry_and_is_counted(wide):
    world = World(table([wide.address], endpoints=2, plan={**RETRY, "idempotent": True}))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m " + b"x" * 5000))
    world.batch(("error", world.only_upstream()))
    assert [frame[1] for frame in world.take(wide, client)] == [UNAVAILABLE]
    assert world.stat("retries_too_large") == 1


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong"])
@pytest.mark.parametrize("ill", list(itertools.product(["refusing", "dropping"], repeat=3)), ids="-".join)
def test_a_call_finds_out_about_three_endpoints_and_the_next_goes_elsewhere(toys, kind, ill):
    """Nothing is open, three of four cannot be reached: who finds that out pays for it, and nobody else."""
    paid = []
    for turns in range(4):
        plan, limits = {"timeout_ms": 1000}, {"probe_ms": 60_000}
        world = Place(toys[kind], endpoints=4, connect_ms=100, plan=plan, limits=limits)
        for _ in range(turns):
            world.call()
        for up in list(world.upstreams):
            world.batch(("error", up))
        for at, how in enumerate(ill, start=1):
            getattr(world, how).add(at)
        status, _ = world.call()
        if status != OK:
            assert (status, world.failed) == (UNAVAILABLE, [1, 2, 3])
            paid.append(turns)
        assert {status for status, _ in world.calls(8)} == {OK}
    assert len(paid) == (set(ill) == {"refusing"})  # who only waits goes to one that is open
