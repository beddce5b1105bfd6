"""Views into structured sections: a message's fields by number, a map's values by key, one in another.

In the engine each family is a step (``native/src/wire/steps``) that is asked for paths. Here it reads bytes
into entries, in their order, and writes them again: what is not changed keeps its bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from protokit import native
from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError, word
from protokit.wire.given import seen
from protokit.wire.readings import tried
from protokit.wire.structures.bers import Ber
from protokit.wire.structures.blocked import Blocks
from protokit.wire.structures.family import KEYS, Family, Input, Key
from protokit.wire.structures.jsons import Json
from protokit.wire.structures.messagepack import MessagePack
from protokit.wire.structures.protobufs import Protobuf
from protokit.wire.structures.thrifts import Thrift
from protokit.wire.structures.tlvs import Tlv
from protokit.wire.views import Step, Text, View

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from protokit.wire.expressions import FieldPath

# Paths as the engine has them (native/src/wire/steps/path.h).


def packed(path: Sequence[Key]) -> bytes:
    """A path as an argument of a step."""
    made = b""
    for key in path:
        if isinstance(key, int):
            made += b"\0" + struct.pack(">q", key)
        else:
            raw = key.encode("utf-8", "surrogateescape")
            made += b"\1" + struct.pack(">H", len(raw)) + raw
    return made


def unpacked(argument: bytes) -> list[Key]:
    """The path again."""
    data, path = Input(argument), []
    while data.left:
        (kind,) = data.take(1)
        key: Key = (
            struct.unpack(">q", data.take(8))[0]
            if kind == 0
            else data.take(data.number(2)).decode("utf-8", "surrogateescape")
        )
        path.append(key)
    return path


def _reference(
    family: Callable[[list[Key]], tuple[Family, list[Key]]],
) -> Callable[[bytes, Sequence[bytes], int], list[bytes | None]]:
    def find(section: bytes, arguments: Sequence[bytes], count: int) -> list[bytes | None]:
        found: list[bytes | None] = []
        for argument in arguments if section else ():
            which, path = family(unpacked(argument))
            found.append(which.find(section, path))
        return (found + [None] * count)[:count]

    return find


def _tlv_of(path: list[Key]) -> tuple[Family, list[Key]]:
    forms = [int(form) for form in path[:2]]
    return Tlv(*map(_construct, forms)), path[2:]


def _blocks_of(path: list[Key]) -> tuple[Family, list[Key]]:
    align, front = (int(option) for option in path[:2])
    return Blocks(align, front), path[2:]


def _construct(form: int) -> Any:
    import construct  # noqa: PLC0415  # for tests of a step alone

    return construct.BytesInteger(form & 15, signed=bool(form & 32), swapped=bool(form & 16))


def _plain(family: Family) -> Callable[[list[Key]], tuple[Family, list[Key]]]:
    return lambda path: (family, path)


_PROTOBUF, _MSGPACK, _JSON, _BER = Protobuf(), MessagePack(), Json(), Ber()
_THRIFT = {"binary": Thrift(compact=False), "compact": Thrift(compact=True)}


def _step(name: str, family: Callable[[list[Key]], tuple[Family, list[Key]]]) -> Step:
    return Step(name, lambda: native.step_address(name), _reference(family))


STEPS = {
    "protobuf": _step("protobuf", _plain(_PROTOBUF)),
    "tlv": _step("tlv", _tlv_of),
    "thrift_binary": _step("thrift_binary", _plain(_THRIFT["binary"])),
    "thrift_compact": _step("thrift_compact", _plain(_THRIFT["compact"])),
    "msgpack": _step("msgpack", _plain(_MSGPACK)),
    "json": _step("json", _plain(_JSON)),
    "ber": _step("ber", _plain(_BER)),
    "blocks": _step("blocks", _blocks_of),
}


class Structure:
    """A section that holds a structure."""

    def __init__(
        self, section: Any, family: Family, step: str, shown: str = "", options: Sequence[Key] = ()
    ) -> None:
        self.section = Text(section, family.name)
        self.family = family
        self.step = STEPS[step]
        self.shown = f"{family.name}(this.{'.'.join(self.section.path)}{shown})"
        self.options = tuple(options)


class Inside(View):
    """What stands in a structure; ``[key]`` is what stands in that."""

    def __init__(self, structure: Structure, path: Sequence[Key] = ()) -> None:
        self.structure = structure
        self.path = tuple(path)

    def __getitem__(self, key: Key) -> Inside:
        if isinstance(key, bool) or not isinstance(key, int | str):
            raise DeclarationError(f"{self!r} is asked for a number or a name, not for {seen(key)}")
        if len(self.path) == KEYS - 1:
            raise DeclarationError(
                f"{self!r}[{key!r}]: a path has {KEYS - 1} keys at most; read what is deeper with a step"
            )
        if isinstance(key, int) and not -(1 << 63) <= key < 1 << 63:
            raise DeclarationError(f"{self!r}: {key} does not fit 64 bits")
        self.structure.family.check(key, self.path)
        return Inside(self.structure, (*self.path, key))

    __iter__ = None  # it is no sequence: [0] would go on for ever

    def __repr__(self) -> str:
        return self.structure.shown + "".join(f"[{key!r}]" for key in self.path)

    @property
    def reads(self) -> FieldPath:  # type: ignore[override]  # of others it is a constant
        """The section."""
        return self.structure.section.path

    @property
    def argument(self) -> bytes:
        """The path, for the step."""
        return packed((*self.structure.options, *self.path))

    def get(self, container: Any) -> bytes | None:
        """What stands there.

        Raises:
            RemoteProtocolError: the section is malformed, or more than is read.
        """
        section = self.structure.section.get(container)
        return tried(lambda: self.structure.family.find(section, self.path)) if section else None

    def replace(self, container: Any, text: bytes | None) -> None:
        """Put another text there; a number's digits where a number stands."""
        section = self.structure.section.get(container)
        if section is None or not self.path:
            raise LocalProtocolError(f"{self!r} is not in this frame, or is all of its section")
        try:
            self.structure.section.replace(container, self.structure.family.put(section, self.path, text))
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"{self!r} cannot be written to: {error}") from error


