"""Index data in the shadow lane: its values are real, everyone else's are not."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from oom_suite.errors import LaneError

CONSTANT = torch.tensor([3, 1, 2])
NUMBERS = [3, 1, 3, 2]


def numbers(device):
    return (torch.tensor(NUMBERS, dtype=torch.int32, device=device),)


def unknown(device):
    return (torch.empty(4, device=device), torch.arange(4, device=device))


READS = {
    "item": lambda x: x[2].item(),
    "int": lambda x: int(x.max()),
    "bool": lambda x: bool((x > 2).any()),
    "if": lambda x: 1 if x[0] == 3 else 0,
    "tolist": lambda x: x.tolist(),
    "tolist of rows": lambda x: x.view(2, 2).tolist(),
    "cpu": lambda x: x.cpu().tolist(),
    "to cpu": lambda x: x.to("cpu", torch.int64)[0].item(),
    "float mean": lambda x: x.float().mean().item(),
    "a list comprehension": lambda x: [int(v) for v in x],
    "unique": lambda x: torch.unique(x).tolist(),
    "unique with inverse": lambda x: torch.unique(x, return_inverse=True)[1].tolist(),
    "unique with counts": lambda x: torch.unique(x, return_counts=True)[1].tolist(),
    "unique with all": lambda x: torch.unique(x, return_inverse=True, return_counts=True)[
        1
    ].tolist(),
    "unique rows": lambda x: torch.unique(x.view(2, 2), dim=0).tolist(),
    "unique_consecutive": lambda x: torch.unique_consecutive(x).tolist(),
    "nonzero": lambda x: torch.nonzero(x == 3).tolist(),
    "nonzero of a tuple": lambda x: torch.nonzero(x == 3, as_tuple=True)[0].tolist(),
    "a mask": lambda x: x[x > 1].tolist(),
    "masked_select": lambda x: torch.masked_select(x, x > 1).tolist(),
    "repeat_interleave": lambda x: x.repeat_interleave(x).tolist(),
    "bincount": lambda x: torch.bincount(x).tolist(),
    "sort": lambda x: x.sort().values.tolist(),
    "equal": lambda x: torch.equal(x, x.clone()),
    "a literal": lambda x: torch.tensor([5, 6], device=x.device).tolist(),
    "a float literal": lambda x: torch.tensor(0.5, device=x.device).item(),
    "a constant of the module": lambda x: CONSTANT[:2].to(x.device).tolist(),
    "a fill": lambda x: torch.full((2,), 7, device=x.device).tolist(),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_values_of_index_data_are_real(shadow, read):
    """What the code reads on the host is what a real device would give."""
    seen = []
    shadow(lambda x: seen.append(read(x)), numbers)
    assert read(torch.tensor(NUMBERS, dtype=torch.int32)) == seen[0]


def lengths_to_offsets(x):
    offsets = torch.empty(5, dtype=torch.int32, device=x.device)
    offsets[0] = 0
    torch.cumsum(x, 0, out=offsets[1:])
    return offsets.tolist()


def written_through_a_view(x):
    view = x.view(2, 2)[:, 1]
    view += 10
    x[3] = 0
    x.index_put_((torch.tensor([0], device=x.device),), torch.tensor([8], device=x.device).int())
    return x.tolist()


def of_another_shape(x):
    x.unsqueeze_(0).t_().squeeze_(1)
    return x.tolist()


def scattered(x):
    return torch.zeros(4, dtype=torch.int64, device=x.device).scatter_(0, x.long() - 1, 1).tolist()


def resized_out(x):
    out = torch.empty(0, dtype=torch.int64, device=x.device)
    torch.add(x.long(), 1, out=out)
    return out.tolist()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lengths_to_offsets, [0, 3, 4, 7, 9]),
        (written_through_a_view, [8, 11, 3, 0]),
        (scattered, [1, 1, 1, 0]),
        (resized_out, [4, 2, 4, 3]),
        (of_another_shape, [3, 1, 3, 2]),
    ],
)
def test_writes_in_place_reach_the_values(shadow, body, expected):
    """A write through a view or an out= slice is seen by every view of the same storage."""
    seen = []
    shadow(lambda x: seen.append(body(x)), numbers)
    assert expected == seen[0]


UNKNOWNS = {
    "item": (lambda f, i: f[0].item(), "_local_scalar_dense"),
    "int": (lambda f, i: int(f.sum()), "_local_scalar_dense"),
    "bool": (lambda f, i: bool((f > 0).any()), "_local_scalar_dense"),
    "tolist": (lambda f, i: f.tolist(), "_local_scalar_dense"),
    "bincount": (lambda f, i: torch.bincount(f.long()), "aten::bincount"),
    "repeat_interleave": (lambda f, i: f.long().repeat_interleave(f.long()), "repeat_interleave"),
    "equal": (lambda f, i: torch.equal(f, f + 1), "aten::equal"),
    "numpy": (lambda f, i: f.cpu().numpy(), "numpy()"),
    "mixed": (lambda f, i: (i + f).long().max().item(), "_local_scalar_dense"),
    "written": (lambda f, i: i.copy_(f).max().item(), "_local_scalar_dense"),
    "a cache's bytes": (
        lambda f, i: torch.zeros(4, dtype=torch.uint8, device=f.device)[0].item(),
        "_local_scalar_dense",
    ),
}


@pytest.mark.parametrize(("body", "op"), UNKNOWNS.values(), ids=UNKNOWNS)
def test_unknown_values_are_one_clear_error(shadow, body, op):
    """A value that only a device has is refused in one line with the operator and the line."""
    with pytest.raises(LaneError) as caught:
        shadow(body, unknown)
    message = str(caught.value)
    assert op in message
    assert " at test_index_values.py:" in message
    assert "measure lane" in message
    assert "\n" not in message


def test_a_launch_makes_its_arguments_unknown(shadow):
    """What a kernel may have written cannot be read, through any view of it."""
    from pathlib import Path

    from oom_suite.tracing.shadow import ShadowLane

    lane = ShadowLane(Path("/"))

    def build(sizes, device):
        x, y = torch.arange(4, device=device), torch.arange(4, device=device)

        def call():
            lane.launched("kernel", [x[1:], 3])
            assert [0, 1, 2, 3] == y.tolist()
            x.tolist()

        return call

    with pytest.raises(LaneError, match="a value that exists only on a device"):
        lane.run(build, {})


def test_an_out_argument_that_values_resize_is_refused_with_its_line(shadow):
    """The tensor is on the device, and its new size on the host alone."""

    def listed(x):
        torch.nonzero(x, out=torch.empty(0, dtype=torch.int64, device=x.device))

    expected = r"aten::nonzero.out resizes its out= by values at test_index_values.py:\d+ \(listed"
    with pytest.raises(LaneError, match=expected):
        shadow(listed, numbers)


def test_a_wrong_index_of_index_data_is_told(shadow):
    """An index out of range is an error here as on a device."""
    with pytest.raises(IndexError, match="out of bounds"):
        shadow(lambda x: x[torch.tensor([9], device=x.device)], numbers)


def test_a_mask_that_is_unknown_may_still_be_written_under(shadow):
    """It lists the true entries of its mask first: at most as many as the mask has."""
    trace = shadow(lambda f, i: f.__setitem__(f > 0, f[:1].expand(4)), unknown)
    assert ["aten::nonzero"] == [u.op for u in trace.unseen]
    assert [4 * 8] == [a.requested_bytes for a in trace.allocations if a.op == "aten::nonzero"]


PRODUCTION = """
import pathlib, resource, sys
from oom_suite.pipeline.programs import Run, SubjectProgram
from oom_suite.processes.askers import InThisProcess
from oom_suite.subjects import parse
from oom_suite.tracing.lane_spec import LaneSpec
from oom_suite.workloads.sparse_mla.workload import DECODE
from oom_suite.workloads.sparse_mla.geometry.scenarios import scenario
import oom_suite.tracing.warm

