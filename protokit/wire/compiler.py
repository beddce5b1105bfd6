"""From nodes and meaning to a program that the engine runs (``native/src/wire/program.h``)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from protokit import native
from protokit.errors import DeclarationError
from protokit.model import Status
from protokit.wire import views
from protokit.wire.ids import FORMS, Named
from protokit.wire.kinds import check_kinds
from protokit.wire.layout import (
    Binary,
    Bits,
    Branch,
    Choice,
    ChunkList,
    Condition,
    Delimited,
    Expression,
    Field,
    FieldPath,
    Integer,
    Integers,
    Literal,
    Node,
    Not,
    Section,
    Varint,
    fields_of,
    show,
    walk,
)
from protokit.wire.shapes import Tree, shapes

OPS = {name: number for number, name in enumerate(native.INSTRUCTIONS)}
NOWHERE = 0xFFFFFFFF
ABSENT = 255
MAGIC = 0x706B7731
KINDS = {"request": 1, "oneway": 2, "response": 3, "heartbeat": 4, "ack": 5, "drain": 6, "greeting": 9}
ENCODINGS = {"utf-8": 0, "hessian": 1, "json": 2}
GREETING_STEPS = 4
FIRST_GREETING = 3 + len(Status)  # of a variant's replies: heartbeat, ack, drain, errors, greetings
REPLIES = FIRST_GREETING + GREETING_STEPS
OWN = 4  # what framing can leave for later (pk_frame.own)
_FIXED = 1 << 16  # bytes of a section that stands at a fixed distance are fewer
_IMMEDIATE = {"ADD", "MUL", "AND", "EQ", "NE", "LT", "LE", "GT", "GE"}
_COMPARE = {"EQ", "NE", "LT", "LE", "GT", "GE"}
_LOADS = {
    (1, False): "LOAD1",
    (2, False): "LOAD2",
    (4, False): "LOAD4",
    (8, False): "LOAD8",
    (2, True): "LOAD2S",
    (4, True): "LOAD4S",
    (8, True): "LOAD8",
}


@dataclass
class Meaning:
    """The keywords of a WireFormat, resolved."""

    id: tuple[FieldPath, ...] = ()
    named: Named | None = None  # ids are byte strings
    response: Expression = 0
    oneway: Expression = 0
    heartbeat: Expression = 0
    drain: Expression = 0
    greeting: Expression = 0
    greeting_refused: Expression = 0
    status: tuple[Expression, views.Table] | None = None
    app_error: tuple[Expression | views.Same, ...] = ()
    timeout: Expression | views.Number = 0
    service: views.View | None = None
    method: views.View | None = None
    version: views.View | None = None
    group: views.View | None = None
    headers: views.Pairs | None = None
    checksums: tuple[views.Checksum, ...] = ()
    variants: tuple[dict[FieldPath, int], ...] = ({},)
    keep: tuple[FieldPath, ...] = ()
    separate: bool = False

    def destination(self) -> list[views.View]:
        """All views that a request's destination is read with."""
        found = [view for view in (self.service, self.method, self.version, self.group) if view is not None]
        return [*found, self.timeout.view] if isinstance(self.timeout, views.Number) else found


@dataclass
class Emit:
    """One piece of a reply: ``what`` is an EMIT instruction's name."""

    what: str
    data: bytes = b""
    width: int = 0
    flags: int = 0
    base: int = 0


@dataclass
class Image:
    """What the engine needs besides the program."""

    name: str
    mode: int
    reserved: tuple[int, ...] = ()
    text_encoding: str = "utf-8"
    replies: list[dict[int, list[Emit]]] = field(default_factory=list)
    reply_max: int = 1024
    greeting: tuple[str, ...] = ()  # who says each step
    pinned: bool = False
    optional_drain: bool = False
    shapes: bool = True  # without them the program reads every frame


