"""The real peers: which there are, how they are started, what they print."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALL = "tests/interop/install.sh"
RAN = HERE / ".ran.json"
NOTING = threading.Lock()
consumers: list[subprocess.Popen] = []  # of the test that runs
JAVA = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
for package in (
    "java.lang",
    "java.lang.reflect",
    "java.math",
    "java.time",
    "java.util",
    "java.util.concurrent",
):
    JAVA += ["--add-opens", f"java.base/{package}=ALL-UNNAMED"]
JAVA += ["-Dserialization.security.check=false"]  # else a Dubbo provider takes one serialization only


def java(peer: str, main: str, *options: str) -> list[str]:
    classes = f"{HERE / peer}/target/classes:{HERE / peer}/target/lib/*"
    return [*JAVA, *options, "-cp", classes, f"demo.{main}"]


def node(script: str, *arguments: str) -> list[str]:
    return ["node", str(HERE / "node" / script), *arguments]


def sofarpc(main: str, *options: str) -> list[str]:
    return java("sofarpc", main, f"-Dlogging.path={HERE}/sofarpc/target/logs", *options)


PROVIDERS = {
    "dubbo26-provider": java("dubbo26", "Provider"),
    "dubbo27-provider": java("dubbo27", "Provider"),
    "dubbo31-provider": java("dubbo31", "Provider"),
    "dubbo3-provider": java("dubbo3", "Provider"),
    "dubbo-remoting-server": node("server.js"),
}
CONSUMERS = {
    "dubbo26-consumer": java("dubbo26", "Consumer"),
    "dubbo27-consumer": java("dubbo27", "Consumer"),
    "dubbo31-consumer": java("dubbo31", "Consumer"),
    "dubbo3-consumer": java("dubbo3", "Consumer"),
    "dubbo-remoting-client": node("client.js"),
    "apache-dubbo-js": node("apache.js"),
}
BOLT_PROVIDERS = {
    "sofarpc-provider": sofarpc("BoltProvider"),
    "sofarpc-node-server": node("bolt_server.js"),
}
# Without a suffix: v1, what the libraries choose; v2: ver1 = 1; crc and nocrc: ver1 = 2.
BOLT_CONSUMERS = {
    "sofarpc-consumer": sofarpc("BoltConsumer"),
    "sofarpc-consumer-v2": sofarpc("BoltConsumer", "-Dwire=v2"),
    "sofarpc-consumer-crc": sofarpc("BoltConsumer", "-Dwire=crc"),
    "sofarpc-consumer-nocrc": sofarpc("BoltConsumer", "-Dwire=nocrc"),
    "sofarpc-node-client": node("bolt_client.js", "v1"),
    "sofarpc-node-client-v2": node("bolt_client.js", "v2"),
    "sofarpc-node-client-crc": node("bolt_client.js", "crc"),
}
MOTAN_CONSUMERS = {
    "motan-consumer": java("motan", "MotanConsumer"),
    "motan-consumer-hessian2": java("motan", "MotanConsumer", "-Dserialization=hessian2"),
}
THRIFT = {
    "python": [f"{HERE}/thrift/target/venv/bin/python", f"{HERE}/thrift/python/peer.py"],
    "java": java("thrift", "Peer"),
    "go": [f"{HERE}/thrift/target/peer"],
    "node": ["node", f"{HERE}/thrift/node/peer.js"],
    "thriftpy2": [f"{HERE}/thrift/target/venv/bin/python", f"{HERE}/thrift/python/thriftpy2_peer.py"],
}
# In frames binary or compact, multi: binary with names of services, header: THeader.
THRIFT_PAIRS = [(one, wire) for one in THRIFT for wire in ("binary", "compact", "multi")]
THRIFT_PAIRS += [("python", "header"), ("go", "header")]
THRIFT_SERVERS = {f"thrift-{one}-server-{wire}": [*THRIFT[one], "server", wire] for one, wire in THRIFT_PAIRS}
THRIFT_CLIENTS = {f"thrift-{one}-client-{wire}": [*THRIFT[one], "client", wire] for one, wire in THRIFT_PAIRS}
BRPC_JAVA = java("brpcjava", "BrpcJavaPeer")
BRPC_SERVERS = {
    "brpc-server": [*java("brpc", "BrpcPeer"), "server"],
    "brpcjava-server": [*BRPC_JAVA, "server"],
}
BRPC_CLIENTS = {
    "brpc-client": [*java("brpc", "BrpcPeer"), "client"],
    "brpc-client-chunks": [*java("brpc", "BrpcPeer", "-Dchunk=1000"), "client"],
    "brpcjava-client": [*BRPC_JAVA, "client"],
}
TARS = {
    "node": ["node", "--no-warnings", f"{HERE}/tars/node/peer.js"],
    "java": java("tars", "TarsPeer", f"-Ddata={HERE}/tars/target/data"),
}
DUBBO_THRIFT = java("dubbothrift", "DubboThriftPeer")
PROVIDERS |= {"dubbothrift-server": [*DUBBO_THRIFT, "server"]}
CONSUMERS |= {"dubbothrift-client": [*DUBBO_THRIFT, "client"]}
PROVIDERS |= BRPC_SERVERS | {f"tars-{one}-server": [*TARS[one], "server"] for one in TARS}
CONSUMERS |= BRPC_CLIENTS | {f"tars-{one}-client": [*TARS[one], "client"] for one in TARS}
PROVIDERS |= THRIFT_SERVERS
CONSUMERS |= THRIFT_CLIENTS
SERVERS = ("memcached", "mosquitto", "nats", "redis", "slapd")  # of Debian's
SERVERS_PYTHON = f"{HERE}/servers/target/venv/bin/python"
PROVIDERS |= {f"{one}-server": [SERVERS_PYTHON, f"{HERE}/servers/serve.py", one] for one in SERVERS}
CONSUMERS |= {f"{one}-client": [SERVERS_PYTHON, f"{HERE}/servers/client.py", one] for one in SERVERS}
PROVIDERS |= BOLT_PROVIDERS | {"motan-provider": java("motan", "MotanProvider")}
CONSUMERS |= BOLT_CONSUMERS | MOTAN_CONSUMERS


def missing(name: str) -> str:
    """Why a peer cannot run, or nothing."""
    if name.startswith("thrift"):
        wanted = HERE / "thrift" / "target" / "done"
    elif name.startswith(SERVERS):
        wanted = HERE / "servers" / "target" / "done"
    elif name.startswith("tars-node"):
        wanted = HERE / "tars" / "node" / "node_modules" / "@tars" / "rpc"
    elif (PROVIDERS | CONSUMERS)[name][0] == "java":
        wanted = HERE / name.split("-", maxsplit=1)[0] / "target" / "lib"
    elif name.startswith("sofarpc"):
        wanted = HERE / "node" / "node_modules" / "sofa-rpc-node"
    else:
        package = "apache-dubbo-js" if name.startswith("apache") else "dubbo-remoting"
        wanted = HERE / "node" / "node_modules" / package
    return "" if wanted.exists() else f"{name} is not installed; install it with: {INSTALL}"


def need(*names: str) -> None:
    """Skip the test that runs where a peer is not installed."""
    for name in names:
        if missing(name):
            pytest.skip(missing(name))


def note(name: str) -> None:
    """Remember that a peer ran; .ci/run compares with the list."""
    with NOTING:
        ran = set(json.loads(RAN.read_text())) if RAN.exists() else set()
        RAN.write_text(json.dumps(sorted(ran | {name})))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Provider:
    """One provider process. Dubbo's in Java send heartbeats, or close, after so much silence."""

    def __init__(self, name: str, log: Path, port: int = 0, heartbeat_ms: int = 0) -> None:
        self.name = name
        self.port = port or free_port()
        self.log = log
        words = [str(self.port), *([str(heartbeat_ms)] if heartbeat_ms else [])]
        with log.open("a") as out:
            self.process = subprocess.Popen([*PROVIDERS[name], *words], stdout=out, stderr=out)
        for _ in range(300):
            ready = name.startswith(SERVERS) or f"READY {self.port}" in log.read_text()
            if ready and self._accepts():
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


