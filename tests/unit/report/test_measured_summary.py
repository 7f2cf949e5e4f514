"""How a whole check was measured, under its table."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from oom_suite.records import (
    AllocatorPeaks,
    Environment,
    Frame,
    Measurement,
    OutOfMemory,
    Reconciliation,
    Result,
    Tenant,
    Verdict,
)
from oom_suite.report import render
from oom_suite.report.measured import measured_summary
from oom_suite.report.rows import brief

H200 = Environment("cuda", "NVIDIA H200", "sm_90", "580.1", "CUDA 13.0", "2.11.0", "")
PLACE = "measured on NVIDIA H200, sm_90, driver 580.1, CUDA 13.0, torch 2.11.0: "
PEAKS = AllocatorPeaks(1 << 20, 2 << 20, 2 << 20, 3 << 20)
GOOD = Result(
    subject="good",
    workload="decode",
    lane="measure",
    scenario="small",
    sizes={},
    verdict=Verdict.PASS,
    reason="fine; measured to the byte",
    measurement=Measurement(H200),
    reconciliation=Reconciliation(PEAKS, 1 << 20, PEAKS),
)
FIGURES = "1.00 MiB requested, 2.00 MiB allocated, 3.00 MiB reserved"


def other(subject, **changes):
    return replace(GOOD, subject=subject, verdict=Verdict.INCONCLUSIVE, **changes)


def off_by_one(bound_bytes):
    return Reconciliation(PEAKS, (1 << 20) + 1, PEAKS, bound_bytes=bound_bytes)


def test_passes_are_counted_with_their_place_and_their_peaks():
    """Device, driver and runtime once, then each pass with what the allocator counted."""
    assert [
        PLACE + "2 of 2 to the byte",
        f"  good    {FIGURES}",
        f"  better  {FIGURES}",
    ] == list(measured_summary([GOOD, replace(GOOD, subject="better")]))


def test_a_failure_is_counted_and_has_its_figures_in_its_own_block():
    """It agrees to the byte as well as a pass does."""
    failed = replace(GOOD, subject="bad", verdict=Verdict.FAIL)
    assert [PLACE + "2 of 2 to the byte", f"  good  {FIGURES}"] == list(
        measured_summary([GOOD, failed])
    )


def test_repeats_that_were_alike_are_counted():
    """Fifty runs, equal event by event."""
    often = replace(GOOD, measurement=Measurement(H200, num_runs=50))
    assert PLACE + "1 of 1 to the byte, 50 times alike" == next(measured_summary([often]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measurement": None, "reconciliation": None}, "not measured"),
        ({"reconciliation": off_by_one(0)}, "unexplained"),
        ({"reconciliation": off_by_one(1)}, "within the bound"),
        (
            {"measurement": Measurement(H200, num_runs=3, is_repeatable=False)},
            "not alike in 3 runs",
        ),
        ({"measurement": Measurement(H200, tenants=(Tenant(5, None),))}, "beside other processes"),
        (
            {
                "measurement": Measurement(H200, out_of_memory=OutOfMemory("no", 5, 4)),
                "reconciliation": None,
            },
            "out of memory",
        ),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_does_not_agree_to_the_byte_is_named(changes, said):
    """The kind, then the subjects of it."""
    results = [other("a", **changes), GOOD, other("b", **changes)]
    assert PLACE + f"1 of 3 to the byte; {said}: a, b" == next(measured_summary(results))


def test_two_places_have_a_line_each():
    """What never got to a device is told with the first."""
    there = replace(GOOD, measurement=Measurement(replace(H200, driver="590.1")))
    lost = other("lost", measurement=None, reconciliation=None)
    lines = [one for one in measured_summary([GOOD, lost, there]) if one.startswith("measured")]
    assert [
        PLACE + "1 of 2 to the byte; not measured: lost",
        PLACE.replace("580", "590") + "1 of 1 to the byte",
    ] == lines


def test_without_a_measurement_there_is_no_line():
    """Another lane, or no device: each result says why itself."""
    lost = other("lost", measurement=None, reconciliation=None)
    assert [] == list(measured_summary([lost, replace(GOOD, lane="shadow")]))


@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
def test_the_lines_stand_between_the_table_and_the_counts(terminal):
    """Whole where nobody watches; broken at a terminal's width where somebody does."""
    sink = io.StringIO()
    render([GOOD], Console(file=sink, width=60, force_terminal=terminal, color_system=None))
    broken = PLACE.replace(", torch", ",\n  torch") if terminal else PLACE
    assert sink.getvalue().endswith(
        f"\n\n{broken}1 of 1 to the byte\n  good  {_broken(terminal)}\n\n1 passed\n"
    )


def _broken(terminal):
    return FIGURES.replace("MiB reserved", "MiB\n    reserved") if terminal else FIGURES


TORCH = (
    "out of memory: OutOfMemoryError: CUDA out of memory. Tried to allocate 7.72 GiB. "
    "GPU 0 has a total capacity of 139.80 GiB of which 20.91 GiB is free. Process 7055 has "
    "8.39 GiB memory in use. Of the allocated memory 7.75 GiB is allocated by PyTorch. See "
    "documentation (https://docs.pytorch.org/notes/cuda.html#a-b) at pools.py:44 (paged_pool)"
)


def test_torchs_paragraph_is_cut_to_what_was_asked_for_and_free_and_where():
    """The first sentences and the line of the code under test; JSON has the rest."""
    wanted = (
        "out of memory: OutOfMemoryError: CUDA out of memory. Tried to allocate 7.72 GiB. "
        "GPU 0 has a total capacity of 139.80 GiB of which 20.91 GiB is free ... "
        "at pools.py:44 (paged_pool)"
    )
    assert wanted == brief(TORCH)
    assert wanted.replace("CUDA", "HIP") == brief(TORCH.replace("CUDA", "HIP"))


def test_a_limit_of_the_process_is_kept():
    """123.68 GiB free and 13.54 GiB refused reads as nonsense without what was allowed."""
    limited = TORCH.replace("Of the allocated", "28.19 GiB allowed; Of the allocated")
    assert brief(limited).endswith("is free ... 28.19 GiB allowed ... at pools.py:44 (paged_pool)")


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 7.72 GiB. GPU 0 has 1 GiB.",
        "not memory. One. Two. Three. Four. Five.",
        "",
    ],
    ids=["three-sentences", "another-reason", "empty"],
)
def test_other_reasons_are_shown_whole(text):
    """Three sentences are no paragraph, and what is not torch's is not touched."""
    assert text == brief(text)


def test_a_fourth_sentence_is_cut_without_a_place_too():
    """The exact boundary, with nothing to keep behind it."""
    text = "HIP out of memory. Tried to allocate 2 GiB. GPU 0 has 1 GiB. Four."
    assert "HIP out of memory. Tried to allocate 2 GiB. GPU 0 has 1 GiB ..." == brief(text)


def test_the_whole_reason_is_kept_in_the_record():
    """Only what is shown is cut: in the block and in the memory row."""
    failed = OutOfMemory(TORCH, 5, 4, (Frame("a.py", 3, "f"),))
    lost = other("lost", reason=TORCH, measurement=Measurement(H200, out_of_memory=failed))
    sink = io.StringIO()
    render([lost], Console(file=sink, width=100))
    assert 0 == sink.getvalue().count("Process 7055")
    assert 2 == sink.getvalue().count("20.91 GiB is free ...")
    assert TORCH == lost.to_json()["reason"]
    assert TORCH == lost.to_json()["measurement"]["out_of_memory"]["message"]
