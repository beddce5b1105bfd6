"""Rules that decide about requests themselves, through a running proxy: Dubbo, and one declared protocol."""

from __future__ import annotations

import asyncio
import logging

import homemade
import pytest
from peers import SERVICE, Client, Server, configuration
from served import documented

import protokit
from protokit import config as reading
from protokit.observe.metrics import prometheus
from protokit.plugins import Plugin, Registry
from protokit.testing.streams import run

OVERLOADED, UNAVAILABLE = 5, 6  # of the protocol made at home
EXHAUSTED = 100  # Dubbo's
HERE = {"com.example.Demo": SERVICE, "v1": "c"}  # what stands in examples


def with_rules(server, rules, **more):
    made = configuration(server, **more)
    made["routes"] = [{"name": "demo", "rules": rules}]
    made["listeners"][0]["routes"] = "demo"
    return made


@pytest.mark.parametrize("workers", [1, 3])
def test_a_limit_holds_in_total_over_all_workers(workers):
    """Each client is one worker's; an hour brings no more during the test."""

    async def main():
        server = await Server().start()
        rules = [{"match": {"service": SERVICE}, "cluster": "c", "limit": {"rate": "5/h", "burst": 20}}]
        async with protokit.Proxy(with_rules(server, rules, workers=workers)) as proxy:
            clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(8)]
            answers = await asyncio.gather(*(client.call("echo", n) for client in clients for n in range(10)))
            refused = [answer for answer in answers if answer.status != 20]
            assert len(refused) == 60
            assert {answer.status for answer in refused} == {EXHAUSTED}
            assert "protokit: rate limit of rule demo[0] (5/h) reached" in str(refused[0].value)
            assert proxy.stats()["rules"]["demo[0]"]["limit"] == 60
            page = prometheus(proxy.stats(), ready=True)
            assert 'protokit_rule_decisions_total{rule="demo[0]",decision="limit"} 60' in page
            for client in clients:
                await client.close()
        await server.stop()

    run(main())


def test_a_reload_keeps_what_was_taken_wherever_the_rule_stands_now(caplog):
    async def main():
        server = await Server().start()
        one = {
            "match": {"service": SERVICE, "method": "echo"},
            "cluster": "c",
            "limit": {"rate": "2/h", "burst": 2},
        }
        other = {**one, "match": {"service": SERVICE, "method": "name"}}
        async with protokit.Proxy(with_rules(server, [one])) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            statuses = [(await client.call("echo", n)).status for n in range(3)]
            assert statuses == [20, 20, EXHAUSTED]
            await proxy.reload(with_rules(server, [other, one]))
            assert (await client.call("echo", 1)).status == EXHAUSTED
            assert (await client.call("name")).status == 20
            assert proxy.stats()["rules"]["demo[1]"]["limit"] == 2
            assert proxy.stats()["rules"]["demo[0]"]["limit"] == 0
            await proxy.reload(with_rules(server, [{**one, "limit": {"rate": "3/h", "burst": 1}}]))
            assert [(await client.call("echo", n)).status for n in range(2)] == [20, EXHAUSTED]
            await client.close()
        await server.stop()

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "requests were refused: the rate limit of rule demo[1] is reached" in caplog.text or (
        "requests were refused: the rate limit of rule demo[0] is reached" in caplog.text
    )


def test_the_documented_limits():
    async def main():
        server = await Server().start()
        rules = documented("Rate limits", HERE)["rules"]
        async with protokit.Proxy(with_rules(server, rules)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            asked = [("a", "echo"), ("a", "echo"), ("b", "echo"), ("a", "name"), ("a", "slow")]
            statuses = [(await client.call(method, 1, tenant=tenant)).status for tenant, method in asked]
            assert statuses == [20, EXHAUSTED, 20, 20, 20]
            await client.close()
        await server.stop()

    run(main())


def made_at_home(protocol, port, rules):
    plugin = Plugin(["home"])
    plugin.protocols[protocol.name] = protocol
    config = {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "home", "routes": "demo"}],
        "routes": [{"name": "demo", "rules": rules}],
        "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{port}"]}],
    }
    return reading.load(config, Registry([plugin]))


@pytest.mark.parametrize("mode", ["multiplexed", "ordered", "pingpong", "pinned"])
def test_a_declared_protocol_is_limited_by_method(mode):
    async def main():
        protocol = homemade.homemade("home", mode)
        server = await homemade.Server(protocol).start()
        rules = [{"cluster": "c", "limit": {"rate": "1/h", "by": "method"}}]
        async with protokit.Proxy(made_at_home(protocol, server.port, rules)) as proxy:
            client = await homemade.connect(protocol, proxy.addresses["in"][1])
            got = []
            for number, method in enumerate([b"one", b"one", b"two", b"two"]):
                client.send(1, b"svc %s x" % method, number)
                answer = await client.receive()
                got.append((answer.status, bytes(answer.text)))
            client.writer.close()
            text = b"protokit: rate limit of rule demo[0] (1/h) reached"
            assert got == [(0, b"svc one x"), (OVERLOADED, text), (0, b"svc two x"), (OVERLOADED, text)]
        server.stop()

    run(main())


def test_the_documented_faults():
    async def main():
        server = await Server().start()
        rules = documented("Faults", HERE)["rules"]
        rules[1]["fault"] = {"delay": {"fixed": "50ms"}, "abort": {"status": "denied", "share": "100%"}}
        async with protokit.Proxy(with_rules(server, rules)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            hit = await client.call("echo", 1, **{"x-fault": "yes"})
            assert hit.status != 20
            assert "protokit: aborted by the fault of rule demo[0]" in str(hit.value)
            assert (await client.call("echo", 1)).status == 20
            assert "aborted by the fault of rule demo[1]" in str((await client.call("name")).value)
            counts = proxy.stats()["rules"]
            assert (counts["demo[0]"]["abort"], counts["demo[1]"]["abort"]) == (1, 1)
            assert (counts["demo[0]"]["delay"], counts["demo[1]"]["delay"]) == (0, 1)
            await client.close()
        assert [call.method for call in server.calls] == ["echo"]
        await server.stop()

    run(main())


@pytest.mark.parametrize("mode", ["multiplexed", "ordered", "pingpong", "pinned"])
def test_a_declared_protocol_suffers_faults(mode):
    async def main():
        protocol = homemade.homemade("home", mode)
        server = await homemade.Server(protocol).start()
        rules = [
            {
                "match": {"method": "bad"},
                "cluster": "c",
                "fault": {"delay": {"fixed": "20ms"}, "abort": {"status": "unavailable"}},
            },
            {"cluster": "c", "fault": {"delay": {"fixed": "20ms"}}},
        ]
        async with protokit.Proxy(made_at_home(protocol, server.port, rules)) as proxy:
            client = await homemade.connect(protocol, proxy.addresses["in"][1])
            got = []
            for number, method in enumerate([b"bad", b"good"]):
                client.send(1, b"svc %s x" % method, number)
                answer = await client.receive()
                got.append((answer.status, bytes(answer.text)))
            client.writer.close()
            text = b"protokit: aborted by the fault of rule demo[0]"
            assert got == [(UNAVAILABLE, text), (0, b"svc good x")]
        server.stop()

    run(main())
