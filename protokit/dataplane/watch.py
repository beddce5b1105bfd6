"""Lines in the log about limits that are hit and upstreams that say nothing, from counters."""

from __future__ import annotations

import asyncio
import collections
import logging
import weakref
from typing import TYPE_CHECKING

from protokit import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from protokit import native

_log = logging.getLogger("protokit.limits")
_EVERY_S = 1.0

LINES = {
    "connections_refused": "client connections were refused: limits.connections is reached",
    "errors_overloaded": "requests were answered OVERLOADED, by a filter or since a limit is reached"
    " (limits.in_flight, in_flight_per_connection, filters, buffer, a rule's, a breaker's) or all connections"
    " to a cluster are full",
    "closed_over_budget": "connections were closed: limits.buffer is used up",
    "clients_closed_slow": "clients were closed that do not read their answers (limits.client_close)",
    "closed_half_frame": "connections were closed: a frame did not come whole within timeouts.frame",
    "upstream_silent": "upstream connections were closed: the server said nothing for timeouts.probe",
    "greetings_refused": "upstream connections were closed: the server refused the greeting",
    "accept_errors": "new client connections had to wait: no descriptors are left for them (see ulimit -n)",
    "connect_errors": "upstream connections could not be opened: no descriptors are left (see ulimit -n)",
    "events_lost": "events of a worker were lost: no memory is left",
    "ends_lost": "filters were not told what became of requests (on_end): nobody took that in time",
}
RULES = {
    "quota": "requests were refused: the global rate limit of rule {} is reached",
    "would-quota": "requests would be refused without dry_run: the global limit of rule {} is reached",
    "unasked": "requests were refused: the global rate limit of rule {} is not known",
    "would-unasked": "requests would be refused without dry_run: the global limit of rule {} is not known",
    "limit": "requests were refused: the rate limit of rule {} is reached",
    "fault-denied": "requests asked rule {} for a fault without having its key",
    "would-limit": "requests would be refused without dry_run: the rate limit of rule {} is reached",
}
DENIALS = {
    "deny": "requests or connections were denied by {}",
    "would-deny": "requests or connections would be denied by {}",
}
_DENIED = ("errors_denied", "connections_denied", "would_deny")
BREAKER = "breaker {} of cluster {} is at its limit of {}: {}"
REFUSED = {
    "connections": "connections were not opened",
    "endpoint-connections": "connections were not opened",
    "retries": "requests were not tried again",
}


class Watch:
    """Logs what the counters of ``LINES``, ``RULES``, ``DENIALS`` and breakers grew by, once a minute.

    Args:
        workers: whose counters.
        repeated: keeps count; what it holds back is logged from here, too.
        rules: gives the states of rules by their names, which may be other rules' after a reload.
        breakers: gives what each has refused, and its limit, by clusters and breakers.
        access: the same of what listeners allow and deny; looked at only when something was denied.
    """

    def __init__(
        self,
        workers: Sequence[native.Worker],
        repeated: logs.Repeated,
        rules: Callable[[], Mapping[str, native.RuleState]] = dict,
        breakers: Callable[[], Mapping[str, Mapping[str, Mapping[str, int]]]] = dict,
        access: Callable[[], Mapping[str, native.RuleState]] = dict,
    ) -> None:
        self._workers = workers
        self._repeated = repeated
        self._rules = rules
        self._breakers = breakers
        self._refused: dict[tuple[str, str], int] = {}
        self._access = access
        self._seen: collections.Counter[str] = collections.Counter()
        self._decided: weakref.WeakKeyDictionary[native.RuleState, dict[str, int]] = (
            weakref.WeakKeyDictionary()
        )

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                self.look()
            except Exception as error:  # noqa: BLE001  # it looks again
                self._repeated.log(
                    _log, logging.ERROR, logs.place(error), "the counters were not looked at", error=error
                )

    def look(self) -> None:
        """Look once."""
        total: collections.Counter[str] = collections.Counter()
        for worker in self._workers:
            total.update(worker.stats())
        for name, text in LINES.items():
            if count := total[name] - self._seen[name]:
                self._repeated.log(_log, logging.WARNING, name, text, count=count)
        denied = any(total[name] != self._seen[name] for name in _DENIED)
        self._seen = total
        self._decisions(self._rules(), RULES)
        if denied:
            self._decisions(self._access(), DENIALS)
        self._look_at_breakers()
        self._repeated.flush()

    def _decisions(self, rules: Mapping[str, native.RuleState], lines: Mapping[str, str]) -> None:
        for rule, state in rules.items():
            decided = state.counts()
            before = self._decided.get(state, {})
            for what, line in lines.items():
                if count := decided.get(what, 0) - before.get(what, 0):
                    self._repeated.log(_log, logging.WARNING, (rule, what), line.format(rule), count=count)
            self._decided[state] = decided

    def _look_at_breakers(self) -> None:
        refused: dict[tuple[str, str], int] = {}
        for cluster, each in self._breakers().items():
            for name, counts in each.items():
                refused[cluster, name] = counts["refused"]
                count = counts["refused"] - self._refused.get((cluster, name), 0)
                if count > 0:
                    what = REFUSED.get(name, "requests were refused")
                    text = BREAKER.format(name.replace("-", "."), cluster, counts["limit"], what)
                    self._repeated.log(_log, logging.WARNING, (cluster, name), text, count=count)
        self._refused = refused
