"""What of baidu_std the captured frames do not show."""

from __future__ import annotations

import brpc_frames as made
import pytest
from protokit_brpc import brpc, jprotobuf

from protokit import Status, native
from protokit.errors import LocalProtocolError

ASKED = made.text(1, made.text(1, b"Echo") + made.text(2, b"echo"))
ANSWERED = made.text(2, made.number(1, 0))
ID = made.number(4, 300)


def frame(meta, body=b""):
    sizes = (len(meta) + len(body)).to_bytes(4, "big") + len(meta).to_bytes(4, "big")
    return b"PRPC" + sizes + meta + body


REQUEST, RESPONSE, OK = 1, 3, 0
BRPC, JPROTOBUF = brpc.wire.address, jprotobuf.wire.address


@pytest.mark.parametrize(
    "meta", [ASKED + ID, ID + ASKED, made.number(3, 2) + ID + ASKED + made.text(7, b"key")]
)
def test_fields_may_come_in_any_order(meta):
    found = [native.frame(BRPC, frame(one)) for one in (meta, meta + ANSWERED, ANSWERED + meta)]
    assert [(one.result, one.kind) for one in found] == [(OK, REQUEST), (OK, RESPONSE), (OK, RESPONSE)]


@pytest.mark.parametrize(
    "meta",
    [
        ASKED + ID + ASKED,  # a receiver would put them together
        ASKED + ANSWERED + ANSWERED + ID,
        ASKED + ID + ID,
        ASKED + ID + made.number(4, 1),
        ASKED,  # no id
        ID,  # neither
        ASKED + made.text(4, b"7"),
        made.number(1, 7) + ID,
        ASKED + ID + made.text(6, made.number(1, 9) + made.number(2, 0)),  # a part of a message
        ASKED + ID + made.text(6, made.number(1, 9) + made.number(2, 2**64 - 1)),  # its last
        ASKED + ID + b"\x0b",  # a group
        ASKED + ID + b"\0\0",  # no number
        ASKED + ID + b"\x2a\x05abcd",
        ASKED + b"\x20" + b"\xff" * 9 + b"\x02",  # over 64 bits
    ],
)
def test_what_a_receiver_could_read_otherwise_is_refused(meta):
    assert native.frame(BRPC, frame(meta)).result < OK


@pytest.mark.parametrize(
    ("code", "of_brpc", "of_java"), [(2001, "INTERNAL", "APP_ERROR"), (2002, "INTERNAL", "INTERNAL")]
)
def test_what_a_method_raised_is_its_own_where_the_code_says_so(code, of_brpc, of_java):
    data = frame(made.text(2, made.number(1, code)) + ID)
    found = [Status(native.frame(codec, data).status).name for codec in (BRPC, JPROTOBUF)]
    assert found == [of_brpc, of_java]


HEADER, SERVICE, METHOD, VERSION = 0, 1, 2, 3  # what an edit is about
FORMAT, LIMIT, MORE, UNSUPPORTED = -2, -3, 1, -4


def pair(key, value):
    return made.text(1, key) + made.text(2, value)


def with_headers(*headers, body=b"data"):
    """A request of jprotobuf's, whose headers stand in the request."""
    asked = made.text(1, b"Echo") + made.text(2, b"echo") + b"".join(made.text(7, one) for one in headers)
    return frame(made.text(1, asked) + ID, body)


def test_a_meta_ends_where_its_frame_does():
    meta = ASKED + ID
    data = b"PRPC" + (len(meta) - 1).to_bytes(4, "big") + len(meta).to_bytes(4, "big") + meta
    found = native.frame(BRPC, data)
    assert (found.result, found.error_at) == (FORMAT, 8)


def test_a_text_that_leads_back_to_what_was_read_is_refused():
    """Its length makes a pointer go back into a text in front, which then would end the meta."""
    field = b"\xb2\1" + made.varint(2**64 - 15)
    inside = b"\xaa\1" + bytes([len(field)])
    assert native.frame(BRPC, frame(ASKED + ID + made.text(20, inside) + field)).result == FORMAT


def test_of_what_is_too_large_the_sender_is_told():
    data = frame(ASKED + ID, b"x" * 100)
    limit = len(data) - 1
    assert native.frame(BRPC, data, limit=len(data)).result == OK
    found = native.frame(BRPC, data[: 12 + len(ASKED + ID)], limit=limit)  # its body is not waited for
    assert (found.result, found.kind, found.id) == (LIMIT, REQUEST, made.varint(300))
    assert native.frame(BRPC, data, limit=100).result == LIMIT
    assert native.frame(BRPC, frame(ASKED + ID + made.text(20, b"x" * 200)), limit=100).kind == 0


