"""Requests of one key go to one endpoint, by a ring or Maglev's table; what moves when one goes or is ill."""

from __future__ import annotations

import collections

import pytest
from keyed import KEYED, KINDS, MANY, USER, Keyed, request
from world import LIMITS, World, table

from protokit.errors import ProtokitError
from protokit.testing.tables import TableBuilder

METHOD = [("service", ""), ("method", "")]
KEYS = [b"user-%d" % number for number in range(20_000)]
OTHERS = [b"%d/%d" % (number, number * 7) for number in range(20_000)]


def places(kind, names, weights=None, seed=5):
    """A table of one cluster, whose endpoints have these numbers."""
    builder = TableBuilder(LIMITS, seed=seed)
    builder.cluster("c", kind, 4, 1000, [("source", "")])
    for at, name in enumerate(names):
        weight = 1 if weights is None else weights[at]
        builder.endpoint(at, f"10.{name >> 16}.{name >> 8 & 255}.{name & 255}", 9000, weight)
    return builder.finish()


@pytest.mark.parametrize("count", [1, 64, 65, 66])
def test_a_small_subset_takes_a_small_table(count):
    """A hundred subsets: 26 KiB each, and shares as even as with a hundred places each."""
    builder = TableBuilder(LIMITS, seed=5)
    for number in range(100):
        builder.cluster("c", "maglev", 4, 1000, [("source", "")], subset=f"v={number}")
        for at in range(count):
            builder.endpoint(at, f"10.0.0.{at}", 9000, 1)
    made = builder.finish()
    assert (made.pointer.bytes < 100 * 40_000) == (count <= 65)
    found = collections.Counter(made.endpoint_of(7, key) for key in KEYS)
    assert len(found) == count
    assert max(found.values()) < 1.4 * len(KEYS) / count
    made.free()


def owners(kind, names, weights=None, seed=5, keys=KEYS):
    """The endpoint of each key, by its number."""
    made = places(kind, names, weights, seed)
    found = [names[made.endpoint_of(0, key)] for key in keys]
    made.free()
    return found


HUNDRED = list(range(100))
# Of all keys, beside those of the endpoint that goes: how many others change hands at most.
DISRUPTION = {"ring-hash": 0, "maglev": 0.01}


@pytest.mark.parametrize("keys", [KEYS, OTHERS], ids=["users", "others"])
@pytest.mark.parametrize("gone", [0, 17, 50, 99])
@pytest.mark.parametrize("kind", KINDS)
def test_when_one_of_100_goes_its_keys_move_and_hardly_any_others(kind, gone, keys):
    before = owners(kind, HUNDRED, keys=keys)
    after = owners(kind, [name for name in HUNDRED if name != gone], keys=keys)
    others = sum(was not in {gone, now} for was, now in zip(before, after, strict=True))
    assert others <= DISRUPTION[kind] * len(keys)
    heirs = collections.Counter(now for was, now in zip(before, after, strict=True) if was == gone)
    assert len(heirs) > 50  # nobody inherits all
    assert gone not in heirs


@pytest.mark.parametrize("kind", KINDS)
def test_neither_order_nor_seed_nor_a_reload_moves_a_key(kind):
    names = [3, 70_000, 5, 299, 4]
    before = owners(kind, names, [2, 1, 1, 3, 0])
    assert owners(kind, names[::-1], [0, 3, 1, 1, 2], seed=99) == before
    assert owners(kind, [299, 3, 4, 5, 70_000], [3, 2, 0, 1, 1], seed=1) == before
    # Where many meet at a place, too, the table's order does not say whose it is.
    assert owners(kind, HUNDRED[::-1]) == owners(kind, HUNDRED)
    # One of no weight is not there.
    assert owners(kind, [3, 70_000, 5, 299], [2, 1, 1, 3]) == before


@pytest.mark.parametrize("kind", KINDS)
def test_shares_go_by_weight(kind):
    weights = [1, 2, 4, 0, 1]
    counts = collections.Counter(owners(kind, list(range(5)), weights))
    assert counts[3] == 0
    for name, weight in enumerate(weights):
        assert (
            abs(counts[name] - len(KEYS) * weight / 8)
            <= len(KEYS) * {"ring-hash": 0.06, "maglev": 0.01}[kind]
        )


