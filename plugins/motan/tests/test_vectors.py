"""Motan2 beside the bytes of motan's own codecs, which are kept outside of the repository.

They are read from ``../shared/wire/vectors/motan.jsonl``, where that folder stands beside the repository.
Every line is accounted for: whole frames, headers alone, and motan1.
"""

import json
import os
from pathlib import Path

import pytest
from protokit_motan import motan

from protokit.errors import RemoteProtocolError

SHARED = os.environ.get("PROTOKIT_WIRE_VECTORS", Path(__file__).parents[4] / "shared" / "wire" / "vectors")
FILE = Path(SHARED) / "motan.jsonl"
WIRE = motan.wire
KINDS = {"heartbeat_ack": "ack"}
FLAGS = ("proxy", "oneway", "gzip", "heartbeat")
WHOLE = {
    "request string",
    "request group + attachments",
    "request multi args",
    "request map arg",
    "request null arg",
    "request no args",
    "request max id",
    "request negative id",
    "request gzip",
    "response attachments",
    "response null",
    "response service exception",
    "response biz exception",
    "response framework exception",
    "response timeout exception",
    "response reject exception",
    "heartbeat request",
    "heartbeat response",
}
# Headers that stop where the meta's length would begin.
# "hb gz ow px req st ser", as in "header flags hb=true gz=false ...".
HEADERS = {
    f"header flags hb={hb} gz={gz} ow={ow} px={px} req={req} st={status} ser={serialization}"
    for hb, gz, ow, px, req, status, serialization in (
        line.split()
        for line in """
        false false false false true 0 0
        false true false false true 2 2
        true true false false true 3 3
        false false true false true 4 4
        true false true false true 5 5
        false false false true true 0 8
        true false false true true 1 9
        false true false true true 2 10
        true true false true true 3 11
        true false true true true 5 13
        false true true true true 6 14
        true true true true true 7 15
        false false false false false 0 16
        true false false false false 1 17
        false true false false false 2 18
        false false true false false 4 20
        false true true false false 6 22
        true false false true false 1 25
        false true false true false 2 26
        true true false true false 3 27
        false false true true false 4 28
        true false true true false 5 29
        false true true true false 6 30
        """.strip().splitlines()
    )
}
MOTAN1 = {
    "motan1 testV1ReqBytes",
    "motan1 testV1NoParamReqBytes",
    "motan1 testV1MultiParamReqBytes",
    "motan1 testV1CompressReqBytes",
    "motan1 testV1CompressGzipReqBytes",
    "motan1 testV1LongAttachmentReqBytes",
    "motan1 testV1ChAttachmentReqBytes",
    "motan1 testV1ResBytes",
    "motan1 testV1VoidResBytes",
    "motan1 testV1ExceptionResBytes",
    "motan1 testV1CompressResBytes",
    "motan1 testV1CompressGzipResBytes",
    "motan1 testV1CompressWithAttachmentResBytes",
    "motan1 baseV1HeartbeatReq",
    "motan1 baseV1HeartbeatRes",
}


def vectors():
    if not FILE.exists():
        return {}
    records = map(json.loads, FILE.read_text(encoding="utf-8").splitlines())
    return {record["name"]: record for record in records}


VECTORS = vectors()
needs_vectors = pytest.mark.skipif(not VECTORS, reason=f"no shared wire vectors here ({FILE})")


def pairs(meta):
    parts = meta.decode().split("\n") if meta else []
    return dict(zip(parts[::2], parts[1::2], strict=True))


def plain(fields):
    """What a frame says, without lengths, as numbers and bytes."""
    bits = {
        part: {name: int(value) for name, value in fields[part].items() if not name.startswith("_")}
        for part in ("flags", "form")
    }
    return bits | {
        "serialization": fields.serialization,
        "id": fields.id,
        "meta": bytes(fields.meta),
        "body": bytes(fields.body),
    }


def check_header(fields, expect):
    assert {name: bool(fields.flags[name]) for name in FLAGS} == {name: expect[name] for name in FLAGS}
    assert bool(fields.flags.response) is not expect["request"]
    assert (fields.form.version, fields.form.status) == (expect["version"], expect["status"])
    assert fields.serialization == expect["serialize"] << 3
    assert fields.id == int(expect["request_id"])


@needs_vectors
def test_no_line_is_left_out():
    assert set(VECTORS) == WHOLE | HEADERS | MOTAN1
    assert len(VECTORS) == len(WHOLE) + len(HEADERS) + len(MOTAN1)


@needs_vectors
@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_whole_frame(name):
    data, expect = bytes.fromhex(VECTORS[name]["hex"]), VECTORS[name]["expect"]
    message = WIRE.message(data)
    assert message.kind == KINDS.get(expect["kind"], expect["kind"])
    assert message.size == len(data)
    check_header(message.fields, expect)
    assert (message.fields.meta_len, message.fields.body_len) == (expect["meta_len"], expect["body_len"])
    assert pairs(message.fields.meta) == expect["metadata"]
    assert message.fields.body.hex() == expect["body_hex"]
    assert WIRE.build(plain(message.fields)) == data


@needs_vectors
@pytest.mark.parametrize("name", sorted(name for name in WHOLE if name.startswith("request")))
def test_where_a_request_goes(name):
    message, expect = WIRE.message(bytes.fromhex(VECTORS[name]["hex"])), VECTORS[name]["expect"]
    sent = expect["metadata"]
    assert (message.service, message.method) == (expect["service"], expect["method"])
    assert (message.group, message.version) == (expect["group"] or "", sent.get("M_v", ""))
    assert message.timeout_ms == int(sent.get("M_tmo", 0))
    assert dict(message.headers.items()) == sent


@needs_vectors
@pytest.mark.parametrize("name", sorted(name for name in WHOLE if name.startswith("response")))
def test_what_an_answer_says(name):
    message, expect = WIRE.message(bytes.fromhex(VECTORS[name]["hex"])), VECTORS[name]["expect"]
    assert message.status.name == ("INTERNAL" if "exception" in expect else "OK")
    if "exception" in expect:
        assert json.loads(pairs(message.fields.meta)["M_e"]) == expect["exception"]


@needs_vectors
@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_header_alone(name):
    data, expect = bytes.fromhex(VECTORS[name]["hex"]), VECTORS[name]["expect"]
    assert len(data) == 13
    with pytest.raises(EOFError):
        WIRE.message(data)
    fields, size = WIRE.parse(data + bytes(8))  # no meta, no body
    assert size == 21
    check_header(fields, expect)
    assert WIRE.build(plain(fields))[:13] == data


@needs_vectors
@pytest.mark.parametrize("name", sorted(MOTAN1))
def test_motan1_is_another_protocol(name):
    data = bytes.fromhex(VECTORS[name]["hex"])
    assert data[3] >> 3 == 0
    with pytest.raises(RemoteProtocolError):
        WIRE.message(data)
