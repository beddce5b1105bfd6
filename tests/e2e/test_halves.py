"""A frame of 50 MB through a real proxy and a declared protocol: memory, who is served, edits."""

from __future__ import annotations

import asyncio
import struct

import protokit_motan
import pytest

import protokit
from protokit import Filter, config
from protokit.plugins import Plugin, Registry
from protokit.testing import streams

SIZE = 50 << 20
ROOM = 4 << 20  # bytes that the proxy may hold of it
WIRE = protokit_motan.motan.wire
FLAGS = {"reserved": 0, "heartbeat": 0, "gzip": 0, "oneway": 0, "proxy": 0, "response": 0}
LARGE = {"limits": {"frame": "64MiB"}}


class Adds(Filter):
    """A header."""

    async def request(self, request):
        request.headers["added"] = "yes"


def front(number, *, response=0, size=0, meta=b"M_p\nsvc\nM_m\nmethod"):
    """All of a frame but its body, which has so many bytes."""
    frame = WIRE.build(
        {
            "flags": FLAGS | {"response": response},
            "form": {"version": 1, "status": 0},
            "serialization": 8,
            "id": number,
            "meta": b"" if response else meta,
            "body": b"",
        }
    )
    return frame[:-4] + struct.pack(">I", size)


async def frame_of(reader):
    """(id, meta, body's size) of the next frame."""
    head = await reader.readexactly(13)
    meta = await reader.readexactly(struct.unpack(">I", await reader.readexactly(4))[0])
    left = size = struct.unpack(">I", await reader.readexactly(4))[0]
    while left:
        left -= len(await reader.readexactly(min(left, 1 << 16)))
    return struct.unpack(">Q", head[5:])[0], meta, size


class Server:
    """Answers with as many bytes as it was asked with."""

    def __init__(self):
        self.metas = []

    async def serve(self, reader, writer):
        try:
            while True:
                number, meta, size = await frame_of(reader)
                self.metas.append(meta)
                await send(writer, front(number, response=1, size=size), size)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def send(writer, head, size, most=None):
    writer.write(head)
    for _ in range(0, min(size, most or size), 1 << 16):
        writer.write(bytes(min(1 << 16, size)))
        await writer.drain()
        size -= 1 << 16


def loaded(port, *, filters):
    plugin = Plugin(["here"])
    plugin.protocols["motan"] = protokit_motan.motan
    plugin.filters["adds"] = lambda _: Adds()
    listener = {"name": "in", "bind": "127.0.0.1:0", "protocol": "motan", "mode": "pinned", "routes": "r"}
    rule = {"cluster": "c", **({"filters": ["adds"]} if filters else {})}
    document = {
        "listeners": [listener],
        "routes": [{"name": "r", "rules": [{"match": {"service": "svc"}, **rule}]}],
        "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{port}"]}],
        "drain": {"delay": "0s", "timeout": "2s"},
        **LARGE,
    }
    return config.load(document, Registry([plugin]))


@pytest.mark.parametrize("filters", [False, True])
def test_a_large_frame_takes_little_memory_and_nobody_waits_for_it(filters):
    async def play():
        server = Server()
        listening = await streams.start_server(server.serve, "127.0.0.1", 0)
        async with protokit.Proxy(loaded(listening.sockets[0].getsockname()[1], filters=filters)) as proxy:
            address = proxy.addresses["in"]
            reader, writer = await streams.open_connection(*address)
            other_reader, other = await streams.open_connection(*address)
            most = served = 0
            sending = asyncio.ensure_future(send(writer, front(7, size=SIZE), SIZE))
            receiving = asyncio.ensure_future(frame_of(reader))
            while not receiving.done():
                other.write(front(served, size=0))
                assert (await frame_of(other_reader))[0] == served
                served += 1
                most = max(most, proxy.stats()["workers"][0]["buffer_bytes"])
            await sending
            number, _, size = await receiving
            assert (number, size) == (7, SIZE)
            assert served > 0
            assert most < ROOM
            assert all((b"added\nyes" in meta) == filters for meta in server.metas)
            writer.write(front(8, meta=b"M_p\nnobody\nM_m\nm", size=SIZE))  # refused by its front
            assert (await frame_of(reader))[0] == 8
        listening.close()

    streams.run(play())
