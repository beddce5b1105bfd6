"""The shape of the configuration file, and nothing else: field names, types, defaults."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from protokit.config import defaults
from protokit.config.scalars import (
    Address,
    After,
    Duration,
    Hex,
    Network,
    Pattern,
    Rate,
    Regex,
    Retries,
    Secret,
    Share,
    Size,
    Times,
    Whole,
)
from protokit.model import argument_path


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping of the file; unknown keys are errors."""


class FilterUse(_Section, frozen=True, forbid_unknown_fields=True):
    """A filter: ``name``, or ``{name: {options}}``, beside which the others stand.

    ``fail``: what becomes of requests and answers that it fails on. ``errors``: so many failures in a row
    switch it off for the time ``off``; 0: never.
    """

    name: str
    options: dict[str, Any] = {}
    fail: Literal["open", "closed"] = "closed"
    errors: int = defaults.FILTER["errors"]
    off: Duration = Duration(defaults.FILTER["off"])


class TextMatch(_Section, frozen=True, forbid_unknown_fields=True, rename={"in_": "in"}):
    """What a text has to be: one of these. ``range``: a whole number from the first to the last."""

    exact: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    in_: tuple[str, ...] | None = None
    regex: Regex | None = None
    range: tuple[Whole, ...] | None = None
    present: bool | None = None


Text = Pattern | TextMatch
Names = str | tuple[str, ...]  # one, or any of several


class Match(_Section, frozen=True, forbid_unknown_fields=True, rename={"not_": "not"}):
    """What a rule asks of a request; what is not named matches anything."""

    service: Text = Pattern("*")
    method: Text = Pattern("*")
    version: Text = Pattern("*")
    group: Text = Pattern("*")
    headers: dict[str, Text] = {}
    arguments: dict[str, Text] = {}
    oneway: bool | None = None
    source: Network | tuple[Network, ...] | None = None
    listener: Names | None = None
    protocol: Names | None = None
    all: tuple[Match, ...] | None = None
    any: tuple[Match, ...] | None = None
    not_: Match | None = None


def several(one: Any) -> tuple[Any, ...]:
    """What may stand alone or in a list; nothing where it is not given."""
    return () if one is None else one if isinstance(one, tuple) else (one,)


class Access(_Section, frozen=True, forbid_unknown_fields=True):
    """What a listener takes: none of ``deny``, and where ``allow`` is given only what it names."""

    allow: tuple[Match, ...] | None = None
    deny: tuple[Match, ...] | None = None


class Listener(_Section, frozen=True, forbid_unknown_fields=True):
    """Where clients connect."""

    name: str
    bind: Address
    protocol: str | list[str]
    routes: str | None = None
    cluster: str | None = None
    mode: Literal["shared", "pinned"] | None = None
    fallback: str | None = None
    filters: list[FilterUse] = []
    reuse_port: bool = False
    goaway: bool = False
    allow: tuple[Match, ...] | None = None
    deny: tuple[Match, ...] | None = None
    dry_run: Access | None = None


class Backoff(_Section, frozen=True, forbid_unknown_fields=True):
    """How long a request waits before another try: any part of ``base``, doubled each time, up to ``max``."""

    base: Duration = Duration(defaults.RETRY_BACKOFF["base"])
    max: Duration = Duration(defaults.RETRY_BACKOFF["max"])


class Retry(_Section, frozen=True, forbid_unknown_fields=True):
    """When a request is tried again. ``attempts`` counts the first try too."""

    attempts: int = defaults.RETRY_ATTEMPTS
    on: tuple[
        Literal["connect-failure", "reset", "overloaded", "timeout", "unavailable", "no-service", "internal"],
        ...,
    ] = ("connect-failure", "reset")
    idempotent: bool = False
    per_try: Duration | None = None
    backoff: Backoff = Backoff()
    budget: Share = Share(defaults.RETRY_BUDGET)


KEYS = ("service", "method", "source")


class Key(_Section, frozen=True, forbid_unknown_fields=True):
    """What tells requests apart: ``service``, ``method`` (with it), ``source``, a header, an argument."""

    what: str
    name: str = ""


class KeyOf(_Section, frozen=True, forbid_unknown_fields=True):
    """A header, or an argument of the call by its number from 0, or what is inside of one by its path."""

    header: str = ""
    argument: str = ""


