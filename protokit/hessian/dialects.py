"""What Python has for Hessian's values, and what a tag means in each dialect.

Grammar: the Hessian 2.0 specification; Java's meaning where the two differ (0x5F is thousandths). The draft
is what sofa-hessian writes: Hessian 1.0 is a part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH = 200


class Long(int):
    """An int that is written as a long."""


class TypedList(list[Any]):
    """A list that names its type."""

    type_name = ""


class TypedMap(dict[Any, Any]):
    """A map that names its type."""

    type_name = ""


class Object:
    """An object: the name of its class, and its fields in order."""

    __slots__ = ("class_name", "fields")

    def __init__(self, class_name: str, fields: dict[str, Any]) -> None:
        self.class_name = class_name
        self.fields = fields

    def __repr__(self) -> str:
        return f"Object({self.class_name!r}, {list(self.fields)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Object) and (self.class_name, self.fields) == (
            other.class_name,
            other.fields,
        )

    __hash__ = None  # type: ignore[assignment]  # mutable


class Tag(NamedTuple):
    """What a tag is.

    Attributes:
        kind: of value, or of what stands in front of one.
        size: bytes of the number behind it; None where that is an int, a value of its own.
        zero: the tag of which the number is what these bytes say: each tag behind it stands for one more in
            front of them.
        typed: the type of what is in it is said first.
    """

    kind: str
    size: int | None = 0
    zero: int = 0
    typed: bool = False


class Dialect(NamedTuple):
    """What tells dialects apart.

    Attributes:
        name: as errors say it.
        draft: a class's name is its length and its characters, not a text; types may be missing, and lengths
            of lists stand beside their ends. It is written with few short forms.
        tags: what may begin a value.
        text_part, binary_part, long, zero, date, definition, instance, end: tags that are written: of a part
            that is not the last, a long of four bytes, 0.0, milliseconds, a class, an object, an end.
        text_chunk, binary_chunk: how many UTF-16 units and bytes a part has at most, as it is written.
    """

    name: str
    draft: bool
    tags: Mapping[int, Tag]
    text_part: int
    binary_part: int
    long: int
    zero: int
    date: int
    definition: int
    instance: int
    end: int
    text_chunk: int
    binary_chunk: int


def _each(first: int, last: int, tag: Tag) -> dict[int, Tag]:
    return dict.fromkeys(range(first, last + 1), tag)


_BOTH = {
    **_each(0x00, 0x1F, Tag("text")),
    **_each(0x20, 0x2F, Tag("binary", 0, 0x20)),
    **_each(0x38, 0x3F, Tag("long", 2, 0x3C)),
    0x42: Tag("binary", 2, 0x42),
    0x44: Tag("double", 8),
    **dict.fromkeys(b"FNT", Tag("constant")),
    0x49: Tag("int", 4),
    0x4C: Tag("long", 8),
    0x4D: Tag("map", typed=True),
    0x53: Tag("text", 2, 0x53),
    **_each(0x80, 0xBF, Tag("int", 0, 0x90)),
    **_each(0xC0, 0xCF, Tag("int", 1, 0xC8)),
    **_each(0xD0, 0xD7, Tag("int", 2, 0xD4)),
    **_each(0xD8, 0xEF, Tag("long", 0, 0xE0)),
    **_each(0xF0, 0xFF, Tag("long", 1, 0xF8)),
}

HESSIAN2 = Dialect(
    name="hessian2",
    draft=False,
    tags={
        **_BOTH,
        **_each(0x30, 0x33, Tag("text", 1, 0x30)),
        **_each(0x34, 0x37, Tag("binary", 1, 0x34)),
        0x41: Tag("binary part", 2, 0x41),
        0x43: Tag("class"),
        0x48: Tag("map"),
        0x4A: Tag("milliseconds", 8),
        0x4B: Tag("minutes", 4),
        0x4F: Tag("object", None),
        0x51: Tag("reference", None),
        0x52: Tag("text part", 2, 0x52),
        0x55: Tag("values", typed=True),
        0x56: Tag("list", None, typed=True),
        0x57: Tag("values"),
        0x58: Tag("list", None),
        0x59: Tag("long", 4),
        **_each(0x5B, 0x5C, Tag("double", 0, 0x5B)),
        0x5D: Tag("double", 1),
        0x5E: Tag("double", 2),
        0x5F: Tag("double", 4),
        **_each(0x60, 0x6F, Tag("object", 0, 0x60)),
        **_each(0x70, 0x77, Tag("list", 0, 0x70, typed=True)),
        **_each(0x78, 0x7F, Tag("list", 0, 0x78)),
    },
    text_part=0x52,
    binary_part=0x41,
    long=0x59,
    zero=0x5B,
    date=0x4A,
    definition=0x43,
    instance=0x4F,
    end=0x5A,
    text_chunk=0x8000,
    binary_chunk=4093,  # in hessian-lite 3 and hessian.js; 8189 in hessian-lite 4
)

DRAFT = Dialect(
    name="hessian",
    draft=True,
    tags={
        **_BOTH,
        0x4A: Tag("reference", 1, 0x4A),
        0x4B: Tag("reference", 2, 0x4B),
        0x4F: Tag("class"),
        0x52: Tag("reference", 4),
        0x56: Tag("values", typed=True),
        0x62: Tag("binary part", 2, 0x62),
        0x64: Tag("milliseconds", 8),
        **_each(0x67, 0x68, Tag("double", 0, 0x67)),
        0x69: Tag("double", 1),
        0x6A: Tag("double", 2),
        0x6B: Tag("double", 4),
        0x6F: Tag("object", None),
        0x73: Tag("text part", 2, 0x73),
        0x76: Tag("list", None, typed=True),  # of a type that was said before
        0x77: Tag("long", 4),
    },
    text_part=0x73,
    binary_part=0x62,
    long=0x77,
    zero=0x67,
    date=0x64,
    definition=0x4F,
    instance=0x6F,
    end=0x7A,
    text_chunk=0x7FFF,
    binary_chunk=0x7FFF,
)
