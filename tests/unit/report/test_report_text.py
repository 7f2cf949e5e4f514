"""What a result says in words, golden at 100 columns."""

from __future__ import annotations

from dataclasses import replace

import pytest
from known_results import BUG, FAILURE, KNOWN, SIZES

from oom_suite.records import (
    AllocatorPeaks,
    BudgetFit,
    Environment,
    Frame,
    Law,
    Measurement,
    OutOfMemory,
    Polynomial,
    Reconciliation,
    Tenant,
    Verdict,
    Workspace,
)
from oom_suite.report import failure_text
from oom_suite.report.wording import budget_text, headline, law_lines, target_lines

ON_CPU = Environment("cpu", "a CPU", "x86_64", "", "", "2.13.0", "")


def test_a_failure_says_all_that_the_reader_needs_to_act():
    assert FAILURE == failure_text(BUG)


def test_a_known_failure_without_a_number_is_still_named():
    assert failure_text(replace(KNOWN, notes=())).startswith("FAIL (expected)  full_dequant")


def test_a_law_is_broken_between_its_terms_only():
    law = Polynomial.of({("a",): 1000, ("b",): -2000, (): 5})
    assert law_lines(law, 80) == ("1000*a - 2000*b + 5",)
    assert law_lines(law, 10) == ("1000*a", "- 2000*b", "+ 5")
    assert law_lines(Polynomial.of({("a",): -1}), 1) == ("-a",)


def test_a_law_that_is_nothing_reads_as_zero():
    text = failure_text(replace(BUG, law=Law((Polynomial.of({}),), SIZES)))
    assert "  law      0\n" in text


def test_the_peak_that_decides_the_budget_is_the_allocated_one():
    exact = BudgetFit("x", BUG.peak_allocated_bytes - 1, fits=False)
    assert "over x by 1 B" in failure_text(replace(BUG, budget=exact))


def test_a_devices_name_is_said_to_be_its_total():
    whole = replace(BUG, budget=BudgetFit("MI325X", 13_679_470_837, fits=False))
    assert budget_text(whole.budget) == "over MI325X (total)"
    assert "which is all that one has: give what is free, as MI325X:12.74GiB" in (
        failure_text(whole)
    )
    assert "all that one" not in failure_text(BUG)
    assert "(total)" not in budget_text(BUG.budget)


@pytest.mark.parametrize(("slope", "shown"), [(0.125, "0.125"), (2**-12, "0.000244140625")])
def test_a_fraction_of_a_byte_per_unit_is_shown(slope, shown):
    """One bit per block, and less, is never rounded away."""
    blame = replace(BUG.blame[0], bytes_per_unit=slope)
    assert f", {shown} bytes per extra_num_blocks" in failure_text(replace(BUG, blame=(blame,)))


def test_what_was_measured_stands_over_what_was_predicted():
    reconciled = Reconciliation(
        AllocatorPeaks(1000, 1024, 1024, 2097152),
        1512,
        AllocatorPeaks(1512, 1536, 1536, 2097152),
    )
    measured = replace(BUG, measurement=Measurement(ON_CPU), reconciliation=reconciled)
    assert """
  measured 1,512 requested, 1,536 allocated, 2,097,152 reserved
           1,000 requested, 1,024 allocated, 2,097,152 reserved predicted
           unexplained: +512 requested, +512 allocated
""" in failure_text(measured)


def test_workspaces_and_tenants_are_named():
    measurement = Measurement(
        ON_CPU,
        workspaces=(Workspace("cuBLAS", 1 << 25),),
        tenants=(Tenant(4711, 1 << 30, "python"), Tenant(5, None)),
    )
    text = failure_text(replace(BUG, measurement=measurement))
    assert "  kept     cuBLAS workspace, 32.00 MiB, made before the call\n" in text
    assert "  beside   process 4711 python, 1.00 GiB\n           process 5\n" in text


def test_the_request_that_failed_is_shown_with_its_line():
    failed = OutOfMemory("CUDA out of memory.", 5, 4, (Frame("a.py", 3, "f"),), "s.pickle")
    text = failure_text(replace(BUG, measurement=Measurement(ON_CPU, out_of_memory=failed)))
    assert (
        """
  memory   CUDA out of memory.
           at a.py:3 (f)
           the allocator's snapshot is in s.pickle
"""
        in text
    )


def on(target, **changes):
    return replace(BUG, target=target, **changes)


def test_a_result_names_its_target_but_for_the_generic_one():
    assert headline(on("rocm:gfx942")).endswith(", for rocm:gfx942")
    assert ", for" not in headline(on("generic"))


def test_every_result_says_its_target_as_json():
    assert on("cuda:sm_90").to_json()["target"] == "cuda:sm_90"


def test_where_targets_differ_is_one_line():
    here, there = on("cuda:sm_90", verdict=Verdict.PASS), on("rocm:gfx942")
    (line,) = target_lines([here, there])
    assert "differs by target: cuda:sm_90: PASS, " in line
    assert "; rocm:gfx942: FAIL, " in line


def test_targets_that_agree_are_no_line():
    assert [] == list(target_lines([on("cuda:sm_90"), on("rocm:gfx942")]))
