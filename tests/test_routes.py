"""Routing tables: the compiled look-up against a plain reading of the rules, in order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import LIMITS, World

from protokit import native

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
    builder = native.TableBuilder(LIMITS, seed=5)
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


@settings(max_examples=300, deadline=None)
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


def test_ten_thousand_rules_are_all_found(wide):
    rules = [(f"com.example.Service{i}", f"method{i % 7}", "*", "*") for i in range(10_000)]
    builder = native.TableBuilder(LIMITS, seed=9)
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
    from protokit_dubbo import dubbo

    codec = dubbo.wire.address
    builder = native.TableBuilder(LIMITS, seed=1)
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
