"""What kernels take inside counts in budgets and bounds, and what nobody can see is not green."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import oom_suite
from oom_suite.pipeline.judging import study
from oom_suite.pipeline.law_tests import promise
from oom_suite.pipeline.programs import CallableProgram
from oom_suite.pipeline.session import Session
from oom_suite.records import Verdict

HERE = Path(__file__).parent
SIZES = {"batch": 4, "vocab": 5000}
SEEN_BYTES = 12 * 4 * 5000


def judged(build, **promises):
    """The result of a builder under these promises, in this process."""
    made = promise(measure=False, **promises)
    settings = made.settings("cpu", None, 60.0)
    with Session.of(settings) as session:
        return study(session.open(CallableProgram(build, HERE), "x"), "x", settings).result


def sampler(sizes, device):
    logits = torch.ones(sizes.batch, sizes.vocab, device=device)
    return lambda: logits.sort(-1)


def test_a_budget_is_judged_with_what_a_sort_takes_inside():
    """The sorted values and places fit 512 KiB; the second buffers beside them do not."""
    result = judged(sampler, axes=SIZES, budget="512KiB")
    assert (Verdict.FAIL, False) == (result.verdict, result.budget.fits)
    assert "are seen" in result.reason
    assert "inside aten::sort at test_inside_counts.py" in result.reason
    assert SEEN_BYTES == result.peak_requested_bytes


def test_a_budget_that_holds_it_is_kept():
    result = judged(sampler, axes=SIZES, budget="2MiB")
    assert (Verdict.PASS, True) == (result.verdict, result.budget.fits)
    assert result.budget.inside_bytes > 0


def test_a_budget_is_not_green_where_nothing_bounds_what_is_taken():
    def build(sizes, device):
        matrix = torch.ones(sizes.n, sizes.n, device=device)
        return lambda: torch.linalg.qr(matrix)

    result = judged(build, axes={"n": 8}, budget="2MiB")
    assert Verdict.INCONCLUSIVE is result.verdict
    assert "nothing bounds what is taken inside aten::linalg_qr" in result.reason


def test_a_bound_counts_what_is_taken_inside():
    """Twelve bytes an entry are seen; three times as many hold the sort, too."""
    result = judged(sampler, axes=SIZES, at_most="12*batch*vocab")
    assert Verdict.FAIL is result.verdict
    assert "of them are seen, the rest is taken inside aten::sort" in result.reason
    assert Verdict.PASS is judged(sampler, axes=SIZES, at_most="48*batch*vocab + 64KiB").verdict


def convolved(sizes, device):
    images = torch.ones(sizes.n, 16, 32, 32, device=device, dtype=torch.bfloat16)
    filters = torch.ones(32, 16, 1, 1, device=device, dtype=torch.bfloat16)
    return lambda: torch.conv2d(images, filters)


IMAGES = {"n": 91}
MADE_BYTES = 32 * 32 * 32 * 2
COPIED_BYTES = 16 * 32 * 32 * 2 + MADE_BYTES
"""What is made of an image; and what cuDNN may copy of one, with channels last."""
FILTER_BYTES = 16 * 32 * 2 + 3 * 256
"""And of the filters, with room for where each of the three begins."""


@pytest.mark.parametrize(("more", "expected"), [(0, Verdict.PASS), (-1, Verdict.INCONCLUSIVE)])
def test_a_bound_that_a_librarys_workspace_alone_may_exceed_is_not_broken(more, expected):
    """To the byte; what is made without it breaks a bound as ever."""
    most = f"{MADE_BYTES + COPIED_BYTES}*n + {FILTER_BYTES + more}"
    result = judged(convolved, axes=IMAGES, at_most=most)
    assert expected is result.verdict
    if expected is not Verdict.PASS:
        assert "peak may exceed its bound" in result.reason
        assert "is chosen by cuDNN, which states no limit" in result.reason
    broken = judged(convolved, axes=IMAGES, at_most=f"{MADE_BYTES - 1}*n")
    assert Verdict.FAIL is broken.verdict


def test_a_budget_that_a_librarys_workspace_alone_may_exceed_is_not_broken():
    """Where memory is short, torch takes an engine that needs less: it may fit, and may not."""
    result = judged(convolved, axes=IMAGES, budget="8MiB")
    assert (Verdict.INCONCLUSIVE, True) == (result.verdict, result.budget.fits)
    assert "may not fit" in result.reason
    assert "torch takes an engine that needs less" in result.reason
    assert Verdict.PASS is judged(convolved, axes=IMAGES, budget="16MiB").verdict
    assert Verdict.FAIL is judged(convolved, axes=IMAGES, budget="4MiB").verdict


def test_the_law_says_who_chooses_a_workspace():
    (term,) = judged(convolved, axes=IMAGES, budget="1GiB").inside
    assert ("aten::convolution", 91 * COPIED_BYTES + FILTER_BYTES) == (term.op, term.num_bytes)
    assert str(term).endswith(
        "cuda:sm_90; cuDNN's workspace is chosen by cuDNN, which states no limit: it is bounded by "
        "what its documented algorithms keep; where memory is short, torch takes an engine that "
        "needs less"
    )


def counted(sizes, device):
    pool = torch.ones(sizes.pool, 640, device=device)
    return lambda: torch.count_nonzero(pool)


def test_the_law_has_a_term_for_what_kernels_take():
    """On the target's kernels; the generic target's are CUDA's."""
    for target in ("generic", "cuda:sm_90"):
        (term,) = judged(sampler, axes=SIZES, target=target, budget="1GiB").inside
        assert ("aten::sort", "test_inside_counts.py", "cuda:sm_90") == (
            term.op,
            term.where.file,
            term.target,
        )
        assert {"batch", "vocab"} == set(term.at_most.axes)
        assert SEEN_BYTES < term.num_bytes <= term.at_most(SIZES) < 2 * term.num_bytes


