"""Answers of declared formats that end with their server's end (``UntilEnd``)."""

from __future__ import annotations

import pytest
from construct import Bytes, GreedyBytes, If, IfThenElse, Int8ub, Int32ub, Prefixed, Struct, this
from world import World, table

from protokit import Protocol, Status, WireFormat, native
from protokit import wire as words
from protokit.errors import DeclarationError, LocalProtocolError
from protokit.testing import Golden, conformance
from protokit.wire import (
    ErrorText,
    Repeat,
    Replies,
    Until,
    UntilEnd,
    asked,
    crc32,
    first,
    lines,
    number,
    side,
)

HEAD = lines(this.head, ":", "\r\n", ignore_case=True, trim=" ", skip=1)
MEASURED = first(HEAD["Length"], "none") != "none"
LAST = "body" / IfThenElse((side == "server") & ~MEASURED, UntilEnd(), Bytes(number(HEAD["Length"])))
KINDS = ["ordered", "pingpong"]


def web(mode="pingpong", body=LAST, **more):
    """A head in lines, and a body: so long as a line says, or an answer's up to the end."""
    wire = WireFormat(
        Struct("head" / Until(b"\r\n\r\n", max=200), body),
        **{
            "mode": mode,
            "response": side == "server",
            "service": HEAD["To"],
            "method": words.split(this.head, " ", 2)[0],
            "headers": HEAD,
            "status": words.table(words.split(this.head, " ", 3)[1], {"200": Status.OK}, Status.INTERNAL),
            "replies": Replies(
                error=lambda *_: {"head": b"HTTP/1.0 500 no\r\nLength: 0", "body": ErrorText()}
            ),
            **more,
        },
    )
    wire.name = "web"
    return wire


ASK = b"GET /\r\nTo: svc\r\n\r\n"
ANSWER = b"HTTP/1.0 200 ok\r\nX: 1\r\n\r\nall of it\r\n\r\nand more"
SAID = b"HTTP/1.0 200 ok\r\nLength: 3\r\n\r\nabc"


def made(wire, **of_table):
    return World(table([wire.address], **of_table))


def got(world, handle):
    data = bytes(world.got[handle])
    world.got[handle].clear()
    return data


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_an_answer_is_whole_with_its_servers_end(mode, size):
    world = made(web(mode))
    client = world.client()
    world.feed(client, ASK)
    up = world.only_upstream()
    assert got(world, up) == ASK
    for at in range(0, len(ANSWER), size):
        world.feed(up, ANSWER[at : at + size])
    assert got(world, client) == b""
    world.batch(("eof", up))
    assert got(world, client) == ANSWER
    assert client in world.finished | world.closed.keys(), "nothing else tells it where the answer ends"
    assert world.stat("requests_active") == 0


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("more", [b"G", ASK[:-1], ASK, ASK + b"G"])
def test_what_a_client_sends_behind_a_request_whose_answer_ends_its_connection_is_dropped(mode, more):
    world = made(web(mode))
    client = world.client()
    world.feed(client, ASK + more)
    up = world.only_upstream()
    world.feed(up, ANSWER)
    world.batch(("eof", up))
    world.wait(1)  # the core asks for no batches without end
    assert got(world, client).startswith(ANSWER)
    assert client in world.finished | world.closed.keys()


@pytest.mark.parametrize("mode", KINDS)
def test_the_end_comes_with_the_last_bytes(mode):
    world = made(web(mode))
    client = world.client()
    world.feed(client, ASK)
    world.batch(("feed", world.only_upstream(), ANSWER), ("eof", world.only_upstream()))
    assert got(world, client) == ANSWER
    assert world.stat("answers_unmatched") == 0


@pytest.mark.parametrize("mode", KINDS)
def test_who_is_answered_with_a_length_goes_on_also_where_the_server_ends_behind_it(mode):
    world = made(web(mode))
    client = world.client()
    world.feed(client, ASK)
    world.batch(("feed", world.only_upstream(), SAID), ("eof", world.only_upstream()))
    assert got(world, client) == SAID
    world.feed(client, ASK)
    up = world.only_upstream()
    assert got(world, up) == ASK
    world.feed(up, SAID)
    assert got(world, client) == SAID
    assert client not in world.finished | world.closed.keys()


