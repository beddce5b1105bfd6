"""Routing tables: the compiled look-up against a plain reading of the rules, in order."""

from __future__ import annotations

import itertools

import pytest
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo import dubbo
from protokit_dubbo.messages import Call
from world import LIMITS, World

from protokit.testing.tables import TableBuilder

NAMES = ["a", "ab", "abc", "b", "com.x", "com.x.Y", "com.x.YZ", "com.y.Z"]
patterns = st.one_of(
    st.sampled_from(NAMES),
    st.just("*"),
    st.sampled_from(NAMES).map(lambda name: name + "*"),
    st.just("com.*"),
)


def matches(pattern: str, value: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def build(rules, codec):
    builder = TableBuilder(LIMITS, seed=5)
    plans = []
    for i in range(len(rules)):
        builder.cluster(f"c{i}", "round-robin", 1, 1000)
        builder.endpoint(i, "127.0.0.1", 10_000 + i, 1)
    for i in range(len(rules)):
        plans.append(builder.plan(f"p{i}"))
        builder.split(i, 1)
    routes = builder.routes("r")
    for rule, plan in zip(rules, plans, strict=True):
        builder.rule(*rule, plan)
    builder.listener(0, "in", routes=routes, plan=None, pinned=False, codecs=[codec])
    return builder.finish()


@settings(max_examples=many(300), deadline=None)
@given(
    rules=st.lists(st.tuples(patterns, patterns), min_size=1, max_size=12),
    asked=st.lists(st.tuples(st.sampled_from([*NAMES, "zzz"]), st.sampled_from([*NAMES, "q"])), max_size=8),
)
def test_the_first_rule_that_matches_decides(wide, rules, asked):
    world = World(build([(service, method, "*", "*") for service, method in rules], wide.address))
    client = world.client()
    for number, (service, method) in enumerate(asked):
        world.feed(client, wide.request(number, f"{service} {method} x".encode()))
        expected = next(
            (i for i, rule in enumerate(rules) if matches(rule[0], service) and matches(rule[1], method)),
            None,
        )
        got = [port - 10_000 for up, (_, port) in world.upstreams.items() if world.take(wide, up)]
        assert got == ([] if expected is None else [expected])


# Of service, method, version and group: many share the place in a worker's cache of routes, some have none.
PARTS = (
    ["org.demo.Service", "com.demo.Service", "a", "x" * 200],
    ["get", "got", "gut"],
    ["1.0", "2.0", "1.00", ""],
    ["", "g", "h", "gg"],
)
FOURS = st.tuples(*map(st.sampled_from, PARTS))


@st.composite
def much_alike(draw):
    """Destinations of which each is like the first but for one part."""
    first = draw(FOURS)
    found = [first]
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, 3))
        found.append((*first[:i], draw(st.sampled_from(PARTS[i])), *first[i + 1 :]))
    return found


def rules_for(pool):
    """Rules that tell some of those destinations from others."""
    parts = [st.sampled_from([four[i] for four in pool]) for i in range(4)]
    return st.lists(
        st.tuples(*(st.one_of(st.just("*"), part, part.map(lambda text: text[:2] + "*")) for part in parts)),
        min_size=1,
        max_size=5,
    )


def build_two(tables, serial):
    """Two listeners, a route table each; rule i of table t leads to port 10000 + 1000 t + 100 serial + i."""
    builder = TableBuilder(LIMITS, seed=3)
    plans = []
    for t, rules in enumerate(tables):
        for i in range(len(rules)):
            builder.cluster(f"c{t}.{i}", "round-robin", 1, 1000)
            builder.endpoint(100 * t + 10 * serial + i, "127.0.0.1", 10_000 + 1000 * t + 100 * serial + i, 1)
    for t, rules in enumerate(tables):
        plans.append([])
        for i in range(len(rules)):
            plans[t].append(builder.plan(f"p{t}.{i}"))
            builder.split(sum(map(len, tables[:t])) + i, 1)
    for t, rules in enumerate(tables):
        routes = builder.routes(f"r{t}")
        for rule, plan in zip(rules, plans[t], strict=True):
            builder.rule(*rule, plan)
        builder.listener(t, f"in{t}", routes=routes, plan=None, pinned=False, codecs=[dubbo.wire.address])
    return builder.finish()


