"""Where a rule's requests go: the engine against a plain reading of the configuration, reloads in between."""

from __future__ import annotations

import functools
import json
from collections import Counter

import pytest
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo.messages import OK, Answer, Call, decode, split
from test_matching import BROKEN, HEADED, headed, pair
from world import LIMITS, World

from protokit import Protocol, config, native, plugins
from protokit.config.document import Document, read
from protokit.config.findings import Findings
from protokit.control.build import build_snapshot
from protokit.dataplane.compile import Identities, compile_snapshot
from protokit.testing.tables import TableBuilder

BOTH = ["dubbo", "headed"]


@functools.cache
def registry():
    found = plugins.load(["dubbo"])
    found.protocols["headed"] = Protocol("headed", HEADED, "with headers")
    return found


class Site:
    """A world whose tables come from configurations, with identities that last."""

    def __init__(self, protocol, rules, clusters, *, seed=7, **listener):
        self.protocol, self.listener = protocol, listener
        self.endpoints, self.listeners = Identities(), Identities()
        self.number = 0
        self.world = World(self.table(rules, clusters), seed=seed)
        self.client = self.world.client()

    def table(self, rules, clusters, seed=7):
        every = {
            "listeners": [
                {
                    "name": "in",
                    "bind": "127.0.0.1:0",
                    "protocol": self.protocol,
                    "routes": "r",
                    **self.listener,
                }
            ],
            "routes": [{"name": "r", "rules": rules}],
            "clusters": [
                {
                    "name": name,
                    "endpoints": [
                        {"address": f"127.0.0.1:{port}", "metadata": has, "weight": weight}
                        for port, (has, weight) in endpoints.items()
                    ],
                }
                for name, endpoints in clusters.items()
            ],
        }
        document = Document(json.dumps(every, ensure_ascii=False), "test")
        reading = read(document)
        assert not reading.errors
        loaded = config.Loaded(reading.config, registry(), "test", Findings(document))
        return compile_snapshot(build_snapshot(loaded), self.endpoints, self.listeners, seed).table

    def reload(self, rules, clusters, seed=7):
        self.world.apply(self.table(rules, clusters, seed))

    def ask(self, headers=None, service="s", method="m", client=None):
        """The port that a request was sent to, or what its client was told."""
        client = client or self.client
        self.number = self.number % 60_000 + 1
        headers = headers or {}
        if self.protocol == "dubbo":
            call = Call(service, method, "", [], attachments=headers, request_id=self.number, twoway=True)
            frame = call.encode()
        else:
            head = b"".join(pair(key.encode(), value.encode()) for key, value in headers.items())
            frame = headed(self.number, service.encode(), head)
        return self.send(frame, client)

    def send(self, frame, client=None):
        client = client or self.client
        self.world.feed(client, frame)
        got = [(up, port) for up, (_, port) in self.world.upstreams.items() if self.world.got[up]]
        for up, _ in got:
            self.answer(up)
        told = bytes(self.world.got[client])
        self.world.got[client].clear()
        assert len(got) < 2
        assert told
        return got[0][1] if got else self.text(told)

    def answer(self, up):
        """Or its places would be used up."""
        data = bytes(self.world.got[up])
        self.world.got[up].clear()
        if self.protocol == "dubbo":
            for frame in split(data)[0]:
                self.world.feed(up, Answer(decode(frame).id, OK, "yes").encode())
        else:
            one = HEADED.parse(data)[0]
            self.world.feed(up, HEADED.build({"kind": 1, "id": one.id, "service": b"", "head": b""}))

    def text(self, told):
        if self.protocol == "dubbo":
            return decode(split(told)[0][0]).value
        return HEADED.parse(told)[0].head.decode()


def has(clusters, name, wanted, headers):
    """The ports of a cluster's endpoints that have what is wanted."""

    def fits(metadata):
        for key, value in wanted.items():
            if isinstance(value, str):
                right = metadata.get(key) == value
            elif "in" in value:
                right = metadata.get(key) in value["in"]
            else:
                right = value["header"] in headers and metadata.get(key) == headers[value["header"]]
            if not right:
                return False
        return True

    return {port for port, (metadata, weight) in clusters[name].items() if weight and fits(metadata)}


