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
_IN_A_ROW = 1  # PK_OUTLIER_ERRORS
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

    def changed(self, worker: int, key: Key, told: native.Op) -> None:
        """An OP_ENDPOINT of a worker."""
        cluster, host, port = key
        state = told.size
        text = _ejected(told) if state == native.ILL_EJECTED else _STATES[state]
        if state != native.ILL_EJECTED and told.data:
            text += f": {os.strerror(told.data)}"
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


def _ejected(told: native.Op) -> str:
    why = "errors one after the other" if told.data == _IN_A_ROW else "too large a share of errors"
    return f"is left out for {told.token / 1000:g} s: {why}"
