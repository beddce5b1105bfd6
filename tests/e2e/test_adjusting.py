"""Weights and drains of endpoints, changed while a proxy runs: no call fails by it, however many come."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from peers import OK, Answer, Client, Server, configuration
from served import until

import protokit
from protokit.errors import ProtokitError
from protokit.testing.streams import run


class Pair:
    """A proxy before two servers that count their calls."""

    def __init__(self, **more):
        self.more = more
        self.calls = Counter()
        self.held = []

    async def __aenter__(self):
        self.servers = [await Server().start() for _ in range(2)]
        for at, server in enumerate(self.servers):
            server.before = lambda call, writer, at=at: self.hear(at, call, writer)
        self.proxy = protokit.Proxy(configuration(*self.servers, **self.more))
        await self.proxy.start()
        self.client = await Client.connect(self.proxy.addresses["in"][1])
        return self

    async def __aexit__(self, *_):
        await self.client.close()
        await self.proxy.close()
        for server in self.servers:
            await server.stop()

    def hear(self, at, call, writer):
        self.calls[at] += 1
        if call.method == "hold":
            self.held.append((call, writer))
        return call.method == "hold"

    def place(self, at):
        return f"127.0.0.1:{self.servers[at].port}"

    async def shares(self, count=40):
        self.calls.clear()
        for _ in range(count):
            assert (await self.client.call("echo", 1)).status == OK
        return dict(self.calls)

    def release(self):
        for call, writer in self.held:
            writer.write(Answer(call.id, OK, 1).encode())
        self.held.clear()


@pytest.mark.parametrize("workers", [1, 2])
def test_who_drains_gets_nothing_new_and_ends_what_it_has(workers):
    async def main():
        async with Pair(workers=workers) as two:
            assert await two.shares() == {0: 20, 1: 20}
            waiting = []
            for _ in range(4):
                waiting.append(asyncio.ensure_future(two.client.call("hold", 1)))
                await until(lambda: len(two.held) == len(waiting))
            assert (await two.proxy.adjust("c", two.place(0), "drain=true"))["active"] == 2
            assert await two.shares() == {1: 40}
            two.release()
            assert [(await one).status for one in waiting] == [OK] * 4
            await two.proxy.adjust("c", two.place(0), "drain=false")
            assert await two.shares() == {0: 20, 1: 20}
            await two.proxy.adjust("c", two.place(1), "weight=3")
            assert await two.shares() == {0: 10, 1: 30}

    run(main())


def test_where_all_drain_callers_are_told(caplog):
    async def main():
        async with Pair() as two:
            for at in (0, 1):
                await two.proxy.adjust("c", two.place(at), "drain=true")
            answer = await two.client.call("echo", 1)
            assert answer.status != OK
            assert "no endpoint" in str(answer.value)

    run(main())


def test_ten_thousand_changes_at_once_are_a_few_and_fail_no_call():
    async def main():
        async with Pair(workers=2) as two:
            calls = asyncio.ensure_future(two.shares(200))
            tokens = two.proxy._workers._token
            asked = [two.proxy.adjust("c", two.place(0), f"weight={one % 7 + 1}") for one in range(10_000)]
            done = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(one) for one in done} == {dict, ProtokitError}
            assert {str(one) for one in done if isinstance(one, ProtokitError)} == {
                "256 changes of endpoints wait already; ask again later"
            }
            assert two.proxy._workers._token - tokens <= 3
            assert sum((await calls).values()) == 200
            last = max(at for at, one in enumerate(done) if isinstance(one, dict))
            assert two.proxy.clusters()["c"]["endpoints"][0]["weight"] == last % 7 + 1
            for one in range(50):  # one after the other
                await two.proxy.adjust("c", two.place(0), f"weight={one % 7 + 2}")
            await until(lambda: len(two.proxy._workers.tables) == 1)

    run(main())


def test_one_change_that_cannot_be_made_fails_none_of_the_others():
    async def main():
        async with Pair() as two:
            asked = [
                two.proxy.adjust("c", two.place(0), "weight=2"),
                two.proxy.adjust("c", "127.0.0.1:1", "weight=5"),
                two.proxy.adjust("x", two.place(0), "weight=5"),
                two.proxy.adjust("c", two.place(1), "weight=6"),
            ]
            done = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(one) for one in done] == [dict, LookupError, LookupError, dict]
            assert await two.shares() == {0: 10, 1: 30}

    run(main())


def test_tables_that_calls_hold_are_bounded():
    async def main():
        async with Pair() as two:
            waiting = []
            with pytest.raises(ProtokitError, match="under way still that began before 32 other changes"):
                for one in range(40):
                    waiting.append(asyncio.ensure_future(two.client.call("hold", 1)))
                    await until(lambda: len(two.held) == len(waiting))
                    await two.proxy.adjust("c", two.place(0), f"weight={one + 2}")
            assert len(waiting) == 32
            assert two.proxy.clusters()["c"]["endpoints"][0]["weight"] == 32  # the last that was made
            two.release()
            assert {(await one).status for one in waiting} == {OK}
            await until(lambda: len(two.proxy._workers.tables) == 1)
            assert (await two.proxy.adjust("c", two.place(0), "weight=1"))["weight"] == 1

    run(main())


def test_what_nobody_waits_for_any_more_is_not_done_later():
    async def main():
        async with Pair() as two:
            async with two.proxy._changing:  # as a reload holds it
                one = asyncio.create_task(two.proxy.adjust("c", two.place(0), "drain=true"))
                await asyncio.sleep(0)
                one.cancel()
                await asyncio.wait([one])
            shown = await two.proxy.adjust("c", two.place(1), "weight=1")
            assert shown["weight"] == 1
            assert await two.shares() == {0: 20, 1: 20}

    run(main())
