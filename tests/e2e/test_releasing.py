"""docs/releasing.md, through a running proxy: its configurations, with Dubbo and with a declared protocol."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest
from peers import Client, Server
from protokit_dubbo.messages import OK, Answer
from test_matching import HEADED, headed, pair

import protokit
from protokit import Protocol, plugins
from protokit import config as configuration
from protokit.testing import streams

PAGE = (Path(__file__).parents[2] / "docs" / "releasing.md").read_text()
SPLIT, LANES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


class HeadedServer:
    """Answers with its name."""

    def __init__(self, name):
        self.name = name

    async def start(self):
        self._server = await streams.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            while True:
                number = (await read_headed(reader))[0]
                body = {"kind": 1, "id": number, "service": b"", "head": self.name.encode()}
                writer.write(HEADED.build(body))
        except asyncio.IncompleteReadError:
            writer.close()


async def read_headed(reader):
    front = await reader.readexactly(5)
    await reader.readexactly((await reader.readexactly(1))[0])
    return int.from_bytes(front[3:], "big"), await reader.readexactly((await reader.readexactly(1))[0])


class HeadedClient:
    """As ``peers.Client``, for one call after the other."""

    @classmethod
    async def connect(cls, port):
        self = cls()
        self.reader, self.writer = await streams.open_connection("127.0.0.1", port)
        return self

    async def ask(self, service="x", **headers):
        head = b"".join(pair(key.encode(), value.encode()) for key, value in headers.items())
        self.writer.write(headed(1, service.encode(), head))
        return (await asyncio.wait_for(read_headed(self.reader), 10))[1].decode()

    async def close(self):
        self.writer.close()


class DubboClient(Client):
    """The same questions."""

    async def ask(self, service="x", **headers):
        return (await self.call("name", service=service, **headers)).value


PROTOCOLS = {"dubbo": (Server, DubboClient), "headed": (HeadedServer, HeadedClient)}


def load(text, protocol, servers):
    """The page's configuration, with addresses that are free and those of the servers."""
    text = text.replace("20880", "0").replace("protocol: dubbo", f"protocol: {protocol}")
    for number, server in enumerate(servers, 20881):
        text = text.replace(str(number), str(server.port))
    registry = plugins.load(["dubbo"])
    registry.protocols["headed"] = Protocol("headed", HEADED, "with headers")
    return text, registry


def read(tmp_path, text, protocol, servers):
    text, registry = load(text, protocol, servers)
    path = tmp_path / "proxy.yaml"
    path.write_text(text)
    loaded = configuration.load(path, registry)
    assert not loaded.warnings
    return loaded


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_five_percent_for_the_new_version(tmp_path, protocol):
    """The same users, by whichever worker; who has it keeps it while its share grows."""
    server, client = PROTOCOLS[protocol]
    users = [f"user{i}" for i in range(300)]

    async def main():
        servers = [await server(name).start() for name in ("1.0", "1.0", "2.0")]

        def weights(old, new):
            text = SPLIT.replace("weight: 95", f"weight: {old}").replace("weight: 5}", f"weight: {new}}}")
            return read(tmp_path, f"{text}workers: 2\n", protocol, servers)

        async with protokit.Proxy(weights(95, 5)) as proxy:
            clients = [await client.connect(proxy.addresses["in"][1]) for _ in range(4)]

            async def new():
                found = [{await one.ask(user=user) for one in clients} for user in users]
                assert all(len(one) == 1 for one in found)
                return {user for user, one in zip(users, found, strict=True) if one == {"2.0"}}

            assert await clients[0].ask(tester="yes") == "2.0"
            few = await new()
            assert 3 <= len(few) <= 30
            await proxy.reload(weights(50, 50))
            half = await new()
            assert few < half
            assert 110 <= len(half) <= 190
            await proxy.reload(weights(0, 100))
            assert await new() == {*users}
            await proxy.reload(weights(95, 5))
            assert await new() == few
            for one in clients:
                await one.close()
        for one in servers:
            await one.stop()

    streams.run(main(), 120)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_lane_where_there_is_one_and_the_base_elsewhere(tmp_path, protocol):
    server, client = PROTOCOLS[protocol]
    names = ["orders", "orders blue", "prices", "stock", "stock blue"]

    async def main():
        servers = [await server(name).start() for name in names]
        async with protokit.Proxy(read(tmp_path, LANES, protocol, servers)) as proxy:
            one = await client.connect(proxy.addresses["in"][1])
            for _ in range(3):
                for lane, expected in (
                    ({"lane": "blue"}, ["orders blue", "prices", "stock blue"]),
                    ({"lane": "green"}, ["orders", "prices", "stock"]),
                    ({}, ["orders", "prices", "stock"]),
                ):
                    services = ("shop.Orders", "shop.Prices", "shop.Stock")
                    assert [await one.ask(service, **lane) for service in services] == expected
            changed = LANES.replace(
                "fallback: {", "set: {remove: [lane], headers: {x: y}}\n        fallback: {"
            )
            await proxy.reload(read(tmp_path, changed, protocol, servers))
            for _ in range(2):  # by the request as it came
                assert await one.ask("shop.Orders", lane="blue") == "orders blue"
                assert await one.ask("shop.Orders") == "orders"
            isolated = LANES.replace("fallback: {subset: {lane: base}}", "fallback: none")
            await proxy.reload(read(tmp_path, isolated, protocol, servers))
            assert await one.ask("shop.Stock", lane="blue") == "stock blue"
            told = "no endpoint of cluster prices has lane=blue (header lane)"
            assert await one.ask("shop.Prices", lane="blue") == f"protokit: {told}"
            await one.close()
        for each in servers:
            await each.stop()

    streams.run(main())


def test_a_tag_goes_through_three_services_that_pass_it_on(tmp_path):
    """Each calls the next one through the proxy; many at once, and nobody meets another's lane."""
    names = ["orders", "orders blue", "prices", "stock", "stock blue"]
    following = {"orders": "shop.Prices", "prices": "shop.Stock"}

    async def main():
        servers = [await Server(name).start() for name in names]
        async with protokit.Proxy(read(tmp_path, LANES, "dubbo", servers)) as proxy:
            port = proxy.addresses["in"][1]
            inner = [await DubboClient.connect(port) for _ in servers]
            tasks = set()

            def passing(server, client):
                def before(call, writer):
                    service = following.get(server.name.partition(" ")[0])
                    lane = {"lane": call.attachments["lane"]} if "lane" in call.attachments else {}

                    async def go_on():
                        rest = [await client.ask(service, **lane)] if service else []
                        writer.write(Answer(call.id, OK, " > ".join([server.name, *rest])).encode())

                    task = asyncio.ensure_future(go_on())
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    return True

                return before

            for server, client in zip(servers, inner, strict=True):
                server.before = passing(server, client)
            one = await DubboClient.connect(port)
            lanes = [{"lane": "blue"}, {}, {"lane": "green"}] * 20
            found = await asyncio.gather(*(one.ask("shop.Orders", **lane) for lane in lanes))
            base, blue = "orders > prices > stock", "orders blue > prices > stock blue"
            assert found == [blue, base, base] * 20
            assert Counter(found) == {blue: 20, base: 40}
            for client in (one, *inner):
                await client.close()
        for server in servers:
            await server.stop()

    streams.run(main())
