"""Routing tables made record by record, for tests of the engine; what runs goes through a Snapshot."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from protokit import native
from protokit.config.scalars import Duration, Share
from protokit.config.schema import Backoff, Breaker, Outlier, Reply, Retry, SlowStart, Timeout
from protokit.dataplane.destinations import joined
from protokit.dataplane.limits import FaultAsked, Hedge, Mirror, Prefer, breaker_of
from protokit.table import Image, Key, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Origins = Sequence[tuple[str, str]]  # each by PK_ORIGIN_*, with a header's name

# Endpoints, splits and rules belong to the last cluster, plan and route table, which says first and count.
_PARTS = {
    "endpoints": ("clusters", "endpoints", "endpoint_count"),
    "splits": ("plans", "split", "split_count"),
    "choice_words": ("choices", "word", "word_count"),
    "choice_options": ("choices", "option", "option_count"),
    "changes": ("plans", "change", "change_count"),
    "rules": ("routes", "rules", "rule_count"),
    "conditions": ("rules", "condition", "condition_count"),
    "values": ("conditions", "value", "value_count"),
}
_ORIGINS = native.constants("PK_ORIGIN_")
_CLUSTERS: dict[str, int] = {}
_NOBODY = {
    "present": False,
    "name": "",
    "routes": None,
    "plan": None,
    "access": None,
    "dry_run": None,
    "pinned": False,
    "codec": 0,
    "codec_count": 0,
    "fallback": None,
    "goaway": False,
}


def cluster_number(name: str) -> int:
    """Its identity, in all tables that are built here."""
    return _CLUSTERS.setdefault(name, len(_CLUSTERS))


class _Limit(msgspec.Struct, frozen=True):
    """pk_limit."""

    interval: int
    burst: int
    dry_run: int
    ask: int
    by: Key
    text: str


class _Fault(msgspec.Struct, frozen=True):
    """pk_fault; without more, of a rule all of whose requests are delayed."""

    delay_ms: int
    delay_share: int = 10**6
    status: int = 0
    abort_share: int = 0
    having: Key = Key()
    asked: FaultAsked = FaultAsked(Key())


class TableBuilder:
    """Builds a table by records in order; every method gives back the index of its record.

    Args:
        limits: fields of ``pk_limits``.
        seed: of the hash tables.
    """

    def __init__(self, limits: Mapping[str, int], seed: int) -> None:
        self._image = Image(limits, seed)
        self._records: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._codecs: list[int] = []
        self._states: list[native.RuleState] = []
        self._names: Counter[str] = Counter()  # of plans

    def add(self, array: str, **fields: object) -> int:
        """Append a record to an array of the table, by the names of ``table.h``."""
        records = self._records[array]
        if array in _PARTS:
            whole, _, count = _PARTS[array]
            self._records[whole][-1][count] += 1
        for part, (whole, first, count) in _PARTS.items():
            if whole == array:
                fields |= {first: len(self._records[part]), count: 0}
        records.append(fields)
        return len(records) - 1

    def cluster(
        self,
        name: str,
        balance: str,
        max_connections: int,
        connect_ms: int,
        hash_: Origins = (),
        *,
        outlier: Outlier | None = None,
        breaker: Breaker | None = None,
        check: object = None,
        panic: int = 0,
        slow_start: SlowStart | None = None,
        prefer: Prefer | None = None,
        subset: str = "",
    ) -> int:
        """Add a cluster, or a subset of one; ``endpoint`` adds to the last one."""
        return self.add(
            "clusters",
            uid=cluster_number(name),
            name=name,
            balance=balance,
            max_connections=max_connections,
            connect_timeout_ms=connect_ms,
            outlier=outlier,
            breaker=breaker_of(breaker),
            check=check,
            panic=panic,
            slow_start=slow_start,
            prefer=prefer or Prefer(),
            subset=subset,
            hash=self._image.key(hash_),
        )

    def checking(self, codec: int) -> int:
        """The number of a codec, for a cluster's health checks."""
        self._codecs.append(codec)
        return len(self._codecs) - 1

    def endpoint(self, uid: int, host: str, port: int, weight: int) -> int:
        """Add an endpoint to the last cluster; ``uid`` is its identity in every table."""
        addr = native.pack_address(host, port)
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return self.add("endpoints", uid=uid, weight=weight, name=name, addr_size=len(addr), addr=addr)

    def plan(
        self,
        name: str,
        *,
        timeout_ms: int = 0,
        most_ms: int | None = None,
        pass_on: bool = False,
        attempts: int = 0,
        retry_on: Sequence[str] | int = 0,
        idempotent: bool = False,
        per_try_ms: int = 0,
        backoff: tuple[int, int] = (0, 0),
        budget: str = "100%",
        filter_chain: int | None = None,
        answer_chain: int | None = None,
        end_chain: int | None = None,
        open_for: int = 0,
        delay_ms: int = 0,
        fault: Any = None,
        hedge_ms: int = 0,
        hedge_share: int = 0,
        hedge_most: str = "100%",
        mirror: Mirror | None = None,
        reply: Reply | None = None,
        sticky: Origins = (),
        limit: Any = None,
        state: native.RuleState | None = None,
        verdict: str = "none",
        identity: int = 0,
    ) -> int:
        """Add a plan; ``split`` adds clusters to the last one.

        Args:
            name: of its rule.
            timeout_ms: 0 for the limits' own.
            most_ms: whatever its caller says; None: as ``timeout_ms``.
            pass_on: servers are told what is left.
            attempts: in all.
            retry_on: reasons, or their bits.
            idempotent: also after a byte was sent.
            per_try_ms: of each try that another may follow.
            backoff: base and most, ms.
            budget: of tries beyond the first.
            filter_chain: the number of the filters that see requests.
            answer_chain: of those that see answers.
            end_chain: of those that are told of ends.
            open_for: PK_OPEN_*.
            delay_ms: before it goes on; instead of ``fault``.
            fault: with the attributes of ``pk_fault``; ``having``: origins; ``asked``, if it has that: a
                header and the other fields of ``pk_fault_asked``.
            hedge_ms: before a second attempt, of what is idempotent.
            hedge_share: of the cluster's times instead, parts of a million.
            hedge_most: of all requests.
            mirror: its cluster is one of the table's.
            reply: instead of a cluster.
            sticky: by what a split chooses.
            limit: with the attributes of ``pk_limit``; ``by``: origins.
            state: what the rule has beyond the table; a limit without it does nothing. A mirror has one.
            verdict: of a rule that allows or denies, instead of a cluster.
            identity: of its rule; 0: by its name, and which of that name it is.
        """
        if state is None and mirror is not None:
            state = native.RuleState(0, 0)
        if state is not None and state not in self._states:
            self._states.append(state)
        retry: Any = Retry(
            attempts,
            retry_on,  # type: ignore[arg-type]
            idempotent,
            Duration(per_try_ms),
            Backoff(*map(Duration, backoff)),
            Share.parse(budget),
        )
        self._names[name] += 1
        return self.add(
            "plans",
            name=name,
            timeout=Timeout(
                Duration(timeout_ms), Duration(timeout_ms if most_ms is None else most_ms), pass_on
            ),
            retry=retry,
            sticky=self._image.key(sticky),
            reply=reply,
            limit=limit
            and _Limit(
                limit.interval,
                limit.burst,
                limit.dry_run,
                getattr(limit, "ask", 0),
                self._image.key(limit.by),
                limit.text,
            ),
            state=None if state is None else self._states.index(state),
            fault=_Fault(delay_ms)
            if delay_ms
            else fault
            and _Fault(
                fault.delay_ms,
                fault.delay_share,
                fault.status,
                fault.abort_share,
                self._image.key(fault.having),
                self._asked(*getattr(fault, "asked", ("", "", 0, 0))),
            ),
            hedge=Hedge(hedge_ms, hedge_share, Share.parse(hedge_most)),
            mirror=mirror or Mirror(),
            filter=filter_chain,
            answers=answer_chain,
            ends=end_chain,
            open=open_for,
            verdict=verdict,
            change_answers=0,
            identity=identity or hash((name, self._names[name])) & (2**64 - 1),
        )

    def _asked(self, header: str, key: str, most_ms: int, share: int) -> FaultAsked:
        return FaultAsked(self._image.key([("header", header)] if header else []), key, most_ms, share)

    def split(self, cluster: int, weight: int, choice: int | None = None) -> int:
        """Add a cluster to the last plan; ``choice`` says it instead."""
        return self.add("splits", cluster=cluster, weight=weight, choice=choice)

    def choice(
        self,
        headers: Mapping[str, str],
        options: Mapping[tuple[str, ...], int],
        *,
        otherwise: int | None = None,
        cluster: str = "",
        fixed: str = "",
    ) -> int:
        """Add headers (with the names of what they stand for) whose values lead to clusters."""
        number = self.add("choices", otherwise=otherwise, cluster=cluster, fixed=fixed)
        for header, name in headers.items():
            self.add("choice_words", of=self.origin("header", header), name=name)
        for values, index in options.items():
            self.add("choice_options", values=joined(values), cluster=index)
        return number

    def origin(self, origin: str, name: str = "") -> int:
        """Where a value comes from: its number."""
        return self._image.key([(origin, name)]).first

    def change(
        self, what: str, how: str, key: str, value: str = "", *, of: int | None = None, answer: bool = False
    ) -> int:
        """Add a change to the last plan; names as the engine's PK_EDIT_* and PK_CHANGE_*; ``of``: origin.

        ``answer``: to answers; behind those to requests.
        """
        self._records["plans"][-1]["change_answers"] += int(answer)
        numbers = {
            "what": native.constants("PK_EDIT_")[what],
            "how": native.constants("PK_CHANGE_")[how],
        }
        return self.add("changes", **numbers, of=of, key=key, value=value)

    def routes(self, name: str, *, verdicts: bool = False) -> int:
        """Add a route table, perhaps of verdicts; ``rule`` adds to the last one."""
        return self.add("routes", name=name, verdicts=verdicts)

    def rule(self, service: str, method: str, version: str, group: str, plan: int) -> int:
        """Add a rule (patterns ``x``, ``x*``, ``*``) to the last route table."""
        return self.add("rules", service=service, method=method, version=version, group=group, plan=plan)

    def condition(
        self,
        condition: str,
        match: str = "any",
        *,
        size: int = 1,
        key: str = "",
        text: str = "",
        automaton: int | None = None,
        low: int = 0,
        high: int = 0,
    ) -> int:
        """Add a condition to the last rule: the first has all others in it. ``value`` adds to the last.

        One about a value is named by where that comes from.
        """
        return self.add(
            "conditions",
            condition="value" if condition in _ORIGINS else condition,
            match=match,
            size=size,
            of=self.origin(condition, key) if condition in _ORIGINS else None,
            text=text,
            automaton=automaton,
            low=low,
            high=high,
        )

    def value(self, text: str) -> int:
        """Add one of the values of the last condition."""
        return self.add("values", text=text)

    def automaton(self, program: bytes, states: int, classes: int) -> int:
        """Add what a condition's regular expression is."""
        return self.add("automata", program=program, states=states, classes=classes)

    def listener(
        self,
        identity: int,
        name: str,
        *,
        routes: int | None,
        plan: int | None,
        pinned: bool,
        codecs: Sequence[int],
        fallback: int | None = None,
        goaway: bool = False,
        access: int | None = None,
        dry_run: int | None = None,
    ) -> None:
        """Add a listener with the addresses of its codecs, and a cluster for what is none of them."""
        while len(self._records["listeners"]) <= identity:
            self.add("listeners", **_NOBODY)
        self._records["listeners"][identity] = {
            "present": True,
            "name": name,
            "routes": routes,
            "plan": plan if routes is None else None,
            "access": access,
            "dry_run": dry_run,
            "pinned": pinned,
            "codec": len(self._codecs),
            "codec_count": len(codecs),
            "fallback": fallback,
            "goaway": goaway,
        }
        self._codecs += codecs

    def image(self) -> tuple[bytes, list[int]]:
        """What ``native.Table.load`` takes."""
        for array, records in self._records.items():
            source = Source(array)
            columns = {name: [record[name] for record in records] for name in source.columns}
            self._image.add(source, records, **columns)
        return self._image.pack(), self._codecs

    def finish(self) -> native.Table:
        """The compiled table."""
        return native.Table.load(*self.image(), self._states)
