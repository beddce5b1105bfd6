"""The nasty-neighbour matrix: what the worst client, server, filter and reload do to everyone else. Nothing.

Each row is one nasty neighbour of a running proxy, each column somebody else: a client on the same listener,
one whose calls share the neighbour's upstream connection, one on another listener, whoever asks the admin
server, and the memory that must be free again when the neighbour is gone. A row runs once; its cells are
looked up.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import signal
import socket
import struct
import sys
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from peers import SERVICE, Client, Server
from protokit_dubbo.messages import HEADER, HESSIAN2, MAGIC, OK, Answer, Call

from protokit.testing import streams

ENTRY = "from protokit.cli import main; main()"
APART = "org.protokit.test.Apart"  # has a cluster of its own
FILTERED = "org.protokit.test.Filtered"  # goes through the nasty filter
LATE = "org.protokit.test.Late"  # first called when the neighbour is there already
PATIENCE_S = 10
FILTERS = """
import asyncio
import logging
import protokit

class Hangs(protokit.Filter):
    async def request(self, request):
        while True:  # also when it is told to end
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

class Waits(protokit.Filter):
    async def request(self, request):
        await asyncio.Event().wait()

class Raises(protokit.Filter):
    async def request(self, request):
        raise RuntimeError("nasty " * 100)

class Floods(protokit.Filter):
    async def request(self, request):
        for _ in range(100):
            logging.getLogger("nasty").error("x" * 1000)

class Answers(protokit.Filter):
    async def response(self, request, answer):
        await Hangs.request(self, request)

class Ends(protokit.Filter):
    async def on_end(self, ends):
        await Hangs.request(self, ends)

@protokit.hookimpl
def protokit_filters():
    kinds = {"hangs": Hangs, "waits": Waits, "raises": Raises, "floods": Floods}
    kinds |= {"answers": Answers, "ends": Ends}
    return {name: lambda options, kind=kind: kind() for name, kind in kinds.items()}
"""
VICTIMS = ("same listener", "same upstream connection", "another listener", "admin")


@dataclass
class Place:
    """A running proxy, its servers, and where to find them."""

    process: asyncio.subprocess.Process
    config: dict
    path: Path
    ports: dict[str, int]
    shared: Server
    errors: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in VICTIMS})
    calls: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VICTIMS, 0))

    def write(self) -> None:
        self.path.write_text(json.dumps(self.config))  # JSON is YAML

    async def connect(self) -> Client:
        return await Client.connect(self.ports["in"])

    async def get(self, page: str) -> tuple[int, bytes]:
        def ask() -> tuple[int, bytes]:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.ports['admin']}{page}", timeout=PATIENCE_S
            ) as got:
                return got.status, got.read()

        return await asyncio.get_running_loop().run_in_executor(None, ask)


Nasty = Callable[[Place], Awaitable[None]]


# The worst clients.


async def never_reads(place: Place) -> None:
    """Each asks for more than it takes, and for less than it is closed for: together they fill the worker."""
    sockets = []
    for _ in range(30):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the other side's buffer stays small, too
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", place.ports["in"]))
        asked = b"".join(call("big", 60_000, request_id=n + 1) for n in range(16))
        await asyncio.get_running_loop().sock_sendall(one, asked)
        sockets.append(one)
    while not await count(place, "closed_over_budget"):  # until they fill it
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    for one in sockets:
        one.close()


async def never_writes(place: Place) -> None:
    await keeps_open(place, "in", b"")


async def keeps_open(place: Place, listener: str, data: bytes) -> None:
    writers = []
    for _ in range(100):
        _, writer = await streams.open_connection("127.0.0.1", place.ports[listener])
        writer.write(data)
        writers.append(writer)
    await asyncio.sleep(1.5)
    for writer in writers:
        writer.transport.abort()


async def is_passed_on(place: Place) -> None:
    """Silent where a fallback waits for it: each has a connection to the server that others use."""
    await keeps_open(place, "third", b"no protocol at all\n")


async def is_pinned(place: Place) -> None:
    await keeps_open(place, "pinned", call("echo", "x", service=LATE))


async def resets(place: Place) -> None:
    await leaves(place, struct.pack("ii", 1, 0))


async def leaves(place: Place, linger: bytes = struct.pack("ii", 0, 0)) -> None:
    """Asks what is not answered, as much as it may, and is gone: its end is a half-close's, or a reset."""
    for _ in range(9):
        _, writer = await streams.open_connection("127.0.0.1", place.ports["in"])
        writer.write(b"".join(call("hang", n, request_id=n + 1) for n in range(1024)))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    await asyncio.sleep(1)


