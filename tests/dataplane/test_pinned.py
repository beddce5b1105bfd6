"""Connections that are one client's own, and ids that come again before their answers do."""

from __future__ import annotations

import pytest
from world import LIMITS, World, table

from protokit import native
from protokit.testing.tables import TableBuilder

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)
WITH_IDS = ["wide", "narrow", "named", "own", "read"]
TWO = {"clusters": 2, "rules": [("svc", "*"), ("two", "*", 1)]}


def pinned(toy, **more):
    return table([toy.address], pinned=toy.name not in {"own", "read"}, **more)


def at(world, port):
    """The open connection to a server."""
    (handle,) = [one for one, (_, where) in world.upstreams.items() if where == port]
    return handle


def statuses(world, toy, client):
    return [(frame[1], frame[2]) for frame in world.take(toy, client)]


def time_out(world):
    """Past every budget, on connections that are alive."""
    for _ in range(0, LIMITS["request_ms"] + 500, 500):
        world.wait(500)


# An answer that comes late.


@pytest.mark.parametrize("kind", WITH_IDS)
def test_a_late_answer_is_never_the_next_requests_under_the_same_id(toys, kind):
    toy = toys[kind]
    world = World(pinned(toy))
    client = world.client()
    world.feed(client, toy.request(0, b"svc m slow"))
    up = world.only_upstream()
    time_out(world)
    assert statuses(world, toy, client) == [(TIMEOUT, 0)]
    world.batch(
        ("feed", client, toy.request(0, b"svc m next")),
        ("feed", up, toy.frame(toy.RESPONSE, 0, b"slow")),
    )
    (reply,) = world.take(toy, client)
    assert (reply[1], reply[2], b"its answer may still come" in reply[3]) == (UNAVAILABLE, 0, True)
    assert [frame[3] for frame in world.take(toy, up) if frame[0] == toy.REQUEST] == [b"svc m slow"]
    assert {client, up} <= set(world.closed)
    assert world.stat("requests_active") == 0


@pytest.mark.parametrize("kind", WITH_IDS)
def test_once_the_late_answer_has_come_its_id_is_free(toys, kind):
    toy = toys[kind]
    world = World(pinned(toy))
    client = world.client()
    for n in range(3):
        world.feed(client, toy.request(0, b"svc m slow"))
        up = world.only_upstream()
        time_out(world)
        assert statuses(world, toy, client) == [(TIMEOUT, 0)]
        world.feed(up, toy.frame(toy.RESPONSE, 0, b"late"))
        world.feed(client, toy.request(0, b"svc m next"))
        world.feed(up, toy.frame(toy.RESPONSE, 0, b"next"))
        assert [frame[3] for frame in world.take(toy, client)] == [b"next"]
        assert world.stat("answers_unmatched") == n + 1
    assert not world.closed


def test_an_id_used_again_costs_its_client_no_other_answer(wide):
    world = World(pinned(wide, plan={"timeout_ms": 100}))
    client = world.client()
    world.feed(client, wide.request(0, b"svc m slow"))
    up = world.only_upstream()
    world.wait(200)
    world.apply(pinned(wide))
    world.feed(client, wide.request(1, b"svc m other"))
    world.take(wide, client)
    world.feed(
        client, wide.request(0) + wide.request(2)
    )  # the first cannot be told apart; the second comes too late
    assert statuses(world, wide, client) == [(UNAVAILABLE, 0), (UNAVAILABLE, 2)]
    assert not world.closed
    world.feed(up, wide.frame(wide.RESPONSE, 1, b"other"))
    assert statuses(world, wide, client) == [(OK, 1)]
    assert {client, up} <= set(world.closed)


@pytest.mark.parametrize("kind", WITH_IDS)
def test_of_two_requests_with_one_id_the_second_never_gets_the_firsts_late_answer(toys, kind):
    toy = toys[kind]
    world = World(pinned(toy, plan={"timeout_ms": 100}))
    client = world.client()
    world.feed(client, toy.request(0, b"svc m first"))
    world.apply(pinned(toy))
    world.feed(client, toy.request(0, b"svc m second"))
    up = world.only_upstream()
    world.batch()
    world.wait(200)
    world.feed(up, toy.frame(toy.RESPONSE, 0, b"of which?"))
    assert statuses(world, toy, client) == [(TIMEOUT, 0), (UNAVAILABLE, 0)]
    assert {client, up} <= set(world.closed)


