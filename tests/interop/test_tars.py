"""Real TARS clients call real servers through the proxy; asserted is what the clients got."""

from __future__ import annotations

import time

import peers
import pytest

pytestmark = pytest.mark.interop
PAIRS = [("node", "java"), ("java", "node"), ("node", "node"), ("java", "java")]
ECHO = "Demo.Echo.EchoObj"
VALUES = {
    "hello": "Zürich 🚀",
    "slow": "slept",
    "big": 1 << 20,
    "sent": 1 << 20,
    "oneway": 1,
    "many": 1000,
    "after-undeclared": "an error, then still here",
    "after-missing": "an error, then still here",
}
OF_NODE = {"ping": 0, "ids": "all right"}  # what its client can say
BETWEEN_NODES = {"headers": "mine=1; answered=yes", "status": "STATUS_DYED_KEY=red"}  # what its server tells
# Says no to one method, and adds a header to another's calls.
PLUGIN = """
from protokit import Filter, Response, Status, hookimpl

class Change(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        if request.method == "fails":
            return Response(Status.OVERLOADED, "not for you")
        if request.method == "headers":
            request.headers["theirs"] = "Zürich"

@hookimpl
def protokit_filters():
    return {"change": Change}
"""
# What the proxy says by itself: the code, and how the text begins.
SAID = {
    "missing": (-4, "protokit: no route on listener 'wrong-"),
    "undeclared": (-8, "protokit: no endpoint can be reached"),
    "slow": (-7, "protokit: no answer from 127.0.0.1:"),
    "declared": (-9, "not for you"),
}


def rule(method: str, **what: str) -> dict:
    return {"match": {"service": ECHO, "method": method}, **what}


def routes(client: str, server: str) -> list[dict]:
    pair, to = f"{client}-{server}", f"{server}-servers"
    wrong = [
        rule("slow", cluster=to, timeout="200ms"),
        rule("breaks", cluster="dead"),
        *(rule(method, cluster=to) for method in ("fails", "headers", "echo", "tars_ping")),
    ]
    return [
        {"name": f"right-{pair}", "rules": [{"match": {"service": ECHO}, "cluster": to}]},
        {"name": f"wrong-{pair}", "rules": wrong},
    ]


@pytest.fixture(scope="module")
def ports(tmp_path_factory, provider, standing_proxy):
    """A port for each of ``right-CLIENT-SERVER`` and ``wrong-CLIENT-SERVER``, all of one proxy."""
    plugin = tmp_path_factory.mktemp("tars") / "plugin.py"
    plugin.write_text(PLUGIN)
    kinds = {"right": {}, "wrong": {"filters": ["change"]}}
    one = standing_proxy(
        plugins=[str(plugin)],
        listeners=[
            {"name": name, "bind": "127.0.0.1:0", "protocol": "tars", "routes": name, **more}
            for kind, more in kinds.items()
            for client, server in PAIRS
            for name in [f"{kind}-{client}-{server}"]
        ],
        routes=[route for pair in PAIRS for route in routes(*pair)],
        clusters=[
            *(
                {
                    "name": f"{server}-servers",
                    "endpoints": [f"127.0.0.1:{provider(f'tars-{server}-server').port}"],
                }
                for server in ("node", "java")
            ),
            {"name": "dead", "endpoints": [f"127.0.0.1:{peers.free_port()}"]},
        ],
    )
    yield one.ports
    stats = one.stats()["workers"][0]
    assert stats["protocol_errors_client"] == stats["protocol_errors_upstream"] == 0


def raised(client: str, found: tuple) -> tuple[int, str]:
    """The code and the text; Java puts its own words in front of the text."""
    assert found[0] == "raised", found
    code, text = found[1]
    return code, text.partition("|")[2] if client == "java" else text


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_every_call_comes_out_as_without_a_proxy(ports, client, server):
    wanted = VALUES | (OF_NODE if client == "node" else {})
    wanted |= BETWEEN_NODES if client == server == "node" else {}
    wanted |= {"after-declared": "an error, then still here"}
    cases = [*wanted, "declared", "undeclared", "missing"]
    found = peers.consume(f"tars-{client}-client", ports[f"right-{client}-{server}"], *cases)
    assert {case: found[case] for case in wanted} == {
        case: ("value", value) for case, value in wanted.items()
    }
    assert raised(client, found["missing"])[0] == -3  # the server's: the servant has a route
    assert raised(client, found["declared"])[0] == (
        17 if server == "node" else -3
    )  # Java's lacks that method
    assert raised(client, found["undeclared"])[0] == (-1 if server == "node" else -10)


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_what_the_proxy_says_by_itself_is_raised_and_the_connection_goes_on(ports, client, server):
    after = ("after-missing", "after-undeclared", "after-slow", "after-declared")
    found = peers.consume(f"tars-{client}-client", ports[f"wrong-{client}-{server}"], *SAID, *after)
    for case, (code, text) in SAID.items():
        said = raised(client, found[case])
        assert said[0] == code, (case, found)
        assert said[1].startswith(text), (case, found)
    assert {found[case] for case in after} == {("value", "an error, then still here")}


def test_a_filters_header_reaches_the_server(ports):
    found = peers.consume("tars-node-client", ports["wrong-node-node"], "headers")["headers"]
    assert found == ("value", "mine=1,theirs=Zürich; answered=yes")


@pytest.mark.parametrize("server", ["node", "java"])
def test_the_proxys_heartbeats_are_answered(start, proxy, server):
    ask = {"name": "in", "bind": "127.0.0.1:0", "protocol": "tars", "cluster": "all"}
    ends = [f"127.0.0.1:{start(f'tars-{server}-server').port}"]
    one = proxy(
        listeners=[ask],
        routes=[],
        clusters=[{"name": "all", "endpoints": ends}],
        timeouts={"heartbeat": "100ms"},
    )
    hello = {"hello": ("value", VALUES["hello"])}
    assert peers.consume("tars-node-client", one.port, "hello") == hello
    for _ in range(200):
        stats = one.stats()["workers"][0]
        if stats["heartbeats_sent"] > 3:
            break
        time.sleep(0.1)
    assert stats["heartbeats_sent"] > 3
    assert stats["answers_unmatched"] == stats["upstream_silent"] == stats["upstream_closed"] == 0
    assert peers.consume("tars-node-client", one.port, "hello") == hello


def test_a_server_that_is_killed_is_told_of_and_another_is_asked(start, proxy):
    client = "tars-node-client"
    first, other = start("tars-node-server"), start("tars-java-server")
    ask = {"name": "in", "bind": "127.0.0.1:0", "protocol": "tars", "cluster": "all"}
    ends = [f"127.0.0.1:{first.port}", f"127.0.0.1:{other.port}"]
    one = proxy(listeners=[ask], routes=[], clusters=[{"name": "all", "endpoints": ends[:1]}])
    both = proxy(listeners=[ask], routes=[], clusters=[{"name": "all", "endpoints": ends}])
    right = {"hello": ("value", VALUES["hello"]), "many": ("value", 1000)}
    assert peers.consume(client, one.port, *right) == right
    assert peers.consume(client, both.port, *right) == right
    first.stop()
    found = raised("node", peers.consume(client, one.port, "hello")["hello"])
    assert found[0] == -8
    assert found[1].count("protokit: ") == 1
    assert peers.consume(client, both.port, *right) == right
    start("tars-node-server", first.port)
    assert peers.consume(client, both.port, *right) == right
