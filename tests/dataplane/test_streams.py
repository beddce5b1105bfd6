"""Several answers to one request: in whose name, in which order, for how long, and what ends them."""

from __future__ import annotations

import pytest
from course import Course
from world import LIMITS

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)
KINDS = ["wide", "narrow", "brief", "named", "own", "ordered", "pingpong"]
WITH_IDS = ["wide", "narrow", "brief", "named", "own"]
TIME = LIMITS["request_ms"]


@pytest.fixture(params=KINDS)
def toy(request, toys):
    return toys[request.param]


@pytest.fixture(params=[False, True], ids=["shared", "pinned"])
def pinned(request):
    return request.param


def test_each_part_goes_on_at_once_under_the_clients_id_and_the_last_one_ends_it(toy, pinned):
    course = Course(toy, pinned=pinned)
    number = course.ask()
    for n, (kind, more) in enumerate([(toy.RESPONSE, 1), (toy.PIECE, 1), (toy.RESPONSE, 1), (toy.PIECE, 0)]):
        course.say(number, b"part %d" % n, kind=kind, more=bool(more))
        status = toy.MORE if more else 0
        assert course.heard() == [(kind, status, course.id(), b"part %d" % n)]
        assert course.world.stat("requests_active") == more
    assert course.world.stat("responses") == 1
    assert course.world.stat("parts") == 4
    # The id, or the turn, is free again.
    number = course.ask(b"svc m second")
    course.say(number, b"second", more=False)
    assert course.bodies() == [b"second"]
    assert course.world.stat("answers_unmatched") == 0


def test_streams_of_several_requests_mix_where_there_are_ids(toys, pinned):
    for kind in WITH_IDS:
        course = Course(toys[kind], pinned=pinned)
        first = course.ask(number=1)
        second = course.ask(b"svc m second", number=2)
        for number, body, more in [(first, b"a", 1), (second, b"b", 1), (first, b"c", 1), (second, b"d", 0)]:
            course.say(number, body, more=bool(more))
        course.say(first, b"e", more=False)
        assert [(one[2], one[3]) for one in course.heard()] == [
            (1, b"a"), (2, b"b"), (1, b"c"), (2, b"d"), (1, b"e"),
        ]  # fmt: skip


def test_in_order_an_answer_waits_with_all_its_parts_and_nothing_comes_between(toys):
    """Two connections: the second request's server is done before the first one's."""
    toy = toys["ordered"]
    course = Course(toy, endpoints=2)
    course.ask(b"svc m first")
    first = course.up
    course.ask(b"svc m second")
    second = course.up
    course.ask(b"svc m third")
    third = course.up
    assert first != second
    course.say(0, b"2 a", up=second)
    assert course.heard() == []
    course.say(0, b"1 a", up=first)
    course.say(0, b"2 b", up=second, kind=toy.PIECE)
    assert course.bodies() == [b"1 a"]
    course.say(0, b"1 b", up=first, more=False)
    assert course.bodies() == [b"1 b", b"2 a", b"2 b"]
    course.say(0, b"2 c", up=second)  # its turn has come: at once
    assert course.bodies() == [b"2 c"]
    course.say(0, b"2 d", up=second, more=False)
    course.say(0, b"3", up=third, more=False)
    assert course.bodies() == [b"2 d", b"3"]
    assert course.world.stat("requests_active") == 0


def test_in_order_a_whole_stream_aside_goes_out_in_one_go(toys):
    toy = toys["ordered"]
    course = Course(toy, endpoints=2)
    course.ask(b"svc m first")
    first = course.up
    course.ask(b"svc m second")
    second = course.up
    sizes = [0, 10, 9000, 9000, 3, 30000, 1]  # within a buffer and over it
    for n, size in enumerate(sizes):
        course.say(0, b"%d" % n * size, up=second, more=n < len(sizes) - 1)
    assert course.heard() == []
    course.say(0, b"first", up=first, more=False)
    assert course.bodies() == [b"first"] + [b"%d" % n * size for n, size in enumerate(sizes)]
    assert course.world.stat("requests_active") == 0
    assert course.world.stat("buffer_bytes") == 0


