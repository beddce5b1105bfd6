"""Running Python filters: requests and answers wait in the engine while a chain decides on this thread."""

from __future__ import annotations

import asyncio
import collections
import logging
from functools import partial
from typing import TYPE_CHECKING

from protokit import logs, native
from protokit.dataplane.tasks import is_cancelled, left_behind
from protokit.errors import ProtocolError
from protokit.model import Answer, Request, Response, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from protokit.dataplane.chains import Link, Switch
    from protokit.dataplane.compile import Compiled
    from protokit.model import Headers
    from protokit.wire.codec import Wire

    Verdict = tuple[int, int, int, bytes]  # of Worker.decide
    Key = tuple[native.Worker, int, bool]

FIELDS = {
    native.EDIT_SERVICE: "service",
    native.EDIT_METHOD: "method",
    native.EDIT_VERSION: "version",
    native.EDIT_GROUP: "group",
}
_CLOSE_S = 1.0
_log = logging.getLogger("protokit.filters")


class _Call:
    """What waits for a chain.

    Attributes:
        switch: of the filter that decides now.
        answer: whether it is an answer.
        cancelled: nobody waits any more.
        ended: its task was cancelled: no other filter is asked.
    """

    __slots__ = ("answer", "cancelled", "compiled", "ended", "op", "switch", "wire", "worker")

    def __init__(self, worker: native.Worker, op: native.Op, compiled: Compiled, wire: Wire) -> None:
        self.worker, self.op, self.compiled, self.wire = worker, op, compiled, wire
        self.answer = op.op == native.OP_ANSWER
        self.switch: Switch | None = None
        self.cancelled = self.ended = False

    def reply(self, status: Status, text: str) -> Verdict:
        """An error instead of it."""
        verdict = native.DECIDE_ANSWER_REPLY if self.answer else native.DECIDE_REPLY
        return (verdict, 0, int(status), text.encode(errors="backslashreplace")[:512])

    def said(self, seen: Request | Answer, reply: object) -> Verdict | None:
        """What a filter made of what it saw; None: that goes on.

        Raises:
            TypeError, ValueError: it is nothing that a filter may say.
        """
        if isinstance(seen, Request) and not isinstance(seen.cluster, str | None):
            raise TypeError(f"it set cluster to {seen.cluster!r}, expected a cluster's name")
        if reply is None:
            return None
        if not isinstance(reply, Response):
            raise TypeError(f"it gave {reply!r}, expected None or a protokit.Response")
        if not isinstance(reply.message, str):
            raise TypeError(f"its Response says {reply.message!r}, expected a text")
        return self.reply(Status(reply.status), reply.message)


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
        self._thinking: dict[Key, tuple[_Call, asyncio.Task[None]]] = {}
        self._stuck: collections.Counter[int] = collections.Counter()  # by their rules' identities

    def start(self, worker: native.Worker, op: native.Op) -> None:
        """Begin to decide on a request or an answer that waits. Its bytes are read here, and not again."""
        compiled = self._tables[op.token]
        call = _Call(worker, op, compiled, self._wires[op.codec])
        if self._stuck[compiled.chain_identities[op.arg]] >= compiled.snapshot.limits["filters"]:
            text = "protokit: overloaded: too many calls of this rule's filters were cancelled and do not end"
            what = native.DECIDE_ANSWER_NOT_ASKED if call.answer else native.DECIDE_NOT_ASKED
            verdict = (what, 0, int(Status.OVERLOADED), text.encode())
            self._spawn(_send(lambda: worker.decide(op.handle, *verdict)))
            return
        deciding = (
            self._answer(call, native.Answered.of(op))
            if call.answer
            else self._request(call, native.held_bytes(op))
        )
        key = (worker, op.handle, call.answer)
        self._thinking[key] = (call, self._spawn(self._decide(key, call, deciding)))

    def cancel(self, worker: native.Worker, op: native.Op) -> None:
        """Its request has ended: what its filters still say reaches nobody."""
        answer = bool(op.data)
        call, task = self._thinking.pop((worker, op.handle, answer), (None, None))
        if call is not None and task is not None:
            rule = call.compiled.chain_identities[op.arg]
            self._stuck[rule] += 1
            task.add_done_callback(lambda _: self._unstuck(rule))
            if op.size and call.switch is not None:
                self._late(call, call.switch)
                call.switch = None
            call.cancelled = True
            task.cancel()
        # The engine frees the bytes; a request that has ended takes no verdict.
        heard = native.DECIDE_ANSWER if answer else native.DECIDE_CONTINUE
        self._spawn(_send(lambda: worker.decide(op.handle, heard)))

    def _late(self, call: _Call, switch: Switch) -> None:
        """It took all the time that filters have."""
        what = "answer" if call.answer else "request"
        then = f"the {what} goes on without it" if switch.use.fail == "open" else "its caller is told TIMEOUT"
        text = f"filter {switch.use.name} of {switch.place} did not decide on a {what} in time; {then}"
        text = text.replace("a answer", "an answer")
        self._repeated.log(_log, logging.WARNING, text, text)
        switch.failed("it did not decide in time")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _unstuck(self, rule: int) -> None:
        self._stuck[rule] -= 1
        if self._stuck[rule] == 0:
            del self._stuck[rule]

    async def _decide(self, key: Key, call: _Call, deciding: Coroutine[Any, Any, Verdict]) -> None:
        verdict = await deciding
        if self._thinking.pop(key, None) is not None:
            await _send(lambda: call.worker.decide(call.op.handle, *verdict))

    # Requests.

    async def _request(self, call: _Call, frame: bytes) -> Verdict:
        compiled, wire = call.compiled, call.wire
        try:
            frame = wire.ask.from_engine(frame)
            request = wire.ask.request(frame, compiled.snapshot.max_headers, lazy=True)
        except BaseException as error:  # noqa: BLE001  # a codec in Python may raise anything
            if not isinstance(error, ProtocolError):
                self._failed("a request could not be read; it is answered BAD_REQUEST", error)
            return _unreadable(call, error)
        asked = frame
        request.argument_of = partial(wire.ask.argument, asked)
        request.arguments_of = partial(wire.ask.arguments, asked)
        original = request.copy()
        reply = await self._requests(call, request)
        if reply is not None:
            return reply
        links = [*compiled.chains[call.op.arg], *compiled.cluster_chain(_goes_to(call, request))]
        try:
            frame = _changed(wire, original, request)
        except BaseException as error:  # noqa: BLE001  # as above
            if not all(link.open for link in links if link.sees("request")):
                return call.reply(Status.INTERNAL, self._not_made(call, error))
            self._not_made(call, error)
            frame = b""
        if request.cluster is None:
            return (native.DECIDE_CONTINUE, 0, 0, frame)
        return (native.DECIDE_CLUSTER, compiled.clusters[request.cluster], 0, frame)

    async def _requests(self, call: _Call, request: Request) -> Verdict | None:
        """The chain's filters, then those of the cluster that it goes to."""
        links: Iterable[Link] = call.compiled.chains[call.op.arg]
        seen: set[str] = set()
        while True:
            for link in links:
                if link.sees("request"):
                    reply = await self._ask(call, link, request, link.filter.request, request)
                    if reply is not None:
                        return reply
            cluster = _goes_to(call, request)
            if cluster in seen or cluster is None:
                return None
            seen.add(cluster)
            if cluster not in call.compiled.clusters:
                text = f"a filter chose cluster {cluster!r}, which is not configured"
                self._repeated.log(_log, logging.ERROR, "unknown cluster", text)
                return call.reply(
                    Status.INTERNAL, f"protokit: a filter chose the unknown cluster {request.cluster}"
                )
            links = call.compiled.cluster_chain(cluster)

    # Answers.

    async def _answer(self, call: _Call, op: native.Answered) -> Verdict:
        compiled, wire = call.compiled, call.wire
        cluster = compiled.cluster_names[op.cluster]
        chain = [*compiled.chains[call.op.arg], *compiled.cluster_chain(cluster)]
        links = [link for link in reversed(chain) if link.sees("response")]
        must = not all(link.open for link in links)
        most = compiled.snapshot.max_headers
        try:
            asked = wire.ask.from_engine(op.asked)
            request = wire.ask.request(asked, most, lazy=True)
            request.argument_of = partial(wire.ask.argument, asked)
            request.arguments_of = partial(wire.ask.arguments, asked)
            frame = wire.ask.from_engine(op.frame)
            answer = Answer(
                Status(op.status),
                headers=_Headers(wire, frame, most),
                frame=frame,
                protocol=wire.name,
                latency_ms=op.took / 1e6,
                endpoint=compiled.endpoint_names.get(op.endpoint, ""),
                cluster=cluster,
            )
        except BaseException as error:  # noqa: BLE001  # a codec in Python may raise anything
            self._failed("an answer could not be read for its filters", error)
            return _unreadable(call, error) if must else (native.DECIDE_ANSWER, 0, 0, b"")
        original = answer.copy()
        for link in links:
            reply = await self._ask(call, link, answer, link.filter.response, request, answer)
            if reply is not None:
                return reply
        try:
            edits = _changed_headers(original, answer)
            changed = wire.ask.for_engine(wire.ask.edit(frame, edits), "server") if edits else b""
        except BaseException as error:  # noqa: BLE001  # as above
            text = self._not_made(call, error)
            return call.reply(Status.INTERNAL, text) if must else (native.DECIDE_ANSWER, 0, 0, b"")
        return (native.DECIDE_ANSWER, 0, 0, changed)

    # One filter.

    async def _ask(
        self,
        call: _Call,
        link: Link,
        seen: Request | Answer,
        ask: Callable[..., Coroutine[Any, Any, object]],
        *arguments: Request | Answer,
    ) -> Verdict | None:
        """None: it lets it go on, or failed and may."""
        switch = link.switches["response" if call.answer else "request"]
        if call.ended:
            why = "was not asked: the one before was cancelled"
            return (
                None if link.open else call.reply(Status.INTERNAL, f"protokit: the filter {link.name} {why}")
            )
        if not switch.lets():
            why = f"is switched off: it failed {switch.in_a_row} times in a row"
            return (
                None
                if link.open
                else call.reply(Status.UNAVAILABLE, f"protokit: the filter {link.name} {why}")
            )
        before = seen.copy() if link.open else None
        call.switch = switch
        try:
            verdict = call.said(seen, await ask(*arguments))
        except GeneratorExit:  # nobody waits for this task
            raise
        # Somebody else's code; logged with its trace. It may cancel itself, exit or interrupt, too.
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and call.cancelled:
                if call.switch is not None:
                    switch.left()
                raise
            call.ended = isinstance(error, asyncio.CancelledError) and is_cancelled()
            theirs = any(one.could_not_be_read(error) for one in arguments)  # its peer's doing, no failure
            if before is not None:
                seen.put_back(before)
            if theirs:
                switch.left()
                return None if link.open else _unreadable(call, error)
            what = "answer" if call.answer else "request"
            then = f"the {what} goes on without it" if link.open else "its caller is told INTERNAL"
            self._failed(f"filter {link.name} of {switch.place} failed; {then}", error)
            switch.failed(f"{type(error).__name__}: {error}")
            return (
                None if link.open else call.reply(Status.INTERNAL, f"protokit: the filter {link.name} failed")
            )
        finally:
            call.switch = None
        if call.cancelled:  # it did not let that through
            raise asyncio.CancelledError
        switch.worked()
        return verdict

    def _failed(self, text: str, error: BaseException) -> None:
        self._repeated.log(_log, logging.ERROR, (text, logs.place(error)), text, error=error)

    def _not_made(self, call: _Call, error: BaseException) -> str:
        what, rule = "answer" if call.answer else "request", call.compiled.chain_rules[call.op.arg]
        text = f"the {what} cannot be changed as rule {rule!r} or its filters say: {error}"
        self._repeated.log(_log, logging.ERROR, logs.place(error), text)
        return f"protokit: {text}"

    async def close(self) -> None:
        """Cancel what still thinks. What ignores that is left behind after a second."""
        for call, _ in self._thinking.values():
            call.cancelled = True
        self._thinking.clear()
        for task in self._tasks:
            task.cancel()
        stubborn = await left_behind(self._tasks, _CLOSE_S)
        if stubborn:
            _log.warning("%d calls of filters do not end although they were cancelled", stubborn)


