"""What the kit asks of an author, and says to one who does not bring it. What it finds: tests/meta."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bolt_vectors import VECTORS as BOLT
from construct import GreedyBytes, Int8ub, Int16ub, Int32ub, Prefixed, Struct, this
from dubbo_vectors import VECTORS as DUBBO
from protokit_dubbo import dubbo
from protokit_sofarpc import bolt

from protokit import Protocol, ProtokitError, Status, WireFormat
from protokit.testing import Golden, conformance, load_golden
from protokit.wire import ErrorText, Replies, table


def capabilities(protocol, vectors, **more):
    conformance(protocol, golden=vectors, examples=20, **more)().test_capabilities_are_what_is_declared()


def test_without_golden_vectors_it_fails(tmp_path):
    with pytest.raises(ProtokitError, match="bolt: no golden vectors in .*; capture some from a real peer"):
        conformance(bolt, golden=tmp_path)
    with pytest.raises(ProtokitError, match="no golden vectors"):
        conformance(bolt, golden=[])


def test_a_line_that_is_no_vector_is_named(tmp_path):
    (tmp_path / "bolt.jsonl").write_text('{"name": "a", "hex": "01"}\n{"name": "b"}\n')
    with pytest.raises(ProtokitError, match=r"bolt.jsonl:2: expected .*'hex'"):
        conformance(bolt, golden=tmp_path)


@pytest.mark.parametrize("as_given", [str, Path, lambda path: [str(path)], load_golden])
def test_vectors_are_named_as_one_likes(tmp_path, as_given):
    line = json.dumps({"name": "asked", "hex": BOLT[0].data.hex()})
    (tmp_path / "bolt.jsonl").write_text(line + "\n")
    assert [one.name for one in conformance(bolt, golden=as_given(tmp_path)).vectors] == ["asked"]
    with pytest.raises(ProtokitError, match=r"/missing: there is no such file or folder of golden vectors"):
        conformance(bolt, golden=str(tmp_path / "missing"))
    with pytest.raises(ProtokitError, match="golden: 7 is neither a file, nor a folder, nor a Golden"):
        conformance(bolt, golden=[7])


@pytest.mark.parametrize(
    ("expect", "why"),
    [
        (
            {"methd": "hi"},
            r"'asked': expect: 'methd' is none of .*method.*mean 'method'.*belongs in .facts",
        ),
        (
            {"body_len": 7},
            r"'asked': expect: 'body_len' is none of kind, .*headers.*, arguments; what else is known",
        ),
        ({"kind": "requests"}, r"'asked': expect.kind: 'requests' is none of request, .*mean 'request'"),
        ({"status": 20}, r"'asked': expect.status: 20 is none of OK, APP_ERROR"),
    ],
)
def test_what_nothing_would_check_is_refused(expect, why):
    with pytest.raises(ProtokitError, match=why):
        conformance(bolt, golden=[replace(BOLT[0], name="asked", expect=expect)])
    facts = replace(BOLT[0], facts={"methd": "hi"})
    assert conformance(bolt, golden=[facts]).vectors == [facts]


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("request", "kind", "oneway"),
        ("request", "request_id", "77777"),
        ("request", "oneway", True),
        ("request", "service", "a.B"),
        ("request", "method", "hullo"),
        ("request", "version", "9"),
        ("request", "group", "g"),
        ("request", "timeout_ms", 1),
        ("request", "headers", {"sofa_head_target_service": "a.B"}),
        ("request", "headers", {"sofa_head_target_service": None}),
        ("request", "headers", {"x-absent": "1"}),
        ("request", "status", "OK"),
        ("response", "status", "DENIED"),
        ("response", "app_error", True),
        ("response", "service", "demo.BoltService"),
        ("heartbeat", "status", "OK"),
        ("heartbeat_ack", "kind", "heartbeat"),
    ],
)
def test_all_that_is_expected_is_checked(kind, name, wrong):
    one = next(
        one for one in BOLT if one.expect.get("kind") == kind and one.expect.get("status") in {None, "OK"}
    )

    def judge(vector):
        conformance(bolt, golden=[vector])().test_golden_vectors_mean_what_they_should()

    judge(one)
    with pytest.raises(AssertionError, match=f"{name}.* expected"):
        judge(replace(one, expect={**one.expect, name: wrong}))


def test_what_is_declared_is_not_said_again():
    with pytest.raises(ProtokitError, match="its declaration says what it has"):
        conformance(bolt, golden=BOLT, lacks={"drain"})


def test_an_unknown_capability_is_refused():
    with pytest.raises(ProtokitError, match="lacks: 'speed' is none of oneway, heartbeat, drain, drain-sent"):
        conformance(dubbo, golden=DUBBO, lacks={"speed"})


@pytest.mark.parametrize("kind", ["request", "response"])
def test_requests_and_responses_have_to_be_shown(kind):
    vectors = [one for one in BOLT if one.expect.get("kind") != kind]
    with pytest.raises(AssertionError, match=f"no golden vector is a {kind}"):
        capabilities(bolt, vectors)


@pytest.mark.parametrize(
    ("lacks", "why"),
    [
        ("oneway", "said to lack oneway, but '.*' is one"),
        ("heartbeat", "said to lack heartbeat, but .* is one|its codec builds one"),
        ("drain", "said to lack drain, but '.*' is one"),
        ("drain-sent", "said to lack drain-sent, but its codec builds one"),
    ],
)
def test_what_is_said_to_be_lacking_must_be(lacks, why):
    with pytest.raises(AssertionError, match=why):
        capabilities(dubbo, DUBBO, lacks={lacks})


def test_what_a_native_codec_has_is_shown_or_said_to_be_lacking():
    vectors = [one for one in DUBBO if one.expect.get("kind") not in {"oneway", "drain"}]
    with pytest.raises(AssertionError, match="nothing shows a oneway: capture .* or say lacks={'oneway'}"):
        capabilities(dubbo, vectors)
    capabilities(dubbo, vectors, lacks={"oneway"})


def plain(**meaning):
    """A format that can do nothing but ask and answer."""
    return Protocol(
        "plain",
        WireFormat(
            Struct("kind" / Int8ub, "id" / Int32ub, "text" / Prefixed(Int16ub, GreedyBytes)),
            id=this.id,
            response=(this.kind == 2) | (this.kind == 3),
            status=table(this.kind, {2: Status.OK}, Status.INTERNAL),
            replies=Replies(error=lambda status, variant: {"kind": 3, "text": ErrorText()}),
            **meaning,
        ),
    )


ASKED = Golden("asked", b"\x01\0\0\0\x07\0\x02hi", expect={"kind": "request"})
ANSWERED = Golden("answered", b"\x02\0\0\0\x07\0\x02ho", expect={"kind": "response"})


def test_a_vector_that_contradicts_the_declaration_fails():
    capabilities(plain(), [ASKED, ANSWERED])
    beat = Golden("beat", b"\x04\0\0\0\x07\0\0", expect={"kind": "heartbeat"})
    with pytest.raises(AssertionError, match="said to lack heartbeat, but 'beat' is one"):
        capabilities(plain(), [ASKED, ANSWERED, beat])


def test_heartbeats_that_are_declared_have_to_be_answered():
    suite = conformance(plain(heartbeat=this.kind == 4), golden=[ASKED, ANSWERED])()
    with pytest.raises(AssertionError, match="replies.ack has to answer them"):
        suite.test_what_it_has_can_be_said()


def test_a_protocol_that_lacks_everything_passes():
    suite = conformance(plain(), golden=[ASKED, ANSWERED], examples=30)()
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite, name)()
