"""What listeners allow and deny: the engine against a plain reading of the configuration, in order."""

from __future__ import annotations

import json

import pytest
from asked import argument, holds
from construct import Const, GreedyBytes, Int8ub, Int16ub, Int32ub, Prefixed, Struct, this
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo.messages import OK, Answer, Call, decode, split
from test_matching import BROKEN, HEADED, call_of, headed, matches, pair, registry, request, requests
from world import LIMITS, World

from protokit import Protocol, WireFormat, config
from protokit.cli.route import explain
from protokit.config import access
from protokit.config.document import Document, read
from protokit.config.findings import Findings
from protokit.control.build import build_snapshot
from protokit.dataplane.compile import Identities, States, compile_snapshot
from protokit.errors import ProtokitError
from protokit.native.routing import Words
from protokit.testing.tables import TableBuilder
from protokit.wire import ErrorText, Greeting, Replies, text

DENIED = 70  # Dubbo's
SERVER, RAW = 9000, 9050


class Site:
    """A world whose tables come from configurations: each listener leads to one server."""

    def __init__(self, listeners, *, polite=True, **more):
        self.endpoints, self.listeners, self.states = Identities(), Identities(), States()
        self.world = World(self.table(listeners, **more), polite=polite)
        self.clients, self.number = {}, 0

    def table(self, listeners, protocol=None, rule=None, limits=()):
        every = {
            "listeners": [
                {"name": name, "bind": f"127.0.0.1:{i + 1}", "protocol": "dubbo", "routes": "r"} | one
                for i, (name, one) in enumerate(listeners.items())
            ],
            "routes": [{"name": "r", "rules": [{"cluster": "c"} | (rule or {})]}],
            "clusters": [
                {"name": "c", "endpoints": [f"127.0.0.1:{SERVER}"]},
                {"name": "raw", "endpoints": [f"127.0.0.1:{RAW}"]},
            ],
            "limits": dict(limits),
        }
        for one in every["listeners"]:
            if "cluster" in one:
                del one["routes"]
        document = Document(json.dumps(every, ensure_ascii=False), "test")
        reading = read(document)
        assert not reading.errors
        have = registry()
        if protocol is not None:
            have.protocols[protocol.name] = protocol
        loaded = config.Loaded(reading.config, have, "test", Findings(document))
        self.loaded, self.document = loaded, document
        self.compiled = compile_snapshot(
            build_snapshot(loaded), self.endpoints, self.listeners, 7, states=self.states
        )
        self.names = [*listeners]
        return self.compiled.table

    def client(self, listener="in", source=""):
        key = (listener, source)
        if key not in self.clients:
            self.clients[key] = self.world.client(self.names.index(listener), source)
        return self.clients[key]

    def sent(self):
        """What servers got since the last time."""
        got = [bytes(self.world.got[up]) for up in self.world.upstreams]
        for up in self.world.upstreams:
            self.world.got[up].clear()
        return b"".join(got)

    def told(self, client):
        told = bytes(self.world.got[client])
        self.world.got[client].clear()
        return told

    def ask(self, asked, frame=None):
        """What its caller is told; None: it was sent on, "": it was dropped."""
        self.number += 1
        client = self.client(asked.get("listener", "in"), asked.get("source", ""))
        self.world.feed(client, call_of(asked, self.number).encode() if frame is None else frame)
        sent, told = self.sent(), self.told(client)
        assert not (sent and told)
        if sent:
            return None
        frames, rest = split(told)
        assert rest == b""
        if not frames:
            assert asked["oneway"]
            return ""
        (answer,) = map(decode, frames)
        assert (answer.status, answer.id) == (DENIED, self.number)
        return answer.value

    def counts(self):
        """What rules have denied, and would have."""
        every = {name: state.counts() for name, state in self.compiled.access.items()}
        return {
            name: (one["deny"], one["would-deny"])
            for name, one in every.items()
            if one["deny"] or one["would-deny"]
        }


def verdict(given, asked):
    """A plain reading: who refuses it, or None."""
    for i, match in enumerate(given.get("deny", ())):
        if holds(match, asked):
            return f"deny[{i}]"
    if "allow" not in given or any(holds(match, asked) for match in given["allow"]):
        return None
    return "allow"


