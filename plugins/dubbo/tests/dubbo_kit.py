"""What the conformance kit is given for Dubbo, here and by ``protokit plugins check dubbo``."""

from __future__ import annotations

from dubbo_reference import frames, message
from dubbo_vectors import VECTORS

KIT = {"golden": VECTORS, "reference": message, "frames": frames}
