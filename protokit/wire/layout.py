"""A construct declaration read into nodes: what it lays out, with every reference resolved to a path.

With ``evaluation`` this is the only place that knows construct's insides. What is not in the vocabulary is
refused here, naming the field and what to use instead.
"""

from __future__ import annotations

import operator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import construct
from construct import expr

from protokit.errors import DeclarationError
from protokit.wire.given import seen
from protokit.wire.known import Asked
from protokit.wire.measures import Measured
from protokit.wire.repeats import Repeat
from protokit.wire.sides import SIDE, Side
from protokit.wire.vocabulary import Ahead, Chunks, Until, UntilEnd, UVar, varint_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Valued = Callable[[Any], int]

FieldPath = tuple[str, ...]
strict: ContextVar[bool] = ContextVar("strict", default=False)  # what is read decides what is laid out


@contextmanager
def strictly() -> Iterator[None]:
    """Texts are read as a layout reads them: what is no number, or is there twice in two ways, is wrong."""
    token = strict.set(True)
    try:
        yield
    finally:
        strict.reset(token)


def value_at(container: Any, path: FieldPath) -> Any:
    """What stands at a path; None where that branch is absent."""
    for name in path:
        if not isinstance(container, dict):
            return None
        container = container.get(name)
    return container


# Each part of an expression knows its value ``of`` parsed fields, by a function that is made once: where a
# codec is tried, frames are read by the hundred thousand.


@dataclass(frozen=True)
class Field:
    """The value of a field."""

    path: FieldPath

    @cached_property
    def of(self) -> Valued:
        """Its value."""
        path = self.path
        (name, *inside) = path
        if inside:
            return lambda container: 0 if (value := value_at(container, path)) is None else int(value)

        def of(container: Any) -> int:
            value = container.get(name) if isinstance(container, dict) else None
            return 0 if value is None else int(value)

        return of


@dataclass(frozen=True)
class Size:
    """The bytes that a section takes, or a varint; 0 where it is absent."""

    path: FieldPath
    varint: bool

    def of(self, container: Any) -> int:
        """Its value."""
        value = value_at(container, self.path)
        return 0 if value is None else varint_size(value) if self.varint else len(value)


@dataclass(frozen=True)
class Binary:
    """``left op right``; op is a name in OPERATORS."""

    op: str
    left: Any
    right: Any

    @cached_property
    def of(self) -> Valued:
        """Its value."""
        function, left, right = FUNCTIONS[self.op], self.left, self.right
        if isinstance(left, int):
            return lambda container: int(function(left, calculate(right, container)))
        before = left.of
        if isinstance(right, int):
            return lambda container: int(function(before(container), right))
        behind = right.of
        return lambda container: int(function(before(container), behind(container)))


@dataclass(frozen=True)
class Not:
    """1 where the operand is 0, else 0."""

    operand: Any

    def of(self, container: Any) -> int:
        """Its value."""
        return int(calculate(self.operand, container) == 0)


class Reading(expr.ExprMixin):  # type: ignore[misc]  # construct has no types
    """An integer that is found in a text (``readings.py``); it is computed with as fields are."""

    view: Any

    def get(self, container: Any) -> int:  # overridden
        """The integer, of a parsed frame."""
        raise NotImplementedError

    __hash__ = object.__hash__


class Laid(Reading):
    """A reading that a layout is computed from: of sections in front, and strict."""

    def __init__(self, reading: Any) -> None:
        self.reading = reading
        self.view = reading.view

    def get(self, container: Any) -> int:
        """The integer; wrong texts are errors."""
        with strictly():
            return int(self.reading.get(container))

    def __repr__(self) -> str:
        return repr(self.reading)


@dataclass(frozen=True, eq=False)
class Looked:
    """What a reading says, where all that it reads is there."""

    reading: Any

    def of(self, container: Any) -> int:
        """Its value."""
        return int(self.reading.get(container))


@dataclass(frozen=True)
class Sent:
    """Which side sent the frame, as a number in ``native.SIDES``."""

    @staticmethod
    def of(container: Any) -> int:
        """Its value."""
        return int(container.get(SIDE) or 0)


