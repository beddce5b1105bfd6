"""Golden bolt lines: the project's own, and more where there are."""

from __future__ import annotations

import json
import os
from pathlib import Path

from protokit.testing import Golden, load_golden

REPO = Path(__file__).parents[3]
SHARED = (
    Path(os.environ.get("PROTOKIT_WIRE_VECTORS", REPO.parent / "shared" / "wire" / "vectors")) / "bolt.jsonl"
)


def lines(path: Path) -> list[dict]:
    """The golden lines of a file, all that is known of a frame in ``expect``; none where it is absent."""
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{**line, "expect": {**line["expect"], **line.get("facts", {})}} for line in found]


OWN = sorted((REPO / "tests" / "golden").glob("bolt*.jsonl"))
LINES = [line for path in [*OWN, SHARED] for line in lines(path)]
# What is no whole frame, by name: header maps alone.
NO_FRAMES = {
    *(f"header map only #{number}" for number in range(1, 5)),
    "header map only, real trace headers #1",
}
MAPS = [line for line in LINES if line["name"] in NO_FRAMES]
FRAMES = [line for line in LINES if line["name"] not in NO_FRAMES]
# The shared ones name the service whole; a Request has its version and unique id apart.
VECTORS = load_golden(OWN) + [
    Golden(
        line["name"],
        bytes.fromhex(line["hex"]),
        line.get("source", ""),
        line.get("origin", ""),
        {key: line["expect"][key] for key in ("kind", "request_id", "method") if line["expect"].get(key)},
    )
    for line in lines(SHARED)
    if line["name"] not in NO_FRAMES
]


def unique_name(expect: dict) -> str:
    """The service as its header has it; the project's own lines have its parts apart, as a Request does."""
    return ":".join(expect[part] for part in ("service", "version", "group") if expect.get(part))
