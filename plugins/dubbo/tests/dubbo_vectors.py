"""What the Dubbo tests share: golden frames (the project's, and more where there are), random values."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import strategies as st
from protokit_dubbo.hessian import Long, Object

REPO = Path(__file__).parents[3]


def golden(name: str) -> list[dict]:
    """All golden lines: tests/golden/NAME*.jsonl, and those of a shared folder beside the repository."""
    shared = Path(os.environ.get("PROTOKIT_WIRE_VECTORS", REPO.parent / "shared" / "wire" / "vectors"))
    files = [*sorted((REPO / "tests" / "golden").glob(f"{name}*.jsonl")), shared / f"{name}.jsonl"]
    return [json.loads(line) for path in files if path.exists() for line in path.read_text().splitlines()]


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