def allowing(given, asked):
    """Which rule allows it; None where all are."""
    return next(
        (f"allow[{i}]" for i, match in enumerate(given.get("allow", ())) if holds(match, asked)), None
    )


def text_of(name, asked):
    said = (
        f"denied by rule {name}" if name.endswith("]") else f"denied: no rule of {name} is for this request"
    )
    where = f" from {asked['source'].removeprefix('::ffff:')}" if asked["source"] else ""
    return f"protokit: {said}: service '{asked['service']}' method '{asked['method']}'{where}"


lists = st.lists(matches, min_size=1, max_size=4)
given_lists = st.fixed_dictionaries({}, optional={"allow": lists, "deny": lists})
SHARING = {"in": {"protocol": "dubbo"}, "side": {"protocol": ["bolt", "dubbo"], "cluster": "c"}}


@pytest.mark.slow
@settings(max_examples=150)
@given(
    tables=st.lists(
        st.tuples(*[st.fixed_dictionaries({"in": given_lists, "side": given_lists})] * 2),
        min_size=1,
        max_size=3,
    ),
    asked=st.lists(requests, min_size=1, max_size=6),
)
def test_what_is_denied_is_denied_and_the_rest_gets_through(tables, asked):
    """Of two listeners, one by routes and one by its cluster; each twice: what is remembered is the same.

    Reloads in between: what a rule has counted stays with it, wherever in its list it stands then.
    """
    site, counts, waiting, denied, would_be = None, {}, 0, 0, 0
    for every, dry in tables:
        listeners = {name: one | every[name] | {"dry_run": dry[name]} for name, one in SHARING.items()}
        if site is None:
            site = Site(listeners)
        else:
            site.world.apply(site.table(listeners))
        keys = keys_of(site)
        found = counted(site, keys)
        counts = {key: counts.get(key, found[key]) for key in found}
        assert counts == found
        for one in asked * 2:
            refusing = verdict(every[one["listener"]], one)
            said = site.ask(one)
            if refusing is None:
                assert said is None
                waiting += not one["oneway"]
                would = verdict(dry[one["listener"]], one)
                name, place = would and f"{one['listener']}.dry_run.{would}", 1
            else:
                name, place = f"{one['listener']}.{refusing}", 0
                assert said == ("" if one["oneway"] else text_of(name, one))
            if name:
                # The same match twice in a list is one.
                counts[keys[name]][place] += 1
                denied, would_be = denied + (place == 0), would_be + place
        assert counted(site, keys) == counts
    assert (site.world.stat("errors_denied"), site.world.stat("would_deny")) == (denied, would_be)
    assert site.world.stat("requests_active") == waiting


def keys_of(site):
    """What each rule's count hangs on, by its name: its list and its match."""
    return {
        f"{where}.{rule.name}": (f"{where}.{rule.verdict}", repr(rule.match))
        for one in site.loaded.config.listeners
        for where, given in ((one.name, one), (f"{one.name}.dry_run", one.dry_run))
        for rule in access.rules(given)
    }


def counted(site, keys):
    """What rules have denied, and would have, by these keys."""
    every = {name: state.counts() for name, state in site.compiled.access.items()}
    return {keys[name]: [one["deny"], one["would-deny"]] for name, one in every.items()}


@pytest.mark.slow
@settings(max_examples=100)
@given(given=given_lists, dry=given_lists, asked=st.lists(requests, min_size=1, max_size=3))
def test_what_is_explained_is_what_the_engine_does(given, dry, asked):
    site = Site({"in": given | {"dry_run": dry}, "side": {}})
    for one in asked:
        texts = (one["service"], one["method"], one["version"], one["group"])
        values = {str(n): argument(one["arguments"], n) for n in range(3)}
        values = {number: value for number, value in values.items() if value is not None}
        for said in (Words(*texts, one["headers"], one["oneway"], values), call_of(one).encode()):
            facts = explain(site.loaded, site.document, one["listener"], said, one["source"], "dubbo")
            for name, rules in (("access", given), ("dry_run", dry)):
                if one["listener"] == "side" or not rules:
                    assert facts[name] is None
                    continue
                refusing, found = verdict(rules, one), facts[name]
                deciding = refusing or allowing(rules, one)
                assert found["denied"] == (refusing is not None)
                assert (found["rule"] and found["rule"]["name"]) == deciding
                assert all(
                    before["why"] and "cannot be read" not in before["why"] for before in found["before"]
                )
                names = [
                    f"{kind}[{i}]" for kind in ("deny", "allow") for i in range(len(rules.get(kind, ())))
                ]
                names = [*names, "allow"] if "allow" in rules else names
                first = names.index(deciding) if deciding else len(names)
                assert [before["name"] for before in found["before"]] == names[:first]
            assert (facts["to"] is None) == (one["listener"] == "in" and verdict(given, one) is not None)


