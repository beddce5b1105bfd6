"""The engine of ``protokit fuzz``: draws examples until the time is over, and keeps what breaks a check.

A seed gives the same examples in the same order. They come in rounds: frames from the declaration (through
Hypothesis) and golden ones make a pool; examples are frames of the pool, spoiled, joined, cut, and sent
through the core; an example with an outcome that was not seen in the round joins the pool. Checks run in a
child process, so that a crash or a hang is a find like any other.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import mmap
import os
import random
import re
import resource
import select
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable

from protokit import native
from protokit.errors import ProtokitError, RemoteProtocolError
from protokit.model import Status
from protokit.native import replies  # here already: what Hypothesis draws depends on what is imported
from protokit.testing.invariants import LIMIT, Example, Invariants, Violation
from protokit.testing.strategies import counted_frames
from protokit.wire import Protocol, WireFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from protokit.testing.golden import Golden

ROUND = 600  # examples
DRAWN = 60  # frames of a round
PATIENCE = 20  # seconds that one example may take
LEAST_RATE = 5  # examples a second of the processor's time: with fewer a run proves nothing
LEAST_ACCEPTED = 0.05  # of the examples
_TOLD = 3  # seconds between two lines about what it is doing
_SHOWN = 120  # bytes of a find
MOST_FINDS = 10
_GOLDEN_BYTES = 16_384
_SHRINK_SECONDS = 20
_HOW = ("answers", "fails", "ends", "resets", "breaks", "pinned")
_EXPLAINED = 100  # refused frames of a round
_EDGES = (0, 1, 0x7F, 0x80, 0xFF)


@dataclass(frozen=True)
class Find:
    """One thing that is wrong.

    Attributes:
        check: which check did not hold.
        why: what was seen, or the signal that ended the process.
        example: the smallest that shows it.
        path: where it is saved; replay it with ``protokit fuzz PROTOCOL --replay PATH``.
    """

    check: str
    why: str
    example: Example
    path: Path


@dataclass
class Result:
    """What a run did.

    Attributes:
        examples, accepted: how many were tried, and of how many the first frame was accepted.
        outcomes: different outcomes (results, kinds, statuses, which fields a frame has).
        finds: what is wrong, each once.
        seconds: that it took.
        busy: seconds of the processor's time that trying and drawing took; finds are made small besides.
        interrupted: it was ended by Ctrl-C.
        broken: why the fuzzer itself could not go on: no fault of the protocol's codec.
        drawn: attempts to draw a frame from the declaration, by the field and reason for which there came
            none; "" counts those that made one.
        refused: why first frames were refused, and of how many.
    """

    examples: int = 0
    accepted: int = 0
    outcomes: set[str] = field(default_factory=set)
    finds: list[Find] = field(default_factory=list)
    seconds: float = 0
    busy: float = 0
    interrupted: bool = False
    broken: str = ""
    drawn: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        share = 100 * self.accepted // max(self.examples, 1)
        return (
            f"{self.examples} examples in {self.seconds:.0f} s, {share} % accepted, "
            f"{len(self.outcomes)} outcomes, {len(self.finds)} finds"
        )

    @property
    def too_little(self) -> str:
        """Why a run without finds proves nothing, with the field that is the reason; empty where it does."""
        if self.broken:
            return f"the fuzzer itself broke: {self.broken}"
        if self.examples < LEAST_RATE * self.busy or not self.examples:
            return (
                f"{self.examples} examples in {self.busy:.1f} s of the processor's time prove nothing: at "
                f"least {LEAST_RATE} a second are needed, and some in all"
                f"{_most(self.drawn, 'attempts to draw a frame')}"
            )
        if self.accepted < LEAST_ACCEPTED * self.examples:
            return (
                f"{self.accepted} of {self.examples} examples began with a frame that is accepted: at least "
                f"{LEAST_ACCEPTED:.0%} are needed{_most(self.drawn, 'attempts to draw a frame')}"
                f"{_most(self.refused, 'refused ones')}; golden vectors to begin with would help"
            )
        return ""


def _most(reasons: Counter[str], what: str) -> str:
    """The commonest reason."""
    named = [(count, why) for why, count in reasons.items() if why]
    if not named:
        return ""
    count, why = max(named)
    return f"; {count} of {reasons.total()} {what}: {why}"


def fuzz(
    protocol: Protocol,
    golden: Sequence[Golden] = (),
    seconds: float = 60,
    seed: int = 0,
    report: Callable[[str], None] = lambda _: None,
    *,
    folder: Path | None = None,
    rounds: int | None = None,
) -> Result:
    """Try a protocol on random and hostile bytes.

    Args:
        protocol: of any tier; a declared one is also compared with its reference.
        golden: frames to begin with. A protocol in C has no others.
        seconds: when to stop.
        seed: the same seed gives the same examples in the same order.
        report: told a line each few seconds, and about each find.
        folder: where finds are saved; the current one by default.
        rounds: stop after so many rounds, whatever the time.

    Returns:
        What was done and found.
    """
    run = _Run(protocol, golden, seed, report, folder or Path())
    started = time.monotonic()
    try:
        run.until(started + seconds, rounds)
    except KeyboardInterrupt:
        run.result.interrupted = True
    run.result.seconds = time.monotonic() - started
    return run.result


def replay(protocol: Protocol, path: Path) -> tuple[Example, Violation | None]:
    """Try a saved find again, in a process of its own.

    Returns:
        What was tried, and what does not hold; None where all does.

    Raises:
        ProtokitError: the file is no find of this protocol.
    """
    try:
        saved = json.loads(path.read_text())
        name, example = saved["protocol"], _loaded(saved["example"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProtokitError(f"{path} is no find of 'protokit fuzz': {error}") from error
    if name != protocol.name:
        raise ProtokitError(f"{path} is a find of protocol {name!r}, not of {protocol.name!r}")
    return example, _alone(protocol, example)


# Drawing.


def examples(
    protocol: Protocol, golden: Sequence[Golden], seed: int, number: int, tally: Counter[str] | None = None
) -> Generator[Example, bool | None]:
    """The examples of a round. Send True for one that is worth building on; ``tally`` as ``Result.drawn``."""
    tally = Counter() if tally is None else tally
    chance = random.Random(f"{seed}:{number}")  # noqa: S311  # reproducible on purpose
    frames = [one.data for one in golden if len(one.data) <= _GOLDEN_BYTES]
    sided = any(map(native.side_of, frames))
    if isinstance(protocol.wire, WireFormat):
        sided = protocol.wire.sided
        frames += _drawn(protocol.wire, frames, chance.randrange(2**32), tally)
    frames += _said(protocol.wire.address)
    clients = servers = [bytes(one) for one in frames]
    if sided:
        clients, servers = (
            [bytes(one) for one in frames if native.side_of(one) in {None, side}] or [b""]
            for side in ("client", "server")
        )
    for _ in range(ROUND):
        example = _example(chance, clients, servers)
        if (yield example) and len(example.client) <= _GOLDEN_BYTES:
            clients.append(example.client)


def _drawn(wire: WireFormat, samples: list[bytes], seed: int, tally: Counter[str]) -> list[bytes]:
    found: list[bytes] = []

    @seeded(seed)
    @settings(
        max_examples=DRAWN,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(counted_frames(wire, samples, tally))
    def draw(frame: bytes) -> None:
        found.append(frame)

    with contextlib.suppress(Unsatisfiable):  # the tally says why
        draw()
    return found


def _said(codec: int) -> list[bytes]:
    """What the codec says by itself."""
    said = [replies.heartbeat(codec, 1), replies.drain(codec)]
    said += [replies.error(codec, status, 1, 0, b"no") for status in Status if status > Status.APP_ERROR]
    return sorted({one for one in said if one})


def _example(chance: random.Random, clients: list[bytes], servers: list[bytes]) -> Example:
    def some(pool: list[bytes]) -> bytes:
        frame = chance.choice(pool)
        return _spoiled(chance, frame) if chance.random() < 0.5 else frame

    client = some(clients)
    if chance.random() < 0.03:
        client = chance.randbytes(chance.randrange(40))
    size = len(client)
    cuts = tuple(chance.randint(1, max(2, size // 3)) for _ in range(chance.randint(0, 3)))
    if chance.random() < 0.75:
        return Example(client, cuts=cuts)
    for _ in range(chance.randint(0, 5)):
        client += some(clients) if chance.random() < 0.2 else chance.choice(clients)
    upstream = b"".join(
        some(servers) if chance.random() < 0.2 else chance.choice(servers)
        for _ in range(chance.randint(0, 3))
    )
    how = tuple(one for one in _HOW if chance.random() < (0.7 if one == "answers" else 0.15))
    return Example(client, upstream, cuts, how)


def _spoiled(chance: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    for _ in range(chance.randint(1, 4)):
        if not data:
            break
        at = chance.randrange(min(len(data), 80) if chance.random() < 0.7 else len(data))
        how = chance.randrange(7)
        if how == 0:
            data[at] = chance.randrange(256)
        elif how == 1:
            data[at] ^= 1 << chance.randrange(8)
        elif how == 2:
            data[at] = chance.choice(_EDGES)
        elif how == 3:
            del data[at : at + chance.randint(1, 8)]
        elif how == 4:
            data[at:at] = chance.randbytes(chance.randint(1, 8))
        elif how == 5:
            data[at:at] = data[at : at + chance.randint(1, 16)]
        else:
            del data[at:]
    return bytes(data)


# Running.


class _Board:
    """What a child is at, where its parent can read it after a crash: shared memory."""

    _SIZE = 4 << 20
    _HEAD = struct.Struct("=3I32s")  # examples, accepted, bytes of the example; the check

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, self._SIZE)
        self.examples = self.accepted = self._size = 0
        self.check = ""

    def put(self, example: Example) -> None:
        text = json.dumps(_saved(example)).encode()
        self._size = len(text)
        self.memory[self._HEAD.size : self._HEAD.size + len(text)] = text
        self.enter("")

    def enter(self, check: str) -> None:
        self._HEAD.pack_into(self.memory, 0, self.examples, self.accepted, self._size, check.encode())

    def counts(self) -> tuple[int, int, bool]:
        """Examples and accepted ones of a child that runs, and whether it draws yet."""
        examples, accepted, size, _ = self._HEAD.unpack_from(self.memory)
        return examples, accepted, not size

    def read(self) -> Example:
        """All that the child wrote last."""
        self.examples, self.accepted, size, check = self._HEAD.unpack_from(self.memory)
        self.check = check.rstrip(b"\0").decode() or "replies"  # they are asked for before all examples
        if not size:  # the time was over before the first example
            return Example(b"")
        return _loaded(json.loads(self.memory[self._HEAD.size : self._HEAD.size + size]))


class _Run:
    def __init__(
        self,
        protocol: Protocol,
        golden: Sequence[Golden],
        seed: int,
        report: Callable[[str], None],
        folder: Path,
    ) -> None:
        self.protocol = protocol
        self.golden = golden
        self.seed = seed
        self.report = report
        self.folder = folder
        self.result = Result()
        self.known: set[str] = set()
        self.crashes = 0
        self.started = self.told = time.monotonic()

    def until(self, end: float, rounds: int | None) -> None:
        number = 0
        # One round at least, however late it is by now.
        while (
            (number == 0 or time.monotonic() < end)
            and number != rounds
            and len(self.result.finds) < MOST_FINDS
        ):
            self.round(number, end)
            number += 1
            if self.result.broken:
                break
            if self.crashes > MOST_FINDS:
                self.report("the same crashes again and again: stopped")
                break
            self.tell(_Board())

    def tell(self, board: _Board) -> None:
        """What it is doing, each few seconds."""
        if time.monotonic() < self.told + _TOLD:
            return
        self.told = time.monotonic()
        examples, accepted, draws = board.counts()
        so_far = replace(
            self.result,
            examples=self.result.examples + examples,
            accepted=self.result.accepted + accepted,
            seconds=time.monotonic() - self.started,
        )
        draws &= isinstance(self.protocol.wire, WireFormat)
        self.report(f"{so_far}; " + ("drawing frames from the declaration" if draws else "trying frames"))

    def round(self, number: int, end: float) -> None:
        """One round in a child."""
        board = _Board()
        before = _busy()
        told, status = _forked(
            lambda writing: self._child(number, end, board, writing), lambda: self.tell(board)
        )
        self.result.busy += _busy() - before
        example = board.read()
        self.result.examples += board.examples
        self.result.accepted += board.accepted
        for one in told:
            if "find" in one:
                self.found(Violation(*one["find"]), _loaded(one["example"]), one["key"])
            self.result.outcomes.update(one.get("outcomes", ()))
            self.result.drawn.update(one.get("drawn", {}))
            self.result.refused.update(one.get("refused", {}))
            self.result.broken = one.get("broken", self.result.broken)
        if status != 0 and not self.result.broken:
            violation = _ended(board.check, status)
            self.crashes += 1
            self.found(violation, example, _key(violation))

    def _child(self, number: int, end: float, board: _Board, writing: int) -> None:
        invariants = Invariants(self.protocol, board.enter)
        drawn: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        drawing = examples(self.protocol, self.golden, self.seed, number, drawn)
        seen: set[str] = set()
        known = set(self.known)
        new = None
        while (number == 0 and not board.examples) or time.monotonic() < end:
            try:
                example = drawing.send(new)
            except StopIteration:
                break
            board.put(example)
            signal.alarm(PATIENCE)
            new = False
            try:
                accepted, outcome = invariants.holds(example)
                label = hashlib.sha1(repr(outcome).encode(), usedforsecurity=False).hexdigest()[:12]
                new = label not in seen
                seen.add(label)
                board.accepted += accepted
                if not accepted and refused.total() < _EXPLAINED:
                    refused[_refusal(self.protocol, example.client)] += 1
            except Violation as violation:
                if (key := _key(violation)) not in known:
                    known.add(key)
                    find = [violation.check, violation.why]
                    _tell(writing, {"find": find, "key": key, "example": _saved(example)})
            signal.alarm(0)
            board.examples += 1
            board.enter("")
        _tell(writing, {"outcomes": sorted(seen), "drawn": drawn, "refused": refused})

    def found(self, violation: Violation, example: Example, key: str) -> None:
        """Make it small, save it, tell about it."""
        if key in self.known or len(self.result.finds) >= MOST_FINDS:
            return
        self.known.add(key)
        self.report(f"found: {violation}; making it small")
        small = _Smallest(self.protocol, example, violation)
        try:
            small.search()
        finally:  # Ctrl-C: as small as it is
            self.save(small.example, small.violation)

    def save(self, small: Example, violation: Violation) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = {
            "protocol": self.protocol.name,
            "check": violation.check,
            "why": violation.why,
            "seed": self.seed,
            "example": _saved(small),
        }
        text = json.dumps(saved, indent=1) + "\n"
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]
        path = self.folder / f"fuzz-{self.protocol.name}-{violation.check}-{digest}.json"
        path.write_text(text)
        self.result.finds.append(Find(violation.check, violation.why, small, path))
        self.report(f"  {violation}\n  client {_shown(small.client)} upstream {_shown(small.upstream)}")
        self.report(f"  saved: {path}")


def _shown(data: bytes) -> str:
    """In hex, as much as a few lines hold; the saved example has all."""
    more = f"... ({len(data)} bytes)" if len(data) > _SHOWN else ""
    return (data[:_SHOWN].hex() or "-") + more


def _busy() -> float:
    """Seconds of the processor's time that ended children took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _refusal(protocol: Protocol, data: bytes) -> str:
    """Why there is no frame of a client in front, alike for those that are alike."""
    data = native.sent_by("client", data)
    if isinstance(protocol.wire, WireFormat):
        try:
            protocol.wire.message(data)
        except (EOFError, RemoteProtocolError) as error:
            return re.sub(r"[0-9]+", "N", re.sub(r"^at byte [0-9]+: ", "", str(error)))[:200]
    seen = native.frame(protocol.wire.address, data, LIMIT) if data else None
    if seen is None or seen.result >= 0:
        return "no whole frame"
    return f"{native.RESULTS.get(seen.result, seen.result)}, at byte {seen.error_at}"


