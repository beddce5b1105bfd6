"""Parts one behind the other: up to a flag, as many as a count says, or until their sizes come to a sum."""

from __future__ import annotations

import pytest
from construct import (
    Bytes,
    Check,
    Const,
    GreedyBytes,
    If,
    Int8sb,
    Int8ub,
    Int16ub,
    Int64ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)
from fewer import many
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protokit import native
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.testing import frames, spoiled
from protokit.wire import (
    ErrorText,
    Measured,
    Repeat,
    Replies,
    Until,
    UVar,
    WireFormat,
    msgpack_value,
    side,
    split,
    text,
)

QUICK = settings(max_examples=many(60), deadline=None, suppress_health_check=list(HealthCheck))
OK, MORE, FORMAT, LIMIT = 0, 1, -2, -3


def made(*fields, values, **more):
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, *fields),
        id=this.id,
        response=this.kind == 1,
        replies=Replies(error=lambda status, variant: {"kind": 1, **values}),
        **more,
    )


FRAGMENTS = made(
    "fragments"
    / Repeat(
        Struct("last" / Int8ub, Check(this.last <= 3), "data" / Prefixed(Int8ub, GreedyBytes)),
        until=(this.last & 1) == 1,
    ),
    "end" / Int8ub,
    values={"fragments": ErrorText(before=b"\1", count=Int8ub), "end": 0},
    service=text(this.fragments),
)
NAMES = made(
    "n" / Int8sb,
    "names" / Repeat(Until(b"\0", max=20), count=this.n),
    "end" / Int8ub,
    values={"n": 1, "names": [ErrorText(), b"\0"], "end": 0},
    service=split(this.names, "\0", 3)[0],
    method=split(this.names, "\0", 3)[1],
)
BODIES = made(
    "total" / Int64ub,
    "bodies"
    / Repeat(
        Struct(
            Const(b"\3"),
            "size" / Rebuild(Int16ub, len_(this.data)),
            "data" / Bytes(this.size),
            Const(b"\xce"),
        ),
        adding=this.size,
        to=this.total,
    ),
    values={"total": 2, "bodies": b"\3\0\2no\xce"},
)
# Parts in parts, what may be absent in each, what stands in front of all, values that measure themselves.
DEEP = made(
    "wide" / Int8ub,
    "rows"
    / Repeat(
        Struct(
            "n" / Int8ub,
            "mark" / If(this._.wide == 1, UVar(3)),
            "cells"
            / Repeat(
                Struct("tag" / Int8ub, "value" / If(this.tag >= this._._.wide, Measured(msgpack_value))),
                until=this.tag == this._.n,
            ),
        ),
        until=(this.n == 0) | (this.mark == 7),
    ),
    values={"wide": 0, "rows": b"\0\0\xc0"},
)
HEAD = b"\0\0\7"
# Of each format: frames, cut into the smallest pieces after each of which something is known.
RIGHT = {
    "one fragment": (FRAGMENTS, b"\1\0" + b"\xff"),
    "fragments": (FRAGMENTS, b"\0\3abc" + b"\2\0" + b"\0\0" + b"\3\1x" + b"\1"),
    "no names": (NAMES, b"\0" + b"!"),
    "names": (NAMES, b"\3" + b"ab\0" + b"\0" + b"c\0" + b"!"),
    "no bodies": (BODIES, bytes(8)),
    "a body": (BODIES, bytes(7) + b"\2" + b"\3\0\2ab\xce"),
    "bodies": (BODIES, bytes(7) + b"\5" + b"\3\0\2ab\xce" + b"\3\0\0\xce" + b"\3\0\3\3\0\3\xce"),
    "a row": (DEEP, b"\5" + b"\0" + b"\0"),
    "rows": (DEEP, b"\0" + b"\2" + b"\1\xc0" + b"\2\x92\1\xa1x" + b"\0" + b"\0\1"),
    "marked rows": (DEEP, b"\1" + b"\2\x81\1" + b"\0" + b"\2\xc0" + b"\3\7" + b"\3\xc0"),
}
# What is wrong, with its last byte only.
WRONG = {
    "a fragment of no kind": (FRAGMENTS, b"\0\0" + b"\4\0"),
    "names of less than none": (NAMES, b"\xff\0"),
    "a name that is too long": (NAMES, b"\1" + b"x" * 21),
    "more bodies than there are": (BODIES, bytes(7) + b"\1" + b"\3\0\2ab\xce"),
    "another part": (BODIES, bytes(7) + b"\1" + b"\4"),
    "another end of a part": (BODIES, bytes(7) + b"\2" + b"\3\0\1a\xcd"),
    "a sum below none": (BODIES, b"\xff" + bytes(7)),
    "a value of none": (DEEP, b"\0" + b"\1" + b"\1\xc1"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_parts_end_where_they_say(name):
    wire, data = RIGHT[name]
    frame = HEAD + data
    assert wire.parse(frame)[1] == len(frame)
    for behind in (b"", b"\0", HEAD + b"\1", b"\xff" * 9):
        message = native.frame(wire.address, frame + behind)
        assert (message.result, message.size, message.id) == (OK, len(frame), 7)
    assert wire.build(wire.parse(frame)[0]) == frame
    assert b"".join(piece.raw for piece in wire.explain(frame)) == frame


@pytest.mark.parametrize("name", RIGHT)
def test_every_cut_is_waited_for(name):
    wire, data = RIGHT[name]
    frame = HEAD + data
    framing = native.Framing(wire.address)
    for _ in range(2):  # the second one begins anew
        for cut in range(1, len(frame)):
            alone = native.frame(wire.address, frame[:cut])
            assert alone.result == MORE
            assert cut < alone.need <= len(frame)
            assert framing.frame(frame[:cut]) == alone
            with pytest.raises(EOFError):
                wire.parse(frame[:cut])
        assert framing.frame(frame).size == len(frame)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_at_once_and_its_sender_told(name):
    wire, data = WRONG[name]
    frame = HEAD + data
    message = native.frame(wire.address, frame)
    assert message.result == (LIMIT if "too long" in name else FORMAT)
    assert message.id == 7
    with pytest.raises(RemoteProtocolError):
        wire.parse(frame)
    if name != "names of less than none":
        assert native.frame(wire.address, frame[:-1]).result == MORE
    framing = native.Framing(wire.address)
    results = [framing.frame(frame[:size]).result for size in range(1, len(frame) + 1)]
    assert set(results[:-1]) <= {MORE, message.result}


def test_what_was_framed_is_not_framed_again():
    """All parts but the last are overwritten when they have been read."""
    parts = [b"\0\3abc"] * 200 + [b"\1\0"]
    frame = HEAD + b"".join(parts) + b"!"
    framing = native.Framing(FRAGMENTS.address)
    for size in range(1, len(frame)):
        gone = min(max(3, size - 5), len(frame) - 3)
        assert framing.frame(HEAD + (b"\1\0" * 600)[: gone - 3] + frame[gone:size]).result == MORE
    assert framing.frame(frame).size == len(frame)
    assert 0 < native.state_size(FRAGMENTS.address) <= 4096


def test_parts_over_the_limit_are_refused():
    frame = HEAD + b"\0\3abc" * 20 + b"\1\0!"
    assert native.frame(FRAGMENTS.address, frame, len(frame)).result == OK
    for limit in range(3, len(frame)):
        message = native.frame(FRAGMENTS.address, frame, limit)
        assert (message.result, message.id) == (LIMIT, 7)
        assert (message.size, message.need) == (len(frame), len(frame))
    endless = HEAD + b"\0\0" * 40_000
    message = native.frame(FRAGMENTS.address, endless, 1 << 16)
    assert (message.result, message.id) == (LIMIT, 7)


def test_what_is_absent_in_a_part_is_not_that_of_the_part_before():
    """A mark of 7 ends all; in a part that has none it is 0."""
    wire = made(
        "rows"
        / Repeat(
            Struct("n" / Int8ub, "mark" / If(this.n == 1, Int8ub)), until=(this.n == 2) & (this.mark == 0)
        ),
        values={"rows": b"\2"},
    )
    frame = HEAD + b"\1\5" + b"\2"
    assert native.frame(wire.address, frame).size == len(frame) == wire.parse(frame)[1]


def test_the_side_tells_in_parts_too():
    wire = WireFormat(
        Struct(
            "id" / Int16ub,
            "all"
            / Repeat(Struct("last" / Int8ub, "more" / If(side == "server", Int8ub)), until=this.last == 1),
        ),
        id=this.id,
        response=side == "server",
        replies=Replies(error=lambda *_: {"all": b"\1\0"}),
    )
    frame = b"\0\7" + b"\0\1"
    assert native.frame(wire.address, frame, side="client").size == 4
    assert wire.parse(frame, "client")[1] == 4
    assert native.frame(wire.address, frame, side="server").result == MORE


def test_no_parts_are_an_empty_section():
    """Also where a section of more parts stood in the same place before."""
    for data, service in ((b"\2ab\0c\0!", "ab"), (b"\0!", "")):
        assert native.request(NAMES.address, HEAD + data).service == service


def test_views_find_what_stands_in_parts_and_write_it():
    frame = HEAD + b"\3svc\0call\0rest\0!"
    found = native.request(NAMES.address, frame)
    assert (found.service, found.method) == ("svc", "call")
    edited = NAMES.edit(frame, [(native.EDIT_METHOD, "", "other")])
    assert edited == HEAD + b"\3svc\0other\0rest\0!"


@pytest.mark.parametrize(
    ("wire", "values"),
    [
        (FRAGMENTS, {"fragments": b"\0\0", "end": 0}),
        (FRAGMENTS, {"fragments": b"\1\0\1\0", "end": 0}),
        (FRAGMENTS, {"fragments": b"\4\0", "end": 0}),
        (NAMES, {"n": 2, "names": b"a\0", "end": 0}),
        (NAMES, {"n": 0, "names": b"a\0", "end": 0}),
        (BODIES, {"total": 3, "bodies": b"\3\0\2ab\xce"}),
    ],
)
def test_what_is_not_all_parts_cannot_be_built(wire, values):
    with pytest.raises(LocalProtocolError, match="is not all of its parts, and nothing else"):
        wire.build({"kind": 0, "id": 1, **values})


def test_errors_are_parts_too():
    for wire in (FRAGMENTS, NAMES, BODIES, DEEP):
        for said in (b"", b"why", b"x" * 400):
            reply = native.error(wire.address, 4, 9, 0, said, b"")
            assert (native.frame(wire.address, reply).size, wire.parse(reply)[1]) == (len(reply), len(reply))


@QUICK
@given(st.data())
@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(FRAGMENTS, id="flag"),
        pytest.param(NAMES, id="count"),
        pytest.param(BODIES, id="sum"),
        pytest.param(DEEP, id="deep", marks=pytest.mark.slow),  # so many are drawn until one fits together
    ],
)
def test_any_frames_are_framed_as_construct_reads_them(wire, data):
    frame = data.draw(frames(wire) | spoiled(frames(wire)))
    message = native.frame(wire.address, frame)
    try:
        size = wire.parse(frame)[1]
    except EOFError:
        assert message.result in {MORE, LIMIT}
    except RemoteProtocolError:
        assert message.result in {MORE, FORMAT, LIMIT}  # fields at fixed distances are waited for together
    else:
        assert (message.result, message.size) == (OK, size)
    framing = native.Framing(wire.address)
    for size in range(1, len(frame) + 1):
        assert framing.frame(frame[:size]) == native.frame(wire.address, frame[:size])
        if native.frame(wire.address, frame[:size]).result != MORE:
            break


def test_what_is_counted_may_stand_deeper_in_a_part():
    """Its name is known in the part alone."""
    wire = made(
        "count" / Int8ub,
        "parts"
        / Repeat(
            Struct("inner" / Struct("total" / Rebuild(Int8ub, len_(this.data)), "data" / Bytes(this.total))),
            count=this.count,
        ),
        values={"count": 0, "parts": b""},
    )
    frame = wire.build({"kind": 0, "id": 1, "count": 1, "parts": b"\3abc"})
    assert frame == b"\0\0\1\1\3abc"
    assert native.frame(wire.address, frame).size == len(frame)
