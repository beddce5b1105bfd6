"""Real Dubbo clients call real Dubbo servers through the proxy; asserted is what the client's side got."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import peers
import pytest
from peers import need
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Writer
from protokit_dubbo.messages import HEADER, MAGIC, OK, decode, split

from protokit import native

pytestmark = pytest.mark.interop
VERSIONS = ["dubbo26", "dubbo27", "dubbo31", "dubbo3"]  # 2.6, 2.7, 3.1, 3.3
JAVA_PROVIDERS = [f"{version}-provider" for version in VERSIONS]
JAVA_CONSUMERS = [f"{version}-consumer" for version in VERSIONS]
NODE_CLIENTS = ["apache-dubbo-js", "dubbo-remoting-client"]
SERVERS = [*JAVA_PROVIDERS, "dubbo-remoting-server"]
NO_ROUTE = (
    "protokit: no route on listener 'in' for service 'demo.Missing' method 'hello' version '0.0.0' group ''"
)

CALLS_BACK = (
    "protokit: service 'demo.Echo' calls its clients back, which needs 'mode: pinned' on listener 'in'"
)

VALUES = {
    "hello": "hello Zürich 🚀",
    "add": 42,
    "primitives": [
        "true -128 32767 € -2147483648 9223372036854775807 1.5 -0.1",
        False,
        "b",
        -9223372036854775807,
        0.05,
        "[1073741824, -200, 1]",
    ],
    "enum": "GREEN",
    "person": [
        "Ada 🚀",
        37,
        "GREEN",
        1234567890123,
        "1234567890.123456789",
        True,  # all references lead where they did
        {"list": [1, 2, 3.5, "x", None]},
    ],
    "list": [["a", 1, [True, 2.5]], True],  # it contains itself
    "map": [2, [1099511627776], True],  # so does this
    "kinds": [
        "java.lang.Integer 1",
        "java.lang.Long 1099511627776",
        "java.lang.Double 1.5",
        "java.lang.Boolean true",
        "java.lang.String x",
        None,
        "java.math.BigDecimal 1.10",
        "java.math.BigInteger 123456789012345678901",
        "java.util.Date 1234567890123",
        "[I [1, 2]",
        "java.util.TreeSet [a, b]",
    ],
    "bigstring": True,  # 110,000 characters
    "bigemoji": True,  # a surrogate pair on every boundary of 32,768
    "megabyte": True,
    "seven": True,  # megabytes
    "sevenstring": True,
    "nothing": "done",
    "nul": None,
    "tell": 5,
    "later": "later x",
    "attachments": ["t-42", "from provider"],
}
ONLY_HESSIAN = {
    "surrogate": "hello \udc00x\ud83d",
    "group": "hello x of g",
    "generic": "hello generic",
    "genericasync": "hello async",  # by $invokeAsync
    "genericperson": ["Ada", 37, "GREEN"],
    "genericfail": ["GenericException", "demo.Types$Refused: not today"],
    "$echo": "alive",
    "many": 40,
}
RAISED = {
    "fail": "demo.Types$Refused: not today <- java.lang.IllegalStateException: the cause"
    " <- java.lang.IllegalArgumentException: its cause",
    "failunchecked": "java.lang.IllegalArgumentException: not today",
}


# A request that says where it goes twice: (field, attachments) of path, version and group, and who answers.
ECHO, OTHER = "hello x", "hello x of g"  # demo.Echo; demo.Echo in the group g, version 2.0.0
TWICE: dict[str, tuple[str, str, dict[str, str], str | None]] = {
    "the same": ("demo.Echo", "0.0.0", {"path": "demo.Echo", "interface": "demo.Echo"}, ECHO),
    "the path is another's": ("demo.Echo", "0.0.0", {"path": "demo.Missing"}, None),
    "the field is another's": ("demo.Missing", "0.0.0", {"path": "demo.Echo"}, ECHO),
    "the interface is another's": (
        "demo.Echo",
        "0.0.0",
        {"path": "demo.Echo", "interface": "demo.Missing"},
        ECHO,
    ),
    "only the field": ("demo.Echo", "0.0.0", {}, ECHO),
    "only the interface": ("demo.Missing", "0.0.0", {"interface": "demo.Echo"}, None),
    "the version of the attachments": (
        "demo.Echo",
        "0.0.0",
        {"path": "demo.Echo", "version": "2.0.0", "group": "g"},
        OTHER,
    ),
    "the version of the field": ("demo.Echo", "2.0.0", {"path": "demo.Echo", "group": "g"}, OTHER),
    "the group alone": ("demo.Echo", "0.0.0", {"path": "demo.Echo", "group": "g"}, None),
}


def until(reached: Callable[[], object], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def rpc_exception(client: str, code: int) -> str:
    return f"{'com.alibaba' if '26' in client else 'org.apache'}.dubbo.rpc.RpcException#{code}: "


def no_answer(port: int) -> str:
    return f"protokit: no answer from 127.0.0.1:{port} (cluster all) within 2000 ms (rule r[0])"


def only_hessian(client: str, server: str) -> dict[str, object]:
    """2.6 has no $invokeAsync."""
    old = "dubbo26" in client + server
    return {case: value for case, value in ONLY_HESSIAN.items() if not (old and case == "genericasync")}


def by_serialization(client: str, server: str) -> dict[str, object]:
    """The cases that a pair can run with other serializations than its own, as it does without a proxy."""
    pair = {client.removesuffix("-consumer"), server.removesuffix("-provider")}
    found = {}
    if pair <= {"dubbo31", "dubbo3"}:
        found |= {f"fastjson2:{case}": value for case, value in (VALUES | RAISED).items()}
        if "dubbo31" in pair:  # its fastjson2 cannot read these
            del found["fastjson2:megabyte"], found["fastjson2:seven"]
    if "dubbo26" not in pair:
        found |= {"protobuf:wrapped": "wrapped Zürich 🚀", "protobuf:nothing": "done"}
    if pair == {"dubbo27"}:
        found |= {f"fastjson:{case}": VALUES[case] for case in ("hello", "person", "list")}
        found |= {f"gson:{case}": VALUES[case] for case in ("hello", "add", "nul")}
    return found


def errors_by_serialization(client: str, server: str) -> list[str]:
    """The proxy's own errors, in the serialization of the request or one that all read."""
    pair = {client.removesuffix("-consumer"), server.removesuffix("-provider")}
    if pair <= {"dubbo31", "dubbo3"}:
        return ["&fastjson2:proxytimeout"]
    return ["&fastjson:proxytimeout", "&gson:proxytimeout"] if pair == {"dubbo27"} else []


