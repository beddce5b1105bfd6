"""shared-limit: one rate for many proxies, kept by a service that counts for all of them.

`plugins: [./shared_limit.py]`, and in a rule

    limit: {rate: 50/s, by: {header: tenant}, ask: {name: shared-limit, options: {service: "127.0.0.1:7001"}}}

The service is told, a line for each key, how many requests came, and answers as many lines: how many may come
and for how many seconds. Where it does not answer, each proxy goes by the rule's own rate.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from protokit import Demand, Limiter, LimiterFactory, Quota, hookimpl


class SharedLimit(Limiter):
    """See above."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        host, _, port = options["service"].rpartition(":")
        self.address = (host, int(port))

    async def ask(self, demands: Sequence[Demand]) -> Sequence[Quota | None]:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            for demand in demands:
                writer.write(json.dumps([demand.key, demand.requests]).encode() + b"\n")
            answers = [json.loads(await reader.readuntil(b"\n")) for _ in demands]
        finally:
            writer.close()
        return [Quota(int(requests), float(seconds)) for requests, seconds in answers]


@hookimpl
def protokit_limits() -> Mapping[str, LimiterFactory]:
    return {"shared-limit": SharedLimit}
