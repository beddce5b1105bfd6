"""Builds protokit_tag._native: the codec in cffi API mode, against protokit's header in include."""

from __future__ import annotations

from cffi import FFI

ffibuilder = FFI()
ffibuilder.cdef("uintptr_t tag_codec_address(void);")
ffibuilder.set_source(
    "protokit_tag._native",
    """
    #include "tag.h"
    static uintptr_t tag_codec_address(void) { return (uintptr_t)&tag_codec; }
    """,
    sources=["native/tag.c"],
    depends=["native/tag.h", "include/protokit/codec.h"],  # what is built again when it changes
    include_dirs=["native", "include"],
    extra_compile_args=["-std=c11", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror=implicit"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
