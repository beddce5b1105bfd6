"""Requests that their provider reads and the codec does not, or not plainly: no other rule takes them."""

from __future__ import annotations

import struct

import pytest
from dubbo_vectors import golden
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Writer
from protokit_dubbo.messages import HEADER
from world import World, table

from protokit import native

CODEC = dubbo.wire.address
HESSIAN2, FASTJSON, GSON, PROTOBUF, FASTJSON2 = 2, 6, 16, 22, 23
SERIALIZATIONS = {HESSIAN2, FASTJSON, GSON, PROTOBUF, FASTJSON2}
BAD_REQUEST = 40
OBJECT = "Ljava/lang/Object;"


def request(serialization: int, body: bytes) -> bytes:
    return HEADER.pack(0xDABB, 0xC0 | serialization, 0, 1, len(body)) + body


def hessian(*values: object) -> bytes:
    writer = Writer()
    for value in values:
        writer.write(value)
    return bytes(writer.data)


def call(argument: bytes = b"N", attachments: bytes = b"H\x05group\x01gZ") -> bytes:
    return request(HESSIAN2, hessian("2.0.2", "a.B", "1.0", "m", OBJECT) + argument + attachments)


def generic(method: bytes) -> bytes:
    front = hessian(
        "2.0.2", "a.B", "1.0", "$invoke", "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;"
    )
    return request(HESSIAN2, front + method + b"NN" + b"HZ")


CLASSES = b"".join(b"C" + hessian(f"c{i}") + b"\x91\x01f" for i in range(300))
NESTED = {
    "lists": lambda n: b"\x79" * n + b"N",
    "untyped lists to an end": lambda n: b"W" * n + b"N" + b"Z" * n,
    "maps": lambda n: b"H\x01k" * n + b"N" + b"Z" * n,
    "objects": lambda n: b"C\x01a\x91\x01f" + b"\x60" * n + b"N",
}


@pytest.mark.parametrize("levels", [1, 511, 512, 600, 5000, 16_384])
@pytest.mark.parametrize("kind", NESTED)
def test_nesting_that_a_jvm_reads_is_stepped_over(kind, levels):
    read = native.request(CODEC, call(NESTED[kind](levels)))
    assert (read.service, read.method, read.version, read.group) == ("a.B", "m", "1.0", "g")


@pytest.mark.parametrize("classes", [255, 256, 257, 300, 4096])
def test_as_many_classes_as_a_jvm_has_are_stepped_over(classes):
    argument = (
        b"".join(b"C" + hessian(f"c{i}") + b"\x91\x01f" for i in range(classes)) + b"O" + hessian(classes - 1)
    )
    read = native.request(CODEC, call(argument + b"N"))
    assert (read.service, read.method, read.group) == ("a.B", "m", "g")


def jsonb(*items: bytes) -> bytes:
    return request(FASTJSON2, b"".join(struct.pack(">I", len(item)) + item for item in items))


def word(text: str) -> bytes:
    return bytes([0x49 + len(text)]) + text.encode()


def utf16(text: str) -> bytes:
    data = text.encode("utf-16-le")
    return bytes([0x7C, len(data)]) + data


JSONB_FRONT = (word("2.0.2"), word("a.B"), word("1.0"), word("m"), word(""))


def json(*lines: str) -> bytes:
    return request(FASTJSON, "".join(line + "\n" for line in lines).encode())


JSON_FRONT = ('"2.0.2"', '"a.B"', '"1.0"', '"m"', '""')


def delimited(data: bytes) -> bytes:
    size = len(data)
    return (bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])) + data


def string_value(text: str, more: bytes = b"") -> bytes:
    return delimited(b"\x0a" + delimited(text.encode()) + more)


@pytest.mark.parametrize("levels", [63, 64, 600, 2048, 16_384])
def test_jsonb_nested_as_deep_as_fastjson2_reads_it_and_deeper(levels):
    attachments = b"\xa6" + word("other") + b"\x95" * levels + b"\xaf" + word("group") + word("g") + b"\xa5"
    read = native.request(CODEC, jsonb(*JSONB_FRONT, attachments))
    assert (read.service, read.method, read.group) == ("a.B", "m", "g")


def protobuf(*entries: bytes) -> bytes:
    front = b"".join(map(string_value, ("2.0.2", "a.B", "1.0", "m", "")))
    return request(PROTOBUF, front + delimited(b"".join(entries)))


def entry(key: str, value: bytes, tag: bytes = b"\x0a") -> bytes:
    return tag + delimited(b"\x0a" + delimited(key.encode()) + b"\x12" + delimited(value))


def fields(first: str, second: bytes) -> bytes:
    return b"\x0a" + delimited(first.encode()) + b"\x12" + delimited(second)


TYPES = "type.googleapis.com/"
ATTACHMENT = TYPES + "org.apache.dubbo.common.serialize.protobuf.support.wrapper.Attachment"


def typed(
    key: str, text: str, kind: str = "java.lang.String", of: str = "google.protobuf.StringValue"
) -> bytes:
    """As 3.1 and 3.3 say every attachment again: its Java type and itself, each in an Any."""
    value = fields(TYPES + of, b"\x0a" + delimited(text.encode()))
    return entry(key, fields(ATTACHMENT, fields(kind, value)), b"\x12")