async def floods(place: Place) -> None:
    data = b"".join(call("echo", n, request_id=n + 1) for n in range(500))
    reader, writer = await streams.open_connection("127.0.0.1", place.ports["in"])

    async def write() -> None:
        while True:
            writer.write(data)
            await writer.drain()

    async def read() -> None:
        while await reader.read(1 << 20):
            pass

    tasks = [asyncio.ensure_future(one()) for one in (write, read)]
    await asyncio.sleep(1.5)
    for task in tasks:
        task.cancel()
    writer.transport.abort()


async def sends_garbage(place: Place) -> None:
    whole = call("echo", "x")
    pieces = (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 5000,
        whole[:10],
        whole[:-1],
        HEADER.pack(MAGIC, HESSIAN2 | 0xC0, 0, 1, 0x7FFFFFFF) + b"x" * 5000,
        HEADER.pack(MAGIC, HESSIAN2 | 0xC0, 0, 1, 0xFFFFFFFF),
        HEADER.pack(MAGIC, HESSIAN2 | 0xC0, 0, 1, 40) + b"\x05" * 40,
        whole + b"\0" * 100,
    )
    for turn in range(40):
        _, writer = await streams.open_connection("127.0.0.1", place.ports["in"])
        writer.write(pieces[turn % len(pieces)])
        await asyncio.sleep(0.03)
        writer.transport.abort()


# The worst servers: what they do to the neighbour's calls, on the connection that others share.


def server_that(behave: Callable[[Call, asyncio.StreamWriter], bool], calls: int = 60) -> Nasty:
    async def run(place: Place) -> None:
        place.shared.before = lambda call, writer: call.method == "nasty" and behave(call, writer)
        client = await place.connect()
        asked = [client.send("nasty", n) for n in range(calls)]
        await asyncio.wait(asked, timeout=3)
        await client.close()

    return run


def hang(call: Call, writer: asyncio.StreamWriter) -> bool:
    return True


def too_much(call: Call, writer: asyncio.StreamWriter) -> bool:
    writer.write(Answer(call.id, OK, bytes(3 << 20)).encode())
    return True


def too_late(call: Call, writer: asyncio.StreamWriter) -> bool:
    asyncio.get_running_loop().call_later(0.6, writer.write, Answer(call.id, OK, "late").encode())
    return True


def twice(call: Call, writer: asyncio.StreamWriter) -> bool:
    writer.write(2 * Answer(call.id, OK, "twice").encode())
    return True


def garbage(call: Call, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"garbage" * 100)
    return True


async def hangs_for_all(place: Place) -> None:
    """One method of the service that others call, too, hangs: a hundred clients ask more than it may hold."""
    writers = []
    for _ in range(100):
        _, writer = await streams.open_connection("127.0.0.1", place.ports["in"])
        writer.write(b"".join(call("hang", n, request_id=n + 1) for n in range(90)))
        writers.append(writer)
    await asyncio.sleep(2)
    for writer in writers:
        writer.transport.abort()


async def refuses(place: Place) -> None:
    """Half of the endpoints refuse."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        await with_endpoint(place, unused.getsockname()[1])


async def drops_syn(place: Place) -> None:
    """Half of the endpoints take no connection: their queue is full, so that SYNs are dropped."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        await with_endpoint(place, full.getsockname()[1])


async def reads_nothing(place: Place) -> None:
    """A server takes connections and no byte of them; its calls are as large and as many as they can be."""
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(100)
        cluster = {"name": "deaf", "endpoints": [f"127.0.0.1:{deaf.getsockname()[1]}"], "max_connections": 16}
        place.config["clusters"].append(cluster)
        place.config["routes"][0]["rules"][0] |= {"cluster": "deaf", "timeout": "4s"}
        await reload(place)
        clients = [await place.connect() for _ in range(30)]
        asked = [one.send("echo", bytes(60_000), service=FILTERED) for one in clients for _ in range(15)]
        await asyncio.wait(asked, timeout=2)
        for one in clients:
            await one.close()
        place.config["routes"][0]["rules"][0] |= {"cluster": "shared"}
        place.config["clusters"].remove(cluster)
        await reload(place)


