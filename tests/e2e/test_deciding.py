"""Each form of a match decides who is denied, limited or failed, and each key has its bucket."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from lined import LINES, Lines, read
from peers import Client, Server

import protokit
from protokit import Protocol, plugins
from protokit import config as reading
from protokit.observe.metrics import prometheus
from protokit.testing import streams
from protokit.testing.streams import run

HERE, THERE = "127.0.0.2", "127.0.0.3"


class Dubbo:
    """Calls of Dubbo's, each from an address."""

    name, server = "dubbo", Server

    def __init__(self, port: int) -> None:
        self.port = port
        self.clients: dict[str, Client] = {}

    async def ask(
        self, *, source=HERE, service="s.A", method="m", version="1", group="", headers=None, arguments=("x",)
    ) -> str | None:
        """The error that it is told; None: it is answered by its server."""
        if source not in self.clients:
            self.clients[source] = await Client.connect(self.port, source)
        more = {"version": version, "service": service} | ({"group": group} if group else {})
        answer = await self.clients[source].call(method, *arguments, **more, **(headers or {}))
        return None if answer.status == 20 else answer.value

    async def close(self) -> None:
        for client in self.clients.values():
            await client.close()


class Lined:
    """The same of a declared protocol, which has no version, group or arguments."""

    name, server = "lines", Lines

    def __init__(self, port: int) -> None:
        self.port = port
        self.clients: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def ask(self, *, source=HERE, service="s.A", method="m", headers=None) -> str | None:
        if source not in self.clients:
            self.clients[source] = await streams.open_connection(
                "127.0.0.1", self.port, local_addr=(source, 0)
            )
        reader, writer = self.clients[source]
        said = "".join(f"{name}={value};" for name, value in (headers or {}).items()).encode()
        call = {"kind": 0, "id": 7, "service": service.encode(), "method": method.encode()}
        writer.write(LINES.build(call | {"headers": said, "body": b"x"}))
        answer = await asyncio.wait_for(read(reader), 10)
        return None if answer["body"] == b"x" else answer["body"].decode()

    async def close(self) -> None:
        for _, writer in self.clients.values():
            writer.close()


@contextlib.asynccontextmanager
async def proxied(kind, **more):
    """A running proxy, who asks through it, and how it is given a listener's and a first rule's part."""
    server = kind.server()
    await server.start()
    registry = plugins.load(["dubbo"])
    registry.protocols["lines"] = Protocol("lines", LINES, "lines")

    def loaded(listener, rule):
        rules = [rule | {"cluster": "c"}, *[{"cluster": "c"}] * bool(rule.get("match"))]
        one = {"name": "in", "bind": "127.0.0.1:0", "protocol": kind.name, "routes": "r"}
        config = {
            "listeners": [one | listener],
            "routes": [{"name": "r", "rules": rules}],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{server.port}"]}],
            "drain": {"delay": "0s", "timeout": "1s"},
            **more,
        }
        return reading.load(config, registry)

    async with protokit.Proxy(loaded({}, {})) as proxy:
        asker = kind(proxy.addresses["in"][1])
        yield proxy, asker.ask, lambda listener, rule: proxy.reload(loaded(listener, rule))
        await asker.close()
    stopped = server.stop()
    if stopped is not None:
        await stopped


def tagged(tag):
    return {"headers": {"tag": tag}}


