"""Laws against locked laws: what grew is found, with its term; what did not grow is accepted."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oom_suite.laws.lockfile import compare
from oom_suite.records import Polynomial
from oom_suite.records.lock import Change

MONOMIALS = st.lists(st.sampled_from(("pool", "t", "k")), max_size=2).map(
    lambda axes: tuple(sorted(axes))
)
FORMULAS = st.dictionaries(MONOMIALS, st.integers(1, 9), min_size=1, max_size=3).map(
    lambda terms: str(Polynomial.of(terms))
)
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


def test_the_same_law_at_another_place_is_no_longer_the_one_that_was_locked(entry, law, workload):
    """It grew nowhere, and is not as locked."""
    held = ("block_size", "k")
    locked = entry("4*t", elsewhere=[law("4*t", k=32, held=held)])
    now = entry("4*t", elsewhere=[law("4*t", k=16, held=held)])
    assert Change.SHRANK is compare(locked, now, workload).change
