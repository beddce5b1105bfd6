"""The arguments of a call as Python values, and the call with others: for filters.

A body is a SofaRequest, which says the types of the method's parameters, and the arguments behind it. Their
references, types and classes count on from it, so where one says anything by a number they are written
anew, all together; else what nobody changed stays byte for byte.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from protokit.errors import LocalProtocolError
from protokit_sofarpc.values import Long, Object, Reader, Writer, is_draft

_HESSIAN = 1
_NAMES = {11: "protobuf", 12: "JSON"}
_LONG = {"long", "java.lang.Long"}
_DOUBLE = {"double", "float", "java.lang.Double", "java.lang.Float"}


class _Body(NamedTuple):
    """A request's.

    Attributes:
        reader: what has read it.
        start: where the arguments begin; ``known``: how many references, types and classes stand in front.
        spans: between which offsets each argument stands.
        types: what each is declared as.
        numbered: whether something in them is said by a number.
    """

    reader: Reader
    start: int
    known: tuple[int, int, int]
    arguments: list[Any]
    spans: list[tuple[int, int]]
    types: list[str]
    numbered: bool


def check(codec: int, content: bytes | None) -> None:
    """Whether that is a body in Hessian.

    Raises:
        LocalProtocolError: it is in another codec, or there is none.
    """
    if codec != _HESSIAN:
        name = _NAMES.get(codec, f"codec {codec}")
        raise LocalProtocolError(f"arguments are decoded in Hessian 2, and these are in {name}")
    if not content:
        raise LocalProtocolError("this frame has no body, and no arguments to decode")


def _read(content: bytes) -> _Body:
    reader = Reader(content, draft=is_draft(content))
    request = reader.read()
    if not isinstance(request, Object) or "methodName" not in request.fields:
        raise LocalProtocolError("the body begins with no SofaRequest, and its arguments are not decoded")
    first, before = reader.at, reader.numbered
    known = (len(reader.references), len(reader.types), len(reader.classes))
    arguments, spans = [], []
    while not reader.done:
        start = reader.at
        arguments.append(reader.read())
        spans.append((start, reader.at))
    types = request.fields.get("methodArgSigs")
    types = [str(one) for one in types] if isinstance(types, list) else []
    return _Body(reader, first, known, arguments, spans, types, reader.numbered > before)


def read_arguments(content: bytes) -> list[Any]:
    """The arguments in a body.

    Raises:
        RemoteProtocolError: they are malformed, or hold what Python has no value for.
        LocalProtocolError: it is no call's.
    """
    return _read(content).arguments


def write_arguments(content: bytes, values: list[Any]) -> bytes:
    """The body with other arguments, as many as it has.

    Raises:
        LocalProtocolError: it cannot be; says why.
    """
    body = _read(content)
    if len(values) != len(body.arguments):
        raise LocalProtocolError(
            f"the call has {len(body.arguments)} arguments, and {len(values)} were given"
        )
    fitting = [_fitting(one, body.types[i] if i < len(body.types) else "") for i, one in enumerate(values)]
    parts = None if body.numbered else _alone(content, body, fitting)
    if parts is None:
        writer = Writer(draft=body.reader.draft)
        references, types, classes = body.known
        reader = body.reader
        writer.go_on_behind(reader.references[:references], reader.types[:types], reader.classes[:classes])
        for one in fitting:
            writer.write(one)
        parts = bytes(writer.data)
    return content[: body.start] + parts


def _alone(content: bytes, body: _Body, fitting: list[Any]) -> bytes | None:
    """The arguments where those that are what they were stay; None where some have to be written together."""
    parts = []
    for was, now, (start, end) in zip(body.arguments, fitting, body.spans, strict=True):
        before, after = Writer(draft=body.reader.draft), Writer(draft=body.reader.draft)
        before.write(was)
        after.write(now)
        if before.data == after.data:
            parts.append(content[start:end])
        elif after.numbered:
            return None
        else:
            parts.append(bytes(after.data))
    return b"".join(parts)


def _fitting(value: Any, type_: str) -> Any:
    """What Python computes has lost whether it is a long or a double: the type of the parameter says it."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return Long(value) if type_ in _LONG else float(value) if type_ in _DOUBLE else value
    except OverflowError:
        raise LocalProtocolError(
            "hessian: a whole number that fits no double, for a parameter of one"
        ) from None
