"""Which GPUs this process may use, found without torch and without starting the driver."""

from oom_suite.targets.visible import VisibleGpus, visible_gpus

__all__ = ["VisibleGpus", "visible_gpus"]
