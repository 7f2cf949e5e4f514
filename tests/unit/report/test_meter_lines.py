"""What the meters said, one line each."""

from __future__ import annotations

import random

import pytest

from oom_suite.records import Reading
from oom_suite.report.meters import meter_lines

GIB = 1 << 30
MIB = 1 << 20


def on(meter, *, total=0, reserve=0, **sizes):
    """Readings in GiB: ``used_before=1`` is ``device used, before``."""
    names = {"used": "device used", "process": "this process", "group": "group"}
    found = []
    for key, size in sizes.items():
        what, _, when = key.partition("_")
        told = {"sampled": "peak of the samples", "ever": "peak since the group began"}
        found.append(Reading(meter, f"{names[what]}, {told.get(when, when)}", int(size * GIB)))
    if total:
        found.append(Reading(meter, "device total", total))
    if reserve:
        found.append(Reading(meter, "driver's reserve", reserve))
    return found


RESERVE = 615 * MIB
H200 = (
    *on("cgroup", group_before=6, group_after=7, group_sampled=7, group_peak=8),
    Reading("cgroup", "group limit", None, "none is set"),
    *on("mem_get_info", total=140 * GIB - RESERVE, used_before=50, used_after=81),
    *on("nvml", total=140 * GIB, reserve=RESERVE, used_before=50, used_after=89, used_sampled=90),
    *on("nvml", process_before=16, process_after=16, process_sampled=29),
    Reading("sampler", "between samples", None, "1 round: a shorter peak can be missed"),
)
LINES = [
    (
        "nvml          this process 29.00 GiB sampled peak (16.00 before and after); "
        "device used 90.00 GiB sampled peak (50.00 before, 89.00 after); "
        "device total 140.00 GiB; driver's reserve 615.00 MiB"
    ),
    "mem_get_info  device used 50.00 GiB before, 81.00 GiB after",
    (
        "cgroup        group 8.00 GiB peak (7.00 sampled peak and after, 6.00 before); "
        "group limit: none is set"
    ),
    "sampler       1 round: a shorter peak can be missed",
]


def texts(*readings):
    return [line.text for line in meter_lines(readings)]


def test_each_meter_has_one_line_with_its_peak_first():
    """Eighteen figures in four lines; a peak of samples is called one."""
    assert LINES == texts(*H200)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_meters_and_of_what_they_share_is_fixed(seed):
    """Whatever was read first, the lines are the same."""
    mixed = list(H200)
    random.Random(seed).shuffle(mixed)
    assert LINES == texts(*mixed)


def test_the_same_total_stands_once():
    """Two meters of one device repeat nothing."""
    assert ["amdsmi  device total 192.00 GiB"] == texts(
        *on("drm", total=192 * GIB), *on("amdsmi", total=192 * GIB)
    )


@pytest.mark.parametrize("off_bytes", [-1, 1])
def test_another_total_is_shown(off_bytes):
    """One byte beside what total and reserve explain, and the meters disagree."""
    lines = texts(
        *on("nvml", total=140 * GIB, reserve=RESERVE),
        *on("mem_get_info", total=140 * GIB - RESERVE + off_bytes),
    )
    assert lines[1].startswith("mem_get_info  device total 139")


def test_an_amount_in_another_unit_keeps_its_unit():
    """Only a unit that the peak has said already is left away."""
    assert ["nvml  device used 2.00 GiB peak (512.00 MiB before, 1.00 after)"] == texts(
        *on("nvml", used_before=0.5, used_after=1, used_peak=2)
    )


def test_a_peak_of_the_groups_whole_life_is_not_called_the_calls():
    """What began before the call is named as such, and why there is nothing better."""
    why = Reading("cgroup", "group, peak", None, "memory.peak cannot be reset before Linux 6.12")
    assert [
        (
            "cgroup  group 2.00 GiB before, 3.00 GiB after, 9.00 GiB peak since the group began; "
            "group, peak: memory.peak cannot be reset before Linux 6.12"
        )
    ] == texts(*on("cgroup", group_before=2, group_after=3, group_ever=9), why)


def test_what_was_left_out_says_why_in_place_of_a_figure():
    """A quantity by its name; a meter that failed as a whole by its reason alone."""
    assert ["nvml    device used: no driver", "psutil  no such process"] == texts(
        Reading("psutil", "all", None, "no such process"),
        Reading("nvml", "device used", None, "no driver"),
    )


def test_an_unknown_meter_stands_before_the_sampler():
    """Another meter's figures are shown as they are named."""
    assert ["new      rows, odd 1.00 GiB", "sampler  why"] == texts(
        Reading("sampler", "between samples", None, "why"), Reading("new", "rows, odd", GIB)
    )


def test_without_readings_there_is_no_line():
    """Nothing said, nothing shown."""
    assert [] == texts()
