r"""memcached, text: a length among the words of a line, in requests and in answers; answers come in order.

::

    set KEY FLAGS EXPIRES SIZE [noreply]\r\n  data \r\n  STORED\r\n
    get KEY\r\n                                         VALUE KEY FLAGS SIZE [CAS]\r\n  data \r\nEND\r\n

Source: ``doc/protocol.txt`` of memcached. The service is the key, so that routes go by its prefix; the
method is the command.

Limits: a ``get`` of several keys is refused, since its answer is as many values (ask key by key), as are
``stats`` and meta commands. What has ``noreply`` is answered by nobody, an error neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from construct import Bytes, Check, Const, If, Struct, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies, Until, first, isin, number, side, split, table

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS = split(this.line, " ", 8)
VERB = WORDS[0]
ANSWER = side == "server"
GETS = isin(VERB, {"get", "gets"})
STORES = ~ANSWER & isin(VERB, {"set", "add", "replace", "append", "prepend", "cas"})
OTHERS = isin(VERB, {"delete", "incr", "decr", "touch", "version", "flush_all", "verbosity", "quit"})
VALUE = ANSWER & (VERB == "VALUE")
LINES = ("STAT", "ITEM", "VA", "HD", "EN", "ME")  # of answers that go on

frame = Struct(
    "line" / Until(b"\r\n", max=2048),
    Check(ANSWER | STORES | OTHERS | (GETS & (first(WORDS[2], "") == ""))),
    Check(~(ANSWER & isin(VERB, set(LINES)))),
    "data" / If(STORES, Bytes(number(WORDS[4]))),
    "data_end" / If(STORES, Const(b"\r\n")),
    "value" / If(VALUE, Bytes(number(WORDS[3]))),
    "value_end" / If(VALUE, Const(b"\r\nEND\r\n")),
)
SILENT = (
    (isin(VERB, {"set", "add", "replace", "append", "prepend"}) & (WORDS[5] == "noreply"))
    | ((VERB == "cas") & (WORDS[6] == "noreply"))
    | (isin(VERB, {"incr", "decr", "touch"}) & (WORDS[3] == "noreply"))
    | ((VERB == "delete") & (WORDS[2] == "noreply"))
    | (isin(VERB, {"flush_all", "verbosity"}) & ((WORDS[1] == "noreply") | (WORDS[2] == "noreply")))
    | (VERB == "quit")
)


def error(status: Status, variant: Mapping[str, int]) -> dict[str, object]:
    """A line that clients raise."""
    word = b"CLIENT_ERROR " if status is Status.BAD_REQUEST else b"SERVER_ERROR "
    return {"line": [word, ErrorText()]}


memcached = Protocol(
    "memcached",
    WireFormat(
        frame,
        mode="ordered",
        response=ANSWER,
        oneway=SILENT,
        last=~ANSWER & (VERB == "quit"),
        status=table(
            VERB,
            {
                "ERROR": Status.BAD_REQUEST,
                "CLIENT_ERROR": Status.BAD_REQUEST,
                "SERVER_ERROR": Status.INTERNAL,
            },
            Status.OK,
        ),
        service=WORDS[1],
        method=VERB,
        replies=Replies(error=error),
    ),
    "memcached, text",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [memcached]