def test_a_pinned_connection_whose_answers_stay_away_ends_instead_of_growing(wide):
    world = World(pinned(wide, limits={"heartbeat_ms": 100_000_000, "probe_ms": 100_000_000}))
    client = world.client()
    for n in range(LIMITS["in_flight_per_connection"] * 200):
        world.feed(client, wide.request(n))
        if n % LIMITS["in_flight_per_connection"] == LIMITS["in_flight_per_connection"] - 1:
            time_out(world)
            if client in world.closed:
                break
    assert 2048 < n < 4096
    assert {status for status, _ in statuses(world, wide, client)} == {TIMEOUT}


# Where requests go.


@pytest.mark.parametrize("kind", ["wide", "narrow", "ordered", "pingpong", "named", "own"])
def test_each_request_goes_to_its_own_cluster_on_its_clients_connection_there(toys, kind):
    toy = toys[kind]
    world = World(pinned(toy, **TWO))
    a, b = world.client(), world.client()
    for client in (a, b):
        for n, service in enumerate([b"svc", b"two", b"two", b"svc"]):
            world.feed(client, toy.request(n, service + b" m x"))
            for up, (_, port) in world.upstreams.items():
                for frame in world.take(toy, up):
                    assert frame[3] == (b"two m x" if port == 9041 else b"svc m x")
                    world.feed(up, toy.frame(toy.RESPONSE, frame[2], b"from %d" % port))
            port = 9041 if service == b"two" else 9000
            assert [frame[3] for frame in world.take(toy, client)] == [b"from %d" % port]
    assert sorted(port for _, port in world.upstreams.values()) == [9000, 9000, 9041, 9041]
    for uid in (0, 41):
        assert world.core.endpoint_stats(uid)["requests"] == 4
    world.batch(("error", a))
    assert sorted(port for _, port in world.upstreams.values()) == [9000, 9041]


def test_errors_name_the_cluster_that_the_rule_said(wide):
    world = World(pinned(wide, **TWO))
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2, b"two m x"))
    time_out(world)
    assert [frame[3] for frame in world.take(wide, client)] == [
        b"protokit: no answer from 127.0.0.1:9000 (cluster c) within 3000 ms (rule plan)",
        b"protokit: no answer from 127.0.0.1:9041 (cluster c1) within 3000 ms (rule plan)",
    ]


def test_a_cluster_is_the_same_after_a_reload_that_numbers_it_otherwise(wide):
    world = World(pinned(wide, clusters=3, rules=[("svc", "*"), ("two", "*", 2), ("one", "*", 1)]))
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2, b"two m x"))
    second = at(world, 9042)
    builder = TableBuilder(LIMITS, seed=1)
    builder.cluster("c2", "round-robin", 4, 1000)
    builder.endpoint(42, "127.0.0.1", 9042, 1)
    builder.cluster("c", "round-robin", 4, 1000)
    builder.endpoint(0, "127.0.0.1", 9000, 1)
    plans = []
    for cluster in (0, 1):
        plans.append(builder.plan("plan"))
        builder.split(cluster, 1)
    builder.routes("r")
    for service, plan in (("two", 0), ("svc", 1)):
        builder.rule(service, "*", "*", "*", plans[plan])
    builder.listener(0, "in", routes=0, plan=None, pinned=True, codecs=[wide.address])
    world.apply(builder.finish())
    world.take(wide, second)
    world.feed(client, wide.request(3, b"two m x") + wide.request(4, b"svc m x"))
    assert [frame[2] for frame in world.take(wide, second)] == [3]
    assert [frame[2] for frame in world.take(wide, at(world, 9000))] == [1, 4]
    assert len(world.upstreams) == 2


def test_a_client_that_lost_a_server_has_the_others_answers_is_told_why_and_is_closed(wide):
    world = World(pinned(wide, **TWO))
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2, b"two m x"))
    world.batch(("error", at(world, 9000)))
    assert statuses(world, wide, client) == [(UNAVAILABLE, 1)]
    assert client not in world.closed
    for service in (b"svc", b"two"):
        world.feed(client, wide.request(3, service + b" m x"))
        (reply,) = world.take(wide, client)
        assert (reply[1], b"it has to connect again" in reply[3]) == (UNAVAILABLE, True)
    world.feed(at(world, 9041), wide.frame(wide.RESPONSE, 2, b"two"))
    assert statuses(world, wide, client) == [(OK, 2)]
    assert client in world.closed
    assert not world.upstreams


