"""Ids that are byte strings through a real proxy: clients under the same ids, errors, and nothing crosses."""

from __future__ import annotations

import pytest
from named import MAKERS, protocols, values, with_id
from served import until

import protokit
from protokit import Status
from protokit import config as configuration
from protokit.plugins import Plugin, Registry
from protokit.testing import streams
from protokit.wire.inside import KINDS, Token
from protokit.wire.vocabulary import varint

ALL = protocols()


class Peer:
    """One side of a connection, by the reference codec."""

    def __init__(self, name, reader, writer) -> None:
        self.name, self.wire, self.nested = name, ALL[name].wire, name == "branched"
        self.reader, self.writer, self.rest = reader, writer, b""

    def send(self, kind, request_id, body=b"", status=0) -> None:
        made = with_id(self.wire, self.name, values(kind, body, status), request_id)
        if self.nested:
            made = {"kind": made.pop("kind"), "in": made}
            if kind not in {2, 5}:
                del made["in"]["status"]
        self.writer.write(self.wire.build(made))

    async def receive(self):
        """(message, body) of the next frame; None at the end."""
        while True:
            try:
                one = self.wire.message(self.rest)
            except EOFError:
                more = await self.reader.read(1 << 16)
                if not more:
                    return None
                self.rest += more
                continue
            self.rest = self.rest[one.size :]
            return one, bytes((one.fields["in"] if self.nested else one.fields).body)


class Server:
    """Answers from the last to the first, eight at a time; some of them it keeps, to answer them late."""

    def __init__(self, name) -> None:
        self.name = name
        self.seen: list[bytes] = []
        self.kept: list[tuple[Peer, bytes]] = []

    async def serve(self, reader, writer) -> None:
        peer = Peer(self.name, reader, writer)
        held = []
        while (got := await peer.receive()) is not None:
            message, body = got
            if message.kind != "request":
                continue
            self.seen.append(message.id)
            if body.endswith(b"silent"):
                self.kept.append((peer, message.id))
                continue
            held.append((message.id, body))
            if len(held) == 8:
                for request_id, text in reversed(held):
                    peer.send(2, request_id, text)
                    peer.send(2, request_id, b"again")
                held.clear()
        writer.close()


def some_ids(named, count):
    """Different ones, of all lengths that there may be."""
    if named.form == "varint":
        return [varint(n << 7 * n % 60) for n in range(count)]
    if named.form == "msgpack":
        return [bytes([n]) if n % 2 else bytes([0xA0 | n // 2]) + b"z" * (n // 2) for n in range(count)]
    if isinstance(named.view, Token) and named.view.kind == KINDS["json"]:
        return [b"%d.0" % n if n % 2 else b'"%d%s"' % (n, b"z" * n) for n in range(count)]
    if named.fixed:
        return [b"%0*d" % (named.most, 7 * n) for n in range(count)]
    return [b"%d" % n + b"z" * (n * 5 % (named.most - 1)) for n in range(count)]


@pytest.mark.parametrize("name", [make.__name__ for make in MAKERS])
def test_clients_under_the_same_ids_get_their_own_answers_and_errors(name):
    async def main():
        server = Server(name)
        listening = await streams.start_server(server.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        plugin = Plugin(["home"])
        plugin.protocols[name] = ALL[name]
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": name, "routes": "r"}],
            "routes": [
                {
                    "name": "r",
                    "rules": [
                        {"match": {"service": "svc"}, "cluster": "c"},
                        {"match": {"service": "slow"}, "cluster": "c", "timeout": "100ms"},
                    ],
                }
            ],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{port}"], "max_connections": 1}],
        }
        ids = some_ids(ALL[name].wire.meaning.named, 8)
        async with protokit.Proxy(configuration.load(config, Registry([plugin]))) as proxy:
            where = proxy.addresses["in"]
            clients = [Peer(name, *await streams.open_connection(*where)) for _ in range(2)]
            for n, client in enumerate(clients):
                for one in ids:
                    client.send(1, one, b"svc m %d " % n + one)
            for n, client in enumerate(clients):
                got = [await client.receive() for _ in ids]
                assert {message.id: body for message, body in got} == {
                    one: b"svc m %d " % n + one for one in ids
                }
            for client in clients:
                client.send(1, ids[0], b"slow m silent")
                client.send(1, ids[1], b"other m x")
                client.send(4, ids[2])
                got = [(await client.receive())[0] for _ in range(3)]
                assert {(one.kind, one.id, one.status) for one in got} == {
                    ("response", ids[0], Status.TIMEOUT),
                    ("response", ids[1], Status.NO_SERVICE),
                    ("ack", ids[2], Status.OK),
                }
            await until(lambda: len(server.kept) == 2)
            for peer, one in server.kept:
                peer.send(2, one, b"late")
            # All that was said again, or is late.
            await until(lambda: sum(one["answers_unmatched"] for one in proxy.stats()["workers"]) == 16 + 2)
            for client in clients:
                client.writer.close()
                client.writer = None
        if name != "own":
            assert len(set(server.seen)) == len(server.seen), "two requests had the same id on one connection"
        listening.close()

    streams.run(main(), 30)
