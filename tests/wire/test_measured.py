"""Values that say themselves how long they are: measured once, refused where they are wrong."""

from __future__ import annotations

import ctypes
import itertools

import pytest
from construct import Bytes, Int8ub, Int16ub, Rebuild, Struct, len_, this
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protokit import Status, native
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.wire import (
    ErrorText,
    Measure,
    Measured,
    Replies,
    WireFormat,
    ber_value,
    json,
    json_value,
    msgpack,
    msgpack_value,
    number,
    resp_value,
    table,
)

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
OK, MORE, FORMAT, LIMIT = 0, 1, -2, -3

# Values, and their parts; each stands alone, with more behind it, and is cut everywhere.
VALUES = {
    msgpack_value: [
        *(bytes([tag]) for tag in (0, 0x7F, 0x80, 0x90, 0xA0, 0xC0, 0xC2, 0xC3, 0xE0, 0xFF)),
        b"\x81\x01\x02",
        b"\x8f" + bytes(30),
        b"\x91\x91\x91\xc0",
        b"\xa3abc",
        b"\xbf" + bytes(31),
        *(bytes([0xC4 + n]) + (3).to_bytes(1 << n, "big") + b"abc" for n in range(3)),
        *(bytes([0xC7 + n]) + (3).to_bytes(1 << n, "big") + b"\x05abc" for n in range(3)),
        *(bytes([0xD9 + n]) + (3).to_bytes(1 << n, "big") + b"abc" for n in range(3)),
        b"\xca" + bytes(4),
        b"\xcb" + bytes(8),
        *(bytes([0xCC + n]) + bytes(1 << n) for n in range(4)),
        *(bytes([0xD0 + n]) + bytes(1 << n) for n in range(4)),
        *(bytes([0xD4 + n]) + b"\x05" + bytes(1 << n) for n in range(5)),
        b"\xdc\0\2\x01\x02",
        b"\xdd\0\0\0\2\x01\x02",
        b"\xde\0\1\x01\x02",
        b"\xdf\0\0\0\1\x01\x02",
        b"\x94\x00\x05\xa3add\x92\x01\x82\xa1a\x90\xa1b\xc4\x01\0",
        b"\xdc\x01\x2c" + b"\x91\xc0" * 300,
    ],
    resp_value: [
        *(tag + b"1 text\r\n" for tag in (b"+", b"-", b":", b"#", b",", b"(", b"_")),
        b"+\r\n",
        b"+a\rb\nc\r\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"%0\r\n",
        b"$4\r\na\r\nb\r\n",
        b"!3\r\nERR\r\n",
        b"=5\r\ntxt:a\r\n",
        b"*2\r\n$4\r\nECHO\r\n$10\r\n0123456789\r\n",
        b"%1\r\n+a\r\n*1\r\n:1\r\n",
        b"~2\r\n:1\r\n:2\r\n",
        b">1\r\n+message\r\n",
        b"|1\r\n+ttl\r\n:7\r\n*1\r\n$-1\r\n",
        b"*3\r\n" + b"*1\r\n" * 3 + b"*0\r\n" * 0 + b":1\r\n:2\r\n*1\r\n_\r\n",
    ],
    ber_value: [
        b"\x05\0",
        b"\x02\x01\x07",
        b"\x30\x7f" + bytes(127),
        b"\x30\x80"[:1] + b"\x81\x80" + bytes(128),
        b"\x30\x82\0\2ab",
        b"\x30\x84\0\0\0\2ab",
        b"\x30\x88" + bytes(7) + b"\2ab",
        b"\x1f\x01\x01a",
        b"\x7f\x81\x80\x80\x01\x01a",
    ],
    json_value: [
        b"{}",
        b"[]",
        b" \r\n\t{}",
        b'{"a": "}", "b": [1, -2.5e+3, true, false, null], "c\\"]": {}}',
        b'["\\\\", "\\u00e4", "\xc3\xa4"]',
        b"[" * 64 + b"]" * 64,
    ],
}
# What is wrong, and at the last byte only: one byte less may still become right.
WRONG = {
    msgpack_value: [(b"\xc1", FORMAT), (b"\x92\x01\xc1", FORMAT), (b"\x9f\xa1a\xc1", FORMAT)],
    resp_value: [
        *((bytes([tag]), FORMAT) for tag in b"\0a;Z}\r\n@"),
        (b"$x", FORMAT),
        (b"$\r", FORMAT),
        (b"$01", FORMAT),
        (b"$00", FORMAT),
        (b"$-0", FORMAT),
        (b"$-2", FORMAT),
        (b"$-11", FORMAT),
        (b"$--", FORMAT),
        (b"$-\r", FORMAT),
        (b"$+", FORMAT),
        (b"$?", FORMAT),
        (b"%-", FORMAT),
        (b"~-", FORMAT),
        (b">-", FORMAT),
        (b"!-", FORMAT),
        (b"=-", FORMAT),
        (b"|-", FORMAT),
        (b"$1x", FORMAT),
        (b"$1\rx", FORMAT),
        (b"$1\r\n1x", FORMAT),
        (b"$1\r\n1\rx", FORMAT),
        (b"*2\r\n+a\r\n@", FORMAT),
        (b"$" + b"1" * 11, LIMIT),
    ],
    ber_value: [
        (b"\0", FORMAT),
        (b"\x30\x80", FORMAT),
        (b"\x30\x89", FORMAT),
        (b"\x30\xff", FORMAT),
        (b"\x1f\x80", FORMAT),
        (b"\x1f\x81\x81\x81\x81\x81", FORMAT),
        (b"\x30\x85\x01\0\0\0\0", LIMIT),
    ],
    json_value: [
        *((bytes([tag]), FORMAT) for tag in b'1"tn}]x\0'),
        (b"[}", FORMAT),
        (b"{]", FORMAT),
        (b'{"a": [}', FORMAT),
        (b'["\n', FORMAT),
        (b"[x", FORMAT),
        (b"[\0", FORMAT),
        (b"[/", FORMAT),
        (b"[" * 65, LIMIT),
    ],
}
ALL = [(measure, value) for measure, values in VALUES.items() for value in values]
ALL_WRONG = [(measure, *wrong) for measure, found in WRONG.items() for wrong in found]


