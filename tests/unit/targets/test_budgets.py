"""Budgets by device name and by amount."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.targets.budgets import DEVICES, Budget, budget, is_total
from oom_suite.units import MIB, format_bytes

NAMES = ["MI300X", "MI325X", "MI355X", "H100", "H200", "B200"]


def test_the_devices_are_those_that_the_command_documents():
    assert [device.name for device in DEVICES] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_device_is_found_in_any_case_and_says_its_source_and_that_it_is_a_total(name):
    found = budget(f" {name.lower()} ")
    assert found.name == name
    assert found.source.startswith("total: ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MI300X", 206_141_652_992),
        ("MI355X", 309_220_868_096),
        ("H100", 85_520_809_984),
        ("H200", 143_771 * MIB),
        ("B200", 183_359 * MIB),
    ],
)
def test_a_device_has_what_its_driver_reports(name, expected):
    assert expected == budget(name).free_bytes


def test_an_mi325x_has_what_the_issue_quotes():
    assert format_bytes(budget("MI325X").free_bytes) == "255.98 GiB"


def test_an_amount_is_a_budget_of_that_name():
    found = budget(" 12.74GiB ")
    assert (found.name, found.free_bytes) == ("12.74GiB", 13_679_470_837)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "free",
        "MI325X:",
        "MI999X:1GiB",
        "H200:0",
        "H200:1GB",
        "MI999X",
        "-3GiB",
        "GiB",
        "12.74GB",
        "1 2",
        "0",
        "0.0GiB",
        ".5",
    ],
)
def test_what_is_no_budget_is_refused_in_one_line_with_the_names_and_an_example(text):
    with pytest.raises(UsageError) as caught:
        budget(text)
    message = str(caught.value)
    assert "\n" not in message
    assert ", ".join(NAMES) in message
    assert "12.74GiB" in message


def test_what_is_free_on_a_device_keeps_its_name():
    found = budget(" mi325x: 12.74GiB ")
    assert (found.name, found.free_bytes) == ("MI325X:12.74GiB", 13_679_470_837)
    assert found.source.startswith("given by the user; total: HIP")


def test_all_that_a_device_has_can_be_free_and_a_byte_more_cannot():
    assert budget("H200:143771MiB").free_bytes == budget("H200").free_bytes
    with pytest.raises(UsageError, match=r"more than a H200 has: 140\.40 GiB of 140\.40 GiB"):
        budget(f"H200:{143_771 * MIB + 1}B")


def test_a_devices_name_alone_is_its_total_and_nothing_else_is():
    names = ("MI325X", "MI325X:12.74GiB", "12.74GiB", "free memory of cpu")
    assert [is_total(name) for name in names] == [True, False, False, False]


def test_what_is_free_now_is_asked_of_the_run():
    found = Budget("free memory of cpu", 5, "now")
    assert budget(" Free", lambda: found) is found


def test_a_decimal_unit_is_refused_with_the_binary_one():
    with pytest.raises(UsageError, match=r"did you mean GiB\?"):
        budget("12.74GB")