# What matches, a request that it is for, and one that it is not for.
MATCHES = [
    ({"service": "s.A"}, {}, {"service": "s.B"}),
    ({"service": "s.*"}, {}, {"service": "t.A"}),
    ({"service": {"suffix": ".A"}}, {}, {"service": "s.B"}),
    ({"service": "s*A"}, {"service": "s.x.A"}, {"service": "s.x.B"}),
    ({"method": "m"}, {}, {"method": "n"}),
    ({"method": {"regex": "get[A-Z].*"}}, {"method": "getOne"}, {"method": "getting"}),
    ({"method": {"in": ["m", "n"]}}, {"method": "n"}, {"method": "o"}),
    (tagged("gray"), tagged("gray"), tagged("blue")),
    (tagged({"present": "true"}), tagged("x"), {}),
    (tagged({"present": "false"}), {}, tagged("x")),
    (tagged({"range": ["1", "100"]}), tagged("7"), tagged("101")),
    ({"source": f"{HERE}/32"}, {}, {"source": THERE}),
    ({"any": [{"method": "a"}, tagged("b")]}, tagged("b"), {"method": "b"}),
    ({"all": [{"method": "a"}, tagged("b")]}, {"method": "a", **tagged("b")}, tagged("b")),
    ({"not": {"method": "a"}}, {"method": "b"}, {"method": "a"}),
]
OF_DUBBO = [
    ({"version": "2"}, {"version": "2"}, {"version": "1"}),
    ({"group": "g"}, {"group": "g"}, {"group": "h"}),
    ({"arguments": {"0": "a"}}, {"arguments": ("a",)}, {"arguments": ("b",)}),
    ({"arguments": {"1": {"range": ["1", "9"]}}}, {"arguments": ("a", 5)}, {"arguments": ("a", 10)}),
    (
        {"arguments": {"0.user.id": "7"}},
        {"arguments": ({"user": {"id": 7}},)},
        {"arguments": ({"user": {"id": 8}},)},
    ),
]
# Whose bucket it is: two requests of one, and one of another.
KEYS = [
    ("service", {}, {"method": "n"}, {"service": "s.B"}),
    ("method", {}, tagged("x"), {"method": "n"}),
    ("source", {}, {"method": "n"}, {"source": THERE}),
    ({"header": "tag"}, tagged("x"), {"method": "n", **tagged("x")}, tagged("y")),
    (
        ["source", {"header": "tag"}],
        tagged("x"),
        {"method": "n", **tagged("x")},
        {"source": THERE, **tagged("x")},
    ),
]
KEYS_OF_DUBBO = [
    ({"argument": "0"}, {"arguments": ("a",)}, {"arguments": ("a", "b")}, {"arguments": ("b",)}),
    (
        {"argument": "0.user.id"},
        {"arguments": ({"user": {"id": 7}},)},
        {"arguments": ({"user": {"id": 7, "name": "x"}},)},
        {"arguments": ({"user": {"id": 8}},)},
    ),
]
KINDS = pytest.mark.parametrize("kind", [Dubbo, Lined])


@KINDS
def test_each_form_of_a_match_denies_limits_and_fails_whom_it_is_for_and_nobody_else(kind):
    async def main():
        async with proxied(kind) as (proxy, ask, reload):
            for match, hit, miss in MATCHES + OF_DUBBO * (kind is Dubbo):
                await reload({"deny": [match]}, {})
                denied = await ask(**hit)
                assert denied.startswith("protokit: denied by rule in.deny[0]: service "), match
                assert await ask(**miss) is None, match
                await reload({"allow": [match]}, {})
                assert await ask(**hit) is None, match
                assert "denied: no rule of in.allow is for this request" in await ask(**miss), match
                await reload({"allow": [{}], "deny": [match]}, {})
                assert await ask(**hit) == denied, match
                await reload({"dry_run": {"deny": [match]}}, {})
                assert (await ask(**hit), await ask(**miss)) == (None, None), match
                assert proxy.stats()["access"]["in.dry_run.deny[0]"]["would-deny"] == 1, match
                await reload({}, {"match": match, "fault": {"abort": {"status": "denied"}}})
                assert await ask(**hit) == "protokit: aborted by the fault of rule r[0]", match
                assert await ask(**miss) is None, match
                await reload({}, {"match": match, "limit": {"rate": "1/h"}})
                limited = [await ask(**hit) for _ in range(2)]
                assert limited == [None, "protokit: rate limit of rule r[0] (1/h) reached"], match
                assert (await ask(**miss), await ask(**miss)) == (None, None), match

    run(main())


