"""Values of ASN.1 in BER or DER (X.690), one behind the other or in constructed ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire.structures.family import NEST, Entry, Family, Input, Key, integer

if TYPE_CHECKING:
    from collections.abc import Sequence

BOOLEAN, INTEGER, OCTETS, NULL, ENUMERATED, SEQUENCE = b"\1", b"\2", b"\4", b"\5", b"\x0a", b"\x30"
TAG = "tag"


class Ber(Family):
    """Tag, length and value, where tags and lengths have as many bytes as they take.

    A type is the tag's bytes, of a section none; a label is the tag and the length as they stand.
    """

    name = "ber"
    root = b""

    def check(self, key: Key, path: Sequence[Key]) -> None:
        """A place, a tag in hex digits, or ``tag``, behind which nothing stands.

        Raises:
            DeclarationError: it is none of these.
        """
        if TAG in path or (key == TAG and not path):
            raise DeclarationError(f"ber: {key!r} is asked of what has no {key!r}")
        if key == TAG or (isinstance(key, int) and key >= 0):
            return
        try:
            data = Input(bytes.fromhex(str(key)))
            valid = _tag(data).hex() == key and not data.left
        except (ValueError, RemoteProtocolError):
            valid = False
        if not valid:
            raise DeclarationError(
                f"ber: {key!r} is no key; it is a place from 0, a tag in hex digits such as 'a0', or 'tag', "
                "which is the tag itself"
            )

    def section(self, raw: bytes) -> Entry:
        """A whole section."""
        self._check(raw, 0)
        return Entry(None, self.root, raw)

    def _check(self, raw: bytes, deep: int) -> None:
        for one in self._values(raw):
            if _is_constructed(one):
                if deep == NEST:
                    raise RemoteProtocolError(f"ber: over {NEST} deep", one.at)
                self._check(one.raw, deep + 1)

    def _values(self, raw: bytes) -> list[Entry]:
        found: list[Entry] = []
        data = Input(raw)
        while data.left:
            start = data.at
            tag = _tag(data)
            length_at = data.at
            size = _length(data)
            label, at = raw[start : data.at], data.at
            content = data.take(size)
            if (tag == BOOLEAN and size != 1) or (tag in {INTEGER, ENUMERATED} and size == 0):
                raise RemoteProtocolError(f"ber: a value of the tag {tag.hex()} with {size} bytes", start)
            found.append(Entry(len(found), tag, content, label, at, length_at))
        return found

    def entries(self, raw: bytes, type_: Any) -> list[Entry] | None:
        """What is in a section, or in a constructed value."""
        return self._values(raw) if not type_ or type_[0] & 0x20 else None

    def chosen(self, entries: Sequence[Entry], key: Key) -> Entry | None:
        """The one at a place, or the last of a tag."""
        found = [one for one in entries if key in {one.key, one.type.hex()}]
        return found[-1] if found else None

    def find(self, raw: bytes, path: Sequence[Key]) -> bytes | None:
        """What stands at a path; None for nothing."""
        asks = len(path) > 1 and path[-1] == TAG
        chain = super().chain(raw, path[:-1] if asks else path, is_varint=False)
        if not chain or not (asks and chain[-1].type):
            return self.text(chain[-1]) if chain and not asks else None
        return str(int.from_bytes(chain[-1].type, "big")).encode()

    def text(self, entry: Entry) -> bytes | None:
        """What an entry says."""
        if entry.type == NULL:
            return None
        if entry.type == BOOLEAN:
            return b"0" if entry.raw == b"\0" else b"1"
        if entry.type in {INTEGER, ENUMERATED} and len(entry.raw) <= 8:
            return str(int.from_bytes(entry.raw, "big", signed=True)).encode()
        return entry.raw

    # Edits: of what is there; where something else would stand only the schema says.

    def put(self, raw: bytes, path: Sequence[Key], text: bytes | None) -> bytes:
        """The section with another text at a path, None: without it."""
        return self._changed(self.section(raw), path, text).raw

    def _changed(self, structure: Entry, path: Sequence[Key], text: bytes | None) -> Entry:
        key, *more = path
        inside = self.entries(structure.raw, structure.type) or []
        before = self.chosen(inside, key)
        if before is None:
            raise LocalProtocolError(f"ber: there is no value {key!r} that can be written to")
        if not more and text is None:
            if isinstance(key, int):
                raise LocalProtocolError(f"ber: without its value {key} others would stand in its place")
            left = [one for one in inside if one.type != before.type]
        else:
            after = self._changed(before, more, text) if more else self._said(before, key, text or b"")
            left = [after if one is before else one for one in inside]
        return replace(structure, raw=self.whole(left, structure))

    def whole(self, entries: Sequence[Entry], before: Entry) -> bytes:  # noqa: ARG002
        """A structure of entries."""
        return b"".join(
            one.type + _resized(one.label[len(one.type) :], len(one.raw)) + one.raw for one in entries
        )

    def _said(self, before: Entry, key: Key, text: bytes) -> Entry:
        if before.type in {INTEGER, ENUMERATED}:
            value = integer(text, f"ber: {key!r}")
            if not -(1 << 63) <= value < 1 << 63:
                raise LocalProtocolError(f"ber: {value} does not fit 64 bits")
            return replace(before, raw=twos_complement(value))
        if before.type == BOOLEAN:
            if text not in {b"0", b"1"}:
                raise LocalProtocolError(f"ber: {key!r} is 1 or 0, not {text!r}")
            return replace(before, raw=b"\xff" if text == b"1" else b"\0")
        if before.type == NULL or _is_constructed(before):
            raise LocalProtocolError(
                f"ber: {key!r} has the tag {before.type.hex()}, and no text is put there"
            )
        return replace(before, raw=text)

    # Ids: the content of a primitive value.

    def is_id(self, raw: bytes) -> bool:
        """Anything but nothing."""
        return bool(raw)

    def chain(self, raw: bytes, path: Sequence[Key], *, is_varint: bool) -> list[Entry]:
        """What leads to a path, from outside; empty for nothing, and for what is no primitive value."""
        found = super().chain(raw, path, is_varint=is_varint)
        return found if found and found[-1].type and not _is_constructed(found[-1]) else []

    def counted(self, raw: bytes, more: int) -> bytes:
        """A length again."""
        return _resized(raw, _length(Input(raw)) + more)

    def added(self, raw: bytes, path: Sequence[Key], token: bytes, *, is_varint: bool) -> bytes:
        """The section with an id that was not there: it has nothing else."""
        if raw:
            raise LocalProtocolError("ber: nothing stands where the id is to be put")
        return self.holding(path, token, is_varint=is_varint)

    def built(self, path: Sequence[Key], text: bytes) -> bytes:
        """A section in which that stands at a path: an integer, a text, or a value of that tag."""
        key, *more = path
        given = bytes.fromhex(key) if isinstance(key, str) else b""
        if more == [TAG]:
            tag, inner = _tag_of(text), b"\0" if _tag_of(text)[0] == BOOLEAN[0] else b""
        elif more:
            tag, inner = given or SEQUENCE, self.built(more, text)
        else:
            is_number = given in {INTEGER, ENUMERATED} or (not given and text.removeprefix(b"-").isdigit())
            tag = given or (INTEGER if is_number else OCTETS)
            inner = twos_complement(integer(text, f"ber: {key!r}")) if is_number else text
        made = tag + _resized(b"\0", len(inner)) + inner
        self.section(made)
        return (NULL + b"\0") * (key if isinstance(key, int) else 0) + made


def _tag_of(number: bytes) -> bytes:
    value = integer(number, "ber: a tag")
    if not 0 < value < 1 << 40:
        raise LocalProtocolError(f"ber: {value} is no tag")
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _is_constructed(one: Entry) -> bool:
    return bool(one.type[0] & 0x20)


def twos_complement(value: int) -> bytes:
    """The shortest, big endian."""
    return value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True)


def _tag(data: Input) -> bytes:
    tag = data.take(1)
    if tag == b"\0":
        raise RemoteProtocolError("ber: the end of an indefinite length", data.at)
    while tag[0] & 31 == 31 and (len(tag) == 1 or tag[-1] & 0x80):
        byte = data.take(1)
        if len(tag) == 5 or (len(tag) == 1 and byte == b"\x80"):
            raise RemoteProtocolError("ber: a tag that is too long, or longer than it must be", data.at)
        tag += byte
    return tag


def _length(data: Input) -> int:
    (first,) = data.take(1)
    if first < 0x80:
        return first
    if not 0x81 <= first <= 0x88:
        raise RemoteProtocolError("ber: an indefinite length, or one of more than 8 bytes", data.at - 1)
    return data.number(first & 0x7F)


def _resized(length: bytes, size: int) -> bytes:
    """A length as short as it can be where it was so; else in as many bytes at least."""
    before = _length(Input(length))
    if before == size:
        return length
    made = _written(size)
    if len(length) > len(made) and length != _written(before):
        return bytes([0x80 | len(length) - 1]) + size.to_bytes(len(length) - 1, "big")
    return made


def _written(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw
