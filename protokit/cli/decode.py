"""``protokit decode``: the frames in hex text, raw bytes or a capture, one by one.

``--json`` prints one object a line. Its ``record`` says what it is:

``frame``       ``offset`` ``size`` ``hex`` ``protocol`` ``kind``, ``side`` (null where it is not known),
                ``id`` (a text; null without ids), ``status`` (of a response),
                ``service`` ``method`` ``version`` ``group``
                ``headers`` (of an answer, too) ``timeout_ms`` (of a request),
                ``arguments`` (of a request, where its codec reads them: values, of other types
                ``{"hex": ...}``; nothing is read behind an ``{"error": ...}``),
                ``fields`` (of a declared format: ``name``,
                ``offset`` within the frame, ``size``, ``value``; bytes as hex, and as ``text`` if they are),
                ``body`` (values by name as texts, where the protocol has ``read_body``)
``gap``         ``offset`` ``size``: the capture lacks these bytes
``skipped``     ``offset`` ``size`` ``why``: they belong to no frame
``unfinished``  ``offset`` ``size`` ``need`` ``protocol``: the beginning of a frame; of several protocols that
                it may be the names, with `` or `` between
``error``       ``offset`` ``error``: what was seen there, and what was expected

In a capture each has ``connection`` (its number), ``src`` and ``dst`` too, and a frame the ``time`` at which
its last byte came. ``offset`` counts the bytes of one direction.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from weakref import WeakValueDictionary

import click

from protokit import native, plugins
from protokit.cli import capture, hextext
from protokit.cli.frames import (
    Candidate,
    Choice,
    Decoder,
    Frame,
    Lost,
    Record,
    Skipped,
    Unfinished,
    Wrong,
)
from protokit.cli.subject import in_file, plugin_of, protocol_in
from protokit.errors import PluginError, ProtokitError, RemoteProtocolError
from protokit.model import Status
from protokit.wire.format import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from protokit.cli.vectors import Vectors
    from protokit.wire.codec import Codec
    from protokit.wire.explain import Piece

_CHUNK = 64 << 10
_TEXT_MAX = 256 << 20
_SHOWN = 48
_DUMPED = 512  # bytes of a field, or of a frame without fields
_ARGUMENTS = 64  # of a call, shown
_VALUE_MAX = 2000  # characters of a value of a body
_LINES = {ord(one): None for one in "\t\r\n"}
_WRITING = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # what reading does not come to
_REQUESTS = {native.KIND_REQUEST, native.KIND_ONEWAY}

Facts = dict[str, Any]


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--protocol",
    "-p",
    default="auto",
    show_default=True,
    help="One protocol (or ./mail.py, of several in it ./mail.py:NAME), or auto: all installed but those in "
    "Python are asked, by their names.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one object a line.")
@click.option(
    "--golden",
    metavar="SOURCE",
    help="Print golden vectors instead, one of each kind of frame; SOURCE is the peers' library and version.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option(
    "--input",
    "kind",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "hex", "raw", "pcap"]),
    help="What FILE holds, where its first bytes mislead.",
)
@click.option(
    "--side",
    type=click.Choice(["client", "server"]),
    help="Who sent what FILE holds, where the protocol does not say it and FILE is no capture.",
)
@click.option(
    "--max-frame",
    default=8 << 20,
    show_default=True,
    type=click.IntRange(min=64, max=1 << 30),
    help="A larger frame is an error.",
)
def decode(
    file: BinaryIO,
    *,
    protocol: str,
    as_json: bool,
    golden: str | None,
    limit: int | None,
    kind: str,
    side: str | None,
    max_frame: int,
) -> None:
    """Print the frames in FILE, - for standard input.

    FILE holds hex text (plain, or as xxd and hexdump -C print it), the raw bytes of one direction, or a
    capture (pcap or pcapng), whose TCP connections are put together. With --golden "acme-rpc 1.2" what is
    printed is a file of golden vectors: read it, and put it into the folder golden for the conformance kit.

    The exit code is 1 where bytes are no frames, or nothing is found.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a frame may say anything
    try:
        candidates = _candidates(protocol)
    except ProtokitError as error:
        click.echo(f"protokit: {error}", err=True)
        sys.exit(1)
    name = str(getattr(file, "name", "<stdin>"))
    vectors = None
    if golden is not None:
        from protokit.cli.vectors import Vectors  # noqa: PLC0415  # others need no kit

        vectors = Vectors(golden, Path(name).name)
    printer = _Printer(name, limit, as_json=as_json, vectors=vectors)
    try:
        _Run(candidates, max_frame, printer, side).read(file, kind)
    except _Enough:
        pass
    except ProtokitError as error:
        printer.fail(str(error))
    except OSError as error:
        if error.errno in _WRITING:
            raise
        printer.fail(f"cannot be read: {error.strerror}")
    except Exception as error:
        in_python = [one.protocol.name for one in candidates if not one.codec.ask.in_engine]
        if not in_python:
            raise
        printer.fail(
            f"protocol {in_python[0]}: its codec raised {plugins.reason(error)}, {printer.frames} frames read"
        )
    if vectors is not None:
        _print_vectors(vectors, printer)
    sys.exit(1 if printer.failed else 0)


