"""Sizes beyond a guard, and hints that are equal by no accident."""

from __future__ import annotations

import pytest

from oom_suite.laws.branches import Branch, distinct_hints, holds, other_side
from oom_suite.records import Axis, Contract, Frame, Law, Polynomial, Workload
from oom_suite.records.symbolic import Formula, Guard, Hints, SymbolicTrace

SIZES = {"pool": 640, "t": 4, "k": 64, "block_size": 64}


def workload(settle=dict):
    return Workload(
        name="code",
        axes=(
            Axis("pool", 64, (64, 4096)),
            Axis("t", 1, (1, 128)),
            Axis("k", 32, (32, 512), lower=8),
        ),
        builder="",
        contract=Contract(),
        settle=settle,
    )


def guard(text):
    return Guard(Formula(text), Frame("code.py", 1, "code"))


def branch(*texts, held=(), checked=()):
    law = Law((Polynomial.of({("t",): 1}),), SIZES, held={axis: SIZES[axis] for axis in held})
    trace = SymbolicTrace(Hints(SIZES), {}, (), (), guards=tuple(map(guard, texts)))
    return Branch(law, (), trace, frozenset(checked))


def shown(found):
    return [str(one.formula) for one in found.guards]


def test_a_branchs_guards_are_those_that_nothing_else_says():
    """Not what was checked on its other side, nor what speaks of held axes alone."""
    texts = ("t > 2", "k > 8", "block_size == 64", "t < block_size", "8 > 4")
    found = branch(*texts, held=["block_size"], checked=["k > 8"])
    assert ["t > 2", "t < block_size", "8 > 4"] == shown(found)


@pytest.mark.parametrize(
    ("sizes", "applies"),
    [
        ({}, True),
        ({"t": 3}, True),
        ({"t": 2}, False),
        ({"block_size": 96}, False),
        ({"pool": 1}, True),
    ],
    ids=str,
)
def test_a_branch_speaks_of_sizes_at_which_its_guards_hold(sizes, applies):
    found = branch("t > 2", "found > 9", held=["block_size"])
    assert applies == found.applies({**SIZES, **sizes})


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("t > 3", True),
        ("t > 4", False),
        ("t // (k - 64) > 0", False),
        ("other > 1", False),
        ("t if k else pool", False),
        ("max(t) > 1", False),
    ],
)
def test_a_guard_that_cannot_be_evaluated_does_not_hold(text, is_true):
    assert is_true == holds(guard(text), SIZES)


def test_hints_are_each_axiss_step_times_a_prime_of_its_own():
    """The first free prime from the scenario's own size on, and never below three steps."""
    assert {"pool": 64 * 11, "t": 5, "k": 32 * 3, "block_size": 64} == distinct_hints(
        workload(), SIZES
    )
    sizes = {"pool": 7 * 64, "t": 7, "k": 7 * 32, "block_size": 7}
    assert {"pool": 64 * 7, "t": 11, "k": 32 * 13, "block_size": 7} == distinct_hints(
        workload(), sizes
    )


@pytest.mark.parametrize(
    ("pool", "prime"), [(9, 11), (14, 17), (25, 29), (48, 53), (49, 53), (121, 127)]
)
def test_a_hint_is_prime(pool, prime):
    """Squares of primes are none."""
    assert 64 * prime == distinct_hints(workload(), {**SIZES, "pool": 64 * pool})["pool"]


def test_hints_that_cannot_be_built_are_settled_or_left_as_they_are():
    def smaller(sizes):
        return {**sizes, "pool": 64}

    assert 64 == distinct_hints(workload(smaller), SIZES)["pool"]
    assert 64 * 11 == distinct_hints(workload(lambda sizes: None), SIZES)["pool"]


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("t >= 2", {"t": 1}),
        ("t <= 4", {"t": 5}),
        ("t < 100", {"t": 128}),
        ("t < 200", {"t": 256}),
        ("t != 1", {"t": 1}),
        ("k >= 9", {"k": 8}),
        ("pool <= 100000", {"pool": 640 << 8}),
        ("pool > 64 * t - 1", {"pool": 1}),
        ("t < pool", {"pool": 1}),
        ("k > t", {"t": 128}),
        ("t < 4 * (1 << 11)", {"t": 4 << 11}),
        ("t < 1 + 4 * (1 << 11)", None),
    ],
)
def test_one_axis_is_moved_and_as_little_as_is_needed(text, moved):
    """To its least value, the next one, far ones, then ever further out."""
    expected = None if moved is None else {**SIZES, **moved}
    assert expected == other_side(guard(text), workload(), SIZES)


def test_two_axes_are_moved_where_one_is_not_enough():
    """More than four tokens with a top-k below 32: neither alone makes it false."""
    either = guard("max(5 - t, 0) + max(k - 31, 0) >= 1")
    assert {**SIZES, "t": 5, "k": 8} == other_side(either, workload(), SIZES)


def test_only_sizes_that_can_be_built_are_tried():
    def few(sizes):
        return dict(sizes) if sizes["t"] < 100 else None

    assert {**SIZES, "t": 64} == other_side(guard("t <= 32"), workload(few), SIZES)
    assert other_side(guard("t <= 64"), workload(few), SIZES) is None
