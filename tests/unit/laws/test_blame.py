"""Which lines a verdict blames, and with how many bytes."""

from __future__ import annotations

import pytest
from heap import SCENARIO, Code, stack_of

from oom_suite.laws.blame import (
    blame_dependence,
    blame_excess,
    blame_regime,
    blame_run,
    crossing,
    steepest,
)
from oom_suite.laws.derivation import Change, Derivation, Violation
from oom_suite.laws.evidence import Dependence
from oom_suite.laws.fit import Regime
from oom_suite.records import Blame, Frame, Law, Polynomial


def over_bound(num_tokens, **lines):
    """The blame for a run whose peak has these lines alive, and no law says that peak."""

    def program(heap, s):
        for line, num_bytes in lines.items():
            heap.alloc(line, num_bytes)

    sizes = {**SCENARIO, "num_tokens": num_tokens}
    trace = Code(program)(sizes)
    law = Law((Polynomial.of({(): 1}),), SCENARIO)
    violation = Violation(sizes, trace.peak().num_bytes, 0, trace)
    return blame_run(violation, Derivation(law, (), trace))


def test_a_line_with_an_eighth_of_the_peak_is_blamed_and_one_with_less_is_not():
    """Of 1,000 bytes, 125 are enough and 124 are not."""
    blame = over_bound(8, most=751, eighth=125, less=124)
    assert [("most", 751), ("eighth", 125)] == [(b.function, b.bytes) for b in blame]


def test_the_axis_moved_furthest_is_the_one_blamed():
    """Bytes per unit are a mean over all of that axis, and the line is the source's."""
    (blame,) = over_bound(128, mask=1 << 20)
    (frame,) = stack_of("mask")
    assert (frame.file, frame.line) == (blame.file, blame.line)
    assert ("num_tokens", (1 << 20) / 128) == (blame.axis, blame.bytes_per_unit)


def formula(**terms):
    """`formula(pool=3, bytes=1)`: 3*pool + 1."""
    return Polynomial.of({() if name == "bytes" else (name,): c for name, c in terms.items()})


@pytest.mark.parametrize(
    ("hiding", "start"),
    [(0, 1), (10, 1), (11, 2), (20, 2), (21, 3), (10 * 2**59, 2**59), (10 * 2**59 + 1, None)],
)
def test_a_hidden_regime_is_the_law_from_where_it_is_as_large_as_the_largest(hiding, start):
    """Ten bytes a block against a constant; further than 2**59 is not looked."""
    guilty = formula(pool=10)
    law = Law((formula(bytes=hiding), guilty), {"pool": 5})
    assert start == crossing(law, guilty, "pool")


def test_a_regime_that_another_outgrows_is_nowhere_the_law():
    guilty = formula(pool=10)
    assert crossing(Law((formula(pool=11), guilty), {"pool": 5}), guilty, "pool") is None


def test_the_steepest_axis_is_the_one_that_most_bytes_come_from():
    """Slope times size; a constant has none."""
    sizes = {"pool": 100, "tokens": 4}
    assert {"pool": 10} == steepest(formula(pool=10, tokens=200), sizes)
    assert {"tokens": 300} == steepest(formula(pool=10, tokens=300), sizes)
    assert {} == steepest(formula(bytes=7), sizes)


def test_two_runs_are_blamed_on_the_lines_that_changed_by_their_mean_slope():
    """The larger of both amounts and where it was held, by mean slope; the most first."""

    def site(number, *frames):
        return (("aten.empty", frames), number)

    caller = Frame("caller.py", 1, "caller")
    first, second = Frame("code.py", 7, "first"), Frame("code.py", 9, "second")
    shown = Dependence(
        axes=("pool", "other"),
        before={"pool": 10, "other": 1},
        after={"pool": 30, "other": 9},
        before_bytes=0,
        after_bytes=1,
        sites=(
            (site(0, first, caller), 100, 160),
            (site(0, second, caller), 900, 880),
            (site(1, first, caller), 20, 40),
            (site(2), 1, 10_000),
        ),
        num_rises=1,
    )
    assert (
        Blame("code.py", 9, "second", 900, "pool", -1.0, {"pool": 10, "other": 1}),
        Blame("code.py", 7, "first", 160 + 40, "pool", 3.0 + 1.0, {"pool": 30, "other": 9}),
    ) == blame_dependence(shown)


def test_a_regimes_blame_is_for_each_axis_it_grows_with():
    """The bytes at these sizes, and the slope; lines that hold none of the axes are left out."""
    rows, flat = stack_of("rows"), stack_of("flat")
    live = (
        ((("op", flat), 0), formula(bytes=900)),
        ((("op", rows), 0), Polynomial.of({("pool", "tokens"): 2, ("pool",): 1})),
    )
    regime = Regime(formula(pool=1), live[1][0], live)
    sizes = {"pool": 10, "tokens": 4}
    blame = blame_regime(regime, {"pool": 1, "tokens": 1}, sizes)
    assert [("rows", 90, "pool", 9.0), ("rows", 90, "tokens", 20.0)] == [
        (one.function, one.bytes, one.axis, one.bytes_per_unit) for one in blame
    ]


def test_excess_is_blamed_on_each_line_by_its_own_main_axis_and_a_constant_by_the_regimes():
    """A line with an eighth of the bytes is blamed, one with a byte less is not."""
    live = tuple(
        ((("op", stack_of(line)), 0), held)
        for line, held in (
            ("pool", formula(pool=30)),
            ("tokens", formula(tokens=150, pool=1)),
            ("eighth", formula(bytes=250)),
            ("less", formula(bytes=249)),
        )
    )
    whole = formula(pool=31, tokens=150, bytes=2000 - 910)
    regime = Regime(whole, live[0][0], live)
    blame = blame_excess(regime, {"pool": 10, "tokens": 4})
    assert [
        ("tokens", 610, "tokens", 150.0),
        ("pool", 300, "pool", 30.0),
        ("eighth", 250, "tokens", 0.0),
    ] == [(one.function, one.bytes, one.axis, one.bytes_per_unit) for one in blame]


def test_a_run_that_a_law_predicts_is_blamed_by_that_laws_regime():
    """Also where the law is one found elsewhere: each line by its own axis, with its slope."""
    sizes = {**SCENARIO, "num_tokens": 128, "swa_topk": 512}
    trace = Code(lambda heap, s: heap.passing("rows", 8 * s.num_tokens))(sizes)
    held = Polynomial.of({("num_tokens",): 8})
    there = Regime(held, (("op", stack_of("rows")), 0), (((("op", stack_of("rows")), 0), held),))
    law = Law((held,), SCENARIO)
    other = Regime(formula(bytes=7), there.site, ())
    violation = Violation(sizes, 1024, 0, trace)
    change = Change({}, 0, 0, law, (other, there))
    for derivation in (
        Derivation(law, (other, there), trace),
        Derivation(law, (other,), trace, elsewhere=(change,)),
    ):
        (blame,) = blame_run(violation, derivation)
        assert ("rows", 1024, "num_tokens", 8.0) == (
            blame.function,
            blame.bytes,
            blame.axis,
            blame.bytes_per_unit,
        )
