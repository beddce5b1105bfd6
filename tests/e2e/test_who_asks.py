"""Rules for who asks, through a running proxy: Dubbo and a declared protocol on shared listeners."""

from __future__ import annotations

import asyncio

from construct import Const, GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from peers import SERVICE, Client, Server

import protokit
from protokit import Protocol, WireFormat, plugins
from protokit import config as configuration
from protokit.testing import streams
from protokit.wire import ErrorText, Replies, text

WHO = WireFormat(
    Struct(
        Const(b"WH"),
        "kind" / Int8ub,  # 0 request, 1 answer
        "id" / Int16ub,
        "service" / Prefixed(Int8ub, GreedyBytes),
        "body" / Prefixed(Int8ub, GreedyBytes),
    ),
    id=this.id,
    response=this.kind == 1,
    service=text(this.service),
    replies=Replies(error=lambda status, variant: {"kind": 1, "service": b"", "body": ErrorText()}),
)


async def answered(reader):
    head = await reader.readexactly(5)
    service = await reader.readexactly((await reader.readexactly(1))[0])
    body = await reader.readexactly((await reader.readexactly(1))[0])
    return head, service, body


async def serve_who(name):
    """A server of that protocol, which answers with its name."""

    async def serve(reader, writer):
        try:
            while True:
                head, _, _ = await answered(reader)
                number = int.from_bytes(head[3:], "big")
                writer.write(WHO.build({"kind": 1, "id": number, "service": b"", "body": name}))
        except asyncio.IncompleteReadError:
            writer.close()

    return await streams.start_server(serve, "127.0.0.1", 0)


async def ask_who(peer):
    reader, writer = peer
    writer.write(WHO.build({"kind": 0, "id": 7, "service": b"org.protokit.test.Echo", "body": b""}))
    return (await asyncio.wait_for(answered(reader), 10))[2]


def shared(networks, endpoints):
    every = {
        "listeners": [
            {"name": "in", "bind": "127.0.0.1:0", "protocol": ["dubbo", "who"], "routes": "r"},
            {"name": "side", "bind": "127.0.0.1:0", "protocol": ["dubbo", "who"], "routes": "r"},
        ],
        "routes": [
            {
                "name": "r",
                "rules": [
                    {"match": {"source": networks, "protocol": "dubbo"}, "cluster": "near"},
                    {"match": {"source": networks, "listener": "in"}, "cluster": "who-near"},
                    {"match": {"protocol": "who", "not": {"listener": "side"}}, "cluster": "who"},
                    {"match": {"service": SERVICE, "any": [{"listener": "side"}]}, "cluster": "who-side"},
                    {"cluster": "far"},
                ],
            }
        ],
        "clusters": [{"name": name, "endpoints": [f"127.0.0.1:{port}"]} for name, port in endpoints.items()],
    }
    registry = plugins.load(["dubbo"])
    registry.protocols["who"] = Protocol("who", WHO, "who asks")
    return configuration.load(every, registry)


def test_rules_for_where_clients_come_from_and_what_they_speak():
    """Each client by its own address, whoever asked the same before; a reload counts for those that stay."""

    async def connected(proxy, listener, source):
        port = proxy.addresses[listener][1]
        return await streams.open_connection("127.0.0.1", port, local_addr=(source, 0))

    async def main():
        near, far = [await Server(name).start() for name in ("near", "far")]
        names = ("who-near", "who", "who-side")
        servers = [await serve_who(name.encode()) for name in names]
        endpoints = {"near": near.port, "far": far.port}
        endpoints |= {name: one.sockets[0].getsockname()[1] for name, one in zip(names, servers, strict=True)}
        async with protokit.Proxy(shared("127.0.0.2/31", endpoints)) as proxy:
            here = Client(*await connected(proxy, "in", "127.0.0.2"))
            there = Client(*await connected(proxy, "in", "127.0.0.4"))
            who_here = await connected(proxy, "in", "127.0.0.3")
            who_there = await connected(proxy, "in", "127.0.0.4")
            who_side = await connected(proxy, "side", "127.0.0.2")
            for _ in range(3):
                assert (await here.call("name")).value == "near"
                assert (await there.call("name")).value == "far"
                assert await ask_who(who_here) == b"who-near"
                assert await ask_who(who_there) == b"who"
                assert await ask_who(who_side) == b"who-side"
            await proxy.reload(shared(["127.0.0.4", "fd00::/8"], endpoints))
            for _ in range(3):
                assert (await here.call("name")).value == "far"
                assert (await there.call("name")).value == "near"
                assert await ask_who(who_here) == b"who"
                assert await ask_who(who_there) == b"who-near"
                assert await ask_who(who_side) == b"who-side"
            for client in (here, there):
                await client.close()
            for _, writer in (who_here, who_there, who_side):
                writer.close()
        for one in (near, far):
            await one.stop()
        for one in servers:
            one.close()

    streams.run(main())
