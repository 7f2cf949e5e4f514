"""A trace replayed: the peaks of a call in a pool of its own, and where it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.processes import runs_of
from oom_suite.allocator import parse_settings, peaks_of, replay
from oom_suite.records import Allocation, AllocatorPeaks, Event, Trace
from oom_suite.units import MIB
from oom_suite.workloads.sparse_mla.geometry.scenarios import SMALL, resize

EVIDENCE = Path(__file__).parents[3] / "docs/evidence/2026-11-22-h200-issue-41962.json"
BUILT_INS = ("full_dequant", "token_gather", "block_compaction", "streaming")


def trace(*steps):
    """A trace of requests, `+bytes`, and frees of the n-th request, `-n`, as text."""
    allocations, events = [], []
    for step in steps:
        number = int(step[1:])
        if step[0] == "+":
            events.append(Event("alloc", len(allocations)))
            allocations.append(Allocation(number, "aten.empty", ()))
        else:
            events.append(Event("free", number))
    return Trace("shadow", {}, tuple(allocations), tuple(events))


def test_an_empty_call_has_no_peaks():
    """Nothing asked, nothing reserved."""
    assert AllocatorPeaks(0, 0, 0, 0) == peaks_of(trace())


def test_requests_of_no_bytes_never_reach_the_allocator():
    """An empty tensor takes neither block nor segment."""
    assert AllocatorPeaks(0, 0, 0, 0) == peaks_of(trace("+0", "-0"))


def test_each_figure_has_its_own_peak():
    """Requested, rounded, and the segments; freed memory is used again."""
    call = trace("+100", "+3000000", "-1", f"+{19 * MIB}")
    assert AllocatorPeaks(
        requested_bytes=19 * MIB + 100,
        allocated_bytes=20 * MIB + 512,
        active_bytes=20 * MIB + 512,
        reserved_bytes=22 * MIB,
    ) == peaks_of(call)


def test_settings_change_the_peaks():
    """Four divisions round 5 MiB and a byte up to 6 MiB."""
    settings = parse_settings("roundup_power2_divisions:4")
    peaks = peaks_of(trace(f"+{5 * MIB + 1}"), settings)
    assert (5 * MIB + 1, 6 * MIB) == (peaks.requested_bytes, peaks.allocated_bytes)


def test_a_replay_without_limit_serves_everything():
    """The same peaks, and what is unused where most is reserved and at the end."""
    call = trace(f"+{5 * MIB}", f"+{30 * MIB}", "-0", "-1")
    replayed = replay(call)
    assert peaks_of(call) == replayed.peaks
    assert (None, None) == (replayed.failed_allocation, replayed.refusal)
    assert (15 * MIB, 15 * MIB, 15 * MIB) == (
        replayed.at_peak.unused_bytes,
        replayed.at_peak.largest_free_block_bytes,
        replayed.at_peak.inactive_split_bytes,
    )
    assert (50 * MIB, 30 * MIB, 0) == (
        replayed.at_end.unused_bytes,
        replayed.at_end.largest_free_block_bytes,
        replayed.at_end.inactive_split_bytes,
    )


@pytest.mark.parametrize(
    ("limit_bytes", "failed"), [(50 * MIB, None), (50 * MIB - 1, 1)], ids=["exact", "a byte less"]
)
def test_the_request_that_breaks_the_limit_is_named(limit_bytes, failed):
    """20 MiB and 30 MiB of segments fit 50 MiB, and not a byte less."""
    call = trace(f"+{5 * MIB}", f"+{30 * MIB}", "-0", "-1")
    assert failed == replay(call, limit_bytes=limit_bytes).failed_allocation


def test_a_failed_replay_says_what_there_was():
    """The driver was asked for 30 MiB and had 20."""
    replayed = replay(trace(f"+{5 * MIB}", f"+{30 * MIB}"), free_bytes=40 * MIB)
    assert (1, 30 * MIB, 20 * MIB, 20 * MIB, 5 * MIB) == (
        replayed.failed_allocation,
        replayed.refusal.segment_bytes,
        replayed.refusal.remaining_bytes,
        replayed.refusal.reserved_bytes,
        replayed.refusal.allocated_bytes,
    )
    assert 20 * MIB == replayed.peaks.reserved_bytes


@pytest.mark.parametrize("subject", BUILT_INS)
def test_the_issues_scenario_has_the_peaks_of_the_gpu(subject):
    """Requested and allocated as the H200 counted them; reserved within one segment."""
    row = next(
        one
        for one in json.loads(EVIDENCE.read_text("utf-8"))["results"]
        if one["subject"] == subject
    )
    with runs_of(subject) as runs:
        peaks = peaks_of(runs.known(resize(SMALL.sizes, row["sizes"])))
    measured = row["process"]
    assert (measured["peak_requested_bytes"], measured["peak_allocated_bytes"]) == (
        peaks.requested_bytes,
        peaks.allocated_bytes,
    )
    # The device's cache held a small segment of the inputs; a pool of its own takes one.
    assert 2 * MIB == peaks.reserved_bytes - measured["peak_reserved_bytes"]
