"""Whose turn it is, and drains and weights changed while a proxy runs: Dubbo, and bolt, which is declared."""

from __future__ import annotations

from collections import Counter

import pytest
from both import OK, PROTOCOLS, asking, serving

import protokit
from protokit.testing.streams import run

EXACT = ("round-robin", "least-request")  # one call at a time: by weight
ALL = (*EXACT, "random", "peak-ewma")


def configured(protocol, servers) -> dict:
    """A method leads to the cluster with the balancer of its name; weights are 1, 3 and 0."""
    ports = [one.port for one in servers]
    return {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": protocol, "routes": "r"}],
        "routes": [
            {"name": "r", "rules": [{"match": {"method": balance}, "cluster": balance} for balance in ALL]}
        ],
        "clusters": [
            {
                "name": balance,
                "balance": balance,
                "endpoints": [
                    {"address": f"127.0.0.1:{port}", "weight": weight}
                    for port, weight in zip(ports, (1, 3, 0), strict=True)
                ],
            }
            for balance in ALL
        ],
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_by_weight_over_reloads_and_without_who_drains(protocol):
    async def main():
        servers = [await serving(protocol, name) for name in ("light", "heavy", "none")]
        config = configured(protocol, servers)
        async with protokit.Proxy(config) as proxy:
            client = await asking(protocol, proxy.addresses["in"][1])

            async def shares(balance, count=40):
                said = [await client.ask(balance) for _ in range(count)]
                assert {status for status, _ in said} == {OK}
                return Counter(name for _, name in said)

            for balance in EXACT:
                assert await shares(balance, 8) == {"light": 2, "heavy": 6}
                await proxy.reload(config)
                assert await shares(balance, 8) == {"light": 2, "heavy": 6}
            for balance in ("random", "peak-ewma"):
                found = await shares(balance, 80)
                assert set(found) == {"light", "heavy"}
                assert found["heavy"] > found["light"] or balance == "peak-ewma"
            light, heavy = (f"127.0.0.1:{one.port}" for one in servers[:2])
            for balance in ALL:
                await proxy.adjust(balance, heavy, "drain=true")
                assert await shares(balance, 20) == {"light": 20}
            await proxy.reload(config)  # what is changed so stays
            assert await shares(ALL[0], 8) == {"light": 8}
            for balance in EXACT:
                await proxy.adjust(balance, heavy, "drain=false&weight=1")
                assert await shares(balance, 8) == {"light": 4, "heavy": 4}
                await proxy.adjust(balance, light, "weight=0")
                assert await shares(balance, 8) == {"heavy": 8}
            await client.close()
        for server in servers:
            await server.stop()

    run(main())
