"""The search for the place where a verdict changes."""

from __future__ import annotations

from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oom_suite.pipeline.bisect import Boundary, search


@given(st.integers(2, 200), st.data())
def test_single_change_is_found_in_logarithmic_time(num_versions, data):
    """Among versions with one change, its two neighbours are found in about log2 calls."""
    first_new = data.draw(st.integers(1, num_versions - 1))
    asked = []

    def like_last(version):
        asked.append(version)
        return version >= first_new

    found = search(range(num_versions), like_last)
    assert Boundary(first_new - 1, first_new, ()) == found
    assert len(asked) <= ceil(log2(num_versions))


@given(st.integers(3, 60), st.data())
def test_unjudged_versions_are_passed_over_and_named(num_versions, data):
    """Versions that cannot be judged never end a search, and are named where they matter."""
    first_new = data.draw(st.integers(1, num_versions - 1))
    skipped = data.draw(st.sets(st.integers(1, num_versions - 2)))
    found = search(range(num_versions), lambda v: None if v in skipped else v >= first_new)
    assert found.before < first_new <= found.after
    assert tuple(range(found.before + 1, found.after)) == found.unjudged
    assert set(found.unjudged) <= skipped


@pytest.mark.parametrize("versions", [["a", "b"], ["a", "x", "b"]], ids=["two", "three"])
def test_ends_are_not_asked_again(versions):
    """The first and the last version are known, and are never judged a second time."""
    asked = []

    def like_last(version):
        asked.append(version)
        return True

    search(versions, like_last)
    assert asked == versions[1:-1]
