"""What the conformance kit is given for Thrift by ``protokit plugins check dubbo-thrift``."""

from __future__ import annotations

import sys
from pathlib import Path

INTEROP = Path(__file__).parents[3] / "tests" / "interop"  # install.sh there brings the peers
KIT = {
    "golden": [Path(__file__).parent / "golden" / "dubbo-thrift"],
    "peers": [sys.executable, "-m", "pytest", "-q", "-m", "interop", str(INTEROP / "test_dubbo_thrift.py")],
}
