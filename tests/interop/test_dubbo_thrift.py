"""Real clients and servers of Dubbo's Thrift talk through the proxy; asserted is what the clients got.

They have no one-way calls: Dubbo answers every call of this protocol.
"""

from __future__ import annotations

import peers
import pytest

pytestmark = pytest.mark.interop
CLIENT, SERVER = "dubbothrift-client", "dubbothrift-server"
VALUES = {
    "hello": "Zürich 🚀",
    "add": 2 + (1 << 40),
    "big": 1 << 20,
    "many": 1000,
    "after-declared": "Declared, then still here",
    "after-undeclared": "RpcException, then still here",
}
# Says no to one method.
PLUGIN = """
from protokit import Filter, Response, Status, hookimpl

class Deny(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        if request.method == "breaks":
            return Response(Status.DENIED, "not for you")

@hookimpl
def protokit_filters():
    return {"deny": Deny}
"""
# What the proxy says by itself.
SAID = {
    "hello": "protokit: no route on listener 'wrong'",
    "declared": "protokit: no endpoint can be reached",
    "slow": "protokit: no answer from 127.0.0.1:",
    "undeclared": "not for you",
}
ECHO = "demo.gen.Echo$Iface"


def rule(method: str, **what: str) -> dict:
    return {"match": {"service": ECHO, "method": method}, **what}


@pytest.fixture(scope="module")
def ports(tmp_path_factory, provider, standing_proxy):
    """A proxy's listeners: where calls come out right, and where each of some methods fails."""
    to = provider(SERVER).port
    plugin = tmp_path_factory.mktemp("dubbothrift") / "plugin.py"
    plugin.write_text(PLUGIN)
    common = {"bind": "127.0.0.1:0", "protocol": "dubbo-thrift"}
    one = standing_proxy(
        plugins=[str(plugin)],
        listeners=[
            {"name": "right", "routes": "right", **common},
            {"name": "wrong", "routes": "wrong", "filters": ["deny"], **common},
        ],
        routes=[
            {"name": "right", "rules": [{"match": {"service": ECHO}, "cluster": "all"}]},
            {
                "name": "wrong",
                "rules": [
                    rule("slow", cluster="all", timeout="200ms"),
                    rule("fails", cluster="dead"),
                    rule("breaks", cluster="all"),
                    rule("add", cluster="all"),
                ],
            },
            {
                "name": "closing",
                "rules": [rule(method, cluster="all") for method in ("echo", "add", "fails")],
            },
        ],
        clusters=[
            {"name": "all", "endpoints": [f"127.0.0.1:{to}"]},
            {"name": "dead", "endpoints": [f"127.0.0.1:{peers.free_port()}"]},
        ],
    )
    yield one.ports
    stats = one.stats()["workers"][0]
    assert stats["protocol_errors_client"] == stats["protocol_errors_upstream"] == 0


def test_every_call_comes_out_as_without_a_proxy(ports):
    found = peers.consume(CLIENT, ports["right"], *VALUES, "declared", "undeclared", "missing")
    assert {case: found[case] for case in VALUES} == {
        case: ("value", value) for case, value in VALUES.items()
    }
    assert found["declared"] == ("raised", ["Declared", 17, "not today"])
    assert found["undeclared"] == ("raised", ["RpcException", 0, "broken inside"])
    text = "protokit: no route on listener 'right' for service 'demo.gen.Missing$Iface'"
    assert found["missing"][0] == "raised"
    assert found["missing"][1][2].startswith(text), found


def test_what_the_proxy_says_by_itself_is_raised_and_the_connection_goes_on(ports):
    found = peers.consume(CLIENT, ports["wrong"], *SAID, "add")
    for case, text in SAID.items():
        assert found[case][0] == "raised", (case, found)
        assert found[case][1][:2] == ["RpcException", 0], (case, found)
        assert found[case][1][2].startswith(text), (case, found)
    assert found["add"] == ("value", VALUES["add"])


def test_a_server_that_is_killed_is_told_of_and_another_is_asked(start, proxy):
    if peers.missing(CLIENT):
        pytest.skip(peers.missing(CLIENT))
    first, other = start(SERVER), start(SERVER)
    ask = {"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo-thrift", "cluster": "all"}
    ends = [f"127.0.0.1:{first.port}", f"127.0.0.1:{other.port}"]
    one = proxy(listeners=[ask], routes=[], clusters=[{"name": "all", "endpoints": ends[:1]}])
    both = proxy(listeners=[ask], routes=[], clusters=[{"name": "all", "endpoints": ends}])
    right = {"hello": ("value", VALUES["hello"]), "many": ("value", 1000)}
    assert peers.consume(CLIENT, one.port, *right) == right
    assert peers.consume(CLIENT, both.port, *right) == right
    first.stop()
    found = peers.consume(CLIENT, one.port, "hello")["hello"]
    assert found[1][:2] == ["RpcException", 0], found
    assert found[1][2].startswith("protokit: no endpoint can be reached"), found
    assert peers.consume(CLIENT, both.port, *right) == right
    start(SERVER, first.port)
    assert peers.consume(CLIENT, both.port, *right) == right
