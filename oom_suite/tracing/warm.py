"""Importing this runs a tiny fake call, so that torch has loaded all that it loads lazily.

Children forked from a process that has imported it start to work at once: torch takes two
seconds to load its symbolic mathematics and its compiler when the first fake tensor is made, and
half a second more when the first symbolic size is. What is loaded by then is no garbage: the
collector of a child leaves it alone.
The process is kept from seeing a GPU: fake tensors would start the driver, which no forked
child could use then, and code that asks for the device's properties would run differently
from machine to machine.
"""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from oom_suite.processes.child_main import hide_gpus
from oom_suite.records.symbolic import Hints
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _build(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
    numbers = torch.arange(sizes["n"], device=device)
    return lambda: torch.unique(numbers).to(torch.float32).logsumexp(0)


def _symbolic(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
    rows = torch.zeros(sizes["n"], 8, device=device)
    index = torch.zeros(sizes["n"], dtype=torch.int64, device=device)

    def call() -> object:
        picked = rows[index].to(torch.bfloat16).float()
        scores = (picked @ picked.transpose(0, 1)).softmax(-1)
        return torch.cat([scores @ picked, picked * 2 + 1], 1).reshape(-1).sum()

    return call


hide_gpus()
# The children compute on small index tensors alone; a second thread would only wait in a loop.
torch.set_num_threads(1)
# An error in the fork server would end it without a word; in a child, the same error is reported.
with contextlib.suppress(Exception):
    ShadowLane(Path("/")).run(_build, {"n": 2})
with contextlib.suppress(Exception):
    ProveLane(Path("/")).run(_symbolic, Hints({"n": 5}))
gc.freeze()
# The server that imports this has kept it from looking.
gc.enable()
