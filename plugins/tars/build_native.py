"""Builds protokit_tars._native: TARS's codec, against protokit's header in include."""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

ffibuilder = FFI()
ffibuilder.cdef("uintptr_t tars_address(void);")
ffibuilder.set_source(
    "protokit_tars._native",
    """
    #include "tars.h"
    static uintptr_t tars_address(void) { return (uintptr_t)&tars_codec; }
    """,
    sources=[os.path.relpath(path) for path in sorted((HERE / "native").glob("*.c"))],
    depends=[
        os.path.relpath(path) for part in ("native", "include") for path in sorted((HERE / part).rglob("*.h"))
    ],
    include_dirs=[str(HERE / "native"), str(HERE / "include")],
    extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror=implicit"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
