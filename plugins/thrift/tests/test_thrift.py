"""What Thrift's callers see of the proxy, and what of the declaration is Thrift's own."""

import pytest
from protokit_thrift import ONEWAY, binary, compact, dubbo, header

import protokit
from protokit import Status, native
from protokit.errors import RemoteProtocolError
from protokit.testing import streams

PLAIN = {"thrift": binary().wire, "thrift-compact": compact().wire, "thrift-header": header().wire}


def called(name, method, seqid, body=b"\0", kind=1, info=b"\0\0"):
    """A call in one of the forms."""
    wire = PLAIN[name]
    form = {"form": {"type": kind, "version": 1}} if name == "thrift-compact" else {"type": kind}
    head = {"flags": 0, "number": seqid, "protocol": 0, "transforms": 0, "info": info}
    values = {"seqid": seqid, "name": method.encode(), "body": body, **form}
    return wire.build(values | (head if name == "thrift-header" else {}))


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("service", ["Echo", "a.b.Echo"])
def test_a_name_with_a_colon_is_service_and_method(name, service):
    message = PLAIN[name].message(called(name, f"{service}:say:it", 1))
    assert (message.service, message.method) == (service, "say:it")
    message = PLAIN[name].message(called(name, "say", 1))
    assert (message.service, message.method) == ("say", "say")


@pytest.mark.parametrize("declare", [binary, compact, header])
def test_one_way_methods_can_be_named(declare):
    name = declare().name
    wire = declare("mine", {"note"}).wire
    kinds = [wire.message(called(name, method, 1)).kind for method in ("note", "noted", "Echo:note")]
    assert kinds == ["oneway", "request", "request"]
    assert PLAIN[name].message(called(name, "noted", 1, kind=ONEWAY)).kind == "oneway"


def through_a_proxy(tmp_path, name, sent, count):
    """Methods, ids and statuses of answers to calls that are sent at once; only ``good`` has a route."""
    found = answered(tmp_path, name, sent, count, "{match: {method: good}, cluster: all}")
    return [(bytes(one.fields.name).decode(), one.fields.seqid, one.status.name) for one in found]


def answered(tmp_path, name, sent, count, rule):
    """Answers to calls that are sent at once, by a server that says what it was asked."""
    wire = PLAIN[name]

    async def answers(reader, found, until):
        data = b""
        while len(found) < until:
            try:
                message = wire.message(data)
            except EOFError:
                chunk = await reader.read(65536)
                if not chunk:
                    return
                data += chunk
                continue
            found.append(message)
            data = data[message.size :]

    async def serve(reader, writer):
        data = b""
        while chunk := await reader.read(65536):
            data += chunk
            while data:
                try:
                    fields, size = wire.parse(data)
                except EOFError:
                    break
                data = data[size:]
                form = {"form": {"type": 2, "version": 1}} if name == "thrift-compact" else {"type": 2}
                writer.write(wire.build({**fields, **form, "kind": 0, "body": b""}))
        writer.close()

    async def run():
        server = await streams.start_server(serve, "127.0.0.1", 0)
        config = tmp_path / "proxy.yaml"
        config.write_text(f"""
listeners: [{{name: in, bind: "127.0.0.1:0", protocol: {name}, routes: main}}]
routes: [{{name: main, rules: [{rule}]}}]
clusters: [{{name: all, endpoints: ["127.0.0.1:{server.sockets[0].getsockname()[1]}"]}}]
""")
        found = []
        async with protokit.Proxy(str(config)) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            writer.write(sent)
            await answers(reader, found, count)
            writer.close()
            await writer.wait_closed()
        server.close()
        return found

    return streams.run(run(), 30)


