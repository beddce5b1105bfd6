"""TR, on made frames and captured objects, and through the engine in pinned mode."""

from __future__ import annotations

import pytest
import tr_reference as ref
from protokit_sofarpc.tr import tr
from tr_kit import CAPTURED, answer, ask, beat
from tr_reference import DRAFT, HESSIAN1, connection_request, connection_response, frame, text
from world import World, table

import protokit
from protokit import Status, config, native
from protokit.errors import ConfigErrors, RemoteProtocolError
from protokit.testing import streams

CODEC = tr.wire.address
IGNORE = 8  # PK_KIND_IGNORE of codec.h


def test_made_objects_are_as_the_captured_ones():
    (codec, number, data), (draft, short, more), (_, one, response) = CAPTURED
    assert connection_request(codec, number).hex() == data
    assert connection_request(draft, short).hex() == more
    assert connection_response(DRAFT, one).hex() == response


@pytest.mark.parametrize("codec", [HESSIAN1, DRAFT])
def test_an_error_is_a_connection_response_that_finds_its_request(codec):
    reply = native.error(CODEC, Status.TIMEOUT, 2548, codec, "too late \N{GRINNING FACE}".encode())
    size = int.from_bytes(reply[5:9], "big")
    assert reply[:5] == bytes([0x0D, 1, codec, 0, 0])
    assert reply[9:14] == bytes(5)
    found = ref.read_object(reply[14 : 14 + size])
    assert found[b"ctx"][b"id"] == 2548
    assert found[b"result"] == 1
    assert found[b"errorMsg"] == b"too late \xed\xa0\xbd\xed\xb8\x80"
    assert len(reply) == 14 + size


def test_an_error_to_another_codec_says_what_it_holds():
    asked = native.frame(CODEC, frame(2, b"\xac\xed\0\5", "a.B", b"\xac\xed"))
    seen = ref.message(native.error(CODEC, Status.TIMEOUT, 7, asked.context, b"too late"))
    assert (seen.kind, seen.id, seen.status) == ("response", 7, Status.INTERNAL)


def test_a_class_of_an_error_is_the_captured_one():
    reply = native.error(CODEC, Status.TIMEOUT, 1, DRAFT, b"")
    captured = bytes.fromhex(CAPTURED[2][2])
    assert reply[14:].startswith(captured[: captured.index(b"ctxo\x90N") + 6])


def test_hostile_objects_are_bounded():
    """Nesting, class definitions and counts without end: refused, never followed, and sent nowhere."""
    deep = b"V" * 100_000
    classes = b"O\x91x\x90" * 100
    counts = b"o\x90" + b"v\x90I\x7f\xff\xff\xff"
    for section in (
        deep,
        classes,
        counts,
        b"M" + text("ctx") * 9,
        b"O\x91x\x91\2id" + b"o\x90" * 1000,
        b"s\0\0" * 1000,
    ):
        data = frame(DRAFT, section, "", section)
        message = native.frame(CODEC, data)
        assert (message.result, message.size, message.id) == (0, len(data), 0)
        with pytest.raises(RemoteProtocolError):
            native.request(CODEC, data)


def nested(levels):
    return b"V" * levels + b"N" + b"z" * levels


@pytest.mark.parametrize(
    ("argument", "read"),
    [
        (nested(127), True),
        (nested(128), True),
        (nested(600), True),
        (nested(16_384), True),
        (nested(16_385), False),
        (b"".join(b"O\x93c%02x\x90" % i for i in range(256)) + b"N", True),
        (b"s\0\1aS\0\1b", True),
    ],
    ids=["127", "128", "600", "16384", "16385", "256 classes", "chunks"],
)
def test_arguments_that_a_jvm_reads_are_stepped_over(argument, read):
    names = text("args"), text("targetServiceUniqueName"), text("methodName")
    section = b"O\x91x\x93" + b"".join(names) + b"o\x90" + argument + text("a.B:1.0") + text("m")
    data = frame(DRAFT, section, "", section)
    if not read:
        with pytest.raises(RemoteProtocolError):
            native.request(CODEC, data)
        return
    request = native.request(CODEC, data)
    assert (request.service, request.version, request.method) == ("a.B", "1.0", "m")


