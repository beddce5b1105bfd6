"""Which frames are told by their front: they end with sections of a size that stands there, read by nothing.

Such a frame can be passed on before it is whole. An edit of what is in front leaves such a section where it
is, at the end: so nothing stands behind it, not even what is empty and could be edited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit.wire.nodes import (
    Bits,
    Branch,
    Choice,
    ChunkList,
    Condition,
    Delimited,
    Integer,
    Literal,
    Region,
    Repeated,
    Section,
    Varint,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Container

    from protokit.wire.expressions import FieldPath
    from protokit.wire.nodes import Node

# What nodes leave to those in front: they are at the frame's end, or would be looked for there in vain.
_END, _NO_END, _LOOKED_INTO = range(3)
_NAMED = Section | ChunkList | Delimited | Region | Repeated
_HAVE_BYTES = Integer | Bits | Literal | Delimited | Varint | Region


def open_ends(nodes: tuple[Node, ...], used: Container[FieldPath]) -> list[Section | ChunkList]:
    """The sections that are not ``used``, with which frames of this layout may end."""
    found: list[Section | ChunkList] = []
    _ends(nodes, used, found)
    ends = {id(node) for node in found}
    elsewhere = {one.path for one in walk(nodes) if isinstance(one, _NAMED) and id(one) not in ends}
    return [node for node in found if node.path not in elsewhere]  # a name is one kind of section


def _ends(nodes: tuple[Node, ...], used: Container[FieldPath], found: list[Section | ChunkList]) -> int:
    """Add those at the end of these nodes."""
    for node in reversed(nodes):
        leaves = _LOOKED_INTO
        if isinstance(node, Branch | Choice):
            ways = {_ends(way, used, found) for way in _ways(node)}
            leaves = _LOOKED_INTO if _LOOKED_INTO in ways else min(ways)
        elif isinstance(node, _HAVE_BYTES):
            leaves = _NO_END
        elif isinstance(node, Condition):
            leaves = _END
        elif isinstance(node, Section) and isinstance(node.length, int):
            leaves = _NO_END if node.length else _LOOKED_INTO
        elif isinstance(node, Section | ChunkList) and node.path not in used:
            found.append(node)
            leaves = _END
        if leaves != _END:
            return leaves
    return _END


def _ways(node: Branch | Choice) -> list[tuple[Node, ...]]:
    if isinstance(node, Branch):
        return [node.then, node.otherwise]
    default = () if node.default is None else (node.default,)
    return [*(case for _, case in node.cases), *default]
