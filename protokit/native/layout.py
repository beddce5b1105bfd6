"""What the engine's headers say of its records: members of structs, fields of tables, constants."""

from __future__ import annotations

import bisect
import functools
import itertools

import msgspec

from protokit._native import ffi, lib


class Member(msgspec.Struct, frozen=True):
    """One member of a C struct; ``type``: ``integer``, ``bytes`` or the name of a struct."""

    name: str
    at: int
    size: int
    type: str


def members(type_: str) -> tuple[int, tuple[Member, ...]]:
    """The size of a C struct, and its members."""
    struct_ = ffi.typeof(type_)
    kinds = {"primitive": "integer", "array": "bytes"}
    found = (
        Member(
            name,
            field.offset,
            ffi.sizeof(field.type),
            kinds.get(field.type.kind, field.type.cname.removeprefix("struct ")),
        )
        for name, field in struct_.fields
    )
    return int(ffi.sizeof(struct_)), tuple(found)


@functools.cache
def _names() -> list[str]:
    """Of all that the engine has, in order."""
    return sorted(dir(lib))


@functools.cache
def constants(prefix: str) -> dict[str, int]:
    """The engine's constants of that prefix, by names as the configuration has them: ``least-request``."""
    begin = _names()[bisect.bisect_left(_names(), prefix) :]
    names = {
        name: int(getattr(lib, name))
        for name in itertools.takewhile(lambda name: name.startswith(prefix), begin)
    }
    return {
        name.removeprefix(prefix).lower().replace("_", "-"): names[name]
        for name in sorted(names, key=names.__getitem__)
    }


class Field(msgspec.Struct, frozen=True):
    """What a field of a table's record may be (``table.h``, PK_FIELD_*); ``array``: what it counts."""

    name: str
    at: int
    rule: str
    low: int
    high: int
    array: str

    @property
    def made(self) -> bool:
        """Whether the engine fills it."""
        return self.rule == "made"


class Kind(msgspec.Struct, frozen=True):
    """One of a table's arrays: where its pk_array stands in pk_table, what its records are."""

    name: str
    type: str
    at: int
    size: int
    fields: tuple[Field, ...]


def table_kinds() -> tuple[Kind, ...]:
    """The arrays of a table's image, in their order."""
    rules = {number: name for name, number in constants("PK_FIELD_").items()}
    kinds = [lib.pk_table_array_at(i) for i in range(lib.pk_table_arrays())]
    names = [ffi.string(kind.name).decode() for kind in kinds] + ["codecs"]
    return tuple(
        Kind(
            name,
            ffi.string(kind.type).decode(),
            kind.at,
            kind.size,
            tuple(
                Field(
                    ffi.string(one.name).decode(), one.at, rules[one.rule], one.low, one.high, names[one.of]
                )
                for one in (kind.fields[i] for i in range(kind.field_count))
            ),
        )
        for name, kind in zip(names, kinds, strict=False)
    )
