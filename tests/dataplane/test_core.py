"""What the engine must get right, sentence by sentence, on the core with a virtual clock."""

from __future__ import annotations

import pytest
from world import LIMITS, World, answer, table

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)


@pytest.fixture
def world(wide):
    return World(table([wide.address]))


def test_a_request_goes_up_with_an_id_of_its_own_and_the_answer_comes_back_with_the_callers(world, wide):
    a, b = world.client(), world.client()
    world.batch(("feed", a, wide.request(5, b"svc m A")), ("feed", b, wide.request(5, b"svc m B")))
    up = world.only_upstream()
    first, second = world.take(wide, up)
    assert first[2] != second[2]
    assert {first[3], second[3]} == {b"svc m A", b"svc m B"}
    for frame in (second, first):
        answer(world, wide, up, frame, frame[3])
    assert world.take(wide, a) == [(wide.RESPONSE, OK, 5, b"svc m A")]
    assert world.take(wide, b) == [(wide.RESPONSE, OK, 5, b"svc m B")]


def test_late_duplicate_and_forged_answers_reach_nobody(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (frame,) = world.take(wide, up)
    answer(world, wide, up, frame)
    answer(world, wide, up, frame)  # again
    answer(world, wide, up, (0, 0, frame[2] + 4096, b""))  # the same slot, another id
    answer(world, wide, up, (0, 0, 2**64 - 1, b""))
    assert len(world.take(wide, client)) == 1
    world.feed(client, wide.request(2))
    (frame,) = world.take(wide, up)
    world.wait(LIMITS["request_ms"] + 10)
    assert world.take(wide, client)[0][1] == TIMEOUT
    answer(world, wide, up, frame)  # late
    assert world.take(wide, client) == []
    assert world.stat("answers_unmatched") == 4


def test_what_comes_for_a_client_that_has_left_touches_nobody_in_its_place(world, wide):
    left = world.client()
    world.batch(("error", left))
    other = world.client()
    assert other % 2**32 == left % 2**32  # the same record
    world.batch(("feed", left, wide.request(1)), ("eof", left), ("error", left))
    assert other not in world.closed
    assert world.upstreams == {}
    world.feed(other, wide.request(2))
    (frame,) = world.take(wide, world.only_upstream())
    answer(world, wide, world.only_upstream(), frame)
    assert world.take(wide, other) == [(wide.RESPONSE, OK, 2, b"ok")]


def test_an_answer_matches_only_on_the_connection_it_was_asked_on(wide):
    world = World(table([wide.address], endpoints=2))
    client = world.client()
    world.feed(client, wide.request(1))
    world.feed(client, wide.request(2))
    first, second = world.upstreams
    (frame,) = world.take(wide, first)
    world.feed(second, wide.frame(wide.RESPONSE, frame[2] + 10, b"forged"))
    world.feed(client, wide.frame(wide.RESPONSE, frame[2], b"forged"))  # and from the wrong side
    assert world.take(wide, client) == []
    assert world.stat("answers_unmatched") == 2


def test_reserved_ids_are_never_issued_and_busy_ones_are_skipped(toys):
    narrow = toys["narrow"]
    world = World(
        table([narrow.address], limits={"in_flight_per_connection": 1000, "upstream_in_flight": 1000})
    )
    client = world.client()
    used = []
    for n in range(300):
        world.feed(client, narrow.request(n % 256))
        (frame,) = world.take(narrow, world.only_upstream())
        used.append(frame[2])
        if n % 3:  # every third is never answered
            answer(world, narrow, world.only_upstream(), frame)
    assert 7 not in used
    held = used[0::3]
    assert len(set(held)) == len(held)
    assert set(held).isdisjoint(used[i] for i in range(200, 300) if i % 3)


def test_a_narrow_id_given_up_is_not_issued_again_before_its_late_answer(toys):
    narrow = toys["narrow"]
    world = World(table([narrow.address]))
    client = world.client()
    world.feed(client, narrow.request(1, b"svc m first"))
    (given_up,) = world.take(narrow, world.only_upstream())
    world.wait(LIMITS["request_ms"] + 10)
    world.take(narrow, client)
    for n in range(260):
        world.feed(client, narrow.request(n % 200))
        up = world.only_upstream()
        (frame,) = [one for one in world.take(narrow, up) if one[0] == narrow.REQUEST]
        assert frame[2] != given_up[2]
        answer(world, narrow, up, frame)


@pytest.mark.parametrize("kind", ["wide", "narrow", "ordered", "pingpong"])
def test_every_failure_ends_a_request_exactly_once(toys, kind):
    toy = toys[kind]
    world = World(table([toy.address], rules=[("svc", "*")]))
    client = world.client()
    world.feed(client, toy.request(1, b"other m x"))
    assert [frame[1] for frame in world.take(toy, client)] == [NO_SERVICE]
    world.feed(client, toy.request(2, b"nospaces"))
    assert [frame[1] for frame in world.take(toy, client)] == [BAD_REQUEST]
    world.feed(client, toy.request(3))
    world.batch(("eof", world.only_upstream()))
    (reply,) = world.take(toy, client)
    assert (reply[1], b"connection was lost" in reply[3]) == (UNAVAILABLE, True)
    world.feed(client, toy.request(4))
    world.wait(LIMITS["request_ms"] + 100)
    (reply,) = [frame for frame in world.take(toy, client) if frame[0] == toy.RESPONSE]
    assert (reply[1], b"127.0.0.1:9000 (cluster c) within 3000 ms" in reply[3]) == (TIMEOUT, True)
    world.connect = "fail"
    for up in list(world.upstreams):
        world.batch(("error", up))
    world.feed(client, toy.request(5))
    assert [frame[1] for frame in world.take(toy, client)] == [UNAVAILABLE]
    assert world.stat("requests_active") == 0


def test_a_client_that_never_reads_is_paused_then_closed_and_others_go_on(wide):
    world = World(
        table(
            [wide.address],
            limits={"client_close": 70_000, "in_flight_per_connection": 10_000, "upstream_in_flight": 4000},
        )
    )
    slow, quick = world.client(), world.client()
    world.stuck.add(slow)
    for n in range(64):
        world.feed(slow, wide.request(n))
    up = world.only_upstream()
    frames = world.take(wide, up)
    for frame in frames[:3]:
        answer(world, wide, up, frame, b"x" * 2000)
    assert slow not in world.closed
    world.feed(slow, wide.request(1000))  # it is not read any more: what comes is kept, not handled
    assert world.take(wide, up) == []
    assert slow in world.paused
    world.feed(quick, wide.request(1))
    (frame,) = world.take(wide, up)
    answer(world, wide, up, frame)
    assert len(world.take(wide, quick)) == 1
    for frame in frames[3:]:
        answer(world, wide, up, frame, b"x" * 2000)
    assert world.closed[slow] == 1
    assert up in world.upstreams
    assert world.stat("clients_closed_slow") == 1


def test_a_paused_client_is_read_again_once_it_has_taken_its_bytes(wide, world):
    client = world.client()
    world.stuck.add(client)
    for n in range(4):
        world.feed(client, wide.request(n))
    up = world.only_upstream()
    for frame in world.take(wide, up):
        answer(world, wide, up, frame, b"x" * 2000)
    world.feed(client, wide.request(100) + wide.request(101)[:5])
    world.feed(client, wide.request(101)[5:])
    assert world.take(wide, up) == []
    assert client in world.paused
    world.stuck.clear()
    world.read(client)
    world.batch()
    assert [frame[3] for frame in world.take(wide, up)] == [b"svc m x"] * 2
    assert client not in world.paused


def test_a_full_upstream_connection_is_not_chosen_and_when_all_are_full_it_is_overloaded(wide):
    world = World(table([wide.address], max_connections=2, limits={"upstream_in_flight": 2}))
    client = world.client()
    for n in range(5):
        world.feed(client, wide.request(n))
    assert len(world.upstreams) == 2
    assert [len(world.take(wide, up)) for up in world.upstreams] == [2, 2]
    (reply,) = world.take(wide, client)
    assert (reply[1], reply[2]) == (OVERLOADED, 4)


@pytest.mark.parametrize("why", ["do not read", "are full"])
def test_an_endpoint_gets_no_more_connections_than_its_cluster_says(wide, why):
    """Also where others may still ask: a method of its own, a client that waits for nothing."""
    limits = {"upstream_buffer": 4000} if why == "do not read" else {"upstream_in_flight": 3}
    world = World(table([wide.address], max_connections=3, limits=limits))
    refused = 0
    for n in range(12):
        client = world.client()
        world.feed(client, wide.request(n, b"svc m%d " % n + b"x" * 5000))
        world.stuck.update(world.upstreams)
        refused += [frame[1] for frame in world.take(wide, client)] == [OVERLOADED]
    assert len(world.upstreams) == 3
    assert refused == 12 - 3 * (2 if why == "do not read" else 3)  # one was read, one is queued


def test_an_upstream_that_does_not_read_fills_up_and_is_not_chosen(wide):
    world = World(table([wide.address], max_connections=1, limits={"upstream_buffer": 4000}))
    client = world.client()
    world.feed(client, wide.request(0))
    up = world.only_upstream()
    world.stuck.add(up)
    for n in range(1, 5):
        world.feed(client, wide.request(n, b"svc m " + b"x" * 1500))
    assert [frame[1] for frame in world.take(wide, client)] == [OVERLOADED]


def test_limits_of_requests_in_flight_answer_overloaded(wide):
    world = World(table([wide.address], limits={"in_flight_per_connection": 2, "in_flight": 3}))
    a, b = world.client(), world.client()
    for n in range(3):
        world.feed(a, wide.request(n))
    (reply,) = world.take(wide, a)
    assert (reply[1], b"limit of 2" in reply[3]) == (OVERLOADED, True)
    world.feed(b, wide.request(1))
    world.feed(b, wide.request(2))
    (reply,) = world.take(wide, b)
    assert (reply[1], b"limit of 3" in reply[3]) == (OVERLOADED, True)


def test_the_limit_of_connections_refuses(wide):
    world = World(table([wide.address], limits={"connections": 2}))
    assert world.client() and world.client()
    assert world.client() == 0
    assert world.client(listener=1) == 0  # that has gone meanwhile
    assert (world.stat("connections_refused"), world.stat("connections_late")) == (1, 1)


def test_buffers_stay_within_the_budget(wide):
    world = World(table([wide.address], limits={"buffer": 200_000, "in_flight_per_connection": 1000}))
    clients = [world.client() for _ in range(40)]
    for client in clients:
        world.feed(client, wide.request(1, b"svc m " + b"x" * 20_000)[:15_000])  # half a frame each
        assert world.stat("buffer_bytes") <= 250_000
    assert world.stat("closed_over_budget") > 0
    assert len(world.closed) < len(clients)


def test_a_client_that_dies_half_way_through_a_frame_corrupts_nobody(world, wide):
    dying, other = world.client(), world.client()
    world.feed(dying, wide.request(1, b"svc m " + b"d" * 500)[:200])
    world.feed(other, wide.request(2, b"svc m whole"))
    world.batch(("error", dying))
    up = world.only_upstream()
    assert [frame[3] for frame in world.take(wide, up)] == [b"svc m whole"]
    assert not world.got[up]


@pytest.mark.parametrize("kind", ["wide", "ordered", "pingpong"])
def test_oneway_requests_wait_for_nothing_and_are_never_answered(toys, kind):
    toy = toys[kind]
    world = World(table([toy.address], rules=[("svc", "*")]))
    client = world.client()
    world.feed(client, toy.request(1, oneway=True))
    world.feed(client, toy.request(2, b"nowhere m x", oneway=True))
    assert [frame[0] for frame in world.take(toy, world.only_upstream())] == [toy.ONEWAY]
    assert world.take(toy, client) == []
    assert world.stat("requests_active") == 0
    assert world.outcomes() == {"oneway": 1, "errors_no_service": 1}, "what was not sent is none that was"


def test_ordered_answers_keep_the_order_of_requests_over_endpoints(toys):
    toy = toys["ordered"]
    world = World(table([toy.address], endpoints=2, rules=[("svc", "*")]))
    client = world.client()
    for body in (b"svc m 1", b"svc m 2", b"nowhere m 3", b"svc m 4"):
        world.feed(client, toy.request(0, body))
    asked = {frame[3]: up for up in world.upstreams for frame in world.take(toy, up)}
    assert len(set(asked.values())) == 2
    world.feed(asked[b"svc m 2"], toy.frame(toy.RESPONSE, 0, b"two"))
    assert world.take(toy, client) == []
    world.feed(asked[b"svc m 1"], toy.frame(toy.RESPONSE, 0, b"one"))
    assert [frame[3][:17] for frame in world.take(toy, client)] == [b"one", b"two", b"protokit: no rout"]
    world.feed(asked[b"svc m 4"], toy.frame(toy.RESPONSE, 0, b"four"))
    assert [frame[3] for frame in world.take(toy, client)] == [b"four"]


def test_pingpong_sends_the_next_request_only_after_the_answer(toys):
    toy = toys["pingpong"]
    world = World(table([toy.address]))
    client = world.client()
    world.feed(client, toy.request(0, b"svc m 1") + toy.request(0, b"svc m 2"))
    up = world.only_upstream()
    assert [frame[3] for frame in world.take(toy, up)] == [b"svc m 1"]
    world.feed(up, toy.frame(toy.RESPONSE, 0, b"one"))
    assert [frame[3] for frame in world.take(toy, up)] == [b"svc m 2"]
    world.feed(up, toy.frame(toy.RESPONSE, 0, b"two"))
    assert [frame[3] for frame in world.take(toy, client)] == [b"one", b"two"]


def test_pinned_clients_have_a_connection_of_their_own_with_ids_untouched(wide):
    world = World(table([wide.address], pinned=True))
    a, b = world.client(), world.client()
    world.feed(a, wide.request(77, b"svc m A"))
    world.feed(b, wide.request(77, b"svc m B"))
    ups = {world.take(wide, up)[0][3]: up for up in list(world.upstreams)}
    assert len(ups) == 2
    world.feed(ups[b"svc m A"], wide.frame(wide.RESPONSE, 77, b"for A"))
    assert world.take(wide, a) == [(wide.RESPONSE, OK, 77, b"for A")]
    assert world.take(wide, b) == []
    world.feed(ups[b"svc m B"], wide.request(5, b"svc m callback"))  # the server calls back
    assert world.take(wide, b) == [(wide.REQUEST, 0, 5, b"svc m callback")]
    world.feed(b, wide.frame(wide.RESPONSE, 5, b"called"))
    assert world.take(wide, ups[b"svc m B"]) == [(wide.RESPONSE, 0, 5, b"called")]
    world.batch(("error", a))
    assert ups[b"svc m A"] in world.closed
    assert ups[b"svc m B"] not in world.closed


def test_a_pinned_request_given_up_leaves_nothing_behind_under_an_id_that_is_used_twice(wide):
    world = World(table([wide.address], pinned=True))
    client = world.client()
    world.feed(client, wide.request(5, b"svc m first"))
    up = world.only_upstream()
    world.apply(table([wide.address], pinned=True, plan={"timeout_ms": 100}))
    world.feed(client, wide.request(5, b"svc m second"))
    world.wait(200)
    assert [frame[1] for frame in world.take(wide, client)] == [TIMEOUT]
    other = world.client()  # takes the place of the second in the engine's records
    world.feed(other, wide.request(9, b"svc m other"))
    world.feed(up, wide.frame(wide.RESPONSE, 5, b"one") + wide.frame(wide.RESPONSE, 5, b"two"))
    assert [frame[3] for frame in world.take(wide, client)] == [b"one"]
    assert world.take(wide, other) == []
    assert world.stat("answers_unmatched") == 1


def test_a_pinned_client_whose_connection_cannot_be_opened_is_told_and_may_try_again(wide):
    world = World(table([wide.address], pinned=True), connect="fail")
    client = world.client()
    world.feed(client, wide.request(77))
    assert [frame[1:3] for frame in world.take(wide, client)] == [(UNAVAILABLE, 77)]
    assert (world.stat("requests_active"), world.stat("buffer_bytes")) == (0, 0)
    world.connect = "ok"
    world.wait(3000)
    world.feed(client, wide.request(78))
    assert [frame[2] for frame in world.take(wide, world.only_upstream())] == [78]


def test_a_pinned_client_goes_to_another_endpoint_where_one_cannot_be_reached(wide):
    world = World(table([wide.address], endpoints=2, pinned=True), connect="wait")
    client = world.client()
    world.feed(client, wide.request(77))
    world.opened(world.opening[0], failed=True)
    world.opened(world.opening[0])
    assert [frame[2] for frame in world.take(wide, world.only_upstream())] == [77]
    assert client not in world.closed


def test_what_a_lost_pinned_connection_had_is_answered_and_then_its_client_is_closed(wide):
    """Nothing of it is tried on another connection, which the server would not know."""
    world = World(table([wide.address], endpoints=2, pinned=True))
    client = world.client()
    world.feed(client, wide.request(77))
    (up,) = world.upstreams
    world.batch(("feed", client, wide.request(78)), ("error", up))
    assert [frame[1:3] for frame in world.take(wide, client)] == [(UNAVAILABLE, 77), (UNAVAILABLE, 78)]
    assert client in world.closed
    assert world.stat("requests_active") == 0


def test_a_request_from_an_upstream_that_nobody_can_answer_is_refused_in_its_protocol(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    world.take(wide, up)
    world.feed(up, wide.request(44, b"svc callback x"))
    assert [(f[0], f[1], f[2]) for f in world.take(wide, up)] == [(wide.RESPONSE, BAD_REQUEST, 44)]
    assert world.take(wide, client) == []


def test_a_clients_fin_means_no_more_requests_but_its_answers_come(world, wide):
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2))
    world.batch(("eof", client))
    assert client not in world.closed
    up = world.only_upstream()
    for frame in world.take(wide, up):
        answer(world, wide, up, frame)
    assert [frame[2] for frame in world.take(wide, client)] == [1, 2]
    assert world.closed[client] == 0


