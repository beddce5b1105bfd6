"""What Python raises in a declaration is told with its field, its file and line, and what to write instead."""
# ruff: noqa: E501  # a declaration and its error on one line each

from __future__ import annotations

import re

import pytest

from protokit import plugins

FILE = """
from construct import (
    Array, BitsInteger, Bytes, Const, GreedyBytes, If, IfThenElse, Int8ub, Int16ub, Int32ub, Pass, Prefixed, Rebuild, Struct,
    Switch, len_, this
)
from protokit import Protocol, WireFormat, hookimpl
from protokit.wire import ErrorText, Replies
{more}
frame = Struct(
    "kind" / Int8ub,
    "id" / Int32ub,
    {field},
    "body" / Prefixed(Int16ub, GreedyBytes),
)
"""
WRONG = {
    '"x" / Prefixed(Int16ub, GreedyBytes, includelenght=True)': (
        "x: Prefixed: includelenght= is none of its keywords; did you mean includelength=? it takes lengthfield="
    ),
    '"x" / Prefixed(Int16ub)': "x: Prefixed: subcon= is missing; it takes lengthfield=, subcon=",
    '"x" / Prefixed()': "x: Prefixed: lengthfield= is missing",
    '"x" / Bytes(4, 5)': "x: Bytes: 2 values are given by their place, and 1 are taken so; it takes length=",
    '"x" / Bytes(4, length=4)': "x: Bytes: length= is given twice, by its place and by its name",
    '"x" / Struct("y" / Bytes(lenght=4))': "x.y: Bytes: lenght= is none of its keywords; did you mean length=?",
    '"x" / If(this.kind == 1)': "x: If: subcon= is missing; it takes condfunc=, subcon=",
    '"x" / If(this.kind == 1, Int8ub, els=Pass)': "x: If: els= is none of its keywords",
    '"x" / IfThenElse(this.kind == 1, Int8ub)': "x: IfThenElse: elsesubcon= is missing",
    '"x" / Rebuild(Int8ub, function=len_(this.body))': "x: Rebuild: function= is none of its keywords; did you mean func=",
    '"x" / Switch(this.kind, {{}}, defualt=Pass)': "x: Switch: defualt= is none of its keywords; did you mean default=?",
    '"x" / Array(Int8ub)': "x: Array: subcon= is missing; it takes count=, subcon=",
    '"x" / Const()': "x: Const: value= is missing",
    '"x" / BitsInteger(3, sgined=True)': "x: BitsInteger: sgined= is none of its keywords; did you mean signed=?",
    '"x" / Int32ub()': "x: Int32ub is a construct already; write it without ()",
    '"x" / Int32ub(4)': "x: Int32ub is a construct already; write it without ()",
    '"x" / Int32': "x: the name Int32 is not defined; did you mean Int32u",
    '"x" / Unitl(b"a", max=5)': "x: the name Unitl is not defined; did you mean Until?: from protokit.wire import Until",
    '"x" / UVar(3)': "x: the name UVar is not defined; import it: from protokit.wire import UVar",
    '"x" / 4': 'x: 4 is no construct; a field is its name, a slash and a construct: "x" / Int32ub',
    '"x" / "y"': """x: 'y' is no construct; a field is its name, a slash and a construct: "x" / Int32ub""",
    '"x" / Bytes': "x: Bytes is not called; write Bytes(...)",
    '"x" / this': 'x: this is no construct; a field is its name, a slash and a construct: "x" / Int32ub',
    '"x", Int8ub': """Struct: 'x' is no part of it; a field is its name, a slash and a construct: "x" / Int32ub""",
    "Int8ub / Bytes": "Int8ub / Bytes: a field is its name, a slash and a construct",
    '"x" / Struct("y", Int8ub)': """x: Struct: 'y' is no part of it; a field is its name, a slash and a""",
    '"x" / Prefixed(Int8ub, this.kind.nope.deep())': "x: ",
}


def failure(tmp_path, text):
    file = tmp_path / "wrong.py"
    file.write_text(text)
    (plugin,) = plugins.load([], [file]).plugins
    return plugin.failure


@pytest.mark.parametrize("field", WRONG)
def test_a_construct_that_is_called_wrongly_is_told_in_words(tmp_path, field):
    said = failure(tmp_path, FILE.format(field=field.replace("{{", "{").replace("}}", "}"), more=""))
    assert said.startswith(WRONG[field])
    assert re.search(r"\(wrong\.py:(8|9|12)\)$", said)
    assert "__init__" not in said
    assert "object at 0x" not in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from construct import Int32bu", "construct has no Int32bu; did you mean Int32u"),
        ("from protokit.wire import Uvar", "protokit.wire has no Uvar; did you mean UVar? (wrong.py:2)"),
        ("from protokit import Protcol", "protokit has no Protcol; did you mean Protocol? (wrong.py:2)"),
        ("import protokit.wires", "ModuleNotFoundError: No module named 'protokit.wires' (wrong.py:2)"),
        ("zzzzqqq()", "NameError: name 'zzzzqqq' is not defined (wrong.py:2)"),
        ("def own(a): ...\nown()", "own: a= is missing; it takes a= (wrong.py:3)"),
        ("raise TypeError('of its own')", "TypeError: of its own (wrong.py:2)"),
        ("int('x')", "ValueError: invalid literal for int() with base 10: 'x' (wrong.py:2)"),
        ("x = 'a' / 5", "a: 5 is no construct"),
    ],
)
def test_whatever_else_is_raised_is_told_with_its_line(tmp_path, line, said):
    assert failure(tmp_path, f"\n{line}\n").startswith(said)


def test_a_file_that_changed_since_is_told_as_python_tells_it(tmp_path, monkeypatch):
    import linecache

    monkeypatch.setattr(linecache, "getlines", lambda name: ["(\n"])
    assert failure(tmp_path, "int(5, nope=1)").endswith("(wrong.py:1)")
