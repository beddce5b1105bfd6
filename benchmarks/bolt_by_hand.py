"""A one-file plugin with bolt's codec by hand, to compare the declared one with.

protokit plugins check bolt --golden tests/golden --native benchmarks/bolt_by_hand.py
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from cffi import FFI

import protokit
from protokit import NativeCodec, Protocol, hookimpl

ROOT = Path(__file__).resolve().parents[1]
NAME = "protokit_bolt_by_hand"

ffi = FFI()
ffi.cdef("uintptr_t by_hand(void);")
ffi.set_source(
    NAME,
    '#include "by_hand.h"\nuintptr_t by_hand(void) { return (uintptr_t)&bolt_by_hand; }',
    sources=[
        str(ROOT / "benchmarks" / "native" / "bolt.c"),
        str(ROOT / "native" / "src" / "checksum.c"),
        *map(str, (ROOT / "native" / "src" / "steps").glob("*.c")),
    ],
    include_dirs=[str(ROOT / "benchmarks" / "native"), protokit.get_include()],
    extra_link_args=["-O3", "-flto"],
    extra_compile_args=["-std=c11", "-D_GNU_SOURCE", "-O3", "-flto", "-fvisibility=hidden"],
)
with tempfile.TemporaryDirectory() as folder:
    spec = importlib.util.spec_from_file_location(NAME, ffi.compile(folder))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
by_hand = Protocol("bolt-by-hand", NativeCodec(module.lib.by_hand(), module), "bolt, by hand")


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one."""
    return [by_hand]
