"""Builds protokit_dubbo._native: the codec, against protokit's header in include."""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
# As CFLAGS say where that is with sanitizers, or without optimization: nobody waits for it to be fast then.
PLAIN = any(one in os.environ.get("CFLAGS", "") for one in ("-fsanitize", "-O0"))
FAST = [] if PLAIN else ["-O3", "-flto"]

ffibuilder = FFI()
ffibuilder.cdef("uintptr_t dubbo_codec_address(void);")
ffibuilder.set_source(
    "protokit_dubbo._native",
    """
    #include "dubbo.h"
    static uintptr_t dubbo_codec_address(void) { return (uintptr_t)&pk_dubbo_codec; }
    """,
    sources=[os.path.relpath(path) for path in sorted((HERE / "native").glob("*.c"))],
    depends=[
        os.path.relpath(path) for part in ("native", "include") for path in sorted((HERE / part).rglob("*.h"))
    ],
    include_dirs=[str(HERE / "native"), str(HERE / "include")],
    extra_link_args=FAST,
    extra_compile_args=[
        "-std=c11",
        *FAST,
        "-fvisibility=hidden",
        "-fno-plt",
        "-Wall",
        "-Wextra",
        "-Werror=implicit",
    ],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
