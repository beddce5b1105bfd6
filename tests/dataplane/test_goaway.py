"""Clients are told to go elsewhere: always, or where the operator asks for it; in any order of events."""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path

import pytest
from protokit_sofarpc import bolt
from world import LIMITS, World, table

from protokit import native

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)
GOLDEN = Path(__file__).parent.parent / "golden" / "bolt.jsonl"
REQUEST, RESPONSE, DRAIN = native.KIND_REQUEST, native.KIND_RESPONSE, native.KIND_DRAIN


class Bolt:
    """SOFARPC's protocol; a variant is what a client speaks: v1, v2, v2 with checksums."""

    DRAIN = DRAIN
    VARIANTS = range(3)

    def __init__(self):
        self.address = bolt.wire.address
        frames = [bytes.fromhex(json.loads(line)["hex"]) for line in GOLDEN.read_text().splitlines()]
        self.samples = {}
        for frame in frames:
            message = native.frame(self.address, frame)
            self.samples.setdefault((message.kind, message.context), frame)

    def request(self, number, variant=0):
        return native.patch_id(self.address, self.samples[REQUEST, variant], number)

    def response(self, number, variant=0):
        return native.patch_id(self.address, self.samples[RESPONSE, variant], number)

    def goaway(self, variant=0):
        """Command 100, of type request, from the facts of the protocol and not from its codec."""
        first = b"\x01" if variant == 0 else bytes([2, variant])
        switch = b"" if variant == 0 else b"\0"
        return first + struct.pack(">BHBIB", 1, 100, 1, 0, 1) + switch + struct.pack(">iHHI", 0, 0, 0, 0)

    def split(self, data):
        """(kind, status, id, bytes) of each whole frame, and the rest."""
        found = []
        while data:
            message = native.frame(self.address, data)
            if message.result == 1:
                break
            assert message.result == 0, (message, data[:40])
            found.append((message.kind, message.status, message.id, data[: message.size]))
            data = data[message.size :]
        return found, data


@pytest.fixture(scope="module")
def bolts():
    return Bolt()


def kinds(frames):
    return [frame[0] for frame in frames]


def serve(world, toy, variant=0, take=None):
    """Servers answer what has come to them, or to one of them; how many requests that were."""
    count = 0
    for up in list(world.upstreams) if take is None else [take]:
        for kind, _, number, data in world.take(toy, up):
            if kind == REQUEST:
                count += 1
                reply = (
                    toy.response(number, variant) if isinstance(toy, Bolt) else toy.frame(3, number, b"ok")
                )
                world.feed(up, reply)
            else:
                assert kind != DRAIN, data  # clients are told, not servers
    return count


# Whether they are told.


@pytest.mark.parametrize("goaway", [False, True])
@pytest.mark.parametrize("kind", ["wide", "shy"])
def test_a_signal_that_some_clients_do_not_know_is_sent_where_the_operator_asks(toys, kind, goaway):
    toy = toys[kind]
    world = World(table([toy.address], goaway=goaway))
    client = world.client()
    world.feed(client, toy.request(1))
    world.batch(("drain",))
    told = kind == "wide" or goaway
    assert kinds(world.take(toy, client)) == [toy.DRAIN] * told
    assert world.stat("connections_told") == world.stat("drains_sent") == told
    late = world.client()
    world.feed(late, toy.request(1))
    assert kinds(world.take(toy, late)) == [toy.DRAIN] * told
    assert serve(world, toy) == 2  # both are served all the same
    assert [world.take(toy, one)[0][1:3] for one in (client, late)] == [(OK, 1)] * 2
    world.batch(("eof", client), ("error", late))
    assert {client, late} <= set(world.closed)
    assert world.stat("connections_told") == 0


def test_with_several_protocols_each_client_is_told_in_its_own(bolts, toys):
    shy = toys["shy"]
    for goaway in (False, True):
        world = World(table([bolts.address, shy.address, toys["other"].address], goaway=goaway))
        clients = {toy: world.client() for toy in (bolts, shy, toys["other"])}
        silent = world.client()  # nobody knows what it speaks, until it does
        for toy, client in clients.items():
            world.feed(client, toy.request(1))
        world.batch(("drain",))
        told = {toy: kinds(world.take(toy, client)) for toy, client in clients.items()}
        assert told == {bolts: [DRAIN] * goaway, shy: [shy.DRAIN] * goaway, toys["other"]: [shy.DRAIN]}
        assert world.got[silent] == b""
        world.feed(silent, bolts.request(1))
        assert kinds(world.take(bolts, silent)) == [DRAIN] * goaway


# Whatever the order.


