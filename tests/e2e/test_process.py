"""The process that operators start: its streams, its signals, what it says and how often."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import uvloop
from peers import Client, Server, configuration
from protokit_dubbo.messages import OK
from served import free_port, wait

import protokit
from protokit.testing import streams

CONFIG = """
listeners: [{{name: in, bind: "127.0.0.1:{listener}", protocol: dubbo, cluster: c}}]
clusters: [{{name: c, endpoints: ["{endpoint}"]}}]
admin: {{bind: "127.0.0.1:{port}"}}
drain: {{delay: 0s, timeout: 1s}}
"""


class Run:
    """A proxy that is told its admin port, so that nobody has to read its banner."""

    def __init__(
        self, folder: Path, before: str = "", more: str = "", endpoint: str = "127.0.0.1:9", **streams
    ) -> None:
        self.port, self.listener = free_port(), free_port()
        self.path = folder / "c.yaml"
        self.endpoint(endpoint, more)
        command = f'{before} exec "{sys.executable}" -m protokit run "{self.path}" {streams.pop("shell", "")}'
        self.process = subprocess.Popen(["/bin/sh", "-c", command], **streams)

    def endpoint(self, address: str, more: str = "") -> None:
        self.path.write_text(CONFIG.format(endpoint=address, port=self.port, listener=self.listener) + more)

    def get(self, path: str) -> tuple[int, str]:
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=5) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def started(self) -> None:
        wait(lambda: self.get("/ready") == (200, "ready\n"))

    def reloads(self) -> None:
        self.endpoint("127.0.0.1:10")
        self.process.send_signal(signal.SIGHUP)
        wait(lambda: "127.0.0.1:10" in json.loads(self.get("/stats")[1])["clusters"]["c"])

    def ends(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        assert self.process.wait(20) == 0


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(**more) -> Run:
        started.append(Run(tmp_path, **more))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        for stream in (one.process.stdout, one.process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_pipe_stops_nothing(start, stream):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    run = start(**{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writer})
    os.close(writer)
    run.started()
    for _ in range(20):
        run.process.send_signal(signal.SIGUSR1)  # a line each
        assert run.get("/ready")[0] == 200
    run.reloads()
    run.ends()
    os.close(reader)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_stop_nothing(start, closed):
    run = start(shell=closed)
    run.started()
    run.reloads()
    for number in range(3):
        assert Path(f"/proc/{run.process.pid}/fd/{number}").exists()
    run.ends()


def test_readers_that_leave_stop_nothing(start):
    run = start(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.process.stdout.close()
    run.process.stderr.close()
    run.started()
    run.reloads()
    run.ends()


def test_signals_without_a_meaning_are_a_line(start):
    run = start(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    run.started()
    run.process.send_signal(signal.SIGUSR1)
    run.process.send_signal(signal.SIGUSR2)
    run.reloads()
    run.ends(signal.SIGQUIT)
    text = run.process.stderr.read().decode()
    for expected in ("SIGUSR1: it has no meaning here", "SIGUSR2: it has no", "SIGQUIT: draining", "stopped"):
        assert expected in text


LOADS = """
import os, pathlib, signal
import protokit

once = pathlib.Path(__file__).with_suffix(".once")
if not once.exists():
    once.touch()
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)

@protokit.hookimpl
def protokit_filters(): return {}
"""


def test_signals_during_the_start_are_heard_after_it(start, tmp_path):
    (tmp_path / "early.py").write_text(LOADS)
    run = start(more="plugins: [./early.py]\n", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    run.started()
    text = ""
    while f"reloaded {run.path}" not in text:  # it is asked to end only then
        line = run.process.stderr.readline().decode()
        assert line, text
        text += line
    run.ends()
    text += run.process.stderr.read().decode()
    assert "SIGUSR1" in text and "SIGUSR2" in text


SLOW = """
import os, signal, threading
import protokit
from protokit.control import names

def look_up(host):
    os.kill(os.getpid(), signal.{name})
    threading.Event().wait()

names.look_up = look_up

