"""Meaning over sections: texts, maps, splits, steps.

A view is declared with ``this`` paths, evaluated on a parsed container by the reference codec, and
compiled for the engine by ``compiler.py``. Texts are bytes inside; None where there is none. ``replace``
is a view's inverse: it puts a new text into the container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError, word
from protokit.wire import expressions
from protokit.wire.encodings import FIRST, LineEncoding, PairEncoding
from protokit.wire.expressions import (
    Binary,
    Expression,
    Field,
    FieldPath,
    Looked,
    Not,
    fields_of,
    resolve,
    strict,
    written,
)
from protokit.wire.given import expect, flag, seen, text_of, within
from protokit.wire.readings import (
    Named,
    Number,
    Same,
    Starts,
    plain,
    tried,
    views_of,
    write,
)
from protokit.wire.sections import Container, bytes_at, put_at, section_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

calculate, value_at = expressions.calculate, expressions.value_at  # views are where others look for them


class View:
    """A text found in a frame."""

    reads: FieldPath | None = None  # the section, of a view that reads one in its own way

    def get(self, container: Container) -> bytes | None:  # overridden
        """The text; None where there is none.

        Raises:
            RemoteProtocolError: the section is malformed.
        """
        raise NotImplementedError

    def replace(self, container: Container, text: bytes | None) -> None:  # noqa: ARG002  # overridden
        """Put another text there; None takes it out.

        Raises:
            LocalProtocolError: this view cannot be written.
        """
        raise LocalProtocolError(f"{self!r} cannot be written to")

    def __eq__(self, other: object) -> Any:
        """``view == "text"`` is a condition."""
        if not isinstance(other, str | bytes):
            raise DeclarationError(
                f"{self!r} is compared with a text, not with {seen(other)}; number(view) is one"
            )
        return Same(self, plain(other, "=="))

    def __ne__(self, other: object) -> Any:
        return ~(self == other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise DeclarationError(
            f"{self!r} has no truth value while a format is declared; use first(a, b), "
            "or compare it with a text"
        )


class Text(View):
    """A whole section."""

    def __init__(self, section: Any, what: str = "text") -> None:
        self.path = section_path(section, what)

    def __repr__(self) -> str:
        return f"text({_this(self.path)})"

    def get(self, container: Container) -> bytes | None:
        """The section's bytes."""
        return bytes_at(container, self.path)

    def replace(self, container: Container, text: bytes | None) -> None:
        """Put the text there, empty for None."""
        if text or value_at(container, self.path) is not None:
            put_at(container, self.path, text or b"")


