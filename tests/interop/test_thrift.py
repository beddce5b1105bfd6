"""Real Thrift clients call real servers through the proxy; asserted is what the clients got."""

from __future__ import annotations

import json

import peers
import pytest
from peers import need

pytestmark = pytest.mark.interop
LANGUAGES = list(peers.THRIFT)
PROTOCOLS = {"binary": "thrift", "multi": "thrift", "compact": "thrift-compact", "header": "thrift-header"}
# Each client calls another server on each wire.
SERVERS = {
    (client, wire): LANGUAGES[(LANGUAGES.index(client) + shift) % len(LANGUAGES)]
    for shift, wire in enumerate(("binary", "compact", "multi"), 1)
    for client in LANGUAGES
} | {("python", "header"): "go", ("go", "header"): "python"}
METHODS = ("echo", "add", "nothing", "fails", "breaks", "slow", "big", "note", "noted")
VALUES = {
    "hello": "Zürich 🚀",
    "add": 2 + (1 << 40),
    "nothing": None,
    "big": 1 << 20,
    "oneway": 1,
    "many": 1000,
    "after-declared": "Declared, then still here",
    "after-undeclared": "TApplicationException, then still here",
}
# Clients in Go do not say that a call is one-way; the filter says no to one method.
PLUGIN = """
from protokit import Filter, Response, Status, hookimpl
from protokit_thrift import binary, compact, header

ONEWAY = {"note", "Echo:note"}

class Deny(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        if request.method == "nothing":
            return Response(Status.DENIED, "not for you")

@hookimpl
def protokit_filters():
    return {"deny": Deny}

@hookimpl
def protokit_protocols():
    forms = {"go-thrift": binary, "go-thrift-compact": compact, "go-thrift-header": header}
    return [form(name, ONEWAY) for name, form in forms.items()]
"""
# What the proxy says by itself: type and text in the client.
SAID = {
    "missing": (1, "protokit: no route on listener 'right-"),
    "undeclared": (1, "protokit: no route on listener 'wrong-"),
    "declared": (6, "protokit: no endpoint can be reached"),
    "slow": (6, "protokit: no answer from 127.0.0.1:"),
    "nothing": (6, "not for you"),
}
AFTER = ("after-undeclared", "after-declared", "after-slow", "after-nothing")


def rule(wire: str, method: str, **what: str) -> dict:
    called = {"service": "Echo", "method": method} if wire == "multi" else {"method": method}
    return {"match": called, **what}


def listener(client: str, wire: str, kind: str) -> dict:
    name = f"{kind}-{client}-{wire}"
    protocol = ("go-" if client == "go" else "") + PROTOCOLS[wire]
    return {"name": name, "bind": "127.0.0.1:0", "protocol": protocol, "routes": name}


def routes(client: str, wire: str) -> list[dict]:
    """Where calls come out right, and where each of four methods fails in the proxy."""
    to = f"{SERVERS[client, wire]}-{wire}"
    right = [rule(wire, method, cluster=to) for method in METHODS]
    wrong = [
        rule(wire, "slow", cluster=to, timeout="200ms"),
        rule(wire, "fails", cluster="dead"),
        rule(wire, "nothing", cluster=to),
        rule(wire, "echo", cluster=to),
    ]
    return [
        {"name": f"right-{client}-{wire}", "rules": right},
        {"name": f"wrong-{client}-{wire}", "rules": wrong},
    ]


@pytest.fixture(scope="module")
def ports(tmp_path_factory, provider, standing_proxy):
    """A port for each of ``right-CLIENT-WIRE`` and ``wrong-CLIENT-WIRE``, all of one proxy."""
    need("thrift-python-client-binary")
    plugin = tmp_path_factory.mktemp("thrift") / "plugin.py"
    plugin.write_text(PLUGIN)
    rights = [listener(*pair, "right") for pair in SERVERS]
    wrongs = [listener(*pair, "wrong") | {"filters": ["deny"]} for pair in SERVERS]
    clusters = [
        {
            "name": f"{server}-{wire}",
            "endpoints": [f"127.0.0.1:{provider(f'thrift-{server}-server-{wire}').port}"],
            "max_connections": 32,  # as many calls at once
        }
        for server, wire in peers.THRIFT_PAIRS
    ]
    clusters.append({"name": "dead", "endpoints": [f"127.0.0.1:{peers.free_port()}"]})
    one = standing_proxy(
        plugins=[str(plugin)],
        listeners=rights + wrongs,
        routes=[route for pair in SERVERS for route in routes(*pair)],
        clusters=clusters,
    )
    yield one.ports
    stats = one.stats()["workers"][0]
    assert stats["protocol_errors_client"] == stats["protocol_errors_upstream"] == 0


@pytest.mark.parametrize(("client", "wire"), SERVERS)
def test_every_call_comes_out_as_without_a_proxy(ports, client, wire):
    name = f"thrift-{client}-client-{wire}"
    found = peers.consume(name, ports[f"right-{client}-{wire}"], *VALUES, "declared", "undeclared", "missing")
    assert {case: found[case] for case in VALUES} == {
        case: ("value", value) for case, value in VALUES.items()
    }
    assert found["declared"] == ("raised", ["Declared", 17, "not today"])
    assert (found["undeclared"][0], found["undeclared"][1][0]) == ("raised", "TApplicationException")
    check("missing", found["missing"])


