"""Servers that everybody has, and their clients, through the pages of examples/formats."""

from __future__ import annotations

from pathlib import Path

import peers
import pytest

pytestmark = pytest.mark.interop
PAGES = Path(__file__).parents[2] / "examples" / "formats"
# The page that each speaks, and how its routes tell what is for its server: all of it, or what begins so.
SPOKEN = {
    "redis": ("resp2", ["app:*"]),
    "memcached": ("memcached", ["app:*"]),
    "mosquitto": ("mqtt", ["app/*"]),
    "slapd": ("ldap", ["dc=app", "*,dc=app"]),
    "nats": ("nats", ["app.*", "_INBOX.*"]),
}
TEXT = "Zürich 🚀"
VALUES = {
    "redis": {"hello": [TEXT, None, {"a": "1", "b": TEXT}], "big": 1 << 20, "many": 1000},
    "memcached": {"hello": [True, TEXT, None, False], "big": 1_000_000, "many": 1000},
    "mosquitto": {"hello": [f"{TEXT} {qos}" for qos in range(3)], "big": 1 << 20, "many": 1000},
    "slapd": {"hello": [[f"s{n}" for n in range(5)], True, False], "big": 1 << 20, "many": 1000},
    "nats": {"hello": [TEXT, {"who": "other"}, "why!"], "big": 1_000_000, "missing": "arrived", "many": 1000},
}
# What the clients raise, and how its text begins: of their servers' own, and of the proxy's.
RAISED = {
    "redis": {
        "fails": "ResponseError: value is not an integer",
        "missing": "ResponseError: NOSERVICE protokit: no route",
        "slow": "ResponseError: TIMEOUT protokit: no answer from 127.0.0.1:",
    },
    "memcached": {
        "fails": "MemcacheClientError: b'cannot increment",
        "missing": 'MemcacheServerError: b"protokit: no route',
    },
    "mosquitto": {"missing": "ConnectionError: ('closed', '')"},
    "slapd": {
        "fails": "LDAPNoSuchObjectResult: LDAPNoSuchObjectResult - 32 - noSuchObject",
        "missing": "LDAPUnwillingToPerformResult: LDAPUnwillingToPerformResult - 53 - unwillingToPerform",
    },
    "nats": {},
}
KILLED = {
    "redis": "TryAgainError: protokit: no endpoint can be reached",
    "memcached": "MemcacheServerError: b'protokit: no endpoint can be reached",
    "mosquitto": "ConnectionError: ('closed', '')",
    "nats": "Error: nats: empty response from server",  # at once: it waits for a greeting
    "slapd": "LDAPUnavailableResult: LDAPUnavailableResult - 52 - unavailable",
}


def configuration(name: str, port: int) -> dict[str, object]:
    page, services = SPOKEN[name]
    unheard = {"match": {"method": "BLPOP"}, "cluster": "server", "timeout": "300ms"}
    rules = [{"match": {"service": one}, "cluster": "server"} for one in services]
    rules += [{"match": {"method": "PING"}, "cluster": "server"}] if name in {"redis", "nats"} else []
    return {
        "plugins": [str(PAGES / f"{page}.py")],
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": page, "routes": "r"}],
        "routes": [{"name": "r", "rules": [unheard, *rules] if name == "redis" else rules}],
        "clusters": [{"name": "server", "endpoints": [f"127.0.0.1:{port}"]}],
    }


@pytest.mark.parametrize("name", SPOKEN)
def test_a_client_gets_what_its_server_says_and_hears_of_what_goes_wrong(name, provider, proxy):
    one = proxy(**configuration(name, provider(f"{name}-server").port))
    got = peers.consume(f"{name}-client", one.port, *VALUES[name], *RAISED[name])
    assert {case: what for case, what in got.items() if case in VALUES[name]} == {
        case: ("value", value) for case, value in VALUES[name].items()
    }
    for case, begins in RAISED[name].items():
        kind, text = got[case]
        assert (kind, text[: len(begins)]) == ("raised", begins)


@pytest.mark.parametrize("name", KILLED)
def test_a_client_whose_server_was_killed_is_told(name, start, proxy):
    server = start(f"{name}-server")
    one = proxy(**configuration(name, server.port))
    server.stop()
    kind, text = peers.consume(f"{name}-client", one.port, "killed")["killed"]
    assert (kind, text[: len(KILLED[name])]) == ("raised", KILLED[name])
