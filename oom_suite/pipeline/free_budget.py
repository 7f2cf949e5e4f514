"""The budget ``free``: what the device of the run has free now."""

from __future__ import annotations

from oom_suite.errors import OomSuiteError, UsageError
from oom_suite.pipeline.check import DEFAULT_TIME_LIMIT_S
from oom_suite.pipeline.children import PRELOAD
from oom_suite.processes.child import Child
from oom_suite.targets.budgets import Budget


def free_budget(device: str) -> Budget:
    """What is free on a device at this moment, by ``mem_get_info`` or the system.

    A child asks: this process makes no context on a GPU, which would hold memory there.

    Raises:
        UsageError: the device cannot be asked.
    """
    try:
        with Child(
            "oom_suite.targets.free_memory:make_handler",
            (device,),
            time_limit_s=DEFAULT_TIME_LIMIT_S,
            preload=PRELOAD,
            needs_gpu=device != "cpu",
        ) as child:
            memory = child.ask(None)
    except OomSuiteError as error:
        msg = f"budget 'free': device {device!r} cannot be asked: {error}"
        raise UsageError(msg) from None
    return Budget(
        f"free memory of {device}",
        memory.free_bytes,
        f"free on {device} ({memory.name}) when it was asked",
    )
