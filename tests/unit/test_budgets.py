"""Budgets by device name and by amount."""

from __future__ import annotations

import pytest

from oom_suite.budgets import DEVICES, budget
from oom_suite.errors import UsageError
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
    "text", ["", "MI999X", "-3GiB", "GiB", "12.74GB", "1 2", "0", "0.0GiB", ".5"]
)
def test_what_is_no_budget_is_refused_in_one_line_with_the_names_and_an_example(text):
    with pytest.raises(UsageError) as caught:
        budget(text)
    message = str(caught.value)
    assert "\n" not in message
    assert ", ".join(NAMES) in message
    assert "12.74GiB" in message


def test_a_decimal_unit_is_refused_with_the_binary_one():
    with pytest.raises(UsageError, match=r"did you mean GiB\?"):
        budget("12.74GB")