def cases(client: str, server: str) -> list[str]:
    if client in NODE_CLIENTS:
        fail = ["fail"] if client == "dubbo-remoting-client" else []  # the other says "[object Object]" of it
        return ["hello", "add", *fail, "proxytimeout", "noservice"]
    if server == "dubbo-remoting-server":
        return ["hello", "add", "fail", "noservice"]
    found = ["&timeout", "&proxytimeout", "&genericslow", "noservice", "nogroup", "subscribe", "port"]
    found += errors_by_serialization(client, server)
    return [*found, *VALUES, *only_hessian(client, server), *RAISED, *by_serialization(client, server)]


@pytest.fixture(scope="session")
def answers(provider, through):
    """Call it with a client's and a server's name for the outcome of each case; all run at once before."""
    found: dict[tuple[str, str], dict[str, tuple[str, object]]] = {}

    def run_all() -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(provider, SERVERS))
        ports = {through(server).port: server for server in SERVERS}
        running = []
        for client in JAVA_CONSUMERS:
            words = [word for port, server in ports.items() for word in (port, *cases(client, server))]
            running.append((client, None, peers.start_consumer(client, *words)))
        for client in NODE_CLIENTS:
            for port, server in ports.items():
                running.append((client, port, peers.start_consumer(client, port, *cases(client, server))))
        for client, port, process in running:
            for line in peers.lines(client, process, 120):
                of_pair = found.setdefault((client, ports[port or line["port"]]), {})
                of_pair[line["case"]] = peers.outcome(line)

    def get(client: str, server: str) -> dict[str, tuple[str, object]]:
        need(*JAVA_CONSUMERS, *NODE_CLIENTS)
        if not found:
            run_all()
        return found[client, server]

    return get


