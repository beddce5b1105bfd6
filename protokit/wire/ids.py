"""Ids that are byte strings: which sections may be one, and how the engine writes its own into them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, word
from protokit.wire.counters import agree, check_follows, counting, undecided, ways_of
from protokit.wire.encodings import LineEncoding
from protokit.wire.explain import calculate
from protokit.wire.expressions import FieldPath, fields_of, show
from protokit.wire.given import expect, one_or_several, seen
from protokit.wire.inside import Token
from protokit.wire.nodes import (
    Bits,
    Branch,
    ChunkList,
    Condition,
    Delimited,
    Integer,
    Integers,
    Node,
    Region,
    Section,
    Varint,
    walk,
)
from protokit.wire.sections import set_at
from protokit.wire.structures import Inside
from protokit.wire.structures.bers import twos_complement
from protokit.wire.told import CannotRewriteError, Digits
from protokit.wire.views import (
    First,
    Item,
    Part,
    Text,
    View,
    as_view,
    leaves,
    sections_of,
    value_at,
)
from protokit.wire.vocabulary import ends, varint

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMS = ("decimal", "hex", "raw", "uuid", "varint", "quoted", "msgpack", "integer")
_OF_FIELDS = FORMS[:5]
MOST = 64  # bytes of an id
_UUID = 36
_DECIMAL = (0, 3, 5, 8, 10, 13, 15, 17, 20)  # digits of a number of so many bytes


class ByteId:
    """What ``byte_id`` gives."""

    def __init__(self, fields: tuple[Any, ...], most: int | None, form: str | None) -> None:
        self.view: View | None = None
        if len(fields) == 1 and isinstance(fields[0], Item | Inside):
            (view,), fields = fields, ()
            self.view = view if isinstance(view, Item) else Token(view, form)
        elif any(isinstance(field, View) for field in fields):
            views = [as_view(field, "byte_id") for field in fields]
            self.view, fields = (views[0] if len(views) == 1 else First(views)), ()
        self.fields = fields
        if most is not None:
            expect("byte_id: max=", most, int, f"it is how many bytes an id has at most, 1 to {MOST}")
        self.most = most
        self.form = form


@word
def byte_id(*fields: Any, max: int | None = None, form: str | None = None) -> ByteId:  # noqa: A002  # as of Until
    """An id that is a byte string: ``id=byte_id(this.id, max=36, form="hex")``.

    Args:
        fields: the section, or several where branches have their own; or the one view of a map's value, or
            of what stands in a structure (``protobuf``, ``tlv``, ``json``, ``msgpack``, ``ber``).
        max: the most bytes of an id as it is encoded, 64 at most; needed where the declaration does not say
            it. A frame with a longer one is refused.
        form: how the engine writes its own numbers, which servers get to see: ``decimal`` (None: that),
            ``hex`` (lower case), ``raw`` (big endian) or ``uuid`` (hex in groups, 36 bytes). Filled with
            zeros in front where ids have a fixed size. Of a UVar, and of a field of protobuf that is no
            bytes, it is ``varint``; of MessagePack ``msgpack``; of JSON ``decimal``, a number, or
            ``quoted``, a text; of BER ``integer``.
    """
    return ByteId(fields, max, form)


def given_as(given: Any) -> tuple[ByteId, tuple[Any, ...]]:
    """What ``id=`` says of ids that are byte strings, and the fields that hold ids.

    Raises:
        DeclarationError: several places of which one is no field.
    """
    if isinstance(given, ByteId):
        return given, () if given.view is not None else given.fields or (given,)
    fields = () if given is None else one_or_several(given)
    if any(isinstance(one, ByteId) for one in fields):
        raise DeclarationError(
            "id: byte_id(...) stands alone: of sections in branches it is byte_id(this.a.id, this.b.id);"
            " where some branches have integers, or other views, they are protocols of their own"
        )
    return ByteId((), None, None), fields


@dataclass(frozen=True)
class Named:
    """Ids that are byte strings, as the engine has them.

    Attributes:
        most: bytes of the longest.
        fixed: all have so many.
        form: one of FORMS.
        width: bytes of the engine's own numbers.
        delimiter: what ends an id; empty where a length does.
        counters: what counts an id, in every branch: integers, or numbers in texts.
        view: where it stands, if it is no field.
        passes: it is only read, and stays as it is.
        answers: those of answers, where they stand elsewhere.
    """

    most: int
    fixed: bool
    form: str
    width: int
    delimiter: bytes
    counters: tuple[Integer | Varint | Digits, ...]
    view: View | None = None
    passes: bool = False
    answers: Named | None = None

    def of(self, *, answers: bool) -> Named:
        """Where requests have theirs, or answers."""
        return self.answers if answers and self.answers is not None else self

    @property
    def all_counters(self) -> list[Integer | Varint | Digits]:
        """Of requests and of answers, each once."""
        return list(dict.fromkeys((*self.counters, *self.of(answers=True).counters)))

    def write(self, number: int) -> bytes:
        """The engine's id for a number; wider ones lose their front."""
        number %= 1 << 8 * self.width
        if self.form == "varint":
            return varint(number)
        if self.form == "uuid":
            text = f"{number:032x}"
            return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])).encode()
        if self.form == "quoted":
            return b'"%d"' % number
        if self.form == "msgpack":
            return msgpack_integer(number)
        if self.form == "integer":
            return twos_complement(number)
        if self.form == "raw":
            return number.to_bytes(self.most if self.fixed else self.width, "big")
        text = f"{number:x}" if self.form == "hex" else str(number)
        return text.rjust(self.most if self.fixed else 0, "0").encode()

    @property
    def longest(self) -> bytes:
        """One of the longest ids that a client may have."""
        if self.form == "varint":
            return varint(min(1 << 7 * self.most, 1 << 64) - 1)
        if self.form == "quoted":
            return b'"' + b"1" * (self.most - 2) + b'"'
        if self.form == "msgpack":
            size = self.most - 1 if self.most <= 32 else self.most - 2  # behind a tag, or a tag and a length
            return (bytes([0xA0 | size]) if self.most <= 32 else bytes([0xD9, size])) + b"1" * size
        return b"1" * self.most

    def field(self, request_id: bytes) -> Any:
        """What stands in the id's field: its bytes, or a varint's number."""
        return number_of(request_id) if self.form == "varint" else request_id

    def put(self, container: Any, request_id: bytes) -> None:
        """Write an id that is no field; numbers in texts that count it follow."""
        if self.view is None:
            return
        if self.passes or not isinstance(self.view, Item | Token):
            self.view.replace(container, request_id)
            return
        path = self.view.reads if isinstance(self.view, Token) else self.view.pairs.path
        before = len(value_at(container, path) or b"")
        if isinstance(self.view, Item):
            self.view.pairs.rewrite(container, self.view.key, request_id)
        else:
            self.view.replace(container, request_id)
        self.follow(container, path, before)

    def set(self, container: Any, path: FieldPath, request_id: bytes) -> None:
        """Write an id that is a field; numbers in texts that count it follow."""
        before = value_at(container, path)
        set_at(container, path, self.field(request_id))
        if isinstance(before, bytes):
            self.follow(container, path, len(before))

    def follow(self, container: Any, path: FieldPath, before: int) -> None:
        """Numbers in texts count that section as it is now; it had so many bytes."""
        more = len(value_at(container, path) or b"") - before
        for one in self.counters if more else ():
            if isinstance(one, Digits):
                one.add(container, more)

    def allows(self, request_id: bytes) -> bool:
        """Whether a frame can have that id."""
        if self.view is not None and self.form == "varint" and not request_id:
            return False
        if isinstance(self.view, Token) and not self.view.is_id(request_id):
            return False
        if self.form == "varint":
            whole = len(request_id) <= self.most and number_of(request_id) >> 64 == 0
            return whole and varint(number_of(request_id)) == request_id
        if self.delimiter and not ends(request_id, self.delimiter):
            return False
        return len(request_id) == self.most if self.fixed else len(request_id) <= self.most


