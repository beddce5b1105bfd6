"""Filters that are told what became of requests, in a running proxy: Dubbo, and a declared protocol."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time

import pytest
from lined import LINES, Lines, read
from peers import SERVICE, Client, Server, configuration
from served import until

import protokit
from protokit import Filter, Protocol, Status, plugins
from protokit import config as loading
from protokit.dataplane import ends
from protokit.testing import streams


class Account(Filter):
    """Keeps what it is told, and may be bad at it."""

    def __init__(self, options):
        self.name = options.get("name", "account")
        self.bad = options.get("bad", "")
        self.calls = 0
        EVERY.append(self)
        self.ends = []

    async def on_end(self, ends):
        self.calls += 1
        match self.bad:
            case "raises":
                raise RuntimeError("on purpose")
            case "hangs":
                await asyncio.Event().wait()
            case "ignores":
                while EVERY:
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(0.05)
            case "blocks":
                time.sleep(0.3)  # noqa: ASYNC251  # that is what is wrong with it
            case "exits":
                raise SystemExit(3)
            case "cancels":
                raise asyncio.CancelledError
        self.ends += ends


EVERY: list[Account] = []


class Plain(Filter):
    """Gives no coroutine, which all methods of filters do: not even where it says so."""

    def __init__(self, options):
        self.calls = 0
        EVERY.append(self)

    @functools.wraps(Account.on_end)
    def on_end(self, ends):
        return None


def run(work) -> None:
    EVERY.clear()
    try:
        streams.run(work)
    finally:
        EVERY.clear()


def loaded(server, *uses, listener=(), cluster=(), protocol="dubbo", rule=None, **more):
    registry = plugins.load(["dubbo"])
    registry.protocols["lines"] = Protocol("lines", LINES, "lines")
    registry.filters |= {"account": Account, "plain": Plain}
    config = configuration(server, **more)
    config["listeners"][0] |= {"filters": [*listener], "protocol": protocol}
    config["clusters"][0]["filters"] = [*cluster]
    config["routes"][0]["rules"] = [
        {"match": {"method": "other"}, "cluster": "c"},
        {"cluster": "c", "filters": [*uses], **(rule or {})},
    ]
    return loading.load(config, registry)


def test_a_dubbo_call_is_told_with_all_of_it():
    async def main():
        server = await Server().start()
        config = loaded(server, {"account": {"name": "rule"}}, cluster=[{"account": {"name": "cluster"}}])
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("echo", "x")).value == "x"
            await client.call("other", "x")
            of = {one.name: one for one in EVERY}
            await until(lambda: len(of["cluster"].ends) == 2 and of["rule"].ends)
            (end,) = of["rule"].ends
            assert (end.service, end.method, end.rule, end.cluster) == (SERVICE, "echo", "r[1]", "c")
            assert (end.status, end.reason, end.oneway) == (Status.OK, "", False)
            assert end.endpoint == f"127.0.0.1:{server.port}"
            assert 0 < end.latency_ms < 60_000
            assert end.bytes_in > 100 > end.bytes_out > 16
            assert [one.method for one in of["cluster"].ends] == ["echo", "other"]
            assert of["cluster"].ends[1].rule == "r[0]"
            # What the proxy answers itself.
            await server.stop()
            answer = await client.call("echo", "x")
            await until(lambda: len(of["rule"].ends) == 2)
            end = of["rule"].ends[1]
            assert (end.status, end.reason) == (Status.UNAVAILABLE, answer.value)
            await client.close()

    run(main())


def test_a_listeners_hears_of_all_its_rules_and_what_it_hears_last_is_told_at_the_end():
    async def main():
        server = await Server().start()
        config = loaded(server, listener=["account"])
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for method in ("echo", "other"):
                await client.call(method, "x")
            await client.close()
        assert sorted(end.method for one in EVERY for end in one.ends) == ["echo", "other"]
        await server.stop()

    run(main())


def test_over_a_reload_none_is_lost_or_told_twice():
    async def main():
        server = await Server().start()
        config = loaded(server, "account")
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for n in range(30):
                await client.call("echo", n)
                if n % 10 == 5:
                    await proxy.reload(config)
            await client.close()
        assert sum(len(one.ends) for one in EVERY) == 30
        assert len(EVERY) == 4
        await server.stop()

    run(main())


@pytest.mark.parametrize("bad", ["raises", "hangs", "ignores", "blocks", "exits", "cancels", "plain"])
def test_whatever_one_does_the_calls_are_answered_and_another_is_told(bad, monkeypatch):
    monkeypatch.setattr(ends, "MOST", 20)
    worst = "plain" if bad == "plain" else {"account": {"name": "bad", "bad": bad}}

    async def main():
        server = await Server().start()
        config = loaded(server, worst, {"account": {"name": "good"}}, timeouts={"filter": "300ms"})
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            good = next(one for one in EVERY if getattr(one, "name", "") == "good")
            for n in range(60):
                assert (await client.call("echo", n)).value == n
                if n % 20 == 19:
                    await until(lambda n=n: len(good.ends) == n + 1)
            counts = proxy.stats()["filters"]
            (name,) = [one for one in counts if "filters[0]" in one]
            assert counts[name.replace("[0]", "[1]").replace(": plain", ": account")]["dropped"] == 0
            if bad != "blocks":
                await until(lambda: proxy.stats()["filters"][name]["dropped"] > 0)
            if bad not in {"blocks", "ignores"}:
                await until(lambda: proxy.stats()["filters"][name]["failures"] > 0)
            stats = proxy.stats()["workers"][0]
            assert stats["requests_active"] == stats["filters_waiting"] == stats["ends_lost"] == 0
            await client.close()
            EVERY.clear()
        await server.stop()

    run(main())


def test_for_one_that_never_ends_nothing_is_kept_over_reloads_and_the_next_is_told(monkeypatch):
    monkeypatch.setattr(ends, "_CLOSE_S", 0.05)

    async def main():
        server = await Server().start()
        name = "routes.r[1].filters[0]: account.on_end"

        def config(bad, number):
            use = {"account": {"name": "one", "bad": bad, "number": number}}
            return loaded(server, use, timeouts={"filter": "50ms"})

        async with protokit.Proxy(config("ignores", 0)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for number in range(3):
                await client.call("echo", 0)
                await until(lambda: EVERY[-1].calls == 1)
                stuck = EVERY[-1]
                for n in range(40):
                    await client.call("echo", n)
                # Only what it was told is not among them.
                await until(lambda: proxy.stats()["filters"][name]["dropped"] == 40)
                assert stuck.calls == 1
                await proxy.reload(config("ignores" if number < 2 else "", number + 1))
            for n in range(40):
                await client.call("echo", n)
            await until(lambda: len(EVERY[-1].ends) == 40)
            assert proxy.stats()["filters"][name]["dropped"] == 0
            await client.close()
            EVERY.clear()
        await server.stop()

    run(main())


def test_one_that_ends_at_last_is_told_again(monkeypatch):
    monkeypatch.setattr(ends, "_CLOSE_S", 0.05)

    async def main():
        server = await Server().start()
        use = {"account": {"name": "one", "bad": "ignores"}}
        async with protokit.Proxy(loaded(server, use, timeouts={"filter": "50ms"})) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            await client.call("echo", 0)
            await client.call("echo", 1)
            name = "routes.r[1].filters[0]: account.on_end"
            (one,) = EVERY
            await until(lambda: one.calls == 1)
            await client.call("echo", 2)
            await until(lambda: proxy.stats()["filters"][name]["dropped"] > 0)
            one.bad = ""
            EVERY.clear()  # that is what it waits for
            await until(lambda: len(one.ends) > 0)
            before = len(one.ends)
            await client.call("echo", 3)
            await until(lambda: len(one.ends) == before + 1)
            await client.close()
        await server.stop()

    run(main())


def test_a_loop_that_cancels_all_tasks_is_not_held_up():
    """As asyncio.run does where nobody has closed the proxy; what is not told then is counted."""

    async def main():
        server = await Server().start()
        config = loaded(server, {"account": {"name": "bad", "bad": "hangs"}}, timeouts={"filter": "1h"})
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            await client.call("echo", 0)
            await until(lambda: EVERY[0].calls == 1)
            for n in range(3):
                await client.call("echo", n)
            await asyncio.sleep(2 * ends.EVERY_S)
            [work] = [one for one in asyncio.all_tasks() if one.get_coro().__name__ == "_tell"]
            work.cancel()
            await asyncio.wait([work], timeout=2)
            assert work.cancelled()
            counts = proxy.stats()["filters"]["routes.r[1].filters[0]: account.on_end"]
            assert (counts["failures"], counts["dropped"]) == (1, 4)
            await client.call("echo", 9)  # it goes on where the loop does
            await until(lambda: EVERY[0].calls == 2)
            await client.close()
        await server.stop()

    run(main())


def test_one_that_fails_again_and_again_is_switched_off():
    async def main():
        server = await Server().start()
        use = {"account": {"name": "bad", "bad": "raises"}, "errors": 2, "off": "1h"}
        async with protokit.Proxy(loaded(server, use)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            name = "routes.r[1].filters[0]: account.on_end"
            for n in range(6):
                assert (await client.call("echo", n)).value == n
                await until(lambda n=n: proxy.stats()["filters"][name]["dropped"] == n + 1)
            (one,) = EVERY
            assert one.calls == 2
            assert proxy.stats()["filters"][name] == {"failures": 2, "in_a_row": 2, "off": 1, "dropped": 6}
            await client.close()
        await server.stop()

    run(main())


def test_a_declared_protocol():
    async def main():
        server = Lines()
        await server.start()
        limit = {"limit": {"rate": "1/m", "burst": 1}}
        async with protokit.Proxy(loaded(server, "account", protocol="lines", rule=limit)) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            call = {"kind": 0, "id": 7, "service": b"svc", "method": b"m", "headers": b"", "body": b"x"}
            for _ in range(2):
                writer.write(LINES.build(call))
                await read(reader)
            (one,) = EVERY
            await until(lambda: len(one.ends) == 2)
            size = len(LINES.build(call))
            first, second = one.ends
            assert (first.service, first.method, first.status, first.bytes_in) == (
                "svc",
                "m",
                Status.OK,
                size,
            )
            assert (first.bytes_out, first.reason) == (size, "")
            assert second.status == Status.OVERLOADED
            assert (second.endpoint, second.cluster) == ("", "")
            assert second.reason.startswith("protokit: rate limit of rule r[1]")
            writer.close()
        server.stop()

    run(main())
