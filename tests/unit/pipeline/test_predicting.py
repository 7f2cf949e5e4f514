"""`oom_suite.predict`: the trace of a call, in this process or in a child."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import torch

import oom_suite
from oom_suite import memory_law
from oom_suite.errors import LaneError, UsageError
from oom_suite.pipeline.predicting import prediction
from oom_suite.records import Allocation, Event, Trace
from oom_suite.targets.target import target


def doubled(sizes, device):
    x = torch.ones(sizes.num_tokens, 64, device=device)
    return lambda: x * 2


def trained(sizes, device):
    weight = torch.ones(64, 64, device=device, requires_grad=True)
    x = torch.ones(sizes.num_tokens, 64, device=device)
    return lambda: (x @ weight).sum().backward()


def test_the_public_names_come_without_torch():
    """Importing the package costs no torch; its names are there to be completed."""
    code = (
        "import sys, oom_suite; print('torch' in sys.modules, "
        "{'law', 'predict', 'memory_law'} <= set(dir(oom_suite)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False True\n" == done.stdout


def test_a_prediction_has_the_allocators_figures():
    """1,000 tokens of 256 bytes: 256,000 requested, a block of 512 bytes' multiple, one segment."""
    found = oom_suite.predict(doubled, {"num_tokens": 1000})
    assert (256_000, 256_000, 2 * 2**20) == (
        found.peak_requested_bytes,
        found.peak_allocated_bytes,
        found.peak_reserved_bytes,
    )
    assert (256_000, False) == (found.least_requested_bytes, found.is_bound)


def test_a_prediction_is_a_trace_with_lines():
    found = oom_suite.predict(doubled, {"num_tokens": 2}, target="cuda:sm_90")
    assert isinstance(found, Trace)
    assert ["alloc", "free"] == [event.kind for event in found.events]
    assert "test_predicting.py" in found.allocations[0].stack[0].file
    assert ("cuda:sm_90", 512) == (
        found.target,
        json.loads(json.dumps(found.to_json()))["peaks"]["requested_bytes"],
    )


@pytest.mark.parametrize(
    ("target", "expected"), [("cuda:sm_90", 8), ("rocm:gfx942", 4), ("MI325X", 4), ("cpu", 2)]
)
def test_the_code_believes_in_its_target(target, expected):
    """Each branch takes as many floats."""

    def build(sizes, device):
        x = torch.ones(sizes.n, device=device)
        num = 2 if not x.is_cuda else 4 if torch.version.hip else 8
        return lambda: torch.empty(num, device=device)

    found = oom_suite.predict(build, {"n": 1}, target=target)
    assert expected * 4 == found.peak_requested_bytes


@pytest.mark.parametrize(("target", "expected"), [("MI300X", 192), ("MI325X", 256)])
def test_a_devices_name_brings_its_own_memory(target, expected):
    """Code that asks how much there is takes a byte for every GiB."""

    def build(sizes, device):
        del sizes
        num_gib = torch.cuda.mem_get_info()[1] >> 30
        return lambda: torch.empty(num_gib, dtype=torch.uint8, device=device)

    found = oom_suite.predict(build, {}, target=target)
    assert abs(expected - found.peak_requested_bytes) <= 1


def test_an_unknown_target_names_those_there_are():
    with pytest.raises(UsageError, match=r"^unknown target 'H20': choose from .*mean 'H200'\?$"):
        oom_suite.predict(doubled, {"num_tokens": 1}, target="H20")


def test_a_cpu_has_kernels_of_its_own_and_no_caching_allocator():
    """Its dropout draws a mask; what is requested is all that is known."""
    found = oom_suite.predict(dropped_out, {"n": 100}, target="cpu")
    generic = oom_suite.predict(dropped_out, {"n": 100})
    assert found.peak_requested_bytes == found.peak_reserved_bytes
    assert found.peak_requested_bytes != generic.peak_requested_bytes


def dropped_out(sizes, device):
    x = torch.ones(sizes.n, device=device)
    return lambda: torch.nn.functional.dropout(x, 0.5)


def test_gradients_are_as_the_code_leaves_them():
    """The backward pass asks for the weight's gradient, as large as the weight, and keeps it."""
    found = oom_suite.predict(trained, {"num_tokens": 4})
    kept = [found.allocations[number].requested_bytes for number in found.kept]
    assert [64 * 64 * 4] == kept


@pytest.mark.parametrize("is_bound", [False, True])
def test_a_bound_counts_in_the_peak_and_not_in_the_least(is_bound):
    """The planted bound of 700 bytes, and its twin that is a request that was seen."""
    trace = Trace(
        "shadow",
        {},
        (Allocation(512, "a", ()), Allocation(700, "b", (), is_bound=is_bound)),
        (Event("alloc", 0), Event("alloc", 1), Event("free", 1)),
    )
    found = prediction(trace, target("generic"))
    assert (1212, 512 if is_bound else 1212, is_bound) == (
        found.peak_requested_bytes,
        found.least_requested_bytes,
        found.is_bound,
    )