def _print_vectors(vectors: Vectors, printer: _Printer) -> None:
    for line in vectors.lines():
        click.echo(line)
    printer.note(f"{len(vectors.kept)} vectors of {printer.frames} frames")
    for note in (vectors.more(), vectors.doubt()):
        if note is not None:
            printer.note(note)


def _candidates(protocol: str) -> list[Candidate]:
    """The protocols that may be, in the order in which they are asked."""
    if in_file(protocol)[0] is not None:
        return [Candidate(protocol_in(plugin_of(protocol)[0], protocol))]
    registry = plugins.load(None if protocol == "auto" else [protocol])
    for name, failure in registry.failures.items():
        click.echo(f"protokit: plugin {name!r} cannot be used: {failure}", err=True)
    if protocol == "auto":
        found = [one for _, one in sorted(registry.protocols.items()) if one.detectable]
        if not found:
            raise PluginError("no protocol is installed; for Dubbo: pip install protokit-dubbo")
        return [Candidate(one) for one in found]
    if protocol in registry.protocols:
        return [Candidate(registry.protocols[protocol])]
    if protocol in registry.failures:
        raise PluginError(f"protocol {protocol!r} cannot be used")
    raise PluginError(plugins.missing_protocol_message(protocol))


class _Enough(Exception):
    """As many frames as were asked for."""


