"""protokit.model: the same statuses as the C header, headers, requests, answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import protokit
from protokit.model import Filter, Headers, Request, Response, Status


def test_statuses_are_those_of_the_codec_abi():
    header = (Path(protokit.get_include()) / "protokit" / "codec.h").read_text()
    names = re.findall(r"PK_STATUS_(\w+)(?: = 0)?,", header)
    assert names == [status.name for status in Status]
    assert [int(status) for status in Status] == list(range(len(names)))


def test_a_later_duplicate_header_wins_and_order_is_kept():
    headers = Headers([("a", "1"), ("b", "2"), ("a", "3")])
    assert dict(headers) == {"a": "3", "b": "2"}
    headers["c"] = "4"
    del headers["b"]
    assert list(headers) == ["a", "c"]
    assert len(headers) == 2
    assert headers == {"a": "3", "c": "4"}


def test_requests_do_not_share_headers_and_take_no_other_attributes():
    one, two = Request("s"), Request("s")
    one.headers["a"] = "1"
    assert not two.headers
    assert one.cluster is None
    with pytest.raises(AttributeError):
        one.clustre = "typo"  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [Status.OK, Status.APP_ERROR])
def test_a_filter_cannot_answer_what_only_a_service_can(status):
    with pytest.raises(ValueError, match=f"an error status, not {status.name}"):
        Response(status, "")


def test_values_show_themselves():
    assert repr(Request("s", "m", version="1", protocol="dubbo")) == "Request(dubbo s.m version='1' group='')"
    assert repr(Response(Status.DENIED, "no")) == "Response(DENIED, 'no')"
    assert repr(Headers({"a": "1"})) == "Headers({'a': '1'})"


def test_a_filter_has_to_say_what_it_does():
    with pytest.raises(NotImplementedError):
        Filter().request(Request()).send(None)
    with pytest.raises(NotImplementedError):
        Filter().on_end([]).send(None)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [("n", 5, "header 'n' is set to 5, expected a text"), (7, "x", "a header's name is 7, expected a text")],
)
def test_a_header_of_a_wrong_type_is_named_where_it_is_set(key, value, text):
    with pytest.raises(TypeError, match=text):
        Request().headers[key] = value
    with pytest.raises(TypeError, match=text):
        Request().headers = {key: value}
    with pytest.raises(TypeError, match=text):
        Request().headers = Headers({key: value})
