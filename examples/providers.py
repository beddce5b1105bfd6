"""Demo Dubbo providers: real frames in, arguments decoded, answers computed. No Java needed.

python examples/providers.py NAME PORT
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import uvloop
from protokit_dubbo.hessian import Object
from protokit_dubbo.messages import OK, Answer, Call, Event, decode, split

from protokit.errors import ProtocolError

SERVICE_ERROR = 70


class Provider(asyncio.Protocol):
    """One client's connection to the provider called ``name``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        try:
            frames, self._rest = split(self._rest + data)
            for frame in frames:
                self._transport.write(self._answer(decode(frame)))
        except ProtocolError as error:
            print(f"{self._name}: {error}", file=sys.stderr)
            self._transport.abort()

    def _answer(self, message: Call | Answer | Event) -> bytes:
        if isinstance(message, Event) and message.request and message.twoway:
            return Event(message.id, message.body, request=False, twoway=False).encode()
        if not isinstance(message, Call):
            return b""
        try:
            answer = Answer(message.id, OK, self._call(message))
        except LookupError as error:
            answer = Answer(message.id, SERVICE_ERROR, f"{self._name}: {error.args[0]}")
        except (TypeError, ArithmeticError) as error:
            thrown = Object("java.lang.IllegalArgumentException", {"detailMessage": str(error)})
            answer = Answer(message.id, OK, None, exception=thrown)
        return answer.encode() if message.twoway else b""

    def _call(self, call: Call) -> Any:
        match call.service, call.method, call.arguments:
            case "org.protokit.demo.Greeter", "greet", [str(who)]:
                return f"Hello {who}, this is {self._name}"
            case "org.protokit.demo.Calculator", "add", [int(a), int(b)]:
                return a + b
            case "org.protokit.demo.Calculator", "sum", [list(numbers)]:
                return sum(numbers)
            case "org.protokit.demo.Calculator", "divide", [int(a), int(b)]:
                return a / b
        raise LookupError(f"no {call.service}.{call.method} of {len(call.arguments)} arguments")


async def serve(name: str, port: int) -> None:
    """Run one provider on the loopback until it is killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(name), "127.0.0.1", port)
    print(f"READY {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdigit():
        sys.exit("usage: python examples/providers.py NAME PORT")
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
