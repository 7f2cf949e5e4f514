"""Laws against locked laws: what grew is found, with its term; what did not grow is accepted."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oom_suite.laws.contracts import parse_polynomial
from oom_suite.laws.lockfile import compare
from oom_suite.laws.lockfile.compare import points, quantities
from oom_suite.records import Polynomial
from oom_suite.records.lock import Change

MONOMIALS = st.lists(st.sampled_from(("pool", "t", "k")), max_size=2).map(
    lambda axes: tuple(sorted(axes))
)
FORMULAS = st.dictionaries(MONOMIALS, st.integers(1, 9), min_size=1, max_size=3).map(
    lambda terms: str(Polynomial.of(terms))
)
SIZES = {"pool": 1000, "t": 4, "k": 8, "block_size": 64}
FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(
    ("locked", "now", "change"),
    [
        (["4*t + 8"], ["4*t + 8"], Change.SAME),
        (["4*t", "k"], ["k", "4*t"], Change.SAME),
        (["4*t + 8"], ["4*t + 9"], Change.GREW),
        (["4*t + 8"], ["4*t + 7"], Change.SHRANK),
        (["4*t + 8"], ["5*t + 8"], Change.GREW),
        (["4*t + 8"], ["3*t + 8"], Change.SHRANK),
        (["4*t + 8"], ["4*t + 8", "7*pool"], Change.GREW),
        (["4*t + 8", "7*pool"], ["4*t + 8"], Change.SHRANK),
        (["4*t*k"], ["4*t"], Change.SHRANK),
        (["4*t"], ["4*t*k"], Change.GREW),
        (["4*t"], ["3*t + 1"], Change.SHRANK),
        (["3*t + 1"], ["4*t"], Change.GREW),
        (["2*t", "2*k"], ["t + k"], Change.UNDECIDED),
        (["1000000*t"], ["pool"], Change.GREW),
        (["1000000*t"], ["pool**2"], Change.GREW),
    ],
)
def test_a_law_is_compared_for_all_sizes(entry, workload, locked, now, change):
    """To the byte, in every axis: one byte more is growth, one less is not."""
    assert change is compare(entry(*locked), entry(*now), workload).change


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


def test_one_byte_more_at_a_scenario_is_growth_whatever_the_law_says(entry, workload):
    """Exact runs at the named scenarios are promised to the byte, too."""
    locked = entry("t", scenario_bytes={"small": 100, "production": 7})
    same = entry("t", scenario_bytes={"small": 100, "production": 7})
    more = entry("t", scenario_bytes={"small": 101, "production": 7})
    less = entry("t", scenario_bytes={"small": 99, "production": 7})
    assert Change.SAME is compare(locked, same, workload).change
    found = compare(locked, more, workload)
    assert Change.GREW is found.change
    assert "grew at scenario small: 100 bytes locked, 101 now" == found.reason
    assert "shrank: at scenario small 100 bytes locked, 99 now" == (
        compare(locked, less, workload).reason
    )


def test_an_axis_that_became_irregular_is_undecided(entry, workload):
    """A law that no longer speaks of an axis cannot be shown to keep what was promised of it."""
    note = "held at k=8: the code branches"
    now = entry("4*t", held=("block_size", "k"), notes=[note])
    found = compare(entry("4*t + k"), now, workload)
    assert Change.UNDECIDED is found.change
    assert f"k is held at 8 now and was not when it was locked ({note})" == found.reason


def test_growth_shows_at_the_value_that_an_axis_is_held_at(entry, workload):
    """What grew there grew, whatever cannot be said of the axis elsewhere."""
    now = entry("4*t + 9", held=("block_size", "k"))
    found = compare(entry("4*t + k"), now, workload)
    assert Change.GREW is found.change
    assert compare(entry("4*t + k"), entry("4*t + 8", held=("k",)), workload).change is (
        Change.UNDECIDED
    )


def test_an_axis_that_became_regular_is_compared_where_it_was_held(entry, workload):
    """A law for one value of an axis is held against a law in that axis at that value."""
    locked = entry("4*t + 8", held=("block_size", "k"))
    assert Change.SHRANK is compare(locked, entry("4*t + k"), workload).change
    assert Change.GREW is compare(locked, entry("4*t + 2*k"), workload).change


def test_a_scenario_that_cannot_be_run_any_more_is_undecided(entry, workload):
    """What was promised there is not known to hold."""
    locked = entry("t", scenario_bytes={"small": 1, "production": 2})
    found = compare(locked, entry("t", scenario_bytes={"small": 1}), workload)
    assert Change.UNDECIDED is found.change
    assert "it cannot be run at scenario production any more" == found.reason


@pytest.mark.parametrize(
    ("locked_there", "now_there", "change"),
    [
        ("9*t", "9*t", Change.SAME),
        ("9*t", "10*t", Change.GREW),
        ("9*t", "8*t", Change.SHRANK),
        ("9*t", None, Change.SHRANK),
        ("1*t", None, Change.GREW),
        (None, "3*t", Change.SHRANK),
        (None, "5*t", Change.GREW),
    ],
)
def test_laws_elsewhere_are_compared_too(entry, law, workload, locked_there, now_there, change):
    """Where one side has no law of its own, its main law is what holds there."""

    def others(text):
        return [law(text, k=32, held=("block_size", "k"))] if text else []

    locked = entry("4*t", elsewhere=others(locked_there))
    now = entry("4*t", elsewhere=others(now_there))
    assert change is compare(locked, now, workload).change


@pytest.mark.parametrize(
    ("locked", "now", "change"),
    [
        ("4*found + t", "4*found + t", Change.SAME),
        ("4*found + t", "5*found + t", Change.GREW),
        ("4*found + t", "3*found + t", Change.SHRANK),
        ("4*pool", "4*found", Change.UNDECIDED),
        ("4*t", "4*t + found", Change.UNDECIDED),
        ("4*t", "5*t + found", Change.GREW),
        ("4*t + found", "5*t", Change.UNDECIDED),
        ("4*t + found", "4*t", Change.SHRANK),
    ],
)
def test_a_size_that_data_decides_is_growth_only_where_it_must_be(
    entry, workload, locked, now, change
):
    """A quantity in both laws counts like an axis; one in a single law can be few or many."""
    assert change is compare(entry(locked), entry(now), workload).change


def test_further_scenarios_are_looked_at_first(entry, workload):
    """Growth is shown at ordinary sizes where there are some, not at huge ones."""
    there = {"pool": 5000, "t": 4, "k": 8, "block_size": 64}
    found = compare(entry("1000*t"), entry("pool"), workload, [there])
    assert 5000 == found.growths[0].sizes["pool"]


@FIXTURES
@given(st.lists(FORMULAS, min_size=1, max_size=3))
def test_a_law_is_as_locked_when_it_is_the_same(entry, workload, formulas):
    """Whatever the formulas and their order, locking and comparing changes nothing."""
    again = entry(*reversed(formulas))
    assert Change.SAME is compare(entry(*formulas), again, workload).change


@FIXTURES
@given(st.lists(FORMULAS, min_size=1, max_size=2), st.lists(FORMULAS, min_size=1, max_size=2))
def test_growth_is_shown_at_sizes_where_it_is(entry, workload, locked, now):
    """A law called grown exceeds the locked one where it says; one accepted exceeds it nowhere."""
    before, after = entry(*locked), entry(*now)
    found = compare(before, after, workload)
    for growth in found.growths:
        assert after.law(growth.sizes) == growth.now_bytes > growth.locked_bytes
        assert before.law(growth.sizes) == growth.locked_bytes
    if found.change in {Change.SAME, Change.SHRANK}:
        for t in (1, 7):
            for k in (1, 64):
                for pool in (1, 5, 2**20):
                    sizes = {"t": t, "k": k, "pool": pool, "block_size": 64}
                    assert after.law(sizes) <= before.law(sizes)


def test_a_term_that_shrank_by_less_than_a_byte_is_not_among_those_that_grew(entry, workload):
    found = compare(entry("t + k"), entry("0.5*t + k + 7*pool"), workload)
    assert ["7*pool"] == [str(term.term) for term in found.growths[0].terms]


def test_quantities_are_given_the_values_that_speak_against_growth():
    """New ones none, old ones more than can be, those of both laws small and large alike."""
    sizes = {"t": 4}
    assert [{}] == quantities(["t"], ["t"], sizes)
    assert [{"new": 0, "old": 2**50}] == quantities(["t", "new"], ["old"], sizes)
    assert [
        {"new": 0, "both": 1},
        {"new": 0, "both": 2**12},
        {"new": 0, "both": 2**24},
    ] == quantities(["new", "both"], ["both"], sizes)


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


@pytest.mark.parametrize("side", ["now", "locked"])
def test_growth_at_a_place_that_one_side_has_a_law_for_is_that_of_its_largest_formula(
    entry, law, workload, side
):
    """At k=32 and four tokens: 40 bytes of the larger formula, against 16 of the other law."""
    there = law("9*t", "10*t", "2*t", k=32, held=("block_size", "k"))
    small = law("4*t", k=32, held=("block_size", "k"))
    if side == "now":
        found = compare(entry("4*t"), entry("4*t", elsewhere=[there]), workload)
    else:
        found = compare(
            entry("9*t", "10*t", "2*t", elsewhere=[small]), entry("9*t", "10*t", "2*t"), workload
        )
    (growth,) = found.growths
    assert ("10*t", "4*t") == (str(growth.now), str(growth.locked))
    assert (40, 16) == (growth.now_bytes, growth.locked_bytes)
    assert 32 == growth.sizes["k"]


@pytest.mark.parametrize(
    ("bytes_now", "change"), [(39, Change.SHRANK), (40, Change.SHRANK), (41, Change.GREW)]
)
def test_one_byte_more_at_such_a_place_is_growth(entry, law, workload, bytes_now, change):
    """Ten bytes a token are 40 there, and 40 are no growth."""
    there = law(str(bytes_now), k=32, held=("block_size", "k", "t"))
    locked, now = entry("10*t"), entry("10*t", elsewhere=[there])
    assert change is compare(locked, now, workload).change


def test_quantities_speak_against_growth_at_such_a_place(entry, law, workload):
    """What data decides is none of the new law's, and more than can be of the old one's."""
    there = law("4*t + found", k=32, held=("block_size", "k"))
    assert Change.SHRANK is compare(entry("4*t"), entry("4*t", elsewhere=[there]), workload).change
    assert (
        Change.SHRANK
        is compare(
            entry("4*t + found"), entry("4*t + found", elsewhere=[law("99*t", k=32)]), workload
        ).change
    )


def points_of(workload, formula, *others, held=(), scenarios=(), **sizes):
    start = {**SIZES, **sizes}
    return list(
        points(
            parse_polynomial(formula, list(SIZES)),
            [parse_polynomial(text, list(SIZES)) for text in others],
            workload,
            start,
            {axis: start[axis] for axis in held},
            scenarios,
        )
    )


def test_points_are_the_scenarios_then_the_corners_then_each_term_doubled(workload):
    """Axes that no formula names, or that are held, stay; the others are small beside a term."""
    there = {**SIZES, "t": 77}
    found = points_of(workload, "t", "k", scenarios=[there], pool=500)
    start = {**SIZES, "pool": 500}
    assert [start, {**there}] == found[:2]
    corners = [{**start, "t": t, "k": k} for t in (1, 4, 128) for k in (1, 8, 512)]
    assert corners == found[2:11]
    assert [{**start, "t": 128 << n, "k": 1} for n in range(1, 25)] == found[11:]


def test_a_held_axis_stays_and_sizes_that_move_it_or_cannot_be_built_are_left_out(workload):
    found = points_of(workload, "t*k", held=["k"], scenarios=[{"k": 9, "t": 2}])
    assert {8} == {point["k"] for point in found}
    assert [{**SIZES, "t": 2}, {**SIZES, "t": 1}] == found[1:3]
    pools = points_of(workload, "pool")
    assert [1000, 1, 1000, 4096, *(4096 << n for n in range(1, 9))] == [p["pool"] for p in pools]

    def moving(sizes):
        return {**sizes, "k": sizes["k"] + (sizes["t"] > 100)}

    found = points_of(replace(workload, settle=moving), "t", held=["k"])
    assert [4, 1, 4] == [point["t"] for point in found]


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


@pytest.mark.parametrize(
    ("now", "held", "change"),
    [
        ("t", ("block_size",), Change.SAME),
        ("t", (), Change.SHRANK),
        ("t", ("block_size", "k"), Change.UNDECIDED),
    ],
)
def test_what_is_held_belongs_to_what_is_promised(entry, workload, now, held, change):
    found = compare(entry("t"), entry(now, held=held), workload)
    assert change is found.change
    if change is Change.SHRANK:
        assert "shrank: no formula is larger than a locked one" == found.reason


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


def test_the_same_law_at_another_place_is_no_longer_the_one_that_was_locked(entry, law, workload):
    """It grew nowhere, and is not as locked."""
    held = ("block_size", "k")
    locked = entry("4*t", elsewhere=[law("4*t", k=32, held=held)])
    now = entry("4*t", elsewhere=[law("4*t", k=16, held=held)])
    assert Change.SHRANK is compare(locked, now, workload).change


def test_growth_where_an_axis_was_held_is_told_as_the_laws_read(entry, workload):
    """The term in the axis, and not the number that it is at the value held."""
    locked = entry("4*t + 8", held=("block_size", "k"))
    (growth,) = compare(locked, entry("4*t + 2*k"), workload).growths
    assert ("4*t + 2*k", "4*t + 8") == (str(growth.now), str(growth.locked))
    assert ["2*k"] == [str(one.term) for one in growth.terms]
    now = entry("4*t + 9", held=("block_size", "k"))
    found = compare(entry("4*t + k"), now, workload)
    assert "grew in a constant: the new term 9" == found.reason
