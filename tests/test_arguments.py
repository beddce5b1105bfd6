"""Rules, limits and keys that go by the arguments of calls."""

from __future__ import annotations

import json

import pytest
from construct import (
    Bytes,
    Check,
    Const,
    GreedyBytes,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)
from protokit_dubbo.hessian import Object
from protokit_dubbo.messages import Call
from test_matching import configured, table
from world import World

from protokit import Protocol, WireFormat, config
from protokit.cli.route import explain
from protokit.control.build import build_snapshot
from protokit.dataplane.compile import Identities, compile_snapshot
from protokit.errors import ConfigErrors
from protokit.native.routing import Words
from protokit.wire import ErrorText, Replies, msgpack, number, text

STRING = "Ljava/lang/String;"


def called(*arguments, request_id=1, descriptor=None, **more):
    types = "Ljava/lang/Object;" * len(arguments) if descriptor is None else descriptor
    return Call("s", "m", types, [*arguments], request_id=request_id, **more).encode()


def by(world, client, frame):
    """The rule that a frame was sent by, or what its client was told."""
    world.feed(client, frame)
    got = [port - 10_000 for up, (_, port) in world.upstreams.items() if world.got[up]]
    for up in world.upstreams:
        world.got[up].clear()
    told = bytes(world.got[client])
    world.got[client].clear()
    return got[0] if got else told


@pytest.mark.parametrize(
    ("form", "holding", "not_holding"),
    [
        ("gold", ["gold"], ["golden", "", None, 4, b"gold", ["gold"]]),
        ("7", [7, "7"], [70, -7, 7.0, True, None]),
        ("-9223372036854775808", [-(2**63)], [-(2**63) + 1]),
        ("9223372036854775807", [2**63 - 1], [2**63 - 2]),
        ("0", [0, "0"], [False, "", 0.0]),
        ("true", [True, "true"], [False, 1]),
        ("false", [False], [True, 0, None]),
        ({"range": [1, 100]}, [1, 100, "50"], [0, 101, 50.0, "x", None]),
        ({"in": ["a", "5"]}, ["a", 5, "5"], ["b", 6]),
        ({"regex": "[a-c]+"}, ["abc"], ["abd", 1]),
        ({"present": True}, ["", 0, 1.5, b"x", [1], {"a": 1}, False], [None]),
        ({"present": False}, [None], ["", 0, 1.5, b"x"]),
        ("*", ["", 1.5, [1]], [None]),
    ],
)
def test_an_argument_is_asked_for_as_a_text(form, holding, not_holding):
    world = World(table([{"arguments": {"1": form}}, {}]))
    client = world.client()
    for number_, value in enumerate(holding + not_holding, 1):
        frame = called("first", value, request_id=number_)
        assert by(world, client, frame) == (0 if number_ <= len(holding) else 1), value
    there = form == {"present": False}
    assert by(world, client, called("only", request_id=99)) == (0 if there else 1)


def test_arguments_of_a_generic_call_are_those_of_the_method_that_it_names():
    world = World(table([{"method": "m", "arguments": {"0": "gold", "1": {"range": [5, 9]}}}, {}]))
    client = world.client()
    types = f"{STRING}[{STRING}[Ljava/lang/Object;"

    def generic(request_id, *arguments):
        named = ["m", ["java.lang.String"] * len(arguments), [*arguments]]
        return Call(
            "s", "$invoke", types, named, request_id=request_id, attachments={"generic": "true"}
        ).encode()

    assert by(world, client, generic(1, "gold", 7)) == 0
    assert by(world, client, generic(2, "gold", 10)) == 1
    assert by(world, client, generic(3, "m", 7)) == 1


