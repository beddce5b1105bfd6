"""The proxy on real sockets, embedded as a program would embed it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import uvloop
from peers import SERVICE, Client, Server, configuration
from protokit_dubbo.messages import OK, Answer, Call, Event, decode, split
from served import until

import protokit
from protokit.errors import ConfigErrors
from protokit.testing import streams


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request, monkeypatch):
    started = []
    real_start = protokit.Proxy.start

    async def start(proxy):
        started.append(proxy)
        await real_start(proxy)

    async def guarded(work):
        try:
            await asyncio.wait_for(work, 60)
        finally:  # a failed test must not leave a reader behind: uvloop would wait for it for ever
            for proxy in started:
                await proxy.close()

    monkeypatch.setattr(protokit.Proxy, "start", start)
    runner = uvloop.run if request.param == "uvloop" else asyncio.run
    return lambda work: streams.run(guarded(work), 90, runner)


async def refused(port: int) -> bool:
    """Whether the port is closed, or becomes so in a moment."""
    for _ in range(100):
        try:
            _, writer = await streams.open_connection("127.0.0.1", port)
        except OSError:
            return True
        writer.close()
        await asyncio.sleep(0.02)
    return False


ENTRY = "from protokit.cli import main; main()"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def proxied(*servers, **more):
    proxy = protokit.Proxy(configuration(*servers, **more))
    await proxy.start()
    return proxy, proxy.addresses["in"][1]


def test_a_call_goes_through_and_comes_back(run):
    async def main():
        server = await Server().start()
        async with protokit.Proxy(configuration(server)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            answer = await client.call("echo", {"key": [1, "zwei", None]}, trace="t1")
            assert (answer.status, answer.value) == (OK, {"key": [1, "zwei", None]})
            assert server.calls[0].attachments["trace"] == "t1"
            assert proxy.stats()["workers"][0]["requests"] == 1
            assert proxy.stats()["clusters"]["c"][f"127.0.0.1:{server.port}"]["requests"] == 1
            await client.close()
        await server.stop()

    run(main())


def test_many_clients_share_connections_and_each_gets_its_own(run):
    async def main():
        servers = [await Server(name).start() for name in ("one", "two")]
        async with protokit.Proxy(configuration(*servers, workers=2)) as proxy:
            clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(20)]
            sent = [(f"{c}-{n}", clients[c].send("echo", f"{c}-{n}")) for n in range(50) for c in range(20)]
            for text, future in sent:
                assert (await asyncio.wait_for(future, 10)).value == text
            assert all(len(server.calls) > 100 for server in servers)
            assert sum(len(server.writers) for server in servers) <= 8
            for client in clients:
                await client.close()
        for server in servers:
            await server.stop()

    run(main())


def test_large_payloads_both_ways(run):
    async def main():
        server = await Server().start()
        async with protokit.Proxy(configuration(server)) as proxy:
            client, small = [await Client.connect(proxy.addresses["in"][1]) for _ in range(2)]
            big = bytes(range(256)) * (7 << 12)
            future = client.send("echo", big)
            assert (await small.call("echo", "x")).value == "x"
            assert (await asyncio.wait_for(future, 20)).value == big
            too_big = await client.call("echo", bytes(9 << 20))
            assert too_big.status == 40
            assert "larger than the limit of 8388608 bytes" in too_big.value
        await server.stop()

    run(main())


def test_errors_say_why(run):
    async def main():
        server = await Server().start()
        rules = [
            {"match": {"service": SERVICE, "method": "slow"}, "cluster": "c", "timeout": "100ms"},
            {"match": {"service": SERVICE, "method": "gone"}, "cluster": "gone"},
            {"match": {"service": SERVICE, "version": "1.0.0"}, "cluster": "c"},
        ]
        config = configuration(server, routes=[{"name": "r", "rules": rules}])
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            config["clusters"].append({"name": "gone", "endpoints": [f"127.0.0.1:{unused.getsockname()[1]}"]})
            async with protokit.Proxy(config) as proxy:
                client = await Client.connect(proxy.addresses["in"][1])
                found = {
                    "slow": await client.call("slow", 500),
                    "gone": await client.call("gone", 1),
                    "none": await client.call("echo", 1, service="no.Such"),
                    "version": await client.call("echo", 1, version="3.0.0"),
                }
                assert {name: answer.status for name, answer in found.items()} == {
                    "slow": 31,
                    "gone": 80,
                    "none": 60,
                    "version": 60,
                }
                assert (
                    f"no answer from 127.0.0.1:{server.port} (cluster c) within 100 ms (rule r["
                    in found["slow"].value
                )
                assert "(cluster gone)" in found["gone"].value
                assert "service 'no.Such' method 'echo' version '1.0.0'" in found["none"].value
                await client.close()
        await server.stop()

    run(main())


def test_the_callers_own_budget_counts(run):
    async def main():
        server = await Server().start()
        async with protokit.Proxy(configuration(server)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            answer = await client.call("slow", 2000, timeout="150")
            assert (answer.status, "within 150 ms" in answer.value) == (31, True)
            await client.close()
        await server.stop()

    run(main())


def test_a_server_that_dies_in_the_middle_and_comes_back(run):
    async def main():
        server = await Server().start()
        port = server.port
        proxy, listener = await proxied(server)
        client = await Client.connect(listener)
        future = client.send("held", 1)
        await until(lambda: server.calls)
        await server.stop()
        answer = await asyncio.wait_for(future, 5)
        assert (answer.status, "connection was lost" in answer.value) == (80, True)
        assert (await client.call("echo", 1)).status == 80
        again = await Server().start(port)
        for _ in range(100):
            answer = await client.call("echo", 1)
            if answer.status == OK:
                break
            await asyncio.sleep(0.05)
        assert answer.value == 1
        await client.close()
        await proxy.close()
        await again.stop()

    run(main())


def test_read_only_servers_are_left_alone(run):
    async def main():
        leaving, staying = await Server("leaving").start(), await Server("staying").start()
        proxy, listener = await proxied(leaving, staying)
        client = await Client.connect(listener)
        for _ in range(10):
            await client.call("name", 0)
        connections = len(leaving.writers)  # which are closed behind it
        for writer in leaving.writers:
            writer.write(Event(0, b"\x01R", request=True, twoway=False).encode())
        await until(lambda: proxy.stats()["workers"][0]["drains_received"] == connections)
        before = len(leaving.calls)
        assert {(await client.call("name", 0)).value for _ in range(20)} == {"staying"}
        assert len(leaving.calls) == before
        await client.close()
        await proxy.close()
        await leaving.stop()
        await staying.stop()

    run(main())


def test_heartbeats_of_clients_are_answered_here(run):
    async def main():
        server = await Server().start()
        proxy, listener = await proxied(server)
        client = await Client.connect(listener)
        client.writer.write(Event(77, b"N", request=True, twoway=True).encode())
        assert (await client.call("echo", 1)).value == 1  # behind it, both ways
        assert [(event.id, event.request, event.body) for event in client.events] == [(77, False, b"N")]
        assert not server.events
        await client.close()
        await proxy.close()
        await server.stop()

    run(main())


def test_reload_changes_routes_and_lets_requests_in_flight_finish(run):
    async def main():
        old, new = await Server("old").start(), await Server("new").start()
        proxy, listener = await proxied(old)
        client = await Client.connect(listener)
        held = client.send("held", 600)
        await until(lambda: old.calls)
        config = configuration(new)
        config["listeners"].append(
            {"name": "second", "bind": "127.0.0.1:0", "protocol": "dubbo", "cluster": "c"}
        )
        await proxy.reload(config)
        assert (await client.call("name", 0)).value == "new"
        other = await Client.connect(proxy.addresses["second"][1])
        assert (await other.call("name", 0)).value == "new"
        assert proxy.stats()["workers"][0]["tables_live"] == 2
        old.go.set()
        assert (await held).value == 600
        await until(lambda: proxy.stats()["workers"][0]["tables_live"] == 1)
        config["listeners"].pop(0)
        await proxy.reload(config)
        assert await refused(listener)
        for one in (client, other):
            await one.close()
        await proxy.close()
        await old.stop()
        await new.stop()

    run(main())


HOOKS = """
from protokit import Filter, hookimpl
seen = []
@hookimpl
def protokit_startup(app): app.seen.append("NAME starts")
@hookimpl
def protokit_shutdown(app): app.seen.append("NAME stops")
@hookimpl
def protokit_filters(): return {}
"""


def test_plugins_named_by_a_reload_are_started_too_and_all_are_stopped(run, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(HOOKS.replace("NAME", name))

    async def main():
        server = await Server().start()
        config = configuration(server, plugins=[str(tmp_path / "a.py")])
        proxy = protokit.Proxy(config)
        proxy.seen = []
        async with proxy:
            assert proxy.seen == ["a starts"]
            await proxy.reload({**config, "plugins": [str(tmp_path / "b.py"), str(tmp_path / "a.py")]})
            assert proxy.seen == ["a starts", "b starts"]
            await proxy.reload(config)
            assert proxy.seen == ["a starts", "b starts"]
        assert proxy.seen == ["a starts", "b starts", "a stops", "b stops"]
        await server.stop()

    run(main())


def test_a_changed_file_is_started_and_the_one_before_is_stopped(run, tmp_path):
    file = tmp_path / "a.py"

    async def main():
        server = await Server().start()
        file.write_text(HOOKS.replace("NAME", "first"))
        config = configuration(server, plugins=[str(file)])
        proxy = protokit.Proxy(config)
        proxy.seen = []
        async with proxy:
            file.write_text(HOOKS.replace("NAME", "second"))
            await proxy.reload(config)
            assert proxy.seen == ["first starts", "second starts", "first stops"]
            await proxy.reload(config)
            assert proxy.seen == ["first starts", "second starts", "first stops"]
            file.write_text(HOOKS.replace("NAME", "third"))
            taken = socket.socket()
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            listener = {
                **config["listeners"][0],
                "name": "more",
                "bind": "{}:{}".format(*taken.getsockname()),
            }
            with pytest.raises(ConfigErrors):
                await proxy.reload({**config, "listeners": [*config["listeners"], listener]})
            assert proxy.seen[3:] == ["third starts", "third stops"]
            taken.close()
        assert proxy.seen[5:] == ["second stops"]
        await server.stop()

    run(main())


def test_a_bad_reload_keeps_what_runs(run):
    async def main():
        server = await Server().start()
        proxy, listener = await proxied(server)
        bad = configuration(server)
        bad["listeners"][0]["routes"] = "nowhere"
        with pytest.raises(ConfigErrors, match="no route table 'nowhere'"):
            await proxy.reload(bad)
        client = await Client.connect(listener)
        assert (await client.call("echo", 5)).value == 5
        await client.close()
        await proxy.close()
        await server.stop()

    run(main())


def test_hundreds_of_reloads_lose_no_request_and_no_memory(run):
    async def main():
        servers = [await Server(str(n)).start() for n in range(3)]
        proxy, listener = await proxied(*servers)
        client = await Client.connect(listener)
        for n in range(200):
            pending = [client.send("echo", (n, k)) for k in range(3)]
            await proxy.reload(configuration(*servers[n % 2 : n % 2 + 2]))
            for k, future in enumerate(pending):
                assert (await asyncio.wait_for(future, 5)).value == [n, k]
        await until(lambda: proxy.stats()["workers"][0]["tables_live"] == 1)
        await client.close()
        await proxy.close()
        for server in servers:
            await server.stop()

    run(main())


def test_drain_tells_clients_and_finishes_what_is_in_flight(run):
    async def main():
        server = await Server().start()
        proxy, listener = await proxied(server, drain={"delay": "0s", "timeout": "1h"})
        client = await Client.connect(listener)
        held = client.send("held", 400)
        await until(lambda: server.calls)
        draining = asyncio.ensure_future(proxy.drain())
        await until(lambda: client.events)
        assert proxy.ready is False
        assert [event.body for event in client.events] == [b"\x01R"]
        assert await refused(listener)
        assert not draining.done()
        server.go.set()
        assert (await held).value == 400
        await draining
        await proxy.close()
        await asyncio.wait_for(client.closed.wait(), 5)
        await server.stop()

    run(main())


def test_drain_gives_up_after_its_timeout_and_the_caller_hears_of_it(run):
    async def main():
        server = await Server().start()
        proxy, listener = await proxied(server, drain={"delay": "0s", "timeout": "300ms"})
        client = await Client.connect(listener)
        held = client.send("held", 1)
        await until(lambda: server.calls)
        await proxy.drain()
        await proxy.close()
        answer = await held
        assert (answer.status, "shutting down" in answer.value) == (80, True)
        await server.stop()

    run(main())


FILTERS = """
import asyncio, os, time
from protokit import Filter, Response, Status, hookimpl