async def with_endpoint(place: Place, port: int) -> None:
    endpoints = place.config["clusters"][0]["endpoints"]
    endpoints.append(f"127.0.0.1:{port}")
    await reload(place)
    client = await place.connect()
    for n in range(60):
        assert (await client.call("echo", n)).value == n
        await asyncio.sleep(0.03)
    await client.close()
    endpoints.pop()
    await reload(place)


# The worst filters, and a reload in the middle.


def filter_that(name: str) -> Nasty:
    return rule_that(filters=[name])


def rule_that(
    server: Callable[[Call, asyncio.StreamWriter], bool] | None = None,
    calls: int = 400,
    policies: dict | None = None,
    denied: dict | None = None,
    **says,
) -> Nasty:
    """The nasty rule says more, of another server that behaves so where one is named.

    ``policies``: what its cluster says. ``denied``: whom the listeners deny.
    """

    async def run(place: Place) -> None:
        other = await Server().start()
        other.before = server
        cluster = {"name": "nasty", "endpoints": [f"127.0.0.1:{other.port}"], "max_connections": 2}
        cluster |= policies or {}
        for listener in place.config["listeners"] if denied else ():
            listener["deny"] = [denied]
        if server:
            place.config["clusters"].append(cluster)
        place.config["routes"][0]["rules"][0] |= says
        await reload(place)
        client = await place.connect()
        asked = [client.send("echo", n, service=FILTERED) for n in range(calls)]
        await asyncio.wait(asked, timeout=2)
        await client.close()
        await other.stop()

    return run


async def reloads(place: Place) -> None:
    for n in range(20):
        place.config["clusters"][0]["connect_timeout"] = f"{500 + n}ms"
        place.config["listeners"][2]["name"] = f"third {n % 3}"
        await reload(place, 0.1)


async def reload(place: Place, wait: float = 0.3) -> None:
    place.write()
    place.process.send_signal(signal.SIGHUP)
    await asyncio.sleep(wait)


TRIES = {
    "retry": {"attempts": 3, "on": ["timeout"], "per_try": "50ms", "idempotent": True},
    "hedge": {"after": "20ms"},
}
ROWS: dict[str, Nasty] = {
    "client never reads": never_reads,
    "client never writes": never_writes,
    "client is passed on": is_passed_on,
    "client is pinned": is_pinned,
    "client leaves": leaves,
    "client resets": resets,
    "client floods": floods,
    "client sends garbage": sends_garbage,
    "server hangs": server_that(hang),
    "service that hangs, asked by a hundred clients": hangs_for_all,
    "server refuses": refuses,
    "server drops SYN": drops_syn,
    "server reads nothing": reads_nothing,
    "server answers too much": server_that(too_much, calls=2),
    "server answers too late": server_that(too_late),
    "server answers twice": server_that(twice),
    "filter hangs": filter_that("hangs"),
    "filter waits": filter_that("waits"),
    "filter raises": filter_that("raises"),
    "filter floods the log": filter_that("floods"),
    "filter hangs on answers": filter_that("answers"),
    "filter hangs over what ended": filter_that("ends"),
    "shadow hangs": rule_that(hang, mirror={"cluster": "nasty"}),
    "shadow answers too much": rule_that(too_much, mirror={"cluster": "nasty", "most": 2}, calls=4),
    "shadow sends garbage": rule_that(garbage, mirror={"cluster": "nasty"}),
    "server that is tried again and hedged hangs": rule_that(hang, cluster="nasty", **TRIES),
    "reload in the middle": reloads,
}


