"""Results that the tests of reports show: a bug, its fix, a known failure, and one unknown."""

from __future__ import annotations

from dataclasses import replace

from oom_suite.records import (
    Blame,
    BudgetFit,
    Frame,
    Law,
    Polynomial,
    Result,
    Unseen,
    Verdict,
)

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
