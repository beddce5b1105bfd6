"""Every golden line of bolt: its facts, and its bytes again from plain values."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from bolt_vectors import FRAMES, LINES, MAPS, NO_FRAMES, SHARED, lines, unique_name
from protokit_sofarpc import bolt
from protokit_sofarpc.hessian import Values

from protokit import native

CODEC = bolt.wire.address
KINDS = {
    native.KIND_REQUEST: "request",
    native.KIND_ONEWAY: "oneway",
    native.KIND_RESPONSE: "response",
    native.KIND_HEARTBEAT: "heartbeat",
    native.KIND_HEARTBEAT_ACK: "heartbeat_ack",
}
HEAD = [
    ("bolt", "proto"),
    *((name, name) for name in ("ver1", "type", "cmdcode", "ver2", "codec", "switch", "timeout", "status")),
    *((name, name) for name in ("class_len", "header_len", "content_len")),
]
BODY = {
    *("service", "version", "group", "method", "target_app", "arg_types", "request_props", "args"),
    *("is_error", "error_msg", "response_props", "value", "exception_class", "exception_message"),
    *("hessian", "pb_fields"),
}
KNOWN = {name for name, _ in HEAD} | BODY
KNOWN |= {"kind", "request_id", "timeout_ms", "class_name", "headers", "crc32", "crc_ok", "text"}


REQUESTS = [one for one in FRAMES if one["expect"]["kind"] in {"request", "oneway"}]


def named(line: dict) -> str:
    return line["name"]


def texts(pairs: list[tuple[bytes, bytes | None]]) -> dict[str, str | None]:
    return {key.decode(): None if value is None else value.decode() for key, value in pairs}


@pytest.mark.skipif(not SHARED.exists(), reason="no shared wire vectors here")
def test_all_shared_lines_are_tested():
    shared = lines(SHARED)
    assert len(shared) == 278
    assert [line for line in LINES if line in shared] == shared
    assert {line["name"] for line in shared if line["expect"]["kind"] == "header-map"} == NO_FRAMES
    assert len(MAPS) == len(NO_FRAMES)


@pytest.mark.parametrize("line", LINES, ids=named)
def test_no_fact_is_looked_past(line):
    assert set(line["expect"]) <= KNOWN


@pytest.mark.parametrize("line", FRAMES, ids=named)
def test_the_head(line):
    expect, data = line["expect"], bytes.fromhex(line["hex"])
    fields, size = bolt.wire.parse(data)
    assert size == len(data)
    for fact, name in HEAD:
        assert fields[name] == expect.get(fact), fact
    assert fields.id == int(expect["request_id"]) % 2**32
    assert fields.class_name.decode() == expect["class_name"]
    if fields.crc is None:
        assert "crc32" not in expect
    else:
        assert f"{fields.crc:08x}" == f"{zlib.crc32(data[:-4]):08x}" == expect["crc32"]
        assert expect["crc_ok"]
    pairs = bolt.wire.meaning.headers.items(fields)
    assert texts(pairs) == expect["headers"]
    message = native.frame(CODEC, data, 1 << 24)
    assert (message.result, message.size, message.id) == (0, size, fields.id)
    assert KINDS[message.kind] == expect["kind"]


def plain(fields: Any) -> dict[str, Any]:
    """Plain values, without lengths and checksums: they are computed."""
    computed = {"class_len", "header_len", "content_len", "crc"}
    return {
        name: value
        for name, value in fields.items()
        if not name.startswith("_") and value is not None and name not in computed
    }


@pytest.mark.parametrize("line", FRAMES, ids=named)
def test_its_bytes_again_from_plain_values(line):
    data = bytes.fromhex(line["hex"])
    fields, _ = bolt.wire.parse(data)
    encoding = bolt.wire.meaning.headers.encoding
    values = plain(fields)
    values["headers"] = encoding.build(encoding.parse(values["headers"]))
    assert bolt.wire.build(values) == data


@pytest.mark.parametrize("line", REQUESTS, ids=named)
def test_where_a_request_wants_to_go(line):
    request = native.request(CODEC, bytes.fromhex(line["hex"]))
    parts = [request.service, request.version, *([request.group] if request.group else [])]
    assert ":".join(parts).rstrip(":") == unique_name(line["expect"])
    assert request.method == (line["expect"].get("method") or "")
    assert request.timeout_ms == max(line["expect"]["timeout"], 0)
    headers = {key: value for key, value in line["expect"]["headers"].items() if value is not None}
    assert dict(request.headers) == headers


def without_kind(value: Any) -> Any:
    """A typed list's items: the lines leave the type of this one out."""
    return value["$list"] if isinstance(value, dict) else value


@pytest.mark.parametrize("line", [one for one in FRAMES if one["expect"].get("hessian")], ids=named)
def test_a_hessian_body(line):
    expect = line["expect"]
    fields, _ = bolt.wire.parse(bytes.fromhex(line["hex"]))
    content = fields.content or fields.result
    body, *arguments = Values(content).rest()
    assert content[:1] == (b"C" if expect["hessian"] == 2 else content[:1])
    if "args" in expect:
        assert body["targetServiceUniqueName"] == unique_name(expect)
        assert body["methodName"] == expect["method"]
        assert body["targetAppName"] == expect["target_app"]
        assert without_kind(body["methodArgSigs"]) == expect["arg_types"]
        assert body["requestProps"] == expect["request_props"]
        assert arguments == expect["args"]
        return
    assert not arguments
    value = body
    if "is_error" in expect:
        value = body["appResponse"]
        assert body["isError"] == expect["is_error"]
        assert body["errorMsg"] == expect["error_msg"]
        assert body["responseProps"] == expect["response_props"]
    assert value == expect["value"]
    if "exception_class" in expect:
        assert value["$class"] == expect["exception_class"]
        assert value.get("detailMessage") == expect["exception_message"]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


@pytest.mark.parametrize("line", [one for one in FRAMES if "pb_fields" in one["expect"]], ids=named)
def test_a_protobuf_body(line):
    fields, _ = bolt.wire.parse(bytes.fromhex(line["hex"]))
    content = fields.content or fields.result
    expected = line["expect"]["pb_fields"]
    if expected is None:  # an error is plain text
        assert content.decode().isprintable()
        return
    found: list[Any] = []
    at = 0
    while at < len(content):
        tag, at = varint(content, at)
        assert tag >> 3 == len(found) + 1
        value, at = varint(content, at)
        if tag & 7 == 2:
            found.append(content[at : at + value].decode())
            at += value
        else:
            found.append(value)
    assert found == list(expected.values())


@pytest.mark.parametrize("line", MAPS, ids=named)
def test_a_header_map_alone(line):
    data = bytes.fromhex(line["hex"])
    encoding = bolt.wire.meaning.headers.encoding
    pairs = encoding.parse(data)
    assert texts(pairs) == line["expect"]["headers"]
    assert encoding.build(pairs) == data
