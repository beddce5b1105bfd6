"""A protocol in Python through a real proxy: what it shares with others, and what only it can do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import uvloop

import protokit
from protokit import config as configuration
from protokit.errors import ConfigErrors
from protokit.testing import streams

PLUGIN = Path(__file__).parents[1] / "toy" / "sized.py"
spec = importlib.util.spec_from_file_location("sized_for_tests", PLUGIN)
sized = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sized)
call, pack, HEAD, KINDS = sized.call, sized.pack, sized.HEAD, sized.KINDS


async def frames_of(reader):
    """(kind, id, body) of each frame."""
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        while True:
            _, kind, number, size = HEAD.unpack(await reader.readexactly(HEAD.size))
            yield KINDS[kind], number, await reader.readexactly(size)


class Server:
    """Answers with the request's payload; ``methods`` may do otherwise."""

    def __init__(self, name: bytes = b"") -> None:
        self.name = name
        self.heard = []
        self.writers = []
        self.silent = False

    async def start(self, port: int = 0):
        self.server = await streams.start_server(self.serve, "127.0.0.1", port)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def stop(self):
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def serve(self, reader, writer):
        self.writers.append(writer)
        async for kind, number, body in frames_of(reader):
            self.heard.append((kind, number, body))
            if self.silent:
                continue
            if kind == "heartbeat":
                writer.write(pack("ack", number))
            if kind != "request":
                continue
            facts, _, payload = body.partition(b"\n")
            method = json.loads(facts)["method"]
            if method == "never":
                continue
            if method == "spoil":
                writer.write(b"?")
                continue
            if method == "leave":
                writer.write(pack("drain", 0))
            if method == "slow":  # 100 bytes in a second
                for byte in pack("response", number, b"s" * 86):
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.01)
                continue
            answer = {"big": b"x" * 300_000, "overloaded": b"!OVERLOADED"}.get(method, self.name + payload)
            writer.write(pack("response", number, answer))
        writer.close()


class Client:
    all: ClassVar = []

    def __init__(self, reader, writer) -> None:
        self.all.append(self)
        self.reader, self.writer = reader, writer
        self.frames = frames_of(reader)

    @classmethod
    async def connect(cls, proxy, listener="in"):
        return cls(*await streams.open_connection("127.0.0.1", proxy.addresses[listener][1]))

    async def next(self):
        return await asyncio.wait_for(anext(self.frames, None), 10)

    async def call(self, number, *arguments, **more):
        self.writer.write(call(number, *arguments, **more))
        return await self.next()


def configured(*servers, rules=None, **more):
    return {
        "plugins": [str(PLUGIN)],
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "sized", "routes": "r"}],
        "routes": [{"name": "r", "rules": rules or [{"match": {"service": "a.B"}, "cluster": "c"}]}],
        "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{one.port}" for one in servers]}],
        "drain": {"delay": "0s", "timeout": "1s"},
        **more,
    }


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def total(proxy, name):
    return sum(one[name] for one in proxy.stats()["workers"])


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request):
    """Run a test with a server and a proxy; it leaves neither connections nor bytes behind."""
    runner = uvloop.run if request.param == "uvloop" else asyncio.run

    def go(test, *, servers=1, **more):
        async def main():
            peers = [await Server(b"%d:" % i if servers > 1 else b"").start() for i in range(servers)]
            proxy = protokit.Proxy(configured(*peers, **more))
            try:
                await proxy.start()
                await test(proxy, *peers)
            finally:
                await proxy.close()
                for client in Client.all:
                    client.writer.transport.abort()
                Client.all.clear()
                for peer in peers:
                    await peer.stop()
                await asyncio.sleep(0.01)
            assert (len(proxy._bridges), proxy._bridges.held) == (0, 0)

        runner(asyncio.sleep(0))  # what the loop itself opens for good
        before = descriptors()
        streams.run(main(), runner=runner)
        assert descriptors() <= before

    return go


def test_what_a_codec_reads_nothing_of_is_taken_by_rules_that_ask_for_nothing(run):
    """As a compressed body: the names are left out."""
    rules = [
        {"match": {"service": "a.B"}, "cluster": "c"},
        {"match": {"method": "m"}, "cluster": "c"},
        {"match": {}, "reply": {"status": "denied", "text": "nothing of it can be read"}},
    ]

    async def test(proxy, server):
        client = await Client.connect(proxy)
        assert (await client.call(1, "", b"one"))[::2] == ("response", b"one")
        assert await client.call(2, "", service="") == ("response", 2, b"!DENIED nothing of it can be read")

    run(test, rules=rules)


