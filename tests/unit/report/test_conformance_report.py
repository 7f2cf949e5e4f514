"""A conformance run on a terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from oom_suite.records.conformance import Conformance, ConformanceRow, Status
from oom_suite.report.conformance import render_conformance, summary, wrong_text


def row(status, least=512, most=512, measured=512, suite="operators", name="sort", **more):
    return ConformanceRow(suite, name, "float32", status, least, most, measured, **more)


def shown(*rows, **more):
    console = Console(width=200, record=True, quiet=False, file=None)
    with console.capture() as capture:
        render_conformance(Conformance("H200", "cuda:sm_90", rows, torch="2.13", **more), console)
    return capture.get()


@pytest.mark.parametrize(
    ("least", "most", "measured", "expected"),
    [
        (512, 512, 1024, "512 bytes predicted, 1,024 measured (+512)"),
        (512, 512, 500, "512 bytes predicted, 500 measured (-12)"),
        (512, 700, 701, "512 to 700 bytes predicted, 701 measured (+1)"),
        (512, 700, 511, "512 to 700 bytes predicted, 511 measured (-1)"),
    ],
)
def test_what_is_wrong_has_a_line_with_its_figures(least, most, measured, expected):
    wrong = row(Status.WRONG, least, most, measured)
    assert f"WRONG operators: sort: float32: {expected}" == wrong_text(wrong)
    assert wrong_text(wrong) in shown(wrong)


def test_an_operator_that_is_exact_throughout_is_counted_and_not_listed():
    """One that is named in a single call is listed."""
    text = shown(
        row(Status.EXACT),
        row(Status.NAMED, measured=9, name="topk", named=("aten::topk",)),
        row(Status.EXACT, name="topk"),
    )
    lines = [line.split() for line in text.splitlines()]
    assert ["operators", "topk", "1", "1"] in lines
    assert ["operators", "1", "exact", "throughout,", "2", "in", "all", "2", "1"] in lines
    assert not any(line[:2] == ["operators", "sort"] for line in lines)


def test_refusals_are_counted_by_reason():
    refused = row(Status.REFUSED, None, None, 8, reason="it reads a value")
    assert "refused 2: it reads a value" in shown(refused, refused).splitlines()


def test_what_the_device_cannot_run_is_counted_by_reason_and_called_nothing_else():
    """A unit of which nothing ran is not exact throughout."""
    text = shown(row(Status.NOT_RUN, None, None, None, reason="no transformers"))
    assert "not run 1: no transformers" in text.splitlines()
    assert "0 exact throughout, 1 in all" in text
    assert "INCONCLUSIVE cuda:sm_90 on H200, torch 2.13: 0 wrong of 0 calls, 0 s" in text


def test_the_last_line_has_the_shares_and_the_widest_bound():
    """What the device cannot run is in no share."""
    found = Conformance(
        "H200",
        "cuda:sm_90",
        (
            row(Status.EXACT),
            row(Status.BOUNDED, 0, 600, 500),
            row(Status.WRONG, measured=9),
            row(Status.REFUSED, None, None, 8, reason="no"),
            row(Status.NOT_RUN, None, None, None),
        ),
        elapsed_s=3.0,
        torch="2.13",
    )
    assert (
        "FAIL cuda:sm_90 on H200, torch 2.13: 1 wrong of 4 calls, 25.0% exact, 25.0% refused, "
        "widest bound 1.20 times what was taken (operators: sort: float32), 3 s"
    ) == summary(found)


def test_a_run_without_anything_wrong_passes():
    assert summary(Conformance("H200", "cpu", (row(Status.NAMED, measured=9),))).startswith("PASS ")


def test_models_have_the_errors_of_both():
    """Ours in requested bytes, the tracker's in allocated ones, as each counts."""
    text = shown(
        row(Status.EXACT, 500, 500, 500, suite="models", tracked_bytes=768, allocated_bytes=512)
    )
    assert "models: oom-suite is 0.00% off on average, 0.00% at worst" in text
    assert "models: torch's MemTracker is 50.00% off on average, 50.00% at worst" in text


def test_what_was_left_out_is_said():
    assert "left out for lack of time: 2 units" in shown(row(Status.EXACT), left_out=("a", "b"))


def test_what_data_decides_and_what_a_library_spared_is_said():
    """Where there is none of either, nothing is."""
    data = row(Status.BOUNDED, 0, 900, 100, name="prod", by_data=("aten::prod",))
    spared = row(Status.EXACT, most=900, name="conv", libraries=("cuDNN's workspace",))
    wide = row(Status.BOUNDED, 0, 300, 200)
    text = summary(Conformance("H200", "cuda:sm_90", (data, spared, wide), torch="2.13"))
    assert "in 1 of the bounded data decides" in text
    assert "in 1 of the exact a library took no workspace" in text
    assert "widest bound 1.50 times what was taken (operators: sort: float32)" in text
    plain = summary(Conformance("H200", "cuda:sm_90", (row(Status.EXACT),), torch="2.13"))
    assert "data decides" not in plain
    assert "library" not in plain
