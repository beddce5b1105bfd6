"""MessagePack (msgpack.org, the specification)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.wire.structures.family import Entry, Family, Input, Key, integer

if TYPE_CHECKING:
    from collections.abc import Sequence


class MessagePack(Family):
    """Maps and arrays of MessagePack.

    A type is ``nil``, ``boolean``, ``integer``, ``text``, ``array``, ``map`` or ``other``.
    """

    name = "msgpack"
    empty = b"\x80"

    def nest(self, key: Key, inner: bytes) -> bytes:
        """A structure around another."""
        if isinstance(key, int):
            return bytes([0x90 | key + 1]) + b"\xc0" * key + inner
        return b"\x81" + self._written(key) + inner

    def section(self, raw: bytes) -> Entry:
        """A whole section."""
        data = Input(raw)
        kind, _, _ = self._open(data)
        data.at = 0
        self._past(data, 1)
        return Entry(None, kind, raw[: data.at], raw[data.at :])

    def _open(self, data: Input) -> tuple[str, Any, int]:
        """(type, integer or text, values inside)."""
        (tag,) = data.take(1)
        if tag <= 0x7F or tag >= 0xE0:
            return "integer", tag if tag <= 0x7F else tag - 256, 0
        if tag <= 0x9F:
            return ("map", None, 2 * (tag & 15)) if tag <= 0x8F else ("array", None, tag & 15)
        if tag <= 0xBF:
            return "text", data.take(tag & 31), 0
        if tag in {0xC0, 0xC2, 0xC3}:
            return "nil" if tag == 0xC0 else "boolean", tag & 1, 0
        for first, last, kind in ((0xC4, 0xC6, "text"), (0xD9, 0xDB, "text"), (0xC7, 0xC9, "other")):
            if first <= tag <= last:
                return kind, data.take(data.number(1 << tag - first) + int(kind == "other")), 0
        for first, signed in ((0xCC, False), (0xD0, True)):
            if first <= tag <= first + 3:
                return "integer", int.from_bytes(data.take(1 << tag - first), "big", signed=signed), 0
        if tag in {0xCA, 0xCB} or 0xD4 <= tag <= 0xD8:
            return "other", data.take(4 << tag - 0xCA if tag <= 0xCB else (1 << tag - 0xD4) + 1), 0
        if 0xDC <= tag <= 0xDF:
            count = data.number(2 if tag in {0xDC, 0xDE} else 4)
            return ("array", None, count) if tag <= 0xDD else ("map", None, 2 * count)
        raise RemoteProtocolError(f"msgpack: {tag:02x} is no value", data.at - 1)

    def _past(self, data: Input, values: int) -> None:
        while values > 0:
            if values > data.left:
                raise RemoteProtocolError(f"msgpack: {values} values with {data.left} bytes left", data.at)
            values += self._open(data)[2] - 1

    def entries(self, raw: bytes, type_: Any) -> list[Entry] | None:
        """What is in a structure."""
        data = Input(raw)
        _, _, inside = self._open(data)
        if type_ == "array":
            return [self._value(data, i, b"") for i in range(inside)]
        if type_ != "map":
            return None
        found = []
        for _ in range(inside // 2):
            start = data.at
            kind, value, _ = self._open(data)
            data.at = start
            self._past(data, 1)
            key = value if kind == "integer" else None
            if kind == "text":
                key = value.decode("utf-8", "surrogateescape")
            found.append(self._value(data, key, data.data[start : data.at]))
        return found

    def _value(self, data: Input, key: Key | None, label: bytes) -> Entry:
        start = data.at
        kind, _, _ = self._open(data)
        data.at = start
        self._past(data, 1)
        return Entry(key, kind, data.data[start : data.at], label, start)

    def is_id(self, raw: bytes) -> bool:
        """A text or an integer."""
        data = Input(raw)
        try:
            return self._open(data)[0] in {"text", "integer"} and not data.left
        except RemoteProtocolError:
            return False

    def text(self, entry: Entry) -> bytes | None:
        """What an entry says."""
        kind, value, _ = self._open(Input(entry.raw))
        if kind == "nil":
            return None
        if kind == "boolean":
            return b"true" if value else b"false"
        return value if kind == "text" else str(value).encode() if kind == "integer" else entry.raw

    def whole(self, entries: Sequence[Entry], before: Entry) -> bytes:
        """A structure of entries."""
        count = len(entries)
        small, wide = (0x90, 0xDC) if before.type == "array" else (0x80, 0xDE)
        head = bytes([small | count]) if count < 16 else struct.pack(">BH", wide, count)
        if count >> 16:
            head = struct.pack(">BI", wide + 1, count)
        return head + b"".join(one.label + one.raw for one in entries)

    def made(self, before: Entry | None, key: Key, text: bytes, among: Entry) -> Entry:
        """An entry that says so."""
        kind = "text" if before is None else before.type
        if among.type == "array" and before is None:
            raise LocalProtocolError(f"msgpack: the array has no element {key}")
        label = b"" if among.type == "array" else before.label if before else self._written(key)
        if kind == "boolean":
            if text not in {b"true", b"false"}:
                raise LocalProtocolError(f"msgpack: {key!r} is true or false, not {text!r}")
            return Entry(key, kind, b"\xc3" if text == b"true" else b"\xc2", label)
        if kind == "integer":
            return Entry(key, kind, self._written(integer(text, f"msgpack: {key!r}")), label)
        if kind not in {"text", "nil"}:
            raise LocalProtocolError(f"msgpack: {key!r} is {kind}, and no text is put there")
        return Entry(key, "text", self._written(text.decode("utf-8", "surrogateescape")), label)

    def check_map(self, path: Sequence[Key]) -> str:  # noqa: ARG002
        """Headers may stand at any path."""
        return ""

    def is_map(self, entry: Entry) -> bool:
        """Whether what is in a structure has keys."""
        return bool(entry.type == "map")

    def map_at(self, key: Key, among: Entry) -> Entry:
        """A map with nothing in it, under a key in a map."""
        if among.type == "array":
            raise LocalProtocolError(f"msgpack: the array has no element {key}")
        return Entry(key, "map", self.empty, self._written(key))

    def said(self, entry: Entry) -> bytes | None:
        """The text that a header is; None where it is none."""
        return self.text(entry) if entry.type == "text" else None

    @staticmethod
    def _written(value: Key) -> bytes:
        if isinstance(value, str):
            raw = value.encode("utf-8", "surrogateescape")
            size = len(raw)
            forms = (
                (32, ">B", 0xA0 | size),
                (1 << 8, ">BB", 0xD9),
                (1 << 16, ">BH", 0xDA),
                (1 << 32, ">BI", 0xDB),
            )
            form, tag = next((form, tag) for most, form, tag in forms if size < most)
            return (struct.pack(form, tag) if form == ">B" else struct.pack(form, tag, size)) + raw
        if not -(1 << 63) <= value < 1 << 64:
            raise LocalProtocolError(f"msgpack: {value} does not fit 64 bits")
        if -32 <= value < 128:  # what a tag holds
            return struct.pack(">b", value)
        signs = ((0xD0, "b"), (0xD1, "h"), (0xD2, "i"), (0xD3, "q"))
        plain = ((0xCC, "B"), (0xCD, "H"), (0xCE, "I"), (0xCF, "Q"))
        for tag, form in signs if value < 0 else plain:
            bits = 8 * struct.calcsize(">" + form) - int(value < 0)
            if -(1 << bits) <= value < 1 << bits:
                return struct.pack(">B" + form, tag, value)
        raise AssertionError(value)
