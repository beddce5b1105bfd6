"""``protokit decode``: hex, raw bytes, standard input and captures, good ones and damaged ones."""

from __future__ import annotations

import copy
import ipaddress
import json
import os
import random
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from construct import GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from distributions import distribution
from hypothesis import given, settings
from hypothesis import strategies as st
from memo import captured, memo
from protokit_dubbo.messages import Call
from sided import POST, SAID, post, said, tell

from protokit import Protocol, Status, WireFormat, native, plugins
from protokit.cli import capture, hextext
from protokit.cli import frames as frame_reader
from protokit.cli.frames import Candidate, Choice, Decoder, Frame, Lost, Skipped, Unfinished, Wrong
from protokit.cli.group import group
from protokit.cli.vectors import Vectors
from protokit.errors import ProtokitError
from protokit.native import sent_by
from protokit.testing import Golden, conformance, load_golden
from protokit.testing.coverage import untried
from protokit.testing.said import likely_text
from protokit.testing.voices import Voice
from protokit.wire import ErrorText, Replies, table

GOLDEN = Path(__file__).parents[1] / "golden"
REPO = Path(__file__).parents[2]
SHARED = Path(os.environ.get("PROTOKIT_WIRE_VECTORS", REPO.parent / "shared" / "wire" / "vectors"))
CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 12200)
SYN, ACK, FIN, RST = 2, 16, 1, 4
SECOND = 1_000_000_000


def vectors(name: str) -> list[dict]:
    found = [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines()]
    if (SHARED / f"{name}.jsonl").is_file():
        found += [json.loads(line) for line in (SHARED / f"{name}.jsonl").read_text().splitlines()]
    for one in found:
        one["expect"] |= one.get("facts", {})
    kinds = {"request", "oneway", "response", "heartbeat", "heartbeat_ack"}
    return [one for one in found if one["expect"].get("kind") in kinds]


def one_of(name: str, kind: str) -> bytes:
    return next(bytes.fromhex(one["hex"]) for one in vectors(name) if one["expect"]["kind"] == kind)


BOLT, BOLT_ANSWER = one_of("bolt", "request"), one_of("bolt", "response")
DUBBO, DUBBO_ANSWER = one_of("dubbo", "request"), one_of("dubbo", "response")


def dubbo(number: int) -> bytes:
    return DUBBO[:4] + struct.pack(">Q", number) + DUBBO[12:]


@pytest.fixture(autouse=True, scope="module")
def loaded_once():
    """What is installed is compiled once, not for each run."""
    load, loaded = plugins.load, {}

    def once(names=None, files=()):
        key = names if names is None else tuple(names)
        if files or key not in loaded:
            registry = load(names, files)
            return registry if files else loaded.setdefault(key, registry)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "load", once)
        yield


def run(*arguments: str, data: bytes | str | None = None):
    if data is not None:
        arguments += ("-",)
    result = CliRunner().invoke(group, ["decode", *arguments], input=data)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def rows(result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def frames(result) -> list[dict]:
    return [row for row in rows(result) if row["record"] == "frame"]


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


def expected_version(expect: dict) -> str:
    if "bolt" in expect:
        return expect["headers"].get("service", ":").partition(":")[2]
    return expect["version"]


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


# Captures.


def tcp(src, dst, seq: int, data: bytes = b"", flags: int = ACK, ack: int = 0) -> bytes:
    head = struct.pack(
        ">HHIIBBHHH", src[1], dst[1], seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 5 << 4, flags, 65535, 0, 0
    )
    source, target = (ipaddress.ip_address(host).packed for host in (src[0], dst[0]))
    if len(source) == 4:
        size = 20 + len(head) + len(data)
        return struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0x4000, 64, 6, 0) + source + target + head + data
    options = bytes([6, 0]) + bytes(6)  # a hop-by-hop header of 8 bytes
    size = len(options) + len(head) + len(data)
    return struct.pack(">IHBB", 6 << 28, size, 0, 64) + source + target + options + head + data


def ethernet(packet: bytes) -> bytes:
    return bytes(12) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet


def kind_of(packet: bytes) -> bytes:
    return ethernet(packet)[12:14]


