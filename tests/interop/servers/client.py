"""The usual Python client of a server: ``client.py NAME PORT CASE...``; prints a line of JSON a case.

Cases: ``hello`` (written and read again), ``fails`` (the server says no), ``missing`` (no route leads there),
``big`` (what is large is read as it was written), ``many`` (eight clients, 125 calls each, none of which may
get another's answer), ``slow`` (the server says nothing), ``killed`` (nobody is behind the proxy).
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import threading
from collections.abc import Callable

TEXT = "Zürich 🚀"
Case = Callable[[int], object]


def eight(work: Callable[[int], int]) -> int:
    """What eight threads did in all, each with its number."""
    done: list[int] = []

    def run(number: int) -> None:
        done.append(work(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return sum(done)


def redis() -> dict[str, Case]:
    """Commands and pipelines by redis-py."""
    from redis import Redis

    def client(port: int) -> Redis:
        return Redis(port=port, protocol=2, decode_responses=True, socket_timeout=20, retry=None)

    def hello(port: int) -> object:
        one = client(port)
        one.set("app:hello", TEXT)
        one.hset("app:map", mapping={"a": "1", "b": TEXT})
        return [one.get("app:hello"), one.get("app:none"), one.hgetall("app:map")]

    def fails(port: int) -> object:
        client(port).set("app:text", "no number")
        return client(port).incr("app:text")

    def big(port: int) -> object:
        client(port).set("app:big", "x" * (1 << 20))
        return len(client(port).get("app:big"))

    def many(port: int) -> object:
        def work(number: int) -> int:
            one, right = client(port), 0
            for turn in range(25):
                with one.pipeline(transaction=False) as pipe:
                    pipe.set(f"app:{number}", f"{number}/{turn}").get(f"app:{number}").echo(
                        f"app:{number}:{turn}"
                    )
                    pipe.incrby(f"app:count:{number}", number).exists("app:nowhere")
                    wanted = [True, f"{number}/{turn}", f"app:{number}:{turn}", number * (turn + 1), 0]
                    right += sum(map(lambda got, want: got == want, pipe.execute(), wanted))
            return right

        return eight(work)

    return {
        "hello": hello,
        "fails": fails,
        "missing": lambda port: client(port).get("other:x"),
        "big": big,
        "many": many,
        "slow": lambda port: client(port).blpop("app:never", 0),
        "killed": lambda port: client(port).get("app:hello"),
    }


def memcached() -> dict[str, Case]:
    """The text protocol by pymemcache."""
    from pymemcache.client.base import Client

    def client(port: int) -> Client:
        return Client(("127.0.0.1", port), encoding="utf-8", default_noreply=False, timeout=20)

    def hello(port: int) -> object:
        one = client(port)
        stored = one.set("app:hello", TEXT)
        return [stored, one.get("app:hello").decode(), one.get("app:none"), one.delete("app:none")]

    def fails(port: int) -> object:
        client(port).set("app:text", "no number")
        return client(port).incr("app:text", 1)

    def big(port: int) -> object:
        client(port).set("app:big", "x" * 1_000_000)
        return len(client(port).get("app:big"))

    def many(port: int) -> object:
        def work(number: int) -> int:
            one, right = client(port), 0
            for turn in range(25):
                key = f"app:{number}"
                right += one.set(key, f"{number}/{turn}") is True
                right += one.get(key) == f"{number}/{turn}".encode()
                right += one.set(key, str(turn), noreply=True) is True
                right += one.incr(key, number) == turn + number
                right += one.get(f"app:nowhere:{number}") is None
            return right

        return eight(work)

    return {
        "hello": hello,
        "fails": fails,
        "missing": lambda port: client(port).get("other:x"),
        "big": big,
        "many": many,
        "killed": lambda port: client(port).get("app:hello"),
    }


def mosquitto() -> dict[str, Case]:
    """MQTT by paho: a client that hears of what it publishes."""
    from paho.mqtt.client import MQTT_ERR_SUCCESS, CallbackAPIVersion, Client

    def started(port: int) -> tuple[Client, queue.Queue[object]]:
        heard: queue.Queue[object] = queue.Queue()
        one = Client(CallbackAPIVersion.VERSION2)
        one.on_connect = lambda _client, _data, _flags, reason, _properties: heard.put(
            ("connected", str(reason))
        )
        one.on_subscribe = lambda _client, _data, _mid, reasons, _properties: heard.put(
            ("subscribed", len(reasons))
        )
        one.on_message = lambda _client, _data, message: heard.put((message.topic, message.payload))
        one.on_disconnect = lambda *_: heard.put(("closed", ""))
        one.connect("127.0.0.1", port)
        one.loop_start()
        said = heard.get(timeout=20)
        if said != ("connected", "Success"):
            raise ConnectionError(said)
        return one, heard

    def subscribed(port: int, topic: str) -> tuple[Client, queue.Queue[object]]:
        one, heard = started(port)
        one.subscribe(topic, qos=1)
        said = heard.get(timeout=20)
        if said != ("subscribed", 1):
            one.loop_stop()
            raise ConnectionError(said)
        return one, heard

    def published(one: Client, topic: str, payload: bytes, qos: int = 1) -> None:
        info = one.publish(topic, payload, qos=qos)
        assert info.rc == MQTT_ERR_SUCCESS
        info.wait_for_publish(20)

    def hello(port: int) -> object:
        one, heard = subscribed(port, "app/hello")
        texts = []
        for qos in (0, 1, 2):
            published(one, "app/hello", f"{TEXT} {qos}".encode(), qos)
            texts.append(heard.get(timeout=20)[1].decode())
        one.disconnect()
        one.loop_stop()
        return texts

    def big(port: int) -> object:
        one, heard = subscribed(port, "app/big")
        published(one, "app/big", b"x" * (1 << 20))
        size = len(heard.get(timeout=20)[1])
        one.loop_stop()
        return size

    def many(port: int) -> object:
        def work(number: int) -> int:
            topic, right = f"app/{number}", 0
            one, heard = subscribed(port, topic)
            for turn in range(125):
                published(one, topic, f"{number}/{turn}".encode())
                right += heard.get(timeout=20) == (topic, f"{number}/{turn}".encode())
            one.loop_stop()
            return right

        return eight(work)

    return {
        "hello": hello,
        "big": big,
        "many": many,
        "missing": lambda port: subscribed(port, "other/x")[1],
        "killed": lambda port: started(port)[1],
    }


def slapd() -> dict[str, Case]:
    """LDAP by ldap3."""
    from ldap3 import Connection, Server

    def client(port: int) -> Connection:
        one = Connection(
            Server("127.0.0.1", port, connect_timeout=20, get_info=None),
            "cn=admin,dc=app",
            "secret",
            raise_exceptions=True,
            receive_timeout=20,
        )
        one.bind()
        return one

    def hello(port: int) -> object:
        one = client(port)
        one.add("dc=app", ["dcObject", "organization"], {"o": TEXT})
        for number in range(5):
            one.add(f"cn=p{number},dc=app", "person", {"sn": f"s{number}"})
        one.search("dc=app", "(objectClass=person)", attributes=["sn"])
        found = sorted(entry.sn.value for entry in one.entries)
        return [found, one.compare("cn=p1,dc=app", "sn", "s1"), one.compare("cn=p1,dc=app", "sn", "s2")]

    def big(port: int) -> object:
        one = client(port)
        one.add("cn=big,dc=app", "person", {"sn": "b", "description": "x" * (1 << 20)})
        one.search("cn=big,dc=app", "(sn=b)", attributes=["description"])
        return len(one.entries[0].description.value)

    def many(port: int) -> object:
        def work(number: int) -> int:
            one, right = client(port), 0
            for turn in range(125):
                wanted = (number + turn) % 5
                one.search(f"cn=p{wanted},dc=app", "(objectClass=*)", attributes=["sn"])
                right += [entry.sn.value for entry in one.entries] == [f"s{wanted}"]
            one.unbind()
            return right

        return eight(work)

    return {
        "hello": hello,
        "fails": lambda port: client(port).delete("cn=nobody,dc=app"),
        "missing": lambda port: client(port).search("dc=other", "(sn=b)"),
        "big": big,
        "many": many,
        "killed": client,
    }


def nats() -> dict[str, Case]:
    """NATS by nats-py: subjects that are published to and asked."""
    from nats.aio.client import Client

    async def client(port: int) -> Client:
        one = Client()
        await one.connect(f"nats://127.0.0.1:{port}", allow_reconnect=False, connect_timeout=20)
        return one

    async def hello(port: int) -> object:
        one, other = await client(port), await client(port)
        heard = await one.subscribe("app.hello")

        async def answer(message: object) -> None:
            await message.respond(message.data + b"!")

        await one.subscribe("app.asked", cb=answer)
        await one.flush()
        await other.publish("app.hello", TEXT.encode(), headers={"who": "other"})
        message = await heard.next_msg(20)
        asked = await other.request("app.asked", b"why", timeout=20)
        await one.close()
        await other.close()
        return [message.data.decode(), message.headers, asked.data.decode()]

    async def big(port: int) -> object:
        one = await client(port)
        heard = await one.subscribe("app.big")
        await one.publish("app.big", b"x" * 1_000_000)
        return len((await heard.next_msg(20)).data)

    async def missing(port: int) -> object:
        """What is published without a route is dropped, and what is published behind it arrives."""
        one = await client(port)
        heard = await one.subscribe("app.>")
        await one.publish("other.x", b"dropped")
        await one.publish("app.after", b"arrived")
        return (await heard.next_msg(20)).data.decode()

    async def many(port: int) -> object:
        async def work(number: int) -> int:
            one, right = await client(port), 0
            heard = await one.subscribe(f"app.{number}")
            for turn in range(125):
                await one.publish(f"app.{number}", f"{number}/{turn}".encode())
                right += (await heard.next_msg(20)).data == f"{number}/{turn}".encode()
            await one.close()
            return right

        return sum(await asyncio.gather(*map(work, range(8))))

    async def killed(port: int) -> object:
        return await client(port)

    made = {"hello": hello, "big": big, "missing": missing, "many": many, "killed": killed}
    return {name: lambda port, case=case: asyncio.run(case(port)) for name, case in made.items()}


def main(name: str, port: str, *cases: str) -> None:
    """Each case's line, in that order."""
    made = {"redis": redis, "memcached": memcached, "mosquitto": mosquitto, "slapd": slapd, "nats": nats}[
        name
    ]()
    for case in cases:
        try:
            said = {"value": made[case](int(port))}
        except Exception as error:  # noqa: BLE001 - whatever the library raises is what is asked for
            said = {"raised": f"{type(error).__name__}: {error}"}
        print(json.dumps({"case": case, **said}, default=str), flush=True)


main(*sys.argv[1:])
