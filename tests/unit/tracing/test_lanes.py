"""A lane as programs run it: which one, what stands around each run, and what errors mean."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch

from oom_suite.errors import LaneError, UsageError
from oom_suite.records.symbolic import Hints
from oom_suite.tracing import lanes
from oom_suite.tracing.lane_spec import LANES, LaneSpec
from oom_suite.tracing.lanes import RunningLane
from oom_suite.tracing.measure import MeasureLane
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
SIZES = {"n": 6}


def running(name, **others):
    return RunningLane(LaneSpec(name, **others), HERE)


def run(lane, body, name):
    """One call of ``body(sizes, device)`` in a lane."""

    def build(sizes, device):
        return lambda: body(sizes, device)

    return lane.prove(build, Hints(SIZES)) if name == "prove" else lane.run(build, SIZES)


def nothing(sizes, device):
    pass


@pytest.mark.parametrize(
    ("name", "kind"), [("shadow", ShadowLane), ("prove", ProveLane), ("measure", MeasureLane)]
)
def test_a_lane_is_known_by_its_name(name, kind):
    lane = running(name)
    assert type(lane._lane) is kind
    assert (None if name == "measure" else lane._lane.launched) == lane.on_launch


def test_an_unknown_lane_is_one_line_with_those_there_are():
    assert ("shadow", "prove", "measure") == LANES
    with pytest.raises(UsageError, match=r"unknown lane 'shadows'.*'shadow'"):
        running("shadows")


def test_a_shadow_lane_has_the_target_and_the_scratch_that_it_is_given():
    def device_of(lane):
        seen = []
        run(lane, lambda sizes, device: seen.append(device.type), "shadow")
        return seen[0]

    assert "cpu" == device_of(running("shadow", target="cpu"))
    assert "cpu" != device_of(running("shadow"))
    kernels = [running("shadow", scratch=name)._lane._kernels for name in ("cuda", "")]
    assert kernels[0] != kernels[1]


def test_a_measure_lane_has_its_limits_its_device_and_its_meters():
    spec = LaneSpec(
        "measure", headroom_bytes=7, headroom_by="limit", snapshot_folder="there", device="cpu"
    )

    def watch(device):
        return contextlib.nullcontext()

    lane = RunningLane(spec, HERE, watch)._lane
    limits = lane._limits
    assert (7, "limit", "there") == (limits.free_bytes, limits.by, limits.snapshot_folder)
    assert (torch.device("cpu"), watch) == (lane._device, lane._watch)


def around(name):
    """What is so inside a run, and what afterwards."""
    seen = []

    def look(sizes=None, device=None):
        seen.append(
            (
                torch._C._is_multithreading_enabled(),
                torch._dynamo.eval_frame._stance.stance,
            )
        )

    look()
    run(running(name), look, name)
    look()
    return seen


def test_calls_that_are_repeated_are_run_as_one_is():
    """With no thread of autograd and no compiler; what they leave alive is told."""
    seen, kept = [], []

    def build(sizes, device):
        def call():
            stance = torch._dynamo.eval_frame._stance.stance
            seen.append((torch._C._is_multithreading_enabled(), stance))
            kept.append(torch.zeros(sizes["n"], device=device))

        return call

    found = running("shadow").repeat(build, SIZES)
    assert [(False, "force_eager")] * found.num_calls == seen
    assert found.num_calls > 1


@pytest.mark.parametrize("name", ["shadow", "prove"])
def test_no_thread_of_autograd_and_no_compiler_is_there_in_a_lane_without_memory(name):
    before, inside, after = around(name)
    assert (False, "force_eager") == inside
    assert before == after
    assert (True, "default") == before


def test_a_measured_call_has_both():
    assert 1 == len(set(around("measure")))


@pytest.mark.parametrize("name", ["shadow", "measure"])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_trace_says_whether_something_in_it_was_compiled(name, is_compiled, monkeypatch):
    """Told by whoever notices it."""
    noticed = []

    @contextlib.contextmanager
    def noted(on_compiled):
        noticed.append(on_compiled)
        yield

    monkeypatch.setattr(lanes, "compiled_calls_noted", noted)

    def body(sizes, device):
        if is_compiled:
            noticed[0]()

    assert is_compiled == run(running(name), body, name).is_compiled
    assert 1 == len(noticed)


@pytest.mark.parametrize(("name", "requires"), [("shadow", 1), ("prove", 1), ("measure", 0)])
def test_a_process_that_measures_needs_no_compiler(monkeypatch, name, requires):
    seen = []
    monkeypatch.setattr(lanes, "require_compiler", lambda: seen.append("compiler"))
    running(name)
    assert ["compiler"] * requires == seen


@pytest.mark.parametrize(("name", "is_believed"), [("shadow", True), ("measure", False)])
def test_modules_are_imported_as_on_the_target_but_where_they_will_be_measured(
    monkeypatch, name, is_believed
):
    seen = []

    @contextlib.contextmanager
    def believing(there):
        seen.append(there.name)
        yield
        seen.append("over")

    monkeypatch.setattr(lanes, "believing", believing)
    with lanes.loading(LaneSpec(name, target="cpu")):
        assert ["cpu"] * is_believed == seen
    assert ["cpu", "over"] * is_believed == seen


@pytest.mark.parametrize("name", LANES)
def test_an_operator_without_a_fake_kernel_is_named_with_what_to_do(monkeypatch, name):
    error = RuntimeError("no fake impl registered for <CustomOpDef(mine::scale)>. You need")

    def body(sizes, device):
        raise error

    with pytest.raises(LaneError) as found:
        run(running(name), body, name)
    assert (
        "custom operator mine::scale has no fake kernel, so its result's size is not known without "
        'running it: register one with @torch.library.register_fake("mine::scale")'
    ) == str(found.value)
    assert error is found.value.__cause__


def test_an_operator_that_torch_cannot_run_on_fakes_is_named(monkeypatch):
    monkeypatch.setattr(lanes, "operator_without_fake", lambda error: "mine::other")

    def body(sizes, device):
        raise ZeroDivisionError

    with pytest.raises(LaneError, match="custom operator mine::other has no fake kernel"):
        run(running("shadow"), body, "shadow")


def test_an_operator_of_torch_that_has_no_fake_is_named_with_torchs_version(monkeypatch):
    monkeypatch.setattr(lanes, "operator_without_fake", lambda error: "aten::_unique")

    def body(sizes, device):
        raise ZeroDivisionError

    with pytest.raises(LaneError) as found:
        run(running("shadow"), body, "shadow")
    assert (
        f"torch {torch.__version__} has no fake kernel for aten::_unique, so its result's size is "
        "not known without running it: leave it out, or run it in the measure lane"
    ) == str(found.value)


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("division by zero"),
        RuntimeError("from the 'Autocast"),
        RuntimeError("no fake impl registered for something else"),
        RuntimeError("<CustomOpDef(mine::scale)> is broken"),
        RuntimeError("Autocast"),
        NotImplementedError("nothing of the kind"),
    ],
    ids=str,
)
def test_any_other_error_is_the_codes_own(error):
    def body(sizes, device):
        raise error

    with pytest.raises(type(error)) as found:
        run(running("shadow"), body, "shadow")
    assert error is found.value


def test_autocast_that_cannot_be_run_says_what_to_do():
    def body(sizes, device):
        raise NotImplementedError("Could not run 'x' from the 'AutocastPrivateUse1' backend")

    with pytest.raises(LaneError, match=r"torch\.autocast on the device that it is given"):
        run(running("shadow"), body, "shadow")


def test_a_backward_pass_that_torch_counted_no_device_for_says_what_to_do():
    """Where autograd counted the devices before there was one, its own words help nobody."""
    internal = "0 <= device.index() && device.index() < device_ready_queues_.size() INTERNAL ASSERT"

    def build(sizes, device):
        raise RuntimeError(internal)

    with pytest.raises(LaneError, match="let the builder be a function of a module"):
        RunningLane(LaneSpec("shadow"), Path("/")).run(build, {"n": 1})
