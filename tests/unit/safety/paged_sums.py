"""A workload of somebody else's: the sums of the tokens that a block table names."""

from __future__ import annotations

import functools

import torch

from oom_suite.records import Axis, Contract, Convention, Scenario, Workload
from oom_suite.records.workload import Pool
from oom_suite.workloads.variants import Variant, Variants

BLOCK_SIZE, WIDTH = 4, 8
LENS = (7, 3, 10)
BLOCKS = ((5, 2, -1), (1, -1, -1), (7, 3, 6))


def build(sizes, device):
    """A call without contents."""
    batch, blocks = sizes["batch"], sizes["num_blocks"]
    return {
        "pool": torch.empty(blocks, BLOCK_SIZE, WIDTH, device=device),
        "table": torch.zeros(batch, 3, dtype=torch.int32, device=device),
        "lens": torch.full((batch,), 3 * BLOCK_SIZE, dtype=torch.int32, device=device),
    }


def step(device):
    """A small step with contents in every token."""
    generator = torch.Generator().manual_seed(3)
    return {
        "pool": torch.randn(8, BLOCK_SIZE, WIDTH, generator=generator).to(device),
        "table": torch.tensor(BLOCKS, dtype=torch.int32, device=device),
        "lens": torch.tensor(LENS, dtype=torch.int32, device=device),
    }


class SumVariants(Variants):
    """One small step."""

    def plain(self, workload, device, arch):
        return [Variant("three rows", functools.partial(step, device))]


VARIANTS = SumVariants()


def oracle(step):
    """The sums in float64; padding and what no block is there for counts nothing."""
    pool, rows = step["pool"].cpu().double(), []
    for blocks, length in zip(step["table"].tolist(), step["lens"].tolist(), strict=True):
        named = [pool[block] if block >= 0 else 0 * pool[0] for block in blocks]
        rows.append(torch.cat(named)[:length].sum(dim=0))
    return torch.stack(rows)


def tolerance(step, expected):
    """float32 sums of a dozen terms of about 1."""
    return torch.full_like(expected, 1e-5)


BARE = Workload(
    name="sums",
    axes=(
        Axis("num_blocks", step=8, far=(16, 4096), unit="block"),
        Axis("batch", step=1, far=(1, 32), unit="row"),
    ),
    builder=f"{__name__}:build",
    contract=Contract(independent_of=("num_blocks",)),
    convention=Convention(("pool", "table", "lens")),
    scenarios={"usual": Scenario("usual", {"num_blocks": 256, "batch": 4}, "four rows")},
)
"""Without any facet."""

FACETS = {
    "pools": (Pool("pool", "table", "lens", names="blocks"),),
    "variants": f"{__name__}:VARIANTS",
    "oracle": f"{__name__}:oracle",
    "tolerance": f"{__name__}:tolerance",
}


def tokens(pool, table, lens):
    """The values of the tokens that count, and where they do: [rows, tokens, WIDTH], bool."""
    is_there = (table >= 0) & (table < len(pool))
    gathered = pool[table.long().where(is_there, 0)].flatten(1, 2)
    at = torch.arange(gathered.shape[1], device=lens.device)
    counts = (at < lens[:, None]) & is_there.repeat_interleave(BLOCK_SIZE, dim=1)
    return gathered, counts[..., None]


def healthy(pool, table, lens):
    gathered, counts = tokens(pool, table, lens)
    return gathered.where(counts, 0).sum(dim=1)
