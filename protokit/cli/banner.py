"""What is printed when the proxy listens. Must not import asyncio: that is before there is a loop."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

import msgspec

import protokit
from protokit.dataplane import listening

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protokit.config import Loaded


def url(address: tuple[str, int]) -> str:
    """Of the admin server."""
    return f"http://{listening.place(*address)}/"


def banner(loaded: Loaded, addresses: Mapping[str, tuple[str, int]], admin: Sequence[tuple[str, int]]) -> str:
    """One screen on what runs here.

    Args:
        loaded: the configuration.
        addresses: (host, port) by listener.
        admin: the same of the admin server: ``bind``, then ``public``, as far as they are there.
    """
    config = loaded.config
    python = sys.version.partition(" ")[0]
    lines = [f"protokit {protokit.__version__} (Python {python}, msgspec {msgspec.__version__})"]
    for plugin in loaded.registry.plugins:
        brings = ", ".join(
            [f"{one.name} ({one.tier})" for one in plugin.protocols.values()]
            + sorted(plugin.filters)
            + sorted(plugin.limiters)
        )
        lines.append(f"  plugin    {plugin.name} {plugin.version}: {brings}")
    for listener in config.listeners:
        where = listening.place(*addresses[listener.name])
        cluster = listener.cluster or listener.fallback
        target = f"routes {listener.routes}" if listener.routes else f"cluster {cluster}"
        protocols = ", ".join(loaded.protocols[listener.name])
        lines.append(f"  listener  {listener.name} {where} {protocols or 'any'} -> {target}")
    if not admin:
        lines.append("  admin     off")
    lines += [f"  {name:9} {url(one)}" for name, one in zip(("admin", "public"), admin, strict=False)]
    limits = config.limits
    lines.append(
        f"  limits    frame {limits.frame >> 10} KiB, buffers {limits.buffer >> 20} MiB,"
        f" {limits.connections} connections, {limits.in_flight} in flight (each worker)"
    )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lines.append(f"  process   {config.workers} worker{'s' * (config.workers > 1)}, {soft} descriptors")
    warnings = [f"  warning   {warning}" for warning in loaded.warnings]
    if soft < limits.connections * config.workers:
        warnings.append(f"  warning   {soft} descriptors are fewer than limits.connections (see ulimit -n)")
    return "\n".join(lines + warnings)
