"""What the workers say of endpoints: told in the log as it changes, and kept for who asks."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.dataplane import listening

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
_EJECTED = ("too large a share of errors", "errors one after the other")


class Health:
    """Of endpoints, by worker: each finds out for itself."""

    def __init__(self) -> None:
        self._ill: dict[Key, dict[int, tuple[str, float]]] = {}
        self._ejected: dict[Key, dict[int, tuple[str, float, float]]] = {}  # until when, too

    def changed(self, worker: int, key: Key, told: native.Op) -> None:
        """An OP_ENDPOINT of a worker."""
        cluster, host, port = key
        state, now, out = told.size, time.monotonic(), told.token / 1000
        ill, ejected = self._ill.setdefault(key, {}), self._ejected.setdefault(key, {})
        if state == native.ILL_EJECTED:
            text = f"is left out for {out:g} s: {_EJECTED[told.data == _IN_A_ROW]}"
            ejected[worker] = (text, now, now + out)
        elif state != native.WELL:
            text = _STATES[state] + f": {os.strerror(told.data)}" * bool(told.data)
            ill[worker] = (text, now)
        else:
            text = f"can be reached again, and is left out for {out:g} s more" if out else _STATES[state]
            ill.pop(worker, None)
            if not out:
                ejected.pop(worker, None)
        level = logging.INFO if state == native.WELL else logging.WARNING
        _log.log(level, "endpoint %s of cluster %s %s", listening.place(host, port), cluster, text)

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget all others: who comes again is another."""
        wanted = set(keys)
        self._ill = {key: ill for key, ill in self._ill.items() if key in wanted}
        self._ejected = {key: ejected for key, ejected in self._ejected.items() if key in wanted}

    def ill(self, key: Key) -> list[dict[str, Any]]:
        """For which workers it is ill or left out, why, and for how many seconds.

        A worker says that one is back when it looks at it for a request: its time may be over long before.
        """
        now = time.monotonic()
        found = [(worker, text, since) for worker, (text, since) in self._ill.get(key, {}).items()]
        found += [
            (worker, text, since)
            for worker, (text, since, until) in self._ejected.get(key, {}).items()
            if now < until
        ]
        return [
            {"worker": worker, "why": text, "seconds": round(now - since, 1)}
            for worker, text, since in sorted(found)
        ]
