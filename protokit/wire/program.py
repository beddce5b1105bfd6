"""A program (``native/src/wire/program.h``) while it is written: what is in it, and what is computed with.

What stands on what: ``texts.py``, what a destination is read from; ``framing.py``; ``compiler.py``, a frame's
meaning and the image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import DeclarationError
from protokit.wire.expressions import (
    Binary,
    Expression,
    Field,
    FieldPath,
    Known,
    Looked,
    Not,
    Sent,
    Size,
    show,
    written,
)
from protokit.wire.readings import compared_by, views_of

if TYPE_CHECKING:
    from protokit.wire import views
    from protokit.wire.answers import Noted
    from protokit.wire.arguments import Argued
    from protokit.wire.checksums import Checksum
    from protokit.wire.codec import Arguments
    from protokit.wire.greeting import Conversation
    from protokit.wire.ids import Named
    from protokit.wire.requested import Part

OPS = {name: number for number, name in enumerate(native.INSTRUCTIONS)}
_IMMEDIATE = {"ADD", "MUL", "AND", "EQ", "NE", "LT", "LE", "GT", "GE"}
_MOST = 250  # registers, and texts
_COMPARE = {"EQ", "NE", "LT", "LE", "GT", "GE"}


@dataclass
class Meaning:
    """The keywords of a WireFormat, resolved."""

    id: tuple[FieldPath, ...] = ()
    answer_id: tuple[FieldPath, ...] = ()  # of answers, where it is another
    named: Named | None = None  # ids are byte strings
    response: Expression = 0
    oneway: Expression = 0
    heartbeat: Expression = 0
    drain: Expression = 0
    greeting: Expression = 0
    greeting_refused: Expression = 0
    forms: tuple[Expression, ...] = ()  # that greetings may be of
    status: tuple[Expression, views.Table] | None = None
    app_error: tuple[Expression, ...] = ()
    timeout: Expression = 0
    service: views.View | None = None
    method: views.View | None = None
    version: views.View | None = None
    group: views.View | None = None
    headers: views.Pairs | None = None
    answer_headers: views.Pairs | None = None
    checksums: tuple[Checksum, ...] = ()
    variants: tuple[dict[FieldPath, int], ...] = ({},)
    keep: tuple[FieldPath, ...] = ()
    parts: tuple[Part, ...] = ()  # kept of a request for its replies
    heard: tuple[Part, ...] = ()  # kept of a peer's greeting for what is said behind it
    separate: bool = False
    last: Expression = 0
    more: Expression = 0
    arguments: tuple[Argued, ...] = ()
    bodies: Arguments | None = None  # what its plugin reads in Python, for filters
    asked: tuple[Noted, ...] = ()  # of a request, for its answers
    readable: dict[FieldPath, Expression] = field(
        default_factory=dict
    )  # of sections: whether views look into them

    def views_of_id(self) -> list[views.View]:
        """Where an id stands that is no field: of requests, and of answers where that is another place."""
        places = () if self.named is None else (self.named, self.named.answers)
        return [one.view for one in places if one is not None and one.view is not None]

    def ids(self, *, answers: bool) -> tuple[FieldPath, ...]:
        """Where requests, or answers, have theirs."""
        return self.answer_id if answers and self.answer_id else self.id

    def destination(self) -> list[views.View]:
        """All views that a request's destination is read with."""
        found = [view for view in (self.service, self.method, self.version, self.group) if view is not None]
        return found + views_of(self.timeout)

    def kinds(self) -> tuple[Expression, ...]:
        """What says what a frame is."""
        noted = (one.value for one in self.asked)
        return (
            *(self.greeting, self.drain, self.heartbeat, self.response, self.oneway, self.last, self.more),
            *noted,
        )

    def outcome(self) -> tuple[Expression, ...]:
        """What says how an answer, or a greeting, went."""
        status = () if self.status is None else (self.status[0],)
        return (*status, *self.app_error)

    def looks(self) -> list[views.View]:
        """All views that framing reads: a frame's kind and an answer's outcome stand in them."""
        read = (*self.kinds(), self.greeting_refused, *self.forms, *self.outcome())
        return [view for one in read for view in views_of(one)]

    def compared(self) -> list[bytes]:
        """The texts that views are compared with."""
        read = (*self.kinds(), self.greeting_refused, *self.forms, *self.outcome(), self.timeout)
        return compared_by(read)


@dataclass
class Emit:
    """One piece of a reply: ``what`` is an EMIT instruction's name."""

    what: str
    data: bytes = b""
    width: int = 0
    flags: int = 0
    base: int = 0
    parts: int = 0  # which it is, or which it counts, bit by bit


@dataclass
class Image:
    """What the engine needs besides the program."""

    name: str
    mode: int
    reserved: tuple[int, ...] = ()
    text_encoding: str = "utf-8"
    replies: list[dict[int, list[Emit]]] = field(default_factory=list)
    reply_max: int = 1024
    conversation: Conversation | None = None
    pinned: bool = False
    optional_drain: bool = False
    shapes: bool = True  # without them the program reads every frame
    editing: bytes = b""  # the program that changes frames