@pytest.mark.parametrize("before", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("variant", Bolt.VARIANTS)
def test_a_drain_at_any_byte_of_a_request_loses_nothing(bolts, variant, before):
    """``before``: whether the client has said something whole until then, so that its variant is known."""
    request = bolts.request(2, variant)
    one = table([bolts.address], goaway=True)
    for cut in range(len(request) + 1):
        world = World(one)
        client = world.client()
        if before:
            world.feed(client, bolts.request(1, variant))
        if cut:
            world.feed(client, request[:cut])
        world.batch(("drain",))
        known = before or cut == len(request)
        assert bytes(world.got[client]) == bolts.goaway(variant if known else 0), cut
        world.got[client].clear()
        if cut < len(request):
            world.feed(client, request[cut:])
        world.feed(client, bolts.request(3, variant))  # it has not heard it yet
        assert serve(world, bolts, variant) == 2 + before
        heard = world.take(bolts, client)
        assert [frame[:3] for frame in heard] == [(RESPONSE, OK, n) for n in ([1] if before else []) + [2, 3]]
        world.batch(("eof", client))
        assert client in world.closed
        assert (world.stat("drains_sent"), world.stat("connections_told")) == (1, 0)


@pytest.mark.parametrize("heeds", [False, True], ids=["goes on", "leaves"])
def test_a_drain_between_any_requests_and_answers_loses_nothing(bolts, heeds):
    events = ["ask 1", "ask 2", "answer 1", "answer 2", "drain"]
    one = table([bolts.address], goaway=True)
    for order in itertools.permutations(events):
        if any(order.index(f"answer {n}") < order.index(f"ask {n}") for n in (1, 2)):
            continue
        world = World(one)
        client = world.client()
        wire = {}
        for event in order:
            if event == "drain":
                world.batch(("drain",))
            elif event.startswith("ask"):
                number = int(event[-1])
                world.feed(client, bolts.request(number))
                ((_, _, wire[number], _),) = world.take(bolts, world.only_upstream())
            else:
                world.feed(world.only_upstream(), bolts.response(wire[int(event[-1])]))
        heard = world.take(bolts, client)
        wanted = [e for e in order if not e.startswith("ask")]
        assert [("drain" if frame[0] == DRAIN else f"answer {frame[2]}") for frame in heard] == wanted, order
        assert all(frame[1] == OK for frame in heard)
        if heeds:
            world.batch(("eof", client))
            assert client in world.closed
        else:
            world.feed(client, bolts.request(9))
            assert serve(world, bolts) == 1
            assert [frame[:3] for frame in world.take(bolts, client)] == [(RESPONSE, OK, 9)]


# Who goes on for ever.


def test_who_goes_on_is_served_until_the_time_to_drain_is_over_and_then_refused(bolts):
    world = World(table([bolts.address], goaway=True))
    client = world.client()
    world.feed(client, bolts.request(1))
    assert serve(world, bolts) == 1
    world.take(bolts, client)
    world.apply(table([bolts.address], goaway=True, listener=None))
    assert kinds(world.take(bolts, client)) == [DRAIN]
    asked = range(2, 2 + LIMITS["drain_ms"] // 100)
    for number in asked:
        world.feed(client, bolts.request(number))
        assert serve(world, bolts) == 1
        assert [frame[:3] for frame in world.take(bolts, client)] == [(RESPONSE, OK, number)]
        world.wait(99)
    world.feed(client, bolts.request(50))
    up = world.only_upstream()
    ((_, _, under_way, _),) = world.take(bolts, up)
    world.wait(100)
    world.feed(client, bolts.request(51))
    (refused,) = world.take(bolts, client)
    assert refused[:3] == (RESPONSE, UNAVAILABLE, 51)
    assert refused[3][10:12] == b"\0\x10"  # CONNECTION_CLOSED, which SOFARPC's clients raise as their own
    assert b"this listener is closing" in refused[3]
    world.feed(up, bolts.response(under_way))
    assert [frame[:3] for frame in world.take(bolts, client)] == [(RESPONSE, OK, 50)]
    assert client in world.closed


def test_who_waits_when_the_process_ends_is_told_so(bolts):
    world = World(table([bolts.address], goaway=True))
    client = world.client()
    world.feed(client, bolts.request(1))
    world.batch(("drain",))
    world.feed(client, bolts.request(2))
    world.batch(("shutdown",))
    heard = world.take(bolts, client)
    assert [frame[:3] for frame in heard] == [(DRAIN, OK, 0), *((RESPONSE, UNAVAILABLE, n) for n in (1, 2))]
    assert all(b"the proxy is shutting down" in frame[3] for frame in heard[1:])
    assert client in world.closed


# Reloads.


@pytest.mark.parametrize(("was", "becomes"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_reload_that_renames_a_listener_tells_the_clients_that_it_had(bolts, was, becomes):
    world = World(table([bolts.address], goaway=was))
    clients = [world.client() for _ in Bolt.VARIANTS]
    for variant, client in enumerate(clients):
        world.feed(client, bolts.request(1, variant))
    world.apply(table([bolts.address], goaway=becomes, listener="renamed"))
    for variant, client in enumerate(clients):  # as their own listener has it
        assert bytes(world.got[client]) == (bolts.goaway(variant) if was else b"")
    new = world.client()
    world.feed(new, bolts.request(1))
    assert serve(world, bolts) == 4
    assert kinds(world.take(bolts, new)) == [RESPONSE]
    for client in clients:
        assert kinds(world.take(bolts, client)) == [DRAIN] * was + [RESPONSE]
    world.batch(("drain",))
    assert kinds(world.take(bolts, new)) == [DRAIN] * becomes
    assert [bytes(world.got[client]) for client in clients] == [b""] * 3  # told once


def test_a_reload_that_changes_the_option_alone_tells_nobody_and_holds_for_all(bolts):
    world = World(table([bolts.address]))
    client = world.client()
    world.feed(client, bolts.request(1))
    world.apply(table([bolts.address], goaway=True))
    assert bytes(world.got[client]) == b""
    world.batch(("drain",))
    assert bytes(world.got[client]) == bolts.goaway()


# Servers that say so.


@pytest.mark.parametrize("variant", Bolt.VARIANTS)
@pytest.mark.parametrize("endpoints", [1, 2])
def test_a_server_that_says_goaway_gets_no_more_and_is_waited_for(bolts, variant, endpoints):
    world = World(table([bolts.address], endpoints=endpoints))
    client = world.client()
    world.feed(client, bolts.request(1, variant) + bolts.request(2, variant))
    up = world.only_upstream()
    waiting = [frame[2] for frame in world.take(bolts, up)]
    for byte in bolts.goaway(variant):
        world.feed(up, bytes([byte]))
    assert world.stat("drains_received") == 1
    world.feed(client, bolts.request(3, variant))
    assert world.take(bolts, up) == []
    (other,) = set(world.upstreams) - {up}
    assert (world.upstreams[other] != world.upstreams[up]) == (endpoints == 2)
    assert serve(world, bolts, variant, other) == 1
    for number in waiting:
        assert up not in world.closed
        world.feed(up, bolts.response(number, variant))
    assert up in world.closed
    assert [frame[:3] for frame in world.take(bolts, client)] == [(RESPONSE, OK, n) for n in (3, 1, 2)]
    assert kinds(world.take(bolts, client)) == []


# A proxy behind a proxy.


class Chain:
    """A client, a proxy, and behind it two proxies with a server each; bytes go when they are told to."""

    def __init__(self, toy, tables):
        self.toy = toy
        self.outer = World(tables[0])
        self.inner = {9000: World(tables[1]), 9001: World(tables[1])}
        self.client = self.outer.client()
        self.asked = 0
        self.pipes = {}  # of the outer one's upstreams: (the inner world, its client)
        self.ended = set()
        self.heard = []

    def ask(self):
        self.asked += 1
        self.outer.feed(self.client, self.toy.request(self.asked))
        self.heard += self.outer.take(self.toy, self.client)

    def down(self):
        """What the outer proxy has written comes to the inner ones, and its closing."""
        for up in [one for one in self.outer.got if one != self.client and one not in self.ended]:
            if up not in self.pipes:
                world = self.inner[self.outer.upstreams[up][1]] if up in self.outer.upstreams else None
                if world is None:  # closed before a byte of it came
                    self.ended.add(up)
                    continue
                self.pipes[up] = (world, world.client())
            world, inner = self.pipes[up]
            if self.outer.got[up]:
                world.feed(inner, bytes(self.outer.got[up]))
                self.outer.got[up].clear()
            if up in self.outer.closed:
                self.ended.add(up)
                world.batch(("eof", inner))

    def up(self):
        for up, (world, inner) in self.pipes.items():
            if world.got[inner] and up not in self.outer.closed:
                self.outer.feed(up, bytes(world.got[inner]))
                world.got[inner].clear()
        self.heard += self.outer.take(self.toy, self.client)

    def serve(self):
        for world in self.inner.values():
            serve(world, self.toy)


def test_whatever_the_order_a_proxy_that_leaves_behind_another_loses_nothing(bolts):
    """Every way of four steps before and two behind the drain of either proxy."""
    steps = ("ask", "down", "up", "serve")
    tables = [table([bolts.address], endpoints=2), table([bolts.address], goaway=True)]
    for before in itertools.product(steps, repeat=4):
        if before[0] != "ask":
            continue  # nothing has happened until then
        for behind in itertools.product(steps, repeat=2):
            chain = Chain(bolts, tables)
            for step in before:
                getattr(chain, step)()
            (leaves, *_) = [port for _, port in chain.outer.upstreams.values()]
            world = chain.inner[leaves]
            world.batch(("drain",))
            for step in (*behind, "ask", "up", "ask"):
                getattr(chain, step)()
            for _ in range(3):
                chain.down()
                chain.serve()
                chain.up()
            where = (before, behind)
            assert sorted(frame[:3] for frame in chain.heard) == [
                (RESPONSE, OK, n) for n in range(1, chain.asked + 1)
            ], where
            told = [c for w, c in chain.pipes.values() if w is world]
            if told:  # it has left: the proxy can end
                assert set(told) <= set(world.closed), where
                assert world.stat("connections_told") == world.stat("requests_active") == 0
                asked = world.stat("requests")
                chain.ask()
                chain.down()
                assert world.stat("requests") == asked, where
