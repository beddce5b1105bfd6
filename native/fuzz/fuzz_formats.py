"""Declared formats that no plugin brings: what real protocols do not use is run too.

Arrays of lengths, delimiters, varints, branches with ids of their own, kept fields, answers in order.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Error,
    GreedyBytes,
    If,
    IfThenElse,
    Int8ub,
    Int16sb,
    Int16ub,
    Int16ul,
    Int32ub,
    Int64ul,
    Prefixed,
    Rebuild,
    Struct,
    Switch,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat
from protokit.wire import (
    Ahead,
    Chunks,
    Counted,
    ErrorText,
    FromPeer,
    FromRequest,
    Greeting,
    Measured,
    Repeat,
    Replies,
    Step,
    Turn,
    Until,
    UntilEnd,
    UVar,
    adler32,
    asked,
    ber,
    ber_value,
    blocks,
    crc16,
    crc32,
    crc32c,
    decimal,
    first,
    hessian2_strings,
    hessian_fields,
    isin,
    json,
    json_value,
    kept,
    lengths,
    lines,
    msgpack,
    msgpack_value,
    number,
    optional,
    pairs,
    protobuf,
    resp_value,
    side,
    size_,
    split,
    starts,
    step,
    sum8,
    sum16,
    sum32,
    table,
    text,
    thrift,
    tlv,
)

REPO = Path(__file__).parents[2]


def branches() -> WireFormat:
    """Requests of chunks, answers, pings: each branch has an id of its own, and a field is kept."""
    request = Struct(
        "id" / Int64ul,
        "count" / Rebuild(Int8ub, len_(this.parts)),
        "sizes" / Rebuild(Array(this.count, Int16sb), lengths(this.parts)),
        "parts" / Chunks(this.sizes),
        "name" / Prefixed(UVar(3), GreedyBytes),
        "map" / Prefixed(Int16ub, GreedyBytes),
        "extra" / If((this._.mark & 1) == 1, Bytes(this._.mark >> 4)),
    )
    answer = Struct("id" / Int64ul, "code" / Int8ub, "text" / Prefixed(UVar(4), GreedyBytes))
    ping = Struct("id" / Int64ul)
    declaration = Struct(
        "kind" / Int8ub,
        Check(this.kind <= 4),
        "mark" / Int8ub,
        "body" / Switch(this.kind, {0: request, 1: request, 2: answer, 3: ping, 4: ping}, default=Error),
    )
    headers = pairs(this.body.map, key=Int16ul, value=Int16sb)
    return WireFormat(
        declaration,
        id=this.body.id,
        response=(this.kind == 2) | (this.kind == 4),
        oneway=this.kind == 1,
        heartbeat=this.kind >= 3,
        status=table(this.body.code, {0: Status.OK, 1: Status.TIMEOUT}, Status.INTERNAL),
        service=text(this.body.name),
        method=headers["m"],
        timeout=number(headers["ms"]),
        headers=headers,
        keep=(this.mark,),
        reserved_ids=(0, 7),
        replies=Replies(
            error=lambda status, variant: {
                "kind": 2,
                "mark": kept(this.mark),
                "body": {
                    "code": 2,
                    "text": [
                        FromRequest(this.body.name),
                        b": ",
                        FromRequest(headers["m"], max=40, whole=True),
                        ErrorText(),
                    ],
                },
            },
            heartbeat=lambda variant: {"kind": 3, "mark": 0, "body": {}},
            ack=lambda variant: {"kind": 4, "mark": 0, "body": {}},
            encoding="hessian",
        ),
    )


def in_order(mode: str) -> WireFormat:
    """Lines and bodies without ids; a checksum over the head."""
    head = lines(this.head, "=", ";")
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "head" / Until(b"\n", max=300),
            "crc" / If(this.kind >= 0x80, Int32ub),
            "body" / Prefixed(UVar(5), GreedyBytes),
        ),
        mode=mode,
        response=(this.kind & 1) == 1,
        oneway=(this.kind & 6) == 2,
        service=head["to"],
        method=hessian2_strings(this.body, 2)[1],
        headers=head,
        checksum=crc32(this.crc, over=[this.head]),
        replies=Replies(error=lambda status, variant: {"kind": 1, "head": b"", "body": ErrorText()}),
    )


def meant() -> WireFormat:
    """What a frame is stands in its texts; a service is an integer, a method has names."""
    head = lines(this.head, "=", ";")
    word = split(this.line, " ", 2)
    return WireFormat(
        Struct(
            "op" / Int16ul,
            "flags" / BitStruct("verb" / BitsInteger(3), "rest" / BitsInteger(5)),
            "id" / Int32ub,
            "line" / Prefixed(Int8ub, GreedyBytes),
            "head" / Prefixed(Int16ub, GreedyBytes),
        ),
        id=this.id,
        response=starts(this.line, "+") | (word[0] == "OK"),
        oneway=isin(word[0], {"PUB", "NOTE"}) & (this.op != 0),
        heartbeat=isin(this.line, {"PING", "+PONG"}),
        status=table(head["code"], {"200": Status.OK, "503": Status.OVERLOADED}, Status.INTERNAL),
        app_error=(number(head["wrong"]) != 0, word[1] == "no"),
        timeout=number(head["s"]) * 1000 + this.flags.rest,
        service=decimal(this.op),
        method=first(table(this.flags.verb, {0: "GET", 1: "SET", 7: "DEL"}), word[1]),
        version=table(head["v"], {"1": "one", "2": "two"}, "other"),
        replies=Replies(
            error=lambda status, variant: {
                "op": 0,
                "flags": {"verb": 0, "rest": 0},
                "line": b"+",
                "head": ErrorText(),
            },
            heartbeat=lambda variant: {
                "op": 0,
                "flags": {"verb": 0, "rest": 0},
                "line": b"PING",
                "head": b"",
            },
            ack=lambda variant: {"op": 0, "flags": {"verb": 0, "rest": 0}, "line": b"+PONG", "head": b""},
        ),
    )


def structured() -> WireFormat:
    """What a frame is and where it goes stands in structures, one of each family."""
    meta, head, body = protobuf(this.meta), tlv(this.head, tag=Int16ub, length=Int8ub), this.body
    return WireFormat(
        Struct(
            "id" / Int16ub,
            "meta" / Prefixed(Int8ub, GreedyBytes),
            "head" / Prefixed(Int8ub, GreedyBytes),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        id=this.id,
        response=number(meta[2]) > 0,
        oneway=head[9] == "1",
        status=table(number(meta[2]), {200: Status.OK}, Status.INTERNAL),
        app_error=(json(body)["error"]["code"] != "0") & (number(meta[3][1]) == 1),
        timeout=number(meta[4]),
        service=first(meta[1][1], thrift(body, "binary")[1], json(body)["service"]),
        method=first(
            meta[1][2], thrift(body, "compact")[2][1], msgpack(body)["method"], json(body)["calls"][0]
        ),
        version=first(meta[5]["version"], blocks(body, align=4, front=2)[1]["version"]),
        group=first(head[7], msgpack(body)["group"][1], thrift(body, "binary")[3]["group"]),
        replies=Replies(error=lambda status, variant: {"meta": b"\x10\1", "head": b"", "body": ErrorText()}),
    )


def counted() -> WireFormat:
    """Lengths that are texts: digits of fixed width and between words, and in a header's lines."""
    head = lines(this.head, ":", "\r\n", ignore_case=True, trim=" \t", skip=1)
    words = split(this.line, " ", 3, exact=True)
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "n" / Bytes(3),
            "name" / Bytes(number(this.n)),
            "line" / If(this.kind >= 4, Until(b"\n", max=100)),
            "text" / If(starts(this.line, "SET "), Bytes(number(first(words[2], "0")))),
            "head" / If(this.kind < 4, Until(b"\r\n\r\n", max=500)),
            "body"
            / If((head["Type"] != "none") & (number(head["Length"]) >= 0), Bytes(number(head["length"]))),
        ),
        mode="pingpong",
        response=(this.kind & 1) == 1,
        service=this.name,
        method=first(words[0], head["to"]),
        headers=head,
        replies=Replies(
            error=lambda status, variant: {
                "kind": 1,
                "name": b"no",
                "head": b"-",
                "body": [FromRequest(this.name, max=9), ErrorText()],
            }
        ),
    )