LINKS = {
    1: ethernet,
    113: lambda packet: bytes(14) + kind_of(packet) + packet,
    276: lambda packet: kind_of(packet) + bytes(18) + packet,
    101: lambda packet: packet,
    12: lambda packet: packet,
    0: lambda packet: struct.pack("<I", 2 if packet[0] >> 4 == 4 else 10) + packet,
    108: lambda packet: struct.pack(">I", 2 if packet[0] >> 4 == 4 else 30) + packet,
}


def pcap(packets, *, link: int = 1, order: str = "<", nano: bool = False, wrap=None) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for time_ns, packet in packets:
        data = (wrap or LINKS[link])(packet)
        fraction = time_ns % SECOND // (1 if nano else 1000)
        out += struct.pack(f"{order}IIII", time_ns // SECOND, fraction, len(data), len(data)) + data
    return out


def pcapng(packets, *, order: str = "<", resolution: int = 9, blocks: bytes = b"") -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(f"{order}I", len(body) + 12)
        return struct.pack(f"{order}I", kind) + size + body + size

    def interface(link: int, power: int) -> bytes:
        options = struct.pack(f"{order}HHBxxxHH", 9, 1, power, 0, 0)
        return block(1, struct.pack(f"{order}HHI", link, 0, 0) + options)

    out = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += interface(1, 6) + interface(113, resolution) + block(5, bytes(12)) + blocks
    for i, (time_ns, packet) in enumerate(packets):  # alternating between two interfaces
        ticks = time_ns * 10 ** (resolution if i % 2 else 6) // SECOND
        data = LINKS[113 if i % 2 else 1](packet)
        head = struct.pack(f"{order}IIIII", i % 2, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
        out += block(6, head + data)
    return out


class Talk:
    """A connection that writes its packets down."""

    def __init__(
        self, src=CLIENT, dst=SERVER, seq: int = 1000, ack: int = 5000, *, opened: bool = True
    ) -> None:
        self.ends = {src: seq, dst: ack}
        self.src, self.dst = src, dst
        self.packets: list[tuple[int, bytes]] = []
        self.now = 1_700_000_000 * SECOND
        if opened:
            self.put(src, flags=SYN)
            self.put(dst, flags=SYN | ACK)

    def put(self, src, data: bytes = b"", flags: int = ACK) -> None:
        dst = self.dst if src == self.src else self.src
        self.now += 1_000_000
        self.packets.append((self.now, tcp(src, dst, self.ends[src], data, flags, self.ends[dst])))
        self.ends[src] += len(data) + bool(flags & (SYN | FIN))

    def say(self, data: bytes, size: int = 1460, *, src=None) -> None:
        for at in range(0, len(data), size):
            self.put(src or self.src, data[at : at + size])

    def answer(self, data: bytes, size: int = 1460) -> None:
        self.say(data, size, src=self.dst)


def decode_capture(data: bytes, *arguments: str):
    return run("--json", *arguments, data=data)


def ids(result, src: str = "10.0.0.1:40000") -> list[str]:
    return [row["id"] for row in frames(result) if row["src"] == src]


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("link", LINKS)
def test_every_link_type_byte_order_and_resolution(link, order, nano):
    talk = Talk()
    talk.say(dubbo(1))
    talk.now += 123
    talk.answer(DUBBO_ANSWER)
    result = decode_capture(pcap(talk.packets, link=link, order=order, nano=nano))
    assert result.exit_code == 0, result.output
    request, answer = rows(result)
    assert (request["src"], request["dst"], request["id"]) == ("10.0.0.1:40000", "10.0.0.2:12200", "1")
    assert (answer["src"], answer["status"], answer["connection"]) == ("10.0.0.2:12200", "OK", 1)
    assert request["time"] == "2023-11-14T22:13:20.003000000Z"
    assert answer["time"] == f"2023-11-14T22:13:20.004000{123 if nano else 0:03d}Z"


def test_ipv6_with_an_extension_header_and_vlan_tags():
    talk = Talk(("fe80::1", 1), ("fe80::2", 2))
    talk.say(dubbo(1))
    tagged = pcap(
        talk.packets,
        wrap=lambda packet: bytes(12) + b"\x88\xa8\0\1\x81\0\0\2" + kind_of(packet) + packet + b"padding",
    )
    for data in (pcap(talk.packets), pcap(talk.packets, link=0), pcap(talk.packets, link=276), tagged):
        (row,) = rows(decode_capture(data))
        assert (row["src"], row["dst"]) == ("[fe80::1]:1", "[fe80::2]:2")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [3, 6, 9])
def test_pcapng_with_two_interfaces(order, resolution):
    talk = Talk()
    for number in range(4):
        talk.say(dubbo(number))
    result = decode_capture(pcapng(talk.packets, order=order, resolution=resolution))
    assert result.exit_code == 0, result.output
    assert ids(result) == ["0", "1", "2", "3"]
    assert {row["time"][:23] for row in rows(result)} == {f"2023-11-14T22:13:20.00{i}" for i in (3, 4, 5, 6)}


@pytest.mark.parametrize("size", [1, 7, 100, 1460])
def test_frames_straddle_packets(size):
    talk = Talk()
    talk.say(b"".join(map(dubbo, range(6))), size)
    talk.answer(DUBBO_ANSWER * 3, size)
    result = decode_capture(pcap(talk.packets))
    assert ids(result) == list("012345")
    assert [row["offset"] for row in frames(result)][:6] == [i * len(DUBBO) for i in range(6)]
    assert len(frames(result)) == 9


def test_the_time_of_a_frame_is_its_last_bytes():
    talk = Talk()
    talk.put(CLIENT, dubbo(1)[:50])
    talk.put(CLIENT, dubbo(1)[50:] + dubbo(2)[:10])
    talk.put(CLIENT, dubbo(2)[10:])
    assert [row["time"][20:23] for row in rows(decode_capture(pcap(talk.packets)))] == ["004", "005"]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("start", [1000, 2**32 - 700])
def test_reordered_retransmitted_overlapping_segments(seed, start):
    chance = random.Random(seed)
    stream = b"".join(map(dubbo, range(12)))
    pieces = []
    at = 0
    while at < len(stream):
        end = min(at + chance.randint(1, 300), len(stream))
        back = chance.randint(0, min(at, 80))
        pieces.append((at - back, stream[at - back : end]))
        if chance.random() < 0.4:
            pieces.append((at, stream[at : end + chance.randint(0, 50)]))
        at = end
    chance.shuffle(pieces)
    talk = Talk(seq=start)
    packets = talk.packets + [
        (talk.now + i, tcp(CLIENT, SERVER, start + 1 + at, data)) for i, (at, data) in enumerate(pieces)
    ]
    result = decode_capture(pcap(packets))
    assert result.exit_code == 0, result.output
    assert rows(result) == frames(result)
    assert ids(result) == [str(i) for i in range(12)]


def test_two_connections_of_two_protocols_at_once():
    one, two = Talk(), Talk(("10.0.0.9", 555), SERVER)
    one.say(dubbo(1) + dubbo(2), 60)
    two.say(BOLT, 60)
    two.answer(BOLT_ANSWER, 60)
    mixed = [packet for pair in zip(one.packets, two.packets, strict=False) for packet in pair]
    mixed += one.packets[len(two.packets) :] + two.packets[len(one.packets) :]
    result = decode_capture(pcap(mixed))
    found = {(row["connection"], row["src"], row["protocol"], row["kind"]) for row in rows(result)}
    assert found == {
        (1, "10.0.0.1:40000", "dubbo", "request"),
        (2, "10.0.0.9:555", "bolt", "request"),
        (2, "10.0.0.2:12200", "bolt", "response"),
    }


def test_the_same_addresses_again_are_another_connection():
    one, two = Talk(), Talk(seq=900_000, ack=77)
    one.say(dubbo(1) + dubbo(2)[:30])
    two.say(dubbo(3))
    result = decode_capture(pcap(one.packets + two.packets))
    assert [(row["record"], row["connection"], row["offset"]) for row in rows(result)] == [
        ("frame", 1, 0),
        ("unfinished", 1, len(DUBBO)),
        ("frame", 2, 0),
    ]


def lossy(*, late: bool) -> list[tuple[int, bytes]]:
    """Frames 0 to 9, one a packet; of 4 the last 100 bytes and of 5 the first 20 are missing."""
    talk = Talk()
    for number in range(10):
        data = dubbo(number)
        if number == 4:
            talk.put(CLIENT, data[:-100])
            talk.ends[CLIENT] += 100 + 20
            continue
        talk.put(CLIENT, data[20:] if number == 5 else data)
        talk.now += 2 * SECOND if late else 0
        talk.put(SERVER)
    return talk.packets


@pytest.mark.parametrize("late", [False, True])
def test_lost_bytes_are_a_gap_and_it_goes_on(late):
    result = decode_capture(pcap(lossy(late=late)))
    assert result.exit_code == 0, result.output
    found = rows(result)
    size = len(DUBBO)
    assert ids(result) == ["0", "1", "2", "3", "6", "7", "8", "9"]
    (gap,) = [row for row in found if row["record"] == "gap"]
    assert (gap["offset"], gap["size"], gap["src"]) == (5 * size - 100, 120, "10.0.0.1:40000")
    (cut,) = [row for row in found if row["record"] == "unfinished"]
    assert (cut["offset"], cut["size"], cut["need"]) == (4 * size, size - 100, size)
    (skipped,) = [row for row in found if row["record"] == "skipped"]
    assert (skipped["offset"], skipped["size"]) == (5 * size + 20, size - 20)
    assert found[-1]["offset"] == 9 * size
    text = run(data=pcap(lossy(late=late))).stdout
    assert (
        f"-- 10.0.0.1:40000 -> 10.0.0.2:12200: at byte {5 * size - 100}: 120 bytes were not captured\n"
        in text
    )


def test_an_acknowledged_hole_is_not_waited_for_to_the_end():
    talk = Talk()
    talk.put(CLIENT, dubbo(0))
    talk.ends[CLIENT] += 50
    talk.put(CLIENT, dubbo(1))
    talk.now += 2 * SECOND
    talk.put(SERVER, DUBBO_ANSWER)
    talk.put(SERVER, DUBBO_ANSWER)
    order = [(row["record"], row["src"][:8]) for row in rows(decode_capture(pcap(talk.packets)))]
    client, server = "10.0.0.1", "10.0.0.2"
    assert order == [
        ("frame", client),
        ("frame", server),
        ("gap", client),
        ("frame", client),
        ("frame", server),
    ]


def test_the_end_of_a_stream_may_be_missing_too():
    talk = Talk()
    talk.say(dubbo(1))
    talk.ends[CLIENT] += 40
    talk.put(CLIENT, flags=FIN | ACK)
    assert [row["record"] for row in rows(decode_capture(pcap(talk.packets)))] == ["frame", "gap"]


def test_the_number_that_a_fin_takes_is_no_byte():
    talk = Talk()
    talk.say(dubbo(1))
    for flags in (FIN | ACK, ACK):
        talk.put(CLIENT, flags=flags)
        talk.put(SERVER, flags=flags)
    assert [row["record"] for row in rows(decode_capture(pcap(talk.packets)))] == ["frame"]


def test_packets_that_were_kept_in_part():
    talk = Talk()
    for number in range(3):
        talk.say(dubbo(number))
    packets = [(time, packet[:100] if i == 3 else packet) for i, (time, packet) in enumerate(talk.packets)]
    found = rows(decode_capture(pcap(packets)))
    assert [row["record"] for row in found] == ["frame", "unfinished", "gap", "frame"]
    assert found[2]["size"] == len(DUBBO) - 60


def test_a_capture_that_begins_within_a_connection():
    talk = Talk(opened=False)
    talk.say(dubbo(0)[33:] + dubbo(1) + dubbo(2))
    talk.answer(DUBBO_ANSWER)
    found = rows(decode_capture(pcap(talk.packets)))
    assert [row["record"] for row in found] == ["skipped", "frame", "frame", "frame"]
    assert found[0]["why"] == "the capture begins within the connection"


def test_other_traffic_is_passed_over():
    web, talk = Talk(("10.0.0.7", 1), ("10.0.0.8", 80)), Talk()
    web.say(b"GET / HTTP/1.1\r\n\r\n" * 100)
    talk.say(dubbo(1))
    udp = (talk.now, bytes([0x45, 0, 0, 28]) + bytes(5) + b"\x11" + bytes(18))
    fragment = (talk.now, bytearray(tcp(CLIENT, SERVER, 1)))
    fragment[1][6] = 0x20
    data = pcap([*web.packets, udp, fragment, *talk.packets])
    result = decode_capture(data)
    assert result.exit_code == 0
    assert [row["record"] for row in rows(result)] in (["skipped", "frame"], ["frame", "skipped"])
    assert "fragments of IP packets, which are not put together: 1" in result.stderr
    (skipped,) = [row for row in rows(result) if row["record"] == "skipped"]
    assert (skipped["offset"], skipped["size"]) == (0, 1800)
    alone = decode_capture(pcap(web.packets))
    assert alone.exit_code == 1
    tried = ", ".join(sorted(plugins.load().protocols))
    assert f"and no frame in them ({tried} tried)" in alone.stderr


def test_wrong_bytes_in_a_connection_that_was_known():
    talk = Talk()
    talk.say(dubbo(1) + b"garbage" + dubbo(2))
    result = decode_capture(pcap(talk.packets))
    assert result.exit_code == 1
    assert f"10.0.0.1:40000 -> 10.0.0.2:12200: at byte {len(DUBBO)}: 67 61 72" in result.stderr
    assert ids(result) == ["1", "2"]


@pytest.mark.parametrize("form", [pcap, pcapng])
def test_a_capture_that_is_cut_off_gives_what_it_has(form):
    talk = Talk()
    talk.say(b"".join(map(dubbo, range(5))), 50)
    whole = form(talk.packets)
    seen = set()
    for end in range(len(whole) - 1, 24, -37):
        result = decode_capture(whole[:end])
        seen.add(len(frames(result)))
        assert result.exit_code == 1 or len(frames(result)) > 0
        if result.exit_code and "cut off" in result.stderr:
            assert f"the capture is cut off at byte {end}: " in result.stderr
    assert {0, 1, 2, 3, 4} <= seen <= {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            b"\xd4\xc3\xb2\xa1\2\0",
            "the capture is cut off at byte 6: the file's header at byte 4 takes 20 bytes, 2 are",
        ),
        (
            pcap([])[:24] + struct.pack("<IIII", 0, 0, 1 << 30, 1),
            "at byte 32: a packet of 1073741824 bytes seen",
        ),
        (pcap([]), "0 TCP segments, and no frame in them"),
        (pcapng([])[:8] + b"\1\2\3\4", "at byte 8: 01 02 03 04 seen, 1a 2b 3c 4d expected"),
        (pcapng([], blocks=struct.pack("<II", 6, 13)), "a block of 13 bytes seen, a multiple of 4 from 12"),
        (
            pcapng([], blocks=struct.pack("<III", 6, 12, 16)),
            "seen, the block's length 0c 00 00 00 again expected",
        ),
        (pcapng([], blocks=struct.pack("<III", 6, 12, 12)), "a block of type 6 seen that is too short"),
        (
            pcap([(0, b"")], link=147, wrap=lambda packet: b"abc"),
            "packets of link type 147, which is not read: 1",
        ),
        (
            pcap(
                [(0, b"")],
                link=101,
                wrap=lambda packet: bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0]),
            ),
            "packets cut off before the end of its headers: 1",
        ),
    ],
)
def test_damaged_captures_say_where(data, says):
    result = decode_capture(data)
    assert result.exit_code == 1
    assert says in result.stderr, result.stderr


