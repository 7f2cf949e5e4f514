"""What kernels over the elements give that torch compiles from a string of C++, on fakes."""

from __future__ import annotations

from typing import Any

import torch

_MOST_INPUTS = 8


def results_of_jitted(kernel: Any, *tensors: torch.Tensor, **numbers: Any) -> Any:
    """What a kernel over the elements gives, unwritten: all inputs' shape and common type.

    Source: PyTorch 2.13 ``torch/cuda/jiterator.py``, ``_JittedFunction.__call__``;
    ``aten/src/ATen/native/cuda/jit_utils.cpp`` and ``cuda/jiterator.cu``
    (``CompileAndLaunchKernel``): inputs are promoted inside of the kernel.

    Args:
        kernel: what ``torch.cuda.jiterator`` made of the code.
        *tensors: its inputs.
        **numbers: values of its own arguments, by name.
    """
    if len(tensors) > _MOST_INPUTS:
        raise AssertionError(f"jiterator takes {_MOST_INPUTS} inputs at most, not {len(tensors)}")
    for name in numbers:
        if name not in kernel.kwargs_dict:
            raise KeyError(f"{name} is not declared in function definition")
    shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))  # type: ignore[no-untyped-call]  # untyped by torch
    dtype = _common(tensors)
    device = next((each.device for each in tensors if each.device.type != "cpu"), "cuda")
    made = tuple(torch.empty(shape, dtype=dtype, device=device) for _ in range(kernel.num_outputs))
    return made[0] if len(made) == 1 else made


def _common(tensors: tuple[torch.Tensor, ...]) -> torch.dtype:
    """A number alone decides only where it is of a wider kind than those with dimensions."""
    found = torch.empty(tensors[0].shape, dtype=tensors[0].dtype, device="meta")
    for tensor in tensors[1:]:
        shape = torch.broadcast_shapes(found.shape, tensor.shape)  # type: ignore[no-untyped-call]  # untyped by torch
        found = torch.empty(shape, dtype=torch.result_type(found, tensor), device="meta")
    return found.dtype
