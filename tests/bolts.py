"""Bolt peers on real sockets, in this process."""

from __future__ import annotations

from typing import Any

from protokit_sofarpc import bolt

from protokit.testing import streams


class Bolt:
    """A bolt server, which keeps what it gets."""

    def __init__(self) -> None:
        self.got: list = []

    async def start(self) -> Bolt:
        self._server = await streams.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader, writer) -> None:
        while (fields := await read(reader)) is not None:
            self.got.append(fields)
            head = {key: fields[key] for key in ("proto", "ver1", "switch", "ver2", "id", "codec")}
            summed = head["proto"] == 2 and head["ver1"] == 2 and head["switch"] & 1
            values = {
                "type": 0,
                "cmdcode": 2,
                "status": 0,
                "class_name": b"",
                "headers": b"",
                "content" if summed else "result": b"N",
            }
            writer.write(bolt.wire.build(head | values))
        writer.close()

    def stop(self) -> None:
        self._server.close()


async def read(reader):
    data = b""
    while True:
        try:
            return bolt.wire.parse(data)[0]
        except EOFError:
            more = await reader.read(1 << 16)
            if not more:
                return None
            data += more


def ask(number: int, method: str = "m", **values: Any) -> bytes:
    """A request."""
    encoding = bolt.wire.meaning.headers.encoding
    headers = encoding.build([(b"service", b"a.B:1.0"), (b"sofa_head_method_name", method.encode())])
    head = {"proto": 1, "type": 1, "cmdcode": 1, "ver2": 1, "id": number, "codec": 1, "timeout": 20_000}
    return bolt.wire.build(head | {"class_name": b"x", "headers": headers, "content": b"c"} | values)
