"""What a request's destination and its headers are read from: from views to instructions that find texts."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError
from protokit.wire import views
from protokit.wire.arguments import MSGPACK, roots
from protokit.wire.encodings import FIRST, PairEncoding
from protokit.wire.expressions import Field, fields_of, readings_of
from protokit.wire.inside import Token
from protokit.wire.nodes import Bits, Branch, Integer, Varint, walk
from protokit.wire.program import Meaning, Program
from protokit.wire.structures import Inside
from protokit.wire.structures.headers import EntryEncoding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protokit.wire.expressions import Expression, FieldPath
    from protokit.wire.nodes import Node
    from protokit.wire.requested import Part, Place
    from protokit.wire.structures import Structure

ABSENT = 255
NOWHERE = 0xFFFFFFFF
EXACTLY = 0x80  # SPLIT: all parts, or none
FIRST_COUNTS = 16  # PK_LINES_FIRST
OWN = 4  # what framing can leave for later (pk_frame.own)


class Texts(Program):
    """A program with its texts: maps, keys that are looked up, and steps."""

    def __init__(self, nodes: tuple[Node, ...], meaning: Meaning) -> None:
        super().__init__(meaning)
        self.nodes = nodes
        self.tables: list[tuple[int, int, int]] = []
        self.entries: list[tuple[int, int]] = []
        self.maps: list[tuple[int, ...]] = []
        self.keys: list[tuple[int, int]] = []
        self.steps: list[tuple[int, int, int]] = []
        self.after_framing = False
        self.shown: dict[FieldPath, int] = {}  # of sections that may be unreadable: as views have them
        self.memo: dict[Any, int] = {}  # where texts are that were found, in the code that is written now
        self.argued: list[tuple[int, int, int, int]] = []
        self.half_read = False  # what is kept of a frame that may be wrong
        self.strict = False  # what is read decides what is laid out

    @cached_property
    def integers(self) -> dict[FieldPath, Integer | Bits | None]:
        """The integers that a destination is read from, as they stand; None where one has several forms."""
        wanted = views.integers_of(self.meaning.destination())
        if readings_of(self.meaning.timeout):
            wanted |= fields_of(self.meaning.timeout)
        found: dict[FieldPath, Integer | Bits | None] = {}
        for node in walk(self.nodes):
            if isinstance(node, Branch):
                continue
            named = [path for path, _, _ in node.fields] if isinstance(node, Bits) else [node.path]
            for path in wanted.intersection(named):
                one = node if isinstance(node, Integer | Bits) and path not in found else None
                found[path] = one
        return {path: found[path] for path in sorted(found)}

    @cached_property
    def own(self) -> list[FieldPath]:
        """What a destination and the headers are read from: sections, and integers."""
        found = views.sections_of(self.meaning.destination())
        if self.meaning.headers is not None and self.meaning.headers.path not in found:
            found.append(self.meaning.headers.path)
        return found + list(self.integers)

    @cached_property
    def reruns(self) -> bool:
        """Framing cannot leave all that a destination needs: it is run again."""
        return 2 * len(self.own) > OWN or None in self.integers.values()

    @cached_property
    def left(self) -> list[FieldPath]:
        """What framing leaves for later: that, and of what is kept as much as there is room for."""
        kept = views.sections_of([part.view for part in self.meaning.parts if not part.is_integer])
        more = [path for path in kept if path not in self.own]
        return [*self.own, *more][: max(len(self.own), OWN // 2)]

    def section(self, to: int, path: FieldPath) -> None:
        """A section as a text: from what framing left, or from its registers."""
        if self.after_framing and not self.reruns:
            self.op("OWN", to, i=2 * self.left.index(path))
        elif self.half_read:
            self.op("PART", to, self.registers[path])
        else:
            self.op("SLICE", to, self.looked_into(path))

    def looked_into(self, path: FieldPath) -> int:
        """The registers of a section as views have it: absent where it cannot be read."""
        return self.shown.get(path, self.registers[path])

    def load(self) -> None:
        """The integers that a destination is read from, into their registers."""
        for path, node in self.integers.items():
            if self.reruns or node is None:
                continue  # they are there
            at = self.slices()
            self.section(at, path)
            if isinstance(node, Integer):
                form = node.width | 16 * int(node.little) | 32 * int(node.signed)
                self.op("INTEGER", self.registers[path], at, form)
            else:
                word = self.register()
                self.op("INTEGER", word, at, node.width)
                shift, size = next((shift, size) for name, shift, size in node.fields if name == path)
                self.op("BITS", self.registers[path], word, shift, (1 << size) - 1)

    def destination(self) -> int:
        """The instructions that find what a request is routed by; where they begin."""
        m = self.meaning
        start = len(self.insns)
        self.after_framing = True
        self.memo = {}
        memo = self.memo
        self.look(self.meaning.destination(), memo)
        self.load()
        found = [
            ABSENT if view is None else self.text(view, memo)
            for view in (m.service, m.method, m.version, m.group)
        ]
        self.op("TO", *found)
        if readings_of(m.timeout):
            self.op("BUDGET", self.value(m.timeout))
        self.op("END")
        return start

    def headers(self, pairs: views.Pairs | None, *, answers: bool = False) -> int:
        """The same for the headers of requests, or of answers; NOWHERE where there are none."""
        if pairs is None:
            return NOWHERE
        start = len(self.insns)
        section = self.slices()
        if answers:
            self.op("SLICE", section, self.looked_into(pairs.path))
        else:
            self.section(section, pairs.path)
        self.op("HEADERS", section, i=self._map(pairs, {}))
        self.op("END")
        return start

    def arguments(self) -> int:
        """The instructions that find the texts of arguments, of a frame that was run; where they begin."""
        if not self.meaning.arguments:
            return NOWHERE
        start = len(self.insns)
        before, self.after_framing = self.after_framing, False
        memo = self.memo = {}
        self.look(roots(self.meaning.arguments), memo)
        for one in self.meaning.arguments:
            guard = ABSENT if one.guard is None else self.text(one.guard, memo)
            found = guard if one.form >= MSGPACK else self.text(one.view, memo)
            self.argued.append((found, one.form, guard, self.literal(one.path)))
        self.op("END")
        self.after_framing = before
        return start

    def keep(self) -> tuple[int, int]:
        """The instructions that find what is kept of a request: of any frame, and as framing left it."""
        parts = self.meaning.parts
        if not parts:
            return NOWHERE, NOWHERE
        left = [] if self.reruns else self.left
        enough = all(
            not part.is_integer
            and all(views.of_texts(one) for one in views.computed([part.view]))
            and set(views.sections_of([part.view])) <= set(left) - set(self.meaning.readable)
            for part in parts
        )
        own = self._keep(parts, 0, after_framing=True) if enough else NOWHERE
        return self._keep(parts, 0), own

    def heard(self) -> int:
        """The same of a peer's greeting."""
        parts = self.meaning.heard
        return self._keep(parts, len(self.meaning.parts)) if parts else NOWHERE

    def _keep(self, parts: Sequence[Part], first: int, *, after_framing: bool = False) -> int:
        start = len(self.insns)
        self.after_framing, self.half_read = after_framing, not after_framing
        memo = self.memo = {}
        self.look([part.view for part in parts if part.place or not part.is_integer], memo)
        for number, part in enumerate(parts, first):
            if part.place is not None:
                self.op("KEEP_INT", self._computed(part, part.place), i=number)
            elif part.is_integer:
                self.op("KEEP_INT", self.registers[part.path], i=number)
            else:
                self.op("KEEP", self.text(part.view, memo), i=number)
        self.op("END")
        self.after_framing, self.half_read = True, False
        return start

    def _computed(self, part: Part, place: Place) -> int:
        """The register that holds an integer to keep; 0 where it does not fit its place."""
        to, holds = self.register(), self.register()
        found = self.value(0 if part.value is None else part.value)
        if part.table is not None:
            self.op("TABLE", to, found, i=self.table(part.table.entries, part.table.default))
            return to  # all that it leads to fits
        self.op("MOVE", to, found)
        whole = place.most >> 63  # a register has no others
        for name, bound in () if whole else (("GE", place.least), ("LE", place.most)):
            if -(2**31) <= bound < 2**31:
                self.op(name + "I", holds, to, i=bound)
            else:
                self.op(name, holds, to, self.value(bound))
            fits = self.op("JNZ", holds)
            self.op("SET", to)
            self.here(fits)
        return to

    def _map(self, pairs: views.Pairs, keys: dict[bytes, int]) -> int:
        first = len(self.keys)
        encoding = pairs.encoding
        self.keys += [(self.literal(encoding.folded(key)), to) for key, to in keys.items()]
        if isinstance(encoding, PairEncoding):
            self.maps.append((0, form_of(encoding.key), form_of(encoding.value), 0, 0, first, len(keys)))
        elif isinstance(encoding, EntryEncoding):
            names = {tag: self.literal(name) for tag, name in encoding.names.items()}
            table = self.table(names, -1) if names else NOWHERE
            self.maps.append((encoding.kind, self.literal(encoding.argument), table, 0, 0, first, 0))
        else:
            between, after = self.literal(encoding.between), self.literal(encoding.after)
            trim = self.literal(encoding.trim) if encoding.trim else NOWHERE
            flags = (
                int(encoding.ignore_case) | encoding.skip << 1 | FIRST_COUNTS * (encoding.repeated == FIRST)
            )
            self.maps.append((1, flags, trim, between, after, first, len(keys)))
        return len(self.maps) - 1

    def look(self, roots: list[views.View], memo: dict[Any, int]) -> list[int]:
        """Look all keys up that are asked for, each map once; give each step its place. The maps' numbers."""
        wanted: dict[int, tuple[views.Pairs, dict[bytes, int]]] = {}
        structures: dict[int, tuple[Structure, dict[bytes, None]]] = {}
        for view in views.leaves(roots):
            if isinstance(view, Inside):
                one = view.structure
                structures.setdefault(id(one), (one, {}))[1][view.argument] = None
            elif isinstance(view, views.Item):
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
        for structure, arguments in structures.values():
            for argument in arguments:  # a step each: what cannot be read at one path leaves the others
                memo[("inside", id(structure), argument)] = self.slices()
                memo[("path", id(structure), argument)] = len(self.steps)
                self.steps.append((structure.step.address, len(self.literals), 1))
                self.literals.append(argument)
        looked: list[int] = []
        for pairs, keys in wanted.values():
            section = self.slices()
            self.section(section, pairs.path)
            looked.append(self._map(pairs, keys))
            self.op("LOOK", int(self.strict), section, i=looked[-1])
        return looked

    def text(self, view: views.View, memo: dict[Any, int], *, sure: bool = True) -> int:
        """The slice that holds a view's text. ``sure``: this code always runs, so that it can be shared."""
        if isinstance(view, views.Item):
            return memo[(id(view.pairs), view.key)]
        if ("view", id(view)) in memo:
            return memo[("view", id(view))]
        if isinstance(view, views.FoundText):
            return self._found(view, memo)
        if isinstance(view, Token):
            return self._placed(view)
        if isinstance(view, Inside):
            return self._inside(view, memo)
        to = self._text(view, memo, sure=sure)
        if sure:
            memo[("view", id(view))] = to
        return to

    def _placed(self, view: Token) -> int:
        to = self.slices()
        self.section(to, view.reads)
        places = [one.place for one in self.meaning.views_of_id() if isinstance(one, Token)]
        self.op("PLACE", to, to, places.index(view.place))
        return to

    def _text(self, view: views.View, memo: dict[Any, int], *, sure: bool) -> int:
        if isinstance(view, views.Part):
            split = view.split
            if ("split", id(split)) in memo:
                return memo[("split", id(split))] + view.index
            inner = self.text(split.view, memo, sure=sure)
            first = self.slices(split.parts)
            parts = split.parts | EXACTLY * split.exact
            self.op("SPLIT", first, inner, parts, self.literal(split.separator))
            if sure:
                memo[("split", id(split))] = first
            return first + view.index
        to = self.slices()
        if isinstance(view, views.Text):
            self.section(to, view.path)
        elif isinstance(view, views.Constant):
            self.op("LITERAL", to, i=self.literal(view.text))
        elif isinstance(view, views.Decimal):
            self.op("DIGITS", to, self.value(view.value), int(self.unsigned(view.value)))
        elif isinstance(view, views.Chosen):
            names = {key: self.literal(name) for key, name in view.names.items()}
            default = -1 if view.default is None else self.literal(view.default)
            self.op("CHOOSE", to, self.value(view.value), i=self.table(names, default))
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

    def table(self, entries: Mapping[int, int], default: int) -> int:
        """The number of a table, in the order of its keys."""
        first = len(self.entries)
        self.entries += sorted(entries.items())
        self.tables.append((first, len(entries), default))
        return len(self.tables) - 1

    def unsigned(self, value: Expression) -> bool:
        """Whether an expression is a field of 8 bytes, or a varint, that has no sign."""
        return isinstance(value, Field) and any(
            isinstance(node, Integer | Varint)
            and node.path == value.path
            and not getattr(node, "signed", False)
            for node in walk(self.nodes)
        )

    def looked(self, reading: Any) -> int:
        """The register that holds what is found in a text."""
        to = self.register()
        at = self.text(reading.view, self.memo, sure=False)
        if isinstance(reading, views.Number):
            self.op("LENGTH" if self.strict else "NUMBER", to, at)
        elif isinstance(reading, views.Same):
            self.op("SAME", to, at, i=self.literal(reading.text))
        elif isinstance(reading, views.Starts):
            self.op("SAME", to, at, 1, self.literal(reading.text))
        elif isinstance(reading, views.Named):
            holds = self.register()
            ends = []
            for number, text in enumerate(reading.texts):
                self.op("SAME", holds, at, i=self.literal(text))
                other = self.op("JZ", holds)
                self.op("SET", to, i=number)
                ends.append(self.op("JUMP"))
                self.here(other)
            self.op("SET", to, i=-1)
            self.here(*ends)
        else:
            raise DeclarationError(f"{reading!r} cannot be compiled")
        return to

    def _inside(self, view: Inside, memo: dict[Any, int]) -> int:
        one = view.structure
        section = self.slices()
        self.section(section, one.section.path)
        to = memo[("inside", id(one), view.argument)]
        self.op("STEP", to, section, 1, memo[("path", id(one), view.argument)])
        return to

    def _found(self, view: views.FoundText, memo: dict[Any, int]) -> int:
        found = view.found
        first = memo[("found", id(found))]
        section = self.slices()
        self.section(section, found.section.path)
        self.op("STEP", first, section, found.count, memo[("step", id(found))])
        return first + view.index


def form_of(integer: Any) -> int:
    """An integer of construct's as the engine has it."""
    width = int(integer.sizeof())
    if hasattr(integer, "fmtstr"):
        return width | 16 * int(integer.fmtstr[0] == "<") | 32 * int(integer.fmtstr[1].islower())
    return width | 16 * int(bool(integer.swapped)) | 32 * int(bool(integer.signed))
