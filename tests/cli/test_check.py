"""``protokit plugins check`` as a user runs it: every grade, and why it is no better."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faulty import CHANGED, HOOK, OVERREAD, PAGE, RIGHT, TOY, native

import protokit.plugins
from protokit.cli.grade import _grade
from protokit.testing import Golden
from protokit.testing import cost as costs

ORIGIN = {"origin": "captured by hand", "source": "acme-rpc 1.2.3"}


def check(folder: Path, *arguments: object, code: int | None = 0, python: tuple[str, ...] = ()) -> str:
    command = [sys.executable, *(python or ("-m", "protokit")), "plugins", "check", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


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


TOYS = {"asks": toy(1, 9, b"svc m hello"), "tells": toy(2, 9, b"svc m hello"), "answers": toy(3, 9, b"yes")}
PAGES = {"asks": page(1, 9, b"svc", b"hello"), "answers": page(2, 9, b"", b"yes")}


def test_a_plugins_source_in_the_working_folder_is_not_what_is_tried(tmp_path):
    (tmp_path / "protokit_sofarpc").mkdir()
    (tmp_path / "protokit_sofarpc" / "__init__.py").write_text("raise ImportError('not built here')")
    golden = Path(__file__).parents[1] / "golden" / "bolt.jsonl"
    few = ("--time", "1s", "--examples", "1", "--golden", golden)  # not enough for all checks to pass
    text = check(tmp_path, "bolt", *few, code=None, python=("-P", "-m", "protokit"))
    assert re.search(r"\d\d of \d\d checks pass on", text), text


def test_a_codec_in_c_is_gold_with_captured_vectors_and_silver_without(tmp_path):
    native(tmp_path, TOY.read_text())
    vectors(tmp_path, TOYS, **ORIGIN)
    text = check(tmp_path, "page.py", "--time", "2s")
    assert "grade: gold\n" in text
    for line in (
        "loads        ok      the file page.py",
        "API          ok      none is said",
        "hooks        ok      protokit_protocols",
        "tier         ok      native: multiplexed, ids of 8 bytes",
        "replies      ok      errors for 7 of 7 statuses, heartbeat, drain",
        "provenance   ok      3 of 3 vectors captured from a library of a known version: acme-rpc 1.2.3 (3)",
    ):
        assert line in text
    assert "checks pass on 3 golden vectors" in text
    assert "0 finds" in text
    assert "ns a request in the engine; is a codec in C" in text
    vectors(tmp_path, TOYS, origin="not captured", source="acme-rpc 1.2.3")
    found = json.loads(check(tmp_path, "page.py", "--time", "1s", "--json"))
    assert (found["grade"], found["why"]) == ("silver", "gold wants provenance")
    steps = ["loads", "API", "hooks", "tier", "replies", "conformance", "fuzz", "cost", "provenance"]
    assert [one["step"] for one in found["steps"]] == steps


@pytest.mark.slow
def test_a_codec_that_reads_too_far_is_no_better_than_bronze(tmp_path):
    native(tmp_path, TOY.read_text().replace(RIGHT, OVERREAD))
    vectors(tmp_path, TOYS, **ORIGIN)
    text = check(tmp_path, "page.py", "--time", "8s", code=None)
    assert "fuzz         FAILED" in text
    assert "again: protokit fuzz page.py --replay fuzz-wide-meaning-" in text
    # What lies behind the bytes is chance; where it makes a difference the kit sees it too.
    assert "grade: bronze (silver wants fuzz)" in text or "grade: none (bronze wants conformance)" in text


@pytest.mark.slow
def test_a_declared_one_is_bronze_until_it_is_compared(tmp_path):
    (tmp_path / "page.py").write_text(PAGE + HOOK)
    vectors(tmp_path, PAGES, **ORIGIN)
    text = check(tmp_path, "page.py", "--time", "1s", "--examples", 20)
    assert "not measured: no native codec to compare with" in text
    assert "grade: bronze (silver wants cost)" in text
    (tmp_path / "other").mkdir()
    native(tmp_path / "other", TOY.read_text())
    text = check(tmp_path, "page.py", "--time", "1s", "--native", "other/page.py")
    assert "cost         -       not measured: wide reads 'asks' otherwise" in text


@pytest.mark.slow
def test_what_fails_the_kit_or_does_not_load_has_no_grade(tmp_path):
    (tmp_path / "page.py").write_text(PAGE + CHANGED + HOOK)
    text = check(tmp_path, "page.py", "--golden", tmp_path, "--time", "1s", code=1)
    assert "there are no golden vectors" in text
    vectors(tmp_path, {**PAGES, "wrong": page(1, 1)[:-2]}, **ORIGIN)
    text = check(tmp_path, "page.py", "--time", "1s", code=1)
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


ALL = ("loads", "API", "hooks", "tier", "replies", "conformance", "fuzz", "cost", "provenance")


@pytest.mark.parametrize(
    ("failing", "grade", "next_one"),
    [
        ("loads", "none", "bronze"),
        ("conformance", "none", "bronze"),
        ("fuzz", "bronze", "silver"),
        ("cost", "bronze", "silver"),
        ("provenance", "silver", "gold"),
    ],
)
def test_each_step_stops_its_grade(failing, grade, next_one):
    for value in (False, None):
        assert _grade({**dict.fromkeys(ALL, True), failing: value}) == (grade, f"{next_one} wants {failing}")


def test_two_codecs_of_the_same_frames_are_compared(tmp_path):
    native(tmp_path, TOY.read_text())
    registry = protokit.plugins.load([], [tmp_path / "page.py"])
    wide = registry.protocols["wide"]
    golden = [Golden(name, bytes.fromhex(data)) for name, data in TOYS.items()]
    mine, theirs, ratio = costs.compare(wide, wide, golden)
    assert mine > 0
    assert theirs > 0
    assert ratio > 0


GRADES = {"bolt": "bronze", "dubbo": "gold", "hsf": "bronze", "motan": "bronze", "tr": "silver"}


def test_every_protocol_of_the_tree_is_graded():
    assert set(protokit.plugins.installed()) == set(GRADES)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRADES)
def test_a_protocol_of_the_tree_is_found_with_all_that_the_kit_is_to_be_given(name, tmp_path):
    arguments = ("--time", "1s", "--examples", 80, "--json")  # its tests run the kit in full
    found = json.loads(check(tmp_path, name, *arguments))
    steps = {step["step"]: step for step in found["steps"]}
    assert steps["conformance"]["ok"], steps["conformance"]["found"]
    assert "do not apply" not in steps["conformance"]["found"]
    assert steps["fuzz"]["ok"], steps["fuzz"]["found"]
    assert found["grade"] == GRADES[name], found["why"]


def test_what_the_kit_is_to_be_given_stands_beside_the_plugin(tmp_path):
    (tmp_path / "page.py").write_text(PAGE + HOOK)
    (tmp_path / "neighbour.py").write_text(f"ASKS, ANSWERS = {PAGES['asks']!r}, {PAGES['answers']!r}")
    kit = tmp_path / "page_kit.py"
    kit.write_text(
        "from neighbour import ANSWERS, ASKS\n"
        "from protokit.testing import Golden\n"
        "KIT = {'golden': [Golden('asks', bytes.fromhex(ASKS)), Golden('answers', bytes.fromhex(ANSWERS))]}\n"
    )
    assert "checks pass on 2 golden vectors" in check(tmp_path, "page.py", "--time", "1s", "--examples", 20)
    kit.write_text(kit.read_text() + "KIT['lacks'] = {'drain'}\n")
    assert "page: its declaration says what it has" in check(tmp_path, "page.py", "--time", "1s", code=1)
    kit.write_text("import nothing_of_that_name\n")
    text = check(tmp_path, "page.py", code=2)
    assert "page_kit.py: ModuleNotFoundError: No module named 'nothing_of_that_name'" in text
    kit.write_text("kit = {}\n")
    assert "page_kit.py: expected KIT, a dict of what" in check(tmp_path, "page.py", code=2)
