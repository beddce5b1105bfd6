"""A program is run only if every path of it reads what was written, as what it is, and bytes that are there.

The compiler makes no other; here are those that it would make if it were wrong, or somebody else did.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import pytest
from construct import Bytes, Check, GreedyBytes, If, Int8ub, Int16ub, Int32ub, Prefixed, Struct, this
from fewer import many
from hypothesis import HealthCheck, event, given, seed, settings
from hypothesis import strategies as st
from programs import HEADER, KINDS, Runner, insns, place_of, with_insns

from protokit import Status, native
from protokit.cli.subject import protocol_named
from protokit.errors import DeclarationError
from protokit.testing import frames, spoiled
from protokit.wire import (
    ErrorText,
    FromRequest,
    Repeat,
    Replies,
    Until,
    UVar,
    WireFormat,
    crc32,
    decimal,
    first,
    lines,
    number,
    pairs,
    split,
    table,
)

sys.path.append(str(Path(__file__).parents[2] / "native" / "fuzz"))
import fuzz_formats

RUNNER = Runner()
HEAD = pairs(this.head, key=Int8ub, value=Int8ub)


@cache
def small():
    """Some of everything, with branches."""
    return WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int16ub,
            "fixed" / Bytes(3),
            "more" / If(this.kind == 3, UVar(3)),
            "head" / If(this.kind >= 2, Prefixed(Int8ub, GreedyBytes)),
            "body" / Prefixed(Int16ub, GreedyBytes),
            Check(this.more != 5),
            "crc" / If(this.kind == 4, Int32ub),
        ),
        id=this.id,
        response=this.kind == 1,
        status=table(this.more, {0: Status.OK}, Status.INTERNAL),
        app_error=lines(this.body, "=", ";")["failed"] == "yes",
        service=first(HEAD["to"], split(this.fixed, "/", 2)[1]),
        method=this.body,
        timeout=number(HEAD["ms"]),
        headers=HEAD,
        checksum=crc32(this.crc, over=[this.head, this.body]),
        replies=Replies(error=lambda status, variant: {"kind": 1, "fixed": b"   ", "body": ErrorText()}),
    )


def numbered():
    """A destination of integers."""
    return WireFormat(
        Struct("op" / Int16ub, "verb" / Int8ub, "id" / Int16ub),
        id=this.id,
        response=this.op == 0,
        service=decimal(this.op),
        method=table(this.verb, {0: "GET", 1: "SET"}, "other"),
        replies=Replies(error=lambda status, variant: {"op": 0, "verb": 0}),
    )


@cache
def formats():
    made = {"small": small(), "rows": rows()}
    made |= {one.name: one.wire for one in fuzz_formats.protocols()}
    made |= {name: protocol_named(name).wire for name in ("bolt", "motan", "hsf")}
    return made


def changed(image, name, which, **operands):
    """The image with some operands of the which-th instruction of that name changed."""
    wrong = insns(image)
    number = [number for number, one in enumerate(wrong) if one[0] == name][which]
    for key, value in operands.items():
        wrong[number]["nabci".index(key)] = value
    return with_insns(image, wrong)


NEVER = "is read, which some path has not written"
BYTES = "bytes are read that need not be there"
# What becomes of the which-th instruction of a name; the one that is named for it, and why.
WRONG = {
    "a section not said to be absent": ("ABSENT", 0, {"n": "SET", "a": 250}, "VERIFY", f"register 6 {NEVER}"),
    "a number not said to be absent": ("SET", 0, {"a": 250}, "NEI", f"register 4 {NEVER}"),
    "a place not said to be absent": (
        "NOPLACE",
        0,
        {"a": 250},
        "VERIFY",
        "register 12 is no place of a checksum",
    ),
    "a number never read": ("LOAD1", 0, {"a": 250}, "JNE", f"register 0 {NEVER}"),
    "a number as a section": (
        "SLICE",
        0,
        {"b": 0},
        "SLICE",
        "register 0 is a number, and is read as a section",
    ),
    "a number as a saved section": ("SET", 2, {"n": "SAVE", "a": 1}, "SAVE", f"register 1 {NEVER}"),
    "a size as a section": (
        "SLICE",
        0,
        {"b": 10},
        "SLICE",
        "register 10 is a number, and is read as a section",
    ),
    "half a section": ("LOAD2", 1, {"a": 7}, "SECTION", f"register 8 {NEVER}"),
    "a section as a number": (
        "JNE",
        0,
        {"a": 2},
        "JNE",
        "register 2 is where a section begins, and is read as",
    ),
    "a place as a number": (
        "JNE",
        2,
        {"a": 12},
        "JNE",
        "register 12 is where an integer stands, and is read as",
    ),
    "a place of another width": ("MARK", 0, {"b": 2}, "VERIFY", "register 12 is no place of a checksum"),
    "a section since what is read later": (
        "MARK",
        0,
        {"n": "SINCE", "b": 12},
        "SINCE",
        "register 12 is no place of a varint on some path",
    ),
    "less made sure of": ("NEED", 0, {"i": 5}, "SPAN", BYTES),
    "an id behind what is there": ("IDAT", 0, {"i": 5}, "IDAT", BYTES),
    "a number behind what is there": ("LOAD2", 0, {"i": 5}, "LOAD2", BYTES),
    "a number behind what was skipped": ("UVAR", 0, {"n": "LOAD1", "b": 0}, "LOAD1", BYTES),
    "more skipped": ("SKIP", 0, {"i": 7}, "SKIP", BYTES),
    "less skipped": ("SKIP", 3, {"i": 3}, "WHOLE", "something stands behind the frame's end"),
    "the end not looked for": ("WHOLE", 0, {"n": "HERE"}, "VERIFY", "the frame need not be there"),
    "a text before the end": ("NEI", 0, {"n": "SLICE", "b": 6}, "SLICE", "the frame need not be there"),
    "a kind of none": ("KIND", 0, {"i": 0}, "KIND", "no frame is of that kind"),
    "a kind of too many": ("KIND", 0, {"i": 10}, "KIND", "its index is out of range"),
    "a kind not said": ("KIND", 0, {"n": "SET", "a": 250}, "END", "no path said what kind of frame this is"),
    "a status of none": ("STATUS", 0, {"a": 0}, "STATUS", "register 0 may hold what is no status"),
    "a text that is not there": ("TO", 0, {"b": 200}, "TO", f"text 200 {NEVER}"),
    "a text of another path": ("COPY", 0, {"a": 200}, "TO", f"text 5 {NEVER}"),
    "headers in a constant": (
        "SLICE",
        4,
        {"n": "LITERAL", "i": 0},
        "HEADERS",
        "text 10 need not stand in the frame",
    ),
    "a jump backward": ("JNE", 1, {"i": 0}, "JNE", "it jumps backward"),
    "a jump away": ("JNE", 1, {"i": 100000}, "JNE", "its index is out of range"),
    "a map of none": ("LOOK", 0, {"i": 99}, "LOOK", "its index is out of range"),
    "framing in the destination": (
        "NUMBER",
        0,
        {"n": "NEED", "i": 1},
        "NEED",
        "stands outside of the framing",
    ),
    "a destination in the frame": (
        "CONTEXT",
        0,
        {"n": "BUDGET"},
        "BUDGET",
        "stands outside of the destination",
    ),
    "headers in the destination": (
        "TO",
        0,
        {"n": "HEADERS", "i": 0},
        "HEADERS",
        "stands outside of the headers",
    ),
    "a reply in the frame": ("ID", 0, {"n": "EMIT_ID", "b": 2}, "EMIT_ID", "stands outside of a reply"),
    "the frame in a reply": ("EMIT_ID", 0, {"n": "ID"}, "ID", "stands in a reply"),
    "a wide integer in a reply": ("EMIT_ID", 0, {"b": 9}, "EMIT_ID", "its integer is too wide"),
    "an instruction of none": ("NEED", 0, {"n": "NOTHING"}, "?", "it is unknown"),
    "a varint of none": ("UVAR", 0, {"b": 0}, "UVAR", "its integer's width is out of range"),
    "a long varint": ("UVAR", 0, {"b": 11}, "UVAR", "its integer's width is out of range"),
    "an id of another kind": ("ID", 0, {"n": "NAMED", "a": 2}, "NAMED", "ids are integers here"),
    "a step of none": ("SAME", 0, {"n": "STEP"}, "STEP", "its index is out of range"),
    "an own of none": ("SLICE", 3, {"n": "OWN", "i": 1}, "OWN", "its index is out of range"),
    "an empty frame": ("NEED", 0, {"n": "JUMP", "i": 30}, "WHOLE", "a frame may have no bytes"),
    "more than a wrong frame says": ("EARLY", 0, {"n": "SET", "a": 250}, "SLICE", f"register 9 {NEVER}"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_program_is_refused_with_the_instruction(what):
    name, which, operands, where, why = WRONG[what]
    with pytest.raises(DeclarationError, match=f"instruction [0-9]+ .{re.escape(where)}.: {re.escape(why)}"):
        native.declared(changed(small().image("x"), name, which, **operands))


WRONG_MEANT = {
    "a name that is no literal": (
        "CHOOSE",
        {"i": 0},
        "its table holds what is no literal",
    ),
    "a table of none": ("CHOOSE", {"i": 99}, "its index is out of range"),
    "an integer of no bytes": ("INTEGER", {"c": 0}, "its integer's width is out of range"),
    "an integer of many bytes": ("INTEGER", {"c": 9}, "its integer's width is out of range"),
    "digits of what was not read": ("DIGITS", {"b": 250}, f"register 250 {NEVER}"),
    "a name of what was not read": ("CHOOSE", {"b": 250}, f"register 250 {NEVER}"),
    "an integer that is no text": ("INTEGER", {"b": 250}, f"text 250 {NEVER}"),
}


@pytest.mark.parametrize("what", WRONG_MEANT)
def test_wrong_integers_and_names_are_refused_with_the_instruction(what):
    name, operands, why = WRONG_MEANT[what]
    wire = numbered()
    image = bytearray(wire.image("x"))
    if what == "a name that is no literal":
        at, _, _ = place_of(image, "entries")
        image[at + 8 : at + 16] = (1 << 20).to_bytes(8, "little")
        operands = {}
    with pytest.raises(DeclarationError, match=f"instruction [0-9]+ .{name}.: {re.escape(why)}"):
        native.declared(changed(bytes(image), name, 0, **operands))


WRONG_REGIONS = {
    "a measure of none": ("MEASURE", 0, {"i": 99}, "MEASURE", "its index is out of range"),
    "a measure of what need not be there": ("NEED", 1, {"i": 0}, "MEASURE", BYTES),
    "a measured section that is a number": (
        "SLICE",
        0,
        {"b": 0},
        "SLICE",
        "is a number, and is read as a section",
    ),
}


@pytest.mark.parametrize("what", WRONG_REGIONS)
def test_wrong_regions_are_refused_with_the_instruction(what):
    name, which, operands, where, why = WRONG_REGIONS[what]
    image = formats()["regions"].image("x")
    with pytest.raises(
        DeclarationError, match=f"instruction [0-9]+ .{re.escape(where)}.: .*{re.escape(why)}"
    ):
        native.declared(changed(image, name, which, **operands))


@cache
def rows():
    """Parts one behind the other."""
    row = Struct("n" / Int8ub, "mark" / If(this.n == 3, Int8ub))
    return WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "rows" / Repeat(row, until=this.n == this.mark)),
        id=this.id,
        response=this.kind == 1,
        service=this.rows,
        replies=Replies(error=lambda status, variant: {"kind": 1, "rows": b"\0"}),
    )


# The program in front, and what some of its instructions become.
FRAMED = [
    "NEED",
    "LOAD1",
    "LOAD2",
    "IDAT",
    "SKIP",
    "PARTS",
    "SET",
    "NEED",
    "LOAD1",
    "SKIP",
    "JNE",
    "NEED",
    "LOAD1",
    "SKIP",
]
FRAMED += ["EQ", "NOT", "AGAIN", "WHOLE"]
WRONG_PARTS = {
    "parts that begin at something else": (
        {3: ["SET", 2, 0, 0, 0], 16: ["AGAIN", 2, 4, 0, 3]},
        "its parts begin elsewhere",
    ),
    "parts that begin behind": ({16: ["AGAIN", 2, 4, 0, 17]}, "its parts begin elsewhere"),
    "parts of another section": ({16: ["AGAIN", 3, 4, 0, 5]}, "its parts begin elsewhere"),
    "a part without bytes": (
        {7: ["NEED", 0, 0, 0, 0], 8: ["SET", 6, 0, 0, 0], 9: ["SKIP", 0, 0, 0, 0]},
        "a part may have no bytes",
    ),
    "a part that is never begun": ({4: ["JUMP", 0, 0, 0, 6], 5: ["PARTS", 2, 0, 0, 0]}, NEVER),
    "parts that are never begun": (
        {3: ["ABSENT", 2, 0, 0, 0], 4: ["JUMP", 0, 0, 0, 6], 5: ["PARTS", 2, 0, 0, 0]},
        "its parts never begin",
    ),
    "a section that is a number in the next part": (
        {3: ["ABSENT", 10, 0, 0, 0], 14: ["SET", 10, 0, 0, 0], 15: ["NOT", 4, 6, 0, 0]},
        "register 10 is something else behind a part than in front of it",
    ),
    "a text from in front of the parts": (
        {3: ["NONE", 0, 0, 0, 0], 6: ["COPY", 1, 0, 0, 0]},
        f"text 0 {NEVER}",
    ),
    "a place behind a part": (
        {7: ["NEED", 0, 0, 0, 2], 11: ["MARK", 10, 1, 0, 0], 13: ["SKIP", 0, 0, 0, 0]},
        "something stands behind a part's end",
    ),
    "bytes that a part need not have": ({7: ["NEED", 0, 0, 0, 0]}, BYTES),
    "bytes of the first part": (
        {4: ["NEED", 0, 0, 0, 3], 7: ["SET", 10, 0, 0, 0]},
        BYTES,
    ),
    "the end before there are parts": (
        {3: ["SKIP", 0, 0, 0, 3], 4: ["WHOLE", 0, 0, 0, 0], 6: ["SLICE", 0, 2, 0, 0]},
        "the frame need not be there",
    ),
    "parts again by what was not read": ({16: ["AGAIN", 2, 250, 0, 5]}, NEVER),
    "a number for where parts begin": (
        {14: ["SET", 2, 0, 0, 0], 15: ["NOT", 4, 6, 0, 0]},
        "is a number, and is read as",
    ),
}


@pytest.mark.parametrize("what", WRONG_PARTS)
def test_wrong_parts_are_refused_with_the_instruction(what):
    changes, why = WRONG_PARTS[what]
    image = rows().image("x")
    wrong = insns(image)
    assert [one[0] for one in wrong[: len(FRAMED)]] == FRAMED
    for place, one in changes.items():
        wrong[place] = one
    with pytest.raises(DeclarationError, match=f"instruction [0-9]+ .*{re.escape(why)}"):
        native.declared(with_insns(image, wrong))


def test_what_is_kept_of_half_a_frame_ends_where_it_does():
    """A section that is looked into as if all of it were there. Where its frame is wrong, all in front is."""
    wire = WireFormat(
        Struct("kind" / Int8ub, "id" / Int16ub, "name" / Until(b"\n", max=80)),
        id=this.id,
        response=this.kind == 1,
        service=this.name,
        replies=Replies(error=lambda status, variant: {"kind": 1, "name": FromRequest(this.name)}),
    )
    image = wire.image("x")
    native.declared(image)
    with pytest.raises(DeclarationError, match=r"instruction [0-9]+ .SLICE.: the frame need not be there"):
        native.declared(changed(image, "PART", 0, n="SLICE"))


def neighbours(image):
    """Each program that differs in one operand by one, or lacks one instruction."""
    right = insns(image)
    for place, (name, *operands) in enumerate(right):
        lacking = [*right]
        lacking[place] = ["SET", 250, 0, 0, 0]
        yield with_insns(image, lacking)
        for which, value in enumerate(operands):
            for other in (value - 1, value + 1):
                if which == 3 or 0 <= other < 256:
                    wrong = [*right]
                    wrong[place] = [name, *operands[:which], other, *operands[which + 1 :]]
                    yield with_insns(image, wrong)


def samples(wire):
    """Frames of the format, right and wrong, the same every time."""
    found = []

    @seed(1)
    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(frames(wire), spoiled(frames(wire)))
    def draw(right, wrong):
        found.extend([right, wrong])

    draw()
    return sorted(set(found))


def accepted(image):
    try:
        return native.declared(image)
    except DeclarationError:
        return None


SOME_ROWS = [
    b"\0\0\7\0",
    b"\0\0\7\3\3",
    b"\0\0\7\1\2\3\5\0",
    b"\1\0\7\0\0",
    b"\0\0\7\1\3\4\2",
    bytes(9),
    b"\1" * 99,
]


@pytest.mark.parametrize("name", ["small", pytest.param("branches", marks=pytest.mark.slow), "rows"])
def test_what_is_accepted_of_all_neighbours_of_a_program_runs(name):
    wire, runner = formats()[name], Runner()
    some, ran, refused = SOME_ROWS if name == "rows" else samples(wire), 0, 0
    for image in neighbours(wire.image(name)):
        codec = accepted(image)
        refused += codec is None
        if codec is not None:
            ran += 1
            for data in some:
                runner.run(codec, data)
    assert min(ran, refused) > 100


@settings(max_examples=many(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
@pytest.mark.parametrize(
    "name", [one if one == "branches" else pytest.param(one, marks=pytest.mark.slow) for one in formats()]
)
def test_what_is_accepted_of_random_programs_runs(name, data):
    """Any bytes of any table of the image: what is not refused can be run on any frame."""
    wire = formats()[name]
    image = bytearray(wire.image(name))
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from([kind for kind in KINDS if place_of(image, kind)[1]]))
        at, count, size = place_of(image, kind)
        where = at + data.draw(st.integers(0, count * size - 1))
        others = st.sampled_from(
            [image[where] ^ 1, (image[where] + 1) % 256, (image[where] - 1) % 256, 0, 1, 255]
        )
        image[where] = data.draw(others | st.integers(0, 255))
    codec = accepted(bytes(image))
    event("refused" if codec is None else "accepted")
    if codec is not None:
        for frame in (
            data.draw(frames(wire)),
            data.draw(spoiled(frames(wire))),
            data.draw(st.binary(max_size=60)),
        ):
            RUNNER.run(codec, frame or b"\0", data.draw(st.sampled_from([8, 64, 1 << 16])))


AWAY = 1 << 20
SHAPE = "a shape is wrong"
# Which number of which format becomes what, and why that is refused. Of a table: (its name, item, byte in the
# item, bytes); of the header: its name.
WRONG_NUMBERS = {
    "no program": ("small", "magic", 7, "it is no program"),
    "of another size": ("small", "size", 8, "it is no program"),
    "more greetings than there can be": ("small", "greetings.count", 17, "its header is wrong"),
    "more reserved ids than there can be": ("small", "reserved_count", 5, "its header is wrong"),
    "a wide id": ("small", "id_bytes", 9, "its header is wrong"),
    "a name of none": ("small", "name", AWAY, "its header is wrong"),
    "a name without an end": ("small", "name", 1, "its name has no end"),
    "an array behind the image": ("small", "insns.count", AWAY, "an array is outside of the image"),
    "a literal behind the image": ("small", ("literals", 0, 0, 4), AWAY, "a literal is outside of the image"),
    "a literal that is too long": ("small", ("literals", 0, 4, 4), AWAY, "a literal is outside of the image"),
    "a frame's entry away": ("small", "frame", AWAY, "an entry is out of range"),
    "a meaning's entry away": ("small", "meaning", AWAY, "an entry is out of range"),
    "a destination's entry away": ("small", "destination", AWAY, "an entry is out of range"),
    "headers' entry away": ("small", "headers", AWAY, "an entry is out of range"),
    "answers' headers' entry away": ("small", "answers", AWAY, "an entry is out of range"),
    "answers' headers found by what routes": ("small", "answers", 0, "stands outside of the framing"),
    "a reply away": ("small", ("replies", 6, 0, 4), AWAY, "a reply is out of range"),
    "a greeting that nobody says": ("small", "sayings.count", 1, "a greeting is said by nobody"),
    "replies longer than said": ("small", "reply_max", 8, "a reply is longer than reply_max"),
    "no variants": ("small", "variants", 0, "replies and variants do not fit"),
    "too many variants": ("small", "variants", 2, "replies and variants do not fit"),
    "a delimiter of none": ("nasty", ("delimiters", 0, 0, 4), AWAY, "a delimiter is out of range"),
    "a table from behind": ("small", ("tables", 0, 0, 4), AWAY, "a table is out of range"),
    "a table too long": ("small", ("tables", 0, 4, 4), AWAY, "a table is out of range"),
    "statuses of none": ("small", "status", AWAY, "the table of statuses is out of range"),
    "a status of none otherwise": ("small", ("tables", 0, 8, 8), 99, "or holds what is no status"),
    "a status of none": ("small", ("entries", 0, 8, 8), 99, "or holds what is no status"),
    "a map from behind": ("small", ("maps", 0, 24, 4), AWAY, "a map is out of range"),
    "a map too long": ("small", ("maps", 0, 28, 4), AWAY, "a map is out of range"),
    "a map of no kind": ("small", ("maps", 0, 4, 4), 9, "a map is of no kind"),
    "a map of a key of no bytes": ("small", ("maps", 1, 8, 4), 0, "a map's length is too wide"),
    "a map of a value too wide": ("small", ("maps", 1, 12, 4), 9, "a map's length is too wide"),
    "a map between none": ("small", ("maps", 0, 16, 4), AWAY, "a map's separator is out of range"),
    "a map after none": ("small", ("maps", 0, 20, 4), AWAY, "a map's separator is out of range"),
    "a key of none": ("small", ("keys", 0, 0, 4), AWAY, "a key is out of range"),
    "a key to nowhere": ("small", ("keys", 0, 4, 4), 256, "a key is out of range"),
    "a step that does nothing": ("nasty", ("steps", 0, 0, 8), 0, "a step is out of range"),
    "a step of none": ("nasty", ("steps", 0, 8, 4), AWAY, "a step is out of range"),
    "a step of too much": ("nasty", ("steps", 0, 12, 4), AWAY, "a step is out of range"),
    "a measure that does nothing": ("regions", ("measures", 0, 0, 8), 0, "a measure is out of range"),
    "a measure of none": ("regions", ("measures", 0, 8, 4), AWAY, "a measure is out of range"),
    "a measure of too much": ("regions", ("measures", 0, 12, 4), AWAY, "a measure is out of range"),
    "arguments behind the image": ("small", "arguments.count", AWAY, "an array is outside of the image"),
    "arguments found nowhere": ("small", "arguing", AWAY, "an entry is out of range"),
    "measures behind the image": ("regions", "measures.count", AWAY, "an array is outside of the image"),
    "an application's error in no map": ("small", "app_map", AWAY, "what an application error is is out"),
    "an application's error of no text": ("small", "app_text", AWAY, "what an application error is is out"),
    "a checksum nowhere": ("small", ("checksums", 0, 0, 4), 256, "a checksum is out of range"),
    "a checksum of none": ("small", ("checksums", 0, 8, 4), AWAY, "a checksum is out of range"),
    "a checksum of no kind": ("small", ("checksums", 0, 16, 4), 12, "a checksum is out of range"),
    "a checksum of too much": ("small", ("checksums", 0, 12, 4), AWAY, "a checksum is out of range"),
    "an operand of none": ("small", ("operands", 0, 0, 4), 256, "an operand is out of range"),
    "an operand that is no section": (
        "small",
        ("operands", 0, 0, 4),
        4,
        "is a number, and is read as a section",
    ),
    "a counter nowhere": ("sized", ("counters", 0, 0, 4), 256, "a counter of the id is out of range"),
    "a counter too wide": ("sized", ("counters", 0, 4, 4), 9, "a counter of the id is out of range"),
    "a varint among counters": ("sized", ("counters", 0, 4, 4), 0, "a counter of the id is out of range"),
    "a counter of another width": ("sized", ("counters", 0, 4, 4), 3, "what counts an id is no place"),
    "an id that is too long": ("hexed", "id_max", 65, "the id is out of range"),
    "an id without a delimiter": ("lined", "id_delimiter", AWAY, "the id is out of range"),
    "a part that is kept nowhere": ("branches", "keep", AWAY, "an entry is out of range"),
    "a part that is kept from nowhere": ("small", "keep_own", AWAY, "an entry is out of range"),
    "a part of no form": ("branches", ("parts", 0, 0, 4), 4, "a part that is kept is out of range"),
    "a part that is too long": ("branches", ("parts", 0, 4, 4), 256, "a part that is kept is out of range"),
    "a test behind what is tested": ("branches", "tested", 0, "a test leads nowhere"),
    "a test that leads away": ("branches", ("tests", 0, 24, 4), AWAY, "a test leads nowhere"),
    "a test that leads back": ("branches", ("tests", 1, 28, 4), 0, "a test leads nowhere"),
    "a test of another width": ("branches", ("tests", 0, 2, 1), 3, "a test leads nowhere"),
    "a test in no form": ("branches", ("tests", 0, 3, 1), 7, "a test leads nowhere"),
    "a root of none": ("branches", "root", AWAY, "the root is out of range"),
    "a servers' root of none": ("branches", "server_root", AWAY, "the root is out of range"),
    "a servers' root at no shape": ("branches", "server_root", 1 << 31 | AWAY, "the root is out of range"),
    "a root at no shape": ("branches", "root", 1 << 31 | AWAY, "the root is out of range"),
    "a shape with its id behind": ("branches", ("shapes", 0, 4, 2), 60_000, SHAPE),
    "a shape of no kind": ("branches", ("shapes", 0, 6, 1), 0, SHAPE),
    "a shape of another kind": ("branches", ("shapes", 0, 6, 1), 10, SHAPE),
    "a shape of many sections": ("branches", ("shapes", 0, 7, 1), 7, SHAPE),
    "a shape with a checksum nowhere": ("branches", ("shapes", 0, 12, 4), 8, SHAPE),
    "a shape of no variant": ("branches", ("shapes", 0, 16, 4), 9, SHAPE),
    "a shape that keeps too much": ("branches", ("shapes", 0, 22, 1), 4, SHAPE),
    "a shape without what there is not": ("branches", ("shapes", 0, 23, 1), 4, SHAPE),
    "a shape that looks behind": (
        "branches",
        ("shapes", 0, 24, 4),
        0x0101EA60,
        "a shape looks behind its header",
    ),
}


@pytest.mark.parametrize("what", WRONG_NUMBERS)
def test_a_wrong_number_in_a_program_is_refused_with_the_reason(what):
    name, where, value, why = WRONG_NUMBERS[what]
    image = bytearray(formats()[name].image(name))
    if isinstance(where, str):
        array, _, counted = where.partition(".")
        at, size = HEADER[array] + 4 * (counted == "count"), 4
    else:
        kind, index, offset, size = where
        first, count, item = place_of(image, kind)
        assert index < count
        at = first + index * item + offset
    image[at : at + size] = value.to_bytes(size, sys.byteorder)
    with pytest.raises(DeclarationError, match=re.escape(why)):
        native.declared(bytes(image))
