"""Every mutant and every twin, with what they must be called."""

from __future__ import annotations

from oom_suite.subjects.faulty.record import LAW, Mutant, Promised, Twin

__all__ = ["LAW", "MUTANTS", "TWINS", "Mutant", "Promised", "Twin"]


def _growth(
    function: str,
    fault: str,
    blame: str = "",
    workload: str = "decode",
    *,
    is_stateful: bool = False,
) -> Mutant:
    expected = (blame or function,)
    return Mutant(
        "growth", function, LAW, fault, expected, workload=workload, is_stateful=is_stateful
    )


_GROWTH = (
    _growth("whole_dequant_swa", "decodes the whole sliding-window pool", blame="decode"),
    _growth("whole_dequant_extra", "decodes the whole compressed pool", blame="decode"),
    _growth("whole_dequant_both", "decodes both pools: vLLM #41962", blame="decode"),
    _growth("byte_per_block", "one byte per block"),
    _growth("bit_per_block", "one bit per block"),
    _growth("bit_per_extra_block", "one bit per block of the compressed pool alone"),
    _growth("bit_per_block_in_words", "one bit per block, in words of 32"),
    _growth("only_above_a_size", "one byte per block, from 100,000 blocks on"),
    _growth("only_below_a_size", "one byte per block, below 100,000 blocks"),
    _growth("only_without_extra", "only where the window is alone", workload="decode-swa"),
    _growth("only_with_extra", "only where there is a compressed pool"),
    _growth("only_at_one_token", "only for a batch of one"),
    _growth("only_with_many_heads", "only above 64 heads"),
    _growth("from_the_second_call", "only from the second call on", is_stateful=True),
    _growth("in_a_global_buffer", "a byte per block kept in a global", is_stateful=True),
    _growth("in_a_side_stream", "a byte per block taken on another stream"),
    _growth("index_map", "an int64 map over every slot"),
    _growth("clone_of_pool", "a copy of the pool"),
    _growth("pool_as_float", "the pool's bytes as float16"),
    _growth("arange_of_slots", "the number of every slot"),
    _growth("counts_of_slots", "a count for every slot"),
    _growth("one_hot_of_blocks", "one-hot over the blocks"),
    _growth("mask_of_blocks", "a mask over the blocks"),
    _growth("mask_by_isin", "a comparison with every block"),
    _growth("prefix_of_blocks", "prefix sums over the blocks"),
    _growth("pool_padded_to_a_power_of_two", "the pool padded to a power of two"),
    _growth("contiguous_scales", "the pool's scales made contiguous"),
    _growth("freed_below_the_peak", "a byte per block, freed before the peak"),
    _growth("smaller_of_both_pools", "a byte per block of the smaller pool"),
    _growth("tokens_times_blocks", "a matrix of requests by blocks"),
    _growth("order_of_blocks", "a sort over the blocks"),
    _growth("every_turn_keeps", "a loop over the pool that keeps its buffers"),
    _growth("largest_of_all_scales", "a reduction with a result for each block"),
)

MUTANTS: tuple[Mutant, ...] = _GROWTH
"""Steps with one planted fault."""

TWINS: tuple[Twin, ...] = ()
"""Steps that are unusual and right."""
