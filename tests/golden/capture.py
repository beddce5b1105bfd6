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
import struct
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))
import peers  # noqa: E402  # its folder had to be named first
from protokit_dubbo.hessian import Reader  # noqa: E402
from protokit_dubbo.messages import HEADER, count_parameters, split  # noqa: E402

from protokit.testing.golden import KNOWN  # noqa: E402

MAX_FRAME = 4000
CASES = [
    "hello",
    "surrogate",
    "add",
    "primitives",
    "person",
    "list",
    "map",
    "kinds",
    "nothing",
    "nul",
    "fail",
    "tell",
    "later",
    "attachments",
    "group",
    "generic",
    "$echo",
    "idle",  # heartbeats
]
FASTJSON2 = [f"fastjson2:{case}" for case in CASES[:13] if case != "surrogate"] + ["idlefastjson2"]
PAIRS = [
    ("dubbo26-consumer", "dubbo26-provider", CASES),
    ("dubbo27-consumer", "dubbo27-provider", [*CASES, "fastjson:add", "gson:hello", "protobuf:wrapped"]),
    ("dubbo31-consumer", "dubbo31-provider", [*CASES, *FASTJSON2, "protobuf:wrapped", "protobuf:nothing"]),
    ("dubbo3-consumer", "dubbo3-provider", [*CASES, *FASTJSON2, "protobuf:wrapped", "protobuf:nothing"]),
    ("dubbo-remoting-client", "dubbo-remoting-server", CASES),
    ("apache-dubbo-js", "dubbo27-provider", CASES),
]


def version(peer: str) -> str:
    folder = HERE.parent / "interop" / peer.split("-", maxsplit=1)[0]
    if folder.exists():
        pattern = r"<groupId>([^<]+)</groupId><artifactId>dubbo</artifactId><version>([^<]+)"
        found = re.search(pattern, (folder / "pom.xml").read_text())
        return f"{found[1]}:dubbo:{found[2]}"
    packages = json.loads((HERE.parent / "interop" / "node" / "package.json").read_text())["dependencies"]
    name = "apache-dubbo-js" if peer.startswith("apache") else "dubbo-remoting"
    return f"npm {name}@{packages[name]}"


def json_front(body: bytes) -> list[str]:
    return [json.loads(line) for line in body.splitlines()[:5]]


def protobuf_front(body: bytes) -> list[str]:
    """StringValues shorter than 128 bytes, each behind its length."""
    found = []
    for _ in range(5):
        size = body[0]
        found.append(body[3 : 1 + size].decode())
        body = body[1 + size :]
    return found


def jsonb_front(body: bytes) -> list[str]:
    """Short ASCII strings (49h and the length), each behind the four bytes of its item's length."""
    found = []
    for _ in range(5):
        size = int.from_bytes(body[:4], "big")
        tag, text = body[4], body[5 : 4 + size]
        if tag == 0x79:
            text = text[1 if text[0] < 0x30 else 2 :]  # the length did not fit into the tag
        found.append(text.decode("ascii"))
        body = body[4 + size :]
    return found


# The five texts in front of a request, of serializations that the reader of Hessian does not read.
FRONTS = {6: json_front, 16: json_front, 22: protobuf_front, 23: jsonb_front}

EVENTS = {b"N": "heartbeat", b"\x01R": "drain", b"\x01W": "undrain"}
EVENTS |= {
    struct.pack(">I", len(body)) + body: kind for body, kind in ((b"\xaf", "heartbeat"), (b"JR", "drain"))
}


def is_plain(value: object) -> bool:
    """Whether a codec can say such an argument, and JSON hold it."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() == value
    return value is None or isinstance(value, bool | int | float)


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
        found |= {"kind": "heartbeat_ack" if event else "response", "status": status}
        if flag & 31 == 2 and status == 20 and not event and body[:1] in {b"\x93", b"\x94", b"\x95"}:
            reader = Reader(body)
            for _ in range(1 if body[0] == 0x95 else 2):
                reader.read()
            found["headers"] = {key: value for key, value in reader.read().items() if isinstance(value, str)}
        return found
    if event:
        return found | {"kind": EVENTS.get(body, "event")}
    found["kind"] = "request" if flag & 0x40 else "oneway"
    if flag & 31 in FRONTS:
        _, service, wanted, method, descriptor = FRONTS[flag & 31](body)
        found |= {"service": service, "version": wanted, "method": method, "desc": descriptor}
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
            "headers": {key: value for key, value in attachments.items() if isinstance(value, str)},
        }
        real = arguments[2] if method.startswith("$invoke") else arguments
        if all(map(is_plain, real)):
            found["arguments"] = real
        if "group" in attachments:
            found["group"] = attachments["group"]
        if method.startswith("$invoke"):
            found |= {"generic": method, "method": arguments[0], "args": [arguments[0]]}
    return found


def meaning(found: dict, body: bytes) -> dict[str, dict]:
    """What protokit can tell of it, and the facts besides."""
    expect = {name: value for name, value in found.items() if name in KNOWN and name != "status"}
    if found["kind"] == "response" and found["serialization"] == 2:
        # An exception, alone or before attachments, in front of an answer of status 20.
        failed = body[:1] in {b"\x90", b"\x93"}
        expect["status"] = ("APP_ERROR" if failed else "OK") if found["status"] == 20 else "INTERNAL"
    facts = {name: value for name, value in found.items() if expect.get(name) != value}
    return {"expect": expect, "facts": facts}


def body_line(line: dict) -> dict | None:
    """The values of a hessian2 body; how many there are follows from the frame's kind."""
    expect = {**line["expect"], **line["facts"]}
    body = bytes.fromhex(line["hex"])[HEADER.size :]
    if expect["serialization"] != 2 or expect["event"] or not body:
        return None
    if expect["kind"] == "response":
        count = 1 if expect["status"] != 20 or body[0] in {0x92, 0x95} else 2
        count += expect["status"] == 20 and body[0] >= 0x93
    else:
        count = 6 + count_parameters(expect["desc"])
    values = {"dialect": "H2 (Hessian 2.0)", "count": count}
    return {**line, "hex": body.hex(), "expect": {}, "facts": values}


async def capture(client: str, server: str, cases: list[str], lines: list[dict]) -> None:
    provider = peers.Provider(server, Path(tempfile.mkstemp()[1]))
    made_by = {"up": version(client), "down": version(server)}
    seen: set[tuple] = set()

    async def pump(reader, writer, direction: str) -> None:
        rest = b""
        while data := await reader.read(65536):
            frames, rest = split(rest + data)
            for frame in frames:
                expect = expectation(frame)
                shown = ("kind", "serialization", "method", "status")
                key = (direction, len(frame), *(expect.get(part) for part in shown))
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
                        **meaning(expect, frame[HEADER.size :]),
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
    await asyncio.to_thread(peers.consume, client, port, *cases)
    if server.endswith("-provider") and client.endswith("-consumer"):  # what it says when it shuts down
        steady = peers.start_consumer(client, port, "&steady")
        await asyncio.sleep(5)
        relay.close()
        await asyncio.to_thread(provider.stop, gently=True)
        steady.kill()
        steady.communicate()
    relay.close()
    provider.stop()


async def main() -> None:
    lines: list[dict] = []
    for client, server, cases in PAIRS:
        await capture(client, server, cases, lines)
    (HERE / "dubbo.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (HERE / "hessian.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in map(body_line, lines) if line)
    )
    print(f"{len(lines)} frames")


if __name__ == "__main__":
    asyncio.run(main())
