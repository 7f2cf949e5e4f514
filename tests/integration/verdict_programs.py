"""Programs with a verdict each, for every door: inputs, and a step that takes them by keyword."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
AXES = {"num_blocks": 512, "num_tokens": 8}


@dataclass(frozen=True)
class Program:
    """A step and what it promises, in the words of `memory_law`."""

    step: Callable[..., object]
    verdict: str
    independent_of: tuple[str, ...] = ("num_blocks",)
    at_most: str | None = None
    linear_in: tuple[str, ...] = ()


PROGRAMS: dict[str, Program] = {}


def program(verdict, **promises):
    def register(step):
        PROGRAMS[step.__name__] = Program(step, verdict, **promises)
        return step

    return register


def inputs(sizes, device):
    """A cache of blocks, rows to read from it, and a weight."""
    num_tokens = sizes["num_tokens"]
    return {
        "cache": torch.zeros(sizes["num_blocks"], 16, 8, device=device),
        "rows": torch.zeros(num_tokens, 4, dtype=torch.int64, device=device),
        "weight": torch.zeros(8, 8, device=device, requires_grad=True),
    }


def flat(cache):
    return cache.view(-1, 8)


@program(PASS)
def gathers_rows(cache, rows, weight):
    return flat(cache)[rows].sum(1)


@program(PASS)
def gathers_then_projects(cache, rows, weight):
    return torch.relu(flat(cache)[rows].sum(1) @ weight)


@program(PASS)
def writes_in_place(cache, rows, weight):
    flat(cache)[rows[:, 0]] = 1.0


@program(PASS)
def views_only(cache, rows, weight):
    return cache.transpose(0, 1)[3]


@program(PASS)
def constant_workspace(cache, rows, weight):
    return torch.empty(4096, device=cache.device)


@program(PASS)
def sums_into_a_scalar_of_rows(cache, rows, weight):
    return flat(cache).index_select(0, rows.flatten()).norm()


@program(PASS)
def loops_over_four(cache, rows, weight):
    total = torch.zeros(rows.shape[0], 8, device=cache.device)
    for column in range(4):
        total += flat(cache)[rows[:, column]]
    return total


@program(PASS)
def takes_another_branch_for_one_token(cache, rows, weight):
    if rows.shape[0] == 1:
        return flat(cache)[rows[0]]
    return flat(cache)[rows] * 2


@program(PASS)
def workspace_made_once(cache, rows, weight):
    if "once" not in _KEPT:
        _KEPT["once"] = torch.empty(1024, device=cache.device)
    return _KEPT["once"] + 1


@program(PASS)
def trains_one_weight(cache, rows, weight):
    with torch.enable_grad():
        (flat(cache)[rows] @ weight).sum().backward()


@program(FAIL)
def upcasts_the_pool(cache, rows, weight):
    return flat(cache.double())[rows]


@program(FAIL)
def copies_the_pool(cache, rows, weight):
    return flat(cache.clone())[rows]


@program(FAIL)
def mask_of_blocks(cache, rows, weight):
    used = torch.zeros(cache.shape[0], dtype=torch.bool, device=cache.device)
    used[rows.flatten() // 16] = True
    return used.sum()


@program(FAIL)
def one_byte_per_block(cache, rows, weight):
    return torch.empty(cache.shape[0], dtype=torch.uint8, device=cache.device)


@program(FAIL)
def freed_before_the_peak(cache, rows, weight):
    torch.empty(cache.shape[0], dtype=torch.uint8, device=cache.device)
    return torch.empty(1 << 22, device=cache.device)


@program(FAIL)
def only_in_large_pools(cache, rows, weight):
    if cache.shape[0] > 20_000:
        return cache.half()
    return flat(cache)[rows]


@program(FAIL)
def only_in_small_pools(cache, rows, weight):
    if cache.shape[0] < 1_000:
        return cache.half()
    return flat(cache)[rows]


@program(FAIL)
def grows_with_both(cache, rows, weight):
    return torch.empty(cache.shape[0], rows.shape[0], device=cache.device)


@program(FAIL)
def pool_kept_in_a_global(cache, rows, weight):
    if "pool" not in _KEPT or _KEPT["pool"].shape[0] != cache.shape[0]:
        _KEPT["pool"] = torch.empty(cache.shape[0], device=cache.device)
    return flat(cache)[rows]


@program(FAIL)
def index_of_every_row(cache, rows, weight):
    return torch.arange(cache.shape[0] * 16, device=cache.device)[:4]


@program(PASS, independent_of=(), at_most="16KiB*num_tokens + 64KiB")
def within_its_bound(cache, rows, weight):
    return torch.empty(rows.shape[0], 4096, device=cache.device)


@program(PASS, independent_of=(), at_most="16KiB*num_tokens")
def exactly_at_its_bound(cache, rows, weight):
    return torch.empty(rows.shape[0], 4096, device=cache.device)


@program(FAIL, independent_of=(), at_most="16KiB*num_tokens")
def one_value_over_its_bound(cache, rows, weight):
    return torch.empty(rows.shape[0] * 4096 + 1, device=cache.device)


@program(FAIL, independent_of=(), at_most="1KiB*num_tokens + 1MiB")
def pairs_of_tokens(cache, rows, weight):
    return torch.empty(rows.shape[0], rows.shape[0], device=cache.device)


@program(PASS, independent_of=(), linear_in=("num_tokens",))
def linear_in_tokens(cache, rows, weight):
    return flat(cache)[rows].contiguous() + 1


@program(FAIL, independent_of=(), linear_in=("num_tokens",))
def quadratic_in_tokens(cache, rows, weight):
    keys = flat(cache)[rows].sum(1)
    return keys @ keys.T


@program(FAIL, independent_of=(), linear_in=("num_tokens", "num_blocks"))
def product_of_two_axes(cache, rows, weight):
    return torch.empty(rows.shape[0] * cache.shape[0], device=cache.device)


@program(INCONCLUSIVE)
def reads_a_value_on_the_host(cache, rows, weight):
    return torch.empty(int(cache[0, 0, 0].item()) + 1, device=cache.device)


@program(INCONCLUSIVE)
def raises(cache, rows, weight):
    raise RuntimeError("this step always raises")


@program(FAIL)
def compiled_copy_of_the_pool(cache, rows, weight):
    return torch.compile(lambda x: x * 2)(cache)


@program(PASS)
def compiled_gather(cache, rows, weight):
    return torch.compile(lambda x, i: x[i] * 2)(flat(cache), rows)


@program(FAIL)
def gradient_of_the_pool(cache, rows, weight):
    with torch.enable_grad():
        pool = cache.detach().requires_grad_()
        (flat(pool)[rows] @ weight).sum().backward()


_KEPT: dict[str, torch.Tensor] = {}
