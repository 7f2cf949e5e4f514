"""The kernels of a target, as formulas of operators ask for them."""

from __future__ import annotations

from oom_suite.operators.kernels import Kernels
from oom_suite.targets.target import target

_CUDA = "cuda:sm_90"


def kernels_of(scratch: str) -> Kernels | None:
    """Whose kernels a lane's ``scratch`` names; None where it names none that are known.

    Args:
        scratch: a target, as in ``cuda:sm_90``; ``cuda`` is that one; empty for none.

    Raises:
        UsageError: there is no such target.
    """
    if not scratch:
        return None
    found = target(_CUDA if scratch == "cuda" else scratch)
    if found.backend not in {"cuda", "rocm"}:
        return None
    return Kernels(
        backend=found.backend,
        arch=found.arch,
        num_multiprocessors=found.num_multiprocessors,
        warp_size=found.warp_size,
        max_threads_per_multiprocessor=found.max_threads_per_multiprocessor,
    )
