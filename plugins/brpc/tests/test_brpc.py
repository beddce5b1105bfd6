"""What of baidu_std the captured frames do not show."""

from __future__ import annotations

import brpc_frames as made
import pytest
from protokit_brpc import brpc, jprotobuf

from protokit import Status, native

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