@pytest.mark.parametrize("how", ["eof", "error", "silent", "answers and ends"])
@pytest.mark.parametrize("kind", ["pingpong", "ordered", "wide"])
def test_requests_sent_behind_each_other_all_have_an_end_when_their_server_fails(toys, kind, how):
    toy = toys[kind]
    world = World(pinned(toy))
    client = world.client()
    world.feed(client, b"".join(toy.request(n, b"svc m %d" % n) for n in range(4)))
    up = world.only_upstream()
    if how == "silent":
        world.wait(2 * (LIMITS["request_ms"] + LIMITS["probe_ms"]))
    elif how == "answers and ends":
        world.batch(("feed", up, toy.frame(toy.RESPONSE, 0, b"ok")), ("eof", up))
    else:
        world.batch((how, up))
    replies = [frame for frame in world.take(toy, client) if frame[0] == toy.RESPONSE]
    assert len(replies) == 4
    assert {frame[1] for frame in replies[1:]} <= {UNAVAILABLE, TIMEOUT}
    assert replies[0][1] == {"silent": TIMEOUT, "answers and ends": OK}.get(how, UNAVAILABLE)
    if kind != "wide" or how != "silent":
        assert client in world.closed
    assert world.stat("requests_active") == 0


def test_requests_on_a_clients_own_connection_are_as_many_as_the_limits_say(wide):
    limits = {"in_flight_per_connection": 1000, "in_flight": 2000, "client_pause": 1 << 20}
    world = World(pinned(wide, limits={**limits, "upstream_in_flight": 1000}))
    client = world.client()
    world.feed(client, b"".join(wide.request(n) for n in range(1001)))
    up = world.only_upstream()
    frames = world.take(wide, up)
    assert len(frames) == 1000
    assert statuses(world, wide, client) == [(OVERLOADED, 1000)]
    world.batch(*[("feed", up, wide.frame(wide.RESPONSE, frame[2], b"ok")) for frame in reversed(frames)])
    assert statuses(world, wide, client) == [(OK, n) for n in reversed(range(1000))]
    world.apply(pinned(wide, limits={**limits, "upstream_in_flight": 600}))
    world.feed(client, b"".join(wide.request(n) for n in range(700)))
    assert statuses(world, wide, client) == [(OVERLOADED, n) for n in range(600, 700)]


# Opened before anybody asks.


@pytest.mark.parametrize("kind", ["wide", "ordered", "polite", "named", "own"])
def test_where_the_cluster_is_known_a_server_may_speak_first(toys, kind):
    toy = toys[kind]
    world = World(pinned(toy, direct=True))
    client = world.client()
    up = world.only_upstream()
    world.feed(up, toy.greet("server") + toy.request(3, b"svc call x"))
    world.take(toy, up)
    assert (toy.REQUEST, 0, 3 if toy.id_bytes else 0, b"svc call x") in world.take(toy, client)
    world.feed(client, toy.greet("client") + toy.frame(toy.RESPONSE, 3, b"called"))
    assert [frame[3] for frame in world.take(toy, up)] == [b"called"]
    world.feed(client, toy.request(4))
    assert [frame[3] for frame in world.take(toy, up)] == [b"svc m x"]
    assert len(world.upstreams) == 1
    world.batch(("error", client))
    assert not world.upstreams


def test_a_server_is_looked_for_where_the_first_cannot_be_reached_and_again_at_heartbeats(wide):
    world = World(pinned(wide, direct=True, endpoints=2), connect="wait")
    client = world.client()
    world.opened(world.opening[0], failed=True)
    world.opened(world.opening[0], failed=True)
    assert not world.upstreams
    assert client not in world.closed
    world.wait(3000)
    world.feed(client, wide.frame(wide.HEARTBEAT, 1))
    world.opened(world.opening[0])
    world.feed(world.only_upstream(), wide.request(1, b"svc call x"))
    assert [frame[0] for frame in world.take(wide, client)] == [wide.HEARTBEAT_ACK, wide.REQUEST]


