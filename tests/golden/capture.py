"""Captures the golden Dubbo frames: real consumers call real providers through a relay that keeps the frames.

    tests/interop/install.sh && python tests/golden/capture.py

Rewrites tests/golden/dubbo.jsonl, and hessian.jsonl from the same frames' bodies:
a line a frame, with the library and version that made the bytes and
what our Python reader (not the native codec, which the lines test) says of it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))
import peers  # noqa: E402  # its folder had to be named first
from protokit_dubbo.hessian import Reader  # noqa: E402
from protokit_dubbo.messages import HEADER, count_parameters, split  # noqa: E402

MAX_FRAME = 4000
CASES = [
    "hello",
    "surrogate",
    "add",
    "person",
    "list",
    "map",
    "nothing",
    "nul",
    "fail",
    "tell",
    "later",
    "attachments",
    "group",
    "generic",
    "$echo",
]
PAIRS = [
    ("dubbo27-consumer", "dubbo27-provider"),
    ("dubbo3-consumer", "dubbo3-provider"),
    ("dubbo-remoting-client", "dubbo-remoting-server"),
    ("apache-dubbo-js", "dubbo27-provider"),
]


def version(peer: str) -> str:
    folder = HERE.parent / "interop" / peer.split("-", maxsplit=1)[0]
    if folder.exists():
        found = re.search(r"<artifactId>dubbo</artifactId><version>([^<]+)", (folder / "pom.xml").read_text())
        return f"org.apache.dubbo:dubbo:{found[1]}"
    packages = json.loads((HERE.parent / "interop" / "node" / "package.json").read_text())["dependencies"]
    name = "apache-dubbo-js" if peer.startswith("apache") else "dubbo-remoting"
    return f"npm {name}@{packages[name]}"


def expectation(frame: bytes) -> dict:
    _, flag, status, request_id, size = HEADER.unpack_from(frame)
    body = frame[HEADER.size :]
    event = bool(flag & 0x20)
    found = {
        "serialization": flag & 31,
        "request_id": str(request_id),
        "twoway": bool(flag & 0x40),
        "event": event,
        "body_len": size,
    }
    if not flag & 0x80:
        return found | {"kind": "heartbeat_ack" if event else "response", "status": status}
    if event:
        return found | {"kind": "heartbeat" if body == b"N" else "event"}
    found["kind"] = "request" if flag & 0x40 else "oneway"
    if flag & 31 == 2:
        reader = Reader(body)
        _, service, wanted, method, descriptor = (reader.read() for _ in range(5))
        arguments = [reader.read() for _ in range(count_parameters(descriptor))]
        attachments = reader.read() or {}
        found |= {
            "service": service,
            "version": wanted,
            "method": method,
            "desc": descriptor,
            "attachments": {key: value for key, value in attachments.items() if isinstance(value, str)},
        }
        if method.startswith("$invoke"):
            found["args"] = [arguments[0]]
    return found


def body_line(line: dict) -> dict | None:
    """The values of a hessian2 body; how many there are follows from the frame's kind."""
    expect = line["expect"]
    body = bytes.fromhex(line["hex"])[HEADER.size :]
    if expect["serialization"] != 2 or expect["event"] or not body:
        return None
    if expect["kind"] == "response":
        count = 1 if expect["status"] != 20 or body[0] in {0x92, 0x95} else 2
        count += expect["status"] == 20 and body[0] >= 0x93
    else:
        count = 6 + count_parameters(expect["desc"])
    values = {"dialect": "H2 (Hessian 2.0)", "count": count}
    return {**line, "hex": body.hex(), "expect": values}


async def capture(client: str, server: str, lines: list[dict]) -> None:
    provider = peers.Provider(server, Path(tempfile.mkstemp()[1]))
    made_by = {"up": version(client), "down": version(server)}
    seen: set[tuple] = set()

    async def pump(reader, writer, direction: str) -> None:
        rest = b""
        while data := await reader.read(65536):
            frames, rest = split(rest + data)
            for frame in frames:
                expect = expectation(frame)
                key = (direction, expect["kind"], expect.get("method"), expect.get("status"), len(frame))
                if len(frame) > MAX_FRAME or key in seen:
                    continue
                seen.add(key)
                name = f"{made_by[direction]}: {expect['kind']} {expect.get('method', '')}".strip()
                lines.append(
                    {
                        "name": name,
                        "source": made_by[direction],
                        "origin": "captured by tests/golden/capture.py",
                        "hex": frame.hex(),
                        "expect": expect,
                    }
                )
            writer.write(data)
        writer.close()

    async def serve(reader, writer) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", provider.port)
        await asyncio.gather(
            pump(reader, up_writer, "up"), pump(up_reader, writer, "down"), return_exceptions=True
        )

    relay = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = relay.sockets[0].getsockname()[1]
    await asyncio.to_thread(peers.consume, client, port, *CASES)
    relay.close()
    provider.stop()


async def main() -> None:
    lines: list[dict] = []
    for client, server in PAIRS:
        await capture(client, server, lines)
    (HERE / "dubbo.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (HERE / "hessian.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in map(body_line, lines) if line)
    )
    print(f"{len(lines)} frames")


if __name__ == "__main__":
    asyncio.run(main())
