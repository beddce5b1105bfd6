"""What has state is not what has a number: tables come and go, numbers are given out again."""

from __future__ import annotations

import itertools

import pytest
from world import LIMITS, World, answer, table

from protokit import native
from protokit.testing.tables import TableBuilder

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)
COUNTERS = dict.fromkeys(native.ENDPOINT_STAT_NAMES, 0)


@pytest.fixture
def world(wide):
    return World(table([wide.address]))


def ask(world, toy, client, number):
    """One request and its answer: the port that it went to, or None where the proxy answered itself."""
    world.feed(client, toy.request(number))
    port = None
    for up, address in list(world.upstreams.items()):
        for frame in world.take(toy, up):
            if frame[0] == toy.REQUEST:
                port = address[1]
                answer(world, toy, up, frame)
    (back,) = world.take(toy, client)
    assert back[2] == number
    assert (back[1] == OK) == (port is not None), back
    return port


# Endpoints.


def test_a_new_endpoint_inherits_nothing_from_whom_its_number_was(wide):
    world = World(table([wide.address]), connect="fail")
    client = world.client()
    for number in range(8):  # each time after the back-off: the next one is longer
        world.feed(client, wide.request(number))
        world.wait(2100)
    world.feed(client, wide.request(8))
    world.take(wide, client)
    assert world.core.endpoint_stats(0)["connect_failures"] == 9
    world.connect = "ok"
    world.apply(table([wide.address], ports={1: 9001}))
    assert world.retired == [1]
    assert world.core.endpoint_stats(0) == COUNTERS
    world.apply(table([wide.address], ports={0: 9100}))
    told = len(world.endpoints)
    assert ask(world, wide, client, 9) == 9100
    assert world.core.endpoint_stats(0)["requests"] == 1
    assert world.endpoints[told:] == []  # nobody said that the new one could not be reached


def test_a_new_endpoint_is_not_avoided_for_a_drain_of_whom_its_number_was(wide):
    world = World(table([wide.address], endpoints=2))
    client = world.client()
    ask(world, wide, client, 0)
    ask(world, wide, client, 1)
    world.feed(
        next(up for up, address in world.upstreams.items() if address[1] == 9000), wide.frame(wide.DRAIN)
    )
    world.apply(table([wide.address], ports={1: 9001}))
    world.apply(table([wide.address], ports={0: 9100, 1: 9001}))
    assert {ask(world, wide, client, number) for number in range(2, 4)} == {9100, 9001}


def test_what_was_asked_of_an_endpoint_that_went_does_not_count_for_whom_its_number_is(wide):
    """A pinned client keeps its server as long as it waits for an answer."""
    world = World(table([wide.address], pinned=True))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    world.apply(table([wide.address], ports={1: 9001}, pinned=True))  # the first still has the request
    world.feed(client, wide.request(2))  # goes on the same connection, by the second table
    first, second = world.take(wide, up)
    answer(world, wide, up, first)
    assert world.retired == [1]
    assert world.core.endpoint_stats(0) == COUNTERS
    world.apply(table([wide.address], ports={0: 9100, 1: 9001}, pinned=True))
    other = world.client()
    world.connect = "wait"
    for number in range(2):
        world.feed(other if number == 0 else world.client(), wide.request(7))
    assert sorted(port for _, port in world.upstreams.values()) == [9000, 9001, 9100]
    assert world.core.endpoint_stats(0)["connections"] == 1
    answer(world, wide, up, second)
    assert [frame[1:3] for frame in world.take(wide, client)] == [(OK, 1), (OK, 2)]
    assert up in world.closed
    assert client in world.closed or client in world.finished
    assert world.core.endpoint_stats(0)["active"] == world.core.endpoint_stats(0)["connections"] == 1


def test_an_endpoint_that_a_table_in_use_still_has_keeps_its_state(wide):
    world = World(table([wide.address], endpoints=2))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (frame,) = world.take(wide, up)
    world.apply(table([wide.address], ports={1: 9001}))
    world.apply(table([wide.address], endpoints=2))
    answer(world, wide, up, frame)
    assert world.retired == [2, 1]
    assert up not in world.closed
    assert world.core.endpoint_stats(world.upstreams[up][1] - 9000)["requests"] == 1


