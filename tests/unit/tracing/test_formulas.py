"""Sizes that are no polynomials: their formulas give what Python's numbers give."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import sympy
import torch
from torch.utils._sympy import functions

from fixtures.torch_versions import IS_SINCE_2_13
from oom_suite.errors import LaneError
from oom_suite.records.symbolic import Formula, Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.prove.expressions import SymbolPrinter
from oom_suite.tracing.prove.symbolic_compositions import SYMBOLIC_COMPOSITIONS

HERE = Path(__file__).parent
HINTS = {"a": 84, "b": 26}
POINTS = [{"a": a, "b": b} for a, b in ((84, 26), (85, 27), (86, 25), (90, 60), (128, 64))]

SIZES = {
    "a quotient": lambda a, b: a // b,
    "a rounded quotient": lambda a, b: (a + b - 1) // b,
    "a rounded multiple": lambda a, b: (a + 63) // 64 * 64,
    "a remainder": lambda a, b: a % 64 + b,
    "the larger": lambda a, b: torch.sym_max(a, 2 * b),
    "the smaller": lambda a, b: torch.sym_min(a, 2 * b),
    "a power": lambda a, b: a**2 + b,
    "a difference": lambda a, b: a - b,
    "a product of sums": lambda a, b: (a + 1) * (b + 2),
    "a quotient of sums": lambda a, b: (a * b + 7) // (b + 3),
    "one in another": lambda a, b: torch.sym_max((a + 7) // 8, b % 16 + 1) * 3,
    "a ceiling": lambda a, b: math.ceil(a / 8),
    "a floor": lambda a, b: math.floor(a / 8),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_requests_formula_is_what_the_code_computes(size):
    """At the hints, and at sizes nearby."""

    def build(sizes, device):
        return lambda: torch.empty(size(sizes["a"], sizes["b"]), dtype=torch.uint8, device=device)

    trace = ProveLane(HERE).run(build, Hints(HINTS))
    (request,) = trace.allocations
    for point in POINTS:
        if not all(guard.formula(point) for guard in trace.guards):
            continue
        named = {one.name: one.value(point) for one in trace.quantities}
        assert size(**point) == request.requested({**point, **named})
    assert all(guard.formula(HINTS) for guard in trace.guards)


CONDITIONS = {
    "equal": lambda a, b: a == 84,
    "not equal": lambda a, b: a != b,
    "less": lambda a, b: a < 4 * b,
    "at most": lambda a, b: a <= 84,
    "more": lambda a, b: a > b,
    "at least": lambda a, b: a >= 84,
    "divisible": lambda a, b: a % 4 == 0,
    "a quotient": lambda a, b: a // b > 2,
    "the larger": lambda a, b: torch.sym_max(a, b) < 100,
}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("hints", [HINTS, {"a": 211, "b": 211}, {"a": 3, "b": 5}], ids=str)
def test_a_guards_formula_is_what_the_code_asked(condition, hints):
    """True of the hints, and of just those sizes at which the code goes the same way."""

    def build(sizes, device):
        def call():
            return torch.empty(8, device=device) if condition(sizes["a"], sizes["b"]) else None

        return call

    trace = ProveLane(HERE).run(build, Hints(hints))
    is_taken = bool(condition(**hints))
    assert is_taken == (len(trace.allocations) == 1)
    for point in (hints, *POINTS):
        is_alike = is_taken == bool(condition(**point))
        assert is_alike == all(guard.formula(point) for guard in trace.guards)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a + b", 110), ("a - b", 58), ("a*b", 2184), ("a//b", 3), ("a / 8", 10.5), ("a % b", 6),
        ("a**2", 7056), ("a & b", 16), ("a | b", 94), ("a ^ b", 78), ("a << 2", 336),
        ("a >> 2", 21), ("-a", -84), ("not a", False), ("a == 84", True), ("a != 84", False),
        ("a < 84", False), ("a <= 84", True), ("a > 84", False), ("a >= 84", True),
        ("a > 1 and b > 30", False), ("a > 1 or b > 30", True), ("max(a, b)", 84),
        ("min(a, b)", 26), ("floor(a / 8)", 10), ("ceil(a / 8)", 11), ("7", 7),
        ("next_power_of_2(a)", 128), ("next_power_of_2(64)", 64), ("next_power_of_2(1)", 1),
        ("next_power_of_2(0)", 0), ("next_power_of_2(a - 84)", 0),
    ],
)  # fmt: skip
def test_a_formula_is_python(text, value):
    assert value == Formula(text)(HINTS)


def test_a_formula_names_what_it_needs_and_refuses_what_it_does_not_know():
    assert {"a", "b"} == Formula("max(a, 2*b) + 1").names
    with pytest.raises(KeyError, match="'c'"):
        Formula("a + c")(HINTS)
    with pytest.raises(ValueError, match="not part of a formula: a if b else 1"):
        Formula("a if b else 1")(HINTS)


NAMES = {
    "a quotient": ("(a//b)", ["(a//b)"]),
    "a rounded multiple": ("64*(((63 + a)//64))", ["(((63 + a)//64))"]),
    "the larger": ("max(a, 2*b)", ["max(a, 2*b)"]),
    "a floor": ("(floor((a/8)))", ["(floor((a/8)))"]),
    "a power": ("b + a**2", []),
}


@pytest.mark.parametrize("size", NAMES)
def test_what_is_no_polynomial_is_named_by_its_own_text(size):
    """A single call as it is; anything else in parentheses, so that it can be multiplied."""

    def build(sizes, device):
        made = SIZES[size](sizes["a"], sizes["b"])
        return lambda: torch.empty(made, dtype=torch.uint8, device=device)

    trace = ProveLane(HERE).run(build, Hints(HINTS))
    (request,) = trace.allocations
    assert NAMES[size] == (str(request.requested), [one.name for one in trace.quantities])


A, B = sympy.symbols("a b", positive=True, integer=True)
PRINTED = {
    functions.FloorDiv(A, B): "(a//b)",
    functions.CleanDiv(A, B): "(a//b)",
    functions.Mod(A, B): "(a % b)",
    functions.PythonMod(A, B): "(a % b)",
    functions.IntTrueDiv(A, B): "(a/b)",
    functions.FloatTrueDiv(A, B): "(a/b)",
    functions.PowByNatural(A, B): "(a**b)",
    functions.LShift(A, B): "a*((2**b))" if IS_SINCE_2_13 else "a*2**b",
    functions.RShift(A, B): "(a//((2**b)))" if IS_SINCE_2_13 else "(a//(2**b))",
    functions.BitwiseFn_bitwise_or(A, B): "(a | b)",
    functions.BitwiseFn_bitwise_and(A, B): "(a & b)",
    functions.BitwiseFn_bitwise_xor(A, B): "(a ^ b)",
    functions.Max(A, B): "max(a, b)",
    functions.Min(A, B): "min(a, b)",
    functions.CeilToInt(A): "ceil(a)",
    functions.FloorToInt(A): "floor(a)",
    functions.FloorDiv(A + 1, B * 2): "((1 + a)//(2*b))",
    functions.FloorDiv(A * 2, B): "((2*a)//b)",
    functions.CleanDiv(A * 2, B): "((2*a)//b)",
    functions.Mod(A * 2, B): "((2*a) % b)",
    sympy.Eq(A, B): "a == b",
    sympy.Ne(A, B): "a != b",
    A < B: "a < b",
    A >= B: "a >= b",
}


@pytest.mark.parametrize(("expression", "text"), PRINTED.items(), ids=PRINTED.values())
def test_torchs_functions_are_written_as_python_has_them(expression, text):
    """With the axes' own names, in whichever order a sum comes."""
    printed = str(SymbolPrinter(lambda symbol: symbol.name).doprint(expression))
    assert text.replace("1 + a", "x") == printed.replace("1 + a", "x").replace("a + 1", "x")


