"""The recorder: which requests a call makes, when they end, and on which line."""

from __future__ import annotations

import inspect
import sys
import threading
from pathlib import Path

import pytest
import torch

from oom_suite.tracing.measure import MeasureLane
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.sparse_mla.builtins import rows as fp8_rows

CONSTANT = torch.arange(8)
KEPT = []


def one_input(device):
    return (torch.zeros(16, device=device),)


def two_halves(x):
    a = x + 1
    b = x + 2
    del a
    c = x[:4] + 1
    del b
    return c


def in_place(x):
    x.add_(1)
    x[2:4] = x[:2]
    x.view(4, 4).mul_(2)


def out_fits(x):
    out = torch.empty(16, device=x.device)
    torch.add(x, 1, out=out)


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
def resized_out(x):
    out = torch.empty(2, device=x.device)
    torch.cat([x, x], out=out)


def empty_out(x):
    torch.cat([x, x], out=torch.empty(0, device=x.device))


def nested(x):
    kept = [[x + 1], {"a": (x + 2,)}]
    del kept


CALLS = {
    "allocate": (lambda x: x + 1, [64, -64]),
    "nothing": (lambda x: None, []),
    "the input itself": (lambda x: x, []),
    "views": (lambda x: x.view(4, 4)[1:, :2].transpose(0, 1).unsqueeze(0), []),
    "slice of a new one": (lambda x: (x + 1)[:2], [64, -64]),
    "free in the code's order": (two_halves, [64, 64, -64, 16, -64, -16]),
    "in place": (in_place, []),
    "out= that fits": (out_fits, [64, -64]),
    "out= that is resized": (resized_out, [8, -8, 128, -128]),
    "out= from nothing": (empty_out, [128, -128]),
    "cat": (lambda x: torch.cat([x, x[:4]]), [80, -80]),
    "zero size": (lambda x: x[:0] + 1, []),
    "several results": (lambda x: x.view(4, 4).max(1), [16, 32, -16, -32]),
    "lists of lists": (nested, [64, 64, -64, -64]),
    "a copy of a part": (lambda x: x.view(4, 4)[:, 1].contiguous(), [16, -16]),
    "a contiguous one is no copy": (lambda x: x.contiguous().reshape(2, 8).float(), []),
    "a literal": (lambda x: torch.tensor([1.0, 2.0], device=x.device), [8, -8]),
    "a literal of one": (lambda x: torch.tensor(1.0, device=x.device), [4, -4]),
    "a literal like another": (lambda x: x.new_tensor([1.0]), [4, -4]),
    "storage replaced": (lambda x: x.new_empty(2).set_(x + 1), [8, 64, -8, -64]),
    "resized in place": (lambda x: x.new_empty(2).resize_(8), [8, -8, 32, -32]),
}


@pytest.mark.parametrize(("body", "expected"), CALLS.values(), ids=CALLS)
@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
def test_events_are_the_requests_and_frees_of_the_code(record, short, body, expected):
    """Requests and frees stand in the order in which the code makes them, in bytes."""
    trace = record(body, one_input)
    assert expected == short(trace)


def test_inputs_are_counted_and_are_no_requests(record):
    """What the builder made is input, however it is passed."""
    trace = record(lambda x: None, one_input)
    assert (64, ()) == (trace.input_bytes, trace.allocations)


def test_a_result_is_dropped_only_after_the_call(record, short):
    """A returned tensor lives to the end of the call, and its free is recorded."""
    trace = record(lambda x: [x + 1, (x[:2] + 1).sum()], one_input)
    assert [64, 8, 4, -8] == short(trace)[:4]
    assert () == trace.live_after(len(trace.events) - 1)


def test_a_tensor_kept_in_a_global_is_not_freed(record, short):
    """A leak is a request without a free."""
    KEPT.clear()
    try:
        trace = record(lambda x: KEPT.append(x + 1), one_input)
    finally:
        KEPT.clear()
    assert [64] == short(trace)


