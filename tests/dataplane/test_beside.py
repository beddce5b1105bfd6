"""Second attempts and copies beside all else that a rule, a cluster or a reload can say."""

from __future__ import annotations

import itertools

import pytest
from construct import GreedyBytes, If, Int8ub, Prefixed, Struct, this
from world import LIMITS, World, table

from protokit import WireFormat, native
from protokit import wire as words
from protokit.config.scalars import Retries
from protokit.config.schema import Breaker, EndpointBreaker
from protokit.dataplane.limits import Mirror
from protokit.testing.tables import TableBuilder, cluster_number
from protokit.wire import ErrorText, Replies, Until, asked, side, starts

OK, APP_ERROR, NO_SERVICE, BAD_REQUEST, TIMEOUT, OVERLOADED, UNAVAILABLE = range(7)
KINDS = ["wide", "narrow", "named", "brief", "ordered", "pingpong"]
WITH_IDS = KINDS[:4]
BALANCES = ["round-robin", "random", "least-request", "peak-ewma", "ring-hash", "maglev"]
REAL, SHADOW = 9000, 9100
METHOD = [("service", ""), ("method", "")]
SHARES = Mirror(1, 10**6, 100, "")


def mirrored(
    codecs,
    *,
    mirror=SHARES,
    shadows=1,
    balance="round-robin",
    hash_by=(),
    of=None,
    seen=None,
    pinned=False,
    **plan,
):
    """``shadows``: endpoints of the shadow; ``of``: its breaker; ``seen``: answers wait for that chain."""
    builder = TableBuilder(LIMITS, seed=42)
    builder.cluster("c", "round-robin", 4, 1000)
    builder.endpoint(0, "127.0.0.1", REAL, 1)
    if shadows:
        builder.cluster("shadow", balance, 1, 1000, hash_by, breaker=of)
    for n in range(shadows):
        builder.endpoint(50 + n, "127.0.0.1", SHADOW + n, 1)
    number = builder.plan("p", mirror=mirror if shadows else None, answer_chain=seen, **plan)
    builder.split(0, 1)
    builder.routes("r")
    builder.rule("*", "*", "*", "*", number)
    builder.listener(0, "in", routes=0, plan=None, pinned=pinned, codecs=codecs)
    return builder.finish()


class Site:
    """A client, and whom its requests and their copies came to."""

    def __init__(self, toy, first) -> None:
        self.toy, self.world, self.number = toy, World(first), 0
        self.clients = [self.world.client()]

    def ask(self, body=b"svc m x", client=0, kind=None):
        self.number += 1
        frame = self.toy.frame(kind or self.toy.REQUEST, self.number, body)
        self.world.feed(self.clients[client], frame)
        return self.asked()

    def asked(self):
        """{port: (upstream, id)} of what was asked since."""
        found = {}
        for up, (_, port) in list(self.world.upstreams.items()):
            for kind, _, number, _ in self.world.take(self.toy, up):
                if kind in (self.toy.REQUEST, self.toy.ONEWAY):
                    found.setdefault(port, []).append((up, number))
        return found

    def answer(self, asked, text=b"there", status=OK, kind=None):
        for up, number in asked:
            if up in self.world.upstreams:
                self.world.feed(up, self.toy.frame(kind or self.toy.RESPONSE, number, text, status))

    def heard(self, client=0):
        return [one[3] for one in self.world.take(self.toy, self.clients[client])]

    def idle(self):
        stats = self.world.core.stats()
        names = (
            "requests_active",
            "mirrors_active",
            "buffer_bytes",
            "filters_waiting",
            "protocol_errors_upstream",
        )
        return {name: stats[name] for name in names if stats[name]} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_every_kind_of_protocol(toys, kind):
    """Their answers are known for what they are: the shadow's one connection stays."""
    site = Site(toys[kind], mirrored([toys[kind].address]))
    for _ in range(4):
        asked = site.ask()
        site.answer(asked[SHADOW], b"shadow")
        site.answer(asked[REAL])
        assert site.heard() == [b"there"]
    assert len(site.world.upstreams) == 2
    assert site.world.stat("mirrors") == 4
    assert site.world.stat("mirrors_failed") == site.world.stat("answers_unmatched") == 0
    assert site.idle()


