"""Which source lines brought a term that grew."""

from __future__ import annotations

from fractions import Fraction

from heap import SCENARIO, law_of, stack_of

from oom_suite.laws.derivation import Change as Elsewhere
from oom_suite.laws.derivation import Derivation
from oom_suite.laws.fit import Regime
from oom_suite.laws.lines import lines_of, with_lines
from oom_suite.records import Law, Polynomial, Trace
from oom_suite.records.lock import Change, Difference, GrownTerm, Growth

TOKENS = ("num_tokens",)


def formula(**terms):
    """`formula(num_tokens=3, bytes=1)`: 3*num_tokens + 1."""
    return Polynomial.of({() if name == "bytes" else (name,): c for name, c in terms.items()})


def regime(*held):
    """A regime whose lines hold these: ``(line, formula)``; no line for None."""
    live = tuple(
        ((("aten.empty", stack_of(line) if line else ()), number), each)
        for number, (line, each) in enumerate(held)
    )
    total = {}
    for _, each in held:
        for monomial, c in each.terms.items():
            total[monomial] = total.get(monomial, 0) + c
    return Regime(Polynomial.of(total), live[0][0], live)


def derivation(*regimes, elsewhere=()):
    law = Law(tuple(one.polynomial for one in regimes), SCENARIO)
    changes = tuple(Elsewhere({}, 0, 0, law, (one,)) for one in elsewhere)
    return Derivation(law, regimes, Trace("shadow", SCENARIO, (), ()), elsewhere=changes)


def grown(now, added, locked=0):
    """A difference in which the tokens' term of `now` grew by so much."""
    term = Polynomial({TOKENS: now.terms[TOKENS]})
    grown_term = GrownTerm(term, Fraction(locked), Fraction(added))
    growth = Growth(now, formula(bytes=1), (grown_term,), SCENARIO, 2, 1)
    return Difference(("s", "decode", "generic"), Change.GREW, "it grew", growths=(growth,))


def blamed(difference, found):
    (growth,) = with_lines(difference, found).growths
    return [(line.function if line else None, part) for line, part in growth.terms[0].lines]


def test_a_terms_lines_are_those_that_hold_it_the_largest_part_first():
    """Two allocations of one line count together; what no line made stands for itself."""
    found = regime(
        ("small", formula(num_tokens=2, bytes=9)),
        ("large", formula(num_tokens=3)),
        ("large", formula(num_tokens=4)),
        ("other", formula(bytes=100)),
        (None, formula(num_tokens=1)),
    )
    lines = [(line.function if line else None, part) for line, part in lines_of(TOKENS, found)]
    assert [("large", 7), ("small", 2), (None, 1)] == lines


def test_the_line_that_holds_just_what_was_added_brought_it():
    found = regime(("old", formula(num_tokens=5)), ("new", formula(num_tokens=3)))
    assert [("new", 3)] == blamed(grown(found.polynomial, 3, locked=5), derivation(found))


def test_where_no_line_or_several_hold_just_that_all_are_named():
    found = regime(("one", formula(num_tokens=3)), ("two", formula(num_tokens=3)))
    both = [("one", 3), ("two", 3)]
    assert both == blamed(grown(found.polynomial, 3), derivation(found))
    assert both == blamed(grown(found.polynomial, 6), derivation(found))


def test_lines_that_take_away_or_are_none_are_not_named():
    found = regime(
        ("more", formula(num_tokens=9)),
        ("less", formula(num_tokens=-2)),
        (None, formula(num_tokens=1)),
    )
    assert [("more", 9)] == blamed(grown(found.polynomial, 8), derivation(found))


def test_a_law_found_elsewhere_has_lines_too():
    here = regime(("here", formula(bytes=1)))
    there = regime(("there", formula(num_tokens=3)))
    found = derivation(here, elsewhere=[there])
    assert [("there", 3)] == blamed(grown(there.polynomial, 3), found)


def test_a_formula_that_the_derivation_does_not_have_stays_without_lines():
    difference = grown(formula(num_tokens=3), 3)
    assert [] == blamed(difference, derivation(regime(("here", formula(bytes=1)))))
    assert difference is with_lines(difference, None)


def test_lines_of_real_runs_are_found():
    """The regime of a derived law names the line of the heap's program."""

    def program(heap, s):
        heap.passing("rows", s.num_tokens * 64)

    found = law_of(program)
    assert [("rows", 64)] == blamed(grown(found.law.here, 64), found)


def test_of_a_stack_the_innermost_line_is_named():
    """What called it is not, and each line's parts are added up from nothing."""
    inner, outer = stack_of("inner")[0], stack_of("outer")[0]
    held = formula(num_tokens=3)
    live = tuple(((("aten.empty", (inner, outer)), number), held) for number in range(2))
    found = Regime(formula(num_tokens=6), live[0][0], live)
    assert [(inner, 6)] == lines_of(TOKENS, found)
