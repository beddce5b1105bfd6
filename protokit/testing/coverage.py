"""What golden vectors leave untried: a codec may be wrong there, and no check could see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit import native
from protokit.errors import RemoteProtocolError
from protokit.model import Status
from protokit.testing.golden import REQUEST_TEXTS
from protokit.wire import WireFormat
from protokit.wire.format import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protokit.testing.golden import Golden
    from protokit.wire import Protocol


def untried(protocol: Protocol, vectors: Sequence[Golden], has: Callable[[str], bool]) -> list[str]:
    """What should be captured, too, each in words that name it.

    Args:
        protocol: whose vectors they are.
        vectors: whole frames.
        has: whether the protocol has a capability (``kit.CAPABILITIES``).
    """
    seen = [(one, protocol.wire.ask.frame(one.data)) for one in vectors]
    kinds = {KINDS[message.kind] for _, message in seen}
    statuses = {message.status for _, message in seen if message.kind == native.KIND_RESPONSE}
    found = [f"no {kind}" for kind in ("request", "response") if kind not in kinds]
    if Status.OK not in statuses:
        found.append("no response that is OK")
    if not has("errors"):
        pass  # what a server says is never the proxy's own
    elif not any(status > Status.APP_ERROR for status in statuses):
        found.append("no error frame (a server asked for what it does not have)")
    elif not any("text" in one.expect for one, _ in seen):
        found.append("no error frame with its text in expect, to compare the codec's own replies with")
    wanted = [("oneway", "one-way request"), ("heartbeat", "heartbeat")]
    if not has("drain-sent"):  # else the codec's own is there to be read
        wanted.append(("drain", "drain signal"))
    found += [f"no {name}" for kind, name in wanted if has(kind) and kind not in kinds]
    if has("heartbeat") and "heartbeat" in kinds and "ack" not in kinds:
        found.append("no answer to a heartbeat")
    return found + _ids(protocol, [message for _, message in seen]) + _meaning(protocol, vectors)


def _ids(protocol: Protocol, messages: list[native.Message]) -> list[str]:
    """Ids by which no one would see that they are read at another place, or backwards."""
    ids = {one.id for one in messages if one.kind in {native.KIND_REQUEST, native.KIND_RESPONSE}}
    width = protocol.wire.ask.id_bytes
    if not width or not ids:
        return []
    if len(ids) == 1:
        return [f"all ids alike ({native.show_id(*ids)}): capture several calls"]
    numbers = [one for one in ids if isinstance(one, int)]
    raw = [one.to_bytes(width, "big") for one in numbers if one < 1 << 8 * width]
    if raw and width > 1 and all(one == one[::-1] for one in raw):
        return ["all ids read the same backwards"]
    return []


def _meaning(protocol: Protocol, vectors: Sequence[Golden]) -> list[str]:
    """What requests say, and nobody said in ``expect``."""
    wire = protocol.wire
    requests = []
    for one in vectors:
        if wire.ask.frame(one.data).kind in {native.KIND_REQUEST, native.KIND_ONEWAY}:
            try:
                requests.append((one, wire.ask.request(one.data)))
            except RemoteProtocolError:
                continue
    found = []
    for name in REQUEST_TEXTS:
        if any(getattr(request, name) for _, request in requests):
            if not any(one.expect.get(name) for one, _ in requests):
                found.append(f"no request whose expect says its {name}")
        elif isinstance(wire, WireFormat) and getattr(wire.meaning, name) is not None:
            found.append(f"no request with a {name}, which the declaration reads")
    if any(request.headers for _, request in requests) and not any(
        one.expect.get("headers") for one, _ in requests
    ):
        found.append("no request whose expect says some of its headers")
    responses = [one for one in vectors if wire.ask.frame(one.data).kind == native.KIND_RESPONSE]
    if responses and not any("status" in one.expect for one in responses):
        found.append("no response whose expect says its status")
    return found
