"""What is told of endpoints, in the log and to who asks: ill, left out, and both."""

from __future__ import annotations

import errno

import pytest

from protokit import logs, native
from protokit.dataplane import endpoints

KEY = ("c", "::1", 9000)
OUT = "is left out for 5 s: errors one after the other"
REFUSED = "cannot be reached: Connection refused"


def told(state: int, *, out_ms: int = 0) -> native.Op:
    data = {native.ILL_EJECTED: 1, native.ILL_REFUSED: errno.ECONNREFUSED}.get(state, 0)
    return native.Op(native.OP_ENDPOINT, 0, 0, data, state, 0, out_ms)


class Told:
    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(endpoints.time, "monotonic", lambda: self.now)
        self.repeated = logs.Repeated(lambda: self.now)
        self.health = endpoints.Health(self.repeated.apart())

    def changed(self, state: int, out_ms: int = 0) -> None:
        self.health.changed(0, KEY, told(state, out_ms=out_ms))

    def why(self) -> list[str]:
        return [one["why"] for one in self.health.ill(KEY)]


@pytest.fixture
def one(monkeypatch):
    return Told(monkeypatch)


def lines(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_an_endpoint_may_be_left_out_and_not_reached(one):
    one.changed(native.ILL_REFUSED)
    one.changed(native.ILL_EJECTED, 5000)
    assert one.why() == [REFUSED, OUT]


def test_one_that_is_reached_again_is_left_out_still(one, caplog):
    caplog.set_level("INFO")
    one.changed(native.ILL_EJECTED, 5000)
    one.changed(native.ILL_REFUSED, 4500)
    one.changed(native.WELL, 4000)
    assert one.why() == [OUT]
    assert lines(caplog)[-1] == (
        "endpoint [::1]:9000 of cluster c can be reached again, and is left out for 4 s more"
    )
    one.changed(native.WELL)
    assert one.why() == []
    assert lines(caplog)[-1].endswith(" is well again")


def test_well_again_is_said_once_no_worker_leaves_it_out(one, caplog):
    """Where nobody looks as the last one's time ends, what comes then is said, if in the same words."""
    caplog.set_level("INFO")

    def said(worker: int, state: int, out_ms: int = 0) -> list[str]:
        caplog.clear()
        one.health.changed(worker, KEY, told(state, out_ms=out_ms))
        return [text.removeprefix("endpoint [::1]:9000 of cluster c ") for text in lines(caplog)]

    for turn in range(3):
        assert [said(worker, native.ILL_EJECTED, 5000) for worker in range(3)] == [[OUT], [], []], turn
        assert said(2, native.ILL_REFUSED) == [REFUSED]
        assert said(0, native.WELL) == said(1, native.WELL) == []
        assert said(2, native.WELL, 1000) == ["can be reached again, and is left out for 1 s more"]
        if turn == 0:
            assert said(2, native.WELL) == ["is well again"]
        one.now += 5


def test_the_time_for_which_it_is_left_out_ends_though_nobody_says_so(one):
    one.changed(native.ILL_REFUSED)
    one.changed(native.ILL_EJECTED, 5000)
    one.now = 4.9
    assert one.health.ill(KEY)[1] == {"worker": 0, "why": OUT, "seconds": 4.9}
    one.now = 5.0
    assert one.why() == [REFUSED]


def test_what_is_forgotten_is_both(one):
    one.changed(native.ILL_REFUSED)
    one.changed(native.ILL_EJECTED, 5000)
    one.health.keep([KEY])
    assert len(one.why()) == 2
    one.health.keep([])
    assert one.why() == []


def test_one_that_fails_its_health_checks_is_told_with_its_reason_until_it_passes(one, caplog):
    caplog.set_level("INFO")
    checks = native.constants("PK_CHECK_BY_")
    assert [*checks] == ["none", "connect", "heartbeat", "call", "count"]
    for data, detail, text in (
        (1, errno.ECONNREFUSED, "no connection: Connection refused"),
        (2, 0, "no connection in the time for it"),
        (7, 6, "it answers with an error: UNAVAILABLE"),
    ):
        one.health.changed(0, KEY, native.Op(native.OP_ENDPOINT, 0, 0, data, native.ILL_FAILING, detail, 0))
        assert one.why() == [f"fails its health checks: {text}"]
        assert lines(caplog)[-1] == f"endpoint [::1]:9000 of cluster c fails its health checks: {text}"
    one.changed(native.ILL_REFUSED)
    assert one.why() == sorted([REFUSED, f"fails its health checks: {text}"])
    one.changed(native.WELL)
    assert one.why() == [f"fails its health checks: {text}"]
    assert lines(caplog)[-1].endswith("can be reached again, and still fails its health checks")
    for data, text in ((0, "passes its health checks again"), (8, "is not health-checked any more")):
        one.health.changed(0, KEY, native.Op(native.OP_ENDPOINT, 0, 0, data, native.ILL_FAILING, 0, 0))
        assert one.why() == []
        assert lines(caplog)[-1].endswith(text)


def test_one_that_is_well_and_ill_in_turns_is_a_line_a_minute_for_each(one, caplog):
    caplog.set_level("INFO")
    name = ("c", "")
    for turn in range(100):
        one.now = turn / 10
        one.changed(native.ILL_REFUSED)
        one.changed(native.ILL_EJECTED, 100 * turn)
        one.changed(native.WELL)
        one.health.panics(0, name, native.Op(native.OP_PANIC, 0, 0, turn % 7, 1, 9, 0))
        one.health.panics(0, name, native.Op(native.OP_PANIC, 0, 0, 8, 0, 9, 0))
        one.health.prefers(0, name, native.Op(native.OP_PREFER, 0, 0, 1000 * turn, 0, 0, 0))
        one.repeated.flush()
    # Ten at once of the endpoint, of its panics and of its preference, and then one of each kind.
    assert len(lines(caplog)) == 10 + 3 + 10 + 2 + 10 + 1
    assert one.why() == []
    caplog.clear()
    one.now = 70.0
    one.repeated.flush()
    assert len(lines(caplog)) == 6
    assert f"endpoint [::1]:9000 of cluster c {REFUSED} (95 more in the last minute)" in lines(caplog)
    one.changed(native.ILL_REFUSED)  # after a minute
    one.changed(native.WELL)
    assert len(lines(caplog)) == 8


def failing(data: int) -> native.Op:
    return native.Op(native.OP_ENDPOINT, 0, 0, data, native.ILL_FAILING, 0, 0)


def panic(usable: int) -> native.Op:
    return native.Op(native.OP_PANIC, 0, 0, usable, int(usable < 2), 4, 0)


def prefer(share: int) -> native.Op:
    return native.Op(native.OP_PREFER, 0, 0, share, 0, 0, 0)


WAYS = {
    "ill": (told(native.ILL_REFUSED), told(native.WELL)),
    "left out": (told(native.ILL_EJECTED, out_ms=5000), told(native.WELL)),
    "failing": (failing(1), failing(0)),
    "panic": (panic(1), panic(4)),
    "prefer": (prefer(500_000), prefer(1_000_000)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("workers", [1, 2, 64])
def test_what_all_workers_find_is_said_once(one, caplog, way, workers):
    """And again when it was otherwise meanwhile; who asks is told of each worker."""
    caplog.set_level("INFO")
    health, (bad, good) = one.health, WAYS[way]

    def find(worker: int, op: native.Op) -> None:
        if way == "panic":
            health.panics(worker, ("c", "v=1"), op)
        elif way == "prefer":
            health.prefers(worker, ("c", "v=1"), op)
        else:
            health.changed(worker, KEY, op)

    for turn in (1, 2):
        for worker in range(workers):
            find(worker, bad)
        assert len(lines(caplog)) == 2 * turn - 1
        shown = {"panic": lambda: health.panicking("c"), "prefer": lambda: health.spilling("c")}
        assert len(shown.get(way, lambda: health.ill(KEY))()) == workers
        for worker in range(workers):
            find(worker, good)
        assert len(lines(caplog)) == 2 * turn
        health.keep([KEY])
    find(0, bad)
    health.keep([])  # who comes again is another
    find(0, bad)
    assert len(lines(caplog)) == 6


def test_another_subset_s_and_another_cluster_s_are_their_own_lines(one, caplog):
    caplog.set_level("INFO")
    names = [("c", ""), ("c", "v=1"), ("d", ""), ("d", "v=1")]
    for name in names:
        one.health.panics(0, name, panic(1))
        one.health.prefers(0, name, prefer(500_000))
    for key in (KEY, ("d", "::1", 9000), ("c", "::1", 9001)):
        one.health.changed(0, key, told(native.ILL_REFUSED))
    assert len({*lines(caplog)}) == 11
