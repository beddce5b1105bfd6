"""Filters that read the arguments of calls as Python values, and change them, in a running proxy."""

from __future__ import annotations

import json
from pathlib import Path

import bolts
from peers import Client, Server, configuration
from protokit_dubbo.hessian import Object
from protokit_sofarpc import values as sofa
from protokit_sofarpc.calls import read_arguments

import protokit
from protokit import Filter, plugins
from protokit import config as loading
from protokit.testing import streams

EXAMPLES = Path(__file__).parents[2] / "examples"
SAW: list[object] = []


class Changes(Filter):
    """Does what the method asks for."""

    def __init__(self, options):
        self.name = options.get("name", "")

    async def request(self, request):
        arguments = request.arguments()
        SAW.append(arguments)
        match request.method.removeprefix("demo."):
            case "upper":
                request.change_arguments([arguments[0].upper() + self.name, *arguments[1:]])
                if request.protocol == "dubbo":
                    request.headers["by"] = "filter"
            case "inside":
                arguments[0].fields["tier"] = "gold"
                request.change_arguments(arguments)
            case "set":
                request.change_arguments([{1, 2}])
            case "more":
                request.change_arguments([*arguments, 1])
            case "same":
                request.change_arguments(arguments)

    async def response(self, request, answer):
        SAW.append(("answer", request.arguments()))


def run(work) -> None:
    SAW.clear()
    streams.run(work)


def loaded(config, *folders):
    registry = plugins.load(["dubbo", "bolt"], [*map(str, folders)])
    registry.filters |= {"changes": Changes}
    return loading.load(config, registry)


def test_changed_arguments_of_dubbo_reach_the_provider_and_no_other_call():
    async def main():
        server = await Server().start()
        config = configuration(server)
        rules = [{"match": {"method": "echo"}, "cluster": "c"}]
        rules += [{"cluster": "c", "filters": [{"changes": {"name": "!"}}, {"changes": {"name": "?"}}]}]
        config["routes"][0]["rules"] = rules
        async with protokit.Proxy(loaded(config)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("upper", "x", 7, None, {"a": [1]}, tag="red")).value == "X!?"
            assert server.calls[-1].arguments == ["X!?", 7, None, {"a": [1]}]
            assert (server.calls[-1].attachments["tag"], server.calls[-1].attachments["by"]) == (
                "red",
                "filter",
            )
            assert SAW[:2] == [["x", 7, None, {"a": [1]}], ["X!", 7, None, {"a": [1]}]]
            assert SAW[2] == ("answer", ["X!?", 7, None, {"a": [1]}])  # as it was sent
            user = Object("demo.User", {"tier": "lead", "self": None})
            user.fields["self"] = user
            await client.call("inside", user, user)
            first, second = server.calls[-1].arguments
            assert first is second is first.fields["self"]
            assert (first.class_name, first.fields["tier"]) == ("demo.User", "gold")
            before = len(server.calls)
            for method, why in (
                ("set", "hessian2: cannot write a set"),
                ("more", "the call has 1 arguments, and 3 were given"),
            ):
                told = (await client.call(method, "x")).value
                assert why in told, told
                assert (await client.call("echo", "beside")).value == "beside"
            assert len(server.calls) == before + 2
            await client.call("same", "x", user)
            await client.close()
        await server.stop()

    run(main())


def sofa_request(*arguments):
    sigs = sofa.TypedList(["java.lang.String", "long"])
    sigs.type_name = "[string"
    fields = {"methodName": "m", "targetServiceUniqueName": "a.B:1.0", "methodArgSigs": sigs}
    writer = sofa.Writer(sofa.DRAFT)
    for one in (sofa.Object("com.alipay.sofa.rpc.core.request.SofaRequest", fields), *arguments):
        writer.write(one)
    return bytes(writer.data)


