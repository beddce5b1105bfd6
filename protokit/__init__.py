"""protokit: a proxy for RPC protocols, and a framework for adding them.

This is the public API; everything is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protokit.dataplane.proxy import Proxy
    from protokit.errors import ProtokitError
    from protokit.hookspecs import hookimpl
    from protokit.model import (
        Answer,
        Demand,
        End,
        Filter,
        FilterFactory,
        Headers,
        Limiter,
        LimiterFactory,
        Quota,
        Request,
        Response,
        Status,
    )
    from protokit.wire import Frame, NativeCodec, Peer, Protocol, PythonCodec, Reply, WireFormat

__version__ = "0.1.0"
__distribution__ = "protokit-proxy"  # protokit on PyPI is another project's, whose package has the same name
API_VERSION = 1

_EXPORTS = {
    "Answer": "protokit.model",
    "Demand": "protokit.model",
    "End": "protokit.model",
    "Filter": "protokit.model",
    "FilterFactory": "protokit.model",
    "Frame": "protokit.wire",
    "Headers": "protokit.model",
    "Limiter": "protokit.model",
    "LimiterFactory": "protokit.model",
    "NativeCodec": "protokit.wire",
    "Peer": "protokit.wire",
    "Protocol": "protokit.wire",
    "ProtokitError": "protokit.errors",
    "Proxy": "protokit.dataplane.proxy",
    "PythonCodec": "protokit.wire",
    "Quota": "protokit.model",
    "Reply": "protokit.wire",
    "Request": "protokit.model",
    "Response": "protokit.model",
    "Status": "protokit.model",
    "WireFormat": "protokit.wire",
    "hookimpl": "protokit.hookspecs",
}

__all__ = [
    "API_VERSION",
    "Answer",
    "Demand",
    "End",
    "Filter",
    "FilterFactory",
    "Frame",
    "Headers",
    "Limiter",
    "LimiterFactory",
    "NativeCodec",
    "Peer",
    "Protocol",
    "ProtokitError",
    "Proxy",
    "PythonCodec",
    "Quota",
    "Reply",
    "Request",
    "Response",
    "Status",
    "WireFormat",
    "__version__",
    "get_include",
    "hookimpl",
]


def get_include() -> str:
    """The directory for a C compiler's ``-I``, so that ``#include <protokit/codec.h>`` works."""
    from pathlib import Path  # noqa: PLC0415  # for who builds a plugin, not for who runs

    return str(Path(__file__).parent / "include")


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'protokit' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
