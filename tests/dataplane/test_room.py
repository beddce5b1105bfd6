"""The budget of a worker's buffers within one batch: who holds most pays at once, and nobody else.

A batch is as long as many sockets are ready, and nothing is written before its end. What clients that never
read, send halves, or ask what has to wait bring about in it is more than the budget; others come behind them.
"""

from __future__ import annotations

import pytest
from world import World, table

from protokit import native

OK = 0
BUDGET = 1 << 20
BIG = 50_000
HOGS = 40  # twice the budget, and what is urgent may use a quarter more
LIMITS = {
    "buffer": BUDGET,
    "connections": 400,
    "upstream_in_flight": 1000,
    "in_flight": 5000,
    "in_flight_per_connection": 1000,
    "client_close": 2 << 20,
    "upstream_buffer": 4 << 20,
    "request_ms": 60_000,
}
RULES = [("svc", "*"), ("slow", "*", 1), ("other", "*", 2), ("late", "*", 3)]
FAST, SLOW, OTHER, LATE = 9000, 9041, 9042, 9043  # ports of the clusters


class Place:
    """Hogs' servers, and another one, with clients of each; what is to come in one batch."""

    def __init__(self, toy, hogs):
        self.toy = toy
        self.opens = "wait"
        self.world = World(table([toy.address], clusters=4, rules=RULES, limits=LIMITS))
        self.world.connect = lambda port: self.opens if port in (SLOW, LATE) else "ok"
        self.others = {name: self.world.client() for name in OTHERS}
        for n, other in enumerate(self.others.values()):
            self.world.feed(other, toy.request(n, b"other m first"))
        self.asked = self.heard(OTHER)
        self.hogs, self.steps = hogs(self)

    def up(self, port):
        return [handle for handle, (_, at) in self.world.upstreams.items() if at == port]

    def heard(self, port):
        return [(up, frame) for up in self.up(port) for frame in self.world.take(self.toy, up)]

    def response(self, frame, body):
        return self.toy.frame(self.toy.RESPONSE, frame[2], body, OK)


def never_read(place):
    hogs = [place.world.client() for _ in range(HOGS)]
    for hog in hogs:
        place.world.stuck.add(hog)
        place.world.feed(hog, place.toy.request(1, b"svc m x"))
    asked = place.heard(FAST)
    assert len(asked) == HOGS
    return hogs, [("feed", up, place.response(frame, bytes(BIG))) for up, frame in asked]


def send_halves(place):
    hogs = [place.world.client() for _ in range(HOGS)]
    return hogs, [("feed", hog, place.toy.request(1, b"svc m x" + bytes(BIG))[:-1]) for hog in hogs]