def number_of(request_id: bytes) -> int:
    """What a varint says."""
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(request_id))


def named(
    nodes: tuple[Node, ...], paths: Iterable[FieldPath], most: int | None, form: str | None
) -> Named | None:
    """What the id's fields are; None where they are integers.

    Args:
        nodes: of the format.
        paths: of the id's fields.
        most: bytes of the longest id, where ``byte_id`` says so.
        form: of ``byte_id``.

    Raises:
        DeclarationError: a field can be no id; says why and what to use instead.
        CannotRewriteError: it can be one that stays as it is.
    """
    found = _of(nodes, paths)
    if not found:
        return None
    path = found[0].path
    facts, form = _facts_of(found, most, form)
    if len(facts) > 1:
        raise CannotRewriteError(f"{show(path)}: all ids have one size, or one maximum, and one delimiter")
    ((size, fixed, delimiter),) = facts
    width = _width(path, size, form, fixed=fixed)
    written = {"decimal": b"0123456789", "hex": b"0123456789abcdef"}.get(form, delimiter)
    if set(delimiter) & set(written):
        raise CannotRewriteError(
            f"{show(path)}: an id in the form {form} could hold its delimiter {delimiter!r}; choose another "
            "form, or a length in front"
        )
    named = Named(size, fixed, form, width, delimiter, ())
    undecided(nodes, {node.path for node in found})
    if fixed:
        return named
    sections = dict.fromkeys(node for node in found if isinstance(node, Section | Delimited | Varint))
    counters = {node.path: counting(nodes, node) for node in sections}
    if len(counters) < len(sections):  # cases of a Switch may have the same field
        raise CannotRewriteError(
            f"{show(path)}: two fields of one name are an id; give each branch its own Struct"
        )
    agree(counters)
    every = {one: None for some in counters.values() for one in some}
    ways = ways_of(nodes, path, every)
    for node in sections:
        if isinstance(node, Section) and fields_of(node.length):
            _checked(nodes, node, named)
    return Named(size, fixed, form, width, delimiter, ways)


