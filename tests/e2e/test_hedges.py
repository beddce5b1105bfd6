"""A second attempt beside the first, through a running proxy: Dubbo, and bolt, which is declared."""

from __future__ import annotations

import asyncio

import pytest
from bolts import Bolt, ask, read
from peers import Client, Server, configuration

import protokit
from protokit import config as loading
from protokit.errors import ConfigErrors
from protokit.testing import streams
from protokit.testing.streams import run

HEDGE = {"hedge": {"after": "50ms", "most": "100%"}, "retry": {"idempotent": "true"}}


def hedging(*servers, **rule) -> dict:
    config = configuration(*servers)
    config["routes"][0]["rules"] = [{"match": {"method": "other"}, "cluster": "c"}, {"cluster": "c", **rule}]
    return config


def test_the_worst_server_of_two_fails_and_delays_nobody():
    """One never answers: all calls are answered by the other, and what it was asked counts for nothing."""

    async def main():
        servers = [await Server("hangs").start(), await Server("answers").start()]
        servers[0].before = lambda call, writer: True
        async with protokit.Proxy(hedging(*servers, **HEDGE)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            answers = await asyncio.gather(*(client.call("name", "x") for _ in range(40)))
            assert {one.value for one in answers} == {"answers"}
            counted = proxy.stats()["workers"][0]
            assert 0 < counted["hedges_won"] <= counted["hedges"]
            assert counted["errors_timeout"] == counted["retries"] == counted["requests_active"] == 0
            await client.close()
        for server in servers:
            await server.stop()

    run(main())


def test_not_for_other_rules_and_no_more_than_its_share():
    async def main():
        servers = [await Server("one").start(), await Server("two").start()]
        async with protokit.Proxy(hedging(*servers, **HEDGE | {"hedge": {"after": "1ms"}})) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for _ in range(60):
                await client.call("slow", 5)
            counted = proxy.stats()["workers"][0]
            assert 0 < counted["hedges"] <= 3
            assert counted["hedges_over_budget"] > 0
            await client.call("other", 50)
            assert proxy.stats()["workers"][0]["hedges"] == counted["hedges"]
            await client.close()
        for server in servers:
            await server.stop()

    run(main())


class Silent(Bolt):
    """Takes what it is sent, and says nothing."""

    async def _serve(self, reader, writer) -> None:
        while (fields := await read(reader)) is not None:
            self.got.append(fields)
        writer.close()


def test_a_declared_protocol():
    async def main():
        servers = [await Silent().start(), await Bolt().start()]
        config = hedging(*servers, **HEDGE)
        config["listeners"][0]["protocol"] = "bolt"
        async with protokit.Proxy(config) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            for number in range(6):
                writer.write(ask(number))
                assert (await read(reader))["id"] == number
            counted = proxy.stats()["workers"][0]
            assert 0 < counted["hedges_won"] <= counted["hedges"]
            writer.close()
        for server in servers:
            server.stop()

    run(main())


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"hedge": {"after": "50ms"}}, "hedge: a second attempt may do all that is asked twice"),
        ({"hedge": {"after": "50ms"}, "retry": {"attempts": 3}}, "give the rule retry: {idempotent: true}"),
        (HEDGE | {"hedge": {"after": "p49"}}, "after: expected p50 to p99.99, got 'p49'"),
        (
            HEDGE | {"hedge": {"after": "p100"}},
            "after: expected a duration like 50ms, or a percentile like p95",
        ),
        (HEDGE | {"hedge": {"after": "0ms"}}, "after: expected 1ms to 1h, got '0ms'"),
        (HEDGE | {"hedge": {"after": "soon"}}, "after: expected a duration like 50ms"),
        (HEDGE | {"hedge": {"most": "5%"}}, "'after' must be given"),
        (HEDGE | {"hedge": {"after": "p95", "most": "101%"}}, "most: expected a share"),
    ],
)
def test_mistakes(rule, message):
    server = Server()
    server.port = 1
    with pytest.raises(ConfigErrors) as caught:
        loading.load(hedging(server, **rule))
    assert message in str(caught.value)


def test_what_does_nothing_is_said():
    server = Server()
    server.port = 1
    config = hedging(server, **HEDGE | {"timeout": "40ms"})
    config["listeners"][0]["mode"] = "pinned"
    said = [str(one) for one in loading.load(config).warnings]
    assert any("after: the whole call has 40ms" in one for one in said)
    assert any("hedge does nothing for clients of 'dubbo'" in one for one in said)


def test_where_answers_come_in_order_it_is_refused():
    server = Server()
    server.port = 1
    config = hedging(server, **HEDGE)
    config["listeners"][0]["protocol"] = ["dubbo", "thrift"]
    with pytest.raises(ConfigErrors, match=r"hedge: answers of 'thrift' \(listener 'in'\) come in the order"):
        loading.load(config)
    config["routes"][0]["rules"][1]["match"] = {"protocol": "dubbo"}
    loading.load(config)
