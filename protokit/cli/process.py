"""``protokit run``: the proxy as a process. What its signals do stands in docs/configuration.md."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import msgspec
import uvloop

import protokit
from protokit import config as configuration
from protokit import logs
from protokit.admin.server import AdminServer
from protokit.dataplane import Proxy
from protokit.errors import ConfigError, ProtokitError
from protokit.plugins import reason

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

_log = logging.getLogger("protokit.run")
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
        uvloop.run(_Service(loaded).run())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except ProtokitError as error:
        print(f"protokit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before its loop has taken over the signals
        return 128 + signal.SIGINT
    return 0


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


class _Service:
    """One run: the proxy, its admin server, and what signals do."""

    def __init__(self, loaded: configuration.Loaded) -> None:
        self._proxy = Proxy(loaded)
        self._admin: AdminServer | None = None
        self._stopped = asyncio.Event()
        self._stopping = False
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._stop, number.name)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, _log.info, "%s: it has no meaning here, ignored", number.name)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._start(self._reload()))
        try:
            # First: a process that cannot have its admin address takes no client from another one.
            self._admin = await self._admin_of(self._proxy.loaded)
            await self._proxy.start()
            print(banner(self._proxy, self._admin))
            gc.enable()
            gc.freeze()  # what is there now stays: no collection looks at it again
            # Held since protokit.__main__: what came during the start comes now.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
            await self._stopped.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._proxy.close()
            if self._admin is not None:
                await self._admin.close()
        _log.info("stopped")

    async def _admin_of(self, loaded: configuration.Loaded) -> AdminServer | None:
        admin = loaded.config.admin
        if admin is None:
            return None
        public = (admin.public.host, admin.public.port) if admin.public else None
        server = AdminServer(self._proxy, (admin.bind.host, admin.bind.port), public, admin.hosts)
        await server.start(self._admin)
        return server

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop(self, name: str) -> None:
        if self._stopping:
            _log.warning("%s again: stopping at once", name)
            self._stopped.set()
            return
        self._stopping = True
        drain = self._proxy.loaded.config.drain
        _log.info("%s: draining: %d ms for balancers, then up to %d ms", name, drain.delay, drain.timeout)
        self._start(self._drain())

    async def _drain(self) -> None:
        try:
            await self._proxy.drain()
        finally:
            self._stopped.set()

    async def _reload(self) -> None:
        if self._stopping:
            _log.warning("SIGHUP: the proxy is draining; the configuration is not read again")
            return
        async with self._reloading:
            try:
                path = self._proxy.loaded.path
                await self._use(
                    await asyncio.get_running_loop().run_in_executor(None, configuration.load, path)
                )
            except ProtokitError as error:
                self._proxy.reloads["failed"] += 1
                _log.error("reload refused, the old configuration goes on:\n%s", error)  # no trace
                return
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin's mistake, or ours
                self._proxy.reloads["failed"] += 1
                trace = (type(error), error, logs.foreign(error))
                text = "reload failed, the old configuration goes on: %s"
                _log.error(text, reason(error), exc_info=trace)
                return
            finally:
                gc.collect()  # a file that has changed was a module: what it made in the engine goes with it
        self._proxy.reloads["done"] += 1
        for warning in self._proxy.loaded.warnings:
            _log.warning("%s", warning)
        _log.info("reloaded %s", self._proxy.loaded.path)

    async def _use(self, loaded: configuration.Loaded) -> None:
        old = new = self._admin
        if loaded.config.admin != self._proxy.loaded.config.admin:
            new = await self._admin_of(loaded)
        try:
            await self._proxy.reload(loaded)
        except BaseException:
            if new is not None and new is not old:
                await new.close()
            raise
        self._admin = new
        if new is not old:
            _log.info("admin %s", _url(new.address) if new else "off")
            if old is not None:
                await old.close()


def _url(address: tuple[str, int]) -> str:
    host, port = address
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def banner(proxy: Proxy, admin: AdminServer | None) -> str:
    """One screen on what runs here."""
    config = proxy.loaded.config
    versions = ", ".join(f"{one.__name__} {one.__version__}" for one in (uvloop, msgspec))
    lines = [f"protokit {protokit.__version__} (Python {sys.version.partition(' ')[0]}, {versions})"]
    for plugin in proxy.loaded.registry.plugins:
        brings = ", ".join(
            [f"{one.name} ({one.tier})" for one in plugin.protocols.values()] + sorted(plugin.filters)
        )
        lines.append(f"  plugin    {plugin.name} {plugin.version}: {brings}")
    for listener in config.listeners:
        host, port = proxy.addresses[listener.name]
        target = f"routes {listener.routes}" if listener.routes else f"cluster {listener.cluster}"
        protocols = ", ".join(proxy.loaded.protocols[listener.name])
        lines.append(f"  listener  {listener.name} {host}:{port} {protocols} -> {target}")
    lines.append(f"  admin     {_url(admin.address) if admin else 'off'}")
    if admin is not None and admin.public_address is not None:
        lines.append(f"  public    {_url(admin.public_address)}")
    limits = config.limits
    lines.append(
        f"  limits    frame {limits.frame >> 10} KiB, buffers {limits.buffer >> 20} MiB,"
        f" {limits.connections} connections, {limits.in_flight} in flight (each worker)"
    )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lines.append(f"  process   {config.workers} worker{'s' * (config.workers > 1)}, {soft} descriptors")
    warnings = [f"  warning   {warning}" for warning in proxy.loaded.warnings]
    if soft < limits.connections * config.workers:
        warnings.append(f"  warning   {soft} descriptors are fewer than limits.connections (see ulimit -n)")
    return "\n".join(lines + warnings)