USER = {"tier": "gold", "id": 7, "tags": ["vip", 3], "a.b": {"c": "dot"}, "none": None}


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ({"0.tier": "gold"}, True),
        ({"0.tier": "lead"}, False),
        ({"0.id": {"range": [5, 9]}}, True),
        ({"0.tags.0": "v*", "0.tags.1": "3"}, True),
        ({"0.tags.2": {"present": False}}, True),
        ({"0.tags.2": "*"}, False),
        ({"0.none": {"present": False}}, True),
        ({"0.tier.x": {"present": False}}, True),
        ({"0.tags": {"present": True}}, True),
        ({r"0.a\.b.c": "dot"}, True),
        ({"0.a.b.c": "dot"}, False),
        ({"1.tier": "gold"}, False),
    ],
)
@pytest.mark.parametrize("generic", [False, True])
def test_what_is_inside_of_an_argument_is_asked_for_by_its_path(asked, holds, generic):
    world = World(table([{"arguments": asked}, {}]))
    user = USER if generic else Object("demo.User", USER)
    frame = called(user, request_id=1)
    if generic:
        types = f"{STRING}[{STRING}[Ljava/lang/Object;"
        frame = Call("s", "$invoke", types, ["m", ["demo.User"], [USER]], request_id=1).encode()
    assert by(world, world.client(), frame) == (0 if holds else 1)


def test_nothing_is_routed_around_what_is_inside_and_cannot_be_read():
    world = World(table([{"service": "a"}, {"arguments": {"0.tier": "gold"}}, {}]))
    client = world.client()
    long = {"tier": "gold" * 20_000}  # in pieces
    assert REFUSED in by(world, client, called(long, request_id=1))
    assert by(world, client, called({"other": long}, request_id=2)) == 2
    assert REFUSED in by(world, client, called({7: 1, "7": 2, "tier" * 10_000: 3}, request_id=3))
    assert by(world, client, called({"tier": "gold"}, request_id=4)) == 1


@pytest.mark.parametrize("by_path", [False, True])
def test_what_a_client_nests_costs_its_own_request_and_no_other(by_path):
    """Frames of references and levels, and a neighbour beside them."""
    path = ".".join("a" * 16) if by_path else ""
    rules = [{"arguments": {f"0.{path}" if path else "0": "gold"}}, {}]
    world = World(table(rules))
    bad, good = world.client(), world.client()
    loop: dict[str, object] = {}
    loop["a"] = loop
    for number_ in range(1, 40, 2):
        assert by(world, bad, called(loop, request_id=number_)) == 1
        assert by(world, good, called("lead", request_id=number_ + 1)) == 1


# Two arguments as views, the second in digits, behind a service that can always be read.
VIEWED = WireFormat(
    Struct(
        Const(b"VW"),
        "kind" / Int8ub,
        "id" / Int16ub,
        "service" / Prefixed(Int8ub, GreedyBytes),
        "first" / Prefixed(Int8ub, GreedyBytes),
        "digits" / Prefixed(Int8ub, GreedyBytes),
    ),
    id=this.id,
    response=this.kind == 1,
    oneway=this.kind == 2,
    service=text(this.service),
    arguments=(text(this.first), number(this.digits)),
    replies=Replies(
        error=lambda status, variant: {"kind": 1, "service": b"", "first": ErrorText(), "digits": b""}
    ),
)
# An array in MessagePack, which may be malformed.
PACKED = WireFormat(
    Struct(
        Const(b"PK"),
        "kind" / Int8ub,
        "id" / Int16ub,
        "service" / Prefixed(Int8ub, GreedyBytes),
        "params" / Prefixed(Int16ub, GreedyBytes),
    ),
    id=this.id,
    response=this.kind == 1,
    service=text(this.service),
    arguments=msgpack(this.params),
    replies=Replies(error=lambda status, variant: {"kind": 1, "service": b"", "params": ErrorText()}),
)


def viewed(request_id, first, digits):
    return VIEWED.build({"kind": 0, "id": request_id, "service": b"s", "first": first, "digits": digits})


def packed(request_id, service, params):
    return PACKED.build({"kind": 0, "id": request_id, "service": service, "params": params})


def test_arguments_of_a_declared_format():
    rules = [{"arguments": {"1": {"range": [10, 20]}}}, {"arguments": {"0": "a*"}}, {}]
    world = World(table(rules, Protocol("viewed", VIEWED, "views")))
    client = world.client()
    sent = [(b"a", b"15"), (b"ab", b"21"), (b"b", b"9"), (b"x", b"20")]
    got = [by(world, client, viewed(n, first, digits)) for n, (first, digits) in enumerate(sent, 1)]
    assert got == [0, 1, 2, 0]


