"""What torch itself requests in a convolution on CUDA; cuDNN's workspace comes on top, at most.

Which plan runs is cuDNN's choice: torch takes the first of those that cuDNN proposes which runs,
and limits its workspace by nothing but the memory that is free. It is bounded by what is documented
of cuDNN's algorithms, and is a name where that bounds nothing. Depthwise convolutions in two
dimensions have a kernel of torch's own, which takes none.

Source: PyTorch 2.11 and 2.13 ``aten/src/ATen/native/Convolution.cpp`` (``use_cudnn_depthwise``,
``is_depthwise``, ``_convolution``, ``convolution_backward``), ``ConvUtils.h``
(``cudnn_conv_suggest_memory_format``), ``cudnn/ConvShared.cpp``, ``cudnn/Conv_v8.cpp``
(``get_plans_from_heuristics``, ``try_plans``), ``cuda/DepthwiseConv2d.cu``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.operators.cuda.cudnn import (
    FORWARD,
    OF_FILTER,
    OF_INPUT,
    Convolution,
    Workspace,
    workspace,
)
from oom_suite.operators.cuda.reductions import summed
from oom_suite.operators.kernels import num_bytes
from oom_suite.operators.operands import tensors
from oom_suite.operators.steps import Give, Take
from oom_suite.records.libraries import CUDNN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oom_suite.operators.kernels import Call, Kernels
    from oom_suite.operators.steps import Step

WITH_WORKSPACE = frozenset({"aten::convolution", "aten::convolution_backward"})
"""Operators whose steps leave out what cuDNN takes, but for calls that are `is_whole`."""

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_NUM_ARGUMENTS = {"aten::convolution": 9, "aten::convolution_backward": 11}
_MOST_ENTRIES = 2**31 - 1


class _Convolution:
    """One call, forward or backward, by what both are given."""

    def __init__(self, x: torch.Tensor, weight: torch.Tensor, rest: tuple[Any, ...]) -> None:
        self.x, self.weight = x, weight
        self.stride, self.dilation = tuple(rest[0]), tuple(rest[2])
        self.is_transposed, self.groups = bool(rest[3]), int(rest[5])

    @property
    def layout(self) -> torch.memory_format:
        """How cuDNN is given its operands."""
        return layout_of(self.x, self.weight)

    @property
    def is_own(self) -> bool:
        """Whether torch's own kernel for depthwise convolutions runs."""
        channels = self.x.shape[1]
        return (
            not self.is_transposed
            and self.weight.dim() in {3, 4}
            and channels == self.groups > 1
            and self.weight.shape[0] % channels == 0
            and self.x.dtype is not torch.float16
            and self.layout is torch.contiguous_format
            and max(self.x.numel(), self.weight.numel()) <= _MOST_ENTRIES
        )

    def workspace(self, written: torch.Tensor, what: str, kernels: Kernels) -> Workspace | None:
        """What cuDNN takes at most, where a call without its gradients writes so."""
        if self.is_own:
            return Workspace(0)
        reads, writes = (written, self.x) if self.is_transposed else (self.x, written)
        if self.is_transposed:
            # The filter reads what a transposed convolution writes.
            what = {FORWARD: OF_INPUT, OF_INPUT: FORWARD}.get(what, what)
        found = Convolution(
            inputs=tuple(reads.shape),
            filters=tuple(self.weight.shape[2:]),
            outputs=tuple(writes.shape),
            groups=self.groups,
            is_dense=all(each == 1 for each in (*self.stride, *self.dilation)),
            dtype=self.x.dtype,
        )
        return workspace(found, what, kernels)


def layout_of(one: torch.Tensor, other: torch.Tensor) -> torch.memory_format:
    """Channels last where either of two operands of cuDNN lies so."""
    last = _LAST.get(one.dim())
    if last is None or torch.float64 in {one.dtype, other.dtype}:
        return torch.contiguous_format
    return last if _lies(one, last) or _lies(other, last) else torch.contiguous_format


def is_whole(call: Call) -> bool:
    """Whether the steps of a call of `WITH_WORKSPACE` are, or bound, all that it takes on CUDA."""
    if not _is_plain(call):
        return False
    found = _of(call.op, call.args)
    written, asked = call.args[0], [OF_INPUT, OF_FILTER]
    if call.op == "aten::convolution":
        written, asked = call.result, [FORWARD]
    else:
        asked = [what for what, is_wanted in zip(asked, call.args[10], strict=False) if is_wanted]
    spaces = [found.workspace(written, what, call.kernels) for what in asked]
    return all(space is not None and space.is_whole for space in spaces)


