"""Apache Dubbo for protokit: the frames of Dubbo 2.0.2, as spoken by 2.5 to 3.3.

::

    0        2      3        4            12          16
    +--------+------+--------+------------+-----------+----------------+
    | DA BB  | flag | status | request id | body size | body           |
    +--------+------+--------+------------+-----------+----------------+

The codec is native (``native/dubbo.c``). A request's group stands only in its attachments, behind
the arguments, and these can be stepped over only value by value: a loop over tags that a declared
format does not say.
"""

from __future__ import annotations

import protokit_dubbo._native as _native  # noqa: PLR0402  # what mypy takes for an export
from protokit import NativeCodec, Protocol, hookimpl

PROTOKIT_API = ">=1,<2"


def read_body(frame: bytes) -> dict[str, object]:
    """Arguments, results and exceptions of a frame in Hessian 2, for ``protokit decode``."""
    from protokit_dubbo.messages import Answer, Call, decode  # noqa: PLC0415  # traffic needs none of it

    found = decode(frame)
    if isinstance(found, Call):
        return {f"argument {number}": value for number, value in enumerate(found.arguments)}
    if isinstance(found, Answer):
        name, value = ("value", found.value) if found.exception is None else ("exception", found.exception)
        return {name: value}
    return {}


def build_call(service: str, method: str, version: str, group: str) -> bytes:
    """A call without arguments; of ``$echo``, which providers answer for each service, with null."""
    from protokit_dubbo.messages import Call  # noqa: PLC0415  # as above

    echoes = method == "$echo"
    more = {"group": group} if group else {}
    descriptor, arguments = ("Ljava/lang/Object;", [None]) if echoes else ("", [])
    call = Call(service, method, descriptor, arguments, version=version or "0.0.0", attachments=more)
    return call.encode()


class _Arguments:
    """What filters are given, and what they make of it."""

    def read(self, frame: bytes) -> list[object]:
        """The arguments of a call."""
        from protokit_dubbo.calls import read_arguments  # noqa: PLC0415  # as above

        return read_arguments(frame)

    def write(self, frame: bytes, values: list[object]) -> bytes:
        """The call with others."""
        from protokit_dubbo.calls import write_arguments  # noqa: PLC0415  # as above

        return write_arguments(frame, values)


dubbo = Protocol(
    "dubbo",
    NativeCodec(_native.lib.dubbo_codec_address(), _native, _Arguments()),
    "Apache Dubbo 2.0.2, as spoken by Dubbo 2.5 to 3.3",
    read_body,
    build_call,
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one protocol of this package."""
    return [dubbo]
