"""What Python makes for C with cffi's ``ffi`` is a block of malloc's of exactly its size (see exact.h).

Python's own small blocks lie in large ones, where sanitizers see nothing. Taking all of Python's from malloc
instead more than doubles the time of the tests.
"""

from __future__ import annotations

from typing import Any

import _cffi_backend as backend

SIZE = backend.new_primitive_type("size_t")
POINTER = backend.new_pointer_type(backend.new_void_type())
LIBC = backend.load_library(None)
MALLOC = LIBC.load_function(backend.new_function_type((SIZE,), POINTER, False), "malloc")
FREE = LIBC.load_function(backend.new_function_type((POINTER,), backend.new_void_type(), False), "free")


class Exact:
    """The ``ffi`` of a module; ``new`` and ``from_buffer`` give blocks of their own."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.new = inner.new_allocator(MALLOC, FREE)
        # Of an empty block the first byte can be read: behind one of a byte nothing can.
        self._byte = self.new("char[]", 1)

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = getattr(self._inner, name)
        return found

    def from_buffer(self, *given: Any) -> Any:
        """A copy of bytes, which is there as long as what is returned; what is no bytes as it is.

        Args:
            given: the type, ``char[]`` where there is none, and the data.
        """
        kind, data = given if len(given) > 1 else ("char[]", *given)
        if not isinstance(data, bytes):
            return self._inner.from_buffer(kind, data)
        if not data:
            return self._inner.cast(kind.replace("[]", "(*)[0]"), self._byte + 1)[0]
        block = self.new(kind, len(data))
        self._inner.memmove(block, data, len(data))
        return block


def change(module: Any) -> None:
    """Of a compiled module, called when it is imported."""
    module.ffi = Exact(module.ffi)
