"""What a call asks of the host's memory stands in books of its own, pinned memory apart."""

from __future__ import annotations

import pytest
import torch

from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane


def host_copy(x):
    return x.cpu()


def host_copy_then_rows(x):
    return x.cpu()[:2] + 1


def host_and_back(x):
    return (x.cpu() + 1).to(x.device)


def pinned_empty(x):
    return torch.empty(16, dtype=torch.int64, pin_memory=True)


def pinned_by_method(x):
    return torch.empty(16, dtype=torch.int64).pin_memory()


def pinned_twice(x):
    return torch.empty(16, dtype=torch.int64).pin_memory().pin_memory()


def view_of_pinned(x):
    return torch.empty(16, dtype=torch.int64, pin_memory=True)[2:].view(2, 7)


def copied_to_device(x):
    return torch.ones(4).to(x.device, non_blocking=True)


def literal(x):
    return torch.tensor([1.0, 2.0], device=x.device)


CALLS = {
    "nothing on the host": (lambda x: x + 1, [], []),
    "a copy": (host_copy, [64, -64], []),
    "a copy and what is made of it": (host_copy_then_rows, [64, 8, -64, -8], []),
    "there and back": (host_and_back, [64, 64, -64, -64], []),
    "pinned by keyword": (pinned_empty, [], [128, -128]),
    "pinned by method": (pinned_by_method, [128, -128], [128, -128]),
    "pinned already": (pinned_twice, [128, -128], [128, -128]),
    "a view of pinned memory": (view_of_pinned, [], [128, -128]),
    "made on the host, moved to the device": (copied_to_device, [16, -16], []),
    "a literal is made on the host": (literal, [8, -8], []),
}


@pytest.mark.parametrize(("body", "host", "pinned"), CALLS.values(), ids=CALLS)
def test_host_requests_and_frees_have_books_of_their_own(shadow, short, body, host, pinned):
    """Pageable and pinned memory apart, each with its requests and frees in the code's order."""
    trace = shadow(body, lambda device: (torch.zeros(16, device=device),))
    assert (host, pinned) == (short(trace.host), short(trace.pinned))


def test_host_inputs_are_counted_apart(shadow):
    """What the builder put on the host is input of the host's trace."""
    trace = shadow(lambda x, y: x, lambda device: (torch.zeros(2, device=device), torch.zeros(4)))
    assert (8, 16, 0) == (trace.input_bytes, trace.host.input_bytes, trace.pinned.input_bytes)


def test_on_the_cpu_itself_there_is_no_host_beside_the_device(measure):
    trace = measure(lambda: torch.zeros(4).cpu())
    assert (None, None) == (trace.host, trace.pinned)


def test_a_host_request_has_the_line_that_made_it(shadow):
    trace = shadow(host_copy, lambda device: (torch.zeros(16, device=device),))
    (request,) = trace.host.allocations
    assert ("aten::_to_copy", "host_copy") == (request.op, request.stack[0].function)


def test_pinned_memory_says_that_it_is_pinned(shadow):
    """Code that pins only what is not pinned yet takes the branch that it takes on a GPU."""
    said = []

    def body():
        made = torch.empty(4)
        said.extend([made.is_pinned(), made.pin_memory().is_pinned()])

    shadow(body)
    assert [False, True] == said


def test_values_are_known_through_pinned_memory(shadow):
    trace = shadow(lambda: torch.zeros(int(torch.full((2,), 3).pin_memory()[0])))
    assert 12 == trace.host.allocations[-1].requested_bytes


CYCLES = []


def in_a_cycle(x):
    cycle = [x + 1]
    cycle.append(cycle)


def in_a_global(x):
    CYCLES.append(x + 1)


def test_what_only_a_cycle_holds_is_not_kept(shadow):
    """Cyclic garbage is collected when the call is over."""
    trace = shadow(in_a_cycle, lambda device: (torch.zeros(16, device=device),))
    assert ((), 1) == (trace.kept, len(trace.allocations))


def test_what_a_global_holds_is_kept(shadow):
    try:
        trace = shadow(in_a_global, lambda device: (torch.zeros(16, device=device),))
    finally:
        CYCLES.clear()
    assert (0,) == trace.kept


@pytest.mark.parametrize("body", [host_copy, pinned_empty], ids=["host", "pinned"])
def test_the_proof_has_the_same_books(tmp_path, body):
    """The formulas of host requests give the bytes that exact runs have."""

    def build(sizes, device):
        x = torch.zeros(sizes["n"], device=device)
        return lambda: body(x)

    proved = ProveLane(tmp_path).run(build, Hints({"n": 64}))
    exact = ShadowLane(tmp_path).run(build, {"n": 96})
    for symbolic, trace in ((proved.host, exact.host), (proved.pinned, exact.pinned)):
        requested = [each.requested({"n": 96}) for each in symbolic.allocations]
        assert [each.requested_bytes for each in trace.allocations] == requested
        assert [(e.kind, e.allocation) for e in trace.events] == list(symbolic.events)
