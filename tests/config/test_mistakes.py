"""What whoever edits the file gets wrong: each is said once, where it stands, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from protokit import config
from protokit.errors import ConfigErrors

RIGHT = """\
listeners: [{name: in, bind: "127.0.0.1:29880", protocol: dubbo, routes: r}]
routes:
  - name: r
    rules:
      - match: {service: com.A}
        cluster: a
        timeout: 1s
clusters:
  - {name: a, endpoints: ["127.0.0.1:29881"]}
"""


def mistakes(tmp_path: Path, text: str | bytes) -> list[str]:
    file = tmp_path / "p.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    try:
        loaded = config.load(file)
    except ConfigErrors as found:
        return [str(one).replace(str(file), "p") for one in found.errors]
    return [str(one).replace(str(file), "p") for one in loaded.warnings]


def changed(old: str, new: str) -> str:
    assert old in RIGHT
    return RIGHT.replace(old, new, 1)


TAB = "not YAML: a tab, where lines are indented by spaces"
MERGE = "<< merges nothing here: write the keys out, or name a whole value (&name) and use it again (*name)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RIGHT, []),
        (changed("        cluster: a", "\tcluster: a"), [f"p:6:1: {TAB}"]),
        (changed("  - name: r", "\t- name: r").replace("\n", "\r\n"), [f"p:3:1: {TAB}"]),
        (
            changed("cluster: a", "cluster: %a"),
            ["p:6:18: not YAML: nothing begins with '%'; put the text in quotes"],
        ),
        (
            changed("cluster: a", "cluster: @a"),
            ["p:6:18: not YAML: nothing begins with '@'; put the text in quotes"],
        ),
        (
            changed("      - match", "      - &x\n        match").replace(
                "clusters:", "      - {<<: *x, match: {service: com.B}}\nclusters:", 1
            ),
            [f"p:9:10: {MERGE}"],
        ),
        (
            changed('- {name: a, endpoints: ["127.0.0.1:29881"]}', "- &a\n    <<: {name: a}"),
            [f"p:10:5: {MERGE}"],
        ),
        (
            changed("{service: com.A}", "&m {service: com.A}").replace(
                "clusters:", "      - {match: *m, cluster: a}\nclusters:", 1
            ),
            ["p:8:9: this rule is never reached: rule 1 of 'r' matches all it does (line 5)"],
        ),
    ],
    ids=["right", "tab", "tab-crlf", "percent", "at", "merge-flow", "merge-block", "anchor"],
)
def test_what_is_no_yaml_for_it_is_said_with_its_place(tmp_path: Path, text: str, said: list[str]) -> None:
    assert mistakes(tmp_path, text) == said


@pytest.mark.parametrize("bad", [b"\x00", b"\x07", b"\x1b", b"\x7f"], ids=["nul", "bell", "escape", "delete"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_a_control_character_has_a_place(tmp_path: Path, bad: bytes, end: bytes) -> None:
    text = "# café\n".encode() + RIGHT.encode().replace(b"com.A", b"com." + bad + b"A")
    place = "p:6:30"
    assert mistakes(tmp_path, text.replace(b"\n", end)) == [
        f"{place}: not YAML: the character {bad[0]:#04x}, which may not stand in it"
    ]


def test_what_is_no_utf_8_has_a_place(tmp_path: Path) -> None:
    assert mistakes(tmp_path, RIGHT.encode() + "# é caf".encode() + b"\xe9\n") == [
        "p:10:8: is not UTF-8: the byte 0xe9 is none; write the file in UTF-8"
    ]
    for wide in ("utf-16", "utf-16-be", "utf-16-le"):
        (said,) = mistakes(tmp_path, ("\ufeff" * (wide != "utf-16") + RIGHT).encode(wide))
        assert said == "p:1:1: is not UTF-8: it looks like UTF-16; write the file in UTF-8"


@pytest.mark.parametrize("wrong", ["auto", "-1", "1.5", "1e1", "0x10", "65", "0", "99999999999"])
def test_a_whole_number_s_range_is_its_own(tmp_path: Path, wrong: str) -> None:
    (said,) = mistakes(tmp_path, RIGHT + f"workers: {wrong}\n")
    assert said.startswith("p:10:10: workers: expected ")
    assert "1 to 64, got" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "timeout: 1s",
            "limit: 5/s",
            "p:7:16: limit: expected a mapping with rate, burst, by, keys, ..., got '5/s'",
        ),
        (
            "timeout: 1s",
            "retry: [reset]",
            "p:7:16: retry: expected a mapping with attempts, on, idempotent, per_try, ..., got a list",
        ),
        (
            "timeout: 1s",
            "mirror: b",
            "p:7:17: mirror: expected a mapping with cluster, share, mark, most, got 'b'",
        ),
        (
            "{service: com.A}",
            "com.A",
            "p:5:16: match: expected a mapping with service, method, version, group, ..., got 'com.A'",
        ),
        (
            "- {name: a,",
            "a: {",
            "p:9:3: clusters: expected a list ([...], or a - in front of each), got a mapping",
        ),
        (
            '["127.0.0.1:29881"]',
            "127.0.0.1:29881",
            "p:9:26: endpoints: expected a list ([...], or a - in front of each), got '127.0.0.1:29881'",
        ),
        (
            "routes: r}",
            "routes: r, goaway: On}",
            "p:1:85: goaway: expected true or false, got 'On'; write true",
        ),
        (
            "routes: r}",
            "routes: r, goaway: no}",
            "p:1:85: goaway: expected true or false, got 'no'; write false",
        ),
    ],
    ids=["scalar", "list", "name", "match", "mapping", "one", "on", "no"],
)
def test_what_has_the_wrong_shape_is_told_the_right_one(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert mistakes(tmp_path, changed(old, new)) == [said]


SEVERAL = """\
listeners:
  - {name: d, bind: "127.0.0.1:29880", protocol: dubbo, routes: r}
  - {name: b, bind: "127.0.0.1:29890", protocol: bolt, cluster: b}
