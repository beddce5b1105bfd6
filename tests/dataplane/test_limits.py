"""Rate limits of rules: token buckets, of a rule or of each key, in total over all workers."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from protokit_dubbo import dubbo
from protokit_dubbo.messages import Call, decode, split
from world import World, table

from protokit import native

OK, BAD_REQUEST, OVERLOADED = 0, 3, 5
MS = 1_000_000
WAYS = 16  # places of a set


class Record(SimpleNamespace):
    __hash__ = object.__hash__


def limit(interval=100 * MS, burst=1, by=(), *, dry_run=False, header="", text="10/s"):
    """pk_limit; one request each ``interval`` ns."""
    by = [(origin, header if origin == "header" else "") for origin in by]
    return Record(interval=interval, burst=burst, by=by, dry_run=int(dry_run), text=text)


def limited(codec, state, of, **extra):
    """A table with one rule that has this limit; nothing else ends by time."""
    patient = {"idle_ms": 2**31 - 1, "heartbeat_ms": 2**31 - 1}
    plan = {"limit": of, "state": state}
    return table([codec], plan=plan, limits=patient, **extra)


def ask(world, toy, client, number, body=b"svc m x", *, oneway=False):
    """Whether it was sent on; what was answered else."""
    world.feed(client, toy.request(number, body, oneway=oneway))
    kinds = (toy.REQUEST, toy.ONEWAY)
    sent = [frame for server in world.upstreams for frame in world.take(toy, server) if frame[0] in kinds]
    refused = world.take(toy, client)
    assert len(sent) + len(refused) == (1 if sent or not oneway else 0)
    return refused[0] if refused else bool(sent)


class Bucket:
    """A bucket as it is explained: it fills with time, and a request takes one token of ``interval`` ns."""

    def __init__(self, interval, burst):
        self.interval, self.most = interval, burst * interval
        self.filled, self.at = self.most, 0

    def take(self, now):
        self.filled, self.at = min(self.most, self.filled + now - self.at), now
        if self.filled < self.interval:
            return False
        self.filled -= self.interval
        return True


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([1000, 333_333_334, 100 * MS, 3_600_000 * MS]),
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 1)), max_size=25),
    st.sets(st.integers(0, 24)),
)
@example(1000, 1, [(0, 0), (1, -1), (0, 1), (1, 0), (1, 1)], {1, 2, 4})
@example(100 * MS, 3, [(0, 0)] * 5 + [(1, -1), (0, 1), (0, 0), (3, 0), (0, 0), (0, 0), (0, 0)], set())
@example(100 * MS, 3, [(0, 0)] * 5 + [(1, -1), (0, 1), (0, 0), (3, 0)], {*range(9)})
def test_a_bucket_gives_what_the_model_gives(interval, burst, waits, reloads):
    """At times on, just before and just behind those when a token comes, with reloads in front of some."""
    state = native.RuleState(0, 1)
    toy = WIDE[0]
    world = World(limited(toy.address, state, limit(interval, burst)))
    client = world.client()
    model, refused = Bucket(interval, burst), 0
    for number, (count, more) in enumerate(waits):
        world.now += max(0, count * interval + more)
        if number in reloads:
            world.apply(limited(toy.address, state, limit(interval, burst)))
        # One-way: nothing waits for an answer, and no timer comes in between.
        taken = ask(world, toy, client, number, oneway=True) is True
        assert taken == model.take(world.now), number
        refused += not taken
    assert state.counts()["limit"] == refused == world.stat("errors_overloaded")


WIDE: list = []


@pytest.fixture(autouse=True)
def _wide(wide):
    WIDE[:] = [wide]


KINDS = ["wide", "ordered", "pingpong", "named", "own"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_names_the_rule_and_its_limit(toys, kind):
    toy = toys[kind]
    state = native.RuleState(0, 1)
    world = World(limited(toy.address, state, limit(burst=2), pinned=kind == "own"))
    clients = [world.client() for _ in range(3)]
    assert ask(world, toy, clients[0], 1) is True
    assert ask(world, toy, clients[1], 1) is True
    what, status, _, text = ask(world, toy, clients[2], 1)
    assert (what, status) == (toy.RESPONSE, OVERLOADED)
    assert text == b"protokit: rate limit of rule plan (10/s) reached"
    assert state.counts() == state.counts() | {"limit": 1, "would-limit": 0}
    assert world.stat("errors_overloaded") == 1
    assert world.stat("requests_active") == 2
    assert world.stat("buffer_bytes") == 0 or kind == "own"


def test_a_one_way_request_is_dropped_and_counted(wide):
    state = native.RuleState(0, 1)
    world = World(limited(wide.address, state, limit()))
    client = world.client()
    assert ask(world, wide, client, 1, oneway=True) is True
    assert ask(world, wide, client, 2, oneway=True) is False
    assert state.counts()["limit"] == 1
    assert world.stat("requests_active") == 0


def test_a_dry_run_only_counts(wide):
    state = native.RuleState(0, 1)
    world = World(limited(wide.address, state, limit(dry_run=True)))
    client = world.client()
    assert [ask(world, wide, client, number) for number in range(5)] == [True] * 5
    assert state.counts() == state.counts() | {"limit": 0, "would-limit": 4}


def test_two_workers_take_from_one_bucket(wide):
    """Each has a core and a table of its own here; what they share is the bucket."""
    state = native.RuleState(0, 1)
    worlds = [World(limited(wide.address, state, limit(burst=4))) for _ in range(2)]
    clients = [world.client() for world in worlds]
    taken = []
    for number in range(4):
        for world, client in zip(worlds, clients, strict=True):
            taken.append(ask(world, wide, client, number) is True)
    assert taken == [True] * 4 + [False] * 4
    assert state.counts()["limit"] == 4


def test_a_reload_keeps_what_was_taken_and_a_rule_in_front_takes_nothing_along(wide):
    state, other = native.RuleState(0, 1), native.RuleState(0, 1)
    world = World(limited(wide.address, state, limit(burst=2)))
    client = world.client()
    assert [ask(world, wide, client, number) is True for number in range(3)] == [True, True, False]
    world.apply(limited(wide.address, state, limit(burst=2)))
    assert ask(world, wide, client, 4) is not True
    world.apply(limited(wide.address, other, limit(burst=2)))
    assert ask(world, wide, client, 5) is True
    world.apply(limited(wide.address, state, limit(burst=2)))
    assert ask(world, wide, client, 6) is not True


@pytest.mark.parametrize(
    ("by", "same", "others"),
    [
        (("service",), [b"a m x", b"a n y"], [b"b m x", b" m x"]),
        (("method",), [b"a m x", b"b m y"], [b"a n x"]),
        (("service", "method"), [b"a m x", b"a m y"], [b"a n x", b"b m x", b"m a x", b"am  x"]),
    ],
)
def test_each_key_has_a_bucket(wide, by, same, others):
    world = World(limited(wide.address, native.RuleState(64, 1), limit(by=by)))
    client = world.client()
    first, *rest = same
    assert ask(world, wide, client, 0, first) is True
    for number, body in enumerate(rest, 1):
        assert ask(world, wide, client, number, body) is not True
    for number, body in enumerate(others, 100):
        assert ask(world, wide, client, number, body) is True
        assert ask(world, wide, client, 100 + number, body) is not True


def call(number, service="svc", method="m", **attachments):
    return Call(service, method, "", [], attachments=attachments, request_id=number).encode()


def ask_dubbo(world, client, data):
    """True when it was sent on, else the error that was answered."""
    world.feed(client, data)
    sent = [server for server in world.upstreams if world.got[server]]
    for server in sent:
        world.got[server].clear()
    frames, rest = split(bytes(world.got[client]))
    world.got[client].clear()
    assert not rest
    assert len(sent) + len(frames) == 1
    return True if sent else decode(frames[0])


def test_a_header_is_a_key_and_who_has_none_shares_one_bucket():
    world = World(
        limited(dubbo.wire.address, native.RuleState(64, 1), limit(by=("header",), header="tenant"))
    )
    client = world.client()
    assert ask_dubbo(world, client, call(1, tenant="a")) is True
    refused = ask_dubbo(world, client, call(2, tenant="a"))
    assert refused.status == 100  # the server's threads are exhausted: of another one
    assert "rate limit of rule plan (10/s) reached" in str(refused.value)
    assert ask_dubbo(world, client, call(3, tenant="b")) is True
    assert ask_dubbo(world, client, call(4)) is True
    assert ask_dubbo(world, client, call(5, other="x")) is not True
    assert ask_dubbo(world, client, call(6, tenant="")) is True  # there, and empty
    assert ask_dubbo(world, client, call(7, tenant="c", other="x")) is True


# Many keys.


def keys_world(keys, interval=100 * MS, burst=1):
    toy = WIDE[0]
    state = native.RuleState(keys, 5)
    world = World(limited(toy.address, state, limit(interval, burst, by=("service",))))
    client = world.client()
    numbers = itertools.count()

    def take(key):
        return ask(world, toy, client, next(numbers) % 1000, b"%s m x" % key, oneway=True) is True

    return world, take


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 120)), min_size=60, max_size=160))
@example([(key, 0) for key in range(41)] + [(0, 0), (1, 0), (40, 100), (0, 0)] * 3)
def test_no_key_gets_more_than_its_bucket_whoever_comes(steps):
    """More keys than places: some wait longer than they would alone, none gets more than alone."""
    world, take = keys_world(8, burst=3)
    models = {key: Bucket(100 * MS, 3) for key in range(41)}
    for key, wait in steps:
        world.now += wait * MS
        allowed = models[key]
        before = (allowed.filled, allowed.at)
        if take(b"k%d" % key):
            assert allowed.take(world.now), "more than its bucket gives"
        else:
            allowed.filled, allowed.at = before


def test_as_many_keys_as_it_is_made_for_each_have_what_is_theirs():
    world, take = keys_world(64)
    keys = [b"key%d" % number for number in range(64)]
    assert sum(take(key) for key in keys) == 64
    assert sum(take(key) for key in keys) == 0
    world.now += 100 * MS
    assert sum(take(key) for key in keys) == 64


def test_a_flood_of_new_keys_refills_no_bucket():
    world, take = keys_world(8)
    assert take(b"known")
    for number in range(500):
        take(b"new%d" % number)
        assert not take(b"known")
    world.now += 10_000 * MS
    assert take(b"known")
    assert not take(b"known")


def test_a_flood_gets_no_more_than_the_places_give():
    """Each place gives what one key gets, however many keys come."""
    world, take = keys_world(8, burst=2)
    assert sum(take(b"new%d" % number) for number in range(1000)) == 2 * WAYS
    world.now += 100 * MS
    assert sum(take(b"other%d" % number) for number in range(1000)) == WAYS


def test_who_asked_longest_ago_makes_room():
    """A bucket that is full again needs no place: who comes back has lost nothing, and takes nobody's."""
    world, take = keys_world(8, burst=2)
    busy = [b"busy%d" % number for number in range(WAYS - 1)]
    assert take(b"idle")
    world.now += 100 * MS
    for key in busy:
        assert take(key)
        assert take(key)
    for number in range(50):
        assert take(b"new%d" % number)  # in the one place that is nobody's
        world.now += 100 * MS
        for key in busy:
            assert take(key)
            assert not take(key)


def test_each_address_has_a_bucket_whatever_its_connections(wide):
    world = World(limited(wide.address, native.RuleState(64, 1), limit(by=("source",))))
    one, again, other = (world.client(source=ip) for ip in ("10.0.0.1", "10.0.0.1", "10.0.0.2"))
    assert [ask(world, wide, client, 1) is True for client in (one, again, other)] == [True, False, True]


def test_a_dry_run_refuses_nothing_that_cannot_be_read():
    data = bytearray(Call("svc", "m", "", [], attachments={"x": "yyyy"}, request_id=1).encode())
    data[data.rindex(b"yyyy") - 1] = 0x45  # what is no text
    counted = limit(by=("header",), header="tenant", dry_run=True)
    world = World(
        table([dubbo.wire.address], direct=True, plan={"limit": counted, "state": native.RuleState(64, 1)})
    )
    world.feed(world.client(), bytes(data))
    assert world.got[world.only_upstream()]
