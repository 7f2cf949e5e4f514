"""Replays an incident: the reported headroom, the culprit that runs out of it, the fixes."""

from oom_suite.pipeline.replay.run import Plan, replay

__all__ = ["Plan", "replay"]