@pytest.mark.parametrize(("client", "wire"), SERVERS)
def test_what_the_proxy_says_by_itself_is_raised_and_the_connection_goes_on(ports, client, wire):
    name = f"thrift-{client}-client-{wire}"
    cases = [case for case in SAID if case != "missing"]
    found = peers.consume(name, ports[f"wrong-{client}-{wire}"], *cases, *AFTER)
    for case in cases:
        check(case, found[case])
    for case in AFTER:
        assert found[case] == ("value", "TApplicationException, then still here"), case


def check(case: str, found: tuple) -> None:
    kind, text = SAID[case]
    assert found[0] == "raised", (case, found)
    assert found[1][:2] == ["TApplicationException", kind], (case, found)
    assert found[1][2].startswith(text), (case, found)


def test_a_server_that_is_killed_is_told_of_and_another_is_asked(start, proxy):
    client = "thrift-python-client-binary"
    need(client)
    first = start("thrift-python-server-binary")
    other = start("thrift-go-server-binary")
    ask = {"name": "in", "bind": "127.0.0.1:0", "protocol": "thrift", "cluster": "all"}
    ends = [f"127.0.0.1:{first.port}", f"127.0.0.1:{other.port}"]
    more = {"listeners": [ask], "routes": []}
    one = proxy(clusters=[{"name": "all", "endpoints": ends[:1], "max_connections": 32}], **more)
    both = proxy(clusters=[{"name": "all", "endpoints": ends, "max_connections": 32}], **more)
    right = {"hello": ("value", VALUES["hello"]), "many": ("value", 1000)}
    assert peers.consume(client, one.port, *right) == right
    assert peers.consume(client, both.port, *right) == right
    first.stop()
    found = peers.consume(client, one.port, "hello")["hello"]
    assert (found[0], found[1][:2]) == ("raised", ["TApplicationException", 6]), found
    assert json.dumps(found).count("protokit: ") == 1
    assert peers.consume(client, both.port, *right) == right
    start("thrift-python-server-binary", first.port)
    assert peers.consume(client, both.port, *right) == right


STAMP = """
from protokit import Filter, hookimpl

class Stamp(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        request.headers["x-filter"] = request.headers.get("zone", "nowhere")

@hookimpl
def protokit_filters():
    return {"stamp": Stamp}
"""


@pytest.fixture(scope="module")
def headed(tmp_path_factory, provider, standing_proxy):
    """Ports by the client's name: rules and a filter that read, add and take out headers of THeader."""
    need("thrift-python-client-header")
    plugin = tmp_path_factory.mktemp("thrift") / "stamp.py"
    plugin.write_text(STAMP)
    changes = {
        "headers": {"x-rule": "said so", "x-zone": {"header": "zone"}},
        "remove": ["empty"],
        "answer": {"headers": {"x-passed": "proxy"}},
    }
    clients = ("python", "go")
    clusters = {
        client: provider(f"thrift-{other}-server-header").port
        for client, other in zip(clients, reversed(clients), strict=True)
    }
    more = {
        "plugins": [str(plugin)],
        "listeners": [
            listener(one, "header", kind) | {"protocol": "thrift-header"} | filters
            for one in clients
            for kind, filters in (("ruled", {}), ("filtered", {"filters": ["stamp"]}))
        ],
        "routes": [
            {"name": f"{kind}-{one}-header", "rules": rules}
            for one in clients
            for kind, rules in (
                (
                    "ruled",
                    [
                        {"match": {"headers": {"zone": "east"}}, "cluster": one, "set": changes},
                        {
                            "match": {"method": "echo"},
                            "cluster": one,
                            "set": {"headers": {"x-rule": "other"}},
                        },
                    ],
                ),
                ("filtered", [{"match": {"method": "echo"}, "cluster": one}]),
            )
        ],
        "clusters": [
            {"name": name, "endpoints": [f"127.0.0.1:{port}"], "max_connections": 32}
            for name, port in clusters.items()
        ],
    }
    return standing_proxy(**more).ports


@pytest.mark.parametrize(("client", "server"), [("python", "go"), ("go", "python")])
def test_headers_are_matched_changed_and_added_on_the_way_to_a_server_and_back(headed, client, server):
    name, cases = f"thrift-{client}-client-header", ("headers", "no-headers", "hello")
    found = peers.consume(name, headed[f"ruled-{client}-header"], *cases)
    assert found["headers"] == (
        "value",
        [
            {"zone": "east", "x-rule": "said so", "x-zone": "east"},
            {"x-served": server, "x-passed": "proxy"},
        ],
    )
    assert found["no-headers"] == ("value", [{"x-rule": "other"}, {"x-served": server}])
    assert found["hello"] == ("value", VALUES["hello"])


@pytest.mark.parametrize(("client", "server"), [("python", "go"), ("go", "python")])
def test_a_filter_reads_headers_and_adds_one(headed, client, server):
    name = f"thrift-{client}-client-header"
    found = peers.consume(name, headed[f"filtered-{client}-header"], "headers", "no-headers")
    assert found["headers"] == (
        "value",
        [{"zone": "east", "empty": "", "x-filter": "east"}, {"x-served": server}],
    )
    assert found["no-headers"] == ("value", [{"x-filter": "nowhere"}, {"x-served": server}])
