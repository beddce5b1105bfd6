"""A server of thriftpy2, or a client of one: as peer.py, without THeader."""

import json
import sys
import threading
import time
from pathlib import Path

import thriftpy2
from thriftpy2.protocol import TBinaryProtocolFactory, TCompactProtocolFactory, TMultiplexedProtocolFactory
from thriftpy2.server import TThreadedServer
from thriftpy2.thrift import TApplicationException, TClient, TMultiplexedProcessor, TProcessor
from thriftpy2.transport import TFramedTransportFactory, TServerSocket, TSocket

demo = thriftpy2.load(str(Path(__file__).parent.parent / "demo.thrift"), module_name="demo_thrift")
PROTOCOLS = {
    "binary": TBinaryProtocolFactory,
    "compact": TCompactProtocolFactory,
    "multi": TBinaryProtocolFactory,
}


class Service:
    def __init__(self):
        self.notes = 0

    def echo(self, text):
        return text

    def add(self, a, b):
        return a + b

    def nothing(self):
        pass

    def fails(self, why):
        raise demo.Declared(17, why)

    def breaks(self):
        raise TApplicationException(TApplicationException.INTERNAL_ERROR, "broken inside")

    def slow(self, ms):
        time.sleep(ms / 1000)
        return "slept"

    def big(self, size):
        return "v" * size

    def note(self, text):
        self.notes += 1

    def noted(self):
        return self.notes


def serve(port, wire):
    processor = TProcessor(demo.Echo, Service())
    if wire == "multi":
        inner, processor = processor, TMultiplexedProcessor()
        processor.register_processor("Echo", inner)
    listening = TServerSocket("127.0.0.1", port, client_timeout=None)
    server = TThreadedServer(
        processor,
        listening,
        iprot_factory=PROTOCOLS[wire](),
        itrans_factory=TFramedTransportFactory(),
        daemon=True,
    )
    threading.Timer(0.3, lambda: print(f"READY {port}", flush=True)).start()
    server.serve()


def connect(port, wire, service=demo.Echo):
    protocols = PROTOCOLS[wire]()
    if wire == "multi":
        protocols = TMultiplexedProtocolFactory(protocols, service.__name__)
    transport = TFramedTransportFactory().get_transport(TSocket("127.0.0.1", port, socket_timeout=20000))
    transport.open()
    return TClient(service, protocols.get_protocol(transport))


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
    except (demo.Declared, TApplicationException) as error:
        return f"{type(error).__name__}, then {client.echo('still here')}"
    return "no error"


CASES = {
    "hello": lambda port, wire: connect(port, wire).echo("Zürich 🚀"),
    "add": lambda port, wire: connect(port, wire).add(2, 1 << 40),
    "nothing": lambda port, wire: connect(port, wire).nothing(),
    "declared": lambda port, wire: connect(port, wire).fails("not today"),
    "undeclared": lambda port, wire: connect(port, wire).breaks(),
    "missing": lambda port, wire: connect(port, wire, demo.Missing).gone(),
    "slow": lambda port, wire: connect(port, wire).slow(2000),
    "big": lambda port, wire: len(connect(port, wire).big(1 << 20)),
    "oneway": noted,
    "many": many,
    "after-declared": lambda port, wire: after(port, wire, lambda c: c.fails("not today")),
    "after-undeclared": lambda port, wire: after(port, wire, lambda c: c.breaks()),
    "after-nothing": lambda port, wire: after(port, wire, lambda c: c.nothing()),
    "after-slow": lambda port, wire: after(port, wire, lambda c: c.slow(2000)),
}


def said(call):
    try:
        return {"value": call()}
    except demo.Declared as error:
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
