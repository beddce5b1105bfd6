"""One-file plugins with a fault or without, for the tests of ``protokit fuzz`` and ``plugins check``."""

from __future__ import annotations

import json
from pathlib import Path

from cffi import FFI

import protokit

TOY = Path(__file__).parent / "toy" / "toy.c"
PAGE = """
from construct import GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies, table, text

def wire(response):
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "status" / Int8ub,
            "id" / Int16ub,
            "to" / Prefixed(Int8ub, GreedyBytes),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        id=this.id,
        response=response,
        status=table(this.status, {0: Status.OK}, Status.INTERNAL),
        service=text(this.to),
        replies=Replies(error=lambda s, v: {"kind": 2, "status": 1, "to": b"", "body": ErrorText()}),
    )

page = Protocol("page", wire(this.kind == 2))
"""
CHANGED = 'page.wire.__dict__["address"] = wire((this.kind == 2) | (this.kind > 200)).address\n'
HOOK = """
@hookimpl
def protokit_protocols():
    return [page]
"""
NATIVE = """
import importlib.util
from protokit import NativeCodec, Protocol, hookimpl

spec = importlib.util.spec_from_file_location("protokit_test_faulty", {path!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
page = Protocol("wide", NativeCodec(module.lib.toy_codec(0), module))
"""


def native(folder: Path, source: str) -> None:
    """A one-file plugin with the toy protocol of that source, and a golden frame."""
    ffi = FFI()
    ffi.cdef("uintptr_t toy_codec(int which);")
    ffi.set_source(
        "protokit_test_faulty",
        source,
        include_dirs=[protokit.get_include()],
        extra_compile_args=["-std=c11", "-O1"],
    )
    path = ffi.compile(str(folder))
    (folder / "page.py").write_text(NATIVE.format(path=path) + HOOK)
    (folder / "golden").mkdir(exist_ok=True)
    body = b"svc m hello"
    frame = bytes([0x7E, 1, 0]) + bytes(8) + len(body).to_bytes(2, "big") + body
    (folder / "golden" / "wide.jsonl").write_text(json.dumps({"name": "one", "hex": frame.hex()}))


OVERREAD = "memchr(a + 1, ' ', (size_t)(end - a))"
RIGHT = "memchr(a + 1, ' ', (size_t)(end - a - 1))"
