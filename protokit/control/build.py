"""From a checked configuration to a Snapshot."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from protokit.control.snapshot import (
    Cluster,
    Endpoint,
    Listener,
    Match,
    Retry,
    RouteTable,
    Rule,
    Snapshot,
    Use,
)
from protokit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protokit.config import Loaded, schema


def build_snapshot(loaded: Loaded) -> Snapshot:
    """The Snapshot that a configuration asks for.

    Host names are looked up here, once.

    Raises:
        ConfigError: a host name has no address.
    """
    config = loaded.config
    limits = {
        name: int(getattr(config.limits, name))
        for name in config.limits.__struct_fields__
        if name != "headers"
    }
    limits |= {
        f"{name}_ms": int(getattr(config.timeouts, name))
        for name in config.timeouts.__struct_fields__
        if name != "connect"
    }
    return Snapshot(
        listeners=tuple(_listener(listener, loaded) for listener in config.listeners),
        routes=tuple(_routes(table) for table in config.routes),
        clusters=tuple(_cluster(cluster, loaded) for cluster in config.clusters),
        limits=limits,
        max_headers=config.limits.headers,
        drain_delay_ms=config.drain.delay,
        drain_timeout_ms=config.drain.timeout,
        workers=config.workers,
        filters=loaded.registry.filters,
    )


def _listener(listener: schema.Listener, loaded: Loaded) -> Listener:
    return Listener(
        name=listener.name,
        host=_resolve(listener.bind.host, listener.bind.port, loaded.path),
        port=listener.bind.port,
        protocols=tuple(loaded.registry.protocols[name] for name in loaded.protocols[listener.name]),
        routes=listener.routes,
        cluster=listener.cluster,
        pinned=listener.mode == "pinned",
        filters=_uses(listener.filters),
        fallback=listener.fallback,
    )


def _uses(uses: Iterable[schema.FilterUse]) -> tuple[Use, ...]:
    return tuple(Use(use.name, use.options) for use in uses)


def _routes(table: schema.Routes) -> RouteTable:
    rules = []
    for number, rule in enumerate(table.rules):
        split = tuple((split.cluster, split.weight) for split in rule.split)
        retry = rule.retry
        rules.append(
            Rule(
                name=f"{table.name}[{number}]",
                match=Match(rule.match.service, rule.match.method, rule.match.version, rule.match.group),
                split=split or ((rule.cluster or "", 1),),
                timeout_ms=int(rule.timeout or 0),
                retry=Retry(retry.attempts, tuple(retry.on), retry.idempotent) if retry else None,
                filters=_uses(rule.filters),
            )
        )
    return RouteTable(table.name, tuple(rules))


def _cluster(cluster: schema.Cluster, loaded: Loaded) -> Cluster:
    connect = loaded.config.timeouts.connect if cluster.connect_timeout is None else cluster.connect_timeout
    return Cluster(
        name=cluster.name,
        endpoints=tuple(
            Endpoint(
                _resolve(endpoint.address.host, endpoint.address.port, loaded.path),
                endpoint.address.port,
                endpoint.weight,
                endpoint.metadata,
            )
            for endpoint in cluster.endpoints
        ),
        balance=cluster.balance,
        max_connections=cluster.max_connections,
        connect_timeout_ms=int(connect),
    )


def _resolve(host: str, port: int, path: str) -> str:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return host
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"the host name {host!r} has no address: {error.strerror}", path) from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])
