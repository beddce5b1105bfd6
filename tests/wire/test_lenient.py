"""Where peers are lenient or read further than the engine: steps that stop, lines that are no pairs."""

from __future__ import annotations

import pytest
from construct import Bytes, Const, Int8ub, Int16ub, Int32ub, Rebuild, Struct, len_, this
from steps import step_agrees

from protokit import Status, native
from protokit.errors import DeclarationError, RemoteProtocolError
from protokit.model import Headers
from protokit.wire import Replies, WireFormat, byte_id, hessian2_strings, hessian_fields, lines, table

DRAFT_FRONT, FINAL_FRONT = b"O\x93x.Y\x92\x01c\x01ao\x90", b"C\x03x.Y\x92\x01c\x01a\x60"
NESTED = {
    "draft lists": lambda n: DRAFT_FRONT + b"V" * n + b"N" + b"z" * n,
    "draft counted lists": lambda n: DRAFT_FRONT + b"v\x90\x91" * n + b"N",
    "draft maps": lambda n: DRAFT_FRONT + b"M\x01k" * n + b"N" + b"z" * n,
    "draft objects": lambda n: DRAFT_FRONT + b"O\x91z\x91\x01f" + b"o\x91" * n + b"N",
    "lists": lambda n: FINAL_FRONT + b"W" * n + b"N" + b"Z" * n,
    "counted lists": lambda n: FINAL_FRONT + b"X\x91" * n + b"N",
    "short lists": lambda n: FINAL_FRONT + b"\x79" * n + b"N",
    "maps": lambda n: FINAL_FRONT + b"H\x01k" * n + b"N" + b"Z" * n,
    "objects": lambda n: FINAL_FRONT + b"C\x01z\x91\x01f" + b"\x61" * n + b"N",
}


@pytest.mark.parametrize("levels", [31, 32, 33, 63, 64, 127, 128, 129, 600, 16_384, 16_385])
@pytest.mark.parametrize("kind", NESTED)
def test_steps_go_as_deep_as_a_jvm_reads_and_say_where_they_stop(kind, levels):
    step, arguments = hessian_fields(this.text, "a").step, (b"a",)
    found = step_agrees(step, NESTED[kind](levels) + b"\x02hi", arguments)
    assert found == ([b"hi", None] if levels <= 16_384 else None)


@pytest.mark.parametrize("classes", [63, 64, 255, 256, 300, 4095, 4096])
@pytest.mark.parametrize("draft", [True, False])
def test_steps_know_as_many_classes_as_a_jvm_has(draft, classes):
    step, arguments = hessian_fields(this.text, "a").step, (b"a",)
    front, one = (DRAFT_FRONT, b"O\x91z\x90") if draft else (FINAL_FRONT, b"C\x01z\x90")
    found = step_agrees(step, front + one * classes + b"N" + b"\x02hi", arguments)
    assert found == ([b"hi", None] if classes < 4096 else None)  # one stands in front


@pytest.mark.parametrize(
    ("step", "arguments", "section"),
    [
        (hessian_fields(this.text, "a").step, (b"a",), b"O\x93x.Y\x91\x01ao\x90s\0\1aS\0\1b"),
        (hessian_fields(this.text, "a").step, (b"a",), b"C\x03x.Y\x91\x01a\x60R\0\1aS\0\1b"),
        (hessian2_strings(this.text, 2).step, (), b"R\0\1aS\0\1b"),
    ],
)
def test_a_wanted_text_in_chunks_is_more_than_a_step_reads(step, arguments, section):
    assert step_agrees(step, section, arguments) is None


LETTERS = [b"\xc1\xa1", b"\xe0\x81\xa1", b"\xc3\x36", b"\xe4\x41\xa0", b"\xc0\x80", b"\xf5\x80\x80\x80"]
CHARACTERS = [b"a", "\u00f6".encode(), "\U0001f680".encode(), b"\xed\xa0\xbd\xed\xba\x80", b"\xed\xa0\xbd"]


