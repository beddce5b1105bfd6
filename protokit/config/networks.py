"""Where clients come from: networks of IPv4 and IPv6 addresses, written ``10.0.0.0/8``.

All are spans of 128-bit numbers, an IPv4 address that of its mapped one (``::ffff:10.0.0.1``): a listener on
``[::]`` sees IPv4 clients so. No network of IPv6 addresses has an IPv4 one.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from protokit.config.scalars import Network

if TYPE_CHECKING:
    from collections.abc import Iterable

_IPV4 = 0xFFFF << 32  # the first of those that IPv4 addresses are mapped to
_IPV6 = _IPV4 + 2**32  # the first behind them
Span = tuple[int, int]


def spans(text: str) -> tuple[Span, ...]:
    """The first and last addresses of a network; ``::/0`` is two spans, with IPv4 between.

    Raises:
        ValueError: it is none, or an address in a network, which may be meant.
    """
    host, _, bits = text.partition("/")
    try:
        address = ipaddress.ip_address(host if re.fullmatch(Network.pattern, text) else "")
    except ValueError:
        raise ValueError(f"expected {Network.expected}") from None
    most = address.max_prefixlen
    if int(bits or most) > most:
        raise ValueError(f"expected {Network.expected}, with {most} bits at most")
    within = ipaddress.ip_network(f"{host}/{bits or most}", strict=False)
    if within.network_address != address:
        raise ValueError(
            f"expected {Network.expected}: {host} is in the network {within}; write that, or {host} alone"
        )
    first, last = int(within[0]), int(within[-1])
    if within.version == 4:
        return ((first + _IPV4, last + _IPV4),)
    if first < _IPV4 < last:
        return ((first, _IPV4 - 1), (_IPV6, last))
    return ((first, last),)


def together(networks: Iterable[Network]) -> list[Span]:
    """The addresses that are in one of some networks: spans in order, none in or beside another."""
    found: list[Span] = []
    for first, last in sorted(span for network in networks for span in network.spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def number(address: str) -> int:
    """An address, as spans have it.

    Raises:
        ValueError: it is none.
    """
    found = ipaddress.ip_address(address)
    return int(found) + (_IPV4 if found.version == 4 else 0)
