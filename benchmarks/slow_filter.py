"""A filter that burns 5 ms of CPU for each request: what a careless plugin does to the main thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from protokit import Filter, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from protokit import Request, Response


class Burn(Filter):
    """Lets every request pass, late."""

    async def request(self, request: Request) -> Response | None:  # noqa: ARG002 - it looks at nothing
        """Busy for 5 ms; see ``Filter.request``."""
        until = time.perf_counter() + 0.005
        while time.perf_counter() < until:
            pass
        return None


@hookimpl
def protokit_filters() -> Mapping[str, Callable[[Mapping[str, Any]], Filter]]:
    """The one filter here."""
    return {"burn": lambda _options: Burn()}
