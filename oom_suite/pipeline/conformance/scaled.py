"""Calls at sizes that matter, of every operator that takes scratch: a readable list.

Each is made with few long rows and with many short ones, in float32 and bfloat16, forward and,
where it has a gradient, as a training step.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from oom_suite.pipeline.conformance.cases import Case, short
from oom_suite.pipeline.conformance.making import SHORT, Call, Make
from oom_suite.pipeline.conformance.training import trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from oom_suite.pipeline.conformance.cases import Cases, Unit

NUM_ELEMENTS = {"cpu": (10_000, 1 << 16), "cuda": (10_000, 1_500_000, 1 << 24)}
"""Elements of the main input; a CPU takes minutes for the largest."""

_DTYPES = (torch.float32, torch.bfloat16)
_SHAPES = ("long rows", "many rows")
_NUM_LONG = 4


def _alone(given: Callable[[Make], Any], run: Callable[..., object]) -> Call:
    return Call(run, given, is_alone=True)


def _rows(make: Make) -> torch.Tensor:
    """A row for every row."""
    return make.ints(make.rows, make.rows)


def _columns(make: Make) -> torch.Tensor:
    """A column for every element."""
    return make.ints(make.width)


def _classes(make: Make) -> torch.Tensor:
    """A class for every row."""
    return make.ints(make.width, make.rows)


def _weight(make: Make) -> torch.Tensor:
    """A number for every column."""
    return make.x(make.width)


def _mask(make: Make) -> torch.Tensor:
    return make.mask()


def _images(make: Make) -> torch.Tensor:
    return make.images()


def _module(kind: Callable[..., torch.nn.Module], *args: Any) -> Call:
    """A module on images."""
    return _alone(lambda m: (m.module(kind, *args), m.images()), lambda given: given[0](given[1]))


def _attention(*, masked: bool = False, num_heads: int = 8, **options: Any) -> Call:
    def given(make: Make) -> tuple[torch.Tensor, ...]:
        query = make.heads()
        batch, _, length, width = query.shape
        keys, values = (make.x(batch, num_heads, length, width) for _ in range(2))
        return query, keys, values, *((make.mask(1, 1, length, length),) if masked else ())

    return _alone(given, lambda given: F.scaled_dot_product_attention(*given, **options))


WITHOUT_GRADIENT: dict[str, Call] = {
    "argsort": Call(lambda x: x.argsort(-1)),
    "argmax": Call(lambda x: x.argmax(-1)),
    "argmax of all": Call(lambda x: x.argmax()),
    "sort of integers": _alone(lambda m: m.ints(1 << 20), lambda n: n.sort(-1)),
    "unique": _alone(lambda m: m.ints(1000), torch.unique),
    "unique with inverse": _alone(
        lambda m: m.ints(1000), lambda n: torch.unique(n, return_inverse=True)
    ),
    "unique with counts": _alone(
        lambda m: m.ints(1000), lambda n: torch.unique(n, return_counts=True)
    ),
    "unique_consecutive": _alone(lambda m: m.ints(1000), torch.unique_consecutive),
    "bincount": _alone(lambda m: m.ints(1000).flatten(), torch.bincount),
    "histc": Call(lambda x: x.float().histc(100)),
    "searchsorted": Call(lambda x: torch.searchsorted(x, x)),
    "bucketize": Call(torch.bucketize, lambda m: m.x(100)),
    "isin": _alone(lambda m: m.ints(1 << 20), lambda n: torch.isin(n, n[0])),
    "multinomial": Call(lambda x: torch.multinomial(x, 1)),
    "multinomial of many": Call(lambda x: torch.multinomial(x, 8)),
    "multinomial with replacement": Call(lambda x: torch.multinomial(x, 8, replacement=True)),
    "bernoulli": Call(torch.bernoulli),
    "embedding, rows made shorter": _alone(
        lambda m: (m.ints(m.rows, m.rows), m.x(m.rows, m.width).detach()),
        lambda given: F.embedding(given[0], given[1], max_norm=1.0),
    ),
    "exponential": Call(lambda x: torch.empty_like(x).exponential_()),
    "randperm": Call(lambda x: torch.randperm(x.numel(), device=x.device)),
    "cumsum of integers": _alone(lambda m: m.ints(5), lambda n: n.cumsum(-1)),
    "count_nonzero": Call(lambda x: x.count_nonzero()),
    "count_nonzero of rows": Call(lambda x: x.count_nonzero(-1)),
    "any": Call(lambda x: (x > 0.5).any()),
    "all of rows": Call(lambda x: (x > 0.5).all(-1)),
    "nonzero": _alone(_mask, torch.nonzero),
    "where": _alone(_mask, torch.where),
    "one_hot": _alone(lambda m: m.ints(8), lambda n: F.one_hot(n, 8)),
    "repeat_interleave": Call(
        lambda x, n: torch.repeat_interleave(x, n, dim=0), lambda m: m.ints(3, m.rows)
    ),
    "isinf": Call(torch.isinf),
    "isclose": Call(lambda x: torch.isclose(x, x)),
}
"""Calls that have no gradient."""

WITH_GRADIENT: dict[str, Call] = {
    "sort": Call(lambda x: x.sort(-1)),
    "sort, stable": Call(lambda x: x.sort(dim=-1, stable=True)),
    "sort of columns": Call(lambda x: x.sort(0)),
    "topk of 1": Call(lambda x: x.topk(1, -1)),
    "topk of 50": Call(lambda x: x.topk(50, -1)),
    "kthvalue": Call(lambda x: x.kthvalue(3, -1)),
    "median": Call(lambda x: x.median()),
    "median of rows": Call(lambda x: x.median(-1)),
    "mode": Call(lambda x: x.mode(-1)),
    "cumsum": Call(lambda x: x.cumsum(-1)),
    "cumsum of columns": Call(lambda x: x.cumsum(0)),
    "cumsum of all": Call(lambda x: x.flatten().cumsum(0)),
    "cumprod": Call(lambda x: x.cumprod(-1)),
    "cummax": Call(lambda x: x.cummax(-1)),
    "logcumsumexp": Call(lambda x: x.logcumsumexp(-1)),
    "sum": Call(lambda x: x.sum()),
    "sum of rows": Call(lambda x: x.sum(-1)),
    "sum of columns": Call(lambda x: x.sum(0)),
    "mean": Call(lambda x: x.mean()),
    "var": Call(lambda x: x.var()),
    "std of rows": Call(lambda x: x.std(-1)),
    "norm": Call(lambda x: x.norm()),
    "vector_norm of rows": Call(lambda x: torch.linalg.vector_norm(x, 3, -1)),
    "amax": Call(lambda x: x.amax()),
    "max": Call(lambda x: x.max()),
    "max of columns": Call(lambda x: x.max(0)),
    "prod": Call(lambda x: x.prod()),
    "logsumexp": Call(lambda x: x.logsumexp(-1)),
    "softmax": Call(lambda x: x.softmax(-1)),
    "softmax of columns": Call(lambda x: x.softmax(0)),
    "softmax to float": Call(lambda x: F.softmax(x, -1, dtype=torch.float32)),
    "log_softmax": Call(lambda x: x.log_softmax(-1)),
    "layer_norm": Call(lambda x, w: F.layer_norm(x, w.shape, w, w), _weight),
    "rms_norm": Call(lambda x, w: F.rms_norm(x, w.shape, w), _weight),
    "group_norm": _module(torch.nn.GroupNorm, 4, 16),
    "batch_norm": _module(torch.nn.BatchNorm2d, 16),
    "instance_norm": _alone(_images, F.instance_norm),
    "normalize": Call(lambda x: F.normalize(x, dim=-1)),
    "gelu": Call(F.gelu),
    "silu": Call(F.silu),
    "glu": Call(F.glu),
    "prelu": Call(F.prelu, lambda m: m.x(1)),
    "dropout": Call(lambda x: F.dropout(x, 0.5)),
    "cross_entropy": Call(F.cross_entropy, _classes),
    "cross_entropy, smoothed": Call(
        lambda x, n: F.cross_entropy(x, n, label_smoothing=0.1), _classes
    ),
    "mse_loss": Call(lambda x: F.mse_loss(x, x.detach())),
    "l1_loss": Call(lambda x: F.l1_loss(x, x.detach())),
    "smooth_l1_loss": Call(lambda x: F.smooth_l1_loss(x, x.detach())),
    "huber_loss": Call(lambda x: F.huber_loss(x, x.detach())),
    "binary_cross_entropy": Call(lambda x: F.binary_cross_entropy(x, x.detach())),
    "binary_cross_entropy_with_logits": Call(
        lambda x: F.binary_cross_entropy_with_logits(x, x.detach())
    ),
    "soft_margin_loss": Call(lambda x: F.soft_margin_loss(x, x.detach())),
    "kl_div": Call(lambda x: F.kl_div(x, x.detach())),
    "attention": _attention(),
    "attention, causal": _attention(is_causal=True),
    "attention, masked": _attention(masked=True),
    "attention, grouped": _attention(num_heads=2, enable_gqa=True),
    "conv1d": _alone(
        lambda m: (m.module(torch.nn.Conv1d, 16, 32, 5), m.images()),
        lambda given: given[0](given[1].view(1, 16, -1)),
    ),
    "conv2d": _module(torch.nn.Conv2d, 16, 32, 3),
    "conv2d of 1x1": _module(torch.nn.Conv2d, 16, 64, 1),
    "conv_transpose2d": _module(torch.nn.ConvTranspose2d, 16, 8, 3),
    "max_pool2d": _alone(_images, lambda i: F.max_pool2d(i, 2)),
    "max_pool2d, channels last": _alone(
        _images, lambda i: F.max_pool2d(i.contiguous(memory_format=torch.channels_last), 2)
    ),
    "avg_pool2d": _alone(_images, lambda i: F.avg_pool2d(i, 2)),
    "adaptive_max_pool2d": _alone(_images, lambda i: F.adaptive_max_pool2d(i, 4)),
    "reflection_pad2d": _alone(_images, lambda i: F.pad(i, (1, 1, 1, 1), mode="reflect")),
    "interpolate, nearest": _alone(_images, lambda i: F.interpolate(i, scale_factor=2.0)),
    "adaptive_avg_pool2d": _alone(_images, lambda i: F.adaptive_avg_pool2d(i, 4)),
    "interpolate": _alone(_images, lambda i: F.interpolate(i, scale_factor=2.0, mode="bilinear")),
    "linear": Call(F.linear, lambda m: m.x(128, m.width)),
    "linear with a bias": Call(
        lambda x, given: F.linear(x, *given), lambda m: (m.x(128, m.width), m.x(128))
    ),
    "matmul with a vector": Call(lambda x, w: x @ w, _weight),
    "matmul": Call(lambda x: x @ x.t() if x.shape[0] <= _NUM_LONG else x.t() @ x),
    "bmm": _alone(lambda m: m.heads(), lambda h: h.transpose(-1, -2) @ h),
    "gather": Call(lambda x, n: x.gather(-1, n), _columns),
    "index_select": Call(lambda x, n: x.index_select(0, n), _rows),
    "index": Call(lambda x, n: x[n], _rows),
    "index of a mask": Call(lambda x, n: x[n], _mask),
    "index_put, accumulated": Call(lambda x, n: x.index_put((n,), x, accumulate=True), _rows),
    "index_put, accumulated under a mask": Call(
        lambda x, n: x.index_put((n,), x.detach()[n], accumulate=True), _mask
    ),
    "index_add": Call(lambda x, n: x.index_add(0, n, x), _rows),
    "scatter": Call(lambda x, n: x.scatter(-1, n, x), _columns),
    "scatter_add": Call(lambda x, n: x.scatter_add(-1, n, x), _columns),
    "scatter_reduce, mean": Call(lambda x, n: x.scatter_reduce(-1, n, x, "mean"), _columns),
    "masked_fill": Call(lambda x, n: x.masked_fill(n, 0.0), _mask),
    "masked_select": Call(torch.masked_select, _mask),
    "masked_scatter": Call(lambda x, n: x.masked_scatter(n, x), _mask),
    "embedding": Call(lambda x, n: F.embedding(n, x), _rows),
    "embedding, spread out": Call(
        lambda x, n: F.embedding(n, x), lambda m: m.ints(m.rows, 1, m.rows).expand(2, -1)
    ),
    "embedding_bag": Call(lambda x, n: F.embedding_bag(n, x), lambda m: m.ints(m.rows, m.rows, 4)),
    "cat": Call(lambda x: torch.cat([x, x], -1)),
    "flip": Call(lambda x: x.flip(-1)),
    "roll": Call(lambda x: x.roll(1, -1)),
    "fftshift": Call(torch.fft.fftshift),
    "rfft": Call(lambda x: torch.fft.rfft(x.float()).abs()),
    "tril": Call(torch.tril),
    "transposed copy": Call(lambda x: x.t().contiguous()),
    "to float64": Call(lambda x: x.double()),
    "nan_to_num": Call(torch.nan_to_num),
    "residuals": Call(lambda x: (x.sin() + x.cos()) * x + x),
    "take_along_dim": Call(lambda x, n: x.take_along_dim(n, -1), _columns),
    "addcmul": Call(lambda x: torch.addcmul(x, x, x)),
}
"""Calls that have one."""


def _cases(call: Call, trains: bool, unit: Unit) -> Iterator[Case]:
    for num_elements in NUM_ELEMENTS[unit.device_type]:
        for shape in _SHAPES:
            for dtype in _DTYPES:
                for step in ("forward", *(("training",) if trains else ())):
                    is_training = step == "training"
                    build = functools.partial(_build, call, num_elements, shape, dtype, is_training)
                    yield Case(f"{short(dtype)} {num_elements:,} in {shape} {step}", build)


def _build(
    call: Call,
    num_elements: int,
    shape: str,
    dtype: torch.dtype,
    is_training: bool,
    sizes: Mapping[str, int],
    device: torch.device,
) -> Callable[[], object]:
    del sizes
    width = num_elements // _NUM_LONG // 4 * 4 if shape == "long rows" else SHORT
    make = Make(num_elements // width, width, dtype, device, is_training)
    bound = call.bound(make)
    if is_training:
        return lambda: trained(bound())

    def forward() -> object:
        with torch.no_grad():
            return bound()

    return forward


SCALED: Mapping[str, Cases] = {
    name: functools.partial(_cases, call, trains)
    for calls, trains in ((WITHOUT_GRADIENT, False), (WITH_GRADIENT, True))
    for name, call in calls.items()
}
"""Every call of the list, by name."""
