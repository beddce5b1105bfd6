"""Random declarations whose ids the engine only reads, and the reference: frames, pieces of them, errors."""

from __future__ import annotations

import pytest
from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    GreedyBytes,
    Int8ub,
    Int16ub,
    Int16ul,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)
from fewer import many
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protokit import Protocol, Status, WireFormat, native
from protokit.errors import RemoteProtocolError
from protokit.testing.voices import DeclaredVoice
from protokit.wire import (
    ErrorText,
    FromRequest,
    Replies,
    Until,
    byte_id,
    crc32,
    first,
    lines,
    split,
)

MODES = ("pinned", "ordered", "pingpong")
FLAGS = Rebuild(Int8ub, len_(this.id))


def plain(request_id):
    return {"id": request_id}


def part(request_id):
    """Of the text in front."""
    whole = isinstance(request_id, bytes)
    return {"head": b"a " + request_id + b" b" if whole else [b"a ", request_id, b" b"]}


def second(request_id):
    return {"head": b"x=y;", "id": request_id}


# (fields, the id, its values, what it may have no byte of)
IDS = {
    "flags": ((("count" / FLAGS), "id" / Bytes(this.count & 127)), this.id, plain, b""),
    "bits": (
        ("h" / BitStruct("m" / BitsInteger(2), "n" / BitsInteger(6)), "id" / Bytes(this.h.n)),
        this.id,
        None,
        b"",
    ),
    "until": (("id" / Until(b"1", max=64),), this.id, plain, b"1"),
    "one": (("id" / Bytes(1),), this.id, plain, b""),
    "part": (("head" / Until(b"\n", max=90),), split(this.head, " ", 3)[1], part, b" \n"),
    "first": (
        ("head" / Until(b"\n", max=90), "id" / Prefixed(Int8ub, GreedyBytes)),
        first(lines(this.head, "=", ";")["id"], this.id),
        second,
        b"",
    ),
}
ROOM = {"one": 1}


def made(name, mode, fields, *, summed, most):
    """The format, and the id of it."""
    own, where, values, _ = IDS[name]
    about = byte_id(where, max=ROOM.get(name, most))
    more = [*fields, *([] if not summed else ["crc" / Int32ub])]
    error = None
    if values is not None:
        others = dict.fromkeys((field.name for field in fields), 0)
        error = lambda status, variant: {  # noqa: E731
            "kind": 2,
            **others,
            **values(FromRequest(about)),
            "text": ErrorText(),
        }
    return WireFormat(
        Struct("kind" / Int8ub, *own, "text" / Prefixed(Int16ub, GreedyBytes), *more),
        id=about,
        response=this.kind == 2,
        mode=mode,
        checksum=crc32(this.crc, over="before") if summed else (),
        replies=Replies(error=error),
    )


def verdict(wire, data):
    seen = wire.ask.frame(data)
    return (seen.kind, seen.size, seen.id) if seen.result == 0 else None


def reference(wire, data):
    try:
        seen = wire.message(data)
    except (EOFError, RemoteProtocolError):
        return None
    kinds = {"request": native.KIND_REQUEST, "response": native.KIND_RESPONSE}
    return kinds[seen.kind], seen.size, seen.id


@pytest.mark.parametrize("name", IDS)
def test_random_declarations_agree_with_construct(name):
    @settings(max_examples=many(60), deadline=None)
    @given(
        st.sampled_from(MODES),
        st.lists(st.sampled_from([Int8ub, Int16ul, Int32ub]), max_size=3),
        st.booleans(),
        st.integers(1, 63),
        st.binary(max_size=64),
        st.binary(max_size=40),
        st.integers(0, 200),
        st.integers(0, 255),
    )
    @example("pinned", [], False, 20, b"abcdefghij" * 2, b"hello", 0, 7)
    @example("ordered", [Int16ul], True, 20, b"a", b"", 1, 255)
    def agrees(mode, kinds, summed, most, some, text, at, byte):
        _, _, values, never = IDS[name]
        fields = [f"f{number}" / kind for number, kind in enumerate(kinds)]
        wire = made(name, mode, fields, summed=summed, most=most)
        assert not native.rewrites_ids(wire.address)
        most = ROOM.get(name, most)
        request_id = bytes(one for one in some if one not in never)[:most]
        request_id = request_id.rjust(1, b"z") if name == "one" else request_id
        given_ = {one.name: 3 for one in fields} | {"kind": 1, "text": text}
        said = (
            {"h": {"m": 1, "n": len(request_id)}, "id": request_id} if values is None else values(request_id)
        )
        frame = wire.build({**given_, **said})
        assert verdict(wire, frame) == reference(wire, frame) == (native.KIND_REQUEST, len(frame), request_id)
        assert verdict(wire, frame + frame) == (native.KIND_REQUEST, len(frame), request_id)
        for cut in range(1, len(frame)):
            assert wire.ask.frame(frame[:cut]).result == 1
        bad = bytearray(frame)
        bad[at % len(frame)] = byte
        assert verdict(wire, bytes(bad)) == reference(wire, bytes(bad))
        asked, kept = wire.ask.frame(frame), wire.ask.keep(frame)
        reply = wire.ask.error(Status.TIMEOUT, asked.id, asked.context, b"why", kept)
        assert reply == DeclaredVoice(Protocol("x", wire)).error(Status.TIMEOUT, frame, "why")
        if values is not None:
            assert verdict(wire, reply) == (native.KIND_RESPONSE, len(reply), request_id)

    agrees()