def test_no_capture_where_one_was_promised():
    result = run("--input", "pcap", data=b"hello")
    assert result.exit_code == 1
    assert "at byte 0: 68 65 6c 6c seen, the magic number of pcap or pcapng expected" in result.stderr


@settings(max_examples=100)
@given(data=st.data())
def test_a_damaged_capture_never_ends_in_a_trace(data):
    talk = Talk()
    talk.say(dubbo(1) + BOLT, 200)
    talk.answer(DUBBO_ANSWER)
    whole = bytearray(data.draw(st.sampled_from([pcap, pcapng]))(talk.packets))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert decode_capture(bytes(whole)).exit_code in {0, 1}


# Bounds.


def test_memory_behind_a_hole_is_bounded():
    streams = capture.Streams()
    held = []

    def packets():
        yield capture.Packet(0, 101, tcp(CLIENT, SERVER, 0, flags=SYN))
        for i in range(3000):
            yield capture.Packet(i, 101, tcp(CLIENT, SERVER, 100 + 1400 * i, bytes(1400)))
            held.append(streams._connections[CLIENT, SERVER].size())

    events = list(streams.read(packets()))
    assert isinstance(events[0], capture.Gap)
    assert max(held) <= 1.2 * (1 << 20)
    assert sum(len(event.data) for event in events if isinstance(event, capture.Data)) == 3000 * 1400


