"""Rules that are never reached: what is said is so for every request of a small world; what must be found."""

from __future__ import annotations

import itertools
import json

import pytest
from asked import holds
from hypothesis import given, settings
from hypothesis import strategies as st

from protokit import config, plugins
from protokit.config import hidden
from protokit.config.document import Document, read
from protokit.config.findings import Findings
from protokit.errors import ConfigErrors

TEXTS = [
    "",
    "a",
    "ab",
    "aba",
    "b",
    "ba",
    "bb",
    "*",
    "a*",
    "1",
    "2",
    "7",
    "-3",
    "+1",
    "07",
    "1.",
    "99999999999999999999",
]
FORMS = [
    *["a", "b", "1", "*", "a*", "ab*", "*a", "*ba", "a*a", "*b*", "**", "a**"],
    *[{"exact": one} for one in ("", "a", "a*", "*", "1")],
    *[{"prefix": one} for one in ("", "a", "a*", "ab")],
    *[{"suffix": one} for one in ("", "a", "ba")],
    *[{"in": one} for one in (["a"], ["a", "b"], ["1", "7"], ["", "a", "aba"], ["2"])],
    *[{"regex": one} for one in ("", "a.*", "[ab]*", "a|ab", r"\d+", ".+", "1|2|7")],
    *[{"range": one} for one in ([1, 5], [1, 1], [2, 9], [-9, 9], [6, 9])],
    *[{"present": True}, {"present": False}],
]


def matches(*every):
    """As the configuration has them."""
    rules = [{"match": one, "cluster": "c"} for one in every]
    text = {"listeners": [], "clusters": [], "routes": [{"name": "r", "rules": rules}]}
    reading = read(Document(json.dumps(text), "test"))
    assert not reading.errors
    return [rule.match for rule in reading.config.routes[0].rules]


def known(every):
    return [(hidden.tree_of(one), hidden.takes_blank(one)) for one in matches(*every)]


def request(**changed):
    every = {"service": "a", "method": "", "version": "", "group": "", "headers": {}}
    return every | {"oneway": False, "source": "", "listener": "in", "protocol": "dubbo"} | changed


@pytest.mark.parametrize("what", ["service", "header", "not service", "not header"])
def test_of_each_pair_of_forms_only_what_is_so_is_said(what):
    """Of every text one after the other, of none, and of both the opposite."""
    if "service" in what:
        plain, asked = [{"service": form} for form in FORMS], [request(service=text) for text in TEXTS]
    else:
        plain = [{"headers": {"h": form}} for form in FORMS]
        asked = [request(), *[request(headers={"h": text}) for text in TEXTS]]
    both = [*plain, *[{"not": one} for one in plain]] if "not" in what else plain
    trees = known(both)
    true = [frozenset(i for i, one in enumerate(asked) if holds(match, one)) for match in both]
    found = 0
    for (one, one_is), (other, other_is) in itertools.product(zip(trees, true, strict=True), repeat=2):
        if hidden.implies(other[0], one[0]):
            assert other_is <= one_is, (one, other)
            found += 1
    assert found > 4 * len(both)


