"""Along which axes a subject's law is sought: those that its fault or its oddity is about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.records.selfcheck import LIMIT_GROUP
from oom_suite.selfcheck.faults.record import Mutant, Twin

if TYPE_CHECKING:
    from oom_suite.records import Workload

_POOLS = frozenset({"swa_num_blocks", "extra_num_blocks"})
_TOKENS = frozenset({"num_tokens"})
STEP = _POOLS | _TOKENS
"""The axes of every step's law: what it must not depend on, and what every buffer depends on.

A step that keeps state is run afresh at every size: at sizes of these axes alone.
"""
_HEADS = frozenset({"num_heads"})
_ENTRIES = frozenset({"extra_topk"})
"""Entries of one pool, the compressed one where there is one: both are read with the same lines."""

_GROWING: dict[str, frozenset[str]] = {
    **dict.fromkeys(("only_at_one_token", "tokens_times_blocks"), _TOKENS),
    "only_with_many_heads": _HEADS,
}
"""Axes beside the pools that a fault of growth asks for; the others ask for none."""

_ODD: dict[str, frozenset[str]] = {
    # The batch in another order, or in pieces; a buffer of constant size; the pool itself.
    **dict.fromkeys(
        (
            "row_by_row",
            "halves_of_the_batch",
            "reversed_batch",
            "narrower_for_one_request",
            "more_than_needed",
            "strided_view",
        ),
        frozenset(),
    ),
    # Buffers as large as the queries.
    **dict.fromkeys(
        (
            "heads_in_two_halves",
            "batch_padded_to_sixteen",
            "clone_of_queries",
            "queries_in_float32",
            "output_written_twice",
            "output_by_copy",
            "view_into_a_larger_buffer",
            "scratch_made_and_dropped",
            "sink_as_a_copy",
        ),
        _HEADS,
    ),
    # Buffers with a row for each entry that is named.
    **dict.fromkeys(
        (
            "in_chunks",
            "padded_to_a_power_of_two",
            "indices_as_int64",
            "indices_cloned_and_clamped",
            "flat_addresses",
            "sorted_entries",
            "entries_reversed",
            "pools_in_other_order",
            "keys_in_two_halves",
            "duplicates_found_by_sort",
            "rows_by_index_select",
            "decoded_in_bf16",
            "scales_by_exponent",
            "block_ids_as_int32",
        ),
        _ENTRIES,
    ),
    # Logits: one for each head and entry.
    "softmax_in_two_passes": _HEADS | _ENTRIES,
}
"""Axes that a twin's oddity is about, beside `STEP`; all axes for a twin that is not here."""


def varied(workload: Workload, subject: Mutant | Twin) -> Workload:
    """The workload with the axes that are varied to find this subject's law."""
    axes = tuple(axis for axis in workload.axes if _is_varied(axis.name, subject))
    return replace(workload, axes=axes)


def _is_varied(axis: str, subject: Mutant | Twin) -> bool:
    if subject.is_stateful:
        return axis in STEP
    if isinstance(subject, Mutant):
        along_pools = subject.group in {"growth", LIMIT_GROUP}
        return not along_pools or axis in _POOLS | _GROWING.get(subject.function, frozenset())
    if axis == "swa_topk" and subject.workload == "decode-swa":
        axis = "extra_topk"
    return subject.function not in _ODD or axis in STEP | _ODD[subject.function]
