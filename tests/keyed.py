"""A protocol with a header, and a world whose requests say there whose they are."""

from __future__ import annotations

from construct import Const, GreedyBytes, Int8ub, Int16ub, Prefixed, Struct, this
from world import World, table

from protokit import WireFormat
from protokit.wire import ErrorText, Replies, pairs, text

KINDS = ["ring-hash", "maglev"]
USER = [("header", "user")]

KEYED = WireFormat(
    Struct(
        Const(b"K"),
        "kind" / Int8ub,  # 0 request, 1 answer
        "id" / Int16ub,
        "service" / Prefixed(Int8ub, GreedyBytes),
        "method" / Prefixed(Int8ub, GreedyBytes),
        "head" / Prefixed(Int8ub, GreedyBytes),
    ),
    id=this.id,
    response=this.kind == 1,
    service=text(this.service),
    method=text(this.method),
    headers=pairs(this.head, key=Int8ub, value=Int8ub),
    replies=Replies(error=lambda *_: {"kind": 1, "service": b"", "method": ErrorText(), "head": b""}),
)
KEYED.name = "keyed"


def request(number, service=b"s", method=b"m", **headers):
    head = b"".join(
        bytes([len(key)]) + key.encode() + bytes([len(value)]) + value for key, value in headers.items()
    )
    return KEYED.build({"kind": 0, "id": number, "service": service, "method": method, "head": head})


MANY = {"connections": 1000}


class Keyed:
    """A world whose servers answer at once; ``ask`` says which of them had it."""

    def __init__(self, balance, by, *, endpoints=8, **more) -> None:
        self.more = {"balance": balance, "hash_by": by, "endpoints": endpoints, "limits": MANY, **more}
        self.world = World(self.table())
        self.client = self.world.client()
        self.number = 0

    def table(self, **more):
        return table([KEYED.address], **{**self.more, **more})

    def counts(self):
        return [self.world.core.endpoint_stats(uid)["requests"] for uid in range(self.more["endpoints"])]

    def ask(self, client=None, **what):
        (found,) = self.asked(client, **what)
        return found

    def asked(self, client=None, **what):
        """Those that had it: none, where it was refused."""
        self.number += 1
        self.world.feed(self.client if client is None else client, request(self.number, **what))
        asked = []
        for up, (_, port) in list(self.world.upstreams.items()):
            data = bytes(self.world.got[up])
            self.world.got[up].clear()
            if data:
                asked.append(port - 9000)
                number = int.from_bytes(data[2:4], "big")
                answer = {"kind": 1, "id": number, "service": b"", "method": b"", "head": b""}
                self.world.feed(up, KEYED.build(answer))
        return asked
