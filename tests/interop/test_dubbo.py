"""Real Dubbo clients call real Dubbo servers through the proxy; asserted is what the client's side got."""

from __future__ import annotations

import threading
import time

import peers
import pytest

pytestmark = pytest.mark.interop
JAVA_PROVIDERS = ["dubbo27-provider", "dubbo3-provider"]
JAVA_CONSUMERS = ["dubbo27-consumer", "dubbo3-consumer"]
NO_ROUTE = (
    "protokit: no route on listener 'in' for service 'demo.Missing' method 'hello' version '0.0.0' group ''"
)

EXPECTED = {
    "hello": "hello Zürich 🚀",
    "surrogate": "hello \udc00x",
    "add": "42",
    "person": "true 37 GREEN 1234567890123 1234567890.123456789 true {list=[1, 2, 3.5, x, null]}",
    "list": "[a, 1, [true, 2.5]] true",
    "map": "{k=[1099511627776]}",
    "bigstring": "true",
    "megabyte": "true",
    "seven": str(7 << 20),
    "nothing": "done",
    "nul": "null",
    "tell": "5",
    "later": "later x",
    "attachments": "t-42 from provider",
    "group": "hello x of g",
    "generic": "hello generic",
    "$echo": "alive",
    "many": "150",
}


def need(*names: str) -> None:
    for name in names:
        if peers.missing(name):
            pytest.skip(peers.missing(name))


@pytest.mark.parametrize("server", JAVA_PROVIDERS)
@pytest.mark.parametrize("client", JAVA_CONSUMERS)
def test_java_to_java(provider, proxy, client, server):
    need(client)
    one = proxy(provider(server).port)
    cases = [*EXPECTED, "fail", "timeout", "proxytimeout", "noservice", "port"]
    found = peers.consume(client, one.port, *cases)
    expected = dict(EXPECTED)
    if client == "dubbo27-consumer":
        expected["attachments"] = (
            "t-42 null"  # 2.7 shows no answer's attachments there, without a proxy neither
        )
    assert {case: found[case] for case in expected} == {
        case: ("value", value) for case, value in expected.items()
    }
    assert found["port"] == ("value", str(provider(server).port))
    assert found["fail"][0] == "raised"
    assert found["fail"][1].startswith(
        "demo.Types$Refused: not today <- java.lang.IllegalStateException: the cause"
    )
    assert found["timeout"][1].startswith(
        "org.apache.dubbo.rpc.RpcException#2: "
    )  # TIMEOUT: the consumer's own
    assert found["proxytimeout"][1].startswith("org.apache.dubbo.rpc.RpcException#2: ")
    assert (
        f"protokit: no answer from 127.0.0.1:{provider(server).port} (cluster all) within 2000 ms"
        in found["proxytimeout"][1]
    )
    assert found["noservice"][1].startswith("org.apache.dubbo.rpc.RpcException#1: ")
    assert NO_ROUTE in found["noservice"][1]
    assert one.stats()["workers"][0]["protocol_errors_client"] == 0
    assert one.stats()["workers"][0]["protocol_errors_upstream"] == 0


@pytest.mark.parametrize("server", [*JAVA_PROVIDERS, "dubbo-remoting-server"])
@pytest.mark.parametrize("client", ["apache-dubbo-js", "dubbo-remoting-client"])
def test_node_to_all(provider, proxy, client, server):
    need(client)
    one = proxy(provider(server).port)
    found = peers.consume(client, one.port, "hello", "add", "proxytimeout", "noservice")
    assert found["hello"] == ("value", "hello Zürich 🚀")
    assert found["add"] == ("value", "42")
    assert (found["proxytimeout"][0], "within 2000 ms" in found["proxytimeout"][1]) == ("raised", True)
    assert (found["noservice"][0], NO_ROUTE in found["noservice"][1]) == ("raised", True)


@pytest.mark.parametrize("client", JAVA_CONSUMERS)
def test_java_to_node(provider, proxy, client):
    need(client)
    one = proxy(provider("dubbo-remoting-server").port)
    found = peers.consume(client, one.port, "hello", "add", "noservice")
    assert found["hello"] == ("value", "hello Zürich 🚀")
    assert found["add"] == ("value", "42")
    assert NO_ROUTE in found["noservice"][1]


def test_many_at_once_from_node_share_one_connection(provider, proxy):
    need("dubbo-remoting-client")
    one = proxy(provider("dubbo-remoting-server").port)
    assert peers.consume("dubbo-remoting-client", one.port, "many") == {"many": ("value", "300")}
    (endpoint,) = one.stats()["clusters"]["all"].values()
    assert (endpoint["requests"], endpoint["connections"]) == (300, 1)


@pytest.mark.parametrize("client", JAVA_CONSUMERS)
def test_a_provider_killed_in_the_middle_of_a_call(proxy, tmp_path, client):
    need(client, "dubbo3-provider")
    dying = peers.Provider("dubbo3-provider", tmp_path / "log")
    one = proxy(dying.port)
    process = peers.start_consumer(client, one.port, "slow")
    for _ in range(200):
        if one.stats()["workers"][0]["requests_active"]:
            break
        time.sleep(0.05)
    dying.stop()
    how, what = peers.results(client, process)["slow"]
    assert (how, what.startswith("org.apache.dubbo.rpc.RpcException#1: ")) == ("raised", True)
    assert (
        f"protokit: the connection was lost to 127.0.0.1:{dying.port} (cluster all) after the request" in what
    )


def test_a_provider_that_leaves_gracefully_fails_no_call_and_one_that_comes_back_is_used(proxy, tmp_path):
    need("dubbo3-provider", "dubbo3-consumer")
    staying = peers.Provider("dubbo3-provider", tmp_path / "staying")
    leaving = peers.Provider("dubbo27-provider", tmp_path / "leaving")
    one = proxy(staying.port, leaving.port)
    process = peers.start_consumer("dubbo3-consumer", one.port, "ports")
    for _ in range(200):
        counts = [endpoint["requests"] for endpoint in one.stats()["clusters"]["all"].values()]
        if all(count > 20 for count in counts):
            break
        time.sleep(0.05)
    stopper = threading.Thread(target=lambda: leaving.stop(gently=True))
    stopper.start()
    how, what = peers.results("dubbo3-consumer", process)["ports"]
    stopper.join()
    assert (how, what.split(" ")[0]) == ("value", "failures=0")
    assert {str(staying.port), str(leaving.port)} == set(what.split("seen=")[1].split(" last=")[0].split())
    assert one.stats()["workers"][0]["drains_received"] >= 1
    back = peers.Provider("dubbo27-provider", tmp_path / "back", port=leaving.port)
    for _ in range(40):
        if peers.consume("dubbo3-consumer", one.port, "port")["port"] == ("value", str(back.port)):
            break
    else:
        raise AssertionError("the provider that came back got no call")
    back.stop()
    staying.stop()
