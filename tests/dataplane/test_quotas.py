"""What a limiter said of a rule's keys: a request meets what is known, and waits for nobody."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace

import pytest
from world import World, table

from protokit import logs, native
from protokit.dataplane.quotas import Limited, Quotas
from protokit.testing import streams

OK, OVERLOADED = 0, 5
MS, SECOND = 1_000_000, 1_000_000_000
OPEN, CLOSED = 1, 2
KEYS_A_SET = 8


class Record(SimpleNamespace):
    __hash__ = object.__hash__


def made(toy, *, keys=4, fail=OPEN, by=("source",), dry_run=False, burst=1):
    state = native.RuleState(keys if by else 0, 1, keys)
    world = World(built(toy, state, fail=fail, by=by, dry_run=dry_run, burst=burst))
    world.now = SECOND
    return world, state


def built(toy, state, *, fail=OPEN, by=("source",), dry_run=False, burst=1):
    one = Record(
        interval=3_600_000 * MS,
        burst=burst,
        by=[(origin, "") for origin in by],
        dry_run=int(dry_run),
        ask=fail,
        text="10/s",
    )
    patient = {"idle_ms": 2**31 - 1, "heartbeat_ms": 2**31 - 1}
    return table([toy.address], plan={"limit": one, "state": state}, limits=patient)


def ask(world, toy, client, number=1):
    """The status that it is answered at once; None: it was sent on."""
    world.feed(client, toy.request(number))
    sent = [frame for up in world.upstreams for frame in world.take(toy, up) if frame[0] == toy.REQUEST]
    refused = world.take(toy, client)
    assert len(sent) + len(refused) == 1
    for frame in sent:
        world.feed(world.only_upstream(), toy.frame(toy.RESPONSE, frame[2], b"ok"))
    world.take(toy, client)
    return refused[0][3] if refused else None


GLOBAL = b"protokit: global rate limit of rule plan reached"
LOCAL = b"protokit: rate limit of rule plan (10/s) reached"
UNKNOWN = b"protokit: global rate limit of rule plan is not known, and nothing is taken without it"


def say(world, state, key, requests, seconds=1.0):
    state.say(key, requests, world.now, world.now + int(seconds * SECOND))


def test_nothing_is_known_at_first_and_it_is_asked_about_once(wide):
    world, state = made(wide)
    client = world.client(source="10.0.0.7")
    assert [ask(world, wide, client) for _ in range(3)] == [None, LOCAL, LOCAL]
    (asked,) = world.core.asks()
    assert asked._replace(key=0) == native.Asked(
        state.address, 0, 1, (bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 7]),), known=False
    )
    assert world.core.asks() == []
    assert state.counts() == state.counts() | {"limit": 2, "quota": 0, "unasked": 0}


@pytest.mark.parametrize("fail", [OPEN, CLOSED])
def test_what_was_said_holds_and_no_longer(wide, fail):
    world, state = made(wide, fail=fail)
    client = world.client(source="10.0.0.7")
    before = ask(world, wide, client)
    assert before == (None if fail == OPEN else UNKNOWN)
    ((_, key, *_),) = world.core.asks()
    say(world, state, key, 3)
    assert [ask(world, wide, client) for _ in range(5)] == [None] * 3 + [GLOBAL] * 2
    world.now += SECOND - 1
    assert ask(world, wide, client) == GLOBAL
    world.now += 1
    assert ask(world, wide, client) == (LOCAL if fail == OPEN else UNKNOWN)
    say(world, state, key, None)
    assert {ask(world, wide, client) for _ in range(50)} == {None}
    say(world, state, key, 0)
    assert ask(world, wide, client) == GLOBAL
    counts = state.counts()
    assert (counts["quota"], counts["limit"], counts["unasked"]) == (4, fail == OPEN, 2 * (fail == CLOSED))


def test_it_is_asked_again_before_it_is_over_and_each_second_while_nobody_answers(wide):
    world, state = made(wide)
    client = world.client(source="10.0.0.7")
    ask(world, wide, client)
    ((_, key, requests, *_),) = world.core.asks()
    assert requests == 1
    say(world, state, key, None, 4)
    for _ in range(5):
        ask(world, wide, client)
    world.now += 3 * SECOND - 1
    ask(world, wide, client)
    assert world.core.asks() == []
    world.now += 1
    ask(world, wide, client)
    ask(world, wide, client)
    ((_, again, requests, *_),) = world.core.asks()
    assert (again, requests) == (key, 7)
    world.now += SECOND - 1
    ask(world, wide, client)
    assert world.core.asks() == []
    world.now += 1
    ask(world, wide, client)
    assert [one.requests for one in world.core.asks()] == [3]


def test_keys_are_told_apart_and_without_any_there_is_one(wide):
    world, state = made(wide)
    one, other = world.client(source="10.0.0.7"), world.client(source="10.0.0.8")
    ask(world, wide, one)
    ((_, key, *_),) = world.core.asks()
    say(world, state, key, 0)
    assert (ask(world, wide, one), ask(world, wide, other)) == (GLOBAL, None)
    world, state = made(wide, by=())
    one, other = world.client(source="10.0.0.7"), world.client(source="10.0.0.8")
    ask(world, wide, one)
    ((_, key, _, values, _),) = world.core.asks()
    assert values == ()
    say(world, state, key, 0)
    assert (ask(world, wide, one), ask(world, wide, other)) == (GLOBAL, GLOBAL)


def test_a_dry_run_only_counts(wide):
    for fail, name in ((CLOSED, "would-unasked"), (OPEN, "would-quota")):
        world, state = made(wide, fail=fail, dry_run=True)
        client = world.client(source="10.0.0.7")
        assert ask(world, wide, client) is None
        ((_, key, *_),) = world.core.asks()
        if fail == OPEN:
            say(world, state, key, 0)
        assert ask(world, wide, client) is None
        assert state.counts()[name] == (1 if fail == OPEN else 2)


def test_a_flood_of_keys_takes_no_more_room_and_who_is_in_use_keeps_what_was_said(wide):
    world, state = made(wide, keys=4)  # one set of eight
    kept = world.client(source="10.9.9.9")
    ask(world, wide, kept)
    ((_, key, *_),) = world.core.asks()
    say(world, state, key, None, 3600)
    for n in range(5 * KEYS_A_SET):
        world.now += 1
        client = world.client(source=f"10.0.{n}.1")
        assert ask(world, wide, client) in {None, LOCAL}  # nothing is known of it
        ((_, other, *_),) = world.core.asks()
        say(world, state, other, 0, 3600)
        world.batch(("error", client))
        world.now += 1
        assert ask(world, wide, kept) is None
    # Who was pushed out is one of whom nothing is known.
    lost = world.client(source="10.0.0.1")
    ask(world, wide, lost)
    assert len(world.core.asks()) == 1
    # What is said of one that has gone meanwhile is nobody's.
    say(world, state, 12345, None)


def flood(world, wide, count, first=0):
    """Clients of keys of their own ask once, and leave."""
    for n in range(first, first + count):
        client = world.client(source=f"10.{n >> 8}.{n & 255}.1")
        ask(world, wide, client)
        world.batch(("error", client))


def test_keys_that_come_once_do_not_drive_out_one_that_is_in_use_before_ten_seconds(wide):
    world, state = made(wide, keys=4)  # one set of eight
    kept = world.client(source="10.9.9.9")
    ask(world, wide, kept)
    ((_, key, *_),) = world.core.asks()
    say(world, state, key, None, 3600)
    assert ask(world, wide, kept) is None
    for n in range(20):
        flood(world, wide, KEYS_A_SET, n * KEYS_A_SET)
        for one in world.core.asks():
            say(world, state, one.key, None, 3600)
        state.took(KEYS_A_SET)
    world.now += 10 * SECOND - 1
    flood(world, wide, 20, 1000)
    assert [ask(world, wide, kept) for _ in range(3)] == [None] * 3
    assert key not in {one.key for one in world.core.asks()}
    world.now += 10 * SECOND + 1
    flood(world, wide, KEYS_A_SET, 2000)
    for one in world.core.asks():
        say(world, state, one.key, None, 3600)
    ask(world, wide, kept)
    assert key in {one.key for one in world.core.asks()}


def test_who_comes_back_to_its_place_has_what_was_said_of_it_and_not_of_another(wide):
    world, state = made(wide, keys=4)
    first = world.client(source="10.9.9.9")
    ask(world, wide, first)
    ((_, key, *_),) = world.core.asks()
    say(world, state, key, None, 3600)
    world.now += 1
    flood(world, wide, KEYS_A_SET)
    ((_, other, *_), *_) = world.core.asks()
    assert ask(world, wide, first) is None
    state.took(1 + KEYS_A_SET)
    say(world, state, other, 0, 3600)  # it may have lost its place
    assert ask(world, wide, first) != GLOBAL


def test_a_thread_whose_time_is_behind_does_not_ask_again(wide):
    world, _ = made(wide)
    client = world.client(source="10.0.0.7")
    ask(world, wide, client)
    assert len(world.core.asks()) == 1
    world.now -= MS
    ask(world, wide, client)
    assert world.core.asks() == []


NEW, MOST = 256, 384  # PK_ASKING_*


def test_where_nobody_takes_what_is_asked_it_is_counted_and_calls_go_on(wide):
    world, state = made(wide, keys=4096)
    client = world.client(source="10.99.0.1")
    ask(world, wide, client)
    ((_, key, *_),) = world.core.asks()
    say(world, state, key, None)
    state.took(1)
    for n in range(300):
        flood(world, wide, 1, n)
    assert world.stat("asks_lost") == 300 - NEW
    # Who has something to lose is asked about all the same, and so is another rule's.
    world.now += SECOND - 1
    assert ask(world, wide, client) is None
    world.apply(built(wide, its := native.RuleState(4, 1, 4)))
    assert ask(world, wide, client) is None
    assert world.stat("asks_lost") == 300 - NEW
    asked = world.core.asks()
    assert len(asked) == NEW + 2
    assert [(one.state, one.known) for one in asked[-2:]] == [(state.address, True), (its.address, False)]


def test_who_could_not_be_asked_about_is_as_soon_as_there_is_room_with_all_that_came(wide):
    world, state = made(wide, keys=4096)
    flood(world, wide, NEW)
    client = world.client(source="10.99.0.1")
    assert [ask(world, wide, client) for _ in range(3)] == [None, LOCAL, LOCAL]
    assert world.stat("asks_lost") == 3
    assert len(world.core.asks()) == NEW
    state.took(NEW)
    ask(world, wide, client)
    assert [one.requests for one in world.core.asks()] == [4]


def test_a_ring_that_is_full_of_other_rules_keys_takes_none_more(wide):
    world, _ = made(wide, keys=4096)
    for at in range(0, 1024, NEW):
        assert world.stat("asks_lost") == 0
        flood(world, wide, NEW, at)
        world.apply(built(wide, native.RuleState(4096, 1, 4096)))
    for _ in range(2 * NEW):
        flood(world, wide, 1)
    assert world.stat("asks_lost") == 2 * NEW
    assert len(world.core.asks()) == 1024
    flood(world, wide, NEW)
    assert len(world.core.asks()) == NEW


def test_known_keys_have_their_share_and_no_more(wide):
    world, state = made(wide, keys=4096)
    sources = [f"10.{n >> 8}.{n & 255}.1" for n in range(MOST + 10)]
    for at in range(0, len(sources), NEW):
        part = sources[at : at + NEW]
        flood(world, wide, len(part), at)
        for one in world.core.asks():
            say(world, state, one.key, None)
        state.took(len(part))
    world.now += SECOND - 1
    flood(world, wide, len(sources))
    asked = world.core.asks()
    assert (len(asked), {one.known for one in asked}) == (MOST, {True})
    assert world.stat("asks_lost") == 10


@pytest.mark.parametrize("size", [0, 1, 200, 201, 3000])
def test_values_are_cut_and_there_is_one_of_each(wide, size):
    world, _ = made(wide, by=("service", "method", "version", "group", "service", "service", "source"))
    client = world.client(source="10.0.0.7")
    world.feed(client, wide.request(1, b"s" * max(size, 1) + b" m x"))
    (asked,) = world.core.asks()
    whole = [b"s" * min(max(size, 1), 200), b"m", b"", b"", *[b"s" * min(max(size, 1), 200)] * 2]
    address = bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 7])
    assert len(asked.values) == 7
    assert asked.values[:5] == tuple(whole[:5])
    assert (asked.values[5], asked.values[6]) == (
        (whole[5], address) if size < 200 else (b"s" * (488 - 7 - 200 - 1 - 200), b"")
    )


def test_a_character_of_two_units_is_asked_about_as_the_one_that_it_is(wide):
    """As much of them as there is room for, and nothing of an address that looks like one."""
    world, _ = made(wide, by=("service", "source"))
    units, whole = b"\xed\xa0\xbd\xed\xba\x80", "\U0001f680".encode()
    source = "2001:db8::edb0:80ed:b080"
    for count in (1, 50, 66, 67, 200):
        world.feed(world.client(source=source), wide.request(1, count * units + b" m x"))
        (asked,) = world.core.asks()
        assert asked.values == ((count * whole)[:200], ipaddress.ip_address(source).packed)
    world.feed(world.client(source=source), wide.request(2, whole + b" m x"))
    assert world.core.asks() == [], "it was asked about already"


class Nobody:
    """A limiter that says nothing."""

    def __init__(self, options):
        del options

    async def ask(self, demands):
        return [None] * len(demands)


def test_what_a_rule_asked_before_its_table_went_is_taken_as_its_own(wide):
    """Its state goes then, and another may have its address: what is taken later would be its."""
    world, state = made(wide, keys=4096)
    rule = Limited("r[0]", state, SimpleNamespace(by=[]), Nobody, Nobody(None))

    async def go():
        tables = {1: SimpleNamespace(limiters={state.address: rule})}
        quotas = Quotas([world.core], tables, logs.Repeated())
        quotas.start()
        flood(world, wide, NEW)
        del tables[1]
        tables[2] = SimpleNamespace(limiters={})
        quotas.start()
        assert world.core.asks() == []
        flood(world, wide, 1, NEW)  # as many may be under way as ever
        assert len(world.core.asks()) == 1
        await quotas.close()

    streams.run(go())
