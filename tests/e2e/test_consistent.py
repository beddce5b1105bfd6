"""Requests of one user go to one server, through a running proxy: Dubbo by the page's example, another."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import yaml
from construct import Const, GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from peers import Client, Server

import protokit
from protokit import Protocol, WireFormat, plugins
from protokit import config as configuration
from protokit.testing import streams
from protokit.wire import ErrorText, Replies, pairs, text

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
HEADED = WireFormat(
    Struct(
        Const(b"HE"),
        "kind" / Int8ub,  # 0 request, 1 answer
        "id" / Int16ub,
        "service" / Prefixed(Int8ub, GreedyBytes),
        "head" / Prefixed(Int8ub, GreedyBytes),
    ),
    id=this.id,
    response=this.kind == 1,
    service=text(this.service),
    headers=pairs(this.head, key=Int8ub, value=Int8ub),
    replies=Replies(error=lambda *_: {"kind": 1, "service": b"", "head": ErrorText()}),
)


def example():
    """The page's cluster."""
    (block,) = [
        one for one in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "carts" in one
    ]
    return yaml.safe_load(block)


async def frame(reader):
    head = await reader.readexactly(5)
    service = await reader.readexactly((await reader.readexactly(1))[0])
    return (
        int.from_bytes(head[3:], "big"),
        service,
        await reader.readexactly((await reader.readexactly(1))[0]),
    )


async def serve(name):
    async def one(reader, writer):
        try:
            while True:
                number, _, _ = await frame(reader)
                writer.write(HEADED.build({"kind": 1, "id": number, "service": name, "head": b""}))
        except asyncio.IncompleteReadError:
            writer.close()

    return await streams.start_server(one, "127.0.0.1", 0)


@pytest.mark.parametrize("balance", ["maglev", "ring-hash"])
def test_a_users_calls_go_to_one_server_over_clients_and_reloads(balance):
    async def main():
        servers = [await Server(f"s{n}").start() for n in range(3)]
        config = example()
        config["listeners"][0]["bind"] = "127.0.0.1:0"
        cluster = config["clusters"][0]
        cluster["balance"] = balance
        cluster["endpoints"] = [f"127.0.0.1:{server.port}" for server in servers]
        async with protokit.Proxy(configuration.load(config)) as proxy:
            clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(2)]

            async def owners(client):
                return [(await client.call("name", user=f"u{n}")).value for n in range(40)]

            first = await owners(clients[0])
            assert set(first) == {"s0", "s1", "s2"}
            assert await owners(clients[1]) == first
            cluster["endpoints"].reverse()
            await proxy.reload(configuration.load(config))
            assert await owners(clients[1]) == first
            # One goes: only its users move.
            del cluster["endpoints"][0]
            await proxy.reload(configuration.load(config))
            now = await owners(clients[0])
            stayed = [was == new for was, new in zip(first, now, strict=True) if was != "s2"]
            assert "s2" not in now
            assert sum(stayed) >= (len(stayed) if balance == "ring-hash" else 0.8 * len(stayed))
            for client in clients:
                await client.close()
        for server in servers:
            await server.stop()

    streams.run(main())


def test_a_declared_protocol_by_its_header_and_by_its_clients_address():
    async def main():
        servers = [await serve(b"s%d" % n) for n in range(3)]
        ports = [one.sockets[0].getsockname()[1] for one in servers]
        endpoints = [f"127.0.0.1:{port}" for port in ports]
        registry = plugins.load(["dubbo"])
        registry.protocols["headed"] = Protocol("headed", HEADED, "with headers")
        config = {
            "listeners": [
                {"name": name, "bind": "127.0.0.1:0", "protocol": "headed", "cluster": name}
                for name in ("user", "source")
            ],
            "clusters": [
                {"name": "user", "endpoints": endpoints, "balance": "maglev", "hash": {"header": "user"}},
                {"name": "source", "endpoints": endpoints, "balance": "ring-hash", "hash": "source"},
            ],
        }

        async def ask(proxy, listener, user, source):
            port = proxy.addresses[listener][1]
            reader, writer = await streams.open_connection("127.0.0.1", port, local_addr=(source, 0))
            head = b"\x04user" + bytes([len(user)]) + user
            writer.write(HEADED.build({"kind": 0, "id": 5, "service": b"x", "head": head}))
            found = await asyncio.wait_for(frame(reader), 10)
            writer.close()
            return found[1]

        async with protokit.Proxy(configuration.load(config, registry)) as proxy:
            for listener, keys in (
                ("user", [(b"u%d" % n, "127.0.0.1") for n in range(24)]),
                ("source", [(b"u", f"127.0.0.{n + 2}") for n in range(24)]),
            ):
                first = [await ask(proxy, listener, *key) for key in keys]
                assert set(first) == {b"s0", b"s1", b"s2"}
                assert [await ask(proxy, listener, *key) for key in keys] == first
        for one in servers:
            one.close()

    streams.run(main())


def test_check_warns_of_a_header_that_a_protocol_has_not():
    bare = WireFormat(
        Struct(Const(b"BA"), "kind" / Int8ub, "id" / Int16ub, "service" / Prefixed(Int8ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 1,
        service=text(this.service),
        replies=Replies(error=lambda *_: {"kind": 1, "service": ErrorText()}),
    )
    registry = plugins.load(["dubbo"])
    registry.protocols["bare"] = Protocol("bare", bare, "without headers")
    config = {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": ["bare", "dubbo"], "routes": "r"}],
        "routes": [{"name": "r", "rules": [{"split": [{"cluster": "a", "weight": 1}]}]}],
        "clusters": [
            {"name": "a", "endpoints": ["127.0.0.1:1"], "balance": "maglev", "hash": {"header": "user"}}
        ],
    }
    (warning,) = configuration.load(config, registry).warnings
    assert "protocol 'bare' (listener 'in') have no headers" in str(warning)
    config["clusters"][0]["hash"] = "service"
    assert not configuration.load(config, registry).warnings
