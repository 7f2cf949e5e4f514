"""Sampling's steps with one planted fault each, and unusual ones that are right.

A step here takes the keywords of the workload `top-k-top-p`, `penalties` or `logprobs`.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW

_filter = functools.partial(mutant, workload="top-k-top-p", along=("num_rows",))
_penalty = functools.partial(mutant, workload="penalties", along=("prompt_len",))
_logprobs = functools.partial(mutant, workload="logprobs", along=("num_rows",))

_KEPT: list[torch.Tensor] = []


def kept(logits: torch.Tensor, k: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """The logits of the k likeliest tokens that have the probability p together."""
    values, tokens = logits.sort(dim=-1, descending=True)
    place = torch.arange(logits.shape[1], device=logits.device)
    values.masked_fill_(place >= k.unsqueeze(1), -torch.inf)
    likelier = values.softmax(dim=-1).cumsum(dim=-1)
    likelier = likelier.roll(1, dims=-1)
    likelier[:, 0] = 0.0
    values.masked_fill_(likelier >= p.unsqueeze(1), -torch.inf)
    return logits.scatter_(1, tokens, values)


@_filter(LAW)
def nine_copies_of_all_logits(**step: Any) -> torch.Tensor:
    """Nine float32 copies of the logits, where eight are allowed."""
    copies = step["logits"].repeat(9, 1)
    del copies
    return kept(**step)


@twin(LAW, workload="top-k-top-p", along=("num_rows",))
def eight_copies_of_all_logits(**step: Any) -> torch.Tensor:
    """Eight float32 copies of the logits, which are dropped before they are put in order."""
    copies = step["logits"].repeat(8, 1)
    del copies
    return kept(**step)


@_filter("reads", "reads-uninitialised-memory")
def likelier_than_the_likeliest(**step: Any) -> torch.Tensor:
    """Adds a row of sums that nobody wrote, with a weight of zero."""
    return kept(**step).add_(torch.empty_like(step["logits"][:, :1]) * 0.0)


@_filter("writes", "writes-input")
def k_counted_from_zero_in_place(**step: Any) -> torch.Tensor:
    """Writes into k: from a number of tokens to the place of the last one."""
    logits = kept(**step)
    step["k"].sub_(1)
    return logits


@_filter("capture", "host-sync", "capture-refused")
def largest_k_on_the_host(**step: Any) -> torch.Tensor:
    """Asks on the host for the largest k."""
    largest = int(step["k"].max().item())
    return kept(step["logits"], step["k"].clamp_max(max(1, largest)), step["p"])


@_filter("creep", "leaked-reference", is_stateful=True)
def k_kept(**step: Any) -> torch.Tensor:
    """Keeps a copy of k of every call."""
    _KEPT.append(step["k"].clone())
    return kept(**step)


@_filter("precision", "wrong-answer")
def top_p_of_all_tokens(**step: Any) -> torch.Tensor:
    """Takes top-p of the probabilities of all tokens, not of the k likeliest."""
    logits = step["logits"]
    every = torch.full_like(step["k"], logits.shape[1])
    by_p = kept(logits.clone(), every, step["p"])
    by_k = kept(logits.clone(), step["k"], torch.ones_like(step["p"]))
    return torch.minimum(by_p, by_k)


@_filter("precision", "wrong-answer")
def one_token_too_few(**step: Any) -> torch.Tensor:
    """Leaves out the token that reaches p."""
    return kept(step["logits"], (step["k"] - 1).clamp_min(1), step["p"])


def penalised(step: dict[str, Any], tokens: str = "output_tokens_tensor") -> torch.Tensor:
    """The logits less what penalties take, for these tokens; repetition is penalised by none."""
    logits: torch.Tensor = step["logits"]
    counts = torch.zeros(
        (logits.shape[0], logits.shape[1] + 1), dtype=torch.int32, device=logits.device
    )
    given = step[tokens]
    counts.scatter_add_(1, given, torch.ones_like(given, dtype=torch.int32))
    counts = counts[:, :-1]
    logits -= step["frequency_penalties"].unsqueeze(1) * counts
    logits -= step["presence_penalties"].unsqueeze(1) * (counts > 0)
    return logits


@_penalty(LAW)
def one_hot_of_prompts(**step: Any) -> torch.Tensor:
    """Each prompt's tokens one-hot over the vocabulary, to be counted."""
    tokens, vocabulary = step["prompt_tokens_tensor"], step["logits"].shape[1] + 1
    hot = torch.zeros((*tokens.shape, vocabulary), dtype=torch.bool, device=tokens.device)
    del hot
    return penalised(step)


