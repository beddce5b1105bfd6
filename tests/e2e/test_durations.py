"""How long calls of a cluster take, in /metrics and /stats: a slow server beside a quick one."""

from __future__ import annotations

import asyncio
import re

import homemade
import pytest
from peers import Client, Server, configuration
from served import until

import protokit
from protokit import config as reading
from protokit.observe.metrics import prometheus
from protokit.plugins import Plugin, Registry
from protokit.testing import streams
from protokit.testing.streams import run

QUICK, SLOW, SLOWLY_MS = 7, 3, 70  # over 2**26 ns


def buckets(proxy, cluster: str) -> tuple[dict[float, int], float, int]:
    """As a scraper reads them."""
    page = prometheus(proxy.stats(), ready=True)
    assert "# TYPE protokit_cluster_request_seconds histogram\n" in page
    mine = re.findall(
        rf'(?m)^protokit_cluster_request_seconds_(\w+){{cluster="{cluster}"(?:,le="(.+)")?}} (.+)$', page
    )
    within = {float(most): int(count) for part, most, count in mine if part == "bucket"}
    rest = {part: number for part, most, number in mine if not most}
    return within, float(rest["sum"]), int(rest["count"])


def judge(proxy) -> None:
    within, seconds, count = buckets(proxy, "slow")
    assert count == within[float("inf")] == SLOW
    assert within[0.067108864] == 0
    assert seconds >= SLOW * SLOWLY_MS / 1000
    assert sorted(within.values()) == [*within.values()]
    within, seconds, count = buckets(proxy, "quick")
    assert count == within[float("inf")] == QUICK
    assert seconds > 0
    assert len(within) == 23


@pytest.mark.parametrize("workers", [1, 2])
def test_a_slow_dubbo_server_beside_a_quick_one(workers):
    """And a reload keeps what was counted; a cluster that is new begins with nothing."""

    async def main():
        servers = [await Server().start() for _ in range(2)]
        config = configuration(servers[0], workers=workers)
        config["clusters"] = [
            {"name": name, "endpoints": [f"127.0.0.1:{server.port}"]}
            for name, server in zip(("quick", "slow"), servers, strict=True)
        ]
        config["routes"][0]["rules"] = [
            {"match": {"method": "slow"}, "cluster": "slow"},
            {"cluster": "quick"},
        ]
        async with protokit.Proxy(config) as proxy:
            clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(4)]
            for number in range(QUICK):
                await clients[number % 4].call("echo", 1)
            await asyncio.gather(*[client.call("slow", SLOWLY_MS) for client in clients[:SLOW]])
            judge(proxy)
            config["clusters"].append({"name": "third", "endpoints": ["127.0.0.1:9"]})
            config["clusters"][1]["endpoints"].append("127.0.0.1:9")
            await proxy.reload(config)
            judge(proxy)
            assert buckets(proxy, "third")[1:] == (0, 0)
            config["clusters"][2]["name"] = "fourth"
            await proxy.reload(config)
            await until(lambda: len(proxy._workers.tables) == 1)
            assert proxy.stats()["durations"].keys() == {"quick", "slow", "fourth"}
            assert buckets(proxy, "fourth")[1:] == (0, 0)
            for client in clients:
                await client.close()
        for server in servers:
            await server.stop()

    run(main())


def test_slow_and_quick_servers_of_a_declared_protocol():
    async def main():
        protocol = homemade.homemade("home")
        plugin = Plugin(["home"])
        plugin.protocols["home"] = protocol

        def serving(delay: float):
            async def serve(reader, writer):
                peer = homemade.Peer(protocol, reader, writer)
                while (asked := await peer.receive()) is not None:
                    await asyncio.sleep(delay)
                    peer.send(2, b"yes", asked.id)
                writer.close()

            return serve

        servers = {
            name: await streams.start_server(serving(delay), "127.0.0.1", 0)
            for name, delay in (("quick", 0), ("slow", SLOWLY_MS / 1000))
        }
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "home", "routes": "r"}],
            "routes": [
                {
                    "name": "r",
                    "rules": [{"match": {"method": "slow"}, "cluster": "slow"}, {"cluster": "quick"}],
                }
            ],
            "clusters": [
                {"name": name, "endpoints": [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"]}
                for name, server in servers.items()
            ],
        }
        async with protokit.Proxy(reading.load(config, Registry([plugin]))) as proxy:
            client = await homemade.connect(protocol, proxy.addresses["in"][1])
            for number, method in enumerate(["quick"] * QUICK + ["slow"] * SLOW):
                client.send(1, b"svc %s x" % method.encode(), number)
                assert (await client.receive()).text == b"yes"
            judge(proxy)
            client.writer.close()
        for server in servers.values():
            server.close()

    run(main())