SOME = {"source": "10.0.0.0/8"}
TWO = [
    {"service": "pay", "method": "refund", "not": {"source": "10.1.0.0/16"}},
    {"headers": {"tag": "test"}},
]


def test_denying_wins():
    site = Site({"in": {"allow": [{"source": "10.0.0.0/8"}], "deny": TWO}})
    billing, other, far = ({"source": source} for source in ("10.1.0.7", "10.2.0.7", "11.0.0.1"))
    refund = {"service": "pay", "method": "refund"}
    assert site.ask(request(**refund, **billing)) is None
    assert site.ask(request(service="pay", method="get", **other)) is None
    assert site.ask(request(**refund, **other)) == (
        "protokit: denied by rule in.deny[0]: service 'pay' method 'refund' from 10.2.0.7"
    )
    assert site.ask(request(**billing, headers={"tag": "test"})).startswith(
        "protokit: denied by rule in.deny[1]"
    )
    assert site.ask(request(**far)) == (
        "protokit: denied: no rule of in.allow is for this request: service 's' method 'm' from 11.0.0.1"
    )
    assert site.counts() == {"in.deny[0]": (1, 0), "in.deny[1]": (1, 0), "in.allow": (1, 0)}


def test_what_was_decided_for_one_client_is_not_remembered_for_another():
    """What is by service alone is, and for that listener only."""
    long = {"service": "org.demo.Service", "method": "say"}
    site = Site({"in": {"deny": [SOME | long, {"service": "org.demo.Closed"}]}, "side": {}})
    for _ in range(3):
        assert site.ask(request(**long, source="11.0.0.1")) is None
        assert "in.deny[0]" in site.ask(request(**long, source="10.0.0.1"))
        assert "in.deny[1]" in site.ask(request(service="org.demo.Closed"))
        assert site.ask(request(service="org.demo.Closed", listener="side")) is None


LONG = {"service": "org.demo.Service", "method": "say"}  # long enough to be remembered


def test_what_was_decided_for_a_connection_is_not_remembered_for_who_has_its_place_next():
    site = Site({"in": {"deny": [SOME | LONG]}})
    places = set()
    for source in ("11.0.0.1", "10.0.0.1", "10.0.0.2", "11.0.0.1", "12.0.0.1"):
        for _ in range(3):
            assert (site.ask(request(**LONG, source=source)) is None) == (not source.startswith("10."))
        client = site.clients.pop(("in", source))
        places.add(client & 0xFFFFFFFF)
        site.world.batch(("error", client))
    assert len(places) == 1, "each client was to have the place of the one before"


def test_what_is_remembered_of_a_client_is_of_one_table_and_one_method():
    """Its denials, its dry run and its rules; as many methods as have places beside each other, and more."""
    methods = [f"say{n}" for n in range(40)]
    deny = [{"service": LONG["service"], "method": method, **SOME} for method in methods[::3]]
    dry = [{"service": LONG["service"], "method": method, **SOME} for method in methods[::2]]
    site = Site({"in": {"deny": deny, "dry_run": {"deny": dry}}}, rule={"match": {"source": "0.0.0.0/0"}})
    for _ in range(4):
        for number, method in enumerate(methods):
            for source in ("10.0.0.1", "11.0.0.1"):
                asked = request(service=LONG["service"], method=method, source=source)
                assert (site.ask(asked) is None) == (number % 3 > 0 or source == "11.0.0.1")
    counts = site.counts()
    assert [counts[f"in.deny[{i}]"] for i in range(len(deny))] == [(4, 0)] * len(deny)
    over = [method for number, method in enumerate(methods) if number % 2 == 0 and number % 3 > 0]
    assert {name for name in counts if "dry" in name} == {
        f"in.dry_run.deny[{methods.index(method) // 2}]" for method in over
    }
    assert all(would == 4 for _, would in counts.values() if would)


