"""Random tensor programs: the symbolic peak against the recorded one, at random sizes."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from oom_suite.laws.branches import Branch
from oom_suite.laws.closed_form import closed_form
from oom_suite.laws.proof import resolved
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
AXES = ("pool", "tokens", "width")
HINTS = {"pool": 44, "tokens": 6, "width": 10}
STEPS = (
    "allocate", "scale", "view", "slice", "cat", "matmul", "free", "add_", "gather", "cast",
    "reduce", "unique", "mask",
)  # fmt: skip

PROGRAMS = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.sampled_from(AXES)),
    min_size=2,
    max_size=10,
)
SIZES = st.fixed_dictionaries({axis: st.integers(2, 300) for axis in AXES})


def runner(program):
    """A builder that makes inputs of the sizes and runs these steps on them."""

    def build(sizes, device):
        start = torch.zeros(sizes["pool"], sizes["width"], device=device)
        index = torch.arange(sizes["tokens"], device=device) % sizes["pool"]

        def call():
            values = [start]
            for step, number, axis in program:
                apply(step, values, number, sizes[axis], index)

        return call

    return build


def apply(step, values, number, size, index):
    x = values[number % len(values)]
    match step:
        case "allocate":
            values.append(torch.empty(size, x.shape[1], device=x.device))
        case "scale":
            values.append(x * 2)
        case "view":
            values.append(x.view(-1).view(x.shape))
        case "slice":
            values.append(x[: x.shape[0] // 2 + 1])
        case "cat":
            values.append(torch.cat([x, values[-1]], dim=0))
        case "matmul":
            values.append((x @ x.t()) @ x)
        case "free":
            if len(values) > 1:
                del values[1 + number % (len(values) - 1)]
        case "add_":
            values[-1].add_(1)
        case "gather":
            values.append(values[0][index])
        case "cast":
            values.append(x.double().float())
        case "reduce":
            values.append(x.sum(dim=1, keepdim=True).expand_as(x) + x)
        case "unique":
            found = torch.unique(index).clone()
            values.append(torch.empty(found.shape[0], x.shape[1], device=x.device))
        case "mask":
            values.append(torch.where(x > 0, x, 0.0))


PROVE, SHADOW = ProveLane(HERE), ShadowLane(HERE)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(PROGRAMS, SIZES)
def test_the_symbolic_peak_is_the_recorded_one(program, sizes):
    """Proved once, evaluated anywhere its guards hold: equal to an exact run, to the byte."""
    trace = PROVE.run(runner(program), Hints(HINTS))
    law, regimes = closed_form(trace)
    branch = Branch(law, regimes, trace)
    assume(branch.applies(sizes))
    exact = SHADOW.run(runner(program), sizes)
    assert law(resolved(branch, exact)) == exact.peak().num_bytes
