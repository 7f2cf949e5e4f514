"""Predicted, measured, and what neither a workspace nor the allocator's rules explain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oom_suite.pipeline.measuring import Measured
from oom_suite.pipeline.reconcile import problem, reconcile, scratch_of
from oom_suite.records import (
    Allocation,
    AllocatorPeaks,
    DataSize,
    Environment,
    Event,
    Measurement,
    OutOfMemory,
    Tenant,
    Trace,
    Workspace,
)

MIB = 1 << 20
GPU = Environment("cuda", "a GPU", "sm_90", "580.1", "CUDA 13.0", "2.11.0", "")
CPU = Environment("cpu", "a CPU", "x86_64", "", "", "2.13.0", "")


def trace(sizes, lane="shadow", measurement=None, ops=None):
    """A trace that makes these requests and keeps them."""
    return Trace(
        lane,
        {},
        tuple(
            Allocation(n, op, ())
            for n, op in zip(sizes, ops or ["allocator"] * len(sizes), strict=True)
        ),
        tuple(Event("alloc", n) for n in range(len(sizes))),
        measurement=measurement,
    )


def on_gpu(sizes, peaks, workspaces=(), ops=None):
    measurement = Measurement(GPU, AllocatorPeaks(*peaks), workspaces)
    return trace(sizes, "measure", measurement, ops)


def test_what_was_predicted_to_the_byte_leaves_nothing_unexplained():
    found = reconcile(trace([600]), on_gpu([600], (600, 1024, 1024, 2 * MIB)))
    assert (0, 0, 0) == (
        found.unexplained_requested_bytes,
        found.unexplained_allocated_bytes,
        found.reserved_difference_bytes,
    )
    assert found.is_exact
    assert "" == problem(Measurement(GPU), found)


@pytest.mark.parametrize(
    ("measured_bytes", "unexplained_bytes"),
    [(599, -1), (600, 0), (1000, 0), (1600, 0), (1601, 1)],
    ids=["below", "without the bound", "between", "at the bound", "above"],
)
def test_what_lies_between_the_prediction_without_bounds_and_with_them_is_explained(
    measured_bytes, unexplained_bytes
):
    """Nothing below and nothing above is; and what a bound explains is not exact."""
    sure = trace([600, 1000])
    inside = replace(sure.allocations[1], is_bound=True)
    predicted = replace(sure, allocations=(sure.allocations[0], inside))
    found = reconcile(predicted, on_gpu([600], (measured_bytes, 1024, 1024, 2 * MIB)))
    assert unexplained_bytes == found.unexplained_requested_bytes
    assert (not unexplained_bytes) == found.is_explained
    assert not found.is_exact


def test_unexplained_bytes_are_let_pass_up_to_the_bound_and_not_beyond():
    measured = on_gpu([600, 8], (608, 1536, 1536, 2 * MIB))
    found = reconcile(trace([600]), measured, bound_bytes=512)
    assert (8, 512) == (found.unexplained_requested_bytes, found.unexplained_allocated_bytes)
    assert found.is_explained
    assert not found.is_exact
    found = reconcile(trace([600]), measured, bound_bytes=511)
    assert not found.is_explained
    assert problem(Measurement(GPU), found) == (
        "+8 bytes requested and +512 allocated measured that the prediction and named workspaces "
        "do not explain (allowed: 511)"
    )


def test_a_prediction_that_was_too_large_is_unexplained_too():
    found = reconcile(trace([600, 512]), on_gpu([600], (600, 1024, 1024, 2 * MIB)))
    assert (-512, -512) == (found.unexplained_requested_bytes, found.unexplained_allocated_bytes)
    assert "-512 bytes requested and -512 allocated" in problem(Measurement(GPU), found)


def test_reserved_bytes_are_told_and_not_judged():
    found = reconcile(trace([600]), on_gpu([600], (600, 1024, 1024, 4 * MIB)))
    assert 2 * MIB == found.reserved_difference_bytes
    assert found.is_explained


def test_a_workspace_made_in_the_call_explains_its_own_bytes():
    made = Workspace("cuBLAS", 1000, in_call=True)
    measured = on_gpu(
        [600, 1000], (1600, 2048, 2048, 2 * MIB), (made,), ["allocator", "cuBLAS workspace"]
    )
    found = reconcile(trace([600]), measured)
    assert (made,) == found.workspaces
    assert (1000, 1024) == (found.workspaces_requested_bytes, found.workspaces_allocated_bytes)
    assert found.is_exact


def test_a_workspace_of_the_warm_up_explains_nothing():
    before = Workspace("cuBLAS", 1000)
    found = reconcile(trace([600]), on_gpu([600, 1000], (1600, 2048, 2048, 2 * MIB), (before,)))
    assert () == found.workspaces
    assert 1000 == found.unexplained_requested_bytes


def test_the_prediction_follows_the_allocators_settings():
    settings = Environment(**{**GPU.to_json(), "allocator": "expandable_segments:True"})
    measured = trace([600], "measure", Measurement(settings, AllocatorPeaks(600, 1024, 1024, 0)))
    plain = on_gpu([30 * MIB], (0, 0, 0, 0))
    assert 2 * MIB == reconcile(trace([600]), measured).predicted.reserved_bytes
    assert 30 * MIB == reconcile(trace([30 * MIB]), plain).predicted.reserved_bytes


def test_on_a_cpu_requests_alone_are_compared():
    measured = trace([600, 8], "measure", Measurement(CPU))
    found = reconcile(trace([600]), measured)
    assert (8, None, None) == (
        found.unexplained_requested_bytes,
        found.unexplained_allocated_bytes,
        found.reserved_difference_bytes,
    )
    assert problem(Measurement(CPU), found) == (
        "+8 bytes requested measured that the prediction and named workspaces do not explain"
    )


@pytest.mark.parametrize(
    ("tenant", "said"),
    [
        (Tenant(4711, MIB, "python"), "process 4711 python (1.00 MiB)"),
        (Tenant(4711, None), "process 4711"),
    ],
)
def test_another_tenant_is_named_by_its_pid(tenant, said):
    found = reconcile(trace([600]), on_gpu([600], (600, 1024, 1024, 2 * MIB)))
    measurement = Measurement(GPU, tenants=(tenant,))
    assert f"measured beside {said}, on the same device" == problem(measurement, found)


def test_a_call_that_ran_out_of_memory_is_told_with_its_message():
    measurement = Measurement(GPU, out_of_memory=OutOfMemory("CUDA out of memory.", 5, 4))
    assert "out of memory: CUDA out of memory." == problem(measurement, None)


def test_the_scratch_of_kernels_is_known_on_cuda_alone():
    hip = Environment(**{**GPU.to_json(), "device_type": "hip"})
    assert ["cuda", "", ""] == [scratch_of(each) for each in (GPU, hip, CPU)]


def worst(sizes):
    """A predicted trace whose sizes are those that data decides at most."""
    return replace(trace(sizes), data_sizes=(DataSize("aten::nonzero", (), 75),))


@pytest.mark.parametrize(
    ("measured_bytes", "unexplained_bytes", "is_within"),
    [(600, 0, True), (599, 0, True), (0, 0, True), (601, 1, False)],
)
def test_less_than_a_worst_case_is_explained_and_more_is_not(
    measured_bytes, unexplained_bytes, is_within
):
    """Data may choose less than all that it may, and never more."""
    sizes = [measured_bytes] if measured_bytes else []
    found = reconcile(worst([600]), trace(sizes, "measure", Measurement(CPU)))
    assert unexplained_bytes == found.unexplained_requested_bytes
    assert is_within is found.is_within_worst_case
    assert (measured_bytes == 600) is found.is_exact
    assert is_within is ("" == problem(Measurement(CPU), found))


def test_blocks_beyond_a_worst_case_are_not_explained():
    """The allocator's blocks are held to it as the requests are."""
    found = reconcile(worst([600]), on_gpu([512], (512, 2048, 2048, 2 * MIB)))
    assert (0, 1024) == (found.unexplained_requested_bytes, found.unexplained_allocated_bytes)
    assert "exceed the worst case" in problem(Measurement(GPU), found)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([600], "measured to the byte"), ([8], "measured within the worst case, 3 times")],
)
def test_the_words_say_which_it_was(sizes, expected):
    """What a device took below the worst case is no agreement to the byte."""
    measured = trace(sizes, "measure", Measurement(CPU))
    found = reconcile(worst([600]), measured)
    num_runs = 1 if sizes == [600] else 3
    assert expected == Measured(measured, Measurement(CPU), found, num_runs).agreement
