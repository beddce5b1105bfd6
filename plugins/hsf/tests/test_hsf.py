"""What HSF has of its own, frame by frame and through the engine."""

from __future__ import annotations

import importlib.util
import json
import struct
from pathlib import Path

import pytest
from protokit_hsf import ARGUMENTS_MAX, STATUS, WIRE_STATUS, hsf
from world import World, table

import protokit
from protokit import Status, native
from protokit.errors import RemoteProtocolError
from protokit.testing import load_golden, streams

GOLDEN = Path(__file__).parent / "golden"
VECTORS = {one.name: one for one in load_golden(GOLDEN)}
CODEC = hsf.wire.address
CLOSING = VECTORS["the server is closing"].data

spec = importlib.util.spec_from_file_location("hsf_make", GOLDEN / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)


def take(world, handle):
    """The whole frames a peer got."""
    found, data = [], bytes(world.got[handle])
    while data:
        fields, size = hsf.wire.parse(data)
        found.append((fields, data[:size]))
        data = data[size:]
    world.got[handle].clear()
    return found


def ask(request_id=1, **rest):
    return make.request(request_id, "com.example.Echo:1.0.0", "say", [("int", b"\x91")], **rest)


@pytest.fixture
def world():
    return World(table([CODEC]))


def test_the_golden_file_is_what_the_script_makes():
    assert [json.loads(line) for line in (GOLDEN / "hsf.jsonl").read_text().splitlines()] == make.lines()


def test_statuses_of_golden_answers():
    seen = set()
    for one in VECTORS.values():
        if one.expect["kind"] == "response":
            assert Status(native.frame(CODEC, one.data).status).name == one.expect["status"], one.name
            seen.add(one.data[3])
    assert seen >= {*STATUS, 10, 50, 70, 80, 90, 91}


@pytest.mark.parametrize("status", [one for one in Status if one > Status.APP_ERROR])
def test_an_error_is_plain_text_in_the_requests_codec(status):
    for codec in (1, 4, 7):
        context = native.frame(CODEC, ask(codec=codec)).context
        reply = native.error(CODEC, status, 5, context, "why: 日".encode())
        assert reply == make.response(5, WIRE_STATUS.get(status, 80), "why: 日".encode(), codec)


def test_the_service_is_split_in_three():
    assert hsf.wire.message(VECTORS["a third part"].data).group == "blue"
    assert (
        native.request(CODEC, VECTORS["three arguments, one empty, and props"].data).version
        == "1.0.0.22.daily"
    )


def test_a_filters_change_of_the_destination_rebuilds_the_lengths():
    before = VECTORS["three arguments, one empty, and props"].data
    edits = [
        (native.EDIT_SERVICE, "", "a.B"),
        (native.EDIT_VERSION, "", "9"),
        (native.EDIT_METHOD, "", "other"),
    ]
    request = native.request(CODEC, hsf.wire.edit(before, edits))
    assert (request.service, request.version, request.method) == ("a.B", "9", "other")
    after, _ = hsf.wire.parse(hsf.wire.edit(before, edits))
    assert after.message.arguments == hsf.wire.parse(before)[0].message.arguments


# What is refused.


@pytest.mark.parametrize(
    ("data", "at"),
    [
        ("0f", 0),  # the handshake, whose layout nobody knows
        ("0d", 0),  # TR is another protocol
        ("01", 0),
        ("dabb", 0),
        ("0e00", 1),
        ("0e02", 1),
        ("0eff", 1),
        ("0e0102", 2),
        ("0c02", 1),
        ("0c0000", 2),
        ("0c0102", 2),
    ],
)
def test_unknown_versions_and_types_are_not_this_protocol_from_the_first_wrong_byte(data, at):
    for more in (b"", bytes(60)):
        message = native.frame(CODEC, bytes.fromhex(data) + more)
        assert (native.RESULTS[message.result], message.error_at) == (native.RESULTS[-1], at)


HEAD = bytes.fromhex("0e010004000000000000000000000000000bb8")[:15] + bytes(4)


@pytest.mark.parametrize(
    "lengths",
    [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, ARGUMENTS_MAX + 1), (0, 0, 2**31 - 1)],
)
def test_negative_and_boundless_lengths_are_refused_at_once(lengths):
    message = native.frame(CODEC, HEAD + struct.pack(">iii", *lengths), 1 << 20)
    assert message.result == -2, message


