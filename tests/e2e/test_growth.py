"""Many reloads with plugins that are files: what has not changed is not made anew, what nobody uses goes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import struct

import pytest
from fewer import many

import protokit
from protokit import native
from protokit.testing import streams

RELOADS = many(200)
JOINING = RELOADS // 4  # after so many another client comes, and stays
MARKS = itertools.count(100)  # no two tests have the same formats
HEAD = struct.Struct(">BIHH")  # kind, id, mark, size of the text
DECLARED = """
from construct import GreedyBytes, Int8ub, Int16ub, Int32ub, Prefixed, Struct, this
from protokit import Filter, Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies, split, table

def made():
    words = split(this.text, " ", 2)
    return Protocol("filed", WireFormat(
        Struct("kind" / Int8ub, "id" / Int32ub, "mark" / Int16ub, "text" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 2,
        oneway=this.kind == 3,
        status=table(this.mark, {{9: Status.INTERNAL}}, Status.OK),
        service=words[0],
        replies=Replies(error=lambda s, v: {{"kind": 2, "mark": {mark}, "text": ErrorText()}}),
    ))

{once}

class Pass(Filter):
    async def request(self, request):
        return None

@hookimpl
def protokit_protocols():
    return [{protocol}]

@hookimpl
def protokit_filters():
    return {{"pass": lambda options: Pass()}}
"""
PYTHON = """
import struct
from protokit import Filter, Protocol, PythonCodec, Request, Status, hookimpl
from protokit.wire import Frame

HEAD = struct.Struct(">BIHH")

class Filed(PythonCodec):
    id_bytes = 4
    def frame(self, data, peer):
        if len(data) < HEAD.size:
            return None
        kind, number, mark, size = HEAD.unpack_from(data)
        return Frame(HEAD.size + size, {{1: "request", 2: "response"}}[kind], number)
    def request(self, frame):
        return Request(frame[HEAD.size :].split()[0].decode(), "")
    def with_id(self, frame, request_id):
        return frame[:1] + struct.pack(">I", request_id) + frame[5:]
    def error(self, reply):
        return HEAD.pack(2, reply.id, {mark}, len(reply.text.encode())) + reply.text.encode()

class Pass(Filter):
    async def request(self, request):
        return None

def made():
    return Protocol("filed", Filed())

{once}

@hookimpl
def protokit_protocols():
    return [{protocol}]

@hookimpl
def protokit_filters():
    return {{"pass": lambda options: Pass()}}
"""


def source(tier, mark, *, anew):
    """A plugin; ``anew``: its hook makes another protocol whenever it is asked."""
    once, protocol = ("", "made()") if anew else ("filed = made()", "filed")
    return (DECLARED if tier == "declared" else PYTHON).format(mark=mark, once=once, protocol=protocol)


async def echo(reader, writer):
    try:
        while True:
            head = await reader.readexactly(HEAD.size)
            kind, number, _, size = HEAD.unpack(head)
            text = await reader.readexactly(size)
            if kind == 1:
                writer.write(HEAD.pack(2, number, 0, size) + text)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


class Client:
    """Asks one thing after the other, until it is told to stop."""

    def __init__(self, name: str, reader, writer) -> None:
        self.name, self.reader, self.writer = name, reader, writer
        self.answers = 0
        self.stopping = False
        self.work = asyncio.ensure_future(self.run())

    @classmethod
    async def connect(cls, name, port):
        return cls(name, *await streams.open_connection("127.0.0.1", port))

    async def run(self):
        for number in itertools.count():
            if self.stopping:
                break
            text = f"{self.name} {number}".encode()
            self.writer.write(HEAD.pack(1, number, 0, len(text)) + text)
            kind, of, mark, size = HEAD.unpack(await self.reader.readexactly(HEAD.size))
            answer = await self.reader.readexactly(size)
            assert (kind, of, mark, answer) == (2, number, 0, text)
            self.answers += 1
            await asyncio.sleep(0.002)
        self.writer.close()

    async def stop(self):
        self.stopping = True
        await self.work


# The quick ones are those that make most anew.
@pytest.mark.parametrize("anew", [pytest.param(False, marks=pytest.mark.slow), True], ids=["once", "anew"])
@pytest.mark.parametrize(
    "changes", [pytest.param(False, marks=pytest.mark.slow), True], ids=["unchanged", "changed"]
)
@pytest.mark.parametrize("tier", ["declared", "python"])
def test_reloads_leave_nothing_behind(tier, changes, anew, tmp_path, frozen):
    file = tmp_path / "filed.py"
    file.write_text(source(tier, next(MARKS), anew=anew))
    stays = not changes and (tier == "declared" or not anew)  # a codec in Python made anew is another one

    before = native.codecs()

    async def main():
        server = await streams.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as free:
            listener = free.getsockname()[1]
        config = {
            "plugins": [str(file)],
            "workers": 2,
            "listeners": [
                {
                    "name": "in",
                    "bind": f"127.0.0.1:{listener}",
                    "protocol": "filed",
                    "cluster": "c",
                    "filters": ["pass"] * anew,
                }
            ],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{port}"]}],
        }
        async with protokit.Proxy(config) as proxy:
            assert native.codecs() == before + 1
            clients = [await Client.connect(f"old{n}", listener) for n in range(3)]
            most = most_numbers = 0
            for number in range(1, RELOADS + 1):
                if changes:
                    file.write_text(source(tier, next(MARKS), anew=anew))
                await proxy.reload(config)
                if number % JOINING == 0:
                    clients.append(await Client.connect(f"new{number}", listener))
                gc.collect()
                most = max(most, native.codecs() - before)
                most_numbers = max(most_numbers, len(proxy._workers.listener_ids._numbers))
            for client in clients:
                seen = client.answers
                while client.answers < seen + 5 and not client.work.done():
                    await asyncio.sleep(0.01)
            # The one in use, those of the generations whose clients stay, and those on their way out.
            generations = 1 if stays else 2 + RELOADS // JOINING
            assert most <= generations + (0 if stays else 3)
            assert most_numbers == 1
            await asyncio.gather(*(client.stop() for client in clients))
            assert len(proxy._workers.wires) <= generations + 3
        server.close()

    streams.run(main(), 120)
    gc.collect()
    assert native.codecs() <= before + 1  # the module as it is now stays
