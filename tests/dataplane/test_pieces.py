"""Messages in pieces, between a client and a connection of its own: order, room, and what ends them."""

from __future__ import annotations

import pytest
from course import Course
from world import LIMITS

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)
KINDS = ["wide", "narrow", "named", "own", "ordered", "pingpong"]
WITH_IDS = ["wide", "narrow", "named", "own"]
TIME = LIMITS["request_ms"]


@pytest.fixture(params=KINDS)
def toy(request, toys):
    return toys[request.param]


@pytest.fixture(params=WITH_IDS)
def with_ids(request, toys):
    return toys[request.param]


class Pieces(Course):
    def __init__(self, toy, **more) -> None:
        super().__init__(toy, pinned=True, **more)

    def begin(self, body=b"svc m first", number=5, kind=None):
        self.send(body, number=number, kind=self.toy.REQUEST if kind is None else kind)

    def send(self, body, *, more=True, number=5, kind=None, client=None):
        kind = self.toy.PIECE if kind is None else kind
        frame = self.toy.frame(kind, number, body, self.toy.MORE if more else 0)
        self.world.feed(self.client if client is None else client, frame)

    def own(self):
        return self.world.only_upstream()

    def got(self, up=None):
        """(kind, more, body) of what its server got."""
        frames = self.world.take(self.toy, self.own() if up is None else up)
        return [(kind, bool(status & self.toy.MORE), body) for kind, status, _, body in frames]


def test_pieces_follow_their_request_to_the_same_server_in_order(toy):
    course = Pieces(toy)
    course.begin()
    assert course.got() == [(toy.REQUEST, True, b"svc m first")]
    for n in range(5):
        course.send(b"%d" % n, more=n < 4)
        assert course.got() == [(toy.PIECE, n < 4, b"%d" % n)]
    course.say(5 if toy.id_bytes else 0, b"done", more=False, up=course.own())
    assert course.bodies() == [b"done"]
    assert course.world.stat("parts") == 6
    # All in one, and the next one behind it.
    course.world.feed(
        course.client,
        toy.frame(toy.REQUEST, 6, b"svc m next", toy.MORE)
        + toy.frame(toy.PIECE, 6, b"a", toy.MORE)
        + toy.frame(toy.PIECE, 6, b"b")
        + toy.request(7, b"svc m third"),
    )
    course.world.wait(1)
    texts = [body for _, _, body in course.got()]
    assert texts[:3] == [b"svc m next", b"a", b"b"]
    if toy.name == "pingpong":  # one at a time
        assert texts[3:] == []
        course.say(0, b"done", more=False, up=course.own())
        texts += [body for _, _, body in course.got()]
    assert texts[3:] == [b"svc m third"]


def test_pieces_of_several_requests_mix_where_there_are_ids(with_ids):
    course = Pieces(with_ids)
    course.begin(b"svc m 1", number=1)
    course.begin(b"svc m 2", number=2)
    course.send(b"1 a", number=1)
    course.send(b"2 a", number=2, more=False)
    course.send(b"1 b", number=1, more=False)
    assert [body for _, _, body in course.got()] == [b"svc m 1", b"svc m 2", b"1 a", b"2 a", b"1 b"]


def test_pieces_go_to_their_own_cluster(with_ids):
    course = Pieces(with_ids, clusters=2, rules=[("svc", "*"), ("two", "*", 1)])
    course.begin(b"svc m 1", number=1)
    first = course.own()
    course.begin(b"two m 2", number=2)
    [second] = set(course.world.upstreams) - {first}
    course.send(b"1 a", number=1)
    course.send(b"2 a", number=2)
    course.send(b"1 b", number=1, more=False)
    course.send(b"2 b", number=2, more=False)
    assert [body for _, _, body in course.got(first)] == [b"svc m 1", b"1 a", b"1 b"]
    assert [body for _, _, body in course.got(second)] == [b"two m 2", b"2 a", b"2 b"]


def test_one_way_requests_come_in_pieces_too(with_ids):
    course = Pieces(with_ids)
    course.begin(kind=with_ids.ONEWAY)
    course.send(b"a")
    course.send(b"b", more=False)
    assert [body for _, _, body in course.got()] == [b"svc m first", b"a", b"b"]
    assert course.world.stat("requests_active") == 0


