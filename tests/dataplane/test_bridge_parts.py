"""protokit.dataplane.bridge: what a codec is told beyond a frame's bytes, and what it says beyond them."""

from __future__ import annotations

import pytest
from bridged import LIMITS, Wire

from protokit import Frame, PythonCodec, Request, Status, native
from protokit.dataplane.bridge import Bridge, Bridges
from protokit.errors import LocalProtocolError
from protokit.logs import Repeated
from protokit.testing import streams
from protokit.wire import envelope


class Words(PythonCodec):
    """A word and a space for each message: ``id:kind:text``."""

    id_bytes = 4

    def __init__(self) -> None:
        self.heard = []

    def frame(self, data, peer):
        peer.state = (peer.state or 0) + 1
        self.heard.append((len(data), peer.side, peer.asked, peer.state, peer.ended))
        end = data.find(b" ")
        if end < 0 and not (peer.ended and data):
            return None
        number, kind, text = data[: end if end >= 0 else len(data)].decode().split(":")
        kinds = {"q": "request", "a": "response", "p": "piece"}
        size = end + 1 if end >= 0 else len(data)
        return Frame(size, kinds[kind], int(number), context=len(text), more="+" in text, last="!" in text)

    def request(self, frame):
        return Request("a", frame.decode().split(":")[2].strip())

    def with_id(self, frame, request_id):
        return str(request_id).encode() + frame[frame.index(b":") :]

    def error(self, reply):
        return f"{reply.id}:a:{reply.status.name}-{reply.kept.decode()}-{reply.text} ".encode()

    def drain(self, reply):
        return f"0:d:{reply.context}-{reply.kept.decode()} ".encode()


class InOrder(Words):
    mode = "ordered"


class Ends(Words):
    ends = True


class Keeps(Words):
    def keep(self, frame):
        return frame.partition(b" ")[0][-3:]


class Judges(Keeps):
    def answer(self, frame, found, asked):
        found.status = Status.APP_ERROR if asked.context == 3 else Status.OK
        found.size = 99  # not to be changed
        return found


def bridged(codec, *, upstream):
    bridge = Bridge(Bridges(lambda: LIMITS, Repeated()), codec, upstream=upstream)
    for end in (bridge._peer, bridge._engine):
        end.connection_made(Wire())
    return bridge._peer, bridge._engine


def heads(engine):
    data, found = bytes(engine.transport.written).removesuffix(b"EOF"), []
    while (head := envelope.head(data)) is not None and len(data) >= head.size:
        found.append(head)
        data = data[head.size :]
    return found


def run(test):
    async def main():
        test()

    streams.run(main())


@pytest.mark.parametrize(("upstream", "side"), [(False, "client"), (True, "server")])
def test_the_side_and_what_framing_keeps_of_its_direction(upstream, side):
    def test():
        codec = Words()
        peer, _ = bridged(codec, upstream=upstream)
        for part in (b"1:a:", b"x 2:a:y 3", b":a:z "):
            peer.data_received(part)
        assert [(one[1], one[3]) for one in codec.heard] == [(side, n) for n in range(1, 6)]

    run(test)


def test_a_frame_whose_size_was_said_is_not_asked_for_again():
    class Announced(Words):
        def frame(self, data, peer):
            peer.state = (peer.state or 0) + 1
            return Frame(100, "oneway", peer.state)

    def test():
        peer, engine = bridged(Announced(), upstream=False)
        for _ in range(25):
            peer.data_received(bytes(10))
        peer.data_received(bytes(50))
        assert [head.id for head in heads(engine)] == [1, 2, 3]

    run(test)


def test_an_answer_is_framed_by_the_request_that_waits_for_it():
    def test():
        codec = InOrder()
        peer, engine = bridged(codec, upstream=True)
        for context in (5, 6):
            engine.data_received(envelope.pack(native.KIND_REQUEST, b"q", context=context))
        for part in (b"0:a:one+ ", b"0:p:two ", b"0:a:three ", b"0:a:four "):
            peer.data_received(part)
        assert [one[2] for one in codec.heard] == [5, 5, 6, 0]
        assert [head.says for head in heads(engine)] == [native.SAYS_MORE, 0, 0, 0]

    run(test)


def test_what_is_asked_without_end_is_forgotten_the_oldest_first():
    def test():
        codec = Judges()
        peer, engine = bridged(codec, upstream=True)
        for number in range(5000):
            engine.data_received(envelope.pack(native.KIND_REQUEST, b"q", id=number, context=3))
        peer.data_received(b"1:a:x 4999:a:x ")
        assert [head.status for head in heads(engine)] == [Status.OK, Status.APP_ERROR]

    run(test)


def test_the_peers_end_is_told_once_and_may_end_a_frame():
    def test():
        codec = Ends()
        peer, engine = bridged(codec, upstream=False)
        peer.data_received(b"1:q:x 2:q:y")
        peer.eof_received()
        assert [head.id for head in heads(engine)] == [1, 2]
        assert [(one[0], one[4]) for one in codec.heard] == [(11, False), (5, False), (5, True), (0, True)]
        assert engine.transport.written.endswith(b"EOF")

    run(test)


def test_the_peers_end_is_not_told_to_others():
    def test():
        codec = Words()
        peer, engine = bridged(codec, upstream=False)
        peer.data_received(b"1:q:x ")
        peer.eof_received()
        assert (len(codec.heard), engine.transport.written.endswith(b"EOF")) == (1, True)

    run(test)


def test_replies_have_what_was_kept_and_the_last_message_is_said_so():
    def test():
        codec = Keeps()
        peer, engine = bridged(codec, upstream=False)
        peer.data_received(b"7:q:hello! ")
        (head,) = heads(engine)
        data = bytes(engine.transport.written)
        assert (head.says, head.kept, data[head.front - head.kept : head.front]) == (
            native.SAYS_LAST,
            3,
            b"lo!",
        )
        refused = native.error(codec.address, Status.DENIED, 7, head.context, b"no", b"lo!")
        engine.data_received(refused)
        engine.data_received(native.drain(codec.address, 4, b"lo!"))
        assert bytes(peer.transport.written) == b"7:a:DENIED-lo!-no 0:d:4-lo! "
        assert native.keep(codec.address, data) == b"lo!"

    run(test)


def test_an_answer_may_be_judged_by_its_request():
    def test():
        peer, engine = bridged(Judges(), upstream=True)
        for number, context in ((1, 3), (2, 4)):
            engine.data_received(envelope.pack(native.KIND_REQUEST, b"q", id=number, context=context))
        peer.data_received(b"2:a:y 1:a:x 1:a:x ")
        found = [(head.id, head.status, head.size - head.front) for head in heads(engine)]
        assert found == [(2, Status.OK, 6), (1, Status.APP_ERROR, 6), (1, Status.OK, 6)]

    run(test)


@pytest.mark.parametrize("kept", [b"x" * 257, "text", None])
def test_what_cannot_be_kept_is_the_codecs_mistake(kept):
    codec = type("Wrong", (Keeps,), {"keep": lambda self, frame: kept})()
    with pytest.raises(LocalProtocolError, match=r"Wrong\.keep gave .*, expected at most 256 bytes"):
        codec.ask.keep(b"1:q:x ")
