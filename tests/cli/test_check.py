"""``protokit plugins check`` as a user runs it: every grade, and why it is no better."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from construct import GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from faulty import CHANGED, HOOK, OVERREAD, PAGE, RIGHT, TOY, native
from hypothesis import strategies as st

import protokit.plugins
from protokit import Protocol, Status, WireFormat
from protokit.cli.grade import _cost, _grade, _peers, _why
from protokit.cli.subject import kit_of, plugin_of, protocol_in, protocol_named
from protokit.testing import Golden, conformance, vectors_of
from protokit.testing import cost as costs
from protokit.wire import ErrorText, Greeting, Replies, table, text

Run = subprocess.CompletedProcess[str]
ORIGIN = {"origin": "captured by hand", "source": "acme-rpc 1.2.3"}


def run(folder: Path, *arguments: object, code: int | None = 0, python: tuple[str, ...] = ()) -> Run:
    command = [sys.executable, *(python or ("-m", "protokit")), "plugins", "check", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def check(folder: Path, *arguments: object, code: int | None = 0, python: tuple[str, ...] = ()) -> str:
    done = run(folder, *arguments, code=code, python=python)
    return done.stdout + done.stderr


def graded(folder: Path, *arguments: object) -> dict:
    """What --json says, whose progress goes to stderr."""
    return json.loads(run(folder, *arguments, "--json").stdout)


def toy(kind: int, number: int, body: bytes) -> str:
    head = bytes([0x7E, kind, 0]) + number.to_bytes(8, "big")
    return (head + len(body).to_bytes(2, "big") + body).hex()


def vectors(folder: Path, frames: dict[str, str], **more: str) -> None:
    (folder / "golden").mkdir(exist_ok=True)
    for old in (folder / "golden").iterdir():
        old.unlink()
    lines = [json.dumps({"name": name, "hex": data, **more}) for name, data in frames.items()]
    (folder / "golden" / "them.jsonl").write_text("\n".join(lines))


def page(kind: int, number: int, to: bytes = b"", body: bytes = b"") -> str:
    data = bytes([kind, 0]) + number.to_bytes(2, "big") + bytes([len(to)]) + to
    return (data + len(body).to_bytes(2, "big") + body).hex()


ALL = (
    *("loads", "API", "hooks", "tier", "replies", "conformance", "reference", "coverage", "provenance"),
    *("fuzz", "cost", "peers"),
)
TOYS_GRADED = (
    ("loads", True, "the file page.py"),
    ("API", True, "none is said; .*"),
    ("hooks", True, "protokit_protocols"),
    ("tier", True, "native: multiplexed, ids of 8 bytes"),
    ("replies", True, "errors for 7 of 7 statuses, heartbeat, drain"),
    ("conformance", True, r"(\d+) of \1 checks pass on 3 golden vectors.*"),
    ("reference", None, "none: only golden vectors say what frames mean; .*"),
    ("coverage", False, r"untried: no error frame .*; no heartbeat; all ids alike \(9\).*"),
    ("provenance", True, r"3 of 3 vectors captured from a library of a known version: acme-rpc 1.2.3 \(3\)"),
    ("fuzz", None, ".* 0 finds .*at least --time 60s proves something"),
    ("cost", None, r"\d+ ns a request in the engine, [\d.]+( to [\d.]+)? times a small bolt request.*"),
    ("peers", None, "none; KIT's peers is a command .*"),
)
TOYS = {"asks": toy(1, 9, b"svc m hello"), "tells": toy(2, 9, b"svc m hello"), "answers": toy(3, 9, b"yes")}
PAGES = {"asks": page(1, 9, b"svc", b"hello"), "answers": page(2, 9, b"", b"yes")}


@pytest.mark.slow
def test_a_plugins_source_in_the_working_folder_is_not_what_is_tried(tmp_path):
    (tmp_path / "protokit_dubbo").mkdir()
    (tmp_path / "protokit_dubbo" / "__init__.py").write_text("raise ImportError('not built here')")
    vectors = (Path(__file__).parents[1] / "golden" / "dubbo.jsonl").read_text().splitlines()
    (tmp_path / "one.jsonl").write_text(min(vectors, key=len))  # not enough for all checks to pass
    few = ("--time", "100ms", "--examples", "1", "--golden", "one.jsonl")
    text = check(tmp_path, "dubbo", *few, code=None, python=("-P", "-m", "protokit"))
    assert re.search(r"\d\d of \d\d checks pass on", text), text


@pytest.mark.slow
def test_a_codec_in_c_without_a_reference_or_enough_vectors_is_bronze(tmp_path):
    native(tmp_path, TOY.read_text())
    vectors(tmp_path, TOYS, **ORIGIN)
    found = graded(tmp_path, "page.py", "--time", "100ms", "--examples", 20)
    assert (found["grade"], found["why"]) == ("bronze", "silver wants reference")
    assert [one["step"] for one in found["steps"]] == list(ALL)
    for (step, ok, pattern), one in zip(TOYS_GRADED, found["steps"], strict=True):
        assert one["ok"] is ok, step
        assert re.fullmatch(pattern, one["found"]), one["found"]


@pytest.mark.slow
def test_a_codec_that_reads_too_far_is_no_better_than_bronze(tmp_path):
    native(tmp_path, TOY.read_text().replace(RIGHT, OVERREAD))
    vectors(tmp_path, TOYS, **ORIGIN)
    text = check(tmp_path, "page.py", "--time", "8s", "--examples", 20, code=None)
    assert "fuzz         FAILED" in text
    assert "again: protokit fuzz page.py --replay fuzz-wide-meaning-" in text
    # What lies behind the bytes is chance; where it makes a difference the kit sees it too.
    assert "grade: bronze (silver wants reference)" in text or "grade: none (bronze wants conf" in text


BESIDE = """
from neighbour import FRAMES, ORIGIN
from protokit.testing import Golden
KIT = {"golden": [Golden(name, bytes.fromhex(data), **ORIGIN) for name, data in FRAMES.items()]}
"""


@pytest.mark.slow
def test_another_codec_of_other_frames_is_no_measure_and_the_kit_stands_beside_the_plugin(tmp_path):
    (tmp_path / "page.py").write_text(PAGE + HOOK)
    (tmp_path / "page_kit.py").write_text(BESIDE)
    (tmp_path / "neighbour.py").write_text(f"FRAMES, ORIGIN = {PAGES!r}, {ORIGIN!r}")
    (tmp_path / "other").mkdir()
    native(tmp_path / "other", TOY.read_text())
    text = check(tmp_path, "page.py", "--time", "100ms", "--examples", 20, "--native", "other/page.py")
    assert "checks pass on 2 golden vectors" in text
    assert "provenance   ok      2 of 2 vectors captured from a library of a known version: acme-rpc" in text
    assert "coverage     FAILED  untried: " in text
    assert "cost         -       not measured: wide reads 'asks' otherwise" in text
    assert "peers        -       none; KIT's peers is a command" in text
    assert "grade: bronze (silver wants coverage)\n" in text


def test_real_peers_run_only_where_all_else_is_proved(tmp_path):
    kit = {"peers": [sys.executable, "-c", "print('all 7 calls went through')"]}
    step = _peers(kit, tmp_path, proved=True)
    assert (step.ok, step.found.endswith("ended with 0: all 7 calls went through")) == (True, True)
    assert _peers(kit, tmp_path, proved=False).ok is None
    assert _peers({}, tmp_path, proved=True).ok is None
    kit = {"peers": f"{sys.executable} -c 'import sys; sys.exit(\"the Go client hangs\")'"}
    step = _peers(kit, tmp_path, proved=True)
    assert (step.ok, step.found.endswith("ended with 1: the Go client hangs")) == (False, True)
    kit = {"peers": [sys.executable, "-c", "print('3 passed, 4 skipped in 2 s')"]}
    assert _peers(kit, tmp_path, proved=True).ok is None
    step = _peers({"peers": "no-such-command"}, tmp_path, proved=True)
    assert (step.ok, "No such file" in step.found) == (False, True)


def test_what_failed_of_the_peers_is_named_with_its_reason(tmp_path):
    (tmp_path / "test_peers.py").write_text("""