class Guard(Filter):
    def __init__(self, options):
        self.options = options
    async def request(self, request):
        if request.method == "denied":
            return Response(Status.DENIED, f"{request.service} is not for {request.headers.get('who')}")
        if request.method == "broken":
            raise RuntimeError("oh")
        if request.method == "elsewhere":
            request.cluster = self.options["to"]
        if request.method == "unknown":
            request.cluster = "nothing"
        if request.method == "rewritten":
            request.service, request.version, request.group = "spare", "2.0", "blue"
            request.headers["who"] = request.headers["who"].upper()
            request.headers["added"] = "\u4e2d \U0001f600"
            del request.headers["secret"]
        if request.method == "unwritable":
            del request.headers["path"]
            request.headers["list"] = "text"
        if request.method == "late":
            await asyncio.sleep(0.2)

class Busy(Filter):
    async def request(self, request):
        while not os.path.exists(__file__ + ".go"):
            time.sleep(0.01)

@hookimpl
def protokit_filters():
    return {"guard": Guard, "busy": lambda options: Busy()}
"""


def test_filters_decide(run, tmp_path):
    path = tmp_path / "filters.py"
    path.write_text(FILTERS)

    async def main():
        one, two = await Server("one").start(), await Server("two").start()
        config = configuration(one, plugins=[str(path)])
        config["clusters"].append({"name": "other", "endpoints": [f"127.0.0.1:{two.port}"]})
        config["routes"][0]["rules"][0]["filters"] = [{"guard": {"to": "other"}}]
        config["routes"][0]["rules"].append({"match": {"service": "spare"}, "cluster": "other"})
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            denied = await client.call("denied", 1, who="Ada")
            assert (denied.status, denied.value) == (70, f"{SERVICE} is not for Ada")
            broken = await client.call("broken", 1)
            assert (broken.status, "filter guard failed" in broken.value) == (80, True)
            assert (await client.call("unknown", 1)).status == 80
            assert (await client.call("name", 1)).value == "one"
            assert (await client.call("late", 7)).value == 7
            assert (await client.call("elsewhere", 9)).value == 9
            assert [call.method for call in two.calls] == ["elsewhere"]
            one.calls.clear()
            argument = {"deep": [1, "x"]}
            answer = await client.call("rewritten", argument, who="ada", secret="x", number=5, kept="k")
            assert answer.value == argument
            (call,) = one.calls
            assert (call.service, call.version, call.arguments) == ("spare", "2.0", [argument])
            assert call.attachments == {
                "path": "spare",
                "interface": "spare",
                "version": "2.0",
                "group": "blue",
                "who": "ADA",
                "added": "\u4e2d \U0001f600",
                "number": 5,
                "kept": "k",
            }
            refused = await client.call("unwritable", 1, list=[1])
            assert (refused.status, "cannot be changed so" in refused.value) == (80, True)
            await client.close()
        await one.stop()
        await two.stop()

    run(main())


@pytest.mark.parametrize("mode", ["shared", "pinned"])
def test_services_that_call_back_are_pinned_or_refused(run, mode):
    """The provider calls an argument of the client's, on the same connection."""

    async def main():
        server = await Server().start()
        answered = asyncio.get_running_loop().create_future()

        def before(message, writer):
            if isinstance(message, Call) and message.method == "subscribe":
                back = Call(
                    "org.protokit.test.Listener", "changed", "Ljava/lang/Object;", ["news"], request_id=77
                )
                writer.write(back.encode() + Answer(message.id, 20, "subscribed").encode())
                return True
            return False

        server.before = before
        server.on_answer = answered.set_result
        config = configuration(server)
        config["listeners"][0]["mode"] = mode
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            client.on_call = lambda call: Answer(call.id, 20, call.arguments[0] + "!")
            answer = await client.call("subscribe", 1, **{"sys_callback_arg-0": "123"})
            if mode == "pinned":
                assert answer.value == "subscribed"
                back = await asyncio.wait_for(answered, 5)
                assert (back.id, back.value) == (77, "news!")
            else:
                assert answer.status == 40
                assert "calls its clients back, which needs 'mode: pinned' on listener 'in'" in answer.value
                assert server.calls == []
            await client.close()
        await server.stop()

    run(main())