# What a flood meets of each policy; and a server that is nothing but trouble under all of them at once.
TROUBLE = {
    "outlier": {"errors": 1, "rate": "1%", "slower": "2x", "eject": "10ms", "most": "100%"},
    "breaker": {"connections": 2, "waiting": 1, "requests": 4, "retries": 1, "adaptive": {"least": 1}},
    "health": {"heartbeat": "10ms", "timeout": "5ms", "unhealthy": 1, "healthy": 1},
    "panic": "100%",
    "slow_start": {"time": "10ms"},
}
LIMIT = {"rate": "1/s", "burst": 1, "by": [{"argument": 0}, "source"], "keys": 1}
SET = {"method": "m" * 200, "headers": {f"h{n}": "x" * 100 for n in range(20)}, "remove": ["a", "b"]}
ROWS |= {
    "flood over its rule's limit": rule_that(calls=4000, limit=LIMIT),
    "flood that is delayed": rule_that(calls=4000, fault={"delay": {"fixed": "1s"}}),
    "flood that is aborted": rule_that(calls=4000, fault={"abort": {"status": "unavailable"}}),
    "flood that is denied": rule_that(calls=4000, denied={"service": FILTERED, "source": "127.0.0.0/8"}),
    "flood that is changed": rule_that(set=SET),
    "server hangs under every policy": rule_that(hang, cluster="nasty", policies=TROUBLE, **TRIES),
    "server sends garbage under every policy": rule_that(garbage, cluster="nasty", policies=TROUBLE, **TRIES),
    "server answers too late under every policy": rule_that(
        too_late, cluster="nasty", policies=TROUBLE, **TRIES
    ),
    "keys that all lead to one server that hangs": rule_that(
        hang, cluster="nasty", policies={"balance": "maglev", "hash": {"argument": 0}}
    ),
}


def call(method: str, argument: object, *, request_id: int = 1, service: str = SERVICE) -> bytes:
    return Call(
        service, method, "Ljava/lang/Object;", [argument], version="1.0.0", request_id=request_id
    ).encode()


# Everyone else.


async def calls(place: Place, victim: str, listener: str, service: str, stop: asyncio.Event) -> None:
    """Calls one after another, four times at once, so that one is always waiting for its answer."""
    await asyncio.gather(*(calls_in_turn(place, victim, listener, service, stop) for _ in range(4)))


async def calls_in_turn(place: Place, victim: str, listener: str, service: str, stop: asyncio.Event) -> None:
    client = await Client.connect(place.ports[listener])
    while not stop.is_set() or place.calls[victim] < 20:
        n = place.calls[victim] = place.calls[victim] + 1
        try:
            answer = await client.call("slow", 10 + n % 10, service=service)
            if (answer.status, answer.value) != (OK, 10 + n % 10):
                place.errors[victim].append(f"call {n}: {answer.status} {answer.value}")
        except (TimeoutError, asyncio.CancelledError, OSError) as error:
            place.errors[victim].append(f"call {n}: {error!r}")
            return
    await client.close()


async def watches(place: Place, stop: asyncio.Event) -> None:
    while not stop.is_set() or place.calls["admin"] < 5:
        place.calls["admin"] += 1
        for page in ("/ready", "/metrics"):
            try:
                status, _ = await place.get(page)
            except OSError as error:
                status = repr(error)
            if status != 200:
                place.errors["admin"].append(f"{page}: {status}")
        await asyncio.sleep(0.05)


async def ports_of(process: asyncio.subprocess.Process) -> dict[str, int]:
    """Where it listens, from what it prints when it has started."""
    ports = {}
    while "process" not in (line := (await process.stdout.readline()).decode()):
        assert line, "it did not start"
        if found := re.match(r"  (?:listener  (\S+) |admin     http://)[\d.]+:(\d+)", line):
            ports[found[1] or "admin"] = int(found[2])
    return ports


