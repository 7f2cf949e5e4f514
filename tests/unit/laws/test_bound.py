"""Whether a regime keeps to a bound: proved, broken at named sizes, or neither."""

from __future__ import annotations

import pytest

from oom_suite.laws.bound import excess
from oom_suite.laws.fit import Regime
from oom_suite.records import Axis, Bound, Contract, Polynomial, Workload

SIZES = {"t": 4, "k": 8}
SITE = (("aten.empty", ()), 0)


def workload(bound, settle=dict):
    """Axes `t` up to 128 and `k` up to 512, and a bound."""
    return Workload(
        name="code",
        axes=(Axis("t", 1, (1, 128)), Axis("k", 8, (16, 512))),
        builder="",
        contract=Contract(at_most=Polynomial.of(bound) if isinstance(bound, dict) else bound),
        settle=settle,
    )


def found(terms, bound, held=(), sizes=SIZES, **others):
    regime = Regime(Polynomial.of(terms), SITE, ())
    fixed = {axis: sizes[axis] for axis in held}
    return excess(regime, fixed, workload(bound, **others), sizes)


@pytest.mark.parametrize(
    ("terms", "bound"),
    [
        ({("t",): 4}, {("t",): 4}),
        ({("t",): 4}, {("t",): 5}),
        ({("t",): 4, (): 1}, {("t",): 5}),
        ({(): 9}, {("t",): 1, ("k",): 8}),
        ({("k", "t"): 1}, {("k", "t"): 1, (): 1}),
        ({("t", "t"): 1}, None),
    ],
    ids=str,
)
def test_what_is_provably_within_the_bound_is_no_excess(terms, bound):
    """Term by term, from each axis's least value on; without a bound there is none."""
    assert found(terms, bound) is None


def test_the_first_corner_over_the_bound_is_named():
    """Of the least, the scenario's and the largest sizes, the smaller ones are tried first."""
    over = found({("t", "t"): 1}, {("t",): 10})
    assert ({"t": 128, "k": 8}, True) == (over.sizes, over.runnable)
    over = found({("t", "t"): 1}, {("t",): 3})
    assert ({"t": 4, "k": 8}, True) == (over.sizes, over.runnable)
    over = found({("t",): 5}, {("t",): 4})
    assert ({"t": 1, "k": 8}, True) == (over.sizes, over.runnable)


def test_a_peak_of_exactly_the_bound_is_not_over_it():
    """At t=128 both are equal: only beyond does the square win."""
    over = found({("t", "t"): 1}, {("t",): 128})
    assert ({"t": 256, "k": 8}, True) == (over.sizes, over.runnable)


@pytest.mark.parametrize(("factor", "runnable"), [(2047, True), (2048, False)])
def test_sizes_up_to_sixteen_times_the_largest_are_run(factor, runnable):
    """2,048 tokens are, and 4,096 are not."""
    over = found({("t", "t"): 1}, {("t",): factor})
    assert (2048 if runnable else 4096, runnable) == (over.sizes["t"], over.runnable)


def test_axes_of_one_term_grow_together_and_the_others_stay_small():
    over = found({("k", "t"): 1}, {("t",): 1 << 20, ("k",): 1 << 20})
    assert {"t": 128 << 14, "k": 512 << 14} == over.sizes
    assert not over.runnable


def test_axes_of_other_terms_are_at_their_smallest_then():
    """Of the sizes tried, not of the scenario's."""
    bound = {("t",): 1 << 10, ("k",): 1}
    over = found({("t", "t"): 1}, bound, sizes={"t": 4, "k": 64})
    assert {"t": 2048, "k": 16} == over.sizes


def test_an_axis_that_the_law_holds_is_not_moved_and_the_bound_is_taken_there():
    over = found({("t",): 9}, {("k", "t"): 1}, held=["k"])
    assert Bound.of(Polynomial.of({("t",): 8})) == over.limit
    assert {"t": 1, "k": 8} == over.sizes
    assert found({("t",): 8}, {("k", "t"): 1}, held=["k"]) is None


