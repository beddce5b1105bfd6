"""Ids inside of structures, as they are encoded there: JSON, MessagePack, lists of tags."""

from __future__ import annotations

import struct

import pytest
from construct import GreedyBytes, Int8ub, Int16ub, Int16ul, Int32sb, Prefixed, Struct, this
from named import protocols, values
from world import World, table

from protokit import WireFormat, native
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.wire import Counted, ErrorText, Replies, UVar, ber, byte_id, json, msgpack, tlv

MODES = ("multiplexed", "ordered", "pingpong", "pinned")
NAMED = {name: one.wire for name, one in protocols().items()}


def wire(request_id, mode="multiplexed", reply=b""):
    return WireFormat(
        Struct("kind" / Int8ub, "head" / Prefixed(UVar(3), GreedyBytes)),
        id=request_id,
        response=this.kind == 2,
        mode=mode,
        replies=Replies(error=lambda status, variant: {"kind": 2, "head": reply or ErrorText()}),
    )


FORMS = {
    "json": wire(byte_id(json(this.head)["id"], max=20), reply=[b'{"id":0,"why":"', ErrorText(), b'"}']),
    "json in json": wire(byte_id(json(this.head)["a"][1], max=20), reply=b'{"a":[2,0]}'),
    "msgpack": wire(byte_id(msgpack(this.head)["id"]), reply=b"\x80"),
    "msgpack in msgpack": wire(byte_id(msgpack(this.head)[1][7], max=12), reply=b"\x92\xc0\x80"),
    "ber": wire(byte_id(ber(this.head)[0][0], max=5), reply=b"\x30\3\2\1\0"),
    "ber in ber": wire(
        byte_id(ber(this.head)[1]["bf8123"]["81"], max=64, form="decimal"),
        reply=[b"\5\0\x30\x82", Counted(Int16ub, b"\xbf\x81\x23\3\x81\1" + b"0\4", ErrorText(count=Int8ub))],
    ),
    "tlv": wire(byte_id(tlv(this.head, tag=Int8ub, length=Int8ub)[7], max=20), reply=b"\7\0"),
    "tlv in tlv": wire(
        byte_id(tlv(this.head, tag=Int16ul, length=Int32sb)[7][1], max=8, form="raw"),
        reply=b"\7\0" + bytes(4),
    ),
}


def tag(number, value):
    return struct.pack("<H", number) + struct.pack(">i", len(value)) + value