def test_the_connections_that_are_followed_are_bounded(monkeypatch):
    monkeypatch.setattr(capture, "_CONNECTIONS", 10)
    streams = capture.Streams()
    packets = (capture.Packet(i, 101, tcp((f"10.1.0.{i}", i + 1), SERVER, 0, b"x")) for i in range(100))
    ended = [event.flow.connection for event in streams.read(packets) if isinstance(event, capture.End)]
    assert ended == [number for number in range(1, 91) for _ in range(2)]
    assert len(list(streams.end())) == 20


def test_what_the_reader_keeps_counts(monkeypatch):
    monkeypatch.setattr(capture, "_MEMORY", 10_000)
    streams = capture.Streams()
    packets = (capture.Packet(i, 101, tcp((f"10.1.0.{i}", i + 1), SERVER, 0, b"x")) for i in range(100))
    open_flows = 0
    for event in streams.read(packets):
        if isinstance(event, capture.Data):
            event.flow.held = 2000
            open_flows += 1
        elif event.flow.held:
            event.flow.held = 0
            open_flows -= 1
        assert open_flows <= 6


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


def test_packets_says_that_it_is_no_capture():
    import io

    with pytest.raises(ProtokitError, match="at byte 0"):
        capture.packets(io.BytesIO(b"nope"))


