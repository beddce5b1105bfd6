"""Dubbo's frames read in plain Python, for the conformance kit: what the codec in C has to agree with."""

from __future__ import annotations

from typing import Any

from dubbo_vectors import values
from hypothesis import strategies as st
from protokit_dubbo.hessian import Reader
from protokit_dubbo.messages import HEADER, HESSIAN2, Answer, Call, Event, count_parameters

from protokit import Headers, Status
from protokit.errors import RemoteProtocolError
from protokit.wire import Message

STATUS = {
    20: Status.OK,
    30: Status.TIMEOUT,
    31: Status.TIMEOUT,
    35: Status.UNAVAILABLE,
    40: Status.BAD_REQUEST,
    60: Status.NO_SERVICE,
    100: Status.OVERLOADED,
}
GENERIC = {"$invoke", "$invokeAsync"}
BLANKS = "".join(map(chr, range(0x21)))  # Java's String.trim


def message(data: bytes) -> Message:
    """The frame in front. A request that is not read here has None for its service."""
    if data[:2] != b"\xda\xbb"[: len(data)]:
        raise RemoteProtocolError("expected DA BB")
    if len(data) < HEADER.size:
        raise EOFError
    _, flag, status, request_id, length = HEADER.unpack_from(data)
    if length >= 1 << 31 or (flag & 0x20 and length > 1024):
        raise RemoteProtocolError(f"a body of {length} bytes", 12)
    size = HEADER.size + length
    if len(data) < size:
        raise EOFError
    body = data[HEADER.size : size]
    # What answers and error replies have in common with their request, where every peer reads it.
    written_in = flag & 0x1F if flag & 0x1F in {10, 23} else HESSIAN2
    found = Message("request", size, request_id, Status.OK, 0, "", "", "", "", Headers(), written_in)
    if flag & 0x20:
        found.kind = event(flag, body)
    elif not flag & 0x80:
        found.kind = "response"
        found.status = STATUS.get(status, Status.INTERNAL)
        if found.status is Status.OK and threw(flag & 0x1F, body):
            found.status = Status.APP_ERROR
    else:
        found.kind = "request" if flag & 0x40 else "oneway"
        destination(found, flag & 0x1F, body)
    return found


def event(flag: int, body: bytes) -> str:
    if not flag & 0x80:
        return "ack"
    text = body.rstrip(b"\n")
    letter = b""
    if text[-1:] == b'"' and text[-3:-2] == b'"':
        letter = text[-2:-1]
    elif 2 <= len(text) <= 15 and text[-2] in {0x01, 0x4A}:
        letter = text[-1:]
    return {b"R": "drain", b"W": "undrain"}.get(letter, "heartbeat" if flag & 0x40 else "ignore")


def threw(serialization: int, body: bytes) -> bool:
    if serialization in {HESSIAN2, 10}:
        return body[:1] in {b"\x90", b"\x93"}
    if serialization == 23:
        return body[:6] in {b"\0\0\0\2\xbd\0", b"\0\0\0\2\xbd\3"} or body[:5] in {
            b"\0\0\0\1\0",
            b"\0\0\0\1\3",
        }
    return False


def destination(found: Message, serialization: int, body: bytes) -> None:
    found.service = None  # type: ignore[assignment]  # nothing is said
    if serialization != HESSIAN2:
        return
    if not body:
        raise RemoteProtocolError("a request without a body", HEADER.size)
    try:
        reader = Reader(body)
        release, path, version, method, descriptor = (reader.read() for _ in range(5))
        arguments = [reader.read() for _ in range(count_parameters(descriptor))]
        attachments = reader.read()
    except (RemoteProtocolError, TypeError):
        return
    texts = (path, version, method, descriptor)
    if not isinstance(release, str | None) or not all(isinstance(one, str) for one in texts):
        return
    if not isinstance(attachments, dict):
        return
    if method in GENERIC and arguments and isinstance(arguments[0], str):
        method = arguments[0].strip(BLANKS) or method
    said = {
        key: value for key, value in attachments.items() if isinstance(value, str) and isinstance(key, str)
    }
    found.service = plain(said.get("path") or path)
    found.version = plain(said.get("version", "") if "version" in attachments else version)
    found.group = plain(said.get("group") or "")
    found.method = plain(method)
    found.headers = Headers({plain(key): plain(value) for key, value in said.items()})
    left = [budget(attachments.get("_TO", attachments.get("_to"))), budget(attachments.get("timeout"))]
    found.timeout_ms = min(next((one for one in left if one > 0), 0), 2**32 - 1)


def budget(value: Any) -> int:
    if isinstance(value, str):
        return int(value) if len(value) <= 10 and value.isascii() and value.isdecimal() else 0
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def plain(text: str) -> str:
    """A text as ``Request`` has it: a lone surrogate is replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


texts = st.text(st.characters(codec="utf-8"), max_size=12)
calls = st.builds(
    lambda service, method, arguments, version, attachments, number, twoway: Call(
        service,
        method,
        "Ljava/lang/Object;" * len(arguments),
        arguments,
        version=version,
        attachments=attachments,
        request_id=number,
        twoway=twoway,
    ).encode(),
    texts,
    texts.filter(lambda text: not text.startswith("$")),
    st.lists(values, max_size=3),
    texts,
    st.dictionaries(
        st.sampled_from(["path", "group", "version", "timeout", "_TO"]) | texts, texts, max_size=4
    ),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
answers = st.builds(
    lambda number, status, value, threw: Answer(number, status, value, value if threw else None).encode(),
    st.integers(0, 2**64 - 1),
    st.sampled_from([20, 20, *STATUS, 70, 80]),
    values,
    st.booleans(),
)
events = st.builds(
    lambda number, body, request, twoway: Event(number, body, request=request, twoway=twoway).encode(),
    st.integers(0, 2**64 - 1),
    st.sampled_from([b"N", b"\x01R", b"\x01W", b"\x01X", b"", b"\x05hello"]),
    st.booleans(),
    st.booleans(),
)
empty = st.integers(0, 2**64 - 1).map(lambda number: HEADER.pack(0xDABB, 0xC2, 0, number, 0))
frames = calls | answers | answers | events | empty
