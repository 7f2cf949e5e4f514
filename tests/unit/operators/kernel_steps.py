"""What a kernel requests and frees, as one line to compare."""

from __future__ import annotations

import torch

from oom_suite.operators.inside import inside
from oom_suite.operators.kernels import Call, Kernels
from oom_suite.operators.operands import with_tensors
from oom_suite.operators.steps import Give, Take

H200 = Kernels()
MI300X = Kernels("rocm", "gfx942", num_multiprocessors=304, warp_size=64)
MANY = 1 << 20
HALF, DOUBLE, BOOL, INT32 = torch.float16, torch.float64, torch.bool, torch.int32


def floats(*sizes, dtype=torch.float32):
    """Entries that take no memory."""
    return torch.empty(sizes, dtype=dtype, device="meta")


def places(*sizes):
    return floats(*sizes, dtype=torch.int64)


def raw_steps(op, *args, result, kernels=H200, **kwargs):
    """A call's steps as they are; None where they are not known."""
    return inside(Call(op, args, kwargs, result, kernels))


def beside(op, *args, result, kernels=H200, **kwargs):
    """The most bytes alive in a call beside its results; None where that is not known."""
    steps = raw_steps(op, *args, result=result, kernels=kernels, **kwargs)
    if steps is None:
        return None
    live, held, most = 0, {}, 0
    for step in steps:
        if isinstance(step, Give):
            live -= held.pop(step.name)
        elif isinstance(step.name, str):
            held[step.name] = step.num_bytes
            live += step.num_bytes
            most = max(most, live)
    assert not held
    return most


def steps(op, *args, result, kernels=H200):
    """A call's steps in one line: requests as ``+bytes name``, ``~`` for a bound, frees ``-name``.

    Results have their place for a name, and steps of libraries the last word of theirs.
    """
    found = inside(Call(f"aten::{op}", args, {}, result, kernels))
    if found is None:
        return None
    words = []
    for step in found:
        name = str(step.name).removeprefix("cub::Device").removeprefix("aten::").replace(" ", "_")
        sign = (
            f"{'~' if step.is_bound else '+'}{step.num_bytes}:" if isinstance(step, Take) else "-"
        )
        words.append(sign + name)
    return " ".join(words)


def steps_of_new(op, *args, result, kernels=H200):
    """The same for results that are no arguments, however they were made here."""
    return steps(op, *args, result=with_tensors(torch.Tensor.clone, result), kernels=kernels)


SHARED = "-semaphores -partial_results"


def shared(num_bytes, semaphore_bytes=4):
    """What blocks share that reduce to the same outputs."""
    return f"+{num_bytes}:partial_results +{semaphore_bytes}:semaphores {SHARED}"