# Each hides the next; that it does not the other way round the enumeration above says.
HIDES = [
    ({}, {"service": "a"}),
    ({}, {"any": [{"headers": {"h": "a"}}, {"oneway": True}]}),
    ({"service": "*"}, {"listener": "in"}),
    ({"service": "a*"}, {"service": "ab"}),
    ({"service": "a*"}, {"service": "ab*", "headers": {"h": "x"}}),
    ({"service": {"prefix": "a"}}, {"service": "a*b"}),
    ({"service": "*b"}, {"service": "a*b"}),
    ({"service": {"suffix": "b"}}, {"service": "ab"}),
    ({"service": {"in": ["a", "b"]}}, {"service": "b", "method": "m"}),
    ({"service": {"regex": "[ab]+"}}, {"service": {"regex": "a+|b"}}),
    ({"service": {"regex": "a.*"}}, {"service": {"in": ["ab", "ac"]}}),
    ({"headers": {"h": {"present": True}}}, {"headers": {"h": {"regex": "a*"}}}),
    ({"headers": {"h": "*"}}, {"headers": {"h": "x", "i": "y"}, "service": "a"}),
    ({"headers": {"h": {"range": [1, 9]}}}, {"headers": {"h": {"range": [2, 3]}}}),
    ({"headers": {"h": {"range": [1, 9]}}}, {"headers": {"h": {"in": ["2", "03"]}}}),
    ({"headers": {"h": {"in": ["a", "b"]}}}, {"headers": {"h": "b"}, "oneway": True}),
    ({"arguments": {"0": {"range": [1, 9]}}}, {"arguments": {"0": "2", "1": "x"}, "headers": {"h": "b"}}),
    ({"headers": {"h": {"present": False}}}, {"headers": {"h": {"present": False}}, "method": "m"}),
    ({"not": {"headers": {"h": "a"}}}, {"headers": {"h": {"present": False}}}),
    ({"not": {"headers": {"h": "a"}}}, {"headers": {"h": "b"}}),
    ({"not": {"service": "ab"}}, {"not": {"service": "a*"}}),
    ({"source": "10.0.0.0/8"}, {"source": "10.1.2.3"}),
    ({"source": ["10.0.0.0/9", "10.128.0.0/9"]}, {"source": "10.0.0.0/8"}),
    ({"source": ["10.0.0.0/8", "fd00::/8"]}, {"source": ["fd00::1", "10.3.0.0/16"], "service": "a"}),
    ({"not": {"source": "10.0.0.0/8"}}, {"source": "11.0.0.0/8"}),
    ({"listener": ["in", "side"]}, {"listener": "side"}),
    ({"not": {"listener": "in"}}, {"listener": "side"}),
    ({"protocol": ["dubbo", "bolt"]}, {"protocol": "dubbo", "service": "b"}),
    ({"oneway": True}, {"oneway": True, "service": "a"}),
    ({"any": [{"service": "a"}, {"service": "b"}]}, {"service": "b"}),
    (
        {"any": [{"service": "a*"}, {"oneway": True}]},
        {"any": [{"service": "ab", "oneway": True}, {"service": "ac"}]},
    ),
    ({"all": [{"service": "a*"}, {"headers": {"h": "x"}}]}, {"service": "ab", "headers": {"h": "x"}}),
    ({"not": {"any": [{"service": "a"}, {"service": "b"}]}}, {"service": {"in": ["c", "d"]}}),
    ({"any": [{"service": "a"}, {"method": "m"}], "oneway": True}, {"oneway": True, "method": "m"}),
]


@pytest.mark.parametrize(("one", "other"), HIDES)
def test_what_is_found(one, other):
    first, second, again = known([one, other, json.loads(json.dumps(other))])
    assert hidden.hides(first, second)
    assert hidden.hides(second, again)


SHOWS = [
    ({"service": "a"}, {"service": "b"}),
    ({"headers": {"h": {"prefix": ""}}}, {"headers": {"h": {"present": True}}}),  # one that is no text
    ({"source": "::/0"}, {"source": "10.0.0.0/8"}),
    ({"source": ["0.0.0.0/0", "::/0"]}, {}),  # from nowhere that is known
    ({"any": [{"service": "*"}]}, {}),  # what cannot be read is for the second
    ({"headers": {"h": {"present": False}}}, {"headers": {"h": {"exact": ""}}}),
    ({"not": {"headers": {"h": {"exact": ""}}}}, {"headers": {"h": {"present": True}}}),
    ({"not": {"oneway": True}}, {"oneway": True}),
    ({"not": {"protocol": "dubbo"}}, {"protocol": "dubbo"}),
]


@pytest.mark.parametrize(("one", "other"), SHOWS)
def test_what_is_not_hidden(one, other):
    first, second = known([one, other])
    assert not hidden.hides(first, second)


