"""Tables, the plot and the list of targets, made from what was measured."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

COLORS = {
    "protokit": "#0b6e4f",
    "haproxy": "#4a7fb5",
    "envoy": "#b5654a",
    "floor": "#c9b458",
    "none": "#999999",
}

Targets = list[tuple[str, float, float]]  # what, measured, at most


def comparison(result: dict[str, Any]) -> str:
    """The Markdown table of a comparison."""
    head = ["load", "proxy", "requests/s", "CPU µs a request", "of its core", "calls a request"]
    head += ["p50 µs", "p99 µs", "p99.9 µs", "MiB", "protokit's CPU is"]
    lines = [f"| {' | '.join(head)} |", "|---|---" + 9 * "|--:" + "|"]
    for cell in result["cells"]:
        for number, (name, one) in enumerate(cell["results"].items()):
            spread = f"{one['cpu_us']:.2f} ({min(one['cpu_us_all']):.2f}-{max(one['cpu_us_all']):.2f})"
            ratio = cell["ratios"].get(name)
            columns = [
                cell["name"] if number == 0 else "",
                name,
                f"{one['rate']:,.0f}",
                "" if name == "none" else spread,
                "" if name == "none" else f"{one['cpu_share']:.0%}",
                f"{one['calls']:.2f}" if "calls" in one else "",
                f"{one['p50_us']:,.0f}",
                f"{one['p99_us']:,.0f}",
                f"{one['p999_us']:,.0f}",
                f"{one['memory_mib']:.0f}" if "memory_mib" in one else "",
                f"{ratio['median']:.3f} ({ratio['min']:.3f}-{ratio['max']:.3f})" if ratio else "",
            ]
            lines.append("| " + " | ".join(columns) + " |")
    idle = ", ".join(f"{name} {mib:.1f} MiB" for name, mib in result["idle_mib"].items())
    versions = ", ".join(f"{name} {version}".strip() for name, version in result["versions"].items())
    note = (
        f"Versions: {versions}. Resident memory after the start: {idle}. {result['rounds']} rounds of"
        f" {result['seconds']} s; {result['runs_repeated']} runs repeated because other programs were busy."
        " In brackets: least and most."
    )
    return "\n".join([*lines, "", note])


def comparison_targets(result: dict[str, Any]) -> Targets:
    """What the comparison says about the targets that it touches."""
    cells = {cell["name"]: cell for cell in result["cells"]}
    found: Targets = []

    def ratio(cell: str, other: str, most: float) -> None:
        if cell in cells and other in cells[cell]["ratios"]:
            found.append((f"{cell}: CPU against {other}", cells[cell]["ratios"][other]["median"], most))

    one, sixteen = "16x16 128 B, 1 endpoint", "16x16 128 B, 16 endpoints"
    ratio("64x1 128 B, 1 endpoint", "envoy", 0.25)
    ratio("64x1 128 B, 1 endpoint", "haproxy", 0.65)
    ratio(one, "envoy", 0.05)
    ratio(one, "haproxy", 1.0)
    ratio(sixteen, "haproxy", 1.3)
    for load in ("64x1", "16x16"):  # declared against by hand
        ratio(f"thrift-by-id {load} 128 B, 1 endpoint", "by-hand", 1.1)
    ratio("thrift-by-id 16x16 128 B, 1 endpoint", "envoy", 1 / 15)
    ratio("dubbo-governed 16x16 128 B, 1 endpoint", "envoy", 1 / 15)
    calls = cells.get("64x1 128 B, 1 endpoint", {}).get("results", {}).get("protokit", {}).get("calls")
    if calls is not None:
        found.append(("64x1 128 B, 1 endpoint: system calls a request", calls, 2.3))
    if "protokit" in result["idle_mib"]:
        found.append(("resident memory idle, MiB", result["idle_mib"]["protokit"], 45))
    return found


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(run[key] for run in runs))


def stalls(result: dict[str, Any]) -> str:
    """The Markdown table of the experiments on stalls."""
    lines = [
        "| experiment | runs | p50 µs | p99 µs | p99 µs, least-most | p99.9 µs | MiB, before and most |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for one in result["experiments"]:
        for kind, runs in one["runs"].items():
            p99 = [run["p99_us"] for run in runs]
            memory = f"{one['memory_before_mib']:.1f}, {one['memory_peak_mib']:.1f}"
            columns = [
                one["name"] if kind == "quiet" else "",
                kind,
                f"{_median(runs, 'p50_us'):,.0f}",
                f"{_median(runs, 'p99_us'):,.0f}",
                f"{min(p99):,.0f}-{max(p99):,.0f}",
                f"{_median(runs, 'p999_us'):,.0f}",
                memory if kind == "disturbed" else "",
            ]
            lines.append("| " + " | ".join(columns) + " |")
    stream, reloads = result["stream"], ", ".join(f"{took:.2f}" for took in result["reload_s"])
    note = (
        f"The stream: {stream['rate']:,} requests/s over {stream['connections']} connections."
        f" {result['rounds']} rounds of {result['seconds']} s. Loading the rules took {reloads} s."
    )
    return "\n".join([*lines, "", note])


def stall_targets(result: dict[str, Any]) -> Targets:
    """p99 disturbed is at most the highest p99 of runs in which the proxy was not disturbed."""
    found: Targets = []
    for one in result["experiments"]:
        runs = one["runs"]
        most = max(run["p99_us"] for kind in ("quiet", "control") for run in runs.get(kind, []))
        found.append((f"{one['name']}: p99 µs of the stream", _median(runs["disturbed"], "p99_us"), most))
    return found


def micro(result: dict[str, Any]) -> str:
    """The Markdown table of the micro-benchmark."""
    lines = ["| core alone | least ns | median ns | instructions a request |", "|---|--:|--:|--:|"]
    for case in result["cases"]:
        counted = f"{case['instructions']:,.0f}" if "instructions" in case else ""
        lines.append(f"| {case['name']} | {case['least_ns']:.0f} | {case['median_ns']:.0f} | {counted} |")
    return "\n".join(lines)


def micro_targets(result: dict[str, Any]) -> Targets:
    """10,000 exact routes against few, by instructions: asked again and again, and hardly ever."""
    counted = {case["name"]: case.get("instructions") for case in result["cases"]}
    found: Targets = []
    for few, many, what in (
        ("16x16, 10 routes", "16x16, 10,000 routes", "10,000 exact routes against 10"),
        (
            "16x16, 256 services of 256 routes",
            "16x16, 256 services of 10,000 routes",
            "10,000 exact routes against 256, hardly cached",
        ),
    ):
        if counted[few] is not None and counted[many] is not None:
            found.append((f"{what}, instructions a request", counted[many] / counted[few], 1.05))
    return found


def targets(found: Targets) -> str:
    """The Markdown table of targets."""
    lines = ["| target | measured | at most | |", "|---|--:|--:|---|"]
    for what, measured, most in found:
        lines.append(
            f"| {what} | {measured:.3g} | {most:g} | {'met' if measured <= most else '**missed**'} |"
        )
    return "\n".join(lines)


def plot(result: dict[str, Any], path: Path) -> bool:
    """CPU time and p99 by load, one endpoint, at the smallest payload; False without matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an optional dependency
    except ModuleNotFoundError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend was chosen

    shape = {"endpoints": 1, "payload": 128, "protocol": "dubbo"}
    cells = [cell for cell in result["cells"] if shape.items() <= cell.items()]
    panels = (("cpu_us", "CPU µs a request (log)"), ("p99_us", "p99 latency, µs (log)"))
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
    names = list(cells[0]["results"]) if cells else []
    for axis, (key, title) in zip(axes, panels, strict=True):
        shown = [name for name in names if key != "cpu_us" or name != "none"]
        width = 0.8 / max(1, len(shown))
        for number, name in enumerate(shown):
            places = [at + (number - (len(shown) - 1) / 2) * width for at in range(len(cells))]
            values = [cell["results"][name][key] for cell in cells]
            bars = axis.bar(places, values, width, label=name, color=COLORS.get(name))
            axis.bar_label(bars, fmt="{:,.3g}", fontsize=7)
        axis.set_yscale("log")
        axis.set_title(title)
        axis.set_xticks(range(len(cells)), [cell["name"].split()[0] for cell in cells])
        axis.set_xlabel("connections x in flight, 128 B, 1 endpoint")
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].legend(frameon=False)
    figure.savefig(path, dpi=130)
    return True
