"""Filters that see answers, in a running proxy: Dubbo, and a declared protocol; and filters that fail."""

from __future__ import annotations

import asyncio
import logging

import pytest
from lined import LINES, Lines, read
from peers import SERVICE, Client, Server, configuration
from protokit_dubbo.messages import Answer

import protokit
from protokit import Filter, Protocol, Response, Status, plugins
from protokit import config as loading
from protokit.dataplane import chains
from protokit.errors import ConfigErrors
from protokit.testing import streams


class Spy(Filter):
    """Does what the header or the method asks for, and keeps what it saw."""

    saw: list[tuple[str, ...]]

    def __init__(self, options):
        self.name = options.get("name", "spy")
        self.saw = options.get("saw", SAW)

    async def request(self, request):
        self.saw.append((self.name, "request", request.method, str(request.cluster)))
        if request.method == "elsewhere":
            request.cluster = "other"
        if request.method == "early":
            raise RuntimeError("early")
        if request.method == "two lines":
            request.headers["cut"] = "a;b=c"

    async def response(self, request, answer):
        self.saw.append((self.name, "response", request.method, answer.status.name, answer.cluster))
        act = getattr(self, request.method, None)
        return None if act is None else await act(request, answer)

    async def change(self, request, answer):
        answer.headers["by"] = f"{self.name} after {answer.headers.get('by', 'nobody')}"
        answer.headers["who"] = answer.endpoint
        answer.headers["in"] = "time" if 0 < answer.latency_ms < 60_000 else str(answer.latency_ms)
        answer.headers.pop("secret", None)

    async def deny(self, request, answer):
        return Response(Status.DENIED, f"{self.name} does not like {answer.header('secret')}")

    async def hang(self, request, answer):
        try:
            await asyncio.Event().wait()
        finally:
            self.saw.append((self.name, "cancelled"))

    async def raises(self, request, answer):
        answer.headers["half"] = "done"
        raise RuntimeError("on purpose")

    async def nonsense(self, request, answer):
        return "yes"

    async def textless(self, request, answer):
        return Response(Status.DENIED, None)

    async def named(self, request, answer):
        return Response("DENIED", "by its name")

    async def halves(self, request, answer):
        return Response(Status.DENIED, "half a pair: \ud800")

    async def headless(self, request, answer):
        answer.headers = 7

    async def cancels(self, request, answer):
        raise asyncio.CancelledError

    async def wrong(self, request, answer):
        answer.headers["number"] = 5

    async def cut(self, request, answer):
        answer.headers["cut"] = "a;b=c"

    async def numbers(self, request, answer):
        answer.headers = {"number": 5}


SAW: list[tuple[str, ...]] = []


class Blind(Filter):
    """Sees answers only."""

    def __init__(self, options):
        pass

    async def response(self, request, answer):
        if request.method == "change":
            answer.headers["blind"] = request.header("tag") or ""


def run(work) -> None:
    SAW.clear()
    streams.run(work)


def registry():
    found = plugins.load(["dubbo"])
    found.protocols["lines"] = Protocol("lines", LINES, "lines")
    found.filters |= {"spy": Spy, "blind": Blind, "picky": Picky}
    return found


def loaded(server, *uses, listener=(), cluster=(), **more):
    config = configuration(server, **more)
    config["listeners"][0]["filters"] = [*listener]
    config["clusters"][0]["filters"] = [*cluster]
    config["clusters"].append(
        {"name": "other", "endpoints": [f"127.0.0.1:{server.port}"], "filters": [*cluster]}
    )
    rules = [{"match": {"method": "echo"}, "cluster": "c"}, {"cluster": "c", "filters": [*uses]}]
    config["routes"][0]["rules"] = rules
    return loading.load(config, registry())


def answering(server) -> None:
    def before(call, writer) -> bool:
        writer.write(
            Answer(call.id, 20, call.arguments[0], attachments={"secret": "s", "by": "server"}).encode()
        )
        return True

    server.before = before


