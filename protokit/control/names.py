"""Host names: looked up by threads, since that takes as long as it likes, and again while the proxy runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from protokit import logs

START_S = 2.0  # how long a start or a reload waits for the addresses of names
AGAIN_S = 30.0  # between two questions for a name that has addresses
SOONEST_S = 1.0  # and for one that has none: this, then twice as long each time
MOST = 64  # addresses of one name
_THREADS = 8  # that ask at the same time
_GATHER_S = 0.05  # names that change together are told of together
_log = logging.getLogger("protokit.names")
Found = tuple[str, ...]


def look_up(host: str) -> Found:
    """The addresses of a name, in order: those of IPv4; those of IPv6 only where there is none.

    ``0.0.0.0`` and ``::`` are none: what is sent there goes to whoever listens on this machine. Resolvers
    that block a name say so; who binds all addresses writes the number.

    Raises:
        OSError: it has none, or nobody says which.
    """
    import ipaddress  # noqa: PLC0415  # for who has names

    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(0, str(error)) from None
    said = {ipaddress.ip_address(entry[4][0]) for entry in entries if "%" not in str(entry[4][0])}
    found = {one for one in said if not (getattr(one, "ipv4_mapped", None) or one).is_unspecified}
    if said and not found:
        all_of_them = " and ".join(sorted(map(str, said)))
        raise OSError(0, f"it stands for {all_of_them}, where a server listens for all, and nobody's address")
    version = min((one.version for one in found), default=4)
    addresses = sorted(one for one in found if one.version == version)
    if not addresses:
        raise OSError(0, "it has no address")
    return tuple(str(one) for one in addresses[:MOST])


class _Threads:
    """Threads that ask; daemons, since a question cannot be taken back when the process ends."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[str, Callable[[str, Found | OSError], object]]] = (
            queue.SimpleQueue()
        )
        self._running = 0

    def ask(self, host: str, answered: Callable[[str, Found | OSError], object]) -> None:
        """Look ``host`` up; ``answered`` is called by another thread."""
        self._asked.put((host, answered))
        if self._running < _THREADS:
            self._running += 1
            threading.Thread(target=self._work, name="protokit-names", daemon=True).start()

    def _work(self) -> None:
        while True:
            host, answered = self._asked.get()
            try:
                found: Found | OSError = look_up(host)
            except OSError as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop that asked has ended
                answered(host, found)


def look_up_all(hosts: Iterable[str], seconds: float) -> tuple[dict[str, Found], dict[str, str]]:
    """Look names up, for as long as ``seconds`` in all.

    Returns:
        The addresses of those that have some, and of the others why not.
    """
    threads, answers = _Threads(), queue.SimpleQueue[tuple[str, "Found | OSError"]]()
    found: dict[str, Found] = {}
    failed = dict.fromkeys(hosts, "no answer yet")
    for host in failed:
        threads.ask(host, lambda host, answer: answers.put((host, answer)))
    end = time.monotonic() + seconds
    for _ in range(len(failed)):
        try:
            host, answer = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(answer, OSError):
            failed[host] = _why(answer)
        else:
            found[host] = answer
            del failed[host]
    return found, failed


class Names:
    """What the names of a running proxy stand for.

    A name that had addresses keeps them while nobody says which it has now.

    Args:
        changed: called in the loop after the addresses of names that are kept have become others.
        repeated: for names that change or do not resolve any more.

    Attributes:
        addresses: by name; missing until there are some.
        failures: of names without addresses, why.
    """

    def __init__(self, changed: Callable[[], None], repeated: logs.Repeated) -> None:
        self.addresses: dict[str, Found] = {}
        self.failures: dict[str, str] = {}
        self._changed = changed
        self._repeated = repeated
        self._threads = _Threads()
        self._kept: set[str] = set()
        self._asking: dict[str, asyncio.Event] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._pauses: dict[str, float] = {}
        self._telling: asyncio.TimerHandle | None = None

    async def know(self, hosts: Iterable[str]) -> None:
        """Wait until these have been asked for once, but no longer than START_S."""
        asked = [self._ask(host) for host in hosts if host not in self.addresses]
        if asked:
            waiting = [asyncio.ensure_future(one.wait()) for one in asked]
            _, late = await asyncio.wait(waiting, timeout=START_S)
            for one in late:
                one.cancel()

    def keep(self, hosts: Iterable[str]) -> None:
        """From now on ask for these again and again, and forget all others."""
        self._kept = set(hosts)
        for host in {*self.addresses, *self.failures, *self._timers} - self._kept:
            self.addresses.pop(host, None)
            self.failures.pop(host, None)
            self._pauses.pop(host, None)
            if host in self._timers:
                self._timers.pop(host).cancel()
        for host in self._kept - set(self._timers) - set(self._asking):
            self._later(host)

    def close(self) -> None:
        """Ask no more."""
        self.keep(())
        if self._telling is not None:
            self._telling.cancel()

    def _ask(self, host: str) -> asyncio.Event:
        if host not in self._asking:
            self._asking[host] = asyncio.Event()
            tell = asyncio.get_running_loop().call_soon_threadsafe
            self._threads.ask(host, lambda host, answer: tell(self._answered, host, answer))
        return self._asking[host]

    def _answered(self, host: str, answer: Found | OSError) -> None:
        self._asking.pop(host).set()
        if isinstance(answer, OSError):
            if host in self.addresses:
                kept = ", ".join(self.addresses[host])
                text = f"the host name {host!r} does not resolve any more ({_why(answer)}); kept: {kept}"
                self._repeated.log(_log, logging.WARNING, (host, "names"), text)
            else:
                self.failures[host] = _why(answer)
        else:
            before = self.addresses.get(host, ())
            self.addresses[host] = answer
            self.failures.pop(host, None)
            if answer != before and host in self._kept:
                text = f"the host name {host!r} is now {', '.join(answer)}"
                self._repeated.log(_log, logging.INFO, (host, "changed"), text)
                if self._telling is None:
                    self._telling = asyncio.get_running_loop().call_later(_GATHER_S, self._tell)
        if host in self._kept:
            self._later(host)

    def _later(self, host: str) -> None:
        pause = AGAIN_S
        if host not in self.addresses:
            pause = self._pauses[host] = min(AGAIN_S, 2 * self._pauses.get(host, SOONEST_S / 2))
        else:
            self._pauses.pop(host, None)
        self._timers[host] = asyncio.get_running_loop().call_later(pause, self._again, host)

    def _again(self, host: str) -> None:
        del self._timers[host]
        self._ask(host)

    def _tell(self) -> None:
        self._telling = None
        self._changed()


def _why(error: OSError) -> str:
    return error.strerror or str(error)
