"""All four decode paths give the oracle's attention, to bf16's rounding."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.builtins import BUILTINS, token_gather_decode
from oom_suite.workloads.sparse_mla.caches import PATTERNS
from oom_suite.workloads.sparse_mla.caches.indices import LENS, PADDING
from oom_suite.workloads.sparse_mla.step import (
    LAYER_KINDS,
    StepOptions,
    oracle,
    random_step,
    tolerance,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def _expected(options: StepOptions) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
    """A step, its answer and the allowed error; made once for all subjects."""
    step = random_step(options)
    answer = oracle(step, options.fp8_dtype)
    return step, answer, tolerance(step, answer, options.fp8_dtype)


def _check(subject: Callable[..., None], options: StepOptions, **changes: object) -> None:
    step, answer, allowed = _expected(options)
    before = {name: value.clone() for name, value in step.items() if torch.is_tensor(value)}
    output = torch.full_like(step["output"], torch.nan)
    subject(**{**step, "output": output, **changes})
    error = (output.to(torch.float64) - answer).abs()
    # A NaN compares false, so that one in the output fails here too.
    assert (error <= allowed).all(), f"largest error {error.max():.3g}"
    unchanged = {name: value for name, value in before.items() if name != "output"}
    for name, value in unchanged.items():
        assert torch.equal(value.view(torch.uint8), step[name].view(torch.uint8)), name


each_subject = pytest.mark.parametrize("subject", BUILTINS.values(), ids=BUILTINS)


@each_subject
@pytest.mark.parametrize("num_heads", [8, 16, 64])
@pytest.mark.parametrize("sink", [True, False], ids=["sink", "no-sink"])
@pytest.mark.parametrize("layer_kind", LAYER_KINDS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_agrees_on_every_pattern_layer_kind_sink_and_heads(
    subject: Callable[..., None],
    pattern: str,
    layer_kind: str,
    sink: bool,
    num_heads: int,
) -> None:
    """The output is the oracle's on contiguous pools."""
    options = StepOptions(layer_kind, pattern, num_heads=num_heads, sink=sink)
    _check(subject, options)


@each_subject
@pytest.mark.parametrize("lens", LENS)
@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("layer_kind", LAYER_KINDS)
def test_agrees_on_padded_pools_with_any_lens_and_padding(
    subject: Callable[..., None], layer_kind: str, padding: str, lens: str
) -> None:
    """Page padding, `-1` anywhere, short, zero and mixed lengths do not disturb the output."""
    options = StepOptions(layer_kind, lens=lens, padding=padding, num_tokens=4, padded=True)
    _check(subject, options)


@each_subject
@pytest.mark.parametrize("padded", [False, True], ids=["contiguous", "padded"])
def test_agrees_on_fnuz(subject: Callable[..., None], padded: bool) -> None:
    """Caches in gfx94x's own fp8 are read as such when asked to."""
    options = StepOptions(padded=padded, fp8_dtype=torch.float8_e4m3fnuz)
    _check(subject, options, fp8_dtype=torch.float8_e4m3fnuz)


@each_subject
@pytest.mark.parametrize("layer_kind", LAYER_KINDS)
def test_an_empty_batch_is_no_error(subject: Callable[..., None], layer_kind: str) -> None:
    """No tokens give no output."""
    _check(subject, StepOptions(layer_kind, num_tokens=0, padded=True))


@each_subject
def test_rows_without_entries_are_zero(subject: Callable[..., None]) -> None:
    """A token for which nothing counts gets exact zeros, with a sink or without."""
    for sink in (True, False):
        step = random_step(StepOptions(lens="zero", sink=sink))
        subject(**step)
        assert torch.equal(torch.zeros_like(step["output"]), step["output"])


@each_subject
def test_more_entries_than_a_chunk(subject: Callable[..., None]) -> None:
    """Rows of several chunks, the last one short, with gaps, agree too."""
    options = StepOptions(
        swa_topk=128, extra_topk=200, padding="anywhere", lens="mixed", padded=True
    )
    _check(subject, options)


@each_subject
def test_block_size_of_production(subject: Callable[..., None]) -> None:
    """Blocks of 64 tokens, 37440 bytes apart, agree too."""
    _check(
        subject, StepOptions(num_blocks=16, block_size=64, swa_topk=12, extra_topk=16, padded=True)
    )


@each_subject
def test_a_pool_that_starts_within_its_storage(subject: Callable[..., None]) -> None:
    """A cache that is a slice of a larger allocation is read from where it starts."""
    step, _, _ = _expected(StepOptions(padded=True))
    pool = step["swa_k_cache"]
    wider = torch.empty(2 * pool.untyped_storage().nbytes(), dtype=torch.uint8)
    stride = pool.stride()
    moved = wider.as_strided(tuple(pool.shape), stride, 3 * stride[0])
    wider.as_strided((pool.shape[0] * stride[0],), (1,), 3 * stride[0]).copy_(
        pool.as_strided((pool.shape[0] * stride[0],), (1,))
    )
    _check(subject, StepOptions(padded=True), swa_k_cache=moved)


@each_subject
def test_index_shapes_with_and_without_a_middle_dimension(subject: Callable[..., None]) -> None:
    """Both index tensors may be [T, topk] or [T, 1, topk]."""
    options = StepOptions()
    step, _, _ = _expected(options)
    _check(
        subject,
        options,
        swa_indices=step["swa_indices"].unsqueeze(1),
        topk_indices=step["topk_indices"].squeeze(1),
    )


@each_subject
def test_a_longer_sink_is_cut_to_the_heads(subject: Callable[..., None]) -> None:
    """A sink padded for more heads than the rank has is used up to its heads."""
    options = StepOptions()
    sink = _expected(options)[0]["attn_sink"]
    _check(subject, options, attn_sink=torch.cat([sink, torch.full((56,), torch.inf)]))


@each_subject
def test_a_missing_compressed_pool_is_refused(subject: Callable[..., None]) -> None:
    """A layer that has a compressed pool must be given it."""
    step = {**random_step(StepOptions("swa_only")), "swa_only": False}
    with pytest.raises(UsageError, match="only a swa_only layer goes without"):
        subject(**step)


def _without_sink(**step: object) -> None:
    token_gather_decode(**{**step, "attn_sink": None})  # type: ignore[arg-type]  # the mapping's values are of several types


def _all_entries(**step: Any) -> None:
    lens = torch.full_like(step["swa_lens"], step["swa_indices"].shape[1])
    token_gather_decode(**{**step, "swa_lens": lens})


def _shifted_slots(**step: Any) -> None:
    indices = step["swa_indices"]
    token_gather_decode(**{**step, "swa_indices": indices ^ 1})


def _contiguous_pages(**step: Any) -> None:
    pool = step["swa_k_cache"]
    packed = pool.as_strided(tuple(pool.shape), (pool[0].numel(), pool.shape[2], 1))
    token_gather_decode(**{**step, "swa_k_cache": packed})


def _slight_scale(**step: Any) -> None:
    token_gather_decode(**{**step, "scale": step["scale"] * 1.05})


FAULTS = [_without_sink, _all_entries, _shifted_slots, _contiguous_pages, _slight_scale]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_a_wrong_implementation_is_caught(fault: Callable[..., None]) -> None:
    """A lost sink, lengths ignored, a neighbour's slot, unpadded pages or 5% of scale all show."""
    options = StepOptions(lens="short", padded=True, num_tokens=4, num_heads=16)
    with pytest.raises(AssertionError, match="largest error"):
        _check(fault, options)
    _check(token_gather_decode, replace(options))
