"""The filters in examples/, in a running proxy: Dubbo, and a declared protocol."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from pathlib import Path

import pytest
from lined import LINES, Lines, read
from peers import SERVICE, Client, Server, configuration
from protokit_dubbo.hessian import Object
from protokit_dubbo.messages import Answer

import protokit
from protokit import Protocol, plugins
from protokit import config as loading
from protokit.testing import streams
from protokit.testing.streams import run

EXAMPLES = Path(__file__).parents[2] / "examples"


def loaded(server, example, use, protocol="dubbo"):
    registry = plugins.load(["dubbo"], [str(EXAMPLES / example)])
    registry.protocols["lines"] = Protocol("lines", LINES, "lines")
    config = configuration(server)
    config["listeners"][0] |= {"protocol": protocol, "filters": [use]}
    return loading.load(config, registry)


class Tenants:
    """A service that knows tenants, and how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self):
        self._server = await streams.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader, writer) -> None:
        self.asked.append((await reader.readline()).decode().strip())
        await self.gate.wait()
        writer.write({"shop": b"acme", "till": b"acme"}.get(self.asked[-1], b"") + b"\n")
        writer.close()


def test_requests_are_tagged_with_their_tenant():
    async def main():
        server, tenants = await Server().start(), await Tenants().start()
        use = {"tenant": {"lookup": tenants.address, "header": "app", "keep": 60}}
        async with protokit.Proxy(loaded(server, "tenant.py", use)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            tenants.gate.clear()
            many = [client.send("echo", n, app="shop", tenant="mine") for n in range(20)]
            while not tenants.asked:
                await asyncio.sleep(0.01)
            tenants.gate.set()
            assert [(await one).value for one in many] == [*range(20)]
            assert {call.attachments["tenant"] for call in server.calls} == {"acme"}
            assert tenants.asked == ["shop"]
            assert (await client.call("echo", 1, app="nobody")).value == "application nobody has no tenant"
            assert (await client.call("echo", 1)).value == "app does not say which application this is"
            assert "does not say" in (await client.call("echo", 1, app="a\nshop")).value
            assert len(server.calls) == 20
            # What is known still is when the service has gone; what is not is refused, and nothing hangs.
            tenants.stop()
            assert (await client.call("echo", 1, app="shop")).value == 1
            answer = await asyncio.wait_for(client.call("echo", 1, app="till"), 5)
            assert answer.value == "protokit: the filter tenant failed"
            await client.close()
        await server.stop()

    run(main())


def test_a_caller_that_leaves_does_not_take_the_question_from_the_others():
    async def main():
        server, tenants = await Server().start(), await Tenants().start()
        use = {"tenant": {"lookup": tenants.address, "header": "app", "timeout": 30}}
        async with protokit.Proxy(loaded(server, "tenant.py", use)) as proxy:
            clients = [await Client.connect(proxy.addresses["in"][1]) for _ in range(2)]
            tenants.gate.clear()
            first, second = (client.send("echo", 1, app="shop") for client in clients)
            while proxy.stats()["workers"][0]["filters_waiting"] < 2 or not tenants.asked:
                await asyncio.sleep(0.01)
            connection = clients[0].writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            clients[0].writer.transport.abort()  # with a reset: whoever only ends still wants its answer
            while proxy.stats()["workers"][0]["filters_waiting"] > 1:
                await asyncio.sleep(0.01)
            tenants.gate.set()
            assert (await second).value == 1
            assert first.cancelled()
            assert tenants.asked == ["shop"]
            await clients[1].close()
        await server.stop()
        tenants.stop()

    run(main())


async def lines_of(path: Path, count: int) -> list[dict]:
    while len(lines := written(path)) < count:
        await asyncio.sleep(0.01)
    return lines


def written(path: Path) -> list[dict]:
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def test_calls_are_logged_without_their_secrets(tmp_path):
    async def main():
        server = await Server().start()

        def before(call, writer) -> bool:
            status = 80 if call.method == "fails" else 20
            said = None if status == 80 else {"token": "t-secret", "card": "is 4111111111111111"}
            writer.write(Answer(call.id, status, "body-secret", attachments=said).encode())
            return True

        server.before = before
        log = tmp_path / "calls.log"
        use = {"call-log": {"file": str(log), "hide": ["Token"], "mask": ["[0-9]{8,}"]}, "fail": "open"}
        async with protokit.Proxy(loaded(server, "call_log.py", use)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            answer = await client.call("echo", "arg-secret", token="q-secret", phone="+49 15112345678")
            assert answer.attachments == {"token": "t-secret", "card": "is 4111111111111111"}
            await client.call("fails", 1)
            first, second = await lines_of(log, 2)
            assert (first["call"], first["status"]) == (f"{SERVICE}.echo", "OK")
            assert first["endpoint"] == f"127.0.0.1:{server.port}"
            assert 0 < first["ms"] < 60_000
            assert first["request"]["token"] == first["answer"]["token"] == "***"
            assert first["request"]["phone"] == "+49 ***"
            assert first["answer"]["card"] == "is ***"
            assert second["status"] == "INTERNAL"
            assert "secret" not in log.read_text()
            await client.close()
        await server.stop()

    run(main())


def test_people_leave_as_pseudonyms_and_all_else_as_it_is():
    async def main():
        server = await Server().start()
        use = {"pseudonyms": {"key": "a secret of 16 characters", "fields": ["name", "phone"]}}
        async with protokit.Proxy(loaded(server, "pseudonyms.py", use)) as proxy:
            client = await Client.connect(proxy.addresses["in"][1])
            person = Object("demo.Person", {"name": "Ada", "age": 36, "friends": [], "self": None})
            person.fields["self"] = person
            person.fields["friends"] = [{"name": "Ada", "phone": 7}, Object("demo.P", {"phone": "1"})]
            await client.call("greet", "Ada", person, token="t")
            text, other = server.calls[-1].arguments
            (name, phone) = (other.fields["name"], other.fields["friends"][1].fields["phone"])
            assert text == "Ada"  # under no name
            assert (len(name), len(phone)) == (16, 16)
            assert len({name, phone, "Ada", "1"}) == 4
            assert other.fields["friends"][0] == {"name": name, "phone": 7}
            assert (other.fields["age"], other.fields["self"] is other) == (36, True)
            assert server.calls[-1].attachments["token"] == "t"
            assert (await client.call("echo", "nobody")).value == "nobody"
            await client.close()
        await server.stop()

    run(main())


@pytest.mark.parametrize("example", ["tenant.py", "call_log.py"])
def test_they_work_with_a_declared_protocol(example, tmp_path):
    async def main():
        server, tenants = Lines(), await Tenants().start()
        await server.start()
        log = tmp_path / "calls.log"
        use = {
            "tenant.py": {"tenant": {"lookup": tenants.address, "header": "app"}},
            "call_log.py": {"call-log": {"file": str(log), "hide": ["token"]}},
        }[example]
        async with protokit.Proxy(loaded(server, example, use, "lines")) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            call = {"kind": 0, "id": 7, "service": SERVICE.encode(), "method": b"m", "body": b"x"}
            writer.write(LINES.build(call | {"headers": b"app=shop;token=secret;"}))
            answer = await asyncio.wait_for(read(reader), 10)
            assert (answer["id"], answer["body"]) == (7, b"x")
            if example == "tenant.py":
                assert server.got[0]["headers"] == b"app=shop;token=secret;tenant=acme;"
            else:
                (line,) = await lines_of(log, 1)
                assert line["request"] == line["answer"] == {"app": "shop", "token": "***"}
            writer.close()
        server.stop()
        tenants.stop()

    run(main())
