"""Tasks that run somebody else's code, which may cancel itself, or not end when it is cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def is_cancelled() -> bool:
    """The task is, as by a loop that ends: what was raised may have been a plugin's own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def left_behind(tasks: Collection[asyncio.Task[None]], seconds: float) -> int:
    """Wait for tasks that were cancelled; those that ignore it are left behind. How many these are."""
    if not tasks:
        return 0
    _, stubborn = await asyncio.wait(tasks, timeout=seconds)
    for task in stubborn:
        asyncio._unregister_task(task)  # noqa: SLF001  # the runner would wait for it
    return len(stubborn)