def peak():
    text = pathlib.Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) * 1024

program = SubjectProgram(parse("full_dequant"), DECODE)
before = peak()
trace = InThisProcess().ask(Run(program, LaneSpec("shadow"), scenario("issue-41962").sizes))
print(trace.peak().num_bytes, peak() - before)
"""


def test_a_production_scenario_costs_no_memory():
    """Tens of GiB requested in the shadow lane take less than 300 MiB of the machine's."""
    done = subprocess.run(
        [sys.executable, "-c", PRODUCTION], capture_output=True, text=True, check=True
    )
    requested_bytes, grown_bytes = map(int, done.stdout.split())
    assert requested_bytes > 20 * 2**30
    assert grown_bytes < 300 * 2**20


RATES = {
    "linspace": lambda device: torch.linspace(0, 0.5, 3, device=device),
    "logspace": lambda device: torch.logspace(0, 1, 3, device=device),
}


@pytest.mark.parametrize("make", RATES.values(), ids=RATES)
def test_rates_that_a_builder_makes_are_known_there(shadow, make):
    """A model reads the rate of each of its layers while it is built."""
    seen = []
    shadow(lambda x: None, lambda device: (seen.append(make(device).tolist()),))
    assert make("cpu").tolist() == seen[0]


def test_zeros_that_a_builder_makes_stand_for_other_values(shadow):
    with pytest.raises(LaneError, match="reads a value"):
        shadow(lambda x: None, lambda device: (torch.zeros(3, device=device).tolist(),))