SECTIONS = {
    "json": [
        *(b'{"id":%s,"x":2}' % one for one in (b"1", b'"1"', b"1.0", b"-1e9", b'"\\u00e9"', b'""')),
        *(b'{"id":%s}' % one for one in (b"null", b"true", b"false", b"[1]", b"{}", b"01", b"tru", b'"\n"')),
        b' { "x" : {"id":5} , "id" : 3 } ',
        b'{"id":1,"ID":2}',
        b'{"id":1,"id":2}',
        b'{"id":1,"i\\u0064":2}',
        b'{"id":1} x',
        b'{"id":1',
        b'[{"id":1}]',
        b"{}",
        b"5",
        b"",
    ],
    "json in json": [b'{"a":[0,"x"]}', b'{"a":[0]}', b'{"a":{"1":2}}', b'{"a":[[1,2],3.5,{}]}'],
    "msgpack": [
        *(b"\x82\xa1x\x01\xa2id" + one for one in (b"\x07", b"\xff", b"\xcc\x07", b"\xcd\0\x07")),
        *(b"\x81\xa2id" + one for one in (b"\xce\0\0\0\x07", b"\xcf" + bytes(8), b"\xd3" + bytes(8))),
        *(b"\x81\xa2id" + one for one in (b"\xa1a", b"\xd9\x01a", b"\xc4\x01a", b"\xa0", b"\xa9" + 9 * b"a")),
        *(b"\x81\xa2id" + one for one in (b"\xc0", b"\xc3", b"\x90", b"\x80", b"\xca\0\0\0\0", b"\xd4\0\0")),
        b"\x82\xa2id\x01\xa2id\x02",
        b"\x82\xa2id\x01\xa1x\xc1",
        b"\x91\x01",
        b"\x81\xa2id\x01more",
        b"",
    ],
    "msgpack in msgpack": [b"\x92\x01\x81\x07\xa1a", b"\x92\x01\x81\x07\xcd\1\0", b"\x92\x01\x81\xa17\x01"],
    "ber": [
        *(b"\x30%c\2%c" % (len(one) + 2, len(one)) + one for one in (b"\0", b"\x7f", b"\xff", b"\0\x80")),
        *(b"\x30%c\2%c" % (len(one) + 2, len(one)) + one for one in (b"", b"\1\2\3\4\5", b"123456")),
        b"\x30\x81\3\2\1\7",  # lengths that are longer than they must be
        b"\x30\x84\0\0\0\5\2\x82\0\1\7",
        b"\x30\x88" + bytes(7) + b"\3\2\1\7",
        b"\x30\x7f\2\1\7\4\x7a" + bytes(122),  # with a longer id it has no place in a byte
        b"\x30\x81\xff\2\1\7\4\x81\xf9" + bytes(249),
        b"\x30\3\2\1\7\2\1\6",
        b"\x30\3\4\1a",
        b"\x30\5\x30\3\2\1\7",
        b"\x30\2\4\0",
        b"\x30\0",
        b"\2\1\7",
        b"\x30\x80\2\1\7\0\0",  # indefinite
        b"\x30\x03\2\1\7\0",
        b"",
    ],
    "ber in ber": [
        b"\2\1\7\x30\7\xbf\x81\x23\3\x81\1a",
        b"\2\1\7\x30\x0e\xbf\x81\x23\3\x81\1a\xbf\x81\x23\3\x81\1b",
        b"\2\1\7\x30\x0a\xbf\x81\x23\6\x81\1a\x81\1b",
        b"\2\1\7\x30\7\xbf\x81\x24\3\x81\1a",
        b"\2\1\7\x30\x09\xbf\x81\x23\5\xa1\3\x81\1a",
        b"\2\1\7\x30\x0c\xbf\x81\x23\x82\0\6\x81\1a\x80\1b",
        b"\x04\x82\0\0\x30\x81\x84\xbf\x81\x23\x7f\x81\1a\4\x7a" + bytes(122),
    ],
    "tlv": [b"\7\1a", b"\1\1b\7\1a", b"\7\1a\7\0\3\0", b"\7\2a", b"\7\1a\5", b"\7\1a\5\2x", b""],
    "tlv in tlv": [
        tag(7, tag(1, b"\0\0\0\5") + tag(2, b"x")) + tag(9, b"y"),
        tag(7, tag(1, b"a")) + tag(7, tag(1, b"b")),
        tag(7, tag(1, b"a")) + tag(7, b""),
        tag(7, tag(1, b"a") + b"\1\0\xff\xff\xff\xff"),
        tag(7, tag(1, b"a")) + b"\1",
    ],
}
CASES = [(form, number) for form, sections in SECTIONS.items() for number in range(len(sections))]


@pytest.mark.parametrize(("form", "number"), CASES)
def test_what_stands_in_a_structure_is_an_id_as_the_reference_has_it(form, number):
    one, section = FORMS[form], SECTIONS[form][number]
    for end in range(len(section), -1, -1):
        frame = one.build({"kind": 1, "head": section[:end]})
        found = native.frame(one.address, frame)
        try:
            container, _ = one.parse(frame)
        except RemoteProtocolError as error:
            assert "are allowed at most" in str(error)
            assert found.result < 0
            continue
        assert found.id == one.message(frame).id
        if one.id_of(container) is None:
            assert native.patch_id(one.address, frame, one.meaning.named.write(200)) == frame
            continue
        for other in (0, 200, 1 << 31, one.meaning.named.longest):
            token = one.meaning.named.write(other) if isinstance(other, int) else other
            made = one.parse(frame)[0]
            one.meaning.named.put(made, token)
            changed = native.patch_id(one.address, frame, token)
            assert changed == one.build(made)
            assert native.frame(one.address, changed).id == token
            assert native.patch_id(one.address, changed, found.id) == frame


