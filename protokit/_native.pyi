# The engine's module, built by native/build_native.py; its declarations are read from the headers in native/.
from typing import Any

ffi: Any
lib: Any