# Golden vectors.

MEMO = """
from memo import memo
from protokit import hookimpl

page = memo(**{mistake})

@hookimpl
def protokit_protocols():
    return [page]
"""


def conversation() -> list[tuple[int, bytes]]:
    """A memo client and its server: calls again and again, an error, a one-way, a ping."""
    talk = Talk()
    by_name = {one.name: one.data for one in captured()}
    for _ in range(3):
        talk.say(by_name["call"])
        talk.answer(by_name["answer"])
    talk.say(by_name["other"] + by_name["note"])
    talk.answer(by_name["raised"])
    talk.say(by_name["none"])
    talk.answer(by_name["no such"])
    talk.say(by_name["ping"])
    talk.answer(by_name["pong"])
    return talk.packets


def decoded_vectors(folder: Path, mistake: str = "{}") -> list[Golden]:
    (folder / "page.py").write_text(MEMO.replace("{mistake}", mistake))
    (folder / "calls.pcap").write_bytes(pcap(conversation()))
    result = run("--golden", "memo-lib 1.2", "-p", str(folder / "page.py"), str(folder / "calls.pcap"))
    assert result.exit_code == 0, result.output
    assert "vectors of 13 frames" in result.stderr
    (folder / "golden.jsonl").write_text(result.stdout)
    return load_golden(folder / "golden.jsonl")


