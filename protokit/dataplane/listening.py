"""Listening sockets: one for each worker, all of them or none, and who may share a port."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING

from protokit.errors import ProtokitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protokit.control.snapshot import Listener

BACKLOG = 1024
_ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104  # compared, not bound
_TO_DO = {
    errno.EADDRINUSE: "stop what listens there, or choose another port",
    errno.EADDRNOTAVAIL: "no interface of this machine has it: choose another, or 0.0.0.0 or [::] for all",
    errno.EACCES: "ports under 1024 are not for everybody: choose another, or give the process"
    " CAP_NET_BIND_SERVICE",
}

Key = tuple[str, str, int]


def key(listener: Listener) -> Key:
    """Where a listener listens: sockets stay open over a reload as long as some listener has the key.

    Port 0 is whatever the system gives, so there the name is part of it.
    """
    return ("" if listener.port else listener.name, listener.host, listener.port)


def overlap(one: Key, other: Key) -> bool:
    """Whether both want some address and port that is the same."""
    return one[2] == other[2] != 0 and (one[1] == other[1] or bool({one[1], other[1]} & _ANYWHERE))


class Bound:
    """An address that is listened on.

    Attributes:
        number: the listener's in tables and workers.
        address: (host, port), the real port.
        fds: a worker's socket each; the workers own them.
    """

    __slots__ = ("address", "fds", "number")

    def __init__(self, number: int, sockets: Iterable[socket.socket]) -> None:
        self.number = number
        sockets = list(sockets)
        self.address: tuple[str, int] = sockets[0].getsockname()[:2]
        self.fds = [one.detach() for one in sockets]


def bind(listener: Listener, count: int, leaving: Iterable[int] = ()) -> list[socket.socket]:
    """Sockets on one port that the kernel spreads connections over.

    A port that somebody else listens on is refused although his sockets may be shared, as those of another
    proxy with several workers are: the first socket asks for the port alone and listens on it; only then may
    it be shared. ``reuse_port: true`` shares it with anybody of the same user, and does not listen yet.

    Args:
        listener: where, and whether others may have it, too.
        count: how many.
        leaving: our own sockets that overlap with it, and are about to be closed.

    Raises:
        OSError: it cannot be bound; nothing is left open.
    """
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    port, shared = listener.port, listener.reuse_port
    sockets: list[socket.socket] = []
    with contextlib.ExitStack() as undo:
        while len(sockets) < count:
            one = undo.enter_context(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                _share(one)
            try:
                one.bind((listener.host, port))
            except OSError as error:
                if shared or error.errno != errno.EADDRINUSE or not leaving:
                    raise
                for fd in leaving:
                    with adopt(os.dup(fd))[0] as old:
                        _share(old)
                _share(one)
                one.bind((listener.host, port))
            sockets.append(one)
            port = one.getsockname()[1]
            if not listener.reuse_port:
                one.listen(BACKLOG)
            if count > 1:
                _share(one)
                shared = True
        undo.pop_all()
    return sockets


def listen_alone(option: str, host: str, port: int) -> socket.socket:
    """The admin server's socket, which listens before it is there: whoever comes waits in the queue.

    Args:
        option: of the configuration, for the error.
        host: a numeric address.
        port: 0 for any.

    Raises:
        ProtokitError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=100)
    except OSError as error:
        raise unbound(option, host, port, error) from None


def place(host: str, port: int) -> str:
    """An address as it is written: that of IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unbound(option: str, host: str, port: int, error: Exception) -> ProtokitError:
    """What to say of an address that cannot be bound."""
    return ProtokitError(f"{option} {place(host, port)} cannot be bound: {why_not(error)}")


def why_not(error: Exception) -> str:
    """Why an address cannot be bound, and what to do about it."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        return str(error)
    return os.strerror(number) + (f"; {_TO_DO[number]}" if number in _TO_DO else "")


def adopt(*fds: int) -> list[socket.socket]:
    """Sockets of descriptors that belong to the caller. Where one is none, all of them are closed."""
    sockets: list[socket.socket] = []
    try:
        for fd in fds:
            sockets.append(socket.socket(fileno=fd))  # noqa: PERF401  # those before the one that fails count
    except BaseException:
        for one in sockets:
            one.close()
        for fd in fds[len(sockets) :]:
            os.close(fd)
        raise
    return sockets


def _share(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
