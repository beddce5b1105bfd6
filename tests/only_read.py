"""Protocols made at home whose ids the engine only reads: one for each reason why it writes none there.

kind: 1 request, 2 answer, 4 ping, 5 pong. text: "service method rest"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Prefixed,
    Rebuild,
    Struct,
    Switch,
    len_,
    this,
)

from protokit import Status, WireFormat
from protokit.wire import (
    Counted,
    ErrorText,
    FromRequest,
    Replies,
    Until,
    UVar,
    byte_id,
    first,
    json,
    lines,
    msgpack,
    number,
    pairs,
    size_,
    split,
    table,
)
from protokit.wire.ids import number_of

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = "text" / Prefixed(Int16ub, GreedyBytes)
ID = byte_id(this.id, max=20)
STATUS = table(this.status, {int(status): status for status in Status}, Status.INTERNAL)


def plain(request_id: Any, text: Any, kind: int) -> dict[str, Any]:  # others go by it
    return {"id": request_id, "text": text}


class OnlyRead(NamedTuple):
    """A format.

    Attributes:
        why: what is said of it in multiplexed mode.
        fields: behind kind and status.
        id: of the format.
        values: of a frame with an id (bytes, or what ``FromRequest`` gives), a text and a kind.
        ids: three that it can have, as they stand there.
        text: where requests have it.
        says: there are replies of the proxy's own; else it closes connections.
    """

    why: str
    fields: tuple[Any, ...]
    id: Any = ID
    values: Callable[[Any, Any, int], dict[str, Any]] = plain
    ids: tuple[bytes, bytes, bytes] = (b"abcd", b"A-77", b"\xff\0zz")
    text: Any = this.text
    says: bool = True

    def wire(self, mode: str = "pinned") -> WireFormat:
        """The format."""
        words = split(self.text, " ", 3)

        def said(kind: int, status: int = 0, text: Any = b"", request_id: Any = None) -> dict[str, Any]:
            repeated = FromRequest(self.id) if request_id is None else request_id
            return {"kind": kind, "status": status, **self.values(repeated, text, kind)}

        return WireFormat(
            Struct("kind" / Int8ub, "status" / Int8ub, *self.fields),
            id=self.id,
            response=(this.kind == 2) | (this.kind == 5),
            heartbeat=(this.kind == 4) | (this.kind == 5) if self.says else 0,
            status=STATUS,
            service=words[0],
            method=words[1],
            replies=Replies(
                error=lambda status, variant: said(2, int(status), ErrorText()),
                heartbeat=lambda variant: said(4, request_id=self.ids[0]),
                ack=lambda variant: said(5),
            )
            if self.says
            else Replies(error=None),
            mode=mode,
        )

    def frame(
        self, wire: WireFormat, kind: int, request_id: bytes, text: bytes = b"svc m x", status: int = 0
    ) -> bytes:
        """One with that id."""
        return wire.build({"kind": kind, "status": status, **self.values(request_id, text, kind)})


def varint(request_id: Any, text: Any, kind: int) -> dict[str, Any]:
    """A UVar is given as its number."""
    return plain(number_of(request_id) if isinstance(request_id, bytes) else request_id, text, kind)


def mapped(request_id: Any, text: Any, kind: int) -> dict[str, Any]:
    """The id in a map, behind its length."""
    if isinstance(request_id, bytes):
        return {"head": b"\1k" + bytes([len(request_id)]) + request_id, "text": text}
    return {"head": [b"\1k", Counted(Int8ub, request_id)], "text": text}


def around(before: bytes, after: bytes) -> Callable[[Any, Any, int], dict[str, Any]]:
    """The id in a section of its own, between bytes."""

    def values(request_id: Any, text: Any, kind: int) -> dict[str, Any]:  # as plain
        whole = isinstance(request_id, bytes)
        head = before + request_id + after if whole else [before, request_id, after]
        return {"head": head, "text": text}

    return values


def with_a_number(request_id: Any, text: Any, kind: int) -> dict[str, Any]:  # as plain
    return {"id": request_id, "line": b"4", "text": text}


def in_branches(request_id: Any, text: Any, kind: int) -> dict[str, Any]:
    """Requests and answers have fields of their own."""
    return (
        {"in": {"id": request_id, "text": text}}
        if kind in {1, 4}
        else {"to": {"id": request_id, "text": text}}
    )


COUNT = "count" / Rebuild(Int8ub, len_(this.id))
SIZED = "id" / Bytes(this.count)
IN = getattr(this, "in")
REQUESTS, ANSWERS = (this.kind == 1) | (this.kind == 4), (this.kind == 2) | (this.kind == 5)
NUMBERS = (b"7", b"300", b"18446744073709551615")
ONLY = {
    "a length with flags": OnlyRead(
        "id: an id's length is one field, or one number in a text, plus or minus a constant",
        (COUNT, "id" / Bytes(this.count & 63), TEXT),
    ),
    "a total that is masked": OnlyRead(
        "text: its length depends on that of the id id in a way that the engine cannot keep right",
        (
            "id" / Prefixed(Int8ub, GreedyBytes),
            "total" / Rebuild(Int16ub, len_(this.id) + len_(this.text)),
            "text" / Bytes((this.total & 4095) - len_(this.id)),
        ),
    ),
    "bits that count it": OnlyRead(
        "h.n: what counts an id is an integer of whole bytes, or a UVar",
        ("h" / BitStruct("m" / BitsInteger(4), "n" / BitsInteger(4)), "id" / Bytes(this.h.n), TEXT),
        values=lambda request_id, text, kind: {"h": {"m": 0, "n": 4}, "id": request_id, "text": text},
        says=False,
    ),
    "a length that decides": OnlyRead(
        "count: it counts the id, and decides which fields there are",
        (COUNT, SIZED, "x" / If(this.count > 3, Int8ub), TEXT),
        values=lambda request_id, text, kind: {"x": 0, **plain(request_id, text, kind)},
        ids=(b"abcd", b"", b"\xff\0z"),
        says=False,
    ),
    "a test of its size": OnlyRead(
        "id: a test goes by the size of the id",
        ("id" / UVar(10), "x" / If(size_(this.id) == 10, Int8ub), TEXT),
        byte_id(this.id),
        lambda request_id, text, kind: {"x": 0, **varint(request_id, text, kind)},
        ids=(b"\x07", b"\xac\x02", b"\0"),
        says=False,
    ),
    "a check": OnlyRead(
        "count: a check refuses ids of 1 bytes, which the engine writes",
        (COUNT, Check(this.count >= 4), SIZED, TEXT),
        says=False,
    ),
    "no room for a number": OnlyRead(
        "id: 1 bytes hold no number of a byte in the form decimal",
        ("id" / Bytes(1), TEXT),
        byte_id(this.id),
        ids=(b"a", b"\0", b"1"),
    ),
    "no room for a varint": OnlyRead(
        "id: 1 bytes hold no number of a byte in the form varint",
        ("id" / UVar(1), TEXT),
        byte_id(this.id),
        varint,
        ids=(b"\x07", b"\x7f", b"\0"),
    ),
    "a delimiter of digits": OnlyRead(
        "id: an id in the form decimal could hold its delimiter",
        ("id" / Until(b"1", max=20), TEXT),
    ),
    "two sizes": OnlyRead(
        "id: all ids have one size, or one maximum, and one delimiter",
        (
            "in" / If(REQUESTS, Struct("id" / Bytes(4), TEXT)),
            "to" / If(ANSWERS, Struct("id" / Prefixed(Int8ub, GreedyBytes), TEXT)),
        ),
        byte_id(IN.id, this.to.id, max=20),
        in_branches,
        text=IN.text,
    ),
    "two of one name": OnlyRead(
        "in.id: two fields of one name are an id; give each branch its own Struct",
        (
            "size" / Int8ub,
            "in"
            / Switch(
                this.kind,
                {kind: Struct("id" / Prefixed(Int8ub, GreedyBytes)) for kind in (2, 5)},
                default=Struct("id" / Bytes(this._.size)),
            ),
            TEXT,
        ),
        byte_id(IN.id, max=20),
        lambda request_id, text, kind: {"size": 4, "in": {"id": request_id}, "text": text},
    ),
    "a length that not all share": OnlyRead(
        "it counts the id in.id, and not that of every other",
        (
            "size" / Int8ub,
            "in" / If(REQUESTS, Struct("id" / Bytes(this._.size), TEXT)),
            "to" / If(ANSWERS, Struct("id" / Prefixed(Int8ub, GreedyBytes), TEXT)),
        ),
        byte_id(IN.id, this.to.id, max=20),
        lambda request_id, text, kind: {"size": 4, **in_branches(request_id, text, kind)},
        text=IN.text,
    ),
    "varints that count": OnlyRead(
        "id: a UVar counts the id only alone; use integers of fixed width",
        (
            "n" / Rebuild(UVar(2), len_(this.id)),
            "t" / Rebuild(UVar(2), len_(this.id) + len_(this.text)),
            "id" / Bytes(this.n),
            "text" / Bytes(this.t - this.n),
        ),
    ),
    "a number in a text and another length": OnlyRead(
        "id: a number in a text counts the id only alone",
        (
            "line" / Until(b"\n", max=9),
            "id" / Bytes(number(this.line)),
            "t" / Rebuild(Int16ub, len_(this.id) + len_(this.text)),
            "text" / Bytes(this.t - number(this.line)),
        ),
        values=with_a_number,
    ),
    "a number that is checked": OnlyRead(
        "line: a check goes by",
        ("line" / Until(b"\n", max=9), "id" / Bytes(number(this.line)), Check(number(this.line) > 3), TEXT),
        values=with_a_number,
        says=False,
    ),
    "a map of fixed size": OnlyRead(
        "head: it always has 7 bytes, and ids in it have not",
        ("head" / Bytes(7), TEXT),
        byte_id(pairs(this.head, key=Int8ub, value=Int8ub)["k"], max=4),
        mapped,
        says=False,
    ),
    "a map that ends with bytes": OnlyRead(
        "head: an id in it could hold its delimiter",
        ("head" / Until(b"\r\n", max=40), TEXT),
        byte_id(pairs(this.head, key=Int8ub, value=Int8ub)["k"], max=4),
        mapped,
    ),
    "lines of digits": OnlyRead(
        "head: an id in the form decimal could hold its delimiter",
        ("head" / Prefixed(Int8ub, GreedyBytes), TEXT),
        byte_id(lines(this.head, ":", "1")["k"], max=20),
        around(b"a:b1k:", b"1c:d1"),
    ),
    "JSON up to a brace": OnlyRead(
        "head: an id in it could hold its delimiter",
        ("head" / Until(b"~", max=60), TEXT),
        byte_id(json(this.head)["id"], max=20),
        around(b'{"id": ', b"}"),
        ids=(b'"abc"', b"1.0", b'"\\u00e9"'),
    ),
    "MessagePack of a length with flags": OnlyRead(
        "head: an id's length is one field",
        ("count" / Rebuild(Int8ub, len_(this.head)), "head" / Bytes(this.count & 63), TEXT),
        byte_id(msgpack(this.head)[1], max=20),
        around(b"\x92\0", b""),
        ids=(b"\xa3abc", b"\x07", b"\xcd\0\x07"),
    ),
    "a part of a text": OnlyRead(
        "byte_id: an id that is no field stands in one place",
        ("head" / Until(b"\n", max=60), TEXT),
        byte_id(split(this.head, " ", 3)[1], max=20),
        around(b"CALL ", b" now"),
    ),
    "one of two texts": OnlyRead(
        "byte_id: an id that is no field stands in one place",
        ("head" / Until(b"\n", max=60), "id" / Until(b"\n", max=20), TEXT),
        byte_id(first(lines(this.head, "=", ";")["id"], this.id), max=20),
        lambda request_id, text, kind: {"head": b"id;", "id": request_id, "text": text},
    ),
}
