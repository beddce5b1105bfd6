"""What is wrong with a configuration whose shape is right: names that lead nowhere, rules never reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protokit import plugins
from protokit.config import defaults, keys, schema, shares
from protokit.errors import ConfigError, DeclarationError, close_match

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from protokit.config import matches
    from protokit.config.document import Document, Path
    from protokit.config.scalars import Address
    from protokit.wire import Protocol


_REPLY_TEXT = 500  # bytes, of what error replies carry
_MOST_PROTOCOLS = 32  # each is asked about a client's first bytes
_MOST_CHANGES = 32  # the engine's PK_CHANGES
_ANYWHERE = ("0.0.0.0", "::", "::ffff:0.0.0.0")  # noqa: S104  # refused, not bound
_LOCAL = {"localhost": ("127.0.0.1",)}


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


def check(
    config: schema.Config,
    registry: plugins.Registry,
    document: Document,
    holes: AbstractSet[Path] = frozenset(),
) -> Findings:
    """Every semantic error and warning of ``config``.

    Args:
        config: as read.
        registry: the plugins it names, loaded.
        document: to say where.
        holes: where it could not be read; nothing is said about what depends on that.
    """
    findings = Findings(document, holes)
    _plugins(findings, config, registry)
    clusters = Names(findings, "cluster", "clusters", config.clusters)
    known = shares.Clusters(findings, clusters, config.clusters)
    tables = Names(findings, "route table", "routes", config.routes)
    listeners = Names(findings, "listener", "listeners", config.listeners)
    if not config.listeners and not findings.hole("listeners"):
        findings.error("there is no listener", "listeners")
    for i, listener in enumerate(config.listeners):
        if findings.hole("listeners", i):
            continue
        _listener(findings, listener, registry, ("listeners", i))
        _relayed(findings, config, listener, registry, ("listeners", i))
        _spoken(findings, config, listener, registry)
        tables.use(listener.routes, "listeners", i, "routes")
        clusters.use(listener.cluster, "listeners", i, "cluster")
        clusters.use(listener.fallback, "listeners", i, "fallback")
    speaking = {one.name: protocols_of(one, registry) for one in config.listeners}
    _access(findings, config, listeners, speaking, registry.protocols)
    if config.routes:
        from protokit.config import hidden, matches  # only then  # noqa: PLC0415
    for t, table in enumerate(config.routes):
        by = [one.name for one in config.listeners if one.routes == table.name]
        asked = matches.Asked(table.name, listeners, speaking, by, registry.protocols)
        for r, rule in enumerate(table.rules):
            if not findings.hole("routes", t, "rules", r):
                _rule(findings, rule, asked, registry, known, ("routes", t, "rules", r))
        hidden.find(findings, table, t)
        if table.name not in tables.used:
            findings.warning(f"no listener uses route table {table.name!r}", "routes", t)
    for c, cluster in enumerate(config.clusters):
        _cluster(findings, cluster, registry, c)
        _health(findings, config, cluster, speaking, registry, c)
        if cluster.name not in clusters.used:
            findings.warning(f"no route leads to cluster {cluster.name!r}", "clusters", c)
    keys.check_read(findings, config, speaking, registry.protocols)
    ours = {one.bind.port for one in config.listeners} - {0}
    if any(one.address.port in ours for cluster in config.clusters for one in cluster.endpoints):
        from protokit.config import circles  # only then  # noqa: PLC0415

        circles.check(findings, config)
    _binds(findings, config)
    _limits(findings, config)
    _limit_keys(findings, config)
    return findings


def _plugins(findings: Findings, config: schema.Config, registry: plugins.Registry) -> None:
    for name, reason in registry.failures.items():
        findings.error(f"plugin {name!r} cannot be used: {reason}", "plugins")
    for i, name in enumerate(config.plugins):
        if not name.endswith(".py") and (missing := plugins.missing_message(name)):
            findings.error(missing, "plugins", i)


def _spoken(
    findings: Findings, config: schema.Config, listener: schema.Listener, registry: plugins.Registry
) -> None:
    """What its rules ask of the protocols that it speaks."""
    for t, table in enumerate(config.routes):
        for r, rule in enumerate(table.rules if table.name == listener.routes else ()):
            passes = rule.timeout is not None and rule.timeout.pass_on
            if rule.set is not None or rule.hedge is not None or rule.mirror is not None or passes:
                from protokit.config import spoken  # only then  # noqa: PLC0415

                names = [name for name in protocols_of(listener, registry) if name in registry.protocols]
                wires = {name: registry.protocols[name].wire for name in names}
                spoken.check(findings, rule, listener, wires, ("routes", t, "rules", r))


def _access(
    findings: Findings,
    config: schema.Config,
    listeners: Names,
    speaking: Mapping[str, list[str]],
    known: Mapping[str, Protocol],
) -> None:
    for i, listener in enumerate(config.listeners):
        if (listener.allow, listener.deny, listener.dry_run) != (None, None, None):
            from protokit.config import access, matches  # only then  # noqa: PLC0415

            asked = matches.Asked("", listeners, speaking, [listener.name], known)
            access.check(findings, listener, asked, ("listeners", i))


def _binds(findings: Findings, config: schema.Config) -> None:
    if config.admin is not None:
        findings.host(config.admin.bind, "admin", "admin", "bind")
        if config.admin.public is not None:
            findings.host(config.admin.public, "admin", "admin", "public")
    for message, where in same_ports(config):
        findings.error(message, *where)


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


def protocols_of(listener: schema.Listener, registry: plugins.Registry | None = None) -> list[str]:
    """The protocols it names, in order.

    Args:
        listener: where they are named.
        registry: with it ``auto`` stands for all others, by name, that can be detected, whose clients
            speak first, and that the listener's mode can carry.
    """
    names = [listener.protocol] if isinstance(listener.protocol, str) else listener.protocol
    if registry is None or "auto" not in names:
        return names
    at = names.index("auto")
    others = [
        name
        for name, protocol in sorted(registry.protocols.items())
        if name not in names
        and protocol.detectable
        and not protocol.server_first
        and not (listener.mode == "shared" and protocol.pinned)
    ]
    return [*names[:at], *others, *names[at + 1 :]]


def _listener(findings: Findings, listener: schema.Listener, registry: plugins.Registry, path: Path) -> None:
    names = protocols_of(listener)
    findings.host(listener.bind, "bind", *path, "bind")
    for i, name in enumerate(names):
        where = (*path, "protocol", i) if isinstance(listener.protocol, list) else (*path, "protocol")
        if findings.hole(*where):
            continue
        if name in names[:i]:
            findings.error(f"protocol {name!r} stands here twice", *where)
        elif name not in {"auto", *registry.protocols, *registry.failures}:
            findings.error(plugins.missing_protocol_message(name, registry.protocols), *where)
        elif name in registry.protocols:
            _combined(findings, listener, registry.protocols[name], where)
            _replies(findings, registry.protocols[name], where)
    if len(protocols_of(listener, registry)) > _MOST_PROTOCOLS:
        findings.error(f"protocol: a listener can tell {_MOST_PROTOCOLS} apart at most", *path, "protocol")
    if listener.goaway:
        _goaway(findings, listener, registry, (*path, "goaway"))
    _destination(findings, listener, path)
    _filters(findings, listener.filters, registry, (*path, "filters"))


def _goaway(findings: Findings, listener: schema.Listener, registry: plugins.Registry, where: Path) -> None:
    """A warning where none of its protocols waits for the operator's leave."""
    names = [name for name in protocols_of(listener, registry) if name in registry.protocols]
    reasons = {"always": "tells its clients anyway", "never": "has no signal to go elsewhere"}
    drains = {name: registry.protocols[name].drain for name in names}
    if drains and "asked" not in drains.values():
        why = ", ".join(f"{name!r} {reasons[drain]}" for name, drain in drains.items())
        findings.warning(f"goaway does nothing here: {why}", *where)


