"""A chunk's rows: in torch here, in Triton in `test_interpreted.py`."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from oom_suite.errors import UsageError
from oom_suite.workloads.sparse_mla.kernels import prefill_reference as reference
from oom_suite.workloads.sparse_mla.kernels.chunk import Chunk, Rows
from oom_suite.workloads.sparse_mla.kernels.prefill import combined, union_staging
from oom_suite.workloads.sparse_mla.prefill.step import ChunkOptions, distinct, oracle, small

OPTIONS = ChunkOptions()


def chunk_of(step):
    return Chunk(**{field.name: step[field.name] for field in fields(Chunk)})


def staged(step, **further):
    """What `attend` is given."""
    seen = []
    union_staging(**{**step, "attend": lambda *given: seen.append(given)}, **further)
    return seen[0]


def test_rows_are_the_distinct_entries_in_order_of_request_and_number():
    """Each once, at the slots that the block table says; then rows that nobody took."""
    step = small(OPTIONS)
    rows, slots, num_union = reference.union(chunk_of(step), step["max_union"])
    named = distinct(step)
    table = step["block_table"]
    wanted = [int(table[request, entry // 4]) * 4 + entry % 4 for request, entry in named]
    assert [*wanted, -1, -1] == slots.tolist()
    assert len(named) == int(num_union)
    # The first query's first entry is the third of the first request.
    assert named.index((0, 3)) == int(rows[0, 0])


@pytest.mark.parametrize("spare_rows", [0, -1, -3, -99])
def test_entries_beyond_the_rows_are_padding_and_are_counted(spare_rows):
    """From the last on; at no row at all only windows are left."""
    step = small(ChunkOptions(spare_rows=spare_rows))
    num_union = torch.zeros(1, dtype=torch.int32)
    union_staging(**step, num_union=num_union)
    assert torch.equal(oracle(step), step["output"].double())
    assert len(distinct(step)) == int(num_union)


def test_rows_are_as_many_as_were_asked_for_and_indices_come_in_whole_units():
    """The union's, then a window's for each request; 128 columns hold 6 entries and 7 tokens."""
    step = small(OPTIONS)
    kv, indices, lens, output = staged(step)
    assert (step["max_union"] + 2 * step["max_gather_len"], 512) == kv.shape
    assert (8, 128) == indices.shape
    assert [13] * 8 == lens.tolist()
    assert output is step["output"]


@pytest.mark.parametrize(("topk", "width"), [(121, 128), (122, 256)])
def test_a_column_more_than_a_unit_takes_another(topk, width):
    """With a window of 7."""
    step = small(ChunkOptions(topk=topk))
    assert width == staged(step)[1].shape[1]


def test_where_all_entries_have_a_row_it_is_their_number():
    """Behind those of the requests before; tokens of the window follow at their own."""
    step = small(OPTIONS)
    indices, _ = combined(chunk_of(step), Rows(of_request=100, first_swa=40))
    first = step["topk_indices"][5].tolist()
    assert [100 + entry for entry in first if 0 <= entry < 11] == [
        index for index in indices[5, :6].tolist() if index >= 0
    ]
    # The sixth query is the second request's first: token 41 of 44, of which 9 are gathered.
    assert list(range(140 + 41 - 6 - 35, 140 + 41 - 35 + 1)) == indices[5, 6:13].tolist()


def test_the_last_column_that_counts_is_followed_by_padding_alone():
    """In every row."""
    _, indices, lens, _ = staged(small(OPTIONS))
    column = torch.arange(indices.shape[1])
    assert (indices[column >= lens.unsqueeze(1)] == -1).all()


def test_a_block_that_the_table_or_the_pool_does_not_have_has_no_rows():
    """Of the entries, and of a window."""
    step = small(ChunkOptions(named=(0, 4, 8), spare_rows=0))
    step["block_table"][0, 1] = -1
    step["block_table"][1, 2] = len(step["k_cache"])
    step["swa_block_table"][0, 14] = -1
    union_staging(**step)
    assert torch.equal(oracle(step), step["output"].double())
    assert (step["output"][0, 1] == 0).all()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"topk_indices": torch.zeros(8, 6)}, "topk_indices is torch.float32 [8, 6]: it must be"),
        ({"seq_lens": torch.zeros(2, dtype=torch.int64)}, "seq_lens is torch.int64 [2]"),
        ({"gather_lens": torch.zeros(3, dtype=torch.int32)}, "[3]: it must be torch.int32 [2]"),
        ({"block_table": torch.zeros(2, dtype=torch.int32)}, "it must be torch.int32 [2, any]"),
        ({"query_start_loc": torch.zeros(2, dtype=torch.int32)}, "it must be torch.int32 [3]"),
        ({"k_cache": torch.zeros(2, 4, 656, dtype=torch.uint8)}, "k_cache is torch.uint8 [2, 4, 6"),
        ({"swa_k_cache": torch.zeros(2, 584)}, "swa_k_cache is torch.float32 [2, 584]"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_what_does_not_fit_is_refused_in_one_line(wrong, told):
    """What was given, and what is taken."""
    with pytest.raises(UsageError) as refused:
        union_staging(**small(OPTIONS) | wrong)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
