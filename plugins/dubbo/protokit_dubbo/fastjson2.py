"""The arguments of a call in fastjson2 as Python values, and the call with others: for filters.

Each item of a body stands behind its length and says nothing of another: what nobody changed stays as it is.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.hessian import Long, TypedList
from protokit_dubbo.jsonb import Byte, Float, Reader, Short, Writer
from protokit_dubbo.messages import HEADER, count_parameters, parameters

_GENERIC = {"$invoke", "$invokeAsync"}
_LIKE: dict[str, type] = {}
_LIKE |= dict.fromkeys(("J", "Ljava/lang/Long;", "long", "java.lang.Long"), Long)
_LIKE |= dict.fromkeys(("D", "Ljava/lang/Double;", "double", "java.lang.Double"), float)
_LIKE |= dict.fromkeys(("F", "Ljava/lang/Float;", "float", "java.lang.Float"), Float)
_LIKE |= dict.fromkeys(("S", "Ljava/lang/Short;", "short", "java.lang.Short"), Short)
_LIKE |= dict.fromkeys(("B", "Ljava/lang/Byte;", "byte", "java.lang.Byte"), Byte)


class _Body(NamedTuple):
    """A request's.

    Attributes:
        outer: what the body has as arguments, and between which offsets each stands, with its length.
        inner: those of the call: of a generic one what is in the third.
        types: what each is declared as.
    """

    data: bytes
    outer: list[Any]
    spans: list[tuple[int, int]]
    inner: list[Any]
    types: list[str]
    generic: bool


def _read(frame: bytes) -> _Body:
    *_, size = HEADER.unpack_from(frame)
    data, at = frame[HEADER.size :], 0
    if len(data) < size:
        raise LocalProtocolError("a large call that is passed on in parts has no arguments to decode")

    def item() -> Any:
        nonlocal at
        (length,) = struct.unpack_from(">I", data, at) if len(data) - at >= 4 else (len(data),)
        if length > len(data) - at - 4:
            raise RemoteProtocolError("fastjson2: an item is longer than the body", at)
        at += 4 + length
        return Reader(data[at - length : at]).item()

    _, _, _, method, descriptor = (item() for _ in range(5))
    if not isinstance(descriptor, str):
        raise RemoteProtocolError("the descriptor is no text", at)
    outer, spans = [], []
    for _ in range(count_parameters(descriptor)):
        start = at
        outer.append(item())
        spans.append((start, at))
    types, inner = parameters(descriptor), outer
    generic = method in _GENERIC and len(outer) == 3
    if generic:
        said, inner = (one if isinstance(one, list) else [] for one in outer[1:])
        types = [one if isinstance(one, str) else "" for one in said]
    return _Body(data, outer, spans, inner, types, generic)


def read_arguments(frame: bytes) -> list[Any]:
    """The arguments of a call, of a generic one those of the method that it names.

    Raises:
        RemoteProtocolError: they are malformed, or hold what Python has no value for.
    """
    return list(_read(frame).inner)


def write_arguments(frame: bytes, values: list[Any]) -> bytes:
    """The call with other arguments, as many as it has.

    Raises:
        LocalProtocolError: it cannot be; says why.
    """
    body = _read(frame)
    if len(values) != len(body.inner):
        raise LocalProtocolError(f"the call has {len(body.inner)} arguments, and {len(values)} were given")
    fitting = [_fitting(one, body.types[i] if i < len(body.types) else "") for i, one in enumerate(values)]
    outer = fitting
    if body.generic and body.outer[2] is not None:
        listed = TypedList(fitting)
        listed.type_name = getattr(body.inner, "type_name", "")
        outer = [*body.outer[:2], listed]
    elif body.generic:
        outer = body.outer
    parts, done = [], 0
    for was, now, (start, end) in zip(body.outer, outer, body.spans, strict=True):
        before, after = _written(was), _written(now)
        parts += [body.data[done:start], body.data[start:end] if before == after else after]
        done = end
    data = b"".join([*parts, body.data[done:]])
    return frame[:12] + len(data).to_bytes(4, "big") + data


def _written(value: Any) -> bytes:
    writer = Writer()
    writer.write(value)
    return struct.pack(">I", len(writer.data)) + bytes(writer.data)


def _fitting(value: Any, type_: str) -> Any:
    """What Python computes has lost which number it is: the type of the parameter says it."""
    like = _LIKE.get(type_)
    if like is None or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        return value if isinstance(value, float) and not issubclass(like, float) else like(value)
    except OverflowError:
        raise LocalProtocolError(
            "fastjson2: a whole number that fits no double, for a parameter of one"
        ) from None
