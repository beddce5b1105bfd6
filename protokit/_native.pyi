# The engine's module, built by native/build_native.py; its declarations are native/cdef/engine.h.
from typing import Any

ffi: Any
lib: Any
