"""Hessian 2.0 as Dubbo's peers speak it: ``protokit.hessian``, whose dialect that is where none is named."""

from protokit.hessian import Long, Object, Reader, TypedList, TypedMap, Writer

__all__ = ["Long", "Object", "Reader", "TypedList", "TypedMap", "Writer"]
