"""The real peers: which there are, how they are started, what they print."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
INSTALL = "tests/interop/install.sh"
RAN = HERE / ".ran.json"
JAVA = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1"]
for package in ("java.lang", "java.lang.reflect", "java.math", "java.time", "java.util"):
    JAVA += ["--add-opens", f"java.base/{package}=ALL-UNNAMED"]


def java(peer: str, main: str) -> list[str]:
    return [*JAVA, "-cp", f"{HERE / peer}/target/classes:{HERE / peer}/target/lib/*", f"demo.{main}"]


PROVIDERS = {
    "dubbo27-provider": java("dubbo27", "Provider"),
    "dubbo3-provider": java("dubbo3", "Provider"),
    "dubbo-remoting-server": ["node", str(HERE / "node" / "server.js")],
}
CONSUMERS = {
    "dubbo27-consumer": java("dubbo27", "Consumer"),
    "dubbo3-consumer": java("dubbo3", "Consumer"),
    "dubbo-remoting-client": ["node", str(HERE / "node" / "client.js")],
    "apache-dubbo-js": ["node", str(HERE / "node" / "apache.js")],
}


def missing(name: str) -> str:
    """Why a peer cannot run, or nothing."""
    folder = name.split("-", maxsplit=1)[0]
    wanted = HERE / folder / "target" / "lib" if name.startswith(("dubbo27", "dubbo3")) else None
    wanted = wanted or HERE / "node" / "node_modules" / (
        "apache-dubbo-js" if name.startswith("apache") else "dubbo-remoting"
    )
    return "" if wanted.exists() else f"{name} is not installed; install it with: {INSTALL}"


def note(name: str) -> None:
    """Remember that a peer ran; .ci/run compares with the list."""
    ran = set(json.loads(RAN.read_text())) if RAN.exists() else set()
    RAN.write_text(json.dumps(sorted(ran | {name})))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Provider:
    """One provider process."""

    def __init__(self, name: str, log: Path, port: int = 0) -> None:
        self.name = name
        self.port = port or free_port()
        self.log = log
        with log.open("a") as out:
            self.process = subprocess.Popen([*PROVIDERS[name], str(self.port)], stdout=out, stderr=out)
        for _ in range(300):
            if f"READY {self.port}" in log.read_text() and self._accepts():
                note(name)
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        raise AssertionError(f"{name} did not start:\n{log.read_text()[-3000:]}")

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, *, gently: bool = False) -> None:
        if self.process.poll() is None:
            self.process.terminate() if gently else self.process.kill()
        self.process.wait(20)


def decoded(text: str) -> str:
    """The peers' lines are ASCII with \\uXXXX."""
    units = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text)
    return units.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def start_consumer(name: str, port: int, *cases: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*CONSUMERS[name], str(port), *cases], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def results(name: str, process: subprocess.Popen, timeout: float = 60) -> dict[str, tuple[str, str]]:
    """(value|raised, what) by case."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{name} did not end:\n{out}\n{err[-3000:]}") from None
    rows = [line.split("\t", 2) for line in out.splitlines() if line.count("\t") >= 2]
    assert rows, f"{name} printed nothing:\n{err[-3000:]}"
    note(name)
    return {case: (how, decoded(what)) for case, how, what in rows}


def consume(name: str, port: int, *cases: str) -> dict[str, tuple[str, str]]:
    return results(name, start_consumer(name, port, *cases))