@pytest.mark.parametrize("opens", [False, True])
def test_a_connection_that_opens_late_says_nothing_of_whom_the_number_is_now(wide, opens):
    world = World(table([wide.address], pinned=True, plan={"timeout_ms": 300}), connect="fail")
    client = world.client()
    world.feed(client, wide.request(1))  # it cannot be reached, and the core says so
    world.wait(100)
    world.connect = "wait"
    world.feed(client, wide.request(2))
    (opening,) = world.opening
    world.apply(table([wide.address], ports={1: 9001}, pinned=True))
    world.feed(client, wide.request(3))  # on the same connection, by the second table
    world.wait(310)
    assert world.retired == [1]
    world.apply(table([wide.address], ports={0: 9100}, pinned=True))
    told = len(world.endpoints)
    world.opened(opening, failed=not opens)
    assert world.endpoints[told:] == []
    assert world.core.endpoint_stats(0) == COUNTERS
    other = world.client()
    world.feed(other, wide.request(1))  # not held back by failures that were not its own
    assert ("127.0.0.1", 9100) in world.upstreams.values()


def test_a_table_prepared_and_not_used_leaves_nothing(world, wide):
    client = world.client()
    assert ask(world, wide, client, 1) == 9000
    world.tables[77] = table([wide.address], endpoints=3)
    assert world.core.prepare(world.tables[77], 77)
    world.batch(("abort",), ("abort",))
    assert world.retired == [77]
    assert ask(world, wide, client, 2) == 9000
    second = table([wide.address], ports={0: 9000, 2: 9200})
    assert world.core.prepare(second, 78)
    assert ask(world, wide, client, 3) == 9000
    world.tables[78] = second
    world.batch(("commit",), ("commit",))
    assert world.retired == [77, 1]
    assert {ask(world, wide, client, number) for number in range(4, 8)} == {9000, 9200}


def test_a_table_prepared_in_the_place_of_another_gives_that_one_back(world, wide):
    client = world.client()
    for token in (77, 78):
        world.tables[token] = table([wide.address], endpoints=token - 75)
        assert world.core.prepare(world.tables[token], token)
    world.batch(("commit",))
    assert world.retired == [77, 1]
    assert {ask(world, wide, client, number) for number in range(3)} == {9000, 9001, 9002}


def test_a_table_that_is_prepared_holds_its_endpoints_while_the_old_one_retires(wide):
    world = World(table([wide.address]))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (frame,) = world.take(wide, up)
    world.apply(table([wide.address], ports={1: 9001}))
    third = table([wide.address])
    assert world.core.prepare(third, 3)
    answer(world, wide, up, frame)
    assert world.retired == [1]
    world.take(wide, client)
    world.tables[3] = third
    world.batch(("commit",))
    assert ask(world, wide, client, 2) == 9000
    assert up in world.upstreams


# Balancers.


def test_reloads_do_not_begin_again_with_the_first_endpoint(wide):
    world = World(table([wide.address], endpoints=4))
    client = world.client()
    for number in range(200):
        ask(world, wide, client, number)
        world.apply(table([wide.address], endpoints=4))
    assert [world.core.endpoint_stats(uid)["requests"] for uid in range(4)] == [50] * 4


def test_a_balancer_moves_with_its_clusters_name(wide):
    """One request between two reloads each: of two clusters that change places, each goes on where it was."""

    def two(first, second):
        builder = TableBuilder(LIMITS, seed=42)
        uids = {"a": 0, "b": 2}
        for name in (first, second):
            builder.cluster(name, "round-robin", 4, 1000)
            for i in range(2):
                builder.endpoint(uids[name] + i, "127.0.0.1", 9000 + uids[name] + i, 1)
        plans = []
        for name in ("a", "b"):
            plans.append(builder.plan(name))
            builder.split((first, second).index(name), 1)
        routes = builder.routes("r")
        builder.rule("a", "*", "*", "*", plans[0])
        builder.rule("*", "*", "*", "*", plans[1])
        builder.listener(0, "in", routes=routes, plan=None, pinned=False, codecs=[wide.address])
        return builder.finish()

    world = World(two("a", "b"))
    client = world.client()
    asked = {b"a": [], b"b": []}
    for number in range(40):
        name = b"a" if number % 3 == 0 else b"b"
        world.feed(client, wide.request(number, name + b" m x"))
        for up, (_, port) in list(world.upstreams.items()):
            for frame in world.take(wide, up):
                asked[name].append(port)
                answer(world, wide, up, frame)
        world.apply(two("b", "a") if number % 2 == 0 else two("a", "b"))
    assert [world.core.endpoint_stats(uid)["requests"] for uid in range(4)] == [7, 7, 13, 13]
    assert all(one != other for turns in asked.values() for one, other in itertools.pairwise(turns))


