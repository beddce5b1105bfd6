"""``protokit route``: the page's example, each kind of answer, and what is asked wrongly."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from protokit_dubbo.messages import OK, Answer, Call

from protokit.cli.group import group

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
CONFIG = """
listeners:
  - {name: in, bind: 127.0.0.1:1, protocol: [bolt, dubbo], routes: r}
  - {name: one, bind: 127.0.0.1:2, protocol: dubbo, cluster: c}
  - {name: raw, bind: 127.0.0.1:3, protocol: [], fallback: c}
  - {name: few, bind: 127.0.0.1:4, protocol: dubbo, routes: few}
routes:
  - name: r
    rules:
      - {match: {protocol: bolt, service: a}, cluster: c}
      - match: {service: a, any: [{headers: {tag: "x*"}}, {headers: {n: {present: true}}, oneway: true}]}
        cluster: c
      - {match: {service: b}, reply: {status: denied, text: no}}
      - match: {service: {in: [c, d]}}
        split: [{cluster: c, weight: 9}, {cluster: c, subset: {v: {header: tag}}, fallback: any}]
      - {match: {all: [{service: {regex: "e+"}}]}, cluster: d}
  - name: few
    rules:
      - {match: {service: a}, cluster: d}
      - {match: {service: com.example.Long, listener: few}, cluster: d}
clusters:
  - {name: c, endpoints: [127.0.0.1:5, {address: "127.0.0.1:6", metadata: {v: x}}]}
  - {name: d, endpoints: ["no.such.host.invalid:7"]}
"""
HEADED = """
listeners: [{name: headed, bind: 127.0.0.1:1, protocol: dubbo, routes: r}]
routes: [{name: r, rules: [{match: {service: a, headers: {tag: x}}, cluster: d}, {cluster: d}]}]
clusters: [{name: d, endpoints: [127.0.0.1:2]}]
"""


@pytest.fixture
def route(tmp_path, monkeypatch):
    """Run the command in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CONFIG)

    def run(*arguments, data=b""):
        done = CliRunner().invoke(group, ["route", *arguments], input=data)
        return done.exit_code, done.stdout, done.stderr

    return run


def lines(answer, code=0):
    assert answer[0] == code, answer
    return answer[1].splitlines()


def test_the_example_of_the_page(route):
    section = PAGE.read_text().partition("## Which rule a request gets\n")[2].partition("\n## ")[0]
    config = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1]
    command, said = re.search(r"```console\n\$ protokit route (.*?)\n(.*?)```", section, re.DOTALL).groups()
    Path("shop.yaml").write_text(config)
    assert route(*shlex.split(command)) == (0, said, "")


@pytest.mark.parametrize(
    ("words", "number", "said"),
    [
        (["-s", "a", "-p", "bolt"], 1, ["to cluster 'c': 127.0.0.1:5, 127.0.0.1:6"]),
        (["-s", "a", "-p", "dubbo", "-H", "tag=xy"], 2, ["protocol is 'dubbo', expected 'bolt'"]),
        (["-s", "a", "-p", "dubbo", "-H", "n=", "--oneway"], 2, ["one-way"]),
        (["-s", "b"], 3, ["answered at once: denied 'no'", "service is 'b', expected 'a'"]),
        (
            ["-s", "d", "-H", "tag=x"],
            4,
            ["to cluster 'c', weight 9: ", "weight 1, of those with v=x: 127.0.0.1:6"],
        ),
        (["-s", "d"], 4, ["weight 1, which has none with v=?: 127.0.0.1:5, 127.0.0.1:6"]),
        (["-s", "ee"], 5, ["to cluster 'd': no.such.host.invalid:7", "expected {in: [c, d]}"]),
    ],
)
def test_where_requests_go(route, words, number, said):
    told = lines(route("c.yaml", "-l", "in", *words))
    assert f"rule {number} of 'r' matches" in "\n".join(told)
    for one in said:
        assert any(one in line for line in told), (one, told)