def is_argument(text: str) -> bool:
    """Whether it is the number of an argument, or the path to what is inside of one."""
    return argument_path(text) is not None


def keys(given: Key | list[Key]) -> list[Key]:
    """What may stand alone or in a list."""
    return given if isinstance(given, list) else [given]


def origins(given: Key | list[Key]) -> list[tuple[str, str]]:
    """Where the values of a key come from, with the names of headers and the numbers of arguments."""
    found = [(key.what, key.name) for key in keys(given)]
    return [("service", "")] * (("method", "") in found and ("service", "") not in found) + found


class Wanted(_Section, frozen=True, forbid_unknown_fields=True, rename={"in_": "in"}):
    """What an endpoint's metadata has to be: one of some values, or what a header of the request says."""

    in_: tuple[str, ...] | None = None
    header: str | None = None


Subset = dict[str, str | Wanted]


class Fallback(_Section, frozen=True, forbid_unknown_fields=True):
    """The endpoints for requests whose subset is empty."""

    subset: Subset


class Named(_Section, frozen=True, forbid_unknown_fields=True, rename={"else_": "else"}):
    """The cluster that a header names, only of these; ``else``: where it names none of them."""

    header: str
    of: tuple[str, ...]
    else_: str | None = None


class Split(_Section, frozen=True, forbid_unknown_fields=True):
    """One share of a rule's traffic."""

    cluster: str
    weight: int = 1
    subset: Subset = {}
    fallback: Literal["none", "any"] | Fallback = "none"


Status = Literal["no-service", "bad-request", "timeout", "overloaded", "unavailable", "denied", "internal"]


class Reply(_Section, frozen=True, forbid_unknown_fields=True):
    """What a rule answers itself: an error of the caller's protocol. ``text``: at most 500 bytes."""

    status: Status
    text: str = ""


class Ask(_Section, frozen=True, forbid_unknown_fields=True):
    """A plugin's limiter that is asked about a limit's keys.

    ``fail``: what holds for a key that it has said nothing of: the limit here, or no request is taken.
    """

    name: str
    options: dict[str, Any] = {}
    fail: Literal["open", "closed"] = "open"


class Limit(_Section, frozen=True, forbid_unknown_fields=True):
    """How many requests a rule takes. ``burst``: at once; None: as many as come in a second."""

    rate: Rate
    burst: int | None = None
    by: Key | list[Key] = []
    keys: int = defaults.LIMIT_KEYS
    dry_run: bool = False
    ask: Ask | None = None


class HeaderValue(_Section, frozen=True, forbid_unknown_fields=True):
    """The value of that header, of the request as it came."""

    header: str


SOURCE = "{source}"  # stands for the client's address
Value = str | HeaderValue


class SetAnswer(_Section, frozen=True, forbid_unknown_fields=True):
    """Changes to answers; values come of the request as it was sent."""

    headers: dict[str, Value] = {}
    append: dict[str, Value] = {}
    remove: tuple[str, ...] = ()

    def count(self) -> int:
        """How many changes."""
        return len(self.headers) + len(self.append) + len(self.remove)


class Set(_Section, frozen=True, forbid_unknown_fields=True):
    """Changes to requests before they are sent. ``append``: behind what stands there, and a comma.

    ``answer``: changes to what they are answered.
    """

    service: Value | None = None
    method: Value | None = None
    version: Value | None = None
    group: Value | None = None
    headers: dict[str, Value] = {}
    append: dict[str, Value] = {}
    remove: tuple[str, ...] = ()
    answer: SetAnswer | None = None

    def count(self) -> int:
        """How many changes to requests."""
        fields = (self.service, self.method, self.version, self.group)
        named = sum(one is not None for one in fields)
        return named + len(self.headers) + len(self.append) + len(self.remove)

    def kinds(self) -> set[str]:
        """What it changes, by the names of ``native.CHANGES``."""
        found = {one for one in ("service", "method", "version", "group") if getattr(self, one) is not None}
        found |= {"headers"} if self.headers or self.append or self.remove else set()
        return found | ({"answer"} if self.answer is not None else set())

    def takes_source(self) -> bool:
        """Whether the client's address goes somewhere."""
        fields = (self.service, self.method, self.version, self.group)
        answer = self.answer or SetAnswer()
        headers = (self.headers, self.append, answer.headers, answer.append)
        return SOURCE in (*fields, *(value for one in headers for value in one.values()))


