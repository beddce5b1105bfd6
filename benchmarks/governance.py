"""What governance costs: instructions a request of the core, for each feature alone and for a typical set.

    .venv/bin/python benchmarks/governance.py [--loads 16x16,64x1] [--refused | --once]

Each is a configuration, compiled as by the proxy; ``native/micro.c`` serves requests of Dubbo, or of
bolt, by its table.
What the core refuses has to cost no more than to forward it: else the exit status is 1. Needs valgrind.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import declared
import micro
import peers
from protokit_sofarpc import bolt

from protokit import config as configuration
from protokit import native
from protokit.control import build_snapshot
from protokit.dataplane.compile import Identities, compile_snapshot

SERVICES = [f"org.protokit.bench.Service{n:05}" for n in range(10)]
LOADS: dict[str, dict[str, int]] = {
    "16x16": {},
    "64x1": {"clients": 64, "depth": 1},
    "1x64": {"clients": 1, "depth": 64},
}
HEADERS = {"version": "1.0.0", "timeout": {"range": [1, 60_000]}}  # of what each request has
RETRY = {"attempts": 2, "on": ["connect-failure", "reset", "timeout"], "per_try": "1s", "idempotent": True}
LIMIT = {"rate": "1000000/s", "burst": 1_000_000}
# Somebody outside, who lets all through.
SHARED = Path(__file__).parents[1] / "examples" / "shared_limit.py"
ASKED = {"ask": {"name": "shared-limit", "options": {"service": "127.0.0.1:1"}}}
# Whoever burns the main thread, for somebody else's requests.
SLOW = Path(__file__).with_name("slow_filter.py")
FILTERED = {"match": {"service": "org.protokit.bench.Filtered"}, "cluster": "echo", "filters": ["burn"]}
OUTLIER = {"errors": 5, "rate": "50%"}
ZONED = [{"address": "127.0.0.1:1", "metadata": {"zone": "a"}}]
BREAKER = {"connections": 64, "requests": 1024, "retries": 20}
# Of what a listener denies: a method of each service, for all but some networks.
DENY = {
    "deny": [
        {"service": service, "method": "echo", "source": f"10.{n}.0.0/16"}
        for n, service in enumerate(SERVICES)
    ]
}
MANY = {"deny": [{"service": f"org.protokit.bench.Other{n:05}", "method": "echo"} for n in range(10_000)]}
# What each rule has besides; what the cluster has; rules in front, which do not match; what the listener has.
Case = tuple[dict[str, Any], dict[str, Any], int] | tuple[dict[str, Any], dict[str, Any], int, dict[str, Any]]
CASES: dict[str, Case] = {
    "bare route": ({}, {}, 0),
    "two headers matched": ({"match": {"headers": HEADERS}}, {}, 0),
    "20 rules with two headers in front": ({}, {}, 20),
    "an argument matched": ({"match": {"arguments": {"0": {"prefix": "x"}}}}, {}, 0),
    "a filter at another rule": ({"beside": [FILTERED]}, {}, 0),
    "timeout": ({"timeout": "2s"}, {}, 0),
    "timeout, passed on": ({"timeout": {"most": "20s", "pass": "true"}}, {}, 0),
    "retry with a time per try and a budget": ({"retry": RETRY}, {}, 0),
    "hedge after a percentile": ({"hedge": {"after": "p95"}, "retry": RETRY}, {}, 0),
    "a mirror that hits nobody": ({"mirror": {"cluster": "echo", "share": "0.0001%"}}, {}, 0),
    "limit": ({"limit": LIMIT}, {}, 0),
    "limit by a header": ({"limit": LIMIT | {"by": {"header": "version"}}}, {}, 0),
    "limit, a limiter asked": ({"limit": LIMIT | ASKED}, {}, 0),
    "limit by a header, a limiter asked": ({"limit": LIMIT | ASKED | {"by": {"header": "version"}}}, {}, 0),
    "outlier": ({}, {"outlier": OUTLIER}, 0),
    "breaker": ({}, {"breaker": BREAKER}, 0),
    "breaker, of each endpoint too": ({}, {"breaker": BREAKER | {"endpoint": {"requests": 1024}}}, 0),
    "breaker, its limit found": ({}, {"breaker": BREAKER | {"adaptive": {"least": 1024}}}, 0),
    "health": ({}, {"health": {"heartbeat": "5s"}}, 0),
    "outlier, slower ones too": ({}, {"outlier": OUTLIER | {"slower": "3x"}}, 0),
    "slow start": ({}, {"slow_start": {"time": "30s"}}, 0),
    "a zone preferred": ({}, {"endpoints": ZONED, "prefer": {"subset": {"zone": "a"}}}, 0),
    "least-request": ({}, {"balance": "least-request"}, 0),
    "random": ({}, {"balance": "random"}, 0),
    "peak-ewma": ({}, {"balance": "peak-ewma"}, 0),
    "maglev by a header": ({}, {"balance": "maglev", "hash": {"header": "version"}}, 0),
    "a delay that hits nobody": ({"fault": {"delay": {"fixed": "1ms", "share": "0.0001%"}}}, {}, 0),
    "a fault that callers may ask for": (
        {"fault": {"asked": {"header": "x-fault", "key": "0123456789abcdef"}}},
        {},
        0,
    ),
    "a header set": ({"set": {"headers": {"timeout": "20000"}}}, {}, 0),
    "a header of answers set": ({"set": {"answer": {"headers": {"by": "echo"}}}}, {}, 0),
    "allowed by the source": ({}, {}, 0, {"deny": [{"source": "10.0.0.0/8"}]}),
    "allowed by service and source": ({}, {}, 0, DENY),
    "allowed by 10,000 rules": ({}, {}, 0, MANY),
    "typical": (
        {"match": {"headers": HEADERS}, "timeout": "2s", "retry": RETRY, "limit": LIMIT},
        {"balance": "least-request", "outlier": OUTLIER, "breaker": BREAKER},
        20,
    ),
}
BARE = "bare route"
# The same of a declared protocol (bolt), beside its own bare route.
DECLARED: dict[str, Case] = {
    BARE: ({}, {}, 0),
    "a header set": ({"set": {"headers": {"app": "other-client"}}}, {}, 0),
    "the service set": ({"set": {"service": "org.protokit.bench.Service00001"}}, {}, 0),
    "a header of answers set": ({"set": {"answer": {"headers": {"app": "other-server"}}}}, {}, 0),
}
# The core answers these itself.
REFUSED: dict[str, Case] = {
    "over the limit": ({"limit": {"rate": "1/h", "burst": 1}}, {}, 0),
    "denied by the service": ({}, {}, 0, {"deny": [{"service": "org.protokit.bench.*"}]}),
    "no route": ({"match": {"method": "other"}}, {}, 0),
    "over the breaker": ({}, {"breaker": {"requests": 8}}, 0),
    "over the breaker, its limit found": (
        {},
        {"breaker": {"requests": 64, "adaptive": {"least": 8}}},
        0,
    ),
}


def configured(
    rule: dict[str, Any],
    cluster: dict[str, Any],
    before: int,
    listener: dict[str, Any] | None = None,
    *,
    protocol: str = "dubbo",
) -> dict[str, Any]:
    """One rule for each service."""
    match, beside = rule.get("match", {}), rule.get("beside", [])
    rule = {key: value for key, value in rule.items() if key != "beside"}
    front = [
        {
            "match": {"service": "org.protokit.bench.*", "headers": {"version": f"2.{n}", "timeout": str(n)}},
            "cluster": "echo",
        }
        for n in range(before)
    ]
    rules = [
        {**rule, "match": {"service": service, "method": "echo", **match}, "cluster": "echo"}
        for service in SERVICES
    ]
    return {
        "plugins": [str(SHARED), str(SLOW)],
        "listeners": [
            {"name": "in", "bind": "127.0.0.1:0", "protocol": protocol, "routes": "bench", **(listener or {})}
        ],
        "routes": [{"name": "bench", "rules": front + beside + rules}],
        "clusters": [{"name": "echo", "endpoints": ["127.0.0.1:1"], "max_connections": 1, **cluster}],
    }


def image(config: dict[str, Any]) -> bytes:
    """What the engine is given for a configuration."""
    found: list[bytes] = []
    load = native.Table.load

    def taken(data: bytes, codecs: list[int], states: list[native.RuleState]) -> native.Table:
        found.append(data)
        return load(data, codecs, states)

    with mock.patch.object(native.Table, "load", taken):
        compile_snapshot(build_snapshot(configuration.load(config)), Identities(), Identities(), 42)
    return found[0]


def options_of(case: Case, folder: str, protocol: str = "dubbo") -> dict[str, int | str]:
    """The core's options: its table, whether it answers itself, and what is asked of it."""
    path = Path(folder) / "image"
    path.write_bytes(image(configured(*case, protocol=protocol)))
    said = {} if protocol == "dubbo" else spoken(Path(folder))
    return {"image": str(path), "refused": int(case in REFUSED.values()), **said}