def reached(clusters, share, headers):
    """The ports that a share's request may reach; none: it is refused."""
    if isinstance(share["cluster"], dict):
        name = (
            headers.get("to") if headers.get("to") in share["cluster"]["of"] else share["cluster"].get("else")
        )
        return set() if name is None else has(clusters, name, {}, headers)
    found = has(clusters, share["cluster"], share.get("subset", {}), headers)
    fallback = share.get("fallback", "none")
    if found or fallback == "none" or not share.get("subset"):
        return found
    return has(clusters, share["cluster"], {} if fallback == "any" else fallback["subset"], headers)


VALUES = ["1.0", "no", "v2", "", "ж"]
texts = st.sampled_from(VALUES)
metadata = st.dictionaries(st.sampled_from(["version", "zone", "lane"]), texts, max_size=3)
plain = st.dictionaries(
    st.sampled_from(["version", "zone"]),
    st.one_of(texts, st.lists(texts, min_size=1, max_size=2).map(lambda values: {"in": values})),
    min_size=1,
    max_size=2,
)
by_header = st.sampled_from(["tag", "lane"]).map(lambda name: {"header": name})
wanted = st.dictionaries(
    st.sampled_from(["version", "zone", "lane"]), st.one_of(texts, by_header), min_size=1, max_size=3
)
fallbacks = st.one_of(st.sampled_from(["none", "any"]), plain.map(lambda one: {"subset": one}))
shares = st.one_of(
    st.sampled_from([{"cluster": "a"}, {"cluster": "b"}]),
    st.fixed_dictionaries(
        {"cluster": st.sampled_from("ab"), "subset": st.one_of(plain, wanted), "fallback": fallbacks}
    ),
)
named = st.fixed_dictionaries(
    {"of": st.sampled_from([["a"], ["b"], ["a", "b"]])}, optional={"else": st.sampled_from("ab")}
).map(lambda one: {"cluster": {"header": "to", **one}})
rules = st.one_of(
    shares,
    named,
    st.lists(
        st.builds(lambda one, weight: one | {"weight": weight}, shares, st.integers(1, 9)),
        min_size=2,
        max_size=3,
    ).map(lambda every: {"split": every}),
)


@st.composite
def sites(draw):
    ports = iter(range(10_000, 10_020))
    clusters = {
        name: {
            next(ports): (draw(metadata), draw(st.sampled_from([0, 1, 1, 3])))
            for _ in range(draw(st.integers(1, 4)))
        }
        for name in "ab"
    }
    for endpoints in clusters.values():  # a cluster whose weights are all 0 is no cluster
        first = min(endpoints)
        endpoints[first] = (endpoints[first][0], 1)
    every = draw(st.lists(rules, min_size=1, max_size=4))
    return [{"match": {"service": f"s{i}"}, **rule} for i, rule in enumerate(every)], clusters


asked = st.tuples(
    st.integers(0, 3),
    st.fixed_dictionaries(
        {}, optional={"tag": texts, "lane": texts, "to": st.sampled_from(["a", "b", "c", ""])}
    ),
)


