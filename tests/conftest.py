"""What tests share: the toy protocol, built from the installed public headers as a plugin would be."""

from __future__ import annotations

import importlib.util
import struct
import sys
from pathlib import Path

import pytest
from cffi import FFI

import protokit
from protokit import native

HERE = Path(__file__).parent
REPO = HERE.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", type=int, default=40, help="random worlds of each kind")
    parser.addoption("--shrink", action="store_true", help="make a failing random world small (minutes)")


class Toy:
    """The toy protocol (toy/toy.c) from Python: a codec's address and frames from plain values."""

    REQUEST, ONEWAY, RESPONSE, HEARTBEAT, HEARTBEAT_ACK, DRAIN, UNDRAIN, IGNORE = range(1, 9)

    def __init__(self, name: str, address: int, id_bytes: int) -> None:
        self.name = name
        self.address = address
        self.id_bytes = id_bytes

    def frame(self, kind: int, request_id: int = 0, body: bytes = b"", status: int = 0) -> bytes:
        head = bytes([0x7E, kind, status]) + request_id.to_bytes(8, "big")[8 - self.id_bytes :]
        return head + struct.pack(">H", len(body)) + body

    def request(self, request_id: int, body: bytes = b"svc m x", *, oneway: bool = False) -> bytes:
        return self.frame(self.ONEWAY if oneway else self.REQUEST, request_id, body)

    def split(self, data: bytes) -> tuple[list[tuple[int, int, int, bytes]], bytes]:
        """(kind, status, id, body) of each whole frame, and the rest."""
        found = []
        front = 5 + self.id_bytes
        while len(data) >= front:
            size = front + int.from_bytes(data[front - 2 : front], "big")
            if len(data) < size:
                break
            assert data[0] == 0x7E, data[:16]
            request_id = int.from_bytes(data[3 : 3 + self.id_bytes], "big")
            found.append((data[1], data[2], request_id, data[front:size]))
            data = data[size:]
        return found, data


def build_toy(folder: Path) -> object:
    ffi = FFI()
    ffi.cdef("uintptr_t toy_codec(int which);")
    source = (HERE / "toy" / "toy.c").read_text()
    ffi.set_source(
        "protokit_test_toy",
        source,
        include_dirs=[protokit.get_include()],
        extra_compile_args=["-std=c11", "-O1"],
    )
    path = ffi.compile(str(folder))
    spec = importlib.util.spec_from_file_location("protokit_test_toy", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["protokit_test_toy"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Toy]:
    module = build_toy(tmp_path_factory.mktemp("toy"))
    kinds = [("wide", 8), ("narrow", 1), ("ordered", 0), ("pingpong", 0)]
    found = {}
    for number, (name, size) in enumerate(kinds):
        address = module.lib.toy_codec(number)  # type: ignore[attr-defined]
        native.check_codec(address, name)
        found[name] = Toy(name, address, size)
    return found


@pytest.fixture(scope="session")
def wide(toys: dict[str, Toy]) -> Toy:
    return toys["wide"]