def test_what_is_remembered_of_a_clients_methods_is_of_each_of_them():
    """More of them than are remembered of all clients."""
    methods = [f"say{n}" for n in range(2200)]
    denied = {"in": [method for number, method in enumerate(methods) if number % 7 > 0]}
    site = Site({"in": {"deny": [SOME | {"service": LONG["service"], "method": denied}]}})
    for number, method in enumerate(methods):
        asked = request(service=LONG["service"], method=method, source="10.0.0.1")
        for _ in range(2):
            assert (site.ask(asked) is None) == (number % 7 == 0)


def test_what_an_argument_decides_is_not_remembered_of_a_client():
    site = Site({"in": {"deny": [SOME | LONG | {"arguments": {"0": "secret"}}]}})
    for _ in range(4):
        for said, source, through in [
            ("open", "10.0.0.1", True),
            ("secret", "10.0.0.1", False),
            ("secret", "11.0.0.1", True),
        ]:
            assert (site.ask(request(**LONG, source=source, arguments=[said])) is None) == through


NEAR, FAR = {"source": "10.0.0.1"}, {"source": "11.0.0.1"}


@pytest.mark.parametrize("routes", [{}, {"cluster": "c"}], ids=["routes", "cluster"])
def test_what_is_remembered_of_a_connection_ends_with_the_table(routes):
    site = Site({"in": routes | {"deny": [{"source": "11.0.0.0/8"}]}})
    for deny, near, far in [
        ([{"source": "11.0.0.0/8"}], True, False),
        ([{"source": "10.0.0.0/8"}], False, True),
        ([{"source": "11.0.0.0/8"}], True, False),
        ([SOME, {"source": "11.0.0.0/8"}], False, False),
        ([{"source": "12.0.0.0/8"}], True, True),
        ([{"source": "10.0.0.0/8", "service": "closed"}], True, True),
        ([SOME], False, True),
    ]:
        site.world.apply(site.table({"in": routes | {"deny": deny}}))
        for _ in range(3):
            assert (site.ask(request(**NEAR)) is None) == near
            assert (site.ask(request(**FAR)) is None) == far


@pytest.mark.parametrize("routes", [{}, {"cluster": "c"}], ids=["routes", "cluster"])
def test_what_is_not_of_the_connection_alone_is_not_remembered_of_it(routes):
    site = Site({"in": routes | {"deny": [{"all": [SOME, {"oneway": True}]}]}})
    for _ in range(2):
        assert site.ask(request(**NEAR)) is None
        assert site.ask(request(**NEAR, oneway=True)) == ""
        assert site.ask(request(**FAR, oneway=True)) is None
    site = Site({"in": routes | {"dry_run": {"deny": [SOME]}, "deny": [{"source": "12.0.0.0/8"}]}})
    for number in range(1, 4):
        assert site.ask(request(**NEAR)) is None
        assert site.ask(request(**FAR)) is None
        assert site.counts() == {"in.dry_run.deny[0]": (0, number)}


def test_a_table_takes_verdicts_for_nothing_else():
    def refused(why, *, listener_access, verdict="deny", verdicts=True):
        builder = TableBuilder(LIMITS, seed=1)
        builder.cluster("c", "round-robin", 1, 1000)
        builder.endpoint(0, "127.0.0.1", 1, 1)
        goes = builder.plan("goes")
        builder.split(0, 1)
        judges = builder.plan("judges", verdict=verdict)
        routes = builder.routes("r")
        builder.rule("*", "*", "*", "*", goes)
        access = builder.routes("a", verdicts=verdicts)
        builder.rule("*", "*", "*", "*", judges)
        builder.listener(
            0, "in", plan=goes, pinned=False, codecs=[], **listener_access(routes, access, goes, judges)
        )
        with pytest.raises(ProtokitError, match=why):
            builder.finish()

    for_each = {"routes": None}
    mixed = "takes verdicts for routes, or routes for verdicts"
    refused(mixed, listener_access=lambda routes, *_: for_each | {"access": routes})
    refused(mixed, listener_access=lambda routes, *_: for_each | {"dry_run": routes})
    refused(mixed, listener_access=lambda _, access, *__: {"routes": access})
    refused("unlike the others", verdicts=False, listener_access=lambda _, access, *__: for_each)
    refused("not either a cluster", verdict="none", listener_access=lambda *_: for_each)


