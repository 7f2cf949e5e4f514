"""The mutants that the law is meant for: growth with the pool, and along other axes."""

from __future__ import annotations

from oom_suite.selfcheck.faults.record import LAW, Mutant, Promised


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


def _axis(function: str, fault: str, *blame: str) -> Mutant:
    return Mutant("axes", function, LAW, fault, blame or (function,))


def _builder(function: str, fault: str, blame: str, promised: Promised) -> Mutant:
    return Mutant("builders", function, LAW, fault, (blame,), workload="", promised=promised)


GROWTH: tuple[Mutant, ...] = (
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
"""One allocation too many, which grows with the pool."""

AXES: tuple[Mutant, ...] = (
    _axis("max_model_len", "logits as long as the model's longest context"),
    _axis("batch_squared", "all pairs of requests, per head and value"),
    _axis("batch_squared_mask", "a mask of all pairs of requests"),
    _axis("heads_squared", "all pairs of heads"),
    _axis("keys_for_every_head", "the keys once for each head"),
    _axis("five_copies_of_logits", "five copies of the logits"),
    _axis("top_k_squared", "all pairs of a row's entries"),
    _axis("window_times_top_k", "the window's entries against the compressed pool's"),
    _axis("blocks_squared", "all pairs of blocks named"),
    _axis("nine_values_for_one", "nine float32 copies of the keys"),
    _axis("block_for_every_entry", "a whole block for every entry", "decode", "at"),
    _axis("splits_times_tokens", "partial results of 64 splits"),
)
"""Growth along an axis that is allowed, beyond what the bound allows."""

BUILDERS: tuple[Mutant, ...] = (
    _builder(
        "gather_of_the_whole_table",
        "an embedding table widened before the lookup",
        "lookup",
        Promised({"num_rows": 4096, "num_tokens": 8}, ("num_rows",)),
    ),
    _builder(
        "append_by_concatenation",
        "a cache made anew to append a key",
        "append",
        Promised({"num_cached": 1024}, ("num_cached",)),
    ),
    _builder(
        "reorder_by_copy",
        "beams reordered by copying caches",
        "reorder",
        Promised({"num_blocks": 512, "num_beams": 4}, ("num_blocks",)),
    ),
    _builder(
        "logits_of_every_token",
        "a chunked cross-entropy that makes all logits",
        "loss",
        Promised(
            {"num_tokens": 1024, "vocabulary": 512},
            ("num_tokens",),
            far={"num_tokens": (256, 4096)},
        ),
    ),
    _builder(
        "every_expert_for_every_token",
        "room for every token at every expert",
        "dispatch",
        Promised(
            {"num_tokens": 64, "num_experts": 8},
            at_most="(num_tokens + 16*num_experts) * 256",
        ),
    ),
    _builder(
        "scores_of_all_pairs",
        "a mask of all pairs beside attention in chunks",
        "attend",
        Promised({"num_tokens": 512}, at_most="num_tokens*64*4 + 1MiB"),
    ),
    _builder(
        "bitmap_of_pages",
        "a copy of the bitmap of all pages",
        "take",
        Promised({"num_blocks": 4096, "num_tokens": 4}, ("num_blocks",)),
    ),
)
"""Other tensor code."""