NO_IDS = {
    "json": [
        b"",
        b"null",
        b"true",
        b"[1]",
        b"{}",
        b"1 ",
        b" 1",
        b'"',
        b'"a"b',
        b"1,2",
        b"01",
        b"\n1",
        b"x",
        b"1" * 21,
    ],
    "msgpack": [
        b"",
        b"\xc0",
        b"\xc2",
        b"\x90",
        b"\x01\x02",
        b"\xa1",
        b"\xcd\1",
        b"\xca\0\0\0\0",
        b"\xa9" + b"a" * 9,
    ],
    "ber": [b"", b"123456"],
    "tlv": [b"a" * 21],
}


@pytest.mark.parametrize("form", NO_IDS)
def test_what_can_be_no_id_is_written_nowhere(form):
    one = FORMS[form]
    frame = one.build({"kind": 1, "head": SECTIONS[form][0]})
    for wrong in NO_IDS[form]:
        assert not one.meaning.named.allows(wrong)
        with pytest.raises(LocalProtocolError, match="cannot have the id"):
            native.patch_id(one.address, frame, wrong)


def test_a_length_that_has_no_room_for_another_id_is_left_as_it_is():
    one = wire(byte_id(tlv(this.head, tag=Int8ub, length=Int8ub)[7][1], max=20), reply=b"\7\0")
    frame = one.build({"kind": 1, "head": b"\7\xff\1\1a" + b"\2\xfa" + bytes(250)})
    assert native.patch_id(one.address, frame, b"b") == frame.replace(b"a", b"b")
    with pytest.raises(LocalProtocolError, match="cannot have the id"):
        native.patch_id(one.address, frame, b"bb")


WRITTEN = {
    "tagged": [b"", b"a", b"0" * 64, bytes(range(20))],
    "quoted": [b"1", b'"1"', b"1.0", b'"\\u0031"', b"-0", b"1E+5", b'""', b'"' + b"a" * 38 + b'"'],
    "numbered": [b"1", b'"1"', b"1.0", b'"\\u0031"', b"-0", b"1E+5", b'""', b'"' + b"a" * 38 + b'"'],
    "encoded": [b"\x01", b"\xff", b"\0\0\1", bytes(20)],
    "packed": [
        b"\x01",
        b"\xcc\x01",
        b"\xd0\xff",
        b"\xcd\0\1",
        b"\xce\0\0\0\1",
        b"\xd2\0\0\0\1",
        b"\xa0",
        b"\xa4abcd",
    ],
    "correlated": [b"\x01", b"\xff" * 9 + b"\1"],
}


def frame_of(name, kind, token, body):
    one = NAMED[name]
    made = values(kind, body) | {"head": b"", "meta": b""}
    key = "meta" if name == "correlated" else "head"
    made[key] = one.meaning.named.view.holding(token)
    return one.build(made)


@pytest.mark.parametrize("name", WRITTEN)
def test_an_id_is_put_back_as_its_client_wrote_it(name):
    world = World(table([NAMED[name].address]))
    client = world.client()
    for number, token in enumerate(WRITTEN[name], 1):
        world.feed(client, frame_of(name, 1, token, b"a.B m x"))
        up = world.only_upstream()
        issued = NAMED[name].meaning.named.write(number)
        assert bytes(world.got[up]) == frame_of(name, 1, issued, b"a.B m x")
        world.feed(up, frame_of(name, 2, issued, b"right"))
        assert bytes(world.got[client]) == frame_of(name, 2, token, b"right")
        world.got[up].clear()
        world.got[client].clear()


