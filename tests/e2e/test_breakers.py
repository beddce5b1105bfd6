"""Breakers of clusters through a running proxy: Dubbo by the page's example, and one declared protocol."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import homemade
import pytest
from peers import OK, Answer, Client, Server, configuration
from served import documented, until

import protokit
from protokit import config as reading
from protokit.observe.metrics import prometheus
from protokit.plugins import Plugin, Registry
from protokit.testing import streams
from protokit.testing.streams import run

OVERLOADED = 5  # of the protocol made at home
EXHAUSTED = 100  # Dubbo's


def with_breaker(server, breaker, **more):
    made = configuration(server, **more)
    made["clusters"][0]["breaker"] = breaker
    return made


@pytest.mark.parametrize("workers", [1, 3])
def test_so_many_requests_in_total_over_all_workers(workers, caplog):
    async def main():
        server = await Server().start()
        held = []
        server.before = lambda call, writer: held.append((call, writer)) is None and call.method == "echo"
        async with protokit.Proxy(with_breaker(server, {"requests": 8}, workers=workers)) as proxy:
            clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(12)]
            asked = [asyncio.ensure_future(client.call("echo", 1)) for client in clients]
            shown = lambda: proxy.clusters()["c"]["breaker"]["requests"]  # noqa: E731
            await until(lambda: shown()["refused"] + len(held) == 12)
            assert shown()["limit"] == 8
            assert shown()["under_way"] == len(held)
            assert 7 <= len(held) <= 8  # of one method: who comes last may find it at its share
            refused = [one.result() for one in asked if one.done()]
            assert {answer.status for answer in refused} == {EXHAUSTED}
            assert all("breaker requests of cluster c" in str(answer.value) for answer in refused)
            page = prometheus(proxy.stats(), ready=True)
            for line in (
                f'breaker_under_way{{cluster="c",breaker="requests"}} {len(held)}',
                'breaker_limit{cluster="c",breaker="requests"} 8',
                f'breaker_refused_total{{cluster="c",breaker="requests"}} {12 - len(held)}',
            ):
                assert f"protokit_{line}\n" in page
            await proxy.reload(with_breaker(server, {"requests": 9}, workers=workers))
            assert shown() == {"limit": 9, "under_way": len(held), "refused": 12 - len(held)}
            for call, writer in held:
                writer.write(Answer(call.id, OK, 1).encode())
            await asyncio.gather(*asked)
            assert shown()["under_way"] == 0
            for client in clients:
                await client.close()
        await server.stop()

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "breaker requests of cluster c is at its limit of" in caplog.text


def test_the_documented_breaker():
    async def main():
        server = await Server().start()
        breaker = documented("Breakers")["clusters"][0]["breaker"]
        async with protokit.Proxy(with_breaker(server, breaker)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("echo", 1)).status == 20
            shown = proxy.clusters()["c"]
            assert {*shown["breaker"]} == {
                "connections",
                "waiting",
                "requests",
                "endpoint-connections",
                "endpoint-requests",
            }
            assert shown["breaker"]["connections"]["under_way"] == 1
            assert shown["endpoints"][0]["breaker"] == {"connections": 1, "requests": 0}
            await client.close()
        await server.stop()

    run(main())


@pytest.mark.parametrize("mode", ["multiplexed", "ordered", "pingpong", "pinned"])
def test_a_declared_protocol_has_breakers(mode):
    async def main():
        protocol = homemade.homemade("home", mode)
        asked = asyncio.Event()

        async def hang(reader, writer):
            await reader.read(1)
            asked.set()
            with contextlib.suppress(OSError):
                await reader.read()
            writer.close()

        server = await streams.start_server(hang, "127.0.0.1", 0)
        plugin = Plugin(["home"])
        plugin.protocols["home"] = protocol
        port = server.sockets[0].getsockname()[1]
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "home", "cluster": "c"}],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{port}"], "breaker": {"requests": 1}}],
        }
        async with protokit.Proxy(reading.load(config, Registry([plugin]))) as proxy:
            first = await homemade.connect(protocol, proxy.addresses["in"][1])
            first.send(1, b"svc hung x", 1)
            await asked.wait()
            second = await homemade.connect(protocol, proxy.addresses["in"][1])
            second.send(1, b"svc m x", 1)
            answer = await second.receive()
            text = b"protokit: overloaded: breaker requests of cluster c is at the limit of 1"
            assert (answer.status, bytes(answer.text)) == (OVERLOADED, text)
            for client in (first, second):
                client.writer.close()
        server.close()

    run(main())