def by_line(mode):
    """A line; behind it an answer has a body, but to HEAD."""
    verb = words.split(this.line, " ", 3)
    wire = WireFormat(
        Struct(
            "line" / Until(b"\n", max=80),
            "body"
            / If((side == "server") & (asked(starts(verb[0], "HEAD")) == 0), Prefixed(Int8ub, GreedyBytes)),
        ),
        mode=mode,
        response=side == "server",
        service=verb[1],
        method=verb[0],
        replies=Replies(error=lambda *_: {"line": [b"!", ErrorText()], "body": b""}),
    )
    wire.name = "lined"
    return wire


@pytest.mark.parametrize("mode", ["ordered", "pingpong"])
@pytest.mark.parametrize("verbs", list(itertools.product([b"HEAD", b"GET"], repeat=2)))
def test_answers_that_are_laid_out_by_what_was_asked(mode, verbs):
    wire = by_line(mode)
    world = World(mirrored([wire.address]))
    client = world.client()
    for verb in verbs:
        world.feed(client, verb + b" svc\n")
        for up, (_, port) in list(world.upstreams.items()):
            assert world.got[up] == verb + b" svc\n", port
            world.got[up].clear()
            world.feed(up, b"200 x\n" + (b"" if verb == b"HEAD" else b"\x02ab"))
        assert world.got[client] == b"200 x\n" + (b"" if verb == b"HEAD" else b"\x02ab")
        world.got[client].clear()
    assert world.stat("mirrors") == 2
    assert (
        world.stat("mirrors_active")
        == world.stat("protocol_errors_upstream")
        == world.stat("mirrors_failed")
        == 0
    )


@pytest.mark.parametrize("balance", ["ring-hash", "maglev"])
def test_a_shadow_with_consistent_hashing_gets_each_key_at_one_endpoint(wide, balance):
    table = mirrored([wide.address], shadows=3, balance=balance, hash_by=METHOD)
    site = Site(wide, table)
    went = {}
    for n in range(60):
        asked = site.ask(b"svc m%d x" % (n % 6))
        site.answer(asked.pop(REAL))
        ((port, copies),) = asked.items()
        site.answer(copies)
        went.setdefault(n % 6, set()).add(port)
    assert {len(ports) for ports in went.values()} == {1}, went
    assert len(set.union(*went.values())) > 1


@pytest.mark.parametrize("status", [OK, APP_ERROR, OVERLOADED, None, "lost"])
def test_copies_take_places_of_the_shadows_breaker_and_give_them_back(wide, status):
    site = Site(wide, mirrored([wide.address], of=Breaker(requests=8)))
    for _ in range(3):
        copies = []
        for _ in range(12):
            asked = site.ask()
            site.answer(asked[REAL])
            copies += asked.get(SHADOW, [])
        assert site.heard() == [b"there"] * 12
        # Nobody's client holds them; one method alone leaves others what it may not have.
        assert 5 <= len(copies) <= 8
        if status is None:
            site.world.wait(LIMITS["request_ms"] + 100)
        elif status == "lost":
            for up in {up for up, _ in copies}:
                site.world.batch(("error", up))
            site.world.wait(5000)
        else:
            site.answer(copies, status=status)
        assert site.world.stat("mirrors_active") == 0
        assert site.world.shared.under_way(cluster_number("shadow"))["requests"] == 0
    assert site.world.shared.under_way(cluster_number("c"))["requests"] == 0
    assert not any(site.world.stat(name) for name in site.world.core.stats() if name.startswith("errors_"))


@pytest.mark.parametrize("opening", [False, True])
@pytest.mark.parametrize("shadows", [0, 2])
def test_a_reload_takes_the_shadow_away(wide, opening, shadows):
    """It has a copy under way, or one that waits for its connection."""
    site = Site(wide, mirrored([wide.address]))
    site.answer(site.ask()[REAL])  # the real one is open
    if opening:
        for up, (_, port) in list(site.world.upstreams.items()):
            if port == SHADOW:
                site.world.batch(("error", up))
        site.world.wait(5000)
        site.world.connect = "wait"
    asked = site.ask()
    site.world.connect = "ok"
    site.world.apply(mirrored([wide.address], shadows=shadows))
    site.answer(asked[REAL])
    for handle in list(site.world.opening):
        site.world.opened(handle)
    site.world.wait(LIMITS["request_ms"] + 100)
    assert site.heard() == [b"there"] * 2
    assert site.world.stat("mirrors_active") == 0
    assert site.world.retired == [1]


