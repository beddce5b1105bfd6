"""What is asked of one frame: headers by their keys, changes to the headers of answers, arguments."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protokit.wire import WireFormat
from protokit.wire.structures import Inside
from protokit.wire.structures.headers import EntryMap
from protokit.wire.views import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from protokit.model import Headers
    from protokit.testing.cases import Cases
    from protokit.testing.golden import Golden
    from protokit.wire import Wire

CALLS = {native.KIND_REQUEST, native.KIND_ONEWAY}
MESSAGES = {*CALLS, native.KIND_RESPONSE}
NEW = "x-protokit"
PATHS = ((0, ("a",)), (0, ("0",)), (1, ("1", "0")))  # into some
ARGUMENTS = 8  # so many are asked for where nobody says how many there are


def ignores_case(codec: Wire) -> bool:
    """Whether a declared format says that keys of its headers are the same in upper and lower case."""
    maps = (codec.meaning.headers, codec.meaning.answer_headers) if isinstance(codec, WireFormat) else ()
    return any(getattr(one.encoding, "ignore_case", False) for one in maps if one is not None)


def fresh(codec: Wire, headers: Mapping[str, str], *, answer: bool = False) -> str | None:
    """A key that a frame with those headers may be given; None where it has all that it can have."""
    meaning = codec.meaning if isinstance(codec, WireFormat) else None
    there = None if meaning is None else meaning.answer_headers if answer else meaning.headers
    if meaning is None or not isinstance(there, EntryMap) or not there.encoding.names:
        return NEW
    read = {(one.reads, one.path) for one in leaves(meaning.destination()) if isinstance(one, Inside)}
    for tag, name in there.encoding.names.items():
        key = native.text(name)
        if key not in headers and (there.path, (*there.inside.path, tag)) not in read:
            return key
    return None


class AskedOfFrames:
    """Checks of what filters, routes and tools ask of one frame."""

    vectors: list[Golden]
    cases: Cases

    if TYPE_CHECKING:

        @property
        def codec(self) -> Wire: ...
        def whole(self, kind: str) -> list[Golden]: ...
        def frame(self, data: bytes) -> native.Message: ...
        def every(self, property_: Callable[..., None], *domains: Iterable[Any]) -> None: ...

    def test_a_header_is_found_by_its_key(self) -> None:
        """By its key a header is what it is among all; one that is not there is not found."""
        fold = str.lower if ignores_case(self.codec) else str

        def property_(data: bytes) -> None:
            headers = self.headers_of(data)
            if headers is None:
                return
            among = {fold(name): value for name, value in headers.items()}
            for key in filter(str.isascii, {*headers, *absent(headers)}):
                got, wanted = self.codec.ask.header(data, key), among.get(fold(key))
                assert got == wanted, f"header {key!r} is {got!r}, among all {wanted!r}"

        self.every(property_, [one.data for one in self.vectors])
        self.every(property_, self.cases.whole)

    def test_a_changed_header_of_an_answer_changes_nothing_else(self) -> None:
        edited = 0
        some = [(one, self.headers_of(one.data)) for one in self.whole("response")]
        shown = [
            (one, headers, key)
            for one, headers in some
            if headers and (key := fresh(self.codec, headers, answer=True))
        ]
        for one, before, key in shown:
            try:
                added = self.codec.ask.edit(one.data, [(native.EDIT_HEADER, key, "1")])
            except LocalProtocolError:
                continue  # this frame cannot say it
            edited += 1
            assert dict(self.codec.ask.headers(added)) == {**before, key: "1"}, one.name
            seen, was = self.frame(added), self.frame(one.data)
            assert (seen.result, seen.size) == (0, len(added)), f"{one.name}: the changed answer is {seen}"
            same = was._replace(size=seen.size, need=seen.need)
            assert seen == same, f"{one.name}: {seen}, was {was}"
            back = self.codec.ask.edit(added, [(native.EDIT_HEADER, key, None)])
            assert back == one.data, f"{one.name}: taken out again, it is not what it was"
        assert edited or not shown, "no golden answer could be changed"

    def headers_of(self, data: bytes) -> Headers | None:
        """Those of a message; None where they cannot be read."""
        if self.frame(data).kind not in MESSAGES:
            return None
        try:
            return self.codec.ask.headers(data)
        except RemoteProtocolError:
            return None

    def asked(self, frame: bytes) -> None:
        """All that is asked of a whole frame but changes: it is told, or refused by a ProtocolError."""
        for ask in (self.codec.ask.headers, lambda data: self.codec.ask.header(data, NEW)):
            with contextlib.suppress(ProtocolError):
                ask(frame)
        for index in range(ARGUMENTS):
            with contextlib.suppress(ProtocolError, IndexError):
                self.codec.ask.argument(frame, index)
        for index, keys in PATHS if self.codec.ask.reads_inside else ():
            with contextlib.suppress(ProtocolError, IndexError):
                self.codec.ask.argument(frame, index, keys)


def absent(headers: Iterable[str]) -> list[str]:
    """Keys that are nearly those that are there."""
    return ["", NEW, *(near for key in [*headers][:4] for near in (key + "x", key[:-1], key.swapcase()))]


def asked_in_front_of_nothing(
    codec: int,
    put: Callable[[bytes], Any],
    must: Callable[[bool, str], None],
    frame: bytes,
) -> None:
    """The same of a codec in C, each in front of memory that cannot be read.

    Args:
        codec: its address.
        put: lays bytes there.
        must: told what has to hold.
        frame: a whole one.
    """
    side = native.side_of(frame)
    pairs: dict[bytes, bytes | None] | None = None
    with contextlib.suppress(RemoteProtocolError):
        pairs = dict(native.raw_headers(codec, put(frame), len(frame), side))
    for key in [*list(pairs or {})[:16], b"", NEW.encode(), b"x" * 300]:
        got = None
        with contextlib.suppress(RemoteProtocolError):
            got = native.header(codec, put(frame), key, side)
        if pairs is not None:
            value = pairs.get(key)
            wanted = None if value is None else native.text(value)
            must(got == wanted, f"header {key!r} is {got!r}, among all {wanted!r}")
    for index in [*range(ARGUMENTS), 2**32 - 1]:
        with contextlib.suppress(ProtocolError, IndexError):
            native.argument(codec, put(frame), index)
    for index, keys in PATHS if native.reads_inside(codec) else ():
        with contextlib.suppress(ProtocolError, IndexError):
            native.argument(codec, put(frame), index, keys)


def answer_edited(
    codec: Wire,
    must: Callable[[bool, str], None],
    read: Callable[[bytes], native.Message],
    frame: bytes,
    was: native.Message,
) -> None:
    """A header put into an answer is there, and taken out leaves what was read before.

    Args:
        codec: the protocol's.
        must: told what has to hold.
        read: frames bytes.
        frame: a whole answer.
        was: what it is.
    """
    try:
        before = dict(codec.ask.headers(frame))
        key = fresh(codec, before, answer=True)
        if key is None or key in before:
            return
        added = codec.ask.edit(frame, [(native.EDIT_HEADER, key, "1")])
        removed = codec.ask.edit(added, [(native.EDIT_HEADER, key, None)])
    except ProtocolError:  # this frame, or this protocol, cannot be changed so
        return
    for changed, headers in ((added, {**before, key: "1"}), (removed, before)):
        seen = read(changed)
        must(seen == was._replace(size=len(changed), need=seen.need), f"{seen} edited, was {was}")
        got = dict(codec.ask.headers(changed))
        must(got == headers, f"headers {got}, expected {headers}")
