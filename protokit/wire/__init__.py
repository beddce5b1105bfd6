"""Wire protocols: declared formats, native codecs, codecs in Python. Imports errors, model and native.

What is named here is imported on first use: declared formats need construct, native codecs do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from construct import this

    from protokit.wire.checksums import adler32, crc16, crc32, crc32c, sum8, sum16, sum32
    from protokit.wire.codec import Codec, Wire
    from protokit.wire.conversation import Frame, Peer, Reply
    from protokit.wire.counted import Counted
    from protokit.wire.format import WireFormat
    from protokit.wire.greeting import Greeting, Turn, optional
    from protokit.wire.ids import byte_id
    from protokit.wire.known import asked
    from protokit.wire.measures import (
        Measure,
        Measured,
        ber_value,
        json_value,
        msgpack_value,
        resp_value,
    )
    from protokit.wire.message import Message
    from protokit.wire.protocol import NativeCodec, Protocol
    from protokit.wire.python import PythonCodec
    from protokit.wire.repeats import Repeat
    from protokit.wire.replies import ErrorText, Replies, kept
    from protokit.wire.requested import FromPeer, FromRequest
    from protokit.wire.sides import side
    from protokit.wire.steps import hessian2_strings, hessian_fields
    from protokit.wire.structures import ber, blocks, json, msgpack, protobuf, thrift, tlv
    from protokit.wire.views import Step
    from protokit.wire.vocabulary import Ahead, Chunks, Until, UntilEnd, UVar, lengths, size_
    from protokit.wire.words import (
        decimal,
        first,
        isin,
        lines,
        number,
        pairs,
        split,
        starts,
        step,
        table,
        text,
    )

_MODULES = {
    "construct": ("this",),
    "protokit.wire.known": ("asked",),
    "protokit.wire.checksums": ("adler32", "crc16", "crc32", "crc32c", "sum8", "sum16", "sum32"),
    "protokit.wire.codec": ("Codec", "Wire"),
    "protokit.wire.counted": ("Counted",),
    "protokit.wire.format": ("WireFormat",),
    "protokit.wire.ids": ("byte_id",),
    "protokit.wire.greeting": ("Greeting", "Turn", "optional"),
    "protokit.wire.requested": ("FromPeer", "FromRequest"),
    "protokit.wire.message": ("Message",),
    "protokit.wire.protocol": ("NativeCodec", "Protocol"),
    "protokit.wire.conversation": ("Frame", "Peer", "Reply"),
    "protokit.wire.python": ("PythonCodec",),
    "protokit.wire.replies": ("ErrorText", "Replies", "kept"),
    "protokit.wire.measures": (
        "Measure",
        "Measured",
        "ber_value",
        "json_value",
        "msgpack_value",
        "resp_value",
    ),
    "protokit.wire.repeats": ("Repeat",),
    "protokit.wire.sides": ("side",),
    "protokit.wire.steps": ("hessian2_strings", "hessian_fields"),
    "protokit.wire.structures": ("ber", "blocks", "json", "msgpack", "protobuf", "thrift", "tlv"),
    "protokit.wire.views": ("Step",),
    "protokit.wire.words": (
        "decimal",
        "first",
        "isin",
        "lines",
        "number",
        "pairs",
        "split",
        "starts",
        "step",
        "table",
        "text",
    ),
    "protokit.wire.vocabulary": ("Ahead", "Chunks", "UVar", "Until", "UntilEnd", "lengths", "size_"),
}
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Ahead",
    "Chunks",
    "Codec",
    "Counted",
    "ErrorText",
    "Frame",
    "FromPeer",
    "FromRequest",
    "Greeting",
    "Measure",
    "Measured",
    "Message",
    "NativeCodec",
    "Peer",
    "Protocol",
    "PythonCodec",
    "Repeat",
    "Replies",
    "Reply",
    "Step",
    "Turn",
    "UVar",
    "Until",
    "UntilEnd",
    "Wire",
    "WireFormat",
    "adler32",
    "asked",
    "ber",
    "ber_value",
    "blocks",
    "byte_id",
    "crc16",
    "crc32",
    "crc32c",
    "decimal",
    "first",
    "hessian2_strings",
    "hessian_fields",
    "isin",
    "json",
    "json_value",
    "kept",
    "lengths",
    "lines",
    "msgpack",
    "msgpack_value",
    "number",
    "optional",
    "pairs",
    "protobuf",
    "resp_value",
    "side",
    "size_",
    "split",
    "starts",
    "step",
    "sum8",
    "sum16",
    "sum32",
    "table",
    "text",
    "this",
    "thrift",
    "tlv",
]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'protokit.wire' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
