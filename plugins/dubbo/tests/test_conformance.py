"""The conformance kit on Dubbo."""

from __future__ import annotations

from dubbo_kit import KIT
from protokit_dubbo import dubbo

from protokit.testing import conformance

TestDubbo = conformance(dubbo, **KIT)
