"""Requests that a rule changes: of Dubbo and declared protocols, by the engine, and of one in Python."""

from __future__ import annotations

import pytest
from bolts import Bolt
from bolts import ask as bolt_ask
from bolts import read as bolt_read
from construct import Bytes, GreedyBytes, Int8ub, Prefixed, Struct, len_, this
from lined import LINES, Lines, declared_headers, read
from peers import SERVICE, Client, Server, configuration
from protokit_dubbo.messages import Answer
from protokit_sofarpc import bolt

import protokit
from protokit import Protocol, WireFormat, plugins
from protokit import config as loading
from protokit.dataplane.filters import FilterRunner
from protokit.errors import ConfigErrors, LocalProtocolError
from protokit.native import EDIT_HEADER
from protokit.testing import streams
from protokit.testing.streams import run
from protokit.wire import Replies, protobuf, tlv


def setting(server, changes, **rule) -> dict:
    config = configuration(server)
    config["routes"][0]["rules"] = [
        {"match": {"method": "changed"}, "cluster": "c", "set": changes, **rule},
        {"cluster": "c"},
    ]
    return config


async def called(changes, *, method="changed", rule=None, **attachments):
    """What a Dubbo server got of a call."""
    server = await Server().start()
    async with protokit.Proxy(setting(server, changes, **(rule or {}))) as proxy:
        client = await Client.connect(proxy.addresses["in"][1])
        assert (await client.call(method, "x", **attachments)).value == "x"
        await client.close()
    await server.stop()
    (call,) = server.calls
    return call


def test_headers_are_set_appended_and_removed_and_the_rest_stays():
    async def main():
        changes = {
            "headers": {"zone": "a", "tag": "gray", "from": {"header": "app"}, "none": {"header": "absent"}},
            "append": {"via": "protokit", "first": "one", "who": {"header": "app"}},
            "remove": ["debug", "not-there"],
        }
        sent = {"tag": "red", "app": "shop", "via": "a", "who": "b", "debug": "1", "kept": "é"}
        call = await called(changes, **sent)
        wanted = {"zone": "a", "tag": "gray", "from": "shop", "app": "shop", "kept": "é"}
        wanted |= {"via": "a,protokit", "first": "one", "who": "b,shop"}
        assert {key: call.attachments.get(key) for key in {*sent, *wanted, "none"}} == wanted | {
            "debug": None,
            "none": None,
        }
        assert (call.service, call.method, call.version, call.arguments) == (
            SERVICE,
            "changed",
            "1.0.0",
            ["x"],
        )
        # Its negative: what another rule matches.
        call = await called(changes, method="other", **sent)
        assert {key: call.attachments.get(key) for key in sent} == sent

    run(main())


def test_the_clients_address_goes_along():
    async def main():
        call = await called({"headers": {"x-source": "{source}"}, "append": {"x-forwarded-for": "{source}"}})
        assert (call.attachments["x-source"], call.attachments["x-forwarded-for"]) == ("127.0.0.1",) * 2
        call = await called({"append": {"x-forwarded-for": "{source}"}}, **{"x-forwarded-for": "10.0.0.9"})
        assert call.attachments["x-forwarded-for"] == "10.0.0.9,127.0.0.1"

    run(main())


def test_service_method_version_and_group_in_all_places_where_they_stand():
    async def main():
        changes = {"service": "org.other.Service", "method": "echo", "version": "2.0.0", "group": "g"}
        call = await called(changes)
        assert (call.service, call.method, call.version) == ("org.other.Service", "echo", "2.0.0")
        assert (call.attachments["path"], call.attachments["group"]) == ("org.other.Service", "g")

    run(main())


def test_a_retry_sends_what_was_changed():
    async def main():
        server = await Server().start()
        refused = []

        def before(call, writer) -> bool:
            if not refused:
                refused.append(call)
                writer.transport.abort()
                return True
            return False

        server.before = before
        config = setting(server, {"headers": {"zone": "a"}}, retry={"idempotent": True})
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("changed", "x")).value == "x"
            assert [one.attachments["zone"] for one in server.calls] == ["a", "a"]
            await client.close()
        await server.stop()

    run(main())


