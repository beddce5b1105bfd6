"""A character beyond U+FFFF is one, be it four bytes or two units of three, for whoever decides by a text."""

from __future__ import annotations

import pytest
from protokit_dubbo.messages import Call
from test_access import Site as Guarded
from test_destinations import Site
from test_matching import HEADED, headed, headed_world, pair, sent, table
from world import World

from protokit import Protocol

ROCKET = "\U0001f680"
NAME = f"org.demo.{ROCKET}"
UNITS = NAME.encode("utf-16-be", "surrogatepass")
FORMS = [
    NAME.encode(),
    b"org.demo." + b"\xed\xa0\xbd\xed\xba\x80",
]
LONE = b"org.demo." + b"\xed\xa0\xbd"  # half of it
MATCHES = {
    "exact": NAME,
    "prefix": NAME + "*",
    "suffix": f"*{ROCKET}",
    "inside": f"*.{ROCKET}*",
    "in": {"in": ["other", NAME]},
    "regex": {"regex": r"org\.demo\.."},
}


def test_they_are_the_two_forms():
    assert FORMS[1].decode("utf-8", "surrogatepass").encode("utf-16-be", "surrogatepass") == UNITS


@pytest.mark.parametrize("form", MATCHES)
def test_a_rule_for_a_service_is_for_both(form):
    """Asked in turns, so that what is remembered of one is not said of another."""
    world = headed_world({"service": MATCHES[form]}, {})
    client = world.client()
    for _ in range(3):
        for name in FORMS:
            assert sent(world, client, headed(1, name, b"")) == 0
            assert sent(world, client, headed(1, name[:-1] + b"\x81", b"")) == (form != "regex")
        assert sent(world, client, headed(1, LONE, b"")) == (form != "regex")
    long = {"service": MATCHES[form], "headers": {"tag": "x"}}  # and where more is asked for
    world = headed_world(long, {})
    client = world.client()
    for name in FORMS:
        assert sent(world, client, headed(1, name, pair(b"tag", b"x"))) == 0
        assert sent(world, client, headed(1, name, pair(b"tag", b"y"))) == 1


def test_a_name_longer_than_the_room_that_there_is():
    rule = {"service": {"regex": ".*"}, "headers": {"tag": {"regex": f"({ROCKET})*"}}}
    world = headed_world(rule, {})
    client = world.client()
    for head in (30 * FORMS[1][9:], 30 * FORMS[0][9:]):
        assert sent(world, client, headed(1, 40 * FORMS[1][9:], pair(b"tag", head))) == 0


@pytest.mark.parametrize("cut", [b"\xed", b"\xed\xa0", b"\xed\xa0\xbd\xed", b"\xed\xa0\xbd\xed\xba"])
def test_what_is_cut_in_the_middle_is_another_text(cut):
    """Also at a frame's end, behind which nothing is read."""
    rules = ({"service": NAME}, {"headers": {"tag": NAME}}, {"headers": {"tag": f"{ROCKET}*"}}, {})
    world = headed_world(*rules)
    client = world.client()
    assert sent(world, client, headed(1, b"org.demo." + cut, b"")) == 3
    assert sent(world, client, headed(1, b"s", pair(b"tag", b"org.demo." + cut))) == 3
    assert sent(world, client, headed(1, b"s", pair(b"tag", FORMS[1][9:] + cut))) == 2


@pytest.mark.parametrize("listed", ["deny", "allow"])
def test_who_is_denied_is_denied_in_both(listed):
    access = {listed: [{"service": NAME}]}
    site = Guarded(
        {"in": {"protocol": "headed"} | access}, protocol=Protocol("headed", HEADED, "with headers")
    )
    client = site.client()
    for name in (*FORMS, *FORMS, b"org.demo.other"):
        site.world.feed(client, headed(1, name, b""))
        told = site.told(client)
        assert bool(told) == ((listed == "deny") == (name in FORMS))
        assert bool(site.sent()) != bool(told)


KEYS = {
    "header": ({"header": "user"}, lambda name: headed(1, b"s", pair(b"user", name))),
    "service": ("service", lambda name: headed(1, name, b"")),
    "several": (["service", {"header": "user"}], lambda name: headed(1, b"s", pair(b"user", name))),
}


@pytest.mark.parametrize("key", KEYS)
def test_both_are_one_key_of_a_limit(key):
    by, frame = KEYS[key]
    limit = {"limit": {"rate": "1/h", "burst": 2, "by": by}}
    world = World(table([{}], Protocol("headed", HEADED, "with headers"), rules=limit))
    client = world.client()
    assert [sent(world, client, frame(name)) for name in FORMS] == [0, 0]
    for name in FORMS:
        assert "rate limit of rule r[0]" in str(sent(world, client, frame(name)))
    assert sent(world, client, frame(b"org.demo.\xf0\x9f\x9a\x81")) == 0, "another character is another key"
    assert sent(world, client, frame(LONE)) == 0


