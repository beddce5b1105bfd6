"""Frames over the limit and frames that come slowly: they end their own call and nobody else's."""

from __future__ import annotations

import pytest
from world import LIMITS, World, table

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE, DENIED, INTERNAL = range(9)
LIMIT = 1000
TOO_LARGE = b"protokit: the answer of %d bytes is larger than the limit of 1000 bytes"


def answer(toy, frame, body=b"ok"):
    return toy.frame(toy.RESPONSE, frame[2], body)


@pytest.mark.parametrize("kind", ["wide", "narrow", "named", "ordered", "own"])
@pytest.mark.parametrize("cut", [None, 20, 999, 1100, 40_000])
@pytest.mark.parametrize("place", [0, 1])
def test_an_answer_over_the_limit_fails_its_own_call(toys, kind, cut, place):
    toy = toys[kind]
    world = World(table([toy.address], limits={"frame": LIMIT, "client_pause": 1 << 17}))
    clients = [world.client() for _ in range(1 if kind == "own" else 3)]
    for number, client in enumerate(clients):
        for n in range(3 // len(clients)):
            world.feed(client, toy.request(number + 10 * n + 1))
    up = world.only_upstream()
    asked = world.take(toy, up)
    large = answer(toy, asked[place], b"y" * 50_000)
    data = b"".join(large if n == place else answer(toy, frame) for n, frame in enumerate(asked))
    for at in range(0, len(data), cut or len(data)):
        world.feed(up, data[at : at + (cut or len(data))])
    assert up not in world.closed
    got = [frame for client in clients for frame in world.take(toy, client)]
    assert [frame[1] for frame in got] == [INTERNAL if n == place else OK for n in range(3)]
    assert got[place][3] == TOO_LARGE % len(large)
    world.feed(clients[0], toy.request(5))
    (frame,) = world.take(toy, up)
    world.feed(up, answer(toy, frame, b"fine"))
    assert [one[3] for one in world.take(toy, clients[0])] == [b"fine"]
    assert world.stat("requests_active") == 0
    assert world.core.endpoint_stats(0)["active"] == 0


def test_one_at_a_time_an_answer_over_the_limit_leaves_the_connection_for_the_next(toys):
    toy = toys["pingpong"]
    world = World(table([toy.address], limits={"frame": LIMIT}))
    client = world.client()
    world.feed(client, toy.request(0) + toy.request(0))
    up = world.only_upstream()
    (first,) = world.take(toy, up)
    large = answer(toy, first, b"y" * 50_000)
    world.feed(up, large[:3000])
    assert [one[1] for one in world.take(toy, client)] == [INTERNAL]
    world.feed(up, large[3000:])
    (second,) = world.take(toy, up)
    world.feed(up, answer(toy, second, b"fine"))
    assert [one[3] for one in world.take(toy, client)] == [b"fine"]


def test_what_follows_is_not_framed_from_the_middle(wide):
    """The large answer holds what looks like an answer to the other call."""
    world = World(table([wide.address], limits={"frame": LIMIT}))
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2))
    up = world.only_upstream()
    first, second = world.take(wide, up)
    forged = answer(wide, second, b"forged")
    large = answer(wide, first, (forged * 3000)[:50_000])
    for at in range(0, len(large), 997):
        world.feed(up, large[at : at + 997])
    world.feed(up, answer(wide, second, b"true"))
    assert [(one[1], one[3][:8]) for one in world.take(wide, client)] == [
        (INTERNAL, b"protokit"),
        (OK, b"true"),
    ]


def test_a_large_answer_that_nobody_waits_for_is_skipped(wide):
    world = World(table([wide.address], limits={"frame": LIMIT}))
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2))
    up = world.only_upstream()
    first, second = world.take(wide, up)
    world.feed(up, answer(wide, (0, 0, first[2] + 999, b""), b"y" * 50_000) + answer(wide, second))
    assert [one[2] for one in world.take(wide, client)] == [2]
    assert world.stat("answers_unmatched") == 1


def test_a_large_request_of_a_pinned_server_is_answered(wide):
    world = World(table([wide.address], pinned=True, limits={"frame": LIMIT}))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (frame,) = world.take(wide, up)
    world.feed(up, wide.request(77, b"z" * 3000) + answer(wide, frame))
    ((kind, status, number, text),) = world.take(wide, up)
    assert (kind, status, number) == (wide.RESPONSE, BAD_REQUEST, 77)
    assert text == b"protokit: the request of 3013 bytes is larger than the limit of 1000 bytes"
    assert [one[2] for one in world.take(wide, client)] == [1]


