"""A changed frame by way of the reference: parsed, changed by the declaration's views, and built again.

What Python filters change goes this way, and the engine's own changes (``changes.py``) are tested against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.wire import views
from protokit.wire.expressions import Field, show
from protokit.wire.laid import decided, laid_by_numbers, taken
from protokit.wire.message import status_of
from protokit.wire.nodes import Peeked, integers_of, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protokit.wire.format import WireFormat

    Edits = Sequence[tuple[int, str, str | None]]


def edited(wire: WireFormat, data: bytes, edits: Edits, side: str) -> bytes:
    """The frame in front with changes, and what follows it; see ``WireFormat.edit``.

    Raises:
        LocalProtocolError: the format cannot say it.
    """
    container, size = wire.parse(data, side, ended=True)
    said, laid = _said(wire, container), _laid(wire, container)
    sizes = {path: len(views.value_at(container, path) or b"") for path in wire.told}
    with wire.only_readable(container) as hidden:
        _change(wire, container, edits)
        for path in hidden:
            if views.value_at(container, path) is not None:
                raise LocalProtocolError(f"{show(path)} cannot be read in this frame, and not be changed")
    _check_laid(wire, container, laid)
    for path, digits in wire.told.items():
        if more := len(views.value_at(container, path) or b"") - sizes[path]:
            digits.add(container, more)
    changed = wire.build(container)
    _check(wire, container, said, changed, side)
    return changed + data[size:]


def _said(wire: WireFormat, container: Any) -> tuple[Any, ...]:
    """What no change changes."""
    kind = wire.kind(container)
    return kind, wire.id_of(container), status_of(wire.meaning, container) if kind == "response" else None


def _laid(wire: WireFormat, container: Any) -> list[int]:
    among = laid_by_numbers(wire.nodes, wire.numbers)
    return [*decided(wire.nodes, container), *taken(wire.nodes, among, container)]


def _check_laid(wire: WireFormat, container: Any, laid: list[int]) -> None:
    """Refuse texts and numbers by which a frame would be laid out otherwise, and what they measure be lost.

    Raises:
        LocalProtocolError: there is one.
    """
    try:
        same = _laid(wire, container) == laid
    except RemoteProtocolError as error:
        raise LocalProtocolError(f"the frame's layout goes by what is written: {error}") from error
    if not same:
        raise LocalProtocolError("the frame's layout goes by what is written, and would be another one")


def _check(wire: WireFormat, container: Any, said: tuple[Any, ...], frame: bytes, side: str) -> None:
    """Refuse a frame that is read otherwise than it was meant.

    Raises:
        LocalProtocolError: a text in it ends where it should not, or makes the frame another one.
    """
    try:
        found, size = wire.parse(frame, side, ended=True)
    except (EOFError, RemoteProtocolError) as error:
        raise LocalProtocolError(f"the changed frame would be none: {error}") from error
    meaning = wire.meaning
    maps = [one.path for one in (meaning.headers, meaning.answer_headers) if one is not None]
    same = size == len(frame) and _said(wire, found) == said
    for path in {*views.sections_of(meaning.destination()), *maps} - set(wire.looked_into):
        same = same and views.value_at(found, path) == views.value_at(container, path)
    for path in [node.path for node in walk(wire.nodes) if isinstance(node, Peeked)]:
        same = same and views.value_at(found, path) == views.value_at(container, path)
    if not same:
        raise LocalProtocolError("the changed frame would be another one: what is written ends it early")


def _change(wire: WireFormat, container: Any, edits: Edits) -> None:
    m = wire.meaning
    answer = wire.kind(container) == "response"
    headers = m.answer_headers if answer else m.headers
    fields = {
        native.EDIT_SERVICE: ("service", m.service),
        native.EDIT_METHOD: ("method", m.method),
        native.EDIT_VERSION: ("version", m.version),
        native.EDIT_GROUP: ("group", m.group),
    }
    for what, key, value in edits:
        raw = None if value is None else value.encode("utf-8", "surrogatepass")
        if what == native.EDIT_HEADER:
            if headers is None:
                raise LocalProtocolError("this protocol declares no headers")
            headers.set(container, key.encode("utf-8", "surrogatepass"), raw)
            continue
        name, view = fields[what]
        if answer:
            raise LocalProtocolError(f"an answer has no {name} to change")
        if view is None:
            raise LocalProtocolError(f"this protocol declares no {name}")
        view.replace(container, raw)
        _check_numbers(wire, view, container)


def _check_numbers(wire: WireFormat, view: views.View, container: Any) -> None:
    """Refuse an integer that has no room in its field, also where the next change writes another one.

    Raises:
        LocalProtocolError: there is one.
    """
    of = [one.value for one in views.leaves([view]) if isinstance(one, views.Decimal | views.Chosen)]
    paths = {one.path for one in of if isinstance(one, Field)}
    for node in [one for path in paths for one in integers_of(wire.nodes, path)]:
        value = views.value_at(container, node.path)
        if value is not None and not node.holds(value):
            raise LocalProtocolError(f"the frame cannot be built: {show(node.path)} has no room for {value}")
