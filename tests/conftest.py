"""What tests share: the toy protocol, built from the installed public headers as a plugin would be."""

from __future__ import annotations

import collections
import gc
import importlib.util
import os
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import fewer
import pytest
import running
from cffi import FFI
from hypothesis import settings
from hypothesis.core import given  # Hypothesis's own, also where mutants are run by tests that may not draw
from hypothesis.strategies import none

import protokit
from protokit import WireFormat, native

HERE = Path(__file__).parent
REPO = HERE.parent
MANY = 40  # cases of a test, each of which is short

# How long an example takes is the machine's affair, not a test's.
settings.register_profile("protokit", settings(), deadline=None)
settings.load_profile("protokit")

# Who runs the tests in the background has them ignore Ctrl-C, and with them all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", type=int, default=40, help="random worlds of each kind")
    parser.addoption("--drawn", type=int, help="random frames of a declared protocol's kit, at most, a check")
    parser.addoption("--quick", action="store_true", help="a fifth of what is random")
    parser.addoption("--shrink", action="store_true", help="make a failing random world small (minutes)")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """While tests are collected there is no garbage: looking for it took a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Twenty thousand tests stay until the end: no collection of garbage looks at them again.

    Hypothesis makes its source of random numbers at its first test, and warns where nothing is seen to hold
    it: older versions keep it in a module, and what is frozen is not seen.
    """
    given(none())(lambda nothing: None)()
    gc.collect()
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Of each test that passed its name, in the file where a run of several parts collects them."""
    ran = os.environ.get("PROTOKIT_TESTS_RAN")
    passed = report.when == "call" and report.passed and not hasattr(report, "wasxfail")
    # Those vectors stand beside the repository, or nowhere: without them their tests do nothing.
    passed |= report.skipped and "no shared wire vectors here" in str(report.longrepr)
    if ran and passed and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(ran).open("a") as file:
            file.write(report.nodeid + "\n")


@pytest.fixture
def frozen() -> None:
    """A test that collects garbage again and again looks at what it has made itself only."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    fewer.quick = config.getoption("--quick")
    fewer.slow = config.option.markexpr != "not slow"
    if fewer.quick:
        config.option.examples //= 5
    config.pluginmanager.register(running.Watch())
    running.be_brief(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The kit's classes, in whatever folder they are."""
    classes = {item.cls for item in items if isinstance(item, pytest.Function)}
    kits = [one for one in classes if hasattr(one, "examples")]
    for kit in kits if config.getoption("--quick") else ():
        kit.examples //= 5
    most = config.getoption("--drawn")
    for kit in kits if most is not None else ():
        if isinstance(kit.protocol.wire, WireFormat):
            kit.examples = min(kit.examples, most)
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        items[:] = in_turn(items, workers)


def in_turn(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """An order in which no process waits long for another one's last test.

    Each begins with some of the tests that have a time of their own by a mark, goes on with a share of those
    that may take long, and ends on cases of those that have many: xdist deals out the list in as many parts,
    and who is done takes from the end of another's.
    """
    tests = [item.nodeid.partition("[")[0] for item in items]
    cases = collections.Counter(tests)
    longest: list[pytest.Item] = []
    long: list[pytest.Item] = []
    short: list[pytest.Item] = []
    for item, test in zip(items, tests, strict=True):
        few = long if item.get_closest_marker("timeout") is None else longest
        (short if cases[test] > MANY else few).append(item)
    return [
        item
        for worker in range(workers)
        for kind in (longest[worker::workers], share(long, worker, workers), share(short, worker, workers))
        for item in kind
    ]


def share(items: list[pytest.Item], worker: int, workers: int) -> list[pytest.Item]:
    """What stands side by side, and may have a module's fixtures in common, for the most part stays so."""
    return items[len(items) * worker // workers : len(items) * (worker + 1) // workers]


class Toy:
    """The toy protocol (toy/toy.c) from Python: a codec's address and frames from plain values."""

    REQUEST, ONEWAY, RESPONSE, HEARTBEAT, HEARTBEAT_ACK, DRAIN, UNDRAIN, IGNORE, GREETING, PIECE = range(
        1, 11
    )
    MORE = 0x80  # in the status: more of it follows

    def __init__(
        self, name: str, address: int, id_bytes: int, start: int = 0x7E, *, named: bool = False
    ) -> None:
        self.name = name
        self.address = address
        self.id_bytes = id_bytes
        self.start = start
        self.named = named  # ids are digits, as many as they take

    def frame(self, kind: int, request_id: int = 0, body: bytes = b"", status: int = 0) -> bytes:
        head = bytes([self.start, kind, status])
        if self.named:
            digits = b"%d" % request_id
            head += bytes([len(digits)]) + digits
        else:
            head += request_id.to_bytes(8, "big")[8 - self.id_bytes :]
        return head + struct.pack(">H", len(body)) + body

    def request(self, request_id: int, body: bytes = b"svc m x", *, oneway: bool = False) -> bytes:
        return self.frame(self.ONEWAY if oneway else self.REQUEST, request_id, body)

    def greet(self, who: str, *, status: int = 0, leave: bool = False) -> bytes:
        """What one side says before requests, unasked; the last of it with that status.

        ``leave``: without what it may leave out.
        """
        steps, begun = [], ""
        for n, side in enumerate(native.greeting(self.address)):
            option = native.greeting_options(self.address)[n]
            begun = side if option == "may" else begun if option == "with" else ""
            unasked = begun == "server" and who == "client"  # the proxy asks no client
            if side == who and not (leave and begun == who) and not unasked:
                steps.append(n)
        return b"".join(
            self.frame(self.GREETING, 0, b"hello %x" % n, status if n == steps[-1] else 0) for n in steps
        )

    def split(self, data: bytes) -> tuple[list[tuple[int, int, int, bytes]], bytes]:
        """(kind, status, id, body) of each whole frame, and the rest."""
        found = []
        while True:
            width = data[3] + 1 if self.named and len(data) > 3 else self.id_bytes
            front = 5 + width
            if len(data) < front:
                break
            size = front + int.from_bytes(data[front - 2 : front], "big")
            if len(data) < size:
                break
            assert data[0] == self.start, data[:16]
            request_id = (
                int(data[4 : 3 + width] or b"0") if self.named else int.from_bytes(data[3 : 3 + width], "big")
            )
            found.append((data[1], data[2], request_id, data[front:size]))
            data = data[size:]
        return found, data


def build_toy(folder: Path, name: str = "toy", declared: str = "uintptr_t toy_codec(int which);") -> object:
    """The module of the codecs in toy/``name``.c."""
    ffi = FFI()
    ffi.cdef(declared)
    source = (HERE / "toy" / f"{name}.c").read_text()
    ffi.set_source(
        f"protokit_test_{name}",
        source,
        include_dirs=[protokit.get_include()],
        extra_compile_args=["-std=c11", "-O1"],
    )
    path = next(map(str, folder.glob(f"protokit_test_{name}*.so")), None) or ffi.compile(str(folder))
    spec = importlib.util.spec_from_file_location(f"protokit_test_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"protokit_test_{name}"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Toy]:
    kept = os.environ.get("PROTOKIT_TEST_TOY")  # where many runs share one build
    module = build_toy(Path(kept) if kept else tmp_path_factory.mktemp("toy"))
    kinds = [("wide", 8), ("narrow", 1), ("ordered", 0), ("pingpong", 0)]
    kinds += [("other", 8), ("polite", 8), ("hosting", 8), ("own", 8), ("named", 8), ("shy", 8), ("brief", 2)]
    kinds += [
        ("modest", 8),
        ("long", 8),
        ("relayed", 8),
        ("choosy", 8),
        ("read", 8),
        ("mistaken", 8),
        ("banner", 8),
        ("edited", 8),
        ("edited in order", 0),
        ("edited alone", 0),
    ]
    named = {"named", "read", "mistaken"}
    found = {}
    for number, (name, size) in enumerate(kinds):
        address = module.lib.toy_codec(number)  # type: ignore[attr-defined]
        native.check_codec(address, name)
        found[name] = Toy(name, address, size, 0x7D if name == "other" else 0x7E, named=name in named)
    return found


@pytest.fixture(scope="session")
def wide(toys: dict[str, Toy]) -> Toy:
    return toys["wide"]


class Lines:
    """The protocol of lines (toy/lines.c): addresses of its kinds, and what its framing counted.

    Attributes:
        address: of each kind, by name.
    """

    def __init__(self, module: object) -> None:
        self._lib = module.lib  # type: ignore[attr-defined]
        names = ("ordered", "pingpong", "multiplexed")
        names += ("ordered-ids", "pingpong-ids", "ordered-names", "pingpong-names")
        self.address = {name: self._lib.lines_codec(number) for number, name in enumerate(names)}

    def looked(self) -> int:
        """Bytes that framing has looked at."""
        return int(self._lib.lines_looked())

    def ended(self) -> int:
        """How often framing was asked at a peer's end."""
        return int(self._lib.lines_ended())

    def whose(self) -> int:
        """Who sent what was framed last (PK_FROM_*)."""
        return int(self._lib.lines_from())


LINES = """
uintptr_t lines_codec(int which);
uint64_t lines_looked(void);
uint64_t lines_ended(void);
uint32_t lines_from(void);
"""


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    kept = os.environ.get("PROTOKIT_TEST_TOY")
    found = Lines(build_toy(Path(kept) if kept else tmp_path_factory.mktemp("lines"), "lines", LINES))
    for name, address in found.address.items():
        native.check_codec(address, name)
    return found
