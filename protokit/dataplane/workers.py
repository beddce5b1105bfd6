"""The workers, the tables they run and the sockets they listen on.

Must not import asyncio: workers need no loop, and the process serves before it has one (``serve``).
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.config import schema
from protokit.control import build_snapshot
from protokit.dataplane import listening
from protokit.dataplane.compile import Compiled, Identities, States, compile_snapshot
from protokit.errors import ConfigError, ConfigErrors, ProtokitError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from protokit.config import Loaded
    from protokit.control.snapshot import Cluster, Listener, Snapshot
    from protokit.dataplane.chains import Chain
    from protokit.wire.codec import Wire

_DOUBLINGS = range(15, 37)  # of nanoseconds: 33 us to 69 s


def _seed() -> int:
    return int.from_bytes(os.urandom(8)) >> 1


def needs_loop(loaded: Loaded) -> bool:
    """Whether a loop is to be there before a configuration is run.

    That is so for names to look up, filters and limiters to make and start-up hooks to call.
    """
    filters = [listener.filters for listener in loaded.config.listeners]
    filters += [rule.filters for table in loaded.config.routes for rule in table.rules]
    filters += [cluster.filters for cluster in loaded.config.clusters]
    limits = [rule.limit for table in loaded.config.routes for rule in table.rules]
    asks = any(limit is not None and limit.ask is not None for limit in limits)
    return bool(loaded.hosts) or asks or any(filters) or loaded.registry.implements("protokit_startup")


def serve(loaded: Loaded) -> Workers:
    """Run a configuration that needs no loop.

    Raises:
        ConfigErrors: an address cannot be bound.
        ProtokitError: threads or descriptors are at their limit.
    """
    workers = Workers()
    try:
        workers.start(loaded.config.workers)
        change = workers.prepare(build_snapshot(loaded), loaded.path)
        workers.wait(change)
        workers.commit(change)
    except BaseException:
        for one in workers.leave():
            one.stop()
        workers.free()
        raise
    return workers


class Change:
    """A Snapshot that the workers get ready for: its addresses are bound, and nobody listens there.

    Attributes:
        answered: called when every worker has said whether it is ready.
    """

    def __init__(self, compiled: Compiled, token: int, path: str, answered: Callable[[], object]) -> None:
        self.compiled = compiled
        self.token = token
        self.path = path
        self.answered = answered
        self.wanted: dict[listening.Key, Listener] = {}
        self.going: list[listening.Key] = []
        self.added: dict[listening.Key, list[socket.socket]] = {}
        self.unused: set[int] = set()
        self.answers: list[bool] = []


class Workers:
    """Threads that listen, and what they run; one change at a time.

    Attributes:
        each: the workers.
        addresses: (host, port) by listener, with the real ports.
        tables: those in use, by token.
        wires: formats by their codec's address, of tables and connections: these keep their codec.
        open: addresses that are listened on.
        running: what new requests are routed by.
        endpoint_ids: numbers of (cluster, host, port).
        cluster_ids: numbers of clusters' names.
        shared: what all workers count together.
        listener_ids: numbers of ``listening.key``.
    """

    def __init__(self) -> None:
        self.each: list[native.Worker] = []
        self.addresses: dict[str, tuple[str, int]] = {}
        self.tables: dict[int, Compiled] = {}
        self.wires: dict[int, Wire] = {}
        self.open: dict[listening.Key, listening.Bound] = {}
        self.running: Compiled | None = None
        self.endpoint_ids = Identities()
        self.cluster_ids = Identities()
        self.shared = native.Shared()
        self.listener_ids = Identities()
        self._states = States()
        self._token = 0
        self._changes: dict[int, Change] = {}

    def start(self, count: int) -> None:
        """Start so many.

        Raises:
            ProtokitError: threads or descriptors are at their limit.
        """
        verdicts = native.Verdicts() if count > 1 else None
        for place in range(count):
            self.each.append(native.Worker(_seed(), self.shared, verdicts, place, count))

    # Changing what they run.

    def prepare(
        self,
        snapshot: Snapshot,
        path: str,
        chains: Sequence[Chain] = (),
        answered: Callable[[], object] = lambda: None,
    ) -> Change:
        """Begin to run a Snapshot. ``commit`` or ``abort`` it when all workers have answered.

        Args:
            snapshot: what to run.
            path: of its configuration.
            chains: of filters that go on, as ``compile_snapshot`` has them.
            answered: called when every worker has said whether it is ready.

        Raises:
            ConfigErrors: filters cannot be made, or an address cannot be bound; nothing was changed.
        """
        try:
            compiled = compile_snapshot(
                snapshot,
                self.endpoint_ids,
                self.listener_ids,
                _seed(),
                chains,
                self._states,
                self.cluster_ids,
            )
        except BaseException:
            self._give_numbers_back()
            raise
        self._token += 1
        change = Change(compiled, self._token, path, answered)
        change.wanted = {listening.key(listener): listener for listener in snapshot.listeners}
        change.going = [key for key in self.open if key not in change.wanted]
        try:
            new = {key: one for key, one in change.wanted.items() if key not in self.open}
            change.added = self._bind(new, change.going, path)
        except BaseException:
            compiled.table.free()
            self._give_numbers_back()
            raise
        self.tables[change.token] = compiled
        change.unused = self._unused_wires()
        self.wires |= compiled.wires
        self._changes[change.token] = change
        try:
            for worker in self.each:
                worker.prepare(compiled.table, change.token)
        except BaseException:
            self.abort(change)
            raise
        return change

    def wait(self, change: Change) -> None:
        """Wait for the answers where no loop takes the workers' events: nobody is connected yet."""
        ready = select.poll()
        for worker in self.each:
            ready.register(worker.event_fd, select.POLLIN)
        while len(change.answers) < len(self.each):
            ready.poll()
            for worker in self.each:
                for op in worker.events():
                    self.took(op)

    def commit(self, change: Change) -> None:
        """Run what was prepared. Where that fails ``abort`` it.

        Raises:
            ConfigErrors: an address was taken meanwhile.
            ProtokitError: a worker cannot take it.
        """
        if not all(change.answers):
            raise ProtokitError(
                "a worker has no memory for the configuration (or it has more than 65536 endpoints);"
                " nothing was changed"
            )
        for address in change.unused:  # what was told before the answers was handled before them
            del self.wires[address]
        change.unused.clear()
        try:
            for sockets in change.added.values():
                for one in sockets:
                    one.listen(listening.BACKLOG)
        except OSError as error:
            raise ConfigErrors([ConfigError(f"an address is taken: {error.strerror}", change.path)]) from None
        # From here on nothing fails and nothing waits. Who is in the queue of an address that goes is taken
        # before the change: its listener is in the old table only.
        numbers = change.compiled.listeners
        new = {key: listening.Bound(numbers[key], sockets) for key, sockets in change.added.items()}
        gone = [self.open.pop(key) for key in change.going]
        for index, worker in enumerate(self.each):
            for bound in gone:
                worker.unlisten(bound.number)
            worker.commit()
            for bound in new.values():
                worker.listen(bound.number, bound.fds[index])
        self.open |= new
        self.running = change.compiled
        self.addresses = {one.name: self.open[key].address for key, one in change.wanted.items()}
        del self._changes[change.token]

    def abort(self, change: Change) -> None:
        """Forget what was prepared."""
        del self._changes[change.token]
        _close(change.added.values())
        for worker in self.each:
            worker.abort()

    def took(self, op: native.Op) -> bool:
        """Whether an event of a worker was about tables; then it is done with."""
        if op.op == native.EVENT_PREPARED:
            self._prepared(op.token, well=op.arg == 1)
        elif op.op == native.OP_RETIRED:
            self._retired(op.token)
        else:
            return False
        return True

    def _bind(
        self, listeners: Mapping[listening.Key, Listener], going: list[listening.Key], path: str
    ) -> dict[listening.Key, list[socket.socket]]:
        added: dict[listening.Key, list[socket.socket]] = {}
        errors = []
        for key, listener in listeners.items():
            leaving = [fd for other in going if listening.overlap(key, other) for fd in self.open[other].fds]
            try:
                added[key] = listening.bind(listener, len(self.each), leaving)
            except OSError as error:
                where = listening.place(listener.host, listener.port)
                text = f"listener {listener.name!r} cannot bind {where}: {listening.why_not(error)}"
                errors.append(ConfigError(text, path))
        if errors:
            _close(added.values())
            raise ConfigErrors(errors)
        return added

    def _prepared(self, token: int, *, well: bool) -> None:
        if not well:
            self._retired(token)
        if token in self._changes:
            change = self._changes[token]
            change.answers.append(well)
            if len(change.answers) == len(self.each):
                change.answered()

    def _retired(self, token: int) -> None:
        compiled = self.tables[token]
        compiled.retired_by += 1
        if compiled.retired_by < len(self.each):
            return
        del self.tables[token]
        compiled.table.free()
        self._give_numbers_back()

    def _unused_wires(self) -> set[int]:
        """Of no table, and spoken by no connection; what workers told of some may still wait here."""
        used = {address for table in self.tables.values() for address in table.wires}
        return {one for one in self.wires.keys() - used if native.holders(one) == 1}

    def _give_numbers_back(self) -> None:
        self.endpoint_ids.keep(self.endpoints())
        self.shared.forget(
            self.cluster_ids.keep(name for table in self.tables.values() for name in table.cluster_ids)
        )
        listeners = {key for table in self.tables.values() for key in table.listeners}
        self.listener_ids.keep({*self.open, *listeners})

    # Stopping.

    def drain(self) -> None:
        """Accept nobody any more, and tell clients in their protocol to go elsewhere."""
        for worker in self.each:
            for bound in self.open.values():
                worker.unlisten(bound.number)
            worker.drain()
        self.open.clear()

    def leave(self) -> list[native.Worker]:
        """The workers, to be stopped by whoever asks; nobody looks at them here any more."""
        workers = self.each.copy()
        self.each.clear()
        return workers

    def free(self) -> None:
        """Give back what stopped workers ran."""
        for compiled in self.tables.values():
            compiled.table.free()
        self.tables.clear()

    # Looking in.

    def endpoints(self) -> set[tuple[str, str, int]]:
        """(cluster, host, port) of all that a table in use names."""
        return {key for table in self.tables.values() for key in table.endpoints}

    def breakers(self, clusters: Iterable[Cluster]) -> dict[str, dict[str, dict[str, int]]]:
        """Of each breaker of clusters what is under way, at most, and how often it refused something."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for cluster in clusters:
            number = None if self.running is None else self.running.cluster_ids.get(cluster.name)
            breaker = cluster.written.breaker
            if breaker is None or number is None:
                continue
            under_way, refused = self.shared.under_way(number), self.shared.refused(number)
            limits = _limited(breaker)
            if breaker.adaptive is not None:
                found_one = max(self.shared.limit(number), breaker.adaptive.least)
                limits["requests"] = min(found_one, limits["requests"])
            found[cluster.name] = {
                name: {
                    "limit": most,
                    **({"under_way": under_way[name]} if name in under_way else {}),
                    "refused": refused[name],
                }
                for name, most in limits.items()
            }
        return found

    def stats(self) -> dict[str, Any]:
        """Counters: of each worker, and of each endpoint over all workers."""
        clusters: dict[str, dict[str, dict[str, int]]] = {}
        if self.running is not None:
            for (cluster, host, port), uid in self.running.endpoints.items():
                each = [worker.endpoint_stats(uid) for worker in self.each]
                total = {name: sum(one[name] for one in each) for name in native.ENDPOINT_STAT_NAMES}
                clusters.setdefault(cluster, {})[listening.place(host, port)] = total
        return {
            "workers": [worker.stats() for worker in self.each],
            "clusters": clusters,
            "durations": self._durations(),
        }

    def _durations(self) -> dict[str, dict[str, Any]]:
        """By clusters, how many calls were answered, or not in time, in so many seconds at most."""
        found: dict[str, dict[str, Any]] = {}
        for cluster, number in {} if self.running is None else self.running.cluster_ids.items():
            nanoseconds, *counts = map(sum, zip(*(worker.times(number) for worker in self.each), strict=True))
            found[cluster] = {
                "count": sum(counts),
                "seconds": nanoseconds / 1e9,
                "within": {repr(2**most / 1e9): sum(counts[:most]) for most in _DOUBLINGS},
            }
        return found


def _limited(breaker: schema.Breaker) -> dict[str, int]:
    """What it bounds, by the engine's names."""
    retries = None if breaker.retries is None or breaker.retries.is_share else breaker.retries
    endpoint = breaker.endpoint or schema.EndpointBreaker()
    found = {
        "connections": breaker.connections,
        "waiting": breaker.waiting,
        "requests": breaker.requests,
        "retries": retries,
        "endpoint-connections": endpoint.connections,
        "endpoint-requests": endpoint.requests,
    }
    return {name: most for name, most in found.items() if most is not None}


def _close(every: Iterable[Iterable[socket.socket]]) -> None:
    for sockets in every:
        for one in sockets:
            one.close()