@pytest.mark.parametrize("letter", LETTERS + CHARACTERS, ids=bytes.hex)
def test_a_character_in_more_bytes_than_it_needs_is_read_otherwise_by_java(letter):
    """Where nobody asks for it, it is passed; surrogates stand alone, as Java writes them."""
    units = {b"\xf5": 2, b"\xf0": 2}.get(letter[:1], 2 if len(letter) == 6 else 1)
    text, names = bytes([units]) + letter, hessian_fields(this.text, "a", letter.decode("latin-1")).step
    for front in (DRAFT_FRONT, FINAL_FRONT):
        asked = step_agrees(names, front + b"\1c" + text, (b"a", b"z"))
        assert asked == ([letter, None] if letter in CHARACTERS else None)
        assert step_agrees(names, front + text + b"\2hi", (b"a", b"z")) == [b"hi", None]
        named = front.replace(b"\1c", text) + b"\1c\2hi"
        assert step_agrees(names, named, (b"a", b"z")) == ([b"hi", None] if letter in CHARACTERS else None)
    strings = hessian2_strings(this.text, 2).step
    assert step_agrees(strings, b"\2hi" + text, ()) == ([b"hi", letter] if letter in CHARACTERS else None)


def declared(**meaning):
    """A format of one section, `body`."""
    return WireFormat(
        Struct(
            Const(b"ST"),
            "status" / Int8ub,
            "id" / Int16ub,
            "size" / Rebuild(Int32ub, len_(this.body)),
            "body" / Bytes(this.size),
        ),
        id=this.id,
        response=this.status > 0,
        status=table(this.status, {int(status) + 1: status for status in Status}, Status.INTERNAL),
        replies=Replies(error=lambda status, variant: {"status": int(status) + 1, "body": b""}),
        **meaning,
    )


STEPPED = declared(service=hessian_fields(this.body, "a")[0])


def test_a_request_of_which_a_step_reads_not_all_cannot_be_read():
    request = STEPPED.build({"status": 0, "id": 1, "body": NESTED["maps"](600) + b"\x02hi"})
    assert native.request(STEPPED.address, request).service == STEPPED.message(request).service == "hi"
    request = STEPPED.build({"status": 0, "id": 1, "body": NESTED["maps"](16_385) + b"\x02hi"})
    with pytest.raises(RemoteProtocolError):
        native.request(STEPPED.address, request)
    with pytest.raises(RemoteProtocolError):
        STEPPED.message(request)


IN_TURN = lines(this.body, "\n", "\n")
BY_LINE = lines(this.body, ": ", "\r\n")


@pytest.mark.parametrize(
    ("form", "meta", "found"),
    [
        (IN_TURN, b"a\n1\nb\n2", {"a": "1", "b": "2"}),
        (IN_TURN, b"a\n1\nb\n2\n", {"a": "1", "b": "2"}),
        (IN_TURN, b"a\n1\nodd", {"a": "1"}),
        (IN_TURN, b"a\n1\nlast\n", {"a": "1", "last": ""}),
        (IN_TURN, b"note\nline 1\nline 2\na\n1", {"note": "line 1", "line 2": "a"}),
        (IN_TURN, b"odd", {}),
        (IN_TURN, b"\n", {"": ""}),
        (BY_LINE, b"a: 1\r\nb: 2\r\n", {"a": "1", "b": "2"}),
        (BY_LINE, b"GET / HTTP\r\na: 1\r\n\r\nb: 2: 3", {"a": "1", "b": "2: 3"}),
        (BY_LINE, b"a: \r\nrest", {"a": ""}),
        (BY_LINE, b"rest", {}),
    ],
)
def test_of_lines_that_are_no_pairs_the_pairs_are_read_and_all_is_passed_on(form, meta, found):
    wire = declared(service=form["a"], headers=form)
    request = wire.build({"status": 0, "id": 1, "body": meta})
    seen, expected = native.request(wire.address, request), wire.message(request)
    assert seen.headers == expected.headers == Headers(found)
    assert seen.service == expected.service == found.get("a", "")
    changed = wire.edit(request, [(native.EDIT_HEADER, "new", "value")])
    assert native.request(wire.address, changed).headers == Headers({**found, "new": "value"})
    assert all(line in wire.message(changed).fields.body for line in meta.split(form.encoding.after))