leaves = st.one_of(
    st.sampled_from(FORMS).map(lambda form: {"service": form}),
    st.sampled_from(FORMS).map(lambda form: {"headers": {"h": form}}),
    st.booleans().map(lambda one: {"oneway": one}),
    st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "::/0", ["10.1.0.0/16", "fd00::/8"]]).map(
        lambda n: {"source": n}
    ),
    st.sampled_from(["in", "side", ["in", "side"]]).map(lambda name: {"listener": name}),
    st.sampled_from(["dubbo", "bolt", ["dubbo", "bolt"]]).map(lambda name: {"protocol": name}),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda every: {"all": every}),
        st.lists(inner, min_size=1, max_size=3).map(lambda every: {"any": every}),
        inner.map(lambda one: {"not": one}),
        st.tuples(inner, leaves).map(lambda two: two[0] | two[1]),
    ),
    max_leaves=5,
)
EVERY = [
    request(
        service=service, headers=headers, oneway=oneway, source=source, listener=listener, protocol=protocol
    )
    for service in ("", "a", "ab", "1")
    for headers in ({}, {"h": ""}, {"h": "a"}, {"h": "7"})
    for oneway in (False, True)
    for source in ("", "10.1.2.3", "10.2.0.1", "fd00::1")
    for listener, protocol in (("in", "dubbo"), ("side", "bolt"))
]


@settings(max_examples=150)
@given(one=trees, other=trees, both=st.booleans())
def test_of_random_trees_only_what_is_so_is_said(one, other, both):
    """Also where the one is made of the other."""
    second = {"all": [other, one]} if both else other
    first, last = known([one, second])
    if hidden.hides(first, last):
        assert not [asked for asked in EVERY if holds(second, asked) and not holds(one, asked)]
    assert not both or hidden.hides(first, last) or first[1] is False


def loaded(rules):
    every = {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r"}],
        "routes": [{"name": "r", "rules": [{"match": match, "cluster": "c"} for match in rules]}],
        "clusters": [{"name": "c", "endpoints": ["127.0.0.1:1"]}],
    }
    return config.load(every, plugins.load(["dubbo"]))


def test_the_rule_that_hides_another_is_named(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        """
listeners: [{name: in, bind: 127.0.0.1:0, protocol: dubbo, routes: r}]
clusters: [{name: c, endpoints: [127.0.0.1:1]}]
routes:
  - name: r
    rules:
      - {match: {service: b}, cluster: c}
      - {match: {source: 10.0.0.0/8, headers: {h: "x*"}}, cluster: c}
      - {match: {service: c}, cluster: c}
      - {match: {source: 10.1.0.0/16, headers: {h: xy}, service: a}, cluster: c}
"""
    )
    with pytest.raises(ConfigErrors) as caught:
        config.load(path)
    (error,) = caught.value.errors
    says = "this rule is never reached: rule 2 of 'r' matches all it does (line 8)"
    assert (error.line, error.column, error.message) == (10, 9, says)


@pytest.mark.slow
def test_thousands_of_rules_are_compared_by_what_they_could_be_hidden_by():
    """Each pair of them would take minutes. What they have in common is found in the last."""
    headers = [{"service": "s", "headers": {"tenant": {"in": [f"t{i}", f"u{i}"]}}} for i in range(1500)]
    services = [{"service": f"s{i}", "headers": {"tenant": "t"}} for i in range(1500)]
    sources = [{"source": f"10.0.{i // 256}.{i % 256}"} for i in range(700)]
    last = {"service": "s", "headers": {"tenant": "u1499", "x": "y"}}
    with pytest.raises(ConfigErrors, match=r"rule 1500 of 'r' matches all it does"):
        loaded([*headers, *services, *sources, last])
    loaded([*headers, *services, *sources])


def test_a_text_that_no_automaton_has_room_for_hides_nothing():
    loaded([{"service": {"suffix": "a" * 3000}}, {"service": {"suffix": "b" + "a" * 3000}}])


def test_a_finding_says_no_more_than_is_read():
    """What could not be read hides nothing, and is not hidden."""
    text = """
listeners: []
clusters: []
routes: [{name: r, rules: [{match: {service: a, source: x}, cluster: c}, {match: {service: a}, cluster: c}]}]
"""
    document = Document(text, "test")
    reading = read(document)
    findings = Findings(document, reading.holes)
    hidden.find(findings, reading.config.routes[0], 0)
    assert not findings.errors