def test_an_address_is_no_text():
    """Addresses that differ in what would be a unit's bits each have their bucket."""
    limit = {"limit": {"rate": "1/h", "burst": 1, "by": "source"}}
    world = World(table([{}], Protocol("headed", HEADED, "with headers"), rules=limit))
    for last in range(16):
        client = world.client(0, f"2001:db8::ed:b0{last:02x}")
        assert sent(world, client, headed(1, b"s", b"")) == 0
        assert "rate limit" in str(sent(world, client, headed(2, b"s", b"")))


@pytest.mark.parametrize("words", [1, 2])
def test_both_name_one_subset(words):
    """And where neither does the error says so."""
    names = ["tag", "user"][:words]
    rule = {"cluster": "c", "subset": {name: {"header": name} for name in names}}
    here, there = dict.fromkeys(names, NAME), dict.fromkeys(names, "v1")
    site = Site("headed", [rule], {"c": {9001: (here, 1), 9002: (there, 1)}})
    for name in FORMS:
        head = b"".join(pair(one.encode(), name) for one in names)
        assert site.send(headed(1, b"s", head)) == 9001
    assert site.ask(dict.fromkeys(names, "v1")) == 9002
    for name in (LONE, b"v2"):
        assert "no endpoint of cluster c has" in site.send(
            headed(1, b"s", b"".join(pair(one.encode(), name) for one in names))
        )


def test_both_name_one_cluster():
    rule = {"cluster": {"header": "to", "of": ["a", NAME]}}
    site = Site("headed", [rule], {"a": {9001: ({}, 1)}, NAME: {9002: ({}, 1)}})
    for name in FORMS:
        assert site.send(headed(1, b"s", pair(b"to", name))) == 9002


def test_both_have_one_share_and_one_place():
    """Of a split, and of a ring; as many users as would tell."""
    split = [{"cluster": "a", "weight": 1}, {"cluster": "b", "weight": 1}]
    rule = {"split": split, "sticky": {"header": "user"}}
    site = Site("headed", [rule], {"a": {9001: ({}, 1)}, "b": {9002: ({}, 1)}})
    found = set()
    for user in range(12):
        told = {site.send(headed(1, b"s", pair(b"user", name + b"%d" % user))) for name in FORMS}
        assert len(told) == 1
        found |= told
    assert found == {9001, 9002}


NAMES = [f"x{ROCKET}{ROCKET}".encode(), b"x" + 2 * FORMS[1][9:]]


@pytest.mark.parametrize("match", ["x", {"present": True}])
def test_a_header_is_found_under_its_name_in_both(match):
    """Where it stands in both, nobody knows which of them its server takes: no rule is the right one."""
    world = headed_world({"headers": {NAMES[0].decode(): match}}, {})
    client = world.client()
    for name in NAMES:
        assert sent(world, client, headed(1, b"s", pair(name, b"x"))) == 0
        assert sent(world, client, headed(1, b"s", pair(name[:-1], b"x"))) == 1
    assert sent(world, client, headed(1, b"s", b"")) == 1
    for one, other in (NAMES, NAMES[::-1]):
        told = sent(world, client, headed(1, b"s", pair(one, b"x") + pair(other, b"y")))
        assert "rule r[0] asks for headers or arguments of the request, which cannot be read" in told


def test_what_is_inside_of_an_argument_is_found_under_its_key_in_both():
    """In four bytes, as some clients write it, and as Hessian does."""
    world = World(table([{"arguments": {f"0.{ROCKET}.b": "gold"}}, {"headers": {ROCKET: "gold"}}, {}]))
    client = world.client()
    argument = Call("s", "m", "Ljava/util/Map;", [{ROCKET: {"b": "gold"}}], request_id=1).encode()
    header = Call("s", "m", "", [], attachments={ROCKET: "gold"}, request_id=1).encode()
    for rule, call in enumerate((argument, header)):
        assert FORMS[1][9:] in call
        shorter = call.replace(FORMS[1][9:], ROCKET.encode())
        shorter = shorter[:12] + (len(shorter) - 16).to_bytes(4, "big") + shorter[16:]
        for frame in (call, shorter):
            world.feed(client, frame)
            assert [port for up, (_, port) in world.upstreams.items() if world.got[up]] == [10_000 + rule]
            for up in world.upstreams:
                world.got[up].clear()