def test_while_the_connection_opens_pieces_wait_unread(toy):
    course = Pieces(toy, rules=[("svc", "*"), ("two", "*")])
    course.world.connect = "wait"
    course.world.batch(("error", course.client))
    course.client = course.world.client()
    course.world.opening = [one for one in course.world.opening if one in course.world.upstreams]
    course.begin()
    course.send(b"a")
    course.send(b"b")
    assert course.client in course.world.paused
    before = course.world.stat("buffer_bytes")
    course.world.opened(course.world.opening[0])
    course.world.wait(1)
    assert course.client not in course.world.paused
    assert [body for _, _, body in course.got()] == [b"svc m first", b"a", b"b"]
    assert course.world.stat("buffer_bytes") < before


def test_while_a_filter_thinks_pieces_wait_unread(toy):
    course = Pieces(toy, plan={"filter_chain": 0})
    course.begin()
    course.send(b"a")
    course.send(b"b")
    assert course.client in course.world.paused
    [op] = course.world.filters
    course.world.batch(("decide", op.handle, 0))
    course.world.wait(1)
    assert [body for _, _, body in course.got()] == [b"svc m first", b"a", b"b"]
    course.send(b"c", more=False)
    assert [body for _, _, body in course.got()] == [b"c"]


def test_pieces_of_a_request_that_a_filter_refused_are_dropped(toy):
    course = Pieces(toy, plan={"filter_chain": 0})
    course.begin()
    course.send(b"a")
    [op] = course.world.filters
    course.world.batch(("decide", op.handle, 2, 0, 7, b"denied"))
    course.world.wait(1)
    assert [(one[1], one[3]) for one in course.heard()] == [(7, b"denied")]
    course.send(b"b", more=False)
    assert course.world.upstreams == {}
    course.world.feed(course.client, toy.request(6, b"svc m next"))
    [_, op] = course.world.filters
    course.world.batch(("decide", op.handle, 0))
    assert course.got() == [(toy.REQUEST, False, b"svc m next")]


def test_while_a_delay_runs_pieces_wait_unread(toy):
    course = Pieces(toy, plan={"delay_ms": 100})
    course.begin()
    course.send(b"a")
    assert course.client in course.world.paused
    course.world.wait(150)
    assert [body for _, _, body in course.got()] == [b"svc m first", b"a"]


def test_no_route_answers_at_once_and_the_rest_is_dropped(toy):
    course = Pieces(toy, rules=[("svc", "*")])
    course.begin(b"other m x")
    assert [one[1] for one in course.heard()] == [NO_SERVICE]
    course.send(b"a")
    course.send(b"b", more=False)
    assert course.client not in course.world.closed
    course.ask(b"svc m next", number=6)
    course.say(6 if toy.id_bytes else 0, b"fine", more=False)
    assert course.bodies() == [b"fine"]


@pytest.mark.parametrize("kind", ["wide", "narrow", "named", "ordered", "pingpong"])
def test_on_a_shared_connection_it_is_refused_and_its_pieces_are_dropped(toys, kind):
    toy = toys[kind]
    course = Course(toy)
    world, client = course.world, course.client
    world.feed(client, toy.frame(toy.REQUEST, 5, b"svc m x", toy.MORE))
    [(what, status, _, text)] = course.heard()
    assert (what, status) == (toy.RESPONSE, BAD_REQUEST)
    assert text == b"protokit: a request in pieces needs 'mode: pinned' on listener 'in'"
    world.feed(client, toy.frame(toy.PIECE, 5, b"a", toy.MORE) + toy.frame(toy.PIECE, 5, b"b"))
    assert world.upstreams == {}
    number = course.ask(number=6)
    course.say(number, b"fine", more=False)
    assert course.bodies() == [b"fine"]


def test_a_piece_of_nothing_is_malformed(toy):
    course = Pieces(toy)
    number = course.ask()
    course.send(b"what", number=8)
    course.say(number, b"asked before", more=False)
    assert course.bodies() == [b"asked before"]
    assert course.world.stat("protocol_errors_client") == 1
    assert course.client in course.world.closed


def test_a_request_answered_early_has_the_rest_of_it_sent_to_its_server(toy):
    """Which waits for it: without ids it would else take the next request for a piece."""
    course = Pieces(toy)
    number = course.id()
    course.begin()
    up = course.own()
    course.got()
    course.say(number, b"too large", more=False, up=up)
    assert course.bodies() == [b"too large"]
    course.send(b"a")
    course.send(b"b", more=False)
    course.ask(b"svc m next", number=6) if toy.id_bytes else course.world.feed(
        course.client, toy.request(6, b"svc m next")
    )
    if not toy.id_bytes:
        assert [body for _, _, body in course.got(up)] == [b"a", b"b", b"svc m next"]
    assert course.client not in course.world.closed


