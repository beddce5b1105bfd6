"""tenant: tags requests with the tenant of the application that sent them, asked of a service and remembered.

`plugins: [./tenant.py]`, and in a listener or a rule

    filters:
      - {tenant: {lookup: "127.0.0.1:7000", header: remote.application, tag: tenant, keep: 60}, fail: closed}

The service is asked one line, the application, and answers one, its tenant, or an empty one where it knows
none: such requests are denied. Many that ask for the same application at once are one question, only so many
applications are remembered, however many callers think of, and what a caller says of its tenant does not
count.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from protokit import Filter, FilterFactory, Request, Response, Status, hookimpl

MOST = 10_000  # applications that are remembered
LONGEST = 200  # characters of a name


class Tenant(Filter):
    """See above."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        host, _, port = options["lookup"].rpartition(":")
        self.address = (host, int(port))
        self.header = options.get("header", "remote.application")
        self.tag = options.get("tag", "tenant")
        self.keep = float(options.get("keep", 60))
        self.patience = float(options.get("timeout", 2))
        self.known: OrderedDict[str, tuple[str, float]] = OrderedDict()  # application: (tenant, until when)
        self.asked: dict[str, asyncio.Task[str]] = {}  # application: the question that is under way

    async def request(self, request: Request) -> Response | None:
        application = request.header(self.header) or ""
        if not application or len(application) > LONGEST or not application.isprintable():
            return Response(Status.DENIED, f"{self.header} does not say which application this is")
        tenant = await self.tenant_of(application)
        if not tenant:
            return Response(Status.DENIED, f"application {application} has no tenant")
        request.headers[self.tag] = tenant
        return None

    async def tenant_of(self, application: str) -> str:
        tenant, until = self.known.get(application, ("", 0))
        if time.monotonic() < until:
            return tenant
        task = self.asked.get(application)
        if task is None:
            task = self.asked[application] = asyncio.get_running_loop().create_task(self.ask(application))
            task.add_done_callback(lambda _: self.asked.pop(application))
        # Whoever is cancelled leaves the question to the others.
        return await asyncio.shield(task)

    async def ask(self, application: str) -> str:
        async with asyncio.timeout(self.patience):
            reader, writer = await asyncio.open_connection(*self.address, limit=1024)
            try:
                writer.write(application.encode() + b"\n")
                line = await reader.readuntil(b"\n")
            finally:
                writer.close()
        tenant = line.decode().strip()
        self.known[application] = (tenant, time.monotonic() + self.keep)
        self.known.move_to_end(application)
        if len(self.known) > MOST:
            self.known.popitem(last=False)
        return tenant


@hookimpl
def protokit_filters() -> Mapping[str, FilterFactory]:
    return {"tenant": Tenant}
