"""The tutorial's protocol in both modes, with a client whose ids are always the same."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import pytest

import protokit
from protokit import Status
from protokit.testing import streams

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL))
PAGE: dict = {}
exec(FILES["mail.py"], PAGE)
WIRE, REPLY = PAGE["mail"].wire, PAGE["reply"]


async def frames(reader):
    data = b""
    while chunk := await reader.read(65536):
        data += chunk
        while data:
            try:
                message = WIRE.message(data)
            except EOFError:
                break
            data = data[message.size :]
            yield message


class Server:
    """Answers each call with its name; `slow` only when it is released."""

    def __init__(self):
        self.release = asyncio.Event()
        self.heard = []
        self.serving = set()

    async def serve(self, reader, writer):
        self.serving.add(asyncio.current_task())
        slow = []
        with contextlib.suppress(OSError):  # the proxy may close before it has read a late answer
            async for message in frames(reader):
                if message.kind != "request":
                    continue
                self.heard.append(message.method)
                if message.method == "slow":
                    slow.append(asyncio.ensure_future(self.answer_late(writer, message)))
                else:
                    self.answer(writer, message)
        await asyncio.gather(*slow)
        writer.close()

    def answer(self, writer, message):
        body = b"a answers " + message.method.encode()
        writer.write(WIRE.build(REPLY(2, body=body) | {"id": message.id}))

    async def answer_late(self, writer, message):
        await self.release.wait()
        self.answer(writer, message)


@pytest.mark.parametrize("mode", ["shared", "pinned"])
@pytest.mark.parametrize("late", ["before", "behind"])
def test_a_late_answer_is_never_the_next_requests(tmp_path, mode, late):
    """`slow` runs out of its time, then `three` is asked; ``late``: when the answer to `slow` comes."""
    (tmp_path / "mail.py").write_text(FILES["mail.py"])

    async def main():
        server = Server()
        listening = await streams.start_server(server.serve, "127.0.0.1", 0)
        text = (
            FILES["proxy.yaml"].replace("7001", "0").replace("routes: mail}", f"routes: mail, mode: {mode}}}")
        )
        path = tmp_path / "proxy.yaml"
        path.write_text(text.replace("7002", str(listening.sockets[0].getsockname()[1])))
        async with protokit.Proxy(path) as proxy:

            async def until(name):
                while not sum(one[name] for one in proxy.stats()["workers"]):
                    await asyncio.sleep(0.005)

            reader, writer = await streams.open_connection("127.0.0.1", proxy.addresses["in"][1])
            heard = frames(reader)
            if mode == "pinned":  # all rules lead to one cluster: its own connection is there before it asks
                await until("upstream_connections_active")

            async def ask(call, more=b""):
                head = b"to=demo.Greeter\ncall=%s\n" % call + more
                writer.write(WIRE.build(REPLY(1, head=head) | {"id": 0}))
                return await anext(heard)

            first = await ask(b"slow", b"ms=50\n")
            assert (first.status, first.id) == (Status.TIMEOUT, 0)
            if late == "before":
                server.release.set()
                await until("answers_unmatched")
            second = await ask(b"three")
            server.release.set()
            if mode == "pinned" and late == "behind":  # nothing could tell the two answers apart
                assert (second.status, second.id) == (Status.UNAVAILABLE, 0)
                assert b"its answer may still come" in second.fields.body
                assert server.heard == ["slow"]
            else:
                assert (second.status, second.fields.body) == (Status.OK, b"a answers three")
            writer.write_eof()
            assert [one async for one in heard] == []
            writer.close()
            await writer.wait_closed()
        listening.close()
        await asyncio.gather(*server.serving)

    streams.run(main())