def test_a_request_that_cannot_be_changed_so_is_told_which_rule_says_it():
    async def main():
        server = await Server().start()
        async with protokit.Proxy(setting(server, {"append": {"long": "x"}})) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            answer = await client.call("changed", "x", long="y" * 5000)
            assert answer.value == "protokit: the request cannot be changed as rule 'r[0]' says"
            assert (await client.call("echo", "x")).value == "x"
            await client.close()
        assert [call.method for call in server.calls] == ["echo"]
        await server.stop()

    run(main())


def loaded(server, changes, **listener):
    registry = plugins.load(["dubbo"])
    registry.protocols["lines"] = Protocol("lines", LINES, "lines")
    config = setting(server, changes)
    config["listeners"][0] |= {"protocol": "lines", **listener}
    return loading.load(config, registry)


def written(headers: dict[str, str]) -> bytes:
    return "".join(f"{key}={value};" for key, value in headers.items()).encode()


def as_headers(data: bytes) -> dict[str, str]:
    return dict(one.split("=") for one in data.decode().split(";")[:-1])


@pytest.fixture
def no_python(monkeypatch):
    """The main thread is asked for nothing."""

    def asked(*_, **__):
        raise AssertionError("the main thread was asked")

    monkeypatch.setattr(FilterRunner, "start", asked)
    monkeypatch.setattr(WireFormat, "edit", asked)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.usefixtures("no_python")
def test_a_declared_protocol(size):
    async def main():
        server = await Lines().start()
        changes = {
            "service": "other",
            "headers": {"zone": "a", "from": {"header": "app"}},
            "append": {"via": "protokit", "client": "{source}"},
            "remove": ["debug"],
        }
        async with protokit.Proxy(loaded(server, changes)) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            request = {"kind": 0, "service": b"svc", "method": b"changed", "body": b"x" * size}
            headers = {"app": "shop", "via": "a", "debug": "1", "kept": "k"}
            request["headers"] = written(headers)
            for number in (7, 8):
                writer.write(LINES.build(request | {"id": number}))
                answer = await read(reader)
                assert (answer["id"], answer["body"]) == (number, b"x" * size)
            writer.write(LINES.build(request | {"id": 9, "method": b"other"}))
            assert (await read(reader))["id"] == 9
            assert proxy.stats()["filters"] == {}
            writer.close()
        server.stop()
        one, two, other = server.got
        for got in (one, two):
            assert (got["service"], got["method"], got["body"]) == (b"other", b"changed", b"x" * size)
            assert as_headers(got["headers"]) == {
                "app": "shop",
                "via": "a,protokit",
                "kept": "k",
                "zone": "a",
                "from": "shop",
                "client": "127.0.0.1",
            }
        assert (other["service"], other["headers"]) == (b"svc", written(headers))

    run(main())


ANSWER = {
    "headers": {"zone": "a", "from": {"header": "app"}, "none": {"header": "absent"}},
    "append": {"via": "protokit", "first": "one"},
    "remove": ["secret"],
}


def test_a_dubbo_answer_is_changed_without_python_and_its_callers_others_are_not():
    async def main():
        server = await Server().start()

        def before(call, writer) -> bool:
            said = {"secret": "s", "kept": "é", "via": "a"}
            writer.write(Answer(call.id, 20, call.arguments[0], attachments=said).encode())
            return True

        server.before = before
        changes = {"answer": ANSWER | {"append": ANSWER["append"] | {"to": "{source}"}}}
        for mode in ("shared", "pinned"):
            config = setting(server, changes)
            config["listeners"][0]["mode"] = mode
            async with protokit.Proxy(config) as proxy:
                client = await Client.connect(proxy.addresses["in"][1])
                for size in (1, 100_000):
                    answer = await client.call("changed", {"a": "x" * size}, app="shop")
                    assert answer.value == {"a": "x" * size}
                    wanted = {"kept": "é", "zone": "a", "from": "shop", "via": "a,protokit", "first": "one"}
                    assert answer.attachments == wanted | {"to": "127.0.0.1"}
                other = await client.call("echo", "x", app="shop")
                assert other.attachments == {"secret": "s", "kept": "é", "via": "a"}
                (stats,) = proxy.stats()["workers"]
                assert stats["answers_not_changed"] == stats["answers_unseen"] == 0
                assert proxy.stats()["filters"] == {}
                await client.close()
        assert server.calls[0].attachments.keys() == server.calls[1].attachments.keys()
        assert not {"zone", "from", "first"} & server.calls[0].attachments.keys()
        await server.stop()

    run(main())


