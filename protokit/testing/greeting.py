"""A peer's part of what is said before requests, by the codec's own frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit import native
from protokit.errors import RemoteProtocolError

if TYPE_CHECKING:
    import asyncio


async def greet(
    codec: int, side: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: int = 0
) -> bytes:
    """Say and hear all steps of the greeting; nothing where the protocol has none.

    Args:
        codec: its address.
        side: the part to play: ``client`` or ``server``.
        reader: of the connection.
        writer: of the connection.
        context: what its steps are built for (``Message.context``).

    Returns:
        Bytes that came behind the greeting.

    Raises:
        RemoteProtocolError: the peer said something else, or no.
        EOFError: it closed the connection.
    """
    data = b""
    for step, who in enumerate(native.greeting(codec)):
        if who == side:
            writer.write(native.greeting_step(codec, step, context))
            continue
        while not data or (heard := native.frame(codec, data)).result == 1:
            more = await reader.read(1 << 16)
            if not more:
                raise EOFError(f"the connection was closed at step {step} of the greeting")
            data += more
        if (heard.result, heard.kind) != (0, native.KIND_GREETING) or heard.status > 1:
            raise RemoteProtocolError(f"step {step} of the greeting was expected, got {heard}")
        data = data[heard.size :]
    return data
