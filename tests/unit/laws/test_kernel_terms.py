"""What kernels take as terms of a law: bounds that every run kept, and growth that breaks one."""

from __future__ import annotations

import pytest

from oom_suite.laws.kernel_terms import growth, kernel_terms
from oom_suite.records import Allocation, Contract, Event, Frame, Trace, Unseen, Verdict
from oom_suite.records.libraries import LIBRARIES

LINE = Frame("sampler.py", 12, "sample")
CALLER = Frame("engine.py", 34, "step")
TARGET = "cuda:sm_90"


def run(taken_bytes, *, is_bound=False, op="aten::sort", seen_bytes=0, unseen=(), **sizes):
    """A call whose kernel asks for so many bytes, of which dispatch sees some."""
    asked = Allocation(taken_bytes, op, (LINE,), is_bound, op, seen_bytes)
    return sizes, Trace("shadow", sizes, (asked,), (Event("alloc", 0),), unseen=unseen)


def runs_of(formula, points, **options):
    return [run(formula(**sizes), **options, **sizes) for sizes in points]


def line(axis, *values, **others):
    return [{**others, axis: value} for value in values]


def terms(runs, axes="ab"):
    return [str(each.at_most) for each in kernel_terms(runs, axes, runs[0][0], TARGET)]


GRID = [*line("a", 4, 8, 512, b=16), *line("b", 32, 1024, a=4), {"a": 64, "b": 64}]


