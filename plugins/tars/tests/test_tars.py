"""What of TARS the captured frames do not show."""

from __future__ import annotations

import pytest
import tars_frames as made
from protokit_tars import tars

from protokit import Status, native
from protokit.errors import LocalProtocolError

TARS = tars.wire.address
OK, MORE, MAGIC, FORMAT, LIMIT, UNSUPPORTED = 0, 1, -1, -2, -3, -4
REQUEST, RESPONSE, HEARTBEAT, ACK = 1, 3, 4, 5
CALLED = (made.text(5, b"Demo.Echo.EchoObj"), made.text(6, b"echo"), made.octets(7, b"body"))
REST = (made.number(8, 0), made.pairs(9, []), made.pairs(10, []))


def ask(value=7, width=None, kind=0, fields=(*CALLED, *REST)):
    return made.request(1, kind, 0, lambda tag: made.number(tag, value, width), *fields)


@pytest.mark.parametrize("width", [None, 1, 2, 4])
@pytest.mark.parametrize(
    "value", [0, 1, 127, -1, 128, 32767, 40000, 0x00FFFFFF, 0x01000000, 0x01FFFFFF, 2**31 - 1]
)
def test_a_servers_id_is_four_bytes_and_the_clients_comes_back_as_it_was(value, width):
    data = ask(value, width)
    upstream = native.patch_id(TARS, data, 5)
    assert upstream == ask(0x01000005)
    assert native.frame(TARS, upstream).id == b"\0\0\5"
    assert native.patch_id(TARS, upstream, native.frame(TARS, data).id) == data


@pytest.mark.parametrize("wanted", [b"\1\0\0\5", b"12345"])
def test_an_id_that_no_frame_has_cannot_be_written(wanted):
    with pytest.raises(LocalProtocolError):
        native.patch_id(TARS, ask(), wanted)


@pytest.mark.parametrize(
    ("kind", "name", "wanted"), [(0, b"echo", 1), (1, b"echo", 2), (0, b"tars_ping", 4), (1, b"tars_ping", 8)]
)
def test_a_ping_is_a_heartbeat_unless_nobody_wants_its_answer(kind, name, wanted):
    assert native.frame(TARS, ask(kind=kind, fields=(CALLED[0], made.text(6, name), *REST))).kind == wanted


@pytest.mark.parametrize(
    "fields",
    [
        (*CALLED, CALLED[1], *REST),  # the second would be passed over, or taken
        (*CALLED[:2], CALLED[1], *REST),
        (CALLED[0], made.number(6, 7)),
        (*CALLED, made.text(8, b"7")),
        (*CALLED, made.text(9, b"x")),
        (*CALLED, b"\x98\x00\x7f"),  # more pairs than there are bytes
        (*CALLED, b"\x98\x00\xff"),  # fewer than none
        (*CALLED, made.head(11, 10)),  # a structure without an end
        (*CALLED, b"\xbe"),  # a type that there is not
        (*CALLED, *[made.head(11, 10)] + [made.head(0, 10)] * 40 + [b"\x0b"] * 41),
        (*CALLED, b"\xb9" + b"\x09" * 5000),  # counts that are lists
        (*CALLED, made.head(11, 13) + b"\1\0\0"),
    ],
)
def test_what_is_malformed_is_told_to_its_caller(fields):
    found = native.frame(TARS, ask(fields=fields))
    assert found.result < OK
    assert (found.kind, found.id) == (REQUEST, b"\7")


@pytest.mark.parametrize("fields", [(CALLED[1], CALLED[0], *REST), (made.octets(5, b"x"), *CALLED[1:]), ()])
def test_what_is_neither_a_request_nor_an_answer_is_refused(fields):
    assert native.frame(TARS, ask(fields=fields)).result < OK


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [(0, b"echo", REQUEST), (1, b"echo", 0), (0, b"tars_ping", 0), (1, b"tars_ping", 0)],
)
@pytest.mark.parametrize("servant", [b"Demo.Echo.EchoObj", b"x" * 300])
def test_what_is_too_large_is_told_from_its_first_bytes(kind, name, told, servant):
    fields = (made.text(5, servant), made.text(6, name), made.octets(11, b"x" * 1000))
    data = ask(300, kind=kind, fields=fields)
    assert native.frame(TARS, data[:47], limit=1000).result == MORE
    found = native.frame(TARS, data[:400], limit=1000)
    assert (found.result, found.kind, found.id) == (LIMIT, told, b"\1\x2c")
    found = native.frame(TARS, data, limit=48)
    assert (found.result, found.kind) == (
        LIMIT,
        told if len(servant) < 20 else 0,
    )  # else it is behind the limit


@pytest.mark.parametrize("version", [2, 3])
def test_what_answers_like_it_asks_is_refused(version):
    data = made.request(version, 0, 0, lambda tag: made.number(tag, 7), *CALLED, *REST)
    assert native.frame(TARS, data).result == UNSUPPORTED


@pytest.mark.parametrize("data", [b"GET / HTTP", b"\0\0\0\x0b\x10\1", b"\0\0\0\x40\x11", b"\0\0\0\x40\x10\4"])
def test_what_is_no_tars_is_another_protocol(data):
    assert native.frame(TARS, data).result == MAGIC


