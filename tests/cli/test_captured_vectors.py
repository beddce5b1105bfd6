"""Golden vectors that ``protokit decode --golden`` makes of captures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import decoding
import pytest
from captures import Talk, pcap
from construct import GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from decoding import MEMO, REPO, frames, run
from memo import captured, memo
from sided import POST, SAID, post, said, tell

from protokit import Protocol, Status, WireFormat, native
from protokit.cli.frames import Frame
from protokit.cli.vectors import Vectors
from protokit.native import sent_by
from protokit.testing import Golden, conformance, load_golden
from protokit.testing.coverage import untried
from protokit.testing.said import likely_text
from protokit.testing.voices import Voice
from protokit.wire import ErrorText, Replies, table

loaded_once = decoding.loaded_once


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


@pytest.mark.parametrize("after", [b'"from":"mine"', b'"from":"another server"'], ids=["the reply", "alike"])
@pytest.mark.parametrize(
    ("stands", "text"),
    [
        ("nobody here", "nobody here"),
        (r"said \"no\"", 'said "no"'),
        (r"a\\b", "a\\b"),
        (r"nobody\nelse", "nobody\nelse"),
        (r"\u0001", "\1"),
        (r"said \u0022no\u0022", None),  # the codec writes \": no reply can be that frame
        (r"caf\u00e9", None),
        (r"1\/2", None),
    ],
)
def test_a_text_in_escapes_is_told_without_them_where_a_reply_has_the_same(stands, text, after):
    """Of a captured error that is the codec's reply, and of one that only has its text in the same place."""
    frame = Struct("kind" / Int8ub, "id" / Int8ub, "body" / Prefixed(Int16ub, GreedyBytes))
    error = {"kind": 2, "body": [b'{"why":"', ErrorText(), b'","from":"mine"}']}
    wire = WireFormat(
        frame,
        id=this.id,
        response=this.kind == 2,
        status=table(this.kind, {0: Status.OK}, Status.INTERNAL),
        replies=Replies(error=lambda *_: error, encoding="json"),
    )
    asked = [Golden("asked", frame.build({"kind": 1, "id": 3, "body": b""}))]
    body = b'{"why":"' + stands.encode() + b'",' + after + b"}"
    captured = Golden("error", frame.build({"kind": 2, "id": 3, "body": body}))
    assert likely_text(wire, Voice(Protocol("page", wire)), asked, captured) == text


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


def test_of_methods_without_end_the_first_are_kept_and_the_others_counted():
    """As where what is called the method is a user's text. Kinds of which there are few are all there."""
    frame = Struct("kind" / Int8ub, "id" / Int16ub, "method" / Prefixed(Int8ub, GreedyBytes))
    wire = WireFormat(
        frame,
        id=this.id,
        response=this.kind == 2,
        oneway=this.kind == 3,
        method=this.method,
        replies=Replies(error=lambda status, variant: {"kind": 2, "method": b""}),
    )
    protocol, found = Protocol("texts", wire), Vectors("mine 1.0", "x.pcap")
    for number in range(300):
        for kind in (1, 2, 3):
            name = b"%d" % number if kind != 2 else b""
            data = frame.build({"kind": kind, "id": number, "method": name})
            found.take(Frame(0, protocol, wire.ask.frame(data), data, 0), 1)
    kinds = [json.loads(line)["expect"]["kind"] for line in found.lines()]
    assert {one: kinds.count(one) for one in kinds} == {"request": 100, "response": 100, "oneway": 100}
    assert "100 of their kind are kept: 200 request, 200 oneway, 200 response. Where" in (found.more() or "")
    assert Vectors("mine 1.0", "x.pcap").more() is None


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