def start_consumer(name: str, *words: int | str) -> subprocess.Popen:
    """Its arguments are a port and the cases to run there; several times over for Dubbo's in Java."""
    process = subprocess.Popen(
        [*CONSUMERS[name], *map(str, words)],
        stdin=subprocess.PIPE,  # its end is the end of "steady"
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    consumers.append(process)
    return process


def until_heard(name: str, process: subprocess.Popen, ports: tuple[int, ...]) -> None:
    """Wait until a consumer that runs "steady" has had answers of providers on all those ports."""
    missing = {f"heard {port}" for port in ports}
    while missing:
        line = process.stdout.readline()
        assert line, f"{name} ended before it heard of all: {missing} are missing"
        missing.discard(line.strip())


def lines(name: str, process: subprocess.Popen, timeout: float = 60) -> list[dict]:
    """What the consumer printed, a line a case: "case" and "value" or "raised"; from Java "port" too."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{name} did not end:\n{out}\n{err[-3000:]}") from None
    found = [json.loads(line) for line in out.splitlines() if line.startswith('{"')]
    assert found, f"{name} printed nothing:\n{err[-3000:]}"
    note(name)
    return found


def outcome(line: dict) -> tuple[str, object]:
    return ("value", line["value"]) if "value" in line else ("raised", line["raised"])


def results(name: str, process: subprocess.Popen, timeout: float = 60) -> dict[str, tuple[str, object]]:
    """(value|raised, what) by case."""
    return {line["case"]: outcome(line) for line in lines(name, process, timeout)}


def consume(name: str, port: int, *cases: str) -> dict[str, tuple[str, object]]:
    return results(name, start_consumer(name, port, *cases))
