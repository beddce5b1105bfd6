"""What is wrong with a configuration whose shape is right: names that lead nowhere, rules never reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit import plugins
from protokit.config import defaults, schema
from protokit.config.findings import Findings, Names, check_filters
from protokit.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from protokit.config.document import Document, Path
    from protokit.config.scalars import Address
    from protokit.wire import Protocol


_MOST_PROTOCOLS = 32  # each is asked about a client's first bytes
_ANYWHERE = ("0.0.0.0", "::", "::ffff:0.0.0.0")  # noqa: S104  # refused, not bound
_LOCAL = {"localhost": ("127.0.0.1",)}


def check(
    config: schema.Config,
    registry: plugins.Registry,
    document: Document,
    holes: AbstractSet[Path] = frozenset(),
) -> Findings:
    """Every semantic error and warning of ``config``.

    Args:
        config: as read.
        registry: the plugins it names, loaded.
        document: to say where.
        holes: where it could not be read; nothing is said about what depends on that.
    """
    findings = Findings(document, holes)
    _plugins(findings, config, registry)
    clusters = Names(findings, "cluster", "clusters", config.clusters)
    tables = Names(findings, "route table", "routes", config.routes)
    listeners = Names(findings, "listener", "listeners", config.listeners)
    if not config.listeners and not findings.hole("listeners"):
        findings.error("there is no listener", "listeners")
    for i, listener in enumerate(config.listeners):
        if findings.hole("listeners", i):
            continue
        _listener(findings, listener, registry, ("listeners", i))
        _relayed(findings, config, listener, registry, ("listeners", i))
        _spoken(findings, config, listener, registry)
        tables.use(listener.routes, "listeners", i, "routes")
        clusters.use(listener.cluster, "listeners", i, "cluster")
        clusters.use(listener.fallback, "listeners", i, "fallback")
    speaking = {one.name: protocols_of(one, registry) for one in config.listeners}
    _access(findings, config, listeners, speaking, registry.protocols)
    if config.routes:
        _routes(findings, config, registry, tables, clusters, listeners, speaking)
    for c, cluster in enumerate(config.clusters):
        _cluster(findings, cluster, registry, c)
        _health(findings, config, cluster, speaking, registry, c)
        if cluster.name not in clusters.used:
            findings.warning(f"no route leads to cluster {cluster.name!r}", "clusters", c)
    if any(cluster.hash for cluster in config.clusters):
        from protokit.config import keys  # only then  # noqa: PLC0415

        keys.check_read(findings, config, speaking, registry.protocols)
    ours = {one.bind.port for one in config.listeners} - {0}
    if any(one.address.port in ours for cluster in config.clusters for one in cluster.endpoints):
        from protokit.config import circles  # only then  # noqa: PLC0415

        circles.check(findings, config)
    _binds(findings, config)
    _limits(findings, config)
    return findings


def _plugins(findings: Findings, config: schema.Config, registry: plugins.Registry) -> None:
    for name, reason in registry.failures.items():
        findings.error(f"plugin {name!r} cannot be used: {reason}", "plugins")
    for i, name in enumerate(config.plugins):
        if not name.endswith(".py") and (missing := plugins.missing_message(name)):
            findings.error(missing, "plugins", i)


def _routes(
    findings: Findings,
    config: schema.Config,
    registry: plugins.Registry,
    tables: Names,
    clusters: Names,
    listeners: Names,
    speaking: Mapping[str, list[str]],
) -> None:
    from protokit.config import hidden, matches, rules, shares  # only then  # noqa: PLC0415

    known = shares.Clusters(findings, clusters, config.clusters)
    for t, table in enumerate(config.routes):
        by = [one.name for one in config.listeners if one.routes == table.name]
        asked = matches.Asked(table.name, listeners, speaking, by, registry.protocols)
        for r, rule in enumerate(table.rules):
            if not findings.hole("routes", t, "rules", r):
                rules.check(findings, rule, asked, registry, known, ("routes", t, "rules", r))
        hidden.find(findings, table, t)
        if table.name not in tables.used:
            findings.warning(f"no listener uses route table {table.name!r}", "routes", t)
    rules.check_limit_keys(findings, config)


def _spoken(
    findings: Findings, config: schema.Config, listener: schema.Listener, registry: plugins.Registry
) -> None:
    """What its rules ask of the protocols that it speaks."""
    for t, table in enumerate(config.routes):
        for r, rule in enumerate(table.rules if table.name == listener.routes else ()):
            passes = rule.timeout is not None and rule.timeout.pass_on
            if rule.set is not None or rule.hedge is not None or rule.mirror is not None or passes:
                from protokit.config import spoken  # only then  # noqa: PLC0415

                names = [name for name in protocols_of(listener, registry) if name in registry.protocols]
                wires = {name: registry.protocols[name].wire for name in names}
                spoken.check(findings, rule, listener, wires, ("routes", t, "rules", r))


def _access(
    findings: Findings,
    config: schema.Config,
    listeners: Names,
    speaking: Mapping[str, list[str]],
    known: Mapping[str, Protocol],
) -> None:
    for i, listener in enumerate(config.listeners):
        if (listener.allow, listener.deny, listener.dry_run) != (None, None, None):
            from protokit.config import access, matches  # only then  # noqa: PLC0415

            asked = matches.Asked("", listeners, speaking, [listener.name], known)
            access.check(findings, listener, asked, ("listeners", i))


def _binds(findings: Findings, config: schema.Config) -> None:
    if config.admin is not None:
        findings.host(config.admin.bind, "admin", "admin", "bind")
        if config.admin.public is not None:
            findings.host(config.admin.public, "admin", "admin", "public")
    for message, where in same_ports(config):
        findings.error(message, *where)


def protocols_of(listener: schema.Listener, registry: plugins.Registry | None = None) -> list[str]:
    """The protocols it names, in order.

    Args:
        listener: where they are named.
        registry: with it ``auto`` stands for all others, by name, that can be detected, whose clients
            speak first, and that the listener's mode can carry.
    """
    names = [listener.protocol] if isinstance(listener.protocol, str) else listener.protocol
    if registry is None or "auto" not in names:
        return names
    at = names.index("auto")
    others = [
        name
        for name, protocol in sorted(registry.protocols.items())
        if name not in names
        and protocol.detectable
        and not protocol.server_first
        and not (listener.mode == "shared" and protocol.pinned)
    ]
    return [*names[:at], *others, *names[at + 1 :]]


def _listener(findings: Findings, listener: schema.Listener, registry: plugins.Registry, path: Path) -> None:
    names = protocols_of(listener)
    findings.host(listener.bind, "bind", *path, "bind")
    for i, name in enumerate(names):
        where = (*path, "protocol", i) if isinstance(listener.protocol, list) else (*path, "protocol")
        if findings.hole(*where):
            continue
        if name in names[:i]:
            findings.error(f"protocol {name!r} stands here twice", *where)
        elif name not in {"auto", *registry.protocols, *registry.failures}:
            findings.error(plugins.missing_protocol_message(name, registry.protocols), *where)
        elif name in registry.protocols:
            _combined(findings, listener, registry.protocols[name], where)
            _replies(findings, registry.protocols[name], where)
    if len(protocols_of(listener, registry)) > _MOST_PROTOCOLS:
        findings.error(f"protocol: a listener can tell {_MOST_PROTOCOLS} apart at most", *path, "protocol")
    if listener.goaway:
        _goaway(findings, listener, registry, (*path, "goaway"))
    _destination(findings, listener, path)
    check_filters(findings, listener.filters, registry, (*path, "filters"))


def _goaway(findings: Findings, listener: schema.Listener, registry: plugins.Registry, where: Path) -> None:
    """A warning where none of its protocols waits for the operator's leave."""
    names = [name for name in protocols_of(listener, registry) if name in registry.protocols]
    reasons = {"always": "tells its clients anyway", "never": "has no signal to go elsewhere"}
    drains = {name: registry.protocols[name].drain for name in names}
    if drains and "asked" not in drains.values():
        why = ", ".join(f"{name!r} {reasons[drain]}" for name, drain in drains.items())
        findings.warning(f"goaway does nothing here: {why}", *where)


