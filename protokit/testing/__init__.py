"""What plugin authors and the tests of protokit use: strategies for frames, the conformance kit, the fuzzer.

One line pulls the kit in::

    from protokit.testing import conformance

    TestBolt = conformance(bolt, golden=Path(__file__).parent / "golden")

Everything is imported on first use: Hypothesis loads ``entry`` in every process that uses it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protokit.testing.fuzzing import fuzz
    from protokit.testing.golden import Golden, load_golden, vectors_of
    from protokit.testing.kit import conformance
    from protokit.testing.strategies import field_values, frames, requests, spoiled

_EXPORTS = {
    "Golden": "golden",
    "conformance": "kit",
    "field_values": "strategies",
    "frames": "strategies",
    "fuzz": "fuzzing",
    "load_golden": "golden",
    "requests": "strategies",
    "spoiled": "strategies",
    "vectors_of": "golden",
}

__all__ = [
    "Golden",
    "conformance",
    "field_values",
    "frames",
    "fuzz",
    "load_golden",
    "requests",
    "spoiled",
    "vectors_of",
]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'protokit.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"protokit.testing.{_EXPORTS[name]}"), name)
