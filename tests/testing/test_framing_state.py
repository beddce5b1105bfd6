"""The kit judges codecs whose framing remembers: whole, cut, and through the engine."""

from __future__ import annotations

import conftest
import pytest
from construct import Struct, this

from protokit import NativeCodec, Protocol, WireFormat, native
from protokit.testing.invariants import Example, Invariants, Violation
from protokit.wire import Measured, Replies, byte_id, msgpack, msgpack_value, starts

REQUEST, ANSWER = b"Q1.=0000000007 svc m some text\n", b"R0.=0000000007 its answer\n"
SOURCE = conftest.HERE / "toy" / "lines.c"


def invariants(module, number):
    return Invariants(Protocol("lines", NativeCodec(module.lib.lines_codec(number), module)))


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return conftest.build_toy(tmp_path_factory.mktemp("kit"), "lines", conftest.LINES)


@pytest.mark.parametrize("cuts", [(), (1,), (3, 5)])
@pytest.mark.parametrize("how", [None, (), ("answers",), ("answers", "pinned"), ("ends", "breaks")])
def test_a_right_one_passes(module, cuts, how):
    accepted, _ = invariants(module, 2).holds(Example(REQUEST * 3, ANSWER * 3, cuts, how))
    assert accepted


def test_one_whose_verdict_depends_on_where_it_stopped_is_found(tmp_path, monkeypatch):
    source = SOURCE.read_text()
    wrong = source.replace("  s->seen = line;", "  f->timeout_ms = s->seen;\n  s->seen = line;")
    assert wrong != source
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "astray.c").write_text(wrong)
    monkeypatch.setattr(conftest, "HERE", tmp_path)
    module = conftest.build_toy(tmp_path, "astray", conftest.LINES)
    right = invariants(module, 2)
    assert right.holds(Example(REQUEST, cuts=(len(REQUEST),)))[0]  # at once it is read as it should be
    with pytest.raises(Violation, match="pieces: piece by piece"):
        right.holds(Example(REQUEST, cuts=(len(REQUEST) - 1,)))


def test_what_is_too_large_may_be_waited_for_until_as_much_has_come_as_was_wanted():
    """Of an array whose next head is cut one byte of the value behind it is wanted, too."""
    found = msgpack(this.body)
    wire = WireFormat(
        Struct("body" / Measured(msgpack_value)),
        id=byte_id(found[0], max=9),
        response=starts(found[2], ""),
        service=found[1],
        replies=Replies(error=lambda status, variant: {"body": b"\x93\0\0\0"}),
    )
    huge = b"\x94\0\0\xc9\0\x94\0\0"
    accepted, outcome = Invariants(Protocol("arrays", wire)).holds(Example(huge, cuts=(7,)))
    assert not accepted
    assert outcome[0] == -3  # at once it is refused: PK_ERR_LIMIT


def test_framing_that_goes_on_is_asked_for_from_python(module):
    framing = native.Framing(module.lib.lines_codec(0))
    assert framing.remembers == 8
    assert framing.frame(b"Q1.=svc").result == 1
    whole = framing.frame(b"Q1.=svc m x\nQ1.=")
    assert (whole.result, whole.size) == (0, 12)
    assert framing.frame(b"Q1.=").result == 1
