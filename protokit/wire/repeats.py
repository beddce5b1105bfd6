"""Parts that stand one behind the other, as many as a flag, a count or a sum says: together a section."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import construct
from construct import Construct, Container
from construct.core import stream_read, stream_tell, stream_write

from protokit.errors import DeclarationError, word

if TYPE_CHECKING:
    from collections.abc import Iterator


@word
class Repeat(Construct):  # type: ignore[misc]  # construct has no types
    """Parts one behind the other; their bytes are a section: ``Repeat(FRAGMENT, until=this.last == 1)``.

    One of these says how many:

    Args:
        part: one of them.
        until: a condition on the fields of a part (``this.last``; what stands in front of all is
            ``this._.name``): the first for which it holds is the last.
        count: how many, 0 or more, by what stands in front.
        adding, to: what is added of each part (``this.size``), until all comes to ``to``, which stands in
            front; there is no part where that is 0.
    """

    def __init__(
        self, part: Any, *, until: Any = None, count: Any = None, adding: Any = None, to: Any = None
    ) -> None:
        super().__init__()
        ways = [until is not None, count is not None, adding is not None and to is not None]
        if sum(ways) != 1 or (adding is None) != (to is None):
            raise DeclarationError(
                "Repeat: say how many there are in one way: until=this.last == 1, or count=this.n, or "
                "adding=this.size with to=this.total"
            )
        self.subcon = part
        self.until = until
        self.count = count
        self.adding = adding
        self.to = to

    def _parts(self, stream: Any, context: Any, path: str) -> Iterator[None]:
        """Read them, one by one."""
        count = None if self.count is None else _of(self.count, context)
        to = None if self.to is None else signed(_of(self.to, context))
        number = total = 0
        if count is not None and count < 0:
            raise construct.ValidationError(f"there are {count} parts", path=path)
        while number != count:
            if to is not None and total >= to:
                if total > to:
                    raise construct.ValidationError(f"parts come to {total}, and not to {to}", path=path)
                return
            start = stream_tell(stream, path)
            part = self.subcon._parsereport(stream, context, path)  # noqa: SLF001  # as construct's own
            if stream_tell(stream, path) == start:
                raise construct.ValidationError("a part has no bytes", path=path)
            number += 1
            yield
            inside = scope(part, context)
            if self.until is not None and _of(self.until, inside):
                return
            total += 0 if self.adding is None else _of(self.adding, inside)

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        start = stream_tell(stream, path)
        for _ in self._parts(stream, context, path):
            pass
        end = stream_tell(stream, path)
        stream.seek(start)
        return bytes(stream_read(stream, end - start, path))

    def _build(self, obj: bytes, stream: Any, context: Any, path: str) -> bytes:
        if not self.holds(obj, context):
            raise construct.ValidationError(
                f"{obj[:40]!r} is not all of its parts, and nothing else", path=path
            )
        stream_write(stream, obj, len(obj), path)
        return obj

    def holds(self, data: bytes, context: Any) -> bool:
        """Whether some bytes are all of the parts."""
        stream = io.BytesIO(data)
        try:
            for _ in self._parts(stream, context, "(parts)"):
                pass
        except construct.ConstructError:
            return False
        return stream.tell() == len(data)

    def built(self, values: Any, context: Any) -> bytes:
        """One part of plain values."""
        stream = io.BytesIO()
        self.subcon._build(values, stream, context, "(part)")  # noqa: SLF001
        return stream.getvalue()


def scope(values: Any, outer: Any) -> Any:
    """What ``this`` is inside of a Struct."""
    inside = Container(values if isinstance(values, dict) else {})
    inside._ = outer
    inside._params = outer._params  # noqa: SLF001
    inside._root = outer.get("_root", outer)  # noqa: SLF001
    for name in ("_parsing", "_building", "_sizing"):
        inside[name] = outer.get(name, False)
    return inside


def _of(expression: Any, context: Any) -> int:
    return int(expression(context) if callable(expression) else expression)


def signed(value: int) -> int:
    """As the engine has integers: of 64 bits, with a sign."""
    return value - (1 << 64) if value >= 1 << 63 else value
