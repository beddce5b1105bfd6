"""Health checks of clusters: which protocol they speak, and what of them cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit import native
from protokit.config import keys
from protokit.errors import PluginError, ProtokitError
from protokit.plugins import reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from protokit.config import schema
    from protokit.config.document import Path
    from protokit.config.findings import Findings
    from protokit.wire import Protocol

CALLED = ("service", "method")
WAYS = ("connect", "heartbeat", "call")


def way_of(health: schema.Health) -> str:
    """Which of ``WAYS`` it takes."""
    return next(name for name in WAYS if getattr(health, name) is not None)


def spoken_to(config: schema.Config, speaking: Mapping[str, Collection[str]], cluster: str) -> set[str]:
    """The protocols of the listeners that lead to a cluster; of all, where none does.

    Args:
        config: the whole.
        speaking: the protocols of each listener.
        cluster: its name.
    """
    leading = {
        name
        for one in config.listeners
        if cluster in keys.clusters_of(config, one)
        for name in speaking[one.name]
    }
    return leading or {name for names in speaking.values() for name in names}


def protocol_of(health: schema.Health, spoken: Collection[str]) -> str | None:
    """What a check speaks: what it names, or the only one of ``spoken``; None: that is not told."""
    if health.protocol is not None:
        return health.protocol
    return next(iter(spoken)) if len(spoken) == 1 else None


def check(
    findings: Findings,
    health: schema.Health,
    spoken: Collection[str],
    every: Collection[str],
    known: Mapping[str, Protocol],
    limit: int,
    path: Path,
) -> None:
    """Errors and warnings of a cluster's ``health``.

    Args:
        findings: gets them.
        health: as read.
        spoken: what ``spoken_to`` says.
        every: the protocols of all listeners: filters may send there what no rule does.
        known: those that are there.
        limit: of a frame, bytes.
        path: where it stands.
    """
    if findings.holes(*path):
        return
    given = [name for name in WAYS if getattr(health, name) is not None]
    if len(given) != 1:
        findings.error(f"health: give one of {', '.join(WAYS)}: how often each endpoint is checked", *path)
        return
    often = getattr(health, given[0])
    if health.timeout > often:
        text = (
            f"timeout: {health.timeout} is longer than {given[0]}: {often}; a slow check delays the next one"
        )
        findings.warning(text, *path, "timeout")
    if not _is_asked(findings, health, given[0], path):
        return
    if given == ["connect"]:
        if health.protocol is not None:
            findings.warning("protocol does nothing here: connect says nothing", *path, "protocol")
        return
    name = protocol_of(health, spoken)
    if name is None:
        names = " and ".join(sorted(spoken)) or "nothing that is known"
        text = f"health: add protocol: what leads to this cluster speaks {names}"
        findings.error(text, *path, given[0])
    elif name not in every:
        names = ", ".join(sorted(every)) or "none"
        findings.error(f"health: protocol: expected one that a listener speaks: {names}", *path, "protocol")
    elif name in known:  # else it is said elsewhere
        _spoken(findings, health, given[0], known[name], limit, path)


def asked(health: schema.Health, protocol: Protocol | None) -> bytes:
    """What its calls ask: as written, or built by the protocol's plugin; nothing where it calls nothing.

    Raises:
        PluginError: the plugin does not build it.
    """
    if health.frame is not None or protocol is None or health.service is None or protocol.build_call is None:
        return bytes(health.frame or b"")
    try:
        frame = protocol.build_call(health.service, health.method or "", health.version, health.group)
        if not isinstance(frame, bytes):
            raise TypeError(f"a {type(frame).__name__} instead of bytes")
    except (Exception, SystemExit) as error:  # somebody else's code
        raise PluginError(
            f"the plugin of {protocol.name!r} cannot build that call: {reason(error)}"
        ) from error
    return frame


def _is_asked(findings: Findings, health: schema.Health, way: str, path: Path) -> bool:
    """An error where what is asked does not go with how."""
    named = [name for name in (*CALLED, "version", "group") if getattr(health, name)]
    where: str
    if way != "call" and (health.frame is not None or named):
        where = "frame" if health.frame is not None else named[0]
        text = f"{where}: it is what call asks; leave it out, or write call instead"
    elif health.frame is not None and named:
        where, text = named[0], f"{named[0]}: the frame says it already; give one of them"
    elif way == "call" and health.frame is None and not all(getattr(health, name) for name in CALLED):
        where = named[0] if named else "call"
        text = (
            "call needs a frame, a whole request of the protocol, in hex; or service and method, where its"
            " plugin builds calls"
        )
    else:
        return True
    findings.error(text, *path, where)
    return False


def _spoken(
    findings: Findings,
    health: schema.Health,
    way: str,
    protocol: Protocol,
    limit: int,
    path: Path,
) -> None:
    name, where = protocol.name, (*path, way)
    if protocol.tier == "python":
        findings.error(
            f"{way}: {name!r} has a codec in Python, which the engine does not ask: use connect", *where
        )
    elif protocol.relays_greetings:
        text = f"{way}: clients of {name!r} greet for themselves, which a check cannot: use connect"
        findings.error(text, *where)
    elif way == "heartbeat" and not _beats(protocol):
        findings.error(f"heartbeat: {name!r} has none; use connect, or call with a frame", *where)
    elif health.frame is not None:
        _call(findings, protocol, health.frame, limit, (*path, "frame"))
    elif way == "call" and protocol.build_call is None:
        text = f"service: the plugin of {name!r} builds no calls; give a frame, a whole request in hex"
        findings.error(text, *path, "service")
    elif way == "call":
        try:
            _call(findings, protocol, asked(health, protocol), limit, (*path, "service"))
        except PluginError as error:
            findings.error(f"service: {error}", *path, "service")


def _beats(protocol: Protocol) -> bool:
    address = protocol.wire.address
    try:
        return bool(native.heartbeat(address, b"1" if native.id_max(address) else 1))
    except ProtokitError:
        return False


def _call(findings: Findings, protocol: Protocol, frame: bytes, limit: int, where: Path) -> None:
    """An error where it is not one whole request."""
    seen = native.frame(protocol.wire.address, frame, limit, side="client")
    if seen.result > 0:
        text = f"{len(frame)} bytes are not a whole frame of {protocol.name!r}: it needs {seen.need} at least"
    elif seen.result < 0:
        said = native.RESULTS.get(seen.result, seen.result)
        text = f"no frame of {protocol.name!r}: {said}, at byte {seen.error_at}"
    elif seen.size != len(frame):
        text = f"behind a frame of {seen.size} bytes of {protocol.name!r} stand {len(frame) - seen.size} more"
    elif seen.kind != native.KIND_REQUEST:
        text = f"a frame of {protocol.name!r}, but no request that is answered: {native.KINDS[seen.kind]}"
    else:
        return
    findings.error(f"{where[-1]}: {text}", *where)