@pytest.mark.parametrize("declare", [binary, compact, header])
def test_by_id_one_connection_takes_answers_in_any_order(tmp_path, declare):
    wire = declare().wire
    plugin = tmp_path / "mine.py"
    plugin.write_text(f"""
from protokit import hookimpl
from protokit_thrift import {declare.__name__}

@hookimpl
def protokit_protocols():
    return [{declare.__name__}("by-id", mode="multiplexed")]
""")

    async def whole(reader, count):
        data, found = b"", []
        while len(found) < count:
            try:
                found.append(wire.message(data))
                data = data[found[-1].size :]
            except EOFError:
                chunk = await reader.read(65536)
                assert chunk, found
                data += chunk
        return found

    async def serve(reader, writer):
        calls = await whole(reader, 2)  # of two clients, on one connection
        assert calls[0].fields.seqid != calls[1].fields.seqid
        for one in reversed(calls):
            kind = {"form": {"type": 2, "version": 1}} if declare is compact else {"type": 2}
            writer.write(wire.build({**one.fields, **kind, "kind": 0, "body": b""}))
        await writer.drain()
        writer.close()

    async def run():
        server = await streams.start_server(serve, "127.0.0.1", 0)
        config = tmp_path / "proxy.yaml"
        config.write_text(f"""
listeners: [{{name: in, bind: "127.0.0.1:0", protocol: by-id, cluster: all}}]
clusters: [{{name: all, max_connections: 1, endpoints: ["127.0.0.1:{server.sockets[0].getsockname()[1]}"]}}]
plugins: [{plugin}]
""")
        async with protokit.Proxy(str(config)) as proxy:
            clients = [await streams.open_connection(*proxy.addresses["in"]) for _ in range(2)]
            for method, (_, writer) in zip(("first", "second"), clients, strict=True):
                writer.write(called(declare().name, method, 7))
            answers = [(await whole(reader, 1))[0] for reader, _ in clients]
            for _, writer in clients:
                writer.close()
        server.close()
        return [(bytes(one.fields.name), one.fields.seqid) for one in answers]

    assert streams.run(run(), 30) == [(b"first", 7), (b"second", 7)]


@pytest.mark.parametrize("name", PLAIN)
def test_calls_that_are_sent_at_once_are_answered_in_their_order(tmp_path, name):
    sent = [("good", 1), ("Echo:bad", 1 << 31), ("good", 0), ("Echo:good", 7), ("bad", 300), ("good", 7)]
    found = through_a_proxy(tmp_path, name, b"".join(called(name, *one) for one in sent), len(sent))
    wanted = [(method, seqid, "OK") for method, seqid in sent]
    wanted[1] = ("bad", 1 << 31, "NO_SERVICE")
    wanted[4] = ("bad", 300, "NO_SERVICE")
    assert found == wanted


ZONE = b"\1\2\4zone\4east\3who\0"
# What stands behind THeader's transforms, and its headers; None where libraries do not agree on them.
INFO = [
    (b"\0\0", {}),
    (b"\0" * 6, {}),
    (ZONE + b"\0", {"zone": "east", "who": ""}),
    (ZONE + b"\0" * 5, {"zone": "east", "who": ""}),  # as padding is in C++
    (b"\1\1\4zone\4west" + ZONE + b"\0", {"zone": "east", "who": ""}),
    (b"\2\1\4zone\4east\0\0", None),  # fbthrift's persistent headers
    (b"\1\0\2\1\4zone\4east", None),
    (b"\0\0\1\1\4zone\4east", None),
    (b"\1\3\4zone\4east\3who\0\0", None),  # a pair less than it says
    (b"\1\x7f\4zone\4ea", None),
    (b"\1\x81\0\4zone\4east\0", None),
    (b"\1\1\4zone\x7fea", None),
]


@pytest.mark.parametrize(("info", "expected"), INFO)
def test_headers_of_a_call(info, expected):
    wire = PLAIN["thrift-header"]
    call = called("thrift-header", "echo", 1, info=info)
    if expected is not None:
        assert dict(wire.ask.request(call).headers) == dict(wire.message(call).headers) == expected
        return
    with pytest.raises(RemoteProtocolError):
        wire.message(call)
    with pytest.raises(RemoteProtocolError):
        dict(wire.ask.request(call).headers)


@pytest.mark.parametrize("place", [14, 15], ids=["compact inside", "compressed"])
def test_what_nothing_could_be_seen_of_is_refused(place):
    call = bytearray(called("thrift-header", "echo", 1, info=ZONE + b"\0"))
    call[place] = 1
    with pytest.raises(RemoteProtocolError):
        PLAIN["thrift-header"].message(bytes(call))
    assert native.frame(PLAIN["thrift-header"].address, bytes(call)).result < 0