@pytest.mark.slow
def test_ten_thousand_rules():
    """By service, by a header's value, and both lists; each decides by itself."""
    deny = [{"service": f"s{i}", "method": "m"} for i in range(5000)]
    deny += [{"headers": {"tenant": f"t{i}"}} for i in range(5000)]
    allow = [{"service": f"a{i}"} for i in range(10_000)]
    site = Site({"in": {"deny": deny, "allow": allow}})
    for service, tenant, name in [
        ("s0", "", "in.deny[0]"),
        ("s4999", "", "in.deny[4999]"),
        ("a5", "t0", "in.deny[5000]"),
        ("a5", "t4999", "in.deny[9999]"),
        ("a5", "t5000", None),
        ("a9999", "", None),
        ("a10000", "", "in.allow"),
    ]:
        said = site.ask(request(service=service, headers={"tenant": tenant} if tenant else {}))
        assert said is None if name is None else f" {name}" in said


# What cannot be read.

TAGGED = b"\x03tag\x01x"


def headed_site(**given):
    return Site({"in": {"protocol": "headed"} | given}, protocol=Protocol("headed", HEADED, "with headers"))


def ask_headed(site, number, service, head, kind=0):
    client = site.client()
    site.world.feed(client, headed(number, service, head, kind))
    sent, told = site.sent(), site.told(client)
    assert not (sent and told)
    return None if sent else HEADED.parse(told)[0].head.decode() if told else ""


@pytest.mark.parametrize("form", ["x", {"prefix": "x"}, {"present": True}, {"present": False}])
@pytest.mark.parametrize("kind", ["deny", "allow"])
@pytest.mark.parametrize("direct", [False, True])
def test_nothing_gets_through_by_headers_that_cannot_be_read(kind, form, direct):
    there = form != {"present": False}
    rules = [{"service": "a", "headers": {"tag": form}}]
    site = headed_site(**{kind: rules}, **({"cluster": "c"} if direct else {}))
    says = {True: "denied by rule in.deny[0]" if kind == "deny" else None}
    says[False] = None if kind == "deny" else "denied: no rule of in.allow"
    for number, head, holding in ((1, TAGGED, there), (2, b"", not there)):
        said = ask_headed(site, number, b"a", head)
        assert said is None if says[holding] is None else says[holding] in said
    said = ask_headed(site, 3, b"a", BROKEN)
    assert (
        said
        == f"protokit: denied: rule in.{kind}[0] asks for headers that are malformed: service 'a' method ''"
    )
    assert ask_headed(site, 4, b"a", BROKEN, kind=2) == ""
    # What no rule for this service asks is not read.
    other = ask_headed(site, 5, b"b", BROKEN)
    assert other is None if kind == "deny" else "no rule of in.allow" in other
    assert site.counts()[f"in.{kind}[0]"][0] == (3 if kind == "deny" else 2)


def test_a_dry_run_counts_what_cannot_be_read():
    site = headed_site(dry_run={"deny": [{"headers": {"tag": "y"}}]})
    assert ask_headed(site, 1, b"a", TAGGED) is None
    assert ask_headed(site, 2, b"a", BROKEN) is None
    assert site.counts() == {"in.dry_run.deny[0]": (0, 1)}


def kryo(number):
    call = bytearray(Call("b", "m", "", [], request_id=number).encode())
    call[2] = call[2] & ~31 | 8
    return bytes(call)


