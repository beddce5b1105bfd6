"""What rules ask of requests: the engine against a plain reading of the configuration, in order."""

from __future__ import annotations

import functools
import ipaddress
import itertools
import json
import re
import struct

import pytest
from asked import NAMES, NETWORKS, SOURCES, argument, holds, is_from
from construct import Const, GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo.messages import Call
from world import World

from protokit import Protocol, WireFormat, config, plugins
from protokit.cli.route import explain
from protokit.config.document import Document, read
from protokit.config.explained import Asking, why_not
from protokit.config.findings import Findings
from protokit.config.regex import MOST_STATES, automaton, stars
from protokit.control.build import build_snapshot
from protokit.dataplane.compile import Identities, compile_snapshot
from protokit.errors import ConfigErrors
from protokit.native.routing import Words
from protokit.wire import ErrorText, Replies, pairs, text
from protokit.wire import json as json_view

REGEXES = ["a.*", "a|b", r"com\.[xy](\.Y)?", r"\w+", "[^.]*", ""]

PAIRS = re.compile(r"\\ud[89ab]..\\ud[c-f]..")


@functools.cache
def registry():
    """What those tables name, loaded once."""
    return plugins.load(["dubbo", "bolt"])


def configured(matches, protocol=None, listeners=None, rules=None):
    """Rule i leads to port 10000 + i; also with rules that are never reached.

    ``listeners``: what they are, by name, instead of one of that protocol. ``rules``: what all of them say
    beside.
    """
    name = "dubbo" if protocol is None else protocol.name
    known = {"in": {"protocol": name}} if listeners is None else listeners
    every = {
        "listeners": [
            {"name": name, "bind": f"127.0.0.1:{i + 1}", "routes": "r"} | one
            for i, (name, one) in enumerate(known.items())
        ],
        "routes": [
            {
                "name": "r",
                "rules": [
                    {"match": match, "cluster": f"c{i}"} | (rules or {}) for i, match in enumerate(matches)
                ],
            }
        ],
        "clusters": [
            {"name": f"c{i}", "endpoints": [f"127.0.0.1:{10_000 + i}"]} for i in range(len(matches))
        ],
    }
    # YAML has characters beyond U+FFFF as they are, and no halves of them.
    document = Document(PAIRS.sub(lambda pair: json.loads(f'"{pair[0]}"'), json.dumps(every)), "test")
    reading = read(document)
    assert not reading.errors
    have = registry()
    if protocol is not None:
        have.protocols[name] = protocol
    return config.Loaded(reading.config, have, "test", Findings(document)), document


def table(*rules, known=(), **more):
    """What the engine makes of that; ``known``: identities of endpoints and listeners that last."""
    loaded, _ = configured(*rules, **more)
    return compile_snapshot(build_snapshot(loaded), *(known or (Identities(), Identities())), 7).table


def routed(world, client, asked, number=1):
    """The rule by which the engine sent a request, or None."""
    world.feed(client, call_of(asked, number).encode())
    got = [port - 10_000 for up, (_, port) in world.upstreams.items() if world.got[up]]
    for up in world.upstreams:
        world.got[up].clear()
    assert len(got) < 2
    return got[0] if got else None


def call_of(asked, number=1):
    return Call(
        asked["service"],
        asked["method"],
        "Ljava/lang/Object;" * len(asked.get("arguments", ())),
        [*asked.get("arguments", ())],
        version=asked["version"],
        attachments={"group": asked["group"], **asked["headers"]} if asked["group"] else asked["headers"],
        request_id=number,
        twoway=not asked["oneway"],
    )


