"""What is found wrong with a configuration, each with its place; names that lead nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protokit.errors import ConfigError, close_match

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from protokit.config import schema
    from protokit.config.document import Document, Path
    from protokit.config.scalars import Address
    from protokit.plugins import Registry


class HostUse(msgspec.Struct, frozen=True):
    """A host name where an address may stand; ``role``: endpoint, bind or admin."""

    host: str
    role: str
    path: str
    line: int
    column: int

    def error(self, message: str) -> ConfigError:
        """A mistake at that place."""
        return ConfigError(message, self.path, self.line, self.column)


class Findings:
    """Errors, which stop, and warnings, which do not; and the host names."""

    def __init__(self, document: Document, holes: AbstractSet[Path] = frozenset()) -> None:
        self._document = document
        self._holes = holes
        self._around = {path[:size] for path in holes for size in range(len(path))}
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []
        self.hosts: list[HostUse] = []
        self.filters: dict[int, ConfigError] = {}

    def hole(self, *path: str | int) -> bool:
        """Whether what stands there could not be read: it says nothing about the rest."""
        return path in self._holes

    def holes(self, *path: str | int) -> bool:
        """Whether it, or something in it, could not be read."""
        return path in self._holes or path in self._around

    def empty(self, given: Sequence[object], *path: str | int) -> bool:
        """Whether an empty list stands there; one that could not be read says nothing."""
        return not given and self._document.has_list(path) and not self.holes(*path)

    def line(self, *path: str | int) -> int:
        """Where the value under ``path`` stands."""
        return self._document.error_at("", path).line

    def error(self, message: str, *path: str | int) -> None:
        """Note an error at the value under ``path``."""
        self.errors.append(self._document.error_at(message, path))

    def warning(self, message: str, *path: str | int) -> None:
        """Note a warning."""
        self.warnings.append(self._document.error_at(message, path))

    def filter(self, use: schema.FilterUse | schema.Ask, *path: str | int) -> None:
        """Note where a filter, or a limiter, stands that will have to be made."""
        self.filters[id(use)] = self._document.error_at("", path)

    def host(self, address: Address, role: str, *path: str | int) -> None:
        """Note where a name stands that will have to be looked up."""
        if not address.ip:
            place = self._document.error_at("", path)
            self.hosts.append(HostUse(address.host, role, place.path, place.line, place.column))


class Names:
    """The names of a section, and which of them are used."""

    def __init__(self, findings: Findings, what: str, section: str, items: Iterable[object]) -> None:
        self._findings = findings
        self._what = what
        self._whole = not findings.hole(section)  # whether all are known
        self._known: set[str] = set()
        self.used: set[str] = set()
        for i, item in enumerate(items):
            name: str = item.name  # type: ignore[attr-defined]  # all three sections have it
            if findings.hole(section, i) or findings.hole(section, i, "name"):
                self._whole = False
            elif not name or not name.isprintable():  # it stands in logs, metrics and answers
                findings.error(f"expected a name in printable characters, got {name!r}", section, i, "name")
            elif name in self._known:
                findings.error(f"the name {name!r} is taken already in {section}", section, i, "name")
            self._known.add(name)

    def use(self, name: str | None, *path: str | int) -> None:
        """Somebody refers to that one."""
        if name is None or self._findings.hole(*path):
            return
        self.used.add(name)
        if name not in self._known and self._whole:
            known = sorted(self._known)
            close = close_match(name, known)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(known[:10]) or 'none'}"
            self._findings.error(f"there is no {self._what} {name!r}; {hint}", *path)


def check_filters(
    findings: Findings, uses: Iterable[schema.FilterUse], registry: Registry, path: Path
) -> None:
    """Errors of filters that nobody brings; where all of them stand."""
    for i, use in enumerate(uses):
        if not findings.hole(*path, i):
            check_brought(findings, "filter", use.name, registry, registry.filters, (*path, i))
        findings.filter(use, *path, i)


def check_brought(
    findings: Findings,
    what: str,
    name: str,
    registry: Registry,
    known: Collection[str],
    where: Path,
) -> None:
    """An error where no plugin brings it; nothing where one is broken, which might."""
    if name in known or registry.failures:
        return
    close = close_match(name, known)
    hint = (
        f"; did you mean {close!r}?" if close else "" if known else "; plugins: names the file that brings it"
    )
    findings.error(f"there is no {what} {name!r} (known: {', '.join(sorted(known)) or 'none'}){hint}", *where)
