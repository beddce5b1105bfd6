"""What shows only through a real proxy, in this process, with peers that speak by the declaration.

Nothing here measures time: a check waits for what must come, and fails when it has not come in a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tracemalloc
from typing import TYPE_CHECKING, Any

import msgspec

from protokit import config as configuration
from protokit import native
from protokit.config.scalars import Size
from protokit.control import build_snapshot
from protokit.dataplane.compile import Identities, compile_snapshot
from protokit.dataplane.proxy import Proxy
from protokit.errors import LocalProtocolError, ProtocolError, ProtokitError
from protokit.model import Filter, Request, Response, Status
from protokit.native.core import Core
from protokit.plugins import Plugin, Registry
from protokit.testing import streams
from protokit.testing.greeting import greet
from protokit.testing.strategies import announcing
from protokit.testing.voices import LARGEST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from protokit.testing.cases import Cases
    from protokit.testing.golden import Golden
    from protokit.testing.voices import Heard, Voice
    from protokit.wire import Protocol, Wire

PATIENCE_S = 20
MEBIBYTE = 1 << 20
TEXT_MAX = 512
Received = list[tuple["Heard", bytes]]


class ThroughAProxy:
    """Checks with a proxy between two peers."""

    protocol: Protocol
    cases: Cases

    if TYPE_CHECKING:

        @property
        def codec(self) -> Wire: ...
        @property
        def voice(self) -> Voice: ...
        def whole(self, kind: str) -> list[Golden]: ...
        def has(self, capability: str) -> bool: ...
        def id_bytes(self) -> int: ...
        def reading(self) -> list[Callable[[bytes], Any]]: ...

    def requests(self) -> list[bytes]:
        """Golden requests of clients that go through in a moment, of every variant."""
        small = [
            one.data
            for one in self.whole("request")
            if len(one.data) <= MEBIBYTE and native.side_of(one.data) != "server"
        ]
        by_variant: dict[Any, bytes] = {}
        for one in small:
            by_variant.setdefault(self.voice.variant(one), one)
        return [*by_variant.values(), *(one for one in small if one not in by_variant.values())][:20]

    def hostile(self) -> list[bytes]:
        """Frames that announce much and bring little."""
        return announcing([*_one_of_each_variant(self), self.whole("response")[0].data])

    def example(self, kind: str) -> bytes:
        """A frame of that kind: a golden one, one the codec builds, or one from the declaration."""
        like = self.requests()[0]
        built = {"drain": self.voice.drain(like), "heartbeat": self.voice.heartbeat(1, like)}.get(kind, b"")
        golden = [one.data for one in self.whole(kind)]
        if golden or built:
            return (golden or [built])[0]
        made = (data for data in self.cases.short if self._kind(data) == kind)
        if (found := next(made, None)) is not None:
            return found
        raise AssertionError(f"no frame of the kind {kind!r} is known; capture a golden vector of one")

    def _kind(self, data: bytes) -> str:
        try:
            return self.voice.hear(data).kind
        except ProtocolError:  # a frame whose texts cannot be read
            return ""

    def test_a_real_proxy_carries_it(self) -> None:
        """Two clients with the same ids, ids around their end, any cuts: each gets its own answers."""
        streams.run(_carried(self))

    def test_every_error_reply_reaches_the_client(self) -> None:
        """No route, no server, no answer in time, too many at once, too large, denied, a broken filter."""
        streams.run(_errors(self))

    def test_error_texts_of_the_full_length_reach_the_client(self) -> None:
        streams.run(_long_errors(self))

    def test_heartbeats_go_both_ways(self) -> None:
        """A client's is answered, an idle server gets one and may answer, a server's own is answered."""
        streams.run(_heartbeats(self))

    def test_oneway_requests_arrive_and_are_never_answered(self) -> None:
        """A client's; and what a server says unasked, where each client has its own connection to it."""
        streams.run(_oneway(self))

    def test_draining_is_told_and_listened_to(self) -> None:
        """A server that drains gets nothing new; a client is told when the proxy drains, and served."""
        streams.run(_drained(self))

    def test_memory_is_bounded_by_what_arrived(self) -> None:
        """Frames that announce much and bring little: the engine's buffers, and the codecs in Python."""
        _memory(self)
        tracemalloc.start()
        try:
            for read in self.reading():
                for data in self.hostile():
                    tracemalloc.reset_peak()
                    before, _ = tracemalloc.get_traced_memory()
                    with contextlib.suppress(ProtocolError, EOFError):
                        read(data)
                    _, peak = tracemalloc.get_traced_memory()
                    assert peak - before < MEBIBYTE, f"{peak - before} bytes of memory for {data.hex()}"
        finally:
            tracemalloc.stop()


