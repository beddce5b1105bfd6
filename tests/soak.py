"""Soak: mixed Dubbo traffic with faults through ``protokit run``; nothing may be mixed up, lost or kept.

    python tests/soak.py [--seconds 600] [--workers 2] [--seed N] [--plugin FILE]

Clients of every manner (steady, short, one-way, heartbeats, slow, half-closing, closing, resetting, half
frames, garbage) call a steady service, which must always answer rightly, and a faulty one, whose providers
hang, answer late, twice or with another id, send half frames and garbage, crash and come back; that one may
also answer with the proxy's timeout or unavailable. It ends with exit code 1 and the reason when

- an answer belongs to no request, or to another, or does not come;
- resident memory grows: at the end, when all is at rest, it is more than 1 MiB above that at half time, at
  rest too. Before the time runs, there are turns of every manner, and enough slow clients at once to fill
  what the workers keep for reuse (256 chunks of 16 KiB each, native/src/core/buffer.c);
- once all is idle a request, a connection or a buffer is left, or a descriptor more than at the start;
- the proxy dies, or does not end when told to;
- one of the manners did not come up.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import json
import logging
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

from protokit_dubbo.messages import HEADER, MAGIC, OK, Answer, Call, Event, decode, split

from protokit.errors import RemoteProtocolError

STEADY, FAULTY = "org.protokit.soak.Steady", "org.protokit.soak.Faulty"
TIMEOUT, BAD_REQUEST, UNAVAILABLE = 31, 40, 80
FAULTY_TIMEOUT_MS = 200
PATIENCE_S = 10
GROWTH_BYTES = 1 << 20
WARM_UP_S, FILLING, ROUNDS = 4, 8, 4
# The allocator gives back what is free: what is resident is what is held.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
ANSWERS = ("right", "timeout", "unavailable")
PROVIDERS_MANNERS = {  # of ten faulty answers: how many, about
    "never-answered": 3,
    "late": 2,
    "twice": 2,
    "another-id": 2,
    "half-answer": 0.3,
    "garbage-answer": 0.3,
    "read-only": 0.3,
}


Turn = Callable[[], Awaitable[None]]


class SoakError(Exception):
    """What must not happen."""


class Proxy:
    """``protokit run`` in a process of its own."""

    def __init__(self, providers: list[str], workers: int, folder: Path, plugin: Path | None) -> None:
        steady, faulty = providers[:2], providers[2:]
        rules = [
            {"match": {"service": STEADY}, "cluster": "steady"},
            {"match": {"service": FAULTY}, "cluster": "faulty", "timeout": f"{FAULTY_TIMEOUT_MS}ms"},
        ]
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r"}],
            "routes": [{"name": "r", "rules": rules}],
            "clusters": [
                {"name": "steady", "endpoints": steady},
                {"name": "faulty", "endpoints": faulty},
            ],
            "timeouts": {"frame": "3s"},
            "drain": {"delay": "0s", "timeout": "2s"},
            "admin": {"bind": "127.0.0.1:0"},
            "workers": workers,
        }
        if plugin is not None:
            config["plugins"] = [str(plugin.resolve())]
            config["listeners"][0]["filters"] = ["soak"]
        path = folder / "soak.yaml"
        path.write_text(json.dumps(config))
        self.log = folder / "proxy.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "protokit", "run", "--log-level", "error", str(path)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | MALLOC,
            )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        for line in self._process.stdout:
            words = line.split()
            if " in 127.0.0.1:" in line:
                self.port = int(line.split("127.0.0.1:")[1].split()[0])
            elif words and words[0] == "admin":
                self.admin = words[1]
            elif words and words[0] == "process":
                return
        raise SoakError(f"the proxy did not start: {self.log.read_text()}")

    def alive(self) -> bool:
        return self._process.poll() is None

    def resident(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def held(self) -> dict[str, int]:
        """What a proxy that is idle does not have."""
        with urllib.request.urlopen(f"{self.admin}stats", timeout=5) as page:
            stats = json.load(page)
        names = ("requests_active", "connections_active", "upstream_connections_active", "buffer_bytes")
        held = {name: sum(worker[name] for worker in stats["workers"]) for name in names}
        return {name: count for name, count in held.items() if count != 0}

    def end(self) -> None:
        self._process.terminate()
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            raise SoakError("the proxy did not end within 10 s of SIGTERM") from None
        errors = self.log.read_text()
        if code != 0 or "Traceback" in errors:
            raise SoakError(f"the proxy ended with exit code {code}: {errors[-2000:]}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def reset(writer: asyncio.StreamWriter) -> None:
    one = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Provider:
    """Echoes the first argument. A faulty one does so most of the time."""

    def __init__(self, soak: Soak, *, faulty: bool) -> None:
        self.port = 0
        self._counts = soak.counts
        self._chance = soak.chance
        self._wrong = soak.wrong
        self._faulty = faulty
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        rest = b""
        try:
            while data := await reader.read(1 << 16):
                frames, rest = split(rest + data)
                for frame in frames:
                    self._handle(decode(frame), writer)
        except RemoteProtocolError as error:
            self._wrong.append(str(error))
        except (OSError, asyncio.CancelledError):
            pass  # it was reset, or all is over
        self._writers.discard(writer)
        writer.close()

    def _handle(self, message: Call | Answer | Event, writer: asyncio.StreamWriter) -> None:
        if isinstance(message, Event) and message.request and message.twoway:
            writer.write(Event(message.id, message.body, request=False, twoway=False).encode())
        if not isinstance(message, Call):
            return
        if not message.twoway:
            self._counts["oneway"] += 1
            return
        data = Answer(message.id, OK, message.arguments[0]).encode()
        delay = 0.0
        if self._faulty:
            data, delay = self._spoil(message.id, data, writer)
        elif self._chance.random() < 0.05:
            delay = self._chance.uniform(0, 0.03)
        if delay == 0:
            writer.write(data)
        else:
            task = asyncio.ensure_future(self._later(delay, data, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _spoil(self, number: int, data: bytes, writer: asyncio.StreamWriter) -> tuple[bytes, float]:
        """What is written instead of the answer, and when."""
        if self._chance.random() > 0.1:
            return data, 0.0
        (manner,) = self._chance.choices(*zip(*PROVIDERS_MANNERS.items(), strict=True))
        self._counts[manner] += 1
        if manner == "half-answer":
            writer.write(data[: len(data) // 2])
            reset(writer)
        return {
            "never-answered": (b"", 0.0),
            "late": (data, 1.5 * FAULTY_TIMEOUT_MS / 1000),
            "twice": (2 * data, 0.0),
            "another-id": (Answer(number ^ 1 << 40, OK, b"another's").encode() + data, 0.0),
            "half-answer": (b"", 0.0),
            "garbage-answer": (data + self._chance.randbytes(20), 0.0),
            "read-only": (data + Event(0, b"\x01R", request=True, twoway=False).encode(), 0.0),
        }[manner]

    @staticmethod
    async def _later(delay: float, data: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(delay)
        if not writer.is_closing():
            writer.write(data)


class Client:
    """One connection. Its answers must be those to its calls."""

    numbers = itertools.count(1)

    def __init__(self, soak: Soak, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._soak = soak
        self._name = next(self.numbers)
        self._base = soak.chance.getrandbits(64)
        self._sent = 0
        self._calls: dict[int, tuple[str, bytes]] = {}
        self._rest = b""

    def write(self, service: str, size: int = 16, *, twoway: bool = True) -> int:
        """Send one call; its id."""
        self._sent += 1
        number = (self._base + self._sent) % 2**64
        value = b"%d:%d:" % (self._name, self._sent) + bytes(size)
        if twoway:
            self._calls[number] = (service, value)
        call = Call(service, "echo", "[B", [value], request_id=number, twoway=twoway)
        self.writer.write(call.encode())
        return number

    async def read(self, *, limit: int = 1 << 16) -> list[Event]:
        """Wait for bytes, check the answers in them; events that came. ConnectionError at the end."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                data = await self.reader.read(limit)
        except TimeoutError:
            raise SoakError(f"{len(self._calls)} calls have no answer within {PATIENCE_S} s") from None
        if not data:
            raise ConnectionError(f"closed with {len(self._calls)} calls under way")
        frames, self._rest = split(self._rest + data)
        messages = [decode(frame) for frame in frames]
        for message in messages:
            if isinstance(message, Answer):
                self._check(message)
        return [message for message in messages if isinstance(message, Event)]

    async def answers(self, *, limit: int = 1 << 16, pause: float = 0) -> None:
        """All that are due."""
        while self._calls:
            await self.read(limit=limit)
            await asyncio.sleep(pause)

    async def end(self) -> None:
        """The proxy closes, and sends nothing before it does."""
        if self._calls:
            raise SoakError(f"closed with {len(self._calls)} calls under way")
        try:
            async with asyncio.timeout(PATIENCE_S):
                data = await self.reader.read(1)
        except TimeoutError:
            raise SoakError(f"not closed within {PATIENCE_S} s") from None
        if data or self._rest:
            raise SoakError(f"got {self._rest + data!r}, expected the end")

    def _check(self, answer: Answer) -> None:
        if answer.id not in self._calls:
            raise SoakError(f"an answer to nobody: id {answer.id:#x}, status {answer.status}")
        service, value = self._calls.pop(answer.id)
        if answer.status == OK:
            self._soak.counts["right"] += 1
            if answer.value != value:
                raise SoakError(f"another's answer: {answer.value[:40]!r}, expected {value[:40]!r}")
        elif service == FAULTY and answer.status in {TIMEOUT, UNAVAILABLE}:
            self._soak.counts["timeout" if answer.status == TIMEOUT else "unavailable"] += 1
        else:
            raise SoakError(f"{service} was answered with status {answer.status}: {answer.value}")

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(PATIENCE_S):
                await self.writer.wait_closed()


