"""What the Dubbo tests share: golden frames (the project's, and more where there are), random values."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import strategies as st
from protokit_dubbo.hessian import Long, Object
from protokit_dubbo.messages import Answer

from protokit.testing import Golden, load_golden

REPO = Path(__file__).parents[3]


SHARED = Path(os.environ.get("PROTOKIT_WIRE_VECTORS", REPO.parent / "shared" / "wire" / "vectors"))


def own(name: str) -> list[Path]:
    """The project's own files."""
    return sorted((REPO / "tests" / "golden").glob(f"{name}*.jsonl"))


def lines(path: Path) -> list[dict]:
    """The golden lines of a file, all that is known of a frame in ``expect``; none where it is absent."""
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for line in found:
        line["expect"] |= line.get("facts", {})
        if "headers" in line["expect"]:
            line["expect"]["attachments"] = line["expect"].pop("headers")
    return found


def golden(name: str) -> list[dict]:
    """All golden lines: tests/golden/NAME*.jsonl, and those of a shared folder beside the repository."""
    return [line for path in [*own(name), SHARED / f"{name}.jsonl"] for line in lines(path)]


LINES = golden("dubbo")

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.integers(-(2**63), 2**63 - 1).map(Long)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.builds(
            Object,
            st.text("abc.", min_size=1, max_size=9),
            st.dictionaries(st.text("xyz", min_size=1), inner, max_size=4),
        )
    ),
    max_leaves=20,
)

VECTORS = load_golden(own("dubbo")) + [
    Golden(
        line["name"],
        bytes.fromhex(line["hex"]),
        line.get("source", ""),
        line.get("origin", ""),
        {"request_id": line["expect"]["request_id"]}
        | ({"kind": "drain"} if line["hex"].endswith("0152") else {})
        | ({"kind": line["expect"]["kind"]} if line["expect"]["kind"] != "event" else {}),
    )
    for line in lines(SHARED / "dubbo.jsonl")
]
# No peer was seen to answer with each status; what each means stands in the specification.
# Of those the codec itself says some, byte for byte.
SAID = {31, 40, 60, 70, 80, 100}
VECTORS += [
    Golden(
        f"status {status}",
        Answer(7, status, "why").encode(),
        "protokit_dubbo.messages",
        "built",
        {"text": "why" if status in SAID else None},
    )
    for status in (30, 31, 35, 40, 50, 60, 70, 80, 90, 100)
]
