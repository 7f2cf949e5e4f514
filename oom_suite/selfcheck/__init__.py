"""The detectors, tried on planted faults and on healthy twins: what they see and miss."""

from oom_suite.selfcheck.run import selfcheck

__all__ = ["selfcheck"]