def test_time_runs_anew_with_each_piece(toy):
    course = Pieces(toy)
    course.begin()
    for _ in range(6):
        course.world.wait(TIME - 200)
        course.send(b"x")
    course.send(b"end", more=False)
    course.world.wait(TIME - 200)
    course.say(course.id(), b"done", more=False, up=course.own())
    assert course.bodies() == [b"done"]


def test_silence_ends_a_request_in_pieces(toy):
    course = Pieces(toy)
    course.begin()
    course.send(b"a")
    up = course.own()
    course.world.wait(TIME + 100)
    assert [one[1] for one in course.heard()] == [TIMEOUT]
    course.send(b"b")
    course.send(b"c", more=False)
    if toy.id_bytes:  # the server hears the message to its end, and its answer goes nowhere
        assert [body for _, _, body in course.got(up)][-2:] == [b"b", b"c"]
        course.say(5, b"late", more=False, up=up)
        assert course.heard() == []
        assert course.world.stat("answers_unmatched") == 1
    else:
        assert up in course.world.closed


def test_a_request_in_pieces_is_sent_once(toy):
    plan = {"attempts": 3, "retry_on": 15, "idempotent": True}
    course = Pieces(toy, plan=plan, endpoints=2)
    course.begin()
    course.send(b"a")
    course.say(course.id(), b"busy", status=OVERLOADED, more=False, up=course.own())
    assert [(one[1], one[3]) for one in course.heard()] == [(OVERLOADED, b"busy")]
    assert course.world.stat("retries") == 0
    assert len(course.world.upstreams) == 1


def test_its_bytes_are_not_kept(toys):
    plan = {"attempts": 3, "retry_on": 15, "idempotent": True}
    course = Pieces(toys["wide"], plan=plan)
    course.begin(b"svc m " + b"x" * 3000)
    assert course.world.stat("buffer_bytes") == 0
    course.ask(b"svc m " + b"x" * 3000, number=6)
    assert course.world.stat("buffer_bytes") == 0  # nor those of others on a client's own connection


def test_its_server_is_lost_in_the_middle(toy):
    course = Pieces(toy)
    course.begin()
    course.send(b"a")
    course.world.batch(("error", course.own()))
    assert course.world.stat("errors_unavailable") == 1
    course.send(b"b", more=False)
    assert course.world.stat("requests_active") == 0
    assert course.world.upstreams == {}


def test_a_client_that_leaves_in_the_middle_ends_its_server_connection(toy):
    course = Pieces(toy)
    course.begin()
    course.send(b"a")
    up = course.own()
    course.world.batch(("error", course.client))
    assert up in course.world.closed
    assert course.world.stat("requests_active") == 0


def test_messages_begun_and_not_ended_are_bounded(with_ids):
    course = Pieces(with_ids, limits={"in_flight_per_connection": 10})
    for n in range(11):
        course.begin(number=20 + n)
        for up in list(course.world.upstreams):  # the last one ends it
            course.say(20 + n, b"early", more=False, up=up)
    got = course.heard()
    assert [one[1] for one in got] == [OK] * 10 + [BAD_REQUEST]
    assert b"too many" in got[-1][3]
    assert course.client in course.world.closed


def test_the_id_of_a_message_that_has_not_ended_is_not_used_again(with_ids):
    course = Pieces(with_ids)
    course.begin()
    course.begin()
    assert b"could not be told" in course.heard()[-1][3]
    assert course.world.stat("requests") == 2


@pytest.mark.parametrize("kind", ["ordered", "pingpong"])
def test_without_ids_nothing_comes_in_the_middle_of_a_request(toys, kind):
    toy = toys[kind]
    course = Pieces(toy)
    course.begin()
    course.world.feed(course.client, toy.request(0, b"svc m between"))
    assert [body for _, _, body in course.got()] == [b"svc m first"]
    course.say(0, b"first", more=False, up=course.own())
    statuses = [(one[1], one[3]) for one in course.heard()]
    assert statuses[0] == (OK, b"first")
    assert statuses[1][0] == BAD_REQUEST
    assert course.client in course.world.closed


@pytest.mark.parametrize("kind", ["ordered", "pingpong"])
def test_without_ids_nothing_comes_in_the_middle_of_a_request_but_behind_it(toys, kind):
    toy = toys[kind]
    course = Pieces(toy)
    course.begin()
    course.send(b"end", more=False)
    course.world.feed(course.client, toy.request(0, b"svc m behind"))
    course.say(0, b"first", more=False, up=course.own())
    course.say(0, b"second", more=False, up=course.own())
    assert course.bodies() == [b"first", b"second"]
    course.send(b"and more")
    assert course.world.stat("protocol_errors_client") == 1


