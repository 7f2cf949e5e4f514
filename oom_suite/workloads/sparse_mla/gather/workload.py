"""Tokens of a paged cache decoded into rows that the caller gives. No torch is imported.

Source: vLLM #42504, ``dequantize_and_gather_k_cache_sparse``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Polynomial, Scenario, Workload
from oom_suite.records.workload import Convention, Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SLOT = 2**31 - 1
_HERE = "oom_suite.workloads.sparse_mla.gather.step"

GATHER_BOUND = Polynomial.of({("num_slots",): 16 * 1024}, order=("num_slots",))
"""16 KiB a slot: eight float32 rows of 512 values, as for an entry that a decode step gathers."""


def _settle(sizes: Mapping[str, int]) -> Mapping[str, int] | None:
    """The same sizes where slots are 32-bit numbers."""
    return dict(sizes) if sizes["num_blocks"] * sizes["block_size"] <= _MAX_SLOT else None


def _scenario(name: str, num_blocks: int, num_slots: int, summary: str) -> Scenario:
    sizes = {"num_blocks": num_blocks, "block_size": 64, "num_slots": num_slots}
    return Scenario(name, sizes, summary)


SCENARIOS = {
    one.name: one
    for one in (
        _scenario(
            "prefill", 221_839, 32_768, "the union of a prefill chunk's top-k, in a whole pool"
        ),
        _scenario("small", 64, 512, "a pool as small as those of ordinary tests"),
    )
}

GATHER = Workload(
    name="gather",
    axes=(
        Axis("num_blocks", step=64, far=(64, 4096, 1 << 20), unit="block"),
        Axis("num_slots", step=64, far=(64, 262_144), unit="slot"),
    ),
    builder=f"{_HERE}:build",
    contract=Contract(independent_of=("num_blocks",), at_most=GATHER_BOUND),
    settle=_settle,
    convention=Convention(("out", "k_cache", "slot_indices", "block_size"), output="out"),
    scenarios=SCENARIOS,
    pools=(Pool("k_cache", "slot_indices"),),
    variants=f"{_HERE}:VARIANTS",
    oracle=f"{_HERE}:oracle",
    tolerance="oom_suite.workloads.variants:exact",
    leaves_inputs_untouched=True,
)
"""Rows for the slots that are wanted, whatever the pool."""


@hookimpl
def oom_workloads() -> list[Workload]:
    """The gather."""
    return [GATHER]