@pytest.mark.parametrize(("kind", "most"), [("ring-hash", 1.35), ("maglev", 1.2)])
def test_alike_endpoints_have_alike_shares(kind, most):
    counts = collections.Counter(owners(kind, HUNDRED))
    assert len(counts) == 100
    assert max(counts.values()) < most * len(KEYS) / 100


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "weights",
    [[1], [2**32 - 1], [1, 2**32 - 1], [2**32 - 1] * 3, [7, 0, 0]],
    ids=["one", "large", "both", "all large", "two of none"],
)
def test_any_weights(kind, weights):
    found = set(owners(kind, list(range(len(weights))), weights, keys=KEYS[:2000]))
    assert found <= {name for name, weight in enumerate(weights) if weight}
    largest = weights.index(max(weights))
    assert largest in found


@pytest.mark.parametrize("kind", KINDS)
def test_without_weight_or_endpoints_there_is_no_place(kind):
    for weights in ([0, 0], []):
        made = places(kind, list(range(len(weights))), weights)
        assert made.endpoint_of(0, b"x") is None
        assert made.endpoint_of(1, b"x") is None
        made.free()


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_endpoints(kind):
    """Each has its places."""
    names = list(range(10_000))
    made = places(kind, names)
    found = {made.endpoint_of(0, b"%d" % number) for number in range(200_000)}
    made.free()
    assert len(found) > 9_900


def test_a_weight_that_changes_moves_only_what_it_has_to():
    before = owners("ring-hash", HUNDRED, [4] * 100)
    after = owners("ring-hash", HUNDRED, [4] * 40 + [3] + [4] * 59)
    moved = [(was, now) for was, now in zip(before, after, strict=True) if was != now]
    assert moved
    assert {was for was, _ in moved} == {40}


def test_a_key_of_no_kind_is_refused():
    builder = TableBuilder(LIMITS, seed=5)
    builder.cluster("c", "maglev", 4, 1000, [(9, "")])
    with pytest.raises(ProtokitError, match=r"origins\[0\].origin: 9 is not from 0 to 8"):
        builder.finish()


# Through the core.


