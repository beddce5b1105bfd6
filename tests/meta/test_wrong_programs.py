"""Programs that are wrong in one way behind a right declaration, each killed by a check of the kit."""

from __future__ import annotations

import pytest
from judging import DECLARED, all_are_killed, all_mutants

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.mark.slow
@pytest.mark.parametrize("name", DECLARED)
def test_wrong_programs_are_killed(name, shim):
    all_are_killed(name, all_mutants(name, shim)[1])
