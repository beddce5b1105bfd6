"""Subsets of clusters: which endpoints have what a rule wants of their metadata."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from protokit.config import schema

MOST = 1024  # of one cluster
MOST_HEADERS = 8  # of one subset; the engine has room for so many

# Of each key in order the values of which an endpoint has one.
Having = tuple[tuple[str, tuple[str, ...]], ...]


class _Endpoint(Protocol):
    @property
    def weight(self) -> int: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...


E = TypeVar("E", bound=_Endpoint)


def fixed(subset: schema.Subset) -> Having:
    """What a subset wants whatever the request says."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for key, wanted in sorted(subset.items()):
        if isinstance(wanted, str):
            found.append((key, (wanted,)))
        elif wanted.in_:
            found.append((key, tuple(sorted({*wanted.in_}))))
    return tuple(found)


def headers(subset: schema.Subset) -> dict[str, str]:
    """Of each key the header that says its value."""
    return {
        key: wanted.header
        for key, wanted in sorted(subset.items())
        if not isinstance(wanted, str) and wanted.header is not None
    }


def chosen(endpoints: Iterable[E], having: Having) -> list[E]:
    """The endpoints that have it. One of weight 0 gets no requests and is in no subset."""
    return [
        one
        for one in endpoints
        if one.weight > 0 and all(one.metadata.get(key) in values for key, values in having)
    ]


def others(endpoints: Iterable[E], having: Having, preferred: Having) -> list[E]:
    """Of the endpoints that have the first those that have not the second."""
    every = chosen(endpoints, having)
    return [one for one in every if not chosen([one], preferred)]


def options(endpoints: Iterable[_Endpoint], subset: schema.Subset) -> dict[tuple[str, ...], Having]:
    """By the values of a subset's headers, what endpoints have: for all values that some endpoint has."""
    keys, basis = [*headers(subset)], fixed(subset)
    found = {
        tuple(one.metadata[key] for key in keys)
        for one in chosen(endpoints, basis)
        if all(key in one.metadata for key in keys)
    }
    return {
        values: tuple(sorted((*basis, *((key, (value,)) for key, value in zip(keys, values, strict=True)))))
        for values in sorted(found)
    }


def told(having: Having) -> str:
    """``version=v2, zone=a|b``: the same for the same, another for anything else."""
    return ", ".join(f"{_quoted(key)}={'|'.join(map(_quoted, values))}" for key, values in having)


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w.:/@+-]+", text) else repr(text)
