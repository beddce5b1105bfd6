"""The own zone first, and slow start, through a running proxy: Dubbo by the page, and a declared protocol."""

from __future__ import annotations

import logging
from collections import Counter

import homemade
from peers import OK, Client, Server, configuration
from served import documented

import protokit
from protokit import config as reading
from protokit.plugins import Plugin, Registry
from protokit.testing.streams import run


def test_the_documented_zone(caplog):
    async def main():
        servers = [await Server(name).start() for name in ("one", "two", "three")]
        made = configuration(*servers)
        cluster = documented("Your own zone first")["clusters"][0] | {"name": "c"}
        for endpoint, server in zip(cluster["endpoints"], servers, strict=True):
            endpoint["address"] = f"127.0.0.1:{server.port}"
        made["clusters"] = [cluster]
        async with protokit.Proxy(made) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])

            async def names(count):
                return Counter([(await client.call("name", 1)).value for _ in range(count)])

            assert await names(20) == {"one": 10, "two": 10}
            assert proxy.clusters()["c"]["spills"] == []
            await servers[0].stop()
            for _ in range(50):  # one call may fail with its connection
                answer = await client.call("name", 1)
                if answer.status == OK and proxy.clusters()["c"]["spills"]:
                    break
            [spills] = proxy.clusters()["c"]["spills"]
            assert (spills["worker"], round(spills["stays"], 3)) == (0, 0.714)
            found = await names(200)
            assert {*found} == {"two", "three"}
            assert 20 < found["three"] < 100
            await servers[1].stop()
            for _ in range(10):
                await client.call("name", 1)
            assert await names(20) == {"three": 20}
            await client.close()
        await servers[2].stop()

    with caplog.at_level(logging.INFO):
        run(main())
    assert "requests of cluster c go to those that are preferred: 71.43%" in caplog.text
    assert "requests of cluster c go to those that are preferred: 0%" in caplog.text


def test_a_declared_protocol_prefers_and_begins_slowly():
    async def main():
        protocol = homemade.homemade("home")
        servers = [await homemade.Server(protocol).start() for _ in range(3)]
        plugin = Plugin(["home"])
        plugin.protocols["home"] = protocol

        def config(count):
            zones = [
                {"address": f"127.0.0.1:{port}", "metadata": {"zone": zone}}
                for port, zone in zip([one.port for one in servers], "aba", strict=True)
            ]
            made = {
                "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "home", "cluster": "c"}],
                "clusters": [
                    {
                        "name": "c",
                        "endpoints": zones[:count],
                        "prefer": {"subset": {"zone": "a"}},
                        "slow_start": {"time": "1h"},
                    }
                ],
            }
            return reading.load(made, Registry([plugin]))

        async with protokit.Proxy(config(2)) as proxy:
            client = await homemade.connect(protocol, proxy.addresses["in"][1])

            async def ask(count):
                before = [sum(map(len, one.heard)) for one in servers]
                for number in range(count):
                    client.send(1, b"svc m x", number + 1)
                    await client.receive()
                return [sum(map(len, one.heard)) - was for one, was in zip(servers, before, strict=True)]

            assert await ask(20) == [20, 0, 0]
            await proxy.reload(config(3))
            assert await ask(110) == [100, 0, 10]  # a tenth of its weight
            client.writer.close()
        for server in servers:
            server.stop()

    run(main())
