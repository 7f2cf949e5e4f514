"""Every operator known to take scratch is named as unseen when the code calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from packaging.version import Version

from oom_suite.operators import scratch
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
aten = torch.ops.aten


def trace_of(body):
    """The shadow lane's trace of ``body(x, i)``: floats [8, 16], and 24 small whole numbers."""

    def build(sizes, device):
        x = torch.ones(8, 16, device=device)
        i = torch.arange(24, device=device) % 5
        return lambda: body(x, i)

    return ShadowLane(HERE).run(build, {})


def unseen_of(body):
    """The operators that the trace names as unseen, each with its reason."""
    return {one.op: one.reason for one in trace_of(body).unseen}


def bags(function):
    """An embedding-bag operator on 4 rows of 16, two bags."""
    return lambda x, i: function(x, i[:4], i[:2], False, 0, False, None)


def sums(x):
    """One number for each row of `heads`."""
    return heads(x).float().sum(-1)


def image(x):
    """Floats [1, 2, 8, 8]: a batch, channels, rows and columns."""
    return x.view(1, 2, 8, 8)


def heads(x):
    """Floats [1, 2, 4, 16]: a batch, heads, tokens and channels."""
    return x.view(1, 2, 4, 16)


CALLS = {
    "aten::_unique": lambda x, i: aten._unique(i),
    "aten::_unique2": lambda x, i: torch.unique(i),
    "aten::unique_dim": lambda x, i: torch.unique(i.view(12, 2), dim=0),
    "aten::unique_consecutive": lambda x, i: torch.unique_consecutive(i),
    "aten::unique_dim_consecutive": lambda x, i: aten.unique_dim_consecutive(i.view(12, 2), 0),
    "aten::sort": lambda x, i: x.sort(-1),
    "aten::argsort": lambda x, i: x.argsort(),
    "aten::msort": lambda x, i: x.msort(),
    "aten::topk": lambda x, i: x.topk(3),
    "aten::kthvalue": lambda x, i: x.kthvalue(2),
    "aten::median": lambda x, i: x.median(),
    "aten::mode": lambda x, i: x.mode(),
    "aten::bincount": lambda x, i: torch.bincount(i),
    "aten::histc": lambda x, i: torch.histc(x, 4),
    "aten::nonzero": lambda x, i: torch.nonzero(i > 2),
    "aten::masked_select": lambda x, i: i.masked_select(i > 2),
    "aten::cumsum": lambda x, i: x.cumsum(0),
    "aten::cumprod": lambda x, i: x.cumprod(0),
    "aten::cummax": lambda x, i: x.cummax(0),
    "aten::cummin": lambda x, i: x.cummin(0),
    "aten::multinomial": lambda x, i: torch.multinomial(x, 2),
    "aten::isin": lambda x, i: torch.isin(i, i[:3]),
    "aten::masked_scatter": lambda x, i: x.masked_scatter(x > 0, x),
    "aten::repeat_interleave": lambda x, i: torch.repeat_interleave(i, i),
    "aten::randperm": lambda x, i: torch.randperm(24, device=x.device),
    "aten::logcumsumexp": lambda x, i: x.logcumsumexp(0),
    "aten::ldexp": lambda x, i: torch.ldexp(x, x),
    "aten::mvlgamma": lambda x, i: torch.mvlgamma(x + 4, 2),
    "aten::_trilinear": lambda x, i: aten._trilinear(x, x, x, [], [], [], [0]),
    "aten::affine_grid_generator": lambda x, i: F.affine_grid(
        x[:1, :6].reshape(1, 2, 3), [1, 1, 4, 4], align_corners=False
    ),
    "aten::embedding_renorm": lambda x, i: aten.embedding_renorm(x, i[:8], 1.0, 2.0),
    "aten::renorm": lambda x, i: torch.renorm(x, 2, 0, 1.0),
    "aten::nanmedian": lambda x, i: x.nanmedian(),
    "aten::count_nonzero": lambda x, i: torch.count_nonzero(x),
    "aten::binary_cross_entropy": lambda x, i: F.binary_cross_entropy(x, x),
    "aten::log_sigmoid_forward": lambda x, i: F.logsigmoid(x),
    "aten::_embedding_bag": bags(aten._embedding_bag),
    "aten::_embedding_bag_forward_only": bags(aten._embedding_bag_forward_only),
    "aten::embedding_dense_backward": lambda x, i: aten.embedding_dense_backward(
        x, i[:8], 5, -1, False
    ),
    "aten::convolution": lambda x, i: F.conv1d(x[None], x.view(8, 8, 2)),
    "aten::convolution_backward": lambda x, i: aten.convolution_backward(
        image(x), image(x), x.view(2, 1, 8, 8)[:, :, :1, :1], None, [1, 1], [0, 0], [1, 1], False,
        [0, 0], 2, [True, True, False],
    ),
    "aten::_scaled_dot_product_flash_attention": lambda x, i: (
        aten._scaled_dot_product_flash_attention(heads(x), heads(x), heads(x))
    ),
    "aten::_scaled_dot_product_flash_attention_for_cpu": lambda x, i: (
        aten._scaled_dot_product_flash_attention_for_cpu(heads(x), heads(x), heads(x))
    ),
    "aten::_scaled_dot_product_efficient_attention": lambda x, i: (
        aten._scaled_dot_product_efficient_attention(heads(x), heads(x), heads(x), None, False)
    ),
    "aten::_scaled_dot_product_cudnn_attention": lambda x, i: (
        aten._scaled_dot_product_cudnn_attention(heads(x), heads(x), heads(x), None, False)
    ),
    "aten::_scaled_dot_product_flash_attention_backward": lambda x, i: (
        aten._scaled_dot_product_flash_attention_backward(
            *[heads(x)] * 5, sums(x), None, None, 2, 2, 0.0, False, i, i
        )
    ),
    "aten::_scaled_dot_product_efficient_attention_backward": lambda x, i: (
        aten._scaled_dot_product_efficient_attention_backward(
            *[heads(x)] * 4, None, heads(x), sums(x), i, i, 0.0, [True] * 3 + [False]
        )
    ),
    "aten::_scaled_dot_product_cudnn_attention_backward": lambda x, i: (
        aten._scaled_dot_product_cudnn_attention_backward(
            *[heads(x)] * 5, sums(x), i, i, None, None, None, 2, 2, 0.0, False
        )
    ),
    "aten::_flash_attention_forward": lambda x, i: aten._flash_attention_forward(
        heads(x), heads(x), heads(x), None, None, 2, 2, 0.0, False, False
    ),
    "aten::_efficient_attention_forward": lambda x, i: aten._efficient_attention_forward(
        heads(x), heads(x), heads(x), None, None, None, None, None, 0.0, 0
    ),
    "aten::_fft_c2c": lambda x, i: torch.fft.fft(x.to(torch.complex64)),
    "aten::_fft_r2c": lambda x, i: torch.fft.rfft(x),
    "aten::_fft_c2r": lambda x, i: torch.fft.irfft(x.to(torch.complex64)),
    "aten::linalg_qr": lambda x, i: torch.linalg.qr(x),
    "aten::_linalg_svd": lambda x, i: torch.linalg.svd(x),
    "aten::_linalg_eigh": lambda x, i: torch.linalg.eigh(x[:, :8]),
}  # fmt: skip
SEEN_AS = {
    "aten::argsort": "aten::sort",
    "aten::msort": "aten::sort",
    "aten::masked_select": "aten::nonzero",
}
"""What dispatch sees of operators that are made of others."""

