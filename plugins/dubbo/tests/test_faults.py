"""Every fault of a provider with every kind of client: the proxy on real sockets, peers that misbehave.

A client sends its calls, half of them in hessian2 and half in fastjson2, in one write. The provider has them
all before the client does what it does, and then the fault happens. faults() and clients() say what each
side sees; a cell is one of each. In every cell an innocent client of the same listener gets its right answers
all the time, and afterwards from the faulty provider too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from protokit_dubbo.messages import HEADER, HESSIAN2, MAGIC, OK, Answer, Call, Event, decode, split

import protokit
from protokit.observe.metrics import GAUGES
from protokit.testing import streams

FASTJSON2 = 23
EVENT = 0x20

RIGHT = "the answer"
LOST = "protokit: the connection was lost to {provider} (cluster faulty) after the request was sent"
WRONG = LOST + ": protokit closed it: what came is no frame of its protocol, wrong at byte "
LARGE = "protokit: the answer of 8388624 bytes is larger than the limit of 8388608 bytes"
LATE = "protokit: no answer from {provider} (cluster faulty) within 100 ms (rule r[0])"
NOWHERE = (
    "protokit: no endpoint can be reached (cluster faulty): "
    "there is none, or the last connections to them failed"
)


@dataclass
class Fault:
    """What a provider does with the calls, and what follows from it.

    Attributes:
        run: does it; None: nobody listens.
        status, text: of the answer to every call, in the call's own serialization. Status None: call number
            n is answered with status n.
        connection: what the provider sees of its connection afterwards: open (and used for the next call),
            eof, reset, or gone by its own doing.
        counts: the counters that moved, of all there are.
        sent: what else the provider is sent.
        timeout, frame: of a request and of a half frame.
        calls: how many.
    """

    run: Callable[[Cell, Connection], Awaitable[None]] | None
    status: int | None
    text: str
    connection: str
    counts: dict[str, int]
    sent: list[bytes] = field(default_factory=list)
    timeout: str = "20s"
    frame: str = "20s"
    calls: int = 2


@dataclass
class Behaviour:
    """What a client does once its calls are sent.

    Attributes:
        reads: whether it reads its answers.
        connection: what it sees of its connection afterwards: open (and its next call is answered), eof, or
            gone by its own doing.
        ballast: whether 7 MiB that it has not read yet stand before its answers.
    """

    reads: bool
    connection: str
    ballast: bool = False

    @property
    def leaves(self) -> bool:
        """Closing with bytes unread is a reset, which ends its calls; else it may only have half-closed."""
        return self.ballast and not self.reads


def faults() -> dict[str, Fault]:
    answered = {"responses": 2}
    closed = {"upstream_closed": 1}
    lost = {"errors_unavailable": 2} | closed
    late = {"errors_timeout": 2}
    refused = {"errors_unavailable": 2, "retries": 2, "upstream_connect_failures": 1}
    garbage = {"protocol_errors_upstream": 1}
    beats = {"heartbeats_received": 2}
    drain = {"drains_received": 1}
    acks = [Event(number, b"N", request=False, twoway=False).encode() for number in (7, 2**64 - 1)]
    http = send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    negative = send(HEADER.pack(MAGIC, HESSIAN2, OK, 1, 2**32 - 1))
    large = {"errors_internal": 2, "answers_too_large": 2}
    soon = {"timeout": "100ms"}
    return {
        "closes before the answer": Fault(close, 80, LOST, "gone", lost),
        "closes behind the header": Fault(header_then_close, 80, LOST, "gone", lost),
        "closes in the body": Fault(half_then_close, 80, LOST, "gone", lost),
        "closes after the answer": Fault(answer_then_close, OK, RIGHT, "gone", answered | closed),
        "resets": Fault(reset, 80, LOST, "gone", lost),
        "resets in the body": Fault(half_then_reset, 80, LOST, "gone", lost),
        "refuses": Fault(None, 80, NOWHERE, "none", refused),
        "hangs": Fault(nothing, 31, LATE, "open", late, **soon),
        "answers late": Fault(answer_late, 31, LATE, "open", late | {"answers_unmatched": 2}, **soon),
        "hangs in the body": Fault(
            half, 31, LATE, "eof", late | closed | {"closed_half_frame": 1}, **soon, frame="200ms"
        ),
        "answers twice": Fault(answer_twice, OK, RIGHT, "open", answered | {"answers_unmatched": 2}),
        "answers others": Fault(answer_others, 31, LATE, "open", late | {"answers_unmatched": 4}, **soon),
        "answers between heartbeats": Fault(
            answer_between_heartbeats, OK, RIGHT, "open", answered | beats, acks
        ),
        "says READONLY between answers": Fault(answer_read_only, OK, RIGHT, "eof", answered | drain | closed),
        "says READONLY and WRITEABLE": Fault(answer_writeable, OK, RIGHT, "open", answered | drain),
        "sends HTTP": Fault(http, 80, WRONG + "0", "reset", lost | garbage),
        "sends a negative length": Fault(negative, 80, WRONG + "12", "reset", lost | garbage),
        "answers over the limit": Fault(answer_too_large, 80, LARGE, "open", large),
        "sends garbage behind the answer": Fault(
            answer_then_garbage, OK, RIGHT, "reset", answered | closed | garbage
        ),
        "answers with every status": Fault(
            answer_every_status, None, RIGHT, "open", {"responses": 256}, calls=256
        ),
        "answers byte by byte": Fault(answer_in_bytes, OK, RIGHT, "open", answered),
    }


def clients() -> dict[str, Behaviour]:
    return {
        "waits": Behaviour(reads=True, connection="open"),
        "closes first": Behaviour(reads=False, connection="gone"),
        "half-closes": Behaviour(reads=True, connection="eof"),
        "reads slowly": Behaviour(reads=True, connection="open", ballast=True),
        "closes unread": Behaviour(reads=False, connection="gone", ballast=True),
    }


# What providers do.


async def nothing(cell: Cell, to: Connection) -> None:
    pass


async def close(cell: Cell, to: Connection) -> None:
    to.state = "gone"
    to.writer.close()


async def reset(cell: Cell, to: Connection) -> None:
    to.state = "gone"
    linger = struct.pack("ii", 1, 0)
    to.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    to.writer.transport.abort()


async def half(cell: Cell, to: Connection) -> None:
    to.writer.write(to.answers()[:20])


async def half_then_close(cell: Cell, to: Connection) -> None:
    await half(cell, to)
    await close(cell, to)


async def header_then_close(cell: Cell, to: Connection) -> None:
    to.writer.write(to.answers()[: HEADER.size])
    await close(cell, to)


async def half_then_reset(cell: Cell, to: Connection) -> None:
    await half(cell, to)
    await reset(cell, to)


async def answer_then_close(cell: Cell, to: Connection) -> None:
    to.writer.write(to.answers())
    await close(cell, to)


async def answer_late(cell: Cell, to: Connection) -> None:
    if not cell.behaviour.leaves:
        await until(lambda: cell.moved().get("errors_timeout"), 2)
    to.writer.write(to.answers())


async def answer_twice(cell: Cell, to: Connection) -> None:
    to.writer.write(2 * to.answers())


async def answer_others(cell: Cell, to: Connection) -> None:
    for stranger in (1000, 2**63):
        to.writer.write(to.answers(stranger))


async def answer_between_heartbeats(cell: Cell, to: Connection) -> None:
    first, last = (Event(number, b"N", request=True, twoway=True).encode() for number in (7, 2**64 - 1))
    to.writer.write(first + to.answers() + last)


def letter(text: bytes) -> bytes:
    return Event(3, b"\x01" + text, request=True, twoway=False).encode()


async def answer_read_only(cell: Cell, to: Connection) -> None:
    first, second = split(to.answers())[0]
    to.writer.write(first + letter(b"R") + second)


async def answer_writeable(cell: Cell, to: Connection) -> None:
    to.writer.write(letter(b"R") + to.answers() + letter(b"W"))


def send(data: bytes) -> Callable[[Cell, Connection], Awaitable[None]]:
    async def run(cell: Cell, to: Connection) -> None:
        to.writer.write(data)

    return run


async def answer_then_garbage(cell: Cell, to: Connection) -> None:
    to.writer.write(to.answers() + b"\xda\xbc")


async def answer_every_status(cell: Cell, to: Connection) -> None:
    to.writer.write(b"".join(reply(kind, number, status) for status, (kind, number) in enumerate(to.calls)))


async def answer_too_large(cell: Cell, to: Connection) -> None:
    for kind, number in to.calls:
        to.writer.write(HEADER.pack(MAGIC, kind, OK, number, 8 << 20) + bytes(8 << 20))


async def answer_in_bytes(cell: Cell, to: Connection) -> None:
    for byte in to.answers():
        to.writer.write(bytes([byte]))
        await asyncio.sleep(0.0002)


# Frames in two serializations.


def item(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def jsonb(text: str) -> bytes:
    data = text.encode()
    return bytes([0x49 + len(data)]) + data if len(data) < 48 else b"\x7a\x48" + item(data)


def reply(serialization: int, number: int, status: int, text: str = RIGHT) -> bytes:
    if serialization == HESSIAN2:
        return Answer(number, status, text).encode()
    body = (item(b"\xbd\x01") if status == OK else b"") + item(jsonb(text))
    return HEADER.pack(MAGIC, serialization, status, number, len(body)) + body


def request(serialization: int, number: int, service: str, method: str, value: str) -> bytes:
    if serialization == HESSIAN2:
        return Call(service, method, "Ljava/lang/String;", [value], request_id=number).encode()
    texts = ("2.0.2", service, "0.0.0", method, "Ljava/lang/String;", value)
    attachments = b"\xa6" + jsonb("path") + jsonb(service) + b"\xa5"
    body = b"".join(item(jsonb(text)) for text in texts) + item(attachments)
    return HEADER.pack(MAGIC, 0xC0 | serialization, 0, number, len(body)) + body


def kind_and_id(n: int) -> tuple[int, int]:
    """Of the client's call number n."""
    return (HESSIAN2, FASTJSON2)[n % 2], 2**64 - 1 - n


