"""Real clients and servers of baidu_std talk through the proxy; asserted is what the clients got."""

from __future__ import annotations

import peers
import pytest

pytestmark = pytest.mark.interop
CLIENT, CHUNKS, SERVER = "brpc-client", "brpc-client-chunks", "brpc-server"
JAVA_CLIENT, JAVA_SERVER = "brpcjava-client", "brpcjava-server"  # of brpc-java, another library
VALUES = {
    "hello": "Zürich 🚀",
    "attachment": "a text with a file, back: a file",
    "headers": "{mine=1}",
    "gzip": "small",
    "snappy": "small",
    "big": 1 << 20,
    "sent": 1 << 20,
    "many": 1000,
    "after-declared": "an error, then still here",
    "after-undeclared": "an error, then still here",
    "after-missing": "an error, then still here",
}
# Says no to one method, and adds a header to another's calls.
PLUGIN = """
from protokit import Filter, Response, Status, hookimpl

class Change(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        if request.method == "attach":
            return Response(Status.DENIED, "not for you")
        if request.method == "headers":
            request.headers["theirs"] = "Zürich"

@hookimpl
def protokit_filters():
    return {"change": Change}
"""
RAISED = "A error occurred: errorCode={} errorMessage:{}"
# What the proxy says by itself: the code, and how the text begins.
SAID = {
    "missing": (1001, "protokit: no route on listener 'wrong'"),
    "undeclared": (1009, "protokit: no endpoint can be reached"),
    "slow": (1008, "protokit: no answer from 127.0.0.1:"),
    "attachment": (1004, "not for you"),
}


def rule(method: str | None, **what: str) -> dict:
    return {"match": {"service": "Echo"} | ({"method": method} if method else {}), **what}


@pytest.fixture(scope="module", params=["jprotobuf", "brpc"])
def ports(request, tmp_path_factory, provider, standing_proxy):
    """A proxy's listeners: where calls come out right, and where each of some methods fails."""
    to = provider(SERVER).port
    plugin = tmp_path_factory.mktemp("brpc") / "plugin.py"
    plugin.write_text(PLUGIN)
    common = {"bind": "127.0.0.1:0", "protocol": request.param}
    one = standing_proxy(
        plugins=[str(plugin)],
        listeners=[
            {"name": "right", "routes": "right", **common},
            {"name": "wrong", "routes": "wrong", "filters": ["change"], **common},
        ],
        routes=[
            {"name": "right", "rules": [{"match": {"service": "Echo"}, "cluster": "all"}]},
            {
                "name": "wrong",
                "rules": [
                    rule("slow", cluster="all", timeout="200ms"),
                    rule("breaks", cluster="dead"),
                    rule("attach", cluster="all"),
                    rule("headers", cluster="all"),
                    rule("echo", cluster="all"),
                ],
            },
        ],
        clusters=[
            {"name": "all", "endpoints": [f"127.0.0.1:{to}"]},
            {"name": "dead", "endpoints": [f"127.0.0.1:{peers.free_port()}"]},
        ],
    )
    yield {"protocol": request.param, **one.ports}
    stats = one.stats()["workers"][0]
    assert stats["protocol_errors_upstream"] == 0


def test_every_call_comes_out_as_without_a_proxy(ports):
    found = peers.consume(CLIENT, ports["right"], *VALUES, "declared", "undeclared", "missing")
    assert {case: found[case] for case in VALUES} == {
        case: ("value", value) for case, value in VALUES.items()
    }
    assert found["declared"] == ("raised", [5017, RAISED.format(5017, "not today")])
    assert found["undeclared"] == ("raised", [2001, RAISED.format(2001, "broken inside")])
    assert found["missing"][1][0] == 1001
    assert "protokit: no route on listener 'right' for service 'Missing'" in found["missing"][1][1]


def test_what_the_proxy_says_by_itself_is_raised_and_the_connection_goes_on(ports):
    after = ("after-missing", "after-undeclared", "after-slow")
    found = peers.consume(CLIENT, ports["wrong"], *SAID, *after)
    for case, (code, text) in SAID.items():
        assert found[case][0] == "raised", (case, found)
        assert found[case][1][0] == code, (case, found)
        assert found[case][1][1].startswith(RAISED.format(code, text)), (case, found)
    assert {found[case] for case in after} == {("value", "an error, then still here")}


def test_a_filters_header_reaches_a_server_that_looks_where_the_protocol_has_it(ports):
    found = peers.consume(CLIENT, ports["wrong"], "headers")["headers"]
    wanted = "{mine=1, theirs=Zürich}" if ports["protocol"] == "jprotobuf" else "{mine=1}"
    assert found == ("value", wanted)


def test_a_request_in_several_frames_is_refused(ports):
    found = peers.consume(CHUNKS, ports["right"], "pieces")
    assert found["pieces"][1][0] == 1003, found
    assert "protokit: " in found["pieces"][1][1]