names = st.sampled_from(NAMES)
numbers = st.integers(-3, 12)
forms = st.one_of(
    names,
    names.map(lambda text: text + "*"),
    names.map(lambda text: "*" + text),
    st.sampled_from(["*", "a*b", "*x*", "com.*.Y"]),
    st.builds(lambda how, text: {how: text}, st.sampled_from(["exact", "prefix", "suffix"]), names),
    st.lists(names, min_size=1, max_size=9).map(lambda texts: {"in": texts}),
    st.sampled_from(REGEXES).map(lambda text: {"regex": text}),
    st.tuples(numbers, numbers).map(lambda two: {"range": sorted(two)}),
    st.booleans().map(lambda there: {"present": there}),
)
headers = st.dictionaries(st.sampled_from(["tag", "tenant"]), forms, max_size=2)
plain = st.fixed_dictionaries(
    {},
    optional={
        "service": forms,
        "method": forms,
        "version": forms,
        "group": forms,
        "headers": headers,
        "arguments": st.dictionaries(st.sampled_from(["0", "1", "2"]), forms, max_size=2),
        "oneway": st.booleans(),
        "source": st.sampled_from(NETWORKS) | st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=4),
        "listener": st.sampled_from(["in", "side", ["side", "in"], ["side"]]),
        "protocol": st.sampled_from(["dubbo", "bolt", ["bolt", "dubbo"]]),
    },
)
matches = st.recursive(
    plain,
    lambda inner: st.builds(
        lambda one, more: one | more,
        plain,
        st.fixed_dictionaries(
            {},
            optional={
                "all": st.lists(inner, min_size=1, max_size=2),
                "any": st.lists(inner, min_size=1, max_size=3),
                "not": inner,
            },
        ),
    ),
    max_leaves=5,
)
values = st.one_of(names, numbers.map(str), st.sampled_from(["+7", "-", "1e1", "ж", "99999999999999999999"]))
requests = st.fixed_dictionaries(
    {
        "service": names,
        "method": names,
        "version": st.sampled_from(["1", "2.0", "ab"]),
        "group": st.sampled_from(["", "g", "ab"]),
        "headers": st.dictionaries(st.sampled_from(["tag", "tenant", "other"]), values, max_size=3),
        "arguments": st.lists(names | numbers | st.booleans() | st.none(), max_size=3),
        "oneway": st.booleans(),
        "source": st.sampled_from(SOURCES),
        "listener": st.sampled_from(["in", "side"]),
        "protocol": st.just("dubbo"),
    }
)


SHARING = {"in": {"protocol": "dubbo"}, "side": {"protocol": ["bolt", "dubbo"]}}


@settings(max_examples=many(300))
@given(
    tables=st.lists(st.lists(matches, min_size=1, max_size=8), min_size=1, max_size=3),
    asked=st.lists(requests, min_size=1, max_size=6),
)
def test_the_first_rule_whose_match_holds_decides(tables, asked):
    """Reloads in between: clients and servers stay, and what was remembered is of another table."""
    known, numbers = (Identities(), Identities()), itertools.count(1)
    world, clients = World(table(tables[0], listeners=SHARING, known=known)), {}
    for at, rules in enumerate(tables):
        if at > 0:
            world.apply(table(rules, listeners=SHARING, known=known))
        for one in asked * 2:
            who = (one["listener"], one["source"])
            if who not in clients:
                clients[who] = world.client([*SHARING].index(who[0]), who[1])
            expected = next((i for i, match in enumerate(rules) if holds(match, one)), None)
            assert routed(world, clients[who], one, next(numbers)) == expected, one


@settings(max_examples=many(100))
@given(rules=st.lists(matches, min_size=1, max_size=6), asked=st.lists(requests, min_size=1, max_size=3))
def test_what_is_explained_is_what_the_engine_does(rules, asked):
    """In words and as a frame, for the rule that matches and for each in front of it."""
    loaded, document = configured(rules, listeners=SHARING)
    for one in asked:
        expected = next((i for i, match in enumerate(rules) if holds(match, one)), None)
        texts = (one["service"], one["method"], one["version"], one["group"])
        given = {str(n): argument(one["arguments"], n) for n in range(3)}
        given = {number: value for number, value in given.items() if value is not None}
        words = Words(*texts, one["headers"], one["oneway"], given)
        for said in (words, call_of(one).encode()):
            facts = explain(loaded, document, one["listener"], said, one["source"], one["protocol"])
            assert (facts["rule"] and facts["rule"]["number"] - 1) == expected
            assert all(one["why"] for one in facts["before"])
            assert len(facts["before"]) == (len(rules) if expected is None else expected)
            told = {name: facts["request"][name] for name in ("service", "method", "version", "group")}
            assert told == {name: one[name] for name in told}
            assert facts["request"]["arguments"] == given
            who = (one["source"], one["listener"], "dubbo")
            asking = Asking(*texts, facts["request"]["headers"], one["oneway"], *who, arguments=given)
            whys = [why_not(rule.match, asking) for rule in loaded.config.routes[0].rules]
            assert [why is None for why in whys] == [holds(match, one) for match in rules]