def test_a_busy_filter_does_not_hold_up_traffic_that_needs_none(tmp_path):
    """The main thread sleeps in a filter; other requests pass it by (in another process: no shared GIL)."""
    (tmp_path / "filters.py").write_text(FILTERS)

    async def main():
        server = await Server().start()
        config = configuration(server, plugins=["./filters.py"])
        config["routes"][0]["rules"].insert(
            0, {"match": {"service": SERVICE, "method": "slowpath"}, "cluster": "c", "filters": ["busy"]}
        )
        (tmp_path / "c.yaml").write_text(json.dumps(config))
        process = subprocess.Popen(
            [sys.executable, "-m", "protokit", "run", str(tmp_path / "c.yaml")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in process.stdout:
            if "listener" in line:
                port = int(line.split("127.0.0.1:")[1].split()[0])
            if "process" in line:
                break
        client = await Client.connect(port)
        waiting = client.send("slowpath", 1)
        for n in range(20):
            assert (await client.call("echo", n)).value == n
        assert not waiting.done()
        (tmp_path / "filters.py.go").touch()
        assert (await waiting).value == 1
        await client.close()
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()
        await server.stop()

    streams.run(main(), 30)


HEADER = b"\xda\xbb\xc2\x00" + (77).to_bytes(8, "big")
WRONG_BYTES = {
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", None),
    "telnet": (b"ls\r\n", None),
    "one wrong byte": (b"\xda\x00", None),
    "junk before a frame": (b"\0" + Event(1, b"N", request=True, twoway=True).encode(), None),
    "negative length": (HEADER + b"\xff" * 4, "malformed frame, wrong at byte 12"),
    "huge length": (HEADER + b"\x7f" + b"\xff" * 3, "larger than the limit of 8388608 bytes"),
}


@pytest.mark.parametrize("name", WRONG_BYTES)
def test_wrong_bytes_are_refused_at_once_without_harm_to_others(run, name):
    junk, reason = WRONG_BYTES[name]

    async def main():
        server = await Server().start()
        proxy, listener = await proxied(server)
        good = await Client.connect(listener)
        reader, writer = await streams.open_connection("127.0.0.1", listener)
        writer.write(junk)
        data = await asyncio.wait_for(reader.read(), 5)
        if reason is None:
            assert data == b""
        else:
            answer = decode(data)
            assert (answer.id, answer.status, answer.value.startswith("protokit: ")) == (77, 40, True)
            assert reason in answer.value
        writer.close()
        assert (await good.call("echo", "fine")).value == "fine"
        assert server.calls[-1].method == "echo"
        assert len(server.calls) == 1
        await good.close()
        await proxy.close()
        await server.stop()

    run(main())


def test_a_client_that_is_refused_while_it_sends_can_send_it_all_and_read_why(run):
    """Java's clients write the whole request before they look at an answer: a reset would hide it."""

    async def main():
        server = await Server().start()
        proxy, listener = await proxied(server, limits={"frame": "64KiB"})
        reader, writer = await streams.open_connection("127.0.0.1", listener)
        call = Call(SERVICE, "echo", "Ljava/lang/Object;", ["x" * 3_000_000], version="1.0.0", request_id=5)
        data = call.encode()
        writer.write(data[:100])
        head = await asyncio.wait_for(reader.readexactly(16), 5)
        for at in range(100, len(data), 500_000):
            writer.write(data[at : at + 500_000])
            await asyncio.wait_for(writer.drain(), 5)
            await asyncio.sleep(0.01)
            assert not reader.at_eof() or at + 500_000 >= len(data)
        answer = decode(head + await asyncio.wait_for(reader.read(), 5))
        assert (answer.id, answer.status, "limit of 65536 bytes" in answer.value) == (5, 40, True)
        writer.close()
        await proxy.close()
        await server.stop()

    run(main())


def test_a_frame_behind_a_good_one_that_is_wrong_is_refused_and_the_good_one_answered(run):
    async def main():
        server = await Server().start()
        proxy, listener = await proxied(server)
        reader, writer = await streams.open_connection("127.0.0.1", listener)
        call = Call(SERVICE, "echo", "Ljava/lang/Object;", ["first"], version="1.0.0", request_id=5)
        writer.write(call.encode() + b"junk")
        frames, rest = split(await asyncio.wait_for(reader.read(), 5))
        assert ([decode(frame).value for frame in frames], rest) == (["first"], b"")
        writer.close()
        await proxy.close()
        await server.stop()

    run(main())


def test_out_of_descriptors_the_listener_waits_a_moment(tmp_path):
    async def main():
        server = await Server().start()
        path = tmp_path / "c.yaml"
        path.write_text(json.dumps(configuration(server, admin={"bind": "127.0.0.1:0"})))
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n{ENTRY}"
        process = subprocess.Popen(
            [sys.executable, "-c", limit, "run", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for line in process.stdout:
            if "listener" in line:
                port = int(line.split("127.0.0.1:")[1].split()[0])
            if "admin" in line:
                admin = line.split()[1]
            if "process" in line:
                break
        first = await Client.connect(port)
        assert (await first.call("echo", 1)).value == 1
        more = [await Client.connect(port) for _ in range(40)]
        before = cpu_seconds(process.pid)
        await asyncio.sleep(0.5)
        assert cpu_seconds(process.pid) - before < 0.25, "it spins"
        assert (await first.call("echo", 2)).value == 2
        late = more.pop()
        for client in more:
            await client.close()
        assert (await late.call("echo", 3)).value == 3
        with urllib.request.urlopen(f"{admin}stats", timeout=5) as page:
            assert json.load(page)["workers"][0]["accept_errors"] >= 1
        await first.close()
        await late.close()
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()
        await server.stop()

    streams.run(main(), 30)


def test_a_port_that_is_taken_is_a_clear_error(run):
    async def main():
        server = await Server().start()
        config = configuration(server)
        config["listeners"][0]["bind"] = f"127.0.0.1:{server.port}"
        with pytest.raises(ConfigErrors, match="listener 'in' cannot bind .*in use"):
            await protokit.Proxy(config).start()
        await server.stop()

    run(main())


def test_duplicated_answers_and_foreign_ids_reach_nobody(run):
    async def main():
        server = await Server().start()

        def twice(call, writer):
            for number in (call.id, call.id, call.id + 1, 2**63):
                writer.write(Answer(number, OK, call.arguments[0]).encode())
            return True

        server.before = twice
        proxy, listener = await proxied(server)
        client = await Client.connect(listener)
        for n in range(50):
            assert (await client.call("echo", n)).value == n
        for _ in range(200):  # the last answer's strays come behind it
            if proxy.stats()["workers"][0]["answers_unmatched"] == 150:
                break
            await asyncio.sleep(0.02)
        assert proxy.stats()["workers"][0]["answers_unmatched"] == 150
        await client.close()
        await proxy.close()
        await server.stop()

    run(main())


def connected_sockets() -> list[socket.socket]:
    """Copies of all TCP sockets of this process that are connected."""
    found = []
    for fd in list(Path("/proc/self/fd").iterdir()):
        try:
            one = socket.socket(fileno=os.dup(int(fd.name)))
        except OSError:  # closed by now, or no socket
            continue
        try:
            one.getpeername()
        except OSError:
            one.close()
            continue
        if one.family == socket.AF_INET:
            found.append(one)
        else:
            one.close()
    return found


def test_sockets_give_up_on_peers_that_acknowledge_nothing(run):
    async def main():
        server = await Server().start()
        proxy, listener = await proxied(server)
        client = await Client.connect(listener)
        assert (await client.call("echo", 1)).value == 1
        options = []
        for one in connected_sockets():
            with one:
                if one.getpeername()[1] == server.port or one.getsockname()[1] == listener:
                    user_timeout = one.getsockopt(socket.IPPROTO_TCP, 18)  # TCP_USER_TIMEOUT
                    options.append((user_timeout, one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
        await client.close()
        await proxy.close()
        await server.stop()
        assert options == [(30_000, 1), (30_000, 1)]

    run(main())