@pytest.mark.parametrize("balance", KINDS)
@pytest.mark.parametrize("direct", [False, True], ids=["rules", "one cluster"])
@pytest.mark.parametrize(
    ("by", "what"),
    [
        (USER, lambda n: {"user": b"%d" % n}),
        ([("service", "")], lambda n: {"service": b"s%d" % n}),
        (METHOD, lambda n: {"method": b"m%d" % n}),
        ([("service", ""), *USER], lambda n: {"service": b"s%d" % (n % 8), "user": b"%d" % (n // 8)}),
    ],
    ids=["header", "service", "method", "several"],
)
def test_requests_of_a_key_go_to_one_endpoint(balance, by, what, direct):
    world = Keyed(balance, by, direct=direct)
    first = [world.ask(**what(n)) for n in range(60)]
    assert len(set(first)) == 8
    assert [world.ask(**what(n)) for n in range(60)] == first
    # Another client, another worker, another order and another table.
    other = Keyed(balance, by, direct=direct)
    assert [other.ask(**what(n)) for n in reversed(range(60))] == first[::-1]
    ports = {uid: 9000 + uid for uid in reversed(range(8))}
    world.world.apply(world.table(ports=ports))
    assert [world.ask(**what(n)) for n in range(60)] == first


@pytest.mark.parametrize("balance", KINDS)
def test_what_a_key_does_not_say_changes_nothing(balance):
    world = Keyed(balance, USER)
    first = world.ask(user=b"1")
    assert {world.ask(user=b"1", service=b"s%d" % n, other=b"%d" % n) for n in range(40)} == {first}
    # Of a method its service, too, counts: names of methods come again.
    world = Keyed(balance, METHOD)
    assert len({world.ask(service=b"s%d" % n, method=b"get") for n in range(60)}) == 8


@pytest.mark.parametrize("balance", KINDS)
def test_without_the_key_requests_go_anywhere_by_weight(balance):
    world = Keyed(balance, USER, endpoints=3, weights=[2, 1, 1])
    counts = collections.Counter(world.ask() for _ in range(1200))
    assert abs(counts[0] - 600) < 90
    assert abs(counts[1] - 300) < 80


@pytest.mark.parametrize("balance", KINDS)
def test_by_the_clients_address(balance):
    world = Keyed(balance, [("source", "")])
    clients = [world.world.client(source=f"10.0.0.{n}") for n in range(40)]
    first = [world.ask(client) for client in clients]
    assert len(set(first)) > 5
    again = [world.world.client(source=f"10.0.0.{n}") for n in range(40)]
    assert [world.ask(client) for client in again] == first


@pytest.mark.parametrize("balance", KINDS)
@pytest.mark.parametrize("kind", ["own", "raw"])
def test_connections_of_a_clients_own_go_by_its_address(toys, balance, kind):
    """Also those that are passed on byte by byte, and that nothing was asked on."""
    by = [("source", "")]
    more = {"codecs": [toys["own"].address]} if kind == "own" else {"codecs": [], "fallback": -1}
    codecs = more.pop("codecs")
    world = World(table(codecs, **more, balance=balance, hash_by=by, endpoints=8, direct=True, limits=MANY))
    found = []
    for n in [*range(40), *range(40)]:
        before = set(world.upstreams)
        world.client(source=f"10.0.0.{n}")
        (opened,) = set(world.upstreams) - before
        found.append(world.upstreams[opened][1])
    assert len(set(found)) > 5
    assert found[:40] == found[40:]


@pytest.mark.parametrize("balance", KINDS)
def test_only_the_keys_of_an_ill_endpoint_move_and_they_come_back(balance):
    world = Keyed(balance, USER, endpoints=6)
    keys = [b"%d" % n for n in range(90)]
    first = {key: world.ask(user=key) for key in keys}
    ill = first[b"0"]
    for handle, (_, port) in list(world.world.upstreams.items()):
        if port == 9000 + ill:
            world.world.connect = "fail"
            world.world.batch(("error", handle))
    moved = {key: world.ask(user=key) for key in keys if first[key] == ill}
    world.world.connect = "ok"
    now = {key: world.ask(user=key) for key in keys}
    assert all(now[key] == first[key] for key in keys if first[key] != ill)
    assert all(now[key] != ill for key in moved)
    assert len(set(now.values())) == 5
    heirs = {now[key] for key in moved}
    assert len(heirs) > 1  # not all to one
    world.world.wait(3000)
    world.ask(user=b"0")
    assert {key: world.ask(user=key) for key in keys} == first


@pytest.mark.parametrize("balance", KINDS)
def test_a_key_waits_for_its_connection_as_long_as_any_request(balance):
    """While others are open already: 2 ms, then it goes to one of these."""
    world = Keyed(balance, USER, endpoints=2)
    keys = {}
    for n in range(20):
        keys.setdefault(world.ask(user=b"%d" % n), b"%d" % n)
    again = Keyed(balance, USER, endpoints=2)
    again.ask(user=keys[0])
    again.world.connect = "wait"
    for _ in range(3):  # three batches
        again.number += 1
        again.world.feed(again.client, request(again.number, user=keys[1]))
    assert again.world.core.endpoint_stats(1)["active"] == 3
    again.world.wait(3)
    assert again.world.core.endpoint_stats(1)["active"] == 0
    assert again.world.core.endpoint_stats(0)["active"] == 3


@pytest.mark.parametrize("balance", KINDS)
def test_one_key_alone_leaves_others_their_places(balance):
    """Who asks with one key all the time, and is never answered: the last eighth of the places is others'."""
    limits = {"upstream_in_flight": 16, "in_flight": 400, "in_flight_per_connection": 200}
    world = World(table([KEYED.address], balance=balance, hash_by=USER, endpoints=4, limits=limits))
    nasty, other = world.client(), world.client()
    for n in range(150):
        world.feed(nasty, request(n, user=b"nasty"))
    for n in range(30):
        world.feed(other, request(n, user=b"%d" % n))
    assert world.got[other] == b""  # none is refused
    assert world.stat("errors_overloaded") == 0


@pytest.mark.parametrize("balance", KINDS)
def test_another_try_goes_to_the_keys_next_endpoint(balance):
    found = set()
    for _ in range(3):
        plan = {"attempts": 3, "retry_on": ("reset",), "idempotent": True}
        world = Keyed(balance, USER, endpoints=6, plan=plan)
        world.world.feed(world.client, request(1, user=b"7"))
        first = world.counts().index(1)
        world.world.batch(("error", world.world.only_upstream()))
        (second,) = [uid for uid, count in enumerate(world.counts()) if count and uid != first]
        found.add((first, second))
    assert len(found) == 1
    (pair,) = found
    assert pair[0] != pair[1]