def test_what_is_kept_in_a_global_works_in_the_next_call():
    """A lane's later call may use what an earlier one left behind."""
    kept = {}
    lane = ShadowLane(Path(__file__).parent)

    def build(sizes, device):
        x = torch.zeros(sizes["n"], device=device)
        return lambda: (kept.get("buffer") or kept.setdefault("buffer", [x + 1]))[0].add_(x)

    first, second = (lane.run(build, {"n": 4}) for _ in range(2))
    assert (1, 0) == (len(first.allocations), len(second.allocations))


def test_a_constant_of_the_module_is_no_request_until_it_is_moved(record):
    """What was there before the call is not its request; a copy of it is."""
    trace = record(lambda x: CONSTANT.to(x.device, torch.int32), one_input)
    assert [32] == [a.requested_bytes for a in trace.allocations]


def test_memory_of_numpy_is_no_request(measure, short):
    """Wrapping an array asks torch for nothing."""
    numpy = pytest.importorskip("numpy")
    assert [] == short(measure(lambda: torch.from_numpy(numpy.zeros(4))))


class Tagged(torch.Tensor):
    """A subclass that runs operators of its own."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), dtype=inner.dtype, device=inner.device
        )

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        plain = [a.inner if isinstance(a, cls) else a for a in args]
        return cls(func(*plain, **(kwargs or {})))


def test_a_tensor_subclass_is_seen_by_what_it_does_inside(record, short):
    """A wrapper asks for what the operators inside it ask for."""
    assert [64, 64, -64, -64] == short(record(lambda x: Tagged(x) + 1 + 1, one_input))


def test_requests_are_named_with_the_line_of_the_code(record):
    """The innermost line, its function and the file as seen from the root."""
    trace = record(two_halves, one_input)
    first = inspect.getsourcelines(two_halves)[1]
    frame = trace.allocations[0].stack[0]
    assert ("test_recorder.py", first + 1, "two_halves") == (
        frame.file,
        frame.line,
        frame.function,
    )


def outer(x):
    return [inner(value) for value in (x, x)], next(inner(value) for value in (x,))


def inner(x):
    add = lambda y: y + 1  # noqa: E731 - a frame named <lambda>
    return add(x)


def test_stacks_go_from_the_innermost_line_to_the_call(record):
    """Lambdas, comprehensions and generators show as lines; torch and the harness do not."""
    trace = record(outer, one_input)
    in_list, in_generator = trace.allocations[0].stack, trace.allocations[2].stack
    comprehension = ["<listcomp>"] if sys.version_info < (3, 12) else []
    assert ["<lambda>", "inner", *comprehension, "outer"] == [f.function for f in in_list][:-1]
    assert ["<lambda>", "inner", "<genexpr>", "outer"] == [f.function for f in in_generator][:-1]
    assert {"test_recorder.py", "lane_traces.py"} == {f.file for f in in_list + in_generator}


def test_built_in_decode_code_is_code_under_test():
    """The suite's own subjects show as lines; the rest of the suite is hidden."""
    from oom_suite.pipeline.programs import Run, SubjectProgram
    from oom_suite.processes.askers import InThisProcess
    from oom_suite.subjects import parse
    from oom_suite.tracing.lane_spec import LaneSpec
    from oom_suite.workloads.sparse_mla.geometry.scenarios import AXES
    from oom_suite.workloads.sparse_mla.workload import DECODE

    sizes = dict.fromkeys(AXES, 4) | {"num_heads": 8, "referenced_blocks": 2}
    program = SubjectProgram(parse("full_dequant"), DECODE)
    trace = InThisProcess().ask(Run(program, LaneSpec("shadow"), sizes))
    assert fp8_rows.__file__.endswith(trace.allocations[0].stack[0].file)
    files = {frame.file for a in trace.allocations for frame in a.stack}
    assert {"oom_suite/workloads/sparse_mla/builtins"} == {
        file.rpartition("/")[0] for file in files
    }


def with_gradient(x):
    with torch.enable_grad():
        weight = torch.ones(16, device=x.device, requires_grad=True)
        (weight * x).sum().backward()
        return weight.grad


def test_a_backward_pass_is_recorded(record):
    """Code that enables gradients runs, and what autograd allocates is in the trace."""
    trace = record(with_gradient, one_input)
    assert [64, 64, 4, 4, 64] == [a.requested_bytes for a in trace.allocations]


