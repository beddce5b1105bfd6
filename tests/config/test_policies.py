"""What rules and clusters say of policies: what cannot be, and what does nothing."""

from __future__ import annotations

import re

import pytest
from configured import GOOD, errors

from protokit import config
from protokit.config import schema
from protokit.config.scalars import Share
from protokit.errors import ConfigErrors


def test_a_retry_on_timeout_says_what_it_cannot_do(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("on: [reset], idem", "on: [reset, timeout], idem"))
    (warning,) = (str(one) for one in config.load(path).warnings)
    assert warning.startswith(f"{path}:13:42: timeout: only an answer that says so is tried again")
    path.write_text(GOOD.replace("on: [reset], idem", "on: [reset, timeout], per_try: 100ms, idem"))
    assert not config.load(path).warnings


@pytest.mark.parametrize(
    ("more", "column", "says"),
    [
        ("on: [reset], per_try: 100ms", 52, "per_try is for servers that say nothing: add timeout to on"),
        ("on: [timeout], per_try: 1500ms", 54, "per_try: the whole call has 1500ms, so that no other try"),
        ("on: [reset], backoff: {max: 5ms}", 58, "max: expected no less than base, 10ms"),
        (
            "on: [reset], backoff: {base: 1s}",
            59,
            "base: longer than max, whose default is 200ms: give max, too",
        ),
        (
            "on: [reset], budget: 0.00001%",
            51,
            "budget: expected a share with four decimals at most, like 0.0001%",
        ),
        ("on: [reset], backoff: {base: 2h}", 59, "base: expected 0ms to 1h, got '2h'"),
        ("on: [reset], budget: 0.5", 51, "budget: expected a share like 20% or 0.5%, up to 100%, got '0.5'"),
        (
            "on: [reset], budget: 101%",
            51,
            "budget: expected a share like 20% or 0.5%, up to 100%, got '101%'",
        ),
    ],
)
def test_what_a_retry_cannot_be(tmp_path, more, column, says):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("on: [reset]", more))
    try:
        found = [str(one) for one in config.load(path).warnings]
    except ConfigErrors as error:
        found = [str(one) for one in error.errors]
    [message] = found
    assert message.startswith(f"{path}:13:{column}: {says}")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("fault: {delay: {fixed: 1s, share: 0%}}", ["share: delay is for none of the requests"]),
        ("fault: {abort: {status: denied, share: 0%}}", ["share: abort is for none of the requests"]),
        ("fault: {abort: {status: denied, share: 0.0001%}}", []),
        (
            "fault: {asked: {header: x, key: 0123456789abcdef, share: 0%}}",
            ["share: asked is for none of the requests"],
        ),
        ("outlier: {errors: 0}", ["errors: with 0 and no rate no endpoint is ever left out"]),
        ("outlier: {errors: 0, rate: 0%}", ["rate: 0% counts no errors", "errors: with 0 and no rate"]),
        ("outlier: {rate: 0%}", ["rate: 0% counts no errors; leave it out"]),
        ("outlier: {most: 0%}", ["most: with 0% no endpoint is ever left out"]),
        ("outlier: {errors: 0, rate: 1%, most: 1%}", []),
    ],
)
def test_what_does_nothing_is_a_warning(tmp_path, more, says):
    path = tmp_path / "c.yaml"
    before = "timeout: 1.5s" if more.startswith("fault") else "balance: least-request"
    path.write_text(GOOD.replace(before, more))
    found = [str(one) for one in config.load(path).warnings]
    line = 12 if more.startswith("fault") else 23
    assert len(found) == len(says)
    for one, text in zip(found, says, strict=True):
        assert re.match(rf"{re.escape(str(path))}:{line}:\d+: {re.escape(text)}", one)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "on: [reset]",
            "on: []",
            "13:34: on: expected one reason at least; without on",
        ),
        ("timeout: 1.5s", "limit: {rate: 1/s, by: []}", "12:32: by: expected one key at least; without by "),
        (
            "split:",
            "sticky: []\n        split:",
            "15:17: sticky: expected one key at least; without",
        ),
        (
            "balance: least-request",
            "hash: []",
            "23:11: hash: expected one key at least; without hash nothing",
        ),
        (
            "balance: least-request",
            "balance: maglev\n    hash: []",
            "24:11: hash: expected one key at least; without hash nothing",
        ),
        (
            "127.0.0.1:1,",
            "0.0.0.0:1,",
            "20:17: endpoint 0.0.0.0:1: 0.0.0.0 is where a server listens",
        ),
        ('"[::1]:2"', '"[::0]:2"', "20:30: endpoint [::0]:2: ::0 is where a server listens for all"),
        ('"[::1]:2"', '"[::ffff:0.0.0.0]:2"', "20:30: endpoint [::ffff:0.0.0.0]:2: ::ffff:0.0.0.0 is where"),
    ],
)
def test_what_names_nothing_or_nobody_is_refused(tmp_path, before, after, says):
    """One error for each; and a key without a value is as if it were not there, as ever."""
    assert GOOD.count(before) == 1
    [found] = errors(GOOD.replace(before, after), tmp_path)
    assert found.startswith(says)
    if after.endswith("[]") and "maglev" not in after:
        path = tmp_path / "c.yaml"
        path.write_text(GOOD.replace(before, after.replace("[]", "")))
        config.load(path)