@settings(max_examples=many(300), deadline=None)
@given(st.data())
def test_what_was_asked_before_changes_no_route(data):
    pool = data.draw(much_alike())
    table = rules_for(pool)
    tables = data.draw(st.tuples(table, table))
    world = World(build_two(tables, 0))
    clients = [world.client(0), world.client(1)]
    serial = 0
    for number in range(1, data.draw(st.integers(2, 16))):
        if data.draw(st.integers(0, 7)) == 0:
            serial += 1
            tables = data.draw(st.tuples(table, table))
            world.apply(build_two(tables, serial))
        t, four = data.draw(st.integers(0, 1)), data.draw(st.sampled_from(pool))
        service, method, version, group = four
        attachments = {"group": group} if group else {}
        call = Call(service, method, "", [], version=version, attachments=attachments, request_id=number)
        world.feed(clients[t], call.encode())
        expected = [
            10_000 + 1000 * t + 100 * serial + i
            for i, rule in enumerate(tables[t])
            if all(map(matches, rule, four))
        ]
        got = [port for up, (_, port) in world.upstreams.items() if world.got[up]]
        assert got == expected[:1]
        for up in world.upstreams:
            world.got[up].clear()


def port_of(world, client, four, number=1):
    """The port that a request for service, method, version and group was sent to."""
    service, method, version, group = four
    call = Call(service, method, "", [], version=version, attachments={"group": group}, request_id=number)
    world.feed(client, call.encode())
    (port,) = [port for up, (_, port) in world.upstreams.items() if world.got[up]]
    for up in world.upstreams:
        world.got[up].clear()
    return port


ALIKE = ("org.demo.Service", "get", "1.0", "gig")  # and, at the same place of the cache:
OTHERS = [
    ("com.demo.Service", "get", "1.0", "gig"),
    ("org.demo.Service", "got", "1.0", "gig"),
    ("org.demo.Service", "get", "2.0", "gig"),
    ("org.demo.Service", "get", "1.0", "gag"),
    ("acme.org.demo.Service", "get", "1.0", "gig"),
    ("org.demo.Service", "get", "11.0", "gig"),
    ("org.demo.Service", "get", "1.0", "grog"),
    ("x" * 160 + "org.demo.Service", "get", "1.0", "gig"),  # too long for it
]


