"""Proxies behind a proxy are restarted one after the other under load: no call is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

import protokit
from protokit import native, plugins
from protokit.testing import streams

GOLDEN = Path(__file__).parent.parent / "golden"
# What makes a listener tell its clients.
LISTENERS = {"bolt": {"protocol": "bolt", "goaway": True}, "dubbo": {"protocol": "dubbo"}}
CLIENTS, DEPTH = 4, 16
ANSWER_S = 0.01


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def split(address, data):
    """(message, frame) of each whole frame, and the rest."""
    found = []
    while data:
        message = native.frame(address, data)
        if message.result == 1:
            break
        assert message.result == 0, message
        found.append((message, data[: message.size]))
        data = data[message.size :]
    return found, data


class Load:
    """A server that takes its time, and clients that always wait for several answers."""

    def __init__(self, protocol):
        self.address = plugins.load([protocol]).protocols[protocol].wire.address
        golden = (GOLDEN / f"{protocol}.jsonl").read_text().splitlines()
        frames = [bytes.fromhex(json.loads(line)["hex"]) for line in reversed(golden)]
        kinds = {native.frame(self.address, one).kind: one for one in frames}
        self.request, self.answer = kinds[native.KIND_REQUEST], kinds[native.KIND_RESPONSE]
        assert native.frame(self.address, self.answer).status == 0
        self.sent = self.heard = 0
        self.answers = []  # statuses
        self.ended = []  # clients whose connection was closed while they waited
        self.stopping = False
        self.serving = set()

    async def serve(self, reader, writer):
        self.serving.add(asyncio.current_task())
        rest = b""
        while data := await reader.read(1 << 16):
            frames, rest = split(self.address, rest + data)
            for message, frame in frames:
                if message.kind == native.KIND_REQUEST:
                    self.heard += 1
                    answer = native.patch_id(self.address, self.answer, message.id)
                    asyncio.get_running_loop().call_later(ANSWER_S, writer.write, answer)
                elif message.kind == native.KIND_HEARTBEAT:
                    writer.write(native.heartbeat_ack(self.address, frame))
        writer.close()
        await writer.wait_closed()

    async def client(self, port):
        reader, writer = await streams.open_connection("127.0.0.1", port)
        waiting = set()

        def ask():
            self.sent += 1
            waiting.add(self.sent)
            writer.write(native.patch_id(self.address, self.request, self.sent))

        for _ in range(DEPTH):
            ask()
        rest = b""
        while waiting:
            data = await reader.read(1 << 16)
            if not data:
                self.ended.append(len(waiting))
                break
            frames, rest = split(self.address, rest + data)
            for message, _ in frames:
                assert message.kind == native.KIND_RESPONSE
                waiting.remove(message.id)
                self.answers.append(message.status)
                if not self.stopping:
                    ask()
        writer.close()
        await writer.wait_closed()


class Inner:
    """A proxy in a process of its own."""

    def __init__(self, folder, listener, server):
        self.port, self.admin = free_ports(2)
        self.path = folder / f"{self.port}.yaml"
        config = {
            "listeners": [{"name": "in", "bind": f"127.0.0.1:{self.port}", "cluster": "c"} | listener],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{server}"]}],
            "admin": {"bind": f"127.0.0.1:{self.admin}"},
            "drain": {"delay": "0s", "timeout": "30s"},
        }
        self.path.write_text(yaml.safe_dump(config))
        self.process = None

    async def start(self):
        command = [sys.executable, "-m", "protokit", "run", str(self.path), "--log-level", "error"]
        self.process = await streams.start_process(
            *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not await asyncio.to_thread(self.ready):
            assert self.process.returncode is None
            await asyncio.sleep(0.02)

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/ready", timeout=5) as page:
                return page.status == 200
        except OSError:
            return False

    async def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert await self.process.wait() == 0

    async def kill(self):
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["bolt", "dubbo"])
def test_no_call_is_lost_when_proxies_behind_a_proxy_are_restarted_one_after_the_other(tmp_path, protocol):
    async def main():
        load = Load(protocol)
        server = await streams.start_server(load.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        inner = [Inner(tmp_path, LISTENERS[protocol], port) for _ in range(2)]
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": protocol, "cluster": "c"}],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{one.port}" for one in inner]}],
        }
        try:
            for one in inner:
                await one.start()
            async with protokit.Proxy(config) as outer:

                def seen(of, what):
                    return outer.stats()["clusters"]["c"][f"127.0.0.1:{of.port}"][what]

                clients = [
                    asyncio.ensure_future(load.client(outer.addresses["in"][1])) for _ in range(CLIENTS)
                ]
                for one in inner * 2:
                    while not seen(one, "active"):
                        await asyncio.sleep(0.001)
                    before, failures = len(load.answers), seen(one, "connect_failures")
                    await one.stop()
                    await one.start()
                    # Where the outer one has seen that it was gone, operators wait until it is used again.
                    while seen(one, "connect_failures") > failures and not seen(one, "connections"):
                        await asyncio.sleep(0.02)
                    while len(load.answers) < before + 1000:
                        await asyncio.sleep(0.02)
                load.stopping = True
                await asyncio.gather(*clients)
                told = sum(one["drains_received"] for one in outer.stats()["workers"])
        finally:
            for one in inner:
                await one.kill()
            server.close()
            await asyncio.gather(*load.serving)
        assert told >= 4
        assert load.ended == []
        assert len(load.answers) == load.sent == load.heard
        assert set(load.answers) == {0}

    streams.run(main(), 120)