@protokit.hookimpl
def protokit_filters(): return {{}}
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_a_signal_while_names_are_looked_up_ends_it(start, tmp_path, name):
    (tmp_path / "slow.py").write_text(SLOW.format(name=name))
    more = "plugins: [./slow.py]\n"
    run = start(endpoint="slow.test:9", more=more, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = run.process.communicate(timeout=60)
    assert (run.process.returncode, out) == (0, b""), errors
    assert f"{name}: it does not listen yet, and ends" in errors.decode()
    assert errors.endswith(b"stopped\n")


FILTERS = """
import protokit

class Bad(protokit.Filter):
    async def request(self, request):
        if request.method == "name":
            return protokit.Response(protokit.Status.OVERLOADED, "later")
        if request.method == "echo":
            request.cluster = "nowhere"
            return None
        print(request.service)
        raise ValueError(request.method)

@protokit.hookimpl
def protokit_filters(): return {"bad": lambda options: Bad()}
"""


def test_what_filters_do_is_logged_once_a_minute(tmp_path, caplog, monkeypatch):
    (tmp_path / "filters.py").write_text(FILTERS)
    path = tmp_path / "c.yaml"

    async def main():
        server = await Server().start()
        config = configuration(server, plugins=["./filters.py"])
        config["routes"][0]["rules"][0]["filters"] = ["bad"]
        path.write_text(json.dumps(config))
        async with protokit.Proxy(path) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for _ in range(30):
                for method in ("slow", "name", "echo"):
                    assert (await client.call(method, 1)).status != 20
            while len(caplog.records) < 3:  # the counters are looked at every second
                await asyncio.sleep(0.05)
            await client.close()
        await server.stop()

    streams.run(main(), runner=uvloop.run)
    texts = [record.getMessage() for record in caplog.records]
    assert sorted(text.partition(" ")[0] for text in texts) == ["a", "filter", "requests"], texts
    failed = next(record for record in caplog.records if record.getMessage().startswith("filter"))
    assert "its caller is told INTERNAL" in failed.getMessage()
    assert failed.exc_info[2].tb_frame.f_code.co_filename == str(tmp_path / "filters.py")


FAULTY = """
import sys
from protokit import Filter, Protocol, hookimpl
from protokit_dubbo import dubbo

class Odd(Protocol):
    @property
    def detectable(self):
        raise {raises}

@hookimpl
def protokit_protocols(): return [Odd("odd", dubbo.wire)]

@hookimpl
def protokit_filters(): return {{"leaves": lambda options: sys.exit(3), "well": lambda options: Passes()}}

class Passes(Filter):
    async def request(self, request): pass
"""
FAULTS = [
    ("protocol: [odd, dubbo], cluster: c", "RuntimeError('odd')", "RuntimeError: odd (faulty.py:9)"),
    ("protocol: [odd, dubbo], cluster: c", "MemoryError", "MemoryError (faulty.py:9)"),
    ("protocol: [odd, dubbo], cluster: c", "SystemExit(4)", "SystemExit: 4 (faulty.py:9)"),
    ("protocol: dubbo, cluster: c, filters: [leaves]", "KeyError", "SystemExit: 3 (faulty.py:15)"),
]


def test_whatever_a_reload_raises_is_a_failed_reload(start, tmp_path):
    """The old configuration goes on; every fault says what it was and where; the next reload is as any."""
    run = start(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    run.started()
    right = run.path.read_text()

    def reloads(text):
        run.path.write_text(text)
        before = json.loads(run.get("/stats")[1])["reloads"]
        run.process.send_signal(signal.SIGHUP)
        wait(lambda: json.loads(run.get("/stats")[1])["reloads"] != before)
        return json.loads(run.get("/stats")[1])["reloads"]

    plugin = tmp_path / "faulty.py"
    for number, (listener, raises, _) in enumerate(FAULTS):
        plugin.write_text(FAULTY.format(raises=raises))
        bad = right.replace("protocol: dubbo, cluster: c", listener) + f'plugins: ["{plugin}"]\n'
        assert bad.count("plugins") == 1
        assert reloads(bad) == {"done": number, "failed": number + 1, "last_failed": 1}
        assert run.get("/ready") == (200, "ready\n")
        assert reloads(right) == {"done": number + 1, "failed": number + 1, "last_failed": 0}
    well = right.replace("cluster: c}", "cluster: c, filters: [well]}") + f'plugins: ["{plugin}"]\n'
    assert reloads(well) == {"done": 5, "failed": 4, "last_failed": 0}
    assert "protokit_reloads_failed_total 4" in run.get("/metrics")[1]
    run.ends()
    text = run.process.stderr.read().decode()
    for _, _, expected in FAULTS:
        assert expected in text


def test_the_soft_limit_of_descriptors_is_raised(start):
    run = start(before="ulimit -S -n 128; ulimit -H -n 500;", stdout=subprocess.DEVNULL)
    run.started()
    limits = Path(f"/proc/{run.process.pid}/limits").read_text()
    assert re.search(r"Max open files +500 +500 ", limits)
    run.ends()


def test_clients_that_take_every_descriptor_leave_some_to_servers_and_operators(start):
    async def main():
        server = await Server().start()
        address = f"127.0.0.1:{server.port}"
        run = start(
            before="ulimit -n 64;", endpoint=address, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

        def stat(name: str) -> int:
            return json.loads(run.get("/stats")[1])["workers"][0][name]

        await asyncio.to_thread(run.started)
        crowd = [await Client.connect(run.listener) for _ in range(100)]
        while not await asyncio.to_thread(stat, "accept_errors"):
            await asyncio.sleep(0.02)
        assert (await crowd[0].call("echo", 1)).value == 1  # by the first connection to a server
        assert 16 < await asyncio.to_thread(stat, "connections_active") < 64 - 12
        await asyncio.to_thread(run.reloads)
        run.endpoint(address)
        run.process.send_signal(signal.SIGHUP)
        for client in crowd[:50]:
            await client.close()
        for client in crowd[50:60]:  # who waited gets in
            while (await client.call("echo", 2)).status != OK:
                await asyncio.sleep(0.02)
        for client in crowd[50:]:
            await client.close()
        await asyncio.to_thread(run.ends)
        log = run.process.stderr.read().decode()
        assert "new client connections had to wait: no descriptors are left" in log
        await server.stop()

    streams.run(main())
