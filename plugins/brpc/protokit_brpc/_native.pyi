# baidu_std's codecs, built by build_native.py.
from typing import Any

ffi: Any
lib: Any