def request(**changed):
    return {
        "service": "s",
        "method": "m",
        "version": "1",
        "group": "",
        "headers": {},
        "arguments": [],
        "oneway": False,
    } | changed


@pytest.mark.parametrize("kind", ["all", "any", "not"])
def test_matches_stand_in_one_another_seven_deep(kind):
    """What the check lets through the engine takes, with as much in each as can be."""
    match = {"headers": {"tag": {"present": False}}, "oneway": False}
    for depth in range(9):
        every = {"routes": [{"name": "r", "rules": [{"match": match, "reply": {"status": "denied"}}]}]}
        every |= {"listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r"}]}
        if depth > 7:
            with pytest.raises(ConfigErrors, match="matches stand in one another: 7 deep at most"):
                config.load(every | {"clusters": []})
            break
        loaded = config.load(every | {"clusters": []})
        compile_snapshot(build_snapshot(loaded), Identities(), Identities(), 7).table.free()
        inner = match if kind == "not" else [match, {"service": "*x"}]
        match = {kind: inner, "service": "*y", "headers": {"tag": {"present": False}}}


@pytest.mark.slow
def test_ten_thousand_rules_that_differ_in_a_headers_value():
    rules = [{"service": "s", "headers": {"tenant": f"t{i}"}} for i in range(10_000)]
    world = World(table([*rules[:5000], {"service": "s", "headers": {"tag": "x"}}, *rules[5000:], {}]))
    client = world.client()
    for number, (asked, expected) in enumerate(
        [
            ({"tenant": "t0"}, 0),
            ({"tenant": "t4999"}, 4999),
            ({"tenant": "t5000"}, 5001),
            ({"tenant": "t5000", "tag": "x"}, 5000),
            ({"tenant": "t9"} | {"tag": "x"}, 9),
            ({"tenant": "none"}, 10_001),
            ({}, 10_001),
        ],
        1,
    ):
        assert routed(world, client, request(headers=asked), number) == expected


# A declared protocol whose headers can be malformed behind a service that can be read.
HEADED = WireFormat(
    Struct(
        Const(b"HD"),
        "kind" / Int8ub,  # 0 request, 1 answer, 2 one-way
        "id" / Int16ub,
        "service" / Prefixed(Int8ub, GreedyBytes),
        "head" / Prefixed(Int8ub, GreedyBytes),
    ),
    id=this.id,
    response=this.kind == 1,
    oneway=this.kind == 2,
    service=text(this.service),
    headers=pairs(this.head, key=Int8ub, value=Int8ub),
    replies=Replies(error=lambda status, variant: {"kind": 1, "service": b"", "head": ErrorText()}),
)


def headed(number, service, head, kind=0):
    return HEADED.build({"kind": kind, "id": number, "service": service, "head": head})


def headed_world(*rules):
    return World(table(rules, Protocol("headed", HEADED, "with headers")))


def sent(world, client, frame):
    """The rule it was sent by, or what it was told."""
    world.feed(client, frame)
    got = [port - 10_000 for up, (_, port) in world.upstreams.items() if world.got[up]]
    for up in world.upstreams:
        world.got[up].clear()
    told = bytes(world.got[client])
    world.got[client].clear()
    return got[0] if got else HEADED.parse(told)[0].head.decode()


TAGGED = b"\x03tag\x01x"
BROKEN = b"\x03tag\x09x"
UNREADABLE = (
    "protokit: rule r[1] asks for headers or arguments of the request, which cannot be read: they are"
    " malformed"
)


