"""Between which values index data lies: never outside, and as near as the rules say."""

from __future__ import annotations

import pytest
import sympy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from oom_suite.tracing.index_ranges import (
    _FROM_ZERO,
    _SHAPES_KEPT,
    _UNWRITTEN,
    NOTHING,
    IndexRanges,
)

aten = torch.ops.aten


class Following(TorchDispatchMode):
    """Runs operators for real and follows their ranges."""

    def __init__(self):
        super().__init__()
        self.ranges = IndexRanges(sympy.sympify)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.ranges.follow(func, args, kwargs or {}, result)
        return result


def found(body):
    """The range of what a body gives, as plain numbers; None where none is known."""
    with Following() as following:
        result = body()
    known = following.ranges.of(result)
    return None if known is None else tuple(map(int, known)) if known != NOTHING else "nothing"


def numbers(low, high):
    """The whole numbers from `low` to `high`, both among them."""
    return torch.arange(low, high + 1)


def filled(low, high, value):
    return numbers(low, high).fill_(value)


def written(low, high, values):
    made = numbers(low, high)
    made[1:2] = values
    return made


RANGES = {
    "arange to an end": (lambda: torch.arange(10), (0, 9)),
    "arange from a start": (lambda: torch.arange(3, 10), (3, 9)),
    "arange in steps": (lambda: torch.arange(3, 10, 2), None),
    "floats": (lambda: torch.arange(10).float(), None),
    "a truth": (lambda: torch.arange(10) > 3, (0, 1)),
    "zeros": (lambda: torch.zeros(4, dtype=torch.int32), (0, 0)),
    "zeros like": (lambda: torch.zeros_like(numbers(3, 9)), (0, 0)),
    "new zeros": (lambda: numbers(3, 9).new_zeros(2), (0, 0)),
    "full": (lambda: torch.full((4,), 7), (7, 7)),
    "new full": (lambda: numbers(3, 9).new_full((4,), 7), (7, 7)),
    "full like": (lambda: torch.full_like(numbers(3, 9), 7), (7, 7)),
    "empty": (lambda: torch.empty(4, dtype=torch.int64), "nothing"),
    "scalar": (lambda: torch.scalar_tensor(5, dtype=torch.int64), (5, 5)),
    "where the top is": (lambda: torch.rand(2, 5).topk(2).indices, (0, 4)),
    "where the top of whole numbers is": (lambda: numbers(3, 9).topk(2).indices, (0, 6)),
    "the top of whole numbers": (lambda: numbers(3, 9).topk(2).values, None),
    "where sorted values were": (lambda: torch.rand(2, 5).sort(0).indices, (0, 1)),
    "where the largest is": (lambda: torch.rand(2, 5).max(1).indices, (0, 4)),
    "where the largest so far is": (lambda: torch.rand(2, 5).cummax(0).indices, (0, 1)),
    "an argmax": (lambda: torch.rand(2, 5).argmax(1), (0, 4)),
    "a view": (lambda: numbers(3, 10).view(2, 4)[1], (3, 10)),
    "a copy": (lambda: numbers(3, 9).clone(), (3, 9)),
    "a cast": (lambda: numbers(3, 9).to(torch.int32), (3, 9)),
    "a selection": (lambda: numbers(3, 9)[torch.tensor([1, 2])], (3, 9)),
    "a sum of two": (lambda: numbers(3, 9) + numbers(1, 7), (4, 16)),
    "a sum with a number": (lambda: numbers(3, 9) + 5, (8, 14)),
    "a difference": (lambda: numbers(3, 9) - numbers(1, 7), (-4, 8)),
    "a number less": (lambda: numbers(3, 9) - 5, (-2, 4)),
    "twice the other": (lambda: torch.add(numbers(3, 9), numbers(1, 7), alpha=2), None),
    "a product": (lambda: numbers(3, 9) * numbers(1, 7), (3, 63)),
    "a product with a negative": (lambda: (numbers(3, 9) - 5) * numbers(1, 7), None),
    "a product by a negative": (lambda: numbers(3, 9) * (numbers(1, 7) - 5), None),
    "a remainder": (lambda: numbers(3, 9) % 4, (0, 3)),
    "a remainder of some": (lambda: numbers(3, 9) % numbers(1, 7), (0, 6)),
    "a remainder of a negative": (lambda: (numbers(3, 9) - 5) % 4, (0, 3)),
    "a remainder by a negative": (lambda: numbers(3, 9) % -4, None),
    "a quotient": (lambda: numbers(3, 9) // 2, (0, 4)),
    "a quotient by some": (lambda: numbers(3, 9) // numbers(2, 8), (0, 4)),
    "a quotient of a negative": (lambda: (numbers(3, 9) - 5) // 2, None),
    "a quotient that rounds to zero": (
        lambda: torch.div(numbers(3, 9), 2, rounding_mode="trunc"),
        None,
    ),
    "a running sum": (lambda: numbers(3, 9).cumsum(0), (0, 63)),
    "a sum with what nobody wrote": (
        lambda: numbers(3, 9) + torch.empty(7, dtype=torch.int64),
        None,
    ),
    "what nobody wrote and a number": (lambda: torch.empty(4, dtype=torch.int64) + 1, None),
    "a whole sum": (lambda: numbers(3, 9).sum(), (0, 63)),
    "a sum of negatives": (lambda: (numbers(3, 9) - 5).sum(), None),
    "a sum of what nobody wrote": (lambda: torch.empty(4, dtype=torch.int64).sum(), None),
    "clamped below and above": (lambda: numbers(3, 9).clamp(5, 7), (5, 7)),
    "clamped where it was already": (lambda: numbers(3, 9).clamp(0, 100), (3, 9)),
    "clamped above": (lambda: numbers(3, 9).clamp(0, 7), (3, 7)),
    "clamped above alone": (lambda: torch.clamp(numbers(3, 9), max=7), None),
    "clamped below alone": (lambda: torch.clamp(numbers(3, 9), min=5), None),
    "clamped below by name": (lambda: torch.clamp(numbers(3, 9), min=5, max=100), (5, 9)),
    "clamped from below all": (lambda: numbers(3, 9).clamp(20, 30), (20, 30)),
    "clamped from above all": (lambda: numbers(13, 19).clamp(2, 7), (2, 7)),
    "clamped between limits that cross": (lambda: numbers(3, 9).clamp(8, 6), (6, 6)),
    "clamped from above alone": (lambda: numbers(3, 9).clamp(max=7), None),
    "clamped of unknown": (lambda: torch.arange(0, 9, 2).clamp(2, 7), (2, 7)),
    "clamped of what nobody wrote": (
        lambda: torch.empty(4, dtype=torch.int64).clamp(2, 7),
        (2, 7),
    ),
    "at least": (lambda: numbers(3, 9).clamp_min(5), (3, 9)),
    "masked with a larger": (lambda: numbers(3, 9).masked_fill(numbers(3, 9) > 5, 20), (3, 20)),
    "masked with a smaller": (lambda: numbers(3, 9).masked_fill(numbers(3, 9) > 5, -1), (-1, 9)),
    "one or the other": (
        lambda: torch.where(numbers(3, 9) > 5, numbers(3, 9), numbers(11, 17)),
        (3, 17),
    ),
    "several in one": (lambda: torch.cat([numbers(3, 9), numbers(0, 4), numbers(5, 20)]), (0, 20)),
    "several, one unknown": (lambda: torch.cat([numbers(3, 9), torch.arange(0, 9, 2)]), None),
    "stacked": (lambda: torch.stack([numbers(3, 9), numbers(0, 6)]), (0, 9)),
    "a triangle": (lambda: numbers(3, 6).view(2, 2).tril(), (0, 6)),
    "the other triangle": (lambda: numbers(3, 6).view(2, 2).triu(), (0, 6)),
    "padded": (lambda: torch.nn.functional.pad(numbers(3, 9), (0, 2)), (0, 9)),
    "padded with a number": (
        lambda: torch.nn.functional.pad(numbers(3, 9), (0, 2), value=12),
        (3, 12),
    ),
    "padded by torch's own number": (
        lambda: aten.constant_pad_nd.default(numbers(3, 9), [0, 2]),
        (0, 9),
    ),
    "padded with a whole number": (
        lambda: aten.constant_pad_nd.default(numbers(3, 9), [0, 2], 12),
        (3, 12),
    ),
    "turned round": (lambda: numbers(3, 9).flip(0), (3, 9)),
    "the largest of each row": (lambda: numbers(3, 6).view(2, 2).max(1).values, (3, 6)),
    "distinct ones": (lambda: torch.unique(numbers(3, 9)), (3, 9)),
    "the places of distinct ones": (
        lambda: torch.unique(numbers(3, 9) // 2, return_inverse=True)[1],
        (0, 3),
    ),
    "filled": (lambda: filled(3, 9, 20), (3, 20)),
    "written in place": (lambda: written(3, 9, numbers(11, 11)), (3, 11)),
    "written with unknown": (lambda: written(3, 9, torch.arange(0, 2, 2)), None),
    "added to in place": (lambda: numbers(3, 9).add_(20), (3, 29)),
    "what nobody wrote, filled": (lambda: torch.empty(4, dtype=torch.int64).fill_(5), (5, 5)),
    "zeroed": (lambda: numbers(3, 9).zero_(), (0, 9)),
    "into an out=": (
        lambda: torch.add(numbers(3, 9), 1, out=torch.empty(7, dtype=torch.int64)),
        (4, 10),
    ),
    "a number": (lambda: 7, (7, 7)),
    "true": (lambda: True, (0, 1)),
    "a sparse one": (lambda: torch.eye(2, dtype=torch.int64).to_sparse(), None),
}


@pytest.mark.parametrize(("body", "expected"), RANGES.values(), ids=RANGES)
def test_the_range_of_index_data_is_as_near_as_its_operator_says(body, expected):
    assert expected == found(body)


AT = torch.tensor([1, 2])
KEPT = {
    "_to_copy": lambda x: x.to(torch.int32),
    "clone": lambda x: x.clone(),
    "index_select": lambda x: x.index_select(0, AT),
    "index": lambda x: x[AT],
    "gather": lambda x: x.gather(0, AT),
    "take": lambda x: x.take(AT),
    "unique_dim": lambda x: torch.unique(x.view(2, -1), dim=0),
    "masked_select": lambda x: x.masked_select(x > 4),
    "max": lambda x: x.max(),
    "min": lambda x: x.min(),
    "amax": lambda x: x.amax(),
    "amin": lambda x: x.amin(),
    "sort": lambda x: x.sort().values,
    "flip": lambda x: x.flip(0),
    "repeat": lambda x: x.repeat(2),
    "roll": lambda x: x.roll(1),
    "cummax": lambda x: x.cummax(0).values,
    "lift_fresh_copy": aten.lift_fresh_copy.default,
}


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT)
def test_what_only_moves_values_about_keeps_their_range(body):
    assert (3, 8) == found(lambda: body(numbers(3, 8)))


STEPS = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "remainder": lambda x, y: x % (y.abs() + 1),
    "remainder by a number": lambda x, y: x % 5,
    "remainder by clamped": lambda x, y: x % y.clamp(1, 40),
    "quotient": lambda x, y: x // y.clamp(2, 40),
    "quotient by a number": lambda x, y: x // 3,
    "clamp": lambda x, y: x.clamp(2, 11),
    "clamp to others": lambda x, y: x.clamp(y.clamp(1, 3), y.clamp(2, 6)),
    "at least": lambda x, y: x.clamp_min(4),
    "where": lambda x, y: torch.where(x > y, x, y),
    "masked": lambda x, y: x.masked_fill(x > 3, 17),
    "running sum": lambda x, y: x.cumsum(0),
    "whole sum": lambda x, y: x.sum() + y,
    "pad": lambda x, y: torch.nn.functional.pad(x, (1, 0), value=-2)[: len(y)],
    "triangle": lambda x, y: x.view(2, -1).triu().view(-1),
    "unique": lambda x, y: y[torch.unique(x, return_inverse=True)[1] % len(y)],
    "places": lambda x, y: torch.unique(x, return_inverse=True)[1],
    "cat": lambda x, y: torch.cat([x, y])[: len(x)],
    "flip": lambda x, y: x.flip(0),
    "in place": lambda x, y: x.clone().add_(y),
    "write a part": lambda x, y: x.clone().index_copy_(0, torch.tensor([1]), y[:1]),
    "copy into a part": lambda x, y: x.clone().narrow(0, 1, 2).copy_(y[:2]).sum() + x,
    "zero": lambda x, y: x.clone().zero_(),
    "narrow": lambda x, y: x.to(torch.int32).long(),
}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 6),
    st.integers(0, 9),
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9)), max_size=6),
)
def test_no_value_of_any_program_lies_outside_its_range(low, other, program):
    """Whatever is computed from ranges, each value that has one is in it."""
    with Following() as following:
        made = [torch.arange(low, low + 6), torch.arange(other, other + 6)]
        for step, which in program:
            made.append(STEPS[step](made[which % len(made)], made[-1]))
    for values in made:
        known = following.ranges.of(values)
        if known is not None:
            assert known.low <= int(values.min())
            assert int(values.max()) <= known.high


