"""From which size of an axis on the peak stays, found by runs along it."""

from __future__ import annotations

import pytest
from heap import Code

from oom_suite.laws.flat import Flat, FlatSurvey
from oom_suite.records import Axis, Contract, Workload

WORKLOAD = Workload(
    name="code",
    axes=(Axis("pool", step=1, far=()), Axis("t", step=1, far=(5,))),
    builder="",
    contract=Contract(),
)


def survey(num_bytes, pool):
    """A survey along `pool`, from there and `t` of 1 on; and the sizes that it runs."""
    code, seen = Code(lambda heap, s: heap.passing("line", num_bytes(s))), []

    def run(sizes):
        seen.append((sizes["pool"], sizes["t"]))
        return code(sizes)

    return FlatSurvey(run, WORKLOAD, {"pool": pool, "t": 1}, "pool"), seen


@pytest.mark.parametrize(("last", "expected"), [(2**20, None), (2**20 - 1, 2**20)])
def test_a_peak_is_looked_into_that_three_doublings_share(last, expected):
    """Of 2**20, 2**21 and 2**22, which is the largest that is run, two show nothing yet."""
    found = survey(lambda s: 8 if s.pool <= last else 16, 2**20)[0].search()
    assert expected == (found and found.start)
    assert found is None or isinstance(found, Flat)


def test_where_another_axis_is_moved_a_few_sizes_are_compared():
    """The start and the next, its double, and one well beyond that is no multiple."""
    along, seen = survey(lambda s: 8, 10)
    assert along.held_from(10).shown is None
    assert [10, 11, 20, 46] == [pool for pool, t in seen if t == 5]


def test_a_start_of_its_own_is_found_where_the_start_alone_differs():
    """Five entries of the pool are as many as the other axis asks for; four are fewer."""
    along, _ = survey(lambda s: min(s.pool, s.t), 4)
    found = along.held_from(4, moves=True)
    assert ((({"t": 5}, 5),), None) == (found.moved, found.shown)
    assert along.held_from(4).shown.after == {"pool": 5, "t": 5}
