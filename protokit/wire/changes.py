"""Which changes to a frame the engine makes itself, and what it has to know for them.

A view can be written natively where it is made of sections whose lengths are counted by integers that are
computed (``Rebuild``, ``Prefixed``), or that a delimiter ends, and of maps of pairs or lines in them. What
else a declaration can say is written by ``WireFormat.edit``, which says what is right.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import DeclarationError
from protokit.wire.counters import agreeing, counters_of, counting, following, sharing, undecided, way_of
from protokit.wire.encodings import LineEncoding, PairEncoding
from protokit.wire.expressions import Field, Size, fields_of, sizes_of
from protokit.wire.laid import laid_by_numbers, laid_by_texts, read_by
from protokit.wire.nodes import (
    Bit,
    Bits,
    Branch,
    Choice,
    ChunkList,
    Condition,
    Integer,
    Integers,
    Node,
    Peeked,
    Repeated,
    Section,
    Varint,
    expression_of,
    integers_of,
    walk,
)
from protokit.wire.structures import Inside
from protokit.wire.structures.headers import PUT, EntryMap
from protokit.wire.structures.protobufs import FIELDS as FIELDS_OF_MESSAGES
from protokit.wire.told import Digits
from protokit.wire.views import (
    Chosen,
    Constant,
    Decimal,
    First,
    FoundText,
    Item,
    Pairs,
    Part,
    Text,
    View,
    leaves,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from protokit.wire.expressions import Expression, FieldPath
    from protokit.wire.program import Meaning

    Computed = Sequence[tuple[FieldPath, Expression | None]]

ANSWERS = native.EDIT_GROUP + 1  # PK_CHANGES_OF_ANSWERS
_WIDEST = 8
DEPTH = 8  # of views in views (PK_WRITE_DEPTH)
FIELDS = 64  # PK_FIELDS
Counter = Integer | Varint | Digits


class InPythonError(Exception):
    """The engine does not make this change."""


@dataclass(frozen=True)
class Changes:
    """What can be changed.

    Attributes:
        views: by what an edit is about, ``EDIT_*`` or ANSWERS: how it is read and written; headers are a map.
        counted: the sections that change, with what counts each.
        numbers: the integers that change.
        order: of all fields that are known, as they stand.
        varints: those among what counts, with what counts their own bytes.
        said: integers that are computed, and from what; they are made right whatever a frame says.
        laid: what is laid out by texts that change, and stays as it is.
        taken: what is there or not by integers that change, and stays so.
        peeked: what is read in front of the field that it stands in; it stays, too.
    """

    views: dict[int, View | Pairs]
    counted: dict[FieldPath, tuple[Counter, ...]]
    numbers: tuple[Integer | Bit, ...]
    varints: dict[FieldPath, tuple[Integer, ...]]
    said: tuple[tuple[Integer | Varint, Expression], ...]
    order: tuple[FieldPath, ...]
    laid: tuple[Branch | Choice | Section, ...]
    taken: tuple[Branch | Choice, ...]
    peeked: tuple[Peeked, ...]

    @property
    def integers(self) -> list[Counter | Bit]:
        """All that change, each once."""
        some = [*self.counted.values(), *self.varints.values()]
        counters = (counter for one in some for counter in one)
        return list(dict.fromkeys([*counters, *self.numbers, *(one for one, _ in self.said)]))


def changes_of(nodes: tuple[Node, ...], meaning: Meaning, computed: Computed) -> Changes | None:
    """What the engine can change in frames of a format; None: nothing.

    Args:
        nodes: of its layout.
        meaning: what the fields mean.
        computed: its fields that are computed when a frame is built, and from what: None where Python does.
    """
    if any(one is None for _, one in computed):
        return None
    given: dict[int, View | Pairs | None] = {
        native.EDIT_HEADER: meaning.headers,
        native.EDIT_SERVICE: meaning.service,
        native.EDIT_METHOD: meaning.method,
        native.EDIT_VERSION: meaning.version,
        native.EDIT_GROUP: meaning.group,
        ANSWERS: meaning.answer_headers,
    }
    views: dict[int, View | Pairs] = {}
    counted: dict[FieldPath, tuple[Counter, ...]] = {}
    numbers: list[Integer | Bit] = []
    varints: dict[FieldPath, tuple[Integer, ...]] = {}
    read = {path for view in given.values() if view is not None for path in _read(view)}
    read |= {path for one in meaning.checksums for path in one.over or ()}
    for what, view in given.items():
        try:
            if view is not None:
                some = {path: _counted(nodes, path, computed, read) for path in _written(view, DEPTH)}
                inner = [one for each in some.values() for one in each if isinstance(one, Varint)]
                wide = {one.path: _counting_varint(nodes, one, computed) for one in inner}
                counted |= some
                varints |= wide
                numbers += [_number(nodes, one, meaning, computed) for one in _numbers(view)]
                views[what] = view
        except (InPythonError, DeclarationError):
            continue
    if not views:
        return None
    written = set(counted)
    sections = {path for view in views.values() for path in _read(view)}
    counted = {path: counted.get(path, ()) for path in sections}
    for path in written:  # where one of them is there the others are not
        shared = [one for node in walk(nodes) if _path(node) == path for one in sharing(nodes, node)]
        counted = {**{one.path: () for one in shared}, **counted}
    said = tuple(_said(nodes, meaning, computed))
    known = set(counted) | {one.path for some in counted.values() for one in some}
    known |= {one.path for some in varints.values() for one in some} | {one.path for one, _ in said}
    known |= {path for one in meaning.checksums for path in (one.path, *(one.over or ()))}
    known |= {one.path for one in numbers}
    order = tuple(dict.fromkeys(path for node in walk(nodes) for path in _paths(node) if path in known))
    if len(order) > FIELDS or not _is_ordered(nodes, order):
        return None
    laid = tuple(one for one in laid_by_texts(nodes) if written & set(read_by(one)))
    peeked = {node.path: node for node in walk(nodes) if isinstance(node, Peeked)}
    taken = tuple(laid_by_numbers(nodes, {one.path for one in numbers}))
    integers = tuple(dict.fromkeys(numbers))
    return Changes(views, counted, integers, varints, said, order, laid, taken, tuple(peeked.values()))


def _written(view: View | Pairs, depth: int) -> Iterator[FieldPath]:
    """The sections that a view may write to.

    Raises:
        InPythonError: it is of a kind that the engine does not write.
    """
    if depth == 0:
        raise InPythonError
    if isinstance(view, Text):
        yield view.path
    elif isinstance(view, Item):
        yield from _written(view.pairs, depth)
    elif isinstance(view, EntryMap):
        yield view.path
    elif isinstance(view, Inside) and is_put(view):
        yield view.reads
    elif isinstance(view, Pairs) and isinstance(view.encoding, PairEncoding | LineEncoding):
        yield view.path
    elif isinstance(view, Part):
        yield from _written(view.split.view, depth - 1)
    elif isinstance(view, First):
        for one in view.views:
            yield from _written(one, depth - 1)
    elif not isinstance(view, Constant | FoundText | Decimal | Chosen):  # of no section, or only read
        raise InPythonError


def is_put(view: Inside) -> bool:
    """Whether the engine can put another text there; of protobuf at fields, and names of maps in them."""
    name = view.structure.step.name
    if name != "protobuf":
        return name in PUT and bool(view.path)
    texts = [isinstance(key, str) for key in view.path]
    by_field = bool(view.path) and not texts[0] and not any(map(operator.and_, texts, texts[1:]))
    return by_field and all(0 < key < FIELDS_OF_MESSAGES for key in view.path if isinstance(key, int))


def _numbers(view: View | Pairs) -> list[Decimal | Chosen]:
    """The views of integers in it."""
    return (
        []
        if isinstance(view, Pairs)
        else [one for one in leaves([view]) if isinstance(one, Decimal | Chosen)]
    )


def _number(
    nodes: tuple[Node, ...], view: Decimal | Chosen, meaning: Meaning, computed: Computed
) -> Integer | Bit:
    """The integer that a view is of: one that says nothing else, but what is there or not.

    Raises:
        InPythonError: it is another one.
    """
    if not isinstance(view.value, Field):
        raise InPythonError
    path = view.value.path
    found = integers_of(nodes, path)
    node = found[0] if len(found) == 1 else None
    names = list(view.names.values()) if isinstance(view, Chosen) else []
    wide = isinstance(node, Integer) and node.width == _WIDEST
    if node is None or len(set(names)) < len(names) or (names and wide):
        raise InPythonError
    read: list[Any] = [how for _, how in computed if how is not None]
    read += [expression_of(one) for one in walk(nodes) if not isinstance(one, Branch | Choice | Condition)]
    for one in walk(nodes):
        read += [one.count, one.to, one.until, one.added] if isinstance(one, Repeated) else []
    read += [*meaning.readable.values()]
    says = {*meaning.id, *meaning.answer_id, *(one for one, _ in computed)}
    says |= {one.path for one in meaning.checksums}
    if path in says or any(path in fields_of(one or 0) for one in read):
        raise InPythonError
    return node


def _read(view: View | Pairs) -> Iterator[FieldPath]:
    """The sections that a view reads."""
    if isinstance(view, Text | Pairs):
        yield view.path
    elif isinstance(view, Item):
        yield view.pairs.path
    elif isinstance(view, Part):
        yield from _read(view.split.view)
    elif isinstance(view, First):
        for one in view.views:
            yield from _read(one)
    elif isinstance(view, FoundText):
        yield view.found.section.path
    elif isinstance(view, Inside):
        yield view.reads


def _counted(
    nodes: tuple[Node, ...], path: FieldPath, computed: Computed, read: set[FieldPath]
) -> tuple[Counter, ...]:
    """What counts a section; ``read`` is in which sections something else is known.

    Raises:
        InPythonError: the engine cannot make right what does.
        DeclarationError: nor its ids in it, and why.
    """
    counters = counters_of(nodes, path, alone=False)
    told = {one for one, _ in computed}
    if counters is None:
        raise InPythonError
    for one in counters:
        by_itself = isinstance(one, Digits) and len(counters) == 1 and one.path not in read
        if not (by_itself or one.path in told or one.path == (*path, "size")):
            raise InPythonError
    paths = {one.path for one in counters if not isinstance(one, Digits)}
    said: list[Counter] = []  # once more, by what no section goes by
    for other, times in following({path}, paths, [(one, how) for one, how in computed if how is not None]):
        if times != 1:
            raise InPythonError
        said.append(way_of(nodes, other))
    paths |= {one.path for one in said}
    varints = [one for one in (*counters, *said) if isinstance(one, Varint)]
    wide = {integer.path for one in varints for integer in _counting_varint(nodes, one, computed)}
    grown = {path, *paths}, paths | wide  # a varint has a size, too
    if any(following(*grown, [(one, how) for one, how in computed if how is not None])):
        raise InPythonError
    undecided(nodes, {one.path for one in varints})
    for node in walk(nodes):
        for expression in (node.count, node.to, node.until, node.added) if isinstance(node, Repeated) else ():
            if agreeing(expression or 0, *grown):
                raise InPythonError
    return (*counters, *said)


def _said(
    nodes: tuple[Node, ...], meaning: Meaning, computed: Computed
) -> Iterator[tuple[Integer | Varint, Expression]]:
    """The integers that are computed, but for those that no frame can have wrong."""
    ids = {*meaning.id, *meaning.answer_id}
    read = [how for _, how in computed if how is not None]
    several = ChunkList | Integers | Repeated  # their size is how many there are
    plain = {path for one in walk(nodes) if not isinstance(one, several) for path in _paths(one)}
    wide = {size.path for one in (*read, *map(expression_of, walk(nodes))) for size in sizes_of(one)}
    for path, how in computed:
        found = [node for node in walk(nodes) if _path(node) == path]
        node = found[0] if len(found) == 1 else None
        if how is None or not isinstance(node, Integer | Varint) or path in ids:
            continue
        if isinstance(node, Varint) and path in wide:
            continue
        if not {size.path for size in sizes_of(how)} | fields_of(how) <= plain:
            continue
        measured = [node for node in walk(nodes) if isinstance(node, Section) and node.length == Field(path)]
        if not measured or any(how != Size(node.path, varint=False) for node in measured):
            yield node, how


def _counting_varint(nodes: tuple[Node, ...], varint: Varint, computed: Computed) -> tuple[Integer, ...]:
    """What counts the bytes of a varint.

    Raises:
        InPythonError: the engine cannot make right what does.
        DeclarationError: it cannot, and why.
    """
    told = {one for one, _ in computed}
    counters = counting(nodes, varint)
    paths = [one.path for one in counters if isinstance(one, Field) and one.path in told]
    again = following({varint.path}, set(paths), [(one, how) for one, how in computed if how is not None])
    once = {path: times == 1 for path, times in again}
    ways = [way_of(nodes, path) for path in (*paths, *once)]
    integers = tuple(one for one in ways if isinstance(one, Integer))
    if len(integers) < len(counters) + len(once) or not all(once.values()):
        raise InPythonError
    return integers


def _paths(node: Node) -> list[FieldPath | None]:
    return [path for path, _, _ in node.fields] if isinstance(node, Bits) else [_path(node)]


def _path(node: Node) -> FieldPath | None:
    return getattr(node, "path", None) if not isinstance(node, Choice) else None


def _is_ordered(nodes: tuple[Node, ...], order: tuple[FieldPath, ...]) -> bool:
    """Whether in every frame fields stand so behind each other."""
    places = {path: place for place, path in enumerate(order)}
    last = -1
    for node in nodes:
        ways: list[tuple[Node, ...]] = []
        if isinstance(node, Branch):
            ways = [node.then, node.otherwise]
        elif isinstance(node, Choice):
            ways = [case for _, case in node.cases] + [node.default or ()]
        if not all(_is_ordered(way, order) for way in ways):
            return False
        among = [one for way in ways for one in walk(way)] if ways else [node]
        inside: Any = [path for one in among for path in _paths(one)]
        found = [places[path] for path in inside if path in places]
        if found and min(found) <= last:
            return False
        last = max([last, *found])
    return True
