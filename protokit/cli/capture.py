"""Captures: pcap and pcapng files read into packets, packets into TCP segments, segments into streams.

Every packet is read once, from front to back, so a capture may come from a pipe. What is remembered is
bounded: bytes that wait for a lost segment, and the connections that are followed; where a bound is
reached the missing bytes count as lost, and the connection that was quiet the longest is forgotten.
Fragments of IP packets are not put together.
"""

from __future__ import annotations

import heapq
import ipaddress
import struct
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from protokit.errors import ProtokitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PCAP = {  # magic: byte order, nanoseconds in a fraction's unit
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
MAGICS = (*_PCAP, _PCAPNG)

_RECORD_MAX = 16 << 20
_SNAP_MAX = 256 << 10
_PENDING_BYTES = 1 << 20  # of one direction, behind a hole
_PENDING_SEGMENTS = 4096
_CONNECTIONS = 20_000
_MEMORY = 256 << 20
_SEGMENT_COST = 200  # bytes that a waiting segment takes besides its own
_LOST_AFTER = 1_000_000_000  # ns after which a hole is lost that the receiver has acknowledged
_FAR = 1 << 30

FIN, SYN, RST, ACK = 1, 2, 4, 16
_TCP, _AUTHENTICATION, _FRAGMENT = 6, 51, 44
_EXTENSIONS = {0, 43, 60, 135, _AUTHENTICATION}  # of IPv6, with a length
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN = {0x8100, 0x88A8, 0x9100}
_NULL, _ETHERNET, _LOOP, _COOKED, _COOKED2 = 0, 1, 108, 113, 276
_RAW = {12, 14, 101, 228, 229}

Address = tuple[str, int]


class Packet(NamedTuple):
    """One packet of a capture: when, its link type (LINKTYPE_*), its bytes as far as they were kept."""

    time_ns: int
    link: int
    data: bytes


class Segment(NamedTuple):
    """One TCP segment. ``missing``: bytes of its payload that the capture did not keep."""

    time_ns: int
    src: Address
    dst: Address
    seq: int
    ack: int
    flags: int
    payload: bytes
    missing: int


class _Source:
    """A file with its place."""

    def __init__(self, file: BinaryIO, front: bytes) -> None:
        self._file = file
        self._front = front
        self.at = 0

    def take(self, size: int, what: str, *, may_end: bool = False) -> bytes:
        """Exactly ``size`` bytes; none at the end of the file where it ``may_end``."""
        data, self._front = self._front[:size], self._front[size:]
        while len(data) < size and (more := self._file.read(size - len(data))):
            data += more
        start, self.at = self.at, self.at + len(data)
        if len(data) < size and not (may_end and not data):
            raise ProtokitError(
                f"the capture is cut off at byte {self.at}: {what} at byte {start} takes {size} bytes,"
                f" {len(data)} are there"
            )
        return data


def packets(file: BinaryIO, front: bytes = b"") -> Iterator[Packet]:
    """Read a capture.

    Args:
        file: a pcap or pcapng file; need not be seekable.
        front: bytes that were read from it already.

    Raises:
        ProtokitError: it is no capture, damaged, or cut off; all packets before that were given.
    """
    source = _Source(file, front)
    magic = source.take(4, "the file's magic number")
    if magic == _PCAPNG:
        return _pcapng(source)
    if magic in _PCAP:
        return _pcap(source, *_PCAP[magic])
    raise ProtokitError(f"at byte 0: {magic.hex(' ')} seen, the magic number of pcap or pcapng expected")


def _pcap(source: _Source, order: str, unit: int) -> Iterator[Packet]:
    header = source.take(20, "the file's header")
    *_, snap, link = struct.unpack(f"{order}HHiIII", header)
    most = min(max(snap, _SNAP_MAX), _RECORD_MAX)
    record = struct.Struct(f"{order}IIII")
    while True:
        start = source.at
        head = source.take(16, "the packet's header", may_end=True)
        if not head:
            return
        seconds, fraction, size, _ = record.unpack(head)
        if size > most:
            raise ProtokitError(
                f"at byte {start + 8}: a packet of {size} bytes seen, at most {most} expected"
            )
        data = source.take(size, "the packet")
        yield Packet(seconds * 1_000_000_000 + fraction * unit, link & 0x0FFFFFFF, data)


class _Interface(NamedTuple):
    link: int
    ticks: int  # in a second
    offset: int  # seconds
    snap: int


def _pcapng(source: _Source) -> Iterator[Packet]:
    order, interfaces = "", list[_Interface]()
    kind_bytes = _PCAPNG
    while kind_bytes:
        start = source.at - 4
        if kind_bytes == _PCAPNG:
            head = source.take(8, "the section header")
            orders = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
            order, interfaces = orders.get(head[4:], ""), []
            if not order:
                raise ProtokitError(f"at byte {start + 8}: {head[4:].hex(' ')} seen, 1a 2b 3c 4d expected")
            size, used = struct.unpack(f"{order}I", head[:4])[0], 12
        else:
            size, used = struct.unpack(f"{order}I", source.take(4, "the block's length"))[0], 8
        if size % 4 or not used + 4 <= size <= _RECORD_MAX:
            raise ProtokitError(
                f"at byte {start + 4}: a block of {size} bytes seen,"
                f" a multiple of 4 from {used + 4} to {_RECORD_MAX} expected"
            )
        body = source.take(size - used, "the block")
        if struct.unpack(f"{order}I", body[-4:])[0] != size:
            raise ProtokitError(
                f"at byte {source.at - 4}: {body[-4:].hex(' ')} seen,"
                f" the block's length {struct.pack(f'{order}I', size).hex(' ')} again expected"
            )
        kind = struct.unpack(f"{order}I", kind_bytes)[0]
        try:
            if kind == 1:
                interfaces.append(_interface(order, body[:-4]))
            elif kind in {2, 3, 6} and (packet := _packet(order, kind, body[:-4], interfaces)):
                yield packet
        except (struct.error, IndexError):
            raise ProtokitError(
                f"at byte {start}: a block of type {kind} seen that is too short, or of no interface"
            ) from None
        kind_bytes = source.take(4, "the block's type", may_end=True)


def _interface(order: str, body: bytes) -> _Interface:
    link, _, snap = struct.unpack_from(f"{order}HHI", body)
    at, ticks, offset = 8, 1_000_000, 0
    while at + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == 0:
            break
        if code == 9:
            ticks = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == 14:
            (offset,) = struct.unpack(f"{order}q", value)
        at += 4 + size + -size % 4
    return _Interface(link, ticks, offset, snap)


def _packet(order: str, kind: int, body: bytes, interfaces: list[_Interface]) -> Packet | None:
    if kind == 3:  # of the first interface, without a time
        (size,) = struct.unpack_from(f"{order}I", body)
        first = interfaces[0]
        return Packet(0, first.link, body[4 : 4 + min(size, first.snap or size)])
    layout = "IIIII" if kind == 6 else "HxxIIII"
    number, high, low, size, _ = struct.unpack_from(order + layout, body)
    if size > len(body) - 20:
        raise struct.error
    interface = interfaces[number]
    time = (high << 32 | low) * 1_000_000_000 // interface.ticks + interface.offset * 1_000_000_000
    return Packet(time, interface.link, body[20 : 20 + size])


def segment(packet: Packet) -> Segment | str:
    """The TCP segment that a packet carries, or what it is instead; empty for another protocol."""
    try:
        start = _network(packet)
        if isinstance(start, str):
            return start
        version = packet.data[start] >> 4
        if version == 4:
            return _ipv4(packet, start)
        return _ipv6(packet, start) if version == 6 else ""
    except (struct.error, IndexError):
        return "cut off before the end of its headers"


def _network(packet: Packet) -> int | str:
    """Where the IP header begins."""
    link, data = packet.link, packet.data
    if link in _RAW:
        return 0
    if link in {_NULL, _LOOP}:
        return 4
    if link == _COOKED2:
        at, (kind,) = 20, struct.unpack_from(">H", data, 0)
    elif link in {_ETHERNET, _COOKED}:
        at = 14 if link == _ETHERNET else 16
        (kind,) = struct.unpack_from(">H", data, at - 2)
    else:
        return f"of link type {link}, which is not read"
    while kind in _VLAN:
        (kind,) = struct.unpack_from(">H", data, at + 2)
        at += 4
    return at if kind in {_IPV4, _IPV6} else ""


def _ipv4(packet: Packet, at: int) -> Segment | str:
    data = packet.data
    first, total, fragment, protocol = struct.unpack_from(">BxHxxHxB", data, at)
    if protocol != _TCP:
        return ""
    if fragment & 0x3FFF:
        return "fragments of IP packets, which are not put together"
    # The network card may have cut it later: its length is 0 then.
    end = at + total if total else len(data)
    source, destination = map(str, map(ipaddress.IPv4Address, struct.unpack_from("4s4s", data, at + 12)))
    return _tcp(packet, at + (first & 15) * 4, end, source, destination)


def _ipv6(packet: Packet, at: int) -> Segment | str:
    data = packet.data
    total, following = struct.unpack_from(">HB", data, at + 4)
    end = at + 40 + total if total else len(data)
    source, destination = map(str, map(ipaddress.IPv6Address, struct.unpack_from("16s16s", data, at + 8)))
    at += 40
    while following in _EXTENSIONS or following == _FRAGMENT:
        kind, (following, size) = following, struct.unpack_from(">BB", data, at)
        if kind == _FRAGMENT:
            if struct.unpack_from(">H", data, at + 2)[0] & 0xFFF9:
                return "fragments of IP packets, which are not put together"
            at += 8
        else:
            at += (size + 2) * 4 if kind == _AUTHENTICATION else (size + 1) * 8
    return _tcp(packet, at, end, source, destination) if following == _TCP else ""


def _tcp(packet: Packet, at: int, end: int, src: str, dst: str) -> Segment | str:
    data = packet.data
    source, destination, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", data, at)
    start = at + (offset >> 4) * 4
    if offset >> 4 < 5 or start > end:
        return "with a TCP header that does not fit"
    missing = max(end - max(len(data), start), 0)
    payload = data[start:end]
    return Segment(packet.time_ns, (src, source), (dst, destination), seq, ack, flags, payload, missing)


class Flow:
    """One direction of a connection.

    Attributes:
        connection: its number, from 1.
        from_start: its first byte is the connection's first; else the capture began later.
        held: bytes that the reader of this flow keeps; the reader's to set.
        side: whose bytes they are: ``client`` (who opened the connection) or ``server``.
    """

    def __init__(self, connection: int, src: Address, dst: Address, side: str) -> None:
        self.connection = connection
        self.src = src
        self.dst = dst
        self.from_start = False
        self.held = 0
        self.side = side


class Data(NamedTuple):
    """The next bytes of a flow, and when they came."""

    flow: Flow
    data: bytes
    time_ns: int


class Gap(NamedTuple):
    """Bytes of a flow that the capture lacks."""

    flow: Flow
    size: int
    time_ns: int


class End(NamedTuple):
    """No more comes of a flow."""

    flow: Flow


Event = Data | Gap | End


class _Half:
    """Puts the segments of one direction in order. Of bytes that came twice the first ones count."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.start: int | None = None
        self.waiting: dict[int, Segment] = {}
        self.size = 0  # of what waits
        self._order: list[int] = []
        self._next = 0  # counted from the first byte
        self._end = 0
        self._fin: int | None = None  # takes a number too, which the last acknowledgement counts
        self._since = 0
        self._clock = 0

    def place(self, seq: int) -> int:
        """A sequence number as a byte's place in the stream."""
        ahead = (seq - (self.start or 0) - self._next) & 0xFFFFFFFF
        return self._next + ahead - (ahead >> 31 << 32)

    def add(self, one: Segment) -> Iterator[Event]:
        seq = one.seq
        if one.flags & SYN:
            seq += 1
        elif self.start is None and not one.payload and not one.missing:
            return
        if self.start is None:
            self.start = seq & 0xFFFFFFFF
            self.flow.from_start = bool(one.flags & SYN)
        at = self.place(seq)
        end = at + len(one.payload)
        if abs(at - self._next) > _FAR:
            return
        if one.flags & FIN:
            self._fin = end + one.missing
        self._end = max(self._end, end + one.missing)
        if not one.payload or end <= self._next:
            return
        if at > self._next:
            self._wait(at, one)
            if self.size > _PENDING_BYTES or len(self.waiting) > _PENDING_SEGMENTS:
                yield from self.lose()
            return
        yield self._deliver(at, one)
        yield from self._drain()

    def _wait(self, at: int, one: Segment) -> None:
        if not self.waiting:
            self._since = one.time_ns
        old = self.waiting.get(at)
        if old is None:
            heapq.heappush(self._order, at)
        elif len(old.payload) >= len(one.payload):
            return
        self.size += len(one.payload) - (len(old.payload) if old else -_SEGMENT_COST)
        self.waiting[at] = one

    def _deliver(self, at: int, one: Segment) -> Data:
        self._clock = max(self._clock, one.time_ns)
        data = one.payload[self._next - at :]
        self._next += len(data)
        return Data(self.flow, data, self._clock)

    def _drain(self) -> Iterator[Event]:
        while self._order and self._order[0] <= self._next:
            at = heapq.heappop(self._order)
            one = self.waiting.pop(at)
            self.size -= len(one.payload) + _SEGMENT_COST
            if at + len(one.payload) > self._next:
                yield self._deliver(at, one)
        self._since = self._clock

    def lose(self) -> Iterator[Event]:
        """What is missing before the first segment that waits is lost."""
        yield Gap(self.flow, self._order[0] - self._next, self._clock)
        self._next = self._order[0]
        yield from self._drain()

    def acknowledged(self, ack: int, time_ns: int) -> Iterator[Event]:
        """The receiver has everything before ``ack``: what is missing there was not captured."""
        if self._order and time_ns - self._since >= _LOST_AFTER and self.place(ack) >= self._order[0]:
            yield from self.lose()

    def flush(self) -> Iterator[Event]:
        """Nothing more comes that could fill a hole."""
        while self._order:
            yield from self.lose()
        end = self._end if self._fin is None else min(self._end, self._fin)
        if end > self._next:
            yield Gap(self.flow, end - self._next, self._clock)
            self._next = end


def _client(first: Segment) -> Address:
    """Who opened the connection; where that was not captured, who has the greater port."""
    if first.flags & SYN:
        return first.dst if first.flags & ACK else first.src
    return first.src if first.src[1] >= first.dst[1] else first.dst


class _Connection:
    def __init__(self, number: int, first: Segment) -> None:
        client = _client(first)
        self.halves = {
            src: _Half(Flow(number, src, dst, "client" if src == client else "server"))
            for src, dst in ((first.src, first.dst), (first.dst, first.src))
        }
        self.counted = 0

    def opens_again(self, one: Segment) -> bool:
        start = self.halves[one.src].start
        return bool(one.flags & SYN) and start is not None and start != (one.seq + 1) & 0xFFFFFFFF

    def add(self, one: Segment) -> Iterator[Event]:
        half, other = self.halves[one.src], self.halves[one.dst]
        if one.flags & RST:
            yield from half.flush()
            yield from other.flush()
            return
        yield from half.add(one)
        if one.flags & ACK and other.start is not None:
            yield from other.acknowledged(one.ack, one.time_ns)

    def end(self) -> Iterator[Event]:
        for half in self.halves.values():
            yield from half.flush()
            yield End(half.flow)

    def size(self) -> int:
        return sum(half.size + half.flow.held for half in self.halves.values())


class Streams:
    """Follows the TCP connections of a capture.

    Attributes:
        segments: how many there were.
        unread: what else there was, that could have been one: how many of each.
    """

    def __init__(self) -> None:
        self.segments = 0
        self.unread: Counter[str] = Counter()
        self._connections: OrderedDict[tuple[Address, Address], _Connection] = OrderedDict()
        self._count = 0
        self._memory = 0

    def read(self, source: Iterable[Packet]) -> Iterator[Event]:
        """What happens, packet by packet. ``end`` tells the rest, also when this raises."""
        for packet in source:
            found = segment(packet)
            if isinstance(found, str):
                if found:
                    self.unread[found] += 1
                continue
            self.segments += 1
            yield from self._add(found)

    def _add(self, one: Segment) -> Iterator[Event]:
        key = (one.src, one.dst) if one.src <= one.dst else (one.dst, one.src)
        connection = self._connections.get(key)
        if connection is not None and connection.opens_again(one):
            yield from self._forget(key)
            connection = None
        if connection is None:
            self._count += 1
            connection = self._connections[key] = _Connection(self._count, one)
        self._connections.move_to_end(key)
        yield from connection.add(one)
        size = connection.size()
        self._memory += size - connection.counted
        connection.counted = size
        while len(self._connections) > _CONNECTIONS or self._memory > _MEMORY:
            yield from self._forget(next(iter(self._connections)))

    def _forget(self, key: tuple[Address, Address]) -> Iterator[Event]:
        connection = self._connections.pop(key)
        self._memory -= connection.counted
        yield from connection.end()

    def end(self) -> Iterator[Event]:
        """The capture is over."""
        while self._connections:
            yield from self._forget(next(iter(self._connections)))