def test_it_is_opened_once_the_protocol_is_known(toys):
    world = World(table([toys["other"].address, toys["own"].address], direct=True))
    client = world.client()
    assert not world.upstreams
    world.feed(client, toys["own"].frame(2, 1, b"")[:2])
    world.feed(client, toys["own"].frame(2, 1, b"svc m x")[2:])
    assert len(world.upstreams) == 1


SURE = [
    {"direct": True},
    {},  # one rule for all
    {"rules": [("svc", "*"), ("svc.*", "get"), ("two", "*")]},  # what none of them takes goes nowhere
    {"clusters": 2, "rules": [("svc", "*", 1), ("*", "*", 1)]},
]
UNSURE = [
    {"direct": True, "plan": {"filter_chain": 0}},
    {"plan": {"filter_chain": 0}},
    {"filtered": ["svc"]},
    {"filtered": ["svc"], "rules": [("two", "*")]},
    {"clusters": 2, "rules": [("svc", "*"), ("*", "*", 1)]},
    {"clusters": 3, "rules": [("a", "*", 2), ("b", "*", 1), ("c", "*", 2)]},
]


@pytest.mark.parametrize("more", SURE)
def test_it_is_opened_where_every_rule_leads_to_one_cluster(wide, more):
    world = World(pinned(wide, **more))
    client = world.client()
    up = world.only_upstream()
    assert world.upstreams[up][1] == (9041 if "clusters" in more else 9000)
    world.feed(up, wide.request(1, b"svc call x"))  # a server may speak first
    assert [frame[0] for frame in world.take(wide, client)] == [wide.REQUEST]
    world.feed(client, wide.frame(wide.RESPONSE, 1, b"yes") + wide.request(2))
    assert [frame[2:] for frame in world.take(wide, up)] == [(1, b"yes"), (2, b"svc m x")]
    assert list(world.upstreams) == [up]


@pytest.mark.parametrize("more", UNSURE)
def test_it_is_not_opened_where_a_request_decides_the_cluster(wide, more):
    world = World(pinned(wide, **more))
    world.client()
    assert not world.upstreams


def test_a_reload_says_anew_whether_it_is_opened(wide):
    tables = [pinned(wide, **more) for more in (UNSURE[4], SURE[3], UNSURE[4])]
    world = World(tables[0])
    for expected, one in zip((0, 1, 1), (None, *tables[1:]), strict=True):
        if one is not None:
            world.apply(one)
        world.client()
        assert len(world.upstreams) == expected


def test_a_clients_own_connections_are_idle_only_when_it_is(wide):
    limits = {"idle_ms": 2000, "heartbeat_ms": 500}
    world = World(pinned(wide, **TWO, limits=limits))
    client = world.client()
    world.feed(client, wide.request(1, b"two m x") + wide.request(1))
    for up in world.upstreams:
        world.feed(up, wide.frame(wide.RESPONSE, 1, b"ok"))
    idle, used = at(world, 9041), at(world, 9000)
    for n in range(20):
        world.wait(400)
        world.feed(client, wide.request(n))
        world.feed(used, wide.frame(wide.RESPONSE, n, b"ok"))
        for frame in world.take(wide, idle):
            if frame[0] == wide.HEARTBEAT:
                world.feed(idle, wide.frame(wide.HEARTBEAT_ACK, frame[2]))
    assert not world.closed
    world.wait(2100)
    assert {client, idle, used} <= set(world.closed)


def test_a_server_that_drains_is_heard_by_its_client(wide):
    world = World(pinned(wide))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    world.feed(up, wide.frame(wide.DRAIN))
    assert [frame[0] for frame in world.take(wide, client)] == [wide.DRAIN]
    world.feed(client, wide.request(2))
    assert statuses(world, wide, client) == [(UNAVAILABLE, 2)]
    world.feed(up, wide.frame(wide.RESPONSE, 1, b"ok"))
    assert statuses(world, wide, client) == [(OK, 1)]
    assert {client, up} <= set(world.closed)


# What servers ask.