@pytest.mark.parametrize(
    ("expected", "formula"),
    [
        ("12*a*b", lambda a, b: 12 * a * b),
        ("2.5*a", lambda a, b: 5 * a // 2),
        ("1536", lambda a, b: 1500),
        ("8.25*b + 512", lambda a, b: 8 * b + 200),
        ("4*a**2", lambda a, b: 4 * a * a),
        # Few entries cost more each, as at the scenario.
        ("40*a*b", lambda a, b: (40 if a < 512 else 2) * a * b),
        ("20*a*b + 1536", lambda a, b: (40 if a * b < 100 else 20) * a * b),
        # Another kernel from 100 on: no power of a.
        ("40*a + 512", lambda a, b: 512 if a < 100 else 40 * a),
        # Tiles of 128.
        ("4*a + 512", lambda a, b: -(-a // 128) * 512),
    ],
    ids=[
        "product",
        "one-axis",
        "one",
        "with-a-constant",
        "square",
        "few",
        "very-few",
        "another",
        "tiles",
    ],
)
def test_a_term_bounds_every_run(expected, formula):
    runs = runs_of(formula, GRID)
    (found,) = kernel_terms(runs, "ab", runs[0][0], TARGET)
    assert expected == str(found.at_most)
    assert all(formula(**sizes) <= found.at_most(sizes) for sizes, _ in runs)
    assert formula(**GRID[0]) == found.num_bytes


@pytest.mark.parametrize(
    ("few_bytes", "expected"), [(64 * 1024, "256*a + 65536"), (64 * 1024 + 1, "8449*a")]
)
def test_a_constant_of_64_kib_is_small_beside_what_grows(few_bytes, expected):
    """What eight take needs it; a byte more, and the bound is the one that is less at four."""
    taken = {4: 100, 8: few_bytes + 8 * 256, 512: 512 * 256}
    assert [expected] == terms(runs_of(lambda a, b: taken[a], line("a", 4, 8, 512, b=16)))


@pytest.mark.parametrize(("stack", "expected"), [((LINE, CALLER), True), ((CALLER, LINE), False)])
def test_a_term_names_the_libraries_of_the_line_that_calls(stack, expected):
    """Who called that line does not matter."""
    (name, *_) = sorted(LIBRARIES)
    asked = Allocation(512, "aten::convolution", (LINE,), inside="aten::convolution")
    space = Allocation(4096, name, stack, is_bound=True, inside="aten::convolution")
    sizes = {"a": 4, "b": 16}
    events = (Event("alloc", 0), Event("alloc", 1))
    one = (sizes, Trace("shadow", sizes, (asked, space), events))
    (found,) = (each for each in kernel_terms([one], "ab", sizes, TARGET) if each.where == LINE)
    assert ((name,) if expected else ()) == found.libraries


def test_a_term_says_whose_it_is():
    (found,) = kernel_terms(runs_of(lambda a, b: 8 * a, GRID), "ab", GRID[0], TARGET)
    said = "at most 8*a inside aten::sort at sampler.py:12 (sample), cuda:sm_90"
    assert (said, True) == (str(found), found.is_exact)
    bounded = runs_of(lambda a, b: 8 * a, GRID, is_bound=True)
    assert [False] == [each.is_exact for each in kernel_terms(bounded, "ab", GRID[0], TARGET)]


def test_what_dispatch_sees_of_a_result_is_not_counted_again():
    assert ["1024"] == terms(runs_of(lambda a, b: 1536, GRID, seen_bytes=512))
    assert [] == terms(runs_of(lambda a, b: 512, GRID, seen_bytes=512))


def test_what_nothing_bounds_at_some_sizes_has_no_term():
    """It is named; a term would say that it is known."""
    named = Unseen("aten::sort", (LINE,), 0, "sorts")
    runs = runs_of(lambda a, b: 8 * a, GRID)
    unbounded = [*runs, run(0, unseen=(named,), a=9, b=9)]
    elsewhere = [*runs, run(72, unseen=(Unseen("aten::sort", (), 0, "sorts"),), a=9, b=9)]
    assert ([], ["8*a"]) == (terms(unbounded), terms(elsewhere))


def grown(runs, **promises):
    return growth(runs, Contract(**promises), runs[0][0], TARGET)


POOL = line("a", 64, 128, 4096, b=16)


@pytest.mark.parametrize(
    ("is_bound", "expected"), [(False, Verdict.FAIL), (True, Verdict.INCONCLUSIVE)]
)
def test_growth_with_a_forbidden_axis_breaks_the_promise(is_bound, expected):
    """Really taken, it fails; a bound that grows shows nothing, and keeps it from being green."""
    found = grown(runs_of(lambda a, b: 10 * a, POOL, is_bound=is_bound), independent_of=("a",))
    assert expected is found.verdict
    assert "grows with a: 1,280 bytes at a=128, 40,960 at a=4,096 (cuda:sm_90)" in found.reason
    assert ("sampler.py", 12, "a", 10.0, 640) == (
        found.blame.file,
        found.blame.line,
        found.blame.axis,
        found.blame.bytes_per_unit,
        found.blame.bytes,
    )


@pytest.mark.parametrize(
    "formula",
    [
        lambda a, b: 8 * b,
        lambda a, b: min(a, 128) * 4096,
        lambda a, b: a + (128 if a > 1000 else 0),
    ],
    ids=["of-another-axis", "a-grid-that-is-full", "a-tile-more"],
)
def test_what_does_not_go_on_growing_keeps_it(formula):
    assert grown(runs_of(formula, POOL), independent_of=("a",)) is None


def test_a_byte_more_than_a_tile_is_growth():
    runs = runs_of(lambda a, b: a + (129 if a > 1000 else 0), POOL)
    assert Verdict.FAIL is grown(runs, independent_of=("a",)).verdict


@pytest.mark.parametrize(
    ("far", "expected"),
    [
        (line("a", 64, 4096, b=512), None),
        (line("a", 64, 128, 4096, b=9999), Verdict.FAIL),
    ],
    ids=["as-much-as-is-asked-for", "it-goes-on"],
)
def test_away_from_the_scenario_growth_takes_two_steps(far, expected):
    """With less of an axis than the code asks for it takes less: that is no growth yet."""
    found = grown(runs_of(lambda a, b: 90 * min(a, b), [*POOL, *far]), independent_of=("a",))
    assert expected is (found and found.verdict)


BOTH = [{"a": 4, "b": 16}, {"a": 256, "b": 256}, {"a": 2048, "b": 1024}]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (lambda a, b: 9 * a * b, Verdict.FAIL),
        (lambda a, b: 9 * a + 9 * b, None),
        (lambda a, b: 9000 * a, None),
        # It sorts otherwise beyond a few entries: what it does there is what counts.
        (lambda a, b: 8 if a < 100 else 90_000 * (a + b), None),
    ],
    ids=["a-product", "a-sum", "one-axis", "another-kernel-for-few"],
)
def test_growth_beyond_linear_breaks_linear_in(formula, expected):
    found = grown(runs_of(formula, BOTH), linear_in=("a", "b"))
    assert expected is (found and found.verdict)


def test_one_axis_of_a_product_is_linear():
    runs = runs_of(lambda a, b: 9 * a * b, [*BOTH, *line("a", 8, 512, b=16)])
    assert grown(runs, linear_in=("a",)) is None
    assert grown(runs, independent_of=()) is None
