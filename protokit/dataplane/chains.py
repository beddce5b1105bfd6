"""What filters are made for: each place in the configuration that names one, and whether it is switched off.

Must not import asyncio: chains are compiled with the table, and run by ``filters.py``.
"""

from __future__ import annotations

import logging
import time
import weakref
from typing import TYPE_CHECKING, NamedTuple

from protokit.model import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from protokit.config import schema

METHODS = ("request", "response", "on_end")
_log = logging.getLogger("protokit.filters")


class Switch:
    """How the calls of one method of a filter go; it is off for a while after so many failures in a row.

    Then one call tries whether it works again.

    Args:
        place: "routes.main[0].filters[1]".
        what: the method.
        use: what the configuration says of the filter.
        clock: in seconds.

    Attributes:
        failures: in all.
        in_a_row: since the last call that went well.
        dropped: ends of requests that it was not told.
    """

    def __init__(
        self, place: str, what: str, use: schema.FilterUse, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.place = place
        self.what = what
        self.use = use
        self.failures = 0
        self.in_a_row = 0
        self.dropped = 0
        self._clock = clock
        self._until: float | None = None  # None: it is on
        self._trying = False

    @property
    def off(self) -> bool:
        """Whether it is not called, but for a try."""
        return self._until is not None

    def lets(self) -> bool:
        """Whether it may be called. Then ``worked``, ``failed`` or ``left`` follows."""
        if self._until is None:
            return True
        if self._trying or self._clock() < self._until:
            return False
        self._trying = True
        return True

    def worked(self) -> None:
        """A call went well."""
        if self._until is not None:
            _log.warning("filter %s of %s works again (%s)", self.use.name, self.place, self.what)
        self._until, self._trying, self.in_a_row = None, False, 0

    def left(self) -> None:
        """A call ended by nobody's fault, or its caller's."""
        self._trying = False

    def failed(self, why: str) -> None:
        """A call failed."""
        self.failures += 1
        self.in_a_row += 1
        self._trying = False
        if not self.use.errors or self.in_a_row < self.use.errors:
            return
        if self._until is None:
            _log.warning(
                "filter %s of %s is switched off for %s: its %s failed %d times in a row, at last: %s;"
                " what it would see %s",
                self.use.name,
                self.place,
                self.use.off,
                self.what,
                self.in_a_row,
                why,
                "is dropped"
                if self.what == "on_end"
                else "goes on without it"
                if self.use.fail == "open"
                else "is refused",
            )
        self._until = self._clock() + self.use.off / 1000


class Link(NamedTuple):
    """A filter in a chain."""

    filter: Filter
    use: schema.FilterUse
    switches: Mapping[str, Switch]  # by the methods that it has

    @property
    def name(self) -> str:
        """As the configuration calls it, and errors do."""
        return self.use.name

    @property
    def open(self) -> bool:
        """Whether what it cannot be asked about goes on without it."""
        return self.use.fail == "open"

    def sees(self, what: str) -> bool:
        """Whether it has that method of ``Filter``."""
        return what in self.switches


Chain = list[Link]


def is_open(links: Iterable[Link], what: str) -> bool:
    """Whether all of them that see it are open."""
    return all(link.open for link in links if link.sees(what))


class Switches:
    """By what says which filter it is; kept as long as a table has it."""

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[Hashable, Switch] = weakref.WeakValueDictionary()

    def link(self, one: Filter, where: Hashable, place: str, use: schema.FilterUse) -> Link:
        """A filter in its place.

        Args:
            one: the filter.
            where: says the same of its place after a reload.
            place: for people.
            use: what stands there.
        """
        sees = [what for what in METHODS if has(one, what)]
        return Link(one, use, {what: self._of(where, place, what, use) for what in sees})

    def _of(self, where: Hashable, place: str, what: str, use: schema.FilterUse) -> Switch:
        key = (where, what, repr(use))
        switch = self._known.get(key)
        if switch is None:
            switch = self._known[key] = Switch(place, what, use)
        switch.place = place
        return switch


def has(one: Filter, what: str) -> bool:
    """Whether a filter has that method of ``Filter``, and does not only inherit it."""
    method = getattr(one, what, None)
    return method is not None and getattr(method, "__func__", method) is not getattr(Filter, what)
