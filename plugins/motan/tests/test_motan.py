"""What Motan2's callers see of the proxy, and what of the declaration is Motan's own."""

import json

import make_golden
import pytest
from make_golden import CALL, HEARTBEAT, ONEWAY, PROXY, RESPONSE, SIMPLE, frame, simple
from protokit_motan import motan

import protokit
from protokit import native
from protokit.testing import streams

WIRE = motan.wire


def test_the_golden_file_is_what_the_script_makes():
    assert make_golden.GOLDEN.read_text(encoding="utf-8") == "".join(make_golden.lines())


def test_the_budget_stands_in_the_meta():
    assert WIRE.message(frame(0, SIMPLE, 1, [*CALL, ("M_tmo", "1500")])).timeout_ms == 1500
    assert WIRE.message(frame(0, SIMPLE, 1, [*CALL, ("M_tmo", "soon")])).timeout_ms == 0


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (0, "request"),
        (ONEWAY, "oneway"),
        (RESPONSE | ONEWAY, "response"),
        (HEARTBEAT | ONEWAY, "heartbeat"),
        (HEARTBEAT | RESPONSE | ONEWAY | PROXY, "ack"),
    ],
)
def test_what_a_frame_with_several_flags_is(flags, kind):
    assert WIRE.message(frame(flags, SIMPLE, 1)).kind == kind


def test_an_exception_is_an_error_whatever_its_code():
    for code, kind in ((10101, 1), (10003, 1), (30001, 2)):
        data = frame(RESPONSE, SIMPLE, 1, make_golden.error(code, "no", kind), status=1)
        assert WIRE.message(data).status.name == "INTERNAL"


class Server:
    """Answers as motan-go does: one-way messages too."""

    def __init__(self):
        self.seen = []

    async def __call__(self, reader, writer):
        data = b""
        while chunk := await reader.read(65536):
            data += chunk
            while data:
                try:
                    message = WIRE.message(data)
                except EOFError:
                    break
                data = data[message.size :]
                self.seen.append(message)
                flags = RESPONSE | (HEARTBEAT if message.kind == "heartbeat" else 0)
                writer.write(frame(flags, SIMPLE, message.id, [("M_pt", "0")], message.fields.body))
        writer.close()


async def answers(reader, count):
    data, found = b"", []
    while len(found) < count:
        try:
            message = WIRE.message(data)
        except EOFError:
            chunk = await reader.read(65536)
            assert chunk, "the proxy closed the connection"
            data += chunk
            continue
        found.append(data[: message.size])
        data = data[message.size :]
    assert data == b""
    return found


def through_a_proxy(tmp_path, sent, count, more=""):
    """What comes back for these bytes from a proxy with a route for demo.*, and what the server saw."""

    async def run():
        handler = Server()
        server = await streams.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        config = tmp_path / "proxy.yaml"
        config.write_text(f"""
listeners:
  - {{name: in, bind: "127.0.0.1:0", protocol: motan, routes: main{", filters: [change]" if more else ""}}}
routes:
  - name: main
    rules:
      - {{match: {{service: "demo.*"}}, cluster: servers}}
clusters:
  - {{name: servers, endpoints: ["127.0.0.1:{port}"], max_connections: 1}}
{more}
""")
        async with protokit.Proxy(str(config)) as proxy:
            reader, writer = await streams.open_connection(*proxy.addresses["in"])
            writer.write(sent)
            found = await answers(reader, count)
            writer.close()
            await writer.wait_closed()
        server.close()
        return found, handler.seen

    return streams.run(run(), 30)


def test_an_answer_to_a_one_way_message_goes_nowhere(tmp_path):
    log = frame(ONEWAY, SIMPLE, 5, [("M_p", "demo.Log"), ("M_m", "note")], simple("x"))
    call = frame(0, SIMPLE, 5, CALL, simple("Ada"))
    found, seen = through_a_proxy(tmp_path, log + call, 1)
    assert found == [frame(RESPONSE, SIMPLE, 5, [("M_pt", "0")], simple("Ada"))]
    assert [message.kind for message in seen[:2]] == ["oneway", "request"]


@pytest.mark.parametrize("flag", [0, PROXY])
def test_a_caller_gets_its_error_as_json(tmp_path, flag):
    service = 'no."such"\\' * 100
    found, _ = through_a_proxy(tmp_path, frame(flag, 2, 2**63 + 3, [("M_p", service), ("M_m", "hello")]), 1)
    key, text = WIRE.message(found[0]).fields.meta.decode().split("\n")
    error = json.loads(text)
    assert key == "M_e"
    assert (error["errcode"], error["errtype"]) == (10101, 1)
    assert 'no."such"' in error["errmsg"]
    # The header: an answer in the serialization of the request, under its id, from an agent to an agent.
    assert found[0][:13] == frame(RESPONSE | flag, 2, 2**63 + 3, status=1)[:13]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("f1f1100808", "f1f1110808"), ("f1f1120830", "f1f1130830")],
    ids=["Java", "agent"],
)
def test_a_heartbeat_is_answered_in_its_form(tmp_path, asked, answered):
    rest = (77).to_bytes(8, "big") + bytes(8)
    found, _ = through_a_proxy(tmp_path, bytes.fromhex(asked) + rest, 1)
    assert found == [bytes.fromhex(answered) + rest]


FILTER = """
from protokit import Filter, hookimpl

class Change(Filter):
    async def request(self, request):
        request.group = "west"
        request.headers["trace"] = {value!r}

@hookimpl
def protokit_filters():
    return {{"change": lambda options: Change()}}
"""


def changed(tmp_path, value):
    plugin = tmp_path / "change.py"
    plugin.write_text(FILTER.format(value=value))
    call = frame(0, SIMPLE, 6, [*CALL, ("M_g", "east"), ("group", "east")], simple("Ada"))
    return through_a_proxy(tmp_path, call, 1, more=f"plugins: [{plugin}]")


def test_a_filter_changes_the_meta(tmp_path):
    _, seen = changed(tmp_path, "t-18")
    meta = [*CALL, ("M_g", "west"), ("group", "east"), ("trace", "t-18")]
    sent = seen[0].fields
    assert bytes(sent.meta) == "\n".join(part for pair in meta for part in pair).encode()
    assert bytes(sent.body) == simple("Ada")


def test_a_filter_cannot_break_a_line(tmp_path):
    found, seen = changed(tmp_path, "t\nM_m\nother")
    assert json.loads(WIRE.message(found[0]).fields.meta.decode().split("\n")[1])["errcode"] == 20001
    assert not any(message.kind == "request" for message in seen)


@pytest.mark.parametrize("note", ["line 1\nline 2", "line 1\nline 2\nline 3", "\n"])
def test_an_attachment_with_line_breaks_is_read_as_java_reads_it_and_passed_on(tmp_path, note):
    """Java takes pairs from the front and leaves an odd rest."""
    call = frame(0, SIMPLE, 6, [*CALL, ("note", note), ("trace", "t")], simple("Ada"))
    request = native.request(WIRE.address, call)
    assert (request.service, request.method) == ("demo.Greeter", "hello")
    assert request.headers["note"] == note.split("\n")[0]
    found, seen = through_a_proxy(tmp_path, call, 1)
    assert WIRE.message(found[0]).status.name == "OK"
    assert bytes(seen[0].fields.meta) == bytes(WIRE.message(call).fields.meta)
