"""The measure lane: the code with real tensors, in the room it is given, on a CPU or a GPU."""

from oom_suite.tracing.measure.lane import Limits, MeasureLane, Watched

__all__ = ["Limits", "MeasureLane", "Watched"]
