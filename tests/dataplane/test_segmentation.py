"""Real Dubbo frames through the core, cut anywhere: the same bytes come out."""

from __future__ import annotations

import itertools

from dubbo_vectors import LINES
from fewer import many
from hypothesis import given, settings
from hypothesis import strategies as st
from protokit_dubbo import dubbo
from world import World, table

CODEC = dubbo.wire.address
REQUESTS = [
    bytes.fromhex(line["hex"])
    for line in LINES
    if line["expect"]["kind"] in {"request", "oneway", "heartbeat"} and len(line["hex"]) < 8000
]


def through(chunks: list[bytes], *, in_place: bool) -> tuple[bytes, bytes]:
    """What the upstream and the client get when these chunks arrive one after the other."""
    limits = {"in_flight_per_connection": 1000, "upstream_in_flight": 1000, "frame": 1 << 20}
    world = World(table([CODEC], limits=limits))
    client = world.client()
    for chunk in chunks:
        world.core.begin(world.now)
        assert world.core.feed(client, chunk, in_place=in_place)
        world._settle()
    return b"".join(bytes(world.got[up]) for up in world.upstreams), bytes(world.got[client])


@settings(max_examples=many(150), deadline=None)
@given(st.data(), st.booleans())
def test_any_segmentation_gives_the_same_bytes_out(data, in_place):
    frames = data.draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=12))
    stream = b"".join(frames)
    whole = through([stream], in_place=False)
    if data.draw(st.booleans()):
        cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=40))})
    else:
        size = data.draw(st.integers(1, 50))
        cuts = [*range(0, len(stream), size), len(stream)]
    chunks = [stream[a:b] for a, b in itertools.pairwise(cuts)]
    assert through(chunks, in_place=in_place) == whole
