"""``protokit run``: the proxy as a process. What its signals do stands in docs/configuration.md.

It listens first, and then imports what it needs for a loop (``protokit.cli.service``), which takes half as
long again: must not import asyncio.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from protokit import config as configuration
from protokit import logs
from protokit.cli.banner import banner
from protokit.dataplane import listening, workers
from protokit.errors import ConfigError, ProtokitError

if TYPE_CHECKING:
    import socket

    Early = tuple[workers.Workers, dict[str, socket.socket]]

_LAST_WORDS_S = 1.0  # for who reads the log, when all else has ended


def run(config: str, log_level: str = "info") -> NoReturn:
    """Run the proxy with a configuration file, and end the process.

    Args:
        config: the file's path.
        log_level: what is logged: ``debug``, ``info``, ``warning`` or ``error``, and what is worse.
    """
    _fill_standard_descriptors()
    out, err = logs.Stream(1), logs.Stream(2)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):  # plugins print, too
            code = _run(config, log_level)
    finally:
        for stream in (out, err):
            stream.drain(_LAST_WORDS_S)
    sys.exit(code)


def _run(config: str, log_level: str) -> int:
    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    _raise_descriptors()
    try:
        loaded = configuration.load(config)
        early = None if workers.needs_loop(loaded) else _serve(loaded)
        from protokit.cli import service  # noqa: PLC0415  # brings asyncio

        service.run(loaded, early)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except ProtokitError as error:
        print(f"protokit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before its loop has taken over the signals
        return 128 + signal.SIGINT
    return 0


def _serve(loaded: configuration.Loaded) -> Early:
    """Listen. From here on all that a signal may mean needs the loop, which takes those that wait.

    Returns:
        The workers, and by option the sockets of the admin server, who is not there yet.
    """
    # The latter three are held already where it began in protokit.__main__.
    ends, others = (
        {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT},
        {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2},
    )
    signal.pthread_sigmask(signal.SIG_BLOCK, ends | others)
    admin = loaded.config.admin
    asked = {} if admin is None else {"admin.bind": admin.bind, "admin.public": admin.public}
    with contextlib.ExitStack() as undo:
        # First: a process that cannot have its admin address takes no client from another one.
        bound = {
            option: undo.enter_context(listening.listen_alone(option, one.host, one.port))
            for option, one in asked.items()
            if one is not None
        }
        serving = workers.serve(loaded)
        undo.pop_all()
    print(banner(loaded, serving.addresses, [one.getsockname()[:2] for one in bound.values()]))
    return serving, bound


def _fill_standard_descriptors() -> None:
    """Where one of 0 to 2 is closed, a socket would get its number, and what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _raise_descriptors() -> None:
    """As many descriptors as the process may have; a login shell's 1024 are fewer than it may want."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # more than the kernel gives: what is set stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
