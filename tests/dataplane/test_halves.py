"""Large frames that are passed on before they are whole, between a client and a connection of its own."""

import pytest
from construct import Bytes, Int8ub, Int16ub, Int32ub, Rebuild, Struct, len_, this
from world import World
from world import table as table_of

from protokit import Status, WireFormat, native
from protokit.config.scalars import Duration, Share
from protokit.config.schema import Outlier
from protokit.wire import ErrorText, Replies, byte_id, pairs, table, text

REQUEST, ONEWAY, ANSWER, PING, PONG = range(5)
STATUSES = {status: int(status) for status in Status if status}
MODES = ("multiplexed", "named", "ordered", "pingpong")
LIMITS = {
    "frame": 16 << 20,
    "buffer": 48 << 20,
    "client_pause": 1 << 16,
    "client_close": 32 << 20,
    "upstream_buffer": 1 << 16,
}
ROOM = 1 << 20  # bytes that passing on may hold


def declared(mode):
    """A format with headers, and a body at the end that nothing looks into."""
    by_name = mode == "named"
    fields = {"status": 0, "service": b"", "map": b""}
    wire = WireFormat(
        Struct(
            "kind" / Int8ub,
            "id_len" / Rebuild(Int8ub, len_(this.id)) if by_name else "spare" / Int8ub,
            "id" / (Bytes(this.id_len) if by_name else Int32ub),
            "status" / Int8ub,
            "service_len" / Rebuild(Int8ub, len_(this.service)),
            "service" / Bytes(this.service_len),
            "map_len" / Rebuild(Int16ub, len_(this.map)),
            "map" / Bytes(this.map_len),
            "body_len" / Rebuild(Int32ub, len_(this.body)),
            "body" / Bytes(this.body_len),
        ),
        id=byte_id(this.id, max=8, form="decimal") if by_name else this.id,
        mode="multiplexed" if by_name else mode,
        response=(this.kind == ANSWER) | (this.kind == PONG),
        oneway=this.kind == ONEWAY,
        heartbeat=(this.kind == PING) | (this.kind == PONG),
        status=table(this.status, {0: Status.OK, 1: Status.APP_ERROR}, Status.INTERNAL),
        service=text(this.service),
        headers=pairs(this.map, key=Int8ub, value=Int8ub),
        replies=Replies(
            error=lambda status, variant: {
                "kind": ANSWER,
                **({} if by_name else {"spare": 0}),
                **fields,
                "status": int(status),
                "body": ErrorText(),
            },
            **{
                what: lambda variant, kind=kind: {
                    "kind": kind,
                    **({} if by_name else {"spare": 0}),
                    **fields,
                    "body": b"",
                }
                for what, kind in (("heartbeat", PING), ("ack", PONG))
            },
        ),
    )
    wire.name = f"halves {mode}"
    return wire


WIRES = {mode: declared(mode) for mode in MODES}


def frame(wire, kind, number, body, service=b"", headers=b"", status=0):
    by_name = wire.meaning.named is not None
    own = {"id": b"%d" % number} if by_name else {"spare": 0, "id": number}
    values = {"kind": kind, **own, "status": status, "service": service, "map": headers, "body": body}
    return wire.build(values)


def front_of(wire, data):
    """Where the body begins."""
    return len(data) - next(one.size for one in wire.explain(data) if one.path == ("body",))


class Both:
    """A client of a listener with ``mode: pinned``, and its servers."""

    def __init__(self, mode, *, connect="ok", limits=None, pinned=True, **more):
        self.wire = WIRES[mode]
        given = {**LIMITS, **(limits or {})}
        self.world = World(
            table_of([self.wire.address], pinned=pinned, limits=given, **more), connect=connect
        )
        self.client = self.world.client()

    def frame(self, *arguments, **keywords):
        return frame(self.wire, *arguments, **keywords)

    def feed(self, handle, data):
        self.world.feed(handle, data)

    @property
    def server(self):
        return self.world.only_upstream()

    def got(self, handle):
        """What a peer got since the last time."""
        found = bytes(self.world.got[handle])
        self.world.got[handle].clear()
        return found

    def frames(self, handle):
        """The same, which is whole frames."""
        data = self.got(handle)
        found = []
        while data:
            one = self.wire.message(data)
            found.append((data[: one.size], one))
            data = data[one.size :]
        return found


BODY = bytes(range(256)) * 400  # 100 KB: more than a read


