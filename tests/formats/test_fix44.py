"""FIX: both sides speak when they like; a checksum in digits follows what filters change."""

from __future__ import annotations

from pathlib import Path

import pytest
from world import World, table

from protokit import native, plugins
from protokit.testing.golden import load_golden

FOLDER = Path(__file__).parents[2] / "examples" / "formats"
FRAMES = {one.name: one.data for one in load_golden(FOLDER / "golden" / "fix44.jsonl")}


@pytest.fixture(scope="module")
def page():
    (plugin,) = plugins.load([], [FOLDER / "fix44.py"]).plugins
    return plugin.protocols["fix44"].wire


def test_messages_go_both_ways_in_their_order(page):
    world = World(table([page.address], pinned=True))
    client = world.client()
    world.feed(client, FRAMES["request Logon"])
    up = world.only_upstream()
    world.feed(up, FRAMES["response Logon"] + FRAMES["oneway TestRequest of the server"])
    asked = [
        "oneway Heartbeat that answers the server",
        "oneway NewOrderSingle",
        "request TestRequest",
        "oneway SequenceReset",
    ]
    world.feed(client, b"".join(FRAMES[name] for name in asked))
    assert bytes(world.got[up]) == b"".join(FRAMES[name] for name in ["request Logon", *asked])
    said = [
        "oneway ExecutionReport",
        "response Heartbeat",
        "oneway ResendRequest",
        "oneway Logout of the server",
    ]
    world.feed(up, b"".join(FRAMES[name] for name in said))
    assert bytes(world.got[client]) == b"".join(
        FRAMES[name] for name in ["response Logon", "oneway TestRequest of the server", *said]
    )


def test_what_cannot_go_anywhere_closes_the_connection_and_nothing_is_said(page):
    world = World(table([page.address], pinned=True), connect="fail")
    client = world.client()
    world.feed(client, FRAMES["request Logon"])
    assert bytes(world.got[client]) == b""
    assert client in world.closed


@pytest.mark.parametrize("at", range(len(FRAMES["oneway Heartbeat of the client"])))
def test_a_byte_that_is_wrong_anywhere_closes_the_connection(page, at):
    frame = FRAMES["oneway Heartbeat of the client"]
    wrong = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
    world = World(table([page.address], pinned=True))
    client = world.client()
    world.feed(client, FRAMES["request Logon"])
    up = world.only_upstream()
    world.feed(client, wrong + frame)
    assert bytes(world.got[up]) == FRAMES["request Logon"]
    assert bytes(world.got[client]) == b""


def test_a_filters_change_has_its_length_and_checksum(page):
    frame = FRAMES["oneway NewOrderSingle"]
    changed = page.edit(
        frame, [(native.EDIT_HEADER, "58", "another text"), (native.EDIT_HEADER, "5000", "new")], "client"
    )
    body = changed.split(b"\x01", 2)[2].removesuffix(changed[-7:])
    assert changed.startswith(b"8=FIX.4.4\x019=%d\x0135=D\x01" % len(body))
    assert body.endswith(b"\x0158=another text\x015000=new\x01")
    assert changed[-7:] == b"10=%03d\x01" % (sum(changed[:-7]) % 256)
    assert native.frame(page.address, native.sent_by("client", changed)).result == 0