@dataclass(frozen=True, eq=False)
class Known:
    """What the request says that a frame answers."""

    asked: Asked

    @staticmethod
    def of(container: Any) -> int:  # noqa: ARG004  # what is parsed by itself answers nothing
        """Its value."""
        return 0


# An expression is an int, a Field, a Size, a Binary, a Not, a Looked, a Sent or a Known.
Expression = int | Field | Size | Binary | Not | Looked | Sent | Known


def calculate(expression: Expression, container: Any) -> int:
    """An expression's value on parsed fields; a field that is absent counts as 0."""
    return expression if isinstance(expression, int) else expression.of(container)


TERMS, DEPTH = 300, 160  # an expression with more, and so many operations in one another, is not gone through

OPERATORS = {
    operator.add: "ADD",
    operator.sub: "SUB",
    operator.mul: "MUL",
    operator.and_: "AND",
    operator.or_: "OR",
    operator.xor: "XOR",
    operator.lshift: "SHL",
    operator.rshift: "SHR",
    operator.eq: "EQ",
    operator.ne: "NE",
    operator.lt: "LT",
    operator.le: "LE",
    operator.gt: "GT",
    operator.ge: "GE",
}
FUNCTIONS = {name: function for function, name in OPERATORS.items()}


@dataclass(frozen=True)
class Integer:
    """``width`` bytes."""

    path: FieldPath
    width: int
    little: bool
    signed: bool


@dataclass(frozen=True)
class Peeked:
    """An integer of ``width`` bytes that the next field begins with."""

    path: FieldPath
    width: int
    little: bool
    signed: bool


@dataclass(frozen=True)
class Bits:
    """``width`` bytes of bit fields: (path, shift from the right, bits)."""

    width: int
    fields: tuple[tuple[FieldPath, int, int], ...]


@dataclass(frozen=True)
class Literal:
    """Bytes that are always the same."""

    path: FieldPath
    data: bytes


@dataclass(frozen=True)
class Section:
    """Bytes of a computed length."""

    path: FieldPath
    length: Expression


@dataclass(frozen=True)
class Integers:
    """An array of integers, each the length of a chunk."""

    path: FieldPath
    count: Expression
    width: int
    little: bool
    signed: bool


@dataclass(frozen=True)
class ChunkList:
    """Sections whose lengths are ``lengths``."""

    path: FieldPath
    lengths: FieldPath


@dataclass(frozen=True)
class Delimited:
    """Bytes up to a delimiter."""

    path: FieldPath
    delimiter: bytes
    max: int


@dataclass(frozen=True)
class Region:
    """Bytes that say themselves where they end; ``how`` reads them in Python."""

    path: FieldPath
    how: Measured


@dataclass(frozen=True)
class Rest:
    """Bytes up to their sender's end."""

    path: FieldPath


@dataclass(frozen=True)
class Repeated:
    """Parts one behind the other: up to one for which ``until`` holds, or ``count``, or up to a sum.

    ``added`` is what each adds to that, ``to`` what it comes to; ``how`` reads them in Python.
    """

    path: FieldPath
    part: tuple[Any, ...]
    until: Expression | None
    count: Expression | None
    added: Expression
    to: Expression | None
    how: Repeat


@dataclass(frozen=True)
class Varint:
    """LEB128."""

    path: FieldPath
    bytes: int


@dataclass(frozen=True)
class Condition:
    """What must hold."""

    path: FieldPath
    test: Expression


@dataclass(frozen=True)
class Branch:
    """One of two, by a test."""

    test: Expression
    then: tuple[Any, ...]
    otherwise: tuple[Any, ...]


@dataclass(frozen=True)
class Choice:
    """One of several, by a key; ``default`` None: any other key is wrong."""

    path: FieldPath
    key: Expression
    cases: tuple[tuple[int, tuple[Any, ...]], ...]
    default: tuple[Any, ...] | None


Node = (
    Integer
    | Peeked
    | Bits
    | Literal
    | Section
    | Integers
    | ChunkList
    | Delimited
    | Region
    | Rest
    | Repeated
    | Varint
    | Condition
    | Branch
    | Choice
)


