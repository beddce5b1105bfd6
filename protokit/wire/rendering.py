"""The proxy's replies rendered: into what is fixed, and what the engine fills in."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import construct

from protokit import native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.model import Status
from protokit.wire import views
from protokit.wire.compiler import FIRST_ERROR, FIRST_GREETING
from protokit.wire.counted import Size, flat
from protokit.wire.explain import Piece, explain
from protokit.wire.expressions import FieldPath, fields_of, show
from protokit.wire.given import check_names, values_of
from protokit.wire.laid import complete, lengths_in, looked_into
from protokit.wire.measures import NotMeasured
from protokit.wire.nodes import Branch, Choice, Delimited, Integer, Rest, Section, Varint, fields_in, walk
from protokit.wire.program import Emit, Meaning
from protokit.wire.replies import (
    TEXT_MAX,
    ErrorText,
    Nodes,
    Replies,
    Segment,
    can_set,
    filled,
    kept_node,
    placeholders,
    set_default,
)
from protokit.wire.requested import INTEGER, VARINT, FromPeer, FromRequest, Parts
from protokit.wire.sections import set_at
from protokit.wire.sides import SIDE
from protokit.wire.vocabulary import UVar

if TYPE_CHECKING:
    from protokit.wire.greeting import Conversation

INSIDE = 2  # PK_EMIT_INSIDE
COUNTS = 8  # varints that count what is in a reply's sections, at most


def without_errors(what: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of a greeting, in which no error is told."""
    for value in values.values():
        if isinstance(value, Mapping):
            without_errors(what, value)
        elif any(isinstance(one, ErrorText) for one in flat(value)):
            raise DeclarationError(f"{what}: ErrorText is for errors; a greeting says b'...'")
    return values