def test_only_who_gets_the_answer_that_the_end_ended_is_closed():
    """Also where others' answers are framed when the end is known already."""
    room = {"in_flight": 2000, "in_flight_per_connection": 2000, "upstream_in_flight": 2000}
    world = made(web("ordered"), limits=room)
    one, other = world.client(), world.client()
    world.feed(one, ASK * 1100)
    world.feed(one, b"")
    world.feed(other, ASK)
    up = world.only_upstream()
    assert got(world, up) == ASK * 1101
    world.batch(("feed", up, SAID * 1100 + ANSWER), ("eof", up))
    assert (got(world, one), got(world, other)) == (SAID * 1100, ANSWER)
    assert other in world.finished | world.closed.keys()
    world.feed(one, ASK)
    assert got(world, world.only_upstream()) == ASK


def fixed(mode="ordered"):
    """Of answers of kind 9 the end tells where they end; all others have a shape."""
    length = (side == "server") & (this.kind == 9)
    return WireFormat(
        Struct("kind" / Int8ub, "size" / Int8ub, "body" / IfThenElse(length, UntilEnd(), Bytes(this.size))),
        mode=mode,
        response=side == "server",
        replies=Replies(error=None),
    )


@pytest.mark.parametrize(
    ("wire", "ask", "answer"),
    [(web("ordered"), ASK, SAID), (fixed(), b"\1\2xx", b"\1\2yy")],
    ids=["web", "fixed"],
)
def test_the_last_answer_before_the_end_may_say_itself_where_it_ends(wire, ask, answer):
    room = {"in_flight": 2000, "in_flight_per_connection": 2000, "upstream_in_flight": 2000}
    world = made(wire, limits=room)
    client = world.client()
    world.feed(client, ask * 1100)
    world.feed(client, b"")
    world.batch(("feed", world.only_upstream(), answer * 1100), ("eof", world.only_upstream()))
    assert got(world, client) == answer * 1100
    world.feed(client, ask)
    assert got(world, world.only_upstream()) == ask
    assert client not in world.finished | world.closed.keys()


def test_answers_of_a_fixed_head_end_with_the_connection():
    world = made(fixed("pingpong"))
    client = world.client()
    world.feed(client, b"\1\0")
    world.batch(("feed", world.only_upstream(), b"\x09\0all"), ("eof", world.only_upstream()))
    assert got(world, client) == b"\x09\0all"


@pytest.mark.parametrize("mode", KINDS)
def test_half_a_head_is_lost_with_the_connection(mode):
    world = made(web(mode))
    client = world.client()
    world.feed(client, ASK)
    world.batch(("feed", world.only_upstream(), ANSWER[:9]), ("eof", world.only_upstream()))
    assert b"the connection was lost" in got(world, client)


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("ends", [False, True])
def test_an_answer_over_the_limit_is_an_error(mode, ends):
    world = made(web(mode), limits={"frame": 300})
    client = world.client()
    world.feed(client, ASK)
    head = ANSWER.partition(b"all")[0]
    steps = [("feed", world.only_upstream(), head + b"x" * (301 - len(head)))]
    world.batch(*steps, *[("eof", world.only_upstream())] * ends)
    assert b"500 no" in got(world, client)
    world = made(web(mode), limits={"frame": 300})
    client = world.client()
    world.feed(client, ASK)
    answer = head + b"x" * (299 - len(head))
    world.batch(("feed", world.only_upstream(), answer), ("eof", world.only_upstream()))
    assert got(world, client) == answer


def test_a_frame_at_the_limit_waits_for_nothing():
    """No byte more could come, and so it is refused; whoever waits is told before the end."""
    wire, head = web(), ANSWER.partition(b"all")[0]
    for size, result in ((299, 1), (300, -3), (301, -3)):
        data = native.sent_by("server", head.ljust(size, b"x"))
        assert native.frame(wire.address, data, 300).result == result, size
        assert native.frame(wire.address, ended(data), 300).result == (0 if size < 301 else -3)


def test_a_client_of_its_own_connection_gets_it_too():
    world = made(web("pinned"))
    client = world.client()
    world.feed(client, ASK)
    world.batch(("feed", world.only_upstream(), ANSWER), ("eof", world.only_upstream()))
    assert got(world, client) == ANSWER


def test_ids_that_stay_as_they_are_do_not_keep_it_from_ending():
    wire = WireFormat(
        Struct(
            "id" / Int32ub, "body" / IfThenElse(side == "client", Prefixed(Int8ub, GreedyBytes), UntilEnd())
        ),
        id=this.id,
        mode="pinned",
        response=side == "server",
        replies=Replies(error=None),
    )
    world = made(wire)
    client = world.client()
    world.feed(client, b"\0\0\0\7\1a")
    world.batch(("feed", world.only_upstream(), b"\0\0\0\7all"), ("eof", world.only_upstream()))
    assert got(world, client) == b"\0\0\0\7all"
    assert client in world.finished | world.closed.keys()


