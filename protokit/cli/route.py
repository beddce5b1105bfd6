"""``protokit route``: where a request goes, and why: the engine says it, the configuration explains it.

``--json`` prints one object:

``listener`` ``protocol`` ``source``   who asks
``request``     ``service`` ``method`` ``version`` ``group`` ``headers`` ``arguments`` ``oneway``
``access``      what the listener allows and denies: ``denied``, the deciding ``rule`` (``name`` ``line``;
                null where none is for it, which lets it through), ``before``: of each in front ``name``,
                ``line``, and ``why`` it does not match; ``unread``: the request cannot be read for that
                rule. null where the listener has none
``dry_run``     the same of its dry run
``table``       of the listener's routes; null where it has a cluster
``rule``        the one that matches: ``number`` from 1, ``line``, ``column``; null where none does
``before``      of each rule in front ``number``, ``line``, and ``why`` it does not match
``to``          ``reply`` ``text``, or ``clusters``: ``cluster`` ``weight`` ``subset`` ``fallback``
                ``endpoints``; or null. ``fallback``: the subset that the rule asks for, which is empty,
                where that of its ``fallback`` is in its place; or null. null too where it is denied
``hedge``       ``after`` ``most`` of the rule's second attempts; null where there are none
``mirror``      ``cluster`` ``share`` ``mark`` ``endpoints`` of its copies, or null
``depth``       how deep requests of the listener are read: ``frame``, ``destination``, ``headers`` or
                ``arguments``
``remembered``  whether the next request for the same destination is not looked up again
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import click

from protokit import config as configuration
from protokit import native
from protokit.cli import hextext
from protokit.config import access, networks, schema, subsets
from protokit.config.document import Document
from protokit.config.explained import Asking, why_not, why_not_denied
from protokit.control import build_snapshot
from protokit.dataplane import listening
from protokit.dataplane.compile import Identities, compile_snapshot
from protokit.errors import ProtokitError, RemoteProtocolError, close_match
from protokit.model import MOST_ARGUMENTS, argument_path
from protokit.native.routing import Judged, Routed, Words, routed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protokit.wire import Protocol
    from protokit.wire.codec import Codec

_UNREADABLE = {-4: "its protocol cannot read it", -3: "it is malformed, or holds more than the proxy reads"}


class _Request(NamedTuple):
    """What is asked: for the engine, and for the explanation."""

    asked: Words | bytes
    asking: Asking


@click.command()
@click.argument("config")
@click.option("--listener", "-l", help="By whose routes; where there is one only it is that.")
@click.option("--service", "-s", default="", help="The request's service, and so on.")
@click.option("--method", "-m", default="")
@click.option("--version", default="")
@click.option("--group", default="")
@click.option("--header", "-H", "headers", multiple=True, metavar="NAME=VALUE", help="A header, or several.")
@click.option(
    "--argument",
    "-a",
    "arguments",
    multiple=True,
    metavar="NUMBER=VALUE",
    help="An argument, from 0, or what is inside of one (0.user.id=VALUE); or several.",
)
@click.option("--oneway", is_flag=True, help="Its caller waits for no answer.")
@click.option("--source", default="", metavar="ADDRESS", help="Where its client comes from.")
@click.option("--protocol", "-p", help="What its client speaks, where the listener has several protocols.")
@click.option(
    "--frame", type=click.File("rb"), help="A request as it stands in a file (- for stdin), raw or hex."
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def route(
    config: str,
    listener: str | None,
    service: str,
    method: str,
    version: str,
    group: str,
    headers: tuple[str, ...],
    arguments: tuple[str, ...],
    oneway: bool,  # noqa: FBT001  # click's
    source: str,
    protocol: str | None,
    frame: BinaryIO | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Say where a request goes by a configuration, and why: which rule matches, and what the others ask."""
    try:
        loaded = configuration.load(config)
        named = _pairs(headers, "--header", "NAME")
        words = Words(service, method, version, group, named, oneway, _numbered(arguments))
        if frame is not None and words != Words():
            raise ProtokitError("with --frame the frame says what is asked: leave out the words")
        document = Document(Path(config).read_text("utf-8"), config)
        asked = words if frame is None else _bytes(frame)
        facts = explain(loaded, document, listener, asked, source, protocol)
    except ProtokitError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    click.echo(json.dumps(facts) if as_json else "\n".join(_lines(facts, config)))
    sys.exit(1 if facts["to"] is None else 0)


