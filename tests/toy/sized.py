"""sized: a protocol in Python for the tests, with all there is, and mistakes on demand.

``S``, kind (1 byte), id (8), size of the body (4), body. A request's body is JSON, a line's end, any bytes.
"""

from __future__ import annotations

import json
import struct

from protokit import Frame, Headers, Protocol, PythonCodec, Request, Status, hookimpl
from protokit.errors import RemoteProtocolError

HEAD = struct.Struct(">cBQI")
KINDS = {
    1: "request",
    2: "oneway",
    3: "response",
    4: "heartbeat",
    5: "ack",
    6: "drain",
    7: "undrain",
    8: "ignore",
}
NUMBERS = {kind: number for number, kind in KINDS.items()}
BUG, BAD_RESULT, LEAVES = b"S\xfe a bug", b"S\xfd a bad result", b"S\xfc wants the process to end"


def pack(kind: str, number: int, body: bytes = b"") -> bytes:
    return HEAD.pack(b"S", NUMBERS[kind], number, len(body)) + body


def call(number: int, method: str = "echo", payload: bytes = b"", *, kind: str = "request", **more) -> bytes:
    facts = {"service": "a.B", "method": method, **more}
    return pack(kind, number, json.dumps(facts).encode() + b"\n" + payload)


class Sized(PythonCodec):
    reserved_ids = (3,)

    def frame(self, data, peer):
        if data[:1] != b"S":
            raise RemoteProtocolError("expected S")
        if data.startswith(BUG):
            raise ZeroDivisionError
        if data.startswith(LEAVES):
            raise SystemExit(3)
        if data.startswith(BAD_RESULT):
            return Frame(0)
        if len(data) > 1 and data[1] not in KINDS:
            raise RemoteProtocolError("expected a kind", 1)
        if len(data) < HEAD.size:
            return None
        _, kind, number, size = HEAD.unpack_from(data)
        body = data[HEAD.size : HEAD.size + size]
        status = Status.OK
        if kind == NUMBERS["response"] and body.startswith(b"!"):
            status = Status.__members__.get(
                body[1:].split(b" ")[0].decode("ascii", "replace"), Status.INTERNAL
            )
        return Frame(HEAD.size + size, KINDS[kind], number, status, context=77)

    def request(self, frame):
        try:
            facts = json.loads(frame[HEAD.size :].partition(b"\n")[0])
            service, method = str(facts["service"]), str(facts["method"])
            headers = Headers({str(key): str(value) for key, value in facts.get("headers", {}).items()})
            timeout = int(facts.get("timeout_ms", 0))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise RemoteProtocolError(f"expected JSON: {error}", HEAD.size) from error
        if method == "bug-in-request":
            raise ZeroDivisionError
        if method == "leaves-in-request":
            raise SystemExit(3)
        return Request(service, method, headers=headers, timeout_ms=timeout)

    def with_id(self, frame, request_id):
        if b"bug-in-with-id" in frame:
            raise ZeroDivisionError
        return frame[:2] + request_id.to_bytes(8, "big") + frame[10:]

    def error(self, reply):
        assert reply.context in {0, 77}
        return pack("response", reply.id, f"!{reply.status.name} {reply.text}".encode())

    def heartbeat(self, request_id, upstream_key):
        return pack("heartbeat", request_id)

    def heartbeat_ack(self, frame):
        return pack("ack", HEAD.unpack_from(frame)[2], frame[HEAD.size :])

    def drain(self, reply):
        return pack("drain", 0)

    def edit(self, frame, request):
        head, _, payload = frame[HEAD.size :].partition(b"\n")
        facts = json.loads(head) | {"service": request.service, "method": request.method}
        facts["headers"] = dict(request.headers)
        if not facts["headers"]:
            del facts["headers"]
        body = json.dumps(facts).encode() + b"\n" + payload
        return frame[:10] + len(body).to_bytes(4, "big") + body


sized = Protocol("sized", Sized(), "with a size in front")


@hookimpl
def protokit_protocols():
    return [sized]