def test_sizes_that_cannot_be_built_are_left_out():
    """Where none over the bound can be, nothing is named and nothing is proved."""

    def settle(sizes):
        return dict(sizes) if sizes["t"] <= 100 else None

    over = found({("t", "t"): 1}, {("t",): 99}, settle=settle)
    assert (None, False) == (over.sizes, over.runnable)
    assert {"t": 4, "k": 8} == found({("t", "t"): 1}, {("t",): 3}, settle=settle).sizes


def test_a_regime_that_is_over_nowhere_but_not_provably_within_has_no_sizes():
    """t**2 + 4 is at least 4*t, which no comparison of terms from t=1 on shows."""
    assert found({("t",): 2}, {("t", "t"): 1, (): 1}) is None
    over = found({("t",): 4}, {("t", "t"): 1, (): 4})
    assert (None, False) == (over.sizes, over.runnable)


@pytest.mark.parametrize(
    ("factor", "tokens"), [((128 << 24) - 1, 128 << 24), (128 << 24, None)], ids=["24", "25"]
)
def test_a_term_is_doubled_twenty_four_times_and_no_more(factor, tokens):
    over = found({("t", "t"): 1}, {("t",): factor})
    assert tokens == (None if over.sizes is None else over.sizes["t"])


def test_an_axis_that_is_in_no_term_stays_at_the_scenarios():
    """Neither its least nor its largest size says anything of the excess."""
    sizes = {"t": 4, "k": 64}
    for factor in (10, 1 << 10):
        assert 64 == found({("t", "t"): 1}, {("t",): factor}, sizes=sizes).sizes["k"]


def bound(*rows):
    return Bound(tuple(tuple(Polynomial.of(terms) for terms in row) for row in rows))


@pytest.mark.parametrize(
    ("tokens", "is_over"), [({("t",): 4}, False), ({("t",): 4, (): 1}, True)], ids=["at", "over"]
)
def test_the_least_of_two_bounds_is_held_against_both(tokens, is_over):
    """Four bytes a token are within min(4*t, k*t), one byte more is over it at one k."""
    limit = bound([{("t",): 4}], [{("k", "t"): 1}])
    regime = Regime(Polynomial.of(tokens), SITE, ())
    over = excess(regime, {}, workload(limit), {"t": 4, "k": 8})
    assert over is not None
    assert (over.sizes is not None) == is_over


def test_the_larger_of_two_bounds_is_enough():
    """Within either for all sizes is within their maximum; over both somewhere is over it."""
    limit = bound([{("t",): 4}, {(): 100}])
    for terms in ({("t",): 4}, {(): 100}, {("t",): 3, (): 1}):
        assert excess(Regime(Polynomial.of(terms), SITE, ()), {}, workload(limit), SIZES) is None
    over = excess(Regime(Polynomial.of({("t",): 5}), SITE, ()), {}, workload(limit), SIZES)
    assert {"t": 128, "k": 8} == over.sizes
    over = excess(Regime(Polynomial.of({(): 101}), SITE, ()), {}, workload(limit), SIZES)
    assert {"t": 1, "k": 8} == over.sizes


def test_a_bound_with_a_ceiling_is_broken_one_past_it():
    """min(t, 64)*4: 4*t is over it beyond t=64, and sizes that show it are named."""
    limit = bound([{("t",): 4}], [{(): 256}])
    over = excess(Regime(Polynomial.of({("t",): 4}), SITE, ()), {}, workload(limit), SIZES)
    assert {"t": 128, "k": 8} == over.sizes
    held = Regime(Polynomial.of({(): 256}), SITE, ())
    assert excess(held, {"t": 64}, workload(limit), {**SIZES, "t": 64}) is None
    over = excess(held, {"t": 63}, workload(limit), {**SIZES, "t": 63})
    assert {"t": 63, "k": 8} == over.sizes
