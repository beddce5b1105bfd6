"""The Proxy: workers, listening sockets, the tables they run, reload, drain."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
from typing import TYPE_CHECKING, Any

import msgspec

from protokit import config as configuration
from protokit import logs, native
from protokit.control import Names, build_clusters, build_snapshot
from protokit.dataplane import listening
from protokit.dataplane.compile import Compiled, Identities, compile_snapshot
from protokit.dataplane.filters import FilterRunner
from protokit.dataplane.limits import RuleStates
from protokit.dataplane.watch import Watch
from protokit.errors import ConfigError, ConfigErrors, ProtokitError
from protokit.plugins import Plugin, Registry

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from protokit.control.snapshot import Listener, Snapshot
    from protokit.dataplane.bridge import Bridges
    from protokit.dataplane.endpoints import Health
    from protokit.model import Filter
    from protokit.wire.codec import Wire

_log = logging.getLogger("protokit.proxy")
_POLL_S = 0.02
_QUIET_S = 0.2
_HEARD_S = 5.0  # the same, while clients are there that were told: what they ask meanwhile they asked before


def _seed() -> int:
    return int.from_bytes(os.urandom(8)) >> 1


class Proxy:
    """A running proxy; embed it with ``async with Proxy(config) as proxy``.

    Args:
        source: a configuration file's path, the same as a mapping, or a loaded configuration.

    Attributes:
        addresses: (host, port) by listener, with the real ports, once started.
        ready: whether it wants traffic: started, and not draining.
        reloads: how many were ``done``, and how many ``failed``, counted by whoever asks for them.
        repeated: for log lines whose number others decide.
    """

    def __init__(self, source: str | Path | Mapping[str, Any] | configuration.Loaded) -> None:
        self.loaded = source if isinstance(source, configuration.Loaded) else configuration.load(source)
        self.addresses: dict[str, tuple[str, int]] = {}
        self.ready = False
        self.reloads = {"done": 0, "failed": 0}
        self.repeated = logs.Repeated()
        self._names = Names(self._names_changed, self.repeated)
        self._snapshot = build_snapshot(self.loaded)
        self._workers: list[native.Worker] = []
        self._tables: dict[int, Compiled] = {}
        self._token = 0
        self._endpoint_ids = Identities()
        self._listener_ids = Identities()
        self._rule_states = RuleStates()
        self._open: dict[listening.Key, listening.Bound] = {}
        self._running: Compiled | None = None
        self._preparing: dict[int, tuple[asyncio.Future[bool], list[bool]]] = {}
        self._changing = asyncio.Lock()
        self._draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._wires: dict[int, Wire] = {}
        self._filters = FilterRunner(self._tables, self._wires, self.repeated)
        self._drained = 0
        self._closing: asyncio.Task[None] | None = None
        self._watch = Watch(self._workers, self.repeated, self._rules)
        self._watching: asyncio.Task[None] | None = None
        self._started: dict[str, Plugin] = {}

    @functools.cached_property
    def _bridges(self) -> Bridges:
        from protokit.dataplane.bridge import Bridges  # noqa: PLC0415  # for codecs in Python

        return Bridges(lambda: self._snapshot.limits, self.repeated)

    @functools.cached_property
    def _health(self) -> Health:
        from protokit.dataplane.endpoints import Health  # noqa: PLC0415  # at the start nobody is ill

        return Health()

    async def __aenter__(self) -> Proxy:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Starting and changing.

    async def start(self) -> None:
        """Start the workers and listen.

        Raises:
            ConfigErrors: an address cannot be bound.
            ProtokitError: threads or descriptors are at their limit.
        """
        loop = asyncio.get_running_loop()
        try:
            for _ in range(self._snapshot.workers):
                worker = native.Worker(_seed())
                self._workers.append(worker)
                loop.add_reader(worker.event_fd, self._take_events, worker)
            self._snapshot = await self._resolved(self.loaded)
            self._start_plugins(self.loaded)
            async with self._changing:
                await self._change(self._snapshot, self.loaded.path)
        except BaseException:
            await self.close()
            raise
        self._watching = loop.create_task(self._watch.run())
        self.ready = True
        self._keep_names()

    async def reload(
        self, source: str | Path | Mapping[str, Any] | configuration.Loaded | None = None
    ) -> None:
        """Run another configuration; requests in flight finish on the one they started with.

        Clients of a listener that is renamed, moved or taken away are told in their protocol, and served as
        before until they leave or ``drain.timeout`` is over.

        Args:
            source: None for the file it was started with, read again.

        Raises:
            ConfigErrors: it is wrong, or cannot be run; the old one goes on.
            ProtokitError: a worker cannot take it, and the old one goes on; or the proxy is stopping.
        """
        self._may_change()
        if isinstance(source, configuration.Loaded):
            loaded = source
        else:
            loaded = await asyncio.get_running_loop().run_in_executor(
                None, configuration.load, self.loaded.path if source is None else source
            )
        if loaded.config.workers != self._snapshot.workers:
            raise ConfigErrors([ConfigError("workers cannot change while running; restart", loaded.path)])
        snapshot = await self._resolved(loaded)
        async with self._changing:
            self._may_change()
            replaced = self._start_plugins(loaded)
            try:
                await self._change(snapshot, loaded.path)
            except BaseException:
                back = {one.name: one for one in replaced}
                Registry(self._started[name] for name in back).call("protokit_shutdown", app=self)
                self._started |= back
                raise
            Registry(replaced).call("protokit_shutdown", app=self)
            self.loaded, self._snapshot = loaded, snapshot
            self._keep_names()

    def _keep_names(self) -> None:
        self._names.keep(use.host for use in self.loaded.hosts if use.role == "endpoint")
        self._names_changed()  # some may have answered late

    async def _resolved(self, loaded: configuration.Loaded) -> Snapshot:
        """Its Snapshot, with the addresses that its host names have by now."""
        uses = [use for use in loaded.hosts if use.role != "admin"]
        await self._names.know(use.host for use in uses)
        failures = self._names.failures
        unbound = []
        for use in uses:
            if use.host in self._names.addresses:
                continue
            text = f"the host name {use.host!r} has no address ({failures.get(use.host, 'no answer yet')})"
            if use.role == "bind":
                unbound.append(use.error(text))
            else:
                _log.warning("%s", use.error(f"{text}: this endpoint is left out, and asked for again"))
        if unbound:
            raise ConfigErrors(unbound)
        return build_snapshot(loaded, self._names.addresses)

    def _names_changed(self) -> None:
        task = asyncio.get_running_loop().create_task(self._use_names())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _use_names(self) -> None:
        """Run the same configuration with the addresses that its host names have now."""
        async with self._changing:
            clusters = build_clusters(self.loaded, self._names.addresses)
            if self._running is None or clusters == self._snapshot.clusters or not self.ready:
                return
            snapshot = msgspec.structs.replace(self._snapshot, clusters=clusters)
            try:
                await self._change(snapshot, self.loaded.path, self._running.chains)
            except Exception as error:  # noqa: BLE001  # nobody else would hear of it, or try again
                if self.ready:
                    text = f"the new addresses of host names are not in use yet: {error}"
                    trace = None if isinstance(error, ProtokitError) else error
                    self.repeated.log(_log, logging.WARNING, "names", text, error=trace)
                    asyncio.get_running_loop().call_later(1, self._names_changed)
            else:
                self._snapshot = snapshot

    def _start_plugins(self, loaded: configuration.Loaded) -> list[Plugin]:
        """Start those that are new; gives back those whose files have changed since they were started."""
        known = self._started
        new = [one for one in loaded.registry.plugins if not one.is_same(known.get(one.name))]
        replaced = [known[one.name] for one in new if one.name in known]
        self._started = known | {one.name: one for one in new}
        Registry(new).call("protokit_startup", app=self)
        return replaced

    def _may_change(self) -> None:
        if self._draining or self._closing is not None:
            raise ProtokitError("the proxy is stopping, and takes no other configuration any more")

    async def _change(self, snapshot: Snapshot, path: str, chains: Sequence[list[Filter]] = ()) -> None:
        """Run a snapshot: every worker takes it and every address is bound, or all stays as it is."""
        seed = _seed()
        try:
            compiled = compile_snapshot(
                snapshot, self._endpoint_ids, self._listener_ids, seed, chains, self._rule_states
            )
        except BaseException:
            self._give_numbers_back()
            raise
        wanted = {listening.key(listener): listener for listener in snapshot.listeners}
        going = [key for key in self._open if key not in wanted]
        try:
            added = self._bind(
                {key: one for key, one in wanted.items() if key not in self._open}, going, path
            )
        except BaseException:
            compiled.table.free()
            self._give_numbers_back()
            raise
        self._token += 1
        token = self._token
        self._tables[token] = compiled
        try:
            await self._prepare(token)
            self._may_change()
            for sockets in added.values():
                for one in sockets:
                    one.listen(listening.BACKLOG)
        except BaseException as error:
            for sockets in added.values():
                for one in sockets:
                    one.close()
            for worker in self._workers:
                worker.abort()
            if isinstance(error, OSError):
                raise ConfigErrors([ConfigError(f"an address is taken: {error.strerror}", path)]) from None
            raise
        # From here on nothing fails and nothing waits. Who is in the queue of an address that goes is taken
        # before the change: its listener is in the old table only.
        new = {key: listening.Bound(compiled.listeners[key], sockets) for key, sockets in added.items()}
        gone = [self._open.pop(key) for key in going]
        for index, worker in enumerate(self._workers):
            for bound in gone:
                worker.unlisten(bound.number)
            worker.commit()
            for bound in new.values():
                worker.listen(bound.number, bound.fds[index])
        self._open |= new
        self._running = compiled
        self.addresses = {one.name: self._open[key].address for key, one in wanted.items()}

    def _bind(
        self, listeners: Mapping[listening.Key, Listener], going: list[listening.Key], path: str
    ) -> dict[listening.Key, list[socket.socket]]:
        added: dict[listening.Key, list[socket.socket]] = {}
        errors = []
        for key, listener in listeners.items():
            leaving = [fd for other in going if listening.overlap(key, other) for fd in self._open[other].fds]
            try:
                added[key] = listening.bind(listener, len(self._workers), leaving)
            except OSError as error:
                where = f"{listener.host}:{listener.port}"
                text = f"listener {listener.name!r} cannot bind {where}: {error.strerror}"
                if error.errno == errno.EADDRINUSE:
                    text += "; stop what listens there, or choose another port"
                errors.append(ConfigError(text, path))
        if errors:
            for sockets in added.values():
                for one in sockets:
                    one.close()
            raise ConfigErrors(errors)
        return added

    async def _prepare(self, token: int) -> None:
        """Let every worker get ready for a table."""
        unused, wires = self._unused_wires(), self._tables[token].wires
        self._wires |= wires
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._preparing[token] = (answer, [])
        try:
            for worker in self._workers:
                worker.prepare(self._tables[token].table, token)
            if not await answer:
                raise ProtokitError(
                    "a worker has no memory for the configuration (or it has more than 65536 endpoints);"
                    " nothing was changed"
                )
            for address in unused:  # what was told before the answers was handled before them
                del self._wires[address]
        finally:
            del self._preparing[token]

    def _prepared(self, token: int, *, well: bool) -> None:
        if not well:
            self._retired(token)
        if token in self._preparing:
            answer, so_far = self._preparing[token]
            so_far.append(well)
            if len(so_far) == len(self._workers) and not answer.done():
                answer.set_result(all(so_far))

    # Events from the workers.

    def _take_events(self, worker: native.Worker) -> None:
        for op in worker.events():
            try:
                self._take_event(worker, op)
            except Exception as error:  # noqa: BLE001  # whatever it was, the others are not to suffer for it
                text = f"an event of a worker could not be handled ({op.op})"
                self.repeated.log(_log, logging.ERROR, (op.op, logs.place(error)), text, error=error)

    def _take_event(self, worker: native.Worker, op: native.Op) -> None:
        if op.op == native.OP_FILTER:
            self._filters.start(worker, op)
        elif op.op == native.OP_CANCEL:
            self._filters.cancel(worker, op)
        elif op.op == native.OP_RETIRED:
            self._retired(op.token)
        elif op.op == native.OP_ENDPOINT:
            self._endpoint_changed(worker, op)
        elif op.op in (native.OP_MALFORMED, native.OP_MALFORMED_ANSWER):
            self._malformed(op)
        elif op.op == native.EVENT_BRIDGE:
            self._bridges.open(worker, op, self._wires)
        elif op.op == native.EVENT_UNBRIDGE:
            self._bridges.close(worker, op)
        elif op.op == native.EVENT_DRAINED:
            self._drained += 1
        elif op.op == native.EVENT_PREPARED:
            self._prepared(op.token, well=op.arg == 1)

    def _retired(self, token: int) -> None:
        compiled = self._tables[token]
        compiled.retired_by += 1
        if compiled.retired_by < len(self._workers):
            return
        del self._tables[token]
        compiled.table.free()
        self._give_numbers_back()

    def _unused_wires(self) -> set[int]:
        """Of no table, and spoken by no connection; what workers told of some may still wait here."""
        used = {address for table in self._tables.values() for address in table.wires}
        return {one for one in self._wires.keys() - used if native.holders(one) == 1}

    def _give_numbers_back(self) -> None:
        tables = self._tables.values()
        endpoints = {key for table in tables for key in table.endpoints}
        self._endpoint_ids.keep(endpoints)
        self._health.keep(endpoints)
        self._listener_ids.keep({*self._open, *(key for table in tables for key in table.listeners)})

    def _endpoint_changed(self, worker: native.Worker, op: native.Op) -> None:
        for compiled in self._tables.values():
            for key, number in compiled.endpoints.items():
                if number == op.arg:
                    self._health.changed(self._workers.index(worker), key, op.size, op.data)
                    return

    def _malformed(self, op: native.Op) -> None:
        from protokit.dataplane import malformed  # noqa: PLC0415  # not at the start

        say = malformed.of_client if op.op == native.OP_MALFORMED else malformed.of_server
        kind, text = say(native.Malformed.of(op), self._tables.values())
        self.repeated.log(_log, logging.WARNING, (op.op, kind), text)

    # Stopping.

    async def drain(self) -> None:
        """Stop gently, and return when nothing is in flight or ``drain.timeout`` has passed.

        Not ready at once; after ``drain.delay`` no new connections are accepted, and clients are told in
        their protocol to go elsewhere.
        """
        self.ready = False
        self._draining = True
        await asyncio.sleep(self._snapshot.drain_delay_ms / 1000)
        async with self._changing:
            for worker in self._workers:
                for bound in self._open.values():
                    worker.unlisten(bound.number)
                worker.drain()
            self._open.clear()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._snapshot.drain_timeout_ms / 1000
        quiet_since = loop.time()
        seen = -1
        while loop.time() < end:
            stats = [worker.stats() for worker in self._workers]
            requests = sum(one["requests"] for one in stats)
            if any(one["requests_active"] or one["fallback_active"] for one in stats) or requests != seen:
                quiet_since, seen = loop.time(), requests
            else:
                quiet = _HEARD_S if any(one["connections_told"] for one in stats) else _QUIET_S
                if loop.time() - quiet_since >= min(quiet, self._snapshot.drain_timeout_ms / 1000):
                    break
            await asyncio.sleep(_POLL_S)

    async def close(self) -> None:
        """Stop now: what is in flight is answered with an error, connections are closed. Idempotent."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.ready = False
        loop = asyncio.get_running_loop()
        self._names.close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        async with self._changing:  # a reload finds that it is too late
            for worker in self._workers:
                with contextlib.suppress(ProtokitError):
                    worker.shutdown()
        end = loop.time() + 1
        while (self._drained < len(self._workers) or self._bridges) and loop.time() < end:
            await asyncio.sleep(0.002)
        await self._filters.close()
        await self._bridges.stop()
        self._watch.look()  # a short life has its lines, too
        for worker in self._workers:
            loop.remove_reader(worker.event_fd)
            await loop.run_in_executor(None, worker.stop)
        if self._workers:
            Registry(self._started.values()).call("protokit_shutdown", app=self)
        self._workers.clear()
        for compiled in self._tables.values():
            compiled.table.free()
        self._tables.clear()

    # Looking in.

    def _rules(self) -> dict[str, dict[str, int]]:
        """What rules decided, by their names."""
        states = {} if self._running is None else self._running.states
        return {name: state.counts() for name, state in states.items()}

    def stats(self) -> dict[str, Any]:
        """Counters: of each worker, and of each endpoint and each rule that decides over all workers."""
        clusters: dict[str, dict[str, dict[str, int]]] = {}
        if self._running is not None:
            for (cluster, host, port), uid in self._running.endpoints.items():
                each = [worker.endpoint_stats(uid) for worker in self._workers]
                total = {name: sum(one[name] for one in each) for name in native.ENDPOINT_STAT_NAMES}
                clusters.setdefault(cluster, {})[f"{host}:{port}"] = total
        workers = [worker.stats() for worker in self._workers]
        rules = self._rules()
        return {"workers": workers, "clusters": clusters, "rules": rules, "reloads": dict(self.reloads)}

    def clusters(self) -> dict[str, Any]:
        """Each cluster with its endpoints: where each worker stands with them, and their counters."""
        counted = self.stats()["clusters"]
        return {
            cluster.name: {
                "balance": cluster.balance,
                "endpoints": [
                    {
                        "address": (address := f"{one.host}:{one.port}"),
                        "weight": one.weight,
                        "metadata": dict(one.metadata),
                        "ill": self._health.ill((cluster.name, one.host, one.port)),
                        **counted.get(cluster.name, {}).get(address, {}),
                    }
                    for one in cluster.endpoints
                ],
            }
            for cluster in self._snapshot.clusters
        }
