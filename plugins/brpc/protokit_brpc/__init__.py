"""brpc's baidu_std for protokit: a codec in C (``native/brpc.c``), under two names.

``brpc`` has its headers in the meta's user fields, as brpc has; ``jprotobuf`` in the request's extension
fields, as jprotobuf-rpc has. All else is the same.

Facts: brpc's description of baidu_std, and the frames of jprotobuf-rpc-core 4.2.1.
"""

from __future__ import annotations

import protokit_brpc._native as _native  # noqa: PLR0402  # what mypy takes for an export
from protokit import NativeCodec, Protocol, hookimpl

PROTOKIT_API = ">=1,<2"

brpc = Protocol("brpc", NativeCodec(_native.lib.brpc_address(), _native), "brpc's baidu_std")
jprotobuf = Protocol(
    "jprotobuf",
    NativeCodec(_native.lib.jprotobuf_address(), _native),
    "baidu_std with jprotobuf-rpc's headers",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """Two protocols that differ in where headers stand."""
    return [brpc, jprotobuf]