@settings(max_examples=many(300), deadline=None)
@given(
    protocol=st.sampled_from(BOTH),
    tables=st.lists(sites(), min_size=1, max_size=3),
    requests=st.lists(asked, min_size=1, max_size=8),
    pinned=st.booleans(),
)
def test_requests_reach_only_endpoints_that_have_what_is_wanted(protocol, tables, requests, pinned):
    site = Site(protocol, *tables[0], mode="pinned" if pinned else "shared")
    for number, (every, clusters) in enumerate(tables):
        if number > 0:
            site.reload(every, clusters)
        for which, headers in requests:
            client = site.world.client()  # pinned ones would hold more than they may, one after the other
            if which >= len(every):
                assert "no route" in site.ask(headers, f"s{which}", client=client)
                continue
            rule = every[which]
            may = [reached(clusters, share, headers) for share in rule.get("split", [rule])]
            got = site.ask(headers, f"s{which}", client=client)
            if isinstance(got, int):
                assert got in set().union(*may), (rule, headers)
            else:
                assert not all(may), (rule, headers, got)
                leads = isinstance(rule.get("cluster"), dict)
                assert got.startswith(
                    f"protokit: rule r[{which}] leads to no" if leads else "protokit: no endpoint of cluster "
                ), got
    assert site.world.stat("requests_active") == 0


CLUSTERS = {
    "demo": {
        10_001: ({"version": "v1", "lane": "base"}, 1),
        10_002: ({"version": "v2", "lane": "base"}, 1),
        10_003: ({"version": "v2", "lane": "blue"}, 1),
        10_004: ({}, 1),
    },
    "other": {10_010: ({"version": "v1"}, 1)},
}


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize(
    ("rule", "headers", "said"),
    [
        ({"subset": {"version": "v3"}}, {}, "no endpoint of cluster demo has version=v3"),
        (
            {"subset": {"version": "v1", "lane": {"in": ["red", "blue"]}}},
            {},
            "no endpoint of cluster demo has lane=blue|red, version=v1",
        ),
        (
            {"subset": {"version": {"header": "tag"}}},
            {"tag": "v3"},
            "no endpoint of cluster demo has version=v3 (header tag)",
        ),
        (
            {"subset": {"version": {"header": "tag"}, "lane": "blue"}},
            {"tag": "v1"},
            "no endpoint of cluster demo has version=v1 (header tag), lane=blue",
        ),
        (
            {"subset": {"version": {"header": "tag"}}},
            {},
            "no endpoint of cluster demo has version=(none: the request has no header tag)",
        ),
        (
            {"subset": {"version": {"header": "tag"}}, "fallback": {"subset": {"version": "v3"}}},
            {"tag": "v9"},
            "no endpoint of cluster demo has version=v3",
        ),
    ],
)
def test_the_error_names_the_subset(protocol, rule, headers, said):
    site = Site(protocol, [{"cluster": "demo", **rule}], CLUSTERS)
    assert site.ask(headers) == f"protokit: {said}"
    assert site.world.stat("errors_no_service") == 1
    assert not site.world.upstreams


@pytest.mark.parametrize("share", [{"subset": {"version": {"header": "tag"}}}, None])
def test_a_header_that_cannot_be_read_is_told(share):
    rule = {"cluster": "demo", **share} if share else {"split": SHARES, "sticky": {"header": "tag"}}
    site = Site("headed", [rule], CLUSTERS)
    told = site.send(headed(1, b"s", BROKEN))
    assert (
        told == "protokit: rule r[0] goes by header tag of the request, which cannot be read: it is malformed"
    )
    assert site.world.stat("errors_bad_request") == 1
    plain_site = Site("headed", [{"cluster": "demo"}], CLUSTERS)
    assert isinstance(plain_site.send(headed(1, b"s", BROKEN)), int)  # nobody asked for it