def explain(
    loaded: configuration.Loaded,
    document: Document,
    listener: str | None,
    asked: Words | bytes,
    source: str = "",
    protocol: str | None = None,
) -> dict[str, Any]:
    """What ``--json`` prints.

    Args:
        loaded: the configuration.
        document: the same, to say where.
        listener: its name; None where there is one only.
        asked: words, or a frame.
        source: the client's address.
        protocol: what the client speaks; None for the one that the frame is of, or the first.

    Raises:
        ProtokitError: there is no such listener or protocol, or it is no request.
    """
    where = _named("listener", listener, [one.name for one in loaded.config.listeners])
    there = next(one for one in loaded.config.listeners if one.name == where)
    speaking = [loaded.registry.protocols[one] for one in loaded.protocols[where]]
    if protocol is not None or not isinstance(asked, bytes):
        speaks = _named("protocol", protocol, [one.name for one in speaking], first=True)
        speaking = [one for one in speaking if one.name == speaks]
    request = _request(asked, speaking, where, source, _paths(loaded, there))
    said = asyncio.run(_routed(loaded, there, request))
    if said.result != 0 and not said.access.refuses:
        why = _UNREADABLE.get(said.result, "it is malformed")
        if said.unread is None:
            raise ProtokitError(f"the request cannot be read: {why}")
        raise ProtokitError(
            f"rule {said.unread} asks for headers or arguments of the request, which cannot be read: {why}"
        )
    return _facts(loaded, document, there, request.asking._replace(blank=said.blank), said)


async def _routed(loaded: configuration.Loaded, there: schema.Listener, request: _Request) -> Routed:
    """In a loop, as filters are made when the proxy runs."""
    snapshot = build_snapshot(loaded)
    numbers = Identities()
    compiled = compile_snapshot(snapshot, Identities(), numbers, seed=1)
    one = next(one for one in snapshot.listeners if one.name == there.name)
    protocol = next(p for p in one.protocols if p.name == request.asking.protocol)
    source = networks.number(request.asking.source) if request.asking.source else 0
    try:
        number = compiled.listeners[listening.key(one)]
        address = source.to_bytes(16, "big")
        return routed(compiled.table, number, protocol.wire.address, request.asked, address)
    finally:
        compiled.table.free()


def _paths(loaded: configuration.Loaded, there: schema.Listener) -> list[str]:
    """Of arguments, what is inside of them and somebody asks for."""
    matches = [rule.match for one in loaded.config.routes if one.name == there.routes for rule in one.rules]
    for given in (there, there.dry_run):
        matches += [one.match for one in access.rules(given)] if given is not None else []
    found: dict[str, None] = {}
    while matches:
        one = matches.pop()
        found |= dict.fromkeys(name for name in one.arguments if "." in name)
        matches += [*(one.all or ()), *(one.any or ()), *([] if one.not_ is None else [one.not_])]
    return sorted(found)


def _request(
    asked: Words | bytes, speaking: Sequence[Protocol], listener: str, source: str, paths: Sequence[str]
) -> _Request:
    try:
        _ = networks.number(source) if source else 0
    except ValueError:
        raise ProtokitError(f"--source: expected an address like 10.0.0.1, got {source!r}") from None
    if not isinstance(asked, bytes):
        if not speaking:
            raise ProtokitError(f"listener {listener!r} has no protocol: all is passed on to its fallback")
        named = {name: getattr(asked, name) for name in Words._fields}
        return _Request(asked, Asking(source=source, listener=listener, protocol=speaking[0].name, **named))
    data = native.sent_by("client", asked)
    for protocol in speaking:
        ask = protocol.wire.ask
        message = ask.frame(data)
        if ask.probe(asked) != 0 or message.result != 0:
            continue
        if message.kind not in {native.KIND_REQUEST, native.KIND_ONEWAY}:
            raise ProtokitError(f"the frame is no request of {protocol.name!r}: {message}")
        whole = native.sent_by("client", asked[: message.size])
        engines = bytes(ask.for_engine(whole))
        try:
            read = ask.request(whole, lazy=True)
        except RemoteProtocolError:
            raise ProtokitError(
                f"the request's service and method cannot be read by {protocol.name!r}: its caller is told so"
            ) from None
        found: dict[str, str | None] = {}
        with contextlib.suppress(RemoteProtocolError):  # where it matters the engine says so
            for key, value in native.raw_headers(protocol.wire.address, engines, side="client"):
                found[key.decode(errors="replace")] = (
                    None if value is None else value.decode(errors="replace")
                )
        texts = (read.service, read.method, read.version, read.group)
        arguments = _arguments(ask, whole, paths)
        asking = Asking(*texts, found, read.oneway, source, listener, protocol.name, arguments=arguments)
        return _Request(engines, asking)
    names = " or ".join(repr(one.name) for one in speaking)
    raise ProtokitError(f"these {len(asked)} bytes are no whole frame of {names}")


