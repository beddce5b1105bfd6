"""Connections of no known protocol over real sockets: what is said arrives."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from peers import Client, Server, configuration

import protokit
from protokit.testing import streams
from protokit.testing.streams import run

BIG = bytes(range(256)) * (1 << 14)  # 4 MiB: more than sockets and marks hold


async def serve(handler):
    server = await streams.start_server(handler, "127.0.0.1", 0, limit=1 << 16)
    return server, server.sockets[0].getsockname()[1]


def passing(dubbo, port, **more):
    config = configuration(dubbo, **more)
    config["clusters"].append({"name": "others", "endpoints": [f"127.0.0.1:{port}"]})
    config["listeners"][0]["fallback"] = "others"
    return config


async def upper(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data.upper())
        await writer.drain()
    writer.write(b"BYE")
    writer.close()


def test_two_kinds_of_clients_share_a_listener():
    async def main():
        dubbo = await Server().start()
        server, port = await serve(upper)
        async with protokit.Proxy(passing(dubbo, port, workers=2)) as proxy:
            where = proxy.addresses["in"]
            client = await Client.connect(where[1])
            for n in range(20):
                reader, writer = await streams.open_connection(*where)
                writer.write(b"hello %d" % n)
                assert await reader.readexactly(len(b"hello %d" % n)) == b"HELLO %d" % n
                assert (await client.call("echo", n)).value == n
                writer.write_eof()
                assert await reader.read() == b"BYE"
                writer.close()
            assert sum(one["fallback_connections"] for one in proxy.stats()["workers"]) == 20
            await client.close()
        server.close()
        await dubbo.stop()

    run(main())


def test_a_server_that_speaks_first_is_heard_after_the_time_limit():
    async def greets(reader, writer):
        writer.write(b"220 ready\r\n")
        writer.write(await reader.readline())
        writer.close()

    async def main():
        dubbo = await Server().start()
        server, port = await serve(greets)
        async with protokit.Proxy(passing(dubbo, port, timeouts={"detect": "100ms"})) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            assert await reader.readline() == b"220 ready\r\n"
            writer.write(b"quit\r\n")
            assert await reader.read() == b"quit\r\n"
            writer.close()
        server.close()
        await dubbo.stop()

    run(main())


def test_a_listener_without_a_protocol_passes_all_on_at_once():
    async def main():
        server, port = await serve(upper)
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": [], "fallback": "c"}],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{port}"]}],
        }
        async with protokit.Proxy(config) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            writer.write_eof()
            assert await reader.read() == b"BYE"
            writer.close()
        server.close()

    run(main())


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_side_that_reads_late_gets_all_of_it_and_the_end(way):
    """It reads only after the other has said everything and closed its side: nothing is dropped meanwhile."""

    async def main():
        late = asyncio.Event()

        async def handler(reader, writer):
            if way == "down":
                writer.write(BIG)
                writer.write_eof()
                assert await reader.read() == b"\0start"
            else:
                await late.wait()
                data = await reader.read()
                writer.write(b"%d" % len(data) if data == b"\0start" + BIG else b"wrong")
            writer.close()

        dubbo = await Server().start()
        server, port = await serve(handler)
        async with protokit.Proxy(passing(dubbo, port)) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"], limit=1 << 16)
            writer.write(b"\0start" + (BIG if way == "up" else b""))
            writer.write_eof()
            await asyncio.sleep(0.5)
            assert proxy.stats()["workers"][0]["buffer_bytes"] < 2 << 20
            late.set()
            data = await asyncio.wait_for(reader.read(), 15)
            assert data == (BIG if way == "down" else b"%d" % (len(BIG) + 6))
            writer.close()
            for _ in range(100):
                if not proxy.stats()["workers"][0]["fallback_active"]:
                    break
                await asyncio.sleep(0.02)
            assert proxy.stats()["workers"][0]["connections_active"] == 0
        server.close()
        await dubbo.stop()

    run(main())


def test_a_client_whose_server_has_ended_may_go_on_while_it_is_not_read():
    """Both directions are closed in the kernel while bytes still wait there: that is no error."""

    async def main():
        late, told = asyncio.Event(), asyncio.Event()
        got = []

        async def handler(reader, writer):
            await reader.readexactly(6)
            writer.write_eof()
            await late.wait()
            got.append(await reader.read())
            told.set()
            writer.close()

        dubbo = await Server().start()
        server, port = await serve(handler)
        async with protokit.Proxy(passing(dubbo, port)) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            writer.write(b"\0start")
            assert await reader.read() == b""
            sent = taken = 0
            while sent == taken:  # until the proxy reads no more: what comes now stays in the kernel
                writer.write(BIG[: 1 << 16])
                await writer.drain()
                sent += 1 << 16
                for _ in range(20):
                    await asyncio.sleep(0.01)
                    taken = proxy.stats()["workers"][0]["bytes_from_clients"] - 6
                    if taken == sent:
                        break
            writer.write_eof()
            while writer.transport.get_write_buffer_size():
                await asyncio.sleep(0.01)
            late.set()
            await told.wait()
            assert got[0] == BIG[: 1 << 16] * (sent >> 16)
            writer.close()
        server.close()
        await dubbo.stop()

    run(main())


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_ends_both_sides(who):
    async def main():
        accepted = asyncio.get_running_loop().create_future()

        async def handler(reader, writer):
            await reader.readexactly(6)
            accepted.set_result((reader, writer))

        dubbo = await Server().start()
        server, port = await serve(handler)
        async with protokit.Proxy(passing(dubbo, port)) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            writer.write(b"\0start")
            other, other_writer = await accepted
            leaving, staying = (writer, other) if who == "client" else (other_writer, reader)
            leaving.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            leaving.transport.abort()
            with pytest.raises(ConnectionResetError):
                await staying.read()
            writer.close()
            other_writer.close()
        server.close()
        await dubbo.stop()

    run(main())


def test_a_drain_waits_for_them_up_to_its_limit():
    async def main():
        dubbo = await Server().start()
        server, port = await serve(upper)
        proxy = protokit.Proxy(passing(dubbo, port, drain={"delay": "0s", "timeout": "10s"}))
        await proxy.start()
        reader, writer = await streams.open_connection(*proxy.addresses["in"])
        writer.write(b"talk")
        assert await reader.readexactly(4) == b"TALK"
        draining = asyncio.ensure_future(proxy.drain())
        await asyncio.sleep(0.5)
        assert not draining.done()
        writer.write(b"on")
        assert await reader.readexactly(2) == b"ON"
        writer.write_eof()
        assert await reader.read() == b"BYE"
        await asyncio.wait_for(draining, 5)
        writer.close()
        await proxy.close()
        server.close()
        await dubbo.stop()

    run(main())
