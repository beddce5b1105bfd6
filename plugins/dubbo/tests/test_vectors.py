"""Every golden line of Dubbo and of Hessian 2.0: its facts, and its bytes again from plain values."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import pytest
from dubbo_vectors import LINES, SHARED, golden, lines
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Long, Object, Reader, TypedList, TypedMap, Writer
from protokit_dubbo.messages import HEADER, MAGIC, OK, count_parameters

from protokit import hessian, native

CODEC = dubbo.wire.address
FINAL = "H2 (Hessian 2.0)"
VALUES = [line for line in golden("hessian") if line["expect"]["dialect"] == FINAL]
HESSIAN2, FASTJSON, GSON, PROTOBUF, FASTJSON2 = 2, 6, 16, 22, 23
KINDS = {
    native.KIND_REQUEST: "request",
    native.KIND_ONEWAY: "oneway",
    native.KIND_RESPONSE: "response",
    native.KIND_HEARTBEAT: "heartbeat",
    native.KIND_HEARTBEAT_ACK: "heartbeat_ack",
    native.KIND_DRAIN: "drain",
}
HEAD = {"serialization", "request_id", "twoway", "event", "body_len", "kind", "status", "event_name"}
REQUEST = {"dubbo_version", "service", "version", "method", "desc", "arg_types", "args", "generic", "group"}
REQUEST |= {"attachments", "args_end", "dubbox_int", "args_raw_len"}
REQUEST |= {"arguments"}  # the kit compares them
RESPONSE = {"response_type", "value", "exception", "exception_class", "exception_message", "error_message"}
RESPONSE |= {"response_type_jsonb", "items_raw_len"}
# Bodies that are none on purpose: no bytes, and bytes that were never meant as a value.
NO_BODY = {"proxy error: status 70, empty body": b"", "mosn encodeData": b"test"}
# Node's server leaves the code in front of null out.
NO_CODE = {
    "QUIRK response: null result is written as bare N without a type code",
    "node peers: response nothing #12",
}
# An iterator's list ends where it ends; written again it has a length.
NO_LENGTH = {"hl4: iterator (variable-length list)"}
REQUESTS = [line for line in LINES if line["expect"]["kind"] in {"request", "oneway"}]


def named(line: dict) -> str:
    return line["name"][:60]


def of(serialization: int, *kinds: str) -> list[dict]:
    return [
        line
        for line in LINES
        if line["expect"]["serialization"] == serialization
        and line["expect"]["kind"] in kinds
        and line["name"] not in NO_BODY
    ]


@pytest.mark.skipif(not SHARED.exists(), reason="no shared wire vectors here")
def test_all_shared_lines_are_tested():
    frames, values = lines(SHARED / "dubbo.jsonl"), lines(SHARED / "hessian.jsonl")
    assert (len(frames), len(values)) == (352, 252)
    assert [line for line in LINES if line in frames] == frames
    drafts = [line for line in values if line not in VALUES]
    assert len(drafts) == 116  # in plugins/sofarpc/tests
    assert {line["expect"]["dialect"] for line in drafts} == {"H1 (sofa-hessian 3.x)"}


@pytest.mark.parametrize("line", LINES, ids=named)
def test_no_fact_is_looked_past(line):
    known = HEAD | (REQUEST if line in REQUESTS else RESPONSE | {"attachments", "note", "malformed"})
    assert set(line["expect"]) <= known


# Values, by the conventions of the lines.


def number(value: Any, numbers: dict[int, int]) -> None:
    """What references count: lists, maps and objects, in the order in which they begin."""
    if isinstance(value, list | dict | Object) and id(value) not in numbers:
        numbers[id(value)] = len(numbers)
        inner = value.fields if isinstance(value, Object) else value
        for one in inner.values() if isinstance(inner, dict) else inner:
            number(one, numbers)


def is_(found: Any, expect: Any, numbers: dict[int, int]) -> bool:
    """Whether a value is what a line says; ``numbers`` are those of what was met before."""
    if isinstance(expect, dict) and "$ref" in expect:
        return numbers[id(found)] == expect["$ref"]
    if isinstance(found, list | dict | Object):
        if id(found) in numbers:
            return False  # it had to be a reference
        numbers[id(found)] = len(numbers)
        return is_container(found, expect, numbers)
    if isinstance(found, str):
        return is_text(found, expect)
    if isinstance(found, bytes):
        return expect == {"$bytes": len(found), "head": found[: len(expect["head"]) // 2].hex()}
    if isinstance(found, Long):
        return expect == {"$long": str(int(found))}
    if isinstance(found, float):
        wanted = float(expect["$double"]) if isinstance(expect, dict) else expect
        return isinstance(wanted, float) and repr(found) == repr(wanted)
    if hasattr(found, "timestamp"):
        return expect == {"$date": round(found.timestamp() * 1000)}
    return type(found) is type(expect) and found == expect


def is_text(found: str, expect: Any) -> bool:
    units = found.encode("utf-16-be", "surrogatepass")
    if isinstance(expect, str):
        return found == expect
    if "$utf16be" in expect:
        return units.hex() == expect["$utf16be"]
    digest = hashlib.sha256(units).hexdigest()
    head = expect["head"]
    return expect == {"$string_units": len(units) // 2, "head": head, "sha256_utf16be": digest} and (
        found.startswith(head)
    )


def is_container(found: Any, expect: Any, numbers: dict[int, int]) -> bool:
    if isinstance(expect, dict) and "$frames" in expect:
        for one in found:
            number(one, numbers)
        return len(found) == expect["$frames"]
    if isinstance(found, Object):
        return all_are({"$class": found.class_name} | found.fields, expect, numbers)
    kind = found.type_name if isinstance(found, TypedList | TypedMap) else ""
    if kind:
        if expect["$class"] != kind:
            return False
        expect = expect.get("$list", expect.get("$map", expect.get("$pairs")))
    if isinstance(found, list):
        both = zip(found, expect, strict=True)
        return len(found) == len(expect) and all(is_(one, wanted, numbers) for one, wanted in both)
    if isinstance(expect, dict) and "$pairs" in expect:
        expect = expect["$pairs"]
    if isinstance(expect, list):
        flat = [one for pair in found.items() for one in pair]
        wanted_flat = [one for pair in expect for one in pair]
        return len(flat) == len(wanted_flat) and all(
            is_(one, wanted, numbers) for one, wanted in zip(flat, wanted_flat, strict=True)
        )
    return all_are(found, expect, numbers)


def all_are(found: dict, expect: dict, numbers: dict[int, int]) -> bool:
    return list(found) == list(expect) and all(is_(found[key], expect[key], numbers) for key in found)


def values_of(data: bytes) -> tuple[list[Any], list[int]]:
    """The values of a body, and where each ends."""
    reader, found, ends = Reader(data), [], []
    while not reader.done:
        found.append(reader.read())
        ends.append(reader.at)
    return found, ends


def written(values: list[Any], line: dict) -> bytes:
    writer = Writer(hessian.HESSIAN2._replace(binary_chunk=8189 if "(4.x)" in line["source"] else 4093))
    for value in values:
        writer.write(value)
    return bytes(writer.data)


@pytest.mark.parametrize("line", VALUES, ids=named)
def test_a_line_of_values(line):
    data, expect = bytes.fromhex(line["hex"]), line["expect"]
    reader, found = Reader(data), []
    while not reader.done:
        found.append(reader.read())
    assert len(found) == expect["count"]
    numbers: dict[int, int] = {}
    if "values" in expect:
        assert all(is_(value, wanted, numbers) for value, wanted in zip(found, expect["values"], strict=True))
        assert (len(reader.classes), len(reader.references)) == (expect["class_defs"], expect["refs"])
    if line["name"] not in NO_LENGTH:
        assert written(found, line) == data
    assert repr(values_of(written(found, line))[0]) == repr(found)


@pytest.mark.parametrize("line", VALUES, ids=named)
def test_the_engine_steps_over_them(line):
    front = Writer()
    for text in ("2.0.2", "a.B", "1.0", "m", "Ljava/lang/Object;" * line["expect"]["count"]):
        front.write(text)
    body = bytes(front.data) + bytes.fromhex(line["hex"]) + b"H\x05group\x04blueZ"
    frame = HEADER.pack(MAGIC, 0xC2, 0, 1, len(body)) + body
    assert native.request(CODEC, frame).group == "blue"


# Frames.


def head(flag: int, line: dict, size: int) -> bytes:
    """From what the line says; of requests no line says a status, and some have one."""
    expect = line["expect"]
    status = bytes.fromhex(line["hex"])[3] if flag & 0x80 else expect.get("status", OK)
    return HEADER.pack(MAGIC, flag, status, int(expect["request_id"]), size)


@pytest.mark.parametrize("line", LINES, ids=named)
def test_the_head(line):
    expect, data = line["expect"], bytes.fromhex(line["hex"])
    magic, flag, status, request_id, size = HEADER.unpack_from(data)
    assert (magic, size) == (MAGIC, len(data) - HEADER.size)
    assert (flag & 0x1F, str(request_id)) == (expect["serialization"], expect["request_id"])
    for fact, found in (("twoway", bool(flag & 0x40)), ("event", bool(flag & 0x20)), ("body_len", size)):
        assert found == expect.get(fact, found), fact
    if not flag & 0x80:
        assert status == expect.get("status", status)
    message = native.frame(CODEC, data, 1 << 24)
    assert (message.result, message.size, str(message.id)) == (0, len(data), expect["request_id"])
    assert message.context == expect["serialization"]
    assert KINDS[message.kind] == ("drain" if expect.get("event_name") == "R" else expect["kind"])


@pytest.mark.parametrize("line", of(HESSIAN2, "request", "oneway"), ids=named)
def test_a_request(line):
    expect, data = line["expect"], bytes.fromhex(line["hex"])
    found, ends = values_of(data[HEADER.size :])
    version, service, wanted, method, *rest = found
    assert version == expect.get("dubbo_version", version)
    if "dubbox_int" in expect:
        assert rest.pop(0) == expect["dubbox_int"]
    descriptor, *arguments = rest
    count = count_parameters(descriptor)
    attachments = arguments.pop() if len(arguments) > count else None
    assert len(arguments) == count
    assert (service, wanted, descriptor) == (expect["service"], expect["version"], expect["desc"])
    assert method == expect.get("generic", expect["method"])
    if "arg_types" in expect:
        assert len(expect["arg_types"]) == count
        assert "".join(expect["arg_types"]) == descriptor
    numbers: dict[int, int] = {}
    if "args" in expect and "generic" not in expect:
        assert all(is_(one, other, numbers) for one, other in zip(arguments, expect["args"], strict=True))
    if "args_end" in expect:
        assert HEADER.size + ends[-2 if attachments is not None else -1] == expect["args_end"]
    if "arg_types" in expect:  # the project's own lines have the texts only
        assert is_(attachments, expect["attachments"], numbers)
        assert (attachments or {}).get("group") == expect.get("group")
    flag = 0x80 | (0x40 if expect["kind"] == "request" else 0) | HESSIAN2
    assert head(flag, line, len(data) - HEADER.size) + written(found, line) == data


@pytest.mark.parametrize("line", of(HESSIAN2, "response"), ids=named)
def test_a_response(line):
    expect, data = line["expect"], bytes.fromhex(line["hex"])
    found, _ = values_of(data[HEADER.size :])
    numbers: dict[int, int] = {}
    status = expect.get("status", data[3])
    if status != OK:
        (text,) = found
        assert is_(text, expect.get("error_message", text), numbers)
    elif line["name"] in NO_CODE:
        assert found == [None]
    else:
        code, *rest = found
        assert code == expect.get("response_type", code)
        attachments = rest.pop() if code >= 3 else None
        assert len(rest) == (code % 3 != 2)
        for fact in ("value", "exception"):
            if fact in expect:
                assert is_(rest[0] if rest else None, expect[fact], numbers), fact
        if "exception_class" in expect:
            assert rest[0].class_name == expect["exception_class"]
            assert is_(rest[0].fields.get("detailMessage"), expect["exception_message"], numbers)
        if "attachments" in expect:
            assert is_(attachments, expect["attachments"], numbers)
    assert head(HESSIAN2, line, len(data) - HEADER.size) + written(found, line) == data


@pytest.mark.parametrize("line", of(HESSIAN2, "heartbeat", "heartbeat_ack", "event", "drain"), ids=named)
def test_an_event(line):
    expect, data = line["expect"], bytes.fromhex(line["hex"])
    found, _ = values_of(data[HEADER.size :])
    if line["expect"]["kind"] in {"event", "drain"}:
        assert found == [expect.get("event_name", "R")]
    else:
        assert set(found) == {None}
    flag = {"heartbeat": 0xE0, "heartbeat_ack": 0x20}.get(expect["kind"], 0xA0) | HESSIAN2
    assert head(flag, line, len(data) - HEADER.size) + written(found, line) == data


def test_bodies_that_are_none_are_listed():
    seen = {
        line["name"]: bytes.fromhex(line["hex"])[HEADER.size :] for line in LINES if line["name"] in NO_BODY
    }
    assert seen == (NO_BODY if SHARED.exists() else {})


# fastjson2: items, of which the texts and the attachments are plain and the rest stays as it is.


def items(data: bytes) -> list[bytes]:
    found = []
    while data:
        (size,) = struct.unpack_from(">I", data)
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def joined(parts: list[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def jsonb_text(data: bytes) -> tuple[str | None, bytes]:
    """A text or null, and what is behind it."""
    tag, at = data[0], 1
    if tag == 0xAF:
        return None, data[1:]
    size = tag - 0x49
    if tag >= 0x79:
        lead = data[1]
        size, at = (lead, 2) if lead < 0x30 else ((lead - 0x38 << 8) + data[2], 3)
    return data[at : at + size].decode("latin-1" if tag <= 0x79 else "utf-8"), data[at + size :]


def jsonb(text: str | None) -> bytes:
    if text is None:
        return b"\xaf"
    data = text.encode("latin-1" if text.isascii() else "utf-8")
    if text.isascii() and len(data) < 48:
        return bytes([0x49 + len(data)]) + data
    size = bytes([len(data)]) if len(data) < 0x30 else struct.pack(">H", 0x3800 + len(data))
    return (b"\x79" if text.isascii() else b"\x7a") + size + data


def jsonb_map(data: bytes) -> dict[str | None, str | None]:
    assert (data[:1], data[-1:]) == (b"\xa6", b"\xa5")
    rest, found = data[1:], {}
    while rest != b"\xa5":
        key, rest = jsonb_text(rest)
        found[key], rest = jsonb_text(rest)
    return found


def jsonb_of(attachments: dict[str | None, str | None]) -> bytes:
    return b"\xa6" + b"".join(jsonb(key) + jsonb(value) for key, value in attachments.items()) + b"\xa5"


@pytest.mark.parametrize("line", of(FASTJSON2, "request", "oneway"), ids=named)
def test_a_request_in_fastjson2(line):
    expect, data = line["expect"], bytes.fromhex(line["hex"])
    *front, last = items(data[HEADER.size :])
    texts = [jsonb_text(one)[0] for one in front[:5]]
    assert texts[1:] == [expect[fact] for fact in ("service", "version", "method", "desc")]
    assert texts[0] == expect.get("dubbo_version", texts[0])
    arguments, attachments = front[5:], jsonb_map(last)
    assert len(arguments) == count_parameters(expect["desc"])
    if "arg_types" in expect:
        assert "".join(expect["arg_types"]) == expect["desc"]
        assert [len(one) for one in arguments] == expect["args_raw_len"]
        assert attachments == expect["attachments"]
        assert attachments.get("group") == expect["group"]
    flag = 0x80 | (0x40 if expect["kind"] == "request" else 0) | FASTJSON2
    body = joined([*map(jsonb, texts), *arguments, jsonb_of(attachments)])
    assert head(flag, line, len(body)) + body == data


@pytest.mark.parametrize("line", of(FASTJSON2, "response"), ids=named)
def test_a_response_in_fastjson2(line):
    expect, data = line["expect"], bytes.fromhex(line["hex"])
    found = items(data[HEADER.size :])
    if expect["status"] != OK:
        (text,) = (jsonb_text(one)[0] for one in found)
        assert is_(text, expect.get("error_message", text), {})
        body = joined([jsonb(text)])
    else:
        code, *rest = found
        assert code.hex() == expect.get("response_type_jsonb", code.hex())
        assert code[-1] == expect.get("response_type", code[-1])
        assert [len(one) for one in found] == expect.get("items_raw_len", [len(one) for one in found])
        attachments = jsonb_map(rest.pop()) if code[-1] >= 3 else None
        assert len(rest) == (code[-1] % 3 != 2)
        assert attachments == expect.get("attachments", attachments)
        body = joined([b"\xbd" + code[-1:], *rest, *([] if attachments is None else [jsonb_of(attachments)])])
    assert head(FASTJSON2, line, len(body)) + body == data


@pytest.mark.parametrize("line", of(FASTJSON2, "heartbeat", "heartbeat_ack", "event"), ids=named)
def test_an_event_in_fastjson2(line):
    expect, data = line["expect"], bytes.fromhex(line["hex"])
    (text,) = (jsonb_text(one)[0] for one in items(data[HEADER.size :]))
    assert text == expect.get("event_name")
    flag = {"heartbeat": 0xE0, "heartbeat_ack": 0x20}.get(expect["kind"], 0xA0) | FASTJSON2
    body = joined([jsonb(text)])
    assert head(flag, line, len(body)) + body == data


@pytest.mark.parametrize("line", [*of(FASTJSON, "request"), *of(GSON, "request")], ids=named)
def test_a_request_in_lines_of_json(line):
    expect = line["expect"]
    front = [json.loads(text) for text in bytes.fromhex(line["hex"])[HEADER.size :].splitlines()]
    assert front[1:5] == [expect[fact] for fact in ("service", "version", "method", "desc")]


# What the engine says of a request's destination.


@pytest.mark.parametrize(
    "line",
    [
        line
        for line in REQUESTS
        if line["expect"]["serialization"] in {HESSIAN2, FASTJSON, GSON, PROTOBUF, FASTJSON2}
    ],
    ids=named,
)
def test_where_a_request_wants_to_go(line):
    expect, data = line["expect"], bytes.fromhex(line["hex"])
    said = {key: value for key, value in (expect.get("attachments") or {}).items() if isinstance(value, str)}
    request = native.request(CODEC, data)
    assert request.service == (said.get("path") or expect["service"])
    if "attachments" in expect:
        assert request.version == (said.get("version") or expect["version"] or "")
        assert request.group == said.get("group", "")
        plain = {
            key: value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            for key, value in said.items()
        }
        assert {key: request.headers.get(key) for key in plain} == plain
    assert request.method == (
        real_method(line) if expect["method"].startswith("$invoke") else expect["method"]
    )


def real_method(line: dict) -> str | None:
    """What a generic call names in its first argument."""
    body = bytes.fromhex(line["hex"])[HEADER.size :]
    return (
        jsonb_text(items(body)[5])[0]
        if line["expect"]["serialization"] == FASTJSON2
        else values_of(body)[0][5]
    )
