"""What calls leave alive: leaks, and healthy state that is made once for each key."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.selfcheck.faults.declare import mutant, twin
from oom_suite.selfcheck.faults.record import LAW, Promised

if TYPE_CHECKING:
    from collections.abc import Callable

_HIDDEN = 64
_TOKENS = Promised({"num_tokens": 16}, at_most=f"{8 * _HIDDEN}*num_tokens + 64KiB")
_POOL = Promised({"num_blocks": 512}, independent_of=("num_blocks",))

_finished: list[torch.Tensor] = []
_losses: list[torch.Tensor] = []
_by_step: dict[int, torch.Tensor] = {}
_tables: dict[int, torch.Tensor] = {}
_positions: dict[int, torch.Tensor] = {}
_recent: deque[torch.Tensor] = deque(maxlen=12)


def _hidden(sizes: Any, device: torch.device) -> torch.Tensor:
    """The tokens' hidden states, float32 [num_tokens, 64]."""
    return torch.zeros(sizes.num_tokens, _HIDDEN, device=device)


@mutant(LAW, "finish", promised=_TOKENS, is_stateful=True)
def results_kept_in_a_list(sizes: Any, device: torch.device) -> Callable[[], object]:
    """Results that a list of the module keeps after their step."""
    hidden = _hidden(sizes, device)

    def finish() -> torch.Tensor:
        done = hidden + 1
        _finished.append(done)
        return done.argmax(-1)

    return finish


@mutant(LAW, "score", promised=_TOKENS, is_stateful=True)
def byte_kept_by_each_call(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A flag of a byte that a closure keeps of each call."""
    hidden = _hidden(sizes, device)
    flags = []

    def score() -> None:
        flags.append(hidden.new_ones((), dtype=torch.bool))

    return score


@mutant(LAW, "remember", promised=_TOKENS, is_stateful=True)
def entry_for_each_step(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A cache whose key is the number of the step, which never comes again."""
    hidden = _hidden(sizes, device)

    def remember() -> torch.Tensor:
        number = len(_by_step)
        _by_step[number] = hidden * number
        return _by_step[number]

    return remember


@mutant(LAW, "log_loss", promised=_TOKENS, is_stateful=True)
def losses_kept_on_the_host(sizes: Any, device: torch.device) -> Callable[[], object]:
    """Losses of every token that are copied to the host and kept there."""
    hidden = _hidden(sizes, device)

    def log_loss() -> None:
        _losses.append(hidden.sum(-1).cpu())

    return log_loss


@mutant(LAW, "table", promised=_POOL, is_stateful=True)
def memo_of_the_pool(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A memo that is filled once for each size of the pool, and as large as that."""
    blocks = torch.zeros(sizes.num_blocks, device=device)

    def table() -> torch.Tensor:
        num_blocks = blocks.shape[0]
        if num_blocks not in _tables:
            _tables[num_blocks] = torch.arange(num_blocks, device=device)
        return _tables[num_blocks][:1]

    return table


@twin(LAW, promised=_TOKENS, is_stateful=True)
def memo_of_positions(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A memo that is filled once for each number of tokens."""
    hidden = _hidden(sizes, device)

    def embed() -> torch.Tensor:
        num_tokens = hidden.shape[0]
        if num_tokens not in _positions:
            _positions[num_tokens] = torch.arange(num_tokens, device=device)
        return hidden + _positions[num_tokens][:, None]

    return embed


@twin(LAW, promised=_TOKENS, is_stateful=True)
def ring_of_recent_results(sizes: Any, device: torch.device) -> Callable[[], object]:
    """Results of which the last twelve are kept."""
    hidden = _hidden(sizes, device)
    return lambda: _recent.append(hidden[:1] + 1)


@twin(LAW, promised=_TOKENS, is_stateful=True)
def buffer_registered_once(sizes: Any, device: torch.device) -> Callable[[], object]:
    """A buffer that a module makes in its first call."""
    hidden = _hidden(sizes, device)
    model = torch.nn.Module()

    def embed() -> torch.Tensor:
        if not hasattr(model, "positions"):
            model.register_buffer("positions", torch.arange(hidden.shape[0], device=device))
        return hidden + model.get_buffer("positions")[:, None]

    return embed