def flagged() -> WireFormat:
    """An id and a length in the byte order that a flag says, and a delimiter behind the id."""
    return WireFormat(
        Struct(
            "flags" / Int8ub,
            "id" / IfThenElse(this.flags & 1, Int16ul, Int16ub),
            "name" / Until(b";", max=40),
            "size" / Rebuild(IfThenElse(this.flags & 1, Int16ul, Int16ub), len_(this.body)),
            "body" / Bytes(this.size),
        ),
        id=this.id,
        response=this.flags & 2,
        service=this.name,
        variants=({"flags": 2}, {"flags": 3}),
        replies=Replies(error=lambda status, variant: {"name": b"error", "body": ErrorText()}),
    )


def answering() -> WireFormat:
    """An answer says in another field whose it is."""
    return WireFormat(
        Struct(
            "id" / Int16ul,
            "answers" / Int16ul,
            "kind" / Int8ub,
            "body" / Prefixed(Int8ub, GreedyBytes),
            "crc" / Int32ub,
        ),
        id=this.id,
        answer_id=this.answers,
        response=(this.kind == 1) | (this.kind == 3),
        heartbeat=this.kind >= 2,
        service=this.body,
        checksum=crc32(this.crc, over="before"),
        replies=Replies(
            error=lambda status, variant: {"id": 0, "kind": 1, "body": ErrorText()},
            heartbeat=lambda variant: {"answers": 0, "kind": 2, "body": b""},
            ack=lambda variant: {"id": 0, "kind": 3, "body": b""},
        ),
    )


