r"""Pyro5: calls and exceptions in JSON; clients say first which object they want, and hear what it can do.

::

    0      4         6      7            8       10    12     16           20            36     38    40
    +------+---------+------+------------+-------+-----+------+------------+-------------+------+-------+
    | PYRO | version | type | serializer | flags | seq | size | size of    | correlation | 0    | 4d c5 |
    |      |         |      | 3: JSON    |       |     |      | annotations|             |      |       |
    +------+---------+------+------------+-------+-----+------+------------+-------------+------+-------+
    | annotations | {"object": "demo.Echo", "method": "echo", "params": ["a"], "kwargs": {}}           |
    +-------------+----------------------------------------------------------------------------------+

Source: the head of Pyro5/protocol.py, which describes it, and its frames.

The service is the object, the method the method. An exception is an answer with a flag; those of the
framework are told by their classes. A client keeps its connection to the server that greeted it, where its
object may live between calls (``pinned``), and which told it what may be called: so a listener leads to one
cluster.

Limits: the body is read where it is JSON (``SERIALIZER = "json"``) and not compressed. Of others nothing is
known: rules for every service take them, and errors of the proxy are in JSON, which is not theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Bytes, Check, Const, Int8ub, Int16ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, FromRequest, Greeting, Replies, json, side, starts, table

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT, CONNECTED, REFUSED, CALL, RESULT, PING = range(1, 7)
EXCEPTION, COMPRESSED, ONEWAY = 1, 2, 4
JSON = 3
FRAMEWORK = "Pyro5.errors."

frame = Struct(
    Const(b"PYRO"),
    "version" / Int16ub,
    "type" / Int8ub,
    Check((this.type >= CONNECT) & (this.type <= PING)),
    "serializer" / Int8ub,
    "flags" / Int16ub,
    "seq" / Int16ub,
    "size" / Rebuild(Int32ub, len_(this.body)),
    "annotations_size" / Rebuild(Int32ub, len_(this.annotations)),
    "correlation" / Bytes(16),
    "reserved" / Int16ub,
    Const(b"\x4d\xc5"),
    "annotations" / Bytes(this.annotations_size),
    "body" / Bytes(this.size),
)
body = json(this.body)
is_framework = (this.flags & EXCEPTION) & starts(body["__class__"], FRAMEWORK)
is_timeout = (this.flags & EXCEPTION) & starts(body["__class__"], f"{FRAMEWORK}TimeoutError")


def said(kind: int, **values: Any) -> dict[str, Any]:
    """A frame without annotations."""
    plain = {"version": 502, "serializer": JSON, "flags": 0, "correlation": bytes(16), "reserved": 0}
    return plain | {"type": kind, "annotations": b"", "body": b""} | values


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """An exception, as clients make it of its class and arguments."""
    name = "TimeoutError" if status is Status.TIMEOUT else "CommunicationError"
    front = f'{{"__class__": "{FRAMEWORK}{name}", "__exception__": true, "args": ["'
    return said(RESULT, flags=EXCEPTION, body=[front.encode(), ErrorText(), b'"], "attributes": {}}'])


pyro = Protocol(
    "pyro",
    WireFormat(
        frame,
        id=this.seq,
        mode="pinned",
        response=(this.type == RESULT) | ((this.type == PING) & (side == "server")),
        oneway=(this.type == CALL) & ((this.flags & ONEWAY) != 0),
        heartbeat=this.type == PING,
        greeting=Greeting(when=this.type <= REFUSED, relayed=True),
        status=table(is_framework + is_timeout, {0: Status.OK, 2: Status.TIMEOUT}, Status.INTERNAL),
        app_error=(this.flags & EXCEPTION) != 0,
        readable=(this.body, (this.serializer == JSON) & ((this.flags & COMPRESSED) == 0)),
        service=body["object"],
        method=body["method"],
        arguments=body["params"],
        replies=Replies(
            error=error,
            heartbeat=lambda _: said(PING, body=b"ping"),
            ack=lambda _: said(PING, serializer=FromRequest(this.serializer), body=b"pong"),
            encoding="json",
        ),
    ),
    "Pyro 5 with JSON",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [pyro]