# Peers.


class Server:
    """An upstream that answers each request with a golden response of the same variant.

    Args:
        suite: whose protocol it speaks.

    Attributes:
        heard: requests, one-way ones too, in the order in which they came.
        others: all other frames.
        connections: of each, a writer.
        silent: it hears and says nothing, heartbeats apart.
    """

    def __init__(self, suite: ThroughAProxy) -> None:
        self.voice = suite.voice
        told = [one.data for one in suite.whole("response") if native.side_of(one.data) != "client"]
        answers = sorted(told, key=native.has_ended, reverse=True)  # one that says where it ends, if any
        self.answers = {self.voice.variant(one): one for one in answers}
        self.heard: Received = []
        self.others: Received = []
        self.connections: list[asyncio.StreamWriter] = []
        self.silent = False
        self.port = 0
        self.errors: list[Exception] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        with contextlib.suppress(OSError, EOFError):
            try:
                rest = await greet(self.voice.codec.address, "server", reader, writer)
                while data := await reader.read(1 << 16):
                    found, rest = self.voice.split(native.sent_by("client", rest + data))
                    for heard, frame in found:
                        self.say(writer, self.reply(heard, frame))
            except ProtocolError as error:
                self.errors.append(error)
        writer.close()

    @property
    def ends(self) -> bool:
        """Whether each answer takes a connection."""
        return all(map(native.has_ended, self.answers.values()))

    @staticmethod
    def say(writer: asyncio.StreamWriter, data: bytes) -> None:
        """Send it, and end where that tells its end."""
        if not writer.is_closing():
            writer.write(data)
        if native.has_ended(data):
            writer.close()

    def reply(self, heard: Heard, frame: bytes) -> bytes:
        if heard.kind not in {"request", "oneway"}:
            self.others.append((heard, frame))
            return self.voice.ack(frame) if heard.kind == "heartbeat" else b""
        self.heard.append((heard, frame))
        return b"" if self.silent or heard.kind == "oneway" else self.answer(heard, frame)

    def answer(self, heard: Heard, frame: bytes) -> bytes:
        """What a request gets."""
        answer = self.answers.get(self.voice.variant(frame), next(iter(self.answers.values())))
        return self.voice.with_id(answer, heard.id)


