"""The words of ``WireFormat``: what an author may give for each, and what is said of anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protokit.errors import DeclarationError
from protokit.model import Status
from protokit.wire import views
from protokit.wire.expressions import computable, readings_of, resolve, show
from protokit.wire.given import expect, seen, several, within
from protokit.wire.nodes import Delimited, Integer, Section, walk
from protokit.wire.replies import field_path


def check_maps(status: Any, **maps: Any) -> None:
    """Refuse a status that is no table, and headers that are no map."""
    if status is not None and not isinstance(status, views.Table):
        what = "is a view of names" if isinstance(status, views.View) else "is no table"
        raise DeclarationError(
            f"status: {seen(status)} {what}: write table(this.x, {{0: Status.OK}}, Status.INTERNAL)"
        )
    known = [int(one) for one in Status]
    for to in () if status is None else (*status.entries.values(), status.default):
        if to not in known:
            raise DeclarationError(f"status: table: {to} is no Status; write Status.OK, Status.INTERNAL, ...")
    for what, one in maps.items():
        if one is not None and not isinstance(one, views.Pairs):
            raise DeclarationError(
                f"{what}: {seen(one)} is no map: write pairs(...), lines(...), or a map in a structure: "
                "protobuf(this.meta)[8], tlv(this.meta, ..., names={...}), msgpack(this.meta), "
                "json(this.meta), thrift(this.meta, 'compact')[3], blocks(this.meta, ...)[1]"
            )


_VARIANTS = "they are a list of field values: ({'version': 1}, {'version': 2})"
_RESERVED = "they are a list of integers from 0 on: (0,)"


def variants_of(given: Any) -> tuple[dict[str, int], ...]:
    """Sets of field values."""
    return tuple(map(_variant, several("variants", given, _VARIANTS)))


def _variant(one: Any) -> dict[str, int]:
    found: dict[str, int] = dict(expect("variants", one, Mapping, _VARIANTS))
    for name, value in found.items():
        expect("variants", name, str, _VARIANTS)
        within(f"variants: {name}", value, -(1 << 63), (1 << 64) - 1, "it is the integer of that field")
    return found


def reserved_of(given: Any) -> tuple[int, ...]:
    """Ids."""
    found = several("reserved_ids", given, _RESERVED)
    if len(found) > 4:  # as the engine has room for
        raise DeclarationError(f"reserved_ids: {len(found)} were given; there are 4 at most")
    return tuple(within("reserved_ids", one, 0, (1 << 64) - 1, _RESERVED) for one in found)


def check_ids(nodes: Any, paths: Any, answers: Any, reserved: tuple[int, ...], variants: Any) -> None:
    """Refuse a field that is named twice, ids that none of them holds, and forms that an id would tell."""
    for what, some in (("id", paths), ("answer_id", answers)):
        twice = [path for number, path in enumerate(some) if path in some[:number]]
        if twice:
            raise DeclarationError(f"{what}: this.{show(twice[0])} is named twice; each branch has its own")
    for path in answers:
        if path in paths:
            raise DeclarationError(
                f"answer_id: this.{show(path)} is the id, too; leave answer_id out where an answer has its "
                "request's id in the same field"
            )
    widths = [node.width for node in walk(nodes) if isinstance(node, Integer) and node.path in paths]
    for one in reserved:
        if widths and one >> 8 * max(widths):
            raise DeclarationError(f"reserved_ids: {one} does not fit the id's {max(widths)} bytes")
    for number, form in enumerate(variants):
        if form in variants[:number]:
            raise DeclarationError(f"variants: {form} stands there twice; a frame is of the first that fits")
        for name in form:
            if tuple(name.split(".")) in paths:
                raise DeclarationError(f"variants: {name} is the id; the engine writes another one there")


def check_constants(meaning: Any) -> None:
    """Refuse what is said of every frame and can be of some only."""
    for what in ("response", "heartbeat", "drain", "more"):
        value = getattr(meaning, what)
        if isinstance(value, int) and value:
            raise DeclarationError(
                f"{what}: {value} holds for every frame, and then none is a plain request; write a "
                f"condition: {what}=this.kind == 2"
            )


def expression(value: Any, what: str) -> Any:
    """Of fields of the frame."""
    return computable(resolve(value, (), (what,)), (what,))


def readable_sections(nodes: Any, given: Any) -> dict[Any, Any]:
    """Sections, and when they can be read."""
    pairs = given if isinstance(given, list) else [given]
    found = {}
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:  # a pair
            raise DeclarationError(
                f"readable: {seen(pair)} was given; write readable=(this.body, this.codec == 0), a "
                "section and a condition, or a list of such pairs"
            )
        path = field_path(pair[0], "readable")
        if not any(isinstance(one, Section | Delimited) and one.path == path for one in walk(nodes)):
            raise DeclarationError(f"readable: {show(path)} is no section: write (this.SECTION, condition)")
        found[path] = expression(pair[1], "readable")
        if readings_of(found[path]):
            raise DeclarationError(
                f"readable: whether {show(path)} can be read is told by fields (this.codec == 0), no texts"
            )
    return found


def view(value: Any, what: str) -> views.View | None:
    """A text in a frame, if it has one."""
    return None if value is None else views.as_view(value, what)
