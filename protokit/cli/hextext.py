"""Bytes from hex text: plain digits in any grouping, or dumps as xxd, hexdump -C, od and Wireshark print."""

from __future__ import annotations

import re

from protokit.errors import ProtokitError

_DIGITS = re.compile(r"[0-9a-fA-F]+")
_LOOKS = re.compile(rb"\s*(?:0x|\\x)?[0-9a-fA-F]{2}")
_PLAIN = re.compile(r"0[xX]|\\x|[\s,:;]+")
_LINE = re.compile(r"\s*(?:0x)?([0-9a-fA-F]{4,16})(:?)(?:\s+(.*))?$")
_COLON_GUTTER = re.compile(r"(?<=\S)\s{2,}")
_GUTTER = re.compile(r"\s+[|>](?=.*[|<]$)|(?<=\S)\s{3,}")
_MOST = 64 << 20


def looks_like_hex(front: bytes) -> bool:
    """Whether these are the first bytes of hex text: printable, and it begins with two hex digits."""
    printable = all(32 <= byte < 127 or byte in b"\t\r\n" for byte in front)
    return printable and _LOOKS.match(front) is not None


def parse(text: str) -> bytes:
    """The bytes that hex text means.

    Raises:
        ProtokitError: it is not hex; says in which line and column what was seen.
    """
    lines = text.splitlines()
    dump = _dump(lines)
    return _plain(lines) if dump is None else dump


def dump(data: bytes, at: int = 0) -> list[str]:
    """Offsets, hex and characters side by side, 16 bytes a line.

    Args:
        data: the bytes.
        at: the offset of the first.
    """
    found = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        found.append(f"{at + start:>6}  {row.hex(' '):<47}  {shown}")
    return found


def _plain(lines: list[str]) -> bytes:
    digits: list[str] = []
    count = 0
    last = (1, 1)
    for number, line in enumerate(lines, 1):
        at = 0
        while at < len(line):
            if match := _PLAIN.match(line, at):
                at = match.end()
                continue
            match = _DIGITS.match(line, at)
            if match is None:
                raise ProtokitError(
                    f"line {number}, column {at + 1}: {line[at : at + 10]!r} seen, hex digits expected"
                )
            digits.append(match[0])
            count += len(match[0])
            last = (number, at + 1)
            at = match.end()
    if count % 2:
        raise ProtokitError(
            f"line {last[0]}, column {last[1]}: {count} hex digits seen, an even number expected"
        )
    return bytes.fromhex("".join(digits))


def _dump(lines: list[str]) -> bytes | None:
    """The bytes of a dump with offsets; None where the text is none."""
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    matches = [None if line.strip() == "*" else _LINE.match(line) for _, line in rows]
    first = matches[0] if matches else None
    if first is None or int(first[1], 16) != 0:
        return None
    spaced = first.string[first.end(1) :].startswith("  ")
    if not first[2] and "  |" not in (first[3] or "") and (len(rows) > 1 or not spaced):
        for base in (16, 8, 10):  # od's own way is octal
            offsets = [_offset(match, base) for match in matches]
            if _fits(matches, offsets):
                return _rows(rows, matches, offsets)
        if not spaced:
            return None
    return _rows(rows, matches, [_offset(match, 16) for match in matches])


def _offset(match: re.Match[str] | None, base: int) -> int | None:
    try:
        return int(match[1], base) if match else None
    except ValueError:
        return None


def _fits(matches: list[re.Match[str] | None], offsets: list[int | None]) -> bool:
    """Whether what looks like offsets counts the bytes of the lines."""
    for match, offset, following in zip(matches, offsets, offsets[1:], strict=False):
        if match is not None and following is not None:
            size = sum(len(word) for word in _words(match)) // 2
            if offset is None or not 0 < following - offset == size:
                return False
    return len(matches) > 1


def _words(match: re.Match[str]) -> list[str]:
    """What stands between a line's offset and the characters that it ends with."""
    gutter = _COLON_GUTTER if match[2] else _GUTTER
    return gutter.split(" " + (match[3] or "").strip(), maxsplit=1)[0].split()


def _rows(
    rows: list[tuple[int, str]], matches: list[re.Match[str] | None], offsets: list[int | None]
) -> bytes:
    found = bytearray()
    previous = b""
    for i, ((number, line), match, offset) in enumerate(zip(rows, matches, offsets, strict=True)):
        following = next((one for one in offsets[i + 1 : i + 2] if one is not None), None)
        if match is None and line.strip() == "*" and previous and following is not None:
            if following > _MOST:
                raise ProtokitError(f"line {number}: the dump is larger than {_MOST} bytes")
            while len(found) < following:
                found += previous
            continue
        if match is None or offset is None:
            raise ProtokitError(
                f"line {number}: {line.strip()[:20]!r} seen, an offset and hex bytes expected"
            )
        if offset != len(found):
            raise ProtokitError(
                f"line {number}: offset {match[1]} seen, {len(found):0{len(match[1])}x} expected"
            )
        previous = _row(number, match)
        if following is not None and following != offset + len(previous):
            raise ProtokitError(f"line {number}: {len(previous)} bytes seen, {following - offset} expected")
        found += previous
    return bytes(found)


def _row(number: int, match: re.Match[str]) -> bytes:
    words = _words(match)
    for word in words:
        if not _DIGITS.fullmatch(word) or len(word) % 2:
            raise ProtokitError(f"line {number}: {word[:20]!r} seen, pairs of hex digits expected")
        if len(word) > 2 and not match[2]:
            raise ProtokitError(
                f"line {number}: {word[:20]!r} seen, single bytes expected: words have the order of the"
                " machine that printed them (use hexdump -C, od -t x1 or xxd)"
            )
    return bytes.fromhex("".join(words))