ONLY_ON_A_GPU = {
    *("aten::cudnn_convolution", "aten::miopen_convolution", "aten::_grouped_mm"),
    *("aten::_cudnn_rnn", "aten::_cudnn_rnn_backward", "aten::cudnn_batch_norm_backward"),
    *("aten::miopen_rnn", "aten::miopen_rnn_backward"),
}
"""Operators that nothing but a GPU's own torch calls, or a lane in its place
(`tests/unit/tracing/test_library_layers.py`)."""


def told(names):
    """The names as parameters; torch before 2.13 cannot run `aten::_unique` on fakes at all."""
    is_old = Version(torch.__version__) < Version("2.13")
    skip = pytest.mark.skipif(is_old, reason="this torch has no fake kernel for it")
    return [pytest.param(name, marks=skip if name == "aten::_unique" else ()) for name in names]


def test_every_row_of_the_table_is_called_here():
    assert scratch.UNSEEN.keys() - ONLY_ON_A_GPU == CALLS.keys()
    assert scratch.UNSEEN.keys() >= ONLY_ON_A_GPU


@pytest.mark.parametrize("name", told(CALLS))
def test_an_operator_with_scratch_of_its_own_is_named(name):
    """The trace names it, or the operator that it is made of, with the table's reason."""
    seen_as = SEEN_AS.get(name, name)
    assert {seen_as: scratch.UNSEEN[seen_as]} == unseen_of(CALLS[name])


