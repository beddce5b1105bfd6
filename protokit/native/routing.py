"""Where a compiled table sends a request: asked of the engine, without a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from protokit._native import ffi, lib
from protokit.model import argument_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protokit.native import Table

_DEPTHS = ("frame", "destination", "headers", "arguments")


class Judged(NamedTuple):
    """What a listener's rules say, or those of its dry run.

    Attributes:
        refuses: whether the request is denied.
        by: the rule that decided; None: there is none for it.
        unread: that rule asks for what cannot be read of the request, or one that might allow it does.
    """

    refuses: bool
    by: str | None
    unread: bool


class Routed(NamedTuple):
    """What the engine says.

    Attributes:
        result: 0; PK_ERR_*: it is no request, or what a rule asks for cannot be read.
        plan: the plan's name; None where no rule matches.
        depth: how deep requests are read: ``frame``, ``destination``, ``headers`` or ``arguments``.
        asked: whether the answer is for more than service, method, version and group.
        blank: its codec cannot read it.
        access: whether it gets that far.
        dry_run: whether it would.
        unread: the plan's name of the rule that asks for what cannot be read.
    """

    result: int
    plan: str | None
    depth: str
    asked: bool
    blank: bool
    access: Judged
    dry_run: Judged
    unread: str | None


class Words(NamedTuple):
    """A request that is not there as a frame."""

    service: str = ""
    method: str = ""
    version: str = ""
    group: str = ""
    headers: Mapping[str, str] = {}
    oneway: bool = False
    arguments: Mapping[str, str] = {}


def routed(
    table: Table, listener: int, codec: int, asked: Words | bytes, source: bytes = bytes(16)
) -> Routed:
    """Where a client's request goes.

    Args:
        table: compiled.
        listener: its number in the table.
        codec: the address of one of the listener's.
        asked: words, or a frame of that codec.
        source: the client's address, 16 bytes; zeros: it is not known.
    """
    kept: list[Any] = []  # as long as it is asked

    def bytes_at(data: bytes) -> Any:
        kept.append(ffi.from_buffer("uint8_t[]", data))
        return kept[-1]

    def piece(text: str) -> tuple[Any, int]:
        data = text.encode("utf-8", "surrogateescape")
        return bytes_at(data), len(data)

    question = ffi.new("pk_asked *", {"source": source})
    if isinstance(asked, bytes):
        question.frame, question.frame_size = bytes_at(asked), len(asked)
    else:
        for name in ("service", "method", "version", "group"):
            setattr(question, name, piece(getattr(asked, name)))
        headers = ffi.new("pk_header[]", len(asked.headers))
        for at, (key, value) in enumerate(asked.headers.items()):
            headers[at].key, headers[at].value = piece(key), piece(value)
        question.headers, question.header_count = headers, len(asked.headers)
        arguments = ffi.new("pk_asked_argument[]", len(asked.arguments))
        for at, (name, value) in enumerate(asked.arguments.items()):
            index, keys = argument_path(name) or (int(name), ())
            kept.append(ffi.new("pk_slice[]", [piece(key) for key in keys]))
            arguments[at].index, arguments[at].count, arguments[at].keys = index, len(keys), kept[-1]
            arguments[at].value = piece(value)
        question.arguments, question.argument_count = arguments, len(asked.arguments)
        question.oneway = asked.oneway
    found = lib.pk_table_ask(table.pointer, listener, codec, question)

    def named(plan: int, name: Any) -> str | None:
        if plan == 0xFFFFFFFF:
            return None
        return bytes(ffi.buffer(lib.pk_table_text(table.pointer, name.at), name.size)).decode()

    def judged(one: Any) -> Judged:
        return Judged(bool(one.refuses), named(one.by, one.name), one.error != 0)

    plan = named(found.plan, found.name)
    return Routed(
        found.result,
        plan if found.result == 0 else None,
        _DEPTHS[found.depth],
        bool(found.asked),
        bool(found.blank),
        judged(found.access),
        judged(found.dry_run),
        plan if found.result != 0 else None,
    )