def test_no_rule(route):
    told = lines(route("c.yaml", "-l", "in", "-s", "a", "-p", "dubbo", "-H", "tag=y"), 1)
    assert told[-2] == "no rule of 'r' matches: its caller is told that there is no route"
    why = (
        "any[0]: header 'tag' is 'y', expected 'x*'; any[1]: there is no header 'n', expected {present: true}"
    )
    assert told[2] == f"c.yaml:11: rule 2 does not match: {why}"
    assert told[-3].endswith("all[0]: service is 'a', expected {regex: e+}")


@pytest.mark.parametrize(
    ("words", "depth"),
    [
        (["-l", "one"], "read: frame"),
        (["-l", "few", "-s", "a"], "read: destination; found again for the same destination"),
        (["-l", "few", "-s", "com.example.Long"], "read: destination; looked up for each request"),
        (["-l", "in", "-s", "b"], "read: headers; found again for the same destination"),
        (["-l", "in", "-s", "a", "-p", "dubbo", "-H", "tag=x"], "read: headers; looked up for each request"),
    ],
)
def test_how_deep_requests_are_read(route, words, depth):
    Path("headed.yaml").write_text(HEADED)
    assert lines(route("headed.yaml", "-s", "b"))[-1] == "read: headers; found again for the same destination"
    assert lines(route("c.yaml", *words))[-1] == depth


CALL = Call("a", "say", "I", [1], version="2", request_id=7, attachments={"tag": "xy", "n": 5})


@pytest.mark.parametrize("form", [bytes, lambda data: data.hex().encode(), lambda data: data + b"more"])
def test_a_frame_from_the_wire(route, form):
    """Of the protocol that it is of; what stands behind it is another's."""
    Path("frame").write_bytes(form(CALL.encode()))
    for where, data in (("frame", b""), ("-", form(CALL.encode()))):
        facts = json.loads(route("c.yaml", "-l", "in", "--frame", where, "--json", data=data)[1])
        assert (facts["protocol"], facts["rule"]) == ("dubbo", {"number": 2, "line": 11, "column": 9})
        request = facts["request"]
        assert (request["service"], request["method"], request["version"]) == ("a", "say", "2")
        assert (request["headers"]["tag"], request["headers"]["n"]) == ("xy", None)
        assert facts["before"] == [{"number": 1, "line": 10, "why": "protocol is 'dubbo', expected 'bolt'"}]
        assert facts["to"]["clusters"][0]["endpoints"] == ["127.0.0.1:5", "127.0.0.1:6"]
        assert (facts["depth"], facts["remembered"]) == ("headers", False)


def test_a_frame_of_a_declared_protocol(route):
    """Of a file beside the configuration, by a vector of a real client."""
    page = Path(__file__).parents[2] / "examples" / "formats" / "nshead.py"
    Path("nshead.py").write_bytes(page.read_bytes())
    Path("c.yaml").write_text(
        """
plugins: [./nshead.py]
listeners: [{name: in, bind: 127.0.0.1:1, protocol: nshead, routes: r}]
routes:
  - name: r
    rules:
      - {match: {service: demo.*, not: {source: 10.0.0.0/8}}, cluster: c}
      - {match: {service: demo.Echo}, cluster: c}
clusters: [{name: c, endpoints: [127.0.0.1:5]}]
"""
    )
    frame = "070001000000000064656d6f2e4563686f00000000000000949370fb00000000050000000a03416461"
    arguments = ("c.yaml", "--source", "10.9.9.9", "--frame", "-")
    assert lines(route(*arguments, data=frame.encode()))[1:] == [
        "c.yaml:7: rule 1 does not match: not: what must not hold does",
        "c.yaml:8: rule 2 of 'r' matches",
        "to cluster 'c': 127.0.0.1:5",
        "read: destination; looked up for each request",
    ]