def test_a_module_may_be_copied_by_the_builder():
    """As encoders of layers are made; 4 rows of 64 floats are the call's."""

    def build(sizes, device):
        module = copy.deepcopy(torch.nn.Linear(64, 64, device=device))
        x = torch.ones(sizes.n, 64, device=device)
        return lambda: module(x)

    assert 4 * 64 * 4 == oom_suite.predict(build, {"n": 4}).peak_requested_bytes


def test_a_decorated_test_can_be_predicted():
    """Its builder is what runs."""
    decorated = memory_law(axes={"num_tokens": 2}, linear_in="num_tokens")(doubled)
    assert 512 == oom_suite.predict(decorated, {"num_tokens": 2}).peak_requested_bytes


def test_a_child_gives_the_same_trace():
    here = oom_suite.predict(doubled, {"num_tokens": 3})
    there = oom_suite.predict(doubled, {"num_tokens": 3}, in_child=True)
    assert here == there


def test_a_crash_in_a_child_is_one_line():
    with pytest.raises(LaneError) as error:
        oom_suite.predict(ends_its_process, {"n": 1}, in_child=True)
    assert "exited: the process ended by itself with exit code 7" == str(error.value)


def ends_its_process(sizes, device):
    del sizes, device
    import os

    os._exit(7)


def test_a_script_finds_its_own_functions_in_a_child(tmp_path):
    """What its main guard protects runs once."""
    script = tmp_path / "plan.py"
    script.write_text(
        "import torch\n"
        "import oom_suite\n"
        "def build(sizes, device):\n"
        "    return lambda: torch.empty(sizes.n, device=device)\n"
        'if __name__ == "__main__":\n'
        '    print(oom_suite.predict(build, {"n": 8}, in_child=True).peak_requested_bytes)\n'
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=300
    )
    assert ("32\n", 0) == (done.stdout, done.returncode), done.stderr


def test_a_function_of_a_notebook_runs_here():
    """What `exec` defines has no file, as what a notebook defines."""
    names = {"torch": torch}
    exec(  # the test's own text
        "def build(sizes, device):\n    return lambda: torch.empty(sizes.n, device=device)", names
    )
    assert 32 == oom_suite.predict(names["build"], {"n": 8}).peak_requested_bytes
    with pytest.raises(UsageError) as error:
        oom_suite.predict(names["build"], {"n": 8}, in_child=True)
    assert str(error.value).startswith("in_child: build cannot be found by another process")


@pytest.mark.parametrize(
    ("build", "sizes", "more", "expected"),
    [
        (3, {}, {}, "build: 3 is not a function: give one of sizes and device"),
        (
            lambda sizes: sizes,
            {},
            {},
            (
                "build: <lambda> cannot be called with sizes and device: "
                "got an unexpected keyword argument 'device'"
            ),
        ),
        (doubled, {"n": 0}, {}, "sizes: n=0 is not a size: give a whole number from 1"),
        (doubled, 3, {}, "sizes: 3 is not a mapping from names to sizes"),
    ],
)
def test_what_cannot_be_used_is_one_line(build, sizes, more, expected):
    with pytest.raises(UsageError) as error:
        oom_suite.predict(build, sizes, **more)
    assert expected == str(error.value)


def test_what_the_code_raises_is_one_line_with_its_place():
    with pytest.raises(LaneError) as error:
        oom_suite.predict(reads_a_value, {"n": 4})
    assert "reads a value that exists only on a device at" in str(error.value)
    assert "test_predicting.py" in str(error.value)


def reads_a_value(sizes, device):
    x = torch.randn(1 << 20, sizes.n, device=device)
    return lambda: x.sum().item()


def test_a_target_of_amds_has_what_its_kernels_take_as_far_as_it_is_known():
    """A sum's partial results are; rocPRIM's sort has a bound; rocFFT's workspace is named."""

    def build(sizes, device):
        x = torch.ones(sizes.n, device=device)
        return lambda: (x.sum(), x.sort(), torch.fft.rfft(x))

    there = oom_suite.predict(build, {"n": 1 << 20}, target="rocm:gfx942")
    assert ["aten::_fft_r2c"] == [one.op for one in there.unseen]
    assert {"cub::DeviceRadixSort"} == {each.op for each in there.allocations if each.is_bound}
    assert "aten::sum" in {each.op for each in there.allocations}
    assert len(there.allocations) > len(oom_suite.predict(build, {"n": 1 << 20}).allocations)
