"""Importing this runs a healthy step with fake tensors, as the self-check will run every fault.

torch remembers what it computed of fake tensors, and most operators of a fault are those of a
healthy step. Children that are forked from a process that has imported this need not compute them
again.
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
