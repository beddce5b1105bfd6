"""The epoll driver where the moment counts: the process is stopped while bytes arrive."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from protokit_dubbo.messages import OK, Answer, Call, decode, split


@pytest.fixture
def provider():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        server.settimeout(10)
        yield server


@pytest.fixture
def run(tmp_path, provider):
    """A running proxy's process and port."""
    path = tmp_path / "c.yaml"
    config = {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "cluster": "c"}],
        "clusters": [
            {
                "name": "c",
                "endpoints": [f"127.0.0.1:{provider.getsockname()[1]}"],
                "connect_timeout": "10s",
            }
        ],
        "drain": {"delay": "0s", "timeout": "1s"},
    }
    path.write_text(json.dumps(config))
    process = subprocess.Popen(
        [sys.executable, "-m", "protokit", "run", str(path)], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if "in 127.0.0.1:" in line:
            port = int(line.split("127.0.0.1:")[1].split()[0])
        if line.startswith("  process"):
            break
    yield process, port
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()


def connect(port):
    one = socket.create_connection(("127.0.0.1", port), timeout=10)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def receive(one, count):
    data, frames = b"", []
    while len(frames) < count:
        part = one.recv(1 << 16)
        assert part, "closed early"
        more, data = split(data + part)
        frames += more
    assert data == b""
    return [decode(frame) for frame in frames]


def stopped(process):
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


LARGE = 100_000
KEPT = 70_000  # more than is read at once: the rest of the frame has a buffer of exactly its size


def send_with_an_end(sender, frames, process):
    """The frames and the end of the stream, of which the proxy finds all but the first KEPT bytes at once."""
    sender.sendall(frames[:KEPT])
    time.sleep(0.2)
    stopped(process)
    sender.sendall(frames[KEPT:])
    sender.shutdown(socket.SHUT_WR)
    time.sleep(0.1)
    process.send_signal(signal.SIGCONT)


def call(number, value=b""):
    return Call("svc", "echo", "Ljava/lang/Object;", [value], request_id=number).encode()


def test_a_clients_end_behind_a_large_and_a_small_frame_is_seen(run, provider):
    process, port = run
    with connect(port) as client:
        send_with_an_end(client, call(1, bytes(LARGE)) + call(2), process)
        upstream, _ = provider.accept()
        with upstream:
            for one in receive(upstream, 2):
                upstream.sendall(Answer(one.id, OK, "x").encode())
            assert [answer.id for answer in receive(client, 2)] == [1, 2]
            client.settimeout(10)
            assert client.recv(1) == b""


def test_a_providers_end_behind_a_large_and_a_small_frame_is_seen(run, provider):
    process, port = run
    with connect(port) as client:
        client.sendall(call(1) + call(2))
        upstream, _ = provider.accept()
        with upstream:
            first, second = receive(upstream, 2)
            answers = Answer(first.id, OK, bytes(LARGE)).encode() + Answer(second.id, OK, 2).encode()
            send_with_an_end(upstream, answers, process)
            assert [answer.id for answer in receive(client, 2)] == [1, 2]
            upstream.settimeout(10)
            assert upstream.recv(1) == b""


def test_the_end_that_comes_with_the_connection_is_seen(run, provider):
    process, port = run
    with connect(port) as client, connect(provider.getsockname()[1]):  # this one fills the queue
        client.sendall(call(1))
        time.sleep(0.2)  # the proxy's first SYN is dropped
        stopped(process)
        provider.accept()[0].close()
        upstream, _ = provider.accept()
        with upstream:
            upstream.shutdown(socket.SHUT_WR)
            process.send_signal(signal.SIGCONT)
            client.settimeout(10)
            (answer,) = receive(client, 1)
            assert (answer.status, "the connection was lost" in answer.value) == (80, True)
