"""What the conformance kit is given for bolt, here and by ``protokit plugins check bolt``."""

from __future__ import annotations

from bolt_vectors import VECTORS

KIT = {"golden": VECTORS}