class Soak:
    """All of it. ``manners`` of clients are methods that do one turn each."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []  # what providers could not read
        self.stall = 0.0  # of this process, at most: what it says of the proxy is no better than that
        self._proxy: Proxy
        self._end = 0.0

    async def connect(self, buffer: int = 0) -> Client:
        one = socket.socket()
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", self._proxy.port))
        return Client(self, *await asyncio.open_connection(sock=one))

    # What clients do, a turn each.

    async def steady(self) -> None:
        async with await self.connect() as client:
            for _ in range(100):
                for _ in range(self.chance.randint(1, 16)):
                    client.write(STEADY, self.chance.choice((16, 16, 200, 4000, 70000)))
                await client.answers()

    async def faulty(self) -> None:
        async with await self.connect() as client:
            for _ in range(30):
                for _ in range(self.chance.randint(1, 16)):
                    client.write(self.chance.choice((FAULTY, FAULTY, STEADY)), self.chance.choice((16, 3000)))
                await client.answers()

    async def short(self) -> None:
        async with await self.connect() as client:
            client.write(STEADY)
            await client.answers()

    async def oneway(self) -> None:
        async with await self.connect() as client:
            for _ in range(10):
                client.write(STEADY, twoway=False)
            client.write(STEADY)
            await client.answers()

    async def heartbeats(self) -> None:
        async with await self.connect() as client:
            client.writer.write(Event(5, b"N", request=True, twoway=False).encode())
            client.write(STEADY)
            client.writer.write(Event(6, b"N", request=True, twoway=True).encode())
            client.write(STEADY)
            events: list[Event] = []
            while not events:
                events += await client.read()
            await client.answers()
            if [(event.id, event.request, event.body) for event in events] != [(6, False, b"N")]:
                raise SoakError(f"heartbeat answered with {[event.encode() for event in events]}")

    async def slow(self) -> None:
        async with await self.connect(buffer=1 << 14) as client:
            for _ in range(4):
                client.write(STEADY, 1 << 20)
            await asyncio.sleep(0.2)
            await client.answers(limit=1 << 15, pause=0.002)

    async def half_closes(self) -> None:
        async with await self.connect() as client:
            for size in (100_000, 16, 16):
                client.write(self.chance.choice((FAULTY, STEADY)), size)
            client.writer.write_eof()
            await client.answers()
            await client.end()

    async def closes(self) -> None:
        async with await self.connect() as client:
            for service in (FAULTY, STEADY):
                client.write(service)

    async def resets(self) -> None:
        async with await self.connect(buffer=1 << 14) as client:
            for _ in range(3):
                client.write(FAULTY)
                client.write(STEADY, self.chance.choice((16, 1 << 20)))
            await asyncio.sleep(self.chance.uniform(0, 0.05))
            reset(client.writer)

    async def half_frames(self) -> None:
        async with await self.connect() as client:
            client.write(STEADY)
            frame = Call(STEADY, "echo", "[B", [bytes(200)]).encode()
            client.writer.write(frame[: self.chance.randint(1, len(frame) - 1)])
            await client.answers()
            manner = self.chance.randrange(3)
            if manner == 0:
                await client.end()  # its time is up
            elif manner == 1:
                reset(client.writer)

    async def garbage(self) -> None:
        async with await self.connect() as client:
            junk = self.chance.choice((b"GET / HTTP/1.1\r\n\r\n", b"\xda\xba" + bytes(30), b"\0"))
            client.writer.write(junk)
            await client.end()

    async def garbage_behind(self) -> None:
        async with await self.connect() as client:
            client.write(STEADY)
            client.writer.write(b"ls\r\n")
            await client.answers()
            await client.end()

    async def too_large(self) -> None:
        async with await self.connect() as client:
            client.writer.write(HEADER.pack(MAGIC, 0xC2, 0, 9, 64 << 20))
            async with asyncio.timeout(PATIENCE_S):
                answer = decode(await client.reader.read(1 << 16))
            if not isinstance(answer, Answer) or (answer.id, answer.status) != (9, BAD_REQUEST):
                raise SoakError(f"a frame over the limit was answered with {answer!r}")
            await client.end()

    async def crash(self, provider: Provider) -> None:
        await asyncio.sleep(self.chance.uniform(0.5, 1.5))
        provider.stop()
        await asyncio.sleep(self.chance.uniform(0.1, 0.5))
        await self.bring_back(provider)

    @staticmethod
    async def bring_back(provider: Provider) -> None:
        for _ in range(100):
            with contextlib.suppress(OSError):  # some client's socket may have got that port meanwhile
                await provider.start()
                return
            await asyncio.sleep(0.3)
        raise SoakError(f"port {provider.port} is not free again")

    # The run.

    async def _turns(self, name: str, turn: Turn) -> None:
        while time.monotonic() < self._end:
            try:
                await turn()
            except (SoakError, OSError) as error:
                self._end = 0.0  # for the others too
                raise SoakError(f"client that {name}: {error}") from error
            self.counts[name] += name != "oneway"  # those are counted where they arrive
            await asyncio.sleep(0.001)

    async def _watch(self, seconds: float) -> None:
        begin = time.monotonic()
        said = 0.0
        while (now := time.monotonic()) < self._end:
            if not self._proxy.alive():
                raise SoakError(f"the proxy died: {self._proxy.log.read_text()[-2000:]}")
            if self.wrong:
                raise SoakError(f"a provider got wrong bytes: {self.wrong[0]}")
            if now - said > max(1, seconds / 20):
                said = now
                answers = "  ".join(f"{self.counts[name]:7,} {name}" for name in ANSWERS)
                resident = f"{self._proxy.resident() / 2**20:6.1f} MiB"
                memory = f"{resident}  {self._proxy.descriptors():4} descriptors"
                print(f"{now - begin:5.0f} s  {answers}  {memory}", flush=True)
            await asyncio.sleep(0.1)
            self.stall = max(self.stall, time.monotonic() - now - 0.1)

    async def _least_descriptors(self) -> int:
        """Of a second: the connection that has just asked for something may still be closing."""
        found = []
        for _ in range(10):
            found.append(self._proxy.descriptors())
            await asyncio.sleep(0.1)
        return min(found)

    async def _idle(self, descriptors: int) -> None:
        """Nothing is left."""
        loop = asyncio.get_running_loop()
        for _ in range(100):
            held = await loop.run_in_executor(None, self._proxy.held)
            found = self._proxy.descriptors()
            if not held and found == descriptors:
                return
            await asyncio.sleep(0.1)
        raise SoakError(
            f"10 s after the traffic there are {held} and {found} descriptors, {descriptors} at first"
        )

    async def _traffic(self, seconds: float, clients: dict[str, tuple[int, Turn]]) -> None:
        self._end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(seconds))
            for name, (count, turn) in clients.items():
                for _ in range(count):
                    group.create_task(self._turns(name, turn))

    async def _at_rest(self, providers: list[Provider], descriptors: int) -> int:
        """Resident memory once nothing is under way."""
        for provider in providers:
            provider.stop()
        await self._idle(descriptors)
        return self._proxy.resident()

    async def run(self, seconds: float, workers: int, folder: Path, plugin: Path | None) -> None:
        providers = [Provider(self, faulty=n >= 2) for n in range(4)]
        for provider in providers:
            await provider.start()
        addresses = [f"127.0.0.1:{one.port}" for one in providers]
        self._proxy = Proxy(addresses, workers, folder, plugin)
        try:
            print(f"proxy pid {self._proxy.pid}", flush=True)
            self._proxy.held()
            descriptors, first = await self._least_descriptors(), self._proxy.resident()
            clients: dict[str, tuple[int, Turn]] = {
                "steady": (6, self.steady),
                "faulty": (6, self.faulty),
                "short": (2, self.short),
                "oneway": (1, self.oneway),
                "heartbeats": (2, self.heartbeats),
                "slow": (3, self.slow),
                "half-closes": (2, self.half_closes),
                "closes": (2, self.closes),
                "resets": (3, self.resets),
                "half-frames": (3, self.half_frames),
                "garbage": (1, self.garbage),
                "garbage-behind": (1, self.garbage_behind),
                "too-large": (1, self.too_large),
                "crash": (1, lambda: self.crash(providers[3])),
            }
            await self._traffic(WARM_UP_S, clients | {"slow": (FILLING, self.slow)})
            resident = [first, await self._at_rest(providers, descriptors)]
            for _ in range(ROUNDS):
                for provider in providers:
                    await self.bring_back(provider)
                await self._traffic(seconds / ROUNDS, clients)
                resident.append(await self._at_rest(providers, descriptors))
            shown = ", ".join(f"{size / 2**20:.1f}" for size in resident)
            print(f"resident at rest: {shown} MiB (at the start, after the warm-up, after each round)")
            before, after = resident[-1 - ROUNDS // 2], resident[-1]
            if after > before + GROWTH_BYTES:
                raise SoakError(f"resident memory grew from {before:,} to {after:,} bytes")
            manners = [*ANSWERS, *clients, *PROVIDERS_MANNERS]
            print("  ".join(f"{name} {self.counts[name]:,}" for name in manners))
            missing = [name for name in manners if self.counts[name] == 0]
            if missing:
                raise SoakError(f"did not come up: {', '.join(missing)}")
            self._proxy.end()
        finally:
            for provider in providers:
                provider.stop()
            self._proxy.kill()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--plugin", type=Path, help="its filter 'soak' sees every request")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the proxy is stopped then too
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of writes to what was reset
    print(f"seed {options.seed}")
    soak = Soak(options.seed)
    reasons: list[BaseException] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(soak.run(options.seconds, options.workers, Path(folder), options.plugin))
    except* SoakError as errors:
        reasons += errors.exceptions
    print(f"the peers stalled for {soak.stall * 1000:.0f} ms at most")
    for reason in dict.fromkeys(str(reason) for reason in reasons):
        print(f"soak: FAILED: {reason}", file=sys.stderr)
    if not reasons:
        print("soak: all is well")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
