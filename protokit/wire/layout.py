"""A construct declaration read into nodes: what it lays out, with every reference resolved to a path.

With ``expressions`` and ``evaluation`` this is the only place that knows construct's insides. What is not in
the vocabulary is refused here, naming the field and what to use instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import construct
from construct import expr

from protokit.errors import DeclarationError
from protokit.wire.expressions import (
    Binary,
    Expression,
    Field,
    FieldPath,
    computable,
    fields_of,
    laid,
    path_of,
    readings_of,
    refuse,
    resolve,
    show,
)
from protokit.wire.given import seen
from protokit.wire.measures import Measured
from protokit.wire.nodes import (
    Bits,
    Branch,
    Choice,
    ChunkList,
    Condition,
    Delimited,
    Integer,
    Integers,
    Literal,
    Node,
    Peeked,
    Region,
    Repeated,
    Rest,
    Section,
    Varint,
    expression_of,
    least,
    walk,
)
from protokit.wire.repeats import Repeat
from protokit.wire.vocabulary import Ahead, Chunks, Until, UntilEnd, UVar, lengths

if TYPE_CHECKING:
    from collections.abc import Iterator


def _kind(subcon: Any) -> str:
    return type(subcon).__name__ if isinstance(subcon, construct.Construct) else seen(subcon)


class _Reader:
    """Reads subconstructs into nodes; ``known`` are the paths so far, for references that dangle."""

    def __init__(self) -> None:
        self.known: dict[FieldPath, None] = {}  # in the order of the frame
        self.named: set[FieldPath] = set()
        self.rebuilt: list[tuple[FieldPath, Any, FieldPath]] = []  # with how, and the scope of ``this`` there

    def check(self, expression: Expression, at: FieldPath) -> Expression:
        for path in fields_of(expression):
            if path not in self.known:
                raise refuse(at, f"this.{show(path)} is not a field in front of it; {self.there()}")
            if path in self.named:
                raise refuse(at, f"this.{show(path)} is mapped to names; compute with the plain integer")
        return expression

    def there(self) -> str:
        """The fields so far, as a person reads them."""
        names = [show(path) for path in self.known if not path[-1].startswith("#")]
        if not names:
            return "there is none"
        return f"there are {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}"

    def expression(self, value: Any, scope: FieldPath, at: FieldPath) -> Expression:
        return laid(self.check(computable(resolve(value, scope, at), at), at))

    def struct(self, struct: Any, scope: FieldPath) -> tuple[Node, ...]:
        nodes: list[Node] = []
        seen: set[str] = set()
        for number, subcon in enumerate(struct.subcons):
            name = subcon.name
            if name is not None and "." in name:
                raise refuse((*scope, name), "a dot stands between names of fields, and in none")
            if name is not None and name in seen:
                raise refuse(
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
                raise refuse(
                    path,
                    f"{type(subcon).__name__} is not in the vocabulary: it may be anything; texts are bytes, "
                    "which views read: Prefixed(Int8ub, GreedyBytes), Bytes(n) or Until(b'\\0', max=99)",
                )
            if isinstance(subcon, construct.Enum | construct.FlagsEnum | construct.Mapping):
                self.named.add(path)
            if isinstance(subcon, construct.Rebuild):
                self.rebuilt.append((path, subcon.func, scope))
            subcon = subcon.subcon
        if isinstance(subcon, construct.Struct):
            return self.struct(subcon, path)
        read = _READERS.get(type(subcon))
        if read is None:
            raise refuse(path, f"{_kind(subcon)} is not in the vocabulary. {_hint(subcon)}")
        nodes: tuple[Node, ...] = read(self, subcon, scope, path)
        self.known[path] = None
        return nodes

    def integer(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        if isinstance(subcon, construct.BytesInteger):
            if not isinstance(subcon.length, int) or not 1 <= subcon.length <= 8:
                raise refuse(
                    path, "an integer has a fixed width of 1 to 8 bytes; declare a wider one as Bytes(n)"
                )
            return (Integer(path, subcon.length, bool(subcon.swapped), bool(subcon.signed)),)
        order, kind = subcon.fmtstr[0], subcon.fmtstr[1:]
        if kind.upper() not in {"B", "H", "L", "I", "Q"}:
            raise refuse(path, "floating point is not in the vocabulary; declare it as Bytes")
        return (Integer(path, subcon.length, order == "<", kind.islower()),)

    def bits(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:  # noqa: ARG002
        inner = subcon.subcon
        if not isinstance(inner, construct.Struct) or subcon.decodefunc is not construct.core.bytes2bits:
            raise refuse(
                path,
                "of the transformations only BitStruct is in the vocabulary; declare the bytes, "
                "and read them with a view or a step",
            )
        sizes: list[tuple[FieldPath, int]] = []
        for field in inner.subcons:
            plain = field.subcon if isinstance(field, construct.Renamed) else field
            size = 1 if plain is construct.Flag else getattr(plain, "length", None)
            if isinstance(plain, construct.Padded) or field.name is None:
                raise refuse(path, "name every bit field, reserved ones too: their bits must survive")
            if not isinstance(size, int) or not (
                plain is construct.Flag or isinstance(plain, construct.BitsInteger)
            ):
                raise refuse(
                    (*path, field.name), f"a bit field is a Flag or BitsInteger(n), no {_kind(plain)}"
                )
            sizes.append(((*path, field.name), size))
        total = sum(size for _, size in sizes)
        if total % 8 or total > 64 or any(size > 31 for _, size in sizes):
            raise refuse(path, "bit fields fill 1 to 8 whole bytes, none wider than 31 bits")
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
            raise refuse(
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
                raise refuse(path, "a length that counts itself is an integer of fixed width")
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
            raise refuse(path, "a Switch without default lets unknown keys through; add default=Error")
        for value in subcon.cases:
            if not isinstance(value, int):
                raise refuse(
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
            raise refuse(
                path,
                "an Array holds integers, the lengths of Chunks; it was given a "
                f"{type(subcon.subcon).__name__}. For rows of fields write Repeat(ROW, count=this.n), or "
                "declare the bytes that hold them, and read those with a view or a step",
            )
        count = self.expression(subcon.count, scope, path)
        return (Integers(path, count, item.width, item.little, item.signed),)

    def chunks(self, subcon: Any, scope: FieldPath, path: FieldPath) -> tuple[Node, ...]:
        if not isinstance(subcon.lengths, expr.Path):
            raise refuse(
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
            raise refuse(path, "Ahead is of an integer of fixed width, such as Ahead(Int8ub)")
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
            raise refuse(path, "until and adding read the fields of a part: declare it as a Struct")
        until = None if subcon.until is None else self.expression(subcon.until, path, path)
        added = 0 if subcon.adding is None else self.expression(subcon.adding, path, path)
        inner = [until or 0, added, *(expression_of(node) for node in walk(part))]
        if any(readings_of(one) for one in inner):
            raise refuse(
                path, "parts are laid out by fields alone; a view is read in front of them, or behind"
            )
        if least(part) == 0:
            raise refuse(path, "a part may have no bytes, and there would be no end of them")
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
    "Select": "Say what tells it: If(this.kind == 1, ...), or Switch(this.kind, {1: ...}, default=...).",
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


def rebuilt(declaration: Any) -> Iterator[tuple[FieldPath, Expression | None]]:
    """The fields that are computed when a frame is built, from what; of a declaration that was read.

    None: a function in Python computes it. What counts chunks is left out.
    """
    reader = _Reader()
    reader.struct(declaration, ())
    for path, func, scope in reader.rebuilt:
        if not isinstance(func, expr.ExprMixin):
            if callable(func) and not isinstance(func, lengths):
                yield path, None
            continue
        expression = resolve(func, scope, path)
        # What stands in a Repeat is known there only.
        if missing := {
            one
            for one in fields_of(expression) - {*reader.known}
            if not any(one[:size] in reader.known for size in range(1, len(one)))
        }:
            raise refuse(
                path,
                f"Rebuild counts this.{show(min(missing))}, and no such field is there; {reader.there()}",
            )
        if path in fields_of(expression):
            raise refuse(path, "it is computed from itself; let Rebuild count sections: len_(this.body)")
        yield path, expression
