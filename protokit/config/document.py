"""YAML with line numbers, read into the schema's structs; every mistake is found, not only the first.

A scalar's meaning comes from the field it is for, so ``version: 1.0`` is the text ``1.0``, ``no`` and
``on`` and ``20:30`` are what they look like, and quotes change nothing. Where any value fits (options)
plain scalars are read by YAML 1.2's core schema.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from typing import Any, Literal, get_args, get_origin

import msgspec

from protokit.config import schema
from protokit.config.defaults import RANGES
from protokit.config.pyyaml import yaml
from protokit.config.scalars import (
    Address,
    After,
    Duration,
    Hex,
    Network,
    Pattern,
    Rate,
    Regex,
    Retries,
    Secret,
    Share,
    Size,
    Times,
    Whole,
)
from protokit.errors import ConfigError, ConfigErrors, close_match
from protokit.model import MOST_ARGUMENTS

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_DEPTH = 64
_SHOWN = 5  # keys of a mapping
_MERGE = "<<"  # of YAML 1.1, for mappings
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # as YAML counts lines
_FILTER_POLICY = {"fail", "errors", "off"}  # what stands beside its name
_MAX_ERRORS = 1000
_NARROWING = {"match", "allow", "deny", "subset"}  # without what stands there more would get through
# Of what tags say nothing else is meant than stands there already.
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # no meaning is guessed
_SCALARS: tuple[Any, ...] = (
    Address,
    After,
    Duration,
    Hex,
    Network,
    Pattern,
    Rate,
    Regex,
    Retries,
    Secret,
    Share,
    Size,
    Times,
    Whole,
)
_KINDS: dict[type[yaml.Node], str] = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}
Path = tuple[str | int, ...]


class Document:
    """A parsed file: the node tree, and where things stand in it."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        try:
            self.root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise self._syntax_error(error, text) from None
        except RecursionError:
            raise ConfigError("nested too deeply", path) from None
        tagged = _tagged(self.root) if "!" in text and self.root is not None else None
        if tagged is not None:
            raise self.error(f"the tag {tagged.tag} means nothing here: write the value itself", tagged)

    def _syntax_error(self, error: yaml.YAMLError, text: str) -> ConfigError:
        if isinstance(error, yaml.reader.ReaderError):  # it knows bytes, or characters
            before = text.encode()[: error.position].decode(errors="ignore")
            at = before if _Loader is not yaml.BaseLoader else text[: error.position]
            what = f"not YAML: the character {error.character:#04x}, which may not stand in it"
            return ConfigError(what, self.path, *_end(at))
        mark = getattr(error, "problem_mark", None)
        if mark is None:
            return ConfigError(f"not YAML: {str(error).partition(chr(10))[0]}", self.path)
        context = getattr(error, "context", None)
        line, column = mark.line, mark.column
        what = (getattr(error, "problem", None) or "") + (f" ({context})" if context else "")
        if "cannot start any token" in what:
            rows = _BREAK.split(text)
            character = rows[line][column : column + 1] if line < len(rows) else ""
            what = (
                "a tab, where lines are indented by spaces"
                if character == "\t"
                else f"nothing begins with {character!r}; put the text in quotes"
            )
        return ConfigError(f"not YAML: {what}", self.path, line + 1, column + 1)

    def error(self, message: str, node: yaml.Node | None) -> ConfigError:
        """A ConfigError that points at ``node``."""
        if node is None:
            return ConfigError(message, self.path)
        return ConfigError(message, self.path, node.start_mark.line + 1, node.start_mark.column + 1)

    def error_at(self, message: str, path: Path) -> ConfigError:
        """A ConfigError that points at the value under ``path``, or at the nearest one around it."""
        return self.error(message, self._nearest(path)[0])

    def has_list(self, path: Path) -> bool:
        """Whether a list stands there: an empty one is read as what is left out."""
        node, whole = self._nearest(path)
        return whole and isinstance(node, yaml.SequenceNode)

    def _nearest(self, path: Path) -> tuple[yaml.Node | None, bool]:
        node = self.root
        for step in path:
            inner = _child(node, step)
            if inner is None:
                return node, False
            node = inner
        return node, True


def _end(text: str) -> tuple[int, int]:
    """Line and column of what follows ``text``."""
    rows = _BREAK.split(text)
    return len(rows), len(rows[-1]) + 1


