"""What is wrong with a configuration whose shape is right: names that lead nowhere, rules never reached."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from protokit import plugins

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from protokit.config import schema
    from protokit.config.document import Document, Path
    from protokit.config.scalars import Pattern
    from protokit.errors import ConfigError
    from protokit.wire import Protocol


_MOST_PROTOCOLS = 32  # each is asked about a client's first bytes


class Findings:
    """Errors, which stop, and warnings, which do not."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []

    def error(self, message: str, *path: str | int) -> None:
        """Note an error at the value under ``path``."""
        self.errors.append(self._document.error_at(message, path))

    def warning(self, message: str, *path: str | int) -> None:
        """Note a warning."""
        self.warnings.append(self._document.error_at(message, path))


def check(config: schema.Config, registry: plugins.Registry, document: Document) -> Findings:
    """Every semantic error and warning of ``config``.

    Args:
        config: as read.
        registry: the plugins it names, loaded.
        document: to say where.
    """
    findings = Findings(document)
    for name, reason in registry.failures.items():
        findings.error(f"plugin {name!r} cannot be used: {reason}", "plugins")
    clusters = _names(findings, "clusters", config.clusters)
    tables = _names(findings, "routes", config.routes)
    _names(findings, "listeners", config.listeners)
    if not config.listeners:
        findings.error("there is no listener", "listeners")
    used_clusters: set[str] = set()
    used_tables: set[str] = set()
    for i, listener in enumerate(config.listeners):
        _listener(findings, listener, registry, ("listeners", i))
        _known(findings, "route table", listener.routes, tables, used_tables, ("listeners", i, "routes"))
        for key, cluster_name in (("cluster", listener.cluster), ("fallback", listener.fallback)):
            _known(findings, "cluster", cluster_name, clusters, used_clusters, ("listeners", i, key))
    for t, table in enumerate(config.routes):
        for r, rule in enumerate(table.rules):
            path = ("routes", t, "rules", r)
            _rule(findings, rule, registry, path)
            _known(findings, "cluster", rule.cluster, clusters, used_clusters, (*path, "cluster"))
            for s, split in enumerate(rule.split):
                _known(
                    findings,
                    "cluster",
                    split.cluster,
                    clusters,
                    used_clusters,
                    (*path, "split", s, "cluster"),
                )
        _shadowed(findings, table, t)
        if table.name not in used_tables:
            findings.warning(f"no listener uses route table {table.name!r}", "routes", t)
    for c, cluster in enumerate(config.clusters):
        _cluster(findings, cluster, c)
        if cluster.name not in used_clusters:
            findings.warning(f"no route leads to cluster {cluster.name!r}", "clusters", c)
    _ports(findings, config)
    _limits(findings, config)
    return findings


def _names(findings: Findings, section: str, items: Iterable[object]) -> set[str]:
    seen: set[str] = set()
    for i, item in enumerate(items):
        name: str = item.name  # type: ignore[attr-defined]  # all three sections have it
        if name in seen:
            findings.error(f"the name {name!r} is taken already in {section}", section, i, "name")
        seen.add(name)
    return seen


def _known(
    findings: Findings, what: str, name: str | None, known: set[str], used: set[str], path: Path
) -> None:
    if name is None:
        return
    used.add(name)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)[:10]) or 'none'}"
        findings.error(f"there is no {what} {name!r}; {hint}", *path)


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
    for i, name in enumerate(names):
        where = (*path, "protocol", i) if isinstance(listener.protocol, list) else (*path, "protocol")
        if name in names[:i]:
            findings.error(f"protocol {name!r} stands here twice", *where)
        elif name not in {"auto", *registry.protocols, *registry.failures}:
            findings.error(plugins.missing_protocol_message(name), *where)
        elif name in registry.protocols:
            _combined(findings, listener, registry.protocols[name], where)
    if len(protocols_of(listener, registry)) > _MOST_PROTOCOLS:
        findings.error(f"protocol: a listener can tell {_MOST_PROTOCOLS} apart at most", *path, "protocol")
    _destination(findings, listener, path)
    _filters(findings, listener.filters, registry, (*path, "filters"))


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


def _destination(findings: Findings, listener: schema.Listener, path: Path) -> None:
    if listener.protocol == []:  # all is passed on to the fallback
        if listener.fallback is None:
            message = "protocol: expected a name, a list of names, or auto; none at all needs a fallback"
            findings.error(message, *path, "protocol")
        elif listener.routes is not None or listener.cluster is not None or listener.filters:
            findings.error("without a protocol only the fallback is used: no routes, cluster, filters", *path)
    elif (listener.routes is None) == (listener.cluster is None):
        findings.error("give either routes or cluster", *path)


def _filters(
    findings: Findings, uses: Iterable[schema.FilterUse], registry: plugins.Registry, path: Path
) -> None:
    for i, use in enumerate(uses):
        if use.name not in registry.filters:
            known = ", ".join(sorted(registry.filters)) or "none"
            findings.error(f"there is no filter {use.name!r} (known: {known})", *path, i)


