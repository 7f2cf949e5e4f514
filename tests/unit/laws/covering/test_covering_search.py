"""Whether a law is above a number of bytes anywhere in a box: held against every size in it."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oom_suite.laws.covering import Piece, covering
from oom_suite.records import Polynomial
from oom_suite.records.symbolic import Formula, Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oom_suite.records.covering import Box

AXES = ("tokens", "width", "blocks")


def polynomial(terms: Mapping[str, int]) -> Polynomial:
    """The polynomial of ``{"tokens width": 8, "": 1}``."""
    return Polynomial.of({tuple(names.split()): c for names, c in terms.items()}, AXES)


def every(box: Box) -> list[dict[str, int]]:
    names = [axis for axis, _, _ in box]
    return [
        dict(zip(names, sizes, strict=True))
        for sizes in product(*(range(low, high + 1) for _, low, high in box))
    ]


monomials = st.lists(st.sampled_from(AXES), max_size=3).map(lambda names: " ".join(sorted(names)))
polynomials = st.dictionaries(monomials, st.integers(-9, 9), min_size=1, max_size=5).map(polynomial)
ranges = st.tuples(st.integers(1, 6), st.integers(0, 4)).map(lambda lw: (lw[0], lw[0] + lw[1]))
boxes = st.tuples(ranges, ranges, ranges).map(
    lambda found: tuple((axis, *each) for axis, each in zip(AXES, found, strict=True))
)


@settings(deadline=None, max_examples=50)
@given(st.lists(polynomials, min_size=1, max_size=3), boxes)
def test_the_largest_peak_of_a_box_is_that_of_all_its_sizes(
    regimes: list[Polynomial], box: Box
) -> None:
    """Whatever the signs of its terms, the exact maximum is found, with sizes that have it."""
    brute = max(max(each(sizes) for each in regimes) for sizes in every(box))
    found = covering([Piece(tuple(regimes))], box, 0)
    assert (found.most_bytes, found.is_most) == (brute, True) or (
        # Peaks are at least nothing.
        brute <= 0 and not found.is_broken
    )
    if found.is_most:
        assert max(each(found.sizes) for each in regimes) == found.most_bytes


@settings(deadline=None, max_examples=40)
@given(polynomials, polynomials, boxes, st.integers(1, 9), st.sampled_from(AXES))
def test_laws_on_two_sides_of_a_condition_are_each_taken_on_their_own_side(
    one: Polynomial, other: Polynomial, box: Box, at: int, axis: str
) -> None:
    """The maximum of a law in two pieces is that of all sizes, each by the piece it belongs to."""
    pieces = [
        Piece((one,), (Formula(f"{axis}*tokens < {at}*width"),)),
        Piece((other,), (Formula(f"{axis}*tokens >= {at}*width"),)),
    ]
    brute = max(
        (one if sizes[axis] * sizes["tokens"] < at * sizes["width"] else other)(sizes)
        for sizes in every(box)
    )
    found = covering(pieces, box, 0)
    assert not found.gap or found.is_broken
    assert max(0, found.most_bytes or 0) == max(0, brute)


BOX: Box = (("tokens", 1, 8192), ("width", 1, 512), ("blocks", 1, 32_768))
LAW = polynomial({"tokens width": 1024, "": 8})
MOST = 1024 * 8192 * 512 + 8


@pytest.mark.parametrize(
    ("allowed", "over"), [(MOST, 0), (MOST - 1, 1)], ids=["equal", "one byte less"]
)
def test_a_law_is_covered_up_to_its_last_byte(allowed: int, over: int) -> None:
    """Bytes equal to the largest peak cover it; one less does not, and the sizes say where."""
    found = covering([Piece((LAW,))], BOX, allowed)
    assert (found.is_kept, found.over_bytes) == (not over, over)
    assert found.sizes == {"tokens": 8192, "width": 512, "blocks": 32_768}


def test_one_row_more_in_the_box_is_not_covered() -> None:
    """The healthy box passes; with one token more than the profile had, it is over by a row."""
    wider = (("tokens", 1, 8193), *BOX[1:])
    assert covering([Piece((LAW,))], BOX, MOST).is_kept
    assert covering([Piece((LAW,))], wider, MOST).over_bytes == 1024 * 512


def test_a_law_that_falls_is_largest_at_the_lower_end() -> None:
    """Negative coefficients are followed to where they take the least away."""
    law = polynomial({"tokens": 100, "tokens tokens": -1})
    found = covering([Piece((law,))], (("tokens", 1, 4000),), 2500)
    assert (found.most_bytes, found.sizes, found.is_kept) == (2500, {"tokens": 50}, True)


def test_sizes_of_which_no_law_speaks_are_a_gap_and_not_covered() -> None:
    """Where the law is not known, nothing is said to be covered, and the gap names sizes."""
    piece = Piece((LAW,), (Formula("tokens <= 4096"),))
    found = covering([piece], BOX, MOST)
    assert (found.is_kept, found.is_broken) == (False, False)
    assert (found.gap, found.gap_sizes["tokens"]) == ("no law speaks of them", 8192)


def test_a_gap_does_not_hide_a_peak_that_is_over() -> None:
    """A peak above what is allowed is a finding, whatever is not known elsewhere."""
    piece = Piece((LAW,), (Formula("tokens <= 4096"),))
    assert covering([piece], BOX, 4096 * 512 * 1024).over_bytes == 8


def test_a_law_that_is_asked_for_closes_its_gap() -> None:
    """What exploring finds is used from then on."""
    asked = []

    def explore(part: Mapping[str, tuple[int, int]]) -> Piece:
        asked.append(part["tokens"])
        return Piece((LAW,), (Formula("tokens > 4096"),))

    piece = Piece((LAW,), (Formula("tokens <= 4096"),))
    assert covering([piece], BOX, MOST, explore=explore).is_kept
    assert asked == [(1, 8192)]


def test_a_law_that_does_not_hold_where_it_was_asked_for_is_a_gap() -> None:
    """A run that took other branches than its sizes would is no law of them."""
    found = covering([], BOX, MOST, explore=lambda _: Piece((LAW,), (Formula("tokens == 1"),)))
    assert (found.is_kept, found.gap) == (False, "no run took their branches")


def test_a_law_of_one_size_is_not_taken_for_others() -> None:
    """An axis that a law holds is that one size, and the rest of the box is a gap."""
    held = Piece((LAW,), held={"tokens": 8192})
    assert covering([held], (("tokens", 8192, 8192), *BOX[1:]), MOST).is_kept
    assert not covering([held], BOX, MOST).is_kept


@pytest.mark.parametrize(("allowed", "kept"), [(640, True), (639, False)])
def test_what_data_decides_is_taken_at_its_worst(allowed: int, kept: bool) -> None:
    """All of what data may decide counts: a row's bytes less, and it is not covered."""
    law = Polynomial.of({("chosen",): 64})
    piece = Piece((law,), quantities=(Quantity("chosen", "rows", at_most=(Formula("tokens"),)),))
    found = covering([piece], (("tokens", 1, 10),), allowed)
    assert (found.is_kept, found.is_broken, found.most_bytes) == (kept, not kept, 640)