@pytest.mark.parametrize("name", scratch.UNSEEN)
def test_every_row_answers_for_each_overload(name):
    """Whatever it is called with, such an operator is flagged, and known as one that may be."""
    packet = getattr(aten, name.removeprefix("aten::"))
    overload = getattr(packet, packet.overloads()[0])
    assert scratch.UNSEEN[name] == scratch.unseen_reason(overload, (), {})
    assert scratch.may_be_unseen(overload)


def test_an_operator_that_takes_nothing_inside_is_not_named():
    """The healthy twin: a sum, a product and a view."""
    assert {} == unseen_of(lambda x, i: (x.sum(), x @ x.t(), x.view(-1) + 1))
    assert not scratch.may_be_unseen(aten.add.Tensor)


@pytest.mark.parametrize("softmax", ["softmax", "log_softmax"])
def test_a_softmax_copies_what_is_not_contiguous(softmax):
    """Of a contiguous input there is no copy."""
    assert {f"aten::_{softmax}"} == unseen_of(lambda x, i: getattr(x.t(), softmax)(-1)).keys()
    assert {} == unseen_of(lambda x, i: getattr(x, softmax)(-1))


def test_attention_in_full_is_named_where_it_has_no_fused_kernel():
    found = unseen_of(lambda x, i: F.scaled_dot_product_attention(*[heads(x)] * 3))
    assert ["aten::_safe_softmax"] == list(found)


LOSSES = ("mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss")


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_reduces_keeps_every_elements_loss_until_then(name):
    """``reduction`` is the third argument: 0 reduces nothing, and its default is the mean."""
    loss = getattr(aten, name).default
    flagged = {"aten::" + name}
    assert flagged == unseen_of(lambda x, i: loss(x, x)).keys()
    assert flagged == unseen_of(lambda x, i: loss(x, x, 2)).keys()
    assert {} == unseen_of(lambda x, i: loss(x, x, 0))
    assert scratch.may_be_unseen(loss)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("reduction", "is_flagged"), [(0, False), (1, True), (2, True)])
def test_the_reduction_is_read_wherever_it_stands(name, reduction, is_flagged):
    """Dispatch hands it on by position; a caller of the table may name it."""
    loss, x = getattr(aten, name).default, torch.ones(2)
    by_position = scratch.unseen_reason(loss, (x, x, reduction), {})
    by_name = scratch.unseen_reason(loss, (x, x), {"reduction": reduction})
    assert (is_flagged, by_name) == (by_position is not None, by_position)


