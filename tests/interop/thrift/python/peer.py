"""A Thrift server, or a client of one: server WIRE PORT, client WIRE PORT CASE...

WIRE: framed binary or compact, header (binary inside), multi (framed binary, multiplexed names).
"""

import json
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "target" / "gen-py"))
from demo import Echo, Missing
from demo.ttypes import Declared
from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory
from thrift.protocol.TCompactProtocol import TCompactProtocolFactory
from thrift.protocol.THeaderProtocol import THeaderProtocolFactory
from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol
from thrift.server.TServer import TThreadedServer
from thrift.Thrift import TApplicationException
from thrift.TMultiplexedProcessor import TMultiplexedProcessor
from thrift.transport.TSocket import TServerSocket, TSocket
from thrift.transport.TTransport import TBufferedTransportFactory, TFramedTransport, TFramedTransportFactory

PROTOCOLS = {
    "binary": TBinaryProtocolFactory,
    "compact": TCompactProtocolFactory,
    "header": THeaderProtocolFactory,
    "multi": TBinaryProtocolFactory,
}
CALLED = threading.local()  # the transport of the call that a thread answers


class Service:
    def __init__(self):
        self.notes = 0

    def echo(self, text):
        if text != "headers":
            return text
        CALLED.transport.set_header(b"x-served", b"python")
        return json.dumps(texts(CALLED.transport))

    def add(self, a, b):
        return a + b

    def nothing(self):
        pass

    def fails(self, why):
        raise Declared(17, why)

    def breaks(self):
        raise RuntimeError("broken inside")

    def slow(self, ms):
        time.sleep(ms / 1000)
        return "slept"

    def big(self, size):
        return "v" * size

    def note(self, text):
        self.notes += 1

    def noted(self):
        return self.notes


def texts(transport):
    """Headers that it has read."""
    return {key.decode(): value.decode() for key, value in transport.get_headers().items()}


class Processor(Echo.Processor):
    def process(self, iprot, oprot):
        CALLED.transport = iprot.trans
        return super().process(iprot, oprot)


def serve(port, wire):
    processor = Processor(Service())
    if wire == "multi":
        inner, processor = processor, TMultiplexedProcessor()
        processor.registerProcessor("Echo", inner)
    transport = TBufferedTransportFactory() if wire == "header" else TFramedTransportFactory()
    listening = TServerSocket("127.0.0.1", port)
    server = TThreadedServer(processor, listening, transport, PROTOCOLS[wire](), daemon=True)
    threading.Timer(0.3, lambda: print(f"READY {port}", flush=True)).start()
    server.serve()


def connect(port, wire, service=Echo):
    socket = TSocket("127.0.0.1", port)
    transport = socket if wire == "header" else TFramedTransport(socket)
    protocol = PROTOCOLS[wire]().getProtocol(transport)
    if wire == "multi":
        protocol = TMultiplexedProtocol(protocol, service.__name__.rpartition(".")[2])
    protocol.trans.open()
    return service.Client(protocol)


def many(port, wire):
    wrong, threads = [], []

    def one(who):
        client = connect(port, wire)
        wrong.extend((who, n) for n in range(125) if client.echo(f"{who}-{n}") != f"{who}-{n}")

    for who in range(8):
        threads.append(threading.Thread(target=one, args=(who,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return 1000 - len(wrong)


def noted(port, wire):
    client = connect(port, wire)
    before = client.noted()
    client.note("seen")
    for _ in range(100):
        if client.noted() > before:
            return client.noted() - before
        time.sleep(0.02)
    return 0


def after(port, wire, call):
    """The same connection goes on behind an error."""
    client = connect(port, wire)
    try:
        call(client)
    except (Declared, TApplicationException) as error:
        return f"{type(error).__name__}, then {client.echo('still here')}"
    return "no error"


def headers(port, wire, **sent):
    """What the server sees, and what of its answer."""
    client = connect(port, wire)
    transport = client._oprot.trans
    for key, value in sent.items():
        transport.set_header(key.encode(), value.encode())
    return [json.loads(client.echo("headers")), texts(transport)]


CASES = {
    "hello": lambda port, wire: connect(port, wire).echo("Zürich 🚀"),
    "add": lambda port, wire: connect(port, wire).add(2, 1 << 40),
    "nothing": lambda port, wire: connect(port, wire).nothing(),
    "declared": lambda port, wire: connect(port, wire).fails("not today"),
    "undeclared": lambda port, wire: connect(port, wire).breaks(),
    "missing": lambda port, wire: connect(port, wire, Missing).gone(),
    "slow": lambda port, wire: connect(port, wire).slow(2000),
    "big": lambda port, wire: len(connect(port, wire).big(1 << 20)),
    "oneway": noted,
    "many": many,
    "headers": lambda port, wire: headers(port, wire, zone="east", empty=""),
    "no-headers": headers,
    "after-declared": lambda port, wire: after(port, wire, lambda c: c.fails("not today")),
    "after-undeclared": lambda port, wire: after(port, wire, lambda c: c.breaks()),
    "after-nothing": lambda port, wire: after(port, wire, lambda c: c.nothing()),
    "after-slow": lambda port, wire: after(port, wire, lambda c: c.slow(2000)),
}


def said(call):
    try:
        return {"value": call()}
    except Declared as error:
        return {"raised": ["Declared", error.code, error.why]}
    except TApplicationException as error:
        return {"raised": ["TApplicationException", error.type, error.message]}
    except Exception as error:  # noqa: BLE001  # the line says which
        return {"raised": [type(error).__name__, 0, str(error)]}


if __name__ == "__main__":
    role, wire, port, *cases = sys.argv[1:]
    if role == "server":
        serve(int(port), wire)
    for case in cases:
        print(json.dumps({"case": case, **said(lambda case=case: CASES[case](int(port), wire))}), flush=True)
