"""The tensors of a scenario on any device: paged pools, indices and quantized contents."""

from oom_suite.workloads.sparse_mla.caches.indices import (
    PATTERNS,
    Indices,
    index_pattern,
    referenced_blocks,
    spread_indices,
)
from oom_suite.workloads.sparse_mla.caches.pools import block_view, paged_pool, write_blocks
from oom_suite.workloads.sparse_mla.caches.quantization import dequantize, quantize

__all__ = [
    "PATTERNS",
    "Indices",
    "block_view",
    "dequantize",
    "index_pattern",
    "paged_pool",
    "quantize",
    "referenced_blocks",
    "spread_indices",
    "write_blocks",
]
