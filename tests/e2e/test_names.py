"""Host names in a running proxy: they may be unknown, slow, several addresses, and change."""

from __future__ import annotations

import asyncio
import threading

import pytest
from click.testing import CliRunner
from peers import Client, Server, configuration
from served import until

import protokit
from protokit import config
from protokit.cli.group import group
from protokit.control import build_snapshot, names
from protokit.errors import ConfigErrors
from protokit.testing import streams


class Book:
    """Stands for the resolver: names are unknown until written down; a slow one waits for ``go``."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, ...]] = {}
        self.slow: set[str] = set()
        self.go = threading.Event()
        self.asked: list[tuple[str, int]] = []

    def look_up(self, host: str) -> tuple[str, ...]:
        self.asked.append((host, threading.get_ident()))
        if host in self.slow:
            self.go.wait(60)
        if host not in self.known:
            raise OSError(0, "Name or service not known")
        return self.known[host]


@pytest.fixture
def book(monkeypatch):
    one = Book()
    monkeypatch.setattr(names, "look_up", one.look_up)
    monkeypatch.setattr(names, "AGAIN_S", 0.05)
    monkeypatch.setattr(names, "SOONEST_S", 0.02)
    yield one
    one.go.set()


def run(main) -> None:
    streams.run(main())


def named(server: Server, *hosts: str, **more):
    found = configuration(server, **more)
    found["clusters"][0]["endpoints"] = [f"{host}:{server.port}" for host in hosts]
    return found


def endpoints(proxy) -> list[str]:
    return [name.rpartition(":")[0] for name in proxy.stats()["clusters"].get("c", {})]


def test_an_unknown_name_is_a_warning_with_its_place_and_an_endpoint_later(book, tmp_path, caplog):
    path = tmp_path / "c.yaml"

    async def main():
        server = await Server().start()
        path.write_text(
            "listeners: [{name: in, bind: '127.0.0.1:0', protocol: dubbo, cluster: c}]\n"
            "clusters:\n"
            "  - name: c\n"
            f"    endpoints: [a.test:{server.port}, {{address: b.test:1, weight: 0}}]\n"
        )
        async with protokit.Proxy(path) as proxy:
            text = (
                "has no address (Name or service not known): this endpoint is left out, and asked for again"
            )
            assert [record.getMessage() for record in caplog.records] == [
                f"{path}:4:17: the host name 'a.test' {text}",
                f"{path}:4:31: the host name 'b.test' {text}",
            ]
            client = await Client.connect(proxy.addresses["in"][1])
            answer = await client.call("echo", 1)
            assert (answer.status, "no endpoint can be reached" in answer.value) == (80, True)
            book.known["a.test"] = ("127.0.0.1",)
            await until(lambda: endpoints(proxy))
            assert (await client.call("echo", 1)).value == 1
            await client.close()
        await server.stop()

    run(main)


def test_addresses_that_change_are_followed_and_kept_when_nobody_answers(book, caplog):
    async def main():
        server = await Server().start()
        book.known["a.test"] = ("127.0.0.1",)
        async with protokit.Proxy(named(server, "a.test")) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("echo", 1)).value == 1
            connections = proxy.stats()["workers"][0]["upstream_connects"]
            book.known["a.test"] = ("127.0.0.1", "127.0.0.2")
            await until(lambda: endpoints(proxy) == ["127.0.0.1", "127.0.0.2"])
            assert proxy.stats()["workers"][0]["upstream_connects"] == connections  # what was there stays
            book.known["a.test"] = ("127.0.0.2",)
            await until(lambda: endpoints(proxy) == ["127.0.0.2"])
            del book.known["a.test"]
            await until(lambda: any("does not resolve any more" in one for one in caplog.messages))
            assert endpoints(proxy) == ["127.0.0.2"]
            await client.close()
        await server.stop()

    run(main)


def test_addresses_that_change_all_the_time_are_a_line_a_minute(book, caplog):
    async def main():
        server = await Server().start()
        book.known["a.test"] = ("127.0.0.1",)
        with caplog.at_level("INFO"):
            async with protokit.Proxy(named(server, "a.test")) as proxy:
                for last in range(2, 8):
                    book.known["a.test"] = (f"127.0.0.{last}",)
                    await until(lambda: endpoints(proxy) == list(book.known["a.test"]))
        await server.stop()

    run(main)
    assert [one for one in caplog.messages if "is now" in one] == ["the host name 'a.test' is now 127.0.0.2"]


@pytest.mark.parametrize("known", [True, False])
def test_a_resolver_that_does_not_answer_holds_up_nothing(book, monkeypatch, known):
    """Neither the start nor a reload nor calls: the loop never asks."""
    monkeypatch.setattr(names, "START_S", 0.05)
    book.slow.add("slow.test")
    if known:
        book.known["slow.test"] = ("127.0.0.2",)

    async def main():
        server = await Server().start()
        async with protokit.Proxy(named(server, "127.0.0.1", "slow.test")) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("echo", 1)).value == 1
            await proxy.reload(named(server, "127.0.0.1", "slow.test", "slower.test"))
            assert endpoints(proxy) == ["127.0.0.1"]
            assert (await client.call("echo", 2)).value == 2
            book.go.set()
            if known:
                await until(lambda: endpoints(proxy) == ["127.0.0.1", "127.0.0.2"])
            await client.close()
        await server.stop()
        assert threading.get_ident() not in {thread for _, thread in book.asked}

    run(main)


def test_a_reload_with_an_unknown_name_is_done(book):
    async def main():
        server = await Server().start()
        async with protokit.Proxy(named(server, "127.0.0.1")) as proxy:
            await proxy.reload(named(server, "127.0.0.1", "none.test", plugins=[]))
            assert "none.test" in [use.host for use in proxy.loaded.hosts]
            await proxy.reload(named(server, "127.0.0.1"))
            asked = len(book.asked)
            await asyncio.sleep(0.2)
            assert len(book.asked) - asked <= 1  # nobody asks for it any more
        await server.stop()

    run(main)


def test_a_name_to_bind_is_needed(book):
    async def main():
        server = await Server().start()
        config = named(server, "127.0.0.1")
        config["listeners"][0]["bind"] = "in.test:0"
        with pytest.raises(ConfigErrors, match=r"'in.test' has no address \(Name or service not known\)"):
            await protokit.Proxy(config).start()
        book.known["in.test"] = ("127.0.0.1",)
        async with protokit.Proxy(config) as proxy:
            assert proxy.addresses["in"][0] == "127.0.0.1"
        await server.stop()

    run(main)


FILTER = """
import protokit

