"""What one connection to the admin server may do, hold and say. Imported when the first one comes."""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

import h11

from protokit import logs

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_BYTES = 16384
CONNECTION_S = 10.0
CONNECTIONS = 64

_log = logging.getLogger("protokit.admin")
Answer = tuple[int, str, bytes]  # status, content type, body
Change = Callable[[str, str], Awaitable[Answer]]


def _name(host: str) -> str:
    """Without the port, the brackets, and the dot at the end."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False


class Connection(asyncio.Protocol):
    """One request and its answer; h11 reads and writes them.

    Args:
        pages: what makes the answer, by path.
        changes: what does what a POST asks for, by its path and query; None: it does nothing here.
        connections: all that are open on this address, the oldest first.
        hosts: names that it may be asked by.
        repeated: for pages that fail.
    """

    def __init__(
        self,
        pages: Mapping[str, Callable[[], Answer]],
        changes: Change | None,
        connections: dict[Connection, None],
        hosts: frozenset[str],
        repeated: logs.Repeated,
    ) -> None:
        self._pages = pages
        self._changes = changes
        self._task: asyncio.Task[None] | None = None
        self._connections = connections
        self._hosts = hosts
        self._repeated = repeated
        self._fed = 0
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The oldest makes room."""
        if len(self._connections) >= CONNECTIONS:
            next(iter(self._connections)).abort()
        self._connections[self] = None
        self._transport = cast("asyncio.Transport", transport)  # uvloop's only look like one
        self._timer = asyncio.get_running_loop().call_later(CONNECTION_S, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio.Protocol
        """It is over."""
        self._connections.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        """End it now."""
        self._connections.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer once the head is whole."""
        if self._http.our_state is not h11.IDLE:
            return  # answered: what else comes is read only so that the answer is not lost to a reset
        try:
            # No more than makes h11 refuse a longer head: it checks only heads that are not whole yet.
            part = data[: HEAD_BYTES + 1 - self._fed]
            self._fed += len(part)
            self._http.receive_data(part)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self._answer(error.error_status_hint, "text/plain", f"{error}\n".encode())
            return
        if not isinstance(event, h11.Request):
            return
        if not self._known(event):
            text = "asked by a name that is not known here; use the address, or add the name to admin.hosts\n"
            self._answer(421, "text/plain", text.encode(), body_wanted=event.method != b"HEAD")
            return
        of_one = event.target.startswith(b"/clusters/")
        if self._changes is not None and of_one and event.method == b"POST":
            self._task = asyncio.get_running_loop().create_task(self._change(event, self._changes))
        elif self._changes is not None and of_one:
            says = b"POST changes an endpoint (curl -X POST ...); GET of /clusters shows all of them\n"
            self._answer(405, "text/plain", says, body_wanted=event.method != b"HEAD", allow="POST")
        else:
            self._answer(*self._find(event), body_wanted=event.method != b"HEAD")

    async def _change(self, request: h11.Request, changes: Change) -> None:
        """What a POST asks for. A page in a browser says where it comes from, and cannot ask for anything."""
        path, _, query = request.target.decode("ascii", "replace").partition("?")
        if any(name in {b"origin", b"sec-fetch-site"} for name, _ in request.headers):
            self._answer(403, "text/plain", b"pages of browsers change nothing here\n")
            return
        try:
            answer = await changes(path, query)
        except Exception as error:  # noqa: BLE001  # as for pages
            self._repeated.log(_log, logging.ERROR, logs.place(error), f"POST {path} failed", error=error)
            answer = 500, "text/plain", b"it failed; the log says why\n"
        self._answer(*answer)

    def _find(self, request: h11.Request) -> Answer:
        path = request.target.decode("ascii", "replace").partition("?")[0]
        if request.method not in {b"GET", b"HEAD"}:
            return 405, "text/plain", b"only GET and HEAD; POST only to endpoints, on admin.bind\n"
        if path not in self._pages:
            return 404, "text/plain", f"nothing here; there are {' '.join(sorted(self._pages))}\n".encode()
        try:
            return self._pages[path]()
        except Exception as error:  # noqa: BLE001  # logged, and the caller hears of it
            self._repeated.log(_log, logging.ERROR, logs.place(error), f"the page {path} failed", error=error)
            return 500, "text/plain", b"the page failed; the log says why\n"

    def _known(self, request: h11.Request) -> bool:
        """Whether it is for this server by an address or a known name, as a browser has to say."""
        hosts = [
            value.decode("ascii", "replace").lower() for name, value in request.headers if name == b"host"
        ]
        return all(_name(host) in self._hosts or _is_address(_name(host)) for host in hosts)

    def _answer(
        self, status: int, kind: str, body: bytes, *, body_wanted: bool = True, allow: str = "GET, HEAD"
    ) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        headers = [("content-type", kind), ("content-length", str(len(body))), ("connection", "close")]
        if status == http.HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("allow", allow))
        reason = http.HTTPStatus(status).phrase
        self._transport.write(
            self._http.send(h11.Response(status_code=status, headers=headers, reason=reason)) or b""
        )
        if body_wanted:
            self._transport.write(self._http.send(h11.Data(data=body)) or b"")
        self._transport.write_eof()
