"""From a Snapshot to the engine's routing table, with identities that last across reloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from protokit import native
from protokit.dataplane import listening
from protokit.errors import ConfigError, ConfigErrors
from protokit.model import Filter
from protokit.plugins import reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from protokit.control.snapshot import Endpoint, Listener, Rule, Snapshot, Use
    from protokit.wire.codec import Wire


class Identities:
    """Numbers for things that keep their connections and counters across reloads."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._free: list[int] = []
        self._next = 0

    def number(self, key: Any) -> int:
        """The number of ``key``, a new one the first time."""
        if key not in self._numbers:
            if self._free:
                self._numbers[key] = self._free.pop()
            else:
                self._numbers[key] = self._next
                self._next += 1
        return self._numbers[key]

    def keep(self, keys: Iterable[Any]) -> None:
        """Forget all other keys; their numbers are given out again."""
        wanted = set(keys)
        for key in [key for key in self._numbers if key not in wanted]:
            self._free.append(self._numbers.pop(key))


class Compiled:
    """A table in use, and what Python has to know of it.

    Attributes:
        table: the engine's.
        clusters: index by name.
        chains: filters by chain number.
        endpoints: numbers of (cluster, host, port).
        listeners: numbers of ``listening.key``.
        wires: formats by their codec's address.
    """

    def __init__(self, snapshot: Snapshot, table: native.Table) -> None:
        self.snapshot = snapshot
        self.table = table
        self.clusters: dict[str, int] = {}
        self.chains: list[list[Filter]] = []
        self.endpoints: dict[tuple[str, str, int], int] = {}
        self.listeners: dict[listening.Key, int] = {}
        self.wires: dict[int, Wire] = {
            one.wire.address: one.wire for listener in snapshot.listeners for one in listener.protocols
        }
        self.retired_by = 0
        self.errors: list[ConfigError] = []


def compile_snapshot(
    snapshot: Snapshot,
    endpoints: Identities,
    listeners: Identities,
    seed: int,
    chains: Sequence[list[Filter]] = (),
) -> Compiled:
    """Build the table off the workers' threads.

    Args:
        snapshot: what to run.
        endpoints: identities of (cluster, host, port).
        listeners: identities of ``listening.key``. Another name at the same place is another listener:
            the engine compares names.
        seed: of the table's hashes.
        chains: of a Snapshot with the same listeners and routes, whose filters go on; else they are made.

    Raises:
        ConfigErrors: filters that cannot be made with the options that they are given.
    """
    builder = native.TableBuilder(snapshot.limits, seed)
    compiled = Compiled(snapshot, native.Table(None))
    made = iter(chains)
    for cluster in snapshot.clusters:
        compiled.clusters[cluster.name] = builder.cluster(
            cluster.name, cluster.balance, cluster.max_connections, cluster.connect_timeout_ms
        )
        for endpoint in cluster.endpoints:
            uid = endpoints.number(_endpoint_key(cluster.name, endpoint))
            compiled.endpoints[_endpoint_key(cluster.name, endpoint)] = uid
            builder.endpoint(uid, endpoint.host, endpoint.port, endpoint.weight)
    rules = {table.name: table.rules for table in snapshot.routes}
    shared: dict[str, int] = {}
    for listener in snapshot.listeners:
        routes = plan = None
        if listener.routes is None:
            plan = builder.plan(listener.name, filter_chain=_chain(compiled, listener.filters, made))
            builder.split(compiled.clusters[listener.cluster or listener.fallback or ""], 1)
        elif listener.routes in shared and not listener.filters:
            routes = shared[listener.routes]
        else:
            # A listener with filters of its own gets a copy of the table, whose plans name them.
            routes = _routes(builder, compiled, rules[listener.routes], listener, made)
            if not listener.filters:
                shared[listener.routes] = routes
        number = compiled.listeners[listening.key(listener)] = listeners.number(listening.key(listener))
        builder.listener(
            number,
            listener.name,
            routes=routes,
            plan=plan,
            pinned=listener.pinned,
            codecs=[protocol.wire.address for protocol in listener.protocols],
            fallback=None if listener.fallback is None else compiled.clusters[listener.fallback],
            goaway=listener.goaway,
        )
    if compiled.errors:
        raise ConfigErrors(compiled.errors)
    compiled.table = builder.finish()
    return compiled


def _endpoint_key(cluster: str, endpoint: Endpoint) -> tuple[str, str, int]:
    return (cluster, endpoint.host, endpoint.port)


def _chain(compiled: Compiled, uses: tuple[Use, ...], made: Iterator[list[Filter]]) -> int | None:
    if not uses:
        return None
    chain = next(made, None)
    if chain is None:
        chain = [_filter(compiled, use) for use in uses]
    compiled.chains.append(chain)
    return len(compiled.chains) - 1


def _filter(compiled: Compiled, use: Use) -> Filter:
    try:
        return cast("Filter", compiled.snapshot.filters[use.name](use.options))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # somebody else's code
        text = f"filter {use.name!r} cannot be made with its options: {reason(error)}"
        compiled.errors.append(ConfigError(text))
        return Filter()


def _routes(
    builder: native.TableBuilder,
    compiled: Compiled,
    rules: tuple[Rule, ...],
    listener: Listener,
    made: Iterator[list[Filter]],
) -> int:
    plans = [_plan(builder, compiled, rule, listener.filters, made) for rule in rules]
    routes = builder.routes(listener.routes or "")
    for rule, plan in zip(rules, plans, strict=True):
        match = rule.match
        builder.rule(match.service, match.method, match.version, match.group, plan)
    return routes


def _plan(
    builder: native.TableBuilder,
    compiled: Compiled,
    rule: Rule,
    before: tuple[Use, ...],
    made: Iterator[list[Filter]],
) -> int:
    retry = rule.retry
    index = builder.plan(
        rule.name,
        timeout_ms=rule.timeout_ms,
        attempts=retry.attempts if retry else 0,
        retry_on=sum(native.RETRY_ON[reason] for reason in set(retry.on)) if retry else 0,
        idempotent=bool(retry and retry.idempotent),
        filter_chain=_chain(compiled, before + rule.filters, made),
    )
    for cluster, weight in rule.split:
        builder.split(compiled.clusters[cluster], weight)
    return index