def _rule(findings: Findings, rule: schema.Rule, registry: plugins.Registry, path: Path) -> None:
    if (rule.cluster is None) == (not rule.split):
        findings.error("give either cluster or split", *path)
    if rule.split and not any(split.weight for split in rule.split):
        findings.error("the weights of the split are all 0", *path, "split")
    if sum(split.weight for split in rule.split) >= 2**32:
        findings.error("the weights of the split add up to more than 4294967295", *path, "split")
    if rule.timeout == 0:
        findings.error("timeout: expected more than 0", *path, "timeout")
    if rule.retry is not None and not 1 <= rule.retry.attempts <= 10:
        findings.error("attempts counts the first try too: expected 1 to 10", *path, "retry", "attempts")
    if (
        rule.retry is not None
        and not rule.retry.idempotent
        and {"overloaded", "timeout"} & set(rule.retry.on)
    ):
        findings.warning(
            "an overloaded or timeout answer comes after the request was sent, so it is tried again only"
            " with idempotent: true",
            *path,
            "retry",
        )
    if rule.retry is not None and "timeout" in rule.retry.on:
        findings.warning(
            "timeout: only an answer that says so is tried again; for a server that says nothing the time of"
            " the whole call is up, and there is none for another try",
            *path,
            "retry",
            "on",
            rule.retry.on.index("timeout"),
        )
    _filters(findings, rule.filters, registry, (*path, "filters"))


def _covering(pattern: Pattern) -> Iterator[str]:
    """Every pattern that covers this one."""
    text = pattern.removesuffix("*")
    yield pattern
    for end in range(len(text) + 1):
        yield text[:end] + "*"


def _shadowed(findings: Findings, table: schema.Routes, t: int) -> None:
    earlier: dict[str, dict[str, list[tuple[int, schema.Match]]]] = {}
    for r, rule in enumerate(table.rules):
        match = rule.match
        candidates = (
            item
            for service in _covering(match.service)
            if service in earlier
            for method in _covering(match.method)
            for item in earlier[service].get(method, ())
        )
        for index, other in candidates:
            if other.version.covers(match.version) and other.group.covers(match.group):
                findings.error(
                    f"this rule is never reached: rule {index + 1} of {table.name!r} matches all it does",
                    "routes",
                    t,
                    "rules",
                    r,
                )
                break
        else:
            earlier.setdefault(match.service, {}).setdefault(match.method, []).append((r, match))


def _cluster(findings: Findings, cluster: schema.Cluster, c: int) -> None:
    path = ("clusters", c)
    if not cluster.endpoints:
        findings.error(f"cluster {cluster.name!r} has no endpoint", *path, "endpoints")
    elif not any(endpoint.weight for endpoint in cluster.endpoints):
        findings.error(f"the weights of cluster {cluster.name!r} are all 0", *path, "endpoints")
    seen: set[str] = set()
    for e, endpoint in enumerate(cluster.endpoints):
        if endpoint.address in seen:
            findings.error(
                f"endpoint {endpoint.address} stands here twice; use weight", *path, "endpoints", e
            )
        seen.add(endpoint.address)
        if endpoint.address.port == 0:
            findings.error("an endpoint needs a port", *path, "endpoints", e)
    if not 1 <= cluster.max_connections <= 1024:
        findings.error("max_connections: expected 1 to 1024", *path, "max_connections")


def _ports(findings: Findings, config: schema.Config) -> None:
    binds: list[tuple[str, str, int, Path]] = [
        (f"listener {listener.name!r}", listener.bind.host, listener.bind.port, ("listeners", i, "bind"))
        for i, listener in enumerate(config.listeners)
    ]
    if config.admin is not None:
        binds.append(("admin", config.admin.bind.host, config.admin.bind.port, ("admin", "bind")))
        if config.admin.public is not None:
            binds.append(
                ("admin public", config.admin.public.host, config.admin.public.port, ("admin", "public"))
            )
    any_host = {"0.0.0.0", "::"}  # noqa: S104  # compared, not bound
    for i, (what, host, port, path) in enumerate(binds):
        for other, other_host, other_port, _ in binds[:i]:
            if port == other_port != 0 and (host == other_host or {host, other_host} & any_host):
                findings.error(f"{what} and {other} both want port {port}", *path)


def _limits(findings: Findings, config: schema.Config) -> None:
    for name in config.limits.__struct_fields__:
        if getattr(config.limits, name) == 0:
            findings.error(f"{name}: expected more than 0", "limits", name)
        elif name != "buffer" and getattr(config.limits, name) >= 2**30:
            findings.error(f"{name}: expected less than 1 GiB", "limits", name)
    for name in config.timeouts.__struct_fields__:
        if getattr(config.timeouts, name) == 0:
            findings.error(f"{name}: expected more than 0", "timeouts", name)
    if config.limits.buffer < config.limits.frame + config.limits.client_pause:
        findings.error("buffer: expected room for one frame and client_pause at least", "limits", "buffer")
    if not 1 <= config.workers <= 64:
        findings.error("workers: expected 1 to 64", "workers")
