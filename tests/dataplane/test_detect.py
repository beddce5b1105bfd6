"""Which protocol a client speaks: the bytes decide, in the listener's order, however they are cut."""

from __future__ import annotations

import itertools

import pytest
from fewer import many
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from world import LIMITS, World, table

NAMES = (
    "wide",
    "narrow",
    "ordered",
)  # one beginning, other ids: a frame of one may be another's, or its half
FRAME = 1 << 10


def world_of(toys, names, *, fallback=0):
    codecs = [toys[name].address for name in names]
    return World(table(codecs, rules=[("svc", "*")], fallback=fallback, limits={"frame": FRAME}))


def frame_of(toy):
    """One that the others find too large."""
    return toy.request((1 << 8 * toy.id_bytes) - 1, b"nowhere m x")


def spoken(world, toy, client):
    """The frames a client got, all of them that protocol's."""
    frames = world.take(toy, client)
    assert not world.got[client]
    return frames


@pytest.mark.parametrize(
    "names", list(itertools.permutations(NAMES, 2)) + list(itertools.permutations(NAMES))
)
def test_a_frame_that_only_one_protocol_can_read_is_that_ones_wherever_it_stands(toys, names):
    for name in names:
        toy = toys[name]
        world = world_of(toys, names)
        client = world.client()
        world.feed(client, frame_of(toy) * 30)
        assert len(spoken(world, toy, client)) == 30, name


def test_the_first_in_order_wins_where_several_have_a_whole_frame(toys):
    narrow, ordered = toys["narrow"], toys["ordered"]
    both = bytes.fromhex("7e0100 0001 00")  # one byte of body, or id 0 and 256 bytes of body
    frames = {"ordered": both, "narrow": both + bytes(256)}
    for names, sent, toy in (
        (["ordered", "narrow"], frames["ordered"], ordered),
        (["ordered", "narrow"], frames["narrow"], ordered),
        (["narrow", "ordered"], frames["narrow"], narrow),
    ):
        world = world_of(toys, names)
        client = world.client()
        world.feed(client, sent)
        (reply,) = world.take(toy, client)
        assert (reply[0], reply[1], b"cannot be read" in reply[3]) == (toy.RESPONSE, 3, True), names


def test_one_in_front_that_waits_is_waited_for_until_the_time_limit(toys):
    narrow, wide = toys["narrow"], toys["wide"]
    world = world_of(toys, ["wide", "narrow"])
    client = world.client()
    world.feed(client, narrow.request(0, b"x"))  # seven bytes: a wide one's front is longer
    assert not world.got[client]
    world.wait(LIMITS["detect_ms"] - 10)
    assert not world.got[client]
    world.wait(20)
    assert [frame[1] for frame in spoken(world, narrow, client)] == [3]
    late = world.client()
    frame = wide.request(9, b"nowhere m x")
    world.feed(late, frame[:2])  # no whole frame of anything: the first that may be it has it
    world.wait(LIMITS["detect_ms"] + 10)
    world.feed(late, frame[2:])
    assert [one[2] for one in spoken(world, wide, late)] == [9]


def test_what_cannot_be_any_of_them_is_refused_at_once_and_counted(toys):
    world = world_of(toys, NAMES)
    for junk in (b"G", b"\x7e\x63", b"\x7e\x01\0" + b"\xff" * 20):  # the last one is too large for each
        client = world.client()
        world.feed(client, junk)
        assert client in world.closed
        assert not world.got[client]
    assert world.stat("undetected") == world.stat("protocol_errors_client") == 3


def test_the_only_one_left_says_itself_what_is_wrong(toys):
    wide = toys["wide"]
    other = toys["other"]
    for names in (["wide", "other"], ["other", "wide"]):
        world = world_of(toys, names)
        client = world.client()
        world.feed(client, wide.request(9, bytes(3 * FRAME))[:40])
        ((_, status, request_id, text),) = spoken(world, wide, client)
        assert (status, request_id, b"limit of 1024 bytes" in text) == (3, 9, True)
        assert other.start != wide.start


def test_a_client_that_says_nothing_is_left_alone_and_one_that_stops_is_not(toys):
    world = world_of(toys, ["wide", "narrow"])
    silent, stopped, ended = world.client(), world.client(), world.client()
    world.feed(stopped, b"\x7e")
    world.feed(ended, b"\x7e\x01")
    world.batch(("eof", ended))
    assert ended in world.closed
    world.wait(LIMITS["detect_ms"] + 10)
    assert stopped in world.closed
    assert silent not in world.closed
    assert world.stat("undetected") == 2


def test_a_reload_while_it_is_undecided_asks_the_new_protocols(toys):
    world = world_of(toys, ["wide", "narrow"])
    client = world.client()
    world.feed(client, toys["ordered"].request(0, b"")[:2])
    world.apply(table([toys["ordered"].address], rules=[("svc", "*")]))
    world.feed(client, toys["ordered"].request(0, b"nowhere m x")[2:])
    assert len(spoken(world, toys["ordered"], client)) == 1


def openings(toys):
    bodies = st.sampled_from([b"", b"x", b"svc m x", b"nowhere m x", b"svc m " + bytes(300), bytes(40)])
    kinds = st.sampled_from([1, 1, 1, 2, 3, 4, 6])
    frames = st.builds(
        lambda name, kind, request_id, body: toys[name].frame(kind, request_id % 256, body),
        st.sampled_from([*NAMES, "other"]),
        kinds,
        st.integers(0, 255),
        bodies,
    )
    junk = st.binary(max_size=12) | st.binary(max_size=60).map(lambda data: b"\x7e\x01" + data)
    return st.lists(frames | junk, min_size=1, max_size=4).map(b"".join)


def outcome(toys, names, fallback, chunks, end):
    world = world_of(toys, names, fallback=fallback)
    client = world.client()
    for chunk in chunks:
        world.core.begin(world.now)
        world.core.feed(client, chunk, in_place=True)
        world._settle()
        assert world.stat("buffer_bytes") <= 4 << 16
    if end == "eof":
        world.batch(("eof", client))
    elif end == "silence":
        world.wait(LIMITS["detect_ms"] + 10)
    reached = sorted((address, bytes(world.got[up])) for up, address in world.upstreams.items())
    counted = {name: world.stat(name) for name in ("undetected", "fallback_connections", "requests")}
    return bytes(world.got[client]), client in world.closed, reached, counted


@settings(max_examples=many(400), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_segmentation_of_an_opening_gives_the_same_decision(toys, data):
    names = data.draw(st.lists(st.sampled_from([*NAMES, "other"]), min_size=1, max_size=4, unique=True))
    fallback = data.draw(st.integers(0, 1))
    opening = data.draw(openings(toys))
    end = data.draw(st.sampled_from(["open", "eof", "silence"]))
    whole = outcome(toys, names, fallback, [opening], end)
    event("fallback" if whole[3]["fallback_connections"] else "refused" if whole[1] else "spoken or open")
    each = outcome(toys, names, fallback, [opening[i : i + 1] for i in range(len(opening))], end)
    assert each == whole
    cuts = sorted({0, len(opening), *data.draw(st.lists(st.integers(0, len(opening)), max_size=8))})
    assert outcome(toys, names, fallback, [opening[a:b] for a, b in itertools.pairwise(cuts)], end) == whole
