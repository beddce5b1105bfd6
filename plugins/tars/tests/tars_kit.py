"""What the conformance kit is given for TARS, here and by ``protokit plugins check tars``."""

from __future__ import annotations

import sys
from pathlib import Path

from tars_frames import frames
from tars_reference import message

INTEROP = Path(__file__).parents[3] / "tests" / "interop"  # install.sh there brings the peers
KIT = {
    "golden": [Path(__file__).parent / "golden"],
    "reference": message,
    "frames": frames,
    "lacks": {"drain", "drain-sent"},
    "peers": [sys.executable, "-m", "pytest", "-q", "-m", "interop", str(INTEROP / "test_tars.py")],
}
