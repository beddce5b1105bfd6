"""What a configuration asks of its listeners' protocols: which there are, and what each of them has not."""

from __future__ import annotations

from pathlib import Path

import pytest
from configured import GOOD, errors

from protokit import config

HEADLESS = "requests have no headers in a protocol that this rule is for ('posted'); ask for service, method"


@pytest.mark.parametrize(
    ("match", "places"),
    [
        ("{listener: in, headers: {a: b}}", ["11:40"]),
        ("{protocol: posted, headers: {a: {present: false}}}", ["11:44"]),
        ("{any: [{headers: {a: b}}, {not: {headers: {a: b}}}], listener: in}", ["11:33", "11:58"]),
        ("{all: [{listener: more, headers: {a: b}}], protocol: posted}", ["11:49"]),
        ("{headers: {a: b}}", []),
        ("{headers: {a: b}, protocol: dubbo}", []),
        ("{headers: {a: b}, listener: more}", []),
        ("{service: a, protocol: posted}", []),
    ],
)
def test_headers_of_a_protocol_that_has_none_are_refused(tmp_path, match, places):
    """Where a rule is for no client whose requests could have any."""
    page = (Path(__file__).parents[2] / "examples" / "formats" / "nshead.py").read_text()
    (tmp_path / "mail.py").write_text(page.replace('"nshead"', '"posted"'))
    text = GOOD.replace("dubbo", "posted").replace("clusters:", "plugins: [./mail.py]\nclusters:", 1)
    more = "  - {name: more, bind: 127.0.0.1:0, protocol: [posted, dubbo], routes: main}\n"
    text = text.replace("routes:\n", f"{more}routes:\n", 1)
    text = text.replace("{service: com.example.Demo, method: say*, version: 1.0, group: no}", match)
    (tmp_path / "c.yaml").write_text(text)
    if places:
        found = errors(text, tmp_path)
        assert [":".join(one.split(":")[:2]) for one in found] == places
        assert all(HEADLESS in one for one in found)
    else:
        config.load(tmp_path / "c.yaml")


NEEDS = """
plugins: [./mail.py]
listeners:
  - {name: bare, bind: "127.0.0.1:0", protocol: posted, routes: main}
  - {name: rich, bind: "127.0.0.1:0", protocol: dubbo, routes: main}
clusters:
  - {name: a, endpoints: [{address: "127.0.0.1:1", metadata: {v: "1"}}]}
routes:
  - name: main
    rules:
      - {match: {listener: LISTENER}, MORE}
      - {cluster: a}
"""


NEED_HEADERS = [  # > stands before the place
    "cluster: >{header: h, of: [a]}",
    "cluster: a, subset: {v: >{header: h}}",
    "split: [{cluster: a, subset: {v: >{header: h}}}]",
    "split: [{cluster: a}], sticky: >{header: h}",
    "cluster: a, limit: {rate: 1/s, by: >{header: h}}",
    "cluster: a, limit: {rate: 1/s, by: [source, >{header: h}]}",
    "cluster: a, fault: {header: >h, abort: {status: denied}}",
    "cluster: a, fault: {asked: >{header: h, key: 0123456789abcdef}}",
    "cluster: a, set: {headers: >{a: b}}",
    "cluster: a, set: {append: >{a: b}}",
    "cluster: a, set: {remove: >[a]}",
    "cluster: a, set: {service: >{header: h}}",
]


@pytest.mark.parametrize("more", NEED_HEADERS)
def test_what_needs_headers_is_refused_where_there_are_none(tmp_path, more):
    page = (Path(__file__).parents[2] / "examples" / "formats" / "nshead.py").read_text()
    (tmp_path / "mail.py").write_text(page.replace('"nshead"', '"posted"'))
    column = len("      - {match: {listener: bare}, ") + more.index(">") + 1
    text = NEEDS.replace("MORE", more.replace(">", ""))
    (found,) = errors(text.replace("LISTENER", "bare"), tmp_path)
    assert found.startswith(f"11:{column}: ")
    assert HEADLESS.partition(";")[0] in found
    for right in ("rich", "[bare, rich]"):
        (tmp_path / "c.yaml").write_text(text.replace("LISTENER", right))
        config.load(tmp_path / "c.yaml")


