"""Declared codecs beside hand-written ones in the same engine: bolt, with and without a checksum, and Thrift.

The frames come from the declarations themselves; ``native/bolt.c`` and ``thrift.c`` are the codecs by hand.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import peers
from protokit_sofarpc import bolt
from protokit_thrift import binary

from protokit import native

SERVICE = "org.protokit.bench.EchoService:1.0"


def _map(**items: str) -> bytes:
    return bolt.wire.meaning.headers.encoding.build([(k.encode(), v.encode()) for k, v in items.items()])


HEADERS = _map(
    service=SERVICE,
    sofa_head_target_service=SERVICE,
    sofa_head_method_name="echo",
    sofa_head_target_app="bench-server",
    protocol="bolt",
    type="sync",
    app="bench-client",
    sofa_head_generic_type="0",
    **{"rpc_trace_context.sofaTraceId": "0a0b0c0d1700000000000100012345", "rpc_trace_context.sofaRpcId": "0"},
)
COMMON = {"ver2": 1, "id": 1, "codec": 1}
REQUEST = {
    "type": 1,
    "cmdcode": 1,
    "timeout": 3000,
    "class_name": b"com.alipay.sofa.rpc.core.request.SofaRequest",
    "headers": HEADERS,
    "content": bytes(200),
}
ANSWER = {
    "type": 0,
    "cmdcode": 2,
    "status": 0,
    "class_name": b"com.alipay.sofa.rpc.core.response.SofaResponse",
    "headers": b"",
}
# Answers of Java have no headers; those of services with baggage do.
THRIFT = {"name": f"{SERVICE}:echo".encode(), "seqid": 1}
TEXT = b"\x0b\0\1" + (200).to_bytes(4) + bytes(200) + b"\0"
# A declaration, a request and an answer of it.
CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    f"bolt {name}": (
        bolt,
        {**COMMON, **variant, **REQUEST},
        {**COMMON, **variant, **ANSWER, body: bytes(160)},
    )
    for name, body, variant in (
        ("v1", "result", {"proto": 1}),
        ("v2 with CRC", "content", {"proto": 2, "ver1": 2, "switch": 1}),
    )
} | {
    "thrift": (
        binary("thrift", mode="multiplexed"),
        {**THRIFT, "type": 1, "body": TEXT},
        {**THRIFT, "type": 2, "kind": 11, "field": 0, "body": TEXT[3:]},
    )
}


def declared(runs: int) -> dict[str, Any]:
    """Run every case; the result is what results/declared.json holds."""
    cases = []
    step = native.step_address("hessian_fields")
    with tempfile.TemporaryDirectory() as folder:
        for name, (protocol, *both) in CASES.items():
            image = Path(folder) / "image"
            image.write_bytes(protocol.wire.image(protocol.name))
            frames = [Path(folder) / part for part in ("request", "answer")]
            for frame, values in zip(frames, both, strict=True):
                frame.write_bytes(protocol.wire.build(values))
            by_hand = name.partition(" ")[0]
            command = [peers.BUILD / "declared", by_hand, image, str(step), *frames, str(5 * runs)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            cases.append({"name": name, **json.loads(done.stdout)})
            print(cases[-1], file=sys.stderr, flush=True)
    return {"cases": cases}


if __name__ == "__main__":
    peers.build()
    print(json.dumps(declared(int(sys.argv[1]) if len(sys.argv) > 1 else 7), indent=2))
