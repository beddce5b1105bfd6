"""Asking limiters about keys of rules' limits: in batches, one call of each rule at a time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from protokit import logs, native
from protokit.config import schema
from protokit.dataplane.tasks import is_cancelled, left_behind
from protokit.errors import ConfigError
from protokit.model import Demand, Limiter, Quota
from protokit.plugins import is_async, reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protokit.dataplane.compile import Compiled
    from protokit.model import LimiterFactory

EVERY_S = 0.02
MOST = 10_000  # keys of a rule that wait to be asked about
BATCH = 1000
LONGEST_S = 86_400.0
PATIENCE_S = 5.0
_AGAIN_S = 0.1
CLOSE_S = 1.0
_NOTHING = Demand((), 0)
_STUCK = TimeoutError("it goes on, though it was cancelled; it is asked no more before it ends")
_log = logging.getLogger("protokit.limits")


class Limited(NamedTuple):
    """A rule whose limiter is asked."""

    name: str
    state: native.RuleState
    limit: schema.Limit
    factory: LimiterFactory
    limiter: Limiter


def limited(
    compiled: Compiled, name: str, state: native.RuleState, limit: schema.Limit, ask: schema.Ask
) -> None:
    """Make a rule's limiter, or take that which it has; ``compiled.errors`` has what prevents that."""
    if state.address in compiled.limiters:
        return  # of another listener
    factory = compiled.snapshot.limiters[ask.name]
    made = None if state.limiter is None or state.limiter[0] is not factory else state.limiter[1]
    try:
        if made is None:
            made = factory(ask.options)
        if isinstance(made, type):
            raise TypeError(f"the class {made.__name__} was made, expected a limiter: {made.__name__}(...)")
        method = getattr(made, "ask", None)
        if not callable(method) or getattr(method, "__func__", method) is Limiter.ask:
            raise TypeError(f"{type(made).__name__} has no method ask")
        if not is_async(method):
            raise TypeError(f"ask of {type(made).__name__} cannot be awaited: write async def ask")
    except (Exception, SystemExit) as error:  # noqa: BLE001  # somebody else's code
        at = compiled.snapshot.places.get(id(ask), ConfigError(""))
        text = f"limiter {ask.name!r} cannot be made with its options: {reason(error)}"
        compiled.errors[id(ask)] = ConfigError(text, at.path, at.line, at.column)
        return
    compiled.limiters[state.address] = Limited(name, state, limit, factory, made)