def test_gradients_are_as_the_code_has_them(record):
    """Lanes neither enable nor disable gradients."""
    seen = []
    record(lambda: seen.append(torch.is_grad_enabled()))
    with torch.no_grad():
        record(lambda: seen.append(torch.is_grad_enabled()))
    assert {True, False} == set(seen)


def test_an_error_in_the_call_is_the_codes_own(record):
    """What the code raises comes out as it is, and the lane works again afterwards."""
    with pytest.raises(ZeroDivisionError):
        record(lambda: 1 / 0)
    assert () == record(lambda: None).allocations


def test_two_runs_give_the_same_trace():
    """Nothing of one run shows in the next."""
    for lane in (ShadowLane(Path("/")), MeasureLane(Path("/"), "cpu")):
        traces = [
            lane.run(lambda sizes, device: lambda: two_halves(torch.ones(16, device=device)), {})
            for _ in range(2)
        ]
        assert traces[0].allocations == traces[1].allocations
        assert traces[0].events == traces[1].events


def sorts_on_one_line(*rows):
    """A call that sorts so many rows of its input, one number after the other, on one line."""
    return lambda x: [x.view(4, 4)[:number].sort() for number in rows]


@pytest.mark.parametrize("rows", [(4, 1), (1, 4), (2, 4, 1)], ids=str)
def test_a_line_with_unseen_scratch_is_told_by_the_largest_input_it_was_given(record, rows):
    """However often it runs, and in whichever order."""
    (unseen,) = record(sorts_on_one_line(*rows), one_input).unseen
    assert ("aten::sort", 4 * 4 * 4) == (unseen.op, unseen.input_bytes)


def test_the_input_of_unseen_scratch_is_all_its_tensors(record):
    """Values, indices and the target of a write that adds."""

    def adds(x):
        at = torch.zeros(2, dtype=torch.int64, device=x.device)
        x.index_put_((at,), x[:2].clone(), accumulate=True)

    (unseen,) = record(adds, one_input).unseen
    assert 64 + 2 * 8 + 2 * 4 == unseen.input_bytes


def test_a_sparse_result_has_no_storage_to_record_and_the_call_goes_on(measure):
    """What was asked for before it and after it is in the trace."""
    trace = measure(lambda x: ((x.view(4, 4) + 1).to_sparse(), x * 2), one_input)
    ops = [one.op for one in trace.allocations]
    assert ("aten::add.Tensor", "aten::mul.Tensor") == (ops[0], ops[-1])


def test_a_step_that_ends_is_marked_between_the_events_of_two():
    """Also after what a thread of the step did, which is waited for."""
    lane = ShadowLane(Path(__file__).parent)

    def build(sizes, device):
        x = torch.zeros(16, device=device)

        def call():
            x + 1
            lane.mark()
            threading.Thread(target=lambda: x + 2).start()
            lane.mark()

        return call

    trace = lane.run(build, {})
    assert (2, 4) == trace.marks
    assert 4 == len(trace.events)


@pytest.mark.parametrize("target", ["generic", "cpu"])
def test_a_copy_that_the_code_makes_of_a_literal_is_the_code_s(target):
    """The literal's own way to the device is torch's, wherever it was made."""

    def build(_sizes, device):
        return lambda: torch.tensor([1.0, 2.0], device=device).double()

    trace = ShadowLane(Path(__file__).parent, target=target).run(build, {})
    assert [("aten::lift_fresh", 8), ("aten::_to_copy", 16)] == [
        (each.op, each.requested_bytes) for each in trace.allocations
    ]


def test_between_two_calls_a_lane_marks_nothing_and_records_no_launch():
    """It has let go of the recorder of the call that ended; during a call it has one."""
    lane, recorders = ShadowLane(Path(__file__).parent), []

    def build(_sizes, device):
        recorders.append(lane._recorder)
        x = torch.zeros(4, device=device)

        def call():
            made = x + 1
            lane.mark()
            return made * 2

        return call

    trace = lane.run(build, {})
    lane.mark()
    lane.launched("late", [])
    again = recorders[0].trace(lane.name, {})
    assert (trace.marks, ()) == (again.marks, again.launches)
    assert 1 == len(trace.marks)
    assert lane._recorder is None
