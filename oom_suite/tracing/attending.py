"""Runs attention, RMS norm and one-hot codes on fake tensors as torch makes them on the target."""

from __future__ import annotations

import contextlib
import functools
import math
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.nn.functional as F
from packaging.version import Version

from oom_suite.operators import attention_steps as attention_steps_of
from oom_suite.operators import cpu, norm_steps
from oom_suite.operators.attention import Attention, Device, choice
from oom_suite.operators.kernels import Call, Kernels
from oom_suite.operators.steps import Take
from oom_suite.torch_compat import library_layers
from oom_suite.torch_compat.attention import (
    CUDNN,
    EFFICIENT,
    FLASH,
    cudnn_attention,
    efficient_attention,
    flash_attention,
)
from oom_suite.torch_compat.dispatch import COMPOSED_IMPLICITLY, has_kernel, run_kernel
from oom_suite.torch_compat.fakes import FakeTensor
from oom_suite.tracing import batch_norm, gradients, recurrent
from oom_suite.tracing.eager_forms import math_attention
from oom_suite.tracing.rms_norm import is_fused, rms_norm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from oom_suite.operators.steps import Step
    from oom_suite.targets.target import Target

_WHOLE_NORM = torch.ops.aten.rms_norm.default
_WHOLE = torch.ops.aten.scaled_dot_product_attention.default
_WHOLE_ONE_HOT = torch.ops.aten.one_hot.default
_ONE_HOT = "aten::one_hot"
_FUSED_NORM = "aten::_fused_rms_norm_backward"
_PRODUCTS = {"prod": torch.ops.aten.prod.default, "prod.dim_int": torch.ops.aten.prod.dim_int}
_WHOLE_ON_GPUS = ("aten::silu_backward", "aten::mish_backward")
"""One kernel each on a GPU. A build without GPUs has none there, and takes them apart.

Source: PyTorch 2.13 ``aten/src/ATen/native/native_functions.yaml``.
"""
_BIAS_ALIGNMENT = 8
_WIDTH_ALIGNMENT = 8

_CPU = Kernels("cpu", "", 0, 0, 0)

_device: Device | None = None
_kernels: Kernels | None = None
_device_type = ""


def device_of_target(target: Target) -> Device | None:
    """What decides the kernel; None where the target has none of its own."""
    if target.backend not in {"cuda", "rocm"}:
        return None
    return Device(target.backend, target.capability, target.num_multiprocessors, target.dnn_version)