def test_a_frame_that_its_protocol_cannot_read(route):
    """Only rules that ask for nothing have it."""
    data = bytearray(CALL.encode())
    data[2] = data[2] & ~31 | 8  # Kryo
    told = lines(route("c.yaml", "-l", "few", "--frame", "-", data=bytes(data)), 1)
    assert told[1].endswith("the protocol cannot read this request: it is for rules that ask for nothing")


@pytest.mark.parametrize(
    ("arguments", "data", "why"),
    [
        (["-l", "ni"], b"", "there is no listener 'ni'; "),
        ([], b"", "which listener? there are in, one, raw, few: say it with --listener"),
        (["-l", "in", "-p", "bold"], b"", "there is no protocol 'bold'; did you mean 'bolt'?"),
        (["-l", "in", "-H", "tag"], b"", "--header: expected NAME=VALUE, got 'tag'"),
        (
            ["-l", "in", "--source", "10.0.0.0/8"],
            b"",
            "--source: expected an address like 10.0.0.1, got '10.0.0.0/8'",
        ),
        (["-l", "raw"], b"", "which protocol? there are none"),
        (["-l", "in", "--frame", "-"], b"GET / HTTP/1.1\r\n", "are no whole frame of 'bolt' or 'dubbo'"),
        (["-l", "in", "--frame", "-"], CALL.encode()[:-1], "are no whole frame of 'bolt' or 'dubbo'"),
        (["-l", "in", "--frame", "-"], Answer(7, OK, "x").encode(), "the frame is no request of 'dubbo'"),
        (
            ["-l", "in", "--frame", "-"],
            Call("a", "m", "", [1]).encode(),
            "cannot be read by 'dubbo': its caller",
        ),
        (["-l", "in", "--frame", "-", "-s", "a"], CALL.encode(), "with --frame the frame says what is asked"),
    ],
)
def test_what_is_asked_wrongly(route, arguments, data, why):
    code, out, error = route("c.yaml", *arguments, data=data)
    assert (code, out) == (2, "")
    assert why in error


def test_a_configuration_that_is_wrong(route):
    Path("c.yaml").write_text(CONFIG.replace("{service: b}", "{service: a, oneway: x}"))
    code, _, error = route("c.yaml", "-l", "in")
    assert (code, "c.yaml:13:38: oneway: expected true or false" in error) == (2, True), error


NAMED = """\
      - {match: {service: f}, cluster: {header: to, of: [c]}}
      - {match: {service: g}, cluster: {header: to, of: [c], else: d}}
"""


@pytest.mark.parametrize(
    ("service", "headers", "said"),
    [
        ("f", ["to=c"], "to cluster 'c': "),
        ("f", ["to=d"], "its header names none of the rule's clusters: its caller is told so"),
        ("f", [], "its header names none of the rule's clusters: its caller is told so"),
        ("g", ["to=c"], "to cluster 'c': "),
        ("g", ["to=x"], "to cluster 'd': "),
        ("g", [], "to cluster 'd': "),
    ],
)
def test_a_header_may_name_the_cluster(route, service, headers, said):
    words = [word for one in headers for word in ("-H", one)]
    text = CONFIG.replace("      - {match: {protocol: bolt", f"{NAMED}      - {{match: {{protocol: bolt")
    Path("named.yaml").write_text(text)
    assert said in "\n".join(lines(route("named.yaml", "-l", "in", "-p", "dubbo", "-s", service, *words)))