def test_independence_is_judged_with_what_kernels_take():
    """Dispatch sees one number; the kernel makes a truth value of every element of the pool."""
    result = judged(counted, axes={"pool": 64}, independent_of="pool")
    assert (Verdict.FAIL, "8") == (result.verdict, str(result.law))
    assert "what aten::count_nonzero at test_inside_counts.py" in result.reason
    assert "takes inside grows with pool" in result.reason
    assert ["<lambda>"] == [blame.function for blame in result.blame]


def test_independence_of_an_axis_that_no_kernel_sees_is_kept():
    def build(sizes, device):
        pool = torch.ones(sizes.pool, 640, device=device)
        slots = torch.zeros(sizes.n, dtype=torch.int64, device=device)
        return lambda: torch.count_nonzero(pool[slots])

    axes = {"pool": 64, "n": 2}
    result = judged(build, axes=axes, independent_of="pool")
    assert Verdict.PASS is result.verdict
    assert {"n"} == set(result.inside[0].at_most.axes)


@pytest.mark.parametrize(
    ("axes", "expected"), [(("n", "m"), Verdict.FAIL), ("n", Verdict.PASS), ("m", Verdict.PASS)]
)
def test_linear_growth_is_judged_with_what_kernels_take(axes, expected):
    def build(sizes, device):
        x = torch.ones(sizes.n, sizes.m, device=device)
        return lambda: torch.count_nonzero(x)

    result = judged(build, axes={"n": 64, "m": 64}, linear_in=axes)
    assert expected is result.verdict


@torch.library.custom_op("oom_suite_tests::opaque", mutates_args=())
def opaque(x: torch.Tensor) -> torch.Tensor:
    """The sum of the rows, by way of a copy."""
    return x.double().sum(1)


@torch.library.custom_op("oom_suite_tests::told", mutates_args=())
def told(x: torch.Tensor) -> torch.Tensor:
    """The same; its author says so."""
    return x.double().sum(1)


def rows(x):
    """A result for each row."""
    return x.new_empty(x.shape[0], dtype=torch.float64)


opaque.register_fake(rows)
told.register_fake(rows)
oom_suite.register_scratch(torch.ops.oom_suite_tests.told, lambda x: x.numel() * 8)


def calling(op):
    def build(sizes, device):
        x = torch.ones(sizes.n, sizes.m, device=device)
        return lambda: op(x)

    return build


PROMISES = [{"independent_of": "m"}, {"linear_in": "n"}, {"at_most": "n*m*99"}, {"budget": "1GiB"}]


@pytest.mark.parametrize("promises", PROMISES, ids=lambda each: next(iter(each)))
def test_nothing_can_be_promised_of_a_custom_operator(promises):
    result = judged(calling(opaque), axes={"n": 8, "m": 4}, **promises)
    assert Verdict.INCONCLUSIVE is result.verdict
    assert "oom_suite_tests::opaque" in result.reason


def test_what_its_author_says_that_it_takes_is_in_the_law():
    """Exactly at the bound, and a byte below it."""
    sizes = {"n": 8, "m": 4}
    kept = judged(calling(told), axes=sizes, at_most="8*n*m + 8*n")
    assert Verdict.PASS is kept.verdict
    assert {("m", "n"): 8, ("n",): 8} == dict(kept.law.here.terms)
    over = judged(calling(told), axes=sizes, at_most="8*n*m + 7*n + 7")
    assert Verdict.FAIL is over.verdict
    grows = judged(calling(told), axes=sizes, independent_of="m")
    assert (Verdict.FAIL, "<lambda>") == (grows.verdict, grows.blame[0].function)


def test_a_custom_operator_is_named_by_its_name_its_packet_or_its_definition():
    for op in ("oom_suite_tests::told", told, torch.ops.oom_suite_tests.told.default):
        oom_suite.register_scratch(op, lambda x: x.numel() * 8)
    with pytest.raises(oom_suite.errors.UsageError, match="needs an operator"):
        oom_suite.register_scratch(print, lambda x: 0)
    with pytest.raises(oom_suite.errors.UsageError, match="gives bytes"):
        oom_suite.register_scratch(told, 8)


@torch.library.custom_op("oom_suite_tests::visible", mutates_args=())
def visible(x: torch.Tensor) -> torch.Tensor:
    """Made of visible operators; its function is its fake kernel, as triton_op makes it."""
    return x.double().sum(1)


visible.register_fake(visible._init_fn)


def test_an_operator_whose_fake_kernel_is_its_own_function_is_seen_through():
    """The copy is in the law, and nothing is named."""
    result = judged(calling(visible), axes={"n": 8, "m": 4}, at_most="8*n*m + 8*n")
    assert (Verdict.PASS, ()) == (result.verdict, result.unseen)
    over = judged(calling(visible), axes={"n": 8, "m": 4}, at_most="8*n*m + 7*n + 7")
    assert Verdict.FAIL is over.verdict