SHARES = [{"cluster": "demo", "weight": 95}, {"cluster": "other", "weight": 5}]


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize(
    ("sticky", "key"),
    [
        ({"header": "user"}, lambda i: ({"user": f"u{i}"}, "s")),
        ("service", lambda i: ({}, f"com.example.S{i}")),
        ("method", lambda i: ({}, f"com.example.S{i}")),
        (["service", {"header": "user"}], lambda i: ({"user": f"u{i % 20}"}, f"com.example.S{i // 20}")),
    ],
    ids=["header", "service", "method", "several"],
)
def test_a_key_keeps_its_share(protocol, sticky, key):
    """In other workers and processes, over reloads; a share that grows takes only whom it needs."""

    def shares(site):
        return [site.ask(*key(i)) == 10_010 for i in range(400)]

    rule = [{"split": SHARES, "sticky": sticky}]
    first = Site(protocol, rule, CLUSTERS)
    before = shares(first)
    assert 5 <= sum(before) <= 40  # of 400, 20
    second = Site(protocol, rule, dict(reversed(CLUSTERS.items())), seed=99)
    assert shares(second) == before
    first.reload(rule, {"new": CLUSTERS["other"], **CLUSTERS}, seed=1234)
    assert shares(first) == before
    for demo, other in ((90, 10), (95, 10), (7, 1)):
        grown = [{"cluster": "demo", "weight": demo}, {"cluster": "other", "weight": other}]
        first.reload([{"split": grown, "sticky": sticky}], CLUSTERS)
        after = shares(first)
        assert all(now for now, then in zip(after, before, strict=True) if then)
        assert sum(before) < sum(after) <= 70


@pytest.mark.parametrize("protocol", BOTH)
def test_a_client_keeps_its_share_by_its_address(protocol):
    """On each of its connections."""
    rule = {"split": [{"cluster": "demo"}, {"cluster": "other"}], "sticky": "source"}
    site = Site(protocol, [rule], CLUSTERS)
    found = Counter()
    for i in range(40):
        clients = [site.world.client(source=f"10.0.{i}.1") for _ in range(2)]
        shares = {site.ask(client=client) == 10_010 for client in clients for _ in range(3)}
        for client in clients:
            site.world.batch(("error", client))
        assert len(shares) == 1
        found[shares.pop()] += 1
    assert min(found[True], found[False]) > 10
    unknown = Counter(site.ask() == 10_010 for _ in range(40))
    assert min(unknown[True], unknown[False]) > 10


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("pinned", [False, True])
def test_a_header_names_the_cluster_of_those_on_a_list(protocol, pinned):
    clusters = CLUSTERS | {"secret": {10_020: ({}, 1)}, "demo": {10_001: ({}, 1)}}
    every = [
        {"match": {"service": "a"}, "cluster": {"header": "x-cluster", "of": ["demo", "other"]}},
        {"match": {"service": "b"}, "cluster": {"header": "x-cluster", "of": ["other"], "else": "secret"}},
    ]
    site = Site(protocol, every, clusters, mode="pinned" if pinned else "shared")
    for _ in range(2):
        assert site.ask({"x-cluster": "demo"}, "a") == 10_001
        assert site.ask({"x-cluster": "other"}, "a") == site.ask({"x-cluster": "other"}, "b") == 10_010
        assert site.ask({"x-cluster": "demo"}, "b") == site.ask({}, "b") == 10_020
        none = "protokit: rule r[0] leads to no cluster of that name: "
        assert site.ask({"x-cluster": "secret"}, "a") == f"{none}secret (header x-cluster)"
        assert site.ask({"x-cluster": ""}, "a") == f"{none} (header x-cluster)"
        assert site.ask({}, "a") == f"{none}(none: the request has no header x-cluster)"
        site.reload(every, dict(reversed(clusters.items())))
    assert site.world.stat("errors_no_service") == 6


@pytest.mark.parametrize("protocol", BOTH)
def test_who_has_no_key_has_a_share_by_chance(protocol):
    rule = {"split": [{"cluster": "demo"}, {"cluster": "other"}], "sticky": {"header": "user"}}
    site = Site(protocol, [rule], CLUSTERS)
    for headers in ({}, {"other": "u1"}, {"user": ""}):
        got = Counter(site.ask(headers) == 10_010 for _ in range(100))
        assert min(got[True], got[False]) > 20


def test_what_has_a_body_that_nobody_reads_has_no_key():
    site = Site("dubbo", [{"split": SHARES, "sticky": {"header": "user"}}], CLUSTERS)
    call = bytearray(Call("b", "m", "", [], request_id=1).encode())
    call[2] = call[2] & ~31 | 8  # Kryo
    site.world.feed(site.client, bytes(call))
    assert any(site.world.got[up] for up in site.world.upstreams)


