"""``protokit decode`` in this process, and frames for it."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from protokit import plugins
from protokit.cli.group import group

GOLDEN = Path(__file__).parent / "golden"
REPO = Path(__file__).parents[1]
SHARED = Path(os.environ.get("PROTOKIT_WIRE_VECTORS", REPO.parent / "shared" / "wire" / "vectors"))
MEMO = """
from memo import memo
from protokit import hookimpl

page = memo(**{mistake})

@hookimpl
def protokit_protocols():
    return [page]
"""


def vectors(name: str) -> list[dict]:
    found = [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines()]
    if (SHARED / f"{name}.jsonl").is_file():
        found += [json.loads(line) for line in (SHARED / f"{name}.jsonl").read_text().splitlines()]
    for one in found:
        one["expect"] |= one.get("facts", {})
    kinds = {"request", "oneway", "response", "heartbeat", "heartbeat_ack"}
    return [one for one in found if one["expect"].get("kind") in kinds]


def one_of(name: str, kind: str) -> bytes:
    return next(bytes.fromhex(one["hex"]) for one in vectors(name) if one["expect"]["kind"] == kind)


BOLT, BOLT_ANSWER = one_of("bolt", "request"), one_of("bolt", "response")
DUBBO, DUBBO_ANSWER = one_of("dubbo", "request"), one_of("dubbo", "response")


def dubbo(number: int) -> bytes:
    return DUBBO[:4] + struct.pack(">Q", number) + DUBBO[12:]


@pytest.fixture(autouse=True, scope="module")
def loaded_once():
    """What is installed is compiled once, not for each run."""
    load, loaded = plugins.load, {}

    def once(names=None, files=()):
        key = names if names is None else tuple(names)
        if files or key not in loaded:
            registry = load(names, files)
            return registry if files else loaded.setdefault(key, registry)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "load", once)
        yield


def run(*arguments: str, data: bytes | str | None = None):
    if data is not None:
        arguments += ("-",)
    result = CliRunner().invoke(group, ["decode", *arguments], input=data)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def rows(result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def frames(result) -> list[dict]:
    return [row for row in rows(result) if row["record"] == "frame"]
