"""What is wrong with where a rule leads, when its shape is right: clusters, shares, subsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit.config import keys, schema, subsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.config.document import Path
    from protokit.config.findings import Findings, Names

    Share = schema.Rule | schema.Split


class Clusters:
    """Clusters by their names, and which subsets of them rules name.

    Attributes:
        names: of all, and which are used.
        endpoints: of those whose endpoints could be read.
        subsets: that are named so far.
    """

    def __init__(self, findings: Findings, names: Names, clusters: Sequence[schema.Cluster]) -> None:
        self.names = names
        self.endpoints = {
            cluster.name: cluster.endpoints
            for i, cluster in enumerate(clusters)
            if not findings.holes("clusters", i, "endpoints")
        }
        self.subsets: dict[str, set[subsets.Having]] = {cluster.name: set() for cluster in clusters}


def check(findings: Findings, rule: schema.Rule, clusters: Clusters, path: Path) -> None:
    """Where a rule leads."""
    _share(findings, rule, clusters, path)
    for s, split in enumerate(rule.split):
        if not findings.hole(*path, "split", s):
            _share(findings, split, clusters, (*path, "split", s))
    if rule.split and rule.subset:
        findings.error("with a split each share has its own subset", *path, "subset")
    keys.once(findings, rule.sticky, (*path, "sticky"), "each request has a share by chance")
    if rule.sticky and not rule.split and not findings.holes(*path, "split"):
        findings.error("sticky says which share of a split a request has: there is none", *path, "sticky")


def _share(findings: Findings, share: Share, clusters: Clusters, path: Path) -> None:
    if isinstance(share.cluster, schema.Named):
        _named(findings, share, share.cluster, clusters, (*path, "cluster"))
        return
    clusters.names.use(share.cluster, *path, "cluster")
    if findings.holes(*path, "subset") or findings.holes(*path, "fallback"):
        return
    if not share.subset:
        if share.fallback != "none":
            findings.error("a fallback is for a subset: there is none here", *path, "fallback")
        return
    if share.cluster is None:
        if not isinstance(share, schema.Rule) or not share.split:
            findings.error("subset: expected the cluster beside it that it is a part of", *path, "subset")
        return
    right = _subset(findings, share.subset, (*path, "subset"))
    if isinstance(share.fallback, schema.Fallback):
        right = _default(findings, share.fallback, (*path, "fallback")) and right
    if right and share.cluster in clusters.endpoints:
        _subset_of(findings, share, clusters, path)


def _named(findings: Findings, share: Share, named: schema.Named, clusters: Clusters, path: Path) -> None:
    clusters.names.use(named.else_, *path, "else")
    for i, name in enumerate(named.of):
        clusters.names.use(name, *path, "of", i)
        if name in named.of[:i] and not findings.hole(*path, "of", i):
            findings.error(f"cluster {name!r} stands here twice", *path, "of", i)
    if not named.of and not findings.holes(*path, "of"):
        findings.error("of: expected one cluster at least", *path, "of")
    if share.subset or share.fallback != "none":
        what = "subset" if share.subset else "fallback"
        findings.error("where a header names the cluster there is no subset", *path[:-1], what)


def _subset(findings: Findings, subset: schema.Subset, path: Path) -> bool:
    """Whether it is one, as far as it says itself."""
    before = len(findings.errors)
    for key, wanted in subset.items():
        if not isinstance(wanted, str) and (wanted.in_ is None) == (wanted.header is None):
            findings.error("expected a value, or one of in and header", *path, key)
        elif not isinstance(wanted, str) and wanted.in_ == ():
            findings.error("in: expected one value at least", *path, key, "in")
    if len(subsets.headers(subset)) > subsets.MOST_HEADERS:
        findings.error(f"headers may say {subsets.MOST_HEADERS} values at most", *path)
    return len(findings.errors) == before


def _default(findings: Findings, fallback: schema.Fallback, path: Path) -> bool:
    if not fallback.subset:
        findings.error("expected one value at least; for all endpoints write fallback: any", *path, "subset")
    elif subsets.headers(fallback.subset):
        findings.error("a fallback is where a header's value leads nowhere: it has values", *path, "subset")
    return bool(fallback.subset) and _subset(findings, fallback.subset, (*path, "subset"))


def preferred(findings: Findings, cluster: schema.Cluster, prefer: schema.Prefer, path: Path) -> None:
    """What is wrong with whom a cluster prefers."""
    if findings.holes(*path, "subset"):
        return
    where = (*path, "subset")
    if not prefer.subset:
        findings.error("expected one value at least", *where)
    elif subsets.headers(prefer.subset):
        findings.error("who is preferred is the same for all requests: give values, not headers", *where)
    elif _subset(findings, prefer.subset, where):
        having = subsets.fixed(prefer.subset)
        near = subsets.chosen(cluster.endpoints, having)
        if not near:
            what = f"no endpoint of cluster {cluster.name!r} has {subsets.told(having)}"
            findings.warning(f"{what}: nobody is preferred", *where)
        elif not subsets.others(cluster.endpoints, (), having):
            what = f"all endpoints of cluster {cluster.name!r} have {subsets.told(having)}"
            findings.warning(f"{what}: prefer does nothing", *where)


def _subset_of(findings: Findings, share: Share, clusters: Clusters, path: Path) -> None:
    """Note which subsets of its cluster a share names, and warn of those that are empty."""
    name = str(share.cluster)
    endpoints, known = clusters.endpoints[name], clusters.subsets[name]
    having = subsets.fixed(share.subset)
    instead = (
        "its requests are refused" if share.fallback == "none" else "all of its requests take the fallback"
    )
    if isinstance(share.fallback, schema.Fallback):
        default = subsets.fixed(share.fallback.subset)
        known.add(default)
        if not subsets.chosen(endpoints, default):
            findings.warning(
                f"no endpoint of cluster {name!r} has {subsets.told(default)}: its requests are refused",
                *path,
                "fallback",
            )
    if by := subsets.headers(share.subset):
        options = subsets.options(endpoints, share.subset)
        known |= {*options.values()}
        if not options:
            what = ", ".join([*by, *([subsets.told(having)] if having else [])])
            findings.warning(
                f"no endpoint of cluster {name!r} has {what} in its metadata: {instead}", *path, "subset"
            )
    else:
        known.add(having)
        if not subsets.chosen(endpoints, having):
            findings.warning(
                f"no endpoint of cluster {name!r} has {subsets.told(having)}: {instead}", *path, "subset"
            )
    if len(known) > subsets.MOST:
        findings.error(
            f"rules up to this one name {len(known)} subsets of cluster {name!r}: {subsets.MOST} at most",
            *path,
            "subset",
        )