@pytest.mark.parametrize("service", [b"s\0\1aS\0\2.B", b"\3\xc1\xa1.B", b"\3\xe0\x81\xa1.B", b"\3a.\xc1\x02"])
def test_a_service_that_its_server_reads_otherwise_is_refused(service):
    section = b"O\x91x\x91" + text("targetServiceUniqueName") + b"o\x90" + service
    with pytest.raises(RemoteProtocolError):
        native.request(CODEC, frame(DRAFT, section, "", section))


def without_context(codec):
    whole = connection_response(codec, 7)
    at = whole.index(b"ctx")
    return whole[:at] + b"cty" + whole[at + 3 :]


# Connection objects whose id nobody can read: cut off, of nothing, deeper than is read, without the field.
UNREADABLE = {
    "cut": lambda codec: connection_response(codec, 7)[:-3],
    "empty": lambda codec: b"",
    "no object": lambda codec: b"N",
    "deep": lambda codec: b"V" * 5000,
    "without ctx": without_context,
}


def test_how_an_answer_of_nobody_went_is_not_said():
    """Its connection object has a result, and no id: both readers take it for none."""
    result = b"O\x91x\x91" + text("result") + b"o\x90" + b"I\0\0\0\7"
    data = frame(DRAFT, result, "", b"", kind=1)
    found, said = native.frame(CODEC, data), ref.message(data)
    assert (found.kind, said.kind) == (IGNORE, "ignore")
    assert found.status == int(said.status) == int(Status.OK)


@pytest.mark.parametrize("codec", [HESSIAN1, DRAFT])
@pytest.mark.parametrize("wrong", UNREADABLE)
def test_an_answer_whose_id_cannot_be_read_is_nobodys(codec, wrong):
    data = frame(codec, UNREADABLE[wrong](codec), "", b"", kind=1)
    assert native.frame(CODEC, data).kind == IGNORE
    assert ref.message(data).kind == "ignore"
    world = World(table([CODEC], pinned=True))
    client = world.client()
    world.feed(client, ask(0, codec) + ask(7, codec))
    up = world.only_upstream()
    world.feed(up, data)
    assert take(world, client) == []
    world.feed(up, answer(7, codec) + data + answer(0, codec))
    assert [one.id for one, _ in take(world, client)] == [7, 0]
    assert up not in world.closed


def take(world, handle):
    found, data = [], bytes(world.got[handle])
    while data:
        one = ref.message(data)
        found.append((one, data[: one.size]))
        data = data[one.size :]
    world.got[handle].clear()
    return found


class TestPinned:
    @pytest.fixture
    def world(self):
        return World(table([CODEC], pinned=True))

    def test_ids_are_untouched_and_clients_never_share(self, world):
        a, b = world.client(), world.client()
        world.feed(a, ask(7, DRAFT))
        world.feed(b, ask(7, HESSIAN1))
        first, second = world.upstreams
        assert [data for _, data in take(world, first)] == [ask(7, DRAFT)]
        assert [data for _, data in take(world, second)] == [ask(7, HESSIAN1)]
        world.feed(second, answer(7, HESSIAN1))
        world.feed(first, answer(7, DRAFT))
        assert [data for _, data in take(world, a)] == [answer(7, DRAFT)]
        assert [data for _, data in take(world, b)] == [answer(7, HESSIAN1)]

    def test_answers_in_any_order_are_matched_by_the_id_inside(self, world):
        client = world.client()
        for number in (1, 2548, 3):
            world.feed(client, ask(number, DRAFT))
        up = world.only_upstream()
        for number in (3, 1, 2548):
            world.feed(up, answer(number, DRAFT))
        assert [one.id for one, _ in take(world, client)] == [3, 1, 2548]
        world.feed(up, answer(1, DRAFT))  # a second answer
        assert take(world, client) == []
        assert world.stat("answers_unmatched") == 1

    def test_a_timeout_is_answered_under_its_id_and_the_late_answer_reaches_nobody(self, world):
        client = world.client()
        world.feed(client, ask(5, DRAFT))
        up = world.only_upstream()
        world.wait(3100)
        ((one, data),) = take(world, client)
        assert (one.kind, one.id, one.status) == ("response", 5, Status.INTERNAL)
        assert b"protokit" in data
        world.feed(up, answer(5, DRAFT))
        assert take(world, client) == []

    def test_a_heartbeat_is_a_request_that_the_server_answers(self, world):
        client = world.client()
        world.feed(client, ask(1) + beat(2))
        up = world.only_upstream()
        assert [one.id for one, _ in take(world, up)] == [1, 2]
        world.feed(up, answer(2))
        assert [one.id for one, _ in take(world, client)] == [2]
        world.wait(20_000)
        assert take(world, up) == []  # none is made up on a connection that is idle

    def test_other_codecs_go_through_and_their_answers_come_back(self, world):
        client = world.client()
        java = frame(2, b"\xac\xed\0\5", "a.B", b"\xac\xed")
        world.feed(client, java + java)
        up = world.only_upstream()
        assert [data for _, data in take(world, up)] == [java, java]
        back = frame(2, b"\xac\xed\0\5", "a.B", b"\xac\xed!", kind=1, way=0)
        world.feed(up, back + back)
        assert [data for _, data in take(world, client)] == [back, back]


