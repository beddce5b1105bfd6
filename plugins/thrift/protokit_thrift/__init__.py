r"""Apache Thrift in frames for protokit: declared, no line of C.

::

    binary    size 80 01 00 type  length name seqid  struct
    bytes     4    3        1     4           4
    compact   size 82 type/version seqid length name struct
    bytes     4    1  1            1-5   1-5
    header    size 0f ff flags number words protocol transforms info  then binary, from 80 on
    bytes     4    2     2     4      2     1        1
    dubbo     size da bc size head 1 length service id  then binary, from 80 on
    bytes     4    2     4    2    1 4              8

Facts: the Apache Thrift specification (binary and compact protocol, THeader), and the frames of its libraries
for Python, Java, Go and Node; Dubbo's ``ThriftCodec``, and its frames. Both of its sizes count what follows
the first, ``head`` the bytes from ``da bc`` up to the message.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Const,
    If,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int32ub,
    Int64ub,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import (
    ErrorText,
    FromRequest,
    Replies,
    UVar,
    blocks,
    first,
    isin,
    size_,
    split,
    table,
    text,
)

PROTOKIT_API = ">=1,<2"

CALL, REPLY, EXCEPTION, ONEWAY = 1, 2, 3, 4
KEY_VALUE = 1  # THeader's information that is headers
# Of a TApplicationException's type; all others are INTERNAL.
STATUS = {
    1: Status.NO_SERVICE,  # unknown method
    2: Status.BAD_REQUEST,  # invalid message type
    3: Status.BAD_REQUEST,  # wrong method name
    4: Status.BAD_REQUEST,  # bad sequence id
    7: Status.BAD_REQUEST,  # protocol error
    8: Status.BAD_REQUEST,  # invalid transform
    9: Status.BAD_REQUEST,  # invalid protocol
    10: Status.BAD_REQUEST,  # unsupported client type
}
TYPES = {Status.NO_SERVICE: 1, Status.BAD_REQUEST: 7}  # and 6, an internal error
INTERNAL = 6

# A reply is a struct whose field 0 is the result and whose others are declared exceptions; an exception is a
# struct of a text (field 1) and a type (field 2), either of which may be missing. What stands in front
# of these is read, the rest is the body.
BINARY = (
    Const(b"\x80\x01\x00"),
    "type" / Int8ub,
    Check((this.type >= CALL) & (this.type <= ONEWAY)),
    "length" / Rebuild(Int32ub, len_(this.name)),
    "name" / Bytes(this.length),
    "seqid" / Int32ub,
    "kind" / If((this.type == REPLY) | (this.type == EXCEPTION), Int8ub),
    "field" / If(this.kind != 0, Int16ub),
    "text_length" / If((this.type == EXCEPTION) & (this.kind == 11), Rebuild(Int32ub, len_(this.text))),
    "text" / If((this.type == EXCEPTION) & (this.kind == 11), Bytes(this.text_length)),
    "next" / If((this.type == EXCEPTION) & (this.kind == 11), Int8ub),
    "next_field" / If(this.next != 0, Int16ub),
    "code" / If((this.type == EXCEPTION) & ((this.kind == 8) | (this.next == 8)), Int32ub),
)
# Bytes of those fields that are there or not.
BINARY_PARTS = (
    ((this.type == REPLY) | (this.type == EXCEPTION))
    + (this.kind != 0) * 2
    + ((this.type == EXCEPTION) & (this.kind == 11)) * 5
    + (this.next != 0) * 2
    + ((this.type == EXCEPTION) & ((this.kind == 8) | (this.next == 8))) * 4
)
binary_frame = Struct(
    "size" / Rebuild(Int32ub, len_(this.name) + len_(this.text) + len_(this.body) + BINARY_PARTS + 12),
    *BINARY,
    "body" / Bytes(this.size - this.length - this.text_length - BINARY_PARTS - 12),
)
header_frame = Struct(
    "size"
    / Rebuild(
        Int32ub, len_(this.info) + len_(this.name) + len_(this.text) + len_(this.body) + BINARY_PARTS + 24
    ),
    Const(b"\x0f\xff"),
    "flags" / Int16ub,
    "number" / Int32ub,
    "words" / Rebuild(Int16ub, (len_(this.info) + 2) >> 2),
    "protocol" / Int8ub,
    Check(this.protocol == 0),  # binary
    "transforms" / Int8ub,
    Check(this.transforms == 0),  # of compressed messages nothing could be seen
    "info" / Bytes(this.words * 4 - 2),
    *BINARY,
    "body" / Bytes(this.size - this.words * 4 - this.length - this.text_length - BINARY_PARTS - 22),
)
dubbo_frame = Struct(
    "size"
    / Rebuild(
        Int32ub, len_(this.service) + len_(this.name) + len_(this.text) + len_(this.body) + BINARY_PARTS + 33
    ),
    Const(b"\xda\xbc"),
    "again"
    / Rebuild(
        Int32ub, len_(this.service) + len_(this.name) + len_(this.text) + len_(this.body) + BINARY_PARTS + 33
    ),
    Check(this.again == this.size),
    "head" / Rebuild(Int16ub, len_(this.service) + 21),
    Const(b"\x01"),
    "service_length" / Rebuild(Int32ub, len_(this.service)),
    Check(this.head == this.service_length + 21),
    "service" / Bytes(this.service_length),
    "id" / Int64ub,
    *BINARY,
    Check(this.type != ONEWAY),  # Dubbo answers every call
    "body" / Bytes(this.size - this.service_length - this.length - this.text_length - BINARY_PARTS - 33),
)
COMPACT_EXCEPTION = this.form.type == EXCEPTION
COMPACT_TEXT = COMPACT_EXCEPTION & (this.kind == 0x18)
COMPACT_CODE = COMPACT_EXCEPTION & ((this.kind == 0x25) | (this.next == 0x15))
COMPACT_PARTS = ((this.form.type == REPLY) | COMPACT_EXCEPTION) + COMPACT_TEXT * 1
COMPACT_REST = this.size - size_(this.seqid) - size_(this.length) - this.length
compact_frame = Struct(
    "size"
    / Rebuild(
        Int32ub,
        size_(this.seqid)
        + size_(this.length)
        + len_(this.name)
        + size_(this.text_length)
        + len_(this.text)
        + size_(this.code)
        + len_(this.body)
        + COMPACT_PARTS
        + 2,
    ),
    Const(b"\x82"),
    "form" / BitStruct("type" / BitsInteger(3), "version" / BitsInteger(5)),
    Check(this.form.version == 1),
    Check((this.form.type >= CALL) & (this.form.type <= ONEWAY)),
    "seqid" / UVar(5),
    "length" / Rebuild(UVar(5), len_(this.name)),
    "name" / Bytes(this.length),
    # The high four bits are a field's distance from the last: 0 in front of field 0 alone, the result.
    "kind" / If((this.form.type == REPLY) | COMPACT_EXCEPTION, Int8ub),
    "text_length" / If(COMPACT_TEXT, Rebuild(UVar(5), len_(this.text))),
    "text" / If(COMPACT_TEXT, Bytes(this.text_length)),
    "next" / If(COMPACT_TEXT, Int8ub),
    "code" / If(COMPACT_CODE, UVar(5)),  # zigzag
    "body"
    / IfThenElse(
        COMPACT_TEXT,
        Bytes(COMPACT_REST - size_(this.text_length) - this.text_length - size_(this.code) - 4),
        IfThenElse(
            COMPACT_EXCEPTION,
            Bytes(COMPACT_REST - size_(this.code) - 3),
            IfThenElse(this.form.type == REPLY, Bytes(COMPACT_REST - 3), Bytes(COMPACT_REST - 2)),
        ),
    ),
)


def _called() -> tuple[Any, Any]:
    """Service and method: ``Service:method``, or a method alone, which is both."""
    parts = split(text(this.name), ":", 2)
    return parts[0], first(parts[1], text(this.name))


def _binary_error(status: Status, _variant: Mapping[str, int]) -> dict[str, Any]:
    """A TApplicationException: a text, a type, the end."""
    return {
        "type": EXCEPTION,
        "name": FromRequest(_called()[1]),
        "kind": 11,
        "field": 1,
        "text": ErrorText(),
        "next": 8,
        "next_field": 2,
        "code": TYPES.get(status, INTERNAL),
        "body": b"\0",
    }


def _header_error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    head = {"flags": 0, "number": FromRequest(this.number), "protocol": 0, "transforms": 0, "info": b"\0\0"}
    return head | _binary_error(status, variant)


def _dubbo_error(status: Status, variant: Mapping[str, int]) -> dict[str, Any]:
    asked = {field: FromRequest(this[field]) for field in ("service", "seqid", "name")}
    return _binary_error(status, variant) | asked | {"code": TYPES.get(status, 0)}  # as Dubbo's servers say


def _compact_error(status: Status, _variant: Mapping[str, int]) -> dict[str, Any]:
    return {
        "form": {"type": EXCEPTION, "version": 1},
        "name": FromRequest(_called()[1]),
        "kind": 0x18,
        "text": ErrorText(),
        "next": 0x15,
        "code": 2 * TYPES.get(status, INTERNAL),
        "body": b"\0",
    }


def _oneway(kind: Any, methods: Iterable[str]) -> Any:
    names = set(methods)
    return (kind == ONEWAY) | isin(text(this.name), names) if names else kind == ONEWAY


def _protocol(
    name: str,
    frame: Struct,
    kind: Any,
    code: dict[int, int],
    failed: Any,
    error: Callable[[Status, Mapping[str, int]], dict[str, Any]],
    about: str,
    oneway: Any,
    mode: str,
    answered_by: Any = this.seqid,
    called: tuple[Any, Any] | None = None,
    headers: Any = None,
) -> Protocol:
    statuses = {EXCEPTION << 8 | code[number]: status for number, status in STATUS.items()}
    service, method = called or _called()
    return Protocol(
        name,
        WireFormat(
            frame,
            mode=mode,
            id=answered_by,
            response=(kind == REPLY) | (kind == EXCEPTION),
            oneway=oneway,
            status=table(kind << 8 | this.code & 0xFF, {REPLY << 8: Status.OK, **statuses}, Status.INTERNAL),
            app_error=failed,
            service=service,
            method=method,
            headers=headers,
            replies=Replies(error=error),
        ),
        about,
    )


def binary(name: str = "thrift", oneway: Iterable[str] = (), mode: str = "pingpong") -> Protocol:
    """Strict binary in frames.

    Args:
        name: of the protocol.
        oneway: one-way methods as they stand in frames, for clients that do not say so (Go).
        mode: ``multiplexed`` where all servers answer in any order, many calls of a connection at once.
    """
    same = {number: number for number in STATUS}
    failed = (this.type == REPLY) & (this.field != 0)
    return _protocol(
        name,
        binary_frame,
        this.type,
        same,
        failed,
        _binary_error,
        "Thrift in frames, strict binary",
        _oneway(this.type, oneway),
        mode,
    )


def compact(name: str = "thrift-compact", oneway: Iterable[str] = (), mode: str = "pingpong") -> Protocol:
    """Compact in frames; ``oneway`` and ``mode`` as of ``binary``."""
    zigzag = {number: 2 * number for number in STATUS}
    failed = (this.form.type == REPLY) & (this.kind > 0x0F)
    return _protocol(
        name,
        compact_frame,
        this.form.type,
        zigzag,
        failed,
        _compact_error,
        "Thrift in frames, compact",
        _oneway(this.form.type, oneway),
        mode,
    )


def header(name: str = "thrift-header", oneway: Iterable[str] = (), mode: str = "pingpong") -> Protocol:
    """THeader with strict binary inside; ``oneway`` and ``mode`` as of ``binary``."""
    same = {number: number for number in STATUS}
    failed = (this.type == REPLY) & (this.field != 0)
    return _protocol(
        name,
        header_frame,
        this.type,
        same,
        failed,
        _header_error,
        "Thrift's THeader, binary inside",
        _oneway(this.type, oneway),
        mode,
        headers=blocks(this.info, align=4, front=2)[KEY_VALUE],
    )


def dubbo(name: str = "dubbo-thrift", mode: str = "pinned") -> Protocol:
    """Strict binary behind Dubbo's head.

    Args:
        name: of the protocol.
        mode: ``multiplexed`` where servers forget a call's id when they have answered it; Dubbo's own do not.
    """
    same = {number: number for number in STATUS}
    failed = (this.type == REPLY) & (this.field != 0)
    return _protocol(
        name,
        dubbo_frame,
        this.type,
        same,
        failed,
        _dubbo_error,
        "Thrift in Dubbo's frames, strict binary",
        0,
        mode,
        answered_by=this.id,
        called=(text(this.service), text(this.name)),
    )


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """Four protocols: one for each form that a frame has."""
    return [binary(), compact(), header(), dubbo()]