@pytest.mark.parametrize("kind", ["wide", "narrow", "named"])
def test_a_clients_answer_goes_to_the_server_that_asked(toys, kind):
    toy = toys[kind]
    world = World(pinned(toy, **TWO))
    client = world.client()
    world.feed(client, toy.request(1) + toy.request(2, b"two m x"))
    one, two = at(world, 9000), at(world, 9041)
    for up in (one, two):
        world.take(toy, up)
    world.batch(("feed", one, toy.request(5, b"call one")), ("feed", two, toy.request(6, b"call two")))
    world.feed(two, toy.request(5, b"call again"))  # an id that the client could not tell apart
    (reply,) = world.take(toy, two)
    assert (reply[1], reply[2], b"another server's with the same id" in reply[3]) == (OVERLOADED, 5, True)
    assert [frame[3] for frame in world.take(toy, client)] == [b"call one", b"call two"]
    world.feed(client, toy.frame(toy.RESPONSE, 6, b"to two") + toy.frame(toy.RESPONSE, 5, b"to one"))
    assert [frame[3] for frame in world.take(toy, one)] == [b"to one"]
    assert [frame[3] for frame in world.take(toy, two)] == [b"to two"]
    world.feed(client, toy.frame(toy.RESPONSE, 5, b"twice") + toy.frame(toy.RESPONSE, 9, b"to nobody"))
    assert world.take(toy, one) == world.take(toy, two) == []
    assert world.stat("answers_unmatched") == 2
    world.feed(two, toy.request(5, b"call again"))
    world.feed(client, toy.frame(toy.RESPONSE, 5, b"to two"))
    assert [frame[3] for frame in world.take(toy, two)] == [b"to two"]


def test_without_ids_a_clients_answers_go_out_in_the_order_it_was_asked(toys):
    toy = toys["ordered"]
    world = World(pinned(toy, **TWO))
    client = world.client()
    world.feed(client, toy.request(0) + toy.request(0, b"two m x"))
    one, two = at(world, 9000), at(world, 9041)
    for up in (one, two, one):
        world.take(toy, up)
        world.feed(up, toy.request(0, b"call"))
    world.feed(client, b"".join(toy.frame(toy.RESPONSE, 0, b"%d" % n) for n in range(3)))
    assert [frame[3] for frame in world.take(toy, one)] == [b"0", b"2"]
    assert [frame[3] for frame in world.take(toy, two)] == [b"1"]


def test_an_answer_for_a_server_that_is_gone_reaches_no_other(wide):
    world = World(pinned(wide, **TWO))
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2, b"two m x"))
    one, two = at(world, 9000), at(world, 9041)
    world.feed(one, wide.request(5, b"call one"))
    world.batch(("error", one))
    world.take(wide, two)
    world.feed(two, wide.request(5, b"call two"))
    assert [frame[1] for frame in world.take(wide, two)] == [OVERLOADED]
    world.feed(client, wide.frame(wide.RESPONSE, 5, b"to one") + wide.frame(wide.RESPONSE, 6, b"to nobody"))
    assert world.take(wide, two) == []


def test_servers_whose_calls_are_never_answered_are_forgotten_in_time(wide):
    world = World(pinned(wide, limits={"client_pause": 1 << 20}))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    most = LIMITS["in_flight_per_connection"]
    for n in range(3 * most):
        world.feed(up, wide.request(n, b"call"))
    assert len(world.take(wide, client)) == 3 * most
    world.take(wide, up)
    world.feed(client, b"".join(wide.frame(wide.RESPONSE, n, b"%d" % n) for n in range(3 * most)))
    assert len(world.take(wide, up)) == 3 * most  # there is no other server that they could be for


# What is one client's stays its own.


def test_a_oneway_request_whose_client_has_left_goes_on_no_others_connection(wide):
    world = World(pinned(wide, plan={"filter_chain": 0}))
    client = world.client()
    world.feed(client, wide.request(1, oneway=True))
    world.batch(("error", client))
    for op in world.filters:
        world.batch(("decide", op.handle, native.DECIDE_CONTINUE))
    assert not world.upstreams
    assert world.stat("requests_active") == 0


# What a client says and leaves: its servers hear it to the end.


def oneways(toy, count, size=0):
    return b"".join(toy.request(n, b"svc m " + b"x" * size, oneway=True) for n in range(count))


@pytest.mark.parametrize("kind", WITH_IDS)
@pytest.mark.parametrize("end", ["eof", "error"])
def test_what_a_client_says_and_leaves_is_written_to_its_server(toys, kind, end):
    toy = toys[kind]
    world = World(pinned(toy))
    client = world.client()
    up = world.only_upstream()
    world.batch(("feed", client, oneways(toy, 3)), (end, client))
    assert [frame[0] for frame in world.take(toy, up)] == [toy.ONEWAY] * 3
    assert world.closed == {client: 0 if end == "eof" else 1, up: 0}