class _Run:
    """Reads one input."""

    def __init__(
        self, candidates: list[Candidate], max_frame: int, printer: _Printer, side: str | None
    ) -> None:
        self._side = side
        self._candidates = candidates
        self._max_frame = max_frame
        self._print = printer

    def read(self, file: BinaryIO, kind: str) -> None:
        """Read it to its end, and print what it holds."""
        front = _read(file, 4)
        if kind == "pcap" or (kind == "auto" and front in capture.MAGICS):
            self._capture(file, front)
            return
        front += _read(file, 60)
        if kind == "hex" or (kind == "auto" and hextext.looks_like_hex(front)):
            text = front + _read(file, _TEXT_MAX - len(front))
            if len(text) >= _TEXT_MAX:
                raise ProtokitError(f"hex text of {_TEXT_MAX} bytes or more; give the raw bytes")
            data = hextext.parse(text.decode("latin-1"))
            self._bytes(data[i : i + _CHUNK] for i in range(0, len(data), _CHUNK))
        else:
            self._bytes(_chunks(file, front))

    def _bytes(self, chunks: Iterator[bytes]) -> None:
        asks = [one.protocol.name for one in self._candidates if getattr(one.codec, "sided", False)]
        if self._side is None and asks and len(self._candidates) == 1:
            raise ProtokitError(
                f"what {asks[0]} frames are depends on who sent them: say it with --side client or server"
            )
        choice = Choice(self._candidates, strict=True)
        decoder = Decoder(choice, self._max_frame, side=self._side)
        size = 0
        for chunk in chunks:
            size += len(chunk)
            self._print.all(decoder.feed(chunk), {}, strict=True)
        self._print.all(decoder.finish(), {}, strict=True)
        if not size:
            raise ProtokitError("there are no bytes in it; hex text, raw bytes or a capture expected")

    def _capture(self, file: BinaryIO, front: bytes) -> None:
        streams = capture.Streams()
        choices: WeakValueDictionary[int, Choice] = WeakValueDictionary()  # decoders keep them
        decoders: dict[capture.Flow, Decoder] = {}
        failure = None

        def take(events: Iterator[capture.Event]) -> None:
            for event in events:
                flow = event.flow
                if isinstance(event, capture.End):
                    if flow in decoders:
                        self._print.all(decoders.pop(flow).finish(), _where(flow))
                    flow.held = 0
                    continue
                if flow not in decoders:
                    choice = choices.get(flow.connection) or Choice(self._candidates, strict=False)
                    choices[flow.connection] = choice
                    decoders[flow] = Decoder(
                        choice, self._max_frame, from_start=flow.from_start, side=flow.side
                    )
                decoder = decoders[flow]
                if isinstance(event, capture.Gap):
                    self._print.all(decoder.gap(event.size), _where(flow))
                else:
                    self._print.all(decoder.feed(event.data, event.time_ns), _where(flow))
                flow.held = decoder.held

        try:
            take(streams.read(capture.packets(file, front)))
        except ProtokitError as error:
            failure = error
        take(streams.end())
        for what, count in sorted(streams.unread.items()):
            self._print.note(f"packets {what}: {count}")
        if failure is not None:
            raise failure
        if not self._print.frames:
            names = ", ".join(candidate.protocol.name for candidate in self._candidates)
            raise ProtokitError(f"{streams.segments} TCP segments, and no frame in them ({names} tried)")


def _read(file: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := file.read(min(size - len(data), 1 << 20))):
        data += more
    return data


def _chunks(file: BinaryIO, front: bytes) -> Iterator[bytes]:
    """What is there now, so that a pipe's frames are printed as they come."""
    yield front
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    while chunk := read(_CHUNK):
        yield chunk


def _where(flow: capture.Flow) -> Facts:
    src, dst = (
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in (flow.src, flow.dst)
    )
    return {"connection": flow.connection, "src": src, "dst": dst}


# What is said of a record.


def _facts(frame: Frame, where: Facts) -> Facts:
    """All that is known of a frame."""
    message, wire = frame.message, frame.protocol.wire
    facts: Facts = {"record": "frame", **where}
    if where:
        facts["time"] = _time(frame.time_ns)
    facts |= {
        "offset": frame.offset,
        "size": message.size,
        "hex": frame.data.hex(),
        "protocol": frame.protocol.name,
        "side": native.side_of(frame.data),
        "kind": KINDS[message.kind] if 0 < message.kind < len(KINDS) else "unknown",
        "id": native.show_id(message.id) if wire.ask.id_bytes else None,
        "status": Status(message.status).name if message.kind == native.KIND_RESPONSE else None,
        "service": "",
        "method": "",
        "version": "",
        "group": "",
        "headers": {},
        "timeout_ms": message.timeout_ms,
    }
    if message.kind in _REQUESTS:
        try:
            request = wire.ask.request(frame.data)
        except RemoteProtocolError as error:
            facts["error"] = str(error)
        else:
            facts |= {name: getattr(request, name) for name in ("service", "method", "version", "group")}
            facts["headers"] = dict(request.headers)
            facts["timeout_ms"] = request.timeout_ms or message.timeout_ms
            if wire.ask.reads_arguments:
                facts["arguments"] = _arguments(wire.ask, frame.data)
    if message.kind == native.KIND_RESPONSE:
        with contextlib.suppress(RemoteProtocolError):  # it goes on as it is
            facts["headers"] = dict(wire.ask.headers(frame.data))
    try:
        if fields := wire.ask.explain(frame.data):
            facts["fields"] = [_field(piece) for piece in fields]
    except (RemoteProtocolError, EOFError) as error:
        facts["error"] = str(error)
    if frame.protocol.read_body is not None:
        facts["body"] = _body(frame.protocol.read_body, frame.data)
    return facts


