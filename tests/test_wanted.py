"""Headers that rules ask for are read at once, and remembered: they lead where each by itself would."""

from __future__ import annotations

import itertools
import random

import pytest
from construct import Const, GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from protokit_dubbo.messages import Call, decode, split
from test_access import Site as Listeners
from test_destinations import BOTH, Site
from test_matching import call_of, headed, pair, request, routed, sent, table
from world import World

from protokit import Protocol, WireFormat
from protokit.wire import ErrorText, Replies, lines, text

CLUSTERS = {f"c{n}": {10_000 + n: ({}, 1)} for n in range(12)}
LONG = ["l" * size for size in (62, 63, 64, 65, 200)]


def rules_of(asked):
    """A rule for each pair of a header's name and its value; the last is for everyone."""
    rules = [
        {"match": {"headers": {name: value}}, "cluster": f"c{n % 11}"}
        for n, (name, value) in enumerate(asked)
    ]
    return [*rules, {"cluster": "c11"}]


def expected(asked, headers):
    for n, (name, value) in enumerate(asked):
        if headers.get(name) == value:
            return 10_000 + n % 11
    return 10_011


def drawn(draws, names):
    """Some headers, of 250 bytes in all as one of the protocols has them."""
    found = {}
    for name in draws.sample(names, len(names)):
        value = draws.choice(["x", "yy", "z", "", "v" * 90])
        if (
            draws.random() < 0.3
            and sum(len(k) + len(v) + 2 for k, v in found.items()) + len(name + value) < 248
        ):
            found[name] = value
    return found


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize(
    "names",
    [
        ["a", "b"],
        ["a", "b", "c", "d", "ee", "ff", "ggg"],  # a route depends on more than it is remembered by
        LONG,
        [f"h{n}" for n in range(90)],  # more than are read at once
        [f"h{n}" for n in range(20)],
    ],
    ids=["two", "seven", "long ones", "ninety", "twenty"],
)
def test_a_rule_is_found_by_headers_whatever_was_asked_before(protocol, names):
    """Also where another table numbers them otherwise, while its codec remembers the requests."""
    draws = random.Random(len(names))
    site = None
    kinds = [drawn(draws, names) for _ in range(12)]
    for _ in range(3):
        asked = [(name, value) for name in names for value in ("x", "yy")]
        draws.shuffle(asked)
        asked = asked[: draws.randrange(1, len(asked) + 1)]
        if site is None:
            site = Site(protocol, rules_of(asked), CLUSTERS)
        else:
            site.reload(rules_of(asked), CLUSTERS)
        for headers in draws.choices(kinds, k=120):
            service = draws.choice(["com.example.One", "com.example.Two"])
            assert site.ask(headers, service=service) == expected(asked, headers), (asked, headers)


@pytest.mark.parametrize("protocol", BOTH)
def test_a_header_that_comes_and_goes_is_not_taken_for_the_one_before(protocol):
    asked = [("tag", "x")]
    site = Site(protocol, rules_of(asked), CLUSTERS)
    for headers in [
        {"tag": "x"},
        {},
        {"tag": "x"},
        {"tag": ""},
        {},
        {"tag": "xx"},
        {"tag": "x"},
        {"other": "x"},
        *[{"tag": tag} for tag in "xyz" for _ in range(3)],
    ]:
        assert site.ask(headers, service="com.example.Demo") == expected(asked, headers), headers


def test_what_is_no_text_is_not_remembered_as_one():
    """A text, and a boolean that Hessian writes as the same byte."""
    site = Site("dubbo", rules_of([("n", "T")]), CLUSTERS)
    for value in ["T", True, "T", True, None, True, "T"]:
        port = 10_000 if value == "T" else 10_011
        assert site.ask({"n": value}, service="com.example.Demo") == port, value


def test_of_a_header_that_stands_there_twice_the_last_counts():
    site = Site("headed", rules_of([("tag", "x")]), CLUSTERS)
    for head, port in [(b"xy", 10_011), (b"yx", 10_000), (b"xy", 10_011)]:
        values = b"".join(pair(b"tag", bytes([value])) for value in head)
        assert site.send(headed(7, b"com.example.Demo", values)) == port


