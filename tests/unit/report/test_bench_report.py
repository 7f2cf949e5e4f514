"""A benchmark as text: the table, what was not timed, and what is worse than before."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from oom_suite.errors import UsageError
from oom_suite.records.bench import Bench, BenchDevice, BenchRow, Shape, Timing
from oom_suite.report.bench import read_bench, refuse_other_device, render_bench, worse_lines

DEVICE = BenchDevice("NVIDIA H200", "2.11.0", 50 << 20, 4000.0)
C4A = Shape("decode", "decode", {"heads": 64, "tokens": 8}, "c4a")
FUSED = Timing("fused", "graph", 18.0, 0, 4, 36_000_000)
PEER = Timing("vllm==0.22.0", "events", 540.0, 545_000, 4, 36_000_000, "not captured: no")
FOUND = Bench(DEVICE, (BenchRow(C4A, (FUSED, PEER)),), {"flash_mla": "not installed"})


@pytest.fixture
def text(monkeypatch):
    """`text(found)`: its lines."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def rendered(found):
        console = Console(width=80)
        with console.capture() as capture:
            render_bench(found, console)
        return [line.rstrip() for line in capture.get().splitlines()]

    return rendered


def test_time_and_memory_are_in_one_table_with_the_shape_said_once(text):
    """How many times the first one's time; the share of the copy's bandwidth."""
    rows = [line.split() for line in text(FOUND)]
    assert ["c4a,", "64", "heads,", "8", "tokens", "fused", "18.0", "none", "1.00", "50%"] in rows
    assert ["vllm==0.22.0", "540.0", "*", "532.23", "KiB", "30.00", "2%"] in rows


def test_what_was_not_timed_or_not_captured_is_said_with_why(text):
    """And on which device all of it was."""
    lines = text(FOUND)
    assert "not timed: flash_mla: not installed" in lines
    assert "* vllm==0.22.0: not captured: no (c4a, 64 heads, 8 tokens)" in lines
    assert lines[-1] == (
        "NVIDIA H200, torch 2.11.0: a copy of 2 GiB moves 4,000 GB/s; inputs rotate past twice "
        "the last cache (50.00 MiB)"
    )


def test_one_reason_for_many_shapes_is_said_once(text):
    """With how many."""
    other = BenchRow(replace(C4A, layer="c128a"), (FUSED, PEER))
    lines = text(replace(FOUND, rows=(*FOUND.rows, other)))
    assert "* vllm==0.22.0: not captured: no (c4a, 64 heads, 8 tokens and 1 more)" in lines


def test_what_has_no_time_has_no_figures(text):
    """A row of a subject that failed is there, and empty."""
    failed = Timing("fused", "untimed", note="OutOfMemoryError: CUDA out of memory")
    lines = text(Bench(DEVICE, (BenchRow(C4A, (failed, PEER)),)))
    rows = [line.split() for line in lines]
    assert ["c4a,", "64", "heads,", "8", "tokens", "fused", "-", "-", "-", "-"] in rows
    assert "fused: OutOfMemoryError: CUDA out of memory (c4a, 64 heads, 8 tokens)" in lines


def test_a_file_is_read_as_it_was_written(tmp_path):
    """With whatever stands beside it in the file."""
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({**FOUND.to_json(), "is_complete": True}), encoding="utf-8")
    assert FOUND == read_bench(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"device": {}, "rows": [], "absent": {}}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    """In one line that says what it must be."""
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"other\.json is no file of `oom-suite bench --json`"):
        read_bench(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """With the system's own word for it."""
    with pytest.raises(UsageError, match="none: No such file or directory"):
        read_bench(tmp_path / "none")


def test_runs_on_two_kinds_of_device_are_not_compared():
    """One of the same name may have other clocks; another name has another memory."""
    refuse_other_device(FOUND, replace(FOUND, rows=()))
    h100 = replace(FOUND, device=replace(DEVICE, name="NVIDIA H100"))
    with pytest.raises(UsageError, match="the file is of NVIDIA H100, and this is NVIDIA H200"):
        refuse_other_device(h100, FOUND)


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        ({"elapsed_us": 19.8}, ""),
        ({"elapsed_us": 19.81}, "19.8 us, was 18.0"),
        ({"scratch_bytes": 1}, "1 bytes of scratch, was 0"),
        ({"elapsed_us": None, "note": "crashed"}, "not timed, was 18.0 us (crashed)"),
        ({"elapsed_us": 90.0, "how": "events"}, ""),
        ({"subject": "other", "elapsed_us": 90.0}, ""),
    ],
    ids=["a tenth", "more", "memory", "fails", "timed otherwise", "another subject"],
)
def test_what_is_worse_than_before_is_named(change, worse):
    """More than a tenth slower, a byte more of scratch, or no time any more."""
    now = Bench(DEVICE, (BenchRow(C4A, (replace(FUSED, **change),)),))
    expected = [f"worse: fused at c4a, 64 heads, 8 tokens: {worse}"] if worse else []
    assert expected == list(worse_lines(FOUND, now))


def test_what_was_not_timed_before_is_no_worse_now():
    """There is nothing to hold it against."""
    before = Bench(DEVICE, (BenchRow(C4A, (Timing("fused", "untimed"),)),))
    assert [] == list(worse_lines(before, FOUND))