def ask_what_waits(place):
    hogs = [place.world.client() for _ in range(HOGS // 4)]
    request = place.toy.request(1, b"slow m x" + bytes(BIG))
    return hogs, [("feed", hog, request) for hog in hogs for _ in range(4)]


def have_answers_that_wait(place):
    """Behind each one's first, which is slow."""
    hogs = [place.world.client() for _ in range(4)]
    for hog in hogs:
        place.world.feed(hog, place.toy.request(1, b"slow m x"))
        place.world.feed(hog, b"".join(place.toy.request(2, b"svc m x") for _ in range(HOGS // 4)))
    asked = place.heard(FAST)
    assert len(asked) == HOGS
    return hogs, [("feed", up, place.response(frame, bytes(BIG))) for up, frame in asked]


KINDS = {
    "wide": (never_read, send_halves, ask_what_waits),
    "named": (never_read, ask_what_waits),
    "ordered": (never_read, send_halves, ask_what_waits, have_answers_that_wait),
}


# What others do behind them in the same batch.


def asks(place, client):
    return [("feed", client, place.toy.request(7, b"other m again"))]


def asks_in_two_parts(place, client):
    whole = place.toy.request(7, b"other m again" + bytes(20_000))
    return [("feed", client, whole[:15_000]), ("feed", client, whole[15_000:])]


def asks_what_waits(place, client):
    return [("feed", client, place.toy.request(7, b"late m again"))]


def asks_what_waits_and_is_large(place, client):
    return [("feed", client, place.toy.request(7, b"late m again" + bytes(40_000)))]


def asks_for_what_nobody_has(place, client):
    return [("feed", client, place.toy.request(7, b"nobody m again"))]


OTHERS = {
    one.__name__: one
    for one in (
        asks,
        asks_in_two_parts,
        asks_what_waits,
        asks_what_waits_and_is_large,
        asks_for_what_nobody_has,
    )
}


@pytest.mark.parametrize(
    ("kind", "hogs"),
    [(kind, hogs) for kind, all_of in KINDS.items() for hogs in all_of],
    ids=lambda one: getattr(one, "__name__", one),
)
@pytest.mark.parametrize("mixed", [False, True])
def test_within_one_batch_only_who_holds_most_pays(toys, kind, hogs, mixed):
    """Others are answered what they asked before, and ask again, behind each hog or behind all."""
    toy = toys[kind]
    place = Place(toy, hogs)
    world = place.world
    mine = [("feed", up, place.response(frame, b"first")) for up, frame in place.asked]
    mine += [step for name, other in place.others.items() for step in OTHERS[name](place, other)]
    steps = place.steps + mine
    if mixed:
        every = len(place.steps) // len(mine)
        steps = [
            step for n, own in enumerate(mine) for step in [*place.steps[n * every : (n + 1) * every], own]
        ]
        steps += place.steps[len(mine) * every :]
    world.batch(*steps)
    assert set(world.closed) <= {*place.hogs, *place.up(SLOW)}
    assert set(world.closed) & set(place.hogs)
    place.opens = "ok"
    for handle in list(world.opening):
        if handle in place.up(LATE):
            world.opened(handle)
    for up, frame in [*place.heard(OTHER), *place.heard(LATE)]:
        world.feed(up, place.response(frame, b"again"))
    for name, other in place.others.items():
        frames = [(frame[1], frame[3]) for frame in world.take(toy, other)]
        if name == "asks_for_what_nobody_has":
            assert frames[0] == (OK, b"first")
            assert b"no route" in frames[1][1]
        else:
            assert frames == [(OK, b"first"), (OK, b"again")], name
    world.batch(*(("error", client) for client in world.clients if client not in world.closed))
    world.wait(61_000)
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0
    world.outcomes()


def used_up(toy, **more):
    """Hogs that take nothing hold nearly all of the budget; and what is still to be answered to some."""
    world = World(table([toy.address], clusters=4, rules=RULES, limits=LIMITS, **more))
    hogs = [world.client() for _ in range(33)]
    for hog in hogs:
        world.stuck.add(hog)
        world.feed(hog, toy.request(1, b"svc m x"))
    (fast,) = world.upstreams
    asked = world.take(toy, fast)
    answers = [toy.frame(toy.RESPONSE, frame[2], bytes(BUDGET // 26), OK) for frame in asked]
    world.batch(*(("feed", fast, one) for one in answers[:25]))
    assert BUDGET * 9 // 10 < world.stat("buffer_bytes") <= BUDGET
    return world, hogs, fast, answers[25:]


@pytest.mark.parametrize("how", ["pinned", "passed on"])
def test_who_sends_what_its_own_server_does_not_take_pays(wide, how):
    """Also in the middle of a batch, and what waited for that server goes with it."""
    pinned = how == "pinned"
    world = World(table([wide.address], pinned=pinned, fallback=0 if pinned else 1, limits=LIMITS))
    other = world.client()
    world.feed(other, wide.request(1))
    up = world.only_upstream()
    (first,) = world.take(wide, up)
    hogs = [world.client() for _ in range(4)]
    data = wide.request(1, b"svc m x" + bytes(BIG)) if pinned else b"\0" * BIG
    for hog in hogs:
        world.feed(hog, data)
    servers = set(world.upstreams) - {up}
    assert len(servers) == len(hogs)
    world.stuck |= servers
    steps = [("feed", hog, data) for hog in hogs for _ in range(10)]
    steps += [
        ("feed", other, wide.request(2)),
        ("feed", up, wide.frame(wide.RESPONSE, first[2], b"first", OK)),
    ]
    world.batch(*steps)
    assert [frame[3] for frame in world.take(wide, other)] == [b"first"]
    assert len(world.take(wide, up)) == 1
    paid = set(hogs) & set(world.closed)
    assert paid
    assert len(servers & set(world.closed)) == len(paid)
    assert set(world.closed) <= {*hogs, *servers}
    assert world.stat("buffer_bytes") <= BUDGET


@pytest.mark.parametrize("end", ["is lost", "does not answer in time"])
def test_however_many_wait_for_a_server_that_fails_each_is_told(wide, end):
    """Where others have used up what there is."""
    world, *_ = used_up(wide)
    waiting = []
    for n in range(150):
        waiting.append(world.client())
        world.feed(waiting[-1], wide.request(n, b"other m x"))
    (up,) = [up for up, (_, port) in world.upstreams.items() if port == OTHER]
    if end == "is lost":
        world.batch(("error", up))
    else:
        world.wait(61_000)
    assert not set(waiting) & set(world.closed)
    assert [len(world.take(wide, client)) for client in waiting] == [1] * len(waiting)


@pytest.mark.parametrize("kind", ["wide", "named"])
def test_an_answer_that_comes_behind_those_of_hogs_in_one_read_has_room(toys, kind):
    toy = toys[kind]
    world, hogs, fast, answers = used_up(toy)
    other = world.client()
    world.feed(other, toy.request(5, b"svc m mine"))
    (frame,) = world.take(toy, fast)
    mine = toy.frame(toy.RESPONSE, frame[2], bytes(BUDGET // 26), OK)
    world.feed(fast, b"".join(answers) + mine)
    assert [len(frame[3]) for frame in world.take(toy, other)] == [BUDGET // 26]
    assert set(world.closed) & set(hogs)
    assert set(world.closed) <= set(hogs)


def test_what_filters_answer_in_one_batch_has_room(wide):
    """Each verdict is a reply of its own: hogs', and behind them another's."""
    world, hogs, *_ = used_up(wide, seen=["seen"])
    asking = [world.client() for _ in range(9)]
    for client in asking:
        world.feed(client, wide.request(5, b"seen m x"))
    asked = [(up, frame) for up in world.upstreams for frame in world.take(wide, up)]
    assert len(asked) == len(asking)
    for up, frame in asked:
        world.feed(up, wide.frame(wide.RESPONSE, frame[2], b"x", OK))
    waiting, world.filters = world.filters, []
    assert len(waiting) == len(asking)
    verdicts = [wide.frame(wide.RESPONSE, frame[2], bytes(36_000), OK) for _, frame in asked]
    decided = zip(waiting, verdicts, strict=True)
    world.batch(*(("decide", op.handle, native.DECIDE_ANSWER, 0, 0, answer) for op, answer in decided))
    assert [len(frame[3]) for client in asking for frame in world.take(wide, client)] == [36_000] * len(
        asking
    )
    assert set(world.closed) & set(hogs)
    assert set(world.closed) <= set(hogs)


def test_who_was_over_the_budget_and_has_left_costs_nobody_anything(wide):
    """What it held is nobody's, though its place is free only when the batch ends."""
    world, *_ = used_up(wide)
    leaves, other = world.client(), world.client()
    half = wide.request(1, b"svc m x" + bytes(60_000))[:-1]
    world.batch(("feed", leaves, half), ("error", leaves), ("feed", other, wide.request(1, b"other m x")))
    assert set(world.closed) == {leaves}


def test_the_budget_is_kept_at_a_batchs_end_also_when_nothing_comes_any_more(wide):
    world, hogs, fast, answers = used_up(wide)
    world.batch(("feed", fast, answers[0]))
    assert world.stat("buffer_bytes") <= BUDGET
    assert set(world.closed) & set(hogs)


def test_hogs_pay_also_when_there_is_a_little_room(wide):
    """Too little for a whole buffer: else each further frame would be the last of its batch, for ever."""
    world, hogs, fast, _ = used_up(wide)
    other = world.client()
    world.feed(other, wide.request(5, b"svc m mine"))
    (frame,) = world.take(wide, fast)
    world.stuck.add(other)
    left = BUDGET - world.stat("buffer_bytes") - 8_000
    world.batch(("feed", fast, wide.frame(wide.RESPONSE, frame[2], bytes(left), OK)))
    world.feed(other, wide.request(6, b"other m x"))
    assert set(world.closed) & set(hogs)
    assert set(world.closed) <= set(hogs)


@pytest.mark.parametrize("connections", [2, 16])
def test_a_server_that_reads_nothing_uses_up_what_is_its_own(wide, connections):
    """However much its clients send, and over however many connections: those of other servers go on."""
    limits = {**LIMITS, "buffer": 4 << 20, "upstream_buffer": 1 << 20}
    world = World(table([wide.address], clusters=4, rules=RULES, limits=limits, max_connections=connections))
    other = world.client()
    world.feed(other, wide.request(1, b"other m x"))
    (up,) = world.upstreams
    hogs = [world.client() for _ in range(30)]
    for turn in range(300):
        world.stuck |= set(world.upstreams) - {up}
        world.feed(hogs[turn % len(hogs)], wide.request(turn, b"svc m x" + bytes(60_000)))
    assert len(world.upstreams) == 1 + connections
    refused = {frame[3] for hog in hogs for frame in world.take(wide, hog)}
    assert refused == {b"protokit: every connection is full (cluster c)"}
    others = [other, *(world.client() for _ in range(20))]
    for n, client in enumerate(others[1:]):
        world.feed(client, wide.request(n, b"other m " + bytes(20_000)))
    for frame in world.take(wide, up):
        world.feed(up, wide.frame(wide.RESPONSE, frame[2], bytes(20_000), OK))
    assert [frame[1] for client in others for frame in world.take(wide, client)] == [OK] * len(others)
    assert not world.closed
    for server in world.upstreams:  # it reads again
        world.read(server)
    world.stuck.clear()
    world.batch()
    world.feed(hogs[0], wide.request(999))
    assert world.take(wide, hogs[0]) == []


def test_what_one_batch_asks_of_a_server_goes_on_one_connection(wide):
    """Also where little is free: what was not written yet says nothing of its server."""
    world, hogs, *_ = used_up(wide, max_connections=1)
    clients = [world.client() for _ in range(4)]
    requests = [wide.request(n, b"other m x" + bytes(9_000)) for n in range(4)]
    world.feed(clients[0], wide.request(9, b"other m first"))
    world.batch(*(("feed", one, data) for one, data in zip(clients, requests, strict=True)))
    (up,) = [up for up, (_, port) in world.upstreams.items() if port == OTHER]
    assert len(world.take(wide, up)) == 5
    assert set(world.closed) <= set(hogs)
