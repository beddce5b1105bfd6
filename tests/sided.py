"""Formats whose frames do not say who sent them."""

from __future__ import annotations

from construct import (
    Bytes,
    Const,
    GreedyBytes,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status
from protokit.wire import ErrorText, Replies, Until, WireFormat, lines, side, split, starts, table


def post(**more) -> Protocol:
    """A client's frame has a name and headers, a server's a status; nothing in a frame says which it is."""
    asked = Struct(
        "kind" / Int8ub,
        "length" / Rebuild(Int8ub, len_(this.name)),
        "size" / Rebuild(Int16ub, len_(this.head)),
        "name" / Bytes(this.length),
        "head" / Bytes(this.size),
    )
    told = Struct("status" / Int8ub, "size" / Rebuild(Int32ub, len_(this.body)), "body" / Bytes(this.size))
    wire = WireFormat(
        Struct(Const(b"PO"), "id" / Int32ub, "part" / IfThenElse(side == "client", asked, told)),
        id=this.id,
        response=side == "server",
        oneway=(side == "client") & (this.part.kind == 1),
        heartbeat=((side == "client") & (this.part.kind == 2))
        | ((side == "server") & (this.part.status == 200)),
        status=table(this.part.status, {0: Status.OK, 1: Status.APP_ERROR}, Status.INTERNAL),
        service=this.part.name,
        headers=lines(this.part.head, "=", ";"),
        replies=Replies(
            error=lambda status, variant: {"part": {"status": 2, "body": ErrorText()}},
            heartbeat=lambda variant: {"part": {"kind": 2, "name": b"", "head": b""}},
            ack=lambda variant: {"part": {"status": 200, "body": b""}},
        ),
        **more,
    )
    return Protocol("post", wire)


def either(**more) -> Protocol:
    """The same bytes are a frame of a client, and a longer one of a server."""
    wire = WireFormat(
        Struct(
            Const(b"EI"),
            "id" / Int32ub,
            "size" / Rebuild(Int32ub, len_(this.text) - (side == "server") * 4),
            "text" / IfThenElse(side == "server", Bytes(this.size + 4), Bytes(this.size)),
        ),
        id=this.id,
        response=side == "server",
        headers=lines(this.text, "=", ";"),
        replies=Replies(error=lambda status, variant: {"text": [b"    ", ErrorText()]}),
        **more,
    )
    return Protocol("either", wire)


def beating() -> Protocol:
    """A heartbeat's answer is a heartbeat, from the other side."""
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "body" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        response=(this.kind == 2) | ((this.kind == 3) & (side == "server")),
        heartbeat=this.kind == 3,
        status=table(starts(this.body, "no "), {0: Status.OK}, Status.INTERNAL),
        replies=Replies(
            error=lambda status, variant: {"kind": 2, "body": ErrorText(before=b"no ")},
            heartbeat=lambda variant: {"kind": 3, "body": b""},
            ack=lambda variant: {"kind": 3, "body": b""},
        ),
    )
    return Protocol("beating", wire)


def said() -> Protocol:
    """Both sides send lines."""
    wire = WireFormat(
        Struct("line" / Until(b"\r\n", max=900)),
        mode="ordered",
        response=side == "server",
        status=table(split(this.line, " ", 2)[0], {"OK": Status.OK}, Status.INTERNAL),
        method=split(this.line, " ", 2)[0],
        replies=Replies(error=lambda status, variant: {"line": ErrorText(before=b"ERR ")}),
    )
    return Protocol("said", wire)


def ask(number: int, kind: int, name: bytes, head: bytes) -> bytes:
    front = b"PO" + number.to_bytes(4, "big") + bytes([kind, len(name)])
    return front + len(head).to_bytes(2, "big") + name + head


def tell(number: int, status: int, body: bytes) -> bytes:
    return b"PO" + number.to_bytes(4, "big") + bytes([status]) + len(body).to_bytes(4, "big") + body


POST = [
    ("client", ask(0x01020304, 0, b"a.B", b"x=1;y=2;")),
    ("server", tell(0x01020304, 0, b"fine")),
    ("server", tell(0x01020304, 2, b"no such thing")),
    ("client", ask(9, 1, b"a.Note", b"")),
]
BEATING = [
    ("client", b"\1\1\2\0\3abc"),
    ("server", b"\2\1\2\0\2ok"),
    ("client", b"\3\1\3\0\0"),
    ("server", b"\3\1\3\0\0"),
]
SAID = [("client", b"get a\r\n"), ("server", b"OK a\r\n"), ("server", b"ERR none\r\n")]
