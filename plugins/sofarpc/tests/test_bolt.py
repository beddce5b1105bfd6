"""What bolt has to get right, sentence by sentence, on the declaration and through the engine."""

from __future__ import annotations

import struct
import zlib

import pytest
from bolt_vectors import FRAMES, unique_name
from protokit_sofarpc import bolt
from protokit_sofarpc.hessian import Values
from world import World, table

from protokit import Status, native
from protokit.errors import LocalProtocolError, RemoteProtocolError

CODEC = bolt.wire.address
V1, V2, CRC = {"proto": 1}, {"proto": 2, "ver1": 1, "switch": 1}, {"proto": 2, "ver1": 2, "switch": 1}
FORMS = {"v1": V1, "v2": V2, "v2 crc": CRC}
REQUEST = b"com.alipay.sofa.rpc.core.request.SofaRequest"


def pairs(headers):
    encoding = bolt.wire.meaning.headers.encoding
    return encoding.build([(key.encode(), value and value.encode()) for key, value in headers.items()])


def ask(form, request_id=1, headers=None, content=b"", **more):
    values = {
        "type": 1,
        "cmdcode": 1,
        "ver2": 1,
        "id": request_id,
        "codec": 1,
        "timeout": 3000,
        "class_name": REQUEST,
    }
    found = {"service": "a.B:1.0", "sofa_head_method_name": "m"} if headers is None else headers
    section = found if isinstance(found, bytes) else pairs(found)
    return bolt.wire.build({**form, **values, "headers": section, "content": content, **more})


def answer(form, request_id, content=b"N", **more):
    values = {
        "type": 0,
        "cmdcode": 2,
        "ver2": 1,
        "id": request_id,
        "codec": 1,
        "status": 0,
        "class_name": b"x",
    }
    body = "content" if form["proto"] == 2 and form["ver1"] == 2 and form["switch"] & 1 else "result"
    return bolt.wire.build({**form, **values, "headers": b"", body: content, **more})


def take(world, handle):
    """The whole frames a peer got; the reference verifies their checksums."""
    found, data = [], bytes(world.got[handle])
    while data:
        fields, size = bolt.wire.parse(data)
        found.append(fields)
        data = data[size:]
    world.got[handle].clear()
    return found


@pytest.fixture
def world():
    return World(table([CODEC], max_connections=8))


