"""Codecs by hand (``native/bolt.c``, ``native/thrift.c``) as one-file plugins have them."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from cffi import FFI

import protokit
from protokit import NativeCodec

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks" / "native"
ENGINE = ROOT / "native" / "src"


def compiled(name: str, *of_engine: str) -> NativeCodec:
    """The codec of that name.

    Args:
        name: ``bolt`` or ``thrift``.
        of_engine: what else it is made of, below native/src.
    """
    module_name = f"protokit_{name}_by_hand"
    ffi = FFI()
    ffi.cdef("uintptr_t by_hand(void);")
    ffi.set_source(
        module_name,
        f'#include "by_hand.h"\nuintptr_t by_hand(void) {{ return (uintptr_t)&{name}_by_hand; }}',
        sources=[str(HERE / f"{name}.c"), *(str(ENGINE / one) for one in of_engine)],
        include_dirs=[str(HERE), str(ENGINE), protokit.get_include()],
        extra_link_args=["-O3", "-flto"],
        extra_compile_args=["-std=c11", "-D_GNU_SOURCE", "-O3", "-flto", "-fvisibility=hidden"],
    )
    with tempfile.TemporaryDirectory() as folder:
        spec = importlib.util.spec_from_file_location(module_name, ffi.compile(folder))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return NativeCodec(module.lib.by_hand(), module)
