"""Where the golden frames of the Dubbo tests are: the project's own, and more when they are at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

REPO = Path(__file__).parents[3]


def golden(name: str) -> list[dict]:
    """All golden lines: tests/golden/NAME*.jsonl, and those of a shared folder beside the repository."""
    shared = Path(os.environ.get("PROTOKIT_WIRE_VECTORS", REPO.parent / "shared" / "wire" / "vectors"))
    files = [*sorted((REPO / "tests" / "golden").glob(f"{name}*.jsonl")), shared / f"{name}.jsonl"]
    return [json.loads(line) for path in files if path.exists() for line in path.read_text().splitlines()]
