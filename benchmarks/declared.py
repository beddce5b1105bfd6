"""A declared codec beside a hand-written one in the same engine: bolt, with and without a checksum.

The frames come from the declaration itself; ``native/bolt.c`` is the codec by hand.
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
    "content": bytes(160),
}
# Answers of Java have no headers; those of services with baggage do.
CASES = {"v1": {"proto": 1}, "v2 with CRC": {"proto": 2, "ver1": 2, "switch": 1}}


def declared(runs: int) -> dict[str, Any]:
    """Run every case; the result is what results/declared.json holds."""
    cases = []
    step = native.step_address("hessian_fields")
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        image.write_bytes(bolt.wire.image("bolt"))
        for name, variant in CASES.items():
            frames = []
            for part, values in (("request", REQUEST), ("answer", ANSWER)):
                frames.append(Path(folder) / part)
                frames[-1].write_bytes(bolt.wire.build({**COMMON, **variant, **values}))
            command = [str(peers.BUILD / "declared"), str(image), str(step), *map(str, frames), str(5 * runs)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            cases.append({"name": name, **json.loads(done.stdout)})
            print(cases[-1], file=sys.stderr, flush=True)
    return {"cases": cases}


if __name__ == "__main__":
    peers.build()
    print(json.dumps(declared(int(sys.argv[1]) if len(sys.argv) > 1 else 7), indent=2))