def test_go():
    found = "nothing"
    assert found == "something", "the Go client hangs " + "on its next call " * 5

def test_java():
    raise OSError("no such jar")

def test_node():
    pass
""")
    step = _peers({"peers": [sys.executable, "-m", "pytest", "-q", "-n", "0"]}, tmp_path, proved=True)
    assert not step.ok
    assert "FAILED test_peers.py::test_go - AssertionError: the Go client hangs on its next" in step.found
    assert "on its next call ; FAILED test_peers.py::test_java - OSError: no such jar; 2 failed" in step.found
    assert "test_node" not in step.found


@pytest.mark.slow
def test_what_fails_the_kit_or_does_not_load_has_no_grade(tmp_path):
    (tmp_path / "page.py").write_text(PAGE + CHANGED + HOOK)
    text = check(tmp_path, "page.py", "--golden", tmp_path, "--time", "1s", code=1)
    assert "there are no golden vectors" in text
    vectors(tmp_path, {**PAGES, "wrong": page(1, 1)[:-2]}, **ORIGIN)
    text = check(tmp_path, "page.py", "--time", "1s", "--examples", 20, code=1)
    assert "conformance  FAILED" in text
    assert "golden_vectors_mean_what_they_should: AssertionError: wrong" in text
    assert "grade: none (bronze wants conformance)" in text
    (tmp_path / "page.py").write_text("import nothing_of_that_name")
    text = check(tmp_path, "page.py", code=1)
    assert "loads        FAILED  ModuleNotFoundError" in text
    assert "grade: none (bronze wants loads)" in text


def test_what_cannot_be_run_says_why(tmp_path):
    assert "'nothing' is not installed" in check(tmp_path, "nothing", code=2)
    without = "import sys; sys.modules['hypothesis'] = None; from protokit.cli import main; main()"
    assert "pip install 'protokit-proxy[test]'" in check(tmp_path, "bolt", code=2, python=("-c", without))


@pytest.mark.parametrize(
    ("failing", "grade", "next_one"),
    [
        ("loads", "none", "bronze"),
        ("conformance", "none", "bronze"),
        ("reference", "bronze", "silver"),
        ("coverage", "bronze", "silver"),
        ("provenance", "bronze", "silver"),
        ("fuzz", "bronze", "silver"),
        ("peers", "silver", "gold"),
    ],
)
def test_each_step_stops_its_grade(failing, grade, next_one):
    for value in (False, None):
        assert _grade({**dict.fromkeys(ALL, True), failing: value}) == (grade, f"{next_one} wants {failing}")
    assert _grade(dict.fromkeys(ALL, True) | {"cost": None}) == ("gold", "")


@pytest.fixture
def roughly(monkeypatch):
    """Costs are measured, however exactly."""
    monkeypatch.setattr(costs, "ROUNDS", 2)


@pytest.mark.usefixtures("roughly")
def test_two_codecs_of_the_same_frames_are_compared(tmp_path):
    native(tmp_path, TOY.read_text())
    registry = protokit.plugins.load([], [tmp_path / "page.py"])
    wide = registry.protocols["wide"]
    golden = [Golden(name, bytes.fromhex(data)) for name, data in TOYS.items()]
    mine, theirs, ratio = costs.compare(wide, wide, golden)
    assert mine > 0
    assert theirs > 0
    assert ratio.median > 0


NAMES = ("bolt", "dubbo", "hsf", "motan", "tr")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_protocol_of_the_tree_is_found_with_all_that_the_kit_is_to_be_given(name, tmp_path):
    found = graded(tmp_path, name, "--time", "1s", "--examples", 5)  # its tests run the kit in full
    steps = {step["step"]: step for step in found["steps"]}
    for step in ("conformance", "reference", "coverage"):
        assert steps[step]["ok"], steps[step]["found"]
    assert "do not apply" not in steps["conformance"]["found"]
    assert "; again:" not in steps["fuzz"]["found"]
    assert found["grade"] == "bronze"  # a second of fuzzing proves little


@pytest.mark.usefixtures("roughly")
def test_costs_of_all_that_runs_in_the_engine_are_measured():
    """Also of those whose clients have connections of their own."""
    bolt = protocol_named("bolt")
    for name in ("dubbo", "tr"):
        golden = vectors_of(kit_of(name, plugin_of(name)[1])["golden"])
        one = costs.cost(protocol_named(name), golden, bolt)
        assert min(one.ns, one.times.median) > 0
        assert ("pinned clients" in one.how) == (name == "tr")


@pytest.mark.usefixtures("roughly")
@pytest.mark.parametrize("mode", ["ordered", "pingpong", "pinned"])
def test_a_protocol_in_any_mode_has_a_cost(mode):
    ids = {"id": this.id} if mode == "pinned" else {}
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "text" / Prefixed(Int16ub, GreedyBytes)),
        mode=mode,
        response=this.kind == 2,
        status=table(this.kind, {2: Status.OK}, Status.INTERNAL),
        service=text(this.text),
        replies=Replies(
            error=lambda status, variant: {"kind": 3, "text": ErrorText()} | ({} if ids else {"id": 0})
        ),
        **ids,
    )
    asks, answers = b"\x01\0\x07\0\x02hi", b"\x02\0\x07\0\x02ho"
    one = costs.cost(Protocol("page", wire), [Golden("asks", asks), Golden("answers", answers)])
    assert one.ns > 0
    assert "one at a time" in one.how


def test_several_faults_at_once_are_all_told(tmp_path):
    (tmp_path / "page.py").write_text(PAGE + HOOK)
    suite = conformance(
        protocol_in(protokit.plugins.load([], [tmp_path / "page.py"]).plugins[0], "page"),
        golden=[Golden(name, bytes.fromhex(data)) for name, data in PAGES.items()],
    )()

    def property_(number):
        assert number < 100, "too large"
        if number == 7:
            raise KeyError("seven")

    with pytest.raises(AssertionError, match=r"(?s)2 faults: .*too large.*; KeyError: 'seven'"):
        suite.check(property_, st.sampled_from([7, 100]))


def test_a_wrong_kit_beside_the_plugin_says_why(tmp_path):
    (tmp_path / "page.py").write_text(PAGE + HOOK)
    (tmp_path / "neighbour.py").write_text(f"FRAMES, ORIGIN = {PAGES!r}, {ORIGIN!r}")
    kit = tmp_path / "page_kit.py"
    kit.write_text(BESIDE + "KIT['lacks'] = {'drain'}\n")
    assert "page: its declaration says what it has" in check(tmp_path, "page.py", "--time", "100ms", code=1)
    kit.write_text("import nothing_of_that_name\n")
    text = check(tmp_path, "page.py", code=2)
    assert "page_kit.py: ModuleNotFoundError: No module named 'nothing_of_that_name'" in text
    kit.write_text("kit = {}\n")
    assert "page_kit.py: expected KIT, a dict of what" in check(tmp_path, "page.py", code=2)


FAILURES = """
import pytest