def show(path: FieldPath) -> str:
    """A path as a person writes it."""
    return ".".join(path) or "the format"


def _refuse(path: FieldPath, why: str) -> DeclarationError:
    return DeclarationError(f"{show(path)}: {why}")


def _kind(subcon: Any) -> str:
    return type(subcon).__name__ if isinstance(subcon, construct.Construct) else seen(subcon)


def resolve(value: Any, scope: FieldPath, at: FieldPath) -> Expression:
    """An expression of construct's, with paths from the root.

    Args:
        value: an int, ``this...``, or operations on them.
        scope: the path of the Struct that ``this`` means.
        at: the field that the expression is for; errors name it.
    """
    if isinstance(value, bool | int):
        return int(value)
    if _is_too_long(value):
        raise _refuse(
            at,
            f"its expression has over {TERMS} terms; say ranges where there are, (this.type >= 1) & "
            "(this.type <= 99), or of texts isin(view, {...})",
        )
    return _resolved(value, scope, at)


def _is_too_long(value: Any) -> bool:
    """Asked without recursion: an expression may be of any depth."""
    left, terms, deepest = [(value, 0)], 0, 0
    while left and (terms <= TERMS or deepest <= DEPTH):
        one, depth = left.pop()
        deepest = max(deepest, depth)
        if isinstance(one, expr.BinExpr):
            left += [(one.lhs, depth + 1), (one.rhs, depth + 1)]
        elif isinstance(one, expr.UniExpr):
            left.append((one.operand, depth + 1))
        else:
            terms += 1
    return terms > TERMS and deepest > DEPTH


def _resolved(value: Any, scope: FieldPath, at: FieldPath) -> Expression:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, Side):
        return Sent()
    if isinstance(value, Asked):
        return Known(value)
    if isinstance(value, expr.BinExpr):
        name = OPERATORS.get(value.op)
        if name is None:
            raise _refuse(
                at,
                f"the operation in {value} is not in the vocabulary; use + - * & | ^ << >> and comparisons",
            )
        return Binary(name, _resolved(value.lhs, scope, at), _resolved(value.rhs, scope, at))
    if isinstance(value, expr.UniExpr):
        if value.op is operator.not_:
            return Not(_resolved(value.operand, scope, at))
        return Binary("SUB", 0, _resolved(value.operand, scope, at))
    if isinstance(value, expr.Path):
        return Field(path_of(value, scope, at))
    if isinstance(value, expr.FuncPath):
        return _size(value, scope, at)
    if isinstance(value, Reading):
        return Looked(value)
    if callable(value):
        raise _refuse(
            at,
            "a lambda or function cannot be compiled; write an expression with this, or use the native tier",
        )
    raise _refuse(
        at,
        f"{seen(value)} is no expression: compute with this.NAME and integers; a view is compared with a "
        "text, or read by number(view)",
    )


def _size(value: Any, scope: FieldPath, at: FieldPath) -> Size:
    inner = vars(value)  # construct shows it no other way
    function, operand = inner["_FuncPath__func"], inner["_FuncPath__operand"]
    if function not in {len, varint_size} or not isinstance(operand, expr.Path):
        raise _refuse(
            at,
            f"a function of {seen(operand)} is not in the vocabulary; there are len_(this.SECTION) and, of a "
            "UVar, size_(this.NAME)",
        )
    return Size(path_of(operand, scope, at), varint=function is varint_size)


def path_of(value: Any, scope: FieldPath, at: FieldPath) -> FieldPath:
    """The path from the root that ``this.x``, ``this._.x`` or ``this._root.x`` means."""
    names: list[str] = []
    while value._Path__parent is not None:  # noqa: SLF001  # construct 2.10 shows it no other way
        names.append(value._Path__field)  # noqa: SLF001
        value = value._Path__parent  # noqa: SLF001
    found = list(scope)
    for name in reversed(names):
        if not isinstance(name, str):
            raise _refuse(
                at,
                "an array's element cannot be named (this.x[i]); Chunks(this.x) lays sections out by lengths",
            )
        if name == "_":
            if not found:
                raise _refuse(at, "'_' leads out of the format")
            found.pop()
        elif name == "_root":
            found = []
        else:
            found.append(name)
    return tuple(found)