def _arguments(codec: Codec, frame: bytes) -> list[Any]:
    """As JSON has them, up to one that cannot be read; of what is of another type its bytes."""
    found: list[Any] = []
    for index in range(_ARGUMENTS):
        try:
            value = codec.argument(frame, index)
        except IndexError:
            break
        except RemoteProtocolError as error:
            found.append({"error": str(error)})
            break
        found.append({"hex": value.hex()} if isinstance(value, bytes) else value)
    return found


def _body(read: Callable[[bytes], Mapping[str, object]], frame: bytes) -> dict[str, str]:
    try:
        return {str(name): _repr(value) for name, value in read(frame).items()}
    except Exception as error:  # noqa: BLE001  # somebody else's code, and any bytes
        return {"unreadable": f"{type(error).__name__}: {error}"}


def _repr(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _VALUE_MAX else f"{text[:_VALUE_MAX]}..."


def _field(piece: Piece) -> Facts:
    field: Facts = {
        "name": ".".join(piece.path),
        "offset": piece.offset,
        "size": piece.size,
        "value": _value(piece.value),
    }
    if isinstance(piece.value, bytes) and piece.value:
        text = piece.value.decode("utf-8", "replace")
        if text.translate(_LINES).isprintable() and "\ufffd" not in text:
            field["text"] = text
    return field


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [_value(one) for one in value] if isinstance(value, list) else value


def _time(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds}.{rest:09d}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


class _Printer:
    """Says what was found. Errors go to standard error; of the objects they are some too."""

    def __init__(
        self, name: str, limit: int | None, *, as_json: bool, vectors: Vectors | None = None
    ) -> None:
        self._vectors = vectors
        self._name = name
        self._limit = limit
        self._json = as_json
        self.frames = 0
        self.failed = False

    def note(self, text: str) -> None:
        """Something that a person should know."""
        click.echo(f"{self._name}: {text}", err=True)

    def fail(self, text: str) -> None:
        """Something is wrong."""
        self.failed = True
        self.note(text)

    def all(self, records: Iterator[Record], where: Facts, *, strict: bool = False) -> None:
        """Print records. ``strict``: the bytes must end with a frame."""
        for record in records:
            if isinstance(record, Frame):
                if self._vectors is not None:
                    self._vectors.take(record, where.get("connection", 0))
                self._frame(_facts(record, where))
            else:
                self._other(record, where, strict=strict)

    def _frame(self, facts: Facts) -> None:
        self.frames += 1
        if self._json and self._vectors is None:
            click.echo(json.dumps(facts))
        elif self._vectors is None:
            click.echo(_text(self.frames, facts))
        if "error" in facts:
            self.fail(f"{_prefix(facts)}frame at byte {facts['offset']}: {facts['error']}")
        if self.frames == self._limit:
            raise _Enough

    def _other(self, record: Record, where: Facts, *, strict: bool) -> None:
        at = record.offset
        facts: Facts = {"offset": at}
        if isinstance(record, Wrong):
            kind, text = "error", f"at byte {at}: {record.text}"
            facts["error"] = record.text
        elif isinstance(record, Lost):
            kind, text = "gap", f"at byte {at}: {record.size} bytes were not captured"
            facts["size"] = record.size
        elif isinstance(record, Skipped):
            kind, text = "skipped", f"at byte {at}: {record.size} bytes skipped: {record.why}"
            facts |= {"size": record.size, "why": record.why}
        else:
            assert isinstance(record, Unfinished)  # noqa: S101  # for type checkers
            kind = "unfinished"
            text = (
                f"at byte {at}: {record.size} bytes seen of a {record.protocol} frame,"
                f" at least {record.need} expected"
            )
            facts |= {"size": record.size, "need": record.need, "protocol": record.protocol}
        if self._json and self._vectors is None:
            click.echo(json.dumps({"record": kind, **where, **facts}))
        if kind == "error" or (strict and kind == "unfinished"):
            self.fail(_prefix(where) + text)
        elif not self._json or self._vectors is not None:
            click.echo(f"-- {_prefix(where)}{text}", err=self._vectors is not None)


def _prefix(where: Facts) -> str:
    return f"{where['src']} -> {where['dst']}: " if "src" in where else ""


def _shown(text: str) -> str:
    """Text of a frame for a terminal: what is not printable is escaped."""
    return text if text.isprintable() and text == text.strip() and text else repr(text)


def _text(number: int, facts: Facts) -> str:
    about = [facts["protocol"], facts["kind"]]
    if facts["id"] is not None:
        about.append(f"id {facts['id']}")
    if facts["status"] is not None:
        about.append(facts["status"])
    about.append(f"({facts['size']} bytes at {facts['offset']})")
    lines = [f"#{number} {' '.join(about)}"]
    if "src" in facts:
        lines.append(f"  {facts['src']} -> {facts['dst']}  {facts['time']}  connection {facts['connection']}")
    lines += [
        f"  {name:<8} {_shown(facts[name])}"
        for name in ("service", "method", "version", "group")
        if facts[name]
    ]
    if facts["timeout_ms"]:
        lines.append(f"  timeout  {facts['timeout_ms']} ms")
    if facts["headers"]:
        lines.append("  headers")
        lines += [f"    {_shown(key)} = {_shown(value)}" for key, value in facts["headers"].items()]
    if facts.get("arguments"):
        lines.append("  arguments")
        lines += [f"    {_brief_argument(one)}" for one in facts["arguments"]]
    if facts.get("fields"):
        lines.append("  fields   (offset size name = value)")
        for one in facts["fields"]:
            lines.append(f"    {one['offset']:>6} {one['size']:>6} {one['name']} = {_brief(one)}")
            lines += _dump(one["value"], one["offset"]) if _is_long(one) else []
    else:
        lines += ["  bytes", *_dump(facts["hex"], 0)]
    if facts.get("body"):
        lines.append("  body")
        lines += [f"    {_shown(name)} = {_shown(value)}" for name, value in facts["body"].items()]
    return "\n".join(lines)


def _brief_argument(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _VALUE_MAX else f"{shown[:_VALUE_MAX]}..."


def _is_long(field: Facts) -> bool:
    """Whether bytes are shown with their offsets, hex and characters side by side."""
    return isinstance(field["value"], str) and len(field["value"]) > (4 if "text" in field else 2) * _SHOWN


def _dump(data: str, at: int) -> list[str]:
    """Lines of hex; ``data`` is hex, too."""
    raw = bytes.fromhex(data)
    lines = [f"      {line}" for line in hextext.dump(raw[:_DUMPED], at)]
    return lines + ([f"      ... and {len(raw) - _DUMPED} bytes more"] if len(raw) > _DUMPED else [])


def _brief(field: Facts) -> str:
    value = field["value"]
    if _is_long(field):
        return f"{len(value) // 2} bytes"
    if "text" in field:
        return _shown(field["text"])
    if isinstance(value, str):
        return bytes.fromhex(value).hex(" ") if value else "(empty)"
    text = str(value)
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}..."
