"""The process ends when it is told so, whatever a plugin or a file still holds up; a reload, too."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from peers import Client, Server
from served import free_port, wait

from protokit.testing import streams

CONFIG = """
listeners:
  - {{name: in, bind: "127.0.0.1:{port}", protocol: dubbo, cluster: c, filters: [{{held: {{how: {how}}}}}]}}
clusters: [{{name: c, endpoints: ["127.0.0.1:{provider}"]}}]
admin: {{bind: "127.0.0.1:{admin}"}}
drain: {{delay: 0s, timeout: 0s}}
timeouts: {{filter: 100ms}}
plugins: [{plugin}]
"""

# The process itself, only that it is patient for less long.
PROGRAM = """
from protokit.cli import process, service
service._HELD_UP_S = 0.2
service._PATIENCE_S, service._AT_ONCE_S = {patient}
process.run({path!r})
"""

PLUGIN = """
import asyncio, os, threading, time
from protokit import Filter, hookimpl

def forever():
    threading.Event().wait()

class Held(Filter):
    def __init__(self, options):
        self.how = options["how"]
        if self.how == "a thread of its own":
            threading.Thread(target=forever, name="its-own").start()

    async def request(self, request):
        if self.how == "a thread of the loop's":
            await asyncio.to_thread(forever)
        if self.how == "blocks":
            while not os.path.exists(FREE):
                time.sleep(0.01)

@hookimpl
def protokit_filters():
    return {"held": Held}

@hookimpl
def protokit_shutdown(app):
    if HOOK:
        print("the last hook", flush=True)
        forever()
"""


class Running:
    """A proxy with a filter that holds something up."""

    def __init__(self, folder: Path, how: str, provider: int, patient: tuple[float, float]) -> None:
        folder.mkdir()
        self.admin, self.port = free_port(), free_port()
        self.path = folder / "c.yaml"
        plugin = folder / "held.py"
        plugin.write_text(
            PLUGIN.replace("HOOK", str(how == "a hook")).replace("FREE", repr(str(folder / "free")))
        )
        self.path.write_text(
            CONFIG.format(port=self.port, how=how, provider=provider, admin=self.admin, plugin=plugin)
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(path=str(self.path), patient=patient)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as page:
            return page.read().decode()

    def log(self) -> str:
        return self.process.communicate(timeout=30)[1].decode()


@pytest.fixture
def run(tmp_path):
    started = []

    def begin(how: str, provider: int = 9, patient: tuple[float, float] = (0.5, 600)) -> Running:
        started.append(Running(tmp_path / str(len(started)), how, provider, patient))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        one.process.stderr.close()


HELD = ["a thread of its own", "a thread of the loop's", "a hook", "a reload"]


def test_whatever_a_plugin_holds_up_the_process_ends(run):
    """With the code of a good end, and a line that says what was left behind."""

    async def call(ports):
        """One of those that waits in a filter, which is given up."""
        for port in ports:
            client = await Client.connect(port)
            assert "did not decide" in (await client.call("echo", 1)).value
            await client.close()

    async def work():
        server = await Server().start()
        all_of_them = {how: run(how, server.port) for how in HELD}
        for one in all_of_them.values():
            await asyncio.to_thread(wait, lambda one=one: one.get("/ready") == "ready\n")
        await call([all_of_them["a thread of the loop's"].port])
        reloading = all_of_them["a reload"]
        reloading.path.unlink()
        os.mkfifo(reloading.path)  # as a file system that does not answer
        reloading.process.send_signal(signal.SIGHUP)
        writer = await asyncio.to_thread(os.open, reloading.path, os.O_WRONLY)  # which waits for its reader
        for one in all_of_them.values():
            one.process.send_signal(signal.SIGTERM)
        logs = {how: await asyncio.to_thread(one.log) for how, one in all_of_them.items()}
        os.close(writer)
        await server.stop()
        assert {how: one.process.returncode for how, one in all_of_them.items()} == dict.fromkeys(HELD, 0)
        for how, log in logs.items():
            assert "ended without what plugins still hold up" in log, how
        assert "its-own" in logs["a thread of its own"]
        assert "forever" in logs["a hook"]

    streams.run(work())


def test_a_reload_that_hangs_is_told_and_those_behind_it_are_one(run):
    """Nobody is served worse meanwhile; when it goes on, what was asked for behind it is read once."""
    one = run("nothing")
    wait(lambda: one.get("/ready") == "ready\n")
    text = one.path.read_text()
    one.path.unlink()
    os.mkfifo(one.path)
    one.process.send_signal(signal.SIGHUP)
    writer = os.open(one.path, os.O_WRONLY)
    lines = []
    while not lines or "still being read" not in lines[-1]:
        lines.append(one.process.stderr.readline().decode())
        assert lines[-1], lines
    for _ in range(20):
        one.process.send_signal(signal.SIGHUP)
        assert one.get("/ready") == "ready\n"
    one.path.unlink()
    one.path.write_text(text)
    os.write(writer, text.encode())
    os.close(writer)
    wait(lambda: json.loads(one.get("/stats"))["reloads"] == {"done": 2, "failed": 0, "last_failed": 0})
    one.process.send_signal(signal.SIGHUP)
    wait(lambda: json.loads(one.get("/stats"))["reloads"] == {"done": 3, "failed": 0, "last_failed": 0})
    one.process.send_signal(signal.SIGTERM)
    assert "ended without" not in one.log()
    assert one.process.returncode == 0


def test_who_blocks_the_thread_of_all_filters_is_named(run):
    """Nothing that could say so goes on meanwhile; what comes to it in the meantime is heard afterwards."""

    async def work():
        server = await Server().start()
        one = run("blocks", server.port, (600, 600))
        await asyncio.to_thread(wait, lambda: one.get("/ready") == "ready\n")
        client = await Client.connect(one.port)
        assert "did not decide" in (await client.call("echo", 1)).value
        line = ""
        while "held up" not in line:
            line = (await asyncio.to_thread(one.process.stderr.readline)).decode()
            assert line
        assert "request, held.py:" in line
        one.process.send_signal(signal.SIGTERM)
        (one.path.parent / "free").touch()
        assert "what was held up goes on" in await asyncio.to_thread(one.log)
        assert one.process.returncode == 0
        await client.close()
        await server.stop()

    streams.run(work())


@pytest.mark.parametrize(("signals", "patient"), [(1, (0.5, 600)), (2, (600, 0.5))], ids=["one", "another"])
def test_it_ends_though_the_thread_that_signals_are_for_is_blocked(run, signals, patient):
    """After one signal in a while; at once after another."""

    async def work():
        server = await Server().start()
        one = run("blocks", server.port, patient)
        await asyncio.to_thread(wait, lambda: one.get("/ready") == "ready\n")
        client = await Client.connect(one.port)
        assert "did not decide" in (await client.call("echo", 1)).value
        line = ""
        while "held up" not in line:
            line = (await asyncio.to_thread(one.process.stderr.readline)).decode()
            assert line
        for number in (signal.SIGTERM, signal.SIGINT)[:signals]:
            one.process.send_signal(number)
        log = await asyncio.to_thread(one.log)
        assert "ended without what plugins still hold up: MainThread (" in log
        assert "held.py:" in log
        assert one.process.returncode == 0
        await client.close()
        await server.stop()

    streams.run(work())
