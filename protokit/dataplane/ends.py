"""Telling filters what became of requests: in batches, when there is time, and never in anybody's way."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from protokit import logs, native
from protokit.dataplane.tasks import is_cancelled, left_behind
from protokit.model import End, Status

if TYPE_CHECKING:
    from protokit.dataplane.chains import Link, Switch
    from protokit.dataplane.compile import Compiled

EVERY_S = 0.05
MOST = 10_000  # ends that wait for one filter
BATCH = 1000  # ends that it is told at once
_CLOSE_S = 1.0
_log = logging.getLogger("protokit.filters")


class Ends:
    """Takes what became of requests from the workers, and tells the filters that want to know.

    Args:
        workers: to ask.
        tables: the tables in use, by token.
        repeated: for what filters do wrong.
    """

    def __init__(
        self, workers: list[native.Worker], tables: dict[int, Compiled], repeated: logs.Repeated
    ) -> None:
        self._workers = workers
        self._tables = tables
        self._repeated = repeated
        self._waiting: dict[int, deque[End]] = {}  # by the filter
        self._telling: dict[int, asyncio.Task[None]] = {}  # the same
        self._stuck: set[int] = set()  # those that go on though they were cancelled
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Look from time to time, while a table has such filters."""
        if self._timer is None and not self._closed and any(one.tells for one in self._tables.values()):
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._look)

    def _look(self) -> None:
        self._timer = None
        try:
            self.take()
        finally:
            self.start()

    def take(self) -> None:
        """Take all that wait, and tell who is not being told."""
        for worker in self._workers:
            for ended in worker.ends():
                compiled = self._tables.get(ended.token)
                if compiled is not None:
                    self._add(compiled, ended)

    def _add(self, compiled: Compiled, ended: native.Ended) -> None:
        cluster = None if ended.cluster == native.NONE else compiled.cluster_names[ended.cluster]
        end = End(
            ended.service,
            ended.method,
            rule=compiled.chain_rules[ended.chain],
            cluster=cluster or "",
            endpoint=compiled.endpoint_names.get(ended.endpoint, ""),
            status=Status(ended.status) if ended.status < len(Status) else None,
            reason=ended.reason,
            latency_ms=ended.took / 1e6,
            bytes_in=ended.asked,
            bytes_out=ended.answered,
            oneway=ended.oneway,
        )
        for link in (*compiled.chains[ended.chain], *compiled.cluster_chain(cluster)):
            if link.sees("on_end"):
                self._queue(link, end, compiled.snapshot.limits["filter_ms"])

    def _queue(self, link: Link, end: End, ms: int) -> None:
        key = id(link.filter)
        waiting = self._waiting.setdefault(key, deque())
        if len(waiting) >= MOST or key in self._stuck:
            link.switches["on_end"].dropped += 1
            return
        waiting.append(end)
        if key not in self._telling:
            self._telling[key] = asyncio.get_running_loop().create_task(self._tell(link, ms))

    async def _tell(self, link: Link, ms: int) -> None:
        key, switch = id(link.filter), link.switches["on_end"]
        waiting = self._waiting[key]
        try:
            while waiting:
                batch = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
                if not switch.lets():
                    switch.dropped += len(batch)
                else:
                    await self._call(link, switch, batch, ms)
        finally:
            switch.dropped += len(waiting)  # of a task that was cancelled
            del self._telling[key], self._waiting[key]

    def _leave(self, link: Link, switch: Switch) -> None:
        """Keep nothing for who may never take it: each reload makes another such filter."""
        waiting = self._waiting[id(link.filter)]
        switch.dropped += len(waiting)
        waiting.clear()
        self._stuck.add(id(link.filter))
        text = f"filter {link.name} goes on though its time is over (on_end): nothing more is kept for it"
        self._repeated.log(_log, logging.ERROR, (link.name, "on_end", "stuck"), text)

    async def _call(self, link: Link, switch: Switch, batch: list[End], ms: int) -> None:
        late = asyncio.get_running_loop().call_later(ms / 1000 + _CLOSE_S, self._leave, link, switch)
        try:
            async with asyncio.timeout(ms / 1000):
                await link.filter.on_end(batch)
        except GeneratorExit:  # nobody waits for this task
            raise
        # Somebody else's code: it may cancel itself, exit or interrupt, too.
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            if cancelled and self._closed:
                raise
            switch.dropped += len(batch)
            whose = f"filter {link.name} of {switch.place}"
            text = f"{whose} failed; it does not hear of {len(batch)} ends of requests"
            key = (switch.place, "on_end", logs.place(error))
            self._repeated.log(_log, logging.ERROR, key, text, error=error)
            switch.failed(f"{type(error).__name__}: {error}")
            if cancelled and is_cancelled():
                raise
        else:
            switch.worked()
        finally:
            late.cancel()
            self._stuck.discard(id(link.filter))

    async def close(self) -> None:
        """Tell what has ended by now, for a second at most."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.take()
        tasks = [*self._telling.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)
        self._closed = True
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        await left_behind(left, _CLOSE_S)
