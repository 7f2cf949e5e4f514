"""Which terms break a promise."""

from __future__ import annotations

import pytest
from heap import SCENARIO, Code

from oom_suite.laws.breach import excess, growth, largest_terms, of_run
from oom_suite.laws.derivation import Derivation, Violation
from oom_suite.laws.fit import Regime
from oom_suite.records import Bound, Breach, Contract, Law, Polynomial, Workload

SIZES = {"t": 10, "k": 3}
LAW = Polynomial.of({("t", "t"): 2, ("t",): 5, ("k",): 1, (): 9})


def texts(breach):
    return [str(term) for term in breach.terms]


def test_growth_marks_every_term_that_a_forbidden_axis_is_in():
    assert ["5*t", "2*t**2"] == texts(growth(LAW, ["t"], SIZES))
    assert ["k", "5*t", "2*t**2"] == texts(growth(LAW, ["t", "k"], SIZES))


def test_a_broken_bound_marks_the_terms_that_it_has_less_of():
    """A term that the bound has as much of is not to blame."""
    limit = Polynomial.of({("t", "t"): 2, ("t",): 4, (): 9})
    assert ["k", "5*t"] == texts(excess(LAW, limit, SIZES))


@pytest.mark.parametrize(("constant", "marked"), [(1, ["8*t"]), (2, ["8*t", "2"])])
def test_a_term_with_an_eighth_of_what_is_over_or_less_is_not_marked(constant, marked):
    """Of 8 bytes over, one is none to look at; of 9, two are."""
    law = Polynomial.of({("t",): 8, (): constant})
    assert marked == texts(excess(law, Polynomial.of({("t",): 1}), {"t": 1}))


def test_of_minima_and_maxima_the_one_that_rules_there_is_compared():
    """At t=10 the least is 4*t, at t=1,000 the constant."""
    limit = Bound(((Polynomial.of({("t",): 4}),), (Polynomial.of({(): 100}),)))
    law = Polynomial.of({("t",): 4, (): 1})
    assert ["1"] == texts(excess(law, limit, {"t": 10}))
    assert ["4*t"] == texts(excess(law, limit, {"t": 1000}))


def test_where_no_term_is_larger_the_largest_is_marked():
    """A law that is over by what it lacks: nothing is taken away in it."""
    law, limit = (
        Polynomial.of({("t",): 3, ("k",): 2}),
        Polynomial.of({("t",): 4, ("k",): 2, (): -20}),
    )
    assert ["3*t"] == texts(excess(law, limit, {"t": 10, "k": 3}))
    assert () == largest_terms(Polynomial.of({}), SIZES)


def over(polynomial, peak_bytes):
    sizes = {**SCENARIO, "num_tokens": 8}
    trace = Code(lambda heap, s: heap.alloc("rows", peak_bytes))(sizes)
    regime = Regime(polynomial, (("op", ()), 0), ())
    law = Law((polynomial,), SCENARIO)
    limit = Contract(at_most=Polynomial.of({("num_tokens",): 1}))
    violation = Violation(sizes, peak_bytes, 8, trace)
    derivation = Derivation(law, (regime,), trace)
    return of_run(violation, derivation, Workload("w", (), "", limit)), sizes


def test_a_run_over_its_bound_is_marked_by_the_formula_that_says_its_peak():
    """Where none does, what was seen is said instead."""
    formula = Polynomial.of({("num_tokens",): 2})
    breach, sizes = over(formula, 16)
    assert Breach(sizes, formula, (formula,)) == breach
    breach, sizes = over(formula, 17)
    assert Breach(sizes, seen="17 bytes, allowed 8") == breach
