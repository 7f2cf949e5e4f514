from __future__ import annotations

import subprocess
import sys

import pytest

from oom_suite.errors import UsageError
from oom_suite.pipeline.law_tests import declaration_of, memory_law, promise

AXES = {"num_blocks": 512, "num_tokens": 4}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"axes": {}}, "axes: name at least one, such as axes={'num_tokens': 4}"),
        ({"axes": 4}, "axes: 4 is not a mapping from names to sizes"),
        ({"axes": {"n": 0}}, "axes: n=0 is not a size: give a whole number from 1"),
        ({"axes": {"n": True}}, "axes: n=True is not a size: give a whole number from 1"),
        ({"axes": {"n-1": 2}}, "axes: 'n-1' cannot name a size: use a Python name"),
        ({"axes": {"keys": 2}}, "axes: 'keys' cannot name a size: choose another name"),
        (
            {"axes": AXES},
            (
                "nothing is promised: give independent_of, at_most, linear_in, constant, "
                "bounded_in, constant_after, covered_by, law or budget"
            ),
        ),
        (
            {"axes": AXES, "independent_of": "num_block"},
            (
                "independent_of: unknown axis 'num_block': choose from num_blocks, num_tokens; "
                "did you mean 'num_blocks'?"
            ),
        ),
        (
            {"axes": AXES, "constant": True, "steps": {"xyz": 8}},
            "steps: unknown axis 'xyz': choose from num_blocks, num_tokens",
        ),
        (
            {"axes": AXES, "constant": True, "far": {"num_tokens": 8}},
            "far: num_tokens=8: give several sizes, such as (1, 4096)",
        ),
        (
            {"axes": AXES, "constant": True, "lower": {"num_tokens": 8}},
            "axes: num_tokens=4 is below its lower=8",
        ),
        (
            {"axes": AXES, "constant": True, "production": {"num_tokens": "8"}},
            "production: num_tokens='8' is not a size: give a whole number from 1",
        ),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(given, expected):
    """Each mistake has its own line, with the value seen and what to write."""
    with pytest.raises(UsageError) as error:
        promise(**given)
    assert expected == str(error.value)


def test_axes_are_varied_in_steps_that_keep_them_divisible():
    """A pool of 512 steps by 64, four tokens by one, 48 slots by 16."""
    made = promise(axes={**AXES, "topk": 48}, constant=True)
    assert [64, 1, 16] == [axis.step for axis in made.workload.axes]


def test_production_is_the_scenario_and_a_far_value():
    """Production sizes replace the defaults as the scenario; the defaults are far values then."""
    made = promise(axes=AXES, constant=True, production={"num_blocks": 221_839})
    assert ("production", 221_839, 4) == (made.scenario, *made.production.values())
    assert {512, 221_839} <= set(made.workload.axes[0].far)


def test_a_decorated_function_can_still_be_called():
    """Called with sizes and device, a decorated function is what was written."""

    @memory_law(axes=AXES, constant=True)
    def build(sizes, device):
        return sizes, device

    assert (1, 2) == build(1, 2)
    assert "" == declaration_of(build).error


def test_a_function_without_sizes_is_declared_with_an_error():
    """A mistake is kept for the collection, where it is told in one line."""

    @memory_law(axes=AXES, constant=True)
    def build(size, device):
        return size

    expected = "a memory_law test takes sizes and device; this one does not take sizes"
    assert expected == declaration_of(build).error


def test_importing_the_decorator_imports_no_torch():
    """`from oom_suite import memory_law` is fast: torch is for those who run."""
    code = "import sys; from oom_suite import memory_law; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


@pytest.mark.parametrize(
    ("axis", "unit"),
    [
        ("num_blocks", "block"),
        ("tokens", "token"),
        ("batches", "batch"),
        ("boxes", "box"),
        ("classes", "class"),
        ("num_tokens", "token"),
        ("vocab", "vocab"),
        ("seq", "seq"),
        ("gas", "gas"),
        ("radius", "radius"),
        ("axis", "axis"),
        ("num_heads_q", "num_heads_q"),
    ],
)
def test_one_of_an_axis_is_called_by_its_singular(axis, unit):
    """A name that is no plural stays as it is."""
    made = promise(axes={axis: 4}, independent_of=axis)
    assert unit == made.workload.unit_of(axis)
