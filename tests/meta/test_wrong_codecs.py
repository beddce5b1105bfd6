"""Codecs that are wrong in one way, each killed by a check of the kit."""

from __future__ import annotations

import pytest
from judging import NAMES, all_are_killed, all_mutants

pytestmark = pytest.mark.usefixtures("impatient")


# Declared, and with all that the kit looks at: most of the time of them all. Another declared one is quick.
LONG = {"bolt", "motan"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in NAMES]
)
def test_wrong_codecs_are_killed(name, shim):
    all_are_killed(name, all_mutants(name, shim)[0])