@pytest.mark.parametrize("form", ["x", {"prefix": "x"}, {"present": True}, {"present": False}])
def test_nothing_is_routed_around_headers_that_cannot_be_read(form):
    """A rule that asks for them may be meant: none behind it is for the request, and all before it are."""
    world = headed_world({"service": "a"}, {"headers": {"tag": form}}, {"service": "c"}, {})
    client = world.client()
    there = form != {"present": False}
    assert sent(world, client, headed(1, b"b", TAGGED)) == (1 if there else 3)
    assert sent(world, client, headed(2, b"b", b"")) == (3 if there else 1)
    assert sent(world, client, headed(3, b"a", BROKEN)) == 0
    for number, service in enumerate((b"b", b"c", b"d"), 4):
        assert sent(world, client, headed(number, service, BROKEN)).startswith(UNREADABLE)


@pytest.mark.parametrize("form", ["x", {"prefix": "x"}])
def test_a_rule_that_holds_in_front_of_one_that_cannot_be_asked(form):
    """Whichever is looked at first."""
    for first in ({"service": "a"}, {"service": "a*"}, {"service": {"prefix": "a"}}):
        world = headed_world(first | {"oneway": False}, {"headers": {"tag": form}}, {})
        client = world.client()
        assert sent(world, client, headed(1, b"a", BROKEN)) == 0
        assert sent(world, client, headed(2, b"b", BROKEN)).startswith(UNREADABLE)


def test_what_a_codec_cannot_read_is_for_rules_that_ask_for_nothing():
    """As a body in a serialization that nobody reads: that it has no service is not known."""
    world = World(
        table([{"not": {"service": "a"}}, {"headers": {"tag": {"present": False}}}, {"oneway": False}, {}])
    )
    call = bytearray(Call("b", "m", "", [], request_id=1).encode())
    call[2] = call[2] & ~31 | 8  # Kryo
    world.feed(world.client(), bytes(call))
    assert [port for up, (_, port) in world.upstreams.items() if world.got[up]] == [10_003]


def test_a_rule_hidden_by_an_earlier_one_asks_nothing():
    """By its place in the table, whichever look-up finds it: no header is read for it."""
    world = headed_world({}, {"service": "a", "headers": {"tag": "x"}}, {"service": "a*", "oneway": True})
    assert sent(world, world.client(), headed(1, b"a", BROKEN)) == 0


def test_what_was_asked_before_changes_nothing_where_rules_ask_for_headers():
    service = {"service": "org.demo.Service", "method": "say"}
    world = World(table([service | {"headers": {"tag": "x"}}, service]))
    client = world.client()
    for number in range(1, 9):
        asked = request(**service, headers={"tag": "x" if number % 2 else "y"})
        assert routed(world, client, asked, number) == (number + 1) % 2


def pair(key, value):
    return bytes([len(key)]) + key + bytes([len(value)]) + value


def test_a_value_leads_to_the_rules_of_its_header_and_service():
    """Many values in one table: what they lead to stands close together."""
    rules = [
        {"service": service, "headers": {key: str(i)}} for service in "ab" for key in "xy" for i in range(60)
    ]
    world = headed_world(*rules)
    client = world.client()
    for number, rule in enumerate(rules):
        ((key, value),) = rule["headers"].items()
        frame = headed(number, rule["service"].encode(), pair(key.encode(), value.encode()))
        assert sent(world, client, frame) == number


@pytest.mark.parametrize("place", [0, 5, 7, 8, 15, 16])
def test_what_is_said_of_a_service_is_printable_whatever_it_is(place):
    """Each byte, among others, in eights that are gone through at once and behind them."""
    world = headed_world({"service": "a"})
    client = world.client()
    for byte in range(256):
        for more in (b"comXexample.Demos", b"comXexample.D\x7fmo\xff"):
            service = more[:place] + bytes([byte]) + more[place + 1 :]
            said = "".join(chr(one) if 0x20 <= one < 0x7F else "?" for one in service)
            assert f"'{said}'" in sent(world, client, headed(1, service, b"")), service


@pytest.mark.parametrize("byte", [0x1F, 0x7F, 0x80, 0xFF])
def test_what_is_said_of_a_service_is_printable_however_long_it_is(byte):
    """One at each place of each length: the last ones are looked at with some in front of them once more."""
    world = headed_world({"service": "-"})
    client = world.client()
    for length in range(27):
        text = b"com.example.DemoServicesXYZ"[:length]
        for service in (text, *(text[:at] + bytes([byte]) + text[at + 1 :] for at in range(length))):
            said = service.replace(bytes([byte]), b"?").decode()
            assert f"for service '{said}' method" in sent(world, client, headed(1, service, b"")), service