def test_beginnings_are_anywhere(wide):
    first = set()
    for seed in range(1, 40):
        world = World(table([wide.address], endpoints=4), seed=seed)
        first.add(ask(world, wide, world.client(), 1))
    assert first == {9000, 9001, 9002, 9003}


def test_an_endpoint_that_is_added_does_not_make_every_reload_begin_with_the_same(wide):
    world = World(table([wide.address], endpoints=3))
    client = world.client()
    for number in range(300):
        ask(world, wide, client, number)
        world.apply(table([wide.address], endpoints=3 + number % 2))
    assert all(world.core.endpoint_stats(uid)["requests"] > 20 for uid in range(3))


# Listeners.


@pytest.mark.parametrize("listener", ["renamed", None])
def test_clients_of_a_listener_that_is_gone_are_told_served_as_before_and_closed_in_time(wide, listener):
    world = World(table([wide.address], rules=[("svc", "*")]))
    client = world.client()
    ask(world, wide, client, 1)
    world.feed(client, wide.request(2))
    up = world.only_upstream()
    (under_way,) = world.take(wide, up)
    world.apply(table([wide.address], rules=[("new", "*")], listener=listener))
    assert [frame[0] for frame in world.take(wide, client)] == [wide.DRAIN]
    answer(world, wide, up, under_way)
    assert [frame[1:3] for frame in world.take(wide, client)] == [(OK, 2)]
    world.wait(LIMITS["drain_ms"] - 100)
    assert ask(world, wide, client, 3) == 9000
    world.feed(client, wide.request(4))
    (late,) = world.take(wide, up)
    assert world.retired == []
    world.wait(200)  # its time is over: what it asks is refused, but what it asked is answered
    world.feed(client, wide.request(5))
    assert world.take(wide, up) == []
    (refused,) = world.take(wide, client)
    assert (refused[1:3], b"closing" in refused[3]) == ((UNAVAILABLE, 5), True)
    answer(world, wide, up, late)
    assert [frame[1:3] for frame in world.take(wide, client)] == [(OK, 4)]
    assert client in world.closed
    assert world.retired == [1]
    if listener is None:
        assert world.client() == 0
    else:
        other = world.client()
        world.feed(other, wide.request(1, b"new m x"))
        assert [frame[3] for frame in world.take(wide, up)] == [b"new m x"]


def test_a_client_that_does_not_read_leaves_its_listener_all_the_same(world, wide):
    client = world.client()
    world.stuck.add(client)
    world.feed(client, b"".join(wide.request(number) for number in range(20)))
    up = world.only_upstream()
    for frame in world.take(wide, up)[:15]:
        answer(world, wide, up, frame, bytes(1000))
    world.feed(client, wide.request(20))  # it is paused, and this stays where it is
    world.apply(table([wide.address], listener=None))
    world.wait(LIMITS["drain_ms"] + LIMITS["request_ms"] + LIMITS["frame_ms"])
    assert world.closed[client] == 1
    assert world.retired == [1]


def test_a_client_that_has_to_leave_and_reads_late_is_told_of_each_request(world, wide):
    client = world.client()
    world.stuck.add(client)
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    answer(world, wide, up, world.take(wide, up)[0])
    world.apply(table([wide.address], listener=None))
    world.wait(LIMITS["drain_ms"] + 1)
    world.feed(client, wide.request(2))
    assert client not in world.closed
    world.stuck.clear()
    world.read(client)
    world.batch()
    frames = [frame for frame in world.take(wide, client) if frame[0] == wide.RESPONSE]
    assert [frame[1:3] for frame in frames] == [(OK, 1), (UNAVAILABLE, 2)]
    assert world.closed == {client: 0}


