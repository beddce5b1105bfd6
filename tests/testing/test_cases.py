"""What the kit goes through is whole: no luck is left in it."""

from __future__ import annotations

import pytest
from bolt_vectors import VECTORS as BOLT
from named import golden, protocols
from protokit_sofarpc import STATUS, bolt

from protokit.testing import conformance
from protokit.testing import kit as kit_module
from protokit.testing.cases import HEAD, Cases, changed


@pytest.fixture(scope="module")
def cases():
    return Cases(bolt, [one.data for one in BOLT if len(one.data) < 2000])


def test_every_status_and_one_more_is_in_an_answer_of_every_variant(cases):
    seen = {}
    for frame in cases.whole:
        fields, _ = bolt.wire.parse(frame)
        if fields.type == 0 and fields.cmdcode not in {0, 100}:
            seen.setdefault((fields.proto, fields.ver1), set()).add(fields.status)
    for variant in ((1, None), (2, 1), (2, 2)):
        assert seen[variant] > set(STATUS)


def test_every_kind_is_in_every_variant(cases):
    seen = {}
    for frame in cases.ways:
        fields, _ = bolt.wire.parse(frame.frame)
        key = "type", "cmdcode"
        seen.setdefault((fields.proto, fields.ver1), set()).add(tuple(fields[name] for name in key))
    for variant in ((1, None), (2, 1), (2, 2)):
        assert seen[variant] >= {(kind, code) for kind in (0, 1, 2) for code in (0, 1, 100)}


def test_every_bit_near_the_front_is_changed():
    frame = bytes(range(100))
    found = set(changed(frame))
    for at in range(HEAD):
        for bit in range(8):
            assert frame[:at] + bytes([frame[at] ^ 1 << bit]) + frame[at + 1 :] in found


@pytest.mark.parametrize("name", ["lined", pytest.param("bolt", marks=pytest.mark.slow)])
def test_the_same_frames_come_each_time(name):
    protocol, vectors = (bolt, BOLT) if name == "bolt" else (protocols()[name], golden(name))
    samples = [one.data for one in vectors if len(one.data) < 2000]
    once, again = (Cases(protocol, samples) for _ in range(2))
    assert (once.whole, once.wrong, once.joined) == (again.whole, again.wrong, again.joined)


def test_without_examples_nothing_is_drawn(monkeypatch):
    def drawn(*_):
        raise AssertionError("something is drawn")

    monkeypatch.setattr(kit_module, "given", drawn)
    suite = conformance(protocols()["lined"], golden=golden("lined"), examples=0)()
    for name in dir(suite):
        if name.startswith("test_") and "proxy" not in name:
            getattr(suite, name)()