@pytest.mark.usefixtures("no_python")
def test_an_answer_of_a_declared_protocol():
    async def main():
        server = await Lines().start()
        async with protokit.Proxy(loaded(server, {"headers": {"both": "1"}, "answer": ANSWER})) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            request = {"kind": 0, "service": b"svc", "method": b"changed", "body": b"x"}
            headers = {"app": "shop", "via": "a", "secret": "s"}
            writer.write(LINES.build(request | {"id": 7, "headers": written(headers)}))
            answer = await read(reader)
            assert (answer["id"], answer["body"]) == (7, b"x")
            wanted = {"app": "shop", "via": "a,protokit", "zone": "a", "from": "shop", "first": "one"}
            assert as_headers(answer["headers"]) == wanted | {"both": "1"}
            writer.write(LINES.build(request | {"id": 8, "method": b"other", "headers": written(headers)}))
            assert as_headers((await read(reader))["headers"]) == headers
            writer.close()
        server.stop()
        assert as_headers(server.got[0]["headers"]) == headers | {"both": "1"}

    run(main())


def entry(key: bytes, value: bytes) -> bytes:
    pair = b"\x0a%c%b\x12%c%b" % (len(key), key, len(value), value)
    return b"\x42%c%b" % (len(pair), pair)


@pytest.mark.usefixtures("no_python")
def test_headers_that_stand_in_a_message():
    async def main():
        wire = declared_headers(protobuf(this.headers)[8])
        server = await Lines().start()
        changes = {
            "headers": {"zone": "a", "from": {"header": "app"}},
            "append": {"via": "protokit"},
            "remove": ["debug"],
            "answer": {"headers": {"by": "us"}},
        }
        registry = plugins.load(["dubbo"])
        registry.protocols["message"] = Protocol("message", wire, "message")
        config = setting(server, changes)
        config["listeners"][0]["protocol"] = "message"
        async with protokit.Proxy(loading.load(config, registry)) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            headers = entry(b"app", b"shop") + b"\x08\7" + entry(b"debug", b"1") + entry(b"via", b"a")
            request = {"kind": 0, "id": 7, "service": b"svc", "method": b"changed", "body": b"x"}
            writer.write(wire.build({**request, "headers": headers}))
            answer = await read(reader)
            writer.write(wire.build({**request, "id": 8, "headers": b"\x42\x05"}))  # no message
            refused = await read(reader)
            assert proxy.stats()["filters"] == {}
            writer.close()
        server.stop()
        wanted = entry(b"app", b"shop") + b"\x08\7" + entry(b"via", b"a,protokit")
        wanted += entry(b"zone", b"a") + entry(b"from", b"shop")
        assert [one["headers"] for one in server.got] == [wanted]
        assert (answer["id"], answer["headers"]) == (7, wanted + entry(b"by", b"us"))
        assert refused["id"] == 8
        assert b"protokit: " in refused["body"]

    run(main())


def test_listeners_of_both_kinds_share_a_table():
    async def main():
        server = await Server().start()
        config = setting(server, {"append": {"via": "protokit"}})
        config["listeners"].append(config["listeners"][0] | {"name": "lines", "protocol": "lines"})
        registry = plugins.load(["dubbo"])
        registry.protocols["lines"] = Protocol("lines", LINES, "lines")
        config = loading.load(config, registry)
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("changed", "x", via="a")).value == "x"
            assert proxy.stats()["workers"][0]["filters_waiting"] == 0
            await client.close()
        await server.stop()
        assert [call.attachments["via"] for call in server.calls] == ["a,protokit"]

    run(main())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "set names nothing"),
        ({"headers": {"a": "b"}, "remove": ["a"]}, "header 'a' stands in more than one of"),
        ({"headers": {"a": "{sourc}"}}, "'{sourc}' stands for nothing; known are '{source}'"),
        (
            {"append": {"a": "{source}, proxy"}},
            "'{source}' is the client's address only where it is the whole",
        ),
        ({"service": "{source}{source}"}, "would be sent as it stands"),
        ({"headers": {f"h{i}": "x" for i in range(33)}}, "at most 32 changes, here are 33"),
        ({"header": {"a": "b"}}, "unknown"),
        ({"answer": {}}, "answer names nothing: give headers, append or remove"),
        ({"answer": {"append": {"a": "b"}, "remove": ["a"]}}, "header 'a' stands in more than one of"),
        ({"answer": {"headers": {"a": "{sourc}"}}}, "'{sourc}' stands for nothing"),
        ({"answer": {"service": "x"}}, "unknown"),
        (
            {"headers": {"a": "x"}, "answer": {"headers": {f"h{i}": "x" for i in range(32)}}},
            "at most 32 changes, here are 33",
        ),
    ],
)
def test_mistakes(changes, message):
    config = setting(Server(), changes)
    config["clusters"][0]["endpoints"] = ["127.0.0.1:1"]
    with pytest.raises(ConfigErrors, match=message.replace("{", r"\{")):
        loading.load(config)