@pytest.mark.parametrize("protocol", BOTH)
def test_an_endpoint_is_one_however_many_subsets_it_is_in(protocol):
    """Its connections and health are the whole cluster's."""
    every = [
        {"match": {"service": "a"}, "cluster": "demo", "subset": {"version": "v1"}},
        {"match": {"service": "b"}, "cluster": "demo", "subset": {"lane": "base", "version": "v1"}},
        {"match": {"service": "c"}, "cluster": "demo", "subset": {"version": {"header": "tag"}}},
    ]
    site = Site(protocol, every, CLUSTERS)
    for _ in range(3):
        assert site.ask(service="a") == site.ask(service="b") == site.ask({"tag": "v1"}, "c") == 10_001
    assert [port for _, port in site.world.upstreams.values()] == [10_001]
    # A reload that names no subset, and one that does again, leave it open.
    site.reload([{"cluster": "demo"}], CLUSTERS)
    site.reload(every, CLUSTERS)
    assert site.ask(service="a") == 10_001
    assert [port for _, port in site.world.upstreams.values()] == [10_001]
    assert site.world.stat("upstream_connects") == 1
    # One that takes it away ends the connection.
    site.reload(every, {**CLUSTERS, "demo": {10_002: ({"version": "v2"}, 1)}})
    assert not site.world.upstreams


@pytest.mark.parametrize("protocol", BOTH)
def test_the_turn_of_a_subset_goes_on_over_a_reload(protocol):
    """And is not that of the whole cluster, nor of another subset."""
    clusters = {"demo": {10_000 + i: ({"version": f"v{i % 2}"}, 1) for i in range(6)}}
    every = [
        {"match": {"service": "a"}, "cluster": "demo", "subset": {"version": "v0"}},
        {"match": {"service": "b"}, "cluster": "demo", "subset": {"version": {"header": "tag"}}},
        {"cluster": "demo"},
    ]
    site = Site(protocol, every, clusters)
    turns = []
    for number in range(9):
        turns.append(site.ask(service="a") if number % 3 else site.ask({"tag": "v0"}, "b"))
        site.ask(service="c")
        site.ask({"tag": "v1"}, "b")
        site.reload(every if number % 2 else [*every[:2], {"cluster": "demo", "timeout": "1s"}], clusters)
    assert turns[:3] == turns[3:6] == turns[6:]
    assert sorted(turns[:3]) == [10_000, 10_002, 10_004]


@pytest.mark.parametrize("protocol", BOTH)
def test_a_pinned_client_has_a_connection_for_each_subset(protocol):
    every = [
        {"cluster": "demo", "subset": {"lane": {"header": "lane"}}, "fallback": {"subset": {"lane": "base"}}}
    ]
    site = Site(protocol, every, CLUSTERS, mode="pinned")
    blue = [site.ask({"lane": "blue"}) for _ in range(3)]
    base = [site.ask({"lane": "green"}) for _ in range(3)]
    assert blue == [10_003] * 3
    assert len({*base}) == 1
    assert base[0] in {10_001, 10_002}
    site.reload(every, CLUSTERS, seed=9)
    assert site.ask({"lane": "blue"}) == 10_003
    assert site.ask() == base[0]
    assert len(site.world.upstreams) == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_all_words_of_a_choice_count(seed):
    """Each combination that an endpoint has, and no other, where many stand close together."""
    pairs_of = [(i, k) for i in range(16) for k in range(16)]
    clusters = {
        "demo": {10_000 + 16 * i + k: ({"v": f"v{i}", "z": f"z{k}"}, 1) for i, k in pairs_of if i != k}
    }
    rule = {"cluster": "demo", "subset": {"v": {"header": "tag"}, "z": {"header": "zone"}}}
    site = Site("headed", [rule], clusters)
    site.reload([rule], clusters, seed=seed)
    for i, k in pairs_of:
        got = site.ask({"tag": f"v{i}", "zone": f"z{k}"})
        none = f"protokit: no endpoint of cluster demo has v=v{i} (header tag), z=z{k} (header zone)"
        assert got == (none if i == k else 10_000 + 16 * i + k)