def whois(**more):
    return WireFormat(
        Struct("text" / IfThenElse(side == "client", Until(b"\n", max=60), UntilEnd())),
        **{"mode": "pingpong", "response": side == "server", "replies": Replies(error=None), **more},
    )


@pytest.mark.parametrize("answer", [b"a", b"several\nlines\n"])
def test_an_answer_may_be_nothing_but_what_comes(answer):
    world = made(whois())
    client = world.client()
    world.feed(client, b"who\n")
    world.batch(("feed", world.only_upstream(), answer), ("eof", world.only_upstream()))
    assert got(world, client) == answer
    assert world.stat("answers_unmatched") == 0


def test_a_connection_that_ends_without_a_byte_is_no_answer():
    world = made(whois())
    client = world.client()
    world.feed(client, b"who\n")
    world.batch(("eof", world.only_upstream()))
    world.wait(10_000)
    assert got(world, client) == b""
    assert client in world.closed
    assert world.stat("requests_active") == 0
    assert world.stat("responses") == 0


# All tiers.


def ended(data):
    return native.sent_by("server", data, ended=True)


def led():
    """A length may lead past what has come."""
    return WireFormat(
        Struct("name" / Prefixed(Int8ub, GreedyBytes), "rest" / If(side == "server", UntilEnd())),
        mode="pingpong",
        response=side == "server",
        replies=Replies(error=None),
    )


@pytest.mark.parametrize(
    ("wire", "answer"),
    [
        (web(), ANSWER),
        (web(), ANSWER.partition(b"all")[0]),
        (web(), SAID),
        (led(), b"\5helloabc"),
        (led(), b"\0"),
    ],
    ids=["web", "nothing", "said", "led", "least"],
)
def test_reference_and_program_say_the_same_of_every_cut(wire, answer):
    for size in range(len(answer) + 1):
        for data in (native.sent_by("server", answer[:size]), ended(answer[:size])):
            if not data:
                continue
            message = native.frame(wire.address, data)
            try:
                read = wire.message(data)
            except EOFError:
                assert message.result == 1, data
                assert message.need > size
                with pytest.raises(EOFError):
                    wire.explain(data)
            else:
                assert (message.result, message.size) == (0, read.size), data
                assert Status(message.status) is read.status
                assert native.headers(wire.address, data) == read.headers
                assert sum(piece.size for piece in wire.explain(data)) == read.size
                assert wire.build(wire.parse(data)[0]) == data[: read.size]


def test_what_is_built_knows_that_it_is_the_last():
    wire = web()
    built = wire.build({"head": b"HTTP/1.0 200 ok", "body": b"x"}, "server")
    assert native.has_ended(built)
    assert native.frame(wire.address, built).result == 0
    assert not native.has_ended(built[:-1])
    assert not native.has_ended(built + b"x")
    assert native.has_ended(built + b"")
    assert not native.has_ended(wire.build({"head": b"HTTP/1.0 200\r\nLength: 1", "body": b"x"}, "server"))
    assert not native.has_ended(wire.build({"head": b"GET /", "body": b""}, "client"))


def test_headers_of_such_an_answer_can_be_changed():
    wire = web()
    changed = wire.ask.edit(native.sent_by("server", ANSWER), [(native.EDIT_HEADER, "X", "22")])
    assert changed == ANSWER.replace(b"X: 1", b"X: 22")
    assert wire.ask.headers(changed)["X"] == "22"


def test_framing_goes_on_where_it_stopped():
    wire = web()
    framing = native.Framing(wire.address, "server")
    assert framing.remembers
    for size in range(1, len(ANSWER)):
        assert framing.frame(native.sent_by("server", ANSWER[:size])).result == 1
    message = framing.frame(ended(ANSWER))
    assert (message.result, message.size) == (0, len(ANSWER))


def test_it_depends_on_what_was_asked():
    """HEAD has no body, whatever is said."""
    wire = web(
        body="body"
        / IfThenElse(
            (side == "server") & ~MEASURED & (asked(words.split(this.head, " ", 2)[0] == "HEAD") == 0),
            UntilEnd(),
            Bytes(number(HEAD["Length"])),
        )
    )
    world = made(wire)
    client = world.client()
    answer = b"HTTP/1.0 200 ok\r\n\r\n"
    world.feed(client, b"HEAD /\r\nTo: svc\r\n\r\n")
    world.feed(world.only_upstream(), answer)
    assert got(world, client) == answer
    world.feed(client, ASK)
    world.feed(world.only_upstream(), answer + b"x")
    assert got(world, client) == b""
    world.batch(("eof", world.only_upstream()))
    assert got(world, client) == answer + b"x"


