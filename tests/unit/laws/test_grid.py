"""Which steps a grid takes along an axis, which it tries, and why it gives one up."""

from __future__ import annotations

import zlib
from types import SimpleNamespace

import pytest
from heap import Code, stack_of

from oom_suite.errors import LaneError
from oom_suite.laws.evidence import Survey
from oom_suite.laws.fit import Fit
from oom_suite.laws.grid import Grid
from oom_suite.records import Axis, Contract, Workload


def workload(*axes, settle=dict):
    axes = axes or (Axis("t", 8, (1, 128)),)
    return Workload(name="code", axes=axes, builder="", contract=Contract(), settle=settle)


def grid_of(num_bytes, start=100, axes=(), settle=dict, refuses=lambda s: None, hold=None):
    """A grid around `t` = `start`, of code that takes so many bytes, and the sizes it ran."""
    code = Code(lambda heap, s: heap.passing("line", num_bytes(s)), refuses=refuses)
    seen = []

    def run(sizes):
        seen.append(sizes["t"])
        return code(sizes)

    made = workload(*axes, settle=settle)
    sizes = {axis.name: start for axis in made.axes}
    return Grid(Survey(run, sizes), made, hold), seen


def jumping(s):
    """No polynomial in any steps."""
    return zlib.crc32(str(s.t).encode())


def test_an_axis_that_is_regular_in_its_own_step_takes_four_sizes():
    found, seen = grid_of(lambda s: s.t * s.t)
    assert ({"t": 8}, {}, {}) == (found.steps, found.irregular, found.fixed)
    assert [100, 108, 116, 124] == seen
    assert [(), (("t", 1),), (("t", 2),), (("t", 3),)] == found.line("t")
    assert {"t": 116} == found.point((("t", 2),))


def test_a_cube_is_no_polynomial_of_two_degrees():
    found, _ = grid_of(lambda s: s.t**3)
    assert {} == found.steps
    assert {"t"} == found.irregular.keys()


