"""What an operator changes of endpoints while the proxy runs: their weight, and whether they drain.

A change holds for an endpoint (its cluster and address) as long as the process runs and the configuration's
line of it is the one that was there: a reload that writes another weight or other metadata has the last word.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import msgspec

from protokit.control.snapshot import Endpoint  # msgspec looks at it
from protokit.dataplane import listening
from protokit.errors import ProtokitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from protokit.control.snapshot import Cluster, Snapshot

_WAITING = 256  # changes that are asked for while something else changes
_TOLD = 10  # names in an error

_log = logging.getLogger("protokit.proxy")
Key = tuple[str, str, int]  # cluster, host, port


class Adjustment(msgspec.Struct, frozen=True):
    """What was changed of an endpoint. ``line``: as the configuration has it; ``weight`` None: as there."""

    line: Endpoint
    weight: int | None = None
    drain: bool = False

    @property
    def used(self) -> int:
        """The weight that the balancer goes by."""
        return 0 if self.drain else self.line.weight if self.weight is None else self.weight


class Asked:
    """A change that waits for its turn; ``error``: why it was not made."""

    def __init__(self, cluster: str, address: str, query: str) -> None:
        self.cluster, self.address, self.changes = cluster, address, read(query)
        self.made: Adjustment | None = None
        self.error: Exception | None = None

    @property
    def waits(self) -> bool:
        """Whether nobody has looked at it yet."""
        return self.made is None and self.error is None


class Adjustments:
    """All of them, by endpoint, and those that are asked for while something else changes."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Adjustment] = {}
        self._asked: list[Asked] = []

    def ask(self, cluster: str, address: str, query: str) -> Asked:
        """Put a change behind those that wait: all of them become one.

        Raises:
            ValueError: the query is wrong.
            ProtokitError: too many wait.
        """
        asked = Asked(cluster, address, query)
        if len(self._asked) >= _WAITING:
            raise ProtokitError(f"{_WAITING} changes of endpoints wait already; ask again later")
        self._asked.append(asked)
        return asked

    def withdraw(self, asked: Asked) -> None:
        """Whoever asked waits no more: what was not made is not made later."""
        if asked in self._asked:
            self._asked.remove(asked)

    async def make(self, snapshot: Snapshot, run: Callable[[Snapshot], Awaitable[None]]) -> None:
        """Do what was asked so far, in order; where that cannot run nothing is changed, and each is told."""
        asked, self._asked = self._asked, []
        before = self._by_key.copy()
        for one in asked:
            try:
                line = _line(snapshot, one.cluster, one.address)
            except LookupError as error:
                one.error = error
                continue
            one.made = msgspec.structs.replace(self.of(one.cluster, line), **one.changes)
            self._put(one.cluster, one.made)
        if self._by_key == before:
            return
        try:
            await run(self.applied(snapshot))
        except BaseException as error:
            self._by_key = before
            why = error if isinstance(error, ProtokitError) else ProtokitError(f"it was given up: {error!r}")
            for one in asked:
                one.error = one.error or why
            if not isinstance(error, ProtokitError):
                raise
            return
        for one in asked:
            if one.made is not None:
                text = "endpoint %s of cluster %s: its weight is %d now%s; the configuration has %d"
                why_so = " since it drains" * one.made.drain
                _log.info(text, one.address, one.cluster, one.made.used, why_so, one.made.line.weight)

    def of(self, cluster: str, endpoint: Endpoint) -> Adjustment:
        """What is changed of an endpoint; nothing, where the configuration has another line for it."""
        found = self._by_key.get((cluster, endpoint.host, endpoint.port))
        return found if found is not None and found.line == endpoint else Adjustment(endpoint)

    def _put(self, cluster: str, changed: Adjustment) -> None:
        key = (cluster, changed.line.host, changed.line.port)
        if changed == Adjustment(changed.line):
            self._by_key.pop(key, None)
        else:
            self._by_key[key] = changed

    def applied(self, snapshot: Snapshot) -> Snapshot:
        """The Snapshot with weights as they are used."""
        if not self._by_key:
            return snapshot
        return msgspec.structs.replace(snapshot, clusters=tuple(map(self._cluster, snapshot.clusters)))

    def _cluster(self, cluster: Cluster) -> Cluster:
        endpoints = tuple(
            msgspec.structs.replace(one, weight=self.of(cluster.name, one).used) for one in cluster.endpoints
        )
        return msgspec.structs.replace(cluster, endpoints=endpoints)

    def forget(self, snapshot: Snapshot) -> None:
        """A reload brought this one: what it changed, or has no more, is as it says."""
        lines = {
            (cluster.name, one.host, one.port): one
            for cluster in snapshot.clusters
            for one in cluster.endpoints
        }
        for key, one in [*self._by_key.items()]:
            if lines.get(key) == one.line:
                continue
            del self._by_key[key]
            what = (
                "is not in the configuration any more" if key not in lines else "has another line there now"
            )
            text = "endpoint %s of cluster %s %s: what was changed of it at run time is forgotten"
            _log.info(text, listening.place(*key[1:]), key[0], what)


def _line(snapshot: Snapshot, cluster: str, address: str) -> Endpoint:
    """An endpoint as the configuration has it.

    Raises:
        LookupError: there is none, and which there are.
    """
    found = next((one for one in snapshot.clusters if one.name == cluster), None)
    if found is None:
        raise LookupError(
            f"there is no cluster {cluster!r}; there are {_some(one.name for one in snapshot.clusters)}"
        )
    known = {listening.place(one.host, one.port): one for one in found.endpoints}
    if address not in known:
        raise LookupError(f"cluster {cluster!r} has no endpoint {address!r}; it has {_some(known)}")
    return known[address]


def _some(names: Iterable[str]) -> str:
    every = [*names]
    return ", ".join(every[:_TOLD]) + f" and {len(every) - _TOLD} more" * (len(every) > _TOLD)


def read(query: str) -> dict[str, int | bool | None]:
    """``weight=3``, ``weight=configured``, ``drain=true``, ``drain=false``, both with ``&``.

    Raises:
        ValueError: it is something else, in words.
    """
    found: dict[str, int | bool | None] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in found:
            raise ValueError(f"{name} stands there twice")
        if name == "drain" and value in {"true", "false"}:
            found["drain"] = value == "true"
        elif name == "weight" and value == "configured":
            found["weight"] = None
        elif name == "weight" and re.fullmatch("[0-9]{1,10}", value) and int(value) < 2**32:
            found["weight"] = int(value)
        else:
            raise ValueError(
                f"{part!r} is none of weight=N (0 to 4294967295), weight=configured, drain=true, drain=false"
            )
    return found
