"""What stands where: a number is never taken for a text, nor a text for a number.

Whatever a declaration reads is a field of the right kind in every branch that has it. The engine checks the
compiled program again (``native/src/wire/declared_check.c``), but knows no names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit.errors import DeclarationError
from protokit.wire import views
from protokit.wire.arguments import roots
from protokit.wire.expressions import Expression, FieldPath, fields_of, show, sizes_of
from protokit.wire.nodes import (
    Bits,
    Branch,
    ChunkList,
    Delimited,
    Integer,
    Integers,
    Node,
    Peeked,
    Region,
    Repeated,
    Rest,
    Section,
    Varint,
    expression_of,
    walk,
)
from protokit.wire.readings import views_of
from protokit.wire.requested import INTEGER
from protokit.wire.requested import VARINT as REPEATED_VARINT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protokit.wire.program import Meaning

Fields = dict[FieldPath, dict[str, str]]  # of each its kinds, each with how a person says it
Reader = tuple[str, FieldPath, str]  # who reads, what, as what
NUMBER, WHOLE, ARRAY, SECTION = "number", "whole", "array", "section"
VARINT, PIECE = "varint", "piece"
_NONE = {
    NUMBER: "integer field",
    WHOLE: "integer",
    ARRAY: "Array of integers",
    SECTION: "section",
    VARINT: "UVar",
    PIECE: "section in one piece",
}
_INSTEAD = {
    NUMBER: "only integers are computed with: declare it as one, such as Int32ub",
    WHOLE: "an integer of fixed width is needed: declare it as one, such as Int32ub",
    ARRAY: "lengths are an Array of integers: Array(this.n, Int32ub)",
    SECTION: "texts are found in bytes: declare it as Bytes(n), or name a field that holds the text; "
    "an integer is one as decimal(this.NAME), or by its name as table(this.NAME, {1: 'GET'}, 'other')",
    VARINT: "size_() is of a UVar; of a section write len_(this.NAME)",
    PIECE: "len_() is of a section in one piece: Bytes, Prefixed, Until or Measured; of a UVar write "
    "size_(this.NAME)",
}
_MANY = 20  # fields that a message names
# What else a kind may be read as.
_ALSO = {WHOLE: {NUMBER}, VARINT: {NUMBER}, PIECE: {SECTION}}


def check_kinds(nodes: tuple[Node, ...], meaning: Meaning) -> None:
    """Refuse what is read as something that it is not.

    Raises:
        DeclarationError: names the reader and the field, says what it is and what to write instead.
    """
    _check(_fields(nodes), [*_read_by_nodes(nodes)], [*_read_by_meaning(meaning)])
    _check_parts(nodes, _fields(nodes))
    for checksum in meaning.checksums:
        if checksum.path in {*meaning.id, *meaning.answer_id}:
            raise DeclarationError(
                f"{checksum.what}: this.{show(checksum.path)} is the id; a checksum has a field of its own"
            )


def _check_parts(nodes: tuple[Node, ...], outside: Fields) -> None:
    """The same of parts that stand one behind the other: they read each other, and what stands in front."""
    for node in walk(nodes):
        if isinstance(node, Repeated):
            fields = {**outside, **_fields(node.part)}
            fields.pop(node.path, None)
            read = [*_read_by_nodes(node.part)]
            for expression in (node.until, node.added):
                read += _read_by(show(node.path), expression or 0)
            _check(fields, read, [])
            _check_parts(node.part, fields)


def _check(fields: Fields, by_nodes: list[Reader], by_meaning: list[Reader]) -> None:
    hidden = {
        path for path in fields if PIECE in fields.get(path[:-1], {})
    }  # a Prefixed's length has no name
    lengths = [(what, path, wanted) for what, path, wanted in by_nodes if path not in hidden]
    for what, path, wanted in (*lengths, *by_meaning):
        if path not in fields or path in hidden:
            raise DeclarationError(
                f"{what}: {show(path)} is no {_NONE[wanted]} of the format{_there(fields, wanted)}"
            )
        for kind, seen in fields[path].items():
            if kind != wanted and wanted not in _ALSO.get(kind, ()):
                raise DeclarationError(f"{what}: this.{show(path)} is {seen}, and {_INSTEAD[wanted]}")


def _there(fields: Fields, wanted: str) -> str:
    """What could be meant."""
    found = [
        show(path)
        for path, kinds in fields.items()
        if any(kind == wanted or wanted in _ALSO.get(kind, ()) for kind in kinds)
    ]
    return f"; there are {', '.join(found)}" if 0 < len(found) <= _MANY else ""


def _fields(nodes: tuple[Node, ...]) -> Fields:
    """Of each field the kinds that it has in some branch, each with how a person says it."""
    found: dict[FieldPath, dict[str, str]] = {}
    for node in walk(nodes):
        if isinstance(node, Bits):
            for path, _, size in node.fields:
                found.setdefault(path, {})[NUMBER] = f"a bit field ({size} bits)"
        elif isinstance(node, Peeked):
            found.setdefault(node.path, {})[NUMBER] = f"looked at ahead ({node.width} bytes)"
        elif isinstance(node, Integer):
            found.setdefault(node.path, {})[WHOLE] = f"an integer ({node.width} bytes)"
        elif isinstance(node, Varint):
            found.setdefault(node.path, {})[VARINT] = "an integer (UVar)"
        elif isinstance(node, Integers):
            found.setdefault(node.path, {})[ARRAY] = "an Array of integers"
        elif isinstance(node, Section | Delimited | Region | Rest | Repeated):
            found.setdefault(node.path, {})[PIECE] = "a section of bytes"
        elif isinstance(node, ChunkList):
            found.setdefault(node.path, {})[SECTION] = "made of chunks"
    return found


def _name(node: Node) -> str:
    """As errors say it; a branch is what stands in it."""
    if isinstance(node, Branch):
        return next((_name(one) for one in (*node.then, *node.otherwise)), "If")
    return show(node.fields[0][0][:-1] if isinstance(node, Bits) else node.path)


def _read_by_nodes(nodes: tuple[Node, ...]) -> Iterator[tuple[str, FieldPath, str]]:
    """(the reader, what it reads, as what)."""
    for node in walk(nodes):
        what, read = _name(node), expression_of(node)
        if isinstance(node, ChunkList):
            yield what, node.lengths, ARRAY
        if isinstance(node, Repeated):
            yield from _read_by(what, node.count or 0)
            read = node.to or 0
        yield from _read_by(what, read)
        for path in views.sections_of(views_of(read)):
            yield what, path, SECTION


def _read_by(what: str, expression: Expression) -> Iterator[tuple[str, FieldPath, str]]:
    sizes = sizes_of(expression)
    for size in sorted(sizes, key=lambda one: one.path):
        yield what, size.path, VARINT if size.varint else PIECE
    for path in sorted(fields_of(expression) - {size.path for size in sizes}):
        yield what, path, NUMBER


def _read_by_meaning(m: Meaning) -> Iterator[tuple[str, FieldPath, str]]:
    numbers: list[tuple[str, Expression]] = [
        ("response", m.response),
        ("oneway", m.oneway),
        ("heartbeat", m.heartbeat),
        ("drain", m.drain),
        ("last", m.last),
        ("more", m.more),
        ("greeting.when", m.greeting),
        ("greeting.refused", m.greeting_refused),
        *(("greeting.steps", one) for one in m.forms),
        ("status", 0 if m.status is None else m.status[0]),
        ("timeout", m.timeout),
        *(("asked", one.value) for one in m.asked),
        *(("app_error", one) for one in m.app_error),
    ]
    texts = [("service", m.service), ("method", m.method), ("version", m.version), ("group", m.group)]
    for what, expression in numbers:
        yield from _read_by(what, expression)
        texts += [(what, view) for view in views_of(expression)]
    for path in (*m.id, *m.answer_id):
        yield "id", path, WHOLE if m.named is None else VARINT if m.named.form == "varint" else SECTION
    yield from (("id", path, PIECE) for path in views.sections_of(m.views_of_id()))
    for path in m.keep:
        yield "keep", path, WHOLE
    for variant in m.variants:
        for path in variant:
            yield "variants", path, NUMBER
    for checksum in m.checksums:
        yield checksum.what, checksum.path, SECTION if checksum.digits else WHOLE
        for path in checksum.over or ():
            yield checksum.what, path, SECTION
    kept = [("FromRequest", part) for part in m.parts] + [("FromPeer", part) for part in m.heard]
    whole = {INTEGER: WHOLE, REPEATED_VARINT: VARINT}
    yield from (
        (what, part.path, whole[part.form]) for what, part in kept if part.is_integer and not part.place
    )
    texts += [("arguments", view) for view in roots(m.arguments)]
    texts += [(what, part.view) for what, part in kept if part.place or not part.is_integer]
    for what, view in texts:
        for path in views.sections_of([] if view is None else [view]):
            yield what, path, SECTION
        for expression in views.computed([] if view is None else [view]):
            yield from _read_by(what, expression)
    for what, pairs in (("headers", m.headers), ("answer_headers", m.answer_headers)):
        if pairs is not None:
            yield what, pairs.path, SECTION