def test_the_first_of_several_values():
    world = headed_world({"headers": {"tag": {"in": ["x", "y"]}}}, {})
    client = world.client()
    assert [sent(world, client, headed(1, b"a", pair(b"tag", value))) for value in (b"x", b"y", b"z")] == [
        0,
        0,
        1,
    ]


def test_one_of_any_leads_nowhere():
    world = headed_world({"any": [{"headers": {"tag": "x"}}, {"service": "a"}]}, {})
    client = world.client()
    assert sent(world, client, headed(1, b"a", b"")) == 0
    assert sent(world, client, headed(2, b"b", TAGGED)) == 0
    assert sent(world, client, headed(3, b"b", b"")) == 1


RANGES = [
    ([1, 5], "1 5 +3 01", "0 6 -1 5. 1e0 + - 18446744073709551617"),
    ([-(2**63), -1], "-1 -9223372036854775808", "0 1 -9223372036854775809 9223372036854775808"),
    ([2**63 - 1, 2**63 - 1], "9223372036854775807", "9223372036854775808 9223372036854775806 -1"),
]


@pytest.mark.parametrize(("ends", "inside", "outside"), RANGES)
def test_the_ends_of_a_range_are_in_it(ends, inside, outside):
    world = headed_world({"headers": {"n": {"range": ends}}}, {})
    client = world.client()
    for texts, expected in ((inside, 0), (outside, 1)):
        for one in texts.split():
            assert sent(world, client, headed(1, b"a", pair(b"n", one.encode()))) == expected, one
    assert sent(world, client, headed(1, b"a", pair(b"n", b""))) == 1


def test_a_header_that_is_no_text_is_there_and_like_none():
    """An attachment that is a number, whose bytes are the text X in hessian's own way."""
    forms = ["\x95", {"regex": ".*"}, {"range": [0, 9]}, {"prefix": ""}, {"suffix": ""}, {"present": True}]
    world = World(table([{"headers": {"n": form}} for form in forms]))
    assert routed(world, world.client(), request(headers={"n": 5})) == len(forms) - 1


def test_more_headers_than_rules_are_indexed_by():
    """The last ones are asked one after the other."""
    rules = [{"headers": {f"h{i}": {"in": ["a", str(i)]}}} for i in range(40)]
    world = headed_world(*rules)
    client = world.client()
    for number in range(40):
        head = pair(b"h%d" % number, b"%d" % number)
        assert sent(world, client, headed(number, b"s", head)) == number
        assert sent(world, client, headed(number, b"s", head[:-1] + b"!")).startswith("protokit: no route")


@pytest.mark.parametrize("longest_first", [True, False])
def test_more_kinds_of_prefixes_with_conditions_than_are_kept_at_once(longest_first):
    """Every prefix of a long service is a rule of its own; the first in order decides."""
    sizes = sorted(range(1, 81), reverse=longest_first)
    world = headed_world(*[{"service": "s" * size + "*", "headers": {"tag": "x"}} for size in sizes])
    client = world.client()
    for number, size in enumerate((80, 79, 33, 32, 31, 1), 1):
        assert sent(world, client, headed(number, b"s" * size, TAGGED)) == (80 - size if longest_first else 0)


REFUSED = [
    ("(", "missing ), unterminated subpattern at character 1"),
    (r"(a)\1", "a group that comes again"),
    ("a(?=b)", "looking ahead or behind"),
    ("(?i)a", "flags like"),
    ("(?i:a)", "a group with flags"),
    ("a^b", "an anchor inside"),
    ("x*+", "a possessive repeat"),
    ("(?>x)", "an atomic group"),
    ("(a)?(?(1)b|c)", "a choice by a group"),
    ("(a|b)*a(a|b){20}", f"more than {MOST_STATES} states"),
    ("(?:a{1,1000}){1,1000}", "it is too long"),
    ("(" * 3000 + ")" * 3000, "nested too deeply"),
]


