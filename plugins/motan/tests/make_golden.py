"""Writes golden/motan.jsonl: frames made from the layout, by ``struct`` alone, without the declaration."""

import gzip
import json
import struct
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden" / "motan.jsonl"
SOURCE = "tests/make_golden.py"
ORIGIN = "made from the layout, not captured from a peer"

RESPONSE, PROXY, ONEWAY, GZIP, HEARTBEAT = 1, 2, 4, 8, 16
HESSIAN2, PB, SIMPLE = 0, 1, 6


def frame(flags, serialization, request_id, meta=(), body=b"", *, status=0):
    """One Motan2 frame: header, meta, body."""
    text = "\n".join(part for pair in meta for part in pair).encode()
    head = struct.pack(">HBBBQ", 0xF1F1, flags, 1 << 3 | status, serialization << 3, request_id)
    return head + struct.pack(">i", len(text)) + text + struct.pack(">i", len(body)) + body


def simple(text):
    """A string in the simple serialization."""
    data = text.encode()
    return b"\x01" + struct.pack(">I", len(data)) + data


def error(code, text, kind):
    """The meta of an exception."""
    return [("M_pt", "3"), ("M_e", json.dumps({"errcode": code, "errmsg": text, "errtype": kind}))]


CALL = [("M_p", "demo.Greeter"), ("M_m", "hello"), ("M_md", "java.lang.String")]
FULL = [*CALL, ("M_v", "1.0"), ("M_g", "east"), ("M_tmo", "1500"), ("M_s", "shop"), ("trace", "t-17")]
GREETER = {"kind": "request", "service": "demo.Greeter", "method": "hello"}
BIG = 2**64 - 2

VECTORS = [
    ("request", frame(0, SIMPLE, 7, CALL, simple("Ada")), {**GREETER, "request_id": "7"}),
    (
        "request with everything that routes",
        frame(0, SIMPLE, 8, FULL, simple("Zoë 😀")),
        {**GREETER, "request_id": "8", "version": "1.0", "group": "east"},
    ),
    ("request without arguments", frame(0, HESSIAN2, 9, CALL), GREETER),
    (
        "request with a negative id",
        frame(0, SIMPLE, BIG, CALL, simple("x")),
        {**GREETER, "request_id": str(BIG)},
    ),
    ("request, gzip", frame(GZIP, SIMPLE, 10, CALL, gzip.compress(simple("Ada"), mtime=0)), GREETER),
    ("request of an agent", frame(PROXY, PB, 11, [*CALL, ("M_rid", "-5")], b"\x0a\x03Ada"), GREETER),
    (
        "request without a service",
        frame(0, SIMPLE, 12, [("M_m", "hello")]),
        {"kind": "request", "service": ""},
    ),
    (
        "one-way",
        frame(ONEWAY, SIMPLE, 13, [("M_p", "demo.Log"), ("M_m", "note")], simple("x")),
        {"kind": "oneway", "service": "demo.Log", "method": "note"},
    ),
    (
        "answer",
        frame(RESPONSE, SIMPLE, 7, [("M_pt", "5")], simple("hello Ada")),
        {"kind": "response", "request_id": "7"},
    ),
    ("answer without meta", frame(RESPONSE, SIMPLE, 9, (), b"\x00"), {"kind": "response"}),
    ("answer to an agent", frame(RESPONSE | PROXY, PB, 11, (), b"\x0a\x05hello"), {"kind": "response"}),
    (
        "exception, provider",
        frame(RESPONSE, SIMPLE, 8, error(10101, "no provider", 1), status=1),
        {"kind": "response"},
    ),
    (
        "exception, program",
        frame(RESPONSE, SIMPLE, 8, error(30001, "boom", 2), status=1),
        {"kind": "response"},
    ),
    ("heartbeat, Java", frame(HEARTBEAT, 1, 14), {"kind": "heartbeat", "request_id": "14"}),
    ("answer to it", frame(HEARTBEAT | RESPONSE, 1, 14), {"kind": "heartbeat_ack", "request_id": "14"}),
    ("heartbeat, agent", frame(HEARTBEAT | PROXY, SIMPLE, 15), {"kind": "heartbeat", "request_id": "15"}),
    ("answer to an agent's", frame(HEARTBEAT | PROXY | RESPONSE, SIMPLE, 15), {"kind": "heartbeat_ack"}),
]


def lines():
    """The file's text."""
    for name, data, expect in VECTORS:
        record = {"name": name, "source": SOURCE, "origin": ORIGIN, "hex": data.hex(), "expect": expect}
        yield json.dumps(record, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text("".join(lines()), encoding="utf-8")
