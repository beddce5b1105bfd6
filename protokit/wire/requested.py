"""What is repeated of a frame: ``FromRequest``, ``FromPeer``, and the parts that are kept for them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from construct import expr

from protokit.errors import DeclarationError, word
from protokit.wire import views
from protokit.wire.counted import flat
from protokit.wire.encodings import LineEncoding, PairEncoding
from protokit.wire.expressions import (
    Binary,
    Expression,
    Field,
    FieldPath,
    Looked,
    Not,
    Sent,
    Size,
    calculate,
    path_of,
    show,
    written,
)
from protokit.wire.given import flag, within
from protokit.wire.ids import ByteId
from protokit.wire.nodes import (
    Bits,
    ChunkList,
    Delimited,
    Integer,
    Node,
    Peeked,
    Region,
    Repeated,
    Rest,
    Section,
    Varint,
    walk,
)
from protokit.wire.readings import unreadable_is_absent
from protokit.wire.repeats import signed
from protokit.wire.structures import Structure
from protokit.wire.words import first

if TYPE_CHECKING:
    from protokit.wire.program import Emit

PARTS = 7
ROOM = 256  # bytes, with one in front of each part of variable size
TEXT_MAX = 255
CUT, WHOLE, FIXED, INTEGER, VARINT = range(5)


@word
class FromRequest:
    """In a reply's values: what stands in the request that is answered.

    Args:
        field: ``this.NAME``, an integer, a UVar or a section; or a view, such as ``HEAD["id"]``; or an
            integer that is computed, such as ``number(HEAD["id"])`` or ``table(this.op, {1: 2}, 0)``; or
            what ``byte_id`` gave: the id as it stands there.
        max: the most bytes of it, 255 at most; without it what is left of the room (256 bytes for all
            parts, one more each) is shared.
        whole: what is longer is left out; else it is cut.
    """

    def __init__(self, field: Any, *, max: int | None = None, whole: bool = False) -> None:  # noqa: A002  # as of Until
        name = type(self).__name__
        if max is not None:
            within(f"{name}: max=", max, 1, TEXT_MAX, f"1 to {TEXT_MAX} bytes can be kept")
        flag(f"{name}: whole=", whole)
        if isinstance(field, str):
            raise DeclarationError(
                f"{name}: {field!r} is a text of its own; write this.{field}, or the text alone"
            )
        if isinstance(field, ByteId):
            max = max or field.most  # noqa: A001
            given = field.fields if field.view is None else (field.view,)
            field = given[0] if len(given) == 1 else first(*given)
        self.field = field
        self.max = max
        self.whole = whole
        self.place: Place | None = None

    @cached_property
    def view(self) -> views.View:
        """How it is found; of an integer that is computed, as its digits."""
        one, table = self.field, isinstance(self.field, views.Table)
        if table or (isinstance(one, expr.ExprMixin) and not isinstance(one, expr.Path)):
            return views.Decimal(one.value if table else one)
        return views.as_view(one, type(self).__name__)

    @property
    def table(self) -> views.Table | None:
        """Where the integer that is computed leads."""
        return self.field if isinstance(self.field, views.Table) else None

    def computes(self, nodes: tuple[Node, ...]) -> Expression | None:
        """The integer that is computed; None where it is a text, or a field that stands there as it is."""
        if isinstance(self.view, views.Decimal) and not isinstance(self.field, views.View):
            return self.view.value
        if not isinstance(self.field, expr.Path):
            return None
        path = path_of(self.field, (), (type(self).__name__,))
        small = {name for node in walk(nodes) if isinstance(node, Bits) for name, _, _ in node.fields}
        small |= {node.path for node in walk(nodes) if isinstance(node, Peeked)}
        return Field(path) if path in small else None

    @cached_property
    def key(self) -> Any:
        """What is the same of two that mean the same."""
        table = () if self.table is None else (*sorted(self.table.entries.items()), self.table.default)
        return (_key(self.view), table, self.max, self.whole, self.place)


class FromPeer(FromRequest):
    """In a step of a greeting: what stands in the greeting that the peer said last; as ``FromRequest``."""


@dataclass(frozen=True)
class Place:
    """An integer that takes what is computed: which values it has room for."""

    least: int
    most: int
    width: int
    varint: int = 0  # the most bytes of a UVar

    def fitted(self, value: int) -> int:
        """The value, or 0 where it is none of them; what is computed has 64 bits."""
        if self.most >> 63:
            return value % (1 << 64)
        return value if self.least <= signed(value) <= self.most else 0


@dataclass(frozen=True)
class Part:
    """Something that is kept of a request, as the engine has it (``pk_program_part``).

    Attributes:
        view: how it is found; of an integer too, whose path it has.
        most: bytes that are kept.
        usual: of fixed size, what it is unless something else is found; zeros where that is not known.
        bytes: the most that a UVar takes.
        value: of an integer that is computed.
        table: where that leads.
        place: where it stands.
    """

    view: views.View
    form: int
    most: int
    usual: bytes = b""
    bytes: int = 0
    value: Expression | None = None
    table: views.Table | None = None
    place: Place | None = None

    @property
    def is_integer(self) -> bool:
        """Whether it is kept as a number, and no text."""
        return self.form in {INTEGER, VARINT}

    @property
    def grows(self) -> int:
        """Bytes that it may have more than where nothing was kept."""
        if self.form == VARINT:
            return self.bytes - 1
        return self.most if self.form in {CUT, WHOLE} else 0

    def grown(self, more: int) -> Any:
        """What stands there when it has so many bytes more, as many as it may."""
        if self.form == VARINT:
            size = min(more, self.grows)
            return 1 << 7 * size if size else 0
        return self.empty if self.is_integer else self.empty + b"x" * more

    @property
    def path(self) -> FieldPath:
        """Of an integer."""
        return self.view.path if isinstance(self.view, views.Text) else ()

    def of(self, request: Any) -> Any:
        """What a reply is given of a parsed request."""
        if request is None:
            return self.empty
        if self.place is not None:
            with unreadable_is_absent():
                value = calculate(0 if self.value is None else self.value, request)
            table = self.table
            return self.place.fitted(value if table is None else table.entries.get(value, table.default))
        if self.is_integer:
            return views.value_at(request, self.path) or 0
        with unreadable_is_absent():
            found = self.view.get(request) or b""
        if self.form == FIXED:
            return found.ljust(self.most, b"\0")
        return b"" if self.form == WHOLE and len(found) > self.most else found[: self.most]

    @property
    def empty(self) -> Any:
        """What stands there where nothing was kept."""
        if self.form == FIXED:
            return self.usual or b"\0" * self.most
        return 0 if self.is_integer else b""


_WHO = {FromRequest: ("replies repeat", "a request"), FromPeer: ("a greeting repeats", "the peer's")}


class Parts:
    """All that the replies of a format repeat, or the steps of its greeting.

    Args:
        nodes: of the format.
        replies: the values of each.
        mark: what stands there for it: ``FromRequest`` or ``FromPeer``.

    Raises:
        DeclarationError: it is more than can be kept.
    """

    def __init__(
        self,
        nodes: tuple[Node, ...],
        replies: Iterable[Mapping[str, Any]],
        mark: type[FromRequest] = FromRequest,
    ) -> None:
        self.mark = mark
        self.nodes = nodes
        self.source = "the request" if mark is FromRequest else "the peer"
        name, (who, whose) = mark.__name__, _WHO[mark]
        asked = {one.key: one for values in replies for one in _all(self.placed(values)) if type(one) is mark}
        for one in asked.values():
            if one.place is None and (value := one.computes(nodes)) is not None:
                raise DeclarationError(
                    f"Counted: {name} of {written(value)} is an integer; write "
                    f"{name}(decimal({written(value)})), or the view itself"
                )
        if len(asked) > PARTS:
            raise DeclarationError(f"{name}: {who} {len(asked)} parts of {whose}, at most {PARTS} are kept")
        fixed = {key: _fixed(nodes, one) for key, one in asked.items()}
        taken = sum(
            part.most if part else (one.max or 0) + 1
            for part, one in zip(fixed.values(), asked.values(), strict=True)
        )
        open_ = [key for key, one in asked.items() if fixed[key] is None and one.max is None]
        share = min((ROOM - taken) // max(len(open_), 1), TEXT_MAX)
        if share < int(bool(open_)):
            raise DeclarationError(
                f"{name}: the parts that {who} take {taken} bytes, of {ROOM} that are kept; "
                f"say how long they may be: {name}(this.NAME, max=32)"
            )
        self.numbers = {key: number for number, key in enumerate(asked)}
        self.all = tuple(
            fixed[key] or Part(one.view, WHOLE if one.whole else CUT, one.max or share)
            for key, one in asked.items()
        )

    def placed(self, values: Mapping[str, Any], at: FieldPath = ()) -> dict[str, Any]:
        """The same values; what is computed knows where it stands.

        Raises:
            DeclarationError: it has no place there.
        """
        found: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, Mapping):
                found[name] = self.placed(value, (*at, name))
            elif isinstance(value, list):
                found[name] = [self._placed(one, (*at, name)) for one in value]
            else:
                found[name] = self._placed(value, (*at, name))
        return found

    def _placed(self, one: Any, at: FieldPath) -> Any:
        if not isinstance(one, FromRequest) or (value := one.computes(self.nodes)) is None:
            return one
        places = {
            place
            for node in walk(self.nodes)
            if getattr(node, "path", None) == at
            for place in _place_of(node)
        }
        name, what = type(one).__name__, show(at)
        if not places:
            raise DeclarationError(
                f"{what}: {name} of {written(value)} is an integer, and stands in one of whole bytes or in a "
                f"UVar; in a text write {name}(decimal({written(value)})), or the view itself"
            )
        if len(places) > 1:
            raise DeclarationError(
                f"{what}: it is one integer in one branch and another in another, and {name} has to know how "
                "much fits: give each branch a name of its own"
            )
        placed = copy.copy(one)
        vars(placed).pop("key", None)
        (placed.place,) = places
        if isinstance(one.field, expr.Path):  # bits, or what was looked at ahead
            placed.view = views.Decimal(one.field)
        self._check_table(placed, what)
        return placed

    @staticmethod
    def _check_table(one: FromRequest, what: str) -> None:
        table, place = one.table, one.place
        for value in () if table is None else (*table.entries.values(), table.default):
            if place is not None and place.fitted(value) != value:
                raise DeclarationError(f"{what}: {type(one).__name__}({table!r}): {value} does not fit there")

    @staticmethod
    def room(piece: Emit) -> int:
        """Bytes that a piece of a reply may take of it."""
        return TEXT_MAX if piece.what.startswith("EMIT_PART") else 0

    def number(self, one: FromRequest) -> int:
        """Which part that is."""
        return self.numbers[one.key]

    def of(self, one: FromRequest) -> Part:
        """The part that is kept for it."""
        return self.all[self.number(one)]


def _place_of(node: Node) -> Iterator[Place]:
    if isinstance(node, Integer):
        bits, sign = 8 * node.width, int(node.signed)
        yield Place(-sign << bits - 1, (1 << bits - sign) - 1, node.width)
    elif isinstance(node, Varint):
        yield Place(0, (1 << min(7 * node.bytes, 64)) - 1, 8, node.bytes)


def _all(values: Mapping[str, Any]) -> Iterator[FromRequest]:
    for value in values.values():
        if isinstance(value, Mapping):
            yield from _all(value)
        for one in flat(value):
            if isinstance(one, FromRequest):
                yield one


def _fixed(nodes: tuple[Node, ...], one: FromRequest) -> Part | None:
    """A part that always has the same size."""
    if (place := one.place) is not None:
        form = VARINT if place.varint else INTEGER
        value, table = one.computes(nodes), one.table
        return Part(one.view, form, place.width, b"", place.varint, value, table, place)
    if isinstance(one.field, views.Chosen) and one.field.default is not None:
        sizes = {len(name) for name in (one.field.default, *one.field.names.values())}
        most = max(sizes)
        same = len(sizes) == 1 and 0 < most <= (one.max or TEXT_MAX)
        return Part(one.view, FIXED, most, one.field.default) if same else None
    if not isinstance(one.field, expr.Path):
        return None
    name = type(one).__name__
    path = path_of(one.field, (), (name,))
    found = [node for node in walk(nodes) if getattr(node, "path", None) == path]
    integers = {node.width for node in found if isinstance(node, Integer)}
    if len(integers) == 1 and all(isinstance(node, Integer) for node in found):
        return Part(one.view, INTEGER, integers.pop())
    varints = [node.bytes for node in found if isinstance(node, Varint)]
    if varints and len(varints) == len(found):
        return Part(one.view, VARINT, 8, bytes=max(varints))
    lengths = {node.length for node in found if isinstance(node, Section)}
    if len(lengths) == 1 and all(isinstance(node, Section) for node in found):
        (size,) = lengths
        if isinstance(size, int) and 0 < size <= (one.max or TEXT_MAX):
            return Part(one.view, FIXED, size)
    if not any(
        isinstance(node, Section | Delimited | ChunkList | Region | Rest | Repeated) for node in found
    ):
        raise DeclarationError(
            f"{name}: {show(path)} is no field of the format that is an integer, a UVar or a section"
        )
    return None


def _key(value: Any) -> Any:
    """Of a view, whatever it is made of."""
    if isinstance(value, views.View | views.Split | views.Pairs | views.Found):
        return (type(value).__name__, *((name, _key(inner)) for name, inner in sorted(vars(value).items())))
    if isinstance(value, tuple):
        return tuple(_key(one) for one in value)
    if isinstance(value, Structure):
        return (value.step.name, value.section.path, value.options)
    if isinstance(value, PairEncoding | LineEncoding):
        return repr(value)
    if isinstance(value, Field | Looked | Not | Binary | Sent | Size):
        return written(value)
    if isinstance(value, dict):
        return tuple(sorted(value.items()))
    return value if isinstance(value, int | str | bytes) else id(value)
