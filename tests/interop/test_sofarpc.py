"""Real SOFARPC clients call real servers over bolt through the proxy; asserted is what the client got.

With PROTOKIT_INTEROP_DIRECT=1 they call each other without the proxy: proves peers and expectations.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
import time

import peers
import pytest
from peers import need

pytestmark = pytest.mark.interop
DIRECT = os.environ.get("PROTOKIT_INTEROP_DIRECT") == "1"
NO_ROUTE = "protokit: no route on listener 'in' for service 'demo.Missing"
SOFA = "com.alipay.sofa.rpc.core.exception.Sofa"
SERVER_EXCEPTION = "com.alipay.remoting.rpc.exception.RpcServerException"
BUSY = "rpc.exception.InvokeServerBusy"
# The Node server answers errors with the class name SofaResponse before another object.
NO_CAST = (
    f"{SOFA}RpcException#230: com.alipay.remoting.exception.DeserializationException: "
    f"class {SERVER_EXCEPTION} cannot be cast to class com.alipay.sofa.rpc.core.response.SofaResponse *"
)

# In frames of ver1 = 1 Java sets the switch without a checksum, and the Node server waits for one.
DEAF = ("sofarpc-consumer-v2", "sofarpc-node-server")
CLIENTS = {
    server: [one for one in peers.BOLT_CONSUMERS if (one, server) != DEAF] for server in peers.BOLT_PROVIDERS
}
PAIRS = [(client, server) for server, clients in CLIENTS.items() for client in clients]

VALUES = {
    "hello": "hello Zürich 🚀",
    "add": str(2 + (1 << 40)),
    "nul": "null",
    "big": "1048576 abv",
    "bytes": "true",
    "uniqueid": "hello x of u1",
    "idle": "hello again",
    "many": "1000",
}
# Node writes the person of an answer twice: the one met again is another.
JAVA_PERSON = "Ada 🚀 37 1234567890123 Grace {} {{list=[1, 1099511627776, 3.5, x, null, true]}}"
NODE_PERSON = 'Ada 🚀 37 1234567890123 Grace {} {{"list":[1,1099511627776,3.5,"x",null,true]}}'
JAVA_VALUES = {
    **VALUES,
    "nothing": "done",
    "oneway": "5",
    "future": "hello future",
    "callback": "hello callback",
}
NODE_VALUES = {**VALUES, "nothing": "null"}
# What a provider says of a service that it has not.
JAVA_MISSING = "RPC-020100010: RPC cannot find service: [{}] "
NODE_MISSING = f"{SERVER_EXCEPTION}: Error: not found service: {{}}"
MISSING = "demo.Missing:1.0"
NO_UNIQUE_ID = "demo.BoltService:1.0:u2"
JAVA_TIMEOUT = (
    f"{SOFA}TimeOutException#200: com.alipay.remoting.rpc.exception.InvokeTimeoutException: "
    "Rpc invocation timeout[responseCommand TIMEOUT]! the address is 127.0.0.1:{} <- *"
)
NODE_TIMEOUT = "RpcResponseTimeoutError: no response in *"
CLOCKS_MS = 2  # Node's timer goes by another clock than that text, and both count whole ms

# By client and server; a star at the end: more may follow.
ERRORS = {
    ("java", "java"): {
        "fail": ("raised", "demo.Refused: not today"),  # servers cut the cause off
        "crash": ("raised", "java.lang.IllegalStateException: not today"),
        "futurefail": ("raised", f"{SOFA}RpcException#199: not today <- demo.Refused: not today"),
        "callbackfail": ("value", "onAppException demo.Refused: not today"),
        "missing": ("raised", f"{SOFA}RpcException#199: {JAVA_MISSING.format(MISSING)}"),
        "nouniqueid": ("raised", f"{SOFA}RpcException#199: {JAVA_MISSING.format(NO_UNIQUE_ID)}"),
    },
    # Futures and callbacks of such an answer never end.
    ("java", "node"): dict.fromkeys(("fail", "crash", "missing", "nouniqueid"), ("raised", NO_CAST)),
    ("node", "java"): {
        "fail": ("raised", "demo.Refused: not today"),
        "crash": ("raised", "java.lang.IllegalStateException: not today"),
        "missing": ("raised", f"Error: {JAVA_MISSING.format(MISSING)}"),
        "nouniqueid": ("raised", f"Error: {JAVA_MISSING.format(NO_UNIQUE_ID)}"),
    },
    ("node", "node"): {
        "fail": ("raised", f"Error: {SERVER_EXCEPTION}: Error: not today"),
        "crash": ("raised", f"Error: {SERVER_EXCEPTION}: Error: not today"),
        "missing": ("raised", f"Error: {NODE_MISSING.format(MISSING)}"),
        "nouniqueid": ("raised", f"Error: {NODE_MISSING.format(NO_UNIQUE_ID)}"),
    },
}


DENY = """
from protokit import Filter, Response, Status, hookimpl

