"""What a program knows that is run to change frames: from views to how they are written."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from protokit.wire import views
from protokit.wire.changes import ANSWERS, FIELDS, InPythonError
from protokit.wire.counters import key_of
from protokit.wire.expressions import fields_of
from protokit.wire.framing import Framing
from protokit.wire.structures import Inside
from protokit.wire.structures.headers import PUT
from protokit.wire.texts import EXACTLY, NOWHERE

if TYPE_CHECKING:
    from protokit.wire.changes import Changes, Counter
    from protokit.wire.expressions import FieldPath
    from protokit.wire.nodes import Bit, Node
    from protokit.wire.program import Meaning

SECTION, PLACE, VALUE = 256, 512, 1024  # PK_IS_*
TEXT, ITEM, PART, FIRST, STEP, LITERAL, MAP, NUMBER, INSIDE = range(9)  # PK_WRITE_*


class Writing(Framing):
    """A program with where stands what can be changed."""

    def __init__(
        self, nodes: tuple[Node, ...], meaning: Meaning, mode: int, changes: Changes | None = None
    ) -> None:
        super().__init__(nodes, meaning, mode, changes)
        self.fields: list[tuple[int, int, int, int, int]] = []
        self.writers: list[list[int]] = []
        self.counts: list[int] = []
        self._mapped: dict[int, int] = {}  # the numbers of maps, by their identity
        self._numbers: dict[FieldPath, int] = {}  # of sections: their fields
        self._integers: dict[FieldPath | str, int] = {}

    def writing(self) -> list[int]:
        """All fields that are known; gives back how each kind of change is written."""
        changes = self.changes
        if changes is None:
            return [NOWHERE] * (ANSWERS + 1)
        counting = self._integers
        over = {path for one in self.meaning.checksums for path in one.over or ()}
        sections = []
        counters: dict[FieldPath, list[Counter | Bit]] = {}
        for one in changes.integers:
            counters.setdefault(one.path, []).append(one)
        for path in changes.order:
            for one in counters.get(path, ()):
                at, form = self.counters[key_of(one)]
                counting[key_of(one)] = self._field(at, form, self.said.get(path))
            if path in changes.counted or path in over:
                sections.append(path)
                at = self.registers[path]
                self._numbers[path] = self._field(at, SECTION, self.shown.get(path, at))
            if path in self.sums:
                widths = (one.digits or one.sum.width for one in self.meaning.checksums if one.path == path)
                self._field(self.sums[path], PLACE | next(widths))
        for path in sections:
            some = changes.counted.get(path, ())
            at, form, seen, *_ = self.fields[self._numbers[path]]
            self.fields[self._numbers[path]] = (at, form, seen, len(self.counts), len(some))
            self.counts += [counting[key_of(one)] for one in some]
        for path, integers in changes.varints.items():
            at, form, seen, *_ = self.fields[counting[path]]
            self.fields[counting[path]] = (at, form, seen, len(self.counts), len(integers))
            self.counts += [counting[one.path] for one in integers]
        peeked = (self.registers[node.path] for node in changes.peeked)
        for at in (*self.laid.values(), *self.taken.values(), *peeked):
            self._field(at, VALUE)
        if len(self.fields) > FIELDS or len({at for at, *_ in self.fields}) < len(self.fields):
            raise InPythonError  # there are too many, or two share one, and would move twice
        return [
            self._writer(changes.views[what]) if what in changes.views else NOWHERE
            for what in range(ANSWERS + 1)
        ]

    def _field(self, at: int, form: int, seen: int | None = None) -> int:
        self.fields.append((at, form, at if seen is None else seen, 0, 0))
        return len(self.fields) - 1

    def _writer(self, view: views.View | views.Pairs) -> int:
        """The number of how a view is written; what it is made of stands behind it."""
        number = len(self.writers)
        one = [0, 0, NOWHERE, NOWHERE, 0, 0, 0, 0]
        self.writers.append(one)
        if isinstance(view, views.Text):
            one[:2] = TEXT, self._numbers[view.path]
        elif isinstance(view, views.Item):
            one[:2] = ITEM, self._numbers[view.pairs.path]
            one[4:6] = self._map_of(view.pairs), self.literal(view.key)
        elif isinstance(view, views.Pairs):
            one[:2] = MAP, self._numbers[view.path]
            one[4] = self._map_of(view)
        elif isinstance(view, views.Part):
            split = view.split
            one[0], one[2] = PART, self._writer(split.view)
            one[5:] = self.literal(split.separator), split.parts | EXACTLY * split.exact, view.index
        elif isinstance(view, views.First):
            one[0] = FIRST
            inner = [self._writer(each) for each in view.views]
            one[2] = inner[0]
            for each, behind in itertools.pairwise(inner):
                self.writers[each][3] = behind
        elif isinstance(view, views.FoundText):
            found = view.found
            one[:2] = STEP, self._numbers[found.section.path]
            one[4], one[6], one[7] = len(self.steps), found.count, view.index
            self.steps.append((found.step.address, len(self.literals), len(found.arguments)))
            self.literals += found.arguments  # in a row
        elif isinstance(view, views.Decimal | views.Chosen):
            path = next(iter(fields_of(view.value)))  # it is one
            one[0], one[1], one[4] = NUMBER, self._integers[path], NOWHERE
            if isinstance(view, views.Chosen):
                default = -1 if view.default is None else self.literal(view.default)
                names = {key: self.literal(name) for key, name in view.names.items()}
                one[4] = self.table(names, default)
        elif isinstance(view, Inside):
            argument = self.literal(view.argument)
            one[:2] = INSIDE, self._numbers[view.reads]
            one[4:] = len(self.steps), argument, 1, PUT[view.structure.step.name]
            self.steps.append((view.structure.step.address, argument, 1))
        elif isinstance(view, views.Constant):
            one[0], one[5] = LITERAL, self.literal(view.text)
        return number

    def _map_of(self, pairs: views.Pairs) -> int:
        if id(pairs) not in self._mapped:
            self._mapped[id(pairs)] = self._map(pairs, {})
        return self._mapped[id(pairs)]
