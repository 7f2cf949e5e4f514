"""A short prompt in the caches of a few layers, for safety detectors, and what they must hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.layer_caches.step import HEAD_DIM
from oom_suite.workloads.variants import SeededSteps

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROMPT_LEN, _WINDOW, _MAX_LEN, _NUM_LAYERS = 21, 8, 32, 2


def small(device: torch.device | str, seed: int = 0) -> dict[str, Any]:
    """The keywords of `step.build` with random contents: two layers, a window of 8 of 21 tokens."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    states = torch.randn((2, 1, 2, _PROMPT_LEN, HEAD_DIM), generator=generator)
    keys, values = states.to(torch.bfloat16).to(device)
    return {
        "key_states": keys.clone(),
        "value_states": values.clone(),
        "num_layers": _NUM_LAYERS,
        "window": _WINDOW,
        "max_len": _MAX_LEN,
    }


def oracle(step: Mapping[str, Any], kept: str) -> tuple[torch.Tensor, ...]:
    """Keys and values of each layer in turn, float64 [batch, num_heads, tokens, 128].

    The next token attends to itself and to the ``window - 1`` before it: so many a sliding
    layer keeps.

    Args:
        step: as of `small`.
        kept: ``window`` for the last tokens alone; ``all``; ``room`` for all and zeros behind
            them up to ``max_len``.
    """
    pair = [step[name].cpu().double() for name in ("key_states", "value_states")]
    if kept == "window":
        pair = [states[:, :, 1 - step["window"] :] for states in pair]
    if kept == "room":
        behind = (0, 0, 0, step["max_len"] - pair[0].shape[2])
        pair = [torch.nn.functional.pad(states, behind) for states in pair]
    return tuple(pair * step["num_layers"])


SLIDING = SeededSteps("21 tokens", small, kept="window")
DYNAMIC = SeededSteps("21 tokens", small, kept="all")
STATIC = SeededSteps("21 tokens", small, kept="room")