def test_a_size_that_follows_from_the_axes_is_no_bound_but_a_value() -> None:
    """A quantity with a formula has that value: one page more than fits is over."""
    pages = Quantity("pages", "pages", value=Formula("(tokens + 63)//64"))
    piece = Piece((Polynomial.of({("pages",): 4096}),), quantities=(pages,))
    assert covering([piece], (("tokens", 1, 128),), 8192).is_kept
    assert covering([piece], (("tokens", 1, 129),), 8192).over_bytes == 4096


def test_what_nothing_bounds_is_a_gap() -> None:
    """Data that decides without a bound covers nothing."""
    piece = Piece((Polynomial.of({("chosen",): 64}),), quantities=(Quantity("chosen", "rows"),))
    found = covering([piece], (("tokens", 1, 10),), 10**9)
    assert (found.is_kept, found.gap) == (False, "nothing that is known bounds what data decides")


def test_what_kernels_take_inside_keeps_it_from_being_covered() -> None:
    """A bound of what kernels take counts for being covered, and is no proof of being over."""
    piece = Piece((polynomial({"tokens": 64}),), inside=(polynomial({"tokens": 1}),))
    box: Box = (("tokens", 1, 10),)
    assert covering([piece], box, 650).is_kept
    found = covering([piece], box, 649)
    assert (found.is_kept, found.is_broken, found.most_bytes) == (False, False, 640)
    assert covering([piece], box, 639).over_bytes == 1


def test_sizes_that_cannot_be_built_are_not_in_the_box() -> None:
    """No more blocks are referenced than tokens can name, so no peak has more."""

    def settle(sizes: Mapping[str, int]) -> Mapping[str, int]:
        return {**sizes, "blocks": min(sizes["blocks"], 2 * sizes["tokens"])}

    piece = Piece((polynomial({"blocks": 10}),))
    box: Box = (("tokens", 1, 50), ("blocks", 1, 1000))
    found = covering([piece], box, 1000, settle)
    assert (found.is_kept, found.sizes) == (True, {"tokens": 50, "blocks": 100})
    assert covering([piece], box, 990, settle).over_bytes == 10


def test_a_search_that_is_cut_says_what_is_left() -> None:
    """After its last part nothing is said to be covered that was not looked at."""
    law = polynomial({"tokens tokens": -1, "tokens": 5001})
    found = covering([Piece((law,))], (("tokens", 1, 9000),), 6_252_500, max_parts=3)
    assert not found.is_kept
    assert "of the box were not looked at" in found.gap
    assert covering([Piece((law,))], (("tokens", 1, 9000),), 6_252_500).is_kept