class Deny(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        return Response(Status.DENIED, "not for you")

@hookimpl
def protokit_filters():
    return {"deny": Deny}
"""


CHANGES = """
from protokit import Filter, hookimpl

class Changes(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        first, *rest = request.arguments()
        if request.method == "add":
            first, rest = first + 100, [rest[0] + 1]
        elif request.method == "hello":
            first += " and all \\U0001f680"
        else:
            fields = first if isinstance(first, dict) else first.fields
            fields["name"] = "Ida"
        request.change_arguments([first, *rest])

@hookimpl
def protokit_filters():
    return {"changes": Changes}
"""


def kind(peer: str) -> str:
    return "node" if "node" in peer else "java"


def expectations(client: str, server: str, *, port: int, provider_port: int) -> dict[str, tuple[str, str]]:
    """What has to come out of each case."""
    node = kind(client) == "node"
    found = {case: ("value", value) for case, value in (NODE_VALUES if node else JAVA_VALUES).items()}
    whole = "true" if kind(server) == "java" else "false"
    found["person"] = ("value", (NODE_PERSON if node else JAVA_PERSON).format(whole))
    found["port"] = ("value", str(provider_port))
    found |= ERRORS[kind(client), kind(server)]
    found["timeout"] = ("raised", NODE_TIMEOUT if node else JAVA_TIMEOUT.format(port))
    if client in {"sofarpc-consumer", "sofarpc-node-client"}:  # the others need not wait again
        found["slow"] = ("value", "slept 1500")
        found["proxytimeout"] = ("value", "slept 2500")
    if not DIRECT:
        found["missing"] = (
            "raised",
            f"{'Error' if node else f'{SOFA}RpcException#199'}: {SERVER_EXCEPTION}: {NO_ROUTE}*",
        )
    if not DIRECT and "proxytimeout" in found:
        timed_out = JAVA_TIMEOUT.format(port)
        if node:
            timed_out = f"Error: {SERVER_EXCEPTION}: protokit: no answer from 127.0.0.1:{provider_port} *"
        found["proxytimeout"] = ("raised", timed_out)
    return found


@pytest.fixture
def proxied(proxy):
    """Call it with a provider's port for a bolt proxy before it; nothing where peers call each other."""
    if not DIRECT and not importlib.metadata.entry_points(group="protokit.plugins", name="bolt"):
        pytest.skip("the plugin of bolt is not installed")

    def start(port: int, **more):
        if DIRECT:
            return None
        rule = {"match": {"service": "demo.BoltService*"}, "cluster": "all"}
        limited = {"match": {**rule["match"], "method": "slow"}, "cluster": "all", "timeout": "2s"}
        return proxy(
            port,
            listeners=[{"name": "in", "bind": "127.0.0.1:0", "protocol": "bolt", "routes": "r"}],
            routes=[{"name": "r", "rules": [limited, rule]}],
            **more,
        )

    return start


def until(reached, what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def no_protocol_errors(one) -> None:
    assert one.stats()["workers"][0]["protocol_errors_client"] == 0
    assert one.stats()["workers"][0]["protocol_errors_upstream"] == 0


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_every_client_to_every_server(provider, proxied, client, server):
    need(client)
    up = provider(server).port
    one = proxied(up)
    port = one.port if one else up
    expected = expectations(client, server, port=port, provider_port=up)
    found = peers.consume(client, port, *expected)
    assert set(found) == set(expected)
    for case, (how, what) in expected.items():
        text = found[case][1]
        if one and case == "timeout" and "protokit: " in text:  # the proxy's clock was first
            assert "within 300 ms" in text
            continue
        if what.endswith("*"):
            if what == NODE_TIMEOUT:
                ms = re.match(r"\d+(?=ms, address:)", text[len(what) - 1 :])
                assert ms and int(ms[0]) >= 300 - CLOCKS_MS, text
            text = text[: len(what) - 1] + "*"
        assert (case, found[case][0], text) == (case, how, what)
    if one:
        if kind(client) == "node" and "proxytimeout" in found:
            assert "within 2000 ms" in found["proxytimeout"][1]
        assert one.stats()["workers"][0]["heartbeats_received"] >= 1  # of "idle"
        no_protocol_errors(one)


@pytest.mark.parametrize("server", peers.BOLT_PROVIDERS)
def test_all_versions_of_bolt_at_once(provider, proxied, server):
    need(*CLIENTS[server])
    up = provider(server).port
    one = proxied(up)
    running = {
        client: peers.start_consumer(client, one.port if one else up, "many", "big")
        for client in CLIENTS[server]
    }
    try:
        found = {client: peers.results(client, process) for client, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
            process.communicate()
    right = {"many": ("value", "1000"), "big": ("value", "1048576 abv")}
    assert found == dict.fromkeys(CLIENTS[server], right)
    if one:
        no_protocol_errors(one)


@pytest.mark.parametrize("client", ["sofarpc-consumer", "sofarpc-node-client"])
def test_a_provider_killed_in_the_middle_of_a_call(proxied, tmp_path, client):
    need(client, "sofarpc-provider")
    dying = peers.Provider("sofarpc-provider", tmp_path / "log")
    try:
        one = proxied(dying.port)
        process = peers.start_consumer(client, one.port if one else dying.port, "slow")
        if one:
            for _ in range(200):
                if one.stats()["workers"][0]["requests_active"]:
                    break
                time.sleep(0.05)
        else:
            time.sleep(1.2)
    finally:
        dying.stop()
    how, what = peers.results(client, process)["slow"]
    lost = f"protokit: the connection was lost to 127.0.0.1:{dying.port} (cluster all) after the request"
    if client == "sofarpc-consumer":
        closed = "com.alipay.remoting.exception.ConnectionClosedException: Connection closed! the address is "
        expected = f"{SOFA}RpcException#250: {closed}127.0.0.1:{one.port if one else dying.port}"
    elif one:
        expected = f"Error: {SERVER_EXCEPTION}: {lost}"
    else:
        expected = "RpcSocketCloseError: "
    assert (how, what[: len(expected)]) == ("raised", expected)


@pytest.mark.parametrize("server", peers.BOLT_PROVIDERS)
def test_a_provider_that_comes_back_is_used_again(proxied, start, server):
    """Every client calls until a call fails, and then until one is answered."""
    need(server, *CLIENTS[server])
    dying = start(server)
    proxies = {client: proxied(dying.port) for client in CLIENTS[server]}
    running = {
        client: peers.start_consumer(client, one.port if one else dying.port, "again")
        for client, one in proxies.items()
    }

    def all_have(count: str) -> bool:
        return all(one.stats()["workers"][0][count] > 0 for one in proxies.values())

    if DIRECT:
        time.sleep(5)
    else:
        until(lambda: all_have("responses"), "answers to all")
    dying.stop()
    if DIRECT:
        time.sleep(2)
    else:
        until(lambda: all_have("errors_unavailable"), "failed calls of all")
    start(server, dying.port)
    for client, process in running.items():
        assert peers.results(client, process) == {"again": ("value", "hello again")}, client


def test_idle_connections_are_kept_by_heartbeats(provider, proxied):
    """Java gives a connection up after three unanswered ones, of a second each; Node never."""
    java = [client for client in peers.BOLT_CONSUMERS if kind(client) == "java"]
    need(*java)
    up = provider("sofarpc-provider").port
    one = proxied(up, timeouts={"heartbeat": "300ms"})
    running = {client: peers.start_consumer(client, one.port if one else up, "idlelong") for client in java}
    for client, process in running.items():
        assert peers.results(client, process) == {"idlelong": ("value", "hello again")}
    if one:
        (worker,) = one.stats()["workers"]
        assert worker["connections_accepted"] == len(java), "one was given up"
        assert worker["heartbeats_received"] >= 5 * len(java)
        assert worker["heartbeats_sent"] > 5
        assert (worker["upstream_silent"], worker["upstream_closed"]) == (0, 0)
        no_protocol_errors(one)


@pytest.mark.parametrize("client", ["sofarpc-consumer", "sofarpc-consumer-crc", "sofarpc-node-client"])
def test_what_the_proxy_says_by_itself_is_raised_with_its_reason(proxied, proxy, provider, client, tmp_path):
    """No endpoint, overload and denied; no route, timeouts and a lost connection are above."""
    need(client, "sofarpc-provider")
    if DIRECT:
        pytest.skip("peers call each other")
    filters = tmp_path / "deny.py"
    filters.write_text(DENY)
    listener = {"name": "in", "bind": "127.0.0.1:0", "protocol": "bolt", "cluster": "all"}
    port = provider("sofarpc-provider").port
    with socket.socket() as taken:  # bound, so that nobody else listens there
        taken.bind(("127.0.0.1", 0))
        nobody = proxy(taken.getsockname()[1], listeners=[listener])
        busy = proxy(port, listeners=[listener], limits={"in_flight_per_connection": 1})
        denied = proxy(port, listeners=[{**listener, "filters": ["deny"]}], plugins=[str(filters)])
        found = {
            "nobody": peers.consume(client, nobody.port, "hello")["hello"],
            "busy": peers.consume(client, busy.port, "many")["many"],
            "denied": peers.consume(client, denied.port, "hello")["hello"],
        }
    expected = {
        "nobody": "protokit: no endpoint can be reached (cluster all): there is none, or the last connection",
        "busy": "protokit: overloaded: requests in flight of this connection are at the limit of 1",
        "denied": "not for you",
    }
    raised = dict.fromkeys(expected, f"Error: {SERVER_EXCEPTION}: ")
    if kind(client) == "java":  # of two statuses it shows its own words, not the answer's
        closed, full = (
            f"com.alipay.remoting.{one}Exception: " for one in ("exception.ConnectionClosed", BUSY)
        )
        raised = {
            "nobody": f"{SOFA}RpcException#250: {closed}",
            "busy": f"java.util.concurrent.ExecutionException: {SOFA}RpcException: {full}",  # in a pool
            "denied": f"{SOFA}RpcException#199: {SERVER_EXCEPTION}: ",
        }
        expected["nobody"] = f"Connection closed! the address is 127.0.0.1:{nobody.port}"
        expected["busy"] = f"Server thread pool busy! the address is 127.0.0.1:{busy.port}"
    for case, text in expected.items():
        how, what = found[case]
        assert (case, how, what[: len(raised[case] + text)]) == (case, "raised", raised[case] + text)


@pytest.mark.parametrize("goaway", [False, True], ids=["off", "on"])
def test_java_waits_for_its_answers_in_a_drain_and_closes_where_it_is_sent_a_goaway(proxy, provider, goaway):
    """Why the option is off by default: SOFABolt closes on a command that it does not know."""
    need("sofarpc-consumer", "sofarpc-provider")
    if DIRECT:
        pytest.skip("peers call each other")
    listener = {"name": "in", "bind": "127.0.0.1:0", "protocol": "bolt", "cluster": "all", "goaway": goaway}
    one = proxy(
        provider("sofarpc-provider").port, listeners=[listener], drain={"delay": "0s", "timeout": "20s"}
    )
    client = peers.start_consumer("sofarpc-consumer", one.port, "slow")
    until(lambda: one.stats()["workers"][0]["requests_active"] == 1, "a call is under way")
    one.process.terminate()
    how, what = peers.results("sofarpc-consumer", client)["slow"]
    if goaway:
        closed = "com.alipay.remoting.exception.ConnectionClosedException: Connection closed!"
        assert (how, what[: what.find("!") + 1]) == ("raised", f"{SOFA}RpcException#250: {closed}")
    else:
        assert (how, what) == ("value", "slept 1500")


def test_providers_get_the_arguments_that_a_filter_made(proxy, provider, tmp_path):
    """A person in a circle of friends is whole, and numbers are what the method declares."""
    if DIRECT:
        pytest.skip("peers call each other")
    need(*peers.BOLT_CONSUMERS)
    (tmp_path / "changes.py").write_text(CHANGES)
    listener = {
        "name": "in",
        "bind": "127.0.0.1:0",
        "protocol": "bolt",
        "cluster": "all",
        "filters": ["changes"],
    }
    for server in peers.BOLT_PROVIDERS:
        up = provider(server).port
        one = proxy(up, listeners=[listener], plugins=[str(tmp_path / "changes.py")])
        for client in CLIENTS[server]:
            plain = expectations(client, server, port=one.port, provider_port=up)["person"][1]
            assert peers.consume(client, one.port, "hello", "add", "person") == {
                "hello": ("value", "hello Z\u00fcrich \U0001f680 and all \U0001f680"),
                "add": ("value", str(103 + (1 << 40))),
                "person": ("value", plain.replace("Ada \U0001f680", "Ida", 1)),
            }, (client, server)
        no_protocol_errors(one)
