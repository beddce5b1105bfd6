"""Random illnesses: whatever the others do, calls are answered at once while one endpoint is well, but for
the few that show whether a suspect is well again, and whoever finds out about as many at once as a call may
try; and who is well again gets its whole share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from places import OK, Place
from world import table

from protokit import native

TIMEOUT, UNAVAILABLE = 4, 6
STATES = ["well", "dropping", "refusing", "silent", "closing"]
BUDGET = 1000  # ms of a call
MOMENT = 100  # ms: so long a call may wait while nothing is open yet
TRIES = 3  # endpoints that a call may find unreachable, without any policy


class Machine(RuleBasedStateMachine):
    kind = "wide"
    toys: dict = {}

    @initialize(
        count=st.integers(2, 5),
        balance=st.sampled_from(["round-robin", "least-request"]),
        beats=st.booleans(),
    )
    def begin(self, count, balance, beats) -> None:
        self.count = count
        self.toy = self.toys[self.kind]
        self.of_table = {
            "endpoints": count,
            "balance": balance,
            "plan": {"timeout_ms": BUDGET},
            "limits": {"probe_ms": 1500},
        }
        self.world = Place(self.toy, beats=beats, **self.of_table)
        self.clients = [self.world.one, self.world.client(), self.world.client()]
        # of each client by wire id: the call, when it was asked, and how many connections had failed then
        self.asked: dict[int, dict[int, tuple[int, int, int]]] = {one: {} for one in self.clients}
        self.seen = 0
        self.last: dict[int, int] = {}  # ms of an endpoint's last call while it was known to be silent

    def known_ill(self, at: int) -> int:
        states = [state for uid, state in self.world.told if uid == at]
        return states[-1] if states else native.WELL

    @rule(data=st.data(), state=st.sampled_from(STATES))
    def change(self, data, state) -> None:
        at = data.draw(st.integers(1, self.count - 1))  # endpoint 0 is always well
        if at in self.world.silent and not self.toy.id_bytes:  # what comes next would seem to answer those
            for up in [up for up in self.world.upstreams if self.world.at(up) == at]:
                self.world.batch(("error", up))
        for one in STATES[1:]:
            getattr(self.world, one).discard(at)
        if state != "well":
            getattr(self.world, state).add(at)
        self.world.serve()

    @rule(client=st.integers(0, 2), count=st.integers(1, 4))
    def ask(self, client, count) -> None:
        handle = self.clients[client]
        if not self.toy.id_bytes and self.asked[handle]:
            return  # its answers come in order: one would hold up the next
        for _ in range(count if self.toy.id_bytes else 1):
            known = {at: self.known_ill(at) for at in range(self.count)}
            failed = len(self.world.failed)
            number = self.world.ask(handle)
            wire_id = number % 200 if self.toy.id_bytes == 1 else number if self.toy.id_bytes else 0
            self.asked[handle][wire_id] = (number, self.world.ms, failed)
            self.see(known)

    def see(self, known: dict[int, int]) -> None:
        for at, ms in self.world.asked[self.seen :]:
            if known[at] == native.ILL_SILENT == self.known_ill(at):
                assert ms - self.last.get(at, -BUDGET) >= BUDGET, "two trials at a time"
                if at not in self.world.closing:  # else it is over
                    self.last[at] = ms
        self.seen = len(self.world.asked)

    @rule(ms=st.sampled_from([1, 20, 300, 1100, 5000]))
    def pass_time(self, ms) -> None:
        known = {at: self.known_ill(at) for at in range(self.count)}
        self.world.pass_time(ms, step=1 if ms < 20 else 10)
        self.see(known)

    @rule()
    def reload(self) -> None:
        self.world.apply(table([self.toy.address], connect_ms=1000, **self.of_table))

    @rule(client=st.integers(1, 2))
    def leave(self, client) -> None:
        self.world.batch(("error", self.clients[client]))
        self.clients[client] = self.world.client()
        self.asked[self.clients[client]] = {}

    @invariant()
    def nobody_else_suffers(self) -> None:
        if not hasattr(self, "world"):
            return
        for handle in self.clients:
            for kind, status, wire_id, body in self.world.take(self.toy, handle):
                if kind != self.toy.RESPONSE:
                    continue
                number, _, failed = self.asked[handle].pop(wire_id)
                if status == UNAVAILABLE and b"cannot connect to" in body:
                    found = set(self.world.failed[failed:])
                    assert len(found) >= TRIES, f"{body!r}, though only {found} could not be reached"
                elif status != OK:
                    assert number in self.world.lost, f"{status}: {body!r}, though no ill endpoint had it"
                    assert status in {TIMEOUT, UNAVAILABLE}
            for number, since, _ in self.asked[handle].values():
                waits = self.world.ms - since
                assert waits <= BUDGET + 10
                assert number in self.world.lost or waits <= MOMENT + 10, "it waits, though one is well"

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        for one in STATES[1:]:
            getattr(world, one).clear()
        world.pass_time(BUDGET + 100)
        self.nobody_else_suffers()
        for client in self.clients:
            assert self.asked[client] == {}
        world.calls(330, every=100)
        assert all(self.known_ill(at) == native.WELL for at in range(self.count))
        before = len(world.asked)
        assert {status for status, _ in world.calls(20 * self.count)} == {OK}
        assert world.share(before) == dict.fromkeys(range(self.count), 20)
        assert world.stat("requests_active") == 0


@pytest.mark.parametrize("kind", ["wide", "narrow", "ordered", "pingpong", "polite", "named"])
def test_random_illnesses(toys, kind, request) -> None:
    machine = type("Machine", (Machine,), {"kind": kind, "toys": toys})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=request.config.getoption("--examples") // 2,
            stateful_step_count=40,
            deadline=None,
            phases=[
                phase for phase in Phase if phase != Phase.shrink or request.config.getoption("--shrink")
            ],
            suppress_health_check=list(HealthCheck),
        ),
    )