CUT = b"\x92\xa5gol"
REFUSED = b"] asks for headers or arguments of the request, which cannot be read"


def test_nothing_is_routed_around_arguments_that_cannot_be_read():
    rules = [{"service": "a"}, {"arguments": {"0": "gold"}}, {"service": "c"}, {}]
    world = World(table(rules, Protocol("packed", PACKED, "packed")))
    client = world.client()
    assert by(world, client, packed(1, b"b", b"\x91\xa4gold")) == 1
    assert by(world, client, packed(2, b"b", b"\x91\xa4lead")) == 3
    assert by(world, client, packed(3, b"b", b"\x90")) == 3
    assert by(world, client, packed(4, b"a", CUT)) == 0  # in front of it
    for request_id, service in enumerate((b"b", b"c", b"d"), 5):
        assert REFUSED in by(world, client, packed(request_id, service, CUT))


def test_what_is_inside_of_a_declared_array():
    rules = [{"arguments": {"0.user.7": "gold"}}, {"arguments": {"0.1": "x"}}, {}]
    world = World(table(rules, Protocol("packed", PACKED, "packed")))
    client = world.client()
    user = b"\x91\x81\xa4user"  # [{"user": ...
    assert by(world, client, packed(1, b"b", user + b"\x81\xa17\xa4gold")) == 0  # {"7": "gold"}
    assert by(world, client, packed(2, b"b", user + b"\x81\x07\xa4gold")) == 0  # {7: "gold"}
    assert by(world, client, packed(3, b"b", user + b"\x81\x08\xa4gold")) == 2
    assert by(world, client, packed(4, b"b", b"\x91\x92\x01\xa1x")) == 1  # [[1, "x"]]
    assert REFUSED in by(world, client, packed(5, b"b", user + b"\x82\x07\xa4gold\xa17\xa4lead"))
    assert REFUSED in by(world, client, packed(6, b"b", user + b"\x81\xa17\xa4gol"))


def test_arguments_that_no_rule_asks_for_are_not_read():
    world = World(table([{"service": "a"}, {}], Protocol("packed", PACKED, "packed")))
    assert by(world, world.client(), packed(1, b"b", CUT)) == 1


# What stands behind the argument nobody looks at: without rules for arguments it is passed on as it comes.
LONG = WireFormat(
    Struct(
        "kind" / Int8ub,
        Check(this.kind < 2),
        "id" / Int32ub,
        "key_len" / Rebuild(Int8ub, len_(this.key)),
        "key" / Bytes(this.key_len),
        "body_len" / Rebuild(Int32ub, len_(this.body)),
        "body" / Bytes(this.body_len),
    ),
    id=this.id,
    mode="pinned",
    response=this.kind == 1,
    service=text(this.key),
    arguments=(text(this.key),),
    replies=Replies(error=lambda status, variant: {"kind": 1, "key": b"", "body": ErrorText()}),
)


@pytest.mark.parametrize("asks", [False, True])
def test_a_large_frame_is_read_whole_where_arguments_are_asked_for(asks):
    rules = [{"arguments": {"0": "gold"}}, {}] if asks else [{"service": "gold"}, {}]
    world = World(table(rules, Protocol("long", LONG, "long")))
    client = world.client()
    frame = LONG.build({"kind": 0, "id": 1, "key": b"gold", "body": b"x" * 300_000})
    world.feed(client, frame[:100_000])
    there = sum(len(world.got[up]) for up in world.upstreams)
    assert (there == 0) if asks else (there > 0)
    world.feed(client, frame[100_000:])
    ((up, (_, port)),) = [(up, at) for up, at in world.upstreams.items() if world.got[up]]
    assert (bytes(world.got[up]), port) == (frame, 10_000)


def written(rule, *, cluster=None, protocol="dubbo"):
    return {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": protocol, "routes": "r"}],
        "routes": [{"name": "r", "rules": [{"cluster": "c", **rule}]}],
        "clusters": [{"name": "c", "endpoints": ["127.0.0.1:1"], **(cluster or {})}],
    }


