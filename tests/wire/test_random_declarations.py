"""Random declarations compile and agree with construct; they are made of all that the language has."""

from __future__ import annotations

import ast
import collections
import contextlib
import inspect

import drawn
import grown
import pytest
from fewer import many
from grown import LIMIT, QUICK, formats
from hypothesis import event, given, reject, settings
from hypothesis import strategies as st

import protokit.wire
from protokit import Status, native
from protokit.errors import RemoteProtocolError
from protokit.testing import frames, spoiled
from protokit.testing.changing import check_changes
from protokit.testing.fronts import check_front
from protokit.wire import Greeting, WireFormat
from protokit.wire import __all__ as vocabulary
from protokit.wire.format import KINDS
from protokit.wire.message import holds
from protokit.wire.replies import said

# What is no word of a declaration, or has tests that draw it in another way.
NOT_DRAWN = {
    *("Codec", "Frame", "Message", "NativeCodec", "Peer", "Protocol", "PythonCodec", "Reply", "Wire"),
    *("Measure", "Step"),  # of an author's own functions in C
}


def drawing():
    """What random declarations are drawn by."""
    grows = ast.parse(inspect.getsource(grown)).body
    found = [one for one in grows if getattr(one, "name", None) in {"Grower", "Meanings", "formats"}]
    return [node for one in [*found, ast.parse(inspect.getsource(drawn))] for node in ast.walk(one)]


def test_random_declarations_are_made_of_all_words():
    """A word that is new is drawn, or has a reason not to be."""
    named = {node.id for node in drawing() if isinstance(node, ast.Name)}
    assert set(vocabulary) - named == NOT_DRAWN


# What a format says besides that is drawn by tests of its own.
NOT_SAID = {"separate", "reserved_ids"}  # say nothing of a frame
# Arguments of words, likewise.
OF_WORDS = {
    "FromPeer": {"whole"},  # as of FromRequest
    "Replies": {
        "optional_drain",
        "drain",
        "encoding",
    },  # of listeners; test_from_request.py; test_declarations.py
    "ErrorText": {"count", "units"},  # test_counted.py, test_text_room.py
    "Turn": {"option", "goes_with"},  # what optional() says
    "crc16": {"variant", "digits", "skip"},
    # test_checksums.py, test_sums_in_digits.py
    **{one: {"digits", "skip"} for one in ("adler32", "crc32", "crc32c", "sum16", "sum32", "sum8")},
}


def test_random_declarations_give_words_all_that_they_take():
    """Of what may be left out; an argument that is new is drawn, or has a reason not to be."""
    said = collections.defaultdict(set)
    for node in drawing():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            said[node.func.id] |= {one.arg for one in node.keywords}
    left = {}
    for word in set(vocabulary) - NOT_DRAWN - {"WireFormat"}:
        one = getattr(protokit.wire, word)
        if inspect.isroutine(one) or inspect.isclass(one):
            may = inspect.signature(one).parameters.values()
            names = {p.name for p in may if p.kind is p.KEYWORD_ONLY or p.default is not p.empty}
            if missing := names - said[word] - {"default", "value", "values", "when", "fields"}:
                left[word] = missing
    assert left == OF_WORDS


def test_random_declarations_say_all_that_a_format_can():
    """A keyword that is new is drawn, or has a reason not to be; so are those of a greeting."""
    said = {node.arg for node in drawing() if isinstance(node, ast.keyword)}
    said |= {node.value for node in drawing() if isinstance(node, ast.Constant)}
    keywords = set(inspect.signature(WireFormat.__init__).parameters) - {"self", "declaration"}
    assert keywords - said == NOT_SAID
    assert set(inspect.signature(Greeting).parameters) - said == set()


def asked(wire, data):
    """Where the engine says a request wants to go."""
    try:
        one = native.request(wire.address, data)
    except RemoteProtocolError:
        return "malformed"
    return (one.service, one.method, one.version, one.group, one.timeout_ms, dict(one.headers))


def asked_reference(wire, data):
    try:
        one = wire.message(data)
    except RemoteProtocolError:
        return "malformed"
    return (one.service, one.method, one.version, one.group, one.timeout_ms, dict(one.headers))


def answered_headers(wire, data):
    """Those that the engine finds in an answer."""
    if KINDS[native.frame(wire.address, data, LIMIT).kind] != "response":
        return {}
    try:
        return dict(native.headers(wire.address, data))
    except RemoteProtocolError:
        return {}


