"""Streams and requests in pieces through a real proxy: whose parts are whose, and who waits for whom."""

from __future__ import annotations

import asyncio

import pytest

import protokit
from protokit import NativeCodec, Protocol
from protokit import config as configuration
from protokit.plugins import Plugin, Registry
from protokit.testing import streams

PART = b"x" * 60_000


class Peer:
    """One side of a connection, in the toy protocol."""

    def __init__(self, toy, reader, writer) -> None:
        self.toy, self.reader, self.writer = toy, reader, writer
        self.rest, self.ready = b"", []

    def send(self, kind, number, body, *, more=False) -> None:
        self.writer.write(self.toy.frame(kind, number, body, self.toy.MORE if more else 0))

    async def receive(self):
        """(kind, whether more follows, id, body) of the next frame; None at the end."""
        while not self.ready:
            got = await self.reader.read(1 << 16)
            if not got:
                return None
            found, self.rest = self.toy.split(self.rest + got)
            self.ready = found
        kind, status, number, body = self.ready.pop(0)
        return kind, bool(status & self.toy.MORE), number, body


class Server:
    """Answers with as many parts as it is asked for; says how much requests in pieces hold."""

    def __init__(self, toy) -> None:
        self.toy, self.sent = toy, 0

    async def serve(self, reader, writer) -> None:
        peer = Peer(self.toy, reader, writer)
        streams, begun = [], {}
        while (got := await peer.receive()) is not None:
            kind, more, number, body = got
            if kind == self.toy.HEARTBEAT:
                peer.send(self.toy.HEARTBEAT_ACK, number, b"")
            elif kind == self.toy.PIECE or more:
                begun[number] = begun.get(number, 0) + len(body)
                if not more:
                    peer.send(self.toy.RESPONSE, number, b"%d" % begun.pop(number))
            elif kind == self.toy.REQUEST:
                streams.append(asyncio.ensure_future(self.stream(peer, number, body)))
                if not self.toy.id_bytes:
                    await streams.pop()  # in order
        writer.close()
        await asyncio.gather(*streams, return_exceptions=True)

    async def stream(self, peer, number, body) -> None:
        _, count, text, *large = body.split(b" ")
        for n in range(int(count)):
            kind = self.toy.PIECE if n else self.toy.RESPONSE
            peer.send(kind, number, b"%s %d " % (text, n) + (PART if large else b""), more=n + 1 < int(count))
            self.sent += 1
            await peer.writer.drain()
            await asyncio.sleep(0)


async def through(toy, mode, play) -> None:
    server = Server(toy)
    listening = await streams.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    plugin = Plugin(["toy"])
    plugin.protocols[toy.name] = Protocol(toy.name, NativeCodec(toy.address, None), "of the tests")
    config = {
        "listeners": [
            {"name": "in", "bind": "127.0.0.1:0", "protocol": toy.name, "mode": mode, "cluster": "c"}
        ],
        "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{port}"], "max_connections": 1}],
    }
    async with protokit.Proxy(configuration.load(config, Registry([plugin]))) as proxy:

        async def connect():
            return Peer(toy, *await streams.open_connection(*proxy.addresses["in"]))

        await asyncio.wait_for(play(proxy, server, connect), 60)
    listening.close()


@pytest.mark.parametrize("kind", ["wide", "narrow", "named", "ordered"])
@pytest.mark.parametrize("mode", ["shared", "pinned"])
def test_streams_of_several_clients_at_once(toys, kind, mode):
    toy = toys[kind]

    async def play(proxy, server, connect):
        clients = [await connect() for _ in range(4)]
        for n, client in enumerate(clients):
            client.send(toy.REQUEST, 5, b"svc 50 mine-%d" % n)
        for n, client in enumerate(clients):
            for part in range(50):
                _, more, number, body = await client.receive()
                assert body == b"mine-%d %d " % (n, part)
                assert number == (5 if toy.id_bytes else 0)
                assert more == (part < 49)
        for client in clients:
            client.writer.close()

    streams.run(through(toy, mode, play))


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong", "own"])
def test_a_client_that_does_not_read_stops_its_server_and_then_has_all_of_it(toys, kind):
    toy = toys[kind]
    count = 2000  # 120 MB: more than all buffers between them hold

    async def play(proxy, server, connect):
        slow, quick = await connect(), await connect()
        slow.send(toy.REQUEST, 5, b"svc %d slow large" % count)
        await slow.receive()
        before = -1
        while server.sent != before:  # until it stands still
            before = server.sent
            await asyncio.sleep(0.3)
            quick.send(toy.REQUEST, 6, b"svc 1 quick")
            assert (await quick.receive())[3] == b"quick 0 "
            before += 1  # that one
        assert server.sent < count
        for n in range(1, count):
            _, more, _, body = await slow.receive()
            assert body.startswith(b"slow %d " % n)
            assert more == (n < count - 1)
        slow.writer.close()
        quick.writer.close()

    streams.run(through(toy, "pinned", play))


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong"])
def test_a_request_of_many_megabytes_in_pieces(toys, kind):
    toy = toys[kind]

    async def play(proxy, server, connect):
        client = await connect()
        client.send(toy.REQUEST, 5, b"svc m x", more=True)
        for n in range(400):
            client.send(toy.PIECE, 5, PART, more=n < 399)
            await client.writer.drain()
        what, more, _, body = await client.receive()
        assert (what, more, body) == (toy.RESPONSE, False, b"%d" % (7 + 400 * len(PART)))
        assert proxy.stats()["workers"][0]["parts"] == 401
        client.writer.close()

    streams.run(through(toy, "pinned", play))
