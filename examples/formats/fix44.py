r"""FIX 4.4: a length and a checksum in digits; both sides speak when they like, and count what they say.

::

    8=FIX.4.4 | 9=body length | 35=type | 49=sender | 56=target | 34=number | 52=time | ... | 10=checksum |

Source: FIX 4.4, volume 2 (session protocol). ``|`` is ``\x01``; the length counts from behind its delimiter
up to ``10=``, and the checksum all bytes up to there, modulo 256.

The service is the TargetCompID, the method the type by its name. A client's logon is answered by a logon, and
a test request by a heartbeat that repeats its TestReqID, in order; all else has no answer of its own, and
goes to the other side as it comes. Each client has a connection of its own.

Both sides number their messages: one that the proxy said by itself would be missed at the other. So it says
nothing: what cannot be routed, or is not answered in time, closes the connection. Fields are headers, which
filters may read and change; length and checksum follow.

Limits: data fields (such as RawData) that hold delimiters are read as if fields stood in them; of a tag that
stands twice the last counts, but for the type, which stands in front.
"""

from __future__ import annotations

from construct import Bytes, Const, Struct, this

from protokit import Protocol, WireFormat, hookimpl
from protokit.wire import Replies, Until, first, isin, lines, number, side, split, starts, sum8, table

SOH = b"\x01"
frame = Struct(
    Const(b"8=FIX.4.4" + SOH + b"9="),
    "length" / Until(SOH, max=8),
    "body" / Bytes(number(this.length)),
    Const(b"10="),
    "checksum" / Bytes(3),
    Const(SOH),
)
fields = lines(this.body, "=", "\x01")
kind = split(split(this.body, "\x01", 2)[0], "35=", 2, exact=True)[1]
NAMES = {
    "0": "Heartbeat",
    "1": "TestRequest",
    "2": "ResendRequest",
    "3": "Reject",
    "4": "SequenceReset",
    "5": "Logout",
    "8": "ExecutionReport",
    "9": "OrderCancelReject",
    "A": "Logon",
    "D": "NewOrderSingle",
    "F": "OrderCancelRequest",
    "G": "OrderCancelReplaceRequest",
    "V": "MarketDataRequest",
    "W": "MarketDataSnapshotFullRefresh",
    "X": "MarketDataIncrementalRefresh",
    "j": "BusinessMessageReject",
}

asks = (side == "client") & isin(kind, {"A", "1"})
answers = (side == "server") & ((kind == "A") | ((kind == "0") & starts(fields["112"], "")))
fix44 = Protocol(
    "fix44",
    WireFormat(
        frame,
        mode="pinned",
        response=answers,
        oneway=~(asks | answers),
        checksum=sum8(this.checksum, over="before", digits=3, skip=3),
        service=fields["56"],
        method=first(table(kind, NAMES), kind),
        headers=fields,
        replies=Replies(error=None),
    ),
    "FIX 4.4",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [fix44]
