"""A fault and a healthy twin of the workload `qsa-decode`, which `oom-suite selfcheck` tries."""

from __future__ import annotations

import torch

from oom_suite.selfcheck import LAW, mutant, twin


def logits(q, tokens):
    """How well each query's heads match: float32 [batch, num_tokens].

    Args:
        q: bf16 [batch, num_heads, head_dim].
        tokens: keys, [batch, num_tokens, head_dim].
    """
    return torch.einsum("bhd,btd->bt", q.float(), tokens.float())


@mutant(LAW, workload="qsa-decode")
def widens_the_cache(q, k_cache, page_table, context_lens, max_model_len):
    """The whole cache is widened before its pages are looked up."""
    return logits(q, k_cache.float()[page_table].flatten(1, 3))


@twin(LAW, workload="qsa-decode")
def one_page_after_the_other(q, k_cache, page_table, context_lens, max_model_len):
    """Pages are looked up one after the other; what lies behind a request's context counts not."""
    pages = [logits(q, k_cache[page].flatten(1, 2)) for page in page_table.unbind(1)]
    found = torch.cat(pages, dim=1)
    positions = torch.arange(found.shape[1], device=found.device)
    return found.masked_fill(positions >= context_lens.unsqueeze(1), 0.0)
