"""Records of a trace come out of a pickle as they went in, by their fields alone."""

from __future__ import annotations

import copy
import pickle

import pytest

from oom_suite.records import Allocation, Event, Frame

LINE = Frame("a.py", 3, "decode")
RECORDS = {
    "frame": LINE,
    "event": Event("free", 7),
    "allocation": Allocation(512, "aten::sort", (LINE,), is_bound=True, inside="x", seen_bytes=8),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_record_is_the_same_after_its_way(record):
    assert record == pickle.loads(pickle.dumps(record))
    assert record == copy.deepcopy(record)


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_its_pickle_names_no_field(record):
    """Each is in it by its place: names of thousands of records would be most of a trace."""
    written = pickle.dumps(record)
    assert [] == [name for name in type(record).__slots__ if name.encode() in written]


def test_what_is_frozen_stays_so():
    with pytest.raises(AttributeError):
        pickle.loads(pickle.dumps(LINE)).line = 4
