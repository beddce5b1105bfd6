"""Figures beside a grade: what the rounds of two protocols say where the processor is not theirs alone."""

from __future__ import annotations

import pytest

from protokit.testing import cost


class Batches:
    """Costs so much, times the processor's pace."""

    def __init__(self, ns, pace):
        self.ns = ns
        self.pace = pace

    def each(self):
        return self.ns * next(self.pace)


def paces(of):
    number = 0
    while True:
        yield of(number)
        number += 1


@pytest.mark.parametrize(
    "slow",
    [
        lambda number: number > 60,  # from the middle on
        lambda number: number // 16 % 2,  # every other round
        lambda number: number % 7 == 0,  # here and there
    ],
    ids=["from the middle on", "every other round", "here and there"],
)
def test_a_change_of_pace_is_both_sides_and_no_multiple(slow):
    pace = paces(lambda number: 3 if slow(number) else 1)
    mine, theirs, times = cost._in_turns(Batches(200, pace), Batches(100, pace))
    assert (mine, theirs, times.median, str(times), times.busy) == (200, 100, 2, "2.00 times", False)


def test_rounds_that_differ_are_told_as_a_range():
    kinds = paces(lambda number: 1 + number // cost.BATCHES % 3)
    *_, times = cost._in_turns(Batches(100, kinds), Batches(100, paces(lambda _: 1)))
    assert times.busy
    assert str(times) == "1.00 to 3.00 times"