FIELDS = (hessian_fields(this.text, "a", "b").step, (b"a", b"b"))


@pytest.mark.parametrize(
    ("section", "found"),
    [
        # Classes in front, of which the object's is not the first.
        (b"O\x91z\x91\x01ao\x90S\0\1x", [b"x", None]),
        (b"O\x91z\x91\x01aO\x91y\x92\x01a\x01bo\x91S\0\1xS\0\1y", [b"x", b"y"]),
        (b"C\x01z\x91\x01aC\x01y\x92\x01a\x01b\x61\x01x\x01y", [b"x", b"y"]),
        # An object that is written as a map of its type.
        (b"Mt\0\3x.Y\x01aS\0\1x\x01bS\0\1yz", [b"x", b"y"]),
        (b"M\3x.Y\x01a\x01x\x01kH\x01b\x01zZ\x01b\x01yZ", [b"x", b"y"]),
        (b"M\3x.YC\x01z\x90\x01a\x01xZ", [b"x", None]),
        # Of a name that stands twice the last counts.
        (b"O\x91z\x93\x01a\x01b\x01ao\x90\x01x\x01y\x01z", [b"z", b"y"]),
        (b"M\3x.Y\x01a\x01x\x01a\x01zZ", [b"z", None]),
        (b"M\3x.Y\x01a\x01x\x01aNZ", [None, None]),
        # Longs that count, and more fields than anybody writes.
        (b"C\x01z\xe2\x01a\x01b\x60\x01x\x01y", [b"x", b"y"]),
        (b"C\x01z\xc9\x91" + b"\x01k" * 400 + b"\x01a" + b"\x60" + b"N" * 400 + b"\x01x", [b"x", None]),
        # No map, no object: a key without a value, what is behind no longer matters.
        (b"M\3x.Y\x01a\x01x\x01bZ", [None, None]),
        (b"C\x01z\x92\x01k\x01a\x60H\x01kZ\x01xZ", [None, None]),
        (b"C\x01z\x92\x01a\x01k\x60\x01x\xff", [b"x", None]),
        (b"H\x01a\x01xZ", [None, None]),
        # A name in chunks may be any.
        (b"C\x01z\x91R\0\0\x01a\x60\x01x", None),
        (b"M\3x.YR\0\0\x01a\x01xZ", None),
    ],
)
def test_fields_are_found_where_their_receiver_finds_them(section, found):
    assert step_agrees(FIELDS[0], section, FIELDS[1]) == found


@pytest.mark.parametrize(
    ("form", "meta", "changed"),
    [
        (("=", ";"), b"a=1;b=2;", b"a=1;b=2;x=1;"),
        (("=", ";"), b"a=1;b=2", b"a=1;b=2;x=1"),
        (("=", ";"), b"", b"x=1"),
        (("=", ";"), b"a=1;;", b"a=1;x=1;;"),
        (("\n", "\n"), b"a\n1\n", b"a\n1\nx\n1\n"),
        (("\n", "\n"), b"a\n1", b"a\n1\nx\n1"),
    ],
)
def test_a_pair_put_in_and_taken_out_leaves_the_end_as_it_was(form, meta, changed):
    made = WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int32ub,
            "size" / Rebuild(Int16ub, len_(this.meta)),
            "meta" / Bytes(this.size),
        ),
        id=this.id,
        response=this.kind == 2,
        status=table(this.kind, {2: Status.OK}, Status.INTERNAL),
        headers=lines(this.meta, *form),
        replies=Replies(error=lambda status, variant: {"kind": 2, "meta": b""}),
    )
    frame = made.build({"kind": 1, "id": 7, "meta": meta})
    added = made.edit(frame, [(native.EDIT_HEADER, "x", "1")])
    assert made.parse(added)[0].meta == changed
    assert made.edit(added, [(native.EDIT_HEADER, "x", None)]) == frame


