"""What CUDA's kernels for attention request and free, in the order in which they do it.

Source: PyTorch 2.13 ``aten/src/ATen/native/transformers/cuda``: ``attention.cu``,
``attention_backward.cu``; ``flash_attn/flash_api.cpp`` (``mha_fwd``, ``mha_bwd``,
``set_params_splitkv``, ``num_splits_heuristic``); ``mem_eff_attention/kernel_forward.h``,
``kernel_backward.h`` (``workspace_size``), ``kernels/cutlassF.h``, ``cutlassB.h`` (sm80);
``native/cudnn/MHA.cpp``; cudnn-frontend ``scaled_dot_product_flash_attention.h``
(``get_fe_workspace_size_node``). An H200 (2.11.0+cu130) made the same requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import LaneError
from oom_suite.operators.steps import Give, Take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from oom_suite.operators.attention import Device
    from oom_suite.operators.steps import Step

    Steps = Iterator[Step]

_FLOAT_BYTES = 4
_SEED, _OFFSET = 6, 7
"""Places in the results of flash attention and of cuDNN's."""
_SEED_BYTES = 16
_SCALAR_BYTES = 8
_ROWS = 128
_MAX_SPLITS = 128
_HALF = frozenset({torch.float16, torch.bfloat16})
_HEAD = 4 * _FLOAT_BYTES
"""A lock, a counter and padding before each tile of the query's gradient."""
_MAX_HEADS_SPLIT = 200

_ENGINE_BYTES = 256
"""What cuDNN's engines ask for themselves, but for one row of queries. cuDNN is closed: this is
what an H200 (cuDNN 9.19) said for 26 kinds of calls, and each call is named as unseen besides.
"""

CUDNN_WORKSPACE = "cuDNN takes a workspace of its own choosing beside what torch asks it for"


def inside(name: str, args: Sequence[Any], result: Any, device: Device) -> tuple[Step, ...] | None:
    """What a call requests and frees, its results among it; None where that is not known.

    Args:
        name: the operator, as ``aten::_scaled_dot_product_flash_attention``.
        args: its arguments by position.
        result: what it returned.
        device: whose kernel runs.
    """
    steps = _STEPS.get(name) if device.backend == "cuda" else None
    if steps is None or (name.startswith(_CUDNN) and device.capability != (9, 0)):
        return None
    if name == _FLASH_FORWARD and (args[3] is not None or args[9]):
        # Rows of several lengths in one tensor, or scores that are kept.
        return None
    return tuple(steps(name, args, result, device))


def is_whole(name: str) -> bool:
    """Whether `inside` has all that such a call takes on CUDA."""
    return name in _STEPS and name.startswith(_SDPA) and not name.startswith(_CUDNN)


def is_partial(name: str) -> bool:
    """Whether cuDNN takes more in such a call than `inside` has."""
    return name.startswith(_CUDNN)


def _bytes(tensor: torch.Tensor) -> Any:
    return tensor.untyped_storage().nbytes()


def _up(number: Any, multiple: int) -> Any:
    return (number + multiple - 1) // multiple * multiple


def _results(op: str, result: Any, *places: int) -> Steps:
    for place in places:
        yield Take(place, _bytes(result[place]), op)


def _lies_by_rows(tensor: torch.Tensor) -> bool:
    """Whether [batch, heads, rows, width] is contiguous as [batch, rows, heads, width]."""
    expected: Any = 1
    for dim in (3, 1, 2, 0):
        if tensor.shape[dim] != 1 and tensor.stride(dim) != expected:
            return False
        expected = expected * tensor.shape[dim]
    return True


def _num_bytes(tensor: torch.Tensor) -> Any:
    return tensor.numel() * tensor.element_size()


def _rounded_width(width: Any) -> Any:
    return _up(width, 32 if width <= 128 else 64)


def _flash(op: str, args: Sequence[Any], result: Any, device: Device) -> Steps:
    query, key = args[:2]
    dropout = args[3] if len(args) > 3 else 0.0
    yield from _results(op, result, 0, 1)
    splits = 1 if dropout else _splits(query, key, device)
    if splits > 1:
        rows = splits * query.shape[0] * query.shape[1] * query.shape[2] * _FLOAT_BYTES
        yield Take("sums", rows, op)
        yield Take("parts", rows * _rounded_width(query.shape[3]), op)
    if dropout:
        yield Take("state", _SEED_BYTES, op)
        yield Take(_OFFSET, _SCALAR_BYTES, op)
        yield Take(_SEED, _SEED_BYTES, op)
        yield Give("state")
    else:
        yield Take(_SEED, _SEED_BYTES, op)
        yield Take(_OFFSET, _SCALAR_BYTES, op)
    if splits > 1:
        yield Give("sums")
        yield Give("parts")