class Quotas:
    """Takes what is to be asked from the workers, and tells the engine what limiters say.

    Args:
        workers: to take it from.
        tables: the tables in use, by token.
        repeated: for what limiters do wrong.
    """

    def __init__(
        self, workers: list[native.Worker], tables: dict[int, Compiled], repeated: logs.Repeated
    ) -> None:
        self._workers = workers
        self._tables = tables
        self._repeated = repeated
        self._rules: dict[int, _Rule] = {}  # by the states' addresses
        self._cancelled: set[asyncio.Task[None]] = set()  # until they end
        self._known: tuple[int, ...] = ()  # tables of which these are
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Look from time to time, while a table has such limits."""
        self._look_up()
        if self._timer is None and not self._closed and self._rules:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._look)

    def _look_up(self) -> None:
        if self._known == (known := (*self._tables,)):
            return
        self._known = known
        limited = {key: one for table in self._tables.values() for key, one in table.limiters.items()}
        for key, one in limited.items():
            before = self._rules.get(key)
            if before is None or before.limiter is not one.limiter:
                self._rules[key] = _Rule(one, self._repeated, None if before is None else before.counts)
                self._end(before)
            self._rules[key].is_now(one)
        if over := self._rules.keys() - limited.keys():
            self._take_all()  # as theirs: another rule's state may be where one of theirs was from now on
        for key in over:
            self._end(self._rules.pop(key))

    def _end(self, rule: _Rule | None) -> None:
        task = None if rule is None else rule.end()
        if task is not None:
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)

    def _look(self) -> None:
        self._timer = None
        try:
            self._look_up()  # workers may ask by a table that is new meanwhile
            self._take_all()
        finally:
            self.start()

    def _take_all(self) -> None:
        for worker in self._workers:
            self._take(worker.asks())

    def _take(self, every: Iterable[native.Asked]) -> None:
        taken: Counter[int] = Counter()
        for asked in every:
            if asked.state in self._rules:
                self._rules[asked.state].add(asked)
                taken[asked.state] += 1
        for state, count in taken.items():
            self._rules[state].took(count)

    def counts(self) -> dict[str, dict[str, int]]:
        """How each rule's limiter does."""
        return {rule.name: dict(rule.counts) for rule in self._rules.values()}

    async def close(self) -> None:
        """Ask no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for rule in self._rules.values():
            self._end(rule)
        await left_behind(self._cancelled, CLOSE_S)


class _Rule:
    """What waits to be asked of one rule's limiter.

    Attributes:
        name: the rule's, by now.
        limiter: that is asked; where a rule has another one, that is another of these.
        counts: keys that were asked about, that were not since too many waited, and calls that failed.
    """

    def __init__(
        self, limited: Limited, repeated: logs.Repeated, counts: dict[str, int] | None = None
    ) -> None:
        self.name = ""
        self.limiter = limited.limiter
        self.counts = counts or {"asked": 0, "dropped": 0, "failures": 0}
        self._limited = limited
        self._sources = [what == "source" for what, _ in schema.origins(limited.limit.by)]
        self._repeated = repeated
        # By the keys' hashes; of those of which something is said still, which go first, and of others.
        self._waiting: tuple[dict[int, Demand], dict[int, Demand]] = ({}, {})
        self._size = BATCH
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    def is_now(self, limited: Limited) -> None:
        """The rule as the newest table has it."""
        self.name, self._limited = limited.name, limited
        limited.state.limiter = (limited.factory, limited.limiter)

    def took(self, count: int) -> None:
        """So many of its keys came from the workers."""
        self._limited.state.took(count)

    def add(self, asked: native.Asked) -> None:
        """One more; workers ask about the same key."""
        demand = Demand(tuple(map(_told, asked.values, self._sources)), asked.requests)
        self._put(asked.key, demand, asked.known)
        if self._task is None and not self._ended:
            self._task = asyncio.get_running_loop().create_task(self._work())

    def _put(self, key: int, demand: Demand, known: bool) -> None:  # noqa: FBT001  # as the engine says it
        before = sum(one.pop(key, _NOTHING).requests for one in self._waiting)
        waiting = self._waiting[not known]
        if len(waiting) >= MOST:
            self.counts["dropped"] += 1
        else:
            waiting[key] = demand._replace(requests=before + demand.requests)

    def end(self) -> asyncio.Task[None] | None:
        """Ask no more: what is still said reaches nobody."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()
        return self._task

    async def _work(self) -> None:
        try:
            while any(self._waiting) and not self._ended:
                known, new = self._waiting
                first = dict(itertools.islice(known.items(), self._size))
                batch = first | dict(itertools.islice(new.items(), self._size - len(first)))
                for key in batch:
                    known.pop(key, None)
                    new.pop(key, None)
                if await self._ask(batch):
                    self._size = min(2 * self._size, BATCH)
                    continue
                # It may be one key that it cannot stand: that one is asked about alone in the end, and goes.
                self._size = max(len(batch) // 2, 1)
                for key, demand in batch.items() if len(batch) > 1 else ():
                    self._put(key, demand, key in first)
                await asyncio.sleep(_AGAIN_S)
        finally:
            self._task = None

    async def _ask(self, batch: dict[int, Demand]) -> bool:
        """Whether it answered; what it said of each is taken as far as it may be so."""
        self.counts["asked"] += len(batch)
        stuck = asyncio.get_running_loop().call_later(PATIENCE_S + CLOSE_S, self._failed, _STUCK)
        try:
            async with asyncio.timeout(PATIENCE_S):
                said = await self.limiter.ask([*batch.values()])
            if not isinstance(said, list | tuple) or len(said) != len(batch):
                raise TypeError(f"it said {said!r:.200}, expected a list of {len(batch)}")
            for key, quota in zip(batch, said, strict=True):
                self._say(key, quota)
        except GeneratorExit:  # nobody waits for this task
            raise
        # Somebody else's code: it may cancel itself, exit or interrupt, too.
        except BaseException as error:
            self._failed(error)
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            return False
        finally:
            stuck.cancel()
        return True

    def _say(self, key: int, quota: Any) -> None:
        """Of one key: the others have what was said of them, if this is nothing that can be."""
        if quota is None or self._ended:
            return
        try:
            check(quota)
        except Exception as error:  # noqa: BLE001  # not even its repr can be trusted
            self._failed(error)
            return
        now = time.monotonic_ns()
        self._limited.state.say(key, quota.requests, now, now + int(quota.seconds * 1e9))

    def _failed(self, error: BaseException) -> None:
        if self._ended:  # whatever it still does, there is no rule that would miss anything
            return
        self.counts["failures"] += 1
        text = f"the limiter of rule {self.name} failed; what it said before holds as long as it was to"
        self._repeated.log(_log, logging.ERROR, (self.name, logs.place(error)), text, error=error)


def _told(value: bytes, source: bool) -> str:  # noqa: FBT001  # of map
    """A value as a text; a source is an address of 16 bytes."""
    if not source:
        return value.decode("utf-8", "replace")
    if len(value) != 16:  # bytes of an address
        return ""
    if value.startswith(bytes(10) + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, value[12:])
    return socket.inet_ntop(socket.AF_INET6, value)


def check(quota: Any) -> None:
    """Whether a limiter may say that of a key.

    Raises:
        TypeError, ValueError: it may not.
    """
    if not isinstance(quota, Quota):
        raise TypeError(f"it said {quota!r:.200} of a key, expected a protokit.Quota or None")
    number = isinstance(quota.requests, int | None) and not isinstance(quota.requests, bool)
    if not number or not 0 <= (quota.requests or 0) < 2**62:
        raise ValueError(f"it said {quota!r:.200}, expected a number of requests from 0, or None")
    if not isinstance(quota.seconds, int | float) or not 0 < quota.seconds <= LONGEST_S:
        raise ValueError(f"it said {quota!r:.200}, expected more than 0 seconds, and a day at most")
