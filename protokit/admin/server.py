"""A small HTTP server on the main thread: /ready, /healthz, /metrics, /stats, /clusters; POST to endpoints.

One request a connection, to an address or a name that is known: a page of somebody else's, whose name was
made to lead here, is not served. What a stranger can make it hold is bounded: a request's head, the seconds
a connection may last, and the connections of each address, of which the oldest gives way to a new one,
so that a probe is answered whatever others hold open. Must not import the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from protokit.dataplane.listening import adopt, unbound
from protokit.errors import ProtokitError
from protokit.observe.metrics import CONTENT_TYPE, prometheus

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from protokit.admin.connection import Answer, Connection
    from protokit.dataplane.proxy import Proxy

Pages = dict[str, "Callable[[], Answer]"]


class AdminServer:
    """Serves what operators and probes ask for.

    Args:
        proxy: to look into.
        bind: (host, port) for everything.
        public: (host, port) that serves only /ready, /healthz and /metrics.
        hosts: names that a request may be for, besides addresses, localhost and the two hosts above.

    Attributes:
        address: (host, port) of ``bind`` with the real port, once started.
        public_address: the same of ``public``; None without one.
        asked: the servers by the addresses that they were asked to bind.
    """

    def __init__(
        self,
        proxy: Proxy,
        bind: tuple[str, int],
        public: tuple[str, int] | None = None,
        hosts: Iterable[str] = (),
    ) -> None:
        self.address = bind
        self.public_address = public
        self._proxy = proxy
        self._hosts = frozenset(one.lower() for one in (bind[0], *(public or ())[:1], "localhost", *hosts))
        self._open: list[tuple[asyncio.Server, dict[Connection, None]]] = []
        self.asked: dict[tuple[str, int], asyncio.Server] = {}

    async def start(
        self, before: AdminServer | None = None, sockets: Mapping[str, socket.socket] = MappingProxyType({})
    ) -> None:
        """Listen.

        Args:
            before: one that is to be closed afterwards, whose addresses may be the same.
            sockets: that listen already, by option (``admin.bind``, ``admin.public``); they become its own.

        Raises:
            ProtokitError: an address cannot be bound.
        """
        everybody: Pages = {"/healthz": _healthz, "/ready": self._ready, "/metrics": self._metrics}
        everything: Pages = everybody | {"/stats": self._stats, "/clusters": self._clusters}
        change = self._change
        try:
            own = sockets.get("admin.bind") or _shared(before, self.address)
            self.address = await self._listen("admin.bind", self.address, everything, own, change)
            if self.public_address is not None:
                own = sockets.get("admin.public") or _shared(before, self.public_address)
                self.public_address = await self._listen("admin.public", self.public_address, everybody, own)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop listening, and end the connections. Idempotent."""
        for server, connections in self._open:
            server.close()
            for connection in list(connections):
                connection.abort()
        self._open.clear()
        self.asked.clear()
        await asyncio.sleep(0)

    async def _listen(
        self,
        option: str,
        bind: tuple[str, int],
        pages: Pages,
        own: socket.socket | None,
        change: Callable[[str, str], Awaitable[Answer]] | None = None,
    ) -> tuple[str, int]:
        connections: dict[Connection, None] = {}
        links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in pages)
        page = f"<!doctype html><title>protokit</title><h1>protokit</h1><ul>{links}</ul>\n".encode()
        site = pages | {"/": lambda: (200, "text/html; charset=utf-8", page)}

        def connection() -> Connection:
            # In time for the first one, and after the proxy listens: h11 takes a tenth of its start.
            module = importlib.import_module("protokit.admin.connection")
            made: Connection = module.Connection(site, change, connections, self._hosts, self._proxy.repeated)
            return made

        loop = asyncio.get_running_loop()
        try:
            if own is not None:
                with contextlib.ExitStack() as undo:
                    server = await loop.create_server(connection, sock=undo.enter_context(own))
                    undo.pop_all()
            else:
                host = bind[0].encode("ascii")  # a text would bring encodings.idna
                server = await loop.create_server(connection, [host], bind[1])  # type: ignore[list-item]
        except (OSError, OverflowError) as error:
            raise unbound(option, *bind, error) from None
        self._open.append((server, connections))
        self.asked[bind] = server
        host, port = server.sockets[0].getsockname()[:2]
        return host, port

    def _ready(self) -> Answer:
        return (200, "text/plain", b"ready\n") if self._proxy.ready else (503, "text/plain", b"not ready\n")

    def _metrics(self) -> Answer:
        from protokit.observe.process import process  # when somebody asks  # noqa: PLC0415

        page = prometheus(self._proxy.stats(), ready=self._proxy.ready) + process()
        return 200, CONTENT_TYPE, page.encode()

    def _stats(self) -> Answer:
        return 200, "application/json", msgspec.json.encode(self._proxy.stats()) + b"\n"

    async def _change(self, path: str, query: str) -> Answer:
        """``POST /clusters/NAME/ADDRESS?weight=3``, ``?drain=true``."""
        from urllib.parse import unquote  # noqa: PLC0415  # seldom

        parts = [unquote(one) for one in path.split("/")]
        if len(parts) != 4 or parts[:2] != ["", "clusters"]:
            return 404, "text/plain", b"nothing to change here; there is /clusters/NAME/ADDRESS\n"
        try:
            shown = await self._proxy.adjust(parts[2], parts[3], query)
        except LookupError as error:
            return 404, "text/plain", f"{error.args[0]}\n".encode()
        except ValueError as error:
            return 400, "text/plain", f"{error}\n".encode()
        except ProtokitError as error:
            return 409, "text/plain", f"{error}\n".encode()
        return 200, "application/json", msgspec.json.format(msgspec.json.encode(shown)) + b"\n"

    def _clusters(self) -> Answer:
        shown = msgspec.json.format(msgspec.json.encode(self._proxy.clusters()))
        return 200, "application/json", shown + b"\n"


def _shared(before: AdminServer | None, bind: tuple[str, int]) -> socket.socket | None:
    """A socket that ``before`` has for that address, too: whoever comes is in the queue of both."""
    same = before.asked.get(bind) if before is not None else None
    return adopt(os.dup(same.sockets[0].fileno()))[0] if same is not None else None


def _healthz() -> Answer:
    return 200, "text/plain", b"alive\n"