@pytest.mark.parametrize("name", ["aten::cumprod", "aten::prod"])
def test_a_products_gradient_depends_on_values_where_one_may_follow(name):
    """Where one is recorded, or a caller's follows; of a sum never."""
    plain, leaf = (torch.ones(2),), (torch.ones(2, requires_grad=True),)
    assert (False, True) == tuple(scratch.has_gradient_by_zeros(name, x) for x in (plain, leaf))
    with torch.no_grad():
        assert not scratch.has_gradient_by_zeros(name, leaf)
        with scratch.gradient_follows():
            assert scratch.has_gradient_by_zeros(name, plain)
            assert not scratch.has_gradient_by_zeros("aten::sum", leaf)
        assert not scratch.has_gradient_by_zeros(name, plain)


PUTS = {
    "aten::index_put": aten.index_put.default,
    "aten::index_put_": aten.index_put_.default,
    "aten::_index_put_impl_": aten._index_put_impl_.default,
}


@pytest.mark.parametrize("name", PUTS)
def test_a_write_that_adds_sorts_its_indices(name):
    """One that replaces does not."""
    put = PUTS[name]
    assert {name} == unseen_of(lambda x, i: put(x, [i[:2]], x[:2], True)).keys()
    assert {} == unseen_of(lambda x, i: put(x, [i[:2]], x[:2], False))
    assert {} == unseen_of(lambda x, i: put(x, [i[:2]], x[:2]))
    assert scratch.may_be_unseen(put)


def test_adding_may_be_asked_for_by_name():
    x, at = torch.ones(4), [torch.tensor([0])]
    put = aten.index_put_.default
    assert scratch.unseen_reason(put, (x, at, x[:1]), {"accumulate": True})
    assert not scratch.unseen_reason(put, (x, at, x[:1]), {"accumulate": False})


def test_a_write_under_a_mask_of_unknown_values_lists_its_entries():
    """One number is filled in without a list; beside a mask other indices do not matter."""

    def rows(x, i):
        unknown = torch.empty_like(x)
        x[unknown[:, 0] > 0] = x[:1].expand(8, 16)

    def number(x, i):
        unknown = torch.empty_like(x)
        x[unknown > 0] = unknown[0, 0]

    assert {"aten::nonzero"} == unseen_of(rows).keys()
    assert {} == unseen_of(number)
    row, mask = torch.tensor([0, 1]), torch.tensor([True, True])
    args = (torch.ones(2, 2), [None, mask], torch.ones(2, 2))
    assert scratch.unseen_reason(aten.index_put_.default, args, {})
    args = (torch.ones(2, 2), [None, row], torch.ones(2, 2))
    assert not scratch.unseen_reason(aten.index_put_.default, args, {})


HOST_READS = {
    "aten::_local_scalar_dense": lambda x, i: i[0].item(),
    "aten::is_nonzero": lambda x, i: bool(i[1]),
    "aten::equal": lambda x, i: torch.equal(i, i),
}


def test_every_row_of_what_is_read_on_the_host_is_called_here():
    assert scratch.HOST_READS == HOST_READS.keys()
    assert scratch.SHAPE_READS == SHAPE_READS


SHAPE_READS = {
    "aten::_unique",
    "aten::_unique2",
    "aten::masked_select",
    "aten::nonzero",
    "aten::unique_consecutive",
    "aten::unique_dim",
    "aten::unique_dim_consecutive",
}


@pytest.mark.parametrize("name", told([*HOST_READS, *sorted(SHAPE_READS)]))
def test_what_the_host_waits_for_has_its_line_in_the_trace(name):
    """A value that is read, or a shape that values decide."""
    body = HOST_READS.get(name) or CALLS[name]
    (frame,) = trace_of(body).host_reads
    assert ("test_scratch.py", body.__code__.co_firstlineno) == (frame.file, frame.line)


def test_what_the_host_knows_by_itself_is_no_read():
    """The healthy twin: sizes, and numbers that were never on the device."""
    assert () == trace_of(lambda x, i: x[: i.shape[0] // 6].mul(len(i))).host_reads
