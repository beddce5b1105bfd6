"""Short ids in random worlds: those of requests without an answer stay taken, run out, and come back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from world import LIMITS, World, table

OK, TIMEOUT = 0, 4
ROOM = {"upstream_in_flight": 40, "in_flight_per_connection": 60, "idle_ms": 3_600_000}


class Machine(RuleBasedStateMachine):
    """One server, which answers heartbeats, and of requests only those that a rule says."""

    toys: dict = {}
    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.toy = self.toys[self.kind]
        self.world = World(table([self.toy.address], limits=ROOM, max_connections=2))
        self.client = self.world.client()
        self.number = 0
        self.waiting: dict[int, bytes] = {}  # the client's id -> token, of requests without an end
        self.sent: dict[tuple[int, int], int] = {}  # (server connection, id there) -> the client's id
        self.late: list[tuple[int, int]] = []  # the same, of those that were given up

    def ask(self) -> int:
        self.number += 1
        mine = self.number % 251
        self.waiting[mine] = b"t%d" % self.number
        self.world.feed(self.client, self.toy.request(mine, b"svc m " + self.waiting[mine]))
        self.see()
        return mine

    def see(self) -> None:
        """What the server was asked, and what the client was answered."""
        for up in list(self.world.upstreams):
            for kind, _, number, body in self.world.take(self.toy, up):
                if kind == self.toy.HEARTBEAT:
                    self.world.feed(up, self.toy.frame(self.toy.HEARTBEAT_ACK, number))
                elif kind == self.toy.REQUEST:
                    assert (up, number) not in self.sent, "an id that somebody waits for"
                    assert (up, number) not in self.late, "an id whose late answer may still come"
                    token = body.split(b" ")[2]
                    [self.sent[up, number]] = [one for one, its in self.waiting.items() if its == token]
        for _, status, mine, body in self.world.take(self.toy, self.client):
            token = self.waiting.pop(mine)
            if status == OK:
                assert body == token, "an answer to another request"
            elif status == TIMEOUT:
                self.late += [key for key, its in self.sent.items() if its == mine]
            self.sent = {key: its for key, its in self.sent.items() if its != mine}

    def answer(self, key: tuple[int, int], token: bytes) -> None:
        if key[0] in self.world.upstreams:
            self.world.feed(key[0], self.toy.frame(self.toy.RESPONSE, key[1], token))
            self.see()

    def pass_time(self, ms: int) -> None:
        for _ in range(0, ms, 500):
            self.world.wait(500)
            self.see()

    @rule(count=st.integers(1, 40))
    def asks(self, count) -> None:
        for _ in range(count):
            if len(self.waiting) < 40:
                self.ask()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def one_is_answered(self, data) -> None:
        key = data.draw(st.sampled_from(sorted(self.sent)))
        self.answer(key, self.waiting[self.sent[key]])

    @rule()
    def time_runs_out(self) -> None:
        self.pass_time(LIMITS["request_ms"] + 500)
        assert not self.waiting, "a request without an end"

    @rule()
    def nobody_answers_for_long(self) -> None:
        """So many are given up that a connection is worn out, where there are 256 ids."""
        for _ in range(4):
            self.asks(40)
            self.time_runs_out()

    @precondition(lambda self: self.late)
    @rule(count=st.integers(1, 200))
    def late_answers_come(self, count) -> None:
        for _ in range(min(count, len(self.late))):
            self.answer(self.late.pop(0), b"late")

    @invariant()
    def whoever_asks_now_is_answered(self) -> None:
        """However many are given up: where less is under way than a connection takes there is room."""
        if len(self.waiting) >= 30:
            return
        mine = self.ask()
        assert mine in self.waiting, "refused"
        [key] = [key for key, its in self.sent.items() if its == mine]
        self.answer(key, self.waiting[mine])
        assert mine not in self.waiting, "answered, and not told"


@pytest.mark.parametrize("kind", ["narrow", "brief"])
def test_random_worlds_of_short_ids(toys, kind, request) -> None:
    machine = type("Machine", (Machine,), {"kind": kind, "toys": toys})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=min(request.config.getoption("--examples"), 50),
            stateful_step_count=20,
            deadline=None,
            phases=[
                phase for phase in Phase if phase != Phase.shrink or request.config.getoption("--shrink")
            ],
            suppress_health_check=list(HealthCheck),
        ),
    )