def test_a_capture_becomes_golden_vectors_one_of_each_kind(tmp_path):
    found = decoded_vectors(tmp_path)
    assert [one.name for one in found] == [
        "request demo.A go",
        "response OK",
        "request demo.A go (2)",
        "oneway demo.A go",
        "response APP_ERROR",
        "request demo.A go (3)",
        "response NO_SERVICE",
        "heartbeat",
        "ack",
    ]
    assert {(one.source, one.origin) for one in found} == {("memo-lib 1.2", "captured: calls.pcap")}
    by_name = {one.name: one.expect for one in found}
    headers = {"to": "demo.A", "call": "go"}
    asked = {"request_id": "1", "service": "demo.A", "method": "go", "headers": headers}
    assert by_name["request demo.A go"] == {"kind": "request", **asked}
    said = {"kind": "response", "request_id": "4", "status": "NO_SERVICE", "text": "no such"}
    assert by_name["response NO_SERVICE"] == said
    assert by_name["ack"] == {"kind": "heartbeat_ack", "request_id": "9"}
    suite = conformance(memo(), golden=found, examples=0)()
    assert untried(memo(), found, suite.has) == []
    suite.test_golden_vectors_mean_what_they_should()
    suite.test_captured_errors_are_what_the_codec_says()


SIDES = """
from sided import {name}
from protokit import hookimpl

@hookimpl
def protokit_protocols():
    return [{name}()]
"""


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize(("made", "spoken"), [(post, POST), (said, SAID)])
def test_a_capture_tells_who_sent_a_frame_that_does_not_say_it(made, spoken, opened, tmp_path):
    """By who opened the connection, else by its ports; vectors keep it, and the kit takes them."""
    (tmp_path / "page.py").write_text(SIDES.format(name=made.__name__))
    talk = Talk(opened=opened)
    for who, data in spoken:
        talk.say(data, src=talk.src if who == "client" else talk.dst)
    (tmp_path / "calls.pcap").write_bytes(pcap(talk.packets))
    arguments = ("-p", str(tmp_path / "page.py"), str(tmp_path / "calls.pcap"))
    told = frames(run("--json", *arguments))
    assert sorted((row["side"], row["hex"]) for row in told) == sorted(
        (who, data.hex()) for who, data in spoken
    )
    assert {row["kind"] for row in told if row["side"] == "server"} == {"response"}
    result = run("--golden", "lib 1.0", *arguments)
    (tmp_path / "golden.jsonl").write_text(result.stdout)
    vectors = load_golden(tmp_path / "golden.jsonl")
    found = {(native.side_of(one.data), bytes(one.data)) for one in vectors}
    assert found <= set(spoken)
    assert {one.expect["kind"] for one in vectors} >= {"request", "response"}
    suite = conformance(made(), golden=vectors, examples=0)()
    suite.test_golden_vectors_mean_what_they_should()
    suite.test_captured_errors_are_what_the_codec_says()


