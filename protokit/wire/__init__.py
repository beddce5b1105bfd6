"""Wire protocols: declared formats, native codecs, codecs in Python. Imports errors, model and native."""

from __future__ import annotations

from construct import this

from protokit.wire.format import ErrorText, Greeting, Message, Replies, WireFormat, kept
from protokit.wire.ids import byte_id
from protokit.wire.protocol import NativeCodec, Protocol
from protokit.wire.python import Frame, PythonCodec
from protokit.wire.steps import hessian2_strings, hessian_fields
from protokit.wire.views import Step, crc32, first, lines, number, pairs, split, step, table, text
from protokit.wire.vocabulary import Chunks, Until, UVar, lengths

__all__ = [
    "Chunks",
    "ErrorText",
    "Frame",
    "Greeting",
    "Message",
    "NativeCodec",
    "Protocol",
    "PythonCodec",
    "Replies",
    "Step",
    "UVar",
    "Until",
    "WireFormat",
    "byte_id",
    "crc32",
    "first",
    "hessian2_strings",
    "hessian_fields",
    "kept",
    "lengths",
    "lines",
    "number",
    "pairs",
    "split",
    "step",
    "table",
    "text",
    "this",
]
