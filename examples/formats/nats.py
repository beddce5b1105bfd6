r"""NATS: lines with lengths among their words; its server speaks first, and says what nobody asked for.

::

    INFO {...}\r\n    CONNECT {...}\r\n    PING\r\n    PONG\r\n    +OK\r\n    -ERR 'why'\r\n
    PUB subject [reply] SIZE\r\n  message \r\n                   SUB subject [queue] sid\r\n
    HPUB subject [reply] HEAD SIZE\r\n  head and message \r\n    UNSUB sid [most]\r\n
    MSG subject sid [reply] SIZE\r\n  message \r\n               HMSG, with a HEAD as well

Source: the client protocol of the NATS documentation. The service is the subject, the method the first word.

Nothing is answered but PING, of either side: what is published, subscribed to and delivered is one-way, and
answers to a published request are messages again, to its ``reply``. INFO, CONNECT, UNSUB, ``+OK`` and
``-ERR`` go between a client and its server whatever the routes are. Where routes go by subject, one has to
take the method PING.

Limits: what is published without a route is dropped, and nobody hears of it. The first word stands in upper
case, a subject behind one space, and no message's line has a tab, as all clients write them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Bytes, Check, Const, If, Struct, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, Greeting, Replies, Until, first, isin, number, split, starts, table

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS = split(this.line, " ", 3)
VERB = WORDS[0]
TOLD = ("PUB", "HPUB", "SUB", "MSG", "HMSG")
BETWEEN = ("INFO", "CONNECT", "UNSUB", "+OK", "-ERR")
OURS = starts(this.line, "-ERR 'Proxy Error: ")  # what the proxy says, here or behind this one
MESSAGES = {
    3: ("PUB",),
    4: ("HPUB", "MSG"),
    5: ("HMSG",),
}  # words in front of the size; one less without a reply
NONE = "\r\n"  # stands in no line


def size(words: int) -> Any:
    """The last word; more than there may be are no number."""
    parts = split(this.line, " ", words + 1)
    return first(parts[words], parts[words - 1])


def sized(words: int) -> Any:
    """Whether it is a message with so many words."""
    return isin(VERB, set(MESSAGES[words]))


frame = Struct(
    "line" / Until(b"\r\n", max=65536),
    Check(isin(VERB, {*TOLD, *BETWEEN, "PING", "PONG"})),
    Check(~isin(VERB, set(TOLD)) | ((WORDS[1] != "") & (first(split(this.line, "\t", 2)[1], NONE) == NONE))),
    *(Check(~sized(words) | (first(size(words), NONE) != NONE)) for words in MESSAGES),
    *(f"message{words}" / If(sized(words), Bytes(number(size(words)))) for words in MESSAGES),
    "end" / If(isin(VERB, {"PUB", "HPUB", "MSG", "HMSG"}), Const(b"\r\n")),
)


def error(status: Status, variant: Mapping[str, int]) -> dict[str, object]:
    """A line that clients report, in the place of PONG."""
    return {"line": [b"-ERR 'Proxy Error: ", ErrorText(), b"'"]}


nats = Protocol(
    "nats",
    WireFormat(
        frame,
        mode="pinned",
        response=(VERB == "PONG") | OURS,
        oneway=isin(VERB, set(TOLD)),
        status=table(OURS, {1: Status.INTERNAL}, Status.OK),
        service=WORDS[1],
        method=VERB,
        greeting=Greeting(when=isin(VERB, set(BETWEEN)) & ~OURS, relayed=True, first="server"),
        replies=Replies(error=error),
    ),
    "NATS",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [nats]