def nothing(x):
    assert x  # in a module whose asserts pytest does not look into it would say no more

def test_words():
    raise ValueError("in words")

def test_without():
    raise AssertionError

def test_inside():
    raise RuntimeError()

@pytest.fixture
def broken():
    raise KeyError()

def test_setup(broken):
    pass
"""


def test_a_failure_without_words_says_where_it_was_and_what_stands_there(tmp_path):
    (tmp_path / "test_failing.py").write_text(FAILURES)
    report = tmp_path / "report.xml"
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--junitxml",
        str(report),
    ]
    subprocess.run([*command, str(tmp_path)], capture_output=True, check=False, cwd=tmp_path)
    said = {
        case.get("name"): _why(why)
        for case in Xml.parse(report).iter("testcase")
        for why in [*case.findall("failure"), *case.findall("error")]
    }
    assert said == {
        "test_words": "ValueError: in words",
        "test_without": "AssertionError at test_failing.py:11: raise AssertionError",
        "test_inside": "RuntimeError at test_failing.py:14: raise RuntimeError()",
        "test_setup": 'failed on setup with "KeyError"',
    }


@pytest.mark.parametrize("mode", ["ordered", "pingpong"])
def test_what_it_costs_is_told_by_request_though_clients_share_a_connection_in_order(mode, monkeypatch):
    """A connection whose answers come in order has the requests of many clients at once."""
    wire = WireFormat(
        Struct("kind" / Int8ub, "body" / Prefixed(Int16ub, GreedyBytes)),
        mode=mode,
        response=this.kind == 2,
        replies=Replies(error=None),
    )
    timed = costs._timed
    monkeypatch.setattr(costs, "_timed", lambda core, fed: timed(core, fed) and 100 * costs.CLIENTS)
    frames = [Golden("asked", b"\1\0\1a"), Golden("answered", b"\2\0\1b")]
    found = costs.cost(Protocol(mode, wire), frames).ns
    assert 200 <= found < 250, "there and back, of nearly all clients"


def test_what_cannot_be_measured_says_why():
    wire = WireFormat(
        Struct("kind" / Int8ub, "body" / Prefixed(Int16ub, GreedyBytes)),
        mode="pinned",
        response=this.kind == 2,
        greeting=Greeting(when=this.kind == 3, relayed=True),
        replies=Replies(error=None),
    )
    step = _cost(Protocol("greets", wire), [], None)
    assert step.found == "not measured: its connections begin with a greeting between client and server"
    strange = Protocol("none", wire)
    step = _cost(strange, None, strange)  # an error without words
    assert step.found.startswith("not measured: TypeError: ")
