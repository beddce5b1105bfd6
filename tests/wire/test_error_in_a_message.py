"""An error's text inside a protobuf message: a varint counts it, and the id stands in the same message."""

from __future__ import annotations

import pytest
from construct import Bytes, Int8ub, Int16ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status, native
from protokit.errors import DeclarationError
from protokit.testing.voices import DeclaredVoice
from protokit.wire import (
    ErrorText,
    Replies,
    UVar,
    WireFormat,
    byte_id,
    lines,
    number,
    protobuf,
    table,
)

SIZES = [0, 1, 126, 127, 128, 129, 255, 256, 511, 512]


def message(count, *, after=b""):
    """The id is field 2, the text field 3; a total counts the message once more."""
    meta = protobuf(this.meta)
    return WireFormat(
        Struct(
            "meta_size" / Rebuild(Int16ub, len_(this.meta)),
            "kind" / Int8ub,
            "total" / Rebuild(Int32ub, len_(this.meta) + len_(this.body)),
            "meta" / Bytes(this.meta_size),
            "body" / Bytes(this.total - this.meta_size),
        ),
        id=byte_id(meta[2]),
        response=this.kind == 2,
        status=table(number(meta[1]), {1: Status.OK}, Status.INTERNAL),
        service=meta[3],
        replies=Replies(
            error=lambda status, variant: {
                "kind": 2,
                "meta": ErrorText(before=b"\x08\x05\x1a", after=after, count=count),
                "body": b"!",
            }
        ),
    )


@pytest.mark.parametrize("after", [b"", b"\x25abcd"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("request_id", [0, 127, 128, 1 << 40])
def test_a_varint_counts_the_text_and_all_lengths_follow(request_id, size, after):
    wire = message(UVar(2), after=after)
    protocol = Protocol("message", wire)
    request = wire.build({"kind": 1, "meta": b"\x10\7\x1a\1s", "body": b""})
    request = native.patch_id(wire.address, request, request_id)
    reply = wire.ask.error(Status.INTERNAL, wire.ask.frame(request).id, 0, b"t" * size)
    one = wire.message(reply)
    assert (one.size, one.kind, one.id) == (len(reply), "response", wire.message(request).id)
    assert (protobuf(this.meta)[3].get(one.fields) or b"") == b"t" * size
    assert bytes(one.fields.body) == b"!"
    assert reply == DeclaredVoice(protocol).error(Status.INTERNAL, request, "t" * size)


@pytest.mark.parametrize("size", SIZES)
def test_a_varint_counts_a_section_in_which_a_varint_counts_the_text(size):
    wire = WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int32ub,
            "size" / Rebuild(UVar(3), len_(this.meta)),
            "meta" / Bytes(this.size),
        ),
        id=this.id,
        response=this.kind == 2,
        replies=Replies(error=lambda *_: {"kind": 2, "meta": ErrorText(b"\x1a", count=UVar(3))}),
    )
    reply = wire.ask.error(Status.INTERNAL, 7, 0, b"t" * size)
    one = wire.message(reply)
    assert (one.size, one.id) == (len(reply), 7)
    assert (protobuf(this.meta)[3].get(one.fields) or b"") == b"t" * size


def test_what_a_varint_has_no_room_for_is_cut():
    wire = message(UVar(1))
    one = wire.message(wire.ask.error(Status.INTERNAL, b"\7", 0, b"t" * 300))
    assert protobuf(this.meta)[3].get(one.fields) == b"t" * 127


HEAD = lines(this.head, ": ", "\n")


def with_head(head):
    return WireFormat(
        Struct("kind" / Int8ub, "size" / Rebuild(Int16ub, len_(this.head)), "head" / Bytes(this.size)),
        id=byte_id(HEAD["id"], max=8),
        response=this.kind == 2,
        status=table(this.kind, {1: Status.OK}, Status.INTERNAL),
        replies=Replies(error=lambda status, variant: {"kind": 2, "head": head}),
    )


@pytest.mark.parametrize("head", [[b"id: 0\nwhy: ", ErrorText()], [b"why: ", ErrorText()]])
def test_an_id_stands_in_a_map_with_the_text_whoever_wrote_it(head):
    wire = with_head(head)
    one = wire.message(wire.ask.error(Status.INTERNAL, b"abc", 0, b"because"))
    assert (one.id, HEAD["why"].get(one.fields)) == (b"abc", b"because")


def test_an_id_beside_the_text_that_is_another_is_refused_with_what_to_write():
    with pytest.raises(
        DeclarationError, match="NO_SERVICE: the id in head has to be '0', for which the engine"
    ):
        with_head([b"id: 5\nwhy: ", ErrorText()])
