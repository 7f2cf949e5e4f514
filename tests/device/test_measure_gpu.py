"""The GPU's own history is the shadow lane's trace; nothing is left behind by a measurement."""

from __future__ import annotations

import pytest

from oom_suite.allocator import peaks_of
from oom_suite.subjects import builtin_names

pytestmark = pytest.mark.oom_device

SUBJECTS = (*builtin_names(), "vllm==0.21.0", "vllm==0.33.0")
SIZES = {
    "small": {"num_blocks": 64},
    "one-request": {"num_blocks": 512, "num_tokens": 1, "referenced_blocks": 1},
    "large": {"num_blocks": 4096, "num_tokens": 64, "num_heads": 64, "referenced_blocks": 512},
}


@pytest.fixture(autouse=True)
def cuda_alone():
    """The scratch of ROCm's kernels is not known to the byte."""
    import torch

    if torch.version.hip is not None:
        pytest.skip("the scratch of ROCm's kernels is not known to the byte: CUDA alone")


@pytest.fixture
def lane(oom_device):
    """A measure lane in this process."""
    from pathlib import Path

    from oom_suite.tracing.measure import MeasureLane

    return MeasureLane(Path(__file__).parent, str(oom_device))


@pytest.fixture(scope="module", autouse=True)
def started(trace_of):
    """Every subject's measuring child."""
    trace_of.start(SUBJECTS)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_history_is_the_prediction_event_by_event(trace_of, subject, workload, sizes):
    """Requests, frees, their order and their source lines; the model gives all four peaks.

    The peak of requested bytes is the one of a law, too, which knows no kernel's own scratch.
    """
    predicted = trace_of(subject, workload, "shadow", scratch="cuda", **sizes)
    on_device = trace_of(subject, workload, "measure", **sizes)
    of_a_law = trace_of(subject, workload, "shadow", **sizes)
    assert requests(predicted) == requests(on_device)
    assert predicted.events == on_device.events
    assert on_device.measurement.peaks == peaks_of(predicted)
    assert of_a_law.peak().num_bytes == on_device.measurement.peaks.requested_bytes


def requests(trace):
    return [(each.requested_bytes, each.stack) for each in trace.allocations]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_second_measurement_equals_the_first(trace_of, subject):
    """To the byte and event by event."""
    first, second = (trace_of(subject, "decode", "measure") for _ in range(2))
    assert first.allocations == second.allocations
    assert first.events == second.events
    assert first.measurement.peaks == second.measurement.peaks
    assert first.measurement.workspaces == second.measurement.workspaces


def multiplied(sizes, device):
    import torch

    left = torch.zeros(sizes["n"], sizes["n"], device=device)
    return lambda: left @ left


def test_the_workspace_of_a_library_is_named_and_in_no_peak(lane):
    """cuBLAS keeps its workspace from the warm-up on; the call has the product alone."""
    trace = lane.run(multiplied, {"n": 512})
    assert [512 * 512 * 4] == [each.requested_bytes for each in trace.allocations]
    (workspace,) = trace.measurement.workspaces
    assert workspace.name.startswith("cuBLAS")
    assert workspace.num_bytes > 0
    assert not workspace.in_call


def test_nothing_is_left_on_the_device(lane, oom_device):
    """No byte allocated, no history recorded, no pool and no workspace kept."""
    import torch

    before = torch.cuda.memory_allocated(oom_device), torch.cuda.memory_reserved(oom_device)
    lane.run(multiplied, {"n": 512})
    after = torch.cuda.memory_allocated(oom_device), torch.cuda.memory_reserved(oom_device)
    assert before[0] == after[0]
    assert after[1] <= before[1]
    index = torch.cuda.current_device()
    assert [] == torch.cuda.memory._snapshot()["device_traces"][index]


def test_an_error_of_the_code_leaves_no_history_on(lane, oom_device):
    """What the code raises is its own, and nothing goes on recording."""
    import torch

    calls = []

    def build(sizes, device):
        def call():
            calls.append(torch.zeros(4, device=device))
            if len(calls) == 2:
                raise ValueError("the code's own")

        return call

    with pytest.raises(ValueError, match="the code's own"):
        lane.run(build, {})
    index = torch.cuda.current_device()
    calls.append(torch.zeros(8, device=oom_device))
    assert [] == torch.cuda.memory._snapshot()["device_traces"][index]


def test_a_workspace_made_in_the_call_is_named_in_its_history(lane):
    """The warm-up multiplies nothing: cuBLAS takes its workspace in the measured call."""
    import torch

    calls = []

    def build(sizes, device):
        left = torch.zeros(512, 512, device=device)
        calls.append(None)
        return (lambda: left @ left) if len(calls) == 2 else (lambda: None)

    trace = lane.run(build, {})
    made = [each for each in trace.measurement.workspaces if each.in_call]
    assert len(made) >= 1
    assert {f"{made[0].name} workspace", "allocator"} == {each.op for each in trace.allocations}


def test_a_lack_of_memory_is_a_trace_up_to_it(lane):
    """The error is kept with its message and its line, and the lane goes on."""
    import torch

    def build(sizes, device):
        def too_much():
            torch.zeros(512, device=device)
            torch.empty(1 << 46, dtype=torch.uint8, device=device)

        return too_much

    trace = lane.run(build, {})
    failed = trace.measurement.out_of_memory
    assert "Tried to allocate" in failed.message
    assert "too_much" == failed.stack[0].function
    assert [2048] == [each.requested_bytes for each in trace.allocations]
    assert None is lane.run(multiplied, {"n": 64}).measurement.out_of_memory
