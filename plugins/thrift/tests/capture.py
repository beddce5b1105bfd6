"""Captures golden Thrift frames: real clients call real servers through a relay that keeps what they say.

    tests/interop/install.sh && python plugins/thrift/tests/capture.py

Rewrites the files in ``golden``: one for each protocol, made by ``protokit decode --golden`` from what each
library said.
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

CASES = ["hello", "add", "nothing", "declared", "undeclared", "missing", "oneway"]
PROTOCOLS = {"binary": "thrift", "multi": "thrift", "compact": "thrift-compact", "header": "thrift-header"}
FILES = {
    "Python": ("python", "install.sh", r"thrift==([\d.]+)"),
    "Java": ("java", "thrift/pom.xml", r"libthrift</artifactId>\s*<version>([\d.]+)"),
    "Go": ("go", "thrift/go/go.mod", r"apache/thrift v([\d.]+)"),
    "Node": ("node", "thrift/node/package.json", r'"thrift": "([\d.]+)"'),
}


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
    # An unknown service ends Node's multiplexed server.
    cases = [case for case in CASES if (wire, case) != ("multi", "missing")]
    cases += ["headers"] if wire == "header" else []
    lines = said(
        f"thrift-{name}-server-{wire}", f"thrift-{name}-client-{wire}", cases, PROTOCOLS[wire], source, folder
    )
    return [corrected(json.loads(line), wire) for line in lines]


def of_dubbo(folder):
    """Golden lines of calls in Dubbo's frames."""
    pom = (INTEROP / "dubbothrift" / "pom.xml").read_text()
    found = [re.search(rf"{one}</artifactId>\s*<version>([\d.]+)", pom)[1] for one in ("dubbo", "libthrift")]
    cases = ["hello", "add", "declared", "undeclared"]
    source = f"com.alibaba:dubbo {found[0]} with libthrift {found[1]}"
    lines = said("dubbothrift-server", "dubbothrift-client", cases, "dubbo-thrift", source, folder)
    return [line.decode() + "\n" for line in lines]


def said(server, client, cases, protocol, source, folder):
    """What a client and a server said, as ``decode`` writes it."""
    provider = peers.Provider(server, folder / server)
    capture = Capture()
    try:
        peers.consume(client, relay(provider.port, capture), *cases)
        time.sleep(0.2)
    finally:
        provider.stop()
    path = folder / f"{server}.pcap"
    capture.write(path)
    command = [sys.executable, "-m", "protokit", "decode", str(path), "-p", protocol, "--golden", source]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()


def main():
    found = {protocol: [] for protocol in PROTOCOLS.values()}
    with tempfile.TemporaryDirectory() as folder:
        for wire, protocol in PROTOCOLS.items():
            for language in FILES:
                if wire != "header" or language in ("Python", "Go"):
                    found[protocol] += captured(language, wire, Path(folder))
        found["dubbo-thrift"] = of_dubbo(Path(folder))
    for protocol, lines in found.items():
        (HERE / "golden" / protocol).mkdir(parents=True, exist_ok=True)
        (HERE / "golden" / protocol / "captured.jsonl").write_text("".join(lines))
        print(protocol, len(lines), "frames")


if __name__ == "__main__":
    main()