class TestChecksum:
    @pytest.mark.parametrize(
        ("form", "there"),
        [
            ({"proto": 2, "ver1": 2, "switch": 1}, True),
            ({"proto": 2, "ver1": 2, "switch": 3}, True),
            ({"proto": 2, "ver1": 2, "switch": 0}, False),
            ({"proto": 2, "ver1": 2, "switch": 2}, False),
            ({"proto": 2, "ver1": 1, "switch": 1}, False),  # Java's
            ({"proto": 1}, False),
        ],
    )
    def test_it_stands_where_real_peers_put_it(self, form, there):
        for data in (ask(form), answer(form, 1)):
            head = 24 if form["proto"] == 2 else 22
            lengths = (
                struct.unpack(">hhi", data[head - 8 : head]) if data[2 if head == 24 else 1] == 1 else None
            )
            if lengths is not None:
                assert len(data) == head + sum(lengths) + 4 * there
            assert native.frame(CODEC, data).size == len(data)
            if there:
                assert int.from_bytes(data[-4:], "big") == zlib.crc32(data[:-4])

    def test_it_is_decided_frame_by_frame(self, world):
        client = world.client()
        plain = CRC | {"switch": 0}
        world.feed(client, ask(CRC, 1) + ask(plain, 2) + ask(CRC, 3))
        up = world.only_upstream()
        asked = take(world, up)
        assert [one.crc is not None for one in asked] == [True, False, True]
        world.feed(
            up, b"".join(answer(form, one.id) for form, one in zip((plain, CRC, CRC), asked, strict=True))
        )
        assert [one.crc is not None for one in take(world, client)] == [False, True, True]

    def test_it_is_made_right_when_the_id_is_rewritten(self, world):
        client = world.client()
        world.feed(client, ask(CRC, 0x7FFFFFF0))
        up = world.only_upstream()
        (sent,) = take(world, up)
        assert sent.id != 0x7FFFFFF0
        world.feed(up, answer(CRC, sent.id))
        (got,) = take(world, client)
        assert got.id == 0x7FFFFFF0

    def test_a_wrong_one_from_a_client_closes_it_and_goes_nowhere(self, world):
        good = ask(CRC)
        for at in (6, 30, len(good) - 1):
            client = world.client()
            world.feed(client, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            assert client in world.closed
        assert not world.upstreams

    def test_a_wrong_one_from_a_server_closes_it_and_ends_what_it_was_asked(self, world):
        client = world.client()
        world.feed(client, ask(CRC, 9))
        up = world.only_upstream()
        (sent,) = take(world, up)
        good = answer(CRC, sent.id)
        world.feed(up, good[:-1] + bytes([good[-1] ^ 1]))
        assert up in world.closed
        (got,) = take(world, client)
        assert (got.id, got.status) == (9, 16)

    def test_what_the_proxy_says_itself_has_none(self, world):
        client = world.client()
        world.feed(client, ask(CRC, 4))
        up = world.only_upstream()
        world.wait(3100)
        (error,) = take(world, client)
        assert (error.proto, error.ver1, error.switch, error.crc, error.status) == (2, 2, 0, None, 7)
        take(world, up)
        world.wait(11_000)
        beats = take(world, up)
        assert beats
        assert all((one.cmdcode, one.ver1, one.switch, one.crc) == (0, 2, 0, None) for one in beats)


def test_upstream_connections_are_keyed_by_the_version(world):
    clients = {name: world.client() for name in FORMS}
    for name, client in clients.items():
        world.feed(client, ask(FORMS[name], 1))
        world.feed(client, ask(FORMS[name], 2))
    assert len(world.upstreams) == len(FORMS)
    forms = set()
    for up in world.upstreams:
        seen = {(one.proto, one.ver1) for one in take(world, up)}
        assert len(seen) == 1
        forms |= seen
    assert forms == {(1, None), (2, 1), (2, 2)}


class TestGoaway:
    GOAWAY = [
        {"type": 1, "cmdcode": 100, "timeout": -1, "id": 5},
        {"type": 2, "cmdcode": 100, "timeout": -1, "id": 5},
    ]

    @pytest.mark.parametrize("values", GOAWAY)
    def test_it_is_understood(self, world, values):
        client = world.client()
        world.feed(client, ask(V1, 1))
        up = world.only_upstream()
        (first,) = take(world, up)
        command = {"ver2": 1, "codec": 1, "class_name": b"", "headers": b"", "content": b""}
        world.feed(up, bolt.wire.build({**V1, **command, **values}))
        world.feed(client, ask(V1, 2))
        assert take(world, up) == []  # neither the request nor an answer to the signal
        (other,) = set(world.upstreams) - {up}
        assert len(take(world, other)) == 1
        world.feed(up, answer(V1, first.id))
        assert [one.id for one in take(world, client)] == [1]

    @pytest.mark.parametrize("goaway", [False, True])
    @pytest.mark.parametrize("form", FORMS)
    def test_it_is_sent_where_the_operator_asks_and_in_the_clients_form(self, form, goaway):
        world = World(table([CODEC], goaway=goaway))
        client = world.client()
        world.feed(client, ask(FORMS[form], 1))
        world.batch(("drain",))
        world.wait(2000)
        told = [(one.proto, one.ver1, one.type, one.cmdcode, one.content_len) for one in take(world, client)]
        assert told == [(FORMS[form]["proto"], FORMS[form].get("ver1"), 1, 100, 0)] * goaway
        assert [one.cmdcode for one in take(world, world.only_upstream())] == [1]


def golden_request(**wanted):
    """The content of a captured request, by what its line says of it."""
    line = next(
        one
        for one in FRAMES
        if one["expect"]["kind"] == "request"
        and one["expect"].get("service")
        and all(one["expect"].get(key) == value for key, value in wanted.items())
    )
    return line["expect"], bolt.wire.parse(bytes.fromhex(line["hex"]))[0].content


# The same object, with its fields in another order, in both dialects; written by hand.
FIELDS = [b"requestProps", b"targetServiceUniqueName", b"other", b"methodName"]
VALUES = [b"Mz", b"\x07x.Y:2.0", b"N", b"\x04ping"]
DRAFT = b"O\x93Sof\x94" + b"".join(bytes([len(one)]) + one for one in FIELDS) + b"o\x90" + b"".join(VALUES)
FINAL = (
    b"C\x03Sof\x94"
    + b"".join(bytes([len(one)]) + one for one in FIELDS)
    + b"`"
    + b"HZ"
    + b"".join(VALUES[1:])
)


class TestDestination:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            (
                {"sofa_head_target_service": "t.T:3.0", "service": "s.S:1.0", "sofa_head_method_name": "m"},
                ("t.T", "3.0", "", "m"),
            ),
            ({"service": "s.S:1.0:u1", "sofa_head_method_name": "m"}, ("s.S", "1.0", "u1", "m")),
            ({"service": "s.S", "sofa_head_method_name": "m"}, ("s.S", "", "", "m")),
            ({"sofa_head_target_service": None, "service": "s.S:1.0"}, ("s.S", "1.0", "", "ping")),
            ({"service": "s.S:1.0"}, ("s.S", "1.0", "", "ping")),
            ({"sofa_head_method_name": "m"}, ("x.Y", "2.0", "", "m")),
            ({}, ("x.Y", "2.0", "", "ping")),
        ],
    )
    @pytest.mark.parametrize("body", [DRAFT, FINAL], ids=["draft", "final"])
    def test_from_the_headers_and_where_they_lack_it_from_the_body_by_field_name(
        self, headers, body, expected
    ):
        for form in FORMS.values():
            request = native.request(CODEC, ask(form, headers=headers, content=body))
            assert (request.service, request.version, request.group, request.method) == expected

    def test_captured_bodies(self):
        expect, content = golden_request(codec=1)
        request = native.request(CODEC, ask(V1, headers={}, content=content))
        assert f"{request.service}:{request.version}" == unique_name(expect)
        assert request.method == expect["method"]

    def test_app_and_trace_are_headers(self):
        sent = {
            "service": "a.B:1.0",
            "app": "shop",
            "rpc_trace_context.sofaTraceId": "0a1",
            "empty": "",
            "null": None,
        }
        assert dict(native.request(CODEC, ask(V2, headers=sent)).headers) == {
            key: value for key, value in sent.items() if value is not None
        }