def reference(measure, data):
    try:
        size = measure.reference(data, ())
    except EOFError:
        return MORE
    except RemoteProtocolError:
        return FORMAT
    return size


def asked(measure, data, sizes):
    result, out = native.run_measure(measure.address, data, sizes)
    return out if result == OK else result


@pytest.mark.parametrize(("measure", "value"), ALL, ids=repr)
def test_a_value_is_as_long_as_it_says(measure, value):
    for behind in (b"", b"\xc1", b"\r\n", b"]"):
        data = value + behind
        assert asked(measure, data, [len(data)]) == len(value) == reference(measure, data)
    assert reference(measure, value) == len(value)


@pytest.mark.parametrize(("measure", "value"), ALL, ids=repr)
def test_what_is_cut_is_waited_for_and_never_for_too_much(measure, value):
    for cut in range(1, len(value)):
        result, out = native.run_measure(measure.address, value, [cut])
        known = reference(measure, value[:cut])
        if result == OK:  # all that tells its size is there
            assert out == len(value) == known
        else:
            assert result == known == MORE
            assert cut < out <= len(value)
        assert asked(measure, value, range(1, cut + 1)) == (out if result == OK else result)


@pytest.mark.parametrize(("measure", "value"), ALL, ids=repr)
def test_what_was_looked_at_is_not_looked_at_again(measure, value):
    """It comes byte by byte, and only the last few stay as they were."""
    state, out = (ctypes.c_uint64 * 4)(), ctypes.c_uint64()
    call = MEASURE(measure.address)
    for size in range(1, len(value) + 1):
        gone = max(0, size - 16)
        seen = b"\xc1" * gone + value[gone:size]
        result = call(seen, size, None, 0, state, ctypes.byref(out))
        if result != MORE:
            break
    assert (result, out.value) == (OK, len(value))


def test_a_line_is_searched_once():
    value = b"+" + b"x" * 300 + b"\r\n"
    state, out = (ctypes.c_uint64 * 4)(), ctypes.c_uint64()
    for size in range(3, len(value) + 1):
        gone = b"\r\n" if size % 50 == 0 else b"xx"
        seen = b"+" + (gone * 200)[: size - 3] + value[size - 2 : size]
        result = MEASURE(resp_value.address)(seen, size, None, 0, state, ctypes.byref(out))
        assert result == (OK if size == len(value) else MORE)
    assert out.value == len(value)


MEASURE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(ctypes.c_uint64),
)


@pytest.mark.parametrize(("measure", "data", "result"), ALL_WRONG, ids=repr)
def test_what_is_wrong_is_refused_with_its_first_wrong_byte(measure, data, result):
    for behind in (b"", b"\r\n", b"]]"):
        assert asked(measure, data + behind, [len(data + behind)]) == result
        assert asked(measure, data + behind, range(1, len(data + behind) + 1)) == result
    assert reference(measure, data) == FORMAT
    if len(data) > 1:
        assert reference(measure, data[:-1]) == MORE == asked(measure, data, [len(data) - 1])


