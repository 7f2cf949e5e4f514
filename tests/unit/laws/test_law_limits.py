"""The largest size of each axis that fits a budget, from a law made by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from oom_suite.allocator import taken_alone
from oom_suite.laws.derivation import Derivation
from oom_suite.laws.fit import Regime
from oom_suite.laws.limits import allocated_bytes, limits
from oom_suite.records import Axis, Contract, Law, Polynomial, Trace, Workload

SIZES = {"swa_num_blocks": 100, "extra_num_blocks": 200, "tokens": 4, "block_size": 64}
MIB = 1 << 20


def workload(settle=dict):
    return Workload(
        name="code",
        axes=(
            Axis("swa_num_blocks", 64, (64, 4096)),
            Axis("extra_num_blocks", 64, (64, 4096)),
            Axis("tokens", 1, (1, 128)),
        ),
        builder="",
        contract=Contract(),
        settle=settle,
    )


def derivation(*regimes, held=("block_size",), **others):
    """Each regime is the sum of these terms, each held by a line of its own."""
    made = []
    for terms in regimes:
        live = tuple(
            ((("op", ()), number), Polynomial.of({monomial: c}))
            for number, (monomial, c) in enumerate(terms.items())
        )
        made.append(Regime(Polynomial.of(terms), (("op", ()), 0), live))
    law = Law(
        tuple(one.polynomial for one in made) or (Polynomial({}),),
        SIZES,
        held={axis: SIZES[axis] for axis in held},
    )
    return Derivation(law, tuple(made), Trace("shadow", SIZES, (), ()), **others)


def rows(found, free_bytes, inside=(), **others):
    return {
        row.axis: (row.largest, row.reason, row.is_solved)
        for row in limits(found, workload(**others), free_bytes, inside)
    }


@pytest.mark.parametrize("largest", [1, 2, 3, 7, 8, 9, 100])
def test_the_largest_size_fits_to_the_byte_and_the_next_does_not(largest):
    """Each MiB of a token is a multiple of what the allocator serves."""
    found = derivation({("tokens",): 20 * MIB})
    needed = 20 * MIB * largest
    assert (largest, "", True) == rows(found, needed)["tokens"]
    assert (largest - 1, "", True) == rows(found, needed - 1)["tokens"]
    assert (0, "", True) == rows(found, 0)["tokens"]


def test_what_kernels_take_at_most_has_to_fit_too():
    """An axis of theirs alone has a limit as well; both to the byte."""
    found = derivation({("tokens",): 20 * MIB})
    inside = [Polynomial.of({("tokens",): 20 * MIB}), Polynomial.of({("swa_num_blocks",): 2 * MIB})]
    needed = 20 * MIB * 10 + 200 * MIB
    assert (5, "", True) == rows(found, needed, inside)["tokens"]
    assert (4, "", True) == rows(found, needed - 1, inside)["tokens"]
    assert (140, "", True) == rows(found, needed + 40 * MIB, inside)["swa_num_blocks"]
    assert (None, "it is in no term", True) == rows(found, needed, inside)["extra_num_blocks"]


def test_each_axis_of_no_term_is_no_limit_and_a_held_one_is_not_solved():
    found = derivation({("tokens",): 20 * MIB}, held=("block_size", "swa_num_blocks"))
    shown = rows(found, 100 * MIB)
    assert {
        "swa_num_blocks": (None, "the law holds it at 100", False),
        "extra_num_blocks": (None, "it is in no term", True),
        "tokens": (5, "", True),
    } == shown


def test_two_pools_that_grow_are_also_solved_together_and_named_first():
    found = derivation({("swa_num_blocks",): 20 * MIB, ("extra_num_blocks",): 40 * MIB})
    shown = rows(found, 60 * MIB * 10)
    assert ["num_blocks (every pool)", "swa_num_blocks", "extra_num_blocks", "tokens"] == list(
        shown
    )
    assert 10 == shown["num_blocks (every pool)"][0]
    one = derivation({("swa_num_blocks",): 20 * MIB, ("tokens",): MIB})
    assert ["swa_num_blocks", "extra_num_blocks", "tokens"] == list(rows(one, MIB))


def test_sizes_that_data_decides_leave_nothing_to_solve():
    found = derivation({("tokens", "other"): 8, ("found",): 8})
    assert (None, "data decides found, other", False) == rows(found, MIB)["tokens"]
    assert (None, "it is in no term", True) == rows(found, MIB)["swa_num_blocks"]


def test_nothing_above_2_to_the_50_is_looked_for():
    """As many fit into as many bytes; into the next smaller segment, that many less."""
    found = derivation({("tokens",): 1})
    assert (None, f"{1 << 50:,} of them fit", True) == rows(found, 1 << 50)["tokens"]
    less = (1 << 50) - 2 * MIB
    assert (less, "", True) == rows(found, less)["tokens"]


def test_sizes_that_cannot_be_built_are_no_limit_of_the_budget():
    """Where settling moves the axis it is not built."""
    found = derivation({("tokens",): 20 * MIB})

    def few(sizes):
        return dict(sizes) if sizes["tokens"] <= 9 else None

    def capped(sizes):
        return {**sizes, "tokens": min(9, sizes["tokens"])}

    for settle in (few, capped):
        assert (None, "all that can be built fit, and those are 9", True) == rows(
            found, 20 * MIB * 100, settle=settle
        )["tokens"]
        assert (8, "", True) == rows(found, 20 * MIB * 8, settle=settle)["tokens"]


def test_a_law_that_does_not_hold_everywhere_is_a_limit_as_far_as_it_holds():
    found = derivation({("tokens",): 20 * MIB}, irregular={"swa_num_blocks": "it jumps"})
    assert (5, "as far as the law around the scenario holds", True) == (
        rows(found, 100 * MIB)["tokens"]
    )


def test_every_live_tensor_takes_what_the_allocator_serves_it_alone():
    """The most of all regimes; a part of a byte is a byte, and less than none is none."""
    found = derivation(
        {("tokens",): 1000, (): 20 * MIB + 1},
        {("tokens",): 100 * MIB, (): -(1 << 40)},
        {("tokens",): 1},
    )
    expected = max(taken_alone(4000) + taken_alone(20 * MIB + 1), taken_alone(400 * MIB))
    assert expected == allocated_bytes(found, SIZES)
    assert taken_alone(4000) + taken_alone(20 * MIB + 1) == allocated_bytes(
        derivation({("tokens",): 1000, (): 20 * MIB + 1}), SIZES
    )
    assert 0 == allocated_bytes(derivation(), SIZES)
    eighths = {("tokens",): Fraction(512 * 8 + 1, 32)}
    assert taken_alone(513) == allocated_bytes(derivation(eighths), SIZES)
