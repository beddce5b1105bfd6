"""What waits of a rule is counted over reloads: however many there are, no more wait than may."""

from __future__ import annotations

import pytest
from world import LIMITS, World

from protokit import native
from protokit.testing.tables import TableBuilder

OVERLOADED = 5
MOST = 6
SAFE = {"attempts": 3, "retry_on": ("overloaded",), "idempotent": True, "backoff": (1000, 1000)}
KINDS = {
    "filter": {"filter_chain": 0},
    "answer": {"answer_chain": 0},
    "delay": {"delay_ms": 500},
    "try": SAFE,
}
AT_THE_LIMIT = {
    "filter": b"wait for filters are at the limit of 6",
    "answer": b"those that wait for them are at the limit of 6",
    "delay": b"wait for its delay are at the limit of 6",
    "try": b"wait for their next try are as many or as large as may be: 6",
}


def table_of(toy, kind, *, front=0, without=False, identity=77):
    """``front``: so many rules before that one; ``without``: it is gone."""
    builder = TableBuilder({**LIMITS, "filters": MOST}, seed=42)
    builder.cluster("c", "round-robin", 4, 1000)
    builder.endpoint(0, "127.0.0.1", 9000, 1)
    rules = [(f"other{n}", {"filter_chain": 9}) for n in range(front)]
    rules += [] if without else [("svc", KINDS[kind] | {"identity": identity})]
    plans = []
    for name, plan in [*rules, ("*", {})]:
        plans.append((name, builder.plan(f"rule {name}", **plan)))
        builder.split(0, 1)
    routes = builder.routes("r")
    for name, plan in plans:
        builder.rule(name, "*", "*", "*", plan)
    builder.listener(0, "in", routes=routes, plan=None, pinned=False, codecs=[toy.address])
    return builder.finish()


class Course:
    """Calls of one rule, which wait as soon as they can."""

    def __init__(self, toy, kind):
        self.toy, self.kind = toy, kind
        self.world = World(table_of(toy, kind))
        self.client = self.world.client()
        self.number = 0

    def ask(self, count=1, service=b"svc"):
        """How many of them were refused, each with the text of its kind."""
        for _ in range(count):
            self.number += 1
            self.world.feed(self.client, self.toy.request(self.number, service + b" m x"))
        return self.answer({"answer": 0, "try": OVERLOADED}.get(self.kind))

    def answer(self, status):
        """Servers answer all that they were asked, if they do; what the client is told then."""
        for up in self.world.upstreams if status is not None else ():
            for kind, _, number, _ in self.world.take(self.toy, up):
                if kind == self.toy.REQUEST:
                    self.world.feed(up, self.toy.frame(self.toy.RESPONSE, number, b"said", status))
        told = self.world.take(self.toy, self.client)
        assert all(AT_THE_LIMIT[self.kind] in text for _, _, _, text in told), told
        return len(told)


@pytest.mark.parametrize("kind", KINDS)
def test_reloads_let_no_more_wait(wide, kind):
    course = Course(wide, kind)
    assert course.ask(MOST + 2) == 2
    for front in (0, 1, 3, 0):
        course.world.apply(table_of(wide, kind, front=front))
        assert course.ask(2) == 2
    # The rule goes, and comes again while those of before still wait.
    course.world.apply(table_of(wide, kind, without=True))
    course.world.apply(table_of(wide, kind))
    assert course.ask(2) == 2
    # Another rule has its own.
    course.world.apply(table_of(wide, kind, identity=78))
    assert course.ask(MOST + 1) == 1
    course.world.apply(table_of(wide, kind))
    assert course.ask(1) == 1
    # They end: all places are there again, once.
    course.world.batch(("error", course.client))
    for op in course.world.filters:
        course.world.core.begin(course.world.now)
        course.world.core.decide(op.handle, native.DECIDE_CONTINUE)
    course.world.wait(2000)
    assert course.world.stat("requests_active") == course.world.stat("filters_waiting") == 0
    course.client = course.world.client()
    assert course.ask(MOST + 2) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_that_is_gone_keeps_no_places(wide, kind):
    course = Course(wide, kind)
    for n in range(100):
        course.world.apply(table_of(wide, kind, identity=1000 + n % 40, front=n % 3))
    course.world.apply(table_of(wide, kind))
    assert course.ask(MOST + 1) == 1
