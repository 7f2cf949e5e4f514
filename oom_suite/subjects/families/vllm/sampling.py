"""Calls vLLM's log-probabilities, and stands in for the kernels that its sampling takes."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from oom_suite.subjects.loading import Given


def of_logits(function: Callable[..., Any]) -> Callable[..., Any]:
    """The two steps of log-probabilities, one after the other, as a prompt's chunk takes them.

    Source: vLLM 0.33.0 `vllm/v1/sample/sampler.py:369` and :373.
    """
    sampler = inspect.unwrap(function).__globals__["Sampler"]

    def call(logits: torch.Tensor, num_logprobs: int, token_ids: torch.Tensor) -> Any:
        return function(sampler.compute_logprobs(logits), num_logprobs, token_ids=token_ids)

    return call


def logprobs(_: Given) -> dict[str, Any]:
    """The rank of each token, which vLLM compiles into one kernel: it takes its result alone.

    Source: vLLM 0.33.0 `vllm/v1/sample/ops/logprobs.py:11`.
    """
    return {"batched_count_greater_than": _ranks}


def outputs(_: Given) -> dict[str, Any]:
    """The record of log-probabilities, as a tuple."""
    return {"LogprobsTensors": Tensors}


class Tensors(tuple[torch.Tensor, ...]):
    """Tensors that belong together."""

    __slots__ = ()

    def __new__(cls, *tensors: torch.Tensor) -> Tensors:
        """A tuple of them."""
        return super().__new__(cls, tensors)


def sync_debug(_: Given) -> dict[str, Any]:
    """A context in which a wait for the device is allowed, as it is everywhere here."""
    return {"gpu_sync_allowed": lambda **_: contextlib.nullcontext()}


def custom_ops(_: Given) -> dict[str, Any]:
    """The kernel of repetition penalties, which writes logits in their place.

    Source: vLLM 0.33.0 `vllm/_custom_ops.py:410`.
    """
    return {"apply_repetition_penalties": _in_place}


def _ranks(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    del values
    return torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)


def _in_place(logits: torch.Tensor, *others: torch.Tensor) -> None:
    del others
    logits.mul_(1.0)
