"""What the workers say of endpoints: told in the log as it changes, and kept for who asks."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from protokit import native

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger("protokit.proxy")
Key = tuple[str, str, int]  # cluster, host, port
_STATES = {
    native.WELL: "is well again",
    native.ILL_REFUSED: "cannot be reached",
    native.ILL_TIMED_OUT: "cannot be reached: no connection in the time for it",
    native.ILL_GREETING: "cannot be reached: it refused the greeting",
    native.ILL_SILENT: "is silent: it takes connections and answers nothing",
    native.ILL_CLOSING: "closes connections instead of answering",
}


class Health:
    """Of endpoints, by worker: each finds out for itself."""

    def __init__(self) -> None:
        self._ill: dict[Key, dict[int, tuple[str, float]]] = {}

    def changed(self, worker: int, key: Key, state: int, error: int) -> None:
        """An OP_ENDPOINT of a worker: ``state`` is WELL or ILL_*, ``error`` the errno or 0."""
        cluster, host, port = key
        text = _STATES[state] + (f": {os.strerror(error)}" if error else "")
        level = logging.INFO if state == native.WELL else logging.WARNING
        _log.log(level, "endpoint %s:%s of cluster %s %s", host, port, cluster, text)
        by_worker = self._ill.setdefault(key, {})
        if state == native.WELL:
            by_worker.pop(worker, None)
        else:
            by_worker[worker] = (text, time.monotonic())
        if not by_worker:
            del self._ill[key]

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget all others: who comes again is another."""
        wanted = set(keys)
        self._ill = {key: ill for key, ill in self._ill.items() if key in wanted}

    def ill(self, key: Key) -> list[dict[str, Any]]:
        """For which workers it is ill, why, and for how many seconds."""
        now = time.monotonic()
        return [
            {"worker": worker, "why": text, "seconds": round(now - since, 1)}
            for worker, (text, since) in sorted(self._ill.get(key, {}).items())
        ]