def decoded(data: bytes, path: str) -> str:
    """The text of a file.

    Raises:
        ConfigError: it is no UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        what = "it looks like UTF-16" if wide else f"the byte {data[error.start]:#04x} is none"
        where = _end(data[: error.start].decode())
        raise ConfigError(f"is not UTF-8: {what}; write the file in UTF-8", path, *where) from None


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return typing.cast("yaml.Node", node.value[step])
    return None


def _tagged(root: yaml.Node) -> yaml.Node | None:
    """The first node, if any, with a tag that some other reader of YAML would do something for."""
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.tag not in _TAGS:
            return node
        if isinstance(node, yaml.MappingNode):
            nodes += [one for pair in reversed(node.value) for one in reversed(pair)]
        elif isinstance(node, yaml.SequenceNode):
            nodes += reversed(node.value)
    return None


class Reading(typing.NamedTuple):
    """What was read of a document.

    Attributes:
        config: the configuration; where a mistake is, a default or something empty stands.
        errors: the mistakes in its shape.
        holes: the places where that is so.
    """

    config: schema.Config
    errors: list[ConfigError]
    holes: set[Path]


def read(document: Document) -> Reading:
    """Read the document into a Config, as much of it as can be.

    Raises:
        ConfigErrors: it is no mapping.
    """
    reader = _Reader(document)
    if document.root is None:
        raise ConfigErrors(
            [ConfigError("the file is empty; expected at least listeners and clusters", document.path)]
        )
    config = reader.value(document.root, schema.Config, "the configuration", ())
    if config is _BROKEN:
        raise ConfigErrors(reader.errors)
    return Reading(config, reader.errors, reader.holes)


class _Broken:
    """Stands for a value that could not be read; its error is noted already."""


_BROKEN = _Broken()


@functools.cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, tuple[Any, bool]]:
    return {field.encode_name: (field.type, field.required) for field in msgspec.structs.fields(struct)}


@functools.cache
def _attributes(struct: type[msgspec.Struct]) -> dict[str, str]:
    return {field.encode_name: field.name for field in msgspec.structs.fields(struct)}


def _stand_in(kind: Any) -> Any:
    """What stands where a value could not be read."""
    origin = get_origin(kind)
    if origin in {typing.Union, types.UnionType}:
        return _stand_in(get_args(kind)[0])
    if origin is Literal:
        return get_args(kind)[0]
    if kind is Address:
        return Address.parse("0.0.0.0:0")
    if kind is After:
        return After.parse("1ms")
    if not issubclass(origin or kind, msgspec.Struct | list | tuple | dict):
        return kind()
    if origin is not None:
        return origin()
    return kind(**{name: _stand_in(one) for name, (one, required) in _fields(kind).items() if required})


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        text = node.value if len(node.value) <= 40 else node.value[:37] + "..."
        return repr(text) if text else "nothing"
    return _KINDS[type(node)]


def _chosen(kind: Any, node: yaml.Node) -> Any:
    """Which of the types that may stand there this is."""
    options = [option for option in get_args(kind) if option is not types.NoneType]
    if isinstance(node, yaml.ScalarNode):
        fits = [one for one in options if not _is_a(one, msgspec.Struct | list | tuple)]
    else:
        wanted: Any = msgspec.Struct if isinstance(node, yaml.MappingNode) else list | tuple
        fits = [one for one in options if _is_a(one, wanted)]
    return (fits or options)[0]


def _is_a(kind: Any, wanted: Any) -> bool:
    of = get_origin(kind) or kind
    return isinstance(of, type) and issubclass(of, wanted)


def _some(fields: Mapping[str, Any]) -> str:
    """Names of keys, as many as show what is meant."""
    names = [*fields]
    return ", ".join(names if len(names) <= _SHOWN else [*names[: _SHOWN - 1], "..."])


def _range(path: Path) -> tuple[int, int]:
    return RANGES[".".join(step for step in path if isinstance(step, str))]


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.errors: list[ConfigError] = []
        self.holes: set[Path] = set()
        self.budget = 2_000_000  # values; anchors could multiply them without end

    def fail(self, message: str, node: yaml.Node) -> _Broken:
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append(self.document.error(message, node))
        elif len(self.errors) == _MAX_ERRORS:
            self.errors.append(ConfigError(f"and more than {_MAX_ERRORS} others", self.document.path))
        return _BROKEN

    def value(self, node: yaml.Node, kind: Any, what: str, path: Path) -> Any:
        self.budget -= 1
        if len(path) > _MAX_DEPTH or self.budget < 0:
            return self.fail("nested too deeply, or anchors that multiply it", node)
        origin = get_origin(kind)
        if kind is str or kind in _SCALARS or kind in {int, bool} or origin is Literal:
            return self.scalar(node, kind, what, path)
        if origin is list:
            return self.list(node, get_args(kind)[0], what, path)
        if origin is tuple:
            found = self.list(node, get_args(kind)[0], what, path)
            return found if found is _BROKEN else tuple(found)
        if origin in {typing.Union, types.UnionType}:
            return self.one_of(node, kind, what, path)
        if kind is schema.FilterUse:
            return self.filter_use(node, path)
        if kind is schema.Key:
            return self.key(node, what, path)
        if kind is schema.Endpoint and isinstance(node, yaml.ScalarNode):
            address = self.scalar(node, Address, "an endpoint", path)
            return address if address is _BROKEN else schema.Endpoint(address)
        if kind is schema.Timeout and isinstance(node, yaml.ScalarNode):
            both = self.scalar(node, Duration, what, (*path, "most"))
            return both if both is _BROKEN else schema.Timeout(both, both)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(node, kind, what, path)
        if origin is dict:
            if not isinstance(node, yaml.MappingNode):
                return self.expected("a mapping", node, what)
            of = get_args(kind)[1]
            return self.anything(node, len(path)) if of is Any else self.values(node, of, path)
        return self.anything(node, len(path))

    def one_of(self, node: yaml.Node, kind: Any, what: str, path: Path) -> Any:
        """A value of one of several types."""
        options = [option for option in get_args(kind) if option is not types.NoneType]
        if len(options) == 1:
            return self.value(node, options[0], what, path)
        chosen = _chosen(kind, node)
        structs = [one for one in options if _is_a(one, msgspec.Struct)]
        if get_origin(chosen) is Literal and structs:
            return self.scalar(
                node, chosen, what, path, f"; or write {{{next(iter(_fields(structs[0])))}: ...}}"
            )
        return self.value(node, chosen, what, path)

    def expected(self, wanted: str, node: yaml.Node, what: str) -> _Broken:
        return self.fail(f"{what}: expected {wanted}, got {_shown(node)}", node)

    def scalar(self, node: yaml.Node, kind: Any, what: str, path: Path, also: str = "") -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return self.expected(getattr(kind, "expected", "a single value"), node, what)
        text, plain = node.value, not node.style
        if kind is str:
            return text if text or not plain else self.expected("a text", node, what)
        if kind is bool:
            if text in {"true", "false"}:
                return text == "true"
            meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower())
            hint = f"; write {meant}" if meant else ""
            return self.fail(f"{what}: expected true or false, got {_shown(node)}{hint}", node)
        if kind is int:
            if re.fullmatch(r"[0-9]{1,10}", text):
                return self.in_range(int(text), node, what, path)
            low, high = _range(path)
            return self.expected(f"a whole number from {low} to {high}", node, what)
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            if text in choices:
                return text
            close = close_match(text, choices)
            hint = f"; did you mean {close!r}?" if close else also
            return self.fail(f"{what}: expected one of {', '.join(choices)}, got {_shown(node)}{hint}", node)
        try:
            value = kind.parse(text)
        except ValueError as error:
            got = f"{len(text)} characters" if kind is Secret else _shown(node)
            return self.fail(f"{what}: {error}, got {got}", node)
        return self.in_range(value, node, what, path) if isinstance(value, Duration | Size) else value

    def in_range(self, value: int, node: yaml.Node, what: str, path: Path) -> Any:
        low, high = _range(path)
        if low <= value <= high:
            return value
        low, high = type(value)(low), type(value)(high)  # which say how they are written
        return self.fail(f"{what}: expected {low} to {high}, got {_shown(node)}", node)

    def kept(self, value: Any, kind: Any, path: Path) -> Any:
        """The value, or what stands for one that could not be read."""
        if value is not _BROKEN:
            return value
        self.holes.add(path)
        return _stand_in(kind)

    def list(self, node: yaml.Node, item: Any, what: str, path: Path) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self.expected("a list ([...], or a - in front of each)", node, what)
        return [
            self.kept(self.value(child, item, what, (*path, i)), item, (*path, i))
            for i, child in enumerate(node.value)
        ]

    def values(self, node: yaml.MappingNode, of: Any, path: Path) -> dict[str, Any]:
        for name, (key, _) in self.pairs(node).items():
            if not name:
                self.expected("a name", key, str(path[-1]))
        return {
            name: self.kept(self.value(value, of, name, (*path, name)), of, (*path, name))
            for name, (_, value) in self.pairs(node).items()
        }

    def pairs(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.fail(f"expected a key, got {_shown(key)}", key)
            elif key.value in found:
                first = found[key.value][0].start_mark
                self.fail(f"the key {key.value!r} stands here twice, first at line {first.line + 1}", key)
            else:
                found[key.value] = (key, value)
        return found

    def struct(self, node: yaml.Node, kind: type[msgspec.Struct], what: str, path: Path) -> Any:
        fields = _fields(kind)
        if not isinstance(node, yaml.MappingNode):
            wanted = f"a mapping with {_some(fields)}"
            hidden = isinstance(node, yaml.ScalarNode) and any(of is Secret for of, _ in fields.values())
            if hidden:  # it may be the secret, without its key
                return self.fail(f"{what}: expected {wanted}, got {len(node.value)} characters", node)
            return self.expected(wanted, node, what)
        values: dict[str, Any] = {}
        for name, (key, value) in self.pairs(node).items():
            if name not in fields:
                self.unknown(name, key, kind, what, path)
                continue
            kind_of_field, required = fields[name]
            if (
                isinstance(value, yaml.ScalarNode)
                and not value.style
                and value.value in {"", "~", "null"}
                and not required
            ):
                if kind is schema.Match or name in _NARROWING:
                    text = (
                        f"{name}: expected what it asks for, got nothing; without the key it asks for nothing"
                    )
                    self.fail(text, value)
                    self.holes |= {(*path, name), path if kind is schema.Match else (*path, name)}
                continue
            found = self.value(value, kind_of_field, name, (*path, name))
            if name == "header" and found == "":
                found = self.expected("the name of a header", value, name)
            if found is _BROKEN:
                self.holes.add((*path, name))
            else:
                values[name] = found
        missing = [name for name, (_, required) in fields.items() if required and name not in values]
        given = [name for name in missing if (*path, name) in self.holes]
        if missing != given:
            names = " and ".join(repr(name) for name in missing if name not in given)
            self.fail(f"{what}: {names} must be given", node)
        for name in missing:
            values[name] = self.kept(_BROKEN, fields[name][0], (*path, name))
        return kind(**{_attributes(kind)[name]: value for name, value in values.items()})

    def unknown(self, name: str, key: yaml.Node, kind: type[msgspec.Struct], what: str, path: Path) -> None:
        """An error for a key that ``kind`` has not; what it was meant to say is not known."""
        fields = _fields(kind)
        if name == _MERGE:  # any of them
            text = (
                f"{_MERGE} merges nothing here: write the keys out, or name a whole value (&name) and use it"
                " again (*name)"
            )
            self.fail(text, key)
            self.holes |= {(*path, one) for one in fields} | {path}
            return
        self.fail(f"unknown key {name!r} in {what}{_hint(name, fields)}", key)
        self.holes.add((*path, close_match(name, fields)))
        if kind is schema.Match:  # without the key it would match too much
            self.holes.add(path)

    def filter_use(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.value:
            return schema.FilterUse(node.value)
        pairs = self.pairs(node) if isinstance(node, yaml.MappingNode) else {}
        if isinstance(node, yaml.MappingNode) and len(pairs) != len(node.value):
            return _BROKEN
        names = [name for name in pairs if name not in _FILTER_POLICY]
        if len(names) != 1:
            what = "a filter's name, or {name: {options}}, beside which fail, errors and off may stand"
            return self.expected(what, node, "filters")
        kinds = typing.get_type_hints(schema.FilterUse)
        values: dict[str, Any] = {"name": names[0]}
        for key, (_, value) in pairs.items():
            if key in _FILTER_POLICY:
                values[key] = self.value(value, kinds[key], key, (*path, key))
            else:
                kind = dict[str, Any]
                values["options"] = self.value(value, kind, f"options of filter {key}", (*path, key))
        return _BROKEN if _BROKEN in values.values() else schema.FilterUse(**values)

    def key(self, node: yaml.Node, what: str, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            found = self.struct(node, schema.KeyOf, what, path)
            if found is _BROKEN or self.holes & {(*path, "header"), (*path, "argument")}:
                return _BROKEN
            if found.header and not found.argument:
                return schema.Key("header", found.header)
            if schema.is_argument(found.argument) and not found.header:
                return schema.Key("argument", found.argument)
        if isinstance(node, yaml.ScalarNode) and node.value in schema.KEYS:
            return schema.Key(node.value)
        most = MOST_ARGUMENTS - 1
        return self.expected(
            f"{', '.join(schema.KEYS)}, {{header: NAME}} or {{argument: 0 to {most}}}", node, what
        )

    def anything(self, node: yaml.Node, depth: int) -> Any:
        self.budget -= 1
        if depth > _MAX_DEPTH or self.budget < 0:
            return self.fail("nested too deeply, or anchors that multiply it", node)
        if isinstance(node, yaml.MappingNode):
            return {name: self.anything(value, depth + 1) for name, (_, value) in self.pairs(node).items()}
        if isinstance(node, yaml.SequenceNode):
            return [self.anything(child, depth + 1) for child in node.value]
        return _core_scalar(node.value) if not getattr(node, "style", None) else node.value


def _core_scalar(text: str) -> Any:
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9]{1,300}", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?", text):
        return float(text)
    return text


def _hint(text: str, choices: typing.Iterable[str]) -> str:
    names = list(choices)
    close = close_match(text, names)
    if close:
        return f"; did you mean {close!r}?"
    return f"; expected one of {', '.join(names)}" if len(names) <= 12 else ""