def test_parts_that_wait_are_bounded_and_who_made_them_wait_pays(toys):
    toy = toys["ordered"]
    course = Course(toy, endpoints=2, limits={"buffer": 1 << 19})
    course.ask(b"svc m first")
    other = course.world.client()
    course.ask(b"svc m second")
    second = course.up
    for _ in range(2000):
        if course.client in course.world.closed:
            break
        course.say(0, b"x" * 1000, up=second)
        assert course.world.stat("buffer_bytes") <= (1 << 19) * 5 // 4
    assert course.client in course.world.closed
    assert other not in course.world.closed


def test_in_pingpong_the_next_request_is_framed_after_the_last_part(toys, pinned):
    toy = toys["pingpong"]
    course = Course(toy, pinned=pinned)
    course.ask()
    course.world.feed(course.client, toy.request(0, b"svc m second"))
    course.say(0, b"a")
    course.say(0, b"b", kind=toy.PIECE)
    for up in course.world.upstreams:
        assert course.world.take(toy, up) == []
    course.say(0, b"c", more=False)
    assert course.bodies() == [b"a", b"b", b"c"]
    course.asked(b"svc m second")


def test_a_connection_in_pingpong_is_nobody_elses_before_the_last_part(toys):
    toy = toys["pingpong"]
    course = Course(toy)
    course.ask()
    first = course.up
    course.say(0, b"a")
    course.ask(b"svc m second", client=course.world.client())
    assert course.up != first


def test_a_stream_lives_as_long_as_it_goes_on(toy, pinned):
    course = Course(toy, pinned=pinned)
    number = course.ask()
    for n in range(10):
        course.world.wait(TIME - 200)
        course.say(number, b"%d" % n)
        assert course.bodies()[-1:] == [b"%d" % n]
    course.world.wait(TIME - 200)
    course.say(number, b"last", more=False)
    assert course.bodies()[-1:] == [b"last"]
    assert course.world.stat("errors_timeout") == 0


@pytest.mark.parametrize("kind", ["response", "piece"])
def test_silence_ends_a_stream(toy, pinned, kind):
    course = Course(toy, pinned=pinned, limits={"probe_ms": 60_000})
    number = course.ask()
    course.say(number, b"a")
    if kind == "piece":
        course.say(number, b"b", kind=toy.PIECE)
    course.world.wait(TIME - 100)
    course.heard()
    course.world.wait(200)
    assert course.world.stat("requests_active") == 0
    assert course.world.outcomes() == {"errors_timeout": 1}
    if kind == "piece" or not toy.id_bytes:
        assert course.world.closed[course.client] == 1  # with a reset: no peer takes that for the end
    else:
        [(what, status, mine, text)] = course.heard()
        assert (what, status, mine) == (toy.RESPONSE, TIMEOUT, 5)
        late = b"protokit: no more of its answer from 127.0.0.1:9000 (cluster c) within 3000 ms"
        assert text == late + b" (rule plan)"
        assert course.client not in course.world.closed


@pytest.mark.parametrize("kind", ["response", "piece"])
def test_a_server_that_is_lost_in_the_middle(toy, pinned, kind):
    plan = {"attempts": 3, "retry_on": 15, "idempotent": True}
    course = Course(toy, pinned=pinned, endpoints=2, plan=plan)
    number = course.ask()
    course.say(number, b"a")
    if kind == "piece":
        course.say(number, b"b", kind=toy.PIECE)
    course.heard()
    course.world.batch(("error", course.up))
    assert course.world.stat("requests_active") == 0
    assert course.world.stat("retries") == 0  # a part is out
    assert course.world.outcomes() == {"errors_unavailable": 1}
    if kind == "piece" or not toy.id_bytes:
        assert course.world.closed[course.client] == 1
    else:
        [(what, status, mine, text)] = course.heard()
        assert (what, status, mine) == (toy.RESPONSE, UNAVAILABLE, 5)
        assert b"the connection was lost to" in text
        assert b"after a part of its answer" in text


