"""How long tries of a cluster took: on the core with a virtual clock."""

from __future__ import annotations

import pytest
from course import Course
from world import MS, table

from protokit.testing import tables

C = tables.cluster_number("c")
PARTS = 31  # up to two seconds, which is less than a request may take


def took(course: Course) -> dict[int, int]:
    """How many by doublings, where there are some."""
    total, *counts = course.world.core.times(C)
    return {doubling: count for doubling, count in enumerate(counts) if count} | (
        {-1: total} if total else {}
    )


def answered(course: Course, after: int, number: int = 5) -> None:
    asked = course.ask(number=number)
    course.world.now += after
    course.say(asked, b"done", more=False)
    assert len(course.heard()) == 1


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong", "own"])
def test_each_time_is_counted_in_its_doubling(toys, kind):
    course = Course(toys[kind])
    total, expected = 0, [0] * 64
    for doubling in range(PARTS):
        for after in (2**doubling, 2 ** (doubling + 1) - 1):
            answered(course, after)
            total, expected[doubling] = total + after, expected[doubling] + 1
    assert course.world.core.times(C) == [total, *expected]
    answered(course, 0)
    expected[0] += 1
    assert course.world.core.times(C) == [total, *expected]


def test_what_is_not_answered_in_time_took_that_long_and_its_late_answer_is_nothing(toys):
    course = Course(toys["wide"], plan={"timeout_ms": 100})
    asked = course.ask()
    course.world.wait(150)
    assert len(course.heard()) == 1
    [(doubling, count), (_, total)] = took(course).items()
    assert (doubling, count) == (26, 1)  # 67 to 134 ms
    assert 100 * MS <= total <= 110 * MS
    course.say(asked, b"late", more=False)
    assert took(course) == {26: 1, -1: total}


@pytest.mark.parametrize("how", ["its client leaves", "its server leaves", "one-way"])
def test_what_nobody_waits_for_or_nobody_answers_took_no_time(toys, how):
    toy = toys["wide"]
    course = Course(toy)
    if how == "one-way":
        course.world.feed(course.client, toy.request(5, b"svc m x", oneway=True))
        course.world.now += MS
        course.world.wait(5)
    else:
        course.ask()
        course.world.now += MS
        course.world.batch(("error", course.client if how == "its client leaves" else course.up))
    assert course.world.stat("requests_active") == 0
    assert took(course) == {}


def test_each_try_is_one(toys):
    course = Course(
        toys["wide"], endpoints=2, plan={"attempts": 2, "retry_on": ("unavailable",), "idempotent": True}
    )
    first = course.ask()
    course.world.now += 2 * MS
    course.say(first, b"not now", more=False, status=6)
    course.world.wait(100)
    second = course.asked(b"svc m first")
    course.world.now += 4 * MS
    course.say(second, b"done", more=False)
    assert len(course.heard()) == 1
    assert sum(count for doubling, count in took(course).items() if doubling >= 0) == 2


def test_a_reload_keeps_them_and_who_gets_the_number_of_a_cluster_begins_anew(toys, monkeypatch):
    toy = toys["wide"]
    course = Course(toy)
    answered(course, MS)
    held = course.ask()
    course.world.apply(table([toy.address], endpoints=2))
    assert took(course) == {19: 1, -1: MS}
    course.world.now += MS
    course.say(held, b"done", more=False)
    assert took(course) == {19: 2, -1: 2 * MS}
    course.heard()
    monkeypatch.setitem(tables._CLUSTERS, "c", C + 1000)  # another cluster
    held = course.ask()
    course.world.apply(table([toy.address], first_uid=10))
    course.world.now += MS
    course.say(held, b"done", more=False)  # of one that is gone
    monkeypatch.undo()
    course.world.apply(table([toy.address], first_uid=20))
    assert took(course) == {}
    course.heard()
    answered(course, 8 * MS)
    assert took(course) == {22: 1, -1: 8 * MS}
