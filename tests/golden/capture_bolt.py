"""Captures the golden bolt frames: real consumers call real providers through a relay that keeps the frames.

    tests/interop/install.sh && python tests/golden/capture_bolt.py

Rewrites tests/golden/bolt.jsonl: a line a frame, with the library and version that made the bytes and
what is read here, in plain Python and not by the plugin, of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import struct
import sys
import tempfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))
import peers  # noqa: E402  # its folder had to be named first

from protokit.testing.golden import KNOWN  # noqa: E402

MAX_FRAME = 4000
CASES = [
    "hello",
    "add",
    "person",
    "fail",
    "crash",
    "nothing",
    "nul",
    "oneway",
    "future",
    "callback",
    "uniqueid",
    "nouniqueid",
    "idle",
]
PAIRS = [
    ("sofarpc-consumer", "sofarpc-provider"),
    ("sofarpc-consumer-v2", "sofarpc-provider"),
    ("sofarpc-consumer-crc", "sofarpc-provider"),
    ("sofarpc-consumer-nocrc", "sofarpc-provider"),
    ("sofarpc-node-client", "sofarpc-node-server"),
    ("sofarpc-node-client-v2", "sofarpc-node-server"),
    ("sofarpc-node-client-crc", "sofarpc-node-server"),
    ("sofarpc-node-client-crc", "sofarpc-provider"),
]
KINDS = {
    (1, 1): "request",
    (2, 1): "oneway",
    (0, 2): "response",
    (1, 0): "heartbeat",
    (0, 0): "heartbeat_ack",
}
STATUS = {0: "OK", 2: "INTERNAL"}  # what these peers answer with: success, and "the server raised"

POM = peers.HERE / "sofarpc" / "pom.xml"


def version(peer: str) -> str:
    if "node" in peer:
        packages = json.loads((peers.HERE / "node" / "package.json").read_text())["dependencies"]
        return f"npm sofa-rpc-node@{packages['sofa-rpc-node']}"
    found = re.search(r"<artifactId>(sofa-rpc-all)</artifactId><version>([^<]+)", POM.read_text())
    return f"com.alipay.sofa:{found[1]}:{found[2]}"


def head(data: bytes) -> tuple[dict, int, int] | None:
    """The fields of a frame's head, its size and the frame's; nothing while the head is not whole."""
    if len(data) < 3:
        return None
    names = ["bolt", *(["ver1"] if data[0] == 2 else []), "type", "cmdcode", "ver2", "request_id", "codec"]
    layout = ">B" + ("B" if data[0] == 2 else "") + "BHBIB"
    if data[0] == 2:
        names.append("switch")
        layout += "B"
    response = data[data[0]] == 0
    names += ["status" if response else "timeout", "class_len", "header_len", "content_len"]
    layout += "Hhhi" if response else "ihhi"
    size = struct.calcsize(layout)
    if len(data) < size:
        return None
    found = dict(zip(names, struct.unpack_from(layout, data), strict=True))
    whole = size + found["class_len"] + found["header_len"] + found["content_len"]
    if found.get("ver1") == 2 and found["switch"] & 1:
        whole += 4
    return found, size, whole


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames at the start, and the rest."""
    frames = []
    while (found := head(data)) and len(data) >= found[2]:
        frames.append(data[: found[2]])
        data = data[found[2] :]
    return frames, data


def pairs(data: bytes) -> dict[str, str | None]:
    texts: list[str | None] = []
    while data:
        (size,) = struct.unpack_from(">i", data)
        texts.append(data[4 : 4 + size].decode() if size >= 0 else None)
        data = data[4 + max(size, 0) :]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def method_of(content: bytes) -> str:
    """SofaRequest's methodName: the definition's field names, then the values up to it, texts or null."""
    at = 1

    def number() -> int:
        nonlocal at
        code = content[at]
        at += 1
        if 0x80 <= code <= 0xBF:
            return code - 0x90
        at += 1
        return ((code - 0xC8) << 8) + content[at - 1]

    def text() -> str | None:
        nonlocal at
        size = content[at]
        at += 1
        if size == ord("N"):
            return None
        assert size < 32
        at += size
        return content[at - size : at].decode()

    size = number()
    at += size  # the class
    names = [text() for _ in range(number())]
    assert content[at : at + 1] == b"o"
    at += 1
    number()
    return [text() for _ in range(names.index("methodName") + 1)][-1]