def spoken(folder: Path) -> dict[str, str]:
    """The options of a declared format, with a request and an answer."""
    pairs = bolt.wire.meaning.headers.encoding
    asked = {"sofa_head_target_service": SERVICES[0], "sofa_head_method_name": "echo", "app": "bench-client"}
    asked |= {
        "service": f"{SERVICES[0]}:1.0",
        "rpc_trace_context.sofaTraceId": "0a0b0c0d1700000000000100012345",
    }
    fields = [
        {
            **declared.REQUEST,
            "headers": pairs.build([(key.encode(), text.encode()) for key, text in asked.items()]),
        },
        {**declared.ANSWER, "headers": pairs.build([(b"app", b"bench-server")]), "result": bytes(160)},
    ]
    frames = [bolt.wire.build({**declared.COMMON, "proto": 1, **values}) for values in fields]
    made = {"format": bolt.wire.image("bolt"), "request": frames[0], "answer": frames[1]}
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return {name: str(folder / name) for name in made} | {"step": str(native.step_address("hessian_fields"))}


def counted(case: Case, loads: dict[str, dict[str, int]], protocol: str = "dubbo") -> dict[str, float]:
    """Instructions a request, by load."""
    with tempfile.TemporaryDirectory() as folder:
        options = options_of(case, folder, protocol)
        return {load: micro.instructions({**of, **options}) for load, of in loads.items()}


