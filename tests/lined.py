"""A declared protocol with headers in requests and answers, and a server that sends back what it gets."""

from __future__ import annotations

import asyncio

from construct import Const, GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this

from protokit import WireFormat
from protokit.testing import streams
from protokit.wire import ErrorText, Replies, lines, text

LAYOUT = Struct(
    Const(b"LN"),
    "kind" / Int8ub,  # 0 request, 1 answer
    "id" / Int16ub,
    "service" / Prefixed(Int8ub, GreedyBytes),
    "method" / Prefixed(Int8ub, GreedyBytes),
    "headers" / Prefixed(Int16ub, GreedyBytes),
    "body" / Prefixed(Int8ub, GreedyBytes),
)


def declared_headers(headers, **more) -> WireFormat:
    """The protocol with headers of some kind, and with more behind that takes no bytes."""
    return WireFormat(
        Struct(*LAYOUT.subcons, *(name / one for name, one in more.items())),
        id=this.id,
        response=this.kind == 1,
        service=text(this.service),
        method=text(this.method),
        headers=headers,
        replies=Replies(
            error=lambda status, variant: {
                "kind": 1,
                "service": b"",
                "method": b"",
                "headers": b"",
                "body": ErrorText(),
                **dict.fromkeys(more, b""),
            }
        ),
    )


LINES = declared_headers(lines(this.headers, "=", ";"))


class Lines:
    """A server of the declared protocol, which keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[dict] = []

    async def start(self) -> Lines:
        self._server = await streams.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader, writer) -> None:
        while frame := await read(reader):
            self.got.append(frame)
            writer.write(LINES.build(frame | {"kind": 1}))
        writer.close()

    def stop(self) -> None:
        self._server.close()


async def read(reader) -> dict:
    try:
        head = await reader.readexactly(5)
        parts = [await reader.readexactly((await reader.readexactly(1))[0]) for _ in range(2)]
        parts.append(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))
        parts.append(await reader.readexactly((await reader.readexactly(1))[0]))
    except asyncio.IncompleteReadError:
        return {}
    number = int.from_bytes(head[3:], "big")
    return {"kind": head[2], "id": number} | dict(
        zip(("service", "method", "headers", "body"), parts, strict=True)
    )
