"""A prefill's kernels on a GPU: rows and indices to the bit, at sizes that are served."""

from __future__ import annotations

import pytest
import torch

from oom_suite.workloads.sparse_mla.builtins.dense_staging import dense_staging
from oom_suite.workloads.sparse_mla.caches import paged_pool
from oom_suite.workloads.sparse_mla.geometry.layouts import FP8_DS_MLA_V4
from oom_suite.workloads.sparse_mla.kernels import prefill_reference as reference
from oom_suite.workloads.sparse_mla.kernels.chunk import Chunk, Rows
from oom_suite.workloads.sparse_mla.kernels.gather import _decode_slots
from oom_suite.workloads.sparse_mla.kernels.prefill import union_staging
from oom_suite.workloads.sparse_mla.prefill.step import fetch

pytestmark = pytest.mark.oom_device

TOPK, WINDOW, RATIO, NUM_BLOCKS = 512, 128, 4, 8192


def served(seq_lens, query_lens, device, first_start=0):
    """A chunk of requests with these tokens, whose queries name entries that there are not, too."""
    generator = torch.Generator(device=device).manual_seed(sum(seq_lens))
    lens = torch.tensor(seq_lens, dtype=torch.int32, device=device)
    queries = torch.tensor(query_lens, dtype=torch.int32, device=device)
    compressed = lens // RATIO
    gathered = queries + (lens - queries).clamp(max=WINDOW - 1)
    most = int(compressed.max())

    def cache(width):
        pool = paged_pool(NUM_BLOCKS, 64, FP8_DS_MLA_V4, device, padded=True)
        raw = pool.as_strided((pool.untyped_storage().nbytes(),), (1,))
        raw.random_(0, 256, generator=generator).bitwise_and_(0x7B)
        shape = (len(seq_lens), -(-width // 64))
        # A few blocks are not there.
        table = torch.randint(-1, NUM_BLOCKS + 9, shape, device=device, generator=generator)
        return pool, table.int()

    k_cache, table = cache(most)
    swa_k_cache, swa_table = cache(max(seq_lens))
    shape = (sum(query_lens), TOPK)
    named = torch.randint(-9, most + 9, shape, device=device, generator=generator).int()
    starts = torch.cat([queries.new_zeros(1), queries.cumsum(0).int()]) + first_start
    return {
        "k_cache": k_cache,
        "swa_k_cache": swa_k_cache,
        "topk_indices": named,
        "query_start_loc": starts,
        "compressed_lens": compressed,
        "seq_lens": lens,
        "gather_lens": gathered,
        "block_table": table,
        "swa_block_table": swa_table,
        "window_size": WINDOW,
        "compress_ratio": RATIO,
        "max_compressed_len": most,
        "max_gather_len": int(gathered.max()),
    }


def staged(staging, step, max_union, **further):
    """What `attend` is given."""
    seen = []

    def attend(*given):
        seen.append([one.clone() for one in given[:3]])

    staging(**step, max_union=max_union, attend=attend, output=step["seq_lens"], **further)
    return seen[0]


@pytest.mark.parametrize(
    ("seq_lens", "query_lens"),
    [
        ((4096,), (300,)),
        ((3, 700, 90_001, 5_000, 64), (3, 40, 900, 0, 64)),
        ((600_000,), (512,)),
        (tuple(range(200, 250)), (3,) * 50),
    ],
    ids=["one", "mixed", "long", "fifty requests"],
)
@pytest.mark.parametrize("missing_rows", [0, 100], ids=["all rows", "too few rows"])
def test_rows_and_indices_are_to_the_bit_what_torch_gives(
    seq_lens, query_lens, missing_rows, oom_device
):
    """With padding and blocks that there are not, over one program's flags and over many."""
    step = served(seq_lens, query_lens, oom_device, first_start=5)
    chunk = Chunk(**step)
    named = int(reference.union(chunk, 0)[2])
    max_union = max(1, named - missing_rows)
    rows, slots, _ = reference.union(chunk, max_union)
    wanted = chunk.indices()
    reference.combine(chunk, rows, Rows(chunk.max_gather_len, max_union), *wanted)
    num_union = torch.zeros(1, dtype=torch.int32, device=oom_device)
    kv, indices, lens = staged(union_staging, step, max_union, num_union=num_union)
    assert named == int(num_union)
    assert torch.equal(wanted[0], indices)
    assert torch.equal(wanted[1], lens)
    decoded = torch.empty_like(kv[:max_union])
    _decode_slots(decoded, step["k_cache"], slots, 64, torch.float8_e4m3fn)
    assert torch.equal(decoded.view(torch.int16), kv[:max_union].view(torch.int16))


def test_whole_prefixes_give_every_query_the_same_rows(oom_device):
    """Found through other indices, of a buffer that is many times as large."""
    step = served((40_000, 9_000), (200, 100), oom_device)
    max_union = int(reference.union(Chunk(**step), 0)[2])
    found = []
    for staging in (union_staging, dense_staging):
        kv, indices, lens = staged(staging, step, max_union)
        found.append(kv.new_empty((*indices.shape, 512)))
        fetch(kv, indices, lens, found[-1])
    assert torch.equal(*(one.view(torch.int16) for one in found))


def test_a_chunk_takes_its_rows_and_indices_and_nothing_for_its_prefix(oom_device):
    """The law, to the byte, behind half a million tokens as behind four thousand."""
    taken = []
    for length in (4096, 524_288):
        step = served((length,), (128,), oom_device)
        step |= {"max_union": 1000, "attend": lambda *_: None, "output": step["seq_lens"]}
        union_staging(**step)
        torch.cuda.reset_peak_memory_stats(oom_device)
        before = torch.cuda.memory_stats(oom_device)["requested_bytes.all.current"]
        union_staging(**step)
        peak = torch.cuda.memory_stats(oom_device)["requested_bytes.all.peak"]
        taken.append(peak - before)
    wanted = 1024 * (1000 + 128 + WINDOW - 1) + 4 * 1000 + 4 * 128 * (TOPK + WINDOW + 1)
    assert [wanted, wanted] == taken
