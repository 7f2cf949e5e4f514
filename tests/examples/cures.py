"""Changes that cure what was found in released code, shown in docs/findings.

`oom-suite check tests/examples/cures.py:paged_logits --workload indexer-logits` passes.
"""

from __future__ import annotations

import torch

HEAD_DIM = 128


def paged_logits(q, kv_cache, weights, context_lens, block_tables, max_model_len):
    """Logits of one or more tokens of each request, of the blocks that it names alone.

    A key's scale lies behind its values, as vLLM's code for several tokens reads the cache.
    """
    batch, next_n = q.shape[:2]
    shape = (batch * next_n, max_model_len)
    logits = torch.full(shape, -torch.inf, device=q.device)
    block_size = kv_cache.shape[1]
    for request in range(batch):
        length = int(context_lens[request].item())
        named = block_tables[request, : -(-length // block_size)]
        keys = decoded(kv_cache[named].flatten(0, 2), q.dtype)[:length]
        positions = torch.arange(length, device=q.device)
        for token in range(next_n):
            row = request * next_n + token
            scores = (keys @ q[request, token].float().T).relu_() @ weights[row]
            scores.masked_fill_(positions > length - next_n + token, -torch.inf)
            logits[row, :length] = scores
    return logits


def decoded(rows, fp8_dtype):
    """Keys float32 [num_keys, 128] of rows uint8 [num_keys, 132]."""
    values, scales = rows[:, :HEAD_DIM], rows[:, HEAD_DIM:]
    keys = values.view(fp8_dtype).float()
    keys *= scales.contiguous().view(torch.float32)
    return keys


def prefill_logits(q, kv, weights, cu_seqlen_ks, cu_seqlen_ke):
    """Logits of a chunk, one head after the other: never a score of every head at once."""
    keys, scales = kv
    keys = keys.to(torch.bfloat16)
    logits = torch.zeros(q.shape[0], keys.shape[0], device=q.device)
    for head in range(q.shape[1]):
        scores = (q[:, head].to(torch.bfloat16) @ keys.T).float()
        scores *= scales.view(-1)
        scores.relu_()
        scores *= weights[:, head, None]
        logits += scores
    positions = torch.arange(keys.shape[0], device=q.device)
    logits.masked_fill_(positions < cu_seqlen_ks[:, None], -torch.inf)
    return logits.masked_fill_(positions >= cu_seqlen_ke[:, None], -torch.inf)


class Window:
    """The last keys and values of a layer, and nothing that they were cut from."""

    def __init__(self, keys, values):
        self.keys, self.values = keys.clone(), values.clone()


def sliding_caches(key_states, value_states, num_layers, window, max_len):
    """What transformers' sliding layers keep of a prompt, each a copy of the window alone."""
    return [
        Window(key_states[:, :, 1 - window :], value_states[:, :, 1 - window :])
        for _ in range(num_layers)
    ]


def cpu_slots(
    q, output, positions, token_to_request, block_table, compressed_k_cache, compress_ratio, **_
):
    """The slots that tokens attend to on a CPU, in rows as wide as their context's pages.

    Attention itself is a kernel that writes `output`; here nothing does but zeros.
    """
    page = compressed_k_cache.shape[1]
    places = torch.arange(block_table.shape[1] * page, device=q.device)
    slots = block_table[token_to_request.long()].long().repeat_interleave(page, dim=1)
    slots *= page
    slots += places % page
    hidden = places >= ((positions + 1) // compress_ratio).unsqueeze(1)
    output.zero_()
    return slots.masked_fill_(hidden, -1)
