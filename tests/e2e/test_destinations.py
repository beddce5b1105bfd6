"""Where requests go, through a running proxy: Dubbo, and bolt, which is declared."""

from __future__ import annotations

import pytest
from both import OK, PROTOCOLS, asking, serving

import protokit
from protokit.testing.streams import run


def configured(protocol, ports, weights=(3, 1)) -> dict:
    one, two, three = (f"127.0.0.1:{port}" for port in ports)
    ends = [
        {"address": one, "metadata": {"lane": "base"}},
        {"address": two, "metadata": {"lane": "blue"}},
    ]
    split = [
        {"cluster": name, "weight": weight} for name, weight in zip(("one", "two"), weights, strict=True)
    ]
    return {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": protocol, "routes": "r"}],
        "routes": [
            {
                "name": "r",
                "rules": [
                    {"match": {"method": "lane"}, "cluster": "c", "subset": {"lane": {"header": "lane"}}},
                    {
                        "match": {"method": "laneOrBase"},
                        "cluster": "c",
                        "subset": {"lane": {"header": "lane"}},
                        "fallback": {"subset": {"lane": "base"}},
                    },
                    {
                        "match": {"method": "laneOrAny"},
                        "cluster": "c",
                        "subset": {"lane": {"header": "lane"}},
                        "fallback": "any",
                    },
                    {"match": {"method": "split"}, "split": split, "sticky": {"header": "user"}},
                    {
                        "match": {"method": "named"},
                        "cluster": {"header": "cluster", "of": ["one", "two"], "else": "three"},
                    },
                    {
                        "match": {"method": "onlyNamed"},
                        "cluster": {"header": "cluster", "of": ["one", "two"]},
                    },
                    {
                        "match": {"method": "gone*"},
                        "reply": {"status": "no-service", "text": "moved to nowhere"},
                    },
                ],
            }
        ],
        "clusters": [
            {"name": "c", "endpoints": ends},
            *(
                {"name": name, "endpoints": [at]}
                for name, at in zip(("one", "two", "three"), (one, two, three), strict=True)
            ),
        ],
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_where_requests_go(protocol):
    async def main():
        servers = [await serving(protocol, name) for name in ("1", "2", "3")]
        ports = [one.port for one in servers]
        async with protokit.Proxy(configured(protocol, ports)) as proxy:
            client = await asking(protocol, proxy.addresses["in"][1])

            async def who(method, calls=6, **headers):
                """The servers that answer, or what is said instead."""
                said = {await client.ask(method, **headers) for _ in range(calls)}
                assert len({status for status, _ in said}) == 1
                status = next(iter(said))[0]
                return "".join(sorted(text for _, text in said)) if status == OK else (status, said)

            async def refused(method, text, **headers):
                asked = [len(one.asked) for one in servers]
                status, said = await client.ask(method, **headers)
                assert status != OK
                assert text in said or protocol == "bolt"  # whose caller is told by an exception
                assert asked == [len(one.asked) for one in servers]
                return status

            assert await who("lane", lane="blue") == "2"
            assert await who("lane", lane="base") == "1"
            await refused("lane", "no endpoint of cluster c has lane=green", lane="green")
            await refused("lane", "no endpoint of cluster c has lane")
            assert await who("laneOrBase", lane="blue") == "2"
            assert await who("laneOrBase", lane="green") == await who("laneOrBase") == "1"
            assert await who("laneOrAny", lane="green") == await who("laneOrAny") == "12"
            assert await who("laneOrAny", lane="base") == "1"

            assert await who("named", cluster="one") == "1"
            assert await who("named", cluster="two") == "2"
            assert await who("named", cluster="three") == await who("named", cluster="c") == "3"
            assert await who("named") == "3"
            assert await who("onlyNamed", cluster="two") == "2"
            await refused("onlyNamed", "leads to no cluster of that name", cluster="three")
            await refused("gone", "moved to nowhere")

            users = [f"u{n}" for n in range(60)]
            first = {user: await who("split", 2, user=user) for user in users}
            assert {*first.values()} == {"1", "2"}
            assert 5 <= sum(one == "2" for one in first.values()) <= 25
            proxy_two = configured(protocol, ports, (1, 1))
            async with protokit.Proxy(proxy_two) as other:  # another process, another table
                again = await asking(protocol, other.addresses["in"][1])
                moved = {user: (await again.ask("split", user=user))[1] for user in users}
                assert {user for user in users if first[user] == "2"} < {
                    user for user in users if moved[user] == "2"
                }
                await again.close()
            assert {await who("split", 60)} == {"12"}  # who says nothing has a share by chance
            await client.close()
        for server in servers:
            await server.stop()

    run(main())