def own_steps(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> tuple[Step, ...] | None:
    """What the target's kernel requests in that call; None where no target was named."""
    if _device_type == "cpu":
        return cpu.inside(Call(name, args, kwargs, result, _CPU))
    if _device is None:
        return None
    of_attention = attention_steps_of.inside(name, args, result, _device)
    return of_attention or norm_steps.inside(name, args, result, _device, _kernels)


def is_taken(name: str) -> bool:
    """Whether what torch composes of other operators is made here now, as the target makes it."""
    return _device is not None or (name == _ONE_HOT and bool(_device_type))


def explains(family: str) -> bool:
    """Whether all that a call of an operator takes is known for the device that was named."""
    if _device is None:
        return False
    whole = _device.backend == "cuda" and attention_steps_of.is_whole(family)
    return whole or family == "aten::_safe_softmax"


def is_partial(family: str) -> bool:
    """Whether a library takes more in a call of attention than its formula has."""
    return _device is not None and attention_steps_of.is_partial(family)


@contextlib.contextmanager
def kernels_on(target: Target, kernels: Kernels | None = None) -> Iterator[None]:
    """While active, operators on fake tensors take the target's kernels, as far as it has its own.

    Where gradients are possible, torch takes attention apart above dispatch, where no mode looks:
    so it is replaced there.

    Args:
        target: whose.
        kernels: the same, where all is wanted that they take inside.
    """
    global _device, _device_type, _kernels
    _replace()
    before = _device, _device_type, _kernels
    _kernels = kernels
    _device = device_of_target(target)
    _device_type = "cpu" if target.backend == "cpu" else "cuda"
    try:
        yield
    finally:
        _device, _device_type, _kernels = before


@functools.cache
def _replace() -> Any:
    """Take these calls before torch takes them apart, once in a process."""
    # torch does not annotate its library of operators.
    open_library: Any = torch.library.Library
    library = open_library("aten", "IMPL")
    for name, function in REPLACED.items():
        library.impl(name.removeprefix("aten::"), function, "AutogradCUDA")
    library.impl("one_hot", one_hot, "AutogradCPU")
    for name, func in _PRODUCTS.items():
        library.impl(name, gradients.product(func, lambda: _device is not None), "AutogradCUDA")
    for name in _WHOLE_ON_GPUS:
        if not has_kernel(name, "CUDA"):
            library.impl(name.removeprefix("aten::"), _only_on_fakes, "CUDA")
    return library


def _only_on_fakes(*_: object) -> NoReturn:
    # A mode that knows fakes comes before every kernel.
    raise NotImplementedError("this build of torch has no kernels for a GPU")


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """`torch.nn.functional.scaled_dot_product_attention` as the target does it.

    Source: PyTorch 2.13 ``aten/src/ATen/native/transformers/attention.cpp``.
    """
    call = Attention(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa)
    fits = isinstance(query, FakeTensor) and (attn_mask is None or not is_causal)
    kernel = choice(call, _device) if _device is not None and fits else None
    if kernel == FLASH:
        width = query.shape[-1]
        padded = [_padded(each, _WIDTH_ALIGNMENT) for each in (query, key, value)]
        result = flash_attention(*padded, dropout_p, is_causal, False, scale=scale)[0]
        return result if result.shape[-1] == width else result[..., :width]
    bias = _as_bias(attn_mask, query.dtype) if kernel in {CUDNN, EFFICIENT} else None
    if kernel == CUDNN:
        return cudnn_attention(
            query, key, value, bias, call.needs_gradients, dropout_p, is_causal, False, scale=scale
        )[0]
    if kernel == EFFICIENT:
        if bias is not None:
            last = bias.shape[-1]
            aligned = _padded(bias, _BIAS_ALIGNMENT)
            bias = aligned if aligned is bias else aligned[..., :last]
            bias = bias.expand(*query.shape[:-1], key.shape[-2])
        return efficient_attention(
            query, key, value, bias, call.needs_gradients, dropout_p, is_causal, scale=scale
        )[0]
    args = (query, key, value, attn_mask, dropout_p, is_causal)
    kwargs = {"scale": scale, "enable_gqa": enable_gqa}
    with math_attention():
        return run_kernel(_WHOLE, COMPOSED_IMPLICITLY, args, kwargs)


def _padded(tensor: torch.Tensor, alignment: int) -> torch.Tensor:
    missing = -tensor.shape[-1] % alignment
    return F.pad(tensor, (0, missing)) if missing else tensor


def _as_bias(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """What is added to the scores."""
    if mask is None or mask.dtype is not torch.bool:
        return mask
    scalar = functools.partial(torch.scalar_tensor, dtype=dtype, device=mask.device)
    return torch.where(mask, scalar(0.0), scalar(-math.inf))


def normalise(
    x: torch.Tensor,
    normalized_shape: list[int],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> Any:
    """`torch.nn.functional.rms_norm` as the target does it."""
    if _device is not None and isinstance(x, FakeTensor) and is_fused(x, weight):
        columns = math.prod(normalized_shape)
        parts = norm_steps.num_parts(x.numel() // columns, columns, _device)
        shared = []
        if weight is not None and isinstance(parts, int) and parts:
            steps = norm_steps.sum_of_parts(parts, weight, _kernels, _FUSED_NORM)
            shared = [step.num_bytes for step in steps if isinstance(step, Take)]
        return rms_norm(x, normalized_shape, weight, parts, shared)
    args = (x, normalized_shape, weight, eps)
    return run_kernel(_WHOLE_NORM, COMPOSED_IMPLICITLY, args, {})


def normalise_batch(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean: torch.Tensor | None,
    variance: torch.Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Any:
    """`torch.nn.functional.batch_norm` as the target does it."""
    is_cuda = _device is not None and _device.backend == "cuda" and isinstance(x, FakeTensor)
    running = (mean, variance)
    if (
        is_cuda
        and weight is not None
        and bias is not None
        and batch_norm.takes_cudnn(x, weight, running, training=training)
    ):
        return batch_norm.cudnn_batch_norm(
            x, weight, bias, running, training=training, momentum=momentum, epsilon=eps
        )
    args = (x, weight, bias, mean, variance, training, momentum, eps, cudnn_enabled)
    return run_kernel(library_layers.batch_norm, COMPOSED_IMPLICITLY, args, {})


_ASKS_ONCE = Version(torch.__version__).release[:2] >= (2, 13)
"""Whether the smallest and the largest index are asked for at once: 2.11 asks for each."""


def _highest(index: torch.Tensor) -> torch.Tensor:
    """The largest, after the smallest, which is read and gone."""
    index.min()
    return index.max()


def one_hot(index: torch.Tensor, num_classes: int = -1) -> Any:
    """`torch.nn.functional.one_hot` as torch makes it of real tensors: it writes ones into zeros.

    Fakes it compares with a range instead, which takes more.
    Source: PyTorch 2.13 ``aten/src/ATen/native/Onehot.cpp``; 2.11 has two reductions on a CPU.
    """
    is_fake = bool(_device_type) and isinstance(index, FakeTensor)
    if not is_fake or index.dtype is not torch.int64 or index.numel() == 0:
        return run_kernel(_WHOLE_ONE_HOT, COMPOSED_IMPLICITLY, (index, num_classes), {})
    if _device_type == "cpu":
        # The values are held against the number of classes.
        highest = torch.aminmax(index).max if _ASKS_ONCE else _highest(index)
        num_classes = int(highest.item()) + 1 if num_classes == -1 else num_classes
        del highest
    elif num_classes == -1:
        num_classes = int(index.max().item()) + 1
    made = torch.zeros((*index.shape, num_classes), dtype=index.dtype, device=index.device)
    return made.scatter_(-1, index.unsqueeze(-1), 1)


def _recurrent(name: str, *, is_packed: bool) -> Callable[..., Any]:
    """`torch.nn.LSTM` and its likes as the target's library does them."""
    mode = recurrent.MODES[name]
    itself = getattr(getattr(torch.ops.aten, name), "data" if is_packed else "input")

    def run(x: torch.Tensor, *args: Any) -> Any:
        fits = _device is not None and isinstance(x, FakeTensor) and recurrent.is_taken(x)
        if _device is None or not fits:
            return run_kernel(itself, COMPOSED_IMPLICITLY, (x, *args), {})
        library = "cudnn" if _device.backend == "cuda" else "miopen"
        batch_sizes = args[0].tolist() if is_packed else ()
        hidden, *settings = args[1:] if is_packed else args
        hidden = (hidden,) if isinstance(hidden, torch.Tensor) else hidden
        settings = [*settings, False] if is_packed else settings
        return recurrent.whole(library, mode, x, hidden, settings, batch_sizes)

    return run


REPLACED: dict[str, Callable[..., Any]] = {
    "aten::cumprod_backward": gradients.running_product(lambda: _device is not None),
    "aten::_batch_norm_impl_index": normalise_batch,
    "aten::rms_norm": normalise,
    "aten::scaled_dot_product_attention": attend,
    _ONE_HOT: one_hot,
    **{f"aten::{name}.input": _recurrent(name, is_packed=False) for name in recurrent.MODES},
    **{f"aten::{name}.data": _recurrent(name, is_packed=True) for name in recurrent.MODES},
}
"""What torch composes of other operators, and a GPU has kernels of its own for."""