routes:
  - name: r
    rules:
      - {match: {service: com.A}, split: [{cluster: a, weight: 1}, {cluster: s, weight: 1}],
         mirror: {cluster: m}}
      - {cluster: {header: x, of: [h, s], else: b}}
clusters:
"""


@pytest.mark.parametrize("name", ["a", "s", "m", "h", "b", "nobody"])
def test_a_check_speaks_what_leads_to_its_cluster(tmp_path: Path, name: str) -> None:
    """One protocol leads to each but b, to which both do, and to what only a filter may choose."""
    every = ["a", "s", "m", "h", "b", "nobody"]
    text = SEVERAL + "".join(
        f'  - {{name: {one}, endpoints: ["127.0.0.1:1"]{", health: {heartbeat: 5s}" * (one == name)}}}\n'
        for one in every
    )
    place = f"p:{text[: text.index('health')].count(chr(10)) + 1}:"
    said = [one for one in mistakes(tmp_path, text) if "no route leads" not in one]
    if name in {"b", "nobody"}:
        assert len(said) == 1
        assert said[0].startswith(place)
        assert said[0].endswith("health: add protocol: what leads to this cluster speaks bolt and dubbo")
        text = text.replace("heartbeat: 5s", "heartbeat: 5s, protocol: bolt")
        assert [one for one in mistakes(tmp_path, text) if "no route leads" not in one] == []
    else:
        assert said == []


def test_what_goes_round_and_round_is_told(tmp_path: Path) -> None:
    def check(first: str, second: str, binds: tuple[str, str] = ("127.0.0.1", "0.0.0.0")) -> list[str]:
        return mistakes(
            tmp_path,
            f"listeners: [{{name: one, bind: '{binds[0]}:7001', protocol: dubbo, cluster: a}},\n"
            f"  {{name: two, bind: '{binds[1]}:7002', protocol: dubbo, cluster: b}}]\n"
            f"clusters: [{{name: a, endpoints: ['10.0.0.1:7001', {first}]}},\n"
            f"  {{name: b, endpoints: ['10.0.0.1:7002', {second}]}}]\n",
        )

    round_and_round = "of this proxy: requests of listener"
    assert check("'127.0.0.1:1'", "'127.0.0.1:2'") == []
    assert check("'127.0.0.1:7002'", "'127.0.0.1:2'") == []  # one listener behind another
    assert check("{address: 'localhost:7001', weight: 0}", "'127.0.0.1:2'") == []
    assert check("'127.0.0.2:7001'", "'127.0.0.1:2'") == []  # another address
    (said,) = check("'localhost:7001'", "'127.0.0.1:2'")
    assert said.startswith("p:3:51: endpoint localhost:7001 is listener 'one' " + round_and_round)
    (said,) = check("'127.0.0.1:1'", "'127.0.0.9:7002'")  # 0.0.0.0 has all of 127.0.0.0/8
    assert said.startswith("p:4:") and f"127.0.0.9:7002 is listener 'two' {round_and_round}" in said
    both = check("'127.0.0.1:7002'", "'127.0.0.1:7001'")
    assert [one.split(": ")[1] for one in both] == [
        f"endpoint 127.0.0.1:{port} is listener {name!r} of this proxy"
        for port, name in ((7002, "two"), (7001, "one"))
    ]
