"""The JSON Schema of the configuration, from the same structs that read it."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, get_args, get_origin

import msgspec

from protokit.config import schema
from protokit.config.defaults import RANGES
from protokit.config.scalars import Address, Duration, Pattern
from protokit.model import ARGUMENT, MOST_ARGUMENTS


def json_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of the whole file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "protokit",
        **_of(schema.Config, ""),
        "$defs": {"match": _struct(schema.Match, "")},
    }


def _of(kind: Any, key: str) -> dict[str, Any]:
    origin, args = get_origin(kind), get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        options = [_of(one, key) for one in args if one is not types.NoneType]
        return options[0] if len(options) == 1 else {"anyOf": options}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in {list, tuple}:
        return {"type": "array", "items": _of(args[0], key)}
    if kind is schema.Match:  # which has others in it
        return {"$ref": "#/$defs/match"}
    if origin is dict:
        return {"type": "object"} | ({} if args[1] is Any else {"additionalProperties": _of(args[1], key)})
    if hasattr(kind, "expected"):
        # Of these only texts of a request may look like a boolean, as an argument does that is one.
        scalars = ["string", "number", "boolean"] if kind is Pattern else ["string", "number"]
        return {"type": scalars, "pattern": kind.pattern, "description": kind.expected}
    if kind is bool:
        return {"type": "boolean"}
    if kind is int:
        low, high = RANGES[key]
        return {"type": "integer", "minimum": low, "maximum": high}
    if kind is str:
        return {"type": ["string", "number", "boolean"]}
    return _struct(kind, key)


def _struct(kind: type[msgspec.Struct], key: str) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = msgspec.structs.fields(kind)
    found: dict[str, Any] = {
        "type": "object",
        "description": (kind.__doc__ or "").partition("\n")[0],
        "properties": {
            field.encode_name: _of(hints[field.name], f"{key}.{field.encode_name}".lstrip("."))
            for field in fields
        },
        "additionalProperties": False,
    }
    required = [field.name for field in fields if field.required]
    if required:
        found["required"] = required
    if kind is schema.FilterUse:
        policy = {name: found["properties"][name] for name in ("fail", "errors", "off")}
        named = {"type": "object", "properties": policy, "minProperties": 1}
        return {"anyOf": [{"type": "string"}, named]}
    if kind is schema.Key:
        numbers = {
            "type": ["integer", "string"],  # quoted or not
            "minimum": 0,
            "maximum": MOST_ARGUMENTS - 1,
            "pattern": f"^{ARGUMENT}$",
        }
        properties = {"header": _of(str, key), "argument": numbers}
        named = {"type": "object", "properties": properties, "minProperties": 1, "maxProperties": 1}
        return {"anyOf": [{"enum": list(schema.KEYS)}, named | {"additionalProperties": False}]}
    if kind is schema.Timeout:
        return {"anyOf": [_of(Duration, key), found]}
    if kind is schema.Endpoint:
        return {"anyOf": [_of(Address, key), found]}
    return found
