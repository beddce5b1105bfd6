"""A plain reading of what rules ask of requests, and what to ask."""

from __future__ import annotations

import ipaddress
import re

NAMES = ["a", "ab", "b", "com.x", "com.x.Y", "com.y.Y", "x", "com.example.Long"]  # the last is remembered
NETWORKS = [
    "10.0.0.0/8",
    "10.1.2.3",
    "11.0.0.0/8",
    "0.0.0.0/0",
    "::ffff:10.1.0.0/112",
    "fd00::/8",
    "fd00::1",
    "::/0",
]
SOURCES = [
    "",
    "10.1.2.3",
    "10.200.0.1",
    "11.0.0.0",
    "192.168.0.1",
    "::ffff:10.1.9.9",
    "fd00::1",
    "2001:db8::1",
]


def is_text(wanted, value, *, header=False):
    """A plain reading of what a text has to be; ``value``: None where there is none."""
    if isinstance(wanted, str):
        pattern = ".*".join(map(re.escape, wanted.split("*")))
        return value is not None and re.fullmatch(pattern, value, re.DOTALL) is not None
    ((how, operand),) = wanted.items()
    if how == "present":
        return operand == (value is not None if header else value != "")
    if value is None:
        return False
    if how == "range":
        number = re.fullmatch("[-+]?[0-9]{1,19}", value) and int(value)
        return number is not None and operand[0] <= number <= operand[1]
    return {
        "exact": lambda: value == operand,
        "prefix": lambda: value.startswith(operand),
        "suffix": lambda: value.endswith(operand),
        "in": lambda: value in operand,
        "regex": lambda: re.fullmatch(operand, value, re.ASCII) is not None,
    }[how]()


def is_from(networks, source):
    """A plain reading of where a client comes from."""
    if not source:
        return False
    address = ipaddress.ip_address(source)
    address = getattr(address, "ipv4_mapped", None) or address
    for one in [networks] if isinstance(networks, str) else networks:
        network = ipaddress.ip_network(one)
        if one.startswith("::ffff:"):
            bits = network.prefixlen - 96
            network = ipaddress.ip_network(f"{network.network_address.ipv4_mapped}/{bits}")
        if network.version == address.version and address in network:
            return True
    return False


def is_one(wanted, name):
    return name in ([wanted] if isinstance(wanted, str) else wanted)


def argument(arguments, number):
    """As rules see it: numbers and booleans are texts, null is not there."""
    value = arguments[number] if number < len(arguments) else None
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def holds(match, asked):
    """Whether a request is what a match asks for."""
    texts = ("service", "method", "version", "group")
    return (
        all(is_text(match[name], asked[name]) for name in texts if name in match)
        and all(
            is_text(wanted, asked["headers"].get(key), header=True)
            for key, wanted in match.get("headers", {}).items()
        )
        and all(
            is_text(wanted, argument(asked.get("arguments", ()), int(number)), header=True)
            for number, wanted in match.get("arguments", {}).items()
        )
        and match.get("oneway", asked["oneway"]) == asked["oneway"]
        and ("source" not in match or is_from(match["source"], asked["source"]))
        and is_one(match.get("listener", asked["listener"]), asked["listener"])
        and is_one(match.get("protocol", asked["protocol"]), asked["protocol"])
        and all(holds(one, asked) for one in match.get("all", ()))
        and (not match.get("any") or any(holds(one, asked) for one in match["any"]))
        and not ("not" in match and holds(match["not"], asked))
    )
