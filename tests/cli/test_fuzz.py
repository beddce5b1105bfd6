"""``protokit fuzz`` as a user runs it: planted faults are found, made small, saved and tried again."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from faulty import CHANGED, HOOK, OVERREAD, PAGE, RIGHT, TOY, native
from protokit_sofarpc import bolt

from protokit.cli.group import group
from protokit.cli.subject import plugin_of, protocol_in
from protokit.testing import Golden, conformance
from protokit.testing.fuzzing import _shown, examples, fuzz
from protokit.testing.invariants import Example, Invariants


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "protokit", "fuzz", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.slow
def test_a_find_ends_with_1_and_says_how_it_is_tried_again(tmp_path):
    (tmp_path / "page.py").write_text(PAGE + CHANGED + HOOK)
    done = run(tmp_path, "page.py", "--time", "8s", "--seed", 1)
    assert done.returncode == 1, done.stderr
    assert "reference: ('response'" in done.stdout
    (saved,) = [path for path in tmp_path.glob("fuzz-page-reference-*.json") if str(path.name) in done.stdout]
    assert f"protokit fuzz page.py --replay {saved.name}" in done.stdout


@pytest.mark.slow
def test_a_changed_program_is_found_saved_and_tried_again(tmp_path):
    path = tmp_path / "page.py"
    path.write_text(PAGE + CHANGED + HOOK)
    protocol = protocol_in(*plugin_of(str(path))[:1], str(path))
    found = fuzz(protocol, [], seconds=600, seed=1, report=lambda _: None, folder=tmp_path, rounds=1)
    (saved,) = [one.path for one in found.finds if one.check == "reference"]
    assert saved.match("fuzz-page-reference-*.json")
    find = json.loads(saved.read_text())
    client = bytes.fromhex(find["example"].pop("client"))
    assert (client[0] > 200, client[1:]) == (True, bytes(6)), "the smallest frame of such a kind"
    assert find["example"] == {"upstream": "", "cuts": [], "how": None}
    again = run(tmp_path, "page.py", "--replay", saved.name)
    assert (again.returncode, again.stdout.split(":")[0]) == (1, "reference")
    assert again.stdout.splitlines()[1:] == [
        "  multiplexed, the frames alone; 7 bytes from the client at once, 0 from the upstream",
        "  client, at byte 0: <response OK of 7 bytes, id 0>",
        f"       0  {client.hex(' '):<47}  .......",
    ]
    (tmp_path / "page.py").write_text(PAGE + HOOK)
    mended = run(tmp_path, "page.py", "--replay", saved.name)
    assert mended.returncode == 0
    assert mended.stdout.startswith("nothing is wrong with it any more\n")


@pytest.mark.slow
def test_the_same_seed_finds_the_same(tmp_path):
    found = []
    for name in ("a", "b"):
        (tmp_path / "page.py").write_text(PAGE + CHANGED + HOOK)
        done = run(tmp_path, "page.py", "--rounds", 1, "--seed", 2, "--save", name)
        assert done.returncode == 1, done.stderr
        found.append({path.name: path.read_text() for path in (tmp_path / name).iterdir()})
    assert found[0]
    assert found[0] == found[1]


def test_a_seed_repeats_its_examples():
    def first(seed: int, golden: list[Golden]):
        return list(itertools.islice(examples(bolt, golden, seed, 3), 200))

    vectors = [
        Golden(
            "one",
            bolt.wire.build(
                {
                    "proto": 1,
                    "type": 1,
                    "cmdcode": 1,
                    "ver2": 1,
                    "id": 5,
                    "codec": 1,
                    "timeout": 3,
                    "class_name": b"",
                    "headers": b"",
                    "content": b"",
                }
            ),
        )
    ]
    assert first(5, vectors) == first(5, vectors)
    assert first(5, vectors) != first(6, vectors)


@pytest.mark.slow
def test_a_codec_in_c_that_reads_a_byte_too_far_is_found_and_a_right_one_is_not(tmp_path):
    right = TOY.read_text()
    assert RIGHT in right
    native(tmp_path, right.replace(RIGHT, OVERREAD))
    done = run(tmp_path, "page.py", "--time", "8s", "--seed", 1)
    assert done.returncode == 1, done.stderr
    assert "meaning: SIGSEGV: a read or write outside of the bytes that it was given" in done.stdout
    (saved,) = tmp_path.glob("fuzz-wide-meaning-*.json")
    client = bytes.fromhex(json.loads(saved.read_text())["example"]["client"])
    assert client[:2] == b"\x7e\x01"
    assert len(client) == 14  # a body of one byte, the first space
    again = run(tmp_path, "page.py", "--replay", saved.name)
    assert again.returncode == 1
    (tmp_path / "right").mkdir()
    native(tmp_path / "right", right)
    done = run(tmp_path / "right", "page.py", "--time", "4s", "--seed", 1)
    assert (done.returncode, list((tmp_path / "right").glob("*.json"))) == (0, []), done.stdout


@pytest.mark.slow
def test_a_codec_that_never_ends_is_found(tmp_path, monkeypatch):
    endless = TOY.read_text().replace(
        "const uint8_t *a = memchr(p, ' ', (size_t)(end - p));",
        "while (end - p == 5) __asm__ volatile(\"\");\nconst uint8_t *a = memchr(p, ' ', (size_t)(end - p));",
    )
    native(tmp_path, endless)
    frame = bytes([0x7E, 1, 0]) + bytes(8) + b"\x00\x05a b c"
    find = {"protocol": "wide", "example": {"client": frame.hex(), "upstream": "", "cuts": [], "how": None}}
    (tmp_path / "find.json").write_text(json.dumps(find))
    again = run(tmp_path, "page.py", "--replay", "find.json")
    assert again.returncode == 1
    assert again.stdout.startswith("meaning: SIGALRM: it did not end within 20 s\n")


def test_a_right_protocol_ends_with_0_and_says_what_was_done(tmp_path):
    done = run(tmp_path, "bolt", "--rounds", 1, "--seed", 4)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^bolt: \d{3} golden frames, seed 4$", done.stderr, re.MULTILINE)  # those of its kit
    assert re.search(r"^bolt: 600 examples in .* % accepted, .* 0 finds$", done.stdout, re.MULTILINE)


def test_ctrl_c_prints_the_summary(tmp_path):
    command = [sys.executable, "-m", "protokit", "fuzz", "hsf", "--time", "100s"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr.readline().startswith("hsf: ")
        assert "examples in" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stdout.strip().endswith("0 finds (interrupted)")


def test_a_find_is_shown_as_far_as_a_few_lines_hold_it():
    assert _shown(b"") == "-"
    assert _shown(b"\1" * 120) == "01" * 120
    assert _shown(b"\1" * 10_000) == "01" * 120 + "... (10000 bytes)"


BARE = """
from protokit import Protocol, hookimpl
from protokit_dubbo import dubbo

