"""What the banner says of listeners, and how addresses are written there and elsewhere."""

from __future__ import annotations

import errno
import socket

import pytest

import protokit
from protokit import config
from protokit.cli.banner import banner, url
from protokit.dataplane import listening
from protokit.errors import ProtokitError
from protokit.testing import streams

CONFIG = {
    "listeners": [
        {"name": "in", "bind": "127.0.0.1:1", "protocol": "dubbo", "cluster": "c"},
        {"name": "raw", "bind": "127.0.0.1:2", "protocol": [], "fallback": "d"},
        {"name": "both", "bind": "127.0.0.1:3", "protocol": "dubbo", "cluster": "c", "fallback": "d"},
    ],
    "clusters": [{"name": "c", "endpoints": ["[::1]:9"]}, {"name": "d", "endpoints": ["127.0.0.1:9"]}],
}


def test_where_listeners_lead():
    addresses = {"in": ("::1", 7), "raw": ("127.0.0.1", 8), "both": ("127.0.0.1", 9)}
    lines = banner(config.load(CONFIG), addresses, [("::1", 10), ("127.0.0.1", 11)]).splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("  listener")] == [
        "in [::1]:7 dubbo -> cluster c",
        "raw 127.0.0.1:8 any -> cluster d",
        "both 127.0.0.1:9 dubbo -> cluster c",
    ]
    assert "  admin     http://[::1]:10/" in lines
    assert "  public    http://127.0.0.1:11/" in lines


def test_what_plugins_bring(tmp_path):
    file = tmp_path / "brings.py"
    hooks = [
        f"@protokit.hookimpl\ndef protokit_{name}(): return {{'my-{name}': print}}\n"
        for name in ("limits", "filters")
    ]
    file.write_text("import protokit\n" + "".join(hooks))
    loaded = config.load(CONFIG | {"plugins": [str(file)]})
    lines = banner(loaded, dict.fromkeys(("in", "raw", "both"), ("127.0.0.1", 1)), []).splitlines()
    assert f"  plugin    {file} : my-filters, my-limits" in lines


def test_an_address_of_ipv6_is_in_brackets():
    assert (listening.place("::1", 7), listening.place("10.0.0.1", 7)) == ("[::1]:7", "10.0.0.1:7")
    assert url(("::1", 7)) == "http://[::1]:7/"
    error = listening.unbound("admin.bind", "::1", 7, OSError(errno.EADDRINUSE, "in any words"))
    with pytest.raises(
        ProtokitError, match=r"^admin\.bind \[::1\]:7 cannot be bound: Address already in use; "
    ):
        raise error


@pytest.mark.parametrize("who", ["listener", "admin"])
@pytest.mark.parametrize("why", ["taken", "foreign", "forbidden"])
def test_what_cannot_be_bound_says_what_to_do(who, why, monkeypatch):
    """Nobody is told to stop what listens there where nothing does."""
    says, to_do = {
        "taken": ("Address already in use", "stop what listens there, or choose another port"),
        "foreign": ("Cannot assign requested address", "no interface of this machine has it"),
        "forbidden": ("Permission denied", "ports under 1024 are not for everybody"),
    }[why]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = {"taken": taken.getsockname(), "foreign": ("192.0.2.1", 7000)}.get(why, ("127.0.0.1", 7))
        if why == "forbidden":  # tests may run as root, to whom nothing is
            monkeypatch.setattr(listening.socket, "socket", Forbidden)

        async def main():
            one = CONFIG["listeners"][0] | {"bind": f"{host}:{port}"}
            async with protokit.Proxy(CONFIG | {"listeners": [one]}):
                pass

        with pytest.raises(ProtokitError) as raised:
            if who == "listener":
                streams.run(main())
            else:
                listening.listen_alone("admin.bind", host, port)
    address = f"{host}:{port}"
    what = f"admin.bind {address} cannot be bound"
    if who == "listener":
        what = f"listener 'in' cannot bind {address}"
    assert f"{what}: {says}; {to_do}" in str(raised.value)


class Forbidden(socket.socket):
    def bind(self, address):
        if address[1] == 7:
            raise PermissionError(errno.EACCES, "not for you")
        super().bind(address)


def test_the_pages_write_it_so_and_find_its_counters():
    async def main():
        config = CONFIG | {"listeners": [CONFIG["listeners"][0] | {"bind": "127.0.0.1:0"}]}
        async with protokit.Proxy(config) as proxy:
            (endpoint,) = proxy.clusters()["c"]["endpoints"]
            assert endpoint["address"] == "[::1]:9"
            assert endpoint["requests"] == 0
            assert "[::1]:9" in proxy.stats()["clusters"]["c"]

    streams.run(main())
