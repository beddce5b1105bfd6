"""The configuration: what it reads, and what it says about mistakes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from configured import GOOD, errors

from protokit import config
from protokit.config import schema
from protokit.config.document import Document
from protokit.config.scalars import Secret
from protokit.errors import ConfigErrors


def test_values_mean_what_they_look_like(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    loaded = config.load(path).config
    first, second = loaded.routes[0].rules
    assert (first.match.version, first.match.group, second.match.service) == ("1.0", "no", "20:30")
    assert (first.timeout.usual, first.timeout.most, first.timeout.pass_on) == (1500, 1500, False)
    assert (first.retry.on, first.retry.idempotent) == (("reset",), True)
    endpoint = loaded.clusters[0].endpoints[1]
    assert (endpoint.address.host, endpoint.address.port, endpoint.metadata) == (
        "::1",
        2,
        {"zone": "a", "on": "1"},
    )


NO_KEY = "expected service, method, source, {header: NAME} or {argument: 0 to 999}"
MATCH = [field.encode_name for field in msgspec.structs.fields(schema.Match)]
CASES = [
    # What a resolver would make another address of, or nothing.
    *(
        ("127.0.0.1:3", f"{host}:3", f"{place}: an endpoint: expected an address like")
        for host in (
            "256.1.1.1",
            "10.0.0",
            "1",
            "010.0.0.1",
            "127.0.0.1.",
            "0x7f.1",
            "a.0x1",
            "7.7.7.7.7",
            "..",
        )
        for place in ["22:17"]
    ),
    ("127.0.0.1:3", f"{'a' * 64}.test:3", "a name's parts have 1 to 63 characters"),
    ("bind: 127.0.0.1:0", "bind: 127.0.1:0", "4:11: bind: expected an address like"),
    # A template whose value is empty: without what narrows it would be for more than is meant.
    ("match: {service: 20:30}", "match:", "14:15: match: expected what it asks for, got nothing"),
    ("match: {service: 20:30}", "match: {service: }", "14:26: service: expected what it asks for, got"),
    ("match: {service: 20:30}", "match: {service: ~}", "14:26: service: expected what it asks for, got"),
    *(
        (
            "match: {service: 20:30}",
            f"match: {{{around}{key}: null{after}}}",
            f"{key}: expected what it asks for, got nothing",
        )
        for key in MATCH
        for around, after in [("", ""), ("not: {", "}"), ("any: [{", "}]")]
    ),
    ("routes: main", "routes: main\n    allow:", "7:11: allow: expected what it asks for, got nothing"),
    ("routes: main", "routes: main\n    deny: null", "7:11: deny: expected what it asks for, got nothing"),
    (
        "routes: main",
        "routes: main\n    dry_run: {deny: [{service: x}], allow: ~}",
        "allow: expected what it asks for, got nothing",
    ),
    ("cluster: a\n", "cluster: a\n        subset:\n", "subset: expected what it asks for, got nothing"),
    # Headers without a name, and keys that are none.
    *(
        ("cluster: a\n", f"cluster: {what}\n", "expected the name of a header, got nothing")
        for what in (
            'a\n        fault: {header: "", abort: {status: denied}}',
            'a\n        subset: {zone: {header: ""}}',
            'a\n        set: {headers: {x: {header: ""}}}',
            'a\n        limit: {rate: 1/s, by: {header: ""}}',
            '{header: "", of: [a, b]}',
        )
    ),
    *(
        ("cluster: a\n", f"cluster: a\n        {what}\n", "expected a name, got nothing")
        for what in (
            'set: {headers: {"": x}}',
            'set: {append: {"": x}}',
            'set: {answer: {headers: {"": x}}}',
            'subset: {"": x}',
        )
    ),
    ("service: 20:30", 'headers: {"": x}', "headers: expected a name, got nothing"),
    # A tag is for somebody else, who has not seen to it.
    ("cluster: a\n", "cluster: !vault a\n", "11:18: the tag !vault means nothing here: write the value"),
    ("service: 20:30", "!!binary service: 20:30", "14:17: the tag tag:yaml.org,2002:binary means nothing"),
    ("clusters:", "clusters: !include", "the tag !include means nothing here"),
    ("- name: b", "- !!python/object:os.system\n    name: b", "means nothing here"),
    ("clusters:", "plugins: [duboo]\nclusters:", "plugin 'duboo' is not installed (bolt, "),
    ("clusters:", "plugins: [dubbo, duboo]\nclusters:", "18:18: plugin 'duboo' is not installed"),
    ("clusters:", "plugins: [duboo]\nclusters:", "and no file: those end in .py; did you mean 'dubbo'?"),
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
        "13:35: on: expected one of connect-failure, reset, overloaded, timeout, unavailable, no-service,",
    ),
    ("method: say*", "method: {regex: s(}", "10:60: regex: expected a regular expression: missing )"),
    ("method: say*", "method: {regexp: s}", "10:53: unknown key 'regexp' in method; did you mean 'regex'?"),
    (
        "method: say*",
        "method: {}",
        "10:52: expected one of exact, prefix, suffix, in, regex, range, present, got 0",
    ),
    (
        "method: say*",
        "method: {in: [a], present: true}",
        "10:52: expected one of exact, prefix, suffix, in, ",
    ),
    ("method: say*", "method: {in: []}", "10:57: in: expected one value at least"),
    ("method: say*", "method: {range: [2, 1]}", "10:60: range: expected the first and the last number"),
    ("method: say*", "method: {range: [2]}", "10:60: range: expected the first and the last number"),
    ("method: say*", "method: {range: [2, x]}", "10:64: range: expected a whole number"),
    ("method: say*", "headers: {a: [b]}", "10:57: a: expected a text, with * for anything, got a list"),
    ("method: say*", "oneway: yes", "10:52: oneway: expected true or false, got 'yes'; write true"),
    (
        "method: say*",
        "source: 10.1.0.0/8",
        "or an address: 10.1.0.0 is in the network 10.0.0.0/8; write that, or 10.1.0.0 alone, got '10.1",
    ),
    ("method: say*", "source: [10.0.0.0/8, 10/8]", "10:65: source: expected a network like"),
    ("method: say*", 'source: "fd00::1/8"', "fd00::1 is in the network fd00::/8; write that, or"),
    ("method: say*", "source: 10.0.0.0/33", "10:52: source: expected a network like"),
    ("method: say*", "source: 10.0.0.0/255.0.0.0", "10:52: source: expected a network like"),
    ("method: say*", 'source: "::/129"', "or an address, with 128 bits at most, got '::/129'"),
    ("method: say*", "source: localhost", "10:52: source: expected a network like"),
    ("method: say*", 'source: "fe80::1%eth0"', "10:52: source: expected a network like"),
    ("method: say*", "source: []", "10:52: source: expected one at least; without source a match is for all"),
    ("method: say*", "not: {listener: inn}", "10:60: there is no listener 'inn'; did you mean 'in'?"),
    ("method: say*", "any: [{listener: [in, out]}]", "10:66: there is no listener 'out'; "),
    ("method: say*", "all: [{protocol: bolt}]", "10:61: no listener speaks 'bolt'; they speak dubbo"),
    ("method: say*", "protocol: [dubbo, dubb]", "10:62: no listener speaks 'dubb'; did you mean 'dubbo'?"),
    ("method: say*", "any: []", "10:49: any: expected one match at least; none of none holds, so that"),
    ("method: say*", "not: {all: []}", "10:55: all: expected one match at least; all of none would hold"),
    ("method: say*", "protocol: {a: b}", "10:54: protocol: expected a single value, got a mapping"),
    ("name: main", "name: main\n    name: other", "9:5: the key 'name' stands here twice, first at line 8"),
    (
        "balance: least-request",
        "balance: least",
        "23:14: balance: expected one of round-robin, least-request",
    ),
    (
        "balance: least-request",
        "balance: maglev",
        "23:14: balance: maglev needs to know what keeps requests together: add hash: service, method",
    ),
    (
        "balance: least-request",
        "balance: random\n    hash: source",
        "24:11: hash does nothing with balance: random; it is for ring-hash and maglev",
    ),
    (
        "balance: least-request",
        "balance: maglev\n    hash: body",
        "24:11: hash: expected service, method, source, {header: NAME} or {argument: 0 to 999}, got 'body'",
    ),
    (
        "balance: least-request",
        "balance: maglev\n    hash: {headers: user}",
        "24:12: unknown key 'headers' in hash; did you mean 'header'?",
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
    ("        cluster: a\n", "", "10:9: give one of cluster, split and reply"),
    (
        "        cluster: a\n",
        "        cluster: a\n        reply: {status: denied}\n",
        "10:9: give one of cluster, split and reply",
    ),
    (
        "        cluster: a\n",
        "        reply: {status: ok}\n",
        "status: expected one of no-service, bad-request, timeout, overloaded",
    ),
    (
        "        cluster: a\n",
        "        reply: {status: denied}\n",
        "a rule with reply sends nothing on: timeout",
    ),
    (
        "        cluster: a\n",
        f"        reply: {{status: denied, text: {'x' * 501}}}\n",
        "the text has 501 bytes, at most 500 are sent",
    ),
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
    (
        "routes: main",
        "routes: main\n    filters: [nope]",
        "7:15: there is no filter 'nope' (known: none); plugins: names the file that brings it",
    ),
    (
        "routes: main",
        "routes: main\n    filters: [{[a]: b}]",
        "7:16: expected a key, got a list",
    ),
    ("clusters:", "plugins: [./none.py]\nclusters:", "is not a Python file that can be read"),
    ("clusters:", "limits: {frame: 10B}\nclusters:", "18:17: frame: expected 1KiB to 512MiB, got '10B'"),
    (
        "clusters:",
        "limits: {upstream_in_flight: 100000}\nclusters:",
        "18:30: upstream_in_flight: expected 1 to 4096, got '100000'",
    ),
    ("clusters:", "timeouts: {probe: 0s}\nclusters:", "18:19: probe: expected 1ms to 1h, got '0s'"),
    ("name: b\n", "name: b\n    connect_timeout: 0s\n", "22:22: connect_timeout: expected 1ms to 1h"),
    ("timeout: 1.5s", "timeout: 0s", "12:18: timeout: expected 1ms to 480h, got '0s'"),
    *(
        (
            "timeout: 1.5s",
            f"limit: {{rate: {rate}}}",
            f"12:23: rate: expected a rate {expected}, got '{rate}'",
        )
        for rate, expected in {
            "100": "like 100/s, 5/m or 1000/h",
            "0/s": "like 100/s, 5/m or 1000/h",
            "1.5/s": "like 100/s, 5/m or 1000/h",
            "5/d": "like 100/s, 5/m or 1000/h",
            "1000001/s": "of 1000000/s at most",
            "60000001/m": "of 1000000/s at most",
        }.items()
    ),
    *(
        (
            "timeout: 1.5s",
            f"fault: {{abort: {{status: denied, share: {share}}}}}",
            f"12:48: share: expected a share like 20% or 0.5%, up to 100%, got '{share}'",
        )
        for share in ("10", "101%", "100.1%", "-1%", ".5%", "1/2")
    ),
    (
        "timeout: 1.5s",
        "fault: {abort: {status: denied, share: 0.00001%}}",
        "12:48: share: expected a share with four decimals at most, like 0.0001%, got '0.00001%'",
    ),
    ("timeout: 1.5s", "fault: {}", "12:16: fault: expected delay, abort, both, or asked"),
    ("timeout: 1.5s", "fault: {header: x}", "12:16: fault: expected delay, abort, both, or asked"),
    (
        "timeout: 1.5s",
        f"fault: {{asked: {'k' * 16}}}",
        "12:24: asked: expected a mapping with header, key, most, share, got 16 characters",
    ),
    ("timeout: 1.5s", "fault: {asked: {header: x}}", "12:24: asked: 'key' must be given"),
    ("timeout: 1.5s", f"fault: {{asked: {{key: {'k' * 16}}}}}", "12:24: asked: 'header' must be given"),
    (
        "timeout: 1.5s",
        f"fault: {{asked: {{header: '', key: {'k' * 16}}}}}",
        "12:33: header: expected the name of a header",
    ),
    (
        "timeout: 1.5s",
        f"fault: {{header: h, asked: {{header: x, key: {'k' * 16}}}}}",
        "12:25: header: says who suffers delay or abort, and there is neither",
    ),
    (
        "timeout: 1.5s",
        f"fault: {{asked: {{header: x, key: {'k' * 16}, most: 2h}}}}",
        "12:65: most: expected 1ms to 1h, got '2h'",
    ),
    *(
        (
            "timeout: 1.5s",
            f"fault: {{asked: {{header: x, key: {key!r}}}}}",
            f"12:41: key: expected {Secret.expected}, got {len(key)} characters",
        )
        for key in ("sesame", "k" * 129, "k" * 15 + " ", "k" * 20 + "ä")
    ),
    ("timeout: 1.5s", "fault: {delay: {fixed: 0s}}", "12:32: fixed: expected 1ms to 1h, got '0s'"),
    ("timeout: 1.5s", "fault: {delay: {share: 1%}}", "12:24: delay: 'fixed' must be given"),
    ("timeout: 1.5s", "fault: {abort: {status: ok}}", "12:33: status: expected one of no-service"),
    ("timeout: 1.5s", "limit: {burst: 1}", "12:16: limit: 'rate' must be given"),
    ("timeout: 1.5s", "limit: {rate: 1/s, burst: 0}", "12:35: burst: expected 1 to 1000000, got '0'"),
    ("timeout: 1.5s", "limit: {rate: 1/s, keys: 0}", "12:34: keys: expected 1 to 1000000, got '0'"),
    *(
        (
            "timeout: 1.5s",
            f"limit: {{rate: 1/s, by: {by}}}",
            f"12:{at}: by: {NO_KEY}, got {got}",
        )
        for by, at, got in [
            ("tenant", 32, "'tenant'"),
            ("[method, x]", 41, "'x'"),
            ("[method, [x]]", 41, "a list"),
        ]
    ),
    (
        "timeout: 1.5s",
        "limit: {rate: 1/s, by: {headers: a}}",
        "12:33: unknown key 'headers' in by; did you mean",
    ),
    (
        "timeout: 1.5s",
        "limit: {rate: 1/s, by: [{}]}",
        "12:33: by: expected service, method, source, {header: NAME} or",
    ),
    ("timeout: 1.5s", "limit: {rate: 1/s, by: {header: }}", f"12:32: by: {NO_KEY}, got a mapping"),
    (
        "timeout: 1.5s",
        "limit: {rate: 1/s, by: [service, method, service]}",
        "12:50: by: expected service once at most",
    ),
    (
        "timeout: 1.5s",
        "limit: {rate: 1/s, by: [{header: a}, {header: b}, {header: a}]}",
        "12:59: by: expected a once at most",
    ),
    ("attempts: 3", "attempts: 11", "13:27: attempts: expected 1 to 10, got '11'"),
    ("clusters:", "limits: {client_close: 1KiB}\nclusters:", "18:24: client_close: expected no less than"),
    ("- name: in", '- name: ""', "3:11: expected a name in printable characters, got ''"),
    ("  - name: main", '  - name: "a\\nb"', "8:11: expected a name in printable characters, got"),
    ("  - name: b", '  - name: "b\\t"', r"21:11: expected a name in printable characters, got 'b\t'"),
    ("127.0.0.1:3", "127.0.0.1:3, LOCALHOST:3, localhost:3", "endpoint localhost:3 stands here twice"),
    ('"[::1]:2"', '"[::1]:2"}, {address: "[0:0::1]:2"', "endpoint [0:0::1]:2 stands here twice"),
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("return {'shared': print}", "limiter 'shered' (known: shared); did you mean 'shared'?"),
        ("return {'x': print}", "limiter 'shered' (known: x)"),
        ("return {}", "limiter 'shered' (known: none); plugins: names the file that brings it"),
        ("return 3", ""),  # it might have brought it
    ],
)
def test_a_limiter_that_nobody_brings_is_told_with_those_that_are(tmp_path, text, says):
    plugin, path = tmp_path / "own.py", tmp_path / "c.yaml"
    plugin.write_text(f"import protokit\n@protokit.hookimpl\ndef protokit_limits(): {text}\n")
    limit = "cluster: a\n        limit: {rate: 1/s, ask: {name: shered}}"
    path.write_text(GOOD.replace("cluster: a", limit, 1) + "plugins: [./own.py]\n")
    with pytest.raises(ConfigErrors) as raised:
        config.load(path)
    [error] = [one.message for one in raised.value.errors if "limiter" in one.message or not says]
    assert error == f"there is no {says}" if says else "own.py' cannot be used" in error


def test_a_name_that_a_one_file_plugin_brings_is_proposed(tmp_path):
    (tmp_path / "mail.py").write_text(
        (Path(__file__).parents[2] / "examples" / "formats" / "nshead.py")
        .read_text()
        .replace('"nshead"', '"posted"')
    )
    text = GOOD.replace("clusters:", "plugins: [./mail.py]\nclusters:", 1)
    (found,) = errors(text.replace("protocol: dubbo", "protocol: postd", 1), tmp_path)
    assert found.endswith("did you mean 'posted'?")


def test_a_match_with_an_unknown_key_is_not_taken_for_one_without_it(tmp_path):
    found = errors(GOOD.replace("method: say*", "methd: say*"), tmp_path)
    assert len(found) == 1
    assert "did you mean 'method'?" in found[0]


# What each place, of those that a mistake leaves readable, has wrong. The first makes a shape wrong, too.
MANY = """
listeners:
  - {name: in, bind: nowhere, protocol: [dubo], routes: mian}
  - 5
  - {name: in, bind: 127.0.0.1:7000, protocol: dubbo, clustr: c}
  - {name: low, bind: 127.0.0.1:7000, protocol: dubbo, cluster: nowhere, mode: sharde, filters: [[]]}
