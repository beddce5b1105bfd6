"""Protobuf's attachments in Dubbo are said twice: which pair counts is the same however it is asked for."""

from __future__ import annotations

import struct
from itertools import product

import pytest
from protokit_dubbo import dubbo

from protokit._native import ffi, lib


def field(tag: int, value: bytes) -> bytes:
    assert len(value) < 128
    return bytes([tag, len(value)]) + value


def said(text: bytes, tag: int = 0x0A) -> bytes:
    return field(tag, field(0x0A, b"k") + field(0x12, text))


def typed(text: bytes) -> bytes:
    """As later extensions do: the type and the text, two items in an Any of no type."""
    kind = b"java.lang.String"
    return said(field(0x12, bytes([len(kind) + 2]) + field(0x0A, kind) + b"\3" + field(0x0A, text)), 0x12)


def frame(pairs: bytes) -> bytes:
    front = b"".join(bytes([len(text) + 2]) + field(0x0A, text) for text in (b"2.0.2", b"a.B", b"1.0", b"m"))
    body = front + b"\0" + bytes([len(pairs) & 127 | 128, len(pairs) >> 7]) + pairs
    return struct.pack(">HBBQI", 0xDABB, 0xC0 | 22, 0, 7, len(body)) + body


def found(data: bytes, key: bytes | None) -> list[tuple[int, bytes]]:
    """How the codec tells of one header, or of all in their order: what kind of value, and the bytes."""
    array, pinned, codec = ffi.new("pk_header_info[]", 16), ffi.from_buffer(data), dubbo.wire.address
    if key is None:
        count = lib.pk_codec_headers(codec, pinned, len(data), 0, array, 16)
    else:
        count = 1 - lib.pk_codec_header(codec, pinned, len(data), 0, key, len(key), array)
    assert count >= 0, count
    return [(one.raw, bytes(ffi.buffer(one.value.data, one.value.size))) for one in array[0:count]]


PAIRS = {"x": said(b"x"), "y": said(b"y"), "typed x": typed(b"x"), "typed y": typed(b"y")}


@pytest.mark.parametrize("first", PAIRS)
def test_by_its_key_it_is_the_last_of_those_one_by_one(first):
    for names in (rest for size in range(4) for rest in product(PAIRS, repeat=size)):
        data = frame(b"".join(PAIRS[name] for name in (first, *names)))
        assert found(data, b"k") == found(data, None)[-1:], names


def test_the_two_forms_are_read():
    assert found(frame(PAIRS["x"] + PAIRS["typed x"]), b"k") == [(0, b"x")]
    assert found(frame(PAIRS["x"] + PAIRS["typed y"]), b"k")[0][0] == lib.PK_RAW_VEILED
