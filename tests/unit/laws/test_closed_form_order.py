"""The order of a closed form's regimes, their first lines, and what covers what."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from symbolic_code import ORDER, SIZES, line, symbolic

from oom_suite.laws.closed_form import closed_form, covers, term_lines
from oom_suite.records import Polynomial
from oom_suite.records.symbolic import (
    Formula,
    Hints,
    Quantity,
    SymbolicAllocation,
    SymbolicTrace,
)


def law_and_regimes(requests, events, sizes=SIZES, **others):
    return closed_form(symbolic(Hints(sizes), requests, events, **others))


def passing(*numbers):
    return [(kind, number) for number in numbers for kind in ("alloc", "free")]


def test_regimes_are_in_the_order_of_their_bytes_at_the_hints():
    """Whichever was reached first; a sum that another covers does not end the search."""
    requests = [{("tokens",): 9}, {("tokens",): 8}, {("pool",): 1}]
    law, regimes = law_and_regimes(requests, passing(0, 1, 2))
    assert ["pool", "9*tokens"] == [str(regime) for regime in law.regimes]
    assert ["pool", "9*tokens"] == [str(regime.polynomial) for regime in regimes]
    assert 1 == law.num_runs


def test_a_sum_reached_twice_is_the_first_lines():
    """A sum that is left when something is freed is no peak, and reached by no request."""
    requests = [{("pool",): 8}, {("pool",): 8}]
    _, (regime,) = law_and_regimes(requests, passing(0, 1))
    assert 0 == regime.site[0][1][0].line
    assert [0] == [place[1][0].line for (place, _), _ in regime.live]


def test_a_larger_sum_takes_the_place_of_every_one_it_covers():
    requests = [{("pool",): 8}, {("tokens",): 8}, {("pool",): 9, ("tokens",): 9}]
    law, _ = law_and_regimes(requests, passing(0, 1, 2))
    assert ["9*pool + 9*tokens"] == [str(regime) for regime in law.regimes]


def test_a_call_that_requests_nothing_has_the_law_zero():
    law, regimes = law_and_regimes([], [])
    assert (["0"], ()) == ([str(regime) for regime in law.regimes], regimes)


@pytest.mark.parametrize(
    ("quantity", "first"),
    [
        (Quantity("found", "", None), "0.5*tokens"),
        (Quantity("found", "", None, (Formula("pool"), Formula("tokens"))), "8*found - 5"),
        (Quantity("found", "", None, (Formula("other"), Formula("0*pool"))), "0.5*tokens"),
        (Quantity("found", "", Formula("tokens - 4"), (Formula("pool"),)), "0.5*tokens"),
        (Quantity("found", "", Formula("tokens - 3"), (Formula("0*pool"),)), "8*found - 5"),
    ],
    ids=["unbounded", "its smallest bound", "bounds that can be told", "its value", "its value 1"],
)
def test_a_quantity_is_ordered_by_its_value_or_its_smallest_bound(quantity, first):
    """Nothing is known of one without either: it is taken for 0. Two bytes stand against it."""
    requests = [{("found",): 8, (): -5}, {("tokens",): Fraction(1, 2)}]
    law, _ = law_and_regimes(requests, passing(0, 1), quantities=(quantity,))
    assert first == str(law.regimes[0])


def test_an_unbounded_quantity_is_taken_for_nothing():
    """Four bytes without it are more than half a byte a token, two."""
    requests = [{("tokens",): Fraction(1, 2)}, {("found",): 8, (): 4}]
    law, _ = law_and_regimes(
        requests, passing(0, 1), quantities=(Quantity("found", "what data decides", None),)
    )
    assert "8*found + 4" == str(law.regimes[0])
    assert ("found: what data decides",) == law.notes


def test_a_law_holds_what_the_hints_hold_and_what_the_code_made_a_number():
    sizes = {**SIZES, "block_size": 64}
    trace = symbolic(Hints(sizes, ("block_size",)), [{("pool",): 8}], [("alloc", 0)])
    law, _ = closed_form(replace(trace, specialised={"tokens": (4, line(3))}))
    assert {"block_size": 64, "tokens": 4} == law.held
    assert sizes == law.sizes


def test_a_terms_lines_are_sorted_by_their_parts_and_none_is_left_out_but_no_line():
    """Two requests of one line count together; each term has its own lines."""
    stacks = [(line(1),), (line(2), line(9)), (line(1),), ()]
    terms = [{("tokens",): 2, (): 7}, {("tokens",): 5}, {("tokens",): 4}, {("tokens",): 1}]
    allocations = tuple(
        SymbolicAllocation(Polynomial.of(each, ORDER), "op", stack)
        for each, stack in zip(terms, stacks, strict=True)
    )
    events = tuple(("alloc", number) for number in range(4))
    _, (regime,) = closed_form(SymbolicTrace(Hints(SIZES), {}, allocations, events))
    found = [
        (str(one.term), [(frame.line, str(part)) for frame, part in one.lines])
        for one in term_lines(regime)
    ]
    assert [("12*tokens", [(1, "6*tokens"), (2, "5*tokens")]), ("7", [(1, "7")])] == found


def test_one_law_covers_another_where_each_formula_is_below_one_of_its_own():
    """From each axis's least value on; both ways is the same law."""
    one = [Polynomial.of({("tokens",): 8}), Polynomial.of({("pool",): 2})]
    other = [Polynomial.of({("pool",): 1}), Polynomial.of({("tokens",): 4, (): 4})]
    lower = {"pool": 1, "tokens": 1}
    assert covers(one, other, lower)
    assert not covers(other, one, lower)
    assert not covers(one, [*other, Polynomial.of({("tokens",): 8, (): 1})], lower)
    assert not covers(one, other, {"pool": 1, "tokens": 0})
    assert covers(one, [], lower)
