"""Formats whose frames do not say who sent them go through all tools: kit, fuzzer, captures, grade."""

from __future__ import annotations

import json

import pytest
from programs import HEADER
from sided import BEATING, POST, SAID, beating, either, post, said

from protokit import Status, native
from protokit.errors import ProtokitError
from protokit.native import sent_by, side_of
from protokit.testing import Golden, conformance, fuzz


def vectors(frames) -> list[Golden]:
    return [Golden(f"{who} {at}", sent_by(who, data)) for at, (who, data) in enumerate(frames)]


TestPost = conformance(post(), golden=vectors(POST), examples=40)
TestSaid = conformance(said(), golden=vectors(SAID), examples=40)
TestBeating = conformance(beating(), golden=vectors(BEATING), examples=10)


@pytest.mark.parametrize(("made", "frames"), [(post, POST), (said, SAID)])
def test_every_check_tries_frames_of_both_sides(made, frames):
    cases = conformance(made(), golden=vectors(frames), examples=0).cases
    for some in (cases.whole, cases.short, cases.wrong, cases.cut, cases.joined):
        assert {side_of(one) for one in some} == {"client", "server"}


def test_vectors_that_do_not_say_who_sent_them_are_refused():
    with pytest.raises(ProtokitError, match=r"'asked' does not say who sent it.*\"side\": \"client\""):
        conformance(said(), golden=[Golden("asked", b"get a\r\n")])


def test_a_vectors_side_is_client_or_server(tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps({"name": "a", "side": "peer", "hex": "00"}))
    with pytest.raises(ProtokitError, match="side is 'peer', client or server expected"):
        conformance(said(), golden=tmp_path)


def test_bytes_know_who_sent_them():
    data = sent_by("server", b"abc")
    assert [side_of(one) for one in (data[:2], data + b"d", b"abc", data[0])] == [
        "server",
        "server",
        None,
        None,
    ]
    assert data == b"abc"
    assert data == sent_by("server", b"abc")
    assert data != sent_by("client", b"abc")
    assert len({data, sent_by("client", b"abc")}) == 2


@pytest.mark.parametrize("made", [post, said])
def test_each_side_has_its_own_error_and_id(made):
    """What is asked of a frame is asked as its side sent it, whatever the question."""
    wire = made().wire
    reply = wire.ask.error(Status.TIMEOUT, 7, 0, b"late")
    assert side_of(reply) == "server"
    assert native.frame(wire.address, reply).kind == native.KIND_RESPONSE
    if wire.ask.id_bytes:
        changed = wire.ask.patch_id(reply, 5)
        assert (side_of(changed), wire.ask.frame(changed).id) == ("server", 5)
        asked = sent_by("client", POST[0][1])
        assert dict(wire.ask.headers(asked)) == {"x": "1", "y": "2"}
        assert wire.ask.header(asked, "y") == "2"
        edited = wire.ask.edit(asked, [(native.EDIT_HEADER, "y", "3")])
        assert wire.ask.header(edited, "y") == "3"


@pytest.mark.parametrize(("made", "frames"), [pytest.param(post, POST, marks=pytest.mark.slow), (said, SAID)])
def test_the_fuzzer_tries_each_side(made, frames, tmp_path):
    result = fuzz(made(), vectors(frames), 60, 7, folder=tmp_path, rounds=2)
    assert not result.finds, result.finds
    assert not result.too_little
    kinds = conformance(made(), golden=vectors(frames), examples=0)().voice.hear
    assert {kinds(sent_by(who, data)).kind for who, data in frames} >= {"request", "response"}


def test_sides_have_short_cuts_of_their_own():
    """Whole frames of both sides are told by their shapes: as few instructions as one that has no sides."""
    wire = post().wire
    plain = native.declared(wire.image("post", shapes=False))
    for who, frame in POST:
        data = sent_by(who, frame)
        assert native.frame(wire.address, data) == native.frame(plain, data)
    image = wire.image("post")
    roots = [int.from_bytes(image[at : at + 4], "little") for at in (HEADER["root"], HEADER["server_root"])]
    assert 0xFFFFFFFF not in roots
    assert len(set(roots)) == 2


def test_frames_that_begin_alike_are_each_of_their_side():
    """The same bytes, now of one side and now of the other: nothing is remembered from one for the other."""
    wire = either().wire
    data = b"EI" + bytes(4) + b"\x00\x00\x00\x04abcdefgh"
    for _ in range(2):
        seen = [native.frame(wire.address, data, side=who) for who in ("client", "server", None)]
        assert [(one.kind, one.size) for one in seen] == [
            (native.KIND_REQUEST, 14),
            (native.KIND_RESPONSE, 18),
            (native.KIND_REQUEST, 14),
        ]


def test_an_answers_headers_are_read_as_its_side_sent_them():
    wire = either().wire
    data = b"EI" + bytes(4) + b"\x00\x00\x00\x04a=1;b=2;"
    assert dict(wire.ask.headers(sent_by("server", data))) == {"a": "1", "b": "2"}
    assert dict(wire.ask.headers(sent_by("client", data[:14]))) == {"a": "1"}
    assert wire.ask.header(sent_by("server", data), "b") == "2"
    assert wire.ask.header(sent_by("client", data), "b") is None