class Program:
    """Instructions, registers, texts and constants of one format; each is there once.

    Args:
        meaning: what the fields mean.
    """

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning
        self.insns: list[list[int]] = []
        self.literals: list[bytes] = []
        self.places: dict[bytes, int] = {}
        self.constants: dict[int, int] = {}
        self.registers: dict[FieldPath, int] = {}
        self.spans: dict[FieldPath, int] = {}  # of integers: the sections that they stand in
        self.widths: dict[FieldPath, int] = {}
        self.next_register = 0
        self.free: list[int] = []  # registers of what was computed and is not needed any more
        self.next_slice = 0
        self.sided = False  # whether it asks which side sent a frame

    # Pieces.

    def op(self, name: str, a: int = 0, b: int = 0, c: int = 0, i: int = 0) -> int:
        """Append an instruction; gives back its number."""
        self.insns.append([OPS[name], a, b, c, i])
        return len(self.insns) - 1

    def here(self, *jumps: int) -> None:
        """Let jumps come here."""
        for jump in jumps:
            self.insns[jump][4] = len(self.insns)

    def literal(self, data: bytes) -> int:
        """The number of a constant text."""
        if data not in self.places:
            self.places[data] = len(self.literals)
            self.literals.append(data)
        return self.places[data]

    def register(self) -> int:
        """A new register."""
        self.next_register += 1
        if self.next_register > _MOST:
            raise DeclarationError(
                f"the format has too much that frames and their meaning are told by, over {_MOST} numbers: "
                f"{self.held()}; leave some out, or read a section that holds several with views"
            )
        return self.next_register - 1

    def held(self) -> str:  # overridden
        """What the registers are for, as a person reads it."""
        raise NotImplementedError

    def slices(self, count: int = 1) -> int:
        """So many new texts in a row; the first one's number."""
        self.next_slice += count
        if self.next_slice > _MOST:
            raise DeclarationError(f"the format has too many views, over {_MOST} texts; leave some out")
        return self.next_slice - count

    # Expressions.

    def value(self, expression: Expression) -> int:
        """The register that holds it."""
        if isinstance(expression, Field):
            return self.registers[expression.path]
        if isinstance(expression, Size):
            return (self.spans if expression.varint else self.registers)[expression.path] + 1
        if isinstance(expression, Looked):
            return self.looked(expression.reading)
        to = self.free.pop() if self.free else self.register()
        if isinstance(expression, int):
            self.load_constant(to, expression)
        elif isinstance(expression, Sent):
            self.sided = True
            self.op("SIDE", to)
        elif isinstance(expression, Known):
            one = next((one for one in self.meaning.asked if one.asked is expression.asked), None)
            if one is None:
                raise DeclarationError(
                    f"{written(expression)} stands where no answer is read; it goes into status, app_error, "
                    "last, more, and where answers come in order into the layout"
                )
            self.op("ASKED", to, one.shift, i=(1 << one.bits) - 1)
        elif isinstance(expression, Not):
            (operand,) = self.operands_of(expression.operand)
            self.op("NOT", to, operand)
        else:
            self.binary(to, expression)
        return to

    def looked(self, reading: Any) -> int:  # overridden
        """The register that holds what is found in a text."""
        raise NotImplementedError

    def load_constant(self, to: int, value: int) -> None:
        """Put a number into a register."""
        if -(2**31) <= value < 2**31:
            self.op("SET", to, i=value)
        elif -(2**63) <= value < 2**64:
            self.op("CONST", to, i=self.constants.setdefault(value, len(self.constants)))
        else:
            raise DeclarationError(f"{value} does not fit 64 bits")

    def binary(self, to: int, expression: Binary) -> None:
        """Put the result of an operation into a register."""
        name, left, right = expression.op, expression.left, expression.right
        if isinstance(left, int) and name in {"ADD", "MUL", "AND", "EQ", "NE"}:
            left, right = right, left
        for side in (left, right):
            wide = isinstance(side, Field) and self.widths.get(side.path, 0) > 4
            if wide and name not in _COMPARE | {"AND", "SHR"}:
                raise DeclarationError(
                    f"{show(side.path)}: fields over 4 bytes, and a UVar over 5, cannot be computed with, "
                    f"as in {written(expression)}"
                )
        if name == "MUL" and not isinstance(right, int):
            raise DeclarationError(
                f"{written(expression)} multiplies two fields; multiply a field by a constant"
            )
        if isinstance(right, int) and -(2**31) <= right < 2**31 and name in _IMMEDIATE | {"SUB"}:
            if name == "SUB":
                name, right = "ADD", -right
            (operand,) = self.operands_of(left)
            self.op(name + "I", to, operand, i=right)
        else:
            one, other = self.operands_of(left, right)
            self.op(name, to, one, other)

    def operands_of(self, *operands: Expression) -> list[int]:
        """The registers that hold them; those of no field are free behind the next instruction."""
        found = [self.value(one) for one in operands]
        self.free += [
            register
            for one, register in zip(operands, found, strict=True)
            if not isinstance(one, Field | Size | Looked)
        ]
        return found

    def unless(self, test: Expression) -> int:
        """A jump that is taken where the test does not hold; ``here`` says where to."""
        if (
            isinstance(test, Binary)
            and test.op == "EQ"
            and isinstance(test.right, int)
            and 0 <= test.right < 256
        ):
            return self.op("JNE", self.value(test.left), c=test.right)
        return self.op("JZ", self.value(test))
