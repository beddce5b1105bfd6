"""Motan2 does what every protocol has to do."""

from pathlib import Path

from protokit_motan import motan

from protokit.testing import conformance

TestMotan = conformance(motan, golden=Path(__file__).parent / "golden")
