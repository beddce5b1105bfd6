r"""HTTP/1: lengths stand in a header's line, whose name has any case; an answer without ends with its peer.

::

    POST /path HTTP/1.1\r\n  Host: a\r\n  Content-Length: 5\r\n  \r\n  hello
    HTTP/1.1 200 OK\r\n      Content-Length: 2\r\n                \r\n  ok

Source: RFC 9110 and 9112. The service is the host, the method the target, the group the verb.

Limits: ``Transfer-Encoding: chunked`` is refused, two lengths that differ, and HEAD, whose answers say a
length and have no body; a message is passed on when all of it has come. Answers 100 to 199 are passed on in
front of the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from construct import Bytes, Check, IfThenElse, Struct, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import (
    ErrorText,
    Replies,
    Until,
    UntilEnd,
    first,
    isin,
    lines,
    number,
    side,
    split,
    starts,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD = lines(this.head, ":", "\r\n", ignore_case=True, trim=" \t", skip=1)
START = split(split(this.head, "\r\n", 2)[0], " ", 3)
ANSWER = starts(this.head, "HTTP/1.")
MEASURED = first(HEAD["Content-Length"], "none") != "none"
EMPTY = isin(START[1], {"100", "101", "102", "103", "204", "304"})

frame = Struct(
    "head" / Until(b"\r\n\r\n", max=65536),
    Check(ANSWER | (starts(START[2], "HTTP/1.") & (START[0] != "HEAD"))),
    Check(first(HEAD["Transfer-Encoding"], "none") == "none"),
    "body"
    / IfThenElse(
        (side == "server") & ANSWER & ~MEASURED & ~EMPTY,
        UntilEnd(),
        Bytes(number(HEAD["Content-Length"])),
    ),
)

CODES = {
    Status.BAD_REQUEST: "400 Bad Request",
    Status.DENIED: "403 Forbidden",
    Status.NO_SERVICE: "404 Not Found",
    Status.OVERLOADED: "429 Too Many Requests",
    Status.INTERNAL: "500 Internal Server Error",
    Status.UNAVAILABLE: "503 Service Unavailable",
    Status.TIMEOUT: "504 Gateway Timeout",
}
GOOD = (
    "100",
    "101",
    "103",
    "200",
    "201",
    "202",
    "203",
    "204",
    "206",
    "301",
    "302",
    "303",
    "304",
    "307",
    "308",
)


def error(status: Status, variant: Mapping[str, int]) -> dict[str, object]:
    """A plain text."""
    line = f"HTTP/1.1 {CODES.get(status, CODES[Status.INTERNAL])}"
    head = f"{line}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 0"  # counts the text
    return {"head": head.encode(), "body": ErrorText()}


http1 = Protocol(
    "http1",
    WireFormat(
        frame,
        mode="pingpong",
        response=ANSWER,
        last=isin(HEAD["Connection"], {"close", "Close"}),
        more=ANSWER & starts(START[1], "1"),
        status=table(
            START[1],
            {**dict.fromkeys(GOOD, Status.OK), **{text[:3]: status for status, text in CODES.items()}},
            Status.APP_ERROR,
        ),
        service=HEAD["Host"],
        method=START[1],
        group=START[0],
        headers=HEAD,
        replies=Replies(error=error),
    ),
    "HTTP/1.1",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [http1]
