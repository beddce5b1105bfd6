"""Values of Hessian 2 in both dialects that bolt carries: ``protokit.hessian``.

The draft is what sofa-hessian writes, the final form what other peers do; ``hessian.py`` shows both to tools,
and loses what only a writer needs.
"""

from protokit.hessian import DRAFT, HESSIAN2, Dialect, Long, Object, Reader, TypedList, TypedMap, Writer

__all__ = [
    "DRAFT",
    "HESSIAN2",
    "Long",
    "Object",
    "Reader",
    "TypedList",
    "TypedMap",
    "Writer",
    "dialect_of",
]


def dialect_of(body: bytes) -> Dialect:
    """That of a body that begins with an object."""
    return HESSIAN2 if body[:1] == b"C" else DRAFT
