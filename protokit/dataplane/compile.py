"""From a Snapshot to the engine's routing table, with identities that last across reloads."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from protokit import native
from protokit.config import schema
from protokit.control.snapshot import Check, Endpoint, Listener
from protokit.dataplane import conditions, destinations, limits, listening
from protokit.errors import ConfigError, ConfigErrors
from protokit.model import Filter
from protokit.native import RuleState, Table, pack_address
from protokit.plugins import is_async, reason
from protokit.table import Image, Source

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from protokit.control.snapshot import AccessRule, Snapshot
    from protokit.dataplane.chains import Chain, Link, Switches
    from protokit.dataplane.quotas import Limited
    from protokit.wire.codec import Wire

# From which class each record is filled; which of its fields say where it belongs; what is Python's alone.
CLUSTERS = Source(
    "clusters",
    schema.Cluster,
    columns=(
        "uid",
        "endpoints",
        "endpoint_count",
        "connect_timeout_ms",
        "breaker",
        "subset",
        "hash",
        "check",
        "prefer",
        "panic",
    ),
    beside=("endpoints", "connect_timeout", "breaker", "hash", "filters", "health", "prefer", "panic"),
)
ENDPOINTS = Source(
    "endpoints", Endpoint, columns=("uid", "name", "addr_size", "addr"), beside=("host", "port", "metadata")
)
PLANS = Source(
    "plans",
    schema.Rule,
    columns=(
        "name",
        "split",
        "split_count",
        "sticky",
        "limit",
        "state",
        "change",
        "change_count",
        "change_answers",
        "fault",
        "hedge",
        "mirror",
        "filter",
        "answers",
        "ends",
        "open",
        "verdict",
        "identity",
    ),
    beside=(
        "match",
        "cluster",
        "subset",
        "fallback",
        "split",
        "sticky",
        "limit",
        "set",
        "fault",
        "hedge",
        "mirror",
        "filters",
    ),
)
ROUTES = Source("routes", schema.Routes, columns=("rules", "rule_count", "verdicts"), beside=("rules",))
RULES = Source("rules", columns=(*conditions.TEXTS, "condition", "condition_count", "plan"))
LISTENERS = Source(
    "listeners",
    Listener,
    columns=("present", "routes", "plan", "access", "dry_run", "codec", "codec_count", "fallback"),
    beside=(
        "host",
        "port",
        "protocols",
        "routes",
        "cluster",
        "filters",
        "fallback",
        "reuse_port",
        "access",
        "dry_run",
    ),
)
_ABSENT = Listener("", "", 0, (), routes=None, cluster=None, pinned=False)


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

    def keep(self, keys: Iterable[Any]) -> list[int]:
        """Forget all other keys; their numbers, which are given out again."""
        wanted = set(keys)
        gone = [self._numbers.pop(key) for key in [key for key in self._numbers if key not in wanted]]
        self._free += gone
        return gone


class Compiled:
    """A table in use, and what Python has to know of it.

    Attributes:
        table: the engine's.
        clusters: index by name.
        names: by index, of subsets, too: a cluster's, and of its subset or nothing.
        cluster_names: by index, of those of subsets, too.
        chains: filters by chain number; first those of clusters.
        endpoints: numbers of (cluster, host, port).
        endpoint_names: by these numbers.
        cluster_ids: numbers of clusters' names, whatever table they are in.
        listeners: numbers of ``listening.key``.
        wires: formats by their codec's address.
        states: what rules have beyond the table, by the rules' names.
        access: the same of what listeners allow and deny.
    """

    def __init__(self, snapshot: Snapshot, table: Table) -> None:
        self.snapshot = snapshot
        self.table = table
        self.clusters: dict[str, int] = {}
        self.names: list[tuple[str, str]] = []
        self.cluster_names: list[str] = []
        self.chains: list[Chain] = []
        self.chained: dict[str, int] = {}  # chains of clusters, by their names
        self.chain_rules: dict[int, str] = {}  # whose the others are
        self.chain_identities: dict[int, int] = {}  # of these rules, over reloads
        self.tells = False  # some filter is told of ends
        self.limiters: dict[int, Limited] = {}  # by the states' addresses
        self.endpoints: dict[tuple[str, str, int], int] = {}
        self.cluster_ids: dict[str, int] = {}
        self.listeners: dict[listening.Key, int] = {}
        self.wires: dict[int, Wire] = {
            one.wire.address: one.wire for listener in snapshot.listeners for one in listener.protocols
        }
        self.states: dict[str, RuleState] = {}
        self.access: dict[str, RuleState] = {}
        self.retired_by = 0
        self.errors: dict[int, ConfigError] = {}  # by the filter's place in the configuration

    @functools.cached_property
    def endpoint_names(self) -> dict[int, str]:
        """See above."""
        return {uid: listening.place(host, port) for (_, host, port), uid in self.endpoints.items()}

    def cluster_chain(self, name: str | None) -> Chain:
        """The filters of a cluster."""
        return self.chains[self.chained[name]] if name in self.chained else []

    def filters(self) -> dict[str, dict[str, int]]:
        """How those that failed, or may be switched off, do: by their places."""
        every = [one for chain in self.chains for link in chain for one in link.switches.values()]
        return {
            f"{one.place}: {one.use.name}.{one.what}": {
                "failures": one.failures,
                "in_a_row": one.in_a_row,
                "off": int(one.off),
                **({"dropped": one.dropped} if one.what == "on_end" else {}),
            }
            for one in every
        }


class States:
    """What outlives a table: of rules, and of filters."""

    def __init__(self) -> None:
        self.rules = limits.RuleStates()

    @functools.cached_property
    def switches(self) -> Switches:
        """Of filters."""
        from protokit.dataplane.chains import Switches  # noqa: PLC0415  # where there are filters

        return Switches()


def compile_snapshot(
    snapshot: Snapshot,
    endpoints: Identities,
    listeners: Identities,
    seed: int,
    chains: Sequence[Chain] = (),
    states: States | None = None,
    clusters: Identities | None = None,
) -> Compiled:
    """Build the table off the workers' threads.

    Args:
        snapshot: what to run.
        endpoints: identities of (cluster, host, port).
        listeners: identities of ``listening.key``. Another name at the same place is another listener:
            the engine compares names.
        seed: of the table's hashes.
        chains: of a Snapshot with the same listeners and routes, whose filters go on; else they are made.
        states: what rules and filters have beyond tables; None: all begin anew.
        clusters: identities of clusters' names; None: nobody else has any.

    Raises:
        ConfigErrors: filters that cannot be made with the options that they are given.
    """
    compiled = Compiled(snapshot, Table(None))
    states = States() if states is None else states
    compiling = _Compiling(compiled, Image(snapshot.limits, seed), iter(chains), states)
    compiling.clusters(endpoints, clusters or Identities())
    compiling.listeners(listeners)
    compiling.subsets()
    if compiled.errors:
        raise ConfigErrors([*compiled.errors.values()])
    compiled.table = compiling.image.finish(compiling.codecs, compiling.shared)
    return compiled


def _endpoint_key(cluster: str, endpoint: Endpoint) -> tuple[str, str, int]:
    return (cluster, endpoint.host, endpoint.port)


class _Check(msgspec.Struct, frozen=True):
    """pk_check."""

    by: str
    every: int
    timeout: int
    unhealthy: int
    healthy: int
    codec: int
    frame: bytes


class _Compiling:
    """A Snapshot on its way into an image."""

    def __init__(self, compiled: Compiled, image: Image, made: Iterator[Chain], states: States) -> None:
        self.compiled, self.image, self.made, self.states = compiled, image, made, states
        self.codecs: list[int] = []
        every = [one for listener in compiled.snapshot.listeners for one in listener.protocols]
        self.codec_names = {one.name: native.name(one.wire.address) for one in every}
        self.shared: list[RuleState] = []  # by the numbers of plans
        self.numbers: dict[str, int] = {}  # of those of rules, by their names
        self.links: dict[
            str, Link
        ] = {}  # a filter is made once for each place that names it, whatever has it
        self.destinations = destinations.Destinations(image, compiled.snapshot.clusters)

    def clusters(self, numbers: Identities, ids: Identities) -> None:
        """Every cluster and its endpoints."""
        clusters = self.compiled.snapshot.clusters
        self.compiled.cluster_ids = {cluster.name: ids.number(cluster.name) for cluster in clusters}
        self.compiled.clusters = {cluster.name: index for index, cluster in enumerate(clusters)}
        keys = [_endpoint_key(cluster.name, one) for cluster in clusters for one in cluster.endpoints]
        self.compiled.endpoints = {key: numbers.number(key) for key in keys}
        views = [destinations.View(one, (), [*one.endpoints], "") for one in clusters]
        self._clusters(views, [*map(self.destinations.preferred, clusters)])
        for cluster in clusters:
            if filters := cluster.written.filters:
                uses = _at(f"clusters.{cluster.name}", filters)
                self.compiled.chained[cluster.name] = self._chain(uses, None)

    def subsets(self) -> None:
        """Behind the clusters those parts of them that rules name. Their endpoints are the same ones."""
        views, none = self.destinations.views, limits.Prefer()
        parts = [
            none if view.part else self.destinations.preferred(view.cluster, view.having) for view in [*views]
        ]
        self._clusters(views, parts + [none] * (len(views) - len(parts)))

    def _clusters(self, views: Sequence[destinations.View], parts: Sequence[limits.Prefer]) -> None:
        clusters = [view.cluster for view in views]
        endpoints, texts = [view.endpoints for view in views], [view.text for view in views]
        counts = list(map(len, endpoints))
        first = self.image.count("endpoints")
        firsts = list(itertools.accumulate(counts, initial=first))[:-1]
        self.compiled.cluster_names += [cluster.name for cluster in clusters]
        self.compiled.names += [(cluster.name, text) for cluster, text in zip(clusters, texts, strict=True)]
        self.image.add(
            CLUSTERS,
            [cluster.written for cluster in clusters],
            uid=[self.compiled.cluster_ids[cluster.name] for cluster in clusters],
            endpoints=firsts,
            endpoint_count=counts,
            connect_timeout_ms=[cluster.connect_timeout_ms for cluster in clusters],
            breaker=[limits.breaker_of(cluster.written.breaker) for cluster in clusters],
            subset=texts,
            hash=[self.image.key(cluster.hash) for cluster in clusters],
            prefer=parts,
            panic=[0 if view.part else view.cluster.panic for view in views],
            check=[
                self._check(cluster.check) if not text else None
                for cluster, text in zip(clusters, texts, strict=True)
            ],
        )
        every = list(itertools.chain.from_iterable(endpoints))
        keys = [
            _endpoint_key(cluster.name, one)
            for cluster, own in zip(clusters, endpoints, strict=True)
            for one in own
        ]
        addresses = [pack_address(one.host, one.port) for one in every]
        self.image.add(
            ENDPOINTS,
            every,
            uid=[self.compiled.endpoints[key] for key in keys],
            name=[listening.place(host, port) for _, host, port in keys],
            addr_size=[len(address) for address in addresses],
            addr=addresses,
        )

    def _check(self, check: Check | None) -> _Check | None:
        """A cluster's health checks; those of its subsets are the same."""
        if check is None:
            return None
        codec = 0
        if check.protocol is not None:
            self.codecs.append(check.protocol.wire.address)
            codec = len(self.codecs) - 1
        return _Check(
            check.by, check.every, check.timeout, check.unhealthy, check.healthy, codec, check.frame
        )

    def listeners(self, numbers: Identities) -> None:
        """Every listener under its number, and the plans and routes that they use."""
        tables = {table.name: table for table in self.compiled.snapshot.routes}
        shared: dict[tuple[str, frozenset[int]], int] = {}
        found: dict[int, tuple[Listener, int | None, int | None]] = {}
        for listener in self.compiled.snapshot.listeners:
            routes = plan = None
            if listener.routes is None:
                rule = schema.Rule(cluster=listener.cluster or listener.fallback)
                plan = self._plans(
                    [rule],
                    [listener.name],
                    _at(f"listeners.{listener.name}", listener.filters),
                    listener.name,
                )
            else:
                # A listener with filters of its own gets a copy of the table, whose plans name them. So does
                # one in whose protocols the engine cannot make a rule's changes: a filter makes them.
                table = tables[listener.routes]
                setters = _by_filters(table.rules, listener)
                routes = shared.get((table.name, setters)) if not listener.filters else None
                if routes is None:
                    routes = self._routes(
                        table, _at(f"listeners.{listener.name}", listener.filters), setters=setters
                    )
                    if not listener.filters:
                        shared[table.name, setters] = routes
            number = numbers.number(listening.key(listener))
            self.compiled.listeners[listening.key(listener)] = number
            found[number] = (listener, routes, plan)
        every = [found.get(number, (_ABSENT, None, None)) for number in range(max(found, default=-1) + 1)]
        counts = [len(listener.protocols) for listener, _, _ in every]
        first = len(self.codecs)
        self.codecs += [protocol.wire.address for listener, _, _ in every for protocol in listener.protocols]
        self.image.add(
            LISTENERS,
            [listener for listener, _, _ in every],
            present=[listener is not _ABSENT for listener, _, _ in every],
            routes=[routes for _, routes, _ in every],
            plan=[plan for _, _, plan in every],
            access=[self._verdicts(listener.name, listener.access) for listener, _, _ in every],
            dry_run=[self._verdicts(f"{one.name} dry run", one.dry_run) for one, _, _ in every],
            codec=[*itertools.accumulate(counts, initial=first)][:-1],
            codec_count=counts,
            fallback=[one.fallback and self.compiled.clusters[one.fallback] for one, _, _ in every],
        )

    def _routes(self, table: schema.Routes, before: Sequence[_Use], *, setters: frozenset[int]) -> int:
        """A route table with its plans.

        Args:
            table: as configured.
            before: filters in front of its rules' own.
            setters: the rules whose changes are made by filters.
        """
        names = [f"{table.name}[{number}]" for number in range(len(table.rules))]
        plan = self._plans(table.rules, names, before, table.name, setters=setters)
        plans = range(plan, plan + len(names))
        asked = conditions.add(self.image, [rule.match for rule in table.rules], self.codec_names)
        first = self.image.add(RULES, table.rules, plan=plans, **asked)
        return self.image.add(ROUTES, [table], rules=[first], rule_count=[len(names)], verdicts=[0])

    def _verdicts(self, name: str, rules: Sequence[AccessRule]) -> int | None:
        """What a listener allows and denies as a route table; None: it says nothing."""
        if not rules:
            return None
        every, none = [schema.Rule(match=rule.match) for rule in rules], [None] * len(rules)
        zeros, splits, changes = [0] * len(rules), self.image.count("splits"), self.image.count("changes")
        numbers = []
        for rule in rules:
            state = self.compiled.access[rule.name] = self.states.rules.counting(rule.name, rule.match)
            numbers.append(len(self.shared))
            self.shared.append(state)
        plan = self.image.add(
            PLANS,
            every,
            name=[rule.name for rule in rules],
            split=[splits] * len(rules),
            split_count=zeros,
            sticky=none,
            limit=none,
            state=numbers,
            change=[changes] * len(rules),
            change_count=zeros,
            change_answers=zeros,
            fault=none,
            hedge=none,
            mirror=[limits.Mirror()] * len(rules),
            filter=none,
            answers=none,
            ends=none,
            open=zeros,
            verdict=[rule.verdict for rule in rules],
            identity=zeros,
        )
        asked = conditions.add(self.image, [rule.match for rule in rules], self.codec_names)
        first = self.image.add(RULES, every, plan=range(plan, plan + len(rules)), **asked)
        table = schema.Routes(name, [])
        return self.image.add(ROUTES, [table], rules=[first], rule_count=[len(rules)], verdicts=[1])

    def _plans(
        self,
        rules: Sequence[schema.Rule],
        names: list[str],
        before: Sequence[_Use],
        table: str,
        *,
        setters: frozenset[int] = frozenset(),
    ) -> int:
        """A plan for each rule of a route table; the first one's index."""
        where = (table, names[:1] == [table], *["set"] * bool(setters), *(one.place for one in before))
        identities = self._identities(rules, where)
        return self.image.add(
            PLANS,
            rules,
            name=names,
            **self.destinations.add(rules),
            sticky=[self.image.key(schema.origins(rule.sticky)) for rule in rules],
            limit=[limits.limit_of(self.image, rule) for rule in rules],
            state=[self._state(table, rule, name) for rule, name in zip(rules, names, strict=True)],
            **self._changes([None if i in setters else rule.set for i, rule in enumerate(rules)]),
            fault=[limits.fault_of(self.image, rule) for rule in rules],
            hedge=[limits.hedge_of(rule) for rule in rules],
            mirror=[limits.mirror_of(rule, self.compiled.clusters) for rule in rules],
            **self._filters(rules, names, before, identities, table, setters=setters),
            verdict=[0] * len(rules),
            identity=identities,
        )

    def _identities(self, rules: Sequence[schema.Rule], where: tuple[Hashable, ...]) -> list[int]:
        """By what the engine knows rules again, in this process; 0: it lets nothing wait."""
        filtered = bool(self.compiled.chained or where[2:])  # before they are looked at
        return [
            hash((where, repr(rule.match))) & (2**64 - 1)
            if filtered or rule.filters or rule.retry or rule.fault
            else 0
            for rule in rules
        ]

    def _filters(
        self,
        rules: Sequence[schema.Rule],
        names: list[str],
        before: Sequence[_Use],
        identities: list[int],
        table: str,
        *,
        setters: frozenset[int],
    ) -> dict[str, list[int | None]]:
        """Who sees a rule's requests and answers: its own filters, and those of clusters that it leads to."""
        if not (before or setters or self.compiled.chained or any(rule.filters for rule in rules)):
            none: list[int | None] = [None] * len(rules)
            return {"filter": none, "answers": none, "ends": none, "open": [0] * len(rules)}
        from protokit.dataplane.chains import is_open  # noqa: PLC0415  # where there are filters

        rows: list[tuple[int | None, int | None, int | None, int]] = []
        for number, (rule, name, identity) in enumerate(zip(rules, names, identities, strict=True)):
            own = _at(f"routes.{name}", rule.filters, (table, repr(rule.match)))
            sets = rule.set if number in setters else None
            there = [one for one in _reached(rule) if one in self.compiled.chained]
            if not (before or own or sets or there):
                rows.append((None, None, None, 0))
                continue
            chain = self._chain([*before, *own], sets)
            self.compiled.chain_rules[chain] = name
            self.compiled.chain_identities[chain] = identity
            links = [*self.compiled.chains[chain]]
            for one in there:
                links += self.compiled.cluster_chain(one)
            if any(link.sees("request") for link in links):  # they may send it anywhere
                links = [*self.compiled.chains[chain]]
                for one in self.compiled.chained:
                    links += self.compiled.cluster_chain(one)
            sees = [any(link.sees(what) for link in links) for what in ("request", "response", "on_end")]
            self.compiled.tells |= sees[2]
            opens = [is_open(links, what) for what in ("request", "response")]
            rows.append(
                (
                    chain if sees[0] else None,
                    chain if sees[1] else None,
                    chain if sees[2] else None,
                    sum(bit for bit, one in zip((1, 2), opens, strict=True) if one),
                )
            )
        return {
            name: [row[at] for row in rows] for at, name in enumerate(("filter", "answers", "ends", "open"))
        }

    def _state(self, table: str, rule: schema.Rule, name: str) -> int | None:
        """The number of what the rule has beyond the table."""
        state = self.states.rules.of(table, rule)
        if state is None:
            return None
        if rule.limit is not None and rule.limit.ask is not None:
            from protokit.dataplane import quotas  # noqa: PLC0415  # where limiters are asked

            quotas.limited(self.compiled, name, state, rule.limit, rule.limit.ask)
        if name not in self.numbers:
            self.numbers[name] = len(self.shared)
            self.shared.append(state)
            self.compiled.states[name] = state
        return self.numbers[name]

    def _changes(self, rules: Sequence[schema.Set | None]) -> dict[str, list[int]]:
        """What the engine sets itself."""
        if not any(rules):
            none = [0] * len(rules)
            first = [self.image.count("changes")] * len(rules)
            return {"change": first, "change_count": none, "change_answers": none}
        from protokit.dataplane import changes  # noqa: PLC0415  # not at the start

        firsts, counts, answers = changes.add(self.image, rules)
        return {"change": firsts, "change_count": counts, "change_answers": answers}

    def _chain(self, uses: Sequence[_Use], sets: schema.Set | None) -> int:
        """The filters; ``sets``: what the last of them sets."""
        chain = next(self.made, None)
        if chain is None:
            link = self.states.switches.link
            chain = []
            for one in uses:
                if one.place not in self.links:
                    self.links[one.place] = link(_filter(self.compiled, one.use), *one)
                chain.append(self.links[one.place])
            if sets is not None:
                from protokit.dataplane.changes import setters  # noqa: PLC0415  # as above

                chain += [link(one, object(), "set", schema.FilterUse("set")) for one in setters(sets)]
        self.compiled.chains.append(chain)
        return len(self.compiled.chains) - 1