@pytest.mark.parametrize("codec", [1, 2, 11, 12, 13, 14, 22, 23, 99, 255])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_codec_is_forwarded(world, codec, form):
    client = world.client()
    content = b"\x08\xc8\x01 whatever it is \xff\0"
    world.feed(client, ask(form, 5, content=content, codec=codec))
    up = world.only_upstream()
    (sent,) = take(world, up)
    assert (sent.codec, sent.content, sent.headers) == (
        codec,
        content,
        pairs({"service": "a.B:1.0", "sofa_head_method_name": "m"}),
    )
    world.feed(up, answer(form, sent.id, content, codec=codec))
    (got,) = take(world, client)
    assert (got.id, got.codec, got.content or got.result) == (5, codec, content)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_large_answer_goes_on_as_it_comes_where_nothing_is_summed_up_over_it(form):
    limits = {"frame": 1 << 20, "client_pause": 1 << 20, "client_close": 4 << 20, "upstream_buffer": 1 << 20}
    world = World(table([CODEC], pinned=True, limits=limits))
    client = world.client()
    world.feed(client, ask(form, 5))
    up = world.only_upstream()
    data = answer(form, 5, bytes(range(256)) * 800)
    world.feed(up, data[:70_000])
    assert bytes(world.got[client]) == (b"" if form == CRC else data[:70_000])
    world.feed(up, data[70_000:])
    assert bytes(world.got[client]) == data
    world.feed(client, ask(form, 6))
    world.feed(up, answer(form, 6))
    assert bytes(world.got[client]) == data + answer(form, 6)


def test_protobuf_is_routed_by_its_headers():
    world = World(table([CODEC], rules=[("a.B", "m")]))
    client = world.client()
    world.feed(client, ask(V1, 5, content=b"\x0a\x01x", codec=11))
    assert len(take(world, world.only_upstream())) == 1
    world.feed(client, ask(V1, 6, headers={"service": "other:1.0"}, content=b"\x0a\x01x", codec=11))
    (refused,) = take(world, client)
    assert (refused.id, refused.codec, refused.status) == (6, 1, 2)  # an exception is codec 1, as Java's are