def _flash_forward(op: str, args: Sequence[Any], result: Any, device: Device) -> Steps:
    """As `_flash`, of [batch, rows, heads, width]; seed and offset come third and fourth."""
    query, key, dropout = args[0].transpose(1, 2), args[1].transpose(1, 2), args[7]
    places = {_SEED: 2, _OFFSET: 3}
    moved = [result[0], result[1], None, None, None, None, result[2], result[3]]
    for step in _flash(op, (query, key, None, dropout), moved, device):
        if isinstance(step, Take) and isinstance(step.name, int):
            yield Take(places.get(step.name, step.name), step.num_bytes, op)
        else:
            yield step


def _splits(query: torch.Tensor, key: torch.Tensor, device: Device) -> int:
    """Among how many groups of blocks one row's keys are split, so that no processor idles.

    Raises:
        LaneError: sizes are symbols, and the rule is no formula in them.
    """
    batch, heads, rows, width = query.shape
    if rows == 1 and heads > key.shape[1]:
        # Heads that share a key are taken for rows.
        heads, rows = key.shape[1], heads // key.shape[1]
    num_blocks = batch * heads * ((rows + 63) // 64)
    slots = device.num_multiprocessors * 2
    if num_blocks >= 0.8 * slots:
        return 1
    block = 256 if width <= 64 else 128 if width <= 128 else 64
    key_blocks = (key.shape[2] + block - 1) // block
    if not isinstance(num_blocks, int) or not isinstance(key_blocks, int):
        raise LaneError(
            "flash attention splits keys among multiprocessors by a rule that is no formula"
        )
    return best_splits(num_blocks, slots, key_blocks)


def best_splits(num_blocks: int, slots: int, key_blocks: int) -> int:
    """The least number of splits that keeps processors as busy, but for 15 %, as the best does.

    Args:
        num_blocks: blocks of rows without splits; they do not fill the slots.
        slots: blocks that run at once.
        key_blocks: blocks of keys, the most splits there can be.
    """
    busy = {}
    for splits in range(1, min(_MAX_SPLITS, slots, key_blocks) + 1):
        if splits == 1 or -(-key_blocks // splits) != -(-key_blocks // (splits - 1)):
            waves = num_blocks * splits / slots
            busy[splits] = waves / -(-(num_blocks * splits) // slots)
    best = max(busy.values(), default=0.0)
    return next((splits for splits, each in busy.items() if each >= 0.85 * best), 1)


def _flash_backward(op: str, args: Sequence[Any], result: Any, device: Device) -> Steps:
    grad, query, key, _, out = args[:5]
    copied = [name for name, each in (("grad", grad), ("out", out)) if not _lies_by_rows(each)]
    for name in copied:
        yield Take(name, _num_bytes(grad if name == "grad" else out), op)
    yield from _results(op, result, 0, 1, 2)
    batch, heads, rows, width = query.shape
    padded = batch * heads * _up(rows, _ROWS) * _FLOAT_BYTES
    yield Take("sums", padded, op)
    yield Take("query", _parts(batch * heads, device) * padded * _rounded_width(width), op)
    shares = key.shape[1] != heads
    if shares:
        expanded = batch * heads * key.shape[2] * width * key.element_size()
        yield Take("keys", expanded, op)
        yield Take("values", expanded, op)
        yield Give("values")
        yield Give("keys")
    yield Give("query")
    yield Give("sums")
    for name in reversed(copied):
        yield Give(name)


def _parts(num_heads: Any, device: Device) -> Any:
    """Copies of the query's gradient that are summed in order, where the code wants one result."""
    strict = torch.are_deterministic_algorithms_enabled()
    if not strict or torch.is_deterministic_algorithms_warn_only_enabled():
        return 1
    return (device.num_multiprocessors + num_heads - 1) // num_heads


def _efficient(op: str, args: Sequence[Any], result: Any, _device: Device) -> Steps:
    query, value, keeps_sums = args[0], args[2], args[4]
    yield from _results(op, result, 0, *((1,) if keeps_sums else ()))
    if query.dtype in _HALF and value.shape[3] > 128:
        rows = query.shape[0] * query.shape[1] * query.shape[2]
        yield Take("sums", rows * value.shape[3] * _FLOAT_BYTES, op)
        yield Give("sums")


def _efficient_forward(op: str, args: Sequence[Any], result: Any, _device: Device) -> Steps:
    """Sizes are [batch, rows, heads, width]; the seed is on the host."""
    query, value, keeps_sums = args[0], args[2], len(args) > 10 and args[10]
    yield from _results(op, result, 0, *((1,) if keeps_sums else ()))
    if query.dtype in _HALF and value.shape[3] > 128:
        rows = query.shape[0] * query.shape[1] * query.shape[2]
        yield Take("sums", rows * value.shape[3] * _FLOAT_BYTES, op)
        yield Give("sums")


def _efficient_backward(op: str, args: Sequence[Any], result: Any, _device: Device) -> Steps:
    grad, query, key, value, bias = args[:5]
    wants_bias = bias is not None and args[10][3]
    is_copied = not _lies_by_rows(grad)
    if is_copied:
        yield Take("grad", _num_bytes(grad), op)
    yield from _results(op, result, 0, 1, 2, *((3,) if wants_bias else ()))
    rows = query.shape[0] * query.shape[1] * query.shape[2] * _FLOAT_BYTES
    if query.dtype in _HALF:
        yield Take("delta", rows, op)
    else:
        yield Take("products", rows * value.shape[3], op)
        yield Take("delta", rows, op)
        if query.shape[1] != 1 and query.shape[2] != 1:
            yield Take("turned", rows, op)
            yield Give("delta")
            yield Give("products")
            yield Take("workspace", _workspace(query, key, value), op)
            yield Give("turned")
        else:
            yield Give("products")
            yield Take("workspace", _workspace(query, key, value), op)
            yield Give("delta")
    if query.dtype in _HALF:
        yield Take("workspace", _workspace(query, key, value), op)
        yield Give("delta")
    yield Give("workspace")
    if is_copied:
        yield Give("grad")


def _workspace(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Any:
    """Tiles of the gradients, which several blocks add to."""
    batch, heads, rows, width = query.shape
    widest = width if width >= value.shape[3] else value.shape[3]
    is_half = query.dtype in _HALF
    block_rows, block_keys = (64, 64) if widest <= 64 else (128, 64)
    if is_half and 64 < widest <= 128:
        block_keys = 128
    tile = (_HEAD + block_rows * block_keys * _FLOAT_BYTES) // _FLOAT_BYTES
    row_tiles = (rows + block_rows - 1) // block_rows
    elements = row_tiles * ((width + block_keys - 1) // block_keys) * tile
    if is_half and widest > 128:
        splits = _key_splits(batch * heads, key.shape[2], block_keys)
        both = _up(width, block_rows) + _up(value.shape[3], block_rows)
        elements = elements + splits * block_keys * both
    return batch * heads * _up(elements, 4) * _FLOAT_BYTES


def _key_splits(num_heads: Any, num_keys: Any, block_keys: int) -> Any:
    strict = torch.are_deterministic_algorithms_enabled()
    if strict and not torch.is_deterministic_algorithms_warn_only_enabled():
        return 1
    if num_heads >= 256 and num_keys <= 2 * block_keys:
        return 1
    by_keys, by_heads = (num_keys + block_keys - 1) // block_keys, _MAX_HEADS_SPLIT // num_heads
    splits = by_keys if by_keys <= by_heads else by_heads
    return splits if splits >= 1 else 1


def _cudnn(op: str, args: Sequence[Any], result: Any, _device: Device) -> Steps:
    yield Take(_SEED, _SCALAR_BYTES, op)
    yield Take(_OFFSET, _SCALAR_BYTES, op)
    yield from _results(op, result, 0, *((1,) if args[4] else ()))
    if args[0].shape[2] != 1:
        yield Take("workspace", _ENGINE_BYTES, op)
        yield Give("workspace")


def _cudnn_backward(op: str, args: Sequence[Any], result: Any, _device: Device) -> Steps:
    """The query's gradient in float32 and its rows' sums are the frontend's.

    Where heads share a key, the gradients of all heads are the engine's own: as large at least.
    """
    grad, query, key, value, out = args[:5]
    is_copied = grad.stride() != out.stride()
    if is_copied:
        yield Take("grad", _num_bytes(grad), op)
    yield from _results(op, result, 0, 1, 2)
    batch, heads, rows, width = query.shape
    size = _ENGINE_BYTES + batch * heads * rows * (width + 1) * _FLOAT_BYTES
    if key.shape[1] != heads:
        size = size + batch * heads * key.shape[2] * width * key.element_size()
    if value.shape[1] != heads:
        size = size + batch * heads * key.shape[2] * value.shape[3] * value.element_size()
    yield Take("workspace", size, op)
    yield Give("workspace")
    if is_copied:
        yield Give("grad")


_SDPA = "aten::_scaled_dot_product_"
_FLASH_FORWARD = "aten::_flash_attention_forward"
_CUDNN = f"{_SDPA}cudnn_attention"
_STEPS: dict[str, Callable[[str, Sequence[Any], Any, Device], Steps]] = {
    _FLASH_FORWARD: _flash_forward,
    "aten::_efficient_attention_forward": _efficient_forward,
    f"{_SDPA}flash_attention": _flash,
    f"{_SDPA}flash_attention_backward": _flash_backward,
    f"{_SDPA}efficient_attention": _efficient,
    f"{_SDPA}efficient_attention_backward": _efficient_backward,
    _CUDNN: _cudnn,
    f"{_CUDNN}_backward": _cudnn_backward,
}
