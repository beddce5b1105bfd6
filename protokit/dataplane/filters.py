"""Running Python filters: a request waits in the engine while its chain decides on the main thread."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from protokit import logs, native
from protokit.errors import ProtocolError
from protokit.model import Status
from protokit.wire import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from protokit.dataplane.compile import Compiled
    from protokit.model import Request
    from protokit.wire.ask import Wire

_FIELDS = {
    native.EDIT_SERVICE: "service",
    native.EDIT_METHOD: "method",
    native.EDIT_VERSION: "version",
    native.EDIT_GROUP: "group",
}
_log = logging.getLogger("protokit.filters")


class FilterRunner:
    """Runs chains and sends the verdicts down.

    Args:
        tables: the tables in use, by token.
        wires: formats by their codec's address, of every table there ever was: a connection keeps its codec.
        repeated: for what filters do wrong: clients decide how often.
    """

    def __init__(self, tables: dict[int, Compiled], wires: dict[int, Wire], repeated: logs.Repeated) -> None:
        self._tables = tables
        self._wires = wires
        self._repeated = repeated
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, worker: native.Worker, op: native.Op) -> None:
        """Begin to decide on a request that waits. Its bytes stay where they are until then."""
        task = asyncio.get_running_loop().create_task(self._decide(worker, op))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _decide(self, worker: native.Worker, op: native.Op) -> None:
        verdict = await self._verdict(op)
        await _send(lambda: worker.decide(op.handle, *verdict))

    async def _verdict(self, op: native.Op) -> tuple[int, int, int, bytes]:
        compiled = self._tables[op.token]
        wire = self._wires[op.codec]
        try:
            frame = ask.from_engine(wire, native.held_bytes(op))
            request = ask.request(wire, frame, compiled.snapshot.max_headers)
        except Exception as error:  # noqa: BLE001  # a codec in Python may raise anything
            if not isinstance(error, ProtocolError):
                self._failed("a request could not be read; it is answered BAD_REQUEST", error)
            return _reply(Status.BAD_REQUEST, f"protokit: the request cannot be read: {error}")
        original = request.copy()
        for one in compiled.chains[op.arg]:
            try:
                response = await one.request(request)
            except Exception as error:  # noqa: BLE001  # somebody else's code; logged with its trace
                name = type(one).__name__
                self._failed(f"filter {name} failed; the request is answered INTERNAL", error)
                return _reply(Status.INTERNAL, f"protokit: the filter {name} failed")
            if response is not None:
                return _reply(response.status, response.message)
        try:
            frame = _changed(wire, original, request)
        except Exception as error:  # noqa: BLE001  # as above
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

    def _failed(self, text: str, error: Exception) -> None:
        self._repeated.log(_log, logging.ERROR, (text, logs.place(error)), text, error=error)

    async def close(self) -> None:
        """Cancel what still thinks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _changed(wire: Wire, before: Request, after: Request) -> bytes:
    """The frame that says what ``after`` says; empty when nothing was changed."""
    edits: list[tuple[int, str, str | None]] = [
        (what, "", getattr(after, field))
        for what, field in _FIELDS.items()
        if getattr(after, field) != getattr(before, field)
    ]
    edits += [(native.EDIT_HEADER, key, None) for key in before.headers if key not in after.headers]
    edits += [
        (native.EDIT_HEADER, key, value)
        for key, value in after.headers.items()
        if before.headers.get(key) != value
    ]
    return ask.for_engine(wire, ask.edit(wire, before.frame, edits)) if edits else b""


def _reply(status: Status, text: str) -> tuple[int, int, int, bytes]:
    return (native.DECIDE_REPLY, 0, int(status), text.encode()[:512])


async def _send(send: Callable[[], bool]) -> None:
    while not send():
        await asyncio.sleep(0.001)
