"""The Proxy: workers and what decides for them in a loop: start, reload, names, filters, drain."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from protokit import config as configuration
from protokit import logs, native
from protokit.config.check import same_servers
from protokit.control import build_clusters, build_snapshot
from protokit.control.names import Names
from protokit.dataplane import listening
from protokit.dataplane.watch import DENIALS, Watch
from protokit.dataplane.workers import Workers
from protokit.errors import ConfigError, ConfigErrors, ProtokitError
from protokit.plugins import Plugin, Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from protokit.control.snapshot import Cluster, Endpoint, Snapshot
    from protokit.dataplane.adjust import Adjustments
    from protokit.dataplane.bridge import Bridges
    from protokit.dataplane.chains import Chain
    from protokit.dataplane.endpoints import Health
    from protokit.dataplane.ends import Ends
    from protokit.dataplane.filters import FilterRunner
    from protokit.dataplane.quotas import Quotas

_log = logging.getLogger("protokit.proxy")
_POLL_S = 0.02
_TABLES = 32  # that may be in use when endpoints are changed: each is as large as the configuration
_QUIET_S = 0.2
_HEARD_S = 5.0  # the same, while clients are there that were told: what they ask meanwhile they asked before


class Proxy:
    """A running proxy; embed it with ``async with Proxy(config) as proxy``.

    Args:
        source: a configuration file's path, the same as a mapping, or a loaded configuration.
        workers: those that run it already; None to start them.

    Attributes:
        ready: whether it wants traffic: started, and not draining.
        reloads: how many were ``done``, and how many ``failed``, counted by whoever asks for them; and
            whether the last one did.
        repeated: for log lines whose number others decide.
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, Any] | configuration.Loaded,
        workers: Workers | None = None,
    ) -> None:
        self.loaded = source if isinstance(source, configuration.Loaded) else configuration.load(source)
        self.ready = False
        self.reloads = {"done": 0, "failed": 0, "last_failed": 0}
        self.repeated = logs.Repeated()
        self._names = Names(self._names_changed, self.repeated)
        self._snapshot = build_snapshot(self.loaded)
        self._workers = workers or Workers()
        self._changing = asyncio.Lock()
        self._draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._filters: FilterRunner | None = None
        self._drained = 0
        self._tells = self._asks = False
        self._closing: asyncio.Task[None] | None = None
        self._watch = Watch(self._workers.each, self.repeated, self._states, self._breakers, self._guards)
        self._watching: asyncio.Task[None] | None = None
        self._started: dict[str, Plugin] = {}

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """(host, port) by listener, with the real ports, once started."""
        return self._workers.addresses

    @functools.cached_property
    def _bridges(self) -> Bridges:
        from protokit.dataplane.bridge import Bridges  # noqa: PLC0415  # for codecs in Python

        return Bridges(lambda: self._snapshot.limits, self.repeated)

    @functools.cached_property
    def _ends(self) -> Ends:
        from protokit.dataplane.ends import Ends  # noqa: PLC0415  # where filters want to know

        self._tells = True
        return Ends(self._workers.each, self._workers.tables, self.repeated)

    @functools.cached_property
    def _quotas(self) -> Quotas:
        from protokit.dataplane.quotas import Quotas  # noqa: PLC0415  # where limiters are asked

        self._asks = True
        return Quotas(self._workers.each, self._workers.tables, self.repeated)

    @functools.cached_property
    def _health(self) -> Health:
        from protokit.dataplane.endpoints import Health  # noqa: PLC0415  # at the start nobody is ill

        return Health(self.repeated.apart())

    @functools.cached_property
    def _adjusted(self) -> Adjustments:
        from protokit.dataplane.adjust import Adjustments  # noqa: PLC0415  # as above

        return Adjustments()

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
            if not self._workers.each:
                self._workers.start(self._snapshot.workers)
            for worker in self._workers.each:
                loop.add_reader(worker.event_fd, self._take_events, worker)
            self._snapshot = await self._resolved(self.loaded)
            self._start_plugins(self.loaded)
            if self._workers.running is None:
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
            now, wanted = self._snapshot.workers, loaded.config.workers
            text = f"workers: {now} run, and a reload cannot make it {wanted}: restart, or write {now}"
            raise ConfigErrors([ConfigError(text, loaded.path)])
        snapshot = await self._resolved(loaded)
        async with self._changing:
            self._may_change()
            replaced = self._start_plugins(loaded)
            try:
                await self._change(self._adjusted.applied(snapshot), loaded.path)
            except BaseException:
                back = {one.name: one for one in replaced}
                Registry(self._started[name] for name in back).call("protokit_shutdown", app=self)
                self._started |= back
                raise
            Registry(replaced).call("protokit_shutdown", app=self)
            self.loaded, self._snapshot = loaded, snapshot
            self._adjusted.forget(snapshot)
            self._keep_names()

    def _keep_names(self) -> None:
        self._names.keep(use.host for use in self.loaded.hosts if use.role == "endpoint")
        self._names_changed()  # some may have answered late
        self._tell_same()

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
            running = self._workers.running
            clusters = build_clusters(self.loaded, self._names.addresses)
            if running is None or clusters == self._snapshot.clusters or not self.ready:
                return
            snapshot = msgspec.structs.replace(self._snapshot, clusters=clusters)
            try:
                await self._change(self._adjusted.applied(snapshot), self.loaded.path, running.chains)
            except Exception as error:  # noqa: BLE001  # nobody else would hear of it, or try again
                if self.ready:
                    text = f"the new addresses of host names are not in use yet: {error}"
                    trace = None if isinstance(error, ProtokitError) else error
                    self.repeated.log(_log, logging.WARNING, "names", text, error=trace)
                    asyncio.get_running_loop().call_later(1, self._names_changed)
            else:
                self._snapshot = snapshot
                self._tell_same()

    async def adjust(self, cluster: str, address: str, query: str) -> dict[str, Any]:
        """Change how an endpoint is used, from now on: ``weight=3``, ``drain=true`` ... (``adjust.read``).

        Args:
            cluster: its cluster's name.
            address: as ``clusters`` shows it.
            query: what to change.

        Returns:
            The endpoint as ``clusters`` shows it then.

        Raises:
            LookupError: there is no such endpoint, and which there are.
            ValueError: the query is wrong.
            ProtokitError: the proxy is stopping, or a worker cannot take it; nothing is changed.
        """
        asked = self._adjusted.ask(cluster, address, query)
        try:
            async with self._changing:
                if asked.waits:
                    await self._adjusted.make(self._snapshot, self._run_adjusted)
        finally:
            self._adjusted.withdraw(asked)
        if asked.error is not None:
            raise asked.error
        every = self.clusters().get(cluster, {"endpoints": ()})["endpoints"]
        shown: dict[str, Any] | None = next((one for one in every if one["address"] == address), None)
        if shown is None:
            raise LookupError(f"endpoint {address} of cluster {cluster!r} has gone meanwhile")
        return shown

    async def _run_adjusted(self, snapshot: Snapshot) -> None:
        self._may_change()
        if len(self._workers.tables) >= _TABLES:
            text = f"requests are under way still that began before {_TABLES} other changes; ask again later"
            raise ProtokitError(text)
        running = self._workers.running
        await self._change(snapshot, self.loaded.path, running.chains if running else ())

    def _tell_same(self) -> None:
        """Warn of endpoints whose names stand for one server."""
        for text in same_servers(self.loaded.config, self._names.addresses):
            self.repeated.log(_log, logging.WARNING, text, text)

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

    async def _change(self, snapshot: Snapshot, path: str, chains: Sequence[Chain] = ()) -> None:
        """Run a snapshot: every worker takes it and every address is bound, or all stays as it is."""
        answered = asyncio.Event()
        change = self._workers.prepare(snapshot, path, chains, answered.set)
        try:
            await answered.wait()
            self._may_change()
            self._workers.commit(change)
        except BaseException:
            self._workers.abort(change)
            raise
        if change.compiled.tells:
            self._ends.start()
        if change.compiled.limiters:
            self._quotas.start()

    # Events from the workers.

    def _take_events(self, worker: native.Worker) -> None:
        for op in worker.events():
            try:
                self._take_event(worker, op)
            except Exception as error:  # noqa: BLE001  # whatever it was, the others are not to suffer for it
                text = f"an event of a worker could not be handled ({op.op})"
                self.repeated.log(_log, logging.ERROR, (op.op, logs.place(error)), text, error=error)

    def _take_event(self, worker: native.Worker, op: native.Op) -> None:
        if self._tells and op.op == native.OP_RETIRED:
            self._ends.take()  # while the table is there
        if self._workers.took(op):
            if op.op == native.OP_RETIRED:
                self._health.keep(self._workers.endpoints())
            return
        if op.op in (native.OP_FILTER, native.OP_ANSWER):
            self._filter_runner().start(worker, op)
        elif op.op == native.OP_CANCEL:
            self._filter_runner().cancel(worker, op)
        elif op.op == native.OP_ENDPOINT:
            self._endpoint_changed(worker, op)
        elif op.op == native.OP_PANIC:
            name = self._workers.tables[op.token].names[op.arg]
            self._health.panics(self._workers.each.index(worker), name, op)
        elif op.op == native.OP_PREFER:
            name = self._workers.tables[op.token].names[op.arg]
            self._health.prefers(self._workers.each.index(worker), name, op)
        elif op.op in (native.OP_MALFORMED, native.OP_MALFORMED_ANSWER):
            self._malformed(op)
        elif op.op == native.EVENT_BRIDGE:
            self._bridges.open(worker, op, self._workers.wires)
        elif op.op == native.EVENT_UNBRIDGE:
            self._bridges.close(worker, op)
        elif op.op == native.EVENT_DRAINED:
            self._drained += 1

    def _filter_runner(self) -> FilterRunner:
        if self._filters is None:
            from protokit.dataplane.filters import FilterRunner  # noqa: PLC0415  # where there are filters

            self._filters = FilterRunner(self._workers.tables, self._workers.wires, self.repeated)
        return self._filters

    def _endpoint_changed(self, worker: native.Worker, op: native.Op) -> None:
        for compiled in self._workers.tables.values():
            for key, number in compiled.endpoints.items():
                if number == op.arg:
                    self._health.changed(self._workers.each.index(worker), key, op)
                    return

    def _malformed(self, op: native.Op) -> None:
        from protokit.dataplane import malformed  # noqa: PLC0415  # not at the start

        say = malformed.of_client if op.op == native.OP_MALFORMED else malformed.of_server
        kind, text = say(native.Malformed.of(op), self._workers.tables.values())
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
            self._workers.drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._snapshot.drain_timeout_ms / 1000
        quiet_since = loop.time()
        seen = -1
        while loop.time() < end:
            stats = [worker.stats() for worker in self._workers.each]
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
            for worker in self._workers.each:
                with contextlib.suppress(ProtokitError):
                    worker.shutdown()
        end = loop.time() + 1
        while (self._drained < len(self._workers.each) or self._bridges) and loop.time() < end:
            await asyncio.sleep(0.002)
        if self._filters is not None:
            await self._filters.close()
        if self._tells:
            await self._ends.close()
        if self._asks:
            await self._quotas.close()
        await self._bridges.stop()
        self._watch.look()  # a short life has its lines, too
        for worker in self._workers.each:
            loop.remove_reader(worker.event_fd)
        workers = self._workers.leave()
        for worker in workers:
            await loop.run_in_executor(None, worker.stop)
        if workers:
            Registry(self._started.values()).call("protokit_shutdown", app=self)
        self._workers.free()

    # Looking in.

    def _rules(self) -> dict[str, dict[str, int]]:
        """What rules decided, by their names."""
        counts = {name: state.counts() for name, state in self._states().items()}
        return {
            name: {what: one[what] for what in one if what not in DENIALS} for name, one in counts.items()
        }

    def _access(self) -> dict[str, dict[str, int]]:
        """What listeners denied, by the rules' names; those that did not are left out: there may be many."""
        counts = {name: state.counts() for name, state in self._guards().items()}
        denied = {name: {what: one[what] for what in DENIALS} for name, one in counts.items()}
        return {name: one for name, one in denied.items() if any(one.values())}

    def _breakers(self) -> dict[str, dict[str, dict[str, int]]]:
        """Of each breaker its limit, what is under way and what it refused, by clusters' names."""
        return self._workers.breakers(self._snapshot.clusters)

    def _endpoint_breaker(self, cluster: Cluster, one: Endpoint) -> dict[str, Any]:
        """What of an endpoint is under way, where it has a breaker."""
        running = self._workers.running
        breaker = cluster.written.breaker
        if breaker is None or breaker.endpoint is None or running is None:
            return {}
        number = running.endpoints.get((cluster.name, one.host, one.port))
        return {} if number is None else {"breaker": self._workers.shared.endpoint(number)}

    def _states(self) -> dict[str, native.RuleState]:
        return {} if self._workers.running is None else self._workers.running.states

    def _guards(self) -> dict[str, native.RuleState]:
        return {} if self._workers.running is None else self._workers.running.access

    def stats(self) -> dict[str, Any]:
        """Counters: of each worker, and of each endpoint, rule, breaker and filter over all workers."""
        return self._workers.stats() | {
            "rules": self._rules(),
            "access": self._access(),
            "filters": {} if self._workers.running is None else self._workers.running.filters(),
            "limiters": self._quotas.counts() if self._asks else {},
            "breakers": self._breakers(),
            "reloads": dict(self.reloads),
        }

    def clusters(self) -> dict[str, Any]:
        """Each cluster with its endpoints: where each worker stands with them, and their counters."""
        counted, breakers = self._workers.stats()["clusters"], self._breakers()
        return {
            cluster.name: {
                "balance": cluster.written.balance,
                **({"breaker": breakers[cluster.name]} if cluster.name in breakers else {}),
                "panic": self._health.panicking(cluster.name),
                **({"spills": self._health.spilling(cluster.name)} if cluster.written.prefer else {}),
                "endpoints": [
                    {
                        "address": (address := listening.place(one.host, one.port)),
                        "weight": (changed := self._adjusted.of(cluster.name, one)).used,
                        "configured": one.weight,
                        "drain": changed.drain,
                        "metadata": dict(one.metadata),
                        "ill": self._health.ill((cluster.name, one.host, one.port)),
                        **self._endpoint_breaker(cluster, one),
                        **counted.get(cluster.name, {}).get(address, {}),
                    }
                    for one in cluster.endpoints
                ],
            }
            for cluster in self._snapshot.clusters
        }