def test_in_order_what_nobody_has_seen_of_a_lost_answer_is_an_error(toys):
    toy = toys["ordered"]
    course = Course(toy, endpoints=2)
    course.ask(b"svc m first")
    first = course.up
    course.ask(b"svc m second")
    course.say(0, b"2 a")
    course.world.batch(("error", course.up))
    course.say(0, b"1", up=first, more=False)
    (_, status, _, body), (_, second, _, text) = course.heard()
    assert (status, body, second) == (OK, b"1", UNAVAILABLE)
    assert b"after a part of its answer" in text
    assert course.client not in course.world.closed


def test_a_first_part_that_says_failure_is_passed_on_and_nobody_is_asked_again(toy, pinned):
    plan = {"attempts": 3, "retry_on": 15, "idempotent": True}
    course = Course(toy, pinned=pinned, endpoints=2, plan=plan)
    number = course.ask()
    course.say(number, b"busy", status=OVERLOADED)
    course.say(number, b"that is all", status=OVERLOADED, more=False)
    assert course.bodies() == [b"busy", b"that is all"]
    assert course.world.stat("retries") == 0


def test_an_answer_in_one_part_is_tried_again_as_ever(toy, toys):
    plan = {"attempts": 3, "retry_on": 15, "idempotent": True}
    course = Course(toy, endpoints=2, plan=plan)
    number = course.ask()
    course.say(number, b"busy", status=OVERLOADED, more=False)
    if toy is toys["own"]:  # its server is the client's own
        assert course.bodies() == [b"busy"]
        assert course.world.stat("retries") == 0
        return
    number = course.asked(b"svc m first")
    course.say(number, b"fine")
    course.say(number, b"end", more=False)
    assert course.bodies() == [b"fine", b"end"]
    assert course.world.stat("retries") == 1


def test_the_first_of_two_attempts_that_says_a_part_has_the_answer(toys):
    for kind in ["wide", "narrow", "named"]:
        toy = toys[kind]
        course = Course(toy, endpoints=2, plan={"hedge_ms": 100, "idempotent": True})
        number = course.ask()
        first = course.up
        course.world.wait(150)
        again = course.asked(b"svc m first")
        second = course.up
        assert first != second
        course.say(again, b"b 0")
        course.say(number, b"a 0", up=first)
        course.say(again, b"b 1", up=second)
        course.say(number, b"a 1", up=first, more=False)
        course.say(again, b"b 2", up=second, more=False)
        assert course.bodies() == [b"b 0", b"b 1", b"b 2"]
        assert course.world.stat("requests_active") == 0


def test_no_second_attempt_is_made_once_a_part_came(toys):
    course = Course(toys["wide"], endpoints=2, plan={"hedge_ms": 1000, "idempotent": True})
    number = course.ask()
    course.say(number, b"a")
    course.world.wait(2000)
    assert len(course.world.upstreams) == 1
    assert course.world.stat("requests_active") == 1


@pytest.mark.parametrize("kind", ["wide", "narrow", "brief", "named"])
def test_late_parts_keep_their_id_taken_until_the_last(toys, kind):
    toy = toys[kind]
    course = Course(toy, limits={"upstream_in_flight": 5000, "in_flight_per_connection": 5000})
    number = course.ask()
    course.say(number, b"a")
    course.world.wait(TIME + 100)
    course.heard()
    up = course.up
    used = set()
    for n in range(5000 if toy.id_bytes > 1 else 300):  # more than there are slots
        course.say(number, b"late", up=up)
        mine = course.ask(b"svc m %d" % n, number=n % 200)
        used.add(mine)
        course.say(mine, b"%d" % n, more=False)
        assert course.bodies() == [b"%d" % n]
    width = 256 if toy.id_bytes == 1 else 4096
    assert number % width not in {one % width for one in used}
    course.say(number, b"late", more=False, up=up)
    for n in range(5000):
        mine = course.ask(b"svc m %d" % n, number=n % 200)
        course.say(mine, b"%d" % n, more=False)
        if mine % width == number % width:
            break
    else:
        raise AssertionError("its place never came back")