@pytest.mark.parametrize("value", [1, 127, 128, 2**64 - 1])
def test_sizes_follow_an_id(value):
    wanted = frame(ASKED + made.number(4, value), b"data")
    assert native.patch_id(BRPC, frame(ASKED + ID, b"data"), made.varint(value)) == wanted


@pytest.mark.parametrize("wanted", [b"", b"\x80", b"\5\6"])
def test_what_is_no_varint_is_no_id(wanted):
    with pytest.raises(LocalProtocolError):
        native.patch_id(BRPC, frame(ASKED + ID), wanted)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, "OK"),
        (1001, "NO_SERVICE"),
        (1002, "NO_SERVICE"),
        (1003, "BAD_REQUEST"),
        (1004, "DENIED"),
        (1008, "TIMEOUT"),
        (1009, "UNAVAILABLE"),
        (2003, "UNAVAILABLE"),
        (1011, "OVERLOADED"),
        (2004, "OVERLOADED"),
        (3000, "BAD_REQUEST"),
        (5017, "APP_ERROR"),
        (2**64 - 1, "APP_ERROR"),
    ],
)
def test_codes_are_statuses(code, status):
    data = frame(made.text(2, made.number(1, code)) + ID)
    assert Status(native.frame(BRPC, data).status).name == status


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("NO_SERVICE", 1001),
        ("BAD_REQUEST", 1003),
        ("DENIED", 1004),
        ("TIMEOUT", 1008),
        ("UNAVAILABLE", 1009),
        ("OVERLOADED", 2004),
        ("INTERNAL", 2002),
    ],
)
def test_an_error_says_its_code_and_repeats_its_request(status, code):
    kept = brpc.wire.ask.keep(frame(ASKED + ID))
    assert kept == ASKED
    said = made.text(2, made.number(1, code) + made.text(2, b"why"))
    rest = made.number(3, 0) + made.number(4, 0) + made.number(5, 0)
    assert brpc.wire.ask.error(Status[status], b"\0", 0, b"why", kept) == frame(ASKED + said + rest)


@pytest.mark.parametrize(("value", "wanted"), [(1500, 1500), (2**64 - 1, 0), (2**31, 0)])
def test_a_time_below_zero_is_none(value, wanted):
    data = frame(made.text(1, made.text(1, b"Echo") + made.number(8, value)) + ID)
    assert brpc.wire.ask.request(data).timeout_ms == wanted


def test_of_equal_headers_the_last_is_changed_and_the_others_go():
    data = with_headers(pair(b"a", b"1"), pair(b"b", b"2"), pair(b"a", b"3"))
    assert jprotobuf.wire.ask.header(data, "a") == "3"
    wanted = with_headers(pair(b"b", b"2"), pair(b"a", b"9"))
    assert jprotobuf.wire.ask.edit(data, [(HEADER, "a", "8"), (HEADER, "a", "9")]) == wanted
    assert jprotobuf.wire.ask.edit(data, [(HEADER, "a", None)]) == with_headers(pair(b"b", b"2"))
    added = with_headers(pair(b"a", b"1"), pair(b"b", b"2"), pair(b"a", b"3"), pair(b"c", b"4"))
    assert jprotobuf.wire.ask.edit(data, [(HEADER, "c", "4")]) == added


def test_a_service_that_stands_twice_or_nowhere_is_written_once():
    twice = made.text(1, b"One") + made.text(1, b"Two") + made.text(2, b"echo")
    wanted = frame(made.text(1, made.text(1, b"New") + made.text(2, b"echo")) + ID)
    assert brpc.wire.ask.edit(frame(made.text(1, twice) + ID), [(SERVICE, "", "New")]) == wanted
    nowhere = frame(made.text(1, made.text(2, b"echo")) + ID, b"data")
    wanted = frame(made.text(1, made.text(2, b"echo") + made.text(1, b"New")) + ID, b"data")
    assert brpc.wire.ask.edit(nowhere, [(SERVICE, "", "New")]) == wanted


def test_what_the_protocol_has_not_cannot_be_written():
    with pytest.raises(LocalProtocolError):
        brpc.wire.ask.edit(frame(ASKED + ID), [(VERSION, "", "2")])
    with pytest.raises(LocalProtocolError):
        brpc.wire.ask.edit(frame(ANSWERED + ID), [(SERVICE, "", "New")])


def test_what_an_answer_repeats_of_its_request_are_not_its_headers():
    asked = made.text(1, made.text(1, b"Echo") + made.text(7, pair(b"a", b"1")))
    assert dict(jprotobuf.wire.ask.headers(frame(asked + ID))) == {"a": "1"}
    assert dict(jprotobuf.wire.ask.headers(frame(asked + ANSWERED + ID))) == {}
