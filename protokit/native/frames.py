"""What codecs say of frames: how they are framed, what stands in them, how they are changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from protokit._native import ffi, lib
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.model import Headers, Request, Status
from protokit.native.codecs import name, reads_arguments, reads_inside, state_size

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE = 0xFFFFFFFF
Id = int | bytes  # of a request: a number, or where ids are byte strings those
Argument = bool | int | float | str | bytes | None  # of a call; bytes: of another type, as the frame has it

KIND_REQUEST, KIND_ONEWAY, KIND_RESPONSE, KIND_HEARTBEAT, KIND_HEARTBEAT_ACK, KIND_DRAIN = range(1, 7)
KIND_IGNORE, KIND_GREETING, KIND_PIECE = 8, 9, 10
SAYS_LAST, SAYS_MORE, SAYS_HALF = 1, 2, 4
SIDES = (None, "client", "server")
_SIDE_NUMBERS = {side: number for number, side in enumerate(SIDES)}
KINDS = (
    "",
    "request",
    "oneway",
    "response",
    "heartbeat",
    "ack",
    "drain",
    "undrain",
    "ignore",
    "greeting",
    "piece",
)
RESULTS = {
    -1: "these bytes are not this protocol",
    -2: "malformed",
    -3: "larger than allowed",
    -4: "a variant that cannot be read",
    -5: "no room",
}

INSTRUCTIONS: tuple[str, ...] = tuple(ffi.string(lib.pk_instruction_names()).decode().split())


class SentBy(bytes):
    """Bytes of a connection, and who sent them: what is cut out of them and put behind them is of that side.

    Alike with other bytes are those of the same side, or of nobody knows who.

    Attributes:
        side: ``client`` or ``server``.
        ended: it sends no more, which may tell where a frame ends.
    """

    side: Literal["client", "server"]
    ended: bool = False

    def __getitem__(self, which: Any) -> Any:
        found = super().__getitem__(which)
        if not isinstance(found, bytes):
            return found
        to_its_end = isinstance(which, slice) and which.indices(len(self))[1] == len(self)
        return sent_by(self.side, found, ended=self.ended and to_its_end)

    def __add__(self, more: Any) -> SentBy:
        return sent_by(self.side, super().__add__(more), ended=self.ended and not more)

    def __eq__(self, other: object) -> bool:
        same = super().__eq__(other)  # NotImplemented, which is true, where it is no bytes
        return same if same is not True else getattr(other, "side", self.side) == self.side

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = bytes.__hash__


@overload
def sent_by(side: str, data: bytes, *, ended: bool = False) -> SentBy: ...
@overload
def sent_by(side: str | None, data: bytes, *, ended: bool = False) -> bytes: ...
def sent_by(side: str | None, data: bytes, *, ended: bool = False) -> bytes:
    """The bytes as that side sent them: ``client`` or ``server``; as they are where that is not known.

    Args:
        side: who.
        data: they.
        ended: they are its last.
    """
    if side is None:
        return data
    found = SentBy(data)
    found.side = side  # type: ignore[assignment]  # SIDES has no others
    found.ended = ended
    return found


def side_of(data: Any) -> Literal["client", "server"] | None:
    """Who sent them, where the bytes know it."""
    return data.side if isinstance(data, SentBy) else None


def has_ended(data: Any) -> bool:
    """Whether they are the last that their side sends, as far as the bytes know it."""
    return isinstance(data, SentBy) and data.ended


def _from(data: Any, side: str | None = None) -> int:
    return _SIDE_NUMBERS[side or (data.side if isinstance(data, SentBy) else None)]


_ENDED, _HALVES = 4, 8  # beside a side: it sends no more; half a frame is asked for, too


class Message(NamedTuple):
    """What framing says of the first message in some bytes. ``result``: 0 whole, 1 more bytes needed."""

    result: int
    kind: int
    status: int
    size: int
    need: int
    timeout_ms: int
    context: int
    upstream_key: int
    error_at: int
    id: Id
    says: int = 0  # SAYS_LAST, SAYS_MORE, SAYS_HALF

    def __str__(self) -> str:
        if self.result == 1:
            return f"<wants {self.need} bytes>"
        if self.result != 0:
            return f"<refused at byte {self.error_at}: {RESULTS.get(self.result, self.result)}>"
        kind = KINDS[self.kind] if 0 < self.kind < len(KINDS) else f"kind {self.kind}"
        known = self.status in Status.__members__.values()
        status = f" {Status(self.status).name if known else self.status}" if kind == "response" else ""
        shown = self.id if isinstance(self.id, int) else repr(self.id)
        return f"<{kind}{status} of {self.size} bytes, id {shown}>"


def run_measure(
    address: int, data: bytes, sizes: Sequence[int], arguments: Sequence[bytes] = ()
) -> tuple[int, int]:
    """What a measure says of data that comes in pieces: a result (``RESULTS``), and its size or need.

    Args:
        address: of the function.
        data: all of it.
        sizes: how much of it is there, call by call; it is asked until it says something else than PK_MORE.
        arguments: for it.
    """
    kept = [ffi.from_buffer(argument) for argument in arguments]
    given = ffi.new("pk_slice[]", [(one, len(one)) for one in kept])
    state, out = ffi.new("uint64_t[4]"), ffi.new("uint64_t *")
    result = 1
    for size in sizes:
        pinned = ffi.from_buffer(data[:size])
        result = lib.pk_measure_run(address, pinned, size, given, len(kept), state, out)
        if result != 1:
            break
    return int(result), int(out[0])


def run_step(address: int, section: bytes, arguments: Sequence[bytes], count: int) -> list[bytes | None]:
    """What a step finds, as the engine would have it.

    Raises:
        RemoteProtocolError: it says that the section is malformed, or a variant it cannot read.
    """
    pinned = ffi.from_buffer(section)
    kept = [ffi.from_buffer(argument) for argument in arguments]
    given = ffi.new("pk_slice[]", [(one, len(one)) for one in kept])
    out = ffi.new("pk_slice[]", count)
    result = lib.pk_step_run(address, pinned, len(section), given, len(arguments), out, count)
    if result != 0:
        raise RemoteProtocolError(f"a step: {RESULTS.get(result, result)}")
    return [None if one.data == ffi.NULL else bytes(ffi.buffer(one.data, one.size)) for one in out]


_REPEATED = 64  # keys of headers that are there several times, at most
_FEW = 32  # headers that there is room for at first: room for all that may be takes longer than to read few


def probe(codec: int, data: bytes, size: int | None = None) -> int:
    """Whether a connection may begin so: 0 yes, 1 more bytes are needed, -1 no. ``size``: see ``frame``."""
    return int(lib.pk_codec_probe(codec, data, len(data) if size is None else size))


def frame(
    codec: int,
    data: bytes,
    limit: int = 8 << 20,
    size: int | None = None,
    side: str | None = None,
    *,
    halves: bool = False,
) -> Message:
    """Frame the first message of ``data`` with the codec at that address.

    Args:
        codec: its address.
        data: what came.
        limit: the largest frame allowed, bytes.
        size: how many bytes of ``data`` the codec is given; None for all. What lies behind them is not its.
        side: who sent it, ``client`` or ``server``; None where that is not known, or ``data`` says it.
        halves: of a frame that is not whole its front will do, where that tells all (``SAYS_HALF``): ``need``
            is the whole frame's size then, or where the front would end.
    """
    side_number = _from(data, side) | _ENDED * (has_ended(data) and size is None) | _HALVES * halves
    info = lib.pk_codec_frame(codec, data, len(data) if size is None else size, limit, side_number)
    return _message(codec, data, info)


class Framing:
    """Framing of one direction of a connection, which goes on where it stopped.

    Args:
        codec: its address.
        side: whose frames they are.

    Attributes:
        remembers: bytes; 0: a frame is told by its bytes alone.
    """

    def __init__(self, codec: int, side: str | None = None) -> None:
        self.codec = codec
        self.side = side
        self.remembers = state_size(codec)
        self._words = ffi.new("uint64_t[]", (self.remembers + 7) // 8)
        self.state = ffi.cast("uint8_t *", self._words)

    def frame(self, data: Any, limit: int = 8 << 20, *, halves: bool = False) -> Message:
        """Frame the first message of what has come of it; after ``PK_MORE`` the same with more bytes."""
        given = data if isinstance(data, ffi.CData) else ffi.from_buffer(data)
        side = _from(data, self.side) | _ENDED * has_ended(data) | _HALVES * halves
        info = lib.pk_codec_frame_on(self.codec, given, len(data), limit, side, self.state)
        return _message(self.codec, data, info)


def _message(codec: int, data: Any, info: Any) -> Message:
    request_id: Id = info.id
    if info.id_at != NONE:
        request_id = bytes(data[info.id_at : info.id_at + info.id_size])
    elif lib.pk_codec_id_max(codec):
        request_id = b""
    return Message(
        info.result,
        info.kind,
        info.status,
        info.size,
        info.need,
        info.timeout_ms,
        info.context,
        info.upstream_key,
        info.error_at,
        request_id,
        info.says,
    )


def request(
    codec: int, data: bytes, max_headers: int = 1024, *, lazy: bool = False, side: str | None = None
) -> Request:
    """Read a whole request frame into a Request.

    Args:
        codec: its address.
        data: the frame.
        max_headers: so many are read.
        lazy: leave the headers until somebody looks at them, or asks for one.
        side: who sent it; a client where neither this nor ``data`` says it.

    Raises:
        RemoteProtocolError: its destination or headers cannot be read.
    """
    side = side or side_of(data) or "client"
    pinned = _pinned(data)  # what is found stands there
    info = lib.pk_codec_destination(codec, pinned, len(data), SIDES.index(side))
    if info.result not in {0, -4}:
        raise RemoteProtocolError(f"destination: {RESULTS.get(info.result, info.result)}")
    headers: Headers | _Source = Headers()
    if info.result == 0:
        source = _Source(codec, data, max_headers, side)
        headers = source if lazy else source.headers()
    return Request(
        _text(info.service),
        _text(info.method),
        version=_text(info.version),
        group=_text(info.group),
        headers=headers,
        frame=data,
        timeout_ms=info.timeout_ms,
        oneway=frame(codec, data, len(data), side=side).kind == KIND_ONEWAY,
        protocol=name(codec),
    )


class _Source:
    """What a request's headers are read from when somebody looks at them."""

    __slots__ = ("codec", "data", "most", "side")

    def __init__(self, codec: int, data: bytes, most: int, side: str) -> None:
        self.codec = codec
        self.data = data
        self.most = most
        self.side = side

    def headers(self) -> Headers:
        return headers(self.codec, self.data, self.most, self.side)

    def header(self, key: str) -> str | None:
        return header(self.codec, self.data, key, self.side)