def _of(nodes: tuple[Node, ...], paths: Iterable[FieldPath]) -> list[Any]:
    """The fields of those paths; none where they are integers."""
    fields = [node for node in walk(nodes) if not isinstance(node, Bits | Branch)]
    found = [node for node in fields if node.path in set(paths)]
    sections = Section | Delimited | ChunkList | Integers | Varint
    return found if any(isinstance(node, sections) for node in found) else []


def _facts_of(
    found: list[Any], most: int | None, form: str | None
) -> tuple[set[tuple[int, bool, bytes]], str]:
    """(most bytes, fixed, delimiter) of each, and the form of the engine's own."""
    path = found[0].path
    facts = {_facts(node, node.path, most) for node in found}
    if all(isinstance(node, Varint) for node in found):
        if form not in {None, "varint"}:
            raise DeclarationError(
                f"{show(path)}: a UVar is written as it is, not in the form {form}; "
                f"write id=this.{show(path)}"
            )
        form = "varint"
    elif form == "varint" or any(isinstance(node, Varint) for node in found):
        raise DeclarationError(f"{show(path)}: the form varint is for ids that are a UVar in every branch")
    form = form or "decimal"
    if form not in _OF_FIELDS:
        raise DeclarationError(
            f"{show(path)}: the form {seen(form)} of an id is none of {', '.join(_OF_FIELDS)}"
        )
    return facts, form


