"""Which lines a verdict blames, and with how many bytes."""

from __future__ import annotations

import pytest
from heap import SCENARIO, Code, stack_of

from oom_suite.laws.blame import blame_run, crossing, steepest
from oom_suite.laws.derivation import Derivation, Violation
from oom_suite.records import Law, Polynomial


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
