"""What rules do to real calls of Dubbo's, as its providers and consumers see it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import peers
import pytest
from peers import need

pytestmark = pytest.mark.interop
VERSIONS = ["dubbo26", "dubbo27", "dubbo31", "dubbo3"]  # 2.6, 2.7, 3.1, 3.3
PROVIDERS = [f"{version}-provider" for version in VERSIONS]
CONSUMERS = [f"{version}-consumer" for version in VERSIONS]


def ruled(*rules: dict) -> dict:
    return {"routes": [{"name": "r", "rules": [{"cluster": "all", **rule} for rule in rules]}]}


def of(method: str) -> dict:
    return {"match": {"service": "demo.Echo", "method": method}}


def asked(
    proxies: dict[str, int], *cases: str, consumers: list[str] = CONSUMERS
) -> dict[tuple[str, str, str], tuple[str, object]]:
    """What came of each case, by consumer, provider and case: all consumers ask at every port at once."""
    words = [word for port in proxies.values() for word in (port, *cases)]
    running = {client: peers.start_consumer(client, *words) for client in consumers}
    servers = {port: server for server, port in proxies.items()}
    return {
        (client, servers[line["port"]], line["case"]): peers.outcome(line)
        for client, process in running.items()
        for line in peers.lines(client, process, 120)
    }


def test_providers_are_told_what_is_left_of_the_time(provider, proxy):
    """Consumers have ten seconds. Where the rule has less and passes it on, the provider's clock knows."""
    need(*CONSUMERS, *PROVIDERS)
    with ThreadPoolExecutor() as pool:
        ports = dict(zip(PROVIDERS, [one.port for one in pool.map(provider, PROVIDERS)], strict=True))
    time = {"most": "3s", "pass": True}
    passes = {
        server: proxy(port, **ruled({**of("*"), "timeout": time})).port for server, port in ports.items()
    }
    keeps = {
        server: proxy(port, **ruled({**of("*"), "timeout": {"most": "3s"}})).port
        for server, port in ports.items()
    }
    told, untold = asked(passes, "budget", "hello"), asked(keeps, "budget")
    for client in CONSUMERS:
        own = {untold[client, server, "budget"] for server in PROVIDERS}
        assert own <= {("value", None), ("value", 10000)}, client  # what the consumer says by itself
        for server in PROVIDERS:
            how, what = told[client, server, "budget"]
            assert (how, 0 < what <= 3000) == ("value", True), (client, server, what)
            assert told[client, server, "hello"] == ("value", "hello Zürich 🚀")


def test_attachments_of_a_rule_reach_the_provider(provider, proxy):
    """Set over the consumer's own, and where it has none; the rest of the frame is the consumer's."""
    need(*CONSUMERS, *PROVIDERS)
    rule = {**of("*"), "set": {"headers": {"traceid": "by the rule", "timeout": "7"}}}
    proxies = {server: proxy(provider(server).port, **ruled(rule)).port for server in PROVIDERS}
    found = asked(proxies, "attachments", "budget", "person")
    plain = asked({server: provider(server).port for server in PROVIDERS}, "person")
    for client in CONSUMERS:
        for server in PROVIDERS:
            how, (seen, back) = found[client, server, "attachments"]
            # 2.7 has no answer's attachments there, proxy or not.
            expected = None if client == "dubbo27-consumer" else "from provider"
            assert (how, seen, back) == ("value", "by the rule", expected), (client, server)
            assert found[client, server, "budget"] == ("value", 7)
            assert found[client, server, "person"] == plain[client, server, "person"]


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_second_try_is_seen_by_two_providers(provider, start, proxy, idempotent):
    """One of two is slow: calls that may arrive twice are answered by the other, and only those."""
    need(*CONSUMERS, *PROVIDERS)
    with ThreadPoolExecutor() as pool:
        others = dict(zip(PROVIDERS, pool.map(start, PROVIDERS), strict=True))
    retry = {
        "attempts": 2,
        "on": ["timeout", "connect-failure"],
        "per_try": "1500ms",
        "idempotent": idempotent,
        "budget": "100%",
    }
    proxies = {
        server: proxy(
            provider(server).port, others[server].port, **ruled({**of("slowAt"), "retry": retry}, of("*"))
        )
        for server in PROVIDERS
    }
    found = asked({server: one.port for server, one in proxies.items()}, "twice")
    for server, one in proxies.items():
        both = {provider(server).port, others[server].port}
        twice = 0
        for client in CONSUMERS:
            how, (slow, answered, heard) = found[client, server, "twice"]
            had = {int(port): int(count) for port, count in (line.split() for line in heard)}
            assert (how, set(had)) == ("value", both), (client, server)
            assert had[slow] > 0, "the slow one was never tried"
            assert set(answered) == (both - {slow} if idempotent else both), (client, server)
            assert had[min(both - {slow})] == 4 if idempotent else sum(had.values()) == 4, (client, server)
            twice += sum(had.values()) - 4
        (worker,) = one.stats()["workers"]
        assert worker["retries"] == twice


