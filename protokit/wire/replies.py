"""What the proxy says by itself: plain field values, rendered into what is fixed and what is filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import construct

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.model import Status
from protokit.wire import views
from protokit.wire.compiler import FIRST_GREETING
from protokit.wire.explain import Piece, explain
from protokit.wire.layout import Bits, FieldPath, Integer, Node, Varint, path_of, show, walk
from protokit.wire.program import Emit, Meaning

TEXT_MAX = 6 * 512
Nodes = tuple[Node, ...]


@dataclass(frozen=True)
class ErrorText:
    """In a reply's values: a section that holds the error's text.

    Where a delimiter ends the section, a space (or ``_``) stands for its bytes in the text.

    Attributes:
        before, after: fixed bytes around the text.
        count: an integer such as ``Int16ub``, written between ``before`` and the text, that counts it.
        units: the count is of UTF-16 units, not of bytes.
    """

    before: bytes = b""
    after: bytes = b""
    count: Any = None
    units: bool = False


@dataclass(frozen=True)
class Kept:
    """In a reply's values: the same as in the request's field of that name (named in ``keep`` too)."""

    field: Any


@dataclass(frozen=True)
class Replies:
    """What the proxy says by itself, as plain field values; the id is filled in where it is not given.

    Attributes:
        error: values of the error reply: (status, variant) to a mapping.
        heartbeat, ack, drain: variant to a mapping; None where the protocol has none.
        optional_drain: clients that do not know ``drain`` close the connection: it is sent only where the
            listener has ``goaway: true``.
        encoding: of the texts: ``utf-8``, ``hessian`` (each UTF-16 unit alone) or ``json`` (escaped).
    """

    error: Callable[[Status, Mapping[str, int]], Mapping[str, Any]]
    heartbeat: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    ack: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    drain: Callable[[Mapping[str, int]], Mapping[str, Any]] | None = None
    optional_drain: bool = False
    encoding: str = "utf-8"


Values = Callable[[Mapping[str, int]], Mapping[str, Any]]


@dataclass(frozen=True)
class Greeting:
    """What peers say to each other before requests: log in, or agree on something.

    The proxy is the server towards clients, and takes whatever they say; it is the client towards servers,
    and says the same to each.

    Attributes:
        when: an expression: these frames are greetings.
        steps: what is said, in order, 1 to 4 frames: (``"client"`` or ``"server"``, variant to plain field
            values).
        refused: an expression: a greeting that says no.
    """

    when: Any
    steps: Sequence[tuple[str, Values]]
    refused: Any = 0


def kept(field: Any) -> Kept:
    """In a reply's values: what the request's field holds: ``kept(this.codec)``."""
    return Kept(field)


class Rendering:
    """Renders the replies of a format.

    Args:
        nodes, meaning, replies, greeting: of the format.
        build: the frame of plain values, without its checksums.
    """

    def __init__(
        self,
        nodes: Nodes,
        meaning: Meaning,
        replies: Replies,
        greeting: Greeting | None,
        build: Callable[[Mapping[str, Any]], bytes],
    ) -> None:
        self.nodes = nodes
        self.meaning = meaning
        self.replies = replies
        self.greeting = greeting
        self.build = build

    def of(self, variant: dict[str, int]) -> dict[int, list[Emit]]:
        """The replies of a variant, by their numbers (``PK_REPLY_*``)."""
        r = self.replies
        found = {}
        for which, name in enumerate(("heartbeat", "ack", "drain")):
            if (make := getattr(r, name)) is not None:
                found[which] = self._reply({**make(variant)}, variant, f"replies.{name}")
        for status in Status:
            if status > Status.APP_ERROR:
                values = {**r.error(status, variant)}
                found[3 + status] = self._reply(values, variant, f"the error reply of {status.name}")
        for step, (_, say) in enumerate(self.greeting.steps if self.greeting else ()):
            what = f"greeting.steps[{step}]"
            found[FIRST_GREETING + step] = self._reply({**say(variant)}, variant, what)
        return found

    def _reply(self, values: dict[str, Any], variant: dict[str, int], what: str) -> list[Emit]:
        """A reply cut into what is fixed and what is filled in.

        Built with texts of two lengths: what is a byte more in the second counts the text.
        """
        for name, value in variant.items():
            _set_default(values, tuple(name.split(".")), value)
        kept: dict[FieldPath, FieldPath] = {}
        texts: dict[FieldPath, ErrorText] = {}
        plain = _placeholders(values, (), kept, texts)
        ids = {path for path in self.meaning.id if views.value_at(plain, path) is None}
        if len(texts) > 1:
            raise DeclarationError(f"{what}: one section holds the error's text, not {len(texts)}")
        frames = [self._rendered(_fill(plain, texts, size), 0, what) for size in (0, 1)]
        self._check_counters(_fill(plain, texts, 0), ids, what)
        short, long = frames
        if [piece.path for piece in short] != [piece.path for piece in long]:
            raise DeclarationError(f"{what}: the frame's parts depend on the length of its text")
        if missing := {*kept, *texts} - {piece.path for piece in short}:
            raise DeclarationError(f"{what}: {show(min(missing))} is no field of that frame")
        pieces: list[Emit] = []
        for a, b in zip(short, long, strict=True):
            self._emit(pieces, a, b, ids, kept, texts, what)
        return pieces

    def _rendered(self, values: dict[str, Any], request_id: int, what: str) -> list[Piece]:
        """A reply's pieces, with the engine's id for a number where none is given."""
        ids = self.meaning.named
        for path in self.meaning.id:
            if can_set(values, path):
                _set_default(values, path, request_id if ids is None else ids.field(ids.write(request_id)))
        try:
            return explain(self.nodes, self.build(values))
        except (LocalProtocolError, RemoteProtocolError, EOFError) as error:
            raise DeclarationError(f"{what} cannot be built: {error}") from error

    def _check_counters(self, values: dict[str, Any], ids: set[FieldPath], what: str) -> None:
        """An id that is longer changes what the engine knows to count it, and nothing else."""
        named = self.meaning.named
        if named is None or not named.counters:
            return
        counters = {node.path for node in named.counters}
        longest = self._rendered(_fill(values, {}, 0), -1, f"{what} with an id of another length")
        shortest = self._rendered(values, 0, what)
        for a, b in zip(shortest, longest, strict=True):
            if a.raw != b.raw and a.path not in ids | counters:
                raise DeclarationError(
                    f"{what}: {show(a.path)} depends on the length of the id, but no length is computed from "
                    "it, so the engine cannot know; let a section's length be computed from it"
                )
            if a.path in counters and a.raw == b.raw and len(named.write(-1)) > len(named.write(0)):
                raise DeclarationError(f"{what}: {show(a.path)} counts the id, and has to be a Rebuild(...)")

    def _emit(
        self,
        pieces: list[Emit],
        a: Piece,
        b: Piece,
        ids: set[FieldPath],
        kept: dict[FieldPath, FieldPath],
        texts: dict[FieldPath, ErrorText],
        what: str,
    ) -> None:
        little = int(a.little)
        if a.path in texts:
            text = texts[a.path]
            _literal(pieces, text.before)
            if text.count is not None:
                _holds_text(text.count.sizeof(), what, a.path)
                flags = int(getattr(text.count, "fmtstr", ">")[0] == "<") | 2 * int(text.units)
                pieces.append(Emit("EMIT_COUNT", width=text.count.sizeof(), flags=flags))
            delimiter = a.raw[a.content :]
            pieces.append(Emit("EMIT_TEXT", delimiter))
            _literal(pieces, text.after)
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
        elif a.raw == b.raw:
            _literal(pieces, a.raw)
        elif isinstance(a.value, int) and b.value == a.value + 1 and a.node in {Integer, Varint}:
            name = "EMIT_UVAR" if a.node is Varint else "EMIT_SIZE"
            if a.node is Integer:
                _holds_text(a.size, what, a.path)
            pieces.append(Emit(name, width=0 if a.node is Varint else a.size, flags=little, base=a.value))
        else:
            raise DeclarationError(
                f"{what}: {show(a.path)} depends on the text in a way that cannot be compiled"
            )


def kept_node(nodes: Nodes, path: FieldPath, what: str) -> Integer:
    """The whole integer that is kept, or is given what was kept."""
    for node in walk(nodes):
        if isinstance(node, Bits) and path in {one for one, _, _ in node.fields}:
            raise DeclarationError(
                f"{what}: {show(path)} is a bit field, and only whole integers are kept; declare its "
                f"BitStruct as one integer of {8 * node.width} bits, and read them with & and >>"
            )
        if isinstance(node, Integer) and node.path == path:
            return node
    raise DeclarationError(
        f"{what}: {show(path)} is no integer of the format, and only whole integers are kept"
    )


def _holds_text(width: int, what: str, path: FieldPath) -> None:
    if width < 2:
        raise DeclarationError(
            f"{what}: {show(path)} has 1 byte to count a text of up to {TEXT_MAX} bytes; a fixed text fits"
        )


def _literal(pieces: list[Emit], data: bytes) -> None:
    if not data:
        return
    if pieces and pieces[-1].what == "EMIT":
        pieces[-1].data += data
    else:
        pieces.append(Emit("EMIT", data))


def field_path(value: Any, what: str) -> FieldPath:
    """Of ``this.NAME``, which stands for ``what``."""
    if not isinstance(value, construct.expr.Path):
        raise DeclarationError(f"{what}: {value!r} is no field; write this.NAME")
    return path_of(value, (), (what,))


def _set_default(values: dict[str, Any], path: FieldPath, value: Any) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values.setdefault(path[-1], value)


def can_set(values: dict[str, Any], path: FieldPath) -> bool:
    """Whether all containers on the way are there: another branch's id is left alone."""
    for name in path[:-1]:
        inner = values.get(name)
        if not isinstance(inner, dict):
            return False
        values = inner
    return True


def _placeholders(
    values: Mapping[str, Any],
    at: FieldPath,
    kept_fields: dict[FieldPath, FieldPath],
    texts: dict[FieldPath, ErrorText],
) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in values.items():
        path = (*at, name)
        if isinstance(value, Mapping):
            plain[name] = _placeholders(value, path, kept_fields, texts)
        elif isinstance(value, Kept):
            kept_fields[path] = field_path(value.field, "kept")
            plain[name] = 0
        elif isinstance(value, ErrorText):
            texts[path] = value
            plain[name] = value
        else:
            plain[name] = value
    return plain


def _fill(plain: Mapping[str, Any], texts: dict[FieldPath, ErrorText], size: int) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, ErrorText):
            count = b"" if value.count is None else value.count.build(size)
            filled[name] = value.before + count + b"x" * size + value.after
        elif isinstance(value, dict):
            filled[name] = _fill(value, texts, size)
        else:
            filled[name] = value
    return filled
