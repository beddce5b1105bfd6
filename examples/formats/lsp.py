r"""LSP: the body's length stands in a header line, everything else in JSON; servers ask, too.

::

    Content-Length: 92\r\n  \r\n  {"jsonrpc":"2.0","id":0,"method":"textDocument/hover","params":{...}}

Source: Language Server Protocol 3.17, "Base Protocol", and JSON-RPC 2.0.

A server knows its client's documents, sends notifications and asks its client: each client has a connection
of its own (``pinned``), and ids stay as they are written; in an error the header counts the client's.
``textDocument/hover`` is method ``hover`` of service ``textDocument``.

Limits: a message without a slash (``initialize``) has a service and no method. A batch is refused, as LSP
has none, as are ids of over 64 bytes. All messages of a client should lead to one cluster: another server
would not know its documents. ``shutdown`` and ``exit`` go to the server, which ends; over TCP that may be
everybody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from construct import Bytes, Struct, this

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies, Until, byte_id, json, lines, number, split, starts, table

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD = lines(this.head, ":", "\r\n", ignore_case=True, trim=" \t")
frame = Struct("head" / Until(b"\r\n\r\n", max=4096), "body" / Bytes(number(HEAD["Content-Length"])))
message = json(this.body)
name = split(message["method"], "/", 2)

CODES = {
    Status.BAD_REQUEST: -32600,
    Status.NO_SERVICE: -32601,
    Status.TIMEOUT: -32802,  # the server cancelled it
    Status.OVERLOADED: -32000,  # up to -32099: the server's own
    Status.UNAVAILABLE: -32001,
    Status.DENIED: -32003,
    Status.INTERNAL: -32603,
}
STATUS = {0: Status.OK, -32602: Status.BAD_REQUEST, **{code: status for status, code in CODES.items()}}


def error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    """The engine puts the client's id where 0 stands, and the length into the header."""
    before = b'{"error": {"code": %d, "message": "' % CODES[status]
    return {
        "head": b"Content-Length: 0\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8",
        "body": [before, ErrorText(), b'"}, "jsonrpc": "2.0", "id": 0}'],
    }


lsp = Protocol(
    "lsp",
    WireFormat(
        frame,
        mode="pinned",
        id=byte_id(message["id"], max=64),
        response=starts(message["method"], "") == 0,
        oneway=starts(message["id"], "") == 0,
        status=table(number(message["error"]["code"]), STATUS, Status.APP_ERROR),
        service=name[0],
        method=name[1],
        replies=Replies(error=error, encoding="json"),
    ),
    "Language Server Protocol",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [lsp]