def _replies(findings: Findings, protocol: Protocol, where: Path) -> None:
    """Of a declared protocol what it says by itself is what it is: errors are answers."""
    try:
        getattr(protocol.wire, "check_replies", lambda: None)()
    except DeclarationError as error:
        findings.error(f"protocol {protocol.name!r}: {error}", *where)


def _combined(findings: Findings, listener: schema.Listener, protocol: Protocol, where: Path) -> None:
    alone = isinstance(listener.protocol, str) or len(listener.protocol) == 1
    if protocol.server_first and not (alone and listener.fallback is None):
        findings.error(
            f"with {protocol.name!r} the server speaks first, so its clients cannot be told from others by"
            " what they say: give it a listener of its own, without a fallback",
            *where,
        )
    if not protocol.detectable and not (alone and listener.fallback is None):
        findings.error(
            f"protocol {protocol.name!r} has a codec in Python and cannot be detected; "
            "give it a listener of its own, without a fallback",
            *where,
        )
    if protocol.pinned and listener.mode == "shared":
        findings.error(
            f"clients of {protocol.name!r} cannot share upstream connections: leave out mode: shared", *where
        )


def _relayed(
    findings: Findings,
    config: schema.Config,
    listener: schema.Listener,
    registry: plugins.Registry,
    path: Path,
) -> None:
    """An error where greetings are passed on, and nobody knows to which cluster before the first request."""
    names = [name for name in protocols_of(listener, registry) if name in registry.protocols]
    relaying = [name for name in names if registry.protocols[name].relays_greetings]
    if not relaying:
        return

    def error(what: str, *where: str | int) -> None:
        findings.error(
            f"clients of {relaying[0]!r} greet their server before they ask: listener {listener.name!r} has "
            f"to lead to one cluster, without split, subset, reply or filters; {what}",
            *where,
        )

    if listener.filters:
        error("here filters decide later", *path, "filters")
    from protokit.config.matches import possible  # noqa: PLC0415

    first: str | None = None
    for t, table in enumerate(config.routes):
        for r, rule in enumerate(table.rules if table.name == listener.routes else ()):
            where = ("routes", t, "rules", r)
            if not possible(rule.match, listener.name, names):
                continue
            for name in ("split", "reply", "filters", "subset"):
                if not findings.hole(*where) and getattr(rule, name):
                    error(f"here {name} decides later", *where, name)
            if isinstance(rule.cluster, schema.Named):
                error("here a header decides later", *where, "cluster")
                continue
            if rule.cluster is not None and first not in {None, rule.cluster}:
                error(f"this rule leads to {rule.cluster!r}, the first to {first!r}", *where, "cluster")
            first = first or rule.cluster


