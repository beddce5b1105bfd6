"""Reloads on real sockets: listeners that are renamed, moved, widened; all or nothing; what stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import pytest
from peers import Client, Server, configuration
from protokit_dubbo.messages import OK
from served import until
from world import LIMITS

import protokit
from protokit import native
from protokit.errors import ConfigErrors, ProtokitError
from protokit.testing import streams
from protokit.testing.tables import TableBuilder

READ_ONLY = b"\x01R"


@pytest.fixture
def run():
    proxies = []

    async def guarded(work):
        try:
            await work(proxies)
        finally:  # a reader left behind would keep uvloop for ever
            for proxy in proxies:
                await proxy.close()

    return lambda work: streams.run(guarded(work))


def free_ports(count, host="127.0.0.1"):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((host, 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


async def started(proxies, config):
    proxy = protokit.Proxy(config)
    proxies.append(proxy)
    await proxy.start()
    return proxy


async def refused(port):
    for _ in range(100):
        try:
            _, writer = await streams.open_connection("127.0.0.1", port)
        except OSError:
            return True
        writer.close()
        await asyncio.sleep(0.02)
    return False


def listener(name, bind, cluster="c", **more):
    return {"name": name, "bind": bind, "protocol": "dubbo", "cluster": cluster, **more}


def two(first, second, *listeners, **more):
    """Two servers, each a cluster of its own."""
    return {
        "listeners": list(listeners),
        "clusters": [
            {"name": "c", "endpoints": [f"127.0.0.1:{first.port}"]},
            {"name": "d", "endpoints": [f"127.0.0.1:{second.port}"]},
        ],
        "drain": {"delay": "0s", "timeout": "1500ms"},
        **more,
    }


async def told(client):
    for _ in range(200):
        if client.events:
            return [event.body for event in client.events]
        await asyncio.sleep(0.01)
    return []


async def one_table(proxy):
    for _ in range(200):
        if all(worker["tables_live"] == 1 for worker in proxy.stats()["workers"]):
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_clients_of_a_renamed_listener_are_told_served_and_closed_in_time(run, workers):
    async def main(proxies):
        one, other = await Server("one").start(), await Server("other").start()
        (port,) = free_ports(1)
        config = two(one, other, listener("in", f"127.0.0.1:{port}"), workers=workers)
        proxy = await started(proxies, config)
        clients = [await Client.connect(port) for _ in range(4)]
        held = [client.send("held", 300) for client in clients]
        await until(lambda: len(one.calls) == 4)
        config["listeners"] = [listener("renamed", f"127.0.0.1:{port}", "d")]
        await proxy.reload(config)
        assert list(proxy.addresses) == ["renamed"]
        for client in clients:
            assert await told(client) == [READ_ONLY]
            assert (await client.call("name", 0)).value == "one"  # as before
        one.go.set()
        assert [(await call).value for call in held] == [300] * 4
        new = await Client.connect(port)
        assert (await new.call("name", 0)).value == "other"
        await asyncio.gather(*(asyncio.wait_for(client.closed.wait(), 5) for client in clients))
        assert (await new.call("name", 0)).value == "other"
        assert new.events == []
        for client in clients:
            await client.close()
        assert await one_table(proxy)
        await new.close()
        for server in (one, other):
            await server.stop()

    run(main)


def test_another_number_of_workers_needs_a_restart(run):
    async def main(proxies):
        one = await Server("one").start()
        config = two(one, one, listener("in", "127.0.0.1:0"), workers=2)
        proxy = await started(proxies, config)
        for workers in (1, 3):
            text = f"workers: 2 run, and a reload cannot make it {workers}: restart, or write 2"
            with pytest.raises(ConfigErrors, match=text):
                await proxy.reload(config | {"workers": workers})
        await proxy.reload(config)
        await one.stop()

    run(main)


@pytest.mark.parametrize("workers", [1, 2])
def test_two_listeners_change_ports(run, workers):
    async def main(proxies):
        one, other = await Server("one").start(), await Server("other").start()
        a, b = free_ports(2)
        config = two(
            one, other, listener("x", f"127.0.0.1:{a}"), listener("y", f"127.0.0.1:{b}", "d"), workers=workers
        )
        proxy = await started(proxies, config)
        clients = [await Client.connect(port) for port in (a, b)]
        assert [(await client.call("name", 0)).value for client in clients] == ["one", "other"]
        config["listeners"][0]["bind"], config["listeners"][1]["bind"] = f"127.0.0.1:{b}", f"127.0.0.1:{a}"
        await proxy.reload(config)
        assert proxy.addresses == {"x": ("127.0.0.1", b), "y": ("127.0.0.1", a)}
        assert [(await client.call("name", 0)).value for client in clients] == ["one", "other"]
        assert [await told(client) for client in clients] == [[READ_ONLY], [READ_ONLY]]
        new = [await Client.connect(port) for port in (a, b)]
        assert [(await client.call("name", 0)).value for client in new] == ["other", "one"]
        for client in (*clients, *new):
            await client.close()
        for server in (one, other):
            await server.stop()

    run(main)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_address_is_widened_and_narrowed_again(run, workers):
    async def main(proxies):
        one, other = await Server("one").start(), await Server("other").start()
        (port,) = free_ports(1)
        config = two(one, other, listener("in", f"127.0.0.1:{port}"), workers=workers)
        proxy = await started(proxies, config)
        old = await Client.connect(port)
        for bind in (f"0.0.0.0:{port}", f"127.0.0.1:{port}", f"0.0.0.0:{port}"):
            config["listeners"][0]["bind"] = bind
            await proxy.reload(config)
            assert (await old.call("name", 0)).value == "one"
            new = [await Client.connect(port) for _ in range(8)]
            assert [(await client.call("name", 0)).value for client in new] == ["one"] * 8
            for client in new:
                await client.close()
        reader, writer = await streams.open_connection("127.0.0.2", port)
        far = Client(reader, writer)
        assert (await far.call("name", 0)).value == "one"
        for client in (far, old):
            await client.close()
        for server in (one, other):
            await server.stop()

    run(main)


def test_a_listener_that_moves_serves_at_the_new_address_and_leaves_the_old(run):
    async def main(proxies):
        one, other = await Server("one").start(), await Server("other").start()
        a, b = free_ports(2)
        config = two(one, other, listener("in", f"127.0.0.1:{a}"))
        proxy = await started(proxies, config)
        client = await Client.connect(a)
        config["listeners"][0]["bind"] = f"127.0.0.1:{b}"
        await proxy.reload(config)
        assert (await client.call("name", 0)).value == "one"
        assert await told(client) == [READ_ONLY]
        assert await refused(a)
        new = await Client.connect(b)
        assert (await new.call("name", 0)).value == "one"
        await asyncio.wait_for(client.closed.wait(), 5)
        await client.close()
        await new.close()
        for server in (one, other):
            await server.stop()

    run(main)


def test_who_waits_in_the_queue_of_an_address_that_is_left_is_served(wide):
    builder = TableBuilder({**LIMITS, "connections": 300}, seed=1)
    builder.cluster("c", "round-robin", 1, 1000)
    plan = builder.plan("p")
    builder.split(0, 1)
    builder.listener(3, "in", routes=None, plan=plan, pinned=False, codecs=[wide.address])
    table = builder.finish()
    worker = native.Worker(1)
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
            clients = [socket.create_connection(server.getsockname(), timeout=10) for _ in range(200)]
            for number, client in enumerate(clients):
                client.sendall(wide.request(number))
            worker.prepare(table, 1)
            worker.commit()
            worker.listen(3, server.detach())
            worker.unlisten(3)
        for number, client in enumerate(clients):
            (reply,), _ = wide.split(client.recv(4096))
            assert reply[2] == number
            assert b"no endpoint can be reached" in reply[3]
            client.close()
    finally:
        worker.stop()
        table.free()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_configuration_that_a_worker_cannot_take_changes_nothing(run, workers):
    async def main(proxies):
        one, other = await Server("one").start(), await Server("other").start()
        a, b = free_ports(2)
        config = two(one, other, listener("in", f"127.0.0.1:{a}"), workers=workers)
        proxy = await started(proxies, config)
        client = await Client.connect(a)
        numbers = proxy._workers.endpoint_ids
        numbers._next = 1 << 16  # more endpoints than a worker has places for
        bad = two(other, one, listener("in", f"127.0.0.1:{b}"), workers=workers)
        with pytest.raises(ProtokitError, match="a worker has no memory for the configuration"):
            await proxy.reload(bad)
        assert await refused(b)
        assert proxy.addresses == {"in": ("127.0.0.1", a)}
        assert (await client.call("name", 0)).value == "one"
        new = await Client.connect(a)
        assert (await new.call("name", 0)).value == "one"
        assert client.events == []
        assert [worker["tables_live"] for worker in proxy.stats()["workers"]] == [1] * workers
        assert list(proxy.stats()["clusters"]["c"]) == [f"127.0.0.1:{one.port}"]
        numbers._next, numbers._free = 2, []
        await proxy.reload(bad)
        assert (await (await Client.connect(b)).call("name", 0)).value == "other"
        await client.close()
        await new.close()
        for server in (one, other):
            await server.stop()

    run(main)


def test_one_address_that_cannot_be_bound_changes_nothing(run):
    async def main(proxies):
        one, other = await Server("one").start(), await Server("other").start()
        a, b = free_ports(2)
        config = two(one, other, listener("in", f"127.0.0.1:{a}"))
        proxy = await started(proxies, config)
        config["listeners"] = [listener("new", f"127.0.0.1:{b}"), listener("taken", f"127.0.0.1:{one.port}")]
        with pytest.raises(ConfigErrors, match="listener 'taken' cannot bind"):
            await proxy.reload(config)
        assert await refused(b)
        client = await Client.connect(a)
        assert (await client.call("name", 0)).value == "one"
        await client.close()
        for server in (one, other):
            await server.stop()

    run(main)


def test_a_reload_during_a_drain_is_refused(run):
    async def main(proxies):
        server = await Server().start()
        config = configuration(server, drain={"delay": "300ms", "timeout": "1h"})
        proxy = await started(proxies, config)
        client = await Client.connect(proxy.addresses["in"][1])
        held = client.send("held", 500)
        await until(lambda: server.calls)
        draining = asyncio.ensure_future(proxy.drain())
        await until(lambda: not proxy.ready)
        for listens in (True, False):  # before its delay is over, and behind it
            assert listens or await refused(proxy.addresses["in"][1])
            with pytest.raises(ProtokitError, match="the proxy is stopping"):
                await proxy.reload(config)
        server.go.set()
        assert (await held).value == 500
        await draining
        await client.close()
        await server.stop()

    run(main)


def test_a_reload_that_is_under_way_when_the_drain_begins_does_not_listen_again(run, monkeypatch):
    async def main(proxies):
        one, other = await Server("one").start(), await Server("other").start()
        a, b = free_ports(2)
        config = two(one, other, listener("in", f"127.0.0.1:{a}"))
        proxy = await started(proxies, config)
        drains = []

        def start_plugins(loaded):
            drains.append(asyncio.ensure_future(proxy.drain()))
            return []

        monkeypatch.setattr(proxy, "_start_plugins", start_plugins)
        with pytest.raises(ProtokitError, match="the proxy is stopping"):
            await proxy.reload(two(one, other, listener("in", f"127.0.0.1:{b}")))
        await drains[0]
        assert await refused(a)
        assert await refused(b)
        for server in (one, other):
            await server.stop()

    run(main)


FILTER = """
from protokit import Filter, hookimpl, Response, Status
class No(Filter):
    async def request(self, request):
        return Response(Status.DENIED, "not you") if request.method == "name" else None
