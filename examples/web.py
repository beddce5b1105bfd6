"""HTTP/1.1 as a codec in Python, with all that a codec may say beyond one frame.

What framing remembers, pieces, the peer's end, last messages, replies that know their request. `plugins:
[./web.py]` and `protocol: web` in a configuration run it; `mode: pinned` also takes a request in pieces.
"""

from protokit import Answer, Frame, Headers, Peer, Protocol, PythonCodec, Reply, Request, Status, hookimpl
from protokit.errors import RemoteProtocolError

WHOLE = 64 << 10  # bytes of a message that is passed on as one frame
HEAD = 1  # a context: the answer has no body
CHUNKS, UNTIL_END = "chunks", "until the end"  # states
FRAMES = {"content-length", "transfer-encoding"}  # what says where a body ends
VERBS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ")
SAID = {502: Status.UNAVAILABLE, 503: Status.OVERLOADED, 504: Status.TIMEOUT}
SAYS = {
    Status.NO_SERVICE: "404 Not Found",
    Status.BAD_REQUEST: "400 Bad Request",
    Status.TIMEOUT: "504 Gateway Timeout",
    Status.OVERLOADED: "503 Service Unavailable",
    Status.UNAVAILABLE: "502 Bad Gateway",
    Status.DENIED: "403 Forbidden",
    Status.INTERNAL: "500 Internal Server Error",
}


def head_of(message: bytes) -> tuple[str, Headers]:
    """The first line and the headers, by their names in lower case."""
    first, *lines = message.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = Headers()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise RemoteProtocolError(f"expected a header, NAME: VALUE, seen {line[:40]!r}")
        if name.lower() in headers and name.lower() in FRAMES:
            raise RemoteProtocolError(f"{name} stands there twice")
        headers[name.lower()] = value.strip()
    if headers.keys() >= FRAMES:
        raise RemoteProtocolError("a body has a Content-Length or comes in chunks, not both")
    return first, headers


def number(text: str, base: int = 10) -> int:
    """Digits, and nothing else."""
    if not text.isascii() or not text.isalnum():
        raise RemoteProtocolError(f"expected a number, seen {text[:40]!r}")
    try:
        return int(text, base)
    except ValueError:
        raise RemoteProtocolError(f"expected a number, seen {text[:40]!r}") from None


class Web(PythonCodec):
    """One request at a time on a connection."""

    mode = "pingpong"
    ends = True

    def frame(self, data: bytes, peer: Peer) -> Frame | None:
        """State: None, a head comes next; else of a body the bytes that are left, CHUNKS or UNTIL_END."""
        if peer.state is None:
            return self.begin(data, peer)
        if peer.state == CHUNKS:
            return self.chunk(data, peer)
        if peer.state == UNTIL_END:
            return Frame(len(data), "piece", more=not peer.ended) if data or peer.ended else None
        size = min(peer.state, len(data))
        if size == 0:
            return None
        peer.state = peer.state - size or None
        return Frame(size, "piece", more=peer.state is not None)

    def begin(self, data: bytes, peer: Peer) -> Frame | None:
        """A head, and its body where all of it is known and small."""
        asks = peer.side == "client" or (peer.side is None and not data.startswith(b"HTTP/1."[: len(data)]))
        starts = VERBS if asks else (b"HTTP/1.0 ", b"HTTP/1.1 ")
        if not any(one.startswith(data[: len(one)]) for one in starts):
            raise RemoteProtocolError(f"expected one of {b', '.join(starts).decode()}")
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) > WHOLE:
                raise RemoteProtocolError(f"a head of more than {WHOLE} bytes", WHOLE)
            return None
        first, headers = head_of(data[:end])
        words = first.split(" ", 2)
        found = Frame(end, "request") if asks else Frame(end, "response")
        version = words[-1] if asks else words[0]
        said = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close").lower()
        found.last = said == "close"
        code = 0 if asks else number(words[1])
        if asks:
            found.context = HEAD if words[0] == "HEAD" else 0
        elif code < 200:  # the answer itself is still to come
            found.more = True
            return found
        else:
            found.status = SAID.get(code, Status.APP_ERROR if code >= 400 else Status.OK)
        if not asks and (peer.asked == HEAD or code in {204, 304}):
            return found
        if headers.get("transfer-encoding", "").lower() == "chunked":
            peer.state, found.more = CHUNKS, True
        elif "content-length" in headers:
            size = number(headers["content-length"])
            if end + size <= WHOLE:
                found.size += size
            else:
                peer.state, found.more = size, True
        elif not asks:
            peer.state, found.more = UNTIL_END, True
        return found

    def chunk(self, data: bytes, peer: Peer) -> Frame | None:
        """A chunk with its size in front, or the last one and what trailers there are."""
        line = data.find(b"\r\n")
        if line < 0:
            if len(data) > 1024:
                raise RemoteProtocolError("expected the size of a chunk, hex digits and a line's end")
            return None
        size = number(data[:line].partition(b";")[0].decode("latin-1").strip(), 16)
        if size > 0:
            return Frame(line + 2 + size + 2, "piece", more=True)
        end = data.find(b"\r\n\r\n", line)
        if end < 0:
            return None
        peer.state = None
        return Frame(end + 4, "piece")

    def request(self, frame: bytes) -> Request:
        first, headers = head_of(frame)
        verb, _, rest = first.partition(" ")
        headers[":path"] = rest.rpartition(" ")[0]
        return Request(headers.get("host", ""), verb, headers=headers)

    def response(self, frame: bytes) -> Answer:
        return Answer(headers=head_of(frame)[1])

    def keep(self, frame: bytes) -> bytes:
        return frame.partition(b"\r\n")[0][:128]  # what was asked, for who reads the error

    def error(self, reply: Reply) -> bytes:
        body = f"{reply.text}\n{reply.kept.decode('latin-1')}\n".encode()
        head = f"HTTP/1.1 {SAYS[reply.status]}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + (b"" if reply.context == HEAD else body)

    def edit(self, frame: bytes, request: Request) -> bytes:
        """Lines that say what they said stay; the others are written anew."""
        head, _, body = frame.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        was = self.request(frame)
        first = b" ".join(
            (request.method.encode(), request.headers[":path"].encode(), first.rpartition(b" ")[2])
        )
        wanted = {name: value for name, value in request.headers.items() if name != ":path"}
        if request.service != was.service:
            wanted["host"] = request.service
        kept = []
        for line in lines:
            name = line.partition(b":")[0].decode("latin-1").lower()
            if name in wanted and wanted[name] == was.headers.get(name):
                kept.append(line)
                del wanted[name]
        kept += [f"{name}: {value}".encode() for name, value in wanted.items()]
        return b"\r\n".join((first, *kept)) + b"\r\n\r\n" + body


web = Protocol("web", Web(), "HTTP/1.1, for prototypes")


@hookimpl
def protokit_protocols() -> list[Protocol]:
    return [web]