def _arguments(ask: Codec, data: bytes, paths: Sequence[str]) -> dict[str, str | None]:
    """As rules see them; what cannot be read is not there, and the engine says so where it matters."""
    found: dict[str, str | None] = {}
    with contextlib.suppress(IndexError, RemoteProtocolError):
        for number in range(MOST_ARGUMENTS if ask.reads_arguments else 0):
            _note(found, str(number), ask.argument(data, number))
    for path in paths if ask.reads_inside else ():
        with contextlib.suppress(IndexError, RemoteProtocolError):
            _note(found, path, ask.argument(data, *(argument_path(path) or (0, ()))))
    return found


def _note(found: dict[str, str | None], name: str, value: native.Argument) -> None:
    if value is not None:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        found[name] = None if isinstance(value, bytes | float) else text


def _facts(
    loaded: configuration.Loaded,
    document: Document,
    there: schema.Listener,
    asking: Asking,
    said: Routed,
) -> dict[str, Any]:
    facts: dict[str, Any] = {"listener": there.name, "protocol": asking.protocol, "source": asking.source}
    facts["request"] = {name: getattr(asking, name) for name in ("service", "method", "version", "group")}
    facts["request"] |= {"headers": dict(asking.headers), "arguments": dict(asking.arguments)}
    facts["request"]["oneway"] = asking.oneway
    i = next(i for i, one in enumerate(loaded.config.listeners) if one.name == there.name)
    facts["access"] = _access(document, there, ("listeners", i), asking, said.access)
    facts["dry_run"] = _access(document, there.dry_run, ("listeners", i, "dry_run"), asking, said.dry_run)
    facts |= {"table": there.routes, "rule": None, "before": [], "to": None, "hedge": None, "mirror": None}
    facts |= {"depth": said.depth, "remembered": there.routes is not None and not said.asked}
    if said.access.refuses:
        return facts
    if there.routes is None:
        rule = schema.Rule(cluster=there.cluster or there.fallback)
        return facts | {"to": _to(loaded, rule, asking)}
    t, table = next((t, one) for t, one in enumerate(loaded.config.routes) if one.name == there.routes)
    names = {f"{table.name}[{number}]": number for number in range(len(table.rules))}
    chosen = len(table.rules) if said.plan is None else names[said.plan]
    for number, one in enumerate(table.rules[:chosen]):
        place = document.error_at("", ("routes", t, "rules", number))
        why = why_not(one.match, asking)
        facts["before"].append({"number": number + 1, "line": place.line, "why": why})
    if said.plan is not None:
        place = document.error_at("", ("routes", t, "rules", chosen))
        facts["rule"] = {"number": chosen + 1, "line": place.line, "column": place.column}
        facts["to"] = _to(loaded, table.rules[chosen], asking)
        facts |= _beside(loaded, table.rules[chosen], asking)
    return facts


def _access(
    document: Document,
    given: schema.Listener | schema.Access | None,
    path: tuple[str | int, ...],
    asking: Asking,
    said: Judged,
) -> dict[str, Any] | None:
    """Which of a listener's rules decided, and why none before it did."""
    if given is None or (given.allow, given.deny) == (None, None):
        return None
    before: list[dict[str, Any]] = []
    for one in access.rules(given):
        found = {"name": one.name, "line": document.error_at("", (*path, *one.path)).line}
        if said.by is not None and said.by.endswith(f".{one.name}"):
            return {"denied": said.refuses, "rule": found, "before": before, "unread": said.unread}
        before.append(found | {"why": why_not_denied(one.match, asking) or "it asks for what cannot be read"})
    return {"denied": said.refuses, "rule": None, "before": before, "unread": said.unread}