ZONES = """clusters:
  - {name: a, endpoints: [127.0.0.1:1]}
  - name: b
    endpoints:
      - {address: 127.0.0.1:3, metadata: {zone: b, all: x}}
      - {address: 127.0.0.1:4, metadata: {zone: d, all: x}}
"""


@pytest.mark.parametrize(
    ("more", "column", "says"),
    [
        ("slow_start: {time: 30s}", 0, ""),
        ("slow_start: {time: 2h}", 24, "time: expected 1ms to 1h, got '2h'"),
        (
            "hash: source; balance: maglev; slow_start: {time: 1s}",
            17,
            "slow_start: with maglev a request's key says where",
        ),
        (
            "hash: source; balance: ring-hash; slow_start: {time: 1s}",
            17,
            "slow_start: with ring-hash a request's key says",
        ),
        ("prefer: {subset: {zone: b}}", 0, ""),
        ("prefer: {subset: {zone: {in: [b, c]}}, healthy: 0%}", 0, ""),
        ("prefer: {subset: {zone: c}}", 22, "no endpoint of cluster 'b' has zone=c: nobody is preferred"),
        ("prefer: {subset: {all: x}}", 22, "all endpoints of cluster 'b' have all=x: prefer does nothing"),
        ("prefer: {subset: {}}", 22, "expected one value at least"),
        ("prefer: {subset: {zone: {header: x}}}", 22, "who is preferred is the same for all requests: give"),
        ("prefer: {subset: {zone: b}, healthy: 2}", 42, "healthy: expected a share like 20% or 0.5%, up to"),
        ("panic: 30%", 12, "panic does nothing without health or outlier: nobody is left out"),
        ("panic: 30%; outlier: {}", 0, ""),
        ("outlier: {slower: 1x}", 23, "slower: expected how many times, like 3x or 1.5x, from 1.1x to 1000x"),
        ("outlier: {slower: 1.5x}", 0, ""),
    ],
)
def test_what_a_cluster_says_of_its_endpoints(tmp_path, more, column, says):
    path = tmp_path / "c.yaml"
    text = GOOD.partition("clusters:")[0] + ZONES + "".join(f"    {one}\n" for one in more.split("; "))
    path.write_text(text)
    line = text.count("\n")
    try:
        found = [str(one) for one in config.load(path).warnings]
    except ConfigErrors as error:
        found = [str(one) for one in error.errors]
    if not says:
        assert found == []
        return
    [message] = found
    assert message.startswith(f"{path}:{line}:{column}: {says}"), message


def test_a_retry_has_a_wait_and_a_budget(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("on: [reset]", "on: [reset], backoff: {base: 5ms}, budget: 2.5%"))
    retry = config.load(path).config.routes[0].rules[0].retry
    assert (retry.backoff.base, retry.backoff.max, retry.budget) == (5, 200, 25_000)
    assert [str(Share(n)) for n in (0, 1, 500, 25_000, 1_000_000)] == [
        "0%",
        "0.0001%",
        "0.05%",
        "2.5%",
        "100%",
    ]
    assert all(Share.parse(str(Share(n))) == n for n in (0, 1, 500, 25_000, 1_000_000))


def test_a_limit_by_one_key_or_several(tmp_path):
    path = tmp_path / "c.yaml"
    for by, expected in [
        ("service", [("service", "")]),
        ("{header: tenant}", [("header", "tenant")]),
        ("[method, {header: no}]", [("method", ""), ("header", "no")]),
    ]:
        path.write_text(GOOD.replace("timeout: 1.5s", f"limit: {{rate: 5/m, by: {by}}}"))
        loaded = config.load(path)
        assert not loaded.warnings
        limit = loaded.config.routes[0].rules[0].limit
        assert [(key.what, key.name) for key in schema.keys(limit.by)] == expected


def test_keys_without_by_are_a_warning(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("timeout: 1.5s", "limit: {rate: 5/m, keys: 7}"))
    (warning,) = (str(one) for one in config.load(path).warnings)
    assert warning.endswith(":12:34: keys does nothing without by: there is one bucket for all requests")


def test_the_buckets_of_all_rules_are_bounded():
    limit = {"rate": "1/s", "by": "source", "keys": 1_000_000}
    every = {
        "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r"}],
        "clusters": [{"name": "c", "endpoints": ["127.0.0.1:1"]}],
    }

    def rules(count):
        match = [{"match": {"service": f"s{n}"}, "cluster": "c", "limit": limit} for n in range(count)]
        return every | {"routes": [{"name": "r", "rules": match}]}

    assert config.load(rules(16)).config.routes
    with pytest.raises(
        ConfigErrors, match="keys: with this rule there are 17000000 buckets, and 16777216 of all"
    ):
        config.load(rules(17))
