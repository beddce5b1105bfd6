"""How requests share connections, and what is said before them, over real sockets."""

from __future__ import annotations

import asyncio

import pytest
from homemade import BANNER, LOGIN, Server, connect, homemade

import protokit
from protokit import config as configuration
from protokit.errors import ConfigErrors
from protokit.plugins import Plugin, Registry
from protokit.testing import Golden, conformance, streams
from protokit.testing.streams import run

MODES = ["multiplexed", "ordered", "pingpong", "pinned"]
GREETINGS = {"none": (), "login": LOGIN, "banner": BANNER, "preface": ("client",), "hello": ("server",)}
BAD_REQUEST, UNAVAILABLE = 3, 6


def registry(*protocols):
    plugin = Plugin(["home"])
    plugin.protocols.update({one.name: one for one in protocols})
    return Registry([plugin])


def loaded(*protocols, ports, protocol=None, connections=1, **listener):
    config = {
        "listeners": [
            {
                "name": "in",
                "bind": "127.0.0.1:0",
                "protocol": protocol or [one.name for one in protocols],
                "cluster": "c",
                **listener,
            }
        ],
        "clusters": [
            {
                "name": "c",
                "endpoints": [f"127.0.0.1:{port}" for port in ports],
                "max_connections": connections,
            }
        ],
        "timeouts": {"connect": "500ms"},
    }
    return configuration.load(config, registry(*protocols))


async def ask(client, texts, first_id=1):
    """Send all at once; the answers' texts, by id where there are ids."""
    for n, text in enumerate(texts):
        client.send(1, text, first_id + n)
    got = [await asyncio.wait_for(client.receive(), 5) for _ in texts]
    if client.ids:
        by_id = {one.id: one.text for one in got}
        return [by_id[first_id + n] for n in range(len(texts))]
    return [one.text for one in got]


@pytest.mark.parametrize("greeting", GREETINGS)
@pytest.mark.parametrize("mode", MODES)
def test_each_client_gets_its_own_answers_in_every_mode_and_after_every_greeting(mode, greeting):
    async def main():
        protocol = homemade("home", mode, GREETINGS[greeting])
        server = await Server(protocol, hold=1 if mode == "pingpong" else 4).start()
        each = 2 if mode == "pingpong" else 1  # a connection carries one request at a time
        async with protokit.Proxy(loaded(protocol, ports=[server.port], connections=each)) as proxy:
            clients = [await connect(protocol, proxy.addresses["in"][1]) for _ in range(2)]
            for client in clients:
                assert await client.hello("client")
            texts = [[b"svc m %d.%d" % (c, n) for n in range(8)] for c in range(2)]
            answers = await asyncio.gather(*(ask(*pair) for pair in zip(clients, texts, strict=True)))
            assert list(answers) == texts
            for client in clients:
                client.send(3, b"svc m oneway", 99)
                client.send(4, b"", 5)
                assert (await client.receive()).kind == 5
                client.writer.close()
            for _ in range(200):
                if sum(map(len, server.heard)) == 18:
                    break
                await asyncio.sleep(0.01)
            heard = [one for connection in server.heard for one in connection]
            assert sorted(text for _, text in heard) == sorted([*texts[0], *texts[1], *[b"svc m oneway"] * 2])
            assert server.dropped == 0
        pinned = mode == "pinned"
        assert 1 + pinned <= len(server.heard) <= max(each, 1 + pinned)
        if mode == "pingpong":
            assert set(server.waiting) == {0}, "a request came before the one in front was answered"
        else:
            assert max(server.waiting) == 3, "requests are not sent behind each other"
        if pinned:
            for connection in server.heard:
                assert [request_id for request_id, _ in connection] == [*range(1, 9), 99]
        elif mode == "multiplexed":
            assert len({request_id for request_id, _ in heard}) == 18
        server.stop()

    run(main())


@pytest.mark.parametrize("order", [LOGIN, BANNER])
def test_a_client_that_does_not_greet_is_told_so_and_its_request_goes_nowhere(order):
    async def main():
        protocol = homemade("home", greeting=order)
        server = await Server(protocol).start()
        async with protokit.Proxy(loaded(protocol, ports=[server.port])) as proxy:
            client = await connect(protocol, proxy.addresses["in"][1])
            client.send(1, b"svc m x", 7)
            answer = await client.receive()
            if order == BANNER:
                assert (answer.kind, answer.text) == (8, b"welcome")
                answer = await client.receive()
            assert (answer.kind, answer.id, answer.status) == (2, 7, BAD_REQUEST)
            assert b"before the greeting was over" in answer.text
            assert server.heard == []
            client.writer.close()
        server.stop()

    run(main())