def _replies(findings: Findings, protocol: Protocol, where: Path) -> None:
    """Of a declared protocol what it says by itself is what it is: errors are answers."""
    try:
        getattr(protocol.wire, "check_replies", lambda: None)()
    except DeclarationError as error:
        findings.error(f"protocol {protocol.name!r}: {error}", *where)


def _combined(findings: Findings, listener: schema.Listener, protocol: Protocol, where: Path) -> None:
    alone = isinstance(listener.protocol, str) or len(listener.protocol) == 1
    if protocol.server_first and not (alone and listener.fallback is None):
        findings.error(
            f"with {protocol.name!r} the server speaks first, so its clients cannot be told from others by"
            " what they say: give it a listener of its own, without a fallback",
            *where,
        )
    if not protocol.detectable and not (alone and listener.fallback is None):
        findings.error(
            f"protocol {protocol.name!r} has a codec in Python and cannot be detected; "
            "give it a listener of its own, without a fallback",
            *where,
        )
    if protocol.pinned and listener.mode == "shared":
        findings.error(
            f"clients of {protocol.name!r} cannot share upstream connections: leave out mode: shared", *where
        )


def _relayed(
    findings: Findings,
    config: schema.Config,
    listener: schema.Listener,
    registry: plugins.Registry,
    path: Path,
) -> None:
    """An error where greetings are passed on, and nobody knows to which cluster before the first request."""
    names = [name for name in protocols_of(listener, registry) if name in registry.protocols]
    relaying = [name for name in names if registry.protocols[name].relays_greetings]
    if not relaying:
        return

    def error(what: str, *where: str | int) -> None:
        findings.error(
            f"clients of {relaying[0]!r} greet their server before they ask: listener {listener.name!r} has "
            f"to lead to one cluster, without split, subset, reply or filters; {what}",
            *where,
        )

    if listener.filters:
        error("here filters decide later", *path, "filters")
    from protokit.config.matches import possible  # noqa: PLC0415

    first: str | None = None
    for t, table in enumerate(config.routes):
        for r, rule in enumerate(table.rules if table.name == listener.routes else ()):
            where = ("routes", t, "rules", r)
            if not possible(rule.match, listener.name, names):
                continue
            for name in ("split", "reply", "filters", "subset"):
                if not findings.hole(*where) and getattr(rule, name):
                    error(f"here {name} decides later", *where, name)
            if isinstance(rule.cluster, schema.Named):
                error("here a header decides later", *where, "cluster")
                continue
            if rule.cluster is not None and first not in {None, rule.cluster}:
                error(f"this rule leads to {rule.cluster!r}, the first to {first!r}", *where, "cluster")
            first = first or rule.cluster