class Delay(_Section, frozen=True, forbid_unknown_fields=True):
    """Some requests wait for a time before they go on."""

    fixed: Duration
    share: Share = Share(defaults.FAULT_SHARE)


class Abort(_Section, frozen=True, forbid_unknown_fields=True):
    """Some requests are answered with an error of the caller's protocol."""

    status: Status
    share: Share = Share(defaults.FAULT_SHARE)


class FaultAsked(_Section, frozen=True, forbid_unknown_fields=True):
    """What callers that have the key may ask for in a header. ``most``: the longest delay."""

    header: str
    key: Secret
    most: Duration = Duration(defaults.FAULT_ASKED_MOST)
    share: Share = Share(defaults.FAULT_SHARE)


class Fault(_Section, frozen=True, forbid_unknown_fields=True):
    """What some requests suffer, to see what comes of it. ``header``: only those that have it."""

    delay: Delay | None = None
    abort: Abort | None = None
    header: str | None = None
    asked: FaultAsked | None = None


class Hedge(_Section, frozen=True, forbid_unknown_fields=True):
    """When a request gets a second attempt beside its first, on another endpoint."""

    after: After
    most: Share = Share(defaults.HEDGE_MOST)


class Mirror(_Section, frozen=True, forbid_unknown_fields=True):
    """A cluster that gets copies of some requests; answers are dropped. ``mark``: a header that says so."""

    cluster: str
    share: Share = Share(defaults.MIRROR_SHARE)
    mark: str | None = None
    most: int = defaults.MIRROR_MOST


class Timeout(
    _Section, frozen=True, forbid_unknown_fields=True, rename={"usual": "default", "pass_on": "pass"}
):
    """How long a request may take, also written as a duration, which is both. ``most``: whoever says it."""

    usual: Duration | None = None
    most: Duration | None = None
    pass_on: bool = False


class Rule(_Section, frozen=True, forbid_unknown_fields=True):
    """Where matching requests go. The first rule of a table that matches decides."""

    match: Match = Match()
    cluster: str | Named | None = None
    subset: Subset = {}
    fallback: Literal["none", "any"] | Fallback = "none"
    split: list[Split] = []
    sticky: Key | list[Key] = []
    reply: Reply | None = None
    timeout: Timeout | None = None
    retry: Retry | None = None
    hedge: Hedge | None = None
    mirror: Mirror | None = None
    limit: Limit | None = None
    set: Set | None = None
    fault: Fault | None = None
    filters: list[FilterUse] = []


class Routes(_Section, frozen=True, forbid_unknown_fields=True):
    """A route table."""

    name: str
    rules: list[Rule]


class Endpoint(_Section, frozen=True, forbid_unknown_fields=True):
    """One server; also written as its address alone."""

    address: Address
    weight: int = 1
    metadata: dict[str, str] = {}


class Outlier(_Section, frozen=True, forbid_unknown_fields=True):
    """When an endpoint that answers badly is left out. ``errors``: in a row, 0: however many."""

    errors: int = defaults.OUTLIER["errors"]
    rate: Share | None = None
    eject: Duration = Duration(defaults.OUTLIER["eject"])
    most: Share = Share(defaults.OUTLIER["most"])
    slower: Times | None = None


class EndpointBreaker(_Section, frozen=True, forbid_unknown_fields=True):
    """How much of each of its endpoints may be under way at a time."""

    connections: int | None = None
    requests: int | None = None


class Adaptive(_Section, frozen=True, forbid_unknown_fields=True):
    """How many requests may be under way is found by how long they take, from ``least`` to the breaker's."""

    least: int = defaults.ADAPTIVE_LEAST


class Breaker(_Section, frozen=True, forbid_unknown_fields=True):
    """How much of a cluster may be under way at a time, in total over all workers; None: any number."""

    connections: int | None = None
    waiting: int | None = None
    requests: int | None = None
    adaptive: Adaptive | None = None
    retries: Retries | None = None
    endpoint: EndpointBreaker | None = None


