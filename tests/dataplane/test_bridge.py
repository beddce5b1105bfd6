"""protokit.dataplane.bridge alone: what a codec is shown, and how much of it in one turn."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from bridged import LIMITS, Wire

from protokit import Frame, PythonCodec, Request, native
from protokit.dataplane.bridge import Bridge, Bridges
from protokit.logs import Repeated
from protokit.testing import streams
from protokit.wire import envelope


class Lines(PythonCodec):
    def __init__(self) -> None:
        self.shown = []

    def frame(self, data, peer):
        self.shown.append(len(data))
        end = data.find(b"\n")
        return Frame(end + 1, "oneway") if end >= 0 else None

    def request(self, frame):
        return Request("a", "b")

    def with_id(self, frame, request_id):
        return frame

    def error(self, reply):
        return b""


class Sized(Lines):
    def frame(self, data, peer):
        self.shown.append(len(data))
        return Frame(int.from_bytes(data[:4], "big"), "oneway") if len(data) >= 4 else None


@pytest.mark.parametrize("fault", ["no such codec", "no socket", "neither is a socket"])
def test_what_cannot_be_opened_leaves_no_descriptor(fault):
    """And the engine's end sees that."""

    async def main():
        peer, engine = socket.socketpair(), socket.socketpair()
        left, right = peer[0].detach(), engine[0].detach()
        if fault == "no socket":
            os.dup2(os.pipe()[0], right)
        elif fault == "neither is a socket":
            os.dup2(os.pipe()[0], left)
            os.dup2(os.pipe()[0], right)
        op = native.Op(native.EVENT_BRIDGE, 0, 1, left, right, 5, 0)
        bridges = Bridges(lambda: LIMITS, Repeated())
        with pytest.raises(KeyError if fault == "no such codec" else OSError):
            bridges.open(None, op, {})
        for fd in (left, right):
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
        if fault == "no such codec":
            assert engine[1].recv(1) == b""
        assert len(bridges) == 0
        for one in (peer[1], engine[1]):
            one.close()

    streams.run(main())


def bridged(codec, **limits):
    bridges = Bridges(lambda: LIMITS | limits, Repeated())
    bridge = Bridge(bridges, codec, upstream=False)
    for end in (bridge._peer, bridge._engine):
        end.connection_made(Wire())
    return bridge, bridge._peer, bridge._engine


def envelopes(engine) -> list[bytes]:
    data, found, at = bytes(engine.transport.written), [], 0
    while (head := envelope.head(data, at)) is not None and len(data) - at >= head.size:
        found.append(envelope.frame(data[at : at + head.size]))
        at += head.size
    return found


def test_a_frame_of_unknown_size_is_not_looked_at_for_every_byte():
    async def main():
        codec = Lines()
        _, peer, engine = bridged(codec)
        line = b"x" * 60_000 + b"\n"
        for byte in line:
            peer.data_received(bytes([byte]))
        assert len(codec.shown) < 4096 + 100
        assert sum(size for size in codec.shown if size > 4096) < 16 * len(line)
        while not envelopes(engine):
            await asyncio.sleep(0.001)
        assert envelopes(engine) == [line]

    streams.run(main())


def test_a_frame_of_known_size_is_looked_at_when_it_is_whole():
    async def main():
        codec = Sized()
        _, peer, engine = bridged(codec)
        frame = (50_000).to_bytes(4, "big") + bytes(49_996)
        for at in range(0, len(frame), 10):
            peer.data_received(frame[at : at + 10])
        assert envelopes(engine) == [frame]
        assert len(codec.shown) <= 4

    streams.run(main())


def test_small_frames_cost_no_copies_of_all_that_follows():
    async def main():
        codec = Lines()
        bridge, peer, engine = bridged(codec)
        peer.data_received(b"line\n" * 20_000)
        assert max(codec.shown) <= 4096
        assert len(codec.shown) <= 256, "others wait while one connection has all the time"
        assert not peer.transport.reading
        while peer.again:
            await asyncio.sleep(0)
        assert len(envelopes(engine)) == 20_000
        assert peer.transport.reading
        assert bridge._bridges.held == 0

    streams.run(main())


def test_neither_side_is_read_while_the_other_is_full():
    async def main():
        _, peer, engine = bridged(Lines())
        engine.pause_writing()
        assert (peer.transport.reading, engine.transport.reading) == (False, True)
        peer.data_received(b"line\n")
        assert not engine.transport.written
        engine.resume_writing()
        assert envelopes(engine) == [b"line\n"]
        peer.pause_writing()
        assert (peer.transport.reading, engine.transport.reading) == (True, False)
        engine.data_received(envelope.pack(3, b"answer"))
        assert not peer.transport.written
        peer.eof_received()
        engine.eof_received()
        assert not peer.transport.closed
        peer.resume_writing()
        assert (peer.transport.written, peer.transport.closed) == (b"answer", "close")
        assert engine.transport.written.endswith(b"EOF")

    streams.run(main())


def test_a_half_frame_starts_the_engines_clock_once():
    async def main():
        _, peer, engine = bridged(Lines())
        for byte in b"half":
            peer.data_received(bytes([byte]))
        assert engine.transport.written == envelope.MAGIC
        peer.data_received(b"\nnext\n")
        assert envelopes(engine) == [b"half\n", b"next\n"]

    streams.run(main())


def test_a_peer_that_does_not_take_its_last_bytes_is_given_some_time():
    async def main():
        bridge, peer, engine = bridged(Lines(), frame_ms=20)
        peer.pause_writing()
        engine.data_received(envelope.pack(3, b"answer"))
        bridge.leave(reset=False)
        assert not peer.transport.closed
        while not peer.transport.closed:
            await asyncio.sleep(0.001)
        assert peer.transport.closed == "abort"

    streams.run(main())


def test_over_the_budget_it_is_closed():
    async def main():
        bridge, peer, engine = bridged(Lines(), buffer=10_000)
        peer.data_received(b"x" * 9_000)
        assert bridge._bridges.held == 9_000
        peer.data_received(b"x" * 2_000)
        assert (peer.transport.closed, engine.transport.closed, bridge._bridges.held) == ("abort", "abort", 0)

    streams.run(main())


def test_a_heartbeat_that_cannot_be_said_is_answered_here():
    async def main():
        _, peer, engine = bridged(Lines())
        engine.data_received(envelope.pack(4, id=9, flags=envelope.BUILD))
        head = envelope.head(bytes(engine.transport.written))
        assert (head.kind, head.id, head.flags) == (5, 9, 0)
        assert not peer.transport.written

    streams.run(main())


def test_a_connection_that_the_engine_leaves_before_it_is_there_is_closed():
    async def main():
        bridges = Bridges(lambda: LIMITS, Repeated())
        bridge = Bridge(bridges, Lines(), upstream=False)
        (peer, client), (engine, worker) = socket.socketpair(), socket.socketpair()
        bridge.leave(reset=False)
        await bridge.connect(peer, engine)
        await asyncio.sleep(0.01)
        for one in (client, worker):
            one.settimeout(5)
            assert one.recv(1) == b""
            one.close()

    streams.run(main())
