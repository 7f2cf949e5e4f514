"""The mutants that the safety detectors are meant for."""

from __future__ import annotations

from oom_suite.selfcheck.faults.record import Mutant


def _reads(function: str, fault: str, *kinds: str) -> Mutant:
    return Mutant("reach", function, "reads", fault, kinds)


def _writes(function: str, fault: str, *kinds: str) -> Mutant:
    return Mutant("reach", function, "writes", fault, kinds)


def _capture(function: str, fault: str, *kinds: str) -> Mutant:
    return Mutant("capture", function, "capture", fault, kinds, places=(function,))


def _creep(function: str, fault: str, kind: str = "leaked-reference", place: str = "") -> Mutant:
    places = (place or function,)
    return Mutant("creep", function, "creep", fault, (kind,), places=places, is_stateful=True)


def _addresses(function: str, fault: str) -> Mutant:
    return Mutant("addresses", function, "addresses", fault, ("wrong-address",))


def _indices(function: str, fault: str, *kinds: str) -> Mutant:
    return Mutant("bad_indices", function, "indices", fault, kinds)


def _precision(function: str, fault: str) -> Mutant:
    return Mutant("precision", function, "precision", fault, ("wrong-answer",))


_TOKEN, _BLOCK = "reads-unreferenced-token", "reads-unreferenced-block"
_SHAPE, _SYNC, _COPY = "data-dependent-shape", "host-sync", "host-copy"
_REFUSED = "capture-refused"

SAFETY: tuple[Mutant, ...] = (
    _reads("next_token", "reads the token behind", _TOKEN),
    _reads("token_before", "reads the token before", _TOKEN),
    _reads("whole_tile", "reads the tile around", _TOKEN),
    _reads("next_block", "reads the next block", _BLOCK, _TOKEN),
    _reads("whole_block", "reads the whole block", _TOKEN),
    _reads("behind_lens", "reads behind a row's length", _BLOCK, _TOKEN),
    _reads("padding_wraps_around", "reads the last token for -1", _BLOCK, _TOKEN),
    _reads("scale_padding", "reads the padding of the scales", "reads-pad-byte"),
    _reads("last_block_always", "reads the last block always", _BLOCK, _TOKEN),
    _reads("neighbours_laundered", "the block sets the shift, NaN removed", _BLOCK, _TOKEN),
    _reads("unwritten_scratch", "adds memory nobody wrote", "reads-uninitialised-memory"),
    _writes("empty_row_unwritten", "an empty row is not written", "leaves-output-unwritten"),
    _writes("last_row_unwritten", "the last row is not written", "leaves-output-unwritten"),
    _writes("last_value_unwritten", "the last value is not written", "leaves-output-unwritten"),
    _writes("one_value_past_output", "one value behind the output", "writes-outside"),
    _writes("one_row_past_output", "one row behind the output", "writes-outside"),
    _writes("one_value_before_output", "one value before the output", "writes-outside"),
    _writes("scale_normalised", "a scale byte written", "writes-cache"),
    _writes("padding_writes_block_zero", "block 0 marked", "writes-cache"),
    _writes("cache_marked_as_read", "the tokens read are marked", "writes-cache"),
    _writes("indices_clamped_in_place", "indices clamped in place", "writes-input"),
    _writes("lens_in_place", "lens counted down in place", "writes-input"),
    _writes("query_scaled_in_place", "queries scaled in place", "writes-input"),
    _writes("sink_in_place", "the sink exponentiated in place", "writes-input"),
    _indices("empty_row_is_nan", "an empty row is NaN", "wrong-answer"),
    _indices("last_slot_excluded", "the last slot is never read", "wrong-answer"),
    _indices("indices_taken_as_contiguous", "strided indices misread", "wrong-answer"),
    _indices("indices_taken_as_int32", "int64 indices misread", "wrong-answer"),
    _addresses("block_times_stride_int32", "block times stride in int32"),
    _addresses("block_times_stride_uint32", "block times stride in uint32"),
    _addresses("block_times_stride_float32", "block times stride in float32"),
    _addresses("slot_times_bytes_int32", "slot times bytes in int32"),
    _addresses("scales_in_int32", "the scales' addresses in int32"),
    _addresses("block_as_int16", "block numbers in int16"),
    _addresses("elements_in_int32", "decoded elements counted in int32"),
    _addresses("storage_offset_ignored", "a view read from its storage's start"),
    _addresses("pages_taken_as_contiguous", "padding between pages ignored"),
    _capture("unique_blocks", "torch.unique", _SHAPE, _SYNC, _REFUSED),
    _capture("nonzero_entries", "nonzero", _SHAPE, _SYNC, _REFUSED),
    _capture("boolean_mask", "indexing by a mask", _SHAPE, _SYNC, _REFUSED),
    _capture("masked_select", "masked_select", _SHAPE, _SYNC, _REFUSED),
    _capture("loop_bound_by_item", "a width read by .item()", _SYNC, _REFUSED),
    _capture("lens_to_the_host", "lens copied by .cpu()", _COPY, _SYNC, _REFUSED),
    _capture("lens_as_list", "lens as a list", _COPY, _SYNC, _REFUSED),
    _capture("branch_on_a_tensor", "a branch on a tensor", _SYNC, _REFUSED),
    _capture("assertion_on_a_tensor", "an assertion on a tensor", _SYNC, _REFUSED),
    _capture("printed_tensor", "a tensor as text", _COPY, _SYNC, _SHAPE, _REFUSED),
    _capture("literal_on_the_device", "a literal made on the device", _COPY, _SYNC, _REFUSED),
    _capture("repeat_by_lens", "repeat_interleave by lens", _SHAPE, _SYNC, _REFUSED),
    _capture("equal_on_the_host", "torch.equal", _SYNC, _REFUSED),
    _capture("sink_as_a_number", "the sink as a Python number", _SYNC, _REFUSED),
    _creep("outputs_kept", "every result is kept"),
    _creep("view_of_a_row_kept", "a view of each result is kept"),
    _creep("workspace_regrown", "a workspace a little larger each step", "grows-each-step"),
    _creep("cache_without_eviction", "a cache that never evicts"),
    _creep("reference_cycle", "a cycle that is kept"),
    _creep("closure_kept", "a closure that is kept"),
    _creep("cached_by_tensor", "functools.cache over tensors", place="_scaled"),
    _creep("history_of_lens", "a history of all lens", "grows-each-step"),
    _creep("default_argument", "a default argument that collects"),
    _creep("error_kept", "an error kept with its traceback"),
    _precision("sums_in_bf16", "sums kept in bf16"),
    _precision("scale_of_nope_alone", "logits scaled by the wrong dimension"),
    _precision("sink_missing", "no sink"),
    _precision("sink_of_the_neighbour", "the next head's sink"),
    _precision("fnuz_read_as_fn", "e4m3fnuz read as e4m3fn"),
    _precision("fn_read_as_fnuz", "e4m3fn read as e4m3fnuz"),
    _precision("scale_of_the_neighbour_tile", "the neighbour tile's scale"),
    _precision("last_tile_unscaled", "the last tile unscaled"),
    _precision("padding_attended", "-1 attended to as slot 0"),
    _precision("lens_ignored", "entries behind the length attended to"),
    _precision("last_entry_missed", "the last entry missed"),
    _precision("rope_left_out", "no rope in the logits"),
    _precision("sum_not_rescaled", "the sum not rescaled"),
)
"""Faults of reach, indices, addresses, capture, creep and precision."""