def _destination(findings: Findings, listener: schema.Listener, path: Path) -> None:
    if any(findings.hole(*path, key) for key in ("protocol", "fallback", "routes", "cluster", "filters")):
        return
    if listener.protocol == []:  # all is passed on to the fallback
        if listener.fallback is None:
            message = "protocol: expected a name, a list of names, or auto; none at all needs a fallback"
            findings.error(message, *path, "protocol")
        elif listener.routes is not None or listener.cluster is not None or listener.filters:
            findings.error("without a protocol only the fallback is used: no routes, cluster, filters", *path)
    elif (listener.routes is None) == (listener.cluster is None):
        findings.error("give either routes or cluster", *path)


def _filters(
    findings: Findings, uses: Iterable[schema.FilterUse], registry: plugins.Registry, path: Path
) -> None:
    for i, use in enumerate(uses):
        if not findings.hole(*path, i):
            _brought(findings, "filter", use.name, registry, registry.filters, (*path, i))
        findings.filter(use, *path, i)


def _brought(
    findings: Findings,
    what: str,
    name: str,
    registry: plugins.Registry,
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


def _reply(findings: Findings, rule: schema.Rule, reply: schema.Reply, path: Path) -> None:
    idle = [name for name in ("timeout", "retry", "hedge", "mirror") if getattr(rule, name)]
    if idle:
        findings.error(
            f"a rule with reply sends nothing on: {' and '.join(idle)} would do nothing", *path, idle[0]
        )
    size = len(reply.text.encode())
    if size > _REPLY_TEXT:
        findings.error(f"the text has {size} bytes, at most {_REPLY_TEXT} are sent", *path, "reply", "text")


def _retry(findings: Findings, rule: schema.Rule, retry: schema.Retry, path: Path) -> None:
    if findings.empty(retry.on, *path, "on"):
        findings.error(
            "on: expected one reason at least; without on it is [connect-failure, reset]", *path, "on"
        )
    answers = sorted(set(retry.on) - {"connect-failure", "reset"})
    if answers and not retry.idempotent:
        findings.warning(
            f"{', '.join(answers)}: that comes after the request was sent, so it is tried again only with"
            " idempotent: true",
            *path,
        )
    if "timeout" in retry.on and retry.per_try is None:
        findings.warning(
            "timeout: only an answer that says so is tried again; for a server that says nothing the time of"
            " the whole call is up, and there is none for another try: give per_try, too",
            *path,
            "on",
            retry.on.index("timeout"),
        )
    if retry.per_try is not None and "timeout" not in retry.on:
        findings.warning("per_try is for servers that say nothing: add timeout to on", *path, "per_try")
    whole = (rule.timeout.most or rule.timeout.usual) if rule.timeout is not None else None
    if retry.per_try is not None and whole is not None and retry.per_try >= whole:
        findings.warning(
            f"per_try: the whole call has {whole}, so that no other try would begin", *path, "per_try"
        )
    base, longest = retry.backoff.base, retry.backoff.max
    if longest < base and longest == defaults.RETRY_BACKOFF["max"]:
        findings.error(
            f"base: longer than max, whose default is {longest}: give max, too", *path, "backoff", "base"
        )
    elif longest < base:
        findings.error(f"max: expected no less than base, {base}", *path, "backoff", "max")


def _set(findings: Findings, rule: schema.Rule, given: schema.Set, path: Path) -> None:
    if rule.reply is not None:
        findings.error("a rule with reply sends nothing on: set would do nothing", *path, "set")
    answer = given.answer
    if not given.count() and answer is None and not findings.holes(*path, "set"):
        names = "service, method, headers, append, remove or answer"
        findings.error(f"set names nothing: give {names}", *path, "set")
    if answer is not None and not answer.count() and not findings.holes(*path, "set", "answer"):
        findings.error("answer names nothing: give headers, append or remove", *path, "set", "answer")
    count = given.count() + (0 if answer is None else answer.count())
    if count > _MOST_CHANGES:
        findings.error(f"a rule makes at most {_MOST_CHANGES} changes, here are {count}", *path, "set")
    _twice(findings, given, (*path, "set"))
    if answer is not None:
        _twice(findings, answer, (*path, "set", "answer"))
    for name, value in _texts(given):
        if not isinstance(value, str) or value == schema.SOURCE:
            continue
        if schema.SOURCE in value:
            findings.error(
                f"{value!r} would be sent as it stands: {schema.SOURCE!r} is the client's address only where"
                " it is the whole value",
                *path,
                "set",
                *name,
            )
        elif value.startswith("{") and value.endswith("}"):
            findings.error(
                f"{value!r} stands for nothing; known are {schema.SOURCE!r}, the client's address, and"
                " {header: NAME}, the value of another header",
                *path,
                "set",
                *name,
            )


def _twice(findings: Findings, given: schema.Set | schema.SetAnswer, path: Path) -> None:
    twice = sorted({*given.remove} & {*given.headers, *given.append} | {*given.headers} & {*given.append})
    if twice:
        findings.error(f"header {twice[0]!r} stands in more than one of headers, append and remove", *path)


def _texts(given: schema.Set) -> Iterator[tuple[Path, schema.Value]]:
    for field in ("service", "method", "version", "group"):
        if (value := getattr(given, field)) is not None:
            yield (field,), value
    for where, one in (((), given), (("answer",), given.answer or schema.SetAnswer())):
        for field, headers in (("headers", one.headers), ("append", one.append)):
            for key, value in headers.items():
                yield (*where, field, key), value


def _hedge(findings: Findings, rule: schema.Rule, hedge: schema.Hedge, path: Path) -> None:
    if findings.holes(*path[:-1], "retry") or findings.holes(*path):
        return
    if rule.retry is None or not rule.retry.idempotent:
        findings.error(
            "hedge: a second attempt may do all that is asked twice: where that does no harm, give the rule"
            " retry: {idempotent: true}, too",
            *path,
        )
    if not hedge.most:
        findings.warning("most: with 0% there is never a second attempt", *path, "most")
    whole = (rule.timeout.most or rule.timeout.usual) if rule.timeout is not None else None
    if whole is not None and hedge.after.ms >= whole:
        findings.warning(f"after: the whole call has {whole}, so that none would begin", *path, "after")


def _timeout(findings: Findings, timeout: schema.Timeout, path: Path) -> None:
    if findings.holes(*path):
        return
    usual, most = timeout.usual, timeout.most
    if usual is None and most is None and not timeout.pass_on:
        findings.error("timeout names nothing: give default, most or pass: true", *path)
    if usual is not None and most is not None and usual > most:
        findings.error(f"default: expected no more than most, {most}", *path, "default")


def _beside(findings: Findings, rule: schema.Rule, clusters: shares.Clusters, path: Path) -> None:
    """What is sent beside the request."""
    if rule.hedge is not None:
        _hedge(findings, rule, rule.hedge, (*path, "hedge"))
    if rule.mirror is not None:
        _mirror(findings, rule.mirror, clusters, (*path, "mirror"))


def _mirror(findings: Findings, mirror: schema.Mirror, clusters: shares.Clusters, path: Path) -> None:
    clusters.names.use(mirror.cluster, *path, "cluster")
    if not mirror.share and not findings.holes(*path):
        findings.warning("share: 0% mirrors none of the requests", *path, "share")
    if not mirror.mark and mirror.mark is not None:
        findings.error("mark: expected the name of a header", *path, "mark")


def _rule(
    findings: Findings,
    rule: schema.Rule,
    asked: matches.Asked,
    registry: plugins.Registry,
    clusters: shares.Clusters,
    path: Path,
) -> None:
    from protokit.config import matches  # noqa: PLC0415

    matches.check_rule(findings, rule, asked, path)
    shares.check(findings, rule, clusters, path)
    given = [name for name in ("cluster", "split", "reply") if getattr(rule, name)]
    if len(given) != 1 and not any(findings.hole(*path, name) for name in ("cluster", "split", "reply")):
        findings.error("give one of cluster, split and reply", *path)
    if rule.reply is not None:
        _reply(findings, rule, rule.reply, path)
    if rule.split and not any(split.weight for split in rule.split):
        findings.error("the weights of the split are all 0", *path, "split")
    if sum(split.weight for split in rule.split) >= 2**32:
        findings.error("the weights of the split add up to more than 4294967295", *path, "split")
    if rule.timeout is not None:
        _timeout(findings, rule.timeout, (*path, "timeout"))
    if rule.retry is not None:
        _retry(findings, rule, rule.retry, (*path, "retry"))
    _beside(findings, rule, clusters, path)
    if rule.limit is not None:
        _limit(findings, rule.limit, registry, (*path, "limit"))
    if rule.set is not None:
        _set(findings, rule, rule.set, path)
    if rule.fault is not None:
        _fault(findings, rule.fault, (*path, "fault"))
    _filters(findings, rule.filters, registry, (*path, "filters"))


def _fault(findings: Findings, fault: schema.Fault, path: Path) -> None:
    for name, part in (("delay", fault.delay), ("abort", fault.abort), ("asked", fault.asked)):
        if part is not None and not part.share and not findings.holes(*path, name):
            findings.warning(f"share: {name} is for none of the requests", *path, name, "share")
    if findings.holes(*path):
        return
    if not (fault.delay or fault.abort or fault.asked):
        findings.error("fault: expected delay, abort, both, or asked", *path)
    if fault.header is not None and not (fault.delay or fault.abort):
        findings.error("header: says who suffers delay or abort, and there is neither", *path, "header")
    if fault.asked is not None and not fault.asked.header:
        findings.error("header: expected the name of a header", *path, "asked", "header")


def _limit(findings: Findings, limit: schema.Limit, registry: plugins.Registry, path: Path) -> None:
    keys.once(findings, limit.by, (*path, "by"), "there is one bucket for all requests")
    if limit.ask is not None:
        if not findings.holes(*path, "ask"):
            named = (*path, "ask", "name")
            _brought(findings, "limiter", limit.ask.name, registry, registry.limiters, named)
        findings.filter(limit.ask, *path, "ask")
    if findings.holes(*path, "by"):
        return
    if not limit.by and limit.keys != defaults.LIMIT_KEYS:
        findings.warning("keys does nothing without by: there is one bucket for all requests", *path, "keys")


def _limit_keys(findings: Findings, config: schema.Config) -> None:
    """An error at the rule from which on there are more buckets than the process has room for."""
    total = 0
    for t, table in enumerate(config.routes):
        for r, rule in enumerate(table.rules):
            if rule.limit is None or not rule.limit.by:
                continue
            total += rule.limit.keys * (1 if rule.limit.ask is None else defaults.LIMIT_KEYS_OF_ONE_ASKED)
            if total > defaults.LIMIT_KEYS_IN_ALL:
                findings.error(
                    f"keys: with this rule there are {total} buckets, and {defaults.LIMIT_KEYS_IN_ALL} of all"
                    " rules is the most; give fewer",
                    *("routes", t, "rules", r, "limit"),
                )
                return


def _cluster(findings: Findings, cluster: schema.Cluster, registry: plugins.Registry, c: int) -> None:
    path = ("clusters", c)
    keys.check(findings, cluster, path)
    _filters(findings, cluster.filters, registry, (*path, "filters"))
    if cluster.outlier is not None:
        _outlier(findings, cluster.outlier, (*path, "outlier"))
    if cluster.breaker is not None and cluster.breaker.adaptive is not None:
        _adaptive(findings, cluster.breaker, cluster.breaker.adaptive, (*path, "breaker"))
    if cluster.slow_start is not None and cluster.balance in {"ring-hash", "maglev"}:
        findings.error(
            f"slow_start: with {cluster.balance} a request's key says where it goes, and an endpoint"
            " has all of its keys at once; leave it out, or use another balance",
            *path,
            "slow_start",
        )
    if cluster.prefer is not None:
        shares.preferred(findings, cluster, cluster.prefer, (*path, "prefer"))
    if not findings.holes(*path, "endpoints") and not findings.hole(*path):
        if not cluster.endpoints:
            findings.error(f"cluster {cluster.name!r} has no endpoint", *path, "endpoints")
        elif not any(endpoint.weight for endpoint in cluster.endpoints):
            findings.error(f"the weights of cluster {cluster.name!r} are all 0", *path, "endpoints")
    seen: set[tuple[str, int]] = set()
    for e, endpoint in enumerate(cluster.endpoints):
        where = (*path, "endpoints", e)
        if findings.hole(*where) or findings.hole(*where, "address"):
            continue
        address = endpoint.address
        key = (address.ip or address.host.lower(), address.port)
        if key in seen:
            findings.error(f"endpoint {address} stands here twice; use weight", *where)
        seen.add(key)
        findings.host(address, "endpoint", *where)
        if address.port == 0:
            findings.error("an endpoint needs a port", *where)
        if address.ip in _ANYWHERE:
            findings.error(
                f"endpoint {address}: {address.host} is where a server listens for all, and nobody's address;"
                " for one of this machine write 127.0.0.1 or [::1]",
                *where,
            )


def _adaptive(findings: Findings, breaker: schema.Breaker, adaptive: schema.Adaptive, path: Path) -> None:
    if findings.holes(*path):
        return
    if breaker.requests is None:
        findings.error("adaptive needs requests, the most that it may find", *path, "adaptive")
    elif adaptive.least > breaker.requests:
        findings.error(
            f"least: expected no more than requests, {breaker.requests}", *path, "adaptive", "least"
        )


def _health(
    findings: Findings,
    config: schema.Config,
    cluster: schema.Cluster,
    speaking: Mapping[str, list[str]],
    registry: plugins.Registry,
    c: int,
) -> None:
    if cluster.panic is not None and cluster.health is None and cluster.outlier is None:
        findings.warning(
            "panic does nothing without health or outlier: nobody is left out", "clusters", c, "panic"
        )
    if cluster.health is None:
        return
    from protokit.config import health  # only then  # noqa: PLC0415

    every = {name for names in speaking.values() for name in names}
    spoken = health.spoken_to(config, speaking, cluster.name)
    limit = int(config.limits.frame)
    where = ("clusters", c, "health")
    health.check(findings, cluster.health, spoken, every, registry.protocols, limit, where)


def _outlier(findings: Findings, outlier: schema.Outlier, path: Path) -> None:
    if findings.holes(*path):
        return
    if outlier.rate == 0:
        findings.warning("rate: 0% counts no errors; leave it out", *path, "rate")
    if not outlier.errors and not outlier.rate:
        findings.warning("errors: with 0 and no rate no endpoint is ever left out", *path, "errors")
    if not outlier.most:
        findings.warning("most: with 0% no endpoint is ever left out", *path, "most")


def same_ports(config: schema.Config, known: Mapping[str, Sequence[str]] = _LOCAL) -> list[tuple[str, Path]]:
    """Addresses to listen on that cannot be had together, each with its place.

    Args:
        config: as read.
        known: addresses of host names; others are taken for different from all but their own kind.
    """
    binds: list[tuple[str, Address, Path]] = [
        (f"listener {listener.name!r}", listener.bind, ("listeners", i, "bind"))
        for i, listener in enumerate(config.listeners)
    ]
    if config.admin is not None:
        binds.append(("admin", config.admin.bind, ("admin", "bind")))
        if config.admin.public is not None:
            binds.append(("admin public", config.admin.public, ("admin", "public")))
    return [
        (f"{what} and {other} both want port {address.port}", path)
        for i, (what, address, path) in enumerate(binds)
        for other, taken, _ in binds[:i]
        if address.port == taken.port != 0 and _overlap(_ips(address, known), _ips(taken, known))
    ]


def same_servers(config: schema.Config, known: Mapping[str, Sequence[str]]) -> list[str]:
    """What is lost where endpoints of a cluster are one server with different metadata.

    Args:
        config: as read.
        known: addresses of host names; others are taken for different.
    """
    found: list[str] = []
    for cluster in config.clusters:
        first: dict[tuple[str, int], schema.Endpoint] = {}
        for endpoint in cluster.endpoints:
            address = endpoint.address
            others = [first.setdefault((ip, address.port), endpoint) for ip in _ips(address, known)]
            lost = [other.address for other in others if other.metadata != endpoint.metadata]
            if lost:
                found.append(
                    f"endpoints {lost[0]} and {address} of cluster {cluster.name!r} are one server: it has"
                    " the metadata of the first, and that of the other is for nothing"
                )
    return found


def _ips(address: Address, known: Mapping[str, Sequence[str]]) -> Sequence[str]:
    ip = address.ip.removeprefix("::ffff:") if "." in address.ip else address.ip
    return (ip,) if ip else known.get(address.host.lower(), (address.host.lower(),))


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether sockets of both would meet. ``::`` takes IPv4, too."""
    if set(one) & set(other) or "::" in {*one, *other}:
        return True
    return any(
        "0.0.0.0" in these and any(":" not in ip for ip in those)  # noqa: S104  # compared, not bound
        for these, those in ((one, other), (other, one))
    )


def _limits(findings: Findings, config: schema.Config) -> None:
    limits = config.limits
    if findings.holes("limits"):
        return
    if limits.buffer < limits.frame + limits.client_pause:
        findings.error("buffer: expected room for one frame and client_pause at least", "limits", "buffer")
    if limits.client_close < limits.client_pause:
        findings.error("client_close: expected no less than client_pause", "limits", "client_close")
