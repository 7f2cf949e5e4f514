"""Importing this runs a tiny fake call, so that torch has loaded all that it loads lazily.

Children forked from a process that has imported it start to work at once: torch takes two
seconds to load its symbolic mathematics and its compiler when the first fake tensor is made.
The process is kept from seeing a GPU: fake tensors would start the driver, which no forked
child could use then, and code that asks for the device's properties would run differently
from machine to machine.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from oom_suite.processes.child_main import hide_gpus
from oom_suite.tracing.shadow import ShadowLane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _build(sizes: Mapping[str, int], device: torch.device) -> Callable[[], object]:
    numbers = torch.arange(sizes["n"], device=device)
    return lambda: torch.unique(numbers).to(torch.float32).logsumexp(0)


hide_gpus()
# The children compute on small index tensors alone; a second thread would only wait in a loop.
torch.set_num_threads(1)
# An error in the fork server would end it without a word; in a child, the same error is reported.
with contextlib.suppress(Exception):
    ShadowLane(Path("/")).run(_build, {"n": 2})