class _Compiler:
    """Compiles one format.

    Args:
        nodes: of its layout.
        meaning: what the fields mean.
    """

    def __init__(self, nodes: tuple[Node, ...], meaning: Meaning) -> None:
        self.nodes = nodes
        self.meaning = meaning
        self.insns: list[list[int]] = []
        self.literals: list[bytes] = []
        self.places: dict[bytes, int] = {}
        self.constants: dict[int, int] = {}
        self.delimiters: list[tuple[int, int]] = []
        self.tables: list[tuple[int, int, int]] = []
        self.entries: list[tuple[int, int]] = []
        self.maps: list[tuple[int, ...]] = []
        self.keys: list[tuple[int, int]] = []
        self.app = (NOWHERE, 0)
        self.steps: list[tuple[int, int, int]] = []
        self.checksums: list[tuple[int, int, int, int]] = []
        self.operands: list[int] = []
        self.registers: dict[FieldPath, int] = {}
        self.widths: dict[FieldPath, int] = {}
        self.next_register = 0
        self.next_slice = 0
        self.id_width = 0 if meaning.named is None else meaning.named.width
        self.counters: dict[FieldPath, tuple[int, int]] = {}  # of an id: (register of its place, form)
        self.id_little = False
        self.signature = 0
        self.magic = True
        self.position = 0  # static offset from the start, while it is known
        self.answerable = 0
        self.used: set[FieldPath] = set()
        self.early: set[FieldPath] = set()
        self.after_framing = False

    # Pieces.

    def op(self, name: str, a: int = 0, b: int = 0, c: int = 0, i: int = 0) -> int:
        self.insns.append([OPS[name], a, b, c, i])
        return len(self.insns) - 1

    def here(self, *jumps: int) -> None:
        """Let jumps come here."""
        for jump in jumps:
            self.insns[jump][4] = len(self.insns)

    def literal(self, data: bytes) -> int:
        if data not in self.places:
            self.places[data] = len(self.literals)
            self.literals.append(data)
        return self.places[data]

    def register(self) -> int:
        self.next_register += 1
        if self.next_register > 250:
            raise DeclarationError("the format has too many fields that are computed with (250)")
        return self.next_register - 1

    def slices(self, count: int = 1) -> int:
        self.next_slice += count
        if self.next_slice > 250:
            raise DeclarationError("the format has too many views (250 texts)")
        return self.next_slice - count

    # Expressions.

    def value(self, expression: Expression) -> int:
        """The register that holds it."""
        if isinstance(expression, Field):
            return self.registers[expression.path]
        to = self.register()
        if isinstance(expression, int):
            self.load_constant(to, expression)
        elif isinstance(expression, Not):
            self.op("NOT", to, self.value(expression.operand))
        else:
            self.binary(to, expression)
        return to

    def load_constant(self, to: int, value: int) -> None:
        if -(2**31) <= value < 2**31:
            self.op("SET", to, i=value)
        elif -(2**63) <= value < 2**64:
            self.op("CONST", to, i=self.constants.setdefault(value, len(self.constants)))
        else:
            raise DeclarationError(f"{value} does not fit 64 bits")

    def binary(self, to: int, expression: Binary) -> None:
        name, left, right = expression.op, expression.left, expression.right
        if isinstance(left, int) and name in {"ADD", "MUL", "AND", "EQ", "NE"}:
            left, right = right, left
        for side in (left, right):
            wide = isinstance(side, Field) and self.widths.get(side.path, 0) > 4
            if wide and name not in _COMPARE | {"AND", "SHR"}:
                raise DeclarationError(f"{show(side.path)}: fields over 4 bytes cannot be computed with")
        if name == "MUL" and not isinstance(right, int):
            raise DeclarationError("a field is multiplied by a constant only")
        if isinstance(right, int) and -(2**31) <= right < 2**31 and name in _IMMEDIATE | {"SUB"}:
            if name == "SUB":
                name, right = "ADD", -right
            self.op(name + "I", to, self.value(left), i=right)
        else:
            self.op(name, to, self.value(left), self.value(right))

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

    # Framing.

    def frame(self) -> None:
        self._collect()
        for node in self.meaning.named.counters if self.meaning.named else ():
            form = 0
            if isinstance(node, Integer):
                form = node.width | 16 * int(node.little) | 32 * int(node.signed)
            self.counters[node.path] = (self.register(), form)
            self.op("NOPLACE", self.counters[node.path][0])
        self._absent(self.nodes, conditional=False)
        self.sequence(self.nodes)
        self.op("WHOLE")
        for index, checksum in enumerate(self.meaning.checksums):
            self._checksum(checksum)
            self.op("VERIFY", i=index)

    def _collect(self) -> None:
        m = self.meaning
        check_kinds(self.nodes, m)
        self.early |= set(m.id) | set(m.keep) | {path for one in m.variants for path in one}
        for expression in (m.response, m.oneway, m.heartbeat, m.drain, m.greeting):
            self.early |= fields_of(expression)
        self.used |= self.early | fields_of(m.greeting_refused)
        self.used |= {node.path for node in m.named.counters} if m.named else set()
        if not isinstance(m.timeout, views.Number):
            self.used |= fields_of(m.timeout)
        if m.status is not None:
            self.used |= fields_of(m.status[0])
        for one in m.app_error:
            self.used |= {*views.sections_of([one.view])} if isinstance(one, views.Same) else fields_of(one)
        self.used |= set(self.sections())
        for checksum in m.checksums:
            self.used |= {checksum.path, *(checksum.over or ())}
        self._used_by(self.nodes)

    def _used_by(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            if isinstance(node, Section):
                self.used |= fields_of(node.length)
            elif isinstance(node, Integers):
                self.used |= fields_of(node.count)
            elif isinstance(node, ChunkList):
                self.used.add(node.lengths)
            elif isinstance(node, Condition):
                self.used |= fields_of(node.test)
            elif isinstance(node, Branch):
                self.used |= fields_of(node.test)
                self._used_by(node.then)
                self._used_by(node.otherwise)
            elif isinstance(node, Choice):
                self.used |= fields_of(node.key)
                for _, case in node.cases:
                    self._used_by(case)
                self._used_by(node.default or ())

    def _absent(self, nodes: tuple[Node, ...], *, conditional: bool) -> None:
        """Registers for what is used; what may be absent starts as 0, a section as absent."""
        for node in nodes:
            if isinstance(node, Branch):
                self._absent(node.then, conditional=True)
                self._absent(node.otherwise, conditional=True)
            elif isinstance(node, Choice):
                for _, case in node.cases:
                    self._absent(case, conditional=True)
                self._absent(node.default or (), conditional=True)
            elif isinstance(node, Bits):
                for path, _, _ in node.fields:
                    self._place(path, conditional=conditional)
            elif isinstance(node, Section | ChunkList | Delimited):
                self._place(node.path, conditional=conditional, section=True)
            elif isinstance(node, Integer | Integers | Varint):
                if isinstance(node, Integer):
                    self.widths[node.path] = node.width
                self._place(node.path, conditional=conditional)

    def _place(self, path: FieldPath, *, conditional: bool, section: bool = False) -> None:
        if path not in self.used or path in self.registers:
            return
        shared = [self.registers[one] for one in self.meaning.id if one in self.registers]
        if path in self.meaning.id and shared:
            self.registers[path] = shared[0]
            return
        self.registers[path] = self.register()
        if section:
            self.register()
        if conditional:
            self.op("ABSENT" if section else "SET", self.registers[path])
        if any(checksum.path == path for checksum in self.meaning.checksums):
            place = self.register()
            if conditional:
                self.op("NOPLACE", place)

    def sequence(self, nodes: tuple[Node, ...]) -> None:
        group: list[Node] = []
        for node in nodes:
            fixed = isinstance(node, Integer | Bits | Condition) or (
                isinstance(node, Section) and isinstance(node.length, int) and node.length < _FIXED
            )
            if fixed:
                group.append(node)
                if isinstance(node, Condition) and self.magic:
                    self.group(group)
                    self.signature = self.position
                    group = []
                continue
            self.group(group)
            group = []
            self.variable(node)
        self.group(group)

    def group(self, nodes: list[Node]) -> None:
        """Fields at fixed distances: one check of what is there, then loads."""
        total = sum(_size(node) for node in nodes)
        if total:
            self.op("NEED", i=total)
        at = 0
        places: dict[FieldPath, int] = {}
        for node in nodes:
            if isinstance(node, Integer):
                places[node.path] = at
                self.integer(node, at)
            elif isinstance(node, Bits):
                places |= {path: at for path, _, _ in node.fields}
                self.bits(node, at)
            elif isinstance(node, Section):
                self.fixed(node, at)
            elif isinstance(node, Condition):
                seen = [places[path] for path in fields_of(node.test) if path in places]
                self.op("CHECK", self.value(node.test), int(self.magic), i=min(seen, default=at))
            at += _size(node)
        if total:
            self.op("SKIP", i=total)
        self.position += total

    def loaded(self, path: FieldPath) -> None:
        if path in self.early:
            self.answerable = len(self.insns)

    def integer(self, node: Integer, at: int) -> None:
        if node.path not in self.registers:
            return
        to = self.registers[node.path]
        name = None if node.little else _LOADS.get((node.width, node.signed))
        if name is None:
            self.op("LOAD", to, node.width, int(node.little) | 2 * int(node.signed), at)
        else:
            self.op(name, to, i=at)
        if node.path in self.counters:
            self.op("MARK", self.counters[node.path][0], node.width, i=at)
        if node.path in self.meaning.id:
            if self.id_width not in {0, node.width} or (self.id_width and self.id_little != node.little):
                raise DeclarationError(f"{show(node.path)}: all ids have one width and byte order")
            self.id_width, self.id_little = node.width, node.little
            self.op("IDAT", i=at)
        if any(checksum.path == node.path for checksum in self.meaning.checksums):
            self.op("MARK", to + 1, node.width, i=at)
        self.loaded(node.path)

    def bits(self, node: Bits, at: int) -> None:
        used = [entry for entry in node.fields if entry[0] in self.registers]
        if not used:
            return
        word = self.register()
        name = _LOADS.get((node.width, False))
        if name is None:
            self.op("LOAD", word, node.width, i=at)
        else:
            self.op(name, word, i=at)
        for path, shift, size in used:
            self.op("BITS", self.registers[path], word, shift, (1 << size) - 1)
            self.loaded(path)

    def fixed(self, node: Section, at: int) -> None:
        if node.path in self.registers:
            self.op("SPAN", self.registers[node.path], _size(node) >> 8, _size(node) & 255, at)
            self.loaded(node.path)

    def variable(self, node: Node) -> None:
        if isinstance(node, Literal):
            self.op("MAGIC", b=int(self.magic), i=self.literal(node.data))
            self.position += len(node.data)
            if self.magic:
                self.signature = self.position
            return
        if isinstance(node, Choice):
            self.choice(node)
            return
        self.magic = False
        if isinstance(node, Branch):
            otherwise = self.unless(node.test)
            self.sequence(node.then)
            if node.otherwise:
                end = self.op("JUMP")
                self.here(otherwise)
                self.sequence(node.otherwise)
                self.here(end)
            else:
                self.here(otherwise)
        elif isinstance(node, Section):
            self.measured(node)
        elif isinstance(node, ChunkList):
            self.op("SECTION", self.section_register(node.path), self.registers[node.lengths])
        elif isinstance(node, Delimited):
            self.delimited(node)
        elif isinstance(node, Varint):
            self.varint(node)
        elif isinstance(node, Integers):
            to = self.registers[node.path] if node.path in self.registers else self.register()
            form = node.width | 16 * int(node.little) | 32 * int(node.signed)
            self.op("SUM", to, self.value(node.count), form)

    def measured(self, node: Section) -> None:
        is_id = node.path in self.meaning.id and self.meaning.named is not None
        length = self.value(node.length)
        if is_id:
            self._at_most(length)
        self.op("SECTION", self.section_register(node.path), length)
        if is_id:
            self.op("HERE")
            self.loaded(node.path)

    def delimited(self, node: Delimited) -> None:
        to = self.section_register(node.path)
        self.delimiters.append((self.literal(node.delimiter), node.max))
        self.op("UNTIL", to, i=len(self.delimiters) - 1)
        if node.path in self.meaning.id:
            self._at_most(to + 1)
            self.loaded(node.path)

    def varint(self, node: Varint) -> None:
        to = self.registers[node.path] if node.path in self.registers else self.register()
        place = self.counters.get(node.path, (0, 0))[0]
        self.op("UVAR", to, node.bytes, int(node.path in self.counters), place)
        self.loaded(node.path)

    def _at_most(self, length: int) -> None:
        """An id has no more bytes than were declared."""
        fits = self.register()
        self.op("LEI", fits, length, i=0 if self.meaning.named is None else self.meaning.named.most)
        self.op("CHECK", fits)

    def section_register(self, path: FieldPath) -> int:
        if path in self.registers:
            return self.registers[path]
        first = self.register()
        self.register()
        return first

    def choice(self, node: Choice) -> None:
        magic, self.magic = self.magic, False
        if magic and node.default is None:
            self.signature = self.position
        key = self.value(node.key)
        ends = []
        for value, case in node.cases:
            if 0 <= value < 256:
                other = self.op("JNE", key, c=value)
            else:
                other = self.unless(Binary("EQ", node.key, value))
            self.sequence(case)
            ends.append(self.op("JUMP"))
            self.here(other)
        if node.default is None:
            wrong = self.register()
            self.op("SET", wrong)
            self.op("CHECK", wrong, int(magic))
        else:
            self.sequence(node.default)
        self.here(*ends)

    def _checksum(self, checksum: views.Checksum) -> None:
        if self.widths.get(checksum.path) != 4:
            raise DeclarationError(f"{show(checksum.path)}: a CRC-32 is an integer of 4 bytes")
        little = next(
            node.little
            for node in walk(self.nodes)
            if isinstance(node, Integer) and node.path == checksum.path
        )
        first = len(self.operands)
        self.operands += [self.registers[path] for path in checksum.over or ()]
        count = len(checksum.over or ())
        self.checksums.append((self.registers[checksum.path] + 1, int(little), first, count))

    # Meaning.

    def mean(self) -> int:
        m = self.meaning
        start = len(self.insns)
        if m.id:
            self.op("ID" if m.named is None else "NAMED", self.registers[m.id[0]])
        variant = self._variant()
        if m.separate:
            self.op("KEY", variant)
        self._context(variant)
        ends = []
        if m.greeting != 0:
            ends.append(self._greeting())
        if m.drain != 0:
            ends.append(self._kind(m.drain, "drain"))
        if m.heartbeat != 0:
            skip = self.unless(m.heartbeat)
            request = self.unless(m.response)
            self.op("KIND", i=KINDS["ack"])
            ends.append(self.op("JUMP"))
            self.here(request)
            self.op("KIND", i=KINDS["heartbeat"])
            ends.append(self.op("JUMP"))
            self.here(skip)
        request = self.unless(m.response)
        self.op("KIND", i=KINDS["response"])
        self.op("EARLY")
        self._outcome()
        ends.append(self.op("JUMP"))
        self.here(request)
        self.op("KIND", i=KINDS["request"])
        if m.oneway != 0:
            two_way = self.unless(m.oneway)
            self.op("KIND", i=KINDS["oneway"])
            self.here(two_way)
        self.op("EARLY")
        if not isinstance(m.timeout, views.Number) and m.timeout != 0:
            self.op("TIMEOUT", self.value(m.timeout))
        sections = self.sections()
        if 2 * len(sections) <= OWN:
            for i, path in enumerate(sections):
                self.op("SAVE", self.registers[path], i=2 * i)
        self.here(*ends)
        self.op("END")
        return start

    def _context(self, variant: int) -> None:
        """What a reply needs: the variant, and the fields that are kept."""
        context, shift = variant, 8
        for path in self.meaning.keep:
            width = self.widths[path]
            moved, joined = self.register(), self.register()
            unsigned = self.value(Binary("AND", Field(path), (1 << 8 * width) - 1))
            self.op("SHL", moved, unsigned, self.value(shift))
            self.op("OR", joined, context, moved)
            context, shift = joined, shift + 8 * width
        if shift > 32:
            raise DeclarationError("keep: the fields kept for a reply take 3 bytes at most")
        self.op("CONTEXT", context)

    def _greeting(self) -> int:
        m = self.meaning
        skip = self.unless(m.greeting)
        self.op("KIND", i=KINDS["greeting"])
        self.op("EARLY")
        if m.greeting_refused != 0:
            accepted = self.unless(m.greeting_refused)
            self.op("STATUS", self.value(int(Status.UNAVAILABLE)))
            self.here(accepted)
        end = self.op("JUMP")
        self.here(skip)
        return end

    def _kind(self, test: Expression, kind: str) -> int:
        skip = self.unless(test)
        self.op("KIND", i=KINDS[kind])
        end = self.op("JUMP")
        self.here(skip)
        return end

    def _variant(self) -> int:
        """The first variant whose fields are all as it says; 0 where none is."""
        to = self.register()
        self.op("SET", to)
        if len(self.meaning.variants) == 1:
            return to
        ends = []
        for index, variant in enumerate(self.meaning.variants):
            others = [self.unless(Binary("EQ", Field(path), value)) for path, value in variant.items()]
            self.op("SET", to, i=index)
            ends.append(self.op("JUMP"))
            self.here(*others)
        self.here(*ends)
        return to

    def _outcome(self) -> None:
        m = self.meaning
        over = []
        if m.status is not None:
            expression, table = m.status
            status = self.register()
            first = len(self.entries)
            self.entries += sorted(table.entries.items())
            self.tables.append((first, len(table.entries), table.default))
            self.op("TABLE", status, self.value(expression), i=len(self.tables) - 1)
            self.op("STATUS", status)
            if m.app_error:
                over.append(self.op("JNZ", status))
        memo: dict[Any, int] = {}
        maps = [view for one in m.app_error if isinstance(one, views.Same) for view in [one.view]]
        looked = self.look(maps, memo)
        if (
            len(m.app_error) == 1
            and isinstance(m.app_error[0], views.Same)
            and isinstance(maps[0], views.Item)
        ):
            self.app = (looked[0], self.literal(m.app_error[0].text))
        for one in m.app_error:
            if isinstance(one, views.Same):
                holds = self.register()
                self.op("SAME", holds, self.text(one.view, memo), i=self.literal(one.text))
                skip = self.op("JZ", holds)
            else:
                skip = self.unless(one)
            app_error = self.value(int(Status.APP_ERROR))
            self.op("STATUS", app_error)
            self.here(skip)
        self.here(*over)

    # Texts.

    def sections(self) -> list[FieldPath]:
        """What a destination and the headers are read from."""
        found = views.sections_of(self.meaning.destination())
        if self.meaning.headers is not None and self.meaning.headers.path not in found:
            found.append(self.meaning.headers.path)
        return found

    def section(self, to: int, path: FieldPath) -> None:
        """A section as a text: from what framing left, or from its registers."""
        sections = self.sections()
        if self.after_framing and 2 * len(sections) <= OWN:
            self.op("OWN", to, i=2 * sections.index(path))
        else:
            self.op("SLICE", to, self.registers[path])

    def destination(self) -> int:
        m = self.meaning
        start = len(self.insns)
        self.after_framing = True
        memo: dict[Any, int] = {}
        self.look(self.meaning.destination(), memo)
        found = [
            ABSENT if view is None else self.text(view, memo)
            for view in (m.service, m.method, m.version, m.group)
        ]
        self.op("TO", *found)
        if isinstance(m.timeout, views.Number):
            budget = self.register()
            self.op("NUMBER", budget, self.text(m.timeout.view, memo))
            self.op("BUDGET", budget)
        self.op("END")
        return start

    def headers(self) -> int:
        if self.meaning.headers is None:
            return NOWHERE
        start = len(self.insns)
        section = self.slices()
        self.section(section, self.meaning.headers.path)
        self.op("HEADERS", section, i=self._map(self.meaning.headers, {}))
        self.op("END")
        return start

    def _map(self, pairs: views.Pairs, keys: dict[bytes, int]) -> int:
        first = len(self.keys)
        self.keys += [(self.literal(key), to) for key, to in keys.items()]
        encoding = pairs.encoding
        if isinstance(encoding, views.PairEncoding):
            self.maps.append((0, _form(encoding.key), _form(encoding.value), 0, 0, first, len(keys)))
        else:
            between, after = self.literal(encoding.between), self.literal(encoding.after)
            self.maps.append((1, 0, 0, between, after, first, len(keys)))
        return len(self.maps) - 1

    def look(self, roots: list[views.View], memo: dict[Any, int]) -> list[int]:
        """Look all keys up that are asked for, each map once; give each step its place. The maps' numbers."""
        wanted: dict[int, tuple[views.Pairs, dict[bytes, int]]] = {}
        for view in views.leaves(roots):
            if isinstance(view, views.Item):
                _, keys = wanted.setdefault(id(view.pairs), (view.pairs, {}))
                if view.key not in keys:
                    keys[view.key] = self.slices()
                memo[(id(view.pairs), view.key)] = keys[view.key]
            elif isinstance(view, views.FoundText) and ("found", id(view.found)) not in memo:
                found = view.found
                memo[("found", id(found))] = self.slices(found.count)
                memo[("step", id(found))] = len(self.steps)
                self.steps.append((found.step.address, len(self.literals), len(found.arguments)))
                self.literals += found.arguments  # in a row
        looked: list[int] = []
        for pairs, keys in wanted.values():
            section = self.slices()
            self.section(section, pairs.path)
            looked.append(self._map(pairs, keys))
            self.op("LOOK", b=section, i=looked[-1])
        return looked

    def text(self, view: views.View, memo: dict[Any, int], *, sure: bool = True) -> int:
        """The slice that holds a view's text. ``sure``: this code always runs, so that it can be shared."""
        if isinstance(view, views.Item):
            return memo[(id(view.pairs), view.key)]
        if ("view", id(view)) in memo:
            return memo[("view", id(view))]
        if isinstance(view, views.FoundText):
            return self._found(view, memo)
        to = self._text(view, memo, sure=sure)
        if sure:
            memo[("view", id(view))] = to
        return to

    def _text(self, view: views.View, memo: dict[Any, int], *, sure: bool) -> int:
        if isinstance(view, views.Part):
            split = view.split
            if ("split", id(split)) in memo:
                return memo[("split", id(split))] + view.index
            inner = self.text(split.view, memo, sure=sure)
            first = self.slices(split.parts)
            self.op("SPLIT", first, inner, split.parts, self.literal(split.separator))
            if sure:
                memo[("split", id(split))] = first
            return first + view.index
        to = self.slices()
        if isinstance(view, views.Text):
            self.section(to, view.path)
        elif isinstance(view, views.Constant):
            self.op("LITERAL", to, i=self.literal(view.text))
        elif isinstance(view, views.First):
            ends = []
            for number, one in enumerate(view.views):
                found = self.text(one, memo, sure=sure and number == 0)
                if number + 1 < len(view.views):
                    ends.append(self.op("TAKE", to, found))
                else:
                    self.op("COPY", to, found)
            self.here(*ends)
        else:
            raise DeclarationError(f"{type(view).__name__} cannot be compiled")
        return to

    def _found(self, view: views.FoundText, memo: dict[Any, int]) -> int:
        found = view.found
        first = memo[("found", id(found))]
        section = self.slices()
        self.section(section, found.section.path)
        self.op("STEP", first, section, found.count, memo[("step", id(found))])
        return first + view.index

    # The image.

    def image(self, about: Image) -> bytes:
        """Compile, and put all in one block of memory."""
        self.frame()
        meaning = self.mean()
        destination = self.destination()
        headers = self.headers()
        rerun = int(2 * len(self.sections()) > OWN)
        replies = [
            self._reply(variant[which]) if which in variant else NOWHERE
            for variant in about.replies
            for which in range(REPLIES)
        ]
        name = self.literal(about.name.encode() + b"\0")
        named = self.meaning.named
        delimiter = self.literal(named.delimiter) if named and named.delimiter else NOWHERE
        tree = Tree()
        if about.shapes:
            tree = shapes(self.nodes, self.meaning, self.sections(), keeps=not rerun)
        header = struct.Struct("=16I4Q12I30I2I")
        blocks = [
            b"".join(struct.pack("=BBBBi", *insn) for insn in self.insns),
            b"".join(struct.pack("=Q", value % 2**64) for value in self.constants),
            b"",  # literals, below
            b"".join(struct.pack("=2I", *one) for one in self.delimiters),
            b"".join(struct.pack("=2Iq", *one) for one in self.tables),
            b"".join(struct.pack("=2q", *one) for one in self.entries),
            b"".join(struct.pack("=8I", 0, *one) for one in self.maps),
            b"".join(struct.pack("=2I", *one) for one in self.keys),
            b"".join(struct.pack("=Q2I", *one) for one in self.steps),
            b"".join(struct.pack("=4I", *one) for one in self.checksums),
            b"".join(struct.pack("=I", one) for one in self.operands),
            b"".join(struct.pack("=I", one) for one in replies),
            b"".join(tree.tests),
            b"".join(tree.leaves),
            b"".join(struct.pack("=2I", *one) for one in self.counters.values()),
        ]
        sizes = [8, 8, 8, 8, 16, 16, 32, 8, 16, 16, 4, 4, 32, 116, 8]
        at = header.size + sum(_padded(len(block)) for block in blocks) + _padded(8 * len(self.literals))
        places = b""
        pool = b""
        for text in self.literals:
            places += struct.pack("=2I", at + len(pool), len(text))
            pool += text
        blocks[2] = places
        ranges: list[int] = []
        body = b""
        for block, size in zip(blocks, sizes, strict=True):
            ranges += [header.size + len(body), len(block) // size]
            body += block.ljust(_padded(len(block)), b"\0")
        reserved = (*about.reserved, 0, 0, 0, 0)[:4]
        head = header.pack(
            MAGIC,
            header.size + len(body) + len(pool),
            about.mode,
            self.id_width,
            int(self.id_little),
            self.signature,
            about.reply_max,
            len(self.meaning.variants),
            0,
            meaning,
            self.answerable,
            destination,
            headers,
            rerun,
            ENCODINGS[about.text_encoding],
            len(about.reserved),
            *reserved,
            name,
            tree.root,
            0,  # the status table is the first
            tree.tested,
            len(about.greeting),
            sum(1 << step for step, who in enumerate(about.greeting) if who == "server"),
            int(about.pinned),
            named.most if named else 0,
            int(named.fixed) if named else 0,
            FORMS.index(named.form) if named else 0,
            delimiter,
            int(about.optional_drain),
            *ranges,
            *self.app,
        )
        return head + body + pool

    def _reply(self, pieces: list[Emit]) -> int:
        start = len(self.insns)
        for piece in pieces:
            if piece.what == "EMIT":
                self.op("EMIT", i=self.literal(piece.data))
            elif piece.what == "EMIT_TEXT":
                self.op("EMIT_TEXT", i=self.literal(piece.data))
            else:
                self.op(piece.what, b=piece.width, c=piece.flags, i=piece.base)
        self.op("END")
        return start


def _size(node: Node) -> int:
    if isinstance(node, Integer | Bits):
        return node.width
    if isinstance(node, Section) and isinstance(node.length, int):
        return node.length
    return 0


def _form(integer: Any) -> int:
    width = int(integer.sizeof())
    if hasattr(integer, "fmtstr"):
        return width | 16 * int(integer.fmtstr[0] == "<") | 32 * int(integer.fmtstr[1].islower())
    return width | 16 * int(bool(integer.swapped)) | 32 * int(bool(integer.signed))


def _padded(size: int) -> int:
    return (size + 7) // 8 * 8


def compile_image(nodes: tuple[Node, ...], meaning: Meaning, about: Image) -> bytes:
    """The program of a format, for ``native.declared``.

    Raises:
        DeclarationError: something in it cannot be compiled; it names the field.
    """
    return _Compiler(nodes, meaning).image(about)
