"""Every key has its range and default in the docs, and the JSON schema knows it."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import msgspec
from configured import GOOD

from protokit import config
from protokit.config import defaults, schema
from protokit.config.jsonschema import json_schema
from protokit.config.scalars import Duration, Rate, Retries, Share, Size, Times

NUMBERS = frozenset({int, Duration, Size})
COUNTS = frozenset({int, Size, Share, Rate, Retries, Times})
NO_LIMITS = {  # weights and chances of one request, and what says how many workers there are
    "workers",
    "clusters.endpoints.weight",
    "clusters.slow_start.least",
    "routes.rules.split.weight",
    "routes.rules.mirror.share",
    "routes.rules.fault.delay.share",
    "routes.rules.fault.abort.share",
    "routes.rules.fault.asked.share",
}


def numbers(kind: object = schema.Config, key: str = "", of: frozenset[type] = NUMBERS) -> dict[str, type]:
    """Every key of the file that stands for such a number, with its type."""
    found = {}
    named = {one.name: one.encode_name for one in msgspec.structs.fields(kind)}
    for field, hint in typing.get_type_hints(kind).items():
        name = named[field]
        for one in (hint, *typing.get_args(hint)):
            if one in of:
                found[f"{key}{name}"] = one
            elif isinstance(one, type) and issubclass(one, msgspec.Struct) and one is not kind:
                found |= numbers(one, f"{key}{name}.", of)
    return found


def test_every_number_has_a_range_and_the_page_says_it():
    kinds = numbers()
    assert set(kinds) == set(defaults.RANGES)
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| from `(\w+)` to `(\w+)` \|$", page, re.MULTILINE)
    parsed = {
        key: tuple(kinds[key](bound) if kinds[key] is int else kinds[key].parse(bound) for bound in bounds)
        for key, *bounds in rows
    }
    assert parsed == defaults.RANGES
    assert len(rows) == len(parsed)


def test_every_limit_says_once_whether_it_is_per_worker_or_in_total():
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    table = page.partition("| limit | counted |\n|---|---|\n")[2].partition("\n\n")[0]
    said = []
    for row in table.splitlines():
        keys, counted = re.fullmatch(r"\| ((?:`[\w.]+`(?:, )?)+) \| (.+) \|", row).groups()
        assert re.match("per worker|in total|per connection|per request", counted), row
        said += re.findall(r"`([\w.]+)`", keys)
    assert sorted(said) == sorted(numbers(of=COUNTS).keys() - NO_LIMITS)
    assert numbers(of=COUNTS).keys() >= NO_LIMITS


def test_defaults_are_in_their_ranges():
    settings = {"limits": defaults.LIMITS, "timeouts": defaults.TIMEOUTS, "drain": defaults.DRAIN}
    found = {f"{section}.{name}": value for section, of in settings.items() for name, value in of.items()}
    found |= {
        "workers": defaults.WORKERS,
        "clusters.max_connections": defaults.MAX_CONNECTIONS,
        "routes.rules.retry.attempts": defaults.RETRY_ATTEMPTS,
        "routes.rules.limit.keys": defaults.LIMIT_KEYS,
        **{f"clusters.health.{name}": value for name, value in defaults.HEALTH.items()},
    }
    for key, value in found.items():
        low, high = defaults.RANGES[key]
        assert low <= value <= high, key


def test_the_json_schema_takes_numbers_of_arguments_and_booleans_as_the_file_does(tmp_path):
    path = tmp_path / "c.yaml"
    text = GOOD.replace("service: com.example.Demo,", "arguments: {0: true},")
    path.write_text(text.replace("timeout: 1.5s", 'limit: {rate: 5/m, by: {argument: "7"}}'))
    rule = config.load(path).config.routes[0].rules[0]
    assert (rule.match.arguments, rule.limit.by.name) == ({"0": "true"}, "7")
    found = json_schema()
    text = found["$defs"]["match"]["properties"]["arguments"]["additionalProperties"]["anyOf"][0]
    assert text == found["$defs"]["match"]["properties"]["method"]["anyOf"][0]
    assert "boolean" in text["type"]
    limit = found["properties"]["routes"]["items"]["properties"]["rules"]["items"]["properties"]["limit"]
    number = limit["properties"]["by"]["anyOf"][0]["anyOf"][1]["properties"]["argument"]
    assert set(number["type"]) == {"integer", "string"}
    for one in ("0", "7", "999", "1000", "07", "-1"):
        assert (re.search(number["pattern"], one) is not None) == schema.is_argument(one)


def test_the_json_schema_knows_every_key():
    found = json_schema()
    assert set(found["properties"]) == set(schema.Config.__struct_fields__)
    assert found["additionalProperties"] is False
    assert found["required"] == ["listeners", "clusters"]
    assert found["properties"]["workers"] == {"type": "integer", "minimum": 1, "maximum": 64}
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
