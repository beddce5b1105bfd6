"""Whether the sanitized build sees what is planted: a codec in C that goes beside the blocks it is given.

    python tests/sanitized/planted.py    by tests/sanitized.sh, whose environment it needs

Ends with 1 where something is not seen, and says what.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cffi import FFI

import protokit
from protokit import native

HOW = ("not at all", "read behind", "read before", "read later", "written behind")
GIVEN, MADE = HOW[1:4], HOW[2:]

DATA = b"\x01abcdefg"  # a request


def build(folder: str) -> Any:
    """The compiled planted.c."""
    ffi = FFI()
    ffi.cdef(
        "void plant(const char *, int); uintptr_t planted_codec(int); uintptr_t planted_step(void);"
        "uintptr_t planted_measure(void);"
    )
    ffi.set_source(
        "planted",
        Path(__file__).with_suffix(".c").read_text(),
        include_dirs=[protokit.get_include()],
        extra_compile_args=["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-fsanitize=address"],
        extra_link_args=["-fsanitize=address"],
    )
    spec = importlib.util.spec_from_file_location("planted", ffi.compile(folder))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lib


def blocks(lib: Any) -> dict[str, tuple[tuple[str, ...], Callable[[], object], object]]:
    """Of each block, as planted.c names it: what is done beside it, a call that gives it, what it returns."""
    codec, other = lib.planted_codec(0), lib.planted_codec(1)
    for address in (codec, other):
        native.check_codec(address, "planted")

    def request() -> object:
        read = native.request(codec, DATA)
        return read.service, read.method

    def frame() -> object:
        return native.frame(codec, DATA, len(DATA)).size

    def framed() -> object:
        return native.Framing(codec).frame(DATA).size

    def edit() -> object:
        return native.edit(codec, DATA, [(native.EDIT_HEADER, "key", "value")])

    def error() -> object:
        return native.error(codec, 2, 1, 0, b"text", b"kept")

    def ran() -> object:
        return native.run_step(lib.planted_step(), DATA, [b"argument"], 1)

    def measured() -> object:
        return native.run_measure(lib.planted_measure(), DATA, [len(DATA)], [b"argument"])

    return {
        "probe": (("read behind",), lambda: native.probe(codec, b""), 0),
        "frame": (GIVEN, frame, 8),
        "state": (MADE, framed, 8),
        "destination": (GIVEN, request, ("\x01a", "bc")),
        "headers": (GIVEN, lambda: native.raw_headers(codec, DATA), [(b"\x01a", b"bc")]),
        "header": (GIVEN, lambda: native.header(codec, DATA, "key"), "bc"),
        "key": (GIVEN, lambda: native.header(codec, DATA, "key"), "bc"),
        "argument": (GIVEN, lambda: native.argument(codec, DATA, 0), "bc"),
        "value": (MADE, lambda: native.argument(codec, DATA, 0), "bc"),
        "patched": (MADE, lambda: native.patch_id(codec, DATA, 1), DATA),
        "id": (GIVEN, lambda: native.patch_id(other, DATA, b"id"), b""),
        "spliced": (MADE, lambda: native.patch_id(other, DATA, b"id"), b""),
        "heartbeat": (MADE, lambda: native.heartbeat(codec, 1), b""),
        "beat": (GIVEN, lambda: native.heartbeat_ack(codec, DATA), b""),
        "kept": (GIVEN, lambda: native.drain(codec, kept=b"kept"), b""),
        "text": (GIVEN, error, b""),
        "refused": (GIVEN, error, b""),
        "error": (MADE, error, b""),
        "edits": (GIVEN, edit, b""),
        "edit's key": (GIVEN, edit, b""),
        "edit's value": (GIVEN, edit, b""),
        "edited": (MADE, edit, b""),
        "said": (GIVEN, lambda: native.greeting_step(codec, 0, said=b"said"), b""),
        "greeting": (GIVEN, lambda: native.greeting_heard(codec, 0, b"\x09said"), 0),
        "keeping": (GIVEN, lambda: native.keep(codec, DATA), b""),
        "what is kept": (MADE, lambda: native.keep(codec, DATA), b""),
        "section": (GIVEN, ran, [b"\x01a"]),
        "arguments": (GIVEN, ran, [b"\x01a"]),
        "an argument": (GIVEN, ran, [b"\x01a"]),
        "found": (MADE, ran, [b"\x01a"]),
        "measured": (GIVEN, measured, (0, 0)),
        "measure's state": (MADE, measured, (0, 0)),
        "measure": (MADE, measured, (0, 0)),
    }


def ended(call: Callable[[], object]) -> tuple[int, str]:
    """How a process of its own ends that makes the call, and what it says."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            call()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        lib = build(folder)
    unseen = []
    for where, (beside, call, returned) in blocks(lib).items():
        found = call()
        if found != returned:
            unseen.append(f"{where}: {found!r}, not {returned!r}")
        for how in beside:

            def twice(where: str = where, how: str = how, call: Callable[[], object] = call) -> None:
                lib.plant(where.encode(), HOW.index(how))
                call()
                call()

            status, said = ended(twice)
            kind = "heap-use-after-free" if how == "read later" else "heap-buffer-overflow"
            if status == 0 or f"AddressSanitizer: {kind}" not in said:
                unseen.append(f"{where}: {how}: not seen (status {status}) {said[:300]}")
    for one in unseen:
        print(one, file=sys.stderr)
    return int(bool(unseen))


if __name__ == "__main__":
    sys.exit(main())
