"""LDAP: values of ASN.1, found by place and tag; a search has many answers, the last of which is marked.

::

    SEQUENCE {                                            30 len
        messageID   INTEGER,                                 02 len id
        protocolOp  [APPLICATION n] ...,                     60 len ... bind, 61 its answer, 63 search, ...
        controls    [0] OPTIONAL                             a0 len ...
    }

Source: RFC 4511. An answer begins with its resultCode, matchedDN and diagnosticMessage; entries and
references that a search finds come before it, under the same id.

The service is the name (DN) that an operation is about, the OID of an extended one; the method is the
operation. A connection is its client's own: who it speaks for is agreed on it (bind), and what abandons
names another by its id. A server's notice of disconnection, which answers nothing, goes to the client.

Limits: after StartTLS, or where SASL protects what follows, nothing can be read: the connection is closed.
An error of the proxy's own has no matchedDN, and no referrals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Check, Int8ub, Int16ub, Struct, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import (
    Ahead,
    Counted,
    ErrorText,
    FromRequest,
    Measured,
    Replies,
    ber,
    ber_value,
    byte_id,
    first,
    isin,
    number,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SEQUENCE = 0x30
BIND, UNBIND, SEARCH, MODIFY, ADD, DELETE = 0x60, 0x42, 0x63, 0x66, 0x68, 0x4A
MODIFY_DN, COMPARE, ABANDON, EXTENDED = 0x6C, 0x6E, 0x50, 0x77
ENTRY, SEARCH_DONE, REFERENCE, INTERMEDIATE = 0x64, 0x65, 0x73, 0x79
METHODS = {
    BIND: "bind",
    UNBIND: "unbind",
    SEARCH: "search",
    MODIFY: "modify",
    ADD: "add",
    DELETE: "delete",
    MODIFY_DN: "modifyDN",
    COMPARE: "compare",
    ABANDON: "abandon",
    EXTENDED: "extended",
}
ANSWERS = {  # what answers each
    BIND: 0x61,
    SEARCH: SEARCH_DONE,
    MODIFY: 0x67,
    ADD: 0x69,
    DELETE: 0x6B,
    MODIFY_DN: 0x6D,
    COMPARE: 0x6F,
    EXTENDED: 0x78,
}
PARTS = (ENTRY, REFERENCE, INTERMEDIATE)  # more follows

frame = Struct(
    "first" / Ahead(Int8ub),
    Check(this.first == SEQUENCE),
    "message" / Measured(ber_value),
)
message = ber(this.message)[0]
operation = message[1]["tag"]
disconnects = message[1]["8a"] == "1.3.6.1.4.1.1466.20036"  # a notice that the server is about to close

CODES = {
    Status.NO_SERVICE: 53,  # unwillingToPerform
    Status.BAD_REQUEST: 2,  # protocolError
    Status.TIMEOUT: 3,  # timeLimitExceeded
    Status.OVERLOADED: 51,  # busy
    Status.UNAVAILABLE: 52,
    Status.DENIED: 50,  # insufficientAccessRights
    Status.INTERNAL: 80,  # other
}
STATUS = {
    0: Status.OK,
    5: Status.OK,  # compareFalse
    6: Status.OK,  # compareTrue
    10: Status.OK,  # referral
    14: Status.OK,  # saslBindInProgress
    **{code: status for status, code in CODES.items()},
}


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """The answer to what was asked: its tag, a code, no matchedDN, a text. All lengths have two bytes."""
    code = b"\x0a\1" + bytes([CODES[status]])
    result = Counted(Int16ub, code, b"\4\0", ErrorText(b"\4\x82", count=Int16ub))
    tag = table(number(operation), {asked: chr(answer) for asked, answer in ANSWERS.items()}, "x")
    return {
        "first": SEQUENCE,
        "message": [b"\x30\x82", Counted(Int16ub, b"\2\1\0", FromRequest(tag), b"\x82", result)],
    }


def tags(*some: int) -> set[str]:
    """As a view has them."""
    return {str(one) for one in some}


ldap = Protocol(
    "ldap",
    WireFormat(
        frame,
        id=byte_id(message["02"], max=4),
        mode="pinned",
        response=isin(operation, tags(*ANSWERS.values(), *PARTS)) & ~disconnects,
        oneway=isin(operation, tags(UNBIND, ABANDON)) | disconnects,
        more=isin(operation, tags(*PARTS)),
        status=table(number(message[1][0]), STATUS, Status.APP_ERROR),
        timeout=number(message[f"{SEARCH:x}"][4]) * 1000,
        service=first(message[f"{BIND:x}"][1], message[f"{DELETE:x}"], message[1][0]),
        method=table(number(operation), METHODS),
        replies=Replies(error=error),
    ),
    "LDAP",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [ldap]
