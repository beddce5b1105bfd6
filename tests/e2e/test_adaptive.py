"""A limit of requests that is found, through a running proxy: Dubbo and a declared protocol."""

from __future__ import annotations

import asyncio
import contextlib

import homemade
import pytest
from peers import Client, Server, configuration
from served import documented

import protokit
from protokit import config as reading
from protokit.errors import ConfigErrors
from protokit.observe.metrics import prometheus
from protokit.plugins import Plugin, Registry
from protokit.testing import streams
from protokit.testing.streams import run

EXHAUSTED, OVERLOADED = 100, 5  # Dubbo's, and that of the protocol made at home


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dubbo_server_that_hangs_is_asked_for_the_least(workers):
    """It grows while calls come back, and goes down while they do not; who is refused is told by what."""

    async def main():
        server = await Server().start()
        config = configuration(server, workers=workers)
        [cluster] = documented("A limit that is found")["clusters"]
        config["clusters"][0]["breaker"] = cluster["breaker"] | {"adaptive": {"least": "4"}}
        config["timeouts"] = {"request": "300ms"}
        async with protokit.Proxy(config) as proxy:
            shown = lambda: proxy.clusters()["c"]["breaker"]["requests"]  # noqa: E731
            clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(12)]

            async def all_ask():
                return await asyncio.gather(*(client.call("echo", 1) for client in clients))

            assert shown()["limit"] == 4
            while shown()["limit"] < 9:
                await all_ask()
            server.before = lambda call, writer: True
            answers = []
            while shown()["limit"] > 4:
                answers += await all_ask()
            answers += await all_ask()
            texts = {str(one.value) for one in answers if one.status == EXHAUSTED}
            assert any(
                "of 4, found by how long its requests take (adaptive, up to 1024)" in text for text in texts
            )
            assert 'breaker_limit{cluster="c",breaker="requests"} 4\n' in prometheus(
                proxy.stats(), ready=True
            )
            assert shown()["under_way"] == 0
            for client in clients:
                await client.close()
        await server.stop()

    run(main())


def test_a_declared_protocol():
    async def main():
        protocol = homemade.homemade("home", "multiplexed")
        hung = asyncio.Event()

        async def hang(reader, writer):
            with contextlib.suppress(OSError):
                while await reader.read(1):
                    hung.set()
            writer.close()

        server = await streams.start_server(hang, "127.0.0.1", 0)
        plugin = Plugin(["home"])
        plugin.protocols["home"] = protocol
        breaker = {"requests": 8, "adaptive": {"least": 1}}
        port = server.sockets[0].getsockname()[1]
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "home", "cluster": "c"}],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{port}"], "breaker": breaker}],
        }
        async with protokit.Proxy(reading.load(config, Registry([plugin]))) as proxy:
            first = await homemade.connect(protocol, proxy.addresses["in"][1])
            first.send(1, b"svc hung x", 1)
            await hung.wait()
            second = await homemade.connect(protocol, proxy.addresses["in"][1])
            second.send(1, b"svc m x", 1)
            answer = await second.receive()
            text = (
                b"protokit: overloaded: breaker requests of cluster c is at the limit of 1,"
                b" found by how long its requests take (adaptive, up to 8)"
            )
            assert (answer.status, bytes(answer.text)) == (OVERLOADED, text)
            for client in (first, second):
                client.writer.close()
        server.close()

    run(main())


@pytest.mark.parametrize(
    ("breaker", "message"),
    [
        ({"adaptive": {}}, "adaptive needs requests, the most that it may find"),
        ({"requests": 8, "adaptive": {"least": 9}}, "least: expected no more than requests, 8"),
        ({"requests": 8, "adaptive": {"least": 0}}, "least: expected 1 to 1000000, got '0'"),
        ({"requests": 8, "adaptive": {"lest": 1}}, "'lest'"),
    ],
)
def test_mistakes(breaker, message):
    server = Server()
    server.port = 1
    config = configuration(server)
    config["clusters"][0]["breaker"] = breaker
    with pytest.raises(ConfigErrors) as caught:
        reading.load(config)
    assert message in str(caught.value)