class _Reader:
    """Reads subconstructs into nodes; ``known`` are the paths so far, for references that dangle."""

    def __init__(self) -> None:
        self.known: dict[FieldPath, None] = {}  # in the order of the frame
        self.named: set[FieldPath] = set()
        self.rebuilt: list[tuple[FieldPath, Any, FieldPath]] = []  # with how, and the scope of ``this`` there

    def check(self, expression: Expression, at: FieldPath) -> Expression:
        for path in fields_of(expression):
            if path not in self.known:
                raise _refuse(at, f"this.{show(path)} is not a field in front of it; {self.there()}")
            if path in self.named:
                raise _refuse(at, f"this.{show(path)} is mapped to names; compute with the plain integer")
        return expression

    def there(self) -> str:
        """The fields so far, as a person reads them."""
        names = [show(path) for path in self.known if not path[-1].startswith("#")]
        if not names:
            return "there is none"
        return f"there are {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}"

    def expression(self, value: Any, scope: FieldPath, at: FieldPath) -> Expression:
        return _laid(self.check(resolve(value, scope, at), at))

    def struct(self, struct: Any, scope: FieldPath) -> tuple[Node, ...]:
        nodes: list[Node] = []
        seen: set[str] = set()
        for number, subcon in enumerate(struct.subcons):
            name = subcon.name
            if name is not None and name in seen:
                raise _refuse(
                    (*scope, name), "the name is used twice in one Struct: the last would win silently"
                )
            if name is not None:
                seen.add(name)
            nodes += self.node(subcon, scope, (*scope, name) if name else (*scope, f"#{number}"))
        return tuple(nodes)

    def node(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        while isinstance(
            subcon, construct.Renamed | construct.Rebuild | construct.Default | construct.Adapter
        ):
            if isinstance(subcon, construct.Adapter) and type(subcon) not in _TRANSPARENT:
                raise _refuse(path, f"{type(subcon).__name__} is not in the vocabulary: it may do anything")
            if isinstance(subcon, construct.Enum | construct.FlagsEnum | construct.Mapping):
                self.named.add(path)
            if isinstance(subcon, construct.Rebuild):
                self.rebuilt.append((path, subcon.func, scope))
            subcon = subcon.subcon
        if isinstance(subcon, construct.Struct):
            return self.struct(subcon, path)
        read = _READERS.get(type(subcon))
        if read is None:
            raise _refuse(path, f"{_kind(subcon)} is not in the vocabulary. {_hint(subcon)}")
        nodes: tuple[Node, ...] = read(self, subcon, scope, path)
        self.known[path] = None
        return nodes

    def integer(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        if isinstance(subcon, construct.BytesInteger):
            if not isinstance(subcon.length, int) or not 1 <= subcon.length <= 8:
                raise _refuse(
                    path, "an integer has a fixed width of 1 to 8 bytes; declare a wider one as Bytes(n)"
                )
            return (Integer(path, subcon.length, bool(subcon.swapped), bool(subcon.signed)),)
        order, kind = subcon.fmtstr[0], subcon.fmtstr[1:]
        if kind.upper() not in {"B", "H", "L", "I", "Q"}:
            raise _refuse(path, "floating point is not in the vocabulary; declare it as Bytes")
        return (Integer(path, subcon.length, order == "<", kind.islower()),)

    def bits(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        inner = subcon.subcon
        if not isinstance(inner, construct.Struct) or subcon.decodefunc is not construct.core.bytes2bits:
            raise _refuse(
                path,
                "of the transformations only BitStruct is in the vocabulary; declare the bytes, "
                "and read them with a view or a step",
            )
        sizes: list[tuple[FieldPath, int]] = []
        for field in inner.subcons:
            plain = field.subcon if isinstance(field, construct.Renamed) else field
            size = 1 if plain is construct.Flag else getattr(plain, "length", None)
            if isinstance(plain, construct.Padded) or field.name is None:
                raise _refuse(path, "name every bit field, reserved ones too: their bits must survive")
            if not isinstance(size, int) or not (
                plain is construct.Flag or isinstance(plain, construct.BitsInteger)
            ):
                raise _refuse(
                    (*path, field.name), f"a bit field is a Flag or BitsInteger(n), no {_kind(plain)}"
                )
            sizes.append(((*path, field.name), size))
        total = sum(size for _, size in sizes)
        if total % 8 or total > 64 or any(size > 31 for _, size in sizes):
            raise _refuse(path, "bit fields fill 1 to 8 whole bytes, none wider than 31 bits")
        fields, shift = [], total
        for name, size in sizes:
            shift -= size
            fields.append((name, shift, size))
            self.known[name] = None
        return (Bits(total // 8, tuple(fields)),)

    def const(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        return (Literal(path, subcon.build(None)),)

    def bytes(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        return (Section(path, self.expression(subcon.length, scope, path)),)

    def prefixed(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        if not isinstance(subcon.subcon, type(construct.GreedyBytes)):
            raise _refuse(
                path,
                f"Prefixed holds GreedyBytes, no {_kind(subcon.subcon)}; lay structs out "
                f"behind a length of their own",
            )
        size = (*path, "size")
        front = self.node(subcon.lengthfield, scope, size)
        self.known.pop(size)  # it has no name
        length: Expression = Field(size)
        if subcon.includelength:
            if not isinstance(front[0], Integer):
                raise _refuse(path, "a length that counts itself is an integer of fixed width")
            length = Binary("SUB", length, front[0].width)
        return (*front, Section(path, length))

    def branch(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        test = self.expression(subcon.condfunc, scope, path)
        then = self.node(subcon.thensubcon, scope, path)
        otherwise = self.node(subcon.elsesubcon, scope, path)
        return (Branch(test, then, otherwise),)

    def choice(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        key = self.expression(subcon.keyfunc, scope, path)
        if subcon.default is construct.Pass:
            raise _refuse(path, "a Switch without default lets unknown keys through; add default=Error")
        for value in subcon.cases:
            if not isinstance(value, int):
                raise _refuse(
                    path,
                    f"the case {seen(value)} of a Switch is no integer; name cases by the "
                    "numbers on the wire",
                )
        cases = tuple((int(value), self.node(case, scope, path)) for value, case in subcon.cases.items())
        wrong = isinstance(subcon.default, type(construct.Error))
        default = None if wrong else self.node(subcon.default, scope, path)
        return (Choice(path, key, cases, default),)

    def array(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        items = self.node(subcon.subcon, scope, (*path, "item"))
        item = items[0] if len(items) == 1 else None
        if not isinstance(item, Integer) or item.path != (*path, "item"):
            raise _refuse(
                path,
                "an Array holds integers, the lengths of Chunks; it was given a "
                f"{type(subcon.subcon).__name__}. For rows of fields write Repeat(ROW, count=this.n), or "
                "declare the bytes that hold them, and read those with a view or a step",
            )
        count = self.expression(subcon.count, scope, path)
        return (Integers(path, count, item.width, item.little, item.signed),)

    def chunks(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        if not isinstance(subcon.lengths, expr.Path):
            raise _refuse(
                path, f"Chunks takes the array of lengths, Chunks(this.lens), not {seen(subcon.lengths)}"
            )
        where = path_of(subcon.lengths, scope, path)
        self.check(Field(where), path)
        return (ChunkList(path, where),)

    def until(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        return (Delimited(path, subcon.delimiter, subcon.max),)

    def varint(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        return (Varint(path, subcon.bytes),)

    def ahead(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        nodes = self.node(subcon.subcon, scope, path)
        one = nodes[0] if len(nodes) == 1 else None
        if not isinstance(one, Integer) or one.path != path:
            raise _refuse(path, "Ahead is of an integer of fixed width, such as Ahead(Int8ub)")
        return (Peeked(path, one.width, one.little, one.signed),)

    def measured(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        return (Region(path, subcon),)

    def rest(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        return (Rest(path),)

    def repeated(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        from protokit.wire.evaluation import evaluated  # noqa: PLC0415  # it reads nodes, too

        before = dict(self.known)
        count = None if subcon.count is None else self.expression(subcon.count, scope, path)
        to = None if subcon.to is None else self.expression(subcon.to, scope, path)
        inside = path if isinstance(subcon.subcon, construct.Struct) else (*path, "part")
        part = self.node(subcon.subcon, scope, inside)
        if inside != path and (subcon.until is not None or subcon.adding is not None):
            raise _refuse(path, "until and adding read the fields of a part: declare it as a Struct")
        until = None if subcon.until is None else self.expression(subcon.until, path, path)
        added = 0 if subcon.adding is None else self.expression(subcon.adding, path, path)
        inner = [until or 0, added, *(expression_of(node) for node in walk(part))]
        if any(readings_of(one) for one in inner):
            raise _refuse(
                path, "parts are laid out by fields alone; a view is read in front of them, or behind"
            )
        if least(part) == 0:
            raise _refuse(path, "a part may have no bytes, and there would be no end of them")
        self.known = before  # outside, the fields of a part are nobody's
        return (Repeated(path, part, until, count, added, to, evaluated(subcon, scope, path[-1])),)

    def condition(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        return (Condition(path, self.expression(subcon.func, scope, path)),)

    def nothing(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        return ()


_TRANSPARENT = {construct.Enum, construct.FlagsEnum, construct.Mapping, construct.Hex, construct.HexDump}
_READERS: dict[type, Any] = {
    construct.FormatField: _Reader.integer,
    construct.BytesInteger: _Reader.integer,
    construct.Transformed: _Reader.bits,
    construct.Const: _Reader.const,
    construct.Bytes: _Reader.bytes,
    construct.Prefixed: _Reader.prefixed,
    construct.IfThenElse: _Reader.branch,
    construct.Switch: _Reader.choice,
    construct.Array: _Reader.array,
    construct.Check: _Reader.condition,
    type(construct.Pass): _Reader.nothing,
    Ahead: _Reader.ahead,
    Chunks: _Reader.chunks,
    Measured: _Reader.measured,
    Repeat: _Reader.repeated,
    Until: _Reader.until,
    UntilEnd: _Reader.rest,
    UVar: _Reader.varint,
}
_HINTS = {
    "Padded": "Name the field: Bytes(n), so that reserved bytes survive.",
    "GreedyRange": "A truncated map would give a short list: use a view such as pairs() over Bytes, or "
    "Repeat with a count or a flag.",
    "NullTerminated": "Use Until(delimiter, max).",
    "VarInt": "Use UVar(bytes), which is bounded.",
    "GreedyBytes": "A frame must say its length: Bytes(this.n) or Prefixed. Where a server's end tells it: "
    "If(side == 'server', UntilEnd()).",
    "Peek": "Use Ahead(Int8ub): an integer that comes next, and stays there.",
    "RepeatUntil": "Use Repeat(part, until=this.last == 1), or Until(delimiter, max).",
}


def _hint(subcon: Any) -> str:
    name = type(subcon).__name__
    return _HINTS.get(name, "Declare the frame without it, or use the native tier (protokit/codec.h).")


def fields_of(expression: Expression) -> set[FieldPath]:
    """The paths that an expression reads."""
    if isinstance(expression, Field | Size):
        return {expression.path}
    if isinstance(expression, Binary):
        return fields_of(expression.left) | fields_of(expression.right)
    if isinstance(expression, Not):
        return fields_of(expression.operand)
    return set()


def _laid(expression: Expression) -> Expression:
    """An expression of a layout: its readings are strict."""
    if isinstance(expression, Looked):
        return Looked(Laid(expression.reading))
    if isinstance(expression, Binary):
        return Binary(expression.op, _laid(expression.left), _laid(expression.right))
    return Not(_laid(expression.operand)) if isinstance(expression, Not) else expression


def expression_of(node: Node) -> Expression:
    """What a node's size, or what is there of it, is computed from; 0 where it is fixed."""
    if isinstance(node, Section):
        return node.length
    if isinstance(node, Integers):
        return node.count
    if isinstance(node, Condition | Branch):
        return node.test
    return node.key if isinstance(node, Choice) else 0


def sizes_of(expression: Expression) -> set[Size]:
    """The sizes that an expression reads."""
    if isinstance(expression, Size):
        return {expression}
    if isinstance(expression, Binary):
        return sizes_of(expression.left) | sizes_of(expression.right)
    return sizes_of(expression.operand) if isinstance(expression, Not) else set()


def readings_of(expression: Expression) -> list[Any]:
    """The readings in an expression, in their order."""
    if isinstance(expression, Looked):
        return [expression.reading]
    if isinstance(expression, Binary):
        return readings_of(expression.left) + readings_of(expression.right)
    if isinstance(expression, Not):
        return readings_of(expression.operand)
    return []


def known_of(expression: Expression) -> list[Asked]:
    """What an expression wants to know of the request."""
    if isinstance(expression, Known):
        return [expression.asked]
    if isinstance(expression, Binary):
        return known_of(expression.left) + known_of(expression.right)
    return known_of(expression.operand) if isinstance(expression, Not) else []


def written(expression: Expression) -> str:
    """An expression as a person writes it."""
    signs = {"EQ": "==", "NE": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">=", "ADD": "+", "SUB": "-"}
    signs |= {"MUL": "*", "AND": "&", "OR": "|", "XOR": "^", "SHL": "<<", "SHR": ">>"}
    if isinstance(expression, Field):
        return show(expression.path)
    if isinstance(expression, Size):
        return f"the size of {show(expression.path)}"
    if isinstance(expression, Looked):
        return repr(expression.reading)
    if isinstance(expression, Known):
        return f"asked({written(resolve(expression.asked.value, (), ('asked',)))})"
    if isinstance(expression, Sent):
        return "side"
    if isinstance(expression, Not):
        return f"not {written(expression.operand)}"
    if isinstance(expression, int):
        return str(expression)
    return f"({written(expression.left)} {signs[expression.op]} {written(expression.right)})"


def read(declaration: Any) -> tuple[Node, ...]:
    """The nodes of a declaration.

    Args:
        declaration: a ``construct.Struct``.

    Raises:
        DeclarationError: something in it cannot be compiled; it names the field.
    """
    if not isinstance(declaration, construct.Struct):
        raise DeclarationError(f"a format is a construct.Struct, not {seen(declaration)}")
    return _Reader().struct(declaration, ())


def rebuilt(declaration: Any) -> Iterator[tuple[FieldPath, Expression]]:
    """The fields that an expression computes when a frame is built; of a declaration that was read."""
    reader = _Reader()
    reader.struct(declaration, ())
    for path, func, scope in reader.rebuilt:
        if not isinstance(func, expr.ExprMixin):
            continue
        expression = resolve(func, scope, path)
        if path in fields_of(expression):
            raise _refuse(path, "it is computed from itself; let Rebuild count sections: len_(this.body)")
        yield path, expression


def least(nodes: tuple[Node, ...]) -> int:
    """The fewest bytes that they take."""
    return sum(_least(node) for node in nodes)


def _least(node: Node) -> int:
    if isinstance(node, Integer | Bits):
        return node.width
    if isinstance(node, Literal):
        return len(node.data)
    if isinstance(node, Section):
        return node.length if isinstance(node.length, int) else 0
    if isinstance(node, Delimited):
        return len(node.delimiter)
    if isinstance(node, Varint | Region):
        return 1
    if isinstance(node, Repeated):
        return 0 if node.until is None else least(node.part)
    if isinstance(node, Branch):
        return min(least(node.then), least(node.otherwise))
    if isinstance(node, Choice):
        cases = [case for _, case in node.cases] + ([] if node.default is None else [node.default])
        return min(map(least, cases))
    return 0


def walk(nodes: tuple[Node, ...]) -> list[Node]:
    """All nodes, those in branches too."""
    found: list[Node] = []
    for node in nodes:
        found.append(node)
        if isinstance(node, Branch):
            found += walk(node.then) + walk(node.otherwise)
        elif isinstance(node, Choice):
            for _, case in node.cases:
                found += walk(case)
            found += walk(node.default or ())
    return found
