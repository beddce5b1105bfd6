"""``protokit plugins check``: what a protocol was found to do, step by step, and the grade that follows."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

import click

from protokit import API_VERSION, native
from protokit.cli.fuzz import MODES, Time
from protokit.cli.subject import kit_of, plugin_of, protocol_in, protocol_named
from protokit.errors import ProtokitError
from protokit.model import Status
from protokit.wire import WireFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from protokit.plugins import Plugin
    from protokit.testing import Golden
    from protokit.wire import Protocol

NATIVE_RATIO = 1.10
_KIT_SECONDS = 900
_VERSIONED = re.compile(r"\w.*[:@ /-]v?\d+(\.\d+)+")
_MARKS = {True: "ok", False: "FAILED", None: "-"}
_KIT = """
from protokit.cli.grade import suite

TestKit = suite({name!r}, {golden!r}, {examples!r})
"""


@dataclass(frozen=True)
class Step:
    """One line.

    Attributes:
        step: its name.
        ok: None where there is nothing to judge, or it could not be found out.
        found: what was found.
    """

    step: str
    ok: bool | None
    found: str


@click.command()
@click.argument("protocol")
@click.option(
    "--time", "seconds", type=Time(), default="60s", show_default=True, help="How long to fuzz at most."
)
@click.option(
    "--examples",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Random frames for each check of the conformance kit.",
)
@click.option(
    "--golden",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="Golden vectors: files or folders of *.jsonl; else those beside the plugin or in its tests.",
)
@click.option(
    "--native",
    "by_hand",
    metavar="PROTOCOL",
    help="A codec in C of the same frames, installed or a one-file plugin, to compare the cost with.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def check(
    protocol: str,
    *,
    seconds: float,
    examples: int,
    golden: tuple[Path, ...],
    by_hand: str | None,
    as_json: bool,
) -> None:
    """Try a protocol and grade it: none, bronze, silver or gold.

    PROTOCOL is the name of one that is installed, or a one-file plugin (./mail.py). bronze: the conformance
    kit passes on golden vectors. silver: also, fuzzing finds nothing and it costs at most 10 % more than a
    codec in C (is one, or see --native). gold: also, vectors were captured from a library of a known version.

    Exit code: 0 for a grade, 1 for none, 2 the command cannot be run.
    """
    for name in ("hypothesis", "pytest"):
        if importlib.util.find_spec(name) is None:
            raise click.UsageError(f"{name} is missing; install it with: pip install 'protokit-proxy[test]'")
    steps: list[Step] = []
    try:
        plugin, beside = plugin_of(protocol)
        other = protocol_named(by_hand) if by_hand else None
        for one in _steps(plugin, protocol, beside, golden, seconds, examples, other):
            steps.append(one)
            if not as_json:
                click.echo(f"{one.step:<12} {_MARKS[one.ok]:<7} {one.found}")
    except ProtokitError as error:
        raise click.UsageError(str(error)) from None
    grade, why = _grade({one.step: one.ok for one in steps})
    if as_json:
        found = {"protocol": protocol, "grade": grade, "why": why, "steps": [asdict(one) for one in steps]}
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(f"grade: {grade}" + (f" ({why})" if why else ""))
    sys.exit(1 if grade == "none" else 0)


def suite(name: str, golden: Iterable[str], examples: int) -> type:
    """The kit's tests for what is called so, in the process that runs them."""
    from protokit.testing import conformance  # noqa: PLC0415  # Hypothesis is an extra

    plugin, beside = plugin_of(name)
    protocol = protocol_in(plugin, name)
    return conformance(protocol, **{"examples": examples, **kit_of(protocol.name, beside, map(Path, golden))})


def _grade(ok: dict[str, bool | None]) -> tuple[str, str]:
    """The grade, and what the next one wants."""
    for step in ("loads", "API", "replies", "conformance"):
        if not ok.get(step, False):
            return "none", f"bronze wants {step}"
    for step in ("fuzz", "cost"):
        if not ok[step]:
            return "bronze", f"silver wants {step}"
    return ("gold", "") if ok["provenance"] else ("silver", "gold wants provenance")


