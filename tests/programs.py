"""Compiled programs taken apart and put together again, right or wrong."""

from __future__ import annotations

import contextlib
import re
import struct
from pathlib import Path

from protokit import ProtokitError, Status, native
from protokit.wire.program import OPS

NAMES = {number: name for name, number in OPS.items()}
SIZES = {
    "uint32_t": 4,
    "int32_t": 4,
    "uint64_t": 8,
    "pk_program_range": 8,
    "pk_program_place": 4,
    "pk_program_id": 20,
}


def header():
    """Where each member of pk_program stands; the items of an array are its name with their number."""
    text = (Path(__file__).parents[1] / "native" / "src" / "wire" / "program.h").read_text()
    text = re.search(r"typedef struct pk_program \{(.*?)\} pk_program;", text, re.DOTALL)[1]
    found, at = {}, 0
    for type_, names in re.findall(r"(\w+) ([^;]+);", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)):
        for name, count in re.findall(r"(\w+)(?:\[(\d+)\])?", names):
            at += -at % min(SIZES[type_], 8 if type_ == "uint64_t" else 4)
            found[name] = at
            at += SIZES[type_] * int(count or 1)
    return found


HEADER = header()
RANGES = HEADER["insns"]  # where the (at, count) of each array begin
KINDS = {"insns": (0, 8), "maps": (6, 32), "keys": (7, 8), "checksums": (9, 28), "operands": (10, 4)}
KINDS |= {"replies": (11, 4), "tests": (12, 32), "shapes": (13, 128), "counters": (14, 8), "tables": (4, 16)}
KINDS |= {"parts": (15, 8)}
OTHERS = {"literals": (2, 8), "delimiters": (3, 8), "entries": (5, 16), "steps": (8, 16)}
OTHERS |= {"measures": (18, 16), "arguments": (19, 16)}
INSN = struct.Struct("=BBBBi")


def place_of(image, kind):
    """(where it begins, how many items, bytes of one)."""
    index, size = {**KINDS, **OTHERS}[kind]
    at, count = struct.unpack_from("=2I", image, RANGES + 8 * index)
    return at, count, size


def insns(image):
    """[name, a, b, c, i] of each instruction."""
    at, count, size = place_of(image, "insns")
    found = [INSN.unpack_from(image, at + size * n) for n in range(count)]
    return [[NAMES[op], *operands] for op, *operands in found]


def with_insns(image, changed):
    """The same program of as many other instructions."""
    at, count, size = place_of(image, "insns")
    assert len(changed) == count
    made = bytearray(image)
    for number, (name, *operands) in enumerate(changed):
        INSN.pack_into(made, at + size * number, OPS.get(name, 255), *operands)
    return bytes(made)


class Runner:
    """Gives a codec frames that end where memory cannot be read, and asks all that can be asked of them."""

    def __init__(self, room=1 << 12):
        self.guarded = native.Guarded(room)
        self.room = room

    def run(self, codec, data, limit=1 << 16):
        data = data[: self.room]
        native.probe(codec, self.guarded.put(data))
        message = native.frame(codec, self.guarded.put(data), limit)
        with contextlib.suppress(ProtokitError):
            kept = native.keep(codec, self.guarded.put(data), limit)
            assert len(kept) <= 256
            native.error(codec, 4, 7, message.context, b"why not", kept)
            native.error(codec, 4, 7, message.context, b"why not", data[:256])
            native.drain(codec, message.context, data[-256:])
        if message.result != 0:
            return message
        frame = data[: message.size]
        assert 0 < message.size <= len(data)
        assert 1 <= message.kind <= native.KIND_GREETING
        assert message.status in list(Status)
        asks = [
            native.heartbeat_ack,
            *(lambda codec, data, at=at: native.argument(codec, data, at) for at in range(3)),
        ]
        asks += [native.request] if message.kind in {native.KIND_REQUEST, native.KIND_ONEWAY} else []
        asks += [lambda codec, data: native.patch_id(codec, data, 7)] if native.rewrites_ids(codec) else []
        for ask in asks:
            with contextlib.suppress(ProtokitError, IndexError):
                ask(codec, self.guarded.put(frame))
        return message
