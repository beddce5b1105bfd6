"""Two workers: what each counts for itself, and what is in total."""

from __future__ import annotations

from peers import Client, Server, configuration
from served import until

import protokit
from protokit.testing.streams import run

CLIENTS, MOST, BURST, EXHAUSTED = 40, 2, 3, 100


def test_a_limit_per_worker_holds_for_each_and_one_in_total_for_both():
    """Of 40 clients each worker is found by more than it takes: all but certain, by a share of 1e-10."""

    async def main():
        server = await Server().start()
        rule = {"match": {"method": "echo"}, "cluster": "c", "limit": {"rate": "1/m", "burst": BURST}}
        config = configuration(
            server,
            workers=2,
            limits={"connections": MOST},
            routes=[{"name": "r", "rules": [rule, {"cluster": "c"}]}],
        )
        async with protokit.Proxy(config) as proxy:
            clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(CLIENTS)]
            await until(lambda: sum(one.closed.is_set() for one in clients) == CLIENTS - 2 * MOST)
            served = [one for one in clients if not one.closed.is_set()]
            stats = proxy.stats()["workers"]
            assert [one["connections_accepted"] for one in stats] == [MOST, MOST]
            assert sum(one["connections_refused"] for one in stats) == CLIENTS - 2 * MOST
            answers = [await client.call("echo", 1) for _ in range(2) for client in served]
            refused = [one.value for one in answers if one.status == EXHAUSTED]
            assert len(answers) - len(refused) == BURST
            assert all("rate limit of rule r[0]" in text for text in refused), refused
            for client in clients:
                await client.close()
        await server.stop()

    run(main())
