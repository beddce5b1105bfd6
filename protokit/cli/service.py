"""``protokit run`` from its loop on: the proxy, its admin server, and what signals do."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
import traceback
from types import MappingProxyType
from typing import TYPE_CHECKING

import uvloop

from protokit import config as configuration
from protokit import logs
from protokit.admin.server import AdminServer
from protokit.cli.banner import banner, url
from protokit.dataplane.proxy import Proxy
from protokit.errors import ProtokitError
from protokit.plugins import reason

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Mapping
    from types import FrameType
    from typing import Any

    from protokit.cli.process import Early

_log = logging.getLogger("protokit.run")
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_IGNORED = (signal.SIGUSR1, signal.SIGUSR2)
_HELD_UP_S = 5.0  # the loop, before the log says by whom; and how often it is asked
_SELDOM_S = 60.0  # that is said
_PATIENCE_S = 10.0  # a reload that takes longer is told of; what plugins hold up at the end is left behind


def run(loaded: configuration.Loaded, early: Early | None) -> None:
    """Run until a signal ends it.

    Args:
        loaded: the configuration.
        early: what listens already, if it does.

    Raises:
        ProtokitError: it cannot start.
    """
    uvloop.run(_Service(loaded, early).run())


class _Service:
    def __init__(self, loaded: configuration.Loaded, early: Early | None) -> None:
        self._early = early
        self._proxy = Proxy(loaded, early and early[0])
        self._admin: AdminServer | None = None
        self._stopped = asyncio.Event()
        self._stopping = False
        self._beginning: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        self._asked_again = False  # for a reload, while one is under way
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _ENDS:
            loop.add_signal_handler(number, self._stop, number.name)
        for number in _IGNORED:
            loop.add_signal_handler(number, _log.info, "%s: it has no meaning here, ignored", number.name)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._start(self._reload()))
        try:
            self._beginning = loop.create_task(self._begin())
            await asyncio.wait([self._beginning])
            if not self._beginning.cancelled():
                self._beginning.result()
                gc.enable()
                gc.freeze()  # what is there now stays: no collection looks at it again
                # Held since protokit.__main__, or since it listens: what came during the start comes now.
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {*_ENDS, *_IGNORED, signal.SIGHUP})
                threading.Thread(target=_watch, args=(loop,), name="protokit-held-up", daemon=True).start()
                await self._stopped.wait()
        finally:
            _end_in_time(failed=sys.exception() is not None)
            for task in self._tasks:
                task.cancel()
            await self._proxy.close()
            if self._admin is not None:
                await self._admin.close()
        _log.info("stopped")

    async def _begin(self) -> None:
        loaded = self._proxy.loaded
        if self._early is not None:
            await self._proxy.start()
            self._admin = await self._admin_of(loaded, self._early[1])
            return
        # First: a process that cannot have its admin address takes no client from another one.
        self._admin = await self._admin_of(loaded)
        await self._proxy.start()
        admin = [self._admin.address, self._admin.public_address] if self._admin else []
        print(banner(loaded, self._proxy.addresses, [one for one in admin if one is not None]))

    async def _admin_of(
        self, loaded: configuration.Loaded, sockets: Mapping[str, socket.socket] = MappingProxyType({})
    ) -> AdminServer | None:
        admin = loaded.config.admin
        if admin is None:
            return None
        public = (admin.public.host, admin.public.port) if admin.public else None
        server = AdminServer(self._proxy, (admin.bind.host, admin.bind.port), public, admin.hosts)
        await server.start(self._admin, sockets)
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
        if self._beginning is not None and not self._beginning.done():
            _log.info("%s: it does not listen yet, and ends", name)
            self._beginning.cancel()
            return
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
        if self._asked_again:
            return  # which reads what stands there when its turn comes
        self._asked_again = True
        async with self._reloading:
            self._asked_again = False
            try:
                await self._use(await self._read())
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

    async def _read(self) -> configuration.Loaded:
        path = self._proxy.loaded.path
        reading = asyncio.get_running_loop().run_in_executor(None, configuration.load, path)
        if not (await asyncio.wait([reading], timeout=_PATIENCE_S))[0]:
            text = "%s is still being read after %g s, by the file system or a plugin; the old one goes on"
            _log.warning(text, path, _PATIENCE_S)
        return await reading

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
            _log.info("admin %s", url(new.address) if new else "off")
            if old is not None:
                await old.close()


def _end_in_time(*, failed: bool) -> None:
    """See to it that the process ends, though a hook or a thread of a plugin, or a reload, may not.

    Python waits for all threads, those that the loop has for blocking calls, too.
    """
    streams, main = (sys.stdout, sys.stderr), threading.main_thread()

    def end() -> None:
        frames = sys._current_frames()  # noqa: SLF001
        left = [one for one in threading.enumerate() if one is main or not one.daemon]
        what = ", ".join(
            f"{one.name} ({' > '.join(_inside(frames[one.ident]))})" for one in left if one.ident in frames
        )
        _log.warning("ended without what plugins still hold up after %g s: %s", _PATIENCE_S, what)
        for stream in streams:
            if isinstance(stream, logs.Stream):
                stream.drain(1)
        os._exit(1 if failed else 0)

    timer = threading.Timer(_PATIENCE_S, end)
    timer.daemon = True
    timer.start()


def _watch(loop: asyncio.AbstractEventLoop) -> None:
    """Say what holds up the loop: a filter that blocks. It has to be another thread that does."""
    ident = threading.main_thread().ident
    while True:
        going_on = threading.Event()
        try:
            loop.call_soon_threadsafe(going_on.set)
        except RuntimeError:  # it is closed
            return
        if going_on.wait(_HELD_UP_S):
            time.sleep(_HELD_UP_S)
            continue
        frame = sys._current_frames().get(ident or 0)  # noqa: SLF001
        where = " > ".join(_inside(frame)) if frame else "something"
        text = "filters, reloads, admin pages and signals have been held up for %g s by what blocks: %s"
        _log.warning(text, _HELD_UP_S, where)
        going_on.wait()
        _log.warning("what was held up goes on")
        time.sleep(_SELDOM_S)


def _inside(frame: FrameType) -> list[str]:
    """Where a thread is, the last three calls."""
    return [
        f"{one.name}, {os.path.basename(one.filename)}:{one.lineno}"  # noqa: PTH119
        for one in traceback.extract_stack(frame, limit=3)
    ]
