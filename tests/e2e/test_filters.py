"""Filters that hang, and worse, in a running proxy: nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys

import pytest
from peers import SERVICE, Client, Server, configuration

import protokit
from protokit import config as reading
from protokit.errors import ConfigErrors
from protokit.testing import streams

FILTERS = """
import asyncio, pathlib, sys
from protokit import Filter, Response, Status, hookimpl

def say(word):
    with open(__file__ + ".said", "a") as said:
        said.write(word + " ")

class Bad(Filter):
    async def request(self, request):
        if request.method == "hang":
            try:
                await asyncio.Event().wait()
            finally:
                say("cancelled")
        if request.method == "stubborn":
            while not pathlib.Path(__file__ + ".go").exists():
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    say("ignored")
            return Response(Status.DENIED, "too late")
        if request.method == "cancel":
            raise asyncio.CancelledError
        if request.method == "exit":
            sys.exit(3)
        if request.method == "interrupt":
            raise KeyboardInterrupt
        if request.method == "base":
            raise BaseException("neither")
        if request.method == "lists":
            request.cluster = ["c"]
        if request.method == "no number":
            request.argument("no number")
        if request.method == "beyond":
            beyond = [request.argument(index, "none") for index in (-1, 1, 2**64)]
            return Response(Status.DENIED, " ".join(beyond))

@hookimpl
def protokit_filters():
    return {"bad": lambda options: Bad()}
"""


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad_filters.py"
    path.write_text(FILTERS)

    def make(server, **more):
        config = configuration(server, plugins=[str(path)], **more)
        match = {"service": SERVICE, "method": "echo"}
        config["routes"][0]["rules"].insert(0, {"match": match, "cluster": config["clusters"][0]["name"]})
        config["routes"][0]["rules"][1]["filters"] = ["bad"]
        return config

    return make


async def waiting(proxy) -> dict:
    """The worker's counters once no request is left."""
    for _ in range(500):
        (stats,) = proxy.stats()["workers"]
        if stats["requests_active"] == stats["filters_bytes"] == 0:
            return stats
        await asyncio.sleep(0.01)
    raise AssertionError(stats)


@pytest.mark.parametrize("method", ["hang", "stubborn"])
def test_a_filter_that_never_decides(bad, method, tmp_path, caplog):
    said = tmp_path / "bad_filters.py.said"

    async def main():
        server = await Server().start()
        config = bad(server, limits={"in_flight": 16, "filters": 16}, timeouts={"filter": "1s"})
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            other = await Client.connect(proxy.addresses["in"][1])
            # One behind the other: how long the first ones wait is nothing to the last one.
            *hung, last = [client.send(method, n) for n in range(17)]
            assert "wait for filters are at the limit of 16" in (await last).value
            assert (await other.call("echo", 1)).value == 1
            for one in hung:
                assert "did not decide within 1000 ms" in (await one).value
            await waiting(proxy)
            while not said.exists() or len(said.read_text().split()) < 16:
                await asyncio.sleep(0.01)
            assert set(said.read_text().split()) == {"cancelled" if method == "hang" else "ignored"}
            assert (await other.call("echo", 2)).value == 2
            await proxy.reload(reading.load(config))  # nothing is forgotten by that
            again = client.send(method, 3)
            if method == "hang":
                while not proxy.stats()["workers"][0]["filters_waiting"]:
                    await asyncio.sleep(0.01)
                await client.close()
                assert (await waiting(proxy))["filters_cancelled"] == 17
            else:
                text = (await asyncio.wait_for(again, 5)).value
                assert "too many calls of this rule's filters were cancelled and do not end" in text
                (tmp_path / "bad_filters.py.go").touch()
                while (await client.call("fine", 4)).status != 20:  # until they have ended
                    await asyncio.sleep(0.01)
                await client.close()
            await other.close()
        await server.stop()

    streams.run(main())
    said = [one.getMessage() for one in caplog.records if "did not decide" in one.getMessage()]
    what = "filter bad of routes.r[1].filters[0] did not decide on a request in time"
    assert said == [f"{what}; its caller is told TIMEOUT"]


def test_an_argument_that_no_call_can_have_is_one_that_this_call_has_not(bad):
    async def main():
        server = await Server().start()
        async with protokit.Proxy(bad(server)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("beyond", 1)).value == "none none none"
            await client.close()
        await server.stop()

    streams.run(main())


