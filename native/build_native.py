"""Builds protokit._native, the engine, with cffi in API mode. Run by setup.py's cffi_modules."""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
SOURCES = sorted((HERE / "src").rglob("*.c"))

ffibuilder = FFI()
ffibuilder.cdef((HERE / "cdef" / "engine.h").read_text())
ffibuilder.set_source(
    "protokit._native",
    '#include "access.h"\n#include "driver/worker.h"\n',
    sources=[os.path.relpath(path) for path in SOURCES],
    include_dirs=[str(HERE / "src"), str(HERE / "include")],
    define_macros=[("_GNU_SOURCE", "1")],
    extra_compile_args=[
        "-std=c11",
        "-O3",
        "-flto",
        "-pthread",
        "-fvisibility=hidden",
        "-fno-plt",
        "-fno-builtin-memset",  # in place it is `rep stos`, whose start takes longer than the whole call
        "-Wall",
        "-Wextra",
        "-Werror=implicit",
    ],
    extra_link_args=["-O3", "-flto", "-pthread"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
