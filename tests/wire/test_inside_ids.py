"""Ids that are no field: in maps and messages, and what counts them there."""

from __future__ import annotations

import re

import pytest
from construct import Bytes, GreedyBytes, Int8ub, Int16ub, Prefixed, Rebuild, Struct, len_, this
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from named import AROUND, protocols, values, with_id
from programs import insns, with_insns
from world import World, table

from protokit import Status, WireFormat, native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire import (
    ErrorText,
    Replies,
    Until,
    UVar,
    byte_id,
    first,
    json,
    lines,
    msgpack,
    pairs,
    protobuf,
    split,
    thrift,
)
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
    asked = one.build(with_id(one, name, values(1, b"a.B m x"), one.meaning.named.write(7)))
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
    one = wire(META, byte_id(protobuf(this.meta)[1][2][3], max=64, form="decimal"))
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
    "number": wire(META, byte_id(protobuf(this.meta)[4])),
    "inner": wire(META, byte_id(protobuf(this.meta)[1][4])),
    "bytes": wire(META, byte_id(protobuf(this.meta)[1][4], max=64, form="decimal")),
}


def tagged(number, kind, rest=b""):
    return varint(number << 3 | kind) + rest


def section(number, value):
    return tagged(number, 2, varint(len(value)) + value)


SEVEN, NINE = tagged(4, 0, b"\x07"), tagged(4, 0, b"\x09")
OTHERS = tagged(2, 0, b"\x05") + section(3, b"text") + tagged(5, 5, b"four") + tagged(5, 1, b"eight by")
MESSAGES = {
    "nothing": b"",
    "only others": OTHERS,
    "the number alone": SEVEN,
    "the number twice": SEVEN + NINE,
    "the number first and last": SEVEN + OTHERS + NINE,
    "the number between": OTHERS + SEVEN + OTHERS,
    "the largest number": tagged(4, 0, varint(2**64 - 1)),
    "a larger number": SEVEN + tagged(4, 0, b"\xff" * 9 + b"\x02"),
    "a number longer than it must be": SEVEN + tagged(4, 0, b"\x87\x00"),
    "a number without an end": SEVEN + tagged(4, 0, b"\xff" * 11),
    "the number as text": SEVEN + section(4, b"text"),
    "the number as four bytes": SEVEN + tagged(4, 5, b"four"),
    "the number as eight": SEVEN + tagged(4, 1, b"eight by"),
    "a message": section(1, SEVEN),
    "a message twice": section(1, SEVEN) + section(1, NINE),
    "a message, then an empty one": section(1, SEVEN) + section(1, b""),
    "the number twice in a message": section(1, SEVEN + NINE),
    "a message that is a number": section(1, SEVEN) + tagged(1, 0, b"\x05"),
    "text in a message": section(1, section(4, b"ab")),
    "text twice in a message": section(1, section(4, b"ab") + OTHERS + section(4, b"c")),
    "empty text in a message": section(1, section(4, b"ab") + section(4, b"")),
    "text, then a number in a message": section(1, section(4, b"ab") + SEVEN),
    "messages and numbers": section(1, OTHERS + SEVEN + section(4, b"ab")) + OTHERS + SEVEN,
    **{f"a field of the type {kind}": SEVEN + section(1, SEVEN) + tagged(2, kind) for kind in (3, 4, 6, 7)},
    "a field without a number": SEVEN + section(1, SEVEN) + b"\x00\x05",
    "the largest field": SEVEN + section(1, SEVEN) + tagged(2**29 - 1, 0, b"\x05"),
    "a larger field": SEVEN + section(1, SEVEN) + tagged(2**29, 0, b"\x05"),
    "a field that the number would be in 32 bits": tagged(2**32 + 4, 0, b"\x07"),
    "a length past the message": SEVEN + section(1, SEVEN) + tagged(2, 2, b"\x0aab"),
    "a length past all bytes": SEVEN + section(1, SEVEN) + tagged(2, 2, varint(2**64 - 1) + b"ab"),
    "a length past the inner message": section(1, SEVEN + section(4, b"ab") + tagged(2, 2, b"\x02a")) + SEVEN,
}


