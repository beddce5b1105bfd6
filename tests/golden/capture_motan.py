"""Captures golden Motan2 frames: a real client calls a real server through a relay that keeps the frames.

    tests/interop/install.sh && python tests/golden/capture_motan.py

Rewrites plugins/motan/tests/golden/motan_captured.jsonl: a line a frame, with the library and version that
made the bytes and what is read here, in plain Python and not by the plugin, of it.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TO = HERE.parents[1] / "plugins" / "motan" / "tests" / "golden" / "motan_captured.jsonl"
sys.path.insert(0, str(HERE.parent / "interop"))
import peers  # noqa: E402  # its folder had to be named first

MAX_FRAME = 4000
HEAD = struct.Struct(">HBBBQ")
CASES = ["hello", "add", "bytes", "nul", "nothing", "fail", "crash", "attachment", "group", "missing"]


def source() -> str:
    pom = (peers.HERE / "motan" / "pom.xml").read_text()
    version = re.search(r"<artifactId>motan-core</artifactId><version>([^<]+)", pom)
    assert version is not None
    return f"com.weibo:motan-core:{version[1]}"


def sections(data: bytes) -> tuple[bytes, bytes, int] | None:
    """Meta, body and the frame's size; nothing while it is not whole."""
    found, at = [], HEAD.size
    for _ in range(2):
        if len(data) < at + 4:
            return None
        (size,) = struct.unpack_from(">i", data, at)
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return (found[0], found[1], at) if len(data) >= at else None


def meaning(data: bytes) -> dict[str, dict]:
    """What protokit can tell of a frame, and the facts besides."""
    magic, flags, form, serialization, number = HEAD.unpack_from(data)
    assert (magic, form >> 3) == (0xF1F1, 1)
    meta, body, _ = sections(data) or (b"", b"", 0)
    words = meta.decode().split("\n") if meta else []
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    kind = ("heartbeat", "heartbeat_ack") if flags & 16 else ("request", "response")
    expect = {"kind": kind[flags & 1], "request_id": str(number)}
    if expect["kind"] == "request":
        expect["kind"] = "oneway" if flags & 4 else "request"
        names = {"service": "M_p", "method": "M_m", "version": "version", "group": "M_g"}
        expect |= {name: pairs.get(key, "") for name, key in names.items()}
        expect["headers"] = pairs
    elif expect["kind"] == "response":
        expect["status"] = "INTERNAL" if form & 7 else "OK"
        expect |= {"text": None} if form & 7 else {}  # a server says more than a proxy
    facts = {"gzip": bool(flags & 8), "serialization": serialization >> 3, "status": form & 7}
    return {"expect": expect, "facts": facts | {"body_len": len(body)}}


async def capture(client: str, lines: list[dict]) -> None:
    provider = peers.Provider("motan-provider", Path(tempfile.mkstemp()[1]))
    seen: set[tuple] = set()

    async def pump(reader, writer) -> None:
        rest = b""
        while data := await reader.read(65536):
            writer.write(data)
            rest += data
            while found := sections(rest):
                frame, rest = rest[: found[2]], rest[found[2] :]
                what = meaning(frame)
                expect, facts = what["expect"], what["facts"]
                called = [expect.get(part, "") for part in ("kind", "group", "service", "method", "status")]
                key = (*called, facts["serialization"], len(frame))
                if len(frame) > MAX_FRAME or key in seen:
                    continue
                seen.add(key)
                name = f"{source()} serialization {facts['serialization']}: {' '.join(filter(None, called))}"
                origin = "captured by tests/golden/capture_motan.py"
                lines.append({"name": name, "source": source(), "origin": origin, "hex": frame.hex(), **what})
        writer.close()

    async def serve(reader, writer) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", provider.port)
        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer), return_exceptions=True)

    relay = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        await asyncio.to_thread(peers.consume, client, relay.sockets[0].getsockname()[1], *CASES)
    finally:
        relay.close()
        provider.stop()


async def main() -> None:
    lines: list[dict] = []
    for client in peers.MOTAN_CONSUMERS:
        await capture(client, lines)
    TO.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{len(lines)} frames")


if __name__ == "__main__":
    asyncio.run(main())