class _Headers:
    """Of an answer, for ``Answer``."""

    __slots__ = ("_frame", "_most", "_wire")

    def __init__(self, wire: Wire, frame: bytes, most: int) -> None:
        self._wire, self._frame, self._most = wire, frame, most

    def headers(self) -> Headers:
        return self._wire.ask.headers(self._frame, self._most)

    def header(self, key: str) -> str | None:
        return self._wire.ask.header(self._frame, key)


def _goes_to(call: _Call, request: Request) -> str | None:
    if request.cluster is not None:
        return request.cluster
    cluster = native.held_cluster(call.op)
    return None if cluster is None else call.compiled.cluster_names[cluster]


def _changed(wire: Wire, before: Request, after: Request) -> bytes:
    """The frame that says what ``after`` says; empty when nothing was changed."""
    edits: list[tuple[int, str, str | None]] = [
        (what, "", getattr(after, field))
        for what, field in FIELDS.items()
        if getattr(after, field) != getattr(before, field)
    ]
    edits += _changed_headers(before, after)
    frame = before.frame
    if after.changed_arguments is not None:
        frame = wire.ask.with_arguments(frame, after.changed_arguments)
    frame = wire.ask.edit(frame, edits) if edits else frame
    return b"" if frame == before.frame else wire.ask.for_engine(frame)


def _changed_headers(before: Request | Answer, after: Request | Answer) -> list[tuple[int, str, str | None]]:
    if not after.headers_read:
        return []
    was, now = dict(before.headers), dict(after.headers)
    edits: list[tuple[int, str, str | None]] = [
        (native.EDIT_HEADER, key, None) for key in was if key not in now
    ]
    edits += [(native.EDIT_HEADER, key, value) for key, value in now.items() if was.get(key) != value]
    return edits


def _unreadable(call: _Call, error: BaseException) -> Verdict:
    if call.answer:
        return call.reply(Status.INTERNAL, f"protokit: the answer cannot be read: {error}")
    return call.reply(Status.BAD_REQUEST, f"protokit: the request cannot be read: {error}")


async def _send(send: Callable[[], bool]) -> None:
    while not send():
        await asyncio.sleep(0.001)