@pytest.mark.parametrize(("expression", "why"), REFUSED, ids=[one[:20] for one, _ in REFUSED])
def test_what_an_automaton_cannot_is_refused(expression, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        automaton(expression)


# What takes a search that goes back exponentially or to the 5th power long; a text that it matches ends so.
PATHOLOGICAL = {
    "(a+)+b": "b",
    "(a*)*b": "b",
    "(a|aa)+b": "b",
    "(a|a?)+b": "b",
    "(.*a){11}b": "b",
    "(.*)(.*)(.*)(.*)(.*)b": "b",
    "(a|b)*a(a|b){8}c": "c",
}


@pytest.mark.parametrize("expression", PATHOLOGICAL)
def test_a_pathological_expression_is_read_once(expression):
    """A text of thousands of bytes, through the engine: it is done, and right."""
    assert automaton(expression).states <= MOST_STATES
    world = World(table([{"headers": {"tag": {"regex": expression}}}, {}]))
    client, text = world.client(), "a" * 8000
    assert routed(world, client, request(headers={"tag": text + "d"})) == 1
    assert routed(world, client, request(headers={"tag": text + PATHOLOGICAL[expression]})) == 0


EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", ".", r"\d", r"\s", r"\w", r"\W", "[^a]", "[a-cж-я]", "é", r"\.", "😀", ""]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])).map(
            lambda two: f"({two[0]}){two[1]}"
        ),
    ),
    max_leaves=6,
)
TEXTS = st.text(st.sampled_from("abcd1 .é\nжяё_😀\u2028-"), max_size=8)


@settings(max_examples=many(1500))
@given(expression=EXPRESSIONS, texts=st.lists(TEXTS, max_size=12))
def test_an_automaton_matches_what_re_does(expression, texts):
    made = automaton(expression)
    for one in texts:
        assert made.accepts(one.encode()) == (re.fullmatch(expression, one, re.ASCII) is not None), one


@settings(max_examples=many(300))
@given(pattern=st.text(st.sampled_from("ab*"), max_size=8), text=st.text(st.sampled_from("abc"), max_size=10))
def test_stars_stand_for_anything(pattern, text):
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
    assert stars(pattern).accepts(text.encode()) == expected


# Who asks: the client's address, listener and protocol.


@pytest.mark.parametrize(
    "network", [*NETWORKS, ["10.0.0.0/8", "11.0.0.0/8"], ["fd00::1", "::/0", "10.1.2.3"], NETWORKS]
)
def test_an_address_is_in_a_network_from_its_first_to_its_last(network):
    """Each network's ends and what stands beside them, IPv4 ones as they are and mapped to IPv6."""
    ends = set()
    for one in NETWORKS:
        within = ipaddress.ip_network(one)
        for end in (within[0], within[-1]):
            for number in (int(end) - 1, int(end), int(end) + 1):
                if 0 < number < 2**within.max_prefixlen:
                    ends.add(str(type(end)(number)))
                    if within.version == 4:
                        ends.add(f"::ffff:{type(end)(number)}")
    world = World(table([{"source": network}, {}], listeners={"in": {"protocol": "dubbo"}}))
    for source in sorted(ends):
        client = world.client(0, source)
        assert routed(world, client, request()) == (0 if is_from(network, source) else 1), source
        world.batch(("eof", client))


def test_who_is_not_known_is_in_no_network():
    world = World(table([{"source": ["0.0.0.0/0", "::/0"]}, {}]))
    assert routed(world, world.client(), request()) == 1


def test_ten_thousand_networks():
    world = World(table([{"source": [f"10.{i // 256}.{i % 256}.0/25" for i in range(10_000)]}, {}]))
    for source, rule in (
        ("10.0.0.0", 0),
        ("10.39.15.127", 0),
        ("10.39.15.128", 1),
        ("10.39.16.1", 1),
        ("9.255.255.255", 1),
    ):
        assert routed(world, world.client(0, source), request()) == rule


REMEMBERED = {"service": "org.demo.Service", "method": "say"}