@pytest.mark.parametrize("server", JAVA_PROVIDERS)
@pytest.mark.parametrize("client", JAVA_CONSUMERS)
def test_java_to_java(provider, through, answers, client, server):
    found = answers(client, server)
    port = provider(server).port
    expected = VALUES | only_hessian(client, server) | RAISED | by_serialization(client, server)
    expected["port"] = port
    if client == "dubbo27-consumer":
        expected["attachments"] = ["t-42", None]  # 2.7 has no answer's attachments there, proxy or not
    raised = {case for case in expected if case.split(":")[-1] in RAISED}
    assert {case: found[case] for case in expected} == {
        case: ("raised" if case in raised else "value", what) for case, what in expected.items()
    }
    errors = {
        "timeout": (2, "300 ?ms"),  # the consumer's clock or the proxy's, which knows the consumer's budget
        "proxytimeout": (2, re.escape(no_answer(port))),
        "genericslow": (2, re.escape(no_answer(port))),  # the rule goes by the method that is called
        "subscribe": (1, CALLS_BACK),
        "noservice": (1, re.escape(NO_ROUTE)),
        "nogroup": (1, f"Not found exported service: absent/demo.Echo:{port} in "),
    }
    for case in errors_by_serialization(client, server):
        errors[case.removeprefix("&")] = errors["proxytimeout"]
    for case, (code, pattern) in errors.items():
        how, what = found[case]
        assert (how, what[: what.index(" ") + 1]) == ("raised", rpc_exception(client, code)), what
        assert re.search(pattern, what)
    assert set(found) == set(expected) | set(errors)
    (worker,) = through(server).stats()["workers"]
    assert (worker["protocol_errors_client"], worker["protocol_errors_upstream"]) == (0, 0)


def test_what_the_proxy_says_by_itself_is_raised_by_every_version(provider, proxy):
    """No endpoint, overload, and a frame that is too large; no route and timeouts are above."""
    need(*JAVA_CONSUMERS)
    port = provider("dubbo3-provider").port
    with socket.socket() as taken:  # bound, so that nobody else listens there
        taken.bind(("127.0.0.1", 0))
        nobody = proxy(taken.getsockname()[1])
        busy = proxy(port, limits={"in_flight_per_connection": 1})
        small = proxy(port, limits={"frame": "64KiB"})
        words = [nobody.port, "hello", busy.port, "many", small.port, "megabyte"]
        running = {client: peers.start_consumer(client, *words) for client in JAVA_CONSUMERS}
        expected = {
            "hello": "protokit: no endpoint can be reached (cluster all): ",
            "many": "protokit: overloaded: requests in flight of this connection are at the limit of 1",
            "megabyte": "protokit: the frame is larger than the limit of 65536 bytes",
        }
        for client, process in running.items():
            found = {line["case"]: peers.outcome(line) for line in peers.lines(client, process)}
            assert set(found) == set(expected)
            for case, text in expected.items():
                how, what = found[case]
                # Futures hold the transport's exception as it came.
                own = "dubbo.remoting.RemotingException: " if case == "many" else rpc_exception(client, 1)
                assert (how, own in what, text in what) == ("raised", True, True), what


def test_services_that_call_back_on_a_pinned_listener(provider, proxy):
    """The provider calls the consumer's own object, over the consumer's connection to it."""
    need(*JAVA_CONSUMERS)
    listener = {"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r", "mode": "pinned"}
    proxies = {proxy(provider(server).port, listeners=[listener]).port: server for server in JAVA_PROVIDERS}
    words = [word for port in proxies for word in (port, "subscribe", "hello")]
    running = {client: peers.start_consumer(client, *words) for client in JAVA_CONSUMERS}
    for client, process in running.items():
        found = {(line["port"], line["case"]): peers.outcome(line) for line in peers.lines(client, process)}
        expected = {(port, "subscribe"): ("value", f"told, and heard news by {port}") for port in proxies}
        expected |= {(port, "hello"): ("value", VALUES["hello"]) for port in proxies}
        assert found == expected, client


REWRITE = """
from protokit import Filter, hookimpl

class Rewrite(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        if request.method == "hello":
            request.group, request.version = "g", "2.0.0"
        if request.service == "demo.Missing":
            request.service = "demo.Echo"
        if "traceid" in request.headers:
            request.headers["traceid"] += " seen"

@hookimpl
def protokit_filters():
    return {"rewrite": Rewrite}
"""


