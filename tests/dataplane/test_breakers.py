"""Breakers of clusters: how much may be under way, in total over all workers, and who pays for its end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import LIMITS, World, table

from protokit import native
from protokit.config.scalars import Retries
from protokit.config.schema import Breaker, EndpointBreaker
from protokit.testing.tables import TableBuilder, cluster_number

OK, TIMEOUT, OVERLOADED, UNAVAILABLE = 0, 4, 5, 6
C = cluster_number("c")
ALL = ("wide", "ordered", "pingpong", "named", "own")


def breaker(**fields) -> Breaker:
    if "retries" in fields:
        fields["retries"] = Retries.parse(str(fields["retries"]))
    endpoint = {
        name.removeprefix("endpoint_"): fields.pop(name) for name in [*fields] if name.startswith("e")
    }
    return Breaker(**fields, endpoint=EndpointBreaker(**endpoint) if endpoint else None)


class Asking:
    """A world with a breaker: clients ask, servers keep what they were asked until told to answer."""

    def __init__(self, toy, of, *, shared=None, connect="ok", **more) -> None:
        self.toy, self.more = toy, {"breaker": of, **more}
        self.world = World(self.table(), shared=shared, connect=connect)
        self.waiting: list[tuple[int, int, int]] = []  # (server, the id there, who asked)
        self.number = 0

    def table(self, **more):
        return table([self.toy.address], **{**self.more, **more})

    def client(self) -> int:
        return self.world.client()

    def ask(self, client, method="m", *, oneway=False) -> None:
        self.number += 1
        self.world.feed(client, self.toy.request(self.number, b"svc %s x" % method.encode(), oneway=oneway))
        self.hear(client)

    def hear(self, client=0) -> None:
        for server in list(self.world.upstreams):
            for kind, _, at, _ in self.world.take(self.toy, server):
                if kind == self.toy.REQUEST:
                    self.waiting.append((server, at, client))

    def answer(self, count=1, status=OK) -> None:
        for _ in range(count):
            server, at, _ = self.waiting.pop(0)
            self.world.feed(server, self.toy.frame(self.toy.RESPONSE, at, b"x", status))
            self.hear()

    def got(self, client) -> list[tuple[int, bytes]]:
        """(status, text) of what the client was answered since the last time."""
        return [(status, text) for _, status, _, text in self.world.take(self.toy, client)]

    def under_way(self, name="requests") -> int:
        return self.world.shared.under_way(C)[name]

    def refused(self, name="requests") -> int:
        return self.world.shared.refused(C)[name]


@pytest.fixture
def toy(toys):
    return toys["wide"]


@pytest.mark.parametrize("kind", ALL)
def test_so_many_requests_and_not_one_more(toys, kind):
    asking = Asking(toys[kind], breaker(requests=4), pinned=kind == "own", max_connections=8)
    clients = [asking.client() for _ in range(6)]
    for n, client in enumerate(clients):
        asking.ask(client, f"m{n}")
    assert len(asking.waiting) == asking.under_way() == 4
    for client in clients[4:]:
        ((status, text),) = asking.got(client)
        assert status == OVERLOADED
        assert text == b"protokit: overloaded: breaker requests of cluster c is at the limit of 4"
    assert asking.refused() == 2
    asking.answer()
    asking.ask(clients[5], "m5")
    assert asking.got(clients[5]) == []
    asking.answer(4)
    assert asking.under_way() == 0
    assert asking.world.stat("requests_active") == 0


def test_one_client_leaves_a_place_to_others(toy):
    asking = Asking(toy, breaker(requests=16))
    worst, other = asking.client(), asking.client()
    for n in range(20):
        asking.ask(worst, f"m{n}")
    ((said, rest),) = {text.partition(b" as others ")[::2] for _, text in asking.got(worst)}
    assert said == b"protokit: overloaded: breaker requests of cluster c: this client has as much under way"
    assert rest == b"may still have, of 16"
    assert asking.under_way() == 14
    asking.ask(other, "n")
    assert asking.got(other) == []
    assert asking.under_way() == 15


def test_many_clients_of_a_hung_method_leave_a_place_to_other_methods(toy):
    asking = Asking(toy, breaker(requests=16), rules=[("svc", "hung"), ("svc", "*")])
    many, other = [asking.client() for _ in range(20)], asking.client()
    for client in many:
        asking.ask(client, "hung")
    refused = [client for client in many if asking.got(client)]
    assert len(refused) == 5
    asking.ask(other, "well")
    assert asking.got(other) == []


def test_all_workers_count_together(toy):
    shared = native.Shared()
    workers = [Asking(toy, breaker(requests=6), shared=shared) for _ in range(3)]
    for n in range(8):
        for one in workers:
            one.ask(one.client(), f"m{n}")
    assert sum(len(one.waiting) for one in workers) == workers[0].under_way() == 6
    assert workers[0].refused() == 18
    for one in workers:
        one.answer(len(one.waiting))
    assert workers[0].under_way() == 0


def test_a_reload_keeps_the_count_and_the_new_limit_holds(toy):
    asking = Asking(toy, breaker(requests=8))
    clients = [asking.client() for _ in range(20)]
    for n in range(6):
        asking.ask(clients[n], f"m{n}")
    asking.world.apply(asking.table(breaker=breaker(requests=7)))
    assert asking.under_way() == 6
    asking.ask(clients[7], "m7")
    asking.ask(clients[8], "m8")
    assert len(asking.waiting) == asking.under_way() == 7
    asking.world.apply(asking.table(breaker=None))  # who was counted still gives his place back
    asking.ask(clients[9], "m9")
    assert asking.under_way() == 7
    asking.answer(8)
    assert asking.under_way() == 0


def ways():
    """Each way for a request to end, of those that the core tells apart."""

    def left(asking, client):
        asking.world.batch(("error", client))

    def lost(asking, client):
        asking.world.batch(("error", asking.world.only_upstream()))

    def late(asking, client):
        asking.world.wait(4000)

    def answered(asking, client):
        asking.answer()

    def refused(asking, client):
        asking.answer(status=UNAVAILABLE)

    def stopped(asking, client):
        asking.world.batch(("shutdown",))

    def gone(asking, client):
        asking.world.apply(asking.table(ports={7: 9777}))
        asking.world.wait(4000)

    return [left, lost, late, answered, refused, stopped, gone]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("oneway", [False, True])
@pytest.mark.parametrize("connect", ["ok", "wait"])
@pytest.mark.parametrize("way", ways(), ids=lambda way: way.__name__)
def test_a_place_comes_back_once_whatever_ends_it(toys, kind, way, connect, oneway):
    toy = toys[kind]
    every = breaker(
        connections=3, waiting=3, requests=3, retries=3, endpoint_connections=3, endpoint_requests=3
    )
    asking = Asking(toy, every, connect=connect, pinned=kind == "own")
    client = asking.client()
    asking.ask(client, oneway=oneway)
    opening = connect == "wait"
    held = int(opening or not oneway)
    assert asking.under_way("connections") == 1
    assert (asking.under_way(), asking.under_way("waiting")) == (held, int(opening))
    assert asking.world.shared.endpoint(0) == {"connections": 1, "requests": held}
    if opening and way.__name__ in {"answered", "refused"}:
        asking.world.opened(asking.world.opening[0])
        assert asking.under_way("waiting") == 0
        asking.hear()
    if asking.waiting or way.__name__ not in {"answered", "refused"}:
        way(asking, client)
    asking.world.wait(10_000)  # ids that are taken, tries that follow
    for one in list(asking.world.upstreams):
        asking.world.batch(("error", one))
    asking.world.wait(10_000)
    assert not asking.world.upstreams
    left = asking.world.shared.under_way(C)
    assert left == dict.fromkeys(left, 0)
    assert asking.world.shared.endpoint(0) == {"connections": 0, "requests": 0}
    assert asking.refused() == 0


@pytest.mark.parametrize("failed", [False, True])
def test_who_waits_for_a_connection_is_counted(toy, failed):
    asking = Asking(toy, breaker(waiting=4), connect="wait")
    clients = [asking.client() for _ in range(6)]
    for n, client in enumerate(clients):
        asking.ask(client, f"m{n}")
    assert asking.under_way("waiting") == 4
    assert [len(asking.got(client)) for client in clients] == [0, 0, 0, 0, 1, 1]
    assert asking.refused("waiting") == 2
    asking.world.opened(asking.world.opening[0], failed=failed)
    if failed:
        asking.world.wait(4000)
    assert asking.under_way("waiting") == 0


def test_a_client_that_waits_leaves_a_place_to_others(toy):
    asking = Asking(toy, breaker(waiting=4), connect="wait")
    worst, other = asking.client(), asking.client()
    for _ in range(6):
        asking.ask(worst)
    assert asking.under_way("waiting") == 3
    asking.ask(other)
    assert asking.got(other) == []


def test_connections_of_all_kinds_count(toys):
    """A pinned client is refused where they are at the limit; requests on shared ones go on."""
    toy = toys["own"]
    asking = Asking(toy, breaker(connections=2), endpoints=1, pinned=True)
    clients = [asking.client() for _ in range(3)]
    for client in clients:
        asking.ask(client)
    assert asking.under_way("connections") == len(asking.world.upstreams) == 2
    ((status, text),) = asking.got(clients[2])
    assert status == OVERLOADED
    assert text == b"protokit: overloaded: breaker connections of cluster c is at the limit of 2"
    assert asking.refused("connections") >= 1
    asking.world.batch(("error", clients[0]))
    asking.world.wait(100)
    asking.ask(clients[2])
    assert asking.got(clients[2]) == []


def test_raw_connections_count_and_their_client_is_closed(toy):
    asking = Asking(toy, breaker(connections=2), fallback=-1)
    clients = [asking.client() for _ in range(3)]
    for client in clients:
        asking.world.feed(client, b"\xff" * 64)
    assert asking.under_way("connections") == 2
    assert clients[2] in asking.world.closed
    assert asking.refused("connections") == 1


def test_each_worker_has_one_connection_to_each_endpoint_in_any_case(toy):
    """Else those whose worker came late could ask nothing, however little the others ask."""
    shared = native.Shared()
    workers = [Asking(toy, breaker(connections=1), shared=shared, endpoints=2) for _ in range(3)]
    for one in workers:
        client = one.client()
        for n in range(4):
            one.ask(client, f"m{n}")
        assert one.got(client) == []
    assert workers[0].under_way("connections") <= 6


def test_pinned_clients_take_no_connection_from_shared_ones(toys):
    asking = Asking(toys["wide"], breaker(connections=2), fallback=-1)
    for _ in range(3):
        asking.world.feed(asking.client(), b"\xff" * 64)
    client = asking.client()
    asking.ask(client)
    assert asking.got(client) == []
    assert len(asking.waiting) == 1


def test_an_endpoint_has_a_breaker_of_its_own(toy):
    asking = Asking(toy, breaker(endpoint_requests=3), endpoints=3)
    clients = [asking.client() for _ in range(12)]
    for n, client in enumerate(clients):
        asking.ask(client, f"m{n}")
    assert {uid: asking.world.shared.endpoint(uid)["requests"] for uid in range(3)} == {0: 3, 1: 3, 2: 3}
    texts = {text for client in clients for _, text in asking.got(client)}
    assert texts == {b"protokit: overloaded: breaker endpoint.requests of cluster c is at the limit of 3"}
    assert asking.refused("endpoint-requests") == 3


def test_a_slow_endpoint_takes_no_requests_from_the_others(toy):
    """It has as many as it may have; what is more goes elsewhere, and nothing is refused."""
    asking = Asking(toy, breaker(endpoint_requests=4), endpoints=2)
    clients = [asking.client() for _ in range(40)]
    for n, client in enumerate(clients):
        asking.ask(client, f"m{n}")
        port = {server: asking.world.upstreams[server][1] for server, *_ in asking.waiting}
        for i in [i for i, (server, *_) in enumerate(asking.waiting) if port[server] == 9001]:
            asking.waiting.insert(0, asking.waiting.pop(i))
            asking.answer()
    assert asking.world.shared.endpoint(0)["requests"] == 4
    assert asking.refused("endpoint-requests") == 0


RETRY = {"attempts": 3, "retry_on": ("unavailable",), "idempotent": True, "backoff": (1000, 1000)}


def test_so_many_retries_with_those_that_wait_for_theirs(toy):
    asking = Asking(toy, breaker(retries=4), endpoints=2, plan=RETRY)
    clients = [asking.client() for _ in range(8)]
    for n, client in enumerate(clients):
        asking.ask(client, f"m{n}")
    asking.answer(8, UNAVAILABLE)
    assert asking.under_way("retries") == 4
    assert asking.refused("retries") == 4
    assert sum(len(asking.got(client)) for client in clients) == 4
    asking.world.wait(1100)
    asking.hear()
    assert len(asking.waiting) == asking.under_way("retries") == 4
    asking.answer(4)
    assert asking.under_way("retries") == 0


def test_retries_of_one_client_leave_one_to_others(toy):
    asking = Asking(toy, breaker(retries=4), endpoints=2, plan=RETRY)
    worst, other = asking.client(), asking.client()
    for n in range(8):
        asking.ask(worst, f"m{n}")
    asking.answer(8, UNAVAILABLE)
    assert asking.under_way("retries") == 3
    asking.ask(other)
    asking.answer(1, UNAVAILABLE)
    assert asking.got(other) == []
    assert asking.under_way("retries") == 4


def test_a_share_of_retries_is_the_clusters_whatever_its_rules_say(toy):
    asking = Asking(toy, breaker(retries="10%"), plan={**RETRY, "backoff": (0, 0)})
    client = asking.client()
    for n in range(100):
        asking.ask(client, f"m{n}")
        asking.answer(1, UNAVAILABLE)
        if asking.waiting:
            asking.answer()
    assert 3 <= asking.world.stat("retries") <= 10


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "ask", "ask", "answer", "leave", "reload", "lose", "late"]),
            st.integers(0, 5),
            st.integers(0, 3),
        ),
        max_size=60,
    ),
)
def test_the_words_are_what_is_under_way(most, each, endpoints, steps):
    """Random worlds, two workers: a model that counts what servers have been asked and have not answered."""
    toy = TOYS["wide"]
    shared = native.Shared()
    of = breaker(requests=most, endpoint_requests=each, connections=50, waiting=50)
    workers = [Asking(toy, of, shared=shared, endpoints=endpoints) for _ in range(2)]
    clients = [[one.client() for _ in range(6)] for one in workers]
    for what, who, method in steps:
        at = who % 2
        one = workers[at]
        if what == "ask":
            before = sum(len(w.waiting) for w in workers)
            one.ask(clients[at][who], f"m{method}")
            refused = [status for status, _ in one.got(clients[at][who]) if status != OK]
            after = sum(len(w.waiting) for w in workers)
            assert (after - before, refused) in [(1, []), (0, [OVERLOADED])]
            assert after <= most
            if refused:  # nobody is refused while all of three quarters is free
                busiest = max(shared.endpoint(uid)["requests"] for uid in range(endpoints))
                assert before * 4 > most * 3 or busiest * 4 > each * 3 or most < 8 or each < 8
        elif what == "answer" and one.waiting:
            one.answer()
        elif what == "leave":
            one.world.batch(("error", clients[at][who]))
            one.waiting = [left for left in one.waiting if left[2] != clients[at][who]]
            clients[at][who] = one.client()
        elif what == "reload":
            one.world.apply(one.table())
        elif what == "lose" and one.world.upstreams:
            server = min(one.world.upstreams)
            one.world.batch(("error", server))
            one.waiting = [left for left in one.waiting if left[0] != server]
            one.hear()
            for client in clients[at]:
                one.got(client)
        elif what == "late":
            one.world.wait(3100)
            one.waiting.clear()
            for client in clients[at]:
                one.got(client)
        assert shared.under_way(C)["requests"] == sum(len(w.waiting) for w in workers)
        assert sum(shared.endpoint(uid)["requests"] for uid in range(endpoints)) == sum(
            len(w.waiting) for w in workers
        )
        assert shared.under_way(C)["connections"] == sum(len(w.world.upstreams) for w in workers)


TOYS: dict = {}


@pytest.fixture(autouse=True)
def _toys(toys):
    TOYS.update(toys)


@pytest.mark.parametrize("how", ["left", "late", "shutdown"])
def test_a_retry_that_waits_gives_its_place_back(toy, how):
    asking = Asking(
        toy, breaker(retries=4), plan={**RETRY, "backoff": (2000, 2000)}, limits={"request_ms": 2500}
    )
    client = asking.client()
    asking.ask(client)
    asking.answer(1, UNAVAILABLE)
    assert asking.under_way("retries") == 1
    if how == "late":
        asking.world.wait(3000)
        asking.hear()
    else:
        asking.world.batch(("error", client) if how == "left" else ("shutdown",))
    assert asking.under_way("retries") == 0


def test_a_retry_without_room_to_wait_gives_its_place_back_before_its_turn(toys):
    """Where answers keep the order of requests, its error waits behind one that is not answered."""
    asking = Asking(
        toys["ordered"],
        breaker(retries=4),
        endpoints=2,
        plan={**RETRY, "backoff": (2000, 2000)},
        limits={"filters": 1},
    )
    first, second = asking.client(), asking.client()
    asking.ask(first)
    asking.answer(1, UNAVAILABLE)
    for _ in range(2):
        asking.ask(second)
    asking.waiting.reverse()
    asking.answer(1, UNAVAILABLE)
    assert len(asking.waiting) == 1
    assert asking.under_way("retries") == 1
    asking.answer(1)
    ((_, text), (status, _)) = asking.got(second)
    assert (text, status) == (b"x", OVERLOADED)
    assert asking.under_way("retries") == 1


@pytest.mark.parametrize("limit", ["in_flight", "filters"])
def test_a_rule_with_long_waits_between_tries_takes_no_places_of_others(toy, limit):
    limits = {"in_flight": 6, "filters": 256} if limit == "in_flight" else {"in_flight": 256, "filters": 4}
    rules = [("bad", "*", 0), ("good", "*", 1)]
    asking = Asking(toy, None, clusters=2, rules=rules, plan=RETRY, limits=limits)
    bad, good = asking.client(), asking.client()
    for n in range(12):
        asking.world.feed(bad, toy.request(n, b"bad m x"))
        asking.hear()
        asking.answer(len(asking.waiting), UNAVAILABLE)
    refused = len(asking.got(bad))
    assert refused == (0 if limit == "in_flight" else 8)
    for n in range(4):
        asking.world.feed(good, toy.request(100 + n, b"good m x"))
        asking.hear()
        asking.answer()
    assert [status for status, _ in asking.got(good)] == [OK] * 4
    asking.world.wait(1100)  # who comes back finds as many under way as may be, and no more
    asking.hear()
    assert len(asking.waiting) <= limits["in_flight"]
    asking.answer(len(asking.waiting))
    assert len(asking.got(bad)) == 12 - refused
    assert asking.world.stat("requests_active") == 0
    assert asking.world.stat("buffer_bytes") == 0


def parted(toy, of):
    """A cluster of two endpoints and a subset with one of them; two rules."""
    builder = TableBuilder({**LIMITS}, seed=42)
    builder.cluster("c", "round-robin", 4, 1000, breaker=of)
    for uid in range(2):
        builder.endpoint(uid, "127.0.0.1", 9000 + uid, 1)
    builder.cluster("c", "round-robin", 4, 1000, breaker=of, subset="v=1")
    builder.endpoint(1, "127.0.0.1", 9001, 1)
    routes = builder.routes("r")
    for number, service in enumerate(["all", "part"]):
        plan = builder.plan(service)
        builder.split(number, 1)
        builder.rule(service, "*", "*", "*", plan)
    builder.listener(0, "in", routes=routes, plan=0, pinned=False, codecs=[toy.address])
    return builder.finish()


def test_subsets_share_the_breaker_of_their_cluster(toy):
    world = World(parted(toy, breaker(requests=2)))
    for number, service in enumerate([b"all", b"part", b"all", b"part"]):
        client = world.client()
        world.feed(client, toy.request(number, b"%s m%d x" % (service, number)))
        assert len(world.take(toy, client)) == (number > 1)
    assert world.shared.under_way(C)["requests"] == 2
