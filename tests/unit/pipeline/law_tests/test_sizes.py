from __future__ import annotations

import copy
import pickle

import pytest

from oom_suite.errors import UsageError
from oom_suite.pipeline.law_tests import Sizes

SIZES = Sizes({"num_tokens": 4, "topk": 8})


def test_values_are_attributes_items_and_keywords():
    """A size is read as an attribute, as an item, and unpacked."""
    assert (4, 4, 2) == (SIZES.num_tokens, SIZES["num_tokens"], len(SIZES))
    assert {"num_tokens": 4, "topk": 8} == dict(**SIZES) == dict(SIZES)
    assert ["num_tokens", "topk"] == list(SIZES)
    assert "Sizes(num_tokens=4, topk=8)" == repr(SIZES)


def test_an_unknown_axis_is_told_with_the_nearest():
    """A name that is no axis gives one line, as an attribute and as an item."""
    expected = "unknown axis 'num_token': choose from num_tokens, topk; did you mean 'num_tokens'?"
    with pytest.raises(UsageError) as attribute:
        _ = SIZES.num_token
    with pytest.raises(UsageError) as item:
        _ = SIZES["num_token"]
    assert expected == str(attribute.value) == str(item.value)


def test_sizes_can_be_copied_and_pickled():
    """A copy and a pickle have the same values."""
    assert dict(SIZES) == dict(copy.copy(SIZES)) == dict(pickle.loads(pickle.dumps(SIZES)))