@pytest.mark.parametrize("kind", ["wide", "brief", "named"])
def test_parts_of_a_stream_that_begins_when_its_caller_has_given_up(toys, kind):
    """Its id was free again where ids are wide: it is taken once more, since a stream may go on for long."""
    toy = toys[kind]
    course = Course(toy)
    number = course.ask()
    course.world.wait(TIME + 100)
    course.heard()
    course.say(number, b"late")
    used = set()
    for n in range(4200):
        mine = course.ask(b"svc m %d" % n, number=n % 200)
        used.add(mine % 4096)
        course.say(mine, b"%d" % n, more=False)
        assert course.bodies() == [b"%d" % n]
    assert number % 4096 not in used


def test_many_streams_that_nobody_hears_wear_a_connection_out(toys):
    """It closes when it owes nothing more, which ends them; another takes its place."""
    toy = toys["narrow"]
    course = Course(toy, limits={"upstream_in_flight": 250, "in_flight_per_connection": 250})
    client = course.client
    for n in range(140):
        number = course.ask(b"svc m %d" % n, number=n)
        course.say(number, b"a")
    first = course.up
    course.world.batch(("error", client))
    assert first in course.world.closed
    other = course.world.client()
    number = course.ask(client=other)
    assert course.up != first
    course.say(number, b"fine", more=False)
    assert course.bodies(other) == [b"fine"]


def test_many_streams_that_nobody_hears_keep_their_ids(toys):
    """Of any width: a connection that such ids use up is worn out, though none of them is narrow."""
    toy = toys["wide"]
    room = {"upstream_in_flight": 5000, "in_flight_per_connection": 5000, "in_flight": 5000}
    course = Course(toy, limits=room, max_connections=1)
    for n in range(2049):
        course.say(course.ask(b"svc m %d" % n, number=n), b"a")
    first = course.up
    course.world.batch(("error", course.client))
    assert first in course.world.closed
    course.ask(client=course.world.client())
    assert course.up != first


def test_in_order_a_stream_whose_turn_has_come_is_half_a_message(toys):
    toy = toys["ordered"]
    course = Course(toy, endpoints=2)
    course.ask(b"svc m first")
    first = course.up
    course.ask(b"svc m second")
    course.say(0, b"2 a")
    course.say(0, b"1", up=first, more=False)
    assert course.bodies() == [b"1", b"2 a"]
    course.world.batch(("error", course.up))
    assert course.heard() == []
    assert course.world.closed[course.client] == 1


def test_a_client_that_leaves_while_a_stream_runs(toy, pinned):
    course = Course(toy, pinned=pinned)
    number = course.ask()
    course.say(number, b"a")
    course.world.batch(("error", course.client))
    own = pinned or toy.name == "own"
    assert (course.up in course.world.closed) == own
    if own:
        return
    other = course.world.client()
    up = course.up
    course.say(number, b"b", up=up)
    mine = course.ask(b"svc m other", client=other, number=9)
    course.say(number, b"c", kind=toy.PIECE, up=up)
    assert course.heard(other) == []
    course.say(number, b"d", more=False, up=up)
    course.say(mine, b"mine", more=False)
    assert course.bodies(other) == [b"mine"]
    assert course.world.stat("requests_active") == 0


