"""A protocol made at home, in every mode and with every order of greeting; its server keeps to the rules.

::

    0      1      2        3    7            9
    +------+------+--------+----+------------+------+
    | name | kind | status | id | text's size| text |    no id where answers come in order
    +------+------+--------+----+------------+------+

kind: 1 request, 2 answer, 3 one-way, 4 ping, 5 pong, 8 hello (a status says no). text: "service method rest"
"""

from __future__ import annotations

import contextlib

from construct import Const, GreedyBytes, Int8ub, Int16ub, Int32ub, Prefixed, Struct, this

from protokit import Protocol, Status, WireFormat
from protokit.testing import streams
from protokit.wire import ErrorText, Greeting, Replies, split, table

PASSWORD = b"open sesame"
LOGIN = ("client", "server")
BANNER = ("server", "client", "server")


def values(kind, text=b"", status=0):
    return {"kind": kind, "status": status, "text": text}


def homemade(name: str, mode: str = "multiplexed", greeting: tuple[str, ...] = ()) -> Protocol:
    """A protocol whose frames begin with the name's first letter."""
    ids = mode in {"multiplexed", "pinned"}
    words = split(this.text, " ", 3)
    wire = WireFormat(
        Struct(
            Const(name[:1].encode()),
            "kind" / Int8ub,
            "status" / Int8ub,
            *(["id" / Int32ub] if ids else []),
            "text" / Prefixed(Int16ub, GreedyBytes),
        ),
        id=this.id if ids else None,
        mode=mode,
        response=(this.kind == 2) | (this.kind == 5),
        oneway=this.kind == 3,
        heartbeat=(this.kind == 4) | (this.kind == 5),
        status=table(this.status, {int(status): status for status in Status}, Status.INTERNAL),
        service=words[0],
        method=words[1],
        greeting=Greeting(
            when=this.kind == 8,
            steps=[
                (who, lambda variant, who=who: values(8, PASSWORD if who == "client" else b"welcome"))
                for who in greeting
            ],
            refused=this.status != 0,
        )
        if greeting
        else None,
        replies=Replies(
            error=lambda status, variant: values(2, ErrorText(), int(status)),
            heartbeat=lambda variant: values(4),
            ack=lambda variant: values(5),
        ),
    )
    return Protocol(name, wire)


class Peer:
    """One side of a connection, by the reference codec."""

    def __init__(self, protocol: Protocol, reader, writer) -> None:
        self.wire = protocol.wire
        self.ids = self.wire.meaning.id != ()
        self.reader, self.writer = reader, writer
        self.rest = b""

    def frame(self, kind, text=b"", request_id=0, status=0) -> bytes:
        return self.wire.build(values(kind, text, status) | ({"id": request_id} if self.ids else {}))

    def send(self, kind, text=b"", request_id=0, status=0) -> None:
        self.writer.write(self.frame(kind, text, request_id, status))

    async def receive(self):
        """The next frame's fields; None at the end."""
        while True:
            with contextlib.suppress(EOFError):
                fields, size = self.wire.parse(self.rest)
                self.rest = self.rest[size:]
                return fields
            more = await self.reader.read(1 << 16)
            if not more:
                return None
            self.rest += more

    async def hello(self, side: str) -> bool:
        """This side's part of the greeting; False when the other's is wrong."""
        greeting = self.wire.greeting
        for who, _ in greeting.steps if greeting else ():
            if who == side:
                self.send(8, PASSWORD if side == "client" else b"welcome")
                continue
            heard = await self.receive()
            wanted = PASSWORD if who == "client" else b"welcome"
            if heard is None or (heard.kind, heard.status, heard.text) != (8, 0, wanted):
                return False
        return True


class Server:
    """Echoes texts; drops connections whose greeting is wrong; notes what breaks the rules of its mode.

    ``hold``: so many requests of a connection are kept, and then answered: in order, or where there are ids
    from the last to the first.
    """

    def __init__(self, protocol: Protocol, *, hold: int = 1, refuse: bool = False) -> None:
        self.protocol = protocol
        self.hold, self.refuse = hold, refuse
        self.heard: list[list[tuple[int, bytes]]] = []  # (id, text) by connection
        self.dropped = 0
        self.waiting: list[int] = []  # requests without an answer when one more came
        self.pings = 0

    async def start(self) -> Server:
        self.server = await streams.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def stop(self) -> None:
        self.server.close()

    async def serve(self, reader, writer) -> None:
        peer = Peer(self.protocol, reader, writer)
        with contextlib.suppress(OSError):
            await self.talk(peer)
        writer.close()

    async def talk(self, peer: Peer) -> None:
        if self.refuse:
            peer.send(8, b"go away", status=7)
            await peer.receive()
            return
        if not await peer.hello("server"):
            self.dropped += 1
            return
        heard: list[tuple[int, bytes]] = []
        self.heard.append(heard)
        held: list[tuple[int, bytes]] = []
        while (got := await peer.receive()) is not None:
            if got.kind == 4:
                self.pings += 1
                peer.send(5, b"", got.id if peer.ids else 0)
            if got.kind not in {1, 3}:
                continue
            one = (got.id if peer.ids else 0, got.text)
            heard.append(one)
            if got.kind == 3:
                continue
            self.waiting.append(len(held))
            held.append(one)
            if len(held) >= self.hold:
                for request_id, text in reversed(held) if peer.ids else held:
                    peer.send(2, text, request_id)
                held.clear()


async def connect(protocol: Protocol, port: int) -> Peer:
    """A client that has not said anything."""
    return Peer(protocol, *await streams.open_connection("127.0.0.1", port))
