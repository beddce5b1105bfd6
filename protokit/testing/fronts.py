"""What is told by a frame's front, where that is passed on before the rest has come (``PK_SAYS_HALF``)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import LocalProtocolError, ProtocolError
from protokit.wire import WireFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from protokit.testing.cases import Cases
    from protokit.testing.golden import Golden
    from protokit.wire import Wire

_SHORT = 300  # bytes of a frame that is cut everywhere
_LARGEST = 2**31 - 1
_KINDS = {native.KIND_REQUEST, native.KIND_ONEWAY, native.KIND_RESPONSE}
_EDIT = [(native.EDIT_HEADER, "x-protokit", "1")]


class ToldByTheirFront:
    """Checks of fronts; part of ``kit.Checks``."""

    vectors: list[Golden]
    cases: Cases

    if TYPE_CHECKING:

        @property
        def codec(self) -> Wire: ...

    def test_the_front_of_a_frame_tells_what_the_whole_frame_does(self) -> None:
        frames = dict.fromkeys([*(one.data for one in self.vectors), *self.cases.whole])
        for frame in frames:
            size = len(frame)
            check_front(
                self.codec, frame, sorted({*range(1, min(size, _SHORT)), size // 2, size - 1} - {0, size})
            )


def check_front(codec: Wire, frame: bytes, cuts: Iterable[int]) -> int:
    """Compare what is told by fronts of a whole frame, all in order, with what is told by all of it.

    Returns:
        How many of them were told.

    Raises:
        AssertionError: a front tells something else, or a declaration's does not begin where it should.
    """
    if not codec.ask.in_engine:
        return 0
    whole = native.frame(codec.address, frame, _LARGEST)
    again = native.frame(codec.address, frame, _LARGEST, halves=True)
    assert again == whole, f"the whole frame is {whole}, and {again} where its front would do"
    if whole.result != 0 or whole.kind not in _KINDS:
        return 0
    begins = codec.front(frame) if isinstance(codec, WireFormat) else None
    framing = native.Framing(codec.address, native.side_of(frame))
    told = _told(codec, frame)
    fronts = 0
    for cut in cuts:
        front = native.frame(codec.address, frame[:cut], _LARGEST, halves=True)
        where = f"the front of {cut} bytes of {len(frame)}"
        assert (front.result == 0) >= bool(fronts), f"{where} is {front}, a shorter one was enough"
        if begins is not None:
            assert (front.result == 0) == (cut >= begins), f"{where} is {front}, it ends at {begins}"
        if framing.remembers:
            assert framing.frame(frame[:cut], _LARGEST).result == 1, where
            kept = framing.frame(frame[:cut], _LARGEST, halves=True)
            assert kept == front, f"{where} is {front}, and {kept} where framing goes on"
        if front.result == 1:
            assert cut < front.need <= (begins or len(frame)), f"{where} wants {front.need} bytes"
            continue
        fronts += 1
        same = whole._replace(size=cut, need=len(frame), says=whole.says | native.SAYS_HALF)
        assert front == same, f"{where} is {front}, the whole frame is {whole}"
        assert _told(codec, frame[:cut]) == told, f"{where} tells something else than all of it"
        if fronts == 1:
            _check_edit(codec, frame, cut)
    return fronts


def _told(codec: Wire, frame: bytes) -> list[Any]:
    """What a request or an answer says, whole or not."""
    asks: list[Callable[[bytes], Any]] = [codec.ask.request, codec.ask.headers]
    asks += [functools.partial(_argument, codec, index) for index in (0, 1)]
    return [*(_or_error(one, frame) for one in asks), native.keep(codec.address, frame)]


def _argument(codec: Wire, index: int, frame: bytes) -> Any:
    return codec.ask.argument(frame, index)


def _or_error(ask: Callable[[bytes], Any], frame: bytes) -> Any:
    try:
        found = ask(frame)
    except (IndexError, ProtocolError) as error:
        return f"{type(error).__name__}: {error}"
    if not hasattr(found, "service"):
        return repr(found)
    return (found.service, found.method, found.version, found.group, found.timeout_ms, dict(found.headers))


def _check_edit(codec: Wire, frame: bytes, cut: int) -> None:
    """An edit of the front is that of the whole frame, without the rest."""
    try:
        edited = codec.ask.edit(frame, _EDIT)
    except (LocalProtocolError, ProtocolError):
        return
    front = codec.ask.edit(frame[:cut], _EDIT)
    assert front + frame[cut:] == edited, f"the front of {cut} bytes is edited to {front.hex()}"