def test_a_clients_answer_is_written_to_who_asked_though_it_leaves_with_it(wide):
    world = World(pinned(wide))
    client = world.client()
    up = world.only_upstream()
    world.feed(up, wide.request(9))
    world.batch(("feed", client, wide.frame(wide.RESPONSE, 9, b"ok")), ("eof", client))
    assert [frame[0] for frame in world.take(wide, up)] == [wide.RESPONSE]
    assert set(world.closed) == {client, up}


def test_a_server_that_reads_slowly_has_time_for_what_its_client_left(wide):
    world = World(pinned(wide))
    client, other = world.client(), world.client()
    up, never = world.upstreams
    world.stuck |= {up, never}
    world.feed(client, wide.request(1) + oneways(wide, 3, 500))
    world.batch(("eof", client))
    assert client not in world.closed  # it waits for an answer
    world.batch(("error", client))
    world.feed(other, oneways(wide, 3, 500))
    world.batch(("eof", other))
    assert set(world.closed) == {client, other}
    world.feed(up, wide.frame(wide.RESPONSE, 1, b"late"))  # nobody's any more
    world.wait(LIMITS["frame_ms"] - 100)
    world.read(up)
    world.batch()
    assert [frame[0] for frame in world.take(wide, up)] == [wide.REQUEST] + [wide.ONEWAY] * 3
    assert world.closed[up] == 0
    world.wait(200)
    assert world.closed[never] == 1, "it has had its time"
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0


@pytest.mark.parametrize("opens", [True, False])
def test_what_waits_for_its_connection_is_written_though_its_client_has_left(wide, opens):
    world = World(pinned(wide))
    world.connect = "wait"
    client = world.client()
    world.feed(client, wide.request(1) + oneways(wide, 3))
    world.batch(("error", client))
    (up,) = world.opening
    assert up not in world.closed
    world.opened(up, failed=not opens)
    if opens:
        assert [frame[0] for frame in world.take(wide, up)] == [wide.ONEWAY] * 3
    assert up in world.closed
    assert world.stat("upstream_connect_failures") == (not opens)
    assert world.stat("requests_active") == world.stat("buffer_bytes") == 0


@pytest.mark.parametrize("asks", [0, 3])
def test_nobody_waits_for_a_connection_whose_client_has_left_with_nothing_to_say(wide, asks):
    world = World(pinned(wide))
    world.connect = "wait"
    client = world.client()
    if asks:
        world.feed(client, b"".join(wide.request(n) for n in range(asks)))
    world.batch(("error", client))
    assert set(world.closed) == {client, *world.opening}
    assert world.stat("upstream_connect_failures") == 0


def test_ids_are_right_when_a_reload_changes_the_mode_under_a_client(toys, wide):
    world = World(pinned(wide))
    client = world.client()
    world.feed(client, wide.request(77))
    own = world.only_upstream()
    world.apply(table([wide.address]))
    world.feed(client, wide.request(78))
    (shared,) = set(world.upstreams) - {own}
    ((_, _, issued, _),) = world.take(wide, shared)
    assert issued != 78
    world.feed(shared, wide.frame(wide.RESPONSE, issued, b"shared"))
    world.feed(own, wide.frame(wide.RESPONSE, 77, b"own"))
    assert statuses(world, wide, client) == [(OK, 78), (OK, 77)]


# Tiny ids.


def test_tiny_ids_that_no_answer_gives_back_wear_a_connection_out_and_another_takes_its_place(toys):
    narrow = toys["narrow"]
    world = World(table([narrow.address], max_connections=1, limits={"probe_ms": 100_000_000}))
    client = world.client()
    for n in range(600):  # one after the other: each is given up
        world.feed(client, narrow.request(n % 256, b"svc m %d" % n))
        assert world.upstreams, n
        (up,) = world.upstreams
        assert [frame[3] for frame in world.take(narrow, up)] == [b"svc m %d" % n]
        time_out(world)
        assert [frame[1] for frame in world.take(narrow, client)] == [TIMEOUT]
    assert 600 // 129 <= len(world.closed) <= 600 // 128
    world.feed(client, narrow.request(1))
    (frame,) = world.take(narrow, world.only_upstream())
    world.feed(world.only_upstream(), narrow.frame(narrow.RESPONSE, frame[2], b"ok"))
    assert [frame[3] for frame in world.take(narrow, client)] == [b"ok"]