@pytest.mark.parametrize(
    ("padding", "start", "step"),
    [
        (16, 100, 16),
        (32, 120, 32),
        (64, 120, 64),
        (128, 120, 128),
        (256, 250, -8),
        (3, 100, None),
    ],
)
def test_larger_steps_are_taken_where_the_code_pads(padding, start, step):
    """Up to sixteen times its own; what is regular in none of them is irregular."""
    found, _ = grid_of(lambda s: -(-s.t // padding) * padding, start)
    assert ({} if step is None else {"t": step}) == found.steps
    assert (step is None) == ("t" in found.irregular)


def test_every_step_is_tried_upwards_first_and_the_other_way_only_where_it_did_not_run():
    """But for the axis's own step, and none smaller than that."""
    found, seen = grid_of(jumping)
    steps = [8, 16, 32, 64, 128, -8]
    expected = dict.fromkeys(100 + k * step for step in steps for k in range(4))
    assert list(expected) == seen
    peaks = ", ".join(f"{zlib.crc32(str(t).encode()):,}" for t in (100, 108, 116, 124))
    assert {
        "t": f"no polynomial fits at t=100, 108, 116, 124: the peak is {peaks} bytes"
    } == found.irregular
    assert {} == found.fixed


def test_steps_whose_three_points_cannot_be_built_are_not_tried():
    """From 20 on down there are two of 8 at the most; up to 60 there are five."""
    found, seen = grid_of(
        jumping, 20, settle=lambda sizes: dict(sizes) if sizes["t"] <= 60 else None
    )
    assert [20, 28, 36, 44] == seen
    assert {"t"} == found.irregular.keys()
    axis = workload().axes[0]
    assert [8, 1, -1] == list(found._reachable(axis))


def test_steps_in_their_order():
    found, _ = grid_of(lambda s: 8)
    (axis,) = workload().axes
    assert [8, 16, -16, 32, -32, 64, 128, -8, 1, -1] == list(found._reachable(axis))


def test_an_axis_at_its_end_is_varied_downwards():
    """Upwards nothing can be built: its own step down comes first then."""
    found, seen = grid_of(
        lambda s: s.t, settle=lambda sizes: dict(sizes) if sizes["t"] <= 100 else None
    )
    assert ({"t": -8}, [100, 92, 84, 76]) == (found.steps, seen)


def test_a_least_size_is_kept_to():
    axes = (Axis("t", 8, (), lower=70),)
    found, _ = grid_of(lambda s: s.t, axes=axes)
    assert [8, 16, 32, 64, 128, -8, 1, -1] == list(found._reachable(axes[0]))
    axes = (Axis("t", 10, (), lower=70),)
    assert -10 in list(found._reachable(axes[0]))
    axes = (Axis("t", 11, (), lower=70),)
    assert -11 not in list(found._reachable(axes[0]))


def test_what_refuses_every_other_size_is_fixed_with_the_first_message():
    """Then single steps are tried, too."""
    found, seen = grid_of(
        lambda s: 8, refuses=lambda s: LaneError(f"not {s.t}") if s.t != 100 else None
    )
    assert {"t": "at t=108: not 108"} == found.fixed
    assert ({}, {}) == (found.steps, found.irregular)
    assert [100, 108, 116, 84, 132, 68, 164, 228, 92, 101, 99] == seen


def test_what_cannot_be_built_otherwise_is_fixed():
    found, seen = grid_of(
        lambda s: 8, settle=lambda sizes: dict(sizes) if sizes["t"] == 100 else None
    )
    assert ({"t": "no other size of it can be built"}, []) == (found.fixed, seen)


def test_single_steps_are_taken_where_larger_ones_are_refused():
    found, _ = grid_of(
        lambda s: s.t, refuses=lambda s: LaneError("no") if abs(s.t - 100) > 3 else None
    )
    assert {"t": 1} == found.steps


def test_the_other_way_is_tried_where_this_one_is_refused():
    found, _ = grid_of(lambda s: s.t, refuses=lambda s: LaneError("no") if s.t > 100 else None)
    assert {"t": -16} == found.steps


def test_an_axis_that_is_held_is_irregular_and_not_varied():
    found, seen = grid_of(lambda s: s.t, hold={"t": "it jumps"})
    assert ({}, {"t": "it jumps"}, []) == (found.steps, found.irregular, seen)


def test_code_that_allocates_at_some_sizes_only_branches_at_a_line():
    """At the scenario it does not; the first line in the text's order is named."""

    def program(heap, s):
        heap.passing("line", 8)
        if s.t > 110:
            heap.passing("other", 8)

    code = Code(program)
    made = workload(Axis("t", 8, (), lower=100))
    found = Grid(Survey(code, {"t": 100}), made)
    (frame,) = stack_of("other")
    assert {
        "t": f"at t=100, 108, 116, 124 the code branches: {frame} allocates at some of them only"
    } == found.irregular


def test_what_differs_below_the_peak_alone_is_said_to():
    def program(heap, s):
        heap.passing("cover", 1 << 40)
        heap.passing("line", jumping(s))

    found = Grid(Survey(Code(program), {"t": 100}), workload())
    (frame,) = stack_of("line")
    amounts = ", ".join(f"{jumping(SimpleNamespace(t=t)):,}" for t in (100, 108, 116, 124))
    assert {
        "t": f"no polynomial fits at t=100, 108, 116, 124: aten.empty at {frame} follows no "
        f"polynomial, with {amounts} bytes"
    } == found.irregular


def under_a_square(below):
    """A grid around w=16 of code whose peak is 64w^2+36w+8 and which takes `below` before it."""

    def program(heap, s):
        heap.passing("below", below(s.w))
        heap.passing("whole", 64 * s.w**2 + 36 * s.w + 8)

    made = workload(Axis("w", 16, (1, 512)))
    survey = Survey(Code(program), {"w": 16})
    return Grid(survey, made), survey


def test_a_peak_that_is_a_polynomial_fits_whatever_is_below_it():
    """The peak is 16,968, 66,696, 149,192 and 264,456 bytes; a rounded request is below it."""
    grid, survey = under_a_square(lambda w: 4 * (25 * w // 24) + 12)
    assert ({"w": 16}, {}) == (grid.steps, grid.irregular)
    (frame,) = stack_of("below")
    assert {
        "w": f"aten.empty at {frame} follows no polynomial, with 76, 144, 212, 276 bytes at "
        "w=16, 32, 48, 64, below the peak at every size run"
    } == grid.uneven
    fitted = Fit(grid)
    (regime,) = fitted.regimes({"w": 1})
    assert "36*w + 64*w**2 + 8" == str(regime.polynomial)
    assert all(fitted.gives_every_sum(sizes, trace) for sizes, trace in survey.runs)


@pytest.mark.parametrize(("each", "fits"), [(63, True), (0, False)], ids=["clear", "nearer"])
def test_what_comes_nearer_to_the_peak_may_be_it_further_on(each, fits):
    """A peak that it falls behind is a law; one that it comes nearer to is none."""

    def below(w):
        clear = each * w + jumping(SimpleNamespace(t=w)) % 997
        return 64 * w**2 + 36 * w + 8 - clear

    grid, _ = under_a_square(below)
    assert fits == ("w" in grid.steps)
    assert fits != ("w" in grid.irregular)


def test_a_run_in_which_it_is_over_the_law_is_not_as_the_law_says():
    """At w=512 the rounded request is as large as the peak, and then a byte larger."""

    def fitted(at_512):
        law = 64 * 512**2 + 36 * 512 + 8

        def below(w):
            return at_512(law) if w == 512 else 4 * (25 * w // 24) + 12

        grid, survey = under_a_square(below)
        return Fit(grid).gives_every_sum({"w": 512}, survey.at({"w": 512}))

    assert fitted(lambda law: law)
    assert not fitted(lambda law: law + 1)


def test_a_point_that_cannot_be_built_or_run_has_no_trace():
    found, seen = grid_of(
        lambda s: 8,
        settle=lambda sizes: dict(sizes) if sizes["t"] != 132 else None,
        refuses=lambda s: LaneError("no") if s.t == 140 else None,
    )
    assert found.trace((("t", 4),)) is None
    assert 132 not in seen
    assert found.trace((("t", 5),)) is None
    assert 148 == found.trace((("t", 6),)).sizes["t"]


def test_a_step_is_tried_once():
    """Those of one, where that is the axis's own step."""
    axis = Axis("t", 1, ())
    found, _ = grid_of(lambda s: 8, axes=(axis,))
    assert [1, 2, -2, 4, -4, 8, -8, 16, -16, -1] == list(found._reachable(axis))