async def dubbo(work, *uses, **more):
    server = await Server().start()
    answering(server)
    async with protokit.Proxy(loaded(server, *uses, **more)) as proxy:
        client = await Client.connect(proxy.addresses["in"][1])
        await work(client, proxy, server)
        assert (await client.call("echo", 1)).value == 1
        await client.close()
        for _ in range(500):
            (stats,) = proxy.stats()["workers"]
            if stats["requests_active"] == stats["filters_bytes"] == 0:
                break
            await asyncio.sleep(0.01)
        assert stats["requests_active"] == stats["filters_bytes"] == stats["filters_waiting"] == 0
    await server.stop()


def test_what_it_changes_of_the_headers_reaches_the_caller_and_the_rest_stays():
    async def work(client, proxy, server):
        answer = await client.call("change", {"a": [1, 2]}, tag="red")
        assert answer.value == {"a": [1, 2]}
        assert answer.attachments == {
            "by": "spy after server",
            "who": f"127.0.0.1:{server.port}",
            "in": "time",
            "blind": "red",
        }
        assert (await client.call("echo", 1)).attachments["secret"] == "s"

    run(dubbo(work, "spy", "blind"))


def test_the_last_to_see_a_request_is_the_first_to_see_its_answer():
    async def work(client, proxy, server):
        await client.call("plain", 1)
        assert SAW == [
            ("a", "request", "plain", "None"),
            ("b", "request", "plain", "None"),
            ("c", "request", "plain", "None"),
            ("d", "request", "plain", "None"),
            ("d", "response", "plain", "OK", "c"),
            ("c", "response", "plain", "OK", "c"),
            ("b", "response", "plain", "OK", "c"),
            ("a", "response", "plain", "OK", "c"),
        ]

    a, b, c, d = ({"spy": {"name": name}} for name in "abcd")

    async def main():
        server = await Server().start()
        answering(server)
        config = loaded(server, b, c, listener=[a], cluster=[d])
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            await work(client, proxy, server)
            SAW.clear()
            answer = await client.call("elsewhere", 1)
            assert answer.value == 1
            assert SAW[3] == ("d", "request", "elsewhere", "other")
            assert SAW[-1] == ("a", "response", "elsewhere", "OK", "other")
            await client.close()
        await server.stop()

    run(main())


def test_a_filter_is_made_once_for_each_place_that_names_it():
    """However many rules a listener's requests go by, and however many listeners a rule is asked for."""
    made = []

    def make(options):
        made.append(options["name"])
        return Spy(options)

    a, b, c, d = ({"spy": {"name": name}} for name in "abcd")

    async def main():
        server = await Server().start()
        found = registry()
        found.filters["spy"] = make
        config = configuration(server)
        config["listeners"][0]["filters"] = [a, a]
        config["listeners"].append(config["listeners"][0] | {"name": "two", "filters": [b]})
        config["listeners"].append(config["listeners"][0] | {"name": "plain", "filters": []})
        config["clusters"][0]["filters"] = [c]
        rules = [{"match": {"method": f"m{n}"}, "cluster": "c", "filters": [d]} for n in range(5)]
        config["routes"][0]["rules"] = [*rules, {"cluster": "c"}]
        async with protokit.Proxy(loading.load(config, found)) as proxy:
            assert sorted(made) == sorted("aabc" + 5 * "d")
            made.clear()
            client = await Client.connect(proxy.addresses["in"][1])
            await client.call("m3", 1)
            assert [one[:2] for one in SAW] == [
                *[(name, "request") for name in "aadc"],
                *[(name, "response") for name in "cdaa"],
            ]
            await client.close()
        await server.stop()

    run(main())