@pytest.mark.parametrize("more", NEED_HEADERS)
def test_what_needs_headers_is_refused_where_the_engine_sees_none(tmp_path, more):
    """Of codecs in Python; what only changes them is done in Python."""
    page = (Path(__file__).parents[1] / "toy" / "sized.py").read_text()
    (tmp_path / "mail.py").write_text(page.replace('"sized"', '"posted"'))
    column = len("      - {match: {listener: bare}, ") + more.index(">") + 1
    text = NEEDS.replace("MORE", more.replace(">", ""))
    if ", set: " in more:
        (tmp_path / "c.yaml").write_text(text.replace("LISTENER", "bare"))
        config.load(tmp_path / "c.yaml")
        return
    (found,) = errors(text.replace("LISTENER", "bare"), tmp_path)
    assert found.startswith(
        f"11:{column}: the engine sees no headers of requests in a protocol that this rule is for ('posted')"
    )
    for right in ("rich", "[bare, rich]"):
        (tmp_path / "c.yaml").write_text(text.replace("LISTENER", right))
        config.load(tmp_path / "c.yaml")


def test_a_match_by_headers_of_a_codec_in_python_is_refused(tmp_path):
    page = (Path(__file__).parents[1] / "toy" / "sized.py").read_text()
    (tmp_path / "mail.py").write_text(page.replace('"sized"', '"posted"'))
    text = NEEDS.replace("{listener: LISTENER}, MORE", "{not: {headers: {a: b}}, listener: bare}, cluster: a")
    (found,) = errors(text, tmp_path)
    assert found == (
        "11:33: the engine sees no headers of requests in a protocol that this rule is for ('posted');"
        " ask for service, method, version or group"
    )


def test_the_address_is_refused_only_where_its_rule_is_reached(tmp_path):
    page = (Path(__file__).parents[2] / "examples" / "formats" / "kafka.py").read_text()
    (tmp_path / "mail.py").write_text(page.replace('"kafka"', '"posted"'))
    text = NEEDS.replace("MORE", 'cluster: a, set: {method: "{source}"}')
    for listener in ("bare", "[bare, rich]"):
        (found,) = errors(text.replace("LISTENER", listener), tmp_path)
        assert "method of 'posted' (listener 'bare')" in found
    (tmp_path / "c.yaml").write_text(text.replace("LISTENER", "rich"))
    config.load(tmp_path / "c.yaml")
    # Of a listener with both, Python writes the changes of both.
    text = text.replace("protocol: posted", "protocol: [posted, dubbo]").replace("listener: L", "protocol: L")
    (found,) = errors(text.replace("LISTENER", "dubbo"), tmp_path)
    assert "does not know the address" in found


@pytest.mark.parametrize(
    ("protocol", "says"),
    [
        ("bolt", None),
        ("[dubbo, bolt]", None),
        ("auto", None),
        ("dubbo", "'dubbo' tells its clients anyway"),
        ("[motan, dubbo]", "'motan' has no signal to go elsewhere, 'dubbo' tells its clients anyway"),
    ],
)
def test_where_goaway_does_nothing_is_a_warning(tmp_path, protocol, says):
    path = tmp_path / "c.yaml"
    text = GOOD.replace("protocol: dubbo", f"protocol: {protocol}\n    goaway: GOAWAY")
    path.write_text(text.replace("GOAWAY", "true"))
    loaded = config.load(path)
    assert loaded.config.listeners[0].goaway
    where = f"{path}:6:13: goaway does nothing here: "
    assert [str(one) for one in loaded.warnings] == ([where + says] if says else [])
    path.write_text(text.replace("GOAWAY", "false"))
    assert config.load(path).warnings == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("auto", ["bolt", "dubbo"]),
        ("[dubbo, bolt]", ["dubbo", "bolt"]),
        ("[dubbo, auto]", ["dubbo", "bolt"]),
        ("[auto, bolt]", ["dubbo", "bolt"]),
        ("dubbo", ["dubbo"]),
    ],
)
def test_auto_stands_for_what_is_not_named_in_the_order_of_names(tmp_path, monkeypatch, written, expected):
    monkeypatch.setenv("PROTOKIT_PLUGINS", "dubbo bolt")
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("protocol: dubbo", f"protocol: {written}"))
    assert list(config.load(path).protocols["in"]) == expected