@pytest.mark.parametrize("kind", ["ordered", "pingpong"])
def test_a_stream_without_ids_to_nobody_has_no_more_time_than_it_had(toys, kind):
    """Else whoever asks for endless streams and leaves would keep connections for good."""
    course = Course(toys[kind])
    course.ask()
    course.say(0, b"a")
    course.world.batch(("error", course.client))
    for _ in range(9):
        course.world.wait(TIME // 10)
        course.say(0, b"on and on")
    course.world.wait(TIME // 10 - 1)
    assert course.up in course.world.upstreams
    course.world.wait(TIME // 20)
    assert course.up in course.world.closed
    assert course.world.stat("requests_active") == 0


def test_a_slow_reader_of_a_stream_on_a_shared_connection_stalls_nobody(toys):
    for kind in ["wide", "named", "narrow"]:
        toy = toys[kind]
        course = Course(toy)
        number = course.ask()
        world, slow, other = course.world, course.client, course.world.client()
        world.stuck.add(slow)
        for n in range(3000):
            course.say(number, b"x" * 1000)
            if slow in world.closed:
                break
            if n % 100 == 0:
                mine = course.ask(b"svc m other", client=other, number=9)
                course.say(mine, b"mine", more=False)
                assert course.bodies(other) == [b"mine"]
        assert slow in world.closed  # over client_close
        assert course.up not in world.paused
        mine = course.ask(b"svc m other", client=other, number=9)
        course.say(mine, b"mine", more=False)
        assert course.bodies(other) == [b"mine"]


def test_a_part_over_the_limit_fails_the_request_and_the_rest_goes_nowhere(toy):
    course = Course(toy, limits={"frame": 2000})
    number = course.ask()
    course.say(number, b"a")
    course.heard()
    course.say(number, b"x" * 3000, kind=toy.PIECE)
    other = course.world.client()
    assert course.world.stat("answers_too_large") == 1
    if not toy.id_bytes:
        assert course.world.closed[course.client] == 1
    else:
        assert [one[1] for one in course.heard()] == [8]
    if toy.name in {"own", "pingpong"}:
        return
    up = course.up
    mine = course.ask(b"svc m other", client=other, number=9)
    course.say(number, b"late", kind=toy.PIECE, up=up)
    course.say(number, b"late", kind=toy.PIECE, more=False, up=up)
    course.say(mine, b"mine", more=False)
    assert course.bodies(other) == [b"mine"]


def test_in_order_nobody_new_is_put_behind_a_stream(toys):
    """Whose time would be over before his turn, and end the stream with its connection."""
    toy = toys["ordered"]
    course = Course(toy)
    course.ask()
    first, other = course.up, course.world.client()
    course.say(0, b"a")
    course.ask(b"svc m other", client=other)
    assert course.up != first
    course.say(0, b"other", more=False)
    course.say(0, b"b", more=False, up=first)
    assert (course.bodies(), course.bodies(other)) == ([b"a", b"b"], [b"other"])
    for _ in range(2):  # and then it takes requests again
        course.ask(b"svc m again", client=course.world.client())
        if course.up == first:
            break
        course.say(0, b"x")
    assert course.up == first


def test_in_order_whoever_is_behind_a_stream_already_does_not_end_it_with_his_time(toys, pinned):
    toy = toys["ordered"]
    course = Course(toy, pinned=pinned, max_connections=1)
    course.ask()
    other = course.client if pinned else course.world.client()
    course.ask(b"svc m behind", client=other)
    for n in range(6):
        course.world.wait(TIME - 1000)
        course.say(0, b"%d" % n)
    got = [] if pinned else course.heard(other)
    course.say(0, b"end", more=False)
    course.say(0, b"late", more=False)  # to nobody
    course.ask(b"svc m next", client=other)
    course.say(0, b"next", more=False)
    got += course.heard(other)
    assert [one[3] for one in got if not one[1]][-1] == b"next"
    assert len([one for one in got if one[1] == TIMEOUT]) == 1
    assert b"late" not in [one[3] for one in got]
    mine = [one[3] for one in got if one[1] & toy.MORE or one[3] == b"end"] or course.bodies()
    assert mine == [b"0", b"1", b"2", b"3", b"4", b"5", b"end"]


def test_parts_that_nobody_waits_for_are_dropped_and_counted(toy, pinned):
    course = Course(toy, pinned=pinned)
    number = course.ask()
    course.say(number, b"done", more=False)
    assert course.bodies() == [b"done"]
    course.say(number, b"and more", kind=toy.PIECE)
    course.say(number, b"and more", kind=toy.PIECE, more=False)
    assert course.heard() == []
    assert course.world.stat("answers_unmatched") == 2
    assert course.up in course.world.upstreams


def test_a_shutdown_in_the_middle_of_streams(toy, pinned):
    course = Course(toy, pinned=pinned)
    number = course.ask()
    course.say(number, b"a")
    course.say(number, b"b", kind=toy.PIECE)
    course.world.batch(("shutdown",))
    course.world.wait(LIMITS["frame_ms"] + 1000)
    assert course.client in course.world.closed
    assert course.world.stat("requests_active") == 0
    assert course.world.stat("buffer_bytes") == 0
