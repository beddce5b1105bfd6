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
    from collections.abc import Callable, Coroutine, Mapping
    from types import FrameType
    from typing import Any

    from protokit.cli.process import Early

_log = logging.getLogger("protokit.run")
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_IGNORED = (signal.SIGUSR1, signal.SIGUSR2)
_HELD_UP_S = 5.0  # the loop, before the log says by whom; and how often it is asked
_SELDOM_S = 60.0  # that is said
_PATIENCE_S = 10.0  # a reload that takes longer is told of; what plugins hold up at the end is left behind
_AT_ONCE_S = 1.0  # what is still held up then when the end is asked for again


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
        self._told: list[float] = []  # when signals came that end it: by the thread's clock, not by the loop
        self._asked = threading.Event()  # by one of them

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _ENDS:
            loop.add_signal_handler(number, self._stop, number.name)
            signal.signal(number, self._hearing(signal.getsignal(number)))
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
                threading.Thread(
                    target=self._watch, args=(loop,), name="protokit-held-up", daemon=True
                ).start()
                await self._stopped.wait()
        finally:
            _end_in_time(failed=sys.exception() is not None)
            for task in self._tasks:
                task.cancel()
            await self._proxy.close()
            if self._admin is not None:
                await self._admin.close()
        _log.info("stopped")

    def _hearing(self, loops: Any) -> Callable[[int, FrameType | None], None]:
        """A signal's handler that runs though the loop is held up, in front of the loop's own."""

        def heard(number: int, frame: FrameType | None) -> None:
            self._told.append(time.monotonic())
            self._asked.set()
            loops(number, frame)

        return heard

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say what holds up the loop, a filter that blocks, and end though it does. Another thread has to."""
        while True:
            going_on = threading.Event()
            began = time.monotonic()
            try:
                loop.call_soon_threadsafe(going_on.set)
            except RuntimeError:  # it is closed
                return
            said = False
            while not going_on.wait(min(_HELD_UP_S, _AT_ONCE_S) / 4):
                if self._unheard(began):
                    _leave(_streams(), failed=False)
                if not said and time.monotonic() - began >= _HELD_UP_S:
                    said = True
                    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001
                    where = " > ".join(_inside(frame)) if frame else "something"
                    text = "filters, reloads and admin pages have been held up for %g s by what blocks: %s"
                    _log.warning(text, _HELD_UP_S, where)
            if said:
                _log.warning("what was held up goes on")
            if self._asked.wait(_SELDOM_S if said else _HELD_UP_S):
                self._asked.clear()

    def _unheard(self, began: float) -> bool:
        """Whether a signal has ended the process, since the loop, held up from then on, does not."""
        since = [time.monotonic() - max(one, began) for one in self._told[:2]]
        if len(since) > 1 and since[1] >= _AT_ONCE_S and not self._stopped.is_set():
            return True
        return bool(since) and since[0] >= _PATIENCE_S and not self._stopping

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

    def _failed(self) -> None:
        """What is in use is not what stands in the file."""
        self._proxy.reloads["failed"] += 1
        self._proxy.reloads["last_failed"] = 1

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
                self._failed()
                _log.error("reload refused, the old configuration goes on:\n%s", error)  # no trace
                return
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  # a plugin's, or ours
                self._failed()
                trace = (type(error), error, logs.foreign(error))
                text = "reload failed, the old configuration goes on: %s"
                _log.error(text, reason(error), exc_info=trace)
                return
            finally:
                gc.collect()  # a file that has changed was a module: what it made in the engine goes with it
        self._proxy.reloads["done"] += 1
        self._proxy.reloads["last_failed"] = 0
        for warning in self._proxy.loaded.warnings:
            _log.warning("%s", warning)
        _log.info("reloaded %s", self._proxy.loaded.path)

    async def _read(self) -> configuration.Loaded:
        path = self._proxy.loaded.path
        reading = asyncio.get_running_loop().run_in_executor(None, configuration.load, path)
        if not (await asyncio.wait([reading], timeout=_PATIENCE_S))[0]:
            why = "a large file, or a slow file system or plugin"
            text = f"%s is still being read after %g s ({why}); the old one goes on"
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
    timer = threading.Timer(_PATIENCE_S, _leave, kwargs={"failed": failed, "streams": _streams()})
    timer.daemon = True
    timer.start()


def _streams() -> list[logs.Stream]:
    """What is written to, as long as the process is what it was: later these are others."""
    return [one for one in (sys.stdout, sys.stderr) if isinstance(one, logs.Stream)]


def _leave(streams: list[logs.Stream], *, failed: bool) -> None:
    """End, and say what was still held up."""
    frames, main = sys._current_frames(), threading.main_thread()  # noqa: SLF001
    left = [one for one in threading.enumerate() if one is main or not one.daemon]
    what = ", ".join(
        f"{one.name} ({' > '.join(_inside(frames[one.ident]))})" for one in left if one.ident in frames
    )
    _log.warning("ended without what plugins still hold up: %s", what)
    for stream in streams:
        stream.drain(1)
    os._exit(1 if failed else 0)


def _inside(frame: FrameType) -> list[str]:
    """Where a thread is, the last three calls."""
    return [
        f"{one.name}, {os.path.basename(one.filename)}:{one.lineno}"  # noqa: PTH119
        for one in traceback.extract_stack(frame, limit=3)
    ]