def headers(codec: int, data: bytes, max_headers: int = 1024, side: str | None = None) -> Headers:
    """The text headers of a whole request or answer; other frames have none.

    Raises:
        RemoteProtocolError: they cannot be read.
    """
    found = Headers()
    seen: dict[bytes, int] = {}
    for key, value in raw_headers(codec, data, max_headers, side):
        seen[key] = seen.get(key, 0) + 1
        if value is None:
            found.pop(text(key), None)
        else:
            found[text(key)] = text(value)
    repeated = [key for key, times in seen.items() if times > 1]
    if len(repeated) > _REPEATED:
        raise RemoteProtocolError(f"headers: {len(repeated)} keys are there twice, over {_REPEATED}")
    for key in repeated:  # of several the codec says which counts
        counts = header(codec, data, key, side)
        if counts is not None:
            found[text(key)] = counts
    return found


def raw_headers(
    codec: int, data: bytes, max_headers: int = 1024, side: str | None = None
) -> list[tuple[bytes, bytes | None]]:
    """The same as they stand there, each with its key; None for a value that is no text."""
    pinned = _pinned(data)
    for room in (min(_FEW, max_headers), max_headers):
        array = ffi.new("pk_header_info[]", room)
        count = lib.pk_codec_headers(codec, pinned, len(data), _from(data, side), array, room)
        if count < room:
            break
    if count < 0:
        raise RemoteProtocolError(f"headers: {RESULTS.get(count, count)}")
    return [(_bytes(one.key) or b"", None if one.raw else _bytes(one.value) or b"") for one in array[0:count]]


