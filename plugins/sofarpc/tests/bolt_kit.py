"""What the conformance kit is given for bolt, here and by ``protokit plugins check bolt``."""

from __future__ import annotations

import sys
from pathlib import Path

from bolt_vectors import VECTORS

INTEROP = Path(__file__).parents[3] / "tests" / "interop"  # install.sh there brings the peers
KIT = {
    "golden": VECTORS,
    "peers": [sys.executable, "-m", "pytest", "-q", "-m", "interop", str(INTEROP / "test_sofarpc.py")],
}
