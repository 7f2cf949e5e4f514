"""What tests look at in the modelled allocator."""

from __future__ import annotations


def actions(model, *kinds):
    """The bytes of the steps of some kinds, in order."""
    return [(step.action, step.num_bytes) for step in model.steps if step.action in kinds]


def reserved(model):
    return model.statistics.all.reserved_bytes.current


def inactive(model):
    counters = model.statistics.all
    return counters.inactive_split.current, counters.inactive_split_bytes.current
