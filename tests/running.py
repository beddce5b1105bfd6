"""What running a test costs besides the test, twenty thousand times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import pytest_timeout


class Watch:
    """One thread for the time limits of all tests: pytest-timeout starts and ends one for each.

    Attributes:
        often: it looks, in seconds, as nobody wakes it.
    """

    def __init__(self, often: float = 1) -> None:
        self.often = often
        self._lock = threading.Lock()
        self._limit: tuple[float, pytest.Item, pytest_timeout.Settings] | None = None
        self._thread: threading.Thread | None = None

    def pytest_timeout_set_timer(self, item: pytest.Item, settings: pytest_timeout.Settings) -> bool | None:
        if settings.method != "thread":
            return None
        with self._lock:
            self._limit = time.monotonic() + settings.timeout, item, settings
        if self._thread is None or not self._thread.is_alive():  # none is after a fork
            self._thread = threading.Thread(target=self._look, name="time limits", daemon=True)
            self._thread.start()
        return True

    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> None:
        with self._lock:
            self._limit = None

    def _look(self) -> None:
        while True:
            time.sleep(self.often)
            with self._lock:
                limit = self._limit
            if limit is not None and time.monotonic() > limit[0]:
                pytest_timeout.timeout_timer(*limit[1:])


class Unheard:
    """That a test was set up and torn down is what nobody shows, unless it was not."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_to_serializable(self, report: pytest.TestReport) -> dict[str, object] | None:
        return {"unheard": True} if report.when != "call" and report.passed else None


def be_brief(config: pytest.Config) -> None:
    """A process of xdist tells the first one what that shows: two messages for each test, not six."""
    option = config.option
    if option.verbose > 0 or option.durations is not None or option.xmlpath:
        return
    for plugin in list(config.pluginmanager.get_plugins()):
        if hasattr(plugin, "sendevent"):
            config.pluginmanager.register(Unheard())
            plugin.sendevent = _only_heard(plugin.sendevent)


def _only_heard(send: Callable[..., None]) -> Callable[..., None]:
    def sendevent(name: str, **told: dict[str, object]) -> None:
        if name not in {"logstart", "logfinish"} and "unheard" not in told.get("data", ()):
            send(name, **told)

    return sendevent
