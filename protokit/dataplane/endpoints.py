"""What the workers say of endpoints: told in the log as it changes, and kept for who asks."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.dataplane import listening
from protokit.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protokit import logs

_log = logging.getLogger("protokit.proxy")
Key = tuple[str, str, int]  # cluster, host, port
Name = tuple[str, str]  # cluster, subset or nothing
_ALL = 1_000_000  # PK_PREFER_ALL
_STATES = {
    native.WELL: "is well again",
    native.ILL_REFUSED: "cannot be reached",
    native.ILL_TIMED_OUT: "cannot be reached: no connection in the time for it",
    native.ILL_GREETING: "cannot be reached: it refused the greeting",
    native.ILL_SILENT: "is silent: it takes connections and answers nothing",
    native.ILL_CLOSING: "closes connections instead of answering",
}
_EJECTED = (  # by PK_OUTLIER_*
    "",
    "errors one after the other",
    "too large a share of errors",
    "much slower than the others",
)
_FAILING = (  # by PK_CHECK_*
    "",
    "no connection",
    "no connection in the time for it",
    "it refused the greeting",
    "no answer in the time for it",
    "it closes the connection instead of answering",
    "what it answers is no frame of the protocol",
    "it answers with an error",
)
_STATUS = 7  # PK_CHECK_STATUS
_MINUTE_S, _AT_ONCE = 60.0, 10  # so many lines in that time
_WITHOUT_NUMBERS = str.maketrans("", "", "0123456789.")
_GOOD = {0: "passes its health checks again", 8: "is not health-checked any more"}


class Health:
    """Of endpoints, by worker: each finds out for itself; what a health check finds is for all of them.

    Args:
        repeated: logs what changes all the time, as one that is well and ill in turns, once a minute.
    """

    def __init__(self, repeated: logs.Repeated) -> None:
        self._repeated = repeated
        self._told: dict[str, tuple[float, int]] = {}  # since when, so many lines
        self._last: dict[str, tuple[Key | str, str]] = {}  # what was said, of an endpoint or a cluster
        self._ill: dict[Key, dict[int, tuple[str, float]]] = {}
        self._ejected: dict[Key, dict[int, tuple[str, float, float]]] = {}  # until when, too
        self._failing: dict[Key, dict[int, tuple[str, float]]] = {}
        self._panics: dict[Name, dict[int, tuple[int, int, float]]] = {}  # usable, of how many
        self._spills: dict[Name, dict[int, tuple[int | None, float]]] = {}  # parts of a million that stay

    def changed(self, worker: int, key: Key, told: native.Op) -> None:
        """An OP_ENDPOINT of a worker."""
        cluster, host, port = key
        state, now, out = told.size, time.monotonic(), told.token / 1000
        ill, ejected = self._ill.setdefault(key, {}), self._ejected.setdefault(key, {})
        well, was_well = state == native.WELL, not self.ill(key)
        if state == native.ILL_FAILING:
            text, well = self._checked(worker, key, told), told.data in _GOOD
        elif state == native.ILL_EJECTED:
            text = f"is left out for {out:g} s: {_EJECTED[told.data]}"
            ejected[worker] = (text, now, now + out)
        elif state != native.WELL:
            text = _STATES[state] + f": {os.strerror(told.data)}" * bool(told.data)
            ill[worker] = (text, now)
        else:
            ill.pop(worker, None)
            if not out:
                ejected.pop(worker, None)
            text = _STATES[state]
            if out:
                text = f"can be reached again, and is left out for {out:g} s more"
            elif self._failing.get(key):
                text = "can be reached again, and still fails its health checks"
            elif self.ill(key):
                return  # by another worker, who says so in turn
        whose = f"endpoint {listening.place(host, port)} of cluster {cluster} "
        if was_well and not well:  # as before, maybe, whose end nobody looked at
            self._last.pop(whose, None)
        self._say(key, well, whose, text)

    def _say(self, of: Key | str, well: bool, whose: str, text: str) -> None:  # noqa: FBT001
        """A change; what other workers find after the first is no other line.

        One that changes all the time is a line a minute for each text.
        """
        if self._last.get(whose) == (of, text):
            return
        self._last[whose] = of, text
        level, now = logging.INFO if well else logging.WARNING, time.monotonic()
        since, count = self._told.get(whose, (now, 0))
        if now - since >= _MINUTE_S:
            since, count = now, 0
        self._told[whose] = since, count + 1
        if count < _AT_ONCE:
            _log.log(level, "%s%s", whose, text)
        else:
            kind = (whose, text.translate(_WITHOUT_NUMBERS))
            self._repeated.log(_log, level, kind, whose + text)

    def _checked(self, worker: int, key: Key, told: native.Op) -> str:
        """Its health checks have another verdict."""
        if told.data in _GOOD:
            self._failing.get(key, {}).pop(worker, None)
            return _GOOD[told.data]
        what = _FAILING[told.data]
        if told.codec:
            what += f": {Status(told.codec).name if told.data == _STATUS else os.strerror(told.codec)}"
        text = f"fails its health checks: {what}"
        self._failing.setdefault(key, {})[worker] = (text, time.monotonic())
        return text

    def panics(self, worker: int, name: Name, told: native.Op) -> None:
        """An OP_PANIC of a worker."""
        cluster = f"{name[0]} ({name[1]})" if name[1] else name[0]
        usable, count = told.data, told.codec
        if told.size:
            self._panics.setdefault(name, {})[worker] = (usable, count, time.monotonic())
            text = f"panics: {usable} of {count} endpoints are usable; those that were left out are used, too"
        else:
            self._panics.get(name, {}).pop(worker, None)
            text = f"panics no more: {usable} of {count} endpoints are usable"
        self._say(name[0], not told.size, f"cluster {cluster} ", text)

    def panicking(self, cluster: str) -> list[dict[str, Any]]:
        """For which workers too few of its endpoints are usable, and for how many seconds."""
        now = time.monotonic()
        return [
            {"worker": worker, "usable": usable, "of": count, "seconds": round(now - since, 1)}
            | ({"subset": subset} if subset else {})
            for (name, subset), by in sorted(self._panics.items())
            for worker, (usable, count, since) in sorted(by.items())
            if name == cluster
        ]

    def prefers(self, worker: int, name: Name, told: native.Op) -> None:
        """An OP_PREFER of a worker."""
        cluster = f"{name[0]} ({name[1]})" if name[1] else name[0]
        share = None if told.data == native.NONE else told.data
        if share == _ALL:
            self._spills.get(name, {}).pop(worker, None)
        else:
            self._spills.setdefault(name, {})[worker] = (share, time.monotonic())
        text = (
            "go to any endpoint" if share is None else f"go to those that are preferred: {share / 1e4:.4g}%"
        )
        self._say(name[0], share == _ALL, f"requests of cluster {cluster} ", text)

    def spilling(self, cluster: str) -> list[dict[str, Any]]:
        """For which workers which share stays with those that are preferred; None: nobody is preferred."""
        now = time.monotonic()
        return [
            {
                "worker": worker,
                "stays": None if share is None else share / _ALL,
                "seconds": round(now - at, 1),
            }
            | ({"subset": subset} if subset else {})
            for (name, subset), by in sorted(self._spills.items())
            for worker, (share, at) in sorted(by.items())
            if name == cluster
        ]

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget all others: who comes again is another."""
        wanted = set(keys)
        self._ill = {key: ill for key, ill in self._ill.items() if key in wanted}
        self._ejected = {key: ejected for key, ejected in self._ejected.items() if key in wanted}
        self._failing = {key: failing for key, failing in self._failing.items() if key in wanted}
        clusters = {cluster for cluster, _, _ in wanted}
        self._panics = {name: panics for name, panics in self._panics.items() if name[0] in clusters}
        self._spills = {name: spills for name, spills in self._spills.items() if name[0] in clusters}
        self._last = {
            whose: (of, text)
            for whose, (of, text) in self._last.items()
            if of in (clusters if isinstance(of, str) else wanted)
        }
        now = time.monotonic()
        self._told = {whose: told for whose, told in self._told.items() if now - told[0] < _MINUTE_S}

    def ill(self, key: Key) -> list[dict[str, Any]]:
        """For which workers it is ill or left out, why, and for how many seconds.

        A worker says that one is back when it looks at it for a request: its time may be over long before.
        """
        now = time.monotonic()
        found = [
            (worker, text, since)
            for ill in (self._ill, self._failing)
            for worker, (text, since) in ill.get(key, {}).items()
        ]
        found += [
            (worker, text, since)
            for worker, (text, since, until) in self._ejected.get(key, {}).items()
            if now < until
        ]
        return [
            {"worker": worker, "why": text, "seconds": round(now - since, 1)}
            for worker, text, since in sorted(found)
        ]