page = Protocol("bare", dubbo.wire)
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "protocol 'nothing' is not installed"),
        (["bolt", "--time", "fast"], "expected a duration like"),
        (["missing.py"], "missing.py is not a Python file"),
        (["bare.py"], "name some with --golden"),
        (["bolt", "--replay", "find.json"], "find.json is no find of 'protokit fuzz'"),
        (["bolt", "--replay", "other.json"], "is a find of protocol 'other', not of 'bolt'"),
    ],
)
def test_what_cannot_be_run_ends_with_2_and_the_reason(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    example = {"client": "", "upstream": "", "cuts": [], "how": None}
    (tmp_path / "find.json").write_text("{}")
    (tmp_path / "bare.py").write_text(BARE + HOOK)
    (tmp_path / "other.json").write_text(json.dumps({"protocol": "other", "example": example}))
    done = CliRunner().invoke(group, ["fuzz", *arguments])
    assert (done.exit_code, said in done.stderr) == (2, True), done.output


HARDLY = """
from construct import Bytes, Check, Const, Int8ub, Int32ub, Struct, this
from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import Replies, table

page = Protocol("page", WireFormat(
    Struct(
        Const(b"HX"), "kind" / Int8ub, "id" / Int32ub, "a" / Int32ub, "b" / Int32ub,
        "odd" / Check((this.a & this.b) == 0x01020304), "pad" / Bytes(9),
    ),
    id=this.id,
    response=this.kind == 2,
    status=table(this.kind, {1: Status.OK}, Status.INTERNAL),
    replies=Replies(error=lambda s, v: {"kind": 2, "a": 0x01020304, "b": 0x01020304, "pad": bytes(9)}),
))
"""


def test_a_fuzzer_that_broke_is_no_find(tmp_path):
    broken = 'def build(values):\n    raise KeyError("a bug")\n\n\npage.wire.__dict__["build"] = build\n'
    (tmp_path / "page.py").write_text(PAGE + broken + HOOK)
    done = run(tmp_path, "page.py", "--time", "60s", "--seed", 1)
    assert (done.returncode, list(tmp_path.glob("*.json"))) == (2, []), done.stdout
    assert "Error: the fuzzer itself broke: KeyError: 'a bug' (line" in done.stderr


@pytest.mark.slow  # most of its time is by a clock
def test_it_says_what_it_does_and_an_example_is_tried_however_hard_frames_are(tmp_path):
    (tmp_path / "page.py").write_text(HARDLY + HOOK)
    done = run(tmp_path, "page.py", "--time", "4s", "--seed", 1)  # a line is due after three
    assert "draw:" not in done.stdout
    assert re.search(
        r" examples in \d+ s, .* finds; (drawing frames from the declaration|trying frames)\n", done.stderr
    )


def test_a_frame_of_a_variant_that_cannot_be_read_is_a_documented_result(tmp_path):
    line = "  f->kind = data[1];\n"
    source = TOY.read_text()
    assert source.count(line) == 1
    variant = "  if (data[2] == 0x70) { f->error_at = 2; return PK_ERR_UNSUPPORTED; }\n"
    native(tmp_path, source.replace(line, variant + line))
    protocol = protocol_in(*plugin_of(str(tmp_path / "page.py"))[:1], str(tmp_path / "page.py"))
    body = b"\0\x05a b c"
    asks, answers = (bytes([0x7E, kind, 0]) + bytes(7) + b"\x09" + body for kind in (1, 3))
    strange = asks[:2] + b"\x70" + asks[3:]
    accepted, _ = Invariants(protocol).holds(Example(strange + asks))
    assert not accepted
    suite = conformance(protocol, golden=[Golden("asks", asks), Golden("answers", answers)], examples=0)
    suite.cases.wrong = [strange]
    suite().test_spoiled_frames_are_read_refused_or_waited_for()
