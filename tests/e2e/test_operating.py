"""docs/operating.md, through a running proxy: its configurations, as they stand there."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

from click.testing import CliRunner
from peers import Client, Server
from protokit_dubbo.messages import OK, Answer

import protokit
from protokit.cli.group import group
from protokit.observe.metrics import prometheus
from protokit.testing.streams import run

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
PART, TAG, PROTECT, BILLING, MOVE = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


async def proxy_of(tmp_path, text: str, servers: list[Server]) -> protokit.Proxy:
    for number, server in enumerate(servers, 20881):
        text = text.replace(str(number), str(server.port))
    path = tmp_path / "proxy.yaml"
    path.write_text(text.replace("20880", "0"))
    return protokit.Proxy(path)


def test_a_part_of_the_users_gets_the_new_version(tmp_path):
    async def main():
        servers = [await Server(name).start() for name in ("1", "2")]
        proxy = await proxy_of(tmp_path, PART, servers)
        async with proxy:
            client = await Client.connect(proxy.addresses["in"][1])

            async def ask(**attachments):
                return (await client.call("name", service="shop.Cart", **attachments)).value

            async def who() -> set[int]:
                """The users with version 2."""
                asked = await asyncio.gather(*(ask(user=f"u{n}") for n in range(400)))
                return {n for n, version in enumerate(asked) if version == "2"}

            few = await who()
            assert 10 <= len(few) <= 30  # of 20: who they are is no chance, but the same everywhere
            assert await who() == few
            assert {await ask(user=f"u{n}", tester="") for n in range(20)} == {"2"}
            by_chance = [await ask() for _ in range(400)]
            assert 3 <= by_chance.count("2") <= 50
            path, before = tmp_path / "proxy.yaml", few
            for weights in ((90, 10), (0, 100), (100, 0)):
                text = path.read_text()
                for version, weight in zip((1, 2), weights, strict=True):
                    text = re.sub(rf"(version: {version}}}, weight: )\d+", rf"\g<1>{weight}", text)
                path.write_text(text)
                await proxy.reload()
                now = await who()
                assert before < now or not weights[1]
                before = now
            assert before == set()
            # Version 2 is ill: who is led there is told.
            await servers[1].stop()
            answers = [await client.call("name", service="shop.Cart", tester="x") for _ in range(3)]
            assert OK not in {one.status for one in answers}
            assert await ask(user="u1") == "1"
            await client.close()
        await servers[0].stop()

    run(main())


def test_a_tag_is_followed_through_three_services(tmp_path):
    async def main():
        cart, price, blue, stock = [
            await Server(name).start() for name in ("cart", "price", "blue price", "stock")
        ]
        async with await proxy_of(tmp_path, TAG, [cart, price, blue, stock]) as proxy:
            port = proxy.addresses["in"][1]
            client = await Client.connect(port)
            asking = [await Client.connect(port) for _ in range(3)]
            tasks = []

            def asks(server: Server, service: str, through: Client) -> None:
                async def answer(call, writer) -> None:
                    tag = {
                        name: call.attachments[name] for name in ("dubbo.tag",) if name in call.attachments
                    }
                    found = await through.call("path", "x", service=service, **tag)
                    value = [server.name, *found.value] if found.status == OK else found.value
                    writer.write(Answer(call.id, found.status, value).encode())

                def before(call, writer) -> bool:
                    tasks.append(asyncio.ensure_future(answer(call, writer)))
                    return True

                server.before = before

            asks(cart, "shop.Price", asking[0])
            asks(price, "shop.Stock", asking[1])
            asks(blue, "shop.Stock", asking[2])

            def last(call, writer) -> bool:
                writer.write(Answer(call.id, OK, [stock.name]).encode())
                return True

            stock.before = last

            async def path(**tag):
                return (await client.call("path", "x", service="shop.Cart", **tag)).value

            for _ in range(3):
                assert await path(**{"dubbo.tag": "blue"}) == ["cart", "blue price", "stock"]
                assert await path() == ["cart", "price", "stock"]
                assert await path(**{"dubbo.tag": "green"}) == ["cart", "price", "stock"]
            assert [call.attachments.get("dubbo.tag") for call in stock.calls] == ["blue", None, "green"] * 3
            await blue.stop()  # an isolated lane is not left
            said = await path(**{"dubbo.tag": "blue"})
            assert isinstance(said, str)
            assert "cluster price, lane=blue" in said
            assert len(price.calls) == 6
            assert await path() == ["cart", "price", "stock"]
            for one in (client, *asking):
                await one.close()
        for server in (cart, price, stock):
            await server.stop()

    run(main())


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
