"""Rules that go by arguments, through a running proxy: Dubbo, and JSON-RPC, which is declared."""

from __future__ import annotations

import json
from pathlib import Path

from peers import Client, Server, configuration
from protokit_dubbo.hessian import Object

import protokit
from protokit.testing import streams

PAGES = Path(__file__).parents[2] / "examples" / "formats"


USERS = [Object("demo.Order", {"user": {"tier": tier}}) for tier in ("gold", "lead")]


def test_a_call_goes_where_its_argument_says():
    async def main():
        gold, other = await Server().start(), await Server().start()
        config = configuration(other)
        config["clusters"].append({"name": "gold", "endpoints": [f"127.0.0.1:{gold.port}"]})
        asked = [{"arguments": {"0": {"in": ["gold", "7"]}}}, {"arguments": {"0.user.tier": "gold"}}]
        config["routes"][0]["rules"].insert(0, {"match": {"any": asked}, "cluster": "gold"})
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for value in ("gold", "golden", 7, 8, None, "7", *USERS):
                assert (await client.call("any", value)).value == value
            await client.close()
        assert [call.arguments for call in gold.calls] == [["gold"], [7], ["7"], [USERS[0]]]
        assert [call.arguments for call in other.calls] == [["golden"], [8], [None], [USERS[1]]]
        await gold.stop()
        await other.stop()

    streams.run(main())


CALLS = [["a", 5], ["a", 10], [5], [], {"b": 7}, ["a", "9"]]
CALLS += [[{"user": {"tiers": [tier, "gold"]}}] if tier else [{"user": "gold"}] for tier in ("lead", "")]


async def named(name: str, heard: list[dict]):
    """A server of JSON-RPC that answers each request with its name."""

    async def serve(reader, writer):
        while line := await reader.readline():
            heard.append(json.loads(line))
            answer = {"jsonrpc": "2.0", "id": heard[-1]["id"], "result": name}
            writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()

    return await streams.start_server(serve, "127.0.0.1", 0)


def test_a_declared_protocols_call_goes_where_its_argument_says():
    async def main():
        heard: dict[str, list[dict]] = {"gold": [], "rest": []}
        servers = {name: await named(name, into) for name, into in heard.items()}
        ports = {name: one.sockets[0].getsockname()[1] for name, one in servers.items()}
        asked = [{"arguments": {"1": {"range": [5, 9]}}}, {"arguments": {"0.user.tiers.1": "gold"}}]
        gold = {"match": {"any": asked}, "cluster": "gold"}
        config = {
            "plugins": [str(PAGES / "jsonrpc.py")],
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "jsonrpc", "routes": "r"}],
            "routes": [{"name": "r", "rules": [gold, {"cluster": "rest"}]}],
            "clusters": [{"name": name, "endpoints": [f"127.0.0.1:{port}"]} for name, port in ports.items()],
        }
        async with protokit.Proxy(config) as proxy:
            reader, writer = await streams.open_connection("127.0.0.1", proxy.addresses["in"][1])
            got = []
            for number, params in enumerate(CALLS, 1):
                call = {"jsonrpc": "2.0", "method": "s.get", "params": params, "id": number}
                writer.write(json.dumps(call).encode() + b"\n")
                answer = json.loads(await reader.readline())
                got.append((answer["id"], answer["result"]))
            writer.close()
        assert got == [
            (1, "gold"),
            (2, "rest"),
            (3, "rest"),
            (4, "rest"),
            (5, "rest"),
            (6, "gold"),
            (7, "gold"),
            (8, "rest"),
        ]
        assert [one["params"] for one in heard["gold"]] == [CALLS[0], CALLS[5], CALLS[6]]
        for one in servers.values():
            one.close()

    streams.run(main())
