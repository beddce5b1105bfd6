"""The exception that SOFARPC's clients read in an error reply.

``RpcServerException`` in the draft of Hessian 2 (sofa-hessian): an object of four fields, of which the
message alone says something. The cause refers to the object itself, as Java writes no cause.
"""

from __future__ import annotations

from construct import Int16ub

from protokit.wire import ErrorText

CLASS = b"com.alipay.remoting.rpc.exception.RpcServerException"
FIELDS = (b"detailMessage", b"cause", b"stackTrace", b"suppressedExceptions")


def exception() -> tuple[bytes, ErrorText]:
    """(class name, content) of an error reply; the text is filled in by the engine."""
    definition = b"O" + _int(len(CLASS)) + CLASS + _int(len(FIELDS))
    definition += b"".join(bytes([len(name)]) + name for name in FIELDS)
    trace = b"Vt" + Int16ub.build(len(_ELEMENT)) + _ELEMENT + b"n\0z"
    after = b"J\0" + trace + b"N"  # cause: this object; no stack; nothing suppressed
    return CLASS, ErrorText(before=definition + b"o" + _int(0) + b"S", count=Int16ub, units=True, after=after)


_ELEMENT = b"[java.lang.StackTraceElement"


def _int(value: int) -> bytes:
    """An int of Hessian, 0 to 2047."""
    return bytes([0x90 + value]) if value < 48 else bytes([0xC8 + (value >> 8), value & 0xFF])