def test_what_a_filter_changes_is_what_the_provider_gets(provider, proxy, tmp_path):
    """Group and version lead to the other of two services; a service that is not there, to one that is."""
    need(*JAVA_CONSUMERS)
    filters = tmp_path / "rewrite.py"
    filters.write_text(REWRITE)
    listener = {"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "cluster": "all"}
    more = {"listeners": [{**listener, "filters": ["rewrite"]}], "routes": [], "plugins": [str(filters)]}
    ports = {server: proxy(provider(server).port, **more).port for server in JAVA_PROVIDERS}
    cases = {"hello": f"{VALUES['hello']} of g", "noservice": "hello x of g", "attachments": "t-42 seen"}
    cases |= {"person": VALUES["person"], "$echo": "alive"}
    running = {}
    for client in JAVA_CONSUMERS:
        words: list[int | str] = []
        for server, port in ports.items():
            words += [port, *cases]
            if {client, server} <= {
                "dubbo31-consumer",
                "dubbo3-consumer",
                "dubbo31-provider",
                "dubbo3-provider",
            }:
                words += [f"fastjson2:{case}" for case in ("hello", "attachments", "person")]
        running[client] = peers.start_consumer(client, *words), words
    for client, (process, words) in running.items():
        found = peers.lines(client, process)
        assert len(found) == sum(isinstance(word, str) for word in words)
        for line in found:
            how, what = peers.outcome(line)
            case = line["case"].split(":")[-1]
            what = what[0] if case == "attachments" else what  # of two: what came
            assert (client, line, how, what) == (client, line, "value", cases[case])


def test_idle_connections_are_kept_by_heartbeats(proxy, start):
    """All give one up after 900 ms of silence. 2.6 providers ask, later ones want to be asked."""
    need(*JAVA_CONSUMERS, *JAVA_PROVIDERS)
    with ThreadPoolExecutor() as pool:
        silent = list(pool.map(lambda name: start(name, heartbeat_ms=300), JAVA_PROVIDERS))
    asked = {"timeouts": {"heartbeat": "200ms"}}
    proxies = [proxy(one.port, **({} if one.name == "dubbo26-provider" else asked)) for one in silent]
    words = [word for one in proxies for word in (one.port, "&idle")]
    running = {client: peers.start_consumer(client, *words) for client in JAVA_CONSUMERS}
    expected = [(one.port, ("value", "hello again")) for one in proxies]
    for client, process in running.items():
        found = [(line["port"], peers.outcome(line)) for line in peers.lines(client, process)]
        assert sorted(found) == sorted(expected), client
    for one, provider in zip(proxies, silent, strict=True):
        (worker,) = one.stats()["workers"]
        assert worker["connections_accepted"] == 2 * len(JAVA_CONSUMERS)  # the first of each calls nothing
        assert worker["upstream_connects"] == 1, f"{provider.name} {worker}"
        assert worker["heartbeats_received"] >= 4 * len(JAVA_CONSUMERS)
        assert (worker["heartbeats_sent"] > 3) == (provider.name != "dubbo26-provider")


@pytest.mark.parametrize("case", TWICE)
@pytest.mark.parametrize("server", JAVA_PROVIDERS)
def test_the_proxy_reads_a_destination_as_providers_do(provider, server, case):
    """The provider answers who the request is for; the rules are asked the same."""
    path, version, attachments, answer = TWICE[case]
    named = {"path": None, "interface": None, "version": None} | attachments
    writer = Writer()
    for value in ("2.0.2", path, version, "hello", "Ljava/lang/String;", "x"):
        writer.write(value)
    writer.write({key: value for key, value in named.items() if value is not None})
    frame = HEADER.pack(MAGIC, 0xC2, 0, 7, len(writer.data)) + bytes(writer.data)
    with socket.create_connection(("127.0.0.1", provider(server).port), 10) as one:
        one.sendall(frame)
        data = b""
        while not (found := split(data)[0]):
            data += one.recv(1 << 16)
    said = decode(found[0])
    # From 2.7 on, the service of the field has to be there too.
    refused = case == "the field is another's" and server != "dubbo26-provider"
    answered = said.value if said.status == OK and said.exception is None else None
    assert answered == (None if refused else answer)
    request = native.request(dubbo.wire.address, frame)
    services = {("demo.Echo", "0.0.0", ""): ECHO, ("demo.Echo", "2.0.0", "g"): OTHER}
    assert services.get((request.service, request.version, request.group)) == answer


def test_serializations_that_cannot_be_read_go_where_everything_goes(provider, proxy):
    """Java's own: the service stands in an object that only Java reads."""
    need("dubbo27-consumer")
    words: list[int | str] = []
    expected = {}
    for server in JAVA_PROVIDERS[:3]:
        listener = {"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "cluster": "all"}
        one = proxy(provider(server).port, listeners=[listener], routes=[])
        cases = {
            f"{how}:{case}": VALUES[case] for how in ("java", "nativejava") for case in ("hello", "person")
        }
        words += [one.port, *cases]
        expected |= {(one.port, case): ("value", value) for case, value in cases.items()}
    found = peers.lines("dubbo27-consumer", peers.start_consumer("dubbo27-consumer", *words))
    assert {(line["port"], line["case"]): peers.outcome(line) for line in found} == expected


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", NODE_CLIENTS)
def test_node_to_all(provider, answers, client, server):
    found = answers(client, server)
    assert found["hello"] == ("value", "hello Zürich 🚀")
    assert found["add"] == ("value", 42)
    if client == "dubbo-remoting-client":
        thrown = "Error" if server == "dubbo-remoting-server" else "detailMessage"
        assert found["fail"] == ("raised", f"{thrown}: not today")
    for case, text in (("proxytimeout", no_answer(provider(server).port)), ("noservice", NO_ROUTE)):
        how, what = found[case]
        assert (how, text in what) == ("raised", True), what


@pytest.mark.parametrize("client", JAVA_CONSUMERS)
def test_java_to_node(answers, client):
    found = answers(client, "dubbo-remoting-server")
    assert found["hello"] == ("value", "hello Zürich 🚀")
    assert found["add"] == ("value", 42)
    for case, text in (("fail", "not today"), ("noservice", NO_ROUTE)):
        how, what = found[case]
        assert (how, what[: what.index(" ") + 1]) == ("raised", rpc_exception(client, 1)), what
        assert text in what


def test_many_at_once_from_node_share_one_connection(provider, proxy):
    need("dubbo-remoting-client")
    one = proxy(provider("dubbo-remoting-server").port)
    assert peers.consume("dubbo-remoting-client", one.port, "many") == {"many": ("value", 300)}
    (endpoint,) = one.stats()["clusters"]["all"].values()
    assert (endpoint["requests"], endpoint["connections"]) == (300, 1)


def test_fifty_consumers_share_one_connection(provider, proxy):
    """Twenty-five connections from each of two processes, three calls at a time on every one."""
    clients = ["dubbo26-consumer", "dubbo3-consumer"]
    need(*clients)
    one = proxy(provider("dubbo31-provider").port)
    running = {client: peers.start_consumer(client, one.port, "&crowd", "&steady") for client in clients}
    until(lambda: one.stats()["workers"][0]["connections_active"] == 52, "25 and one of each process")
    for client, process in running.items():
        assert peers.results(client, process)["crowd"] == ("value", 750)
    (endpoint,) = one.stats()["clusters"]["all"].values()
    assert endpoint["requests"] > 1500
    assert endpoint["connections"] == 1


@pytest.mark.parametrize("client", ["dubbo27-consumer", "dubbo3-consumer"])
def test_a_stopped_consumer_does_not_hold_up_another(provider, proxy, client):
    """Stopped before 12 MB come for it; the other's calls share the connection to the provider."""
    need(client)
    one = proxy(provider("dubbo3-provider").port)
    slow = peers.start_consumer(client, one.port, "flood")
    until(lambda: one.stats()["workers"][0]["requests_active"] == 12, "the slow consumer's calls")
    slow.send_signal(signal.SIGSTOP)
    try:
        until(lambda: one.stats()["workers"][0]["buffer_bytes"] > 1 << 20, "answers that wait for it")
        assert peers.consume(client, one.port, "fast") == {"fast": ("value", 200)}
        (endpoint,) = one.stats()["clusters"]["all"].values()
        assert endpoint["connections"] == 1
    finally:
        slow.send_signal(signal.SIGCONT)
    assert peers.results(client, slow) == {"flood": ("value", 12)}


def all_with_all(proxies: dict[str, object], *cases: str) -> dict[str, object]:
    """Every Java consumer started and connected, running the cases at every proxy at once."""
    words = [word for one in proxies.values() for word in (one.port, *cases)]
    running = {client: peers.start_consumer(client, *words) for client in JAVA_CONSUMERS}
    for one in proxies.values():
        until(
            lambda one=one: one.stats()["workers"][0]["connections_active"] == len(running), "all connected"
        )
    time.sleep(1)
    return running


def test_a_provider_killed_in_the_middle_of_a_call_and_started_again(proxy, start):
    """All versions with all: the call that was under way, and the first one that works again."""
    need(*JAVA_CONSUMERS, *JAVA_PROVIDERS)
    with ThreadPoolExecutor() as pool:
        dying = dict(zip(JAVA_PROVIDERS, pool.map(start, JAVA_PROVIDERS), strict=True))
        proxies = {server: proxy(one.port) for server, one in dying.items()}
        running = all_with_all(proxies, "&hang", "&again")
        for one in dying.values():
            one.stop()
        list(pool.map(lambda one: start(one.name, one.port), dying.values()))
    servers = {proxies[server].port: server for server in JAVA_PROVIDERS}
    for client, process in running.items():
        found = {
            (servers[line["port"]], line["case"]): peers.outcome(line)
            for line in peers.lines(client, process)
        }
        for server, one in dying.items():
            assert found.pop((server, "again")) == ("value", "hello again")
            how, what = found.pop((server, "hang"))
            assert (how, what[: what.index(" ") + 1]) == ("raised", rpc_exception(client, 1)), what
            text = (
                f"protokit: the connection was lost to 127.0.0.1:{one.port} (cluster all) after the request"
            )
            assert text in what
        assert not found


def test_a_provider_that_leaves_gracefully_fails_no_call_and_one_that_comes_back_is_used(
    provider, proxy, start
):
    """All versions with all: of two providers of a version one gets a SIGTERM, and starts again."""
    need(*JAVA_CONSUMERS, *JAVA_PROVIDERS)
    with ThreadPoolExecutor() as pool:
        leaving = dict(zip(JAVA_PROVIDERS, pool.map(start, JAVA_PROVIDERS), strict=True))
        proxies = {server: proxy(provider(server).port, one.port) for server, one in leaving.items()}

        def calls() -> list[int]:
            """Of each that leaves."""
            return [
                proxies[server].stats()["clusters"]["all"][f"127.0.0.1:{one.port}"]["requests"]
                for server, one in leaving.items()
            ]

        running = all_with_all(proxies, "&steady")
        assert min(calls()) > 0
        list(pool.map(lambda one: one.stop(gently=True), leaving.values()))
        gone = calls()
        list(pool.map(lambda one: start(one.name, one.port), leaving.values()))
        until(lambda: min(map(int.__sub__, calls(), gone)) > 40, "calls of all that came back")
    servers = {proxies[server].port: server for server in JAVA_PROVIDERS}
    for client, process in running.items():
        seen = {servers[line["port"]]: peers.outcome(line) for line in peers.lines(client, process)}
        assert seen == {
            server: ("value", sorted([provider(server).port, leaving[server].port]))
            for server in servers.values()
        }
    for one in proxies.values():
        assert one.stats()["workers"][0]["drains_received"] >= 1


def test_consumers_leave_a_proxy_that_drains_before_it_ends(provider, proxy):
    """One proxy of two is told to end while all call both: it says READONLY, and no call fails."""
    clients = ["dubbo26-consumer", "dubbo31-consumer", "dubbo3-consumer"]  # 2.7 takes no two direct URLs
    need(*clients)
    ports = provider("dubbo26-provider").port, provider("dubbo3-provider").port
    leaves, stays = (proxy(port, drain={"delay": "0s", "timeout": "20s"}) for port in ports)
    words = f"{leaves.port},{stays.port}", "&steady"
    running = {client: peers.start_consumer(client, *words) for client in clients}
    for client, process in running.items():
        peers.until_heard(client, process, ports)
    for one in (leaves, stays):
        assert one.stats()["workers"][0]["connections_active"] == len(running)
    began = time.monotonic()
    leaves.stop()
    assert time.monotonic() - began < 15, "they went on until the drain's limit"
    before = stays.stats()["workers"][0]["responses"]
    until(lambda: stays.stats()["workers"][0]["responses"] > before + 100, "calls of the other")
    for client, process in running.items():
        assert peers.results(client, process) == {"steady": ("value", sorted(ports))}, client