def test_a_worn_out_connection_ends_what_is_under_way_on_it_and_gets_nothing_new(toys):
    narrow = toys["narrow"]
    limits = {"in_flight_per_connection": 300, "upstream_in_flight": 300, "probe_ms": 100_000_000}
    world = World(table([narrow.address], max_connections=1, limits=limits, plan={"timeout_ms": 500}))
    client = world.client()
    world.feed(client, b"".join(narrow.request(n) for n in range(128)))
    up = world.only_upstream()
    world.wait(300)
    world.feed(client, narrow.request(200, b"svc m slow"))
    slow = world.take(narrow, up)[-1]
    world.wait(300)
    assert len(world.take(narrow, client)) == 128
    assert up not in world.closed
    world.feed(client, narrow.request(201, b"svc m elsewhere"))
    (other,) = set(world.upstreams) - {up}
    assert [frame[3] for frame in world.take(narrow, other)] == [b"svc m elsewhere"]
    assert world.take(narrow, up) == []
    world.feed(up, narrow.frame(narrow.RESPONSE, slow[2], b"slow"))
    assert [frame[3] for frame in world.take(narrow, client)] == [b"slow"]
    assert up in world.closed


def test_late_answers_make_a_worn_connection_good_again(toys):
    narrow = toys["narrow"]
    limits = {"in_flight_per_connection": 300, "upstream_in_flight": 300, "probe_ms": 100_000_000}
    world = World(table([narrow.address], max_connections=1, limits=limits, plan={"timeout_ms": 500}))
    client = world.client()
    world.feed(client, b"".join(narrow.request(n) for n in range(128)))
    up = world.only_upstream()
    world.wait(300)
    world.feed(client, narrow.request(200, b"svc m slow"))
    frames = world.take(narrow, up)
    world.wait(300)
    for frame in frames[:-1]:
        world.feed(up, narrow.frame(narrow.RESPONSE, frame[2], b"late"))
    world.feed(client, narrow.request(201, b"svc m here"))
    assert [frame[3] for frame in world.take(narrow, up)] == [b"svc m here"]
    assert world.stat("answers_unmatched") == 128


def test_ids_given_up_count_as_taken(toys):
    narrow = toys["narrow"]
    limits = {"connections": 1000, "in_flight": 1000, "upstream_in_flight": 1000}
    world = World(table([narrow.address], max_connections=2, limits=limits))
    methods = ["most"] * 500 + [name for name in "abcdef" for _ in range(40)]
    clients = [world.client() for _ in methods]  # no client and no method asks more than is left for others
    for client, method in zip(clients, methods, strict=True):
        world.feed(client, narrow.request(1, b"svc %b x" % method.encode()))
    asked = [[frame[2] for frame in world.take(narrow, up)] for up in world.upstreams]
    assert [len(set(ids)) for ids in asked] == [255, 255]  # all but the reserved one
    assert {one for client in clients for one, _ in statuses(world, narrow, client)} == {OVERLOADED}
    assert all(7 not in ids for ids in asked)


@pytest.mark.parametrize("what", ["request", "oneway", "heartbeat", "pinned heartbeat"])
@pytest.mark.parametrize("kind", ["wide", "narrow"])
def test_reserved_ids_are_issued_to_nothing(toys, kind, what):
    toy = toys[kind]
    world = World(table([toy.address], pinned=what.startswith("pinned"), limits={"heartbeat_ms": 100}))
    client = world.client()
    world.feed(client, toy.request(7, oneway=True))
    up = world.only_upstream()
    world.take(toy, up)
    issued = []
    for _ in range(300):
        if what in {"request", "oneway"}:
            world.feed(client, toy.request(7, oneway=what == "oneway"))
        else:
            world.wait(150)
        ((sent, _, wire_id, _),) = world.take(toy, up)
        issued.append(wire_id)
        if sent != toy.ONEWAY:
            world.feed(up, toy.frame(toy.RESPONSE if sent == toy.REQUEST else toy.HEARTBEAT_ACK, wire_id))
    assert 7 not in issued
    assert {6, 8} <= set(issued)
    assert len(set(issued)) >= 254
