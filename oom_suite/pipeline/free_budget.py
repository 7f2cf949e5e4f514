"""The budget ``free``: what the device of the run has free now."""

from __future__ import annotations

from oom_suite.errors import OomSuiteError, UsageError
from oom_suite.pipeline.session import Session
from oom_suite.targets.budgets import Budget


def free_budget(device: str) -> Budget:
    """What is free on a device at this moment, by ``mem_get_info`` or the system.

    Raises:
        UsageError: the device cannot be asked.
    """
    try:
        with Session() as session:
            memory = session.free_memory(device)
    except OomSuiteError as error:
        msg = f"budget 'free': device {device!r} cannot be asked: {error}"
        raise UsageError(msg) from None
    return Budget(
        f"free memory of {device}",
        memory.free_bytes,
        f"free on {device} ({memory.name}) when it was asked",
    )
