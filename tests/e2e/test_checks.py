"""Active health checks on real sockets: Dubbo's heartbeats and calls, and those of one declared protocol."""

from __future__ import annotations

import asyncio
import logging

import homemade
import pytest
from peers import SERVICE, Client, Server, configuration
from protokit_dubbo.messages import OK, Answer, Call, Event
from served import until

import protokit
from protokit import config as reading
from protokit.plugins import Plugin, Registry
from protokit.testing.streams import run

SERVER_ERROR = 80


def said(caplog, port: int) -> list[str]:
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("protokit.proxy")]
    told = [line.partition(f":{port} of cluster c ")[2] for line in lines]
    return [line for line in told if line and not line.startswith("was closed")]


def checked(*servers, check, **more) -> dict:
    config = configuration(*servers, **more)
    config["clusters"][0]["health"] = {"timeout": "200ms", **check}
    return config


class Ill(Server):
    """Takes connections, and deals with what is said there in its own way: ``how``."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    async def _handle(self, message, writer) -> None:
        if not self.how:
            await super()._handle(message, writer)
        elif self.how == "closes":
            writer.close()
        elif self.how == "babbles":
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif self.how == "fails" and isinstance(message, Call):
            writer.write(Answer(message.id, SERVER_ERROR, "out of memory").encode())


CALL = Call(SERVICE, "echo", "Ljava/lang/Object;", [1], version="1.0.0", request_id=7).encode().hex()
HEARTBEAT = {"heartbeat": "50ms"}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("how", "check", "why"),
    [
        ("hangs", HEARTBEAT, "no answer in the time for it"),
        ("closes", HEARTBEAT, "it closes the connection instead of answering"),
        ("babbles", HEARTBEAT, "what it answers is no frame of the protocol"),
        ("hangs", {"call": "50ms", "frame": CALL}, "no answer in the time for it"),
        ("fails", {"call": "50ms", "frame": CALL}, "it answers with an error: INTERNAL"),
        (
            "fails",
            {"call": "50ms", "service": SERVICE, "method": "$echo"},
            "it answers with an error: INTERNAL",
        ),
    ],
)
def test_nobody_has_to_ask_one_that_is_ill(caplog, how, check, why, workers):
    caplog.set_level(logging.INFO)

    async def main():
        server, ill = await Server().start(), await Ill(how).start()
        async with protokit.Proxy(checked(server, ill, check=check, workers=workers)) as proxy:
            await until(lambda: said(caplog, ill.port))
            assert said(caplog, ill.port) == [f"fails its health checks: {why}"]
            (shown,) = proxy.clusters()["c"]["endpoints"][1]["ill"]
            assert shown["why"] == f"fails its health checks: {why}"
            assert proxy.clusters()["c"]["endpoints"][0]["ill"] == []
            before = len([one for one in ill.calls if one.id != 7])
            clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(4)]
            for client in clients:
                for n in range(20):
                    assert (await client.call("echo", n)).status == OK
            assert len([one for one in ill.calls if one.id != 7]) == before == 0
            ill.how = ""
            await until(lambda: len(said(caplog, ill.port)) > 1)
            assert said(caplog, ill.port)[1:] == ["passes its health checks again"]
            while not [one for one in ill.calls if one.id != 7]:
                for client in clients:
                    assert (await client.call("echo", 1)).status == OK
            assert [one["ill"] for one in proxy.clusters()["c"]["endpoints"]] == [[], []]
            for client in clients:
                await client.close()
        await server.stop()
        await ill.stop()

    run(main())


def test_a_call_is_built_of_its_service_and_method():
    async def main():
        server = await Server().start()
        server.before = lambda call, writer: writer.write(Answer(call.id, OK, None).encode()) or True
        names = {"service": SERVICE, "version": "1.2.3", "group": "g"}
        for method in ("$echo", "ping"):
            server.calls.clear()
            config = checked(server, check={"call": "20ms", "method": method, **names})
            async with protokit.Proxy(config) as proxy:
                await until(lambda: len(server.calls) > 2)
                assert proxy.stats()["workers"][0]["checks_failed"] == 0
            for call in server.calls:
                assert (call.service, call.method, call.version) == (SERVICE, method, "1.2.3")
                assert (call.attachments["group"], call.twoway) == ("g", True)
                assert call.arguments == ([None] if method == "$echo" else [])
        await server.stop()

    run(main())


def test_a_server_that_is_not_there_is_found_out_and_comes_back(caplog):
    caplog.set_level(logging.INFO)

    async def main():
        server, other = await Server().start(), await Server().start()
        port = other.port
        async with protokit.Proxy(checked(server, other, check={"connect": "30ms"})) as proxy:
            await until(lambda: proxy.stats()["workers"][0]["checks"] > 4)
            assert proxy.stats()["workers"][0]["checks_failed"] == 0
            await other.stop()
            await until(lambda: said(caplog, port))
            assert said(caplog, port) == ["fails its health checks: no connection: Connection refused"]
            again = await Server().start(port)
            await until(lambda: len(said(caplog, port)) > 1)
            assert said(caplog, port)[1:] == ["passes its health checks again"]
            assert again.calls == again.events == []
            # Without checks nobody fails them.
            await again.stop()
            await until(lambda: len(said(caplog, port)) > 2)
            await proxy.reload(configuration(server, other))
            await until(lambda: len(said(caplog, port)) > 3)
            assert said(caplog, port)[3:] == ["is not health-checked any more"]
            assert proxy.clusters()["c"]["endpoints"][1]["ill"] == []
        await server.stop()

    run(main())


def test_one_that_is_busy_is_not_ill(caplog):
    """It answers heartbeats and calls one after the other, as servers with one thread do."""

    class Single(Server):
        async def _handle(self, message, writer) -> None:
            async with self.turn:
                await super()._handle(message, writer)

    async def main():
        server = Single()
        server.turn = asyncio.Lock()
        await server.start()
        async with protokit.Proxy(checked(server, check={"heartbeat": "50ms"})) as proxy:
            await until(lambda: server.events)
            client = await Client.connect(proxy.addresses["in"][1])
            for _ in range(10):
                assert (await client.call("slow", 150)).status == OK
            assert said(caplog, server.port) == []
            assert not any(isinstance(one, Event) for one in server.calls)
            await client.close()
        await server.stop()

    run(main())


@pytest.mark.parametrize("greeting", [(), homemade.LOGIN, homemade.BANNER])
@pytest.mark.parametrize("mode", ["multiplexed", "ordered", "pingpong", "pinned"])
@pytest.mark.parametrize("way", ["heartbeat", "call"])
def test_a_declared_protocol_is_asked_in_its_own_way(caplog, way, mode, greeting):
    caplog.set_level(logging.INFO)

    async def main():
        protocol = homemade.homemade("home", mode, greeting)
        servers = [await homemade.Server(protocol).start() for _ in range(2)]
        fields = homemade.values(1, b"svc m check") | ({"id": 7} if protocol.wire.meaning.id != () else {})
        check = {"heartbeat": "50ms"}
        if way == "call":
            check = {"call": "50ms", "frame": protocol.wire.build(fields).hex()}
        config = checked(*servers, check=check)
        config["listeners"][0]["protocol"] = "home"
        config["routes"][0]["rules"] = [{"cluster": "c"}]
        plugin = Plugin(["home"])
        plugin.protocols["home"] = protocol
        async with protokit.Proxy(reading.load(config, Registry([plugin]))) as proxy:
            stats = lambda: proxy.stats()["workers"][0]  # noqa: E731
            await until(lambda: stats()["checks"] > 6)
            assert stats()["checks_failed"] == 0
            for server in servers:
                assert server.dropped == 0
                assert len(server.heard) == 1  # one connection, which is kept
                assert (server.pings > 2) == (way == "heartbeat")
                assert (len(server.heard[0]) > 2) == (way == "call")
            assert said(caplog, servers[0].port) == []
        for server in servers:
            server.stop()

    run(main())