def regions() -> WireFormat:
    """Sections that say themselves where they end, and parts one behind the other."""
    row = Struct(
        "n" / Int8ub,
        "mark" / If(this.n == 3, UVar(2)),
        "cells" / Repeat(Struct("tag" / Int8ub, "word" / Until(b"\0", max=9)), until=this.tag >= this._.n),
    )
    params = msgpack(this.params)
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int16ub,
            "params" / Measured(msgpack_value),
            "command" / If(this.kind >= 2, Measured(resp_value)),
            "object" / If((this.kind & 4) != 0, Measured(json_value)),
            "message" / If((this.kind & 8) != 0, Measured(ber_value)),
            "size" / Rebuild(Int8ub, len_(this.command) + len_(this.rest)),
            "rest" / Bytes(this.size - len_(this.command)),
            "rows" / If((this.kind & 16) != 0, Repeat(row, until=(this.n == 0) | (this.mark == 7))),
            "names" / If((this.kind & 32) != 0, Repeat(Until(b"\0", max=9), count=this.size)),
            "body"
            / Repeat(Struct("size" / Int8ub, "data" / Bytes(this.size)), adding=this.size, to=this.kind >> 6),
        ),
        id=this.id,
        response=(this.kind & 1) == 1,
        status=table(number(params[0]), {0: Status.OK}, Status.INTERNAL),
        service=first(params["service"], json(this.object)["s"]),
        method=text(this.command),
        version=split(this.names, "\0", 2)[0],
        group=first(ber(this.message)[0]["80"], ber(this.message)[0][1]["tag"]),
        replies=Replies(
            error=lambda status, variant: {
                "kind": 3,
                "params": [ErrorText(before=b"\x92\1\xd9", count=Int8ub)],
                "command": b"-ERR\r\n",
                "rest": b"",
                "body": b"",
            }
        ),
    )


def planted() -> WireFormat:
    """A format whose step is in target.c, with a fault or without."""
    fault = Step("planted", 1, lambda section, arguments, count: [None])
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "text" / Prefixed(Int8ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 1,
        service=step(fault, this.text, count=1)[0],
        replies=Replies(error=lambda status, variant: {"kind": 1, "text": b"refused"}),
    )


def talking() -> WireFormat:
    """A login that comes back and has forms; answers read by what was asked; every sum; a byte ahead."""
    frame = Struct(
        "tag" / Ahead(Int8ub),
        "kind" / Int8ub,
        "id" / Int16ub,
        "total" / Rebuild(Int16ub, size_(this.mark) + len_(this.body)),
        "mark" / UVar(3),
        "body" / Bytes(this.total - size_(this.mark)),
        "more" / If(this.tag > 9, Int8ub),
        "eight" / Int8ub,
        "sixteen" / Int16ub,
        "modbus" / Int16ul,
        "castagnoli" / Int32ub,
        "adler" / Int32ub,
        "all" / Int32ub,
    )

    def hello(_variant: object) -> dict[str, object]:
        return {"tag": 3, "kind": 3, "mark": 0, "body": b"hello"}

    def echo(_variant: object) -> dict[str, object]:
        return {"tag": 3, "kind": 3, "mark": 0, "body": [b"<", FromPeer(this.body, max=9)]}

    steps = [
        ("client", hello),
        Turn("server", [(this.mark == 1, echo), (True, hello)]),
        *optional(("client", echo), Turn("server", hello, when=this.mark == 2)),
        ("server", hello),
    ]
    return WireFormat(
        frame,
        id=this.id,
        response=(this.kind == 2) & (side != "client"),
        greeting=Greeting(when=this.kind == 3, steps=steps, refused=this.mark == 7),
        status=table(asked(this.mark == 5) + this.mark, {0: Status.OK, 1: Status.OK}, Status.INTERNAL),
        app_error=asked(this.kind) == 1,
        service=hessian_fields(this.body, "b", "a")[1],
        readable=(this.body, this.mark != 4),
        checksum=[
            sum8(this.eight, over="before"),
            sum16(this.sixteen, over=[this.body]),
            crc16(this.modbus, over="before", variant="modbus"),
            crc32c(this.castagnoli, over=[this.body]),
            adler32(this.adler, over="before"),
            sum32(this.all, over="before"),
        ],
        replies=Replies(
            error=lambda *_: {"tag": 2, "kind": 2, "mark": 0, "body": [Counted(Int16ub, b"no", ErrorText())]}
        ),
    )