def _by_filters(rules: Sequence[schema.Rule], listener: Listener) -> frozenset[int]:
    """The rules whose changes the engine cannot make itself in one of a listener's protocols."""
    wanted = {number: rule.set.kinds() for number, rule in enumerate(rules) if rule.set is not None}
    if not wanted:
        return frozenset()
    can = frozenset.intersection(*(native.edits(one.wire.address) for one in listener.protocols))
    return frozenset(number for number, kinds in wanted.items() if not kinds <= can)


class _Use(NamedTuple):
    """A filter, where it stands, and what tells that place from others after a reload, too."""

    where: Hashable
    place: str
    use: schema.FilterUse


def _at(place: str, uses: Sequence[schema.FilterUse], where: Hashable = None) -> list[_Use]:
    """The filters of a place; ``where``: what tells it from others, if not its name."""
    return [_Use((where or place, i), f"{place}.filters[{i}]", use) for i, use in enumerate(uses)]


def _reached(rule: schema.Rule) -> list[str]:
    """The clusters that a rule names."""
    shares: list[schema.Rule | schema.Split] = [rule, *rule.split]
    named = [one.cluster for one in shares]
    found = [one for one in named if isinstance(one, str)]
    for one in named:
        if isinstance(one, schema.Named):
            found += [*one.of, *([one.else_] if one.else_ else [])]
    return found


def _filter(compiled: Compiled, use: schema.FilterUse) -> Filter:
    from protokit.dataplane.chains import METHODS, has  # noqa: PLC0415  # where there are filters

    try:
        made = cast("Filter", compiled.snapshot.filters[use.name](use.options))
        if not any(has(made, what) for what in METHODS):
            raise TypeError(
                f"{type(made).__name__} has none of the methods {', '.join(METHODS)}: it would see nothing"
            )
        plain = [what for what in METHODS if has(made, what) and not is_async(getattr(made, what))]
        if plain:
            raise TypeError(
                f"{plain[0]} of {type(made).__name__} cannot be awaited: write async def {plain[0]}"
            )
    except (Exception, SystemExit) as error:  # noqa: BLE001  # somebody else's code
        at = compiled.snapshot.places.get(id(use), ConfigError(""))
        text = f"filter {use.name!r} cannot be made with its options: {reason(error)}"
        compiled.errors[id(use)] = ConfigError(text, at.path, at.line, at.column)
        return Filter()
    return made