def test_a_drain_waits_for_no_copy(wide):
    site = Site(wide, mirrored([wide.address]))
    asked = site.ask()
    site.answer(asked[REAL])
    site.world.batch(("drain",))
    assert site.world.stat("requests_active") == 0
    site.world.batch(("error", site.clients[0]))
    assert site.world.stat("mirrors_active") == 1
    site.answer(asked[SHADOW])
    assert site.idle()


@pytest.mark.parametrize("kind", WITH_IDS)
def test_parts_of_a_shadows_answer_are_nobodys(toys, kind):
    """The first part ends the copy; those behind it find no other request."""
    toy = toys[kind]
    site = Site(toy, mirrored([toy.address]))
    first = site.ask()
    site.answer(first[SHADOW], b"part", toy.MORE)
    for _ in range(300):  # narrow ids come round
        later = site.ask()
        site.answer(first[SHADOW], b"late", toy.MORE)
        site.answer(later[REAL])
        site.answer(later.get(SHADOW, []), b"shadow")
    site.answer(first[REAL])
    assert site.heard() == [b"there"] * 301
    assert site.world.stat("mirrors_active") == 0


@pytest.mark.parametrize("kind", WITH_IDS)
def test_real_answers_in_parts_are_copied_once(toys, kind):
    toy = toys[kind]
    site = Site(toy, mirrored([toy.address]))
    asked = site.ask()
    for part in (b"a", b"b"):
        site.answer(asked[REAL], part, toy.MORE)
    site.answer(asked[SHADOW])
    site.answer(asked[REAL], b"c")
    assert site.heard() == [b"a", b"b", b"c"]
    assert site.world.stat("mirrors") == 1
    assert site.idle()


@pytest.mark.parametrize("kind", KINDS)
def test_filters_of_answers_see_the_real_ones_alone(toys, kind):
    toy = toys[kind]
    site = Site(toy, mirrored([toy.address], seen=0))
    asked = site.ask()
    site.answer(asked[SHADOW], b"shadow")
    assert site.world.filters == []
    site.answer(asked[REAL])
    (op,) = site.world.filters
    site.world.batch(("decide", op.handle, native.DECIDE_ANSWER))
    assert site.heard() == [b"there"]
    assert site.idle()


def test_on_a_pinned_listener_copies_go_on_connections_of_the_shadows(wide):
    site = Site(wide, mirrored([wide.address], pinned=True))
    site.clients.append(site.world.client())
    for client in (0, 1):
        asked = site.ask(client=client)
        site.answer(asked[REAL])
        assert site.heard(client) == [b"there"]
        site.world.batch(("error", site.clients[client]))
        site.answer(asked[SHADOW])
    assert site.world.stat("mirrors") == 2
    assert site.idle()


# Second attempts.


class Hedged(Site):
    def __init__(self, toy, *, plan=None, **more):
        self.more = {"endpoints": 3, "plan": {"idempotent": True, "hedge_ms": 50, **(plan or {})}, **more}
        super().__init__(toy, self.table(toy))

    def table(self, toy, **more):
        return table([toy.address], **{**self.more, **more})

    def both(self):
        first = self.ask()
        self.world.wait(60)
        return [one for found in (first, self.asked()) for port, asked in found.items() for one in asked]


@pytest.mark.parametrize("balance", BALANCES)
def test_whoever_is_chosen_first_the_second_is_another(wide, balance):
    hash_by = METHOD if balance in ("ring-hash", "maglev") else ()
    site = Hedged(wide, balance=balance, hash_by=hash_by, weights=[5, 1, 1])
    for n in range(12):
        body = b"svc m%d x" % n
        first = site.ask(body)
        site.world.wait(60)
        second = site.asked()
        assert len(first) == len(second) == 1
        assert first.keys() != second.keys()
        site.answer(*first.values())
        site.answer(*second.values())
    assert site.heard() == [b"there"] * 12
    assert site.world.stat("hedges") == 12


