"""What operators allocate inside their kernels, where dispatch cannot see it.

Three answers, per operator: its kernel is a composition of visible operators (then the
recorder looks inside, and the scratch is in the trace to the byte); its amount is not defined
by the sizes alone (then every call is flagged `Unseen`); or, for all others, there is none.
"""

from __future__ import annotations

import torch

_COMPOSED_NAMES = (
    # A float temporary as large as the input: (self - max).exp_().
    "aten::logsumexp",
    "aten::logsumexp.out",
    "aten::_safe_softmax",
    "aten::binary_cross_entropy_with_logits",
    "aten::dist",
    "aten::isinf",
)
_COMPOSITE_KEYS = ("CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional")


def _composed() -> dict[str, torch._C.DispatchKey]:
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key  # noqa: SLF001 - no public name
    return {
        name: getattr(torch._C.DispatchKey, key)  # noqa: SLF001
        for name in _COMPOSED_NAMES
        for key in _COMPOSITE_KEYS
        if has_kernel(name, key) and not has_kernel(name, "CPU")
    }


COMPOSED = _composed()
"""Operators without a kernel of their own on CPU, CUDA or HIP: composed of visible ones.

The value is the dispatch key that holds the composition. Only what this torch really composes
is listed: calling a kernel that is not there would crash the process.

Source: PyTorch 2.13 ``native_functions.yaml`` and ``aten/src/ATen/native/ReduceOps.cpp``,
``logsumexp_out_impl``.
"""

_SORTS = "sorts with device-wide scratch: keys, indices and a radix-sort workspace"
_SCANS = "scans with a workspace of the size that CUB or rocPRIM asks for"
_LIBRARY = "a library kernel with a workspace of its own choosing"

UNSEEN: dict[str, str] = {
    "aten::_unique": _SORTS,
    "aten::_unique2": _SORTS,
    "aten::unique_dim": _SORTS,
    "aten::unique_consecutive": _SCANS,
    "aten::unique_dim_consecutive": _SCANS,
    "aten::sort": _SORTS,
    "aten::argsort": _SORTS,
    "aten::msort": _SORTS,
    "aten::topk": "selects in one block per row, or sorts when rows are long",
    "aten::kthvalue": _SORTS,
    "aten::median": _SORTS,
    "aten::mode": _SORTS,
    "aten::bincount": "counts in a histogram workspace",
    "aten::histc": "counts in a histogram workspace",
    "aten::nonzero": _SCANS,
    "aten::masked_select": _SCANS,
    "aten::cumsum": _SCANS,
    "aten::cumprod": _SCANS,
    "aten::cummax": _SCANS,
    "aten::cummin": _SCANS,
    "aten::_embedding_bag": _SORTS,
    "aten::embedding_dense_backward": _SORTS,
    "aten::convolution": _LIBRARY,
    "aten::convolution_backward": _LIBRARY,
    "aten::cudnn_convolution": _LIBRARY,
    "aten::miopen_convolution": _LIBRARY,
    "aten::_scaled_dot_product_flash_attention": _LIBRARY,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _LIBRARY,
    "aten::_scaled_dot_product_efficient_attention": _LIBRARY,
    "aten::_scaled_dot_product_cudnn_attention": _LIBRARY,
    "aten::_flash_attention_forward": _LIBRARY,
    "aten::_efficient_attention_forward": _LIBRARY,
    "aten::_fft_c2c": _LIBRARY,
    "aten::_fft_r2c": _LIBRARY,
    "aten::_fft_c2r": _LIBRARY,
    "aten::linalg_qr": _LIBRARY,
    "aten::_linalg_svd": _LIBRARY,
    "aten::_linalg_eigh": _LIBRARY,
}
"""Operators whose kernels take scratch that no size fixes, and the kind of scratch.

Source: PyTorch 2.13 ``aten/src/ATen/native/cuda/`` (``Unique.cu``, ``Sort.cpp``,
``Nonzero.cu``, ``ScanKernels.cpp``, ``Embedding.cu``).
"""

_NON_CONTIGUOUS_SOFTMAX = "copies a non-contiguous input before it normalises"


def unseen_reason(func: torch._ops.OpOverload, args: tuple[object, ...]) -> str | None:
    """Why this call may take scratch that the trace does not show; None when it takes none."""
    name = func._schema.name  # noqa: SLF001 - the schema has no public accessor
    reason = UNSEEN.get(name)
    if reason is None and name in {"aten::_softmax", "aten::_log_softmax"}:
        first = args[0]
        if isinstance(first, torch.Tensor) and not first.is_contiguous():
            return _NON_CONTIGUOUS_SOFTMAX
    if reason is None and name in {"aten::index_put_", "aten::_index_put_impl_"}:
        accumulate = len(args) > 3 and bool(args[3])  # noqa: PLR2004 - position in the schema
        return _SORTS if accumulate else None
    return reason


HOST_READS = frozenset({"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"})
"""Operators that give a value of device data to the host, which waits for the device."""

SHAPE_READS = frozenset(
    {
        "aten::_unique",
        "aten::_unique2",
        "aten::masked_select",
        "aten::nonzero",
        "aten::unique_consecutive",
        "aten::unique_dim",
        "aten::unique_dim_consecutive",
    }
)
"""Operators whose result's shape depends on values, so that the host waits to learn it."""