def _to(loaded: configuration.Loaded, rule: schema.Rule, asking: Asking) -> dict[str, Any]:
    if rule.reply is not None:
        return {"reply": rule.reply.status, "text": rule.reply.text}
    clusters = {one.name: one for one in loaded.config.clusters}
    shares: Sequence[schema.Rule | schema.Split] = rule.split or [rule]
    found = []
    for share in shares:
        having = [*subsets.fixed(share.subset)]
        for key, header in subsets.headers(share.subset).items():
            value = asking.headers.get(header)
            having.append((key, () if value is None else (value,)))
        name = share.cluster
        if isinstance(name, schema.Named):
            value = asking.headers.get(name.header)
            name = value if value in name.of else name.else_
            if name is None:
                continue
        endpoints = clusters[name or ""].endpoints
        within = subsets.chosen(endpoints, tuple(having))
        empty = None
        if not within and having and share.fallback != "none":
            empty = having
            having = [*subsets.fixed({} if share.fallback == "any" else share.fallback.subset)]
            within = subsets.chosen(endpoints, tuple(having))
        found.append(
            {
                "cluster": name,
                "weight": getattr(share, "weight", 1),
                "subset": _values(having),
                "fallback": empty and _values(empty),
                "endpoints": [str(one.address) for one in within],
                "prefer": _preferred(clusters[name or ""].prefer, within),
            }
        )
    return {"clusters": found}


def _beside(loaded: configuration.Loaded, rule: schema.Rule, asking: Asking) -> dict[str, Any]:
    """What is sent beside the request."""
    found: dict[str, Any] = {}
    if rule.hedge is not None and not asking.oneway:
        found["hedge"] = {"after": str(rule.hedge.after), "most": str(rule.hedge.most)}
    if rule.mirror is not None:
        of = next(one for one in loaded.config.clusters if one.name == rule.mirror.cluster)
        found["mirror"] = {
            "cluster": of.name,
            "share": str(rule.mirror.share),
            "mark": rule.mirror.mark,
            "endpoints": [str(one.address) for one in of.endpoints],
        }
    return found


def _preferred(prefer: schema.Prefer | None, within: Sequence[schema.Endpoint]) -> dict[str, Any] | None:
    """Which of these endpoints get all requests, and while how much of them is usable."""
    if prefer is None:
        return None
    having = subsets.fixed(prefer.subset)
    return {
        "subset": _values(having),
        "healthy": str(prefer.healthy),
        "endpoints": [str(one.address) for one in subsets.chosen(within, having)],
    }


def _values(having: Sequence[tuple[str, tuple[str, ...]]]) -> dict[str, list[str]]:
    return {key: list(values) for key, values in having}


def _lines(facts: dict[str, Any], config: str) -> list[str]:
    asked = facts["request"]
    told = [f"{name} {asked[name]!r}" for name in ("service", "method", "version", "group") if asked[name]]
    told += [
        f"header {key!r}: {'no text' if one is None else repr(one)}" for key, one in asked["headers"].items()
    ]
    told += [
        f"argument {n}: {'no text' if one is None else repr(one)}" for n, one in asked["arguments"].items()
    ]
    told += ["one-way"] * asked["oneway"]
    by = f"listener {facts['listener']!r}, {facts['protocol']}" + f", from {facts['source']}" * bool(
        facts["source"]
    )
    lines = [f"{by}: {', '.join(told) or 'a request that says nothing'}"]
    lines += _access_lines(facts["access"], config, "it is denied", "it gets through")
    if facts["access"] and facts["access"]["denied"]:
        return [*lines, "answered at once: denied", f"read: {facts['depth']}"]
    # Asked of what gets through only.
    lines += _access_lines(facts["dry_run"], config, "it would be denied", "it would get through", "dry_run")
    lines += [
        f"{config}:{one['line']}: rule {one['number']} does not match: {one['why']}"
        for one in facts["before"]
    ]
    rule, to = facts["rule"], facts["to"]
    if rule is not None:
        lines.append(f"{config}:{rule['line']}: rule {rule['number']} of {facts['table']!r} matches")
    if to is None:
        lines.append(f"no rule of {facts['table']!r} matches: its caller is told that there is no route")
    elif "reply" in to:
        lines.append(f"answered at once: {to['reply']}" + f" {to['text']!r}" * bool(to["text"]))
    elif not to["clusters"]:
        lines.append("its header names none of the rule's clusters: its caller is told so")
    for one in (to or {}).get("clusters", ()):
        share = f", weight {one['weight']}" if len(to["clusters"]) > 1 else ""
        within = f", which has none with {_told(one['fallback'])}" if one["fallback"] else ""
        within += f", of those with {_told(one['subset'])}" if one["subset"] else ""
        lines.append(
            f"to cluster {one['cluster']!r}{share}{within}: {', '.join(one['endpoints']) or 'no endpoint'}"
        )
        if prefer := one["prefer"]:
            lines.append(
                f"of these first those with {_told(prefer['subset'])}, while {prefer['healthy']} of their"
                f" weight is usable: {', '.join(prefer['endpoints']) or 'no endpoint'}"
            )
    lines += _beside_lines(facts["hedge"], facts["mirror"])
    again = "found again for the same destination" if facts["remembered"] else "looked up for each request"
    depth = f"read: {facts['depth']}"
    return [*lines, depth if facts["table"] is None else f"{depth}; {again}"]


