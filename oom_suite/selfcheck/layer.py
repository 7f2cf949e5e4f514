"""On which layer a subject is tried: of a sliding window alone, unless it is about two pools.

A step reads both of its pools with the same lines. On a layer with one pool the same fault is
there, the same detector must see it, and a law has half the operators and fewer axes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from oom_suite.records.selfcheck import LIMIT_GROUP
from oom_suite.subjects.faulty.record import Mutant, Twin

Subject = TypeVar("Subject", Mutant, Twin)

_GROUPS = frozenset({"growth", "axes", "twins", LIMIT_GROUP})
"""Groups that have laws; what has none is tried in a moment on either layer."""

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
    is_about_one = subject.function not in _ABOUT_TWO_POOLS
    if subject.workload == "decode" and subject.group in _GROUPS and is_about_one:
        return replace(subject, workload="decode-swa")
    return subject
