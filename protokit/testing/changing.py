"""Changes that the engine makes itself, beside those of the declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit import native
from protokit.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protokit.wire.changes import ANSWERS
from protokit.wire.encodings import LineEncoding
from protokit.wire.views import Chosen, Decimal, Item, Pairs, Part, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protokit.wire import WireFormat

    Edits = list[tuple[int, str, str | None]]

_FIELDS = (native.EDIT_SERVICE, native.EDIT_METHOD, native.EDIT_VERSION, native.EDIT_GROUP)
_TEXTS = ("a.B", "", "x" * 130, "é:y:z/1", "7", None)


def check_changes(wire: WireFormat, frame: bytes) -> int:
    """Compare what the engine makes of a whole frame with what the declaration does.

    Returns:
        How many changes were made; the others are refused by both.

    Raises:
        AssertionError: they differ.
    """
    if wire.changes is None or not native.edits(wire.address):
        return 0
    try:
        container, size = wire.parse(frame, native.side_of(frame) or "client")
        again = wire.build(container)
    except (EOFError, ProtocolError):
        return 0
    kind = wire.kind(container)
    if again != frame or size != len(frame) or kind not in {"request", "oneway", "response"}:
        return 0  # a length that says something else is written anew there, and left alone here
    made = 0
    for edits in _some(wire, frame, answer=kind == "response"):
        wanted, got = (_changed(wire, frame, edits, native_one=one) for one in (False, True))
        assert got == wanted, f"{edits} of {frame.hex()}: the engine made {got!r}, the declaration {wanted!r}"
        made += isinstance(wanted, bytes)
    return made


def _changed(wire: WireFormat, frame: bytes, edits: Edits, *, native_one: bool) -> bytes | str:
    try:
        return native.edit(wire.address, frame, edits) if native_one else wire.edit(frame, edits)
    except (LocalProtocolError, RemoteProtocolError):
        return "refused"


def _some(wire: WireFormat, frame: bytes, *, answer: bool) -> Iterator[Edits]:
    """What is tried: each kind by itself, then together, in either order."""
    views = {} if wire.changes is None else wire.changes.views
    texts: list[str | None] = [*_TEXTS, *_separators(wire)]
    fields: list[Edits] = [[(what, "", text)] for what in _FIELDS if what in views for text in texts]
    headers = views.get(ANSWERS if answer else native.EDIT_HEADER)
    keyed: list[Edits] = []
    if isinstance(headers, Pairs):
        keys = ["x-new", "", *_keys(wire, frame, headers)]
        keyed = [[(native.EDIT_HEADER, key, text)] for key in keys for text in texts]
    if answer:
        yield from fields[:1]  # an answer has none
        fields = []
    yield from fields
    yield from keyed
    for one, other in zip(fields[::3], (keyed or fields)[1::2], strict=False):
        yield one + other
        yield other + one
    for first, second, third in zip(keyed, keyed[3:], keyed[7:], strict=False):
        yield first + second + third


def _keys(wire: WireFormat, frame: bytes, headers: Pairs) -> list[str]:
    """Some that are there, in another case too, and those that a destination is read by."""
    try:
        there = [native.text(key) for key, _ in headers.items(wire.parse(frame)[0]) if key is not None]
    except (EOFError, ProtocolError):
        there = []
    read = [native.text(one.key) for one in leaves(wire.meaning.destination()) if isinstance(one, Item)]
    return list(dict.fromkeys([*there[:4], *there[-1:], *(one.swapcase() for one in there[:1]), *read[:3]]))


def _separators(wire: WireFormat) -> list[str]:
    """Texts that end something where they should not."""
    found = [one.split.separator for one in leaves(wire.meaning.destination()) if isinstance(one, Part)]
    for headers in (wire.meaning.headers, wire.meaning.answer_headers):
        encoding = None if headers is None else headers.encoding
        if isinstance(encoding, LineEncoding):
            found += [encoding.between, encoding.after, encoding.trim]
    numbers = ["-1", "255", "-32768", "65536", "18446744073709551616", "007"]
    named = [view for view in leaves(wire.meaning.destination()) if isinstance(view, Chosen | Decimal)]
    names = [native.text(one) for view in named if isinstance(view, Chosen) for one in view.names.values()]
    return [f"a{native.text(one)}b" for one in dict.fromkeys(found) if one] + (
        [*names[:3], *names[-2:], *numbers] if named else []
    )
