"""Captures golden frames: a real client calls a real server through a relay that keeps what they say.

    tests/interop/install.sh && python plugins/brpc/tests/capture.py

Rewrites the files in ``golden``, made by ``protokit decode --golden``.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
INTEROP = HERE.parents[2] / "tests" / "interop"
sys.path.insert(0, str(INTEROP))
import peers  # noqa: E402  # its folder had to be named first
from relay import Capture, relay  # noqa: E402

# Of calls that look alike only the first is taken: those that are compressed have a capture of their own.
CASES = [
    ["hello", "declared", "undeclared", "missing", "nothing-missing", "attachment", "headers"],
    ["gzip"],
    ["snappy"],
]


def said(folder, cases, protocol):
    """Golden lines of what a client and a server say."""
    pom = (INTEROP / "brpc" / "pom.xml").read_text()
    version = re.search(r"jprotobuf-rpc-core</artifactId>\s*<version>([\d.]+)", pom)
    provider = peers.Provider("brpc-server", folder / "log")
    capture = Capture()
    try:
        peers.consume("brpc-client", relay(provider.port, capture), *cases)
        time.sleep(0.2)
    finally:
        provider.stop()
    path = folder / "brpc.pcap"
    capture.write(path)
    source = f"com.baidu:jprotobuf-rpc-core {version[1]}"
    words = [sys.executable, "-m", "protokit", "decode", str(path), "-p", protocol, "--golden", source]
    lines = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    return [corrected(json.loads(line)) for line in lines]


def corrected(vector):
    """What ``decode`` cannot know of an error: its length looks like a letter; the data may follow."""
    expect, data = vector["expect"], bytes.fromhex(vector["hex"])
    if expect.get("text"):
        expect["text"] = expect["text"][1:] if data[4:8] == data[8:12] else None
    return vector


def main():
    for protocol in ("brpc", "jprotobuf"):
        with tempfile.TemporaryDirectory() as folder:
            found = [one for cases in CASES for one in said(Path(folder), cases, protocol)]
        path = HERE / "golden" / protocol / "captured.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(one) + "\n" for one in found))
        print(protocol, len(found), "frames")


if __name__ == "__main__":
    main()
