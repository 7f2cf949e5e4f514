"""Contracts by name, and whether a law's form keeps them."""

from __future__ import annotations

import pytest

from oom_suite.errors import UsageError
from oom_suite.laws.contracts import (
    at_most,
    constant,
    contract,
    decide,
    decide_constant,
    decide_linear_in,
    independent_of,
    linear_in,
)
from oom_suite.records import Contract, Law, Polynomial, Verdict

AXES = ("t", "k", "pool")
SIZES = {"t": 4, "k": 8, "pool": 100}


def law(*regimes, held=()):
    found = tuple(Polynomial.of(terms, AXES) for terms in regimes)
    return Law(found, SIZES, held={axis: SIZES[axis] for axis in held})


def test_each_promise_by_its_name():
    """Every constructor gives the contract that holds its promise and no other."""
    bound = Polynomial.of({("k", "t"): 1024})
    assert Contract(independent_of=("pool",)) == independent_of("pool", axes=AXES)
    assert Contract(at_most=bound) == at_most("t*k*1KiB", axes=AXES)
    assert Contract(linear_in=("t", "k")) == linear_in("t", "k", axes=AXES)
    assert Contract(independent_of=AXES) == constant(axes=AXES)


def test_one_name_is_as_good_as_several():
    """A name alone is taken as one axis, not as its letters; named twice, it counts once."""
    assert Contract(independent_of=("pool",)) == contract(AXES, independent_of="pool")
    assert Contract(linear_in=("t",)) == contract(AXES, linear_in=("t", "t"))


@pytest.mark.parametrize("promise", ["independent_of", "linear_in"])
def test_an_axis_that_is_none_is_named_with_the_nearest(promise):
    """A misspelled axis is refused in one line that says which promise and what was meant."""
    with pytest.raises(UsageError, match=f"{promise}: unknown axis 'pol'.*did you mean 'pool'"):
        contract(AXES, **{promise: ("pol",)})


@pytest.mark.parametrize(
    ("regimes", "verdict"),
    [
        ([{("t",): 4, ("pool",): 7, (): 1}], Verdict.PASS),
        ([{("pool", "t"): 4}], Verdict.PASS),
        ([{("k", "t"): 4}], Verdict.FAIL),
        ([{("t", "t"): 4}], Verdict.FAIL),
        ([{("t",): 4}, {("k", "pool", "t"): 1}], Verdict.FAIL),
        ([{}], Verdict.PASS),
    ],
)
def test_linear_is_decided_term_by_term(regimes, verdict):
    """A power of a named axis or a product of two breaks it; a product with another does not."""
    assert verdict is decide_linear_in(law(*regimes), ("t", "k")).verdict


def test_the_guilty_term_and_its_regime_are_named():
    """The reason shows the term that breaks the promise, and the formula it stands in."""
    decision = decide_linear_in(law({("t",): 1}, {("t", "t"): 2, (): 5}), ("t",))
    assert "not at most linear in t: 2*t**2 in 2*t**2 + 5" == decision.reason
    assert (Polynomial.of({("t", "t"): 2}),) == decision.guilty


def test_a_held_axis_is_inconclusive():
    """A law that was found for one value of an axis says nothing of how it grows with it."""
    decision = decide_linear_in(law({("k",): 1}, held=("t",)), ("t",))
    assert Verdict.INCONCLUSIVE is decision.verdict
    assert decision.reason.endswith("the law was found for t=4 alone")


@pytest.mark.parametrize(
    ("terms", "held", "verdict"),
    [
        ({(): 512}, (), Verdict.PASS),
        ({}, (), Verdict.PASS),
        ({(): 512, ("k",): 1}, (), Verdict.FAIL),
        ({(): 512}, ("k",), Verdict.PASS),
    ],
)
def test_constant_is_no_axis_in_any_term(terms, held, verdict):
    """One number in every regime is constant; an axis in any term is not."""
    assert verdict is decide_constant(law(terms, held=held)).verdict


def test_the_worst_decision_of_a_contract_is_its_decision():
    """One broken promise breaks the contract, whatever the others say."""
    found = law({("t", "t"): 1})
    both = Contract(independent_of=("pool",), linear_in=("t",))
    assert Verdict.FAIL is decide(found, both).verdict
    assert Verdict.PASS is decide(found, Contract(independent_of=("pool",))).verdict
    assert None is decide(found, Contract())