def with_id(frame: bytes, number: int) -> bytes:
    return frame[:4] + struct.pack(">Q", number) + frame[12:]


BALLAST = Answer(0, OK, bytes(7 << 20)).encode()


# The peers.


class Connection:
    """A connection to a provider. ``state``: open, eof, reset, or gone when the provider ended it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.state = "open"
        self.calls: list[tuple[int, int]] = []
        self.frames: list[bytes] = []
        self.events: list[bytes] = []
        self.served = 0

    def answers(self, offset: int = 0) -> bytes:
        return b"".join(reply(kind, number + offset, OK) for kind, number in self.calls)


class Provider:
    """Echoes; the first ``faulty`` calls are left to a fault, which runs when ``go`` is set."""

    def __init__(self, faulty: int = 0) -> None:
        self.faulty = faulty
        self.connections: list[Connection] = []
        self.arrived = asyncio.Event()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await streams.start_server(self._serve, sock=self._socket, limit=1 << 22)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self.connections:
            connection.writer.close()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()
        self._socket.close()

    def open(self) -> int:
        return sum(connection.state == "open" for connection in self.connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        self.connections.append(connection)
        rest, end = b"", "eof"
        try:
            while data := await reader.read(1 << 16):
                frames, rest = split(rest + data)
                for frame in frames:
                    self._take(connection, frame)
        except ConnectionResetError:
            end = "reset"
        if connection.state == "open":
            connection.state = end
        writer.close()

    def _take(self, connection: Connection, frame: bytes) -> None:
        _, flag, _, number, _ = HEADER.unpack_from(frame)
        if flag & EVENT:
            connection.events.append(frame)
        elif self.faulty > 0:
            self.faulty -= 1
            connection.calls.append((flag & 0x1F, number))
            connection.frames.append(frame)
            if self.faulty == 0:
                self.arrived.set()
        else:
            connection.served += 1
            call = decode(frame)
            assert isinstance(call, Call)
            if call.method == "ballast":
                connection.writer.write(with_id(BALLAST, number))
            else:
                connection.writer.write(reply(HESSIAN2, number, OK, call.arguments[0]))


class Caller:
    """A client that looks at every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.slow = False
        self._number = 2**63
        self._data = bytearray()

    @classmethod
    async def connect(cls, port: int) -> Caller:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        one.connect(("127.0.0.1", port))
        return cls(*await streams.open_connection(sock=one, limit=1 << 15))

    async def frame(self) -> bytes:
        """The next frame; empty at the end."""
        while True:
            size = HEADER.size
            if len(self._data) >= size:
                size += HEADER.unpack_from(self._data)[4]
                if len(self._data) >= size:
                    frame = bytes(self._data[:size])
                    del self._data[:size]
                    return frame
            data = await asyncio.wait_for(self.reader.read(1 << 16), 10)
            if not data:
                assert not self._data, "half a frame at the end"
                return b""
            self._data += data
            if self.slow:
                await asyncio.sleep(0.0005)

    async def call(self, service: str, value: str) -> tuple[bytes, bytes]:
        """The answer's frame, and what is right."""
        self._number += 1
        self.writer.write(request(HESSIAN2, self._number, service, "echo", value))
        return await self.frame(), reply(HESSIAN2, self._number, OK, value)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def until(probe: Callable[[], object], expected: object) -> None:
    """Wait for what must come; fail with what came instead."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 5
    while (found := probe()) != expected and loop.time() < end:
        await asyncio.sleep(0.001)
    assert found == expected


# One cell.


NOISE = {"batches", "system_calls", "connections_accepted", "upstream_connects", "requests"}
ENDED = {"responses", "errors_unavailable", "errors_timeout", "errors_internal", "answers_unmatched"}


def nobody_waits(counts: dict[str, int]) -> dict[str, int]:
    """The counters where the client had left before: its calls ended with it."""
    answers = sum(counts.get(name, 0) for name in ("responses", "answers_too_large", "answers_unmatched"))
    left = {name: count for name, count in counts.items() if name not in ENDED}
    return left | ({"answers_unmatched": answers} if answers else {})


def together(counts: dict[str, int]) -> dict[str, int]:
    """The counters, with all that calls can come to as one."""
    left = {name: count for name, count in counts.items() if name not in ENDED}
    return left | {"ended": sum(counts.get(name, 0) for name in ENDED)}


class Cell:
    """One fault, one client, one innocent."""

    def __init__(self, fault: Fault, behaviour: Behaviour, pause: str = "8MiB") -> None:
        self.fault = fault
        self.behaviour = behaviour
        self.good = Provider()
        self.bad = Provider(faulty=fault.calls if fault.run is not None else 0)
        self.right = 0  # answers that have nothing to do with the fault
        self.proxy = protokit.Proxy(
            {
                "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r"}],
                "routes": [
                    {
                        "name": "r",
                        "rules": [
                            {"match": {"service": "Faulty"}, "cluster": "faulty", "timeout": fault.timeout},
                            {"match": {"service": "Good"}, "cluster": "good"},
                        ],
                    }
                ],
                "clusters": [
                    {"name": "good", "endpoints": [self.good.address]},
                    {"name": "faulty", "endpoints": [self.bad.address]},
                ],
                "limits": {"client_pause": pause},
                "timeouts": {"frame": fault.frame},
            }
        )

    def moved(self) -> dict[str, int]:
        """The counters that are not zero, without the right answers."""
        stats = self.proxy.stats()["workers"][0]
        stats["responses"] -= self.right
        ignored = NOISE | GAUGES
        if self.behaviour.connection == "gone":
            ignored |= {"requests_client_gone"}  # whether the reset or the next answer is first
        return {
            name: count
            for name, count in stats.items()
            if count and name not in ignored and not name.startswith("bytes_")
        }

    def gauges(self) -> dict[str, int]:
        stats = self.proxy.stats()
        found = {name: stats["workers"][0][name] for name in GAUGES if name in stats["workers"][0]}
        for endpoint in (one for cluster in stats["clusters"].values() for one in cluster.values()):
            for name in ("active", "connections"):
                found[f"endpoint_{name}"] = found.get(f"endpoint_{name}", 0) + endpoint[name]
        return found

    async def idle(self, upstreams: int) -> None:
        """No request, connection or buffer is left but these upstream connections."""
        held = {"upstream_connections_active": upstreams, "endpoint_connections": upstreams, "tables_live": 1}
        # What filters and breakers have is of those that are there: none here.
        every = {
            one
            for one in GAUGES - {"ready", "reloads_last_failed"}
            if not one.startswith(("filter_", "breaker_"))
        }
        await until(self.gauges, dict.fromkeys(every, 0) | held)

    async def run(self) -> None:
        await self.good.listen()
        if self.fault.run is not None:
            await self.bad.listen()
        async with self.proxy:
            port = self.proxy.addresses["in"][1]
            innocent, client = await Caller.connect(port), await Caller.connect(port)
            if self.behaviour.ballast:
                await self.ballast(client)
            stop = asyncio.Event()
            others = asyncio.ensure_future(self._innocent(innocent, stop))
            try:
                await self._fault(client)
            finally:
                stop.set()
                await others
            await self._afterwards(innocent, client)
            for one in (innocent, client):
                await one.close()
            await self.idle(self.good.open() + self.bad.open())
            for provider in (self.good, self.bad):
                await provider.stop()
            await self.idle(0)

    async def _innocent(self, innocent: Caller, stop: asyncio.Event) -> None:
        while not stop.is_set():
            answer, right = await innocent.call("Good", f"call {self.right}")
            assert answer == right
            self.right += 1
            await asyncio.sleep(0.001)

    async def ballast(self, client: Caller) -> None:
        client.slow = True
        client.writer.write(request(HESSIAN2, 1, "Good", "ballast", ""))
        await until(lambda: self.moved().get("responses"), 1)
        self.right += 1

    async def _fault(self, client: Caller) -> None:
        calls = [request(*kind_and_id(n), "Faulty", "echo", f"value {n}") for n in range(self.fault.calls)]
        client.writer.write(b"".join(calls))
        if self.fault.run is not None:
            await asyncio.wait_for(self.bad.arrived.wait(), 5)
        elif self.behaviour.ballast:  # closing with bytes unread is a reset, which takes the calls along
            await until(self.moved, self.fault.counts)
        if self.behaviour.connection == "gone":
            await client.close()
            if self.behaviour.leaves and self.fault.run is not None:
                await until(
                    lambda: self.proxy.stats()["workers"][0]["requests_client_gone"], self.fault.calls
                )
        elif self.behaviour.connection == "eof":
            client.writer.write_eof()
        if self.fault.run is not None:
            (connection,) = self.bad.connections
            got = [with_id(frame, kind_and_id(n)[1]) for n, frame in enumerate(connection.frames)]
            assert got == calls, "the provider got other bytes"
            await self.fault.run(self, connection)
        expected = self.fault.counts
        if self.behaviour.leaves and self.fault.run is not None:
            expected = nobody_waits(expected)
        if self.behaviour.connection == "gone":  # whether its reset or the next answer is first
            await until(lambda: together(self.moved()), together(expected))
        else:
            await until(self.moved, expected)
        if self.behaviour.ballast and self.behaviour.reads:
            assert self.proxy.stats()["workers"][0]["buffer_bytes"] >= len(BALLAST), "it had been read before"
            assert await client.frame() == with_id(BALLAST, 1)
        if self.behaviour.reads:
            assert [await client.frame() for _ in calls] == self._answers()

    def _answers(self) -> list[bytes]:
        text = self.fault.text.format(provider=self.bad.address)
        status = self.fault.status
        return [
            reply(*kind_and_id(n), n if status is None else status, text) for n in range(self.fault.calls)
        ]

    async def _afterwards(self, innocent: Caller, client: Caller) -> None:
        """Nothing more reaches anybody, and the provider, whole again, serves."""
        if self.behaviour.connection == "open":
            answer, right = await client.call("Good", "next")
            assert answer == right
        elif self.behaviour.connection == "eof":
            assert await client.frame() == b""
        old = list(self.bad.connections)
        if old:
            await until(lambda: [one.state for one in old], [self.fault.connection])
            await until(lambda: old[0].events, self.fault.sent)
            answer, right = await innocent.call("Faulty", "again")
            assert answer == right
        else:
            await self.bad.listen()
            async with asyncio.timeout(1):
                answer, right = await innocent.call("Faulty", "again")
                while answer != right:  # the endpoint is left alone for 50 ms
                    assert Answer(0, 80, NOWHERE).encode()[16:] == answer[16:]
                    await asyncio.sleep(0.01)
                    answer, right = await innocent.call("Faulty", "again")
        used = [one.served for one in self.bad.connections]
        assert used == ([1] if self.fault.connection in {"open", "none"} else [0, 1])


def cells() -> list[object]:
    """Every fault with every client; a client that sends much and reads nothing takes seconds, each time."""
    slow = {name for number, name in enumerate(faults()) if number % 6}
    return [
        pytest.param(
            fault, client, marks=[pytest.mark.slow] if client == "closes unread" and fault in slow else []
        )
        for fault in faults()
        for client in clients()
    ]


@pytest.mark.parametrize(("fault", "client"), cells())
def test_fault(fault: str, client: str) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    streams.run(Cell(faults()[fault], clients()[client]).run(), 20)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_a_client_that_half_closes_while_it_is_not_read() -> None:
    async def run() -> None:
        cell = Cell(Fault(nothing, OK, RIGHT, "open", {}), clients()["half-closes"], pause="256KiB")
        await cell.good.listen()
        async with cell.proxy:
            client = await Caller.connect(cell.proxy.addresses["in"][1])
            await cell.ballast(client)
            client.writer.write(request(HESSIAN2, 2, "Good", "echo", "behind"))
            client.writer.write_eof()
            await until(cell.moved, {"clients_paused": 1})
            assert await client.frame() == with_id(BALLAST, 1)
            assert await client.frame() == reply(HESSIAN2, 2, OK, "behind")
            assert await client.frame() == b""
            await client.close()
            await cell.idle(1)
            for provider in (cell.good, cell.bad):
                await provider.stop()

    streams.run(run(), 20)
