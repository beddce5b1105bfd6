"""What ``check`` says about where rules lead: each mistake with its place."""

from __future__ import annotations

import pytest

from protokit import config
from protokit.errors import ConfigErrors

FILE = """\
listeners: [{{name: in, bind: "127.0.0.1:0", protocol: dubbo, routes: r}}]
routes:
  - name: r
    rules:
      - {rule}
clusters:
  - name: demo
    endpoints:
      - {{address: "127.0.0.1:1", metadata: {{version: 1.0, ssl: no, time: 20:30}}}}
      - {{address: "127.0.0.1:2", metadata: {{version: "2.0", lane: blue}}}}
      - {{address: "127.0.0.1:3", metadata: {{version: off}}, weight: 0}}
  - {{name: other, endpoints: ["127.0.0.1:4"]}}
"""
OTHER = "{match: {service: never}, cluster: other}\n      - "


def load(tmp_path, rule):
    path = tmp_path / "c.yaml"
    path.write_text(FILE.format(rule=OTHER + rule))
    return config.load(path)


def said(found):
    return [f"{one.line}:{one.column}: {one.message}" for one in found]


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("{cluster: demo, subset: {version: {}}}", "6:43: expected a value, or one of in and header"),
        ("{cluster: demo, subset: {version: {in: [a], header: b}}}", "6:43: expected a value, or one of"),
        ("{cluster: demo, subset: {version: {in: []}}}", "6:48: in: expected one value at least"),
        ("{cluster: demo, subset: {version: [a]}}", "6:43: version: expected a single value, got a list"),
        ("{cluster: demo, subset: {version: {headr: a}}}", "6:44: unknown key 'headr' in version"),
        ("{cluster: demo, fallback: any}", "6:35: a fallback is for a subset: there is none here"),
        (
            "{cluster: demo, subset: {version: 1.0}, fallback: all}",
            "6:59: fallback: expected one of none, any",
        ),
        (
            "{cluster: demo, subset: {version: 1.0}, fallback: {subset: {}}}",
            "6:68: expected one value at least; for all endpoints write fallback: any",
        ),
        (
            "{cluster: demo, subset: {version: 1.0}, fallback: {subset: {version: {header: x}}}}",
            "6:68: a fallback is where a header's value leads nowhere: it has values",
        ),
        ("{subset: {version: 1.0}, reply: {status: denied}}", "6:18: subset: expected the cluster beside it"),
        (
            "{subset: {version: 1.0}, split: [{cluster: demo}, {cluster: other}]}",
            "6:18: with a split each share has its own subset",
        ),
        ("{cluster: {header: h, of: []}}", "6:35: of: expected one cluster at least"),
        ("{cluster: {header: h, of: [demo, demo]}}", "6:42: cluster 'demo' stands here twice"),
        ("{cluster: {header: h, of: [demi]}}", "6:36: there is no cluster 'demi'; did you mean 'demo'?"),
        ("{cluster: {header: h, of: [demo], else: x}}", "6:49: there is no cluster 'x'"),
        ("{cluster: {of: [demo]}}", "6:19: cluster: 'header' must be given"),
        ("{cluster: [demo]}", "6:19: cluster: expected a single value, got a list"),
        (
            "{cluster: {header: h, of: [demo]}, subset: {version: 1.0}}",
            "6:52: where a header names the cluster there is no subset",
        ),
        (
            "{cluster: {header: h, of: [demo]}, fallback: any}",
            "6:54: where a header names the cluster there is no subset",
        ),
        (
            "{cluster: demo, sticky: service}",
            "6:33: sticky says which share of a split a request has: there is none",
        ),
        (
            "{split: [{cluster: demo}], sticky: colour}",
            "6:44: sticky: expected service, method, source, {header: NAME} or {argument: 0 to 999}, got",
        ),
        ("{split: [{cluster: demo}], sticky: {hedaer: x}}", "6:45: unknown key 'hedaer' in sticky"),
        (
            "{cluster: demo, subset: {" + ", ".join(f"k{i}: {{header: h}}" for i in range(9)) + "}}",
            "6:33: headers may say 8 values at most",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, rule, wrong):
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, rule)
    assert len(caught.value.errors) == 1, said(caught.value.errors)
    assert said(caught.value.errors)[0].startswith(wrong)


REFUSED = "its requests are refused"
TAKES = "all of its requests take the fallback"


@pytest.mark.parametrize(
    ("rule", "warned"),
    [
        ("{cluster: demo, subset: {version: 1.0}}", None),
        ("{cluster: demo, subset: {version: 2.0}}", None),
        ("{cluster: demo, subset: {ssl: no, time: 20:30}}", None),
        ("{cluster: demo, subset: {version: {header: tag}}}", None),
        (
            "{cluster: demo, subset: {version: 1}}",
            f"6:33: no endpoint of cluster 'demo' has version=1: {REFUSED}",
        ),
        (
            "{cluster: demo, subset: {ssl: false}}",
            f"6:33: no endpoint of cluster 'demo' has ssl=false: {REFUSED}",
        ),
        (
            "{cluster: demo, subset: {version: off}}",
            f"6:33: no endpoint of cluster 'demo' has version=off: {REFUSED}",
        ),
        (
            "{cluster: demo, subset: {version: '3'}, fallback: any}",
            f"6:33: no endpoint of cluster 'demo' has version=3: {TAKES}",
        ),
        (
            "{split: [{cluster: other}, {cluster: demo, subset: {version: {in: [x y, 3]}}}]}",
            f"6:60: no endpoint of cluster 'demo' has version=3|'x y': {REFUSED}",
        ),
        (
            "{cluster: demo, subset: {zone: {header: zone}}}",
            f"6:33: no endpoint of cluster 'demo' has zone in its metadata: {REFUSED}",
        ),
        (
            "{cluster: demo, subset: {version: {header: tag}, lane: red}}",
            f"6:33: no endpoint of cluster 'demo' has version, lane=red in its metadata: {REFUSED}",
        ),
        (
            "{cluster: demo, subset: {version: {header: tag}}, fallback: {subset: {version: 3}}}",
            f"6:69: no endpoint of cluster 'demo' has version=3: {REFUSED}",
        ),
    ],
)
def test_a_subset_that_nobody_is_in_is_a_warning(tmp_path, rule, warned):
    assert said(load(tmp_path, rule).warnings) == ([] if warned is None else [warned])


def test_so_many_subsets_a_cluster_may_have(tmp_path):
    def every(count):
        endpoints = [{"address": f"127.0.0.1:{1 + i}", "metadata": {"lane": str(i)}} for i in range(count)]
        return {
            "listeners": [{"name": "in", "bind": "127.0.0.1:0", "protocol": "dubbo", "routes": "r"}],
            "routes": [{"name": "r", "rules": [{"cluster": "c", "subset": {"lane": {"header": "lane"}}}]}],
            "clusters": [{"name": "c", "endpoints": endpoints}],
        }

    config.load(every(1024))
    with pytest.raises(ConfigErrors, match="name 1025 subsets of cluster 'c': 1024 at most"):
        config.load(every(1025))