def passing(
    nodes: tuple[Node, ...], paths: Iterable[FieldPath], view: View | None, most: int | None, form: str | None
) -> Named:
    """An id that is only read: nothing has to be made right around it.

    Raises:
        DeclarationError: it cannot be read; says why and what to use instead.
    """
    if view is not None:
        for one in leaves([view]):
            if isinstance(one, Inside):
                raise DeclarationError(
                    f"byte_id: {one!r} is an id by itself alone, byte_id({one!r}); the first of several"
                    " may be sections, parts of them (split) and values of maps (lines, pairs)"
                )
            if not isinstance(one, Text | Item | Part | First | Token):
                raise DeclarationError(
                    f"byte_id: {one!r} is no piece of the frame; an id is a section, a part of one (split), "
                    "a map's value, or of several the first that is there"
                )
        path, form, most = _view_of(view, most, form)
        fixed = False
    else:
        found = _of(nodes, paths)
        path = found[0].path
        facts, form = _facts_of(found, most, form)
        most = max(size for size, _, _ in facts)
        fixed = len(facts) == 1 and next(iter(facts))[1]
    try:
        width = _width(path, most, form, fixed=fixed)
    except CannotRewriteError:
        form, width = ("raw", min(most, 8)) if form in {"decimal", "hex"} else (form, 1)
    return Named(most, fixed, form, width, b"", (), view, passes=True)


def ids_of(
    nodes: tuple[Node, ...], paths: Iterable[FieldPath], given: ByteId, answers: Any, *, rewritten: bool
) -> Named | None:
    """What a format's ids are; None where they are integers.

    Args:
        nodes: of the format.
        paths: of the id's fields.
        given: what else the declaration says.
        answers: what it says of those of answers.
        rewritten: servers get ids of the engine's own.

    Raises:
        DeclarationError: there can be none; says why and what to use instead.
    """
    if isinstance(answers, ByteId):
        return chosen(nodes, given, answers, rewritten=rewritten)
    try:
        if given.view is not None:
            return viewed(nodes, given.view, given.most, given.form)
        return named(nodes, paths, given.most, given.form)
    except CannotRewriteError:
        if rewritten:
            raise
        return passing(nodes, paths, given.view, given.most, given.form)


PAIR = (
    "it goes with id=this.NAME of an integer, or with a view: "
    'id=byte_id(h["id"], max=36), answer_id=byte_id(h["re"], max=36); choose between sections by '
    "IfThenElse(side == 'client', ...)"
)


def of_answers(given: Any) -> tuple[Any, ...]:
    """The fields of ``answer_id``, where it is no view.

    Raises:
        DeclarationError: it is several views.
    """
    if given is None or isinstance(given, ByteId):
        return ()
    fields = one_or_several(given)
    if any(isinstance(one, ByteId) for one in fields):
        raise DeclarationError(f"answer_id: a list of byte_id was given, expected one; {PAIR}")
    return fields


def chosen(nodes: tuple[Node, ...], given: ByteId, answers: ByteId, *, rewritten: bool) -> Named:
    """Ids that stand in one view of requests and in another of answers.

    Args:
        nodes: of the format.
        given: what the declaration says of those of requests.
        answers: of those of answers.
        rewritten: servers get ids of the engine's own.

    Raises:
        DeclarationError: there can be none, or what stands in the one cannot stand in the other; says why.
    """
    both = (given, answers)
    if given.view is None or answers.view is None:
        raise DeclarationError(f"answer_id: {PAIR}")
    views = [one.view for one in both if one.view is not None]
    try:
        found = [viewed(nodes, view, one.most, one.form) for view, one in zip(views, both, strict=True)]
    except CannotRewriteError:
        if rewritten:
            raise
        found = [passing(nodes, (), view, one.most, one.form) for view, one in zip(views, both, strict=True)]
    ids, theirs = found
    for what, one, other in (
        ("{}", _encoding(ids), _encoding(theirs)),
        ("ids of up to {} bytes", ids.most, theirs.most),
        ("ids of the form {}", ids.form, theirs.form),
        ("ids that {} ends", ids.delimiter, theirs.delimiter),
    ):
        if one != other:
            raise DeclarationError(
                f"answer_id: answers have {what.format(other)}, requests {what.format(one)}; an answer "
                "repeats the id as its request wrote it, so both have to be encoded alike"
            )
    return replace(ids, answers=theirs)