def _destination(findings: Findings, listener: schema.Listener, path: Path) -> None:
    if any(findings.hole(*path, key) for key in ("protocol", "fallback", "routes", "cluster", "filters")):
        return
    if listener.protocol == []:  # all is passed on to the fallback
        if listener.fallback is None:
            message = "protocol: expected a name, a list of names, or auto; none at all needs a fallback"
            findings.error(message, *path, "protocol")
        elif listener.routes is not None or listener.cluster is not None or listener.filters:
            findings.error("without a protocol only the fallback is used: no routes, cluster, filters", *path)
    elif (listener.routes is None) == (listener.cluster is None):
        findings.error("give either routes or cluster", *path)


def _cluster(findings: Findings, cluster: schema.Cluster, registry: plugins.Registry, c: int) -> None:
    path = ("clusters", c)
    consistent = cluster.balance in defaults.CONSISTENT
    if consistent or cluster.hash or findings.empty(schema.keys(cluster.hash), *path, "hash"):
        from protokit.config import keys  # only then  # noqa: PLC0415

        keys.check(findings, cluster, path)
    check_filters(findings, cluster.filters, registry, (*path, "filters"))
    if cluster.outlier is not None:
        _outlier(findings, cluster.outlier, (*path, "outlier"))
    if cluster.breaker is not None and cluster.breaker.adaptive is not None:
        _adaptive(findings, cluster.breaker, cluster.breaker.adaptive, (*path, "breaker"))
    if cluster.slow_start is not None and consistent:
        findings.error(
            f"slow_start: with {cluster.balance} a request's key says where it goes, and an endpoint"
            " has all of its keys at once; leave it out, or use another balance",
            *path,
            "slow_start",
        )
    if cluster.prefer is not None:
        from protokit.config import shares  # only then  # noqa: PLC0415

        shares.preferred(findings, cluster, cluster.prefer, (*path, "prefer"))
    _endpoints(findings, cluster, path)


def _endpoints(findings: Findings, cluster: schema.Cluster, path: Path) -> None:
    if not findings.holes(*path, "endpoints") and not findings.hole(*path):
        if not cluster.endpoints:
            findings.error(f"cluster {cluster.name!r} has no endpoint", *path, "endpoints")
        elif not any(endpoint.weight for endpoint in cluster.endpoints):
            findings.error(f"the weights of cluster {cluster.name!r} are all 0", *path, "endpoints")
    seen: set[tuple[str, int]] = set()
    for e, endpoint in enumerate(cluster.endpoints):
        where = (*path, "endpoints", e)
        if findings.hole(*where) or findings.hole(*where, "address"):
            continue
        address = endpoint.address
        key = (address.ip or address.host.lower(), address.port)
        if key in seen:
            findings.error(f"endpoint {address} stands here twice; use weight", *where)
        seen.add(key)
        findings.host(address, "endpoint", *where)
        if address.port == 0:
            findings.error("an endpoint needs a port", *where)
        if address.ip in _ANYWHERE:
            findings.error(
                f"endpoint {address}: {address.host} is where a server listens for all, and nobody's address;"
                " for one of this machine write 127.0.0.1 or [::1]",
                *where,
            )