RELAYED = """
from construct import Bytes, Int8ub, Struct, this
from protokit import Protocol, hookimpl
from protokit.wire import ErrorText, Greeting, Replies, WireFormat

FRAME = Struct("kind" / Int8ub, "id" / Int8ub, "size" / Int8ub, "text" / Bytes(this.size))

@hookimpl
def protokit_protocols():
    wire = WireFormat(
        FRAME,
        id=this.id,
        mode="pinned",
        response=this.kind == 2,
        greeting=Greeting(when=this.kind == 3, relayed=True),
        replies=Replies(error=lambda *_: {"kind": 2, "size": 0, "text": b""}),
    )
    return [Protocol("page", wire)]
"""


def test_of_greetings_those_of_one_connection_are_kept(tmp_path):
    (tmp_path / "page.py").write_text(RELAYED)
    packets = []
    for port, name in ((4000, b"one"), (4001, b"two")):
        talk = Talk(src=("10.0.0.1", port))
        for at, text in enumerate((b"hello", b"who", name, b"good")):
            talk.say(b"\3\0" + bytes([len(text)]) + text, src=talk.dst if at % 2 else talk.src)
        packets += talk.packets
    (tmp_path / "calls.pcap").write_bytes(pcap(packets))
    found = run("--golden", "lib 1.0", "-p", str(tmp_path / "page.py"), str(tmp_path / "calls.pcap"))
    texts = [bytes.fromhex(json.loads(line)["hex"])[3:] for line in found.stdout.splitlines()]
    assert texts == [b"hello", b"who", b"one", b"good"]


@pytest.mark.parametrize("size", [1, 0x41, 0x7A, 300])
def test_a_length_that_is_a_letter_is_no_part_of_an_errors_text(size):
    protocol, text = post(), "t" * size
    error = Golden("error", sent_by("server", tell(3, 2, text.encode())))
    asked = [Golden("asked", sent_by("client", POST[0][1]))]
    assert likely_text(protocol.wire, Voice(protocol), asked, error) == text


