"""What is tried again, and what is not, through a running proxy: Dubbo, and bolt, which is declared."""

from __future__ import annotations

import pytest
from both import APP_ERROR, OK, OVERLOADED, PROTOCOLS, asking, serving
from served import until

import protokit
from protokit.testing.streams import run

RETRY = {"attempts": 2, "on": ["reset", "overloaded", "timeout"], "per_try": "150ms", "budget": "100%"}


def configured(protocol, servers, **listener) -> dict:
    return {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": protocol, "routes": "r", **listener}],
        "routes": [
            {
                "name": "r",
                "rules": [
                    {"match": {"method": "twice*"}, "cluster": "c", "retry": RETRY | {"idempotent": "true"}},
                    {"match": {"method": "once*"}, "cluster": "c", "retry": RETRY},
                    {"cluster": "c"},
                ],
            }
        ],
        "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{one.port}" for one in servers]}],
        "timeouts": {"request": "1s"},
    }


async def asked_of(bad, client, method, calls=8):
    """The statuses of calls, at least one of which came to the bad one."""
    before, said = len(bad.asked), []
    while len(said) < calls or len(bad.asked) == before:
        said.append((await client.ask(method))[0])
    return said


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("how", [OVERLOADED, "closes", "hangs"])
def test_a_second_try_is_answered_by_the_other(protocol, how):
    """Once each; and by no rule that does not say that it may."""

    async def main():
        bad, good = [await serving(protocol, name) for name in ("bad", "good")]
        bad.how = lambda method: how
        async with protokit.Proxy(configured(protocol, [bad, good])) as proxy:
            client = await asking(protocol, proxy.addresses["in"][1])
            assert {*await asked_of(bad, client, "twice")} == {OK}
            retries = proxy.stats()["workers"][0]["retries"]
            assert retries == len(bad.asked) >= 1
            if how == OVERLOADED:  # else it would not be asked again so soon
                for method in ("once", "other"):
                    before = len(good.asked)
                    said = await asked_of(bad, client, method)
                    assert said.count(OK) == len(good.asked) - before < len(said)
                assert proxy.stats()["workers"][0]["retries"] == retries
            await client.close()
        for server in (bad, good):
            await server.stop()

    run(main())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_never_tried_again(protocol):
    """Errors of the application; what nobody waits for; requests of a client with connections of its own."""

    async def main():
        bad, good = [await serving(protocol, name) for name in ("bad", "good")]
        bad.how = lambda method: APP_ERROR
        async with protokit.Proxy(configured(protocol, [bad, good])) as proxy:
            client = await asking(protocol, proxy.addresses["in"][1])
            said = await asked_of(bad, client, "twice")
            assert said.count(APP_ERROR) == len(bad.asked)
            bad.how = lambda method: "closes" if method == "twiceTold" else OK
            told = 0
            while "twiceTold" not in bad.asked:
                client.tell("twiceTold")
                told += 1
                await until(lambda told=told: (bad.asked + good.asked).count("twiceTold") == told)
            await until(lambda: proxy.stats()["workers"][0]["upstream_closed"])
            assert (await client.ask("other"))[0] == OK  # behind what would be done about it
            counted = proxy.stats()["workers"][0]
            assert counted["retries"] == 0
            assert counted["oneway"] == told == (bad.asked + good.asked).count("twiceTold")
            await client.close()
        async with protokit.Proxy(configured(protocol, [bad, good], mode="pinned")) as proxy:
            bad.how = lambda method: OVERLOADED
            before = len(bad.asked)
            while len(bad.asked) == before:
                client = await asking(protocol, proxy.addresses["in"][1])
                status, _ = await client.ask("twice")
                await client.close()
            assert status == OVERLOADED
            assert proxy.stats()["workers"][0]["retries"] == 0
        for server in (bad, good):
            await server.stop()

    run(main())