def header(codec: int, data: bytes, key: str | bytes, side: str | None = None) -> str | None:
    """A text header of a whole request or answer by its key; None where it has none, or one that is no text.

    Raises:
        RemoteProtocolError: it cannot be read.
    """
    name = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    info = ffi.new("pk_header_info *")
    pinned = _pinned(data)
    result = lib.pk_codec_header(codec, pinned, len(data), _from(data, side), name, len(name), info)
    if result < 0:
        raise RemoteProtocolError(f"header {text(name)!r}: {RESULTS.get(result, result)}")
    if result == 0 and info.raw == lib.PK_RAW_VEILED:
        raise RemoteProtocolError(f"header {text(name)!r}: it does not stand there as its receiver reads it")
    return _text(info.value) if result == 0 and not info.raw else None


def argument(codec: int, data: bytes, index: int, keys: Sequence[str] = ()) -> Argument:
    """An argument of a whole request's call, or what is inside of it.

    Args:
        codec: its address.
        data: the frame.
        index: from 0.
        keys: what leads to a value inside: names of fields, keys of maps, indexes of lists.

    Returns:
        What it is; bytes, as they stand in the frame, of what is no null, boolean, number or text.

    Raises:
        IndexError: the call has no such argument, or nothing stands there.
        LocalProtocolError: this protocol's arguments cannot be read.
        RemoteProtocolError: this one cannot be read.
    """
    value = ffi.new("pk_value *")
    pinned = _pinned(data)
    kept = [ffi.from_buffer(one.encode("utf-8", "surrogatepass")) for one in keys]
    slices = ffi.new("pk_slice[]", [(one, len(one)) for one in kept])
    result = lib.pk_codec_argument(codec, pinned, len(data), _from(data), index, slices, len(kept), value)
    which = ".".join((str(index), *keys))
    if result == 1:
        raise IndexError(f"the call has no argument {which}")
    if result != 0 and not (reads_inside if keys else reads_arguments)(codec):
        raise LocalProtocolError(
            f"{'what is inside of ' * bool(keys)}arguments of {name(codec)} cannot be read"
        )
    if result != 0:
        raise RemoteProtocolError(f"argument {which}: {RESULTS.get(result, result)}")
    kind = value.type
    if kind == lib.PK_VALUE_NULL:
        return None
    if kind == lib.PK_VALUE_BOOLEAN:
        return bool(value.integer)
    if kind == lib.PK_VALUE_INTEGER:
        return int(value.integer)
    if kind == lib.PK_VALUE_NUMBER:
        return float(value.number)
    return _text(value.bytes) if kind == lib.PK_VALUE_TEXT else _bytes(value.bytes) or b""


