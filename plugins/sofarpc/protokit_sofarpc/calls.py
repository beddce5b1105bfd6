"""The arguments of a call as Python values, and the call with others: for filters.

A body is a SofaRequest, which says the types of the method's parameters, and the arguments behind it. Their
references, types and classes count on from it, so where one says anything by a number they are written
anew, all together; else what nobody changed stays byte for byte.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from protokit.errors import LocalProtocolError
from protokit.hessian import Object, Reader, Writer, fitting, rewritten
from protokit_sofarpc.values import dialect_of

_HESSIAN = 1
_NAMES = {11: "protobuf", 12: "JSON"}


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
    reader = Reader(content, dialect_of(content))
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
    dialect = body.reader.dialect
    after = fitting(values, body.types, dialect)
    parts = None if body.numbered else rewritten(content, body.spans, body.arguments, after, dialect)
    if parts is None:
        writer = Writer(dialect)
        writer.go_on_behind(body.reader, *body.known)
        for one in after:
            writer.write(one)
        parts = bytes(writer.data)
    return content[: body.start] + parts
