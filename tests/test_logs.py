"""Log lines: who writes never waits, and what others cause is once a minute."""

from __future__ import annotations

import fcntl
import logging
import os
import threading

import pytest

from protokit import logs

LOG = logging.getLogger("protokit.test")


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    os.close(writer)
    os.close(reader)


def all_of(reader: int, stop: str) -> str:
    text = ""
    while stop not in text:
        text += os.read(reader, 1 << 16).decode()
    return text


def test_a_stream_that_is_read_has_every_line(pipe):
    reader, writer = pipe
    stream = logs.Stream(writer)
    for number in range(2000):
        stream.write(f"line {number} ä\n")
    stream.write("end\n")
    lines = all_of(reader, "end\n").splitlines()
    assert lines == [*(f"line {number} ä" for number in range(2000)), "end"]
    stream.drain(5)
    assert stream._held == 0


def test_a_full_pipe_stops_nobody_and_what_was_dropped_is_counted(pipe):
    reader, writer = pipe
    stream = logs.Stream(writer)
    line = "x" * 99 + "\n"
    for _ in range(30_000):
        stream.write(line)
    assert stream._held <= logs._HELD
    stream.drain(0.01)  # as at the process's end
    text = ""
    while "were dropped here" not in text:
        text += os.read(reader, 1 << 16).decode()
    *lines, note = text.splitlines()
    assert set(lines) == {line.strip()}
    assert note == f"protokit: {30_000 - len(lines)} lines were dropped here, nobody read them"
    stream.write("and on\n")
    assert all_of(reader, "\n") == "and on\n"


def test_a_pipe_that_never_waits_is_waited_for(pipe):
    reader, writer = pipe
    os.set_blocking(writer, False)
    stream = logs.Stream(writer)
    for number in range(2000):
        stream.write(f"line {number}\n")
    assert len(all_of(reader, "line 1999\n").splitlines()) == 2000


def test_a_reader_that_left_costs_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    stream = logs.Stream(writer)
    for _ in range(30_000):
        stream.write("x" * 100 + "\n")
    stream.drain(5)
    assert stream._held == 0 and not stream._waiting
    os.close(writer)


def test_threads_that_end_at_once_do_not_wait_for_the_writer(pipe):
    _, writer = pipe
    before = threading.active_count()
    logs.Stream(writer).write("x" * 8192 + "\n")
    assert [one.daemon for one in threading.enumerate()[before:]] == [True]


def test_a_kind_is_logged_once_a_minute_with_a_count(caplog):
    now = [100.0]
    repeated = logs.Repeated(lambda: now[0])

    def lines() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    for _ in range(500):
        repeated.log(LOG, logging.ERROR, "a", "a failed")
    repeated.log(LOG, logging.ERROR, "b", "b failed", count=3)
    assert lines() == ["a failed", "b failed (3 times)"]
    now[0] += 59
    repeated.flush()
    assert lines() == []
    now[0] += 1
    repeated.flush()
    assert lines() == ["a failed (499 more in the last minute)"]
    repeated.log(LOG, logging.ERROR, "a", "a failed")
    assert lines() == []
    now[0] += 60
    repeated.log(LOG, logging.ERROR, "a", "a failed")
    assert lines() == ["a failed (2 more in the last minute)"]
    now[0] += 120
    repeated.flush()
    repeated.log(LOG, logging.ERROR, "a", "a failed")
    assert lines() == ["a failed"]


def test_kinds_without_end_are_one(caplog):
    repeated = logs.Repeated(lambda: 0.0)
    for number in range(5000):
        repeated.log(LOG, logging.ERROR, number, f"{number} failed")
    assert len(caplog.records) == logs._KINDS + 1
    assert len(repeated._kinds) == logs._KINDS + 1


def test_a_trace_begins_where_protokit_ends(monkeypatch):
    def outer():
        inner()

    def inner():
        raise ValueError

    try:
        outer()
    except ValueError as error:
        assert logs.foreign(error).tb_frame.f_code.co_name == "test_a_trace_begins_where_protokit_ends"
        monkeypatch.setattr(logs, "_OURS", __file__)
        assert logs.foreign(error).tb_frame.f_code.co_name == "inner"
        assert logs.place(error) == ("ValueError", __file__, inner.__code__.co_firstlineno + 1)