def finds_and_writes_as_the_reference(form, message, other):
    one = FORMS[form]
    given = {"kind": 1, "meta": message, "body": b"body"}
    frame = one.build(given)
    found = native.frame(one.address, frame).id
    assert found == one.message(frame).id
    if found or (form == "bytes" and one.id_of(one.parse(frame)[0]) is not None):
        one.meaning.named.put(given, one.meaning.named.write(other))
        assert native.patch_id(one.address, frame, other) == one.build(given)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MESSAGES)
def test_what_a_message_holds_is_found_whole_and_at_every_cut(name, form):
    message = MESSAGES[name]
    for other in (0, 127, 128, 2**64 - 1):
        finds_and_writes_as_the_reference(form, message, other)
    for size in range(len(message)):
        finds_and_writes_as_the_reference(form, message[:size], 300)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=many(300), deadline=None)
@given(parts=st.lists(PIECES, max_size=5), other=st.integers(0, 2**64 - 1))
def test_what_a_message_holds_is_found_as_the_reference_finds_it(form, parts, other):
    finds_and_writes_as_the_reference(form, b"".join(parts), other)


WRONG = {
    "too long for a map": (HEAD, lambda: byte_id(PAIRS["id"]), "head: say how long an id in it may be"),
    "a form of none": (
        HEAD,
        lambda: byte_id(PAIRS["id"], max=9, form="base64"),
        "the form 'base64' is not of",
    ),
    "a form of another structure": (
        META,
        lambda: byte_id(protobuf(this.meta)[4], form="quoted"),
        "an id that stands in protobuf(this.meta)[4]; varint, decimal, hex, raw may be",
    ),
    "a number in hex": (
        HEAD,
        lambda: byte_id(json(this.head)["id"], form="hex", max=40),
        "not of an id that stands in json(this.head)['id']; decimal, quoted may be",
    ),
    "all of a structure": (
        HEAD,
        lambda: byte_id(json(this.head), max=40),
        "no id stands in json(this.head); it",
    ),
    "a structure without ids": (
        HEAD,
        lambda: byte_id(thrift(this.head, "binary")[1], max=40),
        "no id stands in thrift(this.head, 'binary')[1]; it is a field of protobuf, tlv, json, msgpack or",
    ),
    "a map of protobuf": (
        META,
        lambda: byte_id(protobuf(this.meta)[4]["id"]),
        "protobuf(this.meta)[4]['id'] is looked for by 'id', and an id is found by numbers there",
    ),
    "too short for a number": (
        HEAD,
        lambda: byte_id(json(this.head)["id"], max=4, form="quoted"),
        "head: 4 bytes hold no number of a byte in the form quoted; say max=22",
    ),
    "a varint that counts, and another length": (
        [
            "size" / Rebuild(UVar(3), len_(this.head)),
            "front" / Rebuild(Int8ub, len_(this.head)),
            "head" / Bytes(this.front),
            "more" / Bytes(this.size - this.front),
        ],
        lambda: byte_id(json(this.head)["id"], max=40),
        "head: a UVar counts the id only alone; use integers of fixed width",
    ),
    "no maximum": (HEAD, lambda: byte_id(json(this.head)["id"]), "head: say how long an id in it may be"),
    "a delimiter in a text": (
        ["head" / Until(b"}", 90)],
        lambda: byte_id(json(this.head)["id"], max=20),
        "head: an id in it could hold its delimiter",
    ),
    "a delimiter in bytes": (
        ["head" / Until(b"\n", 90)],
        lambda: byte_id(msgpack(this.head)[1]),
        "head: an id in it could hold its delimiter",
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
    with pytest.raises(DeclarationError, match=re.escape(why)):
        wire(head, make())


def test_a_program_whose_id_need_not_stand_in_the_frame_is_refused():
    image = wire(HEAD, byte_id(LINES["id"], max=9)).image("x")
    wrong = insns(image)
    at = next(number for number, one in enumerate(wrong) if one[0] == "NAMED_IN")
    wrong[at - 1] = ["LITERAL", wrong[at][1], 0, 0, 0]
    with pytest.raises(DeclarationError, match="NAMED_IN.*need not stand in the frame"):
        native.declared(with_insns(image, wrong))