def test_two_clients_with_the_same_ids_each_get_their_own(run):
    async def test(proxy, server):
        one, two = await Client.connect(proxy), await Client.connect(proxy)
        for number in range(200):
            one.writer.write(call(number, payload=b"one %d" % number))
            two.writer.write(call(number, payload=b"two %d" % number))
        for client, name in ((one, b"one"), (two, b"two")):
            got = [await client.next() for _ in range(200)]
            assert sorted(got) == sorted(
                ("response", number, b"%s %d" % (name, number)) for number in range(200)
            )
        assert len(server.writers) == 1
        assert (total(proxy, "requests"), total(proxy, "responses")) == (400, 400)
        ids = [number for _, number, _ in server.heard]
        assert len(set(ids)) == 400
        assert 3 not in ids, "a reserved id was issued"

    run(test)


def test_two_workers(run):
    async def test(proxy, *servers):
        clients = [await Client.connect(proxy) for _ in range(12)]
        answers = [await client.call(5, payload=b"x") for client in clients]
        assert {kind for kind, _, _ in answers} == {"response"}
        assert all(number == 5 for _, number, _ in answers)
        assert all(one["requests"] for one in proxy.stats()["workers"])

    run(test, servers=2, workers=2)


def test_errors_say_why(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        kind, number, body = await client.call(1, service="no.Such")
        assert (kind, number) == ("response", 1)
        assert body.startswith(
            b"!NO_SERVICE protokit: no route on listener 'in' for service 'no.Such' method 'echo'"
        )
        kind, number, body = await client.call(2, "never")
        assert (kind, number) == ("response", 2)
        assert body.startswith(b"!TIMEOUT protokit: no answer from 127.0.0.1:")
        kind, _, body = await client.call(3, "never", timeout_ms=20)
        assert body.endswith(b"within 20 ms (rule r[1])")
        _, _, body = await client.call(4, "gone")
        assert body.startswith(b"!UNAVAILABLE protokit: no endpoint can be reached (cluster gone)")
        client.writer.write(pack("request", 5, b"no JSON"))
        assert await client.next() == (
            "response",
            5,
            b"!BAD_REQUEST protokit: the request's service and method cannot be read: it is malformed",
        )
        assert await client.call(6, payload=b"still open") == ("response", 6, b"still open")

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = {"name": "gone", "endpoints": [f"127.0.0.1:{unused.getsockname()[1]}"]}

        async def with_gone(proxy, server):
            config = configured(server, rules=rules)
            config["clusters"].append(gone)
            await proxy.reload(config)
            await test(proxy, server)

        rules = [
            {"match": {"service": "a.B", "method": "gone"}, "cluster": "gone"},
            {"match": {"service": "a.B", "method": "never"}, "cluster": "c", "timeout": "100ms"},
            {"match": {"service": "a.B"}, "cluster": "c"},
        ]
        run(with_gone)


def test_a_retry_goes_to_another_endpoint(run):
    retry = {"attempts": 3, "on": ["overloaded"], "idempotent": True}

    async def test(proxy, one, two):
        client = await Client.connect(proxy)
        assert await client.call(8, "overloaded") == ("response", 8, b"!OVERLOADED")
        assert (total(proxy, "requests"), total(proxy, "retries")) == (1, 2)
        assert len(one.heard) + len(two.heard) == 3

    run(test, servers=2, rules=[{"match": {"service": "a.B"}, "cluster": "c", "retry": retry}])


def test_one_way_requests_arrive_and_are_not_answered(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        client.writer.write(call(1, "note", kind="oneway"))
        assert await client.call(2, payload=b"x") == ("response", 2, b"x")
        assert [kind for kind, _, _ in server.heard] == ["oneway", "request"]

    run(test)


def test_heartbeats_are_answered_and_sent(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        client.writer.write(pack("heartbeat", 9, b"how are you"))
        assert await client.next() == ("ack", 9, b"how are you")
        assert await client.call(1) == ("response", 1, b"")
        await until(lambda: total(proxy, "heartbeats_sent") > 1)
        assert ("heartbeat", b"") in {(kind, body) for kind, _, body in server.heard}
        assert total(proxy, "upstream_silent") == 0
        server.silent = True
        client.writer.write(call(2))
        kind, number, body = await client.next()
        assert (kind, number) == ("response", 2)
        assert b"!UNAVAILABLE protokit: the connection was lost to" in body
        assert total(proxy, "upstream_silent") == 1

    run(test, timeouts={"heartbeat": "50ms", "probe": "100ms"})


def test_drain_is_honoured_and_told(run):
    async def test(proxy, leaving, staying):
        client = await Client.connect(proxy)
        answers = [await client.call(number, "leave", payload=b"x") for number in range(2)]
        assert sorted(body for _, _, body in answers) == [b"0:x", b"1:x"]
        assert total(proxy, "drains_received") == 2
        await proxy.drain()
        assert await client.next() == ("drain", 0, b"")

    run(test, servers=2)


def test_large_frames_both_ways(run):
    payload = bytes(range(256)) * (4 << 12)

    async def test(proxy, server):
        client, small = await Client.connect(proxy), await Client.connect(proxy)
        client.writer.write(call(1, payload=payload))
        assert await small.call(1, payload=b"x") == ("response", 1, b"x")
        assert await client.next() == ("response", 1, payload)

    run(test)


def test_a_frame_over_the_limit_is_answered_and_the_connection_closed(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        head = call(7, payload=bytes(100_000))
        client.writer.write(call(6, payload=b"x") + head[:200])
        assert {await client.next(), await client.next()} == {
            ("response", 6, b"x"),
            ("response", 7, b"!BAD_REQUEST protokit: the frame is larger than the limit of 65536 bytes"),
        }
        assert await client.next() is None
        assert total(proxy, "protocol_errors_client") == 1
        # the frame itself fits, but not what the engine keeps with it
        for over in range(0, 120, 40):
            client = await Client.connect(proxy)
            body = call(1, payload=b"")
            client.writer.write(call(1, payload=bytes(65536 - 100 - len(body) + over)))
            kind, number, answer = await client.next()
            assert (kind, number) == ("response", 1)
            assert not answer.strip(b"\0") or answer.startswith(b"!BAD_REQUEST protokit: the frame is larger")

    run(test, limits={"frame": "64KiB"})


def test_an_answer_over_the_limit_fails_its_own_call(run):
    async def test(proxy, server):
        client, other = await Client.connect(proxy), await Client.connect(proxy)
        for n in range(10):
            client.writer.write(call(2 * n, "big"))
            other.writer.write(call(2 * n + 1, payload=b"x"))
            large = b"!INTERNAL protokit: the answer is larger than the limit of 65536 bytes"
            assert await client.next() == ("response", 2 * n, large)
            assert await other.next() == ("response", 2 * n + 1, b"x")
        assert len(server.writers) == 1
        assert total(proxy, "answers_too_large") == 10

    run(test, limits={"frame": "64KiB"})


def test_an_answer_that_makes_progress_is_not_cut(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        assert await client.call(1, "slow") == ("response", 1, b"s" * 86)
        assert len(server.writers) == 1

    run(test, timeouts={"frame": "300ms"})


def test_a_client_that_is_refused_while_it_sends_can_send_it_all_and_read_why(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        frame = call(7, payload=bytes(3_000_000))
        client.writer.write(frame[:200])
        assert (await client.next())[:2] == ("response", 7)
        for at in range(200, len(frame), 500_000):
            assert not client.reader.at_eof()
            client.writer.write(frame[at : at + 500_000])
            await asyncio.wait_for(client.writer.drain(), 5)
            await asyncio.sleep(0.01)
        assert await client.next() is None
        client.writer.write(b"and more")
        await client.writer.drain()
        client.writer.close()
        await until(lambda: total(proxy, "connections_active") == 0)
        # who never closes is closed
        stays = await Client.connect(proxy)
        stays.writer.write(call(6, payload=b"x") + b"nonsense")
        assert await stays.next() == ("response", 6, b"x")
        assert await stays.next() is None
        await until(lambda: len(proxy._bridges) == 1)  # the one to the server

    run(test, limits={"frame": "64KiB"})


def test_bytes_one_by_one(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        for data in (call(1, payload=b"slowly"), pack("heartbeat", 2)):
            for byte in data:
                client.writer.write(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0.0005)
        assert {await client.next(), await client.next()} == {("response", 1, b"slowly"), ("ack", 2, b"")}

    run(test)


def test_a_half_read_frame_times_out(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        client.writer.write(call(1)[:9])
        assert await client.next() is None
        assert total(proxy, "closed_half_frame") == 1

    run(test, timeouts={"frame": "100ms"})


def test_a_clients_end_leaves_it_its_answers(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        client.writer.write(b"".join(call(number, "big") for number in range(20)))
        client.writer.write_eof()
        answers = [await client.next() for _ in range(20)]
        assert {number for _, number, _ in answers} == set(range(20))
        assert {len(body) for _, _, body in answers} == {300_000}
        assert await client.next() is None

    run(test)


def test_an_upstreams_end_fails_what_it_owes(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        client.writer.write(call(1, "never"))
        await until(lambda: server.heard)
        server.writers[0].close()
        kind, number, body = await client.next()
        assert (kind, number) == ("response", 1)
        assert body.startswith(b"!UNAVAILABLE protokit: the connection was lost to")
        assert await client.call(2, payload=b"x") == ("response", 2, b"x")
        client.writer.write(call(3, "never"))
        await until(lambda: len(server.heard) == 3)
        server.writers[1].transport.abort()
        assert (await client.next())[2].startswith(b"!UNAVAILABLE")

    run(test)


def test_a_client_that_vanishes_costs_the_others_nothing(run):
    async def test(proxy, server):
        stays = await Client.connect(proxy)
        for _ in range(5):
            gone = await Client.connect(proxy)
            gone.writer.write(call(1, "never") + call(2, "big") + call(3)[:7])
            await gone.writer.drain()
            sock = gone.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            gone.writer.transport.abort()
        assert await stays.call(1, payload=b"x") == ("response", 1, b"x")
        await until(lambda: len(proxy._bridges) == 2)
        assert len(server.writers) == 1

    run(test, timeouts={"request": "300ms"})


def test_a_client_that_never_reads_hurts_only_itself(run):
    async def test(proxy, server):
        deaf = await Client.connect(proxy)
        deaf.writer.transport.pause_reading()
        other = await Client.connect(proxy)
        most = 0
        deaf.writer.write(b"".join(call(number, "big") for number in range(400)))
        for number in range(100):
            assert await other.call(number, payload=b"x") == ("response", number, b"x")
            most = max(most, proxy._bridges.held + total(proxy, "buffer_bytes"))
        await until(lambda: total(proxy, "clients_closed_slow") == 1)
        assert most < 24 << 20, "400 answers of 300 KB were kept"
        await until(lambda: len(proxy._bridges) == 2)
        assert await other.call(1, payload=b"x") == ("response", 1, b"x")

    run(test, limits={"client_pause": "256KiB", "client_close": "1MiB", "frame": "1MiB"})


def test_a_client_that_reads_slowly_gets_everything(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        client.writer.transport.pause_reading()
        for number in range(60):
            client.writer.write(call(number, "big"))
        await asyncio.sleep(0.5)
        held = proxy._bridges.held
        client.writer.transport.resume_reading()
        answers = [await client.next() for _ in range(60)]
        assert {number for _, number, _ in answers} == set(range(60))
        assert held < 4 << 20

    run(test)


def test_what_is_held_counts_against_the_budget(run):
    async def test(proxy, server):
        half = call(1, payload=bytes(900_000))[:-1]
        clients = [await Client.connect(proxy) for _ in range(12)]
        for client in clients:
            client.writer.write(half)
        await until(lambda: proxy._bridges.held > 3_000_000 or total(proxy, "connections_active") < 12)
        await until(lambda: total(proxy, "connections_active") < 12)
        assert proxy._bridges.held <= 4 << 20
        for client in clients:
            client.writer.transport.abort()
        await until(lambda: proxy._bridges.held == 0)
        client = await Client.connect(proxy)
        assert await client.call(1, payload=b"x") == ("response", 1, b"x")

    run(test, limits={"buffer": "4MiB", "frame": "1MiB", "client_pause": "256KiB"})


@pytest.mark.parametrize(
    "hostile",
    [b"GET / HTTP/1.1\r\n\r\n", b"S\x00", b"PKE1" + bytes(60), bytes(5000), b"S\x01" + b"\xff" * 5000],
    ids=["http", "kind", "envelope", "zeros", "ones"],
)
def test_hostile_bytes_close_their_connection_only(run, hostile):
    async def test(proxy, server):
        stays, hostile_one = await Client.connect(proxy), await Client.connect(proxy)
        hostile_one.writer.write(call(1, payload=b"before") + hostile)
        got = [await hostile_one.next(), await hostile_one.next()]
        assert ("response", 1, b"before") in got
        if b"\xff" not in hostile:
            assert got[1] is None
        assert total(proxy, "protocol_errors_client") == 1
        assert await stays.call(1, payload=b"x") == ("response", 1, b"x")

    run(test)


def test_an_upstream_that_speaks_something_else_is_closed(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        assert (await client.call(1, "spoil"))[2].startswith(
            b"!UNAVAILABLE protokit: the connection was lost"
        )
        assert total(proxy, "protocol_errors_upstream") == 1
        assert await client.call(2, payload=b"x") == ("response", 2, b"x")

    run(test)


@pytest.mark.parametrize("bug", [sized.BUG, sized.BAD_RESULT, sized.LEAVES])
def test_a_codec_that_raises_closes_that_connection_and_is_logged_once(run, bug, caplog):
    async def test(proxy, server):
        stays = await Client.connect(proxy)
        for _ in range(3):
            client = await Client.connect(proxy)
            client.writer.write(call(1, payload=b"before") + bug)
            assert await client.next() == ("response", 1, b"before")
            assert await client.next() is None
        assert total(proxy, "protocol_errors_client") == 3
        assert await stays.call(1, payload=b"x") == ("response", 1, b"x")

    with caplog.at_level(logging.ERROR):
        run(test)
    logged = [one for one in caplog.records if one.name == "protokit.bridge"]
    assert [one.message for one in logged] == ["the codec of protocol sized failed: the connection is closed"]
    assert logged[0].exc_info


def test_a_codec_that_raises_for_one_request_fails_that_request(run, caplog):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        client.writer.write(call(1, "never"))
        for number, method in ((2, "bug-in-request"), (5, "leaves-in-request")):
            _, _, body = await client.call(number, method)
            assert body == (
                b"!BAD_REQUEST protokit: the request's service and method cannot be read: it is malformed"
            )
        assert await client.call(3, payload=b"bug-in-with-id") == (
            "response",
            3,
            b"!INTERNAL protokit: the codec of protocol sized failed",
        )
        assert await client.call(4, payload=b"x") == ("response", 4, b"x")
        assert len(server.writers) == 1
        assert total(proxy, "upstream_closed") == 0

    with caplog.at_level(logging.ERROR):
        run(test)
    assert len([one for one in caplog.records if one.name == "protokit.bridge"]) == 3


FILTER = """
from protokit import Filter, Response, Status, hookimpl


class Change(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        if "deny" in request.headers:
            return Response(Status.DENIED, f"not {request.service} {request.method} {request.protocol}")
        if "change" in request.headers:
            request.headers["seen"] = request.headers.pop("change")
            request.method = "echo2"
        if "break" in request.headers:
            request.service = "bug-in-with-id"


@hookimpl
def protokit_filters():
    return {"change": Change}
"""


def test_filters_see_and_change_requests(run, tmp_path):
    (tmp_path / "change.py").write_text(FILTER)

    async def test(proxy, server):
        config = configured(server)
        config["plugins"].append(str(tmp_path / "change.py"))
        config["listeners"][0]["filters"] = ["change"]
        await proxy.reload(config)
        client = await Client.connect(proxy)
        assert await client.call(1, headers={"deny": "1"}) == ("response", 1, b"!DENIED not a.B echo sized")
        assert await client.call(2, payload=b"x", headers={"change": "1"}) == ("response", 2, b"x")
        assert json.loads(server.heard[-1][2].partition(b"\n")[0]) == {
            "service": "a.B",
            "method": "echo2",
            "headers": {"seen": "1"},
        }
        assert await client.call(4, payload=b"y") == ("response", 4, b"y")

    run(test)


def test_pinned_connections_keep_their_ids_and_bytes(run):
    async def test(proxy, server):
        config = configured(server)
        config["listeners"][0]["mode"] = "pinned"
        await proxy.reload(config)
        one, two = await Client.connect(proxy), await Client.connect(proxy)
        for client in (one, two):
            assert await client.call(3, payload=b"bug-in-with-id") == ("response", 3, b"bug-in-with-id")
        assert len(server.writers) == 2
        server.writers[0].write(call(77, "back"))
        back = await asyncio.wait(
            {asyncio.ensure_future(c.next()) for c in (one, two)}, timeout=5, return_when="FIRST_COMPLETED"
        )
        assert {task.result()[:2] for task in back[0]} == {("request", 77)}
        for task in back[1]:
            task.cancel()

    run(test)


def test_a_reload_keeps_connections_and_changes_where_requests_go(run, tmp_path):
    (tmp_path / "change.py").write_text(FILTER)

    async def test(proxy, old, new):
        config = configured(old)
        await proxy.reload(config)
        client = await Client.connect(proxy)
        assert (await client.call(1))[2] == b"0:"
        await proxy.reload(configured(new))
        answers = {(await client.call(number))[2] for number in range(10)}
        assert answers == {b"1:"}, "the codec of a connection from before the reload is the old file's"
        config = configured(new)
        config["plugins"].append(str(tmp_path / "change.py"))
        config["listeners"][0]["filters"] = ["change"]
        await proxy.reload(config)
        assert (await client.call(2, headers={"deny": "1"}))[2].startswith(b"!DENIED")
        assert (await client.call(2, headers={"change": "1"}))[2] == b"1:"
        fresh = await Client.connect(proxy)
        assert (await fresh.call(1))[2] == b"1:"

    run(test, servers=2)


def test_a_listener_changes_its_tier_by_a_reload(run):
    async def test(proxy, server):
        config = configured(server)
        config["listeners"][0]["protocol"] = "bolt"
        before = await Client.connect(proxy)
        assert await before.call(1, payload=b"x") == ("response", 1, b"x")
        await proxy.reload(config)
        other = await Client.connect(proxy)
        await until(lambda: total(proxy, "connections_active") == 2)
        other.writer.write(call(1))
        assert await other.next() is None
        assert await before.call(2, payload=b"x") == ("response", 2, b"x")
        await proxy.reload(configured(server))
        after = await Client.connect(proxy)
        assert await after.call(3, payload=b"x") == ("response", 3, b"x")

    run(test)


def test_stopping_answers_what_is_in_flight(run):
    async def test(proxy, server):
        client = await Client.connect(proxy)
        client.writer.write(call(1, "never"))
        await until(lambda: server.heard)
        await proxy.close()
        assert await client.next() == (
            "response",
            1,
            b"!UNAVAILABLE protokit: the proxy is shutting down",
        )
        assert await client.next() is None

    run(test)


def test_many_connections_come_and_go(run):
    async def test(proxy, server):
        for _ in range(5):
            clients = [await Client.connect(proxy) for _ in range(30)]
            answers = await asyncio.gather(*(one.call(i, payload=b"%d" % i) for i, one in enumerate(clients)))
            assert answers == [("response", i, b"%d" % i) for i in range(30)]
            for client in clients:
                client.writer.close()
            await until(lambda: total(proxy, "connections_active") == 0)
        await until(lambda: len(proxy._bridges) == total(proxy, "upstream_connections_active"))

    run(test)


# On the command line.


def write(tmp_path, protocol, plugins=True) -> str:
    path = tmp_path / "proxy.yaml"
    config = {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": protocol, "cluster": "c"}],
        "clusters": [{"name": "c", "endpoints": ["127.0.0.1:1"]}],
        "drain": {"delay": "0s", "timeout": "1s"},
    }
    path.write_text(json.dumps({"plugins": [str(PLUGIN)], **config} if plugins else config))
    return str(path)


def test_it_cannot_be_one_of_several(tmp_path):
    with pytest.raises(ConfigErrors, match="protocol 'sized' has a codec in Python and cannot be detected"):
        configuration.load(write(tmp_path, ["dubbo", "sized"]))
    assert configuration.load(write(tmp_path, ["sized"])).protocols == {"in": ("sized",)}
    assert "sized" not in configuration.load(write(tmp_path, "auto")).protocols["in"]
    done = subprocess.run(
        [sys.executable, "-m", "protokit", "check", write(tmp_path, ["dubbo", "sized"])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "give it a listener of its own" in done.stdout + done.stderr


def test_run_says_its_tier(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "protokit", "run", write(tmp_path, "sized")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines, port = [], 0
    for line in process.stdout:
        lines.append(line)
        if "in 127.0.0.1:" in line:
            port = int(line.split("127.0.0.1:")[1].split()[0])
        if line.startswith("  process"):
            break
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(call(1))
        answer = client.recv(1000)
        assert answer[HEAD.size :].startswith(
            b"!UNAVAILABLE protokit: no endpoint can be reached (cluster c)"
        )
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert any("sized (python)" in line for line in lines)
