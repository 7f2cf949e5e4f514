"""Sizes that data decides: the shadow lane has the most that they can be, and never a drawn one."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import sympy
import torch
from data_programs import (
    NUM_EXPERTS,
    NUM_TOKENS,
    PROGRAMS,
    by_expert,
    drawn,
    drawn_rows,
    ones,
)
from lane_traces import trace_in
from torch._subclasses.fake_tensor import FakeTensorMode, UnsupportedOperatorException

from oom_suite.errors import LaneError
from oom_suite.laws.closed_form import closed_form
from oom_suite.records import Trace
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.data_sizes import compared
from oom_suite.tracing.index_ranges import IndexRanges
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.tracing.lanes import RunningLane
from oom_suite.tracing.shadow import ShadowLane

ROOT = Path(__file__).parent


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_the_worst_case_is_what_data_can_reach(program):
    """A real run whose data chooses all that it may takes the predicted bytes, no more, no less."""
    real = trace_in("measure", program, ones)
    assert real.peak().num_bytes == trace_in("shadow", program, drawn).peak().num_bytes


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_no_data_takes_more_than_the_worst_case(program):
    """Real runs on what was drawn stay below it, and some do not reach it."""
    bound_bytes = trace_in("shadow", program, drawn).peak().num_bytes
    for seed in range(8):
        torch.manual_seed(seed)
        assert trace_in("measure", program, drawn).peak().num_bytes <= bound_bytes


def test_a_result_that_torch_has_no_fake_kernel_for_is_sized_here(monkeypatch):
    """As torch 2.11 has none for ``_unique``; an operator that is not sized here stays refused."""
    dispatch = FakeTensorMode.dispatch
    missing = {torch.ops.aten._unique.default, torch.ops.aten.cumsum.default}

    def refuse(self, func, *args, **kwargs):
        if func in missing:
            raise UnsupportedOperatorException(func)
        return dispatch(self, func, *args, **kwargs)

    def build(_sizes, device):
        x = torch.ones(40, 30, dtype=torch.int64, device=device)
        return lambda: torch.isin(x, x[0])

    def traced(call=build):
        return ShadowLane(ROOT, "cuda:sm_90", "cuda:sm_90").run(call, {})

    expected = traced()
    assert "aten::_unique" in {each.op for each in expected.allocations}
    monkeypatch.setattr(FakeTensorMode, "dispatch", refuse)
    assert expected.peak().num_bytes == traced().peak().num_bytes
    with pytest.raises(UnsupportedOperatorException, match="cumsum"):
        traced(lambda _sizes, device: lambda: torch.ones(3, device=device).cumsum(0))


UNIQUES = {
    "unique": lambda x: torch.unique(x),
    "unique with inverse": lambda x: torch.unique(x, return_inverse=True),
    "unique with counts": lambda x: torch.unique(x, return_counts=True),
    "unique_consecutive": lambda x: torch.unique_consecutive(x, return_counts=True),
    "repeat_interleave": lambda x: torch.repeat_interleave(x % 4),
}


@pytest.mark.parametrize("program", UNIQUES.values(), ids=UNIQUES)
def test_distinct_values_are_at_most_as_many_as_there_are(program):
    """Values that all differ take what is predicted for values that are not known."""
    reached = torch.arange(NUM_TOKENS)
    if "repeat" in next(name for name, one in UNIQUES.items() if one is program):
        reached = torch.full((NUM_TOKENS,), 3)
    real = trace_in("measure", program, lambda device: (reached.clone(),))
    fake = trace_in("shadow", program, lambda device: (torch.randperm(NUM_TOKENS, device=device),))
    assert real.peak().num_bytes == fake.peak().num_bytes


ROWS_OF = lambda x: torch.unique(x.view(4, 3), dim=0)  # noqa: E731


def test_distinct_rows_are_at_most_as_many_as_there_are(shadow):
    """A GPU makes no positions and counts of rows unless it is asked for them; a CPU does."""
    on_gpu = shadow(ROWS_OF, lambda device: (torch.randperm(NUM_TOKENS, device=device),))
    on_cpu = shadow(ROWS_OF, lambda device: (torch.randperm(NUM_TOKENS),))
    assert [NUM_TOKENS * 8] == [a.requested_bytes for a in on_gpu.allocations]
    assert [4] == [size.at_most for size in on_cpu.data_sizes]


def test_a_range_bounds_how_many_distinct_values_there_are(shadow):
    """Numbers drawn below 5 have at most 5 distinct ones, however many are drawn."""
    trace = shadow(
        lambda x: torch.unique(x) + 0,
        lambda device: (torch.randint(2, 5, (NUM_TOKENS,), device=device),),
    )
    (size,) = trace.data_sizes
    assert (3, "aten::_unique2") == (size.at_most, size.op)
    assert 3 * 8 == trace.allocations[-1].requested_bytes


def test_what_data_decides_is_named_with_its_line(shadow):
    """Each line has one clause: the operator, where it is, and what it gives at most."""
    trace = shadow(by_expert, drawn)
    (size,) = trace.data_sizes
    assert ("aten::nonzero", NUM_TOKENS, NUM_EXPERTS) == (size.op, size.at_most, size.num_parts)
    assert str(size) == (
        f"aten::nonzero at {size.stack[0]} gives at most 12 entries in 4 calls together: "
        "the worst case"
    )
    assert trace.data_sizes == Trace.from_json(trace.to_json()).data_sizes


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_two_runs_are_one(program):
    """What random operators would draw is in no trace: two runs are equal, event by event."""
    lane = ShadowLane(ROOT)

    def build(sizes, device):
        inputs = drawn(device)
        return lambda: program(*inputs)

    assert lane.run(build, {}).to_json() == lane.run(build, {}).to_json()


DRAWS = {
    "rand": lambda device: torch.rand(4, device=device),
    "randn": lambda device: torch.randn(4, device=device),
    "randint": lambda device: torch.randint(0, 4, (4,), device=device),
    "randperm": lambda device: torch.randperm(4, device=device),
    "bernoulli": lambda device: torch.full((4,), 0.5, device=device).bernoulli(),
    "multinomial": lambda device: torch.ones(4, device=device).multinomial(1),
    "dropout": lambda device: torch.nn.functional.dropout(torch.ones(4, device=device)),
    "uniform_": lambda device: torch.zeros(4, device=device).uniform_(),
    "normal_": lambda device: torch.zeros(4, device=device).normal_(),
    "random_": lambda device: torch.zeros(4, dtype=torch.int64, device=device).random_(0, 4),
    "rand_like": lambda device: torch.rand_like(torch.zeros(4, device=device)),
    "computed": lambda device: torch.rand(4, device=device).argsort() + 1,
    "uninitialised": lambda device: torch.empty(4, device=device),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_what_is_drawn_is_not_known(shadow, draw):
    """To read it on the host is refused, even where the tensor is small."""
    with pytest.raises(LaneError, match="a value that exists only on a device"):
        shadow(lambda x: x.max().item(), lambda device: (draw(device),))


STAND_INS = {
    "zeros": lambda device: torch.zeros(4, device=device),
    "ones": lambda device: torch.ones(4, device=device),
    "full": lambda device: torch.full((4,), 2.0, device=device),
    "arange": lambda device: torch.arange(4.0, device=device),
    "computed": lambda device: torch.ones(4, device=device).cumsum(0) - 1,
    "numpy": lambda device: torch.from_numpy(numpy.ones(4)).to(device),
}


@pytest.mark.parametrize("make", STAND_INS.values(), ids=STAND_INS)
def test_floats_that_a_builder_makes_of_nothing_choose_nothing(shadow, make):
    """They stand in place of activations: a mask over them has its worst case."""
    trace = shadow(lambda x: x[x > 5], lambda device: (make(device),))
    assert [4] == [size.at_most for size in trace.data_sizes]


VALUES = {
    "one number": lambda device: torch.full((1,), 2.0, device=device),
    "a literal": lambda device: torch.tensor([2.0, 1.0], device=device),
    "of index data": lambda device: torch.full((4,), 2, device=device).float(),
    "of a generator": lambda device: torch.rand(4, generator=torch.Generator()).clamp(2.0, 2.0),
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_floats_that_mean_something_are_known(shadow, make):
    """A scale, a literal, and statistics of index data may be read."""
    seen = []
    shadow(lambda x: seen.append(x.max().item()), lambda device: (make(device),))
    assert [2.0] == seen


def test_floats_that_the_code_makes_are_known(shadow):
    """What the code under test makes of nothing is what it says."""
    seen = []
    shadow(lambda x: seen.append(torch.ones(4, device=x.device).sum().item()), drawn_rows)
    assert [4.0] == seen


def test_a_generator_of_the_code_is_known(shadow):
    """What a seeded generator gives is the same in every run, and index data like any other."""
    seen = []

    def make(device):
        generator = torch.Generator().manual_seed(7)
        return (torch.randint(0, 100, (4,), generator=generator),)

    shadow(lambda x: seen.append(x.tolist()), make)
    assert (
        torch.randint(0, 100, (4,), generator=torch.Generator().manual_seed(7)).tolist()
        == (seen[0])
    )


def test_a_write_of_fewer_values_than_the_mask_has_is_let_be(shadow):
    """As many entries are true as there are values: the code knows more than the mask says."""
    trace = shadow(lambda x, chosen: x.__setitem__(x[:, 0] > 0, x[:5] * 1), drawn)
    assert 5 * 8 * 4 in [a.requested_bytes for a in trace.allocations]


PROVED = {
    "nonzero": lambda x, chosen: torch.nonzero(x[:, 0] > 0),
    "a mask": lambda x, chosen: x[x[:, 0] > 0] * 2,
    "masked_select": lambda x, chosen: torch.masked_select(x, x > 0) + 1,
    "one expert": lambda x, chosen: x[torch.where(chosen == 1)[0]] + 1,
    "unique": lambda x, chosen: torch.unique(chosen),
    "bincount": lambda x, chosen: torch.bincount(chosen),
    "bincount of few": lambda x, chosen: torch.bincount(chosen, minlength=9),
    "repeat_interleave": lambda x, chosen: torch.repeat_interleave(chosen) * 2,
}


@pytest.mark.parametrize("program", PROVED.values(), ids=PROVED)
def test_the_law_at_its_bounds_is_the_worst_case(program):
    """With every quantity at the most that prove says, the lanes agree to the byte."""

    def build(sizes, device):
        x = torch.randn(sizes["n"], 8, device=device)
        chosen = torch.randint(0, 6, (sizes["n"],), device=device)
        return lambda: program(x, chosen)

    proved = RunningLane(LaneSpec("prove"), ROOT).prove(build, Hints({"n": 31}))
    law, _ = closed_form(proved)
    for n in (31, 200):
        values = {"n": n}
        for quantity in proved.quantities:
            if quantity.value is None:
                values[quantity.name] = min(int(most(values)) for most in quantity.at_most)
        exact = RunningLane(LaneSpec("shadow"), ROOT).run(build, {"n": n})
        assert exact.peak().num_bytes == law(values)


@pytest.mark.parametrize("program", [torch.bincount, torch.repeat_interleave])
def test_numbers_that_nothing_bounds_have_no_bound_in_the_law(program):
    """As many bins as the largest value says: neither lane makes that up."""

    def build(sizes, device):
        x = torch.randn(sizes["n"], device=device)
        return lambda: program(x.long())

    proved = RunningLane(LaneSpec("prove"), ROOT).prove(build, Hints({"n": 31}))
    assert [()] == [quantity.at_most for quantity in proved.quantities]
    with pytest.raises(LaneError, match="nothing bounds those"):
        RunningLane(LaneSpec("shadow"), ROOT).run(build, {"n": 31})


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.float32, torch.float32), (torch.float64, torch.float64), (torch.int64, torch.float64)],
)
def test_weighted_bins_are_floats_of_the_weights_width(shadow, dtype, expected):
    found = []
    shadow(
        lambda chosen, weights: found.append(torch.bincount(chosen, weights)),
        lambda device: (
            torch.randint(0, 4, (6,), device=device),
            torch.ones(6, device=device).to(dtype),
        ),
    )
    assert [((4,), expected)] == [(tuple(one.shape), one.dtype) for one in found]
    assert expected == torch.bincount(torch.arange(6), torch.ones(6).to(dtype)).dtype


def test_floats_are_compared_by_no_range():
    """Only whole numbers have one."""
    ranges = IndexRanges(sympy.sympify)
    assert compared("aten::lt", ranges, (torch.ones(4), 0)) is None
    assert compared("aten::add", ranges, (0, 1)) is None
    assert compared("aten::lt", ranges, (0, 1)) is True


def test_a_value_that_only_one_number_can_be_is_known(shadow):
    """Of all that may be drawn from 5 to 5."""
    found = []
    shadow(
        lambda x: found.append(int(x[0])),
        lambda device: (torch.randint(5, 6, (4,), device=device),),
    )
    assert [5] == found


def test_a_failed_call_leaves_nothing_for_the_next():
    """A number read in a call that ended is forgotten when the next begins."""
    lane = ShadowLane(ROOT)

    def build(sizes, device):
        rows = torch.randint(0, 3, (4,), device=device)
        return lambda: [1, 2, 3][rows[0]]

    for _ in range(3):
        assert () == lane.run(build, {}).allocations
