"""What Python raised in an author's file, in a declaration's terms: the field, and what to write instead.

Words of construct's raise what Python does of any function: a misspelt keyword is a TypeError that names
``__init__``. What stands where it was raised is read from the file's text. Imported where it is needed.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import sys
from typing import TYPE_CHECKING, Any

import construct

from protokit.errors import close_match, misused

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_PARTS = ("Struct", "BitStruct", "Sequence")
# Those that a declaration may have: https://construct.readthedocs.io has more.
_CONSTRUCTS = [f"Int{bits}{sign}{order}" for bits in (8, 16, 24, 32, 64) for sign in "us" for order in "bl"]
_CONSTRUCTS += [
    "Array",
    "BitStruct",
    "BitsInteger",
    "Bytes",
    "BytesInteger",
    "Check",
    "Const",
    "Default",
    "Enum",
]
_CONSTRUCTS += ["Error", "Flag", "GreedyBytes", "Hex", "If", "IfThenElse", "Mapping", "Pass", "Prefixed"]
_CONSTRUCTS += ["Rebuild", "Struct", "Switch", "len_", "this"]
_WRITTEN = 'a field is its name, a slash and a construct: "{}" / Int32ub'


def raised(error: BaseException, at: TracebackType) -> str:
    """What a person reads, behind the field that it is of; empty where there is nothing to add.

    Args:
        error: what was raised.
        at: where in the author's file.
    """
    if isinstance(error, ImportError):
        return _not_imported(error)
    if not isinstance(error, TypeError | NameError | AttributeError | ValueError):
        return ""
    found, fields = _place(at)
    said = ""
    if isinstance(error, NameError):
        said = _unknown(error, at.tb_frame)
    elif isinstance(found, ast.Call):
        said = _call(found, at)
    elif isinstance(error, TypeError) and isinstance(found, ast.BinOp) and isinstance(found.op, ast.Div):
        said = _field(found, at.tb_frame)
    if not said and (fields or _in_construct(at)):
        said = f"{type(error).__name__}: {error}"
    return ": ".join(([".".join(fields)] if fields and said else []) + ([said] if said else []))


def _place(at: TracebackType) -> tuple[ast.AST | None, list[str]]:
    """The expression that raised, and the names of the fields around it."""
    code, index = at.tb_frame.f_code, at.tb_lasti // 2
    place = next((one for number, one in enumerate(code.co_positions()) if number == index), None)
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:  # it has changed meanwhile
        return None, []
    found: ast.AST | None = None
    fields: list[str] = []
    around: list[ast.AST] = [tree]
    while around:
        node = around.pop()
        for inner in ast.iter_child_nodes(node):
            if not _holds(inner, place):
                if not isinstance(inner, ast.expr | ast.stmt | ast.keyword):
                    around.append(inner)
                continue
            around.append(inner)
            if (inner.lineno, inner.end_lineno, inner.col_offset, inner.end_col_offset) == place:  # type: ignore[attr-defined]
                found = inner
            if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Div) and _text(inner.left):
                fields.append(_text(inner.left))
    return found, fields


def _holds(node: ast.AST, place: Any) -> bool:
    if place is None or None in place or not isinstance(node, ast.expr | ast.stmt | ast.keyword):
        return False
    line, end, column, last = place
    first = (node.lineno, node.col_offset) <= (line, column)
    return first and (node.end_lineno or 0, node.end_col_offset or 0) >= (end, last)


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _value(node: ast.AST, frame: FrameType) -> Any:
    """What a name stands for, or a name in a module."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id, getattr(builtins, node.id, None)))
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, frame), node.attr, None)
    return None


def _call(call: ast.Call, at: TracebackType) -> str:
    """Why it cannot be called so."""
    target, name = _value(call.func, at.tb_frame), ast.unparse(call.func)
    if isinstance(target, construct.Construct):
        return f"{name} is a construct already; write it without ()"
    if not inspect.isroutine(target) and not isinstance(target, type):
        return ""
    starred = any(isinstance(one, ast.Starred) for one in call.args)
    if at.tb_next is None and not starred and all(one.arg for one in call.keywords):
        itself = isinstance(target, type)
        made: Callable[..., Any] = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
        given = [None] * (len(call.args) + itself)
        try:
            return misused(name, made, given, {str(one.arg): None for one in call.keywords}, itself)
        except ValueError:  # of functions in C nothing is known
            return ""
    if name.rpartition(".")[2] in _PARTS and (texts := [one for one in call.args if _text(one)]):
        part = _text(texts[0])
        return f"{name}: {part!r} is no part of it; {_WRITTEN.format(part)}"
    for one in call.args:
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div) and _text(one.left):
            value = _value(one.right, at.tb_frame)
            if value is not None and not isinstance(value, construct.Construct):
                return f"{_text(one.left)}: {_field(one, at.tb_frame)}"
    for one in call.args:
        value = _value(one, at.tb_frame)
        if isinstance(value, type) and issubclass(value, construct.Construct):
            return f"{name}: {ast.unparse(one)} is not called; write {ast.unparse(one)}(...)"
    return ""


def _field(pair: ast.BinOp, frame: FrameType) -> str:
    right, name = ast.unparse(pair.right), _text(pair.left)
    if not name:
        return f"{ast.unparse(pair.left)} / {right}: {_WRITTEN.format('id')}"
    if isinstance(_value(pair.right, frame), type):
        return f"{right} is not called; write {right}(...)"
    return f"{right} is no construct; {_WRITTEN.format(name)}"


def _unknown(error: NameError, frame: FrameType) -> str:
    """A name that is not there, and what it may mean."""
    import protokit  # noqa: PLC0415  # a circle: it names what its users import
    from protokit import wire  # noqa: PLC0415

    name = error.name or ""
    known = dict.fromkeys(protokit.__all__, "protokit") | dict.fromkeys(_CONSTRUCTS, "construct")
    known |= dict.fromkeys(wire.__all__, "protokit.wire")
    known |= {one: "" for one in frame.f_globals if not one.startswith("_")}
    close = name if name in known else close_match(name, known)
    if not close:
        return ""
    meant = "import it" if close == name else f"did you mean {close}?"
    told = f": from {known[close]} import {close}" if known[close] else ""
    return f"the name {name} is not defined; {meant}{told}"


def _not_imported(error: ImportError) -> str:
    """A name that a module does not have, and what it may mean."""
    module = sys.modules.get(error.name or "")
    name = str(error).partition("'")[2].partition("'")[0]
    if module is None or not str(error).startswith("cannot import name"):
        return ""
    known = _CONSTRUCTS if module is construct else getattr(module, "__all__", None) or dir(module)
    close = close_match(name, known)
    return f"{error.name} has no {name}" + (f"; did you mean {close}?" if close else "")


def _in_construct(at: TracebackType) -> bool:
    """Whether it was raised by what construct does."""
    last = at
    while last.tb_next is not None:
        last = last.tb_next
    return str(last.tb_frame.f_globals.get("__name__")).startswith("construct.")