@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("loser", ["answers", "hangs", "lost first", "refuses first"])
def test_places_of_breakers_come_back_of_both(wide, winner, loser):
    site = Hedged(
        wide,
        breaker=Breaker(
            requests=8,
            retries=Retries.parse("2"),
            waiting=8,
            connections=8,
            endpoint=EndpointBreaker(requests=4),
        ),
    )
    for _ in range(1 if loser == "lost first" else 12):  # whose connection was lost is not well
        asked = site.both()
        assert site.world.shared.under_way(cluster_number("c"))["requests"] == 2
        other = asked[1 - winner]
        if loser == "lost first":
            site.world.batch(("error", other[0]))
        elif loser == "refuses first":
            site.answer([other], status=OVERLOADED)
        site.answer([asked[winner]], b"won")
        if loser == "answers":
            site.answer([other], b"lost")
        assert site.heard() == [b"won"]
        assert site.world.shared.under_way(cluster_number("c"))["requests"] == 0
        assert site.world.shared.under_way(cluster_number("c"))["retries"] == 0
        site.world.wait(10_000)
    assert site.world.stat("retries") == 0
    assert site.idle()


def test_a_full_breaker_refuses_the_second_attempt_alone(wide):
    site = Hedged(wide, plan={"hedge_most": "50%"}, breaker=Breaker(requests=1))
    for _ in range(8):
        (first,) = site.both()
        site.answer([first])
        assert site.heard() == [b"there"]
    assert site.world.stat("hedges") == site.world.stat("errors_overloaded") == 0
    assert site.world.shared.under_way(cluster_number("c"))["requests"] == 0
    site.world.apply(site.table(wide, breaker=None))  # what could not be had was not spent
    for n in range(8):
        site.answer(site.both())
        assert site.heard() == [b"there"], n
    assert site.world.stat("hedges") == 8


@pytest.mark.parametrize("gone", [0, 1, "both"])
def test_a_reload_takes_endpoints_away_that_one_of_both_is_at(wide, gone):
    site = Hedged(wide, endpoints=2)
    asked = site.both()
    ports = [site.world.upstreams[up][1] for up, _ in asked]
    left = (
        {9: 9009}
        if gone == "both"
        else {1 - gone: ports[1 - gone]}
        if ports == [9000, 9001]
        else {gone: ports[1 - gone]}
    )
    site.world.apply(site.table(wide, ports=left))
    for winner in (0, 1):
        site.answer([asked[winner]], b"%d" % winner)
    assert site.heard() == [b"0"]
    assert site.idle()
    assert site.world.retired == [1]


@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("kind", WITH_IDS)
def test_an_answer_in_parts_is_one_servers(toys, kind, winner):
    toy = toys[kind]
    site = Hedged(toy)
    asked = site.both()
    site.answer([asked[winner]], b"a", toy.MORE)
    site.answer([asked[1 - winner]], b"not", toy.MORE)
    site.answer([asked[1 - winner]], b"not")
    site.answer([asked[winner]], b"b")
    assert site.heard() == [b"a", b"b"]
    assert site.world.stat("hedges_won") == winner
    assert site.idle()


@pytest.mark.parametrize("winner", [0, 1])
def test_filters_of_answers_see_the_winners_alone(wide, winner):
    site = Hedged(wide, seen=["svc"])
    asked = site.both()
    site.answer([asked[winner]], b"won")
    site.answer([asked[1 - winner]], b"lost")
    (op,) = site.world.filters
    site.world.batch(("decide", op.handle, native.DECIDE_ANSWER))
    assert site.heard() == [b"won"]
    assert site.idle()


def test_a_client_that_leaves_ends_both(wide):
    site = Hedged(wide)
    asked = site.both()
    site.world.batch(("error", site.clients[0]))
    site.answer(asked)
    assert site.idle()
    assert [site.world.core.endpoint_stats(uid)["active"] for uid in range(3)] == [0, 0, 0]


def test_both_take_too_long(wide):
    site = Hedged(wide, plan={"timeout_ms": 200})
    asked = site.both()
    site.world.wait(200)
    (text,) = site.heard()
    assert text.startswith(b"protokit: no answer from ")
    site.answer(asked)
    assert site.heard() == []
    assert site.idle()
    assert site.world.stat("errors_timeout") == 1


def test_a_drain_hears_both(wide):
    site = Hedged(wide)
    asked = site.ask()
    site.world.batch(("drain",))
    site.world.wait(60)
    more = site.asked()
    site.answer([one for found in (more, asked) for all_ in found.values() for one in all_])
    assert site.heard()[-1:] == [b"there"]
    assert site.idle()
