"""Amounts of bytes, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oom_suite.errors import UsageError
from oom_suite.units import GIB, KIB, MIB, TIB, format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("1KiB", KIB),
        ("1.5 MiB", 3 * MIB // 2),
        (" 12.74GiB ", 13_679_470_837),
        (".5GiB", GIB // 2),
        ("2TiB", 2 * TIB),
        ("0.1B", 0),
    ],
)
def test_an_amount_is_its_whole_bytes_rounded_down(text, expected):
    assert expected == parse_bytes(text)


def test_a_decimal_fraction_is_not_rounded_through_a_float():
    assert 9_007_199_254_740_993 * GIB == parse_bytes("9007199254740993GiB")


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1e3", "1,5GiB", "1 2GiB", "nan", "1GiB/s"])
def test_what_is_no_amount_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"not an amount of bytes: .*12\.74GiB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1GB", "GiB"),
        ("1gib", "GiB"),
        ("1M", "MiB"),
        ("1kb", "KiB"),
        ("1b", "B"),
        ("1Bytes", "GiB"),
        ("1Q", "GiB"),
    ],
)
def test_a_unit_that_is_not_binary_is_refused_and_the_nearest_named(text, meant):
    with pytest.raises(UsageError, match=rf"unknown unit .*did you mean {meant}\?"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (0.5, "0.5 B"),
        (KIB, "1.00 KiB"),
        (221_839 * 65_536, "13.54 GiB"),
        (32_739_886_976, "30.49 GiB"),
        (-MIB, "-1.00 MiB"),
        (2048 * TIB, "2048.00 TiB"),
    ],
)
def test_an_amount_is_shown_in_its_largest_unit(num_bytes, expected):
    assert expected == format_bytes(num_bytes)


@given(st.integers(min_value=0, max_value=1 << 50))
def test_what_is_shown_reads_back_to_within_its_two_decimals(num_bytes):
    shown = format_bytes(num_bytes).replace(",", "")
    assert abs(parse_bytes(shown) - num_bytes) <= max(1, num_bytes) * 0.006