class TestRepeated:
    """Of a key of lines that stands twice the one counts that its readers take."""

    LINES = b"a:1\nb:2\na:3\nc:4\nb:5\nA:6\n"

    @pytest.mark.parametrize("ignore_case", [False, True])
    @pytest.mark.parametrize("repeated", ["first", "last"])
    def test_engine_and_reference_take_the_same_one(self, repeated, ignore_case):
        form = lines(this.body, ":", "\n", repeated=repeated, ignore_case=ignore_case)
        wire = declared(service=form["a"], method=form["b"], version=form["c"], headers=form)
        request = wire.build({"status": 0, "id": 1, "body": self.LINES})
        seen, said = native.request(wire.address, request), wire.message(request)
        last = "6" if ignore_case else "3"
        assert seen.service == said.service == ("1" if repeated == "first" else last)
        assert seen.method == said.method == ("2" if repeated == "first" else "5")
        assert seen.version == said.version == "4"
        for key, found in (("a", seen.service), ("b", seen.method), ("c", "4")):
            assert native.header(wire.address, request, key) == found
            assert seen.headers[key] == said.headers[key] == found
        assert seen.headers == said.headers
        assert native.header(wire.address, request, "d") is None

    @pytest.mark.parametrize("repeated", ["first", "last"])
    def test_what_is_set_is_what_counts_then(self, repeated):
        form = lines(this.body, ":", "\n", repeated=repeated)
        wire = declared(service=form["a"], headers=form)
        request = wire.build({"status": 0, "id": 1, "body": self.LINES})
        for edit in ((native.EDIT_SERVICE, "", "x"), (native.EDIT_HEADER, "a", "x")):
            edited = wire.edit(request, [edit])
            assert native.request(wire.address, edited).service == "x"
            assert wire.parse(edited)[0].body.count(b"a:") == 1

    @pytest.mark.parametrize(("repeated", "id_"), [("first", b"1"), ("last", b"3")])
    def test_an_id_that_stands_twice_is_the_one_that_counts_and_the_other_stays(self, repeated, id_):
        form = lines(this.body, ":", "\n", repeated=repeated)
        wire = WireFormat(
            Struct("kind" / Int8ub, "size" / Rebuild(Int32ub, len_(this.body)), "body" / Bytes(this.size)),
            id=byte_id(form["a"], max=20),
            response=this.kind == 1,
            replies=Replies(error=None),
        )
        request = wire.build({"kind": 0, "body": self.LINES})
        assert native.frame(wire.address, request).id == id_ == wire.message(request).id
        patched = native.patch_id(wire.address, request, 77)
        assert wire.parse(patched)[0].body == self.LINES.replace(b"a:" + id_, b"a:77")

    def test_more_keys_twice_than_anybody_writes_are_refused(self):
        form = lines(this.body, ":", "\n", repeated="first")
        wire = declared(headers=form)
        for count in (64, 65):
            body = b"".join(b"k%d:v\n" % n for n in range(count)) * 2
            request = wire.build({"status": 0, "id": 1, "body": body})
            if count == 64:
                assert len(native.request(wire.address, request).headers) == count
                continue
            with pytest.raises(RemoteProtocolError, match="65 keys are there twice, over 64"):
                native.headers(wire.address, request)


@pytest.mark.parametrize("repeated", ["both", "", None, 1])
def test_which_of_several_counts_is_the_first_or_the_last(repeated):
    with pytest.raises(DeclarationError, match="of a key that stands twice 'first' or 'last' counts"):
        lines(this.body, ":", "\n", repeated=repeated)
