"""Predictions made without a GPU against what an H200's allocator did, event by event."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from fixtures.processes import runs_of
from oom_suite.allocator import peaks_of
from oom_suite.doors import workload

ROWS = json.loads((Path(__file__).parent / "h200_calls.json").read_text("utf-8"))["rows"]
WORKLOADS = {"build": workload("decode"), "build_swa_only": workload("decode-swa")}
KINDS = ("requested", "allocated", "active", "reserved")
SUBJECTS = tuple(dict.fromkeys(row["subject"] for row in ROWS))

BUILT_IN = [name for name in SUBJECTS if "==" not in name]
RELEASES = [pytest.param(name, marks=pytest.mark.oom_registry) for name in SUBJECTS if "==" in name]


@pytest.mark.parametrize("subject", [*BUILT_IN, *RELEASES])
def test_every_event_and_every_peak_is_the_h200s(subject):
    """Requests, their order, and the allocator's four peaks equal the device's to the byte."""
    expected, seen = {}, {}
    with runs_of(subject) as runs:
        for row in (row for row in ROWS if row["subject"] == subject):
            name = f"{row['builder']} {row['case']}"
            of_workload = runs.with_workload(WORKLOADS[row["builder"]])
            trace = of_workload.known(row["sizes"], scratch="cuda")
            peaks = peaks_of(trace)
            expected[name] = (row["num_events"], row["crc32"], *(row[kind] for kind in KINDS))
            figures = (getattr(peaks, f"{kind}_bytes") for kind in KINDS)
            seen[name] = (len(trace.events), digest(trace), *figures)
    assert 16 == len(expected)
    assert expected == seen


def digest(trace):
    sign = {"alloc": 1, "free": -1}
    signed = [
        sign[event.kind] * trace.allocations[event.allocation].requested_bytes
        for event in trace.events
    ]
    return zlib.crc32(",".join(map(str, signed)).encode())
