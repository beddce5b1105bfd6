"""Counters in Prometheus' text format, version 0.0.4."""

from __future__ import annotations

from typing import Any

_GAUGES = {
    "connections_active",
    "requests_active",
    "upstream_connections_active",
    "buffer_bytes",
    "filters_waiting",
    "tables_live",
}
_ENDPOINT_GAUGES = {"active", "connections"}


def prometheus(stats: dict[str, Any], *, ready: bool) -> str:
    """``Proxy.stats()`` as a page for a scraper.

    Args:
        stats: as the proxy gives them.
        ready: becomes ``protokit_ready``.
    """
    lines = ["# TYPE protokit_ready gauge", f"protokit_ready {int(ready)}"]
    workers = stats["workers"]
    for name in workers[0] if workers else ():
        gauge = name in _GAUGES
        metric = f"protokit_{name}" if gauge else f"protokit_{name}_total"
        lines.append(f"# TYPE {metric} {'gauge' if gauge else 'counter'}")
        lines += [f'{metric}{{worker="{i}"}} {worker[name]}' for i, worker in enumerate(workers)]
    rows = [
        (cluster, name, values)
        for cluster, each in stats["clusters"].items()
        for name, values in each.items()
    ]
    for name in rows[0][2] if rows else ():
        gauge = name in _ENDPOINT_GAUGES
        metric = f"protokit_endpoint_{name}" if gauge else f"protokit_endpoint_{name}_total"
        lines.append(f"# TYPE {metric} {'gauge' if gauge else 'counter'}")
        for cluster, endpoint, values in rows:
            labels = f'cluster="{_label(cluster)}",endpoint="{_label(endpoint)}"'
            lines.append(f"{metric}{{{labels}}} {values[name]}")
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
