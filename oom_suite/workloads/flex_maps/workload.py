"""Flex attention's block maps as workloads. No torch.

Source: vLLM 0.21.0 `vllm/v1/attention/backends/flex_attention.py`, `physical_to_logical_mapping`
and `unique_static_unsorted`; 0.33.0 :158 and :266.
"""

from __future__ import annotations

from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Convention, Polynomial, Scenario, Workload
from oom_suite.records.workload import Entry
from oom_suite.units import MIB

_STEP = "oom_suite.workloads.flex_maps.step"
_VARIANTS = "oom_suite.workloads.flex_maps.variants"
_EXACT = "oom_suite.workloads.variants:exact"
_FILE = "vllm/v1/attention/backends/flex_attention.py"
_POOL = Axis("num_blocks", step=64, far=(64, 4096, 1 << 20), unit="block")
_BLOCKS = Axis("blocks_of_each", step=16, far=(16, 4096), unit="block")

INVERSE_BOUND = Polynomial.of(
    {("batch", "num_blocks"): 8, ("batch", "blocks_of_each"): 96, ("batch",): 128, (): MIB},
    order=("batch", "num_blocks", "blocks_of_each"),
)
"""One int64 for each request and block, which is the result; else by what the tables hold."""

UNIQUE_BOUND = Polynomial.of(
    {("groups", "num_blocks"): 8, ("groups", "blocks_of_each"): 96, ("groups",): 128, (): MIB},
    order=("groups", "num_blocks", "blocks_of_each"),
)
"""One int64 for each group of queries and block; else by what the groups read."""

FLEX_INVERSE = Workload(
    name="flex-inverse-map",
    axes=(_POOL, Axis("batch", step=1, far=(2, 256), lower=2, unit="request"), _BLOCKS),
    builder=f"{_STEP}:build_inverse",
    contract=Contract(at_most=INVERSE_BOUND),
    convention=Convention(("block_table", "seq_lens", "block_size", "total_blocks")),
    variants=f"{_VARIANTS}:INVERSE",
    oracle=f"{_VARIANTS}:inverse_oracle",
    tolerance=_EXACT,
    scenarios={
        "server": Scenario(
            "server",
            {"num_blocks": 65_536, "block_size": 16, "batch": 256, "blocks_of_each": 512},
            "256 requests of 8,192 tokens in a pool of 1,048,576",
        ),
        "small": Scenario(
            "small",
            {"num_blocks": 64, "block_size": 16, "batch": 2, "blocks_of_each": 16},
            "a pool as small as those of ordinary tests",
        ),
    },
    entries={
        "vllm": Entry(
            file=_FILE,
            functions=("physical_to_logical_mapping",),
            what="inverse block map of flex attention",
        )
    },
    is_scanned_alone=True,
    by_design={
        "num_blocks": "a mask is asked about physical blocks, so each request has a place for "
        "every block of the pool that says where in the request it is"
    },
)
"""Where each block of the pool stands in each request."""

FLEX_UNIQUE = Workload(
    name="flex-unique-blocks",
    axes=(_POOL, Axis("groups", step=1, far=(2, 512), lower=2, unit="group"), _BLOCKS),
    builder=f"{_STEP}:build_unique",
    contract=Contract(at_most=UNIQUE_BOUND),
    convention=Convention(("x", "M")),
    variants=f"{_VARIANTS}:UNIQUE",
    oracle=f"{_VARIANTS}:unique_oracle",
    tolerance=_EXACT,
    scenarios={
        "server": Scenario(
            "server",
            {"num_blocks": 65_536, "groups": 512, "blocks_of_each": 512},
            "8,192 tokens in groups of 16, which read 512 blocks each",
        ),
        "small": Scenario(
            "small",
            {"num_blocks": 64, "groups": 2, "blocks_of_each": 16},
            "a pool as small as those of ordinary tests",
        ),
    },
    entries={
        "vllm": Entry(
            file=_FILE,
            functions=("unique_static_unsorted",),
            what="list of the blocks that flex attention reads",
        )
    },
    is_scanned_alone=True,
    by_design={
        "num_blocks": "a block that comes twice is found without a wait for the host, by a table "
        "with a place for every block of the pool"
    },
)
"""The blocks that each group of queries reads, each once."""


@hookimpl
def oom_workloads() -> list[Workload]:
    """Both maps."""
    return [FLEX_INVERSE, FLEX_UNIQUE]