def typed_later(key: str, value: bytes, kind: str = "java.lang.String") -> bytes:
    """As later extensions do: two items in an Any of no type."""
    return entry(key, b"\x12" + delimited(string_value(kind) + value), b"\x12")


def said(key: str, text: str, again: str) -> tuple[bytes, bytes]:
    return entry(key, text.encode()), typed(key, again)


def said_later(key: str, text: str, again: str) -> tuple[bytes, bytes]:
    return entry(key, text.encode()), typed_later(key, string_value(again))


UNREADABLE = {
    # More than is stepped over.
    **{f"too many {kind}": call(NESTED[kind](16_385)) for kind in NESTED},
    "too many classes": call(
        b"".join(b"C" + hessian(f"c{i}") + b"\x90" for i in range(4097)) + b"O" + hessian(4096)
    ),
    "jsonb nested too deeply": jsonb(*JSONB_FRONT, b"\xa6" + word("k") + b"\x95" * 16_385 + b"\xaf\xa5"),
    # Names in pieces: Java puts them together.
    "the path in chunks": request(
        HESSIAN2, hessian("2.0.2") + b"R\0\1aS\0\2.B" + hessian("1.0", "m", "") + b"HZ"
    ),
    "the method in chunks": request(
        HESSIAN2, hessian("2.0.2", "a.B", "1.0") + b"R\0\1mS\0\0" + b"\0" + b"HZ"
    ),
    "an attachment's name in chunks": call(attachments=b"HR\0\2paS\0\2th\x03c.DZ"),
    "a name behind empty chunks": call(attachments=b"H" + b"R\0\0" * 50 + b"S\0\4path\x03c.DZ"),
    "an attachment's name behind a class": call(attachments=b"HC\1x\x90\4path\x03c.DZ"),
    "a name by the value of a pair without one": call(attachments=b"H\4pathZ"),
    "the attachment path in chunks": call(attachments=b"H\4pathR\0\1cS\0\2.DZ"),
    "the attachment group in chunks": call(attachments=b"H\5groupR\0\1cS\0\2.DZ"),
    "the attachment version in chunks": call(attachments=b"H\7versionR\0\1cS\0\2.DZ"),
    "a generic call's method in chunks": generic(b"R\0\3delS\0\3ete"),
    # The same in other serializations.
    "json: a name by numbers": json(*JSON_FRONT, r'{"pa\u0074h":"c.D"}'),
    "json: a name by numbers in hex": json(*JSON_FRONT, r'{"pa\x74h":"c.D"}'),
    "json: a path with escapes": json(*JSON_FRONT, r'{"path":"c\u002eD"}'),
    "json: the service with escapes": json('"2.0.2"', r'"a\u002eB"', '"1.0"', '"m"', '""', "{}"),
    "json: attachments that are no map": json(*JSON_FRONT, ' {"path":"c.D"}'),
    "jsonb: a name in UTF-16": jsonb(*JSONB_FRONT, b"\xa6" + utf16("path") + word("c.D") + b"\xa5"),
    "jsonb: a path in UTF-16": jsonb(*JSONB_FRONT, b"\xa6" + word("path") + utf16("c.D") + b"\xa5"),
    "jsonb: a name by its symbol": jsonb(
        *JSONB_FRONT, b"\xa6" + b"\x7f" + word("path") + b"\x01" + word("c.D") + b"\xa5"
    ),
    "jsonb: a path by reference": jsonb(
        *JSONB_FRONT, b"\xa6" + word("path") + b"\x93" + word("$.x") + b"\xa5"
    ),
    "jsonb: the service in UTF-16": jsonb(word("2.0.2"), utf16("a.B"), *JSONB_FRONT[2:], b"\xa6\xa5"),
    "jsonb: an unknown tag": jsonb(*JSONB_FRONT, b"\xa6" + word("k") + b"\xfe\x7f\xa5"),
    "jsonb: attachments of a type": jsonb(*JSONB_FRONT, b"\x92" + word("m") + b"\0\xa6\xa5"),
    # What older providers read, and what newer ones do.
    **{
        f"protobuf: another {key} said again": protobuf(*said(key, "x", "y"))
        for key in ("path", "version", "group")
    },
    "protobuf: another path said first": protobuf(*reversed(said("path", "c.D", "x.Y"))),
    "protobuf: another path said again, as later": protobuf(*said_later("path", "c.D", "x.Y")),
    "protobuf: a path of another type": protobuf(
        entry("path", b"1"), typed("path", "1", "java.lang.Integer")
    ),
    "protobuf: a path in another message": protobuf(
        entry("path", b"1"), typed("path", "1", of="google.protobuf.BytesValue")
    ),
    "protobuf: a path said with its type only": protobuf(typed("path", "c.D")),
    "protobuf: a group said with its type only": protobuf(typed("group", "")),
    "protobuf: a version said as a number": protobuf(
        entry("version", b"1"), typed_later("version", b"\2\x08\1", "java.lang.Integer")
    ),
    "protobuf: a group that is null": protobuf(entry("group", b"null"), typed_later("group", b"\0", "null")),
    "protobuf: a group in no Any": protobuf(entry("group", b"g"), entry("group", b"\x0a\1T", b"\x12")),
    "protobuf: the service and more": request(
        PROTOBUF,
        string_value("2.0.2") + string_value("a.B", b"\x10\x01") + string_value("1.0") + string_value("m"),
    ),
}
READ = {
    "hessian": call(),
    "300 classes": call(CLASSES + b"O\xc9\x2bN"),
    "a long value in chunks": call(attachments=b"H\5traceR\0\1cS\0\2.DZ"),
    "a long argument in chunks": call(b"R\0\1cS\0\2.D"),
    "protobuf": protobuf(
        *said("path", "a.B", "a.B"),
        *said("trace", "x", "y"),
        typed_later("other", b"\2\x08\1", "java.lang.Integer"),
    ),
    "json": json(*JSON_FRONT, r'{"other\"":"c\u002eD","trace":"a\\b"}'),
    "jsonb": jsonb(*JSONB_FRONT, b"\xa6" + utf16("\u8def\u5f84\u540d") + utf16("\u503c") + b"\xa5"),
    "jsonb in Latin-1": jsonb(*JSONB_FRONT, b"\xa6" + b"\x4d\xe9t\xe9s" + b"\x4d\xe9t\xe9s" + b"\xa5"),
}


