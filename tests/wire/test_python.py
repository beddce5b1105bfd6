"""protokit.wire.python: what a codec class must have, and the conformance kit on the documents' example."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from distributions import distribution

from protokit import Frame, Protocol, PythonCodec, Request, native
from protokit.cli.group import group
from protokit.errors import LocalProtocolError, PluginError, RemoteProtocolError
from protokit.testing import Golden, conformance
from protokit.wire import envelope

REPO = Path(__file__).parents[2]


def module_of(source: str, name: str) -> object:
    spec = importlib.util.spec_from_loader(name, loader=None)
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, name, "exec"), vars(module))
    return module


def example() -> str:
    text = (REPO / "docs" / "plugins.md").read_text()
    (source,) = re.findall(r"^`mini\.py`:\n\n```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return source


mini = module_of(example(), "mini").mini
sized = module_of((REPO / "tests" / "toy" / "sized.py").read_text(), "sized")


def golden(*frames: tuple[bytes, dict]) -> list[Golden]:
    return [Golden(f"{number}", data, expect=expect) for number, (data, expect) in enumerate(frames)]


TestMini = conformance(
    mini,
    golden=golden(
        (
            b"CALL 0000002a greet.Hello hello world\n",
            {"kind": "request", "request_id": "42", "service": "greet.Hello", "method": "hello"},
        ),
        (b"SEND ffffffff log.Log write\n", {"kind": "oneway", "request_id": str(0xFFFFFFFF)}),
        (b"DONE 00000007 hello world\n", {"kind": "response", "request_id": "7"}),
        (b"FAIL 00000007 TIMEOUT too late\n", {"kind": "response"}),
        (b"PING 00000001 \n", {"kind": "heartbeat"}),
        (b"PONG 00000001 \n", {"kind": "heartbeat_ack"}),
        (b"QUIT 00000000 \n", {"kind": "drain"}),
    ),
)


class Own(type(mini.wire)):
    """Ids stay: nobody writes another one."""

    mode = "pinned"
    with_id = PythonCodec.with_id


TestOwn = pytest.mark.slow(
    conformance(
        Protocol("mini", Own()),
        golden=TestMini.vectors,
        renumber=mini.wire.with_id,
        examples=TestMini.examples,
    )
)
TestSized = pytest.mark.slow(
    conformance(
        sized.sized,
        golden=golden(
            (
                sized.call(1, payload=bytes(5000), timeout_ms=9000),
                {"kind": "request", "timeout_ms": 9000, "method": "echo"},
            ),
            (sized.call(2, "x", kind="oneway"), {"kind": "oneway"}),
            (sized.pack("response", 2**64 - 1, b"yes"), {"kind": "response", "request_id": str(2**64 - 1)}),
            (sized.pack("heartbeat", 4), {}),
        ),
    )
)


def unpadded() -> str:
    """The example with ids of as many digits as they need."""
    source = example()
    changes = {
        "([0-9a-f]{8})": "([0-9a-f]{1,8})",
        "%08x": "%x",
        ":08x": ":x",
        "frame[13:]": 'frame[frame.index(b" ", 5) :]',
        'frame[14:-1].decode("utf-8", "replace").split(" ", 2)': (
            'frame[5:-1].decode("utf-8", "replace").split(" ", 3)[1:]'
        ),
    }
    for old, new in changes.items():
        assert old in source, old
        source = source.replace(old, new)
    return source


# A rewritten id may change the size of a frame.
TestUnpadded = pytest.mark.slow(
    conformance(
        module_of(unpadded(), "unpadded").mini,
        golden=golden(
            (
                b"CALL 2a greet.Hello hello world\n",
                {"kind": "request", "request_id": "42", "method": "hello"},
            ),
            (b"SEND ffffffff log.Log write\n", {"kind": "oneway", "request_id": str(0xFFFFFFFF)}),
            (b"DONE 7 hello world\n", {"kind": "response", "request_id": "7"}),
            (b"FAIL 7 TIMEOUT too late\n", {"kind": "response", "status": "TIMEOUT", "text": "too late"}),
            (b"PING 1 \n", {"kind": "heartbeat"}),
            (b"PONG 1 \n", {"kind": "heartbeat_ack"}),
            (b"QUIT 0 \n", {"kind": "drain"}),
        ),
    )
)


def test_the_kit_sees_a_codec_that_raises_what_it_must_not():
    class Careless(type(mini.wire)):
        def frame(self, data, peer):
            assert b"\xff" not in data
            return super().frame(data, peer)

    suite = conformance(Protocol("careless", Careless()), golden=TestMini.vectors)()
    with pytest.raises(AssertionError):
        suite.test_spoiled_frames_are_read_refused_or_waited_for()


def test_a_protocol_says_its_tier():
    assert (mini.tier, mini.detectable, repr(mini)) == ("python", False, "Protocol('mini', python)")
    native.check_codec(mini.wire.address, "mini")
    assert mini.wire.address == mini.wire.address


class Least(PythonCodec):
    def frame(self, data, peer):
        return Frame(len(data))

    def request(self, frame):
        return Request()

    def with_id(self, frame, request_id):
        return frame

    def error(self, reply):
        return reply.text.encode()


def test_what_a_codec_need_not_have_is_not_asked_of_it():
    wire = Protocol("least", Least()).wire
    assert (wire.ask.heartbeat(1), wire.ask.drain(), wire.ask.heartbeat_ack(b"x")) == (b"", b"", b"")
    assert (native.heartbeat(wire.address, 1), native.drain(wire.address)) == (b"", b"")
    with pytest.raises(LocalProtocolError, match="Least has no edit: its requests cannot be changed"):
        wire.ask.edit(b"x", [(native.EDIT_METHOD, "", "y")])


@pytest.mark.parametrize("optional", [False, True])
def test_a_drain_signal_may_be_the_operators_choice(optional):
    class Drains(Least):
        optional_drain = optional

        def drain(self, reply):
            return b"bye"

    assert Protocol("least", Least()).drain == "never"
    assert Protocol("drains", Drains()).drain == ("asked" if optional else "always")


def test_a_codec_whose_ids_stay_is_pinned():
    own = Protocol("mini", Own())
    assert own.pinned
    assert native.pinned(own.wire.address)
    assert not native.rewrites_ids(own.wire.address)
    assert native.id_bytes(own.wire.address) == mini.wire.id_width
    assert type("Wide", (Least,), {"mode": "pinned"})().id_width == 8
    with pytest.raises(LocalProtocolError, match="has no with_id"):
        own.wire.with_id(b"", 1)


async def waiting(self, data, peer):
    return Frame(len(data))


def yielding(self, frame):
    yield Request()


def test_what_is_a_codecs_own_may_be_named_as_one_likes():
    facts = {"_frames": 1, "lines": 2, "parse": lambda self: 3, "error": staticmethod(lambda reply: b"x")}
    facts |= {
        "frames": lambda self: 5,
        "drain": classmethod(lambda cls, reply: b"bye"),
    }  # it has a frame of its own
    assert type("Own", (Least,), facts)().address


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            {"mode": "shared"},
            "Wrong.mode is 'shared', expected one of multiplexed, ordered, pingpong, pinned",
        ),
        ({"id_bytes": 9}, "Wrong.id_bytes is 9, expected 1 to 8"),
        ({"reserved_ids": (1, 2, 3, 4, 5)}, "Wrong.reserved_ids are 5, expected at most 4"),
        ({"max_frame": 0}, "Wrong.max_frame is 0, expected 1 to 2147483647"),
        ({"frame": PythonCodec.frame}, "Wrong has no method 'frame'"),
        ({"request": PythonCodec.request}, "Wrong has no method 'request'"),
        ({"error": PythonCodec.error}, "Wrong has no method 'error'"),
        ({"with_id": PythonCodec.with_id}, "Wrong has no method 'with_id'"),
        (
            {"hearbeat": lambda self, request_id, key: b""},
            "Wrong.hearbeat is nothing that a codec is asked for",
        ),
        (
            {"hearbeat": lambda self, request_id, key: b""},
            "did you mean 'heartbeat'? What is its own and named",
        ),
        ({"id_byte": 4}, "did you mean 'id_bytes'?"),
        ({"edit_respons": lambda self, frame, answer: frame}, "did you mean 'edit_response'?"),
        (
            {"heartbeat": lambda self, request_id: b""},
            "as it will be: too many positional arguments; it is called with (request_id, upstream_key)",
        ),
        ({"error": lambda reply: b""}, "Wrong.error cannot be called as it will be: too many positional"),
        (
            {"header": lambda self, frame, key, default: ""},
            "as it will be: missing a required argument: 'default'; it is called with (frame, key), by their",
        ),
        ({"keep": staticmethod(lambda: b"")}, "Wrong.keep cannot be called as it will be: too many"),
        ({"keep": classmethod(lambda frame: b"")}, "Wrong.keep cannot be called as it will be: too many"),
        ({"drain": b"bye"}, "Wrong.drain is b'bye', expected a method; it is called with (reply)"),
        ({"frame": waiting}, "Wrong.frame only computes: write def, without async and yield"),
        ({"request": yielding}, "Wrong.request only computes: write def, without async and yield"),
    ],
)
def test_a_class_that_is_not_complete_is_refused(facts, reason):
    wrong = type("Wrong", (Least,), facts)
    with pytest.raises(PluginError, match=re.escape(reason)):
        _ = wrong().address


def test_without_ids_there_is_no_with_id():
    facts = {"mode": "ordered", "with_id": PythonCodec.with_id}
    wire = type("Ordered", (Least,), facts)()
    assert (wire.ask.id_bytes, native.mode(wire.address)) == (0, 1)
    assert wire.ask.patch_id(b"x", 5) == b"x"


@pytest.mark.parametrize(
    "result",
    [
        b"x",
        Frame(0),
        Frame(1, "question"),
        Frame(1, id=-1),
        Frame(1, id=b"7"),
        Frame(1, id=2**64),
        Frame(1, timeout_ms=-1),
        Frame(1, context=2**32),
        Frame(1, upstream_key=-1),
    ],
)
def test_a_result_that_cannot_be_is_the_codecs_mistake(result):
    wire = type("Wrong", (Least,), {"frame": lambda self, data, peer: result})()
    with pytest.raises(LocalProtocolError, match=r"Wrong\.frame gave"):
        wire.ask.frame(b"x")


def test_a_frame_over_the_limit_is_known_by_its_head():
    head = sized.call(9, payload=bytes(100))[: sized.HEAD.size]
    message = sized.sized.wire.ask.frame(head, 50)
    assert (message.result, message.kind, message.id, message.context) == (-3, native.KIND_REQUEST, 9, 77)


def test_a_frame_without_an_end_is_refused_at_the_limit():
    assert mini.wire.ask.frame(b"CALL 00000001 " + bytes(64 << 10)).result == -3
    assert mini.wire.ask.frame(b"CALL 00000001 ").result == 1


def test_protokit_decode_reads_it_when_told_to(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(distribution(tmp_path, "mini", example(), "mini")))
    data = b"CALL 0000002a greet.Hello hello world\nDONE 0000002a hi\nJUNK"
    result = CliRunner().invoke(group, ["decode", "-p", "mini", "--input", "raw", "--json", "-"], input=data)
    first, second, *_ = [json.loads(line) for line in result.stdout.splitlines()]
    assert (first["kind"], first["id"], first["service"], first["method"]) == (
        "request",
        "42",
        "greet.Hello",
        "hello",
    )
    assert (second["kind"], second["status"]) == ("response", "OK")
    assert result.exit_code == 1
    result = CliRunner().invoke(group, ["decode", "--input", "raw", "--json", "-"], input=data)
    assert "greet.Hello" not in result.stdout, "a codec in Python is not asked unless it is named"


def test_envelopes_are_read_by_the_engine():
    wire = mini.wire
    frame = b"CALL 0000002a greet.Hello hello world\n"
    data = wire.ask.for_engine(frame)
    message = native.frame(wire.address, data)
    assert (message.result, message.kind, message.size, message.id) == (0, native.KIND_REQUEST, len(data), 42)
    asked = native.request(wire.address, data)
    assert (asked.service, asked.method, asked.protocol) == ("greet.Hello", "hello", "mini")
    assert wire.ask.from_engine(native.patch_id(wire.address, data, 7)) == frame
    for cut in range(1, len(data)):
        cut_off = native.frame(wire.address, data[:cut])
        assert cut_off.result == 1
        assert cut < cut_off.need <= len(data)
    assert native.probe(wire.address, data) == -1
    assert native.frame(wire.address, b"PKEx").result == -1


def test_what_the_engine_builds_says_what_to_build():
    wire = mini.wire
    reply = native.error(wire.address, 4, 9, 77, b"why")
    head = envelope.head(reply)
    assert (head.size, head.kind, head.status, head.id, head.context, head.flags) == (
        55,
        3,
        4,
        9,
        77,
        envelope.BUILD,
    )
    assert envelope.frame(reply) == b"why"
    assert envelope.head(native.heartbeat(wire.address, 5, 6)).upstream_key == 6
    assert envelope.head(native.drain(wire.address, 8)).context == 8
    beat = envelope.pack(native.KIND_HEARTBEAT, b"PING 00000001 \n", id=1)
    ack = native.heartbeat_ack(wire.address, beat)
    assert (envelope.head(ack).kind, envelope.frame(ack)) == (native.KIND_HEARTBEAT_ACK, b"PING 00000001 \n")


def test_every_part_of_an_envelope_is_read_where_it_stands():
    address, wide = mini.wire.address, 0x0102030405060708
    data = envelope.pack(3, b"x", id=wide, status=6, timeout_ms=70_000, context=80_000, upstream_key=90_000)
    message = native.frame(address, data)
    assert (message.result, message.kind, message.status, message.id) == (0, 3, 6, wide)
    assert (message.timeout_ms, message.context, message.upstream_key) == (70_000, 80_000, 90_000)
    data = envelope.pack(1, b"x", texts=("service", "m", "1.0", "group"))
    asked = native.request(address, data)
    assert (asked.service, asked.method) == ("service", "m")
    with pytest.raises(RemoteProtocolError):
        native.request(
            address, envelope.pack(1, b"x", texts=("service", "m", "", ""), flags=envelope.UNREADABLE)
        )


def test_an_envelope_that_is_wrong_or_says_that_something_is():
    def framed(*arguments, limit=1 << 20, **more):
        return native.frame(mini.wire.address, envelope.pack(*arguments, **more), limit)

    assert framed(1, b"x", limit=envelope.SIZE).result == -3
    assert framed(1, b"x", limit=envelope.SIZE + 1).result == 0
    large = framed(3, flags=envelope.TOO_LARGE)
    assert (large.result, large.size, large.need) == (-3, envelope.SIZE, envelope.SIZE)
    wrong = framed(1, b"x", flags=envelope.WRONG, timeout_ms=17)
    assert (wrong.result, wrong.error_at) == (-2, 17)
    assert framed(0).result == framed(native.KIND_IGNORE + 1).result == -2
    assert framed(3, status=8).result == 0
    assert framed(3, status=9).result == -2
    outside = bytearray(envelope.pack(1, b"x"))
    outside[40:42] = (2).to_bytes(2, "little")  # a text of two bytes, where one byte follows
    assert native.frame(mini.wire.address, bytes(outside)).result == -2
    with pytest.raises(LocalProtocolError):
        native.heartbeat_ack(mini.wire.address, envelope.pack(native.KIND_HEARTBEAT, bytes(1 << 17)))


def test_texts_too_long_for_an_envelope_make_it_unreadable():
    data = envelope.pack(1, b"x", texts=("a" * 70_000, "", "", ""))
    assert envelope.head(data).flags == envelope.UNREADABLE
    with pytest.raises(RemoteProtocolError):
        native.request(mini.wire.address, data)