def test_of_texts_in_a_captured_error_the_one_at_the_place_of_the_replys_is_its_text():
    frame = Struct("kind" / Int8ub, "id" / Int8ub, "body" / Prefixed(Int16ub, GreedyBytes))
    wire = WireFormat(
        frame,
        id=this.id,
        response=this.kind == 2,
        status=table(this.kind, {0: Status.OK}, Status.INTERNAL),
        replies=Replies(error=lambda *_: {"kind": 2, "body": [b'{"why":"', ErrorText(), b'"}']}),
    )
    asked = [Golden("asked", frame.build({"kind": 1, "id": 3, "body": b""}))]
    body = b'{"why":"no such thing","trace":["in a file whose name is longer than that"]}'
    error = Golden("error", frame.build({"kind": 2, "id": 3, "body": body}))
    assert likely_text(wire, Voice(Protocol("page", wire)), asked, error) == "no such thing"


def test_bytes_of_one_direction_are_of_the_side_that_is_said(tmp_path):
    (tmp_path / "page.py").write_text(SIDES.format(name="said"))
    page = ("-p", str(tmp_path / "page.py"), "--input", "raw")
    (told,) = frames(run("--json", *page, "--side", "server", data=b"OK a\r\n"))
    assert (told["kind"], told["side"]) == ("response", "server")
    (told,) = frames(run("--json", *page, "--side", "client", data=b"get a\r\n"))
    assert (told["kind"], told["side"]) == ("request", "client")
    unsaid = run(*page, data=b"get a\r\n")
    assert unsaid.exit_code == 1
    assert "what said frames are depends on who sent them: say it with --side" in unsaid.stderr


def test_vectors_of_a_wrong_codec_still_show_what_is_wrong_with_its_errors(tmp_path):
    found = decoded_vectors(tmp_path, '{"stop": b""}')
    suite = conformance(memo(stop=b""), golden=found, examples=0)()
    with pytest.raises(AssertionError, match="response NO_SERVICE: no error reply with its text"):
        suite.test_captured_errors_are_what_the_codec_says()


def test_vectors_can_be_asked_for_only_where_there_are_frames(tmp_path):
    (tmp_path / "page.py").write_text(MEMO.replace("{mistake}", "{}"))
    result = run("--golden", "memo-lib 1.2", "-p", str(tmp_path / "page.py"), data=b"MM\x01\x00\x00")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "5 bytes seen of a memo frame" in result.stderr


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


def naive(mode: str) -> WireFormat:
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int8ub),
        id=this.id,
        response=this.kind == 2,
        mode=mode,
        replies=Replies(error=lambda status, variant: {"kind": 2}),
    )


@pytest.mark.parametrize(
    ("mode", "talk", "noted"),
    [
        ("multiplexed", [(1, 1), (2, 1), (1, 2), (2, 2)], True),
        ("multiplexed", [(1, 1), (1, 2), (2, 1), (2, 2)], False),
        ("multiplexed", [(1, 1), (2, 1)], False),
        ("pingpong", [(1, 1), (2, 1), (1, 2), (2, 2)], False),
    ],
)
def test_vectors_of_one_request_at_a_time_do_not_prove_that_several_may_be(mode, talk, noted):
    protocol, vectors = Protocol("naive", naive(mode), ""), Vectors("mine 1.0", "x.pcap")
    for kind, number in talk:
        data = bytes([kind, number])
        vectors.take(Frame(0, protocol, protocol.wire.ask.frame(data), data, 0), 1)
    assert ("mode='pingpong'" in (vectors.doubt() or "")) == noted


def test_who_names_an_id_that_a_simple_server_only_repeats_is_told_of_the_mode(tmp_path):
    """The declaration of docs/from-a-capture.md with ``id=this.seqid`` for its mode."""
    text = (REPO / "docs" / "from-a-capture.md").read_text()
    (declared,) = re.findall(r"^`framed.py`:\n\n```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    right = next(line for line in declared.splitlines() if 'mode="pingpong"' in line)
    for mode, told in (("        id=this.seqid,", True), ('        id=this.seqid, mode="pingpong",', False)):
        plugin = tmp_path / f"framed_{told}.py"
        plugin.write_text(declared.replace(right, mode))
        result = run(str(REPO / "docs" / "calculator.pcap"), "-p", str(plugin), "--golden", "Thrift 0.25.0")
        assert result.exit_code == 0, result.output
        assert ("no connection of these had two requests under way" in result.output) == told