def ask(data: bytes) -> tuple[bytes, bytes]:
    """What the client and the upstream of a catch-all are sent."""
    world = World(
        table([CODEC], rules=[("a.B", "*"), ("*", "*")], limits={"frame": 1 << 20, "client_pause": 1 << 20})
    )
    client = world.client()
    world.feed(client, data)
    sent = b"".join(bytes(world.got[handle]) for handle in world.upstreams)
    return bytes(world.got[client]), sent


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_refused_and_goes_nowhere(what):
    answer, sent = ask(UNREADABLE[what])
    assert sent == b""
    assert answer[:2] == b"\xda\xbb"
    assert answer[3] == BAD_REQUEST
    assert b"cannot be read" in answer


def test_the_refusal_says_why_and_which_call():
    answer, _ = ask(UNREADABLE["too many lists"])
    assert b"it is malformed, or holds more than the proxy reads behind service 'a.B' method 'm'" in answer
    answer, _ = ask(call(b"X\x91\x91\xff"))
    assert b"it is malformed behind service 'a.B' method 'm'" in answer


@pytest.mark.parametrize("again", [said, said_later])
def test_what_is_said_again_alike_is_routed_by(again):
    read = native.request(
        CODEC, protobuf(*again("path", "c.D", "c.D"), *again("version", "2", "2"), *again("group", "g", "g"))
    )
    assert (read.service, read.version, read.group) == ("c.D", "2", "g")


REAL = [
    line
    for line in golden("dubbo")
    if line["expect"].get("kind") == "request" and bytes.fromhex(line["hex"])[2] & 31 in SERIALIZATIONS
]


@pytest.mark.parametrize("line", REAL, ids=lambda line: line["name"])
def test_what_java_writes_is_read(line):
    read = native.request(CODEC, bytes.fromhex(line["hex"]))
    assert read.service and read.method


def test_a_callback_said_with_its_type_only_is_one():
    answer, sent = ask(protobuf(typed("sys_callback_arg-0", "x")))
    assert (answer[3], sent) == (BAD_REQUEST, b"")
    assert b"call" in answer


NOTHING = {
    "hessian": lambda key: call(attachments=b"H" + hessian(key) + b"\0Z"),
    "hessian, null": lambda key: call(attachments=b"H" + hessian(key) + b"NZ"),
    "json": lambda key: json(*JSON_FRONT, f'{{"{key}":""}}'),
    "json, null": lambda key: json(*JSON_FRONT, f'{{"{key}":null}}'),
    "jsonb": lambda key: jsonb(*JSONB_FRONT, b"\xa6" + word(key) + b"\x49\xa5"),
    "protobuf": lambda key: protobuf(entry(key, b"")),
}


@pytest.mark.parametrize("form", NOTHING)
def test_an_empty_version_overrides_the_field_in_front(form):
    """Its provider looks up the service without a version."""
    for _ in range(2):  # read, then remembered
        read = native.request(CODEC, NOTHING[form]("version"))
        assert (read.service, read.version) == ("a.B", "")


def test_of_an_attachment_that_stands_twice_the_last_counts():
    read = native.request(CODEC, call(attachments=b"H\5group\1g\5group\0\7version\0012\7versionNZ"))
    assert (read.group, read.version) == ("", "")


def test_a_class_in_front_of_a_value_hides_none():
    read = native.request(CODEC, call(attachments=b"H\4pathC\1x\x90\x03c.DZ"))
    assert (read.service, read.method) == ("c.D", "m")


@pytest.mark.parametrize("what", READ)
def test_what_is_odd_but_read_goes_to_its_service(what):
    answer, sent = ask(READ[what])
    assert answer == b""
    assert len(sent) == len(READ[what])
