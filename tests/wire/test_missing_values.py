"""A frame, or a reply, that lacks a value: the field is named, whichever branch it is in."""

from __future__ import annotations

import pytest
from construct import (
    Bytes,
    Error,
    GreedyBytes,
    If,
    IfThenElse,
    Int8ub,
    Int16ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    Switch,
    len_,
    this,
)

from protokit.errors import DeclarationError, LocalProtocolError
from protokit.wire import ErrorText, Replies, Until, UVar, WireFormat, side

SECTIONS = {
    "counted": ["n" / Rebuild(Int8ub, len_(this.x)), "x" / Bytes(this.n)],
    "counted by a varint": ["n" / Rebuild(UVar(2), len_(this.x)), "x" / Bytes(this.n)],
    "prefixed": ["x" / Prefixed(Int16ub, GreedyBytes)],
    "delimited": ["x" / Until(b";", max=9)],
    "fixed": ["x" / Bytes(3)],
    "integer": ["x" / Int16ub],
}
OTHER = Struct("other" / Int8ub)
BRANCHES = {
    "a side": lambda inner: IfThenElse(side == "client", inner, OTHER),
    "the other side": lambda inner: IfThenElse(side == "server", OTHER, inner),
    "a field": lambda inner: IfThenElse(this.kind == 1, inner, OTHER),
    "a field and a side": lambda inner: IfThenElse((side == "server") | (this.kind != 1), OTHER, inner),
    "a branch in a branch": lambda inner: IfThenElse(
        this.kind == 1, IfThenElse(side == "client", inner, OTHER), OTHER
    ),
    "cases": lambda inner: Switch(this.kind, {1: inner, 2: OTHER}, default=Error),
    "what may be there": lambda inner: If(side == "client", inner),
}


def made(*fields, **given):
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int32ub, *fields),
        **{"id": this.id, "response": this.kind == 2, "replies": Replies(error=None), **given},
    )


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("section", SECTIONS)
def test_a_value_that_is_missing_in_a_branch_is_named(section, branch):
    wire = made("in" / BRANCHES[branch](Struct("first" / Int8ub, *SECTIONS[section])))
    values = {"kind": 1, "id": 1}
    for part in ({"first": 1}, {"first": 1, "x": None}):
        with pytest.raises(
            LocalProtocolError, match=r"built: in\.x has no value; give it one: {'x': \.\.\.}"
        ):
            wire.build({**values, "in": part}, side="client")
    for part in ({}, {"in": None}):
        with pytest.raises(LocalProtocolError, match=r"built: in has no value; give it one: {'in': \.\.\.}"):
            wire.build({**values, **part}, side="client")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_is_a_branch_itself_is_named(section):
    *front, last = SECTIONS[section]
    wire = made(*front, "x" / IfThenElse(side == "client", last.subcon, Int8ub))
    with pytest.raises(LocalProtocolError, match=r"built: x has no value; give it one"):
        wire.build({"kind": 1, "id": 1}, side="client")


def test_values_that_choose_no_case_are_told_so():
    wire = made("in" / Switch(this.kind, {1: OTHER}, default=Error))
    with pytest.raises(LocalProtocolError, match="in: none of its cases is for these values; change what"):
        wire.build({"kind": 7, "id": 1, "in": {}})
    with pytest.raises(LocalProtocolError, match="in: 7 was given; it takes values by the names"):
        wire.build({"kind": 1, "id": 1, "in": 7})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, r"in has no value"),
        ({"in": {}}, r"in\.code has no value"),
        ({"in": {"code": 1}}, r"in\.why has no"),
    ],
)
def test_a_reply_of_a_format_with_sides_lacks_nothing_unnamed(values, named):
    told = Struct("code" / Int8ub, "size" / Rebuild(Int8ub, len_(this.why)), "why" / Bytes(this.size))
    with pytest.raises(DeclarationError, match=f"the error reply of NO_SERVICE cannot be built: {named}"):
        made(
            "in" / IfThenElse(side == "client", OTHER, told),
            response=side == "server",
            replies=Replies(error=lambda *_: {"kind": 2, **values}),
        )
    assert made(
        "in" / IfThenElse(side == "client", OTHER, told),
        response=side == "server",
        replies=Replies(error=lambda *_: {"kind": 2, "in": {"code": 1, "why": ErrorText()}}),
    )