routes:
  - name: main
    rules:
      - {match: {service: x}, cluster: [a]}
      - {match: {servic: y}, cluster: b}
      - {match: {service: x}, cluster: b}
      - {match: {service: "*"}, timeout: 0s, retry: {attempts: 0, on: [rest, reset]}}
      - {match: {service: z}, split: [{weight: 1}, {cluster: zz, weight: x}]}
clusters:
  - {name: a, endpoints: [here, 127.0.0.1:0, "127.0.0.1:1", 127.0.0.1:1], connect_timeout: 0s}
  - {name: a, endpoints: []}
  - {endpoints: 7}
  - {name: z, endpoints: [{address: "127.0.0.1:2", weight: 0}], max_connections: 9999}
limits: {frame: 10B, upstream_in_flight: 100000}
workers: 65
"""
WRONG = [
    "3:22: bind: expected an address",
    "3:42: protocol 'dubo' is not installed",
    "3:57: there is no route table 'mian'; did you mean 'main'?",
    "4:5: listeners: expected a mapping",
    "5:12: the name 'in' is taken already",
    "5:55: unknown key 'clustr' in listeners; did you mean 'cluster'?",
    "6:23: listener 'low' and listener 'in' both want port 7000",
    "6:80: mode: expected one of shared, pinned",
    "6:98: filters: expected a filter's name",
    "10:40: cluster: expected a single value",
    "11:18: unknown key 'servic' in match; did you mean 'service'?",
    "12:9: this rule is never reached: rule 1",
    "13:9: give one of cluster, split and reply",
    "13:42: timeout: expected 1ms to 480h",
    "13:64: attempts: expected 1 to 10",
    "13:72: on: expected one of connect-failure",
    "14:9: this rule is never reached: rule 4",
    "14:39: split: 'cluster' must be given",
    "14:74: weight: expected a whole number",
    "16:27: an endpoint: expected an address",
    "16:33: an endpoint needs a port",
    "16:61: endpoint 127.0.0.1:1 stands here twice",
    "16:92: connect_timeout: expected 1ms to 1h",
    "17:12: the name 'a' is taken already in clusters",
    "17:26: cluster 'a' has no endpoint",
    "18:5: clusters: 'name' must be given",
    "18:17: endpoints: expected a list",
    "19:26: the weights of cluster 'z' are all 0",
    "19:82: max_connections: expected 1 to 1024",
    "20:17: frame: expected 1KiB to 512MiB",
    "20:42: upstream_in_flight: expected 1 to 4096",
    "21:10: workers: expected 1 to 64",
]


def test_everything_that_is_wrong_is_said_at_once_and_nothing_else(tmp_path):
    found = errors(MANY, tmp_path)
    assert [one.partition(" ")[0] for one in found] == [one.partition(" ")[0] for one in WRONG]
    for one, expected in zip(found, WRONG, strict=True):
        assert one.startswith(expected)


def values_of(node: yaml.Node):
    if isinstance(node, yaml.ScalarNode):
        yield node
    for child in node.value if isinstance(node, yaml.SequenceNode) else ():
        yield from values_of(child)
    for _, child in node.value if isinstance(node, yaml.MappingNode) else ():
        yield from values_of(child)


def test_no_mistake_hides_another(tmp_path):
    """Each value of the file in turn is spoiled; what is wrong at the end of the file is still said."""
    text = GOOD + "  - {name: last, endpoints: [127.0.0.1:0], max_connections: 0}\n"
    nodes = list(values_of(Document(GOOD, "f").root))
    assert len(nodes) == 27
    for node in nodes:
        lines = text.splitlines()
        row, start, end = node.start_mark.line, node.start_mark.column, node.end_mark.column
        lines[row] = lines[row][:start] + "{no: {such: thing}}" + lines[row][end:]
        places = {one.partition(" ")[0] for one in errors("\n".join(lines), tmp_path)}
        assert {"24:30:", "24:61:"} < places, (node.value, places)
        assert {f"{row + 1}:{start + column}:" for column in (1, 2)} & places, (node.value, places)


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "0.0.0.0", True),
        ("0.0.0.0", "localhost", True),
        ("localhost", "127.0.0.1", True),
        ("LocalHost", "localhost", True),
        ("[::]", "127.0.0.1", True),  # it takes IPv4, too
        ("[::]", "[::1]", True),
        ("[::]", "0.0.0.0", True),
        ("[::]", "some.test", True),
        ("[::ffff:127.0.0.1]", "127.0.0.1", True),
        ("[::1]", "[0:0:0:0:0:0:0:1]", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "[::1]", False),
        ("127.0.0.1", "[::1]", False),
        ("localhost", "[::1]", False),
        ("[::1]", "[::2]", False),
        ("some.test", "other.test", False),
    ],
)
def test_addresses_that_cannot_be_had_together(tmp_path, one, other, clash):
    for first, second in ((one, other), (other, one)):
        text = GOOD.replace("127.0.0.1:0", f'"{first}:7000"') + f'admin: {{bind: "{second}:7000"}}\n'
        if clash:
            (found,) = errors(text, tmp_path)
            assert "admin and listener 'in' both want port 7000" in found
        else:
            (tmp_path / "c.yaml").write_text(text)
            config.load(tmp_path / "c.yaml")
    for port in (7001, 0):
        (tmp_path / "c.yaml").write_text(text.replace(f"{first}:7000", f"{first}:{port}", 1))
        config.load(tmp_path / "c.yaml")


def test_what_is_unused_is_a_warning(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "  - {name: spare, endpoints: [127.0.0.1:9]}\n")
    assert [str(one) for one in config.load(path).warnings] == [
        f"{path}:24:5: no route leads to cluster 'spare'"
    ]


def test_a_rule_for_whom_its_table_does_not_serve_is_a_warning(tmp_path):
    path = tmp_path / "c.yaml"
    other = "  - {name: out, bind: 127.0.0.1:0, protocol: bolt, cluster: a}\nroutes:\n"
    text = GOOD.replace("routes:\n", other, 1).replace("say*", "say*, listener: [in, out], protocol: bolt")
    path.write_text(text)
    first, second = (str(one).removeprefix(f"{path}:") for one in config.load(path).warnings)
    assert first == (
        "11:73: listener 'out' does not use route table 'main', so that this never holds; it is used by in"
    )
    assert second == (
        "11:89: no listener with route table 'main' speaks 'bolt', so that this never holds; they speak dubbo"
    )