@pytest.mark.parametrize(
    ("by", "depth"),
    [("source", "frame"), ("service", "destination"), ("method", "destination"), ("{header: x}", "headers")],
)
def test_a_cluster_that_goes_by_a_key(route, by, depth):
    """How deep a request is read says nothing of routes: there are none."""
    cluster = f"{{name: k, balance: maglev, hash: {by}, endpoints: [127.0.0.1:8]}}"
    listener = "{name: keyed, bind: 127.0.0.1:9, protocol: dubbo, cluster: k}"
    text = CONFIG.replace("routes:\n  - name", f"  - {listener}\nroutes:\n  - name", 1)
    Path("keyed.yaml").write_text(f"{text}  - {cluster}\n")
    for words, data in (["-s", "a", "-H", "x=1"], b""), (["--frame", "-"], CALL.encode()):
        told = lines(route("keyed.yaml", "-l", "keyed", *words, data=data))
        assert told[1:] == ["to cluster 'k': 127.0.0.1:8", f"read: {depth}"]
        facts = json.loads(route("keyed.yaml", "-l", "keyed", *words, "--json", data=data)[1])
        assert (facts["depth"], facts["remembered"]) == (depth, False)


BESIDE = """
listeners: [{name: in, bind: 127.0.0.1:1, protocol: dubbo, routes: r}]
routes:
  - name: r
    rules:
      - match: {service: a}
        cluster: c
        retry: {idempotent: true}
        hedge: {after: p99.5, most: 2.5%}
        mirror: {cluster: shadow, share: 0.1%, mark: x-shadow}
      - {match: {service: b}, cluster: c, mirror: {cluster: shadow}}
      - {cluster: c}
clusters:
  - {name: c, endpoints: [127.0.0.1:5, 127.0.0.1:6]}
  - {name: shadow, endpoints: [127.0.0.1:7], balance: maglev, hash: {argument: 0}}
"""
SECOND = "a second attempt on another endpoint after p99.5, of at most 2.5% of the cluster's requests"
COPY = "a copy of 0.1% of them to cluster 'shadow', marked by header 'x-shadow': 127.0.0.1:7"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-s", "a"], [SECOND, COPY]),
        (["-s", "a", "--oneway"], [COPY]),
        (["-s", "b"], ["a copy of 100% of them to cluster 'shadow': 127.0.0.1:7"]),
        (["-s", "c"], []),
    ],
)
def test_what_is_sent_beside_it(route, words, said):
    Path("beside.yaml").write_text(BESIDE)
    told = lines(route("beside.yaml", *words))
    assert told[-2 - len(said)] == "to cluster 'c': 127.0.0.1:5, 127.0.0.1:6"
    assert told[-1 - len(said) : -1] == said
    assert told[-1].startswith("read: arguments; ")  # the shadow's endpoint is chosen by one
    facts = json.loads(route("beside.yaml", *words, "--json")[1])
    assert (facts["hedge"] is not None) == (SECOND in said)
    plain = "b" in words
    share, mark = ("100%", None) if plain else ("0.1%", "x-shadow")
    copied = {"cluster": "shadow", "share": share, "mark": mark, "endpoints": ["127.0.0.1:7"]}
    assert facts["mirror"] == (copied if said else None)


FALLBACKS = """\
      - {match: {service: f}, cluster: e, subset: {v: z}, fallback: FALLBACK}
      - {match: {service: h}, cluster: e, subset: {v: {header: tag}}, fallback: FALLBACK}
"""
ENDPOINTS = (
    '[127.0.0.1:5, {address: "127.0.0.1:6", metadata: {v: x}},'
    ' {address: "127.0.0.1:7", weight: 0, metadata: {v: z}}]'
)


