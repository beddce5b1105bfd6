"""The sections and integers of a frame as construct has them: where they stand, and others put there."""

from __future__ import annotations

from typing import Any

import construct
from construct import expr

from protokit.errors import DeclarationError, LocalProtocolError
from protokit.wire.expressions import FieldPath, path_of, value_at
from protokit.wire.given import seen

Container = Any


def section_path(section: Any, at: str) -> FieldPath:
    """The path that ``this.x`` means, from the root."""
    if not isinstance(section, expr.Path):
        raise DeclarationError(f"{at}: {seen(section)} is no section of the frame; write this.NAME")
    return path_of(section, (), (at,))


def bytes_at(container: Container, path: FieldPath) -> bytes | None:
    """The section at a path, chunks as the one that they make together; None where it is absent."""
    value = value_at(container, path)
    return b"".join(value) if isinstance(value, list) else None if value is None else bytes(value)


def put_at(container: Container, path: FieldPath, value: bytes) -> None:
    """Put another section there.

    Raises:
        LocalProtocolError: it is made of chunks, or its branch is absent.
    """
    before = value_at(container, path)
    if before is None or isinstance(before, list):
        what = "is not in this frame" if before is None else "is made of chunks"
        raise LocalProtocolError(f"{'.'.join(path)} {what} and cannot be written to")
    set_at(container, path, value)


def set_at(container: Container, path: FieldPath, value: Any) -> None:
    """Replace what stands at a path."""
    for name in path[:-1]:
        container = container[name]
    container[path[-1]] = value


def integer_of(subcon: Any, what: str) -> Any:
    """An integer of fixed width, as construct has it.

    Raises:
        DeclarationError: it is something else.
    """
    fits = (
        isinstance(subcon, construct.BytesInteger) and isinstance(subcon.length, int) and subcon.length <= 8
    )
    if not fits and not (isinstance(subcon, construct.FormatField) and subcon.fmtstr[1] in "BHILQbhilq"):
        raise DeclarationError(f"{what} is an integer, such as Int16ub, not {seen(subcon)}")
    return subcon
