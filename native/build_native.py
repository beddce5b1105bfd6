"""Builds protokit._native, the engine, with cffi in API mode. Run by setup.py's cffi_modules.

What Python sees of the engine is read from its headers: the public one (``include``) is seen as a whole, the
others between ``/* python { */`` and ``/* } python */``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
ROOTS = (HERE / "src", HERE / "include")
SOURCES = sorted((HERE / "src").rglob("*.c"))
HEADERS = sorted(path for root in ROOTS for path in root.rglob("*.h"))
TOP = "access.h"  # includes all that Python sees
# Under sanitizers as CFLAGS say: the linker's own pass takes half a minute, and tests are hardly sooner. Nor
# is it for who asks for no optimization at all.
PLAIN = any(one in os.environ.get("CFLAGS", "") for one in ("-fsanitize", "-O0"))
FAST = [] if PLAIN else ["-O3", "-flto"]
# The engine, where somebody has compiled it already: tests in C under the same sanitizers.
OBJECTS = os.environ.get("PROTOKIT_ENGINE_OBJECTS", "").split()


def declarations(name: str = TOP, seen: set[str] | None = None) -> str:
    """The C declarations that Python sees of a header and of what it includes, in the order of a compiler."""
    seen = set() if seen is None else seen
    if name in seen:
        return ""
    seen.add(name)
    path = next((root / name for root in ROOTS if (root / name).exists()), None)
    if path is None:  # the C library's; cffi knows its types
        return ""
    text = path.read_text()
    parts = [declarations(other, seen) for other in re.findall(r'^#include [<"](.+)[>"]', text, re.MULTILINE)]
    if ROOTS[1] in path.parents:
        text = re.sub(r"^#ifdef __cplusplus$.*?^#endif$", "", text, flags=re.DOTALL | re.MULTILINE)
        parts.append(re.sub(r"^#(?:.*\\\n)*.*", "", text, flags=re.MULTILINE))
    else:
        shown = re.findall(r"/\* python \{ \*/(.*?)/\* \} python \*/", text, re.DOTALL)
        if any("python {" in one for one in shown) or len(shown) != text.count("python {"):
            raise ValueError(f"{path}: a part that Python sees has no end")
        parts += shown
    return "".join(parts)


ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "protokit._native",
    # What stands between Python's calls and C where tests are to see more of them (tests/sanitized/exact.h).
    f'#include "{TOP}"\n#ifdef PK_PREAMBLE\n#include PK_PREAMBLE\n#endif\n',
    sources=[] if OBJECTS else [os.path.relpath(path) for path in SOURCES],
    extra_objects=OBJECTS,
    depends=[os.path.relpath(path) for path in HEADERS],
    include_dirs=[str(root) for root in ROOTS],
    define_macros=[("_GNU_SOURCE", "1")],
    extra_compile_args=[
        "-std=c11",
        *FAST,
        "-pthread",
        "-fvisibility=hidden",
        "-fno-plt",
        "-fno-builtin-memset",  # in place it is `rep stos`, whose start takes longer than the whole call
        "-Wall",
        "-Wextra",
        "-Werror=implicit",
    ],
    extra_link_args=[*FAST, "-pthread"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