@KINDS
def test_each_kind_of_key_has_a_bucket_and_a_dry_run_counts(kind):
    async def main():
        async with proxied(kind) as (proxy, ask, reload):
            for by, first, same, other in KEYS + KEYS_OF_DUBBO * (kind is Dubbo):
                reached = "protokit: rate limit of rule r[0] (1/h) reached"
                await reload({}, {"limit": {"rate": "1/h", "burst": "1", "by": by}})
                assert [await ask(**one) for one in (first, same, other, other)] == [
                    None,
                    reached,
                    None,
                    reached,
                ], by
                await reload({}, {"limit": {"rate": "1/h", "burst": "1", "by": by, "dry_run": "true"}})
                assert [await ask(**one) for one in (first, same, other, other)] == [None] * 4, by
                page = prometheus(proxy.stats(), ready=True)
                assert 'protokit_rule_decisions_total{rule="r[0]",decision="would-limit"} 2\n' in page, by
                await reload({}, {"limit": {"rate": "1/h", "burst": "2", "by": by}})
                assert [await ask(**one) for one in (first, same, same)] == [None, None, reached], by

    run(main())


@KINDS
def test_reloads_let_no_more_requests_of_a_rule_wait(kind):
    async def main():
        async with proxied(kind, limits={"filters": 2}) as (proxy, ask, reload):
            rule = {"fault": {"delay": {"fixed": "20s"}}}
            await reload({}, rule)
            waiting = [asyncio.create_task(ask(source=source)) for source in (HERE, THERE)]
            while proxy.stats()["rules"]["r[0]"]["delay"] < 2:
                await asyncio.sleep(0.01)
            for _ in range(2):
                await reload({}, rule)
                said = await ask(source="127.0.0.4")
                assert "requests of this rule that wait for its delay are at the limit of 2" in said
            await reload({}, {})
            assert await ask(source="127.0.0.4") is None
            await reload({}, rule)
            assert "at the limit of 2" in await ask(source="127.0.0.4")
            for one in waiting:
                one.cancel()

    run(main())


@KINDS
def test_callers_with_the_key_ask_for_faults_and_nobody_is_shown_it(kind, caplog):
    key = "open-sesame-and-more"

    async def main():
        async with proxied(kind) as (proxy, ask, reload):
            asked = {"header": "x-fault", "key": key, "most": "50ms"}
            await reload({}, {"fault": {"asked": asked}})
            said = "protokit: aborted as its caller asked, by the fault of rule r[0]"
            assert await ask() is None
            assert await ask(headers={"x-fault": f"{key} abort=denied"}) == said
            assert await ask(headers={"x-fault": f"{key} delay=99999 abort=timeout"}) == said
            assert await ask(headers={"x-fault": f"{key} delay=1"}) is None
            assert await ask(headers={"x-fault": f"{key} delay=never"}) is None
            assert await ask(headers={"x-fault": f"{key[1:]} abort=denied"}) is None
            counts = proxy.stats()["rules"]["r[0]"]
            assert (counts["delay"], counts["abort"]) == (2, 2)
            assert (counts["fault-denied"], counts["fault-ignored"]) == (1, 1)
            page = prometheus(proxy.stats(), ready=True)
            assert 'protokit_rule_decisions_total{rule="r[0]",decision="fault-denied"} 1\n' in page
            shown = [page, repr(proxy.stats()), repr(proxy.loaded.config), caplog.text]
            assert not [one for one in shown if key in one]
            assert "a secret" in repr(proxy.loaded.config)

    run(main())


@KINDS
def test_a_fault_hits_those_that_have_its_header_and_its_share_of_them(kind):
    async def main():
        async with proxied(kind) as (proxy, ask, reload):
            faults = {"delay": {"fixed": "1ms"}, "abort": {"status": "unavailable", "share": "50%"}}
            await reload({}, {"fault": {"header": "x-fault"} | faults})
            assert {await ask() for _ in range(50)} == {None}
            assert proxy.stats()["rules"]["r[0]"] | {"delay": 0, "abort": 0} == proxy.stats()["rules"]["r[0]"]
            said = [await ask(headers={"x-fault": "yes"}) for _ in range(64)]  # all alike: one in 2 ** 63
            assert {*said} == {None, "protokit: aborted by the fault of rule r[0]"}
            counts = proxy.stats()["rules"]["r[0]"]
            assert (counts["delay"], counts["abort"]) == (64, sum(one is not None for one in said))

    run(main())