def test_an_integer_of_messagepack_is_read_in_every_width():
    """Servers write an integer as their library does."""
    widths = [b"\x01", b"\xcc\x01", b"\xcd\0\1", b"\xce\0\0\0\1", b"\xd0\x01", b"\xd1\0\1", b"\xd2\0\0\0\1"]
    others = [
        b"\xff",
        b"\xd0\xff",
        b"\xd1\xff\1",
        b"\xd2\xff\0\0\1",
        b"\xcd\1\1",
        b"\xa11",
        b"\xce\1\0\0\1",
        b"\x02",
    ]
    for width in widths:
        world = World(table([NAMED["packed"].address]))
        client = world.client()
        world.feed(client, frame_of("packed", 1, b"\xa1a", b"a.B m x"))
        up = world.only_upstream()
        for other in others:
            world.feed(up, frame_of("packed", 2, other, b"wrong"))
        assert bytes(world.got[client]) == b""
        world.feed(up, frame_of("packed", 2, width, b"right"))
        assert bytes(world.got[client]) == frame_of("packed", 2, b"\xa1a", b"right")


def test_an_integer_of_messagepack_below_0_is_no_number_of_the_engines():
    """It has the bits of one that is issued."""
    world = World(table([NAMED["packed"].address]))
    client = world.client()
    for number in range(1, 201):
        world.feed(client, frame_of("packed", 1, b"\xa1a", b"a.B m x"))
        up = world.only_upstream()
        issued = NAMED["packed"].meaning.named.write(number)
        assert bytes(world.got[up]) == frame_of("packed", 1, issued, b"a.B m x")
        world.got[up].clear()
        if number < 200:
            world.feed(up, frame_of("packed", 2, issued, b"right"))
    world.got[client].clear()
    world.feed(up, frame_of("packed", 2, b"\xd0\xc8", b"wrong"))
    assert bytes(world.got[client]) == b""
    world.feed(up, frame_of("packed", 2, b"\xcc\xc8", b"right"))
    assert bytes(world.got[client]) == frame_of("packed", 2, b"\xa1a", b"right")


def test_an_integer_of_asn1_is_the_shortest_and_never_below_0():
    world = World(table([NAMED["encoded"].address]))
    client = world.client()
    for number in range(1, 201):
        world.feed(client, frame_of("encoded", 1, b"\xff", b"a.B m x"))
        up = world.only_upstream()
        issued = bytes([number]) if number < 128 else bytes([0, number])
        assert bytes(world.got[up]) == frame_of("encoded", 1, issued, b"a.B m x")
        world.got[up].clear()
        if number < 200:
            world.feed(up, frame_of("encoded", 2, issued, b"right"))
    assert bytes(world.got[client]) == frame_of("encoded", 2, b"\xff", b"right") * 199
    world.got[client].clear()
    for wrong in (b"\xc8", b"\0\0\xc8", b"\xff\xc8", b"\xc8\0"):
        world.feed(up, frame_of("encoded", 2, wrong, b"wrong"))
    assert bytes(world.got[client]) == b""
    world.feed(up, frame_of("encoded", 2, b"\0\xc8", b"right"))
    assert bytes(world.got[client]) == frame_of("encoded", 2, b"\xff", b"right")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("token", [b"1", b'"1"', b"1.0"])
def test_an_id_of_json_in_every_mode(mode, token):
    one = wire(byte_id(json(this.head)["id"], max=20), mode, reply=[b'{"id":0,"why":"', ErrorText(), b'"}'])
    asked = one.build({"kind": 1, "head": b'{ "id" : %s }' % token})
    for connect in ("ok", "fail"):
        world = World(table([one.address], pinned=mode == "pinned"), connect=connect)
        client = world.client()
        world.feed(client, asked)
        if connect == "fail":
            assert one.message(bytes(world.got[client])).id == token
            continue
        up = world.only_upstream()
        issued = b"1" if mode == "multiplexed" else token
        assert bytes(world.got[up]) == one.build({"kind": 1, "head": b'{ "id" : %s }' % issued})
        world.feed(up, one.build({"kind": 2, "head": b'{"id":%s, "a": 1}' % issued}))
        assert bytes(world.got[client]) == one.build({"kind": 2, "head": b'{"id":%s, "a": 1}' % token})