def test_clients_of_another_listener_are_told_nothing(wide):
    def listening(*names):
        builder = TableBuilder(LIMITS, seed=42)
        builder.cluster("c", "round-robin", 4, 1000)
        builder.endpoint(0, "127.0.0.1", 9000, 1)
        plan = builder.plan("p")
        builder.split(0, 1)
        for number, name in enumerate(names):
            builder.listener(number, name, routes=None, plan=plan, pinned=False, codecs=[wide.address])
        return builder.finish()

    world = World(listening("stays", "goes"))
    stays, goes = world.client(0), world.client(1)
    world.apply(listening("stays"))
    assert [frame[0] for frame in world.take(wide, goes)] == [wide.DRAIN]
    world.wait(LIMITS["drain_ms"] + LIMITS["request_ms"])
    assert set(world.closed) == {goes}
    assert world.got[stays] == b""
    assert ask(world, wide, stays, 1) == 9000


def test_who_leaves_a_listener_that_is_gone_lets_its_table_go(world, wide):
    clients = [world.client() for _ in range(3)]
    ask(world, wide, clients[0], 1)
    world.apply(table([wide.address], listener=None))
    for client in clients:
        assert world.retired == []
        world.batch(("eof", client))
    assert world.retired == [1]
    assert world.stat("tables_live") == 1
    assert world.stat("drains_sent") == 3


def test_a_client_whose_listener_is_gone_keeps_its_time_over_further_reloads(world, wide):
    client = world.client()
    ask(world, wide, client, 1)
    world.apply(table([wide.address], listener="other"))
    world.wait(1000)
    world.apply(table([wide.address]))  # as it was: the client is told once, and leaves when it was to
    assert ask_told(world, wide, client, 2) == 9000
    world.wait(LIMITS["drain_ms"] - 900)
    assert client in world.closed
    assert world.stat("drains_sent") == 1
    assert sorted(world.retired) == [1, 2]


def ask_told(world, toy, client, number):
    assert [frame[0] for frame in world.take(toy, client)] == [toy.DRAIN]
    return ask(world, toy, client, number)


def test_a_client_that_has_said_nothing_yet_is_served_and_told_all_the_same(toys):
    wide, other = toys["wide"], toys["other"]
    world = World(table([wide.address, other.address]))
    client = world.client()
    world.feed(client, wide.request(1)[:3])
    world.apply(table([other.address], listener="b"))
    world.feed(client, wide.request(1)[3:])
    (frame,) = world.take(wide, world.only_upstream())
    answer(world, wide, world.only_upstream(), frame)
    assert [one[0] for one in world.take(wide, client)] == [wide.DRAIN, wide.RESPONSE]
    world.wait(LIMITS["drain_ms"] + 100)
    assert client in world.closed
    assert world.retired == [1]


def test_a_client_that_is_passed_on_goes_on_until_its_time_is_over(wide):
    world = World(table([wide.address], fallback=1))
    client = world.client()
    world.feed(client, b"GET / HTTP/1.1\r\n\r\n")
    server = world.only_upstream()
    world.apply(table([wide.address], listener=None, ports={1: 9001}))
    world.feed(client, b"more")
    assert bytes(world.got[server]) == b"GET / HTTP/1.1\r\n\r\nmore"
    assert world.retired == []
    world.wait(LIMITS["drain_ms"] + 100)
    assert client in world.closed
    assert server in world.closed
    assert world.retired == [1]


def test_without_time_to_drain_clients_of_a_listener_that_is_gone_leave_at_once(wide):
    world = World(table([wide.address]))
    client = world.client()
    world.feed(client, wide.request(1))
    world.apply(table([wide.address], listener=None, limits={"drain_ms": 0}))
    world.wait(10)
    (frame,) = world.take(wide, world.only_upstream())
    answer(world, wide, world.only_upstream(), frame)
    assert [one[0] for one in world.take(wide, client)] == [wide.DRAIN, wide.RESPONSE]
    assert client in world.closed


@pytest.mark.parametrize("kind", ["ordered", "pingpong"])
def test_a_table_kept_for_its_clients_goes_when_the_core_shuts_down(toys, kind):
    toy = toys[kind]
    world = World(table([toy.address]))
    clients = [world.client() for _ in range(4)]
    for client in clients:
        world.feed(client, toy.request(1) + toy.request(2))
    world.apply(table([toy.address], listener=None))
    world.batch(("shutdown",))
    world.wait(LIMITS["frame_ms"] + 100)
    assert set(clients) <= set(world.closed)
    assert world.retired == [1]
    assert world.stat("buffer_bytes") == 0
