"""Sockets of the admin server that listen before it is there. Must not import asyncio."""

from __future__ import annotations

import os
import socket

from protokit.errors import ProtokitError


def listen(option: str, host: str, port: int) -> socket.socket:
    """Listen; whoever comes waits in the queue until an AdminServer takes the socket.

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
        raise unbound(option, host, port, os.strerror(error.errno or 0)) from None


def unbound(option: str, host: str, port: int, why: str) -> ProtokitError:
    """What to say of an address that cannot be bound."""
    return ProtokitError(
        f"{option} {host}:{port} cannot be bound: {why}; choose another address, or stop what listens there"
    )
