"""The driver alone: a worker in this process, whose events are taken when the test says so."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from world import LIMITS

from protokit import native
from protokit.testing.tables import TableBuilder

EVENTS = 4096  # so many can wait
OVERLOADED = 5
MANY = {
    **LIMITS,
    "connections": 300,
    "filters": 10_000,
    "in_flight": 20_000,
    "in_flight_per_connection": 20_000,
}
MANY |= {"client_pause": 1 << 22, "buffer": 1 << 26}


def table(toy, *, filtered=False, endpoint=None):
    builder = TableBuilder(MANY, seed=1)
    builder.cluster("c", "round-robin", 1, 1000)
    if endpoint is not None:
        builder.endpoint(0, *endpoint, 1)
    plan = builder.plan("p", filter_chain=0) if filtered else builder.plan("p")
    builder.split(0, 1)
    builder.listener(0, "in", routes=None, plan=plan, pinned=False, codecs=[toy.address])
    return builder.finish()


@contextmanager
def running(first):
    """A worker with that table, and its address."""
    worker = native.Worker(1)
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            worker.prepare(first, 1)
            worker.commit()
            assert [op.op for op in events(worker, 1)] == [native.EVENT_PREPARED]
            worker.listen(0, server.detach())
        yield worker, address
    finally:
        worker.stop()
        first.free()


def events(worker, count):
    """So many events, in their order."""
    found = []
    end = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} events of {count}"
        found += worker.events()
        time.sleep(0.001)
    return found


def receive(toy, client, count):
    frames, data = [], b""
    while len(frames) < count:
        part = client.recv(1 << 16)
        assert part, "closed early"
        more, data = toy.split(data + part)
        frames += more
    return frames


def connect(address):
    return socket.create_connection(address, timeout=10)


def test_what_filters_do_not_take_is_overload_and_nothing_else_is_lost(wide):
    with running(table(wide, filtered=True)) as (worker, address), connect(address) as client:
        client.sendall(b"".join(wide.request(number) for number in range(EVENTS + 100)))
        refused = receive(wide, client, 100)
        assert [frame[2] for frame in refused] == list(range(EVENTS, EVENTS + 100))
        assert {frame[1] for frame in refused} == {OVERLOADED}
        assert all(b"the filters cannot keep up" in frame[3] for frame in refused)
        second = table(wide)
        worker.prepare(second, 2)
        worker.abort()
        client.sendall(wide.request(EVENTS + 100))
        receive(wide, client, 1)  # it has taken those, too, while there was no room
        waiting = events(worker, EVENTS + 2)
        assert [op.op for op in waiting[EVENTS:]] == [native.EVENT_PREPARED, native.OP_RETIRED]
        second.free()
        asked = waiting[:EVENTS]
        assert {op.op for op in asked} == {native.OP_FILTER}
        assert [native.frame(wide.address, native.held_bytes(op)).size > 0 for op in asked[:2]] == [True] * 2
        for op in asked:
            while not worker.decide(op.handle, native.DECIDE_REPLY, status=7, text=b"no"):
                time.sleep(0.001)
        answers = receive(wide, client, EVENTS)
        assert [frame[2] for frame in answers] == list(range(EVENTS))


def own_socket(address, peer):
    """This process's socket at that address with that peer."""
    for path in Path("/proc/self/fd").iterdir():
        try:
            one = socket.socket(fileno=os.dup(int(path.name)))
        except OSError:
            continue
        with suppress(OSError):
            if one.family == socket.AF_INET and one.getsockname() == address and one.getpeername() == peer:
                return one
        one.close()
    raise AssertionError("there is no such socket")


def test_sockets_wait_for_nothing_and_notice_hosts_that_are_gone(wide):
    with socket.create_server(("127.0.0.1", 0)) as provider:
        provider.settimeout(10)
        with (
            running(table(wide, endpoint=provider.getsockname())) as (_, address),
            connect(address) as client,
        ):
            client.sendall(wide.request(1))
            server, peer = provider.accept()
            with (
                server,
                own_socket(address, client.getsockname()) as down,
                own_socket(peer, provider.getsockname()) as up,
            ):
                for one in (down, up):
                    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
                assert up.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
                assert up.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 5
