"""From nodes and meaning to a program that the engine runs (``native/src/wire/program.h``)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from protokit import native
from protokit.errors import DeclarationError
from protokit.model import Status
from protokit.wire import views
from protokit.wire.counters import key_of
from protokit.wire.encodings import PairEncoding
from protokit.wire.expressions import Binary, Expression, Field, FieldPath, readings_of
from protokit.wire.greeting import SAYINGS, Conversation
from protokit.wire.ids import FORMS
from protokit.wire.inside import Token
from protokit.wire.nodes import Delimited, Integers, Node, Region, Repeated, Rest, Varint, expression_of, walk
from protokit.wire.readings import views_of
from protokit.wire.shapes import Tree, shapes, value_told
from protokit.wire.texts import NOWHERE, form_of
from protokit.wire.writing import Writing

if TYPE_CHECKING:
    from protokit.wire.changes import Changes
    from protokit.wire.ids import Named
    from protokit.wire.program import Emit, Image, Meaning

MAGIC = 0x706B7731
KINDS = {"request": 1, "oneway": 2, "response": 3, "heartbeat": 4, "ack": 5, "drain": 6, "greeting": 9}
ENCODINGS = {"utf-8": 0, "hessian": 1, "json": 2}
FIRST_ERROR = 3  # of a variant's replies: heartbeat, ack, drain, errors, greetings
FIRST_GREETING = FIRST_ERROR + len(Status)
REPLIES = FIRST_GREETING + SAYINGS


class _Compiler(Writing):
    """Compiles one format.

    Args:
        nodes: of its layout.
        meaning: what the fields mean.
        mode: the engine's number of how requests share a connection.
        changes: what it is run to change.
    """

    def __init__(
        self, nodes: tuple[Node, ...], meaning: Meaning, mode: int, changes: Changes | None = None
    ) -> None:
        super().__init__(nodes, meaning, mode, changes)
        self.app = (NOWHERE, 0)
        self.statuses = NOWHERE  # their table

    # Meaning.

    def mean(self) -> int:
        m = self.meaning
        start = len(self.insns)
        self.look([*m.views_of_id(), *(view for one in m.kinds() for view in views_of(one))], self.memo)
        self._id_of_all()
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
            self._id_of(answers=True)
            ends.append(self.op("JUMP"))
            self.here(request)
            self.op("KIND", i=KINDS["heartbeat"])
            self._id_of(answers=False)
            ends.append(self.op("JUMP"))
            self.here(skip)
        request = self.unless(m.response)
        self.op("KIND", i=KINDS["response"])
        self._id_of(answers=True)
        self.op("EARLY")
        self._says()
        self._outcome()
        ends.append(self.op("JUMP"))
        self.here(request)
        self.op("KIND", i=KINDS["request"])
        if m.oneway != 0:
            two_way = self.unless(m.oneway)
            self.op("KIND", i=KINDS["oneway"])
            self.here(two_way)
        self._id_of(answers=False)
        self.op("EARLY")
        self._says()
        if not readings_of(m.timeout) and m.timeout != 0:
            self.op("TIMEOUT", self.value(m.timeout))
        for i, path in enumerate(() if self.reruns else self.left):
            self.op("SAVE", self.spans.get(path, self.looked_into(path)), i=2 * i)
        self.here(*ends)
        self.op("END")
        return start

    def _id_of_all(self) -> None:
        """Where it is not chosen by what the frame is."""
        m = self.meaning
        if m.named is None:
            self._id(m.id)
        elif m.id:
            self.op("NAMED", self.spans[m.id[0]] if m.id[0] in self.spans else self.registers[m.id[0]])
        elif m.named.answers is None:
            self._named_in(m.named)

    def _id_of(self, *, answers: bool) -> None:
        """Where it is chosen by what the frame is."""
        m = self.meaning
        self._id(m.answer_id if answers else ())
        if m.named is not None and m.named.answers is not None:
            self._named_in(m.named.of(answers=answers))

    def _named_in(self, named: Named) -> None:
        """The id is what that view finds."""
        if named.view is not None:
            before, self.memo = self.memo, dict(self.memo)
            self.op("NAMED_IN", self.text(named.view, self.memo))
            self.memo = before

    def _id(self, paths: tuple[FieldPath, ...]) -> None:
        """The id is that integer: of requests, and for answers the other one."""
        if paths:
            self.op("ID", self.registers[paths[0]])
        if paths and paths[0] in self.id_places:
            self.op("ID_AT", self.id_places[paths[0]], c=int(bool(self.little_id)))

    def _says(self) -> None:
        for bit, expression in ((native.SAYS_LAST, self.meaning.last), (native.SAYS_MORE, self.meaning.more)):
            if expression != 0:
                self.op("SAYS", self.value(expression), i=bit)

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
        for one in self.meaning.asked:
            moved, joined, part = self.register(), self.register(), self.register()
            self.binary(part, Binary("AND", one.value, (1 << one.bits) - 1))
            self.op("SHL", moved, part, self.value(one.shift))
            self.op("OR", joined, context, moved)
            context = joined
        if shift > 32:
            raise DeclarationError(
                "keep: the fields kept for a reply take 3 bytes at most; a reply repeats more with "
                "FromRequest(this.NAME)"
            )
        self.op("CONTEXT", context)

    def _greeting(self) -> int:
        m = self.meaning
        skip = self.unless(m.greeting)
        self.op("KIND", i=KINDS["greeting"])
        self._id_of(answers=False)
        self.op("EARLY")
        if m.greeting_refused != 0:
            before, self.memo = self.memo, dict(self.memo)
            self.look(views_of(m.greeting_refused), self.memo)
            accepted = self.unless(m.greeting_refused)
            self.op("STATUS", self.value(int(Status.UNAVAILABLE)))
            self.here(accepted)
            self.memo = before
        before, self.memo = self.memo, dict(self.memo)
        self.look([view for one in m.forms for view in views_of(one)], self.memo)
        for number, form in enumerate(m.forms):
            self.op("FORM", self.value(form), i=1 << number)
        self.memo = before
        end = self.op("JUMP")
        self.here(skip)
        return end

    def _kind(self, test: Expression, kind: str) -> int:
        skip = self.unless(test)
        self.op("KIND", i=KINDS[kind])
        self._id_of(answers=False)
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
        before, self.memo = self.memo, dict(self.memo)  # what is found here is found of answers alone
        found = [view for one in m.outcome() for view in views_of(one)]
        looked = self.look(found, self.memo)
        if m.status is not None:
            expression, table = m.status
            status = self.register()
            first = self.table(table.entries, table.default)
            self.op("TABLE", status, self.value(expression), i=first)
            self.statuses = first
            self.op("STATUS", status)
            if m.app_error:
                over.append(self.op("JNZ", status))
        told = value_told(m.app_error[0]) if len(m.app_error) == 1 else None
        if told is not None and len(found) == 1:
            self.app = (looked[0], self.literal(told.text))
        for one in m.app_error:
            skip = self.unless(one)
            app_error = self.value(int(Status.APP_ERROR))
            self.op("STATUS", app_error)
            self.here(skip)
        self.here(*over)
        self.memo = before

    def resumes(self) -> bool:
        """Whether framing has to remember where it stopped, or look for what comes late again and again."""
        nodes = walk(self.nodes)
        varints = sum(isinstance(node, Varint) for node in nodes)
        looks = any(readings_of(expression_of(node)) for node in nodes)
        return (
            looks
            or varints > 1
            or any(isinstance(node, Delimited | Integers | Region | Repeated | Rest) for node in nodes)
        )

    # The image.

    def image(self, about: Image) -> bytes:
        """Compile, and put all in one block of memory."""
        self.frame()
        meaning = self.mean()
        destination = self.destination()
        headers = self.headers(self.meaning.headers)
        answers = self.headers(self.meaning.answer_headers, answers=True)
        arguing = self.arguments()
        keep, keep_own = self.keep()
        heard = self.heard()
        said = about.conversation or Conversation(None, "")
        replies = [
            self._reply(variant[which]) if which in variant else NOWHERE
            for variant in about.replies
            for which in range(REPLIES)
        ]
        name = self.literal(about.name.encode() + b"\0")
        named = self.meaning.named
        delimiter = self.literal(named.delimiter) if named and named.delimiter else NOWHERE
        inside, counters = self._ids_inside()
        tree = Tree()
        if about.shapes and not self.meaning.views_of_id():
            tree = shapes(self.nodes, self.meaning, self.left, keeps=not self.reruns, sided=self.sided)
        changed = self.writing()
        header = struct.Struct("=16I4Q11I40I6I11I5I12s18I")
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
            b"".join(struct.pack("=7I", *one) for one in self.checksums),
            b"".join(struct.pack("=I", one) for one in (*self.operands, *self.opens)),
            b"".join(struct.pack("=I", one) for one in replies),
            b"".join(tree.tests),
            b"".join(tree.leaves),
            b"".join(struct.pack("=2I", *one) for one in counters),
            b"".join(
                struct.pack("=2I", one.form, one.most) for one in (*self.meaning.parts, *self.meaning.heard)
            ),
            b"".join(struct.pack("=3I", *one) for one in said.places),
            b"".join(struct.pack("=2I", one.heard, native.SIDES.index(one.who)) for one in said.sayings),
            b"".join(struct.pack("=Q2I", *one) for one in self.measures),
            b"".join(struct.pack("=4I", *one) for one in self.argued),
            about.editing,
            b"".join(struct.pack("=5I", *one) for one in self.fields),
            b"".join(struct.pack("=8I", *one) for one in self.writers),
            b"".join(struct.pack("=I", one) for one in self.counts),
        ]
        sizes = [8, 8, 8, 8, 16, 16, 32, 8, 16, 28, 4, 4, 32, 128, 8, 8, 12, 8, 16, 16, 1, 20, 32, 4]
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
            int(self.judges),
            self.signature,
            about.reply_max,
            len(self.meaning.variants),
            0,
            meaning,
            self.answerable,
            destination,
            headers,
            int(self.reruns),
            ENCODINGS[about.text_encoding],
            len(about.reserved),
            *reserved,
            name,
            tree.root,
            self.statuses,
            tree.tested,
            said.server,
            int(about.pinned),
            named.most if named else 0,
            int(named.fixed) if named else 0,
            FORMS.index(named.form) if named else 0,
            delimiter,
            int(about.optional_drain),
            *ranges[:40],
            *self.app,
            answers,
            int(self.resumes()),
            keep,
            keep_own,
            *inside,
            said.bits("option"),
            said.bits("goes_with"),
            int(said.relayed) + int(said.server_first),
            len(self.meaning.parts),
            heard,
            tree.packed_lead(),
            arguing,
            int(bool(named and named.passes)),
            tree.root if tree.server_root is None else tree.server_root,
            len(self.operands),
            *ranges[40:],
            *changed,
        )
        return head + body + pool

    def _ids_inside(self) -> tuple[list[int], list[tuple[int, int]]]:
        """Where ids stand that are no field: how, and of requests and answers where; and what counts them."""
        named = self.meaning.named
        if named is None:
            return [0] * 11, []
        counters = [self.counters[key_of(one)] for one in named.counters]
        found = [self._kind_inside(named), *self._place_inside(named), 0, len(counters)]
        if named.answers is None:
            return [*found, *found[1:]], counters
        others = [self.counters[key_of(one)] for one in named.answers.counters]
        return [*found, *self._place_inside(named.answers), len(counters), len(others)], counters + others

    def _kind_inside(self, named: Named) -> int:
        """PK_ID_IN_*."""
        if isinstance(named.view, Token):
            return named.view.kind
        if named.passes or not isinstance(named.view, views.Item):
            return 0
        return 2 if isinstance(named.view.pairs.encoding, PairEncoding) else 1

    def _place_inside(self, named: Named) -> tuple[int, int, int]:
        """In which section, and what counts the id there."""
        if self._kind_inside(named) == 0 or named.view is None:
            return 0, 0, 0
        register = self.registers[views.sections_of([named.view])[0]]
        if isinstance(named.view, Token):
            return register, 0, self.literal(named.view.inside.argument)
        encoding = named.view.pairs.encoding if isinstance(named.view, views.Item) else None
        value = form_of(encoding.value) if isinstance(encoding, PairEncoding) else 0
        return register, value, 0

    def _reply(self, pieces: list[Emit]) -> int:
        start = len(self.insns)
        for piece in pieces:
            if piece.what == "EMIT":
                self.op("EMIT", i=self.literal(piece.data))
            elif piece.what == "EMIT_TEXT":
                self.op("EMIT_TEXT", 0, piece.base >> 8, piece.base & 255, self.literal(piece.data))
            elif piece.what == "EMIT_PART":
                self.op("EMIT_PART", piece.parts, i=self.literal(piece.data))
            else:
                self.op(piece.what, piece.parts, piece.width, piece.flags, piece.base)
        self.op("END")
        return start


def _padded(size: int) -> int:
    return (size + 7) // 8 * 8


def compile_image(
    nodes: tuple[Node, ...], meaning: Meaning, about: Image, changes: Changes | None = None
) -> bytes:
    """The program of a format, for ``native.declared``; or the one that is run for ``changes``.

    Raises:
        DeclarationError: something in it cannot be compiled; it names the field.
    """
    return _Compiler(nodes, meaning, about.mode, changes).image(about)


def is_sided(nodes: tuple[Node, ...], meaning: Meaning, about: Image) -> bool:
    """Whether the program of a format asks which side sent a frame."""
    compiler = _Compiler(nodes, meaning, about.mode)
    compiler.image(about)
    return compiler.sided


def open_sections(nodes: tuple[Node, ...], meaning: Meaning, about: Image) -> tuple[FieldPath, ...]:
    """The sections that a frame may end with which is told by what is in front of them."""
    compiler = _Compiler(nodes, meaning, about.mode)
    compiler.frame()
    return tuple(dict.fromkeys(compiler.open_ends.values()))
