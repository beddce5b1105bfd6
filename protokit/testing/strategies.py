"""Hypothesis strategies that come from the declaration itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import reject
from hypothesis import strategies as st

from protokit import native, plugins
from protokit.errors import LocalProtocolError, ProtokitError, RemoteProtocolError
from protokit.model import Request
from protokit.wire import WireFormat, views
from protokit.wire.explain import calculate
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
    Node,
    Not,
    Section,
    Varint,
    walk,
)
from protokit.wire.views import leaves
from protokit.wire.vocabulary import ends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protokit.wire import Protocol

    Draw = Callable[[Any], Any]

T = TypeVar("T")
COMPARISONS = {"EQ", "NE", "LT", "LE", "GT", "GE"}
DRAWS = 20  # within one example, until the values fit together


class Unfit(Exception):
    """What was drawn does not fit together: another draw."""


_TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs"]), min_size=1, max_size=20
)


class Facts:
    """What a format says about its own fields: which values matter, which count something."""

    def __init__(self, wire: WireFormat, samples: Sequence[bytes]) -> None:
        self.wire = wire
        self.candidates: dict[FieldPath, set[int]] = {}
        self.sizes: dict[FieldPath, FieldPath] = {}
        self.counts: set[FieldPath] = set()
        self.small: set[FieldPath] = set()
        self.chunks: dict[FieldPath, FieldPath] = {}
        m = wire.meaning
        for node in walk(wire.nodes):
            self._node(node)
        expressions = [m.response, m.oneway, m.heartbeat, m.drain, m.greeting, m.greeting_refused]
        for expression in expressions:
            self._compare(expression)
        for variant in m.variants:
            for path, value in variant.items():
                self.candidates.setdefault(path, set()).add(value)
        self.statuses: dict[FieldPath, set[int]] = {}
        if m.status is not None and isinstance(m.status[0], Field):
            self.statuses[m.status[0].path] = set(m.status[1].entries)
        self._maps(samples)

    def most(self, path: FieldPath) -> int:
        """Bytes that a section may have, where more would be refused."""
        named = self.wire.meaning.named
        return named.most if named is not None and path in self.wire.meaning.id else 1 << 30

    def _node(self, node: Node) -> None:
        if isinstance(node, Section):
            if isinstance(node.length, Field):
                self.sizes[node.length.path] = node.path
            elif not isinstance(node.length, int):
                self._computed(node.length)
        elif isinstance(node, Integers):
            if isinstance(node.count, Field):
                self.counts.add(node.count.path)
        elif isinstance(node, ChunkList):
            self.chunks[node.lengths] = node.path
        elif isinstance(node, Condition | Branch):
            self._compare(node.test)
        elif isinstance(node, Choice) and isinstance(node.key, Field):
            self.candidates.setdefault(node.key.path, set()).update(value for value, _ in node.cases)

    def _computed(self, expression: Expression) -> None:
        if isinstance(expression, Field):
            self.small.add(expression.path)
        elif isinstance(expression, Binary):
            self._computed(expression.left)
            self._computed(expression.right)

    def _compare(self, expression: Expression) -> None:
        if isinstance(expression, Not):
            self._compare(expression.operand)
        if isinstance(expression, Field):  # a truth value
            self.candidates.setdefault(expression.path, set()).update({0, 1})
        if not isinstance(expression, Binary):
            return
        left, right = expression.left, expression.right
        if isinstance(left, Binary) and left.op == "AND" and isinstance(right, int):
            left = left.left if isinstance(left.left, Field) else left
        if isinstance(left, Field) and isinstance(right, int) and expression.op in COMPARISONS:
            # An equal one and another one: frames that are, and frames that are not.
            near = (
                {right, right + 1} if expression.op in {"EQ", "NE"} else {right - 1, right, right + 1, 0, 1}
            )
            self.candidates.setdefault(left.path, set()).update(near)
        if isinstance(left, Field) and isinstance(right, int) and expression.op == "AND":
            self.candidates.setdefault(left.path, set()).update({0, right})
        for side in (expression.left, expression.right):
            if not isinstance(side, Field) or (expression.op in {"AND", "OR"} and not isinstance(right, int)):
                self._compare(side)

    def _maps(self, samples: Sequence[bytes]) -> None:
        """Sections with meaning: maps by their encoding, texts, and what samples hold."""
        m = self.wire.meaning
        self.maps: dict[FieldPath, tuple[views.Pairs, set[bytes]]] = {}
        self.texts: set[FieldPath] = set()
        self.samples: dict[FieldPath, list[bytes]] = {}
        self.compared = [one.text for one in m.app_error if isinstance(one, views.Same)]
        roots = [view for view in (m.service, m.method, m.version, m.group) if view is not None]
        roots += [one.view for one in m.app_error if isinstance(one, views.Same)]
        if isinstance(m.timeout, views.Number):
            roots.append(m.timeout.view)
        steps: set[FieldPath] = set()
        for view in leaves(roots):
            if isinstance(view, views.Item):
                self.maps.setdefault(view.pairs.path, (view.pairs, set()))[1].add(view.key)
            elif isinstance(view, views.Text):
                self.texts.add(view.path)
            elif isinstance(view, views.FoundText):
                steps.add(view.found.section.path)
        if m.headers is not None:
            self.maps.setdefault(m.headers.path, (m.headers, set()))
        for sample in samples:
            try:
                container, _ = self.wire.parse(sample)
            except (ProtokitError, EOFError):
                continue
            for path in steps:
                value = views.value_at(container, path)
                if value is not None and len(value) < 2000:
                    self.samples.setdefault(path, []).append(bytes(value))


class _Drawer:
    """Draws one set of values, in the order of the frame."""

    def __init__(self, draw: Draw, facts: Facts) -> None:
        self.draw = draw
        self.facts = facts
        self.values: dict[str, Any] = {}
        self.hidden: dict[str, Any] = {}
        self.ahead: dict[FieldPath, Any] = {}

    def put(self, path: FieldPath, value: Any) -> None:
        views_path = path
        container = self.values
        for name in views_path[:-1]:
            inner = container.setdefault(name, {})
            if not isinstance(inner, dict):
                return  # the length in front of a Prefixed section: construct writes it
            container = inner
        container[views_path[-1]] = value

    def nodes(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            self.node(node)

    def node(self, node: Node) -> None:  # noqa: PLR0912  # one case a kind
        facts = self.facts
        if isinstance(node, Integer):
            self.put(node.path, self.integer(node.path, 8 * node.width, signed=node.signed))
        elif isinstance(node, Bits):
            for path, _, size in node.fields:
                self.put(path, self.integer(path, size, signed=False))
        elif isinstance(node, Varint):
            self.put(node.path, self.integer(node.path, 7 * node.bytes, signed=False))
        elif isinstance(node, Section):
            if node.path in self.ahead:
                content = self.ahead[node.path]
            else:
                size = calculate(node.length, self.values)
                if not 0 <= size <= 4096:
                    raise Unfit
                content = self.draw(st.binary(min_size=size, max_size=size))
            self.put(node.path, content)
        elif isinstance(node, Integers):
            count = calculate(node.count, self.values)
            if not 0 <= count <= 64:
                raise Unfit
            chunks = [self.draw(st.binary(max_size=12)) for _ in range(count)]
            self.ahead[facts.chunks.get(node.path, ("",))] = chunks
            self.put(node.path, [len(one) for one in chunks])
        elif isinstance(node, ChunkList):
            self.put(node.path, self.ahead[node.path])
        elif isinstance(node, Delimited):
            content = self.content(node.path)[: min(node.max, facts.most(node.path))]
            if not ends(content, node.delimiter):
                raise Unfit
            self.put(node.path, content)
        elif isinstance(node, Condition):
            if not calculate(node.test, self.values):
                raise Unfit
        elif isinstance(node, Branch):
            self.nodes(node.then if calculate(node.test, self.values) else node.otherwise)
        elif isinstance(node, Choice):
            key = calculate(node.key, self.values)
            case = dict(node.cases).get(key, node.default)
            if case is None:
                raise Unfit
            self.nodes(case)

    def integer(self, path: FieldPath, bits: int, *, signed: bool) -> int:
        facts = self.facts
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if path in facts.sizes:
            content = self.content(facts.sizes[path])[: min(high, 4096, facts.most(facts.sizes[path]))]
            self.ahead[facts.sizes[path]] = content
            return len(content)
        if path in facts.counts or path in facts.small:
            return int(self.draw(st.integers(0, min(high, 4 if path in facts.counts else 24))))
        known = facts.candidates.get(path, set()) | facts.statuses.get(path, set())
        near = sorted(value for value in known if low <= value <= high)
        whole = st.integers(low, high)
        if near:
            return int(self.draw(st.one_of(*[st.sampled_from(near)] * 7, whole)))
        return int(self.draw(st.sampled_from([low, high, 0, 1]) | whole))

    def content(self, path: FieldPath) -> bytes:
        facts = self.facts
        if path in facts.maps:
            pairs, keys = facts.maps[path]
            if self.draw(st.integers(0, 5)) == 3:  # what it holds is read later, and may be no map
                return bytes(self.draw(st.binary(min_size=1, max_size=30)))
            text = _TEXT.map(str.encode)
            key = st.sampled_from(sorted(keys)) | text if keys else text
            items = self.draw(st.lists(st.tuples(key, text), max_size=5))
            try:
                return pairs.encoding.build(items)
            except LocalProtocolError:  # a text holds a separator
                return b""
        if path in facts.texts:
            return bytes(self.draw(_TEXT).encode())
        samples = facts.samples.get(path)
        if samples:
            which = self.draw(st.integers(0, len(samples)))
            return samples[which] if which < len(samples) else bytes(self.draw(st.binary(max_size=30)))
        return bytes(self.draw(st.binary(max_size=30)))


def _values(wire: WireFormat, samples: Sequence[bytes]) -> Callable[[Draw], dict[str, Any]]:
    facts = Facts(wire, samples)

    def values(draw: Draw) -> dict[str, Any]:
        drawer = _Drawer(draw, facts)
        drawer.nodes(wire.nodes)
        return drawer.values

    return values


def field_values(wire: WireFormat, samples: Sequence[bytes] = ()) -> st.SearchStrategy[dict[str, Any]]:
    """Plain field values from which ``wire.build`` makes a frame.

    Args:
        wire: the format.
        samples: frames whose bodies are taken for sections that a step reads.
    """
    return _fitting(_values(wire, samples))


def frames(wire: WireFormat, samples: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """Whole frames of the format."""
    return _fitting(_frames(wire, samples))


def _frames(wire: WireFormat, samples: Sequence[bytes] = ()) -> Callable[[Draw], bytes]:
    values = _values(wire, samples)

    def frame(draw: Draw) -> bytes:
        try:
            built = wire.build(values(draw))
            if wire.parse(built)[1] != len(built):
                raise Unfit
        except (LocalProtocolError, RemoteProtocolError, EOFError):
            raise Unfit from None
        return built

    return frame


@st.composite
def _fitting(draw: Draw, attempt: Callable[[Draw], T]) -> T:
    """Attempts until one fits; rejecting the example at the first would reject most examples."""
    for _ in range(DRAWS):
        with contextlib.suppress(Unfit):
            return attempt(draw)
    return reject()


def requests(*protocols: Protocol) -> st.SearchStrategy[Request]:
    """Requests as the codec reads them: real frames, with the service, method and headers that stand there.

    Args:
        protocols: declared ones; none stands for all that are installed. Where there is none, the requests
            are of no protocol and have no frame.

    Raises:
        TypeError: one of them is not declared.
    """
    wanted = list(protocols)
    if not protocols:
        wanted = [one for one in plugins.load().protocols.values() if isinstance(one.wire, WireFormat)]
    if not wanted:
        text = st.text(max_size=40)
        return st.builds(Request, text, text, version=text, group=text, timeout_ms=st.integers(0, 2**32 - 1))

    for one in wanted:
        if not isinstance(one.wire, WireFormat):
            raise TypeError(f"{one.name} is native: no declaration says what its frames are")
    return st.one_of([_requests_of(one.wire) for one in wanted if isinstance(one.wire, WireFormat)])


def _requests_of(wire: WireFormat) -> st.SearchStrategy[Request]:
    frame_of = _frames(wire)

    def request(draw: Draw) -> Request:
        frame = frame_of(draw)
        if native.frame(wire.address, frame).kind not in {native.KIND_REQUEST, native.KIND_ONEWAY}:
            raise Unfit
        try:
            return native.request(wire.address, frame)
        except RemoteProtocolError:
            raise Unfit from None

    return _fitting(request)


def announcing(samples: Sequence[bytes]) -> list[bytes]:
    """Heads of frames with large numbers written over them, at every place, and little behind."""
    numbers = [
        b"\x7f\xff\xff\xff",
        b"\x00\x7f\xff\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x7f\xff",
        b"\xff\xff",
    ]
    return [
        head[:at] + number + head[at + len(number) :] + bytes(20)
        for head in sorted({sample[:64] for sample in samples})
        for at in range(len(head) - 3)
        for number in numbers
    ]


@st.composite
def spoiled(draw: Draw, whole: st.SearchStrategy[bytes]) -> bytes:
    """A frame with some bytes changed, cut out, put in, or with its end missing."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        at = draw(st.integers(0, min(len(data) - 1, 80)) | st.integers(0, len(data) - 1))
        how = draw(st.sampled_from(["set", "bit", "edge", "cut", "insert", "end"]))
        if how == "set":
            data[at] = draw(st.integers(0, 255))
        elif how == "bit":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "edge":
            data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 8))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        else:
            del data[at:]
    return bytes(data)