def test_lengths_that_lead_past_the_limit_are_refused_with_the_head():
    for lengths in ((2**31 - 1, 0, 0), (0, 2**31 - 1, 0), (1 << 19, 1 << 19, 0)):
        data = HEAD + struct.pack(">4i", *lengths, 0)
        assert native.frame(CODEC, data, 1 << 20).result == -3


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", [-1, -(2**31), 2**31 - 1])
def test_lengths_of_types_arguments_and_props(place, value):
    sizes = [3, 3, 1, 1, 0]
    sizes[place] = value
    data = HEAD + struct.pack(">iii", 0, 0, 2) + struct.pack(">5i", *sizes)
    assert native.frame(CODEC, data, 1 << 20).result in {-2, -3}
    with pytest.raises((RemoteProtocolError, EOFError)):
        hsf.wire.parse(data + bytes(64))


# Through the engine.


def test_version_and_ext_and_all_else_but_the_id_reach_the_other_side(world):
    client = world.client()
    sent = ask(2**40, ext=b"\7\x80\xff", codec=7)
    world.feed(client, sent)
    up = world.only_upstream()
    ((fields, got),) = take(world, up)
    assert got[:7] + got[15:] == sent[:7] + sent[15:]
    assert fields.message.id != 2**40
    answer = make.response(fields.message.id, 20, b"\x05world", 7, b"\xfe\0\1")
    world.feed(up, answer)
    ((_, got),) = take(world, client)
    assert got == make.response(2**40, 20, b"\x05world", 7, b"\xfe\0\1")


def test_a_closing_server_gets_no_new_requests_and_what_is_under_way_is_answered(world):
    client = world.client()
    world.feed(client, ask(5))
    up = world.only_upstream()
    ((fields, _),) = take(world, up)
    world.feed(up, CLOSING)
    assert take(world, client) == []
    world.feed(client, ask(6))
    other = next(handle for handle in world.upstreams if handle != up)
    assert len(take(world, other)) == 1
    assert take(world, up) == []
    world.feed(up, make.response(fields.message.id, 20, b"late"))
    assert [one.message.id for one, _ in take(world, client)] == [5]


def test_a_closing_signal_answers_no_request_even_one_whose_own_id_is_minus_one(world):
    client = world.client()
    world.feed(client, ask(-1))
    up = world.only_upstream()
    ((fields, _),) = take(world, up)
    assert fields.message.id != -1
    world.feed(up, CLOSING)
    assert take(world, client) == []
    world.feed(up, make.response(-1, 80, b"nobody's"))
    assert take(world, client) == []
    world.feed(up, make.response(fields.message.id, 20, b"mine"))
    ((got, _),) = take(world, client)
    assert (got.message.id, got.message.body) == (-1, b"mine")


def test_minus_one_is_reserved():
    assert hsf.wire.reserved_ids == (2**64 - 1,)


def test_a_draining_proxy_says_that_it_closes_as_a_server_does(world):
    client = world.client()
    world.feed(client, ask(5))
    ((fields, _),) = take(world, world.only_upstream())
    world.batch(("drain",))
    assert [frame for _, frame in take(world, client)] == [CLOSING]
    world.feed(world.only_upstream(), make.response(fields.message.id, 20, b"ok"))
    assert [one.message.id for one, _ in take(world, client)] == [5]


def test_heartbeats_both_ways(world):
    client = world.client()
    world.feed(client, make.heartbeat(-7, 0, 3000))
    assert [frame for _, frame in take(world, client)] == [make.heartbeat(-7, 1, 0)]
    world.feed(client, ask(5))
    up = world.only_upstream()
    ((fields, _),) = take(world, up)
    world.feed(up, make.response(fields.message.id, 20, b"ok"))
    world.wait(11_000)
    ((beat, frame),) = take(world, up)
    assert frame == make.heartbeat(beat.message.id, 0, 3000)
    world.feed(up, make.heartbeat(beat.message.id, 1, 0))
    world.wait(8_000)
    assert up not in world.closed
    assert len(take(world, client)) == 1  # the answer and nothing else


def test_a_timeout_is_the_servers(world):
    client = world.client()
    world.feed(client, ask(5, timeout=100))
    world.wait(200)
    ((fields, _),) = take(world, client)
    assert (fields.message.id, fields.message.status) == (5, 31)
    assert b"protokit" in fields.message.body


def test_a_real_proxy_refuses_what_is_not_hsf():
    async def main():
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "hsf", "cluster": "c"}],
            "clusters": [{"name": "c", "endpoints": ["127.0.0.1:1"]}],
            "drain": {"delay": "0s", "timeout": "1s"},
        }
        async with protokit.Proxy(config) as proxy:
            for beginning in (b"\x0f\1\0", b"\x0e\2\0"):
                reader, writer = await streams.open_connection("127.0.0.1", proxy.addresses["in"][1])
                writer.write(beginning)
                assert await reader.read() == b""
                writer.close()

    streams.run(main(), 30)