NUMBER = "arguments: expected a number from 0 to 999, or a path into one (0.user.id), got "


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"match": {"arguments": {"x": "a"}}}, f"{NUMBER}'x'"),
        ({"match": {"arguments": {"1000": "a"}}}, f"{NUMBER}'1000'"),
        ({"match": {"arguments": {"01": "a"}}}, f"{NUMBER}'01'"),
        ({"match": {"arguments": {"0.": "a"}}}, f"{NUMBER}'0.'"),
        ({"match": {"arguments": {"0..a": "a"}}}, f"{NUMBER}'0..a'"),
        ({"match": {"arguments": {"0.a" + ".b" * 16: "a"}}}, f"{NUMBER}'0.a.b"),
        ({"match": {"arguments": {"0." + "x" * 256: "a"}}}, f"{NUMBER}'0.xxx"),
        ({"match": {"arguments": {r"0.a\b": "a"}}}, NUMBER),
        ({"match": {"arguments": {".a": "a"}}}, f"{NUMBER}'.a'"),
        ({"match": {"arguments": {"0": {"range": [2, 1]}}}}, "range: expected the first and the last number"),
        (
            {"limit": {"rate": "1/s", "by": {"argument": 1000}}},
            "expected service, method, source, {header: NAME} or {argument: 0 to 999}",
        ),
        (
            {"limit": {"rate": "1/s", "by": {"argument": "x"}}},
            "expected service, method, source, {header: NAME} or {argument: 0 to 999}",
        ),
        (
            {"limit": {"rate": "1/s", "by": {"argument": 1, "header": "a"}}},
            "expected service, method, source, {header: NAME} or {argument: 0 to 999}",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(rule, said, tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_text(json.dumps(written(rule)))
    with pytest.raises(ConfigErrors, match="1:[0-9]+: ") as caught:
        config.load(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ({"match": {"arguments": {"0": "a"}}}, "ask for service, method, version or group"),
        ({"match": {"not": {"arguments": {"0": "a"}}}}, "ask for service, method, version or group"),
        ({"limit": {"rate": "1/s", "by": {"argument": 0}}}, "take service, method or source"),
    ],
)
def test_a_protocol_whose_arguments_cannot_be_read_is_refused(rule, where):
    with pytest.raises(ConfigErrors) as caught:
        config.load(written(rule, protocol="hsf"))
    assert f"arguments cannot be read in a protocol that this rule is for ('hsf'); {where}" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "rule",
    [
        {"match": {"arguments": {"0.a": "x"}}},
        {"match": {"not": {"arguments": {"0.a": "x"}}}},
        {"limit": {"rate": "1/s", "by": {"argument": "0.a"}}},
        {"sticky": {"argument": "0.a"}, "cluster": None, "split": [{"cluster": "c"}]},
    ],
)
def test_a_protocol_whose_arguments_cannot_be_looked_into_is_refused(rule, tmp_path):
    (tmp_path / "viewed.py").write_text(PLUGIN)
    made = written(rule, protocol="viewed")
    made["routes"][0]["rules"][0] = {k: v for k, v in made["routes"][0]["rules"][0].items() if v is not None}
    made["plugins"] = [str(tmp_path / "viewed.py")]
    with pytest.raises(ConfigErrors) as caught:
        config.load(made)
    assert "what is inside of arguments cannot be read in a protocol that this rule is for" in str(
        caught.value
    )


PLUGIN = """
from construct import *
from protokit import Protocol, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies, text

V = WireFormat(
    Struct("kind" / Int8ub, "id" / Int16ub, "first" / Prefixed(Int8ub, GreedyBytes)),
    id=this.id, response=this.kind == 1, service=text(this.first), arguments=(text(this.first),),
    replies=Replies(error=lambda status, variant: {"kind": 1, "first": ErrorText()}),
)

@hookimpl
def protokit_protocols():
    return [Protocol("viewed", V, "views")]
"""


