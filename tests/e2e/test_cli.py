"""The command line as operators use it: signals, errors, the admin pages."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from served import wait

CONFIG = """
listeners: [{name: in, bind: "127.0.0.1:0", protocol: dubbo, cluster: c}]
clusters: [{name: c, endpoints: ["127.0.0.1:9"]}]
admin: {bind: "127.0.0.1:0", public: "127.0.0.1:0"}
drain: {delay: DELAY, timeout: 1s}
"""


class Run:
    def __init__(self, path: Path) -> None:
        self.errors = (path.parent / "stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "protokit", "run", str(path)],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.banner = ""
        for line in self.process.stdout:
            self.banner += line
            if line.startswith("  process"):
                break

    def stderr(self) -> str:
        return Path(self.errors.name).read_text()

    def saw(self, text: str) -> bool:
        for _ in range(100):
            if text in self.stderr():
                return True
            time.sleep(0.05)
        return False

    def get(self, path: str):
        base = next(line for line in self.banner.splitlines() if "admin" in line).split()[1]
        try:
            with urllib.request.urlopen(base.rstrip("/") + path, timeout=5) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(delay="0s"):
        path = tmp_path / "c.yaml"
        path.write_text(CONFIG.replace("DELAY", delay))
        started.append(Run(path))
        return started[-1], path

    yield begin
    for one in started:
        one.end()


def test_the_banner_says_what_runs(start):
    run, _ = start()
    for text in (
        "protokit 0.1.0",
        "dubbo 0.1.0: dubbo (native)",
        "in 127.0.0.1:",
        "  admin     http://127.0.0.1:",
        "  public    http://127.0.0.1:",
        "descriptors",
    ):
        assert text in run.banner
    assert len(run.banner.splitlines()) < 24


def test_admin_pages(start):
    run, _ = start(delay="30s")
    assert run.get("/healthz") == (200, "alive\n")
    assert run.get("/ready") == (200, "ready\n")
    status, page = run.get("/metrics")
    assert status == 200
    assert 'protokit_requests_total{worker="0"} 0' in page
    assert 'protokit_endpoint_requests_total{cluster="c",endpoint="127.0.0.1:9"} 0' in page
    assert json.loads(run.get("/stats")[1])["workers"][0]["requests"] == 0
    assert run.get("/nothing")[0] == 404
    assert run.get("/")[0] == 200
    run.process.send_signal(signal.SIGTERM)
    assert run.saw("draining")
    assert run.get("/ready") == (503, "not ready\n")
    run.process.send_signal(signal.SIGTERM)  # at once
    assert run.process.wait(20) == 0


def test_sighup_reloads_and_a_bad_file_keeps_the_old(start):
    run, path = start()
    path.write_text(path.read_text().replace("cluster: c}", "cluster: x}"))
    run.process.send_signal(signal.SIGHUP)
    assert run.saw("reload refused, the old configuration goes on")
    assert "there is no cluster 'x'" in run.stderr()
    path.write_text(CONFIG.replace("DELAY", "0s").replace("127.0.0.1:9", "127.0.0.1:10"))
    run.process.send_signal(signal.SIGHUP)
    assert run.saw("reloaded")
    assert "127.0.0.1:10" in run.get("/stats")[1]
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(20) == 0
    assert "Traceback" not in run.stderr()


def admin_of(run):
    for line in reversed(run.stderr().splitlines()):
        if " admin http://" in line:
            return line.rpartition(" admin ")[2]
    return ""


def test_a_reload_applies_a_changed_admin_address_or_changes_nothing(start):
    run, path = start()
    first = next(line for line in run.banner.splitlines() if "admin" in line).split()[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = path.read_text().replace('admin: {bind: "127.0.0.1:0"', f'admin: {{bind: "127.0.0.1:{port}"')
        path.write_text(text.replace("127.0.0.1:9", "127.0.0.1:10"))
        run.process.send_signal(signal.SIGHUP)
        assert run.saw("cannot be bound")
        assert "127.0.0.1:10" not in run.get("/stats")[1]
    run.process.send_signal(signal.SIGHUP)
    assert run.saw("reloaded")
    assert admin_of(run).endswith(f":{port}/")
    run.banner = f"admin {admin_of(run)}"
    assert "127.0.0.1:10" in run.get("/stats")[1]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(first, timeout=5)
    path.write_text(text.replace(', public: "127.0.0.1:0"', ""))  # that address stays, and is taken over
    run.process.send_signal(signal.SIGHUP)
    for _ in range(100):
        if run.stderr().count("reloaded") == 2:
            break
        time.sleep(0.05)
    assert run.stderr().count("reloaded") == 2
    assert '"127.0.0.1:9"' in run.get("/stats")[1]
    assert admin_of(run).endswith(f":{port}/")


def test_sighup_during_a_drain_reads_nothing_and_listens_nowhere(start):
    run, path = start(delay="30s")
    port = int(
        next(line for line in run.banner.splitlines() if " in 127" in line).split("127.0.0.1:")[1].split()[0]
    )
    with socket.create_connection(("127.0.0.1", port)):
        run.process.send_signal(signal.SIGTERM)
        assert run.saw("draining")
        path.write_text(path.read_text().replace("name: in, bind", "name: again, bind"))
        run.process.send_signal(signal.SIGHUP)
        assert run.saw("the configuration is not read again")
        run.process.send_signal(signal.SIGTERM)  # at once
        assert run.process.wait(20) == 0
    assert "reloaded" not in run.stderr()


@pytest.mark.parametrize("same_admin", [True, False])
def test_a_second_process_takes_nothing_of_the_first(start, tmp_path, same_admin):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        port, admin = one.getsockname()[1], two.getsockname()[1]
    text = CONFIG.replace("DELAY", "0s").replace('"127.0.0.1:0", protocol', f'"127.0.0.1:{port}", protocol')
    text += "workers: 2\n"
    (tmp_path / "first.yaml").write_text(text.replace('{bind: "127.0.0.1:0"', f'{{bind: "127.0.0.1:{admin}"'))
    first = Run(tmp_path / "first.yaml")
    try:
        (tmp_path / "second.yaml").write_text((tmp_path / "first.yaml").read_text() if same_admin else text)
        done = protokit("run", str(tmp_path / "second.yaml"))
        assert done.returncode == 1
        assert ("admin.bind" if same_admin else "listener 'in' cannot bind") in done.stderr
        assert "in use" in done.stderr
        for _ in range(20):
            socket.create_connection(("127.0.0.1", port)).close()

        def accepted() -> int:
            return sum(one["connections_accepted"] for one in json.loads(first.get("/stats")[1])["workers"])

        wait(lambda: accepted() >= 20)
        assert accepted() == 20
    finally:
        first.end()


def test_a_second_signal_ends_at_once(start):
    run, _ = start(delay="30s")
    run.process.send_signal(signal.SIGTERM)
    assert run.saw("draining")
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(20) == 0
    assert "stopping at once" in run.stderr()


def protokit(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "protokit", *arguments], capture_output=True, text=True, check=False
    )


def test_check_and_run_report_mistakes_without_a_traceback(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG.replace("DELAY", "x").replace("protocol: dubbo", "protocol: dubo"))
    for command in ("check", "run"):
        done = protokit(command, str(path))
        assert done.returncode == 1
        assert f"{path}:5:16: delay: expected a duration" in done.stderr
        assert "Traceback" not in done.stderr
    path.write_text(CONFIG.replace("DELAY", "1s"))
    done = protokit("check", str(path))
    assert (done.returncode, "ok: 1 listeners" in done.stdout) == (0, True)


def test_schema_is_json():
    assert json.loads(protokit("schema").stdout)["title"] == "protokit"
