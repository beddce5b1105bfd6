"""The arguments of a call in hessian2 as Python values, and the call with others: for filters.

What stands in front of the arguments, and the attachments behind, stay byte for byte, and so do arguments
that are what they were, as long as nothing in the body is said by a number. References, types, classes are:
they count what stands in front of them, so where there are any the arguments are written anew, all together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.hessian import HESSIAN2, Reader, TypedList, Writer, fitting, rewritten
from protokit_dubbo import fastjson2
from protokit_dubbo.messages import HEADER, count_parameters, parameters

_NAMES = {2: "hessian2", 10: "native-hessian", 6: "fastjson", 16: "gson", 22: "protobuf"}
_HESSIAN, _FASTJSON2 = {2, 10}, 23
_GENERIC = {"$invoke", "$invokeAsync"}


class _Body(NamedTuple):
    """A request's.

    Attributes:
        outer: what the body has as arguments, and between which offsets each stands.
        inner: those of the call: of a generic one what is in the third.
        types: what each is declared as.
        attachments: as a value; None where nothing stands behind the arguments.
        numbered: whether something in it is said by a number; ``apart``: nothing in the attachments is;
            ``tied``: they refer to what stands in the arguments.
    """

    data: bytes
    outer: list[Any]
    spans: list[tuple[int, int]]
    inner: list[Any]
    types: list[str]
    generic: bool
    attachments: Any
    numbered: bool
    apart: bool
    tied: bool


def _read(frame: bytes) -> _Body:
    _, flag, _, _, size = HEADER.unpack_from(frame)
    kind = flag & 0x1F
    if kind not in _HESSIAN:
        name = _NAMES.get(kind, f"serialization {kind}")
        raise LocalProtocolError(f"arguments are decoded in hessian2 and fastjson2, and these are in {name}")
    data = frame[HEADER.size :]
    if len(data) < size:
        raise LocalProtocolError("a large call that is passed on in parts has no arguments to decode")
    reader = Reader(data)
    _, _, _, method, descriptor = (reader.read() for _ in range(5))
    if isinstance(descriptor, int):
        if descriptor != -1:
            raise LocalProtocolError("this call is in a layout of Dubbox's own, which is not decoded")
        descriptor = reader.read()
    if not isinstance(descriptor, str):
        raise RemoteProtocolError("the descriptor is no text", reader.at)
    outer, spans = [], []
    for _ in range(count_parameters(descriptor)):
        start = reader.at
        outer.append(reader.read())
        spans.append((start, reader.at))
    types, inner = parameters(descriptor), outer
    generic = method in _GENERIC and len(outer) == 3
    if generic:
        said, inner = (one if isinstance(one, list) else [] for one in outer[1:])
        types = [one if isinstance(one, str) else "" for one in said]
    before, referable = reader.numbered, len(reader.references)
    reader.lowest = len(data)
    attachments = None if reader.done else reader.read()
    apart = reader.numbered == before
    return _Body(
        data,
        outer,
        spans,
        inner,
        types,
        generic,
        attachments,
        reader.numbered > 0,
        apart,
        reader.lowest < referable,
    )


def read_arguments(frame: bytes) -> list[Any]:
    """The arguments of a call, of a generic one those of the method that it names.

    Raises:
        RemoteProtocolError: they are malformed, or hold what Python has no value for.
        LocalProtocolError: they are in another serialization.
    """
    if frame[2] & 0x1F == _FASTJSON2:
        return fastjson2.read_arguments(frame)
    return list(_read(frame).inner)


def write_arguments(frame: bytes, values: list[Any]) -> bytes:
    """The call with other arguments, as many as it has.

    Raises:
        LocalProtocolError: it cannot be; says why.
    """
    if frame[2] & 0x1F == _FASTJSON2:
        return fastjson2.write_arguments(frame, values)
    body = _read(frame)
    if len(values) != len(body.inner):
        raise LocalProtocolError(f"the call has {len(body.inner)} arguments, and {len(values)} were given")
    inner = fitting(values, body.types, HESSIAN2)
    outer = inner
    if body.generic:
        listed = TypedList(inner)
        listed.type_name = getattr(body.inner, "type_name", "")
        outer = [*body.outer[:2], listed if body.outer[2] is not None else None]
    start = body.spans[0][0] if body.spans else 0
    end = body.spans[-1][1] if body.spans else 0
    parts = None if body.numbered else rewritten(body.data, body.spans, body.outer, outer, HESSIAN2)
    if parts is None:
        writer = Writer()
        for one in outer:
            writer.write(one)
        if not body.apart:  # its numbers count what is in the arguments
            if body.tied:
                raise LocalProtocolError("the attachments refer to what stands in the arguments")
            writer.write(body.attachments)
            end = len(body.data)
        parts = bytes(writer.data)
    data = body.data[:start] + parts + body.data[end:]
    return frame[:12] + len(data).to_bytes(4, "big") + data + frame[HEADER.size + len(body.data) :]