class Constant(View):
    """The same text always."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()

    def __repr__(self) -> str:
        return repr(self.text.decode())

    def get(self, container: Container) -> bytes | None:  # noqa: ARG002
        """The text."""
        return self.text


class First(View):
    """The first of several that is there."""

    def __init__(self, views: Sequence[View]) -> None:
        if not views:
            raise DeclarationError("first: nothing was given; it takes views: first(this.a, this.b)")
        self.views = tuple(views)
        if any(isinstance(one, Constant) for one in self.views[:-1]):
            raise DeclarationError(
                f"{self!r}: a text is always there, and what follows it is never looked for"
            )

    def __repr__(self) -> str:
        return f"first({', '.join(map(repr, self.views))})"

    def get(self, container: Container) -> bytes | None:
        """The first text that is there."""
        return next((text for view in self.views if (text := view.get(container)) is not None), None)

    def replace(self, container: Container, text: bytes | None) -> None:
        """Replace the one that is there, else write the first that can be written."""
        for view in self.views:
            if view.get(container) is not None:
                view.replace(container, text)
                return
        self.views[0].replace(container, text)


class Split:
    """A text cut at a separator; ``[i]`` is a part. ``exact``: all parts are there, or none."""

    def __init__(self, view: View, separator: str, parts: int, *, exact: bool = False) -> None:
        text_of("split", separator, 'a separator is a text, as in split(this.to, "/", 2)')
        within("split: parts=", parts, 1, 16, "it cuts into 1 to 16 parts, as in split(this.to, '/', 2)")
        if flag("split: exact=", exact) and parts == 1:
            raise DeclarationError(
                "split: exact=True says that a separator has to be there; 2 parts or more need one"
            )
        self.view = view
        self.separator = separator.encode()
        self.parts = parts
        self.exact = exact

    def __repr__(self) -> str:
        exact = ", exact=True" if self.exact else ""
        return f"split({self.view!r}, {self.separator.decode()!r}, {self.parts}{exact})"

    def __getitem__(self, index: int) -> View:
        if not isinstance(index, int) or not 0 <= index < self.parts:
            raise DeclarationError(f"{self!r} has parts 0 to {self.parts - 1}, not {seen(index)}")
        return Part(self, index)

    def pieces(self, container: Container) -> list[bytes | None]:
        """All parts, None for those that are not there."""
        text = self.view.get(container)
        found: list[bytes | None] = [] if text is None else list(text.split(self.separator, self.parts - 1))
        if self.exact and len(found) < self.parts:
            found = []
        return found + [None] * (self.parts - len(found))


class Part(View):
    """One part of a split."""

    def __init__(self, split: Split, index: int) -> None:
        self.split = split
        self.index = index

    def __repr__(self) -> str:
        return f"{self.split!r}[{self.index}]"

    def get(self, container: Container) -> bytes | None:
        """The part."""
        return self.split.pieces(container)[self.index]

    def replace(self, container: Container, text: bytes | None) -> None:
        """Put the part there and join all again; parts in front that are not there become empty.

        Where all have to be there, one that is written to a text without them stands in front of that text,
        or behind it where it is the last; of two, one that is taken out takes the separator with it.
        """
        pieces = self.split.pieces(container)
        if self.split.exact:
            pieces = self._exactly(pieces, self.split.view.get(container) or b"", text)
        else:
            pieces[self.index] = text or None
            while pieces and pieces[-1] is None:
                pieces.pop()
        self.split.view.replace(container, self.split.separator.join(piece or b"" for piece in pieces))
        if text and self.get(container) != text:
            raise LocalProtocolError(
                f"{self!r}: {text!r} holds the separator, and would be read as another part"
            )

    def _exactly(self, pieces: list[bytes | None], whole: bytes, text: bytes | None) -> list[bytes | None]:
        there = pieces[0] is not None
        if text is None and there and self.split.parts > 2:
            raise LocalProtocolError(f"{self!r} cannot be taken out: all parts are there, or none")
        if text is None:
            return [pieces[1 - self.index] if there else whole]
        if not there:
            last = self.split.parts - 1
            pieces[0 if self.index == last else last] = whole
        pieces[self.index] = text
        return pieces


class Pairs:
    """A map: ``[key]`` is a value. Kind ``pairs``: a length before each; ``lines``: separators between.

    Where a key stands twice, the last one counts.
    """

    def __init__(self, section: Any, encoding: PairEncoding | LineEncoding) -> None:
        self.path = section_path(section, "a map")
        self.encoding = encoding

    def __repr__(self) -> str:
        return f"{self.encoding.name}({_this(self.path)}, {self.encoding!r})"

    def __getitem__(self, key: str) -> View:
        if not isinstance(key, str):
            raise DeclarationError(f"{self!r} has values by their keys, which are texts, not {seen(key)}")
        return Item(self, key.encode())

    def items(self, container: Container) -> list[tuple[bytes | None, bytes | None]]:
        """All pairs in their order, as they stand; None is null.

        Raises:
            RemoteProtocolError: they are malformed.
        """
        section = bytes_at(container, self.path)
        return [] if section is None else self.encoding.parse(section)

    def values(self, container: Container) -> list[tuple[bytes | None, bytes | None]]:
        """The same, of values what is read of them.

        Raises:
            RemoteProtocolError: they are malformed.
        """
        stripped = self.encoding.stripped
        items = self.items(container)
        return [(key, raw if key is None or raw is None else stripped(raw)) for key, raw in items]

    def find(self, container: Container, key: bytes) -> bytes | None:
        """The value of a key; of several the last, or the first where that counts.

        Raises:
            RemoteProtocolError: the map is malformed.
        """
        wanted = self.encoding.folded(key)
        if strict.get():
            return self.encoding.only(self.items(container), wanted)
        found = [
            value
            for name, value in self.values(container)
            if name is not None and self.encoding.folded(name) == wanted
        ]
        return found[self.counts] if found else None

    @property
    def counts(self) -> int:
        """The index of the one that counts of several."""
        return 0 if self.encoding.repeated == FIRST else -1

    def set(self, container: Container, key: bytes, value: bytes | None) -> None:
        """Set a key, or take it out for None; the others stay as they are."""
        if value_at(container, self.path) is None:
            raise LocalProtocolError("this kind of frame has no headers")
        items = self.items(container)
        same = [self._is(name, key) for name, _ in items]
        last = len(items)
        while last > 0 and items[last - 1][0] is None:
            last -= 1  # what is no pair would change its meaning in front of one
        last = max(last, self._front(items))
        place = next((i for i, one in enumerate(same) if one), last)
        name = items[place][0] if any(same) else key
        items = [item for item, one in zip(items, same, strict=True) if not one]
        if value is not None:
            items.insert(place, (name, self._around(key, value)))
        put_at(container, self.path, self.encoding.build(items, bytes_at(container, self.path) or b""))
        if value is not None and self.find(container, key) != value:
            raise LocalProtocolError(
                f"{key!r}: {value!r} would not be read so: a separator begins in front of it"
            )

    def rewrite(self, container: Container, key: bytes, value: bytes) -> None:
        """Another value for the pair of a key that counts, and nothing else; where it has none, one more."""
        items = self.items(container)
        places = [place for place, (name, _) in enumerate(items) if self._is(name, key)]
        if not places:
            self.set(container, key, value)
            return
        self._put_at(container, items, places[self.counts], value)

    def rewrite_only(self, container: Container, key: bytes, change: Callable[[bytes], bytes]) -> None:
        """Another value for the one pair of a key, and nothing else.

        Raises:
            LocalProtocolError: there are several.
        """
        items = self.items(container)
        places = [place for place, (name, _) in enumerate(items) if self._is(name, key)]
        if len(places) != 1:
            raise LocalProtocolError(f"{key!r} is there {len(places)} times, and counts the id")
        before = self.encoding.stripped(items[places[0]][1] or b"")
        self._put_at(container, items, places[0], change(before))

    def _put_at(
        self, container: Container, items: list[tuple[bytes | None, bytes | None]], place: int, value: bytes
    ) -> None:
        """Another value; what stands around it stays."""
        name, raw = items[place]
        before = self.encoding.stripped(raw or b"")
        if before:
            front, _, behind = (raw or b"").partition(before)
            items[place] = (name, front + value + behind)
        else:
            items[place] = (name, self._around(name or b"", value))
        put_at(container, self.path, self.encoding.build(items, bytes_at(container, self.path) or b""))

    def _is(self, name: bytes | None, key: bytes) -> bool:
        return name is not None and self.encoding.folded(name) == self.encoding.folded(key)

    def _front(self, items: list[tuple[bytes | None, bytes | None]]) -> int:
        return min(self.encoding.skip, len(items)) if isinstance(self.encoding, LineEncoding) else 0

    def _around(self, key: bytes, value: bytes) -> bytes:
        """A value as it is written: behind a space, where spaces are no part of it."""
        encoding = self.encoding
        if not isinstance(encoding, LineEncoding) or not encoding.trim:
            return value
        if encoding.stripped(value) != value:
            raise LocalProtocolError(f"{key!r}: {value!r} has {encoding.trim!r} around it, which is not read")
        return b" " + value if b" " in encoding.trim else value


class Item(View):
    """A value of a map."""

    def __init__(self, pairs: Pairs, key: bytes) -> None:
        self.pairs = pairs
        self.key = key

    def __repr__(self) -> str:
        return f"{self.pairs!r}[{self.key.decode()!r}]"

    def get(self, container: Container) -> bytes | None:
        """The last value of that key."""
        return tried(lambda: self.pairs.find(container, self.key))

    def replace(self, container: Container, text: bytes | None) -> None:
        """Set it in the map."""
        self.pairs.set(container, self.key, text)


@word
class Step:
    """One extraction in C that a declaration cannot say (``pk_step`` of protokit/codec.h).

    Args:
        name: for messages.
        address: of the function, or a function that returns it when it is first needed.
        reference: the same in Python: (section, arguments, count) to a list of texts.
        keepalive: whatever keeps the function there.
    """

    def __init__(
        self,
        name: str,
        address: int | Callable[[], int],
        reference: Callable[[bytes, Sequence[bytes], int], list[bytes | None]],
        keepalive: object = None,
    ) -> None:
        if not callable(address) and (
            isinstance(address, bool) or not isinstance(address, int) or address <= 0
        ):
            raise DeclarationError(
                f"Step {name!r}: {seen(address)} is no address of a function: "
                'int(ffi.cast("uintptr_t", ffi.addressof(lib, "NAME")))'
            )
        if not callable(reference):
            raise DeclarationError(
                f"Step {name!r}: reference={seen(reference)} is no function of (section, arguments, count)"
            )
        self.name = name
        self._address = address
        self.reference = reference
        self.keepalive = keepalive

    @property
    def address(self) -> int:
        """Of the function in C."""
        return self._address() if callable(self._address) else self._address


class Found:
    """What a step finds; ``[i]`` is the i-th text."""

    def __init__(self, step: Step, section: Any, arguments: Sequence[str], count: int) -> None:
        expect("step", step, Step, "it takes a Step first, as in step(MY_STEP, this.body)[0]")
        within(f"{step.name}: count=", count, 1, 32, "a step finds 1 to 32 texts")
        for one in arguments:
            expect(step.name, one, str, "arguments of a step are texts")
        self.step = step
        self.section = Text(section)
        self.arguments = tuple(argument.encode() for argument in arguments)
        self.count = count

    def __repr__(self) -> str:
        arguments = "".join(f", {argument.decode()!r}" for argument in self.arguments)
        return f"step({self.step.name}, {_this(self.section.path)}{arguments}, count={self.count})"

    def __getitem__(self, index: int) -> View:
        if not isinstance(index, int) or not 0 <= index < self.count:
            raise DeclarationError(f"{self!r} finds texts 0 to {self.count - 1}, not {seen(index)}")
        return FoundText(self, index)


class FoundText(View):
    """One text that a step finds."""

    def __init__(self, found: Found, index: int) -> None:
        self.found = found
        self.index = index

    def __repr__(self) -> str:
        return f"{self.found!r}[{self.index}]"

    def get(self, container: Container) -> bytes | None:
        """The text, by the step's reference."""
        section = self.found.section.get(container)
        if section is None:
            return None
        found = self.found
        texts: list[bytes | None] = []

        def find() -> bytes | None:
            texts.extend(found.step.reference(section, found.arguments, found.count))
            return texts[self.index] if self.index < len(texts) else None

        return tried(find)


