"""A Snapshot: everything the data plane needs, immutable. The one interface between the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protokit.config import schema
from protokit.errors import ConfigError
from protokit.wire import Protocol


class _Part(msgspec.Struct, frozen=True):
    pass


class Endpoint(_Part, frozen=True):
    """One server; ``host`` is numeric, ``weight`` 0 means: no traffic."""

    host: str
    port: int
    weight: int = 1
    metadata: Mapping[str, str] = {}


class Check(_Part, frozen=True):
    """How endpoints are checked: ``by`` connect, heartbeat or call, ``every`` so many ms."""

    by: str
    every: int
    timeout: int
    unhealthy: int
    healthy: int
    protocol: Protocol | None = None
    frame: bytes = b""


class Cluster(_Part, frozen=True):
    """Servers that do the same: what is ``written`` of them, and what that comes to.

    ``hash``: ``schema.origins``.
    """

    written: schema.Cluster
    endpoints: tuple[Endpoint, ...]
    connect_timeout_ms: int
    hash: tuple[tuple[str, str], ...] = ()
    check: Check | None = None
    panic: int = 0

    @property
    def name(self) -> str:
        """The cluster's."""
        return self.written.name


class AccessRule(_Part, frozen=True):
    """What a listener says of the requests that a match is for: ``verdict`` allow, deny or otherwise."""

    name: str
    verdict: str
    match: schema.Match


class Listener(_Part, frozen=True):
    """``routes`` names a table, or ``cluster`` the one place where everything goes.

    ``fallback`` names the cluster for connections that are of none of the protocols. ``reuse_port``: other
    processes may listen there, too. ``goaway``: optional drain signals are sent, too.
    ``access``: asked before the routes, in this order; ``dry_run``: the same, and only counts.
    """

    name: str
    host: str
    port: int
    protocols: tuple[Protocol, ...]
    routes: str | None
    cluster: str | None
    pinned: bool
    filters: tuple[schema.FilterUse, ...] = ()
    fallback: str | None = None
    reuse_port: bool = False
    goaway: bool = False
    access: tuple[AccessRule, ...] = ()
    dry_run: tuple[AccessRule, ...] = ()


class Snapshot(_Part, frozen=True):
    """``limits``: fields of the engine's ``pk_limits`` (bytes, counts, milliseconds).

    Rules, and what is written of clusters, are as the configuration has them: policies go from there into the
    engine's records by name.
    """

    listeners: tuple[Listener, ...]
    routes: tuple[schema.Routes, ...]
    clusters: tuple[Cluster, ...]
    limits: Mapping[str, int]
    max_headers: int
    drain_delay_ms: int
    drain_timeout_ms: int
    workers: int
    filters: Mapping[str, Any]
    limiters: Mapping[str, Any]
    places: Mapping[int, ConfigError] = {}  # where each use of a filter stands, by its ``id``