@pytest.mark.parametrize(
    ("fallback", "to", "subset", "ports"),
    [
        ("none", ", of those with v=z: no endpoint", {"v": ["z"]}, []),
        ("any", ", which has none with v=z: 127.0.0.1:5, 127.0.0.1:6", {}, [5, 6]),
        (
            "{subset: {v: x}}",
            ", which has none with v=z, of those with v=x: 127.0.0.1:6",
            {"v": ["x"]},
            [6],
        ),
    ],
)
@pytest.mark.parametrize("words", [["-s", "f"], ["-s", "h", "-H", "tag=z"]])
def test_a_subset_without_endpoints(route, words, fallback, to, subset, ports):
    """One of weight 0 is no endpoint for requests."""
    text = CONFIG.replace("      - {match: {protocol: bolt", f"{FALLBACKS}      - {{match: {{protocol: bolt")
    text = text.replace("FALLBACK", fallback) + f"  - {{name: e, endpoints: {ENDPOINTS}}}\n"
    Path("fallback.yaml").write_text(text)
    arguments = ("fallback.yaml", "-l", "in", "-p", "dubbo", *words)
    assert f"to cluster 'e'{to}" in lines(route(*arguments))
    (share,) = json.loads(route(*arguments, "--json")[1])["to"]["clusters"]
    fallback_of = None if fallback == "none" else {"v": ["z"]}
    assert (share["subset"], share["fallback"]) == (subset, fallback_of)
    assert share["endpoints"] == [f"127.0.0.1:{port}" for port in ports]


def test_nobody_is_sent_to_an_endpoint_of_weight_0(route):
    Path("w.yaml").write_text(CONFIG.replace("[127.0.0.1:5,", '[{address: "127.0.0.1:5", weight: 0},'))
    assert lines(route("w.yaml", "-l", "one"))[1] == "to cluster 'c': 127.0.0.1:6"