def _encoding(ids: Named) -> str:
    """What an id is a piece of, as messages say it."""
    if isinstance(ids.view, Token):
        return f"a value of {ids.view.family.name}"
    if ids.passes or not isinstance(ids.view, Item):
        return "a text"
    return f"a value of {'lines' if isinstance(ids.view.pairs.encoding, LineEncoding) else 'pairs'}"


def check_computed(ids: Named, paths: Iterable[FieldPath], computed: Iterable[tuple[FieldPath, Any]]) -> None:
    """Whatever is computed when a frame is built follows an id of another length, or does not depend on it.

    Args:
        ids: that the engine rewrites.
        paths: of the id's fields.
        computed: fields, and from what.

    Raises:
        DeclarationError: one does, and the engine could not know.
    """
    if ids.fixed or ids.passes:
        return
    sections = {*paths, *sections_of([] if ids.view is None else [ids.view])}
    check_follows(sections, {one.path for one in ids.counters if not isinstance(one, Digits)}, computed)


def msgpack_integer(number: int) -> bytes:
    """The shortest way to write one that is not below 0."""
    if number < 128:  # what a tag holds
        return bytes([number])
    width = next(width for width in range(4) if number < 1 << (8 << width))
    return bytes([0xCC + width]) + number.to_bytes(1 << width, "big")


def _view_of(view: View, most: int | None, form: str | None) -> tuple[FieldPath, str, int]:
    """Where it stands, the form of the engine's own, and how long it may be."""
    path = sections_of([view])[0]
    form = view.form if isinstance(view, Token) else form or "decimal"
    if most is None and form in {"varint", "msgpack", "integer"}:
        most = 10 if form == "varint" else 9
    if not isinstance(view, Token) and form not in {"decimal", "hex", "raw"}:
        raise DeclarationError(f"byte_id: the form {seen(form)} is not of an id that stands in {show(path)}")
    if most is None:
        raise DeclarationError(f"{show(path)}: say how long an id in it may be: id=byte_id(..., max=36)")
    if not 1 <= most <= MOST:
        raise DeclarationError(f"{show(path)}: an id of up to {most} bytes; 1 to {MOST} are possible")
    return path, form, most


def viewed(nodes: tuple[Node, ...], view: View, most: int | None, form: str | None) -> Named:
    """An id that is no field.

    Raises:
        DeclarationError: none can stand there; says why and what to use instead.
        CannotRewriteError: it can be one that stays as it is.
    """
    if not isinstance(view, Item | Token):
        raise CannotRewriteError(
            "byte_id: an id that is no field stands in one place, a map's value or a field of a "
            'structure: byte_id(h["id"], max=36) or byte_id(protobuf(this.meta)[4])'
        )
    path, form, most = _view_of(view, most, form)
    found = [
        node for node in walk(nodes) if isinstance(node, Section | Delimited | Region) and node.path == path
    ]
    delimiter = b""
    if isinstance(view, Item) and isinstance(view.pairs.encoding, LineEncoding):
        delimiter = view.pairs.encoding.after
    for node in found:
        if isinstance(node, Section) and isinstance(node.length, int):
            raise CannotRewriteError(
                f"{show(path)}: it always has {node.length} bytes, and ids in it have not"
            )
        cannot = isinstance(view, Token) and view.family.name == "json"  # hold control characters
        if isinstance(node, Delimited) and cannot and max(node.delimiter) < ord(" "):
            continue
        if isinstance(node, Delimited) and not (delimiter and node.delimiter.startswith(delimiter)):
            raise CannotRewriteError(
                f"{show(path)}: an id in it could hold its delimiter {node.delimiter!r}; put a length in "
                "front of it"
            )
    if set(delimiter) & set({"decimal": b"0123456789", "hex": b"0123456789abcdef"}.get(form, delimiter)):
        raise CannotRewriteError(
            f"{show(path)}: an id in the form {form} could hold its delimiter {delimiter!r}; choose "
            "another form"
        )
    width = _width(path, most, form, fixed=False)
    counters = {one: None for node in found for one in counting(nodes, node)}
    ways = ways_of(nodes, path, counters)
    return Named(most, fixed=False, form=form, width=width, delimiter=delimiter, counters=ways, view=view)