async def sofa_call(port, number, method, *arguments, **values):
    reader, writer = await streams.open_connection("127.0.0.1", port)
    writer.write(bolts.ask(number, method, content=sofa_request(*arguments), **values))
    told = await bolts.read(reader)
    writer.close()
    return told


def test_changed_arguments_of_sofarpc_reach_the_provider_and_no_other_call():
    async def main():
        server = await bolts.Bolt().start()
        config = {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "bolt", "routes": "r"}],
            "routes": [
                {
                    "name": "r",
                    "rules": [
                        {"match": {"method": "echo"}, "cluster": "c"},
                        {"cluster": "c", "filters": [{"changes": {"name": "!"}}, {"changes": {"name": "?"}}]},
                    ],
                }
            ],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{server.port}"]}],
        }
        async with protokit.Proxy(loaded(config)) as proxy:
            port = proxy.addresses["in"][1]
            for form in ({"proto": 1}, {"proto": 2, "ver1": 2, "switch": 1}):  # the second with a checksum
                told = await sofa_call(port, 5, "upper", "x", 7, {"a": [1]}, **form)
                assert (told.id, told.status) == (5, 0)
                assert read_arguments(server.got[-1].content) == ["X!?", 7, {"a": [1]}]
            assert SAW[:2] == [["x", 7, {"a": [1]}], ["X!", 7, {"a": [1]}]]
            user = sofa.Object("demo.User", {"tier": "lead", "self": None})
            user.fields["self"] = user
            await sofa_call(port, 6, "inside", user, user)
            first, second = read_arguments(server.got[-1].content)
            assert first is second is first.fields["self"]
            assert first.fields["tier"] == "gold"
            before = len(server.got)
            for method, values, why in (
                ("set", {}, "hessian: cannot write a set"),
                ("more", {}, "the call has 1 arguments, and 3 were given"),
                ("upper", {"codec": 11}, "arguments are decoded in Hessian 2, and these are in protobuf"),
            ):
                told = await sofa_call(port, 7, method, "x", **values)
                assert why.encode() in told.result
                assert (await sofa_call(port, 8, "echo", "beside")).status == 0
            assert len(server.got) == before + 3
        server.stop()

    run(main())


def test_changed_arguments_of_a_declared_protocol_reach_its_server():
    heard: list[bytes] = []

    async def serve(reader, writer):
        while line := await reader.readline():
            heard.append(line)
            answer = {"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": 1}
            writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()

    async def main():
        server = await streams.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        config = {
            "plugins": [str(EXAMPLES / "formats" / "jsonrpc.py")],
            "listeners": [
                {
                    "name": "in",
                    "bind": "127.0.0.1:0",
                    "protocol": "jsonrpc",
                    "cluster": "c",
                    "filters": ["changes"],
                }
            ],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{port}"]}],
        }
        async with protokit.Proxy(loaded(config, EXAMPLES / "formats" / "jsonrpc.py")) as proxy:
            reader, writer = await streams.open_connection("127.0.0.1", proxy.addresses["in"][1])
            asked = [
                b'{"method": "demo.upper", "params": [ "x", {"a": [1.50]} ], "id": 1, "jsonrpc":"2.0"}\n',
                b'{"jsonrpc": "2.0", "method": "demo.more", "params": [1], "id": 2}\n',
                b'{"jsonrpc": "2.0", "method": "demo.same", "params": [1e0,  2], "id": 3}\n',
            ]
            told = []
            for line in asked:
                writer.write(line)
                told.append(json.loads(await reader.readline()))
            writer.close()
        server.close()
        assert [one["id"] for one in told] == [1, 2, 3]
        assert "the call has 1 arguments, and 2 were given" in told[1]["error"]["message"]
        # What was not changed stands as it was written, beside the header that was.
        assert len(heard) == 2
        assert b'"params": [1e0,  2]' in heard[1]
        assert json.loads(heard[0])["params"] == ["X", {"a": [1.5]}]
        assert b'[ "X", {"a": [1.50]} ]' in heard[0]

    run(main())
