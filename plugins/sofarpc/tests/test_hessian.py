"""Every golden line of Hessian values, in both dialects: its facts, and the engine steps over its bytes."""

from __future__ import annotations

import json

import pytest
import tr_reference as ref
from bolt_vectors import REPO, SHARED, lines
from protokit_sofarpc import bolt
from protokit_sofarpc.hessian import Values
from protokit_sofarpc.tr import tr
from test_bolt import V1, ask

from protokit import native

LINES = [*lines(REPO / "tests" / "golden" / "hessian.jsonl"), *lines(SHARED.with_name("hessian.jsonl"))]


def is_draft(line):
    return line["expect"]["dialect"].startswith("H1 ")


DRAFTS = [line for line in LINES if is_draft(line)]
WITH_VALUES = [line for line in LINES if "values" in line["expect"]]


def named(line):
    return line["name"]


def read(line):
    values = Values(bytes.fromhex(line["hex"]), draft=is_draft(line))
    found, ends = [], []
    while values.at < len(values.data):
        found.append(values.value())
        ends.append(values.at)
    return values, found, ends


@pytest.mark.skipif(not SHARED.exists(), reason="no shared wire vectors here")
def test_all_shared_lines_are_tested():
    shared = lines(SHARED.with_name("hessian.jsonl"))
    assert len(shared) == 252
    assert [line for line in WITH_VALUES if line in shared] == shared
    assert len(DRAFTS) == 116


@pytest.mark.parametrize("line", WITH_VALUES, ids=named)
def test_a_line(line):
    expect = line["expect"]
    values, found, _ = read(line)
    assert json.dumps(found) == json.dumps(expect["values"])
    if "count" in expect:
        assert len(found) == expect["count"]
        assert (len(values.classes), values.numbered) == (expect["class_defs"], expect["refs"])


def split(line):
    """The bytes of each value."""
    _, _, ends = read(line)
    data = bytes.fromhex(line["hex"])
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def renumbered(line):
    """The bytes of each value, with one class in front of its own."""
    values, _, ends = read(line)
    data = bytearray(values.data)
    for at in values.places:
        data[at] += 1
    return [bytes(data[a:b]) for a, b in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize("line", LINES, ids=named)
def test_bolt_steps_over_them_to_the_method(line):
    """They are fields of an object in front of the one that is wanted."""
    parts = renumbered(line)
    names = [*(b"f%d" % number for number in range(len(parts))), b"methodName"]
    fields = bytes([0x90 + len(names)]) + b"".join(bytes([len(name)]) + name for name in names)
    head = b"O\x91x" + fields + b"o\x90" if is_draft(line) else b"C\x01x" + fields + b"`"
    content = head + b"".join(parts) + b"\x04ping"
    assert (
        native.request(bolt.wire.address, ask(V1, headers={"service": "a.B"}, content=content)).method
        == "ping"
    )


@pytest.mark.parametrize("line", DRAFTS, ids=named)
def test_tr_steps_over_them_to_the_method(line):
    fields = {f"f{number}": part for number, part in enumerate(split(line))}
    fields |= {"targetServiceUniqueName": ref.text("a.B:1.0"), "methodName": ref.text("ping")}
    request = ref.as_map(ref.SOFA, fields)
    frame = ref.frame(ref.DRAFT, ref.connection_request(ref.DRAFT, 1), ref.SOFA, request)
    assert native.request(tr.wire.address, frame).method == "ping"
