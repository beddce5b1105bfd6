"""What the fields of a frame mean, as the reference codec says it: its kind, status, names and headers."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import RemoteProtocolError
from protokit.model import Headers, Status
from protokit.wire import views
from protokit.wire.readings import unreadable_is_absent
from protokit.wire.repeats import signed
from protokit.wire.views import calculate

if TYPE_CHECKING:
    from protokit.wire.program import Meaning


@dataclass
class Message:
    """One frame, read by the reference codec.

    Attributes:
        kind: ``request``, ``oneway``, ``response``, ``heartbeat``, ``ack``, ``drain`` or
            ``greeting``.
        size: bytes of the whole frame.
        id: unsigned, or bytes where ids are byte strings.
        fields: the parsed container.
    """

    kind: str
    size: int
    id: native.Id
    status: Status
    timeout_ms: int
    service: str
    method: str
    version: str
    group: str
    headers: Headers
    fields: Any


def holds(expression: Any, container: Any) -> bool:
    """Whether a condition does; one of what cannot be read does not."""
    if isinstance(expression, int):
        return bool(expression)
    with unreadable_is_absent():
        return bool(calculate(expression, container))


def kind_of(m: Meaning, container: Any) -> str:
    """What a frame is; see ``Message``."""
    return (
        "greeting"
        if holds(m.greeting, container)
        else "drain"
        if holds(m.drain, container)
        else ("ack" if holds(m.response, container) else "heartbeat")
        if holds(m.heartbeat, container)
        else "response"
        if holds(m.response, container)
        else "oneway"
        if holds(m.oneway, container)
        else "request"
    )


def describe(m: Meaning, container: Any, size: int, request_id: native.Id | None) -> Message:
    """What parsed fields mean.

    Raises:
        RemoteProtocolError: a request's service, method or headers are malformed.
    """
    kind = kind_of(m, container)
    status = Status.OK
    if kind == "response":
        status = status_of(m, container)
    elif kind == "greeting" and holds(m.greeting_refused, container):
        status = Status.UNAVAILABLE
    request = kind in {"request", "oneway"}
    timeout = 0
    if request:
        timeout = min(max(signed(calculate(m.timeout, container)), 0), 2**32 - 1)
    for one in views.leaves(m.destination()) if request else ():
        if isinstance(one, views.Item):
            one.pairs.items(container)  # one that is malformed is an error, whoever needs it
    texts = {
        name: _text(view.get(container)) if request and view is not None else ""
        for name, view in (
            ("service", m.service),
            ("method", m.method),
            ("version", m.version),
            ("group", m.group),
        )
    }
    headers = Headers()
    if request:
        headers = _headers(m.headers, container)
    elif kind == "response":
        with contextlib.suppress(RemoteProtocolError):  # it goes on as it is
            headers = _headers(m.answer_headers, container)
    if kind == "response" and m.id and m.named is None and request_id is None:
        kind = "ignore"  # an answer without its id is nobody's
    if request_id is None:
        request_id = 0 if m.named is None else b""
    return Message(kind, size, request_id, status, timeout, **texts, headers=headers, fields=container)


def status_of(m: Meaning, container: Any) -> Status:
    """How an answer went; what of it cannot be read says nothing."""
    status = Status.OK
    with unreadable_is_absent():  # of a malformed map: the answer goes on as it is
        if m.status is not None:
            expression, table = m.status
            status = Status(table.entries.get(calculate(expression, container), table.default))
        if status is Status.OK and any(calculate(one, container) for one in m.app_error):
            return Status.APP_ERROR
    return status


def _headers(pairs: views.Pairs | None, container: Any) -> Headers:
    headers = Headers()
    seen: set[bytes] = set()
    for key, one in () if pairs is None else pairs.values(container):
        value = pairs.find(container, key) if pairs is not None and key is not None and key in seen else one
        if key is not None:
            seen.add(key)
        if key is not None and value is not None:
            headers[_text(key)] = _text(value)
        elif key is not None:
            headers.pop(_text(key), None)
    return headers


def _text(data: bytes | None) -> str:
    return native.text(data or b"")
