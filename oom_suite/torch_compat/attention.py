"""Which kernels for attention the code under test allows, and in which order it wants them."""

from __future__ import annotations

import torch

from oom_suite.torch_compat.probes import Name, needed

NAMES = (
    Name("torch._C:_get_sdp_priority_order", positional=0),
    Name("torch._C:_get_cudnn_sdp_enabled", positional=0),
    Name("torch._C:_get_flash_sdp_enabled", positional=0),
    Name("torch._C:_get_math_sdp_enabled", positional=0),
    Name("torch._C:_get_mem_efficient_sdp_enabled", positional=0),
    Name("torch:ops.aten._scaled_dot_product_cudnn_attention.default"),
    Name("torch:ops.aten._scaled_dot_product_efficient_attention.default"),
    Name("torch:ops.aten._scaled_dot_product_flash_attention.default"),
)
"""The names of torch behind this module."""

MATH, FLASH, EFFICIENT, CUDNN = range(4)
"""As `torch.nn.attention.SDPBackend` numbers them."""

_UNASKED = (FLASH, EFFICIENT, MATH)

with needed("the shadow and prove lanes need", NAMES):
    _FLAGS = {
        MATH: torch._C._get_math_sdp_enabled,
        FLASH: torch._C._get_flash_sdp_enabled,
        EFFICIENT: torch._C._get_mem_efficient_sdp_enabled,
        CUDNN: torch._C._get_cudnn_sdp_enabled,
    }
    cudnn_attention = torch.ops.aten._scaled_dot_product_cudnn_attention.default
    efficient_attention = torch.ops.aten._scaled_dot_product_efficient_attention.default
    flash_attention = torch.ops.aten._scaled_dot_product_flash_attention.default


def allowed(kernel: int) -> bool:
    """Whether a kernel may be taken: the code may have switched it off."""
    return bool(_FLAGS[kernel]())


def asked_order() -> tuple[int, ...]:
    """The order that the code asked for; empty where it is torch's own."""
    order = tuple(torch._C._get_sdp_priority_order())
    return () if order[: len(_UNASKED)] == _UNASKED else order
