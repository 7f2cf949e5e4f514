"""A call that is to write to a tensor and does not has not shown what it takes."""

from __future__ import annotations

import threading

import pytest
import torch

from oom_suite.tracing.measure import MeasureLane
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.tracing.starting import watched

NOT_WRITTEN = ("the call writes no element of `output`",)


def unrecorded(lane, body, tmp_path, launch=False):
    chosen = ShadowLane(tmp_path) if lane == "shadow" else MeasureLane(tmp_path, "cpu")

    def build(_sizes, device):
        output = torch.zeros(4, 4, device=device)
        other = torch.zeros(4, 4, device=device)

        def call():
            body(output, other)
            if launch:
                chosen.launched("kernel", [3, output[1:]])

        call.writes = {"output": output}
        return call

    with watched():
        return chosen.run(build, {}).unrecorded


def by_a_thread(output, other):
    thread = threading.Thread(target=output.copy_, args=(other,))
    thread.start()
    thread.join()


WRITES = {
    "in place": lambda output, other: output.fill_(1),
    "one element": lambda output, other: output[3].narrow(0, 3, 1).zero_(),
    "by index": lambda output, other: output.__setitem__((0, 0), 1.0),
    "out": lambda output, other: torch.add(other, 1, out=output),
    "a view that torch does not track": lambda output, other: output.data.view(-1).copy_(
        other.view(-1)
    ),
    "a list": lambda output, other: torch._foreach_add_([other, output], 1.0),
    "a thread": by_a_thread,
    "inference mode": torch.inference_mode()(lambda output, other: output.detach().copy_(other)),
}
LEAVES = {
    "nothing": lambda output, other: None,
    "a read": lambda output, other: other.copy_(output),
    "a copy": lambda output, other: output.clone().fill_(1),
    "another": lambda output, other: other.fill_(1),
}


@pytest.mark.parametrize("lane", ["shadow", "measure"])
@pytest.mark.parametrize("way", WRITES)
def test_a_write_is_one_however_it_comes(lane, way, tmp_path):
    assert () == unrecorded(lane, WRITES[way], tmp_path)


@pytest.mark.parametrize("lane", ["shadow", "measure"])
@pytest.mark.parametrize("way", LEAVES)
def test_what_leaves_the_output_alone_is_named(lane, way, tmp_path):
    assert NOT_WRITTEN == unrecorded(lane, LEAVES[way], tmp_path)


def test_a_kernel_that_is_given_a_view_of_it_may_write_it(tmp_path):
    assert () == unrecorded("shadow", LEAVES["nothing"], tmp_path, launch=True)
