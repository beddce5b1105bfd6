"""HTTP/1.1 by a codec in Python (examples/web.py) between Python's own client and server.

They need what a codec says and is told beyond a frame.
"""

from __future__ import annotations

import asyncio
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import protokit
from protokit.testing import streams

PLUGIN = Path(__file__).parents[2] / "examples" / "web.py"
BIG = bytes(range(256)) * 1200  # more than one frame


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, body, **headers):
        self.send_response(200)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        if self.path == "/big":
            self.answer(BIG)
        elif self.path == "/chunks":
            self.answer(b"", Content_Length=None, Transfer_Encoding="chunked")
            for part in (b"one", b"two", BIG):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\nX-Sum: 7\r\n\r\n")
        elif self.path == "/until-end":
            self.answer(BIG, Content_Length=None, Connection="close")
            self.close_connection = True
        elif self.path == "/never":
            self.server.wait.wait(30)
            self.close_connection = True
        else:
            self.answer(f"{self.path} {self.headers.get('X-Added')}".encode())

    do_HEAD = do_GET  # noqa: N815  # the name that http.server asks for

    def do_POST(self):
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(body)


ADD = """
from protokit import Filter, hookimpl

class Add(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        request.headers["x-added"] = "yes"

@hookimpl
def protokit_filters():
    return {"add": Add}
"""


@pytest.fixture
def run(tmp_path):
    """Call it with what a client does, in a thread of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.wait = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "add.py").write_text(ADD)

    def go(test, mode="pinned", **rule):
        config = {
            "plugins": [str(PLUGIN), str(tmp_path / "add.py")],
            "listeners": [
                {"name": "in", "bind": "127.0.0.1:0", "protocol": "web", "routes": "r", "mode": mode}
            ],
            "routes": [{"name": "r", "rules": [{"match": {"service": "here*"}, "cluster": "c", **rule}]}],
            "clusters": [{"name": "c", "endpoints": [f"127.0.0.1:{server.server_port}"]}],
        }

        async def main():
            proxy = protokit.Proxy(config)
            await proxy.start()
            connection = http.client.HTTPConnection("127.0.0.1", proxy.addresses["in"][1], timeout=20)
            try:
                await asyncio.to_thread(test, connection)
            finally:
                connection.close()
                await proxy.close()

        streams.run(main())

    yield go
    server.wait.set()
    server.shutdown()
    server.server_close()


def get(connection, path, verb="GET", body=None, host="here", **headers):
    connection.request(verb, path, body, {"Host": host, **headers})
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("mode", ["shared", "pinned"])
def test_answers_of_every_kind_on_one_connection(run, mode):
    def test(connection):
        assert get(connection, "/a") == (200, b"/a None")
        assert get(connection, "/big") == (200, BIG)
        assert get(connection, "/big", "HEAD") == (200, b"")
        assert get(connection, "/chunks") == (200, b"onetwo" + BIG)
        assert get(connection, "/b") == (200, b"/b None")

    run(test, mode)


@pytest.mark.parametrize("mode", ["shared", "pinned"])
def test_an_answer_that_ends_with_its_connection(run, mode):
    def test(connection):
        assert get(connection, "/until-end") == (200, BIG)
        assert get(connection, "/a") == (200, b"/a None")  # by another one, where it has to be

    run(test, mode)


def test_requests_in_pieces_on_a_connection_of_ones_own(run):
    def test(connection):
        assert get(connection, "/", "POST", BIG) == (200, BIG)
        chunked = (BIG[at : at + 70_000] for at in range(0, len(BIG), 70_000))
        connection.request("POST", "/", chunked, {"Host": "here"}, encode_chunked=True)
        assert connection.getresponse().read() == BIG
        assert get(connection, "/a") == (200, b"/a None")

    run(test)


def test_a_request_in_pieces_on_a_shared_connection_is_refused(run):
    def test(connection):
        status, text = get(connection, "/", "POST", BIG)
        assert (status, b"pieces" in text) == (400, True)

    run(test, "shared")


def test_errors_say_what_was_asked(run):
    def test(connection):
        status, text = get(connection, "/x", host="nowhere")
        assert (status, text.startswith(b"protokit: no route"), text.endswith(b"\nGET /x HTTP/1.1\n")) == (
            404,
            True,
            True,
        )
        assert get(connection, "/x", "HEAD", host="nowhere") == (404, b"")
        status, text = get(connection, "/never")
        assert (status, text.endswith(b"\nGET /never HTTP/1.1\n")) == (504, True)

    run(test, "shared", timeout="300ms")


def test_a_client_that_wants_no_more_is_closed_behind_its_answer(run):
    def test(connection):
        connection.auto_open = False
        connection.connect()
        assert get(connection, "/a", Connection="close") == (200, b"/a None")
        assert connection.sock is None or connection.sock.recv(1) == b""

    run(test)


def test_a_body_that_says_its_size_twice_goes_nowhere(run):
    def test(connection):
        connection.putrequest("POST", "/", skip_host=True)
        for name, value in (("Host", "here"), ("Content-Length", "3"), ("Transfer-Encoding", "chunked")):
            connection.putheader(name, value)
        connection.endheaders(b"0\r\n\r\n")
        assert connection.sock.recv(1) == b""

    run(test)


def test_a_filter_adds_a_header(run):
    def test(connection):
        assert get(connection, "/a") == (200, b"/a yes")

    run(test, "shared", filters=["add"])
