"""Memory that shows who reads past what he was given. Imported when it is first asked for, by fuzzers."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

from protokit._native import ffi
from protokit.errors import ProtokitError


class Guarded:
    """Room for bytes that end where memory does: what reads past them is ended by SIGSEGV. For fuzzers.

    Args:
        room: the most bytes that are put there.
    """

    def __init__(self, room: int) -> None:
        self._room = -(-room // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(-1, self._room + mmap.PAGESIZE)
        self._start = ffi.cast("uint8_t *", ffi.from_buffer(self._memory))
        address = int(ffi.cast("uintptr_t", self._start)) + self._room
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
            raise ProtokitError(f"mprotect failed: errno {ctypes.get_errno()}")

    def put(self, data: bytes) -> Any:
        """The bytes, as functions of this module take them, until the next ``put``."""
        if len(data) > self._room:
            raise ProtokitError(f"{len(data)} bytes are more than the {self._room} there is room for")
        start = self._start + self._room - len(data)
        ffi.memmove(start, data, len(data))
        return ffi.cast(f"uint8_t(*)[{len(data)}]", start)[0]
