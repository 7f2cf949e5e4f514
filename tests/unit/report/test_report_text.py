"""What a result says in words, golden at 100 columns."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from oom_suite.records import (
    AllocatorPeaks,
    Blame,
    BudgetFit,
    Environment,
    Frame,
    Law,
    Measurement,
    OutOfMemory,
    Polynomial,
    Reconciliation,
    Result,
    Tenant,
    Unseen,
    Verdict,
    Workspace,
)
from oom_suite.report import closing_line, failure_text, render
from oom_suite.report.terminal import print_table
from oom_suite.report.wording import budget_text, headline, law_lines, target_lines

SIZES = {
    "swa_num_blocks": 221_839,
    "extra_num_blocks": 221_839,
    "num_tokens": 4,
    "swa_topk": 128,
    "extra_topk": 512,
}
FILE = "vllm/v1/attention/ops/rocm_aiter_mla_sparse.py"
FUNCTION = "rocm_dequantize_blocked_k_cache"
POOLS = Polynomial.of({("swa_num_blocks",): 65536, ("extra_num_blocks",): 82048}, tuple(SIZES))
SMALL_POOLS = Polynomial.of(
    {
        ("swa_num_blocks",): 65536,
        ("extra_num_blocks",): 65536,
        ("num_tokens", "swa_topk"): 3073,
        ("num_tokens", "extra_topk"): 4098,
    },
    tuple(SIZES),
)
REFERENCED = Polynomial.of(
    {("num_tokens", "swa_topk"): 3073, ("num_tokens", "extra_topk"): 4098, (): 512},
    tuple(SIZES),
)
BUG = Result(
    subject="vllm==0.21.0",
    workload="decode",
    lane="shadow",
    scenario="issue-41962",
    sizes=SIZES,
    verdict=Verdict.FAIL,
    reason="peak grows with swa_num_blocks and extra_num_blocks",
    law=Law((POOLS, SMALL_POOLS), SIZES),
    peak_requested_bytes=32_739_886_976,
    peak_allocated_bytes=32_742_702_976,
    largest_request_bytes=14_538_440_704,
    budget=BudgetFit("12.74GiB", 13_679_470_837, fits=False),
    blame=(
        Blame(FILE, 999, FUNCTION, 14_538_440_704, "extra_num_blocks", 65536.0),
        Blame(FILE, 999, FUNCTION, 14_538_440_704, "swa_num_blocks", 65536.0),
    ),
    unseen=(Unseen("aten.sort", (Frame(FILE, 7, "g"),), 4096, "a temporary like its input"),),
    notes=("block_size was held at 64",),
    next_command="oom-suite bisect --good vllm==0.22.0 --bad vllm==0.21.0",
)
FIX = replace(
    BUG,
    subject="vllm==0.22.0",
    verdict=Verdict.PASS,
    reason="independent of the pools",
    law=Law((REFERENCED,), SIZES),
    peak_requested_bytes=9_966_592,
    peak_allocated_bytes=9_967_104,
    largest_request_bytes=4_194_304,
    budget=BudgetFit("12.74GiB", 13_679_470_837, fits=True),
    blame=(),
    unseen=(),
    notes=(),
    next_command="",
)
KNOWN = replace(
    BUG,
    subject="full_dequant",
    expected=Verdict.FAIL,
    notes=("reproduces #41962",),
    unseen=(),
    next_command="",
)
UNKNOWN = replace(
    FIX,
    subject="kernels/[red]x[/red].py:f",
    verdict=Verdict.INCONCLUSIVE,
    reason="the subject raised ValueError: [/] \x1b[31m\nsecond line",
    law=None,
    peak_requested_bytes=None,
    peak_allocated_bytes=None,
    largest_request_bytes=None,
    budget=None,
)

FAILURE = """\
FAIL  vllm==0.21.0: workload decode, lane shadow, scenario issue-41962
  why      peak grows with swa_num_blocks and extra_num_blocks
  peak     30.49 GiB (32,739,886,976 bytes) requested, 30.49 GiB allocated
  law      > 82048*extra_num_blocks   16.95 GiB
           > 65536*swa_num_blocks     13.54 GiB
           the maximum of this and 1 more; this one wins at the scenario
  blame    vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:999 (rocm_dequantize_blocked_k_cache)
             13.54 GiB at the scenario, 65,536 bytes per extra_num_blocks
             13.54 GiB at the scenario, 65,536 bytes per swa_num_blocks
  largest  13.54 GiB (14,538,440,704 bytes) in one request
  budget   over 12.74GiB by 17.75 GiB: 30.49 GiB of 12.74 GiB
  unseen   aten.sort at vllm/v1/attention/ops/rocm_aiter_mla_sparse.py:7 (g): a temporary like its \