@hookimpl
def protokit_filters(): return {"no": lambda options: No()}
"""


def test_an_event_that_cannot_be_handled_costs_that_event_alone(run, tmp_path, monkeypatch, caplog):
    (tmp_path / "f.py").write_text(FILTER)

    async def main(proxies):
        server = await Server().start()
        config = configuration(server, plugins=[str(tmp_path / "f.py")])
        config["routes"][0]["rules"][0] |= {"filters": ["no"], "timeout": "400ms"}
        proxy = await started(proxies, config)
        client = await Client.connect(proxy.addresses["in"][1])
        assert "not you" in str((await client.call("name", 0)).value)
        start, failing = proxy._filters.start, [True, True]

        def sometimes(worker, op):
            if failing:
                failing.pop()
                raise RuntimeError("a mistake of ours")
            start(worker, op)

        monkeypatch.setattr(proxy._filters, "start", sometimes)
        answers = await asyncio.gather(*(client.call("name", n) for n in range(4)))
        assert [b"filter" in str(one.value).encode() for one in answers].count(True) >= 2
        assert "not you" in str((await client.call("name", 0)).value)
        assert (await client.call("echo", 7)).status == OK
        await proxy.reload(configuration(server))
        assert (await client.call("name", 0)).status == OK
        assert "an event of a worker could not be handled" in caplog.text
        await client.close()
        await server.stop()

    run(main)


def test_listeners_that_come_and_go_use_few_numbers(run):
    async def main(proxies):
        one, other = await Server("one").start(), await Server("other").start()
        # An address of its own: connections from the usual one take so many ports meanwhile.
        host = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        ports = free_ports(40, host)
        config = two(one, other, listener("in", f"{host}:{ports[0]}"))
        config["drain"]["timeout"] = "0s"
        proxy = await started(proxies, config)
        for number in range(200):
            config["listeners"] = [listener(f"in{number}", f"{host}:{ports[number % 40]}")]
            await proxy.reload(config)
        await until(lambda: len(proxy._workers.tables) == 1)
        assert max(bound.number for bound in proxy._workers.open.values()) < 20
        client = Client(*await streams.open_connection(*proxy.addresses["in199"]))
        assert (await client.call("name", 0)).value == "one"
        await client.close()
        for server in (one, other):
            await server.stop()

    run(main)


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_another_proxy_holds_is_refused_unless_it_may_be_shared(run, workers, reuse):
    async def main(proxies):
        one, other = await Server("one").start(), await Server("other").start()
        a, b = free_ports(2)
        listeners = [listener("in", f"127.0.0.1:{a}", reuse_port=reuse)]
        await started(proxies, two(one, other, *listeners, workers=workers))
        second = two(other, one, listener("more", f"127.0.0.1:{b}"), *listeners, workers=workers)
        if reuse:
            await started(proxies, second)
        else:
            with pytest.raises(ConfigErrors, match="listener 'in' cannot bind .* in use"):
                await started(proxies, second)
            assert await refused(b)
        names = set()
        for _ in range(60):
            client = await Client.connect(a)
            names.add((await client.call("name", 0)).value)
            await client.close()
        assert names == ({"one", "other"} if reuse else {"one"})
        for server in (one, other):
            await server.stop()

    run(main)


def test_connections_are_spread_over_workers(run):
    async def main(proxies):
        server = await Server().start()
        proxy = await started(proxies, configuration(server, workers=2))
        clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(64)]
        for client in clients:
            await client.call("echo", 1)
        assert all(one["connections_active"] > 5 for one in proxy.stats()["workers"])
        for client in clients:
            await client.close()
        await server.stop()

    run(main)
