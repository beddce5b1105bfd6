"""The hessian2 reader and writer against real bytes and against each other."""

from __future__ import annotations

import datetime

import pytest
from dubbo_vectors import values
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo.hessian import Long, Object, Reader, TypedList, TypedMap, Writer
from protokit_dubbo.messages import count_parameters

from protokit.errors import LocalProtocolError, RemoteProtocolError


@settings(max_examples=many(300), deadline=None)
@given(values)
def test_what_is_written_is_read_back(value):
    writer = Writer()
    writer.write(value)
    reader = Reader(bytes(writer.data))
    assert reader.read() == value
    assert reader.done


@settings(max_examples=many(500), deadline=None)
@given(st.binary(max_size=60))
def test_garbage_is_read_or_refused(data):
    reader = Reader(data)
    try:
        while not reader.done:
            reader.read()
    except RemoteProtocolError as error:
        assert str(error)


@pytest.mark.parametrize("units", [31, 32, 1023, 1024, 32767, 32768, 32769, 70000])
def test_long_strings_with_pairs_across_the_edge_of_a_chunk(units):
    text = "a" * (units - 1) + "🚀" + "é" * 40
    writer = Writer()
    writer.write(text)
    assert Reader(bytes(writer.data)).read() == text


def test_lone_surrogates_survive():
    writer = Writer()
    writer.write("x\ud800y\udc00")
    assert Reader(bytes(writer.data)).read() == "x\ud800y\udc00"


def test_references_keep_their_identity():
    shared = [1]
    cyclic = {"a": shared, "b": shared}
    cyclic["me"] = cyclic
    writer = Writer()
    writer.write(cyclic)
    back = Reader(bytes(writer.data)).read()
    assert back["a"] is back["b"]
    assert back["me"] is back


def test_types_classes_dates_and_longs():
    typed = TypedList([1])
    typed.type_name = "java.util.LinkedList"
    table = TypedMap({1: Long(2)})
    table.type_name = "java.util.TreeMap"
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)
    objects = [Object(f"C{i % 20}", {"x": i}) for i in range(40)]
    writer = Writer()
    for value in (typed, typed[:], table, when, objects):
        writer.write(value)
    reader = Reader(bytes(writer.data))
    first, second, third, date, back = (reader.read() for _ in range(5))
    assert (first.type_name, second, third.type_name, type(third[1])) == (
        "java.util.LinkedList",
        [1],
        "java.util.TreeMap",
        Long,
    )
    assert (date, back) == (when, objects)


def test_what_cannot_be_written_says_so():
    with pytest.raises(LocalProtocolError, match="cannot write a set"):
        Writer().write(set())
    with pytest.raises(LocalProtocolError, match="does not fit 64 bits"):
        Writer().write(2**63)
    with pytest.raises(LocalProtocolError, match="a datetime without a zone says no time"):
        Writer().write(datetime.datetime.fromtimestamp(0, datetime.UTC).replace(tzinfo=None))


def test_descriptors():
    assert count_parameters("I[[JLjava/lang/String;[Ljava/util/List;Z") == 5
    for wrong in ("X", "Ljava", "["):
        with pytest.raises(RemoteProtocolError):
            count_parameters(wrong)


@pytest.mark.parametrize("written", ["4b7fffffff", "4b80000000", "4a0000753000000000", "4a00007530ffffea60"])
def test_dates_of_whole_minutes_are_written_in_what_holds_them(written):
    """Minutes are 32 bits: they end in the year 6053."""
    try:
        date = Reader(bytes.fromhex(written)).read()
    except RemoteProtocolError:
        assert written == "4b80000000"  # before the year 1
        return
    writer = Writer()
    writer.write(date)
    assert Reader(bytes(writer.data)).read() == date
    assert bytes(writer.data).hex() == written
