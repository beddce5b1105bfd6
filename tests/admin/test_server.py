"""The admin server over real sockets, on both event loops, before a real proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import h11
import pytest
import uvloop

from protokit import Proxy
from protokit.admin import connection as admin
from protokit.admin.server import AdminServer
from protokit.errors import ProtokitError
from protokit.testing import streams

CONFIG = {
    "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "cluster": "c"}],
    "clusters": [{"name": "c", "endpoints": ["127.0.0.1:9"]}],
    "drain": {"delay": "0s", "timeout": "1s"},
}
ANY = ("127.0.0.1", 0)


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request):
    """Call it with a coroutine function: it gets a proxy and its admin server."""

    def on_loop(test) -> None:
        async def main() -> None:
            async with Proxy(CONFIG) as proxy:
                server = AdminServer(proxy, ANY, ANY)
                await server.start()
                try:
                    await test(proxy, server)
                finally:
                    await server.close()

        streams.run(main(), runner=request.param)

    return on_loop


async def send(address: tuple[str, int], data: bytes) -> bytes:
    """What comes back for these bytes, to the end of the connection."""
    reader, writer = await streams.open_connection(*address)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> None:
    """Wait for the end of a connection, by FIN or RST, that brings nothing before."""
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def get(address: tuple[str, int], path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, read by h11's client side, which is strict."""
    client = h11.Connection(h11.CLIENT)
    data = client.send(h11.Request(method=method, target=path, headers=[("host", "127.0.0.1")]))
    client.send(h11.EndOfMessage())
    client.receive_data(await send(address, data))
    client.receive_data(b"")
    response = client.next_event()
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        body += event.data
    return response.status_code, {k.decode(): v.decode() for k, v in response.headers}, body


def test_pages(run):
    async def test(proxy, server):
        assert server.address[1] and server.public_address[1]
        assert (await get(server.address, "/healthz"))[::2] == (200, b"alive\n")
        assert (await get(server.address, "/ready?verbose=1"))[::2] == (200, b"ready\n")
        status, headers, body = await get(server.address, "/metrics")
        assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert b'\nprotokit_requests_total{worker="0"} 0\n' in body
        status, headers, body = await get(server.address, "/stats")
        assert headers["content-type"] == "application/json"
        assert json.loads(body).keys() == proxy.stats().keys()
        status, headers, body = await get(server.address, "/clusters")
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(body) == proxy.clusters()
        for path in ("/ready", "/healthz", "/metrics", "/stats", "/clusters"):
            assert f'href="{path}"'.encode() in (await get(server.address, "/"))[2]

    run(test)


def test_public_serves_nothing_private_and_names_nothing_private(run):
    async def test(proxy, server):
        for path in ("/ready", "/healthz", "/metrics"):
            assert (await get(server.public_address, path))[0] == 200
        for path in ("/", "/stats", "/clusters", "/nothing"):
            status, _, body = await get(server.public_address, path)
            assert status == (200 if path == "/" else 404)
            assert b"stats" not in body
            assert b"clusters" not in body

    run(test)


def test_ready_follows_the_proxy(run):
    async def test(proxy, server):
        draining = asyncio.ensure_future(proxy.drain())
        await asyncio.sleep(0)
        assert (await get(server.address, "/ready"))[::2] == (503, b"not ready\n")
        assert (await get(server.public_address, "/ready"))[0] == 503
        assert (await get(server.address, "/healthz"))[0] == 200
        await draining

    run(test)


