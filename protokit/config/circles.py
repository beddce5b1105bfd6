"""Endpoints that are a listener of the same file: what comes there may come there again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit.config import keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from protokit.config import schema
    from protokit.config.findings import Findings
    from protokit.config.scalars import Address

_ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104  # compared, not bound


def check(findings: Findings, config: schema.Config) -> None:
    """Warn of each endpoint by which requests of a listener can come to that listener again.

    Args:
        findings: to say it.
        config: the whole.
    """
    ours = _ours(config)
    if not ours:
        return
    leads = {one.name: dict(_steps(config, one, ours)) for one in config.listeners}
    said: set[tuple[int, int]] = set()
    for name, steps in leads.items():
        for where, to in steps.items():
            if where not in said and name in _reached(leads, to):
                said.add(where)
                cluster, endpoint = where
                address = config.clusters[cluster].endpoints[endpoint].address
                findings.warning(
                    f"endpoint {address} is listener {to!r} of this proxy: requests of listener {name!r} may"
                    " go round and round until a limit ends them",
                    "clusters",
                    cluster,
                    "endpoints",
                    endpoint,
                )


def _ours(config: schema.Config) -> dict[str, list[tuple[tuple[int, int], str]]]:
    """By clusters, their endpoints that are a listener: cluster and number, and whose."""
    ports: dict[int, list[schema.Listener]] = {}
    for listener in config.listeners:
        if listener.bind.port:
            ports.setdefault(listener.bind.port, []).append(listener)
    found: dict[str, list[tuple[tuple[int, int], str]]] = {}
    for c, cluster in enumerate(config.clusters):
        for e, endpoint in enumerate(cluster.endpoints):
            for listener in ports.get(endpoint.address.port, ()):
                if endpoint.weight and _is(endpoint.address, listener.bind):
                    found.setdefault(cluster.name, []).append(((c, e), listener.name))
    return found


def _steps(
    config: schema.Config, listener: schema.Listener, ours: Mapping[str, list[tuple[tuple[int, int], str]]]
) -> Iterator[tuple[tuple[int, int], str]]:
    """Those of the endpoints that requests of a listener may go to."""
    for name in {listener.fallback, *keys.clusters_of(config, listener)}:
        yield from ours.get(name or "", ())


def _reached(leads: Mapping[str, Mapping[tuple[int, int], str]], first: str) -> set[str]:
    found, left = {first}, [first]
    while left:
        new = set(leads[left.pop()].values()) - found
        found |= new
        left += new
    return found


def _is(endpoint: Address, bind: Address) -> bool:
    """Whether who connects to the one is accepted by the other (ports are the same), as the file says it."""
    to, at = (
        "127.0.0.1" if one.host.lower() == "localhost" else one.ip or one.host for one in (endpoint, bind)
    )
    return to == at or (at in _ANYWHERE and (to.startswith("127.") or to == "::1"))
