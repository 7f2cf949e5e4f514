"""Small steps of sampling, for safety detectors, and what they must give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.workloads.variants import SeededSteps

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROWS, _VOCAB = 3, 96


def small_top_k_top_p(device: torch.device | str, seed: int = 0) -> dict[str, Any]:
    """The keywords of `step.build_top_k_top_p`: few tokens, all of them, and one by top-p."""
    return {
        "logits": _distinct(seed).to(device),
        "k": torch.tensor([7, _VOCAB, 20], dtype=torch.int32, device=device).roll(seed),
        "p": torch.tensor([0.8, 0.9, 0.01], device=device).roll(seed),
    }


def small_penalties(device: torch.device | str, seed: int = 0) -> dict[str, Any]:
    """The keywords of `step.build_penalties`: prompts and outputs end with padding.

    Padding is the token behind the last. No repetition is penalised: in vLLM that is a kernel,
    which has a stand-in here.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    tokens = torch.randint(_VOCAB // 8, (_ROWS, 24), generator=generator) * 8
    tokens[:, 8:] //= 2
    padded = tokens.masked_fill(torch.arange(24) % 8 > 5, _VOCAB).to(device)
    penalties = torch.rand((2, _ROWS), generator=generator).to(device)
    return {
        "logits": _distinct(seed).to(device),
        "prompt_tokens_tensor": padded[:, :8].contiguous(),
        "output_tokens_tensor": padded[:, 8:].contiguous(),
        "presence_penalties": penalties[0],
        "frequency_penalties": penalties[1],
        "repetition_penalties": torch.ones(_ROWS, device=device),
    }


def small_logprobs(device: torch.device | str, seed: int = 0) -> dict[str, Any]:
    """The keywords of `step.build_logprobs`, no two logits of a row being equal."""
    return {
        "logits": _distinct(seed).to(torch.bfloat16).to(device),
        "num_logprobs": 3,
        "token_ids": (torch.arange(_ROWS) * 31 + seed).to(device),
    }


def _distinct(seed: int) -> torch.Tensor:
    """Logits float32 [3, 96], every eighth from 0 up to 12 in some order: bf16 holds them all."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    rows = [torch.randperm(_VOCAB, generator=generator) for _ in range(_ROWS)]
    return torch.stack(rows) / 8.0


def top_k_top_p_oracle(step: Mapping[str, Any]) -> torch.Tensor:
    """Logits float64, minus infinity where a token is not among the k likeliest, or beyond top-p.

    Of the k likeliest, those stay whose likelier ones have less than p together.
    """
    logits = step["logits"].cpu().double()
    found = torch.full_like(logits, -torch.inf)
    for row, (k, p) in enumerate(zip(step["k"].tolist(), step["p"].tolist(), strict=True)):
        values, tokens = logits[row].topk(k)
        probabilities = values.softmax(dim=0)
        kept = tokens[(probabilities.cumsum(0) - probabilities) < p]
        found[row, kept] = logits[row, kept]
    return found


def penalties_oracle(step: Mapping[str, Any]) -> torch.Tensor:
    """Logits float64 less a penalty for each time that a token was given, and one for all."""
    found: torch.Tensor = step["logits"].cpu().double().clone()
    for row, tokens in enumerate(step["output_tokens_tensor"].tolist()):
        for token in {one for one in tokens if one < found.shape[1]}:
            found[row, token] -= step["presence_penalties"][row].item()
            found[row, token] -= step["frequency_penalties"][row].item() * tokens.count(token)
    return found


def logprobs_oracle(step: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each row its token, then the likeliest: which they are, and their log-probabilities."""
    every = step["logits"].cpu().double().log_softmax(dim=1)
    _, likeliest = every.topk(step["num_logprobs"], dim=1)
    tokens = torch.cat([step["token_ids"].cpu().unsqueeze(1), likeliest], dim=1)
    return tokens.double(), every.gather(1, tokens)


def penalties_tolerance(step: Mapping[str, Any], expected: torch.Tensor) -> torch.Tensor:
    """Four roundings to float32 of the logit and of what is taken from it."""
    before: torch.Tensor = step["logits"].cpu().double()
    return (before.abs() + expected.abs() + 24) * 4 * 2.0**-24


def logprobs_tolerance(
    step: Mapping[str, Any], expected: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Nothing for tokens; for log-probabilities the rounding of a float32 sum over all tokens."""
    del step
    tokens, logprobs = expected
    return torch.zeros_like(tokens), (logprobs.abs() + _VOCAB) * 2.0**-24


TOP_K_TOP_P = SeededSteps("three rows", small_top_k_top_p)
PENALTIES = SeededSteps("three rows", small_penalties)
LOGPROBS = SeededSteps("three rows", small_logprobs)
