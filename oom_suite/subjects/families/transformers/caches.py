"""Calls the caches of transformers, a class for a layer, and supplies what their file asks."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.subjects.loading import Given


def of_layers(layer: type[Any]) -> Callable[..., Any]:
    """A function that gives each of some layers a prompt.

    It gives back the layers, each with the keys and the values that it has.

    Source: transformers 5.24.0 `transformers/cache_utils.py:119`, :222 and :462, `update`.
    """
    taken = inspect.signature(layer).parameters

    def call(
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        num_layers: int,
        window: int,
        max_len: int,
    ) -> list[tuple[Any, torch.Tensor, torch.Tensor]]:
        given = {"sliding_window": window, "max_cache_len": max_len}
        known = {key: size for key, size in given.items() if key in taken}
        layers = [layer(**known) for _ in range(num_layers)]
        for one in layers:
            one.update(key_states, value_states)
        return [(one, one.keys, one.values) for one in layers]

    return call


def utils(_: Given) -> dict[str, Any]:
    """What the file asks of the machine: no quantizer is installed, and nothing is compiled."""

    def no(*_: Any, **__: Any) -> bool:
        return False

    return {
        "is_hqq_available": no,
        "is_optimum_quanto_available": no,
        "is_quanto_greater": no,
        "is_torchdynamo_compiling": no,
        "is_torch_greater_or_equal": _is_torch_greater_or_equal,
    }


def _is_torch_greater_or_equal(version: str, **_: Any) -> bool:
    return Version(torch.__version__) >= Version(version)