def expectation(frame: bytes) -> dict:
    found, at, _ = head(frame)
    class_name, at = frame[at : at + found["class_len"]].decode(), at + found["class_len"]
    headers, at = pairs(frame[at : at + found["header_len"]]), at + found["header_len"]
    content, after = frame[at : at + found["content_len"]], frame[at + found["content_len"] :]
    kind = KINDS[found["type"], found["cmdcode"]]
    expect = {**found, "request_id": str(found["request_id"])}
    if after:
        expect["crc32"] = after.hex()
        expect["crc_ok"] = zlib.crc32(frame[:-4]) == int.from_bytes(after, "big")
    expect |= {"class_name": class_name, "headers": headers, "kind": kind}
    if kind in {"request", "oneway"}:
        unique = dict(zip(("service", "version", "group"), headers["service"].split(":"), strict=False))
        expect |= {**unique, "method": method_of(content), "timeout_ms": max(found["timeout"], 0)}
    return expect


def meaning(found: dict) -> dict[str, dict]:
    """What protokit can tell of it, and the facts besides."""
    expect = {name: value for name, value in found.items() if name in KNOWN}
    if found["kind"] not in {"request", "oneway"}:
        expect.pop("headers")
    expect.pop("status", None)
    if found["kind"] == "response":
        failed = found["status"] == 0 and found["headers"].get("sofa_head_response_error") == "true"
        expect["status"] = "APP_ERROR" if failed else STATUS[found["status"]]
        if expect["status"] not in {"OK", "APP_ERROR"}:
            expect["text"] = None  # a server says more than a proxy
    facts = {name: value for name, value in found.items() if expect.get(name) != value}
    return {"expect": expect, "facts": facts}


async def capture(client: str, server: str, lines: list[dict]) -> None:
    provider = peers.Provider(server, Path(tempfile.mkstemp()[1]))
    made_by = {"up": version(client), "down": version(server)}
    seen: set[tuple] = set()

    async def pump(reader, writer, direction: str) -> None:
        rest = b""
        while data := await reader.read(65536):
            writer.write(data)
            frames, rest = split(rest + data)
            for frame in frames:
                if len(frame) > MAX_FRAME:
                    continue
                expect = expectation(frame)
                what = [
                    expect.get(field) for field in ("kind", "service", "version", "group", "method", "status")
                ]
                key = (direction, *what, len(frame))
                if key in seen:
                    continue
                seen.add(key)
                form = f"v{expect['bolt']}" + (f" ver1={expect['ver1']}" if "ver1" in expect else "")
                form += " crc" if "crc32" in expect else ""
                called = f"{expect['kind']} {expect.get('method', '')}".strip()
                lines.append(
                    {
                        "name": f"{made_by[direction]} {form}: {called}",
                        "source": made_by[direction],
                        "origin": "captured by tests/golden/capture_bolt.py",
                        "hex": frame.hex(),
                        **meaning(expect),
                    }
                )
        writer.close()

    async def serve(reader, writer) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", provider.port)
        await asyncio.gather(
            pump(reader, up_writer, "up"), pump(up_reader, writer, "down"), return_exceptions=True
        )

    relay = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = relay.sockets[0].getsockname()[1]
    try:
        await asyncio.to_thread(peers.consume, client, port, *CASES)
    finally:
        relay.close()
        provider.stop()


async def main() -> None:
    lines: list[dict] = []
    os.environ["NODE_OPTIONS"] = "--stack-trace-limit=0"  # errors carry no file names of this machine
    for client, server in PAIRS:
        await capture(client, server, lines)
    (HERE / "bolt.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{len(lines)} frames")


if __name__ == "__main__":
    asyncio.run(main())