def _forked(
    work: Callable[[int], None], waiting: Callable[[], None] = lambda: None
) -> tuple[list[dict[str, Any]], int]:
    """Run it in a child of its own.

    Args:
        work: told the descriptor that it may ``_tell`` things to.
        waiting: called each few seconds.

    Returns:
        What it told, and how it ended (``os.waitpid``).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until there is somebody to end the child
    child = os.fork()
    if child == 0:
        code = 3
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            faulthandler.disable()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            work(writing)
            code = 0
        except BaseException as error:  # noqa: BLE001  # nothing of the parent's may run in the child
            where = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__}: {error} (line {where.lineno} of {where.filename})"
            _tell(writing, {"broken": why})
        finally:
            os._exit(code)
    os.close(writing)
    data = b""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while True:
            if not select.select([reading], [], [], _TOLD)[0]:
                waiting()
                continue
            if not (part := os.read(reading, 1 << 16)):
                break
            data += part
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    return [json.loads(line) for line in data.splitlines()], status


def _tell(fd: int, what: dict[str, Any]) -> None:
    data = json.dumps(what).encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]


def _alone(protocol: Protocol, example: Example) -> Violation | None:
    """Try one example in a process of its own."""
    board = _Board()
    board.put(example)

    def work(writing: int) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a sanitizer's report, a thousand times
        signal.alarm(PATIENCE)
        try:
            Invariants(protocol, board.enter).holds(example)
        except Violation as violation:
            _tell(writing, {"find": [violation.check, violation.why]})

    told, status = _forked(work)
    board.read()
    if told and "broken" in told[0]:
        raise ProtokitError(f"the fuzzer itself broke: {told[0]['broken']}")
    if status != 0:
        return _ended(board.check, status)
    return Violation(*told[0]["find"]) if told else None


def _ended(check: str, status: int) -> Violation:
    """What a process that did not end by itself shows."""
    if not os.WIFSIGNALED(status):  # a sanitizer's way
        return Violation(check, f"the process ended with {os.WEXITSTATUS(status)}")
    number = signal.Signals(os.WTERMSIG(status))
    what = {
        signal.SIGSEGV: "a read or write outside of the bytes that it was given",
        signal.SIGALRM: f"it did not end within {PATIENCE} s",
    }.get(number, "the process crashed")
    return Violation(check, f"{number.name}: {what}")


def _key(violation: Violation) -> str:
    """The same for what is likely the same fault."""
    words = [word for word in violation.why.replace("=", " ").replace("(", " ").split() if word.isalpha()]
    return f"{violation.check}: {' '.join(words[:6])}"


# Making it small.


class _Smallest:
    """Looks for the smallest example that shows the same fault."""

    def __init__(self, protocol: Protocol, example: Example, violation: Violation) -> None:
        self.protocol = protocol
        self.example = example
        self.violation = violation
        self.key = _key(violation)
        self.end = 0.0

    def search(self) -> None:
        self.end = time.monotonic() + _SHRINK_SECONDS
        before = None
        while before != self.example and time.monotonic() < self.end:
            before = self.example
            self.shows(replace(self.example, how=None))
            for one in self.example.how or ():
                self.shows(replace(self.example, how=tuple(o for o in self.example.how or () if o != one)))
            self.shows(replace(self.example, cuts=()))
            for name in ("upstream", "client"):
                self.shorten(name)

    def shows(self, candidate: Example) -> bool:
        if candidate == self.example or time.monotonic() > self.end:
            return False
        seen = _alone(self.protocol, candidate)
        if seen is None or _key(seen) != self.key:
            return False
        self.violation, self.example = seen, candidate
        return True

    def shorten(self, name: str) -> None:
        """Take out ever smaller pieces, then make bytes 0."""
        data: bytes = getattr(self.example, name)
        size = len(data)
        while size:
            at = 0
            while at < len(data):
                candidate = data[:at] + data[at + size :]
                if self.shows(replace(self.example, **{name: candidate})):  # type: ignore[arg-type]
                    data = candidate
                else:
                    at += size
            size //= 2
        data = self.shorten_counted(name, data)
        for at in range(len(data)):
            candidate = data[:at] + b"\0" + data[at + 1 :]
            if self.shows(replace(self.example, **{name: candidate})):  # type: ignore[arg-type]
                data = candidate

    def shorten_counted(self, name: str, data: bytes) -> bytes:
        """Take out pieces that a byte in front counts."""
        for size in (64, 8, 1):
            at = 1
            while at + size <= len(data):
                for count in range(max(0, at - 32), at):
                    if data[count] < size:
                        continue
                    less = bytes([data[count] - size])
                    candidate = data[:count] + less + data[count + 1 : at] + data[at + size :]
                    if self.shows(replace(self.example, **{name: candidate})):  # type: ignore[arg-type]
                        data = candidate
                        break
                else:
                    at += 1
        return data


# Saving.


def _saved(example: Example) -> dict[str, Any]:
    return {
        "client": example.client.hex(),
        "upstream": example.upstream.hex(),
        "cuts": list(example.cuts),
        "how": None if example.how is None else list(example.how),
    }


def _loaded(saved: dict[str, Any]) -> Example:
    how = saved["how"]
    return Example(
        bytes.fromhex(saved["client"]),
        bytes.fromhex(saved["upstream"]),
        tuple(saved["cuts"]),
        None if how is None else tuple(how),
    )