made = []

class Counting(protokit.Filter):
    def __init__(self):
        self.seen = 0
        made.append(self)
    async def request(self, request):
        self.seen += 1
        return protokit.Response(protokit.Status.DENIED, f"{len(made)} made, {self.seen} seen")

@protokit.hookimpl
def protokit_filters(): return {"counting": lambda options: Counting()}
"""


def test_filters_keep_what_they_know_when_an_address_changes(book, tmp_path):
    (tmp_path / "counting.py").write_text(FILTER)

    async def main():
        server = await Server().start()
        book.known["a.test"] = ("127.0.0.1",)
        config = named(server, "a.test", plugins=[str(tmp_path / "counting.py")])
        config["routes"][0]["rules"][0]["filters"] = ["counting"]
        async with protokit.Proxy(config) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            assert (await client.call("echo", 1)).value == "1 made, 1 seen"
            book.known["a.test"] = ("127.0.0.2",)
            await until(lambda: endpoints(proxy) == ["127.0.0.2"])
            assert (await client.call("echo", 1)).value == "1 made, 2 seen"
            await client.close()
        await server.stop()

    run(main)


def test_two_names_of_one_server_are_one_endpoint_with_both_weights():
    endpoints = ["10.0.0.1:1", {"address": "a:1", "weight": 2}, {"address": "b:1", "weight": 4}]
    loaded = config.load(
        {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "cluster": "c"}],
            "clusters": [{"name": "c", "endpoints": endpoints}],
        }
    )
    (cluster,) = build_snapshot(loaded, {"a": ("10.0.0.1", "10.0.0.2"), "b": ("10.0.0.2",)}).clusters
    assert [(one.host, one.weight) for one in cluster.endpoints] == [("10.0.0.1", 3), ("10.0.0.2", 6)]


def entry(address: str):
    import socket

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, 6, "", (address, 0))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["127.0.0.1"], ("127.0.0.1",)),
        (["::1", "127.0.0.1"], ("127.0.0.1",)),
        (["10.0.0.10", "10.0.0.9", "10.0.0.10"], ("10.0.0.9", "10.0.0.10")),
        (["::2", "::1"], ("::1", "::2")),
        (["fe80::1%lo", "::1"], ("::1",)),
        (["0.0.0.0", "10.0.0.1", "::"], ("10.0.0.1",)),
        (["0.0.0.0", "::1"], ("::1",)),
        ([f"10.0.{n}.1" for n in range(100)], tuple(f"10.0.{n}.1" for n in range(names.MOST))),
    ],
)
def test_what_a_name_stands_for(monkeypatch, answers, expected):
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **more: [entry(one) for one in answers])
    assert names.look_up("x") == expected


@pytest.mark.parametrize("answers", [["0.0.0.0"], ["::"], ["::", "0.0.0.0"], ["::ffff:0.0.0.0"]])
def test_a_name_of_where_servers_listen_for_all_has_no_address(monkeypatch, answers):
    """A request would reach whatever this machine has at that port."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **more: [entry(one) for one in answers])
    with pytest.raises(OSError, match="where a server listens for all, and nobody's address"):
        names.look_up("x")