def test_a_function_that_no_formula_has_is_a_refusal():
    """Not a law that holds anywhere."""
    with pytest.raises(LaneError, match=r"^the code asks for Sine of its sizes"):
        SymbolPrinter(str).doprint(sympy.Function("Sine")(sympy.Symbol("n")))


X = torch.tensor([[0.5, -2.0, 3.0], [float("-inf"), 1.0, float("inf")], [-1.0, 0.0, 7.0]])
FINITE = X.nan_to_num(posinf=9.0, neginf=-9.0)
TARGET = (FINITE > 0).float()
ROWS_MASKED = torch.tensor([[float("-inf")] * 3, [0.5, 1.0, float("-inf")]])
VALUES = {
    "logsumexp": ("aten::logsumexp", (FINITE, [1]), {}),
    "logsumexp of all": ("aten::logsumexp", (FINITE, [0, 1]), {"keepdim": True}),
    "logsumexp of infinities": ("aten::logsumexp", (ROWS_MASKED, [1]), {}),
    "logsumexp of numbers": ("aten::logsumexp", (torch.arange(6).view(2, 3), [1]), {}),
    "softmax of masked rows": ("aten::_safe_softmax", (ROWS_MASKED, -1), {}),
    "softmax in another type": ("aten::_safe_softmax", (FINITE, 0), {"dtype": torch.float64}),
    "entropy": ("aten::binary_cross_entropy_with_logits", (FINITE, TARGET), {}),
    "entropy of each": (
        "aten::binary_cross_entropy_with_logits", (FINITE, TARGET, None, None, 0), {},
    ),
    "entropy in all": (
        "aten::binary_cross_entropy_with_logits", (FINITE, TARGET, None, None, 2), {},
    ),
    "entropy with weights": (
        "aten::binary_cross_entropy_with_logits", (FINITE, TARGET, TARGET + 1, TARGET[0] + 2), {},
    ),
    "distance": ("aten::dist", (FINITE, TARGET), {}),
    "distance by its largest": ("aten::dist", (FINITE, TARGET, 1.0), {}),
    "infinities": ("aten::isinf", (X,), {}),
    "no infinities": ("aten::isinf", (torch.arange(3),), {}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "args", "kwargs"), VALUES.values(), ids=VALUES)
def test_operators_spelled_out_for_symbols_compute_what_torch_does(name, args, kwargs):
    """On real numbers, so that a part left out or turned round is seen."""
    family = name.removeprefix("aten::")
    expected = getattr(torch.ops.aten, family).default(*args, **kwargs)
    actual = SYMBOLIC_COMPOSITIONS[name](*args, **kwargs)
    torch.testing.assert_close(actual, expected, equal_nan=True)


def test_every_operator_spelled_out_for_symbols_is_computed_here():
    assert SYMBOLIC_COMPOSITIONS.keys() == {name for name, _, _ in VALUES.values()}
