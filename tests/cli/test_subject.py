"""Which protocol a command is to try: an installed one, or one of a file."""

from __future__ import annotations

import pytest
from decoding import frames, run

from protokit.cli.grade import suite
from protokit.cli.subject import protocol_named
from protokit.errors import ProtokitError

TWO = """
from construct import Const, Int8ub, Struct, this
from protokit import Protocol, WireFormat, hookimpl
from protokit.wire import Replies

def made(name, magic):
    frame = Struct(Const(magic), "kind" / Int8ub, "id" / Int8ub)
    replies = Replies(error=lambda status, variant: {"kind": 2})
    return Protocol(name, WireFormat(frame, id=this.id, response=this.kind == 2, replies=replies))

both = [made("left", b"L"), made("right-hand", b"R")]

@hookimpl
def protokit_protocols():
    return both
"""


@pytest.fixture
def two(tmp_path):
    file = tmp_path / "two.py"
    file.write_text(TWO)
    return file


@pytest.mark.parametrize(
    ("name", "sent", "other"), [("left", b"L\1\7", b"R"), ("right-hand", b"R\1\7", b"L")]
)
def test_one_of_the_protocols_of_a_file_is_tried_by_its_name(two, name, sent, other):
    place = f"{two}:{name}"
    assert protocol_named(place).name == name
    (told,) = frames(run("--json", "-p", place, "--input", "raw", data=sent))
    assert (told["protocol"], told["kind"]) == (name, "request")
    assert run("-p", place, "--input", "raw", data=other + sent[1:]).exit_code == 1
    golden = two.parent / f"{name}.jsonl"
    written = run("--golden", "mine 1.0", "-p", place, "--input", "raw", data=sent)
    golden.write_text(written.stdout)
    assert suite(place, [str(golden)], 1).protocol.name == name


@pytest.mark.parametrize(
    ("behind", "says"),
    [
        ("", "two.py brings 2 protocols; say which: {file}:left, {file}:right-hand"),
        (":middle", "two.py has no protocol 'middle'; say which: {file}:left, {file}:right-hand"),
    ],
)
def test_which_protocol_of_a_file_is_meant_has_to_be_said(two, behind, says):
    with pytest.raises(ProtokitError) as caught:
        protocol_named(f"{two}{behind}")
    assert says.format(file=two) in str(caught.value)
    told = run("-p", f"{two}{behind}", data=b"L\1\7")
    assert (told.exit_code, says.format(file=two) in told.stderr) == (1, True)
