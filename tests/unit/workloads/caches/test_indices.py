"""Index patterns name what their names say, and `spread_indices` exactly what it is asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.caches import (
    PATTERNS,
    index_pattern,
    referenced_blocks,
    spread_indices,
)
from oom_suite.workloads.sparse_mla.caches.indices import LENS, PADDING


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("lens", LENS)
@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("num_tokens", [0, 1, 5])
def test_every_pattern_keeps_to_the_pool(
    name: str, lens: str, padding: str, num_tokens: int
) -> None:
    """Slots are int32 in the pool or -1, lens int32 from 0 to topk, an empty batch included."""
    found = index_pattern(
        name,
        num_tokens=num_tokens,
        topk=12,
        num_blocks=16,
        block_size=4,
        lens=lens,
        padding=padding,
    )
    assert ((num_tokens, 12), torch.int32) == (tuple(found.slots.shape), found.slots.dtype)
    assert ((num_tokens,), torch.int32) == (tuple(found.lens.shape), found.lens.dtype)
    assert ((found.slots >= -1) & (found.slots < 64)).all()
    assert ((found.lens >= 0) & (found.lens <= 12)).all()


@pytest.mark.parametrize("name", PATTERNS)
def test_the_same_seed_gives_the_same_indices(name: str) -> None:
    """A pattern is reproducible."""
    first, second = (
        index_pattern(name, num_tokens=3, topk=8, num_blocks=16, block_size=4, seed=5)
        for _ in range(2)
    )
    assert torch.equal(first.slots, second.slots)


def test_contiguous_rows_are_runs() -> None:
    """A contiguous row holds neighbouring slots, each row behind the one before."""
    found = index_pattern("contiguous", num_tokens=2, topk=4, num_blocks=4, block_size=4)
    assert [[0, 1, 2, 3], [4, 5, 6, 7]] == found.slots.tolist()


def test_scattered_rows_are_distinct_and_span_the_pool() -> None:
    """A scattered row names no slot twice and reaches both ends of the pool."""
    found = index_pattern("scattered", num_tokens=4, topk=32, num_blocks=1000, block_size=64)
    for row in found.slots:
        assert row.unique().numel() == 32
        assert row.min() < 64000 // 32
        assert row.max() >= 64000 - 64000 // 32


def test_one_token_per_block_names_as_many_blocks_as_entries() -> None:
    """Each of a row's entries lies in a block of its own; too few blocks are refused."""
    found = index_pattern("one_token_per_block", num_tokens=3, topk=16, num_blocks=20, block_size=4)
    assert [16] * 3 == [(row // 4).unique().numel() for row in found.slots]
    with pytest.raises(UsageError, match=r"topk is 21: .*num_blocks, 20"):
        index_pattern("one_token_per_block", num_tokens=3, topk=21, num_blocks=20, block_size=4)


def test_shared_prefix_rows_share_their_first_half() -> None:
    """All rows begin with the same slots and go on with their own."""
    found = index_pattern("shared_prefix", num_tokens=3, topk=16, num_blocks=100, block_size=4)
    assert (found.slots[:, :8] == found.slots[:1, :8]).all()
    assert not torch.equal(found.slots[0, 8:], found.slots[1, 8:])


def test_lens_and_padding_kinds_mean_what_they_say() -> None:
    """Zero lens are zero, mixed ones have an empty and a full row, padded rows are all -1."""
    where = {"num_tokens": 4, "topk": 8, "num_blocks": 16, "block_size": 4}
    zero = index_pattern("scattered", lens="zero", **where)  # type: ignore[arg-type]  # the mapping's values are of several types
    mixed = index_pattern("scattered", lens="mixed", **where)  # type: ignore[arg-type]  # the mapping's values are of several types
    short = index_pattern("scattered", lens="short", **where)  # type: ignore[arg-type]  # the mapping's values are of several types
    rows = index_pattern("scattered", padding="rows", **where)  # type: ignore[arg-type]  # the mapping's values are of several types
    tail = index_pattern("scattered", padding="tail", **where)  # type: ignore[arg-type]  # the mapping's values are of several types
    assert [0, 0, 0, 0] == zero.lens.tolist()
    assert [0, 8] == mixed.lens[[0, -1]].tolist()
    assert (short.lens >= 1).all()
    assert [True, False, True, False] == (rows.slots == -1).all(dim=1).tolist()
    assert [[False] * 6 + [True] * 2] * 4 == (tail.slots == -1).tolist()


@pytest.mark.parametrize("option", ["lens", "padding", "name"])
def test_an_unknown_choice_is_refused(option: str) -> None:
    """A misspelled pattern, lens or padding is an error that lists the choices."""
    options = {"name": "scattered", option: "nonne"}
    with pytest.raises(UsageError, match=r"unknown .*'nonne': choose from"):
        index_pattern(
            **options,  # type: ignore[arg-type]  # the mapping's values are of several types
            num_tokens=1,
            topk=2,
            num_blocks=4,
            block_size=4,
        )


def test_referenced_blocks_counts_only_what_counts() -> None:
    """Padding and entries behind a row's length name no block."""
    slots = torch.tensor([[0, -1, 9, 63], [5, 6, 7, 40]], dtype=torch.int32)
    found = referenced_blocks(slots, torch.tensor([3, 2], dtype=torch.int32), block_size=4)
    assert [0, 1, 2] == found.tolist()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_spread_indices_name_exactly_the_blocks_asked_for(data: st.DataObject) -> None:
    """Any possible number of referenced blocks is named exactly, within the pool."""
    num_tokens, topk = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 70))
    num_blocks, block_size = data.draw(st.integers(1, 30_000_000)), data.draw(st.integers(1, 64))
    number = data.draw(st.integers(1, min(num_blocks, num_tokens * topk)))
    found = spread_indices(num_tokens, topk, num_blocks, block_size, number, "cpu")
    assert number == referenced_blocks(found.slots, found.lens, block_size).numel()
    assert ((found.slots >= 0) & (found.slots < num_blocks * block_size)).all()
    assert [topk] * num_tokens == found.lens.tolist()


def test_spread_indices_reach_over_the_whole_pool() -> None:
    """The blocks named are evenly spaced from the pool's first to its last part."""
    found = spread_indices(2, 8, 1000, 64, 4, "cpu")
    assert [0, 250, 500, 750] == referenced_blocks(found.slots, found.lens, 64).tolist()


def test_spread_indices_work_on_fake_tensors() -> None:
    """Without data the shapes, dtype and device are the same."""
    with FakeTensorMode():
        found = spread_indices(4, 512, 221_839, 64, 64, "cpu")
    assert ((4, 512), torch.int32) == (tuple(found.slots.shape), found.slots.dtype)
    assert ((4,), torch.int32) == (tuple(found.lens.shape), found.lens.dtype)


@pytest.mark.parametrize(
    ("num_blocks", "number", "message"),
    [
        (2**25, 4, "slots: int32 indices reach 2147483647"),
        (8, 9, "referenced_blocks is 9: choose 1 to 8"),
        (100, 17, "referenced_blocks is 17: choose 1 to 16"),
        (100, 0, "referenced_blocks is 0: choose 1 to 16"),
    ],
    ids=["beyond-int32", "beyond-the-pool", "beyond-the-entries", "none"],
)
def test_impossible_spreads_are_refused(num_blocks: int, number: int, message: str) -> None:
    """A spread that cannot be is an error that names the limit."""
    with pytest.raises(UsageError, match=message):
        spread_indices(2, 8, num_blocks, 64, number, "cpu")
