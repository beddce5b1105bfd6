"""A real Motan client calls a real server over Motan2 through the proxy; asserted is what the client got.

With PROTOKIT_INTEROP_DIRECT=1 they call each other without the proxy: proves peers and expectations.
"""

from __future__ import annotations

import os

import peers
import pytest
from peers import need

pytestmark = pytest.mark.interop
DIRECT = os.environ.get("PROTOKIT_INTEROP_DIRECT") == "1"
SERVICE_EXCEPTION = "com.weibo.api.motan.exception.MotanServiceException#"
# Of an exception of the service's own Java gets the message, behind words of its own.
THROWN = f"{SERVICE_EXCEPTION}10001: * org err:not today, *error_code: 30001,"
VALUES = {
    "hello": "hello Zürich 🚀",
    "add": str(2 + (1 << 40)),
    "bytes": "true",
    "big": "1048576 abv",
    "nul": "null",
    "nothing": "done",
    "attachment": "t-17",
    "group": "hello x of east",
    "many": "200",
    "idle": "hello again",
}
# What the proxy says by itself: exception, code and reason inside the client.
SAID = {
    "missing": ("ServiceException", 10101, "protokit: no route on listener 'in' for service 'demo.Missing'"),
    "timeout": ("ServiceException", 10003, "protokit: no answer from 127.0.0.1:"),
    "hello": ("ServiceException", 503, "not for you"),
    "gone": ("FrameworkException", 1001, "protokit: no endpoint can be reached"),
}
DENY = """
from protokit import Filter, Response, Status, hookimpl

class Deny(Filter):
    def __init__(self, options):
        pass

    async def request(self, request):
        return Response(Status.DENIED, "not for you")

@hookimpl
def protokit_filters():
    return {"deny": Deny}
"""


@pytest.fixture
def proxied(proxy):
    """Call it with a provider's port for a proxy before it; nothing where peers call each other."""

    def start(port: int, **more):
        if DIRECT:
            return None
        called = {"match": {"service": "demo.MotanService", "version": "1.0"}, "cluster": "all"}
        limited = {"match": {**called["match"], "method": "slow"}, "cluster": "all", "timeout": "200ms"}
        listener = {"name": "in", "bind": "127.0.0.1:0", "protocol": "motan", "routes": "r"}
        return proxy(
            port, **{"listeners": [listener], "routes": [{"name": "r", "rules": [limited, called]}], **more}
        )

    return start


def said(text: str, wanted: str) -> bool:
    """Whether the parts between the stars are there, in that order."""
    at = 0
    for part in wanted.split("*"):
        at = text.find(part.strip(), at) + len(part.strip())
        if at < len(part.strip()):
            return False
    return True


@pytest.mark.parametrize("client", peers.MOTAN_CONSUMERS)
def test_every_call_comes_out_as_without_a_proxy(provider, proxied, client):
    need(client)
    up = provider("motan-provider").port
    one = proxied(up)
    found = peers.consume(client, one.port if one else up, *VALUES, "fail", "crash")
    for case, value in VALUES.items():
        assert found[case] == ("value", value), case
    for case in ("fail", "crash"):
        assert found[case][0] == "raised"
        assert said(found[case][1], THROWN), found[case]
    if one:
        stats = one.stats()["workers"][0]
        assert stats["protocol_errors_client"] == stats["protocol_errors_upstream"] == 0


@pytest.mark.parametrize("client", peers.MOTAN_CONSUMERS)
def test_what_the_proxy_says_by_itself_is_raised_with_its_reason(provider, proxied, proxy, client, tmp_path):
    need(client)
    if DIRECT:
        pytest.skip("there is no proxy to say anything")
    (tmp_path / "deny.py").write_text(DENY)
    up = provider("motan-provider").port
    listener = {"name": "in", "bind": "127.0.0.1:0", "protocol": "motan", "cluster": "all"}
    denying = {"listeners": [{**listener, "filters": ["deny"]}], "plugins": [str(tmp_path / "deny.py")]}
    found = peers.consume(client, proxied(up).port, "missing", "timeout")
    found |= peers.consume(client, proxied(up, routes=[], **denying).port, "hello")
    found["gone"] = peers.consume(client, proxied(peers.free_port()).port, "hello")["hello"]
    for case, (name, code, reason) in SAID.items():
        how, text = found[case]
        raised = f"com.weibo.api.motan.exception.Motan{name}#{code}: error_message: {reason}"
        assert (how, text[: len(raised)]) == ("raised", raised), case


def test_a_provider_that_comes_back_is_used_again(proxied, start):
    need("motan-consumer")
    first = start("motan-provider")
    one = proxied(first.port)
    port = one.port if one else first.port
    assert peers.consume("motan-consumer", port, "hello") == {"hello": ("value", VALUES["hello"])}
    first.stop()
    start("motan-provider", first.port)
    assert peers.consume("motan-consumer", port, "hello", "add") == {
        "hello": ("value", VALUES["hello"]),
        "add": ("value", VALUES["add"]),
    }
