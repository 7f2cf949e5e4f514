"""How growth over a locked law is worded: which formulas, terms and sizes are named, and first."""

from __future__ import annotations

from fractions import Fraction

from oom_suite.laws.lockfile import compare
from oom_suite.records import Polynomial
from oom_suite.records.lock import Change


def test_the_new_term_is_told_from_the_old_ones(entry, workload):
    """The formula is held against the locked one nearest to it, and what is new there is named."""
    locked = entry("4*t + 8*k", "100*t")
    found = compare(locked, entry("4*t + 7*pool + 8*k", "100*t"), workload)
    (growth,) = found.growths
    (term,) = growth.terms
    assert ("7*pool", 0, 7) == (str(term.term), term.locked, term.added)
    assert "8*k + 4*t" == str(Polynomial.of(growth.locked.terms))
    assert ("pool",) == growth.axes
    assert (400, 7080) == (growth.locked_bytes, growth.now_bytes)
    assert "grew in pool: the new term 7*pool" == found.reason


def test_a_term_that_was_there_tells_by_how_much_it_grew(entry, workload):
    """A larger coefficient is growth of the old term, with its old value."""
    found = compare(entry("4*t*k + 8"), entry("6*t*k + 8"), workload)
    (term,) = found.growths[0].terms
    assert (Fraction(4), Fraction(2)) == (term.locked, term.added)
    assert "grew in t, k: the term 6*t*k (locked: 4)" == found.reason


def test_a_constant_that_grew_is_named_so(entry, workload):
    """One byte more that no axis explains is growth in a constant."""
    found = compare(entry("t + 1"), entry("t + 2"), workload)
    assert "grew in a constant: the term 2 (locked: 1)" == found.reason


def test_further_scenarios_are_looked_at_first(entry, workload):
    """Growth is shown at ordinary sizes where there are some, not at huge ones."""
    there = {"pool": 5000, "t": 4, "k": 8, "block_size": 64}
    found = compare(entry("1000*t"), entry("pool"), workload, [there])
    assert 5000 == found.growths[0].sizes["pool"]


def test_a_term_that_shrank_by_less_than_a_byte_is_not_among_those_that_grew(entry, workload):
    found = compare(entry("t + k"), entry("0.5*t + k + 7*pool"), workload)
    assert ["7*pool"] == [str(term.term) for term in found.growths[0].terms]


def test_growth_is_told_against_the_locked_formula_with_most_in_common(entry, workload):
    """The fewest larger terms, then the fewest bytes, then the fewest terms lost."""

    def against(now, *locked):
        (growth,) = compare(entry(*locked), entry(now), workload).growths
        return str(growth.locked)

    assert "4*t + k" == against("5*t + k", "4*t", "4*t + k")
    assert "4*t" == against("5*t", "2*t", "4*t")
    assert "k" == against("2*k", "k", "k + t")


def test_formulas_with_a_new_term_are_told_before_those_with_grown_ones(entry, workload):
    """A formula that has both is one with a new term, however few bytes it adds."""
    locked = entry("8*t", "8*k", "4*k*t")
    found = compare(locked, entry("9*t", "9*k + 7*pool", "5*k*t"), workload)
    assert "7*pool + 9*k" == str(found.growths[0].now)
    assert {"9*t", "5*t*k"} == {str(growth.now) for growth in found.growths[1:]}
    assert "grew in pool, k: the term 9*k (locked: 8), the new term 7*pool" == found.reason


def test_what_is_not_known_any_more_is_undecided_and_named(entry, workload):
    """A scenario that cannot be run, and an axis that is held now, each in words."""
    locked = entry("4*t", scenario_bytes={"small": 100, "production": 7})
    found = compare(locked, entry("4*t", scenario_bytes={"small": 100}), workload)
    assert (Change.UNDECIDED, "it cannot be run at scenario production any more") == (
        found.change,
        found.reason,
    )


def test_formulas_are_told_once_those_that_add_most_bytes_first(entry, workload):
    """1,000 bytes at the scenario, 128 at the most tokens, and 91 at a top-k of one."""
    locked = entry("8*t", "8*k", "8*pool")
    found = compare(locked, entry("9*t", "99*k", "9*pool", "9*t"), workload)
    assert ["9*pool", "9*t", "99*k"] == [str(growth.now) for growth in found.growths]


def test_a_growth_found_twice_is_told_at_the_first_sizes(entry, workload, law):
    """The law around the scenario comes before one elsewhere."""
    there = law("9*t", k=32, held=("block_size", "k"))
    was = law("8*t", k=32, held=("block_size", "k"))
    found = compare(entry("8*t", elsewhere=[was]), entry("9*t", elsewhere=[there]), workload)
    assert [8] == [growth.sizes["k"] for growth in found.growths]


def test_an_axis_held_without_a_note_and_one_that_was_held_before(entry, workload):
    """Only what is newly held is lost, and a note that speaks of another axis is not its why."""
    now = entry("4*t", held=("block_size", "k"), notes=["held at t=4: jumps"])
    assert "k is held at 8 now and was not when it was locked" == (
        compare(entry("4*t"), now, workload).reason
    )
    assert Change.SAME is compare(now, now, workload).change


def test_a_scenario_that_is_new_is_no_growth_and_a_smaller_one_is_the_gain(entry, workload):
    locked = entry("t", scenario_bytes={"small": 100, "production": 7})
    now = entry("t", scenario_bytes={"small": 100, "production": 6, "new": 10**9})
    found = compare(locked, now, workload)
    assert (Change.SHRANK, "shrank: at scenario production 7 bytes locked, 6 now") == (
        found.change,
        found.reason,
    )


def test_what_cannot_be_shown_is_named_with_its_formula(entry, workload):
    found = compare(entry("2*t", "2*k"), entry("t + k"), workload)
    assert "cannot show that t + k is at most what is locked" == found.reason


def test_growth_where_an_axis_was_held_is_told_as_the_laws_read(entry, workload):
    """The term in the axis, and not the number that it is at the value held."""
    locked = entry("4*t + 8", held=("block_size", "k"))
    (growth,) = compare(locked, entry("4*t + 2*k"), workload).growths
    assert ("4*t + 2*k", "4*t + 8") == (str(growth.now), str(growth.locked))
    assert ["2*k"] == [str(one.term) for one in growth.terms]
    now = entry("4*t + 9", held=("block_size", "k"))
    found = compare(entry("4*t + k"), now, workload)
    assert "grew in a constant: the new term 9" == found.reason
