"""Codecs that are wrong in one way, each killed by a check of the kit."""

from __future__ import annotations

import pytest
from judging import NAMES, all_are_killed, all_mutants

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.mark.parametrize("name", NAMES)
def test_wrong_codecs_are_killed(name, shim):
    all_are_killed(name, all_mutants(name, shim)[0])
