"""The data plane: workers, the Snapshots they run, filters."""

from __future__ import annotations

from protokit.dataplane.proxy import Proxy

__all__ = ["Proxy"]