input (inputs 4.00 KiB)
  note     block_size was held at 64
  next     oom-suite bisect --good vllm==0.22.0 --bad vllm==0.21.0"""

TABLE = """\
subject       verdict          law at the scenario                peak    largest  budget
────────────────────────────────────────────────────────────────────────────────────────────────
full_dequant  FAIL (expected:  65536*swa_num_blocks          30.49 GiB  13.54 GiB  over 12.74GiB
              reproduces       + 82048*extra_num_blocks
              #41962)
vllm==0.21.0  FAIL             65536*swa_num_blocks          30.49 GiB  13.54 GiB  over 12.74GiB
                               + 82048*extra_num_blocks
vllm==0.22.0  PASS             3073*num_tokens*swa_topk       9.50 MiB   4.00 MiB  fits 12.74GiB
                               + 4098*num_tokens*extra_topk
                               + 512
"""


ON_CPU = Environment("cpu", "a CPU", "x86_64", "", "", "2.13.0", "")


def shown(results, *, width=None, terminal=False, quiet=False):
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
    )
    render(results, console, quiet=quiet)
    return stream.getvalue()


def test_a_failure_says_all_that_the_reader_needs_to_act():
    assert FAILURE == failure_text(BUG)


def test_the_table_reads_well_at_100_columns():
    assert shown([KNOWN, BUG, FIX], width=100).startswith(TABLE)


def test_below_the_table_stand_the_failures_in_the_words_of_pytest_and_then_the_counts():
    text = shown([BUG, FIX], width=100)
    assert FAILURE in text
    assert text.endswith("\n1 passed, 1 failed\n")


def test_a_known_failure_is_named_without_alarm():
    assert failure_text(KNOWN).startswith("FAIL (expected: reproduces #41962)  full_dequant: ")
    assert "\x1b[31m" not in shown([KNOWN], width=100, terminal=True)
    assert "\x1b[31m" in shown([BUG], width=100, terminal=True)


def test_a_known_failure_without_a_number_is_still_named():
    assert failure_text(replace(KNOWN, notes=())).startswith("FAIL (expected)  full_dequant")


def test_a_known_failure_that_passes_is_explained():
    surprise = replace(FIX, expected=Verdict.FAIL)
    text = shown([surprise])
    assert "PASS (expected: FAIL)  vllm==0.22.0" in text
    assert text.endswith("1 passed unexpectedly\n")


def test_a_pass_needs_no_explanation():
    assert "why" not in shown([FIX])


@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
def test_brackets_from_outside_are_shown_and_control_characters_are_not(terminal):
    text = shown([UNKNOWN], width=160, terminal=terminal)
    assert "kernels/[red]x[/red].py:f" in text
    assert "ValueError: [/]  [31m second line" in text
    assert "\x1b[31m" not in text


def test_piped_output_has_no_colours_and_is_not_squeezed(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    text = shown([KNOWN, BUG, FIX])
    assert text.startswith(TABLE)
    assert "\x1b" not in text
    assert FAILURE in text


LONG = replace(BUG, subject="tests/kernels/test_a_long_name.py::test_of_a_decode_step[bf16-64]")


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("terminal", [False, True], ids=["piped", "terminal"])
def test_a_table_without_room_keeps_names_whole(monkeypatch, width, terminal):
    """As COLUMNS says, also in a pipe: no line is wider, but for one name that is."""
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    print_table([LONG, FIX], Console(file=stream, force_terminal=terminal, color_system=None))
    lines = stream.getvalue().splitlines()
    names = [f"{one.subject} ({one.workload})" for one in (LONG, FIX)]
    assert names == [line for line in lines if line in names]
    assert max(len(line) for line in lines if line not in names) <= width
    text = "\n".join(lines)
    for whole in ("3073*num_tokens*swa_topk", "over 12.74GiB", "13.54 GiB", "9.50 MiB", "FAIL"):
        assert whole in text


def test_a_table_fits_to_the_character(monkeypatch):
    """The widest line of the table is 96 characters: with one less, names stand above."""
    widest = max(len(line) for line in TABLE.splitlines())
    for width, begins in ((widest, "subject"), (widest - 1, "  verdict")):
        monkeypatch.setenv("COLUMNS", str(width))
        assert shown([KNOWN, BUG, FIX]).startswith(begins)


def test_piped_output_leaves_the_console_as_it_was():
    console = Console(file=io.StringIO(), width=60)
    render([BUG], console)
    assert console.width == 60


def test_a_narrow_terminal_is_respected():
    lines = shown([KNOWN, BUG, FIX, UNKNOWN], width=72, terminal=True).splitlines()
    plain = [Console().render_str(line).plain for line in lines if "\x1b" not in line]
    assert max(len(line) for line in plain) <= 72


def test_without_any_budget_there_is_no_budget_column():
    assert "budget" not in shown([replace(FIX, budget=None)])


def test_quiet_shows_what_is_not_as_expected_and_the_counts():
    assert shown([KNOWN, BUG, FIX], quiet=True) == (
        "FAIL  vllm==0.21.0: workload decode, lane shadow, scenario issue-41962: "
        "peak grows with swa_num_blocks and extra_num_blocks\n"
        "1 passed, 1 failed as expected, 1 failed\n"
    )


def test_the_counts_name_every_outcome():
    assert closing_line([FIX, FIX, KNOWN, UNKNOWN]) == (
        "2 passed, 1 failed as expected, 1 inconclusive"
    )
    assert closing_line([]) == "nothing judged"


def test_nothing_judged_prints_no_empty_table():
    assert shown([]) == "nothing judged\n"


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


def test_the_table_names_targets_where_there_are_several():
    table = shown([on("cuda:sm_90"), on("rocm:gfx942")])
    assert "  cuda:sm_90" in table
    assert "  rocm:gfx942" in table
