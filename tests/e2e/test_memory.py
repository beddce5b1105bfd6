"""Memory that a peak took goes back to the system when who took it is gone."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from peers import SERVICE, Client, Server, configuration
from protokit_dubbo.messages import OK, Answer, Call

import protokit
from protokit.testing import streams

MIB = 1 << 20
CLIENTS, STAYING = 48, 6
TEXT = "x" * MIB  # of an answer each


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def held(proxy: protokit.Proxy, least: int, most: int) -> None:
    """Wait until the proxy's buffers hold that many bytes."""
    async with asyncio.timeout(20):
        while not least <= proxy.stats()["workers"][0]["buffer_bytes"] <= most:
            await asyncio.sleep(0.01)


async def asks_and_reads_nothing(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the other side's buffer stays small, too
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    call = Call(SERVICE, "big", "", [], version="1.0.0", attachments={}, request_id=1)
    await asyncio.get_running_loop().sock_sendall(one, call.encode())
    return one


async def a_peak() -> tuple[int, int, int]:
    server = await Server().start()

    def big(call: Call, writer: asyncio.StreamWriter) -> bool:
        if call.method == "big":
            writer.write(Answer(call.id, OK, TEXT).encode())
        return call.method == "big"

    server.before = big
    leaving: list[socket.socket] = []
    staying: list[socket.socket] = []
    try:
        async with protokit.Proxy(configuration(server, limits={"buffer": "256MiB"})) as proxy:
            port = proxy.addresses["in"][1]
            client = await Client.connect(port)
            await client.call("echo", "before")
            before = resident()
            for _ in range(STAYING):  # between theirs, and behind, lies what those have that stay
                for group, count in ((leaving, CLIENTS // STAYING), (staying, 1)):
                    group += [await asks_and_reads_nothing(port) for _ in range(count)]
                    silent = len(leaving) + len(staying)
                    await held(proxy, silent * MIB * 3 // 4, silent * MIB * 2)
            during = resident()
            for one in leaving:
                one.close()
            await held(proxy, 0, STAYING * 2 * MIB)
            await client.call("echo", "after")
            after = resident()
            await client.close()
    finally:
        for one in (*leaving, *staying):
            one.close()
        await server.stop()
    return before, during, after


def test_what_clients_that_read_nothing_took_goes_back_when_they_leave():
    before, during, after = streams.run(a_peak())
    assert during - before > CLIENTS * MIB // 2
    assert after - before <= (during - before) // 3