# Who calls whom where one of them is of brpc-java, which has no exceptions with codes and no headers.
PAIRS = [(JAVA_CLIENT, JAVA_SERVER), (JAVA_CLIENT, SERVER), (CLIENT, JAVA_SERVER)]
COMMON = ("hello", "attachment", "gzip", "snappy", "big", "sent", "many", "after-undeclared")
SAID_TO_JAVA = {
    "missing": "protokit: no route on listener 'wrong-",
    "undeclared": "protokit: no endpoint can be reached",
    "slow": "protokit: no answer from 127.0.0.1:",
    "attachment": "not for you",
}


@pytest.fixture(scope="module")
def java_ports(tmp_path_factory, provider, standing_proxy):
    """A port for each of ``right-SERVER`` and ``wrong-SERVER``, all of one proxy."""
    plugin = tmp_path_factory.mktemp("brpcjava") / "plugin.py"
    plugin.write_text(PLUGIN)
    servers = (SERVER, JAVA_SERVER)
    kinds = {"right": {}, "wrong": {"filters": ["change"]}}
    one = standing_proxy(
        plugins=[str(plugin)],
        listeners=[
            {"name": name, "bind": "127.0.0.1:0", "protocol": "brpc", "routes": name, **more}
            for kind, more in kinds.items()
            for name in (f"{kind}-{server}" for server in servers)
        ],
        routes=[
            route
            for server in servers
            for route in (
                {"name": f"right-{server}", "rules": [rule(None, cluster=server)]},
                {
                    "name": f"wrong-{server}",
                    "rules": [
                        rule("slow", cluster=server, timeout="200ms"),
                        rule("breaks", cluster="dead"),
                        rule("attach", cluster=server),
                        rule("echo", cluster=server),
                    ],
                },
            )
        ],
        clusters=[
            *({"name": one, "endpoints": [f"127.0.0.1:{provider(one).port}"]} for one in servers),
            {"name": "dead", "endpoints": [f"127.0.0.1:{peers.free_port()}"]},
        ],
    )
    yield one.ports
    stats = one.stats()["workers"][0]
    assert stats["protocol_errors_client"] == stats["protocol_errors_upstream"] == 0


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_two_libraries_call_each_other(java_ports, client, server):
    wanted = {case: VALUES[case] for case in COMMON}
    if client == server.replace("server", "client"):
        wanted["zlib"] = "small"
    found = peers.consume(client, java_ports[f"right-{server}"], *wanted, "undeclared", "missing")
    assert {case: found[case] for case in wanted} == {
        case: ("value", value) for case, value in wanted.items()
    }
    assert "broken inside" in found["undeclared"][1][1]
    assert f"protokit: no route on listener 'right-{server}' for service 'Missing'" in found["missing"][1][1]


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_both_libraries_hear_what_the_proxy_says(java_ports, client, server):
    after = ("after-undeclared", "after-slow")
    found = peers.consume(client, java_ports[f"wrong-{server}"], *SAID_TO_JAVA, *after)
    for case, text in SAID_TO_JAVA.items():
        assert found[case][0] == "raised", (case, found)
        assert text in found[case][1][1], (case, found)
    assert {found[case] for case in after} == {("value", "an error, then still here")}


def test_a_client_of_brpc_java_is_told_of_a_server_that_is_killed_and_another_is_asked(start, proxy):
    first, other = start(JAVA_SERVER), start(SERVER)
    ask = {"name": "in", "bind": "127.0.0.1:0", "protocol": "brpc", "cluster": "all"}
    ends = [f"127.0.0.1:{first.port}", f"127.0.0.1:{other.port}"]
    one = proxy(listeners=[ask], routes=[], clusters=[{"name": "all", "endpoints": ends[:1]}])
    both = proxy(listeners=[ask], routes=[], clusters=[{"name": "all", "endpoints": ends}])
    right = {"hello": ("value", VALUES["hello"]), "many": ("value", 1000)}
    assert peers.consume(JAVA_CLIENT, both.port, *right) == right
    first.stop()
    found = peers.consume(JAVA_CLIENT, one.port, "hello")["hello"]
    assert found[1][1].count("protokit: no endpoint can be reached") == 1, found
    assert peers.consume(JAVA_CLIENT, both.port, *right) == right


def test_a_server_that_is_killed_is_told_of_and_another_is_asked(start, proxy):
    first, other = start(SERVER), start(SERVER)
    ask = {"name": "in", "bind": "127.0.0.1:0", "protocol": "jprotobuf", "cluster": "all"}
    ends = [f"127.0.0.1:{first.port}", f"127.0.0.1:{other.port}"]
    one = proxy(listeners=[ask], routes=[], clusters=[{"name": "all", "endpoints": ends[:1]}])
    both = proxy(listeners=[ask], routes=[], clusters=[{"name": "all", "endpoints": ends}])
    right = {"hello": ("value", VALUES["hello"]), "many": ("value", 1000)}
    assert peers.consume(CLIENT, one.port, *right) == right
    assert peers.consume(CLIENT, both.port, *right) == right
    first.stop()
    found = peers.consume(CLIENT, one.port, "hello")["hello"]
    assert found[1][0] == 1009, found
    assert found[1][1].count("protokit: ") == 1
    assert peers.consume(CLIENT, both.port, *right) == right
    start(SERVER, first.port)
    assert peers.consume(CLIENT, both.port, *right) == right
