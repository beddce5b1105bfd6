"""A small HTTP server on the main thread: /ready, /healthz, /metrics, /stats."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import h11
import msgspec

from protokit.errors import ProtokitError
from protokit.observe.metrics import prometheus

if TYPE_CHECKING:
    from collections.abc import Callable

    from protokit.dataplane import Proxy

_TIMEOUT_S = 10
_PUBLIC = {"/ready", "/healthz", "/metrics"}
Answer = tuple[int, str, bytes]


class AdminServer:
    """Serves what operators and probes ask for.

    Args:
        proxy: to look into.
        bind: (host, port) for everything.
        public: (host, port) that serves only /ready, /healthz and /metrics.

    Attributes:
        address: (host, port) of ``bind`` with the real port, once started.
    """

    def __init__(self, proxy: Proxy, bind: tuple[str, int], public: tuple[str, int] | None = None) -> None:
        self._proxy = proxy
        self._binds = [(bind, False)] + ([(public, True)] if public else [])
        self._servers: list[asyncio.Server] = []
        self.address = bind
        self._pages: dict[str, Callable[[], Answer]] = {
            "/": self._index,
            "/healthz": lambda: (200, "text/plain", b"alive\n"),
            "/ready": self._ready,
            "/metrics": self._metrics,
            "/stats": lambda: (200, "application/json", msgspec.json.encode(self._proxy.stats()) + b"\n"),
        }

    async def start(self) -> None:
        """Listen.

        Raises:
            ProtokitError: an address cannot be bound.
        """
        for (host, port), public in self._binds:

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, public: bool = public
            ) -> None:
                await self._connection(reader, writer, public=public)

            try:
                server = await asyncio.start_server(serve, host, port, limit=16384)
            except OSError as error:
                await self.close()
                raise ProtokitError(f"admin cannot bind {host}:{port}: {error.strerror}") from None
            self._servers.append(server)
        self.address = self._servers[0].sockets[0].getsockname()[:2]

    async def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _index(self) -> Answer:
        links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in self._pages if path != "/")
        return (
            200,
            "text/html",
            f"<!doctype html><title>protokit</title><h1>protokit</h1><ul>{links}</ul>".encode(),
        )

    def _ready(self) -> Answer:
        return (200, "text/plain", b"ready\n") if self._proxy.ready else (503, "text/plain", b"not ready\n")

    def _metrics(self) -> Answer:
        page = prometheus(self._proxy.stats(), ready=self._proxy.ready)
        return 200, "text/plain; version=0.0.4", page.encode()

    def _answer(self, request: h11.Request, *, public: bool) -> Answer:
        path = request.target.decode("ascii", "replace").partition("?")[0]
        if request.method not in {b"GET", b"HEAD"}:
            return 405, "text/plain", b"only GET\n"
        if path not in self._pages or (public and path not in _PUBLIC):
            return 404, "text/plain", f"nothing here; there are {' '.join(sorted(self._pages))}\n".encode()
        return self._pages[path]()

    async def _connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, public: bool
    ) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=16384)
        with contextlib.suppress(OSError, TimeoutError, h11.RemoteProtocolError, asyncio.CancelledError):
            async with asyncio.timeout(_TIMEOUT_S):
                while True:
                    event = http.next_event()
                    if event is h11.NEED_DATA:
                        http.receive_data(await reader.read(16384))
                    elif isinstance(event, h11.Request):
                        status, kind, body = self._answer(event, public=public)
                        headers = [
                            ("content-type", kind),
                            ("content-length", str(len(body))),
                            ("connection", "close"),
                        ]
                        writer.write(http.send(h11.Response(status_code=status, headers=headers)) or b"")
                        if event.method != b"HEAD":
                            writer.write(http.send(h11.Data(data=body)) or b"")
                        await writer.drain()
                        break
                    else:
                        break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
