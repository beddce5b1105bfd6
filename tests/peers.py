"""Dubbo peers on real sockets, in this process, that can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from protokit_dubbo.messages import OK, Answer, Call, Event, decode, split

from protokit.testing import streams

SERVICE = "org.protokit.test.Echo"


class Server:
    """Answers echo, slow (ms), held (once it may ``go``), name; ``before`` may take a call over.

    That gets (call, writer).
    """

    def __init__(self, name: str = "one") -> None:
        self.name = name
        self.port = 0
        self.calls: list[Call] = []
        self.events: list[Event] = []
        self.writers: set[asyncio.StreamWriter] = set()
        self.before: Callable | None = None
        self.go = asyncio.Event()
        self.on_answer: Callable[[Answer], None] = lambda answer: None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task] = set()

    async def start(self, port: int = 0) -> Server:
        self._server = await streams.start_server(self._serve, "127.0.0.1", port, limit=1 << 24)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.sleep(0)

    async def _serve(self, reader, writer) -> None:
        self.writers.add(writer)
        rest = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                frames, rest = split(rest + data)
                for frame in frames:
                    task = asyncio.ensure_future(self._handle(decode(frame), writer))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        self.writers.discard(writer)
        writer.close()

    async def _handle(self, message, writer) -> None:
        if isinstance(message, Event):
            self.events.append(message)
            if message.request and message.twoway:
                writer.write(Event(message.id, message.body, request=False, twoway=False).encode())
            return
        if isinstance(message, Answer):
            self.on_answer(message)
            return
        self.calls.append(message)
        if self.before is not None and self.before(message, writer):
            return
        if message.method == "slow":
            await asyncio.sleep(message.arguments[0] / 1000)
        if message.method == "held":
            await self.go.wait()
        value = self.name if message.method == "name" else message.arguments[0]
        if message.twoway:
            writer.write(Answer(message.id, OK, value).encode())


class Client:
    """One connection; ``call`` waits for the answer of that id."""

    def __init__(self, reader, writer) -> None:
        self.reader = reader
        self.writer = writer
        self.events: list[Event] = []
        self.closed = asyncio.Event()
        self.on_call: Callable[[Call], Answer] = lambda call: Answer(call.id, 70, "not called")
        self._next = 1
        self._waiting: dict[int, asyncio.Future] = {}
        self._task = asyncio.ensure_future(self._read())

    @classmethod
    async def connect(cls, port: int, source: str | None = None) -> Client:
        here = None if source is None else (source, 0)
        return cls(*await streams.open_connection("127.0.0.1", port, limit=1 << 24, local_addr=here))

    async def _read(self) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := await self.reader.read(1 << 20):
                frames, rest = split(rest + data)
                for frame in frames:
                    message = decode(frame)
                    if isinstance(message, Event):
                        self.events.append(message)
                    elif isinstance(message, Call):
                        self.writer.write(self.on_call(message).encode())
                    else:
                        self._waiting.pop(message.id).set_result(message)
        self.closed.set()
        for future in self._waiting.values():
            future.cancel()

    def send(self, method: str, *arguments, service: str = SERVICE, version: str = "1.0.0", **attachments):
        self._next += 1
        descriptor = "Ljava/lang/Object;" * len(arguments)
        call = Call(
            service,
            method,
            descriptor,
            list(arguments),
            version=version,
            attachments=attachments,
            request_id=self._next,
        )
        future = asyncio.get_running_loop().create_future()
        self._waiting[self._next] = future
        self.writer.write(call.encode())
        return future

    async def call(self, method: str, *arguments, **options) -> Answer:
        return await asyncio.wait_for(self.send(method, *arguments, **options), 10)

    async def close(self) -> None:
        self.writer.close()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await self._task


def configuration(*servers: Server, **more) -> dict:
    """One listener, everything of SERVICE to all servers."""
    return {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r"}],
        "routes": [{"name": "r", "rules": [{"match": {"service": SERVICE}, "cluster": "c"}]}],
        "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{one.port}" for one in servers]}],
        "drain": {"delay": "0s", "timeout": "2s"},
        **more,
    }
