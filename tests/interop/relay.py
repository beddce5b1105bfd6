"""A relay that keeps what two sides say, as a capture that ``protokit decode`` reads."""

from __future__ import annotations

import socket
import struct
import threading


class Capture:
    """What two sides said, as a pcap of TCP over IPv4 without checksums."""

    def __init__(self):
        self.packets, self.lock = [], threading.Lock()

    def said(self, client_port, sequences, data, *, by_client):
        ports = (client_port, 9090) if by_client else (9090, client_port)
        with self.lock:
            for at in range(0, len(data), 1400):
                part = data[at : at + 1400]
                mine, other = sequences[by_client], sequences[not by_client]
                tcp = struct.pack(">HHIIBBHHH", *ports, mine, other, 5 << 4, 0x18, 65535, 0, 0)
                size = 20 + len(tcp) + len(part)
                local = b"\x7f\0\0\1"
                ip = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, 6, 0) + local + local
                self.packets.append(ip + tcp + part)
                sequences[by_client] += len(part)

    def write(self, path):
        head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 16, 101)
        rows = (struct.pack("<IIII", n, 0, len(one), len(one)) + one for n, one in enumerate(self.packets))
        path.write_bytes(head + b"".join(rows))


def relay(to, capture):
    """The port of a relay to a server's."""
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source, sink, port, sequences, by_client):
        while data := source.recv(65536):
            capture.said(port, sequences, data, by_client=by_client)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def accept():
        while True:
            client, (_, port) = listening.accept()
            server = socket.create_connection(("127.0.0.1", to))
            sequences = {True: 1, False: 1}
            for words in ((client, server, port, sequences, True), (server, client, port, sequences, False)):
                threading.Thread(target=pump, args=words, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listening.getsockname()[1]
