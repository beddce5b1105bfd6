"""Limits that a limiter is asked about, in a running proxy: Dubbo, and a declared protocol."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from pathlib import Path

import pytest
from lined import LINES, Lines, read
from peers import Client, Server, configuration
from served import until

import protokit
from protokit import Limiter, Protocol, Quota, plugins
from protokit import config as loading
from protokit.dataplane import quotas
from protokit.errors import ConfigErrors
from protokit.testing import streams

EXAMPLES = Path(__file__).parents[2] / "examples"
EVERY: list[Says] = []


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("on purpose")


NONSENSE = {
    "words": "yes",
    "less": Quota(-1, 1),
    "never": Quota(1, float("nan")),
    "nothing": None,
    "repr": Unspeakable(),
}
RAISED = {"raises": RuntimeError("on purpose"), "exits": SystemExit(3), "cancels": asyncio.CancelledError()}


class Says(Limiter):
    """Allows what it is told to, and may be bad at it."""

    def __init__(self, options):
        self.options = options
        self.demands = []
        self.goes = asyncio.Event()
        EVERY.append(self)

    @classmethod
    def made(cls, options):
        return cls(options)

    async def ask(self, demands):
        self.demands += demands
        bad = self.options.get("bad")
        if bad in RAISED or (bad == "allergic" and ("poison",) in [one.key for one in demands]):
            raise RAISED.get(bad, RAISED["raises"])
        while bad in {"hangs", "ignores", "waits"} and not self.goes.is_set():
            with contextlib.suppress(*[asyncio.CancelledError] * (bad == "ignores")):
                await self.goes.wait()
        said = Quota(self.options.get("requests"), 3600)
        if bad == "poisoned":  # one key's answer is nonsense
            return ["?" if one.key == ("poison",) else said for one in demands]
        return [] if bad == "few" else [NONSENSE.get(bad, said)] * len(demands)


def let_go() -> None:
    for one in EVERY:
        one.goes.set()
    EVERY.clear()


def run(work) -> None:
    EVERY.clear()
    try:
        streams.run(work)
    finally:
        EVERY.clear()


def loaded(server, limit, *files, protocol="dubbo", other=None):
    registry = plugins.load(["dubbo"], [str(EXAMPLES / file) for file in files])
    registry.protocols["lines"] = Protocol("lines", LINES, "lines")
    registry.limiters |= {"says": Says, "fails": fails}
    config = configuration(server)
    config["listeners"][0]["protocol"] = protocol
    config["routes"][0]["rules"] = [
        {"match": {"method": "other"}, "cluster": "c"} | ({"limit": other} if other else {}),
        {"cluster": "c", "limit": limit},
    ]
    return loading.load(config, registry)


def limit(options=None, **more):
    return {
        "rate": "1/h",
        "by": {"header": "tenant"},
        "ask": {"name": "says", "options": options or {}, **more},
    }


def fails(options):
    raise RuntimeError("no")


class Forgets(Limiter):
    """Has none of its own."""


class Plain(Limiter):
    """Forgot async."""

    def ask(self, demands):
        return [None] * len(demands)


MADE_WRONG = {
    "plain": (lambda options: Plain(), "ask of Plain cannot be awaited: write async def ask"),
    "fails": (fails, "RuntimeError: no "),
    "none": (lambda options: None, "NoneType has no method ask"),
    "class": (lambda options: Says, r"the class Says was made, expected a limiter: Says\(\.\.\.\)"),
    "forgets": (lambda options: Forgets(), "Forgets has no method ask"),
}


def test_each_key_gets_what_is_said_of_it_and_a_reload_keeps_that():
    async def main():
        server = await Server().start()
        config = loaded(server, limit({"requests": 3}))
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])

            async def answers(tenant, count):
                return [(await client.call("echo", "x", tenant=tenant)).value for _ in range(count)]

            reached = "protokit: global rate limit of rule r[1] reached"
            assert (await answers("a", 1)) == ["x"]
            (one,) = EVERY
            await until(lambda: one.demands)
            await until(lambda: proxy.stats()["limiters"]["r[1]"]["asked"] == 1)  # it answers at once
            assert await answers("a", 4) == ["x"] * 3 + [reached]
            assert one.demands == [(("a",), 1)]
            await proxy.reload(config)
            assert await answers("a", 1) == [reached]
            assert await answers("b", 1) == ["x"]  # the local default
            assert [one] == EVERY
            counts = proxy.stats()["rules"]["r[1]"]
            assert (counts["quota"], counts["limit"]) == (2, 0)
            assert (await client.call("other", 1)).status == 20
            await client.close()
        await server.stop()

    run(main())


async def call(client, tenant="a"):
    return (await client.call("echo", "x", tenant=tenant)).value


@contextlib.asynccontextmanager
async def proxied(*limits, **more):
    """A proxy of a rule for each limit, by the method; its client."""
    server = await Server().start()
    async with protokit.Proxy(loaded(server, *limits, **more)) as proxy:
        client = await Client.connect(proxy.addresses["in"][1])
        yield proxy, client, server
        let_go()
        await client.close()
    await server.stop()


def counts(proxy, rule="r[1]"):
    return proxy.stats()["limiters"][rule]


BAD = ["raises", "exits", "cancels", "few", "words", "less", "never", "nothing", "repr", "hangs", "ignores"]


@pytest.mark.parametrize("fail", ["open", "closed"])
@pytest.mark.parametrize("bad", BAD)
def test_whatever_it_does_requests_meet_the_default_at_once_and_others_are_served(bad, fail):
    async def main():
        server = await Server().start()
        async with protokit.Proxy(loaded(server, limit({"bad": bad}, fail=fail))) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            values = [(await client.call("echo", n, tenant="a")).value for n in range(3)]
            if fail == "open":
                assert values == [0, *["protokit: rate limit of rule r[1] (1/h) reached"] * 2]
            else:
                assert len({*values}) == 1
                assert values[0].endswith("is not known, and nothing is taken without it")
            await until(lambda: EVERY[0].demands)
            if bad not in {"nothing", "hangs", "ignores"}:
                await until(lambda: proxy.stats()["limiters"]["r[1]"]["failures"] >= 1)
            assert (await client.call("echo", 1, tenant="a")).value != 1
            for n in range(20):
                assert (await client.call("other", n)).value == n
            let_go()
            await client.close()
        await server.stop()

    run(main())


def test_nonsense_of_one_key_is_nothing_to_the_others_of_its_batch():
    async def main():
        async with proxied(limit({"bad": "poisoned", "requests": 2}, fail="closed")) as (proxy, client, _):
            tenants = ["a", "poison", "b"]
            first = await asyncio.gather(*(call(client, tenant) for tenant in tenants))
            assert all("is not known" in answer for answer in first)
            await until(lambda: counts(proxy)["asked"] >= 3 and counts(proxy)["failures"] >= 1)
            assert [await call(client, tenant) for tenant in "aab"] == ["x"] * 3
            assert "is not known" in await call(client, "poison")
            assert counts(proxy)["failures"] == 1

    run(main())


def test_a_key_that_a_limiter_cannot_stand_does_not_keep_it_from_all_others():
    async def main():
        async with proxied(limit({"bad": "allergic"}, fail="closed")) as (proxy, client, _):
            tenants = ["poison", *"abcdefg"]
            known = set()
            while known != {*"abcdefg"}:  # all keep on asking
                for tenant in tenants:
                    if await call(client, tenant) == "x":
                        known.add(tenant)
                await asyncio.sleep(0.02)
            assert "is not known" in await call(client, "poison")
            assert counts(proxy)["failures"] >= 1

    run(main())


@pytest.mark.parametrize("bad", ["hangs", "ignores", "raises"])
def test_a_rules_limiter_does_not_hold_up_anothers(bad):
    async def main():
        other = limit({"requests": 2}, fail="closed") | {"by": {"header": "tenant"}}
        async with proxied(limit({"bad": bad}), other=other) as (proxy, client, _):
            await asyncio.gather(*(call(client, f"t{n}") for n in range(50)))
            assert "is not known" in (await client.call("other", 1, tenant="a")).value
            await until(lambda: counts(proxy, "r[0]")["asked"] == 1)  # it answers at once
            answers = [(await client.call("other", 1, tenant="a")).value for _ in range(3)]
            assert answers == [1, 1, "protokit: global rate limit of rule r[0] reached"]

    run(main())


def test_more_keys_than_a_limiter_can_take_wait_no_longer_than_so_many(monkeypatch):
    monkeypatch.setattr(quotas, "MOST", 5)

    async def main():
        async with proxied(limit({"bad": "hangs"})) as (proxy, client, _):
            answers = await asyncio.gather(*(call(client, f"t{n}") for n in range(30)))
            assert answers == ["x"] * 30
            await until(lambda: sum(counts(proxy).values()) >= 25)
            assert len(EVERY[0].demands) == counts(proxy)["asked"] <= 10

    run(main())


def test_one_that_goes_on_after_it_was_cancelled_is_told_of_and_asked_no_more(monkeypatch, caplog):
    monkeypatch.setattr(quotas, "PATIENCE_S", 0.05)
    monkeypatch.setattr(quotas, "CLOSE_S", 0.05)

    async def main():
        async with proxied(limit({"bad": "ignores"})) as (proxy, client, _):
            await call(client)
            await until(lambda: counts(proxy)["failures"] == 1)
            await call(client, "b")
            await asyncio.sleep(0.1)
            assert len(EVERY[0].demands) == 1

    run(main())
    assert "it goes on, though it was cancelled" in caplog.text


@pytest.mark.parametrize("then", ["ignores", "raises"])
def test_one_of_a_rule_that_is_gone_says_nothing_more(monkeypatch, caplog, then):
    """Whatever it does when it is cancelled: neither the proxy's log has it, nor asyncio's."""
    monkeypatch.setattr(quotas, "PATIENCE_S", 600)
    monkeypatch.setattr(quotas, "CLOSE_S", 0.1)

    async def main():
        async with proxied(limit({"bad": "hangs" if then == "raises" else then})) as (proxy, client, server):
            if then == "raises":
                monkeypatch.setattr(EVERY[0], "goes", Raises())
            await call(client)
            await until(lambda: EVERY[0].demands)
            (rule,) = proxy._quotas._rules.values()
            await proxy.reload(loaded(server, {"rate": "1/h"}))
            await until(lambda: not proxy.stats()["limiters"])
            rule._failed(TimeoutError("as where it is given no time any more"))

    run(main())
    gc.collect()
    assert not caplog.text


class Raises(asyncio.Event):
    """Ends by an error where it is cancelled."""

    async def wait(self):
        try:
            await super().wait()
        except asyncio.CancelledError:
            raise RuntimeError("on purpose") from None


@pytest.mark.parametrize("changed", [False, True])
def test_a_reload_while_it_is_asked(changed):
    async def main():
        one = limit({"bad": "waits", "requests": 2}, fail="closed")
        async with proxied(one) as (proxy, client, server):
            assert "is not known" in await call(client)
            await until(lambda: EVERY[0].demands)
            await proxy.reload(loaded(server, one | {"rate": "2/h"} if changed else one))
            assert len(EVERY) == 1 + changed
            EVERY[0].goes.set()
            if changed:  # what is said of the rule that was is nobody's
                assert "is not known" in await call(client)
                await until(lambda: EVERY[1].demands)
                EVERY[1].goes.set()
            await asyncio.sleep(0.05)
            assert [await call(client) for _ in range(3)] == [
                "x",
                "x",
                "protokit: global rate limit of rule r[1] reached",
            ]

    run(main())


def test_a_plugin_that_has_changed_makes_its_limiter_anew_and_a_refused_reload_does_not():
    async def main():
        one = limit({"requests": 0})
        async with proxied(one) as (proxy, client, server):
            first = EVERY[0]
            later = loaded(server, one)
            later.registry.limiters["says"] = Says.made
            wrong = loaded(server, one, other=limit({"requests": 1}, name="fails"))
            wrong.registry.limiters["says"] = Says.made
            with pytest.raises(ConfigErrors, match=r"limiter 'fails' cannot be made with its options: .*no"):
                await proxy.reload(wrong)
            await call(client)
            await until(lambda: first.demands)
            await proxy.reload(later)
            await call(client, "b")
            await until(lambda: EVERY[-1].demands)
            assert (len(first.demands), EVERY[-1].demands) == (1, [(("b",), 1)])

    run(main())


class Empty(Says):
    """What has a length of nothing is a limiter all the same."""

    def __len__(self):
        return 0


def test_a_limiter_is_kept_whatever_its_truth_is():
    async def main():
        async with proxied(limit()) as (proxy, _, server):
            later = loaded(server, limit())
            later.registry.limiters["says"] = Empty
            await proxy.reload(later)
            made = len(EVERY)
            await proxy.reload(later)
            assert len(EVERY) == made

    run(main())


def test_a_plugin_that_was_mended_is_asked_though_the_one_before_never_ends():
    async def main():
        async with proxied(limit({"bad": "ignores"})) as (proxy, client, server):
            await call(client)
            await until(lambda: EVERY[0].demands)
            later = loaded(server, limit({"bad": "ignores"}))
            later.registry.limiters["says"] = Says.made
            await proxy.reload(later)
            await call(client, "b")
            await until(lambda: EVERY[1].demands == [(("b",), 1)])
            assert counts(proxy)["asked"] == 2

    run(main())


def test_nothing_is_left_of_a_rule_that_has_gone_when_the_proxy_ends(monkeypatch):
    monkeypatch.setattr(quotas, "CLOSE_S", 0.05)

    async def main():
        async with proxied(limit({"bad": "ignores"})) as (proxy, client, server):
            await call(client)
            await until(lambda: EVERY[0].demands)
            await proxy.reload(loaded(server, {"rate": "1/h"}))
            await until(lambda: not proxy.stats()["limiters"])
            await proxy.close()
            # The loop's end would wait for it.
            assert not [one for one in asyncio.all_tasks() if one.get_coro().__name__ == "_work"]

    run(main())


def test_a_loop_that_cancels_all_tasks_is_not_held_up():
    """As asyncio.run does where nobody has closed the proxy."""

    async def main():
        async with proxied(limit({"bad": "hangs"})) as (_, client, _):
            await asyncio.gather(*(call(client, f"t{n}") for n in range(9)))
            await until(lambda: EVERY[0].demands)
            [work] = [one for one in asyncio.all_tasks() if one.get_coro().__name__ == "_work"]
            work.cancel()
            await asyncio.wait([work], timeout=2)
            assert work.cancelled()

    run(main())


@pytest.mark.parametrize("name", MADE_WRONG)
def test_what_is_no_limiter_is_told_when_it_is_made(name):
    factory, text = MADE_WRONG[name]

    async def main():
        async with proxied({"rate": "1/h"}) as (proxy, _, server):
            later = loaded(server, limit())
            later.registry.limiters["says"] = factory
            with pytest.raises(
                ConfigErrors, match=f"limiter 'says' cannot be made with its options: .*{text}"
            ):
                await proxy.reload(later)

    run(main())


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        ({"name": "nobody"}, "there is no limiter 'nobody'"),
        ({"name": "says", "fail": "half"}, "expected one of open, closed"),
        ({}, "name"),
    ],
)
def test_mistakes(ask, text):
    server = Server()
    server.port = 1
    with pytest.raises(ConfigErrors, match=text):
        loaded(server, limit() | {"ask": ask})


def test_what_is_said_of_keys_has_a_bound_over_all_rules():
    server = Server()
    server.port = 1
    registry = plugins.load(["dubbo"])
    registry.limiters["says"] = Says
    config = configuration(server)
    rule = {"cluster": "c", "limit": limit() | {"keys": 1_000_000}}

    def rules(count):
        rules = [rule | {"match": {"method": f"m{n}"}} for n in range(count)]
        return config | {"routes": [config["routes"][0] | {"rules": rules}]}

    assert loading.load(rules(3), registry)
    with pytest.raises(ConfigErrors, match="keys: with this rule there are 20000000 buckets"):
        loading.load(rules(4), registry)


class Counts:
    """The service that examples/shared_limit.py asks."""

    async def start(self):
        self.asked: list = []
        self._server = await streams.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def _serve(self, reader, writer) -> None:
        while line := await reader.readline():
            self.asked.append(json.loads(line))
            writer.write(b"[2, 3600]\n")
        writer.close()

    def stop(self) -> None:
        self._server.close()


@pytest.mark.parametrize("protocol", ["dubbo", "lines"])
def test_the_example(protocol):
    async def main():
        server, counts = Server() if protocol == "dubbo" else Lines(), await Counts().start()
        await server.start()
        one = {"rate": "1/h", "by": {"header": "tenant"}}
        one["ask"] = {"name": "shared-limit", "options": {"service": counts.address}}
        config = loaded(server, one, "shared_limit.py", protocol=protocol)
        async with protokit.Proxy(config) as proxy:
            if protocol == "dubbo":
                client = await Client.connect(proxy.addresses["in"][1])

                async def passed() -> bool:
                    return (await client.call("echo", "x", tenant="acme")).status == 20

            else:
                reader, writer = await streams.open_connection(*proxy.addresses["in"])
                call = {"kind": 0, "id": 7, "service": b"s", "method": b"m", "body": b"x"}

                async def passed() -> bool:
                    writer.write(LINES.build(call | {"headers": b"tenant=acme;"}))
                    return (await read(reader))["body"] == b"x"

            assert await passed()
            await until(lambda: counts.asked)
            while not await passed():  # its answer is on its way
                await asyncio.sleep(0.01)
            assert [await passed() for _ in range(2)] == [True, False]
            assert counts.asked[0] == [["acme"], 1]
        stopped = server.stop()
        if stopped is not None:
            await stopped
        counts.stop()

    run(main())
