"""Ill endpoints on real sockets: one drops SYNs, one accepts and says nothing, one is only busy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket

import pytest
from peers import SERVICE, Client, Server, configuration
from protokit_dubbo.messages import OK, Answer, Event
from served import until

import protokit
from protokit.testing.streams import run

TIMEOUT, UNAVAILABLE, SERVER_ERROR = 31, 50, 80


class Dropping:
    """An address that drops SYNs: its queue of connections is full, and nobody takes them."""

    def __enter__(self) -> Dropping:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.socket.getsockname()[1]
        self.fillers = []
        while True:
            filler = socket.socket()
            self.fillers.append(filler)
            filler.setblocking(False)
            filler.connect_ex(self.socket.getsockname())
            if not select.select([], [filler], [], 0.3)[1]:
                return self

    def free(self) -> None:
        """Let go of the address."""
        for filler in self.fillers:
            filler.close()
        self.socket.close()

    def __exit__(self, *exception: object) -> None:
        self.free()


class Silent(Server):
    """Takes connections and calls, and says nothing."""

    async def _handle(self, message, writer) -> None:
        if not isinstance(message, Event):
            self.calls.append(message)


class Simple(Server):
    """Knows no heartbeats."""

    async def _handle(self, message, writer) -> None:
        if not isinstance(message, Event):
            await super()._handle(message, writer)


def said(caplog: pytest.LogCaptureFixture, port: int) -> list[str]:
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("protokit.proxy")]
    return [line.partition(" of cluster c ")[2] for line in lines if f":{port} " in line]


@pytest.mark.parametrize("balance", ["round-robin", "least-request"])
def test_an_address_that_drops_syns(caplog, balance):
    caplog.set_level(logging.INFO)

    async def main(dropping: Dropping):
        server = await Server().start()
        config = configuration(server, dropping)
        config["clusters"][0] |= {"balance": balance, "connect_timeout": "200ms"}
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            failures = 0
            while failures < 3:  # each try takes a while, and nobody waits for it
                assert (await client.call("echo", 1)).value == 1
                await asyncio.sleep(0.01)
                failures = proxy.stats()["workers"][0]["upstream_connect_failures"]
            await until(lambda: said(caplog, dropping.port))
            of = proxy.stats()["clusters"]["c"][f"127.0.0.1:{dropping.port}"]
            assert of["requests"] <= 1  # the first of all, for a moment
            assert of["connect_failures"] == failures
            dropping.free()
            again = await Server().start(dropping.port)
            while not again.calls:
                await client.call("echo", 1)
            assert said(caplog, dropping.port) == [
                "cannot be reached: no connection in the time for it",
                "is well again",
            ]
            await client.close()
            await again.stop()
        await server.stop()

    with Dropping() as dropping:
        run(main(dropping))


def test_a_refused_connection_is_said_with_its_reason(caplog):
    async def main():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            config = configuration()
            config["clusters"][0]["endpoints"] = [f"127.0.0.1:{port}"]
            async with protokit.Proxy(config) as proxy:
                client = await Client.connect(proxy.addresses["in"][1])
                answer = await client.call("echo", 1)
                assert (
                    "no endpoint can be reached (cluster c)" in answer.value
                    or "cannot connect" in answer.value
                )
                await until(lambda: said(caplog, port))
                assert said(caplog, port) == ["cannot be reached: Connection refused"]
                (shown,) = proxy.clusters()["c"]["endpoints"]
                (ill,) = shown["ill"]
                assert ill.pop("seconds") >= 0
                assert ill == {"worker": 0, "why": "cannot be reached: Connection refused"}
                assert shown["address"] == f"127.0.0.1:{port}"
                assert shown["connect_failures"] >= 1
                # Who comes to that address after it was taken away is another.
                server = await Server().start()
                await proxy.reload(configuration(server))
                assert proxy.clusters()["c"]["endpoints"][0]["ill"] == []
                await proxy.reload(config)
                assert proxy.clusters()["c"]["endpoints"][0]["ill"] == []
                await client.close()
                await server.stop()

    run(main())


def test_a_server_that_takes_calls_and_says_nothing(caplog):
    caplog.set_level(logging.INFO)

    async def main():
        server, silent = await Server().start(), await Silent().start()
        rules = [{"match": {"service": SERVICE}, "cluster": "c", "timeout": "200ms"}]
        config = configuration(
            server, silent, routes=[{"name": "r", "rules": rules}], timeouts={"probe": "100ms"}
        )
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            while not said(caplog, silent.port):
                await client.call("echo", 1)
            taken = len(silent.calls)
            statuses = [(await client.call("echo", n)).status for n in range(500)]
            failed = len([status for status in statuses if status != OK])
            assert failed == len(silent.calls) - taken
            assert failed < 10
            assert said(caplog, silent.port) == ["is silent: it takes connections and answers nothing"]
            port = silent.port
            await silent.stop()
            again = await Server().start(port)
            while len(again.calls) < 10:
                assert (await client.call("echo", 1)).status in {OK, UNAVAILABLE}
            assert said(caplog, port)[-1] == "is well again"
            assert [one["ill"] for one in proxy.clusters()["c"]["endpoints"]] == [[], []]
            await client.close()
            await again.stop()
        await server.stop()

    run(main())


def test_a_server_that_is_busy_and_knows_no_heartbeats_is_not_cut():
    async def main():
        server = await Simple().start()
        async with protokit.Proxy(configuration(server, timeouts={"probe": "50ms"})) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("slow", 1500)).status == OK
            assert proxy.stats()["workers"][0]["heartbeats_sent"] > 2
            assert proxy.stats()["workers"][0]["upstream_silent"] == 0
            await client.close()
        await server.stop()

    run(main())


def test_a_server_that_answered_heartbeats_and_stops_is_cut():
    async def main():
        server = await Server().start()
        async with protokit.Proxy(
            configuration(server, timeouts={"probe": "100ms", "heartbeat": "100ms"})
        ) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            await client.call("echo", 1)
            await until(lambda: server.events)
            server._handle = Silent()._handle
            answer = await client.call("echo", 1)
            assert answer.status not in {OK, TIMEOUT}
            assert "the connection was lost" in answer.value
            await client.close()
        with contextlib.suppress(OSError):
            await server.stop()

    run(main())


class Bad(Server):
    """Answers every call with an error of its own."""

    async def _handle(self, message, writer) -> None:
        if isinstance(message, Event):
            await super()._handle(message, writer)
        else:
            self.calls.append(message)
            writer.write(Answer(message.id, SERVER_ERROR, "out of memory").encode())


def test_one_that_answers_badly_is_left_out_and_said_so(caplog):
    async def main():
        server, bad = await Server().start(), await Bad().start()
        config = configuration(server, bad)
        config["clusters"][0]["outlier"] = {"errors": 3, "eject": "300ms"}
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            while not said(caplog, bad.port):
                await client.call("echo", 1)
            assert len(bad.calls) == 3
            assert said(caplog, bad.port) == ["is left out for 0.3 s: errors one after the other"]
            assert [len(one["ill"]) for one in proxy.clusters()["c"]["endpoints"]] == [0, 1]
            while len(bad.calls) < 6:
                await client.call("echo", 1)
            await until(lambda: len(said(caplog, bad.port)) > 1)
            assert said(caplog, bad.port)[-1] == "is left out for 0.6 s: errors one after the other"
            await client.close()
        await server.stop()
        await bad.stop()

    run(main())