@word
def protobuf(section: Any) -> Inside:
    """Fields of a protobuf message by number: ``protobuf(this.meta)[1][2]``; of a map: ``[5]["key"]``."""
    return Inside(Structure(section, _PROTOBUF, "protobuf"))


@word
def tlv(section: Any, tag: Any, length: Any, names: Mapping[int, str] | None = None) -> Inside:
    """Values by their tags: ``tlv(this.head, tag=Int16ub, length=Int16ub)[7]``.

    Args:
        section: where they stand.
        tag: the integer in front of each.
        length: the one behind that, which counts the value.
        names: what those are called that are headers: ``{7: "zone"}``.
    """
    family = Tlv(tag, length, names)
    options = [_form(family.tag), _form(family.length)]
    return Inside(Structure(section, family, "tlv", ", ...", options))


@word
def thrift(section: Any, protocol: str) -> Inside:
    """Fields of a Thrift struct by id: ``thrift(this.body, "binary")[1]``, or ``"compact"``."""
    if not isinstance(protocol, str) or protocol not in _THRIFT:
        raise DeclarationError(f"thrift: {seen(protocol)} is neither 'binary' nor 'compact'")
    return Inside(Structure(section, _THRIFT[protocol], f"thrift_{protocol}", f", {protocol!r}"))


@word
def msgpack(section: Any) -> Inside:
    """Values of MessagePack by key or place: ``msgpack(this.body)["key"][0]``."""
    return Inside(Structure(section, _MSGPACK, "msgpack"))


@word
def json(section: Any) -> Inside:
    """Values of JSON by name or place: ``json(this.body)["a"]["b"]``."""
    return Inside(Structure(section, _JSON, "json"))


@word
def ber(section: Any) -> Inside:
    """Values of ASN.1 in BER by place or tag: ``ber(this.message)[0][1]["a0"]``; their tags: ``["tag"]``."""
    return Inside(Structure(section, _BER, "ber"))


@word
def blocks(section: Any, align: int = 1, front: int = 0) -> Inside:
    """Pairs in blocks by their type: ``blocks(this.info, align=4, front=2)[1]["key"]``.

    A block is a type, a count and so many keys and values, all of it behind varints.

    Args:
        section: where they stand, with the zeros behind them.
        align: they are filled with zeros to a multiple of so many bytes.
        front: so many bytes that stand in front of them are counted, too.
    """
    return Inside(Structure(section, Blocks(align, front), "blocks", ", ...", [align, front]))


def _form(subcon: Any) -> int:
    width = int(subcon.sizeof())
    if hasattr(subcon, "fmtstr"):
        return width | 16 * int(subcon.fmtstr[0] == "<") | 32 * int(subcon.fmtstr[1].islower())
    return width | 16 * int(bool(subcon.swapped)) | 32 * int(bool(subcon.signed))