def test_a_name_that_cannot_be_one_is_no_surprise():
    for host in ("a" * 300, "a..b", "."):
        with pytest.raises(OSError, match=r"."):
            names.look_up(host)


def test_names_are_looked_up_together_and_no_longer_than_said(book):
    book.known |= {f"{n}.test": (f"10.0.0.{n}",) for n in range(50)}
    book.slow.add("slow.test")
    found, failed = names.look_up_all([*book.known, "none.test", "slow.test"], 0.5)
    assert found == book.known
    assert failed == {"none.test": "Name or service not known", "slow.test": "no answer yet"}


def test_check_warns_of_names_and_sees_ports_that_meet(book, tmp_path):
    path = tmp_path / "c.yaml"
    text = (
        "listeners:\n"
        "  - {name: in, bind: 'a.test:7000', protocol: dubbo, cluster: c}\n"
        "  - {name: on, bind: '127.0.0.1:7000', protocol: dubbo, cluster: c}\n"
        "clusters: [{name: c, endpoints: ['b.test:1', '127.0.0.1:1']}]\n"
        "admin: {bind: 'c.test:1'}\n"
    )
    path.write_text(text)
    done = CliRunner().invoke(group, ["check", str(path)])
    assert done.exit_code == 0
    why = "has no address here and now (Name or service not known)"
    for place in (
        "2:22: the host name 'a.test'",
        "4:34: the host name 'b.test'",
        "5:15: the host name 'c.test'",
    ):
        assert f"warning: {path}:{place} {why}\n" in done.output
    book.known["a.test"] = ("127.0.0.1",)
    done = CliRunner().invoke(group, ["check", str(path)])
    assert done.exit_code == 1
    assert f"{path}: listener 'on' and listener 'in' both want port 7000" in done.output


MAKES = """
import asyncio
import protokit

def limit(options):
    asyncio.get_running_loop()
    if options["rate"] <= 0:
        raise ValueError("rate: expected more than 0")
    return Passes()

class Passes(protokit.Filter):
    async def request(self, request):
        pass

@protokit.hookimpl
def protokit_filters(): return {"limit": limit}
"""


def test_options_that_a_filter_refuses_are_errors_of_the_configuration(book, tmp_path):
    (tmp_path / "limit.py").write_text(MAKES)
    path = tmp_path / "c.yaml"

    def write(first: int, second: int) -> None:
        listener = "  - {{name: {}, bind: '127.0.0.1:0', protocol: dubbo, cluster: c, filters: [{}]}}\n"
        path.write_text(
            "plugins: [./limit.py]\nlisteners:\n"
            + listener.format("in", f"limit: {{rate: {first}}}")
            + listener.format("on", f"limit: {{rate: {second}}}")
            + "clusters: [{name: c, endpoints: ['127.0.0.1:1']}]\n"
        )

    text = (
        "filter 'limit' cannot be made with its options: ValueError: rate: expected more than 0 (limit.py:8)"
    )
    write(0, 0)
    done = CliRunner().invoke(group, ["check", str(path)])
    assert (done.exit_code, done.output.count(text), "2 errors" in done.output) == (1, 2, True)
    # One that stands in the chains of several rules is one mistake.
    rules = "routes: [{name: r, rules: [{match: {method: a}, cluster: c}, {cluster: c}]}]\n"
    path.write_text(path.read_text().replace("cluster: c, filters", "routes: r, filters") + rules)
    done = CliRunner().invoke(group, ["check", str(path)])
    assert (done.exit_code, done.output.count(text), "2 errors" in done.output) == (1, 2, True)

    async def main():
        with pytest.raises(ConfigErrors, match="rate: expected more than 0"):
            await protokit.Proxy(path).start()
        write(1, 1)
        async with protokit.Proxy(path) as proxy:
            write(1, -1)
            with pytest.raises(ConfigErrors, match="rate: expected more than 0"):
                await proxy.reload()
            write(2, 2)
            await proxy.reload()

    run(main)


def test_two_names_of_one_server_with_different_metadata_are_a_warning(book, tmp_path, caplog):
    told = "endpoints one:1 and two:1 of cluster 'c' are one server: it has the metadata of the first"
    path = tmp_path / "c.yaml"
    path.write_text(
        "listeners: [{name: in, bind: '127.0.0.1:0', protocol: dubbo, cluster: c}]\n"
        "clusters: [{name: c, endpoints: [{address: 'one:1', metadata: {v: a}}, 'two:1']}]\n"
    )

    async def main():
        async with protokit.Proxy(path):
            assert told not in caplog.text
            book.known["two"] = ("127.0.0.1",)
            await until(lambda: told in caplog.text)

    book.known = {"one": ("127.0.0.1",), "two": ("127.0.0.2",)}
    assert told not in CliRunner().invoke(group, ["check", str(path)]).output
    run(main)
    assert f"warning: {path}: {told}" in CliRunner().invoke(group, ["check", str(path)]).output
