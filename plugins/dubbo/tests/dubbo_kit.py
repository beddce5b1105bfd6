"""What the conformance kit is given for Dubbo, here and by ``protokit plugins check dubbo``."""

from __future__ import annotations

import sys
from pathlib import Path

from dubbo_reference import frames, message
from dubbo_vectors import VECTORS

INTEROP = Path(__file__).parents[3] / "tests" / "interop"  # install.sh there brings the peers
KIT = {
    "golden": VECTORS,
    "reference": message,
    "frames": frames,
    "peers": [sys.executable, "-m", "pytest", "-q", "-m", "interop", str(INTEROP / "test_dubbo.py")],
}
