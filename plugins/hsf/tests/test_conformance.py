"""The conformance kit on HSF's made frames."""

from __future__ import annotations

from pathlib import Path

from protokit_hsf import hsf

from protokit.testing import conformance

TestHsf = conformance(hsf, golden=Path(__file__).parent / "golden")