@pytest.mark.parametrize("mode", MODES)
def test_a_request_goes_on_as_soon_as_its_front_is_there(mode):
    both = Both(mode)
    asked = both.frame(REQUEST, 7, BODY, b"s", b"\1k\1v")
    front = front_of(both.wire, asked)
    both.feed(both.client, asked[: front - 1])
    assert not both.got(both.server)
    both.feed(both.client, asked[front - 1 : front])
    assert both.got(both.server) == asked[:front]
    for at in range(front, len(asked), 9999):
        both.feed(both.client, asked[at : at + 9999])
        assert both.got(both.server) == asked[at : at + 9999]
    answer = both.frame(ANSWER, 7, b"ok")
    both.feed(both.server, answer)
    assert both.got(both.client) == answer
    both.feed(both.client, again := both.frame(REQUEST, 8, b"", b"s"))
    assert both.got(both.server) == again
    assert both.world.stat("requests_active") == 1


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_goes_on_as_soon_as_its_front_is_there(mode):
    both = Both(mode)
    both.feed(both.client, both.frame(REQUEST, 7, b"", b"s"))
    for status in (0, 1):
        answer = both.frame(ANSWER, 7, BODY, status=status)
        front = front_of(both.wire, answer)
        both.feed(both.server, answer[: front - 1])
        assert not both.got(both.client)
        both.feed(both.server, answer[front - 1 : front + 1])
        assert both.got(both.client) == answer[: front + 1]
        for at in range(front + 1, len(answer), 9999):
            both.feed(both.server, answer[at : at + 9999])
            assert both.got(both.client) == answer[at : at + 9999]
        assert both.world.stat("requests_active") == 0
        both.feed(both.client, both.frame(REQUEST, 7, b"", b"s"))
    assert both.world.stat("responses") == 2
    assert both.world.stat("responses_app_error") == 1


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_filters_see_is_whole_before_it_goes_on(mode):
    both = Both(mode, seen=["s"])
    both.feed(both.client, asked := both.frame(REQUEST, 7, b"", b"s"))
    answer = both.frame(ANSWER, 7, BODY)
    for at in range(0, len(answer), 1 << 15):
        both.feed(both.server, answer[at : at + (1 << 15)])
    (op,) = both.world.filters
    assert native.Answered.of(op)[-2:] == (asked, answer)
    both.world.batch(("decide", op.handle, native.DECIDE_ANSWER))
    assert both.got(both.client) == answer
    assert both.world.stat("answers_unseen") == 0


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_its_rule_changes_is_whole_before_it_goes_on(mode):
    both = Both(mode, changed=["s"])
    both.feed(both.client, both.frame(REQUEST, 7, b"", b"s"))
    answer = both.frame(ANSWER, 7, BODY)
    both.feed(both.server, answer[:-1])
    assert both.got(both.client) == b""
    both.feed(both.server, answer[-1:])
    changed = both.wire.edit(answer, [(native.EDIT_HEADER, "zone", "a")], "server")
    assert len(changed) > len(answer)
    assert both.got(both.client) == changed
    assert both.world.stat("answers_not_changed") == 0


@pytest.mark.parametrize("mode", MODES)
def test_however_it_is_cut_the_same_goes_through(mode):
    wire = WIRES[mode]
    asked = frame(wire, REQUEST, 7, BODY, b"s", b"\1k\1v")
    more = frame(wire, ONEWAY, 8, b"x", b"s")
    front = front_of(wire, asked)
    for cut in (*range(1, front + 3), len(asked) - 1, len(asked)):
        both = Both(mode, limits={"upstream_buffer": 1 << 18})
        both.feed(both.client, asked[:cut])
        both.feed(both.client, asked[cut:] + more)
        if mode == "pingpong":  # the next one waits for the answer
            both.feed(both.server, both.frame(ANSWER, 7, b""))
        assert both.got(both.server) == asked + more, cut


def test_what_passes_takes_little_memory():
    both = Both("multiplexed")
    size = 12 << 20
    asked = both.frame(REQUEST, 7, bytes(size), b"s")
    most = 0
    for at in range(0, len(asked), 1 << 16):
        both.feed(both.client, asked[at : at + (1 << 16)])
        most = max(most, both.world.stat("buffer_bytes"))
    assert most < ROOM
    assert both.got(both.server) == asked
    answer = both.frame(ANSWER, 7, bytes(size))
    for at in range(0, len(answer), 1 << 16):
        both.feed(both.server, answer[at : at + (1 << 16)])
        most = max(most, both.world.stat("buffer_bytes"))
    assert most < ROOM
    assert both.got(both.client) == answer


