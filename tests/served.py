"""What tests share that go through a running proxy."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"


async def until(true: Callable[[], object]) -> None:
    """What takes longer than the loop is given has not come."""
    while not true():
        await asyncio.sleep(0.01)


def documented(heading: str, instead: Mapping[str, str] | None = None) -> Any:
    """The first example below a heading of docs/configuration.md, perhaps with other words ``instead``."""
    below = PAGE.read_text().partition(f"# {heading}\n")[2]
    example = re.search(r"```yaml\n(.*?)```", below, re.DOTALL)[1]
    for old, new in (instead or {}).items():
        example = example.replace(old, new)
    return yaml.load(example, Loader=yaml.BaseLoader)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait(true, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if true():
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not come true")
