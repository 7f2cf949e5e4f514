"""The terms that a fitted law can have."""

from __future__ import annotations

from heap import law_of


def test_a_live_sum_may_depend_on_an_axis_that_nothing_held_at_its_most_does():
    """A loop's place holds most before it, and as many as there are tokens at the peak."""

    def program(heap, s):
        def rows(number):
            return [heap.alloc("rows", 1000) for _ in range(number)]

        heap.free(*rows(10))
        kept = rows(s.num_tokens)
        heap.passing("output", 1_000_000)
        heap.free(*kept)

    assert "1000*num_tokens + 1000000" == str(law_of(program).law)
