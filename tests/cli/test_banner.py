"""What the banner says of listeners, and how addresses are written there and elsewhere."""

from __future__ import annotations

import asyncio

import pytest

import protokit
from protokit import config
from protokit.cli.banner import banner, url
from protokit.dataplane import listening
from protokit.errors import ProtokitError

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
    error = listening.unbound("admin.bind", "::1", 7, "taken")
    with pytest.raises(ProtokitError, match=r"^admin\.bind \[::1\]:7 cannot be bound: taken; "):
        raise error


def test_the_pages_write_it_so_and_find_its_counters():
    async def main():
        config = CONFIG | {"listeners": [CONFIG["listeners"][0] | {"bind": "127.0.0.1:0"}]}
        async with protokit.Proxy(config) as proxy:
            (endpoint,) = proxy.clusters()["c"]["endpoints"]
            assert endpoint["address"] == "[::1]:9"
            assert endpoint["requests"] == 0
            assert "[::1]:9" in proxy.stats()["clusters"]["c"]

    asyncio.run(main())
