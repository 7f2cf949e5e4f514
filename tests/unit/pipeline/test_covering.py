"""``covered_by``: a step against its profile run, judged in full, to the byte."""

from __future__ import annotations

import pytest
import torch
from studied import studied

from oom_suite.records import Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
AXES = {"tokens": 8, "context": 64}
PROFILE = {"tokens": 256, "context": 1024}
BOX = {"tokens": (1, 256), "context": (1, 1024)}


def scores(sizes, device):
    """One float32 for each token and each key: 4*tokens*context."""
    q = torch.zeros(sizes.tokens, 16, device=device)
    keys = torch.zeros(sizes.context, 16, device=device)
    return lambda: q @ keys.t()


def branches(sizes, device):
    """Above 100 tokens it takes twice the bytes."""
    x = torch.zeros(sizes.tokens, sizes.context, device=device)

    def call():
        return (x * 2) * 2 if x.shape[0] > 100 else x * 2

    return call


def loops(sizes, device):
    """A turn for each token, all of whose rows stay: the number of tokens is no symbol."""
    x = torch.zeros(sizes.tokens, sizes.context, device=device)
    return lambda: [x[row] * 2 for row in range(x.shape[0])]


def keyed(sizes, device):
    """A size is a key, which symbols cannot be."""
    x = torch.zeros(sizes.tokens, sizes.context, device=device)
    return lambda: x * len({x.shape[0]: 2})


def chosen(sizes, device):
    """Data decides how many rows are kept: at most all of them."""
    x = torch.empty(sizes.tokens, sizes.context, device=device)
    return lambda: x[x[:, 0] > 0]


def test_a_step_equal_to_its_profile_run_is_covered():
    """The healthy twin: at the largest sizes it takes exactly what the profile run took."""
    result = studied(scores, axes=AXES, covered_by=PROFILE, box=BOX)
    assert result.verdict is PASS, result.reason
    assert result.reason == (
        "covered by the profile run at tokens=256, context=1,024: "
        "at most 1,048,576 of its 1,048,576 bytes"
    )
    assert result.coverage.is_most


@pytest.mark.parametrize(
    ("axis", "over"), [("tokens", 4 * 1024), ("context", 4 * 256)], ids=["token", "key"]
)
def test_one_row_more_than_the_profile_run_is_not_covered(axis, over):
    """The planted fault: one token or one key more, over by that row's bytes, with its line."""
    wider = {**BOX, axis: (1, PROFILE[axis] + 1)}
    result = studied(scores, axes=AXES, covered_by=PROFILE, box=wider)
    assert (result.verdict, result.coverage.over_bytes) == (FAIL, over)
    assert result.coverage.sizes == {**PROFILE, axis: PROFILE[axis] + 1}
    assert str(result.breach.formula) == "4*tokens*context"
    assert [(blame.function, blame.bytes) for blame in result.blame] == [
        ("<lambda>", 1_048_576 + over)
    ]


@pytest.mark.parametrize(
    ("figure", "verdict"), [(1_048_576, PASS), (1_048_575, FAIL)], ids=["equal", "one byte less"]
)
def test_a_measured_figure_covers_to_the_byte(figure, verdict):
    """The profile run's bytes as they were measured: equal is covered, a byte less is not."""
    assert studied(scores, axes=AXES, covered_by=figure, box=BOX).verdict is verdict


def test_an_axis_that_the_box_does_not_name_stays_as_it_is():
    """Only tokens can be more; the context is the test's own 64."""
    result = studied(scores, axes=AXES, covered_by=4 * 256 * 64, box={"tokens": (1, 256)})
    assert (result.verdict, result.coverage.sizes) == (PASS, {"tokens": 256, "context": 64})


@pytest.mark.parametrize(
    ("most", "figure", "verdict"),
    [(100, 4 * 100, PASS), (101, 4 * 101, FAIL), (101, 8 * 101, PASS)],
    ids=["below the branch", "beyond it", "beyond it, allowed"],
)
def test_a_branch_that_the_profile_run_did_not_take(most, figure, verdict):
    """What only larger sizes run is judged by the law of that side."""
    box = {"tokens": (1, most), "context": (1, 1024)}
    found = studied(branches, axes=AXES, covered_by=figure * 1024, box=box)
    assert found.verdict is verdict, found.reason


