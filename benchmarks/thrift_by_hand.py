"""A one-file plugin with Thrift's codec by hand, for servers that answer by id (``thrift_by_id.py``)."""

from __future__ import annotations

import sys
from pathlib import Path

from protokit import Protocol, hookimpl

sys.path.append(str(Path(__file__).parent))
from by_hand import compiled


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one."""
    return [Protocol("thrift-by-hand", compiled("thrift"), "Thrift, by hand")]