class Client:
    """A connection to the proxy."""

    def __init__(self, voice: Voice, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.voice = voice
        self.reader = reader
        self.writer = writer
        self.rest = b""
        self.found: Received = []

    async def send(self, data: bytes, piece: int = 1 << 16) -> None:
        """Send in pieces; the first of them one by one."""
        for at in range(0, len(data), piece):
            self.writer.write(data[at : at + piece])
            if at < 400:
                await self.writer.drain()
                await asyncio.sleep(0)

    async def receive(self, count: int, what: str) -> Received:
        """So many frames."""
        while len(self.found) < count:
            try:
                data = await asyncio.wait_for(self.reader.read(1 << 16), PATIENCE_S)
            except TimeoutError:
                raise AssertionError(f"{what}: {len(self.found)} of {count} frames came, then none") from None
            more, self.rest = self.voice.split(native.sent_by("server", self.rest + data, ended=not data))
            self.found += more
            gone = f"{what}: the proxy closed the connection after {len(self.found)} of {count} frames"
            assert data or len(self.found) >= count, gone
        taken, self.found = self.found[:count], self.found[count:]
        return taken

    async def one(self, what: str) -> tuple[Heard, bytes]:
        """The next frame."""
        ((heard, frame),) = await self.receive(1, what)
        return heard, frame

    async def closed(self, what: str) -> None:
        """Nothing more comes, and the connection ends."""
        try:
            data = await asyncio.wait_for(self.reader.read(1 << 16), PATIENCE_S)
        except TimeoutError:
            raise AssertionError(f"{what}: the connection stays open") from None
        except OSError:
            return
        assert not data, f"{what}: {data[:64].hex()} came"


class Scene:
    """A proxy, its servers and its clients."""

    def __init__(self, suite: ThroughAProxy, proxy: Proxy, servers: Mapping[str, Server]) -> None:
        self.suite = suite
        self.proxy = proxy
        self.servers = servers
        self.clients: list[Client] = []

    async def client(self, listener: str) -> Client:
        reader, writer = await streams.open_connection("127.0.0.1", self.proxy.addresses[listener][1])
        client = Client(self.suite.voice, reader, writer)
        self.clients.append(client)
        client.rest = await greet(self.suite.codec.address, "client", reader, writer)
        return client

    def close(self) -> None:
        for client in self.clients:
            client.writer.close()

    def stat(self, name: str) -> int:
        return sum(one[name] for one in self.proxy.stats()["workers"])

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for what must come."""
        for _ in range(100 * PATIENCE_S):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{what}: it has not come")


@contextlib.asynccontextmanager
async def _scene(
    suite: ThroughAProxy,
    listeners: list[dict[str, Any]],
    *,
    servers: tuple[str, ...] = ("c",),
    clusters: tuple[dict[str, Any], ...] = (),
    frame: int = 0,
    **sections: Any,
) -> AsyncIterator[Scene]:
    """A proxy with a server for each cluster in ``servers``; ``frame``: a limit less than files may say."""
    peers = {name: Server(suite) for name in servers}
    async with contextlib.AsyncExitStack() as stack:
        for peer in peers.values():
            listening = await streams.start_server(peer.serve, "127.0.0.1", 0)
            stack.callback(listening.close)
            peer.port = listening.sockets[0].getsockname()[1]
        config = {
            "listeners": [_listener(suite.protocol) | one for one in listeners],
            "clusters": [
                *({"name": name, "endpoints": [f"127.0.0.1:{peer.port}"]} for name, peer in peers.items()),
                *clusters,
            ],
            "drain": {"delay": "0s", "timeout": "5s"},
            **sections,
        }
        loaded = configuration.load(config, _registry(suite.protocol))
        if frame:
            limits = msgspec.structs.replace(loaded.config.limits, frame=Size(frame))
            loaded.config = msgspec.structs.replace(loaded.config, limits=limits)
        proxy = await stack.enter_async_context(Proxy(loaded))
        scene = Scene(suite, proxy, peers)
        stack.callback(scene.close)
        yield scene
    for name, peer in peers.items():
        assert not peer.errors, f"the server of {name} cannot read what the proxy sent: {peer.errors[0]}"


def _listener(protocol: Protocol) -> dict[str, Any]:
    goaway = {"goaway": True} if protocol.drain == "asked" else {}
    return {"bind": "127.0.0.1:0", "protocol": protocol.name, **goaway}


def _registry(protocol: Protocol) -> Registry:
    plugin = Plugin([protocol.name])
    plugin.protocols[protocol.name] = protocol
    plugin.filters["kit-answers"] = _Answers
    return Registry([plugin])


class _Answers(Filter):
    """Answers every request with the ``status`` of its options; breaks without one."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    async def request(self, request: Request) -> Response | None:  # noqa: ARG002  # whatever it is
        if not self.options:
            raise ProtokitError("this filter of the conformance kit breaks on purpose")
        return Response(Status[self.options["status"]], self.options["text"])


# The checks.


async def _carried(suite: ThroughAProxy) -> None:
    async with _scene(suite, [{"name": "in", "cluster": "c"}]) as scene:
        await asyncio.gather(_talk(scene, 1), _talk(scene, 7))
        heard, voice = scene.servers["c"].heard, suite.voice
        sent = 2 * len(suite.requests())
        arrived = sorted(voice.with_id(frame, 0) for _, frame in heard)
        expected = sorted(voice.with_id(frame, 0) for frame in 2 * suite.requests())
        assert arrived == expected, "what arrived differs from what was sent in more than its id"
        # The engine's own counters: its codec has read them, in a thread that never runs Python.
        await scene.until(lambda: scene.stat("responses") == sent, "the engine counts its answers")
        assert scene.stat("requests") == sent
        assert scene.stat("answers_unmatched") == 0
        assert scene.stat("requests_active") == 0


async def _talk(scene: Scene, piece: int) -> None:
    suite, voice, server = scene.suite, scene.suite.voice, scene.servers["c"]
    by_variant: dict[Any, list[bytes]] = {}
    for one in suite.requests():
        by_variant.setdefault(voice.variant(one), []).append(one)
    for variant in by_variant.values():  # a connection speaks one version
        sent: list[bytes] = []
        for number, frame in enumerate(variant):
            sent.append(_with_some_id(suite, frame, number))
        answers = {one.id: server.answer(one, frame) for frame in sent for one in [voice.hear(frame)]}
        client = await scene.client("in")
        await client.send(b"".join(sent), piece)
        found = await client.receive(len(sent), "answers")
        if suite.id_bytes():
            assert {heard.id: frame for heard, frame in found} == answers
        else:
            assert [frame for _, frame in found] == [server.answer(voice.hear(one), one) for one in sent]


def _with_some_id(suite: ThroughAProxy, frame: bytes, number: int) -> bytes:
    """Ids around their end; byte strings of many lengths, among them what the engine itself issues."""
    last = (1 << 8 * suite.id_bytes()) - 1
    most = suite.codec.ask.id_max
    text = f"c{number}-".encode()
    for some in (text.ljust(len(text) + 7 * number % max(most, 1), b"z"), text.ljust(most, b"z")):
        if most >= len(some) and number % 3:
            with contextlib.suppress(LocalProtocolError):
                return suite.voice.with_id(frame, some)
    reserved = {some & last for some in getattr(suite.protocol.wire, "reserved_ids", ())}
    ids = [
        some for some in ((last - 1 + place) & last for place in range(number + 5)) if some not in reserved
    ]
    return suite.voice.with_id(frame, ids[number])


async def _errors(suite: ThroughAProxy) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and not listening: the port refuses, and nobody else gets it
        await _every_error(suite, f"127.0.0.1:{nobody.getsockname()[1]}")
    await _too_large(suite)


async def _every_error(suite: ThroughAProxy, nobody: str) -> None:
    text = "protokit: the kit says so"
    filters = {
        status: {"kit-answers": {"status": status.name, "text": text}}
        for status in Status
        if status > Status.APP_ERROR
    }
    nowhere = {"match": {"service": "no.such.Service"}, "cluster": "c"}
    if suite.protocol.relays_greetings:
        filters = {}  # its listeners have none
    listeners: list[dict[str, Any]] = [
        {"name": "nowhere", "routes": "nowhere"},
        {"name": "refused", "cluster": "refused"},
        {"name": "silent", "routes": "silent"},
        *({"name": status.name, "cluster": "c", "filters": [use]} for status, use in filters.items()),
    ]
    if filters:
        listeners.append({"name": "breaks", "cluster": "c", "filters": [{"kit-answers": {}}]})
    async with _scene(
        suite,
        listeners,
        clusters=({"name": "refused", "endpoints": [nobody]},),
        routes=[
            {"name": "nowhere", "rules": [nowhere]},
            {"name": "silent", "rules": [{"match": {}, "cluster": "c", "timeout": "300ms"}]},
        ],
        limits={"in_flight": 1},
    ) as scene:
        for request in _one_of_each_variant(suite):
            await _refused(scene, "nowhere", request, Status.NO_SERVICE)
            if suite.protocol.relays_greetings and suite.protocol.server_first:
                await (await scene.client("refused")).closed("a client whose server cannot greet it")
            else:
                await _refused(scene, "refused", request, Status.UNAVAILABLE)
            if filters:
                await _refused(scene, "breaks", request, Status.INTERNAL)
            for status in filters:
                await _refused(scene, status.name, request, status)
            await _overloaded(scene, request)
        assert len(scene.servers["c"].heard) == len(_one_of_each_variant(suite))


def _one_of_each_variant(suite: ThroughAProxy) -> list[bytes]:
    by_variant: dict[Any, bytes] = {}
    for one in suite.requests():
        by_variant.setdefault(suite.voice.variant(one), one)
    return [*by_variant.values()]


async def _refused(scene: Scene, listener: str, request: bytes, status: Status) -> None:
    before = scene.stat(f"errors_{status.name.lower()}")
    client = await scene.client(listener)
    await client.send(request)
    await _told(scene.suite, client, request, status, f"an error of {listener}")
    assert scene.stat(f"errors_{status.name.lower()}") == before + 1, (
        f"the engine did not count {status.name}"
    )


async def _told(suite: ThroughAProxy, client: Client, request: bytes, status: Status, what: str) -> None:
    """An error comes; or the connection is closed, where the protocol has none."""
    if not suite.has("errors"):
        await client.closed(what)
        return
    heard, frame = await client.one(what)
    voice = suite.voice
    assert heard.kind == "response", f"{status.name}: a {heard.kind} came"
    assert heard.id == voice.hear(request).id, f"{status.name}: the id {heard.id!r} came"
    expected = voice.hear(voice.error(status, request, "protokit: x")).status
    assert heard.status == expected, f"{status.name} is read as {heard.status.name}, not as {expected.name}"
    assert voice.variant(frame) == voice.variant(request), f"{status.name}: another variant came"
    assert b"protokit: " in frame or not suite.has("error-texts"), (
        f"{status.name} does not say why: {frame.hex()}"
    )


async def _overloaded(scene: Scene, request: bytes) -> None:
    """One waits for a silent server, which is all that the limit allows; the next is too many."""
    server = scene.servers["c"]
    server.silent = True
    heard = len(server.heard)
    waiting, late = await scene.client("silent"), await scene.client("silent")
    await waiting.send(request)
    await scene.until(lambda: len(server.heard) > heard, "the request reaches its server")
    await late.send(request)
    await _told(scene.suite, late, request, Status.OVERLOADED, "too many requests")
    await _told(scene.suite, waiting, request, Status.TIMEOUT, "a server that says nothing")
    await scene.until(lambda: scene.stat("requests_active") == 0, "both requests end")
    server.silent = False


async def _too_large(suite: ThroughAProxy) -> None:
    """Over the limit: an error reply where the head says enough for one; closed, in any case."""
    request = max(suite.requests(), key=len)
    limit = len(request) - 1
    if limit < _greeting_size(suite):
        return  # the greeting could not be said either
    seen = suite.codec.ask.frame(request, limit)
    answered = seen.result in {-2, -3} and seen.kind == native.KIND_REQUEST
    async with _scene(suite, [{"name": "in", "cluster": "c"}], frame=limit) as scene:
        client = await scene.client("in")
        await client.send(request)
        if answered and suite.has("errors"):
            await _told(suite, client, request, Status.BAD_REQUEST, "too large")
        await client.closed("too large")
        assert not scene.servers["c"].heard


def _greeting_size(suite: ThroughAProxy) -> int:
    """Of its longest step; 0 without one."""
    codec = suite.codec.address
    steps = range(len(native.greeting(codec)))
    return max((len(native.greeting_step(codec, step)) for step in steps), default=0)


async def _long_errors(suite: ThroughAProxy) -> None:
    """The room that a codec asks for is enough: texts of 512 bytes, of characters that grow."""
    if suite.protocol.relays_greetings:
        return  # filters give such texts, and its listeners have none
    texts = ["x" * TEXT_MAX, '"' * TEXT_MAX, "\N{GRINNING FACE}" * (TEXT_MAX // 4), "\x01" * TEXT_MAX]
    listeners = [
        {
            "name": f"{number}",
            "cluster": "c",
            "filters": [{"kit-answers": {"status": "DENIED", "text": text}}],
        }
        for number, text in enumerate(texts)
    ]
    async with _scene(suite, listeners) as scene:
        for request in _one_of_each_variant(suite):
            asked, kept = suite.codec.ask.frame(request, LARGEST), suite.codec.ask.keep(request)
            for listener, text in enumerate(texts):
                client = await scene.client(f"{listener}")
                await client.send(request)
                if not suite.has("errors"):
                    await client.closed("an error of the longest text")
                    continue
                _, frame = await client.one("an error of the longest text")
                expected = suite.codec.ask.error(Status.DENIED, asked.id, asked.context, text.encode(), kept)
                assert frame == expected


async def _heartbeats(suite: ThroughAProxy) -> None:
    requests = _one_of_each_variant(suite)
    voice = suite.voice
    timeouts = {"heartbeat": "150ms", "probe": "10s"}
    async with _scene(suite, [{"name": "in", "cluster": "c"}], timeouts=timeouts) as scene:
        server = scene.servers["c"]
        for request in requests:
            client = await scene.client("in")
            await client.send(request)
            await client.one("an answer")
            beat = voice.heartbeat(5, request)
            if not beat:
                continue
            await client.send(beat)
            heard, ack = await client.one("the answer to a heartbeat")
            assert (heard.kind, heard.id) == ("ack", voice.hear(beat).id), f"{heard} answers a heartbeat"
            assert ack == voice.ack(beat)
            if voice.hear(native.sent_by("client", ack)).kind != "ack":
                continue  # its sender alone tells it from a heartbeat
            await client.send(ack + request)  # the answer to a heartbeat is never answered
            heard, _ = await client.one("an answer behind a heartbeat's")
            assert heard.kind == "response", f"a {heard.kind} answers the answer to a heartbeat"
        opened = len(server.connections)
        sends = any(voice.heartbeat(5, request) for request in requests)
        if not sends:
            await asyncio.sleep(0.5)  # three times as long as a heartbeat would take
            assert not server.others, f"{server.others[0][0]} came; no heartbeat is declared"
        else:
            await _idle(scene, opened)
        if not suite.protocol.pinned or server.ends:  # there another client has another connection
            client = await scene.client("in")
        await client.send(requests[-1] if suite.protocol.pinned else requests[0])
        await client.one("an answer after a silence")
        wanted = opened + server.ends
        assert len(server.connections) == wanted, "the connection did not live through the silence"
        assert scene.stat("upstream_silent") == 0


async def _idle(scene: Scene, connections: int) -> None:
    """Each idle connection gets a heartbeat, whose answer is not answered; and may send one itself."""
    server = scene.servers["c"]
    voice = scene.suite.voice

    def beats() -> list[bytes]:
        return [frame for heard, frame in server.others if heard.kind == "heartbeat"]

    await scene.until(lambda: len(beats()) >= connections, "heartbeats to idle servers")
    strange = [heard for heard, _ in server.others if heard.kind not in {"heartbeat", "ack"}]
    assert not strange, f"{strange[0]} came to an idle server"
    acks = [heard for heard, _ in server.others if heard.kind == "ack"]
    assert not acks, "the server's answer to a heartbeat was answered"
    own = native.sent_by("server", bytes(beats()[0]))
    try:
        beats_alike = voice.hear(own).kind == "heartbeat"
    except (ProtocolError, EOFError):
        beats_alike = False
    if not beats_alike:
        return  # a server's are not what a client's are, and none is known
    for writer in server.connections:
        writer.write(voice.with_id(own, 77))
    await scene.until(
        lambda: [heard.kind for heard, _ in server.others].count("ack") >= connections,
        "the answer to a server's heartbeat",
    )


async def _oneway(suite: ThroughAProxy) -> None:
    if not suite.has("oneway"):
        return  # none can be sent: test_capabilities_are_what_is_declared holds it to that
    known = [one.data for one in suite.whole("oneway")] or [suite.example("oneway")]
    pushed = [one for one in known if native.side_of(one) == "server"]
    frames = [one for one in known if native.side_of(one) != "server"]
    voice = suite.voice
    nowhere = {"match": {"service": "no.such.Service"}, "cluster": "c"}
    listeners = [{"name": "in", "cluster": "c"}, {"name": "nowhere", "routes": "nowhere"}]
    async with _scene(suite, listeners, routes=[{"name": "nowhere", "rules": [nowhere]}]) as scene:
        server = scene.servers["c"]
        for frame in frames:
            request = next(
                (one for one in suite.requests() if voice.variant(one) == voice.variant(frame)), b""
            )
            for listener, answer in (("in", "an answer"), ("nowhere", "an error")):
                before = len(server.heard)
                client = await scene.client(listener)
                await client.send(frame + request)
                if request and listener == "nowhere" and not suite.has("errors"):
                    await client.closed(f"{answer} behind a one-way request")
                elif request:  # whatever the one-way got would come first
                    heard, _ = await client.one(f"{answer} behind a one-way request")
                    assert heard.id == voice.hear(request).id, heard
                if listener == "nowhere":
                    continue
                wanted = 2 if request else 1
                await scene.until(lambda: len(server.heard) >= before + wanted, "a one-way request arrives")  # noqa: B023
                arrived = [one for heard, one in server.heard[before:] if heard.kind == "oneway"]
                assert [voice.with_id(one, 0) for one in arrived] == [voice.with_id(frame, 0)], (
                    f"{frame.hex()} was sent, {[one.hex() for one in arrived]} arrived"
                )
        await scene.until(lambda: scene.stat("oneway") == len(frames), "the engine counts what it sent")
        if suite.protocol.pinned:
            await _pushed(scene, pushed)


async def _pushed(scene: Scene, frames: list[bytes]) -> None:
    client = await scene.client("in")
    await client.send(scene.suite.requests()[0])
    await client.one("an answer")
    for frame in frames:
        scene.servers["c"].connections[-1].write(frame)
        heard, told = await client.one("what a server says unasked")
        assert heard.kind == "oneway", f"a {heard.kind} came"
        assert told == frame, f"{frame.hex()} was sent, {told.hex()} arrived"


async def _drained(suite: ThroughAProxy) -> None:
    async with _scene(suite, [{"name": "in", "cluster": "c"}]) as scene:
        server = scene.servers["c"]
        voice = suite.voice
        requests = _one_of_each_variant(suite)
        if suite.has("drain"):
            await _server_drains(scene, requests[0])
        clients = []
        for request in requests:
            clients.append((await scene.client("in"), request))
            await clients[-1][0].send(request)
            await clients[-1][0].one("an answer")
        server.silent = True
        heard = len(server.heard)
        if server.ends:
            clients = [(await scene.client("in"), request) for _, request in clients]
        for client, request in clients:
            await client.send(request)
        await scene.until(lambda: len(server.heard) == heard + len(clients), "requests are under way")
        draining = asyncio.get_running_loop().create_task(scene.proxy.drain())
        for client, request in clients:
            if expected := voice.drain(request):
                got, signal = await client.one("the signal to go elsewhere")
                assert (got.kind, signal) == ("drain", expected)
        await scene.until(lambda: not scene.proxy.ready, "the proxy is not ready any more")
        for one, frame in server.heard[heard:]:  # what is under way is answered
            for writer in server.connections:
                server.say(writer, server.answer(one, frame))
        for client, request in clients:
            got, _ = await client.one("an answer while draining")
            assert got.kind == "response", f"a {got.kind} came while draining"
            assert got.id == voice.hear(request).id
        scene.close()  # who was told goes, and nobody has to be waited for
        await draining


async def _server_drains(scene: Scene, request: bytes) -> None:
    """A server says so: the next request comes on another connection, or says that there is none."""
    server = scene.servers["c"]
    client = await scene.client("in")
    await client.send(request)
    await client.one("an answer")
    signal = scene.suite.example("drain")
    opened = len(server.connections)
    server.connections[-1].write(signal)
    await scene.until(
        lambda: scene.stat("drains_received") == 1, "the engine understands the server's signal"
    )
    if scene.suite.protocol.pinned:
        if expected := scene.suite.voice.drain(request):
            got, told = await client.one("the server's signal, passed on")
            assert (got.kind, told) == ("drain", expected)
        await client.closed("a client whose server drains, and that waits for nothing")
        return
    await client.send(request)
    await client.one("an answer after the server's signal")
    assert len(server.connections) == opened + 1, "a request came on the connection that drains"


def _memory(suite: ThroughAProxy) -> None:
    if not suite.codec.ask.in_engine:
        return  # the engine never has its bytes; those that wait for it are bounded by the bridge
    config = {
        "listeners": [_listener(suite.protocol) | {"name": "in", "cluster": "c"}],
        "clusters": [{"name": "c", "endpoints": ["127.0.0.1:9"]}],
    }
    snapshot = build_snapshot(configuration.load(config, _registry(suite.protocol)))
    compiled = compile_snapshot(snapshot, Identities(), Identities(), 1)
    core = Core()
    core.begin(1)
    core.apply(compiled.table, 1)
    core.end()
    for data in suite.hostile():
        core.begin(1)
        client = core.accept(0)
        assert client, "the engine takes no client"
        core.end()
        fed = 0
        for at in range(0, len(data), 13):
            core.begin(1)
            core.feed(client, data[at : at + 13])
            core.end()
            core.ops()
            fed += len(data[at : at + 13])
            held = core.stats()["buffer_bytes"]
            assert held <= 4 * fed + (64 << 10), (
                f"{held} bytes are held of {fed} that came: {data[:fed].hex()}"
            )
        core.begin(1)
        core.error(client)
        core.end()
        core.ops()
        core.begin(1)
        core.end()
    compiled.table.free()