def test_a_skipped_frame_takes_no_memory_and_its_server_has_the_time_that_any_frame_has(wide):
    world = World(table([wide.address], limits={"frame": LIMIT, "request_ms": 30_000}))
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2))
    up = world.only_upstream()
    first, _ = world.take(wide, up)
    large = answer(wide, first, b"y" * 50_000)
    before = None
    for at in range(0, 40_000, 10_000):
        world.feed(up, large[at : at + 10_000])
        world.take(wide, client)
        before = before or world.stat("buffer_bytes")
        assert world.stat("buffer_bytes") == before
        world.wait(LIMITS["frame_ms"] - 100)
    assert up not in world.closed
    world.wait(LIMITS["frame_ms"])
    assert up in world.closed
    ((_, status, number, text),) = world.take(wide, client)
    assert (status, number) == (UNAVAILABLE, 2)
    assert text == (
        b"protokit: the connection was lost to 127.0.0.1:9000 (cluster c) after the request was sent: "
        b"protokit closed it: half a frame came, and then nothing for 2000 ms"
    )


def test_once_a_frame_was_skipped_its_time_is_over(wide):
    world = World(table([wide.address], limits={"frame": LIMIT, "request_ms": 30_000}))
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2))
    up = world.only_upstream()
    large, small = (frame[2] for frame in world.take(wide, up))
    data = wide.frame(wide.RESPONSE, large, bytes(5000))
    world.feed(up, data[:2000])
    world.wait(10)
    world.feed(up, data[2000:])
    world.wait(4 * LIMITS["frame_ms"])
    assert up not in world.closed
    world.feed(up, wide.frame(wide.RESPONSE, small, b"ok"))
    assert [frame[2] for frame in world.take(wide, client)] == [1, 2]


class TestSlowAnswers:
    def start(self, wide, request_ms=60_000, **more):
        world = World(table([wide.address], limits={"request_ms": request_ms, "frame": 60_000, **more}))
        client = world.client()
        world.feed(client, wide.request(1, b"svc m x"))
        up = world.only_upstream()
        (frame,) = world.take(wide, up)
        return world, client, up, answer(wide, frame, b"y" * 50_000)

    def trickle(self, world, up, data, ms):
        """A byte at a time, so many ms apart, until the connection is closed."""
        sent = 0
        while sent < len(data) and up not in world.closed:
            world.feed(up, data[sent : sent + 1])
            sent += 1
            world.wait(ms)
        return sent

    def test_one_that_makes_progress_is_not_cut(self, wide):
        world, client, up, data = self.start(wide)
        for at in range(0, len(data), 5000):
            world.feed(up, data[at : at + 5000])
            world.wait(LIMITS["frame_ms"] - 100)
        assert [one[1] for one in world.take(wide, client)] == [OK]

    def test_one_that_stops_is_cut_and_the_text_says_who_cut_it(self, wide):
        world, client, up, data = self.start(wide)
        world.feed(up, data[:5000])
        world.wait(LIMITS["frame_ms"] + 10)
        assert up in world.closed
        ((_, status, _, text),) = world.take(wide, client)
        assert status == UNAVAILABLE
        assert text == (
            b"protokit: the connection was lost to 127.0.0.1:9000 (cluster c) after the request was sent: "
            b"protokit closed it: half a frame came, and then nothing for 2000 ms"
        )

    def test_one_that_drips_is_cut_when_nobody_can_wait_for_it_any_more(self, wide):
        world, client, up, data = self.start(wide, request_ms=5000)
        world.feed(client, wide.request(2, b"svc m x"))
        assert self.trickle(world, up, data, 1000) <= 7
        assert [one[1] for one in world.take(wide, client)] == [TIMEOUT, TIMEOUT]

    def test_calls_that_come_later_do_not_prolong_it(self, wide):
        world, client, up, data = self.start(wide, request_ms=5000)
        for n in range(7):
            world.feed(client, wide.request(10 + n))
            world.take(wide, up)
            if up in world.closed:
                break
            world.feed(up, data[n : n + 1])
            world.wait(1000)
        assert up in world.closed


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (b"nonsense" * 5, b"what came is no frame of its protocol, wrong at byte 0"),
        (None, b"it was silent, and did not answer a heartbeat either"),
    ],
)
def test_a_text_says_that_the_proxy_closed_and_why(wide, what, why):
    world = World(table([wide.address], limits={"request_ms": 60_000}))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    if what is not None:
        world.feed(up, what)
    else:  # of a server that has answered heartbeats before
        world.wait(LIMITS["probe_ms"] + 10)
        beat = world.take(wide, up)[-1]
        assert beat[0] == wide.HEARTBEAT
        world.feed(up, wide.frame(wide.HEARTBEAT_ACK, beat[2]))
        world.wait(LIMITS["probe_ms"] * 2 + 100)
    ((_, status, _, text),) = world.take(wide, client)
    assert status == UNAVAILABLE
    head = b"protokit: the connection was lost to 127.0.0.1:9000 (cluster c) after the request was sent: "
    assert text == head + b"protokit closed it: " + why


