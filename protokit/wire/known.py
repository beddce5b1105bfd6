"""What an answer depends on of its request: ``asked(this.kind) == 3``."""

from __future__ import annotations

from typing import Any

from construct import expr

from protokit.errors import word
from protokit.wire.given import within

BITS = 24  # that the engine keeps of a request, with the fields of ``keep``


class Asked(expr.ExprMixin):  # type: ignore[misc]  # construct has no types
    """An expression over the request that a frame answers; 0 where none is known, as to tools."""

    def __init__(self, value: Any, bits: int | None) -> None:
        self.value = value
        self.bits = bits

    def __call__(self, context: Any) -> int:  # noqa: ARG002  # construct's
        """Of what is parsed or built by itself."""
        return 0

    def __repr__(self) -> str:
        return f"asked({self.value!r})"

    __hash__ = object.__hash__


@word
def asked(value: Any, bits: int | None = None) -> Asked:
    """In what an answer means, and where answers come in order in its layout: a value of its request.

    Args:
        value: an expression over the request's fields and texts: ``this.kind``, ``starts(line, "HEAD ")``.
        bits: how many are kept of it, 24 at most for all together; a field has its own, a comparison 1.
    """
    if bits is not None:
        within("asked: bits=", bits, 1, BITS, f"1 to {BITS} can be kept")
    return Asked(value, bits)