PAIRS = [
    *((ALIKE, other) for other in OTHERS),
    # Nothing behind what is not the same.
    (("org.demo.Service", "get", "1.0", ""), ("org.demo.Service", "get", "2.0", "")),
    (("org.demo.Service", "get", "", ""), ("org.demo.Service", "got", "", "")),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_destination_much_like_another_has_its_own_route(one, other):
    world = World(build_two(([other, one], [one, other]), 0))
    for listener, ports in (0, (10_001, 10_000)), (1, (11_000, 11_001)):
        client = world.client(listener)
        assert [port_of(world, client, four) for four in (one, other, one, one, other)] == [
            ports[i] for i in (0, 1, 0, 0, 1)
        ]


KINDS = [("ab", "m"), ("ab", "*"), ("ab*", "m"), ("ab*", "*"), ("a*", "*"), ("*", "m"), ("*", "*")]


def test_rules_of_all_kinds_decide_in_their_order(wide):
    """Any three rules, each of which may be looked up another way, in any order."""
    asked = [("ab", "m"), ("ab", "n"), ("abc", "m"), ("abc", "n"), ("a", "n"), ("x", "m"), ("x", "n")]
    for rules in itertools.permutations(KINDS, 3):
        world = World(build([(*rule, "*", "*") for rule in rules], wide.address))
        client = world.client()
        for number, (service, method) in enumerate(asked):
            world.feed(client, wide.request(number, f"{service} {method} x".encode()))
            fits = [
                i for i, rule in enumerate(rules) if matches(rule[0], service) and matches(rule[1], method)
            ]
            got = [port - 10_000 for up, (_, port) in world.upstreams.items() if world.take(wide, up)]
            assert got == fits[:1], (rules, service, method)


@pytest.mark.parametrize("service", ["svc", "svc*", "*"])
def test_versions_and_groups_are_compared(service):
    """Of rules that are looked up the same way."""
    rules = [(service, "*", *rest) for rest in [("1.0", "g"), ("1.0", "*"), ("*", "g*"), ("2*", "*")]]
    world = World(build([*rules, ("*", "*", "*", "*")], dubbo.wire.address))
    client = world.client()
    for version, group in itertools.product(["1.0", "1.00", "2", "20", "0.2"], ["g", "gh", "h"]):
        fits = [i for i, rule in enumerate(rules) if matches(rule[2], version) and matches(rule[3], group)]
        assert port_of(world, client, ("svc", "m", version, group)) - 10_000 == [*fits, len(rules)][0]


def test_more_listeners_than_the_cache_has_places_each_route_by_their_own_table():
    many = 300
    builder = TableBuilder({**LIMITS, "connections": many, "in_flight": 2 * many}, seed=3)
    for i in range(many):
        builder.cluster(f"c{i}", "round-robin", 1, 1000)
        builder.endpoint(i, "127.0.0.1", 10_000 + i, 1)
    for i in range(many):
        plan = builder.plan(f"p{i}")
        builder.split(i, 1)
        routes = builder.routes(f"r{i}")
        builder.rule(*ALIKE, plan)
        builder.listener(i, f"in{i}", routes=routes, plan=None, pinned=False, codecs=[dubbo.wire.address])
    world = World(builder.finish())
    clients = [world.client(i) for i in range(many)]
    for _ in range(2):
        assert [port_of(world, client, ALIKE) for client in clients] == [10_000 + i for i in range(many)]


def test_a_new_table_decides_anew():
    world = World(build_two(([ALIKE], [ALIKE]), 0))
    client = world.client()
    assert [port_of(world, client, ALIKE) for _ in range(2)] == [10_000, 10_000]
    world.apply(build_two(([OTHERS[0], ALIKE], [ALIKE]), 1))
    assert [port_of(world, client, ALIKE) for _ in range(2)] == [10_101, 10_101]


def test_ten_thousand_rules_are_all_found(wide):
    rules = [(f"com.example.Service{i}", f"method{i % 7}", "*", "*") for i in range(10_000)]
    builder = TableBuilder(LIMITS, seed=9)
    builder.cluster("c", "round-robin", 1, 1000)
    builder.endpoint(0, "127.0.0.1", 10_000, 1)
    plan = builder.plan("p")
    builder.split(0, 1)
    routes = builder.routes("r")
    for rule in rules:
        builder.rule(*rule, plan)
    builder.listener(0, "in", routes=routes, plan=None, pinned=False, codecs=[wide.address])
    world = World(builder.finish())
    client = world.client()
    for number, i in enumerate(range(0, 10_000, 411)):
        world.feed(client, wide.request(2 * number, f"com.example.Service{i} method{i % 7} x".encode()))
        world.feed(
            client, wide.request(2 * number + 1, f"com.example.Service{i} method{(i + 1) % 7} x".encode())
        )
    assert len(world.take(wide, world.only_upstream())) == 25
    assert [frame[1] for frame in world.take(wide, client)] == [2] * 25


@pytest.mark.parametrize("direct", [True, False])
def test_a_request_that_cannot_be_read_takes_only_the_rule_that_asks_for_nothing(direct):
    codec = dubbo.wire.address
    builder = TableBuilder(LIMITS, seed=1)
    builder.cluster("c", "round-robin", 1, 1000)
    builder.endpoint(0, "127.0.0.1", 10_000, 1)
    plan = builder.plan("p")
    builder.split(0, 1)
    routes = None
    if not direct:
        routes = builder.routes("r")
        builder.rule("com.*", "*", "*", "*", plan)
        builder.rule("*", "*", "*", "*", plan)
    builder.listener(0, "in", routes=routes, plan=plan if direct else None, pinned=False, codecs=[codec])
    world = World(builder.finish())
    client = world.client()
    opaque = bytes.fromhex("dabbcc00") + (5).to_bytes(8, "big") + (4).to_bytes(4, "big") + b"\xff\xfe\xfd\xfc"
    world.feed(client, opaque)  # serialization 12
    assert world.got[world.only_upstream()].endswith(b"\xff\xfe\xfd\xfc")