def _steps(
    plugin: Plugin,
    name: str,
    beside: Path,
    golden: tuple[Path, ...],
    seconds: float,
    examples: int,
    other: Protocol | None,
) -> Iterator[Step]:
    from protokit.testing import vectors_of  # noqa: PLC0415  # Hypothesis is an extra

    if plugin.failure:
        yield Step("loads", ok=False, found=plugin.failure)
        return
    protocol = protocol_in(plugin, name)
    vectors = vectors_of(kit_of(protocol.name, beside, golden)["golden"])
    yield Step(
        "loads", ok=True, found=f"{plugin.distribution} {plugin.version}".strip() or f"the file {name}"
    )
    yield from _plugin(plugin)
    yield Step("tier", ok=True, found=_tier(protocol))
    yield _replies(protocol, vectors)
    yield _conformance(name, golden, vectors, examples)
    yield _fuzz(protocol, name, vectors, seconds)
    yield _cost(protocol, vectors, other)
    yield _provenance(vectors)


def _plugin(plugin: Plugin) -> Iterator[Step]:
    hooks: set[str] = set()
    said = None
    for module in plugin.manager.get_plugins() if plugin.manager else ():
        said = getattr(module, "PROTOKIT_API", said)
        hooks |= {caller.name for caller in (plugin.manager and plugin.manager.get_hookcallers(module)) or ()}
    advice = f"none is said; say PROTOKIT_API = '>={API_VERSION},<{API_VERSION + 1}'"
    yield Step("API", ok=True, found=f"{said or advice}; this protokit has {API_VERSION}")
    yield Step("hooks", ok=True, found=", ".join(sorted(hooks)))


def _tier(protocol: Protocol) -> str:
    address = protocol.wire.address
    width = native.id_bytes(address)
    ids = f"ids of {width} bytes" if width else "no ids"
    if most := native.id_max(address):
        ids = f"ids of up to {most} bytes, of any kind"
    what = [MODES[native.mode(address)], ids]
    if steps := native.greeting(address):
        what.append(f"a greeting of {len(steps)} steps")
    if protocol.pinned:
        what.append("pinned")
    wire = protocol.wire
    if isinstance(wire, WireFormat):
        what.append(
            f"{len(wire.nodes)} fields at the top, a program of {len(wire.image(protocol.name))} bytes"
        )
    return f"{protocol.tier}: {', '.join(what)}"


def _replies(protocol: Protocol, vectors: list[Golden]) -> Step:
    wire = protocol.wire
    context = key = 0
    for one in vectors:
        message = wire.ask.frame(one.data)
        if message.result == 0 and message.kind == native.KIND_REQUEST:
            context, key = message.context, message.upstream_key
            break
    wrong: list[str] = []

    def whole(what: str, build: Callable[[], bytes]) -> bool:
        """Whether there is one; what is no whole frame is noted."""
        try:
            reply = build()
            if not reply:
                return False
            message = wire.ask.frame(reply)
        except Exception as error:  # noqa: BLE001  # somebody else's code
            wrong.append(f"{what}: {type(error).__name__}: {error}")
            return False
        if (message.result, message.size) != (0, len(reply)):
            wrong.append(f"{what} is no whole frame")
        return True

    statuses = [status for status in Status if status > Status.APP_ERROR]
    errors = [
        status.name
        for status in statuses
        if whole(status.name, lambda status=status: wire.ask.error(status, 1, context, b"no"))  # type: ignore[misc]
    ]
    lacking = [status.name for status in statuses if status.name not in errors]
    found = [f"errors for {len(errors)} of {len(statuses)} statuses"]
    found += [f"none for {', '.join(lacking)}"] if lacking else []
    beat = whole("heartbeat", lambda: wire.ask.heartbeat(1, key))
    found.append("heartbeat" if beat else "no heartbeat")
    if beat:
        whole("heartbeat's answer", lambda: wire.ask.heartbeat_ack(wire.ask.heartbeat(1, key)))
    drains = whole("drain", lambda: wire.ask.drain(context))
    optional = " (where the listener has goaway: true)" if native.optional_drain(wire.address) else ""
    found.append(f"drain{optional}" if drains else "no drain")
    return Step("replies", not wrong and not lacking, "; ".join([*wrong, ", ".join(found)]))