def _beside_lines(hedge: dict[str, Any] | None, mirror: dict[str, Any] | None) -> list[str]:
    lines = []
    if hedge is not None:
        lines.append(
            f"a second attempt on another endpoint after {hedge['after']}, of at most {hedge['most']} of the"
            " cluster's requests"
        )
    if mirror is not None:
        marked = f", marked by header {mirror['mark']!r}" if mirror["mark"] else ""
        lines.append(
            f"a copy of {mirror['share']} of them to cluster {mirror['cluster']!r}{marked}:"
            f" {', '.join(mirror['endpoints']) or 'no endpoint'}"
        )
    return lines


def _access_lines(
    said: dict[str, Any] | None, config: str, denied: str, passes: str, section: str = ""
) -> list[str]:
    if said is None:
        return []
    within = f"{section}." * bool(section)
    lines = [
        f"{config}:{one['line']}: {within}{one['name']} does not match: {one['why']}"
        for one in said["before"]
    ]
    rule, what = said["rule"], denied if said["denied"] else passes
    if rule is None:
        return [*lines, f"nothing{f' in {section}' * bool(section)} denies it: {what}"]
    how = "is for all others" if rule["name"] == "allow" else "matches"
    if said["unread"] and rule["name"] != "allow":
        how = "asks for what cannot be read of it"
    return [*lines, f"{config}:{rule['line']}: {within}{rule['name']} {how}: {what}"]


def _told(subset: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{key}={'|'.join(values) or '?'}" for key, values in subset.items())


def _named(what: str, name: str | None, names: list[str], *, first: bool = False) -> str:
    if name is None and names and (first or len(names) == 1):
        return names[0]
    if name in names:
        return name
    close = close_match(name or "", names)
    hint = f"; did you mean {close!r}?" if close else f"; there are {', '.join(names) or 'none'}"
    if name is None:
        option = f": say it with --{what}" if names else ""
        raise ProtokitError(f"which {what}? there are {', '.join(names) or 'none'}{option}")
    raise ProtokitError(f"there is no {what} {name!r}{hint}")


def _pairs(written: Sequence[str], option: str, key_is: str) -> dict[str, str]:
    found = {}
    for one in written:
        key, equals, value = one.partition("=")
        if not equals:
            raise ProtokitError(f"{option}: expected {key_is}=VALUE, got {one!r}")
        found[key] = value
    return found


def _numbered(written: Sequence[str]) -> dict[str, str]:
    found = _pairs(written, "--argument", "NUMBER")
    for number in found:
        if not schema.is_argument(number):
            most, inside = MOST_ARGUMENTS - 1, "or a path into one (0.user.id)"
            raise ProtokitError(f"--argument: expected a number from 0 to {most}, {inside}, got {number!r}")
    return found


def _bytes(file: BinaryIO) -> bytes:
    data = file.read()
    return hextext.parse(data.decode("latin-1")) if hextext.looks_like_hex(data[:64]) else data
