"""Calls through a proxy, for a protocol that is installed: run it with the environment's Python.

    python tests/carry.py PROTOCOL GOLDEN.jsonl [REQUESTS]

The proxy is configured with the protocol's name alone, so that its plugin is found through the entry point.
Requests are the golden ones with ids of their own; a server answers each with the golden answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import yaml

import protokit
from protokit import native, plugins


class Codec:
    """What is needed of a protocol, whatever its tier."""

    def __init__(self, name: str) -> None:
        registry = plugins.load([name])
        assert not registry.failures, registry.failures
        self.address = registry.protocols[name].wire.address
        self.tier = registry.protocols[name].tier

    def split(self, data: bytes) -> tuple[list[tuple[native.Message, bytes]], bytes]:
        """Whole frames, and the rest."""
        found = []
        while data:
            message = native.frame(self.address, data)
            if message.result == 1:
                break
            assert message.result == 0, message
            found.append((message, data[: message.size]))
            data = data[message.size :]
        return found, data


async def carry(name: str, golden: list[bytes], count: int) -> str:
    """Send ``count`` requests and compare every answer; a line that says what was done."""
    codec = Codec(name)
    kinds = {native.frame(codec.address, data).kind: data for data in reversed(golden)}
    request, answer = kinds[native.KIND_REQUEST], kinds[native.KIND_RESPONSE]
    heard = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        rest = b""
        while data := await reader.read(1 << 16):
            frames, rest = codec.split(rest + data)
            for message, frame in frames:
                if message.kind == native.KIND_REQUEST:
                    heard += 1
                    writer.write(native.patch_id(codec.address, answer, message.id))
                elif message.kind == native.KIND_HEARTBEAT:
                    writer.write(native.heartbeat_ack(codec.address, frame))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    asked = native.request(codec.address, request)
    config = {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": name, "routes": "main"}],
        "routes": [{"name": "main", "rules": [{"match": {"service": asked.service}, "cluster": "servers"}]}],
        "clusters": [{"name": "servers", "endpoints": [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"]}],
        "drain": {"delay": "0s", "timeout": "1s"},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proxy.yaml"
        path.write_text(yaml.safe_dump(config))
        async with protokit.Proxy(path) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.addresses["in"][1])
            for number in range(1, count + 1):
                writer.write(native.patch_id(codec.address, request, number))
            answers: list[tuple[native.Message, bytes]] = []
            rest = b""
            while len(answers) < count:
                data = await reader.read(1 << 16)
                assert data, f"the proxy closed the connection after {len(answers)} of {count} answers"
                frames, rest = codec.split(rest + data)
                answers += frames
            writer.close()
    server.close()
    assert {message.id: frame for message, frame in answers} == {
        number: native.patch_id(codec.address, answer, number) for number in range(1, count + 1)
    }
    assert heard == count, f"the server heard {heard} of {count}"
    return f"{name} ({codec.tier}): {count} requests carried"


if __name__ == "__main__":
    lines = Path(sys.argv[2]).read_text().splitlines()
    frames = [bytes.fromhex(json.loads(line)["hex"]) for line in lines]
    print(asyncio.run(carry(sys.argv[1], frames, int(sys.argv[3]) if len(sys.argv) > 3 else 200)))
