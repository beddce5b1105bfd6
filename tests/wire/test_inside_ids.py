"""Ids that are no field: in maps and messages, and what counts them there."""

from __future__ import annotations

import pytest
from construct import Bytes, GreedyBytes, Int8ub, Int16ub, Prefixed, Rebuild, Struct, len_, this
from hypothesis import given, settings
from hypothesis import strategies as st
from named import AROUND, protocols, values, with_id
from programs import insns, with_insns
from world import World, table

from protokit import Status, WireFormat, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import ErrorText, Replies, Until, UVar, byte_id, first, lines, nested, pairs, split
from protokit.wire.vocabulary import varint

ALL = {name: one.wire for name, one in protocols().items() if name in AROUND}


def wire(head, request_id, **more):
    return WireFormat(
        Struct("kind" / Int8ub, *head, "body" / Prefixed(Int16ub, GreedyBytes)),
        id=request_id,
        response=this.kind == 2,
        replies=Replies(error=lambda status, variant: {"kind": 2, "body": ErrorText()}),
        **more,
    )


META = ["meta" / Prefixed(UVar(5), GreedyBytes)]
HEAD = ["head" / Prefixed(Int8ub, GreedyBytes)]
PAIRS = pairs(this.head, key=Int8ub, value=Int8ub)
LINES = lines(this.head, "=", ";")


@pytest.mark.parametrize("name", ALL)
def test_a_request_without_its_id_is_refused_and_an_answer_is_nobodys(name):
    one = ALL[name]
    bare = [one.build(values(kind, b"a.B m x") | AROUND[name]) for kind in (1, 2)]
    world = World(table([one.address]))
    client = world.client()
    asked = one.build(with_id(one, name, values(1, b"a.B m x"), b"\x07"))
    world.feed(client, asked)
    up = world.only_upstream()
    world.feed(up, bare[1])
    assert world.got[client] == b""
    assert world.stat("answers_unmatched") == 1
    world.feed(client, bare[0])
    assert len(world.upstreams) == 1
    assert one.message(bytes(world.got[up])).id == one.meaning.named.write(1)
    assert client in world.closed or world.got[client] != b""


def test_an_id_in_a_map_is_the_last_of_its_key():
    one = wire(HEAD, byte_id(PAIRS["id"], max=20))
    frame = one.build({"kind": 1, "head": b"\2id\1a\1x\1y\2id\1b\0\0", "body": b"body"})
    assert native.frame(one.address, frame).id == one.message(frame).id == b"b"
    changed = native.patch_id(one.address, frame, b"longer")
    assert one.parse(changed)[0].head == b"\2id\1a\1x\1y\2id\6longer\0\0"
    assert native.patch_id(one.address, changed, b"b") == frame
    assert native.error(one.address, Status.DENIED, b"mine", 0, b"no") == one.build(
        {"kind": 2, "head": b"\2id\4mine", "body": b"no"}
    )


def test_an_id_cannot_hold_what_ends_it():
    one = wire(HEAD, byte_id(LINES["id"], max=20))
    for head in (b"id=a;x=y", b"x=y;id=a", b"id=a;"):
        frame = one.build({"kind": 1, "head": head, "body": b"body"})
        assert native.frame(one.address, frame).id == b"a"
        assert native.patch_id(one.address, frame, b"b=c") == one.build(
            {"kind": 1, "head": head.replace(b"id=a", b"id=b=c"), "body": b"body"}
        )
        for wrong in (b";", b"a;b", b"a;"):
            with pytest.raises(LocalProtocolError, match="cannot have the id"):
                native.patch_id(one.address, frame, wrong)


def test_a_longer_id_is_refused():
    one = wire(HEAD, byte_id(LINES["id"], max=4))
    frame = one.build({"kind": 1, "head": b"id=12345", "body": b"body"})
    message = native.frame(one.address, frame)
    assert (message.result, message.error_at) == (-2, 5)
    with pytest.raises(RemoteProtocolError, match="the id has 5 bytes, 4 are allowed at most"):
        one.parse(frame)


@pytest.mark.parametrize("size", [0, 100, 116, 120, 124, 125, 126, 127, 16370, 16376, 16382])
def test_lengths_around_an_id_follow_it_over_every_width(size):
    view = nested(this.meta, 1, 2, 3, form="bytes")
    one = wire(META, byte_id(view, max=64))
    inner = b"\x0a" + varint(size) + bytes(size)
    meta = b"\x08\x05\x0a" + varint(len(inner) + 2) + b"\x12" + varint(len(inner)) + inner
    given = {"kind": 1, "meta": meta[: meta.index(b"\x0a")], "body": b"body"}
    made = dict(given)
    one.meaning.named.put(made, b"")
    sized = b"\x0a" + varint(size) + bytes(size)
    middle = b"\x12" + varint(len(sized) + 2) + sized + b"\x1a\x00"
    made["meta"] = b"\x08\x05\x0a" + varint(len(middle)) + middle
    frame = one.build(made)
    assert native.frame(one.address, frame).id == one.message(frame).id == b""
    for length in (1, 2, 3, 4, 8, 63, 64, 0):
        other = b"i" * length
        changed = native.patch_id(one.address, frame, other)
        then = dict(made)
        one.meaning.named.put(then, other)
        assert changed == one.build(then)
        assert native.patch_id(one.address, changed, b"") == frame