UNREAD = "protokit: denied: rule in.deny[0] asks for what the proxy cannot read of this request from {}"


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize(
    ("given", "near", "far"),
    [
        ({"deny": [SOME]}, "protokit: denied by rule in.deny[0] from {}", None),
        ({"deny": [{"service": "other"}]}, UNREAD, UNREAD),
        ({"deny": [{"method": {"present": True}}]}, UNREAD, UNREAD),
        ({"deny": [{"headers": {"a": "b"}}, SOME]}, UNREAD, UNREAD),
        (
            {"deny": [SOME, {"headers": {"a": "b"}}]},
            "protokit: denied by rule in.deny[0] from {}",
            "in.deny[1]",
        ),
        ({"deny": [{"any": [{"group": "g*"}, SOME]}]}, UNREAD, UNREAD),
        ({"allow": [SOME]}, None, "protokit: denied: no rule of in.allow is for this request from {}"),
        ({"allow": [{"service": "b"}, SOME]}, None, "no rule of in.allow"),
        ({"allow": [{"service": "b"}]}, "no rule of in.allow", "no rule of in.allow"),
        ({"allow": [{}], "deny": [{"not": SOME}]}, None, "denied by rule in.deny[0]"),
        ({"allow": [{"oneway": True}]}, "no rule of in.allow", "no rule of in.allow"),
        ({"allow": [{"oneway": False, "protocol": "dubbo", "listener": "in"}]}, None, None),
        ({"allow": [{"all": [{}]}]}, None, None),
    ],
)
def test_what_a_codec_cannot_read_is_let_through_by_its_client_alone(given, near, far, direct):
    """As a body in a serialization that nobody reads."""
    site = Site({"in": given | ({"cluster": "c"} if direct else {})})
    for source, expected in (("10.1.1.1", near), ("11.1.1.1", far)):
        said = site.ask({"source": source, "oneway": False}, kryo(site.number + 1))
        assert said is None if expected is None else expected.format(source) in said


def test_where_clients_alone_are_asked_about_nothing_else_is_read():
    """A listener of one cluster, and what has no service that could be read."""
    rules = {"allow": [SOME], "dry_run": {"deny": [{"source": "10.1.0.0/16"}]}}
    site = Site({"in": {"cluster": "c"} | rules})
    broken = bytearray(call_of(request(), 1).encode())
    broken[20:24] = b"\xff\xff\xff\xff"
    assert site.ask({"source": "10.1.1.1", "oneway": False}, bytes(broken)) is None
    assert site.counts() == {"in.dry_run.deny[0]": (0, 1)}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"deny": [{}]}, "in.deny[0]"),
        ({"deny": [{"source": "11.0.0.0/8"}]}, "in.deny[0]"),
        ({"allow": [SOME]}, "in.allow"),
    ],
)
def test_who_is_denied_by_his_address_alone_is_told_of_what(given, name):
    """On a listener of one cluster, where nothing had to be read to decide."""
    site, asked = Site({"in": {"cluster": "c"} | given}), request(source="11.1.1.1")
    assert site.ask(asked) == text_of(name, asked)


# Connections.


def raw_site(**given):
    return Site({"in": {"fallback": "raw"} | given}, polite=False)


@pytest.mark.parametrize("protocols", ["dubbo", []])
@pytest.mark.parametrize(
    "given", [{"deny": [{"source": "11.0.0.0/8"}]}, {"allow": [SOME]}, {"deny": [{"not": SOME}]}]
)
def test_raw_connections_of_a_denied_client_are_closed(given, protocols):
    site = raw_site(protocol=protocols, **given)
    name = "in.allow" if "allow" in given else "in.deny[0]"
    for number in range(1, 3):
        refused = site.world.client(0, "11.0.0.1")
        site.world.feed(refused, b"GET / HTTP/1.1\r\n")
        assert site.world.closed[refused] == 1
        assert not site.world.upstreams
        assert site.counts() == {name: (number, 0)}
    client = site.world.client(0, "10.0.0.1")
    site.world.feed(client, b"GET / HTTP/1.1\r\n")
    assert site.sent() == b"GET / HTTP/1.1\r\n"
    assert client not in site.world.closed
    assert site.world.stat("connections_denied") == 2
    assert site.world.stat("fallback_active") == 1
    assert site.world.stat("connections_active") == 1


