"""tag for protokit: a codec in C (``native/tag.c``) in a module of its own."""

from __future__ import annotations

import protokit_tag._native as _native  # noqa: PLR0402  # what mypy takes for an export
from protokit import NativeCodec, Protocol, hookimpl

PROTOKIT_API = ">=1,<2"

# The module is handed over too: what holds the codec must not go.
tag = Protocol("tag", NativeCodec(_native.lib.tag_codec_address(), _native), "a small protocol in C")


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one protocol of this package."""
    return [tag]
