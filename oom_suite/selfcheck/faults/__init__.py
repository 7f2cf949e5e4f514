"""Decode steps with one planted fault each, and healthy ones that only look suspicious.

They show what the detectors catch. `oom_suite.selfcheck.faults.catalog` has them all, and
``oom-suite selfcheck`` tries them. A step here takes the keywords of the workload `decode`.
"""

from oom_suite.hookspecs import hookimpl

_FILES = (
    "twins",
    "growth",
    "threads",
    "devices",
    "axes",
    "builders",
    "host",
    "kept",
    "custom_operators",
    "reach",
    "bad_indices",
    "addresses",
    "capture",
    "creep",
    "precision",
    "kernels",
    "kernel_twins",
    "indexer",
    "indexer_prefill",
    "sparse_prefill",
    "sampling",
    "layer_caches",
    "capacities",
)


@hookimpl
def oom_faults() -> tuple[str, ...]:
    """The suite's own, named and not imported."""
    return tuple(f"{__name__}.{file}" for file in _FILES)
