"""Servers and clients of Dubbo, or of bolt, which is declared, real ones: what a test asks of either."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import bolts
import peers
from protokit_dubbo.messages import Answer
from protokit_sofarpc import bolt

from protokit.testing import streams

if TYPE_CHECKING:
    from collections.abc import Callable

OK, APP_ERROR, OVERLOADED, NO_SERVICE, OTHER = "ok", "application error", "overloaded", "no service", "other"
SERVICE = "a.B"


class _Dubbo(peers.Server):
    """``how``: what it does with a call of that method, else it says its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[str] = []
        self.how: Callable[[str], str] = lambda method: OK
        self.before = self._answer

    def _answer(self, call, writer) -> bool:
        self.asked.append(call.method)
        how = self.how(call.method)
        if how == "closes":
            writer.transport.abort()
        elif call.twoway and how != "hangs":
            failed = {OVERLOADED: Answer(call.id, 100, "full"), APP_ERROR: Answer(call.id, 20, None, "no")}
            writer.write(failed.get(how, Answer(call.id, 20, self.name)).encode())
        return True


class _DubboClient:
    def __init__(self, client) -> None:
        self._client = client

    async def ask(self, method: str, **headers: str) -> tuple[str, str]:
        answer = await self._client.call(method, service=SERVICE, version="0.0.0", **headers)
        if answer.exception is not None:
            return APP_ERROR, str(answer.exception)
        return {20: OK, 100: OVERLOADED, 60: NO_SERVICE}.get(answer.status, OTHER), str(answer.value)

    def tell(self, method: str) -> None:
        call = peers.Call(SERVICE, method, "", [], twoway=False, request_id=1)
        self._client.writer.write(call.encode())

    async def close(self) -> None:
        await self._client.close()


class _Bolt(bolts.Bolt):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.asked: list[str] = []
        self.how: Callable[[str], str] = lambda method: OK

    async def _serve(self, reader, writer) -> None:
        with contextlib.suppress(OSError):
            while (fields := await bolts.read(reader)) is not None:
                if fields.cmdcode != 1:
                    continue
                method = dict(bolt.wire.meaning.headers.values(fields))[b"sofa_head_method_name"].decode()
                self.asked.append(method)
                how = self.how(method)
                if how == "closes":
                    writer.transport.abort()
                    return
                if fields.type == 2 or how == "hangs":
                    continue
                pairs = [(b"sofa_head_response_error", b"true")] if how == APP_ERROR else []
                writer.write(
                    bolt.wire.build(
                        {key: fields[key] for key in ("proto", "ver1", "switch", "ver2", "id", "codec")}
                        | {"type": 0, "cmdcode": 2, "status": 4 if how == OVERLOADED else 0}
                        | {"class_name": b"", "headers": bolt.wire.meaning.headers.encoding.build(pairs)}
                        | {"result": self.name.encode()}
                    )
                )
        writer.close()

    async def stop(self) -> None:
        super().stop()


class _BoltClient:
    def __init__(self, reader, writer) -> None:
        self._reader, self._writer, self._number = reader, writer, 0

    def _send(self, method: str, kind: int, headers: dict[str, str]) -> None:
        self._number += 1
        named = {"service": SERVICE, "sofa_head_method_name": method} | headers
        pairs = [(key.encode(), value.encode()) for key, value in named.items()]
        encoded = bolt.wire.meaning.headers.encoding.build(pairs)
        self._writer.write(bolts.ask(self._number, headers=encoded, type=kind))

    async def ask(self, method: str, **headers: str) -> tuple[str, str]:
        self._send(method, 1, headers)
        answer = await asyncio.wait_for(bolts.read(self._reader), 10)
        assert answer["id"] == self._number
        if b"sofa_head_response_error" in answer.headers:
            return APP_ERROR, ""
        status = {0: OK, 4: OVERLOADED, 6: NO_SERVICE}.get(answer.status, OTHER)
        return status, answer.result.decode(errors="replace")

    def tell(self, method: str) -> None:
        self._send(method, 2, {})

    async def close(self) -> None:
        self._writer.close()


PROTOCOLS = ["dubbo", "bolt"]


async def serving(protocol: str, name: str):
    """A server that says its name."""
    return await (_Dubbo if protocol == "dubbo" else _Bolt)(name).start()


async def asking(protocol: str, port: int):
    """A client."""
    if protocol == "dubbo":
        return _DubboClient(await peers.Client.connect(port))
    return _BoltClient(*await streams.open_connection("127.0.0.1", port))
