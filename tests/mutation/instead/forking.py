"""A pytest that starts once and forks for each run: what all import is imported, no conftest.py is yet.

It reads a line of JSON a run: the tests, the environment, the file for the output, the seconds it may
take. It answers each with a line: the exit code, or minus the signal.

``FIRST`` names what protokit, if it is the same for all runs, is imported with once, before them. For runs
that differ in the engine it is the glue alone, which calls the functions of the engine that it was given
last: at first that of ``GIVEN``, for what modules ask while they are imported, then the run's, ``late``.
"""

import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import sitecustomize
from hypothesis import given

for name in (
    "asyncio",
    "cffi.cparser",
    "click",
    "construct",
    "hypothesis.strategies",
    "msgspec",
    "uvloop",
    "yaml",
):
    importlib.import_module(name)
ran: dict = {}  # what is said of the run, in its process


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    hypothesis.given = drawing
    if os.environ["FIRST"]:
        import_protokit()
    assert "protokit._native" not in sys.modules or os.environ["FIRST"]
    capture = early_config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    gc.collect()
    gc.freeze()  # what is here already is no run's garbage
    for line in sys.stdin:
        run = json.loads(line)
        child = os.fork()
        if not child:
            try:
                begin(run)
            except BaseException:  # noqa: BLE001  # no test ran: not pytest's code for one that failed, as Python's own is
                Path(run["output"]).write_text(traceback.format_exc())
                os._exit(pytest.ExitCode.INTERNAL_ERROR)
            capture.start_global_capturing()
            early_config.known_args_namespace.file_or_dir = args[-1:] = run["tests"]
            return
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what it started and did not end
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)


def give(engine: str) -> None:
    """Let the glue call that engine.

    Raises:
        ImportError: it lacks a function: whoever called that would crash, as if a test had killed it.
    """
    if ctypes.CDLL(os.environ["FIRST"]).given(ctypes.c_void_p(ctypes.CDLL(engine)._handle)):
        raise ImportError(f"{engine} lacks functions that the glue calls")


def import_protokit() -> None:
    """All of it, but no plugin: runs may have one of their own."""
    sitecustomize.instead(f"protokit._native={os.environ['FIRST']}")
    if os.environ["GIVEN"]:
        give(os.environ["GIVEN"])
    for module in pkgutil.walk_packages(importlib.import_module("protokit").__path__, "protokit."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert not [name for name in sys.modules if name.startswith("protokit_") and name.endswith("._native")]


def drawing(*strategies: object, **named: object) -> Callable:
    """``given``: what is drawn finds a mutant by luck, which is no answer."""

    def luck(test: Callable) -> Callable:
        @functools.wraps(test)
        def ends(*_: object, **__: object) -> None:
            Path(ran["output"]).write_text(
                f"{test.__qualname__} draws, which finds a mutant by luck: enumerate"
            )
            os._exit(pytest.ExitCode.USAGE_ERROR)

        return given(*strategies, **named)(ends)

    return luck


def begin(run: dict) -> None:
    """What is the child's own."""
    os.setsid()
    signal.alarm(run["patience"])
    os.environ.update(run["environment"])
    ran.update(run)
    if run["late"]:
        give(run["late"])
    sitecustomize.instead(os.environ["INSTEAD"])
    output = os.open(run["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(file, standard)