CHANGED = """
{match: {headers: {zone: {present: true}}}, cluster: all, set: {headers: {who: me, x: "1"}}},
{match: {method: good}, cluster: all}
"""


def test_calls_with_headers_that_cannot_be_read_are_refused_and_the_next_one_goes_on(tmp_path):
    sent = b"".join(called("thrift-header", "good", seqid, info=info) for seqid, (info, _) in enumerate(INFO))
    found = answered(tmp_path, "thrift-header", sent, len(INFO), CHANGED)
    for seqid, ((info, expected), one) in enumerate(zip(INFO, found, strict=True)):
        assert (bytes(one.fields.name), one.fields.seqid) == (b"good", seqid)
        if expected is None:
            assert (one.status, one.fields.code) == (Status.BAD_REQUEST, 7)
        elif "zone" in expected:
            assert one.headers == {**expected, "who": "me", "x": "1"}
            assert len(one.fields.info) % 4 == 2  # filled to whole words
        else:
            assert one.fields.info == info


def test_where_no_header_is_asked_for_all_of_them_go_on_as_they_are(tmp_path):
    sent = b"".join(called("thrift-header", "good", seqid, info=info) for seqid, (info, _) in enumerate(INFO))
    found = answered(tmp_path, "thrift-header", sent, len(INFO), "{match: {method: good}, cluster: all}")
    assert [one.fields.info for one in found] == [info for info, _ in INFO]


@pytest.mark.parametrize(
    ("hex", "status"),
    [
        ("0000001a 80010003 00000001 78 00000001 0b 0001 00000000 08 0002 0000000700", "BAD_REQUEST"),
        ("00000014 80010003 00000001 78 00000001 08 0002 00000001 00", "NO_SERVICE"),
        ("0000000e 80010003 00000001 78 00000001 00", "INTERNAL"),
        ("0000000e 80010002 00000001 78 00000001 00", "OK"),
        ("00000015 80010002 00000001 78 00000001 08 0000 00000001 00", "OK"),
        ("00000012 80010002 00000001 78 00000001 0c 0003 00 00", "APP_ERROR"),
    ],
)
def test_what_an_answer_says(hex, status):  # noqa: A002  # it is
    data = bytes.fromhex(hex)
    data = (len(data) - 4).to_bytes(4, "big") + data[4:]
    message = PLAIN["thrift"].message(data)
    assert message.status.name == status


# size, magic, size, head, version, "S", id 5, a call of "m", sequence id 9, no arguments
DUBBO = "00000024 dabc 00000024 0016 01 00000001 53 0000000000000005 80010001 00000001 6d 00000009 00"


def test_a_call_in_dubbos_frame():
    message = dubbo().wire.message(bytes.fromhex(DUBBO))
    assert (message.kind, message.fields.id, message.size) == ("request", 5, 40)
    assert (message.service, message.method, message.fields.seqid) == ("S", "m", 9)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("00000024 dabc 00000024", "00000024 dabc 00000025"),  # readers go by either size
        ("0016 01", "0017 01"),
        ("0016 01", "0016 02"),
        ("dabc", "dabb"),
        ("80010001", "80010004"),  # one-way
        ("00000001 53", "7fffffff 53"),
    ],
)
def test_dubbos_frames_that_are_refused(right, wrong):
    with pytest.raises(RemoteProtocolError):
        dubbo().wire.message(bytes.fromhex(DUBBO.replace(right, wrong)))


def test_an_error_in_dubbos_frame_repeats_the_call():
    wire, call = dubbo().wire, bytes.fromhex(DUBBO)
    answer = wire.message(wire.ask.error(Status.NO_SERVICE, 5, 0, b"gone", wire.ask.keep(call)))
    assert (answer.kind, answer.fields.id, answer.status) == ("response", 5, Status.NO_SERVICE)
    fields = answer.fields
    assert (fields.service, fields.name, fields.seqid, fields.text) == (b"S", b"m", 9, b"gone")
