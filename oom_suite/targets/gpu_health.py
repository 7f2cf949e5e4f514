"""Whether this process can still use its GPU: one wrong access spoils it for all that follows."""

from __future__ import annotations

import torch


def is_healthy(device: torch.device) -> bool:
    """Whether a kernel runs there now; always on a CPU.

    After an assertion in a kernel or a wild access every call of the process fails, and a later
    one may be the first to say so.

    Source: CUDA Runtime API 13.0, cudaError_t 700 and 710: "the process must be terminated and
    relaunched"; HIP 7.0 has the same.
    """
    if device.type == "cpu":
        return True
    try:
        torch.cuda.synchronize(device)
        return float(torch.ones(1, device=device).item()) == 1.0
    except Exception:
        return False
