"""On which layer a subject is tried: of a sliding window alone, unless it is about two pools.

A step reads both of its pools with the same lines. On a layer with one pool the same fault is
there and the same detector must see it; a law has half the operators and fewer axes there, and
what an over-read reads is found in a fifth of the time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from oom_suite.selfcheck.faults.record import LAW, Mutant, Twin

Subject = TypeVar("Subject", Mutant, Twin)

_SEARCHING = frozenset({LAW, "reads"})
"""Detectors that take many runs; the others try a mutant in a moment on either layer."""

_ABOUT_TWO_POOLS = frozenset(
    {
        # Faults in what reads the compressed pool, or in what compares the two.
        "whole_dequant_extra",
        "whole_dequant_both",
        "bit_per_extra_block",
        "only_with_extra",
        "only_below_a_size",
        "only_with_many_heads",
        "pool_as_float",
        "mask_of_blocks",
        "freed_below_the_peak",
        "smaller_of_both_pools",
        "largest_of_all_scales",
        "five_copies_of_logits",
        "keys_for_every_head",
        "top_k_squared",
        "window_times_top_k",
        # Over-reads of padding, which the steps of the window have not, and of whole blocks.
        "padding_wraps_around",
        "next_block",
        "last_block_always",
        # Twins whose oddity is what they do with both: in which order, and with all logits at once.
        "pools_in_other_order",
        "softmax_in_two_passes",
        # Twins with a workspace that grows with the context: a sliding window's has a fixed width.
        "workspace_in_a_global",
        "workspace_that_settles",
    }
)


def on_its_layer(subject: Subject) -> Subject:
    """The subject with the workload that it is tried with."""
    is_searched = isinstance(subject, Twin) or subject.detector in _SEARCHING
    is_about_one = subject.function not in _ABOUT_TWO_POOLS
    if subject.workload == "decode" and is_searched and is_about_one:
        return replace(subject, workload="decode-swa")
    return subject
