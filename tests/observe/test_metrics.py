"""The metrics page, read back by a parser that takes nothing but the text format."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import protokit
from protokit import Proxy, native
from protokit.observe.help import HELP
from protokit.observe.metrics import GAUGES, prometheus
from protokit.observe.process import process
from protokit.testing import streams

SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (-?[0-9.e+]+)'
)
ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def parse(page: str) -> dict[str, tuple[str, dict[tuple[tuple[str, str], ...], float]]]:
    """Metric to its type and samples; every line must be well formed, every metric stand in one piece."""
    found: dict[str, tuple[str, dict]] = {}
    assert page.endswith("\n")
    name = helped = ""
    for line in page[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped = re.fullmatch(r"# HELP (\w+) [A-Z0-9][^\\]*\.", line)[1]
            continue
        if line.startswith("#"):
            _, word, name, kind = line.split(" ")
            assert (word, name in found) == ("TYPE", False), line
            assert helped in {"", name}, f"{line}: what stands above it is another's"
            helped = ""
            found[name] = (kind, {})
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        parts = ("_bucket", "_sum", "_count") if found[name][0] == "histogram" else ("",)
        assert match[1] in {name + part for part in parts}, f"{line}: not under its own type"
        labels = tuple(
            (key, re.sub(r"\\.", lambda m: ESCAPED[m[0]], value))
            for key, value in LABEL.findall(match[2] or "")
        )
        if match[1] != name:
            labels = (("", match[1].removeprefix(name)), *labels)
        assert labels not in found[name][1], f"{line}: twice"
        found[name][1][labels] = float(match[3])
    return found


def test_all_that_the_proxy_counts_is_there():
    async def page() -> tuple[dict, str]:
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "cluster": "c"}],
            "clusters": [
                {
                    "name": "c",
                    "endpoints": ["127.0.0.1:9", "127.0.0.1:10"],
                    "breaker": {"requests": 5, "endpoint": {"connections": 7}},
                }
            ],
            "workers": 2,
        }
        async with Proxy(config) as proxy:
            return proxy.stats(), prometheus(proxy.stats(), ready=proxy.ready)

    stats, text = streams.run(page())
    found = parse(text)
    assert found["protokit_ready"] == ("gauge", {(): 1.0})
    assert stats.keys() == {
        "workers",
        "clusters",
        "durations",
        "rules",
        "access",
        "filters",
        "limiters",
        "breakers",
        "reloads",
    }
    requests, connections = (
        (("cluster", "c"), ("breaker", name)) for name in ("requests", "endpoint-connections")
    )
    assert found["protokit_breaker_limit"] == ("gauge", {requests: 5.0, connections: 7.0})
    assert found["protokit_breaker_under_way"] == ("gauge", {requests: 0.0})
    assert found["protokit_breaker_refused_total"] == ("counter", {requests: 0.0, connections: 0.0})
    for name in native.STAT_NAMES:
        metric = f"protokit_{name}" if name in GAUGES else f"protokit_{name}_total"
        assert set(found[metric][1]) == {(("worker", "0"),), (("worker", "1"),)}
    for name in native.ENDPOINT_STAT_NAMES:
        gauge = f"endpoint_{name}" in GAUGES
        metric = f"protokit_endpoint_{name}" if gauge else f"protokit_endpoint_{name}_total"
        endpoints = {(("cluster", "c"), ("endpoint", f"127.0.0.1:{port}")) for port in (9, 10)}
        assert set(found[metric][1]) == endpoints
    for name in ("done", "failed"):
        assert found[f"protokit_reloads_{name}_total"][1] == {(): 0.0}
    assert found["protokit_reloads_last_failed"] == ("gauge", {(): 0.0})
    assert len(found) == 8 + len(native.STAT_NAMES) + len(native.ENDPOINT_STAT_NAMES)


def test_what_limiters_were_asked_is_told_by_rule():
    counts = {"asked": 3, "dropped": 2, "failures": 1}
    found = parse(prometheus({"limiters": {"shop[0]": counts}}, ready=True))
    for name, number in counts.items():
        assert found[f"protokit_limiter_{name}_total"] == ("counter", {(("rule", "shop[0]"),): float(number)})


def test_each_metric_says_what_it_counts():
    """Of everything that there may be, and of nothing else."""
    switch = {"failures": 0, "in_a_row": 0, "off": 0, "dropped": 0}
    numbers = {
        "workers": [dict.fromkeys(native.STAT_NAMES, 0)],
        "clusters": {"c": {"e": dict.fromkeys(native.ENDPOINT_STAT_NAMES, 0)}},
        "rules": {"r": {"limit": 0}},
        "access": {"l": {"deny": 0}},
        "filters": {"f": switch},
        "limiters": {"r": {"asked": 0, "dropped": 0, "failures": 0}},
        "breakers": {"c": {"b": {"limit": 0, "under_way": 0, "refused": 0}}},
        "durations": {"c": {"count": 0, "seconds": 0.0, "within": {}}},
        "reloads": {"done": 0, "failed": 0, "last_failed": 0},
    }
    page = prometheus(numbers, ready=True)
    metrics = {name.removeprefix("protokit_").removesuffix("_total") for name in parse(page)}
    assert metrics == HELP.keys()
    assert page.count("# HELP ") == page.count("# TYPE ") == len(HELP)


def test_gauges_are_what_the_engine_also_counts_down():
    """Whatever goes down would be a restart of the process to who takes it for a counter."""
    core = Path(__file__).parents[2] / "native/src/core"
    down = {
        ("endpoint_" if of == "e->stats->" else "") + name
        for source in core.glob("*.c")
        for of, name in re.findall(r"PK_STAT_SUB\((core->stats\.|e->stats->)(\w+),", source.read_text())
    }
    assert len(down) >= 11
    decided = {
        "ready",
        "filter_in_a_row",
        "filter_off",
        "breaker_limit",
        "breaker_under_way",
        "reloads_last_failed",
    }
    assert down | decided == GAUGES
    assert {*native.STAT_NAMES, *(f"endpoint_{name}" for name in native.ENDPOINT_STAT_NAMES)} >= down


@pytest.mark.parametrize(("ready", "number"), [(True, 1.0), (False, 0.0)])
def test_nothing_but_readiness(ready, number):
    assert parse(prometheus({}, ready=ready)) == {"protokit_ready": ("gauge", {(): number})}


def test_other_sections_become_names():
    stats = {
        "reloads": {"good": 3, "last-error": "no number", "bad": {"parse": 1}},
        "uptime": 7,
        "shards": [4, 5],
    }
    found = parse(prometheus(stats, ready=True))
    assert {name: samples for name, (_, samples) in found.items()} == {
        "protokit_ready": {(): 1.0},
        "protokit_reloads_good_total": {(): 3.0},
        "protokit_reloads_bad_parse_total": {(): 1.0},
        "protokit_uptime_total": {(): 7.0},
        "protokit_shards_0_total": {(): 4.0},
        "protokit_shards_1_total": {(): 5.0},
    }


def test_the_process_tells_what_every_process_tells(tmp_path):
    before, mine = process(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with (tmp_path / "one more").open("w"):
        found = {name: samples for name, (_, samples) in parse(process()).items()}
    (versions,) = found.pop("protokit_build_info")
    assert dict(versions)["version"] == protokit.__version__
    value = {name: one[()] for name, one in found.items()}
    assert value["process_max_fds"] == mine
    assert value["process_open_fds"] == parse(before)["process_open_fds"][1][()] + 1
    used = sum(os.times()[:2])
    assert used - 1 <= value["process_cpu_seconds_total"] <= used + 1
    assert value["process_resident_memory_bytes"] > 10_000_000
    assert parse(process(tmp_path)).keys() == {"protokit_build_info"}  # a system that tells nothing


def test_when_a_process_started():
    before = time.time()
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            ((_, samples),) = [
                one for name, one in parse(process(Path(f"/proc/{child.pid}"))).items() if "start" in name
            ]
        finally:
            child.kill()
    assert before - 1 <= samples[()] <= time.time() + 1


words = st.text(min_size=1, max_size=12)
numbers = st.dictionaries(
    st.sampled_from(["requests", "active", "errors"]), st.integers(0, 2**62), max_size=3
)


@given(st.dictionaries(words, st.dictionaries(words, numbers, max_size=3), max_size=3))
def test_any_names_come_back_as_labels(clusters):
    expected = defaultdict(dict)
    for cluster, endpoints in clusters.items():
        for endpoint, values in endpoints.items():
            for name, number in values.items():
                metric = "protokit_endpoint_active" if name == "active" else f"protokit_endpoint_{name}_total"
                expected[metric][(("cluster", cluster), ("endpoint", endpoint))] = float(number)
    found = parse(prometheus({"clusters": clusters}, ready=True))
    del found["protokit_ready"]
    assert {name: samples for name, (_, samples) in found.items()} == expected
