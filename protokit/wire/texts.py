"""What a request's destination and its headers are read from: from views to instructions that find texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError
from protokit.wire import views
from protokit.wire.program import Meaning, Program

if TYPE_CHECKING:
    from protokit.wire.layout import FieldPath

ABSENT = 255
NOWHERE = 0xFFFFFFFF
OWN = 4  # what framing can leave for later (pk_frame.own)


class Texts(Program):
    """A program with its texts: maps, keys that are looked up, and steps."""

    def __init__(self, meaning: Meaning) -> None:
        super().__init__(meaning)
        self.maps: list[tuple[int, ...]] = []
        self.keys: list[tuple[int, int]] = []
        self.steps: list[tuple[int, int, int]] = []
        self.after_framing = False

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
        """The instructions that find what a request is routed by; where they begin."""
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

    def headers(self, pairs: views.Pairs | None, *, answers: bool = False) -> int:
        """The same for the headers of requests, or of answers; NOWHERE where there are none."""
        if pairs is None:
            return NOWHERE
        start = len(self.insns)
        section = self.slices()
        if answers:
            self.op("SLICE", section, self.registers[pairs.path])
        else:
            self.section(section, pairs.path)
        self.op("HEADERS", section, i=self._map(pairs, {}))
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


def _form(integer: Any) -> int:
    width = int(integer.sizeof())
    if hasattr(integer, "fmtstr"):
        return width | 16 * int(integer.fmtstr[0] == "<") | 32 * int(integer.fmtstr[1].islower())
    return width | 16 * int(bool(integer.swapped)) | 32 * int(bool(integer.signed))