def test_a_checksum_goes_over_all_that_came():
    wire = WireFormat(
        Struct(
            "name" / Prefixed(Int8ub, GreedyBytes),
            "sum" / If(side == "server", Int32ub),
            "rest" / If(side == "server", UntilEnd()),
        ),
        mode="pingpong",
        response=side == "server",
        checksum=crc32(this.sum, over=[this.rest]),
        replies=Replies(error=None),
    )
    right = wire.build({"name": b"n", "rest": b"abc"}, "server")
    assert native.frame(wire.address, right).result == 0
    assert wire.parse(right)[0].rest == b"abc"
    wrong = ended(bytes(right[:-1]) + b"d")
    assert native.frame(wire.address, wrong).result == -2
    with pytest.raises(Exception, match="the checksum is"):
        wire.parse(wrong)


# What is refused.


@pytest.mark.parametrize(
    ("layout", "more", "match"),
    [
        (Struct("a" / UntilEnd()), {}, r"a: only a server's end .* If\(side == 'server', UntilEnd\(\)\)"),
        (Struct("a" / If(side == "client", UntilEnd())), {}, "a: only a server's end"),
        (Struct("a" / If(side != "client", UntilEnd())), {}, "a: only a server's end"),  # nobody knows who
        (Struct("k" / Int8ub, "a" / If(this.k, UntilEnd())), {}, "a: only a server's end"),
        (
            Struct("k" / Int8ub, "a" / If((side == "server") | this.k, UntilEnd())),
            {},
            "a: only a server's end",
        ),
        (
            Struct("k" / Int8ub, "a" / If(side == "server", UntilEnd()), "b" / Int8ub),
            {},
            r"a: UntilEnd\(\) takes all that comes, so nothing can stand behind it",
        ),
        (
            Struct("k" / Int8ub, "a" / Repeat(Struct("x" / UntilEnd()), count=this.k)),
            {},
            "a part may have no bytes",
        ),
        (
            Struct("k" / Int8ub, "a" / Repeat(Struct("y" / Int8ub, "x" / UntilEnd()), count=this.k)),
            {},
            "a.x: .*nothing can stand behind",
        ),
        (
            Struct("k" / Int8ub, "a" / If(side == "server", UntilEnd())),
            {"mode": "multiplexed", "id": this.k},
            r"a: UntilEnd\(\) takes the whole connection, .* mode='pingpong'",
        ),
        (
            Struct("a" / IfThenElse(side == "server", UntilEnd(), Until(b"\n", max=9))),
            {"replies": Replies(error=lambda *_: {"a": ErrorText()})},
            r"the error reply of NO_SERVICE: a is UntilEnd\(\), and the proxy's connection goes on",
        ),
    ],
)
def test_where_nobody_could_tell_its_end_it_is_refused(layout, more, match):
    how = {"mode": "pingpong", "response": side == "server", "replies": Replies(error=None), **more}
    with pytest.raises(DeclarationError, match=match):
        WireFormat(layout, **how)


@pytest.mark.parametrize(
    "test",
    [
        side == "server",
        (side == "server") & (this.k == 1),
        (this.k == 1) & (side == "server"),
    ],
)
def test_where_it_is_a_servers_it_is_taken(test):
    WireFormat(
        Struct("k" / Int8ub, "a" / If(test, UntilEnd())),
        mode="pingpong",
        response=side == "server",
        replies=Replies(error=None),
    )


def test_what_cannot_be_built_is_said():
    with pytest.raises(LocalProtocolError, match="body"):
        web().build({"head": b"HTTP/1.0 200 ok"}, "server")


# The kit.

SIDES = [("client", ASK), ("server", SAID), ("server", ANSWER)]
OF_WEB = [
    Golden(f"{number}", native.sent_by(who, data, ended=data is ANSWER))
    for number, (who, data) in enumerate(SIDES)
]
OF_WHOIS = [Golden("q", native.sent_by("client", b"who\n")), Golden("a", ended(b"several\nlines"))]
TestWeb = conformance(Protocol("web", web()), golden=OF_WEB, examples=20)
TestWebInOrder = conformance(Protocol("web", web("ordered")), golden=OF_WEB, examples=20)
TestWhois = conformance(Protocol("whois", whois()), golden=OF_WHOIS, examples=20)