def test_a_generic_call_goes_by_the_method_that_it_names_whatever_was_asked_before():
    """All else of it may be the same."""
    methods = ["aaaa", "bbbb", "cccc"]
    rules = [{"match": {"method": name}, "cluster": f"c{n}"} for n, name in enumerate(methods)]
    site = Site("dubbo", rules, CLUSTERS)
    types = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;"
    for number, name in enumerate(methods * 4, 1):
        call = Call("com.example.Demo", "$invoke", types, [name, [], []], request_id=number)
        assert site.send(call.encode()) == 10_000 + methods.index(name)


def test_what_one_listener_denies_is_not_what_another_does():
    """The same request to as many as are remembered at once, and more."""
    names = [f"l{n}" for n in range(140)]
    site = Listeners({name: {"deny": [{"method": f"m{n % 3}"}]} for n, name in enumerate(names)})
    for name in [names[0], *names, *reversed(names)]:
        said = site.ask(request(service="com.example.Demo", method="m1", listener=name))
        assert (said is None) == (names.index(name) % 3 != 1), name


@pytest.mark.parametrize("protocol", BOTH)
def test_every_reader_of_a_request_sees_the_same(protocol):
    """A match, a choice, a key and a change, of one header and of another."""
    rules = [
        {
            "match": {"headers": {"tag": {"in": ["x", "y"]}}},
            "cluster": {"header": "where", "of": ["c1", "c2"], "else": "c3"},
            "limit": {"rate": "1000000/s", "by": [{"header": "tag"}, {"header": "where"}]},
        },
        {"split": [{"cluster": "c4"}, {"cluster": "c5"}], "sticky": {"header": "where"}},
    ]
    site = Site(protocol, rules, CLUSTERS)

    def ask(headers):
        """Twice: when it comes again the codec remembers it."""
        first = site.ask(headers, service="com.example.Demo")
        assert site.ask(headers, service="com.example.Demo") == first
        return first

    shares = {where: ask({"where": where}) for where in "abcdefgh"}
    assert set(shares.values()) == {10_004, 10_005}
    for _ in range(3):
        for tag in ("x", "y", "z"):
            assert ask({"tag": tag, "where": "c1"}) == (10_001 if tag != "z" else ask({"where": "c1"}))
            assert ask({"tag": tag, "where": "c2"}) == (10_002 if tag != "z" else ask({"where": "c2"}))
            assert ask({"where": "a", "tag": tag}) == (10_003 if tag != "z" else shares["a"])


@pytest.mark.parametrize("protocol", BOTH)
def test_what_one_table_asks_for_is_not_what_another_does(protocol):
    """The same request again, whose headers another table numbers otherwise."""
    headers = {"a": "1", "b": "2", "c": "3"}
    site = Site(protocol, rules_of([("a", "1")]), CLUSTERS)
    for asked in ([("b", "2")], [("c", "1"), ("b", "2")], [("b", "1"), ("c", "3")], [("d", "1")]):
        assert site.ask(headers, service="com.example.Demo")
        site.reload(rules_of(asked), CLUSTERS)
        assert site.ask(headers, service="com.example.Demo") == expected(asked, headers), asked


# The same fields as HEADED, with headers in lines, of which the first of a name counts or the last.
LINED = Struct(
    Const(b"HD"),
    "kind" / Int8ub,
    "id" / Int16ub,
    "service" / Prefixed(Int8ub, GreedyBytes),
    "head" / Prefixed(Int8ub, GreedyBytes),
)


def lined(repeated, ignore_case):
    wire = WireFormat(
        LINED,
        id=this.id,
        response=this.kind == 1,
        oneway=this.kind == 2,
        service=text(this.service),
        headers=lines(this.head, ":", ";", repeated=repeated, ignore_case=ignore_case),
        replies=Replies(error=lambda status, variant: {"kind": 1, "service": b"", "head": ErrorText()}),
    )
    return Protocol("lined", wire, "with lines")


