"""Log lines: never waited for, and never more of them than somebody can read. Imports nothing of protokit.

``Stream`` is where the process writes to: whoever reads its pipe may stop reading, or leave, and the
proxy goes on. ``Repeated`` is for lines whose number a peer, a filter or a codec decides.
"""

from __future__ import annotations

import collections
import io
import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Hashable
    from types import TracebackType

_HELD = 1 << 20  # bytes that wait for the reader of a stream; what comes on top is dropped
_EVERY_S = 60.0  # one line of each kind in so many seconds
_KINDS = 1000  # that are told apart
_OURS = os.path.dirname(__file__) + os.sep  # noqa: PTH120


class Stream(io.TextIOBase):
    """Text for a descriptor, written by a thread of its own, so that who writes never waits.

    Where a megabyte waits already, text is dropped until all is written, and a line says how much was.
    Nothing is written any more when nobody can ever read it (a broken pipe).

    Args:
        descriptor: to write to; it stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._waiting: collections.deque[bytes] = collections.deque()
        self._held = 0
        self._dropped = 0
        self._broken = False
        # Signals are the main thread's.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        # A daemon: the process may end while the reader makes it wait.
        threading.Thread(target=self._work, name="protokit-log", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Take the text, or drop it. A whole line should come at once."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._dropped or self._held + len(data) > _HELD:
                self._dropped += text.count("\n")
            elif data and not self._broken:
                self._waiting.append(data)
                self._held += len(data)
                self._changed.notify_all()
        return len(text)

    def drain(self, seconds: float) -> None:
        """Wait until all is written, or so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held, seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._dropped)
                if not self._waiting:
                    note = f"protokit: {self._dropped} lines were dropped here, nobody read them\n".encode()
                    self._waiting.append(note)
                    self._held += len(note)
                    self._dropped = 0
                data = self._waiting.popleft()
            written = self._put(data)
            with self._changed:
                self._held -= len(data)
                if not written:
                    self._broken = True
                    self._waiting.clear()
                    self._held = self._dropped = 0
                self._changed.notify_all()

    def _put(self, data: bytes) -> bool:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # whoever shares the pipe may have made it so
                select.select([], [self._descriptor], [], 1)
            except OSError:
                return False
        return True


class Repeated:
    """Log lines of a kind at most once a minute, with a count of those that were left out.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[Hashable, _Kind] = {}
        self._apart: list[Repeated] = []

    def apart(self) -> Repeated:
        """Another, which is flushed with this one, and whose kinds take none of its places."""
        self._apart.append(Repeated(self._clock))
        return self._apart[-1]

    def log(
        self,
        logger: logging.Logger,
        level: int,
        kind: Hashable,
        text: str,
        *,
        error: BaseException | None = None,
        count: int = 1,
    ) -> None:
        """Log a line now, or count it.

        Args:
            logger: where to.
            level: of ``logging``.
            kind: lines of the same are one a minute.
            text: the line.
            error: what was raised; its trace is logged from where it leaves protokit.
            count: so many times at once.
        """
        now = self._clock()
        if kind not in self._kinds and len(self._kinds) >= _KINDS:
            self.flush()
            if len(self._kinds) >= _KINDS:
                kind = None
        known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = _Kind(logger, level, text, now + _EVERY_S)
            times = f" ({count} times)" if count > 1 else ""
            trace = None if error is None else (type(error), error, foreign(error))
            logger.log(level, "%s%s", text, times, exc_info=trace)
        else:
            known.text = text
            known.left_out += count
            if now >= known.due:
                self.flush()

    def flush(self) -> None:
        """Log what was left out and whose minute is over. Call it now and then."""
        for one in self._apart:
            one.flush()
        now = self._clock()
        for kind, known in list(self._kinds.items()):
            if now < known.due:
                continue
            if not known.left_out:
                del self._kinds[kind]
                continue
            known.logger.log(known.level, "%s (%d more in the last minute)", known.text, known.left_out)
            known.left_out = 0
            known.due = now + _EVERY_S


class _Kind:
    __slots__ = ("due", "left_out", "level", "logger", "text")

    def __init__(self, logger: logging.Logger, level: int, text: str, due: float) -> None:
        self.logger = logger
        self.level = level
        self.text = text
        self.due = due
        self.left_out = 0


def foreign(error: BaseException) -> TracebackType | None:
    """The trace of ``error`` without the frames of protokit in front: where somebody else's code begins."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_OURS):
            break
        trace = trace.tb_next
    return trace


def place(error: BaseException) -> tuple[str, str, int]:
    """What was raised and where: the same for the same fault."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = type(error).__name__
    return (name, "", 0) if trace is None else (name, trace.tb_frame.f_code.co_filename, trace.tb_lineno)
