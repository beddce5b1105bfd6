"""What is right passes, with random frames on top: the unmutated twins, and the mutants of SURVIVORS."""

from __future__ import annotations

import pytest
from judging import DECLARED, NAMES, all_mutants, outcome
from survivors import SURVIVORS


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_wrong_survives(name, shim):
    codecs, programs = all_mutants(name, shim)
    twins = [codecs[0], *programs[:1]]
    survivors = [(what, make) for what, make in [*codecs, *programs] if what in SURVIVORS[name]]
    assert {what for what, _ in survivors} == set(SURVIVORS[name]), "a survivor that there is not"
    # Of what is drawn nobody is judged by; what is right passes that, too.
    found = {**outcome(name, twins, examples=20), **outcome(name, survivors)}
    assert len(found) == len(survivors) + 1 + (name in DECLARED)
    killed = {what: by for what, by in found.items() if by}
    assert not killed, f"killed, but listed as survivors, or unmutated: {killed}"