class Rendering:
    """Renders the replies of a format.

    Args:
        nodes, meaning, replies, conversation: of the format.
        parts: what replies repeat of their request, or steps of a greeting of the peer's.
        build: the frame of plain values, without its checksums.
    """

    def __init__(
        self,
        nodes: Nodes,
        meaning: Meaning,
        replies: Replies,
        conversation: Conversation,
        parts: Parts,
        build: Callable[[Mapping[str, Any]], bytes],
    ) -> None:
        self.nodes = nodes
        self.meaning = meaning
        self.replies = replies
        self.conversation = conversation
        self.parts = parts
        self.build = build
        self._looked_into = looked_into(nodes)
        self._fields = fields_in(nodes)
        self._widths = {(node.path, node.width) for node in walk(nodes) if isinstance(node, Integer)}
        self._varints = {node.path: node.bytes for node in walk(nodes) if isinstance(node, Varint)}

    def of(self, variant: dict[str, int]) -> dict[int, list[Emit]]:
        """The replies of a variant, by their numbers (``PK_REPLY_*``)."""
        r = self.replies
        found = {}
        for which, name in enumerate(("heartbeat", "ack", "drain")):
            if (make := getattr(r, name)) is not None:
                who = "client" if make is r.heartbeat else "server"
                found[which] = self._reply(
                    _by(who, values_of(f"replies.{name}", make, variant)), variant, f"replies.{name}"
                )
        made: dict[Any, tuple[Any, list[Emit]]] = {}  # many protocols say the same of several statuses
        for status in Status:
            if status > Status.APP_ERROR and r.error is not None:
                values = _by("server", values_of("replies.error", r.error, status, variant))
                key = _key(values)
                if key not in made:
                    pieces = self._reply(dict(values), variant, f"the error reply of {status.name}")
                    made[key] = values, pieces
                found[FIRST_ERROR + status] = made[key][1]
        return found

    def greeting(self, variant: dict[str, int]) -> dict[int, list[Emit]]:
        """What is said in a greeting, in the same way."""
        return {
            FIRST_GREETING + number: self._reply(
                _by(one.who, without_errors(one.what, values_of(one.what, one.values, variant))),
                variant,
                one.what,
            )
            for number, one in enumerate(self.conversation.sayings)
        }

    def _reply(self, values: dict[str, Any], variant: dict[str, int], what: str) -> list[Emit]:
        """A reply cut into what is fixed and what is filled in.

        Built again with each text a byte longer: what is one more then counts that text.
        """
        check_names({name: one for name, one in values.items() if name != SIDE}, self._fields, what)
        values = self.parts.placed(values)
        for name, value in variant.items():
            set_default(values, tuple(name.split(".")), value)
        kept: dict[FieldPath, FieldPath] = {}
        texts: dict[FieldPath, list[Segment]] = {}
        plain = placeholders(values, (), kept, texts)
        ids = {path for path in self._ids(plain) if views.value_at(plain, path) is None}
        said = [one for segments in texts.values() for one in segments if isinstance(one, ErrorText)]
        if len(said) > 1:
            raise DeclarationError(f"{what}: one section holds the error's text, not {len(said)}")
        growing = [0] if said else []  # the bits of what has no fixed size: the text, and parts
        for one in (one for segments in texts.values() for one in segments if isinstance(one, FromRequest)):
            if what == "replies.heartbeat" or type(one) is not self.parts.mark:
                peers = isinstance(one, FromPeer)
                name, where = ("FromPeer", "steps of a greeting") if peers else ("FromRequest", "replies")
                raise DeclarationError(f"{what}: {name} is for {where}, and this is none")
            if self.parts.of(one).grows:
                growing.append(1 + self.parts.number(one))
        if len(set(growing)) < len(growing):
            name = self.parts.mark.__name__
            raise DeclarationError(
                f"{what}: the same {name} stands in it twice; give one of them another max"
            )
        self._check_counts(texts, what)
        self._check_integers(texts, what)
        self._tell_lengths(plain, growing, texts)
        short = self._rendered(self._fill(plain), 0, what)
        longer = {bit: self._rendered(self._fill(plain, {bit: 1}), 0, what) for bit in growing}
        self._check_counters(self._fill(plain), ids, what)
        for frame in (*longer.values(), *self._longest(plain, growing, what)):
            if turned := {piece.path for piece in short} ^ {piece.path for piece in frame}:
                path = min(turned)
                by = ", ".join(f"this.{show(one)}" for one in sorted(_told_by(self.nodes, path)))
                raise DeclarationError(
                    f"{what}: the frame's parts depend on the length of its text, or of what it repeats: "
                    f"whether {show(path)} is there is told by {by or 'it'}; let something be there in any "
                    "case, ErrorText(b' '), or give fixed bytes"
                )
        if missing := {*kept, *texts} - {piece.path for piece in short}:
            raise DeclarationError(f"{what}: {show(min(missing))} is no field of that frame")
        pieces: list[Emit] = []
        for number, a in enumerate(short):
            others = {bit: frame[number] for bit, frame in longer.items() if frame[number].raw != a.raw}
            self._emit(pieces, a, others, ids, kept, texts, what)
        if any(piece.what == "EMIT_DIGITS" and not piece.width for piece in pieces):
            self._check_digits(plain, short, longer, what)
        if said:
            (text,) = (piece for piece in pieces if piece.what == "EMIT_TEXT")
            text.base = self._text_room(plain, what)
        return pieces

    def _longest(self, plain: Mapping[str, Any], growing: list[int], what: str) -> Iterator[list[Piece]]:
        """The frame with all of each part, where it can be so long."""
        for bit in growing:
            more = self.parts.all[bit - 1].grows if bit else 0
            with suppress(DeclarationError):
                yield self._rendered(self._fill(plain, {bit: more}), 0, what)

    def _check_counts(self, texts: Mapping[FieldPath, list[Segment]], what: str) -> None:
        pieces = [one for segments in texts.values() for one in segments]
        counts = [one for one in pieces if isinstance(getattr(one, "count", None), UVar)]
        if len(counts) > COUNTS:
            raise DeclarationError(
                f"{what}: {len(counts)} varints count what is in its sections, at most {COUNTS} do"
            )

    def _check_integers(self, texts: Mapping[FieldPath, list[Segment]], what: str) -> None:
        """An integer is repeated where one of the same width stands."""
        for path, segments in texts.items():
            for part in (self.parts.of(one) for one in segments if isinstance(one, FromRequest)):
                if not part.is_integer and (path in self._varints or path in dict(self._widths)):
                    raise DeclarationError(
                        f"{what}: {show(path)} is an integer, and "
                        f"{self.parts.mark.__name__}({part.view!r}) a text: "
                        "write number(...) around what holds digits, or table(..., 0)"
                    )
                if part.form == INTEGER and (len(segments) > 1 or (path, part.most) not in self._widths):
                    raise DeclarationError(
                        f"{what}: {show(path)} takes an integer of {part.most} bytes from "
                        f"{self.parts.source}, and is none"
                    )
                room = self._varints.get(path, 0) if len(segments) == 1 else 0
                if part.form == VARINT and room < part.bytes:
                    raise DeclarationError(
                        f"{what}: {show(path)} takes a UVar({part.bytes}) from {self.parts.source}, and is "
                        + (f"a UVar({room})" if room else "none")
                    )

    def _ids(self, values: Mapping[str, Any]) -> tuple[FieldPath, ...]:
        """Where a reply has the id."""
        return self.meaning.ids(answers=self._answers(values))

    def _answers(self, values: Mapping[str, Any]) -> bool:
        """What this side says to clients is an answer."""
        return bool(values[SIDE] == native.SIDES.index("server"))

    def _text_room(self, plain: Mapping[str, Any], what: str) -> int:
        """The most bytes of the error's text with which the frame can be built, whatever its id and parts."""
        open_ = enumerate(self.parts.all)
        parts = {1 + number: part.grows for number, part in open_ if part.grows}

        def built(size: int) -> None:
            self._rendered(self._fill(plain, {**parts, 0: size}, as_said=True), None, what)

        def fails(size: int) -> bool:
            try:
                built(size)
            except (DeclarationError, construct.ConstructError):
                return True
            return False

        if not fails(TEXT_MAX):
            return TEXT_MAX
        room = bisect_left(range(1, TEXT_MAX), x=True, key=fails)
        if room == 0:
            built(0)  # it says why, if that is not the text
            raise DeclarationError(
                f"{what}: there is no room for a byte of the error's text; use a fixed one"
            )
        return room

    def _tell_lengths(
        self, plain: dict[str, Any], growing: list[int], texts: Mapping[FieldPath, Any]
    ) -> None:
        """Numbers in texts that count what grows are there though that is empty."""
        if not self._looked_into:
            return
        values = copy.deepcopy(self._fill(plain, dict.fromkeys(growing, 1)))
        read = {path for node in walk(self.nodes) for path in lengths_in(node)}
        try:
            complete(self.nodes, self._looked_into, values)
        except LocalProtocolError:
            return  # building it says why
        for path in read - set(texts):
            if views.value_at(values, path) is not None:
                set_at(plain, path, views.value_at(values, path))

    def _check_digits(
        self, plain: Mapping[str, Any], short: list[Piece], longer: dict[int, list[Piece]], what: str
    ) -> None:
        """Where a number has one digit more, no other length changes."""
        for bit, frame in longer.items():
            try:
                more = min(200, self.parts.all[bit - 1].grows) if bit else 200
                far = self._rendered(self._fill(plain, {bit: more}), 0, what)
            except DeclarationError:
                continue  # so long it never is
            for a, b, c in zip(short, frame, far, strict=True):
                repeated = isinstance(views.value_at(plain, a.path), list)
                if (
                    isinstance(a.value, int)
                    and not repeated
                    and a.value + more * (b.value - a.value) != c.value
                ):
                    raise DeclarationError(
                        f"{what}: {show(a.path)} counts digits whose number changes with the text; give "
                        "them a fixed width: Bytes(8)"
                    )

    def _fill(
        self, plain: Mapping[str, Any], sizes: Mapping[int, int] | None = None, *, as_said: bool = False
    ) -> dict[str, Any]:
        """The values with texts of so many bytes, by their bits; the others are empty.

        Unless it is as it will be said a varint that counts them takes the same bytes with a byte more.
        """
        return filled(plain, lambda segments: self._section(segments, sizes or {}, as_said=as_said))

    def _section(self, segments: Sequence[Segment], sizes: Mapping[int, int], *, as_said: bool) -> Any:
        found: Any = b""
        for one in segments:
            if isinstance(one, ErrorText):
                size = sizes.get(0, 0)
                found += one.before + one.counted(size) + b"x" * size + one.after
            elif isinstance(one, FromRequest):
                part = self.parts.of(one)
                grown = part.grown(sizes.get(1 + self.parts.number(one), 0))
                found = grown if part.is_integer else found + grown
            elif isinstance(one, Size):
                count = one.built(len(self._section(one.pieces, sizes, as_said=as_said)))
                found += count if as_said else one.padded(count, self._width(one))
            else:
                found += one
        return found

    def _width(self, one: Size) -> int:
        """Bytes of what counts pieces when they are empty, or a byte longer."""
        return one.width(self._base(one) + bool(self._growing(one)))

    def _base(self, one: Size) -> int:
        """What it counts where nothing grows."""
        return len(self._section(one.pieces, {}, as_said=False))

    def _growing(self, one: Size) -> dict[int, int]:
        """What it counts that has no fixed size: bits, and how many bytes more it may have (0: the text)."""
        found = {}
        for piece in one.pieces:
            if isinstance(piece, ErrorText):
                found[0] = 0
            elif isinstance(piece, FromRequest) and (more := self.parts.of(piece).grows):
                found[1 + self.parts.number(piece)] = more
        return found

    def _rendered(self, values: dict[str, Any], request_id: int | None, what: str) -> list[Piece]:
        """A reply's pieces, with the engine's id for a number, or the longest (None), where none is given."""
        ids = self.meaning.named
        said: Any = request_id or 0
        if ids is not None:
            said = ids.longest if request_id is None else ids.write(request_id)
        for path in () if ids is not None and ids.passes else self._ids(values):
            if can_set(values, path):
                set_default(values, path, said if ids is None else ids.field(said))
        try:
            here = None if ids is None or ids.passes else ids.of(answers=self._answers(values))
            if here is not None and here.view is not None:
                set_default(values, views.sections_of([here.view])[0], b"")
                here.put(values, said)
            pieces = explain(self.nodes, self.build(values), values[SIDE], ended=True)
        except (LocalProtocolError, RemoteProtocolError, EOFError) as error:
            why = str(error).removeprefix("the frame cannot be built: ")
            if isinstance(error.__cause__, NotMeasured):
                why += (
                    ", which it has to be with whatever text, and whatever it repeats, also with nothing: "
                    "give what holds them a length, such as ErrorText(b'\\xda', count=Int16ub) in MessagePack"
                )
            raise DeclarationError(f"{what} cannot be built: {why}") from error
        if rest := [piece for piece in pieces if piece.node is Rest]:
            raise DeclarationError(
                f"{what}: {show(rest[0].path)} is UntilEnd(), and the proxy's connection goes on behind what "
                "it says: give values of a branch that says a length"
            )
        return pieces

    def _check_counters(self, values: dict[str, Any], ids: set[FieldPath], what: str) -> None:
        """An id that is longer changes what the engine knows to count it, and nothing else."""
        named = self.meaning.named and self.meaning.named.of(answers=self._answers(values))
        if named is None or named.passes or not (named.counters or named.view is not None):
            return
        ids = {*ids, *views.sections_of([] if named.view is None else [named.view])}
        counters = {node.path for node in named.counters}
        longest = self._rendered(self._fill(values), -1, f"{what} with an id of another length")
        shortest = self._rendered(values, 0, what)
        for a, b in zip(shortest, longest, strict=True):
            if a.raw != b.raw and a.path not in ids | counters:
                raise DeclarationError(
                    f"{what}: {show(a.path)} depends on the length of the id, but no length is computed from "
                    "it, so the engine cannot know; let a section's length be computed from it"
                )
            follows = a.raw != b.raw or len(named.write(-1)) == len(named.write(0))
            if a.path in counters and not follows and (given := set(self.meaning.id) - ids):
                raise DeclarationError(
                    f"{what}: {show(min(given))} is given; leave it out: the engine puts the id in, and "
                    "what counts it has to follow"
                )
            if a.path in counters and not follows:
                raise DeclarationError(f"{what}: {show(a.path)} counts the id, and has to be a Rebuild(...)")

    def _emit(
        self,
        pieces: list[Emit],
        a: Piece,
        longer: dict[int, Piece],
        ids: set[FieldPath],
        kept: dict[FieldPath, FieldPath],
        texts: dict[FieldPath, list[Segment]],
        what: str,
    ) -> None:
        little = int(a.little)
        if a.path in texts:
            delimiter = a.raw[a.content :]
            for one in texts[a.path]:
                self._segment(pieces, a, one, delimiter, what)
            if a.node not in {Integer, Varint}:  # behind it the id, where that was put there
                _literal(pieces, self._put_behind(a, texts[a.path], what))
            _literal(pieces, delimiter)
        elif a.path in ids and self.meaning.named is None:
            pieces.append(Emit("EMIT_ID", width=a.size, flags=little))
        elif a.path in kept:
            source = kept[a.path]
            if source not in self.meaning.keep:
                raise DeclarationError(f"{what}: {show(source)} is not named in keep")
            before = self.meaning.keep[: self.meaning.keep.index(source)]
            shift = 8 + 8 * sum(kept_node(self.nodes, path, "keep").width for path in before)
            width = kept_node(self.nodes, source, "keep").width
            if kept_node(self.nodes, a.path, what).width != width:
                raise DeclarationError(
                    f"{what}: {show(a.path)} takes {a.size} bytes, {show(source)} that is kept for it {width}"
                )
            pieces.append(Emit("EMIT_KEPT", width=width, flags=shift | 32 * little))
        elif not longer:
            _literal(pieces, a.raw)
        elif (
            isinstance(a.value, int)
            and a.node in {Integer, Varint}
            and all(b.value == a.value + 1 for b in longer.values())
        ):
            name = "EMIT_UVAR" if a.node is Varint else "EMIT_SIZE"
            width = 0 if a.node is Varint else a.size
            if a.node is Integer:
                self._holds(a, longer, what)
            counted = sum(1 << bit for bit in longer)
            pieces.append(Emit(name, width=width, flags=little, base=a.value, parts=counted))
        elif (digits := _digits(a, list(longer.values()))) is not None:
            self._emit_digits(pieces, a, digits, longer, what)
        else:
            raise DeclarationError(
                f"{what}: {show(a.path)} depends on the text in a way that cannot be compiled"
            )

    def _emit_digits(
        self,
        pieces: list[Emit],
        a: Piece,
        digits: tuple[bytes, bytes, bytes],
        longer: dict[int, Piece],
        what: str,
    ) -> None:
        front, number, behind = digits
        fixed = (len(number) > 1 and number.startswith(b"0")) or any(
            isinstance(node, Section) and node.path == a.path and isinstance(node.length, int)
            for node in walk(self.nodes)
        )
        width = len(number) if fixed else 0
        if width:
            self._counts(a, int(number), 10**width, longer, what)
        counted = sum(1 << bit for bit in longer)
        _literal(pieces, front)
        pieces.append(Emit("EMIT_DIGITS", width=width, base=int(number), parts=counted))
        _literal(pieces, behind)

    def _put_behind(self, a: Piece, segments: list[Segment], what: str) -> bytes:
        """What is in a section besides its segments."""
        given = self._fill({"section": segments})["section"]
        ids = self.meaning.named
        if ids is not None and not a.raw.startswith(given):
            raise DeclarationError(
                f"{what}: the id in {show(a.path)} has to be {native.show_id(ids.write(0))!r}, for which the "
                "engine writes the request's"
            )
        return a.raw[len(given) : a.content]

    def _segment(self, pieces: list[Emit], a: Piece, one: Segment, delimiter: bytes, what: str) -> None:
        """A piece of a section: fixed bytes, the error's text, something of the request, or a count."""
        if isinstance(one, ErrorText):
            _literal(pieces, one.before)
            if one.count is not None:
                flags = int(getattr(one.count, "fmtstr", ">")[0] == "<") | 2 * int(one.units)
                varies = isinstance(one.count, UVar)
                width = min(one.count.bytes, 2) if varies else one.count.sizeof()
                pieces.append(Emit("EMIT_COUNT", width=width, flags=flags | 4 * varies))
            pieces.append(Emit("EMIT_TEXT", delimiter))
            _literal(pieces, one.after)
        elif isinstance(one, FromRequest):
            part, number = self.parts.of(one), self.parts.number(one)
            if part.form != INTEGER:
                pieces.append(Emit("EMIT_PART", delimiter, parts=number))
            else:
                pieces.append(Emit("EMIT_PART_INT", flags=int(a.little), parts=number))
        elif isinstance(one, Size):
            self._size(pieces, one, what)
        else:
            _literal(pieces, one)

    def _size(self, pieces: list[Emit], one: Size, what: str) -> None:
        growing, base = self._growing(one), self._base(one)
        try:
            one.built(base + sum(growing.values()))
        except DeclarationError as error:
            raise DeclarationError(
                f"{what}: {error}; say how much may be repeated: FromRequest(this.NAME, max=100)"
            ) from error
        if not growing:
            _literal(pieces, one.built(base))
            return
        name = "EMIT_UVAR" if one.varies else "EMIT_SIZE"
        flags = INSIDE | (not one.varies and one.count.build(1)[0] == 1 and one.count.sizeof() > 1)
        counted = sum(1 << bit for bit in growing)
        pieces.append(Emit(name, width=self._width(one), flags=flags, base=base, parts=counted))

    def _holds(self, a: Piece, longer: dict[int, Piece], what: str) -> None:
        """An integer that counts parts is wide enough; the error's text is cut to what is left."""
        self._counts(a, a.value, 1 << 8 * a.size, longer, what)

    def _counts(self, a: Piece, value: int, end: int, longer: dict[int, Piece], what: str) -> None:
        most = value + sum(self.parts.all[bit - 1].grows for bit in longer if bit > 0)
        if most >= end:
            raise DeclarationError(
                f"{what}: {show(a.path)} has {a.size} bytes to count up to {most} bytes from the request; "
                "say how many it may repeat: FromRequest(this.NAME, max=100)"
            )


