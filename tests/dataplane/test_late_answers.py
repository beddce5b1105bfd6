"""Every order in which two requests of one client, under one id, can be asked, time out and be answered.

What random worlds find by luck is gone through here: an answer that comes when its caller was told that there
is none, and has asked again. Nobody else notices: another client's calls are under way on the same server.
"""

from __future__ import annotations

from itertools import permutations

import pytest
from world import World, table

EVENTS = ("first answer", "second", "second answer", "time", "more time")
# What follows what: the same time twice is one order, and what was not asked is not answered.
ORDERS = [
    order
    for order in permutations(EVENTS)
    if order.index("second") < order.index("second answer") and order.index("time") < order.index("more time")
]
KINDS = ["wide", "narrow", "brief", "named", "own", "ordered", "pingpong", "polite"]


class Course:
    """A client's two requests, one of somebody else's, and the server that answers when it is told to."""

    def __init__(self, toy, *, pinned: bool) -> None:
        self.toy = toy
        one = table([toy.address], pinned=pinned, limits={"request_ms": 1000, "probe_ms": 400})
        self.world = World(one)
        self.server: dict[bytes, tuple[int, int]] = {}  # token -> (connection, id there), as they came
        self.ready: set[bytes] = set()  # what is to be answered as soon as the protocol lets it
        self.greeted: set[int] = set()
        self.client, self.other = self.world.client(), self.world.client()
        self.got: list[
            tuple[bool, bytes]
        ] = []  # (whether the proxy says it, its text) of the client's answers
        self.before_second = -1  # answers that it had when it asked again
        for one_client in (self.client, self.other):
            self.world.feed(one_client, toy.greet("client"))
        self.ask(self.client, b"first")
        self.apart = (
            bool(toy.id_bytes) or pinned or toy.name == "pingpong"
        )  # others need not wait for the first

    def ask(self, client: int, token: bytes) -> None:
        if client not in self.world.closed:
            self.world.feed(client, self.toy.request(5, b"svc m " + token))
        self.look()

    def look(self) -> None:
        """Servers greet, answer heartbeats and other people's calls; clients read."""
        toy, world = self.toy, self.world
        for _ in range(3):
            for up in list(world.upstreams):
                if up not in self.greeted:
                    self.greeted.add(up)
                    world.feed(up, toy.greet("server"))
                for kind, _, number, body in world.take(toy, up):
                    if kind == toy.HEARTBEAT:
                        world.feed(up, toy.frame(toy.HEARTBEAT_ACK, number))
                    elif kind == toy.REQUEST:
                        self.server[body.split(b" ")[2]] = (up, number)
        for kind, _, number, body in world.take(toy, self.client):
            if kind == toy.RESPONSE:
                assert number == (5 if toy.id_bytes else 0)
                self.got.append((body.startswith(b"protokit"), body))

    def answer(self, token: bytes) -> None:
        self.ready.add(token)
        for one, (up, number) in list(self.server.items()):
            before = list(self.server.values())[: list(self.server).index(one)]
            in_turn = self.toy.id_bytes or up not in [earlier for earlier, _ in before]
            if one in self.ready and in_turn:
                del self.server[one]
                if up in self.world.upstreams:
                    self.world.feed(up, self.toy.frame(self.toy.RESPONSE, number, one))
        self.look()

    def happens(self, event: str) -> None:
        """While it happens somebody else's call is under way, which is answered then."""
        if self.apart:
            self.ask(self.other, b"other")
        self.go_on(event)
        if self.apart:
            self.answer(b"other")
            frames = self.world.take(self.toy, self.other)
            assert [body for kind, _, _, body in frames if kind == self.toy.RESPONSE] == [b"other"]

    def go_on(self, event: str) -> None:
        if event == "second":
            self.before_second = len(self.got)
            self.ask(self.client, b"second")
        elif event.endswith("answer"):
            self.answer(event.removesuffix(" answer").encode())
        else:
            for _ in range(4):
                self.answer(b"other")
                self.world.wait(300)
                self.look()


@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_late_answer_reaches_nobody_in_whatever_order(toys, kind, pinned, order):
    toy = toys[kind]
    course = Course(toy, pinned=pinned)
    world = course.world
    for event in order:
        course.happens(event)
    course.happens("time")
    left = course.client in world.closed
    # Each ends exactly once: with its own answer, with a reason, or with the connection.
    texts = [text for by_proxy, text in course.got if not by_proxy]
    assert len(course.got) == 2 or (left and len(course.got) < 2)
    assert len(set(texts)) == len(texts)
    # Who was told that there is no answer, and asks again, is never given the first one's.
    if course.before_second == 1:
        assert b"first" not in [text for _, text in course.got[1:]]
        assert b"second" not in [text for _, text in course.got[:1]]
    elif not toy.id_bytes and course.before_second == 0:  # in order: the first has the first answer
        assert course.got[0][1] != b"second"
        assert [text for _, text in course.got[1:]] != [b"first"]
    assert world.stat("requests_active") == 0
    # Somebody else asks in the end and has his answer, on the same server.
    fresh = world.client()
    world.feed(fresh, toy.greet("client"))
    course.ask(fresh, b"fresh")
    course.answer(b"fresh")
    answers = [body for what, _, _, body in world.take(toy, fresh) if what == toy.RESPONSE]
    assert answers == [b"fresh"]
