"""The native codec on real bytes, cut, joined and spoiled."""

from __future__ import annotations

import random
import struct
import threading

import pytest
from dubbo_vectors import LINES, values
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Writer
from protokit_dubbo.messages import HEADER, Call
from world import World, table

from protokit import Status, native
from protokit.errors import RemoteProtocolError

CODEC = dubbo.wire.address
FRAMES = [bytes.fromhex(line["hex"]) for line in LINES]
REQUESTS = [frame for frame in FRAMES if frame[2] & 0xA0 == 0x80]


def test_there_are_golden_frames_of_the_projects_own():
    assert len([line for line in LINES if "captured" in line.get("origin", "")]) >= 20


@pytest.mark.parametrize("frame", FRAMES[::7], ids=range(len(FRAMES[::7])))
def test_a_truncated_frame_wants_more_and_says_how_much(frame):
    for cut in {*range(1, min(len(frame), 40)), len(frame) // 2, len(frame) - 1}:
        message = native.frame(CODEC, frame[:cut])
        assert message.result == 1
        assert cut < message.need <= len(frame)


@pytest.mark.parametrize("data", [b"G", b"\xda\x00", b"\xbb\xda"])
def test_what_does_not_begin_with_the_magic_is_refused_at_the_first_wrong_byte(data):
    message = native.frame(CODEC, data)
    assert (message.result, message.error_at) == (-1, 1 if data[0] == 0xDA else 0)


@pytest.mark.parametrize(
    ("length", "result"), [(-1, -2), (-(2**31), -2), ((8 << 20) - 15, -3), (2**31 - 1, -3)]
)
def test_lengths_that_cannot_be_are_refused_from_the_header_alone(length, result):
    message = native.frame(CODEC, struct.pack(">HBBQi", 0xDABB, 0xC2, 0, 77, length))
    assert (message.result, message.kind, message.id, message.error_at) == (result, 1, 77, 12)


@pytest.mark.parametrize(("length", "result"), [(1024, 1), (1025, -3)])
def test_an_event_is_short_or_refused_from_the_header_alone(length, result):
    message = native.frame(CODEC, struct.pack(">HBBQi", 0xDABB, 0xE2, 0, 77, length))
    assert (message.result, message.size) == (result, 16 + length)


@given(st.integers(0, 31), st.booleans(), st.binary(max_size=50))
def test_every_serialization_is_framed(serialization, twoway, body):
    frame = HEADER.pack(0xDABB, 0x80 | (0x40 if twoway else 0) | serialization, 0, 5, len(body)) + body
    message = native.frame(CODEC, frame + b"more")
    assert (message.result, message.size, message.kind) == (0, len(frame), 1 if twoway else 2)


def destination(data: bytes) -> int:
    try:
        native.request(CODEC, data)
    except RemoteProtocolError:
        return 0
    return 1


@settings(max_examples=many(400), deadline=None)
@given(st.data())
def test_spoiled_requests_never_escape(data):
    frame = bytearray(data.draw(st.sampled_from(REQUESTS)))
    for _ in range(data.draw(st.integers(1, 6))):
        frame[data.draw(st.integers(16, len(frame) - 1))] = data.draw(st.integers(0, 255))
    destination(bytes(frame))


@settings(max_examples=many(200), deadline=None)
@given(st.data())
def test_cut_requests_never_escape(data):
    frame = data.draw(st.sampled_from(REQUESTS))
    body = frame[16 : data.draw(st.integers(16, len(frame)))]
    destination(frame[:12] + struct.pack(">I", len(body)) + body)


@settings(max_examples=many(300), deadline=None)
@given(
    arguments=st.lists(values, max_size=4),
    group=st.text(max_size=10).filter(lambda text: all(ord(c) < 0xD800 for c in text)),
    timeout=st.sampled_from([1500, "1500", None]),
)
def test_any_arguments_are_stepped_over_to_the_attachments(arguments, group, timeout):
    attachments = {"group": group, "other": "x"} | ({} if timeout is None else {"timeout": timeout})
    frame = Call(
        "a.B", "m", "Ljava/lang/Object;" * len(arguments), arguments, version="1.0", attachments=attachments
    ).encode()
    request = native.request(CODEC, frame)
    assert (request.service, request.method, request.version, request.group) == ("a.B", "m", "1.0", group)
    assert request.timeout_ms == (0 if timeout is None else 1500)
    assert request.headers["other"] == "x"


def outcome(frame: bytes) -> object:
    """What the codec says of a request's destination."""
    try:
        request = native.request(CODEC, frame)
    except RemoteProtocolError as error:
        return str(error)
    return request.service, request.method, request.version, request.group, request.timeout_ms


def outcome_elsewhere(frame: bytes) -> object:
    """The same in a thread that has seen no other request."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(outcome(frame)))
    thread.start()
    thread.join()
    return found[0]


# Bytes behind which others mean something else: a class of one field or of two, an object of the first class.
ONE_FIELD, TWO_FIELDS, OBJECT = b"C\x01a\x91\x01f", b"C\x01b\x92\x01f\x01g", b"\x60"
PIECES = [
    ONE_FIELD,
    TWO_FIELDS,
    OBJECT + b"\x91",
    OBJECT + b"\x91\x92",
    b"\x91",
    b"N",
    b"\x05group\x01g",
    b"H",
    b"Z",
]
PIECES += [
    b"\x04path\x10org.other.Servic",
    b"\x07timeout\x03700",
    b"\x07version\x013",
    b"\x09",
    b"\x30\x28" + b"k" * 40,
]


@settings(max_examples=many(300), deadline=None)
@given(st.data())
def test_what_was_read_before_changes_nothing(data):
    """The codec remembers how requests began and ended."""
    pieces = st.lists(st.sampled_from(PIECES), max_size=5).map(b"".join)
    fronts = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["2.0.2", "2.6.9", "2.0", "2" * 250]),  # the last: too long to be remembered
                st.sampled_from(
                    ["org.demo.Service", "org.demo.Servicf", "org.demo.LongerThanThirtyOneCharacters"]
                ),
                st.sampled_from(["1.0", "1.1", None]),
                st.sampled_from(["call", "colt", "$invoke"]),
                st.sampled_from(["", "I", "Ljava/lang/Object;", "II"]),
            ),
            min_size=1,
            max_size=2,
        )
    )
    tails = data.draw(st.lists(pieces, min_size=1, max_size=3))
    for _ in range(6):
        arguments, tail = data.draw(pieces), data.draw(st.sampled_from(tails))
        frame = body(*data.draw(st.sampled_from(fronts)), raw=arguments + b"H" + tail + b"Z")
        assert outcome(frame) == outcome_elsewhere(frame)


def test_a_tail_means_something_else_behind_arguments_that_define_a_class():
    front, tail = (
        ("2.0.2", "org.demo.Service", "1.0", "call", "I"),
        b"H\x01k" + ONE_FIELD + OBJECT + b"\x91\x05group\x01gZ",
    )
    alone, behind = body(*front, raw=b"\x91" + tail), body(*front, raw=TWO_FIELDS + b"\x91" + tail)
    assert outcome(alone) == ("org.demo.Service", "call", "1.0", "g", 0)
    assert outcome(behind) == outcome_elsewhere(behind) != outcome(alone)
    tail = b"H\x01k" + OBJECT + b"\x91\x92\x05group\x01gZ"
    alone, behind = body(*front, raw=b"\x91" + tail), body(*front, raw=TWO_FIELDS + b"\x91" + tail)
    assert outcome(behind) == ("org.demo.Service", "call", "1.0", "g", 0)
    assert outcome(alone) == outcome_elsewhere(alone) != outcome(behind)


@pytest.mark.parametrize("other", ["2.0.99", "2" * 250])
def test_a_tail_means_something_else_behind_a_front_of_another_length(other):
    """All fronts share two places in the codec's memory; the longest is not remembered."""
    fronts = [(text, "org.demo.Service", "1.0", "call", "") for text in ("2.0.2", other, "2.0.1234")]
    tails = [b"H\x05group\x01gZ", b"H\x05group\x01hZ", b"H\x05group\x01i\x01k\x31\xff" + b"v" * 0x1FF + b"Z"]
    chance = random.Random(1)
    for _ in range(300):
        front, tail = chance.randrange(3), chance.randrange(3)
        frame = body(*fronts[front], raw=tails[tail])
        assert outcome(frame) == ("org.demo.Service", "call", "1.0", "ghi"[tail], 0)


def body(*parts: object, raw: bytes = b"") -> bytes:
    writer = Writer()
    for part in parts:
        writer.write(part)
    data = bytes(writer.data) + raw
    return HEADER.pack(0xDABB, 0xC2, 0, 1, len(data)) + data


FRONT = ("2.0.2", "a.B", "1.0", "m")
MANY = 1_000_000


@pytest.mark.parametrize(
    "argument",
    [
        b"X" + b"I\x7f\xff\xff\xff",  # a list of two billion
        b"V\x01xI\x7f\xff\xff\xff",
        b"C\x01aI\x00\xff\xff\xff",  # a class of too many fields
        b"O\x95",  # an object of a class nobody defined
        b"\x61",
        b"H\x01a",  # a map without its end
        b"W" * 1000,  # nested without end
        b"A\x00\x00" * 1000,  # empty chunks without end
        b"R\x00\x00" * 1000,
        b"C\x01a\x90" * 5000,  # class after class
        b"@",
        b"Q",
        b"S\xff\xffshort",
        b"\x05\xff\xff\xff\xff\xff",
        # What is only opened, a million times.
        *(one * MANY for one in (b"W", b"X\x91", b"H\x01a", b"\x79", b"C\x01a\x91\x01f", b"C\x01a\x90")),
    ],
    ids=range(20),
)
def test_hostile_arguments_are_refused(argument):
    frame = body(*FRONT, "Ljava/lang/Object;", raw=argument + b"N")
    with pytest.raises(RemoteProtocolError):
        native.request(CODEC, frame)


@pytest.mark.parametrize(
    "argument",
    [
        b"R\0\0" * MANY + b"\0",
        b"A\0\0" * MANY + b"\x20",
        b"S\xff\xff" + b"x" * 0xFFFF,
        b"X" + b"I" + struct.pack(">i", MANY) + b"N" * MANY,
        b"W" + b"T" * MANY + b"Z",
        b"H" + b"\x01aN" * MANY + b"Z",
        b"M\x90" + b"\x01aN" * MANY + b"Z",
        b"W" + b"Q\x90" * MANY + b"Z",
        b"W" + b"\x70\x01x" + b"\x70\x90" * MANY + b"Z",
        b"C\x01a\x91\x01f" + b"W" + b"`N" * MANY + b"Z",
        b"".join(b"C\x01a\x91\x01f" for _ in range(200)) + b"W" + b"O\xc8\xc7N" * MANY + b"Z",
    ],
    ids=range(11),
)
def test_a_million_things_are_stepped_over(argument):
    """In linear time: were each looked at again for every other, the run's time limit would be far away."""
    frame = body(*FRONT, "Ljava/lang/Object;", raw=argument + b"H\x05group\x04blueZ")
    assert native.request(CODEC, frame).group == "blue"


def test_a_self_reference_is_stepped_over():
    cyclic: list = []
    cyclic.append(cyclic)
    frame = Call("a.B", "m", "Ljava/util/List;", [cyclic], attachments={"group": "g"}).encode()
    assert native.request(CODEC, frame).group == "g"


def test_headers_are_as_many_as_there_are_or_as_are_asked_for():
    """Around the few that there is room for at first, and around the most."""
    for count in (0, 1, *range(27, 34), 1020, 1021, 1022):
        headers = [(f"k{n}".encode(), f"v{n}".encode()) for n in range(count)]
        attachments = {key.decode(): value.decode() for key, value in headers}
        frame = Call("a.B", "m", "", [], attachments=attachments).encode()
        found = native.raw_headers(CODEC, frame, 2000)
        own = [(b"interface", b"a.B"), (b"path", b"a.B"), (b"version", b"0.0.0")]  # of every call
        assert sorted(found) == sorted(headers + own)
        for most in (1, 31, 32, 33, count + 2, count + 3, count + 4):
            assert native.raw_headers(CODEC, frame, most) == found[:most]


def test_attachments_override_the_fields_in_front():
    frame = Call(
        "a.B", "m", "", [], version="1.0", attachments={"path": "c.D", "interface": "e.F", "version": "2.0"}
    ).encode()
    request = native.request(CODEC, frame)
    assert (request.service, request.version) == ("c.D", "2.0")


def test_a_generic_call_goes_by_the_method_it_names():
    descriptor = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;"
    frame = Call("a.B", "$invoke", descriptor, ["hello", ["java.lang.String"], ["x"]]).encode()
    assert native.request(CODEC, frame).method == "hello"


def test_null_attachments_and_the_extra_int_of_dubbox():
    assert native.request(CODEC, body(*FRONT, "", None)).service == "a.B"
    assert native.request(CODEC, body(*FRONT, -1, "", {"group": "g"})).group == "g"


def test_a_callers_own_budget_ends_its_call():
    world = World(table([CODEC]))
    client = world.client()
    call = Call("a.B", "m", "", [], version="1.0", attachments={"timeout": "300"})
    world.feed(client, call.encode())
    world.wait(290)
    assert world.got[client] == b""
    world.wait(20)
    assert world.got[client][3] == 31  # client timeout


def test_an_error_says_its_text_whatever_is_in_it():
    """Each length, in eights and behind them, with what is not ASCII at each place."""
    for length in range(41):
        plain = ("protokit: " * 5)[:length]
        texts = [plain, *(plain[:at] + "\u00e9" + plain[at + 1 :] for at in range(length))]
        for text in texts:
            frame = native.error(CODEC, Status.OVERLOADED, 7, 2, text.encode())
            front = bytes([length] if length < 32 else [0x30, length])
            assert frame[HEADER.size :] == front + text.encode(), text
