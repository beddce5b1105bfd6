"""The configuration: what it reads, and what it says about mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from protokit import config
from protokit.config import defaults, schema
from protokit.config.document import Document, read
from protokit.config.jsonschema import json_schema
from protokit.config.scalars import Address, Duration, Pattern, Size
from protokit.errors import ConfigError, ConfigErrors

GOOD = """
listeners:
  - name: in
    bind: 127.0.0.1:0
    protocol: dubbo
    routes: main
routes:
  - name: main
    rules:
      - match: {service: com.example.Demo, method: say*, version: 1.0, group: no}
        cluster: a
        timeout: 1.5s
        retry: {attempts: 3, on: [reset], idempotent: true}
      - match: {service: 20:30}
        split:
          - {cluster: a, weight: 9}
          - {cluster: b}
clusters:
  - name: a
    endpoints: [127.0.0.1:1, {address: "[::1]:2", weight: 5, metadata: {zone: a, on: 1}}]
  - name: b
    endpoints: [127.0.0.1:3]
    balance: least-request
"""


def errors(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        config.load(path)
    return [f"{e.line}:{e.column}: {e.message}" for e in caught.value.errors]


def test_values_mean_what_they_look_like(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    loaded = config.load(path).config
    first, second = loaded.routes[0].rules
    assert (first.match.version, first.match.group, second.match.service) == ("1.0", "no", "20:30")
    assert (first.timeout, first.retry.on, first.retry.idempotent) == (1500, ["reset"], True)
    endpoint = loaded.clusters[0].endpoints[1]
    assert (endpoint.address.host, endpoint.address.port, endpoint.metadata) == (
        "::1",
        2,
        {"zone": "a", "on": 1},
    )


CASES = [
    ("protocol: dubbo", "protocol: dubo", "5:15: protocol 'dubo' is not installed"),
    (
        "protocol: dubbo",
        "protocl: dubbo",
        "5:5: unknown key 'protocl' in listeners; did you mean 'protocol'?",
    ),
    ("routes: main", "routes: mian", "6:13: there is no route table 'mian'; did you mean 'main'?"),
    ("cluster: b}", "cluster: bb}", "17:23: there is no cluster 'bb'; did you mean"),
    ("timeout: 1.5s", "timeout: 15", "12:18: timeout: expected a duration like 500ms, 5s or 10m, got '15'"),
    ("bind: 127.0.0.1:0", "bind: 127.0.0.1", "4:11: bind: expected an address like"),
    ("attempts: 3", "attempts: yes", "13:27: attempts: expected a whole number"),
    (
        "idempotent: true",
        "idempotent: yes",
        "13:55: idempotent: expected true or false, got 'yes'; write true",
    ),
    (
        "on: [reset]",
        "on: [rest]",
        "13:35: on: expected one of connect-failure, reset, overloaded, timeout, got 'rest'",
    ),
    ("method: say*", "method: s*y", "10:52: method: expected a text, a prefix like com.example.*, or *"),
    ("name: main", "name: main\n    name: other", "9:5: the key 'name' stands here twice, first at line 8"),
    (
        "balance: least-request",
        "balance: least",
        "23:14: balance: expected one of round-robin, least-request",
    ),
    ("name: b\n", "name: a\n", "21:11: the name 'a' is taken already in clusters"),
    (
        "{service: 20:30}",
        "{service: com.example.Demo, method: sayHello, version: 1.0, group: no}",
        "14:9: this rule is never reached: rule 1 of 'main' matches all it does",
    ),
    ("endpoints: [127.0.0.1:3]", "endpoints: []", "22:16: cluster 'b' has no endpoint"),
    (
        "endpoints: [127.0.0.1:3]",
        "endpoints: [{address: 127.0.0.1:3, weight: 0}]",
        "the weights of cluster 'b' are all 0",
    ),
    ("        cluster: a\n", "", "10:9: give either cluster or split"),
    ("    rules:", "    rules: {", "not YAML:"),
    ("routes: main", "routes: main\n    cluster: a", "give either routes or cluster"),
    ("clusters:", "workers: 0\nclusters:", "18:10: workers: expected 1 to 64"),
    ("clusters:", "limits: {buffer: 1MiB}\nclusters:", "18:18: buffer: expected room for one frame"),
    ("protocol: dubbo", "protocol: [dubbo, auto, dubbo]", "5:29: protocol 'dubbo' stands here twice"),
    (
        "protocol: dubbo",
        "protocol: []",
        "5:15: protocol: expected a name, a list of names, or auto; none at all",
    ),
    ("protocol: dubbo", "protocol: []\n    fallback: a", "3:5: without a protocol only the fallback is used"),
    ("routes: main", "routes: main\n    fallback: aa", "7:15: there is no cluster 'aa'; did you mean 'a'?"),
    ("routes: main", "routes: main\n    filters: [nope]", "there is no filter 'nope'"),
    ("clusters:", "plugins: [./none.py]\nclusters:", "is not a Python file that can be read"),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES, ids=[case[1].strip()[:30] for case in CASES])
def test_a_mistake_is_found_where_it_stands(tmp_path, old, new, expected):
    assert GOOD.count(old) >= 1
    found = errors(GOOD.replace(old, new, 1), tmp_path)
    assert any(expected in one for one in found), found


def test_all_mistakes_are_reported_at_once(tmp_path):
    text = (
        GOOD.replace("timeout: 1.5s", "timeout: x")
        .replace("weight: 9", "wieght: 9")
        .replace("127.0.0.1:3", "y")
    )
    assert [one.split(":")[0] for one in errors(text, tmp_path)] == ["12", "16", "22"]


def test_mistakes_in_the_shape_do_not_hide_those_of_meaning(tmp_path):
    text = (
        GOOD.replace("timeout: 1.5s", "timeout: x")
        .replace("routes: main", "routes: mian\n    nonsense: 1", 1)
        .replace("clusters:", "workers: 0\nclusters:")
    )
    found = errors(text, tmp_path)
    assert [one.split(":")[0] for one in found] == ["6", "7", "13", "19"], found
    assert "there is no route table 'mian'; did you mean 'main'?" in found[0]
    assert "workers: expected 1 to 64" in found[3]


def test_a_match_with_an_unknown_key_is_not_taken_for_one_without_it(tmp_path):
    found = errors(GOOD.replace("method: say*", "methd: say*"), tmp_path)
    assert len(found) == 1
    assert "did you mean 'method'?" in found[0]


def test_ports_that_clash(tmp_path):
    text = GOOD.replace("127.0.0.1:0", "127.0.0.1:7000") + "admin: {bind: 0.0.0.0:7000}\n"
    assert "admin and listener 'in' both want port 7000" in errors(text, tmp_path)[0]


def test_what_is_unused_is_a_warning(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "  - {name: spare, endpoints: [127.0.0.1:9]}\n")
    assert [str(one) for one in config.load(path).warnings] == [
        f"{path}:24:5: no route leads to cluster 'spare'"
    ]


def test_a_retry_on_timeout_says_what_it_cannot_do(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("on: [reset], idem", "on: [reset, timeout], idem"))
    (warning,) = (str(one) for one in config.load(path).warnings)
    assert warning.startswith(f"{path}:13:42: timeout: only an answer that says so is tried again")


def test_files_that_are_no_files(tmp_path):
    with pytest.raises(ConfigErrors, match="cannot be read: No such file"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigErrors, match="UTF-8|not YAML"):
        config.load(tmp_path / "b")
    assert "the file is empty" in errors("", tmp_path)[0]


def test_anchors_that_multiply_are_stopped(tmp_path):
    bomb = "x0: &x0 [1,1,1,1,1,1,1,1,1,1]\n"
    bomb += "".join(f"x{i}: &x{i} [{','.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 10))
    text = bomb + GOOD.replace("metadata: {zone: a, on: 1}", "metadata: {bomb: *x9}")
    assert any("anchors that multiply" in one for one in errors(text, tmp_path))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="[]{}:,-&*!|>'\"\n #ab01", max_size=60))
def test_any_text_gives_a_config_or_a_config_error(text):
    try:
        read(Document(text, "f"))
    except ConfigError as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text))
def test_a_quoted_text_comes_back_as_it_was(name):
    shape = {"listeners": [], "clusters": [{"name": name, "endpoints": []}]}
    config_read, mistakes = read(Document(yaml.safe_dump(shape), "f"))
    assert (config_read.clusters[0].name, mistakes) == (name, [])


@given(st.integers(0, 2**31 - 1))
def test_durations(ms):
    assert Duration.parse(f"{ms}ms") == ms
    assert Duration.parse("1.5s") == 1500


@pytest.mark.parametrize("text", ["", "5", "-1s", "1e3s", "5 s", "9999999h", "٣s"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="expected a duration"):
        Duration.parse(text)


def test_sizes_and_addresses():
    assert [Size.parse(t) for t in ("7", "64KiB", "8 MiB", "1GB")] == [7, 65536, 8 << 20, 10**9]
    assert (Address.parse("[::1]:80").host, Address.parse("localhost:80").port) == ("::1", 80)
    for text in ("::1:80", "a:b", "a:99999", "a b:1", ""):
        with pytest.raises(ValueError, match="expected an address"):
            Address.parse(text)


@given(st.text("ab*", max_size=4), st.text("ab", max_size=4))
def test_a_pattern_covers_what_matches_less(text, value):
    try:
        pattern = Pattern.parse(text)
    except ValueError:
        return
    matches = value.startswith(text[:-1]) if text.endswith("*") else value == text
    assert pattern.covers(value) == matches


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


def test_the_json_schema_knows_every_key():
    found = json_schema()
    assert set(found["properties"]) == set(schema.Config.__struct_fields__)
    assert found["additionalProperties"] is False
    assert found["required"] == ["listeners", "clusters"]
    assert found["properties"]["listeners"]["items"]["properties"]["mode"] == {"enum": ["shared", "pinned"]}


def test_the_documented_defaults_are_the_ones_in_force():
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `((?:limits|timeouts|drain)\.\w+)` \| `([^`]+)`", page, re.MULTILINE))
    expected = {f"limits.{name}": value for name, value in defaults.LIMITS.items()}
    expected |= {f"timeouts.{name}": value for name, value in defaults.TIMEOUTS.items()}
    expected |= {f"drain.{name}": value for name, value in defaults.DRAIN.items()}
    parsed = {}
    for name, text in rows.items():
        parsed[name] = Size.parse(text) if name.startswith("limits") else Duration.parse(text)
    assert parsed == expected
