"""TARS for protokit: a codec in C (``native/tars.c``).

Facts: TARS's description of its protocol, and the frames of @tars/rpc and tars-core.
"""

from __future__ import annotations

import protokit_tars._native as _native  # noqa: PLR0402  # what mypy takes for an export
from protokit import NativeCodec, Protocol, hookimpl

PROTOKIT_API = ">=1,<2"

tars = Protocol("tars", NativeCodec(_native.lib.tars_address(), _native), "TARS")


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one protocol of this package."""
    return [tars]