class Health(_Section, frozen=True, forbid_unknown_fields=True):
    """How endpoints are checked: one of ``connect``, ``heartbeat``, ``call``, so often."""

    connect: Duration | None = None
    heartbeat: Duration | None = None
    call: Duration | None = None
    frame: Hex | None = None
    service: str | None = None
    method: str | None = None
    version: str = ""
    group: str = ""
    protocol: str | None = None
    timeout: Duration = Duration(defaults.HEALTH["timeout"])
    unhealthy: int = defaults.HEALTH["unhealthy"]
    healthy: int = defaults.HEALTH["healthy"]


class SlowStart(_Section, frozen=True, forbid_unknown_fields=True):
    """How an endpoint that is new or well again comes to its weight: in ``time``, from ``least`` on."""

    time: Duration
    least: Share = Share(defaults.SLOW_START_LEAST)


class Prefer(_Section, frozen=True, forbid_unknown_fields=True):
    """Which endpoints get all requests, such as those of a zone, while ``healthy`` of them are usable."""

    subset: Subset
    healthy: Share = Share(defaults.PREFER_HEALTHY)


class Cluster(_Section, frozen=True, forbid_unknown_fields=True):
    """Servers that do the same."""

    name: str
    endpoints: list[Endpoint]
    balance: Literal["round-robin", "least-request", "random", "peak-ewma", "ring-hash", "maglev"] = (
        "round-robin"
    )
    hash: Key | list[Key] = []
    max_connections: int = defaults.MAX_CONNECTIONS
    connect_timeout: Duration | None = None
    outlier: Outlier | None = None
    filters: list[FilterUse] = []
    breaker: Breaker | None = None
    health: Health | None = None
    panic: Share | None = None
    slow_start: SlowStart | None = None
    prefer: Prefer | None = None


class Admin(_Section, frozen=True, forbid_unknown_fields=True):
    """The admin server; ``public`` serves only /ready, /healthz and /metrics."""

    bind: Address
    public: Address | None = None
    hosts: list[str] = []


class Drain(_Section, frozen=True, forbid_unknown_fields=True):
    """How the proxy stops."""

    delay: Duration = Duration(defaults.DRAIN["delay"])
    timeout: Duration = Duration(defaults.DRAIN["timeout"])


class Limits(_Section, frozen=True, forbid_unknown_fields=True):
    """What a peer can make grow, per worker."""

    frame: Size = Size(defaults.LIMITS["frame"])
    headers: int = defaults.LIMITS["headers"]
    connections: int = defaults.LIMITS["connections"]
    in_flight: int = defaults.LIMITS["in_flight"]
    in_flight_per_connection: int = defaults.LIMITS["in_flight_per_connection"]
    filters: int = defaults.LIMITS["filters"]
    buffer: Size = Size(defaults.LIMITS["buffer"])
    client_pause: Size = Size(defaults.LIMITS["client_pause"])
    client_close: Size = Size(defaults.LIMITS["client_close"])
    upstream_buffer: Size = Size(defaults.LIMITS["upstream_buffer"])
    upstream_in_flight: int = defaults.LIMITS["upstream_in_flight"]
    retry_buffer: Size = Size(defaults.LIMITS["retry_buffer"])


class Timeouts(_Section, frozen=True, forbid_unknown_fields=True):
    """How long anything may take."""

    request: Duration = Duration(defaults.TIMEOUTS["request"])
    connect: Duration = Duration(defaults.TIMEOUTS["connect"])
    idle: Duration = Duration(defaults.TIMEOUTS["idle"])
    frame: Duration = Duration(defaults.TIMEOUTS["frame"])
    detect: Duration = Duration(defaults.TIMEOUTS["detect"])
    heartbeat: Duration = Duration(defaults.TIMEOUTS["heartbeat"])
    probe: Duration = Duration(defaults.TIMEOUTS["probe"])
    filter: Duration = Duration(defaults.TIMEOUTS["filter"])


class Config(_Section, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    listeners: list[Listener]
    clusters: list[Cluster]
    routes: list[Routes] = []
    admin: Admin | None = None
    drain: Drain = Drain()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    workers: int = defaults.WORKERS
    plugins: list[str] = []
