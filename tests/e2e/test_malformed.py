"""What the log says of bytes that are no frame of their protocol."""

from __future__ import annotations

import asyncio

import pytest
from peers import Client, Server, configuration

import protokit
from protokit.testing import streams


class Speaks(Server):
    """Answers each connection with the same bytes."""

    def __init__(self, said: bytes) -> None:
        super().__init__()
        self.said = said

    async def _handle(self, message, writer) -> None:
        writer.write(self.said)


def lines(caplog) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]


async def until_said(caplog) -> str:
    while not lines(caplog):
        await asyncio.sleep(0.01)
    return lines(caplog)[0]


@pytest.mark.parametrize(
    ("sent", "looks"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "47 45 54 20 2f 20 48 54 (GET / HT), which looks like HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "16 03 01 02 00 01 00 01 (........), which looks like TLS"),
        (b"\xff", "ff (.)"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_clients_bytes(caplog, sent, looks, host):
    async def main():
        server = await Server().start()
        config = configuration(server)
        config["listeners"][0]["bind"] = f"[{host}]:0" if ":" in host else f"{host}:0"
        async with protokit.Proxy(config) as proxy:
            reader, writer = await streams.open_connection(host, proxy.addresses["in"][1])
            host_, port = writer.get_extra_info("sockname")[:2]
            peer = f"[{host_}]:{port}" if ":" in host_ else f"{host_}:{port}"
            writer.write(sent)
            assert await reader.read() == b""
            assert await until_said(caplog) == (
                f"listener in: {peer} was closed: it sent what is no dubbo frame, wrong at byte 0;"
                f" it begins with {looks}"
            )
            writer.close()
        await server.stop()

    streams.run(main(), 30)


def test_a_servers_bytes(caplog):
    async def main():
        server = await Speaks(b"-ERR unknown command\r\n").start()
        async with protokit.Proxy(configuration(server)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            await client.call("echo", 1)
            assert await until_said(caplog) == (
                f"a connection to endpoint 127.0.0.1:{server.port} of cluster c was closed:"
                " it sent what is no right frame, wrong at byte 0;"
                " it begins with 2d 45 52 52 20 75 6e 6b (-ERR unk)"
            )
            await client.close()
        await server.stop()

    streams.run(main(), 30)


def test_a_frame_over_the_limit_names_the_limit(caplog):
    async def main():
        server = await Server().start()
        async with protokit.Proxy(configuration(server, limits={"frame": "1KiB"})) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            await client.call("echo", "x" * 5000)
            assert "it sent a frame that is larger than limits.frame allows; it begins with da bb" in (
                await until_said(caplog)
            )
            await client.close()
        await server.stop()

    streams.run(main(), 30)
