"""JSON (RFC 8259), where all readers agree on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire.structures.family import NEST, Entry, Family, Input, Key, key_text

if TYPE_CHECKING:
    from collections.abc import Sequence


class Json(Family):
    """Objects and arrays of JSON. A type is the first character of a value."""

    name = "json"
    empty = b"{}"

    def check(self, key: Key, path: Sequence[Key]) -> None:  # noqa: ARG002
        """A name, or a place.

        Raises:
            DeclarationError: it is none.
        """
        if isinstance(key, int) and key < 0:
            raise DeclarationError(f"json: {key} is no place; arrays are counted from 0")

    def nest(self, key: Key, inner: bytes) -> bytes:
        """A structure around another."""
        if isinstance(key, int):
            return b"[" + b"null, " * key + inner + b" ]"
        return b"{ " + self._written(key.encode()) + b" : " + inner + b"}"

    def section(self, raw: bytes) -> Entry:
        """A whole section."""
        data = Input(raw)
        self._space(data)
        entry = self._value(data, None, b"")
        self._space(data)
        if data.left:
            raise RemoteProtocolError("json: something stands behind the value", data.at)
        return entry

    @staticmethod
    def _space(data: Input) -> None:
        while data.at < len(data.data) and data.data[data.at] in b" \t\n\r":
            data.at += 1

    def _peek(self, data: Input) -> int:
        self._space(data)
        return data.data[data.at] if data.left else 0

    def _comes(self, data: Input, char: bytes) -> bool:
        if self._peek(data) != char[0] or not data.left:
            return False
        data.at += 1
        return True

    def _text(self, data: Input) -> tuple[bytes, bool]:
        """(between the quotes, whether there are escapes)."""
        if not self._comes(data, b'"'):
            raise RemoteProtocolError("json: a text is expected", data.at)
        start, escaped = data.at, False
        while True:
            (char,) = data.take(1)
            if char < 0x20:  # controls
                raise RemoteProtocolError("json: a control character in a text", data.at)
            if char == ord('"'):
                return data.data[start : data.at - 1], escaped
            if char != ord("\\"):
                continue
            escaped = True
            kind = data.take(1)
            if kind not in b'"\\/bfnrtu':
                raise RemoteProtocolError("json: an escape of no kind", data.at)
            if kind == b"u" and not all(one in b"0123456789abcdefABCDEF" for one in data.take(4)):
                raise RemoteProtocolError("json: an escape of no character", data.at)

    def _digits(self, data: Input) -> bytes:
        start = data.at
        while data.left and data.data[data.at] in b"0123456789":
            data.at += 1
        if data.at == start:
            raise RemoteProtocolError("json: a value is expected", start)
        return data.data[start : data.at]

    def _scalar(self, data: Input) -> None:
        for word in (b"true", b"false", b"null"):
            if data.data.startswith(word, data.at):
                data.at += len(word)
                return
        at = data.data[data.at : data.at + 1]
        data.at += at == b"-"
        first = self._digits(data)
        if len(first) > 1 and first[:1] == b"0":
            raise RemoteProtocolError("json: a number begins with 0", data.at)
        if data.data[data.at : data.at + 1] == b".":
            data.at += 1
            self._digits(data)
        if data.data[data.at : data.at + 1] in {b"e", b"E"}:
            data.at += 1
            data.at += data.data[data.at : data.at + 1] in {b"+", b"-"}
            self._digits(data)

    def _name(self, data: Input) -> tuple[bytes, bool]:
        name = self._text(data)
        if not self._comes(data, b":"):
            raise RemoteProtocolError("json: ':' is expected", data.at)
        return name

    def _past(self, data: Input) -> None:
        nest: list[bool] = []
        while True:
            first = self._peek(data)
            if not data.left:
                raise RemoteProtocolError("json: a value is expected", data.at)
            if first in b"{[":
                if len(nest) == NEST:
                    raise RemoteProtocolError(f"json: values are nested over {NEST} deep", data.at)
                nest.append(first == ord("{"))
                data.at += 1
                if not self._comes(data, b"}" if nest[-1] else b"]"):
                    if nest[-1]:
                        self._name(data)
                    continue
                nest.pop()
            elif first == ord('"'):
                self._text(data)
            else:
                self._scalar(data)
            while nest and not self._comes(data, b","):
                if not self._comes(data, b"}" if nest[-1] else b"]"):
                    raise RemoteProtocolError("json: ',' or an end is expected", data.at)
                nest.pop()
            if not nest:
                return
            if nest[-1]:
                self._name(data)

    def _value(self, data: Input, key: Key | None, label: bytes) -> Entry:
        kind = chr(self._peek(data))
        start = data.at
        self._past(data)
        return Entry(key, kind, data.data[start : data.at], label, start)

    def is_id(self, raw: bytes) -> bool:
        """A text or a number."""
        data = Input(raw)
        try:
            if raw[:1] in {b"t", b"f", b"n"}:
                return False
            self._text(data) if raw[:1] == b'"' else self._scalar(data)
        except RemoteProtocolError:
            return False
        return not data.left

    def entries(self, raw: bytes, type_: Any) -> list[Entry] | None:
        """What is in a structure."""
        data = Input(raw)
        found: list[Entry] = []
        if type_ not in {"{", "["}:
            return None
        data.at = 1
        if self._comes(data, b"}" if type_ == "{" else b"]"):
            return found
        while True:
            key: Key | None = len(found)
            label = b""
            if type_ == "{":
                self._space(data)
                start = data.at
                name, escaped = self._name(data)
                key = None if escaped else name.decode("utf-8", "surrogateescape")
                label = data.data[start : data.at]
            found.append(self._value(data, key, label))
            if not self._comes(data, b","):
                return found

    def chosen(self, entries: Sequence[Entry], key: Key) -> Entry | None:
        """The one of a key."""
        if isinstance(key, int):
            return next((one for one in entries if one.key == key and not one.label), None)
        if not all(one.label for one in entries):
            return None
        if any(one.key is None for one in entries):
            raise RemoteProtocolError("json: a name in escapes stands beside the one that is looked for")
        near = [one for one in entries if _folded(str(one.key)) == _folded(key)]
        if len(near) > 1 or (near and near[0].key != key):
            raise RemoteProtocolError(f"json: {key!r} stands twice, or in another case")
        return near[0] if near else None

    def text(self, entry: Entry) -> bytes | None:
        """What an entry says."""
        if entry.type == "n":
            return None
        if entry.type != '"':
            return entry.raw
        text, escaped = self._text(Input(entry.raw))
        if escaped:
            raise RemoteProtocolError("json: a text in escapes")
        return text

    def whole(self, entries: Sequence[Entry], before: Entry) -> bytes:
        """A structure of entries."""
        ends = (b"{", b"}") if before.type == "{" else (b"[", b"]")
        return ends[0] + b",".join(one.label + one.raw for one in entries) + ends[1]

    def around(self, raw: bytes, structure: Entry, made: bytes) -> bytes:
        """The section with other bytes for its value."""
        return raw[: structure.at] + made + raw[structure.at + len(structure.raw) :]

    def made(self, before: Entry | None, key: Key, text: bytes, among: Entry) -> Entry:
        """An entry that says so."""
        if before is None and (among.type == "[" or isinstance(key, int)):
            holder = "array" if among.type == "[" else "object"
            raise LocalProtocolError(f"json: the {holder} has no element {key}")
        kind = '"' if before is None or before.type == "n" else before.type
        label = before.label if before is not None else self._written(key_text(key)) + b":"
        if kind in "{[":
            raise LocalProtocolError(f"json: {key!r} is no text, and none is put there")
        raw = self._written(text) if kind == '"' else text
        if kind != '"':
            data = Input(text)
            try:
                self._scalar(data)
            except RemoteProtocolError:
                data.at = -1
            if data.at != len(text) or (kind in "tf") != (text in {b"true", b"false"}) or text == b"null":
                raise LocalProtocolError(
                    f"json: {key!r} is {'a number' if kind not in 'tf' else 'true or false'}, and "
                    f"{text.decode('utf-8', 'replace')!r} is not"
                )
        return Entry(key, kind, raw, label)

    def check_map(self, path: Sequence[Key]) -> str:  # noqa: ARG002
        """Headers may stand at any path."""
        return ""

    def is_map(self, entry: Entry) -> bool:
        """Whether what is in a structure has keys."""
        return bool(entry.type == "{")

    def map_at(self, key: Key, among: Entry) -> Entry:
        """An object with nothing in it, under a name in an object."""
        if among.type != "{" or isinstance(key, int):
            raise LocalProtocolError(f"json: there is no element {key!r}")
        return Entry(key, "{", self.empty, self._written(key_text(key)) + b":")

    def named(self, entry: Entry) -> bytes | None:
        """A name; one in escapes may be any."""
        if entry.key is None:
            raise RemoteProtocolError("json: a name in escapes")
        return super().named(entry)

    def said(self, entry: Entry) -> bytes | None:
        """A text, and as they are written numbers and booleans."""
        return None if entry.type in {"{", "["} else self.text(entry)

    def exchanged(
        self, structure: Entry, inside: Sequence[Entry], before: Sequence[Entry], made: Entry | None
    ) -> bytes:
        """The structure's bytes with one entry in the place of the first of some, and without the others."""
        raw, end, lead = structure.raw, 1, b""
        pieces: list[tuple[bytes, bytes]] = []  # what stands in front of an entry, and that
        for one in inside:
            start = end
            while raw[start] in b" \t\n\r,":
                start += 1
            front, end = raw[end:start], one.at + len(one.raw)
            lead = front if one is inside[0] else lead
            if one not in before:
                pieces.append((front, raw[start:end]))
            elif made is not None and one is before[0]:
                pieces.append((front, raw[start : one.at] + made.raw))
        if made is not None and not before:
            pieces.append((b",", made.label + made.raw))
        whole = b"".join(front + piece for front, piece in pieces)
        return raw[:1] + lead + whole.lstrip(b" \t\n\r,") + raw[end:]

    @staticmethod
    def _written(text: bytes) -> bytes:
        if any(char < 0x20 or char in b'"\\' for char in text):  # controls
            raise LocalProtocolError(f"json: {text!r} needs escapes, which nobody could read again")
        return b'"' + text + b'"'


def _folded(name: str) -> str:
    return "".join(char.lower() if char.isascii() else char for char in name)
