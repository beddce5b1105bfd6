"""What the tests of the kit share."""

from __future__ import annotations

import pytest
from mutants import Shim

from protokit.testing import proxied


@pytest.fixture
def impatient(monkeypatch):
    """What does not come from a mutant never comes."""
    monkeypatch.setattr(proxied, "PATIENCE_S", 2)


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    return Shim(tmp_path_factory.mktemp("shim"))
