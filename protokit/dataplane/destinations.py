"""Where a rule's requests go: its shares, subsets of clusters, and what headers choose between."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, NamedTuple

from protokit.config import schema, subsets
from protokit.dataplane.limits import Prefer
from protokit.table import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from protokit.control.snapshot import Cluster, Endpoint
    from protokit.table import Image

SPLITS = Source("splits", columns=("cluster", "weight", "choice"))
CHOICES = Source(
    "choices", columns=("word", "word_count", "option", "option_count", "otherwise", "cluster", "fixed")
)
WORDS = Source("choice_words", columns=("of", "name"))
OPTIONS = Source("choice_options", columns=("values", "cluster"))
_SIZE = struct.Struct("=I")


class View(NamedTuple):
    """A subset of a cluster: for the engine a cluster with some of its endpoints.

    ``text`` is its identity within the cluster; ``part``: it is what is preferred of another, or the rest.
    """

    cluster: Cluster
    having: subsets.Having
    endpoints: list[Endpoint]
    text: str
    part: bool = False


def joined(values: Iterable[str]) -> bytes:
    """An option's values, as the engine reads them."""
    parts = [value.encode() for value in values]
    return b"".join(_SIZE.pack(len(part)) + part for part in parts)


class Destinations:
    """Finds the number of each destination; those of subsets follow those of the clusters.

    Args:
        image: of the table.
        clusters: those of the Snapshot, in the order of their numbers.
    """

    def __init__(self, image: Image, clusters: Sequence[Cluster]) -> None:
        self._image = image
        self._clusters = {cluster.name: cluster for cluster in clusters}
        self._numbers: dict[tuple[str, subsets.Having], int] = {
            (cluster.name, ()): number for number, cluster in enumerate(clusters)
        }
        self._choices: dict[tuple[object, ...], int] = {}
        self.views: list[View] = []

    def add(self, rules: Iterable[schema.Rule]) -> dict[str, list[int]]:
        """Append the shares of rules to the image: columns for their plans."""
        every: list[Sequence[schema.Split | schema.Rule]] = [
            rule.split or (() if rule.reply else (rule,)) for rule in rules
        ]
        counts = list(map(len, every))
        shares = list(itertools.chain.from_iterable(every))
        targets = [self._target(one) for one in shares]
        first = self._image.add(
            SPLITS,
            shares,
            cluster=[cluster for cluster, _ in targets],
            weight=[one.weight if isinstance(one, schema.Split) else 1 for one in shares],
            choice=[choice for _, choice in targets],
        )
        return {
            "split": list(itertools.accumulate(counts, initial=first))[:-1],
            "split_count": counts,
        }

    def _target(self, share: schema.Split | schema.Rule) -> tuple[int, int | None]:
        """A share's cluster, and the choice that says it where headers do."""
        if isinstance(share.cluster, schema.Named):
            return self._numbers[share.cluster.of[0], ()], self._named(share.cluster)
        name = share.cluster or ""
        if not share.subset:
            return self._numbers[name, ()], None
        having = subsets.fixed(share.subset)
        if subsets.headers(share.subset):
            return self._numbers[name, ()], self._choice(name, share)
        if subsets.chosen(self._clusters[name].endpoints, having):
            return self._view(name, having), None
        otherwise = self._otherwise(name, share)
        return self._view(name, having) if otherwise is None else otherwise, None

    def _otherwise(self, name: str, share: schema.Split | schema.Rule) -> int | None:
        """Where requests go whose subset is empty; None: nowhere."""
        if isinstance(share.fallback, schema.Fallback):
            return self._view(name, subsets.fixed(share.fallback.subset))
        return self._numbers[name, ()] if share.fallback == "any" else None

    def _view(self, name: str, having: subsets.Having) -> int:
        number = self._numbers.setdefault((name, having), len(self._numbers))
        if number == len(self._clusters) + len(self.views):
            cluster = self._clusters[name]
            endpoints = subsets.chosen(cluster.endpoints, having)
            self.views.append(View(cluster, having, endpoints, subsets.told(having)))
        return number

    def preferred(self, cluster: Cluster, having: subsets.Having = ()) -> Prefer:
        """Of a cluster, or a subset of it, those that are preferred, and the others: two more views."""
        prefer = cluster.written.prefer
        if prefer is None:
            return Prefer()
        first = len(self._clusters) + len(self.views)
        wanted = subsets.fixed(prefer.subset)
        near = subsets.chosen(subsets.chosen(cluster.endpoints, having), wanted)
        far = subsets.others(cluster.endpoints, having, wanted)
        for endpoints, how in ((near, "prefer"), (far, "not")):
            text = f"{subsets.told(having)}; {how} {subsets.told(wanted)}".removeprefix("; ")
            self._numbers[cluster.name, (*having, (text, ()))] = len(self._numbers)
            self.views.append(View(cluster, having, endpoints, text, part=True))
        return Prefer(first, first + 1, prefer.healthy)

    def _named(self, named: schema.Named) -> int:
        otherwise = None if named.else_ is None else self._numbers[named.else_, ()]
        key = ("", named.header, named.of, otherwise)
        if key not in self._choices:
            options: dict[tuple[str, ...], int] = {(name,): self._numbers[name, ()] for name in named.of}
            self._choices[key] = self._add_choice(
                [("", named.header)], options, otherwise=otherwise, cluster="", fixed=""
            )
        return self._choices[key]

    def _choice(self, name: str, share: schema.Split | schema.Rule) -> int:
        words, having = subsets.headers(share.subset), subsets.fixed(share.subset)
        otherwise = self._otherwise(name, share)
        key = (name, tuple(words.items()), having, otherwise)
        if key not in self._choices:
            options = {
                values: self._view(name, wanted)
                for values, wanted in subsets.options(self._clusters[name].endpoints, share.subset).items()
            }
            self._choices[key] = self._add_choice(
                [*words.items()], options, otherwise=otherwise, cluster=name, fixed=subsets.told(having)
            )
        return self._choices[key]

    def _add_choice(
        self,
        words: Sequence[tuple[str, str]],
        options: Mapping[tuple[str, ...], int],
        *,
        otherwise: int | None,
        cluster: str,
        fixed: str,
    ) -> int:
        word = self._image.add(
            WORDS,
            words,
            of=[self._image.key([("header", header)]).first for _, header in words],
            name=[name for name, _ in words],
        )
        option = self._image.add(
            OPTIONS, [*options], values=[*map(joined, options)], cluster=[*options.values()]
        )
        return self._image.add(
            CHOICES,
            [None],
            word=[word],
            word_count=[len(words)],
            option=[option],
            option_count=[len(options)],
            otherwise=[otherwise],
            cluster=[cluster],
            fixed=[fixed],
        )