# Room.


def test_a_server_that_does_not_read_holds_up_its_client_and_nobody_else(toy):
    course = Pieces(toy)
    world = course.world
    course.begin()
    up = course.own()
    world.stuck.add(up)
    for _ in range(100):
        if course.client in world.paused:
            break
        course.send(b"x" * 1000)
    assert course.client in world.paused
    waits = len(world.core.out(up, 1 << 30))
    assert waits <= LIMITS["upstream_buffer"] + 2000
    world.stuck.clear()
    world.read(up)
    world.batch()
    world.wait(1)
    assert course.client not in world.paused
    course.send(b"end", more=False)
    course.world.batch()
    assert course.got(up)[-1] == (toy.PIECE, False, b"end")


def test_a_server_that_is_lost_while_its_client_is_held_up(toy):
    course = Pieces(toy)
    world = course.world
    course.begin()
    up = course.own()
    world.stuck.add(up)
    while course.client not in world.paused:
        course.send(b"x" * 1000)
    world.batch(("error", up))
    world.wait(1)
    assert [one[1] for one in course.heard()] == [UNAVAILABLE]
    world.wait(LIMITS["frame_ms"] + 2000)
    assert course.client in world.closed
    assert world.stat("buffer_bytes") == 0


def test_a_client_that_does_not_read_holds_up_its_own_server(toy):
    course = Pieces(toy)
    number = course.ask()
    world, up = course.world, course.up
    world.feed(up, toy.frame(toy.HEARTBEAT_ACK))  # one that answers them: silence would be proof
    world.stuck.add(course.client)
    sent = 0
    while up not in world.paused:
        course.say(number, b"%d " % sent + b"x" * 500)
        sent += 1
        assert sent < 100
    assert course.client not in world.closed
    waits = len(world.core.out(course.client, 1 << 30))
    assert waits <= LIMITS["client_pause"] + 1000
    # Time stands still: its server is not silent, it is not read.
    for _ in range(6):
        world.wait(TIME - 500)
        world.read(course.client, 1)
        world.batch()
    assert up in world.upstreams
    assert course.client not in world.closed
    world.stuck.clear()
    world.read(course.client)
    world.batch()
    world.wait(1)
    assert up not in world.paused
    course.say(number, b"end", more=False)
    got = course.bodies()
    assert len(got) == sent + 1
    assert got[-1] == b"end"
    assert [int(one.split(b" ")[0]) for one in got[:-1]] == list(range(sent))


def test_a_client_that_takes_nothing_at_all_has_no_more_time(toy):
    course = Pieces(toy)
    number = course.ask()
    world = course.world
    world.stuck.add(course.client)
    while course.up not in world.paused:
        course.say(number, b"x" * 500)
    world.wait(TIME + 100)
    assert world.stat("requests_active") == 0
    assert world.stat("errors_timeout") == 1


