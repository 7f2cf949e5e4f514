"""Which kernel `torch.nn.functional.scaled_dot_product_attention` takes on a target.

Source: PyTorch 2.11 and 2.13 ``aten/src/ATen/native/transformers/cuda/sdp_utils.cpp``
(``select_sdp_backend`` and its constraints), ``sdp_utils_cpp.h``; an H200 (2.11.0+cu130, cuDNN
9.19) chose the same for 28 kinds of calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from oom_suite.torch_compat.attention import CUDNN, EFFICIENT, FLASH, MATH, allowed, asked_order

if TYPE_CHECKING:
    from collections.abc import Callable

_HALF = frozenset({torch.float16, torch.bfloat16})
_FUSED = _HALF | {torch.float32}
_CUDNN_MAX = 65535
_FLASH_MAX = {"cuda": 256, "rocm": 512}
_CUDNN_WITHOUT_DROPOUT = range(91_101, 91_400)
_CUDNN_IS_BEST = 91_500
_CUDNN_WIDE_ON_ALL = 92_200


@dataclass(frozen=True, slots=True)
class Device:
    """What the choice asks about a GPU.

    Attributes:
        backend: ``"cuda"`` or ``"rocm"``.
        capability: major and minor.
        num_multiprocessors: streaming multiprocessors, or compute units.
        cudnn: cuDNN's version as ``torch.backends.cudnn.version()`` gives it.
    """

    backend: str
    capability: tuple[int, int]
    num_multiprocessors: int
    cudnn: int


@dataclass(frozen=True, slots=True)
class Attention:
    """One call.

    Attributes:
        query: [batch, heads, queries, width] of the kernel's kind; others take the math path.
        key: [batch, key heads, keys, width].
        value: [batch, value heads, keys, value width].
        mask: bool, or of the query's type; None for none.
        dropout: probability.
        is_causal: whether a query sees no later key.
        has_groups: whether several heads of the query may share one of the key.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None = None
    dropout: float = 0.0
    is_causal: bool = False
    has_groups: bool = False

    @property
    def needs_gradients(self) -> bool:
        """Whether a backward pass may follow, for which the kernels keep their sums."""
        tensors = (self.query, self.key, self.value)
        return torch.is_grad_enabled() and any(each.requires_grad for each in tensors)


def choice(call: Attention, device: Device) -> int:
    """The kernel that torch takes, as `torch.nn.attention.SDPBackend` numbers it."""
    kernels: dict[int, Callable[[Attention, Device], bool]] = {
        CUDNN: _fits_cudnn,
        FLASH: _fits_flash,
        EFFICIENT: _fits_efficient,
        MATH: lambda _call, _device: True,
    }
    for kernel in asked_order() or _order(device):
        if kernel in kernels and allowed(kernel) and kernels[kernel](call, device):
            return kernel
    return MATH


def _order(device: Device) -> tuple[int, ...]:
    """From the best to the last; without a recent cuDNN, and on ROCm, cuDNN comes last."""
    is_best = device.backend == "cuda" and device.cudnn > _CUDNN_IS_BEST
    if is_best and device.capability[0] in {9, 10}:
        return CUDNN, FLASH, EFFICIENT, MATH
    return FLASH, EFFICIENT, MATH


def _is_dense(call: Attention) -> bool:
    return all(each.dim() == 4 for each in (call.query, call.key, call.value))


def _has_entries(call: Attention) -> bool:
    return bool(call.query.shape[-2] != 0 and call.key.shape[-2] != 0)


def _lie_in_rows(call: Attention) -> bool:
    """Whether the last dimensions are contiguous, or of one entry; the mask's as well."""
    tensors = (call.query, call.key, call.value)
    are_rows = all(each.stride(-1) == 1 for each in tensors)
    if not are_rows and call.query.shape[-1] != 1:
        return False
    return call.mask is None or bool(call.mask.stride(-1) == 1)


def _heads_match(call: Attention, *, groups: bool, same_values: bool = True) -> bool:
    query, key, value = call.query, call.key, call.value
    if query.shape[0] != key.shape[0] or query.shape[0] != value.shape[0]:
        return False
    heads, keys, values = query.shape[1], key.shape[1], value.shape[1]
    if call.has_groups and groups:
        same = not same_values or keys == values
        return bool(same and heads % keys == 0 and heads % values == 0)
    return bool(heads == keys and heads == values)


def _are_of(call: Attention, dtypes: frozenset[torch.dtype]) -> bool:
    dtype = call.query.dtype
    return dtype in dtypes and call.key.dtype == dtype and call.value.dtype == dtype


def _fits_flash(call: Attention, device: Device) -> bool:
    if not _is_dense(call) or call.mask is not None or not _are_of(call, _HALF):
        return False
    query, key, value = call.query, call.key, call.value
    width = query.shape[-1]
    if width != key.shape[-1] or width != value.shape[-1] or width > _FLASH_MAX[device.backend]:
        return False
    if call.is_causal and query.shape[-2] != key.shape[-2]:
        return False
    return _heads_match(call, groups=True) and _has_entries(call) and _lie_in_rows(call)


def _fits_efficient(call: Attention, device: Device) -> bool:
    if not _is_dense(call) or not _are_of(call, _FUSED):
        return False
    query, key, value = call.query, call.key, call.value
    width, value_width = query.shape[-1], value.shape[-1]
    is_rocm = device.backend == "rocm"
    alignment = 8 if is_rocm or query.dtype in _HALF else 4
    if width != key.shape[-1] or width % alignment or value_width % alignment:
        return False
    if is_rocm and (width != value_width or width > 256):
        return False
    if is_rocm and call.mask is not None and call.mask.dtype not in {torch.bool, query.dtype}:
        return False
    return (
        bool(width > 0 and value_width > 0)
        and _heads_match(call, groups=False)
        and _has_entries(call)
        and _lie_in_rows(call)
    )


def _fits_cudnn(call: Attention, device: Device) -> bool:
    if device.backend != "cuda" or not _is_dense(call) or not _are_of(call, _HALF):
        return False
    strict = torch.are_deterministic_algorithms_enabled()
    if strict and not torch.is_deterministic_algorithms_warn_only_enabled():
        return False
    if call.dropout > 0 and (device.cudnn in _CUDNN_WITHOUT_DROPOUT or call.query.shape[2] == 1):
        return False
    return (
        _mask_fits_cudnn(call)
        and _has_entries(call)
        and _lie_in_rows(call)
        and _heads_match(call, groups=True, same_values=False)
        and _shapes_fit_cudnn(call, device)
    )


def _mask_fits_cudnn(call: Attention) -> bool:
    mask, query = call.mask, call.query
    if mask is None:
        return True
    if mask.requires_grad or mask.dim() not in {2, 4}:
        return False
    rows, columns = query.shape[2], call.key.shape[2]
    wanted = (query.shape[0], query.shape[1], rows, columns)[-mask.dim() :]
    return all(have in {1, need} for have, need in zip(mask.shape, wanted, strict=True))


def _shapes_fit_cudnn(call: Attention, device: Device) -> bool:
    batch, heads, _, width = call.query.shape
    value_width = call.value.shape[-1]
    wide = device.capability == (9, 0) or (
        device.capability[0] == 10 and device.cudnn > _CUDNN_WIDE_ON_ALL
    )
    most = 256 if wide else 128
    return bool(
        batch <= _CUDNN_MAX
        and heads <= _CUDNN_MAX
        and width <= most
        and value_width <= most
        and width % 8 == 0
        and value_width % 8 == 0
        and call.key.shape[2] != 1
    )
