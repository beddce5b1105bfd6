"""One client, its server, and what goes to and fro in parts, on the core with a virtual clock."""

from __future__ import annotations

from world import World, table

OK = 0


class Course:
    """One client with a request under id 5, its server, and what goes to and fro."""

    def __init__(self, toy, *, pinned=False, **more) -> None:
        self.toy = toy
        self.world = World(table([toy.address], pinned=pinned, **more))
        self.client = self.world.client()

    def ask(self, body=b"svc m first", client=None, number=5):
        """The id under which the server gets it."""
        self.world.feed(self.client if client is None else client, self.toy.request(number, body))
        return self.asked(body)

    def asked(self, body):
        for up in list(self.world.upstreams):
            for kind, _, number, text in self.world.take(self.toy, up):
                if kind == self.toy.REQUEST:
                    assert text == body
                    self.up = up
                    return number
        raise AssertionError("no server was asked")

    def say(self, number, body, *, more=True, kind=None, status=OK, up=None):
        kind = self.toy.RESPONSE if kind is None else kind
        self.world.feed(
            self.up if up is None else up,
            self.toy.frame(kind, number, body, status | (self.toy.MORE if more else 0)),
        )

    def heard(self, client=None):
        """(kind, status, id, body) of what the client got."""
        return self.world.take(self.toy, self.client if client is None else client)

    def bodies(self, client=None):
        return [one[3] for one in self.heard(client)]

    def id(self, number=5):
        return number if self.toy.id_bytes else 0
