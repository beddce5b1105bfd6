"""What the conformance kit is given for baidu_std, here and by ``protokit plugins check brpc``."""

from __future__ import annotations

import sys
from pathlib import Path

from brpc_frames import frames
from brpc_reference import message

INTEROP = Path(__file__).parents[3] / "tests" / "interop"  # install.sh there brings the peers
KIT = {
    "golden": [Path(__file__).parent / "golden" / "brpc"],
    "reference": message,
    "frames": frames,
    "lacks": {"oneway", "heartbeat", "drain", "drain-sent"},
    "peers": [sys.executable, "-m", "pytest", "-q", "-m", "interop", str(INTEROP / "test_brpc.py")],
}
