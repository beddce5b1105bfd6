"""Captures golden Thrift frames: real clients call real servers through a relay that keeps what they say.

    tests/interop/install.sh && python plugins/thrift/tests/capture.py

Rewrites the files in ``golden``: one for each protocol, made by ``protokit decode --golden`` from what each
library said.
"""

import json
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
INTEROP = HERE.parents[2] / "tests" / "interop"
sys.path.insert(0, str(INTEROP))
import peers  # noqa: E402  # its folder had to be named first

CASES = ["hello", "add", "nothing", "declared", "undeclared", "missing", "oneway"]
PROTOCOLS = {"binary": "thrift", "multi": "thrift", "compact": "thrift-compact", "header": "thrift-header"}
FILES = {
    "Python": ("python", "install.sh", r"thrift==([\d.]+)"),
    "Java": ("java", "thrift/pom.xml", r"libthrift</artifactId>\s*<version>([\d.]+)"),
    "Go": ("go", "thrift/go/go.mod", r"apache/thrift v([\d.]+)"),
    "Node": ("node", "thrift/node/package.json", r'"thrift": "([\d.]+)"'),
}


class Capture:
    """What two sides said, as a pcap of TCP over IPv4 without checksums."""

    def __init__(self):
        self.packets, self.lock = [], threading.Lock()

    def said(self, client_port, sequences, data, *, by_client):
        ports = (client_port, 9090) if by_client else (9090, client_port)
        with self.lock:
            for at in range(0, len(data), 1400):
                part = data[at : at + 1400]
                mine, other = sequences[by_client], sequences[not by_client]
                tcp = struct.pack(">HHIIBBHHH", *ports, mine, other, 5 << 4, 0x18, 65535, 0, 0)
                size = 20 + len(tcp) + len(part)
                local = b"\x7f\0\0\1"
                ip = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, 6, 0) + local + local
                self.packets.append(ip + tcp + part)
                sequences[by_client] += len(part)

    def write(self, path):
        head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 16, 101)
        rows = (struct.pack("<IIII", n, 0, len(one), len(one)) + one for n, one in enumerate(self.packets))
        path.write_bytes(head + b"".join(rows))


def relay(to, capture):
    """The port of a relay to a server's."""
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source, sink, port, sequences, by_client):
        while data := source.recv(65536):
            capture.said(port, sequences, data, by_client=by_client)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def accept():
        while True:
            client, (_, port) = listening.accept()
            server = socket.create_connection(("127.0.0.1", to))
            sequences = {True: 1, False: 1}
            for words in ((client, server, port, sequences, True), (server, client, port, sequences, False)):
                threading.Thread(target=pump, args=words, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listening.getsockname()[1]


def corrected(vector, wire):
    """What ``decode`` cannot know of an error: its length may look like a letter; Node says no type."""
    expect = vector["expect"]
    if expect.get("text"):
        count = ord(expect["text"][0])
        expect["text"] = expect["text"][1:] if count == len(expect["text"][1:].encode()) else expect["text"]
        typed = (b"\x08\0\2", 8) if wire != "compact" else (b"\x15", 3)
        if bytes.fromhex(vector["hex"])[-typed[1] :].find(typed[0]) < 0:
            expect["text"] = None
    return json.dumps(vector) + "\n"


def captured(language, wire, folder):
    """Golden lines of one library's calls."""
    name, file, version = FILES[language]
    source = f"Apache Thrift for {language} {re.search(version, (INTEROP / file).read_text())[1]}"
    provider = peers.Provider(f"thrift-{name}-server-{wire}", folder / f"{name}-{wire}")
    capture = Capture()
    # An unknown service ends Node's multiplexed server.
    cases = [case for case in CASES if (wire, case) != ("multi", "missing")]
    try:
        peers.consume(f"thrift-{name}-client-{wire}", relay(provider.port, capture), *cases)
        time.sleep(0.2)
    finally:
        provider.stop()
    path = folder / f"{name}-{wire}.pcap"
    capture.write(path)
    command = [
        sys.executable,
        "-m",
        "protokit",
        "decode",
        str(path),
        "-p",
        PROTOCOLS[wire],
        "--golden",
        source,
    ]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    return [corrected(json.loads(line), wire) for line in lines]


def main():
    found = {protocol: [] for protocol in PROTOCOLS.values()}
    with tempfile.TemporaryDirectory() as folder:
        for wire, protocol in PROTOCOLS.items():
            for language in FILES:
                if wire != "header" or language in ("Python", "Go"):
                    found[protocol] += captured(language, wire, Path(folder))
    for protocol, lines in found.items():
        (HERE / "golden" / protocol).mkdir(parents=True, exist_ok=True)
        (HERE / "golden" / protocol / "captured.jsonl").write_text("".join(lines))
        print(protocol, len(lines), "frames")


if __name__ == "__main__":
    main()