def test_a_key_inside_of_an_argument_keeps_requests_together():
    loaded = config.load(
        written(
            {"limit": {"rate": "1/s", "burst": 1, "by": {"argument": "0.tenant"}}},
            cluster={
                "endpoints": [f"127.0.0.1:{port}" for port in range(1, 9)],
                "balance": "maglev",
                "hash": {"argument": "0.user.0"},
            },
        )
    )
    world = World(compile_snapshot(build_snapshot(loaded), Identities(), Identities(), 7).table)
    client = world.client()
    got = {}
    for turn in range(2):
        for key in range(24):
            user = Object("demo.User", {"tenant": f"t{key}", "user": [key % 4]})
            world.feed(client, called(user, request_id=100 * turn + key + 1))
            ups = [port for up, (_, port) in world.upstreams.items() if world.got[up]]
            for up in world.upstreams:
                world.got[up].clear()
            assert (b"rate limit of rule r[0]" in bytes(world.got[client])) == (turn == 1)
            world.got[client].clear()
            got.setdefault(key % 4, set()).update(ups)
    assert all(len(ports) == 1 for ports in got.values())
    assert len(set.union(*got.values())) > 1


def test_a_key_that_is_an_argument_keeps_requests_together():
    """At most two a key, whoever asks, and the same endpoint for one."""
    loaded = config.load(
        written(
            {"limit": {"rate": "1/s", "burst": 2, "by": {"argument": 0}}},
            cluster={
                "endpoints": [f"127.0.0.1:{port}" for port in range(1, 9)],
                "balance": "maglev",
                "hash": {"argument": 1},
            },
        )
    )
    world = World(compile_snapshot(build_snapshot(loaded), Identities(), Identities(), 7).table)
    client = world.client()
    got = {}
    for turn in range(3):
        for key in range(40):
            world.feed(client, called(key, f"k{key % 4}", request_id=100 * turn + key + 1))
            ups = [port for up, (_, port) in world.upstreams.items() if world.got[up]]
            for up in world.upstreams:
                world.got[up].clear()
            refused = b"rate limit of rule r[0]" in bytes(world.got[client])
            world.got[client].clear()
            assert refused == (turn == 2), (turn, key)
            if not refused:
                got.setdefault(key % 4, set()).update(ups)
    assert all(len(ports) == 1 for ports in got.values())
    assert len(set.union(*got.values())) > 1


def test_route_says_which_argument_is_another():
    loaded, document = configured([{"arguments": {"0": "gold", "1": {"range": [1, 5]}}}, {}])
    facts = explain(loaded, document, "in", Words("s", "m", arguments={"0": "gold", "1": "7"}))
    assert facts["before"][0]["why"] == "argument 1 is '7', expected {range: [1, 5]}"
    assert facts["depth"] == "arguments"
    facts = explain(loaded, document, "in", called("gold", 3))
    assert (facts["rule"]["number"], facts["request"]["arguments"]) == (1, {"0": "gold", "1": "3"})
    loaded, document = configured([{"arguments": {"0.user.tier": "gold"}}, {}])
    facts = explain(loaded, document, "in", Words("s", "m", arguments={"0.user.tier": "gold"}))
    assert facts["rule"]["number"] == 1
    facts = explain(loaded, document, "in", Words("s", "m", arguments={"0.user": "gold", "0": "gold"}))
    assert facts["before"][0]["why"] == "there is no argument 0.user.tier, expected 'gold'"
    facts = explain(loaded, document, "in", called({"user": {"tier": "lead"}}))
    assert facts["before"][0]["why"] == "argument 0.user.tier is 'lead', expected 'gold'"
    facts = explain(loaded, document, "in", called({"user": {"tier": "gold"}}))
    assert (facts["rule"]["number"], facts["request"]["arguments"]) == (1, {"0": None, "0.user.tier": "gold"})
    loaded, document = configured([{"arguments": {"0": "gold", "1": {"range": [1, 5]}}}, {}])
    facts = explain(loaded, document, "in", called("gold"))
    assert facts["before"][0]["why"] == "there is no argument 1, expected {range: [1, 5]}"