def test_every_operator_that_moves_values_about_is_tried():
    assert _SHAPES_KEPT == KEPT.keys()


UNWRITTEN = {
    "empty": lambda x: aten.empty.memory_format([4], dtype=torch.int64),
    "empty_strided": lambda x: aten.empty_strided.default([4], [1], dtype=torch.int64),
    "empty_like": aten.empty_like.default,
    "new_empty": lambda x: aten.new_empty.default(x, [4]),
    "new_empty_strided": lambda x: aten.new_empty_strided.default(x, [4], [1]),
}
ZEROS = {
    "zeros": lambda x: aten.zeros.default([4], dtype=torch.int64),
    "zeros_like": aten.zeros_like.default,
    "new_zeros": lambda x: aten.new_zeros.default(x, [4]),
    "zero": aten.zero.default,
}


@pytest.mark.parametrize("body", UNWRITTEN.values(), ids=UNWRITTEN)
def test_memory_that_nobody_wrote_holds_no_value(body):
    assert "nothing" == found(lambda: body(numbers(3, 8)))


@pytest.mark.parametrize("body", ZEROS.values(), ids=ZEROS)
def test_zeros_are_zero(body):
    assert (0, 0) == found(lambda: body(numbers(3, 8)))


def test_every_operator_that_gives_zeros_or_nothing_is_tried():
    assert (_UNWRITTEN, _FROM_ZERO) == (UNWRITTEN.keys(), ZEROS.keys())


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64], ids=str
)
def test_whole_numbers_of_every_width_have_a_range(dtype):
    """Numbers with fractions have none, and are forgotten where they are written over."""
    assert (3, 8) == found(lambda: numbers(3, 8).to(dtype))
    assert found(lambda: numbers(3, 8).to(torch.float64)) is None


def test_what_is_forgotten_has_no_range():
    with Following() as following:
        one, other = numbers(3, 8), numbers(3, 8)
    following.ranges.forget([{"x": one[2:]}])
    assert following.ranges.of(one) is None
    assert following.ranges.of(other) is not None
