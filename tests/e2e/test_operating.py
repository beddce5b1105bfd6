"""docs/operating.md, through a running proxy: its configurations, as they stand there."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

from click.testing import CliRunner
from peers import Client, Server
from protokit_dubbo.messages import OK
from served import run

import protokit
from protokit.cli.group import group
from protokit.observe.metrics import prometheus

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
PROTECT, BILLING, MOVE = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


async def proxy_of(tmp_path, text: str, servers: list[Server]) -> protokit.Proxy:
    for number, server in enumerate(servers, 20881):
        text = text.replace(str(number), str(server.port))
    path = tmp_path / "proxy.yaml"
    path.write_text(text.replace("20880", "0"))
    return protokit.Proxy(path)


def test_a_slow_method_is_protected(tmp_path):
    async def main():
        servers = [await Server(name).start() for name in ("one", "two")]
        async with await proxy_of(tmp_path, PROTECT, servers) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])

            async def ask(method: str, tenant: str):
                return await client.call(method, "x", service="shop.Reports", tenant=tenant)

            answers = await asyncio.gather(*(ask("exportAll", "night") for _ in range(20)))
            refused = [one.value for one in answers if one.status != OK]
            assert {*refused} == {"protokit: rate limit of rule shop[0] (5/s) reached"}
            assert (await ask("exportAll", "day")).status == OK
            assert (await ask("list", "night")).status == OK
            # A server that says nothing is asked no more for this call, and the other is.
            servers[0].before = lambda call, writer: True
            before = len(servers[1].calls)
            while not [call for call in servers[0].calls if call.method == "hung"]:
                assert (await ask("hung", "night")).status == OK
            assert len(servers[1].calls) > before
            await client.close()
        for server in servers:
            await server.stop()

    run(main())


def test_only_the_billing_team_calls_refund(tmp_path, caplog):
    async def main():
        server = await Server().start()
        async with await proxy_of(tmp_path, BILLING, [server]) as proxy:
            port = proxy.addresses["in"][1]
            billing, other = await Client.connect(port, "127.0.0.2"), await Client.connect(port)
            told = [
                await client.call(method, "x", service="shop.Payments")
                for client in (billing, other)
                for method in ("refund", "refundAll", "get")
            ]
            assert [one.status for one in told] == [OK, OK, OK, 70, 70, OK]
            (text,) = re.findall(r"`(denied by .*?)`", PAGE, re.DOTALL)
            assert told[3].value == "protokit: " + " ".join(text.split())
            counted = prometheus(proxy.stats(), ready=True)
            counts = re.findall(r"`(protokit_access_decisions_total\{.*?\})`", PAGE)
            assert [f"{metric} {n}\n" in counted for metric, n in zip(counts, (2, 1), strict=True)] == [
                True
            ] * 2
            await billing.close()
            await other.close()
        await server.stop()
        assert [call.method for call in server.calls] == ["refund", "refundAll", "get", "get"]

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "requests or connections were denied by in.deny[0]" in caplog.text
    assert "requests or connections would be denied by in.dry_run.allow" in caplog.text
    path = tmp_path / "proxy.yaml"
    asked = [str(path), "--service", "shop.Payments", "--method", "refund", "--source", "10.2.0.1"]
    assert CliRunner().invoke(group, ["route", *asked]).exit_code == 1


def test_a_service_moves_and_its_callers_do_not_notice(tmp_path):
    async def main():
        old, new = await Server("old").start(), await Server("new").start()
        async with await proxy_of(tmp_path, MOVE, [old, new]) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for method in ("getOne", "create"):
                answer = await client.call(method, "x", service="com.old.Orders", version="1.0.0")
                assert answer.value == "x"
            counted = prometheus(proxy.stats(), ready=True)
            await client.close()
        await old.stop()
        await new.stop()
        (stayed,), (moved,) = old.calls, new.calls
        assert (stayed.service, stayed.method, stayed.version) == ("com.old.Orders", "create", "1.0.0")
        assert (moved.service, moved.method, moved.version) == ("shop.Orders", "getOne", "2.0.0")
        assert moved.attachments["x-forwarded-for"] == "127.0.0.1"
        assert "x-forwarded-for" not in stayed.attachments
        (metric,) = re.findall(r"`(\w+_total){cluster=\"new\"}`", PAGE)
        for cluster, server in (("old", old), ("new", new)):
            assert f'{metric}{{cluster="{cluster}",endpoint="127.0.0.1:{server.port}"}} 1\n' in counted

    run(main())
