"""``protokit decode``: hex, raw bytes, standard input, what is printed and what is wrong."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import decoding
import pytest
from decoding import BOLT, BOLT_ANSWER, DUBBO, DUBBO_ANSWER, MEMO, dubbo, frames, rows, run, vectors
from distributions import distribution
from hypothesis import given, settings
from hypothesis import strategies as st
from memo import memo
from protokit_dubbo.messages import Call

from protokit import native, plugins
from protokit.cli import capture, hextext
from protokit.cli import frames as frame_reader
from protokit.cli.frames import Candidate, Choice, Decoder, Frame, Lost, Skipped, Unfinished, Wrong

loaded_once = decoding.loaded_once


# Hex, raw bytes, standard input.

HEX_FORMS = {
    "plain": lambda data: data.hex(),
    "upper, spaced, in lines": lambda data: "\n".join(
        data.hex(" ").upper()[i : i + 48] for i in range(0, len(data) * 3, 48)
    ),
    "0x": lambda data: " ".join(f"0x{byte:02x}," for byte in data),
    "escapes": lambda data: "".join(f"\\x{byte:02x}" for byte in data),
    "odd grouping": lambda data: " ".join(data.hex()[i : i + 3] for i in range(0, 2 * len(data), 3)),
    "xxd": lambda data: dump(data, "{at:08x}: {pairs:<39}  {text}", 2),
    "hexdump -C": lambda data: dump(data, "{at:08x}  {pairs:<48}  |{text}|", 1) + f"\n{len(data):08x}\n",
    "od": lambda data: dump(data, "{at:07o} {pairs}", 1) + f"\n{len(data):07o}\n",
    "wireshark": lambda data: dump(data, "{at:04x}   {pairs:<47}   {text}", 1),
    "tcpdump": lambda data: dump(data, "\t0x{at:04x}:  {pairs:<39}  {text}", 2),
}


def dump(data: bytes, form: str, group: int) -> str:
    lines = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(form.format(at=at, pairs=part.hex(" ", -group), text=text))
    return "\n".join(lines)


@pytest.mark.parametrize("form", HEX_FORMS)
def test_hex_in_every_form_is_the_same_frames(form, tmp_path):
    data = BOLT + BOLT_ANSWER
    path = tmp_path / "frames.txt"
    path.write_text(HEX_FORMS[form](data))
    assert hextext.parse(path.read_text()) == data
    result = run("--json", str(path))
    assert result.exit_code == 0, result.output
    assert [row["kind"] for row in frames(result)] == ["request", "response"]


@given(data=st.binary(min_size=1, max_size=120), form=st.sampled_from(sorted(HEX_FORMS)))
def test_hex_of_any_bytes_comes_back(data, form):
    assert hextext.parse(HEX_FORMS[form](data)) == data


def test_a_dump_with_repeated_lines_left_out():
    line = "00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|"
    text = f"{line}\n*\n00000030  01\n00000031\n"
    assert hextext.parse(text) == bytes(48) + b"\x01"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0102zz", "line 1, column 5: 'zz' seen, hex digits expected"),
        ("01 02\n03 4\n", "line 2, column 4: 7 hex digits seen, an even number expected"),
        ("00000000: 0101\n00000010: 0101\n", "line 1: 2 bytes seen, 16 expected"),
        ("00000000: 0101\nnothing\n", "line 2: 'nothing' seen, an offset and hex bytes expected"),
        ("0000000 0101 0102\n0000004\n", "single bytes expected: words have the order of the machine"),
        ("00000000: 01 0g\n", "line 1: '0g' seen, pairs of hex digits expected"),
    ],
)
def test_what_is_wrong_with_hex_is_said_with_its_line(text, says):
    result = run(data=text)
    assert result.exit_code == 1
    assert says in result.stderr


def test_raw_bytes_from_a_file_and_from_standard_input(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(dubbo(1) + DUBBO_ANSWER + dubbo(3))
    from_file = run("--json", str(path))
    assert rows(from_file) == rows(run("--json", data=path.read_bytes()))
    assert [(row["kind"], row["id"], row["offset"]) for row in rows(from_file)] == [
        ("request", "1", 0),
        ("response", "0", len(DUBBO)),
        ("request", "3", len(DUBBO) + len(DUBBO_ANSWER)),
    ]


def test_a_pipe_is_decoded_while_it_is_open():
    command = [sys.executable, "-m", "protokit", "decode", "--json", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(dubbo(7) + dubbo(8)[:20])
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == "7"
        process.stdin.write(dubbo(8)[20:])
        process.stdin.close()
        assert json.loads(process.stdout.readline())["id"] == "8"
        assert process.wait(20) == 0


def test_limit_stops_after_so_many_frames():
    result = run("--json", "--limit", "2", data=b"".join(map(dubbo, range(5))) + b"junk")
    assert result.exit_code == 0
    assert [row["id"] for row in rows(result)] == ["0", "1"]


def test_input_says_what_the_first_bytes_do_not():
    assert run("--input", "hex", data=" ; da bb").exit_code == 1
    assert "raw" in run("--help").output
    assert run("--json", "--input", "raw", data=b"01 02").exit_code == 1
    assert "column" not in run("--input", "raw", data=b"01 02").stderr


# What is printed.

COMMON = {
    "record": str,
    "offset": int,
    "size": int,
    "protocol": str,
    "kind": str,
    "hex": str,
    "id": (str, type(None)),
    "status": (str, type(None)),
    "service": str,
    "method": str,
    "version": str,
    "group": str,
    "headers": dict,
    "timeout_ms": int,
    "side": (str, type(None)),
}


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (BOLT, {"fields": list, "body": dict}),
        (BOLT_ANSWER, {"fields": list, "body": dict}),
        (DUBBO, {"body": dict, "arguments": list}),
        (DUBBO_ANSWER, {"body": dict}),
    ],
)
def test_the_shape_of_an_object(data, more):
    (row,) = rows(run("--json", data=data))
    assert set(row) == {*COMMON, *more}
    for name, kind in {**COMMON, **more}.items():
        assert isinstance(row[name], kind), name
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in row["headers"].items())
    for field in row.get("fields", ()):
        assert (
            {"name", "offset", "size", "value"} <= set(field) <= {"name", "offset", "size", "value", "text"}
        )
        assert data[field["offset"] : field["offset"] + field["size"]].hex() in {
            field["value"],
            f"{field['value']:0{2 * field['size']}x}" if isinstance(field["value"], int) else "",
        }


def call_of(method: str, serialization: int = 2) -> bytes:
    return next(
        bytes.fromhex(one["hex"])
        for one in vectors("dubbo")
        if (one["expect"].get("method"), one["expect"].get("serialization")) == (method, serialization)
    )


def test_arguments_and_the_headers_of_answers_are_shown():
    for serialization in (2, 23):
        (row,) = rows(run("--json", data=call_of("add", serialization)))
        assert row["arguments"] == [2, 40]
    assert "  arguments\n    2\n    40\n" in run(data=call_of("add")).stdout
    (row,) = rows(run("--json", data=DUBBO_ANSWER))
    assert row["headers"] == {"dubbo": "2.0.2"}
    assert "  headers\n    dubbo = 2.0.2\n" in run(data=DUBBO_ANSWER).stdout
    other = call_of("reversed")
    (row,) = rows(run("--json", data=other))
    (given,) = row["arguments"]
    assert bytes.fromhex(given["hex"]) in other


def test_arguments_end_with_one_that_cannot_be_read():
    call = Call("a.B", "c", "ILjava/lang/String;I", [1, "x" * 40_000, 3]).encode()
    one, wrong = rows(run("--json", data=call))[0]["arguments"]
    assert (one, "argument 1: a variant that cannot be read" in wrong["error"]) == (1, True)


def test_the_fields_of_a_declared_frame_cover_it():
    (row,) = rows(run("--json", data=BOLT))
    assert sum(field["size"] for field in row["fields"]) == len(BOLT) == row["size"]


def test_text_for_people():
    result = run("--protocol", "bolt", data=BOLT)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"#1 bolt request id 1 ({len(BOLT)} bytes at 0)\n")
    for line in (
        "  service  demo.BoltService",
        "  method   hello",
        "  version  1.0",
        "  timeout  5000 ms",
        "    sofa_head_method_name = hello",
        "        10      4 timeout = 5000",
        "        22     44 class_name = com.alipay.sofa.rpc.core.request.SofaRequest",
    ):
        assert f"{line}\n" in result.stdout


def test_text_of_a_frame_does_not_reach_the_terminal_raw():
    hostile = DUBBO.replace(b"demo.Echo", b"d\x1b[2JEcho")
    assert hostile != DUBBO
    out = run(data=hostile).stdout
    assert "\x1b" not in out
    assert r"'d\x1b[2JEcho'" in out


@pytest.mark.parametrize("name", ["bolt", "dubbo"])
def test_golden_frames_decode_to_their_facts(name, tmp_path):
    every = vectors(name)
    assert len(every) > 20
    path = tmp_path / "all"
    path.write_bytes(b"".join(bytes.fromhex(one["hex"]) for one in every))
    result = run("--json", "--protocol", name, str(path))
    found = rows(result)
    if result.exit_code == 0:
        assert len(found) == len(every)
    at = 0
    for row, one in zip((row for row in found if row["record"] == "frame"), every, strict=True):
        expect, size = one["expect"], len(one["hex"]) // 2
        assert (row["offset"], row["size"]) == (at, size), one["name"]
        assert row["kind"] == {"heartbeat_ack": "ack"}.get(expect["kind"], expect["kind"]), one["name"]
        assert row["id"] == expect["request_id"]
        assert (row["status"] is None) == (row["kind"] != "response")
        at += size
        if name == "bolt":
            fields = {field["name"]: field["value"] for field in row["fields"]}
            for ours, theirs in (
                ("proto", "bolt"),
                ("type", "type"),
                ("cmdcode", "cmdcode"),
                ("codec", "codec"),
            ):
                assert fields[ours] == expect[theirs]
            assert bytes.fromhex(fields["class_name"]).decode() == expect["class_name"]
            if row["kind"] in {"request", "oneway"}:
                assert row["timeout_ms"] == max(expect["timeout"], 0)
                assert row["headers"] == {k: v for k, v in expect["headers"].items() if v is not None}
        elif row["kind"] in {"request", "oneway"} and expect["serialization"] == 2 and "error" not in row:
            attachments = expect["attachments"] if "attachments" in expect else expect["headers"]
            assert (row["service"], row["method"]) == (
                attachments.get("path") or expect["service"],
                # Generic calls name the real method in their first argument.
                expect["method"] if expect["method"] not in {"$invoke", "$invokeAsync"} else row["method"],
            )


@pytest.mark.parametrize(
    ("bytes_", "said"),
    [
        (b"S\xfe a bug", r"codec raised ZeroDivisionError: no luck \(sized.py:\d+\), 1 frames read"),
        (b"S\xfd a bad result", "Sized.frame gave size 0, expected 1 or more"),
    ],
)
def test_a_mistake_of_a_codec_in_python_is_said_without_a_trace(bytes_, said, tmp_path):
    source = (Path(__file__).parents[1] / "toy" / "sized.py").read_text()
    source = source.replace("raise ZeroDivisionError\n", "raise ZeroDivisionError('no luck')\n")
    path = tmp_path / "bytes"
    path.write_bytes(b"S\x04" + (7).to_bytes(8, "big") + bytes(4) + bytes_)
    done = subprocess.run(
        [sys.executable, "-m", "protokit", "decode", "--protocol", "sized", "--input", "raw", str(path)],
        env={**os.environ, "PYTHONPATH": str(distribution(tmp_path, "sized", source, "sized"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(said, done.stderr), done.stderr
    assert "heartbeat" in done.stdout  # what was right before


# Wrong bytes.


@pytest.mark.parametrize(
    ("arguments", "data", "says"),
    [
        ((), b"GET / HTTP/1.1\r\n", "at byte 0: 47 45 54 20 2f 20 48 54 seen, 01 or 02 expected by bolt;"),
        ((), b"GET / HTTP/1.1\r\n", "47 45 54 20 2f 20 48 54 seen, da expected by dubbo"),
        (("-p", "dubbo"), b"\xda\xbc\0\0", "at byte 1: bc 00 00 seen, bb expected by dubbo"),
        (
            ("-p", "bolt"),
            b"\1\5" + bytes(30),
            "at byte 1: 05 00 00 00 00 00 00 00 seen: a check does not hold: (type <= 2)",
        ),
        (
            ("-p", "dubbo"),
            DUBBO + b"\xda\xbb\xc2\0" + bytes(8) + b"\xff\xff\xff\xff",
            f"at byte {len(DUBBO) + 12}: ",
        ),
        (("--max-frame", "100"), DUBBO, "a dubbo frame of at most 100 bytes expected"),
        (
            (),
            DUBBO[:-1],
            f"at byte 0: {len(DUBBO) - 1} bytes seen of a dubbo frame, at least {len(DUBBO)} expected",
        ),
        ((), DUBBO[:1], "at byte 0: 1 bytes seen of a dubbo or dubbo-thrift or tars or thrift"),
        ((), b"", "there are no bytes in it; hex text, raw bytes or a capture expected"),
    ],
)
def test_wrong_bytes_are_named_with_what_was_seen_and_expected(arguments, data, says):
    result = run(*arguments, data=data)
    assert result.exit_code == 1
    assert says in result.stderr, result.stderr


def test_a_wrong_checksum_is_named():
    v2 = next(
        bytes.fromhex(one["hex"])
        for one in vectors("bolt")
        if "crc" in one["name"] and "request" in one["name"]
    )
    damaged = v2[:-1] + bytes([v2[-1] ^ 1])
    result = run("-p", "bolt", data=damaged)
    assert result.exit_code == 1
    assert f"at byte {len(v2) - 4}: " in result.stderr
    assert "the checksum is " in result.stderr


def test_after_wrong_bytes_it_goes_on_where_a_frame_stands():
    result = run("--json", data=dubbo(1) + b"\xda\xbc\xda junk" + dubbo(2) + dubbo(3))
    assert result.exit_code == 1
    found = rows(result)
    assert [row["record"] for row in found] == ["frame", "error", "skipped", "frame", "frame"]
    assert found[2] == {"record": "skipped", "offset": len(DUBBO), "size": 8, "why": "after wrong bytes"}
    assert [row["id"] for row in frames(result)] == ["1", "2", "3"]


def test_an_unknown_protocol_names_the_installed_ones():
    result = run("--protocol", "dubo", data=DUBBO)
    assert result.exit_code == 1
    names = ", ".join(sorted(plugins.installed()))
    assert result.stderr == (
        f"protokit: protocol 'dubo' is not installed (installed: {names}); did you mean 'dubbo'?\n"
    )


def test_auto_asks_by_name_and_says_when_there_is_nobody_to_ask(monkeypatch):
    registry = copy.copy(plugins.load())
    found = [row["protocol"] for data in (BOLT, DUBBO) for row in rows(run("--json", data=data))]
    assert found == ["bolt", "dubbo"]
    monkeypatch.setattr(plugins, "load", lambda names=None, files=(): plugins.Registry([]))
    result = run(data=DUBBO)
    assert (result.exit_code, result.stderr) == (
        1,
        "protokit: no protocol is installed; for Dubbo: pip install protokit-dubbo\n",
    )
    registry.protocols = dict(reversed(registry.protocols.items()))
    monkeypatch.setattr(plugins, "load", lambda names=None, files=(): registry)
    seen = "47 45 54 20 2f 20 48 54"  # three bytes could still be the length of a frame
    said = run(data=b"GET / HTTP/1.1").stderr
    bolt, dubbo = (
        said.find(f"{seen} seen, {one}") for one in ("01 or 02 expected by bolt", "da expected by dubbo")
    )
    assert 0 < bolt < dubbo


def test_files_that_cannot_be_read(tmp_path):
    assert run(str(tmp_path / "none")).exit_code == 2
    result = run(str(tmp_path))
    assert result.exit_code in {1, 2}
    assert "directory" in result.stderr


@settings(max_examples=150)
@given(
    data=st.binary(max_size=300),
    start=st.sampled_from([b"", b"\1", b"\xda\xbb", b"00000000: ", *capture.MAGICS]),
)
def test_any_bytes_end_without_a_trace(data, start):
    assert run(data=start + data).exit_code in {0, 1}


def decoder(*names: str, strict: bool = True, limit: int = 8 << 20, **more) -> Decoder:
    registry = plugins.load()
    return Decoder(
        Choice([Candidate(registry.protocols[name]) for name in names], strict=strict), limit, **more
    )


def same(record) -> tuple:
    """A record without what depends on how the bytes came: how many were seen, what a whole frame needs."""
    if isinstance(record, Wrong):
        return Wrong, record.offset
    return (type(record), *(field.id if isinstance(field, native.Message) else field for field in record))


@settings(max_examples=60)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_how_bytes_come_does_not_matter(cuts):
    stream = b"junk" + dubbo(1) + dubbo(2) + b"\xda\xbc\0junk" + dubbo(3) + dubbo(4)[:40]
    whole = decoder("bolt", "dubbo", from_start=False)
    expected = [*whole.feed(stream), *whole.finish()]
    parts = decoder("bolt", "dubbo", from_start=False)
    found, at = [], 0
    for cut in [*cuts, len(stream)]:
        found += parts.feed(stream[at : at + cut])
        at += cut
    found += parts.finish()
    assert [same(one) for one in found] == [same(one) for one in expected]
    assert [type(one) for one in found] == [Skipped, Frame, Frame, Wrong, Skipped, Frame, Unfinished]


def test_a_false_beginning_is_given_up_when_more_is_known():
    """After a gap a dubbo header stands in the middle of text: it promises a frame that never ends well."""
    false = b"\xda\xbb\xc2\0" + bytes(10) + b"\x02\x00"
    one = decoder("dubbo")
    found = [
        *one.feed(dubbo(1)),
        *one.gap(10),
        *one.feed(false + bytes(200)),
        *one.feed(dubbo(2) + bytes(60)),
    ]
    assert [type(record) for record in found] == [Frame, Lost]
    found = [*one.feed(dubbo(3)), *one.feed(dubbo(4)), *one.finish()]
    assert [record.message.id for record in found if isinstance(record, Frame)][-2:] == [3, 4]


def test_many_false_beginnings_do_not_take_for_ever(monkeypatch):
    monkeypatch.setattr(frame_reader, "_EFFORT", 1 << 20)
    one = decoder("dubbo", from_start=False)
    false = b"\xda\xbb\xc2\0" + bytes(8) + b"\0\4\0\0x"  # each promises 256 KiB that end amid another
    found = [*one.feed(false * 20_000), *one.feed(dubbo(1)), *one.finish()]
    assert [type(record) for record in found] == [Skipped, Frame]
    assert one._effort == 0


def test_what_is_kept_is_bounded_by_the_largest_frame():
    one = decoder("dubbo", limit=4096)
    list(one.feed(dubbo(1)))
    list(one.gap(1))
    most = 0
    for _ in range(200):
        list(one.feed(b"\xda\xbb\xc2\0" + bytes(10) + b"\x0f\0" + bytes(500)))
        most = max(most, one.held)
    assert most < 4096 + 600 + 100 * 20


def test_a_codec_that_says_a_frame_is_empty_ends(monkeypatch):
    real = native.frame
    monkeypatch.setattr(native, "frame", lambda *a, **k: real(*a, **k)._replace(size=0))
    one = decoder("dubbo")
    assert isinstance(next(one.feed(dubbo(1))), Wrong)


# What people read.


def test_json_has_the_bytes_and_dubbos_arguments_are_values():
    (row,) = rows(run("--json", data=DUBBO))
    assert bytes.fromhex(row["hex"]) == DUBBO
    assert list(row["body"]) == ["argument 0"]
    text = run(data=DUBBO).stdout
    assert f"  body\n    argument 0 = {row['body']['argument 0']}" in text
    (row,) = rows(run("--json", data=DUBBO[:-1] + b"\xff"))
    assert list(row["body"]) == ["unreadable"]


def test_sofarpcs_arguments_and_results_are_values():
    every = [bytes.fromhex(one["hex"]) for one in vectors("bolt")]
    bodies = [row.get("body", {}) for frame in every for row in rows(run("--json", "-p", "bolt", data=frame))]
    assert [one for one in bodies if "unreadable" in one] == []
    assert [one for one in bodies if "argument 0" in one]
    assert [one for one in bodies if "appResponse" in one]


def test_long_bytes_are_offsets_hex_and_characters(tmp_path):
    (tmp_path / "page.py").write_text(MEMO.replace("{mistake}", "{}"))
    values = {"kind": 1, "status": 0, "id": 1, "head": b"a=1\n", "body": b"text " * 40 + b"\xff" * 1000}
    text = run("-p", str(tmp_path / "page.py"), data=memo().wire.build(values)).stdout
    assert "head = 'a=1\\n'" in text
    assert "body = 1200 bytes\n" in text
    assert "          15  74 65 78 74 20 74 65 78 74 20 74 65 78 74 20 74  text text text t\n" in text
    assert "      ... and 688 bytes more" in text


def test_a_frame_without_fields_is_shown_as_it_is():
    assert "  bytes\n           0  da bb c2 00" in run(data=DUBBO).stdout


def test_what_may_begin_frames_of_several_protocols_is_not_taken_for_one_of_them():
    """Lengths look alike: the first bytes of one protocol's were told as another's."""
    reads = decoder("bolt", "tars", "thrift")
    (seen,) = [*reads.feed(b"\0\0"), *reads.finish()]
    assert isinstance(seen, Unfinished)
    assert (seen.size, seen.need, seen.protocol) == (2, 3, "tars or thrift")
    result = run("--input", "raw", data=b"\0\0\0")
    assert result.exit_code == 1
    assert "tars or thrift" in result.output
