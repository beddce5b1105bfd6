"""The Proxy: workers, listening sockets, the tables they run, reload, drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, cast

import msgspec

from protokit import config as configuration
from protokit import logs, native
from protokit.control import Names, build_clusters, build_snapshot
from protokit.dataplane.bridge import Bridges
from protokit.dataplane.compile import Compiled, Identities, compile_snapshot, listener_key
from protokit.dataplane.filters import FilterRunner
from protokit.dataplane.watch import Watch
from protokit.errors import ConfigError, ConfigErrors, ProtokitError
from protokit.plugins import Plugin, Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from protokit.control.snapshot import Listener, Snapshot
    from protokit.model import Filter
    from protokit.wire import PythonCodec
    from protokit.wire.ask import Wire

_log = logging.getLogger("protokit.proxy")
_BACKLOG = 1024
_POLL_S = 0.02
_QUIET_S = 0.2


def _seed() -> int:
    return int.from_bytes(os.urandom(8)) >> 1


class Proxy:
    """A running proxy; embed it with ``async with Proxy(config) as proxy``.

    Args:
        source: a configuration file's path, the same as a mapping, or a loaded configuration.

    Attributes:
        addresses: (host, port) by listener, with the real ports, once started.
        ready: whether it wants traffic: started, and not draining.
        repeated: for log lines whose number others decide.
    """

    def __init__(self, source: str | Path | Mapping[str, Any] | configuration.Loaded) -> None:
        self.loaded = source if isinstance(source, configuration.Loaded) else configuration.load(source)
        self.addresses: dict[str, tuple[str, int]] = {}
        self.ready = False
        self.repeated = logs.Repeated()
        self._names = Names(self._names_changed, self.repeated)
        self._snapshot = build_snapshot(self.loaded)
        self._workers: list[native.Worker] = []
        self._tables: dict[int, Compiled] = {}
        self._token = 0
        self._endpoint_ids = Identities()
        self._listener_ids = Identities()
        self._open: dict[tuple[str, str, int], tuple[str, int]] = {}
        self._wires: dict[int, Wire] = {}
        self._filters = FilterRunner(self._tables, self._wires, self.repeated)
        self._bridges = Bridges(lambda: self._snapshot.limits, self.repeated)
        self._drained = 0
        self._closing: asyncio.Task[None] | None = None
        self._watch = Watch(self._workers, self.repeated)
        self._watching: asyncio.Task[None] | None = None
        self._started: dict[str, Plugin] = {}

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
            self._apply(self._snapshot)
        except BaseException:
            await self.close()
            raise
        self._watching = loop.create_task(self._watch.run())
        self.ready = True
        self._keep_names()

    async def reload(self, source: str | Path | Mapping[str, Any] | None = None) -> None:
        """Run another configuration; requests in flight finish on the one they started with.

        Args:
            source: None for the file it was started with, read again.

        Raises:
            ConfigErrors: it is wrong, or cannot be run; the old one goes on.
        """
        loaded = await asyncio.get_running_loop().run_in_executor(
            None, configuration.load, self.loaded.path if source is None else source
        )
        if loaded.config.workers != self._snapshot.workers:
            raise ConfigErrors([ConfigError("workers cannot change while running; restart", loaded.path)])
        snapshot = await self._resolved(loaded)
        self._start_plugins(loaded)
        self._apply(snapshot)
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
        clusters = build_clusters(self.loaded, self._names.addresses)
        if clusters == self._snapshot.clusters or not self.ready:
            return
        snapshot = msgspec.structs.replace(self._snapshot, clusters=clusters)
        try:
            self._apply(snapshot, self._tables[self._token].chains)
        except ProtokitError as error:
            text = f"the new addresses of host names are not in use yet: {error}"
            self.repeated.log(_log, logging.WARNING, "names", text)
            asyncio.get_running_loop().call_later(1, self._names_changed)
        else:
            self._snapshot = snapshot

    def _start_plugins(self, loaded: configuration.Loaded) -> None:
        new = [plugin for plugin in loaded.registry.plugins if plugin.name not in self._started]
        self._started |= {plugin.name: plugin for plugin in new}
        Registry(new).call("protokit_startup", app=self)

    def _apply(self, snapshot: Snapshot, chains: Sequence[list[Filter]] = ()) -> None:
        seed = _seed()
        compiled = compile_snapshot(snapshot, self._endpoint_ids, self._listener_ids, seed, chains)
        wanted = {listener_key(listener): listener for listener in snapshot.listeners}
        try:
            added = {key: self._bind(listener) for key, listener in wanted.items() if key not in self._open}
        except ConfigErrors:
            compiled.table.free()
            raise
        self._token += 1
        self._tables[self._token] = compiled
        self._wires |= {one.wire.address: one.wire for of in snapshot.listeners for one in of.protocols}
        for worker in self._workers:
            worker.apply(compiled.table, self._token)
        for key, sockets in added.items():
            self._open[key] = sockets[0].getsockname()[:2]
            for worker, one in zip(self._workers, sockets, strict=True):
                worker.listen(self._listener_ids.number(key), one.detach())
        for key in [key for key in self._open if key not in wanted]:
            del self._open[key]
            for worker in self._workers:
                worker.unlisten(self._listener_ids.number(key))
        self.addresses = {key[0]: address for key, address in self._open.items()}

    def _bind(self, listener: Listener) -> list[socket.socket]:
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        sockets: list[socket.socket] = []
        port = listener.port
        try:
            for _ in self._workers:
                one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                sockets.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if len(self._workers) > 1:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                one.bind((listener.host, port))
                one.listen(_BACKLOG)
                port = one.getsockname()[1]
        except OSError as error:
            for one in sockets:
                one.close()
            message = (
                f"listener {listener.name!r} cannot bind {listener.host}:{listener.port}: {error.strerror}"
            )
            raise ConfigErrors([ConfigError(message, self.loaded.path)]) from None
        return sockets

    # Events from the workers.

    def _take_events(self, worker: native.Worker) -> None:
        try:
            for op in worker.events():
                if op.op == native.OP_FILTER:
                    self._filters.start(worker, op)
                elif op.op == native.OP_CANCEL:
                    self._filters.cancel(worker, op)
                elif op.op == native.OP_RETIRED:
                    self._retired(op.token)
                elif op.op == native.OP_ENDPOINT:
                    self._endpoint_changed(op.arg, reachable=op.size == 1)
                elif op.op == native.EVENT_BRIDGE:
                    self._bridges.open(worker, op, cast("PythonCodec", self._wires[op.codec]))
                elif op.op == native.EVENT_UNBRIDGE:
                    self._bridges.close(worker, op)
                elif op.op == native.EVENT_DRAINED:
                    self._drained += 1
        except Exception:  # noqa: BLE001  # whatever it was: see below
            # The descriptor is level-triggered: left armed it would call this again at once, for ever.
            asyncio.get_running_loop().remove_reader(worker.event_fd)
            _log.exception("events of a worker could not be handled; it runs on, without filters and reloads")

    def _retired(self, token: int) -> None:
        compiled = self._tables[token]
        compiled.retired_by += 1
        if compiled.retired_by < len(self._workers):
            return
        del self._tables[token]
        compiled.table.free()
        self._endpoint_ids.keep(key for table in self._tables.values() for key in table.endpoints)

    def _endpoint_changed(self, uid: int, *, reachable: bool) -> None:
        for compiled in self._tables.values():
            for (cluster, host, port), number in compiled.endpoints.items():
                if number == uid:
                    level = logging.INFO if reachable else logging.WARNING
                    text = "is reachable again" if reachable else "cannot be reached"
                    _log.log(level, "endpoint %s:%s of cluster %s %s", host, port, cluster, text)
                    return

    # Stopping.

    async def drain(self) -> None:
        """Stop gently, and return when nothing is in flight or ``drain.timeout`` has passed.

        Not ready at once; after ``drain.delay`` no new connections are accepted, and clients are told in
        their protocol to go elsewhere.
        """
        self.ready = False
        await asyncio.sleep(self._snapshot.drain_delay_ms / 1000)
        for key in list(self._open):
            for worker in self._workers:
                worker.unlisten(self._listener_ids.number(key))
        self._open.clear()
        for worker in self._workers:
            worker.drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._snapshot.drain_timeout_ms / 1000
        quiet_since = loop.time()
        seen = -1
        while loop.time() < end:
            stats = [worker.stats() for worker in self._workers]
            requests = sum(one["requests"] for one in stats)
            if any(one["requests_active"] or one["fallback_active"] for one in stats) or requests != seen:
                quiet_since, seen = loop.time(), requests
            elif loop.time() - quiet_since >= min(_QUIET_S, self._snapshot.drain_timeout_ms / 1000):
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

    def stats(self) -> dict[str, Any]:
        """Counters: of each worker, and of each endpoint over all workers."""
        clusters: dict[str, dict[str, dict[str, int]]] = {}
        if self._tables:
            for (cluster, host, port), uid in self._tables[max(self._tables)].endpoints.items():
                each = [worker.endpoint_stats(uid) for worker in self._workers]
                total = {name: sum(one[name] for one in each) for name in native.ENDPOINT_STAT_NAMES}
                clusters.setdefault(cluster, {})[f"{host}:{port}"] = total
        return {"workers": [worker.stats() for worker in self._workers], "clusters": clusters}