# What depends on the headers' size in a way of its own is made right in Python.
BOXED = declared_headers(LINES.meaning.headers, room=Bytes(len_(this.headers) & 0))


def test_the_address_cannot_be_set_where_changes_are_made_in_python():
    server = Server()
    server.port = 1
    registry = plugins.load(["dubbo"])
    registry.protocols["boxed"] = Protocol("boxed", BOXED, "boxed")
    for changes, what in (
        ({"headers": {"x": "{source}"}}, "headers"),
        ({"answer": {"append": {"x": "{source}"}}}, "answer"),
        ({"headers": {"y": "z"}, "method": "{source}"}, "headers"),
    ):
        config = setting(server, changes)
        config["listeners"][0]["protocol"] = "boxed"
        with pytest.raises(ConfigErrors, match=rf"{what} of 'boxed' .* does not know the address"):
            loading.load(config, registry)
    config["routes"][0]["rules"][0]["set"] = {"method": "{source}"}  # the engine writes that
    loading.load(config, registry)


def test_a_rule_is_changed_in_python_and_its_neighbour_by_the_engine():
    """By the kinds of changes: what only Python can write costs the other rules nothing."""

    async def main():
        server = await Lines().start()
        registry = plugins.load(["dubbo"])
        registry.protocols["boxed"] = Protocol("boxed", BOXED, "boxed")
        config = setting(server, {"headers": {"zone": "a"}})
        config["routes"][0]["rules"].insert(
            0, {"match": {"method": "here"}, "cluster": "c", "set": {"service": "{source}"}}
        )
        config["listeners"][0]["protocol"] = "boxed"
        started = []
        start = FilterRunner.start
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FilterRunner, "start", lambda self, *op: (started.append(op), start(self, *op)))
            async with protokit.Proxy(loading.load(config, registry)) as proxy:
                reader, writer = await streams.open_connection(*proxy.addresses["in"])
                for number, method in enumerate((b"here", b"changed", b"here")):
                    request = {
                        "kind": 0,
                        "id": number,
                        "service": b"svc",
                        "headers": b"",
                        "body": b"x",
                        "room": b"",
                    }
                    writer.write(BOXED.build(request | {"method": method}))
                    assert (await read(reader))["id"] == number
                writer.close()
        server.stop()
        assert len(started) == 1
        assert [one["service"] for one in server.got] == [b"127.0.0.1", b"svc", b"127.0.0.1"]
        assert [bool(one["headers"]) for one in server.got] == [False, True, False]

    run(main())


