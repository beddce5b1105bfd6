"""What tests open is closed before their loops end, in whatever state it is."""

from __future__ import annotations

import asyncio
import gc

import pytest
import uvloop

from protokit.testing import streams

BIG = bytes(64 << 20)


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "left", ["open", "closed", "closed, and then sent", "closed, and not sent", "at its end"]
)
def test_whatever_state_a_connection_is_left_in_it_is_closed(left, runner):
    async def main() -> None:
        read = asyncio.Event()

        async def serve(reader, writer):
            if left == "closed, and then sent":
                assert len(await reader.read()) == len(BIG)
                read.set()
            elif left == "at its end":
                writer.close()

        server = await streams.start_server(serve, "127.0.0.1", 0)
        reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
        if "sent" in left:
            writer.write(BIG)
        if "closed" in left:
            writer.close()
        if left == "closed, and then sent":
            await read.wait()
            await asyncio.sleep(0)
        if left == "at its end":
            assert await reader.read() == b""

    streams.run(main(), runner=runner)
    gc.collect()  # what is open still complains, and a complaint is an error
