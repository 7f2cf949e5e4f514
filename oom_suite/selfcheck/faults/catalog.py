"""Every mutant and every twin, with what they must be called."""

from __future__ import annotations

from oom_suite.selfcheck.faults.catalog_of_growth import AXES, BUILDERS, GROWTH
from oom_suite.selfcheck.faults.catalog_of_safety import SAFETY
from oom_suite.selfcheck.faults.record import LAW, Mutant, Promised, Twin

__all__ = ["LAW", "MUTANTS", "TWINS", "Mutant", "Promised", "Twin"]

MUTANTS: tuple[Mutant, ...] = (*GROWTH, *AXES, *BUILDERS, *SAFETY)
"""Steps with one planted fault."""


def _twin(function: str, oddity: str, *, is_stateful: bool = False) -> Twin:
    return Twin("twins", function, oddity, is_stateful=is_stateful)


TWINS: tuple[Twin, ...] = (
    _twin("in_chunks", "reads in chunks"),
    _twin("row_by_row", "the result written row by row"),
    _twin("heads_in_two_halves", "half of the heads at a time"),
    _twin("halves_of_the_batch", "the second half of the batch first"),
    _twin("reversed_batch", "the batch in reverse order"),
    _twin("workspace_in_a_global", "a workspace made once", is_stateful=True),
    _twin("workspace_that_settles", "a workspace that doubles and settles", is_stateful=True),
    _twin("more_than_needed", "a buffer of constant size, unused"),
    _twin("padded_to_a_power_of_two", "named entries padded to a power of two"),
    _twin("batch_padded_to_sixteen", "the batch padded to 16"),
    _twin("clone_of_queries", "a copy of the queries"),
    _twin("queries_in_float32", "the queries widened"),
    _twin("indices_as_int64", "the indices widened"),
    _twin("indices_cloned_and_clamped", "a copy of the indices clamped"),
    _twin("output_written_twice", "the output written twice"),
    _twin("output_by_copy", "the output copied from a buffer"),
    _twin("view_into_a_larger_buffer", "a result in the middle of a buffer"),
    _twin("flat_addresses", "flat bytes at int64 addresses"),
    _twin("strided_view", "a view of the pool by as_strided"),
    _twin("sorted_entries", "entries in order of their slots"),
    _twin("entries_reversed", "entries from the last to the first"),
    _twin("pools_in_other_order", "the compressed pool first"),
    _twin("softmax_in_two_passes", "the logits computed twice"),
    _twin("keys_in_two_halves", "the keys in two halves"),
    _twin("duplicates_found_by_sort", "duplicates found by sorting"),
    _twin("rows_by_index_select", "rows gathered flat"),
    _twin("decoded_in_bf16", "decoded to bf16, then widened"),
    _twin("scales_by_exponent", "scales made from their bits"),
    _twin("block_ids_as_int32", "narrow block numbers, wide products"),
    _twin("scratch_made_and_dropped", "the same scratch eight times"),
    _twin("narrower_for_one_request", "another path for one request"),
    _twin("sink_as_a_copy", "a copy of the sink"),
    Twin(
        "builders",
        "gathered_by_index_select",
        "an embedding lookup",
        promised=Promised({"num_rows": 4096, "num_tokens": 8}, ("num_rows",)),
    ),
    Twin(
        "builders",
        "appended_in_place",
        "a key written in place",
        promised=Promised({"num_cached": 1024}, ("num_cached",)),
    ),
    Twin(
        "builders",
        "logits_in_chunks",
        "a cross-entropy in chunks",
        promised=Promised(
            {"num_tokens": 1024, "vocabulary": 512},
            ("num_tokens",),
            far={"num_tokens": (256, 4096)},
        ),
    ),
    Twin(
        "builders",
        "padded_for_its_experts",
        "rows padded for each expert",
        promised=Promised(
            {"num_tokens": 64, "num_experts": 8},
            at_most="(num_tokens + 16*num_experts) * 256",
        ),
    ),
)
"""Steps that are unusual and right."""
