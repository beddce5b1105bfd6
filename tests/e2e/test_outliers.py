"""Who answers badly is left out, through a running proxy: Dubbo, and bolt, which is declared."""

from __future__ import annotations

import pytest
from both import APP_ERROR, OK, OVERLOADED, PROTOCOLS, asking, serving

import protokit
from protokit.testing.streams import run


def configured(protocol, servers) -> dict:
    return {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": protocol, "cluster": "c"}],
        "clusters": [
            {
                "name": "c",
                "endpoints": [f"127.0.0.1:{one.port}" for one in servers],
                "outlier": {"errors": 3, "eject": "1m"},
            }
        ],
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_three_errors_leave_it_out_over_reloads_and_errors_of_the_application_nobody(protocol):
    async def main():
        bad, good = [await serving(protocol, name) for name in ("bad", "good")]
        config = configured(protocol, [bad, good])
        async with protokit.Proxy(config) as proxy:
            client = await asking(protocol, proxy.addresses["in"][1])
            bad.how = lambda method: APP_ERROR
            said = [(await client.ask("m"))[0] for _ in range(20)]
            assert said.count(APP_ERROR) == len(bad.asked) >= 8
            bad.how = lambda method: OVERLOADED
            bad.asked.clear()
            said = [(await client.ask("m"))[0] for _ in range(20)]
            assert said.count(OVERLOADED) == len(bad.asked) == 3
            assert said.count(OK) == 17
            await proxy.reload(config)
            said = [(await client.ask("m"))[0] for _ in range(10)]
            assert said == [OK] * 10
            assert len(bad.asked) == 3
            await client.close()
        for server in (bad, good):
            await server.stop()

    run(main())
