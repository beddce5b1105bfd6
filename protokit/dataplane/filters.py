"""Running Python filters: a request waits in the engine while its chain decides on the main thread."""

from __future__ import annotations

import asyncio
import collections
import logging
from typing import TYPE_CHECKING

from protokit import logs, native
from protokit.errors import ProtocolError
from protokit.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from protokit.dataplane.compile import Compiled
    from protokit.model import Request
    from protokit.wire.codec import Wire

FIELDS = {
    native.EDIT_SERVICE: "service",
    native.EDIT_METHOD: "method",
    native.EDIT_VERSION: "version",
    native.EDIT_GROUP: "group",
}
_CLOSE_S = 1.0
_log = logging.getLogger("protokit.filters")


class FilterRunner:
    """Runs chains and sends the verdicts down.

    Args:
        tables: the tables in use, by token.
        wires: formats by their codec's address, of tables and connections: these keep their codec.
        repeated: for what filters do wrong: clients decide how often.
    """

    def __init__(self, tables: dict[int, Compiled], wires: dict[int, Wire], repeated: logs.Repeated) -> None:
        self._tables = tables
        self._wires = wires
        self._repeated = repeated
        self._tasks: set[asyncio.Task[None]] = set()
        self._thinking: dict[tuple[native.Worker, int], asyncio.Task[None]] = {}  # by worker and request
        self._stuck: collections.Counter[tuple[int, int]] = collections.Counter()  # by table and chain

    def start(self, worker: native.Worker, op: native.Op) -> None:
        """Begin to decide on a request that waits. Its bytes are read here, and not again."""
        compiled, chain = self._tables[op.token], (op.token, op.arg)
        if self._stuck[chain] >= compiled.snapshot.limits["filters"]:
            text = "protokit: overloaded: too many calls of this rule's filters were cancelled and do not end"
            self._spawn(_send(lambda: worker.decide(op.handle, *_reply(Status.OVERLOADED, text))))
            return
        work = self._decide(worker, op, compiled, self._wires[op.codec], native.held_bytes(op))
        self._thinking[worker, op.handle] = self._spawn(work)

    def cancel(self, worker: native.Worker, op: native.Op) -> None:
        """Its request has ended: what its filters still say reaches nobody."""
        task = self._thinking.pop((worker, op.handle), None)
        if task is not None:
            chain = (op.token, op.arg)
            self._stuck[chain] += 1
            task.add_done_callback(lambda _: self._unstuck(chain))
            task.cancel()
        # The engine frees the bytes; a request that has ended takes no verdict.
        self._spawn(_send(lambda: worker.decide(op.handle, native.DECIDE_CONTINUE)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _unstuck(self, chain: tuple[int, int]) -> None:
        self._stuck[chain] -= 1
        if self._stuck[chain] == 0:
            del self._stuck[chain]

    async def _decide(
        self, worker: native.Worker, op: native.Op, compiled: Compiled, wire: Wire, frame: bytes
    ) -> None:
        key = (worker, op.handle)
        verdict = await self._verdict(key, op, compiled, wire, frame)
        if self._thinking.pop(key, None) is not None:
            await _send(lambda: worker.decide(op.handle, *verdict))

    async def _verdict(
        self, key: tuple[native.Worker, int], op: native.Op, compiled: Compiled, wire: Wire, frame: bytes
    ) -> tuple[int, int, int, bytes]:
        try:
            frame = wire.ask.from_engine(frame)
            request = wire.ask.request(frame, compiled.snapshot.max_headers, lazy=True)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a codec in Python may raise anything
            if not isinstance(error, ProtocolError):
                self._failed("a request could not be read; it is answered BAD_REQUEST", error)
            return _unreadable(error)
        original = request.copy()
        for one in compiled.chains[op.arg]:
            try:
                response = await one.request(request)
            # Somebody else's code; logged with its trace. It may cancel itself or call sys.exit, too.
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and key not in self._thinking:
                    raise
                if error is request.unreadable:
                    return _unreadable(error)
                name = type(one).__name__
                self._failed(f"filter {name} failed; the request is answered INTERNAL", error)
                return _reply(Status.INTERNAL, f"protokit: the filter {name} failed")
            if response is not None:
                return _reply(response.status, response.message)
        try:
            frame = _changed(wire, original, request)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # as above
            text = f"a filter's change was not made: {error}"
            self._repeated.log(_log, logging.ERROR, logs.place(error), text)
            return _reply(Status.INTERNAL, f"protokit: a filter's change was not made: {error}")
        if request.cluster is None:
            return (native.DECIDE_CONTINUE, 0, 0, frame)
        if request.cluster not in compiled.clusters:
            text = f"a filter chose cluster {request.cluster!r}, which is not configured"
            self._repeated.log(_log, logging.ERROR, "unknown cluster", text)
            return _reply(Status.INTERNAL, f"protokit: a filter chose the unknown cluster {request.cluster}")
        return (native.DECIDE_CLUSTER, compiled.clusters[request.cluster], 0, frame)

    def _failed(self, text: str, error: BaseException) -> None:
        self._repeated.log(_log, logging.ERROR, (text, logs.place(error)), text, error=error)

    async def close(self) -> None:
        """Cancel what still thinks. What ignores that is left behind after a second."""
        self._thinking.clear()
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            return
        _, stubborn = await asyncio.wait(self._tasks, timeout=_CLOSE_S)
        for task in stubborn:
            asyncio._unregister_task(task)  # noqa: SLF001  # the runner would wait for it
        if stubborn:
            _log.warning("%d calls of filters do not end although they were cancelled", len(stubborn))


def _changed(wire: Wire, before: Request, after: Request) -> bytes:
    """The frame that says what ``after`` says; empty when nothing was changed."""
    edits: list[tuple[int, str, str | None]] = [
        (what, "", getattr(after, field))
        for what, field in FIELDS.items()
        if getattr(after, field) != getattr(before, field)
    ]
    if after.headers_read:
        edits += [(native.EDIT_HEADER, key, None) for key in before.headers if key not in after.headers]
        edits += [
            (native.EDIT_HEADER, key, value)
            for key, value in after.headers.items()
            if before.headers.get(key) != value
        ]
    return wire.ask.for_engine(wire.ask.edit(before.frame, edits)) if edits else b""


def _unreadable(error: BaseException) -> tuple[int, int, int, bytes]:
    return _reply(Status.BAD_REQUEST, f"protokit: the request cannot be read: {error}")


def _reply(status: Status, text: str) -> tuple[int, int, int, bytes]:
    return (native.DECIDE_REPLY, 0, int(status), text.encode()[:512])


async def _send(send: Callable[[], bool]) -> None:
    while not send():
        await asyncio.sleep(0.001)