def relaying() -> WireFormat:
    """A greeting between a client and a server of its own; parts of a request, computed ones, in an error."""
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "n" / Int8ub,
            "head" / Until(b"\0", max=40),
            "body" / Prefixed(Int16ub, GreedyBytes),
        ),
        mode="pinned",
        response=(this.kind == 2) & (side != "client"),
        greeting=Greeting(when=this.kind == 3, refused=this.n == 7, relayed=True),
        service=lines(this.head, ":", ";", repeated="first")["to"],
        replies=Replies(
            error=lambda status, variant: {
                "kind": 2,
                "n": FromRequest(table(this.n, {1: 2, 7: 0}, 9)),
                "head": [FromRequest(decimal(this.n), max=3), b":", ErrorText()],
                "body": [FromRequest(lines(this.head, ":", ";", repeated="first")["to"], max=9)],
            }
        ),
    )


def ending(headers: Any) -> WireFormat:
    """A head of lines; a body so long as a line says, or an answer's up to its server's end."""
    measured = first(headers["length"], "none") != "none"
    last = IfThenElse((side == "server") & ~measured, UntilEnd(), Bytes(number(headers["length"])))
    return WireFormat(
        Struct("head" / Until(b"\n\n", max=80), "body" / last),
        mode="pingpong",
        response=side == "server",
        oneway=starts(this.head, "!"),
        last=headers["last"] == "1",
        service=headers["to"],
        headers=headers,
        status=table(split(this.head, "\n", 2)[0], {"ok": Status.OK}, Status.INTERNAL),
        replies=Replies(error=lambda *_: {"head": b"no\nlength:0", "body": ErrorText()}),
    )


def headed(headers: Any) -> WireFormat:
    """Headers in a structure."""
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "meta" / Prefixed(Int16ub, GreedyBytes)),
        id=this.id,
        response=this.kind == 2,
        oneway=this.kind == 3,
        service="a.B",
        headers=headers,
        replies=Replies(error=lambda status, variant: {"kind": 2, "meta": ErrorText()}),
    )


def protocols() -> list[Protocol]:
    """All of them but the planted one."""
    sys.path[:0] = [str(REPO / "tests"), str(REPO / "tests" / "wire")]
    import named  # noqa: PLC0415  # modules of the tests
    from test_declarations import nasty  # noqa: PLC0415

    return [
        Protocol("nasty", nasty()),
        Protocol("branches", branches()),
        Protocol("meant", meant()),
        Protocol("structured", structured()),
        Protocol("text-lengths", counted()),
        Protocol("flagged", flagged()),
        Protocol("answering", answering()),
        Protocol("regions", regions()),
        Protocol("talking", talking()),
        Protocol("relaying", relaying()),
        Protocol("ending", ending(lines(this.head, ":", "\n", ignore_case=True, skip=1, repeated="first"))),
        Protocol("ending-lines", ending(lines(this.head, ":", "\n", skip=1))),
        Protocol("ordered", in_order("ordered")),
        Protocol("pingpong", in_order("pingpong")),
        Protocol("headed-protobuf", headed(protobuf(this.meta)[8])),
        Protocol("headed-tlv", headed(tlv(this.meta, Int8ub, Int16ul, names={1: "zone", 2: "user"}))),
        Protocol("headed-msgpack", headed(msgpack(this.meta)["headers"])),
        Protocol("headed-json", headed(json(this.meta))),
        Protocol("headed-binary", headed(thrift(this.meta, "binary")[3])),
        Protocol("headed-compact", headed(thrift(this.meta, "compact")[3])),
        Protocol("headed-blocks", headed(blocks(this.meta, align=4, front=2)[1])),
        *named.protocols().values(),
    ]