def test_a_dry_run_closes_no_raw_connection():
    site = raw_site(dry_run={"allow": [SOME]})
    client = site.world.client(0, "11.0.0.1")
    site.world.feed(client, b"GET / HTTP/1.1\r\n")
    assert site.sent() == b"GET / HTTP/1.1\r\n"
    assert site.counts() == {"in.dry_run.allow": (0, 1)}
    assert site.world.stat("would_deny") == 1


def test_nothing_is_opened_for_a_pinned_client_that_may_ask_nothing():
    site = Site({"in": {"mode": "pinned", "cluster": "c", "deny": [SOME]}})
    denied = site.client(source="10.0.0.1")
    assert not site.world.upstreams
    ping = bytes.fromhex("dabbe20000000000000000090000 00014e".replace(" ", ""))
    site.world.feed(denied, ping)
    assert site.told(denied)  # that it lives is answered
    assert not site.world.upstreams
    assert "denied by rule in.deny[0]" in site.ask(request(source="10.0.0.1"))
    assert not site.world.upstreams
    site.client(source="11.0.0.1")
    assert len(site.world.upstreams) == 1
    assert site.ask(request(source="11.0.0.1")) is None


def test_for_a_pinned_client_that_may_ask_something_a_connection_is_opened():
    for rules in ({"deny": [{"service": "pay"}]}, {"allow": [{"service": "pay"}]}):
        site = Site({"in": {"mode": "pinned", "cluster": "c"} | rules})
        site.client(source="10.0.0.1")
        assert len(site.world.upstreams) == 1


def large(name, **more):
    """A format that is passed on before it is whole: nobody looks into its body."""
    wire = WireFormat(
        Struct(
            Const(b"LA"),
            "kind" / Int8ub,  # 0 request, 1 answer, 8 hello
            "id" / Int16ub,
            "service" / Prefixed(Int8ub, GreedyBytes),
            "body" / Prefixed(Int32ub, GreedyBytes),
        ),
        id=this.id,
        mode="pinned",
        response=this.kind == 1,
        service=text(this.service),
        replies=Replies(error=lambda status, variant: {"kind": 1, "service": b"", "body": ErrorText()}),
        **more,
    )
    return Protocol(name, wire, "with a body")


def test_a_denied_request_whose_front_is_there_is_answered_at_once():
    """Its rest is dropped as it comes, and what follows goes on."""
    protocol = large("large")
    given = {"protocol": "large", "deny": [{"service": "no"}]}
    site = Site({"in": given}, protocol=protocol, limits={"frame": "1MiB"})
    frames = [
        protocol.wire.build({"kind": 0, "id": number, "service": service, "body": bytes(100_000)})
        for number, service in enumerate((b"no", b"yes"), 1)
    ]
    client = site.client()
    site.world.feed(client, frames[0][:50_000])
    answer, _ = protocol.wire.parse(site.told(client))
    assert answer.id == 1
    assert answer.body == b"protokit: denied by rule in.deny[0]: service 'no' method ''"
    site.world.feed(client, frames[0][50_000:])
    assert site.sent() == b""
    site.world.feed(client, frames[1])
    assert site.sent() == frames[1]


def test_a_denied_client_that_would_greet_a_server_is_closed():
    """Nothing can be said to it before."""
    relaying = large("relaying", greeting=Greeting(when=this.kind == 8, relayed=True))
    given = {"protocol": relaying.name, "cluster": "c", "deny": [SOME]}
    site = Site({"in": given}, protocol=relaying, polite=False)
    denied = site.client(source="10.0.0.1")
    assert site.world.closed == {denied: 1}
    assert not site.world.upstreams
    assert site.counts() == {"in.deny[0]": (1, 0)}
    assert site.world.stat("connections_denied") == 1
    site.client(source="11.0.0.1")
    assert len(site.world.upstreams) == 1


# What it does to everybody else.


