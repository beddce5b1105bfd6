"""Counters in Prometheus' text format, version 0.0.4. Owns which are gauges; the rest is in the stats."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# What goes down as well as up; all else counts.
GAUGES = {
    "ready",
    "connections_active",
    "connections_told",
    "requests_active",
    "mirrors_active",
    "upstream_connections_active",
    "buffer_bytes",
    "fallback_active",
    "filters_waiting",
    "filters_bytes",
    "tables_live",
    "endpoint_active",
    "endpoint_connections",
    "filter_in_a_row",
    "filter_off",
    "breaker_limit",
    "breaker_under_way",
    "reloads_last_failed",
}
# Sections whose upper levels are labels: what their metrics begin with, and the label of each level.
_LABELLED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "workers": ((), ("worker",)),
    "clusters": (("endpoint",), ("cluster", "endpoint")),
    "rules": (("rule_decisions",), ("rule", "decision")),
    "filters": (("filter",), ("filter",)),
    "limiters": (("limiter",), ("rule",)),
    "breakers": (("breaker",), ("cluster", "breaker")),
    "access": (("access_decisions",), ("rule", "decision")),
}


def prometheus(stats: Mapping[str, Any], *, ready: bool) -> str:
    """``Proxy.stats()`` as a page for a scraper.

    Args:
        stats: sections of numbers, nested in mappings and lists. Levels of ``workers``, ``clusters``,
            ``rules``, ``access``, ``filters``, ``limiters`` and ``breakers`` become labels, all others part
            of the metric's name; ``durations`` are a histogram.
        ready: becomes ``protokit_ready``.
    """
    metrics: dict[str, list[str]] = {}
    for section, tree in ({"ready": int(ready)} | dict(stats)).items():
        if section == "durations":
            metrics["cluster_request_seconds"] = [
                line for name in tree for line in _histogram(name, tree[name])
            ]
            continue
        prefix, labels = _LABELLED.get(section, ((section,), ()))
        for path, number in _numbers(tree):
            name = re.sub(r"\W", "_", "_".join((*prefix, *path[len(labels) :])), flags=re.ASCII)
            text = ",".join(
                f'{label}="{_escaped(value)}"' for label, value in zip(labels, path, strict=False)
            )
            metrics.setdefault(name, []).append(f"{{{text}}} {number}" if text else f" {number}")
    from protokit.observe.help import HELP  # when somebody asks, not at the start  # noqa: PLC0415

    lines = []
    for name, samples in metrics.items():
        if name == "cluster_request_seconds":
            kind, metric = "histogram", f"protokit_{name}"
        elif name in GAUGES:
            kind, metric = "gauge", f"protokit_{name}"
        else:
            kind, metric = "counter", f"protokit_{name}_total"
        if name in HELP:
            lines.append(f"# HELP {metric} {HELP[name]}")
        lines.append(f"# TYPE {metric} {kind}")
        lines += [f"{metric}{sample}" for sample in samples]
    return "\n".join(lines) + "\n"


def _histogram(cluster: str, durations: Mapping[str, Any]) -> Iterator[str]:
    label = f'cluster="{_escaped(cluster)}"'
    for most, count in (durations["within"] | {"+Inf": durations["count"]}).items():
        yield f'_bucket{{{label},le="{most}"}} {count}'
    yield f"_sum{{{label}}} {durations['seconds']}"
    yield f"_count{{{label}}} {durations['count']}"


def _numbers(tree: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int | float]]:
    """Every number of a tree, with the keys and indices that lead to it. Texts are left out."""
    if isinstance(tree, int | float):
        yield path, tree
        return
    if isinstance(tree, list | tuple):
        tree = dict(enumerate(tree))
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _numbers(value, (*path, str(key)))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
