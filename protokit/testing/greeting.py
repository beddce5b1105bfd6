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
    """Say and hear the steps of the greeting; nothing where the protocol has none.

    What the codec can say is said, also where it may be left out.

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
    data = heard_last = b""
    steps, options = native.greeting(codec), native.greeting_options(codec)
    step = 0

    def after(step: int, *, said: bool) -> int:
        step += 1
        while not said and step < len(steps) and options[step] == "with":
            step += 1
        return step

    while step < len(steps):
        if steps[step] == side:
            frame = native.greeting_step(codec, step, context, heard_last)
            writer.write(frame)
            step = after(step, said=bool(frame))
            continue
        while (
            not data
            or (heard := native.frame(codec, data, side="server" if side == "client" else "client")).result
            == 1
        ):
            more = await reader.read(1 << 16)
            if not more:
                raise EOFError(f"the connection was closed at step {step} of the greeting")
            data += more
        answered = side == "client" and heard.kind == native.KIND_RESPONSE and heard.status == 0
        greeted = answered or (heard.kind == native.KIND_GREETING and heard.status <= 1)
        heard_last, data = data[: heard.size], data[heard.size :]
        found = native.greeting_heard(codec, step, heard_last) if heard.result == 0 and greeted else None
        if found is None:
            raise RemoteProtocolError(f"step {step} of the greeting was expected, got {heard}")
        while step < found:
            if steps[step] == side:
                writer.write(native.greeting_step(codec, step, context))
            step = after(step, said=steps[step] == side)
        step = after(step, said=True)
    return data