def test_it_is_read_on_when_half_has_gone(toy):
    course = Pieces(toy)
    number = course.ask()
    world, up = course.world, course.up
    world.stuck.add(course.client)
    while up not in world.paused:
        course.say(number, b"x" * 500)
    waits = len(world.core.out(course.client, 1 << 30))
    world.read(course.client, waits - LIMITS["client_pause"] // 2 - 1)
    world.batch()
    world.wait(1)
    assert up in world.paused
    world.read(course.client, 1)
    world.batch()
    world.wait(1)
    assert up not in world.paused


def test_of_two_clients_the_slow_one_holds_up_nobody_else(toy):
    course = Pieces(toy)
    other = course.world.client()
    number = course.ask()
    world, up = course.world, course.up
    world.stuck.add(course.client)
    while up not in world.paused:
        course.say(number, b"x" * 500)
    mine = course.ask(b"svc m other", client=other, number=6)
    assert course.up not in world.paused
    course.say(mine, b"fine", more=False)
    assert course.bodies(other) == [b"fine"]


# The other way: servers ask in pieces, clients answer in pieces.


@pytest.mark.parametrize("kind", WITH_IDS)
def test_a_servers_request_in_pieces_and_its_answer_in_pieces(toys, kind):
    toy = toys[kind]
    course = Pieces(toy)
    course.ask()
    up = course.up
    course.say(9, b"call", kind=toy.REQUEST)
    course.say(9, b"a", kind=toy.PIECE)
    course.say(9, b"b", kind=toy.PIECE, more=False)
    assert [(one[0], one[2], one[3]) for one in course.heard()] == [
        (toy.REQUEST, 9, b"call"),
        (toy.PIECE, 9, b"a"),
        (toy.PIECE, 9, b"b"),
    ]
    course.send(b"x", number=9, kind=toy.RESPONSE)
    course.send(b"y", number=9)
    course.send(b"z", number=9, kind=toy.RESPONSE, more=False)
    assert [body for _, _, body in course.got(up)] == [b"x", b"y", b"z"]
    assert course.world.stat("answers_unmatched") == 0
    course.say(5, b"answer", more=False, up=up)
    assert course.bodies() == [b"answer"]


def test_several_answers_to_the_right_one_of_two_servers(with_ids):
    toy = with_ids
    course = Pieces(toy, clusters=2, rules=[("svc", "*"), ("two", "*", 1)])
    course.ask(b"svc m 1", number=1)
    first = course.up
    course.ask(b"two m 2", number=2)
    second = course.up
    course.say(9, b"call", kind=toy.REQUEST, more=False, up=second)
    course.send(b"x", number=9, kind=toy.RESPONSE)
    course.send(b"y", number=9, kind=toy.RESPONSE, more=False)
    assert course.got(first) == []
    assert [body for _, _, body in course.got(second)] == [b"x", b"y"]


def test_a_servers_pieces_are_its_requests_though_an_answer_has_the_same_id(with_ids):
    toy = with_ids
    course = Pieces(toy)
    course.ask()
    course.say(5, b"call", kind=toy.REQUEST)
    course.say(5, b"a", kind=toy.PIECE, more=False)
    assert course.world.stat("requests_active") == 1
    course.say(5, b"answer", more=False)
    assert course.bodies() == [b"call", b"a", b"answer"]
    assert course.world.stat("requests_active") == 0


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong", "named"])
def test_a_refused_request_of_a_shared_server_takes_its_pieces_along(toys, kind):
    """Without ids they would else be taken for a part of an answer."""
    toy = toys[kind]
    course = Course(toy)
    number = course.ask()
    course.say(number, b"call", kind=toy.REQUEST)
    course.say(number, b"a", kind=toy.PIECE)
    course.say(number, b"b", kind=toy.PIECE, more=False)
    course.say(number, b"answer", more=False)
    assert course.bodies() == [b"answer"]
    assert [one[:2] for one in course.world.take(toy, course.up)] == [(toy.RESPONSE, BAD_REQUEST)]
    assert course.world.stat("answers_unmatched") == 0


def test_a_server_begins_no_messages_without_end(with_ids):
    toy = with_ids
    course = Pieces(toy, limits={"in_flight_per_connection": 10})
    course.ask()
    for n in range(11):
        course.say(20 + n, b"call", kind=toy.REQUEST)
    assert course.up in course.world.closed
    assert course.world.stat("protocol_errors_upstream") == 1


def test_a_server_that_asks_in_pieces_is_held_up_by_a_client_that_does_not_read(with_ids):
    toy = with_ids
    course = Pieces(toy)
    course.ask()
    world, up = course.world, course.up
    world.stuck.add(course.client)
    course.say(9, b"call", kind=toy.REQUEST)
    for _ in range(100):
        if up in world.paused:
            break
        course.say(9, b"x" * 500, kind=toy.PIECE)
    assert up in world.paused
    assert course.client not in world.closed


def test_a_shutdown_in_the_middle(toy):
    course = Pieces(toy)
    course.begin()
    course.send(b"a")
    course.world.batch(("shutdown",))
    course.world.wait(LIMITS["frame_ms"] + 1000)
    assert course.world.stat("requests_active") == 0
    assert course.world.stat("buffer_bytes") == 0
    assert course.client in course.world.closed


def test_what_a_server_said_before_its_end_is_passed_on_though_it_is_held_up(toy):
    course = Pieces(toy)
    number = course.ask()
    world, up = course.world, course.up
    world.stuck.add(course.client)
    parts = [toy.frame(toy.RESPONSE, number, b"%d" % n + b"x" * 400, toy.MORE) for n in range(40)]
    world.batch(("feed", up, b"".join(parts) + toy.frame(toy.PIECE, number, b"end")), ("eof", up))
    assert up in world.upstreams
    world.stuck.clear()
    for _ in range(20):
        world.read(course.client)
        world.batch()
        world.wait(1)
    assert len(course.bodies()) == 41
    assert up in world.closed
