"""Records docs/calculator.pcap: Apache Thrift's own client and server classes, on the loopback device.

As root, in an environment with ``thrift`` from PyPI: ``python capture_thrift.py calculator.pcap``. Client and
processor do what compiled ones do for the service in docs/from-a-capture.md; calls are numbered, as in other
languages (Python's own compiled clients leave 0).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory as Protocols
from thrift.server.TServer import TThreadedServer
from thrift.Thrift import TApplicationException, TMessageType, TProcessor, TType
from thrift.transport.TSocket import TServerSocket, TSocket
from thrift.transport.TTransport import TFramedTransport, TFramedTransportFactory

PORT = 9790
OUTGOING = 4  # each packet of the loopback device is seen twice


def write_struct(protocol, *fields) -> None:
    protocol.writeStructBegin("s")
    for kind, number, value in fields:
        protocol.writeFieldBegin("f", kind, number)
        {TType.I32: protocol.writeI32, TType.STRING: protocol.writeString}.get(kind, lambda one: one())(value)
        protocol.writeFieldEnd()
    protocol.writeFieldStop()
    protocol.writeStructEnd()


def read_struct(protocol) -> dict:
    found = {}
    protocol.readStructBegin()
    while True:
        _, kind, number = protocol.readFieldBegin()
        if kind == TType.STOP:
            return found
        read = {TType.I32: protocol.readI32, TType.STRING: protocol.readString}
        found[number] = read[kind]() if kind in read else read_struct(protocol)
        protocol.readFieldEnd()


class Calculator(TProcessor):
    """add, divide (which throws), and note, one way."""

    def process(self, iprot, oprot) -> None:
        name, _, number = iprot.readMessageBegin()
        arguments = read_struct(iprot)
        iprot.readMessageEnd()
        if name == "note":
            return
        if name == "add":
            result = [(TType.I32, 0, arguments[1] + arguments[2])]
        elif name == "divide" and arguments[2] == 0:
            why = "by zero"
            result = [(TType.STRUCT, 1, lambda: write_struct(oprot, (TType.STRING, 1, why)))]
        elif name == "divide":
            result = [(TType.I32, 0, arguments[1] // arguments[2])]
        else:
            unknown = TApplicationException(TApplicationException.UNKNOWN_METHOD, f"Unknown function {name}")
            oprot.writeMessageBegin(name, TMessageType.EXCEPTION, number)
            unknown.write(oprot)
            oprot.writeMessageEnd()
            oprot.trans.flush()
            return
        oprot.writeMessageBegin(name, TMessageType.REPLY, number)
        write_struct(oprot, *result)
        oprot.writeMessageEnd()
        oprot.trans.flush()


class Client:
    """As compiled clients are."""

    def __init__(self, port: int = PORT) -> None:
        self.transport = TFramedTransport(TSocket("127.0.0.1", port))
        self.protocol = TBinaryProtocol(self.transport)
        self.transport.open()
        self.number = 0

    def call(self, name: str, *values, oneway: bool = False):
        self.number += 1
        kind = TMessageType.ONEWAY if oneway else TMessageType.CALL
        self.protocol.writeMessageBegin(name, kind, self.number)
        kinds = {int: TType.I32, str: TType.STRING}
        write_struct(self.protocol, *((kinds[type(one)], i, one) for i, one in enumerate(values, 1)))
        self.protocol.writeMessageEnd()
        self.transport.flush()
        if oneway:
            return None
        _, kind, _ = self.protocol.readMessageBegin()
        if kind == TMessageType.EXCEPTION:
            error = TApplicationException()
            error.read(self.protocol)
            self.protocol.readMessageEnd()
            raise error
        found = read_struct(self.protocol)
        self.protocol.readMessageEnd()
        return found


def serve(port: int = PORT) -> None:
    server = TThreadedServer(
        Calculator(), TServerSocket("127.0.0.1", port), TFramedTransportFactory(), Protocols(), daemon=True
    )
    threading.Thread(target=server.serve, daemon=True).start()
    time.sleep(0.5)


def main(path: Path) -> None:
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sniffer.bind(("lo", 0))
    packets = []

    def sniff() -> None:
        while True:
            data, about = sniffer.recvfrom(1 << 16)
            ports = struct.unpack(">HH", data[34:38]) if data[23:24] == b"\6" else ()
            if about[2] == OUTGOING and PORT in ports:
                packets.append((time.time_ns(), data))

    threading.Thread(target=sniff, daemon=True).start()
    serve()
    client = Client()
    for values in ((1, 2), (40, 2)):
        client.call("add", *values)
    for values in ((84, 2), (1, 0)):
        client.call("divide", *values)
    client.call("note", "seen", oneway=True)
    with contextlib.suppress(TApplicationException):
        client.call("multiply", 6, 7)
    client.transport.close()
    time.sleep(0.5)
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 16, 1)
    rows = (
        struct.pack("<IIII", at // 10**9, at % 10**9 // 1000, len(one), len(one)) + one for at, one in packets
    )
    path.write_bytes(header + b"".join(rows))
    print(f"{len(packets)} packets of Apache Thrift for Python {version('thrift')}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
