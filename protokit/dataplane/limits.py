"""What rules and clusters bound: their records, and what rules have beyond a table."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

import msgspec

from protokit import native
from protokit.config import schema
from protokit.table import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protokit.table import Image


_ASKS = native.constants("PK_ASK_")


class _Limit(msgspec.Struct, frozen=True):
    """pk_limit."""

    interval: int
    burst: int
    dry_run: int
    ask: int
    by: Key
    text: str


def limit_of(image: Image, rule: schema.Rule) -> _Limit | None:
    """Its limit as the engine has it."""
    limit = rule.limit
    if limit is None:
        return None
    return _Limit(
        limit.rate.interval,
        limit.rate.in_a_second if limit.burst is None else limit.burst,
        int(limit.dry_run),
        0 if limit.ask is None else _ASKS[limit.ask.fail],
        image.key(schema.origins(limit.by)),
        limit.rate,
    )


class Hedge(msgspec.Struct, frozen=True):
    """pk_hedge."""

    after_ms: int
    percentile: int
    most: int


def hedge_of(rule: schema.Rule) -> Hedge | None:
    """Its hedge as the engine has it."""
    hedge = rule.hedge
    return None if hedge is None else Hedge(hedge.after.ms, hedge.after.share, hedge.most)


class Mirror(msgspec.Struct, frozen=True):
    """pk_mirror."""

    cluster: int = native.NONE
    share: int = 0
    most: int = 0
    mark: str = ""


class Prefer(msgspec.Struct, frozen=True):
    """pk_prefer."""

    near: int = native.NONE
    far: int = native.NONE
    healthy: int = 0


def mirror_of(rule: schema.Rule, clusters: Mapping[str, int]) -> Mirror:
    """Its mirror as the engine has it; ``clusters``: numbers by name."""
    mirror = rule.mirror
    return (
        Mirror()
        if mirror is None
        else Mirror(clusters[mirror.cluster], mirror.share, mirror.most, mirror.mark or "")
    )


class FaultAsked(msgspec.Struct, frozen=True):
    """pk_fault_asked."""

    of: Key
    key: str = ""
    most_ms: int = 0
    share: int = 0


class _Fault(msgspec.Struct, frozen=True):
    """pk_fault."""

    delay_ms: int
    delay_share: int
    status: str | int
    abort_share: int
    having: Key
    asked: FaultAsked


def fault_of(image: Image, rule: schema.Rule) -> _Fault | None:
    """Its fault as the engine has it."""
    fault = rule.fault
    if fault is None:
        return None
    delay, abort, asked = fault.delay, fault.abort, fault.asked
    return _Fault(
        0 if delay is None else delay.fixed,
        0 if delay is None else delay.share,
        0 if abort is None else abort.status,
        0 if abort is None else abort.share,
        image.key([] if fault.header is None else [("header", fault.header)]),
        FaultAsked(image.key([]))
        if asked is None
        else FaultAsked(image.key([("header", asked.header)]), asked.key, asked.most, asked.share),
    )


class _Breaker(msgspec.Struct, frozen=True):
    """pk_breaker; 0: any number."""

    connections: int
    waiting: int
    requests: int
    retries: int
    endpoint_connections: int
    endpoint_requests: int
    retry_share: int
    least: int


def breaker_of(breaker: schema.Breaker | None) -> _Breaker | None:
    """A cluster's breaker as the engine has it."""
    if breaker is None:
        return None
    endpoint, retries = breaker.endpoint, breaker.retries
    return _Breaker(
        breaker.connections or 0,
        breaker.waiting or 0,
        breaker.requests or 0,
        0 if retries is None or retries.is_share else retries,
        0 if endpoint is None else endpoint.connections or 0,
        0 if endpoint is None else endpoint.requests or 0,
        retries if retries is not None and retries.is_share else 0,
        0 if breaker.adaptive is None else breaker.adaptive.least,
    )


class RuleStates:
    """What rules have beyond their tables, by the rules' identities; kept as long as a table has it."""

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[tuple[str, str], native.RuleState] = (
            weakref.WeakValueDictionary()
        )

    def of(self, table: str, rule: schema.Rule) -> native.RuleState | None:
        """The state of a rule, or None where it needs none.

        It is known by its route table's name, its match and its limit: not by its number, which changes when
        a rule is written in front of it, nor by where it leads.
        """
        if rule.limit is None and rule.fault is None and rule.mirror is None:
            return None
        keys = rule.limit.keys if rule.limit is not None and rule.limit.by else 0
        asked = 0 if rule.limit is None or rule.limit.ask is None else rule.limit.keys if keys else 1
        return self._state((table, repr((rule.match, rule.limit))), keys, asked)

    def counting(self, name: str, match: schema.Match) -> native.RuleState:
        """The state of what a listener allows or denies: of its list, whose name stands before the number."""
        return self._state((name.rpartition("[")[0] or name, repr(match)), 0)

    def _state(self, key: tuple[str, str], keys: int, asked: int = 0) -> native.RuleState:
        state = self._known.get(key)
        if state is None:
            state = self._known[key] = native.RuleState(keys, int.from_bytes(os.urandom(8)), asked)
        return state