def test_a_clusters_filters_see_what_goes_there_by_whatever_rule_and_nothing_else():
    async def main():
        server = await Server().start()
        config = configuration(server)
        config["clusters"].append(
            {"name": "seen", "endpoints": [f"127.0.0.1:{server.port}"], "filters": ["spy"]}
        )
        config["routes"][0]["rules"] = [
            {"match": {"method": "plain"}, "cluster": "c"},
            {"match": {"method": "direct"}, "cluster": "seen"},
            {"match": {"method": "split"}, "split": [{"cluster": "c", "weight": 0}, {"cluster": "seen"}]},
            {"cluster": {"header": "to", "of": ["c", "seen"], "else": "c"}},
        ]
        async with protokit.Proxy(loading.load(config, registry())) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            for method, to in (
                ("plain", ""),
                ("named", "c"),
                ("named", "none"),
                ("direct", ""),
                ("split", ""),
                ("named", "seen"),
            ):
                await client.call(method, 1, to=to)
            assert [one[1:3] for one in SAW] == [
                (what, method) for method in ("direct", "split", "named") for what in ("request", "response")
            ]
            await client.close()
        await server.stop()

    run(main())


@pytest.mark.parametrize(
    ("method", "status", "text"),
    [
        ("deny", 80, "spy does not like s"),
        ("raises", 80, "protokit: the filter spy failed"),
        ("nonsense", 80, "protokit: the filter spy failed"),
        ("textless", 80, "protokit: the filter spy failed"),
        ("named", 80, "protokit: the filter spy failed"),
        ("halves", 80, "half a pair: \\ud800"),
        ("headless", 80, "protokit: the filter spy failed"),
        ("cancels", 80, "protokit: the filter spy failed"),
        ("wrong", 80, "protokit: the filter spy failed"),
        ("numbers", 80, "protokit: the filter spy failed"),
        ("hang", 31, "the filters of rule r[1] did not decide on the answer within 200 ms"),
    ],
)
def test_the_caller_gets_an_error_instead(method, status, text):
    async def work(client, proxy, server):
        answer = await client.call(method, 1)
        assert answer.status != 20
        assert text in answer.value
        if method == "hang":
            while SAW[-1] != ("spy", "cancelled"):
                await asyncio.sleep(0.01)

    run(dubbo(work, "spy", timeouts={"filter": "200ms" if method == "hang" else "1h"}))


FAILING = [
    "raises",
    "nonsense",
    "textless",
    "named",
    "headless",
    "cancels",
    "wrong",
    "numbers",
    "hang",
    "early",
]


@pytest.mark.parametrize("method", FAILING)
def test_one_that_is_open_fails_and_all_goes_on_without_it_as_it_was(method):
    async def work(client, proxy, server):
        answer = await client.call(method, 1)
        assert (answer.status, answer.value) == (20, 1)
        assert answer.attachments == {"secret": "s", "by": "server"}
        while method == "hang" and SAW[-1] != ("spy", "cancelled"):  # its answer was there before it heard so
            await asyncio.sleep(0.01)
        failures = {place: one["failures"] for place, one in proxy.stats()["filters"].items()}
        assert failures == {
            "routes.r[1].filters[0]: spy.request": int(method == "early"),
            "routes.r[1].filters[0]: spy.response": int(method != "early"),
        }

    run(dubbo(work, {"spy": {}, "fail": "open"}, timeouts={"filter": "200ms" if method == "hang" else "1h"}))


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_after_failures_in_a_row_it_is_switched_off_for_a_while_and_said_so_once(fail, caplog, monkeypatch):
    caplog.set_level(logging.WARNING, "protokit.filters")
    now = [1000.0]
    monkeypatch.setattr(chains.Switch.__init__, "__defaults__", (lambda: now[0],))

    async def work(client, proxy, server):
        def off() -> bool:
            return bool(proxy.stats()["filters"]["routes.r[1].filters[0]: spy.response"]["off"])

        for _ in range(2):
            await client.call("raises", 1)
            await client.call("plain", 1)
        assert not off()  # not in a row
        for _ in range(3):
            await client.call("raises", 1)
        assert off()
        SAW.clear()
        for _ in range(5):
            answer = await client.call("plain", 1)
            if fail == "open":
                assert (answer.status, answer.value) == (20, 1)
            else:
                assert answer.value == "protokit: the filter spy is switched off: it failed 3 times in a row"
        assert {one[1] for one in SAW} == {"request"}
        # A reload that does not change it leaves it off.
        await proxy.reload(proxy.loaded)
        assert off()
        now[0] += 0.5
        await client.call("raises", 1)  # a try
        assert off()
        now[0] += 0.5
        assert (await client.call("plain", 1)).value == 1
        assert not off()
        said = [one.getMessage() for one in caplog.records if "switched off" in one.getMessage()]
        then = "goes on without it" if fail == "open" else "is refused"
        text = (
            "filter spy of routes.r[1].filters[0] is switched off for 500ms: its response failed 3 times in a"
        )
        assert said == [f"{text} row, at last: RuntimeError: on purpose; what it would see {then}"]
        assert [one.getMessage() for one in caplog.records if "works again" in one.getMessage()] == [
            "filter spy of routes.r[1].filters[0] works again (response)"
        ]

    run(dubbo(work, {"spy": {}, "fail": fail, "errors": 3, "off": "500ms"}))


