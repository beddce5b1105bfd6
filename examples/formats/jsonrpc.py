r"""JSON-RPC 2.0 in lines: the id is a number or a text, and comes back as its client wrote it.

::

    {"jsonrpc": "2.0", "method": "calc.add", "params": [2, 3], "id": 1} \n

Source: jsonrpc.org, the specification; one message a line, as Electrum's and other servers speak it over
TCP. A message without a method is an answer.

Limits: a batch closes its client's connection: its answers come in one array. What a server says by itself (a
notification) belongs to no client, and reaches none on shared connections. ``service.method`` is cut at the
first point. Rules may ask for parameters by their place, not by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Struct, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies, Until, byte_id, json, number, split, starts, table, text

if TYPE_CHECKING:
    from collections.abc import Mapping

frame = Struct("line" / Until(b"\n", max=1 << 20))
message = json(this.line)
name = split(message["method"], ".", 2)

CODES = {
    Status.BAD_REQUEST: -32600,
    Status.NO_SERVICE: -32601,
    Status.INTERNAL: -32603,
    Status.TIMEOUT: -32001,  # -32000 and below are the server's own
    Status.OVERLOADED: -32002,
    Status.UNAVAILABLE: -32003,
    Status.DENIED: -32004,
}


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """The engine puts the client's id where 0 stands."""
    before = b'{"jsonrpc":"2.0","id":0,"error":{"code":%d,"message":"' % CODES[status]
    return {"line": [before, ErrorText(), b'"}}']}


jsonrpc = Protocol(
    "jsonrpc",
    WireFormat(
        frame,
        id=byte_id(message["id"], max=64),
        response=starts(text(this.line), "{") & (starts(message["method"], "") == 0),
        oneway=starts(json(this.line)["id"], "") == 0,
        status=table(
            number(message["error"]["code"]),
            {0: Status.OK, -32602: Status.BAD_REQUEST, **{code: status for status, code in CODES.items()}},
            Status.APP_ERROR,
        ),
        service=name[0],
        method=name[1],
        arguments=message["params"],
        replies=Replies(error=error, encoding="json"),
    ),
    "jsonrpc",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [jsonrpc]