def listener(**more):
    return {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "cluster": "c", **more}],
        "clusters": [{"name": "c", "endpoints": ["127.0.0.1:1"]}],
    }


@pytest.mark.parametrize("protocol", ["tr", ["bolt", "tr"]])
def test_a_listener_that_shares_connections_is_refused(protocol):
    with pytest.raises(ConfigErrors) as refused:
        config.load(listener(protocol=protocol, mode="shared"))
    assert "clients of 'tr' cannot share upstream connections: leave out mode: shared" in str(refused.value)
    assert config.load(listener(protocol=protocol)).protocols["in"][-1] == "tr"


def test_auto_takes_what_the_mode_can_carry():
    assert "tr" in config.load(listener(protocol="auto")).protocols["in"]
    assert "tr" not in config.load(listener(protocol="auto", mode="shared")).protocols["in"]


def test_clients_with_the_same_ids_share_no_connection_whatever_the_listener_says():
    world = World(table([CODEC]))
    first, second = world.client(), world.client()
    world.feed(first, ask(3, DRAFT))
    world.feed(second, ask(3, DRAFT))
    assert len(world.upstreams) == 2


def test_routes_and_heartbeats_through_a_real_proxy():
    """The destination from the SofaRequest; what has none takes a rule that asks for nothing."""

    async def main():
        heard = []

        async def serve(reader, writer):
            while data := await reader.read(65536):
                while data:
                    one = ref.message(data)
                    heard.append(one.service)
                    writer.write(answer(one.id, data[2]))
                    data = data[one.size :]
            writer.close()

        server = await streams.start_server(serve, "127.0.0.1", 0)
        rules = [
            {"match": {"service": "com.example.Echo", "version": "1.0", "method": "say"}, "cluster": "c"}
        ]
        cfg = listener(protocol="tr", routes="r")
        del cfg["listeners"][0]["cluster"]
        cfg["clusters"][0]["endpoints"] = [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"]
        cfg |= {"routes": [{"name": "r", "rules": rules}], "drain": {"delay": "0s", "timeout": "1s"}}
        for heartbeats in (False, True):
            if heartbeats:
                rules.append({"match": {}, "cluster": "c"})
            async with protokit.Proxy(cfg) as proxy:
                reader, writer = await streams.open_connection("127.0.0.1", proxy.addresses["in"][1])
                for data, served in ((ask(3, DRAFT), True), (beat(4), heartbeats)):
                    writer.write(data)
                    got = ref.message(await reader.read(65536))
                    assert (got.id, got.status == Status.OK) == (ref.message(data).id, served)
                writer.close()
        assert heard == ["com.example.Echo", "com.example.Echo", None]
        server.close()

    streams.run(main(), 30)
