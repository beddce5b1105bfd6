"""What the log says of the workers' counters."""

from __future__ import annotations

from protokit import native
from protokit.dataplane import watch
from protokit.logs import Repeated


class Worker:
    def __init__(self) -> None:
        self.counters = dict.fromkeys(native.STAT_NAMES, 0)

    def stats(self) -> dict[str, int]:
        return dict(self.counters)


def test_every_counter_that_is_logged_is_there():
    assert set(watch.LINES) <= set(native.STAT_NAMES)


def test_what_counters_grow_by_is_one_line_a_minute_for_each(caplog):
    now = [0.0]
    workers = [Worker(), Worker()]
    look = watch.Watch(workers, Repeated(lambda: now[0])).look
    look()
    assert not caplog.records
    for number, name in enumerate(watch.LINES):
        workers[number % 2].counters[name] += 7
    workers[0].counters["requests"] += 1000
    look()
    expected = [f"{text} (7 times)" for text in watch.LINES.values()]
    assert [record.getMessage() for record in caplog.records] == expected
    caplog.clear()
    for _ in range(59):
        now[0] += 1
        workers[0].counters["upstream_silent"] += 1
        workers[1].counters["upstream_silent"] += 2
        look()
    assert not caplog.records
    now[0] += 1
    look()
    (record,) = caplog.records
    assert record.getMessage() == f"{watch.LINES['upstream_silent']} (177 more in the last minute)"


class State:
    def __init__(self) -> None:
        self.limit = 0

    def counts(self) -> dict[str, int]:
        return {"limit": self.limit, "would-limit": 0}


def test_a_rule_that_a_reload_shifts_is_not_counted_again(caplog):
    """Its name is another's then, its state is its own."""
    states = {"r[0]": State(), "r[1]": State()}
    running = [states]
    look = watch.Watch([], Repeated(), lambda: running[0]).look
    states["r[0]"].limit, states["r[1]"].limit = 5, 1
    look()
    assert len(caplog.records) == 2
    caplog.clear()
    running[0] = {"r[0]": State(), "r[1]": states["r[0]"], "r[2]": states["r[1]"]}
    look()
    assert not caplog.records
    running[0]["r[2]"].limit += 3
    look()
    assert [record.getMessage() for record in caplog.records] == [
        watch.RULES["limit"].format("r[2]") + " (3 times)"
    ]


def test_a_rule_that_comes_back_is_not_counted_again(caplog):
    state = State()
    running = [{"r[0]": state}]
    look = watch.Watch([], Repeated(), lambda: running[0]).look
    state.limit = 5
    look()
    caplog.clear()
    running[0] = {}
    look()
    running[0] = {"r[4]": state}
    look()
    assert not caplog.records
