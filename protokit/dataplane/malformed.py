"""What is said of peers that send bytes which are no frame of their protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit.dataplane import listening

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protokit.dataplane.compile import Compiled
    from protokit.native import Malformed

_LIMIT, _UNSUPPORTED = -3, -4  # PK_ERR_*
_ELSE = {
    b"\x16\x03": "TLS",
    b"PRI * HT": "HTTP/2 (gRPC?)",
    b"HTTP/": "HTTP",
    b"PROXY ": "a PROXY protocol header",
    b"\r\n\r\n\x00\r\nQ": "a PROXY protocol header",
    b"SSH-": "SSH",
} | dict.fromkeys((b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT "), "HTTP")


def of_client(told: Malformed, tables: Iterable[Compiled]) -> tuple[str, str]:
    """The listener's name, and the line about a client's bytes."""
    for compiled in tables:
        for listener in compiled.snapshot.listeners:
            if compiled.listeners[listening.key(listener)] == told.owner:
                names = " or ".join(one.name for one in listener.protocols)
                text = f"listener {listener.name}: {told.peer or 'a client'} was closed: {_what(told, names)}"
                return listener.name, text
    return "", f"{told.peer or 'a client'} was closed: {_what(told, 'known')}"


def of_server(told: Malformed, tables: Iterable[Compiled]) -> tuple[str, str]:
    """The endpoint's name, and the line about a server's bytes."""
    for compiled in tables:
        for (cluster, host, port), number in compiled.endpoints.items():
            if number == told.owner:
                name = f"{listening.place(host, port)} of cluster {cluster}"
                return name, f"a connection to endpoint {name} was closed: {_what(told, 'right')}"
    return told.peer, f"a connection to {told.peer} was closed: {_what(told, 'right')}"


def _what(told: Malformed, protocols: str) -> str:
    """What was sent, and what would have been right."""
    shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in told.head)
    begins = f"it begins with {told.head.hex(' ')} ({shown})"
    if told.error == _LIMIT:
        return f"it sent a frame that is larger than limits.frame allows; {begins}"
    if told.error == _UNSUPPORTED:
        return f"it sent a frame of a kind that cannot be read, wrong at byte {told.at}; {begins}"
    found = next((name for head, name in _ELSE.items() if told.head.startswith(head)), None)
    looks = f", which looks like {found}" if found else ""
    return f"it sent what is no {protocols} frame, wrong at byte {told.at}; {begins}{looks}"