def budget(codec: int, data: bytes, ms: int) -> bytes:
    """A request with another time of its caller's, ms.

    Raises:
        LocalProtocolError: the protocol, or this frame, has no place for it.
    """
    out = ffi.new("uint8_t[]", len(data) + lib.PK_BUDGET_MORE)
    size = lib.pk_codec_budget(codec, data, len(data), _from(data), ms, out)
    if size < 0:
        raise LocalProtocolError(f"this {name(codec)} frame has no place for it: {RESULTS.get(size, size)}")
    return sent_by(side_of(data), bytes(ffi.buffer(out, size)), ended=has_ended(data))


EDIT_HEADER, EDIT_SERVICE, EDIT_METHOD, EDIT_VERSION, EDIT_GROUP = range(5)


def edit(
    codec: int, data: bytes, edits: Sequence[tuple[int, str, str | None]], room: int | None = None
) -> bytes:
    """A request or an answer with changes; what they do not name stays byte for byte.

    Args:
        codec: its address.
        data: the frame.
        edits: (EDIT_*, header key or "", new value or None to take a header out).
        room: bytes that the changed frame may take; None: any that it may need.

    Raises:
        LocalProtocolError: the protocol, or this frame, cannot be changed so.
    """
    array = ffi.new("pk_edit[]", len(edits))
    kept = []
    for to, (what, key, value) in zip(array, edits, strict=True):
        to.what = what
        for slice_, text in ((to.key, key), (to.value, value)):
            if text is not None:
                raw = text.encode("utf-8", "surrogatepass")
                kept.append(ffi.from_buffer(raw))
                slice_.data, slice_.size = kept[-1], len(raw)
    if room is None:
        room = len(data) + 256 + sum(8 + 4 * len(key) + 8 * len(value or "") for _, key, value in edits) * 2
    out = ffi.new("uint8_t[]", room)
    size = lib.pk_codec_edit(codec, data, len(data), _from(data), array, len(edits), out, room)
    if size < 0:
        raise LocalProtocolError(f"this {name(codec)} frame cannot be changed so: {RESULTS.get(size, size)}")
    return sent_by(side_of(data), bytes(ffi.buffer(out, size)), ended=has_ended(data))


def _pinned(data: Any) -> Any:  # as cffi has them
    return data if isinstance(data, ffi.CData) else ffi.from_buffer(data)


def _bytes(slice_: Any) -> bytes | None:  # a cffi struct has no type of its own
    return None if slice_.data == ffi.NULL else bytes(ffi.buffer(slice_.data, slice_.size))


def _text(slice_: Any) -> str:
    return text(_bytes(slice_) or b"")


def text(data: bytes) -> str:
    """Bytes of a frame as text: UTF-8, or Hessian's way with surrogates; what is neither is replaced."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    try:  # Hessian writes a surrogate pair as two characters of three bytes
        return (
            data.decode("utf-8", "surrogatepass")
            .encode("utf-16", "surrogatepass")
            .decode("utf-16", "replace")
        )
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")