CHANGES = """
from protokit import Filter, hookimpl

class Changes(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        first, *rest = request.arguments()
        if request.method == "add":
            first += 100
        elif request.method == "hello":
            first += " and all"
        else:
            (first if isinstance(first, dict) else first.fields)["name"] = "Ida"
        request.change_arguments([first, *rest])

@hookimpl
def protokit_filters():
    return {"changes": Changes}
"""


def test_providers_get_the_arguments_that_a_filter_made(provider, proxy, tmp_path):
    """An object in a circle, with an enum, a date and decimals, is whole, and goes where its fields say."""
    need(*CONSUMERS, *PROVIDERS)
    (tmp_path / "changes.py").write_text(CHANGES)
    inside = [
        {"arguments": {"0.friends.0.friends.0.self.color.name": "GREEN"}},
        {"arguments": {"0.color": "GREEN"}},
    ]
    through = {"cluster": "all", "filters": ["changes"]}
    rules = [{"match": {"method": "person", "any": inside}, **through}]
    rules += [{"match": {"method": "person"}, "reply": {"status": "no-service"}}, through]
    more = {"routes": [{"name": "r", "rules": rules}], "plugins": [str(tmp_path / "changes.py")]}
    ports = {server: proxy(provider(server).port, **more).port for server in PROVIDERS}
    found = asked(ports, "hello", "add", "person", "genericperson", "generic")
    plain = asked({server: provider(server).port for server in PROVIDERS}, "person")
    for (client, server, case), (how, what) in found.items():
        expected = {
            "hello": "hello Z\u00fcrich \U0001f680 and all",
            "add": 142,
            "generic": "hello generic and all",
            "genericperson": ["Ida", 37, "GREEN"],
        }
        if case == "person":
            expected["person"] = ["Ida", *plain[client, server, "person"][1][1:]]
        assert (client, server, case, how, what) == (client, server, case, "value", expected[case])
    assert len(found) == 5 * len(CONSUMERS) * len(PROVIDERS)


def test_and_in_fastjson2(provider, proxy, tmp_path):
    """Where references are paths, and names are said once: an item is read and written alone."""
    servers, clients = ["dubbo31-provider", "dubbo3-provider"], ["dubbo31-consumer", "dubbo3-consumer"]
    need(*servers, *clients)
    (tmp_path / "changes.py").write_text(CHANGES)
    more = {
        "routes": [{"name": "r", "rules": [{"cluster": "all", "filters": ["changes"]}]}],
        "plugins": [str(tmp_path / "changes.py")],
    }
    ports = {server: proxy(provider(server).port, **more).port for server in servers}
    cases = [f"fastjson2:{case}" for case in ("hello", "add", "person")]
    found = asked(ports, *cases, consumers=clients)
    plain = asked({server: provider(server).port for server in servers}, cases[2], consumers=clients)
    for (client, server, case), (how, what) in found.items():
        expected = {"hello": "hello Z\u00fcrich \U0001f680 and all", "add": 142}
        if case == cases[2]:
            expected["person"] = ["Ida", *plain[client, server, case][1][1:]]
        wanted = expected[case.removeprefix("fastjson2:")]
        assert (client, server, case, how, what) == (client, server, case, "value", wanted)
    assert len(found) == 3 * 4


def test_a_check_that_echoes_passes_with_real_providers_and_fails_for_what_they_have_not(provider, proxy):
    need(*PROVIDERS)
    with ThreadPoolExecutor() as pool:
        ports = [one.port for one in pool.map(provider, PROVIDERS)]

    def checked(service: str) -> tuple[int, int]:
        health = {"call": "100ms", "timeout": "10s", "service": service, "method": "$echo"}
        endpoints = [f"127.0.0.1:{port}" for port in ports]
        site = proxy(*ports, clusters=[{"name": "all", "endpoints": endpoints, "health": health}])
        end = time.monotonic() + 30
        while time.monotonic() < end:
            counted = site.stats()["workers"][0]
            if counted["checks"] > 5 * len(ports):
                break
            time.sleep(0.1)
        return counted["checks"], counted["checks_failed"]

    checks, failed = checked("demo.Echo")
    assert checks > 5 * len(ports)
    assert failed == 0
    checks, failed = checked("demo.Nobody")
    assert failed == checks > 5 * len(ports)