def test_only_get_and_head(run):
    async def test(proxy, server):
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, _ = await get(server.address, "/stats", method)
            assert (status, headers["allow"]) == (405, "GET, HEAD")
        answer = await send(server.address, b"HEAD /ready HTTP/1.1\r\nhost: [::1]:9900\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"content-length: 6\r\n" in answer
        assert answer.endswith(b"\r\n\r\n")

    run(test)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x00\x01\x02\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),  # no host
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", b"400 Bad Request"),
        (
            b"GET / HTTP/1.1\r\nhost: [::1]:9900\r\nx: " + b"a" * 100_000,
            b"431 Request Header Fields Too Large",
        ),
        # whole, in one read
        (
            b"GET / HTTP/1.1\r\nhost: [::1]:9900\r\nx: " + b"a" * 60_000 + b"\r\n\r\n",
            b"431 Request Header Fields Too Large",
        ),
        (b"GET / HTTP/1.1\r\nhost: [::1]:9900\r\nx: " + b"a" * 16_000 + b"\r\n\r\n", b"200 OK"),
        (
            b"POST /stats HTTP/1.1\r\nhost: [::1]:9900\r\ncontent-length: 4000000\r\n\r\n" + b"a" * 4_000_000,
            b"405 Method",
        ),
    ],
    ids=["garbage", "no-host", "two-hosts", "huge", "whole", "small", "body"],
)
def test_bad_requests_are_told_so(run, data, status):
    async def test(proxy, server):
        assert (await send(server.address, data)).startswith(b"HTTP/1.1 " + status)

    run(test)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9900", 200),
        ("10.1.2.3", 200),
        ("[::1]", 200),
        ("[::1]:80", 200),
        ("localhost:1", 200),
        ("LOCALHOST.", 200),
        ("proxy.example", 200),
        ("Proxy.Example:9900", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:9900", 421),
        ("1", 421),
        ("", 421),
        ("[evil]", 421),
    ],
)
def test_only_who_asks_by_a_known_name_is_served(host, status):
    """A page of evil.example, whose name leads here, must read nothing."""

    async def main():
        async with Proxy(CONFIG) as proxy:
            server = AdminServer(proxy, ANY, ANY, ["proxy.example"])
            await server.start()
            for address in (server.address, server.public_address):
                for path in ("/", "/ready", "/metrics"):
                    answer = await send(address, f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
                    assert answer.startswith(b"HTTP/1.1 %d " % status)
                    assert b"protokit_" not in answer or status == 200
            assert (await send(server.address, b"GET /ready HTTP/1.0\r\n\r\n")).endswith(b"ready\n")
            await server.close()

    streams.run(main())


def test_a_request_in_single_bytes(run):
    async def test(proxy, server):
        reader, writer = await streams.open_connection(*server.address)
        for byte in b"GET /ready HTTP/1.1\r\nhost: [::1]:9900\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.001)
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"\r\n\r\nready\n")
        writer.close()

    run(test)


def test_a_failing_page_is_a_500_and_logged(run, monkeypatch, caplog):
    async def test(proxy, server):
        monkeypatch.setattr(proxy, "stats", lambda: 1 / 0)
        assert (await get(server.address, "/stats"))[0] == 500
        assert (await get(server.address, "/healthz"))[0] == 200

    run(test)
    assert "the page /stats failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_silent_connection_ends(run, monkeypatch):
    monkeypatch.setattr(admin, "CONNECTION_S", 0.2)

    async def test(proxy, server):
        reader, writer = await streams.open_connection(*server.address)
        writer.write(b"GET /ready HT")
        await ended(reader)  # the test's time limit is many times as long
        writer.close()

    run(test)


def test_a_long_page_arrives_whole(run, monkeypatch):
    async def test(proxy, server):
        big = {"workers": [{f"counter_{i}": i for i in range(200_000)}], "clusters": {}}
        monkeypatch.setattr(proxy, "stats", lambda: big)
        assert json.loads((await get(server.address, "/stats"))[2]) == big

    run(test)


def test_a_client_that_reads_nothing_ends(run, monkeypatch):
    monkeypatch.setattr(admin, "CONNECTION_S", 0.3)

    async def test(proxy, server):
        big = {"workers": [{f"counter_{i}": i for i in range(200_000)}], "clusters": {}}
        monkeypatch.setattr(proxy, "stats", lambda: big)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, server.address)
            await asyncio.get_running_loop().sock_sendall(
                client, b"GET /stats HTTP/1.1\r\nhost: [::1]:9900\r\n\r\n"
            )
            for _ in range(100):
                await asyncio.sleep(0.05)
                if server._open[0][1] == {}:
                    break
            assert server._open[0][1] == {}

    run(test)


def test_a_crowd_of_silent_connections_keeps_no_probe_out(run, monkeypatch):
    monkeypatch.setattr(admin, "CONNECTIONS", 8)

    async def test(proxy, server):
        crowd = [await streams.open_connection(*server.public_address) for _ in range(40)]
        for reader, _ in crowd[:-8]:  # the oldest go
            await ended(reader)
        assert len(server._open[1][1]) == 8
        assert (await get(server.public_address, "/ready"))[0] == 200
        assert (await get(server.address, "/ready"))[0] == 200
        for _, writer in crowd:
            writer.close()

    run(test)


def test_close_ends_connections_and_frees_the_ports(run):
    async def test(proxy, server):
        reader, writer = await streams.open_connection(*server.address)
        address, public = server.address, server.public_address
        await asyncio.sleep(0.05)
        await server.close()
        await ended(reader)
        writer.close()
        await server.close()
        again = AdminServer(proxy, address, public)
        await again.start()
        assert (again.address, again.public_address) == (address, public)
        await again.close()

    run(test)


def test_a_taken_address_says_which_and_leaves_nothing_open(run):
    async def test(proxy, server):
        with pytest.raises(ProtokitError, match=r"admin.public 127.0.0.1:\d+ cannot be bound.*in use"):
            await AdminServer(proxy, ANY, server.address).start()
        lone = AdminServer(proxy, ANY, server.address)
        with pytest.raises(ProtokitError):
            await lone.start()
        assert lone._open == []
        with pytest.raises(ConnectionRefusedError):
            await get(lone.address, "/ready")

    run(test)


