"""LDAP: searches with many answers, errors as the answer to what was asked, what servers say unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from world import World, table

from protokit import native, plugins
from protokit.testing.golden import load_golden

FOLDER = Path(__file__).parents[2] / "examples" / "formats"


@pytest.fixture(scope="module")
def page():
    (plugin,) = plugins.load([], [FOLDER / "ldap.py"]).plugins
    return plugin.protocols["ldap"].wire


FRAMES = {one.name: one.data for one in load_golden(FOLDER / "golden" / "ldap.jsonl")}


def with_id(page, name, number):
    """A recorded frame under another id."""
    return native.patch_id(page.address, FRAMES[name], number)


def test_a_search_has_all_its_answers_and_the_next_one_has_its_own(page):
    world = World(table([page.address], pinned=True))
    client = world.client()
    world.feed(client, FRAMES["request search"] + FRAMES["request compare"])
    up = world.only_upstream()
    assert bytes(world.got[up]) == FRAMES["request search"] + FRAMES["request compare"]
    answers = ["response entry", "response compare", "response entry 2", "response search"]
    for name in answers:
        world.feed(up, FRAMES[name])
    assert bytes(world.got[client]) == b"".join(FRAMES[name] for name in answers)
    world.got[client].clear()
    world.feed(up, FRAMES["response entry"] + FRAMES["response search"])  # nobody's any more
    assert bytes(world.got[client]) == b""


@pytest.mark.parametrize(
    ("operation", "tag"),
    [
        ("bind", 0x61),
        ("search", 0x65),
        ("add", 0x69),
        ("modify", 0x67),
        ("compare", 0x6F),
        ("modifyDN", 0x6D),
        ("delete", 0x6B),
        ("extended", 0x78),
    ],
)
@pytest.mark.parametrize("request_id", [b"\1", b"\x7f", b"\0\x80", b"\x7f\xff\xff\xff"])
def test_an_error_is_the_answer_to_what_was_asked(page, operation, tag, request_id):
    world = World(table([page.address], pinned=True), connect="fail")
    client = world.client()
    world.feed(client, with_id(page, f"request {operation}", request_id))
    answer = bytes(world.got[client])
    one = page.message(answer)
    assert (one.kind, one.id, one.size) == ("response", request_id, len(answer))
    text = b"\4\x82" + answer.split(b"\4\0\4\x82", 1)[1]
    result = b"\x0a\1\x34\4\0" + text
    inner = b"\2%c%b%c\x82" % (len(request_id), request_id, tag) + len(result).to_bytes(2, "big") + result
    assert answer == b"\x30\x82" + len(inner).to_bytes(2, "big") + inner
    assert int.from_bytes(text[2:4], "big") == len(text) - 4 > 0


def test_what_nobody_answers_goes_to_the_clients_server_and_is_not_answered(page):
    world = World(table([page.address], pinned=True))
    client = world.client()
    abandon = b"\x30\6\2\1\5\x50\1\2"
    world.feed(client, FRAMES["request search"] + abandon + FRAMES["oneway unbind"])
    up = world.only_upstream()
    assert bytes(world.got[up]) == FRAMES["request search"] + abandon + FRAMES["oneway unbind"]
    assert bytes(world.got[client]) == b""


def test_a_notice_of_disconnection_goes_to_the_client(page):
    world = World(table([page.address], pinned=True))
    client = world.client()
    world.feed(client, FRAMES["request bind"])
    up = world.only_upstream()
    oid = b"1.3.6.1.4.1.1466.20036"
    result = b"\x0a\1\x34\4\0\4\0\x8a%c" % len(oid) + oid
    notice = b"\2\1\0\x78%c" % len(result) + result
    notice = b"\x30%c" % len(notice) + notice
    world.feed(up, notice)
    assert bytes(world.got[client]) == notice


def test_a_searchs_time_is_its_own(page):
    assert native.request(page.address, FRAMES["request search"]).timeout_ms == 5000
    assert native.request(page.address, FRAMES["request add"]).timeout_ms == 0
