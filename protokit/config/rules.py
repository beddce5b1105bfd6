"""What is wrong with a rule: its parts, one by one, and those that do nothing beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit.config import defaults, keys, matches, schema, shares
from protokit.config.findings import check_brought, check_filters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protokit.config.document import Path
    from protokit.config.findings import Findings
    from protokit.plugins import Registry


_REPLY_TEXT = 500  # bytes, of what error replies carry
_MOST_CHANGES = 32  # the engine's PK_CHANGES


def check(
    findings: Findings,
    rule: schema.Rule,
    asked: matches.Asked,
    registry: Registry,
    clusters: shares.Clusters,
    path: Path,
) -> None:
    """Errors and warnings of one rule.

    Args:
        findings: where they go.
        rule: it.
        asked: for whom it is asked: its route table, and who uses that.
        registry: what plugins bring.
        clusters: that there are.
        path: where the rule stands.
    """
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
    check_filters(findings, rule.filters, registry, (*path, "filters"))


def _reply(findings: Findings, rule: schema.Rule, reply: schema.Reply, path: Path) -> None:
    idle = [name for name in ("timeout", "retry", "hedge", "mirror") if getattr(rule, name)]
    if idle:
        findings.error(
            f"a rule with reply sends nothing on: {' and '.join(idle)} would do nothing", *path, idle[0]
        )
    size = len(reply.text.encode())
    if size > _REPLY_TEXT:
        findings.error(f"the text has {size} bytes, at most {_REPLY_TEXT} are sent", *path, "reply", "text")


def _timeout(findings: Findings, timeout: schema.Timeout, path: Path) -> None:
    if findings.holes(*path):
        return
    usual, most = timeout.usual, timeout.most
    if usual is None and most is None and not timeout.pass_on:
        findings.error("timeout names nothing: give default, most or pass: true", *path)
    if usual is not None and most is not None and usual > most:
        findings.error(f"default: expected no more than most, {most}", *path, "default")


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


def _beside(findings: Findings, rule: schema.Rule, clusters: shares.Clusters, path: Path) -> None:
    """What is sent beside the request."""
    if rule.hedge is not None:
        _hedge(findings, rule, rule.hedge, (*path, "hedge"))
    if rule.mirror is not None:
        _mirror(findings, rule.mirror, clusters, (*path, "mirror"))


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


def _mirror(findings: Findings, mirror: schema.Mirror, clusters: shares.Clusters, path: Path) -> None:
    clusters.names.use(mirror.cluster, *path, "cluster")
    if not mirror.share and not findings.holes(*path):
        findings.warning("share: 0% mirrors none of the requests", *path, "share")
    if not mirror.mark and mirror.mark is not None:
        findings.error("mark: expected the name of a header", *path, "mark")


def _limit(findings: Findings, limit: schema.Limit, registry: Registry, path: Path) -> None:
    keys.once(findings, limit.by, (*path, "by"), "there is one bucket for all requests")
    if limit.ask is not None:
        if not findings.holes(*path, "ask"):
            named = (*path, "ask", "name")
            check_brought(findings, "limiter", limit.ask.name, registry, registry.limiters, named)
        findings.filter(limit.ask, *path, "ask")
    if findings.holes(*path, "by"):
        return
    if not limit.by and limit.keys != defaults.LIMIT_KEYS:
        findings.warning("keys does nothing without by: there is one bucket for all requests", *path, "keys")


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


def check_limit_keys(findings: Findings, config: schema.Config) -> None:
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
