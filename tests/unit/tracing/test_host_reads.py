"""Which lines read values on the host, and which only compute."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent

READS = {
    "to the host": (lambda x: x.to("cpu"), 1),
    "to the host in another type": (lambda x: x.to("cpu", torch.float64), 1),
    "a value": (lambda x: torch.arange(4, device=x.device)[1].item(), 1),
    "true entries": (lambda x: torch.arange(4, device=x.device).nonzero(), 1),
    "to another type": (lambda x: x.to(torch.float64), 0),
    "a copy": (lambda x: x.clone(), 0),
    "arithmetic": (lambda x: x + 1, 0),
    "twice at one line": (lambda x: (x.to("cpu"), x.to("cpu")), 1),
}


def host_reads(body, target="generic"):
    lane = ShadowLane(HERE, target=target)

    def build(sizes, device):
        x = torch.zeros(4, device=device)
        return lambda: body(x)

    return lane.run(build, {}).host_reads


@pytest.mark.parametrize(("body", "num_reads"), READS.values(), ids=READS)
def test_a_line_that_takes_values_to_the_host_is_one_read(body, num_reads):
    found = host_reads(body)
    assert ["test_host_reads.py"] * num_reads == [frame.file for frame in found]


def test_on_a_cpu_values_are_on_the_host_already():
    assert () == host_reads(lambda x: x.to("cpu", copy=True), "cpu")
    assert () == host_reads(lambda x: x + 1, "cpu")