def _is_plain(call: Call) -> bool:
    """Whether it is CUDA's, and has all arguments by position, as torch calls it."""
    return call.kernels.backend == "cuda" and len(call.args) == _NUM_ARGUMENTS[call.op]


def _of(name: str, args: tuple[Any, ...]) -> _Convolution:
    if name == "aten::convolution":
        return _Convolution(args[0], args[1], args[3:])
    return _Convolution(args[1], args[2], args[4:])


def _lies(tensor: torch.Tensor, last: torch.memory_format) -> bool:
    return not tensor.is_contiguous() and tensor.is_contiguous(memory_format=last)


def _as(tensor: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """A tensor of the same sizes that lies so."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta", memory_format=layout)


def _copy(
    call: Call, tensor: torch.Tensor, name: str, layout: torch.memory_format
) -> tuple[list[Step], list[Step]]:
    """The request of a copy where a tensor does not lie as it should, and its free."""
    if tensor.is_contiguous(memory_format=layout):
        return [], []
    return [Take(name, num_bytes(tensor), call.op)], [Give(name)]


def _forward(call: Call) -> Iterable[Step] | None:
    if not _is_plain(call) or not call.input.numel():
        return None
    found = _of(call.op, call.args)
    x, end_x = _copy(call, found.x, "input", found.layout)
    weight, end_weight = _copy(call, found.weight, "weight", found.layout)
    space = _workspace(call, found, call.result, FORWARD)
    return [*x, *call.results(), *weight, *space, *end_weight, *end_x]


def _workspace(call: Call, found: _Convolution, written: torch.Tensor, what: str) -> Iterable[Step]:
    """A request that is given back at once; nothing where it has a name alone."""
    taken = found.workspace(written, what, call.kernels)
    if taken is None or not taken.num_bytes:
        return ()
    return Take(CUDNN, taken.num_bytes, CUDNN, is_bound=True), Give(CUDNN)


def _backward(call: Call) -> Iterable[Step] | None:
    if not _is_plain(call) or not call.args[1].numel():
        return None
    found, gradient, wanted = _of(call.op, call.args), call.args[0], call.args[10]
    places = [place for place in range(3) if wanted[place]]
    sizes = [each.untyped_storage().nbytes() for each in tensors(call.result)]
    if len(sizes) != len(places):
        return None
    takes = {place: Take(number, sizes[number], call.op) for number, place in enumerate(places)}
    x, end_x = _copy(call, found.x, "input", found.layout) if wanted[1] else ([], [])
    whole, end, laid = _whole_gradient(call, found, gradient)
    steps: list[Step] = [*x, *whole]
    for place in (half for half in ((1, 0) if found.is_own else (0, 1)) if wanted[half]):
        other = found.x if place else found.weight
        layout = found.layout if found.is_own else layout_of(laid, other)
        part, end_part = _copy(call, laid, "part", layout)
        steps += [*part, takes[place]] if place else [takes[place], *part]
        if not place:
            weight, end_weight = _copy(call, found.weight, "weight", layout)
            steps += [*weight, *_workspace(call, found, gradient, OF_INPUT), *end_weight]
        else:
            steps += _workspace(call, found, gradient, OF_FILTER)
        steps += end_part
    steps += [*end, *end_x]
    if wanted[2]:
        dims = [dim for dim in range(gradient.dim()) if dim != 1]
        steps += [takes[2], *summed(gradient, dims, gradient.dtype, call)]
    return steps


def _whole_gradient(
    call: Call, found: _Convolution, gradient: torch.Tensor
) -> tuple[list[Step], list[Step], torch.Tensor]:
    """A copy for both halves, where one is made: its request, its free, and what they are given."""
    layout = layout_of(found.x, found.x)
    is_kept = found.is_own or found.is_transposed or layout_of(gradient, gradient) != layout
    if not is_kept or gradient.is_contiguous(memory_format=layout):
        return [], [], gradient
    return *_copy(call, gradient, "gradient", layout), _as(gradient, layout)


FORMULAS: dict[str, Callable[[Call], Iterable[Step] | None]] = {
    "aten::convolution": _forward,
    "aten::convolution_backward": _backward,
}