@QUICK
@given(st.sampled_from(list(VALUES)), st.data())
def test_any_bytes_are_measured_as_the_reference_does(measure, data):
    value = bytearray(data.draw(st.sampled_from(VALUES[measure])))
    for _ in range(data.draw(st.integers(0, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    value = bytes(value) + data.draw(st.binary(max_size=8))
    known = reference(measure, value)
    for sizes in ([len(value)], range(1, len(value) + 1), range(1, len(value) + 4, 3)):
        seen = asked(measure, value, [*(size for size in sizes if size < len(value)), len(value)])
        assert seen == known or (seen == LIMIT and known == FORMAT)


def test_more_values_than_a_frame_can_have_are_too_many():
    """Each takes a byte at least: what there is room for is known from the first count on."""
    for measure, value, least in (
        (msgpack_value, b"\xdd\xff\xff\xff\xff", 5 + 2**32 - 1),
        (msgpack_value, b"\xdf\x7f\xff\xff\xff", 5 + 2**32 - 2),
        (msgpack_value, b"\x92\xdd\0\0\1\0\xc0", 7 + 255 + 1),
        (resp_value, b"*1000\r\n", 7 + 3000),
        (resp_value, b"%1000\r\n", 7 + 6000),
        (resp_value, b"*2\r\n$100\r\n", 10 + 102 + 3),
    ):
        assert native.run_measure(measure.address, value, [len(value)]) == (MORE, least)
    for measure, value in ((msgpack_value, b"\xdf\xff\xff\xff\xff"), (resp_value, b"%4294967295\r\n")):
        assert asked(measure, value, [len(value)]) == LIMIT
        assert reference(measure, value) == FORMAT


# In a format.


def rpc(**more):
    body = msgpack(this.body)
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "body" / Measured(msgpack_value)),
        id=this.id,
        response=this.kind == 1,
        service=body[1],
        method=body[2]["name"],
        status=table(number(body[3]), {0: Status.OK}, Status.INTERNAL),
        replies=Replies(
            error=lambda status, variant: {
                "kind": 1,
                "body": ErrorText(before=b"\x94\x01\xc0\xd9", count=Int8ub, after=b"\x09"),
            }
        ),
        **more,
    )


RPC = rpc()
REQUEST = b"\0\0\7" + b"\x93\0\xa3a.B\x81\xa4name\xa3get"


def test_a_frame_ends_where_its_value_does():
    message = native.frame(RPC.address, REQUEST + b"\0\1")
    assert (message.result, message.size, message.id) == (OK, len(REQUEST), 7)
    found = native.request(RPC.address, REQUEST)
    assert (found.service, found.method) == ("a.B", "get")
    assert RPC.parse(REQUEST)[0]["body"] == REQUEST[3:]
    assert RPC.build({"kind": 0, "id": 7, "body": REQUEST[3:]}) == REQUEST


def test_every_cut_of_a_frame_is_waited_for():
    framing = native.Framing(RPC.address)
    for cut in range(1, len(REQUEST)):
        alone = native.frame(RPC.address, REQUEST[:cut])
        assert alone.result == MORE
        assert cut < alone.need <= len(REQUEST)
        assert framing.frame(REQUEST[:cut]) == alone
    assert framing.frame(REQUEST + REQUEST).size == len(REQUEST)
    assert framing.frame(REQUEST).size == len(REQUEST)  # the next one begins anew
    assert 0 < native.state_size(RPC.address) <= 4096


def test_a_wrong_value_is_refused_and_its_sender_told():
    message = native.frame(RPC.address, b"\0\0\7\x93\0\xc1")
    assert (message.result, message.id, message.error_at) == (FORMAT, 7, 3)
    framing = native.Framing(RPC.address)
    assert [framing.frame((b"\0\0\7\x93\0\xc1")[:size]).result for size in range(1, 7)] == [1] * 5 + [FORMAT]
    with pytest.raises(RemoteProtocolError, match="c1 begins no value of MessagePack"):
        RPC.parse(b"\0\0\7\x93\0\xc1")


def test_a_value_over_the_limit_is_refused_with_its_head():
    for value in (b"\xdd\xff\xff\xff\xff", b"\xdb\x00\x01\x00\x00", b"\xdf\xff\xff\xff\xff"):
        message = native.frame(RPC.address, b"\0\0\7" + value, 1000)
        assert (message.result, message.id) == (LIMIT, 7)
    whole = b"\0\0\7\xda\1\0" + bytes(256)
    assert native.frame(RPC.address, whole[:6], 262).need == 262
    assert native.frame(RPC.address, whole, 262).result == OK
    for there in (6, 262):
        message = native.frame(RPC.address, whole[:there], 261)
        assert (message.result, message.size, message.need) == (LIMIT, 262, 262)


def test_edits_go_through_what_is_measured():
    edited = RPC.edit(REQUEST, [(native.EDIT_SERVICE, "", "longer.Service"), (native.EDIT_METHOD, "", "put")])
    found = native.request(RPC.address, edited)
    assert (found.service, found.method) == ("longer.Service", "put")
    assert native.frame(RPC.address, edited).size == len(edited)


def test_an_error_is_a_value_too():
    for text in (b"", b"why", b"x" * 255, b"y" * 512):
        reply = native.error(RPC.address, int(Status.TIMEOUT), 9, 0, text, b"")
        assert msgpack_value.reference(reply[3:], ()) == len(reply) - 3
        assert native.frame(RPC.address, reply).status == Status.INTERNAL


def test_what_is_no_value_cannot_be_built():
    for body in (b"", b"\x91", b"\xc0\xc0", b"\xc1"):
        with pytest.raises(LocalProtocolError, match=r"body: .* is not one msgpack_value"):
            RPC.build({"kind": 0, "id": 1, "body": body})


def test_one_stands_behind_another_and_in_a_branch():
    wire = WireFormat(
        Struct(
            "id" / Int16ub,
            "n" / Rebuild(Int8ub, len_(this.second)),
            "first" / Measured(json_value),
            "second" / Measured(resp_value),
            "rest" / Bytes(this.n),
        ),
        id=this.id,
        response=this.n == 0,
        service=json(this.first)["s"],
        replies=Replies(error=lambda *_: {"first": b"{}", "second": b"-ERR\r\n", "rest": b"123456"}),
    )
    frame = b"\0\1\6" + b'{"s": "a"}' + b"*0\r\n+a\r\n"[:4] + b"abcdef"
    framing = native.Framing(wire.address)
    assert [framing.frame(frame[:size]).result for size in range(1, len(frame))] == [1] * (len(frame) - 1)
    assert framing.frame(frame).size == len(frame) == native.frame(wire.address, frame).size
    assert wire.parse(frame)[1] == len(frame)


# Measures of a plugin's own.


def own(answers, name="own"):
    """A measure that says these, one after the other, and what it was asked."""
    asks = []
    left = itertools.chain(answers, itertools.repeat(answers[-1]))

    def called(at, size, arguments, count, state, out):
        asks.append((size, list(state[:4]), count))
        result, value = next(left)
        state[0] += 1
        out[0] = value
        return result

    function = MEASURE(called)
    address = ctypes.cast(function, ctypes.c_void_p).value
    return Measure(name, address, lambda data, arguments: 1, [b"x"], function), asks


def framed(measure, *arguments):
    return WireFormat(
        Struct("id" / Int16ub, "body" / Measured(measure, *arguments), "end" / Int8ub),
        id=this.id,
        response=this.id == 0,
        replies=Replies(error=lambda *_: {"body": b"x", "end": 0}),
    )


def test_a_measure_goes_on_with_what_it_left_and_begins_anew_in_each_frame():
    measure, asks = own([(MORE, 3), (MORE, 5), (OK, 6), (MORE, 2)])
    wire = framed(measure, "one", b"two")
    framing = native.Framing(wire.address)
    assert framing.frame(b"\0\1" + bytes(1)).need == 5
    assert framing.frame(b"\0\1" + bytes(3)).need == 7
    assert framing.frame(b"\0\1" + bytes(5)).need == 9
    assert framing.frame(b"\0\1" + bytes(7)).size == 9
    assert asks == [(1, [0, 0, 0, 0], 2), (3, [1, 0, 0, 0], 2), (5, [2, 0, 0, 0], 2)]
    assert framing.frame(b"\0\1" + bytes(1)).result == MORE
    assert asks[-1] == (1, [0, 0, 0, 0], 2)


@pytest.mark.parametrize(
    ("answer", "result", "need"),
    [
        ((MORE, 0), MORE, 4),  # less than is there: one byte more
        ((MORE, 1), MORE, 4),
        ((MORE, 98), MORE, 100),
        ((MORE, 99), LIMIT, 0),
        ((MORE, 2**64 - 1), LIMIT, 0),
        ((OK, 0), FORMAT, 0),  # a value has a byte at least
        ((OK, 98), LIMIT, 101),  # with what is behind it
        ((OK, 97), MORE, 100),
        ((OK, 2**64 - 1), LIMIT, 0),
        ((OK, 2**32), LIMIT, 0),
        ((-1, 5), FORMAT, 0),
        ((-2, 5), FORMAT, 0),
        ((-3, 5), LIMIT, 0),
        ((-4, 5), FORMAT, 0),
        ((-99, 5), FORMAT, 0),
        ((7, 5), FORMAT, 0),
    ],
)
def test_what_a_measure_says_is_not_believed(answer, result, need):
    measure, _ = own([answer])
    message = native.frame(framed(measure).address, b"\0\1x", 100)
    assert (message.result, message.need if result != FORMAT else 0) == (result, need)


def test_the_limit_is_met_where_more_has_come_than_it_allows():
    measure, _ = own([(OK, 1)])
    assert native.frame(framed(measure).address, b"\0\1x\0", 1).result == LIMIT
    assert native.frame(framed(measure).address, b"\0\1x\0", 2).result == LIMIT
