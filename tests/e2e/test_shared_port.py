"""HSF2 and TR on one port, told apart by their first byte, as old servers of HSF offer them."""

from __future__ import annotations

import struct

from protokit_hsf import hsf
from protokit_sofarpc.tr import tr

import protokit
from protokit import native
from protokit.testing import streams

HSF_REQUEST = bytes.fromhex(
    "0e010004000000000000000000000200000bb80000001600000004"
    "0000000000000000636f6d2e6578616d706c652e4563686f3a312e302e3070696e67"
)
NAME = b"com.taobao.remoting.impl.Connection"


def tr_frame(kind: int, request_id: int) -> bytes:
    """In Hessian 1.0, by hand: the context with its id is all that matters."""
    which = (b"Request", b"Response")[kind]
    context = b"Mt\0\1x" + b"S\0\2id" + b"L" + struct.pack(">q", request_id) + b"z"
    size = len(NAME + which)
    connection = b"Mt" + struct.pack(">H", size) + NAME + which + b"S\0\3ctx" + context + b"z"
    head = bytes([0x0D, kind, 1, 2 - 2 * kind, 0]) + struct.pack(">iBi", len(connection), 1, 1)
    return head + connection + b"xN"


async def serve(reader, writer) -> None:
    while data := await reader.read(65536):
        first = data[0]
        codec = hsf.wire.address if first == 0x0E else tr.wire.address
        message = native.frame(codec, data)
        if first == 0x0E:
            writer.write(struct.pack(">BBBBB3sqi", 0x0E, 1, 1, 20, 4, b"\0\0\0", message.id, 1) + b"N")
        else:
            writer.write(tr_frame(1, message.id))
    writer.close()


def test_each_client_speaks_its_own():
    async def main() -> None:
        server = await streams.start_server(serve, "127.0.0.1", 0)
        config = {
            "listeners": [
                {
                    "name": "in",
                    "bind": "127.0.0.1:0",
                    "protocol": ["hsf", "tr"],
                    "cluster": "c",
                }
            ],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"]}],
            "drain": {"delay": "0s", "timeout": "1s"},
        }
        async with protokit.Proxy(config) as proxy:
            for data, expected in (
                (HSF_REQUEST, bytes.fromhex("0e01011404000000000000000000000200000001") + b"N"),
                (tr_frame(0, 77), tr_frame(1, 77)),
                (b"\x0f\x01", b""),  # the handshake of HSF is neither
            ):
                reader, writer = await streams.open_connection("127.0.0.1", proxy.addresses["in"][1])
                writer.write(data)
                assert await reader.read(65536) == expected
                writer.close()
        server.close()

    streams.run(main(), 30)


def test_what_is_neither_goes_through_whole_where_the_configuration_says_so():
    """The handshake and versions that nobody knows, byte for byte both ways; HSF goes its own way beside."""

    async def main() -> None:
        async def strange(reader, writer):
            writer.write(b"\x0f\xff" + await reader.read())
            writer.close()

        servers = [await streams.start_server(one, "127.0.0.1", 0) for one in (serve, strange)]
        ports = [one.sockets[0].getsockname()[1] for one in servers]
        listener = {
            "name": "in",
            "bind": "127.0.0.1:0",
            "protocol": "hsf",
            "cluster": "c",
            "fallback": "strange",
        }
        config = {
            "listeners": [listener],
            "clusters": [
                {"name": name, "endpoints": [f"127.0.0.1:{port}"]}
                for name, port in zip(("c", "strange"), ports, strict=True)
            ],
            "drain": {"delay": "0s", "timeout": "1s"},
        }
        async with protokit.Proxy(config) as proxy:
            for first in (b"\x0f", b"\x0f\x01\x02", b"\x0e\x02\x00", b"\x0e\x01\x02", b"\x0c\x00\x02"):
                data = first + bytes(range(200))
                reader, writer = await streams.open_connection("127.0.0.1", proxy.addresses["in"][1])
                for at in range(0, len(data), 7):
                    writer.write(data[at : at + 7])
                    await writer.drain()
                writer.write_eof()
                assert await reader.read() == b"\x0f\xff" + data
                writer.close()
            reader, writer = await streams.open_connection("127.0.0.1", proxy.addresses["in"][1])
            writer.write(HSF_REQUEST)
            assert (await reader.read(65536))[:4] == b"\x0e\x01\x01\x14"
            writer.write(b"\x0f")  # too late: this connection speaks HSF
            assert await reader.read() == b""
            writer.close()
        for one in servers:
            one.close()

    streams.run(main(), 30)
