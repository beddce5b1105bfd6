"""What values are written as: durations, sizes, rates, shares, patterns, addresses."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protokit.config.scalars import Address, Duration, Pattern, Rate, Share, Size


def test_numbers_are_written_as_they_are_read():
    for kind, texts in (
        (Duration, "0ms 999ms 1s 90s 1h 480h 61m"),
        (Size, "0B 1B 1KiB 1025B 512MiB 1024GiB"),
    ):
        for text in texts.split():
            assert str(kind.parse(text)) == text


@given(st.integers(0, 2**31 - 1))
def test_durations(ms):
    assert Duration.parse(f"{ms}ms") == ms
    assert Duration.parse("1.5s") == 1500


@pytest.mark.parametrize("text", ["", "5", "-1s", "1e3s", "5 s", "9999999h", "٣s"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="expected a duration"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["", "a", "a*", "*a", "a*b", "*", "**", "a.*"])
@pytest.mark.parametrize("value", ["", "a", "ab", "ba", "a\nb", "a.", "acb"])
def test_each_star_of_a_pattern_stands_for_anything(text, value):
    assert Pattern.parse(text).matches(value) == fnmatch.fnmatchcase(value, text)


def test_sizes_and_addresses():
    assert [Size.parse(t) for t in ("7", "64KiB", "8 MiB", "1GB")] == [7, 65536, 8 << 20, 10**9]
    assert (Address.parse("[::1]:80").host, Address.parse("localhost:80").port) == ("::1", 80)
    for text in ("::1:80", "a:b", "a:99999", "a b:1", ""):
        with pytest.raises(ValueError, match="expected an address"):
            Address.parse(text)


@pytest.mark.parametrize(
    ("text", "interval", "in_a_second"),
    [
        ("100/s", 10_000_000, 100),
        ("1000000/s", 1000, 10**6),
        ("3/s", 333_333_334, 3),  # rounded up: never more than the rate
        ("5/m", 12 * 10**9, 1),
        ("60000000/m", 1000, 10**6),
        ("1/h", 3600 * 10**9, 1),
        ("7200/h", 500_000_000, 2),
    ],
)
def test_rates(text, interval, in_a_second):
    rate = Rate.parse(text)
    assert (rate, rate.interval, rate.in_a_second) == (text, interval, in_a_second)


@pytest.mark.parametrize(
    ("text", "millionths"),
    [("100%", 10**6), ("10%", 10**5), ("0.1%", 1000), ("0.0001%", 1), ("12.5%", 125_000), ("0%", 0)],
)
def test_shares(text, millionths):
    assert Share.parse(text) == millionths
    assert str(Share(millionths)) == text