def test_who_is_not_read_holds_up_who_sends():
    both = Both("multiplexed")
    asked = both.frame(REQUEST, 7, bytes(4 << 20), b"s")
    both.feed(both.client, asked[:100])
    both.world.stuck.add(both.server)
    at = 100
    while both.client not in both.world.paused:
        both.feed(both.client, asked[at : at + (1 << 16)])
        at += 1 << 16
    assert at < ROOM
    assert both.world.stat("buffer_bytes") < ROOM
    both.world.stuck.clear()
    both.world.read(both.server)
    both.world.batch()
    assert both.client not in both.world.paused
    both.feed(both.client, asked[at:])
    assert both.got(both.server) == asked
    both.world.stuck.add(both.client)
    answer, at, server = both.frame(ANSWER, 7, bytes(4 << 20)), 0, both.server
    while server not in both.world.paused:
        both.feed(server, answer[at : at + (1 << 16)])
        at += 1 << 16
    assert at < ROOM
    both.world.stuck.clear()
    both.world.read(both.client)
    both.world.batch()
    both.feed(server, answer[at:])
    assert both.got(both.client) == answer


@pytest.mark.parametrize("mode", MODES)
def test_elsewhere_a_frame_is_whole_before_it_goes_on(mode):
    both = Both(mode, pinned=False)
    asked = both.frame(REQUEST, 7, BODY, b"s")
    both.feed(both.client, asked[:-1])
    assert not both.world.upstreams
    both.feed(both.client, asked[-1:])
    (sent, _), server = *both.frames(both.server), both.server
    assert len(sent) == len(asked)
    answer = both.wire.build({**both.wire.parse(sent)[0], "kind": ANSWER})
    both.feed(server, answer[:-1])
    assert not both.got(both.client)
    both.feed(server, answer[-1:])
    assert both.frames(both.client)[0][1].id == both.wire.message(asked).id


@pytest.mark.parametrize("kind", [REQUEST, ONEWAY])
def test_a_small_frame_is_whole_before_it_goes_on(kind):
    both = Both("multiplexed")
    asked = both.frame(kind, 7, bytes(1000), b"s")
    both.feed(both.client, asked[:-1])
    assert not both.got(both.server)
    both.feed(both.client, asked[-1:])
    assert both.got(both.server) == asked


@pytest.mark.parametrize("mode", ["multiplexed", "named"])
def test_nothing_comes_between_the_halves_of_an_answer(mode):
    """Another server's answers, large ones too, an error, the answer to a heartbeat."""
    both = Both(mode, clusters=2, rules=[("a", "*", 0), ("b", "*", 1)])
    both.feed(both.client, both.frame(REQUEST, 1, b"", b"a"))
    first = both.server
    for number in (2, 3):
        both.feed(both.client, both.frame(REQUEST, number, b"", b"b"))
    (second,) = set(both.world.upstreams) - {first}
    answer, large = both.frame(ANSWER, 1, BODY), both.frame(ANSWER, 3, BODY)
    both.feed(first, answer[:1000])
    assert both.got(both.client) == answer[:1000]
    both.feed(second, both.frame(ANSWER, 2, b"other"))
    both.feed(second, large[:2000])
    both.feed(both.client, both.frame(PING, 4, b""))
    both.feed(both.client, both.frame(REQUEST, 5, b"", b"nobody's"))
    assert not both.got(both.client)
    both.feed(first, answer[1000:2000])
    both.feed(second, large[2000:])
    assert both.got(both.client) == answer[1000:2000]
    both.feed(first, answer[2000:])
    rest = both.got(both.client)
    assert rest[: len(answer) - 2000] == answer[2000:]
    both.world.got[both.client] = bytearray(rest[len(answer) - 2000 :])
    found = {str(one.id).strip("b'"): (one.kind, data) for data, one in both.frames(both.client)}
    assert {number: kind for number, (kind, _) in found.items()} == {
        "2": "response",
        "3": "response",
        "4": "ack",
        "5": "response",
    }
    assert found["3"][1] == large
    assert both.world.stat("requests_active") == 0


def test_nothing_comes_between_the_halves_of_a_request():
    """A heartbeat of the proxy's own waits, and whoever has half a request owes no answer to it."""
    both = Both("multiplexed", limits={"heartbeat_ms": 100, "probe_ms": 300, "frame_ms": 60_000})
    both.feed(both.client, both.frame(ONEWAY, 1, b"", b"s"))
    both.got(both.server)
    asked = both.frame(ONEWAY, 7, BODY, b"s")
    for at in range(0, len(asked), 10_000):
        both.feed(both.client, asked[at : at + 10_000])
        both.world.wait(1000)
    assert both.got(both.server)[: len(asked)] == asked
    assert both.world.stat("upstream_closed") == 0


