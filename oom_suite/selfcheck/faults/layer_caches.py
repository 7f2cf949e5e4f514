"""Caches of a model's layers with one planted fault each, and unusual ones that are right.

A call here takes the keywords of the workload `sliding-cache`, `dynamic-cache` or `static-cache`,
and gives back the keys and values that each layer keeps of the prompt.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW

if TYPE_CHECKING:
    from collections.abc import Callable

    Layers = list[list[torch.Tensor]]

_sliding = functools.partial(mutant, workload="sliding-cache", along=("prompt_len",))
_dynamic = functools.partial(mutant, workload="dynamic-cache", along=("prompt_len",))
_static = functools.partial(mutant, workload="static-cache", along=("max_len",))

_KEPT: list[torch.Tensor] = []


def layers(step: dict[str, Any], keep: Callable[[torch.Tensor], torch.Tensor]) -> Layers:
    """What each layer keeps of keys and of values, which come to it as tensors of its own."""
    found = []
    for _ in range(step["num_layers"]):
        keys, values = step["key_states"].clone(), step["value_states"].clone()
        found.append([keep(keys), keep(values)])
    return found


@_sliding(LAW, "layers")
def view_of_the_prompt(**step: Any) -> Layers:
    """Keeps a slice of the prompt, which holds all that it was cut from, as transformers does."""
    return layers(step, lambda states: states[:, :, 1 - step["window"] :])


@twin(LAW, workload="sliding-cache", along=("prompt_len",))
def window_with_room(**step: Any) -> Layers:
    """Keeps a copy of the window in room for as many tokens again, which is all that is allowed."""

    def keep(states: torch.Tensor) -> torch.Tensor:
        window = states[:, :, 1 - step["window"] :]
        shape = list(window.shape)
        shape[2] = 2 * step["window"]
        return states.new_empty(shape)[:, :, : window.shape[2]].copy_(window)

    return layers(step, keep)


@_sliding("precision", "wrong-answer")
def first_tokens_kept(**step: Any) -> Layers:
    """Keeps the first tokens of the prompt, not the last."""
    return layers(step, lambda states: states[:, :, : step["window"] - 1].clone())


@_sliding("precision", "wrong-answer")
def window_one_short(**step: Any) -> Layers:
    """Keeps one token less than the next one attends to."""
    return layers(step, lambda states: states[:, :, 2 - step["window"] :].clone())


@_dynamic(LAW, "<lambda>")
def room_for_the_longest(**step: Any) -> Layers:
    """Takes room for the longest text where the prompt alone is asked for."""
    return layers(
        step,
        lambda states: states.new_empty((*states.shape[:2], step["max_len"], 128))[
            :, :, : states.shape[2]
        ].copy_(states),
    )


@twin(LAW, workload="dynamic-cache", along=("prompt_len",))
def room_for_as_much_again(**step: Any) -> Layers:
    """Takes room for twice the prompt, which is all that is allowed."""
    return layers(
        step,
        lambda states: states.new_empty((*states.shape[:2], 2 * states.shape[2], 128))[
            :, :, : states.shape[2]
        ].copy_(states),
    )


@_dynamic("writes", "writes-input")
def keys_scaled_in_place(**step: Any) -> Layers:
    """Writes into the prompt's keys: they are scaled where they stand."""
    found = layers(step, torch.Tensor.clone)
    step["key_states"].mul_(0.5)
    return found


@_dynamic("reads", "reads-uninitialised-memory")
def last_token_of_prompts_unwritten(**step: Any) -> Layers:
    """Leaves the room of the last token as it was when it was taken."""

    def keep(states: torch.Tensor) -> torch.Tensor:
        room = torch.empty_like(states)
        room[:, :, :-1].copy_(states[:, :, :-1])
        return room

    return layers(step, keep)


@_dynamic("creep", "leaked-reference", is_stateful=True)
def prompts_kept(**step: Any) -> Layers:
    """Keeps the first token of every prompt, in a list that no one empties."""
    _KEPT.append(step["key_states"][:, :, :1].clone())
    return layers(step, torch.Tensor.clone)


@_dynamic("precision", "wrong-answer")
def layers_in_another_order(**step: Any) -> Layers:
    """Gives back values where keys are asked for."""
    return [pair[::-1] for pair in layers(step, torch.Tensor.clone)]


def _room(states: torch.Tensor, length: int, copies: int = 1) -> torch.Tensor:
    room = states.new_zeros((copies, *states.shape[:2], length, states.shape[3]))[0]
    room[:, :, : states.shape[2]].copy_(states)
    return room


@_static(LAW, "_room")
def room_three_times(**step: Any) -> Layers:
    """Takes room for three times the longest text, where twice is allowed."""
    return layers(step, lambda states: _room(states, step["max_len"], 3))


@twin(LAW, workload="static-cache", along=("max_len",))
def room_twice(**step: Any) -> Layers:
    """Takes room for twice the longest text."""
    return layers(step, lambda states: _room(states, step["max_len"], 2))
