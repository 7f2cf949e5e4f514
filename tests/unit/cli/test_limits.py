"""The law solved for one axis: exact at the byte, and clear where there is no answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oom_suite.laws.contracts import parse_polynomial
from oom_suite.laws.derivation import Derivation
from oom_suite.laws.fit import Regime
from oom_suite.laws.limits import limits
from oom_suite.records import Axis, Contract, Law, Polynomial, Trace, Workload

SIZES = {"a_num_blocks": 100, "b_num_blocks": 100, "t": 4, "r": 8}
AXES = tuple(SIZES)
SITE = (("aten.empty", ()), 0)


@pytest.fixture
def workload():
    """Two pools of at most 10,000 blocks, tokens, and referenced blocks that follow the pools."""

    def settle(sizes):
        if max(sizes["a_num_blocks"], sizes["b_num_blocks"]) > 10_000:
            return None
        return {**sizes, "r": min(sizes["r"], sizes["a_num_blocks"])}

    axes = tuple(Axis(name, 1, (1,)) for name in AXES)
    return Workload("decode", axes, "none:at_all", Contract(), settle)


def derivation(*regimes, held=()):
    """A derivation whose regimes are these lists of live tensors' formulas."""
    found = []
    for tensors in regimes:
        live = tuple((SITE, parse_polynomial(text, AXES)) for text in tensors)
        found.append(Regime(parse_polynomial(" + ".join(tensors), AXES), SITE, live))
    law = Law(tuple(r.polynomial for r in found), SIZES, {axis: SIZES[axis] for axis in held})
    return Derivation(law, tuple(found), Trace("shadow", SIZES, (), ()))


def by_axis(rows):
    return {row.axis: row for row in rows}


@pytest.mark.parametrize(
    ("free_bytes", "largest"), [(512 * 9, 9), (512 * 9 - 1, 8), (512, 1), (511, 0), (0, 0)]
)
def test_the_largest_that_fits_is_exact_to_the_byte(workload, free_bytes, largest):
    """As many as fit, and not one more: a byte less of budget is one less of them."""
    rows = by_axis(limits(derivation(["512*t"]), workload, free_bytes))
    assert largest == rows["t"].largest


def test_every_tensor_counts_as_the_allocator_rounds_it(workload):
    """Two tensors of a byte a token take 512 bytes each until they have 512 tokens."""
    rows = by_axis(limits(derivation(["t", "1*t"]), workload, 1024))
    assert 512 == rows["t"].largest
    assert 0 == by_axis(limits(derivation(["t", "1*t"]), workload, 1023))["t"].largest


def test_the_largest_of_the_regimes_decides(workload):
    """Each regime must fit, whichever wins at the scenario."""
    rows = by_axis(limits(derivation(["512*t"], ["1024*t"]), workload, 8192))
    assert 8 == rows["t"].largest


def test_both_pools_are_solved_for_together(workload):
    """A server has as many blocks in one pool as in the other: that is a row of its own."""
    rows = by_axis(limits(derivation(["512*a_num_blocks", "512*b_num_blocks"]), workload, 512_000))
    assert 500 == rows["num_blocks (every pool)"].largest
    assert 900 == rows["a_num_blocks"].largest


def test_an_axis_in_no_term_has_no_limit(workload):
    """What the law does not depend on can grow for ever; the two pools get no row together."""
    rows = by_axis(limits(derivation(["512*t"]), workload, 8192))
    assert {*AXES} == set(rows)
    assert (None, "it is in no term") == (rows["r"].largest, rows["r"].reason)


def test_what_cannot_be_built_is_not_the_budgets_limit(workload):
    """An axis that ends before the budget does says where it ends."""
    rows = by_axis(limits(derivation(["a_num_blocks", "r"]), workload, 1 << 30))
    assert (None, "all that can be built fit, and those are 10,000") == (
        rows["a_num_blocks"].largest,
        rows["a_num_blocks"].reason,
    )
    assert "all that can be built fit, and those are 100" == rows["r"].reason


def test_a_held_axis_is_not_solved_for(workload):
    """The law says nothing of other values of it."""
    rows = by_axis(limits(derivation(["512*t"], held=["t"]), workload, 8192))
    assert (False, "the law holds it at 4") == (rows["t"].is_solved, rows["t"].reason)


def test_one_pool_alone_has_no_row_for_every_pool(workload):
    rows = by_axis(limits(derivation(["512*a_num_blocks"]), workload, 8192))
    assert {*AXES} == set(rows)
    assert 16 == rows["a_num_blocks"].largest


def test_both_pools_must_be_built_for_a_size_of_both(workload):
    """Where one of them is settled smaller, that size is none of both."""
    fixed = replace(workload, settle=lambda sizes: {**sizes, "b_num_blocks": 100})
    rows = by_axis(limits(derivation(["a_num_blocks", "b_num_blocks"]), fixed, 1 << 30))
    assert (None, "all that can be built fit, and those are 0") == (
        rows["num_blocks (every pool)"].largest,
        rows["num_blocks (every pool)"].reason,
    )


def test_a_size_that_no_machine_addresses_is_no_limit(workload):
    rows = by_axis(limits(derivation(["t"]), workload, 1 << 60))
    assert (None, f"{1 << 50:,} of them fit") == (rows["t"].largest, rows["t"].reason)


def test_what_data_decides_leaves_every_axis_unsolved(workload):
    """A quantity has no size to solve with."""
    found = derivation(["512*t"])
    law = replace(found.law, regimes=(Polynomial.of({("found", "t"): 512}),))
    rows = by_axis(limits(replace(found, law=law), workload, 8192))
    assert (False, "data decides found") == (rows["t"].is_solved, rows["t"].reason)
    assert "it is in no term" == rows["r"].reason
