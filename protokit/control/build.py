"""From a checked configuration to a Snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from protokit.config import defaults, schema
from protokit.control.snapshot import AccessRule, Check, Cluster, Endpoint, Listener, Snapshot

if TYPE_CHECKING:
    from protokit.config import Loaded
    from protokit.config.scalars import Address


Addresses = Mapping[str, Sequence[str]]


def build_snapshot(loaded: Loaded, addresses: Addresses = MappingProxyType({})) -> Snapshot:
    """The Snapshot that a configuration asks for.

    Args:
        loaded: the configuration.
        addresses: of the host names in it. An endpoint whose name has none is left out, a listener's host
            is empty then.
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
    limits["drain_ms"] = int(config.drain.timeout)
    return Snapshot(
        listeners=tuple(_listener(listener, loaded, addresses) for listener in config.listeners),
        routes=tuple(config.routes),
        clusters=build_clusters(loaded, addresses),
        limits=limits,
        max_headers=config.limits.headers,
        drain_delay_ms=config.drain.delay,
        drain_timeout_ms=config.drain.timeout,
        workers=config.workers,
        filters=loaded.registry.filters,
        limiters=loaded.registry.limiters,
        places=loaded.filters,
    )


def build_clusters(loaded: Loaded, addresses: Addresses) -> tuple[Cluster, ...]:
    """The clusters alone, which change with the addresses of names."""
    return tuple(_cluster(cluster, loaded, addresses) for cluster in loaded.config.clusters)


def _listener(listener: schema.Listener, loaded: Loaded, addresses: Addresses) -> Listener:
    return Listener(
        name=listener.name,
        host=(*_addresses(listener.bind, addresses), "")[0],
        port=listener.bind.port,
        protocols=tuple(loaded.registry.protocols[name] for name in loaded.protocols[listener.name]),
        routes=listener.routes,
        cluster=listener.cluster,
        pinned=listener.mode == "pinned",
        filters=tuple(listener.filters),
        fallback=listener.fallback,
        reuse_port=listener.reuse_port,
        goaway=listener.goaway,
        access=_access(listener.name, listener),
        dry_run=() if listener.dry_run is None else _access(f"{listener.name}.dry_run", listener.dry_run),
    )


def _access(name: str, given: schema.Access | schema.Listener) -> tuple[AccessRule, ...]:
    if given.allow is None and given.deny is None:
        return ()
    from protokit.config import access  # only then  # noqa: PLC0415

    return tuple(AccessRule(f"{name}.{one.name}", one.verdict, one.match) for one in access.rules(given))


def _cluster(cluster: schema.Cluster, loaded: Loaded, addresses: Addresses) -> Cluster:
    connect = loaded.config.timeouts.connect if cluster.connect_timeout is None else cluster.connect_timeout
    # Two names may stand for the same server: it gets what both are to get.
    endpoints: dict[tuple[str, int], Endpoint] = {}
    for endpoint in cluster.endpoints:
        port = endpoint.address.port
        for host in _addresses(endpoint.address, addresses):
            other = endpoints.get((host, port))
            weight = endpoint.weight + (other.weight if other else 0)
            metadata = other.metadata if other else endpoint.metadata
            endpoints[host, port] = Endpoint(host, port, min(weight, 2**32 - 1), metadata)
    return Cluster(
        written=cluster,
        endpoints=tuple(endpoints.values()),
        connect_timeout_ms=int(connect),
        hash=tuple(schema.origins(cluster.hash)),
        check=None if cluster.health is None else _check(cluster.name, cluster.health, loaded),
        panic=_panic(cluster),
    )


def _panic(cluster: schema.Cluster) -> int:
    """Where nobody is judged nobody is used in spite of that."""
    if cluster.health is None and cluster.outlier is None:
        return 0
    return defaults.PANIC if cluster.panic is None else int(cluster.panic)


def _check(cluster: str, health: schema.Health, loaded: Loaded) -> Check:
    from protokit.config.health import asked, protocol_of, spoken_to, way_of  # only then  # noqa: PLC0415

    way = way_of(health)
    spoken = spoken_to(loaded.config, loaded.protocols, cluster)
    name = None if way == "connect" else protocol_of(health, spoken)
    protocol = None if name is None else loaded.registry.protocols[name]
    return Check(
        way,
        int(getattr(health, way)),
        int(health.timeout),
        health.unhealthy,
        health.healthy,
        protocol,
        asked(health, protocol) if way == "call" else b"",
    )


def _addresses(address: Address, known: Addresses) -> Sequence[str]:
    return (address.ip,) if address.ip else known.get(address.host, ())