def table(
    cases: dict[str, Case],
    loads: dict[str, dict[str, int]],
    bare: dict[str, float],
    more: str,
    protocol: str = "dubbo",
) -> bool:
    """Print one, beside a bare route; whether none of them costs more than the bare route."""
    print(f"| | {' | '.join(f'{name}, {more}' for name in loads)} |\n|---|{'--:|' * len(loads)}")
    cheap = True
    for name, case in cases.items():
        counts = bare if name == BARE else counted(case, loads, protocol)
        cheap = cheap and all(count <= bare[load] for load, count in counts.items())
        shown = [f"{count:,.0f}, {count / bare[load] - 1:+.1%}" for load, count in counts.items()]
        print(f"| {name} | {' | '.join(shown)} |", flush=True)
    print()
    return cheap


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loads", default="16x16,64x1")
    parser.add_argument("--refused", action="store_true", help="only what the core answers itself")
    parser.add_argument("--once", action="store_true", help="run each case for a moment, and count nothing")
    arguments = parser.parse_args()
    loads = {name: LOADS[name] for name in arguments.loads.split(",")}
    peers.build()
    if arguments.once:
        with tempfile.TemporaryDirectory() as folder:
            for case in (CASES | REFUSED).values():
                micro.run(options_of(case, folder), 2)
            for case in DECLARED.values():
                micro.run(options_of(case, folder, "bolt"), 2)
        return 0
    bare = counted(CASES[BARE], loads)
    if not arguments.refused:
        table(CASES, loads, bare, "more")
        table(DECLARED, loads, counted(DECLARED[BARE], loads, "bolt"), "more", "bolt")
    if table(REFUSED, loads, bare, "more than to forward"):
        return 0
    print("governance: to refuse a request costs more than to forward it", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
