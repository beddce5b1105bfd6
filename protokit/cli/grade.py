"""``protokit plugins check``: what a protocol was found to do, step by step, and the grade that follows."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as Xml

import click

from protokit import API_VERSION, native, plugins
from protokit.cli import beside
from protokit.cli.fuzz import MODES, Time
from protokit.cli.subject import in_file, kit_file, kit_of, plugin_of, protocol_in, protocol_named
from protokit.errors import DeclarationError, ProtokitError
from protokit.model import Status
from protokit.wire import WireFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from protokit.plugins import Plugin
    from protokit.testing import Golden
    from protokit.wire import Protocol

LONG = 60  # seconds of fuzzing that prove something
_KIT_SECONDS = 900
_PEERS_SECONDS = 1800
_BESIDE = "bolt"  # whose cost others are told as a multiple of
_VERSIONED = re.compile(r"\w.*[:@ /-]v?\d+(\.\d+)+")
_SKIPPED = re.compile(r"\d+ skipped")  # as pytest ends
_FAILED = re.compile(r"(FAILED|ERROR) .*::")  # as pytest names what failed, and why
_MOST_FAILED = 5  # are shown
_SHOWN = 200  # characters of why one failed
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
    "--time",
    "seconds",
    type=Time(),
    default="60s",
    show_default=True,
    help="How long to fuzz; what is found is made small besides.",
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
    help="Another codec of the same frames, installed or a one-file plugin, to compare the cost with.",
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

    PROTOCOL is the name of one that is installed, or a one-file plugin (./mail.py, of several protocols
    ./mail.py:NAME). bronze: the conformance kit passes on golden vectors. silver: also, a minute or more of
    fuzzing finds nothing, vectors were captured from a library of a known version and leave nothing untried,
    and a codec in C has a reference. gold: also, real peers' calls went through a proxy (the command "peers"
    in NAME_kit.py).

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
    kit = kit_of(protocol.name, beside, map(Path, golden))
    return conformance(protocol, **{"examples": examples, **kit})


def _grade(ok: dict[str, bool | None]) -> tuple[str, str]:
    """The grade, and what the next one wants."""
    for step in ("loads", "API", "replies", "conformance"):
        if not ok.get(step, False):
            return "none", f"bronze wants {step}"
    for step in ("reference", "coverage", "provenance", "fuzz"):
        if not ok[step]:
            return "bronze", f"silver wants {step}"
    return ("gold", "") if ok["peers"] else ("silver", "gold wants peers")


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
    kit = kit_of(protocol.name, beside, golden)
    vectors = vectors_of(kit["golden"])
    yield Step(
        "loads", ok=True, found=f"{plugin.distribution} {plugin.version}".strip() or f"the file {name}"
    )
    yield from _plugin(plugin)
    yield Step("tier", ok=True, found=_tier(protocol))
    yield _replies(protocol, vectors)
    proofs = [_conformance(name, golden, vectors, examples)]
    yield proofs[0]
    if proofs[0].ok:
        proofs += [_reference(protocol, kit), _coverage(protocol, vectors, kit), _provenance(vectors)]
        yield from proofs[1:]
    fuzzed = _fuzz(protocol, name, vectors, seconds)
    yield fuzzed
    yield _cost(protocol, vectors, other)
    file = kit_file(protocol.name, beside)
    yield _peers(kit, file and file.parent, proved=all(step.ok for step in [*proofs, fuzzed]))


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
        ends = " or ".join(f"'{'.'.join(path)}'" for path in wire.open_sections)
        what.append(
            f"of large frames what follows the front, {ends}, is passed on as it comes (mode: pinned)"
            if ends
            else "large frames are whole before they go on: they end with nothing that is not looked into"
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
    try:
        getattr(wire, "check_replies", lambda: None)()
    except DeclarationError as error:
        wrong.append(str(error))
    drains = whole("drain", lambda: wire.ask.drain(context))
    optional = " (where the listener has goaway: true)" if native.optional_drain(wire.address) else ""
    found.append(f"drain{optional}" if drains else "no drain")
    return Step("replies", not wrong and not lacking, "; ".join([*wrong, ", ".join(found)]))


def _conformance(name: str, golden: tuple[Path, ...], vectors: list[Golden], examples: int) -> Step:
    """The kit through pytest in a process of its own, which a codec in C may crash."""
    if not vectors:
        return Step("conformance", ok=False, found="there are no golden vectors; name some with --golden")
    file, which = in_file(name)
    place = name if file is None else f"{file.resolve()}:{which}" if which else str(file.resolve())
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
            done = beside.run(command, seconds=_KIT_SECONDS, env=environment)
        except subprocess.TimeoutExpired:
            return Step("conformance", ok=False, found=f"the kit did not end within {_KIT_SECONDS} s")
        if not report.is_file():
            ended = f"{signal.Signals(-done.returncode).name}: " if done.returncode < 0 else ""
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            return Step("conformance", ok=False, found=f"the kit crashed: {ended}{''.join(last)}")
        cases = list(Xml.parse(report).iter("testcase"))  # noqa: S314  # pytest wrote it
    broken = [
        f"{case.get('name', '').removeprefix('test_')}: {_why(why)}"
        for case in cases
        for why in [*case.findall("failure"), *case.findall("error")]
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - len(broken) - skipped
    found = f"{passed} of {len(cases)} checks pass on {len(vectors)} golden vectors"
    found += f", {skipped} do not apply" if skipped else ""
    return Step("conformance", bool(passed) and done.returncode == 0, "; ".join([found, *broken]))


def _why(failure: Xml.Element) -> str:
    """What pytest says of a failure; of an error without words the line where it was."""
    said = " ".join((failure.get("message") or "").split())[:_SHOWN]
    if said and not re.fullmatch(r"[\w.]+:?", said):
        return said
    lines = (failure.text or "").strip().splitlines()
    source = next((line[1:].strip() for line in reversed(lines) if line.startswith(">")), "")
    place = next((line for line in reversed(lines) if re.match(r"\S+:\d+: ", line)), "")
    found = " ".join(f"{said.rstrip(':')} at {place.rpartition(': ')[0]}: {source}".split())
    return (found if place or source else said or "it fails without a word")[:_SHOWN]


def _fuzz(protocol: Protocol, name: str, vectors: list[Golden], seconds: float) -> Step:
    from protokit.testing import fuzzing  # noqa: PLC0415  # Hypothesis is an extra

    if not protocol.wire.ask.in_engine:
        return Step("fuzz", ok=None, found="not done: a codec in Python is no native code")
    if protocol.tier != "declared" and not vectors:
        return Step("fuzz", ok=None, found="not done: a codec in C needs golden vectors to begin with")
    seed = secrets.randbelow(2**32)
    result = fuzzing.fuzz(protocol, vectors, seconds, seed, lambda line: click.echo(f"  {line}", err=True))
    found = [f"{result} (seed {seed})" + (", interrupted" if result.interrupted else "")]
    found += [
        f"{one.check}: {one.why}; again: protokit fuzz {name} --replay {one.path}" for one in result.finds
    ]
    if result.too_little:
        found.append(result.too_little)
    if seconds < LONG:
        found.append(f"at least --time {LONG}s proves something")
    right = not (result.finds or result.interrupted or result.too_little)
    return Step("fuzz", right if not right or seconds >= LONG else None, "; ".join(found))


def _cost(protocol: Protocol, vectors: list[Golden], other: Protocol | None) -> Step:
    """A figure beside the grade: nothing hangs on it."""
    from protokit.testing.cost import Times, compare, cost  # noqa: PLC0415  # Hypothesis is an extra

    times: Times | None
    try:
        if other is not None:
            mine, theirs, times = compare(protocol, other, vectors)
            found = f"{mine:.0f} ns a request in the engine, {theirs:.0f} with {other.name}: {times}"
        else:
            beside = plugins.load([_BESIDE]).protocols.get(_BESIDE)
            cost_of = cost(protocol, vectors, beside)
            times = cost_of.times
            found = f"{cost_of.ns:.0f} ns a request in the engine{cost_of.how}"
            found += f", {times} a small {_BESIDE} request" if times else ""
        found += "; the rounds differ so: a quiet machine says more" if times and times.busy else ""
    except Exception as error:  # noqa: BLE001  # somebody else's code
        why = str(error) if isinstance(error, ProtokitError) else f"{type(error).__name__}: {error}"
        return Step("cost", ok=None, found=f"not measured: {why.rstrip(': ') or type(error).__name__}")
    return Step("cost", ok=None, found=found)


def _reference(protocol: Protocol, kit: dict[str, Any]) -> Step:
    if protocol.tier == "declared":
        return Step("reference", ok=True, found="the declaration, through construct")
    if kit.get("reference"):
        return Step("reference", ok=True, found="a reader in Python")
    found = "none: only golden vectors say what frames mean; KIT's reference is a reader in Python"
    return Step("reference", ok=None, found=found)


def _coverage(protocol: Protocol, vectors: list[Golden], kit: dict[str, Any]) -> Step:
    from protokit.testing import conformance  # noqa: PLC0415  # Hypothesis is an extra
    from protokit.testing.coverage import untried  # noqa: PLC0415  # as above

    left = untried(protocol, vectors, conformance(protocol, **{**kit, "golden": vectors})().has)
    return Step(
        "coverage", not left, f"untried: {'; '.join(left)}" if left else "the vectors leave nothing untried"
    )


def _peers(kit: dict[str, Any], folder: Path | None, *, proved: bool) -> Step:
    """Real clients and servers through a proxy, as the author's command runs them."""
    command = kit.get("peers")
    if command is None:
        return Step(
            "peers", ok=None, found="none; KIT's peers is a command that runs real ones through a proxy"
        )
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    if not proved:
        return Step("peers", ok=None, found=f"not run, since silver is not reached: {shlex.join(words)}")
    click.echo(f"  running {shlex.join(words)}", err=True)
    try:
        # pytest cuts reasons to the terminal's width
        done = beside.run(words, seconds=_PEERS_SECONDS, env={**os.environ, "COLUMNS": "400"}, cwd=folder)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Step("peers", ok=False, found=f"{shlex.join(words)}: {error}")
    said = (done.stdout + done.stderr).strip().splitlines()
    failed = [line for line in said if _FAILED.match(line)][:_MOST_FAILED] if done.returncode else []
    shown = "; ".join(line[:400] for line in [*failed, *said[-1:]])
    found = f"{shlex.join(words)} ended with {done.returncode}: {shown}"
    if _SKIPPED.search(found):
        return Step("peers", ok=None, found=f"{found}: what is skipped proves nothing")
    return Step("peers", done.returncode == 0, found)


def _provenance(vectors: list[Golden]) -> Step:
    captured = [one for one in vectors if one.origin.startswith("captured") and _VERSIONED.search(one.source)]
    sources = Counter(one.source for one in captured)
    found = f"{len(captured)} of {len(vectors)} vectors captured from a library of a known version"
    if sources:
        found += f": {', '.join(f'{source} ({count})' for source, count in sorted(sources.items()))}"
    return Step("provenance", bool(captured), found)