@pytest.mark.parametrize("method", ["cancel", "exit", "interrupt", "base", "lists", "no number"])
def test_a_filter_that_does_what_none_may_has_failed_at_once(bad, method, caplog):
    async def main():
        server = await Server().start()
        async with protokit.Proxy(bad(server)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            answer = await asyncio.wait_for(client.call(method, 1), 5)
            assert (answer.status, answer.value) == (80, "protokit: the filter bad failed")
            assert (await client.call("echo", 1)).value == 1
            await client.close()
        await server.stop()

    streams.run(main())
    said = [one.getMessage() for one in caplog.records if one.name == "protokit.filters"]
    assert said == ["filter bad of routes.r[1].filters[0] failed; its caller is told INTERNAL"]


def test_the_proxy_ends_although_a_filter_does_not(bad, tmp_path):
    async def main():
        server = await Server().start()
        config = bad(server)
        (tmp_path / "c.yaml").write_text(json.dumps(config | {"drain": {"delay": "0s", "timeout": "100ms"}}))
        process = await streams.start_process(
            sys.executable, "-m", "protokit", "run", str(tmp_path / "c.yaml"), stdout=asyncio.subprocess.PIPE
        )
        port = None
        async for line in process.stdout:
            if b"listener" in line:
                port = int(line.split(b"127.0.0.1:")[1].split()[0])
            if b"process" in line:
                break
        client = await Client.connect(port)
        client.send("stubborn", 1)
        assert (await client.call("echo", 1)).value == 1
        process.send_signal(signal.SIGTERM)
        try:
            assert await asyncio.wait_for(process.wait(), 10) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await client.close()
        await server.stop()

    streams.run(main())


@pytest.mark.parametrize("made", ["None", "Filter()", "type('Misspelt', (Filter,), {'requests': print})()"])
def test_a_filter_that_would_see_nothing_is_refused(made, tmp_path):
    (tmp_path / "blind.py").write_text(
        f"""from protokit import Filter, hookimpl
@hookimpl
def protokit_filters():
    return {{"blind": lambda options: {made}}}
"""
    )

    async def main():
        config = configuration(plugins=[str(tmp_path / "blind.py")])
        config["clusters"][0] |= {"endpoints": ["127.0.0.1:1"], "filters": ["blind"]}
        with pytest.raises(
            ConfigErrors, match="has none of the methods request, response, on_end: it would see nothing"
        ):
            async with protokit.Proxy(config):
                pass

    streams.run(main())


@pytest.mark.parametrize("method", ["request", "response", "on_end"])
def test_a_method_that_cannot_be_awaited_is_refused(method, tmp_path):
    (tmp_path / "plain.py").write_text(
        f"""import functools
from protokit import Filter, hookimpl

def timed(method):
    @functools.wraps(method)
    def call(*arguments):
        return method(*arguments)
    return call

class Plain(Filter):
    def {method}(self, *seen):
        pass

class Wrapped(Filter):
    @timed
    async def {method}(self, *seen):
        pass

@hookimpl
def protokit_filters():
    return {{"plain": lambda options: Plain(), "wrapped": lambda options: Wrapped()}}
"""
    )

    async def main():
        config = configuration(plugins=[str(tmp_path / "plain.py")])
        config["clusters"][0] |= {"endpoints": ["127.0.0.1:1"], "filters": ["wrapped"]}
        async with protokit.Proxy(config):
            pass
        config["clusters"][0]["filters"] = ["plain"]
        with pytest.raises(
            ConfigErrors, match=f"{method} of Plain cannot be awaited: write async def {method}"
        ):
            async with protokit.Proxy(config):
                pass

    streams.run(main())


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_a_loop_that_cancels_all_tasks_is_not_held_up(fail, tmp_path):
    """As asyncio.run does where nobody has closed the proxy: no further filter is asked then."""
    (tmp_path / "waits.py").write_text(
        """import asyncio
from protokit import Filter, hookimpl

class Waits(Filter):
    async def request(self, request):
        if request.method == "wait":
            await asyncio.Event().wait()

@hookimpl
def protokit_filters():
    return {"waits": lambda options: Waits()}
"""
    )

    async def main():
        server = await Server().start()
        config = configuration(server, plugins=[str(tmp_path / "waits.py")], timeouts={"filter": "1h"})
        config["routes"][0]["rules"][0]["filters"] = [{"waits": {}, "fail": fail}] * 2
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            waits = client.send("wait", 1)
            while not (work := [one for one in asyncio.all_tasks() if one.get_coro().__name__ == "_decide"]):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            work[0].cancel()
            await asyncio.wait(work, timeout=2)
            assert work[0].done()
            answer = await asyncio.wait_for(waits, 5)
            assert answer.status == (20 if fail == "open" else 80)
            assert (await client.call("echo", 1)).value == 1
            await client.close()
        await server.stop()

    streams.run(main())
