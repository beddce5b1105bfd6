"""Health checks of a configuration: what they cannot be."""

from __future__ import annotations

import pytest
from configured import GOOD
from protokit_dubbo import dubbo
from protokit_dubbo.messages import Call, Event

from protokit import config
from protokit.errors import ConfigErrors

HEARTBEAT = Event(1, b"N", request=True, twoway=True).encode().hex()
CALL = Call("s", "m", "", []).encode()


@pytest.mark.parametrize(
    ("health", "column", "says"),
    [
        ("{}", 13, "health: give one of connect, heartbeat, call: how often each endpoint is checked"),
        ("{connect: 1s, call: 1s}", 13, "health: give one of connect, heartbeat, call"),
        ("{heartbeat: 1ms}", 25, "heartbeat: expected 10ms to 1h, got '1ms'"),
        ("{heartbeat: 1s, unhealthy: 0}", 40, "unhealthy: expected 1 to 1000"),
        ("{heartbeat: 1s, frame: da}", 36, "frame: it is what call asks; leave it out, or write call"),
        (
            "{call: 1s}",
            20,
            "call needs a frame, a whole request of the protocol, in hex; or service and method",
        ),
        ("{call: 1s, service: s}", 33, "call needs a frame, a whole request"),
        ("{call: 1s, method: m}", 32, "call needs a frame, a whole request"),
        ("{connect: 1s, service: s}", 36, "service: it is what call asks; leave it out, or write call"),
        ("{heartbeat: 1s, group: g}", 36, "group: it is what call asks; leave it out, or write call"),
        (f"{{call: 1s, service: s, frame: {CALL.hex()}}}", 33, "service: the frame says it already"),
        pytest.param(
            f"{{call: 1s, service: {'s' * 9_000_000}, method: m}}",
            33,
            "service: no frame of 'dubbo'",
            id="large",
        ),
        ("{call: 1s, service: s, method: $echo, version: 1.0, group: g}", 0, ""),
        ("{call: 1s, frame: xy}", 31, "frame: expected bytes in hex, like 'da bb c2 00', got 'xy'"),
        ("{call: 1s, frame: da}", 31, "frame: 1 bytes are not a whole frame of 'dubbo': it needs"),
        ("{call: 1s, frame: '47 45 54'}", 31, "frame: no frame of 'dubbo': "),
        (
            f"{{call: 1s, frame: {HEARTBEAT}}}",
            31,
            "frame: a frame of 'dubbo', but no request that is answered",
        ),
        (
            f"{{call: 1s, frame: {CALL.hex()}00}}",
            31,
            f"frame: behind a frame of {len(CALL)} bytes of 'dubbo' stand 1",
        ),
        ("{connect: 1s, protocol: dubbo}", 37, "protocol does nothing here: connect says nothing"),
        (
            "{heartbeat: 1s, protocol: bolt}",
            39,
            "health: protocol: expected one that a listener speaks: dubbo",
        ),
        (
            "{connect: 500ms}",
            13,
            "timeout: 1s is longer than connect: 500ms; a slow check delays the next one",
        ),
        ("{heartbeat: 1s, timeout: 2s}", 38, "timeout: 2s is longer than heartbeat: 1s; a slow check"),
        (f"{{call: 1s, frame: {CALL.hex()}}}", 0, ""),
        ("{heartbeat: 1s, protocol: dubbo}", 0, ""),
    ],
)
def test_what_health_checks_cannot_be(tmp_path, health, column, says):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("balance: least-request", f"health: {health}"))
    line = path.read_text()[: path.read_text().index("health:")].count("\n") + 1
    try:
        found = [str(one) for one in config.load(path).warnings]
    except ConfigErrors as error:
        found = [str(one) for one in error.errors]
    if not says:
        assert found == []
        return
    [message] = found
    assert message.startswith(f"{path}:{line}:{column}: {says}"), message


def test_calls_of_a_protocol_that_builds_none_are_frames(tmp_path):
    path = tmp_path / "c.yaml"
    health = "health: {call: 1s, service: s, method: m}"
    path.write_text(
        GOOD.replace("protocol: dubbo", "protocol: bolt").replace("balance: least-request", health)
    )
    with pytest.raises(ConfigErrors) as raised:
        config.load(path)
    assert "service: the plugin of 'bolt' builds no calls; give a frame, a whole request in hex" in str(
        raised.value
    )


def _exits(*_: str) -> bytes:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (_exits, "the plugin of 'dubbo' cannot build that call: SystemExit: 3 (test_health_checks.py:"),
        (lambda *_: None, "the plugin of 'dubbo' cannot build that call: TypeError: a NoneType instead of"),
        (lambda: b"", "the plugin of 'dubbo' cannot build that call: TypeError: "),
        (lambda *_: b"", "no frame of 'dubbo': "),
    ],
)
def test_a_plugin_that_cannot_build_a_call_is_told_where_it_is_asked_for(tmp_path, monkeypatch, build, says):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("balance: least-request", "health: {call: 1s, service: s, method: m}"))
    monkeypatch.setattr(dubbo, "build_call", build)
    with pytest.raises(ConfigErrors) as raised:
        config.load(path)
    [error] = raised.value.errors
    before = path.read_text().partition("s, method: m")[0].split("\n")
    line, column = len(before), len(before[-1]) + 1
    assert str(error).startswith(f"{path}:{line}:{column}: service: {says}")
