"""Where truth comes from, and how it becomes a Snapshot: here, from configuration files."""

from __future__ import annotations

from protokit.control.build import build_clusters, build_snapshot
from protokit.control.snapshot import Snapshot

__all__ = ["Snapshot", "build_clusters", "build_snapshot"]
