"""Fixtures of the interop tests: peers that stay up for the whole run, and the proxy as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import peers  # its folder had to be named first


@pytest.fixture(scope="session")
def provider(tmp_path_factory):
    """Call it with a provider's name for one that runs."""
    running: dict[str, peers.Provider] = {}
    folder = tmp_path_factory.mktemp("providers")

    def get(name: str) -> peers.Provider:
        if peers.missing(name):
            pytest.skip(peers.missing(name))
        if name not in running:
            running[name] = peers.Provider(name, folder / name)
        return running[name]

    yield get
    for one in running.values():
        one.stop()


@pytest.fixture
def start(tmp_path):
    """Call it with a provider's name and perhaps a port for one that ends with the test."""
    running: list[peers.Provider] = []

    def get(name: str, port: int = 0, **more: int) -> peers.Provider:
        running.append(peers.Provider(name, tmp_path / f"{name}{port}", port=port, **more))
        return running[-1]

    yield get
    for one in running:
        one.stop()


@pytest.fixture(autouse=True)
def _no_consumer_outlives_its_test():
    yield
    for process in peers.consumers:
        process.kill()
        process.communicate()
    peers.consumers.clear()


class ProxyProcess:
    def __init__(self, folder: Path, endpoints: list[int], **more) -> None:
        rule = {"match": {"service": "demo.Echo"}, "cluster": "all"}
        limited = {"match": {"service": "demo.Echo", "method": "slow"}, "cluster": "all", "timeout": "2s"}
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r"}],
            "routes": [{"name": "r", "rules": [limited, rule]}],
            "clusters": [{"name": "all", "endpoints": [f"127.0.0.1:{port}" for port in endpoints]}],
            "admin": {"bind": "127.0.0.1:0"},
            "drain": {"delay": "0s", "timeout": "1s"},
            **more,
        }
        (folder / "proxy.yaml").write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "protokit", "run", str(folder / "proxy.yaml")],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ports: dict[str, int] = {}  # by the listeners' names
        for line in self.process.stdout:
            if "listener" in line:
                self.port = int(line.split("127.0.0.1:")[1].split()[0])
                self.ports[line.split()[1]] = self.port
            if "admin" in line:
                self.admin = line.split()[1]
            if line.startswith("  process"):
                return
        raise AssertionError("the proxy did not start")

    def stats(self) -> dict:
        import urllib.request

        with urllib.request.urlopen(f"{self.admin}stats", timeout=5) as page:
            return json.load(page)

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(15) == 0
        self.process.stdout.close()


@pytest.fixture(scope="session")
def through(provider, tmp_path_factory):
    """Call it with a provider's name for a proxy before it, that stays up too."""
    running: dict[str, ProxyProcess] = {}

    def get(name: str) -> ProxyProcess:
        if name not in running:
            running[name] = ProxyProcess(tmp_path_factory.mktemp("proxy"), [provider(name).port])
        return running[name]

    yield get
    for one in running.values():
        one.stop()


@pytest.fixture
def proxy(tmp_path):
    """Call it with ports of endpoints for a proxy before them."""
    running: list[ProxyProcess] = []

    def start(*endpoints: int, **more) -> ProxyProcess:
        running.append(ProxyProcess(tmp_path, list(endpoints), **more))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture(scope="module")
def standing_proxy(tmp_path_factory):
    """As ``proxy``, for one that stays up for all tests of a file."""
    running: list[ProxyProcess] = []

    def start(*endpoints: int, **more) -> ProxyProcess:
        running.append(ProxyProcess(tmp_path_factory.mktemp("proxy"), list(endpoints), **more))
        return running[-1]

    yield start
    for one in running:
        one.stop()
