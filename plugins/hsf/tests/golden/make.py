"""Makes the golden HSF frames, in plain Python and not by the plugin: python plugins/hsf/tests/golden/make.py

No public capture of HSF exists. These are made from the layout that the sources in the README agree on,
so they show that the plugin reads that layout, not that Alibaba's HSF does.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTHING = b"\0\0\0"


def request(
    request_id: int,
    service: str,
    method: str,
    arguments: list[tuple[str, bytes]],
    *,
    props: bytes = b"",
    codec: int = 4,
    ext: bytes = NOTHING,
    timeout: int = 3000,
) -> bytes:
    types = [name.encode() for name, _ in arguments]
    values = [value for _, value in arguments]
    texts = [service.encode(), method.encode()]
    head = struct.pack(">BBBB3sqi", 0x0E, 1, 0, codec, ext, request_id, timeout)
    head += struct.pack(">iii", len(texts[0]), len(texts[1]), len(arguments))
    sizes = [*map(len, types), *map(len, values), len(props)]
    return head + struct.pack(f">{len(sizes)}i", *sizes) + b"".join([*texts, *types, *values, props])


def response(request_id: int, status: int, body: bytes, codec: int = 4, ext: bytes = NOTHING) -> bytes:
    return struct.pack(">BBBBB3sqi", 0x0E, 1, 1, status, codec, ext, request_id, len(body)) + body


def heartbeat(request_id: int, kind: int, timeout: int) -> bytes:
    return struct.pack(">BBB3sqi", 0x0C, kind, 1, NOTHING, request_id, timeout)


def asked(name: str, service: str, method: str, request_id: int = 2, **rest: object) -> tuple:
    """A request and what it means."""
    interface, version, group = [*service.split(":", 2), "", ""][:3]
    means = {"kind": "request", "request_id": str(request_id), "service": interface, "method": method}
    means |= {"version": version, "group": group, "timeout_ms": rest.get("timeout", 3000)}
    arguments = rest.pop("arguments", [])
    return name, request(request_id, service, method, arguments, **rest), means


def answered(name: str, data: bytes, status: str, request_id: int = 2) -> tuple:
    text = {} if status in {"OK", "APP_ERROR"} else {"text": None}  # servers say more than a proxy
    return name, data, {"kind": "response", "request_id": str(request_id), "status": status, **text}


STRING = "java.lang.String"
MAP = b"H\x10Consumer-AppName\x05orderZ"  # Hessian 2.0
INVOKE = [
    (STRING, b"\x04ping"),
    ("[Ljava.lang.String;", b"\x71\x11[java.lang.String\x10" + STRING.encode()),
    ("[Ljava.lang.Object;", b"\x71\x07[object\x05world"),
]

FRAMES = [
    # The five of the specification's summary.
    asked("no arguments", "com.example.Echo:1.0.0", "ping"),
    answered("OK", response(1, 20, b"\x05world"), "OK", 1),
    ("the server is closing", response(-1, 88, b"\0"), {"kind": "drain", "request_id": str(2**64 - 1)}),
    ("heartbeat", heartbeat(7, 0, 3000), {"kind": "heartbeat", "request_id": "7"}),
    ("heartbeat's answer", heartbeat(7, 1, 0), {"kind": "ack", "request_id": "7"}),
    # More of the same layout.
    asked("one argument", "com.example.Echo:1.0.0", "say", arguments=[(STRING, b"\x05world")]),
    asked(
        "three arguments, one empty, and props",
        "com.example.Orders:1.0.0.22.daily",
        "place",
        arguments=[("int", b"\x91"), ("java.util.Map", b"HZ"), ("[B", b"")],
        props=MAP,
    ),
    asked("a third part", "com.example.Orders:2.0:blue", "list"),
    asked("a service without version", "com.example.Orders", "list"),
    asked("generic", "com.example.Orders:1.0.0", "$invoke", arguments=INVOKE),
    asked("echo", "com.example.Orders:1.0.0", "$echo", arguments=[("java.lang.Object", b"\x02ok")]),
    asked(
        "hessian 1, ext", "com.example.Orders:1.0.0", "list", 2**62 + 5, codec=1, ext=b"\1\2\3", timeout=20000
    ),
    asked("255 arguments", "com.example.Wide:1.0.0", "all", arguments=[("int", b"\x90")] * 255),
    asked("names beyond ASCII", "com.example.日志:1.0.0", "写", arguments=[("例", b"N")], timeout=0),
    answered("ext, hessian 1, null", response(2**62 + 5, 20, b"N", 1, b"\1\2\3"), "OK", 2**62 + 5),
    answered("nothing at all", response(3, 20, b""), "OK", 3),
    *(
        answered(f"status {code}", response(code, code, b"why not"), status, code)
        for code, status in {
            10: "INTERNAL",
            30: "TIMEOUT",
            31: "TIMEOUT",
            40: "BAD_REQUEST",
            50: "INTERNAL",
            60: "NO_SERVICE",
            70: "INTERNAL",
            80: "INTERNAL",
            81: "OVERLOADED",
            82: "UNAVAILABLE",
            83: "BAD_REQUEST",
            88: "UNAVAILABLE",
            90: "INTERNAL",
            91: "INTERNAL",
        }.items()
    ),
    answered("-1 with another status is no signal", response(-1, 80, b"x"), "INTERNAL", 2**64 - 1),
]


def lines() -> list[dict]:
    """The golden lines."""
    return [
        {
            "name": name,
            "source": "the layout in plugins/hsf/README.md",
            "origin": "made from the layout by plugins/hsf/tests/golden/make.py, not captured",
            "hex": data.hex(),
            "expect": means,
        }
        for name, data, means in FRAMES
    ]


if __name__ == "__main__":
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines())
    (HERE / "hsf.jsonl").write_text(text)
