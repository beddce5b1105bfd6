"""protokit.model: the same statuses as the C header, headers, answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import protokit
from protokit.model import Headers, Response, Status


def test_statuses_are_those_of_the_codec_abi():
    header = (Path(protokit.get_include()) / "protokit" / "codec.h").read_text()
    names = re.findall(r"PK_STATUS_(\w+)(?: = 0)?,", header)
    assert names == [status.name for status in Status]


def test_a_later_duplicate_header_wins_and_order_is_kept():
    headers = Headers([("a", "1"), ("b", "2"), ("a", "3")])
    assert dict(headers) == {"a": "3", "b": "2"}
    headers["c"] = "4"
    del headers["b"]
    assert list(headers) == ["a", "c"]


def test_a_filter_cannot_answer_ok():
    with pytest.raises(ValueError, match="not OK"):
        Response(Status.OK, "")
