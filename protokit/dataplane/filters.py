"""Running Python filters: a request waits in the engine while its chain decides on the main thread."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from protokit import native
from protokit.errors import RemoteProtocolError
from protokit.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from protokit.dataplane.compile import Compiled

_log = logging.getLogger("protokit.filters")


class FilterRunner:
    """Runs chains and sends the verdicts down.

    Args:
        tables: the tables in use, by token.
    """

    def __init__(self, tables: dict[int, Compiled]) -> None:
        self._tables = tables
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
        try:
            request = native.request(op.codec, native.held_bytes(op), compiled.snapshot.max_headers)
        except RemoteProtocolError as error:
            return _reply(Status.BAD_REQUEST, f"protokit: the request cannot be read: {error}")
        for one in compiled.chains[op.arg]:
            try:
                response = await one.request(request)
            except Exception:  # noqa: BLE001  # somebody else's code; logged with its trace
                name = type(one).__name__
                _log.exception("filter %s failed; the request is answered INTERNAL", name)
                return _reply(Status.INTERNAL, f"protokit: the filter {name} failed")
            if response is not None:
                return _reply(response.status, response.message)
        if request.cluster is None:
            return (native.DECIDE_CONTINUE, 0, 0, b"")
        if request.cluster not in compiled.clusters:
            _log.error("a filter chose cluster %r, which is not configured", request.cluster)
            return _reply(Status.INTERNAL, f"protokit: a filter chose the unknown cluster {request.cluster}")
        return (native.DECIDE_CLUSTER, compiled.clusters[request.cluster], 0, b"")

    async def close(self) -> None:
        """Cancel what still thinks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _reply(status: Status, text: str) -> tuple[int, int, int, bytes]:
    return (native.DECIDE_REPLY, 0, int(status), text.encode()[:512])


async def _send(send: Callable[[], bool]) -> None:
    while not send():
        await asyncio.sleep(0.001)