def headers_of_answer(wire, data):
    message = wire.message(data) if wire.kind(wire.parse(data)[0]) == "response" else None
    return dict(message.headers) if message is not None and message.kind == "response" else {}


def verdict(wire, data):
    """What the engine says: a size, or why not."""
    message = native.frame(wire.address, data, LIMIT)
    if message.result != 0:
        return message.result
    return (KINDS[message.kind], message.size, message.id, message.status)


def reference(wire, data):
    try:
        fields, size = wire.parse(data)
    except EOFError:
        return 1
    except RemoteProtocolError:
        return -1
    with contextlib.suppress(RemoteProtocolError):  # of a text; the frame is right
        message = wire.describe(fields, size)
        return (message.kind, message.size, engine_id(wire, message.id), message.status)
    return (wire.kind(fields), size, engine_id(wire, wire.id_of(fields)), Status.OK)


def engine_id(wire, found):
    """The engine has no bytes for an id that is not there."""
    return b"" if found is None and wire.meaning.named else found


@pytest.mark.slow
@settings(QUICK, max_examples=many(300))
@given(st.data())
def test_random_declarations_agree_with_construct(data):
    wire, (body, text) = data.draw(formats())
    whole = data.draw(frames(wire))
    event("built")
    expected = reference(wire, whole)
    assert expected == verdict(wire, whole)
    assert wire.build(wire.parse(whole)[0]) == whole
    if expected[0] in {"request", "oneway"}:
        assert asked(wire, whole) == asked_reference(wire, whole)
    if expected[0] in {"request", "oneway", "response"}:
        m, fields = wire.meaning, wire.parse(whole)[0]
        says = [bit for bit, one in zip((1, 2), (m.last, m.more), strict=True) if holds(one, fields)]
        assert native.frame(wire.address, whole, LIMIT).says == sum(says)
        assert answered_headers(wire, whole) == headers_of_answer(wire, whole)
        cuts = data.draw(st.sets(st.integers(1, len(whole)), max_size=9)) - {len(whole)}
        event(f"fronts: {check_front(wire, whole, sorted(cuts)) > 0}")
        event(f"changes: {check_changes(wire, whole) > 0}")
    for cut in range(1, min(len(whole), 60)):
        assert verdict(wire, whole[:cut]) != 0
        message = native.frame(wire.address, whole[:cut], LIMIT)
        assert message.result == 1, (cut, message)
        assert cut < message.need <= len(whole)
    bad = data.draw(spoiled(st.just(whole)))
    if not bad:
        reject()
    if native.has_ended(whole) and data.draw(st.booleans()):
        bad = native.sent_by("server", bad, ended=True)
    got, wanted = verdict(wire, bad), reference(wire, bad)
    if isinstance(got, tuple) or isinstance(wanted, tuple):
        assert got == wanted
        if got[0] in {"request", "oneway"}:
            assert asked(wire, bad[: got[1]]) == asked_reference(wire, bad)
    written = wire.meaning.named.write(9) if wire.meaning.named else 9
    reply = native.error(wire.address, Status.TIMEOUT, written, 0, b"why not")
    answer = wire.message(reply)
    assert answer.id == written
    assert answer.fields[body][text].endswith(b"<why not>")
    if wire.meaning.named and expected[2]:
        changed = native.patch_id(wire.address, whole, written)
        assert (wire.id_of(wire.parse(changed)[0]), native.patch_id(wire.address, changed, expected[2])) == (
            written,
            whole,
        )
    if expected[0] == "request" and expected[2] != b"":
        seen, keeps = native.frame(wire.address, whole), native.keep(wire.address, whole)
        reply = native.error(wire.address, Status.TIMEOUT, seen.id, seen.context, b"why not", keeps)
        fields = wire.parse(whole)[0]
        variant = next((one for one in wire.variants if one.items() <= fields.items()), wire.variants[0])
        values = said(wire.replies.error(Status.TIMEOUT, variant), wire.parts, fields, b"why not")
        if wire.meaning.id:  # one that stands in a view is put there again
            ((asked_by,), *_), ((answered,), *_) = wire.meaning.id, wire.meaning.ids(answers=True)
            assert reply == wire.build({answered: fields[asked_by], **values})
        cut = data.draw(st.integers(1, len(whole)))  # refused there: what has come is repeated, or less
        keeps = native.keep(wire.address, whole, cut)
        wire.message(native.error(wire.address, Status.TIMEOUT, written, seen.context, b"why not", keeps))