def _adaptive(findings: Findings, breaker: schema.Breaker, adaptive: schema.Adaptive, path: Path) -> None:
    if findings.holes(*path):
        return
    if breaker.requests is None:
        findings.error("adaptive needs requests, the most that it may find", *path, "adaptive")
    elif adaptive.least > breaker.requests:
        findings.error(
            f"least: expected no more than requests, {breaker.requests}", *path, "adaptive", "least"
        )


def _health(
    findings: Findings,
    config: schema.Config,
    cluster: schema.Cluster,
    speaking: Mapping[str, list[str]],
    registry: plugins.Registry,
    c: int,
) -> None:
    if cluster.panic is not None and cluster.health is None and cluster.outlier is None:
        findings.warning(
            "panic does nothing without health or outlier: nobody is left out", "clusters", c, "panic"
        )
    if cluster.health is None:
        return
    from protokit.config import health  # only then  # noqa: PLC0415

    every = {name for names in speaking.values() for name in names}
    spoken = health.spoken_to(config, speaking, cluster.name)
    limit = int(config.limits.frame)
    where = ("clusters", c, "health")
    health.check(findings, cluster.health, spoken, every, registry.protocols, limit, where)


def _outlier(findings: Findings, outlier: schema.Outlier, path: Path) -> None:
    if findings.holes(*path):
        return
    if outlier.rate == 0:
        findings.warning("rate: 0% counts no errors; leave it out", *path, "rate")
    if not outlier.errors and not outlier.rate:
        findings.warning("errors: with 0 and no rate no endpoint is ever left out", *path, "errors")
    if not outlier.most:
        findings.warning("most: with 0% no endpoint is ever left out", *path, "most")


def same_ports(config: schema.Config, known: Mapping[str, Sequence[str]] = _LOCAL) -> list[tuple[str, Path]]:
    """Addresses to listen on that cannot be had together, each with its place.

    Args:
        config: as read.
        known: addresses of host names; others are taken for different from all but their own kind.
    """
    binds: list[tuple[str, Address, Path]] = [
        (f"listener {listener.name!r}", listener.bind, ("listeners", i, "bind"))
        for i, listener in enumerate(config.listeners)
    ]
    if config.admin is not None:
        binds.append(("admin", config.admin.bind, ("admin", "bind")))
        if config.admin.public is not None:
            binds.append(("admin public", config.admin.public, ("admin", "public")))
    return [
        (f"{what} and {other} both want port {address.port}", path)
        for i, (what, address, path) in enumerate(binds)
        for other, taken, _ in binds[:i]
        if address.port == taken.port != 0 and _overlap(_ips(address, known), _ips(taken, known))
    ]


def same_servers(config: schema.Config, known: Mapping[str, Sequence[str]]) -> list[str]:
    """What is lost where endpoints of a cluster are one server with different metadata.

    Args:
        config: as read.
        known: addresses of host names; others are taken for different.
    """
    found: list[str] = []
    for cluster in config.clusters:
        first: dict[tuple[str, int], schema.Endpoint] = {}
        for endpoint in cluster.endpoints:
            address = endpoint.address
            others = [first.setdefault((ip, address.port), endpoint) for ip in _ips(address, known)]
            lost = [other.address for other in others if other.metadata != endpoint.metadata]
            if lost:
                found.append(
                    f"endpoints {lost[0]} and {address} of cluster {cluster.name!r} are one server: it has"
                    " the metadata of the first, and that of the other is for nothing"
                )
    return found


def _ips(address: Address, known: Mapping[str, Sequence[str]]) -> Sequence[str]:
    ip = address.ip.removeprefix("::ffff:") if "." in address.ip else address.ip
    return (ip,) if ip else known.get(address.host.lower(), (address.host.lower(),))


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether sockets of both would meet. ``::`` takes IPv4, too."""
    if set(one) & set(other) or "::" in {*one, *other}:
        return True
    return any(
        "0.0.0.0" in these and any(":" not in ip for ip in those)  # noqa: S104  # compared, not bound
        for these, those in ((one, other), (other, one))
    )


def _limits(findings: Findings, config: schema.Config) -> None:
    limits = config.limits
    if findings.holes("limits"):
        return
    if limits.buffer < limits.frame + limits.client_pause:
        findings.error("buffer: expected room for one frame and client_pause at least", "limits", "buffer")
    if limits.client_close < limits.client_pause:
        findings.error("client_close: expected no less than client_pause", "limits", "client_close")
