"""The prove lane: the code under fake tensors whose sizes are symbols, for a law in closed form."""

from oom_suite.tracing.prove.lane import ProveLane

__all__ = ["ProveLane"]