class Decimal(View):
    """An integer's digits."""

    def __init__(self, value: Any) -> None:
        self.value = resolve(value, (), ("decimal",))

    def __repr__(self) -> str:
        return f"decimal({written(self.value)})"

    def get(self, container: Container) -> bytes | None:
        """The digits, behind a minus where it is negative."""
        return str(calculate(self.value, container)).encode()

    def replace(self, container: Container, text: bytes | None) -> None:
        """Let the field be the integer that the text says."""
        digits = (text or b"").removeprefix(b"-")
        if not digits.isdigit() or len(digits) > 20:
            raise LocalProtocolError(f"{self!r}: {_told(text)} is no integer")
        write(self.value, container, int(text or b""), repr(self))


class Chosen(View):
    """The name that a table gives an integer, or a text; ``default`` for all others, where None is none."""

    def __init__(self, value: Expression, names: Mapping[int, bytes], default: bytes | None) -> None:
        self.value = value
        self.names = dict(names)
        self.default = default

    def __repr__(self) -> str:
        names = ", ".join(f"{key}: {name.decode()!r}" for key, name in list(self.names.items())[:3])
        return f"table({written(self.value)}, {{{names}{', ...' * (len(self.names) > 3)}}})"

    def get(self, container: Container) -> bytes | None:
        """The name."""
        return self.names.get(calculate(self.value, container), self.default)

    def replace(self, container: Container, text: bytes | None) -> None:
        """Let the field be what has that name."""
        if self.get(container) == text:
            return
        value = next((key for key, name in self.names.items() if name == text), None)
        if value is None:
            known = ", ".join(name.decode() for name in list(self.names.values())[:20])
            raise LocalProtocolError(f"{self!r}: {_told(text)} is no name of it; {known} are")
        write(self.value, container, value, repr(self))