@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize("repeated", ["first", "last"])
def test_of_lines_that_stand_there_twice_the_first_counts_where_it_does_for_readers(repeated, ignore_case):
    rules = [{"headers": {name: value}} for value in "xyz" for name in ("tag", "Tag")]
    world = World(table([*rules, {}], protocol=lined(repeated, ignore_case)))
    client = world.client()
    names = [b"tag", b"Tag", b"TAG", b"other"]
    for number, (lead, back, values) in enumerate(itertools.product(names, names, [b"xy", b"yx", b"zz"])):
        head = b"%s:%c;%s:%c;" % (lead, values[0], back, values[1])
        stands = [(lead.decode(), chr(values[0])), (back.decode(), chr(values[1]))]

        def says(name, stands=stands):
            found = [v for k, v in stands if (k.lower() == name.lower() if ignore_case else k == name)] or [
                None
            ]
            return found[0 if repeated == "first" else -1]

        expected = next((i for i, r in enumerate(rules) for n, v in r["headers"].items() if says(n) == v), 6)
        assert sent(world, client, headed(number, b"com.example.Demo", head)) == expected, head


ASKED = [
    {"headers": {"tag": tag} if tag else {}, "arguments": [argument], "source": source, "service": service}
    for tag in ("x", "y", "")
    for argument in ("gold", "tin")
    for source in ("10.0.0.1", "11.0.0.1")
    for service in ("com.example.One", "com.example.Two")
]


def fits(match, asked):
    """A plain reading of such a match."""
    return (
        match.get("headers", {}).items() <= asked["headers"].items()
        and match.get("arguments", {"0": asked["arguments"][0]})["0"] == asked["arguments"][0]
        and ("source" not in match or asked["source"].startswith("10."))
        and match.get("service", asked["service"]) == asked["service"]
    )


MIXED = [
    {"headers": {"tag": "x"}, "arguments": {"0": "gold"}, "service": "com.example.One"},
    {"headers": {"tag": "x"}, "source": "10.0.0.0/8"},
    {"headers": {"tag": "y"}, "service": "com.example.Two"},
    {"arguments": {"0": "gold"}, "source": "10.0.0.0/8"},
]


def test_what_a_rule_asks_beside_headers_is_not_remembered_with_them():
    world = World(table([*MIXED, {}]))
    clients = {source: world.client(0, source) for source in ("10.0.0.1", "11.0.0.1")}
    draws = random.Random(5)
    for number, asked in enumerate(draws.choices(ASKED, k=400), 1):
        expected = next((i for i, match in enumerate(MIXED) if fits(match, asked)), len(MIXED))
        assert routed(world, clients[asked["source"]], request(**asked), number) == expected, asked


@pytest.mark.parametrize("seed", range(6))
def test_what_listeners_deny_by_headers_is_remembered_for_these(seed):
    """By rules that deny, allow and only count, in front of routes that ask for the same headers."""
    draws = random.Random(seed)
    given = {
        "deny": draws.sample(MIXED, 2),
        "allow": [*draws.sample(MIXED, 2), {"not": {"headers": {"tag": "x"}}}],
        "dry_run": {"deny": draws.sample(MIXED, 2)},
    }
    site = Listeners({"in": given}, rule={"match": {"headers": {"tag": {"in": ["x", "y"]}}}})
    for asked in draws.choices(ASKED, k=200):
        denied = any(fits(match, asked) for match in given["deny"])
        allowed = asked["headers"] != {"tag": "x"} or any(fits(m, asked) for m in given["allow"][:2])
        site.number += 1
        client = site.client("in", asked["source"])
        site.world.feed(client, call_of(request(**asked), site.number).encode())
        said = None if site.sent() else decode(split(site.told(client))[0][0]).value
        if denied or not allowed:
            assert said.startswith("protokit: denied"), asked
        elif asked["headers"]:
            assert said is None, asked
        else:
            assert said.startswith("protokit: no route"), asked
