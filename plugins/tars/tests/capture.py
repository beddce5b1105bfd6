"""Captures golden frames: real clients call a real server through a relay that keeps what they say.

    tests/interop/install.sh && python plugins/tars/tests/capture.py

Rewrites ``golden/captured.jsonl``, made by ``protokit decode --golden``.
"""

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from protokit_tars import tars

from protokit import native

HERE = Path(__file__).resolve().parent
INTEROP = HERE.parents[2] / "tests" / "interop"
sys.path.insert(0, str(INTEROP))
import peers  # noqa: E402  # its folder had to be named first
from relay import Capture, relay  # noqa: E402

MINE = native.heartbeat(tars.wire.address, 7)
# Of calls that look alike only the first is taken; ids of other widths have a capture of their own.
CASES = [
    ("node", ["hello", "declared", "undeclared", "missing", "oneway", "ping", "headers", "status"]),
    ("node", ["ids"]),
    ("java", ["hello", "undeclared", "missing", "oneway", "headers"]),
]


def source(language):
    """The library, and its version."""
    if language == "node":
        packages = json.loads((INTEROP / "tars" / "node" / "package.json").read_text())["dependencies"]
        return f"@tars/rpc {packages['@tars/rpc']}"
    pom = (INTEROP / "tars" / "pom.xml").read_text()
    version = re.search(r"tars-core</artifactId>\s*<version>([\d.]+)", pom)
    return f"com.tencent.tars:tars-core {version[1]}"


def said(folder, language, cases):
    """Golden lines of what a client and a server say."""
    provider = peers.Provider(f"tars-{language}-server", folder / "log")
    capture = Capture()
    try:
        port = relay(provider.port, capture)
        peers.consume(f"tars-{language}-client", port, *cases)
        ping(port)
        time.sleep(0.2)
    finally:
        provider.stop()
    path = folder / f"{language}.pcap"
    capture.write(path)
    words = [
        sys.executable,
        "-m",
        "protokit",
        "decode",
        str(path),
        "-p",
        "tars",
        "--golden",
        source(language),
    ]
    lines = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    found = [corrected(json.loads(line)) for line in lines]
    return [vector for vector in found if vector["hex"] != MINE.hex()]


def ping(port):
    """What protokit sends by itself: it knows the answer by what the server repeats of it."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(MINE)
        client.recv(65536)


def corrected(vector):
    """What ``decode`` cannot know of an error: its text's length may look like a letter."""
    text = vector["expect"].get("text")
    if text and ord(text[0]) == len(text[1:].encode()):
        vector["expect"]["text"] = text[1:]
    return vector


def main():
    with tempfile.TemporaryDirectory() as folder:
        found = [vector for one in CASES for vector in said(Path(folder), *one)]
    path = HERE / "golden" / "captured.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in found))
    print(len(found), "frames")


if __name__ == "__main__":
    main()