def _conformance(name: str, golden: tuple[Path, ...], vectors: list[Golden], examples: int) -> Step:
    """The kit through pytest in a process of its own, which a codec in C may crash."""
    if not vectors:
        return Step("conformance", ok=False, found="there are no golden vectors; name some with --golden")
    place = str(Path(name).resolve()) if Path(name).suffix == ".py" else name
    files = [str(one.resolve()) for one in golden]
    try:
        suite(place, files, examples)
    except ProtokitError as error:
        return Step("conformance", ok=False, found=str(error))
    with tempfile.TemporaryDirectory() as folder:
        tests, report, empty = (Path(folder) / one for one in ("test_kit.py", "report.xml", "pytest.ini"))
        tests.write_text(_KIT.format(name=place, golden=files, examples=examples))
        empty.write_text("[pytest]\n")
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["--import-mode=importlib"]
        command += ["-c", str(empty), "--rootdir", folder, "--junitxml", str(report), str(tests)]
        # It imports what this process does: not a package's source that happens to lie in the working folder.
        path = os.pathsep.join(str(Path(one).resolve()) for one in sys.path)
        environment = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": folder, "PYTEST_ADDOPTS": ""}
        environment["PYTHONPATH"] = path
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_KIT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return Step("conformance", ok=False, found=f"the kit did not end within {_KIT_SECONDS} s")
        if not report.is_file():
            ended = f"{signal.Signals(-done.returncode).name}: " if done.returncode < 0 else ""
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            return Step("conformance", ok=False, found=f"the kit crashed: {ended}{''.join(last)}")
        cases = list(Xml.parse(report).iter("testcase"))  # noqa: S314  # pytest wrote it
    broken = [
        f"{case.get('name', '').removeprefix('test_')}: {' '.join(str(why.get('message')).split())[:200]}"
        for case in cases
        for why in [*case.findall("failure"), *case.findall("error")]
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - len(broken) - skipped
    found = f"{passed} of {len(cases)} checks pass on {len(vectors)} golden vectors"
    found += f", {skipped} do not apply" if skipped else ""
    return Step("conformance", bool(passed) and done.returncode == 0, "; ".join([found, *broken]))


def _fuzz(protocol: Protocol, name: str, vectors: list[Golden], seconds: float) -> Step:
    from protokit.testing import fuzzing  # noqa: PLC0415  # Hypothesis is an extra

    if not protocol.wire.ask.in_engine:
        return Step("fuzz", ok=None, found="not done: a codec in Python is no native code")
    if protocol.tier != "declared" and not vectors:
        return Step("fuzz", ok=None, found="not done: a codec in C needs golden vectors to begin with")
    seed = secrets.randbelow(2**32)
    result = fuzzing.fuzz(protocol, vectors, seconds, seed)
    found = [f"{result} (seed {seed})" + (", interrupted" if result.interrupted else "")]
    found += [
        f"{one.check}: {one.why}; again: protokit fuzz {name} --replay {one.path}" for one in result.finds
    ]
    if result.too_little:
        found.append(result.too_little)
    return Step("fuzz", not (result.finds or result.interrupted or result.too_little), "; ".join(found))


def _cost(protocol: Protocol, vectors: list[Golden], other: Protocol | None) -> Step:
    from protokit.testing.cost import compare, cost  # noqa: PLC0415  # Hypothesis is an extra

    if not protocol.wire.ask.in_engine:
        return Step("cost", ok=None, found="not measured: a codec in Python runs on the main thread")
    is_native = protocol.tier == "native" or None
    try:
        if other is None:
            found = f"{cost(protocol, vectors):.0f} ns a request in the engine; "
            found += "is a codec in C" if is_native else "not measured: no native codec to compare with"
            return Step("cost", is_native, found)
        mine, theirs, ratio = compare(protocol, other, vectors)
    except ProtokitError as error:
        return Step("cost", is_native, f"not measured: {error}" + ("; is a codec in C" if is_native else ""))
    found = f"{mine:.0f} ns a request in the engine, {theirs:.0f} with {other.name}: {ratio:.2f} times"
    if other.tier != "native":
        return Step("cost", is_native, f"{found}, but that is {other.tier}, not native")
    return Step("cost", is_native or ratio <= NATIVE_RATIO, found)


def _provenance(vectors: list[Golden]) -> Step:
    captured = [one for one in vectors if one.origin.startswith("captured") and _VERSIONED.search(one.source)]
    sources = Counter(one.source for one in captured)
    found = f"{len(captured)} of {len(vectors)} vectors captured from a library of a known version"
    if sources:
        found += f": {', '.join(f'{source} ({count})' for source, count in sorted(sources.items()))}"
    return Step("provenance", bool(captured), found)