@pytest.mark.parametrize(
    "rule",
    [
        {"source": "10.0.0.0/8"},
        {"listener": "in"},
        {"not": {"source": "11.0.0.0/8"}},
        {"any": [{"listener": "in"}, {"service": "none"}]},
    ],
)
def test_what_one_client_asked_is_not_remembered_for_another(rule):
    """Where a rule asks who asks; and by the first rule for all that it is not asked for."""
    rules = [{"service": "org.demo.Other"}, REMEMBERED | rule, REMEMBERED]
    world = World(table(rules, listeners=SHARING))
    here, there = world.client(0, "10.0.0.1"), world.client(1, "11.0.0.1")
    for number in range(1, 9):
        assert routed(world, here, request(**REMEMBERED), number) == 1
        assert routed(world, there, request(**REMEMBERED), number) == 2
        assert routed(world, there, request(service="org.demo.Other"), number + 100) == 0
        assert routed(world, here, request(service="org.demo.Other"), number + 100) == 0


def test_a_rule_for_one_of_the_protocols_of_a_listener():
    """The protocol is what the client speaks, as it is told by its first bytes."""
    protocol = Protocol("headed", HEADED, "with headers")
    both = {"in": {"protocol": ["headed", "dubbo"]}}
    rules = [{"protocol": "headed", "service": "a"}, {"protocol": "dubbo"}, {"protocol": ["bolt", "headed"]}]
    world = World(table(rules, protocol, both))
    assert sent(world, world.client(), headed(1, b"a", b"")) == 0
    assert sent(world, world.client(), headed(1, b"b", b"")) == 2
    assert routed(world, world.client(), request(service="a")) == 1


PINNED = {
    "in": {"protocol": "dubbo", "mode": "pinned"},
    "side": {"protocol": ["dubbo", "bolt"], "mode": "pinned"},
}
SIDE, IN = {"listener": "side"}, {"listener": "in"}
OPENED = [
    ([{}], 0, 0),
    ([SIDE, {}], 1, None),
    ([IN, SIDE], 0, 1),
    ([{"listener": ["side", "in"]}], 0, 0),
    ([{"not": IN}, {}], None, None),
    ([{"all": [IN]}, {"any": [SIDE, {"all": [SIDE]}]}], 0, 1),
    ([IN | {"source": "10.0.0.0/8"}, SIDE], 0, 1),
    ([{"source": "10.0.0.0/8"}, {}], None, None),
    ([{"protocol": "bolt"}, {}], 1, None),
    ([{"protocol": ["dubbo", "bolt"]}, {"listener": "in", "protocol": "bolt"}], 0, 0),
]


@pytest.mark.parametrize(("rules", "first", "second"), OPENED)
def test_a_pinned_clients_connection_is_opened_where_all_its_listeners_rules_lead(rules, first, second):
    """Before it asks anything; rules for other listeners say nothing."""
    for listener, expected in enumerate((first, second)):
        world = World(table(rules, listeners=PINNED))
        client = world.client(listener, "10.0.0.1")
        if listener == 1:  # whose protocol is told by its first bytes
            world.feed(client, Call("s", "m", "", [], request_id=1).encode()[:20])
        opened = [port - 10_000 for _, port in world.upstreams.values()]
        assert opened == ([] if expected is None else [expected])


JSON_HEADERS = Protocol(
    "json-headers",
    WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "meta" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 2,
        service="a.B",
        headers=json_view(this.meta),
        replies=Replies(error=lambda status, variant: {"kind": 2, "meta": ErrorText()}),
    ),
)


def test_a_limit_of_a_header_is_not_passed_by_in_escapes():
    world = World(table([{}], protocol=JSON_HEADERS, rules={"limit": {"rate": "1/h", "by": {"header": "t"}}}))
    told = []
    for meta in (b'{"t":"gold"}', b'{"t":"gold"}', b'{"t":"g\\u006fld"}', b"{}", b"{}"):
        client = world.client()
        world.feed(client, b"\1\0\7" + struct.pack(">H", len(meta)) + meta)
        told.append(bytes(world.got[client])[5:])
    assert [b"reached" in one for one in told] == [False, True, False, False, True]
    assert b"cannot be read" in told[2]