def _told(text: bytes | None) -> str:
    return "nothing" if text is None else repr(text.decode("utf-8", "replace"))


def _this(path: FieldPath) -> str:
    return ".".join(("this", *path))


class Table:
    """An expression's value looked up: statuses, or integers that a reply repeats."""

    def __init__(self, value: Any, entries: Mapping[int, int], default: int) -> None:
        self.value = value
        self.entries = {int(key): int(to) for key, to in entries.items()}
        self.default = int(default)

    def __repr__(self) -> str:
        return f"table({self.value!r}, {self.entries}, {self.default})"


def as_view(value: Any, what: str = "text") -> View:
    """A view; a plain ``this.x`` is its text, a str itself."""
    if isinstance(value, View):
        return value
    if isinstance(value, str):
        return Constant(value)
    if isinstance(value, Pairs):
        raise DeclarationError(f'{what}: {value!r} is a map, not a text: name a key, as in ["name"]')
    if isinstance(value, Split | Found):
        raise DeclarationError(f"{what}: {value!r} is of several texts: say which, as in [0]")
    return Text(value, what)


def leaves(roots: list[View]) -> list[View]:
    """All views that others are made of, and themselves."""
    found: list[View] = []
    for view in roots:
        found.append(view)
        if isinstance(view, First):
            found += leaves(list(view.views))
        elif isinstance(view, Part):
            found += leaves([view.split.view])
        elif isinstance(view, Decimal | Chosen):
            found += leaves(views_of(view.value))
    return found