def _told_by(nodes: Nodes, path: FieldPath) -> set[FieldPath]:
    """The fields by which that one is there."""
    found: set[FieldPath] = set()
    for node in walk(nodes):
        inside: Nodes = ()
        if isinstance(node, Branch):
            inside, test = (*node.then, *node.otherwise), node.test
        elif isinstance(node, Choice):
            inside, test = (*(one for _, case in node.cases for one in case), *(node.default or ())), node.key
        if any(getattr(one, "path", None) == path for one in walk(inside)):
            found |= fields_of(test)
    return found


def _digits(a: Piece, longer: list[Piece]) -> tuple[bytes, bytes, bytes] | None:
    """A section in which a number counts what grows: what is in front of it, it, and what is behind it."""
    if a.node not in {Delimited, Section}:
        return None
    bytes_at = enumerate(zip(a.raw, *(b.raw for b in longer), strict=False))
    start = next((place for place, here in bytes_at if len(set(here)) > 1), 0)
    while start > 0 and a.raw[start - 1 : start].isdigit():
        start -= 1
    front, number, behind = a.raw[:start], *_leading(a.raw[start:])
    if not number:
        return None
    for b in longer:
        grown, rest = _leading(b.raw[start:])
        if b.raw[:start] != front or rest != behind or not grown or int(grown) != int(number) + 1:
            return None
    return front, number, behind


def _leading(data: bytes) -> tuple[bytes, bytes]:
    """The digits in front, and the rest."""
    rest = data.lstrip(b"0123456789")
    return data[: len(data) - len(rest)], rest


def _literal(pieces: list[Emit], data: bytes) -> None:
    if not data:
        return
    if pieces and pieces[-1].what == "EMIT":
        pieces[-1].data += data
    else:
        pieces.append(Emit("EMIT", data))


def _by(who: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a frame that this side sends."""
    return {**values, SIDE: native.SIDES.index(who)}


def _key(value: Any) -> Any:
    """What is the same of two replies' values that mean the same, while both are there."""
    if isinstance(value, Mapping):
        return tuple((name, _key(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return (list, *map(_key, value))
    if isinstance(value, ErrorText):
        return ErrorText, value.before, value.after, id(value.count), value.units
    if isinstance(value, FromRequest):
        return type(value), value.key
    return (type(value), value) if isinstance(value, int | str | bytes) else id(value)
