"""The conformance kit: what every protocol has to get right.

Each check goes through golden vectors and all that is finite and small (``cases.py``): what it has to find,
it finds there. Random frames come on top, for what is too large to be gone through. ``Checks`` holds for
every codec; ``declared.py`` adds what a declaration lets one check, ``proxied.py`` what shows only through a
real proxy.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from protokit import native
from protokit.errors import LocalProtocolError, ProtocolError, ProtokitError, RemoteProtocolError
from protokit.model import Status
from protokit.testing.asked import AskedOfFrames, fresh
from protokit.testing.cases import Cases
from protokit.testing.fronts import ToldByTheirFront
from protokit.testing.golden import check_meaning, refuse_unknown, vectors_of
from protokit.testing.proxied import ThroughAProxy
from protokit.testing.said import SaidByItself
from protokit.testing.strategies import spoiled
from protokit.testing.voices import LARGEST, Voice
from protokit.wire import WireFormat
from protokit.wire.format import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from protokit.testing.golden import Golden
    from protokit.wire import Message, Protocol, Wire

LIMIT = 1 << 20
FRONT = 32  # so many bytes of a frame the engine looks at again with each that comes, whatever was asked for
CAPABILITIES = ("oneway", "heartbeat", "drain", "drain-sent", "errors", "error-texts")
REQUESTS = {native.KIND_REQUEST, native.KIND_ONEWAY}
EDGES = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
BYTEWISE = [1] * FRONT + [1 << 24]  # how a frame comes: its front byte by byte, then the rest
TEXT_MAX = 512
BEGINNINGS = 1 << 14  # of frames are remembered with what framing said of them
LARGEST_BEGINNING = 256  # bytes


def conformance(
    protocol: Protocol,
    *,
    golden: str | Path | Iterable[str | Path | Golden],
    reference: Callable[[bytes], Message] | None = None,
    frames: st.SearchStrategy[bytes] | None = None,
    lacks: Collection[str] = (),
    renumber: Callable[[bytes, Any], bytes] | None = None,
    examples: int = 200,
    peers: object = None,  # noqa: ARG001  # plugins check runs them
) -> type:
    """A class of tests for a protocol; assign it to a name that begins with ``Test``.

    Args:
        protocol: what the plugin brings.
        golden: folders or files of golden vectors, or the vectors; one or several.
        reference: for a native codec: reads the frame in front in Python, as ``WireFormat.message`` does
            (EOFError: not whole; RemoteProtocolError: malformed). A request whose ``service`` it gives as
            None is not compared beyond its kind; its ``fields`` are what an answer has in common with its
            request (a version, a serialization). A declared format is its own.
        frames: for a native codec: whole frames from plain values, besides the golden ones.
        lacks: for a native codec: what the protocol does not have, of ``oneway``, ``heartbeat``, ``drain``
            (a server's is understood), ``drain-sent``, ``errors`` (the connection is closed instead) and
            ``error-texts``. What a declared format has is seen in its declaration.
        renumber: for a codec whose ids the engine cannot rewrite (each client is pinned): writes another id
            into a frame, a number or, where ids are byte strings, bytes (LocalProtocolError: it cannot be
            there). A declared format needs it where its fields do not say how.
        examples: random frames for each check, besides those that are gone through; 0: none.
        peers: a command (words, or a line) that sends real peers' calls through a proxy and ends with 0 where
            all went well: ``protokit plugins check`` runs it in the folder of ``NAME_kit.py``. Not run here.

    Returns:
        The class. With a declared format it also compares the engine's program with the reference.

    Raises:
        ProtokitError: there are no golden vectors, one expects what nothing checks, or ``lacks`` names what
            is unknown or declared.
    """
    from protokit.testing.declared import DeclaredChecks  # noqa: PLC0415  # it is made of this module's class

    vectors = vectors_of(golden)
    if not vectors:
        raise ProtokitError(
            f"{protocol.name}: no golden vectors in {golden}; capture some from a real peer (one JSON object "
            'a line: {"name": ..., "source": ..., "hex": ...})'
        )
    refuse_unknown(vectors)
    if declared_sided(protocol) and (unsaid := [one.name for one in vectors if not native.side_of(one.data)]):
        raise ProtokitError(
            f"{protocol.name}: golden vector {unsaid[0]!r} does not say who sent it, which this format looks "
            'at: write "side": "client" or "side": "server" beside its hex'
        )
    if unknown := sorted(set(lacks) - set(CAPABILITIES)):
        raise ProtokitError(f"lacks: {unknown[0]!r} is none of {', '.join(CAPABILITIES)}")
    declared = isinstance(protocol.wire, WireFormat)
    if declared and (lacks or reference or frames):
        raise ProtokitError(
            f"{protocol.name}: its declaration says what it has and is the reference; "
            "leave lacks, reference and frames out"
        )
    rewrites = native.rewrites_ids(protocol.wire.address)
    if rewrites == (renumber is not None) and (rewrites or not declared):
        raise ProtokitError(
            f"{protocol.name}: renumber goes with a codec that cannot rewrite ids, and only with it: "
            "the kit's peers answer under the ids they are asked with"
        )
    return type(
        "Conformance",
        (DeclaredChecks if declared else Checks,),
        {
            "protocol": protocol,
            "vectors": vectors,
            "cases": Cases(protocol, samples_of(vectors)),
            "reference": None if reference is None else staticmethod(reference),
            "more_frames": frames,
            "lacks": frozenset(lacks),
            "renumber": None if renumber is None else staticmethod(renumber),
            "examples": examples,
        },
    )


def declared_sided(protocol: Protocol) -> bool:
    """Whether a declaration looks at which side sent a frame."""
    return isinstance(protocol.wire, WireFormat) and protocol.wire.sided


def sum_of(parts: Iterable[bytes]) -> bytes:
    """Bytes one after the other, which the first one's side sent."""
    return functools.reduce(operator.add, parts)


def samples_of(vectors: list[Golden]) -> list[bytes]:
    """Frames of a size that can be tried by the hundred; the smallest in any case."""
    smallest = min(len(one.data) for one in vectors)
    return [one.data for one in vectors if len(one.data) <= max(smallest, 16_384)]


class Checks(ToldByTheirFront, SaidByItself, AskedOfFrames, ThroughAProxy):
    """Checks of every protocol, whatever its tier."""

    protocol: Protocol
    vectors: list[Golden]
    cases: Cases
    reference: Callable[[bytes], Message] | None
    more_frames: st.SearchStrategy[bytes] | None
    lacks: frozenset[str]
    renumber: Callable[[bytes, Any], bytes] | None
    examples: int
    settings: Mapping[str, Any] = {}  # of Hypothesis, for tests of the kit itself

    # What the checks are made of.

    @property
    def codec(self) -> Wire:
        return self.protocol.wire

    @property
    def voice(self) -> Voice:
        return Voice(self.protocol, self.reference, self.renumber)

    def readers(self) -> dict[str, Callable[[bytes], Message]]:
        """Codecs in Python that have to agree with the engine's, by name."""
        return {} if self.reference is None else {"reference": self.reference}

    def has(self, capability: str) -> bool:
        """Whether the protocol is said to have it."""
        return capability not in self.lacks

    def text_room(self, asked: native.Message) -> int:  # noqa: ARG002  # for declarations, which say it
        """Bytes of an INTERNAL error's text that the answer to a request has at least."""
        return TEXT_MAX

    def corpus(self) -> st.SearchStrategy[bytes]:
        """Whole frames."""
        samples = self.samples()
        golden = st.integers(0, len(samples) - 1).map(lambda i: samples[i])
        return golden if self.more_frames is None else golden | self.more_frames

    def samples(self) -> list[bytes]:
        """Golden frames of a size that can be tried by the hundred."""
        return samples_of(self.vectors)

    def every(self, property_: Callable[..., None], *domains: Iterable[Any]) -> None:
        """Run a property on each case: of several domains, on each with each."""
        for case in itertools.product(*domains):
            try:
                property_(*case)
            except Exception as error:
                shown = ", ".join(one.hex() if isinstance(one, bytes) else repr(one) for one in case)
                error.add_note(f"of {shown}")
                raise

    def check(self, property_: Callable[..., None], *strategies: st.SearchStrategy[Any]) -> None:
        """Run a property on random examples, where that many are asked for."""
        if not self.examples:
            return
        how = {"max_examples": self.examples, "deadline": None, "suppress_health_check": list(HealthCheck)}
        try:
            settings(**{**how, **self.settings})(given(*strategies)(property_))()
        except ExceptionGroup as group:  # several faults at once: each in a line that tools show
            shown = [f"{type(one).__name__}: {one}" for one in group.exceptions]
            raise AssertionError(f"{len(shown)} faults: {'; '.join(shown)}") from group
        except Unsatisfiable:
            raise AssertionError(
                "hardly a frame that is drawn from the declaration fits together: 'protokit fuzz' says of "
                "which field, and why"
            ) from None

    def frame(self, data: bytes, limit: int = LARGEST) -> native.Message:
        """What the engine's codec says of the frame in front."""
        return self.codec.ask.frame(data, limit)

    def whole(self, kind: str) -> list[Golden]:
        return [one for one in self.vectors if KINDS[self.frame(one.data).kind] == kind]

    def id_bytes(self) -> int:
        """How wide ids are; 0 without."""
        return self.codec.ask.id_bytes

    def keeps_ids(self) -> bool:
        """Whether ids are byte strings that the engine does not write, in messages of its own either."""
        return self.codec.ask.id_max > 0 and not native.rewrites_ids(self.codec.address)

    # Golden vectors.

    def test_golden_vectors_mean_what_they_should(self) -> None:
        for one in self.vectors:
            message = self.frame(one.data)
            assert (message.result, message.size) == (0, len(one.data)), f"{one.name}: {message}"
            check_meaning(one, self.codec, message)

    def test_capabilities_are_what_is_declared(self) -> None:
        """Nothing is skipped: what a protocol lacks is declared, and its frames say the same."""
        for kind in ("request", "response"):
            assert self.whole(kind), f"no golden vector is a {kind}; capture one"
        like = self.whole("request")[0].data
        said = self.voice.error(Status.INTERNAL, like, "because")
        built = {
            "heartbeat": self.voice.heartbeat(1, like),
            "drain-sent": self.voice.drain(like),
            "errors": said,
            "error-texts": said if b"because" in said else b"",
        }
        for name in CAPABILITIES:
            kinds = {"oneway": {"oneway"}, "heartbeat": {"heartbeat", "ack"}, "drain": {"drain"}}.get(
                name, set()
            )
            shown = [one.name for kind in kinds for one in self.whole(kind)]
            shown += [one.name for one in self.vectors if str(one.expect.get("kind")).split("_")[0] == name]
            if not self.has(name):
                assert not shown, f"the protocol is said to lack {name}, but {shown[0]!r} is one"
                assert not built.get(name), f"the protocol is said to lack {name}, but its codec builds one"
            elif name in built:
                assert built[name], f"its codec builds no {name}; say so with lacks={{{name!r}}}"
            else:
                assert self.shows(name, shown), (
                    f"nothing shows a {name}: capture a golden vector, or say lacks={{{name!r}}}"
                )
        numbered = any(self.frame(one.data).id for one in self.vectors)
        assert self.id_bytes() or native.mode(self.codec.address) != 0, "multiplexing needs ids"
        assert not numbered or self.id_bytes(), "frames have ids, but the codec is said to have none"

    def shows(self, name: str, vectors: list[str]) -> bool:
        """Whether what is understood is shown by a vector, or by what the codec itself says."""
        return bool(vectors or (name == "drain" and self.has("drain-sent")))

    # Framing.

    def test_a_cut_frame_wants_more_and_says_how_much(self) -> None:
        for one in self.vectors:
            size = len(one.data)
            self.cut_at(one.data, one.name, {*range(1, min(size, 300)), size // 2, size - 1} - {0, size})
        for frame in self.cases.whole:
            if len(frame) < 300:
                self.cut_at(frame, frame.hex(), range(1, len(frame)))

    def cut_at(self, frame: bytes, name: str, cuts: Iterable[int]) -> None:
        size = len(frame)
        for cut in cuts:
            message = self.frame(frame[:cut])
            assert message.result == 1, f"{name} cut at {cut}: {message}"
            assert cut < message.need <= size, f"{name} cut at {cut}: needs {message.need} of {size}"

    def test_what_follows_a_frame_changes_nothing(self) -> None:
        def property_(frame: bytes, more: bytes) -> None:
            alone, followed = (self.frame(data) for data in (frame, frame + more))
            if more and native.has_ended(frame):
                assert followed.result == 1, f"{followed}: its sender's end ends it, and more came"
                return
            assert followed._replace(need=0) == alone._replace(need=0)

        more = [b"\0", b"\xff" * 40, b"\x01\x02\x03", self.cases.short[0]]
        self.every(property_, self.cases.whole, more)
        self.check(property_, self.corpus(), st.binary(max_size=40))

    def test_nothing_is_read_behind_the_bytes_given(self) -> None:
        """The same bytes, with other bytes lying behind them in memory; a codec in Python has none."""
        if not self.codec.ask.in_engine:
            return
        address = self.codec.address

        def property_(data: bytes, behind: bytes) -> None:
            if not data:
                return
            results = []
            for tail in (bytes(64), b"\xff" * 64, behind):
                memory = data + tail
                message = native.frame(address, memory, LARGEST, len(data))
                results.append((message, native.probe(address, memory, len(data))))
            assert results[0] == results[1] == results[2], f"{len(data)} bytes were given"

        cases = self.cases
        self.every(property_, [*cases.cut, *cases.whole, *cases.wrong], [b"\x7f\x01" * 32])
        cut = st.tuples(self.corpus(), st.integers(1, 120)).map(lambda one: one[0][: one[1]])
        self.check(property_, cut | self.corpus() | spoiled(self.corpus()), st.binary(max_size=64))

    def test_spoiled_frames_are_read_refused_or_waited_for(self) -> None:
        def property_(data: bytes) -> None:
            if not data:
                return
            message = self.frame(data, LIMIT)
            if message.result == 0:
                assert 0 < message.size <= min(len(data), LIMIT)
            elif message.result == 1:
                assert len(data) < message.need <= LIMIT, f"{message} of {len(data)} bytes"
            else:
                assert message.result in {-1, -2, -3, -4}
                assert message.error_at <= len(data)

        self.every(property_, [*self.cases.wrong, *self.cases.cut, *self.cases.joined])
        self.check(property_, spoiled(self.corpus()) | st.binary(max_size=60))

    def test_a_frame_over_the_limit_is_refused(self) -> None:
        for one in self.vectors:
            message = self.frame(one.data, len(one.data) - 1)
            assert message.result == -3, f"{one.name} with a limit of a byte less: {message}"

    def test_a_connection_may_begin_so(self) -> None:
        """Detection takes what framing takes, and refuses what framing says is no such protocol."""
        if not self.protocol.detectable:
            return  # it has its listeners for itself
        for one in self.vectors:
            if native.side_of(one.data) == "server":
                continue  # clients begin
            for cut in range(1, min(len(one.data), 64) + 1):
                verdict = self.codec.ask.probe(one.data[:cut])
                assert verdict >= 0, f"{one.name}: its first {cut} bytes are refused"
            assert self.codec.ask.probe(one.data) == 0, f"{one.name} is not recognised"

        def property_(data: bytes) -> None:
            if data and native.side_of(data) != "server":
                foreign = self.frame(data, LIMIT).result == -1
                assert (self.codec.ask.probe(data) == -1) == foreign

        self.every(property_, [*self.cases.whole, *self.cases.cut, *self.cases.wrong])
        self.check(property_, spoiled(self.corpus()) | st.binary(max_size=40))

    def test_any_segmentation_gives_the_same(self) -> None:
        """Frames one after the other, some of them spoiled, arriving in any pieces."""

        @functools.lru_cache(1)  # the same frames come in many pieces
        def at_once(data: bytes, *_from: object) -> tuple[list[native.Message], str]:
            found, end, _ = self.segmented(data, [len(data)], ask.frame)
            return found, end

        @functools.lru_cache(BEGINNINGS)  # most of what is wrong is so behind the same bytes as others
        def begun(data: bytes, *_from: object) -> native.Message:
            return ask.frame(data, LIMIT)

        def frame(data: bytes, limit: int) -> native.Message:
            if len(data) > LARGEST_BEGINNING:
                return ask.frame(data, limit)
            return begun(data, native.side_of(data), native.has_ended(data))

        ask = self.codec.ask

        def property_(parts: list[bytes], sizes: list[int]) -> None:
            data = sum_of(parts)
            found, end, left = self.segmented(data, sizes, frame)
            found_at_once, end_at_once = at_once(data, native.side_of(data), native.has_ended(data))
            assert found == found_at_once
            # Behind a frame's front, what is wrong is seen when all that was asked for is there.
            assert end == end_at_once or (end == "waits" and left > FRONT)

        for pair in self.cases.pairs:
            size = sum(map(len, pair))
            self.every(property_, [list(pair)], [[cut, size] for cut in range(1, min(size, 120))])
            self.every(property_, [list(pair)], [[1], [2], [3], [7], [FRONT + 1]])
        self.every(property_, ([one] for one in [*self.cases.wrong, *self.cases.whole]), [BYTEWISE])
        parts = st.lists(self.corpus() | spoiled(self.corpus()), min_size=1, max_size=4)
        self.check(property_, parts, st.lists(st.integers(1, 200), min_size=1, max_size=9))

    def segmented(
        self, data: bytes, sizes: list[int], frame: Callable[[bytes, int], native.Message]
    ) -> tuple[list[native.Message], str, int]:
        """The frames in a stream that comes in pieces, read as the engine does; how it ends; what is left."""
        found: list[native.Message] = []
        at = seen = need = number = 0
        while seen < len(data):
            seen = min(len(data), seen + sizes[number % len(sizes)])
            number += 1
            while seen > at and (seen - at >= need or seen - at <= FRONT):
                message = frame(data[at:seen], LIMIT)
                if message.result < 0:
                    return found, "refused", seen - at
                need = message.need if message.result == 1 else 0
                if message.result == 1:
                    break
                found.append(message._replace(need=0))
                at += message.size
        return found, "waits" if seen > at else "done", seen - at

    # Several codecs.

    def test_codecs_agree(self) -> None:
        """On whole, cut, joined and spoiled frames, and on those that announce much and bring little."""
        readers = self.readers()
        if not readers:
            return

        def property_(data: bytes) -> None:
            if not data:
                return
            with self.only_native():
                message = self.frame(data, LIMIT)
                request = self.readable(data, message)
            for name, reader in readers.items():
                self.agree(name, reader, data, message, request)

        cases = self.cases
        for data in cases.whole:
            property_(data)
            assert self.frame(data).result == 0, (
                f"a frame that the declaration builds is refused: {data.hex()}"
            )
        self.every(property_, [*cases.wrong, *cases.cut, *cases.joined, *self.hostile()])
        mixed = st.one_of(self.corpus(), self.corpus(), spoiled(self.corpus()))
        self.check(property_, mixed | st.tuples(self.corpus(), self.corpus()).map(sum_of))

    @contextlib.contextmanager
    def only_native(self) -> Any:
        """Here a codec in Python that is asked fails the check: the answer is the native codec's."""
        yield

    def readable(self, data: bytes, message: native.Message) -> Any:
        """The request in front; None where it is none or cannot be read."""
        if message.result != 0 or message.kind not in REQUESTS:
            return None
        try:
            return self.codec.ask.request(data[: message.size])
        except RemoteProtocolError:
            return None

    def agree(
        self,
        name: str,
        reader: Callable[[bytes], Message],
        data: bytes,
        message: native.Message,
        request: Any,
    ) -> None:
        try:
            expected = reader(data)
        except EOFError:
            assert message.result != 0, f"{message}, the {name} wants more"
            if message.result < 0:  # more bytes would not help
                self.never_accepted(name, reader, data, message)
            return
        except RemoteProtocolError as error:
            self.refused(data, message, request, f"the {name} says: {error}")
            return
        got = (message.result, KINDS[message.kind], message.size, message.id, message.status)
        wanted = (0, expected.kind, expected.size, expected.id, int(expected.status))
        assert got == wanted, f"{message}, the {name} says {wanted}"
        if expected.kind in {"request", "oneway"} and expected.service is not None:
            assert request is not None, f"the request cannot be read; the {name} says {expected}"
            for field in ("service", "method", "version", "group", "timeout_ms"):
                assert getattr(request, field) == getattr(expected, field), f"{field}, {name}: {expected}"
            assert dict(request.headers) == dict(expected.headers), name

    def refused(self, data: bytes, message: native.Message, request: Any, why: str) -> None:
        """What is wrong may be found before all of it has come, or later; but not never."""
        assert message.result != 0 or (message.kind in REQUESTS and request is None), f"{message}; {why}"
        if message.result == 1:
            later = self.frame(data + bytes(LIMIT), LIMIT)
            assert later.result < 0, f"{later} after all that may come; {why}"

    def never_accepted(
        self, name: str, reader: Callable[[bytes], Message], data: bytes, message: native.Message
    ) -> None:
        try:
            accepted = reader(data + bytes(LIMIT))
        except (EOFError, RemoteProtocolError):
            return
        assert accepted.size > LIMIT, f"{message}, with more bytes the {name} accepts it"

    def test_only_protocol_errors_escape(self) -> None:
        """Whatever the bytes: a codec reads them, waits (EOFError), or raises a ProtocolError."""
        edits = [(native.EDIT_SERVICE, "", "a.B"), (native.EDIT_HEADER, "x-protokit", "1")]

        def property_(data: bytes) -> None:
            for read in self.reading():
                with contextlib.suppress(ProtocolError, EOFError):
                    read(data)
            message = self.frame(data, LIMIT) if data else None
            if message is None or message.result != 0:
                return
            frame = data[: message.size]
            self.asked(frame)
            if message.kind not in REQUESTS:
                return
            with contextlib.suppress(ProtocolError):
                self.codec.ask.request(frame)
            with contextlib.suppress(ProtocolError):
                changed = self.codec.ask.edit(frame, edits)
                assert self.frame(changed).result == 0, "an edited request is no frame"

        self.every(property_, [b"", *self.cases.wrong, *self.cases.cut, *self.cases.short])
        self.check(property_, spoiled(self.corpus()) | st.binary(max_size=60) | self.corpus())

    def reading(self) -> list[Callable[[bytes], Any]]:
        """All that reads bytes in Python."""
        return [*self.readers().values()]

    # Ids.

    def has_no_id(self, frame: bytes) -> bool:  # noqa: ARG002  # only a declaration can tell
        """Whether it is a frame of a format with ids, and has none: a one-way request."""
        return False

    def test_a_rewritten_id_changes_nothing_else(self) -> None:
        if not native.rewrites_ids(self.codec.address):
            return  # they stay as they are
        if self.codec.ask.id_max:
            most = self.codec.ask.id_max
            ids: list[native.Id] = [*EDGES, 9, 10, 255, 256, b"", b"x", b"A-7 \xff"[:most], b"y" * most]
            self.every(self.byte_id_rewritten, self.cases.short, ids)
            self.every(self.byte_id_rewritten, self.cases.whole, [7])
            self.check(self.byte_id_rewritten, self.corpus(), self.byte_ids())
            return

        def property_(frame: bytes, request_id: int) -> None:
            before = self.frame(frame)
            if before.kind not in {*REQUESTS, native.KIND_RESPONSE}:
                return
            if request_id % (1 << 8 * self.id_bytes()) in reserved:  # they may mean something else
                return
            changed = self.codec.ask.patch_id(frame, request_id)
            if self.has_no_id(frame):
                assert changed == frame, "there is no id, and something was written"
                return
            after = self.frame(changed)
            assert (after.result, after.size) == (0, len(changed)), after
            assert after._replace(id=before.id, size=before.size, need=before.need) == before
            assert len(changed) == len(frame) or not self.codec.ask.in_engine, "another size"
            assert self.codec.ask.patch_id(frame, before.id) == frame, "its own id changes it"
            width = 1 << 8 * self.id_bytes()
            assert after.id == request_id % width
            assert self.codec.ask.patch_id(changed, before.id) == frame
            assert self.voice.with_id(frame, request_id) == changed, "the reference writes it elsewhere"

        reserved = getattr(self.protocol.wire, "reserved_ids", ())
        if self.id_bytes():
            self.every(property_, self.cases.short, EDGES)
            self.every(property_, self.cases.whole, [0x0102030405060708])
            self.check(property_, self.corpus(), st.sampled_from(EDGES) | st.integers(0, 2**64 - 1))

    def may_lack_id(self) -> bool:
        """Whether there are frames that should have an id and have none: they are refused, or nobody's."""
        return False

    def byte_id_rewritten(self, frame: bytes, request_id: native.Id) -> None:
        """Nothing but the id, and what counts or covers it, is another one."""
        before = self.frame(frame)
        if before.kind not in {*REQUESTS, native.KIND_RESPONSE}:
            return
        try:
            changed = self.codec.ask.patch_id(frame, request_id)
        except LocalProtocolError:
            return  # this format has no such ids, or the frame has no room for it
        after = self.frame(changed)
        if before.id == b"" and changed == frame:
            may_lack = before.kind == native.KIND_ONEWAY or request_id == b"" or self.may_lack_id()
            assert may_lack, "only a one-way may have no id"
            return
        assert after.id == self.issued(request_id)
        assert after._replace(id=before.id, size=before.size, need=before.need) == before
        assert (after.size, after.result) == (len(changed), 0)
        assert self.codec.ask.patch_id(changed, before.id) == frame
        assert self.voice.with_id(frame, request_id) == changed, "the reference writes it otherwise"

    def byte_ids(self) -> st.SearchStrategy[native.Id]:
        """Numbers as the engine writes them, and bytes of any length."""
        most = self.codec.ask.id_max
        sizes = st.integers(0, most) | st.just(most)
        anything = sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size))
        return st.integers(0, 2**64 - 1) | st.integers(0, 300) | anything

    def issued(self, request_id: native.Id) -> native.Id:
        """The id of a frame that the engine sends with it."""
        if isinstance(request_id, int) and self.codec.ask.id_max:
            return native.write_id(self.codec.address, request_id)
        return request_id

    # What the proxy says by itself.

    def test_errors_are_responses_that_say_why(self) -> None:
        text = "protokit: no route for service 'a.B'"
        for one in self.whole("request"):
            asked, kept = self.frame(one.data), self.codec.ask.keep(one.data)
            for status in Status:
                if status <= Status.APP_ERROR:
                    continue
                reply = self.codec.ask.error(status, asked.id, asked.context, text.encode(), kept)
                assert bool(reply) == self.has("errors"), f"{status.name} to {one.name}: {reply.hex()}"
                if not reply:
                    continue
                answer = self.frame(reply, LIMIT)
                assert (answer.result, answer.size) == (0, len(reply)), f"{status.name} to {one.name}"
                assert KINDS[answer.kind] == "response", f"{status.name} to {one.name}: {KINDS[answer.kind]}"
                assert answer.id == asked.id or not self.id_bytes(), f"{status.name} to {one.name}: its id"
                assert answer.status > Status.APP_ERROR, (
                    f"{status.name} is read as {Status(answer.status).name}: what the proxy says has to be "
                    "told from answers of services; let status= look at what only the framework has"
                )
                assert text.encode() in reply or not self.has("error-texts"), (
                    f"{status.name} to {one.name} does not say why; say lacks={{'error-texts'}} where the "
                    "protocol has no place for it"
                )

    def test_errors_tell_causes_apart(self) -> None:
        """As far as the protocol's own answers do."""
        if not self.has("errors"):
            return
        seen = [self.frame(data, LIMIT) for data in [*self.cases.whole, *self.cases.wrong]]
        known = {one.status for one in seen if one.result == 0}
        for one in self.whole("request"):
            asked, kept = self.frame(one.data), self.codec.ask.keep(one.data)
            told = {
                self.frame(self.codec.ask.error(status, asked.id, asked.context, b"", kept)).status
                for status in Status
                if status > Status.APP_ERROR
            }
            several = len(known - {Status.OK, Status.APP_ERROR}) > 1
            assert len(told) > 1 or not several, (
                f"every error reply to {one.name} is {Status(told.pop()).name}"
            )

    def test_error_texts_of_any_length_and_script_make_whole_frames(self) -> None:
        if not self.has("errors"):
            return
        asked = [*{one.context: one for one in map(self.frame, self.requests())}.values()]

        def property_(text: str, one: native.Message) -> None:
            reply = self.codec.ask.error(Status.INTERNAL, one.id, one.context, text.encode()[:512])
            answer = self.frame(reply, LIMIT)
            assert (answer.result, answer.size) == (0, len(reply))
            if (
                self.has("error-texts") and text.isascii() and text.isalnum()
            ):  # written alike in all encodings
                assert text.encode()[: self.text_room(one)] in reply, "the text is not all there"

        scripts = (
            "a",
            "\u00e9",
            "\u20ac",
            "\N{GRINNING FACE}",
            '"',
            "\x01",
            "\n:,= ",
            "a\u00e9\u20ac\U0001f600",
        )
        texts = (
            script * (size // len(script.encode()) + 1) for script in scripts for size in range(TEXT_MAX)
        )
        self.every(property_, ["", *texts], asked)
        self.check(
            property_,
            st.text(max_size=600) | st.text("abc", min_size=200, max_size=512),
            st.sampled_from(asked),
        )

    def test_heartbeats_are_heartbeats_and_their_answers_are(self) -> None:
        beats = [
            self.codec.ask.heartbeat(7, self.frame(one.data).upstream_key) for one in self.whole("request")
        ]
        if not self.has("heartbeat"):
            assert not any(beats), "the protocol is said to lack heartbeats, and sends one"
            return
        for one, beat in zip(self.whole("request"), beats, strict=True):
            if not beat:
                continue  # a declaration that answers them, and sends none
            seen = self.frame(beat, LIMIT)
            assert (seen.result, seen.size, KINDS[seen.kind]) == (0, len(beat), "heartbeat")
            written = self.id_bytes() and not self.keeps_ids()
            assert seen.id == self.issued(7) or not written, "a heartbeat has another id than it was given"
            assert seen.upstream_key == self.frame(one.data).upstream_key, f"another connection's: {one.name}"
        for beat in [*[one.data for one in self.whole("heartbeat")], *filter(None, beats)]:
            ack = self.codec.ask.heartbeat_ack(beat)
            answer = self.frame(ack, LIMIT) if ack else None
            assert answer is not None, "a heartbeat has no answer"
            assert (answer.result, answer.size, KINDS[answer.kind]) == (0, len(ack), "ack")
            assert answer.id == self.frame(beat).id, "the answer to a heartbeat has another id"

    def test_the_signal_to_go_elsewhere_is_understood(self) -> None:
        for one in self.whole("request"):
            signal = self.codec.ask.drain(self.frame(one.data).context, self.codec.ask.keep(one.data))
            if signal:
                seen = self.frame(signal, LIMIT)
                assert (seen.result, seen.size, KINDS[seen.kind]) == (0, len(signal), "drain")

    # Changes.

    def test_a_changed_header_changes_nothing_else(self) -> None:
        edited = 0
        for one in self.whole("request"):
            before = self.codec.ask.request(one.data)
            key = fresh(self.codec, before.headers)
            if key is None:
                continue
            try:
                added = self.codec.ask.edit(one.data, [(native.EDIT_HEADER, key, "1")])
            except LocalProtocolError:
                continue  # this frame, or the protocol, cannot say it
            edited += 1
            after = self.codec.ask.request(added)
            assert dict(after.headers) == {**before.headers, key: "1"}, one.name
            for name in ("service", "method", "version", "group", "timeout_ms"):
                assert getattr(after, name) == getattr(before, name), f"{one.name}: {name}"
            assert self.frame(added).id == self.frame(one.data).id, one.name
            back = self.codec.ask.edit(added, [(native.EDIT_HEADER, key, None)])
            assert back == one.data, f"{one.name}: taken out again, it is not what it was"
        assert edited or not self.edits_headers(), "no golden request could be changed"

    def edits_headers(self) -> bool:
        """Whether headers can be changed; seen where requests have any."""
        some = [self.codec.ask.request(one.data).headers for one in self.whole("request")]
        return any(headers and fresh(self.codec, headers) for headers in some)