async def post(address: tuple[str, int], path: str, **headers: str) -> tuple[int, str]:
    """Status and body; the body of the request is nothing that anybody reads."""
    head = {"host": "127.0.0.1", "content-length": "0"} | {k.replace("_", "-"): v for k, v in headers.items()}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    got = (await send(address, "\r\n".join(lines).encode())).decode()
    return int(got.split()[1]), got.partition("\r\n\r\n")[2]


def test_an_endpoint_is_changed_by_post(run, caplog):
    caplog.set_level("INFO")
    place = "/clusters/c/127.0.0.1:9"

    async def test(proxy, server):
        def shown():
            (one,) = proxy.clusters()["c"]["endpoints"]
            return one["weight"], one["configured"], one["drain"]

        assert shown() == (1, 1, False)
        status, body = await post(server.address, f"{place}?weight=3")
        assert (status, json.loads(body)["weight"]) == (200, 3)
        assert shown() == (3, 1, False)
        assert "127.0.0.1:9 of cluster c: its weight is 3 now; the configuration has 1" in caplog.text
        assert (await post(server.address, f"{place}?drain=true"))[0] == 200
        assert shown() == (0, 1, True)
        assert "its weight is 0 now since it drains" in caplog.text
        await proxy.reload(CONFIG)  # which changes nothing of it
        assert shown() == (0, 1, True)
        assert (await post(server.address, f"{place}?drain=false"))[0] == 200
        assert shown() == (3, 1, False)
        assert (await post(server.address, f"{place}?weight=configured"))[0] == 200
        assert shown() == (1, 1, False)
        assert (await post(server.address, f"{place}?weight=0&drain=true"))[0] == 200
        assert shown() == (0, 1, True)
        # Another line has the last word, also where it is taken back.
        other = {"name": "c", "endpoints": [{"address": "127.0.0.1:9", "weight": 5}]}
        await proxy.reload(CONFIG | {"clusters": [other]})
        assert shown() == (5, 5, False)
        assert "has another line there now: what was changed of it at run time is forgotten" in caplog.text
        await proxy.reload(CONFIG)
        assert shown() == (1, 1, False)

    run(test)


def test_what_a_post_cannot_do(run):
    place = "/clusters/c/127.0.0.1:9"

    async def test(proxy, server):
        before = proxy.clusters()
        for path, status, says in (
            ("/clusters/d/127.0.0.1:9?drain=true", 404, "there is no cluster 'd'; there are c"),
            ("/clusters/c/127.0.0.1:8?drain=true", 404, "no endpoint '127.0.0.1:8'; it has 127.0.0.1:9"),
            ("/clusters?drain=true", 405, "POST only to endpoints"),
            ("/stats", 405, "POST only to endpoints"),
            ("/clusters/c?drain=true", 404, "nothing to change here"),
            (place, 400, "'' is none of weight=N"),
            (f"{place}?weight=-1", 400, "'weight=-1' is none of"),
            (f"{place}?weight=4294967296", 400, "is none of"),
            (f"{place}?drain=yes", 400, "'drain=yes' is none of"),
            (f"{place}?drain=true&wait=3", 400, "'wait=3' is none of"),
            (f"{place}?weight=2&weight=3", 400, "weight stands there twice"),
            (f"{place}?weight=configured&weight=0", 400, "weight stands there twice"),
            (f"{place}?drain=true&weight=1&drain=false", 400, "drain stands there twice"),
        ):
            found = await post(server.address, path)
            assert (found[0], says in found[1]) == (status, True), found
        for method in ("GET", "HEAD", "DELETE"):
            status, headers, body = await get(server.address, f"{place}?drain=true", method)
            assert (status, headers["allow"]) == (405, "POST"), method
            assert body == b"" if method == "HEAD" else body.startswith(b"POST changes an endpoint")
        # Neither a page in somebody's browser, nor a name that is not known, nor the public address.
        assert (await post(server.address, f"{place}?drain=true", origin="http://127.0.0.1"))[0] == 403
        assert (await post(server.address, f"{place}?drain=true", host="evil.example"))[0] == 421
        assert (await post(server.public_address, f"{place}?drain=true"))[0] == 405
        assert proxy.clusters() == before

    run(test)


def test_a_post_while_the_proxy_stops_is_refused(run):
    async def test(proxy, server):
        await proxy.drain()
        status, text = await post(server.address, "/clusters/c/127.0.0.1:9?drain=true")
        assert (status, "the proxy is stopping" in text) == (409, True)

    run(test)
