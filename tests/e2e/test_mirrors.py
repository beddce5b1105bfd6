"""Copies of requests for another cluster, through a running proxy: Dubbo, and bolt, which is declared."""

from __future__ import annotations

import asyncio
import functools
import itertools

import pytest
from bolts import Bolt, ask, read
from peers import Client, Server, configuration
from protokit_dubbo.messages import OK, Answer
from served import until

import protokit
from protokit import config as loading
from protokit.errors import ConfigErrors
from protokit.testing import streams
from protokit.testing.streams import run


def mirrored(server, shadow_port, **mirror) -> dict:
    config = configuration(server)
    config["clusters"].append({"name": "shadow", "endpoints": [f"127.0.0.1:{shadow_port}"]})
    config["routes"][0]["rules"] = [
        {"match": {"method": "other"}, "cluster": "c"},
        {"cluster": "c", "mirror": {"cluster": "shadow", **mirror}},
    ]
    return config


def test_a_dubbo_shadow_gets_what_the_server_gets_marked():
    async def main():
        server, shadow = await Server("real").start(), await Server("shadow").start()
        async with protokit.Proxy(mirrored(server, shadow.port, mark="x-shadow")) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for _ in range(5):
                assert (await client.call("name", "x", tag="t")).value == "real"
            assert (await client.call("other", "x")).value == "x"
            await until(lambda: proxy.stats()["workers"][0]["mirrors_active"] == 0)
            counted = proxy.stats()["workers"][0]
            assert (counted["mirrors"], counted["mirrors_failed"], counted["mirrors_skipped"]) == (5, 0, 0)
            await client.close()
        await server.stop()
        await shadow.stop()
        assert [call.method for call in shadow.calls] == ["name"] * 5
        assert {(call.attachments["x-shadow"], call.attachments["tag"]) for call in shadow.calls} == {
            ("true", "t")
        }
        assert not any("x-shadow" in call.attachments for call in server.calls)

    run(main())


@pytest.mark.parametrize("passed", [False, True])
def test_a_shadow_is_told_the_time_that_is_left_where_the_server_is(passed):
    async def main():
        server, shadow = await Server("real").start(), await Server("shadow").start()
        config = mirrored(server, shadow.port)
        config["routes"][0]["rules"][1] |= {
            "timeout": {"pass": str(passed).lower(), "default": "20s"},
            "fault": {"delay": {"fixed": "200ms"}},
        }
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("name", "x")).value == "real"
            await until(lambda: proxy.stats()["workers"][0]["mirrors_active"] == 0)
            await client.close()
        await server.stop()
        await shadow.stop()
        for (call,) in (server.calls, shadow.calls):
            said = call.attachments.get("timeout")
            assert (said is None) if not passed else 10_000 < int(said) <= 19_800

    run(main())


@functools.cache
def frame(size: int) -> bytes:
    return Answer(0, OK, "y" * size).encode()


def says(size: int, times: int, *, every: int = 1):
    """Answers each call, or one of so many, with so much, so often."""
    calls = itertools.count()

    def before(call, writer) -> bool:
        if next(calls) % every == 0:
            data = frame(size)
            writer.write((data[:4] + call.id.to_bytes(8, "big") + data[12:]) * times)
        return True

    return before


WORST = {
    "hangs": lambda call, writer: True,
    "leaves": lambda call, writer: writer.transport.abort() or True,
    "answers 10 MB": says(10_000_000, 1, every=40),
    "floods": says(10_000, 100, every=4),
    "talks nonsense": lambda call, writer: writer.write(b"nonsense" * 100) or True,
}


@pytest.mark.parametrize("worst", [*WORST, "is not there"])
def test_the_worst_shadow_is_heard_of_by_nobody(worst):
    async def main():
        server, shadow = await Server("real").start(), await Server("shadow").start()
        shadow.before = WORST.get(worst)
        frame(10_000_000)  # before anybody waits
        port = shadow.port
        if worst == "is not there":
            await shadow.stop()
        config = mirrored(server, port, most=50)
        config["timeouts"] = {"request": "5s"}
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for _ in range(10):
                answers = await asyncio.gather(*(client.call("name", "x") for _ in range(20)))
                assert {one.value for one in answers} == {"real"}
            counted = proxy.stats()["workers"][0]
            assert counted["mirrors"] + counted["mirrors_skipped"] == 200
            told = proxy.stats()["rules"]["r[1]"]
            assert (told["mirror"], told["mirror-skipped"]) == (
                counted["mirrors"],
                counted["mirrors_skipped"],
            )
            assert counted["requests"] == counted["responses"] == 200
            assert counted["requests_active"] == counted["clients_paused"] == 0
            assert not any(counted[name] for name in counted if name.startswith("errors_"))
            await until(lambda: proxy.stats()["workers"][0]["mirrors_active"] == 0)
            failed = proxy.stats()["workers"][0]["mirrors_failed"]
            assert proxy.stats()["rules"]["r[1]"]["mirror-failed"] == failed
            await client.close()
        await server.stop()
        if worst != "is not there":
            await shadow.stop()
        assert len(server.calls) == 200

    run(main())


def test_a_declared_protocol():
    async def main():
        server, shadow = await Bolt().start(), await Bolt().start()
        config = mirrored(server, shadow.port)
        config["listeners"][0]["protocol"] = "bolt"
        async with protokit.Proxy(config) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            for number in range(4):
                writer.write(ask(number))
                assert (await read(reader))["id"] == number
            writer.write(ask(4, "other"))
            assert (await read(reader))["id"] == 4
            await until(lambda: proxy.stats()["workers"][0]["mirrors_active"] == 0)
            writer.close()
        server.stop()
        shadow.stop()
        assert [(one["class_name"], one["content"]) for one in shadow.got] == [(b"x", b"c")] * 4
        assert len(server.got) == 5

    run(main())


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"mirror": {"cluster": "shadwo"}}, "there is no cluster 'shadwo'; did you mean 'shadow'?"),
        ({"mirror": {}}, "'cluster' must be given"),
        ({"mirror": {"cluster": "shadow", "most": 0}}, "most: expected 1 to 100000, got '0'"),
        ({"mirror": {"cluster": "shadow", "mark": "''"}}, None),
        ({"mirror": {"cluster": "shadow", "share": "200%"}}, "share: expected a share"),
    ],
)
def test_mistakes(rule, message):
    server = Server()
    server.port = 1
    config = mirrored(server, 2)
    config["routes"][0]["rules"][1] |= rule
    if message is None:
        loading.load(config)
        return
    with pytest.raises(ConfigErrors) as caught:
        loading.load(config)
    assert message in str(caught.value)


def test_where_a_copy_cannot_be_marked():
    server = Server()
    server.port = 1
    config = mirrored(server, 2, mark="x-shadow")
    config["listeners"][0]["protocol"] = ["dubbo", "thrift"]
    with pytest.raises(
        ConfigErrors, match=r"mark: the engine cannot write headers of 'thrift' \(listener 'in'\)"
    ):
        loading.load(config)
    del config["routes"][0]["rules"][1]["mirror"]["mark"]
    loading.load(config)
