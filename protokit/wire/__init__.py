"""Wire protocols: what a plugin hands over. Imports only ``protokit.errors`` and ``protokit.model``."""

from __future__ import annotations

from protokit.wire.protocol import NativeCodec, Protocol

__all__ = ["NativeCodec", "Protocol"]
