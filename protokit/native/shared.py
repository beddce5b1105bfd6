"""What all workers of a process share: limits of rules, what is under way, verdicts on endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit._native import ffi, lib
from protokit.errors import ProtokitError
from protokit.native.layout import constants

if TYPE_CHECKING:
    from collections.abc import Iterable


class RuleState:
    """What a rule's limit holds and how often the rule decided, of all workers; in use as long as it is kept.

    Args:
        keys: so many buckets, or 0: one for all requests.
        seed: of the hashes of keys.
        asked: so many keys that a limiter is asked about, or 0: none is.

    Attributes:
        limiter: that is asked, behind its factory, for who made it.
    """

    def __init__(self, keys: int, seed: int, asked: int = 0) -> None:
        pointer = lib.pk_rule_state_new(keys, seed)
        if pointer == ffi.NULL:
            raise ProtokitError("a rule's limit has no memory for its buckets")
        self._pointer = ffi.gc(pointer, lib.pk_rule_state_free)
        if asked and lib.pk_rule_state_ask(pointer, asked) != 0:
            raise ProtokitError("a rule's limit has no memory for what it is told of its keys")
        self.limiter: Any = None
        self.address = int(ffi.cast("uintptr_t", pointer))

    def say(self, key: int, requests: int | None, now: int, until: int) -> None:
        """So many requests of a key, or any number, are allowed; times in ns of the monotonic clock."""
        left = 2**62 if requests is None else requests
        lib.pk_rule_state_say(self._pointer, key, left, now, until)

    def took(self, keys: int) -> None:
        """So many keys that were to be asked about are taken."""
        lib.pk_rule_state_took(self._pointer, keys)

    def counts(self) -> dict[str, int]:
        """How often it decided what: ``limit``, ``would-limit`` and so on."""
        return {
            name: int(lib.pk_rule_state_count(self._pointer, number))
            for name, number in constants("PK_DECIDED_").items()
            if name != "count"
        }


class Shared:
    """What all workers of a process share of clusters and endpoints, by their numbers: what is under way."""

    def __init__(self) -> None:
        pointer = lib.pk_shared_new()
        if pointer == ffi.NULL:
            raise ProtokitError("memory is short")
        self.pointer = ffi.gc(pointer, lib.pk_shared_release)

    def under_way(self, cluster: int) -> dict[str, int]:
        """How much of a cluster: ``connections``, ``waiting``, ``requests``, ``retries``."""
        return {
            name: int(lib.pk_shared_under_way(self.pointer, cluster, number))
            for name, number in breakers().items()
            if not name.startswith("endpoint-")
        }

    def endpoint(self, number: int) -> dict[str, int]:
        """How much of an endpoint: ``connections``; ``requests`` where its breaker counts them."""
        return {
            name.removeprefix("endpoint-"): int(lib.pk_shared_endpoint(self.pointer, number, breaker))
            for name, breaker in breakers().items()
            if name.startswith("endpoint-")
        }

    def refused(self, cluster: int) -> dict[str, int]:
        """How often each of a cluster's breakers refused something."""
        return {
            name: int(lib.pk_shared_refused(self.pointer, cluster, number))
            for name, number in breakers().items()
        }

    def limit(self, cluster: int) -> int:
        """How many requests of a cluster may be under way, where that is found; 0: it is not found yet."""
        return int(lib.pk_shared_limit(self.pointer, cluster))

    def forget(self, clusters: Iterable[int]) -> None:
        """No table has these: their numbers may be others'."""
        for one in clusters:
            lib.pk_shared_forget(self.pointer, one)


def breakers() -> dict[str, int]:
    """Numbers of breakers by their names."""
    return {name: number for name, number in constants("PK_BREAKER_").items() if name != "count"}


class Verdicts:
    """What the workers of a process tell each other of endpoints; there as long as one of them runs."""

    def __init__(self) -> None:
        pointer = lib.pk_verdicts_new()
        if pointer == ffi.NULL:
            raise ProtokitError("memory is short")
        self.pointer = ffi.gc(pointer, lib.pk_verdicts_free)
