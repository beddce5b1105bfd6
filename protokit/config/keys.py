"""What is wrong with what a cluster's requests are kept together by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit.config import defaults, schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from protokit.config.document import Path
    from protokit.config.findings import Findings
    from protokit.wire import Protocol

_ALONE = ("header", "argument")  # what not every protocol has
_NEEDS = {
    ("header", False): ("headers", "shows_headers"),
    ("header", True): ("headers", "shows_headers"),
    ("argument", False): ("arguments", "reads_arguments"),
    ("argument", True): ("arguments that are looked into", "reads_inside"),
}


def once(findings: Findings, given: schema.Key | list[schema.Key], path: Path, without: str) -> None:
    """That a list has a key, and none twice; ``without`` says what holds where there is no list."""
    every = schema.keys(given)
    if findings.empty(every, *path):
        findings.error(f"{path[-1]}: expected one key at least; without {path[-1]} {without}", *path)
    for i, key in enumerate(every):
        if key in every[:i] and not findings.holes(*path):
            findings.error(f"{path[-1]}: expected {key.name or key.what} once at most", *path, i)


def check(findings: Findings, cluster: schema.Cluster, path: Path) -> None:
    """A cluster's ``balance`` and ``hash``."""
    once(findings, cluster.hash, (*path, "hash"), "nothing keeps requests together")
    if findings.holes(*path, "balance") or findings.holes(*path, "hash"):
        return
    if findings.empty(schema.keys(cluster.hash), *path, "hash"):
        return
    if cluster.balance in defaults.CONSISTENT and not cluster.hash:
        findings.error(
            f"balance: {cluster.balance} needs to know what keeps requests together: add hash: service,"
            " method, source, {header: NAME} or {argument: N}",
            *path,
            "balance",
        )
    if cluster.balance not in defaults.CONSISTENT and cluster.hash:
        findings.error(
            f"hash does nothing with balance: {cluster.balance};"
            f" it is for {' and '.join(defaults.CONSISTENT)}",
            *path,
            "hash",
        )


def clusters_of(config: schema.Config, listener: schema.Listener) -> Iterator[str | None]:
    """Where a listener's requests may go, and copies of them; filters may send them elsewhere."""
    yield listener.cluster
    for table in config.routes:
        for rule in table.rules if table.name == listener.routes else ():
            if rule.mirror is not None:
                yield rule.mirror.cluster
            for one in (rule.cluster, *(split.cluster for split in rule.split)):
                yield from (*one.of, one.else_) if isinstance(one, schema.Named) else (one,)


def check_read(
    findings: Findings,
    config: schema.Config,
    speaking: Mapping[str, list[str]],
    known: Mapping[str, Protocol],
) -> None:
    """Warn of clusters that go by a header or an argument, for listeners whose protocols have none.

    Args:
        findings: to say it.
        config: the whole.
        speaking: the protocols of each listener.
        known: protocols by name.
    """
    for c, cluster in enumerate(config.clusters):
        asked = {_NEEDS[key.what, "." in key.name] for key in schema.keys(cluster.hash) if key.what in _ALONE}
        if not asked or findings.hole("clusters", c):
            continue
        listeners = [one for one in config.listeners if cluster.name in clusters_of(config, one)]
        for what, reads in sorted(asked):
            without = {
                name: listener.name
                for listener in listeners
                for name in speaking[listener.name]
                if name in known and not getattr(known[name], reads)
            }
            for protocol, listener_name in without.items():
                findings.warning(
                    f"hash: requests of protocol {protocol!r} (listener {listener_name!r}) have no {what}:"
                    " they go to any endpoint by weight; service, method or source would keep them together",
                    "clusters",
                    c,
                    "hash",
                )
