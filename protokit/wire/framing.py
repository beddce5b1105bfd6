"""From nodes to the instructions that frame: where fields stand, what they say, and what has to be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError
from protokit.wire import views
from protokit.wire.arguments import roots
from protokit.wire.checksums import DIGITS
from protokit.wire.expressions import Binary, FieldPath, Laid, Size, fields_of, readings_of, show, sizes_of
from protokit.wire.fronts import open_ends
from protokit.wire.kinds import check_kinds
from protokit.wire.nodes import (
    Bit,
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
    walk,
)
from protokit.wire.readings import Number, views_of
from protokit.wire.texts import Texts
from protokit.wire.told import Digits

if TYPE_CHECKING:
    from protokit.wire.changes import Changes
    from protokit.wire.checksums import Checksum
    from protokit.wire.expressions import Expression
    from protokit.wire.program import Meaning

_SECTIONS = Section | ChunkList | Delimited | Region | Rest | Repeated
IN_WORD = 2048  # PK_IS_BITS
_FIXED = 1 << 16  # bytes of a section that stands at a fixed distance are fewer
_LOADS = {
    (1, False): "LOAD1",
    (2, False): "LOAD2",
    (4, False): "LOAD4",
    (8, False): "LOAD8",
    (2, True): "LOAD2S",
    (4, True): "LOAD4S",
    (8, True): "LOAD8",
}


class Framing(Texts):
    """A program with the part that frames."""

    def __init__(
        self, nodes: tuple[Node, ...], meaning: Meaning, mode: int, changes: Changes | None = None
    ) -> None:
        super().__init__(nodes, meaning)
        self.changes = changes
        # What an answer means is known when its request is: too late where its front has gone on.
        self.judges = bool(meaning.asked) and mode == 0
        self.delimiters: list[tuple[int, int]] = []
        self.measures: list[tuple[int, int, int]] = []
        self.checksums: list[tuple[int, ...]] = []
        self.sums: dict[FieldPath, int] = {}  # the register of where a checksum stands
        self.operands: list[int] = []
        self.open_ends: dict[int, FieldPath] = {}  # by the identity of their nodes
        self.opens: list[int] = []  # their registers
        self.id_width = 0 if meaning.named is None else meaning.named.width
        self.id_places: dict[FieldPath, int] = {}  # of ids that are chosen by a frame's kind
        self.little_id: bool | None = None
        self.counters: dict[FieldPath | str, tuple[int, int]] = {}  # of an id: (register of its place, form)
        self.laid: dict[
            int, int
        ] = {}  # by the identity of nodes that stay: the register of what lays them out
        self.taken: dict[int, int] = {}  # and of which way they go
        self.said: dict[FieldPath, int] = {}  # of what is computed: the register of what it is to be
        self.signature = 0
        self.magic = True
        self.ahead = 0  # as far as was looked ahead
        self.position = 0  # static offset from the start, while it is known
        self.answerable = 0
        self.used: set[FieldPath] = set()
        self.sized: set[Size] = set()  # what is asked for its size
        self.early: set[FieldPath] = set()

    def frame(self) -> None:
        """All instructions that frame, in the order of the nodes."""
        self._collect()
        for node in self._counting():
            if isinstance(node, Digits):
                self.counters[node.told.name] = (self.register(), node.form)
                self.register()
                self.op("ABSENT", self.counters[node.told.name][0])
                continue
            form = 0
            if isinstance(node, Integer):
                form = node.width | 16 * int(node.little) | 32 * int(node.signed)
            elif isinstance(node, Bit):
                form = IN_WORD | node.width | node.shift << 16 | node.size << 24
            self.counters[node.path] = (self.register(), form)
            self.op("NOPLACE", self.counters[node.path][0])
        for laid in self.changes.laid if self.changes else ():
            self.laid[id(laid)] = self.register()
            self.op("SET", self.laid[id(laid)])
        for way in self.changes.taken if self.changes else ():
            self.taken[id(way)] = self.register()
            self.op("SET", self.taken[id(way)])
        self._absent(self.nodes, conditional=False)
        for path in (one for one in self.meaning.readable if one in self.registers):
            self.shown[path] = self.register()
            self.register()
            self.op("ABSENT", self.shown[path])
        if not self.judges:
            self.open_ends = {id(node): node.path for node in open_ends(self.nodes, self.registers)}
        self.sequence(self.nodes)
        self.op("WHOLE")
        for path, at in self.shown.items():
            self.op("READABLE", at, self.registers[path], self.value(self.meaning.readable[path]))
        for node, how in self.changes.said if self.changes else ():
            self.said[node.path] = self.register()
            self.op("MOVE", self.said[node.path], self.value(how))
        if self.meaning.views_of_id() or any(readings_of(one) for one in self.meaning.kinds()):
            self.answerable = len(self.insns)  # what a frame is, or its id, stands in its texts
        for index, checksum in enumerate(self.meaning.checksums):
            self._checksum(checksum)
            self.op("VERIFY", i=index)

    def _counting(self) -> list[Integer | Varint | Digits | Bit]:
        """What has to be found since it counts an id, or what is changed."""
        ids = self.meaning.named.all_counters if self.meaning.named else []
        return list(dict.fromkeys([*ids, *(self.changes.integers if self.changes else [])]))

    def held(self) -> str:
        """What the registers are for; a section has two, where it begins and its size."""
        here = {node.path for node in walk(self.nodes) if isinstance(node, _SECTIONS)}
        sections = len(here & self.registers.keys())
        integers = len(self.registers) - sections
        rest = max(self.next_register - integers - 2 * sections, 0)
        return (
            f"{integers} of integers, {2 * sections} of sections (two each), {rest} of lengths, texts that "
            "are compared, and what is computed"
        )

    def _collect(self) -> None:
        m = self.meaning
        check_kinds(self.nodes, m)
        self.early |= {*m.id, *m.answer_id} | set(m.keep) | {path for one in m.variants for path in one}
        for expression in m.kinds():
            self.early |= fields_of(expression)
            self._uses(expression)
        self.used |= self.early
        for expression in (m.greeting_refused, *m.forms):
            self._uses(expression)
        self.used |= {node.path for node in self._counting()}
        if self.changes is not None:
            self.used |= {*self.changes.counted, *(node.path for node in self.changes.peeked)}
            for _, how in self.changes.said:
                self._uses(how)
        self.used |= set(views.sections_of(m.views_of_id()))
        for expression in (m.timeout, *m.outcome(), *m.readable.values()):
            self._uses(expression)
        self.used |= set(self.own) | self._kept() | set(views.sections_of(m.looks()))
        self.used |= {m.answer_headers.path} if m.answer_headers else set()
        self.used |= set(views.sections_of(roots(m.arguments)))
        kept = [one.view for one in (*m.parts, *m.heard)]
        for expression in views.computed([*m.destination(), *m.looks(), *roots(m.arguments), *kept]):
            self._uses(expression)
        for checksum in m.checksums:
            self.used |= {checksum.path, *(checksum.over or ())}
        self._used_by(self.nodes)

    def _uses(self, expression: Expression) -> None:
        self.used |= fields_of(expression) | set(views.sections_of(views_of(expression)))
        self.sized |= sizes_of(expression)

    def _kept(self) -> set[FieldPath]:
        """What is kept of requests, half-read ones too, and of greetings."""
        kept = [one.view for one in (*self.meaning.parts, *self.meaning.heard)]
        return set(views.sections_of(kept)).union(*map(fields_of, views.computed(kept)))

    def _used_by(self, nodes: tuple[Node, ...]) -> None:
        for node in walk(nodes):
            if isinstance(node, ChunkList):
                self.used.add(node.lengths)
            self._uses(expression_of(node))
            if isinstance(node, Repeated):
                for expression in (node.until, node.count, node.added, node.to):
                    self._uses(expression or 0)
                self._used_by(node.part)

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
            elif isinstance(node, _SECTIONS):
                self._place(node.path, conditional=conditional, section=True)
            elif isinstance(node, Integer | Peeked | Integers | Varint):
                if isinstance(node, Integer | Peeked):
                    self.widths[node.path] = node.width
                if isinstance(node, Varint) and node.bytes > 5:  # a register may be too small
                    self.widths[node.path] = 8
                self._place(node.path, conditional=conditional)
                if isinstance(node, Varint):
                    self._span(node.path, conditional=conditional)

    def _place(self, path: FieldPath, *, conditional: bool, section: bool = False) -> None:
        if path not in self.used or path in self.registers:
            return
        for ids in (self.meaning.id, self.meaning.answer_id):
            shared = [one for one in ids if one in self.registers]
            if path in ids and shared:
                self.registers[path] = self.registers[shared[0]]
                if shared[0] in self.id_places:
                    self.id_places[path] = self.id_places[shared[0]]
                return
        if self.meaning.answer_id and path in {*self.meaning.id, *self.meaning.answer_id}:
            self.id_places[path] = self.register()
            if conditional:
                self.op("NOPLACE", self.id_places[path])
        if path in self.integers and not self.reruns:
            self.spans[path] = self.register()
            self.register()
            if conditional:
                self.op("ABSENT", self.spans[path])
        self.registers[path] = self.register()
        conditional |= path in self._kept()
        if section:
            self.register()
        if conditional:
            self.op("ABSENT" if section else "SET", self.registers[path])
        if any(checksum.path == path for checksum in self.meaning.checksums):
            self.sums[path] = self.register()
            if conditional:
                self.op("NOPLACE", self.sums[path])

    def _span(self, path: FieldPath, *, conditional: bool) -> None:
        """Where a varint stands, if that is asked: it is an id, or lengths are computed from its size."""
        is_id = path in self.meaning.id
        if path in self.spans or not (is_id or Size(path, varint=True) in self.sized):
            return
        shared = [self.spans[one] for one in self.meaning.id if is_id and one in self.spans]
        self.spans[path] = shared[0] if shared else self.register()
        if shared:
            return
        self.register()
        if conditional:
            self.op("ABSENT", self.spans[path])

    def looked(self, reading: Any) -> int:
        """The register of what is found in a text; of a layout in what is in front, which has to be there."""
        if not isinstance(reading, Laid):
            return super().looked(reading)
        before, self.memo, self.strict = self.memo, {}, True
        self.op("HERE")
        self.look([reading.view], self.memo)
        to = super().looked(reading.reading)
        if isinstance(reading.reading, Number) and repr(reading.view) in self.counters:
            at = self.text(reading.view, self.memo, sure=False)
            self.op("SPOT", self.counters[repr(reading.view)][0], at)
        self.memo, self.strict = before, False
        return to

    def sequence(self, nodes: tuple[Node, ...]) -> None:
        """Nodes one behind the other; those at fixed distances together."""
        group: list[Node] = []
        for node in nodes:
            fixed = isinstance(node, Integer | Bits | Condition) or (
                isinstance(node, Section) and isinstance(node.length, int) and node.length < _FIXED
            )
            if fixed:
                group.append(node)
                if isinstance(node, Condition) and self.magic:
                    self.group(group)
                    self.signature = max(self.position, self.ahead)
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
        """A field has been read: where nothing more is needed, a wrong frame can be answered from here on."""
        if path in self.early:
            self.answerable = len(self.insns)

    def integer(self, node: Integer, at: int) -> None:
        """An integer at that distance, where somebody uses it."""
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
        if node.path in self.spans:
            self.op("SPAN", self.spans[node.path], 0, node.width, at)
        if node.path in {*self.meaning.id, *self.meaning.answer_id}:
            if self.id_width not in {0, node.width}:
                raise DeclarationError(
                    f"{show(node.path)}: an id of {node.width} bytes, and another of {self.id_width}; "
                    "all ids have one width"
                )
            self.id_width = node.width
            if node.path in self.id_places:
                self._chosen(node, at)
            else:
                self.op("IDAT", c=int(node.little), i=at)
        if any(checksum.path == node.path for checksum in self.meaning.checksums):
            self.op("MARK", self.sums[node.path], node.width, i=at)
        self.loaded(node.path)

    def _chosen(self, node: Integer, at: int) -> None:
        """One of two ids: where it stands is remembered until it is known what the frame is."""
        if self.little_id not in {None, node.little}:
            raise DeclarationError(
                f"{show(node.path)}: with answer_id all ids have one byte order; choose between them by "
                "IfThenElse(side == 'client', ...)"
            )
        self.little_id = node.little
        self.op("MARK", self.id_places[node.path], node.width, i=at)

    def bits(self, node: Bits, at: int) -> None:
        """The bit fields of one word."""
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
            if path in self.spans:
                self.op("SPAN", self.spans[path], 0, node.width, at)
            if path in self.counters:
                self.op("MARK", self.counters[path][0], node.width, i=at)
            self.loaded(path)

    def fixed(self, node: Section, at: int) -> None:
        """A section whose place and size are known."""
        if node.path in self.registers:
            self.op("SPAN", self.registers[node.path], _size(node) >> 8, _size(node) & 255, at)
            if node.path in self.sums and _size(node) <= DIGITS:
                self.op("MARK", self.sums[node.path], _size(node), i=at)
            self.loaded(node.path)

    def variable(self, node: Node) -> None:  # noqa: PLR0912  # one case a kind
        """A node whose size is not known, or that decides what follows."""
        if isinstance(node, Literal):
            self.op("MAGIC", b=int(self.magic), i=self.literal(node.data))
            self.position += len(node.data)
            if self.magic:
                self.signature = self.position
            return
        if isinstance(node, Choice):
            self.choice(node)
            return
        if isinstance(node, Peeked):
            self.peeked(node)
            return
        self.magic = False
        if isinstance(node, Branch):
            otherwise = (
                self.unless(node.test) if id(node) not in self.laid else self.op("JZ", self.lays(node))
            )
            self._goes(node, 1)
            self.sequence(node.then)
            if node.otherwise:
                end = self.op("JUMP")
                self.here(otherwise)
                self._goes(node, 2)
                self.sequence(node.otherwise)
                self.here(end)
            else:
                self.here(otherwise)
        elif isinstance(node, Section):
            self.measured(node)
        elif isinstance(node, ChunkList):
            self.op("SECTION", self._opens(node), self.registers[node.lengths])
        elif isinstance(node, Delimited):
            self.delimited(node)
        elif isinstance(node, Region):
            self.region(node)
        elif isinstance(node, Rest):
            self.op("REST", self.section_register(node.path))
            self.loaded(node.path)
        elif isinstance(node, Repeated):
            self.repeated(node)
        elif isinstance(node, Varint):
            self.varint(node)
        elif isinstance(node, Integers):
            to = self.registers[node.path] if node.path in self.registers else self.register()
            form = node.width | 16 * int(node.little) | 32 * int(node.signed)
            self.op("SUM", to, self.value(node.count), form)

    def _goes(self, node: Branch | Choice, way: int) -> None:
        if id(node) in self.taken:
            self.op("SET", self.taken[id(node)], i=way)

    def lays(self, node: Branch | Choice | Section) -> int:
        """What a node is laid out by; kept where it has to stay."""
        value = self.value(expression_of(node))
        if id(node) in self.laid:
            self.op("MOVE", self.laid[id(node)], value)
        return value

    def measured(self, node: Section) -> None:
        """A section whose size was read."""
        is_id = node.path in self.meaning.id and self.meaning.named is not None
        length = self.lays(node)
        if is_id:
            self._at_most(length)
        self.op("SECTION", self._opens(node), length)
        if is_id:
            self.op("HERE")
            self.loaded(node.path)

    def _opens(self, node: Section | ChunkList) -> int:
        """The registers of a section; noted where a frame that ends with it is told by what is in front."""
        to = self.section_register(node.path)
        if id(node) in self.open_ends:
            self.opens.append(to)
        return to

    def delimited(self, node: Delimited) -> None:
        """A section that a delimiter ends."""
        to = self.section_register(node.path)
        self.delimiters.append((self.literal(node.delimiter), node.max))
        self.op("UNTIL", to, i=len(self.delimiters) - 1)
        if node.path in self.meaning.id:
            self._at_most(to + 1)
            self.loaded(node.path)

    def peeked(self, node: Peeked) -> None:
        """An integer that comes next; what reads it again says that it is there again."""
        self.op("NEED", i=node.width)
        to = self.registers[node.path] if node.path in self.registers else self.register()
        self.op("LOAD", to, node.width, int(node.little) | 2 * int(node.signed), 0)
        self.ahead = self.position + node.width
        self.loaded(node.path)

    def region(self, node: Region) -> None:
        """A section that says itself where it ends."""
        to = self.section_register(node.path)
        arguments = node.how.arguments
        self.measures.append((node.how.measure.address, len(self.literals), len(arguments)))
        self.literals += arguments  # in a row
        self.op("NEED", i=1)
        self.op("MEASURE", to, i=len(self.measures) - 1)
        self.loaded(node.path)

    def repeated(self, node: Repeated) -> None:
        """Parts, which are framed by the same instructions again and again."""
        to, more, total = self.section_register(node.path), self.register(), self.register()
        ends = []
        if node.count is not None:
            holds = self.register()
            self.op("ADDI", more, self.value(node.count))
            self.op("GEI", holds, more)
            self.op("CHECK", holds)
        wanted = 0
        if node.to is not None:
            wanted = self.value(node.to)
            self.op("SET", total)
        begin = self.op("PARTS", to)
        if node.to is not None:
            holds = self.register()
            self.op("LE", holds, total, wanted)
            self.op("CHECK", holds)
            self.op("NE", more, total, wanted)
        if node.until is None:
            ends.append(self.op("JZ", more))
        self._absent(node.part, conditional=False)
        self.sequence(node.part)
        if node.until is not None:
            self.op("NOT", more, self.value(node.until))
        elif node.count is not None:
            self.op("ADDI", more, more, i=-1)
        else:
            self.op("ADD", total, total, self.value(Binary("ADD", node.added, 0)))
        self.op("AGAIN", to, more if node.until is not None else self.value(1), i=begin)
        self.here(*ends)
        self.loaded(node.path)

    def varint(self, node: Varint) -> None:
        """An integer of seven bits a byte."""
        to = self.registers[node.path] if node.path in self.registers else self.register()
        placed = node.path in self.counters or node.path in self.spans
        place = (
            self.counters[node.path][0] if node.path in self.counters else self.register() if placed else 0
        )
        self.op("UVAR", to, node.bytes, int(placed), place)
        if node.path in self.spans:
            self.op("SINCE", self.spans[node.path], place)
        self.loaded(node.path)

    def _at_most(self, length: int) -> None:
        """An id has no more bytes than were declared."""
        fits = self.register()
        self.op("LEI", fits, length, i=0 if self.meaning.named is None else self.meaning.named.most)
        self.op("CHECK", fits)

    def section_register(self, path: FieldPath) -> int:
        """The first of the two registers of a section, used or not."""
        if path in self.registers:
            return self.registers[path]
        first = self.register()
        self.register()
        return first

    def choice(self, node: Choice) -> None:
        """Each case behind a comparison with the key."""
        magic, self.magic = self.magic, False
        if magic and node.default is None:
            self.signature = self.position
        key = self.lays(node)
        ends = []
        for way, (value, case) in enumerate(node.cases):
            if 0 <= value < 256:
                other = self.op("JNE", key, c=value)
            else:
                other = self.unless(Binary("EQ", node.key, value))
            self._goes(node, 1 + way)
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

    def _checksum(self, checksum: Checksum) -> None:
        node = next(node for node in walk(self.nodes) if getattr(node, "path", None) == checksum.path)
        digits = isinstance(node, Section) and node.length == checksum.digits
        if checksum.digits and not digits:
            raise DeclarationError(
                f"{checksum.what}: {checksum.digits} digits stand in a section of that size: "
                f"Bytes({checksum.digits})"
            )
        if not checksum.digits and (width := self.widths.get(checksum.path)) != checksum.width:
            raise DeclarationError(
                f"{checksum.what}: this.{show(checksum.path)} has {width} bytes, and a "
                f"{checksum.sum.name} is an integer of "
                f"{checksum.sum.width}"
            )
        little = isinstance(node, Integer) and node.little
        first = len(self.operands)
        self.operands += [self.registers[path] for path in checksum.over or ()]
        count = len(checksum.over or ())
        place = self.sums[checksum.path]
        more = (checksum.digits, checksum.skip)
        self.checksums.append((place, int(little), first, count, checksum.number, *more))


def _size(node: Node) -> int:
    if isinstance(node, Integer | Bits):
        return node.width
    if isinstance(node, Section) and isinstance(node.length, int):
        return node.length
    return 0