PIECES = st.one_of(
    st.binary(max_size=12),
    st.builds(
        lambda number, value: varint(number << 3) + varint(value),
        st.integers(1, 5),
        st.integers(0, 2**64 - 1),
    ),
    st.builds(
        lambda number, text: varint(number << 3 | 2) + varint(len(text)) + text,
        st.integers(1, 5),
        st.binary(max_size=6) | st.sampled_from([b"\x22\x02ab", b"\x20\x07"]),
    ),
    st.builds(lambda number: varint(number << 3 | 5) + b"four", st.integers(1, 5)),
    st.builds(lambda number: varint(number << 3 | 1) + b"eight by", st.integers(1, 5)),
)
FORMS = {
    "number": wire(META, byte_id(nested(this.meta, 4))),
    "inner": wire(META, byte_id(nested(this.meta, 1, 4))),
    "bytes": wire(META, byte_id(nested(this.meta, 1, 4, form="bytes"), max=64)),
}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=300, deadline=None)
@given(parts=st.lists(PIECES, max_size=5), other=st.integers(0, 2**64 - 1))
def test_what_a_message_holds_is_found_as_the_reference_finds_it(form, parts, other):
    one = FORMS[form]
    given = {"kind": 1, "meta": b"".join(parts), "body": b"body"}
    frame = one.build(given)
    found = native.frame(one.address, frame).id
    assert found == one.message(frame).id
    if found or (form == "bytes" and one._id(one.parse(frame)[0]) is not None):
        one.meaning.named.put(given, one.meaning.named.write(other))
        assert native.patch_id(one.address, frame, other) == one.build(given)


WRONG = {
    "too long for a map": (HEAD, lambda: byte_id(PAIRS["id"]), "head: say how long an id in it may be"),
    "a form of none": (
        HEAD,
        lambda: byte_id(PAIRS["id"], max=9, form="base64"),
        "the form 'base64' is not of",
    ),
    "a varint in hex": (
        META,
        lambda: byte_id(nested(this.meta, 4), form="hex"),
        "the form 'hex' is not of an id",
    ),
    "a varint in a map": (
        HEAD,
        lambda: byte_id(PAIRS["id"], max=9, form="varint"),
        "the form 'varint' is not of",
    ),
    "too long": (HEAD, lambda: byte_id(PAIRS["id"], max=65), "head: an id of up to 65 bytes; 1 to 64"),
    "two places": (
        HEAD,
        lambda: byte_id(PAIRS["a"], PAIRS["b"], max=9),
        "an id that is no field stands in one place",
    ),
    "a part": (
        HEAD,
        lambda: byte_id(split(PAIRS["a"], ":", 2)[0], max=9),
        "an id that is no field stands in one",
    ),
    "one of two": (
        HEAD,
        lambda: byte_id(first(PAIRS["a"], "x"), max=9),
        "an id that is no field stands in one",
    ),
    "no path": (META, lambda: byte_id(nested(this.meta)), "1 to 8 fields' numbers lead to a field"),
    "no number": (META, lambda: byte_id(nested(this.meta, 0)), "1 to 8 fields' numbers lead to a field"),
    "no form": (
        META,
        lambda: byte_id(nested(this.meta, 1, form="hex")),
        "the form 'hex' is none of varint, bytes",
    ),
    "a fixed section": (
        ["head" / Bytes(20)],
        lambda: byte_id(PAIRS["id"], max=9),
        "head: it always has 20 bytes, and ids in it have not",
    ),
    "a delimiter": (
        ["head" / Until(b"\n", 90)],
        lambda: byte_id(PAIRS["id"], max=9),
        "head: an id in it could hold its delimiter",
    ),
    "a line's delimiter": (
        ["head" / Prefixed(Int8ub, GreedyBytes)],
        lambda: byte_id(lines(this.head, ":", "a")["id"], max=9, form="hex"),
        "head: an id in the form hex could hold its delimiter b'a'",
    ),
    "no section": (["head" / Int8ub], lambda: byte_id(PAIRS["id"], max=9), "id: this.head is an integer"),
    "a product": (
        ["n" / Rebuild(Int8ub, len_(this.head)), "head" / Bytes(this.n), "more" / Bytes(this.n & 3)],
        lambda: byte_id(PAIRS["id"], max=9),
        "more: its length depends on that of the id head in a way that the engine cannot keep right, since",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_be_no_id_says_why(name):
    head, make, why = WRONG[name]
    with pytest.raises(DeclarationError, match=why):
        wire(head, make())


def test_a_program_whose_id_need_not_stand_in_the_frame_is_refused():
    image = wire(HEAD, byte_id(LINES["id"], max=9)).image("x")
    wrong = insns(image)
    at = next(number for number, one in enumerate(wrong) if one[0] == "NAMED_IN")
    wrong[at - 1] = ["LITERAL", wrong[at][1], 0, 0, 0]
    with pytest.raises(DeclarationError, match="NAMED_IN.*need not stand in the frame"):
        native.declared(with_insns(image, wrong))