def test_a_header_that_is_no_text_chooses_nothing():
    """Its bytes may be those of a text that an endpoint has."""
    clusters = {"demo": {10_001: ({"v": "T"}, 1), 10_002: ({"v": "1"}, 1)}}  # T: hessian's true
    rule = {"cluster": "demo", "subset": {"v": {"header": "tag"}}, "fallback": {"subset": {"v": "1"}}}
    site = Site("dubbo", [rule], clusters)
    assert site.ask({"tag": True}) == 10_002
    assert site.ask({"tag": "T"}) == 10_001


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"cluster": "demo", "subset": {"version": {"header": "tag"}}}, 10_001),
        ({"cluster": {"header": "tag", "of": ["other"], "else": "demo"}, "match": {"service": "x"}}, 10_010),
    ],
)
def test_where_a_request_goes_is_known_before_it_is_changed(rule, expected):
    site = Site("dubbo", [rule | {"set": {"headers": {"tag": "v9"}}}], CLUSTERS)
    assert site.ask({"tag": "other" if expected == 10_010 else "v1"}, "x") == expected


def test_a_thousand_values_are_looked_up_at_once():
    clusters = {"demo": {10_000 + i: ({"lane": f"l{i}"}, 1) for i in range(1000)}}
    site = Site("headed", [{"cluster": "demo", "subset": {"lane": {"header": "lane"}}}], clusters)
    for i in (0, 1, 499, 998, 999):
        assert site.ask({"lane": f"l{i}"}) == 10_000 + i
    assert "no endpoint" in site.ask({"lane": "l1000"})


@pytest.mark.parametrize("weights", [[0, 1], [1, 0], [0, 0, 3], [0, 2, 0], [2, 0, 1], [0, 9, 0, 0]])
@pytest.mark.parametrize("sticky", [{"sticky": {"header": "user"}}, {}], ids=["sticky", "by chance"])
def test_a_share_of_no_weight_gets_nothing(weights, sticky):
    clusters = {f"c{i}": {10_000 + i: ({}, 1)} for i in range(len(weights))}
    split = [{"cluster": f"c{i}", "weight": weight} for i, weight in enumerate(weights)]
    site = Site("dubbo", [{"split": split, **sticky}], clusters)
    got = {site.ask({"user": f"u{i}"}) for i in range(40)}
    assert got == {10_000 + i for i, weight in enumerate(weights) if weight}


@pytest.mark.parametrize("kind", ["wide", "own"])
def test_a_pinned_client_goes_where_its_subset_is_now(toys, kind):
    """The endpoint that it had is in the cluster still."""
    toy = toys[kind]

    def subset_of(members) -> native.Table:
        builder = TableBuilder(LIMITS, seed=42)
        for subset, uids in (("", range(2)), ("version=v2", members)):
            builder.cluster("c", "round-robin", 4, 1000, subset=subset)
            for uid in uids:
                builder.endpoint(uid, "127.0.0.1", 9000 + uid, 1)
        number = builder.plan("r")
        builder.split(1, 1)
        builder.listener(0, "in", routes=None, plan=number, pinned=kind == "own", codecs=[toy.address])
        return builder.finish()

    world = World(subset_of([1]))
    client = world.client()
    for number, members, port in ((1, [1], 9001), (2, [0], 9000), (3, [0], 9000)):
        if number == 2:
            world.apply(subset_of(members))
        world.feed(client, toy.request(number))
        asked = {}
        for up, (_, at) in list(world.upstreams.items()):
            for frame in world.take(toy, up):
                asked[at] = frame[2]
                world.feed(up, toy.frame(toy.RESPONSE, frame[2], b"x"))
        assert list(asked) == [port]
        assert len(world.take(toy, client)) == 1