@pytest.mark.parametrize("order", [LOGIN, BANNER])
def test_a_server_that_says_no_is_passed_over_and_where_all_do_the_caller_is_told(order):
    async def main():
        protocol = homemade("home", greeting=order)
        bad, good = await Server(protocol, refuse=True).start(), await Server(protocol).start()
        for ports, status in (([bad.port, good.port], 0), ([bad.port], UNAVAILABLE)):
            async with protokit.Proxy(loaded(protocol, ports=ports)) as proxy:
                client = await connect(protocol, proxy.addresses["in"][1])
                assert await client.hello("client")
                for n in range(4):
                    client.send(1, b"svc m x", n)
                    answer = await client.receive()
                    assert (answer.kind, answer.id, answer.status) == (2, n, status)
                    if n == 0 and status:
                        assert answer.text.endswith(b"(cluster c): the greeting was refused")
                assert proxy.stats()["workers"][0]["greetings_refused"] >= 1
                client.writer.close()
        bad.stop()
        good.stop()

    run(main())


def test_a_server_that_never_greets_is_given_up_within_the_time_to_connect():
    async def main():
        protocol = homemade("home", greeting=LOGIN)

        async def silent(reader, writer):
            await reader.read()
            writer.close()

        server = await streams.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with protokit.Proxy(loaded(protocol, ports=[port])) as proxy:
            client = await connect(protocol, proxy.addresses["in"][1])
            assert await client.hello("client")
            client.send(1, b"svc m x", 1)
            answer = await asyncio.wait_for(client.receive(), 5)
            assert answer.status == UNAVAILABLE
            assert proxy.stats()["workers"][0]["upstream_connect_failures"] == 1
            client.writer.close()
        server.close()

    run(main())


def test_protocols_of_all_modes_share_a_listener():
    async def main():
        protocols = [
            homemade(mode, mode, LOGIN if mode == "ordered" else ()) for mode in ("multiplexed", "ordered")
        ]
        protocols.append(homemade("zig", "pinned"))
        servers = [await Server(one).start() for one in protocols]
        for one, server in zip(protocols, servers, strict=True):
            async with protokit.Proxy(loaded(*protocols, ports=[server.port], protocol="auto")) as proxy:
                client = await connect(one, proxy.addresses["in"][1])
                assert await client.hello("client")
                assert await ask(client, [b"svc m 1", b"svc m 2"]) == [b"svc m 1", b"svc m 2"]
                client.writer.close()
            server.stop()

    run(main())


def mistakes(*protocols, **listener):
    with pytest.raises(ConfigErrors) as caught:
        loaded(*protocols, ports=[1], **listener)
    return str(caught.value)


def test_what_cannot_be_combined_is_refused():
    first, quiet, own = homemade("first", greeting=BANNER), homemade("quiet"), homemade("own", "pinned")
    for listener in ({}, {"protocol": ["first"], "fallback": "c"}, {"protocol": "first", "fallback": "c"}):
        assert "with 'first' the server speaks first, so its clients cannot be told" in mistakes(
            first, quiet, **listener
        )
    assert "clients of 'own' cannot share upstream connections: leave out mode: shared" in mistakes(
        own, mode="shared"
    )
    assert loaded(first, quiet, ports=[1], protocol="first")
    assert loaded(own, quiet, ports=[1], mode="pinned")
    assert loaded(first, own, quiet, ports=[1], protocol="auto").protocols["in"] == ("own", "quiet")


def vectors(protocol):
    ids = {"id": 7} if protocol.wire.meaning.id else {}

    def one(kind, text, status=0):
        frame = protocol.wire.build({"kind": kind, "status": status, "text": text, **ids})
        return Golden(f"{kind}", frame, "made at home", {})

    shapes = [one(1, b"svc call x"), one(2, b"done"), one(2, b"oh", 5), one(3, b"svc call y"), one(4, b"")]
    return [*shapes, one(5, b""), *([one(8, b"hi")] if protocol.wire.greeting else [])]


LOGS_IN = homemade("login", greeting=LOGIN)
IS_GREETED = homemade("banner", "ordered", greeting=BANNER)
TAKES_TURNS = homemade("turns", "pingpong")
TestLogsIn = conformance(LOGS_IN, golden=vectors(LOGS_IN), examples=60)
TestIsGreeted = conformance(IS_GREETED, golden=vectors(IS_GREETED), examples=60)
TestTakesTurns = conformance(TAKES_TURNS, golden=vectors(TAKES_TURNS), examples=60)
