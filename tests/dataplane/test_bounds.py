"""What is given back, what grows, and what is not used again: the small things that a fault starts with."""

from __future__ import annotations

import pytest
from world import LIMITS, World, answer, table

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)
RETRY_RESET = 2


def port(world, upstream):
    return world.upstreams[upstream][1]


def test_a_place_among_connections_is_free_when_a_client_has_left(wide):
    world = World(table([wide.address], limits={"connections": 2}))
    for turn in range(6):
        clients = [world.client(), world.client()]
        assert all(clients)
        assert world.client() == 0
        for client in clients:
            world.batch(("error", client) if turn % 2 else ("eof", client))
    assert world.stat("connections_active") == 0


@pytest.mark.parametrize("before", range(8))
def test_a_retry_goes_where_it_has_not_failed(wide, before):
    plan = {"attempts": 2, "retry_on": RETRY_RESET, "idempotent": True}
    world = World(table([wide.address], endpoints=2, weights=[50, 1], plan=plan))
    client = world.client()
    for n in range(before + 1):
        world.feed(client, wide.request(n))
        (up,) = [one for one in world.upstreams if (asked := world.take(wide, one))]
        if n < before:
            answer(world, wide, up, asked[0])
    failed = port(world, up)
    world.batch(("error", up))
    (second,) = [one for one in world.upstreams if (asked := world.take(wide, one))]
    assert port(world, second) != failed
    answer(world, wide, second, asked[0])
    assert [frame[1] for frame in world.take(wide, client)] == [OK] * (before + 1)


def test_a_connection_that_drains_gets_no_more_also_where_it_is_the_only_endpoints(wide):
    world = World(table([wide.address]))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (asked,) = world.take(wide, up)
    world.feed(up, wide.frame(wide.DRAIN))
    for n in range(2, 6):
        world.feed(client, wide.request(n))
    assert world.take(wide, up) == []
    assert [frame[0] for frame in world.take(wide, client)] == []
    others = [one for one in world.upstreams if one != up]
    assert sum(len(world.take(wide, one)) for one in others) == 4
    answer(world, wide, up, asked)
    assert [frame[2] for frame in world.take(wide, client)] == [1]


def test_an_endpoint_that_drains_is_left_alone_while_there_is_another(wide):
    world = World(table([wide.address], endpoints=2))
    client = world.client()
    for n in range(2):
        world.feed(client, wide.request(n))
    draining, other = world.upstreams
    where = port(world, other)
    for up in (draining, other):
        for frame in world.take(wide, up):
            answer(world, wide, up, frame)
    world.feed(draining, wide.frame(wide.DRAIN))
    for n in range(8):
        world.feed(client, wide.request(n))
    assert {address[1] for address in world.upstreams.values()} == {where}
    assert len(world.take(wide, other)) == 8


