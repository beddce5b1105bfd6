"""Loops of tests: what their peers open is closed before the loop ends.

A connection that is open, or has something to send yet, when its loop ends is found by whichever test
collects garbage later, which then fails in its place.
"""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

T = TypeVar("T")
TURNS = 5  # a connection that is accepted is made in three of them, and one that is aborted closed in one


class _Opened:
    """What was opened in a loop."""

    def __init__(self) -> None:
        self.servers: list[asyncio.Server] = []
        self.writers: list[asyncio.StreamWriter] = []
        self._look = 64  # so many writers, and those that are done are forgotten
        self.processes: list[asyncio.subprocess.Process] = []

    def keep(self, writer: asyncio.StreamWriter) -> None:
        """Hold it until it is done: one that a test drops while it is open complains."""
        if len(self.writers) >= self._look:
            self.writers = [one for one in self.writers if not _done(one)]
            self._look = max(64, 2 * len(self.writers))
        self.writers.append(writer)

    async def close(self) -> None:
        for server in self.servers:
            server.close()
        await _turns()
        for writer in self.writers:
            if not _done(writer):  # asyncio's abort fails where the rest was sent behind a close
                writer.transport.abort()
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()  # to the end of its pipes
        await _turns()


_opened: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Opened] = weakref.WeakKeyDictionary()


def _done(writer: asyncio.StreamWriter) -> bool:
    """Whether it is closed and has nothing to send."""
    return writer.is_closing() and not writer.transport.get_write_buffer_size()


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def run(
    work: Awaitable[T], seconds: float = 60, runner: Callable[[Coroutine[Any, Any, T]], T] = asyncio.run
) -> T:
    """Run it in a loop of its own, so long at most, and close what was opened by this module.

    ``runner``: runs a coroutine in a new loop.
    """

    async def limited() -> T:
        opened = _opened[asyncio.get_running_loop()] = _Opened()
        try:
            return await asyncio.wait_for(work, seconds)
        finally:
            await opened.close()

    return runner(limited())


def _here() -> _Opened:
    opened = _opened.get(asyncio.get_running_loop())
    assert opened is not None, (
        "this loop was not started by protokit.testing.streams.run, which closes what is opened"
    )
    return opened


async def open_connection(*where: Any, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As that of asyncio."""
    opened = _here()
    reader, writer = await asyncio.open_connection(*where, **options)
    opened.keep(writer)
    return reader, writer


async def start_server(serve: Serve, *where: Any, **options: Any) -> asyncio.Server:
    """As that of asyncio."""
    opened = _here()

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.keep(writer)
        await serve(reader, writer)

    server = await asyncio.start_server(kept, *where, **options)
    opened.servers.append(server)
    return server


async def start_process(*command: Any, **options: Any) -> asyncio.subprocess.Process:
    """As asyncio's ``create_subprocess_exec``; it is killed at the end if it runs still."""
    opened = _here()
    process = await asyncio.create_subprocess_exec(*command, **options)
    opened.processes.append(process)
    return process