def _facts(node: Node, path: FieldPath, most: int | None) -> tuple[int, bool, bytes]:
    """(most bytes, fixed, delimiter)."""
    if isinstance(node, Section) and isinstance(node.length, int):
        size, fixed, delimiter = node.length, True, b""
    elif isinstance(node, Section):
        if most is None:
            raise DeclarationError(
                f"{show(path)}: say how long an id may be: id=byte_id(this.{show(path)}, max=36)"
            )
        size, fixed, delimiter = most, False, b""
    elif isinstance(node, Delimited):
        size, fixed, delimiter = min(node.max, most or node.max), False, node.delimiter
    elif isinstance(node, Varint):
        size, fixed, delimiter = node.bytes, False, b""
    else:
        raise DeclarationError(
            f"{show(path)}: an id is an integer, or a section of its own: Bytes, Prefixed or Until"
        )
    if not 1 <= size <= MOST:
        raise DeclarationError(
            f"{show(path)}: an id of up to {size} bytes; 1 to {MOST} are possible. Declare a field with a "
            "part of it as the id, or use a codec in C whose ids stay (pinned)"
        )
    return size, fixed, delimiter


def _width(path: FieldPath, size: int, form: str, *, fixed: bool) -> int:
    """The widest numbers that ids hold."""
    if form == "uuid":
        if not (fixed and size == _UUID):
            raise DeclarationError(f"{show(path)}: the form uuid is for ids that always have {_UUID} bytes")
        return 8
    varints = [(8 * width + 6) // 7 for width in range(9)]
    packed = (0, 2, 3, 5, 5, 9, 9, 9, 9)
    digits = {
        "raw": range(9),
        "hex": range(0, 18, 2),
        "decimal": _DECIMAL,
        "varint": varints,
        "quoted": [count + 2 for count in _DECIMAL],
        "msgpack": packed,
        "integer": range(1, 10),
    }[form]
    widths = [width for width in range(1, 9) if digits[width] <= size]
    if not widths:
        raise CannotRewriteError(
            f"{show(path)}: {size} bytes hold no number of a byte in the form {form}; "
            + {
                "varint": "declare UVar(10)",
                "quoted": "say max=22",
                "msgpack": "say max=9",
                "integer": "say max=5",
            }.get(form, "use form='raw'")
        )
    return widths[-1]


def _checked(nodes: tuple[Node, ...], section: Section, ids: Named) -> None:
    """The engine's own ids pass what the format checks."""
    (counter,) = fields_of(section.length)
    base = calculate(section.length, _container(counter, 0))
    sizes = range(ids.width, ids.width + 1)
    if ids.form != "raw":
        sizes = range(1, len(ids.write(-1)) + 1)
    for node in walk(nodes):
        if not isinstance(node, Condition) or fields_of(node.test) != {counter}:
            continue
        for size in sizes:
            if not calculate(node.test, _container(counter, size - base)):
                raise CannotRewriteError(
                    f"{show(counter)}: a check refuses ids of {size} bytes, which the engine writes in the "
                    f"form {ids.form}; give ids a fixed size, or leave the check to the service"
                )


def _container(path: FieldPath, value: int) -> dict[str, Any]:
    found: Any = value
    for name in reversed(path):
        found = {name: found}
    return dict(found)