def test_a_frame_that_came_whole_has_all_the_time_for_the_next(wide):
    world = World(table([wide.address]))
    client = world.client()
    for n in range(4):
        data = wide.request(n)
        world.feed(client, data[:6])
        world.wait(LIMITS["frame_ms"] // 2)
        world.feed(client, data[6:])
        up = world.only_upstream()
        (frame,) = world.take(wide, up)
        answer(world, wide, up, frame)
        world.wait(LIMITS["frame_ms"] // 4)
    world.wait(2 * LIMITS["frame_ms"])
    assert len(world.take(wide, client)) == 4
    assert client not in world.closed
    assert world.stat("closed_half_frame") == 0


@pytest.mark.parametrize("many", [15, 16, 17, 31, 32, 33, 100])
def test_of_requests_under_one_id_each_gets_its_own_answer_however_many_there_are(wide, many):
    """On a pinned connection ids are the client's, which may send the same one always."""
    limits = {"in_flight_per_connection": 200, "upstream_in_flight": 200}
    world = World(table([wide.address], pinned=True, limits=limits))
    client = world.client()
    world.batch(*(("feed", client, wide.request(n % 2, b"svc m %d" % n)) for n in range(many)))
    up = world.only_upstream()
    frames = world.take(wide, up)
    assert [frame[3] for frame in frames] == [b"svc m %d" % n for n in range(many)]
    for done, frame in enumerate(frames):
        # A timer knows whose answer came: the ones that are left are counted, and none waits in vain.
        answer(world, wide, up, frame, frame[3])
        assert world.stat("requests_active") == many - done - 1
    assert [frame[2:] for frame in world.take(wide, client)] == [frame[2:] for frame in frames]


@pytest.mark.parametrize("many", [20, 40])
def test_of_equal_ids_the_oldest_is_answered_first_also_when_places_were_added(wide, many):
    limits = {"in_flight_per_connection": 200, "upstream_in_flight": 200, "request_ms": 1000}
    world = World(table([wide.address], pinned=True, limits=limits))
    client = world.client()
    for n in range(many):
        world.feed(client, wide.request(0, b"svc m %d" % n))
        world.wait(10)
    up = world.only_upstream()
    frames = world.take(wide, up)
    for frame in frames[: many - 1]:
        answer(world, wide, up, frame, frame[3])
    # Only the youngest is left: the time of all others but its own has passed.
    world.wait(1000 - 20)
    assert len(world.take(wide, client)) == many - 1
    assert world.stat("errors_timeout") == 0
    world.wait(20)
    assert world.stat("errors_timeout") == 1


def test_what_filters_held_is_given_back_whatever_they_decide(wide):
    size = 1000
    room = {"buffer": 40_000, "frame": 2000, "client_pause": 2000, "filters": 100}
    world = World(table([wide.address], plan={"filter_chain": 0}, limits=room))
    for turn in range(20):
        client = world.client()
        for n in range(3):
            world.feed(client, wide.request(n, b"svc m " + bytes(size)))
        waiting, world.filters = world.filters, []
        assert len(waiting) == 3, f"turn {turn}"
        for op in waiting:
            world.batch(("decide", op.handle, 2, 0, UNAVAILABLE, b"no"))
        assert [frame[1] for frame in world.take(wide, client)] == [UNAVAILABLE] * 3
        world.batch(("error", client))


def test_what_a_client_that_has_left_asked_holds_nothing(wide):
    world = World(table([wide.address], limits={"upstream_in_flight": 4}, max_connections=1))
    for _ in range(5):
        client = world.client()
        world.batch(*(("feed", client, wide.request(n)) for n in range(4)))
        assert world.stat("requests_active") == 4
        world.batch(("error", client))
        assert world.stat("requests_active") == 0
    other = world.client()
    world.feed(other, wide.request(1))
    up = world.only_upstream()
    answer(world, wide, up, world.take(wide, up)[-1])
    assert [frame[1] for frame in world.take(wide, other)] == [OK]


@pytest.mark.parametrize("kind", ["wide", "narrow", "ordered"])
def test_clients_that_ask_what_is_never_answered_leave_some_places_to_others(toys, kind):
    """Each may wait for as many answers as it leaves others to ask for."""
    toy = toys[kind]
    limits = {
        "upstream_in_flight": 64,
        "in_flight_per_connection": 1000,
        "in_flight": 10_000,
        "buffer": 64 << 20,
    }
    world = World(table([toy.address], max_connections=2, limits=limits, plan={"timeout_ms": 100_000}))
    for _ in range(3):
        greedy = world.client()
        world.feed(greedy, b"".join(toy.request(n) for n in range(128)))
    refused = world.take(toy, greedy) if kind != "ordered" else []
    assert all(frame[1] == OVERLOADED and b"others may still ask for" in frame[3] for frame in refused)
    for up in world.upstreams:
        world.take(toy, up)
    other = world.client()
    world.feed(other, toy.request(1, b"svc m other"))
    asked = {up: frames for up in world.upstreams if (frames := world.take(toy, up))}
    assert [frame[3] for frames in asked.values() for frame in frames] == [b"svc m other"]
    alone = World(table([toy.address], max_connections=2, limits=limits, plan={"timeout_ms": 100_000}))
    greedy = alone.client()
    alone.feed(greedy, b"".join(toy.request(n) for n in range(128)))
    assert sum(len(alone.take(toy, up)) for up in alone.upstreams) >= 112  # seven eighths


HUNG = b"svc hang x"
PLACES = 128
MANY = {"upstream_in_flight": 64, "in_flight_per_connection": 1000, "in_flight": 10_000, "buffer": 64 << 20}


def shared_by_many(toy, *, limits=MANY, **more):
    return table([toy.address], max_connections=2, limits=limits, plan={"timeout_ms": 100_000}, **more)


def hang(world, toy, clients=100, each=9, body=HUNG):
    """So many clients ask what is not answered: what reaches the server."""
    for _ in range(clients):
        world.feed(world.client(), b"".join(toy.request(n, body) for n in range(each)))
    asked = [(up, frame) for up in world.upstreams for frame in world.take(toy, up)]
    return [one for one in asked if one[1][3] == body]


def passed_on(world, toy, body, clients):
    """How many of these clients' calls reach a server, one of each."""
    for _ in range(clients):
        world.feed(world.client(), toy.request(1, body))
    return sum(frame[3] == body for up in world.upstreams for frame in world.take(toy, up))


ROOMY = {**MANY, "connections": 1000}


@pytest.mark.parametrize("kind", ["wide", "narrow", "named", "ordered"])
def test_a_hung_method_leaves_places_to_others_however_many_clients_ask(toys, kind):
    toy = toys[kind]
    world = World(shared_by_many(toy, limits=ROOMY))
    hung = hang(world, toy)
    assert len(hung) == PLACES - PLACES // 16
    client = world.client()
    world.feed(client, toy.request(1, HUNG))
    ((_, status, _, text),) = world.take(toy, client)
    assert (status, text) == (
        OVERLOADED,
        b"protokit: calls of this method wait for as many answers as others may still ask for (cluster c)",
    )
    # The others may ask as long as each method waits for less than it leaves.
    assert passed_on(world, toy, b"svc m x", 20) == 4
    assert passed_on(world, toy, b"svc n x", 20) == 2
    assert passed_on(world, toy, b"another m x", 20) == 1
    assert passed_on(world, toy, HUNG, 20) == 0


def test_a_hung_method_has_as_many_places_again_when_it_answers(wide):
    world = World(shared_by_many(wide, limits=ROOMY))
    for turn in range(3):
        hung = hang(world, wide)
        assert len(hung) == PLACES - PLACES // 16, f"turn {turn}"
        for up, frame in hung:
            answer(world, wide, up, frame)
    assert len(hang(world, wide, body=b"svc m x")) == PLACES - PLACES // 16
    assert passed_on(world, wide, HUNG, 20) == 4  # it is another method now that hangs


@pytest.mark.parametrize("end", ["leave", "time out", "lose their connection"])
def test_however_hung_calls_end_their_places_are_free(wide, end):
    world = World(shared_by_many(wide, limits={**ROOMY, "probe_ms": 10_000_000}))
    for turn in range(3):
        before = len(world.clients)
        hung = hang(world, wide)
        assert len(hung) == PLACES - PLACES // 16, f"turn {turn}"
        if end == "leave":
            world.batch(*(("error", client) for client in world.clients[before:]))
        elif end == "time out":
            world.wait(101_000)
        else:
            world.batch(*(("error", up) for up in list(world.upstreams)))
        assert world.stat("requests_active") == 0


def test_reloads_neither_forget_nor_mix_up_what_a_method_waits_for(wide):
    """Rules come and go, so that their numbers are others'."""
    world = World(shared_by_many(wide, limits=ROOMY, rules=[("svc", "hang"), ("svc", "*")]))
    hung = hang(world, wide)
    for rules in ([("svc", "m"), ("svc", "hang"), ("*", "*")], [("*", "*")], [("svc", "hang"), ("*", "*")]):
        world.apply(shared_by_many(wide, limits=ROOMY, rules=rules))
        assert hang(world, wide, 10) == []
        assert passed_on(world, wide, b"svc m x", 1) == 1
        assert passed_on(world, wide, b"svc n x", 1) == 1
    assert passed_on(world, wide, b"svc m x", 5) == 0  # three of the last places are its own already
    assert passed_on(world, wide, b"another m x", 5) == 1
    world.batch(*(("error", up) for up in list(world.upstreams)))
    assert len(hung) == len(hang(world, wide))


def test_a_methods_calls_elsewhere_do_not_count(wide):
    """Clients of their own connection, another endpoint: only this endpoint's places are shared."""
    world = World(shared_by_many(wide, limits=ROOMY, clusters=2, rules=[("svc", "hang", 1), ("svc", "*")]))
    assert len(hang(world, wide)) == PLACES - PLACES // 16
    assert passed_on(world, wide, b"svc m x", 900) == PLACES - PLACES // 16


def test_connections_that_are_passed_on_take_no_place_of_those_that_are_shared(wide):
    world = World(table([wide.address], max_connections=2, fallback=-1))
    hogs = [world.client() for _ in range(20)]
    for hog in hogs:
        world.feed(hog, b"no protocol at all")
    assert len(world.upstreams) == 20
    client = world.client()
    world.feed(client, wide.request(1))
    assert len(world.upstreams) == 21


@pytest.mark.parametrize("hogs", ["never read", "send halves"])
def test_without_room_whoever_holds_most_pays_first(wide, hogs):
    """The others go on: no request of theirs is refused for long, and no connection of theirs is closed."""
    world = World(table([wide.address], limits={"buffer": 1 << 20, "in_flight": 5000}))
    others = [world.client() for _ in range(5)]
    nasty = [world.client() for _ in range(30)]
    big = bytes(60_000)
    for n, hog in enumerate(nasty):
        if hogs == "send halves":
            world.feed(hog, wide.request(1, b"svc m " + big)[:50_000])
            continue
        world.stuck.add(hog)
        world.feed(hog, wide.request(1))
        for up in list(world.upstreams):
            for frame in world.take(wide, up):
                answer(world, wide, up, frame, big)
        world.feed(others[n % 5], wide.request(n))
        for up in list(world.upstreams):
            for frame in world.take(wide, up):
                answer(world, wide, up, frame)
    world.wait(1)
    for client in others:
        world.take(wide, client)
        world.feed(client, wide.request(99))
        for up in list(world.upstreams):
            for frame in world.take(wide, up):
                answer(world, wide, up, frame)
        assert [frame[1] for frame in world.take(wide, client)] == [OK]
    assert not set(others) & set(world.closed)
    assert world.stat("buffer_bytes") <= 1 << 20
    closed = set(nasty) & set(world.closed)
    assert 0 < len(closed) < 30 or hogs == "send halves"


def behind_one(toy, *, size, many, limits, **more):
    """A client with so many answers that wait for its first one, which is slow; and what they take."""
    limits = {"in_flight_per_connection": 2000, "upstream_in_flight": 2000, "in_flight": 5000, **limits}
    rules = [("slow", "*"), ("*", "*", 1)]
    world = World(table([toy.address], clusters=2, rules=rules, limits=limits, **more))
    client = world.client()
    world.feed(client, toy.request(0, b"slow m x"))
    (slow,) = world.upstreams
    (first,) = world.take(toy, slow)
    before = world.stat("buffer_bytes")
    for n in range(many):
        world.feed(client, toy.request(0, b"svc m %d" % n))
        (fast,) = set(world.upstreams) - {slow}
        (frame,) = world.take(toy, fast)
        answer(world, toy, fast, frame, frame[3] + bytes(size))
        if client in world.closed:
            break
    return world, client, (slow, first), world.stat("buffer_bytes") - before


@pytest.mark.parametrize("size", [0, 1, 100, 20_000])
def test_answers_that_wait_for_their_turn_take_no_more_than_their_bytes(toys, size):
    toy = toys["ordered"]
    many = 1000 if size < 1000 else 100
    room = {"buffer": 64 << 20, "client_pause": 16 << 20, "client_close": 32 << 20}
    world, client, (slow, first), took = behind_one(toy, size=size, many=many, limits=room)
    whole = [len(toy.frame(toy.RESPONSE, 0, b"svc m %d" % n + bytes(size))) for n in range(many)]
    assert took == sum(whole)
    answer(world, toy, slow, first, b"at last")
    bodies = [frame[3].rstrip(b"\0") for frame in world.take(toy, client)]
    assert bodies == [b"at last", *(b"svc m %d" % n for n in range(many))]
    assert world.stat("buffer_bytes") == 0


@pytest.mark.parametrize(("size", "budget"), [(100, 150_000), (2000, 1_500_000)])
def test_who_holds_answers_that_wait_pays_first(toys, size, budget):
    toy = toys["ordered"]
    room = {"buffer": budget, "frame": 20_000, "client_pause": 20_000}
    world, client, (slow, first), _ = behind_one(toy, size=size, many=1500, limits=room)
    assert client in world.closed
    assert world.stat("buffer_bytes") == 0
    other = world.client()
    for n in range(20):
        world.feed(other, toy.request(0, b"svc other %d" % n)[:-1])
        world.feed(other, b"x")
        (up,) = [one for one in world.upstreams if one != slow]
        (frame,) = world.take(toy, up)
        answer(world, toy, up, frame)
    assert [frame[1] for frame in world.take(toy, other)] == [OK] * 20
    answer(world, toy, slow, first)
    assert (world.stat("closed_over_budget"), world.stat("requests_active")) == (1, 0)
    world.outcomes()


@pytest.mark.parametrize("oneway", [False, True])
@pytest.mark.parametrize("kind", ["wide", "named", "ordered"])
def test_who_holds_requests_that_wait_pays_first(toys, kind, oneway):
    """Its server's connection is being opened, and it asks and asks."""
    toy = toys[kind]
    limits = {"buffer": 1 << 20, "in_flight_per_connection": 100, "request_ms": 60_000}
    world = World(table([toy.address], limits=limits, connect_ms=30_000))
    world.connect = "wait"
    hog, other = world.client(), world.client()
    data = toy.request(1, b"svc m other" + bytes(50_000))
    world.feed(other, data[:30_000])
    for n in range(30):
        if hog not in world.closed:
            world.feed(hog, toy.request(n, b"svc m x" + bytes(50_000), oneway=oneway))
    world.feed(other, data[30_000:])
    assert (hog in world.closed, other in world.closed) == (True, False)
    world.connect = "ok"
    world.opened(world.only_upstream())
    up = world.only_upstream()
    frame = world.take(toy, up)[-1]
    assert frame[3].startswith(b"svc m other")
    answer(world, toy, up, frame)
    assert [frame[1] for frame in world.take(toy, other)] == [OK]
    assert world.stat("buffer_bytes") == 0


def test_for_a_little_room_few_pay_and_who_holds_most_does(wide):
    """Nine that take nothing hold 110 KB each of 1 MB, and one of them half as much again."""
    world = World(table([wide.address], limits={"buffer": 1 << 20, "client_pause": 1 << 20}))
    other = world.client()
    hogs = [world.client() for _ in range(10)]
    for hog in hogs:
        world.stuck.add(hog)
        world.feed(hog, b"".join(wide.request(number) for number in range(3 if hog == hogs[4] else 2)))
        for up in list(world.upstreams):
            for frame in world.take(wide, up):
                answer(world, wide, up, frame, bytes(55_000))
    world.wait(1)
    closed = set(hogs) & set(world.closed)
    assert hogs[4] in closed
    assert len(closed) <= 2
    assert other not in world.closed


def test_an_idle_connection_of_another_protocol_gives_way(toys):
    """Where an endpoint has all that it may: protocols that are asked no more keep nobody out."""
    wide, other = toys["wide"], toys["other"]
    world = World(table([wide.address, other.address], max_connections=1))
    for turn in range(4):
        toy = (wide, other)[turn % 2]
        clients = [world.client() for _ in range(2)]
        for n, client in enumerate(clients):
            world.feed(client, toy.request(n))
        [up] = [one for one in world.upstreams if toy.split(bytes(world.got[one]))[0]]
        for frame in world.take(toy, up):
            answer(world, toy, up, frame)
        for client in clients:
            assert [frame[1] for frame in world.take(toy, client)] == [OK]
            world.batch(("eof", client))


def test_one_connection_serves_two_protocols_one_after_the_other_but_not_at_once(toys):
    wide, other = toys["wide"], toys["other"]
    world = World(table([wide.address, other.address], max_connections=1))
    first, second = world.client(), world.client()
    world.feed(first, wide.request(1))
    [busy] = world.upstreams
    [asked] = world.take(wide, busy)
    world.feed(second, other.request(2))
    assert [frame[1] for frame in world.take(other, second)] == [OVERLOADED]
    answer(world, wide, busy, asked)
    assert [frame[1] for frame in world.take(wide, first)] == [OK]
    world.feed(second, other.request(3))
    [now] = world.upstreams
    assert now != busy
    [asked] = world.take(other, now)
    answer(world, other, now, asked)
    assert [frame[1] for frame in world.take(other, second)] == [OK]