def test_a_server_that_is_killed_in_the_middle_resets_its_client():
    both = Both("multiplexed")
    both.feed(both.client, both.frame(REQUEST, 7, b"", b"s"))
    both.feed(both.server, both.frame(ANSWER, 7, BODY)[:50_000])
    both.world.batch(("error", both.server))
    assert both.world.closed[both.client] == 1
    assert both.world.stat("requests_active") == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_is_killed_in_the_middle_of_a_request(mode):
    both = Both(mode)
    asked = both.frame(REQUEST, 7, BODY, b"s")
    both.feed(both.client, asked[:50_000])
    both.world.batch(("error", both.server))
    ((_, answer),) = both.frames(both.client)
    assert answer.status == Status.UNAVAILABLE if answer.fields.status == 0 else True
    assert answer.fields.status == STATUSES[Status.UNAVAILABLE]
    assert b"after the request was sent" in answer.fields.body
    both.feed(both.client, asked[50_000:])  # it is heard out
    assert both.world.closed[both.client] == 0
    assert both.world.stat("requests_active") == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_leaves_off_in_the_middle(mode):
    both = Both(mode)
    asked = both.frame(REQUEST, 7, BODY, b"s")
    both.feed(both.client, asked[:50_000])
    server = both.server
    both.world.wait(1900)
    both.feed(both.client, asked[50_000:60_000])
    both.world.wait(1900)  # it went on
    assert server in both.world.upstreams
    both.world.wait(200)
    assert both.world.closed[server] == 1
    ((_, answer),) = both.frames(both.client)
    assert answer.fields.status == STATUSES[Status.UNAVAILABLE]
    assert b"its client left off in the middle of a request" in answer.fields.body
    assert both.world.stat("closed_half_frame") == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_sends_no_more_in_the_middle(mode):
    both = Both(mode)
    both.feed(both.client, both.frame(REQUEST, 7, BODY, b"s")[:50_000])
    server = both.server
    both.world.batch(("eof", both.client))
    assert both.world.closed[server] == 1
    ((_, answer),) = both.frames(both.client)
    assert answer.fields.status == STATUSES[Status.UNAVAILABLE]
    both.world.batch()
    assert both.client in both.world.closed


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [REQUEST, ONEWAY])
def test_a_client_that_is_gone_in_the_middle(mode, kind):
    both = Both(mode)
    both.feed(both.client, said := both.frame(ONEWAY, 6, b"", b"s"))
    both.world.stuck.add(server := both.server)
    both.feed(both.client, asked := both.frame(kind, 7, BODY, b"s")[:50_000])
    both.world.batch(("error", both.client))
    both.world.stuck.clear()
    both.world.read(server)
    both.world.batch()
    assert both.got(server) == said + asked  # and then its end
    assert server in both.world.closed
    assert both.world.stat("requests_active") == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["eof", "error"])
@pytest.mark.parametrize("kind", [REQUEST, ONEWAY])
def test_a_client_that_is_gone_before_its_half_request_was_sent(mode, end, kind):
    both = Both(mode, connect="wait")
    both.feed(both.client, both.frame(kind, 7, BODY, b"s")[:50_000])
    both.world.batch((end, both.client))
    for handle in list(both.world.opening):
        if handle in both.world.upstreams:
            both.world.opened(handle)
            assert not both.got(handle)
    if end == "eof" and kind == REQUEST:
        ((_, answer),) = both.frames(both.client)
        assert answer.fields.status == STATUSES[Status.BAD_REQUEST]
        assert b"left off in the middle" in answer.fields.body
    assert both.world.stat("requests_active") == 0
    assert both.world.outcomes() == {"errors_bad_request" if end == "eof" else "requests_client_gone": 1}


@pytest.mark.parametrize("mode", MODES)
def test_a_half_request_that_nobody_takes_is_answered_at_once(mode):
    both = Both(mode, rules=[("s", "*")])
    asked = both.frame(REQUEST, 7, BODY, b"nobody's")
    both.feed(both.client, asked[:50_000])
    ((_, answer),) = both.frames(both.client)
    assert answer.fields.status == STATUSES[Status.NO_SERVICE]
    assert answer.id == both.wire.message(asked).id
    both.feed(both.client, asked[50_000:] + (more := both.frame(REQUEST, 8, b"", b"s")))
    assert both.got(both.server) == more