def test_requests_that_stood_in_front_of_a_fin_are_all_served(wide):
    limits = {
        "in_flight_per_connection": 4000,
        "in_flight": 4000,
        "upstream_in_flight": 4000,
        "client_pause": 1 << 20,
    }
    world = World(table([wide.address], limits=limits))
    client = world.client()
    data = b"".join(wide.request(n) for n in range(1500))  # more than one turn may frame
    world.batch(("feed", client, data), ("eof", client))
    up = world.only_upstream()
    frames = world.take(wide, up)
    assert len(frames) == 1500
    world.batch(*[("feed", up, wide.frame(wide.RESPONSE, frame[2], b"ok")) for frame in frames])
    assert len(world.take(wide, client)) == 1500
    assert client in world.closed


def test_an_upstreams_fin_what_was_buffered_is_parsed_and_the_rest_fails(world, wide):
    client = world.client()
    world.feed(client, wide.request(1) + wide.request(2))
    up = world.only_upstream()
    first, _ = world.take(wide, up)
    world.batch(("feed", up, wide.frame(wide.RESPONSE, first[2], b"ok")), ("eof", up))
    assert [(frame[2], frame[1]) for frame in world.take(wide, client)] == [(1, OK), (2, UNAVAILABLE)]


def test_a_clients_reset_does_not_count_against_the_endpoint(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (frame,) = world.take(wide, up)
    world.batch(("error", client))
    answer(world, wide, up, frame)
    assert world.core.endpoint_stats(0)["errors"] == 0
    assert world.stat("requests_client_gone") == 1
    assert world.stat("requests_active") == 0
    assert up not in world.closed


def test_drain_signals_are_honoured(wide):
    world = World(table([wide.address], endpoints=2))
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (pending,) = world.take(wide, up)
    world.feed(up, wide.frame(wide.DRAIN))
    for n in range(2, 8):
        world.feed(client, wide.request(n))
    assert world.take(wide, up) == []
    assert up not in world.closed
    answer(world, wide, up, pending)
    assert up in world.closed
    assert world.take(wide, client)[0][2] == 1


def test_undrain_makes_a_connection_usable_again(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    world.feed(up, wide.frame(wide.DRAIN))
    world.feed(up, wide.frame(wide.UNDRAIN))
    world.feed(client, wide.request(2))
    assert len(world.take(wide, up)) == 2


def test_drain_signals_are_sent_and_shutdown_answers_what_is_in_flight(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    world.batch(("drain",))
    assert [frame[0] for frame in world.take(wide, client)] == [wide.DRAIN]
    late = world.client()
    world.feed(late, wide.frame(wide.HEARTBEAT, 1))
    assert wide.DRAIN in [frame[0] for frame in world.take(wide, late)]
    world.batch(("shutdown",))
    assert [frame[1] for frame in world.take(wide, client)] == [UNAVAILABLE]
    assert {client, late} <= set(world.closed)
    assert not world.upstreams
    assert not world.client()
    assert (world.stat("connections_late"), world.stat("connections_refused")) == (1, 0)


def test_detection_takes_the_first_codec_that_fits_and_has_a_timeout(toys):
    world = World(table([toys["wide"].address, toys["narrow"].address]))
    client, slow = world.client(), world.client()
    world.feed(client, toys["wide"].request(1)[:1])
    world.feed(client, toys["wide"].request(1)[1:])
    assert len(world.take(toys["wide"], world.only_upstream())) == 1
    world.feed(slow, b"\x7e")
    world.wait(LIMITS["detect_ms"] + 10)
    assert slow in world.closed
    wrong = world.client()
    world.feed(wrong, b"GET / HTTP/1.1\r\n")
    assert wrong in world.closed


def test_idle_clients_are_closed(world, wide):
    client = world.client()
    world.wait(LIMITS["idle_ms"] + 100)
    assert client in world.closed


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100_000])
@pytest.mark.parametrize("kind", ["wide", "narrow", "ordered"])
def test_any_segmentation_gives_the_same_bytes_out(toys, kind, size):
    toy = toys[kind]
    world = World(table([toy.address], rules=[("svc", "*")]))
    client = world.client()
    data = b"".join(toy.request(n, b"svc m " + bytes([65 + n]) * (n * 37)) for n in range(20))
    for at in range(0, len(data), size):
        world.core.begin(world.now)
        world.core.feed(client, data[at : at + size], in_place=True)
        world._settle()
    up = world.only_upstream()
    frames = world.take(toy, up)
    assert [frame[3] for frame in frames] == [b"svc m " + bytes([65 + n]) * (n * 37) for n in range(20)]
    answers = b"".join(toy.frame(toy.RESPONSE, frame[2], frame[3]) for frame in frames)
    for at in range(0, len(answers), size):
        world.feed(up, answers[at : at + size])
    back = world.take(toy, client)
    assert [frame[3] for frame in back] == [frame[3] for frame in frames]
    if toy.id_bytes:
        assert [frame[2] for frame in back] == list(range(20))


def test_requests_in_flight_finish_on_the_table_they_started_with(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    (frame,) = world.take(wide, up)
    world.apply(table([wide.address], first_uid=5, rules=[("new", "*")]))
    assert world.retired == []
    assert up not in world.closed
    world.feed(client, wide.request(2))  # the new table knows no svc
    assert [reply[1] for reply in world.take(wide, client)] == [NO_SERVICE]
    answer(world, wide, up, frame)
    assert [reply[1] for reply in world.take(wide, client)] == [OK]
    assert world.retired == [1]
    assert up in world.closed  # its endpoint is in no table any more


def test_endpoints_keep_their_connections_and_counters_across_tables(world, wide):
    client = world.client()
    world.feed(client, wide.request(1))
    up = world.only_upstream()
    answer(world, wide, up, world.take(wide, up)[0])
    world.apply(table([wide.address], endpoints=2))
    assert world.retired == [1]
    for n in range(2, 6):
        world.feed(client, wide.request(n))
    assert up in world.upstreams
    assert world.core.endpoint_stats(0)["requests"] == 3
    assert world.core.endpoint_stats(1)["requests"] == 2


def test_an_endpoint_that_refuses_is_left_alone_for_a_while(wide):
    world = World(table([wide.address]), connect="fail")
    client = world.client()
    for n in range(5):
        world.feed(client, wide.request(n))
    assert [frame[1] for frame in world.take(wide, client)] == [UNAVAILABLE] * 5
    assert world.stat("upstream_connects") == 1
    world.connect = "ok"
    world.wait(3000)
    world.feed(client, wide.request(6))
    assert len(world.take(wide, world.only_upstream())) == 1


def test_a_connection_that_does_not_open_in_time_fails_over(wide):
    world = World(table([wide.address], endpoints=2, connect_ms=200), connect="wait")
    client = world.client()
    world.feed(client, wide.request(1))
    first = world.opening.pop()
    world.wait(190)
    assert first not in world.closed
    (second,) = world.opening  # begun when the first was slow
    world.wait(11)
    assert first in world.closed
    world.opened(second)
    assert len(world.take(wide, world.only_upstream())) == 1


def test_descriptors_that_run_out_here_say_nothing_of_the_servers(wide):
    world = World(table([wide.address], endpoints=2), connect="exhausted")
    client = world.client()
    for number in range(1, 9):
        world.feed(client, wide.request(number))
    for _, status, _, text in world.take(wide, client):
        assert status == OVERLOADED
        assert text.startswith(b"protokit: no descriptor or memory is left to connect to ")
    assert world.stat("connect_errors") == 8 * 3  # each asked both, and one again
    assert world.stat("upstream_connect_failures") == world.stat("errors_unavailable") == 0
    for uid in range(2):
        stats = world.core.endpoint_stats(uid)
        assert stats["connect_failures"] == stats["errors"] == stats["connections"] == 0
    world.connect = "ok"
    world.feed(client, wide.request(9))  # at once: nobody was put off
    (frame,) = world.take(wide, world.only_upstream())
    answer(world, wide, world.only_upstream(), frame)
    assert world.take(wide, client) == [(wide.RESPONSE, OK, 9, b"ok")]