@contextlib.asynccontextmanager
async def place_at(folder: Path, limits: dict[str, str]):
    shared, apart = await Server().start(), await Server().start()
    shared.before = hung_or_big
    (folder / "nasty.py").write_text(FILTERS)
    config = {
        "plugins": [str(folder / "nasty.py")],
        "listeners": [
            {"name": name, "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r"}
            for name in ("in", "other", "third", "pinned")
        ],
        "routes": [
            {
                "name": "r",
                "rules": [
                    {"match": {"service": FILTERED}, "cluster": "shared", "timeout": "300ms"},
                    {
                        "match": {"service": SERVICE, "method": "nasty"},
                        "cluster": "shared",
                        "timeout": "300ms",
                    },
                    {"match": {"service": SERVICE}, "cluster": "shared"},
                    {"match": {"service": APART}, "cluster": "apart"},
                    {"match": {"service": LATE}, "cluster": "late"},
                ],
            }
        ],
        "clusters": [
            {"name": "shared", "endpoints": [f"127.0.0.1:{shared.port}"], "max_connections": 4},
            {"name": "apart", "endpoints": [f"127.0.0.1:{apart.port}"]},
            {"name": "late", "endpoints": [f"127.0.0.1:{shared.port}"], "max_connections": 4},
        ],
        "limits": {"frame": "1MiB", "buffer": "8MiB", "client_close": "2MiB", "in_flight": 16384} | limits,
        "admin": {"bind": "127.0.0.1:0"},
        "timeouts": {"request": "4s"},
        "drain": {"delay": "0s", "timeout": "1s"},
    }
    config["listeners"][2]["fallback"] = "late"
    config["listeners"][3]["mode"] = "pinned"
    path = folder / "c.yaml"
    path.write_text(json.dumps(config))
    unread = os.pipe()  # nobody reads what it logs: a pipe that is full is a neighbour, too
    process = await streams.start_process(
        sys.executable, "-c", ENTRY, "run", str(path), stdout=asyncio.subprocess.PIPE, stderr=unread[1]
    )
    try:
        ports = await asyncio.wait_for(ports_of(process), 20)
        yield Place(process, config, path, ports, shared)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), PATIENCE_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        for end in unread:
            os.close(end)
        await shared.stop()
        await apart.stop()


def hung_or_big(call: Call, writer: asyncio.StreamWriter) -> bool:
    if call.method == "big":
        writer.write(Answer(call.id, OK, bytes(call.arguments[0])).encode())
    return call.method in {"big", "hang"}


async def count(place: Place, name: str) -> float:
    _, page = await place.get("/metrics")
    lines = page.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"protokit_{name}"))


async def left(place: Place) -> str:
    """What the worker still holds of the neighbour once it is gone; empty when nothing is."""
    held = ("buffer_bytes", "requests_active", "filters_waiting", "fallback_active", "connections_active")
    seen = {}
    for _ in range(200):
        seen = {name: await count(place, name) for name in held}
        if not any(seen.values()):
            return ""
        await asyncio.sleep(0.05)
    return str(seen)


# Limits that let a row go as far as it is meant to.
LIMITS = {"client never reads": {"buffer": "4MiB"}, "server reads nothing": {"buffer": "4MiB"}}


async def live_through(name: str) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        async with place_at(Path(folder), LIMITS.get(name, {})) as place:
            stop = asyncio.Event()
            others = [
                asyncio.ensure_future(one)
                for one in (
                    calls(place, "same listener", "in", APART, stop),
                    calls(place, "same upstream connection", "in", SERVICE, stop),
                    calls(place, "another listener", "other", APART, stop),
                    watches(place, stop),
                )
            ]
            await asyncio.sleep(0.2)
            before = dict(place.calls)
            neighbour = asyncio.ensure_future(ROWS[name](place))
            await asyncio.sleep(0.5)
            others.append(asyncio.ensure_future(calls(place, "same upstream connection", "in", LATE, stop)))
            await neighbour
            stop.set()
            await asyncio.gather(*others)
            for victim, count in before.items():
                assert place.calls[victim] > count, f"{victim}: no call while the neighbour was there"
            # What hung calls wait for ends with their time; a new process would not have them.
            held = await left(place)
            place.errors["memory"] = [held] if held else []
            if place.process.returncode is not None:
                place.errors["admin"].append(f"the proxy ended: {place.process.returncode}")
            return place.errors


@functools.cache
def row(name: str) -> dict[str, list[str]]:
    return streams.run(live_through(name), 90)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [*VICTIMS, "memory"])
@pytest.mark.parametrize("name", ROWS)
def test_a_nasty_neighbour_is_nobody_elses_trouble(name, victim):
    assert row(name)[victim] == []