def test_a_loop_over_an_axis_is_judged_turn_by_turn():
    """The number of turns is no symbol; each in the box is run, and the last decides."""
    few, box = {**AXES, "tokens": 2}, {"tokens": (1, 3)}
    assert studied(loops, axes=few, covered_by=3 * 256, box=box).verdict is PASS
    found = studied(loops, axes=few, covered_by=3 * 256 - 1, box=box)
    assert (found.verdict, found.coverage.over_bytes) == (FAIL, 1)


def test_a_law_that_is_not_proved_is_never_covered():
    """A fitted law within the figure is not decided, and the largest run is named."""
    found = studied(keyed, axes=AXES, covered_by="1GiB", box=BOX)
    assert found.verdict is INCONCLUSIVE
    assert "the law is fitted, not proved: the code uses a size as a key" in found.reason
    assert (found.coverage.most_bytes, found.coverage.at_most_bytes) == (1_048_576, None)
    assert found.advice


def test_an_exact_run_in_the_box_that_takes_more_is_a_finding():
    """Without a proof a run above the figure still shows that it is not covered."""
    found = studied(keyed, axes=AXES, covered_by=1_048_575, box=BOX)
    assert (found.verdict, found.coverage.over_bytes) == (FAIL, 1)
    assert str(found.breach.formula) == "4*tokens*context"


@pytest.mark.parametrize(
    ("figure", "verdict"), [("8MiB", PASS), (4 * 1024 * 255, FAIL)], ids=["all", "a row less"]
)
def test_data_that_decides_counts_at_its_worst(figure, verdict):
    """All rows may be kept: the figure has to cover that."""
    box = {"tokens": (1, 256), "context": (1, 1024)}
    found = studied(chosen, axes=AXES, covered_by=figure, box=box)
    assert found.verdict is verdict, found.reason


def sums(sizes, device):
    """What a scan's kernels take inside is no request that dispatch sees."""
    x = torch.zeros(sizes.tokens, sizes.context, device=device)
    return lambda: x.cumsum(0)


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [(PROFILE, PASS), (1_048_576, INCONCLUSIVE), (1_048_576 + 1024, PASS), (1_048_575, FAIL)],
    ids=["of the same code", "as seen", "with what is inside", "less"],
)
def test_what_kernels_take_inside_has_to_be_covered_too(figure, verdict):
    """In a figure that was seen it is missing: neither covered, nor shown not to be."""
    found = studied(sums, axes=AXES, covered_by=figure, box=BOX)
    assert found.verdict is verdict, found.reason


def test_another_broken_promise_stays_first():
    """Both are said, and the coverage is there too."""
    found = studied(scores, axes=AXES, independent_of="context", covered_by=1, box=BOX)
    assert found.verdict is FAIL
    assert found.reason.startswith("peak grows with context")
    assert "; not covered by the profile run: 1,048,576 bytes" in found.reason


def test_sizes_of_the_profile_run_that_cannot_be_run():
    """Where the profile's own sizes raise, nothing is said to be covered."""

    def refuses(sizes, device):
        if sizes.tokens > 100:
            raise ValueError("too many")
        return lambda: torch.zeros(sizes.tokens, device=device)

    found = studied(refuses, axes=AXES, covered_by=PROFILE, box={"tokens": (1, 8)})
    assert found.verdict is INCONCLUSIVE
    assert "too many" in found.reason


def test_the_coverage_is_in_the_json():
    """Figure, box, the largest peak and where it is."""
    found = studied(scores, axes=AXES, covered_by=1000, box=BOX).to_json()["coverage"]
    assert found["allowed_bytes"] == 1000
    assert found["over_bytes"] == 1_048_576 - 1000
    assert found["box"] == {"tokens": [1, 256], "context": [1, 1024]}
    assert (found["sizes"], found["formula"]) == (PROFILE, "4*tokens*context")
