"""A rule's time, its most, and what servers are told of it: Dubbo, and bolt, which is declared."""

from __future__ import annotations

import textwrap

import pytest
from bolts import Bolt, ask, read
from peers import SERVICE, Client, Server, configuration

import protokit
from protokit import config as loading
from protokit.errors import ConfigErrors
from protokit.testing import streams
from protokit.testing.streams import run


def timed(server, timeout, **rule) -> dict:
    config = configuration(server)
    config["routes"][0]["rules"] = [
        {"match": {"method": "slow"}, "cluster": "c", "timeout": timeout, **rule},
        {"cluster": "c"},
    ]
    return config


async def called(rule_timeout, *, method="slow", rule=None, **attachments):
    """What a Dubbo server got of a call, and its answer."""
    server = await Server().start()
    async with protokit.Proxy(timed(server, rule_timeout, **(rule or {}))) as proxy:
        client = await Client.connect(proxy.addresses["in"][1])
        answer = await client.call(method, 0, **attachments)
        await client.close()
    await server.stop()
    return server.calls[-1], answer


@pytest.mark.parametrize(
    ("timeout", "said", "most"),
    [
        ({"pass": "true", "most": "20s"}, None, 20_000),
        ({"pass": "true", "most": "20s"}, 60_000, 20_000),
        ({"pass": "true", "default": "20s"}, 25_000, 25_000),
        ({"pass": "true", "default": "20s"}, None, 20_000),
        ({"pass": "true", "default": "5s", "most": "20s"}, 60_000, 20_000),
        ({"pass": "true"}, None, 30_000),
    ],
)
def test_a_dubbo_server_is_told_the_time_that_is_left(timeout, said, most):
    async def main():
        call, answer = await called(timeout, **({"timeout": str(said)} if said else {}))
        assert most // 2 < int(call.attachments["timeout"]) <= most
        assert answer.value == 0
        # Its negative: what another rule takes.
        call, _ = await called(timeout, method="echo", **({"timeout": str(said)} if said else {}))
        assert call.attachments.get("timeout") == (str(said) if said else None)

    run(main())


def test_a_delay_is_taken_off():
    async def main():
        rule = {"fault": {"delay": {"fixed": "300ms"}}}
        call, _ = await called({"pass": "true", "most": "20s"}, rule=rule)
        assert int(call.attachments["timeout"]) <= 19_700

    run(main())


@pytest.mark.parametrize("timeout", ["100ms", {"most": "100ms"}])
def test_no_caller_waits_longer_than_the_most(timeout):
    async def main():
        server = await Server().start()
        async with protokit.Proxy(timed(server, timeout)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            answer = await client.call("slow", 60_000, timeout="30000")
            assert "within 100 ms" in answer.value
            assert (await client.call("echo", "x")).value == "x"
            await client.close()
        await server.stop()

    run(main())


@pytest.mark.parametrize("head", [{"proto": 1}, {"proto": 2, "ver1": 2, "switch": 1}], ids=["v1", "v2 crc"])
def test_a_bolt_server_is_told_in_its_field(head):
    async def main():
        server = await Bolt().start()
        config = configuration(server)
        config["listeners"][0]["protocol"] = "bolt"
        config["routes"][0]["rules"] = [
            {"match": {"method": "m"}, "cluster": "c", "timeout": {"most": "20s", "pass": "true"}},
            {"cluster": "c"},
        ]
        async with protokit.Proxy(config) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            for number, (method, said) in enumerate((("m", 60_000), ("m", -1), ("other", 60_000))):
                writer.write(ask(number, method, timeout=said, **head))
                assert (await read(reader))["id"] == number
            writer.close()
        server.stop()
        told = [one["timeout"] for one in server.got]
        assert all(10_000 < one <= 20_000 for one in told[:2])
        assert told[2] == 60_000

    run(main())


@pytest.mark.parametrize(
    ("timeout", "message"),
    [
        ("{}", r":6:54: timeout names nothing: give default, most or pass: true"),
        ("{default: 2s, most: 1s}", r":6:64: default: expected no more than most, 1s"),
        ("{most: 0ms}", r":6:61: most: expected 1ms to 480h, got '0ms'"),
        ("{pass: yes}", r":6:61: pass: expected true or false"),
        ("{defualt: 1s}", r"unknown key 'defualt' in timeout; did you mean 'default'\?"),
        ("fast", r":6:54: timeout: expected a duration like 500ms, 5s or 10m, got 'fast'"),
        ("[1s]", r":6:54: timeout: expected a mapping"),
        ("{pass: true}", None),
        ("{default: 1s, most: 1s}", None),
    ],
)
def test_mistakes(tmp_path, timeout, message):
    path = tmp_path / "proxy.yaml"
    path.write_text(
        textwrap.dedent(f"""\
        listeners: [{{name: in, bind: "127.0.0.1:0", protocol: dubbo, routes: r}}]
        clusters: [{{name: c, endpoints: ["127.0.0.1:1"]}}]
        routes:
          - name: r
            rules:
              - {{match: {{service: a.B}}, cluster: c, timeout: {timeout}}}
              - {{cluster: c}}
        """)
    )
    if message is None:
        loading.load(path)
        return
    with pytest.raises(ConfigErrors, match=message):
        loading.load(path)


@pytest.mark.parametrize(("protocol", "refused"), [("motan", True), ("bolt", False), ("hsf", True)])
def test_where_a_protocol_has_no_place_for_it(protocol, refused):
    config = configuration(Server(), plugins=["dubbo", protocol])
    config["clusters"][0]["endpoints"] = ["127.0.0.1:1"]
    config["listeners"][0]["protocol"] = ["dubbo", protocol]
    rule = {"match": {"service": SERVICE}, "cluster": "c", "timeout": {"pass": "true"}}
    config["routes"][0]["rules"] = [rule]
    if not refused:
        loading.load(config)
        return
    with pytest.raises(
        ConfigErrors, match=rf"pass: requests of '{protocol}' \(listener 'in'\) have no number"
    ):
        loading.load(config)
    rule["match"]["protocol"] = "dubbo"
    loading.load(config)