def test_a_filter_that_floods_and_hangs_costs_nobody_else_anything():
    async def work(client, proxy, server):
        hung = [client.send("hang", n) for n in range(40)]
        while proxy.stats()["workers"][0]["filters_waiting"] < 16:
            await asyncio.sleep(0.01)
        for n in range(20):
            assert (await client.call("echo", n)).value == n
        texts = [(await asyncio.wait_for(one, 10)).value for one in hung]
        assert sum("did not decide" in text for text in texts) == 16
        assert sum("at the limit of 16" in text for text in texts) == 24

    limits = {"in_flight": 64, "filters": 16}
    run(dubbo(work, "blind", {"spy": {}}, limits=limits, timeouts={"filter": "500ms"}))


class Wordy(Lines):
    async def _serve(self, reader, writer) -> None:
        while frame := await read(reader):
            self.got.append(frame)
            writer.write(LINES.build(frame | {"kind": 1, "headers": b"secret=s;by=server;"}))
        writer.close()


def test_a_declared_protocol():
    async def main():
        server = Wordy()
        await server.start()
        config = configuration(server)
        config["listeners"][0] |= {"protocol": "lines", "filters": ["spy"]}
        async with protokit.Proxy(loading.load(config, registry())) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            call = {"kind": 0, "id": 7, "service": SERVICE.encode(), "headers": b"", "body": b"x"}
            writer.write(LINES.build(call | {"method": b"change"}))
            answer = await asyncio.wait_for(read(reader), 10)
            assert (answer["id"], answer["kind"], answer["body"]) == (7, 1, b"x")
            assert answer["headers"] == f"by=spy after server;who=127.0.0.1:{server.port};in=time;".encode()
            writer.write(LINES.build(call | {"method": b"deny"}))
            answer = await asyncio.wait_for(read(reader), 10)
            assert (answer["id"], answer["body"]) == (7, b"spy does not like s")
            for method, what in ((b"two lines", b"request"), (b"cut", b"answer")):
                writer.write(LINES.build(call | {"method": method}))
                answer = await asyncio.wait_for(read(reader), 10)
                told = b"protokit: the %b cannot be changed as rule 'r[0]' or its filters say: " % what
                assert (answer["id"], answer["body"][: len(told)]) == (7, told)
            writer.close()
        server.stop()

    run(main())


class Picky(Filter):
    """Goes by arguments."""

    def __init__(self, options):
        pass

    async def request(self, request):
        SAW.append(tuple(request.argument(n, "absent") for n in range(4)))
        if request.argument(0) == "no":
            return Response(Status.DENIED, "not this one")
        return None

    async def response(self, request, answer):
        SAW.append((request.argument(0, "absent"),))