def test_a_text_says_that_the_server_closed(wide):
    world = World(table([wide.address]))
    client = world.client()
    world.feed(client, wide.request(1))
    world.batch(("error", world.only_upstream()))
    ((_, _, _, text),) = world.take(wide, client)
    assert text == (
        b"protokit: the connection was lost to 127.0.0.1:9000 (cluster c) after the request was sent"
    )


def test_one_batch_handles_so_many_frames_and_then_writes(wide):
    """256 sockets with 64 KiB each would else be framed, all of them, before the first answer is written."""
    world = World(table([wide.address], limits={"client_pause": 1 << 20}))
    clients = [world.client() for _ in range(40)]
    world.core.begin(world.now)
    for client in clients:
        world.core.feed(client, wide.frame(wide.HEARTBEAT, 1) * 500)
    world.core.end()
    assert 1 <= world.stat("heartbeats_received") <= 8192
    world._settle()
    assert world.stat("heartbeats_received") == 40 * 500
    assert [len(world.take(wide, client)) for client in clients] == [500] * 40


REQUEST_TOO_LARGE = b"protokit: the frame is larger than the limit of 1000 bytes"


@pytest.mark.parametrize("kind", ["wide", "narrow", "named", "ordered", "pingpong", "own", "polite"])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("cut", [None, 7, 20, 999, 1100, 40_000])
@pytest.mark.parametrize("before", [0, 2])
def test_a_request_over_the_limit_is_refused_with_the_reason_and_harms_nobody(
    toys, kind, pinned, cut, before
):
    """What the client asked before is answered, then the reason, then it hears the end."""
    toy = toys[kind]
    world = World(table([toy.address], pinned=pinned, limits={"frame": LIMIT, "client_pause": 1 << 17}))
    client, other = world.client(), world.client()
    for one in (client, other):
        world.feed(one, toy.greet("client"))

    def greeted():
        for up in set(world.upstreams) - seen:
            seen.add(up)
            world.feed(up, toy.greet("server"))

    seen = set()
    world.feed(other, toy.request(77, b"svc m other"))
    greeted()
    data = b"".join(toy.request(n + 1, b"svc m %d" % n) for n in range(before))
    data += toy.request(50, b"svc m " + b"z" * 50_000)
    most, asked = 0, []
    for at in range(0, len(data), cut or len(data)):
        world.feed(client, data[at : at + (cut or len(data))])
        greeted()
        most = max(most, world.stat("buffer_bytes"))
    for _ in range(before + 1):  # one at a time, where it has to be so
        for up in list(world.upstreams):
            for frame in world.take(toy, up):
                if frame[0] == toy.REQUEST:
                    asked.append(frame[3])
                    world.feed(up, answer(toy, frame, frame[3]))
    assert sorted(asked) == sorted([b"svc m other", *(b"svc m %d" % n for n in range(before))])
    got = [frame for frame in world.take(toy, client) if frame[0] == toy.RESPONSE]
    texts = [frame[3] for frame in got]
    expected = [*(b"svc m %d" % n for n in range(before)), REQUEST_TOO_LARGE]
    assert (texts if kind in {"ordered", "pingpong"} else sorted(texts, reverse=True)) == (
        expected if kind in {"ordered", "pingpong"} else sorted(expected, reverse=True)
    )
    assert [frame[1] for frame in got if frame[3] == REQUEST_TOO_LARGE] == [BAD_REQUEST]
    if toy.id_bytes:
        assert [frame[2] for frame in got if frame[3] == REQUEST_TOO_LARGE] == [50]
    assert client in world.closed
    assert other not in world.closed
    assert [frame[3] for frame in world.take(toy, other) if frame[0] == toy.RESPONSE] == [b"svc m other"]
    assert most < 200_000
    assert world.stat("buffer_bytes") == world.stat("requests_active") == 0
