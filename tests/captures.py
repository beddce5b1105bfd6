"""Packets, and captures of them in every form."""

from __future__ import annotations

import ipaddress
import struct

from decoding import frames, run

CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 12200)
SYN, ACK, FIN = 2, 16, 1
SECOND = 1_000_000_000


def tcp(src, dst, seq: int, data: bytes = b"", flags: int = ACK, ack: int = 0) -> bytes:
    head = struct.pack(
        ">HHIIBBHHH", src[1], dst[1], seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 5 << 4, flags, 65535, 0, 0
    )
    source, target = (ipaddress.ip_address(host).packed for host in (src[0], dst[0]))
    if len(source) == 4:
        size = 20 + len(head) + len(data)
        return struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0x4000, 64, 6, 0) + source + target + head + data
    options = bytes([6, 0]) + bytes(6)  # a hop-by-hop header of 8 bytes
    size = len(options) + len(head) + len(data)
    return struct.pack(">IHBB", 6 << 28, size, 0, 64) + source + target + options + head + data


def ethernet(packet: bytes) -> bytes:
    return bytes(12) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet


def kind_of(packet: bytes) -> bytes:
    return ethernet(packet)[12:14]


LINKS = {
    1: ethernet,
    113: lambda packet: bytes(14) + kind_of(packet) + packet,
    276: lambda packet: kind_of(packet) + bytes(18) + packet,
    101: lambda packet: packet,
    12: lambda packet: packet,
    0: lambda packet: struct.pack("<I", 2 if packet[0] >> 4 == 4 else 10) + packet,
    108: lambda packet: struct.pack(">I", 2 if packet[0] >> 4 == 4 else 30) + packet,
}


def pcap(packets, *, link: int = 1, order: str = "<", nano: bool = False, wrap=None) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    out = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for time_ns, packet in packets:
        data = (wrap or LINKS[link])(packet)
        fraction = time_ns % SECOND // (1 if nano else 1000)
        out += struct.pack(f"{order}IIII", time_ns // SECOND, fraction, len(data), len(data)) + data
    return out


def pcapng(packets, *, order: str = "<", resolution: int = 9, blocks: bytes = b"") -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(f"{order}I", len(body) + 12)
        return struct.pack(f"{order}I", kind) + size + body + size

    def interface(link: int, power: int) -> bytes:
        options = struct.pack(f"{order}HHBxxxHH", 9, 1, power, 0, 0)
        return block(1, struct.pack(f"{order}HHI", link, 0, 0) + options)

    out = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += interface(1, 6) + interface(113, resolution) + block(5, bytes(12)) + blocks
    for i, (time_ns, packet) in enumerate(packets):  # alternating between two interfaces
        ticks = time_ns * 10 ** (resolution if i % 2 else 6) // SECOND
        data = LINKS[113 if i % 2 else 1](packet)
        head = struct.pack(f"{order}IIIII", i % 2, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
        out += block(6, head + data)
    return out


class Talk:
    """A connection that writes its packets down."""

    def __init__(
        self, src=CLIENT, dst=SERVER, seq: int = 1000, ack: int = 5000, *, opened: bool = True
    ) -> None:
        self.ends = {src: seq, dst: ack}
        self.src, self.dst = src, dst
        self.packets: list[tuple[int, bytes]] = []
        self.now = 1_700_000_000 * SECOND
        if opened:
            self.put(src, flags=SYN)
            self.put(dst, flags=SYN | ACK)

    def put(self, src, data: bytes = b"", flags: int = ACK) -> None:
        dst = self.dst if src == self.src else self.src
        self.now += 1_000_000
        self.packets.append((self.now, tcp(src, dst, self.ends[src], data, flags, self.ends[dst])))
        self.ends[src] += len(data) + bool(flags & (SYN | FIN))

    def say(self, data: bytes, size: int = 1460, *, src=None) -> None:
        for at in range(0, len(data), size):
            self.put(src or self.src, data[at : at + size])

    def answer(self, data: bytes, size: int = 1460) -> None:
        self.say(data, size, src=self.dst)


def decode_capture(data: bytes, *arguments: str):
    return run("--json", *arguments, data=data)


def ids(result, src: str = "10.0.0.1:40000") -> list[str]:
    return [row["id"] for row in frames(result) if row["src"] == src]