def test_ids_wrap_at_32_bits(world):
    client = world.client()
    ids = [0xFFFFFFFE, 0xFFFFFFFF, 0, 1, 0x80000000, 0x7FFFFFFF]
    world.feed(client, b"".join(ask(V1, one) for one in ids))
    up = world.only_upstream()
    for one in take(world, up):
        world.feed(up, answer(V1, one.id))
    assert [one.id for one in take(world, client)] == ids
    assert native.id_bytes(CODEC) == 4


class TestErrors:
    """What the Java and Node clients make of them is in tests/interop/test_sofarpc.py."""

    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
    @pytest.mark.parametrize(
        ("status", "wire"),
        [
            (Status.TIMEOUT, 7),
            (Status.OVERLOADED, 4),
            (Status.UNAVAILABLE, 16),
            (Status.NO_SERVICE, 2),
            (Status.DENIED, 2),
            (Status.BAD_REQUEST, 2),
            (Status.INTERNAL, 2),
        ],
    )
    def test_statuses_and_a_readable_exception_whatever_the_codec(self, form, status, wire):
        text = "protokit: no route for 'a.B' \N{GRINNING FACE}"
        for codec in (1, 11, 99):
            asked = native.frame(CODEC, ask(form, 7, codec=codec))
            fields, _ = bolt.wire.parse(native.error(CODEC, status, 7, asked.context, text.encode()))
            assert (fields.proto, fields.ver1) == (form["proto"], form.get("ver1"))
            assert (fields.id, fields.type, fields.cmdcode, fields.codec) == (7, 0, 2, 1)
            assert fields.status == wire
            assert fields.class_name == b"com.alipay.remoting.rpc.exception.RpcServerException"
            (value,) = Values(fields.result).rest()
            assert value["$class"].encode() == fields.class_name
            assert value["detailMessage"] == text
            assert b"\xed\xa0\xbd\xed\xb8\x80" in fields.result  # Java reads no sequence of four bytes

    def test_one_way_gets_none(self, world):
        client = world.client()
        world.feed(client, ask(V1, 1, type=2, timeout=-1))
        world.wait(40_000)
        assert take(world, client) == []


def test_lengths_that_java_could_not_read_are_refused():
    with pytest.raises(LocalProtocolError):
        ask(V1, headers={"big": "x" * 40_000})
    long = bytearray(ask(V1))
    long[16:18] = b"\xff\xff"
    with pytest.raises(RemoteProtocolError):
        bolt.wire.parse(bytes(long))
    assert native.frame(CODEC, bytes(long)).result == -2


@pytest.mark.parametrize("value", [b"", b"x", None])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_null_key_in_the_header_map_is_read_over_and_passed_on(form, value):
    """As SOFARPC 5.5 writes it: ffffffff, and a value."""
    build = bolt.wire.meaning.headers.encoding.build
    named = [(b"service", b"a.B:1.0"), (b"sofa_head_method_name", b"m"), (b"trace", b"t")]
    for place in range(len(named) + 1):
        section = build([*named[:place], (None, value), *named[place:]])
        assert b"\xff\xff\xff\xff" in section
        call = ask(form, headers=section)
        request = native.request(CODEC, call)
        assert (request.service, request.method, request.headers["trace"]) == ("a.B", "m", "t")
        changed = bolt.wire.edit(call, [(native.EDIT_HEADER, "trace", "u")])
        assert bytes(bolt.wire.message(changed).fields.headers) == section.replace(b"\0\0\0\1t", b"\0\0\0\1u")


class TestTime:
    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
    @pytest.mark.parametrize(
        ("ms", "written"), [(1, 1), (700, 700), (2**31 - 1,) * 2, (2**32 - 1, 2**31 - 1)]
    )
    def test_the_callers_time_is_written_in_place(self, form, ms, written):
        data = ask(form, 9, timeout=5000)
        assert native.budget(CODEC, data, ms) == ask(form, 9, timeout=written)
        oneway = ask(form, 9, timeout=5000, type=2)
        assert native.budget(CODEC, oneway, ms) == ask(form, 9, timeout=written, type=2)

    def test_other_frames_are_given_none(self):
        heartbeat = native.heartbeat(CODEC, 3)
        for data in (answer(V1, 9), heartbeat):
            with pytest.raises(LocalProtocolError, match="no place for it"):
                native.budget(CODEC, data, 700)
