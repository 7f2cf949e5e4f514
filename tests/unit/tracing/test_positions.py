"""How large the numbers can be that operators find, count or draw."""

from __future__ import annotations

import pytest
import sympy
import torch

from oom_suite.tracing.positions import argument, drawn, found_in_second, highest

aten = torch.ops.aten
X = torch.tensor([[3.0, 1.0, 2.0, 9.0, 4.0], [5.0, 8.0, 7.0, 6.0, 0.0]])
ROW = X[0]
FROM = getattr(aten.random_, "from")
BOUNDARIES = torch.tensor([1.0, 2.0, 3.0])


def asked(function, func, *args, **kwargs):
    name = func._schema.name.removeprefix("aten::")
    return function(name, func, args, kwargs, sympy.sympify)


FOUND = {
    "topk": (4, aten.topk.default, (X, 2)),
    "topk along": (1, aten.topk.default, (X, 2, 0)),
    "sort": (4, aten.sort.default, (X,)),
    "stable sort along": (1, aten.sort.stable, (X,), {"stable": True, "dim": 0}),
    "max along": (1, aten.max.dim, (X, 0)),
    "max": (None, aten.max.default, (X,)),
    "sort of a number": (0, aten.sort.default, (X[0, 0],)),
    "argmax": (9, aten.argmax.default, (X,)),
    "argmax along": (4, aten.argmax.default, (X, 1)),
    "argmax of a number": (0, aten.argmax.default, (X[0, 0],)),
    "argsort": (4, aten.argsort.default, (X,)),
    "argsort along": (1, aten.argsort.default, (X, 0)),
    "bincount": (5, aten.bincount.default, (ROW.long(),)),
    "bincount of weights": (None, aten.bincount.default, (ROW.long(), ROW)),
    "count_nonzero": (10, aten.count_nonzero.default, (X,)),
    "nonzero": (4, aten.nonzero.default, (ROW,)),
    "nonzero of rows": (None, aten.nonzero.default, (X,)),
    "multinomial": (4, aten.multinomial.default, (X, 2)),
    "bucketize": (3, aten.bucketize.Tensor, (X, BOUNDARIES)),
    "searchsorted": (3, aten.searchsorted.Tensor, (BOUNDARIES, ROW)),
    "randperm": (6, aten.randperm.default, (7,)),
    "add": (None, aten.add.Tensor, (X, X)),
}


@pytest.mark.parametrize("call", FOUND.values(), ids=FOUND)
def test_the_largest_position_is_the_last_there_is(call):
    """Of a dimension, or of all entries; counts may be as many as there are."""
    expected, func, args, *kwargs = call
    assert expected == asked(highest, func, *args, **(kwargs[0] if kwargs else {}))


REACHED = {
    "topk": (torch.topk(X, 2).indices, "topk"),
    "argmax": (torch.argmax(X.flatten().flip(0)), "argmax"),
    "bucketize": (torch.bucketize(X, BOUNDARIES), "bucketize"),
    "searchsorted": (torch.searchsorted(BOUNDARIES, ROW), "searchsorted"),
    "nonzero": (torch.nonzero(ROW), "nonzero"),
    "count_nonzero": (torch.count_nonzero(X + 1), "count_nonzero"),
}


@pytest.mark.parametrize(("found", "name"), REACHED.values(), ids=REACHED)
def test_no_position_lies_beyond(found, name):
    assert 0 <= found.min() <= found.max() <= FOUND[name][0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("topk", "sort", "max", "min", "kthvalue", "mode", "median")),
        *((name, True) for name in ("cummax", "cummin")),
        *((name, False) for name in ("argmax", "nonzero", "add")),
    ],
)
def test_some_give_the_value_first_and_the_position_second(name, expected):
    assert expected is found_in_second(name)


DRAWN = {
    "randint": ((0, 6), aten.randint.default, (7, [2])),
    "randint from": ((3, 6), aten.randint.low, (3, 7, [2])),
    "randint like": ((0, 6), aten.randint_like.default, (X, 7)),
    "randint like, from": ((3, 6), aten.randint_like.low_dtype, (X, 3, 7)),
    "randint like, of a tensor": (None, aten.randint_like.Tensor, (X, torch.tensor(7))),
    "random": ((0, 6), aten.random_.to, (X, 7)),
    "random from": ((3, 6), FROM, (X, 3, 7)),
    "random from on": (None, FROM, (X, 3, None)),
    "random of all": (None, aten.random_.default, (X,)),
    "rand": (None, aten.rand.default, ([2],)),
}


@pytest.mark.parametrize(("expected", "func", "args"), DRAWN.values(), ids=DRAWN)
def test_what_is_drawn_lies_below_the_end_that_is_given(expected, func, args):
    """From zero where no beginning is; nothing is known without an end."""
    assert expected == asked(drawn, func, *args)


def test_an_argument_is_found_by_name_by_place_or_as_the_default():
    """And is none where the operator takes none."""
    func = aten.topk.default
    assert 7 == argument(func, "k", (X, 2), {"k": 7})
    assert 2 == argument(func, "k", (X, 2), {})
    assert -1 == argument(func, "dim", (X, 2), {})
    assert argument(func, "width", (X, 2), {}) is None