HEADER, SERVICE, METHOD, VERSION = 0, 1, 2, 3  # what an edit is about


def answered(code, message_type=0):
    return made.answer(
        1,
        0,
        message_type,
        lambda tag: made.number(tag, 7),
        made.number(5, code),
        made.octets(6, b""),
        made.pairs(7, []),
        made.text(8, b"why"),
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, "OK"),
        (-1, "BAD_REQUEST"),
        (-3, "NO_SERVICE"),
        (-4, "NO_SERVICE"),
        (-6, "TIMEOUT"),
        (-7, "TIMEOUT"),
        (-8, "UNAVAILABLE"),
        (-9, "OVERLOADED"),
        (-10, "APP_ERROR"),
        (-99, "INTERNAL"),
        (17, "APP_ERROR"),
    ],
)
def test_codes_are_statuses(code, status):
    assert Status(native.frame(TARS, answered(code)).status).name == status


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("BAD_REQUEST", -1),
        ("NO_SERVICE", -4),
        ("TIMEOUT", -7),
        ("UNAVAILABLE", -8),
        ("OVERLOADED", -9),
        ("DENIED", -99),
        ("INTERNAL", -99),
    ],
)
@pytest.mark.parametrize(("asked", "said"), [(1, 1), (5, 5), (0, 1)])
def test_an_error_says_its_code_in_the_version_that_was_asked(status, code, asked, said):
    wanted = made.answer(
        said,
        0,
        0,
        lambda tag: made.number(tag, 1),
        made.number(5, code),
        made.octets(6, b""),
        made.pairs(7, []),
        made.text(8, b"why"),
        made.pairs(9, []),
    )
    assert tars.wire.ask.error(Status[status], b"\1", asked, b"why") == wanted


def test_a_heartbeats_answer_is_one():
    ping = native.heartbeat(TARS, b"\7")
    assert native.frame(TARS, ping).kind == HEARTBEAT
    answer = tars.wire.ask.heartbeat_ack(ping)
    assert (native.frame(TARS, answer).kind, native.frame(TARS, answer).status) == (ACK, 0)
    assert native.frame(TARS, answered(-7, message_type=0x2000)).status == 0
    assert native.frame(TARS, answered(-7)).kind == RESPONSE


def test_an_id_of_eight_bytes_is_none():
    assert native.frame(TARS, ask(7, 8)).result == FORMAT


@pytest.mark.parametrize("more", [b"\xb7\0\0\1\0ab", b"\xb6\3ab", made.head(11, 3) + b"1234567"])
def test_the_last_value_ends_within_its_frame(more):
    assert native.frame(TARS, ask(fields=(*CALLED, more))).result == FORMAT


@pytest.mark.parametrize(("value", "wanted"), [(1500, 1500), (-1, 0), (0, 0)])
def test_a_time_below_zero_is_none(value, wanted):
    data = ask(fields=(*CALLED, made.number(8, value)))
    assert tars.wire.ask.request(data).timeout_ms == wanted


def with_context(*values, status=True):
    last = [made.pairs(10, [])] if status else []
    return ask(fields=(*CALLED, made.number(8, 0), made.pairs(9, list(values)), *last))


def test_of_equal_headers_the_last_is_changed_and_the_others_go():
    edit = tars.wire.ask.edit
    data = with_context((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
    assert tars.wire.ask.header(data, "a") == "3"
    assert edit(data, [(HEADER, "a", "8"), (HEADER, "a", "9")]) == with_context((b"b", b"2"), (b"a", b"9"))
    assert edit(data, [(HEADER, "a", None)]) == with_context((b"b", b"2"))
    added = with_context((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4"))
    assert edit(data, [(HEADER, "c", "4")]) == added


@pytest.mark.parametrize("behind", [[], [made.pairs(10, [])]])
def test_a_context_that_is_not_there_comes_in_its_place(behind):
    data = ask(fields=(*CALLED, *behind))
    wanted = ask(fields=(*CALLED, made.pairs(9, [(b"a", b"1")]), *behind))
    assert tars.wire.ask.edit(data, [(HEADER, "a", "1")]) == wanted


@pytest.mark.parametrize("size", [0, 255, 256])
def test_a_text_is_counted_in_one_byte_or_four(size):
    name = "s" * size
    wanted = ask(fields=(made.text(5, name.encode()), *CALLED[1:], *REST))
    assert tars.wire.ask.edit(ask(), [(SERVICE, "", name)]) == wanted
    wanted = ask(fields=(CALLED[0], made.text(6, name.encode()), CALLED[2], *REST))
    assert tars.wire.ask.edit(ask(), [(METHOD, "", name)]) == wanted


def test_what_the_protocol_has_not_cannot_be_written():
    with pytest.raises(LocalProtocolError):
        tars.wire.ask.edit(ask(), [(VERSION, "", "2")])
    with pytest.raises(LocalProtocolError):
        tars.wire.ask.edit(answered(0), [(SERVICE, "", "New")])