def computed(roots: list[View]) -> list[Expression]:
    """What views are computed from."""
    return [view.value for view in leaves(roots) if isinstance(view, Decimal | Chosen)]


def of_texts(expression: Expression) -> bool:
    """Whether an expression is of what stands in texts alone."""
    if isinstance(expression, Looked):
        return not computed(views_of(expression))
    if isinstance(expression, Not):
        return of_texts(expression.operand)
    if isinstance(expression, Binary):
        return of_texts(expression.left) and of_texts(expression.right)
    return isinstance(expression, int)


def integers_of(roots: list[View]) -> set[FieldPath]:
    """The fields that views are computed from."""
    return set().union(*map(fields_of, computed(roots)))


def sections_of(roots: list[View]) -> list[FieldPath]:
    """The sections that views read, each once."""
    found: list[FieldPath] = []
    for view in leaves(roots):
        if isinstance(view, Text):
            found.append(view.path)
        elif isinstance(view, Item):
            found.append(view.pairs.path)
        elif isinstance(view, FoundText):
            found.append(view.found.section.path)
        elif view.reads is not None:
            found.append(view.reads)
    return list(dict.fromkeys(found))


__all__ = [
    "Field",
    "Found",
    "Named",
    "Number",
    "Pairs",
    "Same",
    "Starts",
    "Step",
    "Table",
    "View",
]