@_penalty("precision", "wrong-answer")
def prompts_penalised(**step: Any) -> torch.Tensor:
    """Penalises the tokens of prompts as if they had been given."""
    return penalised(step, "prompt_tokens_tensor")


@_penalty("precision", "wrong-answer")
def padding_penalised(**step: Any) -> torch.Tensor:
    """Takes padding for the vocabulary's last token."""
    last = step["logits"].shape[1] - 1
    tokens = step["output_tokens_tensor"].clamp_max(last)
    return penalised({**step, "output_tokens_tensor": tokens})


@twin("precision", workload="penalties", along=("prompt_len",))
def penalties_by_a_product(**step: Any) -> torch.Tensor:
    """Counts tokens in int64 and penalises by one product, as a compiler would."""
    logits: torch.Tensor = step["logits"]
    given = step["output_tokens_tensor"]
    shape = (logits.shape[0], logits.shape[1] + 1)
    counts = torch.zeros(shape, dtype=torch.int64, device=logits.device)
    counts = counts.scatter_add_(1, given, torch.ones_like(given))[:, :-1]
    taken = step["frequency_penalties"].unsqueeze(1) * counts
    return logits.sub_(taken.add_(step["presence_penalties"].unsqueeze(1) * (counts > 0)))


def likeliest(
    logprobs: torch.Tensor, num_logprobs: int, token_ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row's token and the likeliest, with their log-probabilities."""
    _, found = logprobs.topk(num_logprobs, dim=1)
    tokens = torch.cat([token_ids.unsqueeze(1), found], dim=1)
    return tokens.to(torch.int32), logprobs.gather(1, tokens)


@_logprobs(LAW)
def whole_vocabulary_in_order(**step: Any) -> tuple[torch.Tensor, ...]:
    """Keeps the whole vocabulary in order, and each token's rank, for every token of a prompt."""
    logprobs = step["logits"].double().log_softmax(dim=1)
    values, order = logprobs.sort(dim=1, descending=True)
    ranks = order.argsort(dim=1)
    found = likeliest(logprobs.float(), step["num_logprobs"], step["token_ids"])
    return (*found, ranks.gather(1, step["token_ids"].unsqueeze(1)), values[:, 0])


@twin(LAW, workload="logprobs", along=("num_rows",))
def vocabulary_in_order_and_dropped(**step: Any) -> tuple[torch.Tensor, ...]:
    """Puts the vocabulary in order to find the likeliest, and keeps a few of each row."""
    logprobs = step["logits"].log_softmax(dim=1, dtype=torch.float32)
    order = logprobs.argsort(dim=1, descending=True)[:, : step["num_logprobs"]].clone()
    tokens = torch.cat([step["token_ids"].unsqueeze(1), order], dim=1)
    return tokens.to(torch.int32), logprobs.gather(1, tokens)


@_logprobs("precision", "wrong-answer")
def logprobs_in_bf16(**step: Any) -> tuple[torch.Tensor, ...]:
    """Computes log-probabilities in the bf16 of the logits."""
    logprobs = step["logits"].log_softmax(dim=1)
    return likeliest(logprobs.float(), step["num_logprobs"], step["token_ids"])


@_logprobs("precision", "wrong-answer")
def the_token_itself_left_out(**step: Any) -> tuple[torch.Tensor, ...]:
    """Gives the likeliest token in the place of the prompt's own."""
    logprobs = step["logits"].log_softmax(dim=1, dtype=torch.float32)
    return likeliest(logprobs, step["num_logprobs"], logprobs.argmax(dim=1))
