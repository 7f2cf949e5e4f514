"""Steps that keep a little more each time they are called."""

from __future__ import annotations

import functools
from typing import Any

import torch

from oom_suite.selfcheck.faults.declare import mutant
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode

_creeps = functools.partial(mutant, "creep", is_stateful=True)

_KEPT: list[Any] = []
_BY_NUMBER: dict[int, torch.Tensor] = {}
_STATE: dict[str, torch.Tensor] = {}


@_creeps("leaked-reference")
def outputs_kept(**step: Any) -> None:
    """Keeps a copy of every result."""
    token_gather_decode(**step)
    _KEPT.append(step["output"].clone())


@_creeps("leaked-reference")
def view_of_a_row_kept(**step: Any) -> None:
    """Keeps one row of a copy, and with it all of the copy."""
    token_gather_decode(**step)
    copy = step["output"].to(torch.float32)
    _KEPT.append(copy[0, 0])


@_creeps("grows-each-step")
def workspace_regrown(**step: Any) -> None:
    """A workspace that is made a little larger at each step."""
    before = _STATE.get("workspace")
    num_bytes = 65536 if before is None else before.shape[0] + 512
    q = step["q"]
    _STATE["workspace"] = torch.empty(num_bytes, dtype=torch.uint8, device=q.device)
    token_gather_decode(**step)


@_creeps("leaked-reference")
def cache_without_eviction(**step: Any) -> None:
    """Scratch for the step's number, looked up by a number that never comes again."""
    q = step["q"]
    number = len(_BY_NUMBER)
    if number not in _BY_NUMBER:
        _BY_NUMBER[number] = torch.empty(q.shape, dtype=torch.float32, device=q.device)
    token_gather_decode(**step)


class _Pass:
    """One step's state, which knows itself."""

    def __init__(self, scratch: torch.Tensor) -> None:
        self.scratch = scratch
        self.owner = self
        self.passes = _KEPT


@_creeps("leaked-reference")
def reference_cycle(**step: Any) -> None:
    """State that refers to itself and is kept in a list besides."""
    q = step["q"]
    scratch = torch.empty(q.shape, dtype=torch.float32, device=q.device)
    one = _Pass(scratch)
    one.passes.append(one)
    token_gather_decode(**step)


@_creeps("leaked-reference")
def closure_kept(**step: Any) -> None:
    """A function for later that holds the step's scratch."""
    q = step["q"]
    scratch = torch.empty(q.shape, dtype=torch.float32, device=q.device)

    def later() -> torch.Tensor:
        return scratch.zero_()

    _KEPT.append(later)
    token_gather_decode(**step)


@functools.cache
def _scaled(output: torch.Tensor) -> torch.Tensor:
    return output.to(torch.float32)


@_creeps("leaked-reference", places=("_scaled",))
def cached_by_tensor(**step: Any) -> None:
    """A function of a tensor is cached, though no tensor comes twice."""
    token_gather_decode(**step)
    _scaled(step["output"].view_as(step["output"]))


@_creeps("grows-each-step")
def history_of_lens(**step: Any) -> None:
    """All lens ever seen, in one tensor that grows by a batch each step."""
    lens = step["swa_lens"]
    before = _STATE.get("history")
    _STATE["history"] = lens.clone() if before is None else torch.cat([before, lens])
    token_gather_decode(**step)


@_creeps("leaked-reference")
def default_argument(*, seen: list[torch.Tensor] = [], **step: Any) -> None:  # noqa: B006 - the fault
    """A default argument that collects the step's scratch."""
    q = step["q"]
    seen.append(torch.zeros(q.shape[:2], dtype=torch.float32, device=q.device))
    token_gather_decode(**step)


@_creeps("leaked-reference")
def error_kept(**step: Any) -> None:
    """An error that was handled is kept, and through its traceback the frame's tensors."""
    q = step["q"]
    try:
        scratch = torch.empty(q.shape, dtype=torch.float32, device=q.device)
        _STATE["missing at " + str(tuple(scratch.shape))]
    except KeyError as error:
        _KEPT.append(error)
    token_gather_decode(**step)
