"""A one-file plugin with bolt's codec by hand, to compare the declared one with.

protokit plugins check bolt --golden tests/golden --native benchmarks/bolt_by_hand.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from protokit import Protocol, hookimpl

sys.path.append(str(Path(__file__).parent))
from by_hand import compiled

of_engine = ("base/checksum.c", "wire/steps/hessian.c")


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one."""
    return [Protocol("bolt-by-hand", compiled("bolt", *of_engine), "bolt, by hand")]