@pytest.mark.parametrize(
    ("words", "to"),
    [
        (
            ["-s", "shop.Prices", "-H", "lane=blue"],
            ", which has none with lane=blue, of those with lane=base: 127.0.0.1:20883",
        ),
        (["-s", "shop.Stock", "-H", "lane=blue"], ", of those with lane=blue: 127.0.0.1:20885"),
        (["-s", "shop.Stock"], ", which has none with lane=?, of those with lane=base: 127.0.0.1:20884"),
    ],
)
def test_the_lanes_of_the_page(route, words, to):
    page = (PAGE.parent / "releasing.md").read_text().partition("## Follow a tag through three services\n")[2]
    Path("lanes.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    name = words[1].removeprefix("shop.").lower()
    assert f"to cluster '{name}'{to}" in lines(route("lanes.yaml", *words))


def test_who_is_preferred(route):
    zones = [
        f"      - {{address: '127.0.0.1:{n}', metadata: {{zone: {zone}}}}}\n"
        for n, zone in ((2, "a"), (3, "b"))
    ]
    text = HEADED.partition("clusters:")[0] + "clusters:\n  - name: d\n    endpoints:\n" + "".join(zones)
    Path("zones.yaml").write_text(f"{text}    prefer: {{subset: {{zone: a}}}}\n")
    words = ("zones.yaml", "-l", "headed", "-s", "a")
    said = "of these first those with zone=a, while 70% of their weight is usable: 127.0.0.1:2"
    assert said in lines(route(*words))
    [to] = json.loads(route(*words, "--json")[1])["to"]["clusters"]
    assert to["prefer"] == {"subset": {"zone": ["a"]}, "healthy": "70%", "endpoints": ["127.0.0.1:2"]}


def test_hex_that_is_none_further_on(route):
    data = CALL.encode().hex().encode() + b"\n\xff"
    code, out, error = route("c.yaml", "-l", "in", "--frame", "-", data=data)
    assert (code, out) == (2, "")
    assert "line 2, column 1: '\xff' seen, hex digits expected" in error


GUARDED = """
listeners:
  - name: guarded
    bind: 127.0.0.1:8
    protocol: dubbo
    cluster: c
    deny:
      - {service: pay, method: refund, not: {source: 10.1.0.0/16}}
      - {headers: {tag: test}}
    allow: [{source: 10.0.0.0/8}, {service: open}]
    dry_run: {deny: [{service: pay}]}
clusters:
  - {name: c, endpoints: [127.0.0.1:5]}
"""


def line_of(text):
    """Where that stands in the configuration."""
    return next(number for number, line in enumerate(GUARDED.splitlines(), 1) if text in line)


@pytest.fixture
def guarded(route):
    Path("g.yaml").write_text(GUARDED)
    return lambda *arguments, **more: route("g.yaml", *arguments, **more)


def test_what_a_listener_denies_is_explained(guarded):
    refund, tag, allow, dry = (line_of(one) for one in ("refund", "tag: test", "allow:", "dry_run:"))
    far = "its client comes from nowhere that is known, expected 10.0.0.0/8"
    no_tag = f"g.yaml:{tag}: deny[1] does not match: there is no header 'tag', expected 'test'"
    assert lines(guarded("-s", "pay", "-m", "refund", "--source", "10.2.0.1"), 1) == [
        "listener 'guarded', dubbo, from 10.2.0.1: service 'pay', method 'refund'",
        f"g.yaml:{refund}: deny[0] matches: it is denied",
        "answered at once: denied",
        "read: headers",
    ]
    assert lines(guarded("-s", "pay", "-m", "refund", "--source", "10.1.0.1"))[1:] == [
        f"g.yaml:{refund}: deny[0] does not match: not: what must not hold does",
        no_tag,
        f"g.yaml:{allow}: allow[0] matches: it gets through",
        f"g.yaml:{dry}: dry_run.deny[0] matches: it would be denied",
        "to cluster 'c': 127.0.0.1:5",
        "read: headers",
    ]
    assert lines(guarded("-s", "other"), 1)[1:6] == [
        f"g.yaml:{refund}: deny[0] does not match: service is 'other', expected 'pay'",
        no_tag,
        f"g.yaml:{allow}: allow[0] does not match: {far}",
        f"g.yaml:{allow}: allow[1] does not match: service is 'other', expected 'open'",
        f"g.yaml:{allow}: allow is for all others: it is denied",
    ]
    said = json.loads(guarded("-s", "open", "-H", "tag=test", "--json")[1])
    assert said["to"] is None
    assert said["access"]["denied"] is True
    assert said["access"]["rule"] == {"name": "deny[1]", "line": tag}
    assert [one["name"] for one in said["access"]["before"]] == ["deny[0]"]
    assert said["dry_run"] == {
        "denied": False,
        "rule": None,
        "before": [{"name": "deny[0]", "line": dry, "why": "service is 'open', expected 'pay'"}],
        "unread": False,
    }
    assert "nothing in dry_run denies it: it would get through" in lines(guarded("-s", "open"))


def test_what_cannot_be_read_of_a_request_is_denied(guarded):
    call = bytearray(Call("pay", "get", "", [], request_id=1).encode())
    call[2] = call[2] & ~31 | 8  # Kryo
    asked = ("--source", "10.0.0.1", "--frame", "-")
    assert lines(guarded(*asked, data=bytes(call)), 1)[1] == (
        f"g.yaml:{line_of('refund')}: deny[0] asks for what cannot be read of it: it is denied"
    )
    said = json.loads(guarded(*asked, "--json", data=bytes(call))[1])
    assert (said["access"]["denied"], said["access"]["unread"]) == (True, True)


UNREAD = (
    "rule r[1] asks for headers or arguments of the request, which cannot be read:"
    " it is malformed, or holds more than the proxy reads\n"
)


def test_the_rule_that_asks_for_what_cannot_be_read_is_named(route):
    """As the request's own answer does: not the one before it, nor the one behind it that would match."""
    Path("u.yaml").write_text("""
listeners: [{name: in, bind: 127.0.0.1:1, protocol: dubbo, routes: r}]
routes:
  - name: r
    rules:
      - {match: {service: other}, cluster: c}
      - {match: {arguments: {0: gray}}, cluster: c}
      - {cluster: c}
clusters: [{name: c, endpoints: [127.0.0.1:5]}]
""")
    assert route("u.yaml", "--frame", "-", data=CALL.encode().replace(b"I\x91", b"C\x91")) == (
        2,
        "",
        UNREAD,
    )
