"""Python in a process whose numbers have a comma for a point, as Germans write them."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

MAGIC = 0x20031115 ^ 1  # of glibc's LC_NUMERIC
CHOOSE = """
import locale, platform
try:
    locale.setlocale(locale.LC_NUMERIC, "comma")
except locale.Error:  # of a C library that knows no locales but its own
    assert platform.libc_ver()[0] != "glibc"
"""


def numeric() -> bytes:
    """LC_NUMERIC as localedef makes it: point, separator, grouping, the first two in wide characters, ..."""
    values = [
        b",\0",
        b".\0",
        b"\3\3\0\0",
        struct.pack("=I", ord(",")),
        struct.pack("=I", ord(".")),
        b"ANSI_X3.4-1968\0",
    ]
    head = 8 + 4 * len(values)
    places = [head + sum(map(len, values[:number])) for number in range(len(values))]
    return struct.pack(f"={2 + len(values)}I", MAGIC, len(values), *places) + b"".join(values)


def run(folder: Path, code: str) -> str:
    """What a script prints there."""
    (folder / "comma").mkdir()
    (folder / "comma" / "LC_NUMERIC").write_bytes(numeric())
    paths = os.pathsep.join(one for one in sys.path if one)
    done = subprocess.run(
        [sys.executable, "-c", CHOOSE + code],
        env={**os.environ, "LOCPATH": str(folder), "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout
