"""Importing this takes a healthy step through what the self-check does with fake tensors.

torch remembers what it computed of fakes. The children forked from a process that has imported
it, and their forks, find there what nearly every planted fault does beside its fault, and need
not compute it again for each.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from oom_suite.safety.capture import Capture
from oom_suite.safety.steps import Target
from oom_suite.subjects.families.vllm.triton_placeholder import set_on_launch
from oom_suite.workloads.sparse_mla.builtins import BUILTINS
from oom_suite.workloads.sparse_mla.workload import DECODE

# An error in the fork server would end it without a word; in a child, the same error is reported.
with contextlib.suppress(Exception), torch.no_grad():
    target = Target(BUILTINS["token_gather"], Path("/"), DECODE, torch.device("cpu"))
    Capture(set_on_launch).record(target)
