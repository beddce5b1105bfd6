"""What a protocol says by itself: relayed greetings lead to one cluster, and errors are answers."""

from __future__ import annotations

import pytest

from protokit import config
from protokit.errors import ConfigErrors

PLUGIN = """
from construct import Bytes, Int8ub, Int32ub, Rebuild, Struct, len_, this
from protokit import Protocol, WireFormat, hookimpl
from protokit.wire import ErrorText, Greeting, Replies

@hookimpl
def protokit_protocols():
    wire = WireFormat(
        Struct(
            "kind" / Int8ub,
            "id" / Int32ub,
            "size" / Rebuild(Int32ub, len_(this.text)),
            "text" / Bytes(this.size),
        ),
        id=this.id,
        mode="pinned",
        response=this.kind == 2,
        greeting=Greeting(when=this.kind == 3, relayed=True),
        replies=Replies(error=lambda status, variant: {"kind": 2, "text": ErrorText()}),
    )
    yield Protocol("sworn", wire)
"""
HEAD = """
plugins: [./sworn.py]
listeners:
  - {name: in, bind: "127.0.0.1:0", protocol: sworn, routes: main}
clusters:
  - {name: a, endpoints: ["127.0.0.1:1"]}
  - {name: b, endpoints: ["127.0.0.1:2"]}
routes:
  - name: main
    rules:
"""
WHY = "clients of 'sworn' greet their server before they ask: listener 'in' has to lead to one cluster"


def errors(text, folder):
    path = folder / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        config.load(path)
    return [f"{e.line}:{e.column}: {e.message}" for e in caught.value.errors if WHY in e.message]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sworn.py").write_text(PLUGIN)
    return tmp_path


def test_rules_that_lead_to_one_cluster_are_right(folder):
    path = folder / "c.yaml"
    path.write_text(HEAD + "      - {match: {service: x}, cluster: a}\n      - {cluster: a, timeout: 1s}\n")
    assert config.load(path).config.routes[0].rules


@pytest.mark.parametrize(
    ("rule", "where", "what"),
    [
        ("{cluster: b}", "12:19", "this rule leads to 'b', the first to 'a'"),
        ("{split: [{cluster: a}]}", "12:17", "here split decides later"),
        ("{cluster: {header: h, of: [a]}}", "12:19", "here a header decides later"),
        ("{cluster: a, subset: {v: {header: v}}}", "12:30", "here subset decides later"),
        ("{reply: {status: denied, text: no}}", "12:17", "here reply decides later"),
    ],
)
def test_a_rule_that_leads_elsewhere_is_named(folder, rule, where, what):
    text = HEAD + f"      - {{match: {{service: x}}, cluster: a}}\n      - {rule}\n"
    (found,) = errors(text, folder)
    assert found.startswith(f"{where}: ")
    assert found.endswith(what)


def test_filters_of_the_listener_are_named(folder):
    text = HEAD.replace("routes: main}", "routes: main, filters: [log]}") + "      - {cluster: a}\n"
    (found,) = errors(text, folder)
    assert found.startswith("4:")
    assert found.endswith("here filters decide later")


@pytest.mark.parametrize("listener", ["protocol: [sworn, mail]", "protocol: sworn, fallback: a"])
def test_where_servers_speak_first_clients_have_a_listener_of_their_own(folder, listener):
    """They say nothing by which they could be told from others, and would wait for ever."""
    (folder / "sworn.py").write_text(
        PLUGIN.replace("relayed=True", 'relayed=True, first="server"') + '    yield Protocol("mail", wire)\n'
    )
    path = folder / "c.yaml"
    path.write_text(HEAD.replace("protocol: sworn", listener) + "      - {cluster: a}\n")
    with pytest.raises(ConfigErrors, match="with 'sworn' the server speaks first, so its clients cannot be"):
        config.load(path)


def test_a_protocol_whose_errors_are_requests_is_refused(folder):
    (folder / "sworn.py").write_text(PLUGIN.replace('{"kind": 2, "text"', '{"kind": 1, "text"'))
    path = folder / "c.yaml"
    path.write_text(HEAD + "      - {cluster: a}\n")
    with pytest.raises(ConfigErrors) as caught:
        config.load(path)
    (error,) = caught.value.errors
    assert (error.line, error.message.split(":")[0]) == (4, "protocol 'sworn'")
    assert "the error reply of NO_SERVICE is read as a request, not as a response" in error.message
