"""Programs whose sizes data decides, and data that chooses all, or that nobody knows."""

from __future__ import annotations

import torch

NUM_TOKENS, NUM_EXPERTS = 12, 4


def by_expert(x, chosen):
    out = torch.zeros_like(x)
    for expert in range(NUM_EXPERTS):
        rows = torch.where(chosen == expert)[0]
        out.index_add_(0, rows, x[rows] * 2)
    return out


def skipping_the_idle(x, chosen):
    out = torch.zeros_like(x)
    for expert in range(NUM_EXPERTS):
        rows = (chosen == expert).nonzero()[:, 0]
        if rows.numel() == 0:
            continue
        out.index_add_(0, rows, x[rows] * 2)
    return out


PROGRAMS = {
    "nonzero": lambda x, chosen: torch.nonzero(x),
    "nonzero of a tuple": lambda x, chosen: torch.nonzero(x, as_tuple=True),
    "argwhere": lambda x, chosen: torch.argwhere(x > 0),
    "where": lambda x, chosen: torch.where(x > 0),
    "a mask": lambda x, chosen: x[x[:, 0] > 0],
    "a mask of columns": lambda x, chosen: x[:, x[0] > 0] * 2,
    "a mask in the builder's type": lambda x, chosen: x[(x[:, 0] > 0).byte().bool()] + 1,
    "masked_select": lambda x, chosen: torch.masked_select(x, x > 0).sum(),
    "masked_select by rows": lambda x, chosen: torch.masked_select(x, x[:, :1] > 0),
    "masked_select of one column": lambda x, chosen: torch.masked_select(x[:, :1], x > 0).sum(),
    "a write under a mask": lambda x, chosen: x.clone().__setitem__(x > 0, x[x > 0] * 2),
    "nonzero_static": lambda x, chosen: torch.nonzero_static(x, size=3),
    "index_add": lambda x, chosen: x.index_add(
        0, (x[:, 0] > 0).nonzero()[:, 0], x[(x[:, 0] > 0).nonzero()[:, 0]]
    ),
    "experts": by_expert,
    "experts that skip": skipping_the_idle,
    "a list": lambda x, chosen: torch.cat(
        [x[chosen == expert] * 2 for expert in range(NUM_EXPERTS)]
    ),
    "both sides of a mask": lambda x, chosen: torch.cat([x[(m := x[:, 0] > 0)], x[~m]]),
    "bincount": lambda x, chosen: torch.bincount(x.argmax(-1), minlength=x.shape[1]),
    "tensors compared": lambda x, chosen: x[(chosen < chosen + 1) & (x[:, 0] != 0)] + 1,
}


def ones(device):
    """Every mask above is true, and every token chooses the first expert."""
    x = torch.ones(NUM_TOKENS, 8, device=device)
    return x, torch.zeros(NUM_TOKENS, dtype=torch.int64, device=device)


def drawn(device):
    """Nobody knows these values where there is no memory."""
    x = torch.randn(NUM_TOKENS, 8, device=device)
    return x, torch.randint(0, NUM_EXPERTS, (NUM_TOKENS,), device=device)


def drawn_rows(device):
    return (torch.randn(4, 8, device=device),)
