# TARS's codec, built by build_native.py.
from typing import Any

ffi: Any
lib: Any
