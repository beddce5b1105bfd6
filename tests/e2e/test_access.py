"""What listeners allow and deny, through a running proxy: Dubbo, a declared protocol, one in Python."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import re
from pathlib import Path

import homemade
import pytest
import yaml
from peers import SERVICE, Client, Server, configuration

import protokit
from protokit import config as reading
from protokit import native, plugins
from protokit.errors import ConfigErrors
from protokit.observe.metrics import prometheus
from protokit.plugins import Plugin, Registry
from protokit.testing import streams
from protokit.testing.streams import run

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
OK, DENIED = 20, 70  # Dubbo's
HOME_DENIED = 7  # of the protocol made at home
NEAR, FAR = "127.0.0.2", "127.0.0.3"
spec = importlib.util.spec_from_file_location(
    "sized_for_access", Path(__file__).parents[1] / "toy" / "sized.py"
)
sized = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sized)


def with_access(server, **given):
    made = configuration(server)
    made["listeners"][0] |= given
    return made


@pytest.mark.parametrize("workers", [1, 2])
def test_the_documented_lists(workers):
    """Its networks are those of this machine; each request is asked for itself, on one connection."""
    text = PAGE.read_text().partition("## What a listener lets through\n")[2]
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    for network, here in (("10.1.0.0/16", NEAR), ("10.0.0.0/8", NEAR), ("192.168.7.0/24", FAR)):
        example = example.replace(network, here)
    listener = yaml.load(example, Loader=yaml.BaseLoader)["listeners"][0]

    async def main():
        server = await Server().start()
        made = configuration(server, workers=workers)
        made["listeners"] = [listener | {"bind": "127.0.0.1:0", "cluster": "c"}]
        async with protokit.Proxy(made) as proxy:
            near, far, other = [
                await Client.connect(proxy.addresses["shop"][1], source)
                for source in (NEAR, FAR, "127.0.0.4")
            ]

            async def ask(client, method, **more):
                return await client.call(method, "x", service="shop.Admin", **more)

            assert (await ask(near, "drop")).status == OK
            refused = await ask(far, "drop")
            assert (refused.status, refused.value) == (
                DENIED,
                f"protokit: denied by rule shop.deny[0]: service 'shop.Admin' method 'drop' from {FAR}",
            )
            assert "denied by rule shop.deny[1]" in (await ask(near, "drop", tag="test")).value
            told = await other.call("get", "x", service="shop.Orders")
            assert "denied: no rule of shop.allow is for this request" in told.value
            assert (await far.call("deleteAll", "x", service="shop.Orders")).status == OK
            page = prometheus(proxy.stats(), ready=True)
            for name, decision in (
                ("shop.deny[0]", "deny"),
                ("shop.deny[1]", "deny"),
                ("shop.allow", "deny"),
                ("shop.dry_run.deny[0]", "would-deny"),
            ):
                metric = f'protokit_access_decisions_total{{rule="{name}",decision="{decision}"}} 1\n'
                assert metric in page
                assert metric.partition("{")[0] in text
            assert sum(worker["errors_denied"] for worker in proxy.stats()["workers"]) == 3
            for client in (near, far, other):
                await client.close()
        await server.stop()
        assert [call.method for call in server.calls] == ["drop", "deleteAll"]

    run(main())


def test_a_reload_denies_at_once_and_keeps_the_counts():
    async def main():
        server = await Server().start()
        deny = [{"service": SERVICE, "method": "name"}]
        async with protokit.Proxy(with_access(server)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("name")).status == OK
            await proxy.reload(with_access(server, deny=deny))
            assert (await client.call("name")).status == DENIED
            assert (await client.call("echo", 1)).status == OK
            await proxy.reload(with_access(server, deny=[{"method": "other"}, *deny]))
            assert (await client.call("name")).status == DENIED
            assert proxy.stats()["access"] == {"in.deny[1]": {"deny": 2, "would-deny": 0}}
            await proxy.reload(with_access(server))
            assert (await client.call("name")).status == OK
            assert proxy.stats()["access"] == {}
            await client.close()
        await server.stop()

    run(main())


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("mode", ["multiplexed", "ordered", "pingpong", "pinned"])
def test_a_declared_protocol(mode, direct):
    """One after the other on one connection; one-way requests are dropped, and the rest goes on."""

    async def main():
        protocol = homemade.homemade("home", mode)
        server = await homemade.Server(protocol).start()
        plugin = Plugin(["home"])
        plugin.protocols["home"] = protocol
        config = {
            "listeners": [
                {
                    "name": "in",
                    "bind": "127.0.0.1:0",
                    "protocol": "home",
                    "deny": [{"service": "svc", "method": "no"}, {"oneway": True}],
                }
                | ({"cluster": "c"} if direct else {"routes": "r"})
            ],
            "routes": [{"name": "r", "rules": [{"cluster": "c"}]}],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{server.port}"]}],
        }
        async with protokit.Proxy(reading.load(config, Registry([plugin]))) as proxy:
            client = await homemade.connect(protocol, proxy.addresses["in"][1])
            got = []
            for number, method in enumerate([b"yes", b"no", b"yes", b"no"]):
                client.send(3, b"svc yes one-way")
                client.send(1, b"svc %s x" % method, number)
                answer = await client.receive()
                got.append((answer.status, bytes(answer.text)))
            client.send(4)
            assert (await client.receive()).kind == 5
            client.writer.close()
            said = b"protokit: denied by rule in.deny[0]: service 'svc' method 'no' from 127.0.0.1"
            assert got == [(0, b"svc yes x"), (HOME_DENIED, said)] * 2
            assert proxy.stats()["access"] == {
                "in.deny[0]": {"deny": 2, "would-deny": 0},
                "in.deny[1]": {"deny": 4, "would-deny": 0},
            }
        server.stop()
        assert [text for one in server.heard for _, text in one] == [b"svc yes x"] * 2

    run(main())


async def ask_sized(port, source, **facts):
    reader, writer = await streams.open_connection("127.0.0.1", port, local_addr=(source, 0))
    writer.write(sized.call(5, **facts))
    size = sized.HEAD.unpack(await reader.readexactly(sized.HEAD.size))[3]
    answer = await reader.readexactly(size)
    writer.close()
    return answer


def test_a_protocol_in_python():
    """Where its client comes from is known behind the bridge, too."""

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                _, _, number, size = sized.HEAD.unpack(await reader.readexactly(sized.HEAD.size))
                await reader.readexactly(size)
                writer.write(sized.pack("response", number, b"heard"))
        writer.close()
        await writer.wait_closed()
        over.set()

    over = asyncio.Event()

    async def main():
        server = await streams.start_server(serve, "127.0.0.1", 0)
        plugin = Plugin(["sized"])
        plugin.protocols["sized"] = sized.sized
        config = {
            "listeners": [
                {
                    "name": "in",
                    "bind": "127.0.0.1:0",
                    "protocol": "sized",
                    "cluster": "c",
                    "deny": [{"method": "no", "not": {"source": NEAR}}],
                }
            ],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"]}],
        }
        async with protokit.Proxy(reading.load(config, Registry([plugin]))) as proxy:
            port = proxy.addresses["in"][1]
            assert await ask_sized(port, NEAR, method="no") == b"heard"
            assert await ask_sized(port, FAR, method="yes") == b"heard"
            assert await ask_sized(port, FAR, method="no") == (
                b"!DENIED protokit: denied by rule in.deny[0]: service 'a.B' method 'no' from 127.0.0.3"
            )
        await over.wait()
        server.close()
        await server.wait_closed()
        # The engine does not see its headers: what it would not find must not be denied in vain.
        config["listeners"][0]["deny"] = [{"headers": {"tag": "x"}}]
        with pytest.raises(ConfigErrors, match="the engine sees no headers of requests in a protocol"):
            reading.load(config, Registry([plugin]))

    run(main())


@pytest.mark.parametrize("protocols", ["dubbo", []])
def test_a_denied_raw_connection_is_reset(protocols):
    async def main():
        async def echo(reader, writer):
            heard.append(await reader.read(100))
            writer.write(b"raw")
            writer.close()
            await writer.wait_closed()
            over.set()

        heard, over = [], asyncio.Event()
        server = await streams.start_server(echo, "127.0.0.1", 0)
        config = {
            "listeners": [
                {
                    "name": "in",
                    "bind": "127.0.0.1:0",
                    "protocol": protocols,
                    "fallback": "c",
                    "allow": [{"source": NEAR}],
                }
                | ({"cluster": "c"} if protocols else {})
            ],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"]}],
        }
        async with protokit.Proxy(config) as proxy:
            for source, expected in ((NEAR, b"raw"), (FAR, b"")):
                answer = b""
                with contextlib.suppress(ConnectionResetError):  # perhaps while it connects
                    reader, writer = await streams.open_connection(
                        "127.0.0.1", proxy.addresses["in"][1], local_addr=(source, 0)
                    )
                    writer.write(b"\0" * 32)
                    answer = await reader.read()
                    writer.close()
                assert answer == expected
            assert proxy.stats()["access"] == {"in.allow": {"deny": 1, "would-deny": 0}}
        await over.wait()
        server.close()
        await server.wait_closed()
        assert heard == [b"\0" * 32]

    run(main())


@pytest.mark.parametrize("name", ["thrift", "motan", "bolt", "hsf", "tars", "brpc"])
def test_each_protocols_own_client_would_be_told(name):
    """By its codec a denial is an answer, no application's error, with the text."""
    protocol = plugins.load([name]).protocols[name]
    text = b"protokit: denied by rule in.deny[0]"
    codec = protocol.wire.address
    reply = native.error(codec, protokit.Status.DENIED, 7, 0, text)
    message = protocol.wire.ask.frame(reply)
    assert message.result == 0
    assert message.kind == native.KIND_RESPONSE
    assert message.status > protokit.Status.APP_ERROR
    assert text in reply