def test_arguments_are_there_where_somebody_asks_for_them():
    async def work(client, proxy, server):
        assert (await client.call("plain", "yes", 7, None)).value == "yes"
        assert SAW == [("yes", 7, None, "absent"), ("yes",)]
        assert (await client.call("plain", "no")).value == "not this one"
        assert [call.arguments for call in server.calls] == [["yes", 7, None]]
        SAW.clear()
        assert (await client.call("plain", [1])).value == [1]
        assert isinstance(SAW[0][0], bytes)

    run(dubbo(work, "picky"))


def test_who_asks_for_arguments_that_cannot_be_read_has_the_caller_told_so():
    async def main():
        server = Wordy()
        await server.start()
        config = configuration(server)
        config["listeners"][0] |= {"protocol": "lines", "filters": ["picky"]}
        async with protokit.Proxy(loading.load(config, registry())) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            call = {"kind": 0, "id": 7, "service": SERVICE.encode(), "headers": b"", "body": b"x"}
            writer.write(LINES.build(call | {"method": b"m"}))
            answer = await asyncio.wait_for(read(reader), 10)
            assert b"the request cannot be read: arguments of lines cannot be read" in answer["body"]
            writer.close()
        assert server.got == []
        server.stop()

    run(main())


def test_what_a_filter_that_is_open_cannot_read_is_no_failure_of_its():
    """Whoever sends that would switch it off for everybody."""

    async def main():
        server = Wordy()
        await server.start()
        config = configuration(server)
        config["listeners"][0] |= {"protocol": "lines", "filters": [{"picky": {}, "fail": "open"}]}
        async with protokit.Proxy(loading.load(config, registry())) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            call = {"kind": 0, "service": SERVICE.encode(), "method": b"m", "headers": b"", "body": b"x"}
            for number in range(5):
                writer.write(LINES.build(call | {"id": number}))
                assert (await asyncio.wait_for(read(reader), 10))["id"] == number
            stats = proxy.stats()["filters"]
            assert {(one["failures"], bool(one["off"])) for one in stats.values()} == {(0, False)}
            writer.close()
        assert len(server.got) == 5
        server.stop()

    run(main())


def test_filters_that_cannot_be_made_are_told_with_their_lines(tmp_path):
    def refuse(options):
        raise ValueError(f"no {options}")

    async def main():
        server = await Server().start()
        found = registry()
        found.filters["refuse"] = refuse
        uses = [{"refuse": {"a": 1}}, {"refuse": {"a": 2}}]
        with pytest.raises(ConfigErrors) as told:
            config = configuration(server)
            config["routes"][0]["rules"][0]["filters"] = uses
            config["clusters"][0]["filters"] = [{"refuse": {"a": 3}}]
            async with protokit.Proxy(loading.load(config, found)):
                raise AssertionError
        assert len(told.value.errors) == 3
        assert all(one.line == 1 and one.column > 1 for one in told.value.errors)
        assert len({one.column for one in told.value.errors}) == 3
        await server.stop()

    run(main())


@pytest.mark.parametrize(
    ("use", "text"),
    [
        ({"spy": {}, "fail": "ajar"}, "fail: expected"),
        ({"spy": {}, "errors": -1}, "errors"),
        ({"spy": {}, "off": "0s"}, "off"),
        ({"spy": {}, "other": {}}, "beside which fail, errors and off may stand"),
        ({"fail": "open"}, "beside which fail, errors and off may stand"),
        ({"nope": {}, "fail": "open"}, "there is no filter 'nope'"),
    ],
)
def test_a_wrong_use_is_told_where_it_stands(use, text):
    config = {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "cluster": "c"}],
        "clusters": [{"name": "c", "endpoints": ["127.0.0.1:1"], "filters": [use]}],
    }
    with pytest.raises(ConfigErrors, match="1:") as told:
        loading.load(config, registry())
    assert text in str(told.value)