@pytest.mark.parametrize("form", [{"proto": 1}, {"proto": 2, "ver1": 2, "switch": 1}])
@pytest.mark.usefixtures("no_python")
def test_bolt(form):
    """Header and service of requests and answers, with lengths and checksums; the second try, too."""

    async def main():
        server = await Bolt().start()
        changes = {
            "service": "c.D",
            "version": "2.0",
            "headers": {"zone": "é" * 40, "was": {"header": "service"}},
            "append": {"client": "{source}"},
            "remove": ["debug"],
            "answer": {"headers": {"by": "protokit"}},
        }
        config = setting(server, changes)
        config["listeners"][0]["protocol"] = "bolt"
        refused = []

        async def refuse(reader, writer):
            refused.append(await reader.read(1 << 16))
            writer.transport.abort()

        bad = await streams.start_server(refuse, "127.0.0.1", 0)
        config["clusters"][0]["endpoints"].append(f"127.0.0.1:{bad.sockets[0].getsockname()[1]}")
        config["routes"][0]["rules"][0]["retry"] = {"idempotent": True, "on": ["reset"], "attempts": 3}
        encoding = bolt.wire.meaning.headers.encoding
        said = [
            (b"service", b"a.B:1.0"),
            (b"debug", b"1"),
            (b"sofa_head_method_name", b"changed"),
            (b"k", b"v"),
        ]
        async with protokit.Proxy(config) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            for number, size in enumerate((1, 30_000, 1, 1)):
                content = b"c" * size
                writer.write(bolt_ask(number, headers=encoding.build(said), content=content, **form))
                answer = await bolt_read(reader)
                assert (answer["id"], answer["status"]) == (number, 0)
                assert encoding.parse(answer["headers"]) == [(b"by", b"protokit")]
            assert proxy.stats()["filters"] == {}
            writer.close()
        server.stop()
        bad.close()
        tried = [bolt.wire.parse(one)[0] for one in refused if one and len(one) < 2000]
        got_there = [one for one in server.got if one["cmdcode"] == 1]  # no heartbeats
        assert len(got_there) == 4
        assert refused
        wanted = [
            (b"service", b"c.D:2.0"),
            (b"sofa_head_method_name", b"changed"),
            (b"k", b"v"),
            (b"zone", "é".encode() * 40),
            (b"was", b"a.B:1.0"),
            (b"client", b"127.0.0.1"),
        ]
        for got in (*got_there, *(one for one in tried if one["cmdcode"] == 1)):
            assert encoding.parse(got["headers"]) == wanted
            assert got["class_name"] == b"x"
            assert set(got["content"] or got["result"]) == {ord("c")}

    run(main())


@pytest.mark.parametrize("field", ["version", "group"])
def test_what_a_declared_protocol_has_no_place_for_cannot_be_set(field):
    """Every call of the rule would fail."""
    server = Server()
    server.port = 1
    with pytest.raises(
        ConfigErrors, match=rf"requests have no {field} in protocol 'lines' \(listener 'in'\)"
    ):
        loaded(server, {field: "2.0.0"})
    # Another protocol's rule in the same table.
    config = setting(server, {field: "2.0.0"})
    config["listeners"][0]["protocol"] = ["dubbo", "lines"]
    config["routes"][0]["rules"][0]["match"]["protocol"] = "dubbo"
    registry = plugins.load(["dubbo"])
    registry.protocols["lines"] = Protocol("lines", LINES, "lines")
    loading.load(config, registry)


TAGGED = WireFormat(
    Struct("kind" / Int8ub, "id" / Int8ub, "head" / Prefixed(Int8ub, GreedyBytes)),
    id=this.id,
    response=this.kind == 2,
    headers=tlv(this.head, tag=Int8ub, length=Int8ub, names={1: "zone", 2: "user"}),
    replies=Replies(error=lambda status, variant: {"kind": 2, "head": b""}),
)


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"zone": "a", "lane": "b"}},
        {"append": {"lane": "b"}},
        {"answer": {"headers": {"lane": "b"}}},
        {"answer": {"append": {"lane": "b"}}},
    ],
)
def test_a_header_that_has_no_tag_cannot_be_set(changes):
    """Every call of the rule would fail."""
    with pytest.raises(LocalProtocolError, match="no tag is called"):
        TAGGED.edit(b"\1\7\0", [(EDIT_HEADER, "lane", "b")])
    config = setting(Server(), changes)
    config["listeners"][0]["protocol"] = "tagged"
    config["clusters"][0]["endpoints"] = ["127.0.0.1:1"]
    registry = plugins.load([])
    registry.protocols["tagged"] = Protocol("tagged", TAGGED)
    said = r"no header is called 'lane' in protocol 'tagged' \(listener 'in'\) \(known: zone, user\)$"
    with pytest.raises(ConfigErrors, match=said):
        loading.load(config, registry)
    for known in (
        {"headers": {"zone": "a"}, "append": {"user": "b"}, "remove": ["lane"]},  # nothing is to be taken out
        {"answer": {"headers": {"zone": "a"}, "remove": ["lane"]}},
    ):
        config["routes"][0]["rules"][0]["set"] = known
        loading.load(config, registry)


def test_answers_without_headers_cannot_be_given_any():
    server = Server()
    server.port = 1
    config = setting(server, {"answer": {"headers": {"a": "b"}}})
    for protocol, text in (("thrift", "answers have no headers"), ("tr", "nothing can be changed")):
        config["listeners"][0]["protocol"] = protocol
        with pytest.raises(ConfigErrors, match=f"{text} in protocol '{protocol}'"):
            loading.load(config)