@pytest.mark.parametrize("mode", MODES)
def test_a_half_request_waits_for_its_connection(mode):
    both = Both(mode, connect="wait")
    asked = both.frame(REQUEST, 7, BODY, b"s")
    both.feed(both.client, asked[:50_000])
    both.feed(both.client, asked[50_000:60_000])
    assert both.client in both.world.paused
    both.world.opened(server := both.world.opening[0])
    assert both.got(server) == asked[:60_000]
    both.feed(both.client, asked[60_000:])
    assert both.got(server) == asked[60_000:]


@pytest.mark.parametrize("mode", ["multiplexed", "named"])
def test_an_answer_that_comes_before_its_request_is_whole(mode):
    both = Both(mode)
    asked, answer = both.frame(REQUEST, 7, BODY, b"s"), both.frame(ANSWER, 7, BODY)
    both.feed(both.client, asked[:50_000])
    both.feed(both.server, answer[:50_000])
    both.feed(both.client, asked[50_000:60_000])
    both.feed(both.server, answer[50_000:])
    both.feed(both.client, asked[60_000:] + (more := both.frame(REQUEST, 8, b"", b"s")))
    assert both.got(both.client) == answer
    assert both.got(both.server) == asked + more


def test_a_request_whose_time_is_over_goes_on_to_its_server():
    both = Both("multiplexed", limits={"request_ms": 500})
    asked = both.frame(REQUEST, 7, BODY, b"s")
    both.feed(both.client, asked[:50_000])
    both.world.wait(600)
    ((_, answer),) = both.frames(both.client)
    assert answer.fields.status == STATUSES[Status.TIMEOUT]
    both.feed(both.client, asked[50_000:] + (more := both.frame(REQUEST, 8, b"", b"s")))
    assert both.got(both.server) == asked + more


def filtered(both, edit):
    """What the one filter that is asked makes of its request."""
    (op,) = both.world.filters
    both.world.filters.clear()
    data = native.held_bytes(op)
    both.world.batch(("decide", op.handle, native.DECIDE_CONTINUE, 0, 0, edit(data)))


@pytest.mark.parametrize("mode", MODES)
def test_the_front_of_a_request_is_edited_and_the_rest_follows(mode):
    both = Both(mode, filtered=["s"])
    asked = both.frame(REQUEST, 7, BODY, b"s", b"\1k\1v")
    both.feed(both.client, asked[:50_000])
    both.feed(both.client, asked[50_000:60_000])
    edits = [(native.EDIT_HEADER, "added", "x" * 200)]
    filtered(both, lambda data: both.wire.ask.edit(data, edits))
    both.feed(both.client, asked[60_000:])
    assert both.got(both.server) == both.wire.edit(asked, edits)


def test_an_edit_that_leaves_another_rest_does_not_fit():
    both = Both("multiplexed", filtered=["s"])
    asked = both.frame(REQUEST, 7, BODY, b"s")
    both.feed(both.client, asked[:50_000])
    filtered(both, lambda data: data[:-1])
    ((_, answer),) = both.frames(both.client)
    assert answer.fields.status == STATUSES[Status.INTERNAL]
    assert b"does not fit any more" in answer.fields.body
    both.feed(both.client, asked[50_000:])
    assert not both.world.upstreams


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_leaves_in_the_middle_is_nothing_against_its_server(mode):
    rule = Outlier(3, None, Duration(1000), Share.parse("50%"))
    both = Both(mode, endpoints=2, outlier=rule)
    for _ in range(12):
        client = both.world.client()
        both.world.feed(client, both.frame(REQUEST, 7, BODY, b"s", b"\1k\1v")[:60000])
        both.world.batch(("eof", client))
    assert [uid for uid, said in both.world.endpoints if said == native.ILL_EJECTED] == []


@pytest.mark.parametrize("mode", MODES)
def test_all_bytes_of_an_answer_that_goes_on_by_halves_are_told(mode):
    both = Both(mode, told=["s"])
    asked = both.frame(REQUEST, 7, BODY, b"s")
    both.feed(both.client, asked)
    answer = both.frame(ANSWER, 7, BODY)
    both.feed(both.server, answer[:1000])
    assert both.got(both.client) == answer[:1000]
    both.feed(both.server, answer[1000:])
    (end,) = both.world.core.ends()
    assert (end.asked, end.answered) == (len(asked), len(answer))