def test_a_denied_flood_takes_nothing_from_others():
    """No token of a rule's limit, no place, no connection, no memory; who is denied has his answers."""
    rule = {"limit": {"rate": "1/h", "burst": 8}}
    site = Site({"in": {"deny": [SOME]}}, rule=rule)
    other = request(source="11.0.0.1")
    assert site.ask(other) is None
    before = site.world.stat("buffer_bytes"), site.world.stat("requests_active")
    for number in range(500):
        said = site.ask(request(source="10.0.0.1", oneway=number % 5 == 0, headers={"n": str(number)}))
        assert said == "" if number % 5 == 0 else "denied by rule in.deny[0]" in said
    assert (site.world.stat("buffer_bytes"), site.world.stat("requests_active")) == before
    assert len(site.world.upstreams) == 1
    assert [site.ask(other) for _ in range(7)] == [None] * 7
    site.world.feed(site.client(source="11.0.0.1"), call_of(other, 999).encode())
    (answer,) = map(decode, split(site.told(site.client(source="11.0.0.1")))[0])
    assert "rate limit" in answer.value
    assert site.counts() == {"in.deny[0]": (500, 0)}


def test_who_does_not_read_his_denials_is_not_read_and_then_closed():
    site = Site({"in": {"deny": [SOME]}}, limits={"client_pause": "64KiB", "client_close": "128KiB"})
    client = site.client(source="10.0.0.1")
    site.world.stuck.add(client)
    call = b"".join(call_of(request(source="10.0.0.1"), number).encode() for number in range(1, 101))
    for _ in range(200):
        if client in site.world.paused or client in site.world.closed:
            break
        site.world.feed(client, call)
    assert client in site.world.paused | {*site.world.closed}
    assert site.ask(request(source="11.0.0.1")) is None


def test_a_reload_keeps_what_was_counted_wherever_a_rule_stands_now():
    deny = [{"service": "a"}, {"service": "b"}]
    site = Site({"in": {"deny": deny, "allow": [SOME]}})
    for service, source in (("a", "10.0.0.1"), ("b", "10.0.0.1"), ("b", "10.0.0.1"), ("c", "11.0.0.1")):
        assert site.ask(request(service=service, source=source)) is not None
    assert site.counts() == {"in.deny[0]": (1, 0), "in.deny[1]": (2, 0), "in.allow": (1, 0)}
    site.world.apply(
        site.table({"in": {"deny": [{"service": "d"}, *reversed(deny)], "allow": [SOME, {"service": "c"}]}})
    )
    assert site.counts() == {"in.deny[1]": (2, 0), "in.deny[2]": (1, 0), "in.allow": (1, 0)}
    assert site.ask(request(service="c", source="11.0.0.1")) is None
    assert "in.deny[0]" in site.ask(request(service="d", source="10.0.0.1"))
    # A list that moves to the dry run is another.
    site.world.apply(site.table({"in": {"dry_run": {"deny": deny}}}))
    assert site.counts() == {}
    assert site.ask(request(service="a")) is None
    assert site.counts() == {"in.dry_run.deny[0]": (0, 1)}


def test_what_was_let_through_is_answered_when_its_client_is_denied_by_a_reload():
    site = Site({"in": {}})
    client, asked = site.client(source="10.0.0.1"), request(source="10.0.0.1")
    site.world.feed(client, call_of(asked, 1).encode())
    (sent,) = map(decode, split(site.sent())[0])
    site.number = 1
    site.world.apply(site.table({"in": {"deny": [SOME]}}))
    assert "in.deny[0]" in site.ask(asked)
    site.world.feed(site.world.only_upstream(), Answer(sent.id, OK, "late").encode())
    (answer,) = map(decode, split(site.told(client))[0])
    assert (answer.id, answer.value) == (1, "late")


def test_clients_of_a_listener_that_is_gone_are_asked_by_what_it_said():
    site = Site({"in": {"deny": [SOME]}, "side": {}})
    client = site.client(source="10.0.0.1")
    site.world.apply(site.table({"side": {}}))
    assert site.told(client)  # to go elsewhere
    assert "in.deny[0]" in site.ask(request(source="10.0.0.1"))


def test_a_value_that_leads_to_a_rule_that_denies():
    """Many values in one table, found by their header."""
    site = headed_site(deny=[{"headers": {"tag": {"in": ["x", "y"]}}}], allow=[{"headers": {"tag": "z"}}])
    for number, (value, name) in enumerate(
        ((b"x", "in.deny[0]"), (b"y", "in.deny[0]"), (b"z", None), (b"w", "in.allow")), 1
    ):
        said = ask_headed(site, number, b"a", pair(b"tag", value))
        assert said is None if name is None else f" {name}" in said
