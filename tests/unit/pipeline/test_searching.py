"""The search for the place where a verdict changes."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oom_suite.pipeline.searching import Boundary, next_of, search, walk


@given(st.integers(2, 200), st.data())
def test_single_change_is_found_in_logarithmic_time(num_versions, data):
    """Among versions with one change, its two neighbours are found in about log2 calls."""
    first_new = data.draw(st.integers(1, num_versions - 1))
    asked = []

    def like_last(version):
        asked.append(version)
        return version >= first_new

    (found,) = search(range(num_versions), like_last)
    assert Boundary(first_new - 1, first_new, ()) == found
    assert len(asked) <= ceil(log2(num_versions))


@given(st.integers(3, 60), st.data())
def test_unjudged_versions_are_passed_over_and_named(num_versions, data):
    """Versions that cannot be judged never end a search, and are named where they matter."""
    first_new = data.draw(st.integers(1, num_versions - 1))
    skipped = data.draw(st.sets(st.integers(1, num_versions - 2)))
    (found,) = search(range(num_versions), lambda v: None if v in skipped else v >= first_new)
    assert found.before < first_new <= found.after
    assert tuple(range(found.before + 1, found.after)) == found.unjudged
    assert set(found.unjudged) <= skipped


@given(st.integers(60, 500), st.data())
def test_stretch_that_cannot_be_judged_costs_few_calls(num_versions, data):
    """A twentieth of all, wherever it is, where the change is not beside it."""
    length = num_versions // 20
    start = data.draw(st.integers(1, num_versions - length - 1))
    outside = [*range(1, start - length), *range(start + 2 * length, num_versions)]
    first_new = data.draw(st.sampled_from(outside))
    asked = []

    def like_last(version):
        asked.append(version)
        return None if start <= version < start + length else version >= first_new

    (found,) = search(range(num_versions), like_last)
    assert Boundary(first_new - 1, first_new, ()) == found
    assert len(asked) <= ceil(log2(num_versions)) + 4


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_where_it_changes_more_than_once_one_true_change_is_found(middle):
    verdicts = [False, *middle, True]
    (found,) = search(range(len(verdicts)), lambda version: verdicts[version])
    assert (False, True) == (verdicts[found.before], verdicts[found.after])
    assert found.after == found.before + 1


@pytest.mark.parametrize("versions", [["a", "b"], ["a", "x", "b"]], ids=["two", "three"])
def test_ends_are_not_asked_again(versions):
    """The first and the last version are known, and are never judged a second time."""
    for how in (search, walk):
        asked = []

        def like_last(version, asked=asked):
            asked.append(version)
            return True

        how(versions, like_last)
        assert asked == versions[1:-1]


@given(st.lists(st.sampled_from([True, False, None]), max_size=12))
def test_walk_finds_every_change_with_what_lies_in_between(middle):
    """The oldest first; what could not be judged is named with the change it may hide."""
    verdicts = [False, *middle, True]
    found = walk(range(len(verdicts)), lambda version: verdicts[version])
    judged = [version for version, verdict in enumerate(verdicts) if verdict is not None]
    expected = [
        Boundary(one, two, tuple(range(one + 1, two)))
        for one, two in pairwise(judged)
        if verdicts[one] is not verdicts[two]
    ]
    assert expected == list(found)


def test_next_try_after_some_that_failed_is_in_the_largest_gap():
    """The middle, then an eighth of the way off, a sixteenth, three sixteenths."""
    assert [0, 8, 4, 12, 2, 10, 6, 14] == [next_of(range(32), number) for number in range(8)]
    assert 0 == next_of([0], 7)
